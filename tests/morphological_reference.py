# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""A slow, plain-Python telling of the morphological finder.

Written from the description of the algorithm (Lupton's CR finder of the SDSS
photometric pipeline, as lsst.meas.algorithms has it), one pixel at a time and
without any cleverness, for comparison with the fast engine.  It shares no
code with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["PlainFinder", "PlainResult", "TooManyError", "gsl_normals"]

_TAIL = 3.44428647676


class TooManyError(Exception):
    """The limit on the number of CR pixels was passed."""


@dataclass
class PlainResult:
    mask: np.ndarray
    n_footprints: int
    image: np.ndarray


def _ziggurat_tables():
    """Edges, heights and acceptance limits of 128 strips of equal area."""
    density = lambda x: math.exp(-0.5 * x * x)  # noqa: E731
    right = 3.4442864767612833
    area = density(right) * (right + 1 / right)
    edges = [0.0] * 129
    edges[128], edges[127] = right + 1 / right, right
    for i in range(126, 0, -1):
        edges[i] = math.sqrt(-2 * math.log(density(edges[i + 1]) + area / edges[i + 1]))
    heights = [float(f"{density(x):.12g}") for x in edges[:128]]
    widths = [float(f"{x * 2.0**-24:.12g}") for x in edges[1:]]
    limits = [int(2**24 * a / b) for a, b in zip(edges, edges[1:])]
    return heights, widths, limits


def gsl_normals():
    """Yield what gsl_ran_gaussian_ziggurat draws from mt19937 of seed 1."""
    state = np.random.RandomState(1)
    heights, widths, limits = _ziggurat_tables()

    def word() -> int:
        return int(state.randint(0, 2**32, dtype=np.uint32))

    while True:
        bits = word()
        strip, sign, position = bits & 0x7F, 1 if bits & 0x80 else -1, bits >> 8
        x = position * widths[strip]
        if position < limits[strip]:
            yield sign * x
            continue
        if strip < 127:
            low, high = heights[strip + 1], heights[strip]
            y = low + (high - low) * (word() / 2.0**32)
        else:
            x = _TAIL - math.log(1 - word() / 2.0**32) / _TAIL
            y = math.exp(-_TAIL * (x - 0.5 * _TAIL)) * (word() / 2.0**32)
        if y < math.exp(-0.5 * x * x):
            yield sign * x


class PlainFinder:
    """The finder as a sequence of steps on a growing list of footprints."""

    def __init__(
        self,
        image,
        variance,
        bad,
        interpolated,
        kernel,
        background,
        *,
        min_sigma=6.0,
        min_dn=150.0,
        cond3_fac=2.0,
        cond3_fac2=0.35,
        n_iteration=6,
        n_cr_pixel_max=1000000,
        keep=True,
    ):
        self.original = np.asarray(image, dtype=np.float32)
        self.image = self.original.copy()
        self.variance = np.asarray(variance, dtype=np.float32)
        self.bad, self.interpolated = bad, interpolated
        self.background = float(background)
        self.min_sigma, self.min_dn, self.cond3_fac = min_sigma, min_dn, cond3_fac
        self.n_iteration, self.limit, self.keep = n_iteration, n_cr_pixel_max, keep
        self.ny, self.nx = self.image.shape
        self._set_psf_ratios(np.asarray(kernel, dtype=float), cond3_fac2)

    def _set_psf_ratios(self, kernel, factor):
        yc, xc = kernel.shape[0] // 2, kernel.shape[1] // 2
        west_east = 0.5 * (kernel[yc, xc - 1] + kernel[yc, xc + 1])
        north_south = 0.5 * (kernel[yc - 1, xc] + kernel[yc + 1, xc])
        diagonal = 0.25 * (
            kernel[yc - 1, xc - 1] + kernel[yc + 1, xc + 1] + kernel[yc + 1, xc - 1] + kernel[yc - 1, xc + 1]
        )
        centre = kernel[yc, xc]
        ratios = [factor * mean / centre for mean in (north_south, west_east, diagonal, diagonal)]
        self.ratios = ratios

    # Opposite neighbours in the order in which they are tried.
    PAIRS = (((1, 0), (-1, 0)), ((0, -1), (0, 1)), ((-1, -1), (1, 1)), ((1, -1), (-1, 1)))

    def estimate(self, y, x, min_sigma, cond3_fac):
        """Return what the pixel should be if it is a CR pixel, else None."""
        value = self.image[y, x]
        if value < 0:
            return None
        means, errors = [], []
        for (dy1, dx1), (dy2, dx2) in self.PAIRS:
            means.append((self.image[y + dy1, x + dx1] + self.image[y + dy2, x + dx2]) / np.float32(2))
            total = self.variance[y + dy1, x + dx1] + self.variance[y + dy2, x + dx2]
            errors.append(self.root(total) / 2)
        sigma = self.root(self.variance[y, x])
        if min_sigma < 0:
            if float(value) < -min_sigma:
                return None
        elif all(float(value) < float(mean) + min_sigma * float(sigma) for mean in means):
            return None
        peak = float(value) - self.background
        for mean, error, ratio in zip(means, errors, self.ratios):
            above_sky = float(mean) - self.background
            if ratio * (peak - cond3_fac * float(sigma)) > above_sky + cond3_fac * float(error):
                return np.float32(above_sky) + np.float32(self.background)
        return None

    @staticmethod
    def root(value):
        return np.sqrt(value)

    def scan(self):
        """Find the first CR pixels, replacing each as soon as it is found."""
        found = []
        for y in range(1, self.ny - 1):
            for x in range(1, self.nx - 1):
                value = self.estimate(y, x, self.min_sigma, self.cond3_fac)
                if value is None or self.bad[y, x]:
                    continue
                around = self.interpolated[y - 1 : y + 2, x - 1 : x + 2].copy()
                around[1, 1] = False
                if around.any():
                    continue
                found.append((y, x))
                self.image[y, x] = value
                if len(found) > self.limit:
                    raise TooManyError
        return found

    @staticmethod
    def spans_of(pixels):
        spans = []
        for y, x in sorted(pixels):
            if spans and spans[-1][0] == y and spans[-1][2] == x - 1:
                spans[-1][2] = x
            else:
                spans.append([y, x, x])
        return [tuple(span) for span in spans]

    def link(self, pixels):
        """Join runs that touch; footprints are in the original's order."""
        spans = self.spans_of(pixels)
        alias = list(range(len(spans)))

        def resolve(i):
            while alias[i] != i:
                i = alias[i]
            return i

        for i, (y, x0, x1) in enumerate(spans):
            for j in range(i + 1, len(spans)):
                y2, a0, a1 = spans[j]
                if y2 == y + 1 and a0 <= x1 + 1 and a1 >= x0 - 1:
                    alias[resolve(i)] = resolve(j)
        groups: dict[int, set] = {}
        for i, (y, x0, x1) in enumerate(spans):
            groups.setdefault(resolve(i), set()).update((y, x) for x in range(x0, x1 + 1))
        return [groups[name] for name in sorted(groups)]

    def bright(self, footprint):
        total = np.float32(0)
        for y, x in sorted(footprint):
            total = np.float32(float(total) + (float(self.original[y, x]) - self.background))
        return not float(total) < self.min_dn

    def replace(self, footprints):
        normals = gsl_normals()
        for footprint in reversed(footprints):
            for y, x in sorted(footprint):
                noise = float(self.root(self.variance[y, x])) * next(normals)
                self.image[y, x] = np.float32(self.background + noise)

    def grow(self, footprints, n_first):
        n_extra = n_hits = 0
        for _ in range(self.n_iteration):
            for footprint in footprints:
                extra = set()
                for y, x0, x1 in self.spans_of(footprint):
                    if y < 2 or y >= self.ny - 2:
                        continue
                    x0, x1 = self.pull_in(x0), self.pull_in(x1)
                    for row in (y - 1, y, y + 1):
                        for x in range(max(x0 - 1, 1), min(x1 + 1, self.nx - 2) + 1):
                            value = self.estimate(row, x, self.min_sigma / 2, 0.0)
                            if value is not None:
                                n_hits += 1
                                self.image[row, x] = value
                                extra.add((row, x))
                if extra:
                    listed = n_first + 1 + (n_hits if self.keep else 0)
                    if n_extra + listed > self.limit:
                        raise TooManyError
                    n_extra += len(extra)
                    footprint |= extra
            if n_extra == 0:
                break

    def pull_in(self, x):
        if x < 2:
            return 2
        return min(x, self.nx - 3)

    def run(self):
        with np.errstate(all="ignore"):
            pixels = self.scan()
            self.image[:] = self.original
            footprints = [f for f in self.link(pixels) if self.bright(f)]
            self.replace(footprints)
            self.grow(footprints, len(pixels))
            self.replace(footprints)
        mask = np.zeros((self.ny, self.nx), dtype=bool)
        for footprint in footprints:
            for pixel in footprint:
                mask[pixel] = True
        return PlainResult(mask, len(footprints), self.image)
