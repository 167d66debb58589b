# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Vector instructions of the convolutions.

Each function here becomes a run of instructions in the functions of numba
that call it: the transforms of Winograd for the channels of one vector, and
the innermost product of matrices.
"""

from __future__ import annotations

__all__ = [
    "CHANNEL_MULTIPLE",
    "LANES",
    "PLACES",
    "ROWS",
    "TILE",
    "WINDOW",
    "multiply",
    "transform_normalised",
    "transform_plain",
    "transform_result",
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
RESULT = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=np.float64
)
"""Transforms of pixels and results (Lavin & Gray 2016)."""

FAST_FLAGS = ("contract", "nsz")
FLOAT = ir.FloatType()
VECTOR = ir.VectorType(FLOAT, LANES)
WORD = ir.IntType(64)


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


transform_normalised = _make_pixel_transform(True)
transform_plain = _make_pixel_transform(False)
transform_result: Any = intrinsic(_define_result_transform)
_multiply_rows: Any = intrinsic(_define_product)


@numba.njit(cache=True, nogil=True)
def multiply(
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
