# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shapes of point-spread functions on pixel grids."""

__all__ = ["gaussian_fwhm", "gaussian_kernel"]

import math

import numpy as np

SIGMA_TO_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))


def gaussian_kernel(fwhm: float, n_sigma: float = 5.0) -> np.ndarray:
    """Return a round Gaussian on an odd, centred pixel grid.

    Parameters
    ----------
    fwhm : `float`
        Full width at half maximum, in pixels.
    n_sigma : `float`, optional
        Half width of the grid, in standard deviations.

    Returns
    -------
    kernel : `numpy.ndarray` [`float64`]
        Shape (2r+1, 2r+1), with sum 1.

    Raises
    ------
    ValueError
        Raised if ``fwhm`` is not a positive finite number.
    """
    if not (math.isfinite(fwhm) and fwhm > 0.0):
        raise ValueError(f"fwhm must be a positive number of pixels, got {fwhm!r}.")
    sigma = fwhm / SIGMA_TO_FWHM
    radius = max(1, math.ceil(n_sigma * sigma))
    offsets = np.arange(-radius, radius + 1, dtype=np.float64)
    profile = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = np.outer(profile, profile)
    return kernel / kernel.sum()


def gaussian_fwhm(kernel: np.ndarray, tolerance: float = 1e-6, max_iterations: int = 200) -> float:
    """Return the FWHM of the Gaussian that best matches a PSF.

    The second moments are taken under an elliptical Gaussian weight that is
    matched to the result itself, as Bernstein & Jarvis (2002, AJ 123, 583)
    describe, so that extended wings do not dominate.  The width returned is
    that of the round Gaussian of the same area.

    Parameters
    ----------
    kernel : `numpy.ndarray`
        Image of the PSF, shape (ny, nx), centred on its middle pixel.
    tolerance : `float`, optional
        Relative change of the moments at which to stop.
    max_iterations : `int`, optional
        Most iterations to make.

    Returns
    -------
    fwhm : `float`
        Full width at half maximum, in pixels.

    Raises
    ------
    ValueError
        Raised if the kernel has no positive, finite second moments.
    """
    kernel = np.asarray(kernel, dtype=np.float64)
    ny, nx = kernel.shape
    y, x = np.mgrid[:ny, :nx] - np.array([(ny - 1) / 2, (nx - 1) / 2]).reshape(2, 1, 1)
    covariance = np.eye(2) * max(1.0, min(ny, nx) / 8.0) ** 2
    for _ in range(max_iterations):
        inverse_weight = np.linalg.inv(_at_least_one_pixel(covariance))
        radius_squared = (
            inverse_weight[0, 0] * x * x + 2.0 * inverse_weight[0, 1] * x * y + inverse_weight[1, 1] * y * y
        )
        weighted = kernel * np.exp(-0.5 * radius_squared)
        total = weighted.sum()
        if not total > 0.0:
            raise ValueError("The PSF kernel has no positive flux; its width cannot be measured.")
        xx, xy, yy = ((weighted * term).sum() / total for term in (x * x, x * y, y * y))
        measured = np.array([[xx, xy], [xy, yy]])
        if not (np.all(np.isfinite(measured)) and np.linalg.det(measured) > 0.0 and xx > 0.0):
            raise ValueError("The PSF kernel has no positive second moments; its width cannot be measured.")
        # Inverse covariances of Gaussians add when the Gaussians multiply.
        updated = np.linalg.inv(np.linalg.inv(measured) - inverse_weight)
        if not (np.all(np.isfinite(updated)) and np.linalg.det(updated) > 0.0 and updated[0, 0] > 0.0):
            updated = 2.0 * measured
        change = np.abs(updated - covariance).max() / np.trace(updated)
        covariance = updated
        if change < tolerance:
            break
    return float(SIGMA_TO_FWHM * np.linalg.det(covariance) ** 0.25)


def _at_least_one_pixel(covariance: np.ndarray) -> np.ndarray:
    """Widen a covariance to one pixel along each axis of its ellipse.

    A narrower weight than that would see little but the middle pixel.
    """
    widths, axes = np.linalg.eigh(covariance)
    return (axes * np.maximum(widths, 1.0)) @ axes.T
