# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cosmic-CoNN as a finder."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest

from lsst.images import VisitImage
from lsst.meas.cosmicrays.engines.cosmic_conn import ModelFileError, ProviderError, load_model
from lsst.meas.cosmicrays.finders import (
    AlreadyInterpolatedError,
    CosmicConnFinderConfig,
    CosmicConnFinderTask,
    CosmicRayFinderError,
    EngineNotAvailableError,
    NoUsablePixelsError,
    cosmicRayFinderRegistry,
)
from lsst.meas.cosmicrays.images import UnknownMaskPlaneError, WorkingImage, read_image
from lsst.pex.config import FieldValidationError

Make = Callable[..., VisitImage]


def make_finder(**settings: Any) -> CosmicConnFinderTask:
    """Make the finder from the registry."""
    finder_class = cosmicRayFinderRegistry["cosmic_conn"]
    config = finder_class.ConfigClass()
    config.update(**settings)
    config.validate()
    return finder_class(config=config)


@pytest.fixture
def working(make_image: Make) -> WorkingImage:
    return read_image(make_image())


@pytest.mark.parametrize("settings", [{}, {"tiling": "original"}, {"speed": "selective"}, {"model": "NRES"}])
def test_finds_the_cosmic_rays_and_nothing_else(working: WorkingImage, settings: dict[str, str]) -> None:
    before = working.image.copy()
    result = make_finder(**settings).run(working)
    assert result.mask[40, 71:81].all()
    assert result.mask[12:15, 50].all()
    assert result.n_cosmic_rays == 2
    assert result.n_pixels == np.count_nonzero(result.mask) < 30
    assert result.probability.dtype == np.float32
    np.testing.assert_array_equal(result.mask, result.probability > 0.5)
    np.testing.assert_array_equal(working.image, before)


def test_defaults() -> None:
    config = CosmicConnFinderConfig()
    assert (config.model, config.threshold, config.tile) == ("ground_imaging", 0.5, 1024)
    assert (config.tiling, config.engine, config.provider, config.threads) == ("overlap", "fast", "cpu", 1)


def test_finder_is_the_engine(working: WorkingImage) -> None:
    bad = working.any_plane(["BAD", "NO_DATA"])
    expected = load_model("HST_ACS_WFC", threads=1).predict(working.image, tile=64, bad=bad)
    result = make_finder(model="HST_ACS_WFC", tile=64, threshold=0.1).run(working)
    np.testing.assert_array_equal(result.probability, expected)
    np.testing.assert_array_equal(result.mask, expected > 0.1)


def test_same_photons_same_mask(make_image: Make) -> None:
    finder = make_finder()
    expected = finder.run(read_image(make_image()))
    for source in (make_image("adu"), make_image(calibration=0.37).convert_unit(u.nJy)):
        result = finder.run(read_image(source))
        near = np.abs(expected.probability - 0.5) < 1e-3
        np.testing.assert_array_equal(result.mask[~near], expected.mask[~near])


def test_saturated_pixels_are_seen_but_not_found(make_image: Make) -> None:
    saturated = np.zeros((80, 96), bool)
    saturated[40, 70:76] = True
    finder = make_finder()
    clean = finder.run(read_image(make_image()))
    result = finder.run(read_image(make_image(SATURATED=saturated)))
    np.testing.assert_array_equal(result.probability, clean.probability)
    np.testing.assert_array_equal(result.mask, clean.mask & ~saturated)


def test_planes_to_fill(make_image: Make) -> None:
    """A bad column neither is found nor hides what is far from it."""
    column = np.zeros((80, 96), bool)
    column[:, 33] = True
    image = read_image(make_image(BAD=column))
    bright = dataclasses.replace(image, image=np.where(column, np.float32(3e4), image.image))
    clean = make_finder().run(read_image(make_image()))
    filled = make_finder().run(bright)
    np.testing.assert_array_equal(filled.mask, clean.mask)
    unfilled = make_finder(fillPlanes=[]).run(bright)
    assert not unfilled.mask[40, 71:81].all()
    with pytest.raises(UnknownMaskPlaneError, match="'VIGNETED'"):
        make_finder(fillPlanes=["VIGNETED"]).run(bright)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_not_found(working: WorkingImage, value: float) -> None:
    gaps = np.random.default_rng(1).random(working.image.shape) < 0.02
    image = dataclasses.replace(working, image=np.where(gaps, np.float32(value), working.image))
    for tiling in ("overlap", "original"):
        mask = make_finder(tiling=tiling).run(image).mask
        assert not mask[gaps].any()
    assert make_finder().run(image).mask[40, 70:82][~gaps[40, 70:82]].sum() > 6


def test_refused_images(make_image: Make, working: WorkingImage) -> None:
    plane = np.zeros((80, 96), bool)
    plane[3, 4:9] = True
    with pytest.raises(AlreadyInterpolatedError):
        make_finder().run(read_image(make_image(COSMIC_RAY=plane, INTERPOLATED=plane)))
    with pytest.raises(NoUsablePixelsError):
        make_finder().run(dataclasses.replace(working, image=np.full_like(working.image, np.nan)))
    with pytest.raises(NoUsablePixelsError):
        make_finder().run(read_image(make_image(NO_DATA=np.ones((80, 96), bool))))


def test_image_smaller_than_the_stride(working: WorkingImage) -> None:
    crop = np.s_[:10, :40]
    planes = {plane: np.zeros((10, 40), bool) for plane in working.planes}
    small = dataclasses.replace(
        working, image=working.image[crop], variance=working.variance[crop], planes=planes
    )
    with pytest.raises(CosmicRayFinderError, match="at least 16 pixels") as caught:
        make_finder().run(small)
    assert caught.value.metadata == {"n_pixels": 400}


def test_model_of_a_user(tmp_path: Path, working: WorkingImage) -> None:
    (tmp_path / "mine.onnx").write_bytes(load_model("NRES", threads=1).to_onnx())
    expected = make_finder(model="NRES").run(working).mask
    np.testing.assert_array_equal(make_finder(model=str(tmp_path / "mine.onnx")).run(working).mask, expected)


def test_no_such_model(working: WorkingImage) -> None:
    with pytest.raises(ModelFileError, match="ground_imaging, NRES, HST_ACS_WFC"):
        make_finder(model="mine.onnx").run(working)


def test_no_such_provider(working: WorkingImage) -> None:
    with pytest.raises(ProviderError, match="Unknown provider 'gpu'"):
        make_finder(provider="gpu").run(working)


def test_reference_engine_needs_torch(working: WorkingImage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(EngineNotAvailableError, match="needs torch, which is not installed"):
        make_finder(engine="reference").run(working)


def test_reference_engine_is_the_original(working: WorkingImage) -> None:
    pytest.importorskip("torch", reason="needs torch, which engine 'reference' runs on")
    expected = make_finder(tiling="original").run(working)
    result = make_finder(engine="reference").run(working)
    np.testing.assert_allclose(result.probability, expected.probability, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "settings", [{"threshold": 1.0}, {"threshold": -0.1}, {"tile": 100}, {"threads": 0}, {"tiling": "mosaic"}]
)
def test_nonsense_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(FieldValidationError):
        make_finder(**settings)


def test_original_tiling_is_not_selective() -> None:
    with pytest.raises(ValueError, match="needs tiling 'overlap'"):
        make_finder(tiling="original", speed="selective")
