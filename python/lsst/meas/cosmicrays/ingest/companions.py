# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Masks, variances and truth that belong to an image."""

from __future__ import annotations

__all__ = ("Companions", "read_companions")

import dataclasses
from pathlib import Path

import numpy as np
from astropy.io import fits

from .afw_files import mask_planes
from .errors import IngestError
from .fits_files import check_shape, find_image, is_image, open_fits, read_pixels
from .preset import Companion, FileFormat, MaskCodes, Preset, VarianceKind

_TRUTH_PLANE = "COSMIC_RAY"


@dataclasses.dataclass(frozen=True, eq=False)
class Companions:
    """What belongs to an image, on its pixels.

    Parameters
    ----------
    variance
        Variance in the square of the image's unit, NaN where there is none;
        `None` if the file says nothing.
    planes
        Mask planes by their `lsst.images` names, `bool`.
    truth
        True cosmic-ray pixels, or `None` where they are not known.
    """

    variance: np.ndarray | None
    planes: dict[str, np.ndarray]
    truth: np.ndarray | None

    def cut(self, rows: slice, columns: slice) -> Companions:
        """Return the part that belongs to a part of the image.

        Parameters
        ----------
        rows, columns
            The part.

        Returns
        -------
        companions : `Companions`
            What belongs to it.
        """
        return Companions(
            None if self.variance is None else self.variance[rows, columns],
            {name: plane[rows, columns] for name, plane in self.planes.items()},
            None if self.truth is None else self.truth[rows, columns],
        )


def read_companions(
    hdus: fits.HDUList, number: int, path: Path, shape: tuple[int, int], preset: Preset
) -> Companions:
    """Read what belongs to an image.

    Parameters
    ----------
    hdus
        The open file of the image.
    number
        Number of its HDU.
    path
        Name of the file.
    shape
        Shape (ny, nx) of the image.
    preset
        Where to look.

    Returns
    -------
    companions : `Companions`
        What was found.

    Raises
    ------
    IngestError
        Raised if something is damaged, has another shape, or is missing
        although it is required.
    """
    planes: dict[str, np.ndarray] = {}
    variance = truth = None
    if preset.format is FileFormat.AFW:
        planes, variance = _read_afw(hdus, shape, path)
    if preset.mask is not None:
        codes = _read(preset.mask, hdus, number, path, shape)
        if codes is not None:
            planes = _decode(codes, preset.mask.codes)
            if preset.mask.codes.has_plane(_TRUTH_PLANE):
                truth = planes.pop(_TRUTH_PLANE, np.zeros(shape, dtype=bool))
    if preset.variance is not None:
        stored = _read(preset.variance, hdus, number, path, shape)
        if stored is not None:
            variance = _as_variance(stored, preset.variance.kind)
    if preset.truth is not None:
        stored = _read(preset.truth, hdus, number, path, shape)
        truth = None if stored is None else stored != 0
    return Companions(variance, planes, truth)


def _read_afw(
    hdus: fits.HDUList, shape: tuple[int, int], path: Path
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    mask, variance = (hdus[find_image(hdus, name)] for name in ("MASK", "VARIANCE"))
    try:
        planes = mask_planes(check_shape(read_pixels(mask, path), shape, path), mask.header)
    except IngestError as error:
        raise error.at(path, "MASK") from error
    try:
        return planes, check_shape(read_pixels(variance, path), shape, path).astype(np.float32)
    except IngestError as error:
        raise error.at(path, "VARIANCE") from error


def _read(
    companion: Companion, hdus: fits.HDUList, number: int, path: Path, shape: tuple[int, int]
) -> np.ndarray | None:
    """Read the pixels of a companion, or `None` where there is none."""
    file = companion.file_of(path)
    if file == path:
        found = _find_beside(companion, hdus, hdus, number, path)
        return None if found is None else check_shape(read_pixels(hdus[found], path), shape, path)
    if file is None or not file.is_file():
        if companion.required:
            raise IngestError(f"its companion {file.name if file else ''} is missing")
        return None
    with open_fits(file) as others:
        found = _find_beside(companion, others, hdus, number, file)
        return None if found is None else check_shape(read_pixels(others[found], file), shape, file)


def _find_beside(
    companion: Companion, others: fits.HDUList, hdus: fits.HDUList, number: int, file: Path
) -> int | None:
    """Find the HDU of the companion of an HDU."""
    image = hdus[number]
    if companion.extension is not None:
        versions = [(companion.extension, image.ver)] if isinstance(companion.extension, str) else []
        for extension in [*versions, companion.extension]:
            if extension in others:
                return find_image(others, extension)
        if companion.required:
            raise IngestError("there is no such extension", path=file, extension=str(companion.extension))
        return None
    images = [n for n, hdu in enumerate(others) if is_image(hdu)]
    same_name = [
        n for n in images if image.name and (others[n].name, others[n].ver) == (image.name, image.ver)
    ]
    same_place = [n for n in images if n == number] or (images if len(images) == 1 else [])
    if not (same_name or same_place):
        raise IngestError(f"has no image that belongs to extension {image.name or number}", path=file)
    return (same_name or same_place)[0]


def _decode(codes: np.ndarray, meaning: MaskCodes) -> dict[str, np.ndarray]:
    """Split the integers of a mask into planes that are not empty."""
    planes: dict[str, np.ndarray] = {}
    codes = codes.astype(np.int64)
    for number, name in (meaning.values or meaning.bits).items():
        plane = codes == number if meaning.values else (codes >> number) & 1 == 1
        if plane.any():
            planes[name] = planes.get(name, False) | plane
    return planes


def _as_variance(stored: np.ndarray, kind: VarianceKind) -> np.ndarray:
    """Turn what a file holds into a variance; NaN where it holds none."""
    stored = stored.astype(np.float64)
    usable = np.isfinite(stored) & (stored > 0.0)
    variance = np.full(stored.shape, np.nan, dtype=np.float32)
    match kind:
        case VarianceKind.VARIANCE:
            variance[usable] = stored[usable]
        case VarianceKind.INVERSE:
            variance[usable] = 1.0 / stored[usable]
        case VarianceKind.SIGMA:
            variance[usable] = stored[usable] ** 2
    return variance
