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

__all__ = ["NOWHERE", "Cleaned", "insert_cleaned", "nothing_cleaned", "place_of", "with_cleaned"]

from typing import NamedTuple

import numpy as np

from .compiled import compiled, in_place
from .patches import Patches

SIDE = 16
"""Side of the blocks of pixels by which the list is sorted."""

NOWHERE = -1
"""Place of what is not in the list."""


class Cleaned(NamedTuple):
    """Pixels that were cleaned, block by block, row after row of blocks."""

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
def with_cleaned(cleaned: Cleaned, nx: int, pixels: np.ndarray, variances: np.ndarray) -> Cleaned:
    """Add pixels to a list.

    Parameters
    ----------
    cleaned : `Cleaned`
        List.
    nx : `int`
        Columns of the image.
    pixels : `numpy.ndarray`, (n,), int64
        Pixels, numbered ``y * nx + x``, none of them in the list, or twice.
    variances : `numpy.ndarray`, (n,), float32
        Their variances.

    Returns
    -------
    cleaned : `Cleaned`
        List with all of them.
    """
    counts = np.zeros(cleaned.starts.size - 1, dtype=np.int64)
    for pixel in pixels:
        counts[_block_of(pixel // nx, pixel % nx, nx)] += 1
    starts = np.empty_like(cleaned.starts)
    ends = np.empty_like(counts)
    n = cleaned.rows.size + pixels.size
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
        y, x = pixels[i] // nx, pixels[i] % nx
        block = _block_of(y, x, nx)
        place = ends[block]
        ends[block] += 1
        rows[place], columns[place], of_all[place] = y, x, variances[i]
    return Cleaned(starts, rows, columns, of_all)


@in_place
def _block_of(y: int, x: int, nx: int) -> int:
    """Return the block that a pixel is in."""
    return y // SIDE * _blocks_of(nx) + x // SIDE


@in_place
def place_of(cleaned: Cleaned, y: int, x: int, nx: int) -> int:
    """Find a pixel in a list.

    Parameters
    ----------
    cleaned : `Cleaned`
        List.
    y, x : `int`
        Pixel.
    nx : `int`
        Columns of the image.

    Returns
    -------
    place : `int`
        Its index, or `NOWHERE`.
    """
    block = _block_of(y, x, nx)
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
