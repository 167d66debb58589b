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
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lsst.meas.cosmicrays.product import product_dir
from lsst.pipe.base import Pipeline


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
    costs = schedule.Costs(
        start=10.0,
        detector=30.0,
        gather=5.0,
        gather_visit=7.0,
        final=0.5,
        datasets_of_a_detector=12,
        datasets_of_a_visit=4,
        spread=0.0,
        failures=0.0,
    )
    # Three detectors on two cores: 40 s, 40 s; gathering 10 + 15 s, 10 + 7 s;
    # entering 10 s + 40 datasets.
    found = schedule.simulate_schedule(1, 3, 2, costs)
    assert found.jobs == 6
    assert found.hours * 3600 == pytest.approx(80 + 25 + 17 + 30)
    assert found.core_hours * 3600 == pytest.approx(3 * 40 + 25 + 17 + 30)
    assert found.utilisation == pytest.approx(192 / 304)


def test_costs_are_what_was_measured(schedule: ModuleType, tmp_path: Path) -> None:
    steps = [
        {"label": "subtractTemplate", "of": "detector", "wall": 40.0, "disk": 100.0},
        {"label": "findCosmicRaysScience", "of": "detector", "wall": 20.0, "disk": 3.0},
        {"label": "gatherVisitComparison", "of": "visit", "wall": 4.0, "disk": 1.0},
        {"label": "plotComparison", "of": "instrument", "wall": 9.0, "disk": 0.0},
    ]
    scale, final_job = tmp_path / "scale.json", tmp_path / "final_job.json"
    scale.write_text(json.dumps({"detectors": 2, "steps": steps}))
    slopes = {"graph_seconds": 0.25, "final_seconds": 0.125}
    final_job.write_text(json.dumps({"rows": [{"job_cpu": 3.0}, {"job_cpu": 4.0}], "slopes": slopes}))
    costs = schedule.read_costs(scale, final_job)
    assert (costs.detector, costs.gather, costs.size, costs.size_of_difference) == (30.0, 2.0, 2.0, 50.0)
    assert (costs.start, costs.graph, costs.final) == (4.0, 0.25, 0.125)
    assert schedule.read_costs() == schedule.Costs()


def test_datasets_are_those_of_the_pipeline(schedule: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs, and a log and metadata of each quantum."""
    monkeypatch.setenv("MEAS_COSMICRAYS_DIR", str(product_dir()))
    graph = Pipeline.from_uri(str(product_dir() / "pipelines" / "Simulation.yaml")).to_graph()
    made = {"detector": 0, "visit": 0}
    for task in graph.tasks.values():
        of = next((name for name in made if name in task.raw_dimensions), None)
        if of is not None:
            made[of] += len(list(task.iter_all_outputs()))
    costs = schedule.Costs()
    assert (costs.datasets_of_a_detector, costs.datasets_of_a_visit) == (made["detector"], made["visit"])
    assert costs.datasets(10, 3) == 10 * (3 * made["detector"] + made["visit"])


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
    costs = schedule.Costs(graph=0.5, final=0.25, size=1.0, size_of_difference=2e5)
    text = schedule.format_table(10, 4, [8], costs)
    assert "   * - 8\n" in text
    assert "0.00 TB, and with difference images 8.0 TB more" in text
    millions = costs.datasets(10, 4) / 1e6
    hours = 0.5e6 * millions / 3600
    assert f"{millions:.1f} million datasets.\n{hours:.1f} hours for the quantum graph" in text
    assert "quantum graph" not in schedule.format_table(10, 4, [8], schedule.Costs(graph=0.0, final=0.0))
