# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Undoing the correlation of noise that PSF matching brings."""

from __future__ import annotations

__all__ = ["Decorrelation", "decorrelate_kernel"]

import dataclasses

import numpy as np
import scipy.fft

from .spatial_kernel import SpatialKernel

_N_NODE = 5
_ORDER = 2
_FFT_SIZE = 128


@dataclasses.dataclass(frozen=True)
class Decorrelation:
    """What whitens a difference image and how noise comes through."""

    kernel: SpatialKernel
    """Kernel to convolve the difference image with."""

    variance_of_convolved: SpatialKernel
    """Kernel by which the variance of the image that was convolved, as it
    was before, comes into the variance of the result.
    """

    variance_of_target: SpatialKernel
    """The same for the image that was not convolved."""


def decorrelate_kernel(
    matching: SpatialKernel,
    variance_convolved: float,
    variance_target: float,
    *,
    half_width: int,
    enabled: bool = True,
) -> Decorrelation:
    """Find the kernel that whitens target - matching * convolved.

    In Fourier space the kernel is sqrt((vt + vc k(0)^2) / (vt + vc |k|^2)),
    as in DMTN-021 and ``ip_diffim``, here as a function of position.  With
    it the difference is the proper difference image of Zackay, Ofek &
    Gal-Yam (2016, ApJ 830, 27), whichever image was convolved.

    Parameters
    ----------
    matching : `SpatialKernel`
        Matching kernel k.
    variance_convolved, variance_target : `float`
        Typical variances vc and vt of the two images.
    half_width : `int`
        Half width of the resulting kernel; what lies beyond is cut.
    enabled : `bool`, optional
        If false, the kernel is a single pixel, and only the variances are
        worked out.

    Returns
    -------
    decorrelation : `Decorrelation`
        Kernels, varying over the image of ``matching``.
    """
    ny, nx = matching.shape
    y, x = (grid.ravel() for grid in np.meshgrid(_nodes(ny), _nodes(nx), indexing="ij"))
    kernels, of_convolved, of_target = [], [], []
    for node_y, node_x in zip(y, x, strict=True):
        matching_here = matching.at(node_y, node_x)
        transform = scipy.fft.fft2(_centre_at_origin(matching_here))
        whitening = np.ones(transform.shape)
        if enabled:
            power = np.square(np.abs(transform))
            whitening = np.sqrt(
                (variance_target + variance_convolved * power[0, 0])
                / (variance_target + variance_convolved * power)
            )
        kernel = _crop(scipy.fft.ifft2(whitening).real, half_width)
        kernel /= kernel.sum()
        kernels.append(kernel)
        of_target.append(np.square(kernel))
        combined = scipy.fft.ifft2(scipy.fft.fft2(_centre_at_origin(kernel)) * transform).real
        of_convolved.append(np.square(_crop(combined, half_width + matching.half_width)))
    fits = [
        SpatialKernel.fit(np.stack(stack), y, x, _ORDER, matching.shape)
        for stack in (kernels, of_convolved, of_target)
    ]
    return Decorrelation(*fits)


def _nodes(size: int) -> np.ndarray:
    """Return positions spread over an axis, from edge to edge."""
    return np.linspace(0.0, size - 1.0, _N_NODE)


def _centre_at_origin(kernel: np.ndarray) -> np.ndarray:
    """Pad a kernel for a Fourier transform, its middle at (0, 0)."""
    half = kernel.shape[0] // 2
    padded = np.zeros((_FFT_SIZE, _FFT_SIZE))
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    return np.roll(padded, (-half, -half), axis=(0, 1))


def _crop(periodic: np.ndarray, half_width: int) -> np.ndarray:
    """Return the part around (0, 0) of a periodic array, centred."""
    rolled = np.roll(periodic, (half_width, half_width), axis=(0, 1))
    return rolled[: 2 * half_width + 1, : 2 * half_width + 1].copy()
