# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding the kernel that matches the PSF of one image to another's."""

from __future__ import annotations

__all__ = ["MatchingSettings", "find_matching_kernel", "make_basis"]

import dataclasses
import logging
import math
from collections.abc import Callable

import numpy as np

from .difference_planes import border
from .kernel_basis import alard_lupton_basis, basis_widths
from .kernel_candidates import cut_stamps, find_kernel_candidates
from .kernel_solution import (
    KernelFitError,
    KernelSolution,
    MatchingStamps,
    TooFewCandidatesError,
    solve_matching_kernel,
)
from .matching_image import FilledImage
from .spatial_kernel import SpatialKernel, fit_kernel

_LOG = logging.getLogger(__name__)

_MIN_STAMP_HALF_WIDTH = 15
_CELL_SIZES = (64, 256)
_N_PER_CELL = 3
_PSF_MODEL_ERROR = 1e-3


@dataclasses.dataclass(frozen=True)
class MatchingSettings:
    """How to find a matching kernel."""

    kernel_order: int = 2
    """Order of the kernel's variation over the image."""

    background_order: int = 2
    """Order of the polynomial by which the two backgrounds may differ."""

    degrees: tuple[int, ...] = (4, 2, 2)
    """Degree of the polynomial with each Gaussian of the kernel's basis."""

    min_candidates: int = 3
    """Least number of stamps from which to find a kernel."""

    max_candidates: int = 400
    """Roughly the most stamps to use."""

    min_significance: float = 20.0
    """Least peak of a candidate on the template, in units of the noise."""

    flux_error: float = 0.003
    """Errors of the kernel model in proportion to flux."""


def make_basis(fwhms: tuple[float, float], degrees: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Choose basis kernels that suit two PSFs and fit in the image.

    Parameters
    ----------
    fwhms : `tuple` [`float`, `float`]
        FWHM of the two PSFs, in pixels.
    degrees : `tuple` [`int`]
        Degree of the polynomial with each Gaussian.
    shape : `tuple` [`int`, `int`]
        Shape of the image.

    Returns
    -------
    basis : `numpy.ndarray` [`float64`], (n_basis, size, size)
        Basis kernels.
    """
    sigmas, half_width = basis_widths(min(fwhms), max(fwhms), len(degrees))
    return alard_lupton_basis(sigmas, degrees, min(half_width, max(1, (min(shape) - 1) // 4)))


def find_matching_kernel(
    convolved: FilledImage,
    target: FilledImage,
    significance: np.ndarray,
    masked: np.ndarray,
    basis: np.ndarray,
    settings: MatchingSettings,
) -> KernelSolution:
    """Find the kernel from stars, or from models of the PSFs if need be.

    Parameters
    ----------
    convolved : `~.matching_image.FilledImage`
        The image that the kernel is to convolve.
    target : `~.matching_image.FilledImage`
        The image to be matched.
    significance : `numpy.ndarray`, (ny, nx)
        The template in units of its noise.
    masked : `numpy.ndarray` [`bool`], (ny, nx)
        Pixels that are unusable after the convolution.
    basis : `numpy.ndarray`, (n_basis, size, size)
        Basis kernels.
    settings : `MatchingSettings`
        How to find it.

    Returns
    -------
    solution : `~.kernel_solution.KernelSolution`
        The kernel.

    Raises
    ------
    KernelFitError
        Raised if neither stars nor the models give a kernel.
    """
    half_width = max(_MIN_STAMP_HALF_WIDTH, basis.shape[-1] // 2)
    candidates = find_kernel_candidates(
        significance,
        target.unusable | convolved.unusable,
        half_width,
        min_significance=settings.min_significance,
        cell_size=_cell_size(significance.size, settings.max_candidates),
        n_per_cell=_N_PER_CELL,
    )

    def solve(stamps: MatchingStamps, min_stamps: int, guess: np.ndarray | None = None) -> KernelSolution:
        return solve_matching_kernel(
            stamps,
            basis,
            target.image.shape,
            kernel_order=settings.kernel_order,
            background_order=settings.background_order,
            min_stamps=min_stamps,
            flux_error=settings.flux_error,
            guess=guess,
        )

    from_models = _solve_models(lambda: solve(_psf_stamps(convolved, target, basis, half_width), 1))
    try:
        if len(candidates) < settings.min_candidates:
            raise TooFewCandidatesError(len(candidates), settings.min_candidates)
        stamps = _cut_matching_stamps(convolved, target, basis, masked, candidates, half_width)
        guess = None if from_models is None else from_models.coefficients[:, 0]
        return solve(stamps, settings.min_candidates, guess)
    except (KernelFitError, np.linalg.LinAlgError) as error:
        if from_models is None:
            raise KernelFitError(f"{error}  The models of the two PSFs give no kernel, either.") from error
        _LOG.warning(
            "%s  Matching the models of the two PSFs instead, and taking the photometric scales of the two "
            "images to be the same.",
            error,
        )
        return dataclasses.replace(from_models, n_candidates=len(candidates), n_used=0, from_psf_models=True)


def _solve_models(solve: Callable[[], KernelSolution]) -> KernelSolution | None:
    """Match the models of the PSFs, if they can be matched at all."""
    try:
        return solve()
    except (KernelFitError, np.linalg.LinAlgError) as error:
        _LOG.warning("The models of the two PSFs cannot be matched: %s  Is one of them bad?", error)
        return None


def _cell_size(n_pixel: int, max_candidates: int) -> int:
    """Return the side of cells that give so many candidates."""
    smallest, largest = _CELL_SIZES
    return int(min(max(math.sqrt(_N_PER_CELL * n_pixel / max_candidates), smallest), largest))


def _cut_matching_stamps(
    convolved: FilledImage,
    target: FilledImage,
    basis: np.ndarray,
    masked: np.ndarray,
    centres: np.ndarray,
    half_width: int,
) -> MatchingStamps:
    """Cut stamps out of the images and of the convolutions with the basis."""

    def cut(image: np.ndarray) -> np.ndarray:
        return cut_stamps(image, centres, half_width).reshape(len(centres), -1)

    kernels = [SpatialKernel.constant(kernel, masked.shape) for kernel in basis]
    return MatchingStamps(
        convolved=np.stack([cut(kernel.convolve(convolved.image)) for kernel in kernels], axis=1),
        target=cut(target.image),
        convolved_variance=cut(convolved.variance),
        target_variance=cut(target.variance),
        usable=cut(~(masked | border(masked.shape, basis.shape[-1] // 2))),
        centres=centres,
    )


def _psf_stamps(
    convolved: FilledImage, target: FilledImage, basis: np.ndarray, half_width: int
) -> MatchingStamps:
    """Make stamps of the PSFs, wherever both are known."""
    places, narrow, wide = _common_psfs(convolved, target)
    size = 2 * (half_width + basis.shape[-1] // 2) + 1
    middle = np.array([[size // 2, size // 2]])
    kernels = [SpatialKernel.constant(kernel, (size, size)) for kernel in basis]

    def convolve(psf: np.ndarray) -> list[np.ndarray]:
        padded = fit_kernel(psf, size)
        return [cut_stamps(kernel.convolve(padded), middle, half_width).ravel() for kernel in kernels]

    stamps = np.array([fit_kernel(psf, 2 * half_width + 1).ravel() for psf in wide], dtype=np.float32)
    noise = np.full_like(stamps, np.square(_PSF_MODEL_ERROR * stamps.max()))
    return MatchingStamps(
        convolved=np.array([convolve(psf) for psf in narrow]),
        target=stamps,
        convolved_variance=noise,
        target_variance=noise,
        usable=np.ones(stamps.shape, dtype=bool),
        centres=np.array(places),
    )


def _common_psfs(
    convolved: FilledImage, target: FilledImage
) -> tuple[list[tuple[float, float]], list[np.ndarray], list[np.ndarray]]:
    """Return positions at which both PSFs are known, and the PSFs there."""
    narrow = {(sample.y, sample.x): sample.kernel for sample in convolved.psf}
    wide = {(sample.y, sample.x): sample.kernel for sample in target.psf}
    places = sorted(narrow.keys() & wide.keys())
    if places:
        return places, [narrow[place] for place in places], [wide[place] for place in places]
    ny, nx = target.image.shape
    return [(ny / 2.0, nx / 2.0)], [convolved.psf[0].kernel], [target.psf[0].kernel]
