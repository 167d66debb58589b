# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Detection of positive and negative sources on a difference image."""

from __future__ import annotations

__all__ = ["DiaDetection", "DiaDetectionSettings", "detect_dia_sources"]

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.lib.recfunctions
import scipy.ndimage

from ..psf import SIGMA_TO_FWHM, gaussian_fwhm
from .difference_planes import border
from .spatial_kernel import SpatialKernel, fit_kernel

_CONNECTED = np.ones((3, 3), dtype=bool)
_EDGE_IN_SIGMA = 3.5

_COLUMNS = np.dtype(
    [
        ("x", np.float64),
        ("y", np.float64),
        ("flux", np.float64),
        ("flux_err", np.float64),
        ("snr", np.float64),
        ("n_pixels", np.int32),
        ("x_min", np.int32),
        ("x_max", np.int32),
        ("y_min", np.int32),
        ("y_max", np.int32),
        ("is_negative", np.bool_),
        ("is_dipole", np.bool_),
    ]
)


@dataclasses.dataclass(frozen=True)
class DiaDetectionSettings:
    """How to detect."""

    threshold: float = 5.0
    """Least signal-to-noise ratio of the smoothed image."""

    grow_sigma: float = 2.4
    """Radius by which footprints grow, in sigmas of the PSF; rounded to
    pixels.
    """

    bad_center: tuple[str, ...] = (
        "edge",
        "BAD",
        "DETECTION_EDGE",
        "NO_DATA",
        "SATURATED",
        "SAT_TEMPLATE",
        "SPIKE",
    )
    """Planes of which no pixel may be within one pixel of the peak."""

    bad_center_all: tuple[str, ...] = ("INTERPOLATED",)
    """Planes that may not cover all pixels within one pixel of the peak."""


@dataclasses.dataclass(frozen=True)
class DiaDetection:
    """What was found on a difference image."""

    sources: np.ndarray
    """One row a source, sorted by y then x.  Array indices ``x``, ``y`` of
    the peak and ``x_min``, ``x_max``, ``y_min``, ``y_max`` of the footprint;
    ``flux`` and ``flux_err`` of a point source, in the unit of the image;
    ``snr``; ``n_pixels`` of the footprint; ``is_negative``; ``is_dipole``
    (both signs in one footprint); and for each mask plane ``flag_{plane}``
    (anywhere in the footprint) and ``flag_{plane}_center`` (within one pixel
    of the peak), in lower case.
    """

    detected: np.ndarray
    """Footprints of positive detections (bool, (ny, nx))."""

    detected_negative: np.ndarray
    """Footprints of negative detections (bool, (ny, nx))."""

    n_rejected: int
    """Number of sources left out for what is at their peak."""


def detect_dia_sources(
    difference: np.ndarray,
    variance: np.ndarray,
    psf: np.ndarray,
    planes: Mapping[str, np.ndarray],
    no_data: np.ndarray,
    settings: DiaDetectionSettings | None = None,
) -> DiaDetection:
    """Find sources of either sign after smoothing with the PSF.

    The image is correlated with the PSF, thresholded in units of its noise
    (``sep``; Bertin & Arnouts 1996, A&AS 117, 393; Barbary 2016, JOSS 1,
    58), and footprints are grown and merged, positive with negative, as
    ``ip_diffim`` does.

    Parameters
    ----------
    difference, variance : `numpy.ndarray`, (ny, nx)
        The difference image and its variance.
    psf : `numpy.ndarray`, (size, size)
        PSF, centred, odd-sized, with sum 1.
    planes : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Mask planes from which flags are made (bool, (ny, nx)).
    no_data : `numpy.ndarray` [`bool`], (ny, nx)
        Pixels without a value; they count as zero.
    settings : `DiaDetectionSettings`, optional
        How to detect.

    Returns
    -------
    detection : `DiaDetection`
        Sources and footprints.

    Raises
    ------
    ValueError
        Raised if the arrays have different shapes or the PSF has a side of
        even length.
    """
    settings = DiaDetectionSettings() if settings is None else settings
    _check(difference, variance, psf, planes, no_data)
    missing = no_data | ~(np.isfinite(difference) & np.isfinite(variance) & (variance > 0.0))
    flux, error = _point_source_fluxes(difference, variance, psf, missing)
    snr = np.divide(flux, error, out=np.zeros_like(flux), where=error > 0.0)
    sigma = gaussian_fwhm(psf) / SIGMA_TO_FWHM
    positive, negative = (_extract(sign * snr, missing, settings.threshold) for sign in (1.0, -1.0))
    radius = int(settings.grow_sigma * sigma + 0.5)
    detected, detected_negative = (_grow_round(found.footprints, radius) for found in (positive, negative))
    labels, n_source = scipy.ndimage.label(detected | detected_negative, structure=_CONNECTED)
    sources = _measure(positive, negative, labels, n_source, flux, error)
    flags = _flags(sources, labels, {"edge": border(difference.shape, int(_EDGE_IN_SIGMA * sigma)), **planes})
    bad = np.zeros(n_source, dtype=bool)
    for name, suffix in [
        *((plane, "_center") for plane in settings.bad_center),
        *((plane, "_center_all") for plane in settings.bad_center_all),
    ]:
        bad |= flags.get(f"flag_{name.lower()}{suffix}", False)
    sources = numpy.lib.recfunctions.append_fields(
        sources,
        [name for name in flags if not name.endswith("_center_all")],
        [values for name, values in flags.items() if not name.endswith("_center_all")],
        usemask=False,
    )[~bad]
    return DiaDetection(
        sources=sources[np.lexsort((sources["x"], sources["y"]))],
        detected=detected,
        detected_negative=detected_negative,
        n_rejected=int(np.count_nonzero(bad)),
    )


@dataclasses.dataclass(frozen=True)
class _Extraction:
    """Pixels above a threshold, and the peak of each group of them."""

    footprints: np.ndarray
    y: np.ndarray
    x: np.ndarray
    peak: np.ndarray


def _check(
    difference: np.ndarray,
    variance: np.ndarray,
    psf: np.ndarray,
    planes: Mapping[str, np.ndarray],
    no_data: np.ndarray,
) -> None:
    """Raise unless shapes agree and the PSF has a middle."""
    for name, array in {"variance": variance, "no_data": no_data, **planes}.items():
        if array.shape != difference.shape:
            raise ValueError(
                f"{name} has the shape {array.shape}, but the difference image {difference.shape}."
            )
    if psf.ndim != 2 or psf.shape[0] % 2 == 0 or psf.shape[1] % 2 == 0:
        raise ValueError(f"The PSF has the shape {psf.shape}: both sides must be odd.")


def _point_source_fluxes(
    difference: np.ndarray, variance: np.ndarray, psf: np.ndarray, missing: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return flux and error of a point source at every pixel.

    Pixels count alike, whatever their variance: the charge of a cosmic ray
    or a star in it must not make the source fainter.
    """
    shape = difference.shape
    kernel = fit_kernel(psf[::-1, ::-1], max(psf.shape))
    squared = SpatialKernel.constant(np.square(kernel), shape)
    correlated = SpatialKernel.constant(kernel, shape).convolve(np.where(missing, 0.0, difference))
    noise = squared.convolve(np.where(missing, 0.0, variance))
    weight = np.full(shape, np.float32(np.square(kernel).sum()))
    if missing.any():
        weight = squared.convolve(~missing)
    usable = (weight > 0.01 * np.square(kernel).sum()) & (noise > 0.0)
    flux = np.divide(correlated, weight, out=np.zeros_like(correlated), where=usable)
    error = np.divide(np.sqrt(np.maximum(noise, 0.0)), weight, out=np.zeros_like(noise), where=usable)
    return flux, error


def _extract(snr: np.ndarray, missing: np.ndarray, threshold: float) -> _Extraction:
    """Find the groups of pixels above a threshold."""
    import sep  # Which most processes of a pipeline do not need.

    sep.set_extract_pixstack(max(300_000, np.count_nonzero(snr >= threshold) + 10_000))
    objects = sep.extract(
        np.ascontiguousarray(snr),
        threshold,
        mask=missing,
        minarea=1,
        filter_kernel=None,
        deblend_nthresh=1,  # None: large groups would be too many to sep.
        clean=False,
    )
    return _Extraction(
        footprints=(snr > threshold) & ~missing, y=objects["ypeak"], x=objects["xpeak"], peak=objects["peak"]
    )


def _grow_round(mask: np.ndarray, radius: int) -> np.ndarray:
    """Grow a mask by a disk."""
    if radius == 0 or not mask.any():
        return mask.copy()
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (y * y + x * x <= radius * radius).astype(np.float64)
    padded = np.pad(mask, radius)
    grown = SpatialKernel.constant(disk, padded.shape).convolve(padded) > 0.5
    return grown[radius:-radius, radius:-radius]


def _measure(
    positive: _Extraction,
    negative: _Extraction,
    labels: np.ndarray,
    n_source: int,
    flux: np.ndarray,
    error: np.ndarray,
) -> np.ndarray:
    """Fill the columns of one source for each label."""
    y = np.concatenate([positive.y, negative.y])
    x = np.concatenate([positive.x, negative.x])
    peak = np.concatenate([positive.peak, negative.peak])
    is_negative = np.arange(len(y)) >= len(positive.y)
    label = labels[y, x]
    strongest = np.zeros(n_source + 1, dtype=np.int64)
    weakest_first = np.argsort(peak, kind="stable")
    strongest[label[weakest_first]] = weakest_first
    strongest = strongest[1:]
    has_positive, has_negative = (
        np.bincount(label[kind], minlength=n_source + 1)[1:] > 0 for kind in (~is_negative, is_negative)
    )
    sources = np.zeros(n_source, dtype=_COLUMNS)
    sources["is_negative"] = has_negative & ~has_positive
    sources["is_dipole"] = has_negative & has_positive
    sources["n_pixels"] = np.bincount(labels.ravel(), minlength=n_source + 1)[1:]
    for i, (rows, columns) in enumerate(scipy.ndimage.find_objects(labels)):
        sources["y_min"][i], sources["y_max"][i] = rows.start, rows.stop - 1
        sources["x_min"][i], sources["x_max"][i] = columns.start, columns.stop - 1
    peak_y, peak_x = y[strongest], x[strongest]
    sources["y"] = peak_y + _offset(flux, peak_y, peak_x, axis=0)
    sources["x"] = peak_x + _offset(flux, peak_y, peak_x, axis=1)
    sources["flux"], sources["flux_err"] = flux[peak_y, peak_x], error[peak_y, peak_x]
    sources["snr"] = sources["flux"] / sources["flux_err"]
    return sources


def _offset(image: np.ndarray, y: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    """Return how far the top of a parabola through a peak and its two
    neighbours along an axis is from the peak, at most half a pixel.
    """
    step_y, step_x = (1, 0) if axis == 0 else (0, 1)
    ny, nx = image.shape
    before = image[np.maximum(y - step_y, 0), np.maximum(x - step_x, 0)].astype(np.float64)
    after = image[np.minimum(y + step_y, ny - 1), np.minimum(x + step_x, nx - 1)].astype(np.float64)
    curvature = 2.0 * image[y, x] - before - after
    offset = np.divide(after - before, 2.0 * curvature, out=np.zeros(len(y)), where=curvature != 0.0)
    return np.clip(offset, -0.5, 0.5)


def _flags(
    sources: np.ndarray, labels: np.ndarray, planes: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Look for mask planes in footprints and at their peaks."""
    ny, nx = labels.shape
    around = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    y = np.stack([np.clip(np.rint(sources["y"]).astype(int) + dy, 0, ny - 1) for dy, _ in around])
    x = np.stack([np.clip(np.rint(sources["x"]).astype(int) + dx, 0, nx - 1) for _, dx in around])
    flags: dict[str, np.ndarray] = {}
    for name, plane in planes.items():
        touched = np.zeros(len(sources) + 1, dtype=bool)
        touched[labels[plane]] = True
        at_peak = plane[y, x]
        flags[f"flag_{name.lower()}"] = touched[1:]
        flags[f"flag_{name.lower()}_center"] = at_peak.any(axis=0)
        flags[f"flag_{name.lower()}_center_all"] = at_peak.all(axis=0)
    return flags
