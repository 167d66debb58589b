# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time every engine beside its original, in one run.

Programs that answer the same question run in turn, each in a process of its
own, with the same inputs and number of threads.  What is not installed is left
out, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from measure import Plan, measure, measure_first_call
from present import circumstances, document, draw, table
from registry import all_cases

FIGURE = Path("../figures/benchmarks.png")
"""Where a page of the documentation has the figure beside its table."""


def main() -> None:
    """Measure the chosen cases, and print and write the results."""
    options = _options()
    if options.document is not None:
        document(json.loads((options.output / "benchmarks.json").read_text()), options.document)
        figure = options.document.parent / FIGURE
        if figure.is_file():
            shutil.copyfile(options.output / "benchmarks.png", figure)
        return
    chosen = [
        case
        for case in all_cases()
        if any(part == case.name if options.exact else part in case.name for part in options.cases or [""])
    ]
    if options.list:
        print("\n".join(f"{case.name:<36} {case.title}" for case in chosen))
        return
    if not chosen:
        sys.exit(f"No case has {' or '.join(options.cases)} in its name; --list shows them.")
    options.output.mkdir(parents=True, exist_ok=True)
    report = {"circumstances": circumstances(), "cases": [], "first_calls": []}
    with tempfile.TemporaryDirectory() as compiled:
        plan = Plan(options.size, options.rounds, options.seconds, Path(compiled))
        for case in chosen:
            for threads in options.threads:
                _tell(f"{case.name}, threads: {threads}")
                report["cases"].append(measure(case, plan, threads))
                _write(report, options.output)
        for case in chosen:
            if case.measure_first_call:
                _tell(f"{case.name}, first call")
                report["first_calls"].append(measure_first_call(case, plan))
    _write(report, options.output)
    print(table(report))
    _tell(f"wrote benchmarks.json, .txt and .png to {options.output}")


def _write(report: dict, folder: Path) -> None:
    (folder / "benchmarks.json").write_text(json.dumps(report, indent=2) + "\n")
    (folder / "benchmarks.txt").write_text(table(report) + "\n")
    draw(report, folder / "benchmarks.png")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help="only cases with any of this in their names")
    parser.add_argument("--exact", action="store_true", help="only cases that have these names")
    parser.add_argument("--list", action="store_true", help="only list the cases")
    parser.add_argument("--size", type=_shape, default=(4176, 2048), help="of made-up images, as 4176x2048")
    parser.add_argument("--rounds", type=_positive, default=3, help="how often each program runs")
    parser.add_argument("--seconds", type=float, default=60, help="limit on a case, after three rounds")
    parser.add_argument("--threads", type=_positive, nargs="+", default=[2], help="numbers of threads")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).with_name("results"),
        help="folder for results, benchmarks/results by default",
    )
    parser.add_argument(
        "--document",
        type=Path,
        metavar="PAGE",
        help="measure nothing: put table and figure of the last results on this page of the documentation",
    )
    return parser.parse_args()


def _shape(text: str) -> tuple[int, int]:
    ny, nx = text.split("x")
    return _positive(ny), _positive(nx)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(f"{number} is not positive")
    return number


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
