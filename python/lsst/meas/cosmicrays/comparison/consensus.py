# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""One mask out of several: votes by pixel, by cosmic ray, and by weight.

Masks that are missing, because a finder failed, do not vote. A rule that
asks for ``k`` of ``n`` votes then asks for the same fraction of those that
are left, rounded up (`votes_needed`); weights are compared with the total
weight of those that are left.
"""

from __future__ import annotations

__all__ = [
    "NoMasksError",
    "count_votes",
    "vote_by_cosmic_ray",
    "vote_by_pixel",
    "vote_by_weight",
    "votes_needed",
]

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .components import find_components


class NoMasksError(ValueError):
    """Raised when there is no mask that could vote."""


def votes_needed(at_least: int, n_members: int, n_available: int) -> int:
    """Return how many votes are asked for when some masks are missing.

    Parameters
    ----------
    at_least : `int`
        Votes asked for when every mask is there, k.
    n_members : `int`
        Number of masks that should vote, n.
    n_available : `int`
        Number of masks that are there.

    Returns
    -------
    needed : `int`
        The same fraction of the masks that are there, rounded up: 2 of 3
        becomes 2 of 2, and 1 of 1.

    Raises
    ------
    NoMasksError
        Raised if no mask is there.
    ValueError
        Raised if ``at_least`` is not between 1 and ``n_members``.
    """
    if not 1 <= at_least <= n_members:
        raise ValueError(f"{at_least} of {n_members} votes can never be asked for: choose 1 to {n_members}.")
    if n_available == 0:
        raise NoMasksError(f"None of the {n_members} masks is there: nothing can vote.")
    return -(-at_least * n_available // n_members)


def count_votes(masks: Sequence[npt.NDArray[np.bool_]]) -> npt.NDArray[np.uint8]:
    """Count how many masks have each pixel.

    Parameters
    ----------
    masks : sequence of `numpy.ndarray`
        Bool arrays ``(ny, nx)``, at most 255.

    Returns
    -------
    votes : `numpy.ndarray`
        Number of masks, uint8 ``(ny, nx)``.

    Raises
    ------
    NoMasksError
        Raised if there is no mask.
    ValueError
        Raised if two masks differ in shape.
    """
    _check_shapes(masks)
    votes = np.zeros(masks[0].shape, dtype=np.uint8)
    for mask in masks:
        votes += mask
    return votes


def vote_by_pixel(masks: Sequence[npt.NDArray[np.bool_]], at_least: int) -> npt.NDArray[np.bool_]:
    """Keep the pixels that enough masks have.

    Parameters
    ----------
    masks : sequence of `numpy.ndarray`
        Bool arrays ``(ny, nx)``.
    at_least : `int`
        Votes that a pixel needs: 1 gives the union, ``len(masks)`` the
        intersection.

    Returns
    -------
    consensus : `numpy.ndarray`
        Bool array ``(ny, nx)``.

    Raises
    ------
    NoMasksError
        Raised if there is no mask.
    ValueError
        Raised if two masks differ in shape.
    """
    return count_votes(masks) >= at_least


def vote_by_cosmic_ray(
    masks: Sequence[npt.NDArray[np.bool_]], at_least: int, pixels_at_least: int = 1
) -> npt.NDArray[np.bool_]:
    """Keep the cosmic rays that enough masks touch.

    A cosmic ray is an 8-connected component of the union of the masks. It
    stays if enough masks have some pixel of it, with the pixels that enough
    (fewer, as a rule) of them have.

    Parameters
    ----------
    masks : sequence of `numpy.ndarray`
        Bool arrays ``(ny, nx)``.
    at_least : `int`
        Number of masks that must have a pixel of the component.
    pixels_at_least : `int`, optional
        Votes that a pixel of such a component needs.

    Returns
    -------
    consensus : `numpy.ndarray`
        Bool array ``(ny, nx)``.

    Raises
    ------
    NoMasksError
        Raised if there is no mask.
    ValueError
        Raised if two masks differ in shape.
    """
    votes = count_votes(masks)
    parts = find_components(votes > 0)
    n_finders = np.zeros(parts.n_components, dtype=np.int64)
    for mask in masks:
        n_finders += parts.maximum(mask[parts.rows, parts.columns]) > 0
    stays = (n_finders >= at_least)[parts.labels] & (votes[parts.rows, parts.columns] >= pixels_at_least)
    consensus = np.zeros(votes.shape, dtype=bool)
    consensus[parts.rows[stays], parts.columns[stays]] = True
    return consensus


def vote_by_weight(
    votes: Sequence[npt.NDArray[np.bool_] | npt.NDArray[np.floating]], weights: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Return the weight of the votes for each pixel.

    Parameters
    ----------
    votes : sequence of `numpy.ndarray`
        Masks (bool) or probabilities (float, 0 to 1), ``(ny, nx)``.
    weights : sequence of `float`
        Weight of each, not negative.

    Returns
    -------
    share : `numpy.ndarray`
        Sum of weight times vote over the sum of weights, float32
        ``(ny, nx)``, 0 to 1.

    Raises
    ------
    NoMasksError
        Raised if there is nothing that votes, or all weights are 0.
    ValueError
        Raised if two arrays differ in shape, if there is not one weight for
        each, or if a weight is negative or not finite.
    """
    _check_shapes(votes)
    if len(weights) != len(votes):
        raise ValueError(f"{len(weights)} weights, but {len(votes)} masks.")
    if not all(np.isfinite(weight) and weight >= 0.0 for weight in weights):
        raise ValueError(f"Weights must be finite and not negative, not {list(weights)}.")
    total = float(sum(weights))
    if total == 0.0:
        raise NoMasksError("The masks that are there all have weight 0: nothing can vote.")
    share = np.zeros(votes[0].shape, dtype=np.float64)
    for vote, weight in zip(votes, weights, strict=True):
        share += weight * vote
    # Rounding must not take a pixel below a share that it has exactly.
    return (share / total).astype(np.float32)


def _check_shapes(arrays: Sequence[npt.NDArray]) -> None:
    if not arrays:
        raise NoMasksError("There is no mask: nothing can vote.")
    for array in arrays[1:]:
        if array.shape != arrays[0].shape:
            raise ValueError(f"Masks must have one shape, but there are {arrays[0].shape} and {array.shape}.")
