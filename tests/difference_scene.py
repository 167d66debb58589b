# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pairs of images to subtract, for the tests of difference imaging."""

from __future__ import annotations

__all__ = ["GoldenExposure", "Scene", "make_scene", "psf_image", "read_golden_exposure"]

import dataclasses
from pathlib import Path

import numpy as np
from astropy.io import fits

from lsst.meas.cosmicrays.engines.difference_imaging.matching_image import MatchingImage, PsfSample
from lsst.meas.cosmicrays.engines.psf import SIGMA_TO_FWHM, gaussian_kernel

SKY = 300.0
DEPTH = 20.0


def psf_image(fwhm: float, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return a PSF of two Gaussians at offsets from its middle."""
    sigma = fwhm / SIGMA_TO_FWHM
    r2 = x * x + y * y
    return sum(
        share * np.exp(-0.5 * r2 / (width * sigma) ** 2) / (2.0 * np.pi * (width * sigma) ** 2)
        for share, width in ((0.85, 1.0), (0.15, 2.0))
    )


@dataclasses.dataclass
class Scene:
    """A science image and a template of the same stars."""

    science: MatchingImage
    template: MatchingImage
    stars: np.ndarray
    """Columns y, x, flux."""


def make_scene(
    science_fwhm: float,
    template_fwhm: float,
    *,
    size: int = 300,
    n_star: int = 60,
    seed: int = 1,
    scale: float = 1.0,
    max_flux: float = 2e5,
    varying: float = 0.1,
) -> Scene:
    """Draw stars with noise; the PSFs widen along x by ``varying``."""
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(0.0, size, (2, n_star))
    flux = np.exp(rng.uniform(np.log(1e3), np.log(max_flux), n_star))
    none = np.zeros((size, size), dtype=bool)
    offsets = np.arange(-20, 21, dtype=np.float64)
    pair = []
    for fwhm, factor, depth in ((science_fwhm, 1.0, 1.0), (template_fwhm, scale, DEPTH)):
        clean = np.full((size, size), SKY)
        half = int(6 * fwhm)
        for star_y, star_x, star_flux in zip(y, x, flux, strict=True):
            rows = np.arange(max(0, int(star_y) - half), min(size, int(star_y) + half + 1))
            columns = np.arange(max(0, int(star_x) - half), min(size, int(star_x) + half + 1))
            here = fwhm * (1.0 + varying * (star_x / size - 0.5))
            profile = psf_image(here, rows[:, np.newaxis] - star_y, columns[np.newaxis] - star_x)
            clean[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += star_flux * profile
        noisy = rng.poisson(clean * depth) / depth - SKY
        kernel = psf_image(fwhm, offsets[:, np.newaxis], offsets[np.newaxis])
        pair.append(
            MatchingImage(
                image=(factor * noisy).astype(np.float32),
                variance=(factor**2 * clean / depth).astype(np.float32),
                unusable=none,
                no_data=none,
                psf=[PsfSample(size / 2, size / 2, kernel / kernel.sum())],
            )
        )
    return Scene(pair[0], pair[1], np.column_stack([y, x, flux]))


@dataclasses.dataclass
class GoldenExposure:
    """An exposure written by afw."""

    image: np.ndarray
    variance: np.ndarray
    planes: dict[str, np.ndarray]
    psf: np.ndarray

    def matching_image(self) -> MatchingImage:
        none = np.zeros(self.image.shape, dtype=bool)
        ny, nx = none.shape
        return MatchingImage(self.image, self.variance, none, none, [PsfSample(ny / 2, nx / 2, self.psf)])


def read_golden_exposure(path: Path) -> GoldenExposure:
    """Read image, variance, mask planes and (Gaussian) PSF."""
    with fits.open(path) as hdus:
        mask = hdus["MASK"]
        planes = {card[3:]: (mask.data >> bit) & 1 > 0 for card, bit in mask.header["MP_*"].items()}
        sigma = float(hdus["SingleGaussianPsf"].data["sigma"][0])
        return GoldenExposure(
            image=hdus["IMAGE"].data.astype(np.float32),
            variance=hdus["VARIANCE"].data.astype(np.float32),
            planes=planes,
            psf=gaussian_kernel(sigma * SIGMA_TO_FWHM, 7.0),
        )
