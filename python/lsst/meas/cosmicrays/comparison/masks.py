# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The masks of one detector that are compared, and the bits they have."""

from __future__ import annotations

__all__ = ["ComparedMasks", "MaskBit", "Role", "detection_bits", "truth_bits"]

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from .histogram import MAX_MASKS, dilate, joint_counts

_MAX_BITS = 32


class Role(StrEnum):
    """What a mask is in a comparison."""

    DETECTION = "detection"
    """Cosmic rays that a finder found; judged, and a reference for others."""

    TRUTH = "truth"
    """True cosmic rays; a reference only."""

    PLANE = "plane"
    """A mask of something else, such as the DETECTED plane."""


@dataclass(frozen=True)
class MaskBit:
    """Name and role of the mask that has one bit of the joint codes."""

    name: str
    """Name of the detection, truth or plane (`str`)."""

    role: Role
    """What the mask is in the comparison (`Role`)."""

    sigma: float = math.nan
    """Threshold of truth in units of the noise, NaN for others (`float`)."""


@dataclass(frozen=True)
class ComparedMasks:
    """The masks of one detector, over its usable pixels.

    Raises
    ------
    ValueError
        Raised if there are no masks, too many masks, two of one name, or
        masks of different shapes.
    """

    bits: tuple[MaskBit, ...]
    """What the masks are, in the order of their bits (`tuple`)."""

    masks: tuple[npt.NDArray[np.bool_] | None, ...]
    """Bool arrays ``(ny, nx)``; `None` where a mask is missing (`tuple`)."""

    usable: npt.NDArray[np.bool_]
    """Pixels that are compared, bool ``(ny, nx)`` (`numpy.ndarray`)."""

    def __post_init__(self) -> None:
        names = [bit.name for bit in self.bits]
        if len(names) != len(self.masks):
            raise ValueError(f"{len(self.masks)} masks, but {len(names)} names.")
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"Masks must differ in name; given more than once: {', '.join(repeated)}.")
        n_detections = sum(bit.role is Role.DETECTION for bit in self.bits)
        if n_detections > MAX_MASKS or len(names) > _MAX_BITS:
            raise ValueError(
                f"{n_detections} detections and {len(names)} masks in all: at most {MAX_MASKS} "
                f"detections and {_MAX_BITS} masks can be compared at a time."
            )
        for bit, mask in zip(self.bits, self.masks, strict=True):
            if mask is not None and mask.shape != self.usable.shape:
                raise ValueError(
                    f"Mask {bit.name} has shape {mask.shape}, but the image has {self.usable.shape}."
                )

    @property
    def available(self) -> np.uint64:
        """Bits of the masks that are there (`numpy.uint64`)."""
        return np.uint64(sum(1 << bit for bit, mask in enumerate(self.masks) if mask is not None))

    @cached_property
    def codes(self) -> npt.NDArray[np.uint32]:
        """Which masks have each pixel, usable or not: uint32 ``(ny, nx)``
        (`numpy.ndarray`).
        """
        codes = np.zeros(self.usable.shape, dtype=np.uint32)
        flat = codes.reshape(-1)
        for bit, mask in enumerate(self.masks):
            if mask is not None:
                flat[np.flatnonzero(mask)] |= np.uint32(1 << bit)
        return codes

    @cached_property
    def usable_codes(self) -> npt.NDArray[np.uint32]:
        """Which masks have each usable pixel, 0 elsewhere: uint32
        ``(ny, nx)`` (`numpy.ndarray`).
        """
        return np.where(self.usable, self.codes, np.uint32(0))

    def bit_numbers(self, *roles: Role) -> list[int]:
        """Return the bits of the masks that are there and have a role.

        Parameters
        ----------
        *roles : `Role`
            Roles that are wanted.

        Returns
        -------
        numbers : `list` [`int`]
            Bit numbers, rising.
        """
        return [
            number
            for number, (bit, mask) in enumerate(zip(self.bits, self.masks, strict=True))
            if mask is not None and bit.role in roles
        ]

    def pixels_of(self, numbers: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Return the usable pixels that any of some masks has.

        Parameters
        ----------
        numbers : sequence of `int`
            Bit numbers of the masks.

        Returns
        -------
        pixels : `numpy.ndarray`
            Bool array ``(ny, nx)``.
        """
        return self.usable_codes & np.uint32(sum(1 << number for number in numbers)) != 0

    def count(self) -> Table:
        """Return the joint counts of the masks.

        Returns
        -------
        counts : `astropy.table.Table`
            Sparse counts, as `joint_counts` returns them.
        """
        return joint_counts(self.masks, self.usable)

    def count_dilated(self) -> Table:
        """Return the joint counts of the masks and their dilations.

        Returns
        -------
        counts : `astropy.table.Table`
            Sparse counts of twice the bits: bit ``len(bits) + m`` is the
            1-pixel dilation of mask ``m``, taken before the cut to usable
            pixels.
        """
        dilated = [None if mask is None else dilate(mask) for mask in self.masks]
        return joint_counts([*self.masks, *dilated], self.usable)


def detection_bits(names: Sequence[str]) -> list[MaskBit]:
    """Return the bits of detections.

    Parameters
    ----------
    names : sequence of `str`
        Names of the detections, such as ``morphological_science``.

    Returns
    -------
    bits : `list` [`MaskBit`]
        One bit a detection.
    """
    return [MaskBit(name, Role.DETECTION) for name in names]


def truth_bits(sigmas: Sequence[float]) -> list[MaskBit]:
    """Return the bits of truth at one or several thresholds.

    Parameters
    ----------
    sigmas : sequence of `float`
        Thresholds in units of the noise. The first is plain ``truth``, the
        others are named after their threshold (``truth_5sigma``). NaN means
        that truth was given as a mask.

    Returns
    -------
    bits : `list` [`MaskBit`]
        One bit a threshold.
    """
    names = ["truth", *(f"truth_{sigma:g}sigma" for sigma in sigmas[1:])]
    return [MaskBit(name, Role.TRUTH, sigma) for name, sigma in zip(names, sigmas, strict=False)]
