# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters on several patches of an image side by side.

A patch array holds one patch in each of its lanes: pixel (r, c) of the patch
of lane ``l`` is element (r, c * lanes + l).  One pass over a row of the array
thus does the same for all patches, in vector registers.  Many patches
around scattered pixels and a single large patch are filtered by the same code.

All filters have astroscrappy's borders: where the window of a median would
leave the image, the unfiltered number stands.
"""

from __future__ import annotations

__all__ = [
    "Patches",
    "Scratch",
    "clear_outside",
    "convolve",
    "gather",
    "locate",
    "new_scratch",
    "off_edges",
    "restore_border",
    "separable_median",
    "square_median",
    "touches_edge",
    "whole_vectors",
]

from typing import NamedTuple

import numpy as np

from .compiled import compiled, in_place, inlined
from .medians import (
    MEDIAN9,
    MEDIAN25,
    MEDIAN49,
    median5,
    median7,
    median9,
    network_median,
    quickselect,
)

ZERO = np.float32(0)

VECTOR = 16
"""Numbers that rows of patch arrays are worked on at a time: the longest
vector register, or two; what is left over takes as long as all the rest."""


class Patches(NamedTuple):
    """Where patches of one size are."""

    tops: np.ndarray
    """First row of each, (lanes,) int64."""

    lefts: np.ndarray
    """First column of each, (lanes,) int64."""

    corners: np.ndarray
    """First pixel of each, numbered ``y * nx + x``, (lanes,) int64."""

    height: int
    """Rows of each."""

    width: int
    """Columns of each."""


class Scratch(NamedTuple):
    """Patch arrays to work in, float32."""

    raw: np.ndarray
    rows: np.ndarray
    noise: np.ndarray
    signal: np.ndarray
    result: np.ndarray

    window: np.ndarray
    """Sorted windows, (49, columns of a patch array) float32; of separable
    medians none."""


@inlined
def whole_vectors(n: int) -> int:
    """Return how many numbers to work on to have done some, without a rest.

    Parameters
    ----------
    n : `int`
        Numbers wanted.

    Returns
    -------
    n : `int`
        As many or a few more; those are of no use, but there is room for them.
    """
    return (n + VECTOR - 1) & -VECTOR


@compiled
def new_scratch(height: int, width: int, lanes: int, reach: int, separable: bool) -> Scratch:
    """Return arrays for patches and what surrounds them.

    Parameters
    ----------
    height, width, lanes : `int`
        Size and number of the patches.
    reach : `int`
        How far beyond the patches the filters see.
    separable : `bool`
        Whether medians are separable.

    Returns
    -------
    scratch : `Scratch`
        Arrays that hold zeros, with some columns to spare.
    """
    shape = (height + 2 * reach, whole_vectors((width + 2 * reach) * lanes) + VECTOR)
    return Scratch(
        np.zeros(shape, dtype=np.float32),
        np.zeros(shape, dtype=np.float32),
        np.zeros(shape, dtype=np.float32),
        np.zeros(shape, dtype=np.float32),
        np.zeros(shape, dtype=np.float32),
        np.zeros((0 if separable else 49, shape[1]), dtype=np.float32),
    )


@in_place
def touches_edge(patches: Patches, lane: int, reach: int, shape: tuple[int, int]) -> bool:
    """Tell whether a patch is near the edge of the image.

    Parameters
    ----------
    patches : `Patches`
        Patches.
    lane : `int`
        Which of them.
    reach : `int`
        How many pixels around the patch have to be in the image.
    shape : `tuple` [`int`, `int`]
        Shape of the image.

    Returns
    -------
    touches : `bool`
        Whether any of them is not.
    """
    top, left = patches.tops[lane], patches.lefts[lane]
    bottom, right = top + patches.height, left + patches.width
    return bool(min(top, left, shape[0] - bottom, shape[1] - right) < reach)


@in_place
def off_edges(
    patches: Patches, lane: int, reach: int, row: int, distance: int, shape: tuple[int, int]
) -> tuple[int, int]:
    """Tell which columns of a row of a patch are off the edges of the image.

    Parameters
    ----------
    patches, lane, shape
        As for `touches_edge`.
    reach : `int`
        How many pixels around the patch are looked at too.
    row : `int`
        Row, counted from the first of these.
    distance : `int`
        Least distance from the pixels of the edges, which are in the image.

    Returns
    -------
    first, last : `int`
        First of these columns, counted likewise, and the one after the last;
        both are the number of columns if there are none.
    """
    ny, nx = shape
    y, left = patches.tops[lane] - reach + row, patches.lefts[lane] - reach
    width = patches.width + 2 * reach
    first = max(distance - left, 0)
    last = min(nx - distance - left, width)
    if min(y, ny - 1 - y) < distance or first >= last:
        return width, width
    return first, last


@inlined
def locate(plane: np.ndarray, patches: Patches, reach: int, room: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Find patches of a plane, and what surrounds them, in an array.

    A single patch off the edges is in the plane itself; others are copied.

    Parameters
    ----------
    plane : `numpy.ndarray`, (ny, nx), float32
        Plane; beyond its edges its nearest pixels are taken.
    patches : `Patches`
        Patches.
    reach : `int`
        How many pixels around them are wanted too.
    room : `numpy.ndarray`, float32
        Patch array for copies.

    Returns
    -------
    source : `numpy.ndarray`, float32
        Patch array, or the plane.
    top, left : `int`
        First row and first element of it that belongs to the patches; after
        each row there is room for what `whole_vectors` adds.
    """
    source, top, left = room, 0, 0
    if patches.tops.size == 1 and _is_in_place(patches, reach, plane.shape):
        source, top, left = plane, patches.tops[0] - reach, patches.lefts[0] - reach
    else:
        gather(plane, patches, reach, room)
    return source, top, left


@in_place
def _is_in_place(patches: Patches, reach: int, shape: tuple[int, int]) -> bool:
    """Tell whether a single patch can be worked on in the image itself."""
    after = (shape[0] - patches.tops[0] - patches.height - reach) * shape[1]
    return not touches_edge(patches, 0, reach, shape) and after >= VECTOR


@compiled
def gather(image: np.ndarray, patches: Patches, reach: int, target: np.ndarray) -> None:
    """Copy patches of an image, and what surrounds them.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Image; beyond its edges its nearest pixels are taken.
    patches : `Patches`
        Patches.
    reach : `int`
        How many pixels around them to copy too.
    target : `numpy.ndarray`, float32
        Patch array to fill.
    """
    if patches.tops.size > 1 and not _any_touches_edge(patches, reach, image.shape):
        _gather_lanes(image.ravel(), image.shape[1], patches, reach, target)
    else:
        _gather_rows(image, patches, reach, target)


@in_place
def _gather_rows(image: np.ndarray, patches: Patches, reach: int, target: np.ndarray) -> None:
    """Copy patches one by one, whether they are off the edges or not."""
    ny, nx = image.shape
    lanes = patches.tops.size
    height, width = patches.height + 2 * reach, patches.width + 2 * reach
    for lane in range(lanes):
        top, left = patches.tops[lane] - reach, patches.lefts[lane] - reach
        first, last = max(left, 0), min(left + width, nx)
        for r in range(height):
            row = target[r]
            source = image[min(max(top + r, 0), ny - 1)]
            if lanes == 1:
                _copy(source[first:last], row[first - left : last - left])
                _extend(row, first - left, last - left, width)
                continue
            for c in range(width):
                row[c * lanes + lane] = source[min(max(left + c, 0), nx - 1)]


@in_place
def _copy(source: np.ndarray, target: np.ndarray) -> None:
    """Copy numbers to the beginning of a row."""
    for i in range(source.size):
        target[i] = source[i]


@inlined
def _extend(row: np.ndarray, first: int, last: int, width: int) -> None:
    """Repeat the first and the last of some numbers in a row."""
    for c in range(first):
        row[c] = row[first]
    for c in range(last, width):
        row[c] = row[last - 1]


@in_place
def _any_touches_edge(patches: Patches, reach: int, shape: tuple[int, int]) -> bool:
    for lane in range(patches.tops.size):
        if touches_edge(patches, lane, reach, shape):
            return True
    return False


@in_place
def _gather_lanes(pixels: np.ndarray, nx: int, patches: Patches, reach: int, target: np.ndarray) -> None:
    """Copy patches that are off the edges, with lanes in the inner loop."""
    lanes = patches.tops.size
    for r in range(patches.height + 2 * reach):
        for c in range(patches.width + 2 * reach):
            shift = (r - reach) * nx + c - reach
            row = target[r, c * lanes : c * lanes + lanes]
            for lane in range(lanes):
                row[lane] = pixels[patches.corners[lane] + shift]


@in_place
def restore_border(
    source: np.ndarray,
    half: int,
    target: np.ndarray,
    patches: Patches,
    reach: int,
    shape: tuple[int, int],
) -> None:
    """Undo a filter where its window leaves the image.

    Parameters
    ----------
    source : `numpy.ndarray`, float32
        Patch array before the filter, with ``half`` more pixels around.
    half : `int`
        Half the width of the window, rounded down.
    target : `numpy.ndarray`, float32
        Patch array after the filter, changed in place.
    patches : `Patches`
        Patches.
    reach : `int`
        How many pixels around them the target covers too.
    shape : `tuple` [`int`, `int`]
        Shape of the image.
    """
    lanes = patches.tops.size
    for lane in range(lanes):
        if not touches_edge(patches, lane, reach + half, shape):
            continue
        for r in range(patches.height + 2 * reach):
            first, last = off_edges(patches, lane, reach, r, half, shape)
            before, after = source[r + half, half * lanes + lane :], target[r, lane:]
            for c in range(first):
                after[c * lanes] = before[c * lanes]
            for c in range(last, patches.width + 2 * reach):
                after[c * lanes] = before[c * lanes]


@in_place
def clear_outside(target: np.ndarray, patches: Patches, reach: int, shape: tuple[int, int]) -> None:
    """Set what is beyond the edges of the image to zero.

    Parameters
    ----------
    target : `numpy.ndarray`, float32
        Patch array, changed in place.
    patches, reach, shape
        As for `restore_border`.
    """
    lanes = patches.tops.size
    for lane in range(lanes):
        if not touches_edge(patches, lane, reach, shape):
            continue
        for r in range(patches.height + 2 * reach):
            first, last = off_edges(patches, lane, reach, r, 0, shape)
            row = target[r, lane:]
            for c in range(first):
                row[c * lanes] = ZERO
            for c in range(last, patches.width + 2 * reach):
                row[c * lanes] = ZERO


@in_place
def separable_median(
    source: np.ndarray,
    top: int,
    left: int,
    size: int,
    rows: np.ndarray,
    target: np.ndarray,
    height: int,
    width: int,
    lanes: int,
) -> None:
    """Take medians of rows, then medians of these in columns.

    Parameters
    ----------
    source : `numpy.ndarray`, float32
        Patch array with ``size // 2`` more pixels around than the target.
    top, left : `int`
        First row and first element of it to use.
    size : `int`
        Numbers in each median: 5, 7 or 9.
    rows : `numpy.ndarray`, float32
        Patch array that gets the medians of the rows.
    target : `numpy.ndarray`, float32
        Patch array to fill.
    height, width : `int`
        Size of its patches.
    lanes : `int`
        Number of patches.
    """
    n = whole_vectors(width * lanes)
    for r in range(height + size - 1):
        q = rows[r]
        row = source[top + r, left:]
        p0, p1, p2, p3, p4 = row, row[lanes:], row[2 * lanes :], row[3 * lanes :], row[4 * lanes :]
        if size == 5:
            for i in range(n):
                q[i] = median5(p2[i], p1[i], p3[i], p0[i], p4[i])
            continue
        p5, p6 = row[5 * lanes :], row[6 * lanes :]
        if size == 7:
            for i in range(n):
                q[i] = median7(p3[i], p2[i], p4[i], p1[i], p5[i], p0[i], p6[i])
            continue
        p7, p8 = row[7 * lanes :], row[8 * lanes :]
        for i in range(n):
            q[i] = median9(p4[i], p3[i], p5[i], p2[i], p6[i], p1[i], p7[i], p0[i], p8[i])
    for r in range(height):
        q = target[r]
        p0, p1, p2, p3, p4 = rows[r], rows[r + 1], rows[r + 2], rows[r + 3], rows[r + 4]
        if size == 5:
            for i in range(n):
                q[i] = median5(p2[i], p1[i], p3[i], p4[i], p0[i])
            continue
        p5, p6 = rows[r + 5], rows[r + 6]
        if size == 7:
            for i in range(n):
                q[i] = median7(p3[i], p2[i], p4[i], p5[i], p1[i], p6[i], p0[i])
            continue
        p7, p8 = rows[r + 7], rows[r + 8]
        for i in range(n):
            q[i] = median9(p4[i], p3[i], p5[i], p6[i], p2[i], p7[i], p1[i], p8[i], p0[i])


@in_place
def square_median(
    source: np.ndarray,
    top: int,
    left: int,
    size: int,
    window: np.ndarray,
    target: np.ndarray,
    height: int,
    width: int,
    lanes: int,
) -> None:
    """Take medians of square windows.

    Parameters
    ----------
    source : `numpy.ndarray`, float32
        Patch array with ``size // 2`` more pixels around than the target.
    top, left : `int`
        First row and first element of it to use.
    size : `int`
        Side of the windows: 3, 5 or 7.
    window : `numpy.ndarray`, (49, >= width * lanes), float32
        Where to work.
    target, height, width, lanes
        As for `separable_median`.
    """
    n = whole_vectors(width * lanes)
    for r in range(height):
        for k in range(size * size):
            first = left + k % size * lanes
            _copy(source[top + r + k // size, first : first + n], window[k])
        if size == 7:
            _median49(source[top + r :, left:], window, target[r], n, lanes)
        else:
            network_median(MEDIAN9 if size == 3 else MEDIAN25, window, n)
            _copy(window[size * size // 2, :n], target[r])


@compiled
def _median49(source: np.ndarray, window: np.ndarray, target: np.ndarray, n: int, lanes: int) -> None:
    """Take medians of 7x7 windows that are in the columns of an array.

    Those with NaN in them are taken from the source again: they depend on how
    they are found.
    """
    broken = np.zeros(n, dtype=np.uint8)
    for k in range(49):
        numbers = window[k]
        for i in range(n):
            broken[i] |= numbers[i] != numbers[i]
    network_median(MEDIAN49, window, n)
    target[:n] = window[24, :n]
    for i in range(n):
        if broken[i]:
            numbers = np.empty(49, dtype=np.float32)
            for k in range(49):
                numbers[k] = source[k // 7, i + k % 7 * lanes]
            target[i] = quickselect(numbers, 49)


@in_place
def convolve(
    source: np.ndarray,
    kernel: np.ndarray,
    reach: int,
    target: np.ndarray,
    height: int,
    width: int,
    lanes: int,
) -> None:
    """Convolve patches; of a kernel with even sides, use all but the last.

    The terms are added up in the order of astroscrappy.

    Parameters
    ----------
    source : `numpy.ndarray`, float32
        Patch array with ``reach`` more pixels around than the target.
    kernel : `numpy.ndarray`, (ky, kx), float32
        Kernel.
    reach : `int`
        At least half the kernel's larger side, rounded down.
    target, height, width, lanes
        As for `separable_median`.
    """
    half_y = (kernel.shape[0] - 1) // 2
    half_x = (kernel.shape[1] - 1) // 2
    for r in range(height):
        total = target[r, : whole_vectors(width * lanes)]
        total[:] = ZERO
        for j in range(-half_y, half_y + 1):
            for k in range(-half_x, half_x + 1):
                weight = kernel[half_y - j, half_x - k]
                p = source[r + reach + j, (reach + k) * lanes :]
                for i in range(total.size):
                    total[i] += weight * p[i]
