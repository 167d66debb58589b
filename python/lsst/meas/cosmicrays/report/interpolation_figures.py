# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Galleries of stamps without and with interpolation of cosmic rays."""

from __future__ import annotations

__all__ = ["plot_interpolation_examples"]

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure

from .gallery_stamp import GalleryStamp
from .interpolation_groups import GROUPS
from .stamp_gallery import plot_stamp_gallery

MASKS = {"mask_interpolated": "interpolated over", "mask_object": "OBJECT (detected after)"}


def plot_interpolation_examples(examples: Table, group: str) -> Figure:
    """Draw the stamps of sources without (left) and with interpolation.

    Parameters
    ----------
    examples : `astropy.table.Table`
        Stamps of one group in the order in which they are drawn, as
        `~lsst.meas.cosmicrays.comparison.cut_examples` returns them, with
        ``visit`` and ``detector``.
    group : `str`
        Which of `GROUPS` they are.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        One row a source: template, science and difference image before
        interpolation, then after.
    """
    stamps = [stamp for row in examples for stamp in (_without(row), _with(row))]
    return plot_stamp_gallery(stamps, title=GROUPS[group], n_columns=2)


def _without(row: Table.Row) -> GalleryStamp:
    """Return the stamp before interpolation, with the name of the source."""
    name = f"visit {row['visit']}, detector {row['detector']}, x {row['x']:.0f}, y {row['y']:.0f}: before"
    return GalleryStamp(
        template=_image(row["template"]),
        science=_image(row["science"]),
        difference=_image(row["difference"]),
        masks=_masks(row),
        caption=name,
        truth=str(row["true_kind"]) or None,
    )


def _with(row: Table.Row) -> GalleryStamp:
    """Return the stamp after interpolation, with what it has of CRs."""
    caption = f"after: {row['fate']}, {row['n_cr']} pixels interpolated over"
    if row["n_missed"] >= 0:
        caption += f", {row['n_missed']} of true cosmic rays left"
    return GalleryStamp(
        template=_image(row["template"]),
        science=_image(row["science_interpolated"]),
        difference=_image(row["difference_interpolated"]),
        masks=_masks(row),
        caption=caption,
    )


def _image(stamp: np.ndarray) -> np.ndarray | None:
    """Return an image, if there is one."""
    return stamp if np.isfinite(stamp).any() else None


def _masks(row: Table.Row) -> dict[str, np.ndarray]:
    return {name: np.asarray(row[column], dtype=bool) for column, name in MASKS.items()}
