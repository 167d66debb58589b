# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take cosmic rays out of an exposure, with any finder.

`CosmicRayRepairTask` goes where ``lsst.pipe.tasks.repair.RepairTask`` is.
"""

from __future__ import annotations

__all__ = ["CosmicRayRepairTask", "TooManyCosmicRays", "retarget_repair"]

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from lsst.pex.config import Config
from lsst.pipe.base import AlgorithmError, Task
from lsst.utils.timer import timeMethod

from .documentation import DocumentedError
from .engines.background import median_background
from .engines.background_model import STATISTICS, model_background
from .engines.interpolation import interpolate
from .finders import CosmicRayFinderTask, MorphologicalFinderTask, TooManyCosmicRaysError
from .images import WorkingImage, WorkingImageConfig, read_image
from .repair_config import THRESHOLDS, CosmicRayRepairConfig

COSMIC_RAY, INTERPOLATED = "CR", "INTRP"


class TooManyCosmicRays(DocumentedError, AlgorithmError):  # noqa: N818
    """Raised if an exposure has too many cosmic rays.

    Parameters
    ----------
    maxCosmicRays : `int`
        Most pixels of cosmic rays allowed.
    **kwargs : `int`, `float` or `str`
        More numbers for the task's metadata.
    """

    def __init__(self, maxCosmicRays: int, **kwargs: int | float | str) -> None:
        super().__init__(
            f"Found more than {maxCosmicRays} pixels of cosmic rays; look for a satellite trail, a wrong "
            "variance plane or a wrong PSF, or raise cosmicray.nCrPixelMax."
        )
        self._metadata = {**kwargs, "maxCosmicRays": maxCosmicRays}

    @property
    def metadata(self) -> dict[str, Any]:
        """Numbers that say more (`dict`)."""
        return dict(self._metadata)


@dataclasses.dataclass(frozen=True)
class _Found:
    """Cosmic rays, and what to put in their place where that is known."""

    mask: np.ndarray
    n_cosmic_rays: int
    replacement: np.ndarray | None = None


class CosmicRayRepairTask(Task):
    """Mark cosmic rays and defects in an exposure, and interpolate over them.

    Notes
    -----
    Interface and metadata are those of ``lsst.pipe.tasks.repair.RepairTask``.
    As it is configured by default, it leaves the same mask and the same
    pixels.
    """

    ConfigClass: ClassVar[type[CosmicRayRepairConfig]] = CosmicRayRepairConfig
    _DefaultName: ClassVar[str] = "repair"
    config: CosmicRayRepairConfig

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        name = self.config.finder.name
        finder_config = self.config.finder.active.copy()
        if name == "morphological":
            for field in THRESHOLDS:
                setattr(finder_config, field, getattr(self.config.cosmicray, field))
        self.finder: CosmicRayFinderTask = self.config.finder.target(
            config=finder_config, name=name, parentTask=self, log=self.log.getChild(name)
        )

    @timeMethod
    def run(self, exposure: Any, defects: Iterable[Any] | None = None, keepCRs: bool | None = None) -> None:
        """Repair an exposure in place.

        Parameters
        ----------
        exposure : `lsst.afw.image.Exposure`
            The exposure, with a PSF.  Planes CR and INTRP of its mask change,
            and pixels, unless cosmic rays are kept.
        defects : `~collections.abc.Iterable`, optional
            Defects, each with a bounding box (``getBBox``), as
            ``lsst.meas.algorithms.Defects`` holds them.
        keepCRs : `bool`, optional
            Leave the pixels of cosmic rays as they are?  If not given, the
            config says (``cosmicray.keepCRs``).

        Raises
        ------
        TooManyCosmicRays
            Raised if there are more than ``cosmicray.nCrPixelMax`` pixels of
            cosmic rays.
        lsst.meas.cosmicrays.finders.CosmicRayFinderError
            Raised if the finder can make no mask.
        lsst.meas.cosmicrays.images.ImageReadError
            Raised if the exposure lacks a PSF, or what the finder needs.
        """
        if defects is not None and self.config.doInterpolate:
            self.interpolate_defects(exposure, defects)
        if self.config.doCosmicRay:
            self.cosmicRay(exposure, keepCRs=keepCRs)

    def interpolate_defects(self, exposure: Any, defects: Iterable[Any]) -> None:
        """Interpolate over defects, and mark their pixels INTRP.

        Parameters
        ----------
        exposure : `lsst.afw.image.Exposure`
            The exposure; changed in place.
        defects : `~collections.abc.Iterable`
            Defects, each with a bounding box (``getBBox``).
        """
        masked_image = exposure.getMaskedImage()
        box = exposure.getBBox()
        holes = np.zeros(masked_image.image.array.shape, dtype=bool)
        for defect in defects:
            place = defect.getBBox()
            rows = np.array([place.getMinY(), place.getMaxY() + 1]) - box.getMinY()
            columns = np.array([place.getMinX(), place.getMaxX() + 1]) - box.getMinX()
            (y0, y1), (x0, x1) = np.maximum(rows, 0), np.maximum(columns, 0)
            holes[y0:y1, x0:x1] = True
        self._fill(masked_image, holes)

    def cosmicRay(self, exposure: Any, keepCRs: bool | None = None) -> None:
        """Find cosmic rays, and interpolate over them unless they are kept.

        Parameters
        ----------
        exposure : `lsst.afw.image.Exposure`
            The exposure; changed in place.
        keepCRs : `bool`, optional
            Leave their pixels as they are?

        Raises
        ------
        TooManyCosmicRays
            Raised as by `run`.
        """
        keep: bool = self.config.cosmicray.keepCRs if keepCRs is None else keepCRs
        masked_image = exposure.getMaskedImage()
        mask = masked_image.mask
        if COSMIC_RAY not in mask.getMaskPlaneDict():
            mask.addMaskPlane(COSMIC_RAY)
        bit = mask.getPlaneBitMask(COSMIC_RAY)
        mask.array[:] &= ~bit
        found = self._find(exposure, keep)
        mask.array[found.mask] |= bit
        if not keep:
            self._remove(masked_image, found)
        self.log.info(
            "Identified and %s %d cosmic rays.", "kept" if keep else "interpolated over", found.n_cosmic_rays
        )
        self.metadata["cosmic_ray_count"] = found.n_cosmic_rays

    def _find(self, exposure: Any, keep: bool) -> _Found:
        """Run the finder, on the background it wants."""
        reading = WorkingImageConfig(**self.config.reading.toDict())
        if self.finder.config.unit == "native":
            # The stored numbers are used as they are, whatever they mean.
            reading.electronsPerUnit = 1.0
        working = read_image(exposure, reading)
        background = self._model(exposure)
        if background is not None:
            working = dataclasses.replace(
                working, image=(working.image - working.scale * background).astype(np.float32), stored=None
            )
        try:
            return self._search(working, background, keep)
        except TooManyCosmicRaysError as error:
            raise TooManyCosmicRays(self.config.cosmicray.nCrPixelMax) from error

    def _search(self, working: WorkingImage, background: np.ndarray | None, keep: bool) -> _Found:
        """Find cosmic rays, and their replacement if that is the sky's."""
        finder = self.finder
        if not isinstance(finder, MorphologicalFinderTask) or finder.config.engine != "fast":
            result = finder.run(working)
            if result.n_pixels > self.config.cosmicray.nCrPixelMax:
                raise TooManyCosmicRays(self.config.cosmicray.nCrPixelMax)
            return _Found(result.mask, result.n_cosmic_rays)
        level = 0.0
        if background is None:
            level = median_background(working.image, threads=finder.config.threads)
        # Pixels without a measurement stay in, as in the original.
        bad = working.any_plane(finder.config.badPlanes)
        search = finder.search(working, bad, level, keep=keep)
        if not self.config.fills_with_sky():
            return _Found(search.mask, search.n_footprints)
        replacement = search.replacement / working.scale
        if background is not None:
            replacement = replacement + background[search.mask]
        return _Found(search.mask, search.n_footprints, replacement)

    def _model(self, exposure: Any) -> np.ndarray | None:
        """Model the background in the stored unit, if there are bins."""
        config = self.config.cosmicray.background
        masked_image = exposure.getMaskedImage()
        ny, nx = masked_image.image.array.shape
        if nx * ny <= config.binSize**2 and not (config.binSizeX or config.binSizeY):
            return None
        return model_background(
            masked_image.image.array,
            _any_plane(masked_image.mask, config.ignoredPixelMask),
            config.binSizeX or config.binSize,
            config.binSizeY or config.binSize,
            statistic=config.statisticsProperty,
            algorithm=config.algorithm,
        )

    def _remove(self, masked_image: Any, found: _Found) -> None:
        """Replace cosmic rays in an image."""
        if found.replacement is None:
            self._fill(masked_image, found.mask)
            return
        masked_image.image.array[found.mask] = found.replacement
        masked_image.mask.array[found.mask] |= masked_image.mask.getPlaneBitMask(INTERPOLATED)

    def _fill(self, masked_image: Any, holes: np.ndarray) -> None:
        """Fill holes in an image from what is around them."""
        image = masked_image.image.array
        unusable = _any_plane(masked_image.mask, ("BAD", "SAT", "NO_DATA", COSMIC_RAY))
        image[holes] = interpolate(image, holes, self._fallback(image), unusable)
        masked_image.mask.array[holes] |= masked_image.mask.getPlaneBitMask(INTERPOLATED)

    def _fallback(self, image: np.ndarray) -> float:
        """Return the value of pixels that no good pixel surrounds."""
        config = self.config.interp
        if not config.useFallbackValueAtEdge:
            return 0.0
        finite = image[np.isfinite(image)].astype(np.float64)
        if config.fallbackValueType == "USER":
            value = float(config.fallbackUserValue)
        elif finite.size == 0:
            value = 0.0
        else:
            value = float(STATISTICS[config.fallbackValueType](finite))
        return value if config.negativeFallbackAllowed or math.isnan(value) else max(value, 0.0)


def retarget_repair(field: Any) -> None:
    """Put `CosmicRayRepairTask` in the place of another repair, as it was set.

    To retarget a field of a configuration alone forgets what was set before,
    by the camera's package or by a pipeline: ``cosmicray.keepCRs`` among it.

    Parameters
    ----------
    field : `lsst.pex.config.ConfigurableInstance`
        Such as ``psf_repair`` of ``calibrateImage``; changed in place.
    """
    if issubclass(field.target, CosmicRayRepairTask):
        return
    was, usual = field.value.toDict(), type(field.value)().toDict()
    field.retarget(CosmicRayRepairTask)
    _copy_settings(was, usual, field.value)


def _copy_settings(was: Mapping[str, Any], usual: Mapping[str, Any], config: Config) -> None:
    """Set fields that had other values than usual; where there is no field of
    that name, that is an error.
    """
    for name, value in was.items():
        if isinstance(value, Mapping) and hasattr(config, name):
            _copy_settings(value, usual.get(name, {}), getattr(config, name))
        elif value != usual.get(name):
            setattr(config, name, value)


def _any_plane(mask: Any, names: Iterable[str]) -> np.ndarray:
    """Return the union of the mask planes that there are."""
    union = np.zeros(mask.array.shape, dtype=bool)
    for name, bit in mask.getMaskPlaneDict().items():
        if name in names:
            union |= ((mask.array >> bit) & 1) != 0
    return union
