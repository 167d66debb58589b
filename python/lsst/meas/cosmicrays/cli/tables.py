# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""``cosmicrays tables``."""

from __future__ import annotations

__all__ = ["tables_command"]

import click

from lsst.daf.butler import Butler

from ..report.tables import format_comparison, read_comparison


@click.command("tables")
@click.argument("repo")
@click.argument("collection")
@click.option("--instrument", help="Name of the instrument, where there are several.")
@click.option("--visit", type=int, help="Only this visit; by default all visits together.")
@click.option(
    "--reference",
    "references",
    multiple=True,
    help="Detection or truth to compare with; may be given again.  [default: truth, morphological_science]",
)
def tables_command(
    repo: str, collection: str, instrument: str | None, visit: int | None, references: tuple[str, ...]
) -> None:
    """Print how good the finders of COLLECTION in the repository REPO are.

    Purity, completeness and F1 come with 95 % intervals, pixel by pixel, by
    stamps around DIASources and by cosmic ray; then what each detection
    found and how long it took.
    """
    try:
        butler = Butler.from_config(repo)
    except FileNotFoundError as error:
        raise click.ClickException(f"No Butler repository at {repo}: {error}") from error
    with butler:
        try:
            tables = read_comparison(butler, collection, instrument=instrument, visit=visit)
            click.echo(format_comparison(tables, references or None))
        except LookupError as error:
            raise click.ClickException(str(error)) from error
