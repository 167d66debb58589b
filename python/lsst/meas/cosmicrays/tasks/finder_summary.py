# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one row that says what a detection found, and how."""

from __future__ import annotations

__all__ = ["DetectionIdentity", "config_digest", "make_finder_summary"]

import dataclasses
import hashlib
import importlib
import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

import astropy.table
import numpy as np

from lsst.pex.config import Config
from lsst.pipe.base import Struct


@dataclasses.dataclass(frozen=True)
class DetectionIdentity:
    """Which detection, on which detector, made how."""

    finder: str
    """Name of the finder in the registry."""

    kind: str
    """Kind of image: science, difference, ..."""

    variant: str
    """What tells it from other detections of the finder; may be empty."""

    engine: str
    """Which program computed the mask."""

    config_digest: str
    """Fingerprint of the configuration."""

    data_id: Mapping[str, Any]
    """Instrument, visit and detector, where known."""

    @property
    def name(self) -> str:
        """Name of the detection (`str`)."""
        return f"{self.finder}_{self.kind}{self.variant}"


def make_finder_summary(
    identity: DetectionIdentity, finding: Struct | None, *, n_usable: int, failure: str = ""
) -> astropy.table.Table:
    """Make the one row on what a detection found.

    Parameters
    ----------
    identity : `DetectionIdentity`
        Which detection it is.
    finding : `lsst.pipe.base.Struct` or `None`
        What `CosmicRayFinderTask.run` returned; `None` if it failed.
    n_usable : `int`
        Number of pixels that could be found to be cosmic rays.
    failure : `str`, optional
        Why it failed.

    Returns
    -------
    summary : `astropy.table.Table`
        The content of ``cr_finder_summary_{detection}``.
    """
    n_pixels = finding.n_pixels if finding is not None else 0
    rate_is_known = finding is not None and n_usable > 0
    return astropy.table.Table(
        {
            "instrument": [str(identity.data_id.get("instrument", ""))],
            "visit": [np.int64(identity.data_id.get("visit", -1))],
            "detector": [np.int64(identity.data_id.get("detector", -1))],
            "detection": [identity.name],
            "finder": [identity.finder],
            "kind": [identity.kind],
            "variant": [identity.variant],
            "engine": [identity.engine],
            "n_pixels": [np.int64(n_pixels)],
            "n_cosmic_rays": [np.int64(finding.n_cosmic_rays if finding is not None else 0)],
            "n_usable": [np.int64(n_usable)],
            "cr_pixels_per_mpix": [1e6 * n_pixels / n_usable if rate_is_known else np.nan],
            "wall_time": [finding.wall_time if finding is not None else np.nan],
            "config_digest": [identity.config_digest],
            "version": [_package_version()],
            "failed": [finding is None],
            "failure": [failure],
        }
    )


def config_digest(config: Config) -> str:
    """Return a short fingerprint of a configuration.

    Parameters
    ----------
    config : `lsst.pex.config.Config`
        Any configuration.

    Returns
    -------
    digest : `str`
        Sixteen hexadecimal digits: equal for equal values of all fields.
    """
    values = json.dumps(config.toDict(), sort_keys=True, default=str)
    return hashlib.sha256(values.encode()).hexdigest()[:16]


def _package_version() -> str:
    """Return the version of this package: of pip, else of the stack build."""
    try:
        return importlib.metadata.version("lsst-meas-cosmicrays")
    except importlib.metadata.PackageNotFoundError:
        try:
            return str(importlib.import_module("lsst.meas.cosmicrays.version").__version__)
        except ModuleNotFoundError:
            return "unknown"
