# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turning and mirroring tiles, so that each can be seen in eight ways."""

from __future__ import annotations

__all__ = ["N_ORIENTATIONS", "orient"]

import numpy as np
import numpy.typing as npt

N_ORIENTATIONS = 8
"""Quarter turns, and the mirror image of each."""


def orient(tile: npt.NDArray, orientation: int) -> npt.NDArray:
    """Turn a tile, and mirror it or not.

    Parameters
    ----------
    tile : `numpy.ndarray`
        Any array whose last two axes are rows and columns.
    orientation : `int`
        Number of quarter turns, and 4 more for the mirror image; 0 leaves
        the tile as it is.

    Returns
    -------
    oriented : `numpy.ndarray`
        A view of the tile.

    Raises
    ------
    ValueError
        Raised if there is no such orientation.
    """
    if not 0 <= orientation < N_ORIENTATIONS:
        raise ValueError(f"orientation must be from 0 to {N_ORIENTATIONS - 1}, got {orientation}.")
    turned = np.rot90(tile, orientation % 4, axes=(-2, -1))
    return turned[..., ::-1] if orientation >= 4 else turned
