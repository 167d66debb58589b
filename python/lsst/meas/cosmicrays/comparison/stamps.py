# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stamps around DIASources: how many cosmic-ray pixels each has."""

from __future__ import annotations

__all__ = [
    "LABEL_UNKNOWN",
    "STAMP_SIZE",
    "classify_sources",
    "cut_stamps",
    "inside_stamps",
    "make_stamp_table",
    "object_by_cosmic_ray",
    "stamp_corners",
]

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from scipy.spatial import KDTree

from .masks import ComparedMasks, Role
from .positions import with_positions

STAMP_SIZE = 30
"""Width and height of a stamp, pixels."""

LABEL_UNKNOWN = -1
"""Label of a stamp on a detector where the mask is missing, and number of
cosmic-ray pixels in it.
"""


def stamp_corners(
    x: npt.ArrayLike, y: npt.ArrayLike, size: int = STAMP_SIZE
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first column and row of stamps around positions.

    Parameters
    ----------
    x, y : array-like
        Positions, pixels; integers are centres of pixels.
    size : `int`, optional
        Width and height of a stamp, pixels.

    Returns
    -------
    x_min, y_min : `numpy.ndarray`
        Corners, int64, of the stamps whose centres are nearest to the
        positions (of two equally near, that of higher x or y).
    """
    offset = (size - 1) / 2
    x_min = np.floor(np.asarray(x, dtype=float) - offset + 0.5).astype(np.int64)
    y_min = np.floor(np.asarray(y, dtype=float) - offset + 0.5).astype(np.int64)
    return x_min, y_min


def cut_stamps(
    image: npt.NDArray,
    x_min: npt.NDArray[np.int64],
    y_min: npt.NDArray[np.int64],
    size: int = STAMP_SIZE,
) -> npt.NDArray:
    """Cut stamps out of an image.

    Parameters
    ----------
    image : `numpy.ndarray`
        Array ``(ny, nx)``.
    x_min, y_min : `numpy.ndarray`
        Corners of the stamps, in indices of the array; they may lie
        outside.
    size : `int`, optional
        Width and height of a stamp, pixels.

    Returns
    -------
    stamps : `numpy.ndarray`
        Array ``(n, size, size)`` of the type of the image. Beyond its edges
        it is NaN, or 0 and `False` for types without NaN.
    """
    padding = np.nan if np.issubdtype(image.dtype, np.inexact) else 0
    stamps = np.full((len(x_min), size, size), padding, dtype=image.dtype)
    ny, nx = image.shape
    for stamp, x0, y0 in zip(stamps, x_min, y_min, strict=True):
        left, right = np.clip([x0, x0 + size], 0, nx)
        bottom, top = np.clip([y0, y0 + size], 0, ny)
        stamp[bottom - y0 : top - y0, left - x0 : right - x0] = image[bottom:top, left:right]
    return stamps


def inside_stamps(
    shape: tuple[int, int],
    x_min: npt.NDArray[np.int64],
    y_min: npt.NDArray[np.int64],
    size: int = STAMP_SIZE,
) -> npt.NDArray[np.bool_]:
    """Return the pixels that lie in at least one stamp.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Shape of the image, ``(ny, nx)``.
    x_min, y_min : `numpy.ndarray`
        Corners of the stamps, in indices of the image.
    size : `int`, optional
        Width and height of a stamp, pixels.

    Returns
    -------
    inside : `numpy.ndarray`
        Bool array of the shape.
    """
    inside = np.zeros(shape, dtype=bool)
    for x0, y0 in zip(x_min, y_min, strict=True):
        inside[max(y0, 0) : max(y0 + size, 0), max(x0, 0) : max(x0 + size, 0)] = True
    return inside


def make_stamp_table(
    sources: Table,
    masks: ComparedMasks,
    *,
    origin: tuple[int, int] = (0, 0),
    size: int = STAMP_SIZE,
    min_pixels: int = 1,
    objects: npt.NDArray[np.bool_] | None = None,
) -> Table:
    """Count and label the stamps of the DIASources of a detector.

    Parameters
    ----------
    sources : `astropy.table.Table`
        Columns ``id``, ``x``, ``y`` (pixels), ``ra`` and ``dec`` (degrees).
        Every stamp must reach into the image.
    masks : `ComparedMasks`
        Masks of the detector.
    origin : `tuple` [`int`, `int`], optional
        ``(x, y)`` of the first pixel of the image.
    size : `int`, optional
        Width and height of a stamp, pixels.
    min_pixels : `int`, optional
        The threshold L: a stamp is a cosmic ray for a mask that has at
        least as many usable pixels in it.
    objects : `numpy.ndarray`, optional
        Bool array ``(ny, nx)``: DETECTED or DETECTED_NEGATIVE pixels of the
        difference image that was made after interpolation of cosmic rays.

    Returns
    -------
    stamps : `astropy.table.Table`
        One row a source: ``id``, ``x``, ``y``, ``ra``, ``dec``; the bounds
        ``x_min``, ``y_min``, ``x_max``, ``y_max`` (inclusive, pixels);
        ``edge`` (whether the stamp reaches over the edge); ``n_usable``;
        ``available`` and ``code`` (uint64: which masks are there, and for
        which of them it is a cosmic ray); for each detection and truth
        ``n_cr_{name}`` (int32) and ``label_{name}`` (int8: 1, 0, or
        `LABEL_UNKNOWN` where the mask is missing, as is the number then);
        and ``object`` (int8, the same), whether the stamp has a pixel of
        ``objects``.
    """
    x_min, y_min = stamp_corners(sources["x"], sources["y"], size)
    columns, rows = x_min - origin[0], y_min - origin[1]
    ny, nx = masks.usable.shape
    table = Table({name: np.asarray(sources[name]) for name in ("id", "x", "y", "ra", "dec")})
    table["x_min"], table["y_min"] = x_min, y_min
    table["x_max"], table["y_max"] = x_min + size - 1, y_min + size - 1
    table["edge"] = (columns < 0) | (rows < 0) | (columns + size > nx) | (rows + size > ny)
    table["n_usable"] = cut_stamps(masks.usable, columns, rows, size).sum(axis=(1, 2)).astype(np.int32)
    code_stamps = cut_stamps(masks.usable_codes, columns, rows, size)
    table["available"] = np.zeros(len(table), dtype=np.uint64)
    table["code"] = np.zeros(len(table), dtype=np.uint64)
    for number, (bit, mask) in enumerate(zip(masks.bits, masks.masks, strict=True)):
        if bit.role is Role.PLANE:
            continue
        n_pixels = ((code_stamps >> np.uint32(number)) & np.uint32(1)).sum(axis=(1, 2), dtype=np.int32)
        is_cosmic_ray = n_pixels >= min_pixels
        if mask is None:
            n_pixels[:] = LABEL_UNKNOWN
        else:
            table["available"] |= np.uint64(1 << number)
            table["code"] |= is_cosmic_ray.astype(np.uint64) << np.uint64(number)
        table[f"n_cr_{bit.name}"] = n_pixels
        table[f"label_{bit.name}"] = np.where(n_pixels < 0, LABEL_UNKNOWN, is_cosmic_ray).astype(np.int8)
    table["object"] = _any_pixel(objects, columns, rows, size)
    return table


def classify_sources(
    sources: Table,
    *,
    cosmic_rays: npt.NDArray[np.bool_] | None = None,
    variables: Table | None = None,
    dipole: npt.NDArray[np.bool_] | None = None,
    origin: tuple[int, int] = (0, 0),
    radius: float = 3.0,
) -> Table:
    """Say what DIASources truly are.

    Parameters
    ----------
    sources : `astropy.table.Table`
        Columns ``x`` and ``y``, pixels.
    cosmic_rays : `numpy.ndarray`, optional
        True cosmic rays, bool ``(ny, nx)``.
    variables : `astropy.table.Table`, optional
        True variable sources: ``id``, ``x``, ``y`` (pixels) and ``kind``.
    dipole : `numpy.ndarray`, optional
        Whether each source was measured to be a dipole, bool.
    origin : `tuple` [`int`, `int`], optional
        ``(x, y)`` of the first pixel of the image.
    radius : `float`, optional
        Distance within which a source and the truth are one, pixels.

    Returns
    -------
    truth : `astropy.table.Table`
        One row a source: ``true_variable_id`` (int64; the nearest variable
        source, -1 for none), ``true_cosmic_ray`` (bool: a true cosmic-ray
        pixel within the radius) and ``true_kind``: the kind of the variable
        source, else ``cosmic_ray``, else ``dipole``, else ``artifact``. It
        is empty where none of this tells what the source is, because truth
        was not given.
    """
    positions = np.column_stack([np.asarray(sources["x"], float), np.asarray(sources["y"], float)])
    variable_id = np.full(len(sources), -1, dtype=np.int64)
    kind = np.full(len(sources), "", dtype="U32")
    if cosmic_rays is not None and variables is not None:
        kind[:] = "artifact"
    if dipole is not None:
        kind[dipole] = "dipole"
    is_cosmic_ray = np.zeros(len(sources), dtype=bool)
    if cosmic_rays is not None:
        pixels = np.argwhere(cosmic_rays)[:, ::-1] + np.asarray(origin)
        is_cosmic_ray = _nearest(positions, pixels, radius) >= 0
        kind[is_cosmic_ray] = "cosmic_ray"
    if variables is not None:
        variables = with_positions(variables)
        known = np.column_stack([np.asarray(variables["x"], float), np.asarray(variables["y"], float)])
        nearest = _nearest(positions, known, radius)
        matched = nearest >= 0
        variable_id[matched] = np.asarray(variables["id"])[nearest[matched]]
        kind[matched] = np.asarray(variables["kind"]).astype("U32")[nearest[matched]]
    return Table({"true_variable_id": variable_id, "true_cosmic_ray": is_cosmic_ray, "true_kind": kind})


def object_by_cosmic_ray(stamps: Table, name: str) -> npt.NDArray[np.int64]:
    """Count stamps by whether they have an OBJECT and a cosmic ray.

    Parameters
    ----------
    stamps : `astropy.table.Table`
        Stamps, as `make_stamp_table` returns them.
    name : `str`
        Name of the detection or truth that labels cosmic rays.

    Returns
    -------
    n : `numpy.ndarray`
        Number of stamps, int64, shape ``(2, 2)``: the first index is 1
        with an OBJECT, the second 1 with a cosmic ray. Stamps of which
        either is unknown are left out.
    """
    has_object, is_cosmic_ray = np.asarray(stamps["object"]), np.asarray(stamps[f"label_{name}"])
    known = (has_object != LABEL_UNKNOWN) & (is_cosmic_ray != LABEL_UNKNOWN)
    n = np.zeros((2, 2), dtype=np.int64)
    np.add.at(n, (has_object[known], is_cosmic_ray[known]), 1)
    return n


def _any_pixel(
    plane: npt.NDArray[np.bool_] | None,
    columns: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    size: int,
) -> npt.NDArray[np.int8]:
    if plane is None:
        return np.full(len(columns), LABEL_UNKNOWN, dtype=np.int8)
    return cut_stamps(plane, columns, rows, size).any(axis=(1, 2)).astype(np.int8)


def _nearest(positions: npt.NDArray, known: npt.NDArray, radius: float) -> npt.NDArray[np.intp]:
    """Return the index of the nearest known position, -1 if it is farther
    than the radius.
    """
    if len(positions) == 0 or len(known) == 0:
        return np.full(len(positions), -1, dtype=np.intp)
    _, index = KDTree(known).query(positions, distance_upper_bound=np.nextafter(radius, np.inf))
    return np.where(index == len(known), -1, index)
