# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole way through `pipetask`, on small repositories."""

from __future__ import annotations

import fnmatch
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
import stack_standins
from astropy.table import Table
from click.testing import CliRunner
from test_report_mapping import names_of, read_page

from lsst.daf.butler import Butler
from lsst.images import VisitImage
from lsst.meas.cosmicrays.cli.main import main
from lsst.meas.cosmicrays.comparison import vote_by_cosmic_ray
from lsst.meas.cosmicrays.images import read_mask
from lsst.meas.cosmicrays.product import product_dir
from lsst.meas.cosmicrays.simulation import SimulationConfig, simulate
from lsst.pipe.base import Pipeline

PIPELINES = Path(__file__).parents[1] / "pipelines"
DETECTIONS = [
    f"{finder}_{kind}"
    for kind in ("science", "difference")
    for finder in ("morphological", "astroscrappy", "cosmic_conn", "mask_plane")
] + ["consensus_science", "consensus_both"]
NOTEBOOKS = Path(__file__).parents[1] / "doc" / "notebooks"
VISIT = {"instrument": "SimHSC", "visit": 1}
OF_THE_STACK = {"InterpolationOfStack.yaml"}


def pipetask(repo: Path, inputs: str, output: str, pipeline: str | Path, *options: str) -> str:
    """Run a pipeline as a user does, and return what was printed."""
    program = Path(sys.executable).with_name("pipetask")
    command = [program, "run", "-b", repo, "-i", inputs, "-o", output, "-p", pipeline]
    result = subprocess.run(
        [*map(str, command), "--register-dataset-types", *options],
        env=os.environ | {"MEAS_COSMICRAYS_DIR": str(product_dir())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def one_row(confusion: Table, level: str, reference: str, candidate: str) -> Table.Row:
    """Return the row of one comparison."""
    chosen = (
        (confusion["level"] == level)
        & (confusion["reference"] == reference)
        & (confusion["candidate"] == candidate)
    )
    assert chosen.sum() == 1
    return confusion[chosen][0]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with a simulated visit, through the pipeline."""
    repo = tmp_path_factory.mktemp("simulated") / "repo"
    simulate(repo, SimulationConfig(width=400, height=380, seed=11), visits=1, detectors=2)
    pipetask(repo, "SimHSC/defaults", "u/all", "$MEAS_COSMICRAYS_DIR/pipelines/Simulation.yaml", "-j", "2")
    return repo


@pytest.mark.slow
def test_the_whole_study(tmp_path: Path) -> None:
    """Everything of the report of 2022, from one pipeline and one page:
    whatever `report-2022-mapping.rst` names is there afterwards.
    """
    repo, page = tmp_path / "repo", tmp_path / "page"
    simulate(repo, SimulationConfig(width=360, height=340, seed=5, cr_rate=12.0), visits=1, detectors=2)
    pipeline = "$MEAS_COSMICRAYS_DIR/pipelines/SimulationReport2022.yaml"
    # In one process: what most steps take for images so small is to start.
    pipetask(repo, "SimHSC/defaults", "u/study", pipeline)
    study = {"instrument": "SimHSC"}
    with Butler.from_config(str(repo), collections="u/study") as butler:
        for name in ("stamp_study", "label_cost", "places", "disagreement_counts", "trail_rates", "upset"):
            assert len(butler.get(f"cr_instrument_{name}", study)) > 0, name
        for name in ("interpolation_fates", "interpolation_confusion", "probability_curve", "completeness"):
            assert len(butler.get(f"cr_instrument_{name}", study)) > 0, name
        optimum = butler.get("cr_tuning_optimum_science", study)
        assert {"mse", "knee", "f1", "f1_truth"} <= set(optimum["criterion"])
        plots = {ref.datasetType.name for ref in butler.query_all_datasets(name="cr_plot_*")}
        there = {ref.datasetType.name for ref in butler.query_all_datasets(name="cr_*")}
        confusion = butler.get("cr_instrument_confusion", study)
        completeness = butler.get("cr_instrument_completeness", study)
        sigclip = butler.get("findCosmicRaysScienceKnee_config").finders["astroscrappy"].sigclip
    assert {"cr_plot_upset", "cr_plot_tuning_difference", "cr_plot_precision_recall"} <= plots
    rows = [row for title in ("Tables", "Numbers in the text", "Figures") for row in read_page()[title]]
    named = {name for row in rows for name in names_of(row)}
    assert len(named) > 50
    assert {name for name in named if not fnmatch.filter(there, name)} == set()
    for variable in ("length", "charge", "star_distance"):
        assert completeness["n"][completeness["variable"] == variable].sum() > 0, variable
    assert sigclip == 3.0
    of_knee, at_minimum = (
        one_row(confusion, "pixel", "morphological_science", f"astroscrappy_science{variant}")
        for variant in ("_knee", "")
    )
    assert of_knee["tp"] + of_knee["fp"] > at_minimum["tp"] + at_minimum["fp"]
    result = CliRunner().invoke(main, ["report", str(repo), "u/study", "-o", str(page)])
    assert result.exit_code == 0, result.output
    text = (page / "index.html").read_text()
    for title in ("The answer", "Tuning", "Interpolation", "Finders that give probabilities"):
        assert title in text


@pytest.mark.slow
class TestSimulation:
    """A simulated visit through pipelines/Simulation.yaml."""

    def test_every_dataset_is_there(self, simulated: Path) -> None:
        with Butler.from_config(str(simulated), collections="u/all") as butler:
            for detection in DETECTIONS:
                assert len(butler.query_datasets(f"cr_mask_{detection}")) == 2
                assert len(butler.query_datasets(f"cr_finder_summary_{detection}")) == 2
            for name in (
                "difference_image",
                "dia_source_unfiltered",
                "cr_pixel_counts",
                "cr_stamps",
                "cr_objects",
            ):
                assert len(butler.query_datasets(name)) == 2, name
            for name in ("counts", "stamps", "objects", "confusion", "summary"):
                assert len(butler.query_datasets(f"cr_visit_{name}")) == 1
                assert len(butler.query_datasets(f"cr_instrument_{name}")) == 1
            assert len(butler.query_datasets("cr_plot_rates_truth")) == 1
            ranking = butler.get("cr_consensus_ranking", instrument="SimHSC")
            assert "morphological_science,cosmic_conn_difference" in ranking["members"]

    def test_tables_of_another_visit(self, simulated: Path) -> None:
        result = CliRunner().invoke(main, ["tables", str(simulated), "u/all", "--visit", "999"])
        assert result.exit_code == 1
        assert "cr_visit_confusion of visit 999" in result.output
        assert "visit: 1" in result.output.split("found 0 among")[1]

    def test_the_consensus_is_a_vote(self, simulated: Path) -> None:
        with Butler.from_config(str(simulated), collections="u/all") as butler:
            masks = [
                read_mask(butler.get(f"cr_mask_{finder}_science", VISIT, detector=0))
                for finder in ("morphological", "astroscrappy", "cosmic_conn")
            ]
            consensus = read_mask(butler.get("cr_mask_consensus_science", VISIT, detector=0))
            np.testing.assert_array_equal(consensus, vote_by_cosmic_ray(masks, 2))
            assert consensus.any()

    @pytest.mark.parametrize(("name", "n_figures"), [("metrics", 1), ("one_detector", 2), ("own_finder", 0)])
    def test_notebook(
        self, simulated: Path, name: str, n_figures: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COSMICRAYS_REPO", str(simulated))
        monkeypatch.setenv("COSMICRAYS_COLLECTION", "u/all")
        monkeypatch.setenv("PYTHONWARNINGS", "ignore")
        monkeypatch.setenv("MPLBACKEND", "agg")  # As many machines without a screen have it.
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        nbclient.NotebookClient(
            notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOKS)}}
        ).execute()
        outputs = [cell["outputs"] for cell in notebook.cells if cell["cell_type"] == "code"]
        assert outputs[-1], "the last cell shows nothing"
        figures = [output for cell in outputs for output in cell if "image/png" in output.get("data", {})]
        assert len(figures) == n_figures

    def test_pixels_are_counted_right(self, simulated: Path) -> None:
        with Butler.from_config(str(simulated), collections="u/all") as butler:
            confusion = butler.get("cr_visit_confusion", VISIT)
            row = one_row(confusion, "pixel", "morphological_science", "astroscrappy_difference")
            counts = np.zeros(4, int)
            for detector in (0, 1):
                first, second = (
                    read_mask(butler.get(f"cr_mask_{name}", VISIT, detector=detector))
                    for name in ("morphological_science", "astroscrappy_difference")
                )
                image = butler.get("visit_image", VISIT, detector=detector)
                difference = butler.get("difference_image", VISIT, detector=detector)
                unusable = read_mask(difference, "NO_DATA")
                for plane in ("BAD", "SATURATED", "NO_DATA"):
                    unusable |= read_mask(image, plane)
                codes = (2 * first.astype(int) + second)[~unusable]
                counts += np.bincount(codes, minlength=4)
        assert [row[name] for name in ("tn", "fp", "fn", "tp")] == counts.tolist()
        assert row["purity"] == pytest.approx(counts[3] / (counts[3] + counts[1]))
        assert row["completeness"] == pytest.approx(counts[3] / (counts[3] + counts[2]))
        assert (row["n_detectors"], row["n_detectors_total"]) == (2, 2)
        assert row["purity_lo"] <= row["purity"] <= row["purity_hi"]

    def test_finders_find_the_true_cosmic_rays(self, simulated: Path) -> None:
        with Butler.from_config(str(simulated), collections="u/all") as butler:
            confusion = butler.get("cr_instrument_confusion", instrument="SimHSC")
        for detection in ("morphological_science", "astroscrappy_science", "mask_plane_science"):
            row = one_row(confusion, "pixel_1px", "truth", detection)
            assert row["purity"] > 0.7
            assert row["completeness"] > 0.7
        same = one_row(confusion, "pixel", "morphological_science", "mask_plane_science")
        assert (same["fp"], same["fn"]) == (0, 0)

    def test_tables_are_printed(self, simulated: Path) -> None:
        result = CliRunner().invoke(main, ["tables", str(simulated), "u/all"])
        assert result.exit_code == 0
        assert "Against truth (charge of at least 2 sigma), pixel by pixel" in result.output
        assert "Against morphological_science, by stamps around DIASources" in result.output
        assert "2 of 2" in result.output
        of_visit = CliRunner().invoke(main, ["tables", str(simulated), "u/all", "--visit", "1"])
        assert of_visit.exit_code == 0
        assert CliRunner().invoke(main, ["tables", str(simulated), "u/all", "--visit", "2"]).exit_code == 1

    def test_variant_joins_later_and_nothing_runs_again(self, simulated: Path, tmp_path: Path) -> None:
        knee = tmp_path / "knee.yaml"
        knee.write_text(
            "description: L.A.Cosmic at the knee of its tuning curve.\n"
            "tasks:\n"
            "  findCosmicRaysKnee:\n"
            "    class: lsst.meas.cosmicrays.tasks.FindCosmicRaysTask\n"
            "    config:\n"
            "      connections.variant: _knee\n"
            "      finders.names: [astroscrappy]\n"
            '      python: config.finders["astroscrappy"].sigclip = 3.0\n'
        )
        with Butler.from_config(str(simulated), collections="u/all") as butler:
            before = {ref.id for ref in butler.query_datasets("cr_mask_astroscrappy_science")}
        log = pipetask(simulated, "SimHSC/defaults", "u/all", knee)
        assert "Executed 2 quanta successfully" in log
        assert "findCosmicRaysScience" not in log
        with Butler.from_config(str(simulated), collections="u/all") as butler:
            assert {ref.id for ref in butler.query_datasets("cr_mask_astroscrappy_science")} == before
            assert len(butler.query_datasets("cr_mask_astroscrappy_science_knee")) == 2
            knee_digest, digest = (
                butler.get(f"cr_finder_summary_astroscrappy_science{variant}", VISIT, detector=0)
                for variant in ("_knee", "")
            )
        assert knee_digest["config_digest"][0] != digest["config_digest"][0]
        assert knee_digest["n_pixels"][0] > digest["n_pixels"][0]

    def test_run_that_stopped_half_way_is_picked_up(self, simulated: Path) -> None:
        ingredients = "$MEAS_COSMICRAYS_DIR/pipelines/_ingredients"
        find, both = f"{ingredients}/FindScience.yaml", "$MEAS_COSMICRAYS_DIR/pipelines/Simulation.yaml"
        only_one = ("-d", "instrument='SimHSC' AND detector=0")
        pipetask(simulated, "SimHSC/defaults", "u/half", find, *only_one)
        with Butler.from_config(str(simulated), collections="u/half") as butler:
            (first,) = butler.query_datasets("cr_mask_morphological_science")
        again = ("--extend-run", "--skip-existing")
        log = pipetask(simulated, "SimHSC/defaults", "u/half", f"{both}#find,differenceImaging", *again)
        assert "Executed 7 quanta successfully" in log
        with Butler.from_config(str(simulated), collections="u/half") as butler:
            masks = butler.query_datasets("cr_mask_morphological_science")
            assert len(masks) == 2
            assert first.id in {ref.id for ref in masks}
            assert len({ref.run for ref in masks}) == 1
            assert len(butler.query_datasets("cr_mask_morphological_difference")) == 2


@pytest.fixture
def with_trail(test_butler: Butler, make_image: Callable[..., VisitImage]) -> Path:
    """Return a repository in which a satellite crosses detector 1."""
    image = make_image(detector=1)
    image.image.array[70, 5:90] += 3000.0
    data_id = {"instrument": "TestCam", "visit": 42, "detector": 1}
    old = test_butler.find_dataset("visit_image", data_id, collections="TestCam/ingested")
    assert old is not None
    test_butler.pruneDatasets([old], disassociate=True, unstore=True, purge=True)
    test_butler.put(image, "visit_image", data_id, run="TestCam/ingested")
    return Path(test_butler._config.configDir.ospath)


@pytest.mark.slow
def test_finder_that_fails_on_one_detector(with_trail: Path, tmp_path: Path) -> None:
    pipeline = tmp_path / "trail.yaml"
    pipeline.write_text(
        "description: Too many cosmic rays on one detector.\n"
        "imports:\n"
        "  - location: $MEAS_COSMICRAYS_DIR/pipelines/_ingredients/FindScience.yaml\n"
        "  - location: $MEAS_COSMICRAYS_DIR/pipelines/_ingredients/Compare.yaml\n"
        "parameters:\n"
        "  detections: [morphological_science, astroscrappy_science]\n"
        "tasks:\n"
        "  findCosmicRaysScience:\n"
        "    class: lsst.meas.cosmicrays.tasks.FindCosmicRaysTask\n"
        "    config:\n"
        "      finders.names: [morphological, astroscrappy]\n"
        '      python: config.finders["morphological"].nCrPixelMax = 60\n'
        "  compareCosmicRays:\n"
        "    class: lsst.meas.cosmicrays.tasks.CompareCosmicRaysTask\n"
        "    config:\n"
        "      doDifference: false\n"
    )
    pipetask(with_trail, "TestCam/defaults", "u/trail", pipeline)
    with Butler.from_config(str(with_trail), collections="u/trail") as butler:
        assert len(butler.query_datasets("cr_mask_morphological_science")) == 1
        assert len(butler.query_datasets("cr_mask_astroscrappy_science")) == 2
        summary = butler.get("cr_visit_summary", instrument="TestCam", visit=42)
        confusion = butler.get("cr_visit_confusion", instrument="TestCam", visit=42)
        failure = butler.get(
            "cr_finder_summary_morphological_science", instrument="TestCam", visit=42, detector=1
        )
    by_name = {row["detection"]: row for row in summary}
    assert by_name["morphological_science"]["n_failed"] == 1
    assert by_name["morphological_science"]["n_detectors"] == 1
    assert by_name["astroscrappy_science"]["n_failed"] == 0
    assert by_name["astroscrappy_science"]["n_detectors"] == 2
    row = one_row(confusion, "pixel", "morphological_science", "astroscrappy_science")
    assert (row["n_detectors"], row["n_detectors_total"]) == (1, 2)
    assert row["tp"] + row["fp"] + row["fn"] + row["tn"] == 80 * 96
    assert "nCrPixelMax=60" in failure["failure"][0]


@pytest.mark.parametrize(
    "path",
    sorted(path for path in PIPELINES.rglob("*.yaml") if not path.parent.name[0].isupper()),
    ids=lambda path: str(path.relative_to(PIPELINES)),
)
def test_every_pipeline_makes_a_graph(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEAS_COSMICRAYS_DIR", str(product_dir()))
    if path.name in OF_THE_STACK:
        stack_standins.install(monkeypatch)
    pipeline = Pipeline.from_uri(str(path))
    graph = pipeline.to_graph()
    assert len(graph.tasks) > 0
    for name, subset in graph.task_subsets.items():
        assert len(subset) > 0, name
