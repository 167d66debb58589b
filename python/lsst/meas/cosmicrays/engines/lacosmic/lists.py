# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of the pixels of an image.

Pixels are numbered in scan order, ``y * nx + x``.
"""

from __future__ import annotations

__all__ = [
    "clear_flag",
    "flagged_near",
    "neighbours",
    "set_flag",
    "with_room",
]

import numpy as np

from .compiled import compiled
from .frame import BAD, COSMIC_RAY, KNOWN, VISITED


@compiled
def with_room(numbers: np.ndarray, n: int, more: int) -> np.ndarray:
    """Return an array with room for more numbers.

    Parameters
    ----------
    numbers : `numpy.ndarray`, (>= n,)
        Array.
    n : `int`
        Count of numbers in it that are kept.
    more : `int`
        How many more it must hold.

    Returns
    -------
    numbers : `numpy.ndarray`, (>= n + more,)
        The array, or a larger one with the same numbers.
    """
    if n + more <= numbers.size:
        return numbers
    larger = np.empty(2 * (n + more), dtype=numbers.dtype)
    larger[:n] = numbers[:n]
    return larger


@compiled
def neighbours(flags: np.ndarray, pixels: np.ndarray, above: np.uint8, top: int, bottom: int) -> np.ndarray:
    """Find the pixels of some rows that touch others, and may be CR pixels.

    Parameters
    ----------
    flags : `numpy.ndarray`, (ny, nx), uint8
        Flags; pixels that are `VISITED` are passed over, and new ones become
        so.
    pixels : `numpy.ndarray`, (n,), int64
        Pixels of any rows.
    above : `numpy.uint8`
        Flag of those that exceed the limit for neighbours, where that is
        `KNOWN`.
    top, bottom : `int`
        First row and the one after the last.

    Returns
    -------
    found : `numpy.ndarray`, (m,), int64
        Pixels next to them, by a side or a corner, that may exceed the limit,
        and are neither masked nor on the edge of the image: astroscrappy does
        not grow CRs onto it.
    """
    ny, nx = flags.shape
    found = np.empty(pixels.size + 8, dtype=np.int64)
    n = 0
    for pixel in pixels:
        if not (top - 1) * nx <= pixel < (bottom + 1) * nx:
            continue
        y = pixel // nx
        found = with_room(found, n, 8)
        x = pixel - y * nx
        for row in range(max(y - 1, 1, top), min(y + 2, ny - 1, bottom)):
            for column in range(max(x - 1, 1), min(x + 2, nx - 1)):
                flag = flags[row, column]
                if flag & (BAD | VISITED) == 0 and (flag & KNOWN == 0 or flag & above):
                    flags[row, column] |= VISITED
                    found[n] = row * nx + column
                    n += 1
    return found[:n]


@compiled
def flagged_near(flags: np.ndarray, pixels: np.ndarray, half: int, top: int, bottom: int) -> np.ndarray:
    """Find the CR pixels of some rows near new ones.

    Parameters
    ----------
    flags : `numpy.ndarray`, (ny, nx), uint8
        Flags; none is `VISITED`, before or after.
    pixels : `numpy.ndarray`, (n,), int64
        New CR pixels, of any rows.
    half : `int`
        How far to look; nearer than that to the edge of the image, pixels are
        passed over.
    top, bottom : `int`
        First row and the one after the last.

    Returns
    -------
    found : `numpy.ndarray`, (m,), int64
        CR pixels.
    """
    ny, nx = flags.shape
    found = np.empty(pixels.size + 8, dtype=np.int64)
    n = 0
    for pixel in pixels:
        if not (top - half) * nx <= pixel < (bottom + half) * nx:
            continue
        y = pixel // nx
        found = with_room(found, n, (2 * half + 1) ** 2)
        x = pixel - y * nx
        for row in range(max(y - half, half, top), min(y + half + 1, ny - half, bottom)):
            for column in range(max(x - half, half), min(x + half + 1, nx - half)):
                if flags[row, column] & (COSMIC_RAY | VISITED) == COSMIC_RAY:
                    flags[row, column] |= VISITED
                    found[n] = row * nx + column
                    n += 1
    clear_flag(flags, VISITED, found[:n])
    return found[:n]


@compiled
def set_flag(flags: np.ndarray, flag: np.uint8, pixels: np.ndarray) -> None:
    """Set a flag of some pixels.

    Parameters
    ----------
    flags : `numpy.ndarray`, (ny, nx), uint8
        Flags, changed in place.
    flag : `numpy.uint8`
        Flag to set.
    pixels : `numpy.ndarray`, (n,), int64
        Pixels.
    """
    view = flags.ravel()
    for pixel in pixels:
        view[pixel] |= flag


@compiled
def clear_flag(flags: np.ndarray, flag: np.uint8, pixels: np.ndarray) -> None:
    """Clear a flag of some pixels.

    Parameters
    ----------
    flags : `numpy.ndarray`, (ny, nx), uint8
        Flags, changed in place.
    flag : `numpy.uint8`
        Flag to clear.
    pixels : `numpy.ndarray`, (n,), int64
        Pixels.
    """
    view = flags.ravel()
    for pixel in pixels:
        view[pixel] &= ~flag
