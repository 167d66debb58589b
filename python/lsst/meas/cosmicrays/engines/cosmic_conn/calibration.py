# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Adjusting the weights of a sample so that known totals are met."""

from __future__ import annotations

__all__ = ["LEAST_FACTOR", "MOST_FACTOR", "calibrate"]

import numpy as np

from .compiled import in_place

LEAST_FACTOR = 0.2
MOST_FACTOR = 4.0
"""A weight is changed by these factors at most."""

MOST_ROUNDS = 8
"""So often the rest is adjusted for the weights that are at their limits."""

RIDGE = 1e-4
"""Quantities that say nearly the same are told apart by this much (part of
their mean square); so much less precisely their totals are met.
"""


def calibrate(weight: np.ndarray, known: np.ndarray, quantities: np.ndarray) -> np.ndarray:
    """Adjust weights of what stands for the rest.

    The new weights are the old ones times factors that are linear in the
    quantities, within limits, such that the weighted totals of the
    quantities are the totals over everything: calibration by truncated
    linear weights (Deville & Sarndal 1992, JASA 87, 376).  What else is
    summed up with them has a smaller error, as far as it depends linearly on
    the quantities.

    Parameters
    ----------
    weight : `numpy.ndarray`
        Weight of each place; 0 where it does not count.
    known : `numpy.ndarray` [`bool`]
        Places whose weight stays.
    quantities : `numpy.ndarray` [`float32`]
        What is known of every place, in one more axis.  The first has to be
        1 everywhere: the sum of weights stays as it is.

    Returns
    -------
    calibrated : `numpy.ndarray`
        The weights.  Those given, if nothing stands for the rest or the
        quantities are not finite.
    """
    everywhere = quantities.reshape(-1, quantities.shape[-1])
    stands = np.flatnonzero((weight > 0.0) & ~known)
    if stands.size == 0:
        return weight
    old, values = weight.ravel()[stands], everywhere[stands]
    wanted = _weighted_totals(everywhere, (~known).ravel().astype(np.float64))
    # What stands for the rest has its number, whatever the old weights are.
    total = np.sum(old)
    wanted *= total / np.count_nonzero(~known)
    if not np.all(np.isfinite(wanted)):
        return weight
    factor, free = np.ones(old.size), np.ones(old.size, dtype=bool)
    for _ in range(MOST_ROUNDS):
        moments = np.zeros((wanted.size, wanted.size))
        _add_moments(values, old * free, moments)
        change = _solve(moments, wanted - _weighted_totals(values, old * factor))
        _add_combination(values, change, free, factor)
        limited = free & ((factor <= LEAST_FACTOR) | (factor >= MOST_FACTOR))
        factor = np.clip(factor, LEAST_FACTOR, MOST_FACTOR)
        free &= ~limited
        if not np.any(limited) or not np.any(free):
            break
    calibrated = np.array(weight, dtype=np.float64, order="C")
    calibrated.ravel()[stands] = old * factor * (total / np.sum(old * factor))
    return calibrated


def _weighted_totals(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    totals = np.zeros(values.shape[1])
    _add_weighted(values, weight, totals)
    return totals


def _solve(moments: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return how much of each quantity to add to the factors."""
    scale = np.sqrt(np.diag(moments) / moments[0, 0])
    scale[scale == 0.0] = 1.0
    matrix = moments / (moments[0, 0] * np.outer(scale, scale))
    matrix[np.diag_indices_from(matrix)] += np.where(np.arange(scale.size) > 0, RIDGE, 0.0)
    return np.linalg.solve(matrix, missing / (moments[0, 0] * scale)) / scale


@in_place
def _add_weighted(values: np.ndarray, weight: np.ndarray, totals: np.ndarray) -> None:
    """Add up weighted values."""
    for i in range(values.shape[0]):
        if weight[i] != 0.0:
            for k in range(totals.size):
                totals[k] += weight[i] * values[i, k]


@in_place
def _add_moments(values: np.ndarray, weight: np.ndarray, moments: np.ndarray) -> None:
    """Add up weighted products of values."""
    for i in range(values.shape[0]):
        if weight[i] != 0.0:
            for j in range(values.shape[1]):
                weighted = weight[i] * values[i, j]
                for k in range(values.shape[1]):
                    moments[j, k] += weighted * values[i, k]


@in_place
def _add_combination(
    values: np.ndarray, coefficients: np.ndarray, free: np.ndarray, sums: np.ndarray
) -> None:
    """Add the values of each place times coefficients, where it is free."""
    for i in range(values.shape[0]):
        if free[i]:
            for k in range(coefficients.size):
                sums[i] += coefficients[k] * values[i, k]
