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

import collections
import concurrent.futures
import copy
from collections.abc import Callable, Mapping

import numpy as np

from . import winograd
from .coverage import Convolution, convolutions, cover_whole, find_rims
from .network import NORM_EPSILON, Architecture, batch_normalisation
from .responses import measure_responses
from .winograd import Features, Sums

JOBS_PER_THREAD = 8
"""Work is divided more finely than among threads, since some may be slower."""

MOST_ROOM = 4.5
"""Memory may be this much larger than what is put there."""

MEASURED_CHANNELS = 8
"""Of so many channels of the first convolution responses are measured; others
tell hardly more.
"""

NOTHING = np.zeros((0, 0, 0), dtype=np.float32)


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


class WinogradNetwork:
    """A network that is evaluated without padding, on CPUs.

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
        self.reach = architecture.reach
        self.stride = architecture.stride
        self._weights = _Weights(tensors, architecture)
        self._memory = _Memory()

    def for_one_image(self) -> WinogradNetwork:
        """Return the same network with memory of its own.

        Returns
        -------
        network : `WinogradNetwork`
            It keeps the memory of one tile for the next until it is deleted,
            and must not be used by two threads at a time.
        """
        network = copy.copy(self)
        network._memory = _Memory()
        return network

    @property
    def steps(self) -> list[Convolution]:
        """The convolutions in order (`list` [`Convolution`])."""
        return self._weights.steps

    def evaluate(self, window: np.ndarray) -> np.ndarray:
        """Return the probability of the pixels of a tile.

        Parameters
        ----------
        window : `numpy.ndarray` [`float32`]
            The tile and what is around it, shape (ny, nx).

        Returns
        -------
        probability : `numpy.ndarray` [`float32`]
            Shape (ny - 2 reach, nx - 2 reach).
        """
        shape = (window.shape[0] - 2 * self.reach, window.shape[1] - 2 * self.reach)
        weight = np.ones([size // self.stride for size in shape], dtype=np.float32)
        return self.evaluate_parts(window, cover_whole(shape, self.steps), [weight] * len(self.steps))

    def evaluate_parts(
        self, window: np.ndarray, tiles: list[np.ndarray], weights: list[np.ndarray]
    ) -> np.ndarray:
        """Return the probability of some of the pixels of a tile.

        Parameters
        ----------
        window : `numpy.ndarray` [`float32`]
            The tile and what is around it, shape (ny, nx).
        tiles : `list` [`numpy.ndarray`]
            For each convolution, which tiles of 4x4 pixels to compute.
        weights : `list` [`numpy.ndarray`]
            For each convolution, how often each grain is to count in the
            statistics (float32).  Those that count have to be computed.

        Returns
        -------
        probability : `numpy.ndarray` [`float32`]
            Shape (ny - 2 reach, nx - 2 reach); 0 where it was not computed.
        """
        with concurrent.futures.ThreadPoolExecutor(self.threads) as pool:
            return _Evaluation(self._weights, self._memory, pool, self.threads, tiles, weights).run(window)

    def measure_responses(self, window: np.ndarray) -> np.ndarray:
        """Measure what the first convolution responds to in a tile.

        Parameters
        ----------
        window : `numpy.ndarray` [`float32`]
            The tile and what is around it, shape (ny, nx).

        Returns
        -------
        responses : `numpy.ndarray` [`float32`]
            For each grain 1, and then mean and mean square of some features
            as the second convolution reads them: normalised and rectified.
        """
        shape = (window.shape[0] - 2 * self.reach, window.shape[1] - 2 * self.reach)
        margin, matrix = self.steps[0].margin, self._weights.first_matrix
        chosen = slice(None, None, matrix.shape[1] // MEASURED_CHANNELS)
        n_rows, n_columns = (size // self.stride for size in shape)
        parts = [range(rows[0], rows[-1] + 1) for rows in _divide(n_rows, self.threads)]
        with concurrent.futures.ThreadPoolExecutor(self.threads) as pool:
            sums = _sum_first_features(window, self._weights, shape, pool, self.threads)
            scale, offset = self._weights.group_normalisation(0, sums, shape[0] * shape[1])
            normalised = matrix * scale
            normalised[9] += offset
            features = np.ascontiguousarray(normalised.T[chosen], dtype=np.float32)
            responses = np.empty((n_rows, n_columns, 2 * len(features) + 1), dtype=np.float32)
            list(
                pool.map(
                    lambda rows: measure_responses(window, features, margin, self.stride, rows, responses),
                    parts,
                )
            )
        return responses


class _Weights:
    """Weights as the convolutions take them."""

    def __init__(self, tensors: Mapping[str, np.ndarray], architecture: Architecture) -> None:
        self.tensors = tensors
        self.architecture = architecture
        self.steps = convolutions(architecture)
        self.convolutions = []
        self.deconvolutions = {}
        for layer, (n_in, n_out) in architecture.layers().items():
            for place in (0, 3):
                weight, bias = self.vector(f"{layer}.{place}.weight"), self.vector(f"{layer}.{place}.bias")
                if weight.shape[1] == 1:
                    pixels = np.concatenate([weight.reshape(n_out, 9), bias[:, np.newaxis]], axis=1)
                    packed = winograd.pack_matrix(pixels.T)
                    self.first_matrix = pixels.T.astype(np.float64)
                else:
                    packed = winograd.pack_weights(weight).ravel()
                self.convolutions.append((packed, bias))
            if layer.startswith("up"):
                name = layer.replace(".conv.conv", ".up_conv")
                matrix = self.vector(f"{name}.weight").transpose(0, 2, 3, 1).reshape(n_in, -1)
                self.deconvolutions[layer] = winograd.pack_matrix(matrix), self.vector(f"{name}.bias")

    def vector(self, name: str) -> np.ndarray:
        """Return a tensor in single precision."""
        return self.tensors[name].astype(np.float32)

    def group_normalisation(
        self, step: int, sums: np.ndarray, n_pixels: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return scale and offset of each channel of a convolution.

        They follow from sums of each channel, and of its squares.
        """
        n_group = self.architecture.n_group
        mean, square = np.mean(sums.reshape(2, n_group, -1), axis=2) / n_pixels
        weight, bias = (
            self.tensors[f"{self.steps[step].layer}.4.{name}"].astype(np.float64)
            for name in ("weight", "bias")
        )
        repeats = weight.size // n_group
        scale = weight * np.repeat(1.0 / np.sqrt(square - mean**2 + NORM_EPSILON), repeats)
        return scale, bias - np.repeat(mean, repeats) * scale


def _divide(n_rows: int, threads: int) -> list[np.ndarray]:
    """Divide rows into jobs."""
    return [rows for rows in np.array_split(np.arange(n_rows), JOBS_PER_THREAD * threads) if rows.size > 0]


def _sum_first_features(
    image: np.ndarray,
    weights: _Weights,
    shape: tuple[int, int],
    pool: concurrent.futures.ThreadPoolExecutor,
    threads: int,
) -> np.ndarray:
    """Return sums over what the first convolution makes of a tile."""
    margin, matrix = weights.steps[0].margin, weights.first_matrix

    def add(rows: np.ndarray) -> np.ndarray:
        moments = np.zeros((10, 10))
        limits = margin + rows[0], margin + rows[-1] + 1
        winograd.add_moments(image, *limits, margin, margin + shape[1], moments)
        return moments

    total = np.sum(list(pool.map(add, _divide(shape[0], threads))), axis=0)
    return np.stack([total[9] @ matrix, np.einsum("io,ij,jo->o", matrix, total, matrix)])


class _Memory:
    """Room for features, which is used again.

    To get new memory from the system takes as long as a convolution.
    """

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []

    def take(self, shape: tuple[int, int], n_channels: int, pixels: int = 1) -> np.ndarray:
        """Make room for features, with zeros beyond what is used.

        With ``pixels``, tiles are that many times larger.
        """
        ny, nx = (pixels * winograd.padded_side(side // pixels) for side in shape)
        size = ny * nx * n_channels
        fitting = [i for i, free in enumerate(self._free) if size <= free.size <= MOST_ROOM * size]
        if fitting:
            room = self._free.pop(min(fitting, key=lambda i: self._free[i].size))
        else:
            room = np.empty(size, dtype=np.float32)
        values = room[:size].reshape(ny, nx, n_channels)
        values[shape[0] :] = 0.0
        values[:, shape[1] :] = 0.0
        return values

    def give(self, values: np.ndarray) -> None:
        """Take back the room of features."""
        room = values.base
        if room is not None:
            self._free.append(room)


class _Evaluation:
    """One evaluation of a tile.

    Parameters
    ----------
    weights : `_Weights`
        The network.
    memory : `_Memory`
        Where features have room.
    pool : `concurrent.futures.ThreadPoolExecutor`
        What runs jobs.
    threads : `int`
        How many threads it has.
    tiles, grain_weights : `list` [`numpy.ndarray`]
        What to compute, and to count, of each convolution.
    """

    def __init__(
        self,
        weights: _Weights,
        memory: _Memory,
        pool: concurrent.futures.ThreadPoolExecutor,
        threads: int,
        tiles: list[np.ndarray],
        grain_weights: list[np.ndarray],
    ) -> None:
        self._weights = weights
        self._memory = memory
        self._pool = pool
        self._threads = threads
        self._tiles = tiles
        self._rims = find_rims(tiles, weights.steps)
        self._grain_weights = grain_weights
        self._tile_shape = (0, 0)
        if not weights.architecture.uses_tile_statistics:
            self._given = batch_normalisation(weights.tensors, weights.architecture).astype(np.float32)

    def run(self, window: np.ndarray) -> np.ndarray:
        """Return the probability of the pixels of a tile."""
        weights, depth = self._weights, self._weights.architecture.depth
        around = 2 * weights.architecture.reach
        self._tile_shape = (window.shape[0] - around, window.shape[1] - around)
        features = self._convolve_again(1, self._convolve_image(window))
        skips = []
        for level in range(1, depth + 1):
            skips.append(features)
            halved = self._halve(2 * level - 1, features)
            features = self._convolve_again(2 * level + 1, self._convolve_again(2 * level, halved))
        for step in range(2 * depth + 2, len(weights.steps), 2):
            coarser = self._deconvolve(step, features)
            self._memory.give(features.values)
            finer = skips.pop()
            both = self._convolve(step, finer, coarser)
            self._memory.give(coarser)
            self._memory.give(finer.values)
            features = self._convolve_again(step + 1, both)
        probability = self._rate(features)
        self._memory.give(features.values)
        return probability

    def _convolve_again(self, step: int, features: Features) -> Features:
        """Convolve features that are not needed any more."""
        result = self._convolve(step, features)
        self._memory.give(features.values)
        return result

    def _convolve_image(self, window: np.ndarray) -> Features:
        step = self._weights.steps[0]
        matrix, bias = self._weights.convolutions[0]
        shape = step.shape(self._tile_shape)
        result = self._memory.take(shape, bias.size)
        image = np.zeros([winograd.padded_side(side) for side in shape], dtype=np.float32)
        image[: window.shape[0], : window.shape[1]] = window
        jobs = self._jobs(0)
        self._clear_rim(0, result)

        def run(i: int) -> None:
            winograd.convolve_image(image, matrix, result, jobs[i])

        self._run(run, len(jobs))
        sums = _sum_first_features(image, self._weights, self._tile_shape, self._pool, self._threads)
        return self._normalised(0, result, sums)

    def _convolve(self, step: int, features: Features, more: np.ndarray = NOTHING) -> Features:
        packed, bias = self._weights.convolutions[step]
        sources = self._weights.steps[step].sources
        result = self._memory.take(self._weights.steps[step].shape(self._tile_shape), bias.size)
        counted = self._counted(step)
        jobs = self._jobs(step)
        sums = np.zeros((len(jobs), 2, bias.size))
        self._clear_rim(step, result)

        def run(i: int) -> None:
            winograd.convolve(
                features,
                sources[0].corner,
                more,
                sources[-1].corner,
                packed,
                bias,
                result,
                jobs[i],
                counted,
                sums[i],
            )

        self._run(run, len(jobs))
        return self._normalised(step, result, sums.sum(axis=0))

    def _counted(self, step: int) -> Sums:
        """Return how pixels count in the statistics."""
        convolution = self._weights.steps[step]
        rows, columns = (size >> convolution.level for size in self._tile_shape)
        if not self._weights.architecture.uses_tile_statistics:
            rows = columns = 0
        power = convolution.grain.bit_length() - 1
        return Sums(self._grain_weights[step], power, convolution.margin, rows, columns)

    def _normalised(self, step: int, values: np.ndarray, sums: np.ndarray) -> Features:
        """Return features with their normalisation."""
        convolution, n_channels = self._weights.steps[step], values.shape[2]
        if not self._weights.architecture.uses_tile_statistics:
            (scale, offset), self._given = np.split(self._given, [n_channels], axis=1)
            return Features(values, scale.copy(), offset.copy())
        rows, columns = (size >> convolution.level for size in self._tile_shape)
        scale, offset = self._weights.group_normalisation(step, sums, rows * columns)
        return Features(values, scale.astype(np.float32), offset.astype(np.float32))

    def _halve(self, step: int, features: Features) -> Features:
        ny, nx = self._weights.steps[step].shape(self._tile_shape)
        n_channels = features.scale.size
        result = self._memory.take((ny // 2, nx // 2), n_channels)
        jobs = self._jobs(step)
        self._clear_rim(step, result, winograd.TILE // 2)

        def run(i: int) -> None:
            winograd.halve(features, result, jobs[i])

        self._run(run, len(jobs))
        # They are positive: to normalise and rectify them again is harmless.
        ones, zeros = np.ones(n_channels, dtype=np.float32), np.zeros(n_channels, dtype=np.float32)
        return Features(result, ones, zeros)

    def _deconvolve(self, step: int, features: Features) -> np.ndarray:
        """Return features of twice as many rows and columns for a step."""
        below = step - 1
        matrix, bias = self._weights.deconvolutions[self._weights.steps[step].layer]
        ny, nx = self._weights.steps[below].shape(self._tile_shape)
        result = self._memory.take((2 * ny, 2 * nx), bias.size, 2)
        jobs = self._jobs(below)
        self._clear_rim(below, result, 2 * winograd.TILE)

        def run(i: int) -> None:
            winograd.deconvolve(features, matrix, bias, result, jobs[i])

        self._run(run, len(jobs))
        return result

    def _rate(self, features: Features) -> np.ndarray:
        last = len(self._weights.steps) - 1
        probability = np.zeros([winograd.padded_side(side) for side in self._tile_shape], dtype=np.float32)
        weight = self._weights.vector("outc.conv.weight").ravel()
        bias = float(self._weights.tensors["outc.conv.bias"][0])
        jobs = self._jobs(last)

        def run(i: int) -> None:
            winograd.rate(features, weight, bias, probability, jobs[i])

        self._run(run, len(jobs))
        return probability[: self._tile_shape[0], : self._tile_shape[1]]

    def _jobs(self, step: int) -> list[np.ndarray]:
        """Divide the tiles of a convolution into jobs."""
        return np.array_split(np.argwhere(self._tiles[step]), JOBS_PER_THREAD * self._threads)

    def _clear_rim(self, step: int, values: np.ndarray, side: int = winograd.TILE) -> None:
        """Define what will be read but is not computed.

        Tiles may be larger or smaller in features made from the convolution.
        """
        winograd.clear(values, side, np.argwhere(self._rims[step]))

    def _run(self, job: Callable[[int], None], n_jobs: int) -> None:
        """Run jobs; each thread takes the next one when it is done."""
        waiting = collections.deque(range(n_jobs))

        def take_jobs() -> None:
            while True:
                try:
                    i = waiting.popleft()
                except IndexError:
                    return
                job(i)

        for others in [self._pool.submit(take_jobs) for _ in range(self._threads)]:
            others.result()
