# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the functions of L.A.Cosmic are compiled."""

from __future__ import annotations

__all__ = ["compiled", "in_place", "inlined", "read_only"]

from typing import Any

import numpy as np
from numba import njit

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
# numba's own functions have this option too, but its annotations lack it.
_COUNTED: dict[str, Any] = {"_nrt": True}
_NOT_COUNTED: dict[str, Any] = {"_nrt": False}

compiled = njit(**_OPTIONS, **_COUNTED)
"""Compile once and for all, to machine code that needs no interpreter lock and
rounds every operation as written (no ``fastmath``).

What is added up or combined in a narrow integer must be converted to it at
every step: numba makes 8 bytes of any sum, and a vector register then holds
but four of them."""

in_place = njit(**_OPTIONS, **_NOT_COUNTED)
"""The same for functions that make no arrays, and neither return nor keep any.
No references are counted in them: on short rows that takes as long as the work
does, and longer if another thread has the same array."""

inlined = njit(**_OPTIONS, inline="always")
"""The same for small functions in the innermost loops."""


def read_only(plane: np.ndarray) -> np.ndarray:
    """Return a view that numba sees as one type, writable or not before.

    Parameters
    ----------
    plane : `numpy.ndarray`
        Array.

    Returns
    -------
    view : `numpy.ndarray`
        The same numbers, that cannot be written to.
    """
    view = plane.view()
    view.flags.writeable = False
    return view
