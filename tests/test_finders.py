# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finders: their contract, configuration and failures."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import astropy.units as u
import astroscrappy
import numba
import numpy as np
import pytest
import scipy.ndimage
from numba.core import event

from lsst.images import VisitImage
from lsst.meas.cosmicrays.engines.morphological import find_cosmic_rays
from lsst.meas.cosmicrays.finders import (
    AlreadyInterpolatedError,
    AstroScrappyFinderConfig,
    CosmicRayFinderError,
    CosmicRayFinderTask,
    EngineNotAvailableError,
    Finding,
    NoUsablePixelsError,
    TooManyCosmicRaysError,
    cosmicRayFinderRegistry,
)
from lsst.meas.cosmicrays.images import UnknownMaskPlaneError, WorkingImage, read_image

Make = Callable[..., VisitImage]


def make_finder(name: str, **settings: Any) -> CosmicRayFinderTask:
    """Make a finder from the registry."""
    finder_class = cosmicRayFinderRegistry[name]
    config = finder_class.ConfigClass()
    config.update(**settings)
    config.validate()
    return finder_class(config=config)


@pytest.fixture
def working(make_image: Make) -> WorkingImage:
    return read_image(make_image())


@pytest.mark.parametrize("name", ["morphological", "astroscrappy"])
def test_finds_the_cosmic_rays_and_nothing_else(working: WorkingImage, name: str) -> None:
    before = working.image.copy()
    result = make_finder(name).run(working)
    assert result.mask.shape == working.image.shape
    assert result.mask.dtype == bool
    assert result.mask[40, 71:81].all()
    assert result.mask[12:15, 50].all()
    assert result.n_pixels == result.mask.sum()
    assert result.n_cosmic_rays == scipy.ndimage.label(result.mask, np.ones((3, 3)))[1] == 2
    assert 0.0 < result.wall_time < 60.0
    assert result.probability is None
    np.testing.assert_array_equal(working.image, before)


def test_run_time_is_without_compiling(working: WorkingImage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first call compiles is not what a finder takes."""
    finder = make_finder("mask_plane")

    def find(image: WorkingImage) -> Finding:
        @numba.njit
        def work(values: np.ndarray) -> float:
            return np.sort(values.ravel())[::3].sum()

        work(image.image)
        return Finding(np.zeros(image.image.shape, dtype=bool))

    monkeypatch.setattr(finder, "find", find)
    compiled: list[float] = []
    with event.install_timer("numba:compile", compiled.append):
        started = time.perf_counter()
        result = finder.run(working)
        elapsed = time.perf_counter() - started
    assert compiled[0] > 0.05
    assert 0.0 < result.wall_time <= elapsed - 0.99 * compiled[0]


def test_morphological_passes_everything_on(working: WorkingImage) -> None:
    finder = make_finder(
        "morphological", minSigma=5.0, min_DN=100.0, cond3_fac=2.5, cond3_fac2=0.6, niteration=2
    )
    expected = find_cosmic_rays(
        working.image,
        working.variance,
        np.zeros(working.image.shape, bool),
        np.zeros(working.image.shape, bool),
        working.psf_kernel,
        float(np.median(working.image)),
        min_sigma=5.0,
        min_dn=100.0,
        cond3_fac=2.5,
        cond3_fac2=0.6,
        n_iteration=2,
        n_cr_pixel_max=1000000,
    )
    np.testing.assert_array_equal(finder.run(working).mask, expected)


@pytest.mark.parametrize("engine", ["fast", "reference"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"sigclip": 4.0, "sepmed": False, "niter": 2}, {"fsmode": "convolve", "cleantype": "idw"}],
)
def test_astroscrappy_is_astroscrappy(working: WorkingImage, engine: str, settings: dict[str, Any]) -> None:
    expected, _ = astroscrappy.detect_cosmics(
        working.image,
        invar=working.variance,
        inmask=np.zeros(working.image.shape, bool),
        psffwhm=working.psf_fwhm,
        **{"sigclip": 5.0, **settings},
    )
    result = make_finder("astroscrappy", engine=engine, **settings).run(working)
    np.testing.assert_array_equal(result.mask, expected)


def test_astroscrappy_with_the_psf_of_the_image(working: WorkingImage) -> None:
    expected, _ = astroscrappy.detect_cosmics(
        working.image,
        invar=working.variance,
        sigclip=4.0,
        fsmode="convolve",
        psfk=working.psf_kernel.astype(np.float32),
    )
    finder = make_finder("astroscrappy", sigclip=4.0, fsmode="convolve", psfmodel="image")
    np.testing.assert_array_equal(finder.run(working).mask, expected)


def test_report_defaults() -> None:
    config = AstroScrappyFinderConfig()
    assert config.sigclip == 5.0
    assert config.engine == "fast"


def test_mask_plane(make_image: Make) -> None:
    plane = np.zeros((80, 96), bool)
    plane[3, 4:9] = True
    interpolated = np.ones((80, 96), bool)
    image = read_image(make_image(COSMIC_RAY=plane, INTERPOLATED=interpolated, SUSPECT=~plane))
    result = make_finder("mask_plane").run(image)
    np.testing.assert_array_equal(result.mask, plane)
    assert (result.n_pixels, result.n_cosmic_rays) == (5, 1)
    assert make_finder("mask_plane", plane="SUSPECT").run(image).n_pixels == 80 * 96 - 5
    assert make_finder("mask_plane", badPlanes=["INTERPOLATED"]).run(image).n_pixels == 0
    with pytest.raises(UnknownMaskPlaneError, match="'CRS'"):
        make_finder("mask_plane", plane="CRS").run(image)


@pytest.mark.parametrize("name", ["morphological", "astroscrappy"])
class TestEveryFinder:
    """What holds for every finder that looks at pixels."""

    def test_same_photons_same_mask(self, make_image: Make, name: str) -> None:
        finder = make_finder(name)
        expected = finder.run(read_image(make_image())).mask
        for source in (make_image("adu"), make_image(calibration=0.37).convert_unit(u.nJy)):
            np.testing.assert_array_equal(finder.run(read_image(source)).mask, expected)

    def test_native_unit_takes_the_stored_numbers(self, make_image: Make, name: str) -> None:
        adu = read_image(make_image("adu"))
        stored = dataclasses.replace(adu.in_stored_unit(), unit="electron")
        expected = make_finder(name).run(stored).mask
        np.testing.assert_array_equal(make_finder(name, unit="native").run(adu).mask, expected)

    def test_already_interpolated(self, make_image: Make, name: str) -> None:
        plane = np.zeros((80, 96), bool)
        plane[3, 4:9] = True
        image = read_image(make_image(COSMIC_RAY=plane, INTERPOLATED=plane))
        with pytest.raises(
            AlreadyInterpolatedError, match="already interpolated: use mask_plane, or reprocess with keepCRs"
        ) as caught:
            make_finder(name).run(image)
        assert caught.value.metadata == {"n_pixels": 5}
        make_finder(name).run(read_image(make_image(COSMIC_RAY=plane)))

    def test_interpolated_for_another_reason(self, make_image: Make, name: str) -> None:
        plane, column = np.zeros((2, 80, 96), bool)
        plane[3, 4:9] = True
        column[:, 6] = True
        crossed = make_image(COSMIC_RAY=plane, INTERPOLATED=column, BAD=column)
        make_finder(name).run(read_image(crossed))
        alone = read_image(make_image(COSMIC_RAY=plane, INTERPOLATED=column))
        with pytest.raises(AlreadyInterpolatedError, match="1 pixels"):
            make_finder(name).run(alone)
        # What lsst.ip.isr says of pixels that were no numbers.
        make_finder(name).run(dataclasses.replace(alone, planes={**alone.planes, "UNMASKED_NAN": column}))

    def test_all_masked(self, make_image: Make, name: str) -> None:
        image = read_image(make_image(BAD=np.ones((80, 96), bool)))
        with pytest.raises(NoUsablePixelsError, match="All 7680 pixels are in the planes BAD, SATURATED"):
            make_finder(name).run(image)

    def test_all_nan(self, working: WorkingImage, name: str) -> None:
        image = dataclasses.replace(working, image=np.full_like(working.image, np.nan))
        with pytest.raises(NoUsablePixelsError):
            make_finder(name).run(image)

    def test_unknown_plane(self, working: WorkingImage, name: str) -> None:
        with pytest.raises(UnknownMaskPlaneError, match="'VIGNETED'"):
            make_finder(name, badPlanes=["BAD", "VIGNETED"]).run(working)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_what_is_no_number_is_not_found(self, working: WorkingImage, name: str, value: float) -> None:
        rng = np.random.default_rng(1)
        gaps = rng.random(working.image.shape) < 0.02
        image = dataclasses.replace(working, image=np.where(gaps, np.float32(value), working.image))
        mask = make_finder(name).run(image).mask
        assert not mask[gaps].any()
        assert mask[40, 70:82][~gaps[40, 70:82]].sum() > 6

    @pytest.mark.parametrize("value", [0.0, -3.0, np.nan])
    def test_bad_variance(self, working: WorkingImage, name: str, value: float) -> None:
        variance = working.variance.copy()
        variance[60:70, 40:60] = value
        mask = make_finder(name).run(dataclasses.replace(working, variance=variance)).mask
        assert mask[40, 71:81].all()
        assert not mask[62:68, 42:58].any()

    def test_bad_pixels_are_never_found(self, make_image: Make, name: str) -> None:
        bad = np.zeros((80, 96), bool)
        bad[38:43, 60:90] = True
        mask = make_finder(name).run(read_image(make_image(SATURATED=bad))).mask
        assert not mask[bad].any()
        assert mask[12:15, 50].all()

    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2), (5, 5), (7, 40)])
    def test_images_smaller_than_the_kernel(
        self, working: WorkingImage, name: str, shape: tuple[int, int]
    ) -> None:
        image = crop(working, *shape)
        assert make_finder(name).run(image).mask.shape == shape


def test_too_many(working: WorkingImage) -> None:
    with pytest.raises(TooManyCosmicRaysError, match="5") as caught:
        make_finder("morphological", nCrPixelMax=5).run(working)
    assert caught.value.metadata["limit"] == 5
    assert caught.value.metadata["count"] > 5


def test_reference_engine_needs_the_stack(working: WorkingImage) -> None:
    try:
        import lsst.meas.algorithms  # noqa: F401
    except ImportError:
        with pytest.raises(EngineNotAvailableError, match="use engine='fast', which gives the same mask"):
            make_finder("morphological", engine="reference").run(working)
    else:
        expected = make_finder("morphological").run(working).mask
        found = make_finder("morphological", engine="reference").run(working).mask
        np.testing.assert_array_equal(found, expected)


def test_image_without_sky_is_warned_of(working: WorkingImage, caplog: pytest.LogCaptureFixture) -> None:
    finder = make_finder("astroscrappy", useVariance=False, engine="reference")
    finder.run(working)
    assert "seems to lack its sky" in caplog.text
    caplog.clear()
    finder.run(dataclasses.replace(working, image=working.image + np.float32(400.0)))
    assert "seems to lack its sky" not in caplog.text


def test_saturation_in_other_units_is_warned_of(
    working: WorkingImage, caplog: pytest.LogCaptureFixture
) -> None:
    level = float(np.percentile(working.image, 90.0))
    make_finder("astroscrappy", satlevel=level, engine="reference").run(working)
    assert "reach satlevel" in caplog.text
    caplog.clear()
    make_finder("astroscrappy", engine="reference").run(working)
    assert "reach satlevel" not in caplog.text


def crop(image: WorkingImage, ny: int, nx: int) -> WorkingImage:
    planes = {plane: np.zeros((ny, nx), bool) for plane in image.planes}
    pixels, variance = image.image[:ny, :nx], image.variance[:ny, :nx]
    return dataclasses.replace(image, image=pixels, variance=variance, planes=planes)


@pytest.mark.parametrize(
    ("shape", "settings"),
    [((1, 1), {}), ((2, 60), {}), ((80, 6), {}), ((12, 12), {"fsmode": "convolve", "psfsize": 21})],
)
def test_original_is_kept_from_images_on_which_it_crashes(
    working: WorkingImage, shape: tuple[int, int], settings: dict[str, Any]
) -> None:
    finder = make_finder("astroscrappy", engine="reference", **settings)
    with pytest.raises(CosmicRayFinderError, match=rf"has {shape[1]} x {shape[0]} pixels.*engine='fast'"):
        finder.run(crop(working, *shape))
    assert finder.run(crop(working, 21, 40)).mask.shape == (21, 40)


@pytest.mark.parametrize(
    ("finder", "settings"),
    [
        ("astroscrappy", {"psfsize": 4}),
        ("astroscrappy", {"sigclip": -1.0}),
        ("astroscrappy", {"cleantype": "mean"}),
        ("astroscrappy", {"engine": "quick"}),
        ("morphological", {"niteration": -1}),
        ("morphological", {"unit": "adu"}),
    ],
)
def test_nonsense_is_refused(finder: str, settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=name):
        make_finder(finder, **settings)
