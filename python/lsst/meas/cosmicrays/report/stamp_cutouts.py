# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stamps of a gallery, out of the cutouts of many detectors."""

from __future__ import annotations

__all__ = ["WantedStamp", "describe_truth", "read_stamps"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from astropy.table import Row, Table

from .gallery_stamp import GalleryStamp


class Readable(Protocol):
    """What reads the cutouts of a detector, as a deferred dataset does."""

    def get(self) -> Table:
        """Read them."""


@dataclass(frozen=True)
class WantedStamp:
    """A stamp that is to be shown."""

    detector: int
    """Detector (`int`)."""

    id: int
    """Identifier of the stamp's source, on that detector (`int`)."""

    masks: tuple[str, ...]
    """Detections, or ``truth``, whose masks are outlined; those of which
    there is no cutout are left out (`tuple` [`str`]).
    """

    caption: str
    """What is written below (`str`)."""

    truth: str | None
    """What the source truly is, where that is known (`str`)."""


def read_stamps[Key](
    wanted: Mapping[Key, WantedStamp], handles: Mapping[int, Readable]
) -> dict[Key, GalleryStamp]:
    """Read the cutouts of stamps, one detector at a time.

    Parameters
    ----------
    wanted : `~collections.abc.Mapping` [any, `WantedStamp`]
        The stamps, by any key.
    handles : `~collections.abc.Mapping`
        By detector, what reads the cutouts that `CompareCosmicRaysTask`
        wrote: anything with a method ``get``. The images of one detector
        are forgotten before those of the next are read.

    Returns
    -------
    stamps : `dict` [any, `.gallery_stamp.GalleryStamp`]
        Images and masks, by the same keys.
    """
    by_detector: dict[int, dict[Key, WantedStamp]] = {}
    for key, stamp in wanted.items():
        by_detector.setdefault(stamp.detector, {})[key] = stamp
    stamps: dict[Key, GalleryStamp] = {}
    for detector in sorted(by_detector):
        images = handles[detector].get()
        numbers = {int(identifier): number for number, identifier in enumerate(images["id"])}
        for key, stamp in by_detector[detector].items():
            stamps[key] = _copy_stamp(stamp, images[numbers[stamp.id]])
    return stamps


def _copy_stamp(stamp: WantedStamp, cutouts: Row) -> GalleryStamp:
    """Copy the cutouts of a stamp, so that the rest can be forgotten."""
    masks = [name for name in stamp.masks if f"mask_{name}" in cutouts.colnames]
    return GalleryStamp(
        template=np.array(cutouts["template"]),
        science=np.array(cutouts["science"]),
        difference=np.array(cutouts["difference"]),
        masks={name: np.array(cutouts[f"mask_{name}"]) for name in masks},
        caption=stamp.caption,
        truth=stamp.truth,
    )


def describe_truth(row: Row) -> str | None:
    """Say what a source is, and whether a cosmic ray is in its stamp.

    Parameters
    ----------
    row : `astropy.table.Row`
        With ``true_kind`` and ``label_truth``, as in a table of stamps.

    Returns
    -------
    text : `str` or `None`
        `None` where nothing is known.
    """
    kind = str(row["true_kind"]).replace("_", " ")
    in_stamp = {1: "CR in stamp", 0: "no CR in stamp"}.get(int(row["label_truth"]), "")
    return ", ".join(part for part in (kind, in_stamp) if part) or None
