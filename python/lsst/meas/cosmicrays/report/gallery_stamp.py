# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a gallery shows of one stamp."""

from __future__ import annotations

__all__ = ["GalleryStamp"]

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class GalleryStamp:
    """One stamp of a gallery.

    Raises
    ------
    ValueError
        Raised if the images and masks are not squares of one size.
    """

    template: npt.NDArray[np.float32] | None
    """Template, float32 ``(n, n)``, NaN beyond the edge of the image; `None`
    where there is none (`numpy.ndarray`).
    """

    science: npt.NDArray[np.float32] | None
    """Science image, the same (`numpy.ndarray`)."""

    difference: npt.NDArray[np.float32] | None
    """Difference image, the same (`numpy.ndarray`)."""

    masks: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    """Masks to outline by name, bool ``(n, n)`` (`~collections.abc.Mapping`).
    """

    caption: str = ""
    """What is written below the stamp: one line (`str`)."""

    truth: str | None = None
    """What the source truly is, where that is known (`str`)."""

    def __post_init__(self) -> None:
        shapes = {array.shape for array in (*self.images, *self.masks.values()) if array is not None}
        if any(len(shape) != 2 or shape[0] != shape[1] for shape in shapes) or len(shapes) > 1:
            raise ValueError(
                f"Images and masks of a stamp must be squares of one size, not {sorted(shapes)}."
            )

    @property
    def images(self) -> tuple[npt.NDArray[np.float32] | None, ...]:
        """Template, science and difference (`tuple`)."""
        return self.template, self.science, self.difference
