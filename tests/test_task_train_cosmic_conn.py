# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""TrainCosmicConnTask, and running what it trained, in repositories."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from conftest import VISIT

from lsst.daf.butler import Butler, DatasetType
from lsst.images import Box, Image
from lsst.meas.cosmicrays.engines.cosmic_conn import load_model
from lsst.meas.cosmicrays.finders import CosmicConnFinderTask, EngineNotAvailableError
from lsst.meas.cosmicrays.images import make_cosmic_ray_mask, read_image, read_mask
from lsst.meas.cosmicrays.repository import register_dataset_type, register_visit, sky_region
from lsst.meas.cosmicrays.simulation import SimulationConfig, simulate
from lsst.meas.cosmicrays.tasks import (
    FindCosmicRaysConfig,
    FindCosmicRaysTask,
    TrainCosmicConnConfig,
    TrainCosmicConnTask,
)
from lsst.meas.cosmicrays.training import (
    TorchNotAvailableError,
    TrainedModel,
    TrainedModelError,
    initial_weights,
    to_onnx,
)
from lsst.pex.config import FieldValidationError
from lsst.pipe.base import PipelineGraph
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

RUN = "TestCam/ingested"
SHAPE = (80, 96)
NO_TORCH = "needs torch (extra 'torch'), with which networks are trained"


def published(threshold: float = 0.2, tile: int = 64) -> TrainedModel:
    """Return a published network as if it had been trained here."""
    return TrainedModel(
        onnx=to_onnx(initial_weights("NRES")),
        threshold=threshold,
        normalisation={"unit": "electron", "sky": "median of the tile", "tile": tile},
    )


def true_pixels() -> np.ndarray:
    truth = np.zeros(SHAPE, bool)
    truth[40, 70:82] = truth[12:15, 50] = True
    return truth


def add_visits(butler: Butler, visits: tuple[int, ...], truth: str) -> Butler:
    """Put the image of visit 42 into other visits, with truth."""
    image = butler.get("visit_image", instrument="TestCam", visit=42, detector=0, collections=[RUN])
    name, dataset = {
        "charge": ("cr_truth_charge", Image(900.0 * true_pixels().astype("f4"), bbox=Box.from_shape(SHAPE))),
        "mask": ("cr_truth", make_cosmic_ray_mask(true_pixels(), Box.from_shape(SHAPE))),
        "detection": (
            "cr_mask_consensus_both",
            make_cosmic_ray_mask(true_pixels(), Box.from_shape(SHAPE)),
        ),
    }[truth]
    register_dataset_type(butler, name, "ImageV2" if truth == "charge" else "MaskV2")
    for visit in visits:
        data_id = {"instrument": "TestCam", "visit": visit, "detector": 0}
        if visit != 42:
            description = dataclasses.replace(VISIT, id=visit, begin=VISIT.begin + (visit - 42) * u.hour)
            register_visit(butler, "TestCam", description, {0: sky_region(image.sky_projection, image.bbox)})
            butler.put(image, "visit_image", data_id, run=RUN)
        butler.put(dataset, name, data_id, run=RUN)
    return butler


def train_config(truth: str = "charge") -> TrainCosmicConnConfig:
    config = TrainCosmicConnConfig()
    config.truth = truth
    config.truthDetection = "consensus_both"
    config.initialModel = "random"
    config.hiddenChannels = 8
    config.tileSize = 64
    config.tilesPerImage = 3
    config.validationTilesPerImage = 4
    config.learningRate = 2e-2
    config.maxEpochs = 2
    return config


def execute(butler: Butler, config: TrainCosmicConnConfig) -> Butler:
    run_butler = SimplePipelineExecutor.prep_butler(butler._config, inputs=["TestCam/defaults"], output="u/t")
    SimplePipelineExecutor.from_task_class(
        TrainCosmicConnTask, config=config, label="trainCosmicConn", butler=run_butler
    ).run(register_dataset_types=True)
    return Butler.from_config(butler._config, collections=["u/t"])


@pytest.mark.parametrize("truth", ["charge", "mask", "detection"])
def test_train_and_find(test_butler: Butler, truth: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason=NO_TORCH)
    config = train_config(truth)
    config.checkpointDirectory = str(tmp_path / "checkpoints")
    butler = execute(add_visits(test_butler, (42, 43, 44), truth), config)
    table = butler.get("cr_cosmic_conn_model", instrument="TestCam")
    history = butler.get("cr_cosmic_conn_history", instrument="TestCam")
    model = TrainedModel.from_table(table)
    assert history["epoch"].tolist() == [0, 1, 2]
    assert model.threshold == history["threshold"][np.argmax(history["f1"])]
    assert [record["f1"] for record in model.history] == history["f1"].tolist()
    assert model.normalisation == {"unit": "electron", "sky": "median of the tile", "tile": 64}
    provenance = model.provenance
    assert (provenance["training_visits"], provenance["validation_visits"]) == ([42, 43], [44])
    assert (provenance["n_training_tiles"], provenance["n_validation_tiles"]) == (6, 4)
    assert (provenance["truth"], provenance["settings"]["seed"]) == (truth, 2022)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    find = FindCosmicRaysConfig()
    find.finders.names = ["cosmic_conn"]
    find.useCosmicConnModel = True
    image = butler.get("visit_image", instrument="TestCam", visit=42, detector=0, collections=[RUN])
    result = FindCosmicRaysTask(config=find).run(image, cosmicConnModel=table)
    probability = load_model(model.onnx, threads=1).predict(read_image(image).image, tile=64)
    np.testing.assert_array_equal(read_mask(result.masks["cosmic_conn"]), probability > model.threshold)


def test_training_without_torch(test_butler: Butler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(TorchNotAvailableError, match="extra 'torch'"):
        execute(add_visits(test_butler, (42, 43), "charge"), train_config())


def test_too_few_visits(test_butler: Butler) -> None:
    butler = execute(add_visits(test_butler, (42,), "charge"), train_config())
    assert not butler.query_datasets("cr_cosmic_conn_model", explain=False)


@pytest.mark.parametrize(
    ("visits", "held_out", "expected"),
    [((1, 2, 3, 4, 5, 6), [], {3, 6}), ((1, 2), [], {2}), ((1, 2, 3), [1, 9], {1})],
)
def test_visits_held_out(visits: tuple[int, ...], held_out: list[int], expected: set[int]) -> None:
    config = train_config()
    config.validationVisits = held_out
    assert TrainCosmicConnTask(config=config)._split(set(visits)) == expected


@pytest.mark.parametrize(("held_out", "what"), [([1, 2], "train on"), ([7], "judge by")])
def test_visits_must_be_split(held_out: list[int], what: str) -> None:
    config = train_config()
    config.validationVisits = held_out
    with pytest.raises(ValueError, match=f"leaves nothing to {what}"):
        TrainCosmicConnTask(config=config).run([(1, lambda: None), (2, lambda: None)])  # type: ignore


def test_memory_is_bounded(test_butler: Butler) -> None:
    """However many detectors there are, so many tiles are kept."""
    add_visits(test_butler, (42,), "charge")
    config = train_config()
    config.doDifference = True
    config.maxTiles = 12
    task = TrainCosmicConnTask(config=config)
    data_id = {"instrument": "TestCam", "visit": 42, "detector": 0, "collections": RUN}
    image = test_butler.get("visit_image", **data_id)
    parts = {
        "scienceImage": image,
        "differenceImage": image,
        "truthCharge": test_butler.get("cr_truth_charge", **data_id),
    }
    read = []

    def reader(i: int) -> object:
        read.append(i)
        return task.assemble(parts)

    tiles = task._cut([lambda i=i: reader(i) for i in range(20)], is_held_out=False)
    assert len(read) == 3
    assert len(tiles) == 6
    few = task._cut([lambda: reader(0)], is_held_out=False)
    assert len(few) == 6
    # Difference images have the truth of their science images.
    np.testing.assert_array_equal(few.truth[:3].any(axis=(1, 2)), True)
    assert tiles.truth.any()


@pytest.mark.parametrize("setting", [{"tileSize": 100}, {"hiddenChannels": 12}, {"maxEpochs": -1}])
def test_bad_configurations(setting: dict[str, int]) -> None:
    with pytest.raises(FieldValidationError):
        TrainCosmicConnConfig(**setting)


def test_connections_follow_the_config() -> None:
    config = train_config("detection")
    config.doDifference = True
    config.connections.variant = "_second"
    graph = PipelineGraph()
    graph.add_task("train", TrainCosmicConnTask, config)
    node = graph.tasks["train"]
    assert {edge.dataset_type_name for edge in node.inputs.values()} == {
        "visit_image",
        "difference_image",
        "cr_mask_consensus_both",
    }
    assert {edge.dataset_type_name for edge in node.outputs.values()} >= {
        "cr_cosmic_conn_model_second",
        "cr_cosmic_conn_history_second",
    }


def test_finder_uses_the_recommendation(test_butler: Butler) -> None:
    image = read_image(
        test_butler.get("visit_image", instrument="TestCam", visit=42, detector=0, collections=[RUN])
    )
    expected = load_model("NRES", threads=1).predict(image.image, tile=64)
    low, high = (float(np.sort(expected, axis=None)[-n]) for n in (40, 4))
    config = CosmicConnFinderTask.ConfigClass()
    finder = CosmicConnFinderTask(config=config)
    for threshold, n_pixels in ((low, 39), (high, 3)):
        finder.use_model(published(threshold=threshold))
        mask = finder.run(image).mask
        np.testing.assert_array_equal(mask, expected > threshold)
        assert np.count_nonzero(mask) == n_pixels
    config.useRecommendedThreshold = False
    own = CosmicConnFinderTask(config=config)
    own.use_model(published(threshold=low))
    np.testing.assert_array_equal(own.run(image).mask, expected > 0.5)


def test_models_that_do_not_fit_the_finder() -> None:
    config = CosmicConnFinderTask.ConfigClass()
    config.unit = "native"
    with pytest.raises(TrainedModelError, match="trained on pixels in electron"):
        CosmicConnFinderTask(config=config).use_model(published())
    config = CosmicConnFinderTask.ConfigClass()
    config.engine = "reference"
    with pytest.raises(EngineNotAvailableError, match="run on engine 'fast'"):
        CosmicConnFinderTask(config=config).use_model(published())


def test_model_needs_its_finder() -> None:
    config = FindCosmicRaysConfig()
    config.useCosmicConnModel = True
    with pytest.raises(ValueError, match="cosmic_conn is not among finders.names"):
        config.validate()


PIPELINE = """
description: Run a trained network.
tasks:
  findCosmicRaysTuned:
    class: lsst.meas.cosmicrays.tasks.FindCosmicRaysTask
    config:
      connections.variant: _tuned
      finders.names: [cosmic_conn]
      useCosmicConnModel: true
"""


def test_model_through_pipetask(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    simulate(repo, SimulationConfig(width=128, height=112, seed=4, cr_rate=30.0), visits=1, detectors=1)
    model = published()
    with Butler.from_config(str(repo), writeable=True, run="u/model") as butler:
        butler.registry.registerDatasetType(
            DatasetType("cr_cosmic_conn_model", ["instrument"], "ArrowAstropy", universe=butler.dimensions)
        )
        butler.put(model.to_table(), "cr_cosmic_conn_model", instrument="SimHSC")
    (tmp_path / "tuned.yaml").write_text(PIPELINE)
    command = [Path(sys.executable).with_name("pipetask"), "run", "-b", repo, "-i", "SimHSC/defaults,u/model"]
    command += ["-o", "u/tuned", "-p", tmp_path / "tuned.yaml", "--register-dataset-types"]
    result = subprocess.run(
        list(map(str, command)), env=os.environ, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    data_id = {"instrument": "SimHSC", "visit": 1, "detector": 0}
    with Butler.from_config(str(repo), collections=["u/tuned"]) as butler:
        mask = read_mask(butler.get("cr_mask_cosmic_conn_science_tuned", data_id))
        image = read_image(butler.get("visit_image", data_id))
        (row,) = butler.get("cr_finder_summary_cosmic_conn_science_tuned", data_id)
    filled = image.any_plane(["BAD", "NO_DATA"])
    probability = load_model("NRES", threads=1).predict(image.image, tile=64, bad=filled)
    unusable = image.any_plane(["BAD", "SATURATED", "INTERPOLATED", "NO_DATA"])
    np.testing.assert_array_equal(mask, (probability > 0.2) & ~unusable)
    assert mask.any()
    assert row["config_digest"].endswith(model.digest[:8])
    assert json.loads(str(model.to_table()["provenance"][0])) == {}
