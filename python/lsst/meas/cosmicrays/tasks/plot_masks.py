# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draw the masks of two detections over their image."""

from __future__ import annotations

__all__ = ["PlotMasksConfig", "PlotMasksConnections", "PlotMasksTask"]

import dataclasses
from typing import Any, ClassVar

from lsst.pex.config import ConfigField, Field
from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct
from lsst.pipe.base.connectionTypes import Input

from ..images import WorkingImageConfig, read_image, read_mask
from ..report.figures import plot_mask_pair
from .connections import DETECTOR, plot_output


class PlotMasksConnections(
    PipelineTaskConnections,
    dimensions=DETECTOR,
    defaultTemplates={"first": "morphological_science", "second": "astroscrappy_science"},
):
    """Connections of `PlotMasksTask`."""

    image = Input(
        doc="Image to draw.",
        name="visit_image",
        storageClass="VisitImage",
        dimensions=DETECTOR,
    )
    firstMask = Input(
        doc="Cosmic rays of the first detection.",
        name="cr_mask_{first}",
        storageClass="MaskV2",
        dimensions=DETECTOR,
    )
    secondMask = Input(
        doc="Cosmic rays of the second detection.",
        name="cr_mask_{second}",
        storageClass="MaskV2",
        dimensions=DETECTOR,
    )
    plot = plot_output("cr_plot_masks_{first}_{second}", "Both masks, over the detector and close up.")

    def __init__(self, *, config: PlotMasksConfig):
        super().__init__(config=config)
        self.image = dataclasses.replace(self.image, storageClass=config.imageStorageClass)


class PlotMasksConfig(PipelineTaskConfig, pipelineConnections=PlotMasksConnections):
    """Configuration of `PlotMasksTask`."""

    imageStorageClass = Field[str](doc="Storage class of the image.", default="VisitImage")
    reading = ConfigField[WorkingImageConfig](doc="What to assume where the image does not say.")
    zoomSide = Field[int](doc="Side of the close-up (pixels).", default=100, check=lambda value: value >= 10)


class PlotMasksTask(PipelineTask):
    """Draw where two detections agree, and where they do not."""

    ConfigClass: ClassVar[type[PlotMasksConfig]] = PlotMasksConfig
    _DefaultName: ClassVar[str] = "plotMasks"
    config: PlotMasksConfig

    def run(self, image: Any, firstMask: Any, secondMask: Any) -> Struct:
        """Draw the figure.

        Parameters
        ----------
        image : `lsst.images.MaskedImage` or `lsst.afw.image.Exposure`
            The image.
        firstMask, secondMask : `lsst.images.Mask`
            Two detections on it.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``plot`` (`matplotlib.figure.Figure`).
        """
        names = (self.config.connections.first, self.config.connections.second)
        plot = plot_mask_pair(
            read_image(image, self.config.reading).image,
            read_mask(firstMask),
            read_mask(secondMask),
            names,
            zoom_side=self.config.zoomSide,
        )
        return Struct(plot=plot)
