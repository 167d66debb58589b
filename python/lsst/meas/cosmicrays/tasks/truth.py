# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tasks that know the truth have in common."""

from __future__ import annotations

__all__ = [
    "difference_unusable_planes_field",
    "read_truth",
    "truth_field",
    "truth_min_sigma_field",
    "unusable_planes_field",
    "usable_pixels",
]

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lsst.pex.config import ChoiceField, Field, ListField

from ..comparison import truth_from_charge
from ..images import WorkingImage, read_mask

KINDS = {
    "charge": "The charge they left in each pixel (connection truthCharge).",
    "mask": "Their pixels (connection truthMask).",
}


def truth_field(*, needed: bool = False, others: Mapping[str, str] | None = None) -> ChoiceField[str]:
    """Return the config field ``truth``.

    Parameters
    ----------
    needed : `bool`, optional
        Can the task do nothing without truth?
    others : `~collections.abc.Mapping`, optional
        Further kinds of truth, and what they are.

    Returns
    -------
    field : `lsst.pex.config.ChoiceField`
        The field: ``charge`` or ``mask``; nothing, if not needed.
    """
    known = "What is known of the true cosmic rays"
    return ChoiceField[str](
        doc=f"{known}." if needed else f"{known}; nothing, if this is not set.",
        default="charge" if needed else None,
        optional=not needed,
        allowed=KINDS | dict(others or {}),
    )


def truth_min_sigma_field() -> Field[float]:
    """Return the config field ``truthMinSigma``.

    Returns
    -------
    field : `lsst.pex.config.Field`
        The field.
    """
    return Field[float](
        doc="A pixel with at least this charge, in units of its noise without cosmic rays, is truth.",
        default=2.0,
        check=lambda value: value > 0.0,
    )


def unusable_planes_field() -> ListField[str]:
    """Return the config field ``unusablePlanes``.

    Returns
    -------
    field : `lsst.pex.config.ListField`
        The field.
    """
    return ListField[str](
        doc="Mask planes of the science image whose pixels do not count. Every one must exist.",
        default=["BAD", "SATURATED", "NO_DATA"],
    )


def difference_unusable_planes_field() -> ListField[str]:
    """Return the config field ``differenceUnusablePlanes``.

    Returns
    -------
    field : `lsst.pex.config.ListField`
        The field.
    """
    return ListField[str](
        doc="Mask planes of the difference image whose pixels do not count. Every one must exist.",
        default=["NO_DATA"],
    )


def read_truth(charge: Any, mask: Any, science: WorkingImage | None, min_sigma: float) -> np.ndarray | None:
    """Return the true cosmic rays, from what is known of them.

    Parameters
    ----------
    charge : `lsst.images.Image` or `None`
        Charge of cosmic rays, electrons, (ny, nx).
    mask : `lsst.images.Mask` or `None`
        Their pixels.
    science : `WorkingImage` or `None`
        Science image, by whose noise a charge is judged.
    min_sigma : `float`
        Least charge, in units of the noise without cosmic rays.

    Returns
    -------
    truth : `numpy.ndarray` or `None`
        Bool (ny, nx); `None` if nothing is known.
    """
    if mask is not None:
        return read_mask(mask)
    if charge is None or science is None:
        return None
    return truth_from_charge(charge.array, science.variance, min_sigma)


def usable_pixels(
    science: WorkingImage,
    planes: Sequence[str],
    difference: WorkingImage | None = None,
    difference_planes: Sequence[str] = (),
) -> np.ndarray:
    """Return the pixels that count in a comparison.

    Parameters
    ----------
    science : `WorkingImage`
        Science image.
    planes : `~collections.abc.Sequence` [`str`]
        Mask planes of the science image whose pixels do not count.
    difference : `WorkingImage`, optional
        Difference image, if its pixels must be usable as well.
    difference_planes : `~collections.abc.Sequence` [`str`], optional
        Mask planes of the difference image whose pixels do not count.

    Returns
    -------
    usable : `numpy.ndarray`
        Bool (ny, nx).

    Raises
    ------
    UnknownMaskPlaneError
        Raised if an image lacks one of the planes.
    """
    usable = ~(science.not_finite() | science.any_plane(planes))
    if difference is not None:
        usable &= ~(difference.not_finite() | difference.any_plane(difference_planes))
    return usable
