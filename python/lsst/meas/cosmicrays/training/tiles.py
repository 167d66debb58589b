# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cutting tiles to train on out of images with known cosmic rays."""

from __future__ import annotations

__all__ = ["TileError", "TrainingTiles", "pick_tiles"]

import dataclasses
import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from ..documentation import DocumentedError
from ..engines.cosmic_conn.tiles import fill_bad_pixels

EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)
SIDE_UNIT = 16


class TileError(DocumentedError, ValueError):
    """Raised when no tiles can be cut as asked."""


@dataclasses.dataclass(frozen=True)
class TrainingTiles:
    """Square pieces of images, all of one size, with their truth."""

    pixels: npt.NDArray[np.float32]
    """Electrons less the sky of the tile, shape ``(n, size, size)``."""

    truth: npt.NDArray[np.bool_]
    """True cosmic rays, of the same shape."""

    usable: npt.NDArray[np.bool_]
    """Pixels that count, of the same shape."""

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def size(self) -> int:
        """Side of a tile in pixels (`int`)."""
        return self.pixels.shape[-1]

    @property
    def n_true(self) -> int:
        """Number of usable pixels that are true cosmic rays (`int`)."""
        return int(np.count_nonzero(self.truth & self.usable))

    def digest(self) -> str:
        """Return a fingerprint of the tiles.

        Returns
        -------
        digest : `str`
            Hexadecimal digits, equal for equal tiles in equal order.
        """
        sha = hashlib.sha256(str(self.pixels.shape).encode())
        for array in (self.pixels, self.truth, self.usable):
            sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()

    @classmethod
    def join(cls, parts: Iterable[TrainingTiles], size: int) -> TrainingTiles:
        """Put tiles from several images together.

        Parameters
        ----------
        parts : `~collections.abc.Iterable` [`TrainingTiles`]
            Tiles of one size; they are taken one after the other.
        size : `int`
            Side of the tiles.

        Returns
        -------
        tiles : `TrainingTiles`
            All of them, in order.
        """
        empty = np.zeros((0, size, size))
        collected: list[tuple[np.ndarray, ...]] = [
            (empty.astype(np.float32), empty.astype(bool), empty.astype(bool))
        ]
        collected += [(part.pixels, part.truth, part.usable) for part in parts]
        return cls(*(np.concatenate(arrays) for arrays in zip(*collected, strict=True)))


def pick_tiles(
    image: npt.NDArray[np.floating],
    truth: npt.NDArray[np.bool_],
    *,
    usable: npt.NDArray[np.bool_],
    filled: npt.NDArray[np.bool_],
    size: int,
    n_tiles: int,
    cosmic_ray_fraction: float,
    rng: np.random.Generator,
) -> TrainingTiles:
    """Cut tiles out of one image, at random and around cosmic rays.

    Parameters
    ----------
    image : `numpy.ndarray`
        Electrons, shape ``(ny, nx)``.
    truth : `numpy.ndarray` [`bool`]
        True cosmic rays, shape ``(ny, nx)``.
    usable : `numpy.ndarray` [`bool`]
        Pixels that count, shape ``(ny, nx)``.
    filled : `numpy.ndarray` [`bool`]
        Pixels whose value is replaced by what surrounds them, as the finder
        does, shape ``(ny, nx)``.  Those that are not finite are as well.
    size : `int`
        Side of a tile in pixels: a multiple of 16.
    n_tiles : `int`
        Number of tiles.
    cosmic_ray_fraction : `float`
        Part of the tiles that are put on a cosmic ray, somewhere in the
        tile.  Each cosmic ray is as probable as any other, so that single
        pixels are not lost among long tracks.  The rest fall anywhere.
    rng : `numpy.random.Generator`
        Source of chance.

    Returns
    -------
    tiles : `TrainingTiles`
        The tiles; they may overlap.

    Raises
    ------
    TileError
        Raised if the size is not a multiple of 16, or larger than the
        image.
    """
    ny, nx = image.shape
    if size < SIDE_UNIT or size % SIDE_UNIT != 0:
        raise TileError(f"The side of a tile must be a multiple of {SIDE_UNIT}, got {size}.")
    if size > min(ny, nx):
        raise TileError(
            f"Tiles of {size} pixels do not fit into an image of {nx} x {ny}: choose smaller ones."
        )
    corners = _draw_corners(truth & usable, size, n_tiles, cosmic_ray_fraction, rng)
    parts = [np.s_[y : y + size, x : x + size] for y, x in corners]
    bad = filled | ~np.isfinite(image)
    pixels = [_without_sky(image[part], bad[part]) for part in parts]
    shape = (n_tiles, size, size)
    return TrainingTiles(
        np.reshape(np.array(pixels, dtype=np.float32), shape),
        np.reshape(np.array([truth[part] for part in parts], dtype=bool), shape),
        np.reshape(np.array([usable[part] for part in parts], dtype=bool), shape),
    )


def _draw_corners(
    truth: np.ndarray, size: int, n_tiles: int, cosmic_ray_fraction: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw the first row and column of each tile, shape (n_tiles, 2)."""
    last = np.array(truth.shape) - size
    corners = rng.integers(0, last + 1, size=(n_tiles, 2))
    labels, n_cosmic_rays = scipy.ndimage.label(truth, structure=EIGHT_CONNECTED)
    if n_cosmic_rays == 0:
        return corners
    n_on_cosmic_rays = round(cosmic_ray_fraction * n_tiles)
    chosen = rng.integers(1, n_cosmic_rays + 1, size=n_on_cosmic_rays)
    for i, label in enumerate(chosen):
        centre = rng.choice(np.argwhere(labels == label))
        corners[i] = np.clip(centre - rng.integers(0, size, size=2), 0, last)
    return corners


def _without_sky(pixels: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Fill what is bad, and subtract the median of what is not."""
    tile = np.array(pixels, dtype=np.float32)
    if np.all(bad):
        return np.zeros_like(tile)
    sky = np.float32(np.median(tile[~bad]))
    fill_bad_pixels(tile, np.ascontiguousarray(bad), float(sky))
    return tile - sky
