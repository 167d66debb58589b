# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that is compared on one detector."""

from __future__ import annotations

__all__ = ["ComparisonSettings", "DetectorData", "compare_detector", "cut_stamp_images"]

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from .clusters import cluster_counts
from .masks import ComparedMasks, Role
from .objects import make_object_table
from .pairs import pixel_pairs, place_table
from .sources import no_sources
from .stamps import STAMP_SIZE, classify_sources, cut_stamps, inside_stamps, make_stamp_table, stamp_corners
from .summary import detection_table


@dataclass(frozen=True)
class ComparisonSettings:
    """How stamps and objects are made."""

    stamp_size: int = STAMP_SIZE
    """Width and height of a stamp, pixels (`int`)."""

    min_stamp_pixels: int = 1
    """The threshold L: a stamp with as many cosmic-ray pixels is a cosmic
    ray (`int`).
    """

    match_radius: float = 3.0
    """Distance within which a source and the truth are one, pixels
    (`float`).
    """

    object_reference: str | None = None
    """Detection whose components are the reference of objects where there is
    no truth; the first one by default (`str`).
    """


@dataclass(frozen=True)
class DetectorData:
    """What is known of one detector; all but the first two is optional."""

    masks: ComparedMasks
    """Masks to be compared (`ComparedMasks`)."""

    image: npt.NDArray[np.float32]
    """Image without background, electrons, ``(ny, nx)`` (`numpy.ndarray`)."""

    origin: tuple[int, int] = (0, 0)
    """``(x, y)`` of the first pixel of the image (`tuple`)."""

    sources: Table = field(default_factory=no_sources)
    """DIASources, as `select_sources` returns them (`astropy.table.Table`).
    """

    objects: npt.NDArray[np.bool_] | None = None
    """Pixels of OBJECTs, ``(ny, nx)`` (`numpy.ndarray`)."""

    true_charge: npt.NDArray[np.floating] | None = None
    """Charge of cosmic rays, electrons, ``(ny, nx)`` (`numpy.ndarray`)."""

    true_cosmic_rays: Table | None = None
    """True cosmic rays: ``id``, ``x``, ``y``, ``charge``, ``kind``
    (`astropy.table.Table`).
    """

    variables: Table | None = None
    """True variable sources: ``id``, ``x``, ``y``, ``kind``
    (`astropy.table.Table`).
    """

    stars: Table | None = None
    """Stars: ``x``, ``y`` (`astropy.table.Table`)."""

    summaries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By detection, the summary row of its finder
    (`~collections.abc.Mapping`).
    """

    exposure_time: float | None = None
    """Exposure time, s (`float`)."""

    pixel_size: float | None = None
    """Width of a pixel, mm (`float`)."""


def compare_detector(data: DetectorData, settings: ComparisonSettings) -> dict[str, Table]:
    """Compare the masks of one detector in every way.

    Parameters
    ----------
    data : `DetectorData`
        What is known of the detector.
    settings : `ComparisonSettings`
        How stamps and objects are made.

    Returns
    -------
    tables : `dict` [`str`, `astropy.table.Table`]
        ``counts`` and ``counts_dilated`` (see `ComparedMasks`),
        ``detections`` (`detection_table`), ``pixel_pairs`` (`pixel_pairs`),
        ``pixel_places`` (`place_table`), ``cluster_counts``
        (`cluster_counts`), ``stamps`` (`make_stamp_table` and
        `classify_sources`) and ``objects`` (`make_object_table`).
    """
    masks = data.masks
    in_stamp = inside_stamps(masks.usable.shape, *_corners(data.sources, data.origin, settings))
    counts, counts_dilated = masks.count(), masks.count_dilated()
    return {
        "counts": counts,
        "counts_dilated": counts_dilated,
        "detections": detection_table(
            masks,
            in_stamp,
            data.summaries,
            exposure_time=data.exposure_time,
            pixel_size=data.pixel_size,
        ),
        "pixel_pairs": pixel_pairs(counts, counts_dilated, masks.bits),
        "pixel_places": place_table(masks, in_stamp),
        "cluster_counts": cluster_counts(masks),
        "stamps": _describe_stamps(data, settings),
        "objects": make_object_table(
            masks,
            data.image,
            reference=_reference_bit(masks, settings),
            true_charge=data.true_charge,
            origin=data.origin,
            stars=data.stars,
            true_cosmic_rays=data.true_cosmic_rays,
        ),
    }


def cut_stamp_images(
    data: DetectorData, settings: ComparisonSettings, images: Mapping[str, npt.NDArray | None]
) -> Table:
    """Cut images and masks into stamps.

    Parameters
    ----------
    data : `DetectorData`
        What is known of the detector.
    settings : `ComparisonSettings`
        How stamps are made.
    images : `~collections.abc.Mapping`
        Images by name, ``(ny, nx)``; `None` for one that is missing, whose
        stamps are NaN.

    Returns
    -------
    stamps : `astropy.table.Table`
        One row a source: ``id``, the images under their names (float32,
        NaN beyond the edge) and ``mask_{name}`` of each detection and truth
        (bool, `False` beyond the edge or if the mask is missing), each
        ``(size, size)``.
    """
    columns, rows, size = _corners(data.sources, data.origin, settings)
    shape = data.masks.usable.shape
    table = Table({"id": np.asarray(data.sources["id"])})
    for name, image in images.items():
        pixels = np.full(shape, np.nan, np.float32) if image is None else image.astype(np.float32)
        table[name] = cut_stamps(pixels, columns, rows, size)
    for bit, mask in zip(data.masks.bits, data.masks.masks, strict=True):
        if bit.role is not Role.PLANE:
            flagged = np.zeros(shape, dtype=bool) if mask is None else mask
            table[f"mask_{bit.name}"] = cut_stamps(flagged, columns, rows, size)
    return table


def _corners(
    sources: Table, origin: tuple[int, int], settings: ComparisonSettings
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    x_min, y_min = stamp_corners(sources["x"], sources["y"], settings.stamp_size)
    return x_min - origin[0], y_min - origin[1], settings.stamp_size


def _describe_stamps(data: DetectorData, settings: ComparisonSettings) -> Table:
    stamps = make_stamp_table(
        data.sources,
        data.masks,
        origin=data.origin,
        size=settings.stamp_size,
        min_pixels=settings.min_stamp_pixels,
        objects=data.objects,
    )
    truths = data.masks.bit_numbers(Role.TRUTH)
    kinds = classify_sources(
        data.sources,
        cosmic_rays=data.masks.pixels_of(truths[:1]) if truths else None,
        variables=data.variables,
        dipole=np.asarray(data.sources["dipole"]) if "dipole" in data.sources.colnames else None,
        origin=data.origin,
        radius=settings.match_radius,
    )
    for name in kinds.colnames:
        stamps[name] = kinds[name]
    return stamps


def _reference_bit(masks: ComparedMasks, settings: ComparisonSettings) -> int | None:
    """Return the bit of truth, else of the detection taken for it."""
    truths = [number for number, bit in enumerate(masks.bits) if bit.role is Role.TRUTH]
    if truths:
        return truths[0]
    detections = {bit.name: number for number, bit in enumerate(masks.bits) if bit.role is Role.DETECTION}
    if settings.object_reference is not None:
        return detections[settings.object_reference]
    return next(iter(detections.values()), None)
