# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the programs of a case side by side, each in its own process."""

from __future__ import annotations

__all__ = ["Plan", "measure", "measure_first_call"]

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from registry import OURS, Case, MissingDataError, Program

THREAD_VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
FEWEST_ROUNDS = 3


@dataclass(frozen=True)
class Plan:
    """How to measure."""

    shape: tuple[int, int]
    """Shape of made-up images."""

    rounds: int
    """How often each program runs, in turn with the others."""

    seconds: float
    """Time after which a case of slow programs gets no further rounds, once
    there are three."""

    compiled: Path
    """Folder for compiled code, so that no other version's is used."""


class Worker:
    """A program in a process of its own."""

    def __init__(self, case: Case, program: Program, inputs: Path, threads: int, compiled: Path) -> None:
        self.program = program
        self.seconds: list[float] = []
        self.peak_bytes: int | None = None
        self.answer: list[np.ndarray] = []
        environment = os.environ | {name: str(threads) for name in THREAD_VARIABLES}
        environment["NUMBA_CACHE_DIR"] = str(compiled)
        worker = Path(__file__).with_name("worker.py")
        command = [sys.executable, str(worker), case.name, program.name, str(inputs), str(threads)]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        start = self._reply()
        self.left_out: str | None = start.get("left_out")
        self.first: float | None = start.get("first")
        self.version: str | None = start.get("version")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.communicate()

    def ask(self, command: str) -> dict[str, Any]:
        """Send a command and wait for the reply."""
        print(command, file=self._process.stdin, flush=True)
        return self._reply()

    def finish(self, answer: Path) -> None:
        """Measure memory, and fetch the answer by way of a file."""
        self.peak_bytes = self.ask("memory")["bytes"]
        self.ask(str(answer))
        with np.load(answer) as arrays:
            self.answer = [arrays[name] for name in arrays.files]

    def row(self) -> dict[str, Any]:
        """Return what was measured."""
        if self.left_out is not None:
            return {"name": self.program.name, "left_out": self.left_out}
        return {
            "name": self.program.name,
            "ours": self.program.package == OURS,
            "version": self.version,
            "seconds": self.seconds,
            "median": statistics.median(self.seconds),
            "peak_bytes": self.peak_bytes,
        }

    def _reply(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"left_out": "its process ended without a word"}


def measure(case: Case, plan: Plan, threads: int) -> dict[str, Any]:
    """Measure all programs of a case.

    Parameters
    ----------
    case : `Case`
        Programs and their inputs.
    plan : `Plan`
        How to measure.
    threads : `int`
        Threads that every program may use.

    Returns
    -------
    result : `dict`
        What JSON can hold: ``name``, ``title``, ``remark``, ``threads``;
        ``left_out`` if there is no input; else ``shape`` and ``programs``, a
        list of `dict` with ``name``, ``ours``, ``version``, and either
        ``left_out`` or ``seconds`` of all rounds, their ``median``,
        ``peak_bytes`` above the inputs, and, but for the original,
        ``speedup`` over it (median and extremes of the rounds) and
        ``agreement`` with it.
    """
    result: dict[str, Any] = {"name": case.name, "title": case.title, "remark": case.remark}
    result |= {"threads": threads, "programs": []}
    with tempfile.TemporaryDirectory() as name, ExitStack() as open_workers:
        folder = Path(name)
        try:
            result["shape"] = _save_inputs(case, plan.shape, folder)
        except MissingDataError as error:
            return result | {"left_out": str(error)}
        workers = [
            open_workers.enter_context(Worker(case, program, folder, threads, plan.compiled))
            for program in case.programs
        ]
        running = [worker for worker in workers if worker.left_out is None]
        _take_turns(running, plan)
        for worker in running:
            worker.finish(folder / f"{worker.program.name}.npz")
        original = workers[-1]
        for worker in workers:
            row = worker.row()
            if original in running and worker in running and worker is not original:
                row["speedup"] = _speedup(worker.seconds, original.seconds)
                row["agreement"] = _agreement(worker.answer, original.answer)
            result["programs"].append(row)
    return result


def measure_first_call(case: Case, plan: Plan) -> dict[str, Any]:
    """Measure what the first call in a process costs.

    Parameters
    ----------
    case : `Case`
        Case whose first program is measured, on one thread.
    plan : `Plan`
        How to measure.

    Returns
    -------
    result : `dict`
        ``name`` of the case; ``compiling`` and ``compiled``: seconds for
        import and first call, where nothing is compiled yet and where it is;
        or ``left_out``.
    """
    result: dict[str, Any] = {"name": case.name}
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as compiled:
        try:
            _save_inputs(case, plan.shape, Path(name))
        except MissingDataError as error:
            return result | {"left_out": str(error)}
        for label in ("compiling", "compiled"):
            with Worker(case, case.programs[0], Path(name), 1, Path(compiled)) as worker:
                if worker.left_out is not None:
                    return result | {"left_out": worker.left_out}
                result[label] = worker.first
    return result


def _save_inputs(case: Case, shape: tuple[int, int], folder: Path) -> list[int]:
    """Write the inputs where workers read them; returns the image's shape."""
    inputs = case.make_inputs(shape)
    for name, array in inputs.items():
        np.save(folder / f"{name}.npy", array)
    return list(next(iter(inputs.values())).shape)


def _take_turns(workers: list[Worker], plan: Plan) -> None:
    """Let workers run in turn, so that all see the same machine."""
    start = time.perf_counter()
    for done in range(plan.rounds):
        if done >= FEWEST_ROUNDS and time.perf_counter() - start > plan.seconds:
            break
        for worker in workers:
            worker.seconds.append(worker.ask("time")["seconds"])


def _speedup(seconds: list[float], original: list[float]) -> list[float]:
    """Median, least and greatest of the ratios of the rounds."""
    ratios = [slow / fast for fast, slow in zip(seconds, original)]
    return [statistics.median(ratios), min(ratios), max(ratios)]


def _agreement(answer: list[np.ndarray], original: list[np.ndarray]) -> str:
    """Say in words how far two answers differ."""
    if [array.shape for array in answer] != [array.shape for array in original]:
        return "answers of different shapes"
    n_different = 0
    largest = 0.0
    for one, other in zip(answer, original):
        same = (one == other) | ((one != one) & (other != other))
        n_different += int((~same).sum())
        if not same.all():
            largest = max(largest, float(np.abs(one[~same].astype(float) - other[~same].astype(float)).max()))
    if n_different == 0:
        return "identical"
    return f"{n_different} values differ, by up to {largest:.3g}"
