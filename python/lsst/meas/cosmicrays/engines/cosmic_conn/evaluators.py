# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evaluating whole tiles by onnxruntime."""

from __future__ import annotations

__all__ = ["OnnxNetwork", "OpaqueEvaluator"]

from collections.abc import Mapping

import numpy as np
import onnxruntime

from .network import Architecture, build_block_network
from .runtime import make_session
from .weights import ModelFileError

OPAQUE_REACH = 32
OPAQUE_STRIDE = 16
"""Margin and stride for a network of which nothing but its ONNX is known."""


class OnnxNetwork:
    """A network of known weights that is run by onnxruntime.

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
        self.reach = architecture.reach
        self.stride = architecture.stride
        content = build_block_network(tensors, architecture)
        self._session = make_session(content, provider, threads)

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
        return self._session.run(None, {"image": window[np.newaxis, np.newaxis]})[0][0, 0]


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
