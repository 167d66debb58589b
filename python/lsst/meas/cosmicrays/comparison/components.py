# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""8-connected components of sparse masks."""

from __future__ import annotations

__all__ = ["Components", "find_components"]

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit


@dataclass(frozen=True)
class Components:
    """The 8-connected components of a mask, as a list of its pixels."""

    rows: npt.NDArray[np.int64]
    """Row of each pixel of the mask, in raster order (`numpy.ndarray`)."""

    columns: npt.NDArray[np.int64]
    """Column of each pixel of the mask (`numpy.ndarray`)."""

    labels: npt.NDArray[np.int64]
    """Component of each pixel, from 0, numbered in the raster order of their
    first pixels (`numpy.ndarray`).
    """

    n_components: int
    """Number of components (`int`)."""

    def combine_codes(self, codes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Return the bits that any pixel of each component has.

        Parameters
        ----------
        codes : `numpy.ndarray`
            Code of each pixel in the list, uint64.

        Returns
        -------
        combined : `numpy.ndarray`
            Bitwise OR of the codes of each component, uint64, shape
            ``(n_components,)``.
        """
        combined = np.zeros(self.n_components, dtype=np.uint64)
        np.bitwise_or.at(combined, self.labels, codes)
        return combined

    def total(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the sum of a value over the pixels of each component.

        Parameters
        ----------
        values : array-like
            Value of each pixel in the list.

        Returns
        -------
        total : `numpy.ndarray`
            Sums, float64, shape ``(n_components,)``.
        """
        return np.bincount(self.labels, weights=np.asarray(values, float), minlength=self.n_components)

    def maximum(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the largest value over the pixels of each component.

        Parameters
        ----------
        values : array-like
            Value of each pixel in the list.

        Returns
        -------
        maximum : `numpy.ndarray`
            Largest values, float64, shape ``(n_components,)``.
        """
        largest = np.full(self.n_components, -np.inf)
        np.maximum.at(largest, self.labels, np.asarray(values, float))
        return largest


def find_components(mask: npt.NDArray[np.bool_]) -> Components:
    """Find the 8-connected components of a mask.

    The time goes with the number of pixels in the mask, not of the image.

    Parameters
    ----------
    mask : `numpy.ndarray`
        Bool array ``(ny, nx)``.

    Returns
    -------
    components : `Components`
        The pixels of the mask, and to which component each belongs.
    """
    rows, columns = np.divmod(np.flatnonzero(mask), mask.shape[1])
    roots = _link_neighbours(rows, columns)
    first_pixels, labels = np.unique(roots, return_inverse=True)
    return Components(rows=rows, columns=columns, labels=labels, n_components=first_pixels.size)


@njit(cache=True)
def _find_root(parent: npt.NDArray[np.int64], pixel: int) -> int:  # pragma: no cover - compiled
    while parent[pixel] != pixel:
        parent[pixel] = parent[parent[pixel]]
        pixel = parent[pixel]
    return pixel


@njit(cache=True)
def _join(parent: npt.NDArray[np.int64], one: int, other: int) -> None:  # pragma: no cover - compiled
    one, other = _find_root(parent, one), _find_root(parent, other)
    parent[max(one, other)] = min(one, other)


@njit(cache=True)
def _link_neighbours(
    rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:  # pragma: no cover - compiled
    """Return for each pixel the first pixel of its component.

    The pixels are in raster order; ``above`` follows them one row behind.
    """
    parent = np.arange(rows.size)
    above = 0
    for pixel in range(rows.size):
        row, column = rows[pixel], columns[pixel]
        if pixel > 0 and rows[pixel - 1] == row and columns[pixel - 1] == column - 1:
            _join(parent, pixel, pixel - 1)
        while rows[above] < row - 1 or (rows[above] == row - 1 and columns[above] < column - 1):
            above += 1
        neighbour = above
        while rows[neighbour] == row - 1 and columns[neighbour] <= column + 1:
            _join(parent, pixel, neighbour)
            neighbour += 1
    for pixel in range(rows.size):
        parent[pixel] = _find_root(parent, pixel)
    return parent
