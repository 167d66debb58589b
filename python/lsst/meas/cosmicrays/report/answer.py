# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The answer of a study: which finder, how good, and what it would cost."""

from __future__ import annotations

__all__ = ["Answer", "answer_study"]

import dataclasses
import math
from typing import Any

import numpy as np
from astropy.table import Row, Table

from .study import NoStudyError
from .tables import LEVELS

TRUTH = "truth"
DEFAULT_DETECTION = "morphological_science"
"""What detections are compared with where there is no truth."""

ANSWERING = ("stamp", "object", "pixel_1px", "pixel")
"""Levels in the order in which they answer what a survey wants to know:
stamps are what alerts are sent for.
"""

NOT_TIMED = ("mask_plane", "consensus")
"""Finders that take masks that others have made: their time is not the time
it takes to find cosmic rays.
"""


@dataclasses.dataclass(frozen=True)
class Answer:
    """Which finder a study speaks for."""

    reference: str
    """Truth, or the detection that the others are compared with (`str`)."""

    is_truth: bool
    """Is the reference truth? (`bool`)"""

    level: str
    """Level of the comparison that decides (`str`)."""

    table: Table
    """One row a detection, the best first (`astropy.table.Table`):
    ``detection``; ``purity``, ``completeness`` and ``f1``, each with the
    limits of its 95 % interval (``_lo``, ``_hi``); ``sent`` (alerts of
    cosmic rays that a visit would send) and ``withheld`` (alerts of
    something else that it would not send) with limits, NaN unless stamps
    decide; ``variables`` (real variable sources among the alerts of a visit)
    and ``variables_lost`` (those in stamps that it labels cosmic ray) with
    limits, NaN if unknown; ``wall_time_median`` (s a detector, NaN for
    `NOT_TIMED`); ``n_detectors``, ``n_detectors_total``, ``n_failed``.
    """

    best: str | None
    """The detection to be preferred, `None` without truth (`str`)."""

    tied: tuple[str, ...]
    """Others that the study does not tell from it: their F1 intervals
    overlap (`tuple`).
    """

    fastest: str | None
    """The fastest of the best and those tied with it, `None` if no time is
    known (`str`).
    """

    alerts: float
    """Alerts of cosmic rays that a visit would send if nothing were done, NaN
    unless stamps decide (`float`).
    """

    def row(self, detection: str) -> Row:
        """Return the row of a detection.

        Parameters
        ----------
        detection : `str`
            Its name.

        Returns
        -------
        row : `astropy.table.Row`
            Its row of the table.
        """
        return self.table[list(self.table["detection"]).index(detection)]


def answer_study(
    confusion: Table, summary: Table, n_visits: int, *, label_cost: Table | None = None
) -> Answer:
    """Say which finder a study speaks for.

    The best detection has the highest F1 against truth, by stamps if there
    are any; ties are broken by cosmic ray, then by pixel within one pixel,
    then by run time. Detections that failed on a detector come after those
    that did not.

    Parameters
    ----------
    confusion : `astropy.table.Table`
        Rates by level, reference and candidate.
    summary : `astropy.table.Table`
        What each detection found.
    n_visits : `int`
        Number of visits.
    label_cost : `astropy.table.Table`, optional
        What the labels of each detection lose, ``cr_instrument_label_cost``.

    Returns
    -------
    answer : `Answer`
        The answer.

    Raises
    ------
    NoStudyError
        Raised if there are no detections, or none was compared.
    """
    is_detection = np.array([str(role) == "detection" for role in summary["role"]], dtype=bool)
    names = [str(name) for name in summary["detection"][is_detection]]
    is_truth = TRUTH in set(confusion["reference"])
    reference = TRUTH if is_truth else _stand_in(names, confusion)
    against = confusion[confusion["reference"] == reference]
    level = _deciding_level(against)
    rows = [
        _answer_row(against, level, row, n_visits, label_cost)
        for row in summary[is_detection]
        if str(row["detection"]) != reference
    ]
    if not rows:
        raise NoStudyError(f"No detection was compared with {reference!r}.")
    rows.sort(key=lambda row: _rank(row, against))
    table = Table(rows=rows)
    tied = _tied(table) if is_truth else ()
    return Answer(
        reference=reference,
        is_truth=is_truth,
        level=level,
        table=table,
        best=str(table["detection"][0]) if is_truth and math.isfinite(table["f1"][0]) else None,
        tied=tied,
        fastest=_fastest(table, (str(table["detection"][0]), *tied)) if is_truth else None,
        alerts=_alerts_without_finder(against, level, n_visits) if is_truth else math.nan,
    )


def _stand_in(names: list[str], confusion: Table) -> str:
    compared = [name for name in names if name in set(confusion["reference"])]
    if not compared:
        raise NoStudyError("No detection was compared with any other.")
    return DEFAULT_DETECTION if DEFAULT_DETECTION in compared else compared[0]


def _deciding_level(against: Table) -> str:
    """Return the first level at which there is anything to find."""
    for level in ANSWERING:
        rows = against[against["level"] == level]
        if len(rows) and np.any(np.asarray(rows["tp"]) + np.asarray(rows["fn"]) > 0):
            return level
    return next(iter(LEVELS))


def _answer_row(
    against: Table, level: str, summary: Row, n_visits: int, label_cost: Table | None
) -> dict[str, Any]:
    name = str(summary["detection"])
    rates = _row_of(against, level, name)
    row: dict[str, Any] = {"detection": name}
    for rate in ("purity", "completeness", "f1"):
        for end in ("", "_lo", "_hi"):
            row[rate + end] = math.nan if rates is None else float(rates[rate + end])
    row |= dict.fromkeys(("sent", "sent_lo", "sent_hi", "withheld", "withheld_lo", "withheld_hi"), math.nan)
    if rates is not None and level == "stamp" and rates["reference"] == TRUTH:
        row |= _per_visit("sent", rates, "fn", "completeness", n_visits)
        row |= _per_visit("withheld", rates, "fp", "purity", n_visits)
    row |= _variables(label_cost, name)
    is_timed = not name.startswith(NOT_TIMED)
    row["wall_time_median"] = (
        float(np.ma.filled(summary["wall_time_median"], math.nan)) if is_timed else math.nan
    )
    row |= {key: int(summary[key]) for key in ("n_detectors", "n_detectors_total", "n_failed")}
    return row


def _row_of(against: Table, level: str, candidate: str) -> Row | None:
    rows = against[(against["level"] == level) & (against["candidate"] == candidate)]
    return rows[0] if len(rows) else None


def _per_visit(name: str, rates: Row, errors: str, rate: str, n_visits: int) -> dict[str, float]:
    """Return the errors of a visit, with limits.

    The limits are those of the rate that the errors belong to. A visit is
    taken to have all its detectors, whatever failed.
    """
    scale = _visits_scale(rates, n_visits)
    n_all = float(rates["tp"] + rates[errors])
    low, high = (float(rates[rate + end]) for end in ("_lo", "_hi"))
    return {
        name: float(rates[errors]) * scale,
        f"{name}_lo": (1.0 - high) * n_all * scale,
        f"{name}_hi": (1.0 - low) * n_all * scale,
    }


def _variables(label_cost: Table | None, detection: str) -> dict[str, float]:
    """Return how many variable sources a visit has, and how many it loses."""
    unknown = dict.fromkeys(("variables", *(f"variables_lost{end}" for end in ("", "_lo", "_hi"))), math.nan)
    if label_cost is None or detection not in set(label_cost["detection"]):
        return unknown
    row = label_cost[list(label_cost["detection"]).index(detection)]
    if not row["n_detectors"] or not row["n_visits"] or not row["n_variable"]:
        return unknown
    scale = _visits_scale(row, int(row["n_visits"]))
    variables = float(row["n_variable"]) * scale
    return {
        "variables": variables,
        "variables_lost": float(row["n_variable_lost"]) * scale,
        "variables_lost_lo": float(row["fraction_lost_lo"]) * variables,
        "variables_lost_hi": float(row["fraction_lost_hi"]) * variables,
    }


def _visits_scale(rates: Row, n_visits: int) -> float:
    """Return how much of one whole visit all that was compared is."""
    compared = float(rates["n_detectors"])
    return float(rates["n_detectors_total"]) / compared / n_visits if compared and n_visits else math.nan


def _rank(row: dict[str, Any], against: Table) -> tuple[float, ...]:
    """Return what detections are sorted by, the best being the least."""
    f1 = []
    for level in ANSWERING:
        rates = _row_of(against, level, row["detection"])
        value = math.nan if rates is None else float(rates["f1"])
        f1.append(-value if math.isfinite(value) else 1.0)
    time = row["wall_time_median"]
    return (float(row["n_failed"] > 0), *f1, time if math.isfinite(time) else math.inf)


def _tied(table: Table) -> tuple[str, ...]:
    """Return the detections whose F1 may be as high as that of the first."""
    low = float(table["f1_lo"][0])
    return tuple(str(row["detection"]) for row in table[1:] if row["f1_hi"] >= low and row["n_failed"] == 0)


def _fastest(table: Table, names: tuple[str, ...]) -> str | None:
    timed = [
        (float(row["wall_time_median"]), str(row["detection"]))
        for row in table
        if str(row["detection"]) in names and math.isfinite(row["wall_time_median"])
    ]
    return min(timed)[1] if timed else None


def _alerts_without_finder(against: Table, level: str, n_visits: int) -> float:
    if level != "stamp":
        return math.nan
    rows = against[against["level"] == level]
    most = rows[int(np.argmax(np.asarray(rows["n_detectors"])))]
    return float(most["tp"] + most["fn"]) * _visits_scale(most, n_visits)
