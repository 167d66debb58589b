# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the first convolution responds to, everywhere in a tile."""

from __future__ import annotations

__all__ = ["measure_responses"]

import numpy as np

from .compiled import in_place_reordered


def measure_responses(
    image: np.ndarray, matrix: np.ndarray, margin: int, side: int, rows: range, responses: np.ndarray
) -> None:
    """Measure means and mean squares of rectified features.

    Parameters
    ----------
    image : `numpy.ndarray` [`float32`]
        The image, shape (ny, nx).
    matrix : `numpy.ndarray` [`float32`]
        Weights of the 9 pixels, and what is added, for each feature: shape
        (n, 10).
    margin : `int`
        First pixel, along both axes, of the first window of 3x3.
    side : `int`
        Side of a grain (pixels).
    rows : `range`
        Which rows of grains to measure.
    responses : `numpy.ndarray` [`float32`]
        Where to write, shape (n_rows, n_columns, 2 n + 1): 1, and then mean
        and mean square of each feature.
    """
    sums = np.empty((2, responses.shape[1] * side), dtype=np.float32)
    _measure_responses(image, matrix, margin, side, rows.start, rows.stop, sums, responses)


@in_place_reordered
def _measure_responses(
    image: np.ndarray,
    matrix: np.ndarray,
    margin: int,
    side: int,
    first: int,
    stop: int,
    sums: np.ndarray,
    responses: np.ndarray,
) -> None:
    """Measure some rows of grains, given room for a row of sums."""
    zero = np.float32(0.0)
    part = np.float32(1.0 / (side * side))
    linear, squares = sums[0], sums[1]
    for row in range(first, stop):
        for column in range(responses.shape[1]):
            responses[row, column, 0] = np.float32(1.0)
        for i in range(matrix.shape[0]):
            a, b, c, d, e = matrix[i, 0], matrix[i, 1], matrix[i, 2], matrix[i, 3], matrix[i, 4]
            f, g, h, k, more = matrix[i, 5], matrix[i, 6], matrix[i, 7], matrix[i, 8], matrix[i, 9]
            for x in range(linear.size):
                linear[x] = zero
                squares[x] = zero
            for y in range(margin + row * side, margin + (row + 1) * side):
                above, middle, below = image[y, margin:], image[y + 1, margin:], image[y + 2, margin:]
                for x in range(linear.size):
                    feature = (
                        (a * above[x] + b * above[x + 1] + c * above[x + 2])
                        + (d * middle[x] + e * middle[x + 1] + f * middle[x + 2])
                        + (g * below[x] + h * below[x + 1] + k * below[x + 2])
                        + more
                    )
                    feature = max(feature, zero)
                    linear[x] += feature
                    squares[x] += feature * feature
            for column in range(responses.shape[1]):
                total, total_square = zero, zero
                for x in range(column * side, (column + 1) * side):
                    total += linear[x]
                    total_square += squares[x]
                responses[row, column, 1 + 2 * i] = part * total
                responses[row, column, 2 + 2 * i] = part * total_square
