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
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import parsl.providers
import psutil
import pytest
import stack_standins
from click.testing import CliRunner
from hardening import PIPELINE, assert_same, call, refs_of, results, run_words, simulate_words, stray_files

from lsst.ctrl.bps import BpsConfig
from lsst.ctrl.bps.parsl.site import SiteConfig
from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.cli.bps_demo import INPUT, OUTPUT, bps_demo_command
from lsst.pipe.base import Pipeline

if sys.platform == "linux":
    # HTCondor has its Python bindings on PyPI for Linux alone.
    import classad2

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
PATIENCE = 1800.0
"""Seconds that a submission may take on a busy machine."""
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


def executor_settings(monkeypatch: pytest.MonkeyPatch, kind: str) -> dict[str, Any]:
    """Return what Parsl's executor is told; one that is made opens sockets."""
    monkeypatch.setenv("MEAS_COSMICRAYS_DIR", str(ROOT))
    config = BpsConfig(str(ROOT / "bps" / "HSC" / f"parsl_{kind}.yaml"))
    config["operator"] = "me"
    assert int(config["site"][kind]["retries"]) == 1
    monkeypatch.setattr(f"lsst.ctrl.bps.parsl.sites.{kind}.HighThroughputExecutor", lambda *_, **told: told)
    (told,) = SiteConfig.from_config(config).get_executors()
    return told


def test_parsl_runs_two_workers_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert executor_settings(monkeypatch, "local")["max_workers_per_node"] == 2


def test_parsl_asks_slurm_for_what_the_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = executor_settings(monkeypatch, "slurm")["provider"]
    assert isinstance(provider, parsl.providers.SlurmProvider)
    assert (provider.nodes_per_block, provider.cores_per_node, provider.mem_per_node) == (1, 24, 96)
    assert provider.walltime == "08:00:00"
    assert "--job-name=cosmicrays.compare-finders" in provider.scheduler_options


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
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("PWD", str(elsewhere))
    result = CliRunner().invoke(bps_demo_command, ["../demo", *SIZE])
    assert result.exit_code == 0, result.output
    assert "Against truth" in result.output
    # Nothing is left where the command was given, and the logs are where it
    # says.
    assert list(elsewhere.iterdir()) == []
    (logs,) = re.findall("logs of its jobs: (.*)", result.output)
    assert list(Path(elsewhere, logs).glob("**/*.qg*"))
    monkeypatch.chdir(tmp_path / "demo")
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
    subprocess.run([*command, "-p", f"{ROOT}/pipelines/Simulation.yaml"], check=True)
    with Butler.from_config("repo") as butler:
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


@pytest.fixture
def small_repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with a visit, its results, and a submit file."""
    monkeypatch.setenv("MEAS_COSMICRAYS_DIR", str(ROOT))
    monkeypatch.setenv("BPS_WMS_SERVICE_CLASS", SITES["parsl_local"])
    # Jobs find pipetask and butler by name.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    # Where the submission and its logs are put.
    monkeypatch.setenv("PWD", str(tmp_path))
    log, repo = tmp_path / "log", tmp_path / "repo"
    call(log, *simulate_words(repo, "--detectors", 2))
    call(log, *run_words(repo, "u/whole", "--output-run", "u/whole/1"))
    (tmp_path / "submit.yaml").write_text(
        f"pipelineYaml: {PIPELINE}\nincludeConfigs:\n"
        "  - ${MEAS_COSMICRAYS_DIR}/bps/common.yaml\n"
        "  - ${MEAS_COSMICRAYS_DIR}/bps/sites/parsl_local.yaml\n"
    )
    return repo


def submit(repo: Path, run: str, *options: str) -> subprocess.Popen:
    words = ["bps", "submit", "submit.yaml", "-b", str(repo), "-i", INPUT, "-o", run.rpartition("/")[0]]
    return subprocess.Popen([*words, "--output-run", run, *options], cwd=repo.parent)


def wait_for_a_mask(repo: Path, run: str, submission: subprocess.Popen) -> None:
    while not finished((repo / run).glob("cr_mask_morphological_science/**/*.fits")):
        assert submission.poll() is None, "it ended before a mask was there"
        time.sleep(0.1)


def each(processes: Iterable[psutil.Process], what: str) -> None:
    """Suspend, resume or kill processes; some may have ended."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            getattr(process, what)()


def processes_in(folder: Path) -> list[psutil.Process]:
    """Find what works in a folder; Parsl's workers are nobody's children."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found


def worker_of(job: psutil.Process) -> psutil.Process:
    """Return the worker that does a job: what the pool of workers started."""
    above = job.parents()
    words = [process.cmdline() for process in above]
    pools = [n for n, (program, *rest) in enumerate(words) if "process_worker_pool" in " ".join(rest[:1])]
    return above[pools[-1] - 1]


def finished(files: Iterable[Path]) -> list[Path]:
    """Leave out what a process was writing when it was killed."""
    return [path for path in files if not path.name.endswith(".tmp.fits")]


def names_and_places(repo: Path, collection: str) -> list[tuple[str, str]]:
    return sorted((ref.datasetType.name, str(ref.dataId)) for ref in refs_of(repo, collection))


def kill_at_a_good_moment(repo: Path, run: str, find: Callable[[], list[psutil.Process]]) -> None:
    """Kill processes, but not between the metadata of a quantum and its log.

    Metadata are written first, and mark it as done: its log would never be
    made.
    """
    while True:
        processes = find()
        each(processes, "suspend")
        written = [len(finished((repo / run).glob(f"*_{kind}/**/*.json"))) for kind in ("metadata", "log")]
        if written[0] == written[1]:
            break
        each(processes, "resume")
        time.sleep(0.1)
    each(processes, "kill")


def assert_nothing_lost(repo: Path, run: str) -> None:
    """Check that a run has what the one has that nothing was killed in."""
    assert_same(results(repo, run), results(repo, "u/whole"))
    assert names_and_places(repo, run) == names_and_places(repo, "u/whole")
    assert finished(stray_files(repo)) == []


@pytest.mark.slow
def test_submission_that_was_killed_goes_on(small_repo: Path) -> None:
    """After ``bps restart`` nothing is lost, and nothing is there twice."""
    run = "u/killed/1"
    submission = submit(small_repo, run)
    wait_for_a_mask(small_repo, run, submission)
    workers = processes_in(small_repo.parent)
    assert any("process_worker_pool" in " ".join(process.cmdline()) for process in workers)
    kill_at_a_good_moment(small_repo, run, lambda: processes_in(small_repo.parent))
    submission.wait()
    with Butler.from_config(str(small_repo)) as butler:
        assert run not in butler.collections.query("*")
    subprocess.run(["bps", "restart", "--id", f"submit/{run}"], cwd=small_repo.parent, check=True)
    assert_nothing_lost(small_repo, run)


@pytest.mark.slow
def test_one_worker_is_killed(small_repo: Path) -> None:
    """Its job is tried again, and the submission ends as if nothing was."""
    run = "u/lost/1"
    submission = submit(small_repo, run)
    wait_for_a_mask(small_repo, run, submission)
    jobs = [process for process in processes_in(small_repo.parent) if "run-qbb" in process.cmdline()]
    worker = worker_of(jobs[0])
    kill_at_a_good_moment(small_repo, run, lambda: [worker, *worker.children(recursive=True)])
    assert submission.wait(PATIENCE) == 0
    (log,) = small_repo.parent.glob("runinfo/**/manager.log")
    assert "was busy when it died" in log.read_text()
    assert_nothing_lost(small_repo, run)


@pytest.mark.slow
def test_submitting_again_does_what_failed(small_repo: Path, tmp_path: Path) -> None:
    """One detector could not be read when the first submission ran."""
    with Butler.from_config(str(small_repo)) as butler:
        place = {"instrument": "SimHSC", "visit": 1, "detector": 1}
        ref = butler.find_dataset("visit_image", place, collections=INPUT)
        assert ref is not None
        path = Path(butler.getURI(ref).ospath)
    path.rename(tmp_path / "hidden")
    submit(small_repo, "u/twice/1").wait(PATIENCE)
    first = names_and_places(small_repo, "u/twice/1")
    assert [name for name, where in first if "detector: 0" in where and name == "cr_pixel_counts"]
    assert not [name for name, where in first if "detector: 1" in where and name == "cr_pixel_counts"]
    (tmp_path / "hidden").rename(path)

    # The words of doc/lsst.meas.cosmicrays/batch.rst.
    again = ("--extra-qgraph-options", "--skip-existing-in u/twice")
    assert submit(small_repo, "u/twice/2", *again).wait(PATIENCE) == 0
    second = names_and_places(small_repo, "u/twice/2")
    assert not [name for name, where in second if "detector: 0" in where]
    assert_same(results(small_repo, "u/twice"), results(small_repo, "u/whole"))
    assert finished(stray_files(small_repo)) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="HTCondor has wheels for Linux alone")
def test_jobs_ask_for_more_memory_when_it_was_too_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The expressions that HTCondor gets, evaluated as HTCondor does."""
    monkeypatch.setenv("MEAS_COSMICRAYS_DIR", str(ROOT))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setenv("PWD", str(tmp_path))
    repo = tmp_path / "repo"
    call(tmp_path / "log", *simulate_words(repo, "--detectors", 1))
    words = ["bps", "prepare", f"{ROOT}/bps/Simulation/htcondor.yaml", "-b", str(repo), "-o", "u/condor"]
    subprocess.run([*words, "--output-run", "u/condor/1"], cwd=tmp_path, check=True)
    first = {}
    for path in (tmp_path / "submit").glob("**/*.sub"):
        commands = dict(
            line.split("=", 1) for line in path.read_text().splitlines() if re.match("[a-z_]+=", line)
        )
        (label,) = re.findall(r'bps_job_label = "(\w+)"', path.read_text())
        assert commands["request_cpus"] == "1"
        attributes = dict(re.findall(r"^\+(\w+) = (.*)$", path.read_text(), re.M))
        assert attributes["Walltime"] == "28800"
        assert (attributes["bps_project"], attributes["bps_campaign"]) == (
            '"cosmicrays"',
            '"compare-finders"',
        )
        assert attributes["bps_payload"] == '"cosmicrays"'
        memory = [evaluate(commands["request_memory"], killed(n)) for n in range(5)]
        first[label] = memory[0]
        assert memory == [min(memory[0] * 2**n, 32768) for n in range(5)], label
        assert memory[1] > memory[0]
        # Not after another failure, or one by hand.
        assert evaluate(commands["request_memory"], {"NumJobStarts": 2, "LastJobStatus": 2}) == memory[0]
        # A job that a signal ended is held as one that lacked memory is ...
        assert evaluate(commands["on_exit_hold"], {"ExitBySignal": True, "ExitSignal": 9}) is True
        assert evaluate(commands["on_exit_hold"], {"ExitBySignal": False, "ExitCode": 1}) is False
        assert commands["on_exit_hold_subcode"] == "34"
        # ... and released or removed, until it had all that it may have.
        tries = int(commands["max_retries"])
        assert tries == 3
        for start in range(1, tries + 2):
            state = held(start, tries)
            goes_on = start <= tries and memory[start - 1] < 32768
            assert evaluate(commands["periodic_release"], state) is goes_on, (label, start)
            assert evaluate(commands["periodic_remove"], state) is not goes_on, (label, start)
    assert first == {
        "pipetaskInit": 4096,
        "detector": 4096,
        "gatherVisitComparison": 2048,
        "gatherInstrumentComparison": 8192,
        "plotComparison": 4096,
        "rankConsensus": 4096,
        "finalJob": 4096,
    }


def killed(starts: int) -> dict[str, int]:
    """Return the state of a job that was killed so often for its memory."""
    state = {"NumJobStarts": starts}
    if starts:
        state |= {"LastJobStatus": 5, "LastHoldReasonCode": 3, "LastHoldReasonSubCode": 34}
    return state


def held(starts: int, tries: int) -> dict[str, int]:
    """Return the state of a job that is held since its memory was spent."""
    return {
        "JobStatus": 5,
        "NumJobStarts": starts,
        "JobMaxRetries": tries,
        "HoldReasonCode": 3,
        "HoldReasonSubCode": 34,
    }


def evaluate(expression: str, state: dict[str, int]) -> object:
    return classad2.ExprTree(expression).eval(classad2.ClassAd(state))


def test_parsl_tries_again_with_the_same_memory() -> None:
    """What the documentation says: nothing in it reads the multiplier."""
    spec = importlib.util.find_spec("lsst.ctrl.bps.parsl")
    assert spec is not None
    sources = [
        path for place in spec.submodule_search_locations or () for path in Path(place).glob("**/*.py")
    ]
    assert len(sources) > 10
    assert not [path for path in sources if re.search("memory_?multiplier", path.read_text(), re.I)]
