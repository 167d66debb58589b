# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The basis of Alard & Lupton for PSF-matching kernels."""

from __future__ import annotations

__all__ = ["alard_lupton_basis", "basis_widths"]

import math
from collections.abc import Sequence

import numpy as np

from ..psf import SIGMA_TO_FWHM

_NARROWEST = 0.7
_RATIO = 2.0
_SIZE_IN_WIDTHS = 3.0
_HALF_WIDTHS = (10, 17)


def basis_widths(narrow_fwhm: float, wide_fwhm: float, n_gaussian: int = 3) -> tuple[list[float], int]:
    """Choose the Gaussians for matching one PSF to another.

    Widths grow by a factor of two, and are centred on the one that takes
    one Gaussian PSF to the other, as in ``ip_diffim``; so is the size.

    Parameters
    ----------
    narrow_fwhm : `float`
        FWHM of the image to be convolved, in pixels.
    wide_fwhm : `float`
        FWHM that it should get, in pixels.
    n_gaussian : `int`, optional
        Number of Gaussians.

    Returns
    -------
    sigmas : `list` [`float`]
        Standard deviations of the Gaussians, in pixels.
    half_width : `int`
        Pixels from the centre of the kernel to its edge.
    """
    matching = math.sqrt(max(wide_fwhm**2 - narrow_fwhm**2, 0.0)) / SIGMA_TO_FWHM
    first = max(_NARROWEST, matching / _RATIO)
    sigmas = [first * _RATIO**i for i in range(n_gaussian)]
    half_width = math.ceil(_SIZE_IN_WIDTHS * sigmas[-1])
    return sigmas, min(max(half_width, _HALF_WIDTHS[0]), _HALF_WIDTHS[1])


def alard_lupton_basis(sigmas: Sequence[float], degrees: Sequence[int], half_width: int) -> np.ndarray:
    """Build Gaussians times polynomials on a pixel grid.

    Only the first has a sum, of 1: the photometric scale of the kernel is its
    coefficient alone (Alard 2000, A&AS 144, 363).

    Parameters
    ----------
    sigmas : `~collections.abc.Sequence` [`float`]
        Standard deviations of the Gaussians, in pixels.
    degrees : `~collections.abc.Sequence` [`int`]
        Highest degree of the polynomial with each.
    half_width : `int`
        Pixels from the centre of the kernel to its edge.

    Returns
    -------
    basis : `numpy.ndarray` [`float64`], (n_basis, size, size)
        Basis kernels, with size = 2 half_width + 1.

    Raises
    ------
    ValueError
        Raised if there are not as many degrees as Gaussians.
    """
    offsets = np.arange(-half_width, half_width + 1, dtype=np.float64)
    basis: list[np.ndarray] = []
    for sigma, degree in zip(sigmas, degrees, strict=True):
        gaussian = np.exp(-0.5 * (offsets / sigma) ** 2)
        profiles = [gaussian * (offsets / sigma) ** power for power in range(degree + 1)]
        for y_power in range(degree + 1):
            for x_power in range(degree + 1 - y_power):
                basis.append(_normalise(np.outer(profiles[y_power], profiles[x_power]), basis))
    return np.stack(basis)


def _normalise(kernel: np.ndarray, basis: list[np.ndarray]) -> np.ndarray:
    """Give the first kernel the sum 1, others the sum 0 and unit power."""
    if not basis:
        return kernel / kernel.sum()
    without_sum = kernel - kernel.sum() * basis[0]
    return without_sum / math.sqrt(np.square(without_sum).sum())
