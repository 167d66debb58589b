# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The numbers of a comparison that are worth a chart over time."""

from __future__ import annotations

__all__ = ["headline_numbers"]

import math
from collections.abc import Iterable, Mapping
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import Table

_FOUND = {
    "n_detectors": u.ct,
    "n_failed": u.ct,
    "n_cosmic_rays": u.ct,
    "n_stamps_cr": u.ct,
    "n_stamps_not_cr": u.ct,
    "cr_pixels_per_mpix": u.Unit("1 / Mpix"),
    "flux": u.Unit("1 / (cm2 s)"),
    "wall_time_median": u.s,
}
"""What is told of a detection by itself, and its unit."""

_COUNTS = ("tp", "fp", "fn")


def headline_numbers(
    confusion: Table,
    summary: Table,
    references: Iterable[str],
    *,
    levels: Iterable[str] = ("pixel", "stamp", "object"),
    rates: Iterable[str] = ("purity", "completeness", "f1"),
) -> dict[str, dict[str, u.Quantity]]:
    """Pick the headline numbers of a comparison, with names and units.

    Which names there are depends on the detections and the arguments alone,
    never on what was found.

    Parameters
    ----------
    confusion : `astropy.table.Table`
        Confusion matrices with rates, as `confusion_table` makes it.
    summary : `astropy.table.Table`
        One row a detection, as `summary_table` makes it.
    references : `~collections.abc.Iterable` [`str`]
        Detections or truths to compare with; one that is not among the
        references of the table is left out.
    levels : `~collections.abc.Iterable` [`str`], optional
        Levels of comparison: ``pixel``, ``pixel_1px``, ``stamp``,
        ``object``.
    rates : `~collections.abc.Iterable` [`str`], optional
        Rates to take, among `RATES`.

    Returns
    -------
    numbers : `dict` [`str`, `dict` [`str`, `astropy.units.Quantity`]]
        Under ``cr_{detection}`` what each detection (or truth) found:
        ``n_detectors``, ``n_failed``, ``n_cosmic_rays``, ``n_stamps_cr``,
        ``n_stamps_not_cr`` (ct), ``cr_pixels_per_mpix`` (1 / Mpix), ``flux``
        (1 / (cm2 s)), ``wall_time_median`` (s). Under
        ``cr_{detection}_against_{reference}`` how good it is:
        ``n_detectors`` (ct), and for each level ``{level}_{rate}`` with the
        limits ``_lo`` and ``_hi`` of its interval (dimensionless) and
        ``{level}_tp``, ``_fp``, ``_fn`` (ct). What is undefined or unknown
        is NaN.
    """
    levels, rates = list(levels), list(rates)
    numbers = {
        f"cr_{row['detection']}": {name: _quantity(row, name, unit) for name, unit in _FOUND.items()}
        for row in _rows(summary)
    }
    by_pair = {
        (str(row["reference"]), str(row["candidate"]), str(row["level"])): row for row in _rows(confusion)
    }
    for reference in dict.fromkeys(references):
        candidates = dict.fromkeys(pair[1] for pair in by_pair if pair[0] == reference != pair[1])
        for candidate in candidates:
            of_levels = {level: by_pair.get((reference, candidate, level), {}) for level in levels}
            numbers[f"cr_{candidate}_against_{reference}"] = _judgement(of_levels, rates)
    return numbers


def _judgement(of_levels: Mapping[str, Mapping[str, Any]], rates: list[str]) -> dict[str, u.Quantity]:
    """Return how good a detection is by each level."""
    n_detectors = max((int(row["n_detectors"]) for row in of_levels.values() if row), default=-1)
    numbers = {"n_detectors": _quantity({"n_detectors": n_detectors}, "n_detectors", u.ct)}
    for level, row in of_levels.items():
        for rate in rates:
            for name in (rate, f"{rate}_lo", f"{rate}_hi"):
                numbers[f"{level}_{name}"] = _quantity(row, name, u.dimensionless_unscaled)
        for name in _COUNTS:
            numbers[f"{level}_{name}"] = _quantity(row, name, u.ct)
    return numbers


def _quantity(row: Mapping[str, Any], name: str, unit: u.UnitBase) -> u.Quantity:
    """Return a number with its unit; -1 stands for an unknown count."""
    value = float(row.get(name, math.nan))
    return (math.nan if unit == u.ct and value < 0 else value) * unit


def _rows(table: Table) -> list[dict[str, Any]]:
    columns = {name: np.asarray(table[name]).tolist() for name in table.colnames}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
