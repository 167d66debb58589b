# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""``cosmicrays demo``."""

from __future__ import annotations

__all__ = ["demo_command"]

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click

from lsst.daf.butler import Butler

from ..product import product_dir
from ..report.tables import format_comparison, read_comparison

SIMULATION = ["--visits", "1", "--detectors", "4", "--detector-size", "2048x2048", "--seed", "1"]
INPUT, OUTPUT = "SimHSC/defaults", "u/demo"
# One line whenever a step of a detector is done, and what went wrong.
PROGRESS = ["--log-level", "lsst=ERROR", "--log-level", "lsst.pipe.base.mp_graph_executor=INFO"]


@click.command("demo")
@click.argument("directory", default="demo", type=click.Path(file_okay=False, path_type=Path))
@click.option("-j", "--processes", default=2, show_default=True, help="Processes to run side by side.")
def demo_command(directory: Path, processes: int) -> None:
    """Simulate a visit, run the pipeline on it, and print the tables.

    Everything is made in DIRECTORY.  What an earlier run made there is used
    again.
    """
    started = time.perf_counter()
    directory.mkdir(parents=True, exist_ok=True)
    repo = directory / "repo"
    environment = os.environ | {"MEAS_COSMICRAYS_DIR": str(product_dir())}
    _simulate(repo, processes, environment)
    _run_pipeline(repo, processes, environment)
    figures = _export_figures(repo, directory / "figures")
    report = directory / "report"
    _step("3. Writing the report")
    _call(["cosmicrays", "report", str(repo), OUTPUT, "-o", str(report), "--replace"], environment)
    with Butler.from_config(str(repo)) as butler:
        click.echo("\n" + format_comparison(read_comparison(butler, OUTPUT)))
    click.echo(_next_steps(repo, report, figures, time.perf_counter() - started))


def _step(title: str) -> None:
    click.secho(f"\n== {title}", bold=True)


def _call(command: list[str], environment: dict[str, str]) -> None:
    """Run a command of this installation; its output goes straight out."""
    click.echo("$ " + " ".join(command))
    program = Path(sys.executable).with_name(command[0])
    result = subprocess.run([str(program), *command[1:]], env=environment, check=False)
    if result.returncode != 0:
        raise click.ClickException(
            f"{command[0]} failed with exit status {result.returncode}; see above.  If this package has "
            "changed since an earlier run, remove the folder of that run and start again."
        )


def _simulate(repo: Path, processes: int, environment: dict[str, str]) -> None:
    """Make the repository, or what is missing in it."""
    _step("1. Simulating a visit" + (f": what {repo} has already is used again" if repo.is_dir() else ""))
    _call(["cosmicrays", "simulate", str(repo), *SIMULATION, "-j", str(processes)], environment)


def _run_pipeline(repo: Path, processes: int, environment: dict[str, str]) -> None:
    """Run the pipeline, or what is left of it."""
    title = "2. Finding cosmic rays and comparing the finders"
    with Butler.from_config(str(repo)) as butler:
        exists = OUTPUT in butler.collections.query("u/*")
        complete = exists and _is_complete(butler)
    if complete:
        _step(f"{title}: using what {OUTPUT} has already")
        return
    _step(title + (f": what {OUTPUT} has already is used again" if exists else ""))
    again = ["--extend-run", "--skip-existing", "--clobber-outputs"] if exists else []
    pipeline = "$MEAS_COSMICRAYS_DIR/pipelines/Simulation.yaml"
    command = ["run", "-b", str(repo), "-i", INPUT, "-o", OUTPUT, "-p", pipeline, "-j", str(processes)]
    _call(["pipetask", *PROGRESS, *command, "--register-dataset-types", *again], environment)


def _is_complete(butler: Butler) -> bool:
    """Are the outputs of the last steps of the pipeline there?"""
    n_detectors = len(butler.query_datasets("visit_image", collections=INPUT))
    expected = {"plotComparison_metadata": 1, "plotMasks_metadata": n_detectors}
    return all(
        butler.registry.queryDatasetTypes(name)
        and len(butler.query_datasets(name, collections=OUTPUT, explain=False)) == n
        for name, n in expected.items()
    )


def _export_figures(repo: Path, directory: Path) -> list[Path]:
    """Copy the figures out of the repository, where people can see them."""
    directory.mkdir(exist_ok=True)
    figures = []
    with Butler.from_config(str(repo), collections=OUTPUT) as butler:
        for dataset_type in sorted(butler.registry.queryDatasetTypes("cr_plot_*")):
            for ref in butler.query_datasets(dataset_type, explain=False):
                detector = ref.dataId.get("detector")
                suffix = f"_{detector}" if detector is not None else ""
                target = directory / f"{dataset_type.name}{suffix}.png"
                shutil.copyfile(butler.getURI(ref).ospath, target)
                figures.append(target)
    return sorted(figures)


def _next_steps(repo: Path, report: Path, figures: list[Path], seconds: float) -> str:
    lines = [
        "",
        f"Done in {seconds:.0f} s.  What you have now:",
        f"  repository   {repo}",
        f"  results      collection {OUTPUT}",
        f"  report       {report / 'index.html'}",
        *(f"  figure       {figure}" for figure in figures),
        "",
        "Next:",
        f"  cosmicrays tables {repo} {OUTPUT} --reference truth",
        f"  butler query-datasets {repo} 'cr_*' --collections {OUTPUT}",
        "  add a finder or a variant of one, or bring your own FITS files: see README.md",
    ]
    return "\n".join(lines)
