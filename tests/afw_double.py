# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""A thin double of the afw calls that `images.py` makes.

It is filled from files that afw itself wrote, with what afw read from them.
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
            mask = SimpleNamespace(
                array=hdus["MASK"].data.astype(np.int32), getMaskPlaneDict=lambda: dict(planes)
            )
            self.masked_image = SimpleNamespace(
                image=SimpleNamespace(array=hdus["IMAGE"].data.astype(np.float32)),
                variance=SimpleNamespace(array=hdus["VARIANCE"].data.astype(np.float32)),
                mask=mask,
            )

    def getMaskedImage(self) -> Any:
        return self.masked_image

    def getBBox(self) -> Any:
        x0, y0, width, height = self.facts["bbox"]
        return SimpleNamespace(
            getMinX=lambda: x0,
            getMinY=lambda: y0,
            getMaxX=lambda: x0 + width - 1,
            getMaxY=lambda: y0 + height - 1,
        )

    def getDetector(self) -> Any:
        if self.facts["gains"] is None:
            return None
        return Detector(self.facts["gains"], self.facts["pixel_size_mm"])

    def getInfo(self) -> Any:
        visit_info = SimpleNamespace(getExposureTime=lambda: self.facts["exposure_time"])
        return SimpleNamespace(getVisitInfo=lambda: visit_info)

    def getMetadata(self) -> dict[str, str]:
        return {"BUNIT": self.facts["bunit"]} if self.facts["bunit"] is not None else {}

    def getPsf(self) -> Any:
        return SimpleNamespace(
            getAveragePosition=lambda: (0.0, 0.0),
            computeKernelImage=lambda position: SimpleNamespace(array=self.kernel),
        )


class Detector:
    """Looks like an `lsst.afw.cameraGeom.Detector`: a list of amplifiers."""

    def __init__(self, gains: list[float], pixel_size: float):
        self.amplifiers = [SimpleNamespace(getGain=lambda gain=gain: gain) for gain in gains]
        self.pixel_size = pixel_size

    def __iter__(self) -> Any:
        return iter(self.amplifiers)

    def getPixelSize(self) -> tuple[float, float]:
        return (self.pixel_size, self.pixel_size)
