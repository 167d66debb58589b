# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated cameras, as `lsst.pipe.base.Instrument` classes."""

from __future__ import annotations

__all__ = (
    "CAMERAS",
    "CameraModel",
    "SimulatedHsc",
    "SimulatedLsstCam",
    "SimulationError",
    "focal_plane_positions",
)

import dataclasses
import math
from typing import ClassVar

from ..documentation import DocumentedError
from ..instruments import DetectorDescription, GenericInstrument, InstrumentDescription
from .tracks import HSC_SENSOR, LSSTCAM_SENSOR, SensorModel


class SimulationError(DocumentedError, ValueError):
    """Raised when what is asked for cannot be simulated."""


@dataclasses.dataclass(frozen=True)
class CameraModel:
    """Numbers that make a simulated camera resemble a real one.

    Parameters
    ----------
    instrument : `str`
        Butler name of the instrument.
    class_name : `str`
        Name of its class in `lsst.meas.cosmicrays.simulation`.
    sensor : `~lsst.meas.cosmicrays.simulation.SensorModel`
        The CCD.
    pixel_scale : `float`
        Size of a pixel on the sky in arcsec.
    gain : `float`
        Electrons per ADU.
    read_noise : `float`
        Read noise in electrons.
    full_well : `float`
        Electrons that a pixel holds before it bleeds.
    zero_point : `float`
        AB magnitude of a source of 1 electron per second.
    sky : `float`
        Brightness of the sky in electrons per second and pixel.
    exposure_time : `float`
        Usual exposure time in s.
    n_detectors : `int`
        Number of detectors of the full camera.
    physical_filter, band : `str`
        The filter.
    """

    instrument: str
    class_name: str
    sensor: SensorModel
    pixel_scale: float
    gain: float
    read_noise: float
    full_well: float
    zero_point: float
    sky: float
    exposure_time: float
    n_detectors: int
    physical_filter: str
    band: str

    def describe(self, detectors: tuple[DetectorDescription, ...]) -> InstrumentDescription:
        """Describe the camera with some of its detectors.

        Parameters
        ----------
        detectors : `tuple` [`DetectorDescription`, ...]
            The detectors.

        Returns
        -------
        description : `InstrumentDescription`
            The camera.
        """
        return InstrumentDescription(
            name=self.instrument,
            class_name=f"lsst.meas.cosmicrays.simulation.{self.class_name}",
            filters={self.physical_filter: self.band},
            pixel_scale=self.pixel_scale,
            detectors=detectors,
            detector_max=self.n_detectors,
        )

    def detector(self, number: int, width: int, height: int) -> DetectorDescription:
        """Describe a detector.

        Parameters
        ----------
        number : `int`
            Its number; 0 is in the middle of the focal plane.
        width, height : `int`
            Size in pixels.

        Returns
        -------
        description : `DetectorDescription`
            The detector.

        Raises
        ------
        SimulationError
            Raised if the camera has no such detector.
        """
        if not 0 <= number < self.n_detectors:
            raise SimulationError(
                f"{self.instrument} has no detector {number}: they are numbered 0 to {self.n_detectors - 1}."
            )
        pixel_size = self.sensor.pixel_size / 1000.0
        column, row = focal_plane_positions(self.n_detectors, height / width)[number]
        gap = 1.05
        return DetectorDescription(
            id=number,
            name=f"det{number:03d}",
            width=width,
            height=height,
            pixel_size=pixel_size,
            gain=self.gain,
            read_noise=self.read_noise,
            saturation=self.full_well,
            x_center=column * width * pixel_size * gap,
            y_center=row * height * pixel_size * gap,
            physical_type="simulated",
        )


def focal_plane_positions(number: int, aspect: float) -> list[tuple[int, int]]:
    """Arrange detectors about the middle of the focal plane.

    Parameters
    ----------
    number : `int`
        Number of detectors.
    aspect : `float`
        Height of a detector over its width.

    Returns
    -------
    positions : `list` [`tuple` [`int`, `int`]]
        Column and row of each, counted from the middle, in the order of their
        distance from it.
    """
    reach = math.ceil((math.isqrt(number) + 1) * max(aspect, 1.0 / aspect) ** 0.5)
    side = range(-reach, reach + 1)
    cells = [(column, row) for column in side for row in side]
    return sorted(cells, key=lambda cell: (cell[0] ** 2 + (aspect * cell[1]) ** 2, cell))[:number]


_HSC = CameraModel(
    instrument="SimHSC",
    class_name="SimulatedHsc",
    sensor=HSC_SENSOR,
    pixel_scale=0.168,
    gain=3.0,
    read_noise=4.5,
    full_well=150_000.0,
    zero_point=27.9,
    sky=30.0,
    exposure_time=200.0,
    n_detectors=104,
    physical_filter="sim-i",
    band="i",
)

_LSSTCAM = CameraModel(
    instrument="SimLSSTCam",
    class_name="SimulatedLsstCam",
    sensor=LSSTCAM_SENSOR,
    pixel_scale=0.2,
    gain=1.6,
    read_noise=6.0,
    full_well=100_000.0,
    zero_point=28.1,
    sky=40.0,
    exposure_time=30.0,
    n_detectors=189,
    physical_filter="sim-i",
    band="i",
)

CAMERAS: dict[str, CameraModel] = {"hsc": _HSC, "lsstcam": _LSSTCAM}
"""Camera models by the name of their sensor (`dict`)."""


class _SimulatedCamera(GenericInstrument):
    """Base of the simulated cameras."""

    model: ClassVar[CameraModel]

    def describe(self) -> InstrumentDescription:
        detectors = (self.model.detector(i, 2048, 4176) for i in range(self.model.n_detectors))
        return self.model.describe(tuple(detectors))


class SimulatedHsc(_SimulatedCamera):
    """A camera of thick CCDs, like Hyper Suprime-Cam."""

    instrument_name = _HSC.instrument
    model = _HSC


class SimulatedLsstCam(_SimulatedCamera):
    """A camera with the pixels and the thinner CCDs of LSSTCam."""

    instrument_name = _LSSTCAM.instrument
    model = _LSSTCAM
