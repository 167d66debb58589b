# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""``cosmicrays simulate``."""

from __future__ import annotations

__all__ = ["simulate_command"]

import re
from pathlib import Path
from typing import Any

import click
import pydantic

from ..repository import RepositoryError
from ..simulation import SimulationConfig, simulate

_DEFAULTS = SimulationConfig()


class SizeType(click.ParamType):
    """Width and height of a detector, such as ``2048x4176``."""

    name = "WxH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        match = re.fullmatch(r"(\d+)[xX](\d+)", str(value))
        if match is None:
            self.fail(f"{value!r} is not a width and a height such as 2048x4176", param, ctx)
        return int(match[1]), int(match[2])


@click.command("simulate")
@click.argument("repo", type=click.Path(path_type=Path))
@click.option("--visits", type=click.IntRange(min=1), default=1, show_default=True, help="Number of visits.")
@click.option(
    "--detectors",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of detectors of a visit, from the middle of the focal plane.",
)
@click.option(
    "--detector-size",
    type=SizeType(),
    default=f"{_DEFAULTS.width}x{_DEFAULTS.height}",
    show_default=True,
    help="Columns and rows of a detector.",
)
@click.option(
    "--sensor",
    type=click.Choice(["hsc", "lsstcam"]),
    default=_DEFAULTS.sensor,
    show_default=True,
    help="CCDs: 200 um thick with 15 um pixels, or 100 um with 10 um.",
)
@click.option("--exposure-time", type=float, help="Seconds.  [default: 200 for hsc, 30 for lsstcam]")
@click.option(
    "--seeing",
    type=float,
    default=_DEFAULTS.seeing,
    show_default=True,
    help="FWHM of the science PSF in arcsec; 0.35 is undersampled.",
)
@click.option(
    "--template-seeing",
    type=float,
    default=_DEFAULTS.template_seeing,
    show_default=True,
    help="FWHM of the template PSF in arcsec.",
)
@click.option(
    "--sky",
    type=float,
    help="Electrons per second and pixel.  [default: a dark sky, 30 for hsc, 40 for lsstcam]",
)
@click.option(
    "--cr-rate",
    type=float,
    default=_DEFAULTS.cr_rate,
    show_default=True,
    help="Cosmic rays of 3 or more pixels per square cm and minute.",
)
@click.option(
    "--crowding",
    type=float,
    default=_DEFAULTS.crowding,
    show_default=True,
    help="Density of stars, relative to high galactic latitude.",
)
@click.option(
    "--satellite-fraction",
    type=float,
    default=_DEFAULTS.satellite_fraction,
    show_default=True,
    help="Fraction of detectors crossed by a satellite.",
)
@click.option(
    "--satellite-width",
    type=float,
    default=_DEFAULTS.satellite_width,
    show_default=True,
    help="Least width of its trail in units of the PSF's; finders flag what is sharper than a star.",
)
@click.option(
    "--seed", type=int, default=_DEFAULTS.seed, show_default=True, help="Seed of all random numbers."
)
@click.option(
    "-j",
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of processes; the pixels do not depend on it.",
)
def simulate_command(
    repo: Path,
    visits: int,
    detectors: int,
    detector_size: tuple[int, int],
    processes: int,
    **options: Any,
) -> None:
    """Make a Butler repository with simulated visits.

    REPO is the directory of the repository.  If it holds a simulation with
    the same options, only what is missing is made.
    """
    try:
        config = SimulationConfig(width=detector_size[0], height=detector_size[1], **options)
        summary = simulate(
            repo, config, visits=visits, detectors=detectors, processes=processes, report=click.echo
        )
    except pydantic.ValidationError as error:
        raise click.UsageError(_explain(error)) from None
    except (RepositoryError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    made, reused = len(summary.made), len(summary.reused)
    click.echo(f"{repo}: {made} detectors made, {reused} reused, in collection {summary.run}.")


def _explain(error: pydantic.ValidationError) -> str:
    """Name the options that have bad values."""
    lines = []
    for problem in error.errors():
        field = str(problem["loc"][0])
        option = "--detector-size" if field in ("width", "height") else f"--{field.replace('_', '-')}"
        lines.append(f"{option}: {problem['msg']}, got {problem['input']} ({field}).")
    return "\n".join(lines)
