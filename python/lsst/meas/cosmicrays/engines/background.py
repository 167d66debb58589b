# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""The constant background that the morphological finder works on."""

from __future__ import annotations

__all__ = ["median_background"]

from functools import partial

import numpy as np
from numba import njit

from .planes import as_float_plane, check_count, in_strips

N_HALVES = 1 << 16
LOW_HALF = np.uint32(0xFFFF)
SIGN = np.uint32(0x80000000)
EXPONENT = np.uint32(0x7F800000)


def median_background(image: np.ndarray, *, threads: int = 1) -> float:
    """Return the median of the finite pixels.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx)
        Image, in any unit.  Used as float32.
    threads : `int`, optional
        Threads to use; the result does not depend on it.

    Returns
    -------
    median : `float`
        Median, the mean of the two middle values where their number is even;
        NaN if no pixel is finite.

    Raises
    ------
    TypeError
        Raised if ``image`` is no array of real numbers, or ``threads`` no
        integer.
    ValueError
        Raised if ``image`` is empty or has other than two dimensions, or if
        ``threads`` is not positive.

    Notes
    -----
    This is the background of ``lsst.pipe.tasks.repair.RepairTask`` where its
    model is a constant: the median by afw of the masked image with default
    control, which leaves out no mask plane, only pixels that are not finite.

    The median is exact and found by radix selection instead of sorting: a
    histogram of the upper halves of the 32-bit numbers says which upper half
    the median has, and one of the lower halves that come with it gives the
    rest.
    """
    check_count("threads", threads, minimum=1)
    bits = as_float_plane("image", image).view(np.uint32)
    upper = _total(partial(_count_upper_halves, bits), len(bits), threads)
    n_finite = int(upper.sum())
    if n_finite == 0:
        return float("nan")
    lower_of: dict[int, np.ndarray] = {}
    middle = []
    for rank in ((n_finite - 1) // 2, n_finite // 2):
        half, rank_in_half = _bin_of(rank, upper)
        if half not in lower_of:
            lower_of[half] = _total(partial(_count_lower_halves, bits, np.uint32(half)), len(bits), threads)
        other_half, _ = _bin_of(rank_in_half, lower_of[half])
        middle.append(_number(half << 16 | other_half))
    return (middle[0] + middle[1]) / 2


def _total(count_in_rows: partial[np.ndarray], n_rows: int, threads: int) -> np.ndarray:
    return np.sum(in_strips(count_in_rows, 0, n_rows, threads), axis=0)


def _bin_of(rank: int, counts: np.ndarray) -> tuple[int, int]:
    """Bin that holds a rank, and the rank among the members of the bin."""
    cumulative = np.cumsum(counts)
    found = int(np.searchsorted(cumulative, rank, side="right"))
    return found, rank - int(cumulative[found] - counts[found])


def _number(key: int) -> float:
    """Return the number that has a key; see `_key`."""
    bits = key ^ int(SIGN) if key & int(SIGN) else key ^ 0xFFFFFFFF
    return float(np.uint32(bits).view(np.float32))


@njit(cache=True, nogil=True, inline="always")
def _key(bits: np.uint32) -> np.uint32:
    """Order of float32 numbers as unsigned integers, from their bits."""
    return ~bits if bits & SIGN else bits | SIGN


@njit(cache=True, nogil=True)
def _count_upper_halves(bits: np.ndarray, start: int, stop: int) -> np.ndarray:
    counts = np.zeros(N_HALVES, dtype=np.int64)
    for word in bits[start:stop].ravel():
        if word & EXPONENT != EXPONENT:
            counts[_key(word) >> np.uint32(16)] += 1
    return counts


@njit(cache=True, nogil=True)
def _count_lower_halves(bits: np.ndarray, upper_half: np.uint32, start: int, stop: int) -> np.ndarray:
    counts = np.zeros(N_HALVES, dtype=np.int64)
    for word in bits[start:stop].ravel():
        key = _key(word)
        if key >> np.uint32(16) == upper_half:
            counts[key & LOW_HALF] += 1
    return counts
