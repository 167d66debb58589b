# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Interpolate over the cosmic rays that a detection has."""

from __future__ import annotations

__all__ = [
    "InterpolateCosmicRaysConfig",
    "InterpolateCosmicRaysConnections",
    "InterpolateCosmicRaysTask",
]

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lsst.pex.config import ChoiceField, ConfigField, Field, ListField
from lsst.pipe.base import NoWorkFound, PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct
from lsst.pipe.base.connectionTypes import Input, Output

from ..comparison import dilate
from ..engines.interpolation import NothingToInterpolateFromError, fill_holes
from ..images import UnknownMaskPlaneError, WorkingImageConfig, read_image, read_mask
from .bounds import check_bounds
from .connections import DETECTOR

COSMIC_RAY, INTERPOLATED = "COSMIC_RAY", "INTERPOLATED"
AFW_PLANES = {COSMIC_RAY: "CR", INTERPOLATED: "INTRP"}


class InterpolateCosmicRaysConnections(
    PipelineTaskConnections, dimensions=DETECTOR, defaultTemplates={"detection": "morphological_science"}
):
    """Connections of `InterpolateCosmicRaysTask`."""

    image = Input(
        doc="Science image with its cosmic rays.",
        name="visit_image",
        storageClass="VisitImage",
        dimensions=DETECTOR,
    )
    cosmicRays = Input(
        doc="Cosmic rays to interpolate over.",
        name="cr_mask_{detection}",
        storageClass="MaskV2",
        dimensions=DETECTOR,
    )
    interpolatedImage = Output(
        doc="The image with its cosmic rays interpolated over.",
        name="visit_image_interpolated",
        storageClass="VisitImage",
        dimensions=DETECTOR,
    )

    def __init__(self, *, config: InterpolateCosmicRaysConfig):
        super().__init__(config=config)
        for name in ("image", "interpolatedImage"):
            replaced = dataclasses.replace(getattr(self, name), storageClass=config.imageStorageClass)
            setattr(self, name, replaced)


class InterpolateCosmicRaysConfig(PipelineTaskConfig, pipelineConnections=InterpolateCosmicRaysConnections):
    """Configuration of `InterpolateCosmicRaysTask`."""

    method = ChoiceField[str](
        doc="What replaces the pixels of cosmic rays.",
        default="linear_prediction",
        optional=False,
        allowed={
            "linear_prediction": "Linear prediction from two good pixels on each side, in up to four "
            "directions, as lsst.meas.algorithms means to do; where there are none, as neighbors.",
            "neighbors": "The smooth surface that joins the good pixels around; the level of the sky where "
            "there are none.",
            "sky": "The level of the sky and the noise of the pixel, as lsst.meas.algorithms does in effect.",
        },
    )
    doDebias = Field[bool](
        doc="Where there was a choice of predictions, of which the smallest is taken: add what the smaller "
        "of two is too small by?",
        default=True,
    )
    growPixels = Field[int](
        doc="By how many pixels to grow cosmic rays before they are interpolated over: what is left of their "
        "charge is mostly on their rims.",
        default=0,
        check=lambda value: value >= 0,
    )
    unusablePlanes = ListField[str](
        doc="Mask planes from whose pixels nothing is taken.  Every one must exist in the image.",
        default=["BAD", "SATURATED", INTERPOLATED, "NO_DATA"],
    )
    seed = Field[int](doc="Seed of the noise of method sky.", default=2022, check=lambda value: value >= 0)
    imageStorageClass = Field[str](
        doc="Storage class of the image, read and written: VisitImage or ExposureF.", default="VisitImage"
    )
    reading = ConfigField[WorkingImageConfig](doc="What to assume where the image does not say.")

    def setDefaults(self) -> None:
        super().setDefaults()
        # Pixels are filled as they are stored, and the PSF does not matter.
        self.reading.electronsPerUnit = 1.0
        self.reading.psfFwhm = 4.0


class InterpolateCosmicRaysTask(PipelineTask):
    """Replace the pixels of cosmic rays by what is around them."""

    ConfigClass: ClassVar[type[InterpolateCosmicRaysConfig]] = InterpolateCosmicRaysConfig
    _DefaultName: ClassVar[str] = "interpolateCosmicRays"
    config: InterpolateCosmicRaysConfig

    def run(self, image: Any, cosmicRays: Any) -> Struct:
        """Interpolate over cosmic rays, on a copy of an image.

        Parameters
        ----------
        image : `lsst.images.MaskedImage` or `lsst.afw.image.Exposure`
            The image, in any unit; it is not changed.
        cosmicRays : `lsst.images.Mask`
            Cosmic rays in it.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``interpolatedImage``, of the type of the image.  Its plane
            COSMIC_RAY has these cosmic rays and no others, INTERPOLATED has
            what was interpolated over besides what it had.  Other planes,
            the variance and all else are as they were.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            Raised if no pixel is left to interpolate from.
        lsst.meas.cosmicrays.tasks.BoundsError
            Raised if the mask covers other pixels than the image.
        lsst.meas.cosmicrays.images.UnknownMaskPlaneError
            Raised if the image lacks a mask plane of the config, or one in
            which the result would be marked.
        """
        working = read_image(image, self.config.reading)
        check_bounds(working.bbox, {"mask of cosmic rays": cosmicRays})
        cosmic_rays = read_mask(cosmicRays)
        holes = cosmic_rays
        for _ in range(self.config.growPixels):
            holes = dilate(holes)
        try:
            filling = fill_holes(
                working.image,
                working.variance,
                holes,
                working.any_plane(self.config.unusablePlanes),
                method=self.config.method,
                debias=self.config.doDebias,
                seed=self.config.seed,
            )
        except NothingToInterpolateFromError as error:
            raise NoWorkFound(str(error)) from error
        for name in ("n_predicted", "n_joined", "n_sky"):
            self.metadata[name] = getattr(filling, name)
        self.log.info(
            "Interpolated over %d pixels of cosmic rays: %d predicted, %d joined, %d of the sky.",
            filling.values.size,
            filling.n_predicted,
            filling.n_joined,
            filling.n_sky,
        )
        return Struct(interpolatedImage=_replace_pixels(image, cosmic_rays, holes, filling.values))


def _replace_pixels(image: Any, cosmic_rays: np.ndarray, holes: np.ndarray, values: np.ndarray) -> Any:
    """Return a copy of an image with new pixels, and marks on them."""
    copy = image.clone() if hasattr(image, "clone") else image.copy()
    masked_image = copy.getMaskedImage() if hasattr(copy, "getMaskedImage") else copy
    masked_image.image.array[holes] = values
    mark = _mark_afw if hasattr(masked_image.mask, "getPlaneBitMask") else _mark
    mark(masked_image.mask, {COSMIC_RAY: cosmic_rays, INTERPOLATED: holes})
    return copy


def _mark(mask: Any, planes: Mapping[str, np.ndarray]) -> None:
    missing = sorted(set(planes) - set(mask.schema.names))
    if missing:
        raise UnknownMaskPlaneError(
            f"The image has no mask plane {', '.join(missing)} in which to mark what was interpolated; it "
            f"has {', '.join(sorted(mask.schema.names)) or 'none'}."
        )
    mask.clear(COSMIC_RAY)
    for name, plane in planes.items():
        mask.set(name, plane)


def _mark_afw(mask: Any, planes: Mapping[str, np.ndarray]) -> None:
    for name in planes:
        mask.addMaskPlane(AFW_PLANES[name])
    mask.array[...] &= ~mask.getPlaneBitMask(AFW_PLANES[COSMIC_RAY])
    for name, plane in planes.items():
        mask.array[plane] |= mask.getPlaneBitMask(AFW_PLANES[name])
