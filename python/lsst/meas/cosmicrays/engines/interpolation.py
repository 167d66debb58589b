# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fill holes in an image from the pixels around them."""

from __future__ import annotations

__all__ = ["interpolate"]

import numpy as np
import scipy.ndimage
from scipy.sparse import coo_array
from scipy.sparse.linalg import spsolve

from .planes import as_bool_plane, as_float_plane

STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def interpolate(
    image: np.ndarray, holes: np.ndarray, fallback: float, unusable: np.ndarray | None = None
) -> np.ndarray:
    """Compute new values for some pixels from their surroundings.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx)
        Image, in any unit.  Not changed.  Used as float32.
    holes : `numpy.ndarray`, (ny, nx), bool
        Pixels that need a value; their own values do not matter.
    fallback : `float`
        Value of holes from which no usable pixel can be reached, in the unit
        of the image.
    unusable : `numpy.ndarray`, (ny, nx), bool, optional
        Other pixels from which nothing is to be taken.  Pixels that are not
        finite never are.

    Returns
    -------
    values : `numpy.ndarray`, (n,), float32
        New values of the holes in scan order, in the unit of the image:
        ``image[holes] = values`` fills them.

    Raises
    ------
    TypeError, ValueError
        Raised if the arrays are of other types, or their shapes differ.

    Notes
    -----
    A hole gets the surface of least gradient over it that joins its rim: each
    of its pixels is the mean of those of its four neighbours that can be
    used, found for all at once by solving the linear system (the membrane of
    Perez, Gangnet & Blake 2003, ACM Trans. Graph. 22, 313).  It is exact
    where the image is a plane, never leaves the range of the values on the
    rim, and depends on no length.
    """
    image = as_float_plane("image", image)
    holes = as_bool_plane("holes", holes, image.shape)
    usable = np.isfinite(image) & ~holes
    if unusable is not None:
        usable &= ~as_bool_plane("unusable", unusable, image.shape)
    values = np.full(int(np.count_nonzero(holes)), fallback, dtype=np.float32)
    reached = _reached(holes, usable)
    if np.any(reached):
        values[reached[holes]] = _solve(image, reached, usable)
    return values


def _reached(holes: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Return the pixels of the holes that touch a usable pixel somewhere."""
    labels, n_holes = scipy.ndimage.label(holes)
    touching = scipy.ndimage.binary_dilation(usable) & holes
    has_rim = np.zeros(n_holes + 1, dtype=bool)
    has_rim[labels[touching]] = True
    return has_rim[labels]


def _solve(image: np.ndarray, holes: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Solve for the pixels of the holes, in scan order."""
    y, x = np.nonzero(holes)
    n = y.size
    number = np.full(image.shape, -1, dtype=np.int64)
    number[y, x] = np.arange(n)
    n_neighbours = np.zeros(n)
    known = np.zeros(n)
    rows, columns = [], []
    for dy, dx in STEPS:
        inside = (y + dy >= 0) & (y + dy < image.shape[0]) & (x + dx >= 0) & (x + dx < image.shape[1])
        here = np.flatnonzero(inside)
        there = (y[here] + dy, x[here] + dx)
        is_known, is_unknown = usable[there], number[there] >= 0
        n_neighbours[here[is_known | is_unknown]] += 1.0
        known[here[is_known]] += image[there][is_known].astype(np.float64)
        rows.append(here[is_unknown])
        columns.append(number[there][is_unknown])
    off_diagonal = np.concatenate(rows), np.concatenate(columns)
    diagonal = np.arange(n)
    matrix = coo_array(
        (
            np.concatenate([n_neighbours, -np.ones(off_diagonal[0].size)]),
            (np.concatenate([diagonal, off_diagonal[0]]), np.concatenate([diagonal, off_diagonal[1]])),
        ),
        shape=(n, n),
    )
    return np.atleast_1d(spsolve(matrix.tocsc(), known)).astype(np.float32)
