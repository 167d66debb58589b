# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Aligning exposures of one field by their stars."""

from __future__ import annotations

__all__ = ("Alignment", "AlignmentError", "align", "resample", "resampled_noise")

import dataclasses

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from ..documentation import DocumentedError
from .stars import StarList

_MAX_STARS = 80
_VOTE_BIN = 3.0
_MATCH_RADIUS = 2.0
_MIN_MATCHES = 5
_MIN_MATCHES_AFFINE = 12
_CLIP = 3.0
_SPLINE_ORDER = 3


class AlignmentError(DocumentedError, ValueError):
    """Two exposures that have too few stars in common."""


@dataclasses.dataclass(frozen=True, eq=False)
class Alignment:
    """Where the pixels of one image are in another.

    Parameters
    ----------
    matrix
        Linear part of the map of (x, y); shape (2, 2).
    offset
        Its constant part in pixels; shape (2,).
    target, source
        Indices of the stars matched, in the lists of both images.
    rms
        Root mean square residual of the stars along one axis, in pixels.
    """

    matrix: np.ndarray
    offset: np.ndarray
    target: np.ndarray
    source: np.ndarray
    rms: float

    def __call__(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map positions of the target image to the source image.

        Parameters
        ----------
        x, y
            Positions in pixels.

        Returns
        -------
        x, y : `numpy.ndarray`
            Positions in the source image.
        """
        mapped = np.column_stack([x, y]) @ self.matrix.T + self.offset
        return mapped[:, 0], mapped[:, 1]


def align(target: StarList, source: StarList) -> Alignment:
    """Find how a source image lies on a target image.

    The shift that most pairs of stars agree on is refined to an affine map
    where there are enough stars.  Images turned by more than a few degrees
    or mirrored are not recognized.

    Parameters
    ----------
    target, source
        Stars of both images, brightest first.

    Returns
    -------
    alignment : `Alignment`
        Map from target to source pixels.

    Raises
    ------
    AlignmentError
        Raised if fewer than five stars agree.
    """
    target_xy, source_xy = (np.column_stack([stars.x, stars.y])[:_MAX_STARS] for stars in (target, source))
    if min(len(target_xy), len(source_xy)) < _MIN_MATCHES:
        raise AlignmentError(f"{len(target_xy)} and {len(source_xy)} stars are too few to align")
    matrix, offset = np.eye(2), _vote_for_shift(target_xy, source_xy)
    radius = 2.0 * _VOTE_BIN
    for _ in range(5):
        first, second = _match(target_xy @ matrix.T + offset, source_xy, radius)
        if len(first) < _MIN_MATCHES:
            raise AlignmentError(f"only {len(first)} stars agree")
        matrix, offset, rms = _fit(target_xy[first], source_xy[second])
        radius = max(_MATCH_RADIUS / 2.0, min(_MATCH_RADIUS, _CLIP * rms))
    return Alignment(matrix, offset, first, second, rms)


def resample(array: np.ndarray, alignment: Alignment, *, order: int = _SPLINE_ORDER) -> np.ndarray:
    """Resample a source image on the pixels of the target image.

    Parameters
    ----------
    array
        Source image of the shape of the target, finite everywhere.
    alignment
        Map from target to source pixels.
    order
        Order of the spline.

    Returns
    -------
    resampled : `numpy.ndarray` [`float32`]
        NaN where the source does not reach.
    """
    inside = ndimage.affine_transform(
        np.ones(array.shape, dtype=np.float32),
        alignment.matrix[::-1, ::-1],
        alignment.offset[::-1],
        order=0,
        cval=0.0,
    )
    resampled = ndimage.affine_transform(
        array.astype(np.float32),
        alignment.matrix[::-1, ::-1],
        alignment.offset[::-1],
        order=order,
        mode="nearest",
    )
    return np.where(inside > 0.0, resampled, np.nan).astype(np.float32)


def resampled_noise(alignment: Alignment, shape: tuple[int, int]) -> float:
    """Return what resampling does to the variance of white noise.

    Parameters
    ----------
    alignment
        Map from target to source pixels.
    shape
        Shape (ny, nx) of the images.

    Returns
    -------
    factor : `float`
        Sum of the squared weights of the spline, averaged over the image; 1
        where pixels fall on pixels.
    """
    y, x = np.meshgrid(*(np.linspace(0, length - 1, 9).round() for length in shape), indexing="ij")
    source_x, source_y = alignment(x.ravel(), y.ravel())
    factors = _squared_weights(source_x % 1.0) * _squared_weights(source_y % 1.0)
    return float(factors.mean())


def _squared_weights(fraction: np.ndarray) -> np.ndarray:
    """Return the sum of squared weights of the spline between two pixels."""
    length = 41
    impulse = np.zeros(length)
    impulse[length // 2] = 1.0
    offsets = np.arange(length, dtype=np.float64)
    return np.array(
        [
            (ndimage.map_coordinates(impulse, [offsets + shift], order=_SPLINE_ORDER) ** 2).sum()
            for shift in fraction
        ]
    )


def _vote_for_shift(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Return the shift on which most pairs agree."""
    shifts = (source[None, :, :] - target[:, None, :]).reshape(-1, 2)
    votes = cKDTree(shifts).query_ball_point(shifts, _VOTE_BIN, return_length=True)
    best = shifts[np.argmax(votes)]
    near = np.hypot(*(shifts - best).T) < _VOTE_BIN
    return np.median(shifts[near], axis=0)


def _match(target: np.ndarray, source: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Match stars that are each other's nearest."""
    distance, nearest = cKDTree(source).query(target)
    _, back = cKDTree(target).query(source)
    first = np.flatnonzero((distance < radius) & (back[nearest] == np.arange(len(target))))
    return first, nearest[first]


def _fit(target: np.ndarray, source: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Fit an affine map, or a shift where there are few stars."""
    if len(target) >= _MIN_MATCHES_AFFINE:
        design = np.column_stack([target, np.ones(len(target))])
        solution = np.linalg.lstsq(design, source, rcond=None)[0]
        matrix, offset = solution[:2].T, solution[2]
    else:
        matrix, offset = np.eye(2), np.median(source - target, axis=0)
    residuals = source - (target @ matrix.T + offset)
    return matrix, offset, float(np.sqrt(np.mean(residuals**2)))
