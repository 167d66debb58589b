# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mask planes of a difference image."""

from __future__ import annotations

__all__ = ["DifferencePlanes", "border", "grow", "propagate_planes"]

import dataclasses
from collections.abc import Mapping

import numpy as np
import scipy.ndimage


@dataclasses.dataclass(frozen=True)
class DifferencePlanes:
    """What becomes of mask planes in a subtraction.

    The defaults are those of ``ip_diffim``, under `lsst.images` names.
    COSMIC_RAY is kept from growing too: decorrelation brings a cosmic ray
    back to its pixels.
    """

    cleared: tuple[str, ...] = ("DETECTED", "DETECTED_NEGATIVE")
    """Planes of the science image that the difference does not get."""

    kept_from_template: tuple[str, ...] = ("NO_DATA", "BAD", "HIGH_VARIANCE")
    """Planes of the template that the difference gets."""

    renamed_from_template: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {
            "SATURATED": "SAT_TEMPLATE",
            "INJECTED": "INJECTED_TEMPLATE",
            "INJECTED_CORE": "INJECTED_CORE_TEMPLATE",
        }
    )
    """Planes of the template that it gets under another name."""

    not_grown: tuple[str, ...] = (
        "COSMIC_RAY",
        "INJECTED",
        "INJECTED_CORE",
        "INJECTED_TEMPLATE",
        "INJECTED_CORE_TEMPLATE",
    )
    """Planes that convolution does not grow."""


def grow(mask: np.ndarray, half_width: int) -> np.ndarray:
    """Grow a mask by a square.

    Parameters
    ----------
    mask : `numpy.ndarray` [`bool`], (ny, nx)
        The mask.
    half_width : `int`
        Pixels to grow by, along each axis.

    Returns
    -------
    grown : `numpy.ndarray` [`bool`], (ny, nx)
        A new array.
    """
    if half_width == 0 or not mask.any():
        return mask.copy()
    return scipy.ndimage.maximum_filter(mask.view(np.uint8), 2 * half_width + 1, mode="constant").view(bool)


def border(shape: tuple[int, ...], width: int) -> np.ndarray:
    """Return the pixels at the edges of an image.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Shape of the image.
    width : `int`
        How many rows and columns belong to an edge.

    Returns
    -------
    border : `numpy.ndarray` [`bool`], (ny, nx)
        True at the edges.
    """
    ny, nx = shape
    result = np.ones((ny, nx), dtype=bool)
    result[width : ny - width, width : nx - width] = False
    return result


def propagate_planes(
    science: Mapping[str, np.ndarray],
    template: Mapping[str, np.ndarray],
    *,
    template_convolved: bool,
    half_width: int,
    rules: DifferencePlanes | None = None,
) -> dict[str, np.ndarray]:
    """Put together the mask planes of a difference image.

    Parameters
    ----------
    science, template : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Mask planes of the two images (bool, (ny, nx)).
    template_convolved : `bool`
        Whether the template was convolved, rather than the science image.
    half_width : `int`
        Half width of the matching kernel; planes of the convolved image grow
        by it.
    rules : `DifferencePlanes`, optional
        What becomes of which plane.

    Returns
    -------
    planes : `dict` [`str`, `numpy.ndarray`]
        New arrays (bool, (ny, nx)).
    """
    rules = DifferencePlanes() if rules is None else rules
    from_science = {name: name for name in science if name not in rules.cleared}
    from_template = {name: name for name in rules.kept_from_template}
    from_template.update(rules.renamed_from_template)
    planes: dict[str, np.ndarray] = {}
    for source, names, convolved in (
        (science, from_science, not template_convolved),
        (template, from_template, template_convolved),
    ):
        for name, new_name in names.items():
            if name not in source:
                continue
            plane = grow(source[name], half_width if convolved and new_name not in rules.not_grown else 0)
            planes[new_name] = planes[new_name] | plane if new_name in planes else plane
    return planes
