# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cosmic rays for sensors of which there are no dark exposures at hand."""

from __future__ import annotations

__all__ = ("SIMULATED_RATE", "make_sensor", "simulate_footprints")

import math

import numpy as np

from .cosmic_rays import footprints
from .tracks import HSC_SENSOR, LSSTCAM_SENSOR, SensorModel, simulate_tracks

SIMULATED_RATE = 2.8
"""Cosmic rays of 3 or more pixels per square cm and minute, as measured on
dark exposures of a sensor of 100 um (`float`).
"""

_SIDE = 1024
_LEAST_CHARGE = 1.0


def make_sensor(thickness: float, pixel_size: float, diffusion: float | None = None) -> SensorModel:
    """Describe a sensor by its thickness.

    Parameters
    ----------
    thickness : `float`
        Thickness of the silicon in um.
    pixel_size : `float`
        Side of a pixel in um.
    diffusion : `float`, optional
        Standard deviation, in um, by which charge from the entrance window
        spreads; by default from a power law through LSSTCam and HSC.

    Returns
    -------
    sensor : `SensorModel`
        The sensor.  The fraction of muons follows from that of LSSTCam: as
        many muons per area, and as many electrons from outside, but electrons
        from within in proportion to the thickness.
    """
    thicker = thickness / LSSTCAM_SENSOR.thickness
    if diffusion is None:
        power = math.log(HSC_SENSOR.diffusion / LSSTCAM_SENSOR.diffusion) / math.log(
            HSC_SENSOR.thickness / LSSTCAM_SENSOR.thickness
        )
        diffusion = LSSTCAM_SENSOR.diffusion * thicker**power
    outside = LSSTCAM_SENSOR.outside_fraction
    electrons = (1.0 - LSSTCAM_SENSOR.muon_fraction) * (outside + (1.0 - outside) * thicker)
    return SensorModel(
        thickness=thickness,
        pixel_size=pixel_size,
        diffusion=diffusion,
        muon_fraction=LSSTCAM_SENSOR.muon_fraction / (LSSTCAM_SENSOR.muon_fraction + electrons),
        footprint_yield=math.nan,
        outside_fraction=outside / (outside + (1.0 - outside) * thicker),
    )


def simulate_footprints(
    rng: np.random.Generator, sensor: SensorModel, number: int
) -> tuple[list[np.ndarray], float]:
    """Simulate a library of cosmic rays.

    Parameters
    ----------
    rng : `numpy.random.Generator`
        Source of random numbers.
    sensor : `SensorModel`
        The sensor.
    number : `int`
        Number of particles.

    Returns
    -------
    stamps : `list` [`numpy.ndarray`]
        Electrons of each that left any charge, `float32` of shape (ny, nx),
        0 where a pixel has less than one.
    fraction : `float`
        Number of footprints of 3 or more pixels for each of them.
    """
    stamps, n_footprints = [], 0
    for track in simulate_tracks(rng, sensor, (_SIDE, _SIDE), number):
        charge = np.where(track.charge >= _LEAST_CHARGE, track.charge, np.float32(0.0))
        if charge.any():
            stamps.append(charge)
            n_footprints += sum(1 for _ in footprints(track.charge, sensor.footprint_threshold))
    return stamps, n_footprints / max(1, len(stamps))
