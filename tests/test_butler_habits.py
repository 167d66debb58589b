# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What users do with the results in a repository, on SQLite."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pyarrow.parquet
import pytest
from hardening import CONTINUE, assert_same, call, refs_of, results, run_words, simulate_words, stray_files

from lsst.daf.butler import Butler, MissingDatasetTypeError
from lsst.meas.cosmicrays.documentation import FOLDER
from lsst.meas.cosmicrays.product import product_dir
from lsst.meas.cosmicrays.tasks import FindCosmicRaysConfig, config_digest

pytestmark = pytest.mark.slow
MASK = "cr_mask_morphological_science"
SUMMARY = "cr_finder_summary_morphological_science"
DETECTOR = {"instrument": "SimHSC", "visit": 1, "detector": 0}


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with a simulated visit and the results of a run."""
    folder = tmp_path_factory.mktemp("processed")
    call(folder / "log", *simulate_words(folder / "repo", "--detectors", 2))
    call(folder / "log", *run_words(folder / "repo", "u/run", "--output-run", "u/run/1"))
    return folder / "repo"


@pytest.fixture
def repo(processed: Path, tmp_path: Path) -> Path:
    """Return a repository of its own for a test."""
    return Path(shutil.copytree(processed, tmp_path / "repo"))


def test_everything_is_found_by_query(processed: Path, tmp_path: Path) -> None:
    printed = call(tmp_path / "log", "butler", "query-datasets", processed, "cr_*", "--collections", "u/run")
    for ref in refs_of(processed, "u/run"):
        if ref.datasetType.name.startswith("cr_"):
            assert ref.datasetType.name in printed
            assert str(ref.id) in printed


def test_run_again_does_nothing(repo: Path, tmp_path: Path) -> None:
    before = {ref.id for ref in refs_of(repo, "u/run")}
    words = run_words(repo, "u/run", "--output-run", "u/run/1", *CONTINUE)
    assert "contains no quanta" in call(tmp_path / "log", *words, status=1)
    assert {ref.id for ref in refs_of(repo, "u/run")} == before


def test_a_run_is_not_written_twice(repo: Path, tmp_path: Path) -> None:
    printed = call(tmp_path / "log", *run_words(repo, "u/run", "--output-run", "u/run/1"), status=1)
    assert "u/run/1" in printed
    assert "already exists" in printed


@pytest.mark.parametrize(
    ("pipeline", "options", "message"),
    [
        (
            "FindDifference.yaml",
            ("-c", "findCosmicRaysDifference:connections.image=difference"),
            "No datasets for overall-input 'difference' found (the dataset type is not even registered)",
        ),
        (
            "FindScience.yaml",
            ("-d", "instrument = 'SimHSC' AND detector = 77"),
            "Initial data ID query returned no rows",
        ),
        (
            "FindScience.yaml",
            ("-c", "findCosmicRaysScience:doWriteProbabilities=True"),
            "has no attribute doWriteProbabilities",
        ),
        ("FindScience.yaml", ("--output-run", "u/run/1"), "already exists, but --extend-run was not given"),
    ],
)
def test_what_pipetask_says(
    processed: Path, tmp_path: Path, pipeline: str, options: tuple[str, ...], message: str
) -> None:
    """In the words that are explained where users look for them."""
    path = product_dir() / "pipelines" / "_ingredients" / pipeline
    printed = call(tmp_path / "log", *run_words(processed, "u/run", *options, pipeline=path), status=1)
    assert message in printed
    page = product_dir() / FOLDER / "repositories.rst"
    quoted = message.replace("'difference'", "'difference_image'").removesuffix(" doWriteProbabilities")
    assert quoted in page.read_text()
    if "attribute" in message:
        assert printed.splitlines()[-1].endswith("tasks/lsst.meas.cosmicrays.tasks.FindCosmicRaysTask.rst")


def test_new_run_in_front(repo: Path, tmp_path: Path) -> None:
    """Another configuration in a new RUN hides the old one, which stays."""
    before = results(repo, "u/run")
    overrides = tmp_path / "low_threshold.py"
    overrides.write_text('config.finders["morphological"].minSigma = 4.0\n')
    option = ("-C", f"findCosmicRaysScience:{overrides}")
    call(tmp_path / "log", *run_words(repo, "u/run", "--output-run", "u/run/2", *option))
    with Butler.from_config(str(repo)) as butler:
        assert butler.collections.get_info("u/run").children[:2] == ("u/run/2", "u/run/1")
        new = butler.get(SUMMARY, DETECTOR, collections="u/run")
        old = butler.get(SUMMARY, DETECTOR, collections="u/run/1")
    assert new["config_digest"][0] != old["config_digest"][0]
    assert new["n_pixels"][0] > old["n_pixels"][0]
    assert_same(results(repo, "u/run/1"), before)

    call(tmp_path / "log", "butler", "remove-runs", repo, "u/run/2", "--no-confirm", "--force")
    assert_same(results(repo, "u/run"), before)
    assert stray_files(repo) == []


def test_new_run_of_what_a_collection_lacks(repo: Path, tmp_path: Path) -> None:
    """Only one detector of a step is missing, and only that is made."""
    log, before = tmp_path / "log", results(repo, "u/run")
    prune = ["butler", "prune-datasets", repo, "u/run/1", "--purge", "u/run/1", "--no-confirm"]
    for name in (MASK, "findCosmicRaysScience_metadata"):
        call(log, *prune, "--datasets", name, "--where", "instrument = 'SimHSC' AND detector = 1")
    words = run_words(repo, "u/run", "--output-run", "u/run/2", "--skip-existing-in", "u/run")
    call(log, *words)
    made = {(ref.datasetType.name, ref.dataId.get("detector")) for ref in refs_of(repo, "u/run/2")}
    assert (MASK, 1) in made
    assert not {("difference_image", 0), ("difference_image", 1), (MASK, 0)} & made
    assert_same(results(repo, "u/run"), before)


def test_names_are_retired(repo: Path, tmp_path: Path) -> None:
    log, name = tmp_path / "log", "cr_mask_mask_plane_science"
    with Butler.from_config(str(repo)) as butler:
        assert butler.get_dataset_type(name).storageClass_name == "MaskV2"
    retire = ["butler", "remove-dataset-type", repo, name]
    call(log, *retire, status=1)
    with Butler.from_config(str(repo)) as butler:
        assert len(butler.query_datasets(name, "u/run")) == 2
    call(log, "butler", "remove-runs", repo, "u/run/1", "--no-confirm", "--force")
    call(log, *retire)
    with Butler.from_config(str(repo)) as butler, pytest.raises(MissingDatasetTypeError):
        butler.get_dataset_type(name)


def test_pruned_masks_are_made_again(repo: Path, tmp_path: Path) -> None:
    log, before = tmp_path / "log", results(repo, "u/run")
    old = {ref.id for ref in refs_of(repo, "u/run")}
    prune = ["butler", "prune-datasets", repo, "u/run/1", "--purge", "u/run/1", "--no-confirm"]
    # The metadata of a task is the sign that it succeeded.
    for name in (MASK, "findCosmicRaysScience_metadata"):
        call(log, *prune, "--datasets", name, "--where", "instrument = 'SimHSC' AND detector = 1")
    with Butler.from_config(str(repo), collections="u/run") as butler:
        assert [ref.dataId["detector"] for ref in butler.query_datasets(MASK)] == [0]
    assert stray_files(repo) == []
    printed = call(log, *run_words(repo, "u/run", "--output-run", "u/run/1", *CONTINUE))
    assert "0 failed" in printed
    assert_same(results(repo, "u/run"), before)
    # What did not depend on that mask was not made again.
    kept = old & {ref.id for ref in refs_of(repo, "u/run")}
    assert 0 < len(kept) < len(old)


def assert_provenance(repo: Path) -> None:
    """Check that a result says by what it was made."""
    config = FindCosmicRaysConfig()
    config.finders.names = ["morphological", "mask_plane"]
    with Butler.from_config(str(repo), collections="u/run/1") as butler:
        summary = butler.get(SUMMARY, DETECTOR)[0]
        assert (summary["finder"], summary["engine"]) == ("morphological", "fast")
        assert summary["version"] == butler.get("packages")["meas_cosmicrays"]
        stored = butler.get("findCosmicRaysScience_config")
        assert stored.finders["morphological"].minSigma == config.finders["morphological"].minSigma
        assert summary["config_digest"] == config_digest(stored.finders["morphological"])
        mask = butler.get(MASK, DETECTOR)
        assert mask.butler_provenance.quantum_id is not None
        assert mask.butler_dataset.run == "u/run/1"
        assert [ref.datasetType.name for ref in mask.butler_provenance.inputs] == ["visit_image"]


def test_transfer(processed: Path, tmp_path: Path) -> None:
    """Results go to a repository that has never seen this camera."""
    log, other = tmp_path / "log", tmp_path / "other"
    call(log, "butler", "create", other)
    transfer = ["butler", "transfer-datasets", processed, other, "--collections", "u/run/1"]
    call(log, *transfer, "--register-dataset-types", "--transfer", "copy", "-d", "cr_*")
    call(log, *transfer, "--register-dataset-types", "--transfer", "copy", "-d", "*_config,packages")
    expected = {key: value for key, value in results(processed, "u/run").items() if key[0].startswith("cr_")}
    found = {key: value for key, value in results(other, "u/run/1").items() if key[0].startswith("cr_")}
    assert_same(found, expected)
    assert_provenance(other)
    printed = call(log, "cosmicrays", "tables", other, "u/run/1", "--visit", 1)
    assert "morphological_science" in printed


def test_export_and_import(processed: Path, tmp_path: Path) -> None:
    log, other, folder = tmp_path / "log", tmp_path / "other", tmp_path / "exported"
    folder.mkdir()
    with (
        Butler.from_config(str(processed)) as butler,
        butler.export(directory=str(folder), transfer="copy", filename="export.yaml") as export,
    ):
        export.saveDatasets(refs_of(processed, "u/run"))
    call(log, "butler", "create", other)
    call(
        log, "butler", "import", other, folder, "--export-file", folder / "export.yaml", "--transfer", "copy"
    )
    assert_same(results(other, "u/run/1"), results(processed, "u/run"))
    assert_provenance(other)


def test_provenance(processed: Path) -> None:
    assert_provenance(processed)


def test_every_result_names_what_made_it(processed: Path) -> None:
    """Masks when they are read, tables in their files."""
    quanta: dict[str, set[str]] = {}
    with Butler.from_config(str(processed)) as butler:
        for ref in refs_of(processed, "u/run"):
            if not ref.datasetType.name.startswith("cr_"):
                continue
            if ref.datasetType.storageClass_name == "MaskV2":
                made = str(butler.get(ref).butler_provenance.quantum_id)
            else:
                stored = pyarrow.parquet.read_schema(butler.getURI(ref).ospath).metadata[b"table_meta_yaml"]
                facts = dict(re.findall(r"\{LSST\.BUTLER\.([A-Z._]+): ([^}]*)\}", stored.decode()))
                assert (facts["ID"], facts["RUN"]) == (str(ref.id), ref.run)
                assert int(facts["N_INPUTS"]) > 0
                made = facts["QUANTUM"]
            quanta.setdefault(made, set()).add(ref.datasetType.name)
    # Two detectors of three tasks, and one visit.
    assert len(quanta) == 7
    assert sum(any(name.startswith("cr_visit_") for name in names) for names in quanta.values()) == 1
