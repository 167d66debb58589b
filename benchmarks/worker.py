# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one program of one case, as often as it is told to.

Started by ``measure.py`` with the names of case and program, the folder of the
inputs and a number of threads.  Reads commands from standard input and writes
a line of JSON for each.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from registry import case_named


def main() -> None:
    """Prepare a program, then answer commands until standard input ends."""
    case_name, program_name, folder, threads = sys.argv[1:]
    # Programs may print; their words must not get among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    program = next(p for p in case_named(case_name).programs if p.name == program_name)
    inputs = {path.stem: np.load(path) for path in Path(folder).glob("*.npy")}
    start = time.perf_counter()
    try:
        run = program.prepare(inputs, int(threads))
        answer = run()
    except Exception as error:
        print(json.dumps({"left_out": f"{type(error).__name__}: {error}"}), file=answers, flush=True)
        return
    first = time.perf_counter() - start
    print(json.dumps({"first": first, "version": version(program.package)}), file=answers, flush=True)
    for line in sys.stdin:
        if line.strip() == "time":
            start = time.perf_counter()
            answer = run()
            reply = {"seconds": time.perf_counter() - start}
        elif line.strip() == "memory":
            del answer
            reply, answer = _peak_memory(run)
        else:
            arrays = answer if isinstance(answer, tuple) else (answer,)
            np.savez(line.strip(), *[np.asarray(array) for array in arrays])
            reply = {}
        print(json.dumps(reply), file=answers, flush=True)


def _peak_memory(run) -> tuple[dict[str, int | None], object]:
    """Bytes that a call needs at its peak, its answer included.

    Counted from what the process holds before it, inputs among this.
    """
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _status_bytes("VmRSS")
    except (OSError, AttributeError):
        return {"bytes": None}, run()
    answer = run()
    return {"bytes": _status_bytes("VmHWM") - before}, answer


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status")


if __name__ == "__main__":
    main()
