# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the pixels of a file to electrons, sky, variance and mask planes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from ingest_files import GAIN, HEADER, READ_NOISE, SHAPE, SKY, make_scene

from lsst.meas.cosmicrays.ingest.calibration import ScienceFrame, calibrate
from lsst.meas.cosmicrays.ingest.errors import IngestError, IngestWarning
from lsst.meas.cosmicrays.ingest.headers import Quantities
from lsst.meas.cosmicrays.ingest.preset import BackgroundModel
from lsst.meas.cosmicrays.ingest.presets import PRESETS
from lsst.meas.cosmicrays.ingest.reading import CcdFrame


def make_frame(
    image: np.ndarray,
    *,
    variance: np.ndarray | None = None,
    truth: np.ndarray | None = None,
    header: dict[str, Any] | None = None,
    background: dict[str, Any] | None = None,
    **planes: np.ndarray,
) -> CcdFrame:
    entries = fits.Header()
    for keyword, value in (HEADER | (header or {})).items():
        if value is not None:
            entries[keyword] = value
    preset = PRESETS["generic"].with_overrides(background=background)
    quantities = Quantities((entries,), preset, Path("a.fits"), "0")
    return CcdFrame(
        Path("a.fits"), "0", 0, image.astype(np.float32), variance, planes, truth, quantities, None
    )


@pytest.fixture(scope="module")
def electrons() -> np.ndarray:
    return make_scene()[0]


def sigmas(science: ScienceFrame) -> np.ndarray:
    return (science.image / np.sqrt(science.variance))[science.image < 3 * np.sqrt(SKY)]


def test_electrons_without_sky_and_with_its_noise(electrons: np.ndarray) -> None:
    science = calibrate(make_frame(electrons / GAIN))
    assert science.unit == u.electron
    assert science.gain == GAIN
    assert science.sky == pytest.approx(SKY, rel=0.02)
    assert science.saturation == 50000.0 * GAIN
    assert science.subtracted
    # The wings of the stars lift the median a little.
    assert abs(np.median(science.image)) < 0.25 * np.sqrt(SKY)
    assert 1.4826 * np.median(np.abs(sigmas(science))) == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose(
        science.variance, np.maximum(electrons, 0.0) + READ_NOISE**2, rtol=1e-5, atol=1e-2
    )


def test_the_sky_is_kept_beside_the_image(electrons: np.ndarray) -> None:
    science = calibrate(make_frame(electrons / GAIN))
    assert science.background is not None
    restored = science.image + science.background.render(dtype=np.float32).array
    np.testing.assert_allclose(restored, electrons, rtol=1e-5, atol=1e-2)
    kept = calibrate(make_frame(electrons / GAIN, background={"subtract": False}))
    assert not kept.subtracted
    np.testing.assert_allclose(kept.image, electrons, rtol=1e-5, atol=1e-2)
    np.testing.assert_allclose(kept.without_sky(), science.image, rtol=1e-4, atol=0.05)


def test_a_gradient_is_subtracted() -> None:
    x = np.arange(600) / 600
    sky = 500.0 + 200.0 * x[None, :] * np.ones((500, 1))
    image = np.random.default_rng(2).poisson(sky)
    science = calibrate(make_frame(image / GAIN, background={"mesh": 64}))
    for part in (science.image[:, :100], science.image[:, -100:], science.image[250:, 250:350]):
        assert abs(np.median(part)) < 0.15 * np.sqrt(500.0)


def test_a_sky_that_was_subtracted_counts_in_the_noise(electrons: np.ndarray) -> None:
    before = calibrate(make_frame(electrons / GAIN))
    preset = make_frame((electrons - SKY) / GAIN)
    values = preset.quantities.preset.with_overrides(values={"sky": SKY / GAIN})
    quantities = Quantities(preset.quantities.headers, values, Path("a.fits"), "0")
    after = calibrate(CcdFrame(Path("a.fits"), "0", 0, preset.image, None, {}, None, quantities, None))
    np.testing.assert_allclose(after.variance, before.variance, rtol=1e-4)
    assert after.sky == pytest.approx(before.sky, rel=1e-3)


def test_electrons_need_no_gain(electrons: np.ndarray) -> None:
    science = calibrate(make_frame(electrons, header={"BUNIT": "electron", "GAIN": None}))
    np.testing.assert_allclose(science.variance, np.maximum(electrons, 0) + READ_NOISE**2, rtol=1e-5)
    assert science.gain == 1.0


def test_a_given_variance_is_scaled(electrons: np.ndarray) -> None:
    variance = np.full(SHAPE, 25.0, dtype=np.float32)
    variance[3, 4] = np.nan
    science = calibrate(make_frame(electrons / GAIN, variance=variance, header={"RDNOISE": None}))
    assert science.variance[0, 0] == 25.0 * GAIN**2
    assert np.argwhere(science.planes["NO_DATA"]).tolist() == [[3, 4]]
    assert np.argwhere(science.planes["BAD"]).tolist() == [[3, 4]]


def test_true_cosmic_rays_without_weight_are_not_bad(electrons: np.ndarray) -> None:
    variance = np.full(SHAPE, 25.0, dtype=np.float32)
    truth = np.zeros(SHAPE, dtype=bool)
    truth[50, 50:60] = True
    variance[truth] = np.nan
    science = calibrate(make_frame(electrons / GAIN, variance=variance, truth=truth))
    assert "BAD" not in science.planes
    np.testing.assert_allclose(science.variance[truth], electrons[truth] + READ_NOISE**2, rtol=1e-4)


def test_planes(electrons: np.ndarray) -> None:
    adu = electrons / GAIN
    adu[10, 10], adu[20, 20], adu[30, 30] = np.nan, np.inf, 50000.0
    own = np.zeros(SHAPE, dtype=bool)
    own[40, 40] = True
    bad_pixels = np.zeros(SHAPE, dtype=bool)
    bad_pixels[60, 60] = True
    science = calibrate(make_frame(adu, BAD=own), bad_pixels)
    assert np.argwhere(science.planes["BAD"]).tolist() == [[10, 10], [20, 20], [40, 40], [60, 60]]
    assert np.argwhere(science.planes["NO_DATA"]).tolist() == [[10, 10], [20, 20]]
    assert science.planes["SATURATED"][30, 30]
    assert not own[60, 60], "the frame itself is not changed"


def test_variance_is_never_zero() -> None:
    image = np.full(SHAPE, -5.0)
    science = calibrate(make_frame(image, header={"RDNOISE": 0.0}))
    assert np.all(science.variance > 0.0)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"GAIN": None}, "keyword GAIN or EGAIN.*missing.*give --gain VALUE or --key gain=KEYWORD"),
        ({"GAIN": 0.0}, "keyword GAIN: the gain is 0; it must be above 0"),
        ({"GAIN": -1.5}, "keyword GAIN: the gain is -1.5"),
        ({"GAIN": "much"}, "keyword GAIN: 'much' is not a number"),
        ({"RDNOISE": None}, "keyword RDNOISE.*missing"),
        ({"RDNOISE": -3.0}, "keyword RDNOISE: the read noise is -3; it must be at least 0"),
        ({"SATURATE": 0.0}, "keyword SATURATE: the saturation is 0"),
        ({"BUNIT": "furlong"}, "keyword BUNIT: unit 'furlong' is not known"),
        ({"BUNIT": "nJy"}, "keyword BUNIT: a calibrated image without a variance"),
    ],
)
def test_bad_numbers(electrons: np.ndarray, header: dict[str, Any], message: str) -> None:
    with pytest.raises(IngestError, match=message):
        calibrate(make_frame(electrons, header=header))


def test_without_a_unit_adu_is_assumed(electrons: np.ndarray) -> None:
    with pytest.warns(IngestWarning, match=r"a.fits\[0\]: names no unit"):
        science = calibrate(make_frame(electrons / GAIN, header={"BUNIT": None}))
    assert science.sky == pytest.approx(SKY, rel=0.02)


def test_nothing_is_warned_about_a_complete_file(electrons: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calibrate(make_frame(electrons / GAIN))


def test_all_bad_and_tiny_images() -> None:
    bad = np.ones(SHAPE, dtype=bool)
    science = calibrate(make_frame(np.ones(SHAPE), BAD=bad))
    assert science.background is None
    assert np.all(science.bad)
    tiny = calibrate(make_frame(np.full((3, 2), 100.0)))
    assert tiny.image.shape == (3, 2)
    assert BackgroundModel().mesh > 3
