# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compare the DIASources without and with interpolation of cosmic rays."""

from __future__ import annotations

__all__ = [
    "CompareInterpolationConfig",
    "CompareInterpolationConnections",
    "CompareInterpolationTask",
]

import dataclasses
from typing import Any, ClassVar

import numpy as np
from astropy.table import Table

from lsst.pex.config import ConfigField, Field, ListField
from lsst.pipe.base import (
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
)
from lsst.pipe.base.connectionTypes import Input

from ..comparison import (
    InterpolationData,
    InterpolationSettings,
    compare_interpolation,
    cut_examples,
    has_object,
    object_table,
    rank_examples,
    select_sources,
)
from ..images import WorkingImage, WorkingImageConfig, read_image, read_mask
from .bounds import check_bounds
from .connections import DETECTOR, table_input, table_output, truth_charge_input, truth_mask_input
from .dia_source_columns import DiaSourceColumnsConfig
from .truth import read_truth, truth_field, truth_min_sigma_field

IMAGES = {
    "template": "templateImage",
    "science": "scienceImage",
    "difference": "differenceImage",
    "science_interpolated": "interpolatedImage",
    "difference_interpolated": "interpolatedDifferenceImage",
}
"""Connections of the images that are cut into stamps, by column."""

STORAGE_CLASSES = {
    "templateImage": "templateImageStorageClass",
    "scienceImage": "scienceImageStorageClass",
    "differenceImage": "differenceImageStorageClass",
    "interpolatedImage": "scienceImageStorageClass",
    "interpolatedDifferenceImage": "differenceImageStorageClass",
    "diaSources": "diaSourcesStorageClass",
    "interpolatedDiaSources": "diaSourcesStorageClass",
}
"""Config fields that name the storage classes of connections."""


def _image_input(name: str, doc: str, storage_class: str = "VisitImage") -> Input:
    return Input(doc=doc, name=name, storageClass=storage_class, dimensions=DETECTOR, minimum=0)


class CompareInterpolationConnections(
    PipelineTaskConnections, dimensions=DETECTOR, defaultTemplates={"detection": "morphological_science"}
):
    """Connections of `CompareInterpolationTask`."""

    cosmicRays = Input(
        doc="Cosmic rays that were interpolated over.",
        name="cr_mask_{detection}",
        storageClass="MaskV2",
        dimensions=DETECTOR,
    )
    diaSources = table_input("dia_source_unfiltered", "DIASources without interpolation.")
    interpolatedDiaSources = table_input("dia_source_interpolated", "DIASources with interpolation.")
    footprintMask = Input(
        doc="Detections on the difference image without interpolation.",
        name="dia_detection_mask",
        storageClass="MaskV2",
        dimensions=DETECTOR,
        minimum=0,
    )
    objectMask = Input(
        doc="Detections on the difference image with interpolation.",
        name="dia_detection_mask_interpolated",
        storageClass="MaskV2",
        dimensions=DETECTOR,
        minimum=0,
    )
    stamps = table_input(
        "cr_stamps", "Stamps around DIASources, labelled by every detection and truth.", minimum=0
    )
    scienceImage = _image_input("visit_image", "Science image without interpolation.")
    interpolatedImage = _image_input("visit_image_interpolated", "Science image with interpolation.")
    differenceImage = _image_input(
        "difference_image", "Difference image without interpolation.", "DifferenceImage"
    )
    interpolatedDifferenceImage = _image_input(
        "difference_image_interpolated", "Difference image with interpolation.", "DifferenceImage"
    )
    templateImage = _image_input("template_detector", "Template.")
    truthCharge = truth_charge_input()
    truthMask = truth_mask_input()
    variableCatalog = table_input(
        "variable_truth_catalog", "True variable sources: id, x, y, kind.", minimum=0
    )
    sources = table_output("cr_interpolation_sources", "What became of every DIASource by interpolation.")
    confusion = table_output(
        "cr_interpolation_confusion", "Stamps by OBJECT and cosmic ray, one row a detection or truth."
    )
    stampImages = table_output(
        "cr_interpolation_stamp_images", "Cutouts around the most telling sources, before and after."
    )

    def __init__(self, *, config: CompareInterpolationConfig):
        super().__init__(config=config)
        for name, field in STORAGE_CLASSES.items():
            replaced = dataclasses.replace(getattr(self, name), storageClass=getattr(config, field))
            setattr(self, name, replaced)
        for unused in config.unused_connections():
            delattr(self, unused)


class CompareInterpolationConfig(PipelineTaskConfig, pipelineConnections=CompareInterpolationConnections):
    """Configuration of `CompareInterpolationTask`."""

    sourceRadius = Field[float](
        doc="Distance within which DIASources without and with interpolation are one (pixels).",
        default=3.0,
        check=lambda value: value > 0.0,
    )
    truthRadius = Field[float](
        doc="Distance within which a DIASource is a true source, a cosmic ray, or at an interpolated pixel "
        "(pixels).",
        default=3.0,
        check=lambda value: value > 0.0,
    )
    stampSize = Field[int](
        doc="Width and height of a stamp (pixels).", default=30, check=lambda value: value >= 1
    )
    minStampPixels = Field[int](
        doc="A source with at least as many interpolated pixels in its stamp remains in spite of them.",
        default=1,
        check=lambda value: value >= 1,
    )
    objectPlanes = ListField[str](
        doc="Planes of footprintMask and objectMask, or without these of the difference images, that have "
        "what was detected: a stamp with a pixel of the latter has an OBJECT.",
        default=["DETECTED", "DETECTED_NEGATIVE"],
        minLength=1,
    )
    truth = truth_field()
    truthMinSigma = truth_min_sigma_field()
    doStampImages = Field[bool](doc="Write cutouts, from which figures are made?", default=True)
    maxStampImages = Field[int](
        doc="Most cutouts of a group and detector.", default=20, check=lambda value: value >= 1
    )
    diaSourceColumns = ConfigField[DiaSourceColumnsConfig](doc="Columns of both tables of DIASources.")
    diaSourcesStorageClass = Field[str](
        doc="Storage class to read DIASources with: ArrowAstropy, or AstropyTable where they are stored as "
        "an afw SourceCatalog.",
        default="ArrowAstropy",
    )
    scienceImageStorageClass = Field[str](doc="Storage class of science images.", default="VisitImage")
    differenceImageStorageClass = Field[str](
        doc="Storage class of difference images.", default="DifferenceImage"
    )
    templateImageStorageClass = Field[str](doc="Storage class of the template.", default="VisitImage")
    reading = ConfigField[WorkingImageConfig](doc="What to assume where an image does not say.")

    def setDefaults(self) -> None:
        super().setDefaults()
        # Nothing here depends on the PSF: an image without one will do.
        self.reading.psfFwhm = 4.0

    def unused_connections(self) -> list[str]:
        """Return the connections that this configuration does without.

        Returns
        -------
        names : `list` [`str`]
            Names of connections.
        """
        needed = {name: bool(self.doStampImages) for name in (*IMAGES.values(), "stampImages")}
        needed["scienceImage"] |= self.truth == "charge"
        needed["truthCharge"] = self.truth == "charge"
        needed["truthMask"] = self.truth == "mask"
        needed["variableCatalog"] = self.truth is not None
        return [name for name, is_needed in needed.items() if not is_needed]

    def settings(self) -> InterpolationSettings:
        """Return how sources are compared.

        Returns
        -------
        settings : `lsst.meas.cosmicrays.comparison.InterpolationSettings`
            The settings.
        """
        return InterpolationSettings(
            source_radius=self.sourceRadius,
            truth_radius=self.truthRadius,
            stamp_size=self.stampSize,
            min_stamp_pixels=self.minStampPixels,
        )


class CompareInterpolationTask(PipelineTask):
    """Say what became of DIASources when cosmic rays were interpolated."""

    ConfigClass: ClassVar[type[CompareInterpolationConfig]] = CompareInterpolationConfig
    _DefaultName: ClassVar[str] = "compareInterpolation"
    config: CompareInterpolationConfig

    def run(
        self,
        cosmicRays: Any,
        diaSources: Table,
        interpolatedDiaSources: Table,
        *,
        footprintMask: Any = None,
        objectMask: Any = None,
        stamps: Table | None = None,
        truthCharge: Any = None,
        truthMask: Any = None,
        variableCatalog: Table | None = None,
        **images: Any,
    ) -> Struct:
        """Compare the DIASources of one detector.

        Parameters
        ----------
        cosmicRays : `lsst.images.Mask`
            Cosmic rays that were interpolated over.
        diaSources, interpolatedDiaSources : `astropy.table.Table`
            DIASources without and with interpolation.
        footprintMask, objectMask : `lsst.images.Mask`, optional
            Detections on the difference image without and with
            interpolation; by default those that the difference image itself
            has in its mask, as that of ``lsst.ip.diffim``.
        stamps : `astropy.table.Table`, optional
            Stamps around the DIASources without interpolation; without them
            ``confusion`` is empty.
        truthCharge : `lsst.images.Image`, optional
            Charge of cosmic rays, electrons.
        truthMask : `lsst.images.Mask`, optional
            True cosmic rays, plane COSMIC_RAY.
        variableCatalog : `astropy.table.Table`, optional
            True variable sources.
        **images : `lsst.images.MaskedImage` or `lsst.afw.image.Exposure`
            ``scienceImage``, ``interpolatedImage``, ``differenceImage``,
            ``interpolatedDifferenceImage`` and ``templateImage``, for the
            cutouts; any may be missing.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            A table for each output connection.

        Raises
        ------
        lsst.meas.cosmicrays.tasks.BoundsError
            Raised if an image or mask has another bounding box than the mask
            of cosmic rays.
        lsst.meas.cosmicrays.comparison.SourceTableError
            Raised if DIASources lack columns or are of other pixels.
        lsst.meas.cosmicrays.images.UnknownMaskPlaneError
            Raised if a mask lacks a plane named in the config.
        """
        working = {
            name: read_image(images[connection], self.config.reading)
            for name, connection in IMAGES.items()
            if images.get(connection) is not None
        }
        bbox = working["science"].bbox if "science" in working else cosmicRays.bbox
        others = {
            "mask of cosmic rays": cosmicRays,
            "footprint mask": footprintMask,
            "object mask": objectMask,
            "truth charge": truthCharge,
            "truth mask": truthMask,
        }
        check_bounds(bbox, {**others, **working})
        data = InterpolationData(
            before=self._select_sources(diaSources, cosmicRays),
            after=self._select_sources(interpolatedDiaSources, cosmicRays),
            interpolated=read_mask(cosmicRays),
            origin=(cosmicRays.bbox.x.start, cosmicRays.bbox.y.start),
            footprints=self._read_detected(footprintMask, working.get("difference"), "without"),
            objects=self._read_detected(objectMask, working.get("difference_interpolated"), "with"),
            cosmic_rays=read_truth(truthCharge, truthMask, working.get("science"), self.config.truthMinSigma),
            variables=variableCatalog,
        )
        sources = compare_interpolation(data, self.config.settings())
        self._log_fates(sources)
        result = Struct(sources=sources, confusion=self._count_stamps(stamps, data))
        if self.config.doStampImages:
            result.stampImages = self._cut_stamps(sources, data, working)
        return result

    def _select_sources(self, table: Table, cosmicRays: Any) -> Table:
        columns = self.config.diaSourceColumns
        sources, n_dropped = select_sources(
            table,
            cosmicRays.bbox.shape,
            origin=(cosmicRays.bbox.x.start, cosmicRays.bbox.y.start),
            size=self.config.stampSize,
            columns=columns.required(),
            sky_column=columns.skySource,
            dipole_column=columns.dipole,
        )
        if n_dropped:
            self.log.warning("Dropped %d DIASources without a position on the image.", n_dropped)
        return sources

    def _read_detected(self, mask: Any, difference: WorkingImage | None, how: str) -> np.ndarray | None:
        """Read what was detected, from its mask or the difference image."""
        planes = self.config.objectPlanes
        if mask is not None:
            return np.logical_or.reduce([read_mask(mask, name) for name in planes])
        if difference is not None and all(name in difference.planes for name in planes):
            return np.logical_or.reduce([difference.planes[name] for name in planes])
        self.log.warning("The mask of what was detected %s interpolation is missing.", how)
        return None

    def _count_stamps(self, stamps: Table | None, data: InterpolationData) -> Table:
        """Count the stamps of all detections by OBJECT and cosmic ray."""
        if stamps is None:
            self.log.warning("There are no labelled stamps: OBJECTs are not compared with cosmic rays.")
            return object_table(Table(), truth_known=False)
        labelled = stamps.copy(copy_data=False)
        if len(stamps) > 0:
            size = int(stamps["x_max"][0] - stamps["x_min"][0]) + 1
            labelled["object"] = has_object(stamps, data.objects, origin=data.origin, size=size)
        return object_table(labelled, truth_known=data.variables is not None)

    def _cut_stamps(self, sources: Table, data: InterpolationData, working: dict[str, WorkingImage]) -> Table:
        images = {name: working[name].image if name in working else None for name in IMAGES}
        nothing = np.zeros(data.interpolated.shape, dtype=bool)
        masks = {
            "mask_interpolated": data.interpolated,
            "mask_object": data.objects if data.objects is not None else nothing,
        }
        return cut_examples(
            sources,
            rank_examples(sources, self.config.maxStampImages),
            images | masks,
            shape=data.interpolated.shape,
            origin=data.origin,
            size=self.config.stampSize,
        )

    def _log_fates(self, sources: Table) -> None:
        fates, numbers = np.unique(np.asarray(sources["fate"]), return_counts=True)
        for fate, number in zip(fates.tolist(), numbers.tolist(), strict=True):
            self.metadata[f"n_{fate}"] = number
        described = ", ".join(f"{number} {fate}" for fate, number in zip(fates, numbers, strict=True))
        self.log.info("Of %d sources: %s.", len(sources), described or "none")
