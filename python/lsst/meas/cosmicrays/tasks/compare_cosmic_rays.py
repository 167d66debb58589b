# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compare the masks of any number of detections on one detector."""

from __future__ import annotations

__all__ = [
    "CompareCosmicRaysConfig",
    "CompareCosmicRaysTask",
]

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from astropy.table import Table

from lsst.pex.config import ConfigField, Field, ListField
from lsst.pipe.base import (
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    QuantumContext,
    Struct,
)

from ..comparison import (
    MAX_MASKS,
    ComparedMasks,
    ComparisonSettings,
    DetectorData,
    MaskBit,
    Role,
    compare_detector,
    cut_stamp_images,
    detection_bits,
    no_sources,
    probability_counts,
    select_sources,
    subtract_block_background,
    truth_bits,
)
from ..images import WorkingImage, WorkingImageConfig, read_image, read_mask
from .bounds import check_bounds
from .compare_connections import CompareCosmicRaysConnections
from .dia_source_columns import DiaSourceColumnsConfig
from .truth import (
    difference_unusable_planes_field,
    read_truth,
    truth_field,
    truth_min_sigma_field,
    unusable_planes_field,
    usable_pixels,
)

DETECTED = MaskBit("detected", Role.PLANE)
OPTIONAL_INPUTS = (
    "differenceImage",
    "templateImage",
    "diaSources",
    "objectMask",
    "truthCharge",
    "truthMask",
    "truthCatalog",
    "variableCatalog",
    "starCatalog",
)
OUTPUTS = {
    "pixelCounts": "counts",
    "pixelCountsDilated": "counts_dilated",
    "detections": "detections",
    "pixelPairs": "pixel_pairs",
    "pixelPlaces": "pixel_places",
    "clusterCounts": "cluster_counts",
    "stamps": "stamps",
    "objects": "objects",
}


class CompareCosmicRaysConfig(PipelineTaskConfig, pipelineConnections=CompareCosmicRaysConnections):
    """Configuration of `CompareCosmicRaysTask`."""

    detections = ListField[str](
        doc="Detections to compare, each {finder}_{kind}{variant}; their order is that of the bits.",
        default=[
            "morphological_science",
            "astroscrappy_science",
            "morphological_difference",
            "astroscrappy_difference",
        ],
    )
    truth = truth_field()
    truthMinSigma = truth_min_sigma_field()
    truthExtraSigmas = ListField[float](
        doc="Other thresholds at which truth is compared as well.",
        default=[1.0, 3.0, 5.0],
    )
    probabilities = ListField[str](
        doc="Detections whose probability of each pixel (cr_probability_{detection}) is compared with truth; "
        "FindCosmicRaysTask writes it if its doWriteProbability is set.",
        default=[],
    )
    objectReference = Field[str](
        doc="Detection whose components are the reference of cr_objects where there is no truth; the first "
        "detection, if not set.",
        default=None,
        optional=True,
    )
    unusablePlanes = unusable_planes_field()
    differenceUnusablePlanes = difference_unusable_planes_field()
    detectedPlane = Field[str](
        doc="Plane of the science image that makes a missed true pixel a critical false negative; these are "
        "not counted if it is not set, or on images in which no pixel was detected.",
        default="DETECTED",
        optional=True,
    )
    objectPlanes = ListField[str](
        doc="Planes of the connection objectMask whose pixels make a stamp an OBJECT.",
        default=["DETECTED", "DETECTED_NEGATIVE"],
    )
    stampSize = Field[int](
        doc="Width and height of a stamp (pixels).", default=30, check=lambda value: value >= 1
    )
    minStampPixels = Field[int](
        doc="A stamp with at least L cosmic-ray pixels is CR; this is L.",
        default=1,
        check=lambda value: value >= 1,
    )
    matchRadius = Field[float](
        doc="Distance within which a DIASource is a true source or cosmic ray (pixels).", default=3.0
    )
    diaSourceColumns = ConfigField[DiaSourceColumnsConfig](doc="Columns of the table of DIASources.")
    doDifference = Field[bool](
        doc="Read the difference image? Without it, charges are measured on the science image.", default=True
    )
    doStampImages = Field[bool](doc="Write cutouts of the stamps (cr_stamp_images)?", default=False)
    scienceImageStorageClass = Field[str](doc="Storage class of the science image.", default="VisitImage")
    differenceImageStorageClass = Field[str](
        doc="Storage class of the difference image.", default="DifferenceImage"
    )
    templateImageStorageClass = Field[str](doc="Storage class of the template.", default="VisitImage")
    diaSourcesStorageClass = Field[str](
        doc="Storage class to read DIASources with: ArrowAstropy, or AstropyTable where they are stored as "
        "an afw SourceCatalog.",
        default="ArrowAstropy",
    )
    reading = ConfigField[WorkingImageConfig](doc="What to assume where an image does not say.")

    def setDefaults(self) -> None:
        super().setDefaults()
        # Nothing here depends on the PSF: an image without one will do.
        self.reading.psfFwhm = 4.0

    def validate(self) -> None:
        super().validate()
        names = list(self.detections)
        if not names:
            raise ValueError("detections is empty: name what to compare, such as morphological_science.")
        if len(names) > MAX_MASKS:
            raise ValueError(f"{len(names)} detections: at most {MAX_MASKS} can be compared at a time.")
        _check_names("detections", names)
        _check_names("probabilities", list(self.probabilities))
        if self.probabilities and self.truth is None:
            raise ValueError("probabilities are compared with truth: set truth, or leave them out.")
        if self.objectReference is not None and self.objectReference not in names:
            raise ValueError(f"objectReference {self.objectReference!r} is none of the detections.")
        sigmas = self.truth_sigmas()
        if len(set(sigmas)) != len(sigmas) or min(sigmas) <= 0.0:
            raise ValueError(f"truthMinSigma and truthExtraSigmas must be positive and differ, not {sigmas}.")

    def truth_sigmas(self) -> list[float]:
        """Return the thresholds of truth, the default first.

        Returns
        -------
        sigmas : `list` [`float`]
            In units of the noise.
        """
        return [self.truthMinSigma, *self.truthExtraSigmas]

    def unused_connections(self) -> list[str]:
        """Return the connections that this configuration does without.

        Returns
        -------
        names : `list` [`str`]
            Names of connections.
        """
        needed = {
            "differenceImage": self.doDifference,
            "templateImage": self.doStampImages,
            "stampImages": self.doStampImages,
            "truthCharge": self.truth == "charge",
            "truthMask": self.truth == "mask",
            "truthCatalog": self.truth is not None,
            "probabilityCounts": bool(self.probabilities),
            "variableCatalog": self.truth is not None,
        }
        return [name for name, is_needed in needed.items() if not is_needed]

    def settings(self) -> ComparisonSettings:
        """Return how stamps and objects are made.

        Returns
        -------
        settings : `lsst.meas.cosmicrays.comparison.ComparisonSettings`
            The settings.
        """
        return ComparisonSettings(
            stamp_size=self.stampSize,
            min_stamp_pixels=self.minStampPixels,
            match_radius=self.matchRadius,
            object_reference=self.objectReference,
        )


class CompareCosmicRaysTask(PipelineTask):
    """Compare the masks of detections with each other and with truth.

    A mask that is missing, because its finder failed, leaves its bit of
    ``available`` unset; everything else goes on.
    """

    ConfigClass: ClassVar[type[CompareCosmicRaysConfig]] = CompareCosmicRaysConfig
    _DefaultName: ClassVar[str] = "compareCosmicRays"
    config: CompareCosmicRaysConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        inputs = butlerQC.get(inputRefs)
        detections = list(self.config.detections)
        result = self.run(
            inputs["scienceImage"],
            {name: inputs[f"mask_{name}"] for name in detections if f"mask_{name}" in inputs},
            {name: inputs[f"summary_{name}"] for name in detections if f"summary_{name}" in inputs},
            probabilities={
                name: inputs[f"probability_{name}"]
                for name in self.config.probabilities
                if f"probability_{name}" in inputs
            },
            **{name: inputs[name] for name in OPTIONAL_INPUTS if name in inputs},
        )
        butlerQC.put(result, outputRefs)

    def run(
        self,
        scienceImage: Any,
        masks: Mapping[str, Any],
        summaries: Mapping[str, Table] | None = None,
        *,
        differenceImage: Any = None,
        templateImage: Any = None,
        diaSources: Table | None = None,
        objectMask: Any = None,
        truthCharge: Any = None,
        truthMask: Any = None,
        truthCatalog: Table | None = None,
        variableCatalog: Table | None = None,
        starCatalog: Table | None = None,
        probabilities: Mapping[str, Any] | None = None,
    ) -> Struct:
        """Compare the masks of one detector.

        Parameters
        ----------
        scienceImage : `lsst.images.MaskedImage` or `lsst.afw.image.Exposure`
            Science image.
        masks : `~collections.abc.Mapping` [`str`, `lsst.images.Mask`]
            Masks by detection; some may be missing.
        summaries : `~collections.abc.Mapping` [`str`, `astropy.table.Table`]
            Finder summaries by detection; some may be missing.
        differenceImage, templateImage : optional
            Images of the same detector, of the same types.
        diaSources : `astropy.table.Table`, optional
            DIASources; without, there are no stamps.
        objectMask : `lsst.images.Mask`, optional
            Detections on the difference image made after interpolation.
        truthCharge : `lsst.images.Image`, optional
            Charge of cosmic rays, electrons.
        truthMask : `lsst.images.Mask`, optional
            True cosmic rays, plane COSMIC_RAY.
        truthCatalog, variableCatalog, starCatalog : `astropy.table.Table`
            True cosmic rays, true variable sources, and stars.
        probabilities : `~collections.abc.Mapping` [`str`, `lsst.images.Image`]
            Probabilities by detection; some may be missing.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            A table for each output connection.

        Raises
        ------
        lsst.meas.cosmicrays.tasks.BoundsError
            Raised if a mask or image has another bounding box than the
            science image.
        lsst.meas.cosmicrays.comparison.SourceTableError
            Raised if the DIASources lack columns or are of other pixels.
        lsst.meas.cosmicrays.images.UnknownMaskPlaneError
            Raised if an image lacks a mask plane named in the config.
        """
        science = read_image(scienceImage, self.config.reading)
        check_bounds(
            science.bbox,
            {
                **{f"mask of {name}": mask for name, mask in masks.items()},
                **{f"probability of {name}": image for name, image in (probabilities or {}).items()},
                "difference image": differenceImage,
                "template": templateImage,
                "object mask": objectMask,
                "truth charge": truthCharge,
                "truth mask": truthMask,
            },
        )
        difference = self._read(differenceImage)
        compared = self._collect_masks(science, difference, masks, truthCharge, truthMask)
        data = DetectorData(
            masks=compared,
            image=self._without_background(science, difference, compared),
            origin=(science.bbox.x.start, science.bbox.y.start),
            sources=self._select_sources(diaSources, science),
            objects=None if objectMask is None else _any_plane(objectMask, self.config.objectPlanes),
            true_charge=truthCharge.array if truthCharge is not None else None,
            true_cosmic_rays=truthCatalog,
            variables=variableCatalog,
            stars=starCatalog,
            summaries={name: dict(table[0]) for name, table in (summaries or {}).items()},
            exposure_time=science.exposure_time,
            pixel_size=science.pixel_size,
        )
        tables = compare_detector(data, self.config.settings())
        result = Struct(**{connection: tables[name] for connection, name in OUTPUTS.items()})
        if self.config.probabilities:
            arrays = {name: image.array for name, image in (probabilities or {}).items()}
            result.probabilityCounts = probability_counts(arrays, compared)
        if self.config.doStampImages:
            images = {"template": self._read(templateImage), "science": science, "difference": difference}
            pixels = {name: image.image if image is not None else None for name, image in images.items()}
            result.stampImages = cut_stamp_images(data, self.config.settings(), pixels)
        return result

    def _read(self, image: Any) -> WorkingImage | None:
        return read_image(image, self.config.reading) if image is not None else None

    def _collect_masks(
        self,
        science: WorkingImage,
        difference: WorkingImage | None,
        masks: Mapping[str, Any],
        truthCharge: Any,
        truthMask: Any,
    ) -> ComparedMasks:
        """Put detections, truths and the DETECTED plane together."""
        bits = detection_bits(self.config.detections)
        arrays = [read_mask(masks[bit.name]) if bit.name in masks else None for bit in bits]
        if self.config.truth == "charge":
            sigmas = self.config.truth_sigmas()
            bits += truth_bits(sigmas)
            arrays += [read_truth(truthCharge, None, science, sigma) for sigma in sigmas]
        elif self.config.truth == "mask":
            bits += truth_bits([math.nan])
            arrays.append(read_truth(None, truthMask, science, math.nan))
        if self.config.detectedPlane is not None:
            detected = science.planes[self.config.detectedPlane]
            bits.append(DETECTED)
            arrays.append(detected if detected.any() else None)
        config = self.config
        usable = usable_pixels(science, config.unusablePlanes, difference, config.differenceUnusablePlanes)
        return ComparedMasks(tuple(bits), tuple(arrays), usable)

    def _without_background(
        self, science: WorkingImage, difference: WorkingImage | None, compared: ComparedMasks
    ) -> np.ndarray:
        if difference is not None:
            return difference.image
        return subtract_block_background(science.image, compared.usable & (compared.codes == 0))

    def _select_sources(self, diaSources: Table | None, science: WorkingImage) -> Table:
        if diaSources is None:
            self.log.warning("There are no DIASources, so there are no stamps.")
            return no_sources()
        columns = self.config.diaSourceColumns
        sources, n_dropped = select_sources(
            diaSources,
            science.image.shape,
            origin=(science.bbox.x.start, science.bbox.y.start),
            size=self.config.stampSize,
            columns=columns.required(),
            sky_column=columns.skySource,
            dipole_column=columns.dipole,
        )
        if n_dropped:
            self.log.warning("Dropped %d DIASources without a position on the image.", n_dropped)
        return sources


def _any_plane(mask: Any, names: Iterable[str]) -> np.ndarray:
    return np.logical_or.reduce([read_mask(mask, name) for name in names])


def _check_names(field: str, names: Sequence[str]) -> None:
    """Check that names of detections differ and can be such.

    Raises
    ------
    ValueError
        Raised if not.
    """
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{field} must differ; given more than once: {', '.join(repeated)}.")
    for name in names:
        if not re.fullmatch(r"[A-Za-z]\w*", name):
            raise ValueError(f"{name!r} is no name of a detection: {{finder}}_{{kind}}{{variant}}.")
        if name.startswith("truth") or name == DETECTED.name:
            raise ValueError(f"{name!r} is the name of what is no detection: choose another variant.")
