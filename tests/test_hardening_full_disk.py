# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk that is full in the middle of a write, and has space later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hardening import (
    CONTINUE,
    SmallDisk,
    assert_same,
    call,
    mounted,
    refs_of,
    results,
    run_words,
    simulate_words,
    stray_files,
)
from ingest_files import make_scene, write_image

from lsst.daf.butler import Butler

VISIT = {"instrument": "SimHSC", "visit": 1}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Return a file system of 64 MB."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=64m", "tmpfs") as root:
        yield SmallDisk(root)


@pytest.mark.slow
@pytest.mark.parametrize("starved", ["disk", "largest file"])
def test_pipetask(tmp_path: Path, request: pytest.FixtureRequest, starved: str) -> None:
    """The difference image does not fit; what comes before it does."""
    log = tmp_path / "log"
    if starved == "disk":
        disk = request.getfixturevalue("disk")
        repo = disk.root / "repo"
        call(log, *simulate_words(repo, size="512x500"))
        with disk.with_space(1500):
            printed = call(log, *run_words(repo, "u/run"), status=1)
        assert "No space left on device" in printed
    else:
        repo = tmp_path / "repo"
        call(log, *simulate_words(repo, size="512x500"))
        printed = call(log, *run_words(repo, "u/run"), status=1, largest_file=1_500_000)
        assert "File too large" in printed

    # What the Butler shows is whole, and there is nothing beside it.
    results(repo, "u/run")
    names = {ref.datasetType.name for ref in refs_of(repo, "u/run")}
    assert "cr_mask_morphological_science" in names
    assert "difference_image" not in names
    assert stray_files(repo) == []

    printed = call(log, *run_words(repo, "u/run", *CONTINUE))
    assert "0 failed" in printed
    call(log, *run_words(repo, "u/undisturbed"))
    assert_same(results(repo, "u/run"), results(repo, "u/undisturbed"))
    refs = refs_of(repo, "u/run")
    assert len({ref.run for ref in refs}) == 1
    assert len({(ref.datasetType.name, ref.dataId) for ref in refs}) == len(refs)


@pytest.mark.slow
@pytest.mark.parametrize("space", [0, 1000, 2300], ids=["nothing", "no detector", "one detector"])
def test_simulate(tmp_path: Path, disk: SmallDisk, space: int) -> None:
    log, repo = tmp_path / "log", disk.root / "repo"
    words = simulate_words(repo, "--detectors", 3)
    with disk.with_space(space):
        printed = call(log, *words, status=1)
        (error,) = [line for line in printed.splitlines() if line.startswith("Error: ")]
        assert str(repo) in error
        assert "cannot be written" in error
        assert "free the disk" in error
        assert "Traceback" not in printed
    made = printed.count("cosmic rays, ")
    printed = call(log, *words)
    assert f"{3 - made} detectors made, {made} reused" in printed
    assert stray_files(repo) == []
    with Butler.from_config(str(repo), collections="SimHSC/defaults") as butler:
        for name in ("visit_image", "template_detector", "cr_truth_charge", "cr_truth_catalog"):
            refs = butler.query_datasets(name)
            assert len(refs) == 3
            for ref in refs:
                butler.get(ref)


@pytest.mark.slow
def test_ingest(tmp_path: Path, disk: SmallDisk) -> None:
    log, repo = tmp_path / "log", disk.root / "repo"
    files = [
        write_image(tmp_path / f"a_{number}.fits", make_scene(n_stars=4, shape=shape)[0])
        for number, shape in enumerate([(150, 160), (700, 720), (150, 160)], start=1)
    ]
    words = ["cosmicrays", "ingest", repo, *files, "--instrument", "MyCam"]
    with disk.with_space(3000):
        printed = call(log, *words, status=1)
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: a_2.fits[0]: {repo} cannot be written: ")
    assert "2 images ingested, 0 already there, 1 errors" in printed
    with Butler.from_config(str(repo), collections="MyCam/defaults") as butler:
        refs = butler.query_datasets("visit_image")
        assert sorted(ref.dataId["visit"] for ref in refs) == [1, 3]
        for ref in refs:
            butler.get(ref)
    assert stray_files(repo) == []
    assert "1 images ingested, 2 already there, 0 errors" in call(log, *words)
