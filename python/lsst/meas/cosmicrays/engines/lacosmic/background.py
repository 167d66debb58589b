# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Medians of the unmasked pixels, which replace CRs that hide all around.

A sample tells between which two numbers each median must be, and one pass over
the image counts what is below and keeps what is between.  Where pixels are
masked, as around saturated stars, the medians will likely be needed, and rows
are counted when they are read to look for CRs; anywhere else they are rarely
needed, and counted then.
"""

from __future__ import annotations

__all__ = ["BackgroundLevels"]

from typing import NamedTuple

import numpy as np

from .compiled import compiled, in_place, read_only
from .frame import BAD, COSMIC_RAY, Frame
from .lists import with_room
from .medians import quickselect
from .threads import Threads

SAMPLE = 1 << 16
"""Most pixels in the sample."""

SAMPLED = 1 / 32
"""Part of an image that is in the sample, unless it is large."""

PIECE = 4
"""Pixels of the sample that lie side by side: what memory gives at a time."""

MARGIN = 2.5
"""Distance of the two numbers from the median of the sample, in ranks over
the square root of their number: five standard deviations if pixels that lie
side by side have nothing to do with each other, half if they are the same."""

INFINITY = np.float32(np.inf)
NAN = np.float32(np.nan)

WORD = 8
"""Numbers whose marks, a byte each, are looked at together."""

NO_PIXELS = np.empty(0, dtype=np.int64)
NO_VALUES = np.empty(0, dtype=np.float32)

NAN_BITS = np.uint32(0xFFFFFFFF)
NO_BITS = np.uint32(0)


class Numbers(NamedTuple):
    """Numbers of the pixels of an image."""

    plane: np.ndarray
    """Numbers, (ny, nx) float32."""

    flags: np.ndarray
    """Flags of the pixels, (ny, nx) uint8."""

    hidden: np.uint8
    """Flags of pixels whose numbers in the plane are not used."""

    pixels: np.ndarray
    """Pixels with other numbers, (n,) int64."""

    values: np.ndarray
    """Those, (n,) float32."""


class Counts(NamedTuple):
    """How many numbers there are of several kinds."""

    below: np.int64
    """Below the lower of two numbers."""

    to_low: np.int64
    """Those, and equal to it."""

    to_high: np.int64
    """Not above the higher."""

    nan: np.int64
    """NaN."""

    n: np.int64
    """Of any kind."""


Limits = tuple[np.float32, np.float32]
"""Two numbers that the median is, or may be, between; NaN if it is NaN."""

Strip = tuple[np.ndarray, Counts]
"""Numbers of some rows between two, and counts of others."""


class BackgroundLevels:
    """The medians of image and variance before any cleaning.

    Parameters
    ----------
    frame : `Frame`
        State of the image, with no CR pixels yet.
    threads : `Threads`
        Threads to use.
    """

    def __init__(self, frame: Frame, threads: Threads) -> None:
        self._planes = (read_only(frame.image), read_only(frame.variance))
        self._flags = frame.flags
        self._threads = threads
        self._limits: list[Limits] | None = None
        self._strips: list[list[Strip]] = [[], []]
        self._levels: tuple[np.float32, np.float32] | None = None
        if frame.flags.max(initial=0) > 0:
            self._limits = self._find_limits(self._numbers(NO_PIXELS, NO_VALUES))

    def look(self, top: int, bottom: int) -> None:
        """Look at some rows, if that is likely worth it.

        Every row is to be looked at once, before anything is cleaned, or none.

        Parameters
        ----------
        top, bottom : `int`
            First row and the one after the last.
        """
        if self._limits is None:
            return
        for plane, limits, strips in zip(self._planes, self._limits, self._strips, strict=True):
            strips.append(_between(self._flags, plane, BAD, top, bottom, *limits))

    def find(self, pixels: np.ndarray, values: np.ndarray) -> tuple[np.float32, np.float32]:
        """Find the medians, or return them if they have been found.

        Parameters
        ----------
        pixels : `numpy.ndarray`, (n,), int64
            Pixels that are CR pixels by now.
        values : `numpy.ndarray`, (n,), float32
            Their values before they were cleaned.

        Returns
        -------
        level, variance : `numpy.float32`
            Lower medians over the pixels that are not masked.
        """
        if self._levels is None:
            both = self._numbers(pixels, values)
            limits, strips = self._limits, self._strips
            if limits is None:
                limits = self._find_limits(both)
                strips = [_look(*numbers, self._threads) for numbers in zip(both, limits, strict=True)]
            closer = self._threads.map(_narrow, strips, limits)
            of_image, of_variance = (
                _level(*numbers, self._threads) for numbers in zip(both, closer, strict=True)
            )
            self._levels = of_image, of_variance
        return self._levels

    def _numbers(self, pixels: np.ndarray, values: np.ndarray) -> tuple[Numbers, Numbers]:
        """Return those of image and variance before pixels were cleaned."""
        image, variance = self._planes
        return (
            Numbers(image, self._flags, np.uint8(BAD | COSMIC_RAY), pixels, values),
            Numbers(variance, self._flags, BAD, NO_PIXELS, NO_VALUES),
        )

    def _find_limits(self, both: tuple[Numbers, Numbers]) -> list[Limits]:
        """Return two numbers for each median that it is likely between."""
        sample = _sample(self._flags.size)
        return self._threads.map(lambda numbers: _limits(numbers, sample), both)


def _level(numbers: Numbers, limits: Limits, threads: Threads) -> np.float32:
    """Return the median of some numbers from limits that hold."""
    while limits[0] < limits[1]:
        limits = _narrow(_look(numbers, limits, threads), limits)
    level, same = limits
    return level if level == same and level != 0 else _exact_level(numbers)


def _look(numbers: Numbers, limits: Limits, threads: Threads) -> list[Strip]:
    """Sort out all numbers."""
    plane, flags, hidden = numbers.plane, numbers.flags, numbers.hidden
    strips = threads.over_rows(lambda top, bottom: _between(flags, plane, hidden, top, bottom, *limits))
    return [*strips, _split(numbers.values, *limits)]


def _narrow(strips: list[Strip], limits: Limits) -> Limits:
    """Return limits that hold, from those that strips were sorted out with.

    If the median is between these, both become the median.
    """
    low, high = limits
    between = np.concatenate([strip[0] for strip in strips])
    counts = Counts(*np.sum([strip[1] for strip in strips], axis=0))
    rank = (counts.n - 1) // 2
    if counts.nan > 0:
        return NAN, NAN
    if rank < counts.below:
        return -INFINITY, low
    if rank >= counts.to_high:
        return high, INFINITY
    level = high
    if rank < counts.to_low:
        level = low
    elif rank < counts.to_low + between.size:
        rank -= counts.to_low
        level = np.partition(between, rank)[rank]
    return level, level


def _split(numbers: np.ndarray, low: np.float32, high: np.float32) -> Strip:
    """Sort out some numbers, as `_between` those of a plane."""
    counts = Counts(
        np.int64(np.count_nonzero(numbers < low)),
        np.int64(np.count_nonzero(numbers <= low)),
        np.int64(np.count_nonzero(numbers <= high)),
        np.int64(np.count_nonzero(np.isnan(numbers))),
        np.int64(numbers.size),
    )
    return numbers[(numbers > low) & (numbers < high)], counts


def _sample(size: int) -> np.ndarray:
    """Return numbered pixels all over an image of some size.

    Each piece is anywhere in its part of the image: regular distances would
    meet what is regular in the image.
    """
    n_pieces = max(round(min(SAMPLED * size, SAMPLE)) // PIECE, 1)
    places = np.random.default_rng(0).random(n_pieces, dtype=np.float32)
    starts = ((np.arange(n_pieces) + places) * (size / n_pieces)).astype(np.intp)
    return np.minimum(starts[:, np.newaxis] + np.arange(PIECE), size - 1).ravel()


def _limits(numbers: Numbers, sample: np.ndarray) -> Limits:
    """Return two numbers between which the median is of what was sampled."""
    used = sample[numbers.flags.ravel()[sample] & numbers.hidden == 0]
    step = max(numbers.flags.size // max(used.size, 1), 1)
    sampled = np.concatenate((numbers.plane.ravel()[used], numbers.values[::step]))
    if sampled.size == 0:
        return -INFINITY, INFINITY
    middle = sampled.size // 2
    margin = int(MARGIN * np.sqrt(sampled.size)) + 1
    ranks = max(middle - margin, 0), min(middle + margin, sampled.size - 1)
    ordered = np.partition(sampled, ranks)
    return ordered[ranks[0]], ordered[ranks[1]]


@compiled
def _between(
    flags: np.ndarray,
    plane: np.ndarray,
    hidden: np.uint8,
    top: int,
    bottom: int,
    low: np.float32,
    high: np.float32,
) -> Strip:
    """Sort out the numbers of some rows of a plane.

    Returns those between ``low`` and ``high``, and counts of others.
    """
    nx = flags.shape[1]
    n_whole = -(-nx // WORD) * WORD
    used = np.full(n_whole, NAN_BITS, dtype=np.uint32)
    numbers = used.view(np.float32)
    inside = np.zeros(n_whole, dtype=np.uint8)
    words = inside.view(np.uint64)
    between = np.empty(n_whole, dtype=np.float32)
    n_between = 0
    below = to_low = to_high = nan = n = np.int64(0)
    for y in range(top, bottom):
        n_hidden = _hide(plane[y].view(np.uint32), flags[y], hidden, used)
        counts = _count(numbers, low, high)
        if counts.to_high > counts.to_low:
            _mark_inside(numbers, low, high, inside)
            between = with_room(between, n_between, n_whole)
            n_between = _keep(numbers, inside, words, between, n_between)
        below += counts.below
        to_low += counts.to_low
        to_high += counts.to_high
        nan += counts.nan - n_hidden - (n_whole - nx)
        n += nx - n_hidden
    return between[:n_between], Counts(below, to_low, to_high, nan, n)


@in_place
def _hide(bits: np.ndarray, flags: np.ndarray, hidden: np.uint8, used: np.ndarray) -> int:
    """Copy the bits of a row, of NaN for what is not used, and count that."""
    n_hidden = np.int32(0)
    for x in range(flags.size):
        used[x] = bits[x] | (NAN_BITS if flags[x] & hidden else NO_BITS)
        n_hidden = np.int32(n_hidden + np.int32(flags[x] & hidden != 0))
    return int(n_hidden)


@in_place
def _count(values: np.ndarray, low: np.float32, high: np.float32) -> Counts:
    """Count numbers of a row."""
    below = to_low = to_high = nan = np.int32(0)
    for x in range(values.size):
        below = np.int32(below + np.int32(values[x] < low))
        to_low = np.int32(to_low + np.int32(values[x] <= low))
        to_high = np.int32(to_high + np.int32(values[x] <= high))
        nan = np.int32(nan + np.int32(values[x] != values[x]))
    n = np.int64(values.size)
    return Counts(np.int64(below), np.int64(to_low), np.int64(to_high), np.int64(nan), n)


@in_place
def _mark_inside(values: np.ndarray, low: np.float32, high: np.float32, inside: np.ndarray) -> None:
    """Tell which numbers of a row are between two."""
    for x in range(values.size):
        inside[x] = (low < values[x]) & (values[x] < high)


@in_place
def _keep(
    values: np.ndarray,
    inside: np.ndarray,
    words: np.ndarray,
    between: np.ndarray,
    n: int,
) -> int:
    """Add the marked numbers of a row to a list.

    Where there are any, all are written, and only those marked are kept.
    """
    for i in range(words.size):
        if words[i]:
            for x in range(WORD * i, WORD * i + WORD):
                between[n] = values[x]
                n += int(inside[x])
    return n


def _exact_level(numbers: Numbers) -> np.float32:
    """Find the median as astroscrappy does.

    Where there are NaN, or where it is zero, which number is the median, or
    which of the two zeros, depends on how it is found.
    """
    plane = numbers.plane.copy()
    plane.ravel()[numbers.pixels] = numbers.values
    usable = plane[numbers.flags & BAD == 0]
    return np.float32(quickselect(usable, usable.size))
