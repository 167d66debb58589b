# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cosmic-ray label costs, and what the lack of one costs.

An alert is lost where a stamp around a real variable source is labelled a
cosmic ray; a cosmic ray passes as an alert where the stamp around it is not.
"""

from __future__ import annotations

__all__ = ["add_label_costs", "label_cost_table"]

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from .stamps import LABEL_UNKNOWN
from .study_rows import make_table, rate_columns, rate_dtypes, ratio, sum_counts

_NO_VARIABLES = ("cosmic_ray", "dipole", "artifact")
_KEYS: dict[str, npt.DTypeLike] = {"detection": "U64", "role": "U9"}
_COUNTS = (
    "n_visits",
    "n_detectors",
    "n_detectors_total",
    "n_stamps",
    "n_stamps_cr",
    "n_known",
    "n_known_alerts",
    "n_variable",
    "n_variable_lost",
    "n_variable_lost_to_cr",
    "n_cr",
    "n_cr_passed",
    "n_dipole",
    "n_dipole_cr",
    "n_artifact",
    "n_artifact_cr",
    "n_object",
    "n_object_lost",
)
_RATES = (
    "fraction_lost",
    "fraction_passed",
    "alert_contamination",
    "fraction_dipole_cr",
    "dipole_share_of_cr",
    "fraction_object_lost",
)
_PER_VISIT = ("lost_per_visit", "passed_per_visit", "alerts_per_visit")
_DTYPES = {
    **_KEYS,
    **dict.fromkeys(_COUNTS, np.int64),
    **rate_dtypes(*_RATES),
    **dict.fromkeys(_PER_VISIT, np.float64),
}


def label_cost_table(stamps: Table, detections: Table) -> Table:
    """Count what the labels of each detection lose and let pass in a visit.

    Parameters
    ----------
    stamps : `astropy.table.Table`
        Stamps of one visit, with what they truly are (`classify_sources`).
    detections : `astropy.table.Table`
        Rows of `detection_table` of its detectors.

    Returns
    -------
    costs : `astropy.table.Table`
        One row a detection or truth (whose label is that of a finder
        without error): ``detection``, ``role``, ``n_visits`` (1),
        ``n_detectors`` (with the mask), ``n_detectors_total``; over stamps
        on detectors with the mask ``n_stamps`` and ``n_stamps_cr``;
        ``n_known`` (on detectors with truth) and ``n_known_alerts`` (of
        those, not labelled);
        ``n_variable`` (around real variable sources), ``n_variable_lost``
        (of those, labelled cosmic rays) and ``n_variable_lost_to_cr`` (of
        those, with a true cosmic ray somewhere in the stamp); ``n_cr``
        (around true cosmic rays) and ``n_cr_passed`` (not labelled);
        ``n_dipole``, ``n_dipole_cr``, ``n_artifact``, ``n_artifact_cr``
        (labelled); ``n_object`` (stamps with an OBJECT) and
        ``n_object_lost`` (labelled). Rates, each with the limits ``_lo``
        and ``_hi`` of its 95 % Wilson interval: ``fraction_lost`` of
        variable sources, ``fraction_passed`` of cosmic rays,
        ``alert_contamination`` (cosmic rays among the alerts on detectors
        with truth), ``fraction_dipole_cr`` of dipoles,
        ``dipole_share_of_cr`` (dipoles among all stamps that are labelled,
        unknown where neither truth nor a dipole is known),
        ``fraction_object_lost``. ``lost_per_visit``, ``passed_per_visit``,
        ``alerts_per_visit`` (all stamps that are not labelled) are means
        over visits. Rates are NaN where they are 0/0, as all of truth are
        where it is not known, and so is ``lost_per_visit`` where no stamp is
        around a real variable source: perhaps none is known.
    """
    kinds = np.asarray(stamps["true_kind"]).astype("U32")
    truth = np.full(len(stamps), LABEL_UNKNOWN)
    if "label_truth" in stamps.colnames:
        truth = np.asarray(stamps["label_truth"])
    known = {
        "known": truth != LABEL_UNKNOWN,
        "variable": (kinds != "") & ~np.isin(kinds, _NO_VARIABLES),
        "cr": kinds == "cosmic_ray",
        "dipole": kinds == "dipole",
        "artifact": kinds == "artifact",
        "object": np.asarray(stamps["object"]) == 1,
    }
    names = {str(name): str(role) for name, role in detections.iterrows("detection", "role")}
    rows = []
    for name, role in names.items():
        if role == "plane":
            continue
        there = np.asarray(detections["available"])[np.asarray(detections["detection"]) == name]
        row = {"detection": name, "role": role, "n_visits": 1}
        row |= {"n_detectors": int(np.count_nonzero(there)), "n_detectors_total": len(there)}
        row |= _count_labels(np.asarray(stamps[f"label_{name}"]), known, truth == 1)
        rows.append(row | _rates(row))
    return make_table(rows, _DTYPES)


def add_label_costs(tables: Sequence[Table]) -> Table:
    """Add up over visits what labels lose and let pass.

    Parameters
    ----------
    tables : sequence of `astropy.table.Table`
        What `label_cost_table` or this function returned.

    Returns
    -------
    costs : `astropy.table.Table`
        The same columns.
    """
    rows: Iterable[dict[str, Any]] = sum_counts(tables, list(_KEYS), _COUNTS)
    return make_table([row | _rates(row) for row in rows], _DTYPES)


def _count_labels(
    labels: npt.NDArray[np.integer],
    known: Mapping[str, npt.NDArray[np.bool_]],
    has_cosmic_ray: npt.NDArray[np.bool_],
) -> dict[str, int]:
    there, labelled = labels != LABEL_UNKNOWN, labels == 1
    counts = {f"n_{name}": there & of_kind for name, of_kind in known.items()}
    counts |= {
        "n_stamps": there,
        "n_stamps_cr": labelled,
        "n_known_alerts": known["known"] & (labels == 0),
        "n_variable_lost": known["variable"] & labelled,
        "n_variable_lost_to_cr": known["variable"] & labelled & has_cosmic_ray,
        "n_cr_passed": known["cr"] & (labels == 0),
        "n_object_lost": known["object"] & labelled,
        **{f"n_{name}_cr": known[name] & labelled for name in ("dipole", "artifact")},
    }
    return {name: int(np.count_nonzero(chosen)) for name, chosen in counts.items()}


def _rates(row: Mapping[str, Any]) -> dict[str, float]:
    n_visits = row["n_visits"]
    n_judged = row["n_stamps_cr"] if row["n_known"] or row["n_dipole"] else 0
    return {
        **rate_columns("fraction_lost", row["n_variable_lost"], row["n_variable"]),
        **rate_columns("fraction_passed", row["n_cr_passed"], row["n_cr"]),
        **rate_columns("alert_contamination", row["n_cr_passed"], row["n_known_alerts"]),
        **rate_columns("fraction_dipole_cr", row["n_dipole_cr"], row["n_dipole"]),
        **rate_columns("dipole_share_of_cr", row["n_dipole_cr"], n_judged),
        **rate_columns("fraction_object_lost", row["n_object_lost"], row["n_object"]),
        "lost_per_visit": ratio(row["n_variable_lost"], n_visits if row["n_variable"] else 0),
        "passed_per_visit": ratio(row["n_cr_passed"], n_visits),
        "alerts_per_visit": ratio(row["n_stamps"] - row["n_stamps_cr"], n_visits),
    }
