# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of DIASources, as stamps need them."""

from __future__ import annotations

__all__ = ["SOURCE_COLUMNS", "no_sources", "select_sources"]

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from .positions import SourceTableError, plain_values
from .stamps import STAMP_SIZE, stamp_corners

SOURCE_COLUMNS = ("id", "x", "y", "ra", "dec")
"""Columns of a table of sources: identifier, position in pixels, and in
degrees.
"""


def no_sources() -> Table:
    """Return a table of sources without any.

    Returns
    -------
    sources : `astropy.table.Table`
        `SOURCE_COLUMNS`, and no rows.
    """
    return Table({name: np.zeros(0, np.int64 if name == "id" else np.float64) for name in SOURCE_COLUMNS})


def select_sources(
    table: Table,
    shape: tuple[int, int],
    *,
    origin: tuple[int, int] = (0, 0),
    size: int = STAMP_SIZE,
    columns: Mapping[str, str] | None = None,
    sky_column: str | None = None,
    dipole_column: str | None = None,
) -> tuple[Table, int]:
    """Select the sources that stamps can be cut around.

    Parameters
    ----------
    table : `astropy.table.Table`
        Sources; not changed.
    shape : `tuple` [`int`, `int`]
        Shape of the image, ``(ny, nx)``.
    origin : `tuple` [`int`, `int`], optional
        ``(x, y)`` of the first pixel of the image.
    size : `int`, optional
        Width and height of a stamp, pixels.
    columns : `~collections.abc.Mapping` [`str`, `str`], optional
        What each of `SOURCE_COLUMNS` is called in the table, if not so.
        Right ascension and declination are in degrees, or in the unit that
        the column has.
    sky_column : `str`, optional
        Column that is `True` for sky sources; they are dropped.
    dipole_column : `str`, optional
        Column that is `True` for sources measured to be dipoles.

    Returns
    -------
    sources : `astropy.table.Table`
        `SOURCE_COLUMNS`, and ``dipole`` (bool) if its column is given.
    n_dropped : `int`
        Number of sources, sky sources not among them, that were dropped
        because their position is not finite or no pixel of their stamp is
        on the image.

    Raises
    ------
    SourceTableError
        Raised if the table lacks a column, or has sources but none of them
        on the image.
    """
    named = {name: name for name in SOURCE_COLUMNS} | dict(columns or {})
    needed = [*named.values(), *(name for name in (sky_column, dipole_column) if name is not None)]
    missing = [name for name in needed if name not in table.colnames]
    if missing:
        raise SourceTableError(
            f"The table of sources lacks {', '.join(missing)}; it has {', '.join(table.colnames) or 'none'}."
        )
    if sky_column is not None:
        table = table[~np.asarray(table[sky_column], dtype=bool)]
    sources = Table({name: plain_values(table[column], name) for name, column in named.items()})
    if dipole_column is not None:
        sources["dipole"] = np.asarray(table[dipole_column], dtype=bool)
    on_image = _reach_image(sources, shape, origin, size)
    if len(sources) > 0 and not on_image.any():
        first = sources[0]
        raise SourceTableError(
            f"None of the {len(sources)} sources is on the image, whose first pixel is {origin} and shape "
            f"{shape}; the first of them, {first['id']}, is at x = {first['x']:.1f}, y = {first['y']:.1f}. "
            "Are they of another detector, or is x not in the pixels of the image?"
        )
    return sources[on_image], int((~on_image).sum())


def _reach_image(
    sources: Table, shape: tuple[int, int], origin: tuple[int, int], size: int
) -> npt.NDArray[np.bool_]:
    """Return which stamps have at least one pixel on the image."""
    finite = np.isfinite(sources["x"]) & np.isfinite(sources["y"])
    x_min, y_min = stamp_corners(
        np.where(finite, sources["x"], origin[0]), np.where(finite, sources["y"], origin[1]), size
    )
    inside_x = (x_min + size > origin[0]) & (x_min < origin[0] + shape[1])
    inside_y = (y_min + size > origin[1]) & (y_min < origin[1] + shape[0])
    return np.asarray(finite & inside_x & inside_y)
