# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading what `lsst.afw.image` wrote, without afw.

Mask planes are named by keywords that begin with ``MP_``.  Detector, filter
and PSF are in tables behind the images, which the ``ARCHIVE_INDEX`` table
lists; simple ones among them can be read as what they are: tables.
"""

from __future__ import annotations

__all__ = ("archive_header", "mask_planes")

import numpy as np
from astropy.io import fits

from lsst.images import (
    MaskPlane,
    get_legacy_difference_image_mask_planes,
    get_legacy_optional_mask_planes,
    get_legacy_template_mask_planes,
)

from ..engines.psf import gaussian_fwhm, gaussian_kernel
from .errors import IngestError

_SIGMA_TO_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))


def mask_planes(array: np.ndarray, header: fits.Header) -> dict[str, np.ndarray]:
    """Split a mask into its planes.

    Parameters
    ----------
    array
        Integers, bit 2**n for plane n; shape (ny, nx).
    header
        Header with ``MP_NAME = n`` for each plane.

    Returns
    -------
    planes : `dict` [`str`, `numpy.ndarray`]
        Planes that are not empty, `bool` of shape (ny, nx), by their
        `lsst.images` names.

    Raises
    ------
    IngestError
        Raised if the header names no planes.
    """
    bits = MaskPlane.read_legacy(header, strip=False)
    if not bits:
        raise IngestError("names no mask planes; an afw mask has MP_ keywords", keyword="MP_*")
    renamed = {
        **get_legacy_template_mask_planes(),
        **get_legacy_difference_image_mask_planes(),
        **get_legacy_optional_mask_planes(),
    }
    planes = {}
    for name, bit in bits.items():
        plane = (array >> int(bit)) & 1 == 1
        if plane.any():
            planes[renamed[name].name if name in renamed else name] = plane
    return planes


def archive_header(hdus: fits.HDUList) -> fits.Header:
    """Gather what the tables of an exposure say as header keywords.

    Parameters
    ----------
    hdus
        The open file.

    Returns
    -------
    header : `astropy.io.fits.Header`
        ``AFW GAIN`` and ``AFW RDNOISE`` (mean of the amplifiers), ``AFW
        DETECTOR``, ``AFW PIXELSIZE`` (mm), ``AFW FILTER``, ``AFW BAND`` and
        ``AFW FWHM`` (pixels; of Gaussian PSFs only), as far as there are
        such tables.
    """
    found: dict[str, float | str] = {}
    for hdu in hdus:
        if not isinstance(hdu, fits.BinTableHDU) or len(hdu.data) == 0:
            continue
        names, rows = set(hdu.columns.names), hdu.data
        if {"gain", "readnoise"} <= names:
            found["GAIN"] = float(np.mean(rows["gain"]))
            found["RDNOISE"] = float(np.mean(rows["readnoise"]))
        elif {"pixelSize_x", "id"} <= names:
            found["DETECTOR"] = int(rows["id"][0])
            found["PIXELSIZE"] = float(rows["pixelSize_x"][0])
        elif {"band", "physical"} <= names:
            found["FILTER"] = str(rows["physical"][0])
            found["BAND"] = str(rows["band"][0])
        elif {"sigma", "dimensions_x"} <= names:
            found["FWHM"] = float(rows["sigma"][0] * _SIGMA_TO_FWHM)
        elif {"sigma1", "sigma2", "b"} <= names:
            sigma1, sigma2, ratio = (float(rows[name][0]) for name in ("sigma1", "sigma2", "b"))
            found["FWHM"] = _double_gaussian_fwhm(sigma1, sigma2, ratio)
    header = fits.Header()
    for name, value in found.items():
        if value != "":
            header[f"HIERARCH AFW {name}"] = value
    return header


def _double_gaussian_fwhm(sigma1: float, sigma2: float, ratio: float) -> float:
    """Return the FWHM of a sum of Gaussians with a given peak ratio."""
    inner, outer = (gaussian_kernel(sigma * _SIGMA_TO_FWHM) for sigma in (sigma1, sigma2))
    size = max(inner.shape[0], outer.shape[0])
    inner, outer = (np.pad(kernel, (size - kernel.shape[0]) // 2) for kernel in (inner, outer))
    return gaussian_fwhm(inner / inner.max() + ratio * outer / outer.max())
