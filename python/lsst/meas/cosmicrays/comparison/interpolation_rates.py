# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""OBJECTs against cosmic rays, and what became of DIASources, as counts and
rates.
"""

from __future__ import annotations

__all__ = [
    "OBJECT_RATES",
    "fate_table",
    "object_table",
    "sum_fates",
    "sum_objects",
]

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from .interpolation import SourceFate
from .intervals import wilson_interval
from .stamps import object_by_cosmic_ray

UNKNOWN = -1
"""Number that is not known."""

EVERY_KIND = "all"
"""Kind under which sources are counted whatever they truly are."""

CELLS = ("object_cr", "object_not_cr", "no_object_cr", "no_object_not_cr")
"""Cells of the confusion matrix of OBJECT and cosmic ray."""

OBJECT_RATES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    **{f"fraction_{cell}": (cell, CELLS) for cell in CELLS},
    "cr_of_object": ("object_cr", ("object_cr", "object_not_cr")),
    "object_of_cr": ("object_cr", ("object_cr", "no_object_cr")),
    "real_of_object_cr": ("real_object_cr", ("object_cr",)),
}
"""Rates of that matrix: a number, and those that add up to what it is a part
of.
"""

_COUNTS = tuple(f"n_{name}" for name in (*CELLS, "unknown", "real_object_cr"))
_DETECTORS = ("n_detectors", "n_detectors_total")
_FATE_COUNTS = ("n", "n_with_cr", "n_near_cr")
_ONLY_AFTER = (SourceFate.PIECE, SourceFate.NEW)
_ONLY_BEFORE = (SourceFate.VANISHED, SourceFate.BROKEN)


def object_table(stamps: Table, *, truth_known: bool) -> Table:
    """Count the stamps of a detector by OBJECT and cosmic ray.

    Parameters
    ----------
    stamps : `astropy.table.Table`
        Stamps, as `make_stamp_table` and `classify_sources` describe them.
    truth_known : `bool`
        Are the true variable sources known?

    Returns
    -------
    table : `astropy.table.Table`
        What `sum_objects` returns, for this detector alone.
    """
    rows = []
    for column in stamps.colnames:
        if not column.startswith("label_"):
            continue
        name = column.removeprefix("label_")
        n = object_by_cosmic_ray(stamps, name)
        cells = [n[1, 1], n[1, 0], n[0, 1], n[0, 0]]
        real = UNKNOWN
        if truth_known:
            both = (stamps["object"] == 1) & (stamps[column] == 1)
            real = int(np.count_nonzero(both & (stamps["true_variable_id"] >= 0)))
        n_unknown = len(stamps) - n.sum()
        rows.append((name, *cells, n_unknown, real, int(n_unknown == 0), 1))
    return _add_object_rates(_make_table(("detection", *_COUNTS, *_DETECTORS), rows, n_names=1))


def sum_objects(tables: Iterable[Table], n_detectors_total: int | None = None) -> Table:
    """Add up confusion matrices of OBJECT and cosmic ray.

    Parameters
    ----------
    tables : `~collections.abc.Iterable` [`astropy.table.Table`]
        What `object_table` or this function returned.
    n_detectors_total : `int`, optional
        Number of detectors there are; by default those that are in the
        tables.

    Returns
    -------
    table : `astropy.table.Table`
        One row a ``detection`` (or truth): the numbers of stamps
        ``n_object_cr``, ``n_object_not_cr``, ``n_no_object_cr``,
        ``n_no_object_not_cr``, ``n_unknown`` (the mask or the OBJECTs are
        missing) and ``n_real_object_cr`` (of the first, those of real
        variable sources; -1 if not known); `OBJECT_RATES`, each with the
        limits ``_lo`` and ``_hi`` of its 95 % interval (Wilson), NaN where
        they are 0/0; ``n_detectors``, those without unknown stamps, and
        ``n_detectors_total``.
    """
    sums: dict[str, dict[str, int]] = {}
    for table in tables:
        for row in _as_dicts(table):
            total = sums.setdefault(str(row["detection"]), dict.fromkeys((*_COUNTS, *_DETECTORS), 0))
            for name in total:
                unknown = UNKNOWN in (total[name], row[name])
                total[name] = UNKNOWN if unknown else total[name] + int(row[name])
    for total in sums.values():
        if n_detectors_total is not None:
            total["n_detectors_total"] = n_detectors_total
    rows = [(detection, *total.values()) for detection, total in sums.items()]
    return _add_object_rates(_make_table(("detection", *_COUNTS, *_DETECTORS), rows, n_names=1))


def fate_table(sources: Table) -> Table:
    """Count what became of the sources of a detector, by what they truly are.

    Parameters
    ----------
    sources : `astropy.table.Table`
        What became of them, as `compare_interpolation` returns it.

    Returns
    -------
    table : `astropy.table.Table`
        What `sum_fates` returns, for this detector alone.
    """
    fates, kinds = np.asarray(sources["fate"]), np.asarray(sources["true_kind"])
    rows = []
    for fate in SourceFate:
        of_fate = fates == fate
        named = sorted(set(kinds[of_fate].tolist()) - {""})
        for kind in (EVERY_KIND, *named):
            chosen = sources[of_fate if kind == EVERY_KIND else of_fate & (kinds == kind)]
            with_cr, near_cr = np.count_nonzero(chosen["n_cr"]), np.count_nonzero(chosen["near_cr"])
            rows.append((fate.value, kind, len(chosen), with_cr, near_cr, 1, 1))
    return _add_fate_rates(rows)


def sum_fates(tables: Sequence[Table], n_detectors_total: int | None = None) -> Table:
    """Add up what became of sources.

    Parameters
    ----------
    tables : `~collections.abc.Sequence` [`astropy.table.Table`]
        What `fate_table` or this function returned.
    n_detectors_total : `int`, optional
        Number of detectors there are; by default those that are in the
        tables.

    Returns
    -------
    table : `astropy.table.Table`
        One row a ``fate`` and ``true_kind``, which is ``all`` for sources
        whatever they are: ``n`` sources; ``n_with_cr`` of them with pixels
        in their stamp that were interpolated over, ``n_near_cr`` within the
        radius of the truth; ``n_of``, how many sources there are in all,
        without interpolation or, for pieces and new ones, with;
        ``fraction``, ``n`` / ``n_of``, and ``fraction_with_cr``,
        ``n_with_cr`` / ``n``, each with the limits ``_lo`` and ``_hi`` of
        its 95 % interval (Wilson), NaN where they are 0/0; ``n_detectors``
        and ``n_detectors_total``.
    """
    sums: dict[tuple[str, str], npt.NDArray[np.int64]] = {}
    for table in tables:
        for row in _as_dicts(table):
            key = (str(row["fate"]), str(row["true_kind"]))
            sums[key] = sums.get(key, 0) + np.array([row[name] for name in _FATE_COUNTS], dtype=np.int64)
    detectors = np.sum([[table[name].max(initial=0) for name in _DETECTORS] for table in tables], axis=0)
    n_detectors, n_total = (int(number) for number in np.broadcast_to(detectors, 2))
    if n_detectors_total is not None:
        n_total = n_detectors_total
    order = {fate.value: number for number, fate in enumerate(SourceFate)}
    keys = sorted(sums, key=lambda key: (order[key[0]], key[1] != EVERY_KIND, key[1]))
    return _add_fate_rates([(*key, *sums[key].tolist(), n_detectors, n_total) for key in keys])


def _add_object_rates(table: Table) -> Table:
    for name, (part, whole) in OBJECT_RATES.items():
        n_part = np.asarray(table[f"n_{part}"])
        n_whole = np.sum([table[f"n_{cell}"] for cell in whole], axis=0)
        _add_rate(table, name, n_part, np.where(n_part == UNKNOWN, 0, n_whole))
    return table


def _add_fate_rates(rows: Sequence[tuple]) -> Table:
    table = _make_table(("fate", "true_kind", *_FATE_COUNTS, *_DETECTORS), rows, n_names=2)
    every = np.asarray(table["true_kind"]) == EVERY_KIND
    comes = np.isin(table["fate"], _ONLY_AFTER)
    n_before = int(table["n"][every & ~comes].sum())
    n_after = int(table["n"][every & ~np.isin(table["fate"], _ONLY_BEFORE)].sum())
    table["n_of"] = np.where(comes, n_after, n_before)
    _add_rate(table, "fraction", table["n"], table["n_of"])
    _add_rate(table, "fraction_with_cr", table["n_with_cr"], table["n"])
    return table


def _add_rate(table: Table, name: str, n_part: npt.ArrayLike, n_whole: npt.ArrayLike) -> None:
    part, whole = np.asarray(n_part, dtype=float), np.asarray(n_whole, dtype=float)
    table[name] = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    table[f"{name}_lo"], table[f"{name}_hi"] = wilson_interval(np.where(whole > 0, part, 0.0), whole)


def _make_table(names: Sequence[str], rows: Sequence[tuple], *, n_names: int) -> Table:
    """Make a table of names first, then of numbers."""
    dtypes = ["U64"] * n_names + [np.int64] * (len(names) - n_names)
    return Table(rows=list(rows) or None, names=list(names), dtype=dtypes)


def _as_dicts(table: Table) -> Iterable[dict]:
    return (dict(zip(table.colnames, row, strict=True)) for row in table.iterrows())
