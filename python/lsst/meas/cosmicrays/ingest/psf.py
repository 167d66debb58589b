# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measuring the PSF of an image from its stars."""

from __future__ import annotations

__all__ = ("PsfMeasurement", "measure_psf")

import dataclasses
import logging
import warnings
from typing import Any

import galsim
import numpy as np
import piff

from lsst.images import Box
from lsst.images.psfs import GaussianPointSpreadFunction, PiffWrapper, PointSpreadFunction

from ..engines.psf import gaussian_fwhm
from .errors import IngestWarning
from .preset import PsfModel
from .stars import SIGMA_TO_FWHM, StarList, find_stars, of_common_size, subtract_sky

_MAX_STARS = 25
_MIN_STARS_PIXELS = 15
_MIN_STARS_MOFFAT = 5
_MIN_STARS_FWHM = 2
_GRID_SIZE = 17
_GRID_CELLS_PER_FWHM = 4.2
_MOFFAT_BETA = 3.0
_FWHM_TOLERANCE = 0.2
_DEFAULT_FWHM = 4.0
_MODEL_ERROR = 0.01
_PIXELS = galsim.PixelScale(1.0)

# Piff warns about every star that it leaves out.
_PIFF_LOG = logging.getLogger("lsst.meas.cosmicrays.ingest.piff")
_PIFF_LOG.setLevel(logging.CRITICAL)


@dataclasses.dataclass(frozen=True, eq=False)
class PsfMeasurement:
    """A PSF and how it came about.

    Parameters
    ----------
    psf
        Model for a visit image.
    fwhm
        FWHM in pixels.
    n_stars
        Number of stars it was measured from; 0 where it was given.
    kind
        ``pixels``, ``moffat`` or ``gaussian``.
    """

    psf: PointSpreadFunction
    fwhm: float
    n_stars: int
    kind: str


def measure_psf(
    image: np.ndarray,
    variance: np.ndarray,
    bad: np.ndarray,
    *,
    model: PsfModel = PsfModel.AUTO,
    fwhm: float | None = None,
    name: str = "image",
) -> PsfMeasurement:
    """Measure the PSF with Piff (Jarvis et al. 2021), or say what it is.

    Stars are the objects of the most common size.  With 15 of them the
    model is a grid of pixels, with 5 a Moffat profile; with fewer it is a
    Gaussian: of the FWHM that is given, else of that of the stars, else of 4
    pixels, and a warning says so.

    Parameters
    ----------
    image, variance
        Pixels, with or without sky, and their variance, shape (ny, nx).
    bad
        Pixels without a usable value, `bool`.
    model
        Kind of model.
    fwhm
        FWHM in pixels, where it is known.
    name
        What the image is called in warnings.

    Returns
    -------
    measurement : `PsfMeasurement`
        The PSF.
    """
    if model is PsfModel.GIVEN and fwhm is not None:
        return _gaussian(fwhm, image.shape, 0)
    image = subtract_sky(image, bad)
    stars = of_common_size(find_stars(image, variance, bad), fwhm)
    kinds = {
        PsfModel.PIXELS: ["pixels"],
        PsfModel.MOFFAT: ["moffat"],
    }.get(model, ["pixels", "moffat"])
    for kind in kinds:
        if len(stars) >= (_MIN_STARS_PIXELS if kind == "pixels" else _MIN_STARS_MOFFAT):
            try:
                return _fit_piff(image, variance, bad, stars, kind)
            except Exception as error:  # Piff raises anything.
                warnings.warn(f"{name}: no {kind} PSF: {error}", IngestWarning, stacklevel=2)
    if fwhm is not None:
        reason, width = "of the FWHM given", fwhm
    elif len(stars) >= _MIN_STARS_FWHM:
        reason, width = "of their FWHM", float(np.median(stars.fwhm))
    else:
        reason, width = "is assumed; --fwhm PIXELS gives another", _DEFAULT_FWHM
    warnings.warn(
        f"{name}: {len(stars)} stars are too few for a PSF model: a Gaussian of {width:.2f} pixels {reason}",
        IngestWarning,
        stacklevel=2,
    )
    return _gaussian(width, image.shape, len(stars))


def _gaussian(fwhm: float, shape: tuple[int, ...], n_stars: int) -> PsfMeasurement:
    size = 2 * int(np.ceil(2.5 * fwhm)) + 1
    psf = GaussianPointSpreadFunction(fwhm / SIGMA_TO_FWHM, _bounds(shape), size)
    return PsfMeasurement(psf, fwhm, n_stars, "gaussian")


def _bounds(shape: tuple[int, ...]) -> Box:
    return Box.factory[0 : shape[0], 0 : shape[1]]


def _fit_piff(
    image: np.ndarray, variance: np.ndarray, bad: np.ndarray, stars: StarList, kind: str
) -> PsfMeasurement:
    """Fit a Piff model that is the same all over the image."""
    fwhm = float(np.median(stars.fwhm))
    stars = stars.select(np.arange(min(len(stars), _MAX_STARS)))
    # A little wider than the grid, so that every cell is in every star.
    size = max(_GRID_SIZE + 2, 2 * int(np.ceil(2.2 * fwhm)) + 1)
    if kind == "pixels":
        # Wide PSFs get wide cells: fitting takes the fourth power of them.
        scale = max(1.0, fwhm / _GRID_CELLS_PER_FWHM)
        model: dict[str, Any] = {"type": "PixelGrid", "scale": scale, "size": _GRID_SIZE}
        interpolation: dict[str, Any] = {"type": "BasisPolynomial", "order": 0}
    else:
        model = {"type": "Moffat", "beta": _MOFFAT_BETA, "include_pixel": False}
        interpolation = {"type": "Mean"}
    psf = piff.PSF.process({"type": "Simple", "model": model, "interp": interpolation}, logger=_PIFF_LOG)
    targets = [_make_star(image, variance, bad, stars, index, size) for index in range(len(stars))]
    psf.fit(targets, {0: _PIXELS}, None, logger=_PIFF_LOG)
    wrapped = PiffWrapper(psf, _bounds(image.shape), size)
    kernel = wrapped.compute_kernel_image(x=image.shape[1] / 2, y=image.shape[0] / 2).array
    if not (np.all(np.isfinite(kernel)) and kernel[size // 2, size // 2] > 0.9 * kernel.max()):
        raise ValueError("the fitted model does not peak in its centre")
    fitted = gaussian_fwhm(kernel)
    if abs(np.log(fitted / fwhm)) > _FWHM_TOLERANCE:
        raise ValueError(f"the fitted model has a FWHM of {fitted:.2f} pixels, the stars {fwhm:.2f}")
    return PsfMeasurement(wrapped, fitted, len(psf.stars), kind)


def _make_star(
    image: np.ndarray,
    variance: np.ndarray,
    bad: np.ndarray,
    stars: StarList,
    index: int,
    size: int,
) -> piff.Star:
    """Cut a star out; pixels of its neighbours get no weight."""
    half = size // 2
    x, y = stars.x[index], stars.y[index]
    ny, nx = image.shape
    x0, x1 = max(0, round(x) - half), min(nx, round(x) + half + 1)
    y0, y1 = max(0, round(y) - half), min(ny, round(y) + half + 1)
    box = (slice(y0, y1), slice(x0, x1))
    own = np.isin(stars.segments[box], (0, stars.numbers[index])) & ~bad[box]
    usable = own & (variance[box] > 0.0)
    weight = np.zeros(own.shape)
    # No model is exact and no field empty: without a floor the brightest
    # star and the faint neighbours of all decide.
    floor = (_MODEL_ERROR * image[box].max()) ** 2
    weight[usable] = 1.0 / (variance[box] + floor)[usable]
    data = piff.StarData(
        galsim.Image(np.where(usable, image[box], 0.0).astype(np.float64), xmin=x0, ymin=y0, wcs=_PIXELS),
        galsim.PositionD(x, y),
        weight=galsim.Image(weight, xmin=x0, ymin=y0, wcs=_PIXELS),
        properties={"chipnum": 0},
    )
    return piff.Star(data, None)
