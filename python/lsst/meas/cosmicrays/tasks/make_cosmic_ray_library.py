# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a library of real cosmic rays from dark exposures."""

from __future__ import annotations

__all__ = [
    "MakeCosmicRayLibraryConfig",
    "MakeCosmicRayLibraryConnections",
    "MakeCosmicRayLibraryTask",
]

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from astropy.table import Table

from lsst.pex.config import ConfigField, Field, ListField
from lsst.pipe.base import (
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from lsst.pipe.base.connectionTypes import Input

from ..images import WorkingImage, WorkingImageConfig, read_image
from ..simulation import LibraryError, dark_noise, find_dark_footprints, recurrent_pixels, stack_library
from .connections import INSTRUMENT, table_output

EXPOSURE = ("instrument", "exposure", "detector")


class MakeCosmicRayLibraryConnections(PipelineTaskConnections, dimensions=INSTRUMENT):
    """Connections of `MakeCosmicRayLibraryTask`."""

    darks = Input(
        doc="Dark exposures, without bias and dark current.",
        name="dark_exposure",
        storageClass="VisitImage",
        dimensions=EXPOSURE,
        multiple=True,
        deferLoad=True,
    )
    footprints = table_output("cr_library", "Footprints, one row a pixel: id, x, y, charge.", INSTRUMENT)
    footprintSummary = table_output(
        "cr_library_summary",
        "One row: how many footprints, in what time and on how many pixels of what size.",
        INSTRUMENT,
    )

    def __init__(self, *, config: MakeCosmicRayLibraryConfig):
        super().__init__(config=config)
        self.darks = dataclasses.replace(
            self.darks, storageClass=config.imageStorageClass, dimensions=tuple(config.darkDimensions)
        )


class MakeCosmicRayLibraryConfig(PipelineTaskConfig, pipelineConnections=MakeCosmicRayLibraryConnections):
    """Configuration of `MakeCosmicRayLibraryTask`."""

    peakSigma = Field[float](
        doc="Least height of the highest pixel of a cosmic ray, in units of the noise.",
        default=10.0,
        check=lambda value: value > 0.0,
    )
    edgeSigma = Field[float](
        doc="Least height of any pixel of a cosmic ray, in units of the noise.",
        default=3.0,
        check=lambda value: value > 0.0,
    )
    maxRecurrence = Field[float](
        doc="Fraction of the exposures of a detector in which a pixel may be hit, but once in any case: one "
        "that is hit more often is hot.",
        default=0.05,
        check=lambda value: 0.0 <= value <= 1.0,
    )
    badPlanes = ListField[str](
        doc="Mask planes of bad pixels. Every one must exist.", default=["BAD", "SATURATED", "NO_DATA"]
    )
    darkDimensions = ListField[str](doc="Dimensions of the dark exposures.", default=list(EXPOSURE))
    imageStorageClass = Field[str](doc="Storage class of the dark exposures.", default="VisitImage")
    reading = ConfigField[WorkingImageConfig](doc="What to assume where an image does not say.")

    def setDefaults(self) -> None:
        super().setDefaults()
        # A dark exposure has no PSF.
        self.reading.psfFwhm = 4.0


class MakeCosmicRayLibraryTask(PipelineTask):
    """Find the cosmic rays of dark exposures, where nothing else is.

    Every exposure is read twice, one at a time: first to find hot pixels,
    then to find cosmic rays.
    """

    ConfigClass: ClassVar[type[MakeCosmicRayLibraryConfig]] = MakeCosmicRayLibraryConfig
    _DefaultName: ClassVar[str] = "makeCosmicRayLibrary"
    config: MakeCosmicRayLibraryConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        by_detector: dict[int, list[Callable[[], Any]]] = {}
        for handle in sorted(butlerQC.get(inputRefs.darks), key=lambda handle: handle.dataId):
            by_detector.setdefault(int(handle.dataId["detector"]), []).append(handle.get)
        butlerQC.put(self.run(by_detector), outputRefs)

    def run(self, darks: Mapping[int, Sequence[Callable[[], Any]]]) -> Struct:
        """Make a library.

        Parameters
        ----------
        darks : `~collections.abc.Mapping`
            By detector, functions that read its dark exposures.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``footprints`` and ``footprintSummary``
            (`astropy.table.Table`).

        Raises
        ------
        LibraryError
            Raised if no cosmic ray was found, or if an exposure does not say
            how long it was or how large its pixels are.
        """
        parts, pixel_seconds, pixel_sizes, n_exposures = [], 0.0, set(), 0
        n_pixels = 0
        for detector, readers in darks.items():
            hot = recurrent_pixels([self._hits(read) for read in readers], self.config.maxRecurrence)
            self.log.info("Detector %d: %d hot pixels.", detector, np.count_nonzero(hot))
            for read in readers:
                image, bad = self._read(read)
                bad |= hot
                parts.append(
                    find_dark_footprints(
                        image.image, bad, peak_sigma=self.config.peakSigma, edge_sigma=self.config.edgeSigma
                    )
                )
                good = image.image.size - int(np.count_nonzero(bad))
                n_pixels += good
                pixel_seconds += good * _known(image.exposure_time, "exposureTime")
                pixel_sizes.add(_known(image.pixel_size, "pixelSize"))
                n_exposures += 1
        library = stack_library(parts)
        if len(library) == 0:
            raise LibraryError(f"There is no cosmic ray in {n_exposures} dark exposures: lower peakSigma.")
        if len(pixel_sizes) > 1:
            raise LibraryError(f"The detectors have pixels of different sizes: {sorted(pixel_sizes)} mm.")
        summary = Table(
            {
                "n_cosmic_rays": [np.int64(np.unique(library["id"]).size)],
                "n_exposures": [np.int64(n_exposures)],
                "exposure_time": [pixel_seconds / n_pixels],
                "n_pixels": [np.int64(n_pixels)],
                "pixel_size": [pixel_sizes.pop()],
            }
        )
        return Struct(footprints=library, footprintSummary=summary)

    def _read(self, read: Callable[[], Any]) -> tuple[WorkingImage, np.ndarray]:
        image = read_image(read(), self.config.reading)
        return image, image.any_plane(self.config.badPlanes) | ~np.isfinite(image.image)

    def _hits(self, read: Callable[[], Any]) -> np.ndarray:
        image, bad = self._read(read)
        level, noise = dark_noise(image.image, bad)
        return (image.image > level + self.config.peakSigma * noise) & ~bad


def _known(value: float | None, field: str) -> float:
    if value is None or not math.isfinite(value):
        raise LibraryError(f"A dark exposure does not say what reading.{field} would: set it.")
    return value
