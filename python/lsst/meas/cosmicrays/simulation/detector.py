# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that is simulated of one detector in one visit."""

from __future__ import annotations

__all__ = ("SimulatedDetector", "describe_visit", "simulate_detector")

import dataclasses
import math

import astropy.time
import astropy.units as u
import astropy.wcs
import numpy as np
from astropy.table import Table

from lsst.images import Box, Image, VisitImage
from lsst.images.psfs import PointSpreadFunction

from ..engines.background import median_background
from ..engines.morphological import TooManyCosmicRaysError, find_cosmic_rays
from ..engines.psf import SIGMA_TO_FWHM
from ..instruments import DetectorDescription, InstrumentDescription, make_tan_wcs
from ..repository import VisitDescription
from ..visit_images import make_visit_image
from .camera import SimulationError
from .config import SimulationConfig
from .cosmic_rays import draw_cosmic_rays
from .psf import SpatialProfile, make_piff_psf, make_psf
from .scene import Exposure, add_trail, detect_pixels, draw_bad_columns, draw_sky, draw_trails, expose
from .sources import SkyCatalog, VisitChanges, make_catalog, make_changes

# Where the simulated telescope points, and from when on.
_RA, _DEC = 150.1, 2.2
_FIRST_VISIT = astropy.time.Time("2026-01-15T02:00:00", scale="tai")
_CADENCE = 900.0 * u.s

# Planes of pixels that the default finder does not start from.
_BAD = ("BAD", "SATURATED", "INTERPOLATED", "NO_DATA")

# Least signal to noise of a star that counts as one.
_STAR_SIGNIFICANCE = 10.0

# What random numbers are for: streams that do not touch each other.
_SKY, _DEFECTS, _TEMPLATE, _CHANGES, _COSMIC_RAYS, _SCIENCE, _VISIT_PSF, _TEMPLATE_PSF = range(8)


@dataclasses.dataclass(frozen=True)
class SimulatedDetector:
    """The datasets of one detector in one visit.

    Parameters
    ----------
    visit_image : `lsst.images.VisitImage`
        Science image with cosmic rays in it, masked as the default finder
        of single-frame processing masks them, and not interpolated.
    template : `lsst.images.VisitImage`
        Deeper image of the same pixels without them.
    charge : `lsst.images.Image`
        Electrons of cosmic rays.
    cosmic_rays : `astropy.table.Table`
        The cosmic rays (see `draw_cosmic_rays`).
    variables : `astropy.table.Table`
        What changed in the sky: id, x, y, ra, dec, flux in the template,
        delta_flux, and kind: ``variable``, ``transient`` or ``moving``.
    stars : `astropy.table.Table`
        Stars that can be seen, also just off the detector: x, y, flux.
    """

    visit_image: VisitImage
    template: VisitImage
    charge: Image
    cosmic_rays: Table
    variables: Table
    stars: Table


def describe_visit(config: SimulationConfig, visit: int) -> VisitDescription:
    """Describe a simulated visit.

    Parameters
    ----------
    config : `SimulationConfig`
        What is simulated.
    visit : `int`
        Number of the visit, from 1.

    Returns
    -------
    description : `~lsst.meas.cosmicrays.repository.VisitDescription`
        One of a series of visits of one field.
    """
    if visit < 1:
        raise SimulationError(f"Visits are numbered from 1, got {visit}.")
    return VisitDescription(
        id=visit,
        physical_filter=config.camera.physical_filter,
        begin=_FIRST_VISIT + (visit - 1) * (_CADENCE + config.time * u.s),
        exposure_time=config.time,
        ra=_RA,
        dec=_DEC,
        seq_num=visit,
        target="simulated",
        science_program="simulation",
        zenith_angle=30.0,
        azimuth=180.0,
        simulated=True,
    )


def simulate_detector(config: SimulationConfig, visit: int, detector: int) -> SimulatedDetector:
    """Simulate one detector in one visit.

    Parameters
    ----------
    config : `SimulationConfig`
        What to simulate.
    visit : `int`
        Number of the visit, from 1.  All visits see the same sky and have
        the same template.
    detector : `int`
        Number of the detector, from 0.

    Returns
    -------
    simulated : `SimulatedDetector`
        The images and their truth; the same for the same arguments.

    Raises
    ------
    SimulationError
        Raised if the camera has no such detector, or visit is less than 1.
    """
    camera = config.camera
    description = camera.detector(detector, config.width, config.height)
    pointing = describe_visit(config, visit)
    instrument = camera.describe((description,))
    wcs = detector_wcs(config, description, pointing)

    sky = make_catalog(_rng(config, _SKY, detector), config)
    changes = make_changes(_rng(config, _CHANGES, detector, visit), config, sky)
    bad = draw_bad_columns(_rng(config, _DEFECTS, detector), config)
    charge, cosmic_rays = draw_cosmic_rays(_rng(config, _COSMIC_RAYS, detector, visit), config)

    psf = _make_psf(config, config.seeing, _rng(config, _VISIT_PSF, detector, visit))
    rng = _rng(config, _SCIENCE, detector, visit)
    light = draw_sky(config, psf, sky, changes)
    for trail in draw_trails(rng, config):
        add_trail(light, trail)
    science = expose(rng, config, light, cosmic_rays=charge, bad=bad)

    template_psf = _make_psf(config, config.template_seeing, _rng(config, _TEMPLATE_PSF, detector))
    template = expose(
        _rng(config, _TEMPLATE, detector),
        config,
        draw_sky(config, template_psf, sky),
        depth=config.template_depth,
    )

    def visit_image(exposure: Exposure, profile: SpatialProfile, *, process: bool) -> VisitImage:
        model = make_piff_psf(profile, description.bbox)
        planes = exposure.planes | detect_pixels(exposure, profile.fwhm)
        if process:
            planes["COSMIC_RAY"] = _find_as_processing_does(exposure, model, description.bbox)
        return make_visit_image(
            exposure.image,
            exposure.variance,
            planes,
            instrument=instrument,
            visit=pointing,
            detector=description,
            wcs=wcs,
            psf=model,
            calibration=_nano_jansky(config),
        )

    return SimulatedDetector(
        visit_image=visit_image(science, psf, process=True),
        template=visit_image(template, template_psf, process=False),
        charge=Image(charge, bbox=description.bbox, unit=u.electron),
        cosmic_rays=cosmic_rays,
        variables=_variable_table(config, sky, changes, wcs),
        stars=_star_table(config, sky, changes),
    )


def _find_as_processing_does(exposure: Exposure, psf: PointSpreadFunction, bbox: Box) -> np.ndarray:
    """Return the mask that single-frame processing leaves with keepCRs.

    It runs the default finder with default settings, and gives up, without
    a mask, where that gives up.
    """
    kernel = psf.compute_kernel_image(
        x=(bbox.x.start + bbox.x.stop - 1) / 2.0, y=(bbox.y.start + bbox.y.stop - 1) / 2.0
    ).array
    nothing = np.zeros(exposure.image.shape, dtype=bool)
    bad = np.logical_or.reduce([nothing, *(exposure.planes.get(name, nothing) for name in _BAD)])
    try:
        return find_cosmic_rays(
            exposure.image,
            exposure.variance,
            bad,
            exposure.planes.get("INTERPOLATED", nothing),
            kernel.astype(np.float64),
            median_background(exposure.image),
        )
    except TooManyCosmicRaysError:
        return nothing


def detector_wcs(
    config: SimulationConfig, detector: DetectorDescription, visit: VisitDescription
) -> astropy.wcs.WCS:
    """Place a detector on the sky.

    Parameters
    ----------
    config : `SimulationConfig`
        What is simulated.
    detector : `~lsst.meas.cosmicrays.instruments.DetectorDescription`
        The detector.
    visit : `~lsst.meas.cosmicrays.repository.VisitDescription`
        Where the telescope points.

    Returns
    -------
    wcs : `astropy.wcs.WCS`
        Projection about the pointing, without distortion.
    """
    return make_tan_wcs(
        visit.ra,
        visit.dec,
        config.camera.pixel_scale,
        x=0.5 * (detector.width - 1) - detector.x_center / detector.pixel_size,
        y=0.5 * (detector.height - 1) - detector.y_center / detector.pixel_size,
        rotation=visit.rotation,
    )


def describe_camera(config: SimulationConfig, detectors: list[int]) -> InstrumentDescription:
    """Describe the simulated camera.

    Parameters
    ----------
    config : `SimulationConfig`
        What is simulated.
    detectors : `list` [`int`]
        Numbers of its detectors.

    Returns
    -------
    description : `~lsst.meas.cosmicrays.instruments.InstrumentDescription`
        The camera with these detectors.
    """
    camera = config.camera
    return camera.describe(tuple(camera.detector(i, config.width, config.height) for i in detectors))


def _rng(config: SimulationConfig, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=key))


def _make_psf(config: SimulationConfig, seeing: float, rng: np.random.Generator) -> SpatialProfile:
    return make_psf(rng, config.shape, seeing / config.camera.pixel_scale, config.psf_variation)


def _nano_jansky(config: SimulationConfig) -> float:
    """Flux of one electron per exposure in nJy."""
    return 10.0 ** (0.4 * (31.4 - config.camera.zero_point)) / config.time


def _variable_table(
    config: SimulationConfig, sky: SkyCatalog, changes: VisitChanges, wcs: astropy.wcs.WCS
) -> Table:
    inside = (sky.x > -0.5) & (sky.x < config.width - 0.5) & (sky.y > -0.5) & (sky.y < config.height - 0.5)
    variable = inside & (changes.delta_flux != 0.0)
    moving = inside & changes.moved
    parts = [
        (sky.x[variable], sky.y[variable], sky.flux[variable], changes.delta_flux[variable], "variable"),
        (changes.x, changes.y, np.zeros_like(changes.flux), changes.flux, "transient"),
        (sky.x[moving], sky.y[moving], sky.flux[moving], np.zeros(moving.sum()), "moving"),
    ]
    x, y, flux, delta = (np.concatenate([part[k] for part in parts]) for k in range(4))
    sky_position = wcs.all_pix2world(np.stack([x, y], axis=-1), 0)
    table = Table()
    table["id"] = np.arange(len(x))
    table["x"], table["y"] = x * u.pix, y * u.pix
    table["ra"], table["dec"] = sky_position.T * u.deg
    table["flux"], table["delta_flux"] = flux * u.electron, delta * u.electron
    table["kind"] = np.concatenate([np.full(len(part[0]), part[4], dtype="U9") for part in parts])
    return table


def _star_table(config: SimulationConfig, sky: SkyCatalog, changes: VisitChanges) -> Table:
    """Return the stars that stand out from the noise of a visit."""
    sigma = config.seeing / config.camera.pixel_scale / SIGMA_TO_FWHM
    # Pixels whose noise enters a flux that is measured with a Gaussian PSF.
    n_pixels = 4.0 * math.pi * sigma**2
    noise = math.sqrt(n_pixels * (config.sky_electrons + config.camera.read_noise**2))
    flux = sky.flux + changes.delta_flux
    seen = sky.is_star & (flux >= _STAR_SIGNIFICANCE * noise)
    table = Table()
    table["x"], table["y"] = (sky.x + changes.dx)[seen] * u.pix, (sky.y + changes.dy)[seen] * u.pix
    table["flux"] = flux[seen] * u.electron
    return table
