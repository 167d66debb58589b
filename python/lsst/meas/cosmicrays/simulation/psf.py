# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The point-spread function of a simulated image, and its Piff model.

The PSF, pixel included, is a polynomial of the position on the detector with
images as coefficients.  The same coefficients draw the stars and make the
Piff model, so that the model describes the stars as well as its own sampling
allows.
"""

from __future__ import annotations

__all__ = ("DRAWING_RADIUS", "OVERSAMPLING", "SpatialProfile", "draw_sources", "make_piff_psf", "make_psf")

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import scipy.fft
import scipy.ndimage
from numba import njit

from lsst.images import Box
from lsst.images.psfs import PiffWrapper

OVERSAMPLING = 4
"""Points per pixel of the tabulated profiles (`int`)."""

DRAWING_RADIUS = 40
"""Largest distance, in pixels, to which a source is drawn (`int`)."""

_MOFFAT_BETA = 4.0
_N_TERMS = 6


@dataclasses.dataclass(frozen=True)
class SpatialProfile:
    """A profile of unit flux that varies over the detector.

    Parameters
    ----------
    splines : `numpy.ndarray`
        Images, sampled ``OVERSAMPLING`` times a pixel, by which the terms 1,
        x, y, x^2, xy, y^2 are multiplied, as coefficients of cubic B-splines;
        `float32` of shape (6, n, n), n odd.  The values of the splines are
        those of the profile integrated over a pixel.
    shape : `tuple` [`int`, `int`]
        Rows and columns of the detector, whose sides are at -1 and 1 in the
        terms.
    fwhm : `float`
        FWHM in pixels in the middle of the detector, pixel not included.
    """

    splines: np.ndarray
    shape: tuple[int, int]
    fwhm: float

    @property
    def radius(self) -> int:
        """Radius of the tabulated images in pixels (`int`)."""
        return (self.splines.shape[1] - 1) // (2 * OVERSAMPLING)

    @property
    def values(self) -> np.ndarray:
        """Values of the splines at the points (`numpy.ndarray`)."""
        weights = np.array([1.0, 4.0, 1.0]) / 6.0
        rows = scipy.ndimage.correlate1d(self.splines, weights, axis=1, mode="mirror")
        return scipy.ndimage.correlate1d(rows, weights, axis=2, mode="mirror")

    def at(self, x: float, y: float) -> np.ndarray:
        """Evaluate the profile.

        Parameters
        ----------
        x, y : `float`
            Position on the detector in pixels.

        Returns
        -------
        image : `numpy.ndarray`
            Oversampled image, `float64` of shape (n, n).
        """
        terms = position_terms(np.array([x]), np.array([y]), self.shape)[0]
        return np.tensordot(terms, self.values, axes=1)

    def convolve(self, images: Iterable[np.ndarray]) -> list[SpatialProfile]:
        """Convolve the profile with those of galaxies.

        Parameters
        ----------
        images : `~collections.abc.Iterable` [`numpy.ndarray`]
            Oversampled images, each of shape (n, n), centred, of sum 1.

        Returns
        -------
        profiles : `list` [`SpatialProfile`]
            The profile of each galaxy.
        """
        n = self.splines.shape[1]
        # Only what lies outside of the window wraps around.
        size = scipy.fft.next_fast_len(n + n // 2, real=True)
        window = slice(n // 2, n // 2 + n)
        transform = scipy.fft.rfft2(self.splines, (size, size))
        profiles = []
        for image in images:
            kernel = scipy.fft.rfft2(image.astype(np.float32), (size, size))
            convolved = scipy.fft.irfft2(transform * kernel, (size, size))
            profiles.append(dataclasses.replace(self, splines=convolved[:, window, window]))
        return profiles


def position_terms(x: np.ndarray, y: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Evaluate the polynomial terms of positions on a detector.

    Parameters
    ----------
    x, y : `numpy.ndarray`
        Positions in pixels, of shape (n,).
    shape : `tuple` [`int`, `int`]
        Rows and columns of the detector.

    Returns
    -------
    terms : `numpy.ndarray`
        1, x, y, x^2, xy, y^2 of the positions scaled to -1 and 1 at the
        sides; `float64` of shape (n, 6).
    """
    u = 2.0 * np.asarray(x, dtype=float) / (shape[1] - 1) - 1.0
    v = 2.0 * np.asarray(y, dtype=float) / (shape[0] - 1) - 1.0
    return np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1)


def make_psf(
    rng: np.random.Generator, shape: tuple[int, int], fwhm: float, variation: float
) -> SpatialProfile:
    """Make the PSF of an image: Moffat profiles of varying width and shape.

    Parameters
    ----------
    rng : `numpy.random.Generator`
        Source of random numbers, for the pattern of the variation.
    shape : `tuple` [`int`, `int`]
        Rows and columns of the detector.
    fwhm : `float`
        FWHM in pixels in the middle of the detector.
    variation : `float`
        Standard deviation, across detectors, of the relative change of width
        and of the ellipticity at the sides.

    Returns
    -------
    psf : `SpatialProfile`
        The PSF.
    """
    # Width, g1 and g2 as polynomials; the middle is round but for a trace.
    pattern = variation * rng.normal(size=(3, _N_TERMS)) / math.sqrt(_N_TERMS - 1)
    pattern[0, 0] = 0.0
    nodes_x, nodes_y = (a.ravel() for a in np.meshgrid(*(np.linspace(0, n - 1, 3) for n in shape[::-1])))
    terms = position_terms(nodes_x, nodes_y, shape)
    images = [
        _moffat(fwhm * math.exp(width), *np.clip((g1, g2), -0.3, 0.3)) for width, g1, g2 in terms @ pattern.T
    ]
    coefficients = np.tensordot(np.linalg.pinv(terms), np.stack(images), axes=1)
    splines = [scipy.ndimage.spline_filter(image, output=np.float32, mode="mirror") for image in coefficients]
    return SpatialProfile(np.stack(splines), shape, fwhm)


def _moffat(fwhm: float, g1: float, g2: float) -> np.ndarray:
    """Draw a Moffat profile convolved with the pixel."""
    import galsim

    profile = galsim.Moffat(beta=_MOFFAT_BETA, fwhm=fwhm).shear(g1=g1, g2=g2)
    n = 2 * DRAWING_RADIUS * OVERSAMPLING + 1
    pixelated = galsim.Convolve(profile, galsim.Pixel(1.0))
    image = pixelated.drawImage(nx=n, ny=n, scale=1.0 / OVERSAMPLING, method="no_pixel", dtype=float)
    return image.array * OVERSAMPLING**2


def make_piff_psf(psf: SpatialProfile, bbox: Box) -> PiffWrapper:
    """Make the Piff model of a PSF.

    Parameters
    ----------
    psf : `SpatialProfile`
        The PSF.
    bbox : `lsst.images.Box`
        Where the model is valid.

    Returns
    -------
    model : `lsst.images.psfs.PiffWrapper`
        A pixel grid interpolated by a quadratic polynomial, as Rubin's models
        are; two points per pixel where the PSF is too narrow for one.
    """
    # Half a second, which each process of a pipeline would pay for.
    import galsim
    import piff

    points_per_pixel = 1 if psf.fwhm >= 3.0 else 2
    radius = int(np.clip(math.ceil(3.5 * psf.fwhm), 10, 24))
    reach = radius * points_per_pixel
    stride = OVERSAMPLING // points_per_pixel
    values = psf.values.astype(np.float64)
    middle = values.shape[1] // 2
    window = slice(middle - reach * stride, middle + reach * stride + 1, stride)
    grids = values[:, window, window].reshape(_N_TERMS, -1)
    size = 2 * reach + 1
    model = piff.PixelGrid(scale=1.0 / points_per_pixel, size=size, interp="Lanczos(7)", centered=True)
    interpolation = piff.BasisPolynomial(order=2, keys=("x", "y"))
    interpolation.q = (_pixel_polynomial(psf.shape) @ grids).T / grids[0].sum()
    impl = piff.SimplePSF(model, interpolation)
    impl.wcs, impl.pointing = {0: galsim.PixelScale(1.0)}, None
    impl.stars = []
    return PiffWrapper(impl, bounds=bbox, stamp_size=2 * radius + 1)


def _pixel_polynomial(shape: tuple[int, int]) -> np.ndarray:
    """Relate the terms of `position_terms` to those of Piff, which are 1, y,
    y^2, x, xy, x^2 of the position in pixels.
    """
    x, y = np.array([0.0, 1.0, 2.0, 0.0, 1.0, 0.0]), np.array([0.0, 0.0, 0.0, 1.0, 1.0, 2.0])
    scaled = position_terms(x, y, shape)
    unscaled = np.stack([np.ones(6), y, y * y, x, x * y, x * x], axis=-1)
    return np.linalg.solve(unscaled, scaled)


def draw_sources(
    image: np.ndarray,
    profile: SpatialProfile,
    x: np.ndarray,
    y: np.ndarray,
    flux: np.ndarray,
    faintest: float,
) -> None:
    """Add sources of one profile to an image.

    Parameters
    ----------
    image : `numpy.ndarray`
        Image to add to, `float32` of shape (ny, nx).
    profile : `SpatialProfile`
        Their profile.
    x, y : `numpy.ndarray`
        Positions in pixels, of shape (n,); may lie off the image.
    flux : `numpy.ndarray`
        Fluxes in electrons, of shape (n,).
    faintest : `float`
        Electrons per pixel below which the outskirts are left out.
    """
    reach = _reach(profile, np.abs(flux), faintest)
    terms = position_terms(x, y, profile.shape)
    _draw(
        image,
        profile.splines,
        terms,
        np.asarray(x, float),
        np.asarray(y, float),
        np.asarray(flux, float),
        reach,
    )


def _reach(profile: SpatialProfile, flux: np.ndarray, faintest: float) -> np.ndarray:
    """Find the radius at which each source falls below a limit."""
    middle = profile.splines.shape[1] // 2
    mean = profile.splines[0]
    along = np.maximum(mean[middle, middle:], mean[middle:, middle])[::OVERSAMPLING]
    brightest_beyond = np.maximum.accumulate(along[::-1])
    reach = len(along) - np.searchsorted(brightest_beyond, faintest / np.maximum(flux, 1e-30))
    return np.clip(reach + 1, 4, profile.radius - 2)


@njit(cache=True)
def _cubic_weights(t):  # type: ignore[no-untyped-def]
    """Evaluate the four cubic B-splines over a point."""
    s = 1.0 - t
    return (
        s * s * s / 6.0,
        (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0,
        (4.0 - 6.0 * s * s + 3.0 * s * s * s) / 6.0,
        t * t * t / 6.0,
    )


@njit(cache=True)
def _draw(image, splines, terms, x, y, flux, reach):  # type: ignore[no-untyped-def]
    """Interpolate the tables at the pixels around each source.

    Pixels are a whole number of points apart, so that one source needs the
    same sixteen weights everywhere.
    """
    ny, nx = image.shape
    n_terms, n, _ = splines.shape
    middle = n // 2
    for k in range(len(x)):
        i_near, j_near = int(np.floor(x[k] + 0.5)), int(np.floor(y[k] + 0.5))
        # Table coordinate of the nearest pixel.
        u = middle + (i_near - x[k]) * OVERSAMPLING
        v = middle + (j_near - y[k]) * OVERSAMPLING
        u0, v0 = int(np.floor(u)), int(np.floor(v))
        wu, wv = _cubic_weights(u - u0), _cubic_weights(v - v0)
        r = reach[k]
        i_first, i_last = max(0, i_near - r), min(nx - 1, i_near + r)
        j_first, j_last = max(0, j_near - r), min(ny - 1, j_near + r)
        for j in range(j_first, j_last + 1):
            row = v0 - 1 + (j - j_near) * OVERSAMPLING
            for i in range(i_first, i_last + 1):
                if (i - i_near) ** 2 + (j - j_near) ** 2 > r * r:
                    continue
                column = u0 - 1 + (i - i_near) * OVERSAMPLING
                total = 0.0
                for m in range(n_terms):
                    value = 0.0
                    for b in range(4):
                        line = splines[m, row + b]
                        value += wv[b] * (
                            wu[0] * line[column]
                            + wu[1] * line[column + 1]
                            + wu[2] * line[column + 2]
                            + wu[3] * line[column + 3]
                        )
                    total += terms[k, m] * value
                image[j, i] += flux[k] * total
