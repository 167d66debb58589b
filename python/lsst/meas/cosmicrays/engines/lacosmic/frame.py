# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of an image during L.A.Cosmic, and pixels read from it."""

from __future__ import annotations

__all__ = [
    "ABOVE",
    "ABOVE_NEIGHBOUR",
    "BAD",
    "CANDIDATE",
    "COSMIC_RAY",
    "HEIGHT",
    "KNOWN",
    "NEAR",
    "REACH",
    "VISITED",
    "Frame",
    "laplacian_at",
    "positive_laplacian",
]

from typing import NamedTuple

import numpy as np

from .cleaned import Cleaned
from .compiled import in_place, inlined

BAD = np.uint8(1)
"""Flag of a pixel that is masked: no CR pixel, not used to clean others."""

COSMIC_RAY = np.uint8(2)
"""Flag of a pixel of the CR mask."""

VISITED = np.uint8(4)
"""Flag of a pixel that is already in the list being made."""

KNOWN = np.uint8(64)
"""Flag of a pixel of which it is known whether it exceeds the limits."""

ABOVE = np.uint8(8)
"""Flag of such a pixel if it exceeds that of CR pixels."""

ABOVE_NEIGHBOUR = np.uint8(16)
"""Flag of such a pixel if it exceeds that of their neighbours."""

NEAR = np.uint8(32)
"""Flag of a pixel near one that the last iteration changed."""

CANDIDATE = np.uint8(128)
"""Flag of a pixel of a crowded block that may exceed the limit."""

HEIGHT = 8
"""Rows of a strip, which share lower bounds on the noise."""

REACH = 3
"""How far from a pixel the variances are that its noise depends on."""

ZERO = np.float32(0)
QUARTER = np.float32(0.25)
FOUR = np.float32(4)


class Frame(NamedTuple):
    """Image, flags and variance.

    The variance is not written to: it may be the caller's.
    """

    image: np.ndarray
    """Cleaned image less its sky, (ny, nx) float32, electrons."""

    flags: np.ndarray
    """What is known of each pixel, (ny, nx) uint8."""

    variance: np.ndarray
    """Variance before any cleaning, without that of a given background,
    (ny, nx) float32, electrons^2."""

    sky: np.ndarray
    """Given background, (ny, nx) float32, electrons; (0, 0) if there is
    none."""

    bounds: np.ndarray
    """Not more than the least variance that the noise of any pixel of a column
    of a strip depends on, (ny / `HEIGHT`, nx) float32, electrons^2."""

    cleaned: Cleaned
    """Variances of pixels that were cleaned."""


@inlined
def positive_laplacian(
    centre: np.float32, left: np.float32, right: np.float32, up: np.float32, down: np.float32
) -> np.float32:
    """Return the positive part of the Laplacian of a pixel off the edges.

    Parameters
    ----------
    centre, left, right, up, down : `numpy.float32`
        The pixel and its neighbours.

    Returns
    -------
    laplacian : `numpy.float32`
        As `laplacian_at` computes it.
    """
    low = FOUR * centre - centre - left
    high = FOUR * centre - right - centre
    first = low - (centre + up)
    second = high - (centre + up)
    third = low - (down + centre)
    fourth = high - (down + centre)
    first = ZERO if first < ZERO else first
    second = ZERO if second < ZERO else second
    third = ZERO if third < ZERO else third
    fourth = ZERO if fourth < ZERO else fourth
    return ((first + fourth) + (third + second)) * QUARTER


@in_place
def laplacian_at(image: np.ndarray, y: int, x: int) -> np.float32:
    """Return the positive part of the Laplacian of any pixel of an image.

    The image is taken to be subsampled 2x2; the Laplacian of each subpixel is
    clipped at zero, and the four are averaged.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Image.
    y, x : `int`
        Pixel.

    Returns
    -------
    laplacian : `numpy.float32`
        L+ of van Dokkum (2001).
    """
    first = _subpixel(image, 2 * y, 2 * x)
    second = _subpixel(image, 2 * y, 2 * x + 1)
    third = _subpixel(image, 2 * y + 1, 2 * x)
    fourth = _subpixel(image, 2 * y + 1, 2 * x + 1)
    return ((first + fourth) + (third + second)) * QUARTER


@in_place
def _subpixel(image: np.ndarray, row: int, column: int) -> np.float32:
    """Laplacian of a subpixel, clipped at zero.

    The order of the operations is that of astroscrappy as compiled: what the
    compiler made of each of the loops over inside, sides and corners, of which
    those of the first row use double precision.
    """
    ny, nx = image.shape
    centre = image[row // 2, column // 2]
    up = image[max(row - 1, 0) // 2, column // 2]
    down = image[min(row + 1, 2 * ny - 1) // 2, column // 2]
    left = image[row // 2, max(column - 1, 0) // 2]
    right = image[row // 2, min(column + 1, 2 * nx - 1) // 2]
    is_first = column == 0
    is_last = column == 2 * nx - 1
    if row == 0:
        high = 4.0 * np.float64(centre)
        if is_first:
            value = np.float32(high - np.float64(right) - np.float64(down))
        elif is_last:
            value = np.float32(high - np.float64(left) - np.float64(down))
        else:
            value = np.float32(high - np.float64(right) - (np.float64(down) + np.float64(left)))
    elif row == 2 * ny - 1:
        if is_first:
            value = FOUR * centre - (right + up)
        elif is_last:
            value = FOUR * centre - left - up
        else:
            value = FOUR * centre - up - (right + left)
    elif is_first:
        value = FOUR * centre - right - (down + up)
    elif is_last:
        value = FOUR * centre - down - (left + up)
    else:
        value = FOUR * centre - right - left - (down + up)
    return ZERO if value < ZERO else value
