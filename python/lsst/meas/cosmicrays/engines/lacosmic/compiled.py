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

__all__ = ["compiled", "inlined"]

from numba import njit

compiled = njit(cache=True, nogil=True, error_model="numpy")
"""Compile once and for all, to machine code that needs no interpreter lock and
rounds every operation as written (no ``fastmath``)."""

inlined = njit(cache=True, nogil=True, error_model="numpy", inline="always")
"""The same for small functions in the innermost loops."""
