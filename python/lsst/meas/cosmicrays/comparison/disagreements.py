# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stamps that one detection calls a cosmic ray and another does not."""

from __future__ import annotations

__all__ = [
    "add_disagreement_counts",
    "choose_disagreements",
    "disagreement_counts",
    "disagreement_table",
    "most_telling",
]

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from astropy.table import Table, vstack

from .masks import MaskBit, Role
from .study_rows import make_table, rate_columns, rate_dtypes, sum_counts

_DTYPES: dict[str, npt.DTypeLike] = {
    "first": "U64",
    "second": "U64",
    "rank": np.int64,
    "visit": np.int64,
    "detector": np.int64,
    "id": np.int64,
    "x": np.float64,
    "y": np.float64,
    "ra": np.float64,
    "dec": np.float64,
    "edge": np.bool_,
    "n_cr_first": np.int64,
    "n_cr_second": np.int64,
    "n_others_cr": np.int64,
    "n_others_not_cr": np.int64,
    "label_truth": np.int64,
    "true_kind": "U32",
    "telling": np.float64,
}
_OF_STAMP = ("visit", "detector", "id", "x", "y", "ra", "dec", "edge", "true_kind")
_KEYS: dict[str, npt.DTypeLike] = {"first": "U64", "second": "U64"}
_COUNTS = (
    "n_stamps",
    "n_compared",
    "n_truly_cr",
    "n_truly_not_cr",
    "n_cosmic_ray",
    "n_variable",
    "n_dipole",
    "n_artifact",
)
_COUNT_DTYPES = {**_KEYS, **dict.fromkeys(_COUNTS, np.int64), **rate_dtypes("fraction_truly_cr")}
_KINDS = ("cosmic_ray", "dipole", "artifact")


def disagreement_table(stamps: Table, bits: Sequence[MaskBit]) -> Table:
    """List the stamps on which pairs of detections disagree.

    Parameters
    ----------
    stamps : `astropy.table.Table`
        Stamps, with ``visit`` and ``detector``.
    bits : sequence of `MaskBit`
        What the masks are.

    Returns
    -------
    disagreements : `astropy.table.Table`
        For each ordered pair of detections, one row a stamp that ``first``
        calls a cosmic ray and ``second`` does not, the most telling first:
        ``rank`` (from 1 in each pair); ``visit``, ``detector``, ``id``,
        ``x``, ``y``, ``ra``, ``dec``, ``edge``; ``n_cr_first`` and
        ``n_cr_second`` (pixels); ``n_others_cr`` and ``n_others_not_cr``
        (how many of the other detections call it so); ``label_truth`` (1,
        0, or -1 where unknown), ``true_kind``; and ``telling``.

    Notes
    -----
    ``telling`` is the number of cosmic-ray pixels by which the two
    differ, times how clearly the other detections side with one of the two:
    1 + abs(``n_others_cr`` - ``n_others_not_cr``) / (their number).  So a
    long track that only one finder misses comes before a pixel at the
    threshold on which finders are divided.  Truth has no part in it: the
    order is the same where there is none.
    """
    names = [bit.name for bit in bits if bit.role is Role.DETECTION]
    labels = {name: np.asarray(stamps[f"label_{name}"]) for name in names}
    n_cr = sum((labels[name] == 1).astype(np.int64) for name in names)
    n_not_cr = sum((labels[name] == 0).astype(np.int64) for name in names)
    parts = []
    for first in names:
        for second in names:
            chosen = np.flatnonzero((labels[first] == 1) & (labels[second] == 0))
            if len(chosen) > 0:
                parts.append(_rows_of_pair(stamps[chosen], first, second, n_cr[chosen], n_not_cr[chosen]))
    return _stack(parts)


def most_telling(tables: Iterable[Table], n_stamps: int) -> Table:
    """Return the most telling disagreements of each pair.

    Parameters
    ----------
    tables : iterable of `astropy.table.Table`
        What `disagreement_table` returned, of one visit each; no more than
        one is held at a time.
    n_stamps : `int`
        Most stamps of a pair that are kept.

    Returns
    -------
    disagreements : `astropy.table.Table`
        The same columns, ranked over all visits.
    """
    kept = make_table([], _DTYPES)
    for table in tables:
        kept = _rank(_stack([kept, table[table["rank"] <= n_stamps]]))
        kept = kept[kept["rank"] <= n_stamps]
    return kept


def choose_disagreements(
    disagreements: Table, first: str, second: str, *, n_stamps: int, n_per_detector: int
) -> Table:
    """Choose the disagreements of a pair that a gallery shows.

    Parameters
    ----------
    disagreements : `astropy.table.Table`
        What `disagreement_table` returned.
    first, second : `str`
        The detection that calls the stamps cosmic rays, and the other.
    n_stamps : `int`
        Most stamps in all.
    n_per_detector : `int`
        Most stamps of one detector, so that one with the trail of a
        satellite does not fill the gallery.

    Returns
    -------
    chosen : `astropy.table.Table`
        Rows of the table, in their order.
    """
    of_pair = disagreements[(disagreements["first"] == first) & (disagreements["second"] == second)]
    of_detector: dict[tuple[int, int], int] = {}
    chosen = []
    for number, detector in enumerate(of_pair.iterrows("visit", "detector")):
        of_detector[detector] = of_detector.get(detector, 0) + 1
        if of_detector[detector] <= n_per_detector:
            chosen.append(number)
    return of_pair[chosen[:n_stamps]]


def disagreement_counts(disagreements: Table, stamps: Table, bits: Sequence[MaskBit]) -> Table:
    """Count the disagreements of each pair of detections.

    Parameters
    ----------
    disagreements : `astropy.table.Table`
        What `disagreement_table` returned.
    stamps : `astropy.table.Table`
        The stamps that it was made of.
    bits : sequence of `MaskBit`
        What the masks are.

    Returns
    -------
    counts : `astropy.table.Table`
        One row for each ordered pair of detections: ``n_stamps`` that
        ``first`` calls cosmic rays and ``second`` does not, of
        ``n_compared`` stamps on detectors with both masks; of these
        disagreements ``n_truly_cr`` and ``n_truly_not_cr`` (by the label of
        truth) and ``fraction_truly_cr`` (where ``first`` is right) with the
        limits ``_lo`` and ``_hi`` of its 95 % Wilson interval, NaN where
        truth is not known; and, of those of which it is known what they
        are, ``n_cosmic_ray``, ``n_variable``, ``n_dipole`` and
        ``n_artifact``.
    """
    names = [bit.name for bit in bits if bit.role is Role.DETECTION]
    there = {name: np.asarray(stamps[f"label_{name}"]) >= 0 for name in names}
    rows = []
    for first in names:
        for second in names:
            if first == second:
                continue
            of_pair = disagreements[(disagreements["first"] == first) & (disagreements["second"] == second)]
            kinds, truth = np.asarray(of_pair["true_kind"]), np.asarray(of_pair["label_truth"])
            counted = {f"n_{kind}": int(np.count_nonzero(kinds == kind)) for kind in _KINDS}
            counted["n_variable"] = int(np.count_nonzero(kinds != "")) - sum(counted.values())
            row = {
                "first": first,
                "second": second,
                "n_stamps": len(of_pair),
                "n_compared": int(np.count_nonzero(there[first] & there[second])),
                "n_truly_cr": int(np.count_nonzero(truth == 1)),
                "n_truly_not_cr": int(np.count_nonzero(truth == 0)),
                **counted,
            }
            rows.append(row | _truth_rate(row))
    return make_table(rows, _COUNT_DTYPES)


def add_disagreement_counts(tables: Iterable[Table]) -> Table:
    """Add up counts of disagreements over visits.

    Parameters
    ----------
    tables : iterable of `astropy.table.Table`
        What `disagreement_counts` or this function returned.

    Returns
    -------
    counts : `astropy.table.Table`
        The same columns.
    """
    rows = sum_counts(tables, list(_KEYS), _COUNTS)
    return make_table([row | _truth_rate(row) for row in rows], _COUNT_DTYPES)


def _rows_of_pair(
    stamps: Table, first: str, second: str, n_cr: npt.NDArray[np.int64], n_not_cr: npt.NDArray[np.int64]
) -> Table:
    """Return the rows of a pair; the two are among the counts of both."""
    n_first, n_second = (np.asarray(stamps[f"n_cr_{name}"], dtype=np.int64) for name in (first, second))
    others_cr, others_not_cr = n_cr - 1, n_not_cr - 1
    n_others = np.maximum(others_cr + others_not_cr, 1)
    columns = {name: np.asarray(stamps[name]) for name in _OF_STAMP}
    columns |= {
        "first": np.full(len(stamps), first),
        "second": np.full(len(stamps), second),
        "rank": np.zeros(len(stamps), dtype=np.int64),
        "n_cr_first": n_first,
        "n_cr_second": n_second,
        "n_others_cr": others_cr,
        "n_others_not_cr": others_not_cr,
        "label_truth": np.full(len(stamps), -1),
        "telling": (n_first - n_second) * (1.0 + np.abs(others_cr - others_not_cr) / n_others),
    }
    if "label_truth" in stamps.colnames:
        columns["label_truth"] = np.asarray(stamps["label_truth"])
    return _rank(Table({name: columns[name].astype(dtype) for name, dtype in _DTYPES.items()}))


def _rank(rows: Table) -> Table:
    """Put the most telling of each pair first; of equal ones by visit,
    detector and id.
    """
    pairs = list(rows.iterrows("first", "second"))
    numbers = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
    pair = np.array([numbers[key] for key in pairs], dtype=np.int64)
    order = np.lexsort([rows["id"], rows["detector"], rows["visit"], -np.asarray(rows["telling"]), pair])
    ranked, pair = rows[order], pair[order]
    ranked["rank"] = np.arange(len(ranked)) - np.searchsorted(pair, pair) + 1
    return ranked


def _stack(tables: Iterable[Table]) -> Table:
    parts = [table for table in tables if len(table) > 0]
    return vstack(parts, metadata_conflicts="silent") if parts else make_table([], _DTYPES)


def _truth_rate(row: dict) -> dict[str, float]:
    return rate_columns("fraction_truly_cr", row["n_truly_cr"], row["n_truly_cr"] + row["n_truly_not_cr"])
