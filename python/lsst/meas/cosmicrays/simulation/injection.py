# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real cosmic rays painted on images that have none there."""

from __future__ import annotations

__all__ = ("Injection", "PlacementError", "inject_footprints", "paint_on_pixels")

import dataclasses
from collections.abc import Sequence

import numpy as np
from astropy.table import Table

from ..documentation import DocumentedError

_N_TRIES = 50
"""Places that are tried for a cosmic ray before it is given up."""


class PlacementError(DocumentedError, RuntimeError):
    """Raised when an image has no room for cosmic rays."""


@dataclasses.dataclass(frozen=True)
class Injection:
    """Cosmic rays that were painted on an image."""

    charge: np.ndarray
    """Electrons that were added to each pixel, `float32` of shape (ny, nx)."""

    catalog: Table
    """One row a cosmic ray: ``id`` (its number in the image), ``library_id``
    (its number in the library), ``x``, ``y`` (centroid of the charge, in
    pixels of the array), ``n_pixels``, ``charge`` (electrons), ``length``
    (diagonal of its bounding box, in pixels) and ``kind`` ("library").
    """


def inject_footprints(
    shape: tuple[int, int],
    forbidden: np.ndarray,
    stamps: Sequence[np.ndarray],
    n_expected: float,
    rng: np.random.Generator,
) -> Injection:
    """Scatter cosmic rays of a library over an image.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Shape (ny, nx) of the image.
    forbidden : `numpy.ndarray` [`bool`]
        Pixels that no cosmic ray may touch, of that shape.
    stamps : `~collections.abc.Sequence` [`numpy.ndarray`]
        Electrons of each cosmic ray of the library, 0 outside of it.
    n_expected : `float`
        Number of cosmic rays that are expected; that which falls is drawn
        from a Poisson distribution.
    rng : `numpy.random.Generator`
        Source of random numbers.

    Returns
    -------
    injection : `Injection`
        Charge and catalogue.

    Raises
    ------
    PlacementError
        Raised if there is no place for one of them.

    Notes
    -----
    Each is drawn with replacement, in one of the eight orientations of the
    pixel grid, anywhere: those at the edge of the image are cut.  Two may
    cross, as they do in reality.
    """
    charge = np.zeros(shape, dtype=np.float32)
    rows = []
    for number in range(int(rng.poisson(n_expected))):
        library_id = int(rng.integers(len(stamps)))
        stamp = _turn(stamps[library_id], rng)
        y, x, electrons = _place(stamp, shape, forbidden, rng)
        np.add.at(charge, (y, x), electrons)
        rows.append(_describe(number, library_id, y, x, electrons))
    return Injection(charge, Table(rows=rows or None, names=list(_DTYPES), dtype=list(_DTYPES.values())))


def paint_on_pixels(
    image: np.ndarray, variance: np.ndarray, charge: np.ndarray, electrons_per_unit: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Add charge to an image, and its photon noise to the variance.

    Parameters
    ----------
    image, variance : `numpy.ndarray`
        Pixels and their variance, in any unit and its square.
    charge : `numpy.ndarray`
        Electrons to add, of the same shape.
    electrons_per_unit : `numpy.ndarray` or `float`
        What one unit of the image is.

    Returns
    -------
    painted, painted_variance : `numpy.ndarray`
        New arrays of the types of the old.  The noise itself is in the
        charge of a real footprint already, so none is drawn; a plane that
        follows the counts, as that of a processed image does, rises by it.
    """
    painted = image + charge / electrons_per_unit
    painted_variance = variance + charge / np.square(electrons_per_unit)
    return painted.astype(image.dtype), painted_variance.astype(variance.dtype)


_DTYPES = {
    "id": np.int64,
    "library_id": np.int64,
    "x": np.float64,
    "y": np.float64,
    "n_pixels": np.int64,
    "charge": np.float64,
    "length": np.float64,
    "kind": "U16",
}


def _turn(stamp: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    turned = np.rot90(stamp, int(rng.integers(4)))
    return turned.T if rng.integers(2) else turned


def _place(
    stamp: np.ndarray, shape: tuple[int, int], forbidden: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, columns and electrons of the pixels that are hit."""
    dy, dx = np.nonzero(stamp > 0.0)
    anchor = int(rng.integers(dy.size))
    for _ in range(_N_TRIES):
        y = dy + int(rng.integers(shape[0])) - dy[anchor]
        x = dx + int(rng.integers(shape[1])) - dx[anchor]
        inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
        if not forbidden[y[inside], x[inside]].any():
            return y[inside], x[inside], stamp[dy, dx][inside]
    raise PlacementError(
        f"No place was found for a cosmic ray of {dy.size} pixels: {np.mean(forbidden):.0%} of the image may "
        "not be painted on. Is it all masked?"
    )


def _describe(number: int, library_id: int, y: np.ndarray, x: np.ndarray, electrons: np.ndarray) -> tuple:
    total = float(electrons.sum())
    return (
        number,
        library_id,
        float(x @ electrons / total),
        float(y @ electrons / total),
        y.size,
        total,
        float(np.hypot(np.ptp(x) + 1, np.ptp(y) + 1)),
        "library",
    )
