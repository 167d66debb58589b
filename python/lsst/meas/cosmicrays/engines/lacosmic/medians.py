# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Medians of a few numbers, as astroscrappy computes them.

Without NaN every method of finding a median gives the same number.  With NaN
it is the order of the comparisons that decides, so these are astroscrappy's:
the networks that N. Devillard put in the public domain (sizes 5, 7, 9, 25) and
his quickselect for other sizes.  A comparison with NaN is false: nothing is
swapped.
"""

from __future__ import annotations

__all__ = [
    "MEDIAN9",
    "MEDIAN25",
    "MEDIAN49",
    "median5",
    "median7",
    "median9",
    "network_median",
    "quickselect",
]

import numpy as np

from .compiled import in_place, inlined

Number = np.float32

MEDIAN9 = np.array(
    [
        *[(1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3)],
        *[(5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2)],
    ]
)
"""Comparisons of the network for the median of 9 numbers, (n, 2)."""

MEDIAN25 = np.array(
    [
        *[(0, 1), (3, 4), (2, 4), (2, 3), (6, 7), (5, 7), (5, 6), (9, 10), (8, 10), (8, 9), (12, 13)],
        *[(11, 13), (11, 12), (15, 16), (14, 16), (14, 15), (18, 19), (17, 19), (17, 18), (21, 22)],
        *[(20, 22), (20, 21), (23, 24), (2, 5), (3, 6), (0, 6), (0, 3), (4, 7), (1, 7), (1, 4), (11, 14)],
        *[(8, 14), (8, 11), (12, 15), (9, 15), (9, 12), (13, 16), (10, 16), (10, 13), (20, 23), (17, 23)],
        *[(17, 20), (21, 24), (18, 24), (18, 21), (19, 22), (8, 17), (9, 18), (0, 18), (0, 9), (10, 19)],
        *[(1, 19), (1, 10), (11, 20), (2, 20), (2, 11), (12, 21), (3, 21), (3, 12), (13, 22), (4, 22)],
        *[(4, 13), (14, 23), (5, 23), (5, 14), (15, 24), (6, 24), (6, 15), (7, 16), (7, 19), (13, 21)],
        *[(15, 23), (7, 13), (7, 15), (1, 9), (3, 11), (5, 17), (11, 17), (9, 17), (4, 10), (6, 12)],
        *[(7, 14), (4, 6), (4, 7), (12, 14), (10, 14), (6, 7), (10, 12), (6, 10), (6, 17), (12, 17)],
        *[(7, 17), (7, 10), (12, 18), (7, 12), (10, 18), (12, 20), (10, 20), (10, 12)],
    ]
)
"""Comparisons of the network for the median of 25 numbers, (n, 2)."""


def _selection_network(size: int) -> np.ndarray:
    """Comparisons that bring the median of some numbers to the middle.

    K. E. Batcher's merge exchange (D. E. Knuth, The Art of Computer
    Programming 3, algorithm 5.2.2M), less what the middle does not depend on.
    """
    comparisons = []
    p = top = 1 << ((size - 1).bit_length() - 1)
    while p:
        q, r, d = top, 0, p
        while True:
            comparisons += [(i, i + d) for i in range(size - d) if i & p == r]
            if q == p:
                break
            q, r, d = q // 2, p, q - p
        p //= 2
    wanted = {size // 2}
    kept = []
    for pair in reversed(comparisons):
        if wanted.intersection(pair):
            wanted.update(pair)
            kept.append(pair)
    return np.array(kept[::-1])


MEDIAN49 = _selection_network(49)
"""Comparisons of a network for the median of 49 numbers, (n, 2)."""


@inlined
def _sort2(a: Number, b: Number) -> tuple[Number, Number]:
    return (b if a > b else a), (a if a > b else b)


@in_place
def median5(p0: Number, p1: Number, p2: Number, p3: Number, p4: Number) -> Number:
    """Return the median of 5 numbers."""
    p0, p1 = _sort2(p0, p1)
    p3, p4 = _sort2(p3, p4)
    p0, p3 = _sort2(p0, p3)
    p1, p4 = _sort2(p1, p4)
    p1, p2 = _sort2(p1, p2)
    p2, p3 = _sort2(p2, p3)
    p1, p2 = _sort2(p1, p2)
    return p2


@in_place
def median7(p0: Number, p1: Number, p2: Number, p3: Number, p4: Number, p5: Number, p6: Number) -> Number:
    """Return the median of 7 numbers."""
    p0, p5 = _sort2(p0, p5)
    p0, p3 = _sort2(p0, p3)
    p1, p6 = _sort2(p1, p6)
    p2, p4 = _sort2(p2, p4)
    p0, p1 = _sort2(p0, p1)
    p3, p5 = _sort2(p3, p5)
    p2, p6 = _sort2(p2, p6)
    p2, p3 = _sort2(p2, p3)
    p3, p6 = _sort2(p3, p6)
    p4, p5 = _sort2(p4, p5)
    p1, p4 = _sort2(p1, p4)
    p1, p3 = _sort2(p1, p3)
    p3, p4 = _sort2(p3, p4)
    return p3


@in_place
def median9(
    p0: Number,
    p1: Number,
    p2: Number,
    p3: Number,
    p4: Number,
    p5: Number,
    p6: Number,
    p7: Number,
    p8: Number,
) -> Number:
    """Return the median of 9 numbers."""
    p1, p2 = _sort2(p1, p2)
    p4, p5 = _sort2(p4, p5)
    p7, p8 = _sort2(p7, p8)
    p0, p1 = _sort2(p0, p1)
    p3, p4 = _sort2(p3, p4)
    p6, p7 = _sort2(p6, p7)
    p1, p2 = _sort2(p1, p2)
    p4, p5 = _sort2(p4, p5)
    p7, p8 = _sort2(p7, p8)
    p0, p3 = _sort2(p0, p3)
    p5, p8 = _sort2(p5, p8)
    p4, p7 = _sort2(p4, p7)
    p3, p6 = _sort2(p3, p6)
    p1, p4 = _sort2(p1, p4)
    p2, p5 = _sort2(p2, p5)
    p4, p7 = _sort2(p4, p7)
    p4, p2 = _sort2(p4, p2)
    p6, p4 = _sort2(p6, p4)
    p4, p2 = _sort2(p4, p2)
    return p4


@in_place
def network_median(network: np.ndarray, values: np.ndarray, m: int) -> None:
    """Bring the median of each column of some values to their middle row.

    Parameters
    ----------
    network : `numpy.ndarray`, (n, 2)
        Comparisons.
    values : `numpy.ndarray`, (size, >= m)
        Numbers, reordered in place.
    m : `int`
        Number of columns to sort.
    """
    for k in range(network.shape[0]):
        first = values[network[k, 0]]
        second = values[network[k, 1]]
        for i in range(m):
            low, high = _sort2(first[i], second[i])
            first[i] = low
            second[i] = high


@in_place
def quickselect(values: np.ndarray, n: int) -> Number:
    """Return the lower median of the first numbers of an array.

    Parameters
    ----------
    values : `numpy.ndarray`, (m,)
        Numbers, reordered in place.
    n : `int`
        How many of them to use, at least one.

    Returns
    -------
    median : `float`
        Their median; the lower of the two in the middle if there are two.
    """
    low = 0
    high = n - 1
    median = high // 2
    while high > low + 1:
        middle = (low + high) // 2
        values[middle], values[high] = _sort2(values[middle], values[high])
        values[low], values[high] = _sort2(values[low], values[high])
        values[middle], values[low] = _sort2(values[middle], values[low])
        values[middle], values[low + 1] = values[low + 1], values[middle]
        up = low + 1
        down = high
        while True:
            up += 1
            while values[low] > values[up]:
                up += 1
            down -= 1
            while values[down] > values[low]:
                down -= 1
            if down < up:
                break
            values[up], values[down] = values[down], values[up]
        values[low], values[down] = values[down], values[low]
        if down <= median:
            low = up
        if down >= median:
            high = down - 1
    if high == low + 1:
        values[low], values[high] = _sort2(values[low], values[high])
    return values[median]
