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

__all__ = ["compare_masks"]

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from .confusion import confusion, tolerant_confusion
from .histogram import dilate, joint_histogram

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
