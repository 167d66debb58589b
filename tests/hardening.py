# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands in processes of their own, which tests can stop or starve.

The processes are forked from one that has imported everything, so that each
costs little.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from astropy.table import Table

from lsst.daf.butler import Butler, DatasetRef
from lsst.images import Image, Mask, MaskedImage
from lsst.meas.cosmicrays.product import product_dir

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "lsst.ctrl.mpexec.cli.pipetask",
        "lsst.ctrl.mpexec.cli.cmd",
        "lsst.meas.cosmicrays.cli.ingest",
        "lsst.meas.cosmicrays.cli.main",
        "lsst.meas.cosmicrays.cli.simulate",
        "lsst.meas.cosmicrays.tasks",
    ]
)
PIPELINE = Path(__file__).with_name("small_pipeline.yaml")
CONTINUE = ("--extend-run", "--skip-existing", "--clobber-outputs")


class Call:
    """A command that runs, with what it prints in a file."""

    def __init__(self, log: Path, *words: object, largest_file: int | None = None) -> None:
        self.log = log
        self._process: BaseProcess = CONTEXT.Process(
            target=_run, args=([str(word) for word in words], str(log), largest_file)
        )
        log.write_text("")
        self._process.start()

    @property
    def output(self) -> str:
        """What was printed so far."""
        return self.log.read_text()

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    def wait(self, timeout: float = 300.0) -> int:
        """Wait for the end, and return the exit status."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"still running: {self.output}"
        return self._process.exitcode

    def stop(self, number: signal.Signals) -> int:
        """Send a signal to the process and its children, and wait."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid or 0, number)
        return self.wait()

    def wait_for_lines(self, number: int) -> None:
        """Wait until so many lines were printed."""
        while self.running and self.output.count("\n") < number:
            time.sleep(0.01)


def call(
    log: Path, *words: object, status: int = 0, largest_file: int | None = None, timeout: float = 300.0
) -> str:
    """Run a command to its end, and return what it printed."""
    process = Call(log, *words, largest_file=largest_file)
    assert process.wait(timeout) == status, process.output
    return process.output


def run_words(repo: Path, output: str, *options: object, pipeline: str | Path = PIPELINE) -> list[object]:
    """Return the words of a call of ``pipetask run``."""
    words = ["pipetask", "run", "-b", repo, "-i", "SimHSC/defaults", "-o", output, "-p", pipeline]
    return [*words, "--register-dataset-types", *options]


def simulate_words(repo: Path, *options: object, size: str = "200x180") -> list[object]:
    """Return the words of a call of ``cosmicrays simulate``, for tiny CCDs."""
    return ["cosmicrays", "simulate", repo, "--detector-size", size, "--seed", 3, *options]


def _run(words: list[str], log: str, largest_file: int | None) -> None:
    os.setsid()
    # Where the tests run in the background of a shell, it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ["MEAS_COSMICRAYS_DIR"] = str(product_dir())
    os.chdir(Path(log).parent)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    _command(words[0]).main(args=words[1:], prog_name=words[0])


def _command(program: str) -> click.Command:
    if program == "pipetask":
        from lsst.ctrl.mpexec.cli.pipetask import cli

        return cli
    if program == "butler":
        from lsst.daf.butler.cli.butler import cli

        return cli
    from lsst.meas.cosmicrays.cli.main import main

    return main


def results(repo: Path, collection: str) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Read every result of a collection, run times left out.

    This fails if anything that the Butler shows is not whole.
    """
    found = {}
    with Butler.from_config(str(repo)) as butler:
        for ref in butler.query_all_datasets(collection, find_first=True, limit=None):
            if ref.run.startswith("SimHSC/"):
                continue
            value = butler.get(ref)
            if ref.datasetType.storageClass_name in ("ArrowAstropy", "MaskV2", "DifferenceImage"):
                found[ref.datasetType.name, str(ref.dataId)] = _arrays(value)
    return found


def _arrays(value: Table | Mask | Image | MaskedImage) -> dict[str, np.ndarray]:
    if isinstance(value, Table):
        return {name: np.asarray(value[name]) for name in value.colnames if "wall_time" not in name}
    if isinstance(value, MaskedImage):
        return {
            "image": value.image.array,
            "mask": value.mask.array,
            "variance": value.variance.array,
        }
    return {"array": value.array}


def assert_same(one: dict[Any, dict[str, np.ndarray]], other: dict[Any, dict[str, np.ndarray]]) -> None:
    """Check that two runs left the same results."""
    assert one.keys() == other.keys()
    for key, arrays in one.items():
        assert arrays.keys() == other[key].keys(), key
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, other[key][name], f"{key} {name}")


def refs_of(repo: Path, collection: str) -> list[DatasetRef]:
    """Return what the Butler shows of the runs of a collection."""
    with Butler.from_config(str(repo)) as butler:
        runs = butler.collections.query(collection, flatten_chains=True)
        mine = [run for run in runs if not run.startswith("SimHSC/")]
        return butler.query_all_datasets(mine, find_first=False, limit=None)


def stray_files(repo: Path) -> list[Path]:
    """Find the files in a repository that the Butler does not know."""
    with Butler.from_config(str(repo)) as butler:
        runs = butler.collections.query("*", flatten_chains=True, collection_types=None)
        refs = butler.query_all_datasets(list(runs), find_first=False, limit=None)
        known = {
            Path(uri.ospath)
            for uris in butler._datastore.getManyURIs(refs).values()
            for uri in uris.iter_all()
        }
    files = {path for path in repo.rglob("*") if path.is_file() and path.parent != repo}
    return sorted(files - known)


class SmallDisk:
    """A file system of fixed size.

    Parameters
    ----------
    root
        Where it is mounted.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextlib.contextmanager
    def with_space(self, kilobytes: int) -> Iterator[None]:
        """Fill the disk but for so much; the space returns at the end."""
        status = os.statvfs(self.root)
        ballast = self.root / "ballast"
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - 1024 * kilobytes)
        try:
            yield
        finally:
            ballast.unlink()


@contextlib.contextmanager
def mounted(directory: Path, *words: str) -> Iterator[Path]:
    """Mount something on a directory; skip the test where that is denied."""
    if sys.platform != "linux":
        pytest.skip("mounts a file system, which needs Linux")
    directory.mkdir(exist_ok=True)
    result = subprocess.run(["mount", *words, str(directory)], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        pytest.skip(f"mounting a file system needs root: {result.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
