# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""One row a mask: what was found, how much, how fast, and how often not."""

from __future__ import annotations

__all__ = ["SUMMARY_DEFAULTS", "detection_table", "summary_table"]

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from .masks import ComparedMasks, MaskBit, Role
from .rates import cosmic_ray_flux, exposed_area_time, median_stamp_pixels, pixels_per_megapixel
from .stamps import object_by_cosmic_ray

SUMMARY_DEFAULTS: dict[str, Any] = {
    "finder": "",
    "kind": "",
    "variant": "",
    "engine": "",
    "n_cosmic_rays": -1,
    "wall_time": math.nan,
    "config_digest": "",
    "failed": False,
    "failure": "",
}
"""What is taken from the summary row of a finder, and what stands for it
where there is none.
"""

MIXED = "mixed"
"""Stands for a text that is not the same on all detectors."""

_DETECTION_DTYPES: dict[str, npt.DTypeLike] = {
    "bit": np.int64,
    "detection": "U64",
    "role": "U9",
    "truth_sigma": np.float64,
    "available": np.bool_,
    "n_usable": np.int64,
    "n_pixels": np.int64,
    "n_pixels_in_stamps": np.int64,
    "area_time": np.float64,
    "finder": "U64",
    "kind": "U64",
    "variant": "U64",
    "engine": "U64",
    "n_cosmic_rays": np.int64,
    "wall_time": np.float64,
    "config_digest": "U128",
    "failed": np.bool_,
    "failure": "U1024",
}


def detection_table(
    masks: ComparedMasks,
    in_stamp: npt.NDArray[np.bool_],
    summaries: Mapping[str, Mapping[str, Any]],
    *,
    exposure_time: float | None,
    pixel_size: float | None,
) -> Table:
    """Say what the bits of a detector's joint codes are.

    Parameters
    ----------
    masks : `ComparedMasks`
        Masks of the detector.
    in_stamp : `numpy.ndarray`
        Pixels in at least one stamp, bool ``(ny, nx)``.
    summaries : `~collections.abc.Mapping`
        By the name of a detection, the summary row of its finder.
    exposure_time : `float` or `None`
        Exposure time, s.
    pixel_size : `float` or `None`
        Width of a pixel, mm.

    Returns
    -------
    detections : `astropy.table.Table`
        One row a mask: ``bit``, ``detection`` (its name), ``role``,
        ``truth_sigma``, ``available``; ``n_usable`` (usable pixels of the
        detector), ``n_pixels`` (those in the mask) and
        ``n_pixels_in_stamps`` (those also in a stamp), -1 if the mask is
        missing; ``area_time`` (area of the usable pixels times exposure
        time, cm^2 s, NaN if unknown); and the columns of
        `SUMMARY_DEFAULTS`.
    """
    n_usable = int(masks.usable.sum())
    area_time = math.nan
    if exposure_time is not None and pixel_size is not None:
        area_time = exposed_area_time(n_usable, pixel_size, exposure_time)
    rows = []
    for number, (bit, mask) in enumerate(zip(masks.bits, masks.masks, strict=True)):
        n_pixels = n_in_stamps = -1
        if mask is not None:
            pixels = mask & masks.usable
            n_pixels, n_in_stamps = int(pixels.sum()), int((pixels & in_stamp).sum())
        counted = (mask is not None, n_usable, n_pixels, n_in_stamps, area_time)
        summary = {**SUMMARY_DEFAULTS, **summaries.get(bit.name, {})}
        rows.append(
            (number, bit.name, str(bit.role), bit.sigma, *counted)
            + tuple(summary[name] for name in SUMMARY_DEFAULTS)
        )
    return Table(rows=rows, names=list(_DETECTION_DTYPES), dtype=list(_DETECTION_DTYPES.values()))


def summary_table(detections: Table, stamps: Table, bits: Sequence[MaskBit]) -> Table:
    """Summarise each detection and truth over detectors.

    Parameters
    ----------
    detections : `astropy.table.Table`
        What `detection_table` returns, of all detectors.
    stamps : `astropy.table.Table`
        Stamps of all detectors.
    bits : sequence of `MaskBit`
        What the masks are.

    Returns
    -------
    summary : `astropy.table.Table`
        One row a detection or truth: ``detection``, ``role``,
        ``truth_sigma``; ``n_detectors`` (with the mask),
        ``n_detectors_total``, ``n_failed`` (on which the finder failed);
        ``n_usable`` and ``n_pixels`` (of detectors with the mask),
        ``cr_pixels_per_mpix``, ``n_cosmic_rays`` (of the finder, -1 if
        unknown), ``area_time`` (cm^2 s), ``median_stamp_pixels`` (of stamps
        that are cosmic rays), ``flux`` (cosmic rays per cm^2 and s);
        ``n_pixels_in_stamps``, ``fraction_in_stamps``; ``n_stamps``,
        ``n_stamps_cr``, ``n_stamps_not_cr``; ``n_object_cr``,
        ``n_object_not_cr``, ``n_no_object_cr``, ``n_no_object_not_cr``
        (stamps with and without an OBJECT; all 0 where that is unknown);
        ``wall_time_median``, ``wall_time_total`` (s); ``finder``,
        ``kind``, ``variant``, ``engine``, ``config_digest`` (`MIXED` if
        not the same on all detectors).
    """
    rows = [
        _summarise(detections[detections["detection"] == bit.name], stamps, bit)
        for bit in bits
        if bit.role is not Role.PLANE
    ]
    return Table(rows=rows)


def _summarise(detectors: Table, stamps: Table, bit: MaskBit) -> dict[str, Any]:
    there = detectors[np.asarray(detectors["available"], dtype=bool)]
    labels = np.asarray(stamps[f"label_{bit.name}"])
    n_usable, n_pixels = int(there["n_usable"].sum()), int(there["n_pixels"].sum())
    n_in_stamps = int(there["n_pixels_in_stamps"].sum())
    area_time = float(there["area_time"].sum())
    n_cr_of_stamps = np.asarray(stamps[f"n_cr_{bit.name}"])
    median_pixels = median_stamp_pixels(n_cr_of_stamps[labels == 1])
    table_2 = object_by_cosmic_ray(stamps, bit.name)
    times = np.asarray(detectors["wall_time"], dtype=float)
    times = times[np.isfinite(times)]
    counted = np.asarray(there["n_cosmic_rays"])
    return {
        "detection": bit.name,
        "role": str(bit.role),
        "truth_sigma": bit.sigma,
        "n_detectors": len(there),
        "n_detectors_total": len(detectors),
        "n_failed": int(np.asarray(detectors["failed"], dtype=bool).sum()),
        "n_usable": n_usable,
        "n_pixels": n_pixels,
        "cr_pixels_per_mpix": pixels_per_megapixel(n_pixels, n_usable),
        "n_cosmic_rays": int(counted.sum()) if len(counted) and (counted >= 0).all() else -1,
        "area_time": area_time,
        "median_stamp_pixels": median_pixels,
        "flux": cosmic_ray_flux(n_pixels, median_pixels, area_time),
        "n_pixels_in_stamps": n_in_stamps,
        "fraction_in_stamps": n_in_stamps / n_pixels if n_pixels else math.nan,
        "n_stamps": int((labels >= 0).sum()),
        "n_stamps_cr": int((labels == 1).sum()),
        "n_stamps_not_cr": int((labels == 0).sum()),
        "n_object_cr": int(table_2[1, 1]),
        "n_object_not_cr": int(table_2[1, 0]),
        "n_no_object_cr": int(table_2[0, 1]),
        "n_no_object_not_cr": int(table_2[0, 0]),
        "wall_time_median": float(np.median(times)) if times.size else math.nan,
        "wall_time_total": float(times.sum()) if times.size else math.nan,
        **{name: _common_text(detectors[name]) for name in _TEXTS},
    }


_TEXTS = ("finder", "kind", "variant", "engine", "config_digest")


def _common_text(column: npt.ArrayLike) -> str:
    values = {str(value) for value in np.asarray(column)} - {""}
    return values.pop() if len(values) == 1 else MIXED if values else ""
