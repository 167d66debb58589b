# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Probabilities against truth, and how good any threshold would be.

A histogram of the probabilities of true and of other pixels is counted once a
detector.  It adds up over detectors and visits, and from it follow the curves
of completeness and purity (recall and precision) and of the false-positive
rate.  Davis & Goadrich (2006, ICML 23, 233) say why the former tell more where
true pixels are rare.
"""

from __future__ import annotations

__all__ = [
    "LOGIT_STEP",
    "add_probability_counts",
    "count_probability",
    "probability_counts",
    "probability_curve",
    "probability_summary",
]

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from astropy.table import Table, vstack

from .masks import ComparedMasks, Role

LOGIT_STEP = 0.05
"""Width of the bins, in ``log(p / (1 - p))``."""

_LARGEST_LOGIT = 20.0
_BELOW_ALL = -1.0
_KEY = ("detection", "reference")
_DTYPES: dict[str, npt.DTypeLike] = {
    "detection": "U64",
    "reference": "U64",
    "truth_sigma": np.float64,
    "threshold": np.float64,
    "n_true": np.int64,
    "n_false": np.int64,
    "n_detectors": np.int64,
}
_SUMMARY_DTYPES: dict[str, npt.DTypeLike] = {
    "detection": "U64",
    "reference": "U64",
    "truth_sigma": np.float64,
    "n_true": np.int64,
    "n_false": np.int64,
    "average_precision": np.float64,
    "precision_at_recall": np.float64,
    "recall": np.float64,
    "threshold_at_recall": np.float64,
    "best_f1": np.float64,
    "threshold_at_best_f1": np.float64,
    "roc_area": np.float64,
    "n_detectors": np.int64,
}


def _make_edges() -> npt.NDArray[np.float32]:
    """Return where bins end: 0, equal steps in the logit, the last below 1.

    As float32, in which probabilities are stored, so that pixels are never
    on the wrong side of a bin's threshold.
    """
    n_steps = round(_LARGEST_LOGIT / LOGIT_STEP)
    logits = LOGIT_STEP * np.arange(-n_steps, n_steps + 1)
    inner = (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)
    below_one = np.nextafter(np.float32(1.0), np.float32(0.0))
    return np.unique(np.concatenate(([np.float32(0.0)], inner[inner < below_one], [below_one])))


_EDGES = _make_edges()


def count_probability(
    probability: npt.NDArray[np.floating], true: npt.NDArray[np.bool_], usable: npt.NDArray[np.bool_]
) -> Table:
    """Count true and other pixels by their probability.

    Parameters
    ----------
    probability : `numpy.ndarray`
        Probability of each pixel to be a cosmic ray, 0 to 1, shape
        ``(ny, nx)``.  Pixels without one (NaN) are not counted.
    true : `numpy.ndarray`
        Truly cosmic rays, bool ``(ny, nx)``.
    usable : `numpy.ndarray`
        Pixels to count, bool ``(ny, nx)``.

    Returns
    -------
    counts : `astropy.table.Table`
        One row a bin with pixels in it, rising: ``threshold`` (float64),
        ``n_true`` and ``n_false`` (int64).  The pixels of a bin have a
        probability above its ``threshold``, up to that of the next bin.
        Probabilities of exactly 0 have a bin of their own (threshold -1),
        and so have those of exactly 1; between, bins are `LOGIT_STEP` wide
        in the logit.

    Raises
    ------
    ValueError
        Raised if the arrays differ in shape, or a probability is not between
        0 and 1.
    """
    return _count_bins(_find_bins(probability, usable), true[usable])


def probability_counts(probabilities: Mapping[str, npt.NDArray[np.floating]], masks: ComparedMasks) -> Table:
    """Count the pixels of a detector by probability and truth.

    Parameters
    ----------
    probabilities : `~collections.abc.Mapping`
        By detection, the probability of each pixel, ``(ny, nx)``.
    masks : `ComparedMasks`
        With the truths and the usable pixels.

    Returns
    -------
    counts : `astropy.table.Table`
        One row a detection, truth and bin: ``detection``, ``reference``
        (name of the truth), ``truth_sigma``; ``threshold``, ``n_true`` and
        ``n_false`` as `count_probability` has them; ``n_detectors``, 1.

    Raises
    ------
    ValueError
        Raised if a probability is of another shape than the masks, or not
        between 0 and 1.
    """
    parts = [_empty_counts()]
    truths = [
        (bit, mask[masks.usable])
        for bit, mask in zip(masks.bits, masks.masks, strict=True)
        if bit.role is Role.TRUTH and mask is not None
    ]
    for detection, probability in probabilities.items():
        try:
            bins = _find_bins(probability, masks.usable)
        except ValueError as error:
            raise ValueError(f"Probability of {detection}: {error}") from error
        for bit, true in truths:
            part = _count_bins(bins, true)
            part["detection"] = detection
            part["reference"] = bit.name
            part["truth_sigma"] = bit.sigma
            part["n_detectors"] = 1
            parts.append(part[list(_DTYPES)])
    return vstack(parts, metadata_conflicts="silent")


def add_probability_counts(tables: Sequence[Table]) -> Table:
    """Add up the counts of detectors, or of visits.

    Parameters
    ----------
    tables : sequence of `astropy.table.Table`
        Tables of `probability_counts`, or sums of them.

    Returns
    -------
    counts : `astropy.table.Table`
        With the same columns; ``n_detectors`` tells how many detectors had
        both probability and truth.
    """
    parts = [part for table in tables for part in _by_curve(table)]
    n_detectors: dict[tuple[str, str], int] = {}
    for part in parts:
        key = _key(part)
        n_detectors[key] = n_detectors.get(key, 0) + int(part["n_detectors"][0])
    sums = [_empty_counts()]
    for same in _by_curve(vstack([_empty_counts(), *parts], metadata_conflicts="silent")):
        threshold, place = np.unique(same["threshold"], return_inverse=True)
        total = same[: threshold.size].copy()
        total["threshold"] = threshold
        for name in ("n_true", "n_false"):
            total[name] = 0
            np.add.at(total[name], place, np.asarray(same[name]))
        total["n_detectors"] = n_detectors[_key(same)]
        sums.append(total)
    return vstack(sums, metadata_conflicts="silent")


def probability_curve(counts: Table) -> Table:
    """Return what every threshold would find.

    Parameters
    ----------
    counts : `astropy.table.Table`
        Counts, as `add_probability_counts` returns them.

    Returns
    -------
    curve : `astropy.table.Table`
        One row a detection, truth and threshold, thresholds falling:
        ``detection``, ``reference``, ``truth_sigma``, ``threshold``;
        ``tp`` and ``fp``, the true and other pixels of a probability above
        it; ``precision`` (purity), ``recall`` (completeness) and
        ``false_positive_rate``, NaN where they are 0/0; ``n_detectors``.
    """
    parts = []
    for falling in (part[::-1] for part in _by_curve(counts)):
        curve = falling["detection", "reference", "truth_sigma", "threshold"]
        tp, fp = (np.cumsum(np.asarray(falling[name], dtype=np.int64)) for name in ("n_true", "n_false"))
        curve["tp"], curve["fp"] = tp, fp
        curve["precision"] = _divide(tp, tp + fp)
        curve["recall"] = _divide(tp, tp[-1])
        curve["false_positive_rate"] = _divide(fp, fp[-1])
        curve["n_detectors"] = falling["n_detectors"]
        parts.append(curve)
    return vstack(parts, metadata_conflicts="silent") if parts else _empty_curve()


def probability_summary(curve: Table, recall: float = 0.95) -> Table:
    """Return how good probabilities are, in a few numbers each.

    Parameters
    ----------
    curve : `astropy.table.Table`
        What every threshold would find, as of `probability_curve`.
    recall : `float`, optional
        Completeness that is asked for.

    Returns
    -------
    summary : `astropy.table.Table`
        One row a detection and truth: ``detection``, ``reference``,
        ``truth_sigma``, ``n_true``, ``n_false``; ``average_precision``, the
        mean precision over recall (sum of precision times the step in recall,
        as scikit-learn has it); ``precision_at_recall``, the best precision
        of any threshold that has at least the wanted ``recall``, and that
        ``threshold_at_recall``; ``best_f1`` with ``threshold_at_best_f1``;
        ``roc_area``, the area under the curve of recall over false-positive
        rate; ``n_detectors``.  NaN where there are no true pixels (or, for
        ``roc_area``, no others).
    """
    rows = []
    for part in _by_curve(curve):
        precision, found = np.asarray(part["precision"]), np.asarray(part["recall"])
        rate = np.asarray(part["false_positive_rate"])
        enough = np.where(found >= recall, precision, -1.0)
        f1 = _divide(2 * part["tp"], part["tp"] + part["fp"] + part["tp"][-1])
        known = part["tp"][-1] > 0
        at_recall, at_best = int(np.argmax(enough)), int(np.argmax(f1))
        rows.append(
            (
                *(part[name][0] for name in ("detection", "reference", "truth_sigma")),
                part["tp"][-1],
                part["fp"][-1],
                np.sum(precision * np.diff(found, prepend=0.0)),
                precision[at_recall] if known else np.nan,
                recall,
                part["threshold"][at_recall] if known else np.nan,
                f1[at_best] if known else np.nan,
                part["threshold"][at_best] if known else np.nan,
                np.trapezoid(np.concatenate(([0.0], found)), np.concatenate(([0.0], rate))),
                part["n_detectors"][0],
            )
        )
    return Table(rows=rows or None, names=list(_SUMMARY_DTYPES), dtype=list(_SUMMARY_DTYPES.values()))


def _find_bins(probability: npt.NDArray[np.floating], usable: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Return the bin of each usable pixel, one past the last if NaN."""
    if probability.shape != usable.shape:
        raise ValueError(f"it has shape {probability.shape}, but the image has {usable.shape}.")
    values = np.asarray(probability[usable], dtype=np.float32)
    if np.any((values < 0.0) | (values > 1.0)):
        raise ValueError(
            f"it must be between 0 and 1, but runs from {np.nanmin(values)} to {np.nanmax(values)}."
        )
    bins = np.searchsorted(_EDGES, values, side="left")
    bins[np.isnan(values)] = _EDGES.size + 1
    return bins


def _count_bins(bins: npt.NDArray[np.intp], true: npt.NDArray[np.bool_]) -> Table:
    n_bins = _EDGES.size + 1
    n_all = np.bincount(bins, minlength=n_bins)[:n_bins]
    n_true = np.bincount(bins[true], minlength=n_bins)[:n_bins]
    filled = np.flatnonzero(n_all)
    thresholds = np.concatenate(([_BELOW_ALL], _EDGES.astype(np.float64)))
    return Table(
        {
            "threshold": thresholds[filled],
            "n_true": n_true[filled].astype(np.int64),
            "n_false": (n_all - n_true)[filled].astype(np.int64),
        }
    )


def _by_curve(table: Table) -> Iterator[Table]:
    """Yield the rows of each detection and truth, in order of appearance."""
    keys = np.char.add(np.char.add(np.asarray(table["detection"], "U64"), " "), table["reference"])
    for key in dict.fromkeys(keys.tolist()):
        yield table[keys == key]


def _key(table: Table) -> tuple[str, str]:
    detection, reference = (str(table[name][0]) for name in _KEY)
    return detection, reference


def _empty_counts() -> Table:
    return Table(names=list(_DTYPES), dtype=list(_DTYPES.values()))


def _empty_curve() -> Table:
    empty = _empty_counts()["detection", "reference", "truth_sigma", "threshold"]
    for name in ("tp", "fp"):
        empty[name] = np.zeros(0, dtype=np.int64)
    for name in ("precision", "recall", "false_positive_rate"):
        empty[name] = np.zeros(0)
    empty["n_detectors"] = np.zeros(0, dtype=np.int64)
    return empty


def _divide(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> npt.NDArray[np.float64]:
    above, below = np.broadcast_arrays(
        np.asarray(numerator, dtype=np.float64), np.asarray(denominator, np.float64)
    )
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
