# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark command, on an image so small that it says nothing."""

from __future__ import annotations

import dataclasses
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import DETECTORS, VISIT
from many_visits_tables import repeat_visit
from study_repository import INSTRUMENT, RUN, detector_region, make_study

BENCH = Path(__file__).parent.parent / "benchmarks" / "bench.py"


def run_bench(*arguments):
    return subprocess.run(
        [sys.executable, str(BENCH), *arguments], capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
def test_programs_side_by_side(tmp_path):
    result = run_bench(
        "median_background", "--size", "40x30", "--rounds", "3", "--threads", "1", "--output", str(tmp_path)
    )
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "benchmarks.json").read_text())
    (case,) = report["cases"]
    assert case["shape"] == [40, 30]
    ours, original = case["programs"]
    assert ours["agreement"] == "identical"
    assert len(ours["seconds"]) == len(original["seconds"]) == 3
    assert ours["median"] == sorted(ours["seconds"])[1]
    ratios = [slow / fast for fast, slow in zip(ours["seconds"], original["seconds"])]
    assert ours["speedup"] == [sorted(ratios)[1], min(ratios), max(ratios)]
    assert original["version"] == report["circumstances"]["versions"]["numpy"]
    assert "identical" in result.stdout
    assert (tmp_path / "benchmarks.txt").read_text() == result.stdout
    assert (tmp_path / "benchmarks.png").stat().st_size > 1000


def test_table_is_put_on_a_page(tmp_path):
    where = {
        "date": "2030-01-01",
        "processor": "abacus",
        "cores": 1,
        "load": 0.0,
        "python": "3",
        "versions": {},
    }
    report = {"circumstances": where, "cases": [], "first_calls": []}
    (tmp_path / "benchmarks.json").write_text(json.dumps(report))
    (tmp_path / "benchmarks.png").write_bytes(b"new")
    figure = tmp_path / "figures" / "benchmarks.png"
    figure.parent.mkdir()
    figure.write_bytes(b"old")
    page = tmp_path / "topic" / "page.rst"
    page.parent.mkdir()
    begins, ends = ".. The table of bench.py begins.", ".. The table of bench.py ends."
    page.write_text(f"Before\n\n{begins}\nold\n{ends}\n\nAfter\n")
    for _ in range(2):
        result = run_bench("--output", str(tmp_path), "--document", str(page))
        assert result.returncode == 0, result.stderr
    text = page.read_text()
    assert text.startswith(f"Before\n\n{begins}\n\n.. code-block:: text\n\n   2030-01-01, abacus")
    assert text.endswith(f"{ends}\n\nAfter\n")
    assert "old" not in text
    assert figure.read_bytes() == b"new"


def test_every_engine_has_a_case():
    result = run_bench("--list")
    assert result.returncode == 0, result.stderr
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert {"morphological", "median_background", "lacosmic", "cosmic_conn", "joint_histogram"} <= set(names)
    assert len(names) == len(set(names))


def test_unknown_case_is_an_error():
    result = run_bench("no_such_engine")
    assert result.returncode != 0
    assert "No case has no_such_engine in its name" in result.stderr


def scale():
    """Return the module of benchmarks/scale.py."""
    sys.path.insert(0, str(BENCH.parent))
    try:
        return importlib.import_module("scale")
    finally:
        sys.path.remove(str(BENCH.parent))


def metadata(begin, end, cpu, memory, **butler):
    """Return what the executor notes of a quantum, as far as it counts."""
    moments = {"prepUtc": f"2030-01-01T00:00:{begin:02}+00:00", "endUtc": f"2030-01-01T00:00:{end:02}+00:00"}
    moments |= {"prepCpuTime": 4.0, "endCpuTime": 4.0 + cpu}
    moments |= {"prepMaxResidentSetSize": 400e6, "endMaxResidentSetSize": memory}
    return moments | {"butler_metrics": {"time_in_get": 0.0, "time_in_put": 0.0} | butler}


def test_scale_adds_up_quanta_and_extrapolates():
    module = scale()
    step = module.Step("find", "detector")
    module._add_quantum(step, metadata(1, 4, 2.5, 600e6, time_in_get=0.5))
    module._add_quantum(step, metadata(2, 9, 3.0, 500e6, time_in_get=0.25, time_in_put=1.0))
    assert (step.quanta, step.wall, step.cpu, step.start) == (2, 10.0, 5.5, 8.0)
    assert (step.read, step.write, step.memory_before, step.memory) == (0.75, 1.0, 400.0, 600.0)
    grown = step.extrapolate(10.0)
    # More detectors, each in a process of its own: no more memory in any.
    assert (grown.quanta, grown.wall, grown.start, grown.memory) == (20, 100.0, 80.0, 600.0)
    gather = module.Step("gather", "visit", quanta=1, wall=2.0, start=4.0, memory_before=400.0, memory=410.0)
    grown = gather.extrapolate(10.0)
    assert (grown.quanta, grown.wall, grown.start, grown.memory) == (1, 20.0, 4.0, 500.0)
    total = module._total([step, gather])
    assert (total.quanta, total.wall, total.memory) == (3, 12.0, 600.0)
    table = module._list_table(module._step_rows([step, gather], total), "What it took")
    assert table[0] == ".. list-table:: What it took"
    assert [line for line in table if line.startswith("   * -")] == [
        "   * - Step",
        "   * - ``find``",
        "   * - ``gather``",
        "   * - all",
    ]


@pytest.mark.slow
def test_many_visits(tmp_path):
    """Every visit is gathered, and a report is made of all of them."""
    output = tmp_path / "many.json"
    sizes = ["--detectors", "2", "--stamps", "20", "--cosmic-rays", "20"]
    result = subprocess.run(
        [sys.executable, str(BENCH.with_name("many_visits.py")), "--visits", "1", "2", *sizes]
        + ["--output", str(output)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    one, two = json.loads(output.read_text())["rows"]
    assert (one["visits"], one["stamps"]) == (1, 20)
    assert (two["visits"], two["stamps"]) == (2, 40)
    labels = ["gatherInstrumentComparison", "gatherStampStudies", "report"]
    for row in (one, two):
        assert list(row["steps"]) == labels
        assert all(needed["cpu"] > 0 and needed["memory"] > 0 for needed in row["steps"].values())
    assert all(label in result.stdout for label in labels)
    assert "studyStamps" in result.stdout


def test_repeated_visits_have_their_numbers(tmp_path):
    """Every further visit has all tables of the first, and none is of it."""
    with make_study(tmp_path / "repo", visits=1) as butler:
        regions = {part.id: detector_region(part.id) for part in DETECTORS}
        repeat_visit(butler, RUN, INSTRUMENT, dataclasses.replace(VISIT, id=1), regions, [2, 3])
        names = {ref.datasetType.name for ref in butler.query_all_datasets(RUN, name="cr_visit_*")}
        first, third = (
            {name: butler.get(name, instrument=INSTRUMENT, visit=visit, collections=RUN) for name in names}
            for visit in (1, 3)
        )
    assert len(names) > 8
    for name, table in first.items():
        assert len(table) == len(third[name]), name
        if "visit" in table.colnames:
            assert set(table["visit"]) == {1}
            assert set(third[name]["visit"]) == {3}
    assert first["cr_visit_stamps"]["id"].tolist() == third["cr_visit_stamps"]["id"].tolist()
