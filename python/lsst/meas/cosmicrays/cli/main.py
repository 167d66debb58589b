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
from typing import Any

import click

from ..documentation import DocumentedError, page_of, see

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
    """Import a command only when it is called, so that help is quick.

    Help and errors of every command name a page of the documentation.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(_module_of(cmd_name))
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        command.epilog = _epilog(module.__name__)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            error.show()
            click.echo(see(_page_of_error(error, ctx)), err=True)
            ctx.exit(error.exit_code)
        except (click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if not isinstance(error, DocumentedError):
                error.add_note(see(_page_of_error(error, ctx)))
            raise


def _epilog(module: str) -> str:
    """Point to the page of a module, in one line whatever the width."""
    return f"\b\n{see(page_of(module))}"


def _module_of(command: str) -> str:
    return f"{__package__}.{command.replace('-', '_')}"


def _page_of_error(error: BaseException, ctx: click.Context) -> str:
    """Find the page of what went wrong, else that of the command."""
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__module__.startswith("lsst.meas.cosmicrays."):
            return page_of(type(cause).__module__)
        cause = cause.__cause__
    return page_of(_module_of(ctx.invoked_subcommand or ""))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_epilog(__package__),
)
@click.version_option(package_name="lsst-meas-cosmicrays")
def main() -> None:
    """Find cosmic rays on CCD images, and judge the finders."""
