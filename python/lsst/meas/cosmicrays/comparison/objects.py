# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cosmic rays as objects: connected components of truth and of masks."""

from __future__ import annotations

__all__ = ["TRUE_POSITION_TOLERANCE", "find_objects", "make_object_table", "subtract_block_background"]

import warnings

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from scipy.spatial import KDTree

from .components import Components, find_components
from .histogram import dilate
from .masks import ComparedMasks, Role
from .positions import with_positions
from .stamps import LABEL_UNKNOWN

TRUE_POSITION_TOLERANCE = 3.0
"""How far the position of a true cosmic ray may be from the nearest pixel of
the object that it is, pixels.
"""


def find_objects(masks: ComparedMasks, reference: int | None) -> tuple[Components, npt.NDArray[np.bool_]]:
    """Find the cosmic-ray objects of a detector.

    They are the 8-connected components of the reference, and, where
    components of other detections or truths touch none of those (share no
    pixel and are not neighbours), the components of the union of these.

    Parameters
    ----------
    masks : `ComparedMasks`
        Masks of the detector.
    reference : `int` or `None`
        Bit number of truth, or of the detection taken for it. If it is
        `None`, or its mask missing, there are only the other objects.

    Returns
    -------
    objects : `Components`
        Pixels and components; only usable pixels belong to objects.
    is_reference : `numpy.ndarray`
        Whether each object is one of the reference, bool.
    """
    pixels = np.zeros(masks.usable.shape, dtype=bool)
    if reference is not None and masks.masks[reference] is not None:
        pixels |= masks.pixels_of([reference])
    in_reference = pixels.copy()
    near_reference = dilate(in_reference)
    for number in masks.bit_numbers(Role.DETECTION, Role.TRUTH):
        if number == reference:
            continue
        parts = find_components(masks.pixels_of([number]))
        touches = parts.maximum(near_reference[parts.rows, parts.columns]) > 0
        apart = ~touches[parts.labels]
        pixels[parts.rows[apart], parts.columns[apart]] = True
    objects = find_components(pixels)
    return objects, objects.maximum(in_reference[objects.rows, objects.columns]) > 0


def make_object_table(
    masks: ComparedMasks,
    image: npt.NDArray[np.floating],
    *,
    reference: int | None,
    true_charge: npt.NDArray[np.floating] | None = None,
    origin: tuple[int, int] = (0, 0),
    stars: Table | None = None,
    true_cosmic_rays: Table | None = None,
) -> Table:
    """Measure the cosmic-ray objects of a detector.

    Parameters
    ----------
    masks : `ComparedMasks`
        Masks of the detector.
    image : `numpy.ndarray`
        Image without background, electrons, shape ``(ny, nx)``: a
        difference image, or what `subtract_block_background` returns.
    reference : `int` or `None`
        Bit number of truth, or of the detection taken for it.
    true_charge : `numpy.ndarray`, optional
        Charge of cosmic rays in each pixel, electrons, ``(ny, nx)``.
    origin : `tuple` [`int`, `int`], optional
        ``(x, y)`` of the first pixel of the image.
    stars : `astropy.table.Table`, optional
        Columns ``x`` and ``y`` of stars, pixels.
    true_cosmic_rays : `astropy.table.Table`, optional
        Columns ``id``, ``x``, ``y`` (pixels), ``charge`` (electrons) and
        ``kind`` of true cosmic rays.

    Returns
    -------
    objects : `astropy.table.Table`
        One row an object (see `find_objects`): ``id`` (from 0),
        ``is_reference``; ``x``, ``y`` (mean of its pixels), ``x_min``,
        ``y_min``, ``x_max``, ``y_max`` (inclusive); ``n_pixels``,
        ``length`` (diagonal of the bounding box, pixels), ``edge`` (whether
        it has a pixel at the edge of the image); ``charge`` and ``peak``
        (electrons; where ``charge_is_true``, of the true charge, else of
        the image); ``star_distance`` (pixels to the nearest star, NaN if no
        stars are given); ``true_id`` and ``true_kind`` (of the true cosmic
        rays within `TRUE_POSITION_TOLERANCE` of a pixel of the object, that
        of most charge; -1 and empty if there is none); ``available`` and
        ``code`` (uint64: which masks are there, and which share a pixel);
        and for each detection and
        truth ``found_{name}`` (int8: 1, 0, or `LABEL_UNKNOWN`) and
        ``fraction_{name}`` (float32: the fraction of the pixels that it
        has, NaN if the mask is missing).
    """
    objects, is_reference = find_objects(masks, reference)
    codes = masks.usable_codes[objects.rows, objects.columns].astype(np.uint64)
    table = _shapes(objects, masks.usable.shape, origin)
    table.add_column(is_reference, name="is_reference", index=1)
    table["charge"], table["peak"], table["charge_is_true"] = _charges(objects, image, true_charge)
    table["star_distance"] = _star_distances(table, stars)
    table["true_id"], table["true_kind"] = _match_true_cosmic_rays(objects, true_cosmic_rays, origin)
    table["available"] = np.full(objects.n_components, masks.available)
    table["code"] = objects.combine_codes(codes)
    for number, (bit, mask) in enumerate(zip(masks.bits, masks.masks, strict=True)):
        if bit.role is Role.PLANE:
            continue
        if mask is None:
            fraction = np.full(objects.n_components, np.nan)
        else:
            fraction = objects.total((codes >> np.uint64(number)) & np.uint64(1)) / table["n_pixels"]
        found = np.where(np.isnan(fraction), LABEL_UNKNOWN, fraction > 0)
        table[f"found_{bit.name}"] = found.astype(np.int8)
        table[f"fraction_{bit.name}"] = np.asarray(fraction, dtype=np.float32)
    return table


def subtract_block_background(
    image: npt.NDArray[np.floating], good: npt.NDArray[np.bool_], *, block: int = 64
) -> npt.NDArray[np.float32]:
    """Subtract from each block of an image the median of its good pixels.

    Parameters
    ----------
    image : `numpy.ndarray`
        Image, shape ``(ny, nx)``.
    good : `numpy.ndarray`
        Pixels of the background, bool ``(ny, nx)``.
    block : `int`, optional
        Width and height of a block, pixels.

    Returns
    -------
    excess : `numpy.ndarray`
        Image less background, float32 ``(ny, nx)``. In blocks without good
        pixels the median of all good pixels is taken, or 0 if there are
        none.
    """
    ny, nx = image.shape
    padding = ((0, -ny % block), (0, -nx % block))
    values = np.pad(np.where(good, image, np.nan).astype(np.float32), padding, constant_values=np.nan)
    blocks = values.reshape(values.shape[0] // block, block, values.shape[1] // block, block)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", category=RuntimeWarning)
        medians = np.nanmedian(blocks.swapaxes(1, 2).reshape(*blocks.shape[::2], -1), axis=2)
    overall = np.median(image[good]) if good.any() else 0.0
    medians = np.where(np.isnan(medians), overall, medians)
    background = np.repeat(np.repeat(medians, block, axis=0), block, axis=1)[:ny, :nx]
    return (image - background).astype(np.float32)


def _shapes(objects: Components, shape: tuple[int, ...], origin: tuple[int, int]) -> Table:
    n_pixels = objects.total(np.ones(objects.labels.size)).astype(np.int64)
    x_min, x_max = -objects.maximum(-objects.columns), objects.maximum(objects.columns)
    y_min, y_max = -objects.maximum(-objects.rows), objects.maximum(objects.rows)
    return Table(
        {
            "id": np.arange(objects.n_components),
            "x": objects.total(objects.columns) / n_pixels + origin[0],
            "y": objects.total(objects.rows) / n_pixels + origin[1],
            "x_min": x_min.astype(np.int64) + origin[0],
            "y_min": y_min.astype(np.int64) + origin[1],
            "x_max": x_max.astype(np.int64) + origin[0],
            "y_max": y_max.astype(np.int64) + origin[1],
            "n_pixels": n_pixels,
            "length": np.hypot(x_max - x_min + 1, y_max - y_min + 1),
            "edge": (x_min == 0) | (y_min == 0) | (x_max == shape[1] - 1) | (y_max == shape[0] - 1),
        }
    )


def _charges(
    objects: Components,
    image: npt.NDArray[np.floating],
    true_charge: npt.NDArray[np.floating] | None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    measured = image[objects.rows, objects.columns]
    charge, peak = objects.total(measured), objects.maximum(measured)
    if true_charge is None:
        return charge, peak, np.zeros(objects.n_components, dtype=bool)
    deposited = np.nan_to_num(true_charge[objects.rows, objects.columns], posinf=0.0, neginf=0.0)
    true_total, true_peak = objects.total(deposited), objects.maximum(deposited)
    is_true = true_total > 0
    return np.where(is_true, true_total, charge), np.where(is_true, true_peak, peak), is_true


def _star_distances(objects: Table, stars: Table | None) -> npt.NDArray[np.float64]:
    if stars is not None:
        stars = with_positions(stars)
    if stars is None or len(stars) == 0 or len(objects) == 0:
        return np.full(len(objects), np.nan)
    tree = KDTree(np.column_stack([np.asarray(stars["x"], float), np.asarray(stars["y"], float)]))
    return tree.query(np.column_stack([objects["x"], objects["y"]]))[0]


def _match_true_cosmic_rays(
    objects: Components, catalogue: Table | None, origin: tuple[int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.str_]]:
    """Return identifier and kind of the true cosmic ray of each object."""
    true_id = np.full(objects.n_components, -1, dtype=np.int64)
    true_kind = np.full(objects.n_components, "", dtype="U32")
    if catalogue is not None:
        catalogue = with_positions(catalogue)
    if catalogue is not None and len(catalogue) > 0 and objects.n_components > 0:
        pixels = np.column_stack([objects.columns + origin[0], objects.rows + origin[1]])
        by_charge = catalogue[np.argsort(np.asarray(catalogue["charge"]), kind="stable")]
        positions = np.column_stack([np.asarray(by_charge["x"], float), np.asarray(by_charge["y"], float)])
        distance, nearest = KDTree(pixels).query(positions)
        near = distance <= TRUE_POSITION_TOLERANCE
        labels = objects.labels[nearest[near]]
        true_id[labels] = np.asarray(by_charge["id"])[near]
        true_kind[labels] = np.asarray(by_charge["kind"]).astype("U32")[near]
    return true_id, true_kind
