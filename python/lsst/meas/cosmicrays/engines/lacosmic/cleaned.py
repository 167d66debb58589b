# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variances of the pixels that were cleaned.

They are few, so they have a list of their own, and the plane of variances,
which may be the caller's, stays as it is.
"""

from __future__ import annotations

__all__ = ["Cleaned", "insert_cleaned", "nothing_cleaned", "with_cleaned"]

from typing import NamedTuple

import numpy as np

from .compiled import compiled, in_place
from .patches import Patches

SIDE = 16
"""Side of the blocks of pixels by which the list is sorted."""

NOWHERE = np.int64(-1)
"""Place of what is not in the list."""


class Cleaned(NamedTuple):
    """Pixels that were cleaned, block by block, as pages are read."""

    starts: np.ndarray
    """Index of the first pixel of each block, and the number of all pixels,
    (blocks + 1,) int64."""

    rows: np.ndarray
    """Row of each pixel, (n,) int32."""

    columns: np.ndarray
    """Column of each pixel, (n,) int32."""

    variances: np.ndarray
    """Its variance now, (n,) float32, electrons^2."""


@compiled
def nothing_cleaned(ny: int, nx: int) -> Cleaned:
    """Return an empty list.

    Parameters
    ----------
    ny, nx : `int`
        Shape of the image.

    Returns
    -------
    cleaned : `Cleaned`
        List of no pixels.
    """
    none = np.empty(0, dtype=np.int32)
    n_blocks = ((ny + SIDE - 1) // SIDE) * _blocks_of(nx)
    return Cleaned(np.zeros(n_blocks + 1, dtype=np.int64), none, none, np.empty(0, dtype=np.float32))


@in_place
def _blocks_of(nx: int) -> int:
    """Return the number of blocks side by side."""
    return (nx + SIDE - 1) // SIDE


@compiled
def with_cleaned(
    cleaned: Cleaned, variance: np.ndarray, pixels: np.ndarray, variances: np.ndarray
) -> tuple[Cleaned, np.ndarray]:
    """Add pixels to a list, or change their variance.

    Parameters
    ----------
    cleaned : `Cleaned`
        List; what is in it already is changed in place.
    variance : `numpy.ndarray`, (ny, nx), float32
        Variance of those that are not.
    pixels : `numpy.ndarray`, (n,), int64
        Pixels, numbered ``y * nx + x``, none of them twice.
    variances : `numpy.ndarray`, (n,), float32
        Their variances.

    Returns
    -------
    cleaned : `Cleaned`
        List with all of them.
    changed : `numpy.ndarray`, (n,), bool
        Pixels whose variance was another one before.
    """
    nx = variance.shape[1]
    changed = np.empty(pixels.size, dtype=np.bool_)
    blocks = np.empty(pixels.size, dtype=np.int64)
    counts = np.zeros(cleaned.starts.size - 1, dtype=np.int64)
    n = cleaned.rows.size
    for i in range(pixels.size):
        y = pixels[i] // nx
        x = pixels[i] - y * nx
        blocks[i] = y // SIDE * _blocks_of(nx) + x // SIDE
        place = _find(cleaned, blocks[i], y, x)
        if place == NOWHERE:
            changed[i] = variances[i] != variance[y, x]
            counts[blocks[i]] += 1
            n += 1
        else:
            changed[i] = variances[i] != cleaned.variances[place]
            cleaned.variances[place] = variances[i]
            blocks[i] = NOWHERE
    starts = np.empty_like(cleaned.starts)
    ends = np.empty_like(counts)
    rows = np.empty(n, dtype=np.int32)
    columns = np.empty(n, dtype=np.int32)
    of_all = np.empty(n, dtype=np.float32)
    n = 0
    for block in range(counts.size):
        starts[block] = n
        for k in range(cleaned.starts[block], cleaned.starts[block + 1]):
            rows[n], columns[n], of_all[n] = cleaned.rows[k], cleaned.columns[k], cleaned.variances[k]
            n += 1
        ends[block] = n
        n += counts[block]
    starts[-1] = n
    for i in range(pixels.size):
        if blocks[i] != NOWHERE:
            place = ends[blocks[i]]
            ends[blocks[i]] += 1
            rows[place], columns[place] = pixels[i] // nx, pixels[i] % nx
            of_all[place] = variances[i]
    return Cleaned(starts, rows, columns, of_all), changed


@in_place
def _find(cleaned: Cleaned, block: int, y: int, x: int) -> int:
    """Return where in a list a pixel of a block is, or `NOWHERE`."""
    for k in range(cleaned.starts[block], cleaned.starts[block + 1]):
        if cleaned.rows[k] == y and cleaned.columns[k] == x:
            return k
    return NOWHERE


@in_place
def insert_cleaned(
    cleaned: Cleaned, shape: tuple[int, int], patches: Patches, reach: int, target: np.ndarray
) -> None:
    """Put the variances of cleaned pixels into patches of the plane.

    Parameters
    ----------
    cleaned : `Cleaned`
        List of pixels, none of them on the edge of the image.
    shape : `tuple` [`int`, `int`]
        Shape of the image.
    patches : `Patches`
        Patches.
    reach : `int`
        How many pixels around them are in the array too.
    target : `numpy.ndarray`, float32
        Patch array, changed in place.
    """
    ny, nx = shape
    lanes = patches.tops.size
    height, width = patches.height + 2 * reach, patches.width + 2 * reach
    for lane in range(lanes):
        top, left = patches.tops[lane] - reach, patches.lefts[lane] - reach
        first, last = max(left, 0) // SIDE, min(left + width - 1, nx - 1) // SIDE
        for row in range(max(top, 0) // SIDE, min(top + height - 1, ny - 1) // SIDE + 1):
            block = row * _blocks_of(nx)
            for k in range(cleaned.starts[block + first], cleaned.starts[block + last + 1]):
                r, c = cleaned.rows[k] - top, cleaned.columns[k] - left
                if 0 <= r < height and 0 <= c < width:
                    target[r, c * lanes + lane] = cleaned.variances[k]
