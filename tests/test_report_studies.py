# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Galleries of stamps and figures of studies: what is drawn, and where."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import imread

from lsst.meas.cosmicrays.comparison import stamp_threshold_table
from lsst.meas.cosmicrays.report.gallery_stamp import GalleryStamp
from lsst.meas.cosmicrays.report.stamp_gallery import GAP, PANEL, plot_stamp_gallery
from lsst.meas.cosmicrays.report.study_figures import (
    F1_STEPS,
    PLACES,
    plot_label_cost,
    plot_places,
    plot_stamp_distribution,
    plot_stamp_thresholds,
    plot_trail_rates,
)

N = 10


def make_stamp(caption: str = "a stamp", truth: str | None = None) -> GalleryStamp:
    rng = np.random.default_rng(3)
    template = rng.normal(100.0, 1.0, (N, N)).astype(np.float32)
    difference = np.zeros((N, N), np.float32)
    difference[2, 3] = 50.0
    science = template + difference + 300.0
    mask = difference > 0
    return GalleryStamp(template, science, difference, {"finder": mask}, caption, truth)


def draw(figure: Figure) -> np.ndarray:
    """Draw a figure as a PNG would be; return its pixels."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=50)
    file.seek(0)
    return imread(file)


def test_three_panels_share_a_stretch() -> None:
    stamp = make_stamp()
    axes = plot_stamp_gallery([stamp], title="one").axes[0]
    panels = axes.get_images()
    assert len(panels) == 4
    assert len({panel.get_clim() for panel in panels[:3]}) == 1
    assert panels[3].get_clim() != panels[0].get_clim()
    # Sky levels differ, but each panel is shown less its median.
    for panel, image in zip(panels, stamp.images, strict=False):
        np.testing.assert_allclose(panel.get_array(), image - np.median(image), rtol=1e-6)
    low, high = panels[0].get_clim()
    assert low < 0.0 < high <= 50.0


def test_outline_goes_round_the_pixels_of_the_mask() -> None:
    axes = plot_stamp_gallery([make_stamp()], title="one").axes[0]
    (outline,) = [item for item in axes.collections if isinstance(item, LineCollection)]
    left, right, bottom, top = axes.get_images()[3].get_extent()
    side = PANEL / N
    assert bottom - top == pytest.approx(PANEL)
    # Pixel (2, 3): rows count upwards from the bottom of the panel.
    corners = {(left + (3 + dx) * side, bottom - (2 + dy) * side) for dx in (0, 1) for dy in (0, 1)}
    drawn = {tuple(point) for segment in outline.get_segments() for point in segment}
    assert len(outline.get_segments()) == 4
    np.testing.assert_allclose(sorted(drawn), sorted(corners))


@pytest.mark.parametrize("n_stamps", [1, 4])
def test_legend_of_a_gallery_fits(n_stamps: int) -> None:
    """The names of masks are not cut off, however few stamps there are."""
    mask = np.eye(30, dtype=bool)
    names = ["astroscrappy_difference", "morphological_science", "truth"]
    stamp = GalleryStamp(None, None, np.zeros((30, 30), np.float32), dict.fromkeys(names, mask))
    figure = plot_stamp_gallery([stamp] * n_stamps, title="legend")
    FigureCanvasAgg(figure).draw()
    legend = figure.axes[0].get_legend().get_window_extent()
    assert figure.bbox.x0 <= legend.x0
    assert legend.x1 <= figure.bbox.x1
    assert legend.y0 >= figure.bbox.y0


@pytest.mark.parametrize("n_stamps", [0, 1, 4])
def test_title_of_a_gallery_fits(n_stamps: int) -> None:
    title = "New DIASources, that are there only after cosmic rays were interpolated over,\nshort"
    figure = plot_stamp_gallery([make_stamp()] * n_stamps, title=title)
    FigureCanvasAgg(figure).draw()
    (drawn,) = [text for text in figure.axes[0].texts if text.get_text() == title]
    assert drawn.get_window_extent().x1 <= figure.bbox.x1
    assert drawn.get_fontsize() <= 9.0


def test_layout_in_rows() -> None:
    figure = plot_stamp_gallery([make_stamp(str(i)) for i in range(5)], title="five", n_columns=2)
    images = figure.axes[0].get_images()
    assert len(images) == 20
    tops = [image.get_extent()[3] for image in images[::4]]
    assert tops[0] == tops[1] < tops[2] == tops[3] < tops[4]
    assert images[1].get_extent()[0] - images[0].get_extent()[1] == pytest.approx(GAP)
    captions = [text.get_text() for text in figure.axes[0].texts]
    assert {"0", "1", "2", "3", "4", "five"} <= set(captions)


def test_missing_and_cut_images() -> None:
    stamp = make_stamp(truth="dipole")
    science = stamp.science.copy()
    science[:, :4] = np.nan
    figure = plot_stamp_gallery(
        [GalleryStamp(None, science, None, stamp.masks, "cut", "dipole"), make_stamp()], title="cut"
    )
    axes = figure.axes[0]
    assert len(axes.get_images()) == 1 + 4
    assert sum(patch.get_hatch() is not None for patch in axes.patches) == 4
    assert "truth: dipole" in [text.get_text() for text in axes.texts]
    assert draw(figure).std() > 0
    nothing = GalleryStamp(None, np.full((N, N), np.nan, np.float32), None)
    assert draw(plot_stamp_gallery([nothing], title="nothing")).std() > 0


def test_flat_and_no_stamps() -> None:
    flat = np.zeros((N, N), np.float32)
    low, high = (
        plot_stamp_gallery([GalleryStamp(flat, flat, flat)], title="").axes[0].get_images()[0].get_clim()
    )
    assert low < 0.0 < high
    figure = plot_stamp_gallery([], title="none")
    assert "no such stamps" in [text.get_text() for text in figure.axes[0].texts]
    with pytest.raises(ValueError, match="at least one column"):
        plot_stamp_gallery([], title="none", n_columns=0)


def test_stamps_must_be_squares_of_one_size() -> None:
    image = np.zeros((N, N), np.float32)
    with pytest.raises(ValueError, match="squares of one size"):
        GalleryStamp(image, image, image, {"finder": np.zeros((N, N + 1), bool)})
    with pytest.raises(ValueError, match="squares of one size"):
        GalleryStamp(None, image[:, 1:], None)


def test_histogram_holds_every_stamp() -> None:
    distribution = Table(
        {
            "detection": ["a"] * 5 + ["truth_5sigma"],
            "n_cr": [0, 1, 1, 40, 500, 3],
            "edge": [False] * 6,
            "label_truth": [0, 1, 0, 1, 1, 1],
            "n": [100, 7, 2, 3, 4, 9],
        }
    )
    study = Table({"detection": ["a", "truth_5sigma"], "median_cr_pixels": [1.0, 3.0]})
    figure = plot_stamp_distribution(distribution, study)
    (panel,) = [axes for axes in figure.axes if axes.axison]
    heights = [bar.get_height() for bar in panel.patches]
    assert sum(heights) == 7 + 2 + 3 + 4
    assert panel.get_title() == "a (median 1)"
    assert draw(figure).std() > 0


def test_rates_that_are_null_are_left_out() -> None:
    distribution = Table({"detection": ["a"], "n_cr": [4], "edge": [False], "label_truth": [-1], "n": [5]})
    figure = plot_stamp_thresholds(stamp_threshold_table(distribution))
    (line,) = figure.axes[0].get_lines()
    assert line.get_ydata().tolist() == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert np.isnan(figure.axes[1].get_lines()[0].get_ydata()).all()
    assert draw(figure).std() > 0


def test_costs_stand_beside() -> None:
    costs = Table({"detection": ["a", "truth_3sigma"], "n_visits": [2, 2]})
    for name, n in (
        ("variable_lost", 1),
        ("variable", 4),
        ("cr_passed", 0),
        ("cr", 0),
        ("dipole_cr", 2),
        ("dipole", 3),
    ):
        costs[f"n_{name}"] = n
    for name, value in (("fraction_lost", 0.25), ("fraction_passed", np.nan), ("fraction_dipole_cr", 2 / 3)):
        for end in ("", "_lo", "_hi"):
            costs[name + end] = value
    figure = plot_label_cost(costs)
    assert [[text.get_text() for text in panel.texts] for panel in figure.axes] == [["1/4"], ["0/0"], ["2/3"]]
    titles = [panel.get_title() for panel in figure.axes]
    assert [title.endswith(": there are none") for title in titles] == [False, True, False]
    assert figure.axes[0].get_xlim()[1] == pytest.approx(0.275)
    assert draw(figure).std() > 0


def test_places_are_drawn() -> None:
    """Shares are stacked to one; each F1 stands at its value."""
    shares = {"rim_in": 0.4, "rim_out": 0.3, "single_in": 0.1, "single_out": 0.2}
    rates = dict(zip(F1_STEPS, (0.7, 0.8, 0.85, 0.9, 0.95), strict=True))
    row = {f"share_{place}": share for place, share in shares.items()} | rates
    table = Table(
        rows=[
            {"reference": "truth", "candidate": "a"} | row,
            {"reference": "truth", "candidate": "b"} | dict.fromkeys(row, np.nan),
            {"reference": "a", "candidate": "b"} | row,
        ]
    )
    figure = plot_places(table, "truth")
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["a", "b"]
    bars = {bars.get_label(): bars.patches for bars in left.containers}
    end = 0.0
    for place, share in shares.items():
        first, unknown = bars[PLACES[place][0]]
        assert (first.get_x(), first.get_width()) == (pytest.approx(end), pytest.approx(share))
        assert unknown.get_width() == 0.0
        end += share
    drawn = {line.get_label(): line.get_xdata() for line in right.lines}
    for column, (label, _) in F1_STEPS.items():
        np.testing.assert_array_equal(drawn[label], [rates[column], np.nan])
    assert draw(figure).std() > 0


def test_trail_rates_are_drawn() -> None:
    """Each detection and sample of detectors at its density and its share of
    failures; truth at other thresholds not at all.
    """
    rows = []
    for number, name in enumerate(("a", "b", "truth_5sigma")):
        for sample, n_detectors in (("all", 4), ("without_trails", 3), ("with_trails", 1)):
            failed = 0.25 * (number + 1)
            rows.append((name, sample, n_detectors, 100.0 * n_detectors + number, failed, 0.1, 0.9))
    names = ("detection", "sample", "n_detectors_total", "cr_pixels_per_mpix", "fraction_failed")
    figure = plot_trail_rates(Table(rows=rows, names=(*names, "fraction_failed_lo", "fraction_failed_hi")))
    density, failed = figure.axes
    drawn = {line.get_label(): line.get_xdata().tolist() for line in density.lines}
    assert drawn == {
        "all detectors (4)": [400.0, 401.0],
        "without trails (3)": [300.0, 301.0],
        "with trails (1)": [100.0, 101.0],
    }
    assert [line.get_xdata().tolist() for line in failed.lines] == [[0.25, 0.5]] * 3
    assert all(
        segment[:, 0].tolist() == [0.1, 0.9]
        for lines in failed.collections
        for segment in lines.get_segments()
    )
    assert draw(figure).std() > 0
