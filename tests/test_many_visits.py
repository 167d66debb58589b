# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What gathering and reporting read: tables, however many visits there are."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import DETECTORS, VISIT
from many_visits_tables import repeat_visit
from study_repository import INSTRUMENT, RUN, detector_region, make_study
from test_report_html import put_plot

from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.product import product_dir
from lsst.meas.cosmicrays.report import read_study
from lsst.meas.cosmicrays.report.page import write_report
from lsst.meas.cosmicrays.repository import make_repository
from lsst.meas.cosmicrays.tasks import GatherComparisonConfig, GatherComparisonTask
from lsst.pipe.base import Pipeline, PipelineGraph
from lsst.pipe.base.pipeline_graph import TaskNode
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

N_VISITS = 100
VISIT_1 = dataclasses.replace(VISIT, id=1)
GATHERED = "u/gathered"
PIPELINES = ("SimulationStudy.yaml", "IngestedStudy.yaml", "_ingredients/ProcessedStudy.yaml")


def gathering_tasks(pipeline: str, butler: Butler) -> Iterator[TaskNode]:
    """Yield the tasks whose quanta are of more than one detector."""
    graph = Pipeline.fromFile(str(product_dir() / "pipelines" / pipeline)).to_graph(butler.registry)
    graph.resolve(butler.registry)
    for task in graph.tasks.values():
        if "detector" not in task.dimensions:
            yield task


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_no_pixels_of_more_than_one_detector(
    pipeline: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever works on a visit or on all of them reads tables; cutouts of
    stamps detector by detector.
    """
    monkeypatch.setenv("MEAS_COSMICRAYS_DIR", str(product_dir()))
    n_tasks = 0
    with make_repository(str(tmp_path / "repo")) as butler:
        for task in gathering_tasks(pipeline, butler):
            n_tasks += 1
            assert {edge.storage_class_name for edge in task.iter_all_inputs()} == {"ArrowAstropy"}, task
            connections = task.config.connections.ConnectionsClass(config=task.config)
            for name in connections.inputs:
                connection = getattr(connections, name)
                if "stamp_images" in connection.name:
                    assert connection.deferLoad, f"{task.label}.{name}"
    assert n_tasks >= 10


def add_visits(butler: Butler, n_visits: int) -> None:
    """Give further visits the tables of the first, and draw some of each."""
    regions = {part.id: detector_region(part.id) for part in DETECTORS}
    repeat_visit(butler, RUN, INSTRUMENT, VISIT_1, regions, range(2, n_visits + 1))
    for number in range(1, min(n_visits, 10) + 1):
        for part in DETECTORS:
            put_plot(butler, "cr_plot_masks_one_other", visit=number, detector=part.id)


def gather_visits(root: Path, n_visits: int) -> tuple[dict[str, int], int]:
    """Gather visits in a pipeline; return how many datasets of each type the
    step was given, and how many it read.
    """
    with make_study(root, visits=1) as butler:
        add_visits(butler, n_visits)
        of_instrument = butler.query_all_datasets(RUN, name="cr_instrument_*")
        butler.pruneDatasets(of_instrument, disassociate=True, unstore=True, purge=True)
    graph = PipelineGraph()
    config = GatherComparisonConfig(level="instrument", nBootstrap=50)
    graph.add_task("gather", GatherComparisonTask, config)
    butler = SimplePipelineExecutor.prep_butler(str(root), inputs=[RUN], output=GATHERED)
    executor = SimplePipelineExecutor.from_pipeline_graph(graph, butler=butler)
    (quantum,) = executor.run(register_dataset_types=True)
    with Butler.from_config(str(root), collections=GATHERED) as client:
        metadata = client.get("gather_metadata", instrument=INSTRUMENT)
    given = {dataset_type.name: len(refs) for dataset_type, refs in quantum.inputs.items()}
    return given, int(metadata["quantum"]["butler_metrics"]["n_get"])


def time_report(butler: Butler, directory: Path) -> float:
    """Return the processor time of a report, s, made once more."""
    start = time.process_time()
    write_report(butler, read_study(butler, [GATHERED, RUN]), directory, replace=True)
    return time.process_time() - start


@pytest.mark.slow
def test_report_of_100_visits(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """The report of 100 visits reads what that of one does, and is as long:
    nothing of single visits or detectors but a few figures. It takes at most
    seconds more.
    """
    read, pages, seconds = {}, {}, {}
    for n_visits in (1, N_VISITS):
        root = tmp_path / str(n_visits)
        given, n_get = gather_visits(root, n_visits)
        assert n_get == sum(given.values()) == n_visits * len(given)
        assert all(name.startswith("cr_visit_") for name in given)
        # What the report does not need is not there: tables of detectors,
        # and those of visits but for the first.
        shutil.rmtree(root / RUN / "cr_detections")
        for file in (root / RUN).rglob("cr_visit_*.parq"):
            if file.parent.name != "1":
                file.unlink()
        with Butler.from_config(str(root)) as butler, butler.record_metrics() as metrics:
            study = read_study(butler, [GATHERED, RUN])
            page = write_report(butler, study, tmp_path / f"report-{n_visits}")
            seconds[n_visits] = time_report(butler, page.parent)
            record_property(f"cpu_seconds_{n_visits}", seconds[n_visits])
        assert study.provenance.n_visits == n_visits
        assert study.provenance.n_detectors == 2 * n_visits
        read[n_visits], pages[n_visits] = metrics.n_get, page.read_text()
        figures = list((page.parent / "figures").glob("cr_plot_masks_one_other*"))
        assert len(figures) == min(4, 2 * n_visits)
        confusion = study.tables["cr_instrument_confusion"]
        stamps = confusion[confusion["level"] == "stamp"]
        counted = [int(np.sum(stamps[name])) for name in ("tp", "fn", "fp", "tn")]
        if n_visits == 1:
            of_one = counted
        else:
            assert counted == [N_VISITS * number for number in of_one]
    print(f"CPU seconds of a report, by visits: {seconds}")
    assert seconds[N_VISITS] - seconds[1] < 5.0
    assert read[N_VISITS] == read[1]
    assert len(pages[N_VISITS]) < 1.5 * len(pages[1])
