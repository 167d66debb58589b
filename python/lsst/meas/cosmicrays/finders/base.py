# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every cosmic-ray finder is: a `WorkingImage` in, a mask out."""

from __future__ import annotations

__all__ = [
    "AlreadyInterpolatedError",
    "CosmicRayFinderConfig",
    "CosmicRayFinderError",
    "CosmicRayFinderTask",
    "EngineNotAvailableError",
    "Finding",
    "NoUsablePixelsError",
    "TooManyCosmicRaysError",
    "cosmicRayFinderRegistry",
]

import abc
import dataclasses
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import scipy.ndimage

from lsst.pex.config import ChoiceField, Config, Field, ListField, Registry, makeRegistry
from lsst.pipe.base import AlgorithmError, Struct, Task

from ..documentation import DocumentedError, documented_fields
from ..images import WorkingImage
from .compilation import watch_compilation

EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


class CosmicRayFinderError(DocumentedError, AlgorithmError):
    """Raised when a finder cannot make a mask of an image.

    Parameters
    ----------
    message : `str`
        What was wrong, where, and what to do.
    **metadata : `int`, `float` or `str`
        Numbers that say more.
    """

    def __init__(self, message: str, **metadata: int | float | str) -> None:
        super().__init__(message)
        self._metadata = metadata

    @property
    def metadata(self) -> dict[str, Any]:
        """Numbers that say more (`dict`)."""
        return dict(self._metadata)


class TooManyCosmicRaysError(CosmicRayFinderError):
    """Raised when more pixels pass than a finder was allowed to take."""


class AlreadyInterpolatedError(CosmicRayFinderError):
    """Raised when the cosmic rays of an image are no longer in its pixels."""


class NoUsablePixelsError(CosmicRayFinderError):
    """Raised when every pixel of an image is masked or not a number."""


class EngineNotAvailableError(DocumentedError, ImportError):
    """Raised when the program that a finder is to run is not installed.

    This is no `~lsst.pipe.base.AlgorithmError`: the installation is at
    fault, not the image, so the quantum fails.
    """


@documented_fields("finders")
class CosmicRayFinderConfig(Config):
    """Configuration that every finder shares."""

    engine = ChoiceField[str](
        doc="Which program computes the mask.",
        default="fast",
        optional=False,
        allowed={
            "fast": "This package's own engine.",
            "reference": "The original program, where it is installed.",
        },
    )
    unit = ChoiceField[str](
        doc="Unit in which the finder sees the pixels, and its thresholds are meant.",
        default="electron",
        optional=False,
        allowed={
            "electron": "Electrons, whatever the unit of the stored image.",
            "native": "The stored numbers as they are, as lsst.pipe.tasks.repair.RepairTask does.",
        },
    )
    threads = Field[int](
        doc="Threads that the fast engine may use.  More than one pays where detectors are not processed "
        "side by side.",
        default=1,
        check=lambda value: value >= 1,
    )
    badPlanes = ListField[str](
        doc="Mask planes whose pixels are never cosmic rays.  Every one must exist in the image.",
        default=["BAD", "SATURATED", "INTERPOLATED", "NO_DATA"],
    )


@dataclasses.dataclass(frozen=True)
class Finding:
    """What the algorithm of a finder returns."""

    mask: np.ndarray
    """Cosmic-ray pixels (bool, shape (ny, nx))."""

    probability: np.ndarray | None = None
    """Probability that a pixel is a cosmic ray (float32, (ny, nx)), for the
    finders that have one.
    """


class CosmicRayFinderTask(Task, abc.ABC):
    """Decide which pixels of an image are cosmic rays.

    A finder implements `find`; `run` checks the image, keeps the time, and
    sees to what must hold for every mask.
    """

    ConfigClass: ClassVar[type[CosmicRayFinderConfig]] = CosmicRayFinderConfig
    _DefaultName: ClassVar[str] = "cosmicRayFinder"
    config: CosmicRayFinderConfig

    needs_masks: ClassVar[bool] = False
    """Does the finder work on what others found?  Then it runs after them."""

    late_fields: ClassVar[frozenset[str]] = frozenset()
    """Numeric config fields on which `prepare` does not depend."""

    def run(self, image: WorkingImage, masks: Mapping[str, np.ndarray | None] | None = None) -> Struct:
        """Find the cosmic rays of one image.

        Parameters
        ----------
        image : `WorkingImage`
            The image; it is not changed.
        masks : `~collections.abc.Mapping`, optional
            What other finders found in it, by the name of the detection:
            bool, shape (ny, nx), or `None` where one failed.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``mask`` (bool, shape (ny, nx)), ``probability`` (float32
            of that shape, or `None`), ``n_pixels``, ``n_cosmic_rays``
            (8-connected), and ``wall_time`` (seconds, without what the
            first call in an installation takes to compile).

        Raises
        ------
        CosmicRayFinderError
            Raised if no mask can be made.
        UnknownMaskPlaneError
            Raised if the config names a mask plane that the image lacks.
        """
        started = time.perf_counter()
        self.check(image)
        in_unit = image.in_stored_unit() if self.config.unit == "native" else image
        with watch_compilation() as compilation:
            finding = self.find_given(in_unit, masks or {})
        # What was not measured cannot be a detection.
        mask = finding.mask & ~self.unmeasured(image)
        _, n_cosmic_rays = scipy.ndimage.label(mask, structure=EIGHT_CONNECTED)
        result = Struct(
            mask=mask,
            probability=finding.probability,
            n_pixels=int(np.count_nonzero(mask)),
            n_cosmic_rays=int(n_cosmic_rays),
            wall_time=time.perf_counter() - started - compilation.seconds,
        )
        self.log.info(
            "%d cosmic rays in %d pixels, %.2f s.", result.n_cosmic_rays, result.n_pixels, result.wall_time
        )
        if compilation.seconds > 1.0:
            self.log.info("Compiling took %.0f s more, once.", compilation.seconds)
        return result

    @abc.abstractmethod
    def find(self, image: WorkingImage) -> Finding:
        """Apply the algorithm.

        Parameters
        ----------
        image : `WorkingImage`
            The image, in the unit of the config.

        Returns
        -------
        finding : `Finding`
            The mask, and a probability if there is one.
        """
        raise NotImplementedError

    def prepare(self, image: WorkingImage) -> Any:
        """Compute what a scan of one of ``late_fields`` needs only once.

        Parameters
        ----------
        image : `WorkingImage`
            The image, in the unit of the config.

        Returns
        -------
        prepared : `object`
            What `find_prepared` takes.
        """
        return None

    def find_prepared(self, image: WorkingImage, prepared: Any) -> Finding:
        """Apply the algorithm to what was prepared.

        Parameters
        ----------
        image : `WorkingImage`
            The image, in the unit of the config.
        prepared : `object`
            What `prepare` returned for this image, here or in a finder whose
            config differs from this one's in ``late_fields`` only.

        Returns
        -------
        finding : `Finding`
            What `find` returns.
        """
        return self.find(image)

    def find_given(self, image: WorkingImage, masks: Mapping[str, np.ndarray | None]) -> Finding:
        """Apply the algorithm where the masks of other finders are known.

        Parameters
        ----------
        image : `WorkingImage`
            The image, in the unit of the config.
        masks : `~collections.abc.Mapping`
            Masks of other finders by the name of the detection, `None` where
            one failed.  They matter only to a finder that ``needs_masks``.

        Returns
        -------
        finding : `Finding`
            The mask, and a probability if there is one.
        """
        return self.find(image)

    def check(self, image: WorkingImage) -> None:
        """Refuse an image on which no finder can work.

        Parameters
        ----------
        image : `WorkingImage`
            The image as it was read.

        Raises
        ------
        AlreadyInterpolatedError
            Raised if cosmic rays were interpolated over.
        NoUsablePixelsError
            Raised if nothing is left that is not bad.
        """
        gone = int(np.count_nonzero(self._interpolated_cosmic_rays(image)))
        if gone > 0:
            raise AlreadyInterpolatedError(
                f"{gone} pixels are both COSMIC_RAY and INTERPOLATED, for no other reason: the cosmic rays "
                "are already interpolated: use mask_plane, or reprocess with keepCRs.",
                n_pixels=gone,
            )
        if np.all(self.bad_pixels(image)):
            raise NoUsablePixelsError(
                f"All {image.image.size} pixels are in the planes {', '.join(self.config.badPlanes)} or have "
                "no finite value and positive variance: there is nothing to search.",
                n_pixels=image.image.size,
            )

    def _interpolated_cosmic_rays(self, image: WorkingImage) -> np.ndarray:
        """Return the pixels that were interpolated for being cosmic rays.

        Where a cosmic ray crosses a bad column, its pixels were interpolated
        for that: they are in another one of the ``badPlanes``, or were no
        numbers, over which ``lsst.ip.isr`` interpolates, too.
        """
        if not {"COSMIC_RAY", "INTERPOLATED"} <= set(image.planes):
            return np.zeros(image.image.shape, dtype=bool)
        other_reasons = [name for name in self.config.badPlanes if name != "INTERPOLATED"]
        other_reasons += [name for name in ("UNMASKED_NAN",) if name in image.planes]
        both = image.planes["COSMIC_RAY"] & image.planes["INTERPOLATED"]
        return both & ~image.any_plane(other_reasons)

    def unmeasured(self, image: WorkingImage) -> np.ndarray:
        """Return the pixels without a usable measurement.

        Parameters
        ----------
        image : `WorkingImage`
            The image.

        Returns
        -------
        unmeasured : `numpy.ndarray` [`bool`]
            Pixels whose value is not finite, or whose variance is not finite
            or not positive; shape (ny, nx).
        """
        return image.not_finite()

    def bad_pixels(self, image: WorkingImage) -> np.ndarray:
        """Return the pixels that the finder must not use.

        Parameters
        ----------
        image : `WorkingImage`
            The image.

        Returns
        -------
        bad : `numpy.ndarray` [`bool`]
            The ``badPlanes``, and what is `unmeasured`; shape (ny, nx).
        """
        return image.any_plane(self.config.badPlanes) | self.unmeasured(image)


cosmicRayFinderRegistry: Registry = makeRegistry(
    "Cosmic-ray finders: each is a CosmicRayFinderTask.", CosmicRayFinderConfig
)
