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
the statistics of groups of features over the whole tile.  So the network is
evaluated around whatever is sharp, or long and narrow, and in a sample of
blocks that stand for the rest of the tile in the statistics.
"""

from __future__ import annotations

__all__ = ["SelectiveEvaluator"]

import concurrent.futures

import numpy as np

from .blocks import WinogradNetwork
from .calibration import calibrate
from .coverage import cell_areas, cover_cells, evaluation_cost
from .sampling import Sample, choose_blocks, rate_blocks
from .screening import (
    NOISE_SAMPLING,
    find_long_cells,
    find_sharp_cells,
    measure_noise,
    measure_power,
    measure_sharpness,
)

SAMPLE_SIZE = 256
"""How many blocks to sample in a tile."""

MOST_WORK = 0.65
"""Part of the work for a whole tile beyond which it is evaluated whole.  To
find the parts, and how they count, takes nearly a tenth of the time.  Up to
0.85 parts would take less time, but in fields so crowded cosmic rays are
hidden from the test that marks cells.
"""

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
    network : `WinogradNetwork`
        The network.

    Notes
    -----
    A tile is evaluated as a whole if it is small, has much in it that is
    sharp, as in a crowded field, or many negative residuals.
    """

    def __init__(self, network: WinogradNetwork) -> None:
        self._network = network
        self.reach = network.reach
        self.stride = network.stride

    def evaluate(self, window: np.ndarray) -> np.ndarray:
        """Return the probability of the pixels of a tile.

        Parameters
        ----------
        window : `numpy.ndarray` [`float32`]
            The tile without its sky, and ``reach`` pixels on each side.

        Returns
        -------
        probability : `numpy.ndarray` [`float32`]
            Probability in the tile alone, 0 where it was not evaluated.
        """
        if _has_negative_residuals(window):
            return self._network.evaluate(window)
        shape = self._tile_shape(window)
        across, down = measure_sharpness(window)
        cells = find_sharp_cells(window, across, down, self.reach, shape)
        # Whether a tile is crowded is known before the rest is looked at.
        if self._is_much(cover_cells(cells, shape, self._network.steps)):
            return self._network.evaluate(window)
        cells |= find_long_cells(window, self.reach, shape)
        if not np.any(cells):
            return np.zeros(shape, dtype=np.float32)
        steps = self._network.steps
        if self._network.architecture.uses_tile_statistics:
            sample = self._choose_sample(window, across, down, cells)
            tiles = cover_cells(cells | sample.cells(cells.shape), shape, steps)
        else:
            tiles = cover_cells(cells, shape, steps)
        if self._is_much(tiles):
            return self._network.evaluate(window)
        if self._network.architecture.uses_tile_statistics:
            weights = self._weigh(window, cells, sample)
        else:
            weights = [np.zeros((0, 0), dtype=np.float32)] * len(steps)
        return self._network.evaluate_parts(window, tiles, weights)

    def _choose_sample(
        self, window: np.ndarray, across: np.ndarray, down: np.ndarray, cells: np.ndarray
    ) -> Sample:
        """Choose blocks that stand for what is not marked."""
        shape = self._tile_shape(window)
        light, sharp_across, sharp_down = (
            measure_power(part, self.reach, shape) for part in (window, across, down)
        )
        missing = np.where(cells, 0.0, cell_areas(shape))
        return choose_blocks(rate_blocks(light, sharp_across + sharp_down, missing), SAMPLE_SIZE)

    def _weigh(self, window: np.ndarray, cells: np.ndarray, sample: Sample) -> list[np.ndarray]:
        """Tell how often grains count in each of the statistics."""
        steps, shape = self._network.steps, self._tile_shape(window)
        responses = self._network.measure_responses(window)

        def weigh(around: int) -> np.ndarray:
            first = sample.weigh(cells, around, shape, self.stride)
            return calibrate(first.weight, first.known, responses).astype(np.float32)

        places = list({step.around for step in steps})
        with concurrent.futures.ThreadPoolExecutor(self._network.threads) as pool:
            weights = dict(zip(places, pool.map(weigh, places), strict=True))
        return [weights[step.around] for step in steps]

    def _tile_shape(self, window: np.ndarray) -> tuple[int, int]:
        return (window.shape[0] - 2 * self.reach, window.shape[1] - 2 * self.reach)

    def _is_much(self, tiles: list[np.ndarray]) -> bool:
        """Tell whether to evaluate everything takes less time."""
        return evaluation_cost(tiles, self._network.architecture) > MOST_WORK


def _has_negative_residuals(window: np.ndarray) -> bool:
    """Tell whether many pixels are far below the sky."""
    noise = measure_noise(window[::NOISE_SAMPLING, ::NOISE_SAMPLING])
    return bool(np.mean(window < -NEGATIVE_LIMIT * noise) > MOST_NEGATIVE)
