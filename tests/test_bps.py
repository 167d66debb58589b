# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Submit files, and a submission that really runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import stack_standins
from click.testing import CliRunner

from lsst.ctrl.bps import BpsConfig
from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.cli.bps_demo import INPUT, OUTPUT, bps_demo_command
from lsst.pipe.base import Pipeline

ROOT = Path(__file__).parents[1]
CAMERAS = ["Simulation", "HSC", "LSSTCam", "LSSTComCam", "DECam"]
SITES = {
    "parsl_local": "lsst.ctrl.bps.parsl.ParslService",
    "parsl_slurm": "lsst.ctrl.bps.parsl.ParslService",
    "htcondor": "lsst.ctrl.bps.htcondor.HTCondorService",
}
PIPELINES = sorted(
    str(path.relative_to(ROOT / "pipelines"))
    for path in (ROOT / "pipelines").glob("**/*.yaml")
    if path.parent.name != "_ingredients"
)
SIZE = ["--detectors", "1", "--detector-size", "512x600", "--seed", "3"]


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("camera", CAMERAS)
def test_submit_files(monkeypatch: pytest.MonkeyPatch, camera: str, site: str) -> None:
    monkeypatch.setenv("MEAS_COSMICRAYS_DIR", str(ROOT))
    config = BpsConfig(str(ROOT / "bps" / camera / f"{site}.yaml"))
    assert Path(os.path.expandvars(config["pipelineYaml"])).is_file()
    assert config["wmsServiceClass"] == SITES[site]
    assert config["computeSite"] in config["site"]
    assert config["clusterAlgorithm"].endswith("dimension_clustering")
    assert int(config["requestMemory"]) == 4096
    assert int(config["memoryMultiplier"]) == 2
    assert str(config["payload"]["inCollection"]).endswith("/defaults")
    if site.startswith("parsl"):
        assert config["site"][config["computeSite"]]["class"].startswith("lsst.ctrl.bps.parsl.sites.")


@pytest.mark.parametrize("path", PIPELINES)
def test_all_steps_of_a_detector_are_one_job(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    stack_standins.install(monkeypatch)
    config = BpsConfig(str(ROOT / "bps" / "clustering.yaml"))
    clustered = set(config["cluster"]["detector"]["pipetasks"].replace(" ", "").split(","))
    graph = Pipeline.from_uri(f"{ROOT}/pipelines/{path}").to_graph()
    of_a_detector = {label for label, task in graph.tasks.items() if "detector" in task.raw_dimensions}
    assert of_a_detector == clustered & set(graph.tasks)


@pytest.mark.slow
def test_submission_gives_what_pipetask_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEAS_COSMICRAYS_DIR", str(ROOT))
    result = CliRunner().invoke(bps_demo_command, [str(tmp_path), *SIZE])
    assert result.exit_code == 0, result.output
    assert "Against truth" in result.output
    pipetask = Path(sys.executable).with_name("pipetask")
    command = [
        str(pipetask),
        "run",
        "-b",
        "repo",
        "-i",
        INPUT,
        "-o",
        "u/pipetask",
        "--register-dataset-types",
    ]
    subprocess.run([*command, "-p", f"{ROOT}/pipelines/Simulation.yaml"], cwd=tmp_path, check=True)
    with Butler.from_config(str(tmp_path / "repo")) as butler:
        n_tables = 0
        for dataset_type in butler.registry.queryDatasetTypes("cr_*"):
            refs = {
                collection: {
                    ref.dataId: ref
                    for ref in butler.query_datasets(dataset_type, collection, explain=False)
                    if ref.run.startswith("u/")
                }
                for collection in (OUTPUT, "u/pipetask")
            }
            assert refs[OUTPUT].keys() == refs["u/pipetask"].keys(), dataset_type.name
            if dataset_type.storageClass_name != "ArrowAstropy":
                continue
            for data_id, ref in refs[OUTPUT].items():
                one, other = butler.get(ref), butler.get(refs["u/pipetask"][data_id])
                assert one.colnames == other.colnames
                for name in one.colnames:
                    # The frontier is that of quality against run time.
                    if "wall_time" not in name and name != "frontier":
                        np.testing.assert_array_equal(one[name], other[name], f"{dataset_type.name} {name}")
                n_tables += 1
        assert n_tables > 20
