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

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .compiled import in_place

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
DOUBLES = ir.VectorType(ir.DoubleType(), LANES)
WORD = ir.IntType(64)

type Address = Any
type Number = Any
"""What instructions are written for."""


def _load(builder: ir.IRBuilder, address: Any) -> Any:
    return builder.load(builder.bitcast(address, VECTOR.as_pointer()), align=4)


def _store(builder: ir.IRBuilder, value: Any, address: Any) -> None:
    builder.store(value, builder.bitcast(address, VECTOR.as_pointer()), align=4)


def _add_doubled(builder: ir.IRBuilder, value: Any, address: Any) -> None:
    """Add a vector to numbers of double precision in memory."""
    place = builder.bitcast(address, DOUBLES.as_pointer())
    total = builder.fadd(builder.load(place, align=8), builder.fpext(value, DOUBLES))
    builder.store(total, place, align=8)


def _spread(builder: ir.IRBuilder, address: Any) -> Any:
    """Return a vector of one number in memory."""
    number = builder.load(address, align=4)
    one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), number, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(VECTOR, ir.Undefined), zeros)


def _constant(value: float) -> ir.Constant:
    return ir.Constant(VECTOR, [value] * LANES)


def _multiply_add(builder: ir.IRBuilder, total: Any, one: Any, other: Any) -> Any:
    return builder.fadd(total, builder.fmul(one, other, FAST_FLAGS), FAST_FLAGS)


def _steps(builder: ir.IRBuilder, stride: Any, n: int) -> list[Any]:
    return [builder.mul(stride, WORD(i)) for i in range(n)]


def _square(builder: ir.IRBuilder, start: Any, row: Any, column: Any, side: int) -> list[list[Any]]:
    """Return the addresses of a square of pixels."""
    rows, columns = _steps(builder, row, side), _steps(builder, column, side)
    return [[builder.gep(start, [builder.add(y, x)]) for x in columns] for y in rows]


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
                total = _multiply_add(builder, total, vector, _constant(factor))
        results.append(total)
    return results


def _transform(builder: ir.IRBuilder, matrix: np.ndarray, square: list[list[Any]]) -> list[list[Any]]:
    """Multiply a square of vectors by a matrix along both axes."""
    columns = [_combine(builder, matrix, column) for column in zip(*square, strict=True)]
    return [_combine(builder, matrix, row) for row in zip(*columns, strict=True)]


def _store_places(builder: ir.IRBuilder, square: list[list[Any]], target: Any, step: Any) -> None:
    """Transform the window of a tile, and store its places."""
    places = [vector for line in _transform(builder, PIXELS, square) for vector in line]
    for vector, place in zip(places, _steps(builder, step, PLACES), strict=True):
        _store(builder, vector, builder.gep(target, [place]))


def _written_by(write: Callable[..., None]) -> Any:
    """Make a function of numba from one that writes its instructions.

    The latter takes a builder, addresses of elements of arrays and whole
    numbers; the function of numba takes in place of each address the array
    and the index of the element.
    """

    def define(typing_context: Any, *kinds: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Sequence[Any]) -> Any:
            taken = iter(zip(signature.args, values, strict=True))
            given = []
            for kind, value in taken:
                if isinstance(kind, types.Array):
                    start = context.make_array(kind)(context, builder, value).data
                    given.append(builder.gep(start, [next(taken)[1]]))
                else:
                    given.append(value)
            write(builder, *given)
            return context.get_dummy_value()

        return types.none(
            *(kind if isinstance(kind, types.Array) else types.int64 for kind in kinds)
        ), generate

    # numba asks for the names of the arguments.
    names = ["typing_context"]
    for parameter in list(inspect.signature(write).parameters.values())[1:]:
        names += [parameter.name]
        names += [f"{parameter.name}_index"] if parameter.annotation == "Address" else []
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    define.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return intrinsic(define)


@_written_by
def transform_normalised(
    builder: ir.IRBuilder,
    source: Address,
    row: Number,
    column: Number,
    scale: Address,
    offset: Address,
    target: Address,
    step: Number,
) -> None:
    """Normalise, rectify and transform the window of a tile, for one vector
    of channels.
    """
    scales, offsets, zero = _load(builder, scale), _load(builder, offset), _constant(0.0)
    square = []
    for line in _square(builder, source, row, column, WINDOW):
        shifted = [_multiply_add(builder, offsets, _load(builder, address), scales) for address in line]
        square.append(
            [builder.select(builder.fcmp_ordered(">", pixel, zero), pixel, zero) for pixel in shifted]
        )
    _store_places(builder, square, target, step)


@_written_by
def transform_plain(
    builder: ir.IRBuilder, source: Address, row: Number, column: Number, target: Address, step: Number
) -> None:
    """Transform the window of a tile, for one vector of channels."""
    square = [
        [_load(builder, address) for address in line]
        for line in _square(builder, source, row, column, WINDOW)
    ]
    _store_places(builder, square, target, step)


@_written_by
def transform_result(
    builder: ir.IRBuilder,
    places: Address,
    step: Number,
    bias: Address,
    target: Address,
    row: Number,
    column: Number,
    weights: Address,
    sums: Address,
    squares: Address,
) -> None:
    """Transform the result of a tile back, for one vector of channels.

    Each pixel, and its square, is added to sums with a weight of its own.
    """
    steps = _steps(builder, step, PLACES)
    square = [
        [_load(builder, builder.gep(places, [steps[WINDOW * v + u]])) for u in range(WINDOW)]
        for v in range(WINDOW)
    ]
    added = _load(builder, bias)
    total, total_square = _constant(0.0), _constant(0.0)
    targets = _square(builder, target, row, column, TILE)
    for y, line in enumerate(_transform(builder, RESULT, square)):
        for x, vector in enumerate(line):
            pixel = builder.fadd(vector, added, FAST_FLAGS)
            _store(builder, pixel, targets[y][x])
            weight = _spread(builder, builder.gep(weights, [WORD(TILE * y + x)]))
            weighted = builder.fmul(pixel, weight, FAST_FLAGS)
            total = builder.fadd(total, weighted, FAST_FLAGS)
            total_square = _multiply_add(builder, total_square, weighted, pixel)
    _add_doubled(builder, total, sums)
    _add_doubled(builder, total_square, squares)


@_written_by
def _multiply_rows(
    builder: ir.IRBuilder, left: Address, right: Address, target: Address, n_in: Number, n_out: Number
) -> None:
    """Multiply `ROWS` rows by one group of columns of a packed matrix."""
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
        number = _spread(builder, builder.gep(row, [index]))
        totals.append(
            [
                _multiply_add(builder, total, number, factor)
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


@in_place
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
