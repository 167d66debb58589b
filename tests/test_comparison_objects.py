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
from scipy import ndimage

from lsst.meas.cosmicrays.comparison import (
    TRUTH_SIGMAS,
    ComparedMasks,
    SourceTableError,
    detection_bits,
    find_components,
    make_object_table,
    noise_without_charge,
    subtract_block_background,
    truth_bits,
    truth_from_charge,
)

SHAPE = (20, 20)
BITS = (*detection_bits(["one", "two"]), *truth_bits([2.0]))


def flood(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    """Return the 8-connected components, found by flooding."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    components = []
    while left:
        component = {min(left)}
        edge = set(component)
        left -= component
        while edge:
            edge = {(y + dy, x + dx) for y, x in edge for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            component |= edge
            left -= edge
        components.append(component)
    return components


@settings(deadline=None, max_examples=80)
@given(ny=st.integers(1, 30), nx=st.integers(1, 30), fraction=st.floats(0, 1), seed=st.integers(0, 1000))
def test_components(ny: int, nx: int, fraction: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((ny, nx)) < fraction
    result = find_components(mask)
    labels, n = ndimage.label(mask, np.ones((3, 3)))
    assert result.n_components == n
    np.testing.assert_array_equal(np.column_stack([result.rows, result.columns]), np.argwhere(mask))
    pairs = set(zip(result.labels.tolist(), labels[mask].tolist(), strict=True))
    assert len(pairs) == n
    _, first = np.unique(result.labels, return_index=True)
    assert (np.diff(first) > 0).all()


def test_values_of_components() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[2, 3:6] = mask[10, 10] = mask[11, 11] = True
    components = find_components(mask)
    values = np.array([1.0, 5.0, 2.0, -3.0, -4.0])
    assert components.total(values).tolist() == [8.0, -7.0]
    assert components.maximum(values).tolist() == [5.0, -3.0]
    assert components.combine_codes(np.array([1, 2, 8, 4, 4], np.uint64)).tolist() == [11, 4]


def test_noise_without_charge_is_that_before_the_charge() -> None:
    """Poisson noise of the charge is taken out of the variance again."""
    sky = np.full(SHAPE, 25.0, np.float32)
    charge = np.zeros(SHAPE, np.float32)
    charge[3, 4:8] = [10.0, 40.0, 1000.0, 5.0]
    np.testing.assert_allclose(noise_without_charge(charge, sky + charge), 5.0, rtol=1e-6)


@pytest.mark.parametrize("sigma", TRUTH_SIGMAS)
def test_truth_pixel_by_pixel(sigma: float) -> None:
    rng = np.random.default_rng(2)
    sky = rng.uniform(20, 200, SHAPE)
    charge = np.where(rng.random(SHAPE) < 0.5, rng.exponential(40, SHAPE), 0.0)
    truth = truth_from_charge(charge, sky + charge, sigma)
    expected = [
        [charge[y, x] > 0 and charge[y, x] >= sigma * sky[y, x] ** 0.5 for x in range(20)] for y in range(20)
    ]
    np.testing.assert_array_equal(truth, expected)
    assert 0 < truth.sum() < truth.size


def test_truth_where_the_variance_is_odd() -> None:
    """Charge beyond the variance is truth; a NaN variance is never."""
    charge = np.array([[50.0, 50.0, 0.0, 50.0]])
    variance = np.array([[20.0, np.nan, 0.0, 0.0]])
    assert truth_from_charge(charge, variance, 2.0).tolist() == [[True, False, False, True]]


def test_truth_needs_one_shape() -> None:
    with pytest.raises(ValueError, match=r"charge has shape \(20, 20\), but the variance has \(3, 3\)"):
        truth_from_charge(np.zeros(SHAPE), np.zeros((3, 3)), 2.0)


def random_masks(seed: int) -> ComparedMasks:
    rng = np.random.default_rng(seed)
    planes = [ndimage.binary_dilation(rng.random(SHAPE) < 0.02, np.ones((1, 3))) for _ in range(3)]
    return ComparedMasks(BITS, tuple(planes), rng.random(SHAPE) < 0.95)


def brute_force_objects(masks: ComparedMasks, reference: int) -> list[set[tuple[int, int]]]:
    planes = [mask & masks.usable for mask in masks.masks if mask is not None]
    objects = flood(planes[reference])
    taken = {
        (y + dy, x + dx)
        for component in objects
        for y, x in component
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    }
    apart = np.zeros(SHAPE, bool)
    for number, plane in enumerate(planes):
        if number != reference:
            for component in flood(plane):
                if not component & taken:
                    apart[tuple(np.transpose(list(component)))] = True
    return objects + flood(apart)


@pytest.mark.parametrize("seed", range(6))
def test_objects_pixel_by_pixel(seed: int) -> None:
    masks = random_masks(seed)
    rng = np.random.default_rng(100 + seed)
    image = rng.normal(0, 10, SHAPE).astype(np.float32)
    charge = np.where(masks.masks[2], rng.uniform(1, 100, SHAPE), 0).astype(np.float32)
    stars = Table({"x": [103.0, 110.0], "y": [54.0, 61.0]})
    table = make_object_table(masks, image, reference=2, true_charge=charge, origin=(100, 50), stars=stars)
    expected = sorted(brute_force_objects(masks, 2), key=min)
    assert len(table) == len(expected) > 3
    for row, pixels in zip(table, expected, strict=True):
        y, x = np.array(sorted(pixels)).T
        is_reference = bool(masks.masks[2][y, x].any())
        assert row["is_reference"] == is_reference
        assert row["n_pixels"] == len(pixels)
        assert (row["x"], row["y"]) == pytest.approx((100 + x.mean(), 50 + y.mean()))
        assert (row["x_min"], row["x_max"]) == (100 + x.min(), 100 + x.max())
        assert (row["y_min"], row["y_max"]) == (50 + y.min(), 50 + y.max())
        assert row["length"] == pytest.approx(np.hypot(np.ptp(x) + 1, np.ptp(y) + 1))
        assert row["edge"] == (x.min() == 0 or y.min() == 0 or x.max() == 19 or y.max() == 19)
        source = charge if is_reference else image
        assert row["charge_is_true"] == is_reference
        assert row["charge"] == pytest.approx(source[y, x].sum(), rel=1e-5)
        assert row["peak"] == pytest.approx(source[y, x].max())
        distances = [np.hypot(row["x"] - star["x"], row["y"] - star["y"]) for star in stars]
        assert row["star_distance"] == pytest.approx(min(distances))
        code = 0
        for number, name in enumerate(("one", "two", "truth")):
            n_shared = int(masks.masks[number][y, x].sum())
            assert row[f"found_{name}"] == (n_shared > 0)
            assert row[f"fraction_{name}"] == pytest.approx(n_shared / len(pixels))
            code |= (n_shared > 0) << number
        assert row["code"] == code
        assert row["available"] == 0b111


def test_objects_of_a_named_reference_and_of_none() -> None:
    masks = random_masks(11)
    without_truth = ComparedMasks(BITS, (masks.masks[0], masks.masks[1], None), masks.usable)
    image = np.zeros(SHAPE, np.float32)
    of_second = make_object_table(without_truth, image, reference=1)
    assert of_second["is_reference"].sum() == len(flood(masks.masks[1] & masks.usable))
    assert set(of_second["found_truth"]) == {-1}
    assert np.isnan(of_second["fraction_truth"]).all()
    assert not of_second["charge_is_true"].any()
    union = make_object_table(without_truth, image, reference=2)
    assert not union["is_reference"].any()
    assert len(union) == len(flood((masks.masks[0] | masks.masks[1]) & masks.usable))


def test_no_objects() -> None:
    nothing = np.zeros(SHAPE, bool)
    masks = ComparedMasks(BITS, (nothing,) * 3, ~nothing)
    table = make_object_table(
        masks, np.zeros(SHAPE, np.float32), reference=2, stars=Table({"x": [], "y": []})
    )
    assert len(table) == 0
    assert {"id", "charge", "found_truth", "true_kind"} < set(table.colnames)


def test_true_cosmic_rays_of_objects() -> None:
    """The one of most charge names the object; one far from all names none."""
    truth = np.zeros(SHAPE, bool)
    truth[5, 3:9] = truth[15, 15] = True
    masks = ComparedMasks(BITS, (truth, truth, truth), np.ones(SHAPE, bool))
    catalogue = Table(
        {
            "id": [11, 12, 13, 14],
            "x": [4.0, 7.0, 15.0, 10.0],
            "y": [5.0, 5.5, 14.0, 11.0],
            "charge": [900.0, 500.0, 70.0, 10.0],
            "kind": ["worm", "muon", "delta", "muon"],
        }
    )
    table = make_object_table(masks, np.zeros(SHAPE, np.float32), reference=2, true_cosmic_rays=catalogue)
    assert table["true_id"].tolist() == [11, 13]
    assert table["true_kind"].tolist() == ["worm", "delta"]


def test_catalogues_with_rows_of_unknown_position_or_charge() -> None:
    truth = np.zeros(SHAPE, bool)
    truth[5, 3:6] = True
    masks = ComparedMasks(BITS, (truth, truth, truth), np.ones(SHAPE, bool))
    charge = np.where(truth, 40.0, 0.0).astype(np.float32)
    charge[5, 3] = np.nan
    rows = {
        "id": [1, 2],
        "x": [np.nan, 5.0],
        "y": [5.0, 5.0],
        "charge": [900.0, 80.0],
        "kind": ["worm", "muon"],
    }
    table = make_object_table(
        masks,
        np.zeros(SHAPE, np.float32),
        reference=2,
        true_charge=charge,
        stars=Table({"x": [4.0, np.inf, 4.0], "y": [np.nan, 5.0, 8.0]}),
        true_cosmic_rays=Table(rows),
    )
    assert (table["true_id"][0], table["true_kind"][0]) == (2, "muon")
    assert table["star_distance"][0] == 3.0
    assert (table["charge"][0], table["peak"][0]) == (80.0, 40.0)
    with pytest.raises(SourceTableError, match=r"lacks x \(pixels\); it has ra, y"):
        make_object_table(
            masks, np.zeros(SHAPE, np.float32), reference=2, stars=Table({"ra": [1.0], "y": [1.0]})
        )


def test_block_background() -> None:
    rng = np.random.default_rng(3)
    level = np.where(np.arange(150)[:, None] < 64, 100.0, 300.0)
    image = (level + rng.normal(0, 1, (150, 150))).astype(np.float32)
    image[10, 10] = 1e5
    good = np.ones(image.shape, bool)
    good[10, 10] = False
    excess = subtract_block_background(image, good)
    assert abs(np.median(excess)) < 0.1
    assert abs(excess[good]).max() < 10
    assert excess[10, 10] == pytest.approx(1e5 - 100, rel=1e-3)


def test_block_background_without_good_pixels() -> None:
    image = np.full((70, 70), 5.0, np.float32)
    np.testing.assert_array_equal(subtract_block_background(image, np.zeros(image.shape, bool)), 5.0)
    good = np.zeros(image.shape, bool)
    good[:3] = True
    np.testing.assert_array_equal(subtract_block_background(image, good), 0.0)
