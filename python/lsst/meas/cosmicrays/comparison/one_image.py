# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Masks of one image against each other, in one call."""

from __future__ import annotations

__all__ = ["compare_masks", "cut_out_stamps"]

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from .confusion import confusion, tolerant_confusion
from .histogram import dilate, joint_histogram
from .stamps import STAMP_SIZE, cut_stamps

RATES = ("purity", "completeness", "f1")
COLUMNS = ("candidate", "tp", "fp", "fn", "tn", *RATES, *(f"{rate}_1px" for rate in RATES))


def compare_masks(
    masks: Mapping[str, npt.NDArray[np.bool_]],
    reference: str,
    *,
    usable: npt.NDArray[np.bool_] | None = None,
) -> Table:
    """Judge the masks of one image by one of them.

    Parameters
    ----------
    masks : `~collections.abc.Mapping`
        Masks by name, bool arrays ``(ny, nx)``: detections, truth.
    reference : `str`
        The mask that is taken as truth.
    usable : `numpy.ndarray`, optional
        Pixels that count, bool ``(ny, nx)``; all, if not given.

    Returns
    -------
    table : `astropy.table.Table`
        One row a mask, the reference left out: ``candidate``, ``tp``,
        ``fp``, ``fn``, ``tn``, ``purity``, ``completeness``, ``f1``, and the
        three rates with a tolerance of one pixel (``purity_1px``, ...).  A
        rate that is 0/0 is NaN.

    Raises
    ------
    KeyError
        Raised if the reference is none of the masks.
    ValueError
        Raised if the masks differ in shape, or are too many.
    """
    names = list(masks)
    if reference not in names:
        raise KeyError(f"{reference!r} is none of the masks: {', '.join(names)}.")
    arrays = [np.asarray(masks[name], dtype=bool) for name in names]
    counts = joint_histogram(arrays, usable)
    rows = []
    for candidate, (name, array) in enumerate(zip(names, arrays, strict=True)):
        if name == reference:
            continue
        bit = names.index(reference)
        exact = confusion(counts, bit, candidate)
        four = [arrays[bit], array]
        near = joint_histogram([*four, *(dilate(mask) for mask in four)], usable)
        tolerant = tolerant_confusion(near, 0, 1, n_masks=2)
        rates = [rate for each in (exact, tolerant) for rate in (each.purity, each.completeness, each.f1)]
        rows.append(
            (
                name,
                exact.tp,
                exact.fp,
                exact.fn,
                exact.tn,
                *(np.nan if rate is None else rate for rate in rates),
            )
        )
    return Table(rows=rows, names=COLUMNS, dtype=[str, *[np.int64] * 4, *[np.float64] * 6])


def cut_out_stamps(
    stamps: Table,
    images: Mapping[str, npt.NDArray],
    masks: Mapping[str, npt.NDArray[np.bool_]],
    *,
    origin: tuple[int, int] = (0, 0),
) -> Table:
    """Cut the pixels of stamps out of the images and masks of one detector.

    Parameters
    ----------
    stamps : `astropy.table.Table`
        Any rows of ``cr_stamps``: ``id`` and the bounds ``x_min``, ``y_min``
        and ``x_max``.
    images : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Images by name, ``(ny, nx)``.
    masks : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Masks by name, of the same shape.
    origin : `tuple` [`int`, `int`], optional
        ``(x, y)`` of the first pixel of the images.

    Returns
    -------
    cutouts : `astropy.table.Table`
        One row a stamp, as in ``cr_stamp_images``: ``id``, the images under
        their names (NaN beyond the edge) and ``mask_{name}`` of each mask
        (`False` beyond the edge), each ``(size, size)``.
    """
    columns, rows = np.asarray(stamps["x_min"]) - origin[0], np.asarray(stamps["y_min"]) - origin[1]
    size = int(stamps["x_max"][0] - stamps["x_min"][0] + 1) if len(stamps) else STAMP_SIZE
    cutouts = Table({"id": np.asarray(stamps["id"])})
    for name, image in images.items():
        cutouts[name] = cut_stamps(image.astype(np.float32), columns, rows, size)
    for name, mask in masks.items():
        cutouts[f"mask_{name}"] = cut_stamps(mask, columns, rows, size)
    return cutouts
