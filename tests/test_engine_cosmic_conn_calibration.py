# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of the statistics of the selective mode of Cosmic-CoNN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lsst.meas.cosmicrays.engines.cosmic_conn import blocks, load_model, selective
from lsst.meas.cosmicrays.engines.cosmic_conn.calibration import LEAST_FACTOR, MOST_FACTOR, calibrate
from lsst.meas.cosmicrays.engines.cosmic_conn.model import CosmicConnModel


@pytest.fixture(scope="module")
def ground_imaging() -> CosmicConnModel:
    return load_model("ground_imaging", threads=2)


def draw_sample(seed: int, density: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw places that stand for the rest, and what is known of all."""
    rng = np.random.default_rng(seed)
    shape = (40, 50)
    known = rng.random(shape) < 0.1
    faint, bright = rng.random(shape), rng.gamma(3.0, size=shape)
    drawn = (rng.random(shape) < density) & ~known
    weight = np.where(known, 1.0, np.where(drawn, np.count_nonzero(~known) / np.count_nonzero(drawn), 0.0))
    quantities = np.stack([np.ones(shape), faint, bright, bright**2], axis=-1).astype(np.float32)
    return weight, known, quantities


def weighted_totals(weight: np.ndarray, quantities: np.ndarray) -> np.ndarray:
    return np.einsum("yx,yxk->k", weight, quantities.astype(np.float64))


def factors(new: np.ndarray, old: np.ndarray, known: np.ndarray) -> np.ndarray:
    stands = (old > 0.0) & ~known
    return new[stands] / old[stands]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1))
@example(3606)
def test_totals_are_met(seed: int) -> None:
    weight, known, quantities = draw_sample(seed)
    expected = weighted_totals(np.ones(weight.shape), quantities)
    new = calibrate(weight, known, quantities)
    found = factors(new, weight, known)
    np.testing.assert_allclose(new[known], 1.0)
    np.testing.assert_array_equal(new > 0.0, weight > 0.0)
    # One may be at a limit; the others make up for it.
    assert LEAST_FACTOR * (1 - 1e-9) <= found.min()
    assert found.max() <= MOST_FACTOR * (1 + 1e-9)
    np.testing.assert_allclose(weighted_totals(new, quantities), expected, rtol=2e-4)
    assert np.sum(new) == pytest.approx(weight.size, rel=1e-9)
    # And so is the total of what depends on them linearly.
    other = quantities @ np.array([3.0, -1.0, 0.5, 0.25])
    assert np.sum(new * other) == pytest.approx(np.sum(other), rel=1e-3)
    np.testing.assert_array_equal(calibrate(weight, known, quantities), new)
    # However they lie in memory.
    np.testing.assert_array_equal(calibrate(np.asfortranarray(weight), known, quantities), new)


def test_totals_are_missed_without() -> None:
    weight, _, quantities = draw_sample(1)
    expected = weighted_totals(np.ones(weight.shape), quantities)
    assert np.max(np.abs(weighted_totals(weight, quantities) / expected - 1.0)) > 0.02


def test_factors_have_limits() -> None:
    """A few places are like nothing else, and what they stand for is far."""
    weight, known, quantities = draw_sample(2, density=0.1)
    stands = (weight > 0.0) & ~known
    quantities[..., 2] = np.where(stands, quantities[..., 2], 40.0)
    quantities[np.nonzero(stands)[0][:3], np.nonzero(stands)[1][:3], 2] = 60.0
    new = calibrate(weight, known, quantities)
    found = factors(new, weight, known)
    assert found.min() > 0.0
    assert found.max() / found.min() <= MOST_FACTOR / LEAST_FACTOR * (1.0 + 1e-9)
    assert found.max() > 1.5
    assert np.sum(new) == pytest.approx(np.sum(weight), rel=1e-9)
    np.testing.assert_allclose(new[known], 1.0)


def test_rest_makes_up_for_what_is_limited() -> None:
    """By one solution, the last of five would count less than it may."""
    values = np.ones(100)
    values[:5] = 0.0, 0.0, 1.0, 1.0, 20.0
    quantities = np.stack([np.ones(100), values], axis=-1).astype(np.float32)[np.newaxis]
    weight = np.where(np.arange(100) < 5, 20.0, 0.0)
    missing = np.array([0.0, np.sum(values) - weight @ values])
    moments = (quantities[0].T * weight) @ quantities[0]
    assert (1.0 + quantities[0] @ np.linalg.solve(moments, missing))[4] < LEAST_FACTOR
    new = calibrate(weight[np.newaxis], np.zeros((1, 100), dtype=bool), quantities)
    np.testing.assert_allclose(new[0, :5], [29.5, 29.5, 18.5, 18.5, 4.0], rtol=1e-3)


def test_nothing_stands_for_the_rest() -> None:
    weight, known, quantities = draw_sample(3)
    certain = known | (weight > 0.0)
    np.testing.assert_array_equal(calibrate(weight, certain, quantities), weight)
    everything = np.ones(weight.shape)
    np.testing.assert_array_equal(calibrate(everything, np.ones_like(known), quantities), everything)


def test_one_place_stands_for_the_rest() -> None:
    weight, known, quantities = draw_sample(4)
    weight = np.where(known, 1.0, 0.0)
    y, x = np.argwhere(~known)[7]
    weight[y, x] = np.count_nonzero(~known)
    np.testing.assert_allclose(calibrate(weight, known, quantities), weight)


def test_quantities_that_say_nothing() -> None:
    """The same everywhere, zero, or twice there."""
    weight, known, quantities = draw_sample(5)
    expected = calibrate(weight, known, quantities)
    for constant in (0.0, 3.0):
        same = np.ones_like(quantities)
        same[..., 1:] = constant
        np.testing.assert_allclose(calibrate(weight, known, same), weight, rtol=1e-6)
    twice = np.concatenate([quantities, quantities[..., 1:]], axis=-1)
    np.testing.assert_allclose(calibrate(weight, known, twice), expected, rtol=5e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_quantities_that_are_not_finite(value: float) -> None:
    weight, known, quantities = draw_sample(6)
    quantities[5, 5, 2] = value
    known[5, 5] = False
    np.testing.assert_array_equal(calibrate(weight, known, quantities), weight)


@pytest.mark.parametrize("threads", [1, 3])
def test_responses_are_those_of_the_first_convolution(threads: int) -> None:
    model = load_model("ground_imaging", threads=threads)
    network, tensors = model._network, model._tensors
    rng = np.random.default_rng(7)
    reach, shape = network.reach, (84, 60)
    window = rng.normal(0.0, 20.0, [size + 2 * reach for size in shape]).astype(np.float32)
    window[50:53, 40:44] += 3000.0
    weight, bias = (tensors[f"inc.conv.conv.0.{name}"].astype(np.float64) for name in ("weight", "bias"))
    part = window[reach - 1 : reach + shape[0] + 1, reach - 1 : reach + shape[1] + 1].astype(np.float64)
    pixels = np.lib.stride_tricks.sliding_window_view(part, (3, 3))
    features = np.einsum("yxvu,cvu->cyx", pixels, weight[:, 0]) + bias[:, np.newaxis, np.newaxis]
    groups = features.reshape(8, -1)
    normalised = (groups - groups.mean(axis=1, keepdims=True)) / groups.std(axis=1, keepdims=True)
    scale, offset = (
        tensors[f"inc.conv.conv.4.{name}"][:, np.newaxis, np.newaxis] for name in ("weight", "bias")
    )
    rectified = np.maximum(normalised.reshape(features.shape) * scale + offset, 0.0)
    chosen = rectified[:: len(rectified) // 8].reshape(8, shape[0] // 4, 4, shape[1] // 4, 4)
    responses = network.measure_responses(window)
    assert responses.shape == (21, 15, 17)
    np.testing.assert_array_equal(responses[..., 0], 1.0)
    np.testing.assert_allclose(
        responses[..., 1::2].transpose(2, 0, 1), chosen.mean(axis=(2, 4)), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(
        responses[..., 2::2].transpose(2, 0, 1), (chosen**2).mean(axis=(2, 4)), rtol=1e-3, atol=1e-4
    )


def make_stars(seed: int) -> np.ndarray:
    """Make a tile of stars, and what is around it."""
    rng = np.random.default_rng(seed)
    image = np.full((1044, 1044), 400.0)
    y, x = np.mgrid[-12:13, -12:13]
    for _ in range(250):
        row, column = rng.integers(12, 1032, 2)
        star = np.exp(-0.5 * (x**2 + y**2) / 1.7**2)
        image[row - 12 : row + 13, column - 12 : column + 13] += 10 ** rng.uniform(2.0, 4.5) * star
    image = rng.poisson(image).astype(np.float32)
    for row, column in rng.integers(20, 1020, (20, 2)):
        image[row, column : column + 6] += 500.0
    return image - np.float32(400.0)


def test_first_statistics_are_closer_to_those_of_the_tile(
    ground_imaging: CosmicConnModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = ground_imaging._network
    normalise = blocks._Weights.group_normalisation
    normalisations: list[np.ndarray] = []

    def note(*given: object) -> tuple[np.ndarray, np.ndarray]:
        found = normalise(*given)
        normalisations.append(found[0])
        return found

    monkeypatch.setattr(blocks._Weights, "group_normalisation", note)
    errors = []
    for seed in (1, 2):
        window = make_stars(seed)
        statistics = []
        for calibrates in (None, False, True):
            normalisations.clear()
            if calibrates is None:
                network.evaluate(window)
            else:
                with monkeypatch.context() as patch:
                    if not calibrates:
                        patch.setattr(selective, "calibrate", lambda weight, *_: weight)
                    selective.SelectiveEvaluator(network).evaluate(window)
            # Not those of the first, which are exact.
            found = normalisations[-len(network.steps) + 1 :]
            statistics.append(np.concatenate(found[:3]))
        whole, plain, calibrated = statistics
        errors.append([np.sqrt(np.mean((some / whole - 1.0) ** 2)) for some in (plain, calibrated)])
    plain_error, calibrated_error = np.sqrt(np.mean(np.square(errors), axis=0))
    assert calibrated_error < 0.5 * plain_error
