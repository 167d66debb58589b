# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evaluating a tile only where there can be cosmic rays.

What a pixel gets from the network depends on what is within its reach, and on
the statistics of groups of features over the whole tile.  So the statistics
are measured in a sample of blocks, and then the network is evaluated in
rectangles around whatever is sharp, or long and narrow.
"""

from __future__ import annotations

__all__ = ["SelectiveEvaluator", "choose_sample"]

import concurrent.futures

import numpy as np
import scipy.ndimage

from .evaluators import BlockNetwork, TileEvaluator
from .screening import (
    CELL_SIDE,
    NOISE_SAMPLING,
    evaluation_cost,
    find_long_cells,
    find_sharp_cells,
    least_cost,
    measure_noise,
    measure_sharpness,
    plan_rectangles,
)

BLOCK_SIDE = 32
"""Side of the blocks of a sample (pixels)."""

SAMPLE_SIZE = 192
"""How many blocks to sample in a tile."""

BRIGHT_WEIGHT = 1.0
SHARP_WEIGHT = 0.5
NEIGHBOUR_WEIGHT = 0.5
"""Weights of blocks that are bright, sharp, or beside such blocks, in the
choice of a sample; the weight of all alike is 1.  Found by trial on tiles
whose statistics were known.
"""

MOST_WORK = 0.8
"""Part of the work for a whole tile beyond which it is evaluated whole."""


NEGATIVE_LIMIT = 6.0
MOST_NEGATIVE = 5e-4
"""A tile with more than this part of its pixels so far below its sky (in
standard deviations) is a difference with residuals, on which its statistics
hang; it is evaluated whole.
"""


class SelectiveEvaluator:
    """Evaluates the pixels of a tile that can be cosmic rays.

    Parameters
    ----------
    network : `BlockNetwork`
        The network.

    Notes
    -----
    A tile is evaluated as a whole if it is small, has much in it that is
    sharp, as in a crowded field, or many negative residuals.
    """

    overhang = BLOCK_SIDE

    def __init__(self, network: BlockNetwork) -> None:
        self._network = network
        self._whole = TileEvaluator(network)
        self.reach = network.architecture.reach
        self.stride = network.architecture.stride

    def evaluate(self, window: np.ndarray) -> np.ndarray:
        """Return the probability of the pixels of a tile.

        Parameters
        ----------
        window : `numpy.ndarray` [`float32`]
            The tile without its sky, ``reach`` pixels on each side, and
            ``overhang`` more at the end.

        Returns
        -------
        probability : `numpy.ndarray` [`float32`]
            Probability in the tile alone, 0 where it was not evaluated.
        """
        around = 2 * self.reach + self.overhang
        shape = (window.shape[0] - around, window.shape[1] - around)
        sharpness = measure_sharpness(window)
        cells = find_sharp_cells(*sharpness, self.reach, shape) | find_long_cells(window, self.reach, shape)
        if self._is_too_much(least_cost(cells), shape) or _has_negative_residuals(window):
            return self._evaluate_whole(window)
        rectangles = plan_rectangles(cells)
        if self._is_too_much(evaluation_cost(rectangles), shape):
            return self._evaluate_whole(window)
        probability = np.zeros((shape[0] + CELL_SIDE, shape[1] + CELL_SIDE), dtype=np.float32)
        if len(rectangles) > 0:
            evaluate = self._network.fixed(self._normalisation(window, sharpness, shape))

            def evaluate_rectangle(rectangle: np.ndarray) -> None:
                y0, x0, y1, x1 = rectangle
                block = window[y0 : y1 + 2 * self.reach, x0 : x1 + 2 * self.reach]
                probability[y0:y1, x0:x1] = evaluate(block[np.newaxis])[0]

            with concurrent.futures.ThreadPoolExecutor(self._network.threads) as pool:
                list(pool.map(evaluate_rectangle, rectangles))
        return probability[: shape[0], : shape[1]]

    def _evaluate_whole(self, window: np.ndarray) -> np.ndarray:
        return self._whole.evaluate(window[: -self.overhang, : -self.overhang])

    def _is_too_much(self, work: float, shape: tuple[int, int]) -> bool:
        """Tell whether the whole tile takes hardly more work."""
        if self._network.architecture.uses_tile_statistics:
            work += SAMPLE_SIZE * evaluation_cost(np.array([[0, 0, BLOCK_SIDE, BLOCK_SIDE]]))
        return work > MOST_WORK * evaluation_cost(np.array([[0, 0, *shape]]))

    def _normalisation(
        self, window: np.ndarray, sharpness: tuple[np.ndarray, np.ndarray], shape: tuple[int, int]
    ) -> np.ndarray:
        """Return the normalisation, measured in some blocks of the tile."""
        if not self._network.architecture.uses_tile_statistics:
            return self._network.batch_normalisation
        areas = _areas_inside(shape)
        bright, across, down = (
            areas * _block_power(pixels[self.reach :, self.reach :], areas.shape)
            for pixels in (window, *sharpness)
        )
        chosen, share = choose_sample(_importance(bright, across + down, areas).ravel(), SAMPLE_SIZE)
        corners = np.stack(np.divmod(chosen, areas.shape[1]), axis=1) * BLOCK_SIDE
        side = BLOCK_SIDE + 2 * self.reach
        blocks = np.stack([window[y : y + side, x : x + side] for y, x in corners])
        weight = share * areas.ravel()[chosen]
        _, normalisation = self._network.measure(blocks, weight / np.sum(weight))
        return normalisation


def _importance(bright: np.ndarray, sharp: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Return how much blocks matter in the statistics.

    Features of a block are strong if it, or a block beside it, is bright or
    sharp; but most of the tile is sky.
    """
    importance = areas / np.sum(areas)
    for weight, power in ((BRIGHT_WEIGHT, bright), (SHARP_WEIGHT, sharp)):
        amplitude = np.sqrt(power)
        neighbours = scipy.ndimage.uniform_filter(amplitude, 3)
        for part_weight, part in ((weight, amplitude), (NEIGHBOUR_WEIGHT, neighbours)):
            importance += part_weight * part / max(np.sum(part), np.finfo(float).tiny)
    return importance


def _has_negative_residuals(window: np.ndarray) -> bool:
    """Tell whether many pixels are far below the sky."""
    noise = measure_noise(window[::NOISE_SAMPLING, ::NOISE_SAMPLING])
    return bool(np.mean(window < -NEGATIVE_LIMIT * noise) > MOST_NEGATIVE)


def choose_sample(measure: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose blocks that together stand for all.

    Blocks are drawn with a probability in proportion to a measure, by equal
    steps through the blocks in order of it.  Nothing is random.

    Parameters
    ----------
    measure : `numpy.ndarray`
        Importance of each block, positive, shape (n,).
    size : `int`
        How many blocks to choose.

    Returns
    -------
    chosen : `numpy.ndarray` [`int`]
        Indices of blocks, shape (m,), where m is about ``size`` at most.
    share : `numpy.ndarray` [`float64`]
        For how many blocks each of them stands, shape (m,).
    """
    if measure.size <= size:
        return np.arange(measure.size), np.ones(measure.size)
    order = np.argsort(measure, kind="stable")[::-1]
    probability = _inclusion_probability(measure[order], size)
    passed = np.floor(np.cumsum(probability) + 0.5)
    drawn = np.diff(passed, prepend=0.0) > 0.0
    return order[drawn], 1.0 / probability[drawn]


def _inclusion_probability(measure: np.ndarray, size: int) -> np.ndarray:
    """Return probabilities in proportion to a measure, but at most 1."""
    certain = np.zeros(measure.size, dtype=bool)
    while True:
        left = size - np.count_nonzero(certain)
        probability = np.where(certain, 1.0, left * measure / np.sum(measure[~certain]))
        excess = ~certain & (probability > 1.0)
        if not np.any(excess):
            return probability
        certain |= excess


def _areas_inside(shape: tuple[int, int]) -> np.ndarray:
    """Return the part of each block of a tile that is inside it."""
    rows, columns = (
        np.clip(size - np.arange(0, size, BLOCK_SIDE), 0, BLOCK_SIDE) / BLOCK_SIDE for size in shape
    )
    return np.outer(rows, columns)


def _block_power(pixels: np.ndarray, n_blocks: tuple[int, ...]) -> np.ndarray:
    """Return the mean square of the pixels of each block."""
    ny, nx = n_blocks
    whole = pixels[: ny * BLOCK_SIDE, : nx * BLOCK_SIDE].astype(np.float64)
    return np.mean(np.square(whole).reshape(ny, BLOCK_SIDE, nx, BLOCK_SIDE), axis=(1, 3))
