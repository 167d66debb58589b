# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the sources of a catalogue are, if it says so."""

from __future__ import annotations

__all__ = ["SourceTableError", "plain_values", "with_positions"]

import astropy.units
import numpy as np
import numpy.typing as npt
from astropy.table import Table


class SourceTableError(ValueError):
    """Raised when a table of sources cannot be used."""


def plain_values(column: npt.ArrayLike, name: str) -> npt.NDArray:
    """Return the values of a column as a plain array.

    Parameters
    ----------
    column : array-like
        Column of a catalogue; its values may be masked.
    name : `str`
        What it holds: ``id``, ``x``, ``y``, ``ra`` or ``dec``.

    Returns
    -------
    values : `numpy.ndarray`
        Identifiers as int64; others as float64, NaN where masked, and
        angles that have a unit, as radians in an afw catalogue, in degrees.
    """
    if name == "id":
        return np.asarray(column, dtype=np.int64)
    unit = getattr(column, "unit", None)
    if unit is not None and name in ("ra", "dec"):
        column = np.ma.asarray(column, dtype=np.float64) * unit.to(astropy.units.deg)
    return np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan)


def with_positions(table: Table) -> Table:
    """Return the rows of a catalogue whose position is known.

    Parameters
    ----------
    table : `astropy.table.Table`
        Columns ``x`` and ``y``, pixels; not changed.

    Returns
    -------
    known : `astropy.table.Table`
        The rows in which both are finite.

    Raises
    ------
    SourceTableError
        Raised if the table lacks one of these columns.
    """
    missing = [name for name in ("x", "y") if name not in table.colnames]
    if missing:
        raise SourceTableError(
            f"A catalogue lacks {', '.join(missing)} (pixels); it has {', '.join(table.colnames) or 'none'}."
        )
    return table[np.isfinite(plain_values(table["x"], "x")) & np.isfinite(plain_values(table["y"], "y"))]
