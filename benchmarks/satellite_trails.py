# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure what is seen of satellite trails, in two steps.

How much of a trail do finders flag, by its width and its brightness?  And how
much must they flag for ``find_trails`` to recognise it, and how often does it
take the tracks of cosmic rays for a trail?  Prints two tables in
reStructuredText.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math

import numpy as np

from lsst.meas.cosmicrays.comparison import find_trails
from lsst.meas.cosmicrays.finders import cosmicRayFinderRegistry
from lsst.meas.cosmicrays.images import WorkingImage, WorkingImageConfig, read_image
from lsst.meas.cosmicrays.simulation import SimulationConfig
from lsst.meas.cosmicrays.simulation.cosmic_rays import draw_cosmic_rays
from lsst.meas.cosmicrays.simulation.detector import simulate_detector
from lsst.meas.cosmicrays.simulation.scene import Trail, add_trail, draw_trails

FINDERS = ("morphological", "astroscrappy")
WIDTHS = (0.4, 0.6, 0.8, 1.0, 1.5)
BRIGHTNESSES = (5.0, 30.0, 300.0)
ANGLE = math.radians(37.0)
NEAR = 2.5
"""Distance from the line of the pixels that count as the trail's."""

SHARES = (0.01, 0.03, 0.1, 0.3)
EXPOSURE_TIME = 300.0
UPRIGHT = 90.0
"""Tilt of a sensor that has the longest tracks, degrees."""

MIN_CHARGE = 50.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--detectors", type=int, default=160, help="simulated masks without a trail")
    parser.add_argument("--trails", type=int, default=24, help="trails for each share that is flagged")
    parser.add_argument("--seeing", type=float, default=0.7, help="FWHM of the PSF, arcsec")
    parser.add_argument("--size", default="2088x1024", help="pixels of the masks")
    options = parser.parse_args()
    width, height = (int(side) for side in options.size.split("x"))
    print_flagged(options.seeing)
    print_recognised((height, width), options.trails, options.detectors)


def print_flagged(seeing: float) -> None:
    """Print which share of the pixels of trails the finders flag."""
    config = SimulationConfig(width=640, height=600, seed=3, cr_rate=0.0, seeing=seeing, crowding=0.3)
    exposure = read_image(simulate_detector(config, 1, 0).visit_image, WorkingImageConfig())
    print_row("width (PSF)", "peak (noise)", *FINDERS, head=True)
    for factor, peak in itertools.product(WIDTHS, BRIGHTNESSES):
        crossed, line = add_satellite(exposure, factor, peak)
        shares = []
        for name in FINDERS:
            finder = cosmicRayFinderRegistry[name](config=cosmicRayFinderRegistry[name].ConfigClass())
            shares.append(f"{finder.run(crossed).mask[line].mean():.1%}")
        print_row(factor, f"{peak:.0f}", *shares)


def add_satellite(exposure: WorkingImage, factor: float, peak: float) -> tuple[WorkingImage, np.ndarray]:
    """Return an exposure with a trail, and which pixels are near its line.

    Its width is a factor times that of the PSF, its brightest pixels have a
    multiple of the noise.
    """
    ny, nx = exposure.image.shape
    sigma = factor * exposure.psf_fwhm / 2.355
    per_length = peak * math.sqrt(float(np.median(exposure.variance))) * sigma * math.sqrt(2.0 * math.pi)
    trail = Trail(x=nx / 2.0 - 20.0, y=ny / 2.0 - 20.0, angle=ANGLE, width=sigma, brightness=per_length)
    light = np.zeros((ny, nx))
    add_trail(light, trail)
    counts = np.random.default_rng(1).poisson(light)
    crossed = dataclasses.replace(
        exposure,
        image=(exposure.image + counts).astype(np.float32),
        variance=(exposure.variance + light).astype(np.float32),
    )
    return crossed, distance_to(trail, (ny, nx)) < NEAR


def distance_to(trail: Trail, shape: tuple[int, int]) -> np.ndarray:
    """Return the distance of each pixel from a trail."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.abs((y - trail.y) * math.cos(trail.angle) - (x - trail.x) * math.sin(trail.angle))


def print_recognised(shape: tuple[int, int], n_trails: int, n_detectors: int) -> None:
    """Print how many trails are recognised in masks of cosmic rays."""
    masks = [simulated_mask(shape, seed) for seed in range(max(n_trails, n_detectors))]
    n_false = sum(bool(find_trails(mask)) for mask in masks[:n_detectors])
    print(f"\nMasks without a trail that are taken to have one: {n_false} of {n_detectors}.\n")
    print_row("share flagged", "trails recognised, once each", head=True)
    for share in SHARES:
        n_found = 0
        for seed, mask in enumerate(masks[:n_trails]):
            config = SimulationConfig(width=shape[1], height=shape[0], satellite_fraction=1.0)
            (trail,) = draw_trails(np.random.default_rng(seed), config)
            flagged = np.random.default_rng(seed).random(shape) < share
            n_found += is_recognised(mask | (flagged & (distance_to(trail, shape) < 2.0)), trail)
        print_row(f"{share:.0%}", f"{n_found} of {n_trails}")


def is_recognised(mask: np.ndarray, trail: Trail) -> bool:
    """Tell whether a mask is taken to have this trail and no other."""
    lines = find_trails(mask)
    if len(lines) != 1:
        return False
    turned = lines[0].angle - math.degrees(trail.angle)
    return abs((turned + 90.0) % 180.0 - 90.0) < 0.5


def simulated_mask(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Return the pixels that cosmic rays hit, of both sensors in turn."""
    config = SimulationConfig(
        width=shape[1],
        height=shape[0],
        sensor=("hsc", "lsstcam")[seed % 2],
        exposure_time=EXPOSURE_TIME,
        cr_tilt=UPRIGHT,
    )
    charge, _ = draw_cosmic_rays(np.random.default_rng(seed), config)
    return charge > MIN_CHARGE


def print_row(*cells: object, head: bool = False) -> None:
    """Print a row of a list-table."""
    if head:
        print(".. list-table::\n   :header-rows: 1\n")
    for number, cell in enumerate(cells):
        print(f"   {'* -' if number == 0 else '  -'} {cell}")


if __name__ == "__main__":
    main()
