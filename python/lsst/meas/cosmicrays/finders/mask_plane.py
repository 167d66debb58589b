# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mask that an image already has, as one finder among others."""

from __future__ import annotations

__all__ = ["MaskPlaneFinderConfig", "MaskPlaneFinderTask"]

from typing import ClassVar

from lsst.pex.config import Field, registerConfigurable

from ..images import WorkingImage
from .base import CosmicRayFinderConfig, CosmicRayFinderTask, Finding, cosmicRayFinderRegistry


class MaskPlaneFinderConfig(CosmicRayFinderConfig):
    """Configuration of `MaskPlaneFinderTask`."""

    plane = Field[str](
        doc="Name (as in lsst.images) of the mask plane to take.",
        default="COSMIC_RAY",
    )

    def setDefaults(self) -> None:
        super().setDefaults()
        self.badPlanes = []


@registerConfigurable("mask_plane", cosmicRayFinderRegistry)
class MaskPlaneFinderTask(CosmicRayFinderTask):
    """Take a mask plane that the image already has.

    The 2022 report's "default finder on science images" is the plane that
    single-frame processing wrote, whether or not the pixels were then
    interpolated over; difference images inherit planes in the same way.
    """

    ConfigClass: ClassVar[type[MaskPlaneFinderConfig]] = MaskPlaneFinderConfig
    _DefaultName: ClassVar[str] = "maskPlane"
    config: MaskPlaneFinderConfig

    def check(self, image: WorkingImage) -> None:
        """Accept any image that has the plane.

        Parameters
        ----------
        image : `WorkingImage`
            The image as it was read.

        Raises
        ------
        UnknownMaskPlaneError
            Raised if it does not have the plane.
        """
        image.planes[self.config.plane]

    def find(self, image: WorkingImage) -> Finding:
        bad = image.any_plane(self.config.badPlanes)
        return Finding(mask=image.planes[self.config.plane] & ~bad)
