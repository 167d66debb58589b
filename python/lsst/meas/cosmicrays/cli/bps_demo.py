# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""``cosmicrays bps-demo``."""

from __future__ import annotations

__all__ = ["bps_demo_command"]

import os
import subprocess
import sys
import time
from pathlib import Path

import click

from lsst.daf.butler import Butler

from ..product import product_dir
from ..report.tables import format_comparison, read_comparison

INPUT, OUTPUT = "SimHSC/defaults", "u/bps_demo"
BIN = Path(sys.executable).parent


@click.command("bps-demo")
@click.argument("directory", default="demo", type=click.Path(file_okay=False, path_type=Path))
@click.option("--detectors", default=4, show_default=True, help="Detectors to simulate, if need be.")
@click.option("--detector-size", default="2048x2048", show_default=True, help="Their width and height.")
@click.option("--seed", default=1, show_default=True, help="Seed of the simulation.")
def bps_demo_command(directory: Path, detectors: int, detector_size: str, seed: int) -> None:
    """Run the demonstration as a batch submission, and print the tables.

    The visit in DIRECTORY is simulated if it is not there.  ``bps submit``
    then runs the pipeline on Parsl with two local workers, all steps of a
    detector in one job.
    """
    started = time.perf_counter()
    directory.mkdir(parents=True, exist_ok=True)
    repo = (directory / "repo").resolve()
    size = ["--visits", "1", "--detectors", str(detectors), "--detector-size", detector_size]
    _call(["cosmicrays", "simulate", str(repo), *size, "--seed", str(seed), "-j", "2"], directory)
    run = f"{OUTPUT}/{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    submit_file = product_dir() / "bps" / "Simulation" / "parsl_local.yaml"
    _call(
        ["bps", "--log-level", "parsl=WARNING", "submit", str(submit_file), "-b", str(repo)]
        + ["-i", INPUT, "-o", OUTPUT, "--output-run", run],
        directory,
    )
    with Butler.from_config(str(repo)) as butler:
        try:
            tables = read_comparison(butler, run)
        except LookupError as error:
            raise click.ClickException(
                f"The submission wrote no tables ({error}).  What its jobs said is in "
                f"{directory / 'submit' / run / 'logs'}; running this command again submits anew."
            ) from error
    click.echo("\n" + format_comparison(tables))
    click.echo(
        f"\nDone in {time.perf_counter() - started:.0f} s.  Results: collection {run} of {repo}; submission "
        f"and logs of its jobs: {directory / 'submit' / run}"
    )


def _call(command: list[str], directory: Path) -> None:
    """Run a command of this installation in a folder."""
    click.echo("$ " + " ".join(command))
    environment = os.environ | {
        "MEAS_COSMICRAYS_DIR": str(product_dir()),
        # Below it, and not where it really runs, bps puts the submission.
        "PWD": str(directory.resolve()),
        # Jobs find pipetask and butler by name.
        "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", "")]),
    }
    program = str(BIN / command[0])
    result = subprocess.run([program, *command[1:]], env=environment, cwd=directory, check=False)
    if result.returncode != 0:
        raise click.ClickException(f"{command[0]} failed with exit status {result.returncode}; see above.")
