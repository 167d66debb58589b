# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""A library of cosmic rays from dark exposures."""

from __future__ import annotations

__all__ = (
    "LibraryError",
    "dark_noise",
    "find_dark_footprints",
    "library_stamps",
    "recurrent_pixels",
    "stack_library",
)

from collections.abc import Sequence

import numpy as np
import scipy.ndimage
from astropy.table import Table

from ..documentation import DocumentedError

_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)
_SIGMA_PER_MAD = 1.4826


class LibraryError(DocumentedError, ValueError):
    """Raised when a library holds no cosmic rays that can be used."""


def recurrent_pixels(hits: Sequence[np.ndarray], max_fraction: float) -> np.ndarray:
    """Return the pixels that are hit too often to be hit by cosmic rays.

    Parameters
    ----------
    hits : `~collections.abc.Sequence` [`numpy.ndarray`]
        Pixels well above the noise of each dark exposure of one detector,
        `bool` of shape (ny, nx).
    max_fraction : `float`
        Fraction of the exposures in which a good pixel may be hit, but once
        in any case.

    Returns
    -------
    recurrent : `numpy.ndarray` [`bool`]
        Hot pixels, shape (ny, nx).
    """
    n_hits = np.sum(hits, axis=0, dtype=np.int64)
    return n_hits > max(1.0, max_fraction * len(hits))


def dark_noise(image: np.ndarray, bad: np.ndarray) -> tuple[float, float]:
    """Return level and noise of a dark exposure.

    Parameters
    ----------
    image : `numpy.ndarray`
        Pixels in electrons, shape (ny, nx).
    bad : `numpy.ndarray` [`bool`]
        Pixels that do not count, of that shape.

    Returns
    -------
    level, noise : `float`
        Median, and standard deviation from the median absolute deviation,
        in electrons.
    """
    good = image[~bad]
    level = float(np.median(good))
    return level, _SIGMA_PER_MAD * float(np.median(np.abs(good - level)))


def find_dark_footprints(
    image: np.ndarray, bad: np.ndarray, *, peak_sigma: float = 10.0, edge_sigma: float = 3.0
) -> Table:
    """Find the cosmic rays of a dark exposure.

    Parameters
    ----------
    image : `numpy.ndarray`
        Pixels in electrons, shape (ny, nx).
    bad : `numpy.ndarray` [`bool`]
        Bad and hot pixels, of that shape.
    peak_sigma : `float`, optional
        Least height of the highest pixel of a cosmic ray, in units of the
        noise.
    edge_sigma : `float`, optional
        Least height of any pixel of it.

    Returns
    -------
    pixels : `astropy.table.Table`
        One row a pixel: ``id`` of the cosmic ray (from 0), ``x``, ``y``
        (from the corner of its bounding box) and ``charge`` (electrons,
        float32).  Cosmic rays that touch a bad pixel or the edge of the
        image, which are not whole, are left out.

    Raises
    ------
    LibraryError
        Raised if every pixel is bad.
    """
    unusable = bad | ~np.isfinite(image)
    if unusable.all():
        raise LibraryError("Every pixel of a dark exposure is bad: leave it out.")
    level, noise = dark_noise(image, unusable)
    excess = np.where(unusable, 0.0, image - level)
    labels, n = scipy.ndimage.label(excess > edge_sigma * noise, structure=_EIGHT_CONNECTED)
    whole = np.ones(n + 1, dtype=bool)
    near_bad = scipy.ndimage.binary_dilation(unusable, structure=_EIGHT_CONNECTED)
    near_bad[[0, -1], :] = near_bad[:, [0, -1]] = True
    whole[np.unique(labels[near_bad])] = False
    rows: list[tuple] = []
    numbers = np.arange(1, n + 1)
    peaks = np.atleast_1d(scipy.ndimage.maximum(excess, labels, numbers)) if n else np.zeros(0)
    boxes = scipy.ndimage.find_objects(labels)
    for number in numbers[whole[1:] & (peaks >= peak_sigma * noise)]:
        box = boxes[number - 1]
        y, x = np.nonzero(labels[box] == number)
        footprint = len(rows)
        rows.append((np.full(y.size, footprint), x, y, excess[box][y, x]))
    return _pixel_table(rows)


def stack_library(parts: Sequence[Table]) -> Table:
    """Put the footprints of several dark exposures into one library.

    Parameters
    ----------
    parts : `~collections.abc.Sequence` [`astropy.table.Table`]
        What `find_dark_footprints` returned.

    Returns
    -------
    library : `astropy.table.Table`
        The same columns, with an ``id`` that no two footprints share.
    """
    rows: list[tuple] = []
    first = 0
    for part in parts:
        number = np.asarray(part["id"])
        rows.append((number + first, part["x"], part["y"], part["charge"]))
        first += int(number.max()) + 1 if len(part) else 0
    return _pixel_table(rows)


def library_stamps(library: Table) -> list[np.ndarray]:
    """Return the footprints of a library as small images.

    Parameters
    ----------
    library : `astropy.table.Table`
        ``id``, ``x``, ``y`` and ``charge`` of each pixel.

    Returns
    -------
    stamps : `list` [`numpy.ndarray`]
        Electrons, `float32` of shape (ny, nx), 0 outside of the footprint.
    """
    number = np.asarray(library["id"])
    order = np.argsort(number, kind="stable")
    bounds = np.flatnonzero(np.diff(number[order])) + 1
    stamps = []
    for part in np.split(order, bounds) if len(library) else []:
        x, y = np.asarray(library["x"][part]), np.asarray(library["y"][part])
        stamp = np.zeros((int(y.max()) + 1, int(x.max()) + 1), dtype=np.float32)
        stamp[y, x] = library["charge"][part]
        stamps.append(stamp)
    return stamps


def _pixel_table(rows: Sequence[tuple]) -> Table:
    dtypes = {"id": np.int64, "x": np.int64, "y": np.int64, "charge": np.float32}
    columns = list(zip(*rows, strict=True)) if rows else [[np.zeros(0)]] * len(dtypes)
    return Table(
        {
            name: np.concatenate([np.asarray(part) for part in column]).astype(dtype)
            for (name, dtype), column in zip(dtypes.items(), columns, strict=True)
        }
    )
