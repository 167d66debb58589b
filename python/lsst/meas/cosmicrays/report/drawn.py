# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures that a report draws from the tables of a study."""

from __future__ import annotations

__all__ = ["DRAWN"]

from collections.abc import Callable

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure

from ..comparison import completeness_columns, completeness_table, region_table
from .figures import plot_rates
from .overview_figures import plot_completeness, plot_run_times, plot_upset
from .study import Study

MOST_OBJECTS = 2_000_000
"""Most cosmic rays that are binned for a page, if no task has done it."""


def _draw_rates(study: Study) -> Figure | None:
    """Draw the rates of every detection against truth, if there is one."""
    confusion = study.tables["cr_instrument_confusion"]
    return plot_rates(confusion, "truth") if "truth" in set(confusion["reference"]) else None


def _draw_run_times(study: Study) -> Figure | None:
    """Draw the run times of finders, if any is known."""
    detections = _detections(study, "wall_time")
    times = np.ma.filled(detections["wall_time"], np.nan).astype(float) if len(detections) else np.zeros(0)
    return plot_run_times(detections) if np.any(times > 0) else None


def _draw_upset(study: Study) -> Figure | None:
    """Draw which detections share pixels.

    There is nothing to draw if no detection has a pixel, or nothing was
    counted on a detector with all of them.
    """
    bits = _bits(study)
    if not bits or "cr_instrument_counts" not in study.tables:
        return None
    combinations = region_table(study.tables["cr_instrument_counts"], bits)
    return plot_upset(combinations, list(bits)) if len(combinations) else None


def _draw_completeness(study: Study) -> Figure | None:
    """Draw completeness against properties of cosmic rays.

    There is nothing to draw without truth, or if there are more than
    `MOST_OBJECTS` cosmic rays and no task has binned them.
    """
    completeness = study.tables.get("cr_instrument_completeness")
    if completeness is None:
        name = "cr_instrument_objects"
        if name not in study.tables or study.tables.n_rows(name) > MOST_OBJECTS:
            return None
        names = list(_bits(study))
        completeness = completeness_table(study.tables.columns(name, completeness_columns(names)), names)
    return plot_completeness(completeness) if np.any(completeness["n"] > 0) else None


def _detections(study: Study, *columns: str) -> Table:
    """Return some columns of the rows of detections."""
    name = "cr_instrument_detections"
    if name not in study.tables:
        return Table()
    rows = study.tables.columns(name, ["detection", "role", "bit", *columns])
    return rows[rows["role"] == "detection"]


def _bits(study: Study) -> dict[str, int]:
    """Return the names of detections and their bits."""
    rows = _detections(study)
    return {str(name): int(bit) for name, bit in rows.iterrows("detection", "bit")} if len(rows) else {}


DRAWN: dict[str, Callable[[Study], Figure | None]] = {
    "completeness": _draw_completeness,
    "rates": _draw_rates,
    "run_times": _draw_run_times,
    "upset": _draw_upset,
}
"""By name, what draws a figure from the tables of a study; it returns `None`
if they do not hold what is needed.
"""
