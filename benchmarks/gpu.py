# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cosmic-CoNN on a GPU: whether it gives what a CPU gives, and how fast.

Needs the onnxruntime package for the device (``onnxruntime-gpu`` for CUDA);
the original is timed on the same device where torch and ``cosmic_conn`` are
installed.  Run as::

    python benchmarks/gpu.py --provider cuda
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from images import star_field

from lsst.meas.cosmicrays.engines.cosmic_conn import load_model
from lsst.meas.cosmicrays.engines.cosmic_conn.reference import load_reference_model
from lsst.meas.cosmicrays.engines.cosmic_conn.weights import PUBLISHED_MODELS

THRESHOLD = 0.5
TILINGS = ("overlap", "original")


def timed(run: Callable[[], np.ndarray], rounds: int) -> tuple[np.ndarray, float, float]:
    """Return a result, and the seconds of the first and of the median call."""
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - start)
    return result, seconds[0], statistics.median(seconds[1:])


def report(label: str, probability: np.ndarray, expected: np.ndarray, first: float, later: float) -> bool:
    """Print how a result compares; tell if it differs where it matters."""
    difference = np.abs(probability - expected)
    masks_differ = (probability > THRESHOLD) != (expected > THRESHOLD)
    doubtful = np.abs(expected - THRESHOLD) < 1e-3
    n_wrong = int(np.count_nonzero(masks_differ & ~doubtful))
    print(
        f"{label:42s} first {first:7.3f} s, then {later:7.3f} s; largest difference {difference.max():.1e}, "
        f"{np.count_nonzero(expected > THRESHOLD)} CR pixels, {np.count_nonzero(masks_differ)} otherwise "
        f"({n_wrong} of them not within 1e-3 of the threshold)",
        flush=True,
    )
    return n_wrong > 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, and tell by the exit code whether masks differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--provider", default="cuda", help="execution provider of onnxruntime")
    parser.add_argument("--size", default="2048x4176", help="columns and rows of the image")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=list(PUBLISHED_MODELS))
    options = parser.parse_args(arguments)
    nx, ny = map(int, options.size.split("x"))
    image = star_field((ny, nx))["image"]
    wrong = False
    for name in options.models:
        for tiling in TILINGS:
            on_cpu, on_device = load_model(name), load_model(name, provider=options.provider)
            expected, first, later = timed(lambda model=on_cpu: model.predict(image, tiling=tiling), 1)
            report(f"{name}, {tiling}, cpu", expected, expected, first, later)
            found = timed(lambda model=on_device: model.predict(image, tiling=tiling), options.rounds)
            wrong |= report(f"{name}, {tiling}, {options.provider}", found[0], expected, *found[1:])
        try:
            original = load_reference_model(name, device=options.provider)
        except (ImportError, RuntimeError) as error:
            print(f"The original was not timed: {error}")
            continue
        found = timed(lambda model=original: model.predict(image), options.rounds)
        wrong |= report(f"{name}, the package, {options.provider}", found[0], expected, *found[1:])
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
