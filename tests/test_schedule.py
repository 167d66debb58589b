# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated schedule, where it can be reckoned by hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def schedule() -> ModuleType:
    """Load benchmarks/schedule.py, which is no part of the package."""
    path = Path(__file__).parents[1] / "benchmarks" / "schedule.py"
    spec = importlib.util.spec_from_file_location("schedule", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["schedule"] = module
    spec.loader.exec_module(module)
    return module


def test_by_hand(schedule: ModuleType) -> None:
    costs = schedule.Costs(start=10.0, detector=30.0, gather=5.0, spread=0.0, failures=0.0)
    # Three detectors on two cores: 40 s, 40 s; gathering 10 + 15 s, 10 + 5 s.
    found = schedule.simulate_schedule(1, 3, 2, costs)
    assert found.jobs == 5
    assert found.hours * 3600 == pytest.approx(80 + 25 + 15)
    assert found.core_hours * 3600 == pytest.approx(3 * 40 + 25 + 15)
    assert found.utilisation == pytest.approx(160 / 240)


def test_jobs_that_were_killed_run_again(schedule: ModuleType) -> None:
    costs = schedule.Costs(spread=0.0, failures=1.0)
    whole = schedule.simulate_schedule(2, 3, 4, schedule.Costs(spread=0.0, failures=0.0))
    killed = schedule.simulate_schedule(2, 3, 4, costs)
    assert killed.jobs == 2 * whole.jobs
    assert killed.core_hours == pytest.approx(1.5 * whole.core_hours)


def test_more_cores_are_not_slower(schedule: ModuleType) -> None:
    hours = [schedule.simulate_schedule(5, 20, cores).hours for cores in (1, 4, 16)]
    assert hours == sorted(hours, reverse=True)


def test_table(schedule: ModuleType) -> None:
    text = schedule.format_table(10, 4, [8])
    assert "   * - 8\n" in text
    assert "datasets" in text
