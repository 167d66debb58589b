# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository whose registry is a PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hardening import CONTINUE, assert_same, call, results, run_words, simulate_words

from lsst.daf.butler import Butler

pytestmark = pytest.mark.slow


def server_programs() -> Path:
    """Return the folder of the server's programs, which is not on the PATH."""
    found = shutil.which("pg_ctl")
    candidates = [Path(found).resolve().parent] if found else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    for folder in candidates:
        if all((folder / program).exists() for program in ("initdb", "pg_ctl", "psql")):
            return folder
    pytest.skip("PostgreSQL (initdb, pg_ctl, psql) is not installed: apt-get install postgresql")


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """Start a server in a folder of its own, and return its address."""
    pytest.importorskip("psycopg2", reason="install the extra 'postgres'")
    programs = server_programs()
    # The server refuses to run as root.
    prefix, owner = [], None
    if os.geteuid() == 0:
        owner = "postgres" if _user_exists("postgres") else "nobody"
        prefix = ["runuser", "-u", owner, "--"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        if owner is not None:
            shutil.chown(folder, owner)

        def run(program: str, *words: str) -> None:
            command = [*prefix, str(programs / program), *words]
            subprocess.run(
                command,
                check=True,
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                timeout=120,
            )

        data = f"{folder}/data"
        run("initdb", "-D", data, "-U", "butler", "--auth=trust", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off"
        run("pg_ctl", "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start")
        try:
            address = ["-h", "127.0.0.1", "-p", str(port), "-U", "butler", "-q"]
            run("psql", *address, "-d", "postgres", "-c", "CREATE DATABASE cosmicrays")
            run("psql", *address, "-d", "cosmicrays", "-c", "CREATE EXTENSION btree_gist")
            yield f"postgresql+psycopg2://butler@127.0.0.1:{port}/cosmicrays"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "stop")


def _user_exists(name: str) -> bool:
    return subprocess.run(["id", name], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def repo(database: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a repository as its administrator does, and simulate into it."""
    folder = tmp_path_factory.mktemp("postgres")
    seed = folder / "seed.yaml"
    seed.write_text(f"registry:\n  db: {database}\n  namespace: cosmicrays\n")
    call(folder / "log", "butler", "create", folder / "repo", "--seed-config", seed)
    call(folder / "log", *simulate_words(folder / "repo", "--detectors", 2))
    call(folder / "log", *run_words(folder / "repo", "u/run"))
    assert not (folder / "repo" / "gen3.sqlite3").exists()
    return folder / "repo"


def test_same_results_as_with_sqlite(repo: Path, tmp_path: Path) -> None:
    log, other = tmp_path / "log", tmp_path / "repo"
    call(log, *simulate_words(other, "--detectors", 2))
    call(log, *run_words(other, "u/run"))
    assert_same(results(repo, "u/run"), results(other, "u/run"))
    printed = call(log, "cosmicrays", "tables", repo, "u/run", "--visit", 1)
    assert "Against truth" in printed


def test_simulating_again_makes_nothing(repo: Path, tmp_path: Path) -> None:
    printed = call(tmp_path / "log", *simulate_words(repo, "--detectors", 2))
    assert "0 detectors made, 2 reused" in printed


def test_prune_and_continue(repo: Path, tmp_path: Path) -> None:
    log, before = tmp_path / "log", results(repo, "u/run")
    with Butler.from_config(str(repo), collections="u/run") as butler:
        (run,) = butler.collections.query("u/run/*")
    prune = ["butler", "prune-datasets", repo, run, "--purge", run, "--no-confirm"]
    for name in ("cr_mask_morphological_science", "findCosmicRaysScience_metadata"):
        call(log, *prune, "--datasets", name)
    printed = call(log, *run_words(repo, "u/run", *CONTINUE))
    assert "0 failed" in printed
    assert_same(results(repo, "u/run"), before)


def test_results_go_to_sqlite(repo: Path, tmp_path: Path) -> None:
    log, other = tmp_path / "log", tmp_path / "other"
    call(log, "butler", "create", other)
    transfer = ["butler", "transfer-datasets", repo, other, "--register-dataset-types"]
    with Butler.from_config(str(repo)) as butler:
        (run,) = butler.collections.query("u/run/*")
    call(log, *transfer, "--collections", run, "--transfer", "copy", "-d", "cr_*,difference_image,dia_*")
    assert_same(results(other, run), results(repo, "u/run"))
