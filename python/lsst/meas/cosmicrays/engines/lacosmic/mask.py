# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mask of L.A.Cosmic: bad pixels and saturated stars, grown."""

from __future__ import annotations

__all__ = ["find_reaching", "set_mask"]

import numpy as np
from scipy.ndimage import binary_dilation

from .compiled import compiled, in_place
from .frame import BAD
from .steps import large_scale
from .threads import Threads

GIVEN = np.uint8(8)
"""Flag of a pixel that the user masked."""

SATURATED = np.uint8(16)
"""Flag of a pixel of a saturated star."""

NONE = np.uint8(0)

BLOCK = 64
"""Pixels of a row that are looked at together."""

GROWTH = 2
"""Pixels by which a saturated star is grown, twice."""

GROWN = np.uint8(32)
"""Flag of a pixel of a saturated star, grown once."""


def set_mask(
    flags: np.ndarray,
    image: np.ndarray,
    given: np.ndarray | None,
    level: np.float32,
    rows: np.ndarray,
    separable: bool,
    threads: Threads,
) -> None:
    """Set `BAD` on what is not searched for CRs, nor used to clean them.

    Parameters
    ----------
    flags : `numpy.ndarray`, (ny, nx), uint8
        Flags, all zero before.
    image : `numpy.ndarray`, (ny, nx), float32
        Image with its sky, electrons.
    given : `numpy.ndarray`, (ny, nx), or `None`
        Masked pixels: those that are not zero after conversion to uint8.
    level : `numpy.float32`
        Level that saturated pixels reach, electrons.  Those are masked whose
        surroundings have a tenth of it or more, and what is next to them.
    rows : `numpy.ndarray`, (ny,), bool
        Which rows have pixels that reach it, as `find_reaching` tells.
    separable : `bool`
        Whether the median of the surroundings is the separable one.
    threads : `Threads`
        Threads to use.
    """
    surroundings = np.float32(float(level) / 10.0)
    if rows.any():
        threads.over_rows(
            lambda top, bottom: _mark_saturated(
                image, flags, top, bottom, level, surroundings, separable, rows
            )
        )
        for source, target in ((SATURATED, GROWN), (GROWN, BAD)):
            rows = binary_dilation(rows, iterations=GROWTH)
            _grow_rows(flags, rows, source, target, threads)
    if given is not None:
        threads.over_rows(lambda top, bottom: _mark_given(flags[top:bottom], given[top:bottom]))
        threads.over_rows(lambda top, bottom: _grow_given(flags, top, bottom))
    if given is not None or rows.any():
        threads.over_rows(lambda top, bottom: np.bitwise_and(flags[top:bottom], BAD, out=flags[top:bottom]))


def _grow_rows(
    flags: np.ndarray, rows: np.ndarray, source: np.uint8, target: np.uint8, threads: Threads
) -> None:
    """Grow a flag in the rows that it may reach."""
    threads.over_rows(lambda top, bottom: _grow_saturated(flags, top, bottom, source, target, rows))


@np.errstate(invalid="ignore")
def _mark_given(flags: np.ndarray, given: np.ndarray) -> None:
    flags[given.astype(np.uint8) != 0] |= GIVEN


@in_place
def _count_reaching(row: np.ndarray, level: np.float32) -> np.int32:
    n = np.int32(0)
    for x in range(row.size):
        n = np.int32(n + np.int32(row[x] >= level))
    return n


@in_place
def find_reaching(image: np.ndarray, top: int, bottom: int, level: np.float32, rows: np.ndarray) -> None:
    """Tell which rows have pixels that reach a level.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Image with its sky, electrons.
    top, bottom : `int`
        First row to look at and the one after the last.
    level : `numpy.float32`
        Level, electrons.
    rows : `numpy.ndarray`, (ny,), bool
        Gets whether they have.
    """
    for y in range(top, bottom):
        rows[y] = _count_reaching(image[y], level) > 0


def _mark_saturated(
    image: np.ndarray,
    flags: np.ndarray,
    top: int,
    bottom: int,
    level: np.float32,
    surroundings: np.float32,
    separable: bool,
    rows: np.ndarray,
) -> None:
    """Flag the pixels in saturated stars, in the rows that may have some."""
    corners = _find_saturated_blocks(image, top, bottom, level, rows)
    medians = large_scale(image, separable, corners, BLOCK)
    _flag_saturated(image, flags, corners, medians, level, surroundings)


@compiled
def _find_saturated_blocks(
    image: np.ndarray, top: int, bottom: int, level: np.float32, rows: np.ndarray
) -> np.ndarray:
    """Return the first pixels of the blocks where any reaches a level."""
    nx = image.shape[1]
    corners = np.empty((bottom - top) * (nx // BLOCK + 1), dtype=np.int64)
    n = 0
    for y in range(top, bottom):
        for x in range(0, nx if rows[y] else 0, BLOCK):
            if _count_reaching(image[y, x : x + BLOCK], level) > 0:
                corners[n] = y * nx + x
                n += 1
    return corners[:n]


@in_place
def _flag_saturated(
    image: np.ndarray,
    flags: np.ndarray,
    corners: np.ndarray,
    medians: np.ndarray,
    level: np.float32,
    surroundings: np.float32,
) -> None:
    """Flag pixels of blocks that reach a level, as their medians another."""
    nx = image.shape[1]
    for i in range(corners.size):
        y, left = corners[i] // nx, corners[i] % nx
        for x in range(left, min(left + BLOCK, nx)):
            if image[y, x] >= level and medians[i, x - left] > surroundings:
                flags[y, x] |= SATURATED


@compiled
def _grow_given(flags: np.ndarray, top: int, bottom: int) -> None:
    """Set `BAD` on what the user masked, and one pixel around it.

    On the edge of the image nothing is added.
    """
    ny, nx = flags.shape
    near = np.empty(nx, dtype=np.uint8)
    for y in range(top, bottom):
        row = flags[y]
        for x in range(nx):
            row[x] |= BAD if row[x] & GIVEN else NONE
        if not 0 < y < ny - 1:
            continue
        up, down = flags[y - 1], flags[y + 1]
        for x in range(nx):
            near[x] = (up[x] | row[x] | down[x]) & GIVEN
        inner = row[1 : nx - 1]
        for i in range(nx - 2):
            inner[i] |= BAD if near[i] | near[i + 1] | near[i + 2] else NONE


@compiled
def _grow_saturated(
    flags: np.ndarray, top: int, bottom: int, source: np.uint8, target: np.uint8, rows: np.ndarray
) -> None:
    """Grow a flag by a disc of 21 pixels, in the rows that it may reach.

    In the two rows and columns next to the edge nothing is added.
    """
    ny, nx = flags.shape
    wide = np.empty(nx, dtype=np.uint8)
    narrow = np.empty(nx, dtype=np.uint8)
    for y in range(top, bottom):
        if not rows[y]:
            continue
        row = flags[y]
        for x in range(nx):
            row[x] |= target if row[x] & source else NONE
        if not 2 <= y < ny - 2:
            continue
        p0, p1, p3, p4 = flags[y - 2], flags[y - 1], flags[y + 1], flags[y + 2]
        for x in range(nx):
            wide[x] = (p1[x] | row[x] | p3[x]) & source
            narrow[x] = (p0[x] | p4[x]) & source | wide[x]
        inner = row[2 : nx - 2]
        for i in range(nx - 4):
            near = wide[i] | wide[i + 4] | narrow[i + 1] | narrow[i + 2] | narrow[i + 3]
            inner[i] |= target if near else NONE
