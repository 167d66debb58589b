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

A cell of the result needs of each convolution the pixels of the cell and a
margin.  They are computed in tiles of 4x4 pixels, whose other pixels have no
meaning: so what these depend on need not be computed, but only be defined.

What counts in the statistics is told in grains, the smallest squares that are
whole pixels of every convolution: their side is the stride of the network, and
a tile of the image has whole grains.
"""

from __future__ import annotations

__all__ = [
    "CELL_SIDE",
    "Convolution",
    "add_ranges",
    "cell_areas",
    "convolutions",
    "cover_cells",
    "cover_whole",
    "evaluation_cost",
    "find_rims",
]

import dataclasses

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

    grain: int
    """Side of a grain in pixels of its result."""

    sources: tuple[Source, ...]

    @property
    def side(self) -> int:
        """Side of a cell in pixels of its result (`int`)."""
        return CELL_SIDE >> self.level

    @property
    def around(self) -> int:
        """Whole grains of its result around what belongs to a cell (`int`)."""
        return self.margin // self.grain

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
        margin, grain = margins[layer][1], architecture.stride >> level
        found.append(Convolution(layer, 0, level, margin + 1, grain, sources))
        found.append(Convolution(layer, 1, level, margin, grain, (Source(len(found) - 1, 0),)))

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


def cover_whole(shape: tuple[int, int], steps: list[Convolution]) -> list[np.ndarray]:
    """Cover a tile of the image with all of its cells.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Shape of the tile.
    steps : `list` [`Convolution`]
        The convolutions.

    Returns
    -------
    tiles : `list` [`numpy.ndarray`]
        As of `cover_cells`.
    """
    return [np.ones(_n_tiles(step.shape(shape)), dtype=bool) for step in steps]


def cover_cells(cells: np.ndarray, shape: tuple[int, int], steps: list[Convolution]) -> list[np.ndarray]:
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
    tiles : `list` [`numpy.ndarray`]
        For each convolution, which tiles of 4x4 pixels to compute (bool,
        two-dimensional).
    """
    tiles = []
    for step in steps:
        sizes = _n_tiles(step.shape(shape))
        ranges = (_cells_of_tiles(*sides, step) for sides in zip(cells.shape, sizes, strict=True))
        tiles.append(add_ranges(cells, *ranges) > 0)
    return tiles


def find_rims(tiles: list[np.ndarray], steps: list[Convolution]) -> list[np.ndarray]:
    """Find what is read of each convolution without being computed.

    Parameters
    ----------
    tiles : `list` [`numpy.ndarray`]
        Which tiles are computed, as of `cover_cells`.
    steps : `list` [`Convolution`]
        The convolutions.

    Returns
    -------
    rims : `list` [`numpy.ndarray`]
        For each convolution, which other tiles are read (bool).
    """
    read = [np.zeros(some.shape, dtype=bool) for some in tiles]
    for step, some in zip(steps, tiles, strict=True):
        for source in step.sources:
            before = read[source.convolution]
            ranges = (_readers(*sides, source) for sides in zip(some.shape, before.shape, strict=True))
            before |= add_ranges(some, *ranges) > 0
    return [some & ~computed for some, computed in zip(read, tiles, strict=True)]


def evaluation_cost(tiles: list[np.ndarray], architecture: Architecture) -> float:
    """Return the work for parts of each convolution.

    Parameters
    ----------
    tiles : `list` [`numpy.ndarray`]
        What to compute, as of `cover_cells`.
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


def add_ranges(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Add up values from first to last along each axis.

    Parameters
    ----------
    values : `numpy.ndarray`
        Values, two-dimensional; of type bool, they are counted.
    rows, columns : `numpy.ndarray` [`int`]
        First and last to add for each element of the result, shape (2, n).

    Returns
    -------
    totals : `numpy.ndarray`
        Sums of rectangles.
    """
    for first, last in (rows, columns):
        kind = np.int32 if values.dtype == bool else values.dtype
        sums = np.zeros((values.shape[0] + 1, values.shape[1]), dtype=kind)
        np.cumsum(values, axis=0, out=sums[1:])
        values = (sums[np.maximum(last + 1, first)] - sums[first]).T
    return values


def _n_tiles(shape: tuple[int, int]) -> list[int]:
    return [-(-size // TILE) for size in shape]


def _cells_of_tiles(n_cells: int, n_tiles: int, step: Convolution) -> np.ndarray:
    """Return first and last cell that needs each tile along one axis."""
    start = TILE * np.arange(n_tiles)
    first = -((step.side + 2 * step.margin - 1 - start) // step.side)
    return np.clip([first, (start + TILE - 1) // step.side], 0, n_cells - 1)


def _readers(n_tiles: int, n_before: int, source: Source) -> np.ndarray:
    """Return first and last tile that reads each tile of a source."""
    first = TILE * np.arange(n_tiles) + source.corner
    last = first + WINDOW - 1
    ratio, divisor = source.numerator, source.denominator
    limits = np.array([first * ratio // divisor, (last * ratio + ratio - 1) // divisor])
    first, last = np.minimum(limits // TILE, n_before - 1)
    places = np.arange(n_before)
    return np.array([np.searchsorted(last, places), np.searchsorted(first, places, side="right") - 1])
