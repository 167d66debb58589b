# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""A smooth background under an image, from statistics in bins."""

from __future__ import annotations

__all__ = ["STATISTICS", "clipped_mean", "model_background"]

from collections.abc import Callable

import numpy as np
from scipy.interpolate import Akima1DInterpolator, CubicSpline

from .planes import as_bool_plane, as_float_plane, check_count

CLIP_SIGMA = 3.0
N_CLIPS = 3
SIGMA_OF_QUARTILES = 0.741301
LEAST_POINTS = {"CONSTANT": 1, "LINEAR": 2, "NATURAL_SPLINE": 3, "AKIMA_SPLINE": 5}


def clipped_mean(values: np.ndarray) -> float:
    """Return the mean after outliers were cut off.

    Parameters
    ----------
    values : `numpy.ndarray`
        Finite numbers, at least one.

    Returns
    -------
    mean : `float`
        Mean of what is within 3 sigma, cut three times: first around the
        median with the sigma of the quartiles, then around the mean.
    """
    values = np.asarray(values, dtype=np.float64)
    lower, middle, upper = np.percentile(values, [25.0, 50.0, 75.0])
    sigma = SIGMA_OF_QUARTILES * (upper - lower)
    for _ in range(N_CLIPS):
        kept = values[np.abs(values - middle) <= CLIP_SIGMA * sigma]
        if kept.size == 0:
            break
        middle, sigma = float(kept.mean()), float(kept.std())
    return float(middle)


STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    "MEAN": np.mean,
    "MEDIAN": np.median,
    "MEANCLIP": clipped_mean,
}
"""What can stand for many pixels, by the names it has in afw."""


def model_background(
    image: np.ndarray,
    ignored: np.ndarray,
    bin_x: int,
    bin_y: int,
    *,
    statistic: str = "MEDIAN",
    algorithm: str = "AKIMA_SPLINE",
) -> np.ndarray:
    """Model the background of an image.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx)
        Image, in any unit.  Used as float32.
    ignored : `numpy.ndarray`, (ny, nx), bool
        Pixels to leave out, besides those that are not finite.
    bin_x, bin_y : `int`
        Sides of a bin (pixels), about: the image is cut into equal bins.
    statistic : `str`, optional
        What stands for a bin: ``MEAN``, ``MEDIAN`` or ``MEANCLIP``.
    algorithm : `str`, optional
        Interpolation between the middles of bins: ``CONSTANT``, ``LINEAR``,
        ``NATURAL_SPLINE`` or ``AKIMA_SPLINE``.  Where there are too few bins
        for it, the best of the others for which there are enough.

    Returns
    -------
    background : `numpy.ndarray`, (ny, nx), float32
        Background, in the unit of the image; 0 if no pixel can be used.

    Raises
    ------
    TypeError
        Raised if the arrays are of other types, or a bin's side is no
        integer.
    ValueError
        Raised if shapes differ, a bin's side is not positive, or the
        statistic or algorithm is unknown.

    Notes
    -----
    The mesh and its separable interpolation, first along columns and then
    along rows, are those of ``lsst.afw.math.Background``.
    """
    image = as_float_plane("image", image)
    usable = np.isfinite(image) & ~as_bool_plane("ignored", ignored, image.shape)
    if statistic not in STATISTICS:
        raise ValueError(f"statistic must be one of {', '.join(STATISTICS)}, not {statistic!r}")
    if algorithm not in LEAST_POINTS:
        raise ValueError(f"algorithm must be one of {', '.join(LEAST_POINTS)}, not {algorithm!r}")
    edges_y = _edges(image.shape[0], check_count("bin_y", bin_y, minimum=1))
    edges_x = _edges(image.shape[1], check_count("bin_x", bin_x, minimum=1))
    mesh = _measure(image, usable, edges_y, edges_x, STATISTICS[statistic])
    columns = _interpolate(edges_y, mesh, algorithm)
    return _interpolate(edges_x, columns.T, algorithm).T.astype(np.float32)


def _edges(size: int, side: int) -> np.ndarray:
    """Return where equal bins of about this side begin and end."""
    return np.linspace(0, size, max(1, round(size / side)) + 1).astype(int)


def _measure(
    image: np.ndarray,
    usable: np.ndarray,
    edges_y: np.ndarray,
    edges_x: np.ndarray,
    statistic: Callable[[np.ndarray], float],
) -> np.ndarray:
    """Measure every bin; those without usable pixels get the median bin."""
    mesh = np.full((edges_y.size - 1, edges_x.size - 1), np.nan)
    for j, i in np.ndindex(mesh.shape):
        place = np.s_[edges_y[j] : edges_y[j + 1], edges_x[i] : edges_x[i + 1]]
        values = image[place][usable[place]].astype(np.float64)
        if values.size > 0:
            mesh[j, i] = statistic(values)
    empty = np.isnan(mesh)
    mesh[empty] = np.median(mesh[~empty]) if not np.all(empty) else 0.0
    return mesh


def _interpolate(edges: np.ndarray, values: np.ndarray, algorithm: str) -> np.ndarray:
    """Interpolate along the first axis, from bins to pixels."""
    middles = 0.5 * (edges[:-1] + edges[1:] - 1)
    pixels = np.arange(edges[-1])
    order = list(LEAST_POINTS)
    possible = [name for name in order[: order.index(algorithm) + 1] if LEAST_POINTS[name] <= middles.size]
    match possible[-1]:
        case "CONSTANT":
            return values[np.searchsorted(edges, pixels, side="right") - 1]
        case "LINEAR":
            lower = np.clip(np.searchsorted(middles, pixels) - 1, 0, middles.size - 2)
            weight = (pixels - middles[lower]) / np.diff(middles)[lower]
            return values[lower] + weight[:, np.newaxis] * (values[lower + 1] - values[lower])
        case "NATURAL_SPLINE":
            return np.asarray(CubicSpline(middles, values, bc_type="natural")(pixels))
        case _:
            return np.asarray(Akima1DInterpolator(middles, values, extrapolate=True)(pixels))
