# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables as people read them: cells, and files to download."""

from __future__ import annotations

__all__ = ["Cell", "ShownColumn", "ShownTable", "export_table", "show_table", "to_latex"]

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

UNKNOWN = "\N{EM DASH}"
LIMITS = ("_lo", "_hi")
OF_ALL = "_total"
"""Ending of a column that says of how many a column with the same name
without the ending is.
"""

HEADINGS = {
    "f1": "F1",
    "tp": "TP",
    "fp": "FP",
    "fn": "FN",
    "tn": "TN",
    "n_detectors": "detectors",
    "n_failed": "failed",
    "n_pixels": "CR pixels",
    "n_cosmic_rays": "cosmic rays",
    "n_stamps": "stamps",
    "n_stamps_cr": "stamps CR",
    "n_stamps_not_cr": "stamps not CR",
    "cr_pixels_per_mpix": "CR pixels per Mpix",
    "flux": "CR per cm\N{SUPERSCRIPT TWO} and s",
    "median_stamp_pixels": "median CR pixels of a CR stamp",
    "fraction_in_stamps": "share of CR pixels in stamps",
    "critical_fn": "critical FN",
    "wall_time": "s a detector",
    "wall_time_median": "s a detector (median)",
    "wall_time_total": "s in all",
    "sent": "CR alerts sent a visit",
    "withheld": "other alerts withheld a visit",
    "variables_lost": "variables lost a visit",
    "lost_per_visit": "variables lost a visit",
    "passed_per_visit": "CRs passed a visit",
    "alerts_per_visit": "alerts a visit",
    "at_least": "votes",
    "f1_truth": "F1 (truth)",
    "purity_truth": "purity (truth)",
    "completeness_truth": "completeness (truth)",
    "wall_time_added": "s a detector added",
}
"""How columns are headed; others by their names, with spaces."""

ABBREVIATIONS = {
    name: name.upper()
    for name in ("cr", "f1", "fn", "fp", "id", "mse", "p16", "p84", "ra", "roc", "tn", "tp")
}
"""Words of names that are written in capitals."""

DEGREES = ("ra", "dec")
"""Positions on the sky, which need more digits than other numbers."""

LATEX = {
    "\\": r"\textbackslash{}",
    "_": r"\_",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\N{EN DASH}": "--",
    UNKNOWN: "---",
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell."""

    text: str
    """What is shown (`str`)."""

    key: str
    """What it is sorted by: a number, or the text; empty if unknown (`str`).
    """


@dataclasses.dataclass(frozen=True)
class ShownColumn:
    """One column."""

    name: str
    """Name in the table (`str`)."""

    heading: str
    """What is written above it (`str`)."""

    is_number: bool
    """Are its cells numbers? (`bool`)"""


@dataclasses.dataclass(frozen=True)
class ShownTable:
    """A table as it is shown."""

    columns: tuple[ShownColumn, ...]
    """Columns (`tuple`)."""

    rows: tuple[tuple[Cell, ...], ...]
    """Rows of cells (`tuple`)."""

    n_rows: int
    """Number of rows of the table, shown or not (`int`)."""


def show_table(table: Table, columns: Sequence[str] = (), *, most_rows: int = 200) -> ShownTable:
    """Write the numbers of a table for people.

    Parameters
    ----------
    table : `astropy.table.Table`
        The table.
    columns : `~collections.abc.Sequence` [`str`], optional
        Columns to show, in this order; those that the table lacks are left
        out.  By default all.  Limits (``_lo``, ``_hi``) are shown with the
        column that they belong to, totals (``_total``) likewise; columns
        with several numbers a row are left out. Counts below 0 stand for
        what is not known.
    most_rows : `int`, optional
        How many rows to show.

    Returns
    -------
    shown : `ShownTable`
        Its first rows.
    """
    names = [name for name in columns if name in table.colnames] or _leading_columns(table)
    names = [name for name in names if table[name].ndim == 1]
    shown = tuple(
        ShownColumn(name, HEADINGS.get(name) or _heading(name), table[name].dtype.kind in "iuf")
        for name in names
    )
    rows = tuple(tuple(_cell(row, name) for name in names) for row in table[:most_rows])
    return ShownTable(columns=shown, rows=rows, n_rows=len(table))


def export_table(table: Table, directory: Path, name: str) -> dict[str, str]:
    """Write a table as files.

    Parameters
    ----------
    table : `astropy.table.Table`
        The table.
    directory : `~pathlib.Path`
        Folder to write to.
    name : `str`
        Name of the files, without the endings.

    Returns
    -------
    files : `dict` [`str`, `str`]
        By format (``CSV``, ``ECSV``), the name of the file. Columns with
        several numbers a row are in the ECSV file only.
    """
    flat = [column for column in table.colnames if table[column].ndim == 1]
    files = {"CSV": f"{name}.csv", "ECSV": f"{name}.ecsv"}
    table[flat].write(directory / files["CSV"], format="ascii.csv")
    table.write(directory / files["ECSV"], format="ascii.ecsv")
    return files


def to_latex(shown: ShownTable, caption: str) -> str:
    """Write a shown table for a paper.

    Parameters
    ----------
    shown : `ShownTable`
        The table.
    caption : `str`
        Its caption.

    Returns
    -------
    text : `str`
        A LaTeX table, with nothing that needs a package.
    """
    kinds = "".join("r" if column.is_number else "l" for column in shown.columns)
    lines = [
        r"\begin{table}",
        rf"\caption{{{_escape(caption)}}}",
        rf"\begin{{tabular}}{{{kinds}}}",
        r"\hline",
        " & ".join(_escape(column.heading) for column in shown.columns) + r" \\",
        r"\hline",
        *(" & ".join(_escape(cell.text) for cell in row) + r" \\" for row in shown.rows),
        r"\hline",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _heading(name: str) -> str:
    """Write the name of a column as people do."""
    words = name.removeprefix("n_").split("_")
    return " ".join(ABBREVIATIONS.get(word, word) for word in words)


def _leading_columns(table: Table) -> list[str]:
    """Return the columns that are not shown with another."""
    names = set(table.colnames)
    return [
        name
        for name in table.colnames
        if not any(name.endswith(end) and name.removesuffix(end) in names for end in (*LIMITS, OF_ALL))
    ]


def _cell(row: Any, name: str) -> Cell:
    value = row[name]
    if np.ma.is_masked(value):
        return Cell(UNKNOWN, "")
    if isinstance(value, (bool, np.bool_)):
        return Cell("yes" if value else "no", str(int(value)))
    if isinstance(value, (float, np.floating)):
        return _float_cell(row, name, float(value))
    if isinstance(value, (int, np.integer)):
        if value < 0:
            return Cell(UNKNOWN, "")
        if f"{name}{OF_ALL}" in row.colnames:
            return Cell(f"{value} of {row[f'{name}{OF_ALL}']}", str(value))
        return Cell(str(value), str(value))
    return Cell(str(value), str(value))


def _float_cell(row: Any, name: str, value: float) -> Cell:
    if not math.isfinite(value):
        return Cell(UNKNOWN, "")
    if name in DEGREES:
        return Cell(f"{value:.5f}", repr(value))
    if not all(f"{name}{end}" in row.colnames for end in LIMITS):
        return Cell(_format(value), repr(value))
    limits = [float(np.ma.filled(row[f"{name}{end}"], math.nan)) for end in LIMITS]
    if not all(math.isfinite(limit) for limit in limits):
        return Cell(f"{value:.3f}" if abs(value) <= 1.0 else _format(value), repr(value))
    largest = max(abs(value), *map(abs, limits))
    decimals = 3 if largest <= 1.0 else 2 if largest < 10.0 else 1 if largest < 1000.0 else 0
    low, high = (f"{limit:.{decimals}f}" for limit in limits)
    return Cell(f"{value:.{decimals}f} ({low}\N{EN DASH}{high})", repr(value))


def _format(value: float) -> str:
    """Format a number to 4 digits."""
    if value == 0.0 or 1e-4 <= abs(value) < 1e6:
        digits = max(0, 3 - math.floor(math.log10(abs(value)))) if value else 0
        text = f"{value:.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.3e}"


def _escape(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)
