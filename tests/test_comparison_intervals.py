# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.meas.cosmicrays.comparison import (
    bootstrap_sums,
    cosmic_ray_flux,
    dice_interval,
    exposed_area_time,
    median_stamp_pixels,
    percentile_interval,
    pixels_per_megapixel,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_interval(k: int, n: int, low: float, high: float) -> None:
    """Against Newcombe (1998), table I, and the closed form at the ends."""
    np.testing.assert_allclose(wilson_interval(k, n), (low, high), atol=5e-5)


@settings(deadline=None, max_examples=50)
@given(n=st.integers(1, 10_000), fraction=st.floats(0, 1))
def test_wilson_interval_solves_its_equation(n: int, fraction: float) -> None:
    """At its limits p the rate is 1.96 sqrt(p (1 - p) / n) from p."""
    k = round(fraction * n)
    for limit in wilson_interval(k, n):
        assert 0 <= limit <= 1
        np.testing.assert_allclose(
            abs(k / n - limit), 1.959964 * math.sqrt(limit * (1 - limit) / n), atol=1e-6
        )


def test_interval_of_no_trials() -> None:
    assert np.isnan(wilson_interval(0, 0)).all()
    assert np.isnan(dice_interval(0, 0, 0)).all()
    np.testing.assert_array_equal(np.isnan(wilson_interval([0, 1], [0, 2])), [[True, False]] * 2)


@settings(deadline=None, max_examples=50)
@given(tp=st.integers(0, 500), fn=st.integers(0, 500), fp=st.integers(0, 500))
def test_dice_interval_holds_the_dice_coefficient(tp: int, fn: int, fp: int) -> None:
    low, high = dice_interval(tp, fn, fp)
    if tp + fn + fp:
        assert 0 <= low <= 2 * tp / (2 * tp + fn + fp) <= high <= 1


def test_dice_interval_covers() -> None:
    """Of many draws the true coefficient is in about 95 %."""
    rng = np.random.default_rng(5)
    tp, fn, fp = rng.multinomial(200, (0.7, 0.2, 0.1), size=4000).T
    low, high = dice_interval(tp, fn, fp)
    truth = 2 * 0.7 / (2 * 0.7 + 0.3)
    assert np.mean((low <= truth) & (truth <= high)) == pytest.approx(0.95, abs=0.015)


def test_bootstrap_is_reproducible_and_forgets_the_order() -> None:
    rng = np.random.default_rng(6)
    units = rng.integers(0, 5, (40, 3))
    sums = bootstrap_sums(units, n_replicates=50, seed=9)
    np.testing.assert_array_equal(sums, bootstrap_sums(rng.permutation(units), n_replicates=50, seed=9))
    assert not np.array_equal(sums, bootstrap_sums(units, n_replicates=50, seed=10))


def test_bootstrap_has_the_moments_of_drawing_with_replacement() -> None:
    units = np.random.default_rng(7).poisson(3, (30, 2)).astype(float)
    sums = bootstrap_sums(units, n_replicates=20_000)
    np.testing.assert_allclose(sums.mean(axis=0), units.sum(axis=0), rtol=0.01)
    np.testing.assert_allclose(np.cov(sums.T), 30 * np.cov(units.T, bias=True), rtol=0.05, atol=2)


def test_bootstrap_of_one_unit_and_of_none() -> None:
    np.testing.assert_array_equal(bootstrap_sums([[3, 4]], n_replicates=5), [[3, 4]] * 5)
    np.testing.assert_array_equal(bootstrap_sums(np.zeros((0, 2)), n_replicates=5), np.zeros((5, 2)))


def test_percentile_interval() -> None:
    values = np.append(np.linspace(0, 1, 1001), np.nan)
    assert percentile_interval(values) == pytest.approx((0.025, 0.975))
    assert np.isnan(percentile_interval([np.nan])).all()


def test_rates() -> None:
    assert pixels_per_megapixel(20, 400) == 50_000
    assert math.isnan(pixels_per_megapixel(0, 0))
    assert median_stamp_pixels([0, 0, 1, 4, 9, -1]) == 4
    assert median_stamp_pixels([0, 0, 1, 4, 9], min_pixels=2) == 6.5
    assert math.isnan(median_stamp_pixels([0, -1]))
    assert exposed_area_time(400, 0.5, 10.0) == 10.0
    assert cosmic_ray_flux(20, 4, 10.0) == 0.5


@pytest.mark.parametrize(("median", "area_time"), [(math.nan, 1.0), (1.0, math.nan), (1.0, 0.0)])
def test_flux_is_null_where_nothing_is_known(median: float, area_time: float) -> None:
    assert math.isnan(cosmic_ray_flux(10, median, area_time))
