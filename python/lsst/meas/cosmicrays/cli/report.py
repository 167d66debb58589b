# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""``cosmicrays report``."""

from __future__ import annotations

__all__ = ["report_command"]

from pathlib import Path

import click

from lsst.daf.butler import Butler

from ..report.page import write_report
from ..report.study import read_study


@click.command("report")
@click.argument("repo")
@click.argument("collections", nargs=-1, required=True, metavar="COLLECTION...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default="report",
    show_default=True,
    help="Folder to make, with the page index.html in it.",
)
@click.option("--instrument", help="Name of the instrument, where there are several.")
@click.option("--replace", is_flag=True, help="Replace a report that is in the folder.")
@click.option(
    "--plots",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    help="How many figures to take of those that there is one of for every visit or detector.",
)
def report_command(
    repo: str, collections: tuple[str, ...], output: Path, instrument: str | None, replace: bool, plots: int
) -> None:
    """Write a report of the study in COLLECTION of the repository REPO.

    The page leads with the answer: which finder, how pure and complete, how
    many alerts it would send and lose. Every table and figure follows, and
    what all of it rests on. It opens from disk and needs no network; tables
    and figures to download lie beside it.
    """
    try:
        butler = Butler.from_config(repo)
    except FileNotFoundError as error:
        raise click.ClickException(f"No Butler repository at {repo}: {error}") from error
    with butler:
        try:
            study = read_study(butler, collections, instrument=instrument, plots_of_a_type=plots)
            page = write_report(butler, study, output, replace=replace)
        except (LookupError, FileExistsError) as error:
            raise click.ClickException(str(error)) from error
    click.echo(f"Written: {page}")
