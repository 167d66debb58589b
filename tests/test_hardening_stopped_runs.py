# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that are killed, interrupted, or meet another in one repository."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hardening import (
    CONTINUE,
    Call,
    assert_same,
    call,
    mounted,
    refs_of,
    results,
    run_words,
    simulate_words,
    stray_files,
)
from ingest_files import make_scene, write_image

from lsst.daf.butler import Butler

N_MOMENTS = 10


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with a simulated visit."""
    folder = tmp_path_factory.mktemp("simulated")
    call(folder / "log", *simulate_words(folder / "repo", "--detectors", 2))
    return folder / "repo"


@pytest.fixture
def repo(simulated: Path, tmp_path: Path) -> Path:
    """Return a repository of its own for a test."""
    return Path(shutil.copytree(simulated, tmp_path / "repo"))


@pytest.fixture(scope="module")
def undisturbed(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, int]:
    """Return the results of a run that was let alone, and its lines."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(simulated, folder / "repo")
    printed = call(folder / "log", *run_words(folder / "repo", "u/run"))
    return results(folder / "repo", "u/run"), printed.count("\n")


def assert_one_whole_run(repo: Path) -> None:
    """Check that nothing is doubled, and that only remainders are stray."""
    refs = refs_of(repo, "u/run")
    assert len({ref.run for ref in refs}) == 1
    assert len({(ref.datasetType.name, ref.dataId) for ref in refs}) == len(refs)
    assert [path for path in stray_files(repo) if ".tmp." not in path.name] == []


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(N_MOMENTS))
def test_killed_and_continued(repo: Path, tmp_path: Path, undisturbed: tuple[dict, int], moment: int) -> None:
    """Moments are lines of the log, and some time after one."""
    expected, n_lines = undisturbed
    rng = np.random.default_rng([2024, moment])
    run = Call(tmp_path / "killed", *run_words(repo, "u/run"))
    run.wait_for_lines(int(rng.integers(1, n_lines - 8)))
    time.sleep(rng.uniform(0.0, 0.1))
    assert run.stop(signal.SIGKILL) == -signal.SIGKILL
    left = results(repo, "u/run") if _has_run(repo) else {}
    assert left.keys() <= expected.keys()

    how = CONTINUE if _has_run(repo) else ()
    call(tmp_path / "continued", *run_words(repo, "u/run", *how))
    assert_same(results(repo, "u/run"), expected)
    assert_one_whole_run(repo)


@pytest.mark.slow
def test_interrupted_and_continued(repo: Path, tmp_path: Path, undisturbed: tuple[dict, int]) -> None:
    expected, n_lines = undisturbed
    run = Call(tmp_path / "interrupted", *run_words(repo, "u/run"))
    run.wait_for_lines(2 * n_lines // 3)
    assert run.stop(signal.SIGINT) != 0
    assert 0 < len(results(repo, "u/run")) < len(expected)
    call(tmp_path / "continued", *run_words(repo, "u/run", *CONTINUE))
    assert_same(results(repo, "u/run"), expected)
    assert_one_whole_run(repo)
    assert stray_files(repo) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_simulation_stopped_and_continued(simulated: Path, tmp_path: Path, number: signal.Signals) -> None:
    repo = tmp_path / "repo"
    words = simulate_words(repo, "--detectors", 2)
    run = Call(tmp_path / "stopped", *words)
    run.wait_for_lines(2)
    assert run.stop(number) != 0
    assert "Traceback" not in run.output
    assert "1 detectors made, 1 reused" in call(tmp_path / "continued", *words)
    with (
        Butler.from_config(str(repo), collections="SimHSC/defaults") as one,
        Butler.from_config(str(simulated), collections="SimHSC/defaults") as other,
    ):
        for name in ("visit_image", "cr_truth_charge"):
            for ref in other.query_datasets(name):
                first, second = one.get(name, ref.dataId), other.get(ref)
                first, second = (getattr(image, "image", image) for image in (first, second))
                np.testing.assert_array_equal(first.array, second.array)


@pytest.mark.slow
def test_two_runs_at_once(repo: Path, tmp_path: Path, undisturbed: tuple[dict, int]) -> None:
    """Both register the dataset types, in a repository that has none."""
    outputs = ("u/one", "u/other")
    runs = [Call(tmp_path / f"log{n}", *run_words(repo, name)) for n, name in enumerate(outputs)]
    for run in runs:
        assert run.wait() == 0, run.output
    for output in outputs:
        assert_same(results(repo, output), undisturbed[0])
    assert stray_files(repo) == []


@pytest.mark.slow
def test_two_ingestions_at_once(tmp_path: Path) -> None:
    """Both find that there is no repository yet, and one makes it."""
    repo, files = tmp_path / "repo", []
    for number in range(1, 7):
        files.append(write_image(tmp_path / f"a_{number}.fits", make_scene(n_stars=4, shape=(150, 160))[0]))
    words = ("--instrument", "MyCam")
    calls = [Call(tmp_path / f"log{n}", "cosmicrays", "ingest", repo, *files[n::2], *words) for n in range(2)]
    for ingestion in calls:
        assert ingestion.wait() == 0, ingestion.output
        assert "3 images ingested, 0 already there, 0 errors" in ingestion.output
    with Butler.from_config(str(repo), collections="MyCam/defaults") as butler:
        refs = butler.query_datasets("visit_image")
        assert sorted(ref.dataId["visit"] for ref in refs) == [1, 2, 3, 4, 5, 6]
        for ref in refs:
            butler.get(ref)
    assert stray_files(repo) == []
    assert {path.name for path in repo.iterdir() if path.is_file()} == {"butler.yaml", "gen3.sqlite3"}


@pytest.mark.slow
def test_read_only_repository(simulated: Path, tmp_path: Path) -> None:
    """Mounted read-only, which stops root as well."""
    log = tmp_path / "log"
    with mounted(tmp_path / "frozen", "--bind", "-o", "ro", str(simulated)) as repo:
        printed = call(log, *simulate_words(repo, "--detectors", 3), status=1)
        assert f"Error: {repo} cannot be written: " in printed
        assert "Traceback" not in printed
        printed = call(log, *run_words(repo, "u/run"), status=1)
        assert "readonly database" in printed
        assert "visit_image" in call(log, "butler", "query-datasets", repo, "visit_image")
    assert stray_files(simulated) == []


def _has_run(repo: Path) -> bool:
    # A kill in the middle of a transaction leaves a journal, which SQLite can
    # roll back only for a client that may write.
    with Butler.from_config(str(repo), writeable=True) as butler:
        return bool(butler.collections.query("u/run/*"))
