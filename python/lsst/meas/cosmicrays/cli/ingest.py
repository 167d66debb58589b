# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""``cosmicrays ingest``."""

from __future__ import annotations

__all__ = ["ingest_command"]

from pathlib import Path
from typing import Any

import click

from ..ingest import (
    PRESETS,
    QUANTITIES,
    Companion,
    IngestOptions,
    PresetError,
    PsfModel,
    get_preset,
    ingest,
)
from ..repository import RepositoryError

_NUMBERS = {
    "gain": "Electrons per ADU.",
    "read_noise": "Read noise in electrons.",
    "saturation": "Saturation level in the unit of the pixels.",
    "exposure_time": "Seconds.",
    "sky": "Level of the sky that was subtracted before, in the unit of the pixels.",
    "fwhm": "FWHM of the PSF in pixels, for images with too few stars.",
    "pixel_scale": "Arcsec per pixel, for images without WCS.",
    "pixel_size": "Size of a pixel in mm.",
    "ra": "Right ascension in degrees, for images without WCS.",
    "dec": "Declination in degrees, for images without WCS.",
}
_TEXTS = {
    "filter": "Name of the physical filter.",
    "band": "Short name of the passband.",
    "date": "When the exposure began: ISO 8601 or MJD.",
    "unit": "Unit of the pixels: adu, electron or nJy.",
}


class KeyType(click.ParamType):
    """A quantity and the header keywords it stands under."""

    name = "NAME=KEYWORD"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, tuple[str, ...]]:
        name, equals, keywords = str(value).partition("=")
        if not equals or not keywords or name not in QUANTITIES:
            self.fail(f"{value!r}: give NAME=KEYWORD with one of {', '.join(QUANTITIES)}", param, ctx)
        return name, tuple(keywords.split(","))


def _quantity_options(command: Any) -> Any:
    """Give a command an option for each quantity."""
    for names, kind in ((_TEXTS, str), (_NUMBERS, float)):
        for name, text in reversed(names.items()):
            command = click.option(f"--{name.replace('_', '-')}", name, type=kind, help=text)(command)
    return command


@click.command("ingest")
@click.argument("repo", type=click.Path(file_okay=False, path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--preset",
    default="generic",
    show_default=True,
    help=f"What the files look like: {', '.join(PRESETS)}, or a YAML file with the fields of a preset.",
)
@click.option("--instrument", help="Butler name of the instrument; needed where the preset has none.")
@click.option(
    "--key", "keys", multiple=True, type=KeyType(), help="Header keyword of a quantity; repeatable."
)
@_quantity_options
@click.option("--extensions", help="Names or numbers of the HDUs that are detectors.  [default: all images]")
@click.option(
    "--psf",
    type=click.Choice([model.value for model in PsfModel]),
    help="PSF model; 'given' is a Gaussian of --fwhm.",
)
@click.option(
    "--subtract-sky/--keep-sky",
    "subtract_sky",
    default=None,
    help="Whether to subtract the sky that is found.",
)
@click.option(
    "--sky-mesh", type=click.IntRange(min=8), help="Cells in which the sky is estimated, in pixels."
)
@click.option("--bad-pixels", type=click.Path(path_type=Path), help="FITS image, not zero at bad pixels.")
@click.option("--truth-suffix", help="Ending, instead of .fits, of the masks of true cosmic rays.")
@click.option("--template", type=click.Path(path_type=Path), help="FITS file of the template of all images.")
@click.option(
    "--template-median",
    type=click.IntRange(min=2),
    help="Make each template from so many other exposures of detector and filter, those of like seeing.",
)
@click.option(
    "-j", "--processes", type=click.IntRange(min=1), default=1, show_default=True, help="Processes to use."
)
def ingest_command(
    repo: Path,
    files: tuple[Path, ...],
    preset: str,
    instrument: str | None,
    keys: tuple[tuple[str, tuple[str, ...]], ...],
    extensions: str | None,
    psf: str | None,
    subtract_sky: bool | None,
    sky_mesh: int | None,
    bad_pixels: Path | None,
    truth_suffix: str | None,
    template: Path | None,
    template_median: int | None,
    processes: int,
    **quantities: float | str | None,
) -> None:
    """Bring FITS files of any layout into a Butler repository.

    REPO is the directory of the repository; it is made if it is not there.
    FILES are images, or directories of images.  They become visit_image,
    masks of true cosmic rays cr_truth, and templates template_detector, in
    the collection INSTRUMENT/defaults.  What is wrong with a file is said in
    one line; the others are ingested.
    """
    if template is not None and template_median is not None:
        raise click.UsageError("Give --template or --template-median, not both.")
    try:
        base = get_preset(preset)
        background = {"subtract": subtract_sky, "mesh": sky_mesh}
        chosen = base.with_overrides(
            values={name: value for name, value in quantities.items() if value is not None},
            keywords=dict(keys),
            instrument=instrument,
            extensions=_parse_extensions(extensions),
            psf=psf,
            truth=None if truth_suffix is None else Companion(suffix=truth_suffix),
            background=base.background.model_dump()
            | {name: value for name, value in background.items() if value is not None},
        )
    except PresetError as error:
        raise click.UsageError(str(error)) from error
    options = IngestOptions(template, template_median, bad_pixels, processes)
    try:
        result = ingest(repo, files, chosen, options, report=click.echo)
    except (RepositoryError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    for note in dict.fromkeys(result.notes):
        click.echo(f"note: {note}", err=True)
    for problem in result.errors:
        click.echo(f"error: {problem}", err=True)
    click.echo(
        f"{repo}: {len(result.written)} images ingested, {len(result.present)} already there, "
        f"{len(result.errors)} errors; collection {chosen.instrument}/defaults"
    )
    if result.errors:
        raise click.ClickException("not everything was ingested; what was not, and why, is said above.")


def _parse_extensions(text: str | None) -> tuple[str | int, ...] | None:
    if text is None:
        return None
    return tuple(int(part) if part.isdigit() else part for part in text.split(","))
