# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""How good the finders are, as tables to print."""

from __future__ import annotations

__all__ = ["ComparisonTables", "StudyNotFoundError", "format_comparison", "read_comparison"]

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.table import Table

from lsst.daf.butler import Butler, MissingCollectionError

from ..documentation import DocumentedError

LEVELS = {
    "pixel": "pixel by pixel",
    "pixel_1px": "pixel by pixel, within 1 pixel",
    "stamp": "by stamps around DIASources",
    "object": "by cosmic ray",
}


class StudyNotFoundError(DocumentedError, LookupError):
    """Raised when a repository does not have what is to be shown."""


@dataclasses.dataclass(frozen=True)
class ComparisonTables:
    """What `GatherComparisonTask` wrote for an instrument or a visit."""

    confusion: Table
    """Confusion matrices and rates: one row a level, reference and candidate.
    """

    summary: Table
    """What each detection found: one row a detection."""


def read_comparison(
    butler: Butler, collection: str, *, instrument: str | None = None, visit: int | None = None
) -> ComparisonTables:
    """Read the tables of an instrument, or of one visit.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    collection : `str`
        Collection that holds the tables.
    instrument : `str`, optional
        Name of the instrument, needed where there are several.
    visit : `int`, optional
        Number of a visit; all visits together if not given.

    Returns
    -------
    tables : `ComparisonTables`
        The tables.

    Raises
    ------
    StudyNotFoundError
        Raised if there is no such collection, or no such tables in it, or
        tables of several instruments.
    """
    level = "instrument" if visit is None else "visit"
    name = f"cr_{level}_confusion"
    try:
        butler.collections.get_info(collection)
    except MissingCollectionError as error:
        raise StudyNotFoundError(f"There is no collection {collection!r} in this repository.") from error
    there = []
    if butler.registry.queryDatasetTypes(name):
        there = butler.query_datasets(name, collections=collection, explain=False, limit=None)
    refs = [
        ref
        for ref in there
        if instrument in (None, ref.dataId["instrument"]) and visit in (None, ref.dataId.get("visit"))
    ]
    if len(refs) != 1:
        wanted = name if visit is None else f"{name} of visit {visit}"
        problem = "none: run the gathering of the comparison first"
        if there:
            problem = f"{len(refs)} among {', '.join(sorted(str(ref.dataId) for ref in there))}: name one"
        raise StudyNotFoundError(f"Looking for one {wanted} in collection {collection!r}, found {problem}.")
    return ComparisonTables(
        confusion=butler.get(refs[0]),
        summary=butler.get(f"cr_{level}_summary", refs[0].dataId, collections=collection),
    )


def format_comparison(tables: ComparisonTables, references: Sequence[str] | None = None) -> str:
    """Format tables for a terminal.

    Parameters
    ----------
    tables : `ComparisonTables`
        The tables.
    references : `~collections.abc.Sequence` [`str`], optional
        Detections or truths to compare with.  By default truth, if there is
        one, and ``morphological_science``, if there is one.

    Returns
    -------
    text : `str`
        One section a reference and level, then what each detection found.

    Raises
    ------
    StudyNotFoundError
        Raised if a reference is not in the tables.
    """
    known = list(dict.fromkeys(str(name) for name in tables.confusion["reference"]))
    if references is None:
        references = [name for name in ("truth", "morphological_science") if name in known]
    for name in references:
        if name not in known:
            raise StudyNotFoundError(f"No comparison with {name!r}; there are {', '.join(known)}.")
    sections = [
        text
        for reference in references
        for level in LEVELS
        if (text := _format_level(tables.confusion, reference, level))
    ]
    return "\n\n".join([*sections, _format_summary(tables.summary)])


def _format_level(confusion: Table, reference: str, level: str) -> str:
    """Format one confusion table, or nothing if nothing was compared."""
    of_level = (confusion["level"] == level) & (confusion["reference"] == reference)
    rows = confusion[of_level & (confusion["candidate"] != reference)]
    if not any(np.any(rows[name] > 0) for name in ("tp", "fp", "fn", "tn")):
        return ""
    name = reference
    sigma = float(rows["truth_sigma"][0])
    if math.isfinite(sigma):
        name = f"{reference} (charge of at least {sigma:g} sigma)"
    columns = {
        "detection": [str(candidate) for candidate in rows["candidate"]],
        "purity": _rates(rows, "purity"),
        "completeness": _rates(rows, "completeness"),
        "F1": _rates(rows, "f1"),
        "TP": _counts(rows["tp"]),
        "FP": _counts(rows["fp"]),
        "FN": _counts(rows["fn"]),
        "detectors": [f"{n} of {total}" for n, total in rows.iterrows("n_detectors", "n_detectors_total")],
    }
    return f"Against {name}, {LEVELS[level]}\n{_as_text(columns)}"


def _format_summary(summary: Table) -> str:
    """Format what each detection found, and how long it took."""
    columns = {
        "detection": [str(name) for name in summary["detection"]],
        "CR pixels": _counts(summary["n_pixels"]),
        "per Mpix": [_number(value, ".1f") for value in summary["cr_pixels_per_mpix"]],
        "CR/cm2/s": [_number(value, ".4f") for value in summary["flux"]],
        "stamps CR": _counts(summary["n_stamps_cr"]),
        "stamps not CR": _counts(summary["n_stamps_not_cr"]),
        "s/detector": [_number(value, ".2f") for value in summary["wall_time_median"]],
        "failed": _counts(summary["n_failed"]),
        "detectors": [f"{n} of {total}" for n, total in summary.iterrows("n_detectors", "n_detectors_total")],
    }
    return f"What each detection found\n{_as_text(columns)}"


def _rates(rows: Table, name: str) -> list[str]:
    """Format a rate with its 95 % interval, as far as they are known."""
    cells = []
    for rate, low, high in rows.iterrows(name, f"{name}_lo", f"{name}_hi"):
        interval = f" ({low:.3f}-{high:.3f})" if np.isfinite(low) and np.isfinite(high) else ""
        cells.append(_number(rate, ".3f") + interval)
    return cells


def _counts(values: Any) -> list[str]:
    return [f"{int(value)}" if value >= 0 else "-" for value in values]


def _number(value: float, form: str) -> str:
    return format(float(value), form) if np.isfinite(value) else "-"


def _as_text(columns: dict[str, list[str]]) -> str:
    """Align columns: names to the left, numbers to the right."""
    widths = {name: max(len(name), *(len(cell) for cell in cells)) for name, cells in columns.items()}
    first = next(iter(columns))

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(widths[name]) if name == first else cell.rjust(widths[name])
            for name, cell in zip(columns, cells, strict=True)
        ).rstrip()

    rule = "  ".join("-" * width for width in widths.values())
    return "\n".join([line(list(columns)), rule, *(line(row) for row in zip(*columns.values(), strict=True))])
