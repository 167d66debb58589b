# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Charge that single muons and electrons leave in a slab of silicon.

A muon goes straight.  It loses energy steadily in soft collisions and at
random in hard ones, each of which frees a delta electron with a spectrum of
1 / energy^2; their sum gives the Landau tail of the charge.  An electron
(delta, Compton or photoelectron) loses energy by the Bethe formula for
electrons, is scattered at every step, and stops: slow ones are spots, faster
ones the worms.

Positions are in um, with the entrance window at z = 0 and the gates, where
charge is collected, at z = thickness.  Energies are in keV.

Sources: Particle Data Group, *Passage of particles through matter* (restricted
energy loss, delta rays, width of multiple scattering); Berger and Seltzer for
the stopping power of electrons; Smith et al. 2002 (Experimental Astronomy
14, 45) for muons and Compton electrons in thick CCDs.
"""

from __future__ import annotations

__all__ = ("ELECTRON_HOLE_PAIR", "stopping_power", "track_electron", "track_muon")

import numpy as np
from numba import njit

ELECTRON_HOLE_PAIR = 3.65e-3
"""Energy that frees one electron in silicon, in keV."""

_ELECTRON_MASS = 510.999
_MEAN_EXCITATION = 0.173
_RADIATION_LENGTH = 93700.0

# Rutherford constant of silicon, 0.1535 MeV cm^2/g Z/A rho, in keV/um: a path
# of ds has W ds / E^2 dE collisions of energy E (at the speed of light).
_COLLISIONS = 0.01783

# Collisions above this energy are drawn one by one.
_HARD = 0.5
# Electrons below these energies are left where they are: as a delta electron
# they have no range to speak of, at the end of a track they have none at all.
_DELTA_TRANSPORT = 10.0
_STOPPED = 2.0
# Delta electrons of higher energy are too rare to matter.
_DELTA_MAX = 2000.0
_MAX_STEP = 3.0


@njit(cache=True)
def stopping_power(energy: float) -> float:
    """Compute the collision stopping power of silicon for electrons.

    Parameters
    ----------
    energy : `float`
        Kinetic energy in keV, at least 1.

    Returns
    -------
    loss : `float`
        Mean loss in keV per um: the Bethe formula for electrons, without the
        density effect (good to a few per cent from 10 keV to 2 MeV).
    """
    tau = energy / _ELECTRON_MASS
    beta2 = tau * (tau + 2.0) / (tau + 1.0) ** 2
    f = 1.0 - beta2 + (tau * tau / 8.0 - (2.0 * tau + 1.0) * np.log(2.0)) / (tau + 1.0) ** 2
    bracket = np.log(tau * tau * (tau + 2.0) / (2.0 * (_MEAN_EXCITATION / _ELECTRON_MASS) ** 2)) + f
    return _COLLISIONS / beta2 * bracket


@njit(cache=True)
def _scatter(rng, direction, energy, step):  # type: ignore[no-untyped-def]
    """Turn a direction by multiple scattering over one step."""
    tau = energy / _ELECTRON_MASS
    momentum_velocity = energy * (tau + 2.0) / (tau + 1.0)
    # The logarithm of the usual formula fails for such thin layers.
    width = 13600.0 / momentum_velocity * np.sqrt(step / _RADIATION_LENGTH) * _SCATTERING
    u, v = rng.standard_normal() * width, rng.standard_normal() * width
    polar = np.sqrt(u * u + v * v)
    if polar > np.pi:
        polar = np.arccos(2.0 * rng.random() - 1.0)
    return _turned(direction, np.cos(polar), np.arctan2(v, u))


_SCATTERING = 0.75


@njit(cache=True)
def _turned(direction, cos_polar, azimuth):  # type: ignore[no-untyped-def]
    """Turn a unit vector by a polar angle, at an azimuth about itself."""
    x, y, z = direction
    sin_polar = np.sqrt(max(0.0, 1.0 - cos_polar * cos_polar))
    a, b = sin_polar * np.cos(azimuth), sin_polar * np.sin(azimuth)
    transverse = np.sqrt(x * x + y * y)
    if transverse < 1e-6:
        return a, b, cos_polar * (1.0 if z > 0.0 else -1.0)
    return (
        cos_polar * x + (a * x * z - b * y) / transverse,
        cos_polar * y + (a * y * z + b * x) / transverse,
        cos_polar * z - a * transverse,
    )


@njit(cache=True)
def _hard_energy(rng, highest):  # type: ignore[no-untyped-def]
    """Draw the energy of a hard collision from 1 / energy^2."""
    return _HARD / (1.0 - rng.random() * (1.0 - _HARD / highest))


@njit(cache=True)
def _follow_electron(rng, position, direction, energy, thickness, deposits, n):  # type: ignore[no-untyped-def]
    """Add the deposits of one electron to a table from row ``n`` on."""
    x, y, z = position
    while n < len(deposits) and energy > _STOPPED:
        power = stopping_power(energy)
        step = min(_MAX_STEP, 0.1 * energy / power)
        tau = energy / _ELECTRON_MASS
        beta2 = tau * (tau + 2.0) / (tau + 1.0) ** 2
        hardest = 0.5 * energy
        soft = power * step
        hard = 0.0
        if hardest > 2.0 * _HARD:
            collisions = _COLLISIONS / beta2 * step
            soft -= collisions * np.log(hardest / _HARD)
            for _ in range(rng.poisson(collisions * (1.0 / _HARD - 1.0 / hardest))):
                hard += _hard_energy(rng, hardest)
        loss = min(energy, max(soft, 0.0) + hard)
        x += step * direction[0]
        y += step * direction[1]
        z += step * direction[2]
        if z < 0.0 or z > thickness:
            return n
        deposits[n, 0], deposits[n, 1], deposits[n, 2], deposits[n, 3] = x, y, z, loss
        n += 1
        energy -= loss
        if energy > _STOPPED:
            direction = _scatter(rng, direction, energy, step)
    if n < len(deposits) and energy > 0.0:
        deposits[n, 0], deposits[n, 1], deposits[n, 2], deposits[n, 3] = x, y, z, energy
        n += 1
    return n


@njit(cache=True)
def track_electron(
    rng: np.random.Generator,
    position: tuple[float, float, float],
    direction: tuple[float, float, float],
    energy: float,
    thickness: float,
) -> np.ndarray:
    """Follow an electron until it stops or leaves the silicon.

    Parameters
    ----------
    rng : `numpy.random.Generator`
        Source of random numbers.
    position : `tuple` [`float`, `float`, `float`]
        Where it starts, in um.
    direction : `tuple` [`float`, `float`, `float`]
        Unit vector.
    energy : `float`
        Kinetic energy in keV.
    thickness : `float`
        Thickness of the silicon in um.

    Returns
    -------
    deposits : `numpy.ndarray`
        Columns x, y, z (um) and energy (keV), `float64` of shape (n, 4).
    """
    deposits = np.empty((4000, 4))
    n = _follow_electron(rng, position, direction, energy, thickness, deposits, 0)
    return deposits[:n].copy()


@njit(cache=True)
def track_muon(
    rng: np.random.Generator,
    position: tuple[float, float, float],
    direction: tuple[float, float, float],
    thickness: float,
    soft_loss: float,
    longest: float,
) -> np.ndarray:
    """Follow a relativistic muon through the silicon.

    Parameters
    ----------
    rng : `numpy.random.Generator`
        Source of random numbers.
    position : `tuple` [`float`, `float`, `float`]
        Where it crosses the middle of the slab, in um; its z is not used.
    direction : `tuple` [`float`, `float`, `float`]
        Unit vector.
    thickness : `float`
        Thickness of the silicon in um.
    soft_loss : `float`
        Steady loss in keV per um, in collisions below 0.5 keV.
    longest : `float`
        Longest path to follow in um.

    Returns
    -------
    deposits : `numpy.ndarray`
        Columns x, y, z (um) and energy (keV), `float64` of shape (n, 4),
        delta electrons included.
    """
    path = min(thickness / max(abs(direction[2]), 1e-9), longest)
    n_steps = max(1, int(np.ceil(path / _MAX_STEP)))
    step = path / n_steps
    deposits = np.empty((2 * n_steps + 8000, 4))
    # Below the cut, collisions fluctuate little: a normal distribution.
    width = np.sqrt(_COLLISIONS * _HARD * step)
    rate = _COLLISIONS * step * (1.0 / _HARD - 1.0 / _DELTA_MAX)
    n = 0
    for i in range(n_steps):
        along = (i + 0.5) * step - 0.5 * path
        here = (
            position[0] + along * direction[0],
            position[1] + along * direction[1],
            0.5 * thickness + along * direction[2],
        )
        local = max(0.0, soft_loss * step + width * rng.standard_normal())
        for _ in range(rng.poisson(rate)):
            delta = _hard_energy(rng, _DELTA_MAX)
            if delta < _DELTA_TRANSPORT:
                local += delta
            else:
                # A fast particle at rest-mass ratio m/M << 1 sends it off at
                # cos^2 = T / (T + 2 m).
                cos_polar = np.sqrt(delta / (delta + 2.0 * _ELECTRON_MASS))
                away = _turned(direction, cos_polar, 2.0 * np.pi * rng.random())
                n = _follow_electron(rng, here, away, delta, thickness, deposits, n)
        if n < len(deposits):
            deposits[n, 0], deposits[n, 1], deposits[n, 2], deposits[n, 3] = here[0], here[1], here[2], local
            n += 1
    return deposits[:n].copy()
