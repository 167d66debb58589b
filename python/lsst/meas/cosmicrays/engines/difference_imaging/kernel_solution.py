# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Solving for the kernel that matches one image to another."""

from __future__ import annotations

__all__ = [
    "KernelFitError",
    "KernelSolution",
    "MatchingStamps",
    "TooFewCandidatesError",
    "solve_matching_kernel",
]

import dataclasses
import math

import numpy as np
import scipy.linalg
import scipy.ndimage

from .spatial_kernel import SpatialKernel, chebyshev_degrees, chebyshev_values

_N_ITERATION = 6
_PIXEL_CLIP = 5.0
_STAMP_CLIP = 4.0
_TOLERANCE = 0.02
_GUESS_ERROR = 0.2
_GUESS_SCATTER = 0.03
_RIDGE = 1e-9
_STAMPS_PER_TERM = 3
_MAX_NOISE_SHARE = 0.5
_TYPICAL_VARIATION = 0.05


class KernelFitError(RuntimeError):
    """Raised when no sensible kernel fits the stamps."""


class TooFewCandidatesError(KernelFitError):
    """Raised when too few stamps are usable to solve for a kernel.

    Parameters
    ----------
    n_usable : `int`
        Number of usable stamps.
    n_required : `int`
        Number needed.
    """

    def __init__(self, n_usable: int, n_required: int) -> None:
        super().__init__(
            f"Only {n_usable} stamps are usable for PSF matching, but {n_required} are required."
        )
        self.n_usable = n_usable
        self.n_required = n_required


@dataclasses.dataclass(frozen=True)
class MatchingStamps:
    """Corresponding cutouts of the two images to be matched."""

    convolved: np.ndarray
    """Cutouts of the image to be convolved, after convolution with each basis
    kernel (float32, shape (n_stamp, n_basis, n_pixel)).
    """

    target: np.ndarray
    """Cutouts of the other image (float32, (n_stamp, n_pixel))."""

    convolved_variance: np.ndarray
    """Variance of the first before its convolution (float32, (n_stamp,
    n_pixel)).
    """

    target_variance: np.ndarray
    """Variance of the second (float32, (n_stamp, n_pixel))."""

    usable: np.ndarray
    """Pixels that may be used (bool, (n_stamp, n_pixel))."""

    centres: np.ndarray
    """Array indices (y, x) of the middles in the image (int64, (n_stamp, 2)).
    """


@dataclasses.dataclass(frozen=True)
class KernelSolution:
    """A matching kernel and how it was found."""

    kernel: SpatialKernel
    """The kernel."""

    n_candidates: int
    """Number of stamps offered."""

    n_used: int
    """Number of stamps that were not rejected."""

    used: np.ndarray
    """Which stamps were used (bool, (n_stamp,))."""

    chi_square: float
    """Mean square of the residuals in units of their noise, of the pixels
    used.
    """

    coefficients: np.ndarray
    """Coefficients of the polynomial terms of the basis kernels (float64,
    (n_basis, n_term)).
    """

    from_psf_models: bool = False
    """Whether the stamps were models of the PSFs."""

    @property
    def kernel_sum(self) -> float:
        """Sum of the kernel, the same everywhere: the photometric scale of
        the target over that of the convolved image (`float`).
        """
        return float(self.kernel.terms[0].sum())


def solve_matching_kernel(
    stamps: MatchingStamps,
    basis: np.ndarray,
    shape: tuple[int, int],
    *,
    kernel_order: int = 2,
    background_order: int = 1,
    min_stamps: int = 3,
    flux_error: float = 0.003,
    guess: np.ndarray | None = None,
) -> KernelSolution:
    """Fit target = kernel * image + background to stamps.

    The coefficient of every basis kernel but the first, which carries the
    photometric scale, is a polynomial in position (Alard 2000, A&AS 144,
    363).  Pixels off the fit (cosmic rays, trails) and stamps whose flux is
    off (variable objects) are left out, and the fit is made again.  What
    the noise of the image to be convolved adds to the normal equations is
    taken away, lest it weaken the kernel.

    Parameters
    ----------
    stamps : `MatchingStamps`
        The stamps.
    basis : `numpy.ndarray`, (n_basis, size, size)
        Basis kernels; only the first has a sum.
    shape : `tuple` [`int`, `int`]
        Shape of the image.
    kernel_order : `int`, optional
        Highest order of the kernel's variation; less is used if there are
        few stamps.
    background_order : `int`, optional
        The same for the difference of the two backgrounds, which serves the
        fit only.
    min_stamps : `int`, optional
        Least number of stamps.
    flux_error : `float`, optional
        Errors of the model in proportion to flux, added to the noise.
    guess : `numpy.ndarray`, (n_basis,), optional
        Coefficients of a kernel that is nearly right but for its sum, by
        which cosmic rays and variable objects are left out of the first fit
        already.

    Returns
    -------
    solution : `KernelSolution`
        The kernel.

    Raises
    ------
    KernelFitError
        Raised if the sum of the kernel does not come out positive, or if the
        stamps have nothing in common.
    TooFewCandidatesError
        Raised if there are fewer usable stamps than ``min_stamps``.
    """
    n_stamp = len(stamps.target)
    if n_stamp < min_stamps:
        raise TooFewCandidatesError(n_stamp, min_stamps)
    kernel_order = _affordable_order(kernel_order, n_stamp)
    fit = _SpatialFit(basis, kernel_order, _affordable_order(background_order, n_stamp), shape)
    used = stamps.usable if guess is None else fit.near_guess(stamps, guess)
    variance = stamps.target_variance + np.square(flux_error * stamps.target)
    for _ in range(_N_ITERATION):
        coefficients = fit.solve(stamps, np.where(used, 1.0 / variance, 0.0))
        stars, background = fit.predict(coefficients, stamps)
        residual = stamps.target - stars - background
        noise = stamps.target_variance
        noise = noise + fit.kernel_power(coefficients, stamps) * stamps.convolved_variance
        variance = noise + np.square(flux_error * stars)
        tolerated = noise + np.square(_TOLERANCE * stars)
        stamp_ok = _steady(residual, stars, tolerated, stamps.usable)
        if np.count_nonzero(stamp_ok) < min_stamps:
            raise TooFewCandidatesError(int(np.count_nonzero(stamp_ok)), min_stamps)
        used = stamps.usable & stamp_ok[:, np.newaxis] & ~_outliers(residual, tolerated)
    solution = KernelSolution(
        kernel=SpatialKernel(fit.kernel_terms(coefficients), kernel_order, shape),
        n_candidates=n_stamp,
        n_used=int(np.count_nonzero(stamp_ok)),
        used=stamp_ok,
        chi_square=float(np.mean(np.square(residual[used]) / variance[used])),
        coefficients=fit.kernel_table(coefficients),
    )
    if not (math.isfinite(solution.kernel_sum) and solution.kernel_sum > 0.0):
        raise KernelFitError(f"The sum of the PSF-matching kernel came out as {solution.kernel_sum:.3g}.")
    return solution


class _SpatialFit:
    """Bookkeeping of the parameters of a fit in space.

    Columns of a stamp are its convolutions with the basis and a constant.
    Each has a polynomial in position for a coefficient, but the first.
    """

    def __init__(
        self, basis: np.ndarray, kernel_order: int, background_order: int, shape: tuple[int, int]
    ) -> None:
        self.basis = basis
        self.shape = shape
        self.order = max(kernel_order, background_order)
        self.n_kernel_term = len(chebyshev_degrees(kernel_order))
        self.fitted = np.zeros((len(basis) + 1, len(chebyshev_degrees(self.order))), dtype=bool)
        self.fitted[0, 0] = True
        self.fitted[1:-1, : self.n_kernel_term] = True
        self.fitted[-1, : len(chebyshev_degrees(background_order))] = True
        flat = basis.reshape(len(basis), -1)
        self.overlap = flat @ flat.T

    def solve(self, stamps: MatchingStamps, weight: np.ndarray) -> np.ndarray:
        """Set up and solve the normal equations."""
        n_column, n_term = self.fitted.shape
        matrix = np.zeros((n_column, n_term, n_column, n_term))
        noise_matrix = np.zeros_like(matrix)
        vector = np.zeros((n_column, n_term))
        noise = np.sum(weight * stamps.convolved_variance, axis=1)
        constant = np.ones((1, weight.shape[1]))
        for i, place in enumerate(self._positions(stamps)):
            columns = np.concatenate([stamps.convolved[i], constant])
            weighted = columns * weight[i]
            places = np.outer(place, place)
            matrix += np.multiply.outer(weighted @ columns.T, places).transpose(0, 2, 1, 3)
            noise_matrix[:-1, :, :-1] += np.multiply.outer(noise[i] * self.overlap, places).transpose(
                0, 2, 1, 3
            )
            vector += np.outer(weighted @ stamps.target[i], place)
        fitted = self.fitted.ravel()
        size = fitted.size
        rows = np.ix_(fitted, fitted)
        return _solve(
            matrix.reshape(size, size)[rows] + np.diag(self._prior(matrix, vector).ravel()[fitted]),
            noise_matrix.reshape(size, size)[rows],
            vector.ravel()[fitted],
        )

    def _prior(self, matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """Return inverse variances of the coefficients before any data.

        Those of the shape are about as large as the photometric scale, which
        a fit of the first kernel alone gives, and vary much less than that.
        """
        power = matrix[0, 0, 0, 0]
        if not (math.isfinite(power) and power > 0.0 and vector[0, 0] != 0.0):
            raise KernelFitError("The two images have nothing in common in the stamps of the kernel fit.")
        scale = vector[0, 0] / power
        inverse_variance = np.zeros(self.fitted.shape)
        inverse_variance[1:-1, 0] = 1.0 / scale**2
        inverse_variance[1:-1, 1:] = 1.0 / (_TYPICAL_VARIATION * scale) ** 2
        return inverse_variance

    def predict(self, coefficients: np.ndarray, stamps: MatchingStamps) -> tuple[np.ndarray, np.ndarray]:
        """Return the fitted objects and background, (n_stamp, n_pixel) and
        (n_stamp, 1).
        """
        local = self._local(coefficients, stamps)
        stars = np.einsum("sb,sbp->sp", local[:, :-1].astype(np.float32), stamps.convolved)
        return stars, local[:, -1:].astype(np.float32)

    def kernel_power(self, coefficients: np.ndarray, stamps: MatchingStamps) -> np.ndarray:
        """Return the sum of squares of the kernel, (n_stamp, 1)."""
        local = self._local(coefficients, stamps)[:, :-1]
        return np.einsum("sa,ab,sb->s", local, self.overlap, local)[:, np.newaxis].astype(np.float32)

    def near_guess(self, stamps: MatchingStamps, guess: np.ndarray) -> np.ndarray:
        """Return the usable pixels that are not far from a guess.

        If most stamps agree with it on one scale, the others are left out.
        """
        model = np.einsum("b,sbp->sp", guess.astype(np.float32), stamps.convolved)
        weight = np.where(stamps.usable, 1.0 / stamps.target_variance, 0.0)
        power = np.maximum(np.sum(weight * np.square(model), axis=1), np.finfo(np.float32).tiny)
        scales = np.sum(weight * model * stamps.target, axis=1) / power
        scale = np.median(scales)
        agree = np.abs(scales - scale) <= _STAMP_CLIP * np.hypot(_GUESS_SCATTER * scale, 1.0 / np.sqrt(power))
        if 2 * np.count_nonzero(agree) < len(agree):
            agree[:] = True
        residual = stamps.target - scale * model
        residual -= np.median(residual, axis=1, keepdims=True)
        noise = stamps.target_variance + scale**2 * (guess @ self.overlap @ guess) * stamps.convolved_variance
        # A cosmic ray is in one of the two only.
        common = np.minimum(np.abs(scale * model), np.abs(stamps.target))
        far = _outliers(residual, noise + np.square(_GUESS_ERROR * common))
        return stamps.usable & agree[:, np.newaxis] & ~far

    def kernel_table(self, coefficients: np.ndarray) -> np.ndarray:
        """Return the coefficients of the kernels, (n_basis, n_term)."""
        return self._table(coefficients)[:-1, : self.n_kernel_term]

    def kernel_terms(self, coefficients: np.ndarray) -> np.ndarray:
        """Return the coefficient kernels, (n_term, size, size)."""
        return np.tensordot(self.kernel_table(coefficients).T, self.basis, axes=1)

    def _local(self, coefficients: np.ndarray, stamps: MatchingStamps) -> np.ndarray:
        """Evaluate the coefficients at the stamps, (n_stamp, n_column)."""
        return self._positions(stamps) @ self._table(coefficients).T

    def _table(self, coefficients: np.ndarray) -> np.ndarray:
        """Put fitted coefficients in their places, (n_column, n_term)."""
        table = np.zeros(self.fitted.shape)
        table[self.fitted] = coefficients
        return table

    def _positions(self, stamps: MatchingStamps) -> np.ndarray:
        """Evaluate the polynomials at the stamps, (n_stamp, n_term)."""
        return chebyshev_values(self.order, stamps.centres[:, 0], stamps.centres[:, 1], self.shape).T


def _spread(products: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Multiply products of columns with products of polynomials."""
    return np.multiply.outer(products, np.outer(place, place)).transpose(0, 2, 1, 3)


def _affordable_order(order: int, n_stamp: int) -> int:
    """Lower an order until there are several stamps for each term."""
    while order > 0 and n_stamp < _STAMPS_PER_TERM * len(chebyshev_degrees(order)):
        order -= 1
    return order


def _solve(matrix: np.ndarray, noise: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Solve normal equations from which the part of noise is taken away.

    In directions in which there is little but noise it is left where it is,
    as a ridge.
    """
    scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix), np.finfo(np.float64).tiny))
    scales = np.outer(scale, scale)
    regular = matrix * scales
    regular[np.diag_indices_from(regular)] += _RIDGE
    share, directions = scipy.linalg.eigh(noise * scales, regular)
    signal = np.where(share < _MAX_NOISE_SHARE, 1.0 - share, 1.0)
    return scale * (directions @ ((directions.T @ (scale * vector)) / signal))


def _outliers(residual: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the pixels of stamps that are far off, and their neighbours."""
    size = math.isqrt(residual.shape[1])
    far = np.square(residual) > _PIXEL_CLIP**2 * variance
    grown = scipy.ndimage.maximum_filter(far.reshape(-1, size, size).view(np.uint8), (1, 3, 3))
    return grown.view(bool).reshape(far.shape)


def _steady(residual: np.ndarray, stars: np.ndarray, variance: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Return which stamps have neither changed their flux nor fit badly."""
    weight = np.where(usable, 1.0 / variance, 0.0)
    power = np.sum(weight * np.square(stars), axis=1)
    change = np.sum(weight * residual * stars, axis=1) / np.maximum(power, np.finfo(np.float32).tiny)
    n_usable = usable.sum(axis=1)
    misfit = np.sum(weight * np.minimum(np.square(residual), 100.0 * variance), axis=1)
    misfit /= np.maximum(n_usable, 1)
    return (
        (power > 0.0)
        & (2 * n_usable > usable.shape[1])
        & _inliers(change, np.hypot(_TOLERANCE, 1.0 / np.sqrt(np.maximum(power, np.finfo(np.float32).tiny))))
        & (misfit <= max(1.0, np.median(misfit) + _STAMP_CLIP * _scatter(misfit)))
    )


def _inliers(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return which values agree with their median within their errors and
    scatter.
    """
    return np.abs(values - np.median(values)) <= _STAMP_CLIP * np.hypot(errors, _scatter(values))


def _scatter(values: np.ndarray) -> float:
    """Return the standard deviation estimated from the median deviation."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
