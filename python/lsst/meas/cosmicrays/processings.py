# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the datasets of a processing are called, and how they are stored."""

from __future__ import annotations

__all__ = ["PROCESSINGS", "NoImagesError", "Processing", "ProcessingError", "configure"]

import dataclasses
from collections.abc import Mapping
from typing import Any

from lsst.pex.config import Config

from .documentation import DocumentedError
from .tasks.compare_cosmic_rays import CompareCosmicRaysConfig
from .tasks.compare_interpolation import CompareInterpolationConfig
from .tasks.find_cosmic_rays import FindCosmicRaysConfig
from .tasks.interpolate_cosmic_rays import InterpolateCosmicRaysConfig
from .tasks.plot_exposures import PlotExposuresConfig
from .tasks.plot_masks import PlotMasksConfig
from .tasks.tune_finder import TuneFinderConfig


class ProcessingError(DocumentedError, ValueError):
    """Raised when there is no such processing, or package of images."""


class NoImagesError(DocumentedError, TypeError):
    """Raised when a configuration is of a task that reads no images."""


@dataclasses.dataclass(frozen=True)
class Processing:
    """Dataset types of images and sources."""

    science: str
    """Science image, cosmic rays not interpolated."""

    template: str
    """Template, warped to the science image."""

    difference: str
    """Difference image."""

    dia_sources: str
    """DIASources, before any reliability cut."""

    kernel_sources: str
    """Stars that the kernel of difference imaging is fitted to."""

    unit: str
    """Unit of the pixels of images that do not name it."""


PROCESSINGS = {
    "prompt": Processing(
        science="preliminary_visit_image",
        template="template_detector",
        difference="difference_image",
        dia_sources="dia_source_unfiltered",
        kernel_sources="single_visit_star_footprints",
        unit="nJy",
    ),
    "release": Processing(
        science="visit_image",
        template="template_detector",
        difference="difference_image",
        dia_sources="dia_source_unfiltered",
        kernel_sources="single_visit_star_footprints",
        unit="nJy",
    ),
    "release_pvi": Processing(
        science="pvi",
        template="goodSeeingDiff_templateExp",
        difference="goodSeeingDiff_differenceExp",
        dia_sources="goodSeeingDiff_diaSrc",
        kernel_sources="src",
        unit="nJy",
    ),
    "calexp": Processing(
        science="calexp",
        template="goodSeeingDiff_templateExp",
        difference="goodSeeingDiff_differenceExp",
        dia_sources="goodSeeingDiff_diaSrc",
        kernel_sources="src",
        unit="adu",
    ),
}
"""Names by processing: ``prompt`` (``ap_pipe``), ``release`` (``drp_pipe``),
``release_pvi`` (``drp_pipe`` of HSC and DECam) and ``calexp`` (all of them
before 2024, among them that of the 2022 report).
"""

STORAGE_CLASSES = {
    "afw": {"science": "ExposureF", "template": "ExposureF", "difference": "ExposureF"},
    "lsst.images": {"science": "VisitImage", "template": "VisitImage", "difference": "DifferenceImage"},
}
"""Storage classes of images, by the package they belong to."""

SOURCE_CATALOG_COLUMNS = {
    "id": "id",
    "x": "base_SdssCentroid_x",
    "y": "base_SdssCentroid_y",
    "ra": "coord_ra",
    "dec": "coord_dec",
    "dipole": "ip_diffim_DipoleFit_classification",
}
"""Columns of the ``SourceCatalog`` of ``lsst.ip.diffim``."""


def configure(config: Config, processing: str, images: str = "afw") -> None:
    """Set the names and storage classes of the inputs of a task.

    Pipelines call this in a ``python`` block, since one parameter of a
    pipeline cannot choose several names by itself.

    Parameters
    ----------
    config : `lsst.pex.config.Config`
        Configuration of one of the tasks of this package; changed in place.
    processing : `str`
        One of `PROCESSINGS`.
    images : `str`, optional
        Package of the types that images are read as: ``afw`` or
        ``lsst.images``.

    Raises
    ------
    ProcessingError
        Raised if there is no such processing, or no such package.
    NoImagesError
        Raised if the configuration is of a task that reads no such datasets.
    """
    if processing not in PROCESSINGS:
        raise ProcessingError(f"There is no processing {processing!r}; there are {', '.join(PROCESSINGS)}.")
    if images not in STORAGE_CLASSES:
        raise ProcessingError(f"images must be one of {', '.join(STORAGE_CLASSES)}, not {images!r}.")
    names, classes = PROCESSINGS[processing], STORAGE_CLASSES[images]
    match config:
        case FindCosmicRaysConfig():
            kind = str(config.connections.kind)
            config.connections.image = getattr(names, kind)
            config.imageStorageClass = classes[kind]
        case PlotMasksConfig():
            config.connections.image = names.science
            config.imageStorageClass = classes["science"]
        case InterpolateCosmicRaysConfig():
            config.connections.image = names.science
            config.imageStorageClass = classes["science"]
            # Pixels are filled as they are stored, in any unit.
            return
        case (
            CompareCosmicRaysConfig()
            | CompareInterpolationConfig()
            | PlotExposuresConfig()
            | TuneFinderConfig()
        ):
            _configure_images(config, names, classes)
            if hasattr(config, "diaSourceColumns"):
                _configure_sources(config, names, images)
        case _:
            raise NoImagesError(f"A {type(config).__name__} names no images of a processing.")
    config.reading.unit = names.unit


def _configure_images(config: Any, names: Processing, classes: Mapping[str, str]) -> None:
    """Set the images of a task that reads two or all three of them."""
    for role, storage_class in classes.items():
        if hasattr(config, f"{role}ImageStorageClass"):
            setattr(config.connections, f"{role}Image", getattr(names, role))
            setattr(config, f"{role}ImageStorageClass", storage_class)


def _configure_sources(config: Any, names: Processing, images: str) -> None:
    """Set the DIASources of a task."""
    config.connections.diaSources = names.dia_sources
    if images == "afw":
        config.diaSourcesStorageClass = "AstropyTable"
        for role, column in SOURCE_CATALOG_COLUMNS.items():
            setattr(config.diaSourceColumns, role, column)
