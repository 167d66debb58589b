# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""How good masks are, where the masks themselves are at hand."""

from __future__ import annotations

__all__ = ["JUDGED_COUNTS", "judge_mask", "judgement_rates"]

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .components import find_components
from .gather import MIN_DETECTORS
from .histogram import dilate
from .intervals import bootstrap_sums, percentile_interval, wilson_interval

JUDGED_COUNTS = (
    "tp",
    "fn",
    "fp",
    "near_candidate",
    "near_reference",
    "n_true_objects",
    "n_found_objects",
    "n_objects",
    "n_pure_objects",
)
"""What `judge_mask` counts; counts of detectors add up."""


def judge_mask(
    candidate: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_], usable: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Count how a mask agrees with truth, by pixel and by cosmic ray.

    Parameters
    ----------
    candidate, truth : `numpy.ndarray`
        The mask and the true cosmic rays, bool ``(ny, nx)``.
    usable : `numpy.ndarray`
        Pixels that are compared, bool ``(ny, nx)``.

    Returns
    -------
    counts : `numpy.ndarray`
        Int64, in the order of `JUDGED_COUNTS`: pixels; candidate pixels
        within one pixel of truth and the reverse; components of truth, and
        those of them of which the mask has a pixel; components of the mask,
        and those that have a true pixel.
    """
    in_candidate, is_true = candidate & usable, truth & usable
    true_objects, objects = find_components(is_true), find_components(in_candidate)
    return np.array(
        [
            np.count_nonzero(in_candidate & is_true),
            np.count_nonzero(is_true & ~in_candidate),
            np.count_nonzero(in_candidate & ~is_true),
            np.count_nonzero(in_candidate & dilate(truth)),
            np.count_nonzero(is_true & dilate(candidate)),
            true_objects.n_components,
            np.count_nonzero(true_objects.maximum(candidate[true_objects.rows, true_objects.columns])),
            objects.n_components,
            np.count_nonzero(objects.maximum(truth[objects.rows, objects.columns])),
        ],
        dtype=np.int64,
    )


def judgement_rates(
    counts: npt.NDArray[np.int64], *, n_replicates: int = 500, seed: int = 0
) -> dict[str, Any]:
    """Return rates, with intervals, from the counts of detectors.

    Parameters
    ----------
    counts : `numpy.ndarray`
        What `judge_mask` returned, one row a detector.
    n_replicates : `int`, optional
        Number of bootstrap replicates.
    seed : `int`, optional
        Seed of the bootstrap.

    Returns
    -------
    rates : `dict`
        Sums of the counts, ``n_detectors``; ``purity``, ``completeness``,
        ``f1`` of pixels, and within one pixel (``purity_1px``, ...); of
        cosmic rays ``object_completeness`` (true ones that were found),
        ``object_purity`` (found ones that are true), with Wilson intervals
        (``_lo``, ``_hi``). The F1 of pixels have intervals (``f1_lo``, ...)
        from a bootstrap over detectors, if there are at least
        `MIN_DETECTORS`. What is 0/0 or unknown is NaN.
    """
    rates: dict[str, Any] = dict(zip(JUDGED_COUNTS, counts.sum(axis=0).tolist(), strict=True))
    rates["n_detectors"] = len(counts)
    rates |= {name: float(values[0]) for name, values in _pixel_rates(counts.sum(axis=0)[np.newaxis]).items()}
    intervals = dict.fromkeys(("f1", "f1_1px"), (math.nan, math.nan))
    if len(counts) >= MIN_DETECTORS:
        replicates = _pixel_rates(bootstrap_sums(counts, n_replicates=n_replicates, seed=seed))
        intervals = {name: percentile_interval(replicates[name]) for name in intervals}
    for name, found, every in (
        ("object_completeness", rates["n_found_objects"], rates["n_true_objects"]),
        ("object_purity", rates["n_pure_objects"], rates["n_objects"]),
    ):
        rates[name] = found / every if every else math.nan
        limits = wilson_interval(found, every)
        intervals[name] = float(limits[0]), float(limits[1])
    for name, (low, high) in intervals.items():
        rates[f"{name}_lo"], rates[f"{name}_hi"] = low, high
    return rates


def _pixel_rates(sums: npt.NDArray) -> dict[str, npt.NDArray[np.float64]]:
    tp, fn, fp, near_candidate, near_reference = np.asarray(sums, dtype=np.float64).T[:5]
    rates = {}
    for suffix, matched, found in (("", tp, tp), ("_1px", near_candidate, near_reference)):
        purity, completeness = _divide(matched, tp + fp), _divide(found, tp + fn)
        rates[f"purity{suffix}"], rates[f"completeness{suffix}"] = purity, completeness
        rates[f"f1{suffix}"] = _divide(2.0 * purity * completeness, purity + completeness)
    return rates


def _divide(numerator: npt.NDArray, denominator: npt.NDArray) -> npt.NDArray[np.float64]:
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)
