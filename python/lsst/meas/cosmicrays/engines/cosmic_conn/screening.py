# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding the parts of a tile that can hold cosmic rays."""

from __future__ import annotations

__all__ = [
    "CELL_SIDE",
    "NOISE_SAMPLING",
    "evaluation_cost",
    "find_long_cells",
    "find_sharp_cells",
    "least_cost",
    "measure_noise",
    "measure_sharpness",
    "plan_rectangles",
]

import numba
import numpy as np
import scipy.ndimage

CELL_SIDE = 8
"""Side of the cells (pixels) of which rectangles are made."""

GROUP_SIDE = 4
"""Sharp cells of groups of this many by this many begin as one rectangle."""

SURROUNDINGS = 16
"""The work for a rectangle is that for its area if its sides were longer by
this (pixels): coarse features are needed far around it, fine ones less so.
"""

SHARPNESS_WIDE = 0.25
"""Part of the second difference over two pixels that is subtracted from that
over one pixel.  Of a Gaussian wider than 1.2 pixels (sigma) little remains.
"""

SHARPNESS_LIMIT = 4.2
"""Sharpness (in standard deviations of its noise) of a possible cosmic ray."""

SHARPNESS_MARGIN = 3
"""Cells this close to what is sharp (pixels) are evaluated too."""

LONG_LIMIT = 5.0
LONG_LENGTH = 12
LONG_WIDTH = 8.0
"""What is above the sky by `LONG_LIMIT` (in standard deviations of means over
3x3 pixels), at least this long and at most this wide on average (pixels), may
be a faint cosmic ray although it is nowhere sharp; trails of satellites are
so too, and the network takes some for cosmic rays.
"""

NOISE_QUANTILE = 0.25
NOISE_QUANTILE_OF_NORMAL = 0.3186394
"""Quantile of absolute values from which noise is measured: a low one, so
that a crowded field does not seem noisy.
"""

NOISE_SAMPLING = 4
"""Noise is measured in every so many rows and columns."""


@numba.njit(cache=True, nogil=True)
def measure_sharpness(window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure how much sharper than a star each pixel is.

    The sharpness along an axis is the second difference over one pixel less
    part of that over two.  It hardly responds to stars, however bright.

    Parameters
    ----------
    window : `numpy.ndarray` [`float32`]
        Pixels, shape (ny, nx).

    Returns
    -------
    across, down : `numpy.ndarray` [`float32`]
        Sharpness along rows and along columns, shape (ny, nx); 0 in the
        outer two rows and columns.
    """
    ny, nx = window.shape
    middle = np.float32(1.0 - SHARPNESS_WIDE)
    near = np.float32(-0.5)
    far = np.float32(0.5 * SHARPNESS_WIDE)
    across = np.zeros((ny, nx), dtype=np.float32)
    down = np.zeros((ny, nx), dtype=np.float32)
    for y in range(2, ny - 2):
        for x in range(2, nx - 2):
            centre = middle * window[y, x]
            across[y, x] = (
                centre
                + near * (window[y, x - 1] + window[y, x + 1])
                + far * (window[y, x - 2] + window[y, x + 2])
            )
            down[y, x] = (
                centre
                + near * (window[y - 1, x] + window[y + 1, x])
                + far * (window[y - 2, x] + window[y + 2, x])
            )
    return across, down


def find_sharp_cells(across: np.ndarray, down: np.ndarray, reach: int, shape: tuple[int, int]) -> np.ndarray:
    """Tell which cells of a tile hold something sharper than a star.

    The sharpness is compared with its noise: alone, averaged over three
    pixels across its axis, and the sum of both averages.  The latter two are
    for wide and faint cosmic rays.

    Parameters
    ----------
    across, down : `numpy.ndarray` [`float32`]
        Sharpness in a tile, in ``reach`` pixels on each side, and perhaps in
        more at the end.
    reach : `int`
        Pixels around the tile.
    shape : `tuple` [`int`, `int`]
        Shape of the tile.

    Returns
    -------
    sharp : `numpy.ndarray` [`bool`]
        One element a cell; cells at the end may reach beyond the tile.
    """
    limits = SHARPNESS_LIMIT * np.array(_sharpness_noise(across, down), dtype=np.float32)
    return _mark_cells(across, down, reach, shape, limits)


def find_long_cells(window: np.ndarray, reach: int, shape: tuple[int, int]) -> np.ndarray:
    """Tell which cells of a tile hold something that is long and narrow.

    Parameters
    ----------
    window : `numpy.ndarray` [`float32`]
        The tile without its sky, ``reach`` pixels on each side, and perhaps
        more at the end.
    reach : `int`
        Pixels around the tile.
    shape : `tuple` [`int`, `int`]
        Shape of the tile.

    Returns
    -------
    long : `numpy.ndarray` [`bool`]
        One element a cell, as of `find_sharp_cells`.
    """
    smooth = scipy.ndimage.uniform_filter(window, 3)
    noise = measure_noise(smooth[::NOISE_SAMPLING, ::NOISE_SAMPLING])
    labels, n_labels = scipy.ndimage.label(smooth > LONG_LIMIT * noise, np.ones((3, 3)))
    area = np.bincount(labels.ravel(), minlength=n_labels + 1)
    length = np.zeros(n_labels + 1)
    for label, extent in enumerate(scipy.ndimage.find_objects(labels), start=1):
        length[label] = max(side.stop - side.start for side in extent)
    is_long = (length >= LONG_LENGTH) & (area <= LONG_WIDTH * length)
    y, x = np.nonzero(is_long[labels[reach : reach + shape[0], reach : reach + shape[1]]])
    cells = np.zeros([-(-size // CELL_SIDE) for size in shape], dtype=bool)
    cells[y // CELL_SIDE, x // CELL_SIDE] = True
    return cells


def _sharpness_noise(across: np.ndarray, down: np.ndarray) -> tuple[float, ...]:
    """Return the noise of what is compared, in the order of comparison."""
    y, x = np.ix_(*(np.arange(3, size - 3, NOISE_SAMPLING) for size in across.shape))
    averaged_across = 0.5 * across[y, x] + 0.25 * (across[y - 1, x] + across[y + 1, x])
    averaged_down = 0.5 * down[y, x] + 0.25 * (down[y, x - 1] + down[y, x + 1])
    compared = (across[y, x], down[y, x], averaged_across, averaged_down, averaged_across + averaged_down)
    return tuple(measure_noise(values) for values in compared)


def measure_noise(values: np.ndarray) -> float:
    """Measure the noise of values that are mostly noise about zero.

    Parameters
    ----------
    values : `numpy.ndarray`
        Values, in any shape.

    Returns
    -------
    noise : `float`
        Standard deviation of a Gaussian with their low quantile of absolute
        values.
    """
    return float(np.quantile(np.abs(values), NOISE_QUANTILE)) / NOISE_QUANTILE_OF_NORMAL


@numba.njit(cache=True, nogil=True)
def _mark_cells(
    across: np.ndarray, down: np.ndarray, reach: int, shape: tuple[int, int], limits: np.ndarray
) -> np.ndarray:
    """Mark cells with a pixel beyond a limit in them or close to them."""
    ny, nx = shape
    margin = SHARPNESS_MARGIN
    half = np.float32(0.5)
    quarter = np.float32(0.25)
    sharp = np.zeros((-(-ny // CELL_SIDE), -(-nx // CELL_SIDE)), dtype=np.bool_)
    for y in range(reach - margin, reach + ny + margin):
        for x in range(reach - margin, reach + nx + margin):
            averaged_across = half * across[y, x] + quarter * (across[y - 1, x] + across[y + 1, x])
            averaged_down = half * down[y, x] + quarter * (down[y, x - 1] + down[y, x + 1])
            if (
                across[y, x] > limits[0]
                or down[y, x] > limits[1]
                or averaged_across > limits[2]
                or averaged_down > limits[3]
                or averaged_across + averaged_down > limits[4]
            ):
                for v in (max(y - reach - margin, 0), min(y - reach + margin, ny - 1)):
                    for u in (max(x - reach - margin, 0), min(x - reach + margin, nx - 1)):
                        sharp[v // CELL_SIDE, u // CELL_SIDE] = True
    return sharp


def evaluation_cost(rectangles: np.ndarray) -> float:
    """Return the work for rectangles, as an equivalent number of pixels.

    Parameters
    ----------
    rectangles : `numpy.ndarray` [`int`]
        First row, first column, and those after the last, in pixels; shape
        (n, 4).

    Returns
    -------
    cost : `float`
        Total of their areas, with part of what is around them.
    """
    sides = rectangles[:, 2:] - rectangles[:, :2] + SURROUNDINGS
    return float(np.sum(np.prod(sides, axis=1)))


def least_cost(cells: np.ndarray) -> float:
    """Return the least work that rectangles around some cells can take.

    That is the area of the cells and of what is around them, without what
    rectangles cover twice or needlessly.

    Parameters
    ----------
    cells : `numpy.ndarray` [`bool`]
        Which cells to cover.

    Returns
    -------
    cost : `float`
        At most `evaluation_cost` of any rectangles that cover them.
    """
    around = SURROUNDINGS // 2 // CELL_SIDE
    side = 2 * around + 1
    covered = scipy.ndimage.binary_dilation(np.pad(cells, around), np.ones((side, side)))
    return float(np.count_nonzero(covered)) * CELL_SIDE**2


def plan_rectangles(sharp: np.ndarray) -> np.ndarray:
    """Cover sharp cells with rectangles that take little work.

    Rectangles around the sharp cells of each group are joined, best pair
    first, for as long as that saves work.

    Parameters
    ----------
    sharp : `numpy.ndarray` [`bool`]
        Which cells to cover.

    Returns
    -------
    rectangles : `numpy.ndarray` [`int`]
        First row, first column, and those after the last, in pixels; shape
        (n, 4).
    """
    return _join_rectangles(_group_rectangles(sharp)) * CELL_SIDE


@numba.njit(cache=True, nogil=True)
def _group_rectangles(sharp: np.ndarray) -> np.ndarray:
    """Return the extent of the sharp cells of each group, in cells."""
    ny, nx = sharp.shape
    rectangles = np.empty((-(-ny // GROUP_SIDE) * -(-nx // GROUP_SIDE), 4), dtype=np.int64)
    n = 0
    for top in range(0, ny, GROUP_SIDE):
        for left in range(0, nx, GROUP_SIDE):
            y0, x0, y1, x1 = ny, nx, 0, 0
            for y in range(top, min(top + GROUP_SIDE, ny)):
                for x in range(left, min(left + GROUP_SIDE, nx)):
                    if sharp[y, x]:
                        y0, x0, y1, x1 = min(y0, y), min(x0, x), max(y1, y + 1), max(x1, x + 1)
            if y1 > 0:
                rectangles[n, 0], rectangles[n, 1], rectangles[n, 2], rectangles[n, 3] = y0, x0, y1, x1
                n += 1
    return rectangles[:n]


@numba.njit(cache=True, nogil=True)
def _cost(y0: int, x0: int, y1: int, x1: int) -> int:
    around = SURROUNDINGS // CELL_SIDE
    return (y1 - y0 + around) * (x1 - x0 + around)


@numba.njit(cache=True, nogil=True)
def _saving(a: np.ndarray, b: np.ndarray) -> int:
    """Return how much work is saved if two rectangles are joined."""
    apart = _cost(a[0], a[1], a[2], a[3]) + _cost(b[0], b[1], b[2], b[3])
    return apart - _cost(min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))


@numba.njit(cache=True, nogil=True)
def _join_rectangles(rectangles: np.ndarray) -> np.ndarray:
    """Join pairs of rectangles for as long as that saves work."""
    rectangles = rectangles.copy()
    n = rectangles.shape[0]
    while True:
        best, first, second = 0, -1, -1
        for i in range(n):
            for j in range(i + 1, n):
                saving = _saving(rectangles[i], rectangles[j])
                if saving > best:
                    best, first, second = saving, i, j
        if best == 0:
            return rectangles[:n]
        for k in range(2):
            rectangles[first, k] = min(rectangles[first, k], rectangles[second, k])
            rectangles[first, k + 2] = max(rectangles[first, k + 2], rectangles[second, k + 2])
        n -= 1
        rectangles[second] = rectangles[n]
