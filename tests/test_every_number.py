# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every column of the tables of a study against a slow computation.

Each test counts in the masks and stamps of a visit, in loops of Python and
with the intervals of scipy, and then asks for every column that the table has:
one that is added without such a computation fails the test.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from scipy import ndimage, stats
from test_comparison_studies import NAMES, SHAPE, SIZE, compare, make_visit

from lsst.meas.cosmicrays.comparison import (
    add_label_costs,
    confusion_table,
    disagreement_counts,
    disagreement_table,
    label_cost_table,
    places_study_table,
    read_bits,
    stack_tables,
    stamp_distribution,
    stamp_study_table,
    stamp_threshold_table,
    summary_table,
)

ALL = (*NAMES, "truth")
EXPOSURE_TIME, PIXEL_CM = 30.0, 0.001
EIGHT = np.ones((3, 3))
type Row = Mapping[str, Any]


class Visit:
    """A visit of three detectors; mask ``two`` of detector 1 is missing."""

    def __init__(self, number: int) -> None:
        self.number = number
        detectors, tables = make_visit(number)
        self.masks = {
            detector: {
                bit.name: None if mask is None else mask & masks.usable
                for bit, mask in zip(masks.bits, masks.masks, strict=True)
            }
            for (_, detector), masks in detectors.items()
        }
        self.raw = {
            detector: dict(zip([bit.name for bit in masks.bits], masks.masks, strict=True))
            for (_, detector), masks in detectors.items()
        }
        self.usable = {detector: masks.usable for (_, detector), masks in detectors.items()}
        compared = {key: compare(masks, 7 * key[0] + key[1]) for key, masks in detectors.items()}
        self.tables = {
            name: stack_tables(
                [({"visit": key[0], "detector": key[1]}, part[name]) for key, part in compared.items()]
            )
            for name in ("detections", "pixel_pairs", "stamps", "objects", "cluster_counts")
        } | {"places": tables["places"]}
        self.bits = read_bits(self.tables["detections"])
        self.stamps = [dict(zip(row.colnames, row, strict=True)) for row in self.tables["stamps"]]

    def with_mask(self, *names: str) -> list[int]:
        """Return the detectors that have these masks."""
        return [d for d, masks in self.masks.items() if all(masks[name] is not None for name in names)]

    def pixels_of(self, stamp: Row) -> Iterator[tuple[int, int]]:
        """Yield the pixels of a stamp that are on the detector."""
        x0, y0 = (math.floor(stamp[axis] - (SIZE - 1) / 2 + 0.5) for axis in ("x", "y"))
        for y in range(max(y0, 0), min(y0 + SIZE, SHAPE[0])):
            for x in range(max(x0, 0), min(x0 + SIZE, SHAPE[1])):
                yield y, x

    def in_stamps(self, detector: int) -> np.ndarray:
        plane = np.zeros(SHAPE, bool)
        for stamp in self.stamps:
            if stamp["detector"] == detector:
                for pixel in self.pixels_of(stamp):
                    plane[pixel] = True
        return plane

    def n_cr(self, stamp: Row, name: str) -> int:
        """Count the pixels of a mask in a stamp, -1 without the mask."""
        mask = self.masks[stamp["detector"]][name]
        return -1 if mask is None else sum(bool(mask[pixel]) for pixel in self.pixels_of(stamp))

    def labels(self, stamp: Row, name: str) -> int:
        return min(self.n_cr(stamp, name), 1)


@pytest.fixture(scope="module")
def visit() -> Visit:
    return Visit(1)


def check(row: Table.Row, expected: Row) -> None:
    """Compare every column of a row."""
    assert set(row.colnames) == set(expected), "a column without a slow computation, or the other way round"
    for name, value in expected.items():
        if isinstance(value, float):
            assert row[name] == pytest.approx(value, rel=1e-9, nan_ok=True), name
        else:
            assert row[name] == value, name


def divide(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan


def rate(name: str, n: int, total: int) -> dict[str, float]:
    """Return a rate with its Wilson interval, by scipy."""
    if total == 0:
        return dict.fromkeys((name, f"{name}_lo", f"{name}_hi"), math.nan)
    limits = stats.binomtest(int(n), int(total)).proportion_ci(0.95, method="wilson")
    return {name: n / total, f"{name}_lo": float(limits.low), f"{name}_hi": float(limits.high)}


def dice(name: str, tp: int, fn: int, fp: int) -> dict[str, float]:
    """Return a Dice coefficient with the interval of Jaccard's index."""
    jaccard = rate("j", tp, tp + fn + fp)
    return {name + end: 2 * jaccard["j" + end] / (1 + jaccard["j" + end]) for end in ("", "_lo", "_hi")}


def f1(tp: int, fn: int, fp: int) -> dict[str, float]:
    """Return F1 with its interval; without a hit it is 0/0."""
    if tp == 0:
        return dict.fromkeys(("f1", "f1_lo", "f1_hi"), math.nan)
    purity, completeness = tp / (tp + fp), tp / (tp + fn)
    return dice("f1", tp, fn, fp) | {"f1": 2 * purity * completeness / (purity + completeness)}


def median(values: Iterable[int]) -> float:
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def percentile(values: Iterable[int], percent: float) -> float:
    """Return a percentile, linear between the two values it lies between."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    place = percent / 100 * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def detector_sums(visit: Visit, name: str) -> dict[str, Any]:
    """Return what is counted over the detectors with a mask."""
    there = visit.with_mask(name)
    n_usable = sum(int(visit.usable[d].sum()) for d in there)
    n_pixels = sum(int(visit.masks[d][name].sum()) for d in there)
    n_in_stamps = sum(int((visit.masks[d][name] & visit.in_stamps(d)).sum()) for d in there)
    area_time = n_usable * PIXEL_CM**2 * EXPOSURE_TIME
    stamps = [visit.n_cr(stamp, name) for stamp in visit.stamps]
    per_cosmic_ray = median(n for n in stamps if n > 0)
    return {
        "detection": name,
        "role": "truth" if name == "truth" else "detection",
        "n_detectors": len(there),
        "n_detectors_total": 3,
        "n_usable": n_usable,
        "n_pixels": n_pixels,
        "cr_pixels_per_mpix": divide(1e6 * n_pixels, n_usable),
        "n_pixels_in_stamps": n_in_stamps,
        "fraction_in_stamps": divide(n_in_stamps, n_pixels),
        "area_time": area_time,
        "flux": divide(n_pixels / per_cosmic_ray, area_time),
        "n_stamps": sum(n >= 0 for n in stamps),
        "n_stamps_cr": sum(n > 0 for n in stamps),
        "n_stamps_not_cr": sum(n == 0 for n in stamps),
    }


def test_summary(visit: Visit) -> None:
    """Every column of ``cr_*_summary``."""
    detections = visit.tables["detections"].copy()
    times = {("one", 0): 3.0, ("one", 1): 8.0, ("one", 2): 4.0, ("two", 0): 1.0}
    for row in detections:
        key = (str(row["detection"]), int(row["detector"]))
        row["wall_time"] = times.get(key, math.nan)
        row["n_cosmic_rays"] = {"one": 5 + key[1], "two": 7}.get(key[0], -1)
        row["failed"] = key == ("two", 1)
        row["finder"], row["kind"] = key[0], "science"
        row["engine"] = "fast" if key != ("three", 2) else "reference"
        row["variant"], row["config_digest"] = "_knee" if key[0] == "two" else "", f"digest of {key[0]}"
    table = summary_table(detections, visit.tables["stamps"], visit.bits)
    assert table["detection"].tolist() == list(ALL)
    for row in table:
        name = str(row["detection"])
        expected = detector_sums(visit, name)
        of_name = [time for (of, _), time in times.items() if of == name]
        expected |= {
            "truth_sigma": 2.0 if name == "truth" else math.nan,
            "n_failed": int(name == "two"),
            "n_cosmic_rays": {"one": 5 + 6 + 7, "two": 7 + 7}.get(name, -1),
            "median_stamp_pixels": median(
                n for n in (visit.n_cr(stamp, name) for stamp in visit.stamps) if n > 0
            ),
            "wall_time_median": median(of_name),
            "wall_time_total": sum(of_name) if of_name else math.nan,
            "finder": name,
            "kind": "science",
            "variant": "_knee" if name == "two" else "",
            "engine": "mixed" if name == "three" else "fast",
            "config_digest": f"digest of {name}",
        }
        for there, of_object in ((1, "object"), (0, "no_object")):
            for label, of_label in ((1, "cr"), (0, "not_cr")):
                expected[f"n_{of_object}_{of_label}"] = sum(
                    stamp["object"] == there and visit.labels(stamp, name) == label for stamp in visit.stamps
                )
        check(row, expected)


def test_stamp_study(visit: Visit) -> None:
    """Every column of ``cr_*_stamp_study``."""
    distribution = stamp_distribution(visit.tables["stamps"], ALL)
    table = stamp_study_table(distribution, visit.tables["detections"])
    for row in table:
        name = str(row["detection"])
        counts = [(visit.n_cr(stamp, name), bool(stamp["edge"])) for stamp in visit.stamps]
        counts = [(n, edge) for n, edge in counts if n >= 0]
        labelled = [n for n, _ in counts if n > 0]
        expected = detector_sums(visit, name)
        expected |= rate("fraction_cr", len(labelled), len(counts))
        expected |= {
            "n_edge": sum(edge for _, edge in counts),
            "n_edge_cr": sum(edge and n > 0 for n, edge in counts),
            "median_cr_pixels": median(labelled),
            "p16_cr_pixels": percentile(labelled, 16),
            "p84_cr_pixels": percentile(labelled, 84),
            "max_cr_pixels": float(max(labelled)),
            "median_cr_pixels_inside": median(n for n, edge in counts if n > 0 and not edge),
            "cr_pixels_in_stamps_per_mpix": 1e6 * expected["n_pixels_in_stamps"] / expected["n_usable"],
        }
        check(row, expected)


def test_stamp_thresholds(visit: Visit) -> None:
    """Every column of ``cr_*_stamp_thresholds``."""
    table = stamp_threshold_table(stamp_distribution(visit.tables["stamps"], ALL))
    assert len(table) == 4 * 7
    for row in table:
        name, threshold = str(row["detection"]), int(row["threshold"])
        counts = [(visit.n_cr(s, name), visit.labels(s, "truth")) for s in visit.stamps]
        counts = [(n, true) for n, true in counts if n >= 0]
        tp, fn = (sum(true == 1 and (n >= threshold) is cr for n, true in counts) for cr in (True, False))
        fp, tn = (sum(true == 0 and (n >= threshold) is cr for n, true in counts) for cr in (True, False))
        exactly = [true for n, true in counts if n == threshold]
        check(
            row,
            {
                "detection": name,
                "threshold": threshold,
                "n_stamps": len(counts),
                "n_exactly": len(exactly),
                "n_exactly_true": sum(exactly),
                **rate("exactly_purity", sum(exactly), len(exactly)),
                "n_stamps_cr": tp + fp,
                "fraction_cr": (tp + fp) / len(counts),
                "tp": tp,
                "fn": fn,
                "fp": fp,
                "tn": tn,
                **rate("purity", tp, tp + fp),
                **rate("completeness", tp, tp + fn),
                **f1(tp, fn, fp),
            },
        )


@pytest.mark.parametrize("n_visits", [1, 2])
def test_label_cost(visit: Visit, n_visits: int) -> None:
    """Every column of ``cr_*_label_cost``, of one visit and of two."""
    visits = [visit, Visit(2)][:n_visits]
    parts = [label_cost_table(v.tables["stamps"], v.tables["detections"]) for v in visits]
    for row in parts[0] if n_visits == 1 else add_label_costs(parts):
        name = str(row["detection"])
        stamps = [(stamp["true_kind"], v.labels(stamp, name), v, stamp) for v in visits for stamp in v.stamps]
        stamps = [entry for entry in stamps if entry[1] >= 0]
        n: dict[str, int] = {}
        for kind in ("variable", "cosmic_ray", "dipole", "artifact"):
            n[kind] = sum(of == kind for of, *_ in stamps)
            n[f"{kind}_cr"] = sum(of == kind and label == 1 for of, label, *_ in stamps)
        assert sum(n[kind] for kind in ("variable", "cosmic_ray", "dipole", "artifact")) == len(stamps)
        n_object = sum(stamp["object"] == 1 for *_, stamp in stamps)
        n_object_lost = sum(stamp["object"] == 1 and label == 1 for _, label, _, stamp in stamps)
        n_cr = sum(label for _, label, *_ in stamps)
        n_alerts, passed = len(stamps) - n_cr, n["cosmic_ray"] - n["cosmic_ray_cr"]
        check(
            row,
            {
                "detection": name,
                "role": "truth" if name == "truth" else "detection",
                "n_visits": n_visits,
                "n_detectors": sum(len(v.with_mask(name)) for v in visits),
                "n_detectors_total": 3 * n_visits,
                "n_stamps": len(stamps),
                "n_stamps_cr": n_cr,
                "n_known": len(stamps),
                "n_known_alerts": n_alerts,
                "n_variable": n["variable"],
                "n_variable_lost": n["variable_cr"],
                "n_variable_lost_to_cr": sum(
                    of == "variable" and label == 1 and v.n_cr(stamp, "truth") > 0
                    for of, label, v, stamp in stamps
                ),
                "n_cr": n["cosmic_ray"],
                "n_cr_passed": passed,
                "n_dipole": n["dipole"],
                "n_dipole_cr": n["dipole_cr"],
                "n_artifact": n["artifact"],
                "n_artifact_cr": n["artifact_cr"],
                "n_object": n_object,
                "n_object_lost": n_object_lost,
                **rate("fraction_lost", n["variable_cr"], n["variable"]),
                **rate("fraction_passed", passed, n["cosmic_ray"]),
                **rate("alert_contamination", passed, n_alerts),
                **rate("fraction_dipole_cr", n["dipole_cr"], n["dipole"]),
                **rate("dipole_share_of_cr", n["dipole_cr"], n_cr),
                **rate("fraction_object_lost", n_object_lost, n_object),
                "lost_per_visit": n["variable_cr"] / n_visits,
                "passed_per_visit": passed / n_visits,
                "alerts_per_visit": n_alerts / n_visits,
            },
        )


def test_disagreements(visit: Visit) -> None:
    """Every column of ``cr_*_disagreements`` and ``_disagreement_counts``."""
    table = disagreement_table(visit.tables["stamps"], visit.bits)
    counts = disagreement_counts(table, visit.tables["stamps"], visit.bits)
    assert len(counts) == 6
    for row in counts:
        first, second = str(row["first"]), str(row["second"])
        both = [s for s in visit.stamps if visit.n_cr(s, first) >= 0 and visit.n_cr(s, second) >= 0]
        found = [s for s in both if visit.n_cr(s, first) > 0 and visit.n_cr(s, second) == 0]
        n_true = sum(visit.labels(stamp, "truth") for stamp in found)
        kinds = ("cosmic_ray", "variable", "dipole", "artifact")
        check(
            row,
            {
                "first": first,
                "second": second,
                "n_stamps": len(found),
                "n_compared": len(both),
                "n_truly_cr": n_true,
                "n_truly_not_cr": len(found) - n_true,
                **rate("fraction_truly_cr", n_true, len(found)),
                **{f"n_{kind}": sum(stamp["true_kind"] == kind for stamp in found) for kind in kinds},
            },
        )
        rows = table[(table["first"] == first) & (table["second"] == second)]
        by_place = {(stamp["detector"], stamp["id"]): stamp for stamp in found}
        assert len(rows) == len(by_place)
        for rank, listed in enumerate(rows, start=1):
            stamp = by_place.pop((listed["detector"], listed["id"]))
            n_first, n_second = visit.n_cr(stamp, first), visit.n_cr(stamp, second)
            others = [visit.labels(stamp, name) for name in NAMES if name not in (first, second)]
            n_cr, n_not_cr = others.count(1), others.count(0)
            # How far the others side with one of the two, of 0 to 1.
            sided = abs(n_cr - n_not_cr) / len(others)
            same = ("visit", "detector", "id", "x", "y", "ra", "dec", "edge", "true_kind")
            check(
                listed,
                {name: stamp[name] for name in same}
                | {
                    "first": first,
                    "second": second,
                    "rank": rank,
                    "n_cr_first": n_first,
                    "n_cr_second": n_second,
                    "n_others_cr": n_cr,
                    "n_others_not_cr": n_not_cr,
                    "label_truth": visit.labels(stamp, "truth"),
                    "telling": float((n_first - n_second) * (1 + sided)),
                },
            )


def split(owner: np.ndarray, other: np.ndarray, in_stamp: np.ndarray) -> dict[str, int]:
    """Count the pixels that only one mask has, by place."""
    labels, _ = ndimage.label(owner, EIGHT)
    counts = dict.fromkeys(("rim_in", "rim_out", "single_in", "single_out"), 0)
    for y, x in np.argwhere(owner & ~other):
        shared = other[labels == labels[y, x]].any()
        counts[f"{'rim' if shared else 'single'}_{'in' if in_stamp[y, x] else 'out'}"] += 1
    return counts


def test_places(visit: Visit) -> None:
    """Every column of ``cr_*_places``."""
    table = places_study_table(
        visit.tables["places"], visit.tables["detections"], visit.tables["stamps"], visit.bits
    )
    assert len(table) == 9
    for row in table:
        reference, candidate = str(row["reference"]), str(row["candidate"])
        n = dict.fromkeys(("tp", "tp_in_stamps"), 0)
        for detector in visit.with_mask(reference, candidate):
            one, other = (visit.masks[detector][name] for name in (reference, candidate))
            inside = visit.in_stamps(detector)
            n["tp"] += int((one & other).sum())
            n["tp_in_stamps"] += int((one & other & inside).sum())
            for error, pair in (("fn", (one, other)), ("fp", (other, one))):
                for place, number in split(*pair, inside).items():
                    n[f"{error}_{place}"] = n.get(f"{error}_{place}", 0) + number
        pairs = [(visit.labels(s, reference), visit.labels(s, candidate)) for s in visit.stamps]
        stamp_tp, stamp_fn, stamp_fp = (pairs.count(pair) for pair in ((1, 1), (1, 0), (0, 1)))

        def f1_of(tp: int, *places: str, counts: Row = n) -> float:
            wrong = [sum(counts[f"{error}_{place}"] for place in places) for error in ("fn", "fp")]
            return f1(tp, *wrong)["f1"]

        places = ("rim_in", "rim_out", "single_in", "single_out")
        total = sum(n[f"{error}_{place}"] for error in ("fn", "fp") for place in places)
        check(
            row,
            n
            | {
                "reference": reference,
                "candidate": candidate,
                "truth_sigma": 2.0 if reference == "truth" else math.nan,
                "n_detectors": len(visit.with_mask(reference, candidate)),
                "stamp_tp": stamp_tp,
                "stamp_fn": stamp_fn,
                "stamp_fp": stamp_fp,
                "f1_pixel": f1_of(n["tp"], *places),
                "f1_without_rims": f1_of(n["tp"], "single_in", "single_out"),
                "f1_in_stamps": f1_of(n["tp_in_stamps"], "rim_in", "single_in"),
                "f1_in_stamps_without_rims": f1_of(n["tp_in_stamps"], "single_in"),
                "f1_stamp": f1(stamp_tp, stamp_fn, stamp_fp)["f1"],
                **{f"share_{p}": (n[f"fn_{p}"] + n[f"fp_{p}"]) / total for p in places},
            },
        )


def add_up(rows: Iterable[Row]) -> dict[str, int]:
    total: dict[str, int] = {}
    for row in rows:
        for name, number in row.items():
            total[name] = total.get(name, 0) + int(number)
    return total


def is_near(mask: np.ndarray, y: int, x: int, tolerance: int) -> bool:
    ys = slice(max(y - tolerance, 0), y + tolerance + 1)
    return bool(mask[ys, max(x - tolerance, 0) : x + tolerance + 1].any())


def count_pixels(one: np.ndarray, other: np.ndarray, usable: np.ndarray, tolerance: int) -> dict[str, int]:
    """Count the agreement of two masks, within a tolerance, pixel by pixel;
    pixels that are not usable count for what is near to them.
    """
    counts = dict.fromkeys(("tp", "tp_candidate", "fn", "fp", "tn"), 0)
    for y, x in np.argwhere(usable):
        if one[y, x]:
            counts["tp" if is_near(other, y, x, tolerance) else "fn"] += 1
        if other[y, x]:
            counts["tp_candidate" if is_near(one, y, x, tolerance) else "fp"] += 1
        counts["tn"] += not one[y, x] and not other[y, x]
    return counts


def rates_of(n: Row) -> dict[str, float]:
    purity = divide(n["tp_candidate"], n["tp_candidate"] + n["fp"])
    completeness = divide(n["tp"], n["tp"] + n["fn"])
    hits = n["tp"] + n["tp_candidate"]
    return {
        "purity": purity,
        "completeness": completeness,
        "f1": divide(2 * purity * completeness, purity + completeness),
        "dice": divide(hits, hits + n["fn"] + n["fp"]),
    }


def make_confusion(visit: Visit) -> Table:
    names = ("detections", "pixel_pairs", "stamps", "objects", "cluster_counts")
    return confusion_table(*(visit.tables[name] for name in names), n_replicates=1000, seed=1)


def test_confusion_of_stamps_and_objects(visit: Visit) -> None:
    """Every column of ``cr_*_confusion`` where trials are independent."""
    table = make_confusion(visit)
    catalogues = {"stamp": ("label", visit.tables["stamps"]), "object": ("found", visit.tables["objects"])}
    rows = table[(table["level"] == "stamp") | (table["level"] == "object")]
    assert len(rows) == 18
    for row in rows:
        prefix, catalogue = catalogues[str(row["level"])]
        names = (str(row["reference"]), str(row["candidate"]))
        pairs = [tuple(entry[f"{prefix}_{name}"] for name in names) for entry in catalogue]
        tp, fn, fp, tn = (pairs.count(pair) for pair in ((1, 1), (1, 0), (0, 1), (0, 0)))
        # There is no plane DETECTED here: what is critical is not known.
        unknown = ("adjusted_completeness", "adjusted_completeness_lo", "adjusted_completeness_hi")
        check(
            row,
            {
                "level": str(row["level"]),
                "reference": names[0],
                "candidate": names[1],
                "truth_sigma": 2.0 if names[0] == "truth" else math.nan,
                "tp": tp,
                "tp_candidate": tp,
                "fn": fn,
                "fp": fp,
                "tn": tn,
                "critical_fn": -1,
                **rate("purity", tp, tp + fp),
                **rate("completeness", tp, tp + fn),
                **f1(tp, fn, fp),
                **dice("dice", tp, fn, fp),
                **dict.fromkeys(unknown, math.nan),
                "interval": "wilson",
                "n_detectors": len(visit.with_mask(*names)),
                "n_detectors_total": 3,
            },
        )


@pytest.mark.parametrize(("level", "tolerance"), [("pixel", 0), ("pixel_1px", 1)])
def test_confusion_of_pixels(visit: Visit, level: str, tolerance: int) -> None:
    """Counts and rates of pixels, and all limits by a bootstrap over CRs."""
    table = make_confusion(visit)
    rng = np.random.default_rng(3)
    rows = table[table["level"] == level]
    assert len(rows) == 9
    for row in rows:
        names = (str(row["reference"]), str(row["candidate"]))
        units = []
        for detector in visit.with_mask(*names):
            masks = {name: mask for name, mask in visit.masks[detector].items() if mask is not None}
            labels, n_clusters = ndimage.label(np.logical_or.reduce(list(masks.values())), EIGHT)
            pair = tuple(visit.raw[detector][name] for name in names)
            for cluster in range(n_clusters + 1):
                units.append(
                    count_pixels(*pair, visit.usable[detector] & (labels == cluster), tolerance)
                    | {"cluster": int(cluster > 0)}
                )
        total = add_up(units)
        for name in ("tp", "tp_candidate", "fn", "fp"):
            assert row[name] == total[name], name
        rates = rates_of(total)
        assert row["tn"] == total["tn"]
        clusters = np.array([[unit[name] for name in total] for unit in units if unit["cluster"]])
        samples = rng.integers(0, len(clusters), (400, len(clusters)))
        drawn = [rates_of(dict(zip(total, clusters[sample].sum(axis=0), strict=True))) for sample in samples]
        for name, value in rates.items():
            assert row[name] == pytest.approx(value), name
            low, high = np.percentile([replicate[name] for replicate in drawn], [2.5, 97.5])
            width = high - low
            assert row[f"{name}_lo"] == pytest.approx(low, abs=0.25 * width + 1e-9), name
            assert row[f"{name}_hi"] == pytest.approx(high, abs=0.25 * width + 1e-9), name
        assert row["interval"] == "bootstrap_objects"
        assert (row["critical_fn"], row["n_detectors_total"]) == (-1, 3)
