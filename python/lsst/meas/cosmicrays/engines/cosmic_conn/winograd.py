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
    "clear",
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

import numpy as np

from .compiled import in_place, in_place_reordered
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
    """Weight of each grain (float32, two-dimensional)."""

    power: int
    """A grain has 2 to this power pixels of the result on a side."""

    margin: int
    """Pixels of the result before the first grain."""

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


@in_place
def _weigh_pixels(counted: Sums, top: int, left: int, weights: np.ndarray) -> None:
    """Look up how the pixels of a tile count.

    Parameters
    ----------
    counted : `Sums`
        How pixels count.
    top, left : `int`
        First pixel of the tile.
    weights : `numpy.ndarray` [`float32`]
        Where to write the weight of each pixel, shape (16,).
    """
    weights[:] = np.float32(0.0)
    first, last = max(counted.margin - top, 0), min(counted.margin + counted.rows - top, TILE)
    start, stop = max(counted.margin - left, 0), min(counted.margin + counted.columns - left, TILE)
    for v in range(first, last):
        row = (top + v - counted.margin) >> counted.power
        for u in range(start, stop):
            weights[TILE * v + u] = counted.weight[row, (left + u - counted.margin) >> counted.power]


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
    n_in, n_out = features.values.shape[2] + more.shape[2], result.shape[2]
    fitting = CACHE_SIZE // (PLACES * (n_in + n_out)) // ROWS * ROWS
    most = min(MOST_TILES, max(fitting, LEAST_TILES), -(-max(len(tiles), 1) // ROWS) * ROWS)
    pixels = np.zeros(PLACES * (most * n_in + CACHE_SKEW), dtype=np.float32)
    products = np.empty(PLACES * (most * n_out + CACHE_SKEW), dtype=np.float32)
    pixel_weights = np.empty(TILE * TILE, dtype=np.float32)
    _convolve(
        features,
        corner,
        more,
        more_corner,
        weights,
        bias,
        result,
        tiles,
        counted,
        sums,
        most,
        pixels,
        products,
        pixel_weights,
    )


@in_place
def _convolve(
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
    most: int,
    pixels: np.ndarray,
    products: np.ndarray,
    pixel_weights: np.ndarray,
) -> None:
    """Convolve features, so many tiles together, in the room that is given."""
    values, scale, offset = features
    n_first, n_more, n_out = values.shape[2], more.shape[2], result.shape[2]
    n_in = n_first + n_more
    step_in, step_out = most * n_in + CACHE_SKEW, most * n_out + CACHE_SKEW
    line, more_line, result_line = values.shape[1] * n_first, more.shape[1] * n_more, result.shape[1] * n_out
    for start in range(0, tiles.shape[0], most):
        n_tiles = min(most, tiles.shape[0] - start)
        for i in range(n_tiles):
            y, x = TILE * tiles[start + i, 0], TILE * tiles[start + i, 1]
            at = (corner + y) * line + (corner + x) * n_first
            to = i * n_in
            for c in range(0, n_first, LANES):
                transform_normalised(
                    values, at + c, line, n_first, scale, c, offset, c, pixels, to + c, step_in
                )
            at = (more_corner + y) * more_line + (more_corner + x) * n_more
            to += n_first
            for c in range(0, n_more, LANES):
                transform_plain(more, at + c, more_line, n_more, pixels, to + c, step_in)
        n_rows = -(-n_tiles // ROWS) * ROWS
        for place in range(PLACES):
            at, to = place * step_in, place * step_out
            multiply(pixels, at, weights, place * n_in * n_out, products, to, n_rows, n_in, n_out)
        for i in range(n_tiles):
            y, x = TILE * tiles[start + i, 0], TILE * tiles[start + i, 1]
            _weigh_pixels(counted, y, x, pixel_weights)
            to = y * result_line + x * n_out
            for c in range(0, n_out, LANES):
                transform_result(
                    products,
                    i * n_out + c,
                    step_out,
                    bias,
                    c,
                    result,
                    to + c,
                    result_line,
                    n_out,
                    pixel_weights,
                    0,
                    sums,
                    c,
                    sums,
                    n_out + c,
                )


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
    pixels = np.ones((DIRECT_TILES * TILE * TILE, 10), dtype=np.float32)
    products = np.empty((DIRECT_TILES * TILE * TILE, result.shape[2]), dtype=np.float32)
    _convolve_image(image, matrix, result, tiles, pixels, products)


@in_place
def _convolve_image(
    image: np.ndarray,
    matrix: np.ndarray,
    result: np.ndarray,
    tiles: np.ndarray,
    pixels: np.ndarray,
    products: np.ndarray,
) -> None:
    """Convolve an image in the room that is given."""
    n_in, n_out = pixels.shape[1], result.shape[2]
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
            for c in range(n_out):
                result[y, x, c] = products[i, c]


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
    _add_moments(image, first, end, left, right, np.ones(right - left, dtype=np.float32), moments)


@in_place_reordered
def _add_moments(
    image: np.ndarray, first: int, end: int, left: int, right: int, ones: np.ndarray, moments: np.ndarray
) -> None:
    """Add up products of rows, given a row of ones."""
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


@in_place
def _pixel(tiles: np.ndarray, start: int, i: int) -> tuple[int, int]:
    """Return row and column of one pixel of some tiles."""
    tile, place = start + i // (TILE * TILE), i % (TILE * TILE)
    return TILE * tiles[tile, 0] + place // TILE, TILE * tiles[tile, 1] + place % TILE


@in_place
def clear(values: np.ndarray, side: int, tiles: np.ndarray) -> None:
    """Set features to zero.

    Parameters
    ----------
    values : `numpy.ndarray` [`float32`]
        Features, shape (ny, nx, n_channels).
    side : `int`
        Side of a tile.
    tiles : `numpy.ndarray` [`int`]
        Row and column of each tile, shape (n, 2).
    """
    for k in range(tiles.shape[0]):
        for y in range(side * tiles[k, 0], side * tiles[k, 0] + side):
            for x in range(side * tiles[k, 1], side * tiles[k, 1] + side):
                for c in range(values.shape[2]):
                    values[y, x, c] = np.float32(0.0)


@in_place
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
    pixels = np.zeros((DIRECT_TILES * TILE * TILE, features.scale.size), dtype=np.float32)
    products = np.empty((DIRECT_TILES * TILE * TILE, 4 * bias.size), dtype=np.float32)
    _deconvolve(features, matrix, bias, result, tiles, pixels, products)


@in_place
def _deconvolve(
    features: Features,
    matrix: np.ndarray,
    bias: np.ndarray,
    result: np.ndarray,
    tiles: np.ndarray,
    pixels: np.ndarray,
    products: np.ndarray,
) -> None:
    """Make 2x2 pixels of each in the room that is given."""
    values, scale, offset = features
    n_in, n_out = pixels.shape[1], bias.size
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


@in_place_reordered
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
