# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cosmic rays of one exposure of a detector, and the table of them."""

from __future__ import annotations

__all__ = ("Footprint", "draw_cosmic_rays", "footprints", "measure_footprint")

import dataclasses
from collections.abc import Iterator

import astropy.units as u
import numpy as np
import scipy.ndimage
from astropy.table import Table

from .config import SimulationConfig
from .tracks import CosmicRayTrack, simulate_tracks

_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


@dataclasses.dataclass(frozen=True)
class Footprint:
    """Numbers of one connected group of pixels.

    Parameters
    ----------
    n_pixels : `int`
        Its pixels.
    charge : `float`
        Their electrons.
    length : `float`
        Diagonal of its bounding box in pixels.
    x, y : `float`
        Centroid of its charge in pixels of the stamp.
    width : `float`
        Standard deviation of its charge across the longer axis, in pixels.
    """

    n_pixels: int
    charge: float
    length: float
    x: float
    y: float
    width: float


def measure_footprint(charge: np.ndarray, pixels: np.ndarray) -> Footprint:
    """Measure a group of pixels.

    Parameters
    ----------
    charge : `numpy.ndarray`
        Electrons, of shape (ny, nx).
    pixels : `numpy.ndarray`
        The pixels, at least one; `bool` of the same shape.

    Returns
    -------
    footprint : `Footprint`
        The numbers.
    """
    rows, columns = np.nonzero(pixels)
    weights = charge[rows, columns].astype(float)
    total = float(weights.sum())
    x, y = float(weights @ columns / total), float(weights @ rows / total)
    covariance = np.cov(np.stack([columns, rows]), aweights=weights, bias=True)
    return Footprint(
        n_pixels=len(rows),
        charge=total,
        length=float(np.hypot(np.ptp(columns) + 1, np.ptp(rows) + 1)),
        x=x,
        y=y,
        width=float(np.sqrt(max(0.0, np.linalg.eigvalsh(covariance)[0]))) if len(rows) > 1 else 0.0,
    )


def footprints(charge: np.ndarray, threshold: float, min_pixels: int = 3) -> Iterator[Footprint]:
    """Find the footprints of a stamp or an image.

    Parameters
    ----------
    charge : `numpy.ndarray`
        Electrons, of shape (ny, nx).
    threshold : `float`
        Electrons that a pixel needs.
    min_pixels : `int`, optional
        Fewest pixels of a footprint.

    Yields
    ------
    footprint : `Footprint`
        Each 8-connected group.
    """
    above = charge >= threshold
    if not above.any():
        return
    labels, _ = scipy.ndimage.label(above, _EIGHT_CONNECTED)
    for number, window in enumerate(scipy.ndimage.find_objects(labels), start=1):
        pixels = labels[window] == number
        if np.count_nonzero(pixels) >= min_pixels:
            found = measure_footprint(charge[window], pixels)
            yield dataclasses.replace(found, x=found.x + window[1].start, y=found.y + window[0].start)


def draw_cosmic_rays(rng: np.random.Generator, config: SimulationConfig) -> tuple[np.ndarray, Table]:
    """Draw the cosmic rays of one exposure.

    Parameters
    ----------
    rng : `numpy.random.Generator`
        Source of random numbers.
    config : `SimulationConfig`
        What is simulated.

    Returns
    -------
    charge : `numpy.ndarray`
        Electrons of cosmic rays in each pixel, `float32` of shape (ny, nx).
    table : `astropy.table.Table`
        One row a particle with at least one pixel above the footprint
        threshold of the sensor: id, x, y, n_pixels and length of these
        pixels, their charge, kind, and zenith angle (NaN for electrons).
    """
    sensor = config.camera.sensor
    expected = config.cr_rate / sensor.footprint_yield * config.square_cm * config.time / 60.0
    tracks = simulate_tracks(rng, sensor, config.shape, int(rng.poisson(expected)), config.cr_tilt)
    charge = np.zeros(config.shape, dtype=np.float32)
    rows: list[tuple] = []
    for track in tracks:
        stamp, x0, y0 = _on_detector(track, config.shape)
        charge[y0 : y0 + stamp.shape[0], x0 : x0 + stamp.shape[1]] += stamp
        pixels = stamp >= sensor.footprint_threshold
        if pixels.any():
            found = measure_footprint(stamp, pixels)
            rows.append(
                (
                    len(rows),
                    found.x + x0,
                    found.y + y0,
                    found.n_pixels,
                    found.charge,
                    found.length,
                    track.kind,
                    track.zenith,
                )
            )
    return charge, _table(rows)


def _on_detector(track: CosmicRayTrack, shape: tuple[int, int]) -> tuple[np.ndarray, int, int]:
    """Cut off what lies beside the detector."""
    ny, nx = track.charge.shape
    left, below = max(0, -track.x0), max(0, -track.y0)
    right, above = min(nx, shape[1] - track.x0), min(ny, shape[0] - track.y0)
    stamp = track.charge[below : max(below, above), left : max(left, right)]
    return stamp, track.x0 + left, track.y0 + below


def _table(rows: list[tuple]) -> Table:
    names = ("id", "x", "y", "n_pixels", "charge", "length", "kind", "zenith")
    types = (np.int64, float, float, np.int32, float, float, "U8", float)
    table = Table(rows=rows or None, names=names, dtype=types)
    for name, unit in {
        "x": u.pix,
        "y": u.pix,
        "charge": u.electron,
        "length": u.pix,
        "zenith": u.deg,
    }.items():
        table[name].unit = unit
    return table
