# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Choosing blocks of a tile that stand for what is not evaluated."""

from __future__ import annotations

__all__ = ["BLOCK_CELLS", "Sample", "Weights", "choose_blocks", "rate_blocks"]

import dataclasses

import numpy as np
import scipy.ndimage

from .coverage import CELL_SIDE, add_ranges

BLOCK_CELLS = 2
"""Side of a block in cells."""

FAINT_WEIGHT = 0.65
BRIGHT_WEIGHT = 0.25
SHARP_WEIGHT = 0.125
NEIGHBOUR_WEIGHT = 0.5
POWER_WEIGHT = 0.25
"""Weights of blocks with objects, with bright or with sharp ones, or beside
such blocks, in the choice of a sample; the weight of all alike is 1.  The last
is for the square of light, by which the variances of the first features go.
Those of the later ones go rather by its logarithm.  Found by trial on tiles
whose statistics were known.
"""


@dataclasses.dataclass(frozen=True)
class Weights:
    """How often grains count in the statistics of a convolution."""

    weight: np.ndarray
    """Weight of each grain; 0 where it is not computed or does not count."""

    known: np.ndarray
    """Grains that stand for themselves alone (bool)."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """Blocks of a tile that were drawn."""

    drawn: np.ndarray
    """Which blocks were drawn (bool, two-dimensional)."""

    probability: np.ndarray
    """With what probability each could be drawn."""

    def cells(self, n_cells: tuple[int, ...], least: float = 0.0) -> np.ndarray:
        """Return the cells of blocks that were drawn.

        Parameters
        ----------
        n_cells : `tuple` [`int`, `int`]
            How many cells the tile has along each axis.
        least : `float`, optional
            Probability that such a block had at least; 1 for those that were
            certain.

        Returns
        -------
        cells : `numpy.ndarray` [`bool`]
            One element a cell.
        """
        blocks = self.drawn & (self.probability >= least)
        cells = blocks.repeat(BLOCK_CELLS, axis=0).repeat(BLOCK_CELLS, axis=1)
        return cells[: n_cells[0], : n_cells[1]]

    def weigh(self, cells: np.ndarray, around: int, shape: tuple[int, int], side: int) -> Weights:
        """Return how often grains count in the statistics of a convolution.

        What is computed in any case counts once.  The rest is represented by
        what is computed for the blocks that were drawn by chance: as often
        as that happened, in comparison with how often it was to be expected.

        Parameters
        ----------
        cells : `numpy.ndarray` [`bool`]
            Which cells can hold cosmic rays.
        around : `int`
            So many grains around each cell are computed of the convolution.
        shape : `tuple` [`int`, `int`]
            Shape of the tile.
        side : `int`
            Side of a grain (pixels).

        Returns
        -------
        weights : `Weights`
            The weights, whose sum is the number of grains.
        """
        n_grains = (shape[0] // side, shape[1] // side)
        known = self._around(cells | self.cells(cells.shape, 1.0), n_grains, 1, around, side) > 0
        uncertain = self.probability < 1.0
        times = self._around(self.drawn & uncertain, n_grains, BLOCK_CELLS, around, side)
        expected = self._around(self.probability * uncertain, n_grains, BLOCK_CELLS, around, side)
        counts = (times > 0) & ~known
        weight = np.where(counts, times / np.where(counts, expected, 1.0), 0.0)
        represented = np.sum(weight)
        weight *= np.count_nonzero(~known) / represented if represented > 0.0 else 0.0
        weight[known] = 1.0
        # Where nothing represents what is missing, all that is known does.
        return Weights(weight * (weight.size / np.sum(weight)), known)

    @staticmethod
    def _around(
        values: np.ndarray, n_grains: tuple[int, int], n_cells: int, around: int, side: int
    ) -> np.ndarray:
        """Add up values of squares of cells that are close to a grain."""
        length = n_cells * CELL_SIDE // side
        rows, columns = (
            _neighbours(*sizes, length, around) for sizes in zip(n_grains, values.shape, strict=True)
        )
        return add_ranges(values, rows, columns)


def _neighbours(n_grains: int, n_blocks: int, side: int, around: int) -> np.ndarray:
    """Return first and last block that is so close to each grain."""
    places = np.arange(n_grains)
    return np.clip([-((side - 1 + around - places) // side), (places + around) // side], 0, n_blocks - 1)


def rate_blocks(light: np.ndarray, sharpness: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Return how much blocks matter in the statistics.

    Features of a block are strong if it, or a block beside it, is bright or
    sharp; but most of the tile is sky.

    Parameters
    ----------
    light, sharpness : `numpy.ndarray`
        Mean square of the pixels of each cell, and of their sharpness.
    areas : `numpy.ndarray`
        The part of each cell to represent.

    Returns
    -------
    importance : `numpy.ndarray`
        One element a block; 0 where there is nothing to represent.
    """
    parts = _sum_blocks(areas)
    importance = _normalised(parts)
    typical = max(float(np.median(light)), np.finfo(float).tiny)
    objects = np.log(np.maximum(light / typical, 1.0))
    for weight, amplitude in (
        (FAINT_WEIGHT, _sum_blocks(areas * objects)),
        (BRIGHT_WEIGHT, np.sqrt(_sum_blocks(areas * light))),
        (SHARP_WEIGHT, np.sqrt(_sum_blocks(areas * sharpness))),
    ):
        neighbours = scipy.ndimage.uniform_filter(amplitude, 3)
        importance += weight * (_normalised(amplitude) + NEIGHBOUR_WEIGHT * _normalised(neighbours))
    importance += POWER_WEIGHT * _normalised(_sum_blocks(areas * light))
    return np.where(parts > 0.0, importance, 0.0)


def _normalised(parts: np.ndarray) -> np.ndarray:
    return parts / max(float(np.sum(parts)), np.finfo(float).tiny)


def _sum_blocks(cells: np.ndarray) -> np.ndarray:
    """Add up the cells of each block."""
    padded = np.pad(cells, [(0, -size % BLOCK_CELLS) for size in cells.shape])
    ny, nx = (size // BLOCK_CELLS for size in padded.shape)
    return padded.reshape(ny, BLOCK_CELLS, nx, BLOCK_CELLS).sum(axis=(1, 3))


def choose_blocks(importance: np.ndarray, size: int) -> Sample:
    """Choose blocks that together stand for all.

    Blocks are drawn with a probability in proportion to their importance, by
    equal steps through the blocks in order of it.  Nothing is random.

    Parameters
    ----------
    importance : `numpy.ndarray`
        Importance of each block, not negative.
    size : `int`
        How many blocks to choose, at most.

    Returns
    -------
    sample : `Sample`
        The blocks.
    """
    matters = importance > 0.0
    if np.count_nonzero(matters) <= size:
        return Sample(matters, matters.astype(np.float64))
    measure = importance.ravel()
    order = np.argsort(measure, kind="stable")[::-1]
    ordered = _inclusion_probability(measure[order], size)
    passed = np.floor(np.cumsum(ordered) + 0.5)
    drawn, probability = np.zeros(measure.size, dtype=bool), np.zeros(measure.size)
    drawn[order] = np.diff(passed, prepend=0.0) > 0.0
    probability[order] = ordered
    return Sample(drawn.reshape(importance.shape), probability.reshape(importance.shape))


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
