# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two images of a subtraction, as arrays."""

from __future__ import annotations

__all__ = ["FilledImage", "MatchingImage", "NoOverlapError", "PsfSample", "fill_gaps", "typical_variance"]

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..psf import gaussian_fwhm


class NoOverlapError(RuntimeError):
    """Raised when no pixel is usable in both images."""


@dataclasses.dataclass(frozen=True)
class PsfSample:
    """The PSF of an image at one position."""

    y: float
    """Array index along y."""

    x: float
    """Array index along x."""

    kernel: np.ndarray
    """The PSF, centred, odd-sized, with sum 1."""


@dataclasses.dataclass(frozen=True)
class MatchingImage:
    """An image that is to be matched to another."""

    image: np.ndarray
    """Pixel values (float32, (ny, nx)); they need not be finite."""

    variance: np.ndarray
    """Variance (float32, (ny, nx)); it need not be finite."""

    unusable: np.ndarray
    """Pixels whose values say nothing about the sky (bool, (ny, nx))."""

    no_data: np.ndarray
    """Pixels that were not observed (bool, (ny, nx))."""

    psf: Sequence[PsfSample]
    """The PSF at one or more positions."""

    def fwhm(self) -> float:
        """Return the FWHM of the PSF.

        Returns
        -------
        fwhm : `float`
            Median over the positions, in pixels.
        """
        return float(np.median([gaussian_fwhm(sample.kernel) for sample in self.psf]))

    def missing(self) -> np.ndarray:
        """Return which pixels have no value or no variance.

        Returns
        -------
        missing : `numpy.ndarray` [`bool`], (ny, nx)
            True where not observed, where value or variance is not finite,
            or the latter not positive.
        """
        return self.no_data | ~(np.isfinite(self.image) & np.isfinite(self.variance) & (self.variance > 0.0))


@dataclasses.dataclass(frozen=True)
class FilledImage:
    """An image without gaps, relative to its sky."""

    image: np.ndarray
    """Pixel values, zero where missing (float32, (ny, nx))."""

    variance: np.ndarray
    """Variance, that of the sky where missing (float32, (ny, nx))."""

    unusable: np.ndarray
    """Pixels whose values say nothing about the sky (bool, (ny, nx))."""

    missing: np.ndarray
    """Pixels that were filled in (bool, (ny, nx))."""

    psf: Sequence[PsfSample]
    """The PSF at one or more positions."""


def fill_gaps(source: MatchingImage, label: str) -> FilledImage:
    """Take the median of an image away, and fill what is missing.

    Parameters
    ----------
    source : `MatchingImage`
        The image.
    label : `str`
        What to call it in an error.

    Returns
    -------
    filled : `FilledImage`
        New arrays.

    Raises
    ------
    NoOverlapError
        Raised if no pixel is usable.
    """
    missing = source.missing()
    unusable = source.unusable | missing
    if unusable.all():
        raise NoOverlapError(f"Every pixel of the {label} is masked, or without a value.")
    sky = np.float32(np.median(source.image[~unusable]))
    noise = np.float32(typical_variance(source.variance, unusable))
    return FilledImage(
        image=np.where(missing, np.float32(0.0), source.image - sky),
        variance=np.where(missing, noise, source.variance),
        unusable=unusable,
        missing=missing,
        psf=source.psf,
    )


def typical_variance(variance: np.ndarray, masked: np.ndarray) -> float:
    """Return the median variance where nothing is masked, if anywhere.

    Parameters
    ----------
    variance : `numpy.ndarray`, (ny, nx)
        Variance plane.
    masked : `numpy.ndarray` [`bool`], (ny, nx)
        Pixels to leave out, unless they are all.

    Returns
    -------
    typical : `float`
        The median.
    """
    usable = variance[~masked]
    return float(np.median(usable if len(usable) else variance))
