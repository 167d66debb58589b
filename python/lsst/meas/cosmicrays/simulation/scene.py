# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the sky to the pixels of a CCD: light, noise and defects."""

from __future__ import annotations

__all__ = (
    "Exposure",
    "Trail",
    "add_trail",
    "bleed",
    "detect_pixels",
    "draw_bad_columns",
    "draw_sky",
    "draw_trails",
    "expose",
    "galaxy_tables",
)

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import scipy.ndimage
from numba import njit

from .config import SimulationConfig
from .psf import SpatialProfile, draw_sources
from .sources import SkyCatalog, VisitChanges, galaxy_profile

# Outskirts of sources are left out below this fraction of the noise.
_NEGLIGIBLE = 0.02
# Above this, Poisson noise is drawn from a normal distribution.
_MANY_ELECTRONS = 100.0


@dataclasses.dataclass(frozen=True)
class Exposure:
    """A calibrated image with its defects.

    Parameters
    ----------
    image, variance : `numpy.ndarray`
        Sky-subtracted electrons and their variance; `float32` of shape
        (ny, nx).
    planes : `dict` [`str`, `numpy.ndarray`]
        Mask planes, `bool` of the same shape.
    """

    image: np.ndarray
    variance: np.ndarray
    planes: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Trail:
    """The trail of a satellite: a straight line across the detector.

    Parameters
    ----------
    x, y : `float`
        A point on it in pixels.
    angle : `float`
        Direction in radians, from the x axis.
    width : `float`
        Standard deviation across in pixels.
    brightness : `float`
        Electrons per pixel of length.
    """

    x: float
    y: float
    angle: float
    width: float
    brightness: float


def galaxy_tables(
    config: SimulationConfig, psf: SpatialProfile, numbers: Iterable[int]
) -> dict[int, SpatialProfile]:
    """Convolve galaxy shapes with a PSF.

    Parameters
    ----------
    config : `SimulationConfig`
        What is simulated.
    psf : `SpatialProfile`
        PSF of the image.
    numbers : `~collections.abc.Iterable` [`int`]
        The shapes wanted, as in `SkyCatalog.profile`.

    Returns
    -------
    profiles : `dict` [`int`, `SpatialProfile`]
        The profiles, by these numbers.
    """
    numbers = sorted(numbers)
    images = [galaxy_profile(config.seed, number, config.camera.pixel_scale) for number in numbers]
    return dict(zip(numbers, psf.convolve(images), strict=True))


def draw_sky(
    config: SimulationConfig,
    psf: SpatialProfile,
    catalog: SkyCatalog,
    changes: VisitChanges | None = None,
) -> np.ndarray:
    """Draw stars and galaxies without noise.

    Parameters
    ----------
    config : `SimulationConfig`
        What is simulated.
    psf : `SpatialProfile`
        PSF of the image.
    catalog : `SkyCatalog`
        The sources.
    changes : `VisitChanges`, optional
        What to change in it.

    Returns
    -------
    image : `numpy.ndarray`
        Electrons without the sky, `float32` of shape (ny, nx).
    """
    x, y, flux, profile = catalog.x, catalog.y, catalog.flux, catalog.profile
    if changes is not None:
        x = np.concatenate([x + changes.dx, changes.x])
        y = np.concatenate([y + changes.dy, changes.y])
        flux = np.concatenate([flux + changes.delta_flux, changes.flux])
        profile = np.concatenate([profile, np.full(len(changes.x), -1)])
    image = np.zeros(config.shape, dtype=np.float32)
    faintest = _NEGLIGIBLE * math.sqrt(config.sky_electrons + config.camera.read_noise**2)
    tables = {-1: psf} | galaxy_tables(config, psf, set(profile[profile >= 0]))
    for number, table in tables.items():
        chosen = profile == number
        draw_sources(image, table, x[chosen], y[chosen], flux[chosen], faintest)
    return image


def draw_trails(rng: np.random.Generator, config: SimulationConfig) -> list[Trail]:
    """Draw the satellites that cross a detector: none or one.

    Parameters
    ----------
    rng : `numpy.random.Generator`
        Source of random numbers.
    config : `SimulationConfig`
        What is simulated.

    Returns
    -------
    trails : `list` [`Trail`]
        Trails of 1 to 100 times the noise of a pixel.
    """
    crossed = rng.random() < config.satellite_fraction
    x, y = rng.uniform(0.2, 0.8, 2) * (config.width, config.height)
    noise = math.sqrt(config.sky_electrons + config.camera.read_noise**2)
    width = config.seeing / config.camera.pixel_scale / 2.355
    width *= config.satellite_width * rng.uniform(1.0, 2.0)
    brightness = noise * 10.0 ** rng.uniform(0.0, 2.0) * width * math.sqrt(2.0 * math.pi)
    trail = Trail(x, y, rng.uniform(0.0, math.pi), width, brightness)
    return [trail] if crossed else []


def add_trail(image: np.ndarray, trail: Trail) -> None:
    """Add the trail of a satellite to an image.

    Parameters
    ----------
    image : `numpy.ndarray`
        Image to add to, of shape (ny, nx).
    trail : `Trail`
        The trail.
    """
    _add_line(
        image, trail.x, trail.y, math.sin(trail.angle), math.cos(trail.angle), trail.width, trail.brightness
    )


@njit(cache=True)
def _add_line(image, x, y, sine, cosine, width, brightness):  # type: ignore[no-untyped-def]
    peak = brightness / (width * np.sqrt(2.0 * np.pi))
    for j in range(image.shape[0]):
        for i in range(image.shape[1]):
            across = ((j - y) * cosine - (i - x) * sine) / width
            if abs(across) < 5.0:
                image[j, i] += peak * np.exp(-0.5 * across * across)


@njit(cache=True)
def bleed(electrons: np.ndarray, full_well: float) -> None:
    """Let charge beyond the full well flow along the columns, in place.

    Parameters
    ----------
    electrons : `numpy.ndarray`
        Electrons in each pixel, sky included, `float32` of shape (ny, nx).
    full_well : `float`
        Electrons that a pixel holds.

    Notes
    -----
    Half of the excess goes each way, pixel by pixel until there is room; what
    reaches the end of a column is lost.
    """
    ny, nx = electrons.shape
    excess = np.empty(ny)
    for i in range(nx):
        saturated = False
        for j in range(ny):
            excess[j] = max(0.0, electrons[j, i] - full_well)
            saturated = saturated or excess[j] > 0.0
        if not saturated:
            continue
        for j in range(ny):
            electrons[j, i] -= excess[j]
        for way in (1, -1):
            carried = 0.0
            for k in range(ny):
                j = k if way == 1 else ny - 1 - k
                carried += 0.5 * excess[j]
                taken = min(carried, full_well - electrons[j, i])
                electrons[j, i] += taken
                carried -= taken


def draw_bad_columns(rng: np.random.Generator, config: SimulationConfig) -> np.ndarray:
    """Draw the bad columns of a detector.

    Parameters
    ----------
    rng : `numpy.random.Generator`
        Source of random numbers.
    config : `SimulationConfig`
        What is simulated.

    Returns
    -------
    bad : `numpy.ndarray`
        Bad pixels, `bool` of shape (ny, nx): whole columns, parts of
        columns, some of them two wide.
    """
    bad = np.zeros(config.shape, dtype=bool)
    for _ in range(rng.poisson(config.bad_column_density * config.width / 1000.0)):
        column, wide = int(rng.integers(1, config.width - 2)), int(rng.random() < 0.3)
        start = int(rng.integers(config.height)) if rng.random() < 0.5 else 0
        bad[start:, column : column + 1 + wide] = True
    return bad


def expose(
    rng: np.random.Generator,
    config: SimulationConfig,
    light: np.ndarray,
    *,
    cosmic_rays: np.ndarray | None = None,
    bad: np.ndarray | None = None,
    depth: int = 1,
) -> Exposure:
    """Take one exposure, or the mean of several, and reduce it.

    Parameters
    ----------
    rng : `numpy.random.Generator`
        Source of random numbers.
    config : `SimulationConfig`
        Sky, camera and whether there is noise.
    light : `numpy.ndarray`
        Electrons without the sky, `float32` of shape (ny, nx).
    cosmic_rays : `numpy.ndarray`, optional
        Electrons of cosmic rays, of the same shape.
    bad : `numpy.ndarray`, optional
        Bad pixels; interpolated along rows, and masked as such.
    depth : `int`, optional
        Number of exposures.

    Returns
    -------
    exposure : `Exposure`
        The sky-subtracted image.  As instrument signature removal does, the
        variance is taken from the electrons that were counted, those of
        cosmic rays included.  Planes are SATURATED, BAD and INTERPOLATED
        (bad pixels only).
    """
    camera, sky = config.camera, config.sky_electrons
    electrons = light + np.float32(sky)
    if config.noise:
        electrons = _count(rng, electrons, camera.read_noise, depth)
    if cosmic_rays is not None:
        electrons += cosmic_rays
    bleed(electrons, camera.full_well)
    planes = {"SATURATED": electrons >= camera.full_well * (1.0 - 1e-6)}
    if bad is not None:
        _interpolate_rows(electrons, bad)
        planes["BAD"] = bad
        planes["INTERPOLATED"] = bad.copy()
    variance = (np.maximum(electrons, 0.0) + np.float32(camera.read_noise**2)) / np.float32(depth)
    electrons -= np.float32(sky)
    return Exposure(electrons, variance, planes)


def _count(rng: np.random.Generator, mean: np.ndarray, read_noise: float, depth: int) -> np.ndarray:
    """Draw the mean of ``depth`` exposures."""
    counts = rng.standard_normal(mean.shape, dtype=np.float32)
    sigma = mean + np.float32(read_noise**2)
    sigma /= np.float32(depth)
    np.sqrt(sigma, out=sigma)
    counts *= sigma
    counts += mean
    few = mean * depth < _MANY_ELECTRONS
    if few.any():
        drawn = rng.poisson(mean[few] * depth) + rng.normal(0.0, read_noise * math.sqrt(depth), few.sum())
        counts[few] = drawn / depth
    return counts


def _interpolate_rows(image: np.ndarray, bad: np.ndarray) -> None:
    """Replace bad pixels by a line between their neighbours, in place."""
    columns = np.arange(image.shape[1])
    for row in np.flatnonzero(bad.any(axis=1)):
        holes = bad[row]
        image[row, holes] = np.interp(columns[holes], columns[~holes], image[row, ~holes])


def detect_pixels(exposure: Exposure, fwhm: float, threshold: float = 5.0) -> dict[str, np.ndarray]:
    """Find the pixels of sources, as detection does after smoothing.

    Parameters
    ----------
    exposure : `Exposure`
        The image.
    fwhm : `float`
        FWHM of the PSF in pixels.
    threshold : `float`, optional
        Significance of a pixel of the smoothed image.

    Returns
    -------
    planes : `dict` [`str`, `numpy.ndarray`]
        DETECTED, grown by 2.4 sigma of the PSF, and DETECTION_EDGE, the rim
        where the image cannot be smoothed; `bool`.
    """
    sigma = fwhm / 2.355
    smooth = scipy.ndimage.gaussian_filter(exposure.image, sigma, truncate=3.0)
    noise = math.sqrt(np.median(exposure.variance[::7, ::7]) / (4.0 * np.pi * sigma**2))
    detected = smooth > np.float32(threshold * noise)
    edge = np.ones(detected.shape, dtype=bool)
    rim = math.ceil(3.0 * sigma)
    edge[rim:-rim, rim:-rim] = False
    grown = scipy.ndimage.maximum_filter(detected, size=2 * round(2.4 * sigma) + 1)
    return {"DETECTED": grown & ~edge, "DETECTION_EDGE": edge}
