# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""One config field of a finder, changed while the image stays."""

from __future__ import annotations

__all__ = ["FieldScan", "ScanFieldError", "override_line", "resolve_numeric_field", "set_numeric_field"]

import logging
import math

import numpy as np

from lsst.pex.config import Config, Field

from ..documentation import DocumentedError
from ..images import WorkingImage
from .base import CosmicRayFinderTask, cosmicRayFinderRegistry

_LOG = logging.getLogger(__name__)


class ScanFieldError(DocumentedError, ValueError):
    """Raised when a config field cannot be scanned."""


class FieldScan:
    """Masks of one image with any value of one config field of a finder.

    A mask is that of a run with that value.  What does not depend on the
    field, as far as the finder says in ``late_fields``, is computed once.

    Parameters
    ----------
    name : `str`
        Name of the finder in the registry.
    config : `lsst.pex.config.Config`
        Its configuration; not changed.
    field : `str`
        Path of the field, such as ``sigclip``, with dots between the parts.
    image : `WorkingImage`
        The image.
    log : `logging.Logger`, optional
        Parent of the logger of the finder.

    Raises
    ------
    CosmicRayFinderError
        Raised if no finder can work on the image.
    ScanFieldError
        Raised if the finder has no such field, or it is not a number.
    """

    def __init__(
        self, name: str, config: Config, field: str, image: WorkingImage, log: logging.Logger = _LOG
    ) -> None:
        resolve_numeric_field(config, field)
        self._finder_class: type[CosmicRayFinderTask] = cosmicRayFinderRegistry[name]
        self._name, self._config, self._field, self._log = name, config, field, log.getChild(name)
        finder = self._make_finder(config)
        finder.check(image)
        self._image = image.in_stored_unit() if finder.config.unit == "native" else image
        # What was not measured cannot be a detection.
        self._measured = ~finder.unmeasured(image)
        self._shared = field in finder.late_fields
        self._prepared = finder.prepare(self._image) if self._shared else None

    def mask(self, value: float) -> np.ndarray:
        """Find cosmic rays.

        Parameters
        ----------
        value : `float`
            Value of the field.

        Returns
        -------
        mask : `numpy.ndarray` [`bool`]
            Cosmic-ray pixels, shape (ny, nx).

        Raises
        ------
        CosmicRayFinderError
            Raised if no mask can be made with this value.
        lsst.pex.config.FieldValidationError
            Raised if the field does not take the value.
        """
        config = self._config.copy()
        set_numeric_field(config, self._field, value)
        finder = self._make_finder(config)
        prepared = self._prepared if self._shared else finder.prepare(self._image)
        return finder.find_prepared(self._image, prepared).mask & self._measured

    def _make_finder(self, config: Config) -> CosmicRayFinderTask:
        return self._finder_class(config=config, name=self._name, log=self._log)


def resolve_numeric_field(config: Config, path: str) -> Field:
    """Find a numeric field of a config.

    Parameters
    ----------
    config : `lsst.pex.config.Config`
        Where to look.
    path : `str`
        Name of a field, or those of configs on the way to it, with dots
        between.

    Returns
    -------
    field : `lsst.pex.config.Field`
        The field; its ``dtype`` is `int` or `float`.

    Raises
    ------
    ScanFieldError
        Raised if there is no such field, or it is not a number.
    """
    owner, name = _owner(config, path)
    field = owner._fields.get(name)
    if field is None:
        known = ", ".join(sorted(key for key, each in owner._fields.items() if _is_numeric(each)))
        raise ScanFieldError(
            f"{type(owner).__name__} has no field {name!r} (of {path!r}); numeric ones are {known or 'none'}."
        )
    if not _is_numeric(field):
        raise ScanFieldError(f"The field {path!r} of {type(config).__name__} is not a number.")
    return field


def set_numeric_field(config: Config, path: str, value: float) -> None:
    """Set a numeric field of a config.

    Parameters
    ----------
    config : `lsst.pex.config.Config`
        Config to change.
    path : `str`
        As for `resolve_numeric_field`.
    value : `float`
        Value, which must be whole for a field of whole numbers.

    Raises
    ------
    lsst.pex.config.FieldValidationError
        Raised if the field does not take the value.
    ScanFieldError
        Raised if the value is not whole and must be.
    """
    field = resolve_numeric_field(config, path)
    if field.dtype is int and not math.isclose(value, round(value)):
        raise ScanFieldError(f"The field {path!r} takes whole numbers, not {value}.")
    owner, name = _owner(config, path)
    setattr(owner, name, round(value) if field.dtype is int else float(value))


def override_line(finder: str, path: str, value: float) -> str:
    """Return the line of configuration that sets a field of a finder.

    Parameters
    ----------
    finder : `str`
        Name of the finder in the registry.
    path : `str`
        As for `resolve_numeric_field`.
    value : `float`
        Value to set.

    Returns
    -------
    line : `str`
        Line for an override file of
        `~lsst.meas.cosmicrays.tasks.FindCosmicRaysTask`, or for the
        ``python:`` block of a pipeline.

    Raises
    ------
    lsst.pex.config.FieldValidationError
        Raised if the field does not take the value.
    ScanFieldError
        Raised if there is no such field, or it is not a number.
    """
    config = cosmicRayFinderRegistry[finder].ConfigClass()
    set_numeric_field(config, path, value)
    owner, name = _owner(config, path)
    return f'config.finders["{finder}"].{path} = {getattr(owner, name)!r}'


def _owner(config: Config, path: str) -> tuple[Config, str]:
    """Return the config that has the field at the end of a path."""
    *parents, name = path.split(".")
    owner = config
    for parent in parents:
        child = getattr(owner, parent, None) if parent in owner._fields else None
        if not isinstance(child, Config):
            raise ScanFieldError(f"{type(owner).__name__} has no config {parent!r} (of {path!r}).")
        owner = child
    return owner, name


def _is_numeric(field: Field) -> bool:
    return getattr(field, "dtype", None) in (int, float)
