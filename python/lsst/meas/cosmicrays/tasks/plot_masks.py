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

from lsst.pex.config import ConfigField, Field, ListField
from lsst.pipe.base import (
    NoWorkFound,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
)
from lsst.pipe.base.connectionTypes import Input

from ..images import WorkingImageConfig, read_image, read_mask
from .connections import DETECTOR, mask_input, plot_output


class PlotMasksConnections(
    PipelineTaskConnections,
    dimensions=DETECTOR,
    defaultTemplates={"first": "morphological_science", "second": "astroscrappy_science"},
):
    """Connections of `PlotMasksTask`.

    Besides those below there is, for every detection in ``others`` of the
    config, the input ``mask_{other}`` (``cr_mask_{other}``) and the output
    ``plot_{other}`` (``cr_plot_masks_{first}_{other}``).
    """

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
    secondMask = mask_input("{second}")
    plot = plot_output("cr_plot_masks_{first}_{second}", "Both masks, over the detector and close up.")

    def __init__(self, *, config: PlotMasksConfig):
        super().__init__(config=config)
        self.image = dataclasses.replace(self.image, storageClass=config.imageStorageClass)
        first = config.connections.first
        for other in config.others:
            setattr(self, f"mask_{other}", mask_input(other))
            plot = plot_output(f"cr_plot_masks_{first}_{other}", f"The same of {first} and {other}.")
            setattr(self, f"plot_{other}", plot)


class PlotMasksConfig(PipelineTaskConfig, pipelineConnections=PlotMasksConnections):
    """Configuration of `PlotMasksTask`."""

    imageStorageClass = Field[str](doc="Storage class of the image.", default="VisitImage")
    others = ListField[str](
        doc="Further detections ({finder}_{kind}{variant}) that are drawn with the first as the second is.",
        default=[],
    )
    reading = ConfigField[WorkingImageConfig](doc="What to assume where the image does not say.")
    zoomSide = Field[int](doc="Side of the close-up (pixels).", default=100, check=lambda value: value >= 10)

    def validate(self) -> None:
        super().validate()
        drawn = [self.connections.first, self.connections.second, *self.others]
        if len(set(drawn)) < len(drawn):
            raise ValueError(f"first, second and others must differ, but are {', '.join(drawn)}.")


class PlotMasksTask(PipelineTask):
    """Draw where two detections agree, and where they do not."""

    ConfigClass: ClassVar[type[PlotMasksConfig]] = PlotMasksConfig
    _DefaultName: ClassVar[str] = "plotMasks"
    config: PlotMasksConfig

    def run(self, image: Any, firstMask: Any, secondMask: Any = None, **masks: Any) -> Struct:
        """Draw the figures.

        Parameters
        ----------
        image : `lsst.images.MaskedImage` or `lsst.afw.image.Exposure`
            The image.
        firstMask, secondMask : `lsst.images.Mask`
            Two detections on it. The second may be missing.
        **masks : `lsst.images.Mask`
            By the names of their connections (``mask_{other}``), those of
            the others that there are.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``plot`` and, of the others, ``plot_{other}``: a
            `matplotlib.figure.Figure` for each mask that there is.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            Raised if there is no mask but the first.
        """
        # Only when something is drawn: matplotlib takes long to import.
        from ..report.figures import plot_mask_pair

        first = self.config.connections.first
        drawn = {"plot": (self.config.connections.second, secondMask)}
        drawn |= {f"plot_{other}": (other, masks.get(f"mask_{other}")) for other in self.config.others}
        there = {name: pair for name, pair in drawn.items() if pair[1] is not None}
        if not there:
            raise NoWorkFound(f"Every mask that is to be drawn with that of {first} is missing.")
        pixels, first_pixels = read_image(image, self.config.reading).image, read_mask(firstMask)
        result = Struct()
        for name, (other, mask) in there.items():
            pair = (first, other)
            figure = plot_mask_pair(
                pixels, first_pixels, read_mask(mask), pair, zoom_side=self.config.zoomSide
            )
            setattr(result, name, figure)
        return result
