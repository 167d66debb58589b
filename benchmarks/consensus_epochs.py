# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the errors of a consensus in the other exposures of the series.

A cosmic ray is in one exposure only.  The brightest pixel of what
``consensus_saao.py`` counts as found, false, or missed is compared with a
template, the median of seven other exposures of the same field; so are the
peaks of stars, to see how often they would be taken for cosmic rays.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from consensus_exposures import FLAWED, Exposure, read_exposures
from consensus_saao import choose_voters, fit

from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.comparison import dilate, find_components

MIN_SNR = 5.0
MIN_RATIO = 1.5
N_STARS = 40
MIN_STAR_SNR = 10.0
CUTOUT = 7
MARGIN = 8


def main() -> None:
    """Fit, judge, compare with templates, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the exposures and masks")
    parser.add_argument("output", type=Path, help="folder of intermediate results of consensus_saao")
    parser.add_argument("repository", help="repository that real_data.py made: its templates are read")
    arguments = parser.parse_args()
    butler = Butler.from_config(arguments.repository, collections=["SAAO/defaults"])
    exposures = [
        exposure
        for exposure in read_exposures(arguments.data, arguments.output)
        if exposure.number not in FLAWED
    ]
    fitting, judging = exposures[::2], exposures[1::2]
    rule = fit(choose_voters(fitting), fitting, "table")
    absent: dict[str, list[bool]] = {}
    for exposure in judging:
        template = butler.get(
            "template_detector", instrument="SAAO", detector=0, visit=exposure.number
        ).image.array
        mask = rule.decide(rule.probability(exposure.masks))
        for kind, y, x in (*peaks(exposure, mask), *star_peaks(exposure)):
            absent.setdefault(kind, []).append(is_absent(exposure, template, y, x))
    print("| | number | not in the other exposures |\n|---|---|---|")
    for kind, values in absent.items():
        print(f"| {kind} | {len(values)} | {sum(values)} ({sum(values) / len(values):.3f}) |")


def peaks(exposure: Exposure, mask: np.ndarray) -> Iterator[tuple[str, int, int]]:
    """Yield the brightest pixel of each cosmic ray.

    Parameters
    ----------
    exposure : `Exposure`
        An exposure with truth.
    mask : `numpy.ndarray`
        What the consensus found, bool (ny, nx).

    Yields
    ------
    kind : `str`
        "found", "false" or "missed".
    y, x : `int`
        The pixel.
    """
    found, true = mask & exposure.usable, exposure.truth & exposure.usable
    for owner, other, matched, unmatched in ((found, true, "found", "false"), (true, found, None, "missed")):
        parts = find_components(owner)
        touches = parts.maximum(other[parts.rows, parts.columns]) > 0
        for part in range(parts.n_components):
            kind = matched if touches[part] else unmatched
            if kind is None:
                continue
            rows, columns = (axis[parts.labels == part] for axis in (parts.rows, parts.columns))
            brightest = np.argmax(exposure.image[rows, columns])
            yield kind, int(rows[brightest]), int(columns[brightest])


def star_peaks(exposure: Exposure) -> Iterator[tuple[str, int, int]]:
    """Yield peaks of stars: local maxima that no finder flags nearby.

    Parameters
    ----------
    exposure : `Exposure`
        An exposure.

    Yields
    ------
    kind : `str`
        "peak of a star".
    y, x : `int`
        The pixel.
    """
    flagged = exposure.truth | exposure.masks["morphological"] | exposure.masks["astroscrappy"]
    for _ in range(3):
        flagged = dilate(flagged)
    level = np.median(exposure.image) + MIN_STAR_SNR * np.sqrt(np.median(exposure.variance))
    bright = (exposure.image > level) & exposure.usable & ~flagged
    inside = np.argwhere(bright[MARGIN:-MARGIN, MARGIN:-MARGIN]) + MARGIN
    n_stars = 0
    for y, x in np.random.default_rng(1).permutation(inside):
        if exposure.image[y, x] == exposure.image[y - 2 : y + 3, x - 2 : x + 3].max():
            yield "peak of a star", int(y), int(x)
            n_stars += 1
        if n_stars == N_STARS:
            return


def is_absent(exposure: Exposure, template: np.ndarray, y: int, x: int) -> bool:
    """Say whether a pixel is much brighter than any near it in the template.

    Parameters
    ----------
    exposure : `Exposure`
        An exposure.
    template : `numpy.ndarray`
        Its template, in the same unit.
    y, x : `int`
        The pixel.

    Returns
    -------
    absent : `bool`
        Whether its height above the darkest tenth of the surroundings is
        `MIN_RATIO` times that of the brightest template pixel within one
        pixel, and more than that by `MIN_SNR` sigma.
    """
    near, wide = (
        (slice(max(y - size, 0), y + size + 1), slice(max(x - size, 0), x + size + 1)) for size in (1, CUTOUT)
    )
    height = float(exposure.image[y, x] - np.percentile(exposure.image[wide], 10.0))
    in_template = float(np.nanmax(template[near]) - np.nanpercentile(template[wide], 10.0))
    noise = float(np.sqrt(exposure.variance[y, x]))
    return height - in_template > MIN_SNR * noise and height > MIN_RATIO * max(in_template, noise)


if __name__ == "__main__":
    main()
