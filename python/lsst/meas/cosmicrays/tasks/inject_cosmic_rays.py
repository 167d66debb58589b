# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paint real cosmic rays on images, and write down where they are."""

from __future__ import annotations

__all__ = [
    "InjectCosmicRaysConfig",
    "InjectCosmicRaysConnections",
    "InjectCosmicRaysTask",
    "UnknownRateError",
]

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from astropy.table import Table

from lsst.images import Image
from lsst.pex.config import ChoiceField, ConfigField, Field, ListField
from lsst.pipe.base import (
    InputQuantizedConnection,
    NoWorkFound,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from lsst.pipe.base.connectionTypes import Input, Output

from ..comparison import dilate, exposed_area_time
from ..documentation import DocumentedError
from ..images import WorkingImage, WorkingImageConfig, read_image, read_mask
from ..simulation import (
    SIMULATED_RATE,
    DarkFootprints,
    LibraryError,
    PlacementError,
    inject_footprints,
    library_stamps,
    make_sensor,
    paint_on_pixels,
    read_dark_footprints,
    simulate_footprints,
)
from .bounds import check_bounds
from .connections import DETECTOR, INSTRUMENT, table_input, table_output

SECONDS_PER_MINUTE = 60.0
N_SIMULATED = 3000
"""Particles of which a simulated library is made."""


class UnknownRateError(DocumentedError, RuntimeError):
    """Raised when it cannot be known how many cosmic rays an image gets."""


class InjectCosmicRaysConnections(
    PipelineTaskConnections, dimensions=DETECTOR, defaultTemplates={"prefix": "injected_"}
):
    """Connections of `InjectCosmicRaysTask`."""

    image = Input(
        doc="Image on which cosmic rays are painted.",
        name="visit_image",
        storageClass="VisitImage",
        dimensions=DETECTOR,
    )
    knownCosmicRays = Input(
        doc="Cosmic rays that the image is known to have, if any.",
        name="cr_truth",
        storageClass="MaskV2",
        dimensions=DETECTOR,
        minimum=0,
    )
    footprints = table_input(
        "cr_library", "Library of footprints, as MakeCosmicRayLibraryTask makes it.", INSTRUMENT
    )
    footprintSummary = table_input(
        "cr_library_summary", "How long and on which area the library was gathered.", INSTRUMENT
    )
    injectedImage = Output(
        doc="The image with the cosmic rays on it.",
        name="{prefix}visit_image",
        storageClass="VisitImage",
        dimensions=DETECTOR,
    )
    truthCharge = Output(
        doc="Charge of the cosmic rays in each pixel, electrons.",
        name="cr_truth_charge",
        storageClass="ImageV2",
        dimensions=DETECTOR,
    )
    truthCatalog = table_output(
        "cr_truth_catalog", "The cosmic rays: id, x, y, n_pixels, charge, length, kind."
    )

    def __init__(self, *, config: InjectCosmicRaysConfig):
        super().__init__(config=config)
        for name in ("image", "injectedImage"):
            replaced = dataclasses.replace(getattr(self, name), storageClass=config.imageStorageClass)
            setattr(self, name, replaced)
        if config.footprintSource == "simulated" or config.footprintFile is not None:
            del self.footprints
            del self.footprintSummary


class InjectCosmicRaysConfig(PipelineTaskConfig, pipelineConnections=InjectCosmicRaysConnections):
    """Configuration of `InjectCosmicRaysTask`."""

    footprintSource = ChoiceField[str](
        doc="Where cosmic rays are from.",
        default="library",
        allowed={
            "library": "Real ones: footprintFile, or the dataset cr_library.  They should be from a sensor "
            "as thick as that of the image, and with pixels of the same size.",
            "simulated": "Simulated tracks in a sensor of sensorThickness.",
        },
    )
    sensorThickness = Field[float](
        doc="Thickness (um) of the silicon of the sensor; for simulated cosmic rays.",
        default=None,
        optional=True,
        check=lambda value: value > 0.0,
    )
    chargeDiffusion = Field[float](
        doc="Standard deviation (um) by which charge that was freed at the entrance window spreads until it "
        "is collected; if not set, what thickness lets expect.  For simulated cosmic rays.",
        default=None,
        optional=True,
        check=lambda value: value > 0.0,
    )
    footprintFile = Field[str](
        doc="FITS table of footprints, as imSim (LSSTDESC) keeps them.  Without it, the dataset cr_library "
        "is read.",
        default=None,
        optional=True,
    )
    rate = Field[float](
        doc="Cosmic rays per cm^2 and minute; as many as in the library, if not set.",
        default=None,
        optional=True,
        check=lambda value: value >= 0.0,
    )
    footprintPixelSize = Field[float](
        doc="Side (mm) of the pixels with which the footprints of footprintFile were gathered.",
        default=0.01,
        check=lambda value: value > 0.0,
    )
    minCharge = Field[float](
        doc="Least charge (electrons) of a footprint; those with less may be noise of the darks.",
        default=200.0,
        check=lambda value: value >= 0.0,
    )
    avoidPlanes = ListField[str](
        doc="Mask planes whose pixels are not painted on: truth could not be seen there. Each must exist.",
        default=["BAD", "SATURATED", "INTERPOLATED", "NO_DATA", "COSMIC_RAY"],
    )
    doMaskKnown = Field[bool](
        doc="Set the plane BAD of known cosmic rays and their neighbours, so that they do not count?",
        default=True,
    )
    seed = Field[int](
        doc="Seed; with visit and detector it settles every cosmic ray.",
        default=2022,
        check=lambda value: value >= 0,
    )
    imageStorageClass = Field[str](doc="Storage class of the image.", default="VisitImage")
    reading = ConfigField[WorkingImageConfig](doc="What to assume where the image does not say.")

    def setDefaults(self) -> None:
        super().setDefaults()
        # Nothing here depends on the PSF: an image without one will do.
        self.reading.psfFwhm = 4.0

    def validate(self) -> None:
        super().validate()
        if self.footprintSource == "simulated" and self.sensorThickness is None:
            raise ValueError("footprintSource is 'simulated': set sensorThickness, as config/{camera} does.")


class InjectCosmicRaysTask(PipelineTask):
    """Paint footprints of real cosmic rays on an image.

    The image should have no other cosmic rays, or they should be known: what
    is not in the truth counts against the finders.
    """

    ConfigClass: ClassVar[type[InjectCosmicRaysConfig]] = InjectCosmicRaysConfig
    _DefaultName: ClassVar[str] = "injectCosmicRays"
    config: InjectCosmicRaysConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        data_id = inputRefs.image.dataId
        identity = {dimension: data_id[dimension] for dimension in DETECTOR}
        butlerQC.put(self.run(**butlerQC.get(inputRefs), dataId=identity), outputRefs)

    def run(
        self,
        image: Any,
        dataId: Mapping[str, Any],
        knownCosmicRays: Any = None,
        footprints: Table | None = None,
        footprintSummary: Table | None = None,
    ) -> Struct:
        """Paint cosmic rays on a copy of an image.

        Parameters
        ----------
        image : `lsst.images.MaskedImage` or `lsst.afw.image.Exposure`
            The image; it is not changed.
        dataId : `~collections.abc.Mapping`
            With ``visit`` and ``detector``, for the seed.
        knownCosmicRays : `lsst.images.Mask`, optional
            Cosmic rays that it has.
        footprints, footprintSummary : `astropy.table.Table`, optional
            Library, if the config names no file.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``injectedImage`` (of the type of the image),
            ``truthCharge`` (`lsst.images.Image`, electrons) and
            ``truthCatalog`` (`astropy.table.Table`; positions in the pixel
            coordinates of the detector).

        Raises
        ------
        UnknownRateError
            Raised if the exposure time or the pixel size is not known.
        LibraryError
            Raised if no footprint has enough charge.
        lsst.pipe.base.NoWorkFound
            Raised if the image has no room for a cosmic ray.
        """
        working = read_image(image, self.config.reading)
        check_bounds(working.bbox, {"mask of known cosmic rays": knownCosmicRays})
        known = np.zeros(working.image.shape, dtype=bool)
        if knownCosmicRays is not None:
            known = dilate(read_mask(knownCosmicRays))
        rng = np.random.default_rng((self.config.seed, int(dataId["visit"]), int(dataId["detector"])))
        simulated = self.config.footprintSource == "simulated"
        if simulated:
            stamps, library_rate = self._simulate_library(working, rng)
        else:
            stamps, library_rate = self._read_library(footprints, footprintSummary)
        forbidden = known | working.not_finite() | working.any_plane(self.config.avoidPlanes)
        n_expected = self._expect(working, library_rate)
        try:
            injection = inject_footprints(working.image.shape, forbidden, stamps, n_expected, rng)
        except PlacementError as error:
            # The next detectors go on, and what is made of all of them.
            self.log.warning("Nothing is painted: %s", error)
            raise NoWorkFound(str(error)) from error
        self.log.info("Painted %d cosmic rays.", len(injection.catalog))
        catalog = injection.catalog
        if simulated:
            catalog["kind"] = "simulated"
        catalog["x"] += working.bbox.x.start
        catalog["y"] += working.bbox.y.start
        return Struct(
            injectedImage=self._paint(image, working, injection.charge, known),
            truthCharge=Image(injection.charge, bbox=working.bbox),
            truthCatalog=catalog,
        )

    def _read_library(self, library: Table | None, summary: Table | None) -> tuple[list[np.ndarray], float]:
        """Return the footprints, and how many fall per cm^2 and minute."""
        library_file: str | None = self.config.footprintFile
        if library_file is not None:
            darks = read_dark_footprints(library_file)
            pixel_size = self.config.footprintPixelSize
        elif library is not None and summary is not None:
            row = summary[0]
            darks = DarkFootprints(library_stamps(library), float(row["exposure_time"]), int(row["n_pixels"]))
            pixel_size = float(row["pixel_size"])
        else:
            raise LibraryError("There is no library: set footprintFile, or run MakeCosmicRayLibraryTask.")
        stamps = self._choose(darks.stamps)
        area_time = exposed_area_time(darks.n_pixels, pixel_size, darks.exposure_time)
        return stamps, SECONDS_PER_MINUTE * len(stamps) / area_time

    def _simulate_library(
        self, working: WorkingImage, rng: np.random.Generator
    ) -> tuple[list[np.ndarray], float]:
        """Return cosmic rays of a sensor, and how many per cm^2 and minute."""
        if working.pixel_size is None or self.config.sensorThickness is None:
            raise UnknownRateError(
                "The image does not say its pixel size, so what cosmic rays look like is not known: set "
                "reading.pixelSize."
            )
        sensor = make_sensor(
            self.config.sensorThickness, 1000.0 * working.pixel_size, self.config.chargeDiffusion
        )
        simulated, fraction = simulate_footprints(rng, sensor, N_SIMULATED)
        stamps = self._choose(simulated)
        return stamps, SIMULATED_RATE / fraction * len(stamps) / len(simulated)

    def _choose(self, library: list[np.ndarray]) -> list[np.ndarray]:
        """Leave out what has little charge."""
        stamps = [stamp for stamp in library if stamp.sum() >= max(self.config.minCharge, 1.0)]
        if not stamps:
            raise LibraryError(
                f"None of the {len(library)} footprints of the library has {self.config.minCharge:g} "
                "electrons: lower minCharge."
            )
        return stamps

    def _expect(self, working: WorkingImage, library_rate: float) -> float:
        """Return how many cosmic rays are expected on the image."""
        if working.exposure_time is None or working.pixel_size is None:
            raise UnknownRateError(
                "The image does not say its exposure time or pixel size, so how many cosmic rays hit it is "
                "not known: set reading.exposureTime and reading.pixelSize."
            )
        rate = library_rate if self.config.rate is None else self.config.rate
        area_time = exposed_area_time(working.image.size, working.pixel_size, working.exposure_time)
        return rate / SECONDS_PER_MINUTE * area_time

    def _paint(self, image: Any, working: WorkingImage, charge: np.ndarray, known: np.ndarray) -> Any:
        """Return a copy of the image with the charge on it."""
        painted = image.clone() if hasattr(image, "clone") else image.copy()
        stored, variance = (working.image, working.variance) if working.stored is None else working.stored
        # Exact where the calibration varies over the image.
        electrons_per_unit = np.sqrt(
            np.divide(
                working.variance,
                variance,
                out=np.full(variance.shape, working.scale**2, dtype=np.float64),
                where=variance > 0.0,
            )
        )
        painted.image.array[...], painted.variance.array[...] = paint_on_pixels(
            stored, variance, charge, electrons_per_unit
        )
        if self.config.doMaskKnown and known.any():
            _set_bad(painted.mask, known)
        return painted


def _set_bad(mask: Any, pixels: np.ndarray) -> None:
    if hasattr(mask, "getPlaneBitMask"):
        mask.array[pixels] |= mask.getPlaneBitMask("BAD")
    else:
        mask.set("BAD", mask.get("BAD") | pixels)
