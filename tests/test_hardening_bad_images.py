# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""One visit whose detectors are bad in many ways, through every task."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from hardening import CONTINUE, call, refs_of, run_words, simulate_words, stray_files

from lsst.daf.butler import Butler, DatasetRef
from lsst.images import Box, Image, VisitImage

pytestmark = pytest.mark.slow
EVERYTHING = Path(__file__).with_name("bad_images_pipeline.yaml")
GOOD = 0
VISIT = {"instrument": "SimHSC", "visit": 1}


def no_value(image: VisitImage) -> None:
    image.image.array[:] = np.nan


def no_variance(image: VisitImage) -> None:
    image.variance.array[:] = 0.0


def all_bad(image: VisitImage) -> None:
    image.mask.set("BAD", np.ones(image.image.array.shape, dtype=bool))


def partly(image: VisitImage) -> None:
    """Leave a third of the pixels, without a number beside them."""
    image.image.array[:80] = np.inf
    image.image.array[100:110, 20:60] = np.nan
    image.variance.array[160:200] = -1.0
    image.variance.array[200:] = np.nan


def tiny(image: VisitImage | Image) -> VisitImage | Image:
    """Cut out less than a kernel."""
    return image[Box.factory[image.bbox.y.start : image.bbox.y.start + 7, 0:9]]


EVERY_IMAGE = ("visit_image", "template_detector", "cr_truth_charge")
BAD: dict[int, tuple[tuple[str, ...], Callable[[VisitImage], VisitImage | None]]] = {
    1: (("visit_image",), no_value),
    2: (("visit_image",), no_variance),
    3: (("visit_image",), all_bad),
    4: (("visit_image",), partly),
    5: (("template_detector",), no_value),
    6: (("template_detector",), no_variance),
    7: (EVERY_IMAGE, tiny),
}
NOTHING_TO_SEARCH = (1, 2, 3)
TINY = 7


def find(butler: Butler, name: str, detector: int) -> DatasetRef:
    ref = butler.find_dataset(name, VISIT, detector=detector, collections="SimHSC/defaults")
    assert ref is not None
    return ref


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the repository after the run, and what that printed."""
    folder = tmp_path_factory.mktemp("bad")
    repo = folder / "repo"
    call(folder / "log", *simulate_words(repo, "--detectors", 1 + len(BAD), size="260x240"))
    with Butler.from_config(str(repo), writeable=True) as butler:
        for detector, (names, change) in BAD.items():
            for name in names:
                ref = find(butler, name, detector)
                image = butler.get(ref)
                changed = change(image)
                butler.pruneDatasets([ref], disassociate=True, unstore=True, purge=True)
                butler.put(image if changed is None else changed, name, ref.dataId, run=ref.run)
    return repo, call(folder / "log", *run_words(repo, "u/run", pipeline=EVERYTHING), timeout=1800.0)


def test_nothing_fails(processed: tuple[Path, str]) -> None:
    """A step without anything to do says so, and is no failure."""
    repo, printed = processed
    assert " 0 failed and 0 remain" in printed
    assert "Traceback" not in printed
    assert stray_files(repo) == []


def test_the_good_detector_has_everything(processed: tuple[Path, str]) -> None:
    repo, _ = processed
    by_detector: dict[int, set[str]] = {}
    for ref in refs_of(repo, "u/run"):
        if "detector" in ref.dataId:
            by_detector.setdefault(int(ref.dataId["detector"]), set()).add(ref.datasetType.name)
    assert by_detector.keys() == {GOOD, *BAD}
    for detector, names in by_detector.items():
        assert names <= by_detector[GOOD], detector
        # Every task was there.
        assert {name for name in by_detector[GOOD] if name.endswith("_metadata")} <= names
    assert len([name for name in by_detector[GOOD] if name.startswith("cr_mask_")]) > 8


def test_summaries_say_why(processed: tuple[Path, str]) -> None:
    repo, _ = processed
    with Butler.from_config(str(repo), collections="u/run") as butler:
        for finder in ("morphological", "astroscrappy", "cosmic_conn"):
            for detector in (GOOD, *BAD):
                (row,) = butler.get(f"cr_finder_summary_{finder}_science", VISIT, detector=detector)
                why = "there is nothing to search" if detector in NOTHING_TO_SEARCH else None
                if finder == "cosmic_conn" and detector == TINY:
                    why = "needs at least 16 pixels on each side"
                assert row["failed"] == (why is not None), (finder, detector)
                assert why is None or why in row["failure"]
        summary: Table = butler.get("cr_visit_summary", VISIT)
    row = summary[summary["detection"] == "morphological_science"][0]
    assert (row["n_failed"], row["n_detectors"]) == (len(NOTHING_TO_SEARCH), 1 + len(BAD) - 3)


def test_bad_pixels_are_not_found(processed: tuple[Path, str]) -> None:
    """Nothing is found where there is no number or no noise."""
    repo, _ = processed
    with Butler.from_config(str(repo), collections="u/run") as butler:
        image = butler.get("visit_image", VISIT, detector=4)
        bad = ~np.isfinite(image.image.array) | ~(image.variance.array > 0.0)
        assert 0.5 < bad.mean() < 0.9
        for finder in ("morphological", "astroscrappy", "cosmic_conn"):
            mask = butler.get(f"cr_mask_{finder}_science", VISIT, detector=4).get("COSMIC_RAY")
            assert not mask[bad].any()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """What follows from it is not made; the rest is, and can be gathered."""
    log, repo = tmp_path / "log", tmp_path / "repo"
    call(log, *simulate_words(repo, "--detectors", 2))
    with Butler.from_config(str(repo)) as butler:
        path = butler.getURI(find(butler, "visit_image", 1)).ospath
    os.truncate(path, os.path.getsize(path) // 2)
    printed = call(log, *run_words(repo, "u/run"), status=1)
    assert path in printed
    assert "lsst.meas.cosmicrays.tasks.FindCosmicRaysTask.rst" in printed
    made = {(ref.datasetType.name, ref.dataId.get("detector")) for ref in refs_of(repo, "u/run")}
    assert ("cr_pixel_counts", 0) in made
    assert ("cr_pixel_counts", 1) not in made
    assert not [name for name, _ in made if name.startswith("cr_visit_")]

    # As the documentation says: without that detector.
    chosen = ("-d", "instrument = 'SimHSC' AND detector NOT IN (1)")
    call(log, *run_words(repo, "u/run", *CONTINUE, *chosen))
    with Butler.from_config(str(repo), collections="u/run") as butler:
        counts = butler.get("cr_visit_summary", VISIT)
        assert set(counts["n_detectors"]) == {1}
    assert stray_files(repo) == []
