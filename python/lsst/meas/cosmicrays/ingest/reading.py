# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding the images of detectors in FITS files."""

from __future__ import annotations

__all__ = ("CcdFrame", "read_frames")

import dataclasses
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import astropy.wcs
import numpy as np
from astropy.coordinates import FK5, ICRS, SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.wcs.utils import wcs_to_celestial_frame

from .afw_files import archive_header
from .companions import read_companions
from .errors import IngestError
from .fits_files import find_image, is_image, one_line, open_fits, read_pixels
from .headers import Quantities, parse_section
from .preset import FileFormat, Preset


@dataclasses.dataclass(frozen=True, eq=False)
class CcdFrame:
    """The image of one detector as it stands in a file.

    Parameters
    ----------
    path
        File of the image.
    extension
        Name or number of its HDU.
    index
        Place among the images of the file, from 0.
    image
        Pixels in the unit of the file, trimmed and bias-subtracted;
        `float32` of shape (ny, nx).
    variance
        Variance in the square of that unit, or `None`.
    planes
        Mask planes by their `lsst.images` names, `bool`.
    truth
        True cosmic-ray pixels, or `None` where they are not known.
    quantities
        What headers and preset say.
    wcs
        World coordinates of the trimmed image, or `None`.
    """

    path: Path
    extension: str
    index: int
    image: np.ndarray
    variance: np.ndarray | None
    planes: dict[str, np.ndarray]
    truth: np.ndarray | None
    quantities: Quantities
    wcs: astropy.wcs.WCS | None


def read_frames(path: Path, preset: Preset) -> Iterator[CcdFrame | IngestError]:
    """Read the images of all detectors in a file.

    Parameters
    ----------
    path
        FITS file, compressed or not.
    preset
        What such files look like.

    Yields
    ------
    frame : `CcdFrame` or `IngestError`
        Image of one detector, or what is wrong with it; the others follow.
    """
    try:
        with open_fits(path) as hdus:
            archive = archive_header(hdus) if preset.format is FileFormat.AFW else fits.Header()
            for place, number in enumerate(_select(hdus, preset)):
                extension = _extension_name(hdus, number)
                try:
                    yield _read_frame(hdus, number, path, extension, place, preset, archive)
                except Exception as error:
                    yield _as_ingest_error(error).at(path, extension)
    except Exception as error:
        yield _as_ingest_error(error).at(path)


def _as_ingest_error(error: Exception) -> IngestError:
    """Name an error; damaged headers make astropy raise anything."""
    if isinstance(error, IngestError):
        return error
    return IngestError(
        f"is damaged, or no FITS that is understood: {type(error).__name__}, {one_line(error)}"
    )


def _select(hdus: fits.HDUList, preset: Preset) -> list[int]:
    """Find the HDUs that are images of detectors."""
    if preset.extensions is not None:
        return [find_image(hdus, extension) for extension in preset.extensions]
    companions = {"MASK", "VARIANCE"} if preset.format is FileFormat.AFW else set()
    for companion in (preset.mask, preset.variance, preset.truth):
        if companion is not None and companion.extension is not None:
            companions.add(str(companion.extension).upper())
    selected = [
        number
        for number, hdu in enumerate(hdus)
        if is_image(hdu) and hdu.name.upper() not in companions and str(number) not in companions
    ]
    if not selected:
        raise IngestError("holds no two-dimensional image")
    return selected


def _extension_name(hdus: fits.HDUList, number: int) -> str:
    """Name an extension so that no other in the file has the same name.

    What astropy calls compressed images is no name.
    """
    names = Counter(hdu.name for hdu in hdus)
    hdu = hdus[number]
    if hdu.name in ("", "PRIMARY", "COMPRESSED_IMAGE"):
        return str(number)
    return hdu.name if names[hdu.name] == 1 else f"{hdu.name},{hdu.ver}"


def _read_frame(
    hdus: fits.HDUList,
    number: int,
    path: Path,
    extension: str,
    place: int,
    preset: Preset,
    archive: fits.Header,
) -> CcdFrame:
    """Read the image of one detector with all that belongs to it."""
    hdu = hdus[number]
    image = read_pixels(hdu, path).astype(np.float32)
    untrimmed = image.shape
    headers = (hdu.header, archive, hdus[0].header)
    if not np.isfinite(image).any():
        raise IngestError("has no finite pixel")

    rows, columns = parse_section(preset.trim, untrimmed) if preset.trim else (slice(None), slice(None))
    companions = read_companions(hdus, number, path, untrimmed, preset).cut(rows, columns)
    return CcdFrame(
        path=path,
        extension=extension,
        index=place,
        image=(image - _bias(image, preset))[rows, columns],
        variance=companions.variance,
        planes=companions.planes,
        truth=companions.truth,
        quantities=Quantities(headers, preset, path, extension),
        wcs=_read_wcs(hdu.header, columns.start or 0, rows.start or 0),
    )


def _bias(image: np.ndarray, preset: Preset) -> np.ndarray | float:
    """Find the bias level, row by row where there is an overscan."""
    if preset.overscan is None:
        return preset.bias
    overscan = image[parse_section(preset.overscan, image.shape)]
    if overscan.shape[0] != image.shape[0]:
        return float(np.median(overscan))
    return np.median(overscan, axis=1, keepdims=True)


def _read_wcs(header: fits.Header, x0: int, y0: int) -> astropy.wcs.WCS | None:
    """Read celestial coordinates; `None` where there are none or bad ones."""
    if "CTYPE1" not in header:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wcs = astropy.wcs.WCS(header, naxis=2)
            if not wcs.has_celestial:
                return None
            wcs = _in_icrs(wcs.slice((slice(y0, None), slice(x0, None))))
            wcs.wcs.set()
            return wcs if np.all(np.isfinite(wcs.pixel_to_world_values([0.0, 1.0], [0.0, 1.0]))) else None
    except Exception:  # Damaged keywords make astropy raise anything.
        return None


def _in_icrs(wcs: astropy.wcs.WCS) -> astropy.wcs.WCS:
    """Return a WCS of galactic, B1950 or other coordinates in ICRS.

    The sphere is turned: the reference point gets its ICRS position, and
    the native longitude of the pole (LONPOLE) the direction of ICRS north.
    That is exact, distortions included, where the reference point is the
    native pole, as in TAN and all other zenithal projections.
    """
    frame = wcs_to_celestial_frame(wcs)
    if isinstance(frame, ICRS) or (isinstance(frame, FK5) and frame.equinox == Time("J2000")):
        return wcs
    wcs.wcs.set()
    if wcs.wcs.theta0 != 90.0:
        raise ValueError(f"Cannot turn {wcs.wcs.ctype[0]} to ICRS.")
    axes = [wcs.wcs.lng, wcs.wcs.lat]
    reference = SkyCoord(*wcs.wcs.crval[axes], unit="deg", frame=frame)
    north = reference.position_angle(SkyCoord(0.0, 90.0, unit="deg").transform_to(frame))
    turned = wcs.deepcopy()
    ctype, crval = list(wcs.wcs.ctype), wcs.wcs.crval.copy()
    for axis, name in zip(axes, ("RA--", "DEC-"), strict=True):
        ctype[axis] = name + ctype[axis][4:]
    crval[axes] = reference.icrs.ra.deg, reference.icrs.dec.deg
    turned.wcs.ctype, turned.wcs.crval = ctype, crval
    turned.wcs.lonpole = wcs.wcs.lonpole - north.deg
    turned.wcs.radesys = "ICRS"
    turned.wcs.equinox = np.nan
    return turned
