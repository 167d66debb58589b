# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rates of cosmic rays: per megapixel, and per area and time."""

from __future__ import annotations

__all__ = ["cosmic_ray_flux", "exposed_area_time", "median_stamp_pixels", "pixels_per_megapixel"]

import math

import numpy as np
import numpy.typing as npt

_MM2_PER_CM2 = 100.0


def pixels_per_megapixel(n_pixels: float, n_usable: float) -> float:
    """Return how many pixels in a million are in a mask.

    Parameters
    ----------
    n_pixels : `float`
        Number of pixels in the mask.
    n_usable : `float`
        Number of pixels in all.

    Returns
    -------
    rate : `float`
        Pixels per megapixel, NaN if there are no pixels.
    """
    return 1e6 * n_pixels / n_usable if n_usable else math.nan


def median_stamp_pixels(n_pixels: npt.ArrayLike, *, min_pixels: int = 1) -> float:
    """Return the median number of cosmic-ray pixels of a stamp that has any.

    Parameters
    ----------
    n_pixels : array-like
        Number of cosmic-ray pixels in each stamp; negative if unknown.
    min_pixels : `int`, optional
        The threshold L: a stamp is a cosmic ray from this number on.

    Returns
    -------
    median : `float`
        Median over the stamps that are cosmic rays, NaN if none is.
    """
    n = np.asarray(n_pixels)
    cosmic_rays = n[n >= min_pixels]
    return float(np.median(cosmic_rays)) if cosmic_rays.size else math.nan


def exposed_area_time(n_pixels: float, pixel_size: float, exposure_time: float) -> float:
    """Return the product of area and exposure time.

    Parameters
    ----------
    n_pixels : `float`
        Number of pixels.
    pixel_size : `float`
        Width of a pixel, mm.
    exposure_time : `float`
        Exposure time, s.

    Returns
    -------
    area_time : `float`
        Area times time, cm^2 s.
    """
    return n_pixels * pixel_size**2 / _MM2_PER_CM2 * exposure_time


def cosmic_ray_flux(n_pixels: float, median_pixels: float, area_time: float) -> float:
    """Return the flux of cosmic rays.

    Parameters
    ----------
    n_pixels : `float`
        Number of cosmic-ray pixels.
    median_pixels : `float`
        Median number of cosmic-ray pixels of a stamp that is a cosmic ray,
        taken for the size of one.
    area_time : `float`
        Exposed area times exposure time, cm^2 s.

    Returns
    -------
    flux : `float`
        j = (``n_pixels`` / ``median_pixels``) / ``area_time``, cosmic rays
        per cm^2 and s; NaN where any of them is unknown or 0.

    Notes
    -----
    Section 2.1.3 of Mrakovčić & Ivezić (2022), *Investigation of Algorithms
    for Detecting Cosmic Rays*.
    """
    if not (median_pixels > 0 and area_time > 0):
        return math.nan
    return n_pixels / median_pixels / area_time
