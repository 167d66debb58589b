# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting other values in place of CR pixels, as astroscrappy does."""

from __future__ import annotations

__all__ = ["CLEAN_TYPES", "HALF", "clean", "clean_to_zero", "put"]

import numpy as np

from .cleaned import NOWHERE, place_of
from .compiled import compiled, in_place
from .frame import BAD, COSMIC_RAY, Frame
from .medians import quickselect

CLEAN_TYPES = ("median", "medmask", "meanmask", "idw")
"""Ways of cleaning; their indices are what compiled code takes."""

MEDMASK = CLEAN_TYPES.index("medmask")
MEANMASK = CLEAN_TYPES.index("meanmask")

HALF = 2
"""How far from a CR pixel the pixels are that it is replaced by; nearer to
the edge of the image than that, CR pixels are not cleaned."""

WEIGHTS = np.array(
    [
        [0.35355339, 0.4472136, 0.5, 0.4472136, 0.35355339],
        [0.4472136, 0.70710678, 1.0, 0.70710678, 0.4472136],
        [0.5, 1.0, 0.0, 1.0, 0.5],
        [0.4472136, 0.70710678, 1.0, 0.70710678, 0.4472136],
        [0.35355339, 0.4472136, 0.5, 0.4472136, 0.35355339],
    ],
    dtype=np.float32,
)
"""Inverse distances from the central pixel."""

ZERO = np.float32(0)


@in_place
def _average(values: np.ndarray, weights: np.ndarray, n: int, clean_type: int) -> np.float32:
    """Combine the values of good neighbours, by their median or weights."""
    if clean_type == MEDMASK:
        return quickselect(values, n)
    total = ZERO
    weight = ZERO
    for i in range(n):
        total += weights[i] * values[i]
        weight += weights[i]
    return total / weight


@in_place
def _means(frame: Frame, y: int, x: int) -> tuple[np.float32, np.float32, int]:
    """Return means of values and variances of good neighbours, and a count.

    Nothing is added for the others: that takes less time than to find out
    which they are.
    """
    value = total = ZERO
    n = 0
    for row in range(y - HALF, y + HALF + 1):
        values, variances = frame.image[row, x - HALF :], frame.variance[row, x - HALF :]
        flags = frame.flags[row, x - HALF :]
        for k in range(2 * HALF + 1):
            is_good = flags[k] & (BAD | COSMIC_RAY) == 0
            value += values[k] if is_good else ZERO
            total += variances[k] if is_good else ZERO
            n += int(is_good)
    count = np.float32(n)
    return value / count, total / count, n


@compiled
def clean(
    frame: Frame,
    pixels: np.ndarray,
    clean_type: int,
    new_values: np.ndarray,
    new_variances: np.ndarray,
    enclosed: np.ndarray,
) -> None:
    """Find the values of CR pixels from their good neighbours.

    Parameters
    ----------
    frame : `Frame`
        State of the image.
    pixels : `numpy.ndarray`, (n,), int64
        CR pixels.
    clean_type : `int`
        Index in `CLEAN_TYPES`, not that of ``median``.
    new_values, new_variances : `numpy.ndarray`, (n,), float32
        Get the values and variances; of no use where no neighbour is good.
    enclosed : `numpy.ndarray`, (n,), bool
        Gets whether that is so.
    """
    nx = frame.flags.shape[1]
    values = np.empty(25, dtype=np.float32)
    variances = np.empty(25, dtype=np.float32)
    weights = np.empty(25, dtype=np.float32)
    for i in range(pixels.size):
        y = pixels[i] // nx
        x = pixels[i] % nx
        if clean_type == MEANMASK:
            new_values[i], new_variances[i], n = _means(frame, y, x)
            enclosed[i] = n == 0
            continue
        n = 0
        for j in range(-HALF, HALF + 1):
            for k in range(-HALF, HALF + 1):
                if frame.flags[y + j, x + k] & (BAD | COSMIC_RAY) == 0:
                    values[n] = frame.image[y + j, x + k]
                    variances[n] = frame.variance[y + j, x + k]
                    weights[n] = WEIGHTS[j + HALF, k + HALF]
                    n += 1
        enclosed[i] = n == 0
        if n > 0:
            new_values[i] = _average(values, weights, n, clean_type)
            new_variances[i] = _average(variances, weights, n, clean_type)


@compiled
def clean_to_zero(
    frame: Frame, pixels: np.ndarray, new_values: np.ndarray, new_variances: np.ndarray
) -> None:
    """Find what CR pixels become with the ``median`` of astroscrappy 1.3.

    Of the 25 numbers whose median it takes it sets but two, the first and the
    last of the window (its counter is not counted up).  The others are what
    was in the memory before; taken to be zero, as in fresh memory, the median
    is zero, or the first number where that is NaN or -0.

    Parameters
    ----------
    frame : `Frame`
        State of the image.
    pixels : `numpy.ndarray`, (n,), int64
        All CR pixels that are cleaned, in scan order: each sees what those
        before it have become.
    new_values, new_variances : `numpy.ndarray`, (n,), float32
        Get the values and variances.
    """
    nx = frame.flags.shape[1]
    for i in range(pixels.size):
        first = pixels[i] - HALF * nx - HALF
        place = np.searchsorted(pixels, first)
        if pixels[place] == first:
            value, variance = new_values[place], new_variances[place]
        else:
            value, variance = frame.image[first // nx, first % nx], frame.variance[first // nx, first % nx]
        new_values[i], new_variances[i] = _zero_unless_nan(value), _zero_unless_nan(variance)


@compiled
def _zero_unless_nan(first: np.float32) -> np.float32:
    return first if first != first or first == ZERO else ZERO


@compiled
def put(
    frame: Frame, pixels: np.ndarray, values: np.ndarray, variances: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Set values of CR pixels, and variances of those cleaned before.

    Parameters
    ----------
    frame : `Frame`
        State of the image.
    pixels : `numpy.ndarray`, (n,), int64
        CR pixels.
    values, variances : `numpy.ndarray`, (n,), float32
        What they become.

    Returns
    -------
    new : `numpy.ndarray`, (m,), int64
        Those of them that have not been cleaned before.
    of_new : `numpy.ndarray`, (m,), float32
        Their variances.
    changed : `numpy.ndarray`, (k,), int64
        Those that were something else before.
    of_changed : `numpy.ndarray`, (k,), float32
        Their variances.
    """
    nx = frame.flags.shape[1]
    cleaned = frame.cleaned
    new, of_new = np.empty_like(pixels), np.empty_like(variances)
    changed, of_changed = np.empty_like(pixels), np.empty_like(variances)
    n_new = n_changed = 0
    for i in range(pixels.size):
        y, x = pixels[i] // nx, pixels[i] % nx
        is_other = frame.image[y, x] != values[i]
        frame.image[y, x] = values[i]
        place = place_of(cleaned, y, x, nx)
        if place == NOWHERE:
            is_other |= frame.variance[y, x] != variances[i]
            new[n_new], of_new[n_new] = pixels[i], variances[i]
            n_new += 1
        else:
            is_other |= cleaned.variances[place] != variances[i]
            cleaned.variances[place] = variances[i]
        changed[n_changed], of_changed[n_changed] = pixels[i], variances[i]
        n_changed += int(is_other)
    return new[:n_new], of_new[:n_new], changed[:n_changed], of_changed[:n_changed]
