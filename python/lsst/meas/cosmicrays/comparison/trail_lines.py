# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trails of satellites in masks: straight lines across the detector."""

from __future__ import annotations

__all__ = ["TrailLine", "TrailSettings", "find_trails", "near_trails"]

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc

_N_SECTIONS = 8


@dataclass(frozen=True)
class TrailSettings:
    """What counts as a trail."""

    block: int = 16
    """Width of the blocks of pixels in which lines are sought (`int`)."""

    max_occupied: float = 0.2
    """Blocks are halved until no more than this fraction of them has a pixel
    of the mask (`float`).
    """

    min_coverage: float = 0.35
    """Least fraction of the blocks along a line with a pixel of the mask, in
    excess of what the blocks elsewhere have (`float`).
    """

    min_length: float = 500.0
    """Least length of a line within the detector, pixels: muons are shorter
    (`float`).
    """

    min_sections: int = 7
    """In how many of eight equal sections of a line there must be a pixel of
    the mask: a muon has its pixels in few (`int`).
    """

    max_chance: float = 1e-3
    """Expected number of lines in a detector that chance alone would make
    (`float`).
    """

    half_width: float = 8.0
    """Pixels of the mask so near to a line are of the trail (`float`)."""

    max_trails: int = 5
    """Most lines that are sought (`int`)."""


@dataclass(frozen=True)
class TrailLine:
    """A straight line across a detector."""

    x: float
    """Column of a point on it, pixels from the first one (`float`)."""

    y: float
    """Row of that point (`float`)."""

    angle: float
    """Direction from the x axis, degrees from 0 to 180 (`float`)."""

    length: float
    """Length within the detector, pixels (`float`)."""

    coverage: float
    """Fraction of the blocks along it that have a pixel of the mask
    (`float`).
    """

    def distance(self, x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the distance of points from the line.

        Parameters
        ----------
        x, y : array-like
            Positions, pixels.

        Returns
        -------
        distance : `numpy.ndarray`
            Distances, pixels.
        """
        direction = math.radians(self.angle)
        across = (np.asarray(y) - self.y) * math.cos(direction) - (np.asarray(x) - self.x) * math.sin(
            direction
        )
        return np.abs(across)


def find_trails(mask: npt.NDArray[np.bool_], settings: TrailSettings | None = None) -> list[TrailLine]:
    """Find straight lines that cross a detector in a mask.

    Parameters
    ----------
    mask : `numpy.ndarray`
        Bool array ``(ny, nx)``.
    settings : `TrailSettings`, optional
        What counts as a trail.

    Returns
    -------
    trails : `list` [`TrailLine`]
        The most certain one first.

    Notes
    -----
    The Hough transform (Duda & Hart 1972, Communications of the ACM 15, 11;
    here that of scikit-image) of the blocks that have a pixel of the mask is
    divided by that of all blocks: the fraction of each line that is covered.
    A line is a trail if that is more than the mask elsewhere makes likely
    (binomial), enough of it, and spread along the line.  Lines that keep to
    one column or row of blocks are left out: bad columns, bleed trails and
    readout make those.
    """
    settings = settings or TrailSettings()
    rows, columns = np.nonzero(mask)
    block = _choose_block(mask.shape, rows, columns, settings)
    occupied = _occupied_blocks(mask.shape, rows, columns, block)
    trails: list[TrailLine] = []
    for _ in range(2 * settings.max_trails):
        for line in _likely_lines(occupied, block, mask.shape, settings):
            refined = _refine(line, rows, columns, block, settings.half_width)
            if _n_sections(refined, rows, columns, mask.shape, settings.half_width) >= settings.min_sections:
                break
        else:
            break
        if not _follows_axis(refined, block):
            trails.append(refined)
        y, x = np.nonzero(occupied)
        centres = (np.stack([x, y]) + 0.5) * block - 0.5
        on_line = np.minimum(line.distance(*centres), refined.distance(*centres)) <= 2 * settings.block
        occupied[y[on_line], x[on_line]] = False
    return trails[: settings.max_trails]


def near_trails(
    mask: npt.NDArray[np.bool_], trails: Sequence[TrailLine], half_width: float
) -> npt.NDArray[np.bool_]:
    """Return which pixels of a mask lie on trails.

    Parameters
    ----------
    mask : `numpy.ndarray`
        Bool array ``(ny, nx)``.
    trails : sequence of `TrailLine`
        Trails.
    half_width : `float`
        Largest distance from the line, pixels.

    Returns
    -------
    near : `numpy.ndarray`
        One bool for each pixel of the mask, in raster order.
    """
    rows, columns = np.nonzero(mask)
    near = np.zeros(rows.size, dtype=bool)
    for trail in trails:
        near |= trail.distance(columns, rows) <= half_width
    return near


def _choose_block(
    shape: tuple[int, ...], rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], settings: TrailSettings
) -> int:
    block = settings.block
    while block > 1 and _occupied_blocks(shape, rows, columns, block).mean() > settings.max_occupied:
        block //= 2
    return block


def _occupied_blocks(
    shape: tuple[int, ...], rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], block: int
) -> npt.NDArray[np.bool_]:
    occupied = np.zeros((-(-shape[0] // block), -(-shape[1] // block)), dtype=bool)
    occupied[rows // block, columns // block] = True
    return occupied


def _angles(shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return directions so close that lines move by one block at most."""
    n_angles = math.ceil(math.pi * math.hypot(*shape))
    return np.linspace(-math.pi / 2, math.pi / 2, n_angles, endpoint=False)


@lru_cache(maxsize=2)
def _blocks_of_lines(shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Return how many blocks lie on each line."""
    return _transform(np.ones(shape, dtype=bool))[0]


def _transform(blocks: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Count blocks on lines, and return the distances of these lines."""
    # Most processes of a pipeline find no trails, and need not import it.
    from skimage.transform import hough_line

    votes, _, distances = hough_line(blocks, _angles(blocks.shape))
    return votes.astype(np.int64), distances


def _likely_lines(
    occupied: npt.NDArray[np.bool_], block: int, shape: tuple[int, ...], settings: TrailSettings
) -> Iterator[TrailLine]:
    """Return the lines that chance hardly makes, the most certain first."""
    angles = _angles(occupied.shape)
    votes, distances = _transform(occupied)
    n_blocks = _blocks_of_lines(occupied.shape)
    elsewhere = float(occupied.mean())
    long_enough = n_blocks >= max(settings.min_length / block, 4.0)
    excess = votes - n_blocks * elsewhere
    covered = excess >= settings.min_coverage * (1.0 - elsewhere) * n_blocks
    candidates = np.argwhere(long_enough & covered)
    n_votes, n_of_line = (array[tuple(candidates.T)] for array in (votes, n_blocks))
    chance = bdtrc(np.minimum(n_votes, n_of_line) - 1, n_of_line, elsewhere)
    chance *= np.count_nonzero(long_enough) or 1
    likely = chance < settings.max_chance
    for number in np.flatnonzero(likely)[np.argsort(chance[likely], kind="stable")]:
        distance, normal = distances[candidates[number, 0]], angles[candidates[number, 1]]
        yield _as_line(distance, normal, block, shape, float(n_votes[number] / n_of_line[number]))


def _n_sections(
    line: TrailLine,
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.intp],
    shape: tuple[int, ...],
    half_width: float,
) -> int:
    """Return in how many of its sections a line has a pixel of the mask."""
    near = line.distance(columns, rows) <= half_width
    start, end = _ends(line.x, line.y, line.angle, shape)
    direction = math.radians(line.angle)
    along = (columns[near] - line.x) * math.cos(direction) + (rows[near] - line.y) * math.sin(direction)
    section = np.floor((along - start) / max(end - start, 1.0) * _N_SECTIONS)
    return len(np.unique(np.clip(section, 0, _N_SECTIONS - 1)))


def _follows_axis(line: TrailLine, block: int) -> bool:
    """Return whether a line keeps to one column or row of blocks."""
    direction = math.radians(line.angle)
    return line.length * min(abs(math.cos(direction)), abs(math.sin(direction))) < block


def _as_line(
    distance: float, normal: float, block: int, shape: tuple[int, ...], coverage: float
) -> TrailLine:
    """Return a line in pixels, from its Hough parameters in blocks."""
    offset = (block - 1) / 2.0
    x, y = (distance * part * block + offset for part in (math.cos(normal), math.sin(normal)))
    angle = math.degrees(normal + math.pi / 2) % 180.0
    start, end = _ends(x, y, angle, shape)
    return TrailLine(x, y, angle, end - start, coverage)


def _ends(x: float, y: float, angle: float, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return where a line enters and leaves the detector, along the line."""
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    start, end = -math.inf, math.inf
    for position, step, size in ((x, cosine, shape[1]), (y, sine, shape[0])):
        if abs(step) > 1e-12:
            limits = sorted(((-0.5 - position) / step, (size - 0.5 - position) / step))
            start, end = max(start, limits[0]), min(end, limits[1])
    return start, max(start, end)


def _refine(
    trail: TrailLine,
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.intp],
    block: int,
    half_width: float,
) -> TrailLine:
    """Fit a line to the pixels near it, in a strip that narrows."""
    line = trail
    for width in (1.5 * block, max(0.75 * block, half_width), half_width):
        near = line.distance(columns, rows) <= width
        if np.count_nonzero(near) < 2:
            break
        x, y = columns[near].astype(float), rows[near].astype(float)
        spread = np.cov(np.stack([x, y]))
        angle = 0.5 * math.atan2(2.0 * spread[0, 1], spread[0, 0] - spread[1, 1])
        line = TrailLine(x.mean(), y.mean(), math.degrees(angle) % 180.0, trail.length, trail.coverage)
    return line
