# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of DIASources by interpolation, against slow computations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lsst.meas.cosmicrays.comparison import (
    InterpolationData,
    InterpolationSettings,
    SourceFate,
    compare_interpolation,
    cut_examples,
    fate_table,
    has_object,
    match_sources,
    no_sources,
    object_table,
    rank_examples,
    sum_fates,
    sum_objects,
    wilson_interval,
)

SIZE = 6
SETTINGS = InterpolationSettings(source_radius=1.5, truth_radius=2.0, stamp_size=SIZE)
ORIGIN = (100, 40)


def make_sources(positions: np.ndarray, first_id: int = 1) -> Table:
    """Return sources at positions (x, y)."""
    sources = no_sources()
    for number, (x, y) in enumerate(np.reshape(positions, (-1, 2))):
        sources.add_row((first_id + number, x, y, 10.0 + x / 100, -5.0 + y / 100))
    return sources


@st.composite
def positions(draw: st.DrawFn) -> np.ndarray:
    """Draw positions on a 20x20 image, some of them on a grid: many ties."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    here = random.uniform(0.0, 19.0, (draw(st.integers(0, 12)), 2)) + np.array(ORIGIN)
    return np.round(here) if draw(st.booleans()) else here


def match_slowly(first: np.ndarray, second: np.ndarray, radius: float) -> list[tuple[int, int]]:
    """Take the closest free pair, again and again."""
    matches: list[tuple[int, int]] = []
    while True:
        closest = None
        for i, here in enumerate(first):
            for j, there in enumerate(second):
                if i in {match[0] for match in matches} or j in {match[1] for match in matches}:
                    continue
                distance = math.dist(here, there)
                if distance <= radius and (closest is None or (distance, i, j) < closest):
                    closest = (distance, i, j)
        if closest is None:
            return sorted(matches)
        matches.append(closest[1:])


@settings(deadline=None, max_examples=100)
@given(positions(), positions(), st.sampled_from([1.0, 2.0, 5.0]))
def test_closest_pairs_are_matched(first: np.ndarray, second: np.ndarray, radius: float) -> None:
    in_first, in_second, distance = match_sources(first, second, radius)
    assert list(zip(in_first.tolist(), in_second.tolist(), strict=True)) == match_slowly(
        first, second, radius
    )
    np.testing.assert_allclose(distance, np.linalg.norm(first[in_first] - second[in_second], axis=1))


def test_same_positions_match() -> None:
    here = np.array([[5.0, 5.0], [5.0, 5.0], [5.0, 7.0]])
    np.testing.assert_array_equal(match_sources(here, here, 3.0)[1], [0, 1, 2])


@st.composite
def detectors(draw: st.DrawFn) -> InterpolationData:
    """Draw what is known of a 20x20 detector."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    planes = [random.random((20, 20)) < share for share in (0.04, 0.3, 0.05, 0.05)]
    variables = Table(
        {"id": [7, 8], "x": [105.0, 112.0], "y": [45.0, 50.0], "kind": ["variable", "transient"]}
    )
    know_truth, know_footprints = draw(st.booleans()), draw(st.booleans())
    return InterpolationData(
        before=make_sources(draw(positions())),
        after=make_sources(draw(positions()), first_id=101),
        interpolated=planes[0],
        origin=ORIGIN,
        footprints=planes[1] if know_footprints else None,
        objects=planes[2] if know_truth else None,
        cosmic_rays=planes[3] if know_truth else None,
        variables=variables if know_truth else None,
    )


def in_stamp(plane: np.ndarray, x: float, y: float) -> int:
    """Count pixels in the stamp of even size around a position."""
    first_x, first_y = math.floor(x - 2.0), math.floor(y - 2.0)
    return sum(
        first_x <= column + ORIGIN[0] < first_x + SIZE and first_y <= row + ORIGIN[1] < first_y + SIZE
        for row, column in np.argwhere(plane)
    )


def nearest(plane: np.ndarray, x: float, y: float) -> float:
    """Return the distance from a position to the nearest pixel of a plane."""
    pixels = [(column + ORIGIN[0], row + ORIGIN[1]) for row, column in np.argwhere(plane)]
    return min((math.dist(pixel, (x, y)) for pixel in pixels), default=math.inf)


def flood(plane: np.ndarray, start: tuple[int, int]) -> set[tuple[int, int]]:
    """Return the 8-connected component of a pixel (row, column)."""
    found, todo = {start}, [start]
    while todo:
        y, x = todo.pop()
        for neighbour in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
            inside = all(0 <= index < 20 for index in neighbour)
            if inside and plane[neighbour] and neighbour not in found:
                found.add(neighbour)
                todo.append(neighbour)
    return found


def footprint_of(plane: np.ndarray | None, x: float, y: float) -> frozenset[tuple[int, int]]:
    """Return the footprint that a position is in, or within 1.5 pixels of."""
    if plane is None:
        return frozenset()
    by_distance = sorted(
        (math.dist((column + ORIGIN[0], row + ORIGIN[1]), (x, y)), int(row), int(column))
        for row, column in np.argwhere(plane)
    )
    if not by_distance or by_distance[0][0] > 1.5:
        return frozenset()
    components = {
        frozenset(flood(plane, (row, column)))
        for distance, row, column in by_distance
        if distance == by_distance[0][0]
    }
    # Of two that are equally near, either will do.
    assume(len(components) == 1)
    return components.pop()


@settings(deadline=None, max_examples=80)
@given(detectors())
def test_every_column_against_a_slow_loop(data: InterpolationData) -> None:
    table = compare_interpolation(data, SETTINGS)
    xy_before, xy_after = (
        np.column_stack([sources["x"], sources["y"]]) for sources in (data.before, data.after)
    )
    partners = dict(match_slowly(xy_before, xy_after, 1.5))
    came = [j for j in range(len(xy_after)) if j not in partners.values()]
    rows = [(i, partners.get(i), *xy_before[i]) for i in range(len(xy_before))]
    rows += [(None, j, *xy_after[j]) for j in came]
    footprints = [footprint_of(data.footprints, x, y) for *_, x, y in rows]
    of_pieces = {part for part, (i, *_) in zip(footprints, rows, strict=True) if i is None and part}
    assert len(table) == len(rows)
    for row, (i, j, x, y), footprint in zip(table, rows, footprints, strict=True):
        assert row["id"] == (-1 if i is None else data.before["id"][i])
        assert row["id_interpolated"] == (-1 if j is None else data.after["id"][j])
        assert (row["x"], row["y"]) == (x, y)
        assert row["n_cr"] == in_stamp(data.interpolated, x, y)
        assert row["cr_distance"] == pytest.approx(nearest(data.interpolated, x, y))
        assert row["near_cr"] == (nearest(data.interpolated, x, y) <= 2.0)
        if i is None:
            expected = SourceFate.PIECE if footprint else SourceFate.NEW
        elif j is None:
            expected = SourceFate.BROKEN if footprint in of_pieces else SourceFate.VANISHED
        else:
            expected = SourceFate.REMAINING if row["n_cr"] > 0 else SourceFate.UNCHANGED
            assert row["separation"] == pytest.approx(math.dist((x, y), xy_after[j]))
        assert row["fate"] == expected
        if data.cosmic_rays is None:
            assert (row["n_missed"], row["object"], row["true_kind"]) == (-1, -1, "")
            continue
        assert row["n_missed"] == in_stamp(data.cosmic_rays & ~data.interpolated, x, y)
        assert row["object"] == (in_stamp(data.objects, x, y) > 0)
        variables = [
            (math.dist((x, y), (float(star["x"]), float(star["y"]))), star["id"]) for star in data.variables
        ]
        distance, identifier = min(variables)
        assert row["true_variable_id"] == (identifier if distance <= 2.0 else -1)


@pytest.mark.parametrize("missing", ["before", "after", "both"])
def test_empty_tables_of_sources(missing: str) -> None:
    sources = make_sources(np.array([[105.0, 45.0], [110.0, 50.0]]))
    data = InterpolationData(
        before=no_sources() if missing in ("before", "both") else sources,
        after=no_sources() if missing in ("after", "both") else sources,
        interpolated=np.zeros((20, 20), dtype=bool),
        origin=ORIGIN,
        footprints=np.zeros((20, 20), dtype=bool),
        objects=np.ones((20, 20), dtype=bool),
    )
    table = compare_interpolation(data, SETTINGS)
    expected = {"before": ["new", "new"], "after": ["vanished", "vanished"], "both": []}[missing]
    assert table["fate"].tolist() == expected
    assert np.isinf(np.asarray(table["cr_distance"])).all()
    totals = fate_table(table)
    assert totals["n"].sum() == len(expected)
    examples = rank_examples(table, 5)
    cut = cut_examples(
        table, examples, {"science": None, "mask": data.objects}, shape=(20, 20), origin=ORIGIN, size=SIZE
    )
    assert len(cut) == len(expected)
    assert cut["science"].shape == (len(expected), SIZE, SIZE)
    assert np.isnan(cut["science"]).all()


@st.composite
def labelled_stamps(draw: st.DrawFn) -> tuple[Table, np.ndarray]:
    """Draw stamps of a 20x20 image with labels, and pixels of OBJECTs."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(0, 15))
    x_min, y_min = random.integers(-SIZE + 1, 20, (2, n)) + np.array(ORIGIN)[:, np.newaxis]
    stamps = Table(
        {
            "x_min": x_min,
            "y_min": y_min,
            "label_one": random.integers(0, 2, n).astype(np.int8),
            "label_other": random.integers(0, 2, n).astype(np.int8),
            "label_failed": np.full(n, -1, dtype=np.int8),
            "true_variable_id": random.integers(-1, 1, n),
        }
    )
    return stamps, random.random((20, 20)) < draw(st.sampled_from([0.0, 0.02, 0.2]))


@settings(deadline=None, max_examples=60)
@given(labelled_stamps(), labelled_stamps(), st.booleans())
def test_objects_against_cosmic_rays(
    one: tuple[Table, np.ndarray], other: tuple[Table, np.ndarray], truth_known: bool
) -> None:
    """Count stamp by stamp, and add two detectors up."""
    tables, expected, n_unknown = [], dict.fromkeys(((1, 1), (1, 0), (0, 1), (0, 0)), 0), 0
    n_real = 0
    for stamps, objects in (one, other):
        stamps["object"] = has_object(stamps, objects, origin=ORIGIN, size=SIZE)
        for row in stamps:
            columns = slice(max(row["x_min"] - 100, 0), max(row["x_min"] - 100 + SIZE, 0))
            lines = slice(max(row["y_min"] - 40, 0), max(row["y_min"] - 40 + SIZE, 0))
            found = int(objects[lines, columns].any())
            expected[found, int(row["label_one"])] += 1
            n_real += found == 1 and row["label_one"] == 1 and row["true_variable_id"] >= 0
        n_unknown += len(stamps)
        tables.append(object_table(stamps, truth_known=truth_known))
    total = sum_objects(tables, 5)
    assert total["detection"].tolist() == ["one", "other", "failed"]
    row = total[0]
    counts = [row[f"n_{cell}"] for cell in ("object_cr", "object_not_cr", "no_object_cr", "no_object_not_cr")]
    assert counts == list(expected.values())
    assert row["n_real_object_cr"] == (n_real if truth_known else -1)
    assert (row["n_unknown"], row["n_detectors"], row["n_detectors_total"]) == (0, 2, 5)
    assert total["n_unknown"][2] == n_unknown
    n_empty = sum(len(stamps) == 0 for stamps, _ in (one, other))
    assert total["n_detectors"][2] == n_empty
    n = sum(counts)
    if n > 0:
        assert row["fraction_object_cr"] == pytest.approx(counts[0] / n)
        assert row["fraction_object_cr_lo"] == pytest.approx(float(wilson_interval(counts[0], n)[0]))
    else:
        assert np.isnan(row["fraction_object_cr"])
    if counts[0] + counts[1] > 0:
        assert row["cr_of_object"] == pytest.approx(counts[0] / (counts[0] + counts[1]))
        assert row["cr_of_object_hi"] == pytest.approx(float(wilson_interval(counts[0], sum(counts[:2]))[1]))
    if counts[0] + counts[2] > 0:
        assert row["object_of_cr"] == pytest.approx(counts[0] / (counts[0] + counts[2]))
    if truth_known and counts[0] > 0:
        assert row["real_of_object_cr"] == pytest.approx(n_real / counts[0])
    else:
        assert np.isnan(row["real_of_object_cr"])


def test_table_2_of_the_report() -> None:
    """The percentages that the report of 2022 prints."""
    stamps = Table(
        {
            "object": np.repeat([1, 1, 0, 0], [368, 3172, 10843, 3960]).astype(np.int8),
            "label_default": np.repeat([1, 0, 1, 0], [368, 3172, 10843, 3960]).astype(np.int8),
            "true_variable_id": np.full(18343, -1),
        }
    )
    (row,) = object_table(stamps, truth_known=False)
    percent = [100 * row[f"fraction_{cell}"] for cell in ("object_cr", "object_not_cr", "no_object_cr")]
    assert [round(float(value), 2) for value in percent] == [2.01, 17.29, 59.11]
    assert row["n_object_cr"] + row["n_no_object_cr"] == 11211
    assert row["n_object_cr"] + row["n_object_not_cr"] == 3540


def test_unknown_objects() -> None:
    stamps = Table({"x_min": [100], "y_min": [40], "label_one": np.array([1], dtype=np.int8)})
    stamps["true_variable_id"] = [-1]
    stamps["object"] = has_object(stamps, None)
    (row,) = object_table(stamps, truth_known=True)
    assert (row["n_unknown"], row["n_detectors"], row["n_object_cr"]) == (1, 0, 0)
    assert len(object_table(Table(), truth_known=False)) == 0


@settings(deadline=None, max_examples=40)
@given(st.lists(detectors(), min_size=1, max_size=3))
def test_fates_add_up(data: list[InterpolationData]) -> None:
    tables = [compare_interpolation(part, SETTINGS) for part in data]
    total = sum_fates([fate_table(table) for table in tables], 9)
    rows = [row for table in tables for row in table]
    n_before, n_after = (sum(len(getattr(part, name)) for part in data) for name in ("before", "after"))
    assert {row["fate"] for row in total} == {fate.value for fate in SourceFate}
    for row in total:
        chosen = [
            source
            for source in rows
            if source["fate"] == row["fate"] and row["true_kind"] in ("all", source["true_kind"])
        ]
        assert row["n"] == len(chosen)
        assert row["n_with_cr"] == sum(source["n_cr"] > 0 for source in chosen)
        assert row["n_near_cr"] == sum(source["cr_distance"] <= 2.0 for source in chosen)
        n_of = n_after if row["fate"] in ("piece", "new") else n_before
        assert row["n_of"] == n_of
        assert (row["n_detectors"], row["n_detectors_total"]) == (len(data), 9)
        if n_of:
            assert row["fraction"] == pytest.approx(len(chosen) / n_of)
            assert row["fraction_lo"] <= row["fraction"] <= row["fraction_hi"]
        else:
            assert np.isnan(row["fraction"])
    again = sum_fates([sum_fates([fate_table(table)]) for table in tables], 9)
    assert again["n"].tolist() == total["n"].tolist()


def test_examples_are_the_most_telling() -> None:
    fates = ["vanished", "vanished", "remaining", "piece", "unchanged", "new", "new"]
    sources = Table(
        {
            "fate": fates,
            "id": [1, 2, 3, -1, 5, -1, -1],
            "cr_distance": [9.0, 1.0, 4.0, 2.0, np.inf, 3.0, 0.5],
            "true_variable_id": [-1, 4, -1, -1, -1, -1, 6],
            "object": np.array([0, 1, 1, 1, 1, 1, 1], dtype=np.int8),
            "n_cr": [3, 3, 2, 5, 0, 1, 1],
            "x_min": np.arange(7),
            "y_min": np.arange(7),
        }
    )
    examples = {group: rows.tolist() for group, rows in rank_examples(sources, 2).items()}
    assert examples == {"vanished": [1, 0], "remaining": [3, 2], "new": [5, 6], "object_and_cr": [1, 2]}
    image = np.arange(100, dtype=np.float32).reshape(10, 10)
    cut = cut_examples(sources, rank_examples(sources, 1), {"image": image}, shape=(10, 10), size=2)
    assert cut["group"].tolist() == ["vanished", "remaining", "new", "object_and_cr"]
    assert cut["rank"].tolist() == [0, 0, 0, 0]
    np.testing.assert_array_equal(cut["image"][1], [[33.0, 34.0], [43.0, 44.0]])
