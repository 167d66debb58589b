# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding stars and measuring the PSF from them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ingest_files import READ_NOISE, SHAPE, SIGMA, SKY, make_scene, star_positions
from scipy.ndimage import gaussian_filter

from lsst.images.psfs import GaussianPointSpreadFunction, PiffWrapper
from lsst.meas.cosmicrays.engines.psf import gaussian_kernel
from lsst.meas.cosmicrays.ingest.errors import IngestWarning
from lsst.meas.cosmicrays.ingest.preset import PsfModel
from lsst.meas.cosmicrays.ingest.psf import PsfMeasurement, measure_psf
from lsst.meas.cosmicrays.ingest.stars import SIGMA_TO_FWHM, find_stars, of_common_size, subtract_sky

NONE_BAD = np.zeros(SHAPE, dtype=bool)


def measure(image: np.ndarray, **options: object) -> PsfMeasurement:
    variance = np.maximum(image, 0.0) + READ_NOISE**2
    return measure_psf(image, variance, NONE_BAD, **options)  # type: ignore[arg-type]


def kernel_of(measurement: PsfMeasurement, half: int) -> np.ndarray:
    kernel = measurement.psf.compute_kernel_image(x=70.0, y=60.0).array
    middle = kernel.shape[0] // 2
    cut = kernel[middle - half : middle + half + 1, middle - half : middle + half + 1]
    return cut / cut.sum()


def test_the_stars_are_found_and_cosmic_rays_are_not() -> None:
    image, truth = make_scene(n_cosmic_rays=10)
    stars = of_common_size(
        find_stars(subtract_sky(image, NONE_BAD), np.maximum(image, 0) + READ_NOISE**2, NONE_BAD)
    )
    x, y, flux = star_positions(25)
    distance = np.hypot(stars.x[:, None] - x, stars.y[:, None] - y)
    assert len(stars) >= 18
    assert distance.min(axis=1).max() < 0.5
    assert np.median(distance.min(axis=1)) < 0.1
    np.testing.assert_allclose(stars.fwhm, SIGMA * SIGMA_TO_FWHM, rtol=0.1)
    # One star has a cosmic ray on it.
    np.testing.assert_allclose(stars.flux, flux[distance.argmin(axis=1)], rtol=0.3)
    assert np.median(stars.flux / flux[distance.argmin(axis=1)]) == pytest.approx(1.0, abs=0.03)
    assert np.all(np.diff(stars.flux) <= 0.0)
    assert len(stars.without_segments()) == len(stars)


def test_stars_on_bad_pixels_are_left_out() -> None:
    image, _ = make_scene()
    variance = np.maximum(image, 0) + READ_NOISE**2
    stars = find_stars(subtract_sky(image, NONE_BAD), variance, NONE_BAD)
    bad = NONE_BAD.copy()
    bad[round(stars.y[0]), round(stars.x[0])] = True
    fewer = find_stars(subtract_sky(image, bad), variance, bad)
    assert np.hypot(fewer.x - stars.x[0], fewer.y - stars.y[0]).min() > 3.0


def test_stars_are_found_however_crowded() -> None:
    """As in a globular cluster, where all are one group of pixels."""
    rng = np.random.default_rng(3)
    shape = (600, 600)
    scene = np.zeros(shape)
    np.add.at(scene, tuple(rng.integers(9, 590, (2, 20000))), 10 ** rng.uniform(2.5, 5.5, 20000))
    image = rng.poisson(300.0 + gaussian_filter(scene, 1.3)).astype(np.float32)
    bad = np.zeros(shape, dtype=bool)
    stars = of_common_size(find_stars(subtract_sky(image, bad), image, bad))
    assert len(stars) > 30
    assert np.median(stars.fwhm) == pytest.approx(1.3 * SIGMA_TO_FWHM, rel=0.15)


@pytest.mark.parametrize(
    ("model", "kind", "tolerance"),
    [(PsfModel.AUTO, "pixels", 0.004), (PsfModel.MOFFAT, "moffat", 0.02)],
)
def test_the_psf_of_a_scene(model: PsfModel, kind: str, tolerance: float) -> None:
    measurement = measure(make_scene()[0], model=model)
    assert measurement.kind == kind
    assert isinstance(measurement.psf, PiffWrapper)
    assert measurement.fwhm == pytest.approx(SIGMA * SIGMA_TO_FWHM, rel=0.05)
    true = gaussian_kernel(SIGMA * SIGMA_TO_FWHM)
    middle = true.shape[0] // 2
    true = true[middle - 4 : middle + 5, middle - 4 : middle + 5]
    np.testing.assert_allclose(kernel_of(measurement, 4), true / true.sum(), atol=tolerance)


def test_cosmic_rays_and_sky_do_not_disturb_it() -> None:
    clean = measure(make_scene()[0] - SKY)
    disturbed = measure(make_scene(n_cosmic_rays=10)[0])
    np.testing.assert_allclose(kernel_of(disturbed, 2), kernel_of(clean, 2), atol=0.004)


def test_wide_psfs() -> None:
    measurement = measure(make_scene(sigma=3.4, n_stars=16)[0])
    assert measurement.kind == "pixels"
    assert measurement.fwhm == pytest.approx(3.4 * SIGMA_TO_FWHM, rel=0.06)


def test_few_stars_give_a_moffat() -> None:
    measurement = measure(make_scene(n_stars=9)[0])
    assert measurement.kind == "moffat"
    assert measurement.n_stars <= 9
    assert measurement.fwhm == pytest.approx(SIGMA * SIGMA_TO_FWHM, rel=0.06)


def test_fewer_give_a_gaussian_and_a_warning() -> None:
    with pytest.warns(IngestWarning, match="field: [23] stars are too few .* of their FWHM"):
        measurement = measure(make_scene(n_stars=3)[0], name="field")
    assert isinstance(measurement.psf, GaussianPointSpreadFunction)
    assert measurement.fwhm == pytest.approx(SIGMA * SIGMA_TO_FWHM, rel=0.05)


def test_a_given_width_is_used_where_there_are_no_stars() -> None:
    empty = np.random.default_rng(3).normal(SKY, np.sqrt(SKY), SHAPE)
    with pytest.warns(IngestWarning, match="0 stars .* 3.30 pixels of the FWHM given"):
        assert measure(empty, fwhm=3.3).fwhm == 3.3
    with pytest.warns(IngestWarning, match="4.00 pixels is assumed; --fwhm PIXELS gives another"):
        assert measure(empty).fwhm == 4.0


def test_a_given_width_can_be_forced() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measurement = measure(make_scene()[0], model=PsfModel.GIVEN, fwhm=2.5)
    assert (measurement.fwhm, measurement.kind, measurement.n_stars) == (2.5, "gaussian", 0)
