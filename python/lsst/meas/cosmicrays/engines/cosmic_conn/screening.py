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
    "NOISE_SAMPLING",
    "find_long_cells",
    "find_sharp_cells",
    "measure_noise",
    "measure_power",
    "measure_sharpness",
]

import numpy as np
import scipy.ndimage

from .compiled import in_place, in_place_reordered
from .coverage import CELL_SIDE

SHARPNESS_WIDE = 0.25
"""Part of the second difference over two pixels that is subtracted from that
over one pixel.  Of a Gaussian wider than 1.2 pixels (sigma) little remains.
"""

SKY_LIMIT = 4.8
OBJECT_LIMIT = 3.7
OBJECT_LIGHT = 1.5
"""Sharpness (in standard deviations of its noise) of a possible cosmic ray.

Noise of the sky passes the lower limit often.  This is so only where the mean
light around is more than `OBJECT_LIGHT` (in standard deviations of a pixel):
the network takes some faint stars in good seeing for cosmic rays.
"""

GLARE = 0.12
GLARE_LIGHT = 5.0
"""Where that light is more than `GLARE_LIGHT`, the limit rises by this part
of the excess.  Of a star whose sigma is 1.7 pixels the sharpness is up to a
tenth of the light, of a cosmic ray one pixel wide several times the light.
"""

LIGHT_RADIUS = 2
"""The light is that of the pixels within so many rows and columns."""

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
    across, down = np.zeros((2, *window.shape), dtype=np.float32)
    _measure_sharpness(window, across, down)
    return across, down


@in_place
def _measure_sharpness(window: np.ndarray, across: np.ndarray, down: np.ndarray) -> None:
    ny, nx = window.shape
    middle = np.float32(1.0 - SHARPNESS_WIDE)
    near = np.float32(-0.5)
    far = np.float32(0.5 * SHARPNESS_WIDE)
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


def measure_power(window: np.ndarray, reach: int, shape: tuple[int, int]) -> np.ndarray:
    """Measure the mean square of the pixels of each cell of a tile.

    Parameters
    ----------
    window : `numpy.ndarray` [`float32`]
        The tile, and ``reach`` pixels on each side.
    reach : `int`
        Pixels around the tile.
    shape : `tuple` [`int`, `int`]
        Shape of the tile.

    Returns
    -------
    power : `numpy.ndarray`
        One element a cell; what is beyond the tile is zero.
    """
    power = np.zeros([-(-size // CELL_SIDE) for size in shape])
    _add_squares(window[reach : reach + shape[0]], reach, reach + shape[1], power)
    return power / CELL_SIDE**2


@in_place_reordered
def _add_squares(rows: np.ndarray, start: int, stop: int, power: np.ndarray) -> None:
    """Add the squares of some columns to those of each cell."""
    for y in range(rows.shape[0]):
        for x in range(start, stop, CELL_SIDE):
            total = 0.0
            for u in range(x, min(x + CELL_SIDE, stop)):
                total += np.float64(rows[y, u]) * rows[y, u]
            power[y // CELL_SIDE, (x - start) // CELL_SIDE] += total


def find_sharp_cells(
    window: np.ndarray, across: np.ndarray, down: np.ndarray, reach: int, shape: tuple[int, int]
) -> np.ndarray:
    """Tell which cells of a tile hold something sharper than a star.

    The sharpness is compared with its noise: alone, averaged over three
    pixels across its axis, and the sum of both averages.  The latter two are
    for wide and faint cosmic rays.

    Parameters
    ----------
    window : `numpy.ndarray` [`float32`]
        The tile without its sky, and ``reach`` pixels on each side.
    across, down : `numpy.ndarray` [`float32`]
        Its sharpness.
    reach : `int`
        Pixels around the tile.
    shape : `tuple` [`int`, `int`]
        Shape of the tile.

    Returns
    -------
    sharp : `numpy.ndarray` [`bool`]
        One element a cell; cells at the end may reach beyond the tile.
    """
    limits = tuple(np.float32(OBJECT_LIMIT * noise) for noise in _sharpness_noise(across, down))
    pixel_noise = measure_noise(window[::NOISE_SAMPLING, ::NOISE_SAMPLING])
    sharp = np.zeros([-(-size // CELL_SIDE) for size in shape], dtype=bool)
    row = np.zeros(window.shape[1], dtype=bool)
    _mark_cells(window, across, down, reach, shape, limits, pixel_noise, row, sharp)
    return sharp


def find_long_cells(window: np.ndarray, reach: int, shape: tuple[int, int]) -> np.ndarray:
    """Tell which cells of a tile hold something that is long and narrow.

    Parameters
    ----------
    window : `numpy.ndarray` [`float32`]
        The tile without its sky, and ``reach`` pixels on each side.
    reach : `int`
        Pixels around the tile.
    shape : `tuple` [`int`, `int`]
        Shape of the tile.

    Returns
    -------
    long : `numpy.ndarray` [`bool`]
        One element a cell, as of `find_sharp_cells`.
    """
    smooth = np.zeros(window.shape, dtype=np.float32)
    _smooth(window, smooth)
    noise = measure_noise(smooth[1:-1:NOISE_SAMPLING, 1:-1:NOISE_SAMPLING])
    labels, n_labels = scipy.ndimage.label(smooth > LONG_LIMIT * noise, np.ones((3, 3)))
    extents = np.tile(np.array([window.size, -1, window.size, -1, 0]), (n_labels + 1, 1))
    _measure_labels(labels, extents)
    length = 1 + np.maximum(extents[:, 1] - extents[:, 0], extents[:, 3] - extents[:, 2])
    accepted = (length >= LONG_LENGTH) & (extents[:, 4] <= LONG_WIDTH * length)
    cells = np.zeros([-(-size // CELL_SIDE) for size in shape], dtype=bool)
    _mark_labels(labels[reach : reach + shape[0], reach : reach + shape[1]], accepted, cells)
    return cells


@in_place
def _measure_labels(labels: np.ndarray, extents: np.ndarray) -> None:
    """Find first and last row and column of each label, and its pixels."""
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            if labels[y, x] != 0:
                extent = extents[labels[y, x]]
                extent[0] = min(extent[0], y)
                extent[1] = max(extent[1], y)
                extent[2] = min(extent[2], x)
                extent[3] = max(extent[3], x)
                extent[4] += 1


@in_place
def _mark_labels(labels: np.ndarray, accepted: np.ndarray, cells: np.ndarray) -> None:
    """Mark cells that hold pixels of labels that are accepted."""
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            if labels[y, x] != 0 and accepted[labels[y, x]]:
                cells[y // CELL_SIDE, x // CELL_SIDE] = True


@in_place
def _smooth(window: np.ndarray, smooth: np.ndarray) -> None:
    """Take means over 3x3 pixels; the outermost pixels are left out."""
    ninth = np.float32(1.0 / 9.0)
    for y in range(1, window.shape[0] - 1):
        above, row, below, result = window[y - 1], window[y], window[y + 1], smooth[y]
        for x in range(1, window.shape[1] - 1):
            result[x] = ninth * (
                (above[x - 1] + above[x] + above[x + 1])
                + (row[x - 1] + row[x] + row[x + 1])
                + (below[x - 1] + below[x] + below[x + 1])
            )


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
    place = int(NOISE_QUANTILE * (values.size - 1))
    return float(np.partition(np.abs(values), place, axis=None)[place]) / NOISE_QUANTILE_OF_NORMAL


@in_place
def _mark_cells(
    window: np.ndarray,
    across: np.ndarray,
    down: np.ndarray,
    reach: int,
    shape: tuple[int, int],
    limits: tuple[float, ...],
    pixel_noise: float,
    passes: np.ndarray,
    sharp: np.ndarray,
) -> None:
    """Mark cells with a pixel beyond its limit in them or close to them.

    Each row is first compared with the lowest limit, without a branch.
    """
    ny, nx = shape
    margin = SHARPNESS_MARGIN
    half = np.float32(0.5)
    quarter = np.float32(0.25)
    limit_across, limit_down, limit_averaged_across, limit_averaged_down, limit_both = limits
    first, stop = reach - margin, reach + nx + margin
    for y in range(reach - margin, reach + ny + margin):
        for x in range(first, stop):
            averaged_across = half * across[y, x] + quarter * (across[y - 1, x] + across[y + 1, x])
            averaged_down = half * down[y, x] + quarter * (down[y, x - 1] + down[y, x + 1])
            passes[x] = (
                (across[y, x] > limit_across)
                | (down[y, x] > limit_down)
                | (averaged_across > limit_averaged_across)
                | (averaged_down > limit_averaged_down)
                | (averaged_across + averaged_down > limit_both)
            )
        for x in range(first, stop):
            if not passes[x]:
                continue
            averaged_across = half * across[y, x] + quarter * (across[y - 1, x] + across[y + 1, x])
            averaged_down = half * down[y, x] + quarter * (down[y, x - 1] + down[y, x + 1])
            rise = _limit(window, y, x, pixel_noise) / OBJECT_LIMIT
            if (
                across[y, x] > rise * limit_across
                or down[y, x] > rise * limit_down
                or averaged_across > rise * limit_averaged_across
                or averaged_down > rise * limit_averaged_down
                or averaged_across + averaged_down > rise * limit_both
            ):
                for v in (max(y - reach - margin, 0), min(y - reach + margin, ny - 1)):
                    for u in (max(x - reach - margin, 0), min(x - reach + margin, nx - 1)):
                        sharp[v // CELL_SIDE, u // CELL_SIDE] = True


@in_place
def _limit(window: np.ndarray, y: int, x: int, pixel_noise: float) -> float:
    """Return the limit that the light around a pixel asks for."""
    total = 0.0
    for v in range(y - LIGHT_RADIUS, y + LIGHT_RADIUS + 1):
        for u in range(x - LIGHT_RADIUS, x + LIGHT_RADIUS + 1):
            total += window[v, u]
    light = total / ((2 * LIGHT_RADIUS + 1) ** 2 * max(pixel_noise, 1e-30))
    if light < OBJECT_LIGHT:
        return SKY_LIMIT
    return OBJECT_LIMIT + GLARE * max(light - GLARE_LIGHT, 0.0)
