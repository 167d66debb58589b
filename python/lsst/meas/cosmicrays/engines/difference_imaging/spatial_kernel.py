# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Convolution with a kernel that changes slowly over the image."""

from __future__ import annotations

__all__ = ["SpatialKernel", "chebyshev_degrees", "chebyshev_image", "chebyshev_values", "fit_kernel"]

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.fft

_TILE = 512


def chebyshev_degrees(order: int) -> list[tuple[int, int]]:
    """Return the degrees of the products of Chebyshev polynomials up to an
    order.

    Parameters
    ----------
    order : `int`
        Highest sum of the two degrees.

    Returns
    -------
    degrees : `list` [`tuple` [`int`, `int`]]
        Degrees in y and in x; the constant comes first.
    """
    return [(total - q, q) for total in range(order + 1) for q in range(total + 1)]


def chebyshev_values(
    order: int, y: np.ndarray | Sequence[float], x: np.ndarray | Sequence[float], shape: tuple[int, int]
) -> np.ndarray:
    """Evaluate the products of Chebyshev polynomials at points of an image.

    Parameters
    ----------
    order : `int`
        Highest sum of the two degrees.
    y, x : `numpy.ndarray`, (n_point,)
        Array indices of the points.
    shape : `tuple` [`int`, `int`]
        Shape of the image, whose outer edges are mapped to -1 and 1.

    Returns
    -------
    values : `numpy.ndarray` [`float64`], (n_term, n_point)
        Terms in the sequence of `chebyshev_degrees`.
    """
    in_y = _chebyshev_1d(order, np.asarray(y, dtype=np.float64), shape[0])
    in_x = _chebyshev_1d(order, np.asarray(x, dtype=np.float64), shape[1])
    return np.stack([in_y[p] * in_x[q] for p, q in chebyshev_degrees(order)])


def chebyshev_image(coefficients: np.ndarray, order: int, shape: tuple[int, int]) -> np.ndarray:
    """Evaluate a polynomial at every pixel of an image.

    Parameters
    ----------
    coefficients : `numpy.ndarray`, (n_term,)
        Coefficients in the sequence of `chebyshev_degrees`.
    order : `int`
        Order of the polynomial.
    shape : `tuple` [`int`, `int`]
        Shape of the image.

    Returns
    -------
    image : `numpy.ndarray` [`float32`], (ny, nx)
        The polynomial.
    """
    table = np.zeros((order + 1, order + 1))
    for (p, q), coefficient in zip(chebyshev_degrees(order), coefficients, strict=True):
        table[p, q] = coefficient
    in_y, in_x = (_chebyshev_1d(order, np.arange(size), size) for size in shape)
    return (in_y.T @ table @ in_x).astype(np.float32)


def _chebyshev_1d(order: int, index: np.ndarray, size: int) -> np.ndarray:
    """Return the polynomials of degree 0 to ``order``, (order + 1, n)."""
    return np.polynomial.chebyshev.chebvander((2.0 * index + 1.0) / size - 1.0, order).T


@dataclasses.dataclass(frozen=True)
class SpatialKernel:
    """A convolution kernel that is a polynomial in position, pixel by pixel.

    Because convolution is linear, the image is convolved once with each
    coefficient and the results are added up with the polynomials as weights
    (Alard 2000, A&AS 144, 363).
    """

    terms: np.ndarray
    """Coefficient kernels, in the sequence of `chebyshev_degrees`
    (float64, shape (n_term, size, size), size odd).
    """

    order: int
    """Order of the polynomials."""

    shape: tuple[int, int]
    """Shape of the image over which the kernel varies."""

    @classmethod
    def constant(cls, kernel: np.ndarray, shape: tuple[int, int]) -> SpatialKernel:
        """Make a kernel that is the same everywhere.

        Parameters
        ----------
        kernel : `numpy.ndarray`, (size, size)
            The kernel.
        shape : `tuple` [`int`, `int`]
            Shape of the image.

        Returns
        -------
        spatial : `SpatialKernel`
            Of order 0.
        """
        return cls(np.asarray(kernel, dtype=np.float64)[np.newaxis], 0, shape)

    @classmethod
    def fit(
        cls, kernels: np.ndarray, y: np.ndarray, x: np.ndarray, order: int, shape: tuple[int, int]
    ) -> SpatialKernel:
        """Fit a kernel known at some points.

        Parameters
        ----------
        kernels : `numpy.ndarray`, (n_point, size, size)
            Kernels at the points.
        y, x : `numpy.ndarray`, (n_point,)
            Array indices of the points.
        order : `int`
            Order of the polynomials.
        shape : `tuple` [`int`, `int`]
            Shape of the image.

        Returns
        -------
        spatial : `SpatialKernel`
            Least-squares fit to each pixel of the kernels.
        """
        values = chebyshev_values(order, y, x, shape).T
        terms, *_ = np.linalg.lstsq(values, kernels.reshape(len(kernels), -1), rcond=None)
        return cls(terms.reshape(-1, *kernels.shape[1:]), order, shape)

    @property
    def half_width(self) -> int:
        """Pixels from the centre of the kernel to its edge (`int`)."""
        return self.terms.shape[-1] // 2

    def at(self, y: float, x: float) -> np.ndarray:
        """Evaluate the kernel at a point.

        Parameters
        ----------
        y, x : `float`
            Array indices of the point.

        Returns
        -------
        kernel : `numpy.ndarray` [`float64`], (size, size)
            The kernel there.
        """
        return np.tensordot(chebyshev_values(self.order, [y], [x], self.shape)[:, 0], self.terms, axes=1)

    def convolve(self, image: np.ndarray) -> np.ndarray:
        """Convolve an image.

        Parameters
        ----------
        image : `numpy.ndarray`, (ny, nx)
            Finite pixel values; mirrored beyond the edges.

        Returns
        -------
        convolved : `numpy.ndarray` [`float32`], (ny, nx)
            The convolved image.

        Raises
        ------
        ValueError
            Raised if the image does not have the shape of the kernel's
            image.
        """
        if image.shape != self.shape:
            raise ValueError(f"The kernel is for images of shape {self.shape}, got one of {image.shape}.")
        half = self.half_width
        ny, nx = self.shape
        padded = np.pad(np.asarray(image, dtype=np.float32), half, mode="symmetric")
        size = tuple(scipy.fft.next_fast_len(min(_TILE, n + 2 * half), real=True) for n in (ny, nx))
        step_y, step_x = (n - 2 * half for n in size)
        transforms = self._transforms(size)
        in_y = _chebyshev_1d(self.order, np.arange(ny), ny).astype(np.float32)
        in_x = _chebyshev_1d(self.order, np.arange(nx), nx).astype(np.float32)
        result = np.empty(self.shape, dtype=np.float32)
        for y in range(0, ny, step_y):
            rows = slice(y, min(y + step_y, ny))
            for x in range(0, nx, step_x):
                columns = slice(x, min(x + step_x, nx))
                tile = padded[y : rows.stop + 2 * half, x : columns.stop + 2 * half]
                result[rows, columns] = self._convolve_tile(
                    tile, transforms, size, in_y[:, rows], in_x[:, columns]
                )
        return result

    def _transforms(self, size: tuple[int, ...]) -> np.ndarray:
        """Fourier-transform the coefficient kernels."""
        return scipy.fft.rfft2(self.terms, s=size).astype(np.complex64)

    def _convolve_tile(
        self,
        tile: np.ndarray,
        transforms: np.ndarray,
        size: tuple[int, ...],
        in_y: np.ndarray,
        in_x: np.ndarray,
    ) -> np.ndarray:
        """Convolve a tile with a border of one half-width on each side."""
        border = 2 * self.half_width
        rows, columns = slice(border, tile.shape[0]), slice(border, tile.shape[1])
        transform = scipy.fft.rfft2(tile, s=size)
        result = np.zeros((tile.shape[0] - border, tile.shape[1] - border), dtype=np.float32)
        for (p, q), kernel in zip(chebyshev_degrees(self.order), transforms, strict=True):
            convolved = scipy.fft.irfft2(transform * kernel, s=size)[rows, columns]
            if p == q == 0:
                result += convolved
            else:
                result += convolved * in_y[p][:, np.newaxis] * in_x[q]
        return result


def fit_kernel(kernel: np.ndarray, size: int) -> np.ndarray:
    """Pad or crop a kernel about its middle.

    Parameters
    ----------
    kernel : `numpy.ndarray`
        Kernel with odd sides.
    size : `int`
        Side of the result, odd.

    Returns
    -------
    fitted : `numpy.ndarray`, (size, size)
        The kernel, with zeros around it or without its rim.
    """
    fitted = np.zeros((size, size), dtype=kernel.dtype)
    into, out_of = [], []
    for length in kernel.shape:
        half = min(length, size) // 2
        into.append(slice(size // 2 - half, size // 2 + half + 1))
        out_of.append(slice(length // 2 - half, length // 2 + half + 1))
    fitted[tuple(into)] = kernel[tuple(out_of)]
    return fitted
