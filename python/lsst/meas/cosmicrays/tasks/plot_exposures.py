# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draw the exposures of a detector, and the stamps on its mask."""

from __future__ import annotations

__all__ = ["PlotExposuresConfig", "PlotExposuresConnections", "PlotExposuresTask"]

import dataclasses
from typing import Any, ClassVar

from astropy.table import Table

from lsst.images import Mask
from lsst.pex.config import ConfigField, Field
from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct
from lsst.pipe.base.connectionTypes import Input

from ..images import COSMIC_RAY, WorkingImageConfig, read_image, read_mask
from .connections import DETECTOR, mask_input, plot_output, table_input

_IMAGES = {
    "templateImage": "template",
    "scienceImage": "science image",
    "differenceImage": "difference image",
}


class PlotExposuresConnections(
    PipelineTaskConnections, dimensions=DETECTOR, defaultTemplates={"detection": "morphological_science"}
):
    """Connections of `PlotExposuresTask`."""

    templateImage = Input(
        doc="Template.", name="template_detector", storageClass="VisitImage", dimensions=DETECTOR
    )
    scienceImage = Input(
        doc="Science image.", name="visit_image", storageClass="VisitImage", dimensions=DETECTOR
    )
    differenceImage = Input(
        doc="Difference image.", name="difference_image", storageClass="DifferenceImage", dimensions=DETECTOR
    )
    mask = mask_input("{detection}")
    stamps = table_input("cr_stamps", "Stamps around DIASources.")
    plot = plot_output("cr_plot_exposures", "The three images, and the cosmic-ray planes that they have.")
    plotPlaces = plot_output("cr_plot_stamp_places_{detection}", "Stamps with cosmic-ray pixels on the mask.")

    def __init__(self, *, config: PlotExposuresConfig):
        super().__init__(config=config)
        for name in _IMAGES:
            storage_class = getattr(config, f"{name}StorageClass")
            setattr(self, name, dataclasses.replace(getattr(self, name), storageClass=storage_class))


class PlotExposuresConfig(PipelineTaskConfig, pipelineConnections=PlotExposuresConnections):
    """Configuration of `PlotExposuresTask`."""

    templateImageStorageClass = Field[str](doc="Storage class of the template.", default="VisitImage")
    scienceImageStorageClass = Field[str](doc="Storage class of the science image.", default="VisitImage")
    differenceImageStorageClass = Field[str](
        doc="Storage class of the difference image.", default="DifferenceImage"
    )
    reading = ConfigField[WorkingImageConfig](doc="What to assume where an image does not say.")
    zoomSide = Field[int](doc="Side of the close-up (pixels).", default=600, check=lambda value: value >= 10)


class PlotExposuresTask(PipelineTask):
    """Draw template, science and difference image, and where stamps lie."""

    ConfigClass: ClassVar[type[PlotExposuresConfig]] = PlotExposuresConfig
    _DefaultName: ClassVar[str] = "plotExposures"
    config: PlotExposuresConfig

    def run(
        self,
        templateImage: Any,
        scienceImage: Any,
        differenceImage: Any,
        stamps: Table,
        mask: Mask | None = None,
    ) -> Struct:
        """Draw the figures.

        Parameters
        ----------
        templateImage, scienceImage, differenceImage
            The images: `lsst.images.MaskedImage` or
            `lsst.afw.image.Exposure`.
        stamps : `astropy.table.Table`
            Stamps of the detector.
        mask : `lsst.images.Mask`, optional
            Cosmic rays of the detection; `None` if it failed.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``plot`` and ``plotPlaces`` (`matplotlib.figure.Figure`); no
            ``plotPlaces`` without a mask.
        """
        # Only when something is drawn: matplotlib takes long to import.
        from ..report.exposure_figures import plot_exposures, plot_stamp_places

        given = {
            "templateImage": templateImage,
            "scienceImage": scienceImage,
            "differenceImage": differenceImage,
        }
        images = {title: read_image(given[name], self.config.reading) for name, title in _IMAGES.items()}
        result = Struct(
            plot=plot_exposures(
                {title: image.image for title, image in images.items()},
                {title: image.planes.get(COSMIC_RAY.name) for title, image in images.items()},
            )
        )
        if mask is not None:
            box = images["science image"].bbox
            result.plotPlaces = plot_stamp_places(
                read_mask(mask),
                stamps,
                self.config.connections.detection,
                origin=(box.x.start, box.y.start),
                zoom_side=self.config.zoomSide,
            )
        return result
