# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tuning a finder in a repository, against a finder run at every value."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from click.testing import CliRunner
from conftest import NX, NY
from matplotlib.figure import Figure

from lsst.daf.butler import Butler
from lsst.images import Box, Image, VisitImage
from lsst.meas.cosmicrays.cli.tuned_config import tuned_config_command
from lsst.meas.cosmicrays.comparison import Criterion, best_value, truth_from_charge
from lsst.meas.cosmicrays.finders import (
    AstroScrappyFinderTask,
    FieldScan,
    ScanFieldError,
    cosmicRayFinderRegistry,
    override_line,
)
from lsst.meas.cosmicrays.images import make_cosmic_ray_mask, read_image, read_mask
from lsst.meas.cosmicrays.product import product_dir
from lsst.meas.cosmicrays.repository import register_dataset_type
from lsst.meas.cosmicrays.tasks import (
    BoundsError,
    FindCosmicRaysConfig,
    GatherTuningConfig,
    GatherTuningTask,
    PlotTuningTask,
    TuneFinderConfig,
    TuneFinderTask,
)
from lsst.pex.config import FieldValidationError
from lsst.pipe.base import NoWorkFound, PipelineGraph
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

BOX = Box.from_shape((NY, NX))
RUN = "TestCam/ingested"
DATA_ID = {"instrument": "TestCam", "visit": 42}


@pytest.fixture(scope="module")
def charge() -> np.ndarray:
    """Charge of short tracks of all brightnesses."""
    rng = np.random.default_rng(77)
    charge = np.zeros((NY, NX), np.float32)
    for y, x in zip(rng.integers(4, NY - 4, 45), rng.integers(4, NX - 9, 45), strict=True):
        charge[y, x : x + rng.integers(1, 5)] += rng.exponential(700.0) + 60.0
    return charge


@pytest.fixture
def electrons(charge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image (with those tracks and two stars) and variance."""
    rng = np.random.default_rng(20242)
    y, x = np.mgrid[:NY, :NX]
    scene = 400.0 + charge
    for x0, y0, flux in ((30.2, 25.1, 3e4), (60.7, 50.4, 8e4)):
        scene = scene + flux / (2 * np.pi * 4.0) * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 8.0)
    image = rng.normal(scene, np.sqrt(scene)) - 400.0
    return image.astype(np.float32), scene.astype(np.float32)


@pytest.fixture
def reference(charge: np.ndarray) -> np.ndarray:
    """Make what another finder may have found."""
    rng = np.random.default_rng(5)
    return (charge > 200.0) & (rng.random(charge.shape) < 0.9) | (rng.random(charge.shape) < 0.001)


def make_config(**fields: object) -> TuneFinderConfig:
    config = TuneFinderConfig()
    config.connections.reference = "other_science"
    config.truth = "charge"
    config.doDifference = False
    config.update(**fields)
    return config


def run_finder(image: VisitImage, sigclip: float, finder: str = "astroscrappy") -> np.ndarray:
    """Run the finder as FindCosmicRaysTask does, from the stored image."""
    config = FindCosmicRaysConfig()
    config.finders.names = [finder]
    config.finders[finder].sigclip = sigclip
    return (
        cosmicRayFinderRegistry[finder](config=config.finders[finder], name=finder)
        .run(read_image(image))
        .mask
    )


class TestOneDetector:
    """The task on one detector."""

    def test_agrees_with_a_run_at_every_value(
        self,
        make_image: Callable[..., VisitImage],
        charge: np.ndarray,
        reference: np.ndarray,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        bad = np.zeros((NY, NX), bool)
        bad[:, 20:23] = True
        image = make_image(BAD=bad)
        config = make_config(wideStep=0.36)
        prepared, runs = [], []
        prepare, find = AstroScrappyFinderTask.prepare, AstroScrappyFinderTask.find_prepared
        with monkeypatch.context() as counting:
            counting.setattr(
                AstroScrappyFinderTask,
                "prepare",
                lambda self, image: prepared.append(1) or prepare(self, image),
            )
            counting.setattr(
                AstroScrappyFinderTask,
                "find_prepared",
                lambda self, image, given: runs.append(self.config.sigclip) or find(self, image, given),
            )
            curve = (
                TuneFinderTask(config=config)
                .run(
                    image,
                    referenceMask=make_cosmic_ray_mask(reference, BOX),
                    truthCharge=Image(charge, bbox=BOX),
                )
                .curve
            )
        values = config.grid().values
        assert values.size == 76
        assert len(prepared) == 1
        assert len(runs) == len(curve) < 50
        truth = truth_from_charge(charge, image.variance.array, 2.0)
        dense = Table(names=["mse", "f1", "f1_truth", "n"])
        for value in values:
            mask = run_finder(image, float(value))
            row = {"mse": np.mean((mask != reference)[~bad]), "n": np.sum(mask[~bad])}
            for name, positive in (("f1", reference), ("f1_truth", truth)):
                row[name] = (
                    2 * np.sum((mask & positive)[~bad]) / (np.sum(mask[~bad]) + np.sum(positive[~bad]))
                )
            dense.add_row(row)
        for row in curve:
            (at,) = np.flatnonzero(np.isclose(values, row["value"]))
            assert row["n_pixels"] == dense["n"][at]
            assert row["n_usable"] == NX * NY - bad.sum()
            assert [row[name] for name in ("mse", "f1", "f1_truth")] == pytest.approx(
                [dense[name][at] for name in ("mse", "f1", "f1_truth")]
            )
            assert row["cpu_time"] > 0.0
            assert row["search"] == "narrow" or np.isclose(values[::3], row["value"]).any()
        assert curve["mse"].min() == pytest.approx(dense["mse"].min())
        assert curve["f1"].max() == pytest.approx(dense["f1"].max())
        assert curve["f1_truth"].max() == pytest.approx(dense["f1_truth"].max())
        identity = {name: set(curve[name]) for name in ("finder", "field", "kind", "reference")}
        assert identity == {
            "finder": {"astroscrappy"},
            "field": {"sigclip"},
            "kind": {"science"},
            "reference": {"other_science"},
        }

    def test_same_usable_pixels_as_the_comparison(
        self, make_image: Callable[..., VisitImage], reference: np.ndarray
    ) -> None:
        flagged = np.zeros((NY, NX), bool)
        flagged[30:50] = True
        saturated = np.zeros((NY, NX), bool)
        saturated[:, :10] = True
        science, difference = make_image(SATURATED=saturated), make_image(NO_DATA=flagged)
        difference.variance.array[0, 50] = np.nan
        curve = (
            TuneFinderTask(config=make_config(kind="difference", doDifference=True, truth=None))
            .run(science, difference, make_cosmic_ray_mask(reference, BOX))
            .curve
        )
        usable = ~(flagged | saturated)
        usable[0, 50] = False
        assert set(curve["n_usable"]) == {usable.sum()}
        assert set(curve["tp"] + curve["fn"]) == {(reference & usable).sum()}
        assert set(curve["kind"]) == {"difference"}
        assert set(curve["tp_truth"]) == {-1}

    def test_whole_numbers_of_another_finder(
        self, make_image: Callable[..., VisitImage], reference: np.ndarray
    ) -> None:
        config = make_config(field="niteration", start=0, stop=6, wideStep=1.0, refinement=1, truth=None)
        config.finder.name = "morphological"
        config.finder["morphological"].min_DN = 100.0
        image = make_image()
        curve = (
            TuneFinderTask(config=config).run(image, referenceMask=make_cosmic_ray_mask(reference, BOX)).curve
        )
        assert set(curve["value"]) <= set(range(7))
        for row in curve:
            finder_config = config.finder["morphological"].copy()
            finder_config.niteration = int(row["value"])
            finder = cosmicRayFinderRegistry["morphological"](config=finder_config, name="m")
            assert row["n_pixels"] == finder.run(read_image(image)).n_pixels

    def test_failures_are_recorded(
        self, make_image: Callable[..., VisitImage], reference: np.ndarray
    ) -> None:
        config = make_config(field="minSigma", truth=None)
        config.finder.name = "morphological"
        config.finder["morphological"].nCrPixelMax = 150
        curve = (
            TuneFinderTask(config=config)
            .run(make_image(), referenceMask=make_cosmic_ray_mask(reference, BOX))
            .curve
        )
        failed = np.array(["nCrPixelMax=150" in text for text in curve["failure"]])
        assert 0 < failed.sum() < len(curve)
        assert np.all(curve["n_pixels"][failed] == -1)
        assert np.all(curve["n_pixels"][~failed] >= 0)
        assert curve["value"][failed].max() < curve["value"][~failed].min()
        assert np.isfinite(best_value(curve, Criterion.MSE))

    def test_reference_without_pixels(self, make_image: Callable[..., VisitImage]) -> None:
        nothing = make_cosmic_ray_mask(np.zeros((NY, NX), bool), BOX)
        curve = TuneFinderTask(config=make_config(truth=None)).run(make_image(), referenceMask=nothing).curve
        assert np.all(np.isnan(curve["completeness"]) & np.isnan(curve["f1"]))
        assert np.all(curve["tp"] == 0)
        assert np.isnan(best_value(curve, Criterion.MSE))
        assert np.isfinite(best_value(curve, Criterion.KNEE))

    def test_reference_is_missing(self, make_image: Callable[..., VisitImage], charge: np.ndarray) -> None:
        curve = (
            TuneFinderTask(config=make_config()).run(make_image(), truthCharge=Image(charge, bbox=BOX)).curve
        )
        assert np.all(np.isnan(curve["mse"]))
        assert np.isfinite(best_value(curve, Criterion.F1_TRUTH))
        assert np.isnan(best_value(curve, Criterion.F1))

    def test_image_without_a_good_pixel(
        self, make_image: Callable[..., VisitImage], reference: np.ndarray
    ) -> None:
        image = make_image(BAD=np.ones((NY, NX), bool))
        curve = (
            TuneFinderTask(config=make_config(truth=None))
            .run(image, referenceMask=make_cosmic_ray_mask(reference, BOX))
            .curve
        )
        assert all("there is nothing to search" in text for text in curve["failure"])
        assert len(curve) == 9

    def test_mask_of_other_pixels(self, make_image: Callable[..., VisitImage]) -> None:
        mask = make_cosmic_ray_mask(np.zeros((NY, 9), bool), Box.from_shape((NY, 9)))
        with pytest.raises(BoundsError, match="mask of other_science covers"):
            TuneFinderTask(config=make_config(truth=None)).run(make_image(), referenceMask=mask)

    def test_difference_image_is_missing(self, make_image: Callable[..., VisitImage]) -> None:
        with pytest.raises(ValueError, match="on the difference image, but there is none"):
            TuneFinderTask(config=make_config(kind="difference")).run(make_image())


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"field": "sigclap"}, ScanFieldError, "no field 'sigclap'.*objlim.*sigclip"),
        ({"field": "cleantype"}, ScanFieldError, "'cleantype' of AstroScrappyFinderConfig is not a number"),
        ({"field": "sepmed"}, ScanFieldError, "is not a number"),
        ({"field": "badPlanes"}, ScanFieldError, "is not a number"),
        ({"field": "model.sigclip"}, ScanFieldError, "has no config 'model'"),
        ({"start": 10.0, "stop": 1.0}, ValueError, "range that rises"),
        ({"wideStep": -1.0}, ValueError, "Steps of -1.0 do not fit"),
        ({"start": 0.0}, FieldValidationError, "sigclip"),
    ],
)
def test_bad_configurations(fields: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}"):
        make_config(**fields).validate()


def test_consensus_cannot_be_tuned() -> None:
    config = make_config()
    config.finder.name = "consensus"
    with pytest.raises(ValueError, match="works on masks of others"):
        config.validate()


@pytest.mark.parametrize(
    ("finder", "field", "values"),
    [
        ("astroscrappy", "sigclip", (2.0, 4.33)),
        ("astroscrappy", "threads", (1, 2)),
        ("morphological", "minSigma", (4.0, 8.0)),
        ("morphological", "background", (0.0, 20.0)),
        ("cosmic_conn", "threshold", (0.1, 0.9)),
    ],
)
@pytest.mark.parametrize("unit", ["electron", "native"])
def test_masks_of_a_scan_are_those_of_runs(
    make_image: Callable[..., VisitImage], finder: str, field: str, values: tuple[float, float], unit: str
) -> None:
    image = read_image(make_image("adu"))
    finder_class = cosmicRayFinderRegistry[finder]
    config = finder_class.ConfigClass()
    config.unit = unit
    scan = FieldScan(finder, config, field, image)
    for value in values:
        one = config.copy()
        setattr(one, field, value)
        assert np.array_equal(scan.mask(value), finder_class(config=one, name=finder).run(image).mask)
    assert config.toDict() == config.copy().toDict()


def test_override_lines() -> None:
    assert override_line("astroscrappy", "sigclip", 4.33) == 'config.finders["astroscrappy"].sigclip = 4.33'
    line = override_line("morphological", "niteration", 4.0)
    config = FindCosmicRaysConfig()
    config.loadFromString(line)
    assert (config.finders["morphological"].niteration, line[-4:]) == (4, " = 4")
    with pytest.raises(ScanFieldError, match="takes whole numbers, not 4.5"):
        override_line("morphological", "niteration", 4.5)


@pytest.fixture
def filled(test_butler: Butler, charge: np.ndarray, reference: np.ndarray) -> Butler:
    """Fill a repository with truth on two detectors, a reference on one."""
    register_dataset_type(test_butler, "cr_truth_charge", "ImageV2")
    register_dataset_type(test_butler, "cr_mask_other_science", "MaskV2")
    for detector in (0, 1):
        test_butler.put(Image(charge, bbox=BOX), "cr_truth_charge", DATA_ID, detector=detector, run=RUN)
    test_butler.put(
        make_cosmic_ray_mask(reference, BOX), "cr_mask_other_science", DATA_ID, detector=0, run=RUN
    )
    return test_butler


def execute(butler: Butler, **fields: object) -> Butler:
    graph = PipelineGraph()
    graph.add_task("tune", TuneFinderTask, make_config(wideStep=0.36, **fields))
    graph.add_task("gather", GatherTuningTask, GatherTuningConfig())
    graph.add_task("plot", PlotTuningTask)
    run_butler = SimplePipelineExecutor.prep_butler(butler._config, inputs=["TestCam/defaults"], output="u/t")
    SimplePipelineExecutor.from_pipeline_graph(graph, butler=run_butler).run(register_dataset_types=True)
    return Butler.from_config(butler._config, collections=["u/t"])


def test_gathered_over_detectors(filled: Butler) -> None:
    butler = execute(filled)
    curves = [butler.get("cr_tuning_curve", DATA_ID, detector=detector) for detector in (0, 1)]
    total = butler.get("cr_instrument_tuning_curve", instrument="TestCam")
    optimum = butler.get("cr_tuning_optimum", instrument="TestCam")
    override = butler.get("cr_tuning_override", instrument="TestCam")
    rows = {row["criterion"]: row for row in optimum}
    counts = {name: (row["n_detectors"], row["n_detectors_total"]) for name, row in rows.items()}
    assert counts == {"mse": (1, 2), "f1": (1, 2), "knee": (2, 2), "f1_truth": (2, 2)}
    assert rows["mse"]["value"] == best_value(curves[0], Criterion.MSE)
    assert np.all(np.isnan(curves[1]["mse"]))
    # Both detectors hold the same pixels here.
    at = np.isin(total["value"], curves[0]["value"][np.isin(curves[0]["value"], curves[1]["value"])])
    common = curves[0][np.isin(curves[0]["value"], total["value"][at])]
    assert total["n_pixels"][at].tolist() == (2 * common["n_pixels"]).tolist()
    assert override["value"] == rows["mse"]["value"]
    assert (override["finder"], override["criterion"]) == ("astroscrappy", "mse")
    config = FindCosmicRaysConfig()
    config.loadFromString(override["override"])
    assert config.finders["astroscrappy"].sigclip == rows["mse"]["value"]


def test_gathering_what_cannot_be_added() -> None:
    curve = Table(
        {
            **{name: ["a"] for name in ("finder", "field", "kind", "reference")},
            "value": [1.0],
            "n_pixels": [-1],
            "failure": ["too many"],
        }
    )
    task = GatherTuningTask(config=GatherTuningConfig())
    with pytest.raises(NoWorkFound, match="failed at every a.*the first failure: too many"):
        task.run([curve])
    other = curve.copy()
    other["field"] = ["b"]
    with pytest.raises(ValueError, match="different finders, fields"):
        task.run([curve, other])


def test_figure(make_image: Callable[..., VisitImage], charge: np.ndarray, reference: np.ndarray) -> None:
    config = make_config(wideStep=0.9)
    curve = (
        TuneFinderTask(config=config)
        .run(
            make_image(),
            referenceMask=make_cosmic_ray_mask(reference, BOX),
            truthCharge=Image(charge, bbox=BOX),
        )
        .curve
    )
    result = GatherTuningTask(config=GatherTuningConfig()).run([curve, curve])
    figure = PlotTuningTask().run(result.total, result.optimum).plot
    assert len(figure.axes) == 8
    optima = {float(value) for value in result.optimum["value"]}
    for panel in figure.axes:
        marked = {float(line.get_xdata()[0]) for line in panel.lines if len(set(line.get_xdata())) == 1}
        assert marked == optima
        drawn = [line for line in panel.lines if len(line.get_xdata()) > 2]
        assert len(drawn) == {0: 1, 1: 2}.get(figure.axes.index(panel) // 2, 3)
    pixels = figure.axes[0].lines[0]
    assert pixels.get_xdata().tolist() == curve["value"].tolist()
    assert pixels.get_ydata() == pytest.approx(1e6 * curve["n_pixels"] / curve["n_usable"])
    assert figure.axes[0].get_xlim() == (1.0, 10.0)
    low, high = figure.axes[1].get_xlim()
    assert 1.0 <= low < min(optima) <= max(optima) < high <= 10.0
    assert "16 to 84 % of the optima of single detectors" in figure.get_suptitle()
    figure.savefig(io.BytesIO())


def test_no_override_without_an_optimum(filled: Butler, make_image: Callable[..., VisitImage]) -> None:
    curve = TuneFinderTask(config=make_config(truth=None)).run(make_image()).curve
    result = GatherTuningTask(config=GatherTuningConfig()).run([curve])
    assert (result.override["value"], result.override["override"]) == (None, "")
    assert isinstance(PlotTuningTask().run(result.total, result.optimum).plot, Figure)


def pipetask(repo: Path, output: str, *options: object) -> None:
    program = Path(sys.executable).with_name("pipetask")
    command = [program, "run", "-b", repo, "-i", "TestCam/defaults", "-o", output, "--register-dataset-types"]
    result = subprocess.run(
        [str(part) for part in (*command, *options)],
        env=os.environ | {"MEAS_COSMICRAYS_DIR": str(product_dir())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_tuned_finder(filled: Butler, tmp_path: Path) -> None:
    repo = Path(filled._config.configDir.ospath)
    tuning = tmp_path / "tuning.yaml"
    tuning.write_text(
        "description: Tune L.A.Cosmic.\n"
        "imports:\n"
        "  - location: $MEAS_COSMICRAYS_DIR/pipelines/_ingredients/Tune.yaml\n"
        "    exclude: [tuneFinderDifference, gatherTuningDifference, plotTuningDifference]\n"
        "parameters:\n"
        "  tuning_reference: other_science\n"
        "tasks:\n"
        "  tuneFinderScience:\n"
        "    class: lsst.meas.cosmicrays.tasks.TuneFinderTask\n"
        "    config:\n"
        "      doDifference: false\n"
        "      truth: charge\n"
    )
    pipetask(repo, "u/tuning", "-p", tuning)
    override = tmp_path / "tuned.py"
    arguments = [str(repo), "u/tuning", "--variant", "_science", "--criterion", "f1_truth"]
    result = CliRunner().invoke(tuned_config_command, [*arguments, "-o", str(override)])
    assert result.exit_code == 0, result.output
    tuned = tmp_path / "tuned.yaml"
    tuned.write_text(
        "description: L.A.Cosmic at its best.\n"
        "tasks:\n"
        "  findCosmicRaysTuned:\n"
        "    class: lsst.meas.cosmicrays.tasks.FindCosmicRaysTask\n"
        "    config:\n"
        "      connections.variant: _tuned\n"
        "      finders.names: [astroscrappy]\n"
        f"      file: {override}\n"
    )
    pipetask(repo, "u/tuned", "-p", tuned)
    with Butler.from_config(str(repo), collections=["u/tuned", "u/tuning"]) as butler:
        optimum = butler.get("cr_tuning_optimum_science", instrument="TestCam")
        (row,) = optimum[optimum["criterion"] == "f1_truth"]
        mask = read_mask(butler.get("cr_mask_astroscrappy_science_tuned", DATA_ID, detector=1))
        image = butler.get("visit_image", DATA_ID, detector=1, collections=[RUN])
        assert len(butler.query_datasets("cr_plot_tuning_science")) == 1
        config = butler.get("findCosmicRaysTuned_config")
    assert config.finders["astroscrappy"].sigclip == row["value"] != 5.0
    assert np.array_equal(mask, run_finder(image, float(row["value"])))
    assert not np.array_equal(mask, run_finder(image, 5.0))


def test_command_that_finds_nothing(filled: Butler, tmp_path: Path) -> None:
    repo = filled._config.configDir.ospath

    def output_of(*arguments: str) -> str:
        result = CliRunner().invoke(tuned_config_command, arguments)
        assert result.exit_code == 1
        return result.output

    assert "No Butler repository" in output_of(str(tmp_path / "none"), "u/t")
    assert "No cr_tuning_optimum of one instrument in collection 'u/t'" in output_of(repo, "u/t")
    assert "was the tuning gathered" in output_of(repo, RUN)
    execute(filled, truth=None)
    assert "could not be found" in output_of(repo, "u/t", "--instrument", "OtherCam")
    assert "'cr_tuning_optimum_x' does not exist" in output_of(repo, "u/t", "--variant", "_x")
    assert "no optimum of f1_truth" in output_of(repo, "u/t", "--criterion", "f1_truth")
    printed = CliRunner().invoke(tuned_config_command, [repo, "u/t"]).output
    assert printed.startswith("# mse optimum of astroscrappy on science images against other_science;")
    assert "1 of 2 detectors have one" in printed
    FindCosmicRaysConfig().loadFromString(printed)
