# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stars and galaxies from which a PSF-matching kernel can be found."""

from __future__ import annotations

__all__ = ["cut_stamps", "find_kernel_candidates"]

import numpy as np
import scipy.ndimage

_PEAK_WINDOW = 7


def find_kernel_candidates(
    significance: np.ndarray,
    unusable: np.ndarray,
    half_width: int,
    *,
    min_significance: float = 20.0,
    good_significance: float = 50.0,
    n_enough: int = 20,
    cell_size: int = 256,
    n_per_cell: int = 4,
) -> np.ndarray:
    """Find bright, unblemished peaks, spread evenly over an image.

    The brightest peaks of each cell of a grid are taken, as Alard & Lupton
    (1998, ApJ 503, 325) and ``ip_diffim`` do.  Crowding does no harm: both
    images show the same neighbours.

    Parameters
    ----------
    significance : `numpy.ndarray`, (ny, nx)
        Pixel values in units of their noise, of the image that is free of
        cosmic rays.
    unusable : `numpy.ndarray` [`bool`], (ny, nx)
        Pixels that must not be within two pixels of a peak (saturated, bad,
        without data) in either image.
    half_width : `int`
        Half width of the stamps to be cut; candidates keep this distance
        from the edges.
    min_significance : `float`, optional
        Least peak value.
    good_significance : `float`, optional
        Least peak value if ``n_enough`` candidates reach it: the noise of
        faint ones does more harm than their number good.
    n_enough : `int`, optional
        How many good ones suffice.
    cell_size : `int`, optional
        Side of a cell, in pixels.
    n_per_cell : `int`, optional
        Most candidates in a cell.

    Returns
    -------
    candidates : `numpy.ndarray` [`int64`], (n, 2)
        Array indices (y, x) of the peaks; the stamps of two of them never
        cover each other's peak.
    """
    peaks = significance == scipy.ndimage.maximum_filter(significance, _PEAK_WINDOW, mode="nearest")
    peaks &= significance >= min_significance
    peaks[:half_width] = peaks[-half_width:] = False
    peaks[:, :half_width] = peaks[:, -half_width:] = False
    y, x = np.nonzero(peaks)
    blemished = np.array([unusable[j - 2 : j + 3, i - 2 : i + 3].any() for j, i in zip(y, x, strict=True)])
    keep = ~blemished.astype(bool)
    y, x = y[keep], x[keep]
    brightest_first = np.argsort(-significance[y, x], kind="stable")
    picked = _pick_spread(y[brightest_first], x[brightest_first], half_width, cell_size, n_per_cell)
    good = significance[picked[:, 0], picked[:, 1]] >= good_significance
    return picked[good] if np.count_nonzero(good) >= n_enough else picked


def _pick_spread(y: np.ndarray, x: np.ndarray, distance: int, cell_size: int, n_per_cell: int) -> np.ndarray:
    """Take the first few of each cell that keep their distance."""
    in_cell: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for j, i in zip(y.tolist(), x.tolist(), strict=True):
        cell_y, cell_x = j // cell_size, i // cell_size
        picked = in_cell.setdefault((cell_y, cell_x), [])
        neighbours = [
            place
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            for place in in_cell.get((cell_y + dy, cell_x + dx), ())
        ]
        apart = all(max(abs(j - v), abs(i - u)) > distance for v, u in neighbours)
        if len(picked) < n_per_cell and apart:
            picked.append((j, i))
    places = [place for picked in in_cell.values() for place in picked]
    return np.array(places, dtype=np.int64).reshape(-1, 2)


def cut_stamps(image: np.ndarray, centres: np.ndarray, half_width: int) -> np.ndarray:
    """Cut square stamps out of an image.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx)
        Image of any dtype.
    centres : `numpy.ndarray` [`int64`], (n, 2)
        Array indices (y, x) of the middles, at least ``half_width`` from the
        edges.
    half_width : `int`
        Pixels from the middle of a stamp to its edge.

    Returns
    -------
    stamps : `numpy.ndarray`, (n, size, size)
        Copies, of the dtype of the image, with size = 2 half_width + 1.
    """
    size = 2 * half_width + 1
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size))
    return windows[centres[:, 0] - half_width, centres[:, 1] - half_width]
