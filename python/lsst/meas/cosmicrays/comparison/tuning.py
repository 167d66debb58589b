# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Curves of tuning: counts at each step, and where they are best.

A curve has one row for each value of a parameter at which a finder ran. It
says how many cosmic-ray pixels were found, and how they agree with a reference
detection and with truth. Curves of detectors add up to one of all.
"""

from __future__ import annotations

__all__ = [
    "Criterion",
    "MaskCounter",
    "TuningStep",
    "add_tuning_curves",
    "best_value",
    "kneedle_difference",
    "tuning_curve",
    "tuning_optimum",
    "tuning_score",
]

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from scipy.interpolate import PchipInterpolator

from .confusion import Confusion
from .rates import pixels_per_megapixel

UNKNOWN = -1
"""Count that is not known."""

SUFFIXES = {"reference": "", "truth": "_truth"}
"""What the columns of the agreement with each end in."""

SCATTER_PERCENTILES = (16, 84)
RATES = ("mse", "purity", "completeness", "f1")
Counts = npt.NDArray[np.int64]


class Criterion(StrEnum):
    """What makes a value of the parameter the best."""

    MSE = "mse"
    """Least mean squared error against the reference detection."""

    KNEE = "knee"
    """The knee of the number of cosmic-ray pixels (Kneedle)."""

    F1 = "f1"
    """Greatest F1 against the reference detection."""

    F1_TRUTH = "f1_truth"
    """Greatest F1 against truth."""

    @property
    def judge(self) -> str | None:
        """What masks are compared with, a key of the suffixes (`str` or
        `None`).
        """
        judges = {Criterion.KNEE: None, Criterion.F1_TRUTH: "truth"}
        return judges.get(self, "reference")


@dataclass(frozen=True)
class TuningStep:
    """What a finder found with one value of the parameter."""

    n_pixels: int = UNKNOWN
    """Usable cosmic-ray pixels (`int`)."""

    tp: int = UNKNOWN
    """Those that the reference has too (`int`)."""

    tp_truth: int = UNKNOWN
    """Those that are true (`int`)."""

    failure: str = ""
    """Why the finder failed, if it did (`str`)."""

    cpu_time: float = math.nan
    """Processor time of the step, seconds (`float`)."""


class MaskCounter:
    """Count how masks agree with what does not change between steps.

    Parameters
    ----------
    usable : `numpy.ndarray`
        Pixels that are compared, bool ``(ny, nx)``.
    reference, truth : `numpy.ndarray`, optional
        Cosmic rays of the reference detection, and true ones: bool
        ``(ny, nx)``.

    Raises
    ------
    ValueError
        Raised if the arrays differ in shape.
    """

    def __init__(
        self,
        usable: npt.NDArray[np.bool_],
        *,
        reference: npt.NDArray[np.bool_] | None = None,
        truth: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self._usable = usable
        self._pixels: dict[str, npt.NDArray[np.intp] | None] = {}
        for name, mask in (("reference", reference), ("truth", truth)):
            if mask is not None and mask.shape != usable.shape:
                raise ValueError(f"The {name} has shape {mask.shape}, but the image has {usable.shape}.")
            self._pixels[name] = None if mask is None else np.flatnonzero(mask & usable)
        self.n_usable = int(np.count_nonzero(usable))

    def n_positive(self, judge: str) -> int:
        """Return how many usable pixels the reference or truth has.

        Parameters
        ----------
        judge : `str`
            ``reference`` or ``truth``.

        Returns
        -------
        n : `int`
            Number of pixels, -1 if there is no such mask.
        """
        pixels = self._pixels[judge]
        return UNKNOWN if pixels is None else int(pixels.size)

    def count(self, mask: npt.NDArray[np.bool_]) -> TuningStep:
        """Count the pixels of a mask.

        Parameters
        ----------
        mask : `numpy.ndarray`
            Cosmic-ray pixels, bool ``(ny, nx)``.

        Returns
        -------
        step : `TuningStep`
            The counts.
        """
        flat = mask.reshape(-1)
        shared = {
            name: UNKNOWN if pixels is None else int(np.count_nonzero(flat[pixels]))
            for name, pixels in self._pixels.items()
        }
        n_pixels = int(np.count_nonzero(mask & self._usable))
        return TuningStep(n_pixels=n_pixels, tp=shared["reference"], tp_truth=shared["truth"])


def tuning_curve(steps: Mapping[float, TuningStep], counter: MaskCounter) -> Table:
    """Make the table of a scan.

    Parameters
    ----------
    steps : `~collections.abc.Mapping` [`float`, `TuningStep`]
        What was found, by the value of the parameter.
    counter : `MaskCounter`
        What the steps were counted with.

    Returns
    -------
    curve : `astropy.table.Table`
        One row a value, rising: ``value``, ``n_usable``, ``n_pixels``,
        ``cr_pixels_per_mpix``; against the reference ``tp``, ``fp``, ``fn``,
        ``tn``, ``mse``, ``purity``, ``completeness``, ``f1``, and the same
        with ``_truth`` against truth; ``failure``, ``cpu_time`` (s). Counts
        that are not known are -1, rates that are not NaN.
    """
    values = sorted(steps)
    rows = [steps[value] for value in values]
    failed = np.array([bool(row.failure) for row in rows], dtype=bool)
    n_pixels = np.array([row.n_pixels for row in rows], dtype=np.int64)
    curve = Table(
        {
            "value": np.array(values, dtype=np.float64),
            "n_usable": np.full(len(rows), counter.n_usable, dtype=np.int64),
            "n_pixels": n_pixels,
        }
    )
    for judge, suffix in SUFFIXES.items():
        n_positive = counter.n_positive(judge)
        known = ~failed & (n_positive != UNKNOWN)
        tp = np.array([getattr(row, f"tp{suffix}") for row in rows], dtype=np.int64)
        counts = {
            "tp": tp,
            "fp": n_pixels - tp,
            "fn": n_positive - tp,
            "tn": counter.n_usable - n_positive - n_pixels + tp,
        }
        for name, count in counts.items():
            curve[f"{name}{suffix}"] = np.where(known, count, UNKNOWN)
    _add_rates(curve)
    curve["failure"] = np.array([row.failure for row in rows], dtype=str)
    curve["cpu_time"] = np.array([row.cpu_time for row in rows], dtype=np.float64)
    return curve


def tuning_score(
    criterion: Criterion,
    values: npt.NDArray[np.float64],
    n_pixels: npt.NDArray[np.int64],
    tp: npt.NDArray[np.int64],
    fp: npt.NDArray[np.int64],
    n_positive: int | npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Return how good the steps of a curve are, more for better.

    Parameters
    ----------
    criterion : `Criterion`
        What makes a step good.
    values : `numpy.ndarray`
        Values of the parameter, rising, float64 ``(n,)``.
    n_pixels : `numpy.ndarray`
        Cosmic-ray pixels, ``(n,)``, for the knee.
    tp, fp : `numpy.ndarray`
        Those of them that the reference or truth has, and the others,
        ``(n,)``, for the other criteria.
    n_positive : `int` or `numpy.ndarray`
        Pixels of the reference or truth.

    Returns
    -------
    score : `numpy.ndarray`
        Float64 ``(n,)``: Kneedle's difference without its sign, F1, or
        TP - FP, which is a constant less the number of pixels that differ.
    """
    if criterion is Criterion.KNEE:
        return np.abs(kneedle_difference(values, n_pixels))
    if criterion is Criterion.MSE:
        return np.asarray(tp - fp, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return 2.0 * tp / (n_positive + tp + fp)


def kneedle_difference(values: npt.ArrayLike, numbers: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return how far a curve is from the chord between its ends.

    Parameters
    ----------
    values : array-like
        Values of the parameter, rising, ``(n,)``.
    numbers : array-like
        What depends on it, ``(n,)``.

    Returns
    -------
    difference : `numpy.ndarray`
        Float64 ``(n,)``, 0 at both ends, and greatest at the knee of a curve
        that is steep first, or least at that of one that is steep last; NaN
        if the numbers at the ends are equal.

    Notes
    -----
    The difference curve of Kneedle: V. Satopaa, J. Albrecht, D. Irwin and
    B. Raghavan (2011), *Finding a "Kneedle" in a Haystack: Detecting Knee
    Points in System Behavior*, ICDCSW '11, 166. Values and numbers are
    scaled to the unit square, so that the knee depends on the range that was
    scanned. Pixels are so many that the curve needs no smoothing first.
    """
    x, y = np.asarray(values, dtype=np.float64), np.asarray(numbers, dtype=np.float64)
    if y[0] == y[-1]:
        return np.full(x.shape, math.nan)
    return (y - y[0]) / (y[-1] - y[0]) - (x - x[0]) / (x[-1] - x[0])


def best_value(curve: Table, criterion: Criterion, *, sensitivity: float = 1.0) -> float:
    """Return the value of the parameter at which a curve is best.

    Parameters
    ----------
    curve : `astropy.table.Table`
        What `tuning_curve` or `add_tuning_curves` returned.
    criterion : `Criterion`
        What is best.
    sensitivity : `float`, optional
        Kneedle's S: a knee must stand out by this many of the smallest steps
        of the curve (of its mean steps, where all are equal).

    Returns
    -------
    value : `float`
        The lowest of the best values; NaN if there is none: the finder failed
        everywhere, there is no reference or truth or it has no pixels, no
        pixel agrees, or the curve has no knee.
    """
    row = best_row(curve, criterion, sensitivity=sensitivity)
    return math.nan if row is None else float(curve["value"][row])


def best_row(curve: Table, criterion: Criterion, *, sensitivity: float = 1.0) -> int | None:
    """Return the row at which a curve is best.

    Parameters
    ----------
    curve, criterion, sensitivity
        As for `best_value`.

    Returns
    -------
    row : `int` or `None`
        Number of the row; `None` where `best_value` is NaN.
    """
    suffix = SUFFIXES[criterion.judge or "reference"]
    counted = "n_pixels" if criterion.judge is None else f"tp{suffix}"
    rows = np.flatnonzero(np.asarray(curve[counted]) != UNKNOWN)
    if rows.size == 0:
        return None
    columns = {name: np.asarray(curve[name])[rows] for name in ("value", "n_pixels")}
    tp, fp, fn = (np.asarray(curve[f"{name}{suffix}"])[rows] for name in ("tp", "fp", "fn"))
    if criterion.judge is not None and not np.any(tp > 0):
        return None
    score = tuning_score(criterion, columns["value"], columns["n_pixels"], tp, fp, tp + fn)
    if criterion is Criterion.KNEE and not np.any(score > sensitivity * _smallest_step(columns["value"])):
        return None
    return int(rows[np.argmax(score)])


def add_tuning_curves(curves: Sequence[Table]) -> Table:
    """Add the curves of detectors.

    Parameters
    ----------
    curves : `~collections.abc.Sequence` [`astropy.table.Table`]
        What `tuning_curve` returned for each detector.

    Returns
    -------
    total : `astropy.table.Table`
        The columns of `tuning_curve` but ``failure`` and ``cpu_time``, for
        every value that any detector has, within the values at which none
        failed. ``n_pixels`` is that of all ``n_detectors``; agreement with
        the reference and with truth is that of the
        ``n_detectors_reference`` and ``n_detectors_truth`` that have them.
        ``n_computed`` says how many detectors ran at that value: the counts
        of the others are interpolated, without overshoot, between the values
        next to it. Detectors on which the finder failed everywhere are left
        out. No rows, if all are.

    Notes
    -----
    A scan leaves out what cannot be its own optimum, so detectors lack
    values far from theirs, where the curve need not be known well. The
    interpolation is that of F. N. Fritsch and J. Butland (1984), SIAM J. Sci.
    Stat. Comput. 5, 300, which keeps monotonic counts monotonic.
    """
    found = [curve[np.asarray(curve["n_pixels"]) != UNKNOWN] for curve in curves]
    found = [curve for curve in found if len(curve) > 0]
    values = np.unique(np.concatenate([np.zeros(0), *(np.asarray(curve["value"]) for curve in found)]))
    for curve in found:
        values = values[(values >= curve["value"][0]) & (values <= curve["value"][-1])]
    n_computed = np.zeros(values.size, dtype=np.int64)
    for curve in found:
        n_computed += np.isin(values, curve["value"])
    total = Table({"value": values})
    total["n_usable"] = np.full(
        values.size, sum(int(curve["n_usable"][0]) for curve in found), dtype=np.int64
    )
    total["n_pixels"] = _sum_at(values, found, "n_pixels")
    for judge, suffix in SUFFIXES.items():
        judged = [curve for curve in found if curve[f"tp{suffix}"][0] != UNKNOWN]
        for name in ("tp", "fp", "fn", "tn"):
            total[f"{name}{suffix}"] = _sum_at(values, judged, f"{name}{suffix}")
        total[f"n_detectors_{judge}"] = np.full(values.size, len(judged), dtype=np.int64)
    _add_rates(total)
    total["n_detectors"] = np.full(values.size, len(found), dtype=np.int64)
    total["n_computed"] = n_computed
    return total


def tuning_optimum(curves: Sequence[Table], *, sensitivity: float = 1.0) -> Table:
    """Find the best values of the parameter, and their scatter.

    Parameters
    ----------
    curves : `~collections.abc.Sequence` [`astropy.table.Table`]
        What `tuning_curve` returned for each detector.
    sensitivity : `float`, optional
        Kneedle's S, as for `best_value`.

    Returns
    -------
    optimum : `astropy.table.Table`
        One row a `Criterion`: ``criterion``; ``value``, where the sum of all
        curves is best; ``n_detectors`` with an optimum of their own, out of
        ``n_detectors_total``; of these the ``median``, ``std`` (of a
        sample), ``p16`` and ``p84``, ``min`` and ``max``; and what the sum
        has at ``value``: ``n_pixels`` (-1 if unknown),
        ``cr_pixels_per_mpix`` and the rates. NaN where there is no optimum,
        and ``std`` of a single detector.
    """
    total = add_tuning_curves(curves)
    return Table(rows=[_optimum_row(criterion, curves, total, sensitivity) for criterion in Criterion])


def _optimum_row(
    criterion: Criterion, curves: Sequence[Table], total: Table, sensitivity: float
) -> dict[str, str | int | float]:
    each = np.array([best_value(curve, criterion, sensitivity=sensitivity) for curve in curves])
    each = each[np.isfinite(each)]
    row = best_row(total, criterion, sensitivity=sensitivity)
    low, high = SCATTER_PERCENTILES
    rates = [f"{rate}{suffix}" for suffix in SUFFIXES.values() for rate in RATES]
    return {
        "criterion": str(criterion),
        "value": math.nan if row is None else float(total["value"][row]),
        "n_detectors": int(each.size),
        "n_detectors_total": len(curves),
        "median": _or_nan(np.median, each),
        "std": float(np.std(each, ddof=1)) if each.size > 1 else math.nan,
        f"p{low}": _or_nan(lambda numbers: np.percentile(numbers, low), each),
        f"p{high}": _or_nan(lambda numbers: np.percentile(numbers, high), each),
        "min": _or_nan(np.min, each),
        "max": _or_nan(np.max, each),
        "n_pixels": UNKNOWN if row is None else int(total["n_pixels"][row]),
        **{
            name: math.nan if row is None else float(total[name][row])
            for name in ("cr_pixels_per_mpix", *rates)
        },
    }


def _or_nan(statistic: Callable[[npt.NDArray[np.float64]], Any], numbers: npt.NDArray[np.float64]) -> float:
    return float(statistic(numbers)) if numbers.size else math.nan


def _smallest_step(values: npt.NDArray[np.float64]) -> float:
    """Return the smallest step of a curve, as a fraction of its length."""
    return float(np.diff(values).min() / (values[-1] - values[0])) if values.size > 1 else 1.0


def _sum_at(values: npt.NDArray[np.float64], curves: Sequence[Table], name: str) -> Counts:
    """Add a count of curves; -1 if there are none."""
    if not curves:
        return np.full(values.size, UNKNOWN, dtype=np.int64)
    return np.rint(sum(_count_at(values, curve, name) for curve in curves)).astype(np.int64)


def _count_at(values: npt.NDArray[np.float64], curve: Table, name: str) -> npt.NDArray[np.float64]:
    """Read a count of a curve, which may have to be interpolated."""
    known, counts = np.asarray(curve["value"]), np.asarray(curve[name], dtype=np.float64)
    if known.size == 1:
        return np.broadcast_to(counts, values.shape)
    return PchipInterpolator(known, counts)(values)


def _add_rates(curve: Table) -> None:
    """Add the columns that follow from the counts."""
    curve["cr_pixels_per_mpix"] = [
        math.nan if n == UNKNOWN else pixels_per_megapixel(n, usable)
        for n, usable in curve.iterrows("n_pixels", "n_usable")
    ]
    for suffix in SUFFIXES.values():
        counts = [np.asarray(curve[f"{name}{suffix}"]) for name in ("tp", "fp", "fn", "tn")]
        rows = [_rates(*map(int, row)) for row in zip(*counts, strict=True)]
        for rate in RATES:
            curve[f"{rate}{suffix}"] = np.array([row[rate] for row in rows], dtype=np.float64)


def _rates(tp: int, fp: int, fn: int, tn: int) -> dict[str, float]:
    """Return the rates of one step, NaN where they are 0/0 or unknown."""
    if tp == UNKNOWN:
        return dict.fromkeys(RATES, math.nan)
    agreement = Confusion(tp=tp, fn=fn, fp=fp, tn=tn)
    rates = {
        "mse": (fp + fn) / (tp + fp + fn + tn) if tp + fp + fn + tn else None,
        "purity": agreement.purity,
        "completeness": agreement.completeness,
        "f1": agreement.f1,
    }
    return {name: math.nan if rate is None else rate for name, rate in rates.items()}
