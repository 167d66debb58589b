# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Do the images and masks of a detector cover the same pixels?"""

from __future__ import annotations

__all__ = ["BoundsError", "check_bounds"]

from collections.abc import Mapping
from typing import Any

from lsst.images import Box

from ..documentation import DocumentedError


class BoundsError(DocumentedError, RuntimeError):
    """Raised when a mask or an image covers other pixels than it should."""


def check_bounds(bbox: Box, others: Mapping[str, Any]) -> None:
    """Check that images and masks have the bounding box of an image.

    Parameters
    ----------
    bbox : `lsst.images.Box`
        Bounding box of the science image.
    others : `~collections.abc.Mapping`
        By name, images and masks of `lsst.images` or `lsst.afw.image`;
        `None` for what is missing.

    Raises
    ------
    BoundsError
        Raised if one of them has another bounding box.
    """
    for name, other in others.items():
        if other is not None and _bounds(other) != bbox:
            raise BoundsError(
                f"The {name} covers {_bounds(other)}, but the science image covers {bbox}. Were they made of "
                "the same detector?"
            )


def _bounds(source: Any) -> Box:
    if hasattr(source, "bbox"):
        return source.bbox
    box = source.getBBox()
    return Box.factory[box.getMinY() : box.getMaxY() + 1, box.getMinX() : box.getMaxX() + 1]
