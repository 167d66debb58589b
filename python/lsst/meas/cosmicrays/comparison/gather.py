# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The confusion matrices of a visit, or of many, with their intervals."""

from __future__ import annotations

__all__ = ["MIN_DETECTORS", "RATES", "confusion_table", "needs_clusters", "read_bits", "stack_tables"]

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from astropy.table import Table, vstack

from .clusters import ClusterKinds
from .confusion import TolerantConfusion, adjusted_completeness
from .intervals import bootstrap_sums, dice_interval, percentile_interval, wilson_interval
from .masks import MaskBit, Role
from .pairs import PAIR_COUNTS, Level, catalogue_pairs, mask_pairs

MIN_DETECTORS = 8
"""From this number of detectors on, pixels are resampled by detector; with
fewer, by cosmic ray.
"""

RATES = ("purity", "completeness", "f1", "dice", "adjusted_completeness")
"""Rates of a confusion matrix, each with an interval."""

_INTERVALS = {rate: (f"{rate}_lo", f"{rate}_hi") for rate in RATES}
_DTYPES: dict[str, npt.DTypeLike] = {
    "level": "U9",
    "reference": "U64",
    "candidate": "U64",
    "truth_sigma": np.float64,
    **dict.fromkeys(PAIR_COUNTS, np.int64),
    **{name: np.float64 for rate in RATES for name in (rate, *_INTERVALS[rate])},
    "interval": "U19",
    "n_detectors": np.int64,
    "n_detectors_total": np.int64,
}


def stack_tables(tables: Sequence[tuple[Mapping[str, int], Table]]) -> Table:
    """Put tables under each other, with columns that say whence they are.

    Parameters
    ----------
    tables : sequence of `tuple`
        For each table its identity, such as ``{"visit": 7, "detector": 3}``,
        and the table itself, which is not changed.

    Returns
    -------
    stacked : `astropy.table.Table`
        Identity columns (int64) first, then those of the tables.

    Raises
    ------
    ValueError
        Raised if there is no table, or if two tables differ in columns.
    """
    if not tables:
        raise ValueError("No tables to gather.")
    first_identity, first = tables[0]
    parts = []
    for identity, table in tables:
        if table.colnames != first.colnames:
            differing = ", ".join(sorted(set(table.colnames) ^ set(first.colnames))) or "their order"
            raise ValueError(
                f"The tables of {dict(first_identity)} and {dict(identity)} differ in columns: {differing}. "
                "Were they made with different configurations?"
            )
        columns = {name: np.full(len(table), value, dtype=np.int64) for name, value in identity.items()}
        columns.update({name: np.asarray(table[name]) for name in table.colnames})
        # Those of many visits are large: they are copied once, on stacking.
        parts.append(Table(columns, copy=False))
    parts = [part for part in parts if len(part) > 0] or parts[:1]
    return vstack(parts, metadata_conflicts="silent") if len(parts) > 1 else parts[0].copy()


def read_bits(detections: Table) -> list[MaskBit]:
    """Return what the masks are, as gathered detection tables say.

    Parameters
    ----------
    detections : `astropy.table.Table`
        Columns ``visit``, ``detector``, ``bit``, ``detection``, ``role``
        and ``truth_sigma``.

    Returns
    -------
    bits : `list` [`MaskBit`]
        What the masks are, in the order of their bits.

    Raises
    ------
    ValueError
        Raised if a bit does not mean the same on all detectors.
    """
    seen: dict[int, tuple[MaskBit, int, int]] = {}
    for visit, detector, number, name, role, sigma in detections.iterrows(
        "visit", "detector", "bit", "detection", "role", "truth_sigma"
    ):
        bit = MaskBit(str(name), Role(str(role)), float(sigma))
        first, first_visit, first_detector = seen.setdefault(int(number), (bit, visit, detector))
        if repr(first) != repr(bit):  # A sigma may be NaN.
            raise ValueError(
                f"Bit {number} is {_describe(first)} in visit {first_visit}, detector {first_detector}, but "
                f"{_describe(bit)} in visit {visit}, detector {detector}. Compare all with the same "
                "detections and truth, then gather."
            )
    return [seen[number][0] for number in sorted(seen)]


def confusion_table(
    detections: Table,
    pixels: Table,
    stamps: Table,
    objects: Table,
    clusters: Table,
    *,
    n_replicates: int = 1000,
    seed: int = 0,
) -> Table:
    """Make the table of all confusion matrices, with rates and intervals.

    Parameters
    ----------
    detections : `astropy.table.Table`
        What the masks are and whether they are there: one row a bit and
        detector, with ``visit``, ``detector``, ``bit``, ``detection``,
        ``role``, ``truth_sigma``, ``available``.
    pixels : `astropy.table.Table`
        Pixel counts of pairs (`pixel_pairs`) of every detector.
    stamps, objects : `astropy.table.Table`
        Stamps and objects, with ``available`` and ``code``.
    clusters : `astropy.table.Table`
        Counts by cosmic ray (`cluster_counts`) with ``visit`` and
        ``detector``; used where fewer than `MIN_DETECTORS` detectors have
        both masks.
    n_replicates : `int`, optional
        Number of bootstrap replicates.
    seed : `int`, optional
        Seed of the bootstrap.

    Returns
    -------
    table : `astropy.table.Table`
        One row a level and pair: ``level``, ``reference``, ``candidate``,
        ``truth_sigma``; the columns of `PAIR_COUNTS`; `RATES` (NaN where
        they are 0/0), each with the limits ``_lo`` and ``_hi`` of its 95 %
        interval; ``interval`` (how that was made: ``wilson``,
        ``bootstrap_detectors`` or ``bootstrap_objects``); ``n_detectors``
        (those with both masks) and ``n_detectors_total``.
    """
    bits = read_bits(detections)
    by_pair = _group_by_pair(pixels)
    kinds = ClusterKinds.from_table(clusters)
    rows = []
    for level in (Level.PIXEL, Level.PIXEL_1PX):
        for reference, candidate in mask_pairs(bits):
            units = by_pair.get((level, bits[reference].name, bits[candidate].name), _NO_UNITS)
            row = _describe_pair(level, bits, reference, candidate) | _sum_units(units)
            how, multiplicity = "bootstrap_detectors", np.ones(len(units), dtype=np.int64)
            if len(units) < MIN_DETECTORS:
                how = "bootstrap_objects"
                units, multiplicity = kinds.count_pair(level, bits, reference, candidate)
            replicates = bootstrap_sums(units, multiplicity, n_replicates=n_replicates, seed=seed)
            rows.append(row | _bootstrap_intervals(replicates, row["critical_fn"]) | {"interval": how})
    for level, catalogue in ((Level.STAMP, stamps), (Level.OBJECT, objects)):
        for pair in _as_rows(catalogue_pairs(catalogue, level, bits)):
            rows.append(pair | _wilson_intervals(pair) | {"interval": "wilson"})
    detectors = _detectors_by_name(detections)
    for row in rows:
        row |= _rates(row)
        row["n_detectors"] = len(detectors[row["reference"]] & detectors[row["candidate"]])
        row["n_detectors_total"] = len(_detector_ids(detections))
    ordered = [tuple(row[name] for name in _DTYPES) for row in rows]
    return Table(rows=ordered or None, names=list(_DTYPES), dtype=list(_DTYPES.values()))


def needs_clusters(detections: Table) -> bool:
    """Say whether intervals rest on cosmic rays, or on detectors alone.

    Parameters
    ----------
    detections : `astropy.table.Table`
        What the masks are and whether they are there, of all detectors.

    Returns
    -------
    needed : `bool`
        Whether two masks are both there on at least one detector, but on
        fewer than `MIN_DETECTORS`.
    """
    there = detections[np.asarray(detections["available"], dtype=bool)]
    detectors, row = np.unique([there["visit"], there["detector"]], axis=1, return_inverse=True)
    masks, column = np.unique(there["bit"], return_inverse=True)
    available = np.zeros((detectors.shape[1], len(masks)), dtype=np.int64)
    available[row.reshape(-1), column] = 1
    common = available.T @ available
    return bool(np.any((common > 0) & (common < MIN_DETECTORS)))


_NO_UNITS = np.zeros((0, len(PAIR_COUNTS)), dtype=np.int64)


def _describe(bit: MaskBit) -> str:
    return bit.name if math.isnan(bit.sigma) else f"{bit.name} ({bit.sigma:g} sigma)"


def _describe_pair(level: Level, bits: Sequence[MaskBit], reference: int, candidate: int) -> dict:
    return {
        "level": str(level),
        "reference": bits[reference].name,
        "candidate": bits[candidate].name,
        "truth_sigma": bits[reference].sigma,
    }


def _as_rows(table: Table) -> list[dict]:
    return [dict(zip(table.colnames, row, strict=True)) for row in table.iterrows()]


def _group_by_pair(pixels: Table) -> dict[tuple[str, str, str], npt.NDArray[np.int64]]:
    """Return the counts of each level and pair, one row a detector."""
    keys = np.rec.fromarrays([np.asarray(pixels[name], dtype="U64") for name in _PAIR_KEYS])
    pairs, group = np.unique(keys, return_inverse=True)
    counts = np.column_stack([np.asarray(pixels[name], dtype=np.int64) for name in PAIR_COUNTS])
    order = np.argsort(group, kind="stable")
    parts = np.split(counts[order], np.cumsum(np.bincount(group, minlength=len(pairs)))[:-1])
    return {tuple(pair): part for pair, part in zip(pairs.tolist(), parts, strict=False)}


_PAIR_KEYS = ("level", "reference", "candidate")


def _sum_units(units: npt.NDArray[np.int64]) -> dict[str, int]:
    sums = dict(zip(PAIR_COUNTS, units.sum(axis=0).tolist(), strict=True))
    if len(units) == 0 or (units[:, PAIR_COUNTS.index("critical_fn")] < 0).any():
        sums["critical_fn"] = -1
    return sums


def _rates(row: Mapping) -> dict[str, float]:
    counts = TolerantConfusion(
        tp_reference=row["tp"], tp_candidate=row["tp_candidate"], fn=row["fn"], fp=row["fp"], tn=row["tn"]
    )
    adjusted = None
    if row["critical_fn"] >= 0:
        adjusted = adjusted_completeness(row["tp"], row["critical_fn"])
    rates = (counts.purity, counts.completeness, counts.f1, counts.dice, adjusted)
    return {name: math.nan if rate is None else float(rate) for name, rate in zip(RATES, rates, strict=True)}


def _wilson_intervals(row: Mapping) -> dict[str, float]:
    tp, fn, fp, critical = row["tp"], row["fn"], row["fp"], row["critical_fn"]
    dice = dice_interval(tp, fn, fp)
    limits = {
        "purity": wilson_interval(tp, tp + fp),
        "completeness": wilson_interval(tp, tp + fn),
        "f1": dice if tp > 0 else (math.nan, math.nan),
        "dice": dice,
        "adjusted_completeness": wilson_interval(tp, tp + critical if critical >= 0 else 0),
    }
    return _name_limits(limits)


def _bootstrap_intervals(replicates: npt.NDArray[np.float64], critical_fn: int) -> dict[str, float]:
    tp, tp_candidate, fn, fp, _, critical = replicates.T
    purity = _divide(tp_candidate, tp_candidate + fp)
    completeness = _divide(tp, tp + fn)
    adjusted = _divide(tp, tp + critical) if critical_fn >= 0 else np.full(tp.shape, np.nan)
    limits = {
        "purity": percentile_interval(purity),
        "completeness": percentile_interval(completeness),
        "f1": percentile_interval(_divide(2 * purity * completeness, purity + completeness)),
        "dice": percentile_interval(_divide(tp + tp_candidate, tp + tp_candidate + fn + fp)),
        "adjusted_completeness": percentile_interval(adjusted),
    }
    return _name_limits(limits)


def _name_limits(limits: Mapping[str, tuple]) -> dict[str, float]:
    return {
        name: float(limit)
        for rate in RATES
        for name, limit in zip(_INTERVALS[rate], limits[rate], strict=True)
    }


def _divide(
    numerator: npt.NDArray[np.float64], denominator: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def _detector_ids(detections: Table) -> set[tuple[int, int]]:
    return set(zip(detections["visit"].tolist(), detections["detector"].tolist(), strict=True))


def _detectors_by_name(detections: Table) -> dict[str, set[tuple[int, int]]]:
    return {
        str(name): _detector_ids(detections[(detections["detection"] == name) & detections["available"]])
        for name in np.unique(detections["detection"])
    }
