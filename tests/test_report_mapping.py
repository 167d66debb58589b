# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page that maps the report of 2022: whatever it names is made."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import stack_standins
import test_comparison_studies
import test_comparison_trails
import test_comparison_tuning
from study_repository import compare, gather
from test_pipelines_instruments import CAMERAS, build

from lsst.meas.cosmicrays.comparison import (
    label_cost_table,
    read_bits,
    stamp_distribution,
    stamp_study_table,
    stamp_threshold_table,
)
from lsst.pipe.base import Pipeline

PAGE = Path(__file__).parents[1] / "doc" / "lsst.meas.cosmicrays" / "report-2022-mapping.rst"
PIPELINES = ["SimulationReport2022.yaml", *(f"{camera}/Report2022.yaml" for camera in CAMERAS)]
REPORT = json.loads((PAGE.parents[2] / "tests" / "data" / "published.json").read_text())["report_2022"]
CANDIDATES = [
    "morphological_difference",
    "astroscrappy_science",
    "astroscrappy_science_knee",
    "astroscrappy_difference",
    "astroscrappy_difference_knee",
    "cosmic_conn_science",
    "cosmic_conn_difference",
]
DEFAULT = "morphological_science"
NOT_COLUMNS = {"variant", "maxOnePixelStamps", "sigclip", "pixel", "stamp", "first", "second", DEFAULT}


def read_page() -> dict[str, list[list[str]]]:
    """Return the rows of each table of the page, by the title above it."""
    tables: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    before = ""
    for line in PAGE.read_text().splitlines():
        if set(line) == {"="} and before:
            rows = tables[before] = []
        elif row := re.match(r"   \* - (.*)", line):
            rows.append([row[1]])
        elif rows and (cell := re.match(r"     - ?(.*)", line)):
            rows[-1].append(cell[1])
        elif line.startswith("       ") and rows:
            rows[-1][-1] += f" {line.strip()}"
        before = line
    return {title: rows[1:] for title, rows in tables.items() if rows}


def numbered(title: str) -> dict[int, list[str]]:
    """Return rows by the number of their table or figure."""
    rows = {int(row[0].split(":")[0]): row for row in read_page()[title]}
    assert len(rows) == len(read_page()[title])
    return rows


def names_of(row: list[str]) -> Iterator[str]:
    """Yield the dataset types that a row names, with its detections."""
    places = dict(re.findall(r"(first|second)\s+``(\w+)``", row[1]))
    places["detection"] = DEFAULT
    for name in re.findall(r"``(cr_[\w{}*]+)``", row[1]):
        yield re.sub(r"{(\w+)}", lambda place: places[place[1]], name)


@pytest.fixture(params=PIPELINES)
def made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the dataset types that a pipeline writes."""
    stack_standins.install(monkeypatch)
    graph = build(request.param)
    return {
        edge.parent_dataset_type_name for task in graph.tasks.values() for edge in task.iter_all_outputs()
    }


def test_every_table_and_figure_has_a_row() -> None:
    """Sections 2.1 to 3.1 have tables 1 to 18 and figures 1 to 42."""
    assert sorted(numbered("Tables")) == list(range(1, 19))
    assert sorted(numbered("Figures")) == list(range(1, 43))


def test_whatever_the_page_names_is_made(made: set[str]) -> None:
    """Under that name, by the pipeline of the report for each camera."""
    n_names = 0
    for title, rows in read_page().items():
        for row in rows:
            for name in names_of(row):
                n_names += 1
                if "simulated" in row[2] or "votes" in row[0] or "probabilities" in row[2]:
                    continue
                if name.startswith("cr_plot_rates_"):
                    name = "cr_plot_rates_*"
                pattern = re.compile(re.escape(name).replace(r"\*", r"\w+"))
                assert any(pattern.fullmatch(output) for output in made), f"{title}, {row[0]}: {name}"
    assert n_names > 80


def test_pairs_of_the_report() -> None:
    """Tables are the comparisons of which the numbers were published, and
    every candidate has its masks, distribution and both galleries.
    """
    tables, figures = numbered("Tables"), numbered("Figures")
    for number in range(3, 19):
        printed = REPORT["tables"][str(number)]
        for name in ("level", "reference", "candidate"):
            assert f"{name} ``{printed[name]}``" in tables[number][1]
    named = [name for row in figures.values() for name in names_of(row)]
    for candidate in CANDIDATES:
        assert f"cr_plot_masks_{DEFAULT}_{candidate}" in named
        assert f"cr_plot_disagreements_{candidate}_{DEFAULT}" in named
        # At the knee on science images, there was no stamp of this kind.
        if candidate != "astroscrappy_science_knee":
            assert f"cr_plot_disagreements_{DEFAULT}_{candidate}" in named
        assert any(row[2] == f"panel of ``{candidate}``" for row in figures.values())


def columns_of_tables() -> dict[str, set[str]]:
    """Return the columns of the tables that the page takes columns of."""
    gathered = gather("visit", [({"visit": 1, "detector": 0}, compare(5))])
    bits = read_bits(gathered["detections"])
    distribution = stamp_distribution(gathered["stamps"], [bit.name for bit in bits])
    trails, _, _ = test_comparison_trails.detector_tables()
    detector = test_comparison_tuning.Detector(1, 60)
    curve = detector.curve(test_comparison_tuning.TuningGrid.make(1.0, 9.0, 1.0).values)
    tables = {
        "summary": gathered["summary"],
        "confusion": gathered["confusion"],
        "stamp_study": stamp_study_table(distribution, gathered["detections"]),
        "stamp_thresholds": stamp_threshold_table(distribution),
        "label_cost": label_cost_table(gathered["stamps"], gathered["detections"]),
        "trails": test_comparison_trails.gather_trails(trails),
        "tuning_curve": curve,
        "places": test_comparison_studies.places_study_table(
            gathered["pixel_places"], gathered["detections"], gathered["stamps"], bits
        ),
    }
    return {f"cr_instrument_{name}": set(table.colnames) for name, table in tables.items()}


def test_columns_that_the_page_names_are_there() -> None:
    columns = columns_of_tables()
    n_columns = 0
    for rows in read_page().values():
        for row in rows:
            table = ""
            for name in re.findall(r"``([\w{}*]+)``", row[1]):
                if name.startswith("cr_"):
                    table = name
                elif name in (*NOT_COLUMNS, *CANDIDATES, "truth"):
                    continue
                else:
                    n_columns += 1
                    # A column follows the name of its table, or "of" it.
                    later = re.search(rf"``{name}``[^;]* of ``(cr_\w+)``", row[1])
                    of = later[1] if later else table
                    assert name in columns[of], f"{row[0]}: {name} of {of}"
    assert n_columns >= 12


def test_other_studies_can_be_extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page says to import makes a graph with all pairs."""
    monkeypatch.setenv("MEAS_COSMICRAYS_DIR", str(PAGE.parents[2]))
    path = tmp_path / "mine.yaml"
    example = PAGE.read_text().split(".. code-block:: yaml")[1].split("\nIts parameters")[0]
    path.write_text(f"description: Mine.\n{textwrap.dedent(example)}")
    tasks = Pipeline.from_uri(str(path)).to_graph().tasks
    assert sorted(tasks["compareCosmicRays"].config.detections) == sorted([DEFAULT, *CANDIDATES])
    pairs = tasks["plotDisagreements"].config.pairs()
    assert sorted(pairs) == sorted(pair for c in CANDIDATES for pair in ((c, DEFAULT), (DEFAULT, c)))
    sigclip = [
        tasks[f"findCosmicRays{kind}"].config.finders["astroscrappy"].sigclip
        for kind in ("Science", "ScienceKnee", "Difference", "DifferenceKnee")
    ]
    assert sigclip == [REPORT["tables"][number]["sigclip"] for number in ("5", "7", "9", "11")]


def test_a_name_that_nothing_makes_is_seen() -> None:
    row = ["99: x", "``cr_plot_masks_{first}_{second}``, first ``a``, second ``b``; ``cr_gone``", ""]
    assert list(names_of(row)) == ["cr_plot_masks_a_b", "cr_gone"]
