# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Table, JSON and figure of what was measured."""

from __future__ import annotations

__all__ = ["circumstances", "document", "draw", "table"]

import os
import platform
import textwrap
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PACKAGES = ("numpy", "numba", "astroscrappy", "cosmic-conn", "torch", "onnxruntime", "scikit-learn")
TABLE_BEGINS, TABLE_ENDS = ".. The table of bench.py begins.", ".. The table of bench.py ends."
OUR_COLOUR, THEIR_COLOUR = "#1f6f8b", "#b0b0b0"


def circumstances() -> dict[str, Any]:
    """Return when and on what this runs.

    Returns
    -------
    circumstances : `dict`
        ``date`` (UTC), ``processor``, ``cores`` that may be used, ``load``
        (mean number of running processes in the last minute), ``python``,
        ``versions`` of packages.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
    }


def table(report: dict[str, Any]) -> str:
    """Format a report for reading.

    Parameters
    ----------
    report : `dict`
        ``circumstances``, ``cases`` (results of `measure.measure`) and
        ``first_calls`` (of `measure.measure_first_call`).

    Returns
    -------
    text : `str`
        Several lines.
    """
    where = report["circumstances"]
    lines = [
        f"{where['date']}, {where['processor']}, {where['cores']} cores, load {where['load']:.1f}, "
        f"Python {where['python']}",
        ", ".join(f"{package} {number}" for package, number in where["versions"].items()),
    ]
    for case in report["cases"]:
        lines += ["", *_case_lines(case)]
    if report["first_calls"]:
        lines += ["", "First call in a process, import included: compiling / compiled before"]
    for first in report["first_calls"]:
        cost = first.get("left_out") or f"{first['compiling']:.1f} s / {first['compiled']:.1f} s"
        lines.append(f"  {first['name']:<34} {cost}")
    return "\n".join(lines)


def document(report: dict[str, Any], page: Path) -> None:
    """Put a report in the place of the one on a page of the documentation.

    Parameters
    ----------
    report : `dict`
        As for `table`.
    page : `~pathlib.Path`
        File of reStructuredText with the comments that say where the table
        begins and ends; changed in place.

    Raises
    ------
    ValueError
        Raised if it has no such comments.
    """
    text = page.read_text()
    if TABLE_BEGINS not in text or TABLE_ENDS not in text:
        raise ValueError(f"{page} has no place for the table: no comments {TABLE_BEGINS!r}, {TABLE_ENDS!r}")
    before = text.split(TABLE_BEGINS)[0]
    after = text.split(TABLE_ENDS)[1]
    block = textwrap.indent(table(report), "   ")
    page.write_text(f"{before}{TABLE_BEGINS}\n\n.. code-block:: text\n\n{block}\n\n{TABLE_ENDS}{after}")


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw run times as bars.

    Parameters
    ----------
    report : `dict`
        As for `table`.
    path : `~pathlib.Path`
        File to write.
    """
    cases = [
        (case, rows)
        for case in report["cases"]
        if (rows := [row for row in case.get("programs", []) if "median" in row])
    ]
    if not cases:
        return
    n_lines = sum(len(rows) + 1.6 for _, rows in cases)
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.2 * n_lines), layout="constrained")
    place, ticks = 0.0, []
    for case, rows in cases:
        threads = f"{case['threads']} thread{'s' * (case['threads'] > 1)}"
        title = f"{case['name']}: {case['title']}, {threads}"
        across = axes.get_yaxis_transform()
        axes.text(0.005, place, title, transform=across, va="center", size="small").set_in_layout(False)
        for row in rows:
            place += 1
            ticks.append((place, row["name"]))
            low, high = row["median"] - min(row["seconds"]), max(row["seconds"]) - row["median"]
            colour = OUR_COLOUR if row["ours"] else THEIR_COLOUR
            axes.barh(place, row["median"], color=colour, xerr=[[low], [high]], ecolor="black", capsize=2)
            ratio = f"  {_factor(row['speedup'][0])}" if "speedup" in row else ""
            axes.text(max(row["seconds"]), place, ratio, va="center").set_in_layout(False)
        place += 1.6
    axes.set_yticks(*zip(*ticks, strict=True))
    axes.set_ylim(place - 0.6, -1)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel("run time (s): median, least, greatest; factor over the original")
    axes.set_title(f"{report['circumstances']['processor']}, {report['circumstances']['date'][:10]}")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _case_lines(case: dict[str, Any]) -> list[str]:
    threads = f"{case['threads']} thread{'s' * (case['threads'] > 1)}"
    size = " x ".join(str(size) for size in case.get("shape", []))
    lines = [f"{case['name']}: {case['title']} ({size}, {threads})".replace("(, ", "(")]
    if "left_out" in case:
        return [*lines, f"  left out: {case['left_out']}"]
    lines += [_program_line(row) for row in case["programs"]]
    return [*lines, f"  {case['remark']}"] if case["remark"] else lines


def _program_line(row: dict[str, Any]) -> str:
    if "left_out" in row:
        return f"  {row['name']:<34} left out: {row['left_out']}"
    spread = f"({min(row['seconds']):.4f} to {max(row['seconds']):.4f}, n={len(row['seconds'])})"
    peak = "?" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:.0f}"
    line = f"  {row['name']:<34} {row['median']:9.4f} s  {spread:<28} {peak:>6} MB"
    if "speedup" in row:
        middle, low, high = map(_factor, row["speedup"])
        line += f"  {middle} ({low} to {high}), {row['agreement']}"
    return line


def _factor(ratio: float) -> str:
    return f"{ratio:.0f}x" if ratio >= 100 else f"{ratio:.2g}x"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
