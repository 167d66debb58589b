# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tuning against dense scans and counts by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.meas.cosmicrays.comparison import (
    Criterion,
    MaskCounter,
    TuningGrid,
    TuningScan,
    TuningStep,
    add_tuning_curves,
    best_value,
    kneedle_difference,
    scan_parameter,
    tuning_curve,
    tuning_optimum,
)
from lsst.meas.cosmicrays.comparison.tuning_scan import _between


class Detector:
    """An image on which a limit on significance finds cosmic rays."""

    def __init__(self, seed: int, side: int = 200, fraction: float = 0.01, *, rising: bool = False) -> None:
        rng = np.random.default_rng(seed)
        self.truth = rng.random((side, side)) < fraction
        self.significance = np.abs(rng.normal(0.0, 1.0, (side, side)))
        self.significance[self.truth] += rng.exponential(8.0, self.truth.sum())
        self.reference = (self.truth & (self.significance > 3.5)) | (rng.random((side, side)) < fraction / 20)
        self.usable = rng.random((side, side)) < 0.97
        self.rising = rising
        self.counter = MaskCounter(self.usable, reference=self.reference, truth=self.truth)
        self.calls: list[float] = []

    def find(self, value: float) -> np.ndarray:
        return self.significance > (11.0 - value if self.rising else value)

    def evaluate(self, value: float) -> TuningStep:
        self.calls.append(value)
        return self.counter.count(self.find(value))

    def scan(self, grid: TuningGrid, **options: object) -> TuningScan:
        return scan_parameter(self.evaluate, grid, self.counter, **options)

    def curve(self, values: np.ndarray) -> Table:
        return tuning_curve(
            {float(value): self.counter.count(self.find(value)) for value in values}, self.counter
        )


def naive_optima(detector: Detector, values: np.ndarray) -> dict[str, float]:
    """Find the optima with one confusion matrix a value, by other formulae."""
    usable = detector.usable
    reference, truth = detector.reference[usable], detector.truth[usable]
    masks = [detector.find(value)[usable] for value in values]
    mse = [np.mean((mask.astype(float) - reference.astype(float)) ** 2) for mask in masks]
    f1 = {}
    for name, positive in (("f1", reference), ("f1_truth", truth)):
        purity = np.array([np.mean(positive[mask]) if mask.any() else 0.0 for mask in masks])
        completeness = np.array([np.mean(mask[positive]) for mask in masks])
        total = purity + completeness
        f1[name] = np.divide(2 * purity * completeness, total, out=np.zeros_like(total), where=total > 0)
    numbers = np.array([mask.sum() for mask in masks])
    # The point farthest from the chord, as a distance in the unit square.
    u = (values - values[0]) / (values[-1] - values[0])
    v = (numbers - numbers.min()) / (numbers.max() - numbers.min())
    distance = np.abs(v - u if detector.rising else 1.0 - u - v) / math.sqrt(2.0)
    return {
        "mse": values[np.argmin(np.round(mse, 12))],
        "knee": values[np.argmax(np.round(distance, 12))],
        **{name: values[np.argmax(np.round(rates, 12))] for name, rates in f1.items()},
    }


def optima(curve: Table) -> dict[str, float]:
    return {str(criterion): best_value(curve, criterion) for criterion in Criterion}


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    fraction=st.floats(0.002, 0.05),
    rising=st.booleans(),
    refinement=st.integers(1, 4),
    n_first=st.integers(2, 12),
)
def test_optima_are_those_of_a_dense_scan(
    seed: int, fraction: float, rising: bool, refinement: int, n_first: int
) -> None:
    detector = Detector(seed, 70, fraction, rising=rising)
    grid = TuningGrid.make(1.0, 10.0, 0.18, refinement=refinement)
    scan = detector.scan(grid, n_first=n_first)
    assert optima(tuning_curve(scan.steps, detector.counter)) == pytest.approx(
        naive_optima(detector, grid.values)
    )
    assert len(detector.calls) == len(set(detector.calls)) == len(scan.steps)
    wide = set(grid.values[grid.is_wide])
    assert set(detector.calls[: scan.n_wide]) <= wide


@pytest.mark.parametrize("seed", range(3))
def test_far_fewer_values_are_computed(seed: int) -> None:
    detector = Detector(seed, 400)
    grid = TuningGrid.make(1.0, 10.0, 0.18, refinement=3)
    assert grid.values.size == 151
    detector.scan(grid)
    assert len(detector.calls) <= 45
    best = naive_optima(detector, grid.values)
    for place in best.values():
        around = [value for value in detector.calls if abs(value - place) < 0.07]
        assert len(around) == 3
    assert len([value for value in detector.calls if value > 6.0]) <= 6


def test_only_what_is_sought_is_computed() -> None:
    grid = TuningGrid.make(1.0, 10.0, 0.18, refinement=3)
    every, knee = Detector(5), Detector(5)
    every.scan(grid)
    scan = knee.scan(grid, criteria=[Criterion.KNEE])
    assert len(knee.calls) < len(every.calls)
    assert optima(tuning_curve(scan.steps, knee.counter))["knee"] == naive_optima(knee, grid.values)["knee"]


@pytest.mark.parametrize("rising", [True, False])
def test_bounds_of_counts_that_turn_back(rising: bool) -> None:
    """Bounds widen by the furthest that counts have turned back."""
    counts = np.array([10, 12, 11, 15]) if rising else np.array([15, 11, 12, 10])
    least, greatest = _between(counts, rising)
    assert least.tolist() == ([9, 10, 10] if rising else [10, 10, 9])
    assert greatest.tolist() == ([13, 13, 16] if rising else [16, 13, 13])


def test_counts_that_turn_back() -> None:
    detector = Detector(8, 300)
    grid = TuningGrid.make(1.0, 10.0, 0.18, refinement=3)
    rng = np.random.default_rng(3)
    flips = {float(value): rng.random((300, 300)) < 3e-5 for value in grid.values}
    smooth = detector.find
    detector.find = lambda value: smooth(value) ^ flips[float(value)]  # type: ignore[method-assign]
    curve = tuning_curve(detector.scan(grid).steps, detector.counter)
    dense = detector.curve(grid.values)
    assert np.any(np.diff(dense["n_pixels"]) > 0)
    assert curve["mse"].min() <= dense["mse"].min() * 1.01
    assert curve["f1"].max() >= dense["f1"].max() * 0.995
    assert len(detector.calls) < grid.values.size / 2


@pytest.mark.parametrize("limit", [1.5, 3.0, 4.7])
def test_values_at_which_the_finder_fails(limit: float) -> None:
    detector = Detector(2)
    grid = TuningGrid.make(1.0, 10.0, 0.18, refinement=3)

    def evaluate(value: float) -> TuningStep:
        step = detector.evaluate(value)
        return TuningStep(failure="too many cosmic rays") if value < limit else step

    scan = scan_parameter(evaluate, grid, detector.counter)
    curve = tuning_curve(scan.steps, detector.counter)
    dense = naive_optima(detector, grid.values[grid.values >= limit])
    assert optima(curve) == pytest.approx(dense)
    failed = curve[curve["failure"] != ""]
    assert 0 < len(failed) <= 12
    assert np.all(failed["n_pixels"] == -1)
    assert np.all(np.isnan(failed["mse"]))
    assert curve["value"][curve["failure"] == ""].min() == pytest.approx(grid.values[grid.values >= limit][0])


def test_finder_that_always_fails() -> None:
    detector = Detector(2)
    scan = scan_parameter(
        lambda value: TuningStep(failure="no"), TuningGrid.make(1.0, 10.0, 0.18), detector.counter, n_first=5
    )
    assert len(scan.steps) == 5
    curve = tuning_curve(scan.steps, detector.counter)
    assert all(math.isnan(value) for value in optima(curve).values())
    assert len(add_tuning_curves([curve])) == 0


def test_curve_by_brute_force() -> None:
    rng = np.random.default_rng(4)
    mask, reference, truth = (rng.random((20, 20)) < 0.2 for _ in range(3))
    usable = rng.random((20, 20)) < 0.9
    counter = MaskCounter(usable, reference=reference, truth=truth)
    curve = tuning_curve({3.0: counter.count(mask), 2.0: TuningStep(failure="no")}, counter)
    assert curve["value"].tolist() == [2.0, 3.0]
    (row,) = curve[curve["value"] == 3.0]
    for positive, suffix in ((reference, ""), (truth, "_truth")):
        counts = dict.fromkeys(("tp", "fp", "fn", "tn"), 0)
        for y in range(20):
            for x in range(20):
                if usable[y, x]:
                    key = ("t" if mask[y, x] == positive[y, x] else "f") + ("p" if mask[y, x] else "n")
                    counts[key] += 1
        assert {name: row[name + suffix] for name in counts} == counts
        differing = counts["fp"] + counts["fn"]
        purity, completeness = counts["tp"] / mask[usable].sum(), counts["tp"] / positive[usable].sum()
        assert row["mse" + suffix] == differing / usable.sum()
        assert row["purity" + suffix] == purity
        assert row["completeness" + suffix] == completeness
        assert row["f1" + suffix] == pytest.approx(2 * purity * completeness / (purity + completeness))
    assert row["n_usable"] == usable.sum()
    assert row["cr_pixels_per_mpix"] == pytest.approx(1e6 * mask[usable].sum() / usable.sum())


def test_reference_without_pixels_has_no_optimum() -> None:
    detector = Detector(6, 80)
    counter = MaskCounter(detector.usable, reference=np.zeros((80, 80), bool))
    grid = TuningGrid.make(1.0, 10.0, 0.18)
    scan = scan_parameter(lambda value: counter.count(detector.find(value)), grid, counter)
    curve = tuning_curve(scan.steps, counter)
    assert np.all(np.isnan(curve["completeness"]))
    assert np.all(np.isnan(curve["f1"]))
    assert np.all(curve["tp_truth"] == -1)
    best = optima(curve)
    assert best["knee"] == naive_optima(detector, grid.values)["knee"]
    assert all(math.isnan(best[name]) for name in ("mse", "f1", "f1_truth"))


def test_image_without_usable_pixels() -> None:
    mask = np.ones((8, 8), bool)
    counter = MaskCounter(~mask, reference=mask)
    curve = tuning_curve({1.0: counter.count(mask), 2.0: counter.count(mask)}, counter)
    assert np.all(curve["n_pixels"] == 0)
    assert np.all(np.isnan(curve["mse"]))
    assert np.all(np.isnan(curve["cr_pixels_per_mpix"]))
    assert all(math.isnan(value) for value in optima(curve).values())


def test_masks_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"The truth has shape \(3, 4\), but the image has \(4, 4\)"):
        MaskCounter(np.ones((4, 4), bool), truth=np.ones((3, 4), bool))


def test_published_knee() -> None:
    # Figure 2 of Satopaa et al. (2011): the knee of 5 - 1/(x + 0.1) is at
    # x = 0.22.
    x = np.linspace(0.0, 1.0, 10)
    difference = kneedle_difference(x, 5.0 - 1.0 / (x + 0.1))
    assert x[np.argmax(difference)] == pytest.approx(0.22, abs=0.005)
    assert difference[[0, -1]] == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize("numbers", [np.full(11, 7), np.arange(11), np.arange(11)[::-1]])
def test_curve_without_a_knee(numbers: np.ndarray) -> None:
    nothing = np.zeros((200, 1), bool)
    counter = MaskCounter(~nothing)

    def first(n: int) -> np.ndarray:
        mask = nothing.copy()
        mask[:n] = True
        return mask

    curve = tuning_curve({float(x): counter.count(first(n)) for x, n in enumerate(numbers)}, counter)
    assert math.isnan(best_value(curve, Criterion.KNEE))


def test_sum_of_dense_curves() -> None:
    detectors = [Detector(seed, 80) for seed in range(3)]
    values = TuningGrid.make(2.0, 6.0, 0.2).values
    total = add_tuning_curves([detector.curve(values) for detector in detectors])
    assert np.all(total["n_computed"] == 3)
    for row, value in zip(total, values, strict=True):
        found = [detector.find(value) & detector.usable for detector in detectors]
        assert row["n_pixels"] == sum(mask.sum() for mask in found)
        assert row["tp"] == sum((m & d.reference).sum() for m, d in zip(found, detectors, strict=True))
        assert row["fn_truth"] == sum(
            (~m & d.truth & d.usable).sum() for m, d in zip(found, detectors, strict=True)
        )
        differing = sum(((m ^ d.reference) & d.usable).sum() for m, d in zip(found, detectors, strict=True))
        assert row["mse"] == pytest.approx(differing / sum(d.usable.sum() for d in detectors))


def test_sum_of_adaptive_curves_is_best_where_the_dense_sum_is() -> None:
    detectors = [Detector(seed, 200, fraction) for seed, fraction in enumerate((0.003, 0.01, 0.02, 0.01))]
    grid = TuningGrid.make(1.0, 10.0, 0.18, refinement=3)
    curves = [tuning_curve(detector.scan(grid).steps, detector.counter) for detector in detectors]
    dense = [detector.curve(grid.values) for detector in detectors]
    adaptive, exact = add_tuning_curves(curves), add_tuning_curves(dense)
    assert adaptive["n_computed"].min() < 4
    for criterion in Criterion:
        assert best_value(adaptive, criterion) == pytest.approx(best_value(exact, criterion), abs=0.061)
    at = np.searchsorted(np.round(grid.values, 9), np.round(adaptive["value"], 9))
    assert np.allclose(adaptive["f1"], exact["f1"][at], atol=0.01)
    assert np.allclose(adaptive["n_pixels"], exact["n_pixels"][at], rtol=0.05)


def test_detectors_that_lack_something() -> None:
    values = TuningGrid.make(2.0, 6.0, 0.2).values
    good, other = Detector(0, 80).curve(values), Detector(1, 80)
    without = MaskCounter(other.usable, truth=other.truth)
    no_reference = tuning_curve({float(v): without.count(other.find(v)) for v in values}, without)
    fails = {float(v): TuningStep(failure="no") for v in values}
    failed = tuning_curve(fails, other.counter)
    half = tuning_curve(
        fails | {float(v): other.counter.count(other.find(v)) for v in values[5:]}, other.counter
    )
    curves = [good, no_reference, failed, half]
    total = add_tuning_curves(curves)
    assert total["value"].tolist() == values[5:].tolist()
    assert set(total["n_detectors"]) == {3}
    assert set(total["n_detectors_reference"]) == {2}
    assert set(total["n_detectors_truth"]) == {3}
    assert total["tp"].tolist() == (good["tp"][5:] + half["tp"][5:]).tolist()
    assert (
        total["n_pixels"].tolist()
        == (good["n_pixels"] + no_reference["n_pixels"] + half["n_pixels"])[5:].tolist()
    )
    optimum = {row["criterion"]: row for row in tuning_optimum(curves)}
    counts = {name: (row["n_detectors"], row["n_detectors_total"]) for name, row in optimum.items()}
    assert counts == {"mse": (2, 4), "f1": (2, 4), "knee": (3, 4), "f1_truth": (3, 4)}


def test_scatter_of_the_optima() -> None:
    detectors = [Detector(seed, 80) for seed in range(6)]
    values = TuningGrid.make(1.0, 10.0, 0.18).values
    curves = [detector.curve(values) for detector in detectors]
    optimum = tuning_optimum(curves)
    each = [naive_optima(detector, values) for detector in detectors]
    for row in optimum:
        places = [best[row["criterion"]] for best in each]
        assert (row["median"], row["min"], row["max"]) == pytest.approx(
            (np.median(places), min(places), max(places))
        )
        assert row["std"] == pytest.approx(np.std(places, ddof=1))
        assert (row["p16"], row["p84"]) == pytest.approx(tuple(np.percentile(places, [16, 84])))
        total = add_tuning_curves(curves)
        (at,) = total[total["value"] == row["value"]]
        assert [row[name] for name in ("n_pixels", "mse", "purity", "f1_truth")] == [
            at[name] for name in ("n_pixels", "mse", "purity", "f1_truth")
        ]
    assert math.isnan(tuning_optimum(curves[:1])["std"][0])


def test_grid() -> None:
    grid = TuningGrid.make(1.0, 10.0, 0.18, refinement=3)
    assert grid.values[[0, 1, 3, -1]] == pytest.approx([1.0, 1.06, 1.18, 10.0])
    assert grid.is_wide.sum() == 51
    whole = TuningGrid.make(0.0, 6.0, 0.5, refinement=2, integer=True)
    assert whole.values.tolist() == [0, 1, 2, 3, 4, 5, 6]
    short = TuningGrid.make(0.0, 1.0, 0.3)
    assert short.values == pytest.approx([0.0, 0.3, 0.6, 0.9])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10.0, 1.0, 0.1), "range that rises, not from 10.0 to 1.0"),
        ((1.0, 1.0, 0.1), "range that rises"),
        ((1.0, math.inf, 0.1), "range that rises"),
        ((1.0, 2.0, 0.0), "Steps of 0.0 do not fit"),
        ((1.0, 2.0, 1.5), "Steps of 1.5 do not fit"),
        ((1.0, 2.0, math.nan), "Steps of nan do not fit"),
    ],
)
def test_bad_grids(arguments: tuple[float, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TuningGrid.make(*arguments)
    with pytest.raises(ValueError, match="at least one narrow step"):
        TuningGrid.make(1.0, 2.0, 0.1, refinement=0)
