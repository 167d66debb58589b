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

Features are float32 of shape (n, ny, nx, channels): the channels of a pixel
are side by side, and fill the vector registers.  Arrays of features are
larger than what is used of them, so that tiles of 4x4 pixels fit
(`padded_side`).  What is beyond has no meaning, but has to be finite and not
large, since rounding spreads it over its tile.
"""

from __future__ import annotations

__all__ = [
    "CHANNEL_MULTIPLE",
    "convolve",
    "convolve_image",
    "deconvolve",
    "halve",
    "pack_matrix",
    "pack_weights",
    "padded_side",
    "rate",
]

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 8
"""Numbers in a vector."""

ROWS = 6
VECTORS = 2
"""The product of matrices is computed for so many rows and vectors of columns
at once: with 12 sums, it fits the 16 registers of AVX2.
"""

CHANNEL_MULTIPLE = LANES * VECTORS
"""Numbers of channels have to be multiples of this."""

TILE = 4
"""Side of the pixels that are computed at once."""

WINDOW = 6
"""Side of the pixels that they depend on."""

PLACES = WINDOW * WINDOW

LEAST_TILES = 12
MOST_TILES = 48
CACHE_SIZE = 100_000
"""So many tiles at least and at most, and tiles with so many numbers, are
computed together: they should stay in the second cache.
"""

CACHE_SKEW = 16
"""Numbers between places, so that these do not compete for lines of cache."""

PIXELS = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=np.float64,
)
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
RESULT = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=np.float64
)
"""Transforms of pixels, weights and results (Lavin & Gray 2016)."""

FAST_FLAGS = ("contract", "nsz")
REORDERING = {"contract", "reassoc", "nsz"}
FLOAT = ir.FloatType()
VECTOR = ir.VectorType(FLOAT, LANES)
WORD = ir.IntType(64)


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


def _address(context: Any, builder: ir.IRBuilder, kind: types.Array, array: Any, offset: Any) -> Any:
    """Return the address of an element of a contiguous array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [offset])


def _load(builder: ir.IRBuilder, address: Any) -> Any:
    return builder.load(builder.bitcast(address, VECTOR.as_pointer()), align=4)


def _store(builder: ir.IRBuilder, value: Any, address: Any) -> None:
    builder.store(value, builder.bitcast(address, VECTOR.as_pointer()), align=4)


def _spread(builder: ir.IRBuilder, number: Any) -> Any:
    """Return a vector of one number."""
    one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), number, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(VECTOR, ir.Undefined), zeros)


def _constant(value: float) -> ir.Constant:
    return ir.Constant(VECTOR, [value] * LANES)


def _steps(builder: ir.IRBuilder, stride: Any, n: int) -> list[Any]:
    return [builder.mul(stride, WORD(i)) for i in range(n)]


def _combine(builder: ir.IRBuilder, matrix: np.ndarray, vectors: Sequence[Any]) -> list[Any]:
    """Multiply vectors by a constant matrix of few small numbers."""
    results = []
    for row in matrix:
        total = None
        for factor, vector in zip(row, vectors, strict=True):
            if factor == 0:
                continue
            if total is None:
                total = vector if factor == 1 else builder.fmul(vector, _constant(factor), FAST_FLAGS)
            elif factor == 1:
                total = builder.fadd(total, vector, FAST_FLAGS)
            elif factor == -1:
                total = builder.fsub(total, vector, FAST_FLAGS)
            else:
                total = builder.fadd(total, builder.fmul(vector, _constant(factor), FAST_FLAGS), FAST_FLAGS)
        results.append(total)
    return results


def _transform(builder: ir.IRBuilder, matrix: np.ndarray, square: list[list[Any]]) -> list[list[Any]]:
    """Multiply a square of vectors by a matrix along both axes."""
    columns = [_combine(builder, matrix, column) for column in zip(*square, strict=True)]
    return [_combine(builder, matrix, row) for row in zip(*columns, strict=True)]


def _make_pixel_transform(normalises: bool) -> Callable[..., Any]:
    """Make the transform of the window of a tile, for one vector of channels.

    If it normalises, pixels are scaled, shifted and rectified before.
    """

    def transform(
        typing_context: Any,
        features: Any,
        start: Any,
        row: Any,
        column: Any,
        scale: Any,
        offset: Any,
        channel: Any,
        places: Any,
        to: Any,
        step: Any,
    ) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            kinds = signature.args
            source = _address(context, builder, kinds[0], values[0], values[1])
            target = _address(context, builder, kinds[7], values[7], values[8])
            rows, columns = _steps(builder, values[2], WINDOW), _steps(builder, values[3], WINDOW)
            square = [
                [_load(builder, builder.gep(source, [builder.add(y, x)])) for x in columns] for y in rows
            ]
            if normalises:
                scales, offsets = (
                    _load(builder, _address(context, builder, kinds[i], values[i], values[6])) for i in (4, 5)
                )
                zero = _constant(0.0)
                for line in square:
                    for i, vector in enumerate(line):
                        product = builder.fmul(vector, scales, FAST_FLAGS)
                        shifted = builder.fadd(product, offsets, FAST_FLAGS)
                        positive = builder.fcmp_ordered(">", shifted, zero)
                        line[i] = builder.select(positive, shifted, zero)
            place = ir.Constant(WORD, 0)
            for line in _transform(builder, PIXELS, square):
                for vector in line:
                    _store(builder, vector, builder.gep(target, [place]))
                    place = builder.add(place, values[9])
            return context.get_dummy_value()

        word = types.int64
        return types.none(features, word, word, word, scale, offset, word, places, word, word), generate

    return intrinsic(transform)


def _define_result_transform(
    typing_context: Any,
    places: Any,
    start: Any,
    step: Any,
    bias: Any,
    channel: Any,
    result: Any,
    to: Any,
    row: Any,
    column: Any,
) -> Any:
    """Transform the result of a tile back, for one vector of channels."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        kinds = signature.args
        source = _address(context, builder, kinds[0], values[0], values[1])
        target = _address(context, builder, kinds[5], values[5], values[6])
        added = _load(builder, _address(context, builder, kinds[3], values[3], values[4]))
        steps = _steps(builder, values[2], PLACES)
        square = [
            [_load(builder, builder.gep(source, [steps[WINDOW * v + u]])) for u in range(WINDOW)]
            for v in range(WINDOW)
        ]
        rows, columns = _steps(builder, values[7], TILE), _steps(builder, values[8], TILE)
        for y, line in zip(rows, _transform(builder, RESULT, square), strict=True):
            for x, vector in zip(columns, line, strict=True):
                address = builder.gep(target, [builder.add(y, x)])
                _store(builder, builder.fadd(vector, added, FAST_FLAGS), address)
        return context.get_dummy_value()

    word = types.int64
    return types.none(places, word, word, bias, word, result, word, word, word), generate


def _define_product(
    typing_context: Any,
    left: Any,
    left_start: Any,
    right: Any,
    right_start: Any,
    result: Any,
    to: Any,
    n_in: Any,
    n_out: Any,
) -> Any:
    """Multiply `ROWS` rows by one group of columns of a packed matrix."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        kinds = signature.args
        n_in, n_out = values[6], values[7]
        left = _address(context, builder, kinds[0], values[0], values[1])
        right = _address(context, builder, kinds[2], values[2], values[3])
        target = _address(context, builder, kinds[4], values[4], values[5])
        rows = [builder.gep(left, [step]) for step in _steps(builder, n_in, ROWS)]
        before = builder.block
        loop = builder.append_basic_block("inner")
        after = builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        index = builder.phi(WORD)
        index.add_incoming(WORD(0), before)
        sums = [[builder.phi(VECTOR) for _ in range(VECTORS)] for _ in range(ROWS)]
        column = builder.mul(index, WORD(CHANNEL_MULTIPLE))
        factors = [
            _load(builder, builder.gep(right, [builder.add(column, WORD(LANES * i))])) for i in range(VECTORS)
        ]
        totals = []
        for row, row_sums in zip(rows, sums, strict=True):
            number = _spread(builder, builder.load(builder.gep(row, [index]), align=4))
            totals.append(
                [
                    builder.fadd(total, builder.fmul(number, factor, FAST_FLAGS), FAST_FLAGS)
                    for total, factor in zip(row_sums, factors, strict=True)
                ]
            )
        following = builder.add(index, WORD(1))
        index.add_incoming(following, builder.block)
        for row_sums, row_totals in zip(sums, totals, strict=True):
            for phi, total in zip(row_sums, row_totals, strict=True):
                phi.add_incoming(_constant(0.0), before)
                phi.add_incoming(total, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, n_in), loop, after)
        builder.position_at_end(after)
        for step, row_totals in zip(_steps(builder, n_out, ROWS), totals, strict=True):
            for i, total in enumerate(row_totals):
                _store(builder, total, builder.gep(target, [builder.add(step, WORD(LANES * i))]))
        return context.get_dummy_value()

    word = types.int64
    return types.none(left, word, right, word, result, word, word, word), generate


_transform_normalised = _make_pixel_transform(True)
_transform_plain = _make_pixel_transform(False)
_transform_result: Any = intrinsic(_define_result_transform)
_multiply_rows: Any = intrinsic(_define_product)


@numba.njit(cache=True, nogil=True)
def _multiply(
    left: np.ndarray,
    left_start: int,
    right: np.ndarray,
    right_start: int,
    result: np.ndarray,
    to: int,
    n_rows: int,
    n_in: int,
    n_out: int,
) -> None:
    """Multiply rows (a multiple of `ROWS`) by a packed matrix."""
    for column in range(0, n_out, CHANNEL_MULTIPLE):
        for row in range(0, n_rows, ROWS):
            _multiply_rows(
                left,
                left_start + row * n_in,
                right,
                right_start + column * n_in,
                result,
                to + row * n_out + column,
                n_in,
                n_out,
            )


@numba.njit(cache=True, nogil=True)
def convolve(
    features: np.ndarray,
    corner: int,
    scale: np.ndarray,
    offset: np.ndarray,
    more: np.ndarray,
    more_corner: int,
    weights: np.ndarray,
    bias: np.ndarray,
    result: np.ndarray,
    first: int,
    end: int,
    inside: np.ndarray,
    block_weight: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Normalise and rectify features, and convolve them.

    Parameters
    ----------
    features : `numpy.ndarray` [`float32`]
        Features as the last convolution left them, shape (n, ny, nx, n_in).
    corner : `int`
        First of their rows, and columns, to use.
    scale, offset : `numpy.ndarray` [`float32`]
        Their normalisation, shape (n_in,).
    more : `numpy.ndarray` [`float32`]
        Channels that follow them, to be taken as they are; may have none.
    more_corner : `int`
        First of their rows, and columns, to use.
    weights : `numpy.ndarray` [`float32`]
        From `pack_weights`.
    bias : `numpy.ndarray` [`float32`]
        Shape (n_out,).
    result : `numpy.ndarray` [`float32`]
        Where to write, shape (n, ny, nx, n_out).
    first, end : `int`
        Which rows of tiles to compute, counted through all blocks.
    inside, block_weight, sums : `numpy.ndarray`
        As for `_add_to_sums`.
    """
    n_first, n_more, n_out = features.shape[3], more.shape[3], result.shape[3]
    n_in = n_first + n_more
    n_down = (result.shape[1] - (WINDOW - TILE)) // TILE
    n_across = (result.shape[2] - (WINDOW - TILE)) // TILE
    fitting = CACHE_SIZE // (PLACES * (n_in + n_out)) // ROWS * ROWS
    most = min(MOST_TILES, max(fitting, LEAST_TILES), -(-(end - first) * n_across // ROWS) * ROWS)
    step_in, step_out = most * n_in + CACHE_SKEW, most * n_out + CACHE_SKEW
    pixels = np.zeros(PLACES * step_in, dtype=np.float32)
    products = np.empty(PLACES * step_out, dtype=np.float32)
    line, more_line, result_line = (
        features.shape[2] * n_first,
        more.shape[2] * n_more,
        result.shape[2] * n_out,
    )
    for start in range(first * n_across, end * n_across, most):
        n_tiles = min(most, end * n_across - start)
        for i in range(n_tiles):
            row, x = divmod(start + i, n_across)
            block, y = divmod(row, n_down)
            y, x = TILE * y, TILE * x
            at = (block * features.shape[1] + corner + y) * line + (corner + x) * n_first
            for c in range(0, n_first, LANES):
                _transform_normalised(
                    features, at + c, line, n_first, scale, offset, c, pixels, i * n_in + c, step_in
                )
            at = (block * more.shape[1] + more_corner + y) * more_line + (more_corner + x) * n_more
            for c in range(0, n_more, LANES):
                to = i * n_in + n_first + c
                _transform_plain(more, at + c, more_line, n_more, scale, offset, c, pixels, to, step_in)
        n_rows = -(-n_tiles // ROWS) * ROWS
        for place in range(PLACES):
            _multiply(
                pixels,
                place * step_in,
                weights,
                place * n_in * n_out,
                products,
                place * step_out,
                n_rows,
                n_in,
                n_out,
            )
        for i in range(n_tiles):
            row, x = divmod(start + i, n_across)
            block, y = divmod(row, n_down)
            y, x = TILE * y, TILE * x
            at = (block * result.shape[1] + y) * result_line + x * n_out
            for c in range(0, n_out, LANES):
                _transform_result(
                    products, i * n_out + c, step_out, bias, c, result, at + c, result_line, n_out
                )
            if block_weight.size > 0:
                _add_to_sums(result, block, y, y + TILE, x, x + TILE, inside, block_weight, sums)


@numba.njit(cache=True, nogil=True)
def _add_to_sums(
    result: np.ndarray,
    block: int,
    top: int,
    bottom: int,
    left: int,
    right: int,
    inside: np.ndarray,
    block_weight: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add features, and their squares, to the sums of each channel.

    Parameters
    ----------
    result : `numpy.ndarray` [`float32`]
        Features, shape (n, ny, nx, n_channels).
    block, top, bottom, left, right : `int`
        Which pixels to add.
    inside : `numpy.ndarray` [`int64`]
        Limits of those that count: first row, last row and one, and the same
        for columns.
    block_weight : `numpy.ndarray` [`float32`]
        Weight of each block, shape (n,).
    sums : `numpy.ndarray` [`float64`]
        Sums of features, and of their squares, shape (2, n_channels).
    """
    n_channels = result.shape[3]
    weight = block_weight[block]
    total = np.zeros(n_channels, dtype=np.float32)
    square = np.zeros(n_channels, dtype=np.float32)
    for y in range(max(top, inside[0]), min(bottom, inside[1])):
        for x in range(max(left, inside[2]), min(right, inside[3])):
            pixel = result[block, y, x]
            for c in range(n_channels):
                total[c] += pixel[c]
                square[c] += pixel[c] * pixel[c]
    for c in range(n_channels):
        sums[0, c] += weight * total[c]
        sums[1, c] += weight * square[c]


@numba.njit(cache=True, nogil=True)
def convolve_image(
    image: np.ndarray,
    matrix: np.ndarray,
    result: np.ndarray,
    first: int,
    end: int,
    inside: np.ndarray,
    block_weight: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Convolve images of one channel, directly.

    Parameters
    ----------
    image : `numpy.ndarray` [`float32`]
        Images, shape (n, ny, nx).
    matrix : `numpy.ndarray` [`float32`]
        From `pack_matrix`: weights of the 9 pixels, and the bias, for each
        of the resulting channels.
    result : `numpy.ndarray` [`float32`]
        Where to write.
    first, end : `int`
        Which rows to compute, counted through all images.
    inside, block_weight, sums : `numpy.ndarray`
        As for `_add_to_sums`.
    """
    n_down, n_across, n_out = image.shape[1] - 2, image.shape[2] - 2, result.shape[3]
    n_in = 10
    n_rows = -(-n_across // ROWS) * ROWS
    pixels = np.ones(n_rows * n_in, dtype=np.float32)
    products = np.empty(n_rows * n_out, dtype=np.float32)
    for row in range(first, end):
        block, y = divmod(row, n_down)
        for x in range(n_across):
            for v in range(3):
                for u in range(3):
                    pixels[x * n_in + 3 * v + u] = image[block, y + v, x + u]
        _multiply(pixels, 0, matrix, 0, products, 0, n_rows, n_in, n_out)
        result[block, y, :n_across] = products[: n_across * n_out].reshape(n_across, n_out)
        if block_weight.size > 0:
            _add_to_sums(result, block, y, y + 1, 0, n_across, inside, block_weight, sums)


@numba.njit(cache=True, nogil=True)
def halve(
    features: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    result: np.ndarray,
    shape: tuple[int, int],
    first: int,
    end: int,
) -> None:
    """Normalise and rectify features, and take maxima of 2x2 pixels.

    Parameters
    ----------
    features : `numpy.ndarray` [`float32`]
        Features as the last convolution left them.
    scale, offset : `numpy.ndarray` [`float32`]
        Their normalisation, shape (n_channels,).
    result : `numpy.ndarray` [`float32`]
        Where to write.
    shape : `tuple` [`int`, `int`]
        Rows and columns of the result that are used.
    first, end : `int`
        Which rows of the result to compute, counted through all blocks.
    """
    zero = np.float32(0.0)
    for row in range(first, end):
        block, y = divmod(row, shape[0])
        for x in range(shape[1]):
            a, b = features[block, 2 * y, 2 * x], features[block, 2 * y, 2 * x + 1]
            c, d = features[block, 2 * y + 1, 2 * x], features[block, 2 * y + 1, 2 * x + 1]
            to = result[block, y, x]
            for i in range(scale.size):
                upper = max(a[i] * scale[i], b[i] * scale[i])
                lower = max(c[i] * scale[i], d[i] * scale[i])
                to[i] = max(max(upper, lower) + offset[i], zero)


@numba.njit(cache=True, nogil=True)
def deconvolve(
    features: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    matrix: np.ndarray,
    bias: np.ndarray,
    result: np.ndarray,
    shape: tuple[int, int],
    first: int,
    end: int,
) -> None:
    """Normalise and rectify features, and make 2x2 pixels of each.

    Parameters
    ----------
    features : `numpy.ndarray` [`float32`]
        Features as the last convolution left them, with n_in channels.
    scale, offset : `numpy.ndarray` [`float32`]
        Their normalisation, shape (n_in,).
    matrix : `numpy.ndarray` [`float32`]
        From `pack_matrix`; columns are row, column and channel of a result.
    bias : `numpy.ndarray` [`float32`]
        Shape (n_out,).
    result : `numpy.ndarray` [`float32`]
        Where to write.
    shape : `tuple` [`int`, `int`]
        Rows and columns of the features that are used.
    first, end : `int`
        Which rows of the features to use, counted through all blocks.
    """
    n_in, n_out = features.shape[3], result.shape[3]
    n_rows = -(-shape[1] // ROWS) * ROWS
    pixels = np.zeros(n_rows * n_in, dtype=np.float32)
    products = np.empty(n_rows * 4 * n_out, dtype=np.float32)
    zero = np.float32(0.0)
    for row in range(first, end):
        block, y = divmod(row, shape[0])
        for x in range(shape[1]):
            pixel = features[block, y, x]
            to = pixels[x * n_in : (x + 1) * n_in]
            for c in range(n_in):
                to[c] = max(pixel[c] * scale[c] + offset[c], zero)
        _multiply(pixels, 0, matrix, 0, products, 0, n_rows, n_in, 4 * n_out)
        for x in range(shape[1]):
            for v in range(2):
                for u in range(2):
                    start = (4 * x + 2 * v + u) * n_out
                    product = products[start : start + n_out]
                    to = result[block, 2 * y + v, 2 * x + u]
                    for c in range(n_out):
                        to[c] = product[c] + bias[c]


@numba.njit(cache=True, nogil=True, fastmath=REORDERING)
def rate(
    features: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    weight: np.ndarray,
    bias: float,
    probability: np.ndarray,
    first: int,
    end: int,
) -> None:
    """Normalise and rectify features, and rate each pixel by their sum.

    Parameters
    ----------
    features : `numpy.ndarray` [`float32`]
        Features as the last convolution left them.
    scale, offset, weight : `numpy.ndarray` [`float32`]
        Their normalisation, and their weight in the sum.
    bias : `float`
        What is added.
    probability : `numpy.ndarray` [`float32`]
        Where to write the logistic function of the sum, shape (n, ny, nx).
    first, end : `int`
        Which rows to compute, counted through all blocks.
    """
    zero, one = np.float32(0.0), np.float32(1.0)
    for row in range(first, end):
        block, y = divmod(row, probability.shape[1])
        for x in range(probability.shape[2]):
            pixel = features[block, y, x]
            total = np.float32(bias)
            for c in range(weight.size):
                total += weight[c] * max(pixel[c] * scale[c] + offset[c], zero)
            probability[block, y, x] = one / (one + np.exp(-total))
