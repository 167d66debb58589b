# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trails of satellites: found in simulated masks, not made of cosmic rays."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy.table import Table

from lsst.meas.cosmicrays.comparison import (
    TrailLine,
    TrailSettings,
    add_trail_confusions,
    add_trail_rates,
    failure_table,
    find_trails,
    gather_trails,
    near_trails,
    trail_confusion_table,
    trail_rate_table,
    trail_table,
    wilson_interval,
)
from lsst.meas.cosmicrays.simulation import SimulationConfig
from lsst.meas.cosmicrays.simulation.cosmic_rays import draw_cosmic_rays
from lsst.meas.cosmicrays.simulation.scene import Trail, draw_trails

SHAPE = (1024, 768)


def simulated_mask(seed: int, sensor: str) -> np.ndarray:
    """Return the pixels that cosmic rays of a long exposure hit."""
    config = SimulationConfig(
        width=SHAPE[1], height=SHAPE[0], seed=seed, sensor=sensor, exposure_time=600.0, cr_tilt=60.0
    )
    charge, _ = draw_cosmic_rays(np.random.default_rng(seed), config)
    return charge > 50.0


def simulated_trail(seed: int) -> Trail:
    config = SimulationConfig(width=SHAPE[1], height=SHAPE[0], satellite_fraction=1.0)
    (trail,) = draw_trails(np.random.default_rng(seed), config)
    return trail


def flag_trail(trail: Trail, share: float, seed: int) -> np.ndarray:
    """Return a share of the pixels within two pixels of a trail."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    across = (y - trail.y) * math.cos(trail.angle) - (x - trail.x) * math.sin(trail.angle)
    return (np.abs(across) < 2.0) & (np.random.default_rng(seed).random(SHAPE) < share)


def angle_between(line: TrailLine, trail: Trail) -> float:
    return abs((line.angle - math.degrees(trail.angle) + 90.0) % 180.0 - 90.0)


def test_simulated_trails_are_found_and_cosmic_rays_are_not() -> None:
    """Of 14 detectors: completeness and false alarms."""
    n_found = {0.3: 0, 0.05: 0}
    n_false = 0
    for seed in range(14):
        mask = simulated_mask(seed, "hsc" if seed % 2 else "lsstcam")
        assert mask.sum() > 100
        n_false += len(find_trails(mask))
        trail = simulated_trail(seed)
        for share in n_found:
            flagged = flag_trail(trail, share, seed)
            lines = find_trails(mask | flagged)
            n_found[share] += len(lines) == 1 and angle_between(lines[0], trail) < 0.5
    assert n_false == 0
    assert n_found[0.3] == 14
    assert n_found[0.05] >= 13


def test_geometry_of_a_trail() -> None:
    trail = Trail(x=400.0, y=500.0, angle=math.radians(30.0), width=2.0, brightness=1.0)
    flagged = flag_trail(trail, 0.5, 1)
    (line,) = find_trails(flagged)
    assert line.angle == pytest.approx(30.0, abs=0.1)
    assert line.distance(400.0, 500.0) < 1.0
    assert line.coverage > 0.8
    # It enters and leaves through the left and right edges.
    assert line.length == pytest.approx(SHAPE[1] / math.cos(math.radians(30.0)), rel=0.01)
    y, x = np.nonzero(flagged)
    np.testing.assert_allclose(line.distance(x, y).max(), 2.0, atol=1.0)
    assert near_trails(flagged, [line], 8.0).all()


def test_two_trails() -> None:
    trails = [Trail(300.0, 500.0, math.radians(angle), 2.0, 1.0) for angle in (70.0, 130.0)]
    mask = simulated_mask(3, "hsc") | flag_trail(trails[0], 0.3, 0) | flag_trail(trails[1], 0.3, 1)
    lines = find_trails(mask)
    assert len(lines) == 2
    for trail in trails:
        assert min(angle_between(line, trail) for line in lines) < 0.5


def test_what_is_no_trail() -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    assert find_trails(mask) == []
    mask[:, 300] = True
    assert find_trails(mask) == []  # A bad column.
    muon = np.zeros(SHAPE, dtype=bool)
    steps = np.arange(300)
    muon[200 + steps, 100 + steps // 2] = True
    assert find_trails(muon) == []  # Long, but it does not cross the detector.
    noise = np.random.default_rng(1).random(SHAPE) < 0.01
    assert find_trails(noise) == []  # A finder at the knee of its curve.
    assert find_trails(np.ones((40, 30), dtype=bool)) == []


def test_chance_is_bounded() -> None:
    """Lines that noise covers are no trails, unless chance is let in."""
    noises = [np.random.default_rng(seed).random(SHAPE) < 0.0005 for seed in range(12)]
    n_found = [
        sum(bool(find_trails(noise, TrailSettings(min_coverage=0.1, max_chance=chance))) for noise in noises)
        for chance in (1e-3, 2.0)
    ]
    assert n_found[0] == 0
    assert n_found[1] >= 4


def test_trail_in_a_noisy_mask() -> None:
    noise = np.random.default_rng(1).random(SHAPE) < 0.007
    trail = simulated_trail(4)
    lines = find_trails(noise | flag_trail(trail, 0.5, 2))
    assert len(lines) == 1
    assert angle_between(lines[0], trail) < 0.5


def detector_tables() -> tuple[Table, Table, Table]:
    """Return trails, detections and pairs of a visit of three detectors.

    A satellite crosses detector 1, on which finder two failed.
    """
    trails, detections, pairs = [], [], []
    for detector in range(3):
        for name in ("one", "two"):
            there = (detector, name) != (1, "two")
            n_trails = (1 if detector == 1 else 0) if there else -1
            n_pixels = 1000 if detector == 1 else 100 + detector
            trails.append(
                (
                    7,
                    detector,
                    name,
                    there,
                    n_pixels if there else -1,
                    n_trails,
                    900 * n_trails if there else -1,
                )
            )
            detections.append((7, detector, name, "detection", there, not there, n_pixels if there else -1))
        detections.append((7, detector, "detected", "plane", True, False, 5))
        if detector != 1:
            pairs.append((7, detector, "pixel", "one", "two", 50 + detector, 10, 5, 9000))
            pairs.append((7, detector, "pixel_1px", "one", "two", 77, 0, 0, 9000))
    trail_names = ("visit", "detector", "detection", "available", "n_pixels", "n_trails", "n_trail_pixels")
    found = Table(rows=trails, names=trail_names)
    for name in ("x", "y", "angle", "length", "coverage"):
        found[name] = np.nan
    detected = Table(
        rows=detections,
        names=("visit", "detector", "detection", "role", "available", "failed", "n_pixels"),
    )
    detected["n_usable"] = 10000
    detected["failure"] = np.where(detected["failed"], "Too many CR pixels (max 10000)", "")
    pair_names = ("visit", "detector", "level", "reference", "candidate", "tp", "fn", "fp", "tn")
    return found, detected, Table(rows=pairs, names=pair_names)


def by_sample(table: Table, **values: str) -> dict[str, Table.Row]:
    chosen = np.ones(len(table), dtype=bool)
    for name, value in values.items():
        chosen &= np.asarray(table[name]) == value
    return {str(row["sample"]): row for row in table[chosen]}


def test_rates_with_and_without() -> None:
    trails, detections, _ = detector_tables()
    table = trail_rate_table(detections, trails)
    assert set(table["detection"]) == {"one", "two"}
    one, two = (by_sample(table, detection=name) for name in ("one", "two"))
    assert [one[s]["n_pixels"] for s in ("all", "without_trails", "with_trails")] == [1202, 202, 1000]
    assert one["without_trails"]["cr_pixels_per_mpix"] == 1e6 * 202 / 20000
    assert one["with_trails"]["share_of_pixels"] == 1000 / 1202
    assert one["with_trails"]["share_on_trails"] == 0.9
    assert (two["with_trails"]["n_failed"], two["with_trails"]["n_detectors"]) == (1, 0)
    assert math.isnan(two["with_trails"]["cr_pixels_per_mpix"])
    low, high = wilson_interval(1, 3)
    assert (two["all"]["fraction_failed_lo"], two["all"]["fraction_failed_hi"]) == (low, high)
    doubled = by_sample(add_trail_rates([table, table]), detection="one")
    assert doubled["all"]["n_detectors"] == 6
    assert doubled["with_trails"]["share_of_pixels"] == 1000 / 1202


def test_comparisons_with_and_without() -> None:
    trails, _, pairs = detector_tables()
    table = trail_confusion_table(pairs, trails)
    rows = by_sample(table, reference="one")
    assert set(rows) == {"all", "without_trails"}
    assert rows["all"]["tp"] == 102
    assert rows["all"]["purity"] == 102 / 112
    assert rows["all"]["completeness"] == 102 / 122
    assert rows["all"]["f1"] == pytest.approx(204 / (204 + 30))
    assert add_trail_confusions([table, table])["fn"].tolist() == (2 * table["fn"]).tolist()


def test_failures() -> None:
    trails, detections, _ = detector_tables()
    (failure,) = failure_table(detections, trails)
    assert (failure["visit"], failure["detector"], failure["detection"]) == (7, 1, "two")
    assert (failure["trail"], failure["trail_detections"], failure["max_pixels"]) == (1, "one", 1000)
    assert failure["failure"] == "Too many CR pixels (max 10000)"
    elsewhere = trails[trails["detector"] != 1]
    (failure,) = failure_table(detections, elsewhere)
    assert (failure["trail"], failure["trail_detections"]) == (-1, "")
    samples = by_sample(trail_rate_table(detections, elsewhere), detection="one")
    assert samples["all"]["n_detectors"] == 3
    assert samples["without_trails"]["n_detectors"] == 2
    assert "with_trails" not in samples
    assert len(failure_table(detections[~detections["failed"]], trails)) == 0


def test_detector_has_a_trail_if_any_mask_has() -> None:
    trails, _, _ = detector_tables()
    table = gather_trails(trails)
    assert table["detector_trail"].tolist() == [0, 0, 1, 1, 0, 0]
    np.testing.assert_array_equal(table["share_of_pixels"], [0.0, 0.0, 0.9, np.nan, 0.0, 0.0])
    assert gather_trails(trails[3:4])["detector_trail"].tolist() == [-1]


def test_table_of_a_detector() -> None:
    trail = simulated_trail(2)
    mask = flag_trail(trail, 0.3, 5)
    mask[10:20, 10] = True
    masks = {"with": mask, "missing": None, "without": np.zeros(SHAPE, bool)}
    table = trail_table(masks, TrailSettings(half_width=4.0), origin=(100, 200))
    assert table["available"].tolist() == [True, False, True]
    assert table["n_trails"].tolist() == [1, -1, 0]
    assert table["n_pixels"].tolist() == [mask.sum(), -1, 0]
    assert table["n_trail_pixels"][0] == mask.sum() - 10
    across = (table["y"][0] - 200 - trail.y) * math.cos(trail.angle)
    across -= (table["x"][0] - 100 - trail.x) * math.sin(trail.angle)
    assert abs(across) < 1.0
    assert np.isnan(table["angle"][1:]).all()
