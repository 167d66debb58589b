# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is in the simulated sky: stars, galaxies, and what changed in it."""

from __future__ import annotations

__all__ = ("SkyCatalog", "VisitChanges", "galaxy_profile", "make_catalog", "make_changes")

import dataclasses
import math

import numpy as np

from .config import SimulationConfig
from .psf import DRAWING_RADIUS, OVERSAMPLING

# Counts per square arcmin and their slope, d(log10 N)/dm, at high galactic
# latitude; the brightest stars saturate, the faintest sink in the noise.
_STARS = (8.0, 0.18, 14.0, 25.5)
_GALAXIES = (25.0, 0.35, 18.0, 25.5)
_N_GALAXY_PROFILES = 16
# Sources a little off the detector still reach into it.
_MARGIN = 40.0


@dataclasses.dataclass(frozen=True)
class SkyCatalog:
    """Sources in the field of a detector, all arrays of one length.

    Parameters
    ----------
    x, y : `numpy.ndarray`
        Positions in pixels.
    flux : `numpy.ndarray`
        Fluxes in electrons per exposure.
    profile : `numpy.ndarray`
        Number of the galaxy profile, or -1 for a star; `int`.
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    profile: np.ndarray

    @property
    def is_star(self) -> np.ndarray:
        """Which sources are stars (`numpy.ndarray`, `bool`)."""
        return self.profile < 0


@dataclasses.dataclass(frozen=True)
class VisitChanges:
    """How the sky of a visit differs from that of the template.

    Parameters
    ----------
    dx, dy : `numpy.ndarray`
        Shift of each source of the catalog in pixels.
    delta_flux : `numpy.ndarray`
        Change of flux of each source in electrons.
    x, y, flux : `numpy.ndarray`
        Sources that are only in the visit: transients.
    moved : `numpy.ndarray`
        Which sources moved by themselves; `bool`.
    """

    dx: np.ndarray
    dy: np.ndarray
    delta_flux: np.ndarray
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    moved: np.ndarray


def make_catalog(rng: np.random.Generator, config: SimulationConfig) -> SkyCatalog:
    """Draw the stars and galaxies of a field.

    Parameters
    ----------
    rng : `numpy.random.Generator`
        Source of random numbers.
    config : `SimulationConfig`
        Densities, sizes and exposure time.

    Returns
    -------
    catalog : `SkyCatalog`
        The sources, also those just outside the detector.
    """
    area = (config.width + 2 * _MARGIN) * (config.height + 2 * _MARGIN)
    square_arcmin = area * (config.camera.pixel_scale / 60.0) ** 2
    stars = _draw_fluxes(rng, config, _STARS, config.crowding * square_arcmin)
    galaxies = _draw_fluxes(rng, config, _GALAXIES, config.galaxies * square_arcmin)
    flux = np.concatenate([stars, galaxies])
    profile = np.full(len(flux), -1)
    profile[len(stars) :] = rng.integers(_N_GALAXY_PROFILES, size=len(galaxies))
    return SkyCatalog(
        x=rng.uniform(-_MARGIN, config.width + _MARGIN, len(flux)),
        y=rng.uniform(-_MARGIN, config.height + _MARGIN, len(flux)),
        flux=flux,
        profile=profile,
    )


def _draw_fluxes(
    rng: np.random.Generator,
    config: SimulationConfig,
    counts: tuple[float, float, float, float],
    square_arcmin: float,
) -> np.ndarray:
    """Draw from exponential number counts, in electrons per exposure."""
    density, slope, brightest, faintest = counts
    low, high = 10.0 ** (slope * brightest), 10.0 ** (slope * faintest)
    magnitude = np.log10(rng.uniform(low, high, rng.poisson(density * square_arcmin))) / slope
    return config.time * 10.0 ** (-0.4 * (magnitude - config.camera.zero_point))


def make_changes(rng: np.random.Generator, config: SimulationConfig, catalog: SkyCatalog) -> VisitChanges:
    """Draw what changed in a field between template and visit.

    Parameters
    ----------
    rng : `numpy.random.Generator`
        Source of random numbers.
    config : `SimulationConfig`
        Densities and errors.
    catalog : `SkyCatalog`
        Sources of the template.

    Returns
    -------
    changes : `VisitChanges`
        Registration errors (one shift of the detector and a tenth as much
        for each source), moving stars, variable stars and transients.
    """
    n = len(catalog.flux)
    shift = rng.normal(0.0, config.registration_error, 2)
    jitter = rng.normal(0.0, 0.1 * config.registration_error, (2, n))
    moved = catalog.is_star & (rng.random(n) < config.moving_fraction)
    speed, angle = rng.uniform(0.3, 1.0, n), rng.uniform(0.0, 2.0 * np.pi, n)
    number = rng.poisson(config.variables * config.square_arcmin)
    n_transients = rng.poisson(config.variables * config.square_arcmin)
    return VisitChanges(
        dx=shift[0] + jitter[0] + moved * speed * np.cos(angle),
        dy=shift[1] + jitter[1] + moved * speed * np.sin(angle),
        delta_flux=_variability(rng, catalog, moved, number),
        x=rng.uniform(0.0, config.width - 1.0, n_transients),
        y=rng.uniform(0.0, config.height - 1.0, n_transients),
        flux=_transient_fluxes(rng, config, n_transients),
        moved=moved,
    )


def _variability(rng: np.random.Generator, catalog: SkyCatalog, moved: np.ndarray, number: int) -> np.ndarray:
    delta = np.zeros(len(catalog.flux))
    candidates = np.flatnonzero(catalog.is_star & ~moved)
    chosen = rng.permutation(candidates)[:number]
    amplitude = rng.uniform(0.1, 0.6, len(chosen)) * rng.choice([-1.0, 1.0], len(chosen))
    delta[chosen] = amplitude * catalog.flux[chosen]
    return delta


def _transient_fluxes(rng: np.random.Generator, config: SimulationConfig, number: int) -> np.ndarray:
    """From 5 to 500 times the noise of a point source in the sky."""
    fwhm = config.seeing / config.camera.pixel_scale
    noise = math.sqrt(
        (config.sky_electrons + config.camera.read_noise**2) * 4.0 * np.pi * (fwhm / 2.355) ** 2
    )
    return noise * 10.0 ** rng.uniform(math.log10(5.0), math.log10(500.0), number)


def galaxy_profile(seed: int, number: int, pixel_scale: float) -> np.ndarray:
    """Draw one of the shapes that galaxies have.

    Parameters
    ----------
    seed : `int`
        Seed of random numbers.
    number : `int`
        Number of the shape, as in `SkyCatalog.profile`.
    pixel_scale : `float`
        Size of a pixel in arcsec.

    Returns
    -------
    image : `numpy.ndarray`
        A Sersic profile, a disc (n = 1) or a steeper one (n = 2.5), with a
        half-light radius of 0.2 to 0.8 arcsec along the major axis, on the
        grid of the tables and with unit sum.
    """
    rng = np.random.default_rng([seed, number])
    radius = OVERSAMPLING * 0.2 * 4.0 ** rng.random() / pixel_scale
    angle, axis_ratio = rng.uniform(0.0, np.pi), rng.uniform(0.35, 1.0)
    return _sersic(2.5 if number % 4 == 0 else 1.0, radius, angle, axis_ratio)


def _sersic(index: float, radius: float, angle: float, axis_ratio: float) -> np.ndarray:
    """Sample a Sersic profile; its cusp is softened over half a point."""
    reach = DRAWING_RADIUS * OVERSAMPLING
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    major = x * math.cos(angle) + y * math.sin(angle)
    minor = (y * math.cos(angle) - x * math.sin(angle)) / axis_ratio
    steepness = 2.0 * index - 1.0 / 3.0
    image = np.exp(-steepness * ((major**2 + minor**2 + 0.25) / radius**2) ** (0.5 / index))
    return image / image.sum()
