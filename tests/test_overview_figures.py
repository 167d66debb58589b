# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures that show a study at a glance, and the tables behind them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table, vstack
from study_repository import INSTRUMENT, NAMES, RUN, compare, make_masks, make_study

from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.comparison import (
    COMPLETENESS_BINS,
    FOCAL_PLANE_CORNERS,
    add_counts,
    add_focal_planes,
    completeness_table,
    focal_plane_table,
    region_table,
    tangent_plane,
    wilson_interval,
)
from lsst.meas.cosmicrays.product import product_dir
from lsst.meas.cosmicrays.report.overview_figures import (
    plot_completeness,
    plot_distributions,
    plot_focal_plane,
    plot_run_times,
    plot_upset,
)
from lsst.meas.cosmicrays.tasks import MapFocalPlaneTask, PlotOverviewTask
from lsst.pipe.base import NoWorkFound

BITS = {name: number for number, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def detectors() -> dict[int, dict[str, Table]]:
    """Tables of two detectors."""
    return {0: compare(3), 1: compare(4, failed="astroscrappy_science")}


@pytest.fixture(scope="module")
def objects(detectors: dict[int, dict[str, Table]]) -> Table:
    return vstack([tables["objects"] for tables in detectors.values()])


def stack(detectors: dict[int, dict[str, Table]], name: str) -> Table:
    """Stack the tables of detectors, and say of which each row is."""
    parts = []
    for detector, tables in detectors.items():
        part = tables[name].copy()
        part["visit"], part["detector"] = 1, detector
        parts.append(part)
    return vstack(parts)


def square(left: float) -> np.ndarray:
    return np.array([[left, 0.0], [left + 1, 0.0], [left + 1, 1.0], [left, 1.0]])


def test_completeness_is_counted_one_by_one(objects: Table) -> None:
    table = completeness_table(objects, NAMES)
    n_rows = sum(len(edges) - 1 for edges in COMPLETENESS_BINS.values()) * len(NAMES)
    assert len(table) == n_rows
    for row in table:
        n = n_found = 0
        for cosmic_ray in objects:
            inside = row["low"] <= cosmic_ray[row["variable"]] < row["high"]
            if cosmic_ray["found_truth"] == 1 and inside and cosmic_ray[f"found_{row['detection']}"] >= 0:
                n += 1
                n_found += cosmic_ray[f"found_{row['detection']}"] == 1
        assert (row["n"], row["n_found"]) == (n, n_found)
        low, high = wilson_interval(n_found, n)
        if n:
            assert (row["completeness"], row["completeness_lo"], row["completeness_hi"]) == (
                n_found / n,
                low,
                high,
            )
        else:
            assert np.isnan(row["completeness"])
    of_length = table[table["variable"] == "length"]
    per_detection = {name: of_length["n"][of_length["detection"] == name].sum() for name in NAMES}
    assert per_detection["morphological_science"] > per_detection["astroscrappy_science"] > 0


def test_completeness_needs_truth(objects: Table) -> None:
    without = objects.copy()
    without.remove_columns([name for name in objects.colnames if name.endswith("_truth")])
    assert len(completeness_table(without, NAMES)) == 0
    unknown = objects.copy()
    unknown["star_distance"] = np.nan
    table = completeness_table(unknown, NAMES)
    assert not np.any(table["n"][table["variable"] == "star_distance"])
    assert np.any(table["n"] > 0)


def test_combinations_are_counted_pixel_by_pixel(detectors: dict[int, dict[str, Table]]) -> None:
    table = region_table(add_counts([tables["counts"] for tables in detectors.values()]), BITS)
    masks = make_masks(3).masks
    for row in table:
        members = row["members"].split(",")
        exactly = np.ones_like(masks[0])
        for name, bit in BITS.items():
            exactly &= masks[bit] == (name in members)
        assert row["n"] == exactly.sum()
        assert row["n_members"] == len(members)
        assert row["code"] == sum(1 << BITS[name] for name in members)
    union = masks[0] | masks[1] | masks[2]
    assert table["n"].sum() == union.sum()
    assert table["fraction"].sum() == pytest.approx(1.0)
    assert list(table["n"]) == sorted(table["n"], reverse=True)


def test_tangent_plane_is_that_of_astropy() -> None:
    centre = SkyCoord(359.9 * u.deg, -67.0 * u.deg)
    rng = np.random.default_rng(4)
    ra, dec = (359.9 + rng.uniform(-2, 2, 9)) % 360, -67.0 + rng.uniform(-1, 1, 9)
    x, y = tangent_plane(ra, dec, (359.9, -67.0))
    offsets = SkyCoord(ra * u.deg, dec * u.deg).transform_to(centre.skyoffset_frame())
    lon, lat = offsets.lon.rad, offsets.lat.rad
    np.testing.assert_allclose(np.radians(x), np.tan(lon), atol=1e-12)
    np.testing.assert_allclose(np.radians(y), np.tan(lat) / np.cos(lon), atol=1e-12)


def test_focal_plane_counts_pixels(detectors: dict[int, dict[str, Table]]) -> None:
    detections, pairs = stack(detectors, "detections"), stack(detectors, "pixel_pairs")
    pair = ("morphological_science", "astroscrappy_science")
    table = focal_plane_table(detections, pairs, {0: square(0.0), 1: square(1.5)}, pair)
    first, second = make_masks(3).masks[:2]
    assert list(table["detector"]) == [0, 1]
    assert table["n_disagreeing"][0] == (first ^ second).sum()
    assert table["density_disagreeing"][0] == pytest.approx(1e6 * (first ^ second).mean())
    assert table["density_morphological_science"][0] == pytest.approx(1e6 * first.mean())
    assert np.isnan(table["density_astroscrappy_science"][1])
    assert np.isnan(table["density_disagreeing"][1])
    assert [table[name][1] for name in FOCAL_PLANE_CORNERS] == square(1.5).ravel().tolist()

    added = add_focal_planes([table, table[:1]])
    assert list(added["n_visits"]) == [2, 1]
    assert added["n_pixels_morphological_science"][0] == 2 * first.sum()
    assert added["density_morphological_science"][0] == pytest.approx(1e6 * first.mean())
    with pytest.raises(ValueError, match="No focal planes"):
        add_focal_planes([])


def test_focal_plane_is_drawn(detectors: dict[int, dict[str, Table]]) -> None:
    detections, pairs = stack(detectors, "detections"), stack(detectors, "pixel_pairs")
    table = focal_plane_table(detections, pairs, {0: square(0.0), 1: square(1.5)}, NAMES[:2])
    figure = plot_focal_plane(table, "density_astroscrappy_science", "CR pixels per Mpix", title="a map")
    panel, bar = figure.axes
    known, unknown = panel.collections
    assert known.get_array().tolist() == [table["density_astroscrappy_science"][0]]
    assert len(unknown.get_paths()) == 1
    assert unknown.get_hatch() == "///"
    assert panel.get_xlim()[0] > panel.get_xlim()[1]
    assert [text.get_text() for text in panel.texts] == ["0", "1"]
    assert bar.get_ylabel() == "CR pixels per Mpix"


def test_run_times_are_drawn(detectors: dict[int, dict[str, Table]]) -> None:
    figure = plot_run_times(stack(detectors, "detections"))
    (panel,) = figure.axes
    assert [label.get_text() for label in panel.get_yticklabels()] == list(NAMES)
    dots, bar = panel.lines[0], panel.lines[1]
    np.testing.assert_allclose(dots.get_xdata(), [0.53, 0.54])
    np.testing.assert_allclose(bar.get_xdata(), [0.535])
    assert len(panel.lines[2].get_xdata()) == 1
    assert len(plot_run_times(stack(detectors, "detections")[:0]).axes[0].lines) == 0


def test_upset_is_drawn(detectors: dict[int, dict[str, Table]]) -> None:
    combinations = region_table(detectors[0]["counts"], BITS)
    figure = plot_upset(combinations, list(NAMES), most=3)
    bars, dots, sizes = figure.axes
    assert [bar.get_height() for bar in bars.patches] == list(combinations["n"][:3])
    # Each is seen, the smallest, too.
    assert 0 < bars.get_ylim()[0] < 0.8 * combinations["n"][2]
    lines = [line for line in dots.lines if line.get_color() == "black"]
    for line, row in zip(lines, combinations, strict=False):
        assert [NAMES[place] for place in line.get_ydata()] == row["members"].split(",")
    masks = make_masks(3).masks
    assert [bar.get_width() for bar in sizes.patches] == [masks[bit].sum() for bit in BITS.values()]


def test_completeness_is_drawn(objects: Table) -> None:
    table = completeness_table(objects, NAMES)
    figure = plot_completeness(table)
    assert len(figure.axes) == 3
    line = figure.axes[0].lines[0]
    rows = table[(table["variable"] == "length") & (table["detection"] == NAMES[0]) & (table["n"] > 0)]
    np.testing.assert_allclose(line.get_ydata(), rows["completeness"])
    # Points of one bin lie near its middle, whichever detection they are of.
    for drawn in figure.axes[0].lines:
        assert np.abs(drawn.get_xdata() % 1 - 0.5).max() < 0.15
    styles = {line.get_label(): line.get_linestyle() for line in figure.axes[0].lines}
    assert styles == {NAMES[0]: "-", NAMES[1]: "-", NAMES[2]: "--"}
    assert len(plot_completeness(table[:0]).axes) == 1


def test_distributions_are_drawn(detectors: dict[int, dict[str, Table]], objects: Table) -> None:
    detections = stack(detectors, "detections")
    figure = plot_distributions(detections, objects)
    densities, pixels = figure.axes[:2]
    values = densities.lines[0].get_xdata()
    np.testing.assert_allclose(
        np.sort(values), np.sort([1e6 * make_masks(s).masks[0].mean() for s in (3, 4)])
    )
    assert sum(bar.get_height() for bar in pixels.patches) == np.count_nonzero(objects["is_reference"])
    nothing = plot_distributions(detections, objects[:0])
    assert len(nothing.axes[1].patches) == 0


def test_visit_without_regions(detectors: dict[int, dict[str, Table]]) -> None:
    detections, pairs = stack(detectors, "detections"), stack(detectors, "pixel_pairs")
    with pytest.raises(NoWorkFound, match="No detector of this visit has a region with four corners"):
        MapFocalPlaneTask().run(detections, pairs, {0: np.zeros((0, 3))})


def test_overview_without_truth() -> None:
    tables = compare(3, truth=False)
    detections = stack({0: tables}, "detections")
    result = PlotOverviewTask().run(detections, tables["counts"], tables["objects"])
    assert result.completeness is None
    assert not hasattr(result, "plotCompleteness")
    assert not hasattr(result, "plotDensity")
    assert result.plotUpset is not None


def test_overview_through_pipetask(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    with make_study(root, failed="astroscrappy_science"):
        pass
    pipeline = f"{product_dir()}/pipelines/_ingredients/Overview.yaml#mapFocalPlane,plotOverview"
    command = [Path(sys.executable).with_name("pipetask"), "run", "-b", root, "-i", RUN, "-o", "u/overview"]
    command += ["-p", pipeline, "--register-dataset-types"]
    environment = os.environ | {"MPLBACKEND": "Agg"}
    result = subprocess.run(
        [*map(str, command)], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    with Butler.from_config(str(root), collections="u/overview") as butler:
        for name in ("completeness", "upset", "run_times", "distributions", "focal_plane_density"):
            assert len(butler.query_datasets(f"cr_plot_{name}")) == 1, name
        assert len(butler.query_datasets("cr_plot_focal_plane_disagreement")) == 1
        plane = butler.get("cr_instrument_focal_plane", instrument=INSTRUMENT)
        objects = butler.get("cr_instrument_objects", instrument=INSTRUMENT)
        completeness = butler.get("cr_instrument_completeness", instrument=INSTRUMENT)
        counts = butler.get("cr_instrument_counts", instrument=INSTRUMENT)
        upset = butler.get("cr_instrument_upset", instrument=INSTRUMENT)
    assert list(plane["n_visits"]) == [2, 2]
    masks = [make_masks(seed).masks[0] for seed in (10, 20)]
    assert plane["density_morphological_science"][0] == pytest.approx(1e6 * np.mean(masks))
    # The second detector failed on the first visit: one visit counts.
    mask = make_masks(21).masks[1]
    assert plane["density_astroscrappy_science"][1] == pytest.approx(1e6 * mask.mean())
    corners = np.array([plane[name] for name in FOCAL_PLANE_CORNERS]).reshape(4, 2, 2)
    apart = corners[..., 1].mean(axis=0) - corners[..., 0].mean(axis=0)
    np.testing.assert_allclose(apart, [0.03 * np.cos(np.radians(19.99)), 0.0], atol=1e-5)
    expected = completeness_table(objects, NAMES)
    assert list(completeness["n_found"]) == list(expected["n_found"])
    assert list(upset["n"]) == list(region_table(counts, BITS)["n"])
