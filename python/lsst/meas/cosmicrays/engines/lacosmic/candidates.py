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

__all__ = [
    "CROWD",
    "LONGEST",
    "SQUARE_CROWD",
    "TALL",
    "WIDTH",
    "append_block",
    "find_candidates",
    "lower_bounds",
]

import numpy as np

from .compiled import compiled, in_place, inlined
from .frame import BAD, CANDIDATE, HEIGHT, REACH, Frame, laplacian_at, positive_laplacian
from .lists import with_room
from .patches import whole_vectors
from .steps import SMALLEST_VARIANCE, Rule

STRIPS = 4
"""Strips of so many rows that are tested together if nearly all are to be."""

FEW_STRIPS = 2
"""How many of these are enough for that if only parts are looked at."""

TALL = STRIPS * HEIGHT
"""Rows of these."""

WIDTH = 32
"""Columns of a block."""

LONGEST = 8 * WIDTH
"""Most columns that are tested together: of a run of crowded blocks."""

CROWD = 7
"""Pixels of a block that take longer one by one than all of it together, with
separable medians."""

SQUARE_CROWD = 40
"""The same with square medians."""

BRIDGE = 2
"""Blocks between others that are no longer looked at together with them."""

MARGIN = np.float32(1 - 1e-5)
"""Factor of what the square of the Laplacian must reach, for rounding."""

ROOM_ROWS = 3
"""Rows of numbers that the first look needs to work in."""

NONE = np.uint8(0)
FOUR = np.float32(4)
INFINITY = np.float32(np.inf)


@compiled
def find_candidates(
    frame: Frame, rule: Rule, top: int, bottom: int, only: np.uint8
) -> tuple[np.ndarray, np.ndarray]:
    """Find what may exceed the limit.

    Parameters
    ----------
    frame : `Frame`
        State of the image.
    rule : `Rule`
        What makes a CR pixel.
    top, bottom : `int`
        First row to look at, a multiple of `HEIGHT`, and the one after the
        last.
    only : `numpy.uint8`
        Flag that a pixel must have to be looked at; zero for all.

    Returns
    -------
    pixels : `numpy.ndarray`, (n,), int64
        Pixels to be tested one by one, numbered ``y * nx + x``.
    runs : `numpy.ndarray`, (m, 4), int64
        First row, first column, width and height of runs of blocks with too
        many of them, which have the flag `CANDIDATE`.
    """
    nx = frame.flags.shape[1]
    crowd = CROWD if rule.separable else SQUARE_CROWD
    columns = (nx + WIDTH - 1) // WIDTH
    pixels = np.empty(0, dtype=np.int64)
    runs = np.empty(0, dtype=np.int64)
    n = n_runs = 0
    wanted = np.ones(columns, dtype=np.bool_)
    counts = np.empty((STRIPS, columns), dtype=np.int64)
    crowded = np.empty((STRIPS, columns), dtype=np.bool_)
    room = np.empty((ROOM_ROWS, nx + 3 * WIDTH), dtype=np.float32)
    in_columns = np.empty(nx, dtype=np.uint8)
    for y in range(top, bottom, TALL):
        n_rows = min(TALL, bottom - y)
        n_strips = (n_rows + HEIGHT - 1) // HEIGHT
        for strip in range(n_strips):
            first, last = strip * HEIGHT, min((strip + 1) * HEIGHT, n_rows)
            if only:
                _find_wanted(frame.flags, y + first, y + last, only, wanted)
            _look_at_strip(frame, rule, y + first, y + last, only, wanted, room)
            _count(frame.flags[y + first : y + last], in_columns, counts[strip])
            _find_crowded(counts[strip], crowd, crowded[strip])
        pixels = with_room(pixels, n, counts.size * crowd)
        runs = with_room(runs, 4 * n_runs, 4 * counts.size)
        for k in range(columns if n_strips == STRIPS else 0):
            if _count_true(crowded[:, k]) >= (FEW_STRIPS if only else STRIPS - 1):
                crowded[:, k] = False
                x = k * WIDTH
                n_runs = append_block(runs, n_runs, y, x, min(WIDTH, nx - x), TALL)
                counts[:, k] = 0
        for strip in range(n_strips):
            first, last = strip * HEIGHT, min((strip + 1) * HEIGHT, n_rows)
            for k in range(columns):
                x = k * WIDTH
                if crowded[strip, k]:
                    n_runs = append_block(runs, n_runs, y + first, x, min(WIDTH, nx - x), HEIGHT)
                elif counts[strip, k] > 0:
                    n = _take_pixels(frame.flags, y + first, y + last, x, pixels, n)
    return pixels[:n], runs[: 4 * n_runs].reshape(-1, 4)


@in_place
def _look_at_strip(
    frame: Frame, rule: Rule, top: int, bottom: int, only: np.uint8, wanted: np.ndarray, room: np.ndarray
) -> None:
    """Flag what may exceed the limit in the wanted blocks of some rows."""
    nx = frame.flags.shape[1]
    first, last = _next_blocks(wanted, 0)
    while first < last:
        left, right = first * WIDTH, min(last * WIDTH, nx)
        bound = frame.bounds[top // HEIGHT, left:right]
        if not only:
            _bound_variance(frame.variance, top, bottom, left, right, room, bound)
        for y in range(top, bottom):
            _compare(frame, rule, y, left, right, only, bound, room)
        first, last = _next_blocks(wanted, last)


@compiled
def _find_wanted(flags: np.ndarray, top: int, bottom: int, only: np.uint8, wanted: np.ndarray) -> None:
    """Tell which blocks of some rows have pixels with a flag."""
    nx = flags.shape[1]
    together = np.zeros(nx, dtype=np.uint8)
    for y in range(top, bottom):
        row = flags[y]
        for x in range(nx):
            together[x] |= row[x]
    for k in range(wanted.size):
        wanted[k] = _any_flag(together[k * WIDTH : (k + 1) * WIDTH]) & only != 0


@in_place
def _next_blocks(wanted: np.ndarray, start: int) -> tuple[int, int]:
    """Find blocks to look at together, from some block on.

    Returns the first of them and the one after the last, which are the same if
    there are none; a few that are not wanted may be between.
    """
    first = start
    while first < wanted.size and not wanted[first]:
        first += 1
    last = first
    for k in range(first, wanted.size):
        if wanted[k]:
            last = k + 1
        elif k - last >= BRIDGE:
            break
    return first, last


@in_place
def _find_crowded(counts: np.ndarray, crowd: int, crowded: np.ndarray) -> None:
    """Tell which blocks of a row have too many pixels, or are between such."""
    for k in range(counts.size):
        crowded[k] = counts[k] > crowd
    for k in range(1, counts.size - 1):
        crowded[k] |= (counts[k - 1] > crowd) & (counts[k + 1] > crowd)


@in_place
def _count_true(values: np.ndarray) -> int:
    n = 0
    for value in values:
        n += value
    return n


@in_place
def append_block(runs: np.ndarray, n: int, top: int, left: int, width: int, height: int) -> int:
    """Add a block to a list of runs, to the last run if it goes on there.

    Parameters
    ----------
    runs : `numpy.ndarray`, (>= 4 * (n + 1),), int64
        First row, first column, width and height of each run; changed in
        place.
    n : `int`
        Count of runs.
    top, left, width, height : `int`
        First row, first column, width and height of the block.

    Returns
    -------
    n : `int`
        Count of runs now.
    """
    if n > 0:
        last = runs[4 * (n - 1) : 4 * n]
        goes_on = last[0] == top and last[3] == height and last[1] + last[2] == left
        if goes_on and last[2] + width <= LONGEST:
            last[2] += width
            return n
    runs[4 * n], runs[4 * n + 1], runs[4 * n + 2], runs[4 * n + 3] = top, left, width, height
    return n + 1


@in_place
def _take_pixels(flags: np.ndarray, top: int, bottom: int, left: int, pixels: np.ndarray, n: int) -> int:
    """Add the candidates of a block to a list, and clear their flag."""
    nx = flags.shape[1]
    for y in range(top, bottom):
        row = flags[y, left : min(left + WIDTH, nx)]
        if not _any_flag(row) & CANDIDATE:
            continue
        for c in range(row.size):
            if row[c] & CANDIDATE:
                row[c] &= ~CANDIDATE
                pixels[n] = y * nx + left + c
                n += 1
    return n


@in_place
def _any_flag(flags: np.ndarray) -> np.uint8:
    """Return all flags that any of some pixels has."""
    together = NONE
    for flag in flags:
        together = np.uint8(together | flag)
    return together


@in_place
def _count(flags: np.ndarray, in_columns: np.ndarray, counts: np.ndarray) -> None:
    """Count the candidates of some rows by blocks."""
    in_columns[:] = 0
    for r in range(flags.shape[0]):
        row = flags[r]
        for x in range(row.size):
            in_columns[x] += np.uint8(row[x] & CANDIDATE != 0)
    for k in range(counts.size):
        total = np.uint16(0)
        for number in in_columns[k * WIDTH : (k + 1) * WIDTH]:
            total = np.uint16(total + number)
        counts[k] = total


@in_place
def _bound_variance(
    variance: np.ndarray, top: int, bottom: int, left: int, right: int, room: np.ndarray, bound: np.ndarray
) -> None:
    """Find the least variance in reach of each column of a strip of rows.

    NaN is passed over: where all are NaN, so is the noise.
    """
    ny, nx = variance.shape
    first = max(left - REACH, 0)
    last = min(whole_vectors(right + REACH - first) + first, nx)
    least = room[0, : whole_vectors(right - left + 2 * REACH) + WIDTH]
    least[:] = INFINITY
    target = least[first - left + REACH : last - left + REACH]
    y, end = max(top - REACH, 0), min(bottom + REACH, ny)
    while y + 7 <= end:
        _lower_by_seven(variance[y : y + 7, first:last], target)
        y += 7
    for row in range(y, end):
        values = variance[row, first:last]
        for i in range(target.size):
            target[i] = _lesser(values[i], target[i])
    n = whole_vectors(right - left)
    _lower_by_next(least, 1, room[1, : n + 5])
    _lower_by_next(room[1], 2, room[2, : n + 3])
    _lower_by_next(room[2], 3, bound)


@in_place
def lower_bounds(frame: Frame, pixels: np.ndarray, variances: np.ndarray, top: int, bottom: int) -> None:
    """Let the bounds on the noise hold for pixels that changed.

    Parameters
    ----------
    frame : `Frame`
        State of the image.
    pixels : `numpy.ndarray`, (n,), int64
        Pixels that changed, in any rows.
    variances : `numpy.ndarray`, (n,), float32
        Their variances now.
    top, bottom : `int`
        First row whose bounds to lower, a multiple of `HEIGHT`, and the one
        after the last.
    """
    nx = frame.flags.shape[1]
    for k in range(pixels.size):
        pixel, variance = pixels[k], variances[k]
        if not (top - REACH) * nx <= pixel < (bottom + REACH) * nx:
            continue
        y = pixel // nx
        x = pixel - y * nx
        for strip in range(max(y - REACH, top) // HEIGHT, (min(y + REACH, bottom - 1)) // HEIGHT + 1):
            bounds = frame.bounds[strip, max(x - REACH, 0) : min(x + REACH + 1, nx)]
            for i in range(bounds.size):
                bounds[i] = _lesser(variance, bounds[i])


@inlined
def _lesser(number: np.float32, other: np.float32) -> np.float32:
    """Return the lesser of two numbers; if any is NaN, the second."""
    return number if number < other else other


@in_place
def _lower_by_seven(values: np.ndarray, least: np.ndarray) -> None:
    """Lower numbers to the least in each column of seven rows."""
    p0, p1, p2, p3, p4, p5, p6 = values[0], values[1], values[2], values[3], values[4], values[5], values[6]
    for i in range(least.size):
        low = _lesser(p1[i], _lesser(p0[i], least[i]))
        low = _lesser(p3[i], _lesser(p2[i], low))
        low = _lesser(p5[i], _lesser(p4[i], low))
        least[i] = _lesser(p6[i], low)


@in_place
def _lower_by_next(values: np.ndarray, distance: int, lesser: np.ndarray) -> None:
    """Find the lesser of each number and the one some places behind."""
    behind = values[distance:]
    for i in range(lesser.size):
        lesser[i] = _lesser(behind[i], values[i])


@in_place
def _compare(
    frame: Frame,
    rule: Rule,
    y: int,
    left: int,
    right: int,
    only: np.uint8,
    bound: np.ndarray,
    room: np.ndarray,
) -> None:
    """Flag pixels of a row that may exceed the limit, and are not masked.

    Squares are compared, with a margin that covers their rounding; of numbers
    so large that both squares are infinite nothing is known.
    """
    ny, nx = frame.flags.shape
    image = frame.image
    laplacian = room[0, : right - left]
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
    factor = FOUR * rule.limit * rule.limit * MARGIN
    if rule.limit < 0:
        factor = -INFINITY
    if frame.sky.size > 0:
        sky, with_sky = frame.sky[y, left:right], room[1, : right - left]
        for i in range(with_sky.size):
            with_sky[i] = bound[i] + sky[i]
        bound = with_sky
    flags = frame.flags[y, left:right]
    for i in range(laplacian.size):
        variance = SMALLEST_VARIANCE if bound[i] < SMALLEST_VARIANCE else bound[i]
        is_wanted = flags[i] & (BAD | only) == only
        exceeds = laplacian[i] * laplacian[i] >= factor * variance
        flags[i] |= CANDIDATE if exceeds & is_wanted else NONE
