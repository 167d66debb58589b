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

__all__ = ["PROCESSINGS", "Processing", "configure"]

import dataclasses

from lsst.pex.config import Config

from .tasks.compare_cosmic_rays import CompareCosmicRaysConfig
from .tasks.find_cosmic_rays import FindCosmicRaysConfig
from .tasks.plot_masks import PlotMasksConfig


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

    unit: str
    """Unit of the pixels of images that do not name it."""


PROCESSINGS = {
    "prompt": Processing(
        "preliminary_visit_image", "template_detector", "difference_image", "dia_source_unfiltered", "nJy"
    ),
    "release": Processing(
        "visit_image", "template_detector", "difference_image", "dia_source_unfiltered", "nJy"
    ),
    "release_pvi": Processing(
        "pvi", "goodSeeingDiff_templateExp", "goodSeeingDiff_differenceExp", "goodSeeingDiff_diaSrc", "nJy"
    ),
    "calexp": Processing(
        "calexp", "goodSeeingDiff_templateExp", "goodSeeingDiff_differenceExp", "goodSeeingDiff_diaSrc", "adu"
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
    ValueError
        Raised if there is no such processing, or no such package.
    TypeError
        Raised if the configuration is of a task that reads no such datasets.
    """
    if processing not in PROCESSINGS:
        raise ValueError(f"There is no processing {processing!r}; there are {', '.join(PROCESSINGS)}.")
    if images not in STORAGE_CLASSES:
        raise ValueError(f"images must be one of {', '.join(STORAGE_CLASSES)}, not {images!r}.")
    names, classes = PROCESSINGS[processing], STORAGE_CLASSES[images]
    match config:
        case FindCosmicRaysConfig():
            kind = str(config.connections.kind)
            config.connections.image = getattr(names, kind)
            config.imageStorageClass = classes[kind]
        case CompareCosmicRaysConfig():
            config.connections.scienceImage = names.science
            config.connections.templateImage = names.template
            config.connections.differenceImage = names.difference
            config.connections.diaSources = names.dia_sources
            for role, storage_class in classes.items():
                setattr(config, f"{role}ImageStorageClass", storage_class)
            if images == "afw":
                config.diaSourcesStorageClass = "AstropyTable"
                for role, column in SOURCE_CATALOG_COLUMNS.items():
                    setattr(config.diaSourceColumns, role, column)
        case PlotMasksConfig():
            config.connections.image = names.science
            config.imageStorageClass = classes["science"]
        case _:
            raise TypeError(f"A {type(config).__name__} names no images of a processing.")
    config.reading.unit = names.unit
