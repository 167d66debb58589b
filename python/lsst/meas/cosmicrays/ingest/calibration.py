# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the pixels of a file to a science image: electrons, sky, variance,
mask planes.
"""

from __future__ import annotations

__all__ = ("ScienceFrame", "calibrate")

import dataclasses
import warnings

import astropy.units as u
import numpy as np
import sep

from lsst.images import Box
from lsst.images.fields import SplineField

from .errors import IngestError, IngestWarning
from .preset import BackgroundModel
from .reading import CcdFrame

_UNITS = {
    "adu": u.adu,
    "count": u.adu,
    "counts": u.adu,
    "dn": u.adu,
    "electron": u.electron,
    "electrons": u.electron,
    "e-": u.electron,
    "e": u.electron,
    "njy": u.nJy,
}

_MIN_VARIANCE = 1e-3
"""Least variance, as a fraction of the median, that a computed one has."""


@dataclasses.dataclass(frozen=True, eq=False)
class ScienceFrame:
    """The image of one detector, ready to become a visit image.

    Parameters
    ----------
    image, variance
        Pixels and their variance, `float32` of shape (ny, nx), in ``unit``
        and its square; without the sky where ``background`` is subtracted.
    planes
        Mask planes by their `lsst.images` names, `bool`.
    unit
        Electrons; nJy where the file is calibrated.
    background
        Model of the sky in ``unit``, or `None` if there was none to model.
    subtracted
        Whether ``background`` is subtracted from ``image``.
    sky
        Level of the sky before any subtraction, in ``unit``.
    gain
        Electrons per ADU.
    read_noise
        Electrons; 0 where it is not known.
    saturation
        Saturation level in ``unit``, or NaN.
    """

    image: np.ndarray
    variance: np.ndarray
    planes: dict[str, np.ndarray]
    unit: u.UnitBase
    background: SplineField | None
    subtracted: bool
    sky: float
    gain: float
    read_noise: float
    saturation: float

    @property
    def bad(self) -> np.ndarray:
        """Pixels without a usable value (`numpy.ndarray` [`bool`])."""
        bad = ~np.isfinite(self.image)
        for name in ("BAD", "SATURATED", "NO_DATA", "INTERPOLATED"):
            if name in self.planes:
                bad |= self.planes[name]
        return bad

    def without_sky(self) -> np.ndarray:
        """Return the image without its sky.

        Returns
        -------
        image : `numpy.ndarray` [`float32`]
            Pixels, shape (ny, nx).
        """
        if self.background is None or self.subtracted:
            return self.image
        return self.image - self.background.render(dtype=np.float32).array


def calibrate(frame: CcdFrame, bad_pixels: np.ndarray | None = None) -> ScienceFrame:
    """Turn the pixels of a file into a science image.

    Electrons are ADU times gain.  Where the file gives no variance it is
    that of photon noise plus read noise: the pixel with its sky, where
    positive, plus the square of the read noise, as LSST's instrument
    signature removal does it.  A sky that was subtracted before is added for
    this.  Pixels that are not finite, or whose variance is not, get the
    planes BAD and NO_DATA; pixels from the saturation level on, SATURATED.

    Parameters
    ----------
    frame
        Pixels and headers.
    bad_pixels
        More bad pixels, of the shape of the frame.

    Returns
    -------
    science : `ScienceFrame`
        The science image.

    Raises
    ------
    IngestError
        Raised if unit, gain, read noise or saturation are missing or make
        no sense.
    """
    unit = _unit(frame)
    scale, gain = _scale_and_gain(frame, unit)
    quantities = frame.quantities
    read_noise = quantities.checked_number("read_noise", at_least=0.0)
    saturation = quantities.checked_number("saturation", above=0.0)
    sky_before = (quantities.number("sky") or 0.0) * scale
    image = frame.image * np.float32(scale)
    if frame.variance is None and read_noise is None:
        raise quantities.missing("read_noise")
    if frame.variance is None and unit == u.nJy:
        raise IngestError("a calibrated image without a variance cannot be used", keyword="BUNIT")
    variance = _variance(frame, scale, image + sky_before, read_noise or 0.0)

    planes = dict(frame.planes)
    unusable = ~(np.isfinite(image) & np.isfinite(variance))
    _add_plane(planes, "BAD", bad_pixels)
    _add_plane(planes, "BAD", unusable)
    _add_plane(planes, "NO_DATA", unusable)
    if saturation is not None:
        _add_plane(planes, "SATURATED", frame.image >= saturation)

    unit = u.electron if unit == u.adu else unit
    bad = planes.get("BAD", np.zeros(image.shape, dtype=bool))
    background = _model_background(image, bad, quantities.preset.background, unit)
    level = float(np.median(background.data)) if background is not None else 0.0
    subtract = background is not None and quantities.preset.background.subtract
    if background is not None and subtract:
        image = image - background.render(dtype=np.float32).array
    return ScienceFrame(
        image=np.ascontiguousarray(image, dtype=np.float32),
        variance=variance,
        planes=planes,
        unit=unit,
        background=background,
        subtracted=subtract,
        sky=sky_before + level,
        gain=gain,
        read_noise=read_noise or 0.0,
        saturation=float("nan") if saturation is None else saturation * scale,
    )


def _unit(frame: CcdFrame) -> u.UnitBase:
    name = frame.quantities.text("unit")
    if name is None:
        warnings.warn(
            f"{frame.path.name}[{frame.extension}]: names no unit (BUNIT): adu is assumed; see --unit",
            IngestWarning,
            stacklevel=2,
        )
        return u.adu
    try:
        return _UNITS[name.lower()]
    except KeyError:
        raise IngestError(
            f"unit {name!r} is not known; --unit may be adu, electron or nJy",
            keyword=frame.quantities.find("unit")[1] or "for unit",
        ) from None


def _scale_and_gain(frame: CcdFrame, unit: u.UnitBase) -> tuple[float, float]:
    """Return what to multiply pixels with, and electrons per ADU."""
    gain = frame.quantities.checked_number("gain", above=0.0)
    if unit != u.adu:
        return 1.0, 1.0 if gain is None else gain
    if gain is None:
        raise frame.quantities.missing("gain")
    return gain, gain


def _add_plane(planes: dict[str, np.ndarray], name: str, pixels: np.ndarray | None) -> None:
    if pixels is not None and pixels.any():
        planes[name] = planes[name] | pixels if name in planes else pixels


def _variance(frame: CcdFrame, scale: float, image_with_sky: np.ndarray, read_noise: float) -> np.ndarray:
    """Return the variance of the file, or photon plus read noise.

    Where a pipeline gave no weight to true cosmic rays, they get the photon
    noise as well: they are to be found, not to be left out.
    """
    photon = _photon_variance(image_with_sky, read_noise)
    if frame.variance is None:
        return photon
    variance = (frame.variance * np.float32(scale) ** 2).astype(np.float32)
    if frame.truth is None:
        return variance
    return np.where(frame.truth & ~np.isfinite(variance), photon, variance)


def _photon_variance(image_with_sky: np.ndarray, read_noise: float) -> np.ndarray:
    """Return photon plus read noise, never zero; NaN where the image is."""
    variance = np.maximum(image_with_sky, 0.0) + read_noise**2
    floor = _MIN_VARIANCE * float(np.nanmedian(variance))
    return np.maximum(variance, floor if floor > 0.0 else 1.0).astype(np.float32)


def _model_background(
    image: np.ndarray, bad: np.ndarray, model: BackgroundModel, unit: u.UnitBase
) -> SplineField | None:
    """Model the sky as SExtractor does (Bertin & Arnouts 1996)."""
    height, width = image.shape
    if bad.all():
        return None
    filled = np.where(bad, 0.0, image).astype(np.float32)
    mesh_y, mesh_x = (min(model.mesh, length) for length in (height, width))
    level = sep.Background(filled, mask=bad, bw=mesh_x, bh=mesh_y, fw=3, fh=3).back(dtype=np.float64)
    y, x = _grid(height, mesh_y), _grid(width, mesh_x)
    bbox = Box.factory[0:height, 0:width]
    return SplineField(bbox, level[np.ix_(y, x)], y=y.astype(np.float64), x=x.astype(np.float64), unit=unit)


def _grid(length: int, mesh: int) -> np.ndarray:
    """Return the ends of an axis and the centres of its cells."""
    centres = np.arange(mesh // 2, length, mesh)
    return np.unique(np.concatenate([[0], centres, [length - 1]]))
