# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge the votes of finders by real cosmic rays painted on real exposures.

Footprints from dark exposures (a table as imSim keeps it) are painted on
every fourth of the exposures that `consensus_saao` uses, at many times the
natural rate.  What the masks beside the exposures or two of three finders
have there already is bad, and counts for nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table
from consensus_exposures import (
    FLAWED,
    LOW,
    THREE,
    Exposure,
    prepare,
    read_exposures,
    run_finders,
    with_low,
)
from consensus_saao import choose_voters, fit, print_rates

from lsst.meas.cosmicrays.comparison import (
    MODEL_KINDS,
    dilate,
    judge_mask,
    judgement_rates,
    truth_from_charge,
    vote_by_cosmic_ray,
    vote_by_pixel,
)
from lsst.meas.cosmicrays.simulation import inject_footprints, paint_on_pixels, read_dark_footprints

MIN_CHARGE = 200.0
N_EXPECTED = 60.0
TRUTH_SIGMA = 2.0


def main() -> None:
    """Paint, find, judge, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the exposures and masks")
    parser.add_argument("footprints", type=Path, help="table of footprints")
    parser.add_argument("output", type=Path, help="folder of intermediate results of consensus_saao")
    arguments = parser.parse_args()
    stamps = [
        stamp for stamp in read_dark_footprints(arguments.footprints).stamps if stamp.sum() >= MIN_CHARGE
    ]
    good = [
        exposure
        for exposure in read_exposures(arguments.data, arguments.output)
        if exposure.number not in FLAWED
    ]
    painted = [paint(exposure, arguments.data, stamps) for exposure in good[1::4]]
    halves = painted[::2], painted[1::2]
    judged = [*halves[0], *halves[1]]
    four = choose_voters(good[::2])
    from_masks = fit(four, good[::2], "table")
    masks: dict[str, list[np.ndarray]] = {
        name: [exposure.masks[name] for exposure in judged] for name in (*THREE, LOW)
    }
    masks["pixel votes, 2 of three"] = [_vote(exposure.masks, THREE, 2) for exposure in judged]
    for label, members in (("three", THREE), ("four", four)):
        masks[f"by CR, 2 of {label}, pixels of 1"] = [
            vote_by_cosmic_ray([exposure.masks[name] for name in members], 2, 1) for exposure in judged
        ]
    masks["pixel votes, 2 of four"] = [_vote(exposure.masks, four, 2) for exposure in judged]
    masks["pixel votes, 3 of four"] = [_vote(exposure.masks, four, 3) for exposure in judged]
    masks["learned table from given masks, four"] = [
        from_masks.decide(from_masks.probability(exposure.masks)) for exposure in judged
    ]
    for (label, members), kind in itertools.product((("three", THREE), ("four", four)), MODEL_KINDS):
        rules = fit(members, halves[1], kind), fit(members, halves[0], kind)
        masks[f"learned {kind} from painted, {label}"] = [
            rule.decide(rule.probability(exposure.masks))
            for rule, half in zip(rules, halves, strict=True)
            for exposure in half
        ]
    rows = [
        {
            "rule": name,
            **judgement_rates(
                np.array(
                    [
                        judge_mask(mask, exposure.truth, exposure.usable)
                        for mask, exposure in zip(made, judged, strict=True)
                    ]
                )
            ),
        }
        for name, made in masks.items()
    ]
    print_rates("Painted cosmic rays", len(judged), Table(rows=rows))


def paint(exposure: Exposure, data: Path, stamps: Sequence[np.ndarray]) -> Exposure:
    """Paint cosmic rays on an exposure, and find them.

    Parameters
    ----------
    exposure : `Exposure`
        An exposure with masks.
    data : `~pathlib.Path`
        Folder of the exposures.
    stamps : `~collections.abc.Sequence` [`numpy.ndarray`]
        Electrons of the footprints.

    Returns
    -------
    painted : `Exposure`
        The same with the cosmic rays, their truth, and what was found.
    """
    (name,) = (path.stem for path in data.glob(f"*{exposure.number:04d}.fits"))
    working = prepare(data, name)
    known = dilate(exposure.truth | _vote(exposure.masks, THREE, 2))
    bad = ~exposure.usable | known
    rng = np.random.default_rng(exposure.number)
    charge = inject_footprints(bad.shape, bad, stamps, N_EXPECTED, rng).charge
    image, variance = paint_on_pixels(working.image, working.variance, charge, 1.0)
    planes = {**working.planes, "BAD": bad}
    found = run_finders(dataclasses.replace(working, image=image, variance=variance, planes=planes))
    return dataclasses.replace(
        exposure,
        image=image,
        variance=variance,
        truth=truth_from_charge(charge, variance, TRUTH_SIGMA),
        usable=~bad,
        masks=with_low(
            {name: result.mask for name, result in found.items()}, found["cosmic_conn"].probability
        ),
        probability=found["cosmic_conn"].probability,
    )


def _vote(masks: Mapping[str, np.ndarray], members: Sequence[str], at_least: int) -> np.ndarray:
    return vote_by_pixel([masks[name] for name in members], at_least)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        main()
