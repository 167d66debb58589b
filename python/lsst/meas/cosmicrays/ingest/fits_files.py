# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opening FITS files, and saying what is wrong with them."""

from __future__ import annotations

__all__ = (
    "check_shape",
    "find_image",
    "is_image",
    "one_line",
    "open_fits",
    "read_image_array",
    "read_pixels",
)

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.data import get_readable_fileobj
from astropy.utils.exceptions import AstropyWarning

from .checksums import wrong_sums
from .errors import IngestError, IngestWarning

_CARD = 80
# More than the standard's 999 axes or columns; sizes below zero.
_IMPOSSIBLE_COUNT = re.compile(
    rb"(?P<count>Z?NAXIS|TFIELDS) *= *(?P<many>\+?[0-9]{4,})"
    rb"|(?P<size>Z?NAXIS[0-9]*|TFIELDS|PCOUNT|GCOUNT) *= *(?P<negative>-[0-9.]+)"
)
# Whole blocks, so that no card is cut in two.
_CHUNK = 2880 * 4096


def read_image_array(path: Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Read the first image of a file.

    Parameters
    ----------
    path
        FITS file.
    shape
        Shape that the image must have.

    Returns
    -------
    array : `numpy.ndarray`
        Pixels in the type of the file; shape (ny, nx).

    Raises
    ------
    IngestError
        Raised if the file cannot be read, or its image has another shape.
    """
    with open_fits(path) as hdus:
        numbers = [number for number, hdu in enumerate(hdus) if is_image(hdu)]
        if not numbers:
            raise IngestError("holds no two-dimensional image", path=path)
        return check_shape(read_pixels(hdus[numbers[0]], path), shape, path)


@contextmanager
def open_fits(path: Path) -> Iterator[fits.HDUList]:
    """Open a file, having looked at all its headers.

    Parameters
    ----------
    path
        FITS file, compressed or not.

    Yields
    ------
    hdus : `astropy.io.fits.HDUList`
        The open file.

    Raises
    ------
    IngestError
        Raised if there is no such file, or it is damaged or truncated.

    Warns
    -----
    IngestWarning
        Issued for every HDU that is not what its CHECKSUM or DATASUM says.
    """
    if not path.is_file():
        raise IngestError("no such file", path=path)
    try:
        _check_counts(path)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            hdus = fits.open(path, memmap=False, lazy_load_hdus=False)
    except IngestError:
        raise
    except Exception as error:  # astropy, gzip and zlib raise anything.
        raise IngestError(f"is not a FITS file, or is damaged: {one_line(error)}", path=path) from error
    with hdus:
        if any("truncated" in str(warning.message) for warning in caught):
            raise IngestError("is truncated: it is shorter than its headers say", path=path)
        _warn_of_wrong_sums(path, hdus)
        yield hdus


def _check_counts(path: Path) -> None:
    """Refuse counts and sizes on which astropy would loop for ever."""
    with get_readable_fileobj(str(path), encoding="binary", cache=False) as stream:
        while chunk := stream.read(_CHUNK):
            for found in _IMPOSSIBLE_COUNT.finditer(chunk):
                if found.start() % _CARD == 0:
                    keyword = (found["count"] or found["size"]).decode()
                    value = (found["many"] or found["negative"]).decode()
                    raise IngestError(f"is damaged: its {keyword} is {value}", path=path, keyword=keyword)


def _warn_of_wrong_sums(path: Path, hdus: fits.HDUList) -> None:
    """Say which HDUs are damaged, or were changed by a careless program."""
    for number, keyword in wrong_sums(path, hdus).items():
        part = "data" if keyword == "DATASUM" else "header or data"
        warnings.warn(
            f"{path.name}[{number}]: its {keyword} is wrong: {part} are not what was written; if no program "
            "changed them on purpose, get the file again",
            IngestWarning,
            stacklevel=2,
        )


def one_line(error: Exception) -> str:
    """Return the message of an error in one line.

    Parameters
    ----------
    error
        The error.

    Returns
    -------
    text : `str`
        What it says, or its type if it says nothing.
    """
    return " ".join(str(error).split()) or type(error).__name__


def is_image(hdu: Any) -> bool:
    """Say whether an HDU holds a two-dimensional image.

    Parameters
    ----------
    hdu
        The HDU.

    Returns
    -------
    image : `bool`
        Whether it does; further axes of length 1 do not count.
    """
    if not isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU):
        return False
    axes = [hdu.header[f"NAXIS{n}"] for n in range(1, hdu.header["NAXIS"] + 1)]
    return len(axes) >= 2 and min(axes[:2]) > 0 and all(length == 1 for length in axes[2:])


def find_image(hdus: fits.HDUList, extension: str | int | tuple[str, int]) -> int:
    """Find an HDU that must be an image.

    Parameters
    ----------
    hdus
        The open file.
    extension
        Name, number, or name and version of the HDU.

    Returns
    -------
    number : `int`
        Its number.

    Raises
    ------
    IngestError
        Raised if there is none, or it is no image.
    """
    try:
        number = hdus.index_of(extension)
        hdu = hdus[number]
    except (KeyError, IndexError) as error:
        raise IngestError("there is no such extension", extension=_label(extension)) from error
    if not is_image(hdu):
        raise IngestError("holds no two-dimensional image", extension=_label(extension))
    return int(number)


def read_pixels(hdu: Any, path: Path) -> np.ndarray:
    """Read the pixels of an HDU.

    Parameters
    ----------
    hdu
        The HDU, an image.
    path
        Its file, for messages.

    Returns
    -------
    pixels : `numpy.ndarray`
        Real numbers in the byte order of the machine; shape (ny, nx).

    Raises
    ------
    IngestError
        Raised if the pixels cannot be read or are not real numbers.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            data = hdu.data
    except Exception as error:  # Damaged compressed pixels raise anything.
        raise IngestError(f"its pixels cannot be read: {one_line(error)}", path=path) from error
    if data is None or data.dtype.kind not in "iufb":
        raise IngestError("holds no real pixels", path=path)
    # Pixels in the byte order of the machine.
    return np.asarray(data).reshape(data.shape[-2:]).astype(data.dtype.newbyteorder("="))


def check_shape(array: np.ndarray, shape: tuple[int, int] | None, path: Path) -> np.ndarray:
    """Return an array that must have the shape of its image.

    Parameters
    ----------
    array
        The array.
    shape
        Shape (ny, nx) of the image, or `None` if any will do.
    path
        File of the array, for messages.

    Returns
    -------
    array : `numpy.ndarray`
        The same array.

    Raises
    ------
    IngestError
        Raised if it has another shape.
    """
    if shape is not None and array.shape != shape:
        raise IngestError(
            f"has the shape {array.shape}, but its image has {shape} (ny, nx)",
            path=path,
        )
    return array


def _label(extension: str | int | tuple[str, int]) -> str:
    return ",".join(map(str, extension)) if isinstance(extension, tuple) else str(extension)
