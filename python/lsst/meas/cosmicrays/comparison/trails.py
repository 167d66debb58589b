# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Detectors that a satellite crosses, rates without them, and failures."""

from __future__ import annotations

__all__ = [
    "SAMPLES",
    "add_trail_confusions",
    "add_trail_rates",
    "failure_table",
    "gather_trails",
    "trail_confusion_table",
    "trail_rate_table",
    "trail_table",
]

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from .confusion import Confusion
from .pairs import Level
from .rates import pixels_per_megapixel
from .study_rows import make_table, rate_columns, rate_dtypes, ratio, sum_counts
from .trail_lines import TrailSettings, find_trails, near_trails

SAMPLES = ("all", "without_trails", "with_trails")
"""Detectors that rates are of."""

_UNKNOWN = -1
_LINE = ("x", "y", "angle", "length", "coverage")
_TRAILS: dict[str, npt.DTypeLike] = {
    "detection": "U64",
    "available": np.bool_,
    "n_pixels": np.int64,
    "n_trails": np.int64,
    "n_trail_pixels": np.int64,
    **dict.fromkeys(_LINE, np.float64),
}
_GATHERED: dict[str, npt.DTypeLike] = {
    "visit": np.int64,
    "detector": np.int64,
    **_TRAILS,
    "share_of_pixels": np.float64,
    "detector_trail": np.int64,
}
_RATE_KEYS: dict[str, npt.DTypeLike] = {"detection": "U64", "role": "U9", "sample": "U14"}
_RATE_COUNTS = (
    "n_detectors",
    "n_detectors_total",
    "n_failed",
    "n_usable",
    "n_pixels",
    "n_trail_pixels",
)
_COUNTED = {**_RATE_KEYS, **dict.fromkeys(_RATE_COUNTS, np.int64)}
_RATES = {
    **_COUNTED,
    "cr_pixels_per_mpix": np.float64,
    "share_of_pixels": np.float64,
    "share_on_trails": np.float64,
    **rate_dtypes("fraction_failed"),
}
_PAIR_KEYS: dict[str, npt.DTypeLike] = {"reference": "U64", "candidate": "U64", "sample": "U14"}
_PAIR_COUNTS = ("n_detectors", "tp", "fn", "fp", "tn")
_PAIRS_COUNTED = {**_PAIR_KEYS, **dict.fromkeys(_PAIR_COUNTS, np.int64)}
_PAIRS = {
    **_PAIRS_COUNTED,
    **dict.fromkeys(("purity", "completeness", "f1"), np.float64),
}
_FAILURES: dict[str, npt.DTypeLike] = {
    "visit": np.int64,
    "detector": np.int64,
    "detection": "U64",
    "failure": "U1024",
    "trail": np.int64,
    "trail_detections": "U512",
    "max_pixels": np.int64,
}

type _Detectors = dict[tuple[int, int], bool]


def trail_table(
    masks: Mapping[str, npt.NDArray[np.bool_] | None],
    settings: TrailSettings | None = None,
    *,
    origin: tuple[int, int] = (0, 0),
) -> Table:
    """Look for trails in the masks of a detector.

    Parameters
    ----------
    masks : `~collections.abc.Mapping`
        Bool arrays ``(ny, nx)`` by detection; `None` where one is missing.
    settings : `TrailSettings`, optional
        What counts as a trail.
    origin : `tuple` [`int`, `int`], optional
        ``(x, y)`` of the first pixel of the masks.

    Returns
    -------
    trails : `astropy.table.Table`
        One row a ``detection``: ``available``, ``n_pixels`` of the mask,
        ``n_trails``, ``n_trail_pixels`` (pixels on trails), all -1 if the
        mask is missing; and of the most certain trail a point ``x``, ``y``
        (pixels), ``angle`` (degrees from the x axis), ``length`` (pixels
        within the detector) and ``coverage``, NaN if there is none.
    """
    settings = settings or TrailSettings()
    rows = []
    for name, mask in masks.items():
        row = {"detection": name, "available": mask is not None} | dict.fromkeys(_LINE, math.nan)
        row |= dict.fromkeys(("n_pixels", "n_trails", "n_trail_pixels"), _UNKNOWN)
        if mask is not None:
            lines = find_trails(mask, settings)
            near = near_trails(mask, lines, settings.half_width)
            row |= {"n_pixels": near.size, "n_trails": len(lines)}
            row["n_trail_pixels"] = int(np.count_nonzero(near))
            if lines:
                row |= {column: getattr(lines[0], column) for column in _LINE}
                row |= {"x": lines[0].x + origin[0], "y": lines[0].y + origin[1]}
        rows.append(row)
    return make_table(rows, _TRAILS)


def gather_trails(trails: Table) -> Table:
    """Say which detectors have a trail in any of their masks.

    Parameters
    ----------
    trails : `astropy.table.Table`
        Rows of `trail_table`, with ``visit`` and ``detector``.

    Returns
    -------
    gathered : `astropy.table.Table`
        The same, with ``share_of_pixels`` (of the mask that is on trails,
        NaN if it is missing or empty) and ``detector_trail`` (1 or 0, -1
        where all masks are missing).
    """
    with_trail = _detectors_with_trail(trails)
    given = ("visit", "detector", *_TRAILS)
    rows = []
    for values in trails.iterrows(*given):
        row = dict(zip(given, values, strict=True))
        detector = int(row["visit"]), int(row["detector"])
        row["share_of_pixels"] = (
            ratio(row["n_trail_pixels"], row["n_pixels"]) if row["available"] else math.nan
        )
        row["detector_trail"] = with_trail.get(detector, _UNKNOWN)
        rows.append(row)
    return make_table(rows, _GATHERED)


def trail_rate_table(detections: Table, trails: Table) -> Table:
    """Give rates of detectors with and without trails.

    Parameters
    ----------
    detections : `astropy.table.Table`
        Rows of `detection_table`, with ``visit`` and ``detector``.
    trails : `astropy.table.Table`
        Rows of `trail_table`, with ``visit`` and ``detector``. Detectors
        without rows here are only in the sample ``all``.

    Returns
    -------
    rates : `astropy.table.Table`
        One row a detection or truth and sample of detectors (`SAMPLES`):
        ``detection``, ``role``, ``sample``; ``n_detectors`` (with the mask),
        ``n_detectors_total``, ``n_failed`` (on which the finder failed) and
        ``fraction_failed`` with the limits ``_lo`` and ``_hi`` of its 95 %
        Wilson interval; ``n_usable`` and ``n_pixels`` (of detectors with the
        mask), ``cr_pixels_per_mpix``; ``share_of_pixels`` (of all pixels
        of the mask, those in the sample); ``n_trail_pixels`` and
        ``share_on_trails`` (pixels of the mask on trails).
    """
    with_trail = _detectors_with_trail(trails)
    on_trails = {
        (int(visit), int(detector), str(name)): max(int(n), 0)
        for visit, detector, name, n in trails.iterrows("visit", "detector", "detection", "n_trail_pixels")
    }
    cells = []
    for visit, detector, name, role, available, failed, n_usable, n_pixels in detections.iterrows(
        "visit", "detector", "detection", "role", "available", "failed", "n_usable", "n_pixels"
    ):
        if str(role) == "plane":
            continue
        cell = {
            "detection": str(name),
            "role": str(role),
            "n_detectors": int(available),
            "n_detectors_total": 1,
            "n_failed": int(failed),
            "n_usable": int(n_usable) if available else 0,
            "n_pixels": int(n_pixels) if available else 0,
            "n_trail_pixels": on_trails.get((int(visit), int(detector), str(name)), 0) if available else 0,
        }
        cells += [cell | {"sample": sample} for sample in _samples_of(with_trail, visit, detector)]
    return _make_rate_table([make_table(cells, _COUNTED)])


def add_trail_rates(tables: Iterable[Table]) -> Table:
    """Add up the rates of detectors with and without trails over visits.

    Parameters
    ----------
    tables : iterable of `astropy.table.Table`
        What `trail_rate_table` or this function returned.

    Returns
    -------
    rates : `astropy.table.Table`
        The same columns.
    """
    return _make_rate_table(tables)


def trail_confusion_table(pixel_pairs: Table, trails: Table) -> Table:
    """Compare masks on detectors with and without trails, by pixel.

    Parameters
    ----------
    pixel_pairs : `astropy.table.Table`
        Rows of `pixel_pairs`, with ``visit`` and ``detector``.
    trails : `astropy.table.Table`
        Rows of `trail_table`, with ``visit`` and ``detector``.

    Returns
    -------
    table : `astropy.table.Table`
        One row a ``reference``, ``candidate`` and ``sample`` of detectors
        (`SAMPLES`): ``n_detectors`` with both masks, ``tp``, ``fn``, ``fp``,
        ``tn``, ``purity``, ``completeness`` and ``f1`` of pixels. What is
        0/0 is NaN.
    """
    with_trail = _detectors_with_trail(trails)
    cells = []
    for visit, detector, level, reference, candidate, *counts in pixel_pairs.iterrows(
        "visit", "detector", "level", "reference", "candidate", *_PAIR_COUNTS[1:]
    ):
        if str(level) == str(Level.PIXEL):
            cell = {"reference": str(reference), "candidate": str(candidate), "n_detectors": 1}
            cell |= dict(zip(_PAIR_COUNTS[1:], map(int, counts), strict=True))
            cells += [cell | {"sample": sample} for sample in _samples_of(with_trail, visit, detector)]
    return add_trail_confusions([make_table(cells, _PAIRS_COUNTED)])


def add_trail_confusions(tables: Iterable[Table]) -> Table:
    """Add up comparisons with and without trails over visits.

    Parameters
    ----------
    tables : iterable of `astropy.table.Table`
        What `trail_confusion_table` or this function returned.

    Returns
    -------
    table : `astropy.table.Table`
        The same columns.
    """
    rows = []
    for row in sum_counts(tables, list(_PAIR_KEYS), _PAIR_COUNTS):
        counts = Confusion(tp=row["tp"], fn=row["fn"], fp=row["fp"], tn=row["tn"])
        rates = {name: getattr(counts, name) for name in ("purity", "completeness", "f1")}
        rows.append(row | {name: math.nan if rate is None else rate for name, rate in rates.items()})
    return make_table(rows, _PAIRS)


def failure_table(detections: Table, trails: Table) -> Table:
    """List the detectors on which finders failed.

    Parameters
    ----------
    detections : `astropy.table.Table`
        Rows of `detection_table`, with ``visit`` and ``detector``.
    trails : `astropy.table.Table`
        Rows of `trail_table`, with ``visit`` and ``detector``.

    Returns
    -------
    failures : `astropy.table.Table`
        One row a ``visit``, ``detector`` and ``detection`` that failed:
        ``failure`` (what the finder said), ``trail`` (1 or 0: does any mask
        of the detector have a trail? -1 if that is not known),
        ``trail_detections`` (in which, joined by spaces) and ``max_pixels``
        (most pixels of any other mask of the detector, -1 without any).
    """
    with_trail = _detectors_with_trail(trails)
    rows = []
    for failed in detections[np.asarray(detections["failed"], dtype=bool)]:
        detector = int(failed["visit"]), int(failed["detector"])
        others, lines = (
            table[(table["visit"] == detector[0]) & (table["detector"] == detector[1])]
            for table in (detections, trails)
        )
        found = others[np.asarray(others["role"]) == "detection"]
        rows.append(
            {
                **dict(zip(("visit", "detector"), detector, strict=True)),
                "detection": str(failed["detection"]),
                "failure": str(failed["failure"]),
                "trail": int(with_trail.get(detector, _UNKNOWN)),
                "trail_detections": " ".join(map(str, lines["detection"][lines["n_trails"] > 0])),
                "max_pixels": int(np.max(found["n_pixels"], initial=_UNKNOWN)),
            }
        )
    return make_table(rows, _FAILURES)


def _detectors_with_trail(trails: Table) -> _Detectors:
    """Return by visit and detector whether any mask has a trail.

    Where every mask is missing nothing is known.
    """
    known: _Detectors = {}
    for visit, detector, n_trails in trails.iterrows("visit", "detector", "n_trails"):
        if n_trails >= 0:
            key = int(visit), int(detector)
            known[key] = known.get(key, False) or bool(n_trails > 0)
    return known


def _samples_of(with_trail: _Detectors, visit: int, detector: int) -> Sequence[str]:
    """Return the samples that a detector is in."""
    key = int(visit), int(detector)
    if key not in with_trail:
        return SAMPLES[:1]
    return SAMPLES[0], SAMPLES[2] if with_trail[key] else SAMPLES[1]


def _make_rate_table(tables: Iterable[Table]) -> Table:
    rows = sum_counts(tables, list(_RATE_KEYS), _RATE_COUNTS)
    of_all = {row["detection"]: row["n_pixels"] for row in rows if row["sample"] == SAMPLES[0]}
    return make_table([row | _rates(row, of_all[row["detection"]]) for row in rows], _RATES)


def _rates(row: Mapping[str, Any], n_pixels_all: int) -> dict[str, Any]:
    return {
        "cr_pixels_per_mpix": pixels_per_megapixel(row["n_pixels"], row["n_usable"]),
        "share_of_pixels": ratio(row["n_pixels"], n_pixels_all),
        "share_on_trails": ratio(row["n_trail_pixels"], row["n_pixels"]),
        **rate_columns("fraction_failed", row["n_failed"], row["n_detectors_total"]),
    }
