# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The default finder of the Science Pipelines, by morphology."""

from __future__ import annotations

__all__ = ["MorphologicalFinderConfig", "MorphologicalFinderTask"]

from typing import ClassVar

import numpy as np

from lsst.pex.config import Field, ListField, registerConfigurable

from ..engines import morphological as engine
from ..engines.background import median_background
from ..images import WorkingImage
from .base import (
    CosmicRayFinderConfig,
    CosmicRayFinderTask,
    EngineNotAvailableError,
    Finding,
    TooManyCosmicRaysError,
    cosmicRayFinderRegistry,
)


class MorphologicalFinderConfig(CosmicRayFinderConfig):
    """Configuration of `MorphologicalFinderTask`.

    Names and values are those of
    ``lsst.meas.algorithms.FindCosmicRaysConfig``.
    """

    nCrPixelMax = Field[int](
        doc="Most cosmic-ray pixels that an image may have before the finder gives up.",
        default=1000000,
        check=lambda value: value >= 0,
    )
    minSigma = Field[float](
        doc="A cosmic ray stands this many sigma above the sky; if negative, its absolute value is a limit "
        "in the unit of the pixels.",
        default=6.0,
    )
    min_DN = Field[float](
        doc="A cosmic ray has more than this much charge, in the unit of the pixels.",
        default=150.0,
    )
    cond3_fac = Field[float](
        doc="How many sigma a pixel must exceed what the PSF allows beside its neighbours (condition 3).",
        default=2.0,
    )
    cond3_fac2 = Field[float](
        doc="Factor on the PSF's own contrast in condition 3.",
        default=0.35,
    )
    niteration = Field[int](
        doc="How often to look for more pixels beside those already found.",
        default=6,
        check=lambda value: value >= 0,
    )
    interpolatedPlanes = ListField[str](
        doc="Mask planes of the bad pixels that were interpolated over.",
        default=["INTERPOLATED"],
    )
    background = Field[float](
        doc="Constant background under the image, in the unit of the pixels.  None: the median of the "
        "image, as RepairTask takes it.",
        default=None,
        optional=True,
    )


@registerConfigurable("morphological", cosmicRayFinderRegistry)
class MorphologicalFinderTask(CosmicRayFinderTask):
    """Find pixels that are sharper than the PSF allows.

    Notes
    -----
    The algorithm is the one that Lupton et al. wrote for the SDSS photometric
    pipeline, as ``lsst.meas.algorithms.findCosmicRays`` has it.  The ``fast``
    engine gives the same mask; ``reference`` calls the stack's own C++.
    """

    ConfigClass: ClassVar[type[MorphologicalFinderConfig]] = MorphologicalFinderConfig
    _DefaultName: ClassVar[str] = "morphological"
    config: MorphologicalFinderConfig
    late_fields: ClassVar[frozenset[str]] = frozenset(
        {"nCrPixelMax", "minSigma", "min_DN", "cond3_fac", "cond3_fac2", "niteration"}
    )

    def find(self, image: WorkingImage) -> Finding:
        return self.find_prepared(image, self.prepare(image))

    def prepare(self, image: WorkingImage) -> tuple[np.ndarray, float]:
        """Return bad pixels and background."""
        bad = self.bad_pixels(image)
        background: float | None = self.config.background
        if background is None:
            background = median_background(image.image, threads=self.config.threads)
        return bad, background

    def find_prepared(self, image: WorkingImage, prepared: tuple[np.ndarray, float]) -> Finding:
        bad, background = prepared
        if self.config.engine == "reference":
            return Finding(mask=self._find_with_stack(image, bad, background))
        return Finding(mask=self.search(image, bad, background).mask)

    def search(
        self, image: WorkingImage, bad: np.ndarray, background: float, *, keep: bool = True
    ) -> engine.CosmicRaySearch:
        """Find cosmic rays, and what to put in their place.

        Parameters
        ----------
        image : `WorkingImage`
            The image, in the unit of the config.
        bad : `numpy.ndarray` [`bool`]
            Pixels in which no cosmic ray starts; shape (ny, nx).
        background : `float`
            Constant background under the image.
        keep : `bool`, optional
            Whether to count toward ``nCrPixelMax`` as the original does where
            it leaves the cosmic rays in the image.

        Returns
        -------
        search : `lsst.meas.cosmicrays.engines.morphological.CosmicRaySearch`
            Mask, number of cosmic rays, and values for their pixels.

        Raises
        ------
        TooManyCosmicRaysError
            Raised if more than ``nCrPixelMax`` pixels pass.
        """
        try:
            return engine.search_cosmic_rays(
                image.image,
                image.variance,
                bad,
                image.any_plane(self.config.interpolatedPlanes),
                image.psf_kernel,
                background,
                min_sigma=self.config.minSigma,
                min_dn=self.config.min_DN,
                cond3_fac=self.config.cond3_fac,
                cond3_fac2=self.config.cond3_fac2,
                n_iteration=self.config.niteration,
                n_cr_pixel_max=self.config.nCrPixelMax,
                keep=keep,
                threads=self.config.threads,
            )
        except engine.TooManyCosmicRaysError as error:
            raise TooManyCosmicRaysError(
                f"{error.count} pixels look like cosmic rays, more than nCrPixelMax={error.limit}; look for "
                "a satellite trail, a wrong variance plane or a wrong PSF, or raise the limit.",
                limit=error.limit,
                count=error.count,
            ) from error

    def _find_with_stack(self, image: WorkingImage, bad: np.ndarray, background: float) -> np.ndarray:
        """Call ``lsst.meas.algorithms.findCosmicRays`` on a copy."""
        try:
            import lsst.afw.detection as afwDetection
            import lsst.afw.image as afwImage
            import lsst.afw.math as afwMath
            import lsst.meas.algorithms as measAlgorithms
            from lsst.pex.config import makePropertySet
            from lsst.pex.exceptions import LengthError
        except ImportError as error:
            raise EngineNotAvailableError(
                f"The reference engine of the morphological finder needs the LSST Science Pipelines "
                f"(lsst.afw, lsst.meas.algorithms), which cannot be imported here ({error}); "
                "use engine='fast', which gives the same mask."
            ) from error
        ny, nx = image.image.shape
        exposure = afwImage.MaskedImageF(nx, ny)
        exposure.image.array[:] = image.image
        exposure.variance.array[:] = image.variance
        mask = exposure.mask
        mask.array[bad] |= mask.getPlaneBitMask("BAD")
        mask.array[image.any_plane(self.config.interpolatedPlanes)] |= mask.getPlaneBitMask("INTRP")
        kernel = afwImage.ImageD(np.ascontiguousarray(image.psf_kernel))
        psf = measAlgorithms.KernelPsf(afwMath.FixedKernel(kernel))
        settings = measAlgorithms.FindCosmicRaysConfig()
        for name in ("nCrPixelMax", "minSigma", "min_DN", "cond3_fac", "cond3_fac2", "niteration"):
            setattr(settings, name, getattr(self.config, name))
        try:
            footprints = measAlgorithms.findCosmicRays(
                exposure, psf, background, makePropertySet(settings), True
            )
        except LengthError as error:
            raise TooManyCosmicRaysError(
                f"More than nCrPixelMax={self.config.nCrPixelMax} pixels look like cosmic rays.",
                limit=self.config.nCrPixelMax,
            ) from error
        found = mask.getPlaneBitMask("CR")
        mask.array[:] &= ~found
        afwDetection.setMaskFromFootprintList(mask, footprints, found)
        return (mask.array & found) != 0
