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

__all__ = [
    "SKY",
    "crowded_field",
    "faint_crowd",
    "full_of_cosmic_rays",
    "noise",
    "real_images",
    "real_mosaic",
    "saturated",
    "star_field",
]

from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from astropy.io import fits
from registry import Inputs, MissingDataError

BRIGHTER = 0.75
"""Of real stars there are about 10**0.3 times as many in each magnitude as in
that before: the number brighter than some flux goes by one over its power of
this."""

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
    return _field(shape, n_stars, n_cosmic_rays, random, lambda: 10 ** random.uniform(2.5, 6.0))


def _field(
    shape: tuple[int, int],
    n_stars: float,
    n_cosmic_rays: float,
    random: np.random.Generator,
    flux: Callable[[], float],
) -> Inputs:
    """Make a field of stars whose fluxes a function draws."""
    scale = shape[0] * shape[1] / FULL_SIZE
    light = np.full(shape, SKY)
    for _ in range(round(n_stars * scale)):
        _add_star(light, flux(), random.uniform(0, shape[0]), random.uniform(0, shape[1]))
    image = random.poisson(light) + random.normal(0, READ_NOISE, shape)
    for _ in range(round(n_cosmic_rays * scale)):
        _add_track(image, random)
    return _with_psf(image, light + READ_NOISE**2)


def crowded_field(shape: tuple[int, int]) -> Inputs:
    """Make a field with fifteen times as many stars.

    As in `star_field`, there are as many of any magnitude as of any other, so
    half are brighter than the sky at their centres, far more than in the sky.

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


def faint_crowd(shape: tuple[int, int], n_stars: float = 200000, seed: int = 1) -> Inputs:
    """Make a field of very many stars, most of them faint, as in the sky.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Shape of the image.
    n_stars : `float`, optional
        How many there are on an image of 4176x2048 pixels.
    seed : `int`, optional
        Seed of the random numbers.

    Returns
    -------
    inputs : `dict`
        As of `star_field`.
    """
    random = np.random.default_rng(seed)
    faintest, brightest = (flux**-BRIGHTER for flux in (1e2, 1e6))

    def flux() -> float:
        return random.uniform(brightest, faintest) ** (-1 / BRIGHTER)

    return _field(shape, n_stars, 400, random, flux)


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
    image = _read(path, gain)
    return _with_psf(image, np.maximum(image, 0) + read_noise**2)


def real_mosaic(shape: tuple[int, int], pattern: str, gain: float, read_noise: float) -> Inputs:
    """Put real images of one size side by side, to make a large one.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Shape of the image; that of as many whole ones as fit, at least one.
    pattern : `str`
        FITS files in the folder of shared data, used again if there are too
        few.
    gain : `float`
        Electrons per unit of the files.
    read_noise : `float`
        Read noise (electrons).

    Returns
    -------
    inputs : `dict`
        As of `star_field`.

    Raises
    ------
    MissingDataError
        Raised if there are no such files.
    """
    paths = sorted(DATA.glob(pattern))
    if not paths:
        raise MissingDataError(f"there is no {DATA / pattern}")
    ny, nx = _read(paths[0], gain).shape
    columns = max(shape[1] // nx, 1)
    files = cycle(paths)
    image = np.vstack(
        [
            np.hstack([_read(path, gain) for path in islice(files, columns)])
            for _ in range(max(shape[0] // ny, 1))
        ]
    )
    return _with_psf(image, np.maximum(image, 0) + read_noise**2)


def _read(path: Path, gain: float) -> np.ndarray:
    """Read the first image of a file, in electrons."""
    with fits.open(path) as file:
        hdu = next(hdu for hdu in file if hdu.data is not None)
        # Some files hold their image as the only plane of a cube.
        return hdu.data.astype(np.float64).squeeze() * gain


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
