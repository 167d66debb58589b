# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Gaussian random numbers that the stack draws by default.

`lsst.afw.math.Random` without arguments is the Mersenne Twister of GSL with
seed 1, and its ``gaussian`` the ziggurat of GSL.  Algorithms of the stack that
write such numbers into images have results that hang on them, so that an exact
replacement needs the same sequence.
"""

from __future__ import annotations

__all__ = ["gaussian_sequence"]

import functools
import math

import numpy as np
from numba import njit

N_STRIPS = 128

# Right edge of the rectangles for which 128 strips have equal area, the
# lowest of them counted with its exponential tail.
RIGHT_EDGE = 3.4442864767612833

# The same with the twelve digits to which GSL tabulates everything.
TAIL_START = 3.44428647676


def gaussian_sequence(size: int) -> np.ndarray:
    """Return the first standard normal deviates of a fresh generator.

    Parameters
    ----------
    size : `int`
        How many deviates.

    Returns
    -------
    deviates : `numpy.ndarray`, (size,), float64
        What ``lsst.afw.math.Random().gaussian()`` returns in its first
        ``size`` calls.

    Notes
    -----
    The method is the ziggurat of Marsaglia & Tsang (2000, J. Stat. Softw. 5,
    8) with the changes of J. Voss that GSL uses: 128 strips, a tail sampled
    from an exponential, and one 32-bit word for strip, sign and position.
    """
    heights, widths, limits = _ziggurat_tables()
    state = np.random.RandomState(1)
    deviates = np.empty(size, dtype=np.float64)
    words = np.empty(0, dtype=np.uint32)
    filled = 0
    while filled < size:
        fresh = state.randint(0, 2**32, size=size - filled + 16, dtype=np.uint32)
        words = np.concatenate([words, fresh])
        filled, used = _fill(deviates, filled, words, heights, widths, limits)
        words = words[used:]
    return deviates


@functools.cache
def _ziggurat_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heights, widths in units of 2**-24, and acceptance limits of strips."""
    edges = np.empty(N_STRIPS + 1)
    edges[N_STRIPS] = RIGHT_EDGE + 1 / RIGHT_EDGE
    edges[N_STRIPS - 1] = RIGHT_EDGE
    area = _density(RIGHT_EDGE) * edges[N_STRIPS]
    for i in range(N_STRIPS - 2, 0, -1):
        edges[i] = math.sqrt(-2 * math.log(_density(edges[i + 1]) + area / edges[i + 1]))
    edges[0] = 0
    heights = np.array([_twelve_digits(_density(edge)) for edge in edges[:-1]])
    widths = np.array([_twelve_digits(edge * 2.0**-24) for edge in edges[1:]])
    limits = (2**24 * edges[:-1] / edges[1:]).astype(np.uint32)
    return heights, widths, limits


def _density(x: float) -> float:
    return math.exp(-0.5 * x * x)


def _twelve_digits(value: float) -> float:
    return float(f"{value:.12g}")


@njit(cache=True, nogil=True)
def _fill(
    deviates: np.ndarray,
    filled: int,
    words: np.ndarray,
    heights: np.ndarray,
    widths: np.ndarray,
    limits: np.ndarray,
) -> tuple[int, int]:
    """Turn words into deviates until either runs out.

    Returns the number of deviates there are now and the number of words that
    they took; a deviate takes one word, or up to three for each try.
    """
    used = 0
    accepted_at = 0
    while filled < deviates.size and used + 3 <= words.size:
        bits = words[used]
        strip = bits & 0x7F
        position = bits >> 8
        x = position * widths[strip]
        used += 1
        accepted = position < limits[strip]
        if not accepted and strip < N_STRIPS - 1:
            step = heights[strip] - heights[strip + 1]
            y = heights[strip + 1] + step * (words[used] / 2.0**32)
            used += 1
            accepted = y < math.exp(-0.5 * x * x)
        elif not accepted:
            x = TAIL_START - math.log(1.0 - words[used] / 2.0**32) / TAIL_START
            y = math.exp(-TAIL_START * (x - 0.5 * TAIL_START)) * (words[used + 1] / 2.0**32)
            used += 2
            accepted = y < math.exp(-0.5 * x * x)
        if accepted:
            deviates[filled] = x if bits & 0x80 else -x
            filled += 1
            accepted_at = used
    return filled, accepted_at
