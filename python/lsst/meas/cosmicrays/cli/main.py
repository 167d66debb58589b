# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ``cosmicrays`` command: a thin door to the package."""

from __future__ import annotations

__all__ = ["main"]

import importlib

import click

COMMANDS = {
    "bps-demo": "Run the demonstration as a batch submission, and print the tables.",
    "demo": "Simulate a visit, run the pipeline on it, and print the tables.",
    "ingest": "Bring FITS files of any layout into a Butler repository.",
    "product-dir": "Print the folder of the pipelines, for MEAS_COSMICRAYS_DIR.",
    "report": "Write an HTML report of a study: the answer, every table and figure.",
    "simulate": "Make a Butler repository with simulated visits.",
    "tables": "Print how good the finders of a collection are.",
    "tuned-config": "Write the optimum of a tuning as a config override file.",
}


class LazyGroup(click.Group):
    """Import a command only when it is called, so that help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        module = importlib.import_module(f"lsst.meas.cosmicrays.cli.{name}")
        return getattr(module, f"{name}_command")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lsst-meas-cosmicrays")
def main() -> None:
    """Find cosmic rays on CCD images, and judge the finders."""
