# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding CR pixels with L.A.Cosmic, looking closely only where one may be.

The noise of a pixel is the root of a median of variances around it, so no
less than the root of their minimum, which is found quickly for all pixels.
Where the Laplacian is below the limit with that noise it is below it with any,
since every rounded operation involved is monotonic.  What is left, a pixel in
hundreds, passes one exact test after the other, the cheapest first.  Where too
many are left, all pixels around are tested together.
"""

from __future__ import annotations

__all__ = ["BLOCKS", "crowded_blocks", "exceed", "forget", "learn", "scan"]

import numpy as np

from .compiled import compiled
from .frame import (
    ABOVE,
    ABOVE_NEIGHBOUR,
    BAD,
    COSMIC_RAY,
    KNOWN,
    TILE,
    Frame,
    laplacian_at,
    positive_laplacian,
    variance_at,
)
from .lists import with_room
from .steps import SMALLEST_VARIANCE, Rule, fine_structure, signal_to_noise, significance

HEIGHT = 8
"""Rows that share a lower bound on the noise, and that are tested together."""

WIDTH = TILE
"""Columns that are tested together."""

CROWD = 10
"""Pixels of a block that take longer one by one than all of it together, with
separable medians."""

SQUARE_CROWD = 32
"""The same with square medians."""

BLOCKS = 32
"""Blocks that are tested at a time."""

REACH = 3
"""How far from a pixel the variances are that its noise depends on."""

TWO = np.float32(2)
INFINITY = np.float32(np.inf)
SMALLEST_FINE_STRUCTURE = np.float32(0.01)


def scan(frame: Frame, rule: Rule, boxes: np.ndarray) -> np.ndarray:
    """Find the pixels of some boxes that are CR pixels by themselves.

    Parameters
    ----------
    frame : `Frame`
        State of the image.
    rule : `Rule`
        What makes a CR pixel.
    boxes : `numpy.ndarray`, (n, 4), int64
        First row and column of each box, and those after its last, at the
        borders of blocks or at those of the image.

    Returns
    -------
    found : `numpy.ndarray`, (m,), int64
        CR pixels, numbered ``y * nx + x``, in no particular order.
    """
    pixels, corners = _find_candidates(frame, rule, boxes)
    found = [_test(frame, rule, pixels)]
    for i in range(0, corners.size, BLOCKS):
        part = corners[i : i + BLOCKS]
        significances, noises = learn(frame, rule, part)
        structures = fine_structure(frame, rule, part, HEIGHT, WIDTH)
        sharp = _are_sharp(significances.ravel(), structures.ravel(), noises.ravel(), rule.contrast)
        found.append(_list_sharp(frame.flags, part, sharp.reshape(noises.shape)))
    return np.concatenate(found)


def learn(frame: Frame, rule: Rule, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find out which pixels of some blocks exceed the limits.

    Parameters
    ----------
    frame, rule
        As for `scan`; the flags `KNOWN`, `ABOVE` and `ABOVE_NEIGHBOUR` of the
        pixels are set.
    corners : `numpy.ndarray`, (n,), int64
        First pixels of the blocks.

    Returns
    -------
    significances, noises : `numpy.ndarray`, (n, `HEIGHT`, `WIDTH`), float32
        What `significance` finds.
    """
    significances, noises = significance(frame, rule, corners, HEIGHT, WIDTH)
    _record(frame.flags, rule, corners, significances)
    return significances, noises


def exceed(frame: Frame, rule: Rule, above: np.uint8, pixels: np.ndarray) -> np.ndarray:
    """Find the pixels that are more significant than a limit.

    Parameters
    ----------
    frame, rule
        As for `scan`.
    above : `numpy.uint8`
        Flag of pixels that are known to be so: `ABOVE` for the limit of CR
        pixels, `ABOVE_NEIGHBOUR` for that of their neighbours.
    pixels : `numpy.ndarray`, (n,), int64
        Pixels to test.

    Returns
    -------
    passing : `numpy.ndarray`, (m,), int64
        Those of them that are.
    """
    flags = frame.flags.ravel()[pixels]
    limit = rule.limit if above == ABOVE else rule.neighbour_limit
    unknown = pixels[flags & KNOWN == 0]
    unknown = unknown[signal_to_noise(frame, rule, unknown)[0] > limit]
    passing = unknown[significance(frame, rule, unknown, 1, 1)[0].ravel() > limit]
    return np.concatenate((pixels[flags & above != 0], passing))


@compiled
def crowded_blocks(flags: np.ndarray, rule: Rule, pixels: np.ndarray) -> np.ndarray:
    """Find the blocks that are better tested as a whole than by pixels.

    Parameters
    ----------
    flags : `numpy.ndarray`, (ny, nx), uint8
        Flags; pixels that are `KNOWN` don't count.
    rule : `Rule`
        What makes a CR pixel.
    pixels : `numpy.ndarray`, (n,), int64
        Pixels that are to be tested.

    Returns
    -------
    corners : `numpy.ndarray`, (m,), int64
        First pixels of the blocks.
    """
    ny, nx = flags.shape
    counts = np.zeros(((ny + HEIGHT - 1) // HEIGHT, (nx + WIDTH - 1) // WIDTH), dtype=np.int64)
    for pixel in pixels:
        y, x = pixel // nx, pixel % nx
        counts[y // HEIGHT, x // WIDTH] += not flags[y, x] & KNOWN
    corners = np.empty(counts.size, dtype=np.int64)
    n = 0
    for row in range(counts.shape[0]):
        for column in range(counts.shape[1]):
            if counts[row, column] > (CROWD if rule.separable else SQUARE_CROWD):
                corners[n] = row * HEIGHT * nx + column * WIDTH
                n += 1
    return corners[:n]


def _test(frame: Frame, rule: Rule, pixels: np.ndarray) -> np.ndarray:
    """Return the pixels that are CR pixels by themselves.

    S is an upper bound of S', and quicker to find; so is the fine structure,
    unless it takes a matched filter.
    """
    ratios, noises = signal_to_noise(frame, rule, pixels)
    passing = ratios > rule.limit
    pixels, ratios, noises = pixels[passing], ratios[passing], noises[passing]
    if rule.kernel.size == 0:
        structures = fine_structure(frame, rule, pixels, 1, 1).ravel()
        passing = _are_sharp(ratios, structures, noises, rule.contrast)
        pixels, structures, noises = pixels[passing], structures[passing], noises[passing]
    significances = significance(frame, rule, pixels, 1, 1)[0].ravel()
    passing = significances > rule.limit
    pixels, significances, noises = pixels[passing], significances[passing], noises[passing]
    if rule.kernel.size == 0:
        structures = structures[passing]
    else:
        structures = fine_structure(frame, rule, pixels, 1, 1).ravel()
    return pixels[_are_sharp(significances, structures, noises, rule.contrast)]


@compiled
def forget(flags: np.ndarray, boxes: np.ndarray) -> None:
    """Forget which pixels of some boxes exceed the limits.

    Parameters
    ----------
    flags : `numpy.ndarray`, (ny, nx), uint8
        Flags, changed in place.
    boxes : `numpy.ndarray`, (n, 4), int64
        As for `scan`.
    """
    for b in range(boxes.shape[0]):
        top, left, bottom, right = boxes[b]
        for y in range(top, bottom):
            row = flags[y, left:right]
            for i in range(row.size):
                row[i] &= ~(KNOWN | ABOVE | ABOVE_NEIGHBOUR)


@compiled
def _find_candidates(frame: Frame, rule: Rule, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find what may exceed the limit.

    Returns pixels, and the first pixels of blocks with too many of them.
    """
    nx = frame.flags.shape[1]
    pixels = np.empty(HEIGHT * WIDTH, dtype=np.int64)
    corners = np.empty(8, dtype=np.int64)
    n = n_corners = 0
    for b in range(boxes.shape[0]):
        top, left, bottom, right = boxes[b]
        bound = np.empty(right - left, dtype=np.float32)
        passing = np.empty((HEIGHT, right - left), dtype=np.bool_)
        counts = np.empty(HEIGHT, dtype=np.int64)
        for y in range(top, bottom, HEIGHT):
            height = min(HEIGHT, bottom - y)
            _bound_variance(frame, y, y + height, left, right, bound)
            for r in range(height):
                _compare(frame, rule, y + r, left, right, bound, passing[r])
            for x in range(left, right, WIDTH):
                block = passing[:height, x - left : x - left + WIDTH]
                for r in range(height):
                    counts[r] = _count(block[r])
                if counts[:height].sum() > (CROWD if rule.separable else SQUARE_CROWD):
                    corners = with_room(corners, n_corners, 1)
                    corners[n_corners] = y * nx + x
                    n_corners += 1
                    continue
                for r in range(height):
                    pixels = with_room(pixels, n, counts[r])
                    for c in range(block.shape[1] if counts[r] else 0):
                        if block[r, c] and not frame.flags[y + r, x + c] & BAD:
                            pixels[n] = (y + r) * nx + x + c
                            n += 1
    return pixels[:n], corners[:n_corners]


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
            value = values[i] * frame.scale + frame.offset
            value = INFINITY if flags[i] & COSMIC_RAY else value
            target[i] = value if value < target[i] else target[i]
            any_flag |= flags[i]
        if any_flag & COSMIC_RAY:
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
    """Tell which pixels of a row may exceed the limit."""
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
    if frame.sky.size > 0:
        sky = frame.sky[y, left:right]
        for i in range(laplacian.size):
            variance = bound[i] + sky[i]
            variance = SMALLEST_VARIANCE if variance < SMALLEST_VARIANCE else variance
            passing[i] = laplacian[i] / (TWO * np.sqrt(variance)) > rule.limit
    else:
        for i in range(laplacian.size):
            variance = SMALLEST_VARIANCE if bound[i] < SMALLEST_VARIANCE else bound[i]
            passing[i] = laplacian[i] / (TWO * np.sqrt(variance)) > rule.limit


@compiled
def _count(passing: np.ndarray) -> np.int32:
    count = np.int32(0)
    for i in range(passing.size):
        count += passing[i]
    return count


@compiled
def _are_sharp(
    significances: np.ndarray, structures: np.ndarray, noises: np.ndarray, contrast: np.float32
) -> np.ndarray:
    """Tell which pixels are too sharp for their fine structure."""
    sharp = np.empty(significances.size, dtype=np.bool_)
    for i in range(significances.size):
        structure = structures[i] / noises[i]
        structure = SMALLEST_FINE_STRUCTURE if structure < SMALLEST_FINE_STRUCTURE else structure
        sharp[i] = significances[i] / structure > contrast
    return sharp


@compiled
def _record(flags: np.ndarray, rule: Rule, corners: np.ndarray, significances: np.ndarray) -> None:
    """Set flags of the pixels of blocks that tell what they exceed."""
    ny, nx = flags.shape
    for b in range(corners.size):
        top, left = corners[b] // nx, corners[b] % nx
        for y in range(top, min(top + HEIGHT, ny)):
            for x in range(left, min(left + WIDTH, nx)):
                value = significances[b, y - top, x - left]
                flags[y, x] |= KNOWN
                if value > rule.limit:
                    flags[y, x] |= ABOVE
                if value > rule.neighbour_limit:
                    flags[y, x] |= ABOVE_NEIGHBOUR


@compiled
def _list_sharp(flags: np.ndarray, corners: np.ndarray, sharp: np.ndarray) -> np.ndarray:
    """Return the CR pixels of blocks."""
    ny, nx = flags.shape
    found = np.empty(sharp.size, dtype=np.int64)
    n = 0
    for b in range(corners.size):
        top, left = corners[b] // nx, corners[b] % nx
        for y in range(top, min(top + HEIGHT, ny)):
            for x in range(left, min(left + WIDTH, nx)):
                if sharp[b, y - top, x - left] and flags[y, x] & (ABOVE | BAD) == ABOVE:
                    found[n] = y * nx + x
                    n += 1
    return found[:n]
