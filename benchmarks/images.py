# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images to measure on: made up, and real ones where they are."""

from __future__ import annotations

__all__ = ["SKY", "crowded_field", "full_of_cosmic_rays", "noise", "real_images", "saturated", "star_field"]

from pathlib import Path

import numpy as np
from astropy.io import fits
from registry import Inputs, MissingDataError

SKY = 1000.0
READ_NOISE = 5.0
STAR_SIGMA = 1.7
STAMP_RADIUS = 12
FULL_SIZE = 4176 * 2048
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def star_field(
    shape: tuple[int, int], n_stars: float = 3000, n_cosmic_rays: float = 400, seed: int = 1
) -> Inputs:
    """Make a field of stars with cosmic rays on it.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Shape of the image.
    n_stars, n_cosmic_rays : `float`, optional
        How many there are on an image of 4176x2048 pixels.
    seed : `int`, optional
        Seed of the random numbers.

    Returns
    -------
    inputs : `dict`
        ``image`` (electrons) and ``variance``, float32; ``kernel``, the PSF.
    """
    random = np.random.default_rng(seed)
    scale = shape[0] * shape[1] / FULL_SIZE
    light = np.full(shape, SKY)
    for _ in range(round(n_stars * scale)):
        _add_star(
            light, 10 ** random.uniform(2.5, 6.0), random.uniform(0, shape[0]), random.uniform(0, shape[1])
        )
    image = random.poisson(light) + random.normal(0, READ_NOISE, shape)
    for _ in range(round(n_cosmic_rays * scale)):
        _add_track(image, random)
    return _with_psf(image, light + READ_NOISE**2)


def crowded_field(shape: tuple[int, int]) -> Inputs:
    """Make a field with fifteen times as many stars.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Shape of the image.

    Returns
    -------
    inputs : `dict`
        As of `star_field`.
    """
    return star_field(shape, n_stars=45000)


def noise(shape: tuple[int, int]) -> Inputs:
    """Make an image of nothing but noise.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Shape of the image.

    Returns
    -------
    inputs : `dict`
        As of `star_field`.
    """
    return star_field(shape, n_stars=0, n_cosmic_rays=0)


def full_of_cosmic_rays(shape: tuple[int, int]) -> Inputs:
    """Make an image of which one pixel in twenty is a cosmic ray.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Shape of the image.

    Returns
    -------
    inputs : `dict`
        As of `star_field`.
    """
    inputs = noise(shape)
    random = np.random.default_rng(2)
    inputs["image"][random.random(shape) < 0.05] += 1000
    return inputs


def saturated(shape: tuple[int, int]) -> Inputs:
    """Make an image that is saturated everywhere.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Shape of the image.

    Returns
    -------
    inputs : `dict`
        As of `star_field`.
    """
    level = np.full(shape, 65536.0)
    return _with_psf(level, level)


def real_images(name: str, gain: float, read_noise: float) -> Inputs:
    """Read a real image.

    Parameters
    ----------
    name : `str`
        FITS file in the folder of shared data.
    gain : `float`
        Electrons per unit of the file.
    read_noise : `float`
        Read noise (electrons).

    Returns
    -------
    inputs : `dict`
        As of `star_field`.

    Raises
    ------
    MissingDataError
        Raised if the file is not there.
    """
    path = DATA / name
    if not path.exists():
        raise MissingDataError(f"there is no {path}")
    with fits.open(path) as file:
        hdu = next(hdu for hdu in file if hdu.data is not None)
        # Some files hold their image as the only plane of a cube.
        image = hdu.data.astype(np.float64).squeeze() * gain
    return _with_psf(image, np.maximum(image, 0) + read_noise**2)


def _with_psf(image: np.ndarray, variance: np.ndarray) -> Inputs:
    offsets = np.arange(-STAMP_RADIUS, STAMP_RADIUS + 1)
    kernel = np.exp(-0.5 * (offsets[:, None] ** 2 + offsets**2) / STAR_SIGMA**2)
    return {
        "image": image.astype(np.float32),
        "variance": variance.astype(np.float32),
        "kernel": kernel / kernel.sum(),
    }


def _add_star(light: np.ndarray, flux: float, y: float, x: float) -> None:
    rows = slice(max(int(y) - STAMP_RADIUS, 0), int(y) + STAMP_RADIUS + 1)
    columns = slice(max(int(x) - STAMP_RADIUS, 0), int(x) + STAMP_RADIUS + 1)
    stamp = light[rows, columns]
    dy = rows.start + np.arange(stamp.shape[0])[:, None] - y
    dx = columns.start + np.arange(stamp.shape[1]) - x
    stamp += flux / (2 * np.pi * STAR_SIGMA**2) * np.exp(-0.5 * (dy**2 + dx**2) / STAR_SIGMA**2)


def _add_track(image: np.ndarray, random: np.random.Generator) -> None:
    """Draw a straight track with charge that varies along it."""
    start = random.uniform((0, 0), image.shape)
    angle = random.uniform(0, 2 * np.pi)
    steps = np.arange(2 + random.exponential(12))
    y = (start[0] + steps * np.sin(angle)).astype(int)
    x = (start[1] + steps * np.cos(angle)).astype(int)
    inside = (y >= 0) & (y < image.shape[0]) & (x >= 0) & (x < image.shape[1])
    image[y[inside], x[inside]] += 300 + random.exponential(800, inside.sum())
