# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a section of the report is made of."""

from __future__ import annotations

__all__ = ["FigureEntry", "Section", "TableEntry"]

import dataclasses
from collections.abc import Callable

from astropy.table import Table
from matplotlib.figure import Figure

from .study import Study

type Rows = Callable[[Table], Table]
type Rank = Callable[[Study, str], float]
type Draw = Callable[[Study], Figure | None]


@dataclasses.dataclass(frozen=True)
class TableEntry:
    """A table in a section."""

    pattern: str
    """Dataset types: a name, or a pattern with ``*`` (`str`)."""

    title: str
    """What the table is called (`str`)."""

    note: str = ""
    """How it is to be read (`str`)."""

    columns: tuple[str, ...] = ()
    """Columns that are shown, all if there are none here (`tuple`). The
    limits of a rate are shown with it.
    """

    rows: Rows | None = None
    """What chooses the rows that are shown, all if `None`
    (`~collections.abc.Callable`).
    """

    most_rows: int = 200
    """How many rows are shown at most; with 0 there are only downloads
    (`int`).
    """


@dataclasses.dataclass(frozen=True)
class FigureEntry:
    """A figure in a section."""

    pattern: str
    """Dataset types: a name, or a pattern with ``*`` (`str`)."""

    title: str
    """What the figure is called (`str`)."""

    alt: str
    """What can be seen, for those who cannot see it (`str`)."""

    draw: Draw | None = None
    """What draws it from the tables of a study, `None` if they do not hold
    what is needed (`~collections.abc.Callable`). What is drawn stands for
    all figures of the pattern.
    """

    rank: Rank | None = None
    """From a study and the name of a dataset type, how telling its figures
    are: the highest come first, those of 0 are left out
    (`~collections.abc.Callable`). By name if `None`.
    """


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the report."""

    key: str
    """Its anchor in the page (`str`)."""

    title: str
    """Its heading (`str`)."""

    text: str
    """What it is about (`str`)."""

    figures: tuple[FigureEntry, ...] = ()
    """Figures (`tuple`)."""

    tables: tuple[TableEntry, ...] = ()
    """Tables (`tuple`)."""
