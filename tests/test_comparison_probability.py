# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Probabilities against truth: counts, curves, and what follows from them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table, vstack
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from lsst.meas.cosmicrays.comparison import (
    LOGIT_STEP,
    ComparedMasks,
    MaskBit,
    Role,
    add_probability_counts,
    count_probability,
    probability_counts,
    probability_curve,
    probability_summary,
    truth_bits,
)

SHAPE = (60, 70)


def scene(seed: int, shape: tuple[int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities, truth and usable pixels that are plausible."""
    rng = np.random.default_rng(seed)
    true = rng.random(shape) < 0.02
    logit = np.where(true, rng.normal(3.0, 4.0, shape), rng.normal(-7.0, 3.0, shape))
    probability = (1.0 / (1.0 + np.exp(-logit))).astype(np.float32)
    probability[rng.random(shape) < 0.1] = 0.0
    probability[rng.random(shape) < 0.005] = 1.0
    return probability, true, rng.random(shape) < 0.9


def masks_of(true: np.ndarray, usable: np.ndarray, *, sigmas: tuple[float, ...] = (2.0,)) -> ComparedMasks:
    """Return a comparison of a detection with truths, each within the last."""
    truths = [true.copy() for _ in sigmas]
    for number, truth in enumerate(truths):
        truth[: 5 * number] = False
    bits = (MaskBit("network_science", Role.DETECTION), *truth_bits(sigmas))
    return ComparedMasks(bits, (None, *truths), usable)


def counts_of(seed: int, *, sigmas: tuple[float, ...] = (2.0,)) -> Table:
    probability, true, usable = scene(seed)
    return probability_counts({"network_science": probability}, masks_of(true, usable, sigmas=sigmas))


@pytest.mark.parametrize("seed", [1, 2])
def test_every_row_of_the_curve_is_a_mask(seed: int) -> None:
    """Cutting the pixels at a threshold gives the counts of its row."""
    probability, true, usable = scene(seed)
    curve = probability_curve(counts_of(seed))
    assert np.all(np.diff(curve["threshold"]) < 0)
    assert curve["threshold"][-1] == -1.0
    for row in curve:
        found = (probability > row["threshold"]) & usable
        assert row["tp"] == np.count_nonzero(found & true)
        assert row["fp"] == np.count_nonzero(found & ~true)
        assert row["precision"] == pytest.approx(row["tp"] / np.count_nonzero(found))
        assert row["recall"] == pytest.approx(row["tp"] / np.count_nonzero(true & usable))
        assert row["false_positive_rate"] == pytest.approx(row["fp"] / np.count_nonzero(~true & usable))


def test_default_threshold_is_a_row() -> None:
    """A finder's mask, probability above 0.5, is a point of the curve."""
    probability = np.array([[0.499, 0.5, 0.501, 0.2]], dtype=np.float32)
    counts = count_probability(probability, probability > 0.3, np.ones((1, 4), dtype=bool))
    assert 0.5 in counts["threshold"].tolist()
    above = counts["threshold"] >= 0.5
    assert counts["n_true"][above].sum() == 1


def test_ends_have_bins_of_their_own() -> None:
    tiny, almost = np.nextafter(np.float32(0), np.float32(1)), np.nextafter(np.float32(1), np.float32(0))
    probability = np.array([[0.0, tiny, 1e-12, 0.3, almost, 1.0]], dtype=np.float32)
    counts = count_probability(probability, np.zeros((1, 6), dtype=bool), np.ones((1, 6), dtype=bool))
    assert counts["n_false"].tolist() == [1, 2, 1, 1, 1]
    assert counts["threshold"].tolist()[:2] == [-1.0, 0.0]
    assert counts["threshold"].tolist()[-1] == almost


@settings(deadline=None, max_examples=100)
@given(st.floats(1e-8, 1.0 - 1e-5))
def test_bins_are_narrow(value: float) -> None:
    """Probabilities of a bin agree to one step in their logit."""
    probability = np.full((1, 1), value, dtype=np.float32)
    (threshold,) = count_probability(probability, probability > 1, probability > 0)["threshold"]
    exact = float(probability[0, 0])
    assert threshold < exact
    step = np.log(exact / (1 - exact)) - np.log(threshold / (1 - threshold))
    assert step < LOGIT_STEP + 0.01


@pytest.mark.parametrize("seed", [3, 4])
def test_summary_is_that_of_scikit_learn(seed: int) -> None:
    """On raw probabilities but for the width of the bins, else exactly."""
    probability, true, usable = scene(seed, (300, 300))
    counts = probability_counts({"network_science": probability}, masks_of(true, usable))
    (row,) = probability_summary(probability_curve(counts))
    score, label = probability[usable], true[usable]
    thresholds = np.sort(np.asarray(counts["threshold"]))
    binned = thresholds[np.searchsorted(thresholds, score.astype(np.float64), side="left") - 1]
    for values, tolerance in ((binned, 1e-12), (score, 2e-3)):
        precision, recall, _ = precision_recall_curve(label, values)
        assert row["average_precision"] == pytest.approx(
            average_precision_score(label, values), abs=tolerance
        )
        assert row["roc_area"] == pytest.approx(roc_auc_score(label, values), abs=tolerance)
        assert row["precision_at_recall"] == pytest.approx(precision[recall >= 0.95].max(), abs=5 * tolerance)
        total = np.where(precision + recall > 0, precision + recall, 1.0)
        assert row["best_f1"] == pytest.approx(np.max(2 * precision * recall / total), abs=tolerance)
    assert (row["n_true"], row["n_false"]) == (label.sum(), (~label).sum())
    found = score > row["threshold_at_recall"]
    assert np.mean(found[label]) >= 0.95
    assert row["precision_at_recall"] == pytest.approx(np.mean(label[found]))
    found = score > row["threshold_at_best_f1"]
    assert row["best_f1"] == pytest.approx(
        2 * np.sum(found & label) / (np.sum(found) + np.sum(label)), abs=1e-12
    )


def test_counts_add_up() -> None:
    """Two detectors added up are one of twice the size."""
    scenes = [scene(seed) for seed in (5, 6)]
    probability, true, usable = (np.concatenate(parts) for parts in zip(*scenes, strict=True))
    together = probability_counts({"network_science": probability}, masks_of(true, usable))
    added = add_probability_counts([counts_of(5), counts_of(6)])
    assert added["n_detectors"].tolist() == [2] * len(together)
    for name in together.colnames[:-1]:
        np.testing.assert_array_equal(added[name], together[name])
    nested = add_probability_counts([added, counts_of(7)])
    at_once = add_probability_counts([counts_of(seed) for seed in (5, 6, 7)])
    for name in at_once.colnames:
        np.testing.assert_array_equal(nested[name], at_once[name])
    assert set(at_once["n_detectors"]) == {3}


def test_each_detection_and_truth_has_its_curve() -> None:
    probability, true, usable = scene(8)
    masks = masks_of(true, usable, sigmas=(2.0, 1.0, 5.0))
    both = {"first_science": probability, "second_science": 1.0 - probability}
    counts = add_probability_counts([probability_counts(both, masks)])
    summary = probability_summary(probability_curve(counts))
    assert [tuple(row) for row in summary["detection", "reference", "truth_sigma"]] == [
        (name, reference, sigma)
        for name in both
        for reference, sigma in (("truth", 2.0), ("truth_1sigma", 1.0), ("truth_5sigma", 5.0))
    ]
    for row in summary:
        truth = masks.masks[[bit.name for bit in masks.bits].index(row["reference"])][usable]
        score = both[str(row["detection"])][usable]
        assert row["average_precision"] == pytest.approx(average_precision_score(truth, score), abs=5e-3)


def test_detectors_without_probability_or_truth() -> None:
    """They add nothing, and are not among the number of detectors."""
    probability, true, usable = scene(9)
    without_truth = ComparedMasks(tuple(truth_bits([2.0])), (None,), usable)
    empty = [
        probability_counts({}, masks_of(true, usable)),
        probability_counts({"network_science": probability}, without_truth),
    ]
    assert [len(table) for table in empty] == [0, 0]
    total = add_probability_counts([*empty, counts_of(9)])
    assert set(total["n_detectors"]) == {1}
    nothing = add_probability_counts(empty)
    assert len(nothing) == len(probability_curve(nothing)) == 0
    assert len(probability_summary(probability_curve(nothing))) == 0
    assert nothing.dtype == total.dtype
    assert probability_curve(nothing).colnames == probability_curve(total).colnames


def test_truth_as_a_mask_has_no_sigma() -> None:
    """A threshold of truth that is NaN is one key like any other."""
    total = add_probability_counts([counts_of(seed, sigmas=(np.nan,)) for seed in (1, 2)])
    assert np.isnan(total["truth_sigma"]).all()
    assert len(probability_summary(probability_curve(total))) == 1


def test_no_true_pixel_and_nothing_else() -> None:
    probability, true, usable = scene(10)
    (none,) = probability_summary(
        probability_curve(probability_counts({"n": probability}, masks_of(true & False, usable)))
    )
    names = ("average_precision", "precision_at_recall", "threshold_at_recall", "best_f1", "roc_area")
    assert all(np.isnan(none[name]) for name in names)
    (all_true,) = probability_summary(
        probability_curve(probability_counts({"n": probability}, masks_of(true | True, usable)))
    )
    assert all_true["average_precision"] == pytest.approx(1.0)
    assert np.isnan(all_true["roc_area"])


def test_pixels_without_probability_are_not_counted() -> None:
    probability, true, usable = scene(11)
    probability[10:20] = np.nan
    counts = count_probability(probability, true, usable)
    usable[10:20] = False
    assert counts["n_true"].sum() == np.count_nonzero(true & usable)
    assert counts["n_true"].sum() + counts["n_false"].sum() == usable.sum()


@pytest.mark.parametrize(
    ("probability", "message"),
    [
        (np.zeros((3, 3)), r"network_science: it has shape \(3, 3\)"),
        (np.full(SHAPE, 1.5), "network_science: it must be between 0 and 1, but runs from 1.5"),
        (np.full(SHAPE, -0.1), "network_science: it must be between 0 and 1"),
    ],
)
def test_what_is_no_probability(probability: np.ndarray, message: str) -> None:
    _, true, usable = scene(12)
    with pytest.raises(ValueError, match=message):
        probability_counts({"network_science": probability}, masks_of(true, usable))


def test_order_of_rows_does_not_matter() -> None:
    counts = counts_of(13, sigmas=(2.0, 5.0))
    shuffled = counts[np.random.default_rng(0).permutation(len(counts))]
    first, second = (
        probability_curve(add_probability_counts([vstack([table])])) for table in (counts, shuffled)
    )
    for reference in ("truth", "truth_5sigma"):
        one, other = (curve[curve["reference"] == reference] for curve in (first, second))
        for name in one.colnames:
            np.testing.assert_array_equal(one[name], other[name])
