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

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.meas.cosmicrays.comparison import MAX_MASKS, add_counts, dilate, joint_counts, joint_histogram

SHAPE = (20, 20)


def random_masks(seed: int, n_masks: int, shape: tuple[int, int] = SHAPE) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.random(shape) < fraction for fraction in rng.uniform(0.02, 0.6, n_masks)]


def brute_force_counts(masks: list[np.ndarray], usable: np.ndarray) -> dict[int, int]:
    counts: dict[int, int] = {}
    for y in range(usable.shape[0]):
        for x in range(usable.shape[1]):
            if usable[y, x]:
                code = sum(1 << bit for bit, mask in enumerate(masks) if mask is not None and mask[y, x])
                counts[code] = counts.get(code, 0) + 1
    return counts


def as_dict(table: Table) -> dict[int, int]:
    return {int(code): int(n) for code, n in zip(table["code"], table["n"], strict=True)}


@pytest.mark.parametrize("n_masks", [1, 3, 8, 9, 17])
def test_histogram_counts_every_combination(n_masks: int) -> None:
    masks = random_masks(n_masks, n_masks)
    usable = np.random.default_rng(0).random(SHAPE) < 0.9
    counts = joint_histogram(masks, usable)
    assert counts.shape == (2**n_masks,)
    assert counts.dtype == np.int64
    expected = brute_force_counts(masks, usable)
    assert {code: int(counts[code]) for code in np.flatnonzero(counts)} == expected


@settings(deadline=None, max_examples=60)
@given(
    ny=st.integers(1, 25),
    nx=st.integers(1, 25),
    n_masks=st.integers(1, 10),
    seed=st.integers(0, 1000),
    with_usable=st.booleans(),
)
def test_histogram_of_any_shape(ny: int, nx: int, n_masks: int, seed: int, with_usable: bool) -> None:
    masks = random_masks(seed, n_masks, (ny, nx))
    usable = np.random.default_rng(seed).random((ny, nx)) < 0.7 if with_usable else None
    counts = joint_histogram(masks, usable)
    where = np.ones((ny, nx), bool) if usable is None else usable
    assert counts.sum() == where.sum()
    for bit, mask in enumerate(masks):
        has_bit = np.arange(counts.size) >> bit & 1 == 1
        assert counts[has_bit].sum() == (mask & where).sum()
    assert as_dict(joint_counts(masks, usable)) | {0: int(counts[0])} == {0: int(counts[0])} | {
        int(code): int(counts[code]) for code in np.flatnonzero(counts)
    }


def test_histogram_spans_blocks_and_threads() -> None:
    masks = random_masks(5, 4, (701, 1003))
    expected = np.bincount(sum(mask.astype(int) << bit for bit, mask in enumerate(masks)).ravel())
    for n_threads in (1, 3):
        np.testing.assert_array_equal(joint_histogram(masks, n_threads=n_threads), expected)


def test_histogram_of_views() -> None:
    """Strided and unaligned arrays are counted as their copies are."""
    wide = random_masks(7, 1, (20, 41))[0]
    views = [wide[:, 1:21], wide[:, 21:], wide.T[:20, :20], wide[::1, 40:20:-1]]
    unaligned = np.concatenate([[False], wide.ravel()])[1:].reshape(wide.shape)[:, :20]
    copies = [np.array(view) for view in (*views, unaligned)]
    np.testing.assert_array_equal(joint_histogram([*views, unaligned]), joint_histogram(copies))


def test_all_pixels_unusable() -> None:
    counts = joint_histogram(random_masks(1, 2), np.zeros(SHAPE, bool))
    np.testing.assert_array_equal(counts, 0)


def test_too_many_masks() -> None:
    with pytest.raises(ValueError, match="25 masks: a joint histogram takes at most 24"):
        joint_histogram(random_masks(0, MAX_MASKS + 1))
    with pytest.raises(ValueError, match="65 masks: a code has 64 bits"):
        joint_counts(random_masks(0, 65))


def test_most_masks() -> None:
    masks = random_masks(3, MAX_MASKS)
    counts = joint_histogram(masks)
    assert counts.shape == (2**MAX_MASKS,)
    expected = brute_force_counts(masks, np.ones(SHAPE, bool))
    assert {int(code): int(counts[code]) for code in np.flatnonzero(counts)} == expected


def test_shapes_that_differ_are_both_named() -> None:
    with pytest.raises(ValueError, match=r"mask 0 has \(20, 20\) and mask 1 has \(20, 19\)"):
        joint_histogram([np.zeros(SHAPE, bool), np.zeros((20, 19), bool)])
    with pytest.raises(ValueError, match=r"the usable pixels has \(5, 20\)"):
        joint_histogram([np.zeros(SHAPE, bool)], np.ones((5, 20), bool))


def test_no_masks() -> None:
    with pytest.raises(ValueError, match="No mask"):
        joint_histogram([])


def test_sparse_counts_of_many_masks() -> None:
    masks = random_masks(4, 40)
    usable = np.random.default_rng(1).random(SHAPE) < 0.8
    expected = brute_force_counts(masks, usable)
    assert as_dict(joint_counts(masks, usable)) == {0: 0} | expected


def test_missing_masks_leave_their_bit_unset() -> None:
    first, second = random_masks(2, 2)
    counts = joint_counts([None, first, None, second])
    assert set(counts["available"].tolist()) == {0b1010}
    assert as_dict(counts) == {0: 0} | brute_force_counts([None, first, None, second], np.ones(SHAPE, bool))


def test_counts_of_a_detector_without_masks() -> None:
    counts = joint_counts([None, None], np.ones(SHAPE, bool))
    assert counts["available"].tolist() == [0]
    assert as_dict(counts) == {0: 400}


def test_adding_counts_is_counting_all_at_once() -> None:
    detectors = [random_masks(seed, 3) for seed in range(4)]
    total = add_counts(joint_counts(masks) for masks in detectors)
    stacked = joint_counts([np.concatenate(planes) for planes in zip(*detectors, strict=True)])
    assert as_dict(total) == as_dict(stacked)
    assert set(total["n_detectors"]) == {4}


def test_adding_keeps_available_bits_apart() -> None:
    first, second = random_masks(8, 2)
    total = add_counts(
        [joint_counts([first, second]), joint_counts([first, None]), joint_counts([second, None])]
    )
    both, first_only = total[total["available"] == 0b11], total[total["available"] == 0b01]
    assert as_dict(both) == as_dict(joint_counts([first, second]))
    assert as_dict(first_only) == as_dict(joint_counts([np.concatenate([first, second])]))
    assert set(both["n_detectors"]) == {1}
    assert set(first_only["n_detectors"]) == {2}


def test_adding_is_associative() -> None:
    parts = [joint_counts(random_masks(seed, 2)) for seed in range(3)]
    at_once = add_counts(parts)
    in_steps = add_counts([add_counts(parts[:2]), parts[2]])
    for name in at_once.colnames:
        np.testing.assert_array_equal(at_once[name], in_steps[name])


def test_adding_nothing() -> None:
    with pytest.raises(ValueError, match="No counts"):
        add_counts([])


@settings(deadline=None, max_examples=40)
@given(ny=st.integers(1, 20), nx=st.integers(1, 20), seed=st.integers(0, 1000))
def test_dilation(ny: int, nx: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((ny, nx)) < 0.1
    expected = [
        [mask[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].any() for x in range(nx)] for y in range(ny)
    ]
    np.testing.assert_array_equal(dilate(mask), expected)
