# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every vote of every subset of detections, ranked, from joint codes alone."""

from __future__ import annotations

__all__ = ["MAX_RANKED", "NothingToRankError", "VoteTables", "rank_steps", "rank_votes"]

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from .clusters import ClusterKinds
from .confusion import Confusion, adjusted_completeness
from .gather import MIN_DETECTORS
from .histogram import counts_rows
from .intervals import bootstrap_sums, dice_interval, percentile_interval
from .masks import MaskBit, Role
from .pairs import detected_bit

MAX_RANKED = 10
"""Most detections that are ranked: n of them have n 2^(n-1) votes."""

_NO_INTERVAL = (math.nan, math.nan)


class NothingToRankError(ValueError):
    """Raised if there is no truth, or nothing that could be judged by it."""


@dataclasses.dataclass(frozen=True)
class VoteTables:
    """What is known of every pixel, stamp and cosmic ray.

    Only pixels, stamps and cosmic rays of detectors that have the truth and
    every ranked mask count, so that all votes are judged on the same.
    """

    counts: Table
    """Joint counts of the masks (`astropy.table.Table`)."""

    counts_dilated: Table
    """Joint counts of the masks and their 1-pixel dilations."""

    stamps: Table
    """Stamps, with ``available`` and ``code``."""

    objects: Table
    """Cosmic rays as objects, with ``available`` and ``code``."""

    visits: Sequence[Table] = ()
    """Joint counts of each visit: from `MIN_DETECTORS` visits on, these are
    resampled for the intervals of pixel-wise rates.
    """

    clusters: Table | None = None
    """Counts by cosmic ray, with ``visit`` and ``detector``: resampled where
    there are fewer visits. Without them there is no interval.
    """


@dataclasses.dataclass(frozen=True)
class _Codes:
    """Codes of the pixels (or stamps, or objects) that all masks judge."""

    code: npt.NDArray[np.uint64]
    n: npt.NDArray[np.int64]

    @classmethod
    def read(cls, table: Table, needed: int) -> _Codes:
        if "n" in table.colnames:
            available, code, n = counts_rows(table)
        else:
            available = np.asarray(table["available"], dtype=np.uint64)
            code = np.asarray(table["code"], dtype=np.uint64)
            n = np.ones(code.size, dtype=np.int64)
        there = available & np.uint64(needed) == np.uint64(needed)
        return cls(code[there], n[there])

    def has(self, bit: int) -> npt.NDArray[np.bool_]:
        return (self.code >> np.uint64(bit)) & np.uint64(1) == 1

    def votes(self, bits: Sequence[int]) -> npt.NDArray[np.int64]:
        return np.sum([self.has(bit) for bit in bits], axis=0, dtype=np.int64)

    def total(self, chosen: npt.NDArray[np.bool_]) -> int:
        return int(self.n[chosen].sum())

    def confusion(self, truth: int, voted: npt.NDArray[np.bool_]) -> Confusion:
        is_true = self.has(truth)
        return Confusion(
            tp=self.total(is_true & voted),
            fn=self.total(is_true & ~voted),
            fp=self.total(~is_true & voted),
            tn=self.total(~is_true & ~voted),
        )


def rank_votes(
    bits: Sequence[MaskBit],
    tables: VoteTables,
    wall_times: Mapping[str, float],
    *,
    detections: Sequence[str] = (),
    max_members: int = MAX_RANKED,
    n_replicates: int = 500,
    seed: int = 0,
) -> Table:
    """Judge every vote of every subset of detections against truth.

    Parameters
    ----------
    bits : sequence of `MaskBit`
        What the masks are.
    tables : `VoteTables`
        Joint counts, stamps and objects.
    wall_times : `~collections.abc.Mapping`
        Run time of each detection, s per detector; NaN if unknown.
    detections : sequence of `str`, optional
        Names of the detections that may vote; all by default.
    max_members : `int`, optional
        Most detections in a subset.
    n_replicates : `int`, optional
        Number of bootstrap replicates.
    seed : `int`, optional
        Seed of the bootstrap.

    Returns
    -------
    ranking : `astropy.table.Table`
        One row a subset and threshold, the best F1 of pixels first:
        ``members`` (names with commas between), ``n_members``,
        ``at_least`` (votes asked for); of pixels ``tp``, ``fn``, ``fp``,
        ``purity``, ``completeness``, ``f1`` and its 95 % interval
        ``f1_lo``, ``f1_hi``, ``adjusted_completeness``; within one pixel
        ``purity_1px``, and the bounds ``completeness_1px_min``,
        ``completeness_1px_max``, ``f1_1px_min`` and ``f1_1px_max``; of
        stamps and of objects, where the labels vote,
        ``stamp_purity``, ``stamp_completeness``, ``stamp_f1``,
        ``stamp_f1_lo``, ``stamp_f1_hi`` and likewise ``object_``;
        ``wall_time`` (s per detector, of all members); ``gain`` (how much
        better the F1 is than that of the best vote with one member less;
        NaN for one member) and ``frontier`` (whether no vote that costs no
        more has a better F1). What is 0/0 is NaN.

    Raises
    ------
    ValueError
        Raised if there is no truth, if a name is unknown, if there are more
        than `MAX_RANKED` detections, or if no detector has them all.

    Notes
    -----
    The dilation of a vote does not follow from joint codes, but lies between
    the vote itself and the vote of the dilated masks: hence the bounds. They
    are equal for the union of masks, and for one mask.
    """
    truth, ranked = _choose_bits(bits, detections)
    needed = (1 << truth) | sum(1 << bit for bit in ranked)
    pixels = _Codes.read(tables.counts, needed)
    if pixels.n.sum() == 0:
        raise NothingToRankError("No detector has the truth and all masks that are to be ranked: rank fewer.")
    near = _Codes.read(tables.counts_dilated, needed | (needed << len(bits)))
    stamps, objects = (_Codes.read(table, needed) for table in (tables.stamps, tables.objects))
    units = _resampling_units(tables)
    rows = []
    for members, at_least in _votes(ranked, max_members):
        names = [bits[member].name for member in members]
        row: dict[str, Any] = {"members": ",".join(names), "n_members": len(names), "at_least": at_least}
        voted = pixels.votes(members) >= at_least
        exact = pixels.confusion(truth, voted)
        row |= {"tp": exact.tp, "fn": exact.fn, "fp": exact.fp} | _rates("", exact)
        row["f1_lo"], row["f1_hi"] = _bootstrap_f1(
            units, needed, truth, members, at_least, n_replicates, seed
        )
        row["adjusted_completeness"] = _adjusted_completeness(
            bits, tables.counts, needed, truth, members, at_least
        )
        row |= _within_one_pixel(near, len(bits), truth, members, at_least)
        for prefix, codes in (("stamp_", stamps), ("object_", objects)):
            row |= _label_rates(prefix, codes.confusion(truth, codes.votes(members) >= at_least))
        row["wall_time"] = float(sum(wall_times.get(name, math.nan) for name in names))
        rows.append(row)
    _add_gains(rows)
    _mark_frontier(rows)
    rows.sort(key=lambda row: (-_or_minus_one(row["f1"]), row["n_members"], row["members"]))
    return Table(rows=rows)


def rank_steps(ranking: Table) -> Table:
    """Add one detection after another, always that which helps most.

    Parameters
    ----------
    ranking : `astropy.table.Table`
        What `rank_votes` returned.

    Returns
    -------
    steps : `astropy.table.Table`
        One row a step: ``step`` (from 1), ``added`` (name of the detection),
        ``members``, ``at_least`` (best threshold), ``f1``, ``f1_lo``,
        ``f1_hi``, ``gain`` (of F1 by this step), ``wall_time`` and
        ``wall_time_added`` (s per detector).
    """
    best: dict[frozenset[str], Mapping] = {}
    for row in ranking:
        best.setdefault(frozenset(str(row["members"]).split(",")), row)
    chosen: frozenset[str] = frozenset()
    before: Mapping[str, Any] = {"f1": math.nan, "wall_time": 0.0}
    steps = []
    while further := [members for members in best if chosen < members and len(members) == len(chosen) + 1]:
        members = max(further, key=lambda each: _or_minus_one(best[each]["f1"]))
        row = best[members]
        steps.append(
            {
                "step": len(members),
                "added": next(iter(members - chosen)),
                **{name: row[name] for name in ("members", "at_least", "f1", "f1_lo", "f1_hi")},
                "gain": row["f1"] - before["f1"],
                "wall_time": row["wall_time"],
                "wall_time_added": row["wall_time"] - before["wall_time"],
            }
        )
        chosen, before = members, row
    return Table(rows=steps)


def _choose_bits(bits: Sequence[MaskBit], detections: Sequence[str]) -> tuple[int, list[int]]:
    """Return the bits of truth and of the detections that are ranked."""
    truth = next((i for i, bit in enumerate(bits) if bit.role is Role.TRUTH), None)
    if truth is None:
        raise NothingToRankError("There is no truth among the masks: nothing can be ranked.")
    known = {bit.name: i for i, bit in enumerate(bits) if bit.role is Role.DETECTION}
    unknown = [name for name in detections if name not in known]
    if unknown:
        raise ValueError(f"{', '.join(unknown)} was not compared; these were: {', '.join(known)}.")
    ranked = [known[name] for name in (detections or known)]
    if len(ranked) > MAX_RANKED:
        raise ValueError(f"{len(ranked)} detections: at most {MAX_RANKED} can be ranked. Name those to rank.")
    return truth, ranked


def _votes(ranked: Sequence[int], max_members: int) -> Iterator[tuple[tuple[int, ...], int]]:
    for size in range(1, min(max_members, len(ranked)) + 1):
        for members in itertools.combinations(ranked, size):
            for at_least in range(1, size + 1):
                yield members, at_least


def _rates(prefix: str, counts: Confusion) -> dict[str, float]:
    return {f"{prefix}{name}": _or_nan(getattr(counts, name)) for name in ("purity", "completeness", "f1")}


def _label_rates(prefix: str, counts: Confusion) -> dict[str, float]:
    limits = dice_interval(counts.tp, counts.fn, counts.fp) if counts.tp > 0 else _NO_INTERVAL
    return _rates(prefix, counts) | {
        f"{prefix}f1_lo": float(limits[0]),
        f"{prefix}f1_hi": float(limits[1]),
    }


def _within_one_pixel(
    codes: _Codes, n_masks: int, truth: int, members: Sequence[int], at_least: int
) -> dict[str, float]:
    voted = codes.votes(members) >= at_least
    is_true, near_truth = codes.has(truth), codes.has(n_masks + truth)
    # What is near a vote lies between the vote, and the vote of the dilated.
    near_most = codes.votes([n_masks + member for member in members]) >= at_least
    near_least = near_most if at_least == 1 else voted
    purity = _ratio(codes.total(voted & near_truth), codes.total(voted))
    least, most = (
        _ratio(codes.total(is_true & near), codes.total(is_true)) for near in (near_least, near_most)
    )
    return {
        "purity_1px": purity,
        "completeness_1px_min": least,
        "completeness_1px_max": most,
        "f1_1px_min": _ratio(2.0 * purity * least, purity + least),
        "f1_1px_max": _ratio(2.0 * purity * most, purity + most),
    }


def _adjusted_completeness(
    bits: Sequence[MaskBit], counts: Table, needed: int, truth: int, members: Sequence[int], at_least: int
) -> float:
    detected = detected_bit(bits)
    if detected is None:
        return math.nan
    codes = _Codes.read(counts, needed | (1 << detected))
    is_true, voted = codes.has(truth), codes.votes(members) >= at_least
    critical = codes.total(is_true & ~voted & codes.has(detected))
    return _or_nan(adjusted_completeness(codes.total(is_true & voted), critical))


def _resampling_units(tables: VoteTables) -> ClusterKinds | None:
    """Return visits, or cosmic rays where there are few, as units."""
    if len(tables.visits) >= MIN_DETECTORS:
        rows = [counts_rows(table) for table in tables.visits]
        available, code, n = (np.concatenate(part) for part in zip(*rows, strict=True))
        unit = np.repeat(np.arange(len(rows)), [len(part[2]) for part in rows])
        return ClusterKinds(unit, available, code, n, np.ones(len(rows), dtype=np.int64))
    if tables.clusters is not None and len(tables.clusters) > 0:
        return ClusterKinds.from_table(tables.clusters)
    return None


def _bootstrap_f1(
    units: ClusterKinds | None,
    needed: int,
    truth: int,
    members: Sequence[int],
    at_least: int,
    n_replicates: int,
    seed: int,
) -> tuple[float, float]:
    if units is None:
        return _NO_INTERVAL
    there = units.available & np.uint64(needed) == np.uint64(needed)
    codes = _Codes(units.code[there], units.n[there])
    is_true, voted = codes.has(truth), codes.votes(members) >= at_least
    n_units = units.multiplicity.size
    judged = np.bincount(units.kind[there], minlength=n_units) > 0
    sums = [
        np.bincount(units.kind[there], codes.n * chosen, n_units)
        for chosen in (is_true & voted, is_true & ~voted, ~is_true & voted)
    ]
    replicates = bootstrap_sums(
        np.column_stack(sums)[judged], units.multiplicity[judged], n_replicates=n_replicates, seed=seed
    )
    tp, fn, fp = replicates.T
    f1 = np.divide(2.0 * tp, 2.0 * tp + fn + fp, out=np.full(tp.shape, np.nan), where=tp > 0)
    return percentile_interval(f1)


def _add_gains(rows: Sequence[dict[str, Any]]) -> None:
    best: dict[frozenset[str], float] = {}
    for row in rows:
        members = frozenset(row["members"].split(","))
        best[members] = max(best.get(members, -1.0), _or_minus_one(row["f1"]))
    for row in rows:
        members = frozenset(row["members"].split(","))
        fewer = [best[members - {name}] for name in members if len(members) > 1]
        row["gain"] = row["f1"] - max(fewer) if fewer and max(fewer) >= 0.0 else math.nan


def _mark_frontier(rows: Sequence[dict[str, Any]]) -> None:
    best = -math.inf
    for row in sorted(rows, key=lambda row: (row["wall_time"], -_or_minus_one(row["f1"]))):
        row["frontier"] = bool(math.isfinite(row["wall_time"]) and row["f1"] > best)
        if row["frontier"]:
            best = row["f1"]


def _or_nan(rate: float | None) -> float:
    return math.nan if rate is None else float(rate)


def _or_minus_one(rate: float) -> float:
    return -1.0 if math.isnan(rate) else float(rate)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan
