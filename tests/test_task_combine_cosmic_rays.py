# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The consensus of masks: as a finder, and as a task, in a repository."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from lsst.daf.butler import Butler
from lsst.images import Box, Image, VisitImage
from lsst.meas.cosmicrays.comparison import PatternCounts, fit_learned_consensus, vote_by_pixel
from lsst.meas.cosmicrays.finders import ConsensusConfigError
from lsst.meas.cosmicrays.images import make_cosmic_ray_mask, read_mask
from lsst.meas.cosmicrays.repository import register_dataset_type
from lsst.meas.cosmicrays.tasks import (
    BoundsError,
    CombineCosmicRaysConfig,
    CombineCosmicRaysTask,
    FindCosmicRaysConfig,
    FindCosmicRaysTask,
)
from lsst.pipe.base import NoWorkFound, PipelineGraph
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

SHAPE = (80, 96)
BOX = Box.from_shape(SHAPE)
DATA_ID = {"instrument": "TestCam", "visit": 42}
DETECTIONS = ("morphological_science", "astroscrappy_science", "astroscrappy_difference")


def combine_config(*detections: str, variant: str = "", **values: Any) -> CombineCosmicRaysConfig:
    config = CombineCosmicRaysConfig()
    config.detections = list(detections or DETECTIONS)
    config.connections.variant = variant
    config.update(**values)
    return config


def find_config(*finders: str) -> FindCosmicRaysConfig:
    config = FindCosmicRaysConfig()
    config.finders.names = list(finders)
    return config


def execute(butler: Butler, graph: PipelineGraph, inputs: str, output: str) -> Butler:
    run_butler = SimplePipelineExecutor.prep_butler(butler._config, inputs=[inputs], output=output)
    executor = SimplePipelineExecutor.from_pipeline_graph(graph, butler=run_butler)
    executor.run(register_dataset_types=True)
    return Butler.from_config(butler._config, collections=[output])


def random_masks() -> dict[str, Any]:
    rng = np.random.default_rng(77)
    return {name: make_cosmic_ray_mask(rng.random(SHAPE) < 0.02, BOX) for name in DETECTIONS}


def arrays_of(masks: dict[str, Any]) -> list[np.ndarray]:
    return [read_mask(mask) for mask in masks.values()]


def finder_of(make_image: Callable[..., VisitImage], **values: Any) -> Any:
    config = find_config("consensus", "morphological", "astroscrappy")
    config.finders["consensus"].update(**values)
    return FindCosmicRaysTask(config=config).run(make_image())


def test_finder_votes_on_masks_just_made(make_image: Callable[..., VisitImage]) -> None:
    result = finder_of(make_image)
    voted = [read_mask(result.masks[name]) for name in ("morphological", "astroscrappy")]
    np.testing.assert_array_equal(read_mask(result.masks["consensus"]), voted[0] & voted[1])
    assert voted[0].any()
    (row,) = result.summaries["consensus"]
    assert (row["detection"], row["failed"]) == ("consensus_science", False)
    assert row["n_pixels"] == np.count_nonzero(voted[0] & voted[1])


def test_finder_with_members(make_image: Callable[..., VisitImage]) -> None:
    config = find_config("consensus", "morphological", "mask_plane")
    config.finders["consensus"].members = ["morphological_science"]
    config.finders["consensus"].rule["pixel_votes"].atLeast = 1
    result = FindCosmicRaysTask(config=config).run(make_image())
    np.testing.assert_array_equal(
        read_mask(result.masks["consensus"]), read_mask(result.masks["morphological"])
    )
    with pytest.raises(ConsensusConfigError, match="snaps_science should vote, but this task makes astro"):
        finder_of(make_image, members=["snaps_science"])


def test_finder_when_another_fails(make_image: Callable[..., VisitImage]) -> None:
    config = find_config("consensus", "morphological", "astroscrappy")
    config.finders["morphological"].nCrPixelMax = 3
    result = FindCosmicRaysTask(config=config).run(make_image())
    assert set(result.masks) == {"astroscrappy", "consensus"}
    np.testing.assert_array_equal(
        read_mask(result.masks["consensus"]), read_mask(result.masks["astroscrappy"])
    )


def test_finder_when_all_others_fail(make_image: Callable[..., VisitImage]) -> None:
    config = find_config("consensus", "morphological")
    config.finders["consensus"].rule["pixel_votes"].atLeast = 1
    config.finders["morphological"].nCrPixelMax = 3
    result = FindCosmicRaysTask(config=config).run(make_image())
    assert result.masks == {}
    assert "nothing can vote" in result.summaries["consensus"]["failure"][0]


def test_finder_leaves_bad_pixels_out(make_image: Callable[..., VisitImage]) -> None:
    plane = np.zeros(SHAPE, bool)
    plane[30, 30:34] = True
    bad = np.zeros(SHAPE, bool)
    bad[30, 30] = True
    config = find_config("consensus", "mask_plane")
    config.finders["consensus"].rule["pixel_votes"].atLeast = 1
    result = FindCosmicRaysTask(config=config).run(make_image(COSMIC_RAY=plane, BAD=bad))
    assert np.argwhere(read_mask(result.masks["consensus"])).tolist() == [[30, 31], [30, 32], [30, 33]]


def test_in_one_pipeline_and_added_later(test_butler: Butler) -> None:
    graph = PipelineGraph()
    find = find_config("morphological", "astroscrappy")
    find.doWriteProbability = True
    graph.add_task("find", FindCosmicRaysTask, find)
    graph.add_task("combine", CombineCosmicRaysTask, combine_config(*DETECTIONS[:2]))
    execute(test_butler, graph, "TestCam/defaults", "u/one")
    later = PipelineGraph()
    config = combine_config(*DETECTIONS[:2], variant="_union", doWriteProbability=True)
    config.rule.name = "weights"
    later.add_task("combineUnion", CombineCosmicRaysTask, config)
    butler = execute(test_butler, later, "u/one", "u/two")
    for detector in (0, 1):
        data_id = {**DATA_ID, "detector": detector}
        voted = [read_mask(butler.get(f"cr_mask_{name}", data_id)) for name in DETECTIONS[:2]]
        both = butler.get("cr_mask_consensus_science", data_id)
        np.testing.assert_array_equal(read_mask(both), voted[0] & voted[1])
        either = butler.get("cr_mask_consensus_science_union", data_id)
        np.testing.assert_array_equal(read_mask(either), voted[0] | voted[1])
        share = butler.get("cr_probability_consensus_science_union", data_id)
        np.testing.assert_allclose(share.array, np.mean(voted, axis=0))
        (row,) = butler.get("cr_finder_summary_consensus_science", data_id)
        first = butler.get("cr_finder_summary_morphological_science", data_id)
        assert first.colnames == list(row.colnames)
        assert (row["finder"], row["detector"], row["n_usable"]) == ("consensus", detector, 80 * 96)
        assert (row["n_pixels"], row["failed"]) == (np.count_nonzero(voted[0] & voted[1]), False)
        assert row["wall_time"] > 0.0


def test_only_where_something_was_found(test_butler: Butler) -> None:
    """A detector without any detection has no quantum; one on which a mask is
    missing has.
    """
    run = "u/masks"
    test_butler.registry.registerRun(run)
    masks = random_masks()
    for name in DETECTIONS:
        register_dataset_type(test_butler, f"cr_mask_{name}", "MaskV2")
    test_butler.put(masks[DETECTIONS[0]], f"cr_mask_{DETECTIONS[0]}", DATA_ID, detector=1, run=run)
    graph = PipelineGraph()
    graph.add_task("combine", CombineCosmicRaysTask, combine_config())
    butler = execute(test_butler, graph, run, "u/consensus")
    (ref,) = butler.query_datasets("cr_mask_consensus_science")
    assert ref.dataId["detector"] == 1
    np.testing.assert_array_equal(read_mask(butler.get(ref)), read_mask(masks[DETECTIONS[0]]))


def test_all_masks_are_missing(test_butler: Butler) -> None:
    find = find_config("morphological")
    find.finders["morphological"].nCrPixelMax = 3
    graph = PipelineGraph()
    graph.add_task("find", FindCosmicRaysTask, find)
    graph.add_task("combine", CombineCosmicRaysTask, combine_config())
    butler = execute(test_butler, graph, "TestCam/defaults", "u/failed")
    assert not butler.query_datasets("cr_mask_consensus_science", explain=False)
    (row,) = butler.get("cr_finder_summary_consensus_science", DATA_ID, detector=1)
    assert row["failed"]
    assert "nothing can vote" in row["failure"]
    metadata = butler.get("combine_metadata", DATA_ID, detector=1)
    assert int(metadata["quantum"]["caveats"]) & NoWorkFound.FLAGS.value


def test_learned_rule_from_the_repository(test_butler: Butler) -> None:
    masks = random_masks()
    truth = vote_by_pixel(arrays_of(masks), 2)
    rule = fit_learned_consensus(DETECTIONS, PatternCounts.count(arrays_of(masks), truth))
    run = "u/model"
    test_butler.registry.registerRun(run)
    register_dataset_type(test_butler, "cr_consensus_model", "ArrowAstropy", ("instrument",))
    test_butler.put(Table({"model": [rule.to_json()]}), "cr_consensus_model", instrument="TestCam", run=run)
    for name, mask in masks.items():
        register_dataset_type(test_butler, f"cr_mask_{name}", "MaskV2")
        test_butler.put(mask, f"cr_mask_{name}", DATA_ID, detector=0, run=run)
    config = combine_config()
    config.rule.name = "learned"
    graph = PipelineGraph()
    graph.add_task("combine", CombineCosmicRaysTask, config)
    butler = execute(test_butler, graph, run, "u/learned")
    mask = butler.get("cr_mask_consensus_science", DATA_ID, detector=0)
    np.testing.assert_array_equal(read_mask(mask), truth)


def test_missing_mask_lowers_the_votes() -> None:
    masks = random_masks()
    task = CombineCosmicRaysTask(config=combine_config())
    every = task.run(masks)
    np.testing.assert_array_equal(read_mask(every.mask), vote_by_pixel(arrays_of(masks), 2))
    del masks[DETECTIONS[2]]
    two = task.run(masks)
    np.testing.assert_array_equal(read_mask(two.mask), vote_by_pixel(arrays_of(masks), 2))
    assert two.summary["n_usable"][0] == 80 * 96


def test_probabilities_vote() -> None:
    masks = random_masks()
    probability = np.random.default_rng(3).random(SHAPE).astype(np.float32)
    config = combine_config(doReadProbability=True)
    config.rule.name = "weights"
    config.rule["weights"].useProbabilities = True
    result = CombineCosmicRaysTask(config=config).run(
        masks, probabilities={DETECTIONS[1]: Image(probability, bbox=BOX)}
    )
    arrays = arrays_of(masks)
    np.testing.assert_allclose(
        result.probability.array, (arrays[0] + probability + arrays[2]) / 3.0, rtol=1e-5, atol=1e-6
    )


def test_thresholds_of_probabilities_vote() -> None:
    """Without the mask of that detection; where the probability is missing,
    it does not vote.
    """
    masks = random_masks()
    del masks[DETECTIONS[2]]
    probability = np.random.default_rng(3).random(SHAPE).astype(np.float32)
    thresholds = (f"{DETECTIONS[2]}>=0.9", f"{DETECTIONS[2]}>=0.97")
    task = CombineCosmicRaysTask(config=combine_config(*DETECTIONS[:2], *thresholds))
    result = task.run(masks, probabilities={DETECTIONS[2]: Image(probability, bbox=BOX)})
    expected = vote_by_pixel([*arrays_of(masks), probability >= 0.9, probability >= 0.97], 2)
    np.testing.assert_array_equal(read_mask(result.mask), expected)
    without = task.run(masks)
    np.testing.assert_array_equal(read_mask(without.mask), vote_by_pixel(arrays_of(masks), 1))


def test_only_a_probability_is_there(test_butler: Butler) -> None:
    """Then there is a quantum, too."""
    run = "u/probabilities"
    test_butler.registry.registerRun(run)
    probability = np.random.default_rng(3).random(SHAPE).astype(np.float32)
    register_dataset_type(test_butler, "cr_probability_a_science", "ImageV2")
    image = Image(probability, bbox=BOX)
    test_butler.put(image, "cr_probability_a_science", DATA_ID, detector=1, run=run)
    for name in ("cr_mask_b_science", "cr_finder_summary_b_science"):
        register_dataset_type(test_butler, name, "MaskV2" if "mask" in name else "ArrowAstropy")
    graph = PipelineGraph()
    graph.add_task("combine", CombineCosmicRaysTask, combine_config("a_science>=0.9", "b_science"))
    butler = execute(test_butler, graph, run, "u/consensus")
    (ref,) = butler.query_datasets("cr_mask_consensus_science")
    assert ref.dataId["detector"] == 1
    np.testing.assert_array_equal(read_mask(butler.get(ref)), probability >= 0.9)


def test_finder_has_no_probabilities() -> None:
    config = find_config("consensus", "morphological")
    config.finders["consensus"].rule.name = "weights"
    config.finders["consensus"].rule["weights"].useProbabilities = True
    with pytest.raises(ValueError, match="Inside FindCosmicRaysTask, masks vote"):
        config.validate()


def test_masks_of_other_pixels() -> None:
    masks = random_masks()
    masks[DETECTIONS[1]] = make_cosmic_ray_mask(np.zeros(SHAPE, bool), Box.from_shape(SHAPE, start=(5, 0)))
    with pytest.raises(BoundsError, match="astroscrappy_science covers"):
        CombineCosmicRaysTask(config=combine_config()).run(masks)


@pytest.mark.parametrize(
    ("detections", "message"),
    [
        ([], "detections is empty"),
        (["a_science", "a_science"], "more than once: a_science"),
        (["a-b"], "'a-b' is no name of a detection"),
        (["a_science", "consensus_science"], "cannot vote for itself"),
        (["a_science", "consensus_science>=0.5"], "cannot vote for itself"),
        (["a_science>=2"], "more than 0 and at most 1"),
    ],
)
def test_bad_configurations(detections: list[str], message: str) -> None:
    config = CombineCosmicRaysConfig()
    config.detections = detections
    with pytest.raises(ValueError, match=message):
        config.validate()


def test_connections_follow_the_config() -> None:
    config = combine_config("a_science", "b_difference", variant="_both", doReadProbability=True)
    thresholds = combine_config("a_science", "b_difference>=0.1", "b_difference>=0.5")
    other = PipelineGraph()
    other.add_task("combine", CombineCosmicRaysTask, thresholds)
    assert {edge.dataset_type_name for edge in other.tasks["combine"].inputs.values()} == {
        "cr_mask_a_science",
        "cr_finder_summary_a_science",
        "cr_probability_b_difference",
        "cr_finder_summary_b_difference",
    }
    graph = PipelineGraph()
    graph.add_task("combine", CombineCosmicRaysTask, config)
    node = graph.tasks["combine"]
    assert {edge.dataset_type_name for edge in node.inputs.values()} == {
        f"cr_{what}_{name}"
        for what in ("mask", "finder_summary", "probability")
        for name in ("a_science", "b_difference")
    }
    assert {edge.dataset_type_name for edge in node.outputs.values()} == {
        "cr_mask_consensus_science_both",
        "cr_finder_summary_consensus_science_both",
    }
