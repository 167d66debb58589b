# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.meas.cosmicrays.comparison import (
    Confusion,
    add_counts,
    adjusted_completeness,
    confusion,
    critical_false_negatives,
    dilate,
    joint_counts,
    joint_histogram,
    regions,
    tolerant_confusion,
    vote_confusion,
    votes,
)

SHAPE = (20, 20)
PIXELS = [(y, x) for y in range(20) for x in range(20)]


@pytest.fixture(scope="module")
def masks() -> list[np.ndarray]:
    rng = np.random.default_rng(11)
    common = rng.random(SHAPE) < 0.15
    return [common ^ (rng.random(SHAPE) < 0.05) for _ in range(4)]


@pytest.fixture(scope="module")
def usable() -> np.ndarray:
    return np.random.default_rng(12).random(SHAPE) < 0.9


def neighbours(y: int, x: int) -> list[tuple[int, int]]:
    return [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (y + dy, x + dx) in PIXELS]


@pytest.mark.parametrize("sparse", [False, True])
def test_confusion_pixel_by_pixel(masks: list[np.ndarray], usable: np.ndarray, sparse: bool) -> None:
    counts = joint_counts(masks, usable) if sparse else joint_histogram(masks, usable)
    for reference in range(4):
        for candidate in range(4):
            tp = fn = fp = tn = 0
            for pixel in PIXELS:
                if usable[pixel]:
                    truth, found = masks[reference][pixel], masks[candidate][pixel]
                    tp += truth and found
                    fn += truth and not found
                    fp += found and not truth
                    tn += not truth and not found
            result = confusion(counts, reference, candidate)
            assert (result.tp, result.fn, result.fp, result.tn) == (tp, fn, fp, tn)
            purity, completeness = tp / (tp + fp), tp / (tp + fn)
            assert result.purity == pytest.approx(purity)
            assert result.completeness == pytest.approx(completeness)
            assert result.f1 == pytest.approx(2 * purity * completeness / (purity + completeness))
            assert result.dice == pytest.approx(2 * tp / (2 * tp + fp + fn))


@pytest.mark.parametrize(
    ("counts", "null"),
    [
        (Confusion(0, 0, 0, 9), {"purity", "completeness", "f1", "dice"}),
        (Confusion(0, 5, 0, 9), {"purity", "f1"}),
        (Confusion(0, 0, 5, 9), {"completeness", "f1"}),
        (Confusion(0, 5, 5, 9), {"f1"}),
        (Confusion(1, 0, 0, 0), set()),
    ],
)
def test_zero_by_zero_is_null(counts: Confusion, null: set[str]) -> None:
    rates = {name: getattr(counts, name) for name in ("purity", "completeness", "f1", "dice")}
    assert {name for name, rate in rates.items() if rate is None} == null
    assert all(rate in (0.0, 1.0) for rate in rates.values() if rate is not None)


def test_tolerant_confusion_pixel_by_pixel(masks: list[np.ndarray], usable: np.ndarray) -> None:
    counts = joint_counts([*masks, *map(dilate, masks)], usable)
    for reference, candidate in ((0, 1), (1, 0), (2, 3), (1, 1)):
        a, b = masks[reference], masks[candidate]
        a_pixels = [pixel for pixel in PIXELS if usable[pixel] and a[pixel]]
        b_pixels = [pixel for pixel in PIXELS if usable[pixel] and b[pixel]]
        a_near_b = [pixel for pixel in a_pixels if any(b[near] for near in neighbours(*pixel))]
        b_near_a = [pixel for pixel in b_pixels if any(a[near] for near in neighbours(*pixel))]
        result = tolerant_confusion(counts, reference, candidate, n_masks=4)
        assert result.purity == pytest.approx(len(b_near_a) / len(b_pixels))
        assert result.completeness == pytest.approx(len(a_near_b) / len(a_pixels))
        assert result.tp_reference + result.fn == len(a_pixels)
        assert result.tp_candidate + result.fp == len(b_pixels)
        assert result.tn == sum(usable[pixel] and not a[pixel] and not b[pixel] for pixel in PIXELS)
        assert result.f1 == pytest.approx(
            2 * result.purity * result.completeness / (result.purity + result.completeness)
        )
        assert result.dice == pytest.approx((len(a_near_b) + len(b_near_a)) / (len(a_pixels) + len(b_pixels)))


def test_tolerance_forgives_a_shift_of_one_pixel_and_not_of_two() -> None:
    reference = np.zeros(SHAPE, bool)
    reference[5:15, 10] = True
    for shift, rate in ((1, 1.0), (2, 0.0)):
        candidate = np.roll(reference, shift, axis=1)
        counts = joint_counts([reference, candidate, dilate(reference), dilate(candidate)])
        result = tolerant_confusion(counts, 0, 1, n_masks=2)
        assert (result.purity, result.completeness) == (rate, rate)
        assert confusion(counts, 0, 1).tp == 0
    assert result.f1 is None
    assert result.dice == 0


def test_tolerant_rates_of_empty_masks_are_null() -> None:
    empty = np.zeros(SHAPE, bool)
    result = tolerant_confusion(joint_counts([empty] * 4), 0, 1, n_masks=2)
    assert (result.purity, result.completeness, result.f1, result.dice) == (None,) * 4


def test_critical_false_negatives_pixel_by_pixel(masks: list[np.ndarray], usable: np.ndarray) -> None:
    truth, found, _, detected = masks
    expected = sum(
        bool(usable[pixel] and truth[pixel] and not found[pixel] and detected[pixel]) for pixel in PIXELS
    )
    counts = joint_histogram(masks, usable)
    assert 0 < expected < confusion(counts, 0, 1).fn
    assert critical_false_negatives(counts, 0, 1, 3) == expected


def test_adjusted_completeness() -> None:
    assert adjusted_completeness(3, 1) == 0.75
    assert adjusted_completeness(0, 0) is None


def test_votes_pixel_by_pixel(masks: list[np.ndarray], usable: np.ndarray) -> None:
    counts = joint_histogram(masks, usable)
    expected = [0] * 4
    for pixel in PIXELS:
        if usable[pixel]:
            expected[sum(bool(masks[bit][pixel]) for bit in (0, 2, 3))] += 1
    assert votes(counts, (0, 2, 3)).tolist() == expected


@pytest.mark.parametrize("at_least", [1, 2, 3])
def test_vote_confusion_is_that_of_the_voted_mask(
    masks: list[np.ndarray], usable: np.ndarray, at_least: int
) -> None:
    voted = np.sum(masks[1:], axis=0) >= at_least
    expected = confusion(joint_histogram([masks[0], voted], usable), 0, 1)
    assert vote_confusion(joint_histogram(masks, usable), 0, (1, 2, 3), at_least=at_least) == expected


def test_regions_are_the_counts_of_the_members(masks: list[np.ndarray], usable: np.ndarray) -> None:
    members = (3, 1)
    result = regions(joint_counts(masks, usable), members)
    np.testing.assert_array_equal(result, joint_histogram([masks[bit] for bit in members], usable))


def test_only_detectors_with_both_masks_count() -> None:
    rng = np.random.default_rng(3)
    first, second, third = (rng.random(SHAPE) < 0.2 for _ in range(3))
    counts = add_counts(
        [joint_counts([first, second]), joint_counts([first, None]), joint_counts([None, third])]
    )
    assert confusion(counts, 0, 1) == confusion(joint_histogram([first, second]), 0, 1)


def test_no_detector_with_both_masks() -> None:
    mask = np.ones(SHAPE, bool)
    counts = add_counts([joint_counts([mask, None]), joint_counts([None, mask])])
    assert confusion(counts, 0, 1) == Confusion(0, 0, 0, 0)


def test_unknown_bits_and_counts() -> None:
    counts = joint_histogram([np.zeros(SHAPE, bool)])
    with pytest.raises(ValueError, match="the counts are of 1 masks"):
        confusion(counts, 0, 1)
    with pytest.raises(ValueError, match="bits 0 to 63"):
        confusion(counts, -1, 0)
    with pytest.raises(ValueError, match=r"shape \(2\*\*M,\)"):
        confusion(np.zeros(5, np.int64), 0, 1)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), n_masks=st.integers(2, 5))
def test_confusion_is_consistent(seed: int, n_masks: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 50, 2**n_masks)
    for reference in range(n_masks):
        for candidate in range(n_masks):
            result = confusion(counts, reference, candidate)
            swapped = confusion(counts, candidate, reference)
            assert result.tp + result.fn + result.fp + result.tn == counts.sum()
            assert (result.purity, result.completeness) == (swapped.completeness, swapped.purity)
            assert result.dice is None or 0 <= result.dice <= 1
            if result.f1 is not None:
                assert math.isclose(result.f1, result.dice)
    assert votes(counts, range(n_masks)).sum() == counts.sum()
    np.testing.assert_array_equal(regions(counts, range(n_masks)), counts)
