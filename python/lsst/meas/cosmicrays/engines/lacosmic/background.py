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

They are rarely needed, and then in a hurry: a sample tells between which two
numbers each median must be, and one pass over the image counts what is below
and keeps what is between.
"""

from __future__ import annotations

__all__ = ["background_levels"]

from typing import NamedTuple

import numpy as np

from .compiled import compiled
from .frame import BAD, COSMIC_RAY, NOTHING, Frame
from .lists import with_room
from .medians import quickselect
from .threads import Threads

SAMPLE = 20_000
"""Pixels in the sample."""

MARGIN = 0.025
"""Distance of the two numbers from the median of the sample, in ranks over
the size of the sample: seven standard deviations for that size."""


class Plane(NamedTuple):
    """Numbers of all pixels, and what they are multiplied by and added to."""

    values: np.ndarray
    scale: np.float32
    offset: np.float32


def background_levels(
    frame: Frame, pixels: np.ndarray, values: np.ndarray, variances: np.ndarray, threads: Threads
) -> tuple[np.float32, np.float32]:
    """Find the medians of image and variance before any cleaning.

    Parameters
    ----------
    frame : `Frame`
        State of the image.
    pixels : `numpy.ndarray`, (n,), int64
        Pixels that are CR pixels by now.
    values, variances : `numpy.ndarray`, (n,), float32
        Their values and variances before they were cleaned.
    threads : `Threads`
        Threads to use.

    Returns
    -------
    level, variance : `numpy.float32`
        Lower medians over the pixels that are not masked.
    """
    image = Plane(frame.image, np.float32(1), NOTHING)
    variance = Plane(frame.variance, frame.scale, frame.offset)
    return (
        _level(frame.flags, image, pixels, values, threads),
        _level(frame.flags, variance, pixels, variances, threads),
    )


def _level(
    flags: np.ndarray, plane: Plane, pixels: np.ndarray, originals: np.ndarray, threads: Threads
) -> np.float32:
    """Return the median of a plane with the original numbers of CR pixels."""
    sample = _sample(flags, plane, originals)
    middle = sample.size // 2
    margin = int(MARGIN * sample.size) + 1
    low = sample[max(middle - margin, 0)]
    high = sample[min(middle + margin, sample.size - 1)]
    strips = threads.over_rows(lambda top, bottom: _between(flags, plane, top, bottom, low, high))
    strips.append(
        (
            originals[(originals >= low) & (originals <= high)],
            np.count_nonzero(originals < low),
            np.count_nonzero(np.isnan(originals)),
            originals.size,
        )
    )
    between = np.concatenate([strip[0] for strip in strips])
    n_below, n_nan, n = (sum(counts) for counts in zip(*(strip[1:] for strip in strips), strict=True))
    rank = (n - 1) // 2 - n_below
    if n_nan == 0 and 0 <= rank < between.size:
        level = np.partition(between, rank)[rank]
        if level != 0:
            return level
    return _exact_level(flags, plane, pixels, originals)


def _sample(flags: np.ndarray, plane: Plane, originals: np.ndarray) -> np.ndarray:
    """Return numbers of some pixels all over the image, sorted."""
    step = max(flags.size // SAMPLE, 1)
    indices = np.arange(0, flags.size - step + 1, step)
    indices += indices * 7919 % step
    indices = indices[flags.ravel()[indices] & (BAD | COSMIC_RAY) == 0]
    sample = plane.values.ravel()[indices] * plane.scale + plane.offset
    return np.sort(np.concatenate((sample, originals[:: min(step, originals.size)])))


@compiled
def _between(
    flags: np.ndarray, plane: Plane, top: int, bottom: int, low: np.float32, high: np.float32
) -> tuple[np.ndarray, int, int, int]:
    """Sort out the numbers of some rows of a plane.

    Returns those from ``low`` to ``high``, how many are below them, how many
    are NaN, and how many there are.
    """
    nx = flags.shape[1]
    between = np.empty(nx + 1, dtype=np.float32)
    n_between = n_below = n_nan = n = 0
    for y in range(top, bottom):
        between = with_room(between, n_between, nx + 1)
        for x in range(nx):
            value = plane.values[y, x] * plane.scale + plane.offset
            usable = flags[y, x] & (BAD | COSMIC_RAY) == 0
            between[n_between] = value
            n_between += usable & (low <= value) & (value <= high)
            n_below += usable & (value < low)
            n_nan += usable & (value != value)
            n += usable
    return between[:n_between], n_below, n_nan, n


def _exact_level(flags: np.ndarray, plane: Plane, pixels: np.ndarray, originals: np.ndarray) -> np.float32:
    """Find the median as astroscrappy does.

    Where there are NaN, or where it is zero, which number is the median, or
    which of the two zeros, depends on how it is found.
    """
    values = plane.values * plane.scale + plane.offset
    values.ravel()[pixels] = originals
    usable = values[flags & BAD == 0]
    return np.float32(quickselect(usable, usable.size))
