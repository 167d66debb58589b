# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an image may have CR pixels: a first look at all of it.

The noise of a pixel is the root of a median of variances around it, so no
less than the root of their minimum, which is found quickly for all pixels.
Where the Laplacian is clearly below the limit with that noise it is below it
with any.  What is left is a pixel in hundreds.
"""

from __future__ import annotations

__all__ = ["CROWD", "HEIGHT", "LONGEST", "SQUARE_CROWD", "WIDTH", "append_block", "find_candidates"]

import numpy as np

from .compiled import compiled
from .frame import BAD, CANDIDATE, COSMIC_RAY, TILE, Frame, laplacian_at, positive_laplacian, variance_at
from .lists import with_room
from .steps import SMALLEST_VARIANCE, Rule

HEIGHT = 8
"""Rows that share a lower bound on the noise, and that are tested together."""

WIDTH = TILE
"""Columns of a block."""

LONGEST = 4 * WIDTH
"""Most columns that are tested together: of a run of crowded blocks."""

CROWD = 7
"""Pixels of a block that take longer one by one than all of it together, with
separable medians."""

SQUARE_CROWD = 40
"""The same with square medians."""

REACH = 3
"""How far from a pixel the variances are that its noise depends on."""

MARGIN = np.float32(1 - 1e-5)
"""Factor of what the square of the Laplacian must reach, for rounding."""

NONE = np.uint8(0)
FOUR = np.float32(4)
INFINITY = np.float32(np.inf)


@compiled
def find_candidates(
    frame: Frame, rule: Rule, boxes: np.ndarray, only: np.uint8
) -> tuple[np.ndarray, np.ndarray]:
    """Find what may exceed the limit.

    Parameters
    ----------
    frame : `Frame`
        State of the image.
    rule : `Rule`
        What makes a CR pixel.
    boxes : `numpy.ndarray`, (n, 4), int64
        First row and column of each box, and those after its last.
    only : `numpy.uint8`
        Flag that a pixel must have to be looked at; zero for all.

    Returns
    -------
    pixels : `numpy.ndarray`, (n,), int64
        Pixels to be tested one by one, numbered ``y * nx + x``.
    runs : `numpy.ndarray`, (m, 3), int64
        First row, first column and width of runs of blocks with too many of
        them, which have the flag `CANDIDATE`.
    """
    pixels = np.empty(HEIGHT * WIDTH, dtype=np.int64)
    runs = np.empty(24, dtype=np.int64)
    n = n_runs = 0
    for b in range(boxes.shape[0]):
        top, left, bottom, right = boxes[b]
        bound = np.empty(right - left, dtype=np.float32)
        passing = np.empty((HEIGHT, right - left), dtype=np.bool_)
        for y in range(top, bottom, HEIGHT):
            height = min(HEIGHT, bottom - y)
            _bound_variance(frame, y, y + height, left, right, bound)
            for r in range(height):
                _compare(frame, rule, y + r, left, right, bound, passing[r])
                if only:
                    _restrict(passing[r], frame.flags[y + r, left:right], only)
            for x in range(left, right, WIDTH):
                block = passing[:height, x - left : x - left + WIDTH]
                count = _count(block)
                if count > (CROWD if rule.separable else SQUARE_CROWD):
                    runs = with_room(runs, 3 * n_runs, 3)
                    n_runs = append_block(runs, n_runs, y, x, block.shape[1])
                    _flag(frame.flags, block, y, x)
                elif count > 0:
                    pixels = with_room(pixels, n, count)
                    n = _append_pixels(frame.flags, block, y, x, pixels, n)
    return pixels[:n], runs[: 3 * n_runs].reshape(-1, 3)


@compiled
def _restrict(passing: np.ndarray, flags: np.ndarray, only: np.uint8) -> None:
    """Let no pixel pass that lacks a flag."""
    for i in range(passing.size):
        passing[i] &= flags[i] & only != 0


@compiled
def append_block(runs: np.ndarray, n: int, top: int, left: int, width: int) -> int:
    """Add a block to a list of runs, to the last run if it goes on there.

    Parameters
    ----------
    runs : `numpy.ndarray`, (>= 3 * (n + 1),), int64
        First row, first column and width of each run; changed in place.
    n : `int`
        Count of runs.
    top, left, width : `int`
        First row, first column and width of the block.

    Returns
    -------
    n : `int`
        Count of runs now.
    """
    if n > 0:
        last = runs[3 * (n - 1) : 3 * n]
        if last[0] == top and last[1] + last[2] == left and last[2] + width <= LONGEST:
            last[2] += width
            return n
    runs[3 * n], runs[3 * n + 1], runs[3 * n + 2] = top, left, width
    return n + 1


@compiled
def _append_pixels(
    flags: np.ndarray, block: np.ndarray, top: int, left: int, pixels: np.ndarray, n: int
) -> int:
    """Add the pixels of a block that pass, and are not masked, to a list."""
    nx = flags.shape[1]
    for r in range(block.shape[0]):
        for c in range(block.shape[1]):
            if block[r, c] and not flags[top + r, left + c] & BAD:
                pixels[n] = (top + r) * nx + left + c
                n += 1
    return n


@compiled
def _flag(flags: np.ndarray, block: np.ndarray, top: int, left: int) -> None:
    """Make the pixels of a block that pass candidates."""
    for r in range(block.shape[0]):
        row, passing = flags[top + r, left : left + block.shape[1]], block[r]
        for c in range(row.size):
            row[c] |= CANDIDATE if passing[c] else NONE


@compiled
def _count(block: np.ndarray) -> int:
    total = 0
    for r in range(block.shape[0]):
        row = block[r]
        in_row = np.uint8(0)
        for c in range(row.size):
            in_row += np.uint8(row[c])
        total += int(in_row)
    return total


@compiled
def _bound_variance(frame: Frame, top: int, bottom: int, left: int, right: int, bound: np.ndarray) -> None:
    """Find the least variance in reach of each column of a strip of rows.

    NaN is passed over: where all are NaN, so is the noise.
    """
    ny, nx = frame.flags.shape
    first = max(left - REACH, 0)
    last = min(right + REACH, nx)
    least = np.full(right - left + 2 * REACH, INFINITY)
    target = least[first - left + REACH : last - left + REACH]
    for y in range(max(top - REACH, 0), min(bottom + REACH, ny)):
        values = frame.variance[y, first:last]
        flags = frame.flags[y, first:last]
        any_flag = np.uint8(0)
        for i in range(target.size):
            any_flag |= flags[i]
        if not any_flag & COSMIC_RAY:
            for i in range(target.size):
                value = values[i] * frame.scale + frame.offset
                target[i] = value if value < target[i] else target[i]
            continue
        for i in range(target.size):
            value = INFINITY if flags[i] & COSMIC_RAY else values[i] * frame.scale + frame.offset
            target[i] = value if value < target[i] else target[i]
        for i in range(target.size):
            if flags[i] & COSMIC_RAY:
                value = variance_at(frame, y, first + i)
                target[i] = value if value < target[i] else target[i]
    of_two = np.empty(least.size - 1, dtype=np.float32)
    of_four = np.empty(least.size - 3, dtype=np.float32)
    _lesser(least, 1, of_two)
    _lesser(of_two, 2, of_four)
    _lesser(of_four, 3, bound)


@compiled
def _lesser(values: np.ndarray, distance: int, lesser: np.ndarray) -> None:
    """Find the lesser of each number and the one some places behind."""
    behind = values[distance:]
    for i in range(lesser.size):
        lesser[i] = behind[i] if behind[i] < values[i] else values[i]


@compiled
def _compare(
    frame: Frame, rule: Rule, y: int, left: int, right: int, bound: np.ndarray, passing: np.ndarray
) -> None:
    """Tell which pixels of a row may exceed the limit.

    Squares are compared, with a margin that covers their rounding; of numbers
    so large that both squares are infinite nothing is known.
    """
    ny, nx = frame.flags.shape
    image = frame.image
    laplacian = np.empty(right - left, dtype=np.float32)
    first = max(left, 1)
    last = min(right, nx - 1)
    if 0 < y < ny - 1 and first < last:
        centre, up, down = image[y, first:last], image[y - 1, first:last], image[y + 1, first:last]
        before, after = image[y, first - 1 : last - 1], image[y, first + 1 : last + 1]
        target = laplacian[first - left :]
        for i in range(last - first):
            target[i] = positive_laplacian(centre[i], before[i], after[i], up[i], down[i])
    else:
        for x in range(first, last):
            laplacian[x - left] = laplacian_at(image, y, x)
    if left == 0:
        laplacian[0] = laplacian_at(image, y, 0)
    if right == nx:
        laplacian[nx - 1 - left] = laplacian_at(image, y, nx - 1)
    sky = frame.sky[y, left:right] if frame.sky.size > 0 else frame.sky[0:0].ravel()
    factor = FOUR * rule.limit * rule.limit * MARGIN
    if rule.limit < 0:
        factor = -INFINITY
    for i in range(laplacian.size):
        variance = bound[i] + sky[i] if sky.size > 0 else bound[i]
        variance = SMALLEST_VARIANCE if variance < SMALLEST_VARIANCE else variance
        passing[i] = laplacian[i] * laplacian[i] >= factor * variance
