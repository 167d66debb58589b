# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What follows from measurements of the first and last step of a batch."""

from __future__ import annotations

import final_job
import pytest

ROWS = [
    {"visits": 4, "quanta": 46, "datasets": 430, "graph_seconds": 7.0, "graph_memory": 306.0}
    | {"final_seconds": 10.0, "final_memory": 330.0, "database": 5.0},
    {"visits": 1, "quanta": 16, "datasets": 130, "graph_seconds": 4.0, "graph_memory": 300.0}
    | {"final_seconds": 4.0, "final_memory": 300.0, "database": 2.0},
]


def test_further_datasets_cost_what_more_visits_did() -> None:
    """Whatever comes first, and without what a step costs in any case."""
    slopes = final_job.slopes(ROWS)
    assert (slopes["quanta"], slopes["datasets"]) == (10, 100)
    assert slopes["final_seconds"] == pytest.approx(6.0 / 300)
    assert slopes["final_memory"] == pytest.approx(0.1)
    assert slopes["database"] == pytest.approx(0.01)
    assert final_job.slopes(ROWS[1:])["final_seconds"] == pytest.approx(4.0 / 130)


def test_last_row_is_extrapolated() -> None:
    where = {"date": "2030-01-01", "processor": "abacus", "cores": 2, "load": 0.5}
    measured = {"circumstances": where, "database": "SQLite", "pipeline": "A.yaml", "detectors": 3}
    lines = final_job.describe(measured | {"rows": ROWS, "slopes": final_job.slopes(ROWS)}, 10)
    assert "20.00 ms and 100.0 kB" in lines[0]
    cells = [line[5:].strip("- ") for line in lines[-8:]]
    # 6 visits more, 600 datasets: 6, 2, 12 seconds and 12, 60, 6 MB more.
    assert cells == ["10", "106", "1030", "13", "318", "22", "390", "11"]
