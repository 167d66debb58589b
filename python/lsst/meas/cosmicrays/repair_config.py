# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configuration of the task that takes cosmic rays out of an exposure.

Names and defaults are those of ``lsst.pipe.tasks.repair.RepairConfig`` and
what is in it, so that overrides written for that one work here.
"""

from __future__ import annotations

__all__ = [
    "CosmicRayRepairConfig",
    "RepairBackgroundConfig",
    "RepairCosmicRayConfig",
    "RepairInterpolationConfig",
]

from lsst.pex.config import ChoiceField, Config, ConfigField, Field, ListField

from .documentation import documented, documented_fields
from .finders import cosmicRayFinderRegistry
from .images import WorkingImageConfig

_PAGE = "tasks/lsst.meas.cosmicrays.repair.CosmicRayRepairTask"
THRESHOLDS = ("nCrPixelMax", "minSigma", "min_DN", "cond3_fac", "cond3_fac2", "niteration")


def _is_off(value: object) -> bool:
    """Accept only that something which is not offered is off."""
    return not value


@documented_fields(_PAGE)
class RepairBackgroundConfig(Config):
    """The background under which cosmic rays are found.

    The fields are those of ``SubtractBackgroundConfig``.  Fitting a polynomial
    to the bins, filtering them, and flat-field ratios are not offered.
    """

    statisticsProperty = ChoiceField[str](
        doc="What stands for a bin.",
        default="MEDIAN",
        optional=False,
        allowed={"MEANCLIP": "Clipped mean.", "MEAN": "Mean.", "MEDIAN": "Median."},
    )
    undersampleStyle = ChoiceField[str](
        doc="What to do where there are too few bins.",
        default="REDUCE_INTERP_ORDER",
        optional=False,
        allowed={"REDUCE_INTERP_ORDER": "Interpolate with a lower order."},
    )
    binSize = Field[int](
        doc="Side of a bin (pixels).  With one bin or less in the image, the background is the median of "
        "the image.",
        default=100000,
        check=lambda value: value >= 1,
    )
    binSizeX = Field[int](doc="Width of a bin; 0: binSize.", default=0, check=lambda value: value >= 0)
    binSizeY = Field[int](doc="Height of a bin; 0: binSize.", default=0, check=lambda value: value >= 0)
    algorithm = ChoiceField[str](
        doc="Interpolation between bins.",
        default="AKIMA_SPLINE",
        allowed={
            "CONSTANT": "The value of the nearest bin.",
            "LINEAR": "Linear.",
            "NATURAL_SPLINE": "Cubic spline.",
            "AKIMA_SPLINE": "Cubic spline that does not ring at outliers.",
        },
    )
    ignoredPixelMask = ListField[str](
        doc="Mask planes to leave out, under the names they have in the exposure.  Planes that it lacks do "
        "not matter.",
        default=["BAD", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "NO_DATA"],
        itemCheck=lambda name: name.strip() != "",
    )
    isNanSafe = Field[bool](doc="Has no effect: NaN is always left out.", default=False)
    useApprox = Field[bool](doc="Fit a polynomial to the bins?  Not offered.", default=False, check=_is_off)
    approxOrderX = Field[int](doc="Has no effect without useApprox.", default=6)
    approxOrderY = Field[int](doc="Has no effect without useApprox.", default=-1)
    weighting = Field[bool](doc="Has no effect without useApprox.", default=True)
    doApplyFlatBackgroundRatio = Field[bool](
        doc="Divide by a ratio of flat fields?  Not offered.", default=False, check=_is_off
    )
    doFilterSuperPixels = Field[bool](doc="Filter the bins?  Not offered.", default=False, check=_is_off)
    superPixelFilterSize = Field[int](doc="Has no effect without doFilterSuperPixels.", default=3)


@documented_fields(_PAGE)
class RepairCosmicRayConfig(Config):
    """How cosmic rays are found, and whether they stay.

    The fields are those of ``FindCosmicRaysConfig``.
    """

    nCrPixelMax = Field[int](
        doc="Most cosmic-ray pixels that an exposure may have, whatever the finder.",
        default=1000000,
        check=lambda value: value >= 0,
    )
    minSigma = Field[float](
        doc="A cosmic ray stands this many sigma above the sky (finder 'morphological').", default=6.0
    )
    min_DN = Field[float](
        doc="A cosmic ray has more than this much charge (finder 'morphological').", default=150.0
    )
    cond3_fac = Field[float](
        doc="Sigmas by which a pixel must exceed what the PSF allows (finder 'morphological').", default=2.0
    )
    cond3_fac2 = Field[float](
        doc="Factor on the contrast of the PSF in that (finder 'morphological').", default=0.35
    )
    niteration = Field[int](
        doc="How often to look for more pixels (finder 'morphological').",
        default=6,
        check=lambda value: value >= 0,
    )
    keepCRs = Field[bool](doc="Only mark cosmic rays, and leave their pixels as they are?", default=False)
    background = ConfigField[RepairBackgroundConfig](doc="Background under which cosmic rays are found.")


@documented_fields(_PAGE)
class RepairModelPsfConfig(Config):
    """A PSF that the repair of an exposure, which has its own, never needs.

    It is here so that overrides of its fields are accepted.
    """

    size = Field[int](doc="Has no effect.", default=None, optional=True)
    sizeFactor = Field[float](doc="Has no effect.", default=3.0)
    minSize = Field[int](doc="Has no effect.", default=5, optional=True)
    maxSize = Field[int](doc="Has no effect.", default=None, optional=True)
    defaultFwhm = Field[float](doc="Has no effect.", default=3.0)
    addWing = Field[bool](doc="Has no effect.", default=True)
    wingFwhmFactor = Field[float](doc="Has no effect.", default=2.5)
    wingAmplitude = Field[float](doc="Has no effect.", default=0.1)


@documented_fields(_PAGE)
class RepairInterpolationConfig(Config):
    """How pixels are filled from those around them.

    The fields are those of ``InterpImageConfig``.
    """

    modelPsf = ConfigField[RepairModelPsfConfig](doc="Has no effect: the exposure has a PSF.")
    useFallbackValueAtEdge = Field[bool](
        doc="Give pixels that no good pixel surrounds the fallback value?  Otherwise they get 0.",
        default=True,
    )
    fallbackValueType = ChoiceField[str](
        doc="What that value is.",
        default="MEANCLIP",
        optional=False,
        allowed={
            "MEAN": "Mean of the image.",
            "MEDIAN": "Median of the image.",
            "MEANCLIP": "Clipped mean of the image.",
            "USER": "fallbackUserValue.",
        },
    )
    fallbackUserValue = Field[float](doc="Fallback value of type USER.", default=0.0)
    negativeFallbackAllowed = Field[bool](doc="May the fallback value be negative?", default=True)
    transpose = Field[int](doc="Has no effect: interpolation goes along rows and columns alike.", default=0)

    @documented(_PAGE)
    def validate(self) -> None:
        super().validate()
        if (
            self.useFallbackValueAtEdge
            and self.fallbackValueType == "USER"
            and self.fallbackUserValue < 0.0
            and not self.negativeFallbackAllowed
        ):
            raise ValueError(
                f"fallbackUserValue is {self.fallbackUserValue}, and negativeFallbackAllowed is off."
            )


@documented_fields(_PAGE)
class CosmicRayRepairConfig(Config):
    """Configuration of `CosmicRayRepairTask`.

    All but ``finder``, ``fill`` and ``reading`` is as in
    ``lsst.pipe.tasks.repair.RepairConfig``.
    """

    doInterpolate = Field[bool](doc="Interpolate over defects, where some are given?", default=True)
    doCosmicRay = Field[bool](doc="Find cosmic rays?", default=True)
    cosmicray = ConfigField[RepairCosmicRayConfig](doc="How cosmic rays are found, and whether they stay.")
    interp = ConfigField[RepairInterpolationConfig](doc="How pixels are filled from those around them.")
    finder = cosmicRayFinderRegistry.makeField(
        doc="The finder.  Thresholds of 'morphological' are set in cosmicray.", default="morphological"
    )
    fill = ChoiceField[str](
        doc="What replaces cosmic rays.  Not set: 'sky' with the finder 'morphological', so that the pixels "
        "are those of RepairTask, and 'neighbors' with any other.",
        default=None,
        optional=True,
        allowed={
            "sky": "The level of the sky and its noise, as RepairTask has it (finder 'morphological').",
            "neighbors": "What the pixels around them say.",
        },
    )
    reading = ConfigField[WorkingImageConfig](doc="What to assume where the exposure does not say.")

    def setDefaults(self) -> None:
        super().setDefaults()
        self.finder["morphological"].unit = "native"

    @documented(_PAGE)
    def validate(self) -> None:
        super().validate()
        name = self.finder.name
        if self.finder.target.needs_masks:
            raise ValueError(f"The finder {name!r} works on masks of other finders: it cannot repair.")
        if name == "morphological":
            thresholds, usual = self.finder.active, type(self.finder.active)()
            for field in THRESHOLDS:
                if getattr(thresholds, field) != getattr(usual, field):
                    raise ValueError(
                        f"finder['morphological'].{field} is not used in a repair: set cosmicray.{field}."
                    )
        if self.fill == "sky" and not self._is_original():
            raise ValueError(f"fill 'sky' goes only with 'morphological' and its fast engine, not {name!r}.")

    def fills_with_sky(self) -> bool:
        """Return whether cosmic rays are replaced as RepairTask does.

        Returns
        -------
        sky : `bool`
            By the level of the sky and noise, rather than from neighbours.
        """
        return self.fill != "neighbors" and self._is_original()

    def _is_original(self) -> bool:
        """Return whether cosmic rays are found as RepairTask finds them."""
        return bool(self.finder.name == "morphological" and self.finder.active.engine == "fast")
