# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What interpolation can do to a DIASource, in words."""

from __future__ import annotations

__all__ = ["GROUPS"]

GROUPS = {
    "vanished": "DIASources that vanish when cosmic rays are interpolated over",
    "remaining": "DIASources that remain, or pieces of them, although cosmic rays were interpolated over",
    "new": "New DIASources, that are there only after cosmic rays were interpolated over",
    "object_and_cr": "Stamps with both an OBJECT (after interpolation) and a cosmic ray (before)",
}
"""Groups of examples, and their titles."""
