# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Statistics of the empty parts of a difference image."""

from __future__ import annotations

__all__ = ["PullStatistics", "fit_background", "measure_pulls", "measure_variance_scale"]

import dataclasses
import math

import numpy as np

from .difference_planes import grow
from .spatial_kernel import chebyshev_image, chebyshev_values

_BIN = 128
_QUARTILE_TO_SIGMA = 1.3489795003921634
_BACKGROUND_CLIP = 4.0
_NOT_EMPTY = 5.0
_NEAR = 5


@dataclasses.dataclass(frozen=True)
class PullStatistics:
    """How the pixels of an image are distributed in units of their noise."""

    median: float
    """Median."""

    sigma: float
    """Standard deviation, from the quartiles."""

    beyond_four_sigma: float
    """Fraction of pixels more than four from zero (normal: 6.3e-5)."""

    autocorrelation_x: float
    """Correlation of neighbours along x, of pixels within five of zero."""

    autocorrelation_y: float
    """Correlation of neighbours along y."""

    n_pixels: int
    """Number of pixels that this rests on."""


def measure_pulls(image: np.ndarray, variance: np.ndarray, usable: np.ndarray) -> PullStatistics:
    """Measure how well a variance plane describes the noise of an image.

    Parameters
    ----------
    image, variance : `numpy.ndarray`, (ny, nx)
        The image and its variance.
    usable : `numpy.ndarray` [`bool`], (ny, nx)
        Pixels to look at.

    Returns
    -------
    statistics : `PullStatistics`
        NaN where there are no usable pixels.
    """
    pull = _pull(image, variance, usable)
    values = pull[usable]
    if len(values) == 0:
        return PullStatistics(math.nan, math.nan, math.nan, math.nan, math.nan, 0)
    core = np.where(np.abs(pull) < 5.0, pull, np.nan)
    return PullStatistics(
        median=float(np.median(values)),
        sigma=_quartile_scatter(values),
        beyond_four_sigma=float(np.mean(np.abs(values) > 4.0)),
        autocorrelation_x=_correlation(core[:, :-1], core[:, 1:]),
        autocorrelation_y=_correlation(core[:-1], core[1:]),
        n_pixels=len(values),
    )


def measure_variance_scale(image: np.ndarray, variance: np.ndarray, usable: np.ndarray) -> float:
    """Measure by which factor a variance plane is too small for empty sky.

    Parameters
    ----------
    image, variance : `numpy.ndarray`, (ny, nx)
        The image and its variance.
    usable : `numpy.ndarray` [`bool`], (ny, nx)
        Pixels to look at, but for those near others that are far out in the
        distribution.

    Returns
    -------
    scale : `float`
        Square of the scatter in units of the noise; 1 if it is not
        positive.
    """
    pull = _pull(image, variance, usable)
    scatter = _quartile_scatter(pull[usable])
    quiet = usable & ~grow(np.abs(pull) > _NOT_EMPTY * scatter, _NEAR)
    scale = _quartile_scatter(pull[quiet]) ** 2
    return scale if scale > 0.0 else 1.0


def _quartile_scatter(values: np.ndarray) -> float:
    """Return the standard deviation from the quartiles; 0 without values."""
    if len(values) == 0:
        return 0.0
    first, third = np.percentile(values, [25.0, 75.0])
    return float((third - first) / _QUARTILE_TO_SIGMA)


def _pull(image: np.ndarray, variance: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Divide by the noise, with NaN where not usable."""
    noise = np.sqrt(variance, where=usable, out=np.ones_like(variance))
    return np.divide(image, noise, out=np.full_like(image, np.nan), where=usable)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two arrays where both are numbers."""
    both = np.isfinite(one) & np.isfinite(other)
    if np.count_nonzero(both) < 2:
        return math.nan
    a, b = one[both].astype(np.float64), other[both].astype(np.float64)
    a -= a.mean()
    b -= b.mean()
    power = math.sqrt(np.dot(a, a) * np.dot(b, b))
    return float(np.dot(a, b) / power) if power > 0.0 else math.nan


def fit_background(image: np.ndarray, usable: np.ndarray, order: int) -> np.ndarray:
    """Fit a polynomial to the medians of an image in bins.

    Bins that are off the fit (a bright galaxy, a ghost) are left out and the
    fit is made again.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx)
        The image.
    usable : `numpy.ndarray` [`bool`], (ny, nx)
        Pixels to look at.
    order : `int`
        Order of the polynomial; less is used where few bins are usable.

    Returns
    -------
    background : `numpy.ndarray` [`float32`], (ny, nx)
        The polynomial; zero if no pixel is usable.
    """
    places, medians, weights = _bin_medians(image, usable)
    if len(medians) == 0:
        return np.zeros(image.shape, dtype=np.float32)
    while order > 0 and 2 * len(medians) < 3 * (order + 1) * (order + 2):
        order -= 1
    design = chebyshev_values(order, places[:, 0], places[:, 1], image.shape).T
    keep = np.ones(len(medians), dtype=bool)
    for _ in range(3):
        root = np.sqrt(weights[keep])
        coefficients, *_ = np.linalg.lstsq(
            design[keep] * root[:, np.newaxis], medians[keep] * root, rcond=None
        )
        residual = (medians - design @ coefficients) * np.sqrt(weights)
        spread = 1.4826 * np.median(np.abs(residual[keep]))
        keep = np.abs(residual) <= max(_BACKGROUND_CLIP * spread, np.finfo(np.float32).tiny)
        if np.count_nonzero(keep) < 2 * len(coefficients):
            break
    return chebyshev_image(coefficients, order, image.shape)


def _bin_medians(image: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return places, medians and numbers of usable pixels of the bins."""
    ny, nx = image.shape
    places, medians, numbers = [], [], []
    for y in range(0, ny, _BIN):
        for x in range(0, nx, _BIN):
            block = np.s_[y : y + _BIN, x : x + _BIN]
            values = image[block][usable[block]]
            if 4 * len(values) >= usable[block].size:
                size_y, size_x = usable[block].shape
                places.append((y + (size_y - 1) / 2.0, x + (size_x - 1) / 2.0))
                medians.append(float(np.median(values)))
                numbers.append(float(len(values)))
    return np.array(places).reshape(-1, 2), np.array(medians), np.array(numbers)
