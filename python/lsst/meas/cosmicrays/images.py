# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one door for pixels: whatever a Butler returned, as plain arrays.

`lsst.images` types and `lsst.afw.image` exposures come in; a `WorkingImage`
goes out, in electrons, with mask planes under their `lsst.images` names.
"""

from __future__ import annotations

__all__ = [
    "ImageReadError",
    "MaskPlanes",
    "MissingPsfError",
    "NotAnImageError",
    "UnknownMaskPlaneError",
    "UnknownUnitError",
    "WorkingImage",
    "WorkingImageConfig",
    "make_cosmic_ray_mask",
    "read_image",
    "read_mask",
    "read_plane_names",
]

import dataclasses
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import astropy.units
import numpy as np

from lsst.images import Box, Mask, MaskedImage, MaskPlane, MaskSchema, VisitImage
from lsst.images import get_legacy_difference_image_mask_planes as difference_planes
from lsst.images import get_legacy_optional_mask_planes as optional_planes
from lsst.images import get_legacy_template_mask_planes as template_planes
from lsst.pex.config import Config, Field

from .documentation import DocumentedError, documented_fields
from .engines.psf import gaussian_fwhm, gaussian_kernel

_LOG = logging.getLogger(__name__)

_ISR_UNIT = "LSST ISR UNITS"
"""Where ``lsst.ip.isr`` writes the unit of what it made."""

COSMIC_RAY = MaskPlane("COSMIC_RAY", "A cosmic ray affected this pixel.")

_UNIT_ALIASES = {
    **dict.fromkeys(("electrons", "e-", "e"), "electron"),
    **dict.fromkeys(("adus", "count", "counts", "ct", "dn"), "adu"),
}


class ImageReadError(DocumentedError, RuntimeError):
    """Raised when an image lacks something that a finder cannot do without."""


class NotAnImageError(DocumentedError, TypeError):
    """Raised when what should be an image is none."""


class UnknownUnitError(ImageReadError):
    """Raised when the pixels of an image cannot be turned into electrons."""


class MissingPsfError(ImageReadError):
    """Raised when an image has no usable PSF and none is configured."""


class UnknownMaskPlaneError(ImageReadError):
    """Raised when a mask plane named in a config is not in the image."""


@documented_fields("running-on-hsc-and-lsstcam")
class WorkingImageConfig(Config):
    """What to assume where an image does not say."""

    unit = Field[str](
        doc="Unit of the pixels of an image that names none: 'electron', 'adu' or 'nJy'.",
        default=None,
        optional=True,
    )
    gain = Field[float](
        doc="Gain (electron/adu) of an image without a detector; overrides nothing that the image knows.",
        default=None,
        optional=True,
    )
    electronsPerUnit = Field[float](
        doc="Electrons per unit of the stored pixels.  Where set, it is used instead of what the image says.",
        default=None,
        optional=True,
    )
    psfFwhm = Field[float](
        doc="FWHM (pixels) of the Gaussian that stands in for a PSF that is missing or cannot be evaluated.",
        default=None,
        optional=True,
    )
    pixelSize = Field[float](
        doc="Side of a pixel (mm) where the image has no detector.",
        default=None,
        optional=True,
    )
    exposureTime = Field[float](
        doc="Exposure time (s) where the image does not carry one.",
        default=None,
        optional=True,
    )

    def validate(self) -> None:
        super().validate()
        for name in ("gain", "electronsPerUnit", "psfFwhm", "pixelSize", "exposureTime"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0.0):
                raise ValueError(f"{name} must be positive, got {value}.")


class MaskPlanes(Mapping[str, np.ndarray]):
    """Mask planes by name, each computed when it is asked for.

    Parameters
    ----------
    names : `~collections.abc.Iterable` [ `str` ]
        Names of the planes.
    read : `~collections.abc.Callable`
        Takes a name and returns the plane as a bool array.
    """

    def __init__(self, names: Any, read: Callable[[str], np.ndarray]) -> None:
        self._names = tuple(names)
        self._read = read

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise UnknownMaskPlaneError(
                f"The image has no mask plane {name!r}; it has {', '.join(sorted(self._names)) or 'none'}. "
                "Name planes of the image in the config."
            )
        return self._read(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclasses.dataclass(frozen=True)
class WorkingImage:
    """A single-detector image as plain arrays and numbers.

    Arrays may share memory with the object they were read from: nothing that
    takes a `WorkingImage` may write to them.
    """

    image: np.ndarray
    """Pixel values, in electrons (float32, shape (ny, nx))."""

    variance: np.ndarray
    """Variance of each pixel, in electrons squared (float32, (ny, nx))."""

    planes: Mapping[str, np.ndarray]
    """Mask planes under their `lsst.images` names (bool, (ny, nx))."""

    bbox: Box
    """Bounding box in the pixel coordinates of the detector."""

    psf_kernel: np.ndarray
    """PSF at its average position (float64, odd sides, centred, sum 1)."""

    psf_fwhm: float
    """Full width at half maximum of the PSF, in pixels."""

    exposure_time: float | None = None
    """Exposure time, in seconds, where known."""

    pixel_size: float | None = None
    """Side of a pixel, in mm, where known."""

    gain: float | None = None
    """Electrons per adu, where known."""

    unit: str = "electron"
    """Unit of the pixels as they were stored."""

    scale: float = 1.0
    """Electrons per stored unit (at the middle of the image where the
    calibration varies).
    """

    stored: tuple[np.ndarray, np.ndarray] | None = None
    """Image and variance as they were stored, where that is not electrons
    (float32, (ny, nx) each).
    """

    def in_stored_unit(self) -> WorkingImage:
        """Return the same image with its pixels as they were stored.

        Returns
        -------
        working : `WorkingImage`
            With ``image`` and ``variance`` in ``unit`` and ``scale`` 1.
        """
        if self.stored is None:
            return self
        image, variance = self.stored
        return dataclasses.replace(self, image=image, variance=variance, scale=1.0, stored=None)

    def any_plane(self, names: Any) -> np.ndarray:
        """Return the union of mask planes.

        Parameters
        ----------
        names : `~collections.abc.Iterable` [ `str` ]
            Names of planes.

        Returns
        -------
        union : `numpy.ndarray` [`bool`]
            Shape (ny, nx).

        Raises
        ------
        UnknownMaskPlaneError
            Raised if the image does not have one of them.
        """
        union = np.zeros(self.image.shape, dtype=bool)
        for name in names:
            union |= self.planes[name]
        return union

    def not_finite(self) -> np.ndarray:
        """Return which pixels have no usable value or variance.

        Returns
        -------
        unusable : `numpy.ndarray` [`bool`]
            True where the value is not finite, or the variance is not
            finite or not positive; shape (ny, nx).
        """
        return ~(np.isfinite(self.image) & np.isfinite(self.variance) & (self.variance > 0.0))


def read_image(source: Any, config: WorkingImageConfig | None = None) -> WorkingImage:
    """Turn an image from a Butler into arrays in electrons.

    Parameters
    ----------
    source : `lsst.images.MaskedImage` or `lsst.afw.image.Exposure`
        The image; `lsst.images.VisitImage` and
        `lsst.images.DifferenceImage` are masked images.
    config : `WorkingImageConfig`, optional
        What to assume where the image does not say.

    Returns
    -------
    working : `WorkingImage`
        The pixels and what is known of them.

    Raises
    ------
    ImageReadError
        Raised if the image has no unit, gain or calibration from which
        electrons follow, or no PSF, and ``config`` does not help.
    NotAnImageError
        Raised if ``source`` is no image.
    """
    config = WorkingImageConfig() if config is None else config
    if isinstance(source, MaskedImage):
        return _read_masked_image(source, config)
    if hasattr(source, "getMaskedImage") and hasattr(source, "getPsf"):
        return _read_exposure(source, config)
    raise NotAnImageError(
        f"Cannot read an image from a {type(source).__name__}: expected an lsst.images.MaskedImage, "
        "VisitImage or DifferenceImage, or an lsst.afw.image.Exposure."
    )


def read_mask(source: Any, plane: str = COSMIC_RAY.name) -> np.ndarray:
    """Return one plane of a mask, or of the mask of an image.

    Parameters
    ----------
    source : `lsst.images.Mask`, `lsst.images.MaskedImage` or afw equivalent
        Where to look.
    plane : `str`, optional
        `lsst.images` name of the plane.

    Returns
    -------
    mask : `numpy.ndarray` [`bool`]
        Shape (ny, nx).

    Raises
    ------
    UnknownMaskPlaneError
        Raised if there is no such plane.
    """
    return _mask_planes(source)[plane]


def read_plane_names(source: Any) -> set[str]:
    """Return the `lsst.images` names of the planes of a mask or an image.

    Parameters
    ----------
    source : `lsst.images.Mask`, `lsst.images.MaskedImage` or afw equivalent
        Where to look.

    Returns
    -------
    names : `set` [`str`]
        Names of the planes.
    """
    return set(_mask_planes(source))


def make_cosmic_ray_mask(mask: np.ndarray, bbox: Box) -> Mask:
    """Make the dataset that a detection writes: one plane, COSMIC_RAY.

    Parameters
    ----------
    mask : `numpy.ndarray` [`bool`]
        Cosmic-ray pixels, shape (ny, nx).
    bbox : `lsst.images.Box`
        Where those pixels are, of the same shape.

    Returns
    -------
    dataset : `lsst.images.Mask`
        For storage class ``MaskV2``.
    """
    result = Mask(schema=MaskSchema([COSMIC_RAY]), bbox=bbox)
    result.set(COSMIC_RAY.name, mask)
    return result


def _read_masked_image(source: MaskedImage, config: WorkingImageConfig) -> WorkingImage:
    """Read any `lsst.images` masked image, with what its type knows."""
    visit_image = source if isinstance(source, VisitImage) else None
    detector = visit_image.detector if visit_image is not None else None
    amplifiers = detector.amplifiers if detector is not None else []
    calibrations = [amplifier.nominal_calibrations for amplifier in amplifiers]
    gain = _mean_gain([calibration.gain for calibration in calibrations if calibration is not None])
    scaling = visit_image.photometric_scaling if visit_image is not None else None
    exposure_time = visit_image.obs_info.exposure_time if visit_image is not None else None
    middle_x, middle_y = _middle(source.bbox)

    def evaluate_psf() -> np.ndarray:
        if visit_image is None:
            raise ValueError(f"a {type(source).__name__} carries none")
        return visit_image.psf.compute_kernel_image(x=middle_x, y=middle_y).array

    unit = _unit_name(source.unit, config)
    gain = gain if gain is not None else config.gain
    scale: float | np.ndarray
    configured: float | None = config.electronsPerUnit
    if configured is not None or scaling is None or unit in ("electron", "adu"):
        scale = _scale_without_calibration(unit, gain, source.image.array, source.variance.array, config)
    else:
        scale = _scale_from_calibration(source, scaling, unit, gain)
    return _assemble(
        image=source.image.array,
        variance=source.variance.array,
        planes=_mask_planes(source),
        bbox=source.bbox,
        psf=_psf_or_fallback(evaluate_psf, config),
        exposure_time=float(exposure_time.to_value("s"))
        if exposure_time is not None
        else config.exposureTime,
        pixel_size=float(detector.pixel_size) if detector else config.pixelSize,
        gain=gain,
        unit=unit,
        scale=scale,
    )


def _read_exposure(source: Any, config: WorkingImageConfig) -> WorkingImage:
    """Read an afw exposure by its arrays, planes, PSF and detector."""
    masked_image = source.getMaskedImage()
    box = source.getBBox()
    bbox = Box.factory[box.getMinY() : box.getMaxY() + 1, box.getMinX() : box.getMaxX() + 1]
    detector = source.getDetector()
    visit_info = source.getInfo().getVisitInfo()
    exposure_time = visit_info.getExposureTime() if visit_info is not None else None
    image, variance = masked_image.image.array, masked_image.variance.array

    def evaluate_psf() -> np.ndarray:
        psf = source.getPsf()
        if psf is None:
            raise ValueError("the exposure carries none")
        return psf.computeKernelImage(psf.getAveragePosition()).array

    gain = _mean_gain([amplifier.getGain() for amplifier in detector] if detector is not None else [])
    gain = gain if gain is not None else config.gain
    unit = _unit_name(_stored_unit(source.getMetadata()), config)
    return _assemble(
        image=image,
        variance=variance,
        planes=_mask_planes(source),
        bbox=bbox,
        psf=_psf_or_fallback(evaluate_psf, config),
        exposure_time=(
            float(exposure_time)
            if exposure_time is not None and math.isfinite(exposure_time)
            else config.exposureTime
        ),
        pixel_size=float(detector.getPixelSize()[0]) if detector is not None else config.pixelSize,
        gain=gain,
        unit=unit,
        scale=_scale_without_calibration(unit, gain, image, variance, config),
    )


def _stored_unit(metadata: Any) -> Any:
    """Return the unit that the metadata of an afw exposure name, if any.

    Instrument signature removal turns adu into electrons and notes that under
    a name of its own; BUNIT is missing then, or still that of the raw file.
    Whatever calibrates pixels later sets BUNIT.
    """
    stored, after_isr = (
        metadata[key] if metadata is not None and key in metadata else None for key in ("BUNIT", _ISR_UNIT)
    )
    if after_isr is None or (stored is not None and _known_unit(stored) not in ("", "adu")):
        return stored
    return after_isr


def _assemble(
    *,
    image: np.ndarray,
    variance: np.ndarray,
    planes: MaskPlanes,
    bbox: Box,
    psf: tuple[np.ndarray, float],
    exposure_time: float | None,
    pixel_size: float | None,
    gain: float | None,
    unit: str,
    scale: float | np.ndarray,
) -> WorkingImage:
    """Scale the pixels to electrons and put everything together."""
    image = np.ascontiguousarray(image, dtype=np.float32)
    variance = np.ascontiguousarray(variance, dtype=np.float32)
    stored = None
    if not (np.isscalar(scale) and scale == 1.0):
        stored = (image, variance)
        factor = np.asarray(scale, dtype=np.float64)
        image = (image * factor).astype(np.float32)
        variance = (variance * factor**2).astype(np.float32)
    middle = (
        float(scale) if np.isscalar(scale) else float(np.asarray(scale)[tuple(n // 2 for n in image.shape)])
    )
    kernel, fwhm = psf
    return WorkingImage(
        image=image,
        variance=variance,
        planes=planes,
        bbox=bbox,
        psf_kernel=kernel,
        psf_fwhm=fwhm,
        exposure_time=exposure_time,
        pixel_size=pixel_size,
        gain=gain,
        unit=unit,
        scale=float(middle),
        stored=stored,
    )


def _mask_planes(source: Any) -> MaskPlanes:
    """Find the mask planes of any mask or image, under their new names."""
    if isinstance(source, MaskedImage):
        source = source.mask
    if isinstance(source, Mask):
        return MaskPlanes(source.schema.names, source.get)
    if hasattr(source, "getMaskedImage"):
        source = source.getMaskedImage()
    legacy = source.mask if hasattr(source, "mask") else source
    renamed = {**template_planes(), **difference_planes(), **optional_planes()}
    bits = {
        renamed[name].name if name in renamed else name: bit
        for name, bit in legacy.getMaskPlaneDict().items()
    }
    array = legacy.array
    # The last of 32 planes is the sign of a pixel.
    return MaskPlanes(bits, lambda name: ((array >> bits[name]) & 1) != 0)


def _psf_or_fallback(
    evaluate: Callable[[], np.ndarray], config: WorkingImageConfig
) -> tuple[np.ndarray, float]:
    """Return the PSF's kernel and FWHM, or those of a configured Gaussian."""
    try:
        kernel = np.asarray(evaluate(), dtype=np.float64)
        if kernel.ndim != 2 or kernel.shape[0] % 2 == 0 or kernel.shape[1] % 2 == 0:
            raise ValueError(f"its kernel has the shape {kernel.shape}, not two odd sides")
        total = kernel.sum()
        if not (math.isfinite(total) and total > 0.0):
            raise ValueError(f"its kernel has the sum {total}")
        if abs(total - 1.0) > 1e-12:
            kernel = kernel / total
        return kernel, gaussian_fwhm(kernel)
    except Exception as error:  # PSF models raise anything.
        if config.psfFwhm is None:
            raise MissingPsfError(
                f"The PSF of the image cannot be evaluated ({error}); set psfFwhm (pixels) in the config "
                "to use a Gaussian instead."
            ) from error
        _LOG.warning(
            "The PSF of the image cannot be evaluated (%s): using a Gaussian of FWHM %.2f pixels.",
            error,
            config.psfFwhm,
        )
        return gaussian_kernel(config.psfFwhm), config.psfFwhm


def _unit_name(unit: Any, config: WorkingImageConfig) -> str:
    """Return ``electron``, ``adu``, ``nJy``, or the stored unit's own name."""
    if unit is None or str(unit) == "":
        configured: str | None = config.unit
        if configured is None and config.electronsPerUnit is None:
            raise UnknownUnitError(
                "The image names no unit (BUNIT) for its pixels; set unit ('electron', 'adu' or 'nJy') "
                "in the config."
            )
        unit = configured or "unknown"
    return _known_unit(unit)


def _known_unit(unit: Any) -> str:
    """Return one spelling of a unit, whatever its own."""
    name = str(unit).strip()
    name = _UNIT_ALIASES.get(name.lower(), name)
    return next((known for known in ("electron", "adu", "nJy") if name.lower() == known.lower()), name)


def _scale_without_calibration(
    unit: str, gain: float | None, image: np.ndarray, variance: np.ndarray, config: WorkingImageConfig
) -> float:
    """Return electrons per stored unit, from the config, gain or noise."""
    configured: float | None = config.electronsPerUnit
    if configured is not None:
        return configured
    if unit == "electron":
        return 1.0
    if unit == "adu":
        if gain is None:
            raise UnknownUnitError(
                "The image is in adu and has no detector with a gain; set gain (electron/adu) in the config."
            )
        return gain
    if unit == "nJy":
        scale = _electrons_from_photon_noise(image, variance)
        _LOG.warning(
            "The image is in nJy and does not say how that was calibrated: %.6g electron/nJy follows from "
            "its variance plane.  Set electronsPerUnit in the config if you know better.",
            scale,
        )
        return scale
    raise UnknownUnitError(
        f"Cannot turn pixels in {unit!r} into electrons: the known units are electron, adu and nJy.  "
        "Set electronsPerUnit in the config."
    )


def _scale_from_calibration(
    source: MaskedImage, scaling: Any, unit: str, gain: float | None
) -> float | np.ndarray:
    """Return electrons per stored unit from the photometric scaling."""
    stored = astropy.units.Unit(source.unit)
    try:
        instrumental = stored / scaling.unit
        per_electron = 1.0
        if instrumental.is_equivalent(astropy.units.adu):
            if gain is None:
                raise UnknownUnitError(
                    "The image is calibrated from adu and has no detector with a gain; set gain "
                    "(electron/adu) in the config."
                )
            per_electron = gain * instrumental.to(astropy.units.adu)
        elif instrumental.is_equivalent(astropy.units.electron):
            per_electron = instrumental.to(astropy.units.electron)
        else:
            raise astropy.units.UnitConversionError(f"{stored} / ({scaling.unit}) is {instrumental}")
    except astropy.units.UnitConversionError as error:
        raise UnknownUnitError(
            f"Cannot turn pixels in {unit!r} into electrons by a photometric scaling in {scaling.unit}: "
            f"{error}.  Set electronsPerUnit in the config."
        ) from error
    if scaling.is_constant:
        x, y = _middle(source.bbox)
        return per_electron / scaling(x=x, y=y)
    return per_electron / scaling.render(source.bbox, dtype=np.float64).array


def _electrons_from_photon_noise(image: np.ndarray, variance: np.ndarray) -> float:
    """Estimate electrons per unit from how the variance rises with flux.

    In a unit of k electrons, photon noise adds image / k to the variance.
    The slope is the median of those between the faint half of the pixels
    and the brightest percent.  It is good to about a percent on a science
    image; on a difference image, where sources leave their noise but not
    their flux, it is only rough.
    """
    usable = np.isfinite(image) & np.isfinite(variance) & (variance > 0.0)
    if np.count_nonzero(usable) >= 1000:
        flux, noise = image[usable].astype(np.float64), variance[usable].astype(np.float64)
        middle, bright = np.percentile(flux, [50.0, 99.0])
        faint = flux <= middle
        top = flux >= bright
        rise = flux[top] - flux[faint].mean()
        slope = float(np.median((noise[top] - noise[faint].mean()) / rise)) if np.all(rise > 0.0) else 0.0
        if math.isfinite(slope) and slope > 0.0:
            return 1.0 / slope
    raise UnknownUnitError(
        "The image is in nJy, does not say how that was calibrated, and its variance does not rise with "
        "flux as photon noise does; set electronsPerUnit in the config."
    )


def _mean_gain(gains: list[float]) -> float | None:
    """Average the gains that are usable numbers."""
    usable = [gain for gain in gains if gain is not None and math.isfinite(gain) and gain > 0.0]
    return float(np.mean(usable)) if usable else None


def _middle(bbox: Box) -> tuple[float, float]:
    """Return x and y of the middle of a box, in pixel coordinates."""
    return (bbox.x.start + bbox.x.stop - 1) / 2.0, (bbox.y.start + bbox.y.stop - 1) / 2.0
