# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""A thin double of the afw calls that this package makes.

It is filled from files that afw itself wrote, with what afw read from them,
or from arrays.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import astropy.io.fits
import numpy as np


class Exposure:
    """Looks like an `lsst.afw.image.ExposureF` read from a file."""

    def __init__(self, path: Path):
        facts = json.loads(path.with_suffix(".json").read_text())
        self.facts = facts
        self.kernel = np.load(path.with_suffix(".npz"))["psf_kernel"]
        with astropy.io.fits.open(path) as hdus:
            header = hdus["MASK"].header
            planes = {key[3:]: int(value) for key, value in header.items() if key.startswith("MP_")}
            self.masked_image = SimpleNamespace(
                image=SimpleNamespace(array=hdus["IMAGE"].data.astype(np.float32)),
                variance=SimpleNamespace(array=hdus["VARIANCE"].data.astype(np.float32)),
                mask=Mask(hdus["MASK"].data.astype(np.int32), planes),
            )

    @classmethod
    def from_arrays(
        cls,
        image: np.ndarray,
        variance: np.ndarray,
        planes: dict[str, np.ndarray],
        kernel: np.ndarray,
        *,
        unit: str | None = "electron",
        isr_unit: str | None = None,
    ) -> Exposure:
        """Make an exposure of arrays, with mask planes by their afw names;
        ``isr_unit`` is what ``lsst.ip.isr`` notes, which sets no BUNIT.
        """
        self = cls.__new__(cls)
        mask = Mask(np.zeros(image.shape, dtype=np.int32), {})
        for name, plane in planes.items():
            mask.addMaskPlane(name)
            mask.array[plane] |= mask.getPlaneBitMask(name)
        ny, nx = image.shape
        self.kernel = kernel
        self.facts = {"bbox": [0, 0, nx, ny], "gains": None, "bunit": unit, "exposure_time": 30.0}
        self.facts["isr_unit"] = isr_unit
        self.masked_image = SimpleNamespace(
            image=SimpleNamespace(array=image.copy()),
            variance=SimpleNamespace(array=variance.copy()),
            mask=mask,
        )
        return self

    def getMaskedImage(self) -> Any:
        return self.masked_image

    def getBBox(self) -> Any:
        return make_box(*self.facts["bbox"])

    def getDetector(self) -> Any:
        if self.facts["gains"] is None:
            return None
        return Detector(self.facts["gains"], self.facts["pixel_size_mm"])

    def getInfo(self) -> Any:
        visit_info = SimpleNamespace(getExposureTime=lambda: self.facts["exposure_time"])
        return SimpleNamespace(getVisitInfo=lambda: visit_info)

    def getMetadata(self) -> dict[str, str]:
        metadata = {"BUNIT": self.facts["bunit"], "LSST ISR UNITS": self.facts.get("isr_unit")}
        return {key: value for key, value in metadata.items() if value is not None}

    def getPsf(self) -> Any:
        return SimpleNamespace(
            getAveragePosition=lambda: (0.0, 0.0),
            computeKernelImage=lambda position: SimpleNamespace(array=self.kernel),
        )


class Mask:
    """Looks like an `lsst.afw.image.Mask`: an array and names of bits."""

    def __init__(self, array: np.ndarray, planes: dict[str, int]):
        self.array = array
        self.planes = dict(planes)

    def getMaskPlaneDict(self) -> dict[str, int]:
        return dict(self.planes)

    def getPlaneBitMask(self, name: str) -> int:
        bit = self.planes[name]
        return 1 << bit if bit < 31 else -(1 << bit)

    def addMaskPlane(self, name: str) -> int:
        return self.planes.setdefault(name, len(self.planes))


class Defect:
    """Looks like an `lsst.meas.algorithms.Defect`: a box with a name."""

    def __init__(self, x0: int, y0: int, width: int, height: int):
        self.place = (x0, y0, width, height)

    def getBBox(self) -> Any:
        return make_box(*self.place)


class Detector:
    """Looks like an `lsst.afw.cameraGeom.Detector`: a list of amplifiers."""

    def __init__(self, gains: list[float], pixel_size: float):
        self.amplifiers = [SimpleNamespace(getGain=lambda gain=gain: gain) for gain in gains]
        self.pixel_size = pixel_size

    def __iter__(self) -> Any:
        return iter(self.amplifiers)

    def getPixelSize(self) -> tuple[float, float]:
        return (self.pixel_size, self.pixel_size)


def make_box(x0: int, y0: int, width: int, height: int) -> Any:
    """Make what looks like an `lsst.geom.Box2I`."""
    return SimpleNamespace(
        getMinX=lambda: x0,
        getMinY=lambda: y0,
        getMaxX=lambda: x0 + width - 1,
        getMaxY=lambda: y0 + height - 1,
    )
