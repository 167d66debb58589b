# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled steps of the morphological finder; see `morphological`.

Pixels are numbered in scan order, ``y * nx + x``.  Footprints are lists of
pixels in scan order, one after the other in one array; footprint ``i`` is
``pixels[starts[i]:starts[i + 1]]``.
"""

from __future__ import annotations

__all__ = [
    "Frame",
    "Rule",
    "drop_faint",
    "grow",
    "link",
    "replace",
    "scan",
    "select_candidates",
]

from typing import NamedTuple

import numpy as np
from numba import njit

HALF = np.float32(0.5)

# Relative distance of the quick test from the exact one, many times the
# rounding of float32; and the smallest threshold that it is used with.
QUICK_MARGIN = 1e-6
QUICK_MINIMUM = 1e-15


class Rule(NamedTuple):
    """What makes a pixel a CR pixel, by itself."""

    min_sigma: float
    """Least height above neighbours, in standard deviations; if negative, the
    threshold of the pixel itself, with its sign changed."""

    cond3_fac: float
    """Standard deviations allowed in the comparison with the PSF."""

    vertical: float
    """Mean of the pixels above and below the centre over the centre, for the
    PSF, times the factor that makes a pixel too sharp."""

    horizontal: float
    """The same for the pixels on either side."""

    diagonal: float
    """The same for the pixels at the corners."""

    background: float
    """Level of the sky in the image."""


class Frame(NamedTuple):
    """An image that is never written to, and what replaces its pixels."""

    image: np.ndarray
    """Pixels as given, (ny, nx) float32."""

    variance: np.ndarray
    """Their variance, (ny, nx) float32."""

    values: np.ndarray
    """New values, (ny, nx) float32; undefined where nothing is replaced."""

    replaced: np.ndarray
    """Whether a pixel has a new value, (ny, nx) bool."""


@njit(cache=True, nogil=True)
def select_candidates(frame: Frame, rule: Rule, start: int, stop: int) -> np.ndarray:
    """Find the pixels that pass the rule on the image as it is.

    Parameters
    ----------
    frame : `Frame`
        Image with nothing replaced.
    rule : `Rule`
        Rule to pass.
    start, stop : `int`
        First row to search, and the one after the last; neither the first nor
        the last row of the image is among them.

    Returns
    -------
    candidates : `numpy.ndarray`, (N,), int64
        Pixels in scan order.
    """
    nx = frame.image.shape[1]
    promising = np.zeros((nx + 7) // 8 * 8, dtype=np.uint8)
    groups = promising.view(np.uint64)
    candidates = np.empty(256, dtype=np.int64)
    n = 0
    for y in range(start, stop):
        if rule.min_sigma < 0:
            _mark_above_threshold(frame.image[y], -rule.min_sigma, promising)
        else:
            _mark_above_neighbours(frame.image, frame.variance, y, rule.min_sigma, promising)
        for group in range(groups.size):
            if groups[group] == 0:
                continue
            for x in range(group * 8, group * 8 + 8):
                if promising[x] and _judge(frame, y, x, rule)[0]:
                    candidates = _with_room(candidates, n, 1)
                    candidates[n] = y * nx + x
                    n += 1
    return candidates[:n]


@njit(cache=True, nogil=True)
def _mark_above_threshold(row: np.ndarray, threshold: float, promising: np.ndarray) -> None:
    inner = row[1:-1]
    marks = promising[1 : 1 + inner.size]
    for i in range(inner.size):
        marks[i] = not (inner[i] < 0 or inner[i] < threshold)


@njit(cache=True, nogil=True)
def _mark_above_neighbours(
    image: np.ndarray, variance: np.ndarray, y: int, min_sigma: float, promising: np.ndarray
) -> None:
    """Mark the pixels that may be high enough above their neighbours.

    Never leaves out one that is: in float32, ``value < mean + step`` implies
    the same for the exact sum, because rounding keeps order, and the step is
    a little smaller than the real one.  Comparisons with NaN are false, so
    that anything unusual is left to the exact test.
    """
    southwest, south, southeast = image[y - 1, :-2], image[y - 1, 1:-1], image[y - 1, 2:]
    west, centre, east = image[y, :-2], image[y, 1:-1], image[y, 2:]
    northwest, north, northeast = image[y + 1, :-2], image[y + 1, 1:-1], image[y + 1, 2:]
    centre_variance = variance[y, 1:-1]
    marks = promising[1 : 1 + centre.size]
    n_sigma = np.float32(min_sigma * (1 - QUICK_MARGIN) if min_sigma > QUICK_MINIMUM else 0.0)
    for i in range(centre.size):
        value = centre[i]
        step = n_sigma * np.sqrt(centre_variance[i])
        low = (
            (value < (north[i] + south[i]) * HALF + step)
            & (value < (west[i] + east[i]) * HALF + step)
            & (value < (southwest[i] + northeast[i]) * HALF + step)
            & (value < (northwest[i] + southeast[i]) * HALF + step)
        )
        marks[i] = not (low | (value < 0))


@njit(cache=True, nogil=True)
def scan(
    frame: Frame, candidates: np.ndarray, bad: np.ndarray, interpolated: np.ndarray, rule: Rule
) -> np.ndarray:
    """Find CR pixels in scan order, replacing each before going on.

    A pixel can differ in verdict from the image as it is only next to a
    replaced one, so that besides the candidates only the neighbours still to
    come of what was replaced need be looked at.

    Parameters
    ----------
    frame : `Frame`
        Image; new values are written into it.
    candidates : `numpy.ndarray`, (N,), int64
        Pixels that pass the rule on the image as it is, in scan order.
    bad, interpolated : `numpy.ndarray`, (ny, nx), bool
        Pixels that are no CR pixels, and pixels whose neighbours are none.
    rule : `Rule`
        Rule to pass.

    Returns
    -------
    found : `numpy.ndarray`, (M,), int64
        CR pixels in scan order.
    """
    ny, nx = frame.image.shape
    found = np.empty(256, dtype=np.int64)
    below = np.empty(256, dtype=np.int64)
    n_found = n_below = i_candidate = i_below = 0
    nothing = ny * nx
    right = nothing
    while True:
        pixel = right
        if i_candidate < candidates.size:
            pixel = min(pixel, candidates[i_candidate])
        if i_below < n_below:
            pixel = min(pixel, below[i_below])
        if pixel == nothing:
            break
        i_candidate += i_candidate < candidates.size and candidates[i_candidate] == pixel
        i_below += i_below < n_below and below[i_below] == pixel
        right = nothing
        y, x = pixel // nx, pixel % nx
        is_cosmic_ray, value = _judge(frame, y, x, rule)
        if not is_cosmic_ray or bad[y, x] or _any_around(interpolated, y, x):
            continue
        frame.values[y, x] = value
        frame.replaced[y, x] = True
        found = _with_room(found, n_found, 1)
        found[n_found] = pixel
        n_found += 1
        if x + 1 < nx - 1:
            right = pixel + 1
        if y + 1 < ny - 1:
            below = _with_room(below, n_below, 3)
            for neighbour in range(pixel + nx - (x > 1), pixel + nx + (x + 1 < nx - 1) + 1):
                if n_below == 0 or below[n_below - 1] < neighbour:
                    below[n_below] = neighbour
                    n_below += 1
    return found[:n_found]


@njit(cache=True, nogil=True)
def _with_room(numbers: np.ndarray, n: int, more: int) -> np.ndarray:
    """Array with its first members kept and room for more of them."""
    if n + more <= numbers.size:
        return numbers
    larger = np.empty(2 * numbers.size + more, dtype=numbers.dtype)
    for i in range(n):
        larger[i] = numbers[i]
    return larger


@njit(cache=True, nogil=True)
def _any_around(flags: np.ndarray, y: int, x: int) -> bool:
    for row in range(y - 1, y + 2):
        for column in range(x - 1, x + 2):
            if flags[row, column] and (row != y or column != x):
                return True
    return False


@njit(cache=True, nogil=True)
def _judge(frame: Frame, y: int, x: int, rule: Rule) -> tuple[bool, np.float32]:
    """Whether a pixel passes the rule, and what it should be if so.

    The arithmetic is that of the original, step by step: means and standard
    deviations in float32, comparisons in float64.
    """
    value = _pixel(frame, y, x)
    if value < 0:
        return False, value
    mean_ns = (_pixel(frame, y + 1, x) + _pixel(frame, y - 1, x)) * HALF
    mean_we = (_pixel(frame, y, x - 1) + _pixel(frame, y, x + 1)) * HALF
    mean_swne = (_pixel(frame, y - 1, x - 1) + _pixel(frame, y + 1, x + 1)) * HALF
    mean_nwse = (_pixel(frame, y + 1, x - 1) + _pixel(frame, y - 1, x + 1)) * HALF
    variance = frame.variance
    sigma = np.float64(np.sqrt(variance[y, x]))
    peak = np.float64(value)
    if rule.min_sigma < 0:
        if peak < -rule.min_sigma:
            return False, value
    else:
        step = rule.min_sigma * sigma
        if (
            peak < mean_ns + step
            and peak < mean_we + step
            and peak < mean_swne + step
            and peak < mean_nwse + step
        ):
            return False, value
    height = peak - rule.background - rule.cond3_fac * sigma
    if _is_sharp(height, rule.vertical, mean_ns, variance[y + 1, x] + variance[y - 1, x], rule):
        return True, _at_level_of(mean_ns, rule)
    if _is_sharp(height, rule.horizontal, mean_we, variance[y, x - 1] + variance[y, x + 1], rule):
        return True, _at_level_of(mean_we, rule)
    if _is_sharp(height, rule.diagonal, mean_swne, variance[y - 1, x - 1] + variance[y + 1, x + 1], rule):
        return True, _at_level_of(mean_swne, rule)
    if _is_sharp(height, rule.diagonal, mean_nwse, variance[y + 1, x - 1] + variance[y - 1, x + 1], rule):
        return True, _at_level_of(mean_nwse, rule)
    return False, value


@njit(cache=True, nogil=True)
def _pixel(frame: Frame, y: int, x: int) -> np.float32:
    return frame.values[y, x] if frame.replaced[y, x] else frame.image[y, x]


@njit(cache=True, nogil=True)
def _is_sharp(height: float, ratio: float, mean: np.float32, sum_variance: np.float32, rule: Rule) -> bool:
    """Whether a pixel stands out of two opposite neighbours as no PSF does."""
    sigma_mean = np.float64(np.sqrt(sum_variance) * HALF)
    return bool(ratio * height > (mean - rule.background) + rule.cond3_fac * sigma_mean)


@njit(cache=True, nogil=True)
def _at_level_of(mean: np.float32, rule: Rule) -> np.float32:
    """Level of two neighbours, by way of the background as the original."""
    return np.float32(mean - rule.background) + np.float32(rule.background)


@njit(cache=True, nogil=True)
def link(found: np.ndarray, nx: int) -> tuple[np.ndarray, np.ndarray]:
    """Join CR pixels that touch, also at corners, into footprints.

    Parameters
    ----------
    found : `numpy.ndarray`, (N,), int64
        Pixels in scan order.
    nx : `int`
        Width of the image.

    Returns
    -------
    pixels : `numpy.ndarray`, (N,), int64
        Pixels of all footprints.
    starts : `numpy.ndarray`, (M + 1,), int64
        Where footprints start.  Their order is that of the run of pixels that
        the original ends up naming each after, usually its last.
    """
    runs = _runs(found, nx)
    n_runs = runs.size - 1
    names = np.empty(n_runs, dtype=np.int64)
    for run in range(n_runs):
        names[run] = run
    below = 0
    for run in range(n_runs):
        first, last = found[runs[run]] + nx, found[runs[run + 1] - 1] + nx
        row = first // nx
        while below < n_runs and found[runs[below + 1] - 1] < max(first - 1, row * nx):
            below += 1
        touching = below
        while touching < n_runs and found[runs[touching]] <= min(last + 1, row * nx + nx - 1):
            names[_resolved(names, run)] = _resolved(names, touching)
            touching += 1
    return _grouped(found, runs, names)


@njit(cache=True, nogil=True)
def _grouped(found: np.ndarray, runs: np.ndarray, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Footprints, made of the runs that resolve to the same name."""
    sizes = np.zeros(names.size, dtype=np.int64)
    for run in range(names.size):
        sizes[_resolved(names, run)] += runs[run + 1] - runs[run]
    places = np.empty(names.size, dtype=np.int64)
    starts = np.zeros(names.size + 1, dtype=np.int64)
    n = 0
    for name in range(names.size):
        places[name] = starts[n]
        if sizes[name] > 0:
            starts[n + 1] = starts[n] + sizes[name]
            n += 1
    pixels = np.empty(found.size, dtype=np.int64)
    for run in range(names.size):
        name = _resolved(names, run)
        for i in range(runs[run], runs[run + 1]):
            pixels[places[name]] = found[i]
            places[name] += 1
    return pixels, starts[: n + 1]


@njit(cache=True, nogil=True)
def _runs(pixels: np.ndarray, nx: int) -> np.ndarray:
    """Where runs of adjoining pixels of one row start, and the last ends."""
    starts = np.empty(pixels.size + 1, dtype=np.int64)
    n = 0
    for i in range(pixels.size):
        if i == 0 or pixels[i] != pixels[i - 1] + 1 or pixels[i] % nx == 0:
            starts[n] = i
            n += 1
    starts[n] = pixels.size
    return starts[: n + 1]


@njit(cache=True, nogil=True)
def _resolved(names: np.ndarray, name: int) -> int:
    while names[name] != name:
        names[name] = names[names[name]]
        name = names[name]
    return name


@njit(cache=True, nogil=True)
def drop_faint(
    image: np.ndarray, pixels: np.ndarray, starts: np.ndarray, background: float, min_dn: float
) -> tuple[np.ndarray, np.ndarray]:
    """Keep the footprints that hold enough charge.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Image as given.
    pixels, starts : `numpy.ndarray`, int64
        Footprints.
    background : `float`
        Level of the sky.
    min_dn : `float`
        Least sum above the sky.

    Returns
    -------
    pixels, starts : `numpy.ndarray`, int64
        Footprints that are left.
    """
    nx = image.shape[1]
    kept = np.empty(pixels.size, dtype=np.int64)
    kept_starts = np.zeros(starts.size, dtype=np.int64)
    n = n_kept = 0
    for footprint in range(starts.size - 1):
        members = pixels[starts[footprint] : starts[footprint + 1]]
        total = np.float32(0)
        for pixel in members:
            total = np.float32(total + (image[pixel // nx, pixel % nx] - background))
        if total < min_dn:
            continue
        for pixel in members:
            kept[n_kept] = pixel
            n_kept += 1
        n += 1
        kept_starts[n] = n_kept
    return kept[:n_kept], kept_starts[: n + 1]


@njit(cache=True, nogil=True)
def replace(
    frame: Frame, pixels: np.ndarray, starts: np.ndarray, background: float, deviates: np.ndarray
) -> None:
    """Put sky and noise in the place of footprints, from last to first.

    Parameters
    ----------
    frame : `Frame`
        Image; new values are written into it.
    pixels, starts : `numpy.ndarray`, int64
        Footprints.
    background : `float`
        Level of the sky.
    deviates : `numpy.ndarray`, (N,), float64
        Standard normal deviates, one for each of the pixels.
    """
    nx = frame.image.shape[1]
    n = 0
    for footprint in range(starts.size - 2, -1, -1):
        for pixel in pixels[starts[footprint] : starts[footprint + 1]]:
            y, x = pixel // nx, pixel % nx
            sigma = np.float64(np.sqrt(frame.variance[y, x]))
            frame.values[y, x] = background + sigma * deviates[n]
            frame.replaced[y, x] = True
            n += 1


@njit(cache=True, nogil=True)
def grow(
    frame: Frame,
    pixels: np.ndarray,
    starts: np.ndarray,
    rule: Rule,
    n_iteration: int,
    n_listed: int,
    limit: int,
    keep: bool,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Add neighbours that pass the rule to footprints.

    Parameters
    ----------
    frame : `Frame`
        Image with the footprints replaced; what is added is replaced too.
    pixels, starts : `numpy.ndarray`, int64
        Footprints.
    rule : `Rule`
        Rule to pass.
    n_iteration : `int`
        Greatest number of times to go round all footprints.
    n_listed : `int`
        Length of the list in which the original keeps values to put back.
    limit : `int`
        Greatest number of CR pixels.
    keep : `bool`
        Whether the original also lists the pixels that it adds.

    Returns
    -------
    pixels, starts : `numpy.ndarray`, int64
        Footprints, which may overlap.
    n_over : `int`
        Number of pixels with which the limit was passed, else 0.
    """
    nx = frame.image.shape[1]
    settled = np.zeros(frame.image.shape, dtype=np.bool_)
    n_extra = 0
    for _ in range(n_iteration):
        grown = np.empty(2 * pixels.size, dtype=np.int64)
        grown_starts = np.zeros(starts.size, dtype=np.int64)
        n_grown = 0
        nothing_new = True
        for footprint in range(starts.size - 1):
            members = pixels[starts[footprint] : starts[footprint + 1]]
            extra, n_hits = _extra_pixels(frame, settled, members, _runs(members, nx), rule)
            if n_hits > 0:
                nothing_new = False
                n_listed += n_hits if keep else 0
                if n_extra + n_listed > limit:
                    return pixels, starts, n_extra + n_listed
                n_extra += extra.size
            grown = _with_room(grown, n_grown, members.size + extra.size)
            n_grown = _merge(members, extra, grown, n_grown)
            grown_starts[footprint + 1] = n_grown
        pixels, starts = grown[:n_grown], grown_starts
        if nothing_new:
            break
    return pixels, starts, 0


@njit(cache=True, nogil=True)
def _extra_pixels(
    frame: Frame, settled: np.ndarray, members: np.ndarray, runs: np.ndarray, rule: Rule
) -> tuple[np.ndarray, int]:
    """Replace what passes the rule in and around the runs of a footprint.

    Returns the pixels in scan order, and how often one passed, which some do
    twice.  Those that did not pass are settled until a neighbour changes:
    neighbouring runs, CRs and rounds all come by the same ones.
    """
    ny, nx = frame.image.shape
    extra = np.empty(8, dtype=np.int64)
    n = n_hits = 0
    for run in range(runs.size - 1):
        y = members[runs[run]] // nx
        if y < 2 or y >= ny - 2:
            continue
        first = max(_pulled_in(members[runs[run]] % nx, nx) - 1, 1)
        last = min(_pulled_in(members[runs[run + 1] - 1] % nx, nx) + 1, nx - 2)
        for row in range(y - 1, y + 2):
            for x in range(first, last + 1):
                if settled[row, x]:
                    continue
                is_cosmic_ray, value = _judge(frame, row, x, rule)
                settled[row, x] = not is_cosmic_ray
                if is_cosmic_ray:
                    frame.values[row, x] = value
                    frame.replaced[row, x] = True
                    settled[row - 1 : row + 2, x - 1 : x + 2] = False
                    n_hits += 1
                    extra = _with_room(extra, n, 1)
                    n = _insert(extra, n, row * nx + x)
    return extra[:n], n_hits


@njit(cache=True, nogil=True)
def _pulled_in(x: int, nx: int) -> int:
    """Column whose neighbours all have neighbours on either side."""
    return 2 if x < 2 else min(x, nx - 3)


@njit(cache=True, nogil=True)
def _insert(numbers: np.ndarray, n: int, number: int) -> int:
    """Put a number into its place among sorted ones, if it is not there.

    Returns how many there are.
    """
    place = n
    while place > 0 and numbers[place - 1] > number:
        place -= 1
    if place > 0 and numbers[place - 1] == number:
        return n
    for i in range(n, place, -1):
        numbers[i] = numbers[i - 1]
    numbers[place] = number
    return n + 1


@njit(cache=True, nogil=True)
def _merge(one: np.ndarray, other: np.ndarray, merged: np.ndarray, n: int) -> int:
    """Append the union of two sorted arrays; returns the new length."""
    i = j = 0
    while i < one.size or j < other.size:
        if j == other.size or (i < one.size and one[i] <= other[j]):
            number = one[i]
        else:
            number = other[j]
        i += i < one.size and one[i] == number
        j += j < other.size and other[j] == number
        merged[n] = number
        n += 1
    return n
