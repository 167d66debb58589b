# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Overviews: completeness in bins, combinations of masks, the focal plane."""

from __future__ import annotations

__all__ = [
    "COMPLETENESS_BINS",
    "FOCAL_PLANE_CORNERS",
    "add_focal_planes",
    "completeness_columns",
    "completeness_table",
    "focal_plane_table",
    "region_table",
    "tangent_plane",
]

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from astropy.table import Table, vstack

from .confusion import regions
from .rates import pixels_per_megapixel
from .study_rows import make_table, rate_columns, rate_dtypes

COMPLETENESS_BINS: dict[str, tuple[float, ...]] = {
    "length": (0, 2, 3, 5, 8, 12, 20, 30, 50, math.inf),
    "charge": (0, 300, 1e3, 3e3, 1e4, 3e4, 1e5, math.inf),
    "star_distance": (0, 5, 10, 20, 40, 80, 160, math.inf),
}
"""Edges of bins: length and distance to the nearest star in pixels, charge in
electrons. A bin has its lower edge, and not its upper one.
"""

FOCAL_PLANE_CORNERS = tuple(f"{axis}{corner}" for corner in range(4) for axis in "xy")
"""Columns of the corners of a detector: ``x0``, ``y0``, ``x1``, ..."""

_TRUTH = "found_truth"
_COMPLETENESS: dict[str, npt.DTypeLike] = {
    "variable": "U16",
    "low": np.float64,
    "high": np.float64,
    "detection": "U64",
    "n": np.int64,
    "n_found": np.int64,
    **rate_dtypes("completeness"),
}
_REGIONS: dict[str, npt.DTypeLike] = {
    "members": "U512",
    "n_members": np.int64,
    "code": np.uint64,
    "n": np.int64,
    "fraction": np.float64,
}


def completeness_columns(detections: Sequence[str]) -> list[str]:
    """Return the columns of objects that completeness is made of.

    Parameters
    ----------
    detections : sequence of `str`
        Names of detections.

    Returns
    -------
    columns : `list` [`str`]
        Names of columns.
    """
    return [*COMPLETENESS_BINS, _TRUTH, *(f"found_{name}" for name in detections)]


def completeness_table(objects: Table, detections: Sequence[str]) -> Table:
    """Count the true cosmic rays that were found, in bins.

    Parameters
    ----------
    objects : `astropy.table.Table`
        Cosmic rays, as `make_object_table` returns them, with the columns
        that `completeness_columns` names.
    detections : sequence of `str`
        Names of detections.

    Returns
    -------
    completeness : `astropy.table.Table`
        One row for each ``variable`` (a key of `COMPLETENESS_BINS`), bin
        (``low``, ``high``) and ``detection``: ``n`` (true cosmic rays on
        detectors with the mask), ``n_found`` (those of which the mask has a
        pixel), and ``completeness`` with the limits ``_lo`` and ``_hi`` of
        its 95 % Wilson interval, NaN where there is none. It has no rows if
        truth is not known.
    """
    rows = []
    if _TRUTH in objects.colnames:
        true = objects[np.asarray(objects[_TRUTH]) == 1]
        for variable, edges in COMPLETENESS_BINS.items():
            bins = np.digitize(np.ma.filled(np.asarray(true[variable], dtype=float), np.nan), edges)
            bins[~np.isfinite(true[variable])] = 0
            for name in detections:
                found = np.asarray(true[f"found_{name}"])
                for number in range(1, len(edges)):
                    of_bin = found[bins == number]
                    n, n_found = int(np.count_nonzero(of_bin >= 0)), int(np.count_nonzero(of_bin == 1))
                    rows.append(
                        {"variable": variable, "low": edges[number - 1], "high": edges[number]}
                        | {"detection": name, "n": n, "n_found": n_found}
                        | rate_columns("completeness", n_found, n)
                    )
    return make_table(rows, _COMPLETENESS)


def region_table(counts: Table, members: Mapping[str, int]) -> Table:
    """Count the pixels of each combination of masks, as in an UpSet plot.

    Parameters
    ----------
    counts : `astropy.table.Table`
        Joint counts.
    members : `~collections.abc.Mapping`
        Names of masks, and their bits.

    Returns
    -------
    combinations : `astropy.table.Table`
        One row a combination that occurs, those with the most pixels first:
        ``members`` (names, joined by commas), ``n_members``, ``code`` (bit i
        for the i-th of the given masks), ``n`` (pixels that these masks
        have and the others have not) and ``fraction`` (of all pixels that
        any of the masks has). Only detectors with all of the masks count.
    """
    names = list(members)
    n = regions(counts, [members[name] for name in names])
    n_any = int(n[1:].sum())
    codes = [code for code in np.argsort(-n, kind="stable").tolist() if code and n[code]]
    rows = []
    for code in codes:
        present = [name for i, name in enumerate(names) if code >> i & 1]
        rows.append(
            {"members": ",".join(present), "n_members": len(present), "code": code}
            | {"n": int(n[code]), "fraction": float(n[code]) / n_any}
        )
    return make_table(rows, _REGIONS)


def tangent_plane(
    ra: npt.ArrayLike, dec: npt.ArrayLike, centre: tuple[float, float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Project directions onto the plane that touches the sky at a centre.

    Parameters
    ----------
    ra, dec : array-like
        Right ascension and declination, degrees.
    centre : `tuple` [`float`, `float`]
        Right ascension and declination of the centre, degrees.

    Returns
    -------
    x, y : `numpy.ndarray`
        Offsets towards the east and the north, degrees (gnomonic
        projection).
    """
    alpha = np.radians(np.asarray(ra, dtype=float) - centre[0])
    delta, delta0 = np.radians(np.asarray(dec, dtype=float)), math.radians(centre[1])
    cosine = math.sin(delta0) * np.sin(delta) + math.cos(delta0) * np.cos(delta) * np.cos(alpha)
    x = np.cos(delta) * np.sin(alpha) / cosine
    y = (math.cos(delta0) * np.sin(delta) - math.sin(delta0) * np.cos(delta) * np.cos(alpha)) / cosine
    return np.degrees(x), np.degrees(y)


def focal_plane_table(
    detections: Table,
    pixel_pairs: Table,
    corners: Mapping[int, npt.NDArray[np.float64]],
    pair: tuple[str, str],
) -> Table:
    """Count cosmic-ray pixels and disagreements by detector of a visit.

    Parameters
    ----------
    detections : `astropy.table.Table`
        What each detection found on each detector (`detection_table`).
    pixel_pairs : `astropy.table.Table`
        How pairs of masks agree on each detector.
    corners : `~collections.abc.Mapping`
        By detector, the corners on the tangent plane, degrees, ``(4, 2)``.
    pair : `tuple` [`str`, `str`]
        Names of two detections whose disagreement is counted.

    Returns
    -------
    focal_plane : `astropy.table.Table`
        One row a detector: ``detector``, `FOCAL_PLANE_CORNERS`,
        ``n_visits`` (1); for each detection and truth ``n_usable_{name}``,
        ``n_pixels_{name}`` (0 where the mask is missing) and
        ``density_{name}`` (pixels per Mpix, NaN where it is missing);
        ``n_compared`` and ``n_disagreeing`` (pixels that one of the pair
        has) with ``density_disagreeing``.
    """
    names = dict.fromkeys(str(name) for name in detections["detection"][detections["role"] != "plane"])
    is_pair = (pixel_pairs["level"] == "pixel") & (pixel_pairs["reference"] == pair[0])
    compared = pixel_pairs[is_pair & (pixel_pairs["candidate"] == pair[1])]
    rows = []
    for detector in sorted(corners):
        row: dict[str, float] = {"detector": detector}
        row |= dict(zip(FOCAL_PLANE_CORNERS, np.asarray(corners[detector]).ravel().tolist(), strict=True))
        row["n_visits"] = 1
        of_detector = detections[detections["detector"] == detector]
        for name in names:
            there = of_detector[(of_detector["detection"] == name) & of_detector["available"]]
            row[f"n_usable_{name}"] = int(there["n_usable"].sum())
            row[f"n_pixels_{name}"] = int(there["n_pixels"].sum())
        of_pair = compared[compared["detector"] == detector]
        row["n_compared"] = int(sum(of_pair[count].sum() for count in ("tp", "fn", "fp", "tn")))
        row["n_disagreeing"] = int(of_pair["fn"].sum() + of_pair["fp"].sum())
        rows.append(row)
    return _with_densities(Table(rows=rows))


def add_focal_planes(tables: Sequence[Table]) -> Table:
    """Add up over visits what was counted by detector.

    Parameters
    ----------
    tables : sequence of `astropy.table.Table`
        What `focal_plane_table` or this function returned.

    Returns
    -------
    focal_plane : `astropy.table.Table`
        The same columns. A detector has the corners of the first visit that
        it is in.

    Raises
    ------
    ValueError
        Raised if there is no table.
    """
    if not tables:
        raise ValueError("No focal planes to add.")
    stacked = vstack(list(tables), metadata_conflicts="silent")
    counts = [name for name in stacked.colnames if name.startswith("n_")]
    rows = []
    for detector in np.unique(np.asarray(stacked["detector"])).tolist():
        of_detector = stacked[stacked["detector"] == detector]
        row = {"detector": detector} | {name: float(of_detector[name][0]) for name in FOCAL_PLANE_CORNERS}
        rows.append(row | {name: int(np.ma.filled(of_detector[name], 0).sum()) for name in counts})
    return _with_densities(Table(rows=rows))


def _with_densities(table: Table) -> Table:
    """Add pixels per megapixel, from the counts."""
    named = {
        f"density_{name.removeprefix('n_pixels_')}": (name, name.replace("n_pixels_", "n_usable_"))
        for name in table.colnames
        if name.startswith("n_pixels_")
    }
    for name, (pixels, usable) in {**named, "density_disagreeing": ("n_disagreeing", "n_compared")}.items():
        table[name] = [pixels_per_megapixel(*pair) for pair in table.iterrows(pixels, usable)]
    return table
