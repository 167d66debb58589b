# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cutting an image into tiles, and joining what is found in them."""

from __future__ import annotations

__all__ = ["Evaluator", "Span", "fill_bad_pixels", "plan_spans", "predict_original", "predict_overlapping"]

import dataclasses
import math
from collections.abc import Callable
from typing import Protocol

import numba
import numpy as np

ORIGINAL_STRIDE = 16
"""The original cuts incomplete tiles to multiples of this."""

BLEND = 32
"""Pixels over which the result of one tile fades into that of the next."""

MOST_OVERSIZE = 17 / 16
"""A tile may be this much larger than asked for, if that saves a tile."""

FILL_RADIUS = 6
FILL_SIGMA = 2.0
FILL_FLOOR = 0.1
"""A bad pixel is the mean of good pixels within `FILL_RADIUS`, weighted by a
Gaussian; where the weights add up to less than `FILL_FLOOR` of all, the
sky makes up for what is missing.
"""


@dataclasses.dataclass(frozen=True)
class Span:
    """The extent of a tile along one axis of the image."""

    start: int
    """First pixel of the tile."""

    length: int
    """Number of pixels; the last tile may end beyond the image."""

    weight: np.ndarray
    """Weight of the tile's result, for each of its pixels in the image
    (float32).  The weights of all tiles add up to 1 everywhere.
    """

    @property
    def pixels(self) -> slice:
        """The pixels of the image that the tile covers (`slice`)."""
        return slice(self.start, self.start + self.weight.size)


def plan_spans(size: int, tile: int, blend: int, stride: int) -> list[Span]:
    """Divide one axis of an image into overlapping tiles of equal length.

    Parameters
    ----------
    size : `int`
        Number of pixels along the axis.
    tile : `int`
        Length of a tile to aim at.  Tiles are not shorter than this, and
        at most a sixteenth longer, unless the image is smaller.
    blend : `int`
        Least overlap of neighbouring tiles.  Over this many pixels in the
        middle of the overlap one result fades into the other.
    stride : `int`
        Starts and lengths are multiples of this.

    Returns
    -------
    spans : `list` [`Span`]
        The tiles in order.
    """
    padded = _round_up(size, stride)
    longest = max(tile, int(tile * MOST_OVERSIZE))
    if padded <= longest:
        return [Span(0, padded, np.ones(size, dtype=np.float32))]
    n_tiles = math.ceil((padded - blend) / (longest - blend))
    length = max(tile, _round_up(math.ceil((padded + (n_tiles - 1) * blend) / n_tiles), stride))
    starts = [stride * round(i * (padded - length) / (n_tiles - 1) / stride) for i in range(n_tiles)]
    spans = []
    for i, start in enumerate(starts):
        pixels = np.arange(start, min(start + length, size)) + 0.5
        weight = np.ones(pixels.size)
        if i > 0:
            weight = _ramp(pixels, 0.5 * (start + starts[i - 1] + length), blend)
        if i < n_tiles - 1:
            weight -= _ramp(pixels, 0.5 * (starts[i + 1] + start + length), blend)
        spans.append(Span(start, length, weight.astype(np.float32)))
    return spans


def _ramp(pixels: np.ndarray, middle: float, width: int) -> np.ndarray:
    """Return a weight that rises from 0 to 1 about a place."""
    return np.clip((pixels - middle) / width + 0.5, 0.0, 1.0)


class Evaluator(Protocol):
    """What gives the probability of the pixels of one tile."""

    @property
    def reach(self) -> int:
        """Pixels that it needs beyond each side of the tile (`int`)."""

    @property
    def stride(self) -> int:
        """Starts and sides of tiles must be multiples of this (`int`)."""

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


def predict_original(image: np.ndarray, run: Callable[[np.ndarray], np.ndarray], tile: int) -> np.ndarray:
    """Evaluate an image tile by tile, as Cosmic-CoNN 0.6.1 does.

    Tiles do not overlap; those at the end of the image are cut to multiples
    of `ORIGINAL_STRIDE`, and what is cut off has probability 0.  NaN becomes
    0 before the median of each tile is subtracted.

    Parameters
    ----------
    image : `numpy.ndarray` [`float32`]
        Pixels, shape (ny, nx).
    run : `~collections.abc.Callable`
        Takes a tile without its sky and returns the probability.
    tile : `int`
        Side of a tile.

    Returns
    -------
    probability : `numpy.ndarray` [`float32`]
        Shape (ny, nx).
    """
    ny, nx = image.shape
    probability = np.zeros((ny, nx), dtype=np.float32)
    for y in range(0, ny, tile):
        for x in range(0, nx, tile):
            pixels = np.where(np.isfinite(crop := image[y : y + tile, x : x + tile]), crop, np.float32(0.0))
            pixels -= _lower_median(pixels)
            if min(pixels.shape) < tile:
                pixels = pixels[: _round_down(pixels.shape[0]), : _round_down(pixels.shape[1])]
            if pixels.size > 0:
                probability[y : y + pixels.shape[0], x : x + pixels.shape[1]] = run(pixels)
    return probability


def predict_overlapping(image: np.ndarray, bad: np.ndarray, evaluator: Evaluator, tile: int) -> np.ndarray:
    """Evaluate an image in overlapping tiles, each with what surrounds it.

    The image is reflected at its edge.  Bad pixels are filled from what
    surrounds them, and then the median of the good pixels of each tile is
    subtracted.

    Parameters
    ----------
    image : `numpy.ndarray` [`float32`]
        Pixels, shape (ny, nx).
    bad : `numpy.ndarray` [`bool`]
        Pixels not to use, shape (ny, nx).
    evaluator : `Evaluator`
        What evaluates a tile.
    tile : `int`
        Length of the sides of a tile to aim at.

    Returns
    -------
    probability : `numpy.ndarray` [`float32`]
        Shape (ny, nx); 0 where ``bad``.
    """
    reach, stride = evaluator.reach, evaluator.stride
    around = (reach, reach + stride - 1)
    padded = np.pad(image, around, mode="reflect")
    padded_bad = np.pad(bad, around, mode="reflect") if np.any(bad) else None
    probability = np.zeros(image.shape, dtype=np.float32)
    rows, columns = (plan_spans(size, tile, BLEND, stride) for size in image.shape)
    for row in rows:
        for column in columns:
            part = (
                slice(row.start, row.start + row.length + sum(around) - stride + 1),
                slice(column.start, column.start + column.length + sum(around) - stride + 1),
            )
            core = np.s_[reach : reach + row.length, reach : reach + column.length]
            window = padded[part].copy()
            if padded_bad is None:
                sky = _lower_median(window[core])
            else:
                window_bad = padded_bad[part]
                if np.all(window_bad[core]):
                    continue
                sky = _lower_median(window[core][~window_bad[core]])
                fill_bad_pixels(window, window_bad, sky)
            window -= np.float32(sky)
            weight = row.weight[:, np.newaxis] * column.weight
            found = evaluator.evaluate(window)[: row.weight.size, : column.weight.size]
            probability[row.pixels, column.pixels] += weight * found
    probability[bad] = 0.0
    return probability


def _lower_median(values: np.ndarray) -> float:
    """Return the median, the lower of two middle values, as torch does."""
    middle = (values.size - 1) // 2
    return float(np.partition(values, middle, axis=None)[middle])


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _round_down(value: int) -> int:
    return value // ORIGINAL_STRIDE * ORIGINAL_STRIDE


@numba.njit(cache=True)
def fill_bad_pixels(image: np.ndarray, bad: np.ndarray, sky: float) -> None:
    """Replace bad pixels by what surrounds them, in place.

    Near good pixels the replacement is their weighted mean; deep inside a
    bad region it falls back to the sky.  So neither a narrow defect nor a
    large one makes an edge that looks like a cosmic ray, and the statistics
    of a tile hardly change.

    Parameters
    ----------
    image : `numpy.ndarray` [`float32`]
        Pixels, shape (ny, nx); those of ``bad`` are replaced.
    bad : `numpy.ndarray` [`bool`]
        Which pixels not to use, shape (ny, nx).
    sky : `float`
        Level of the sky.
    """
    radius = FILL_RADIUS
    side = 2 * radius + 1
    weights = np.empty((side, side))
    for dy in range(side):
        for dx in range(side):
            weights[dy, dx] = math.exp(-0.5 * ((dy - radius) ** 2 + (dx - radius) ** 2) / FILL_SIGMA**2)
    floor = FILL_FLOOR * weights.sum()
    ny, nx = image.shape
    for y in range(ny):
        for x in range(nx):
            if not bad[y, x]:
                continue
            total = 0.0
            weight = 0.0
            for v in range(max(0, y - radius), min(ny, y + radius + 1)):
                for u in range(max(0, x - radius), min(nx, x + radius + 1)):
                    if not bad[v, u]:
                        w = weights[v - y + radius, u - x + radius]
                        weight += w
                        total += w * (image[v, u] - sky)
            image[y, x] = sky + total / max(weight, floor)
