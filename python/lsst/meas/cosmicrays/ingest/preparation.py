# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that is done to a file before a repository comes into it."""

from __future__ import annotations

__all__ = ("PreparedFile", "PreparedFrame", "prepare_file")

import dataclasses
import warnings
from pathlib import Path

import numpy as np

from .calibration import ScienceFrame, calibrate
from .errors import IngestError, IngestWarning
from .fits_files import read_image_array
from .preset import Preset
from .psf import PsfMeasurement, measure_psf
from .reading import CcdFrame, read_frames


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedFrame:
    """The image of one detector with its PSF.

    Parameters
    ----------
    source
        What the file says.
    science
        The science image.
    psf
        Its PSF.
    """

    source: CcdFrame
    science: ScienceFrame
    psf: PsfMeasurement


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedFile:
    """What came out of a file.

    Parameters
    ----------
    path
        The file.
    frames
        Images of detectors that can be ingested.
    present
        Extensions that need not be prepared again.
    errors
        What is wrong with the others.
    notes
        What was assumed.
    """

    path: Path
    frames: list[PreparedFrame]
    present: list[str]
    errors: list[IngestError]
    notes: list[str]


def prepare_file(
    path: Path,
    preset: Preset,
    bad_pixel_file: Path | None = None,
    done: frozenset[tuple[str, str]] = frozenset(),
) -> PreparedFile:
    """Read, calibrate and measure all images of a file.

    Parameters
    ----------
    path
        FITS file.
    preset
        What such files look like.
    bad_pixel_file
        FITS image that is not zero at bad pixels, of the shape of the
        images when they are trimmed.
    done
        Names of files and extensions that need not be prepared again.

    Returns
    -------
    prepared : `PreparedFile`
        Good images and errors; nothing is raised.
    """
    frames, present, errors = [], [], []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for frame in read_frames(path, preset):
            if isinstance(frame, IngestError):
                errors.append(frame)
                continue
            if (path.name, frame.extension) in done:
                present.append(frame.extension)
                continue
            try:
                frames.append(_prepare_frame(frame, bad_pixel_file))
            except IngestError as error:
                errors.append(error.at(path, frame.extension))
    notes = [str(warning.message) for warning in caught if issubclass(warning.category, IngestWarning)]
    return PreparedFile(path, frames, present, errors, notes)


def _prepare_frame(frame: CcdFrame, bad_pixel_file: Path | None) -> PreparedFrame:
    science = calibrate(frame, _read_bad_pixels(bad_pixel_file, frame))
    quantities = frame.quantities
    measurement = measure_psf(
        science.image,
        science.variance,
        science.bad,
        model=quantities.preset.psf,
        fwhm=quantities.checked_number("fwhm", above=0.0),
        name=f"{frame.path.name}[{frame.extension}]",
    )
    return PreparedFrame(frame, science, measurement)


def _read_bad_pixels(path: Path | None, frame: CcdFrame) -> np.ndarray | None:
    return None if path is None else read_image_array(path, frame.image.shape) != 0
