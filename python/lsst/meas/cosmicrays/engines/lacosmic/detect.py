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

What may be a CR pixel passes one exact test after the other, the cheapest
first.  Where there is much of it, the first tests are made of all pixels
around together; first that for stars, which is what crowds most images.
"""

from __future__ import annotations

__all__ = ["RUNS", "clear_near", "crowded_runs", "exceed", "forget", "learn", "learn_around", "scan"]

import numpy as np

from .candidates import LONGEST, TALL, WIDTH, append_block, find_candidates
from .compiled import compiled, in_place, inlined
from .frame import ABOVE, ABOVE_NEIGHBOUR, CANDIDATE, COSMIC_RAY, HEIGHT, KNOWN, NEAR, Frame
from .lists import with_room
from .patches import Patches, new_scratch, whole_vectors
from .steps import (
    NO_PIXELS,
    ONE_PIXEL,
    Rule,
    find_fine_structure,
    find_laplacian,
    find_significance,
    fine_structure,
    half_of,
    reach_of,
    signal_to_noise,
    significance,
)

RUNS = 16
"""Runs that are tested at a time."""

NONE = np.uint8(0)
ZERO = np.float32(0)
TWO = np.float32(2)
SMALLEST_FINE_STRUCTURE = np.float32(0.01)

ALONE = 110
"""Elements of a patch array that take as long to be tested as a pixel that is
tested by itself, with separable medians."""

SQUARE_ALONE = 11
"""The same with square medians."""

MARGIN_OF_BOX = 9
"""Rows that are worked on besides those of a box, on average of the steps."""

YES = np.uint8(1)

ALL = np.uint8(255)
FORGOTTEN = np.uint8(KNOWN | ABOVE | ABOVE_NEIGHBOUR)
"""Flags that do not hold any more after a change nearby."""

MARGIN = np.float32(1 + 1e-5)
"""Factor of the Laplacian of what may be no star, for rounding."""


@compiled
def scan(frame: Frame, rule: Rule, top: int, bottom: int, only: np.uint8) -> np.ndarray:
    """Find the pixels of some rows that are CR pixels by themselves.

    S is an upper bound of S', and quicker to find; so is the fine structure,
    unless it takes a matched filter.

    Parameters
    ----------
    frame : `Frame`
        State of the image.
    rule : `Rule`
        What makes a CR pixel.
    top, bottom : `int`
        First row, a multiple of `HEIGHT`, and the one after the last.
    only : `numpy.uint8`
        Flag that a pixel must have to be looked at; zero for all.

    Returns
    -------
    found : `numpy.ndarray`, (m,), int64
        CR pixels, numbered ``y * nx + x``, in no particular order.
    """
    pixels, runs = find_candidates(frame, rule, top, bottom, only)
    found, sharp, structures = _find_in_runs(frame, rule, runs)
    return np.concatenate((found, _find_sharp(frame, rule, sharp, structures), _find(frame, rule, pixels)))


@inlined
def _find(frame: Frame, rule: Rule, pixels: np.ndarray) -> np.ndarray:
    """Return the CR pixels among some."""
    ratios, noises = signal_to_noise(frame, rule, pixels)
    passing = ratios > rule.limit
    pixels, ratios, noises = pixels[passing], ratios[passing], noises[passing]
    if rule.kernel.size > 0:
        return _confirm_by_filter(frame, rule, pixels, noises)
    return _confirm(frame, rule, pixels, ratios, fine_structure(frame, rule, pixels), noises)


@inlined
def _find_sharp(frame: Frame, rule: Rule, pixels: np.ndarray, structures: np.ndarray) -> np.ndarray:
    """Return the CR pixels among some with known fine structure."""
    ratios, noises = signal_to_noise(frame, rule, pixels)
    return _confirm(frame, rule, pixels, ratios, structures, noises)


@inlined
def _confirm(
    frame: Frame,
    rule: Rule,
    pixels: np.ndarray,
    ratios: np.ndarray,
    structures: np.ndarray,
    noises: np.ndarray,
) -> np.ndarray:
    """Return the CR pixels among some with known S and fine structure."""
    passing = _are_sharp(ratios, structures, noises, rule)
    pixels, structures, noises = pixels[passing], structures[passing], noises[passing]
    significances = significance(frame, rule, pixels, ONE_PIXEL, ONE_PIXEL).ravel()
    return pixels[_are_sharp(significances, structures, noises, rule)]


@inlined
def _confirm_by_filter(frame: Frame, rule: Rule, pixels: np.ndarray, noises: np.ndarray) -> np.ndarray:
    """Return the CR pixels among some, with S' found before the filter."""
    significances = significance(frame, rule, pixels, ONE_PIXEL, ONE_PIXEL).ravel()
    passing = significances > rule.limit
    pixels, significances, noises = pixels[passing], significances[passing], noises[passing]
    structures = fine_structure(frame, rule, pixels)
    return pixels[_are_sharp(significances, structures, noises, rule)]


@compiled
def _are_sharp(
    significances: np.ndarray, structures: np.ndarray, noises: np.ndarray, rule: Rule
) -> np.ndarray:
    """Tell which pixels exceed the limit, and are too sharp for a star."""
    sharp = np.empty(significances.size, dtype=np.bool_)
    for i in range(sharp.size):
        sharp[i] = _is_sharp(significances[i], structures[i], noises[i], rule)
    return sharp


@inlined
def _is_sharp(significance: np.float32, structure: np.float32, noise: np.float32, rule: Rule) -> bool:
    """Tell whether a pixel exceeds the limit, and is too sharp for a star."""
    structure = structure / noise
    structure = SMALLEST_FINE_STRUCTURE if structure < SMALLEST_FINE_STRUCTURE else structure
    return bool((significance / structure > rule.contrast) & (significance > rule.limit))


@compiled
def _find_in_runs(frame: Frame, rule: Rule, runs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Look for CR pixels in runs, as `scan` in boxes.

    Where few pixels are too sharp for stars, these are better tested one by
    one.

    Returns
    -------
    found : `numpy.ndarray`, (n,), int64
        CR pixels.
    pixels : `numpy.ndarray`, (m,), int64
        Pixels yet to be tested.
    structures : `numpy.ndarray`, (m,), float32
        Their fine structure, electrons.
    """
    ny, nx = frame.flags.shape
    half = half_of(rule)
    alone = ALONE if rule.separable else SQUARE_ALONE
    found = np.empty(TALL * LONGEST, dtype=np.int64)
    pixels = np.empty(TALL * LONGEST, dtype=np.int64)
    structures = np.empty(TALL * LONGEST, dtype=np.float32)
    n = m = 0
    scratch = new_scratch(TALL, LONGEST, 1, 6, rule.separable)
    fine = new_scratch(TALL, LONGEST, 1, reach_of(rule), rule.separable)
    sharp = np.empty((TALL, LONGEST), dtype=np.bool_)
    cells = sharp.view(np.uint8)
    columns = np.empty(LONGEST, dtype=np.uint8)
    place = np.empty((3, 1), dtype=np.int64)
    for run in runs:
        height = min(run[3], ny - run[0])
        top, left, height, width = _box(frame.flags, CANDIDATE, run[0], run[1], height, run[2], columns)
        if height == 0:  # Between crowded blocks that are tested with others.
            continue
        patches = _patch(place, nx, top, left, height, width)
        find_fine_structure(frame, rule, patches, fine)
        find_laplacian(frame.image, patches, NO_PIXELS, scratch.raw, scratch.signal)
        n_sharp = _take_candidates(frame.flags, rule, patches, scratch.signal, fine.result, sharp)
        if n_sharp == 0:
            continue
        row, column, height, width = _box(cells, YES, 0, 0, height, width, columns)
        if n_sharp * alone <= (height + MARGIN_OF_BOX) * whole_vectors(width + 2 * half):
            pixels = with_room(pixels, m, n_sharp)
            structures = with_room(structures, m, n_sharp)
            m = _append_sharp(sharp, fine.result, patches, nx, pixels, structures, m)
            continue
        patches = _patch(place, nx, top + row, left + column, height, width)
        find_significance(frame, rule, patches, scratch)
        _record(frame.flags, rule, top + row, left + column, height, width, scratch.result)
        found = with_room(found, n, n_sharp)
        for r in range(height):
            passing = sharp[row + r, column : column + width]
            if not _restrict(passing, scratch.result[r], rule.limit):
                continue
            first = patches.corners[0] + r * nx
            for c in range(width):
                structure, noise = fine.result[row + r, column + c], scratch.noise[half + r, half + c]
                if passing[c] and _is_sharp(scratch.result[r, c], structure, noise, rule):
                    found[n] = first + c
                    n += 1
    return found[:n], pixels[:m], structures[:m]


@in_place
def _box(
    cells: np.ndarray, flag: np.uint8, top: int, left: int, height: int, width: int, columns: np.ndarray
) -> tuple[int, int, int, int]:
    """Find the smallest box that has all flagged cells of another.

    Parameters
    ----------
    cells : `numpy.ndarray`, (n, m), uint8
        Flags.
    flag : `numpy.uint8`
        Flag.
    top, left, height, width : `int`
        First row and column of the box, and its size.
    columns : `numpy.ndarray`, (>= width,), uint8
        Where to work.

    Returns
    -------
    top, left, height, width : `int`
        The same of the smallest box; without rows if no cell has the flag.
    """
    columns[:width] = NONE
    first, last = height, 0
    for r in range(height):
        row = cells[top + r, left : left + width]
        in_row = NONE
        for c in range(row.size):
            in_row = np.uint8(in_row | row[c])
            columns[c] |= row[c]
        if in_row & flag:
            first, last = min(first, r), r
    if first == height:
        return top, left, 0, 0
    start, stop = 0, width - 1
    while not columns[start] & flag:
        start += 1
    while not columns[stop] & flag:
        stop -= 1
    return top + first, left + start, last - first + 1, stop - start + 1


@in_place
def _append_sharp(
    sharp: np.ndarray,
    structures: np.ndarray,
    patches: Patches,
    nx: int,
    pixels: np.ndarray,
    of_pixels: np.ndarray,
    n: int,
) -> int:
    """Add the sharp pixels of a patch, and their fine structure, to lists."""
    for r in range(patches.height):
        first = patches.corners[0] + r * nx
        for c in range(patches.width):
            if sharp[r, c]:
                pixels[n] = first + c
                of_pixels[n] = structures[r, c]
                n += 1
    return n


@in_place
def _restrict(passing: np.ndarray, significances: np.ndarray, limit: np.float32) -> bool:
    """Let no pixel of a row pass below a limit; return whether any does."""
    any_passing = NONE
    for c in range(passing.size):
        passing[c] &= significances[c] > limit
        any_passing = np.uint8(any_passing | np.uint8(passing[c]))
    return bool(any_passing)


@in_place
def _take_candidates(
    flags: np.ndarray,
    rule: Rule,
    patches: Patches,
    laplacians: np.ndarray,
    structures: np.ndarray,
    sharp: np.ndarray,
) -> int:
    """Tell which candidates of a patch may be too sharp for stars, and count.

    S' is at most S, and the noise cancels in S over the fine structure.  Where
    the fine structure is less than the smallest that counts, what exceeds the
    limit is sharp enough, unless that limit is very low; then, and with a
    filter instead of medians, all candidates may be.

    The flag of candidates is cleared.
    """
    cancels = rule.kernel.size == 0 and rule.contrast >= ZERO
    cancels = cancels and rule.limit >= SMALLEST_FINE_STRUCTURE * rule.contrast
    factor = TWO * rule.contrast
    left = patches.lefts[0]
    n = 0
    for r in range(patches.height):
        row = flags[patches.tops[0] + r, left : left + patches.width]
        laplacian, structure, passing = laplacians[r], structures[r], sharp[r]
        in_row = np.uint16(0)
        for c in range(row.size):
            is_candidate = row[c] & CANDIDATE != 0
            is_sharp = laplacian[c] * MARGIN >= factor * structure[c]
            passing[c] = is_candidate & (is_sharp | (not cancels))
            row[c] &= ~CANDIDATE
            in_row = np.uint16(in_row + np.uint16(passing[c]))
        n += int(in_row)
    return n


@inlined
def _patch(place: np.ndarray, nx: int, top: int, left: int, height: int, width: int) -> Patches:
    """Return a single patch, whose place is written into an array."""
    place[0, 0], place[1, 0], place[2, 0] = top, left, top * nx + left
    return Patches(place[0], place[1], place[2], height, width)


@compiled
def learn(frame: Frame, rule: Rule, runs: np.ndarray) -> None:
    """Find out which pixels of some runs exceed the limits.

    Parameters
    ----------
    frame, rule
        As for `scan`; the flags `KNOWN`, `ABOVE` and `ABOVE_NEIGHBOUR` of the
        pixels are set.
    runs : `numpy.ndarray`, (n, 4), int64
        First row, first column, width and height of each, not more than
        `HEIGHT` high.
    """
    ny, nx = frame.flags.shape
    scratch = new_scratch(HEIGHT, LONGEST, 1, 6, rule.separable)
    place = np.empty((3, 1), dtype=np.int64)
    for run in runs:
        patches = _patch(place, nx, run[0], run[1], min(run[3], ny - run[0]), run[2])
        find_significance(frame, rule, patches, scratch)
        _record(frame.flags, rule, run[0], run[1], patches.height, patches.width, scratch.result)


def learn_around(frame: Frame, rule: Rule, pixels: np.ndarray) -> None:
    """Find out which neighbours of some pixels exceed the limits.

    Parameters
    ----------
    frame, rule
        As for `learn`.
    pixels : `numpy.ndarray`, (n,), int64
        Pixels; those on the edge of the image are passed over.
    """
    corners = _corners_to_learn(frame.flags, pixels)
    _record_all(frame.flags, rule, corners, significance(frame, rule, corners, 3, 3))


@compiled
def _corners_to_learn(flags: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return the first pixels of the blocks of nine around some pixels."""
    ny, nx = flags.shape
    corners = np.empty(pixels.size, dtype=np.int64)
    n = 0
    for pixel in pixels:
        y, x = pixel // nx, pixel % nx
        if min(y, x, ny - 1 - y, nx - 1 - x) > 0 and _any_unknown(flags, y, x):
            corners[n] = pixel - nx - 1
            n += 1
    return corners[:n]


@in_place
def _record_all(flags: np.ndarray, rule: Rule, corners: np.ndarray, significances: np.ndarray) -> None:
    """Set flags of the pixels of small blocks that tell what they exceed."""
    nx = flags.shape[1]
    for i in range(corners.size):
        height, width = significances.shape[1:]
        _record(flags, rule, corners[i] // nx, corners[i] % nx, height, width, significances[i])


@in_place
def _any_unknown(flags: np.ndarray, y: int, x: int) -> bool:
    """Tell whether a pixel or any of its neighbours is unknown."""
    for row in range(y - 1, y + 2):
        for column in range(x - 1, x + 2):
            if not flags[row, column] & KNOWN:
                return True
    return False


@in_place
def _record(
    flags: np.ndarray, rule: Rule, top: int, left: int, height: int, width: int, significances: np.ndarray
) -> None:
    """Set flags of the pixels of a block that tell what they exceed."""
    for r in range(height):
        row, values = flags[top + r, left : left + width], significances[r]
        for c in range(row.size):
            above = ABOVE * np.uint8(values[c] > rule.limit)
            above_neighbour = ABOVE_NEIGHBOUR * np.uint8(values[c] > rule.neighbour_limit)
            row[c] |= KNOWN | above | above_neighbour


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
    passing = unknown[significance(frame, rule, unknown, ONE_PIXEL, ONE_PIXEL).ravel() > limit]
    return np.concatenate((pixels[flags & above != 0], passing))


@compiled
def crowded_runs(flags: np.ndarray, pixels: np.ndarray, crowd: int, top: int, bottom: int) -> np.ndarray:
    """Find the blocks of some rows that are better tested as a whole.

    Parameters
    ----------
    flags : `numpy.ndarray`, (ny, nx), uint8
        Flags; pixels that are `KNOWN` don't count.
    pixels : `numpy.ndarray`, (n,), int64
        Pixels that are to be tested, of any rows.
    crowd : `int`
        How many of them in a block are better tested one by one.
    top, bottom : `int`
        First row, a multiple of `HEIGHT`, and the one after the last.

    Returns
    -------
    runs : `numpy.ndarray`, (m, 4), int64
        First row, first column, width and height of runs of blocks.
    """
    nx = flags.shape[1]
    counts = np.zeros(((bottom - top + HEIGHT - 1) // HEIGHT, (nx + WIDTH - 1) // WIDTH), dtype=np.uint16)
    has_crowd = np.zeros(counts.shape[0], dtype=np.bool_)
    for pixel in pixels:
        if top * nx <= pixel < bottom * nx:
            y = pixel // nx
            x = pixel - y * nx
            row, column = (y - top) // HEIGHT, x // WIDTH
            counts[row, column] += not flags[y, x] & KNOWN
            has_crowd[row] |= counts[row, column] > crowd
    runs = np.empty(32, dtype=np.int64)
    n = 0
    for row in range(counts.shape[0]):
        for column in range(counts.shape[1] if has_crowd[row] else 0):
            if counts[row, column] > crowd:
                left = column * WIDTH
                runs = with_room(runs, 4 * n, 4)
                n = append_block(runs, n, top + row * HEIGHT, left, min(WIDTH, nx - left), HEIGHT)
    return runs[: 4 * n].reshape(-1, 4)


@in_place
def forget(
    flags: np.ndarray, pixels: np.ndarray, reach: int, growth: int, all_grow: bool, top: int, bottom: int
) -> None:
    """Forget what depends on pixels that changed.

    Parameters
    ----------
    flags : `numpy.ndarray`, (ny, nx), uint8
        Flags, changed in place: it is no longer `KNOWN` what the pixels that
        depend on them exceed, and they become `NEAR`, as do pixels from which
        CRs may grow to them.
    pixels : `numpy.ndarray`, (n,), int64
        Pixels that changed; those that follow each other along a row are
        taken together.
    reach : `int`
        How far from them what depends on them is.
    growth : `int`
        How much farther pixels are that CRs may grow from.
    all_grow : `bool`
        Whether CRs may also grow from what is no CR pixel.
    top, bottom : `int`
        First row of flags to change, and the one after the last.
    """
    nx = flags.shape[1]
    far = reach + growth
    start = 0
    while start < pixels.size:
        stop = start + 1
        if not (top - far) * nx <= pixels[start] < (bottom + far) * nx:
            start = stop
            continue
        y = pixels[start] // nx
        while stop < pixels.size and pixels[stop] == pixels[stop - 1] + 1 < (y + 1) * nx:
            stop += 1
        left, right = pixels[start] - y * nx, pixels[stop - 1] - y * nx + 1
        start = stop
        first, last = max(y - far, top), min(y + far + 1, bottom)
        for column in range(max(left - far, 0), min(right + far, nx), WIDTH):
            column = max(min(column, nx - WIDTH), 0)
            near = left - reach - column, right + reach - column
            around = left - far - column, right + far - column
            for row in range(first, last):
                near_here = near if abs(row - y) <= reach else (0, 0)
                if nx >= WIDTH:
                    _forget_some(flags[row, column:], WIDTH, near_here, around, all_grow)
                else:
                    _forget_some(flags[row], nx, near_here, around, all_grow)


@inlined
def _forget_some(
    flags: np.ndarray, n: int, near: tuple[int, int], around: tuple[int, int], all_grow: bool
) -> None:
    """Forget what depends on changes nearby, of at most a block of pixels.

    Ranges of these tell what depends on them, and what CRs may grow from.
    """
    first, last = np.uint8(min(max(near[0], 0), n)), np.uint8(min(max(near[1], 0), n))
    start, stop = np.uint8(min(max(around[0], 0), n)), np.uint8(min(max(around[1], 0), n))
    for i in range(n):
        place, flag = np.uint8(i), flags[i]
        is_near = (first <= place) & (place < last)
        may_grow = (start <= place) & (place < stop) & (all_grow | (flag & COSMIC_RAY != 0))
        flag &= ~FORGOTTEN if is_near else ALL
        flags[i] = flag | (NEAR if is_near | may_grow else NONE)


@in_place
def clear_near(flags: np.ndarray, top: int, bottom: int) -> None:
    """Let no pixel of some rows be `NEAR`.

    Parameters
    ----------
    flags : `numpy.ndarray`, (ny, nx), uint8
        Flags, changed in place.
    top, bottom : `int`
        First row and the one after the last.
    """
    for y in range(top, bottom):
        row = flags[y]
        for i in range(row.size):
            row[i] &= ~NEAR
