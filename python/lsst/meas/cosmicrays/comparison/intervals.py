# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Intervals of rates: Wilson for independent trials, bootstrap for pixels."""

from __future__ import annotations

__all__ = ["bootstrap_sums", "dice_interval", "percentile_interval", "wilson_interval"]

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri


def wilson_interval(
    n_success: npt.ArrayLike, n_trials: npt.ArrayLike, *, level: float = 0.95
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the Wilson score interval of a binomial rate.

    Parameters
    ----------
    n_success : array-like
        Number of successes.
    n_trials : array-like
        Number of trials, of a shape that broadcasts with ``n_success``.
    level : `float`, optional
        Confidence level.

    Returns
    -------
    low, high : `numpy.ndarray`
        Limits of the interval, within 0 and 1; NaN where there is no trial.

    Notes
    -----
    Wilson, E. B. (1927), Journal of the American Statistical Association
    22, 209.
    """
    k, n = np.broadcast_arrays(np.asarray(n_success, dtype=float), np.asarray(n_trials, dtype=float))
    z2 = ndtri(0.5 + level / 2) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = (k + z2 / 2) / (n + z2)
        half_width = np.sqrt(z2) / (n + z2) * np.sqrt(k * (n - k) / n + z2 / 4)
    low = np.where(k == 0, 0.0, np.clip(centre - half_width, 0, 1))
    high = np.where(k == n, 1.0, np.clip(centre + half_width, 0, 1))
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def dice_interval(
    tp: npt.ArrayLike, fn: npt.ArrayLike, fp: npt.ArrayLike, *, level: float = 0.95
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return an interval of the Dice coefficient of independent trials.

    The Dice coefficient is not a binomial rate, but the Jaccard index
    J = TP / (TP + FN + FP) is, and Dice = 2 J / (1 + J) rises with it: the
    limits are those of the Wilson interval of J.

    Parameters
    ----------
    tp, fn, fp : array-like
        Numbers of true positives, false negatives and false positives.
    level : `float`, optional
        Confidence level.

    Returns
    -------
    low, high : `numpy.ndarray`
        Limits of the interval; NaN where there is no trial.
    """
    n_either = np.asarray(tp) + np.asarray(fn) + np.asarray(fp)
    low, high = wilson_interval(tp, n_either, level=level)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def bootstrap_sums(
    statistics: npt.ArrayLike,
    multiplicity: npt.ArrayLike | None = None,
    *,
    n_replicates: int = 1000,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Draw units with replacement, and sum their statistics.

    Parameters
    ----------
    statistics : array-like
        Numbers to be summed, shape ``(n_units, n_statistics)``: for
        instance the true positives of every pair of masks, one row a
        detector.
    multiplicity : array-like, optional
        How many units each row stands for; one by default.
    n_replicates : `int`, optional
        Number of times that as many units as there are are drawn.
    seed : `int`, optional
        Seed of the random numbers. The result depends on nothing else, and
        not on the order of the units.

    Returns
    -------
    sums : `numpy.ndarray`
        Sums, float64, shape ``(n_replicates, n_statistics)``.

    Notes
    -----
    Units with the same statistics are drawn together, as one multinomial
    number: the many cosmic rays of a single pixel cost no more than one.
    """
    rows = np.asarray(statistics, dtype=np.float64)
    weights = np.ones(len(rows)) if multiplicity is None else np.asarray(multiplicity)
    n_units = int(weights.sum())
    if n_units == 0:
        return np.zeros((n_replicates, rows.shape[1]))
    kinds, kind = np.unique(rows, axis=0, return_inverse=True)
    probability = np.bincount(kind.reshape(-1), weights, len(kinds)) / n_units
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_units, probability, size=n_replicates).astype(np.float64) @ kinds


def percentile_interval(replicates: npt.ArrayLike, *, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of the bootstrap replicates of a rate.

    Parameters
    ----------
    replicates : array-like
        Value of the rate in each replicate, shape ``(n_replicates,)``; NaN
        where it is 0/0. These do not count.
    level : `float`, optional
        Confidence level.

    Returns
    -------
    low, high : `float`
        Limits of the interval; NaN if there is no value.
    """
    values = np.asarray(replicates, dtype=float)
    known = values[np.isfinite(values)]
    if known.size == 0:
        return np.nan, np.nan
    low, high = np.percentile(known, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)
