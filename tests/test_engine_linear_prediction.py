# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filling the pixels of cosmic rays by linear prediction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.meas.cosmicrays.engines.interpolation import NothingToInterpolateFromError, fill_holes, interpolate
from lsst.meas.cosmicrays.engines.linear_prediction import NEAR_AND_FAR, predict


@st.composite
def scenes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw an image, its variance, holes, and pixels not to be used."""
    shape = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    image = random.normal(100.0, 30.0, shape).astype(np.float32)
    image[random.random(shape) < draw(st.sampled_from([0.0, 0.1]))] = np.nan
    variance = random.uniform(100.0, 400.0, shape).astype(np.float32)
    variance[random.random(shape) < draw(st.sampled_from([0.0, 0.1]))] = np.inf
    holes = random.random(shape) < draw(st.sampled_from([0.05, 0.3, 1.0]))
    unusable = random.random(shape) < draw(st.sampled_from([0.0, 0.1]))
    return image, variance, holes, unusable


def predict_slowly(
    image: np.ndarray, variance: np.ndarray, holes: np.ndarray, unusable: np.ndarray, sky: float
) -> list[float]:
    """Predict pixel by pixel, direction by direction."""
    ny, nx = image.shape
    predictions = []
    for y, x in np.argwhere(holes):
        choices = []
        for step_y, step_x, near, far in (
            (0, 1, 0.7737, -0.2737),
            (1, 0, 0.7737, -0.2737),
            (1, 1, 0.7358, -0.2358),
            (1, -1, 0.7358, -0.2358),
        ):
            value, noise = 0.0, 0.0
            for steps, weight in ((-2, far), (-1, near), (1, near), (2, far)):
                row, column = y + steps * step_y, x + steps * step_x
                if not (0 <= row < ny and 0 <= column < nx) or holes[row, column] or unusable[row, column]:
                    break
                if not (math.isfinite(image[row, column]) and math.isfinite(variance[row, column])):
                    break
                value += weight * float(image[row, column])
                noise += float(variance[row, column]) / 4.0
            else:
                if value > sky - 2.0 * math.sqrt(noise):
                    choices.append((value, math.sqrt(noise)))
        if not choices:
            predictions.append(math.nan)
        elif len(choices) == 1:
            predictions.append(choices[0][0])
        else:
            value, noise = min(choices)
            predictions.append(value + noise / math.sqrt(math.pi))
    return predictions


@settings(deadline=None, max_examples=100)
@given(scenes())
def test_prediction_is_that_of_a_slow_loop(
    scene: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    image, variance, holes, unusable = scene
    values = predict(image, variance, holes, 100.0, unusable)
    np.testing.assert_allclose(values, predict_slowly(image, variance, holes, unusable, 100.0), rtol=1e-4)


@pytest.mark.parametrize("step", NEAR_AND_FAR)
def test_weights_are_the_best_for_a_gaussian_psf(step: tuple[int, int]) -> None:
    """Minimise the mean square error, with weights that add up to one.

    The autocorrelation of an image of point sources is that of its PSF, a
    Gaussian that is wider by the square root of two.  The tables of SDSS
    take one of sigma 1 pixel, and measure diagonals in their steps.
    """
    sigma = 1.0 / math.hypot(*step)
    places = np.array([-2, -1, 1, 2])

    def autocorrelation(distance: np.ndarray) -> np.ndarray:
        return np.exp(-(distance**2) / (4.0 * sigma**2))

    system = np.ones((5, 5))
    system[:4, :4] = autocorrelation(places[:, np.newaxis] - places)
    system[4, 4] = 0.0
    far, near, near_too, far_too, _ = np.linalg.solve(system, np.append(autocorrelation(places), 1.0))
    np.testing.assert_allclose(NEAR_AND_FAR[step], (near, far), atol=6e-5)
    np.testing.assert_allclose((near_too, far_too), (near, far))


def test_minimum_is_debiased_by_what_two_numbers_need() -> None:
    random = np.random.default_rng(5)
    image = random.normal(50.0, 4.0, (401, 401)).astype(np.float32)
    variance = np.full(image.shape, 16.0, np.float32)
    holes = np.zeros(image.shape, dtype=bool)
    holes[3::5, 3::5] = True
    raw = predict(image, variance, holes, 50.0, debias=False)
    added = predict(image, variance, holes, 50.0) - raw
    debiased = added != 0.0
    assert debiased.mean() > 0.999  # Others have one direction above the lowest.
    np.testing.assert_allclose(added[debiased], 4.0 / math.sqrt(math.pi), rtol=1e-4)
    assert raw.mean() < 50.0 - 2.0


@settings(deadline=None, max_examples=60)
@given(scenes())
def test_what_cannot_be_predicted_is_joined(
    scene: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    image, variance, holes, unusable = scene
    usable = np.isfinite(image) & ~holes & ~unusable
    if not usable.any():
        if holes.any():
            with pytest.raises(NothingToInterpolateFromError, match="None of the"):
                fill_holes(image, variance, holes, unusable)
        return
    filling = fill_holes(image, variance, holes, unusable)
    sky = float(np.median(image[usable]))
    assert np.isfinite(filling.values).all()
    assert filling.n_predicted + filling.n_joined + filling.n_sky == holes.sum()
    expected = np.array(predict_slowly(image, variance, holes, unusable, sky), dtype=np.float32)
    assert filling.n_predicted == np.isfinite(expected).sum()
    once = image.copy()
    once[holes] = expected
    left = holes & ~np.isfinite(once)
    once[left] = interpolate(once, left, sky, unusable & ~holes)
    np.testing.assert_allclose(filling.values, once[holes], rtol=1e-4, atol=1e-3)


def test_narrow_track_over_a_star() -> None:
    """Little is lost of the star under a track that is one pixel wide.

    Of a star of 2000, one that is two pixels wide takes some 430.
    """
    y, x = np.mgrid[:60, :60]
    truth = 2000.0 * np.exp(-((x - 30.0) ** 2 + (y - 30.0) ** 2) / (2 * 2.0**2)) + 100.0
    image = truth.astype(np.float32)
    variance = np.full(image.shape, 1e-4, np.float32)
    narrow = (y == 28) & (x > 10) & (x < 50)
    wide = narrow | ((y == 29) & (x > 10) & (x < 50))
    for holes, tolerance in ((narrow, 40.0), (wide, 500.0)):
        struck = np.where(holes, image + 5000.0, image).astype(np.float32)
        filling = fill_holes(struck, variance, holes)
        assert np.abs(filling.values - truth[holes]).max() < tolerance
        assert filling.n_predicted == (holes.sum() if holes is narrow else 4)
    joined = fill_holes(image, variance, narrow, method="neighbors")
    assert (joined.n_predicted, joined.n_joined) == (0, narrow.sum())
    assert np.abs(joined.values - truth[narrow]).max() > 100.0


def test_sky_is_drawn_reproducibly() -> None:
    image = np.full((50, 50), 20.0, np.float32)
    variance = np.full(image.shape, 9.0, np.float32)
    variance[0, 0] = np.nan
    holes = np.zeros(image.shape, dtype=bool)
    holes[:30] = True
    one, same, other = (fill_holes(image, variance, holes, method="sky", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.values, same.values)
    assert not np.array_equal(one.values, other.values)
    assert one.values[0] == 20.0
    assert abs(one.values.mean() - 20.0) < 0.4
    assert abs(one.values.std() - 3.0) < 0.2
    assert (one.n_predicted, one.n_joined, one.n_sky) == (0, 0, 1500)


def test_pixels_out_of_reach_get_the_sky() -> None:
    image = np.full((9, 9), 7.0, np.float32)
    holes = np.zeros(image.shape, dtype=bool)
    holes[4, 4] = True
    unusable = np.zeros(image.shape, dtype=bool)
    unusable[2:7, 2:7] = True
    filling = fill_holes(image, np.ones_like(image), holes, unusable)
    np.testing.assert_array_equal(filling.values, 7.0)
    assert filling.n_sky == 1


def test_nothing_to_do_and_wrong_input() -> None:
    image = np.ones((4, 5), np.float32)
    assert fill_holes(image, image, np.zeros((4, 5), bool)).values.size == 0
    with pytest.raises(NothingToInterpolateFromError, match="20 are to be filled"):
        fill_holes(image, image, np.ones((4, 5), bool))
    with pytest.raises(ValueError, match="variance"):
        predict(image, image.T, np.ones((4, 5), bool), 0.0)
