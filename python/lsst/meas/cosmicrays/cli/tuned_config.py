# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""``cosmicrays tuned-config``."""

from __future__ import annotations

__all__ = ["tuned_config_command"]

import math
from pathlib import Path

import click
from astropy.table import Row

from lsst.daf.butler import Butler, MissingCollectionError

from ..comparison import Criterion
from ..finders import override_line


@click.command("tuned-config")
@click.argument("repo")
@click.argument("collection")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
@click.option("--variant", default="", help="Variant of the tuning, as in cr_tuning_optimum{variant}.")
@click.option("--instrument", help="Name of the instrument, where there are several.")
@click.option(
    "--criterion",
    type=click.Choice([str(criterion) for criterion in Criterion]),
    default=str(Criterion.MSE),
    show_default=True,
    help="Which optimum to set.",
)
def tuned_config_command(
    repo: str, collection: str, output: Path | None, variant: str, instrument: str | None, criterion: str
) -> None:
    """Write the optimum of COLLECTION in the repository REPO as a config file.

    It is an override of FindCosmicRaysTask, for ``pipetask run -C LABEL:FILE``
    or the ``file:`` of a pipeline. Without --output it is printed.
    """
    data_id = {} if instrument is None else {"instrument": instrument}
    try:
        with Butler.from_config(repo, collections=collection) as butler:
            optimum = butler.get(f"cr_tuning_optimum{variant}", data_id)
    except FileNotFoundError as error:
        raise click.ClickException(f"No Butler repository at {repo}: {error}") from error
    except (LookupError, MissingCollectionError) as error:
        raise click.ClickException(
            f"No cr_tuning_optimum{variant} of one instrument in collection {collection!r} ({error}); was "
            "the tuning gathered, and must --instrument or --variant be given?"
        ) from error
    text = _override(optimum[optimum["criterion"] == criterion][0])
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text)


def _override(row: Row) -> str:
    """Return the text of an override file."""
    if not math.isfinite(row["value"]):
        raise click.ClickException(f"The tuning found no optimum of {row['criterion']}.")
    against = "" if row["criterion"] == Criterion.KNEE else f" against {_judge(row)}"
    return (
        f"# {row['criterion']} optimum of {row['finder']} on {row['kind']} images{against};\n"
        f"# {row['n_detectors']} of {row['n_detectors_total']} detectors have one, of standard deviation "
        f"{row['std']:.3g}.\n"
        f"{override_line(row['finder'], row['field'], float(row['value']))}\n"
    )


def _judge(row: Row) -> str:
    return "truth" if row["criterion"] == Criterion.F1_TRUTH else str(row["reference"])
