# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filling holes, and backgrounds from bins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.meas.cosmicrays.engines.background_model import clipped_mean, model_background
from lsst.meas.cosmicrays.engines.interpolation import interpolate

ALGORITHMS = ["CONSTANT", "LINEAR", "NATURAL_SPLINE", "AKIMA_SPLINE"]


@st.composite
def scenes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw an image, its holes, and pixels not to be used."""
    shape = draw(st.integers(1, 14)), draw(st.integers(1, 14))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    image = random.normal(100.0, 30.0, shape).astype(np.float32)
    image[random.random(shape) < draw(st.sampled_from([0.0, 0.1]))] = np.nan
    holes = random.random(shape) < draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
    unusable = random.random(shape) < draw(st.sampled_from([0.0, 0.2, 1.0]))
    return image, holes, unusable


@settings(deadline=None, max_examples=100)
@given(scenes())
def test_holes_are_means_of_their_neighbors(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    image, holes, unusable = scene
    values = interpolate(image, holes, -1000.0, unusable)
    filled = image.copy()
    filled[holes] = values
    usable = np.isfinite(image) & ~holes & ~unusable
    good = np.pad(usable | holes, 1)
    padded = np.pad(filled.astype(np.float64), 1)
    for y, x in np.argwhere(holes):
        places = [(y, x + 1), (y + 2, x + 1), (y + 1, x), (y + 1, x + 2)]
        around = [padded[place] for place in places if good[place]]
        if filled[y, x] == -1000.0:
            assert all(value == -1000.0 for value in around)
        else:
            assert filled[y, x] == pytest.approx(np.mean(around), abs=1e-3)
            assert image[usable].min() - 1e-3 <= filled[y, x] <= image[usable].max() + 1e-3


def test_planes_are_exact() -> None:
    y, x = np.mgrid[:40, :50]
    plane = (3.0 * x - 2.0 * y + 100.0).astype(np.float32)
    holes = (np.hypot(x - 20, y - 15) < 6) | ((y == 30) & (x > 5) & (x < 45))
    broken = np.where(holes, np.inf, plane).astype(np.float32)
    np.testing.assert_allclose(interpolate(broken, holes, 0.0), plane[holes], rtol=1e-5)


def test_nothing_to_fill() -> None:
    assert interpolate(np.ones((4, 5), np.float32), np.zeros((4, 5), bool), 0.0).shape == (0,)
    np.testing.assert_array_equal(interpolate(np.ones((2, 2), np.float32), np.ones((2, 2), bool), 7.0), 7.0)


def test_input_is_checked() -> None:
    image = np.ones((4, 5), np.float32)
    with pytest.raises(ValueError, match="holes"):
        interpolate(image, np.zeros((5, 4), bool), 0.0)
    with pytest.raises(TypeError, match="unusable"):
        interpolate(image, np.zeros((4, 5), bool), 0.0, np.zeros((4, 5)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_flat_background(algorithm: str) -> None:
    image = np.full((33, 47), 12.5, np.float32)
    image[3, 4] = 1e6
    background = model_background(image, np.zeros(image.shape, bool), 8, 8, algorithm=algorithm)
    assert background.dtype == np.float32
    np.testing.assert_allclose(background, 12.5, rtol=1e-6)


@pytest.mark.parametrize("bins", [2, 3, 4, 6])
@pytest.mark.parametrize("algorithm", ALGORITHMS[1:])
def test_slopes_are_followed(algorithm: str, bins: int) -> None:
    y, x = np.mgrid[:60, :72]
    image = (2.0 * x + 5.0 * y).astype(np.float32)
    background = model_background(
        image, np.zeros(image.shape, bool), 72 // bins, 60 // bins, statistic="MEAN", algorithm=algorithm
    )
    np.testing.assert_allclose(background, image, atol=1e-3)


def test_ignored_pixels_and_empty_bins() -> None:
    image = np.full((40, 40), 5.0, np.float32)
    ignored = np.zeros(image.shape, bool)
    ignored[:10, :10] = True
    image[ignored] = 1e5
    image[20, 20] = np.nan
    np.testing.assert_allclose(model_background(image, ignored, 10, 10, statistic="MEAN"), 5.0)
    np.testing.assert_array_equal(model_background(image, np.ones_like(ignored), 10, 10), 0.0)


def test_unknown_names() -> None:
    image, ignored = np.ones((4, 4), np.float32), np.zeros((4, 4), bool)
    with pytest.raises(ValueError, match="statistic must be one of MEAN, MEDIAN, MEANCLIP"):
        model_background(image, ignored, 2, 2, statistic="MODE")
    with pytest.raises(ValueError, match="algorithm must be one of"):
        model_background(image, ignored, 2, 2, algorithm="CUBIC")
    with pytest.raises(ValueError, match="bin_x"):
        model_background(image, ignored, 0, 2)


def test_clipped_mean() -> None:
    values = np.random.default_rng(1).normal(50.0, 2.0, 1000)
    assert clipped_mean(np.append(values, [1e6] * 20)) == pytest.approx(50.0, abs=0.3)
    assert clipped_mean(np.array([3.0])) == 3.0
    assert clipped_mean(np.array([3.0, 3.0, 3.0, 9.0])) == 3.0
