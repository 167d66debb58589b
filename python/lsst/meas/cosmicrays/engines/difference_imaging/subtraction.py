# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Subtraction of a template from a science image of other seeing."""

from __future__ import annotations

__all__ = ["Subtraction", "SubtractionSettings", "subtract_template"]

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ..psf import gaussian_fwhm
from .decorrelation import decorrelate_kernel
from .difference_planes import border, grow
from .difference_statistics import PullStatistics, fit_background, measure_pulls, measure_variance_scale
from .kernel_matching import MatchingSettings, find_matching_kernel, make_basis
from .kernel_solution import KernelSolution
from .matching_image import MatchingImage, NoOverlapError, PsfSample, fill_gaps, typical_variance
from .spatial_kernel import SpatialKernel, fit_kernel

_MAX_DECORRELATION_HALF_WIDTH = 40


@dataclasses.dataclass(frozen=True)
class SubtractionSettings:
    """How to match and subtract."""

    mode: str = "auto"
    """Which image to convolve: ``auto``, ``convolveTemplate`` or
    ``convolveScience``.
    """

    max_deconvolution: float = 1.25
    """In mode ``auto``, the science image is convolved if the FWHM of the
    template is more than this times its own.  Up to there, a template that is
    deeper than the science image is better convolved, with a kernel that
    sharpens it a little: cosmic rays stay as they are, and the noise of the
    science image does not disturb the fit of the kernel.
    """

    matching: MatchingSettings = dataclasses.field(default_factory=MatchingSettings)
    """How to find the matching kernel."""

    background_order: int = 2
    """Order of the polynomial subtracted with the template."""

    decorrelate: bool = True
    """Whether to undo the correlation of noise."""

    scale_variance: bool = False
    """Whether to scale the variance to what is measured."""


@dataclasses.dataclass(frozen=True)
class Subtraction:
    """A difference image and how it was made."""

    difference: np.ndarray
    """Science minus template, on the scale of the science image (float32,
    (ny, nx)); zero where there are no data.
    """

    variance: np.ndarray
    """Variance of the difference (float32, (ny, nx))."""

    no_data: np.ndarray
    """Pixels without data in one of the images (bool, (ny, nx)); grown by the
    kernel for the one that was convolved.
    """

    masked: np.ndarray
    """Pixels unusable in one of the images (bool, (ny, nx)); grown likewise.
    """

    edge: np.ndarray
    """Pixels whose value rests on what may be beyond the edges of the image
    (bool, (ny, nx)).
    """

    template_convolved: bool
    """Whether the template was convolved, rather than the science image."""

    solution: KernelSolution
    """The matching kernel and how it was found."""

    psf_fwhm: float
    """FWHM of a point source on the difference, in pixels."""

    science_fwhm: float
    """FWHM of the PSF of the science image, in pixels."""

    template_fwhm: float
    """FWHM of the PSF of the template, in pixels."""

    variance_scale: float
    """What the variance was multiplied with."""

    statistics: PullStatistics
    """Statistics of the result, outside all that is masked."""


def subtract_template(
    science: MatchingImage, template: MatchingImage, settings: SubtractionSettings | None = None
) -> Subtraction:
    """Match a template to a science image and subtract it.

    One of the images is convolved with a kernel that varies over the image
    (Alard & Lupton 1998, ApJ 503, 325; Alard 2000, A&AS 144, 363), found
    from the brightest unblemished objects.  A polynomial background is taken
    away from the difference, which is then whitened (DMTN-021).

    Parameters
    ----------
    science, template : `~.matching_image.MatchingImage`
        The images, on the same pixel grid.
    settings : `SubtractionSettings`, optional
        How to do it.

    Returns
    -------
    subtraction : `Subtraction`
        The difference image.

    Raises
    ------
    NoOverlapError
        Raised if no pixel is usable in both images.
    ValueError
        Raised if the arrays have different shapes, or ``mode`` is unknown.
    """
    settings = SubtractionSettings() if settings is None else settings
    _check_shapes(science, template)
    fwhms = science.fwhm(), template.fwhm()
    template_convolved = _convolve_template(*fwhms, settings)
    filled = fill_gaps(science, "science image"), fill_gaps(template, "template")
    target, convolved = filled if template_convolved else filled[::-1]
    if (target.unusable | convolved.unusable).all():
        raise NoOverlapError("No pixel is usable in both the science image and the template.")

    basis = make_basis(fwhms, settings.matching.degrees, science.image.shape)
    half_width = basis.shape[-1] // 2
    masked = target.unusable | grow(convolved.unusable, half_width)
    significance = filled[1].image / np.sqrt(filled[1].variance)
    solution = find_matching_kernel(convolved, target, significance, masked, basis, settings.matching)
    difference = target.image - solution.kernel.convolve(convolved.image)
    difference -= fit_background(difference, ~masked, settings.background_order)

    decorrelation = decorrelate_kernel(
        solution.kernel,
        typical_variance(convolved.variance, masked),
        typical_variance(target.variance, masked),
        half_width=min(2 * half_width, _MAX_DECORRELATION_HALF_WIDTH),
        enabled=settings.decorrelate,
    )
    # What is masked must not ring into its surroundings.
    whitened = decorrelation.kernel.convolve(np.where(masked, np.float32(0.0), difference))
    difference = np.where(masked, difference, whitened)
    variance = decorrelation.variance_of_convolved.convolve(convolved.variance)
    variance += decorrelation.variance_of_target.convolve(target.variance)
    if not template_convolved:
        difference /= np.float32(-solution.kernel_sum)
        variance /= np.float32(solution.kernel_sum**2)

    no_data = target.missing | grow(convolved.missing, half_width)
    difference[no_data] = 0.0
    edge = border(difference.shape, half_width)
    empty = ~(masked | edge)
    variance_scale = measure_variance_scale(difference, variance, empty) if settings.scale_variance else 1.0
    variance *= np.float32(variance_scale)
    return Subtraction(
        difference=difference,
        variance=variance,
        no_data=no_data,
        masked=masked,
        edge=edge,
        template_convolved=template_convolved,
        solution=solution,
        psf_fwhm=_difference_fwhm(target.psf, decorrelation.kernel),
        science_fwhm=fwhms[0],
        template_fwhm=fwhms[1],
        variance_scale=variance_scale,
        statistics=measure_pulls(difference, variance, empty),
    )


def _check_shapes(science: MatchingImage, template: MatchingImage) -> None:
    """Raise unless all arrays have one shape."""
    expected = science.image.shape
    for label, image in (("science image", science), ("template", template)):
        for name in ("image", "variance", "unusable", "no_data"):
            shape = getattr(image, name).shape
            if shape != expected:
                raise ValueError(
                    f"The {name} array of the {label} has the shape {shape}, but the science image "
                    f"{expected}: resample or cut the template to the pixels of the science image."
                )


def _convolve_template(science_fwhm: float, template_fwhm: float, settings: SubtractionSettings) -> bool:
    """Decide which image to convolve."""
    match settings.mode:
        case "convolveTemplate":
            return True
        case "convolveScience":
            return False
        case "auto":
            return template_fwhm <= settings.max_deconvolution * science_fwhm
        case unknown:
            raise ValueError(
                f"Unknown mode {unknown!r}: expected 'auto', 'convolveTemplate' or 'convolveScience'."
            )


def _difference_fwhm(psf: Sequence[PsfSample], whitening: SpatialKernel) -> float:
    """Return the FWHM of a point source on the whitened difference."""
    ny, nx = whitening.shape
    middle = min(psf, key=lambda sample: math.hypot(sample.y - ny / 2.0, sample.x - nx / 2.0))
    size = max(middle.kernel.shape) + 2 * whitening.half_width
    here = SpatialKernel.constant(whitening.at(middle.y, middle.x), (size, size))
    return gaussian_fwhm(here.convolve(fit_kernel(middle.kernel, size)))
