# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Truth masks from the charge that cosmic rays left in each pixel."""

from __future__ import annotations

__all__ = ["TRUTH_SIGMAS", "noise_without_charge", "truth_from_charge"]

import numpy as np
import numpy.typing as npt

TRUTH_SIGMAS = (2.0, 1.0, 3.0, 5.0)
"""Thresholds of truth, in units of the noise; the first is the default."""


def noise_without_charge(
    charge: npt.NDArray[np.floating], variance: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Return the noise that pixels would have without cosmic rays.

    Parameters
    ----------
    charge : `numpy.ndarray`
        Charge of cosmic rays in each pixel, electrons, shape ``(ny, nx)``.
    variance : `numpy.ndarray`
        Variance of each pixel, electrons^2, shape ``(ny, nx)``, with the
        Poisson noise of the charge in it.

    Returns
    -------
    noise : `numpy.ndarray`
        Square root of the variance less the Poisson variance of the charge
        (as many electrons^2 as there are electrons), float64, shape
        ``(ny, nx)``. It is 0 where the charge is more than the variance,
        and NaN where the variance is.
    """
    remainder = np.asarray(variance, dtype=np.float64) - np.maximum(charge, 0.0)
    return np.sqrt(np.maximum(remainder, 0.0))


def truth_from_charge(
    charge: npt.NDArray[np.floating], variance: npt.NDArray[np.floating], min_sigma: float
) -> npt.NDArray[np.bool_]:
    """Return the pixels in which cosmic rays stand out of the noise.

    Parameters
    ----------
    charge : `numpy.ndarray`
        Charge of cosmic rays in each pixel, electrons, shape ``(ny, nx)``.
    variance : `numpy.ndarray`
        Variance of each pixel, electrons^2, shape ``(ny, nx)``, with the
        Poisson noise of the charge in it.
    min_sigma : `float`
        Least charge, in units of the noise of the pixel without cosmic
        rays.

    Returns
    -------
    truth : `numpy.ndarray`
        Bool array ``(ny, nx)``: `True` where there is charge, and at least
        ``min_sigma`` times the noise.

    Raises
    ------
    ValueError
        Raised if the two arrays differ in shape.
    """
    if charge.shape != variance.shape:
        raise ValueError(f"The charge has shape {charge.shape}, but the variance has {variance.shape}.")
    truth = np.zeros(charge.shape, dtype=bool)
    hit = charge > 0
    truth[hit] = charge[hit] >= min_sigma * noise_without_charge(charge[hit], variance[hit])
    return truth
