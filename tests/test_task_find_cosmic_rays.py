# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""FindCosmicRaysTask in a real repository."""

from __future__ import annotations

import numpy as np
import pytest

from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.images import read_mask
from lsst.meas.cosmicrays.tasks import FindCosmicRaysConfig, FindCosmicRaysTask, config_digest
from lsst.pex.config import FieldValidationError
from lsst.pipe.base import NoWorkFound, PipelineGraph
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

DATA_ID = {"instrument": "TestCam", "visit": 42}


def make_config(*finders: str, variant: str = "") -> FindCosmicRaysConfig:
    config = FindCosmicRaysConfig()
    config.connections.variant = variant
    config.finders.names = list(finders)
    return config


def execute(
    butler: Butler, config: FindCosmicRaysConfig, inputs: str = "TestCam/defaults", output: str = "u/test"
) -> tuple[Butler, list]:
    """Run the task on all detectors; return the results and the quanta."""
    run_butler = SimplePipelineExecutor.prep_butler(butler._config, inputs=[inputs], output=output)
    executor = SimplePipelineExecutor.from_task_class(
        FindCosmicRaysTask,
        config=config,
        label="findCosmicRays" + config.connections.variant,
        butler=run_butler,
    )
    quanta = executor.run(register_dataset_types=True)
    return Butler.from_config(butler._config, collections=[output]), quanta


def test_writes_every_detection(test_butler: Butler) -> None:
    config = make_config("morphological", "astroscrappy", "mask_plane")
    butler, quanta = execute(test_butler, config)
    assert len(quanta) == 2
    for detector in (0, 1):
        data_id = {**DATA_ID, "detector": detector}
        image = butler.get("visit_image", data_id)
        for finder, n_cosmic_rays in (("morphological", 2), ("astroscrappy", 2), ("mask_plane", 0)):
            mask = butler.get(f"cr_mask_{finder}_science", data_id)
            assert mask.bbox == image.bbox
            assert set(mask.schema.names) == {"COSMIC_RAY"}
            (row,) = butler.get(f"cr_finder_summary_{finder}_science", data_id)
            assert row["n_cosmic_rays"] == n_cosmic_rays
            assert row["n_pixels"] == read_mask(mask).sum()
            assert row["n_usable"] == 80 * 96
            assert row["cr_pixels_per_mpix"] == pytest.approx(1e6 * row["n_pixels"] / (80 * 96))
            assert (row["instrument"], row["visit"], row["detector"]) == ("TestCam", 42, detector)
            assert (row["detection"], row["finder"], row["kind"]) == (f"{finder}_science", finder, "science")
            assert (row["engine"], row["variant"], row["failed"], row["failure"]) == ("fast", "", False, "")
            assert row["config_digest"] == config_digest(config.finders[finder])
            assert row["wall_time"] > 0.0


def test_one_finder_fails(test_butler: Butler, caplog: pytest.LogCaptureFixture) -> None:
    config = make_config("morphological", "mask_plane")
    config.finders["morphological"].nCrPixelMax = 3
    butler, quanta = execute(test_butler, config)
    assert len(quanta) == 2
    assert not butler.query_datasets("cr_mask_morphological_science", explain=False)
    assert len(butler.query_datasets("cr_mask_mask_plane_science")) == 2
    (row,) = butler.get("cr_finder_summary_morphological_science", DATA_ID, detector=0)
    assert row["failed"]
    assert "3" in row["failure"]
    assert np.isnan(row["wall_time"])
    assert np.isnan(row["cr_pixels_per_mpix"])
    assert "The finder morphological failed" in caplog.text


def test_every_finder_fails(test_butler: Butler) -> None:
    config = make_config("morphological")
    config.finders["morphological"].nCrPixelMax = 3
    butler, _ = execute(test_butler, config)
    assert len(butler.query_datasets("cr_finder_summary_morphological_science")) == 2
    metadata = butler.get("findCosmicRays_metadata", DATA_ID, detector=0)
    assert int(metadata["quantum"]["caveats"]) & NoWorkFound.FLAGS.value


def test_variant_adds_to_the_collection(test_butler: Butler) -> None:
    execute(test_butler, make_config("morphological", "astroscrappy"))
    first = Butler.from_config(test_butler._config, collections=["u/test"])
    masks = {ref.id for ref in first.query_datasets("cr_mask_astroscrappy_science")}
    knee = make_config("astroscrappy", variant="_knee")
    knee.finders["astroscrappy"].sigclip = 3.0
    butler, quanta = execute(test_butler, knee, inputs="u/test", output="u/both")
    assert [quantum.taskName.rpartition(".")[2] for quantum in quanta] == ["FindCosmicRaysTask"] * 2
    assert {ref.id for ref in butler.query_datasets("cr_mask_astroscrappy_science")} == masks
    for detector in (0, 1):
        wide = butler.get("cr_mask_astroscrappy_science_knee", DATA_ID, detector=detector)
        narrow = butler.get("cr_mask_astroscrappy_science", DATA_ID, detector=detector)
        assert read_mask(wide).sum() > read_mask(narrow).sum()


def test_image_without_psf_is_named(test_butler: Butler) -> None:
    image = test_butler.get("visit_image", DATA_ID, detector=0, collections="TestCam/defaults")
    task = FindCosmicRaysTask(config=make_config("mask_plane"))
    result = task.run(image)
    assert set(result.masks) == {"mask_plane"}
    assert result.summaries["mask_plane"]["visit"][0] == -1


def test_finders_must_be_chosen() -> None:
    with pytest.raises(ValueError, match="finders.names is empty"):
        make_config().validate()


def test_unknown_finder() -> None:
    with pytest.raises(FieldValidationError, match="morphologic"):
        make_config("morphologic").validate()


def test_storage_class_and_names_follow_the_config() -> None:
    config = make_config("astroscrappy", variant="_knee")
    config.imageStorageClass = "ExposureF"
    config.connections.kind = "difference"
    config.connections.image = "goodSeeingDiff_differenceExp"
    config.doWriteProbability = True
    graph = PipelineGraph()
    graph.add_task("find", FindCosmicRaysTask, config)
    (image,) = graph.tasks["find"].inputs.values()
    assert (image.dataset_type_name, image.storage_class_name) == (
        "goodSeeingDiff_differenceExp",
        "ExposureF",
    )
    assert {edge.dataset_type_name for edge in graph.tasks["find"].outputs.values()} == {
        "cr_mask_astroscrappy_difference_knee",
        "cr_finder_summary_astroscrappy_difference_knee",
        "cr_probability_astroscrappy_difference_knee",
    }
    assert graph.tasks["find"].outputs["mask_astroscrappy"].storage_class_name == "MaskV2"


def test_digest_tells_configurations_apart() -> None:
    one, same, other = (make_config("astroscrappy").finders["astroscrappy"] for _ in range(3))
    other.sigclip = 4.33
    assert config_digest(one) == config_digest(same)
    assert config_digest(one) != config_digest(other)
    assert len(config_digest(one)) == 16
