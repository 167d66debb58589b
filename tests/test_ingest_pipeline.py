# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ingested images go through the pipelines for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from ingest_files import make_scene, write_image, write_mask

from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.ingest import IngestOptions, get_preset, ingest
from lsst.meas.cosmicrays.ingest.preset import Companion
from lsst.meas.cosmicrays.product import product_dir
from lsst.meas.cosmicrays.report.tables import read_comparison

pytestmark = pytest.mark.slow


def run_pipeline(repo: Path, instrument: str, pipeline: str, *options: str) -> Table:
    """Run a pipeline with pipetask, and return the confusion table."""
    program = Path(sys.executable).with_name("pipetask")
    path = str(product_dir() / "pipelines" / pipeline)
    command = [
        str(program),
        "run",
        "-b",
        str(repo),
        "-i",
        f"{instrument}/defaults",
        "-o",
        "u/test",
        "-p",
        path,
    ]
    result = subprocess.run(
        [*command, "--register-dataset-types", *options],
        env=os.environ | {"MEAS_COSMICRAYS_DIR": str(product_dir())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    with Butler.from_config(str(repo)) as butler:
        return read_comparison(butler, "u/test").confusion


def rate(confusion: Table, level: str, candidate: str, name: str) -> float:
    chosen = (
        (confusion["level"] == level)
        & (confusion["reference"] == "truth")
        & (confusion["candidate"] == candidate)
    )
    (row,) = confusion[chosen]
    return float(row[name])


def test_made_up_exposures(tmp_path: Path) -> None:
    files = []
    for number in (1, 2):
        image, truth = make_scene(seed=number, n_cosmic_rays=10)
        files.append(write_image(tmp_path / f"n_{number}.fits", image))
        write_mask(tmp_path / f"n_{number}_cr.fits", truth)
    preset = get_preset("generic").with_overrides(instrument="MyCam", truth=Companion(suffix="_cr.fits"))
    assert not ingest(tmp_path / "repo", files, preset).errors
    confusion = run_pipeline(tmp_path / "repo", "MyCam", "Ingested.yaml")
    for finder in ("morphological_science", "astroscrappy_science"):
        assert rate(confusion, "object", finder, "completeness") > 0.85
        assert rate(confusion, "object", finder, "purity") > 0.85
        assert rate(confusion, "pixel", finder, "completeness") > 0.7


def test_an_saao_exposure_and_its_difference(shared: Path, tmp_path: Path) -> None:
    data = shared / "data" / "saao_kb13475"
    files = [data / f"AKB13475I{number:04}.fits" for number in (3, 18, 20, 22)]
    options = IngestOptions(median_template=3, bad_pixels=data / "recurrent_badpix.fits.gz")
    assert not ingest(tmp_path / "repo", files, get_preset("saao"), options).errors
    confusion = run_pipeline(tmp_path / "repo", "SAAO", "IngestedWithTemplate.yaml", "-d", "visit = 3")
    levels = np.unique(confusion["level"])
    assert {"pixel", "pixel_1px", "object", "stamp"} <= set(levels)
    for kind in ("science", "difference"):
        assert rate(confusion, "object", f"morphological_{kind}", "completeness") > 0.5
