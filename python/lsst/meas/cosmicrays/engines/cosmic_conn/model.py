# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cosmic-CoNN without torch: its weights, its network, our tiles.

The network, its training and the published weights are those of Xu et al.
(2023, ApJ 942, 73).  Its weights come with the package ``cosmic-conn``; the
network runs in onnxruntime, and in overlapping tiles on CPUs in convolutions
of our own.
"""

from __future__ import annotations

__all__ = [
    "CosmicConnModel",
    "ImageTooSmallError",
    "ModelFileError",
    "ProviderError",
    "ReferenceModel",
    "load_model",
    "load_reference_model",
]

import abc
import functools
import os
from pathlib import Path

import numpy as np
import onnxruntime

from .blocks import WinogradNetwork, is_suitable
from .evaluators import OnnxNetwork, OpaqueEvaluator
from .network import build_network, find_architecture, read_onnx_weights
from .reference import ReferenceModel, load_reference_model
from .runtime import ProviderError, check_provider, make_session
from .selective import SelectiveEvaluator
from .tiles import ORIGINAL_STRIDE, Evaluator, predict_original, predict_overlapping
from .weights import ModelFileError, find_published_weights, read_state_dict

TILINGS = ("overlap", "original")
SPEEDS = ("full", "selective")

SMALLEST_TILE = 64

LARGEST_VALUE = 1e12
"""Greater numbers would overflow in the statistics of the network."""

TORCH_SUFFIXES = (".pth", ".pth.tar", ".tar")


def load_model(
    name_or_path: str | os.PathLike[str] | bytes, threads: int | None = None, provider: str = "cpu"
) -> CosmicConnModel:
    """Load a model.

    Parameters
    ----------
    name_or_path : `str`, `os.PathLike` or `bytes`
        A published model (``ground_imaging``, ``NRES``, ``HST_ACS_WFC``), a
        file of weights (``.pth``, ``.pth.tar``) or of a whole network
        (``.onnx``), or the content of the latter.
    threads : `int`, optional
        How many CPU threads to use; by default one for each CPU core.
    provider : `str`, optional
        Where to run: ``cpu``, or another execution provider of onnxruntime
        (``cuda``, ...).

    Returns
    -------
    model : `CosmicConnModel`
        The model, which finds cosmic rays in images.

    Raises
    ------
    ModelFileError
        Raised if there is no such model, or the file is damaged, has missing
        or wrongly shaped tensors, or holds anything but tensors.
    ProviderError
        Raised if the model cannot run where it was asked to.
    ValueError
        Raised if ``threads`` is not positive.
    """
    if threads is None:
        threads = _count_usable_cores()
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}.")
    check_provider(provider)
    if isinstance(name_or_path, bytes):
        return _load_onnx(name_or_path, "The given ONNX model", threads, provider)
    path = Path(name_or_path)
    if not path.is_file():
        path = find_published_weights(os.fspath(name_or_path))
    if path.name.endswith(".onnx"):
        return _load_onnx(path.read_bytes(), str(path), threads, provider)
    if path.name.endswith(TORCH_SUFFIXES):
        return _CosmicConnNetwork(read_state_dict(path), str(path), threads, provider)
    raise ModelFileError(f"{path} is no model: its name must end in .pth, .pth.tar or .onnx.")


def _count_usable_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _load_onnx(content: bytes, source: str, threads: int, provider: str) -> CosmicConnModel:
    """Load a network, as its weights if they have the known names."""
    tensors = read_onnx_weights(content, source)
    if "inc.conv.conv.0.weight" in tensors:
        return _CosmicConnNetwork(tensors, source, threads, provider)
    return _OpaqueNetwork(content, source, threads, provider)


class ImageTooSmallError(ValueError):
    """Raised when an image is smaller than the network can take."""


class CosmicConnModel(abc.ABC):
    """A network that gives each pixel the probability to be a cosmic ray.

    Parameters
    ----------
    source : `str`
        Where the model comes from.
    threads : `int`
        How many CPU threads to use.
    provider : `str`
        Where to run.
    """

    def __init__(self, source: str, threads: int, provider: str) -> None:
        self.source = source
        self.threads = threads
        self.provider = provider

    def predict(
        self,
        image: np.ndarray,
        tile: int = 1024,
        tiling: str = "overlap",
        speed: str = "full",
        bad: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the probability that each pixel is a cosmic ray.

        Parameters
        ----------
        image : `numpy.ndarray`
            Pixels, shape (ny, nx), with or without sky.  The published models
            were trained on adu and electrons; the scale matters little.
        tile : `int`, optional
            Side of the tiles (pixels) over which the network takes its
            statistics: a multiple of 16.
        tiling : `str`, optional
            With ``overlap``, neighbouring tiles overlap, the image is
            reflected at its edge, and every pixel has a probability.  With
            ``original``, tiles are those of Cosmic-CoNN 0.6.1, whose
            probabilities are reproduced: rows and columns beyond the last
            multiple of 16 have probability 0.
        speed : `str`, optional
            With ``full`` the network is evaluated everywhere; with
            ``selective`` only around pixels that can be cosmic rays, and the
            probability is 0 elsewhere.  Networks that onnxruntime runs are
            evaluated everywhere all the same.
        bad : `numpy.ndarray` [`bool`], optional
            Pixels that are not to be used, shape (ny, nx).

        Returns
        -------
        probability : `numpy.ndarray` [`float32`]
            Shape (ny, nx).

        Raises
        ------
        ImageTooSmallError
            Raised if a side of the image is shorter than 16 pixels.
        ValueError
            Raised if the image is not two-dimensional or has no pixel that
            can be used, if ``bad`` is of another shape, or if an option is
            not known.

        Notes
        -----
        The median of each tile is subtracted, so the sky does not matter.
        With ``overlap``, pixels that are ``bad``, not finite or beyond
        ``1e12`` are replaced by what surrounds them and have probability 0;
        so they act on their neighbours only.  With ``original``, they are
        set to 0 before the median is subtracted, as the original does with
        NaN, and they get whatever probability the network gives them.
        """
        pixels = _check_image(image, tile, tiling, speed)
        unusable = ~(np.abs(pixels) <= LARGEST_VALUE)
        if bad is not None:
            if np.shape(bad) != pixels.shape:
                raise ValueError(f"bad has shape {np.shape(bad)}, but the image has {pixels.shape}.")
            unusable |= np.asarray(bad, dtype=bool)
        if np.all(unusable):
            raise ValueError(
                f"None of the {pixels.size} pixels of the image can be used: all are bad or NaN."
            )
        if tiling == "original":
            if speed != "full":
                raise ValueError("speed 'selective' needs tiling 'overlap'.")
            return predict_original(np.where(unusable, np.float32(0.0), pixels), self.run_tile, tile)
        return predict_overlapping(pixels, unusable, self.evaluator(speed), tile)

    @abc.abstractmethod
    def run_tile(self, pixels: np.ndarray) -> np.ndarray:
        """Return the probability of a tile with nothing around it.

        Parameters
        ----------
        pixels : `numpy.ndarray` [`float32`]
            The tile, without its sky; its sides are multiples of 16.

        Returns
        -------
        probability : `numpy.ndarray` [`float32`]
            Of the same shape.
        """

    @abc.abstractmethod
    def evaluator(self, speed: str) -> Evaluator:
        """Return what evaluates a tile with what surrounds it.

        Parameters
        ----------
        speed : `str`
            As for `predict`.

        Returns
        -------
        evaluator : `Evaluator`
            The evaluator.
        """

    @abc.abstractmethod
    def to_onnx(self) -> bytes:
        """Return the network with its weights as one ONNX model.

        Returns
        -------
        content : `bytes`
            What `load_model` can read.  It takes ``image`` (float32,
            (1, 1, ny, nx), sides multiples of 16, without sky) and returns
            the probability.
        """


class _CosmicConnNetwork(CosmicConnModel):
    """A network whose architecture is known."""

    def __init__(self, tensors: dict[str, np.ndarray], source: str, threads: int, provider: str) -> None:
        super().__init__(source, threads, provider)
        self._tensors = tensors
        self.architecture = find_architecture(tensors, source)

    def run_tile(self, pixels: np.ndarray) -> np.ndarray:
        return self._tile_session.run(None, {"image": pixels[np.newaxis, np.newaxis]})[0][0, 0]

    def evaluator(self, speed: str) -> Evaluator:
        network = self._network
        if not isinstance(network, WinogradNetwork):
            return network
        network = network.for_one_image()
        return SelectiveEvaluator(network) if speed == "selective" else network

    def to_onnx(self) -> bytes:
        return build_network(self._tensors, self.architecture)

    @functools.cached_property
    def _tile_session(self) -> onnxruntime.InferenceSession:
        return make_session(self.to_onnx(), self.provider, self.threads)

    @functools.cached_property
    def _network(self) -> WinogradNetwork | OnnxNetwork:
        if self.provider == "cpu" and is_suitable(self.architecture):
            return WinogradNetwork(self._tensors, self.architecture, self.threads)
        return OnnxNetwork(self._tensors, self.architecture, self.provider, self.threads)


class _OpaqueNetwork(CosmicConnModel):
    """A network of which nothing but its ONNX is known."""

    def __init__(self, content: bytes, source: str, threads: int, provider: str) -> None:
        super().__init__(source, threads, provider)
        self._content = content
        self._evaluator = OpaqueEvaluator(make_session(content, provider, threads), source)

    def run_tile(self, pixels: np.ndarray) -> np.ndarray:
        return self._evaluator.run(pixels)

    def evaluator(self, speed: str) -> Evaluator:
        if speed == "selective":
            raise ValueError(
                f"{self.source} is not known to be a Cosmic-CoNN network, so it cannot be evaluated in "
                "blocks: use speed 'full'."
            )
        return self._evaluator

    def to_onnx(self) -> bytes:
        return self._content


def _check_image(image: np.ndarray, tile: int, tiling: str, speed: str) -> np.ndarray:
    """Return the image as float32, if it and the options can be used."""
    if tiling not in TILINGS:
        raise ValueError(f"Unknown tiling {tiling!r}: choose one of {', '.join(TILINGS)}.")
    if speed not in SPEEDS:
        raise ValueError(f"Unknown speed {speed!r}: choose one of {', '.join(SPEEDS)}.")
    if tile < SMALLEST_TILE or tile % ORIGINAL_STRIDE != 0:
        raise ValueError(
            f"tile must be a multiple of {ORIGINAL_STRIDE} and at least {SMALLEST_TILE}, got {tile}."
        )
    pixels = np.asarray(image)
    if pixels.ndim != 2:
        raise ValueError(f"The image must have two dimensions, got shape {pixels.shape}.")
    if min(pixels.shape) < ORIGINAL_STRIDE:
        raise ImageTooSmallError(
            f"The image has shape {pixels.shape}, but the network needs at least {ORIGINAL_STRIDE} pixels on "
            "each side."
        )
    with np.errstate(over="ignore"):
        return pixels.astype(np.float32, copy=False)
