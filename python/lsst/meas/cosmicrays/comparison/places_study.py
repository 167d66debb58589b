# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why pixels and stamps tell different stories of the same two masks.

Two masks that agree on every stamp may agree on few pixels: they draw the
rims of the same cosmic rays differently, or differ on cosmic rays that lie
in no stamp. The pixels on which they disagree are split by that, and F1 is
given as if each kind were forgiven.
"""

from __future__ import annotations

__all__ = ["PLACES", "add_places_studies", "places_study_table"]

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from .confusion import Confusion
from .masks import MaskBit
from .pairs import Level, Place, catalogue_pairs
from .study_rows import make_table, ratio, sum_counts

PLACES = ("rim_in", "rim_out", "single_in", "single_out")
"""Where a pixel lies on which two masks disagree: in a cosmic ray that both
have or that only one has, in a stamp or in none.
"""

_PLACE_NAMES = {
    (str(Place.RIM), True): "rim_in",
    (str(Place.RIM), False): "rim_out",
    (str(Place.SINGLE), True): "single_in",
    (str(Place.SINGLE), False): "single_out",
}
_KEYS: dict[str, npt.DTypeLike] = {"reference": "U64", "candidate": "U64", "truth_sigma": np.float64}
_COUNTS = (
    "n_detectors",
    "tp",
    "tp_in_stamps",
    *(f"{error}_{place}" for error in ("fn", "fp") for place in PLACES),
    "stamp_tp",
    "stamp_fn",
    "stamp_fp",
)
_RATES = (
    "f1_pixel",
    "f1_without_rims",
    "f1_in_stamps",
    "f1_in_stamps_without_rims",
    "f1_stamp",
    *(f"share_{place}" for place in PLACES),
)
_DTYPES = {**_KEYS, **dict.fromkeys(_COUNTS, np.int64), **dict.fromkeys(_RATES, np.float64)}


def places_study_table(places: Table, detections: Table, stamps: Table, bits: Sequence[MaskBit]) -> Table:
    """Split the disagreement of every pair of masks by place.

    Parameters
    ----------
    places : `astropy.table.Table`
        Where masks disagree, as `add_places` returns it.
    detections : `astropy.table.Table`
        Rows of `detection_table` of the same detectors, with ``visit`` and
        ``detector``.
    stamps : `astropy.table.Table`
        Stamps of these detectors.
    bits : sequence of `MaskBit`
        What the masks are.

    Returns
    -------
    table : `astropy.table.Table`
        One row a ``reference`` and ``candidate`` (``truth_sigma``):
        ``n_detectors`` with both masks; ``tp`` (pixels that both have) and
        ``tp_in_stamps``; ``fn_{place}`` and ``fp_{place}`` for `PLACES`;
        ``stamp_tp``, ``stamp_fn``, ``stamp_fp``; the F1 of pixels
        ``f1_pixel``, without those at rims of cosmic rays that both have
        ``f1_without_rims``, of pixels in stamps ``f1_in_stamps``, of these
        without rims ``f1_in_stamps_without_rims``, and of stamps
        ``f1_stamp``; and ``share_{place}``, the share of the pixels on
        which the masks disagree that lie there. What is 0/0 is NaN.
    """
    stamp_counts = {
        (str(row["reference"]), str(row["candidate"])): row
        for row in catalogue_pairs(stamps, Level.STAMP, bits)
    }
    by_detector = _pixels_by_detector(detections)
    rows = []
    for row in _split_places(places):
        there, candidate_there = by_detector[row["reference"]], by_detector[row["candidate"]]
        common = there.keys() & candidate_there.keys()
        n_pixels, n_in_stamps = (sum(there[detector][i] for detector in common) for i in (0, 1))
        of_stamps = stamp_counts[row["reference"], row["candidate"]]
        row |= {
            "n_detectors": len(common),
            "tp": n_pixels - sum(row[f"fn_{place}"] for place in PLACES),
            "tp_in_stamps": n_in_stamps - row["fn_rim_in"] - row["fn_single_in"],
            **{f"stamp_{name}": int(of_stamps[name]) for name in ("tp", "fn", "fp")},
        }
        rows.append(row | _rates(row))
    return make_table(rows, _DTYPES)


def add_places_studies(tables: Iterable[Table]) -> Table:
    """Add up the disagreement of masks by place over visits.

    Parameters
    ----------
    tables : iterable of `astropy.table.Table`
        What `places_study_table` or this function returned.

    Returns
    -------
    table : `astropy.table.Table`
        The same columns.
    """
    rows = _sum_pairs(tables)
    return make_table([row | _rates(row) for row in rows], _DTYPES)


def _sum_pairs(tables: Iterable[Table]) -> list[dict[str, Any]]:
    """Add up counts; a NaN is no key, since it does not equal itself."""
    tables = list(tables)
    sigmas = {
        (str(reference), str(candidate)): float(sigma)
        for table in tables
        for reference, candidate, sigma in table.iterrows(*_KEYS)
    }
    rows = sum_counts(tables, ("reference", "candidate"), _COUNTS)
    return [row | {"truth_sigma": sigmas[row["reference"], row["candidate"]]} for row in rows]


def _split_places(places: Table) -> list[dict[str, Any]]:
    """Return a row for each pair, with its counts by error and place."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for reference, candidate, sigma, error, place, inside, n in places.iterrows(
        *_KEYS, "error", "place", "in_stamp", "n"
    ):
        pair = (str(reference), str(candidate))
        start = dict(zip(_KEYS, (*pair, float(sigma)), strict=True))
        row = rows.setdefault(pair, start | dict.fromkeys(_COUNTS, 0))
        row[f"{error}_{_PLACE_NAMES[str(place), bool(inside)]}"] += int(n)
    return list(rows.values())


def _pixels_by_detector(detections: Table) -> dict[str, dict[tuple[int, int], tuple[int, int]]]:
    """Return by name and detector the pixels of a mask, all and in stamps."""
    pixels: dict[str, dict[tuple[int, int], tuple[int, int]]] = {}
    for visit, detector, name, available, n_pixels, n_in_stamps in detections.iterrows(
        "visit", "detector", "detection", "available", "n_pixels", "n_pixels_in_stamps"
    ):
        of_name = pixels.setdefault(str(name), {})
        if available:
            of_name[int(visit), int(detector)] = (int(n_pixels), int(n_in_stamps))
    return pixels


def _rates(row: Mapping[str, Any]) -> dict[str, float]:
    disagreeing = {place: row[f"fn_{place}"] + row[f"fp_{place}"] for place in PLACES}
    total = sum(disagreeing.values())
    inside = ("rim_in", "single_in")
    singles = ("single_in", "single_out")
    return {
        "f1_pixel": _f1(row, "tp", PLACES),
        "f1_without_rims": _f1(row, "tp", singles),
        "f1_in_stamps": _f1(row, "tp_in_stamps", inside),
        "f1_in_stamps_without_rims": _f1(row, "tp_in_stamps", inside[1:]),
        "f1_stamp": _null_to_nan(
            Confusion(tp=row["stamp_tp"], fn=row["stamp_fn"], fp=row["stamp_fp"], tn=0).f1
        ),
        **{f"share_{place}": ratio(n, total) for place, n in disagreeing.items()},
    }


def _f1(row: Mapping[str, Any], agreeing: str, places: Sequence[str]) -> float:
    fn, fp = (sum(row[f"{error}_{place}"] for place in places) for error in ("fn", "fp"))
    return _null_to_nan(Confusion(tp=row[agreeing], fn=fn, fp=fp, tn=0).f1)


def _null_to_nan(rate: float | None) -> float:
    return float("nan") if rate is None else rate
