# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cameras described by plain numbers: their `lsst.pipe.base.Instrument`
classes and their `lsst.images.cameras.Detector` objects.

Simulated and ingested images both come from cameras without an ``obs``
package.  What is known of such a camera fits in two dataclasses,
`InstrumentDescription` and `DetectorDescription`; everything that the Science
Pipelines want to know of it is made from them here.
"""

from __future__ import annotations

__all__ = (
    "DetectorDescription",
    "GenericInstrument",
    "InstrumentDescription",
    "InstrumentNameError",
    "check_instrument_name",
    "make_camera_frames",
    "make_detector",
    "make_sky_projection",
    "make_tan_wcs",
)

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

import astropy.units as u
import astropy.wcs
import numpy as np

from lsst.images import Box, DetectorFrame, SkyProjection

# The wrapper that lsst.images itself uses, so that the same code runs on
# starlink-pyast (pip) and on astshim (stack).
from lsst.images._transforms import _ast
from lsst.images.cameras import (
    Amplifier,
    AmplifierCalibrations,
    CameraFrameSet,
    Detector,
    DetectorAttributes,
    DetectorType,
    Orientation,
    ReadoutCorner,
)
from lsst.pipe.base import Instrument

from .documentation import DocumentedError

_INSTRUMENT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")


class InstrumentNameError(DocumentedError, ValueError):
    """Raised when a name cannot be that of an instrument."""


@dataclasses.dataclass(frozen=True)
class DetectorDescription:
    """What is known of one detector of a camera.

    Parameters
    ----------
    id : `int`
        Number of the detector, unique in its camera.
    name : `str`
        Name of the detector, unique in its camera, at most 32 characters.
    width, height : `int`
        Size of the trimmed image in pixels, along x and y.
    pixel_size : `float`
        Side of a pixel in mm.
    gain : `float`, optional
        Electrons per ADU.
    read_noise : `float`, optional
        Read noise in electrons.
    saturation : `float`, optional
        Full well in electrons; NaN where it is not known.
    x_center, y_center : `float`, optional
        Position of the centre of the detector on the focal plane in mm.
    serial : `str`, optional
        Serial number.
    physical_type : `str`, optional
        Vendor or technology.
    """

    id: int
    name: str
    width: int
    height: int
    pixel_size: float
    gain: float = 1.0
    read_noise: float = 0.0
    saturation: float = float("nan")
    x_center: float = 0.0
    y_center: float = 0.0
    serial: str = ""
    physical_type: str = "CCD"

    def __post_init__(self) -> None:
        if self.id < 0:
            raise ValueError(f"Detector id must not be negative, got {self.id}.")
        if self.width < 1 or self.height < 1:
            raise ValueError(
                f"Detector {self.name!r} must have at least one pixel, got {self.width}x{self.height}."
            )
        for field in ("pixel_size", "gain"):
            if not getattr(self, field) > 0.0:
                raise ValueError(
                    f"Detector {self.name!r}: {field} must be positive, got {getattr(self, field)}."
                )

    @property
    def bbox(self) -> Box:
        """Bounding box of the trimmed image (`lsst.images.Box`)."""
        return Box.factory[0 : self.height, 0 : self.width]


@dataclasses.dataclass(frozen=True)
class InstrumentDescription:
    """What is known of a camera.

    Parameters
    ----------
    name : `str`
        Butler name of the instrument.
    class_name : `str`
        Full name of its `lsst.pipe.base.Instrument` class.
    filters : `~collections.abc.Mapping` [`str`, `str`]
        Band of each physical filter.
    pixel_scale : `float`
        Nominal size of a pixel on the sky in arcsec.
    detectors : `tuple` [`DetectorDescription`, ...], optional
        Its detectors, or those that are known so far.
    visit_max, detector_max : `int`, optional
        Exclusive upper limits of visit (and exposure) and detector numbers.
    """

    name: str
    class_name: str
    filters: Mapping[str, str]
    pixel_scale: float
    detectors: tuple[DetectorDescription, ...] = ()
    visit_max: int = 2**31
    detector_max: int = 1000

    def __post_init__(self) -> None:
        check_instrument_name(self.name)
        if not self.pixel_scale > 0.0:
            raise ValueError(f"Pixel scale of {self.name} must be positive, got {self.pixel_scale}.")
        too_large = [d.id for d in self.detectors if d.id >= self.detector_max]
        if too_large:
            raise ValueError(
                f"Detectors {too_large} of {self.name} are not below detector_max = {self.detector_max}."
            )


class GenericInstrument(Instrument):
    """An instrument of which only the name is known.

    Base of the simulated cameras, and of the cameras of ingested images that
    have no ``obs`` package (`lsst.meas.cosmicrays.cameras`).
    """

    instrument_name: str = ""

    filterDefinitions = None

    @classmethod
    def getName(cls) -> str:
        return cls.instrument_name

    def describe(self) -> InstrumentDescription:
        """Describe the camera.

        Returns
        -------
        description : `InstrumentDescription`
            The camera with its detectors.

        Raises
        ------
        RuntimeError
            Raised where the class knows only the name of the camera.
        """
        raise RuntimeError(
            f"{self.getName()!r} is known only by its images: 'cosmicrays ingest' registers it with them."
        )

    def register(self, registry: Any, *, update: bool = False) -> None:
        from .repository import register_instrument_records

        register_instrument_records(registry, self.describe(), update=update)

    def getRawFormatter(self, dataId: Any) -> Any:
        raise NotImplementedError(f"{self.getName()} has no raw images, only calibrated ones.")


def check_instrument_name(name: str) -> None:
    """Check that a name can be that of an instrument.

    Parameters
    ----------
    name : `str`
        The name.

    Raises
    ------
    InstrumentNameError
        Raised if it is not a letter followed by at most 31 letters, digits
        and underscores.
    """
    if not _INSTRUMENT_NAME.fullmatch(name):
        raise InstrumentNameError(
            f"Instrument name {name!r} is not valid: a letter, then up to 31 letters, digits or underscores."
        )


def make_tan_wcs(
    ra: float, dec: float, pixel_scale: float, *, x: float, y: float, rotation: float = 0.0
) -> astropy.wcs.WCS:
    """Make a gnomonic (TAN) WCS.

    Parameters
    ----------
    ra, dec : `float`
        Tangent point in degrees, ICRS.
    pixel_scale : `float`
        Size of a pixel in arcsec.
    x, y : `float`
        Pixel of the tangent point, counted from 0; may lie off the image.
    rotation : `float`, optional
        Position angle of the y axis, from north through east, in degrees.

    Returns
    -------
    wcs : `astropy.wcs.WCS`
        The WCS; east is towards negative x where ``rotation`` is 0.
    """
    wcs = astropy.wcs.WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [x + 1.0, y + 1.0]
    angle = np.deg2rad(rotation)
    cos, sin = np.cos(angle), np.sin(angle)
    wcs.wcs.cd = pixel_scale / 3600.0 * np.array([[-cos, sin], [sin, cos]])
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    return wcs


def make_camera_frames(
    instrument: InstrumentDescription, detectors: Iterable[DetectorDescription]
) -> CameraFrameSet:
    """Relate pixels, focal plane and field angles of a camera.

    Parameters
    ----------
    instrument : `InstrumentDescription`
        The camera.
    detectors : `~collections.abc.Iterable` [`DetectorDescription`]
        The detectors that get a pixel frame.

    Returns
    -------
    frames : `lsst.images.cameras.CameraFrameSet`
        Pixel frames of the detectors, the focal plane in mm, and field
        angles in radians, without distortion.
    """
    detectors = list(detectors)
    frame_set = _ast.FrameSet(_ast.Frame(2, "Ident=FOCAL_PLANE, Unit(1)=mm, Unit(2)=mm"))
    focal_plane = 1
    for detector in detectors:
        # Pixel centres are at integers, the middle of the detector at
        # (size - 1) / 2.
        to_pixels = (
            _ast.ShiftMap([-detector.x_center, -detector.y_center])
            .then(_ast.ZoomMap(2, 1.0 / detector.pixel_size))
            .then(_ast.ShiftMap([0.5 * (detector.width - 1), 0.5 * (detector.height - 1)]))
        )
        frame = _ast.Frame(
            2,
            f"Ident=DETECTOR_{detector.id}, Unit(1)=pix, Unit(2)=pix, "
            f"Bottom(1)=0, Top(1)={detector.width}, Bottom(2)=0, Top(2)={detector.height}",
        )
        frame_set.addFrame(focal_plane, to_pixels, frame)
    pixel_size = detectors[0].pixel_size if detectors else 1.0
    radians_per_mm = np.deg2rad(instrument.pixel_scale / 3600.0) / pixel_size
    frame_set.addFrame(
        focal_plane,
        _ast.ZoomMap(2, radians_per_mm),
        _ast.Frame(2, "Ident=FIELD_ANGLE, Unit(1)=rad, Unit(2)=rad"),
    )
    return CameraFrameSet(instrument.name, frame_set)


def make_detector(
    instrument: InstrumentDescription, detector: DetectorDescription, *, visit: int | None = None
) -> Detector:
    """Make the `lsst.images` object of a detector.

    Parameters
    ----------
    instrument : `InstrumentDescription`
        The camera.
    detector : `DetectorDescription`
        The detector, read through one amplifier.
    visit : `int`, optional
        Visit whose image it is attached to.

    Returns
    -------
    detector : `lsst.images.cameras.Detector`
        The detector, with gain, read noise and saturation (ADU) of its
        amplifier, and the frames of this detector alone.
    """
    attributes = DetectorAttributes(
        name=detector.name,
        id=detector.id,
        type=DetectorType.SCIENCE,
        serial=detector.serial or detector.name,
        bbox=detector.bbox,
        orientation=Orientation(
            focal_plane_x=detector.x_center,
            focal_plane_y=detector.y_center,
            focal_plane_z=0.0,
            pixel_reference_x=0.5 * (detector.width - 1),
            pixel_reference_y=0.5 * (detector.height - 1),
            yaw=0.0 * u.radian,
            pitch=0.0 * u.radian,
            roll=0.0 * u.radian,
        ),
        pixel_size=detector.pixel_size,
        physical_type=detector.physical_type,
    )
    amplifier = Amplifier(
        name="A",
        bbox=detector.bbox,
        readout_corner=ReadoutCorner.LL,
        nominal_calibrations=AmplifierCalibrations(
            gain=detector.gain,
            read_noise=detector.read_noise,
            saturation=detector.saturation / detector.gain,
            suspect_level=float("nan"),
            linearity_coefficients=np.zeros(1),
            linearity_type="NONE",
        ),
    )
    frames = make_camera_frames(instrument, [detector])
    return Detector(attributes, [amplifier], frames, visit=visit)


def make_sky_projection(
    wcs: astropy.wcs.WCS, instrument: str, detector: DetectorDescription, *, visit: int | None = None
) -> SkyProjection[DetectorFrame]:
    """Attach a FITS WCS to the pixels of a detector.

    Parameters
    ----------
    wcs : `astropy.wcs.WCS`
        The WCS of the trimmed image, SIP and TPV distortions included.
    instrument : `str`
        Butler name of the instrument.
    detector : `DetectorDescription`
        The detector.
    visit : `int`, optional
        The visit.

    Returns
    -------
    projection : `lsst.images.SkyProjection`
        From pixels, counted from 0, to ICRS.
    """
    frame = DetectorFrame(instrument=instrument, detector=detector.id, visit=visit, bbox=detector.bbox)
    return SkyProjection.from_fits_wcs(wcs, frame, pixel_bounds=detector.bbox)
