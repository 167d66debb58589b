# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Declarations of what files look like: where pixels, masks, variances and
the numbers about them are found.
"""

from __future__ import annotations

__all__ = (
    "QUANTITIES",
    "BackgroundModel",
    "Companion",
    "FileFormat",
    "MaskCodes",
    "Preset",
    "PresetError",
    "PsfModel",
    "VarianceKind",
    "load_preset",
)

import enum
from pathlib import Path
from typing import Annotated, Any

import pydantic
import yaml  # type: ignore[import-untyped]

from ..documentation import DocumentedError

QUANTITIES: dict[str, str] = {
    "gain": "electrons per ADU",
    "read_noise": "read noise in electrons",
    "saturation": "saturation level in the unit of the pixels",
    "exposure_time": "seconds",
    "filter": "name of the physical filter",
    "band": "short name of the passband",
    "date": "date and time at which the exposure began, ISO 8601 or MJD",
    "time": "time of day, where the date lacks it",
    "sky": "sky level already subtracted, in the unit of the pixels",
    "fwhm": "FWHM of the PSF in pixels",
    "unit": "unit of the pixels: adu or electron",
    "exposure": "number of the exposure",
    "detector": "number of the detector",
    "detector_name": "name of the detector",
    "pixel_scale": "arcsec per pixel, where there is no WCS",
    "pixel_size": "size of a pixel in mm",
    "ra": "right ascension in degrees, where there is no WCS",
    "dec": "declination in degrees, where there is no WCS",
}
"""What is asked of every exposure, and what it means."""

NUMBERS = frozenset(QUANTITIES) - {"filter", "band", "date", "time", "unit", "detector_name"}
"""The quantities that are numbers."""


class PresetError(DocumentedError, ValueError):
    """A preset that cannot be used; the message says which entry."""


class FileFormat(enum.StrEnum):
    """How pixels are arranged in a file."""

    IMAGE = "image"
    """Images in primary or extension HDUs, one a detector."""

    AFW = "afw"
    """HDUs of image, mask and variance, as `lsst.afw.image` writes them."""


class VarianceKind(enum.StrEnum):
    """What the pixels of a variance companion hold."""

    VARIANCE = "variance"
    INVERSE = "inverse_variance"
    SIGMA = "sigma"


class PsfModel(enum.StrEnum):
    """How the PSF is described."""

    AUTO = "auto"
    """Pixel grid, Moffat or Gaussian, as the number of stars allows."""

    PIXELS = "pixels"
    """Pixel grid measured from stars."""

    MOFFAT = "moffat"
    """Moffat profile measured from stars."""

    GIVEN = "given"
    """Gaussian of the FWHM that is given; as ``auto`` where none is."""


class _Model(pydantic.BaseModel):
    """Base of the declarations: unknown entries are errors."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Companion(_Model):
    """Where the pixels that belong to an image are found.

    A companion lies in another file (``replace`` or ``suffix``), in another
    extension (``extension``), or in the extension of the same place in
    another file.
    """

    replace: tuple[str, str] | None = None
    """Text of the image's file name, and the text that stands in its place."""

    suffix: str | None = None
    """What follows the stem of the image's file name."""

    extension: str | int | None = None
    """Name or number of the HDU; by default that of the image's."""

    required: bool = False
    """Whether an image without it is an error."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> Companion:
        if self.replace is not None and self.suffix is not None:
            raise ValueError("give replace or suffix, not both")
        if self.replace is None and self.suffix is None and self.extension is None:
            raise ValueError("give replace, suffix or extension")
        return self

    def file_of(self, path: Path) -> Path | None:
        """Find the file that holds the companion.

        Parameters
        ----------
        path
            File of the image.

        Returns
        -------
        file : `pathlib.Path` or `None`
            File of the companion, whether it exists or not, or `None` if
            the name of the image does not allow one.
        """
        if self.suffix is not None:
            return path.with_name(file_stem(path) + self.suffix)
        if self.replace is not None:
            if self.replace[0] not in path.name:
                return None
            return path.with_name(path.name.replace(*self.replace, 1))
        return path


class MaskCodes(_Model):
    """What the integers of a mask mean.

    Planes have their `lsst.images` names.  The plane COSMIC_RAY is not
    copied to the image but stored as truth.
    """

    values: dict[int, str] = {}
    """Plane of each value; every value stands for one plane only."""

    bits: dict[int, str] = {}
    """Plane of each bit number."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> MaskCodes:
        if bool(self.values) == bool(self.bits):
            raise ValueError("give values or bits, not both")
        return self

    def has_plane(self, name: str) -> bool:
        """Say whether some value or bit stands for a plane.

        Parameters
        ----------
        name
            Name of the plane.

        Returns
        -------
        known : `bool`
            Whether one does.
        """
        return name in (self.values or self.bits).values()


class MaskCompanion(Companion):
    """Where the mask of an image is, and what its integers mean."""

    codes: MaskCodes = MaskCodes(values={1: "BAD"})


class VarianceCompanion(Companion):
    """Where the variance of an image is, and how it is expressed."""

    kind: VarianceKind = VarianceKind.VARIANCE


class BackgroundModel(_Model):
    """How the sky is modelled and subtracted."""

    subtract: bool = True
    """Whether the model is subtracted from the image."""

    mesh: Annotated[int, pydantic.Field(ge=8)] = 128
    """Side of the cells in which the sky is estimated, in pixels."""


class Preset(_Model):
    """How the files of one camera and one processing look.

    Keywords are tried in their order, in the header of the extension first
    and then in the primary header.  A value stands for every file and wins
    over keywords.
    """

    name: str
    """Name of the preset."""

    description: str = ""
    """What it is for, one line."""

    instrument: str | None = None
    """Butler name of the instrument; asked for where there is none."""

    format: FileFormat = FileFormat.IMAGE
    """How pixels are arranged in a file."""

    extensions: tuple[str | int, ...] | None = None
    """Names or numbers of the HDUs that are detectors; all images if not
    given."""

    keywords: dict[str, tuple[str, ...]] = {}
    """Header keywords of each of the `QUANTITIES`."""

    values: dict[str, float | str] = {}
    """Values of some of the `QUANTITIES`."""

    bands: dict[str, str] = {}
    """Band of each physical filter that does not begin with it."""

    trim: str | None = None
    """Part of the image to keep, as a FITS section ``[x1:x2,y1:y2]``."""

    overscan: str | None = None
    """Part whose median, row by row, is the bias to subtract."""

    bias: float = 0.0
    """Level to subtract, where there is no overscan."""

    mask: MaskCompanion | None = None
    """Mask of the image."""

    variance: VarianceCompanion | None = None
    """Variance of the image."""

    truth: Companion | None = None
    """Mask of the true cosmic rays: every pixel that is not zero."""

    template: str | None = None
    """File name, in the directory of the image, of the template."""

    exclude: tuple[str, ...] = ()
    """Patterns of file names that are not exposures."""

    background: BackgroundModel = BackgroundModel()
    """Model of the sky."""

    psf: PsfModel = PsfModel.AUTO
    """Model of the PSF."""

    @pydantic.field_validator("keywords", "values")
    @classmethod
    def _check_quantities(cls, entries: dict[str, Any]) -> dict[str, Any]:
        for name in entries:
            if name not in QUANTITIES:
                raise ValueError(f"unknown quantity {name!r}; known are {', '.join(QUANTITIES)}")
        return entries

    def with_overrides(
        self,
        *,
        values: dict[str, float | str] | None = None,
        keywords: dict[str, tuple[str, ...]] | None = None,
        **fields: Any,
    ) -> Preset:
        """Return a preset in which some entries are replaced.

        Parameters
        ----------
        values
            Values that win over everything else.
        keywords
            Keywords that win over the values and keywords of this preset.
        **fields
            Other fields to replace; `None` leaves one as it is.

        Returns
        -------
        preset : `Preset`
            The new preset.

        Raises
        ------
        PresetError
            Raised if an entry is not valid.
        """
        values, keywords = values or {}, keywords or {}
        kept = {name: value for name, value in self.values.items() if name not in keywords}
        changes = {name: value for name, value in fields.items() if value is not None}
        return _validated(
            self.model_dump() | changes | {"values": kept | values, "keywords": self.keywords | keywords},
            self.name,
        )


def file_stem(path: Path) -> str:
    """Return the name of a file without its FITS ending.

    Parameters
    ----------
    path
        A FITS file, compressed or not.

    Returns
    -------
    stem : `str`
        Name without ``.fits``, ``.fit``, ``.fts`` and what follows.
    """
    name = path.name
    for ending in (".gz", ".fz", ".bz2"):
        name = name.removesuffix(ending)
    for ending in (".fits", ".fit", ".fts", ".FITS", ".FIT"):
        name = name.removesuffix(ending)
    return name


def load_preset(path: Path) -> Preset:
    """Read a preset from a YAML file.

    Parameters
    ----------
    path
        YAML file with the fields of a `Preset`.

    Returns
    -------
    preset : `Preset`
        The preset; its name is the file's stem where it gives none.

    Raises
    ------
    PresetError
        Raised if the file cannot be read or an entry is not valid.
    """
    try:
        entries = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise PresetError(f"{path}: cannot be read as a YAML preset: {error}") from error
    if not isinstance(entries, dict):
        raise PresetError(f"{path}: a preset is a YAML mapping, not a {type(entries).__name__}")
    return _validated({"name": path.stem} | entries, str(path))


def _validated(entries: dict[str, Any], origin: str) -> Preset:
    """Make a preset, or say in one line which entry is wrong."""
    try:
        return Preset.model_validate(entries)
    except pydantic.ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        )
        raise PresetError(f"{origin}: {problems}") from error
