# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Footprints of real cosmic rays, from dark exposures."""

from __future__ import annotations

__all__ = ("DarkFootprints", "read_dark_footprints")

import dataclasses
from pathlib import Path

import numpy as np
from astropy.io import fits

from .footprint_library import LibraryError

_COLUMNS = ("fp_id", "x0", "y0", "pixel_values")


@dataclasses.dataclass(frozen=True)
class DarkFootprints:
    """Cosmic rays found on dark exposures.

    Parameters
    ----------
    stamps : `list` [`numpy.ndarray`]
        Electrons of each, `float32` of shape (ny, nx), 0 outside of it.
    exposure_time : `float`
        Time in which they fell, in s.
    n_pixels : `int`
        Number of pixels on which they fell.
    """

    stamps: list[np.ndarray]
    exposure_time: float
    n_pixels: int


def read_dark_footprints(path: str | Path) -> DarkFootprints:
    """Read a table of footprints as imSim (LSSTDESC) keeps them.

    Parameters
    ----------
    path : `str` or `~pathlib.Path`
        FITS file whose first extension has one row for each horizontal run of
        pixels of a footprint: ``fp_id``, ``x0``, ``y0`` and ``pixel_values``
        in electrons; and EXPTIME and NUM_PIX in its header.

    Returns
    -------
    darks : `DarkFootprints`
        The footprints.

    Raises
    ------
    LibraryError
        Raised if a column or keyword is missing.
    """
    with fits.open(path) as hdus:
        table, header = hdus[1].data, hdus[1].header
        missing = [name for name in _COLUMNS if name not in table.columns.names]
        missing += [key for key in ("EXPTIME", "NUM_PIX") if key not in header]
        if missing:
            raise LibraryError(
                f"{path} is not a table of footprints: extension 1 has no {', '.join(missing)}."
            )
        runs: dict[int, list[tuple[int, int, np.ndarray]]] = {}
        for number, x0, y0, values in zip(*(table[name] for name in _COLUMNS), strict=True):
            runs.setdefault(int(number), []).append((int(x0), int(y0), np.asarray(values, np.float32)))
        stamps = [_join(footprint) for footprint in runs.values()]
        return DarkFootprints(stamps, float(header["EXPTIME"]), int(header["NUM_PIX"]))


def _join(runs: list[tuple[int, int, np.ndarray]]) -> np.ndarray:
    left, below = min(x for x, _, _ in runs), min(y for _, y, _ in runs)
    right = max(x + len(values) for x, _, values in runs)
    above = max(y for _, y, _ in runs) + 1
    stamp = np.zeros((above - below, right - left), dtype=np.float32)
    for x, y, values in runs:
        stamp[y - below, x - left : x - left + len(values)] = values
    return stamp
