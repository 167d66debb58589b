# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rows of tables that hold counts, which add up, and rates made of them."""

from __future__ import annotations

__all__ = ["confusion_columns", "make_table", "rate_columns", "rate_dtypes", "ratio", "sum_counts"]

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from .confusion import Confusion
from .intervals import dice_interval, wilson_interval


def ratio(numerator: float, denominator: float) -> float:
    """Return a ratio, NaN if it is 0/0.

    Parameters
    ----------
    numerator, denominator : `float`
        Counts.

    Returns
    -------
    ratio : `float`
        Their ratio.
    """
    return numerator / denominator if denominator else math.nan


def rate_dtypes(*names: str) -> dict[str, npt.DTypeLike]:
    """Return the types of the columns of rates with intervals.

    Parameters
    ----------
    *names : `str`
        Names of the rates.

    Returns
    -------
    dtypes : `dict`
        Float64 for each name, and for it with ``_lo`` and ``_hi``.
    """
    return {f"{name}{end}": np.float64 for name in names for end in ("", "_lo", "_hi")}


def rate_columns(name: str, n_success: int, n_trials: int) -> dict[str, float]:
    """Return a rate with its 95 % Wilson interval.

    Parameters
    ----------
    name : `str`
        Name of the rate.
    n_success, n_trials : `int`
        Of how many trials how many succeeded.

    Returns
    -------
    columns : `dict` [`str`, `float`]
        The rate under its name, its limits with ``_lo`` and ``_hi``; NaN
        where there is no trial.
    """
    low, high = wilson_interval(n_success, n_trials)
    return {name: ratio(n_success, n_trials), f"{name}_lo": float(low), f"{name}_hi": float(high)}


def confusion_columns(tp: int, fn: int, fp: int) -> dict[str, float]:
    """Return purity, completeness and F1 of independent trials.

    Parameters
    ----------
    tp, fn, fp : `int`
        Numbers of true positives, false negatives and false positives.

    Returns
    -------
    columns : `dict` [`str`, `float`]
        ``purity``, ``completeness`` and ``f1``, each with the limits
        ``_lo`` and ``_hi`` of its 95 % interval; NaN where it is 0/0.
    """
    f1 = Confusion(tp=tp, fn=fn, fp=fp, tn=0).f1
    low, high = dice_interval(tp, fn, fp) if tp else (math.nan, math.nan)
    return {
        **rate_columns("purity", tp, tp + fp),
        **rate_columns("completeness", tp, tp + fn),
        "f1": math.nan if f1 is None else f1,
        "f1_lo": float(low),
        "f1_hi": float(high),
    }


def make_table(rows: Iterable[Mapping[str, Any]], dtypes: Mapping[str, npt.DTypeLike]) -> Table:
    """Make a table that has its columns even if it has no rows.

    Parameters
    ----------
    rows : iterable of `~collections.abc.Mapping`
        Values by column; what is no column is left out.
    dtypes : `~collections.abc.Mapping`
        Types of the columns, in their order.

    Returns
    -------
    table : `astropy.table.Table`
        The table.
    """
    ordered = [tuple(row[name] for name in dtypes) for row in rows]
    return Table(rows=ordered or None, names=list(dtypes), dtype=list(dtypes.values()))


def sum_counts(tables: Iterable[Table], keys: Sequence[str], counts: Sequence[str]) -> list[dict[str, Any]]:
    """Add up the counts of rows with the same keys.

    Parameters
    ----------
    tables : iterable of `astropy.table.Table`
        Tables with these columns.
    keys : sequence of `str`
        Columns that say what a row is of.
    counts : sequence of `str`
        Columns to be added up.

    Returns
    -------
    rows : `list` [`dict`]
        One row for each combination of keys, in the order in which they
        first occur.
    """
    sums: dict[tuple, list[Any]] = {}
    for table in tables:
        for row in zip(*(table[name].tolist() for name in (*keys, *counts)), strict=True):
            key, values = row[: len(keys)], row[len(keys) :]
            before = sums.get(key)
            sums[key] = (
                list(values) if before is None else [a + b for a, b in zip(before, values, strict=True)]
            )
    return [dict(zip((*keys, *counts), (*key, *values), strict=True)) for key, values in sums.items()]
