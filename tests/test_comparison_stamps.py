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
from astropy.table import MaskedColumn, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.meas.cosmicrays.comparison import (
    ComparedMasks,
    MaskBit,
    Role,
    SourceTableError,
    classify_sources,
    cut_stamps,
    detection_bits,
    inside_stamps,
    make_stamp_table,
    no_sources,
    object_by_cosmic_ray,
    select_sources,
    stamp_corners,
    truth_bits,
)

SHAPE = (20, 20)
ORIGIN = (100, 50)
SIZE = 6
BITS = (*detection_bits(["one", "gone"]), *truth_bits([2.0]), MaskBit("detected", Role.PLANE))


def make_sources(x: list[float], y: list[float]) -> Table:
    n = len(x)
    return Table({"id": np.arange(n) + 5, "x": x, "y": y, "ra": np.linspace(10, 11, n), "dec": np.zeros(n)})


def make_masks(seed: int = 0) -> ComparedMasks:
    rng = np.random.default_rng(seed)
    one, truth, detected = (rng.random(SHAPE) < fraction for fraction in (0.07, 0.08, 0.5))
    return ComparedMasks(BITS, (one, None, truth, detected), rng.random(SHAPE) < 0.9)


@settings(deadline=None, max_examples=100)
@given(x=st.floats(-50, 50), size=st.integers(1, 31))
def test_stamps_are_centred(x: float, size: int) -> None:
    """No other stamp has its centre nearer to the position."""
    x_min, _ = stamp_corners([x], [0.0], size)
    assert abs(x_min[0] + (size - 1) / 2 - x) <= 0.5 + 1e-9


def test_stamps_of_even_size_reach_up_from_a_pixel() -> None:
    x_min, y_min = stamp_corners([100.0, 100.4], [50.0, 49.6], 30)
    assert x_min.tolist() == [86, 86]
    assert y_min.tolist() == [36, 35]


def test_cutting_beyond_the_edges() -> None:
    image = np.arange(20.0).reshape(4, 5)
    stamps = cut_stamps(image, np.array([-1, 3, 7]), np.array([-2, 2, 0]), 3)
    np.testing.assert_array_equal(stamps[0], [[np.nan] * 3] * 2 + [[np.nan, 0, 1]])
    np.testing.assert_array_equal(stamps[1], [[13, 14, np.nan], [18, 19, np.nan], [np.nan] * 3])
    assert np.isnan(stamps[2]).all()
    assert not cut_stamps(np.ones((4, 5), bool), np.array([9]), np.array([-9]), 3).any()


def test_pixels_in_stamps() -> None:
    x, y = np.array([-3, 2, 17, 25]), np.array([4, -5, 18, 3])
    expected = [
        [
            any(x0 <= column < x0 + SIZE and y0 <= row < y0 + SIZE for x0, y0 in zip(x, y, strict=True))
            for column in range(20)
        ]
        for row in range(20)
    ]
    np.testing.assert_array_equal(inside_stamps(SHAPE, x, y, SIZE), expected)


@pytest.mark.parametrize("min_pixels", [1, 2])
def test_stamps_pixel_by_pixel(min_pixels: int) -> None:
    masks = make_masks()
    objects = np.random.default_rng(1).random(SHAPE) < 0.02
    sources = make_sources([99.0, 108.2, 110.6, 119.0, 104.0], [50.0, 58.0, 60.3, 70.0, 66.0])
    table = make_stamp_table(sources, masks, origin=ORIGIN, size=SIZE, min_pixels=min_pixels, objects=objects)
    for row, source in zip(table, sources, strict=True):
        pixels = [
            (y - 50, x - 100)
            for y in range(row["y_min"], row["y_max"] + 1)
            for x in range(row["x_min"], row["x_max"] + 1)
        ]
        assert len(pixels) == SIZE**2
        assert abs((row["x_min"] + row["x_max"]) / 2 - source["x"]) <= 0.5
        inside = [(y, x) for y, x in pixels if 0 <= y < 20 and 0 <= x < 20]
        usable = [pixel for pixel in inside if masks.usable[pixel]]
        assert row["edge"] == (len(inside) < len(pixels))
        assert row["n_usable"] == len(usable)
        code = 0
        for number, name in ((0, "one"), (2, "truth")):
            n_pixels = sum(bool(masks.masks[number][pixel]) for pixel in usable)
            assert row[f"n_cr_{name}"] == n_pixels
            assert row[f"label_{name}"] == (n_pixels >= min_pixels)
            code |= (n_pixels >= min_pixels) << number
        assert (row["available"], row["code"]) == (0b101, code)
        assert (row["n_cr_gone"], row["label_gone"]) == (-1, -1)
        assert row["object"] == any(objects[pixel] for pixel in inside)
    assert 0 < table["label_one"].sum() < len(table)
    assert "label_detected" not in table.colnames
    assert table["id"].tolist() == [5, 6, 7, 8, 9]


def test_no_stamps() -> None:
    table = make_stamp_table(no_sources(), make_masks())
    assert len(table) == 0
    assert {"n_cr_one", "label_gone", "object", "edge"} < set(table.colnames)


def test_objects_by_cosmic_rays() -> None:
    rng = np.random.default_rng(4)
    stamps = Table({"object": rng.integers(-1, 2, 300), "label_one": rng.integers(-1, 2, 300)})
    expected = [
        [sum(row["object"] == o and row["label_one"] == c for row in stamps) for c in (0, 1)] for o in (0, 1)
    ]
    assert object_by_cosmic_ray(stamps, "one").tolist() == expected


def test_what_sources_truly_are() -> None:
    cosmic_rays = np.zeros(SHAPE, bool)
    cosmic_rays[5, 5] = cosmic_rays[10, 10] = True
    variables = Table(
        {
            "id": [31, 30, 32],
            "x": [110.5, np.nan, 101.0],
            "y": [60.0, 60.0, 69.0],
            "kind": ["variable", "variable", "transient"],
        }
    )
    sources = make_sources([105.0, 110.0, 118.0, 118.0, 102.0], [52.0, 60.0, 68.0, 52.0, 69.0])
    dipole = np.array([False, False, True, False, True])
    truth = classify_sources(
        sources, cosmic_rays=cosmic_rays, variables=variables, dipole=dipole, origin=ORIGIN, radius=3.0
    )
    assert truth["true_kind"].tolist() == ["cosmic_ray", "variable", "dipole", "artifact", "transient"]
    assert truth["true_variable_id"].tolist() == [-1, 31, -1, -1, 32]
    assert truth["true_cosmic_ray"].tolist() == [True, True, False, False, False]


def test_the_radius_is_within() -> None:
    cosmic_rays = np.zeros(SHAPE, bool)
    cosmic_rays[5, 5] = True
    sources = make_sources([8.0, 8.01], [5.0, 5.0])
    truth = classify_sources(sources, cosmic_rays=cosmic_rays, radius=3.0)
    assert truth["true_cosmic_ray"].tolist() == [True, False]


def test_nothing_is_known_without_truth() -> None:
    sources = make_sources([1.0], [1.0])
    assert classify_sources(sources)["true_kind"].tolist() == [""]
    nothing = np.zeros(SHAPE, bool)
    assert classify_sources(sources, cosmic_rays=nothing)["true_kind"].tolist() == [""]
    assert len(classify_sources(no_sources(), cosmic_rays=nothing)) == 0


def test_selecting_sources() -> None:
    table = make_sources([105.0, np.nan, 112.0, 97.5, 96.4], [55.0, 55.0, 55.0, 49.5, 55.0])
    sources, n_dropped = select_sources(table, SHAPE, origin=ORIGIN, size=SIZE)
    assert sources["id"].tolist() == [5, 7, 8]
    assert n_dropped == 2
    assert len(table) == 5


def test_selecting_by_other_columns() -> None:
    table = make_sources([5.0, 6.0, 7.0], [5.0, 6.0, 7.0])
    table.rename_columns(["id", "ra"], ["diaSourceId", "coord_ra"])
    table["sky"], table["isDipole"] = [False, True, False], [False, False, True]
    columns = {"id": "diaSourceId", "ra": "coord_ra"}
    sources, n_dropped = select_sources(
        table, SHAPE, columns=columns, sky_column="sky", dipole_column="isDipole"
    )
    assert sources.colnames == ["id", "x", "y", "ra", "dec", "dipole"]
    assert sources["id"].tolist() == [5, 7]
    assert sources["dipole"].tolist() == [False, True]
    assert n_dropped == 0


def test_masked_positions_are_no_positions() -> None:
    table = make_sources([5.0, 6.0], [5.0, 6.0])
    table["x"] = MaskedColumn(table["x"], mask=[True, False])
    sources, n_dropped = select_sources(table, SHAPE)
    assert (sources["id"].tolist(), n_dropped) == ([6], 1)


def test_sources_that_cannot_be_used() -> None:
    table = make_sources([5.0], [5.0])
    with pytest.raises(SourceTableError, match="lacks sky, isDipole; it has id, x, y, ra, dec"):
        select_sources(table, SHAPE, sky_column="sky", dipole_column="isDipole")
    with pytest.raises(SourceTableError, match="lacks id"):
        select_sources(Table(), SHAPE)
    with pytest.raises(SourceTableError, match="None of the 1 sources is on the image"):
        select_sources(table, SHAPE, origin=(2000, 0))


def test_no_source_is_no_error() -> None:
    assert len(select_sources(no_sources(), SHAPE)[0]) == 0
