# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network on CPUs, with our own convolutions."""

from __future__ import annotations

__all__ = ["WinogradNetwork", "is_suitable"]

import concurrent.futures
import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from . import winograd
from .network import NORM_EPSILON, Architecture, batch_normalisation

JOBS_PER_THREAD = 4
"""Work is divided more finely than among threads, since some may be slower."""

NOTHING = np.zeros((0, 0, 0, 0), dtype=np.float32)


def is_suitable(architecture: Architecture) -> bool:
    """Tell whether a network can be evaluated by `WinogradNetwork`.

    Parameters
    ----------
    architecture : `Architecture`
        Its architecture.

    Returns
    -------
    suitable : `bool`
        Whether its channels fill vector registers.
    """
    return architecture.hidden % winograd.CHANNEL_MULTIPLE == 0


@dataclasses.dataclass(frozen=True)
class _Features:
    """What a convolution leaves, and the normalisation to come."""

    values: np.ndarray
    shape: tuple[int, int]
    """Rows and columns that are used."""

    scale: np.ndarray
    offset: np.ndarray

    @property
    def n_blocks(self) -> int:
        """Number of blocks (`int`)."""
        return self.values.shape[0]


class WinogradNetwork:
    """A network that is evaluated in blocks without padding, on CPUs.

    Parameters
    ----------
    tensors : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Weights.
    architecture : `Architecture`
        Their architecture, which `is_suitable`.
    threads : `int`
        How many threads to use.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], architecture: Architecture, threads: int) -> None:
        self.architecture = architecture
        self.threads = threads
        self._weights = _Weights(tensors, architecture)

    @property
    def batch_normalisation(self) -> np.ndarray:
        """The normalisation that was learned, if it is (`numpy.ndarray`)."""
        return batch_normalisation(self._weights.tensors, self.architecture)

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
        with concurrent.futures.ThreadPoolExecutor(self.threads) as pool:
            if not self.architecture.uses_tile_statistics:
                normalisation = self.batch_normalisation
                return _Evaluation(self._weights, pool, self.threads, None, normalisation).run(
                    blocks
                ), normalisation
            evaluation = _Evaluation(self._weights, pool, self.threads, weight.astype(np.float32), None)
            return evaluation.run(blocks), np.concatenate(evaluation.applied, axis=1)

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

        def evaluate(blocks: np.ndarray) -> np.ndarray:
            return _Evaluation(self._weights, None, 1, None, normalisation).run(blocks)

        return evaluate


class _Weights:
    """Weights as the convolutions take them."""

    def __init__(self, tensors: Mapping[str, np.ndarray], architecture: Architecture) -> None:
        self.tensors = tensors
        self.architecture = architecture
        self.margins = architecture.margins()
        self.convolutions = {}
        self.deconvolutions = {}
        for layer, (n_in, n_out) in architecture.layers().items():
            for place in (0, 3):
                weight, bias = self.vector(f"{layer}.{place}.weight"), self.vector(f"{layer}.{place}.bias")
                if weight.shape[1] == 1:
                    pixels = np.concatenate([weight.reshape(n_out, 9), bias[:, np.newaxis]], axis=1)
                    packed = winograd.pack_matrix(pixels.T)
                else:
                    packed = winograd.pack_weights(weight).ravel()
                self.convolutions[f"{layer}.{place}"] = packed, bias
            if layer.startswith("up"):
                name = layer.replace(".conv.conv", ".up_conv")
                matrix = self.vector(f"{name}.weight").transpose(0, 2, 3, 1).reshape(n_in, -1)
                self.deconvolutions[layer] = winograd.pack_matrix(matrix), self.vector(f"{name}.bias")

    def vector(self, name: str) -> np.ndarray:
        """Return a tensor in single precision."""
        return self.tensors[name].astype(np.float32)


class _Evaluation:
    """One evaluation of some blocks.

    Parameters
    ----------
    weights : `_Weights`
        The network.
    pool : `concurrent.futures.ThreadPoolExecutor` or `None`
        What runs jobs, if not this thread.
    threads : `int`
        How many threads it has.
    block_weight : `numpy.ndarray` or `None`
        Part of each block in the statistics, if they are to be measured.
    normalisation : `numpy.ndarray` or `None`
        The normalisation, if not.
    """

    def __init__(
        self,
        weights: _Weights,
        pool: concurrent.futures.ThreadPoolExecutor | None,
        threads: int,
        block_weight: np.ndarray | None,
        normalisation: np.ndarray | None,
    ) -> None:
        self._weights = weights
        self._pool = pool
        self._threads = threads
        self._block_weight = np.zeros(0, dtype=np.float32) if block_weight is None else block_weight
        self._given = normalisation
        self._n_given = 0
        self.applied: list[np.ndarray] = []

    def run(self, blocks: np.ndarray) -> np.ndarray:
        """Return the probability of the pixels of blocks."""
        weights, depth = self._weights, self._weights.architecture.depth
        features = self._convolve_image(blocks)
        features = self._convolve("inc.conv.conv", 1, features)
        skips = []
        for level in range(1, depth + 1):
            skips.append(features)
            features = self._pair(f"down{level}.down_cov.1.conv", self._halve(features))
        for level in range(depth, 0, -1):
            layer = f"up{level}.conv.conv"
            wanted, _ = weights.margins[layer]
            encoder = f"down{level - 1}.down_cov.1.conv" if level > 1 else "inc.conv.conv"
            below = f"up{level + 1}.conv.conv" if level < depth else f"down{level}.down_cov.1.conv"
            coarser = self._deconvolve(layer, features)
            features = self._pair(
                layer,
                skips.pop(),
                weights.margins[encoder][1] - wanted,
                coarser,
                2 * weights.margins[below][1] - wanted,
            )
        return self._rate(features)

    def _pair(
        self,
        layer: str,
        features: _Features,
        corner: int = 0,
        more: np.ndarray = NOTHING,
        more_corner: int = 0,
    ) -> _Features:
        features = self._convolve(layer, 0, features, corner, more, more_corner)
        del more
        return self._convolve(layer, 1, features)

    def _convolve_image(self, blocks: np.ndarray) -> _Features:
        layer = "inc.conv.conv"
        matrix, bias = self._weights.convolutions[f"{layer}.0"]
        n, ny, nx = blocks.shape
        result = _allocate(n, (ny - 2, nx - 2), bias.size)
        blocks = np.ascontiguousarray(blocks, dtype=np.float32)
        inside, jobs = self._inside(layer, 0, (ny - 2, nx - 2)), self._jobs(n * (ny - 2))
        sums = np.zeros((len(jobs), 2, bias.size))

        def run(i: int) -> None:
            winograd.convolve_image(blocks, matrix, result, *jobs[i], inside, self._block_weight, sums[i])

        self._run(run, len(jobs))
        return self._normalised(layer, result, (ny - 2, nx - 2), sums, inside)

    def _convolve(
        self,
        layer: str,
        place: int,
        features: _Features,
        corner: int = 0,
        more: np.ndarray = NOTHING,
        more_corner: int = 0,
    ) -> _Features:
        packed, bias = self._weights.convolutions[f"{layer}.{3 * place}"]
        shape = (features.shape[0] - 2 * corner - 2, features.shape[1] - 2 * corner - 2)
        result = _allocate(features.n_blocks, shape, bias.size)
        inside = self._inside(layer, place, shape)
        jobs = self._jobs(features.n_blocks * -(-shape[0] // winograd.TILE))
        sums = np.zeros((len(jobs), 2, bias.size))

        def run(i: int) -> None:
            winograd.convolve(
                features.values,
                corner,
                features.scale,
                features.offset,
                more,
                more_corner,
                packed,
                bias,
                result,
                *jobs[i],
                inside,
                self._block_weight,
                sums[i],
            )

        self._run(run, len(jobs))
        return self._normalised(layer, result, shape, sums, inside)

    def _inside(self, layer: str, place: int, shape: tuple[int, int]) -> np.ndarray:
        """Return the limits of the pixels that are not margin."""
        margin = self._weights.margins[layer][1] + (1 - place)
        return np.array([margin, shape[0] - margin, margin, shape[1] - margin])

    def _normalised(
        self, layer: str, values: np.ndarray, shape: tuple[int, int], sums: np.ndarray, inside: np.ndarray
    ) -> _Features:
        """Return features with their normalisation."""
        n_channels = values.shape[3]
        if self._given is not None:
            scale, offset = self._given[:, self._n_given : self._n_given + n_channels].astype(np.float32)
            self._n_given += n_channels
            return _Features(values, shape, scale, offset)
        n_pixels = (inside[1] - inside[0]) * (inside[3] - inside[2])
        n_group = self._weights.architecture.n_group
        mean, square = np.mean(sums.sum(axis=0).reshape(2, n_group, -1), axis=2) / n_pixels
        tensors = self._weights.tensors
        weight, bias = (tensors[f"{layer}.4.{name}"].astype(np.float64) for name in ("weight", "bias"))
        repeats = n_channels // n_group
        scale = weight * np.repeat(1.0 / np.sqrt(square - mean**2 + NORM_EPSILON), repeats)
        offset = bias - np.repeat(mean, repeats) * scale
        self.applied.append(np.stack([scale, offset]))
        return _Features(values, shape, scale.astype(np.float32), offset.astype(np.float32))

    def _halve(self, features: _Features) -> _Features:
        shape = (features.shape[0] // 2, features.shape[1] // 2)
        n_channels = features.scale.size
        result = _allocate(features.n_blocks, shape, n_channels)
        jobs = self._jobs(features.n_blocks * shape[0])

        def run(i: int) -> None:
            winograd.halve(features.values, features.scale, features.offset, result, shape, *jobs[i])

        self._run(run, len(jobs))
        # They are positive: to normalise and rectify them again is harmless.
        ones, zeros = np.ones(n_channels, dtype=np.float32), np.zeros(n_channels, dtype=np.float32)
        return _Features(result, shape, ones, zeros)

    def _deconvolve(self, layer: str, features: _Features) -> np.ndarray:
        matrix, bias = self._weights.deconvolutions[layer]
        result = _allocate(features.n_blocks, (2 * features.shape[0], 2 * features.shape[1]), bias.size)
        jobs = self._jobs(features.n_blocks * features.shape[0])

        def run(i: int) -> None:
            winograd.deconvolve(
                features.values,
                features.scale,
                features.offset,
                matrix,
                bias,
                result,
                features.shape,
                *jobs[i],
            )

        self._run(run, len(jobs))
        return result

    def _rate(self, features: _Features) -> np.ndarray:
        probability = np.empty((features.n_blocks, *features.shape), dtype=np.float32)
        weight = self._weights.vector("outc.conv.weight").ravel()
        bias = float(self._weights.tensors["outc.conv.bias"][0])
        jobs = self._jobs(features.n_blocks * features.shape[0])

        def run(i: int) -> None:
            winograd.rate(
                features.values, features.scale, features.offset, weight, bias, probability, *jobs[i]
            )

        self._run(run, len(jobs))
        return probability

    def _jobs(self, n_rows: int) -> list[tuple[int, int]]:
        """Divide rows into jobs."""
        n_jobs = min(n_rows, JOBS_PER_THREAD * self._threads) if self._pool is not None else 1
        limits = [i * n_rows // n_jobs for i in range(n_jobs + 1)]
        return list(zip(limits[:-1], limits[1:], strict=True))

    def _run(self, job: Callable[[int], None], n_jobs: int) -> None:
        if self._pool is None:
            job(0)
        else:
            list(self._pool.map(job, range(n_jobs)))


def _allocate(n_blocks: int, shape: tuple[int, int], n_channels: int) -> np.ndarray:
    """Make room for features, with zeros beyond what is used."""
    sides = (winograd.padded_side(side) for side in shape)
    values = np.empty((n_blocks, *sides, n_channels), dtype=np.float32)
    values[:, shape[0] :] = 0.0
    values[:, :, shape[1] :] = 0.0
    return values
