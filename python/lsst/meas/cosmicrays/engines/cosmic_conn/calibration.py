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
    n_quantities = quantities.shape[-1]
    values = quantities.reshape(-1, n_quantities)
    stands = ((weight > 0.0) & ~known).ravel()
    old = np.where(stands, weight.ravel(), 0.0)
    total = np.sum(old)
    if total == 0.0:
        return weight
    # What stands for the rest has its number, whatever the old weights are.
    unknown = (~known).ravel() * (total / np.count_nonzero(~known))
    factor, free = np.ones(old.size), stands.copy()
    change, moments = np.empty(old.size), np.empty((n_quantities, n_quantities))
    for _ in range(MOST_ROUNDS):
        missing = np.zeros(n_quantities)
        _add_weighted(values, unknown - old * factor, missing)
        moments[:] = 0.0
        _add_moments(values, np.where(free, old, 0.0), moments)
        if not (np.all(np.isfinite(missing)) and np.all(np.isfinite(moments))):
            return weight
        _combine(values, _solve(moments, missing), change)
        factor = np.where(free, np.clip(factor + change, LEAST_FACTOR, MOST_FACTOR), factor)
        limited = free & ((factor == LEAST_FACTOR) | (factor == MOST_FACTOR))
        free &= ~limited
        if not np.any(limited) or not np.any(free):
            break
    new = old * factor
    new *= total / np.sum(new)
    return np.where(stands, new, weight.ravel()).reshape(weight.shape)


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
def _combine(values: np.ndarray, coefficients: np.ndarray, sums: np.ndarray) -> None:
    """Add up the values of each place times coefficients."""
    for i in range(values.shape[0]):
        total = 0.0
        for k in range(coefficients.size):
            total += coefficients[k] * values[i, k]
        sums[i] = total
