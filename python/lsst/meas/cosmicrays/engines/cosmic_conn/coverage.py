# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which parts of each convolution are needed for parts of the result.

Each convolution is computed in tiles of 4x4 pixels.  Those that are needed
follow from those of the next convolution, back from the result to the image.
"""

from __future__ import annotations

__all__ = [
    "CELL_SIDE",
    "Convolution",
    "Coverage",
    "cell_areas",
    "convolutions",
    "cover_cells",
    "cover_whole",
    "evaluation_cost",
]

import dataclasses

import numba
import numpy as np

from .network import Architecture
from .winograd import TILE, WINDOW

CELL_SIDE = 8
"""Side of the cells (pixels) in which a tile of the image is divided."""


PIXEL_COST = 40
"""Reading and writing a channel take as long as so many of its products."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a convolution reads."""

    convolution: int
    """Which convolution made the features that it reads."""

    corner: int
    """First pixel to read, in pixels of the reader."""

    numerator: int = 1
    denominator: int = 1
    """Pixels of the source for a pixel of the reader."""


@dataclasses.dataclass(frozen=True)
class Convolution:
    """One convolution of the network."""

    layer: str
    """Name of the pair of convolutions."""

    place: int
    """Which of the pair (0 or 1)."""

    level: int
    """How often its image was halved."""

    margin: int
    """Pixels of its result around what belongs to the tile."""

    sources: tuple[Source, ...]

    def shape(self, tile_shape: tuple[int, int]) -> tuple[int, int]:
        """Return the shape of its result, for the shape of a tile."""
        return (
            (tile_shape[0] >> self.level) + 2 * self.margin,
            (tile_shape[1] >> self.level) + 2 * self.margin,
        )


def convolutions(architecture: Architecture) -> list[Convolution]:
    """Return the convolutions of a network in order of evaluation.

    Parameters
    ----------
    architecture : `Architecture`
        The network.

    Returns
    -------
    convolutions : `list` [`Convolution`]
        The convolutions.
    """
    margins, depth = architecture.margins(), architecture.depth
    found: list[Convolution] = []

    def add_pair(layer: str, level: int, *sources: Source) -> None:
        margin = margins[layer][1]
        found.append(Convolution(layer, 0, level, margin + 1, sources))
        found.append(Convolution(layer, 1, level, margin, (Source(len(found) - 1, 0),)))

    add_pair("inc.conv.conv", 0)
    for level in range(1, depth + 1):
        add_pair(f"down{level}.down_cov.1.conv", level, Source(len(found) - 1, 0, 2, 1))
    for level in range(depth, 0, -1):
        layer = f"up{level}.conv.conv"
        wanted, _ = margins[layer]
        encoder = 2 * level - 1
        below = len(found) - 1
        add_pair(
            layer,
            level - 1,
            Source(encoder, found[encoder].margin - wanted),
            Source(below, 2 * found[below].margin - wanted, 1, 2),
        )
    return found


@dataclasses.dataclass(frozen=True)
class Coverage:
    """What to compute of one convolution."""

    tiles: np.ndarray
    """Which tiles of 4x4 pixels to compute (bool, two-dimensional)."""

    complete: np.ndarray
    """Which cells are computed to the last pixel (bool)."""


def cover_whole(shape: tuple[int, int], steps: list[Convolution]) -> list[Coverage]:
    """Cover a tile of the image with all of its cells.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Shape of the tile.
    steps : `list` [`Convolution`]
        The convolutions.

    Returns
    -------
    coverage : `list` [`Coverage`]
        One element a convolution.
    """
    everything = np.ones(_n_cells(shape), dtype=bool)
    return [Coverage(np.ones(_n_tiles(step.shape(shape)), dtype=bool), everything) for step in steps]


def cover_cells(cells: np.ndarray, shape: tuple[int, int], steps: list[Convolution]) -> list[Coverage]:
    """Cover some cells of a tile of the image.

    Parameters
    ----------
    cells : `numpy.ndarray` [`bool`]
        Which cells are needed in the result.
    shape : `tuple` [`int`, `int`]
        Shape of the tile.
    steps : `list` [`Convolution`]
        The convolutions.

    Returns
    -------
    coverage : `list` [`Coverage`]
        One element a convolution: what is needed for these cells.
    """
    needed = [np.zeros(_n_tiles(step.shape(shape)), dtype=bool) for step in steps]
    rows, columns = (_tiles_of_cells(size, steps[-1]) for size in shape)
    _mark(cells, rows, columns, needed[-1])
    for step, tiles in zip(reversed(steps), reversed(needed), strict=True):
        for source in step.sources:
            before = needed[source.convolution]
            rows, columns = (
                _tiles_of_windows(*sides, source) for sides in zip(tiles.shape, before.shape, strict=True)
            )
            _mark(tiles, rows, columns, before)
    return [
        Coverage(tiles, _complete_cells(tiles, shape, step))
        for step, tiles in zip(steps, needed, strict=True)
    ]


def evaluation_cost(tiles: list[np.ndarray], architecture: Architecture) -> float:
    """Return the work for parts of each convolution.

    Parameters
    ----------
    tiles : `list` [`numpy.ndarray`]
        For each convolution, which tiles of 4x4 pixels to compute.
    architecture : `Architecture`
        The network.

    Returns
    -------
    cost : `float`
        Part of the work for everything.
    """
    costs = []
    for n_in, n_out in architecture.layers().values():
        costs += [n * n_out + PIXEL_COST * (n + n_out) for n in (n_in, n_out)]
    some, everything = (
        sum(cost * count(part) for cost, part in zip(costs, tiles, strict=True))
        for count in (np.count_nonzero, np.size)
    )
    return some / everything


def cell_areas(shape: tuple[int, int]) -> np.ndarray:
    """Return the part of each cell of a tile of the image that is inside it.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Shape of the tile.

    Returns
    -------
    areas : `numpy.ndarray`
        One element a cell.
    """
    rows, columns = (
        np.minimum(size - np.arange(0, size, CELL_SIDE), CELL_SIDE) / CELL_SIDE for size in shape
    )
    return np.outer(rows, columns)


def _n_cells(shape: tuple[int, int]) -> list[int]:
    return [-(-size // CELL_SIDE) for size in shape]


def _n_tiles(shape: tuple[int, int]) -> list[int]:
    return [-(-size // TILE) for size in shape]


def _complete_cells(tiles: np.ndarray, shape: tuple[int, int], step: Convolution) -> np.ndarray:
    complete = np.ones(_n_cells(shape), dtype=bool)
    rows, columns = (_tiles_of_cells(size, step) for size in shape)
    _find_complete(tiles, rows, columns, complete)
    return complete


def _tiles_of_cells(size: int, step: Convolution) -> np.ndarray:
    """Return first and last tile of each cell along one axis."""
    side = CELL_SIDE >> step.level
    first = step.margin + side * np.arange(-(-size // CELL_SIDE))
    last = np.minimum(first + side, step.margin + (size >> step.level)) - 1
    return np.stack([first // TILE, last // TILE], axis=1)


def _tiles_of_windows(n_tiles: int, n_before: int, source: Source) -> np.ndarray:
    """Return first and last tile of a source for the window of each tile."""
    first = TILE * np.arange(n_tiles) + source.corner
    last = first + WINDOW - 1
    ratio, divisor = source.numerator, source.denominator
    limits = np.stack([first * ratio // divisor, (last * ratio + ratio - 1) // divisor], axis=1)
    return np.minimum(limits // TILE, n_before - 1)


@numba.njit(cache=True, nogil=True)
def _mark(some: np.ndarray, rows: np.ndarray, columns: np.ndarray, reached: np.ndarray) -> None:
    """Mark what is reached from something, from first to last on each axis."""
    for i in range(some.shape[0]):
        for j in range(some.shape[1]):
            if some[i, j]:
                reached[rows[i, 0] : rows[i, 1] + 1, columns[j, 0] : columns[j, 1] + 1] = True


@numba.njit(cache=True, nogil=True)
def _find_complete(some: np.ndarray, rows: np.ndarray, columns: np.ndarray, complete: np.ndarray) -> None:
    """Tell where everything from first to last on each axis is there."""
    for i in range(complete.shape[0]):
        for j in range(complete.shape[1]):
            part = some[rows[i, 0] : rows[i, 1] + 1, columns[j, 0] : columns[j, 1] + 1]
            complete[i, j] = np.all(part)
