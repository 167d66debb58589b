# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which stamps a gallery shows: by their cosmic-ray pixels, or at random."""

from __future__ import annotations

__all__ = ["sample_stamps", "stamps_by_pixels"]

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from astropy.table import Table, vstack


def stamps_by_pixels(
    stamps: Table, detection: str, numbers: Sequence[int], *, n_each: int, seed: int
) -> Table:
    """Choose stamps with exact numbers of cosmic-ray pixels.

    Parameters
    ----------
    stamps : `astropy.table.Table`
        Stamps, with ``n_cr_{detection}``.
    detection : `str`
        Whose pixels are counted.
    numbers : `~collections.abc.Sequence` [`int`]
        Numbers of pixels.
    n_each : `int`
        Most stamps of each number; where there are more, any of them.
    seed : `int`
        Seed of the choice.

    Returns
    -------
    chosen : `astropy.table.Table`
        Rows of the table in the order of ``numbers``, with ``n_alike``: how
        many stamps have as many pixels.
    """
    counts = np.asarray(stamps[f"n_cr_{detection}"])
    parts = []
    for number in numbers:
        alike = np.flatnonzero(counts == number)
        part = stamps[_sample(alike, n_each, seed)]
        part["n_alike"] = np.full(len(part), len(alike), dtype=np.int64)
        parts.append(part)
    return vstack(parts, metadata_conflicts="silent")


def sample_stamps(stamps: Table, detection: str, label: int, *, n_stamps: int, seed: int) -> Table:
    """Choose stamps with a label at random.

    Parameters
    ----------
    stamps : `astropy.table.Table`
        Stamps, with ``label_{detection}``.
    detection : `str`
        Whose label counts.
    label : `int`
        1 for CR, 0 for not CR.
    n_stamps : `int`
        Most stamps.
    seed : `int`
        Seed of the choice.

    Returns
    -------
    chosen : `astropy.table.Table`
        Rows of the table in their order, with ``n_alike``: how many stamps
        have the label.
    """
    alike = np.flatnonzero(np.asarray(stamps[f"label_{detection}"]) == label)
    chosen = stamps[_sample(alike, n_stamps, seed)]
    chosen["n_alike"] = np.full(len(chosen), len(alike), dtype=np.int64)
    return chosen


def _sample(rows: npt.NDArray[np.intp], n: int, seed: int) -> npt.NDArray[np.intp]:
    """Draw rows without replacement, in their order."""
    if len(rows) <= n:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, n, replace=False))
