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
    ComparedMasks,
    ComparisonSettings,
    DetectorData,
    Level,
    MaskBit,
    Role,
    add_counts,
    add_places,
    bootstrap_sums,
    catalogue_pairs,
    cluster_counts,
    compare_detector,
    confusion,
    confusion_table,
    critical_false_negatives,
    detection_bits,
    joint_counts,
    mask_pairs,
    needs_clusters,
    percentile_interval,
    place_table,
    read_bits,
    select_sources,
    stack_tables,
    summary_table,
    tolerant_confusion,
    truth_bits,
    wilson_interval,
)

SHAPE = (20, 20)
BITS = (*detection_bits(["one", "two"]), *truth_bits([2.0, 5.0]), MaskBit("detected", Role.PLANE))
EIGHT = np.ones((3, 3))


def random_masks(seed: int, missing: tuple[int, ...] = ()) -> ComparedMasks:
    rng = np.random.default_rng(seed)
    truth = ndimage.binary_dilation(rng.random(SHAPE) < 0.03, np.ones((1, 4)))
    masks = [
        truth & (rng.random(SHAPE) < 0.8) | (rng.random(SHAPE) < 0.02),
        truth & (rng.random(SHAPE) < 0.6) | (rng.random(SHAPE) < 0.02),
        truth,
        truth & (rng.random(SHAPE) < 0.5),
        rng.random(SHAPE) < 0.4,
    ]
    kept = tuple(None if bit in missing else mask for bit, mask in enumerate(masks))
    return ComparedMasks(BITS, kept, rng.random(SHAPE) < 0.95)


def compare(masks: ComparedMasks, seed: int = 0) -> dict[str, Table]:
    rng = np.random.default_rng(seed)
    table = Table(
        {
            "id": np.arange(6),
            "x": rng.uniform(0, 19, 6),
            "y": rng.uniform(0, 19, 6),
            "ra": [0.0] * 6,
            "dec": [0.0] * 6,
        }
    )
    sources, _ = select_sources(table, SHAPE, size=6)
    data = DetectorData(
        masks,
        np.zeros(SHAPE, np.float32),
        sources=sources,
        summaries={
            "one": {"finder": "one", "wall_time": 2.0 + seed, "n_cosmic_rays": 3, "config_digest": "aa"}
        },
        exposure_time=30.0,
        pixel_size=0.01,
    )
    return compare_detector(data, ComparisonSettings(stamp_size=6))


def gather(detectors: dict[int, ComparedMasks]) -> dict[str, Table]:
    compared = {detector: compare(masks, detector) for detector, masks in detectors.items()}
    return {
        name: stack_tables([({"visit": 7, "detector": i}, tables[name]) for i, tables in compared.items()])
        for name in next(iter(compared.values()))
    }


def make_table(gathered: dict[str, Table], **arguments: int) -> Table:
    return confusion_table(
        gathered["detections"],
        gathered["pixel_pairs"],
        gathered["stamps"],
        gathered["objects"],
        gathered["cluster_counts"],
        **arguments,
    )


def find_row(table: Table, level: str, reference: str, candidate: str) -> Table.Row:
    rows = (table["level"] == level) & (table["reference"] == reference) & (table["candidate"] == candidate)
    assert rows.sum() == 1
    return table[rows][0]


def test_pairs() -> None:
    """Truth and planes are no candidates, and planes no references."""
    assert mask_pairs(BITS) == [(0, 1), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1)]


def test_masks_must_fit() -> None:
    usable = np.ones(SHAPE, bool)
    with pytest.raises(ValueError, match="given more than once: one"):
        ComparedMasks(tuple(detection_bits(["one", "one"])), (usable, usable), usable)
    with pytest.raises(ValueError, match=r"Mask two has shape \(4, 4\), but the image has \(20, 20\)"):
        ComparedMasks(tuple(detection_bits(["one", "two"])), (usable, usable[:4, :4]), usable)
    with pytest.raises(ValueError, match="25 detections"):
        ComparedMasks(tuple(detection_bits([f"f{i}" for i in range(25)])), (usable,) * 25, usable)
    with pytest.raises(ValueError, match="1 masks, but 2 names"):
        ComparedMasks(tuple(detection_bits(["one", "two"])), (usable,), usable)


def test_names_of_truths() -> None:
    assert [bit.name for bit in truth_bits([2.0, 1.0, 2.5])] == ["truth", "truth_1sigma", "truth_2.5sigma"]


@pytest.mark.parametrize("seed", range(4))
def test_places_pixel_by_pixel(seed: int) -> None:
    masks = random_masks(seed)
    in_stamp = np.random.default_rng(50 + seed).random(SHAPE) < 0.5
    table = place_table(masks, in_stamp)
    planes = [mask & masks.usable for mask in masks.masks]
    for reference, candidate in mask_pairs(BITS):
        for error, owner, other in (("fn", reference, candidate), ("fp", candidate, reference)):
            labels, _ = ndimage.label(planes[owner], EIGHT)
            expected = {(place, inside): 0 for place in ("rim", "single") for inside in (True, False)}
            for y, x in np.argwhere(planes[owner] & ~planes[other]):
                both_found = planes[other][labels == labels[y, x]].any()
                expected["rim" if both_found else "single", bool(in_stamp[y, x])] += 1
            rows = table[
                (table["reference"] == BITS[reference].name)
                & (table["candidate"] == BITS[candidate].name)
                & (table["error"] == error)
            ]
            assert {(row["place"], bool(row["in_stamp"])): row["n"] for row in rows} == expected
            counts = confusion(masks.count(), reference, candidate)
            assert rows["n"].sum() == (counts.fn if error == "fn" else counts.fp)


def test_adding_places() -> None:
    tables = [place_table(random_masks(seed), np.zeros(SHAPE, bool)) for seed in (1, 2)]
    total = add_places(tables)
    assert total.colnames == tables[0].colnames
    np.testing.assert_array_equal(total["n"], tables[0]["n"] + tables[1]["n"])
    missing = place_table(random_masks(3, missing=(1,)), np.zeros(SHAPE, bool))
    assert set(missing["candidate"]) == {"one"}
    assert add_places([total, missing])["n"].sum() == total["n"].sum() + missing["n"].sum()


@pytest.mark.parametrize("missing", [(), (1,), (2, 3)])
def test_clusters_hold_every_marked_pixel(missing: tuple[int, ...]) -> None:
    masks = random_masks(5, missing)
    table = cluster_counts(masks)
    given_masks = [mask for mask in masks.masks[:4] if mask is not None]
    union = np.logical_or.reduce(given_masks) & masks.usable
    labels, n = ndimage.label(union, EIGHT)
    assert len(np.unique(table["cluster"])) == n
    for cluster in range(n):
        pixels = labels == cluster + 1
        expected = joint_counts(
            [mask if mask is None else mask[pixels][None] for mask in masks.masks]
            + [
                None if mask is None else ndimage.binary_dilation(mask, EIGHT)[pixels][None]
                for mask in masks.masks
            ]
        )
        rows = table[table["cluster"] == cluster]
        assert dict(zip(rows["code"], rows["n"], strict=True)) == {
            code: n for code, n in zip(expected["code"], expected["n"], strict=True) if n
        }
        assert set(rows["available"]) == set(expected["available"])


def test_pixel_rows_add_up_over_detectors() -> None:
    detectors = {i: random_masks(i, missing=(0,) if i == 1 else ()) for i in range(3)}
    table = make_table(gather(detectors))
    counts = add_counts(masks.count() for masks in detectors.values())
    dilated = add_counts(masks.count_dilated() for masks in detectors.values())
    for reference, candidate in mask_pairs(BITS):
        names = BITS[reference].name, BITS[candidate].name
        row, exact = find_row(table, "pixel", *names), confusion(counts, reference, candidate)
        assert (row["tp"], row["fn"], row["fp"], row["tn"]) == (exact.tp, exact.fn, exact.fp, exact.tn)
        assert row["critical_fn"] == critical_false_negatives(counts, reference, candidate, 4)
        rates = (exact.purity, exact.completeness, exact.f1)
        assert (row["purity"], row["completeness"], row["f1"]) == pytest.approx(rates)
        assert row["adjusted_completeness"] == exact.tp / (exact.tp + row["critical_fn"])
        row, near = (
            find_row(table, "pixel_1px", *names),
            tolerant_confusion(dilated, reference, candidate, n_masks=5),
        )
        assert (row["tp"], row["tp_candidate"], row["fn"], row["fp"]) == (
            near.tp_reference,
            near.tp_candidate,
            near.fn,
            near.fp,
        )
        assert (row["purity"], row["dice"]) == (near.purity, near.dice)
        n_detectors = 2 if "one" in names else 3
        assert (row["n_detectors"], row["n_detectors_total"]) == (n_detectors, 3)


def test_stamps_and_objects_in_the_table() -> None:
    gathered = gather({i: random_masks(i) for i in range(2)})
    table = make_table(gathered)
    for level, prefix in (("stamp", "label"), ("object", "found")):
        catalogue = gathered[f"{level}s"]
        truth, found = catalogue[f"{prefix}_truth"] == 1, catalogue[f"{prefix}_two"] == 1
        row = find_row(table, level, "truth", "two")
        assert (row["tp"], row["fn"], row["fp"]) == (
            (truth & found).sum(),
            (truth & ~found).sum(),
            (found & ~truth).sum(),
        )
        assert row["interval"] == "wilson"
        assert (row["purity_lo"], row["purity_hi"]) == wilson_interval(row["tp"], row["tp"] + row["fp"])
        assert row["dice_lo"] <= row["dice"] <= row["dice_hi"]
    assert find_row(table, "stamp", "truth", "two")["critical_fn"] == -1
    assert find_row(table, "object", "truth", "two")["critical_fn"] >= 0


def test_few_detectors_are_resampled_by_cosmic_ray() -> None:
    detectors = {i: random_masks(i) for i in range(2)}
    row = find_row(make_table(gather(detectors), n_replicates=400, seed=3), "pixel", "truth", "one")
    assert row["interval"] == "bootstrap_objects"
    units = []
    for masks in detectors.values():
        planes = [mask & masks.usable for mask in masks.masks]
        labels, n = ndimage.label(np.logical_or.reduce(planes[:4]), EIGHT)
        for cluster in range(1, n + 1):
            truth, one = planes[2][labels == cluster], planes[0][labels == cluster]
            units.append([(truth & one).sum(), (one & ~truth).sum()])
    tp, fp = bootstrap_sums(units, n_replicates=4000, seed=1).T
    expected = percentile_interval(tp / (tp + fp))
    assert (row["purity_lo"], row["purity_hi"]) == pytest.approx(expected, abs=0.03)
    assert row["purity_lo"] < row["purity"] < row["purity_hi"]


def test_many_detectors_are_resampled_as_a_whole() -> None:
    detectors = {i: random_masks(i) for i in range(8)}
    gathered = gather(detectors)
    table = make_table(gathered, n_replicates=400, seed=3)
    row = find_row(table, "pixel", "truth", "one")
    assert row["interval"] == "bootstrap_detectors"
    units = [confusion(masks.count(), 2, 0) for masks in detectors.values()]
    tp, fp = bootstrap_sums([(unit.tp, unit.fp) for unit in units], n_replicates=4000, seed=1).T
    expected = percentile_interval(tp / (tp + fp))
    assert (row["purity_lo"], row["purity_hi"]) == pytest.approx(expected, abs=0.03)
    again = make_table(gathered, n_replicates=400, seed=3)
    other = make_table(gathered, n_replicates=400, seed=4)
    assert (table["purity_lo"] == again["purity_lo"]).all()
    assert (table["purity_lo"] != other["purity_lo"]).any()
    assert not needs_clusters(gathered["detections"])
    fewer = gather({i: random_masks(i, missing=(0,) if i == 1 else ()) for i in range(8)})
    assert needs_clusters(fewer["detections"])


def test_two_masks_of_many_detectors_that_share_few() -> None:
    """Each is on eight detectors, but both are only on four."""
    missing = {**dict.fromkeys(range(4), (0,)), **dict.fromkeys(range(8, 12), (1,))}
    gathered = gather({i: random_masks(i, missing=missing.get(i, ())) for i in range(12)})
    assert needs_clusters(gathered["detections"])
    row = find_row(make_table(gathered), "pixel", "one", "two")
    assert (row["interval"], row["n_detectors"]) == ("bootstrap_objects", 4)
    assert row["purity_lo"] < row["purity"] < row["purity_hi"]
    apart = gather({i: random_masks(i, missing=(0,) if i < 8 else (1,)) for i in range(16)})
    assert not needs_clusters(apart["detections"])


def test_nothing_found_is_null() -> None:
    nothing = np.zeros(SHAPE, bool)
    masks = ComparedMasks(BITS, (nothing,) * 5, ~nothing)
    table = make_table(gather({1: masks, 2: masks}))
    for name in ("purity", "completeness", "f1", "dice", "purity_lo", "f1_hi", "adjusted_completeness"):
        assert np.isnan(table[name]).all()
    assert set(table["n_detectors"]) == {2}


def test_one_detection_alone_has_no_pairs() -> None:
    mask = np.ones(SHAPE, bool)
    gathered = gather({1: ComparedMasks(tuple(detection_bits(["one"])), (mask,), mask)})
    table = make_table(gathered)
    assert len(table) == 0
    assert "purity_lo" in table.colnames


def test_catalogues_of_no_rows() -> None:
    empty = Table({"available": np.zeros(0, np.uint64), "code": np.zeros(0, np.uint64)})
    pairs = catalogue_pairs(empty, Level.STAMP, BITS)
    assert len(pairs) == len(mask_pairs(BITS))
    assert pairs["tp"].sum() == 0


def test_summary() -> None:
    detectors = {i: random_masks(i, missing=(0,) if i == 1 else ()) for i in range(3)}
    gathered = gather(detectors)
    summary = summary_table(gathered["detections"], gathered["stamps"], BITS)
    assert summary["detection"].tolist() == ["one", "two", "truth", "truth_5sigma"]
    row = summary[0]
    there = [detectors[0], detectors[2]]
    n_pixels = sum((masks.masks[0] & masks.usable).sum() for masks in there)
    n_usable = sum(masks.usable.sum() for masks in there)
    assert (row["n_detectors"], row["n_detectors_total"], row["n_failed"]) == (2, 3, 0)
    assert (row["n_pixels"], row["n_usable"], row["n_cosmic_rays"]) == (n_pixels, n_usable, 6)
    assert row["cr_pixels_per_mpix"] == pytest.approx(1e6 * n_pixels / n_usable)
    assert row["area_time"] == pytest.approx(n_usable * 0.001**2 * 30.0)
    labels, numbers = gathered["stamps"]["label_one"], gathered["stamps"]["n_cr_one"]
    assert (row["n_stamps_cr"], row["n_stamps_not_cr"]) == ((labels == 1).sum(), (labels == 0).sum())
    assert row["median_stamp_pixels"] == np.median(numbers[labels == 1])
    assert row["flux"] == pytest.approx(n_pixels / row["median_stamp_pixels"] / row["area_time"])
    assert 0 < row["fraction_in_stamps"] < 1
    assert (row["wall_time_median"], row["wall_time_total"]) == (3.0, 9.0)
    assert (row["config_digest"], summary[1]["config_digest"]) == ("aa", "")
    assert np.isnan(summary[1]["wall_time_total"])


def test_configurations_that_differ_are_mixed() -> None:
    gathered = gather({i: random_masks(i) for i in range(2)})
    gathered["detections"]["config_digest"][0] = "bb"
    assert summary_table(gathered["detections"], gathered["stamps"], BITS)["config_digest"][0] == "mixed"


def test_gathering_different_comparisons() -> None:
    one, other = (detection_bits(names) for names in (["one", "two"], ["two", "one"]))
    mask = np.ones(SHAPE, bool)
    gathered = gather(
        {i: ComparedMasks(tuple(bits), (mask, mask), mask) for i, bits in enumerate((one, one))}
    )
    gathered["detections"]["detection"][2:] = [bit.name for bit in other]
    with pytest.raises(
        ValueError, match="Bit 0 is one in visit 7, detector 0, but two in visit 7, detector 1"
    ):
        read_bits(gathered["detections"])


def test_gathering_different_truths() -> None:
    gathered = gather({i: random_masks(i) for i in range(2)})
    gathered["detections"]["truth_sigma"][7] = 3.0
    with pytest.raises(ValueError, match=r"truth \(2 sigma\) in visit 7, detector 0, but truth \(3 sigma\)"):
        read_bits(gathered["detections"])


def test_stacking_tables() -> None:
    first, second = Table({"a": [1], "b": ["x"]}), Table({"a": [2, 3], "b": ["long", "y"]})
    stacked = stack_tables([({"detector": 4}, first), ({"detector": 5}, second)])
    assert stacked.colnames == ["detector", "a", "b"]
    assert stacked["detector"].tolist() == [4, 5, 5]
    assert stacked["b"].tolist() == ["x", "long", "y"]
    assert len(stack_tables([({}, first[:0]), ({}, first[:0])])) == 0
    # One alone is not changed by what becomes of the result, either.
    for others in ([], [({}, second[:0])], [({}, first)]):
        stacked = stack_tables([({}, second), *others])
        stacked["a"][0] = 9
        stacked["b"][0] = "z"
        assert second["a"].tolist() == [2, 3]
        assert second["b"].tolist() == ["long", "y"]
    with pytest.raises(ValueError, match=r"detector': 5.*differ in columns: b, c"):
        stack_tables([({"detector": 4}, first), ({"detector": 5}, Table({"a": [1], "c": [1]}))])
    with pytest.raises(ValueError, match="No tables"):
        stack_tables([])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), missing=st.sets(st.integers(0, 3)))
def test_tables_are_consistent(seed: int, missing: set[int]) -> None:
    masks = random_masks(seed, tuple(missing))
    tables = compare(masks)
    n_usable = masks.usable.sum()
    assert tables["counts"]["n"].sum() == tables["counts_dilated"]["n"].sum() == n_usable
    pairs = tables["pixel_pairs"]
    exact = pairs[pairs["level"] == "pixel"]
    assert (exact["tp"] + exact["fn"] + exact["fp"] + exact["tn"] == n_usable).all()
    near = pairs[pairs["level"] == "pixel_1px"]
    assert (near["tp"] >= exact["tp"]).all()
    assert (near["tp"] + near["fn"] == exact["tp"] + exact["fn"]).all()
    assert (near["tp_candidate"] + near["fp"] == exact["tp"] + exact["fp"]).all()
    assert set(pairs["reference"]).isdisjoint(BITS[bit].name for bit in missing)
    objects = tables["objects"]
    for bit, name in enumerate(("one", "two", "truth")):
        found = np.asarray(objects[f"found_{name}"])
        assert (
            (found == -1).all()
            if bit in missing
            else (found == (objects["code"] >> np.uint64(bit)) % 2).all()
        )
