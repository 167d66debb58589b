# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Between `lsst.images` objects and the arrays of a subtraction."""

from __future__ import annotations

__all__ = ["grid_offset", "make_detection_mask", "make_difference_image", "read_matching_image"]

import contextlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lsst.images import (
    Box,
    DifferenceImage,
    Image,
    Mask,
    MaskedImage,
    MaskPlane,
    MaskSchema,
    NoOverlapError,
    VisitImage,
    get_legacy_difference_image_mask_planes,
    get_legacy_optional_mask_planes,
)
from lsst.images.convolution_kernels import ImageBasisConvolutionKernel
from lsst.images.fields import ChebyshevField
from lsst.images.psfs import GaussianPointSpreadFunction, PointSpreadFunction

from ..engines.difference_imaging.matching_image import MatchingImage, PsfSample
from ..engines.difference_imaging.spatial_kernel import SpatialKernel, chebyshev_degrees
from ..engines.difference_imaging.subtraction import Subtraction
from ..engines.psf import SIGMA_TO_FWHM
from ..images import MaskPlanes, WorkingImage, WorkingImageConfig, read_image

_N_PSF_SAMPLE = 5


def read_matching_image(
    source: MaskedImage, config: WorkingImageConfig, bbox: Box, unusable_planes: Iterable[str]
) -> tuple[MatchingImage, Mapping[str, np.ndarray]]:
    """Turn an image into what a subtraction needs.

    Parameters
    ----------
    source : `lsst.images.MaskedImage`
        Science image or template.
    config : `~lsst.meas.cosmicrays.images.WorkingImageConfig`
        What to assume where the image does not say.
    bbox : `lsst.images.Box`
        Pixels that are wanted; those that the image does not have are
        without data.
    unusable_planes : `~collections.abc.Iterable` [`str`]
        Mask planes whose pixels say nothing about the sky.  Those that the
        image does not have are passed over.

    Returns
    -------
    image : `~.engines.difference_imaging.MatchingImage`
        Arrays of the shape of ``bbox``.
    planes : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        All mask planes, likewise (bool, (ny, nx)), each made when asked for.

    Raises
    ------
    ImageReadError
        Raised if there is no PSF, and none is configured.
    """
    working = read_image(source, config)
    place = _Placement(working.bbox, bbox)
    planes = MaskPlanes(working.planes, lambda name: place.put(working.planes[name], False))
    no_data = place.outside()
    if "NO_DATA" in planes:
        no_data |= planes["NO_DATA"]
    unusable = no_data.copy()
    for name in unusable_planes:
        if name in planes:
            unusable |= planes[name]
    image = MatchingImage(
        image=place.put(working.image, np.nan),
        variance=place.put(working.variance, np.nan),
        unusable=unusable,
        no_data=no_data,
        psf=_sample_psf(source, working, bbox),
    )
    return image, planes


class _Placement:
    """Where the pixels of one box are in another."""

    def __init__(self, source: Box, target: Box) -> None:
        self.shape = target.shape
        self.same = source == target
        self.from_slices: tuple[slice, ...] = (slice(0), slice(0))
        self.to_slices: tuple[slice, ...] = (slice(0), slice(0))
        with contextlib.suppress(NoOverlapError):
            common = source.intersection(target)
            self.from_slices = tuple(common.slice_within(source))
            self.to_slices = tuple(common.slice_within(target))

    def put(self, array: np.ndarray, fill: float | bool) -> np.ndarray:
        """Cut and pad an array."""
        if self.same:
            return array
        result = np.full(self.shape, fill, dtype=array.dtype)
        result[self.to_slices] = array[self.from_slices]
        return result

    def outside(self) -> np.ndarray:
        """Return the pixels that the source does not have."""
        outside = np.ones(self.shape, dtype=bool)
        outside[self.to_slices] = False
        return outside


def _sample_psf(source: MaskedImage, working: WorkingImage, bbox: Box) -> list[PsfSample]:
    """Evaluate the PSF on a grid, or take the one that was read."""
    samples = []
    try:
        assert isinstance(source, VisitImage)
        for y in np.linspace(bbox.y.min, bbox.y.max, _N_PSF_SAMPLE):
            for x in np.linspace(bbox.x.min, bbox.x.max, _N_PSF_SAMPLE):
                kernel = source.psf.compute_kernel_image(x=x, y=y).array
                total = kernel.sum()
                if not (math.isfinite(total) and total > 0.0):
                    raise ValueError("the PSF has no flux")
                samples.append(PsfSample(y - bbox.y.min, x - bbox.x.min, kernel / total))
    except Exception:  # PSF models raise anything; read_image has warned.
        ny, nx = bbox.shape
        return [PsfSample((ny - 1) / 2.0, (nx - 1) / 2.0, working.psf_kernel)]
    return samples


def grid_offset(one: MaskedImage, other: MaskedImage) -> float | None:
    """Return how far apart the pixel grids of two images are on the sky.

    Parameters
    ----------
    one, other : `lsst.images.MaskedImage`
        The images.

    Returns
    -------
    offset : `float` or `None`
        Largest distance at the corners of the first, in its pixels; `None`
        if one of them has no projection.
    """
    if one.sky_projection is None or other.sky_projection is None:
        return None
    box = one.bbox
    x = np.array([box.x.min, box.x.min, box.x.max, box.x.max], dtype=np.float64)
    y = np.array([box.y.min, box.y.max, box.y.min, box.y.max], dtype=np.float64)
    back = one.sky_projection.sky_to_pixel(other.sky_projection.pixel_to_sky(x=x, y=y))
    return float(np.hypot(back.x - x, back.y - y).max())


def make_difference_image(
    science: VisitImage,
    subtraction: Subtraction,
    planes: Mapping[str, np.ndarray],
    metadata: Mapping[str, Any],
) -> DifferenceImage:
    """Make a difference image with everything that the science image knows.

    Parameters
    ----------
    science : `lsst.images.VisitImage`
        The science image.
    subtraction : `~.engines.difference_imaging.Subtraction`
        The difference, in the unit of the science image.
    planes : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Its mask planes (bool, (ny, nx)).
    metadata : `~collections.abc.Mapping`
        What to add to the metadata of the science image.

    Returns
    -------
    difference : `lsst.images.DifferenceImage`
        The difference image.  If the science image was convolved, its PSF is
        a Gaussian of the width that a point source has on the difference;
        else it is that of the science image.
    """
    bbox = science.bbox
    return DifferenceImage(
        Image(subtraction.difference, bbox=bbox, unit=science.unit),
        mask=_make_mask(planes, bbox, science.mask.schema),
        variance=Image(subtraction.variance, bbox=bbox, unit=science.unit**2),
        sky_projection=science.sky_projection,
        bounds=science.bounds,
        obs_info=science.obs_info,
        summary_stats=science.summary_stats,
        photometric_scaling=science.photometric_scaling,
        psf=_difference_psf(science, subtraction),
        detector=science.detector,
        aperture_corrections=science.aperture_corrections,
        backgrounds=science.backgrounds,
        band=science.band,
        kernel=_convolution_kernel(subtraction.solution.kernel, bbox),
        metadata=dict(science.metadata) | dict(metadata),
    )


def _difference_psf(science: VisitImage, subtraction: Subtraction) -> PointSpreadFunction:
    """Choose a PSF that can be written."""
    bbox = science.bbox
    if subtraction.template_convolved:
        try:
            psf = science.psf
            psf.compute_kernel_image(x=(bbox.x.min + bbox.x.max) / 2, y=(bbox.y.min + bbox.y.max) / 2)
            return psf
        except Exception:  # The reading of the image has warned.
            pass
    sigma = subtraction.psf_fwhm / SIGMA_TO_FWHM
    return GaussianPointSpreadFunction(sigma=sigma, bounds=bbox, stamp_size=2 * math.ceil(5.0 * sigma) + 1)


def _convolution_kernel(kernel: SpatialKernel, bbox: Box) -> ImageBasisConvolutionKernel:
    """Express a kernel by the polynomial that each coefficient goes with."""
    fields = []
    for p, q in chebyshev_degrees(kernel.order):
        coefficients = np.zeros((kernel.order + 1, kernel.order + 1))
        coefficients[p, q] = 1.0
        fields.append(ChebyshevField(bbox, coefficients))
    return ImageBasisConvolutionKernel(kernel.terms, fields)


def make_detection_mask(detected: np.ndarray, detected_negative: np.ndarray, bbox: Box) -> Mask:
    """Make a mask of what was detected.

    Parameters
    ----------
    detected, detected_negative : `numpy.ndarray` [`bool`], (ny, nx)
        Footprints of positive and negative detections.
    bbox : `lsst.images.Box`
        Where those pixels are.

    Returns
    -------
    mask : `lsst.images.Mask`
        With the planes DETECTED and DETECTED_NEGATIVE.
    """
    planes = {"DETECTED": detected, "DETECTED_NEGATIVE": detected_negative}
    return _make_mask(planes, bbox, MaskSchema([]))


def _make_mask(planes: Mapping[str, np.ndarray], bbox: Box, schema: MaskSchema) -> Mask:
    """Make a mask of planes that the schema describes, or LSST does."""
    known = get_legacy_difference_image_mask_planes() | get_legacy_optional_mask_planes()
    descriptions = {plane.name: plane.description for plane in known.values()} | dict(schema.descriptions)
    described = [MaskPlane(name, descriptions.get(name, "Plane of an input image.")) for name in planes]
    mask = Mask(0, schema=MaskSchema(described), bbox=bbox)
    for name, plane in planes.items():
        mask.set(name, plane)
    return mask
