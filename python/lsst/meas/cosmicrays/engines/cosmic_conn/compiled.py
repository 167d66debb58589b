# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the functions of Cosmic-CoNN are compiled."""

from __future__ import annotations

__all__ = ["in_place", "in_place_reordered"]

from typing import Any

from numba import njit

# numba's own functions have the last option too, but its annotations lack it.
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}

in_place = njit(**_OPTIONS)
"""Compile once and for all, to machine code that needs no interpreter lock,
for functions that make no arrays, and neither return nor keep any.  So no
references are counted in them: with the few channels of a pixel that takes
longer than the work, and threads would wait for each other's counts.
"""

in_place_reordered = njit(**_OPTIONS, fastmath={"contract", "reassoc", "nsz"})
"""The same, for sums whose order does not matter."""
