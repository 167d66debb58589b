# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables to print and figures to look at."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from click.testing import CliRunner
from matplotlib.figure import Figure

from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.cli.main import main
from lsst.meas.cosmicrays.report import ComparisonTables, format_comparison
from lsst.meas.cosmicrays.report.figures import plot_mask_pair, plot_rates

RATES = ("purity", "completeness", "f1")


def confusion_row(level: str, reference: str, candidate: str, tp: int, fp: int, fn: int) -> dict:
    """Make one row of a table as it is gathered."""
    purity = tp / (tp + fp) if tp + fp else np.nan
    completeness = tp / (tp + fn) if tp + fn else np.nan
    row = {
        "level": level,
        "reference": reference,
        "candidate": candidate,
        "truth_sigma": 2.0 if reference == "truth" else np.nan,
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": 1000,
        "purity": purity,
        "completeness": completeness,
        "f1": 2 * purity * completeness / (purity + completeness) if tp else np.nan,
        "n_detectors": 97,
        "n_detectors_total": 103,
    }
    for rate in RATES:
        row[f"{rate}_lo"], row[f"{rate}_hi"] = row[rate] - 0.05, row[rate] + 0.05
    return row


@pytest.fixture
def tables() -> ComparisonTables:
    one, two = "morphological_science", "astroscrappy_difference"
    confusion = Table(
        rows=[
            confusion_row("pixel", "truth", one, 80, 20, 10),
            confusion_row("pixel", "truth", two, 0, 0, 90),
            confusion_row("stamp", "truth", one, 8, 2, 0),
            confusion_row("pixel", one, two, 60, 0, 40),
            confusion_row("pixel", one, one, 100, 0, 0),
        ]
    )
    summary = Table(
        {
            "detection": [one, two, "truth"],
            "n_pixels": [100, -1, 90],
            "cr_pixels_per_mpix": [997.6, np.nan, 900.0],
            "flux": [0.0823, np.nan, 0.08],
            "n_stamps_cr": [10, -1, 8],
            "n_stamps_not_cr": [90, -1, 92],
            "wall_time_median": [0.312, np.nan, np.nan],
            "n_failed": [6, 0, 0],
            "n_detectors": [97, 0, 103],
            "n_detectors_total": [103, 103, 103],
        }
    )
    return ComparisonTables(confusion=confusion, summary=summary)


def test_tables_say_what_was_measured(tables: ComparisonTables) -> None:
    text = format_comparison(tables)
    pixel, stamp, default, summary = text.split("\n\n")
    assert pixel.startswith("Against truth (charge of at least 2 sigma), pixel by pixel\n")
    assert "0.800 (0.750-0.850)" in pixel
    assert "0.889 (0.839-0.939)" in pixel
    assert "97 of 103" in pixel
    never_found = next(line for line in pixel.splitlines() if line.startswith("astroscrappy_difference"))
    assert never_found.split()[1:3] == ["-", "0.000"]
    assert stamp.startswith("Against truth (charge of at least 2 sigma), by stamps around DIASources")
    assert default.startswith("Against morphological_science, pixel by pixel\n")
    assert "\nmorphological_science" not in default
    row = next(line for line in summary.splitlines() if line.startswith("morphological_science"))
    assert row.split() == [
        "morphological_science",
        "100",
        "997.6",
        "0.0823",
        "10",
        "90",
        "0.31",
        "6",
        "97",
        "of",
        "103",
    ]
    widths = {len(line) for line in pixel.splitlines()[1:]}
    assert len(widths) == 1


def test_reference_can_be_chosen(tables: ComparisonTables) -> None:
    text = format_comparison(tables, ["morphological_science"])
    assert "Against truth" not in text
    with pytest.raises(
        LookupError, match="No comparison with 'turth'; there are truth, morphological_science"
    ):
        format_comparison(tables, ["turth"])


def test_tables_that_are_not_there(test_butler: Butler) -> None:
    repo = str(test_butler._config.configDir.ospath)
    runner = CliRunner()
    result = runner.invoke(main, ["tables", repo, "u/nobody"])
    assert result.exit_code == 1
    assert "There is no collection 'u/nobody'" in result.output
    result = runner.invoke(main, ["tables", repo, "TestCam/defaults"])
    assert result.exit_code == 1
    assert "found none: run the gathering of the comparison first" in result.output
    result = runner.invoke(main, ["tables", repo + "/nowhere", "u/nobody"])
    assert result.exit_code == 1
    assert "No Butler repository at" in result.output


def test_rates_are_drawn(tables: ComparisonTables) -> None:
    figure = plot_rates(tables.confusion, "truth")
    assert isinstance(figure, Figure)
    pixel, stamp = figure.axes
    assert pixel.get_title() == "pixel by pixel"
    assert stamp.get_title().startswith("by stamps")
    names = [label.get_text() for label in pixel.get_yticklabels()]
    assert names == ["morphological_science", "astroscrappy_difference"]
    drawn = {line.get_label(): line.get_xdata() for line in pixel.lines}
    np.testing.assert_allclose(drawn["purity"], [0.8, np.nan])
    np.testing.assert_allclose(drawn["completeness"], [80 / 90, 0.0])


def test_masks_are_drawn_where_they_differ() -> None:
    rng = np.random.default_rng(9)
    image = rng.normal(size=(300, 200)).astype(np.float32)
    image[5, 5] = np.nan
    first, second = np.zeros((2, 300, 200), bool)
    first[20:30, 40] = second[20:30, 40] = True
    first[210:225, 151] = True
    second[230, 160:163] = True
    figure = plot_mask_pair(image, first, second, ("one", "other"), zoom_side=50)
    whole, plain, outlined = figure.axes
    x_low, x_high = plain.get_xlim()
    y_low, y_high = plain.get_ylim()
    assert x_low < 151 < 162 < x_high
    assert y_low < 210 < 230 < y_high
    assert (x_high - x_low, y_high - y_low) == (50, 50)
    assert outlined.get_xlim() == plain.get_xlim()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["both: 10 pixels", "only one: 15", "only other: 3"]
    assert len(outlined.collections) == 4
    assert outlined.get_title() == "outlines: one (blue),\nother (orange)"
    assert {panel.get_xlabel() for panel in figure.axes} == {"x (pixels)"}
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    for panel in figure.axes:
        box = panel.get_tightbbox()
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0


def test_empty_masks_and_small_images_are_drawn() -> None:
    nothing = np.zeros((20, 30), bool)
    figure = plot_mask_pair(np.full((20, 30), np.nan), nothing, nothing, ("one", "other"))
    assert figure.axes[1].get_xlim() == (-0.5, 29.5)
