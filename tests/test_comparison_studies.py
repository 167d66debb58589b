# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Studies of stamps, labels, disagreements and places, row by row."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from astropy.table import Table
from scipy import ndimage

from lsst.meas.cosmicrays.comparison import (
    STAMP_THRESHOLDS,
    ComparedMasks,
    ComparisonSettings,
    DetectorData,
    Role,
    add_disagreement_counts,
    add_label_costs,
    add_places,
    add_places_studies,
    add_stamp_distributions,
    choose_disagreements,
    compare_detector,
    cosmic_ray_flux,
    detection_bits,
    disagreement_counts,
    disagreement_table,
    label_cost_table,
    most_telling,
    places_study_table,
    read_bits,
    select_sources,
    stack_tables,
    stamp_distribution,
    stamp_study_table,
    stamp_threshold_table,
    truth_bits,
    wilson_interval,
)

SHAPE = (40, 36)
SIZE = 6
NAMES = ("one", "two", "three")
EIGHT = np.ones((3, 3))
type Detectors = dict[tuple[int, int], ComparedMasks]


def random_masks(seed: int, missing: tuple[str, ...], *, with_truth: bool) -> ComparedMasks:
    rng = np.random.default_rng(seed)
    truth = ndimage.binary_dilation(rng.random(SHAPE) < 0.01, np.ones((1, 4)))
    masks = [
        truth & (rng.random(SHAPE) < share) | (rng.random(SHAPE) < 0.01)
        for share, _ in zip((0.9, 0.6, 0.4), NAMES, strict=True)
    ]
    kept = [None if name in missing else mask for name, mask in zip(NAMES, masks, strict=True)]
    bits = detection_bits(NAMES)
    if with_truth:
        bits, kept = bits + truth_bits([2.0]), [*kept, truth]
    return ComparedMasks(tuple(bits), tuple(kept), rng.random(SHAPE) < 0.95)


def compare(masks: ComparedMasks, seed: int, n_sources: int = 25) -> dict[str, Table]:
    rng = np.random.default_rng(seed)
    columns = {"id": np.arange(n_sources), "ra": np.zeros(n_sources), "dec": np.zeros(n_sources)}
    columns |= {"x": rng.uniform(0, 35, n_sources), "y": rng.uniform(0, 39, n_sources)}
    columns["dipole"] = rng.random(n_sources) < 0.3
    sources, _ = select_sources(Table(columns), SHAPE, size=SIZE, dipole_column="dipole")
    has_truth = masks.bits[-1].role is Role.TRUTH
    variables = Table({"id": [1, 2], "x": columns["x"][:2], "y": columns["y"][:2], "kind": ["variable"] * 2})
    data = DetectorData(
        masks,
        np.zeros(SHAPE, np.float32),
        sources=sources,
        objects=rng.random(SHAPE) < 0.01,
        variables=variables if has_truth else None,
        exposure_time=30.0,
        pixel_size=0.01,
    )
    return compare_detector(data, ComparisonSettings(stamp_size=SIZE, match_radius=1.5))


def make_visit(visit: int, *, with_truth: bool = True) -> tuple[Detectors, dict[str, Table]]:
    """Return the masks of a visit, of which one is missing, and tables."""
    detectors = {
        (visit, number): random_masks(
            10 * visit + number, ("two",) if number == 1 else (), with_truth=with_truth
        )
        for number in range(3)
    }
    compared = {key: compare(masks, 7 * key[0] + key[1]) for key, masks in detectors.items()}
    gathered = {
        name: stack_tables(
            [({"visit": key[0], "detector": key[1]}, tables[name]) for key, tables in compared.items()]
        )
        for name in ("stamps", "detections")
    }
    gathered["places"] = add_places([tables["pixel_places"] for tables in compared.values()])
    return detectors, gathered


@pytest.fixture(scope="module")
def visits() -> dict[int, tuple[Detectors, dict[str, Table]]]:
    """Return two visits of three detectors."""
    return {visit: make_visit(visit) for visit in (1, 2)}


@pytest.fixture(scope="module")
def visit(visits: dict[int, tuple[Detectors, dict[str, Table]]]) -> dict[str, Table]:
    """Return the tables of the first of them."""
    return visits[1][1]


def row_of(table: Table, **values: object) -> Table.Row:
    chosen = np.ones(len(table), dtype=bool)
    for name, value in values.items():
        chosen &= np.asarray(table[name] == value)
    assert chosen.sum() == 1
    return table[chosen][0]


def check_rate(row: Table.Row, name: str, n: int, total: int) -> None:
    if total == 0:
        assert math.isnan(row[name])
        assert math.isnan(row[f"{name}_lo"])
        return
    low, high = wilson_interval(n, total)
    assert (row[name], row[f"{name}_lo"], row[f"{name}_hi"]) == (n / total, low, high)


class TestStamps:
    def test_distribution_stamp_by_stamp(self, visit: dict[str, Table]) -> None:
        stamps = visit["stamps"]
        table = stamp_distribution(stamps, ["two", "truth"])
        for name in ("two", "truth"):
            expected: dict[tuple[int, bool, int], int] = {}
            for stamp in stamps:
                if stamp[f"n_cr_{name}"] >= 0:
                    key = int(stamp[f"n_cr_{name}"]), bool(stamp["edge"]), int(stamp["label_truth"])
                    expected[key] = expected.get(key, 0) + 1
            rows = table[table["detection"] == name]
            assert {(row["n_cr"], row["edge"], row["label_truth"]): row["n"] for row in rows} == expected
        assert table["n"][table["detection"] == "two"].sum() == np.sum(stamps["detector"] != 1)

    def test_study_of_each_detection(self, visit: dict[str, Table]) -> None:
        stamps, detections = visit["stamps"], visit["detections"]
        table = stamp_study_table(stamp_distribution(stamps, [*NAMES, "truth"]), detections)
        assert table["detection"].tolist() == [*NAMES, "truth"]
        for row in table:
            name = row["detection"]
            counts = [int(n) for n in stamps[f"n_cr_{name}"] if n >= 0]
            sizes = sorted(n for n in counts if n > 0)
            there = [d for d in detections if d["detection"] == name and d["available"]]
            assert (row["n_detectors"], row["n_detectors_total"]) == (len(there), 3)
            assert (row["n_stamps"], row["n_stamps_cr"]) == (len(counts), len(sizes))
            assert row["n_stamps_not_cr"] == len(counts) - len(sizes)
            check_rate(row, "fraction_cr", len(sizes), len(counts))
            assert row["median_cr_pixels"] == np.median(sizes)
            assert row["p84_cr_pixels"] == np.percentile(sizes, 84)
            assert row["max_cr_pixels"] == sizes[-1]
            at_edge = [s for s in stamps if s["edge"] and s[f"n_cr_{name}"] >= 0]
            assert 0 < row["n_edge"] == len(at_edge)
            assert row["n_edge_cr"] == sum(s[f"n_cr_{name}"] > 0 for s in at_edge)
            inside = [s[f"n_cr_{name}"] for s in stamps if not s["edge"] and s[f"n_cr_{name}"] > 0]
            assert row["median_cr_pixels_inside"] == np.median(inside)
            n_pixels, n_usable = sum(d["n_pixels"] for d in there), sum(d["n_usable"] for d in there)
            assert row["cr_pixels_per_mpix"] == pytest.approx(1e6 * n_pixels / n_usable)
            n_in_stamps = sum(d["n_pixels_in_stamps"] for d in there)
            assert row["fraction_in_stamps"] == n_in_stamps / n_pixels
            area_time = n_usable * 0.001**2 * 30.0  # cm^2 s
            flux = cosmic_ray_flux(n_pixels, np.median(sizes), area_time)
            assert row["flux"] == pytest.approx(flux)

    @pytest.mark.parametrize("threshold", [1, 2, 5, 300])
    def test_thresholds_stamp_by_stamp(self, visit: dict[str, Table], threshold: int) -> None:
        stamps = visit["stamps"]
        table = stamp_threshold_table(stamp_distribution(stamps, NAMES), [threshold])
        for name in NAMES:
            row = row_of(table, detection=name, threshold=threshold)
            counts = {"tp": 0, "fn": 0, "fp": 0, "tn": 0}
            exactly = []
            for stamp in stamps:
                n, true = stamp[f"n_cr_{name}"], stamp["label_truth"] == 1
                if n >= 0:
                    counts[
                        {(1, 1): "tp", (0, 1): "fn", (1, 0): "fp", (0, 0): "tn"}[n >= threshold, true]
                    ] += 1
                if n == threshold:
                    exactly.append(true)
            assert {key: row[key] for key in counts} == counts
            assert (row["n_exactly"], row["n_exactly_true"]) == (len(exactly), sum(exactly))
            check_rate(row, "exactly_purity", sum(exactly), len(exactly))
            check_rate(row, "purity", counts["tp"], counts["tp"] + counts["fp"])
            check_rate(row, "completeness", counts["tp"], counts["tp"] + counts["fn"])
            tp = counts["tp"]
            f1 = 2 * tp / (2 * tp + counts["fp"] + counts["fn"]) if tp else math.nan
            assert row["f1"] == pytest.approx(f1, nan_ok=True)
            assert row["n_stamps_cr"] == tp + counts["fp"]

    def test_thresholds_of_the_report(self, visit: dict[str, Table]) -> None:
        table = stamp_threshold_table(stamp_distribution(visit["stamps"], ["one"]))
        assert tuple(table["threshold"]) == STAMP_THRESHOLDS == (1, 2, 5, 10, 30, 60, 80)
        assert (np.diff(table["n_stamps_cr"]) <= 0).all()

    def test_without_truth_rates_are_null(self) -> None:
        _, tables = make_visit(3, with_truth=False)
        distribution = stamp_distribution(tables["stamps"], NAMES)
        assert set(distribution["label_truth"]) == {-1}
        rates = stamp_threshold_table(distribution)
        assert np.isnan(rates["purity"]).all()
        assert np.isnan(rates["exactly_purity_hi"]).all()
        assert np.isfinite(rates["fraction_cr"]).all()

    def test_no_stamps(self, visit: dict[str, Table]) -> None:
        distribution = stamp_distribution(visit["stamps"][:0], NAMES)
        study = stamp_study_table(distribution, visit["detections"])
        assert len(study) == 4
        assert np.isnan(study["median_cr_pixels"]).all()
        assert np.isnan(study["flux"]).all()
        assert (study["n_pixels"] > 0).all()
        thresholds = stamp_threshold_table(distribution)
        assert len(thresholds) == 0
        assert "purity_lo" in thresholds.colnames

    def test_visits_add_up(self, visits: dict[int, tuple[Detectors, dict[str, Table]]]) -> None:
        tables = [tables for _, tables in visits.values()]
        names = [*NAMES, "truth"]
        parts = [stamp_distribution(table["stamps"], names) for table in tables]
        whole = stamp_distribution(stack_tables([({}, table["stamps"]) for table in tables]), names)
        added = add_stamp_distributions(parts)
        whole.sort(whole.colnames)
        added.sort(added.colnames)
        assert list(map(tuple, added)) == list(map(tuple, whole))
        detections = [table["detections"] for table in tables]
        studies = [stamp_study_table(part, table) for part, table in zip(parts, detections, strict=True)]
        of_all = stamp_study_table(added, stack_tables([({}, study) for study in studies]))
        expected = stamp_study_table(whole, stack_tables([({}, table) for table in detections]))
        for name in of_all.colnames[2:]:
            np.testing.assert_allclose(of_all[name], expected[name], rtol=1e-12)


class TestLabelCost:
    def test_counts_stamp_by_stamp(self, visit: dict[str, Table]) -> None:
        stamps = visit["stamps"]
        table = label_cost_table(stamps, visit["detections"])
        assert table["detection"].tolist() == [*NAMES, "truth"]

        def count(condition: Callable[[Table.Row], bool]) -> int:
            return sum(condition(stamp) for stamp in stamps)

        for row in table:
            label = f"label_{row['detection']}"
            for kind in ("variable", "dipole", "artifact"):
                n = count(lambda s: s["true_kind"] == kind and s[label] >= 0)
                n_labelled = count(lambda s: s["true_kind"] == kind and s[label] == 1)
                suffix = "_lost" if kind == "variable" else "_cr"
                assert (row[f"n_{kind}"], row[f"n_{kind}{suffix}"]) == (n, n_labelled)
            lost = row["n_variable_lost"]
            assert row["n_variable"] > 0
            check_rate(row, "fraction_lost", lost, row["n_variable"])
            assert row["lost_per_visit"] == pytest.approx(lost)
            assert row["n_variable_lost_to_cr"] == count(
                lambda s: s["true_kind"] == "variable" and s[label] == 1 and s["label_truth"] == 1
            )
            n_cr = count(lambda s: s["true_kind"] == "cosmic_ray" and s[label] >= 0)
            passed = count(lambda s: s["true_kind"] == "cosmic_ray" and s[label] == 0)
            assert (row["n_cr"], row["n_cr_passed"]) == (n_cr, passed)
            check_rate(row, "fraction_passed", passed, n_cr)
            n_alerts = count(lambda s: s[label] == 0)
            assert row["n_known_alerts"] == n_alerts == row["alerts_per_visit"]
            check_rate(row, "alert_contamination", passed, n_alerts)
            check_rate(row, "dipole_share_of_cr", row["n_dipole_cr"], count(lambda s: s[label] == 1))
            n_object = count(lambda s: s["object"] == 1 and s[label] >= 0)
            n_lost = count(lambda s: s["object"] == 1 and s[label] == 1)
            assert (row["n_object"], row["n_object_lost"]) == (n_object, n_lost)
        assert row_of(table, detection="two")["n_detectors"] == 2
        assert row_of(table, detection="truth")["n_cr_passed"] == 0

    def test_without_truth(self) -> None:
        _, tables = make_visit(3, with_truth=False)
        table = label_cost_table(tables["stamps"], tables["detections"])
        for rate in ("fraction_lost", "fraction_passed", "alert_contamination"):
            assert np.isnan(table[rate]).all()
        # Dipoles are measured, not known from truth.
        assert (table["n_dipole"] > 0).all()
        np.testing.assert_allclose(table["dipole_share_of_cr"], table["n_dipole_cr"] / table["n_stamps_cr"])

    def test_nothing_known_is_null_not_zero(self) -> None:
        _, tables = make_visit(3, with_truth=False)
        tables["stamps"]["true_kind"] = ""
        table = label_cost_table(tables["stamps"], tables["detections"])
        assert np.isnan(table["dipole_share_of_cr"]).all()
        assert np.isnan(table["lost_per_visit"]).all()
        assert np.isnan(label_cost_table(tables["stamps"][:0], tables["detections"])["fraction_lost"]).all()

    def test_visits_add_up(self, visits: dict[int, tuple[Detectors, dict[str, Table]]]) -> None:
        parts = [label_cost_table(tables["stamps"], tables["detections"]) for _, tables in visits.values()]
        total = add_label_costs(parts)
        assert total["n_visits"].tolist() == [2] * 4
        for row in total:
            of_visits = [row_of(part, detection=row["detection"]) for part in parts]
            n, lost = (sum(int(r[name]) for r in of_visits) for name in ("n_variable", "n_variable_lost"))
            check_rate(row, "fraction_lost", lost, n)
            assert row["lost_per_visit"] == lost / 2
            assert row["passed_per_visit"] == sum(int(r["n_cr_passed"]) for r in of_visits) / 2


class TestDisagreements:
    def test_every_ordered_pair(self, visit: dict[str, Table]) -> None:
        stamps = visit["stamps"]
        bits = read_bits(visit["detections"])
        table = disagreement_table(stamps, bits)
        for first in NAMES:
            for second in NAMES:
                (third,) = [{*NAMES} - {first, second}] if first != second else [{""}]
                expected = {
                    (int(s["detector"]), int(s["id"]))
                    for s in stamps
                    if s[f"label_{first}"] == 1 and s[f"label_{second}"] == 0
                }
                rows = table[(table["first"] == first) & (table["second"] == second)]
                assert {(int(r["detector"]), int(r["id"])) for r in rows} == expected
                assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
                assert (np.diff(rows["telling"]) <= 0).all()
                for row in rows:
                    stamp = row_of(stamps, detector=row["detector"], id=row["id"])
                    other = stamp[f"label_{next(iter(third))}"]
                    assert (row["n_others_cr"], row["n_others_not_cr"]) == (other == 1, other == 0)
                    margin = stamp[f"n_cr_{first}"] - stamp[f"n_cr_{second}"]
                    # One other detection always sides with one of the two.
                    assert row["telling"] == margin * (2 if other >= 0 else 1)
                    assert (row["label_truth"], row["true_kind"]) == (
                        stamp["label_truth"],
                        stamp["true_kind"],
                    )
        assert len(table) > 20

    def test_counts(self, visit: dict[str, Table]) -> None:
        bits = read_bits(visit["detections"])
        table = disagreement_table(visit["stamps"], bits)
        counts = disagreement_counts(table, visit["stamps"], bits)
        assert len(counts) == 6
        for row in counts:
            rows = [r for r in table if r["first"] == row["first"] and r["second"] == row["second"]]
            assert row["n_stamps"] == len(rows)
            without_two = "two" not in (row["first"], row["second"])
            assert row["n_compared"] == sum(without_two or s["detector"] != 1 for s in visit["stamps"])
            for kind in ("cosmic_ray", "variable", "dipole", "artifact"):
                assert row[f"n_{kind}"] == sum(r["true_kind"] == kind for r in rows)
            n_true = sum(r["label_truth"] == 1 for r in rows)
            check_rate(row, "fraction_truly_cr", n_true, len(rows))
        doubled = add_disagreement_counts([counts, counts])
        assert doubled["n_stamps"].tolist() == (2 * counts["n_stamps"]).tolist()
        np.testing.assert_array_equal(doubled["fraction_truly_cr"], counts["fraction_truly_cr"])

    def test_without_truth_and_without_stamps(self) -> None:
        _, tables = make_visit(3, with_truth=False)
        bits = read_bits(tables["detections"])
        table = disagreement_table(tables["stamps"], bits)
        assert set(table["label_truth"]) == {-1}
        assert np.isnan(disagreement_counts(table, tables["stamps"], bits)["fraction_truly_cr"]).all()
        none = disagreement_table(tables["stamps"][:0], bits)
        assert len(none) == 0
        counts = disagreement_counts(none, tables["stamps"][:0], bits)
        assert counts["n_stamps"].tolist() == [0] * 6
        assert len(most_telling([none, none], 5)) == 0

    def test_most_telling_of_visits(self, visits: dict[int, tuple[Detectors, dict[str, Table]]]) -> None:
        tables = [
            disagreement_table(tables["stamps"], read_bits(tables["detections"]))
            for _, tables in visits.values()
        ]
        best = most_telling(tables, 3)
        both = [row for table in tables for row in table if (row["first"], row["second"]) == ("one", "three")]
        expected = sorted((-r["telling"], r["visit"], r["detector"], r["id"]) for r in both)[:3]
        rows = best[(best["first"] == "one") & (best["second"] == "three")]
        assert [(-r["telling"], r["visit"], r["detector"], r["id"]) for r in rows] == expected
        assert rows["rank"].tolist() == [1, 2, 3]

    def test_choice_does_not_take_all_of_one_detector(self, visit: dict[str, Table]) -> None:
        table = disagreement_table(visit["stamps"], read_bits(visit["detections"]))
        chosen = choose_disagreements(table, "one", "three", n_stamps=5, n_per_detector=2)
        of_pair = table[(table["first"] == "one") & (table["second"] == "three")]
        taken: list[int] = []
        expected = []
        for row in of_pair:
            if taken.count(row["detector"]) < 2 and len(taken) < 5:
                taken.append(row["detector"])
                expected.append(row["rank"])
        assert chosen["rank"].tolist() == expected
        assert len(choose_disagreements(table, "one", "gone", n_stamps=5, n_per_detector=2)) == 0


class TestPlaces:
    def test_pixel_by_pixel(self, visits: dict[int, tuple[Detectors, dict[str, Table]]]) -> None:
        detectors, tables = visits[1]
        table = places_study_table(
            tables["places"], tables["detections"], tables["stamps"], read_bits(tables["detections"])
        )
        assert len(table) == 9
        for row in table:
            names = row["reference"], row["candidate"]
            expected = dict.fromkeys(("tp", "tp_in_stamps"), 0)
            n_detectors = 0
            for (_, number), masks in detectors.items():
                numbers = [[bit.name for bit in masks.bits].index(name) for name in names]
                if any(masks.masks[i] is None for i in numbers):
                    continue
                n_detectors += 1
                reference, candidate = (masks.masks[i] & masks.usable for i in numbers)
                in_stamp = np.zeros(SHAPE, bool)
                for stamp in tables["stamps"][tables["stamps"]["detector"] == number]:
                    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
                    in_stamp |= (
                        (x >= stamp["x_min"])
                        & (x <= stamp["x_max"])
                        & (y >= stamp["y_min"])
                        & (y <= stamp["y_max"])
                    )
                expected["tp"] += np.sum(reference & candidate)
                expected["tp_in_stamps"] += np.sum(reference & candidate & in_stamp)
                for error, owner, other in (("fn", reference, candidate), ("fp", candidate, reference)):
                    labels, _ = ndimage.label(owner, EIGHT)
                    for y, x in np.argwhere(owner & ~other):
                        both = other[labels == labels[y, x]].any()
                        place = f"{error}_{'rim' if both else 'single'}_{'in' if in_stamp[y, x] else 'out'}"
                        expected[place] = expected.get(place, 0) + 1
            assert {name: row[name] for name in expected} == expected
            assert row["n_detectors"] == n_detectors

            def f1(tp: int, *places: str) -> float:
                wrong = sum(row[f"{error}_{place}"] for error in ("fn", "fp") for place in places)
                return 2 * tp / (2 * tp + wrong)

            tp, tp_in = expected["tp"], expected["tp_in_stamps"]
            assert row["f1_pixel"] == pytest.approx(f1(tp, "rim_in", "rim_out", "single_in", "single_out"))
            assert row["f1_without_rims"] == pytest.approx(f1(tp, "single_in", "single_out"))
            assert row["f1_in_stamps"] == pytest.approx(f1(tp_in, "rim_in", "single_in"))
            assert row["f1_in_stamps_without_rims"] == pytest.approx(f1(tp_in, "single_in"))
            shares = [row[f"share_{place}"] for place in ("rim_in", "rim_out", "single_in", "single_out")]
            assert sum(shares) == pytest.approx(1.0)
            labels = [np.asarray(tables["stamps"][f"label_{name}"]) for name in names]
            counts = {
                "stamp_tp": np.sum((labels[0] == 1) & (labels[1] == 1)),
                "stamp_fn": np.sum((labels[0] == 1) & (labels[1] == 0)),
                "stamp_fp": np.sum((labels[0] == 0) & (labels[1] == 1)),
            }
            assert {name: row[name] for name in counts} == counts

    def test_visits_add_up(self, visits: dict[int, tuple[Detectors, dict[str, Table]]]) -> None:
        parts = [
            places_study_table(t["places"], t["detections"], t["stamps"], read_bits(t["detections"]))
            for _, t in visits.values()
        ]
        total = add_places_studies(parts)
        assert len(total) == 9
        for row in total:
            of_visits = [row_of(p, reference=row["reference"], candidate=row["candidate"]) for p in parts]
            for name in ("tp", "tp_in_stamps", "fn_rim_in", "fp_single_out", "stamp_tp", "n_detectors"):
                assert row[name] == sum(r[name] for r in of_visits)
            wrong = sum(row[f"{e}_{p}"] for e in ("fn", "fp") for p in ("single_in", "single_out"))
            assert row["f1_without_rims"] == pytest.approx(2 * row["tp"] / (2 * row["tp"] + wrong))
            assert row["truth_sigma"] == pytest.approx(
                2.0 if row["reference"] == "truth" else math.nan, nan_ok=True
            )

    def test_equal_masks_have_no_shares(self) -> None:
        mask = np.zeros(SHAPE, bool)
        mask[3, 4:9] = True
        masks = ComparedMasks(tuple(detection_bits(["a", "b"])), (mask, mask), np.ones(SHAPE, bool))
        tables = {
            name: stack_tables([({"visit": 1, "detector": 0}, table)])
            for name, table in compare(masks, 0, 4).items()
        }
        table = places_study_table(
            tables["pixel_places"],
            tables["detections"],
            tables["stamps"][:0],
            read_bits(tables["detections"]),
        )
        assert table["f1_pixel"].tolist() == [1.0, 1.0]
        assert np.isnan(table["f1_stamp"]).all()
        assert np.isnan(table["share_rim_in"]).all()
        assert len(add_places_studies([table[:0]])) == 0
