# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""L.A.Cosmic as AstroScrappy has it."""

from __future__ import annotations

__all__ = ["AstroScrappyFinderConfig", "AstroScrappyFinderTask"]

import functools
import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np

from lsst.pex.config import ChoiceField, Field, registerConfigurable

from ..images import WorkingImage
from .base import (
    CosmicRayFinderConfig,
    CosmicRayFinderError,
    CosmicRayFinderTask,
    Finding,
    cosmicRayFinderRegistry,
)

SATURATED_FRACTION = 0.01
"""Fraction of the pixels above which they are not all stars."""

WIDEST_MEDIAN = 7
"""Side of the widest median filter of the program, pixels."""


class AstroScrappyFinderConfig(CosmicRayFinderConfig):
    """Configuration of `AstroScrappyFinderTask`.

    The parameters of ``astroscrappy.detect_cosmics`` have their own names.
    """

    sigclip = Field[float](
        doc="Laplacian-to-noise limit.  5.0 is the best match to the default finder on science images in "
        "the 2022 report; on difference images that is 4.33.",
        default=5.0,
        check=lambda value: value > 0.0,
    )
    sigfrac = Field[float](
        doc="Fraction of sigclip that suffices for the neighbours of a cosmic-ray pixel.",
        default=0.3,
        check=lambda value: value >= 0.0,
    )
    objlim = Field[float](
        doc="Least contrast between the Laplacian and the fine structure of the image.",
        default=5.0,
    )
    gain = Field[float](
        doc="Electrons per unit of what the finder sees: 1 for unit 'electron'.",
        default=1.0,
        check=lambda value: value > 0.0,
    )
    readnoise = Field[float](
        doc="Read noise (electrons), used where useVariance is off.",
        default=6.5,
        check=lambda value: value >= 0.0,
    )
    satlevel = Field[float](
        doc="Saturation level (electrons: what the finder sees, times gain).  Stars above it are added to "
        "the mask.  A warning says if so many pixels reach it that it must be in other units.",
        default=65536.0,
    )
    niter = Field[int](doc="Most iterations to make.", default=4, check=lambda value: value >= 0)
    sepmed = Field[bool](doc="Use separable medians, which are faster.", default=True)
    cleantype = ChoiceField[str](
        doc="How found pixels are replaced before the next iteration.",
        default="meanmask",
        optional=False,
        allowed={
            "median": "Meant to be the median of 5x5 pixels; AstroScrappy 1.3 fills them with memory that it "
            "never wrote, so that later iterations are undefined (here: zeros).  Not recommended.",
            "medmask": "Median of the good ones of 5x5 pixels.",
            "meanmask": "Mean of the good ones of 5x5 pixels.",
            "idw": "The good ones of 5x5 pixels, weighted by inverse distance.",
        },
    )
    fsmode = ChoiceField[str](
        doc="How the fine structure of the image is estimated.",
        default="median",
        optional=False,
        allowed={"median": "By a median filter.", "convolve": "By a matched filter with the PSF."},
    )
    psfmodel = ChoiceField[str](
        doc="PSF of the matched filter (fsmode 'convolve').",
        default="gauss",
        optional=False,
        allowed={
            "image": "The PSF of the image, at its average position, as it is.",
            "gauss": "A round Gaussian with the FWHM of the image's PSF.",
            "gaussx": "A Gaussian along x.",
            "gaussy": "A Gaussian along y.",
            "moffat": "A Moffat profile.",
        },
    )
    psffwhm = Field[float](
        doc="FWHM (pixels) of the PSF model.  None: that of the image's PSF.",
        default=None,
        optional=True,
        check=lambda value: value > 0.0,
    )
    psfsize = Field[int](
        doc="Side (pixels, odd) of the PSF model.",
        default=7,
        check=lambda value: value > 0 and value % 2 == 1,
    )
    psfbeta = Field[float](doc="Beta of the Moffat profile.", default=4.765)
    useVariance = Field[bool](
        doc="Take the noise from the variance plane (invar).  Otherwise it follows from the image, which "
        "must then still contain its sky.",
        default=True,
    )


class Prepared(NamedTuple):
    """What the program takes, whatever its limits are."""

    image: np.ndarray
    """Image without gaps (float32, (ny, nx))."""

    bad: np.ndarray
    """Pixels that are never cosmic rays (bool, (ny, nx))."""

    variance: np.ndarray | None
    """Variance without gaps, where the noise is taken from it."""


@registerConfigurable("astroscrappy", cosmicRayFinderRegistry)
class AstroScrappyFinderTask(CosmicRayFinderTask):
    """Find cosmic rays by their sharp edges (L.A.Cosmic).

    Notes
    -----
    The method is that of van Dokkum (2001, PASP 113, 1420) as the program
    AstroScrappy has it.  The ``fast`` engine gives the same mask; the
    ``reference`` engine is the ``astroscrappy`` package.
    """

    ConfigClass: ClassVar[type[AstroScrappyFinderConfig]] = AstroScrappyFinderConfig
    _DefaultName: ClassVar[str] = "astroscrappy"
    config: AstroScrappyFinderConfig
    late_fields: ClassVar[frozenset[str]] = frozenset(
        {"sigclip", "sigfrac", "objlim", "satlevel", "niter", "psffwhm", "psfsize", "psfbeta"}
    )

    def find(self, image: WorkingImage) -> Finding:
        return self.find_prepared(image, self.prepare(image))

    def prepare(self, image: WorkingImage) -> Prepared:
        """Return the planes that the program takes."""
        unmeasured = self.unmeasured(image)
        bad = self.bad_pixels(image)
        if not self.config.useVariance:
            self._check_sky(image, bad)
        return Prepared(
            image=_without_gaps(image.image, unmeasured),
            bad=bad,
            variance=_without_gaps(image.variance, unmeasured) if self.config.useVariance else None,
        )

    def find_prepared(self, image: WorkingImage, prepared: Prepared) -> Finding:
        self._check_saturation(prepared)
        if self.config.engine == "reference":
            self._check_size(image)
        psf_model = self.config.psfmodel
        psf_fwhm: float | None = self.config.psffwhm
        mask, _ = self._detect_cosmics()(
            prepared.image,
            inmask=prepared.bad,
            invar=prepared.variance,
            sigclip=self.config.sigclip,
            sigfrac=self.config.sigfrac,
            objlim=self.config.objlim,
            gain=self.config.gain,
            readnoise=self.config.readnoise,
            satlevel=self.config.satlevel,
            niter=self.config.niter,
            sepmed=self.config.sepmed,
            cleantype=self.config.cleantype,
            fsmode=self.config.fsmode,
            psfmodel="gauss" if psf_model == "image" else psf_model,
            psffwhm=psf_fwhm if psf_fwhm is not None else image.psf_fwhm,
            psfsize=self.config.psfsize,
            psfk=image.psf_kernel.astype(np.float32) if psf_model == "image" else None,
            psfbeta=self.config.psfbeta,
        )
        return Finding(mask=mask.astype(bool, copy=False))

    def unmeasured(self, image: WorkingImage) -> np.ndarray:
        return super().unmeasured(image) if self.config.useVariance else ~np.isfinite(image.image)

    def _detect_cosmics(self) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
        """Return the program that the config names."""
        if self.config.engine == "reference":
            import astroscrappy

            return astroscrappy.detect_cosmics
        from ..engines.lacosmic import detect_cosmics

        return functools.partial(detect_cosmics, n_threads=self.config.threads)

    def _check_size(self, image: WorkingImage) -> None:
        """Keep the original from images on which it crashes or hangs.

        Raises
        ------
        CosmicRayFinderError
            Raised if a filter is wider than the image.
        """
        widest = WIDEST_MEDIAN
        if self.config.fsmode == "convolve":
            psf_size = max(image.psf_kernel.shape) if self.config.psfmodel == "image" else self.config.psfsize
            widest = max(widest, psf_size)
        ny, nx = image.image.shape
        if min(ny, nx) < widest:
            raise CosmicRayFinderError(
                f"The image has {nx} x {ny} pixels, fewer than the filters of astroscrappy, of up to "
                f"{widest} x {widest}; it would write beyond its arrays. Use engine='fast'.",
                n_pixels=nx * ny,
            )

    def _check_sky(self, image: WorkingImage, bad: np.ndarray) -> None:
        """Warn of the original's silent trap: an image without its sky.

        Without a variance plane the noise follows from the pixel values, so
        an image from which the sky was subtracted seems far less noisy than
        it is, and noise is found in place of cosmic rays.
        """
        good = ~bad & (image.variance > 0.0)
        if not np.any(good):
            return
        assumed = float(np.median(image.image[good])) * self.config.gain + self.config.readnoise**2
        measured = float(np.median(image.variance[good])) * self.config.gain**2
        if math.isfinite(measured) and assumed < 0.5 * measured:
            self.log.warning(
                "useVariance is off, and the image seems to lack its sky: its level and read noise give a "
                "variance of %.1f electron^2, its variance plane %.1f.  Expect false detections.",
                assumed,
                measured,
            )

    def _check_saturation(self, prepared: Prepared) -> None:
        """Warn of the original's other trap: ``satlevel`` in other units.

        It is compared with the image times the gain.  Given in adu, or in
        the units of an image that has others, it may be below much of the
        image, where then nothing is found.
        """
        good = ~prepared.bad
        saturated = np.count_nonzero(good & (prepared.image >= self.config.satlevel / self.config.gain))
        n_good = np.count_nonzero(good)
        if saturated > SATURATED_FRACTION * n_good:
            self.log.warning(
                "%.1f %% of the pixels that are not masked reach satlevel, %g electrons.  Is it in other "
                "units than the image times the gain?  No cosmic rays are found in saturated stars.",
                100.0 * saturated / n_good,
                self.config.satlevel,
            )


def _without_gaps(array: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Fill pixels that medians must not meet with the median of the rest."""
    if not np.any(gaps):
        return array
    filled = array.copy()
    filled[gaps] = np.median(array[~gaps]) if not np.all(gaps) else 1.0
    return filled
