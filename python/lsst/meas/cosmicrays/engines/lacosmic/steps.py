# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of L.A.Cosmic on patches of an image.

Names and symbols are those of P. van Dokkum (2001, PASP 113, 1420); the
operations, and the order in which they round, those of astroscrappy 1.3.
"""

from __future__ import annotations

__all__ = [
    "NO_PIXELS",
    "ONE_PIXEL",
    "SMALLEST_VARIANCE",
    "Rule",
    "find_fine_structure",
    "find_laplacian",
    "find_signal_to_noise",
    "find_significance",
    "fine_structure",
    "half_of",
    "large_scale",
    "reach_of",
    "remove_smooth",
    "signal_to_noise",
    "significance",
]

from typing import NamedTuple

import numpy as np

from .cleaned import insert_cleaned
from .compiled import compiled, in_place, inlined
from .frame import Frame, laplacian_at, positive_laplacian
from .patches import (
    Patches,
    Scratch,
    clear_outside,
    convolve,
    gather,
    locate,
    new_scratch,
    off_edges,
    restore_border,
    separable_median,
    square_median,
    touches_edge,
    whole_vectors,
)

LANES = 32
"""How many patches of a single pixel are looked at side by side."""

NO_PIXELS = np.int64(0)
"""Reach of no pixels around patches.  For a number that stands in a call, a
function is compiled once more; for this constant it is not."""

ONE_PIXEL = np.int64(1)
"""Height or width of a patch of one pixel."""

ONE = np.float32(1)
TWO = np.float32(2)
SMALLEST_VARIANCE = np.float32(0.00001)
"""Least variance of a pixel, electrons^2."""


class Rule(NamedTuple):
    """Which filters are used, and what makes a CR pixel."""

    separable: bool
    """Whether medians are separable (``sepmed``)."""

    kernel: np.ndarray
    """PSF of the matched filter, (ky, kx) float32; (0, 0) if the fine
    structure is found with medians."""

    limit: np.float32
    """Least ratio of a pixel, less its surroundings, to the noise."""

    neighbour_limit: np.float32
    """The same for neighbours of CR pixels."""

    contrast: np.float32
    """Least ratio of that ratio to the fine structure (``objlim``)."""


@in_place
def reach_of(rule: Rule) -> int:
    """Tell how far from a pixel those are that decide about it.

    Parameters
    ----------
    rule : `Rule`
        Filters to use.

    Returns
    -------
    reach : `int`
        Distance in pixels, along rows or columns.
    """
    if rule.kernel.size == 0:
        return 6
    return 7 + (max(rule.kernel.shape) - 1) // 2


@in_place
def half_of(rule: Rule) -> int:
    """Tell the half width of the medians of noise and of S, rounded down.

    Parameters
    ----------
    rule : `Rule`
        Filters to use.

    Returns
    -------
    half : `int`
        Three pixels for separable medians, two for square ones.
    """
    return 3 if rule.separable else 2


@compiled
def signal_to_noise(frame: Frame, rule: Rule, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the ratio of the Laplacian to the noise (S) at some pixels.

    Parameters
    ----------
    frame : `Frame`
        State of the image.
    rule : `Rule`
        Filters to use.
    pixels : `numpy.ndarray`, (n,), int64
        Pixels, numbered ``y * nx + x``.

    Returns
    -------
    ratios, noises : `numpy.ndarray`, (n,), float32
        The ratio, and the noise that the pixels would have without CRs.
    """
    n = pixels.size
    ratios = np.empty(n, dtype=np.float32)
    noises = np.empty(n, dtype=np.float32)
    patches = _new_patches(1, 1)
    scratch = new_scratch(1, 1, LANES, 3, rule.separable)
    for start in range(0, n, LANES):
        used = _place(patches, pixels, start, frame.flags.shape[1])
        find_signal_to_noise(frame, rule, patches, NO_PIXELS, scratch)
        ratios[start : start + used] = scratch.signal[0, :used]
        noises[start : start + used] = scratch.noise[0, :used]
    return ratios, noises


@compiled
def significance(frame: Frame, rule: Rule, corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """Find how much more significant pixels are than their surroundings (S').

    Parameters
    ----------
    frame, rule
        As for `signal_to_noise`.
    corners : `numpy.ndarray`, (n,), int64
        First pixels of small blocks, numbered ``y * nx + x``.
    height, width : `int`
        Size of the blocks, which may be single pixels.

    Returns
    -------
    significances : `numpy.ndarray`, (n, height, width), float32
        The ratio of the Laplacian to the noise, less its median around the
        pixel.
    """
    significances = np.empty((corners.size, height, width), dtype=np.float32)
    patches = _new_patches(height, width)
    lanes = patches.tops.size
    scratch = new_scratch(height, width, lanes, 6, rule.separable)
    for start in range(0, corners.size, lanes):
        used = _place(patches, corners, start, frame.flags.shape[1])
        find_significance(frame, rule, patches, scratch)
        for lane in range(used):
            for r in range(height):
                for c in range(width):
                    significances[start + lane, r, c] = scratch.result[r, c * lanes + lane]
    return significances


@compiled
def fine_structure(frame: Frame, rule: Rule, pixels: np.ndarray) -> np.ndarray:
    """Find how much of pixels may be a star (F), not yet over the noise.

    Parameters
    ----------
    frame, rule, pixels
        As for `signal_to_noise`.

    Returns
    -------
    structures : `numpy.ndarray`, (n,), float32
        Fine structure, electrons.
    """
    structures = np.empty(pixels.size, dtype=np.float32)
    patches = _new_patches(1, 1)
    scratch = new_scratch(1, 1, LANES, reach_of(rule), rule.separable)
    for start in range(0, pixels.size, LANES):
        used = _place(patches, pixels, start, frame.flags.shape[1])
        find_fine_structure(frame, rule, patches, scratch)
        structures[start : start + used] = scratch.result[0, :used]
    return structures


@in_place
def find_significance(frame: Frame, rule: Rule, patches: Patches, scratch: Scratch) -> None:
    """Find S' of patches, as `significance` of blocks.

    Parameters
    ----------
    frame, rule
        As for `signal_to_noise`.
    patches : `Patches`
        Patches.
    scratch : `Scratch`
        Where to work, with six pixels around the patches; ``result`` gets S'.
    """
    half = half_of(rule)
    find_signal_to_noise(frame, rule, patches, half, scratch)
    remove_smooth(rule.separable, scratch.signal, half, scratch, patches, frame.flags.shape)


@in_place
def find_fine_structure(frame: Frame, rule: Rule, patches: Patches, scratch: Scratch) -> None:
    """Find F of patches, as `fine_structure` of pixels.

    Parameters
    ----------
    frame, rule
        As for `signal_to_noise`.
    patches : `Patches`
        Patches.
    scratch : `Scratch`
        Where to work, with `reach_of` the rule around the patches; ``result``
        gets F.
    """
    half = 4 if rule.separable else 3
    shape = frame.flags.shape
    if rule.kernel.size > 0:
        _matched_filter(frame, rule, patches, half, scratch)
    else:
        inner = 2 if rule.separable else 1
        source, top, left = locate(frame.image, patches, half + inner, scratch.raw)
        _smooth(rule.separable, source, top, left, inner, scratch, scratch.signal, patches, half, shape)
    remove_smooth(rule.separable, scratch.signal, half, scratch, patches, shape)


@compiled
def large_scale(image: np.ndarray, separable: bool, corners: np.ndarray, width: int) -> np.ndarray:
    """Find the median of an image around pixels.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Image.
    separable : `bool`
        Whether the median is the separable one of 7x7, or that of 5x5 pixels.
    corners : `numpy.ndarray`, (n,), int64
        First pixels of rows of pixels, numbered ``y * nx + x``.
    width : `int`
        Number of pixels in each.

    Returns
    -------
    medians : `numpy.ndarray`, (n, width), float32
        Medians.
    """
    half = 3 if separable else 2
    medians = np.empty((corners.size, width), dtype=np.float32)
    patches = _new_patches(1, width)
    lanes = patches.tops.size
    scratch = new_scratch(1, width, lanes, half, separable)
    for start in range(0, corners.size, lanes):
        used = _place(patches, corners, start, image.shape[1])
        source, top, left = locate(image, patches, half, scratch.raw)
        _smooth(separable, source, top, left, half, scratch, scratch.result, patches, NO_PIXELS, image.shape)
        for lane in range(used):
            for c in range(width):
                medians[start + lane, c] = scratch.result[0, c * lanes + lane]
    return medians


@inlined
def _new_patches(height: int, width: int) -> Patches:
    """Make as many patches as fill the vector registers."""
    lanes = LANES if width < LANES else 1
    return Patches(
        np.empty(lanes, dtype=np.int64),
        np.empty(lanes, dtype=np.int64),
        np.empty(lanes, dtype=np.int64),
        height,
        width,
    )


@in_place
def _place(patches: Patches, corners: np.ndarray, start: int, nx: int) -> int:
    """Put the patches on some pixels, spare ones on the last.

    Returns how many are not spare.
    """
    for lane in range(patches.tops.size):
        corner = corners[min(start + lane, corners.size - 1)]
        patches.tops[lane] = corner // nx
        patches.lefts[lane] = corner % nx
        patches.corners[lane] = corner
    return min(patches.tops.size, corners.size - start)


@inlined
def _smooth(
    separable: bool,
    source: np.ndarray,
    top: int,
    left: int,
    half: int,
    scratch: Scratch,
    target: np.ndarray,
    patches: Patches,
    reach: int,
    shape: tuple[int, int],
) -> None:
    """Take medians of a width of ``2 * half + 1``."""
    size = 2 * half + 1
    height, width = patches.height + 2 * reach, patches.width + 2 * reach
    if separable:
        separable_median(source, top, left, size, scratch.rows, target, height, width, patches.tops.size)
    else:
        square_median(source, top, left, size, scratch.window, target, height, width, patches.tops.size)
    restore_border(source, half, target, patches, reach, shape)


@in_place
def remove_smooth(
    separable: bool,
    source: np.ndarray,
    half: int,
    scratch: Scratch,
    patches: Patches,
    shape: tuple[int, int],
) -> None:
    """Subtract medians from the numbers around which they are taken.

    Parameters
    ----------
    separable : `bool`
        Whether the medians are separable.
    source : `numpy.ndarray`, float32
        Patch array with ``half`` more pixels around.
    half : `int`
        Half the width of the medians, rounded down.
    scratch : `Scratch`
        Where to work; ``result`` gets the difference.
    patches : `Patches`
        Patches.
    shape : `tuple` [`int`, `int`]
        Shape of the image.
    """
    _smooth(separable, source, NO_PIXELS, NO_PIXELS, half, scratch, scratch.result, patches, NO_PIXELS, shape)
    lanes = patches.tops.size
    for r in range(patches.height):
        p, q = source[r + half, half * lanes :], scratch.result[r]
        for i in range(whole_vectors(patches.width * lanes)):
            q[i] = p[i] - q[i]


@inlined
def _smooth_variance(frame: Frame, rule: Rule, patches: Patches, reach: int, scratch: Scratch) -> None:
    """Find the variance without CRs, of the patches and pixels around."""
    height = patches.height + 2 * reach
    n = whole_vectors((patches.width + 2 * reach) * patches.tops.size)
    half = half_of(rule)
    shape = frame.flags.shape
    source, top, left = scratch.raw, NO_PIXELS, NO_PIXELS
    if frame.cleaned.rows.size == 0:
        source, top, left = locate(frame.variance, patches, reach + half, scratch.raw)
    else:
        gather(frame.variance, patches, reach + half, scratch.raw)
        insert_cleaned(frame.cleaned, shape, patches, reach + half, scratch.raw)
    _smooth(rule.separable, source, top, left, half, scratch, scratch.noise, patches, reach, shape)
    if frame.sky.size > 0:
        gather(frame.sky, patches, reach, scratch.raw)
        for r in range(height):
            p, q = scratch.raw[r], scratch.noise[r]
            for i in range(n):
                q[i] += p[i]


@inlined
def _root(variance: np.float32) -> np.float32:
    """Return the noise that a variance stands for."""
    return np.sqrt(SMALLEST_VARIANCE if variance < SMALLEST_VARIANCE else variance)


@in_place
def find_signal_to_noise(frame: Frame, rule: Rule, patches: Patches, reach: int, scratch: Scratch) -> None:
    """Find S of patches and some pixels around, and the noise.

    Parameters
    ----------
    frame, rule
        As for `signal_to_noise`.
    patches : `Patches`
        Patches.
    reach : `int`
        How many pixels around them to look at too.
    scratch : `Scratch`
        Where to work, with three pixels around all these; ``signal`` gets S,
        ``noise`` the noise.
    """
    _smooth_variance(frame, rule, patches, reach, scratch)
    find_laplacian(frame.image, patches, reach, scratch.raw, scratch.signal)
    n = whole_vectors((patches.width + 2 * reach) * patches.tops.size)
    for r in range(patches.height + 2 * reach):
        noise, ratio = scratch.noise[r], scratch.signal[r]
        for i in range(n):
            noise[i] = _root(noise[i])
            ratio[i] /= TWO * noise[i]


@in_place
def find_laplacian(
    image: np.ndarray, patches: Patches, reach: int, raw: np.ndarray, target: np.ndarray
) -> None:
    """Find the positive part of the Laplacian (L+); see `laplacian_at`.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Image.
    patches : `Patches`
        Patches.
    reach : `int`
        How many pixels around them to look at too.
    raw : `numpy.ndarray`, float32
        Patch array to work in, with one more pixel around.
    target : `numpy.ndarray`, float32
        Patch array that gets the Laplacian.
    """
    ny, nx = image.shape
    lanes = patches.tops.size
    height, width = patches.height + 2 * reach, patches.width + 2 * reach
    source, top, first = locate(image, patches, reach + 1, raw)
    for r in range(height):
        before, q = source[top + r + 1, first:], target[r]
        centre, after = before[lanes:], before[2 * lanes :]
        up, down = source[top + r, first + lanes :], source[top + r + 2, first + lanes :]
        for i in range(whole_vectors(width * lanes)):
            q[i] = positive_laplacian(centre[i], before[i], after[i], up[i], down[i])
    for lane in range(lanes):
        if not touches_edge(patches, lane, reach + 1, image.shape):
            continue
        left = patches.lefts[lane] - reach
        start, stop = max(-left, 0), min(nx - left, width)
        for r in range(height):
            y = patches.tops[lane] - reach + r
            if not 0 <= y < ny:
                continue
            begin, end = off_edges(patches, lane, reach, r, 1, image.shape)
            for c in range(start, min(begin, stop)):
                target[r, c * lanes + lane] = laplacian_at(image, y, left + c)
            for c in range(max(end, start), stop):
                target[r, c * lanes + lane] = laplacian_at(image, y, left + c)


@inlined
def _matched_filter(frame: Frame, rule: Rule, patches: Patches, reach: int, scratch: Scratch) -> None:
    """Find the flux of a star at each pixel, were there one, into signal."""
    around = (max(rule.kernel.shape) - 1) // 2
    shape = frame.flags.shape
    lanes = patches.tops.size
    height, width = patches.height + 2 * reach, patches.width + 2 * reach
    _smooth_variance(frame, rule, patches, reach + around, scratch)
    gather(frame.image, patches, reach + around, scratch.raw)
    for r in range(height + 2 * around):
        p, q = scratch.raw[r], scratch.noise[r]
        for i in range(whole_vectors((width + 2 * around) * lanes)):
            noise = _root(q[i])
            p[i] = p[i] / noise / noise
            q[i] = ONE / noise / noise
    clear_outside(scratch.raw, patches, reach + around, shape)
    clear_outside(scratch.noise, patches, reach + around, shape)
    convolve(scratch.raw, rule.kernel, around, scratch.signal, height, width, lanes)
    convolve(scratch.noise, rule.kernel, around, scratch.rows, height, width, lanes)
    for r in range(height):
        p, q = scratch.signal[r], scratch.rows[r]
        for i in range(whole_vectors(width * lanes)):
            p[i] = p[i] / q[i]
