# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making a complete `lsst.images.VisitImage` from arrays and descriptions."""

from __future__ import annotations

__all__ = ("make_mask", "make_observation_info", "make_visit_image")

from collections.abc import Mapping
from typing import Any

import astropy.units as u
import astropy.wcs
import numpy as np
from astro_metadata_translator import ObservationInfo, makeObservationInfo
from astropy.coordinates import Angle, SkyCoord

from lsst.images import (
    Box,
    Image,
    Mask,
    MaskPlane,
    MaskSchema,
    VisitImage,
    get_legacy_visit_image_mask_planes,
)
from lsst.images.fields import ChebyshevField
from lsst.images.psfs import PointSpreadFunction

from .instruments import DetectorDescription, InstrumentDescription, make_detector, make_sky_projection
from .repository import VisitDescription


def make_mask(planes: Mapping[str, np.ndarray], bbox: Box) -> Mask:
    """Make a mask with all planes of an LSST visit image.

    Parameters
    ----------
    planes : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Planes that are not empty, by their `lsst.images` names (``BAD``,
        ``SATURATED``, ...), each `bool` of shape (ny, nx).  A name that
        visit images do not have adds a plane.
    bbox : `lsst.images.Box`
        Bounding box.

    Returns
    -------
    mask : `lsst.images.Mask`
        The mask.
    """
    known = list(get_legacy_visit_image_mask_planes().values())
    names = {plane.name for plane in known}
    added = [MaskPlane(name, "Mask plane of the original image.") for name in planes if name not in names]
    mask = Mask(0, schema=MaskSchema(known + added), bbox=bbox)
    for name, plane in planes.items():
        mask.set(name, plane)
    return mask


def make_observation_info(
    instrument: InstrumentDescription, visit: VisitDescription, detector: DetectorDescription
) -> ObservationInfo:
    """Describe an observation in the standard form of LSST.

    Parameters
    ----------
    instrument : `~lsst.meas.cosmicrays.instruments.InstrumentDescription`
        The camera.
    visit : `~lsst.meas.cosmicrays.repository.VisitDescription`
        The visit.
    detector : `~lsst.meas.cosmicrays.instruments.DetectorDescription`
        The detector.

    Returns
    -------
    info : `astro_metadata_translator.ObservationInfo`
        The description.
    """
    return makeObservationInfo(
        instrument=instrument.name,
        telescope=instrument.name,
        exposure_id=visit.id,
        visit_id=visit.id,
        observation_id=visit.observation_name,
        exposure_group=visit.observation_name,
        observing_day=visit.night,
        observation_counter=visit.seq_num,
        physical_filter=visit.physical_filter,
        datetime_begin=visit.begin,
        datetime_end=visit.end,
        exposure_time=visit.exposure_time * u.s,
        exposure_time_requested=visit.exposure_time * u.s,
        dark_time=visit.exposure_time * u.s,
        boresight_rotation_angle=Angle(visit.rotation, unit="deg"),
        boresight_rotation_coord="sky",
        detector_num=detector.id,
        detector_name=detector.name,
        detector_unique_name=detector.name,
        detector_serial=detector.serial or detector.name,
        detector_group="",
        tracking_radec=SkyCoord(visit.ra, visit.dec, unit="deg", frame="icrs"),
        object=visit.target,
        science_program=visit.science_program,
        observation_type="science",
        observation_reason=visit.reason,
        has_simulated_content=visit.simulated,
        can_see_sky=True,
    )


def make_visit_image(
    image: np.ndarray,
    variance: np.ndarray,
    planes: Mapping[str, np.ndarray],
    *,
    instrument: InstrumentDescription,
    visit: VisitDescription,
    detector: DetectorDescription,
    wcs: astropy.wcs.WCS,
    psf: PointSpreadFunction,
    calibration: float | None = None,
    unit: u.UnitBase = u.electron,
    metadata: Mapping[str, Any] | None = None,
) -> VisitImage:
    """Make a visit image with everything attached.

    Parameters
    ----------
    image, variance : `numpy.ndarray`
        Pixels, background subtracted, and their variance; `float32` of shape
        (ny, nx), in ``unit`` and its square.
    planes : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Mask planes (see `make_mask`).
    instrument : `~lsst.meas.cosmicrays.instruments.InstrumentDescription`
        The camera.
    visit : `~lsst.meas.cosmicrays.repository.VisitDescription`
        The visit.
    detector : `~lsst.meas.cosmicrays.instruments.DetectorDescription`
        The detector.
    wcs : `astropy.wcs.WCS`
        WCS of the image.
    psf : `lsst.images.psfs.PointSpreadFunction`
        PSF model.
    calibration : `float`, optional
        nJy per ``unit``; without it, the image has no photometric scaling.
    unit : `astropy.units.UnitBase`, optional
        Unit of the image.
    metadata : `~collections.abc.Mapping` [`str`, `typing.Any`], optional
        Anything else worth keeping.

    Returns
    -------
    visit_image : `lsst.images.VisitImage`
        The visit image.

    Raises
    ------
    ValueError
        Raised if image, variance or a plane has not the shape of the
        detector.
    """
    _check_shapes(detector, image=image, variance=variance, **planes)
    bbox = detector.bbox
    scaling = None
    if calibration is not None:
        scaling = ChebyshevField(bbox, np.array([[calibration]]), unit=u.nJy / unit)
    return VisitImage(
        Image(np.asarray(image, dtype=np.float32), bbox=bbox, unit=unit),
        mask=make_mask(planes, bbox),
        variance=Image(np.asarray(variance, dtype=np.float32), bbox=bbox, unit=unit**2),
        sky_projection=make_sky_projection(wcs, instrument.name, detector, visit=visit.id),
        obs_info=make_observation_info(instrument, visit, detector),
        photometric_scaling=scaling,
        psf=psf,
        detector=make_detector(instrument, detector, visit=visit.id),
        band=instrument.filters[visit.physical_filter],
        metadata=dict(metadata) if metadata is not None else None,
    )


def _check_shapes(detector: DetectorDescription, **arrays: np.ndarray) -> None:
    for name, array in arrays.items():
        if array.shape != (detector.height, detector.width):
            raise ValueError(
                f"Detector {detector.name}: {name} has the shape {array.shape}, "
                f"not {(detector.height, detector.width)} (ny, nx)."
            )
