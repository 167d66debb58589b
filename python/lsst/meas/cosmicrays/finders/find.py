# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""A finder in one call."""

from __future__ import annotations

__all__ = ["UnknownFinderError", "find_cosmic_rays"]

from typing import Any

from lsst.pipe.base import Struct

from ..documentation import DocumentedError, documented
from ..images import WorkingImage, WorkingImageConfig, read_image
from .base import cosmicRayFinderRegistry


class UnknownFinderError(DocumentedError, LookupError):
    """Raised when there is no finder of that name."""


@documented("finders")
def find_cosmic_rays(
    image: Any, finder: str, *, reading: WorkingImageConfig | None = None, **options: Any
) -> Struct:
    """Find the cosmic rays of an image.

    Parameters
    ----------
    image : `lsst.images.MaskedImage`, `lsst.afw.image.Exposure` or \
            `WorkingImage`
        The image; it is not changed.
    finder : `str`
        Name of a finder in `cosmicRayFinderRegistry`, such as
        ``astroscrappy``.
    reading : `WorkingImageConfig`, optional
        What to assume where the image does not say.
    **options
        Config fields of the finder, such as ``sigclip=4.5``.

    Returns
    -------
    result : `lsst.pipe.base.Struct`
        With ``mask`` (`numpy.ndarray`, bool (ny, nx)), ``probability``
        (float32 (ny, nx), or `None`), ``n_pixels``, ``n_cosmic_rays`` and
        ``wall_time`` (s).

    Raises
    ------
    UnknownFinderError
        Raised if there is no such finder.
    KeyError
        Raised if the finder has no such option.
    lsst.pex.config.FieldValidationError
        Raised if an option has a value that is not allowed.
    CosmicRayFinderError
        Raised if the finder cannot make a mask of this image.
    """
    if finder not in cosmicRayFinderRegistry:
        raise UnknownFinderError(
            f"No finder {finder!r}; there are {', '.join(sorted(cosmicRayFinderRegistry))}."
        )
    registered = cosmicRayFinderRegistry[finder]
    config = registered.ConfigClass()
    config.update(**options)
    config.validate()
    working = image if isinstance(image, WorkingImage) else read_image(image, reading)
    return registered(config=config).run(working)
