# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every rate that was published follows from its published counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from lsst.meas.cosmicrays.comparison import (
    Confusion,
    adjusted_completeness,
    confusion,
    cosmic_ray_flux,
    critical_false_negatives,
    exposed_area_time,
    object_by_cosmic_ray,
    pixels_per_megapixel,
)

# The published numbers: tables of the report of 2022, and of SITCOMTN-149.
PUBLISHED = json.loads((Path(__file__).parent / "data" / "published.json").read_text())
REPORT = PUBLISHED["report_2022"]
SITCOMTN_149 = PUBLISHED["sitcomtn_149"]
DETECTOR_PIXELS = 2048 * 4176


def counts_of(row: dict[str, Any]) -> np.ndarray:
    """Return joint counts of reference (bit 0) and candidate (bit 1)."""
    return np.array([row["tn"], row["fn"], row["fp"], row["tp"]])


@pytest.mark.parametrize("number", REPORT["tables"])
def test_tables_of_the_report(number: str) -> None:
    row = REPORT["tables"][number]
    result = confusion(counts_of(row), 0, 1)
    assert result == Confusion(row["tp"], row["fn"], row["fp"], row["tn"])
    for name in ("purity", "completeness", "f1"):
        assert round(getattr(result, name), 3) == row[name]


def test_stamps_of_the_report() -> None:
    for number, row in REPORT["tables"].items():
        if row["level"] == "stamp" and number not in ("4", "22"):
            assert sum(counts_of(row)) == REPORT["n_dia_sources"]


def test_dark_cosmic_rays_on_simulated_images() -> None:
    result = confusion(counts_of(SITCOMTN_149), 0, 1)
    assert round(result.purity, 3) == SITCOMTN_149["purity"]
    assert round(result.completeness, 3) == SITCOMTN_149["completeness"]
    adjusted = adjusted_completeness(result.tp, SITCOMTN_149["critical_fn"])
    assert round(adjusted, 3) == SITCOMTN_149["adjusted_completeness"]


def test_critical_false_negatives_of_dark_cosmic_rays() -> None:
    """The same from joint counts in which bit 2 is the DETECTED plane."""
    row, critical = SITCOMTN_149, SITCOMTN_149["critical_fn"]
    counts = np.zeros(8, dtype=np.int64)
    counts[:4] = counts_of(row)
    counts[0b001] -= critical
    counts[0b101] = critical
    assert critical_false_negatives(counts, 0, 1, 2) == critical


def test_rates_of_the_report() -> None:
    science = REPORT["cr_pixels_default_science"]
    assert round(pixels_per_megapixel(science, 103 * DETECTOR_PIXELS), 1) == 997.6
    assert round(REPORT["cr_pixels_in_stamps"] / science, 3) == 0.264
    area_time = exposed_area_time(103 * DETECTOR_PIXELS, 0.015, 300.0)
    assert round(cosmic_ray_flux(science, 18, area_time), 3) == 0.082


def test_rates_of_the_report_on_difference_images() -> None:
    """Six of the 103 detectors had failed."""
    table_3 = REPORT["tables"]["3"]
    difference = table_3["tp"] + table_3["fp"]
    assert round(pixels_per_megapixel(difference, 97 * DETECTOR_PIXELS), 1) == 610.1
    area_time = exposed_area_time(97 * DETECTOR_PIXELS, 0.015, 300.0)
    assert round(cosmic_ray_flux(difference, 17, area_time), 3) == 0.053


def test_objects_and_cosmic_rays_of_the_report() -> None:
    """Table 2: OBJECT by CR."""
    expected = np.array([[3960, 10843], [3172, 368]])
    has_object, is_cosmic_ray = np.divmod(np.repeat(np.arange(4), expected.ravel()), 2)
    stamps = Table({"object": has_object.astype(np.int8), "label_default": is_cosmic_ray.astype(np.int8)})
    np.testing.assert_array_equal(object_by_cosmic_ray(stamps, "default"), expected)
    assert len(stamps) == REPORT["n_dia_sources"]
