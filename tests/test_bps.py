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

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import stack_standins
from click.testing import CliRunner
from hardening import PIPELINE, assert_same, call, refs_of, results, run_words, simulate_words, stray_files

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


@pytest.mark.slow
def test_submission_that_was_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ``bps restart`` nothing is lost, and nothing is there twice."""
    monkeypatch.setenv("MEAS_COSMICRAYS_DIR", str(ROOT))
    monkeypatch.setenv("BPS_WMS_SERVICE_CLASS", SITES["parsl_local"])
    # Jobs find pipetask and butler by name.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    # Where the submission and its logs are put.
    monkeypatch.setenv("PWD", str(tmp_path))
    log, repo, run = tmp_path / "log", tmp_path / "repo", "u/killed/1"
    call(log, *simulate_words(repo, "--detectors", 2))
    call(log, *run_words(repo, "u/whole", "--output-run", "u/whole/1"))
    (tmp_path / "submit.yaml").write_text(
        f"pipelineYaml: {PIPELINE}\nincludeConfigs:\n"
        "  - ${MEAS_COSMICRAYS_DIR}/bps/common.yaml\n"
        "  - ${MEAS_COSMICRAYS_DIR}/bps/sites/parsl_local.yaml\n"
    )
    words = ["bps", "submit", "submit.yaml", "-b", str(repo), "-i", INPUT, "-o", "u/killed", "--output-run"]
    submission = subprocess.Popen([*words, run], cwd=tmp_path)
    while not any((repo / run).glob("cr_mask_morphological_science/**/*.fits")):
        assert submission.poll() is None, "it ended before a mask was there"
        time.sleep(0.1)
    for process in [psutil.Process(submission.pid), *psutil.Process(submission.pid).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    submission.wait()
    with Butler.from_config(str(repo)) as butler:
        assert run not in butler.collections.query("*")
    subprocess.run(["bps", "restart", "--id", f"submit/{run}"], cwd=tmp_path, check=True)
    assert_same(results(repo, run), results(repo, "u/whole"))
    found, expected = (
        sorted((ref.datasetType.name, str(ref.dataId)) for ref in refs_of(repo, collection))
        for collection in (run, "u/whole")
    )
    assert found == expected
    assert stray_files(repo) == []
