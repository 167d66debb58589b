# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""PSF kernels of L.A.Cosmic's matched filter."""

from __future__ import annotations

__all__ = ["PSF_MODELS", "psf_kernel"]

import numpy as np

PSF_MODELS = ("gauss", "gaussx", "gaussy", "moffat")
"""Shapes of the PSF."""

FWHM_OVER_SIGMA = 2.35482


def psf_kernel(model: str, fwhm: np.float32, size: int, beta: np.float32) -> np.ndarray:
    """Compute a kernel to the last bit as astroscrappy does.

    Parameters
    ----------
    model : `str`
        One of `PSF_MODELS`: a Gaussian, one in the direction of rows or of
        columns only, or a Moffat profile.
    fwhm : `numpy.float32`
        Full width at half maximum, pixels.
    size : `int`
        Side of the kernel, pixels.  With an even one the centre is off by half
        a pixel.
    beta : `numpy.float32`
        Exponent of the Moffat profile; not used for the others.

    Returns
    -------
    kernel : `numpy.ndarray`, (size, size), float32
        Kernel of sum one, turned by 180 degrees as the original does.
    """
    x = np.tile(np.arange(size) - size // 2, (size, 1))
    y = x.T.copy()
    with np.errstate(all="ignore"):
        if model == "moffat":
            r = np.sqrt(x * x + y * y)
            alpha = float(fwhm) / 2.0 / np.sqrt(np.power(2.0, 1.0 / float(beta)) - 1.0)
            profile = np.power(1.0 + r * r / alpha / alpha, -float(beta))
        else:
            r2 = {"gauss": x * x + y * y, "gaussx": x * x, "gaussy": y * y}[model]
            sigma2 = float(fwhm * fwhm) / FWHM_OVER_SIGMA / FWHM_OVER_SIGMA
            profile = np.exp(-0.5 * r2 / sigma2)
        kernel = profile.astype(np.float32)
        kernel /= kernel.sum()
    return np.ascontiguousarray(kernel[::-1, ::-1])
