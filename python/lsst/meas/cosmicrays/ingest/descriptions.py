# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a repository wants to know of an image: camera, detector, visit."""

from __future__ import annotations

__all__ = ("FrameDescription", "Pointing", "describe_frame")

import dataclasses
import warnings
from typing import NamedTuple

import astropy.wcs
import numpy as np
from astropy.time import Time
from astropy.wcs.utils import proj_plane_pixel_scales

from ..cameras import generic_class_name
from ..instruments import DetectorDescription, InstrumentDescription, make_tan_wcs
from ..repository import VisitDescription
from .errors import IngestWarning
from .identity import Identity
from .preparation import PreparedFrame

_DEFAULT_PIXEL_SCALE = 0.2
_DEFAULT_PIXEL_SIZE = 0.015
_DEFAULT_DATE = "2000-01-01T00:00:00"
_DEFAULT_EXPOSURE_TIME = 1.0
_DEFAULT_FILTER = "unknown"
_FILTER_NAME_LENGTH = 64
_BANDS = frozenset("ugrizyUBVRIJHK")


class Pointing(NamedTuple):
    """Where a telescope pointed, in degrees."""

    ra: float
    dec: float
    rotation: float


@dataclasses.dataclass(frozen=True, eq=False)
class FrameDescription:
    """What a repository wants to know of an image.

    Parameters
    ----------
    instrument
        The camera, with the filter and the detector of the image.
    detector
        The detector.
    visit
        The visit.
    wcs
        World coordinates of the image.
    """

    instrument: InstrumentDescription
    detector: DetectorDescription
    visit: VisitDescription
    wcs: astropy.wcs.WCS


def describe_frame(
    frame: PreparedFrame, identity: Identity, instrument: str, pointing: Pointing | None
) -> FrameDescription:
    """Gather what headers and preset say, and assume what they do not.

    Parameters
    ----------
    frame
        The image.
    identity
        Its visit and detector.
    instrument
        Butler name of its instrument.
    pointing
        Where the telescope pointed, if that is known from other detectors
        of the visit; by default the middle of the image.

    Returns
    -------
    description : `FrameDescription`
        The description.

    Raises
    ------
    IngestError
        Raised if a number or a date makes no sense.

    Warns
    -----
    IngestWarning
        Issued for everything that is assumed.
    """
    detector = _describe_detector(frame, identity)
    wcs = frame.source.wcs if frame.source.wcs is not None else _make_up_wcs(frame)
    physical_filter, band = _filter_and_band(frame)
    camera = InstrumentDescription(
        name=instrument,
        class_name=generic_class_name(instrument),
        filters={physical_filter: band},
        pixel_scale=float(np.mean(proj_plane_pixel_scales(wcs))) * 3600.0,
        detectors=(detector,),
    )
    visit = _describe_visit(frame, identity, physical_filter, pointing or _middle(wcs, detector))
    return FrameDescription(camera, detector, visit, wcs)


def _note(frame: PreparedFrame, text: str) -> None:
    place = f"{frame.source.path.name}[{frame.source.extension}]"
    warnings.warn(f"{place}: {text}", IngestWarning, stacklevel=3)


def _describe_detector(frame: PreparedFrame, identity: Identity) -> DetectorDescription:
    height, width = frame.science.image.shape
    pixel_size = frame.source.quantities.checked_number("pixel_size", above=0.0)
    return DetectorDescription(
        id=identity.detector,
        name=identity.detector_name,
        width=width,
        height=height,
        pixel_size=_DEFAULT_PIXEL_SIZE if pixel_size is None else pixel_size,
        gain=frame.science.gain,
        read_noise=frame.science.read_noise,
        saturation=frame.science.saturation,
    )


def _describe_visit(
    frame: PreparedFrame, identity: Identity, physical_filter: str, pointing: Pointing
) -> VisitDescription:
    quantities = frame.source.quantities
    begin = quantities.date()
    if begin is None:
        _note(frame, f"no date: {_DEFAULT_DATE} is assumed; --date gives another")
        begin = Time(_DEFAULT_DATE, scale="utc")
    exposure_time = quantities.checked_number("exposure_time", at_least=0.0)
    if exposure_time is None:
        _note(frame, "no exposure time: 1 s is assumed, rates will be wrong; see --exposure-time")
        exposure_time = _DEFAULT_EXPOSURE_TIME
    return VisitDescription(
        id=identity.visit,
        name=identity.visit_name,
        physical_filter=physical_filter,
        begin=begin,
        exposure_time=exposure_time,
        ra=pointing.ra,
        dec=pointing.dec,
        rotation=pointing.rotation,
    )


def _make_up_wcs(frame: PreparedFrame) -> astropy.wcs.WCS:
    """Make a tangential projection, so that there is a region on the sky."""
    quantities = frame.source.quantities
    scale = quantities.checked_number("pixel_scale", above=0.0)
    ra, dec = quantities.angle("ra"), quantities.angle("dec")
    assumed = [
        text
        for text, known in (
            (f"a pixel scale of {_DEFAULT_PIXEL_SCALE} arcsec", scale is not None),
            ("a pointing at (0, 0)", ra is not None and dec is not None),
        )
        if not known
    ]
    _note(
        frame, "no WCS: a tangential one is made up" + (f" with {' and '.join(assumed)}" if assumed else "")
    )
    height, width = frame.science.image.shape
    return make_tan_wcs(
        ra or 0.0,
        dec or 0.0,
        _DEFAULT_PIXEL_SCALE if scale is None else scale,
        x=(width - 1) / 2,
        y=(height - 1) / 2,
    )


def _middle(wcs: astropy.wcs.WCS, detector: DetectorDescription) -> Pointing:
    sky = wcs.pixel_to_world((detector.width - 1) / 2, (detector.height - 1) / 2).icrs
    return Pointing(float(sky.ra.deg), float(sky.dec.deg), 0.0)


def _filter_and_band(frame: PreparedFrame) -> tuple[str, str]:
    """Return the physical filter and its band.

    The band is the one that is given, else the first letter of the filter
    if that is a word of its own, else the filter itself.
    """
    quantities = frame.source.quantities
    physical_filter = quantities.text("filter")
    if physical_filter is None:
        _note(frame, f"no filter: {_DEFAULT_FILTER!r} is assumed; --filter gives another")
        physical_filter = _DEFAULT_FILTER
    physical_filter = physical_filter[:_FILTER_NAME_LENGTH]
    band = quantities.text("band") or quantities.preset.bands.get(physical_filter)
    if band is None:
        first = physical_filter.split()[0]
        band = first if first in _BANDS else physical_filter
    return physical_filter, band[:32]
