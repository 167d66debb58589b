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

__all__ = ["Filling", "NothingToInterpolateFromError", "fill_holes", "interpolate"]

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from scipy.sparse import coo_array
from scipy.sparse.linalg import spsolve

from .background import median_background
from .linear_prediction import predict
from .planes import as_bool_plane, as_float_plane

STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))

METHODS = ("linear_prediction", "neighbors", "sky")


class NothingToInterpolateFromError(ValueError):
    """Raised when no pixel is left from which others could be filled."""


@dataclass(frozen=True)
class Filling:
    """New values of the holes of an image, and where they come from."""

    values: np.ndarray
    """New values in scan order, in the unit of the image (float32, (n,))."""

    n_predicted: int
    """How many were predicted from two pixels on each side (`int`)."""

    n_joined: int
    """How many are of the smooth surface that joins the rim (`int`)."""

    n_sky: int
    """How many are the level of the sky, or drawn around it (`int`)."""


def fill_holes(
    image: np.ndarray,
    variance: np.ndarray,
    holes: np.ndarray,
    unusable: np.ndarray | None = None,
    *,
    method: str = "linear_prediction",
    debias: bool = True,
    seed: int = 0,
) -> Filling:
    """Compute new values for the pixels of cosmic rays.

    Parameters
    ----------
    image, variance : `numpy.ndarray`, (ny, nx)
        Image, in any unit, and its variance.  Not changed.
    holes : `numpy.ndarray`, (ny, nx), bool
        Pixels that need a value.
    unusable : `numpy.ndarray`, (ny, nx), bool, optional
        Other pixels from which nothing is to be taken.
    method : `str`, optional
        ``"linear_prediction"``: from two pixels on each side (`predict`);
        where there are none, as ``"neighbors"``, for which predicted pixels
        are as good as any other.  ``"neighbors"``: the smooth surface that
        joins the rim (`interpolate`); where no rim can be reached, the level
        of the sky.  ``"sky"``: the level of the sky and noise.
    debias : `bool`, optional
        Add what the smaller of two predictions is too small by?
    seed : `int`, optional
        Seed of the noise of method ``"sky"``.

    Returns
    -------
    filling : `Filling`
        The values: ``image[holes] = filling.values`` fills the holes.

    Raises
    ------
    NothingToInterpolateFromError
        Raised if there are holes, and no finite pixel is usable.
    TypeError, ValueError
        Raised if the arrays are of other types, or their shapes differ, or
        the method is not known.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    image = as_float_plane("image", image)
    variance = as_float_plane("variance", variance, image.shape)
    holes = as_bool_plane("holes", holes, image.shape)
    excluded = holes | as_bool_plane("unusable", unusable, image.shape) if unusable is not None else holes
    n_holes = int(np.count_nonzero(holes))
    if n_holes == 0:
        return Filling(np.zeros(0, dtype=np.float32), 0, 0, 0)
    sky = median_background(np.where(excluded, np.float32(np.nan), image))
    if not np.isfinite(sky):
        raise NothingToInterpolateFromError(
            f"None of the {image.size} pixels is usable: {n_holes} are to be filled, and the others are bad "
            "or not finite."
        )
    if method == "sky":
        return Filling(_draw_sky(variance[holes], sky, seed), 0, 0, n_holes)
    filled = image.copy()
    left = holes
    if method == "linear_prediction":
        predicted = predict(image, variance, holes, sky, unusable, debias=debias)
        filled[holes] = predicted
        left = holes & ~np.isfinite(filled)
    n_left = int(np.count_nonzero(left))
    # A pixel that was filled may be bad, too: it is usable all the same.
    joined = interpolate(filled, left, np.nan, excluded & ~(holes & ~left))
    unreached = np.isnan(joined)
    joined[unreached] = sky
    filled[left] = joined
    n_sky = int(np.count_nonzero(unreached))
    return Filling(filled[holes], n_holes - n_left, n_left - n_sky, n_sky)


def _draw_sky(variance: np.ndarray, sky: float, seed: int) -> np.ndarray:
    """Draw values around the sky; the sky itself where there is no noise."""
    noise = np.sqrt(np.where(np.isfinite(variance) & (variance > 0.0), variance, 0.0))
    return (sky + noise * np.random.default_rng(seed).standard_normal(noise.size)).astype(np.float32)


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
