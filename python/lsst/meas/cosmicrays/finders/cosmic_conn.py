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
from typing import TYPE_CHECKING, Any, ClassVar

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

if TYPE_CHECKING:
    from ..training import TrainedModel


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
    useRecommendedThreshold = Field[bool](
        doc="With a trained model, use the threshold that it recommends instead of 'threshold'?",
        default=True,
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
            "selective": "Around whatever is sharper than a star; elsewhere the probability is 0.  "
            "With another provider than cpu, in every pixel.",
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
    late_fields: ClassVar[frozenset[str]] = frozenset({"threshold"})

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._trained_model: TrainedModel | None = None

    def use_model(self, model: TrainedModel) -> None:
        """Use a trained model in place of the one that the config names.

        Parameters
        ----------
        model : `~lsst.meas.cosmicrays.training.TrainedModel`
            The model.  The statistics of its network are taken over tiles
            as large as those it was trained on.

        Raises
        ------
        EngineNotAvailableError
            Raised if the engine is ``reference``, which knows no such
            models.
        TrainedModelError
            Raised if the model was trained on pixels of another unit than
            the finder sees.
        """
        if self.config.engine == "reference":
            raise EngineNotAvailableError("Trained models run on engine 'fast', not on 'reference'.")
        model.check_unit(self.config.unit)
        self._trained_model = model
        self.__dict__.pop("_predict", None)

    @property
    def threshold(self) -> float:
        """Threshold that is applied (`float`)."""
        if self._trained_model is not None and self.config.useRecommendedThreshold:
            return self._trained_model.threshold
        return self.config.threshold

    def find(self, image: WorkingImage) -> Finding:
        return self.find_prepared(image, self.prepare(image))

    def prepare(self, image: WorkingImage) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities, which are all the work, and bad pixels."""
        from ..engines.cosmic_conn import ImageTooSmallError

        filled = image.any_plane(self.config.fillPlanes)
        try:
            probability = self._predict(image.image, filled)
        except ImageTooSmallError as error:
            raise CosmicRayFinderError(str(error), n_pixels=image.image.size) from error
        return probability, self.bad_pixels(image)

    def find_prepared(self, image: WorkingImage, prepared: tuple[np.ndarray, np.ndarray]) -> Finding:
        probability, bad = prepared
        mask = (probability > self.threshold) & ~bad
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
        trained = self._trained_model
        model = load_model(config.model if trained is None else trained.onnx, config.threads, config.provider)
        tile = config.tile if trained is None else trained.tile
        return lambda pixels, filled: model.predict(pixels, tile, config.tiling, config.speed, bad=filled)
