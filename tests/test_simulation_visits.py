# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Simulated visits in a repository, and ``cosmicrays simulate``."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from click.testing import CliRunner

from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.cli.simulate import simulate_command
from lsst.meas.cosmicrays.repository import RepositoryError
from lsst.meas.cosmicrays.simulation import DATASET_TYPES, SimulationConfig, simulate, simulate_detector
from lsst.pipe.base import Instrument

CONFIG = SimulationConfig(width=96, height=80, galaxies=0.0, cr_rate=40.0, variables=150.0, seed=5)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulate two visits of two detectors."""
    root = tmp_path_factory.mktemp("simulation") / "repo"
    simulate(root, CONFIG, visits=2, detectors=2)
    return root


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(simulate_command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def pixels(root: Path, dataset_type: str, visit: int, detector: int) -> np.ndarray:
    butler = Butler.from_config(str(root), collections="SimHSC/defaults")
    dataset = butler.get(dataset_type, instrument="SimHSC", visit=visit, detector=detector)
    if isinstance(dataset, Table):
        return np.array(dataset.pformat(max_lines=-1, max_width=-1))
    return dataset.image.array if hasattr(dataset, "image") else dataset.array


@pytest.mark.parametrize("dataset_type", sorted(DATASET_TYPES))
def test_every_dataset_can_be_queried_and_read(repository: Path, dataset_type: str) -> None:
    butler = Butler.from_config(str(repository))
    refs = butler.query_datasets(dataset_type, collections="SimHSC/defaults")
    assert {(ref.dataId["visit"], ref.dataId["detector"]) for ref in refs} == {(1, 0), (1, 1), (2, 0), (2, 1)}
    assert {ref.run for ref in refs} == {"SimHSC/simulation"}
    assert all(len(butler.get(ref)) if "catalog" in dataset_type else butler.get(ref) for ref in refs)


def test_what_is_read_is_what_was_simulated(repository: Path) -> None:
    expected = simulate_detector(CONFIG, visit=2, detector=1)
    butler = Butler.from_config(str(repository), collections="SimHSC/simulation")
    data_id = {"instrument": "SimHSC", "visit": 2, "detector": 1}
    image = butler.get("visit_image", data_id)
    np.testing.assert_array_equal(image.image.array, expected.visit_image.image.array)
    np.testing.assert_array_equal(image.variance.array, expected.visit_image.variance.array)
    for plane in ("SATURATED", "DETECTED", "BAD", "INTERPOLATED"):
        np.testing.assert_array_equal(image.mask.get(plane), expected.visit_image.mask.get(plane))
    position = {"x": 40.0, "y": 30.0}
    np.testing.assert_allclose(
        image.psf.compute_kernel_image(**position).array,
        expected.visit_image.psf.compute_kernel_image(**position).array,
        atol=1e-9,
    )
    assert image.unit == "electron"
    assert image.photometric_scaling.unit == "nJy / electron"
    charge = butler.get("cr_truth_charge", data_id)
    np.testing.assert_array_equal(charge.array, expected.charge.array)
    for name, table in {
        "cr_truth_catalog": expected.cosmic_rays,
        "variable_truth_catalog": expected.variables,
        "star_catalog": expected.stars,
    }.items():
        assert butler.get(name, data_id).pformat() == table.pformat()


def test_instrument_and_regions(repository: Path) -> None:
    butler = Butler.from_config(str(repository))
    assert Instrument.fromName("SimHSC", butler.registry).getName() == "SimHSC"
    table = butler.get(
        "variable_truth_catalog", instrument="SimHSC", visit=1, detector=1, collections="SimHSC/defaults"
    )
    for row in table:
        with butler.query() as query:
            point = f"POINT({row['ra']:.9f}, {row['dec']:.9f})"
            found = query.where(
                f"visit = 1 AND visit_detector_region.region OVERLAPS {point}",
                instrument="SimHSC",
            ).data_ids(["visit", "detector"])
            assert [data_id["detector"] for data_id in found] == [1]


def test_nothing_is_left_beside_the_repository(repository: Path) -> None:
    assert sorted(path.name for path in repository.iterdir()) == ["SimHSC", "butler.yaml", "gen3.sqlite3"]


def test_again_makes_only_what_is_missing(repository: Path, tmp_path: Path) -> None:
    root = tmp_path / "repo"
    simulate(root, CONFIG, visits=1, detectors=1)
    lines: list[str] = []
    summary = simulate(root, CONFIG, visits=2, detectors=1, report=lines.append)
    assert summary.made == ((2, 0),)
    assert summary.reused == ((1, 0),)
    assert lines[0].startswith("1 of 2 detectors are in")
    assert lines[1] == "Simulating 1 detectors of 96x80 pixels ..."
    np.testing.assert_array_equal(pixels(root, "visit_image", 2, 0), pixels(repository, "visit_image", 2, 0))


def test_other_configuration_is_refused(repository: Path) -> None:
    with pytest.raises(RepositoryError, match="seeing is 0.7, not 0.8"):
        simulate(repository, CONFIG.model_copy(update={"seeing": 0.8}))
    with pytest.raises(RepositoryError, match="not a Butler repository"):
        simulate(repository / "SimHSC", CONFIG)


@pytest.mark.parametrize("name", ["visits", "detectors", "processes"])
def test_bad_numbers(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"number of {name} must be at least 1"):
        simulate(tmp_path / "repo", CONFIG, **{name: 0})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_number_of_processes_does_not_matter(repository: Path, tmp_path: Path) -> None:
    root = tmp_path / "repo"
    simulate(root, CONFIG, visits=2, processes=2)
    for visit in (1, 2):
        for dataset_type in DATASET_TYPES:
            np.testing.assert_array_equal(
                pixels(root, dataset_type, visit, 0), pixels(repository, dataset_type, visit, 0)
            )


def test_process_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class DyingPool(ThreadPoolExecutor):
        def __init__(self, workers: int, mp_context: object) -> None:
            super().__init__(workers)

        def submit(self, *_: object) -> Future:
            future: Future = Future()
            future.set_exception(BrokenProcessPool("terminated abruptly"))
            return future

    monkeypatch.setattr("lsst.meas.cosmicrays.simulation.visits.ProcessPoolExecutor", DyingPool)
    with pytest.raises(RepositoryError, match="run again with fewer processes"):
        simulate(tmp_path / "repo", CONFIG, visits=2, processes=2)


def test_failure_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "repo"

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("lsst.daf.butler.direct_butler.DirectButler.ingest", fail)
        with pytest.raises(RepositoryError, match="No space left"):
            simulate(root, CONFIG)
    butler = Butler.from_config(str(root))
    assert not butler.query_datasets("cr_truth_catalog", collections="SimHSC/defaults", explain=False)
    assert simulate(root, CONFIG).made == ((1, 0),)


def test_command(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    arguments = [root, "--detector-size", "96x80", "--sensor", "lsstcam", "--seeing", "0.5", "--seed", "3"]
    code, output = invoke(*arguments)
    assert code == 0
    assert "[1/1] visit 1 detector 0:" in output
    assert "1 detectors made, 0 reused, in collection SimLSSTCam/simulation" in output
    code, output = invoke(*arguments)
    assert code == 0
    assert "0 detectors made, 1 reused" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeing", "-1"], "--seeing: Input should be greater than"),
        (["--detector-size", "5x300"], "--detector-size: Input should be greater than"),
        (["--detector-size", "300"], "not a width and a height"),
        (["--cr-rate", "-2"], "--cr-rate"),
        (["--sensor", "emccd"], "hsc"),
        (["--visits", "0"], "--visits"),
        (["--detectors", "200"], "SimHSC has no detector 104"),
    ],
)
def test_bad_options_are_named(tmp_path: Path, arguments: list[str], message: str) -> None:
    code, output = invoke(tmp_path / "repo", *arguments)
    assert code != 0
    assert message in output
    assert list(tmp_path.iterdir()) == []


def test_command_in_a_directory_with_other_content(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    code, output = invoke(tmp_path)
    assert code != 0
    assert "not a Butler repository" in output
