# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cosmic-CoNN, the learned finder."""

from __future__ import annotations

__all__ = ["CosmicConnFinderConfig", "CosmicConnFinderTask"]

import functools
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from lsst.pex.config import ChoiceField, Field, ListField, registerConfigurable

from ..images import WorkingImage
from .base import (
    CosmicRayFinderConfig,
    CosmicRayFinderError,
    CosmicRayFinderTask,
    EngineNotAvailableError,
    Finding,
    cosmicRayFinderRegistry,
)


class CosmicConnFinderConfig(CosmicRayFinderConfig):
    """Configuration of `CosmicConnFinderTask`."""

    model = Field[str](
        doc="The model: 'ground_imaging', 'NRES' or 'HST_ACS_WFC', or the path of a .pth, .pth.tar or "
        ".onnx file.",
        default="ground_imaging",
    )
    threshold = Field[float](
        doc="Pixels of a greater probability are cosmic rays.",
        default=0.5,
        check=lambda value: 0.0 <= value < 1.0,
    )
    tile = Field[int](
        doc="Side (pixels) of the tiles over which the network takes its statistics: a multiple of 16.",
        default=1024,
        check=lambda value: value >= 64 and value % 16 == 0,
    )
    tiling = ChoiceField[str](
        doc="How the image is cut into tiles (engine 'fast').",
        default="overlap",
        optional=False,
        allowed={
            "overlap": "Overlapping tiles, and the image reflected at its edge.",
            "original": "As Cosmic-CoNN 0.6.1 does, whose probabilities are reproduced: tiles that do not "
            "overlap, and nothing beyond the last multiple of 16 rows and columns.",
        },
    )
    speed = ChoiceField[str](
        doc="Where the network is evaluated (engine 'fast').",
        default="full",
        optional=False,
        allowed={
            "full": "In every pixel.",
            "selective": "Around whatever is sharper than a star; elsewhere the probability is 0.",
        },
    )
    fillPlanes = ListField[str](
        doc="Mask planes whose pixels are replaced by what surrounds them before the network sees them "
        "(engine 'fast').  Every one must exist in the image.",
        default=["BAD", "NO_DATA"],
    )
    threads = Field[int](
        doc="Number of CPU threads to use.",
        default=1,
        check=lambda value: value >= 1,
    )
    provider = Field[str](
        doc="Where to run: 'cpu', or another execution provider of onnxruntime, such as 'cuda' (engine "
        "'fast'); 'cpu', 'cuda' or 'cuda:N' (engine 'reference').  It is never chosen silently.",
        default="cpu",
    )

    def validate(self) -> None:
        super().validate()
        if self.tiling == "original" and self.speed == "selective":
            raise ValueError("speed 'selective' needs tiling 'overlap'.")


@registerConfigurable("cosmic_conn", cosmicRayFinderRegistry)
class CosmicConnFinderTask(CosmicRayFinderTask):
    """Find cosmic rays with a neural network (Cosmic-CoNN).

    Notes
    -----
    The network is that of Xu et al. (2023, ApJ 942, 73).  The ``fast`` engine
    needs no torch; the ``reference`` engine is the ``cosmic_conn`` package.
    """

    ConfigClass: ClassVar[type[CosmicConnFinderConfig]] = CosmicConnFinderConfig
    _DefaultName: ClassVar[str] = "cosmicConn"
    config: CosmicConnFinderConfig

    def find(self, image: WorkingImage) -> Finding:
        from ..engines.cosmic_conn import ImageTooSmallError

        filled = image.any_plane(self.config.fillPlanes)
        try:
            probability = self._predict(image.image, filled)
        except ImageTooSmallError as error:
            raise CosmicRayFinderError(str(error), n_pixels=image.image.size) from error
        mask = (probability > self.config.threshold) & ~self.bad_pixels(image)
        return Finding(mask=mask, probability=probability)

    @functools.cached_property
    def _predict(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """What gives the probability of the pixels of an image."""
        from ..engines.cosmic_conn import load_model, load_reference_model

        config = self.config
        if config.engine == "reference":
            try:
                reference = load_reference_model(config.model, config.provider, config.threads)
            except ImportError as error:
                raise EngineNotAvailableError(str(error)) from error
            return lambda pixels, filled: reference.predict(pixels)
        model = load_model(config.model, config.threads, config.provider)
        return lambda pixels, filled: model.predict(
            pixels, config.tile, config.tiling, config.speed, bad=filled
        )
