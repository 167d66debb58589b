# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evaluating whole tiles."""

from __future__ import annotations

__all__ = ["BlockNetwork", "OnnxNetwork", "OpaqueEvaluator", "TileEvaluator"]

import functools
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import onnxruntime

from .network import Architecture, batch_normalisation, build_block_network
from .runtime import make_session
from .weights import ModelFileError

OPAQUE_REACH = 32
OPAQUE_STRIDE = 16
"""Margin and stride for a network of which nothing but its ONNX is known."""


class BlockNetwork(Protocol):
    """A network that is evaluated in blocks without padding."""

    architecture: Architecture
    threads: int

    def measure(self, blocks: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate blocks that together stand for a tile.

        Parameters
        ----------
        blocks : `numpy.ndarray` [`float32`]
            Blocks with what is around them, shape (n, ny, nx).
        weight : `numpy.ndarray`
            Part of each block in the statistics, shape (n,), sum 1.

        Returns
        -------
        probability : `numpy.ndarray` [`float32`]
            Shape (n, ny - 2 reach, nx - 2 reach).
        normalisation : `numpy.ndarray`
            The normalisation that was applied, for `fixed`.
        """

    def fixed(self, normalisation: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return the network with a given normalisation, for one thread.

        Parameters
        ----------
        normalisation : `numpy.ndarray`
            Scales and offsets, from `measure`.

        Returns
        -------
        evaluate : `~collections.abc.Callable`
            Takes blocks that have nothing to do with each other, shape
            (n, ny, nx), and returns their probability.
        """

    @property
    def batch_normalisation(self) -> np.ndarray:
        """The normalisation that was learned, if it is (`numpy.ndarray`)."""


class OnnxNetwork:
    """A network that is evaluated in blocks by onnxruntime.

    Parameters
    ----------
    tensors : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Weights.
    architecture : `Architecture`
        Their architecture.
    provider : `str`
        Where to run.
    threads : `int`
        How many CPU threads to use.
    """

    def __init__(
        self, tensors: Mapping[str, np.ndarray], architecture: Architecture, provider: str, threads: int
    ) -> None:
        self.architecture = architecture
        self.provider = provider
        self.threads = threads
        self._tensors = tensors

    def measure(self, blocks: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate blocks that together stand for a tile.

        Parameters
        ----------
        blocks : `numpy.ndarray` [`float32`]
            Blocks with what is around them, shape (n, ny, nx).
        weight : `numpy.ndarray`
            Part of each block in the statistics, shape (n,), sum 1.

        Returns
        -------
        probability : `numpy.ndarray` [`float32`]
            Shape (n, ny - 2 reach, nx - 2 reach).
        normalisation : `numpy.ndarray`
            The normalisation that was applied, for `fixed`.
        """
        inputs = {"image": blocks[:, np.newaxis]}
        if not self.architecture.uses_tile_statistics:
            (probability,) = self._session.run(None, inputs)
            return probability[:, 0], self.batch_normalisation
        inputs["weight"] = weight[np.newaxis].astype(np.float32)
        probability, normalisation = self._session.run(None, inputs)
        return probability[:, 0], normalisation

    def fixed(self, normalisation: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return the network with a given normalisation, for one thread.

        Parameters
        ----------
        normalisation : `numpy.ndarray`
            Scales and offsets, from `measure`.

        Returns
        -------
        evaluate : `~collections.abc.Callable`
            Takes blocks that have nothing to do with each other, shape
            (n, ny, nx), and returns their probability.
        """
        content = build_block_network(self._tensors, self.architecture, normalisation)
        session = make_session(content, self.provider, 1)

        def evaluate(blocks: np.ndarray) -> np.ndarray:
            return session.run(None, {"image": blocks[:, np.newaxis]})[0][:, 0]

        return evaluate

    @property
    def batch_normalisation(self) -> np.ndarray:
        """The normalisation that was learned, if it is (`numpy.ndarray`)."""
        return batch_normalisation(self._tensors, self.architecture)

    @functools.cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        normalisation = None if self.architecture.uses_tile_statistics else self.batch_normalisation
        content = build_block_network(self._tensors, self.architecture, normalisation)
        return make_session(content, self.provider, self.threads)


class TileEvaluator:
    """Evaluates every pixel of a tile.

    Parameters
    ----------
    network : `BlockNetwork`
        The network.
    """

    overhang = 0

    def __init__(self, network: BlockNetwork) -> None:
        self._network = network
        self.reach = network.architecture.reach
        self.stride = network.architecture.stride

    def evaluate(self, window: np.ndarray) -> np.ndarray:
        """Return the probability of the pixels of a tile.

        Parameters
        ----------
        window : `numpy.ndarray` [`float32`]
            The tile without its sky, and ``reach`` pixels on each side.

        Returns
        -------
        probability : `numpy.ndarray` [`float32`]
            Probability in the tile alone.
        """
        probability, _ = self._network.measure(window[np.newaxis], np.ones(1))
        return probability[0]


class OpaqueEvaluator:
    """Evaluates tiles by a network of which nothing but its ONNX is known.

    Parameters
    ----------
    session : `onnxruntime.InferenceSession`
        The network: one image in, one probability of the same shape out.
    source : `str`
        Where it comes from, for messages.

    Raises
    ------
    ModelFileError
        Raised if the network does not take one float32 image and return one.
    """

    overhang = 0
    reach = OPAQUE_REACH
    stride = OPAQUE_STRIDE

    def __init__(self, session: onnxruntime.InferenceSession, source: str) -> None:
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelFileError(
                f"{source} has {len(inputs)} inputs and {len(outputs)} outputs, expected one image and one "
                "probability."
            )
        if inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            raise ModelFileError(
                f"{source} takes {inputs[0].type} of shape {inputs[0].shape}, expected float32 of shape "
                "(1, 1, ny, nx)."
            )
        self._session = session
        self._source = source
        self._input = inputs[0].name

    def run(self, pixels: np.ndarray) -> np.ndarray:
        """Return the probability of pixels with nothing around them.

        Parameters
        ----------
        pixels : `numpy.ndarray` [`float32`]
            Pixels without sky, shape (ny, nx).

        Returns
        -------
        probability : `numpy.ndarray` [`float32`]
            Of the same shape.

        Raises
        ------
        ModelFileError
            Raised if the network fails, or returns another shape.
        """
        try:
            (result,) = self._session.run(None, {self._input: pixels[np.newaxis, np.newaxis]})
        except Exception as error:
            raise ModelFileError(f"{self._source} cannot be run on shape {pixels.shape}: {error}") from error
        if result.shape != (1, 1, *pixels.shape):
            raise ModelFileError(
                f"{self._source} returns shape {result.shape} for an image of shape {(1, 1, *pixels.shape)}."
            )
        return result[0, 0]

    def evaluate(self, window: np.ndarray) -> np.ndarray:
        """Return the probability of the pixels of a tile.

        Parameters
        ----------
        window : `numpy.ndarray` [`float32`]
            The tile without its sky, and ``reach`` pixels on each side.

        Returns
        -------
        probability : `numpy.ndarray` [`float32`]
            Probability in the tile alone.
        """
        return self.run(window)[self.reach : -self.reach, self.reach : -self.reach]
