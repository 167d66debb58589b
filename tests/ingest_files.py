# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Made-up FITS files for the tests of ingestion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

SHAPE = (150, 160)
SKY = 400.0
GAIN = 2.0
READ_NOISE = 6.0
SIGMA = 1.9
HEADER = {
    "GAIN": GAIN,
    "RDNOISE": READ_NOISE,
    "SATURATE": 50000.0,
    "EXPTIME": 90.0,
    "FILTER": "r",
    "DATE-OBS": "2023-04-05T06:07:08",
    "BUNIT": "adu",
}
WCS = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 40.0,
    "CRVAL2": -10.0,
    "CRPIX1": 80.5,
    "CRPIX2": 75.5,
    "CD1_1": -7e-5,
    "CD1_2": 0.0,
    "CD2_1": 0.0,
    "CD2_2": 7e-5,
}


def star_positions(n_stars: int, shape: tuple[int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stars on a jittered grid, so that they do not overlap."""
    rng = np.random.default_rng(7)
    side = int(np.ceil(np.sqrt(n_stars)))
    step_y, step_x = (length / side for length in shape)
    place = rng.permutation(side * side)[:n_stars]
    x = (place % side + 0.5) * step_x + rng.uniform(-2, 2, n_stars)
    y = (place // side + 0.5) * step_y + rng.uniform(-2, 2, n_stars)
    return x, y, rng.uniform(2e4, 8e4, n_stars)


def make_scene(
    *,
    n_stars: int = 25,
    seed: int = 1,
    shift: tuple[float, float] = (0.0, 0.0),
    sigma: float = SIGMA,
    sky: float = SKY,
    scale: float = 1.0,
    shape: tuple[int, int] = SHAPE,
    n_cosmic_rays: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return an exposure in electrons and its true cosmic-ray pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    scene = np.full(shape, sky)
    for x0, y0, flux in zip(*star_positions(n_stars, shape), strict=True):
        radius = (x - x0 - shift[0]) ** 2 + (y - y0 - shift[1]) ** 2
        scene += scale * flux / (2 * np.pi * sigma**2) * np.exp(-radius / (2 * sigma**2))
    image = rng.poisson(scene) + rng.normal(0.0, READ_NOISE, shape)
    truth = np.zeros(shape, dtype=bool)
    for _ in range(n_cosmic_rays):
        row, column = rng.integers(15, shape[0] - 15), rng.integers(15, shape[1] - 25)
        truth[row, column : column + 5] = True
    image[truth] += 3000.0
    return image, truth


def write_image(
    path: Path, image: np.ndarray | None = None, *, header: dict[str, Any] | None = None, wcs: bool = True
) -> Path:
    """Write an exposure in ADU; `None` in the header removes a keyword."""
    data = make_scene()[0] if image is None else image
    entries = HEADER | (WCS if wcs else {}) | (header or {})
    hdu = fits.PrimaryHDU((data / GAIN).astype(np.float32))
    for keyword, value in entries.items():
        if value is not None:
            hdu.header[keyword] = value
    hdu.writeto(path)
    return path


def write_extensions(path: Path, images: dict[str, np.ndarray], header: dict[str, Any] | None = None) -> Path:
    """Write exposures of several detectors; numbers are in the primary."""
    hdus = [fits.PrimaryHDU()]
    hdus[0].header.update(HEADER | {"EXPNUM": 501} | (header or {}))
    for number, (name, image) in enumerate(images.items()):
        hdu = fits.ImageHDU((image / GAIN).astype(np.float32), name=name)
        hdu.header.update(WCS | {"CRVAL1": 40.0 + 0.05 * number})
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(path)
    return path


def write_mask(path: Path, mask: np.ndarray) -> Path:
    """Write a mask."""
    fits.PrimaryHDU(mask.astype(np.int16)).writeto(path)
    return path


def write_afw(path: Path, *, sigma: float | None = SIGMA, unit: str | None = "electron") -> Path:
    """Write image, mask, variance and archive as lsst.afw.image does."""
    image, truth = make_scene(n_cosmic_rays=3)
    primary = fits.PrimaryHDU()
    primary.header.update({"EXPTIME": 30.0, "DATE-AVG": "2024-02-03T04:05:06", "TIMESYS": "TAI"})
    primary.header["IDNUM"] = 77
    mask = np.zeros(SHAPE, dtype=np.int32)
    mask[truth] |= 1 << 3
    mask[5:7, 5:9] |= 1 << 1
    mask[20, 30] |= 1 << 11
    hdus = [
        primary,
        fits.ImageHDU((image - SKY).astype(np.float32), name="IMAGE"),
        fits.ImageHDU(mask, name="MASK"),
        fits.ImageHDU((np.maximum(image, 1.0) + READ_NOISE**2).astype(np.float32), name="VARIANCE"),
    ]
    hdus[1].header.update(WCS)
    if unit is not None:
        hdus[1].header["BUNIT"] = unit
    hdus[2].header.update({"MP_SAT": 1, "MP_CR": 3, "MP_OWN": 11})
    tables = {
        "Detector": [("id", "J", [12]), ("pixelSize_x", "D", [0.01])],
        "Amplifier": [("gain", "D", [1.5, 1.7]), ("readnoise", "D", [4.0, 6.0])],
        "FilterLabel": [("band", "8A", ["g"]), ("physical", "8A", ["g_01"])],
    }
    if sigma is not None:
        tables["SingleGaussianPsf"] = [("dimensions_x", "J", [21]), ("sigma", "D", [sigma])]
    for name, columns in tables.items():
        definition = [fits.Column(name=n, format=f, array=np.array(values)) for n, f, values in columns]
        hdus.append(fits.BinTableHDU.from_columns(definition, name=name))
    fits.HDUList(hdus).writeto(path)
    return path
