# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Templates: from a file, or the median of other exposures of a series."""

from __future__ import annotations

__all__ = (
    "SeriesMember",
    "SeriesPixels",
    "Template",
    "TemplateError",
    "median_template",
    "template_from_frame",
)

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import sep

from ..documentation import DocumentedError
from .calibration import ScienceFrame
from .registration import Alignment, AlignmentError, align, resample, resampled_noise
from .stars import StarList, find_stars, of_common_size, subtract_sky

_MIN_EXPOSURES = 2
_APERTURE = 1.5
_MIN_COVERAGE = 0.5


class TemplateError(DocumentedError, ValueError):
    """A template that cannot be made; the message says why."""


@dataclasses.dataclass(frozen=True, eq=False)
class Template:
    """A template on the pixels of a science image.

    Parameters
    ----------
    image, variance
        Pixels without sky and their variance; `float32` of shape (ny, nx).
    planes
        Mask planes by their `lsst.images` names, `bool`.
    n_exposures
        Number of exposures in it; 0 where it is not known.
    """

    image: np.ndarray
    variance: np.ndarray
    planes: dict[str, np.ndarray]
    n_exposures: int

    @property
    def bad(self) -> np.ndarray:
        """Pixels without a usable value (`numpy.ndarray` [`bool`])."""
        bad = ~np.isfinite(self.image)
        for plane in self.planes.values():
            bad |= plane
        return bad


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesPixels:
    """Pixels of an exposure of a series.

    Parameters
    ----------
    image
        Pixels without sky, finite everywhere; `float32` of shape (ny, nx).
    variance
        Their variance.
    bad
        Pixels without a usable value, `bool`; saturated ones have one.
    saturated
        Saturated pixels, `bool`.
    """

    image: np.ndarray
    variance: np.ndarray
    bad: np.ndarray
    saturated: np.ndarray

    def find_stars(self) -> StarList:
        """Find the stars, brightest first.

        Returns
        -------
        stars : `StarList`
            The stars.
        """
        unusable = self.bad | self.saturated
        return of_common_size(find_stars(subtract_sky(self.image, unusable), self.variance, unusable))


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesMember:
    """An exposure of a series.

    Parameters
    ----------
    shape
        Shape (ny, nx) of its image.
    stars
        Its stars, brightest first.
    load
        What returns its pixels; a series may be larger than the memory.
    """

    shape: tuple[int, int]
    stars: StarList
    load: Callable[[], SeriesPixels]

    @property
    def fwhm(self) -> float:
        """Median FWHM of the stars in pixels, infinite without stars
        (`float`).
        """
        return float(np.median(self.stars.fwhm)) if len(self.stars) else float("inf")


def median_template(target: SeriesMember, others: Sequence[SeriesMember], n_exposures: int) -> Template:
    """Make a template for one exposure from others of the same field.

    The others most like it in seeing are aligned by their stars, scaled to
    its fluxes and combined by their median, pixel by pixel, which leaves
    their cosmic rays out.  The variance is that of a median of Gaussian
    values (pi / 2 times that of the mean); it allows for what resampling
    takes from the noise of a pixel.

    Parameters
    ----------
    target
        The exposure that gets the template.
    others
        Other exposures of the field, of the same shape.
    n_exposures
        Number of exposures to combine.

    Returns
    -------
    template : `Template`
        The template, with planes NO_DATA and SATURATED.

    Raises
    ------
    TemplateError
        Raised if fewer than two exposures can be aligned.
    """
    images: list[np.ndarray] = []
    variances: list[np.ndarray] = []
    saturated: list[np.ndarray] = []
    reasons: list[str] = []
    pixels = target.load()
    for other in sorted(others, key=lambda other: _unlikeness(target, other)):
        if len(images) == n_exposures:
            break
        if other.shape != target.shape:
            reasons.append("another shape")
            continue
        try:
            alignment = align(target.stars, other.stars)
        except AlignmentError as error:
            reasons.append(str(error))
            continue
        image, variance, saturation = _bring_over(target, pixels, other, alignment)
        images.append(image)
        variances.append(variance)
        saturated.append(saturation)
    if len(images) < _MIN_EXPOSURES:
        detail = f" ({'; '.join(sorted(set(reasons)))})" if reasons else ""
        raise TemplateError(
            f"only {len(images)} of {len(others)} other exposures can be aligned, at least "
            f"{_MIN_EXPOSURES} are needed{detail}"
        )
    return _combine(np.stack(images), np.stack(variances), np.stack(saturated))


def template_from_frame(science: ScienceFrame, has_variance: bool) -> Template:
    """Turn the image of a template file into a template.

    Parameters
    ----------
    science
        The image, as if it were an exposure.
    has_variance
        Whether the file gives its variance.  Where not, that of a single
        exposure is scaled to the noise seen in the sky: how many exposures
        were combined is not known.

    Returns
    -------
    template : `Template`
        The template.
    """
    variance = science.variance
    bad = science.bad
    if not has_variance:
        filled = np.where(bad, 0.0, science.image).astype(np.float32)
        noise = sep.Background(filled, mask=bad).globalrms
        variance = (variance * (noise**2 / np.median(variance[~bad]))).astype(np.float32)
    return Template(science.without_sky(), variance, dict(science.planes), 0)


def _unlikeness(target: SeriesMember, other: SeriesMember) -> float:
    """Return by how much the seeing differs; infinite where not known."""
    return abs(other.fwhm - target.fwhm) if len(other.stars) and len(target.stars) else float("inf")


def _bring_over(
    target: SeriesMember, pixels: SeriesPixels, other: SeriesMember, alignment: Alignment
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Resample and scale an exposure; NaN where it has no value."""
    source = other.load()
    radius = _APERTURE * max(target.fwhm, other.fwhm)
    ratio = _median_ratio(
        _fluxes(pixels.image, target.stars.select(alignment.target), radius),
        _fluxes(source.image, other.stars.select(alignment.source), radius),
    )
    image = ratio * resample(source.image, alignment)
    unusable = resample(source.bad, alignment, order=1) > 0.01
    noise = resampled_noise(alignment, target.shape)
    variance = ratio**2 * noise * resample(np.nan_to_num(source.variance), alignment, order=1)
    saturated = resample(source.saturated, alignment, order=1) > 0.01
    image[unusable] = np.nan
    variance[unusable] = np.nan
    return image, variance, saturated


def _fluxes(image: np.ndarray, stars: StarList, radius: float) -> np.ndarray:
    """Return aperture fluxes."""
    return sep.sum_circle(image, stars.x, stars.y, radius)[0]


def _median_ratio(numerator: np.ndarray, denominator: np.ndarray) -> float:
    positive = (numerator > 0.0) & (denominator > 0.0)
    return float(np.median(numerator[positive] / denominator[positive])) if positive.any() else 1.0


def _combine(images: np.ndarray, variances: np.ndarray, saturated: np.ndarray) -> Template:
    """Combine resampled exposures of shape (n, ny, nx) by their median."""
    usable = np.isfinite(images)
    counts = usable.sum(axis=0)
    no_data = counts < max(1.0, _MIN_COVERAGE * len(images))
    images[:, no_data] = 0.0
    variances[:, no_data] = np.inf
    efficiency = 1.0 if len(images) < 3 else np.pi / 2.0
    image = np.nanmedian(images, axis=0)
    number = np.maximum(counts, 1)
    variance = efficiency * np.nansum(variances, axis=0) / number**2
    variance[no_data] = float(np.median(variance[~no_data])) if not no_data.all() else 1.0
    planes = {
        "NO_DATA": no_data,
        "SATURATED": saturated.mean(axis=0) >= 0.5,
    }
    return Template(
        image.astype(np.float32),
        variance.astype(np.float32),
        {name: plane for name, plane in planes.items() if plane.any()},
        len(images),
    )
