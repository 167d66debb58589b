# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many cosmic-ray pixels stamps have, and what a threshold does.

Everything follows from one distribution, which adds up over visits: how many
stamps have which number of cosmic-ray pixels.
"""

from __future__ import annotations

__all__ = [
    "STAMP_THRESHOLDS",
    "add_stamp_distributions",
    "stamp_distribution",
    "stamp_study_table",
    "stamp_threshold_table",
]

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from .rates import cosmic_ray_flux, median_stamp_pixels, pixels_per_megapixel
from .stamps import LABEL_UNKNOWN
from .study_rows import confusion_columns, make_table, rate_columns, rate_dtypes, ratio, sum_counts

STAMP_THRESHOLDS = (1, 2, 5, 10, 30, 60, 80)
"""Numbers of cosmic-ray pixels at which the 2022 report looks at stamps."""

_DISTRIBUTION: dict[str, npt.DTypeLike] = {
    "detection": "U64",
    "n_cr": np.int64,
    "edge": np.bool_,
    "label_truth": np.int64,
    "n": np.int64,
}
_STUDY: dict[str, npt.DTypeLike] = {
    "detection": "U64",
    "role": "U9",
    "n_detectors": np.int64,
    "n_detectors_total": np.int64,
    "n_stamps": np.int64,
    "n_stamps_cr": np.int64,
    "n_stamps_not_cr": np.int64,
    **rate_dtypes("fraction_cr"),
    "n_edge": np.int64,
    "n_edge_cr": np.int64,
    "median_cr_pixels": np.float64,
    "p16_cr_pixels": np.float64,
    "p84_cr_pixels": np.float64,
    "max_cr_pixels": np.float64,
    "median_cr_pixels_inside": np.float64,
    "n_usable": np.int64,
    "n_pixels": np.int64,
    "cr_pixels_per_mpix": np.float64,
    "n_pixels_in_stamps": np.int64,
    "fraction_in_stamps": np.float64,
    "cr_pixels_in_stamps_per_mpix": np.float64,
    "area_time": np.float64,
    "flux": np.float64,
}
_SUMS = ("n_detectors", "n_detectors_total", "n_usable", "n_pixels", "n_pixels_in_stamps", "area_time")
_THRESHOLDS: dict[str, npt.DTypeLike] = {
    "detection": "U64",
    "threshold": np.int64,
    "n_stamps": np.int64,
    "n_exactly": np.int64,
    "n_exactly_true": np.int64,
    **rate_dtypes("exactly_purity"),
    "n_stamps_cr": np.int64,
    "fraction_cr": np.float64,
    **dict.fromkeys(("tp", "fn", "fp", "tn"), np.int64),
    **rate_dtypes("purity", "completeness", "f1"),
}


def stamp_distribution(stamps: Table, names: Sequence[str]) -> Table:
    """Count stamps by the number of cosmic-ray pixels in them.

    Parameters
    ----------
    stamps : `astropy.table.Table`
        Stamps, as `make_stamp_table` returns them.
    names : sequence of `str`
        Detections and truths.

    Returns
    -------
    distribution : `astropy.table.Table`
        One row for each ``detection``, ``n_cr`` (cosmic-ray pixels in a
        stamp), ``edge`` (does the stamp reach over the edge of the image?)
        and ``label_truth`` (1, 0, or `LABEL_UNKNOWN` without truth) that
        occurs, with ``n``, the number of stamps (int64). Stamps on
        detectors without the mask are left out.
    """
    truth = np.full(len(stamps), LABEL_UNKNOWN)
    if "label_truth" in stamps.colnames:
        truth = np.asarray(stamps["label_truth"])
    rows = []
    for name in names:
        n_cr = np.asarray(stamps[f"n_cr_{name}"])
        keys = np.column_stack([n_cr, np.asarray(stamps["edge"]), truth]).astype(np.int64)
        kinds, n = np.unique(keys[n_cr >= 0], axis=0, return_counts=True)
        rows += [
            dict(zip(_DISTRIBUTION, (name, *kind, count), strict=True))
            for kind, count in zip(kinds, n, strict=True)
        ]
    return make_table(rows, _DISTRIBUTION)


def add_stamp_distributions(distributions: Iterable[Table]) -> Table:
    """Add up distributions of stamps.

    Parameters
    ----------
    distributions : iterable of `astropy.table.Table`
        What `stamp_distribution` or this function returned.

    Returns
    -------
    distribution : `astropy.table.Table`
        The same columns; rows that differ only in ``n`` have been added.
    """
    *keys, count = _DISTRIBUTION
    return make_table(sum_counts(distributions, keys, [count]), _DISTRIBUTION)


def stamp_study_table(distribution: Table, detections: Table, *, min_pixels: int = 1) -> Table:
    """Describe the stamps of each detection.

    Parameters
    ----------
    distribution : `astropy.table.Table`
        What `stamp_distribution` returned.
    detections : `astropy.table.Table`
        Rows of `detection_table`, of all detectors, or rows that this
        function returned, of all visits.
    min_pixels : `int`, optional
        The threshold L: a stamp is a cosmic ray from this number on.

    Returns
    -------
    study : `astropy.table.Table`
        One row a detection or truth: ``detection``, ``role``;
        ``n_detectors`` (with the mask) and ``n_detectors_total``;
        ``n_stamps``, ``n_stamps_cr``, ``n_stamps_not_cr``, ``fraction_cr``
        with the Wilson limits ``_lo`` and ``_hi``; of these stamps, those
        over the edge: ``n_edge``, ``n_edge_cr``; of stamps that are cosmic
        rays: ``median_cr_pixels``, ``p16_cr_pixels``, ``p84_cr_pixels``,
        ``max_cr_pixels``, and ``median_cr_pixels_inside`` (without those
        over the edge); ``n_usable``, ``n_pixels``, ``cr_pixels_per_mpix``;
        ``n_pixels_in_stamps``, ``fraction_in_stamps``,
        ``cr_pixels_in_stamps_per_mpix``; ``area_time`` (cm^2 s) and
        ``flux`` (cosmic rays per cm^2 and s). What is 0/0 or unknown is
        NaN.
    """
    names = dict.fromkeys(
        str(name) for name, role in detections.iterrows("detection", "role") if str(role) != "plane"
    )
    rows = [
        _study(
            name,
            distribution[distribution["detection"] == name],
            detections[detections["detection"] == name],
            min_pixels,
        )
        for name in names
    ]
    return make_table(rows, _STUDY)


def stamp_threshold_table(distribution: Table, thresholds: Sequence[int] = STAMP_THRESHOLDS) -> Table:
    """Say what the threshold of a label does.

    Parameters
    ----------
    distribution : `astropy.table.Table`
        What `stamp_distribution` returned.
    thresholds : sequence of `int`, optional
        Thresholds L: a stamp with at least L pixels is a cosmic ray.

    Returns
    -------
    table : `astropy.table.Table`
        One row a ``detection`` and ``threshold``: ``n_stamps``;
        ``n_exactly`` (stamps with exactly L pixels), ``n_exactly_true``
        (of those whose truth is known, the true cosmic rays) and
        ``exactly_purity`` with limits; ``n_stamps_cr`` (with at least L),
        ``fraction_cr``; against the truth label of stamps whose truth is
        known ``tp``, ``fn``, ``fp``, ``tn``, and ``purity``,
        ``completeness``, ``f1``, each with the limits ``_lo`` and ``_hi``
        of its 95 % interval (Wilson). What is 0/0 or unknown is NaN.
    """
    rows = []
    for name in dict.fromkeys(str(name) for name in distribution["detection"]):
        of_name = distribution[distribution["detection"] == name]
        n_cr, truth, n = (np.asarray(of_name[column]) for column in ("n_cr", "label_truth", "n"))
        for threshold in thresholds:
            rows.append({"detection": name} | _threshold_row(n_cr, truth, n, threshold))
    return make_table(rows, _THRESHOLDS)


def _study(name: str, distribution: Table, detectors: Table, min_pixels: int) -> dict[str, Any]:
    n_cr, edge = np.asarray(distribution["n_cr"]), np.asarray(distribution["edge"])
    n = np.asarray(distribution["n"])
    labelled = n_cr >= min_pixels
    n_stamps, n_labelled = int(n.sum()), int(n[labelled].sum())
    sizes = np.repeat(n_cr[labelled], n[labelled])
    inside = labelled & ~edge
    p16, p84 = np.percentile(sizes, [16, 84]) if sizes.size else (math.nan, math.nan)
    median = median_stamp_pixels(sizes)
    sums = _sum_detectors(detectors)
    n_pixels, n_in_stamps, n_usable = (sums[key] for key in ("n_pixels", "n_pixels_in_stamps", "n_usable"))
    return {
        "detection": name,
        "role": str(detectors["role"][0]),
        **sums,
        "n_stamps": n_stamps,
        "n_stamps_cr": n_labelled,
        "n_stamps_not_cr": n_stamps - n_labelled,
        **rate_columns("fraction_cr", n_labelled, n_stamps),
        "n_edge": int(n[edge].sum()),
        "n_edge_cr": int(n[edge & labelled].sum()),
        "median_cr_pixels": median,
        "p16_cr_pixels": float(p16),
        "p84_cr_pixels": float(p84),
        "max_cr_pixels": float(sizes.max()) if sizes.size else math.nan,
        "median_cr_pixels_inside": median_stamp_pixels(np.repeat(n_cr[inside], n[inside])),
        "cr_pixels_per_mpix": pixels_per_megapixel(n_pixels, n_usable),
        "fraction_in_stamps": ratio(n_in_stamps, n_pixels),
        "cr_pixels_in_stamps_per_mpix": pixels_per_megapixel(n_in_stamps, n_usable),
        "flux": cosmic_ray_flux(n_pixels, median, sums["area_time"]),
    }


def _sum_detectors(rows: Table) -> dict[str, Any]:
    """Return the sums of `_SUMS` over detectors, or over visits."""
    if "n_detectors" in rows.colnames:
        return {name: rows[name].sum().item() for name in _SUMS}
    there = rows[np.asarray(rows["available"], dtype=bool)]
    counted = {name: np.asarray(there[name]).sum().item() for name in _SUMS[2:]}
    return {"n_detectors": len(there), "n_detectors_total": len(rows), **counted}


def _threshold_row(
    n_cr: npt.NDArray[np.int64], truth: npt.NDArray[np.int64], n: npt.NDArray[np.int64], threshold: int
) -> dict[str, Any]:
    exactly, labelled = n_cr == threshold, n_cr >= threshold
    is_true, is_false = truth == 1, truth == 0

    def count(chosen: npt.NDArray[np.bool_]) -> int:
        return int(n[chosen].sum())

    tp, fn = count(labelled & is_true), count(~labelled & is_true)
    fp, tn = count(labelled & is_false), count(~labelled & is_false)
    n_exactly_true = count(exactly & is_true)
    return {
        "threshold": threshold,
        "n_stamps": int(n.sum()),
        "n_exactly": count(exactly),
        "n_exactly_true": n_exactly_true,
        **rate_columns("exactly_purity", n_exactly_true, n_exactly_true + count(exactly & is_false)),
        "n_stamps_cr": count(labelled),
        "fraction_cr": ratio(count(labelled), int(n.sum())),
        "tp": tp,
        "fn": fn,
        "fp": fp,
        "tn": tn,
        **confusion_columns(tp, fn, fp),
    }
