# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Convolutions of 3x3 pixels with a quarter of the multiplications.

The minimal filtering of Winograd computes 4x4 pixels of a convolution from
6x6 pixels by 36 multiplications for each pair of channels, in place of 144
(Lavin & Gray 2016, CVPR, 4013).  Pixels and weights are transformed, each of
the 36 places is a product of matrices, and the result is transformed back.

Features are float32 of shape (ny, nx, channels): the channels of a pixel are
side by side, and fill the vector registers.  Every function works on a list
of tiles of 4x4 pixels, and touches nothing else.  Arrays of features are
larger than what is used of them, so that tiles fit (`padded_side`).  What is
beyond has no meaning, but has to be finite and not large, since rounding
spreads it over its tile.
"""

from __future__ import annotations

__all__ = [
    "CHANNEL_MULTIPLE",
    "TILE",
    "WINDOW",
    "Features",
    "Sums",
    "add_moments",
    "convolve",
    "convolve_image",
    "deconvolve",
    "halve",
    "pack_matrix",
    "pack_weights",
    "padded_side",
    "rate",
]

from typing import NamedTuple

import numba
import numpy as np

from .vectors import (
    CHANNEL_MULTIPLE,
    LANES,
    PLACES,
    ROWS,
    TILE,
    WINDOW,
    multiply,
    transform_normalised,
    transform_plain,
    transform_result,
)

LEAST_TILES = 12
MOST_TILES = 48
CACHE_SIZE = 100_000
"""So many tiles at least and at most, and tiles with so many numbers, are
computed together: they should stay in the second cache.
"""

CACHE_SKEW = 16
"""Numbers between places, so that these do not compete for lines of cache."""

DIRECT_TILES = 3
"""So many tiles together are a product with 48 rows where pixels are not
transformed.
"""

WEIGHTS = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
"""Transform of weights (Lavin & Gray 2016)."""

REORDERING = {"contract", "reassoc", "nsz"}


class Features(NamedTuple):
    """What a convolution leaves, and the normalisation to come."""

    values: np.ndarray
    """Features (float32, shape (ny, nx, n_channels))."""

    scale: np.ndarray
    offset: np.ndarray
    """Scale and offset of each channel (float32)."""


class Sums(NamedTuple):
    """How pixels count in the statistics of a convolution."""

    weight: np.ndarray
    """Weight of each cell (float32, two-dimensional); with no cells,
    statistics are not wanted.
    """

    side: int
    """Side of a cell in pixels of the result."""

    margin: int
    """Pixels of the result before the first cell."""

    rows: int
    columns: int
    """How many pixels count at most, after the margin."""


def padded_side(side: int) -> int:
    """Return how long the side of an array of features has to be.

    Parameters
    ----------
    side : `int`
        Pixels that are used.

    Returns
    -------
    length : `int`
        Pixels that are written, or read where they are convolved.
    """
    return -(-side // TILE) * TILE + WINDOW - TILE


def pack_matrix(matrix: np.ndarray) -> np.ndarray:
    """Arrange a matrix as the product of matrices reads it.

    Parameters
    ----------
    matrix : `numpy.ndarray`
        Shape (n_in, n_out), where n_out is a multiple of
        `CHANNEL_MULTIPLE`.

    Returns
    -------
    packed : `numpy.ndarray` [`float32`]
        Groups of columns one after the other, one-dimensional.
    """
    n_in, n_out = matrix.shape
    groups = matrix.reshape(n_in, n_out // CHANNEL_MULTIPLE, CHANNEL_MULTIPLE).transpose(1, 0, 2)
    return np.ascontiguousarray(groups, dtype=np.float32).ravel()


def pack_weights(weight: np.ndarray) -> np.ndarray:
    """Transform and arrange the weights of a convolution.

    Parameters
    ----------
    weight : `numpy.ndarray`
        Shape (n_out, n_in, 3, 3).

    Returns
    -------
    packed : `numpy.ndarray` [`float32`]
        A packed matrix for each place, shape (36, n_in n_out).
    """
    places = np.einsum("ua,vb,oiab->uvio", WEIGHTS, WEIGHTS, weight.astype(np.float64))
    return np.stack([pack_matrix(matrix) for matrix in places.reshape(PLACES, *places.shape[2:])])


@numba.njit(cache=True, nogil=True)
def _add_to_sums(
    result: np.ndarray, top: int, left: int, counted: Sums, scratch: np.ndarray, sums: np.ndarray
) -> None:
    """Add the features of a tile, and their squares, to those of each channel.

    Parameters
    ----------
    result : `numpy.ndarray` [`float32`]
        Features, shape (ny, nx, n_channels).
    top, left : `int`
        First pixel of the tile.
    counted : `Sums`
        How pixels count.
    scratch : `numpy.ndarray` [`float32`]
        Room for two numbers a channel, shape (2, n_channels).
    sums : `numpy.ndarray` [`float64`]
        Sums of features, and of their squares, shape (2, n_channels).
    """
    n_channels = result.shape[2]
    scratch[:] = 0.0
    total, square = scratch
    for y in range(max(top, counted.margin), min(top + TILE, counted.margin + counted.rows)):
        for x in range(max(left, counted.margin), min(left + TILE, counted.margin + counted.columns)):
            weight = counted.weight[
                (y - counted.margin) // counted.side, (x - counted.margin) // counted.side
            ]
            if weight > 0.0:
                pixel = result[y, x]
                for c in range(n_channels):
                    weighted = weight * pixel[c]
                    total[c] += weighted
                    square[c] += weighted * pixel[c]
    for c in range(n_channels):
        sums[0, c] += total[c]
        sums[1, c] += square[c]


@numba.njit(cache=True, nogil=True)
def convolve(
    features: Features,
    corner: int,
    more: np.ndarray,
    more_corner: int,
    weights: np.ndarray,
    bias: np.ndarray,
    result: np.ndarray,
    tiles: np.ndarray,
    counted: Sums,
    sums: np.ndarray,
) -> None:
    """Normalise and rectify features, and convolve them.

    Parameters
    ----------
    features : `Features`
        Features as the last convolution left them, with n_in channels.
    corner : `int`
        First of their rows, and columns, to use.
    more : `numpy.ndarray` [`float32`]
        Channels that follow them, to be taken as they are; may have none.
    more_corner : `int`
        First of their rows, and columns, to use.
    weights : `numpy.ndarray` [`float32`]
        From `pack_weights`.
    bias : `numpy.ndarray` [`float32`]
        Shape (n_out,).
    result : `numpy.ndarray` [`float32`]
        Where to write, shape (ny, nx, n_out).
    tiles : `numpy.ndarray` [`int`]
        Row and column of each tile of the result to compute, shape (n, 2).
    counted : `Sums`
        How pixels of the result count.
    sums : `numpy.ndarray` [`float64`]
        Sums of features, and of their squares, shape (2, n_out).
    """
    values = features.values
    n_first, n_more, n_out = values.shape[2], more.shape[2], result.shape[2]
    n_in = n_first + n_more
    fitting = CACHE_SIZE // (PLACES * (n_in + n_out)) // ROWS * ROWS
    most = min(MOST_TILES, max(fitting, LEAST_TILES), -(-max(tiles.shape[0], 1) // ROWS) * ROWS)
    step_in, step_out = most * n_in + CACHE_SKEW, most * n_out + CACHE_SKEW
    pixels = np.zeros(PLACES * step_in, dtype=np.float32)
    products = np.empty(PLACES * step_out, dtype=np.float32)
    scratch = np.empty((2, n_out), dtype=np.float32)
    line, more_line, result_line = values.shape[1] * n_first, more.shape[1] * n_more, result.shape[1] * n_out
    for start in range(0, tiles.shape[0], most):
        n_tiles = min(most, tiles.shape[0] - start)
        for i in range(n_tiles):
            y, x = TILE * tiles[start + i, 0], TILE * tiles[start + i, 1]
            at = (corner + y) * line + (corner + x) * n_first
            for c in range(0, n_first, LANES):
                to = i * n_in + c
                transform_normalised(
                    values, at + c, line, n_first, features.scale, features.offset, c, pixels, to, step_in
                )
            at = (more_corner + y) * more_line + (more_corner + x) * n_more
            for c in range(0, n_more, LANES):
                to = i * n_in + n_first + c
                transform_plain(
                    more, at + c, more_line, n_more, features.scale, features.offset, c, pixels, to, step_in
                )
        n_rows = -(-n_tiles // ROWS) * ROWS
        for place in range(PLACES):
            at, to = place * step_in, place * step_out
            multiply(pixels, at, weights, place * n_in * n_out, products, to, n_rows, n_in, n_out)
        for i in range(n_tiles):
            y, x = TILE * tiles[start + i, 0], TILE * tiles[start + i, 1]
            to = y * result_line + x * n_out
            for c in range(0, n_out, LANES):
                transform_result(
                    products, i * n_out + c, step_out, bias, c, result, to + c, result_line, n_out
                )
            if counted.weight.size > 0:
                _add_to_sums(result, y, x, counted, scratch, sums)


@numba.njit(cache=True, nogil=True)
def convolve_image(image: np.ndarray, matrix: np.ndarray, result: np.ndarray, tiles: np.ndarray) -> None:
    """Convolve an image of one channel, directly.

    Parameters
    ----------
    image : `numpy.ndarray` [`float32`]
        The image, shape (ny, nx).
    matrix : `numpy.ndarray` [`float32`]
        From `pack_matrix`: weights of the 9 pixels, and the bias, for each
        of the resulting channels.
    result, tiles : `numpy.ndarray`
        As for `convolve`.
    """
    n_in, n_out = 10, result.shape[2]
    pixels = np.ones((DIRECT_TILES * TILE * TILE, n_in), dtype=np.float32)
    products = np.empty((DIRECT_TILES * TILE * TILE, n_out), dtype=np.float32)
    for start in range(0, tiles.shape[0], DIRECT_TILES):
        n_pixels = min(DIRECT_TILES, tiles.shape[0] - start) * TILE * TILE
        for i in range(n_pixels):
            y, x = _pixel(tiles, start, i)
            for v in range(3):
                for u in range(3):
                    pixels[i, 3 * v + u] = image[y + v, x + u]
        multiply(pixels, 0, matrix, 0, products, 0, pixels.shape[0], n_in, n_out)
        for i in range(n_pixels):
            y, x = _pixel(tiles, start, i)
            result[y, x] = products[i]


@numba.njit(cache=True, nogil=True, fastmath=REORDERING)
def add_moments(image: np.ndarray, first: int, end: int, left: int, right: int, moments: np.ndarray) -> None:
    """Add up products of the pixels of 3x3 windows, and of 1.

    What `convolve_image` makes of the windows is linear in them, so its mean
    and mean square follow without computing it.

    Parameters
    ----------
    image : `numpy.ndarray` [`float32`]
        The image, shape (ny, nx).
    first, end, left, right : `int`
        Limits of the first pixels of the windows.
    moments : `numpy.ndarray` [`float64`]
        Where to add, shape (10, 10), symmetric.
    """
    ones = np.ones(right - left, dtype=np.float32)
    for y in range(first, end):
        for i in range(10):
            a = image[y + i // 3, left + i % 3 : right + i % 3] if i < 9 else ones
            for j in range(i + 1):
                b = image[y + j // 3, left + j % 3 : right + j % 3] if j < 9 else ones
                total = np.float32(0.0)
                for x in range(ones.size):
                    total += a[x] * b[x]
                moments[i, j] += total
                if i != j:
                    moments[j, i] += total


@numba.njit(cache=True, nogil=True)
def _pixel(tiles: np.ndarray, start: int, i: int) -> tuple[int, int]:
    """Return row and column of one pixel of some tiles."""
    tile, place = start + i // (TILE * TILE), i % (TILE * TILE)
    return TILE * tiles[tile, 0] + place // TILE, TILE * tiles[tile, 1] + place % TILE


@numba.njit(cache=True, nogil=True)
def halve(features: Features, result: np.ndarray, tiles: np.ndarray) -> None:
    """Normalise and rectify features, and take maxima of 2x2 pixels.

    Parameters
    ----------
    features : `Features`
        Features as the last convolution left them.
    result : `numpy.ndarray` [`float32`]
        Where to write.
    tiles : `numpy.ndarray` [`int`]
        Row and column of each tile of the features to use, shape (n, 2).
    """
    zero = np.float32(0.0)
    half = TILE // 2
    values, scale, offset = features
    for k in range(tiles.shape[0]):
        for y in range(half * tiles[k, 0], half * tiles[k, 0] + half):
            for x in range(half * tiles[k, 1], half * tiles[k, 1] + half):
                a, b = values[2 * y, 2 * x], values[2 * y, 2 * x + 1]
                c, d = values[2 * y + 1, 2 * x], values[2 * y + 1, 2 * x + 1]
                to = result[y, x]
                for i in range(scale.size):
                    upper = max(a[i] * scale[i], b[i] * scale[i])
                    lower = max(c[i] * scale[i], d[i] * scale[i])
                    to[i] = max(max(upper, lower) + offset[i], zero)


@numba.njit(cache=True, nogil=True)
def deconvolve(
    features: Features, matrix: np.ndarray, bias: np.ndarray, result: np.ndarray, tiles: np.ndarray
) -> None:
    """Normalise and rectify features, and make 2x2 pixels of each.

    Parameters
    ----------
    features : `Features`
        Features as the last convolution left them, with n_in channels.
    matrix : `numpy.ndarray` [`float32`]
        From `pack_matrix`; columns are row, column and channel of a result.
    bias : `numpy.ndarray` [`float32`]
        Shape (n_out,).
    result : `numpy.ndarray` [`float32`]
        Where to write.
    tiles : `numpy.ndarray` [`int`]
        Row and column of each tile of the features to use, shape (n, 2).
    """
    values, scale, offset = features
    n_in, n_out = values.shape[2], result.shape[2]
    pixels = np.zeros((DIRECT_TILES * TILE * TILE, n_in), dtype=np.float32)
    products = np.empty((DIRECT_TILES * TILE * TILE, 4 * n_out), dtype=np.float32)
    zero = np.float32(0.0)
    for start in range(0, tiles.shape[0], DIRECT_TILES):
        n_pixels = min(DIRECT_TILES, tiles.shape[0] - start) * TILE * TILE
        for i in range(n_pixels):
            y, x = _pixel(tiles, start, i)
            pixel, to = values[y, x], pixels[i]
            for c in range(n_in):
                to[c] = max(pixel[c] * scale[c] + offset[c], zero)
        multiply(pixels, 0, matrix, 0, products, 0, pixels.shape[0], n_in, 4 * n_out)
        for i in range(n_pixels):
            y, x = _pixel(tiles, start, i)
            for v in range(2):
                for u in range(2):
                    product = products[i, (2 * v + u) * n_out : (2 * v + u + 1) * n_out]
                    to = result[2 * y + v, 2 * x + u]
                    for c in range(n_out):
                        to[c] = product[c] + bias[c]


@numba.njit(cache=True, nogil=True, fastmath=REORDERING)
def rate(
    features: Features, weight: np.ndarray, bias: float, probability: np.ndarray, tiles: np.ndarray
) -> None:
    """Normalise and rectify features, and rate each pixel by their sum.

    Parameters
    ----------
    features : `Features`
        Features as the last convolution left them.
    weight : `numpy.ndarray` [`float32`]
        Weight of each channel in the sum.
    bias : `float`
        What is added.
    probability : `numpy.ndarray` [`float32`]
        Where to write the logistic function of the sum, shape (ny, nx).
    tiles : `numpy.ndarray` [`int`]
        Row and column of each tile to compute, shape (n, 2).
    """
    values, scale, offset = features
    zero, one = np.float32(0.0), np.float32(1.0)
    for k in range(tiles.shape[0]):
        for y in range(TILE * tiles[k, 0], TILE * tiles[k, 0] + TILE):
            for x in range(TILE * tiles[k, 1], TILE * tiles[k, 1] + TILE):
                pixel = values[y, x]
                total = np.float32(bias)
                for c in range(weight.size):
                    total += weight[c] * max(pixel[c] * scale[c] + offset[c], zero)
                probability[y, x] = one / (one + np.exp(-total))
