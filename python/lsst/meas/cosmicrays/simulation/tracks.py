# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cosmic-ray tracks as images: what falls on a sensor during an exposure.

Muons come from above with the cos^2 zenith law.  Electrons are set free by
gamma rays in the silicon (Compton scattering) or come in from the material
around it.  Their charge diffuses on its way to the gates and is collected by
pixels.  Numbers and spectra are chosen so that the footprints agree with
those of dark exposures of an LSST ITL sensor (see ``doc/``).
"""

from __future__ import annotations

__all__ = ("HSC_SENSOR", "LSSTCAM_SENSOR", "CosmicRayTrack", "SensorModel", "draw_track", "simulate_tracks")

import dataclasses
import math
from typing import Literal

import numpy as np
from numba import njit

from .particles import ELECTRON_HOLE_PAIR, track_electron, track_muon

type TrackKind = Literal["muon", "worm", "spot"]


@dataclasses.dataclass(frozen=True)
class SensorModel:
    """What of a CCD matters for cosmic rays.

    Parameters
    ----------
    thickness : `float`
        Thickness of the silicon in um.
    pixel_size : `float`
        Side of a pixel in um.
    diffusion : `float`
        Standard deviation, in um, by which charge that was freed at the
        entrance window spreads until it is collected; that of other charge
        grows with the square root of its way.
    muon_fraction : `float`
        Fraction of particles that are muons; smaller where there is more
        silicon for gamma rays.
    footprint_yield : `float`
        Fraction of particles that leave a footprint of 3 or more pixels
        (measured).
    footprint_threshold : `float`, optional
        Electrons that a pixel needs to belong to a footprint.
    soft_loss : `float`, optional
        Steady energy loss of a muon in keV per um.
    gamma_energies : `tuple` [`float`, `float`], optional
        Range of the gamma rays in keV, uniform in the logarithm.
    outside_fraction : `float`, optional
        Fraction of electrons that come in through a surface.
    """

    thickness: float
    pixel_size: float
    diffusion: float
    muon_fraction: float
    footprint_yield: float
    footprint_threshold: float = 50.0
    soft_loss: float = 0.25
    gamma_energies: tuple[float, float] = (50.0, 2000.0)
    outside_fraction: float = 0.45


LSSTCAM_SENSOR = SensorModel(
    thickness=100.0, pixel_size=10.0, diffusion=4.5, muon_fraction=0.27, footprint_yield=0.87
)
"""Sensor of LSSTCam (`SensorModel`)."""

HSC_SENSOR = SensorModel(
    thickness=200.0, pixel_size=15.0, diffusion=7.0, muon_fraction=0.2, footprint_yield=0.86
)
"""Sensor of Hyper Suprime-Cam (`SensorModel`)."""


@dataclasses.dataclass(frozen=True)
class CosmicRayTrack:
    """The charge of one particle.

    Parameters
    ----------
    kind : `str`
        ``muon``; ``worm``, an electron that went further than 3 pixels; or
        ``spot``, one that did not.
    charge : `numpy.ndarray`
        Electrons in each pixel of a stamp, `float32` of shape (ny, nx).
    x0, y0 : `int`
        First column and row of the stamp on the detector; may be negative.
    zenith : `float`
        Zenith angle of a muon in degrees, NaN for electrons.
    """

    kind: TrackKind
    charge: np.ndarray
    x0: int
    y0: int
    zenith: float


def simulate_tracks(
    rng: np.random.Generator,
    sensor: SensorModel,
    shape: tuple[int, int],
    number: int,
    tilt: float = 90.0,
) -> list[CosmicRayTrack]:
    """Draw the particles that hit a detector.

    Parameters
    ----------
    rng : `numpy.random.Generator`
        Source of random numbers.
    sensor : `SensorModel`
        The sensor.
    shape : `tuple` [`int`, `int`]
        Rows and columns of the detector.
    number : `int`
        Number of particles.
    tilt : `float`, optional
        Angle in degrees between the zenith and the normal of the detector,
        towards its y axis: the zenith angle of a telescope, 90 for a sensor
        that stands upright as on a test bench.

    Returns
    -------
    tracks : `list` [`CosmicRayTrack`]
        The tracks, whether or not they leave charge above any threshold.
    """
    return [_simulate_track(rng, sensor, shape, tilt) for _ in range(number)]


def _simulate_track(
    rng: np.random.Generator, sensor: SensorModel, shape: tuple[int, int], tilt: float
) -> CosmicRayTrack:
    width, height = shape[1] * sensor.pixel_size, shape[0] * sensor.pixel_size
    x, y = rng.uniform(0.0, width), rng.uniform(0.0, height)
    if rng.random() < sensor.muon_fraction:
        direction, zenith = _muon_direction(rng, tilt)
        deposits = track_muon(rng, (x, y, 0.0), direction, sensor.thickness, sensor.soft_loss, width + height)
        kind: TrackKind = "muon"
    else:
        zenith = float("nan")
        z, direction = _electron_start(rng, sensor)
        energy = _electron_energy(rng, sensor)
        deposits = track_electron(rng, (x, y, z), direction, energy, sensor.thickness)
        kind = "worm" if _extent(deposits) > 3.0 * sensor.pixel_size else "spot"
    charge, x0, y0 = draw_track(deposits, sensor)
    return CosmicRayTrack(kind, charge, x0, y0, zenith)


def _muon_direction(rng: np.random.Generator, tilt: float) -> tuple[tuple[float, float, float], float]:
    """Draw from cos^2(zenith), weighted by the projected area."""
    sin_tilt, cos_tilt = np.sin(np.deg2rad(tilt)), np.cos(np.deg2rad(tilt))
    while True:
        cos_zenith = rng.random() ** (1.0 / 3.0)
        sin_zenith = np.sqrt(1.0 - cos_zenith**2)
        azimuth = rng.uniform(0.0, 2.0 * np.pi)
        east, north = sin_zenith * np.cos(azimuth), sin_zenith * np.sin(azimuth)
        # Turned about the x axis from the horizon to the detector.
        y = cos_tilt * north + sin_tilt * cos_zenith
        z = -sin_tilt * north + cos_tilt * cos_zenith
        if rng.random() < abs(z):
            return (float(east), float(y), float(z)), float(np.rad2deg(np.arccos(cos_zenith)))


def _electron_start(
    rng: np.random.Generator, sensor: SensorModel
) -> tuple[float, tuple[float, float, float]]:
    outside = rng.random() < sensor.outside_fraction
    # Through a surface, from an isotropic flux: cos^2 is uniform.
    cos_polar = np.sqrt(rng.random()) if outside else rng.uniform(-1.0, 1.0)
    z = rng.uniform(0.0, sensor.thickness)
    if outside:
        front = rng.random() < 0.5
        z = 1e-3 if front else sensor.thickness - 1e-3
        cos_polar = cos_polar if front else -cos_polar
    sin_polar = np.sqrt(1.0 - cos_polar**2)
    azimuth = rng.uniform(0.0, 2.0 * np.pi)
    return float(z), (
        float(sin_polar * np.cos(azimuth)),
        float(sin_polar * np.sin(azimuth)),
        float(cos_polar),
    )


def _electron_energy(rng: np.random.Generator, sensor: SensorModel) -> float:
    """Draw from the flat Compton continuum of a gamma ray."""
    low, high = sensor.gamma_energies
    gamma = low * (high / low) ** rng.random()
    edge = gamma * 2.0 * gamma / (510.999 + 2.0 * gamma)
    return float(edge * rng.random())


def _extent(deposits: np.ndarray) -> float:
    return float(np.hypot(np.ptp(deposits[:, 0]), np.ptp(deposits[:, 1]))) if len(deposits) else 0.0


def draw_track(deposits: np.ndarray, sensor: SensorModel) -> tuple[np.ndarray, int, int]:
    """Collect deposits of energy in pixels.

    Parameters
    ----------
    deposits : `numpy.ndarray`
        Columns x, y, z (um) and energy (keV), of shape (n, 4); pixel (0, 0)
        reaches from 0 to the pixel size.
    sensor : `SensorModel`
        The sensor.

    Returns
    -------
    charge : `numpy.ndarray`
        Electrons in each pixel, `float32` of shape (ny, nx).
    x0, y0 : `int`
        First column and row of the stamp.
    """
    if len(deposits) == 0:
        return np.zeros((0, 0), dtype=np.float32), 0, 0
    margin = 5.0 * sensor.diffusion
    x_min, y_min = np.floor((deposits[:, :2].min(axis=0) - margin) / sensor.pixel_size).astype(int)
    x_max, y_max = np.floor((deposits[:, :2].max(axis=0) + margin) / sensor.pixel_size).astype(int)
    charge = np.zeros((y_max - y_min + 1, x_max - x_min + 1))
    scaled = deposits.copy()
    scaled[:, 0] = deposits[:, 0] / sensor.pixel_size - x_min
    scaled[:, 1] = deposits[:, 1] / sensor.pixel_size - y_min
    way = np.clip(1.0 - deposits[:, 2] / sensor.thickness, 1e-4, 1.0)
    scaled[:, 2] = sensor.diffusion / sensor.pixel_size * np.sqrt(way)
    scaled[:, 3] = deposits[:, 3] / ELECTRON_HOLE_PAIR
    _spread(scaled, charge)
    return charge.astype(np.float32), int(x_min), int(y_min)


@njit(cache=True)
def _normal_cdf(x: float) -> float:
    return 0.5 * (1.0 + math.erf(x / math.sqrt(2.0)))


@njit(cache=True)
def _spread(deposits, charge):  # type: ignore[no-untyped-def]
    """Add round Gaussians (x, y, sigma in pixels, electrons) to an image."""
    ny, nx = charge.shape
    shares = np.empty(nx + 1)
    for k in range(len(deposits)):
        x, y, sigma, electrons = deposits[k]
        reach = 4.5 * sigma
        i0, i1 = max(0, int(x - reach)), min(nx - 1, int(x + reach))
        j0, j1 = max(0, int(y - reach)), min(ny - 1, int(y + reach))
        for i in range(i0, i1 + 1):
            shares[i] = _normal_cdf((i + 1 - x) / sigma) - _normal_cdf((i - x) / sigma)
        for j in range(j0, j1 + 1):
            share = electrons * (_normal_cdf((j + 1 - y) / sigma) - _normal_cdf((j - y) / sigma))
            for i in range(i0, i1 + 1):
                charge[j, i] += share * shares[i]
