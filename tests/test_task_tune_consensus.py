# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judging masks by brute force, and TuneConsensusTask in a repository."""

from __future__ import annotations

import dataclasses
import math

import astropy.units as u
import numpy as np
import pytest
from conftest import VISIT

from lsst.daf.butler import Butler
from lsst.images import Box, Image
from lsst.meas.cosmicrays.comparison import (
    JUDGED_COUNTS,
    LearnedConsensus,
    PatternCounts,
    dilate,
    fit_learned_consensus,
    judge_mask,
    judgement_rates,
)
from lsst.meas.cosmicrays.images import make_cosmic_ray_mask, read_mask
from lsst.meas.cosmicrays.repository import register_dataset_type, register_visit, sky_region
from lsst.meas.cosmicrays.tasks import (
    CombineCosmicRaysConfig,
    CombineCosmicRaysTask,
    TuneConsensusConfig,
    TuneConsensusTask,
)
from lsst.pipe.base import PipelineGraph
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

SHAPE = (80, 96)
BOX = Box.from_shape(SHAPE)
RUN = "TestCam/ingested"
NAMES = ("a_science", "b_science", "c_difference")
VISITS = (42, 43, 44)


def draw(seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw truth, and masks that have different errors."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(SHAPE, bool)
    for y, x in zip(rng.integers(2, 78, 25), rng.integers(2, 90, 25), strict=True):
        truth[y : y + 2, x : x + 4] = True
    masks = {
        name: (truth & (rng.random(SHAPE) < completeness)) | (rng.random(SHAPE) < noise)
        for name, completeness, noise in zip(NAMES, (0.8, 0.7, 0.6), (0.02, 0.01, 0.005), strict=True)
    }
    return truth, masks


def put(butler: Butler, name: str, storage_class: str, dataset: object, visit: int) -> None:
    register_dataset_type(butler, name, storage_class)
    butler.put(dataset, name, instrument="TestCam", visit=visit, detector=0, run=RUN)


def fill(butler: Butler, *, truth: str) -> Butler:
    image = butler.get("visit_image", instrument="TestCam", visit=42, detector=0, collections=[RUN])
    for visit in VISITS:
        if visit != 42:
            description = dataclasses.replace(VISIT, id=visit, begin=VISIT.begin + (visit - 42) * u.hour)
            register_visit(butler, "TestCam", description, {0: sky_region(image.sky_projection, image.bbox)})
            put(butler, "visit_image", "VisitImage", image, visit)
        true_pixels, masks = draw(visit)
        for name, mask in masks.items():
            put(butler, f"cr_mask_{name}", "MaskV2", make_cosmic_ray_mask(mask, BOX), visit)
        if truth == "mask":
            put(butler, "cr_truth", "MaskV2", make_cosmic_ray_mask(true_pixels, BOX), visit)
        else:
            charge = np.where(true_pixels, 1e4, 0.0).astype(np.float32)
            put(butler, "cr_truth_charge", "ImageV2", Image(charge, bbox=BOX), visit)
    return butler


def tune_config(truth: str = "mask", fit_visits: tuple[int, ...] = ()) -> TuneConsensusConfig:
    config = TuneConsensusConfig()
    config.detections = list(NAMES)
    config.truth = truth
    config.fitVisits = list(fit_visits)
    config.nBootstrap = 20
    return config


def execute(butler: Butler, graph: PipelineGraph) -> Butler:
    run_butler = SimplePipelineExecutor.prep_butler(butler._config, inputs=["TestCam/defaults"], output="u/t")
    SimplePipelineExecutor.from_pipeline_graph(graph, butler=run_butler).run(register_dataset_types=True)
    return Butler.from_config(butler._config, collections=["u/t"])


def test_counts_by_brute_force() -> None:
    rng = np.random.default_rng(5)
    truth, candidate = rng.random((20, 20)) < 0.15, rng.random((20, 20)) < 0.15
    usable = rng.random((20, 20)) < 0.9
    counts = dict(zip(JUDGED_COUNTS, judge_mask(candidate, truth, usable).tolist(), strict=True))
    expected = dict.fromkeys(JUDGED_COUNTS[:5], 0)
    for y, x in np.argwhere(usable):
        near = (slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2))
        expected["tp"] += int(candidate[y, x] and truth[y, x])
        expected["fn"] += int(truth[y, x] and not candidate[y, x])
        expected["fp"] += int(candidate[y, x] and not truth[y, x])
        expected["near_candidate"] += int(candidate[y, x] and truth[near].any())
        expected["near_reference"] += int(truth[y, x] and candidate[near].any())
    assert {name: counts[name] for name in expected} == expected
    for mask, other, n, n_matched in (
        (truth, candidate, "n_true_objects", "n_found_objects"),
        (candidate, truth, "n_objects", "n_pure_objects"),
    ):
        left, found, matched = (mask & usable).copy(), 0, 0
        while left.any():
            part = np.zeros_like(left)
            part[tuple(np.argwhere(left)[0])] = True
            while (grown := dilate(part) & left).sum() > part.sum():
                part = grown
            left &= ~part
            found += 1
            matched += int((part & other).any())
        assert (counts[n], counts[n_matched]) == (found, matched)


def test_rates_and_intervals() -> None:
    counts = np.array([[8, 2, 4, 10, 9, 5, 4, 6, 3]] * 9)
    counts[0, 0] = 2
    rates = judgement_rates(counts, n_replicates=200)
    assert rates["tp"] == 66
    assert rates["purity"] == 66 / (66 + 36)
    assert rates["completeness"] == 66 / (66 + 18)
    assert rates["f1"] == pytest.approx(2 * 66 / (2 * 66 + 36 + 18))
    assert rates["completeness_1px"] == 81 / (66 + 18)
    assert rates["object_completeness"] == 4 / 5
    assert rates["object_purity"] == 1 / 2
    assert rates["f1_lo"] < rates["f1"] < rates["f1_hi"]
    assert rates["object_purity_lo"] < 0.5 < rates["object_purity_hi"]
    few = judgement_rates(counts[:3])
    assert math.isnan(few["f1_lo"])
    assert not math.isnan(few["object_purity_lo"])
    nothing = judgement_rates(np.zeros((2, len(JUDGED_COUNTS)), dtype=np.int64))
    assert math.isnan(nothing["f1"])
    assert math.isnan(nothing["object_purity"])


@pytest.mark.parametrize("truth", ["mask", "charge"])
def test_fit_and_judge(test_butler: Butler, truth: str) -> None:
    graph = PipelineGraph()
    graph.add_task("tune", TuneConsensusTask, tune_config(truth))
    combine = CombineCosmicRaysConfig()
    combine.detections = list(NAMES)
    combine.rule.name = "learned"
    graph.add_task("combine", CombineCosmicRaysTask, combine)
    butler = execute(fill(test_butler, truth=truth), graph)
    (model,) = butler.get("cr_consensus_model", instrument="TestCam")
    assert (model["fit_visits"], model["n_detectors"]) == ("42,44", 2)
    judgement = butler.get("cr_consensus_judgement", instrument="TestCam")
    rows = {(row["visits"], row["mask"]): row for row in judgement}
    assert len(rows) == 2 * (1 + 3 + 3)
    true_pixels, masks = draw(43)
    counts = judge_mask(masks["a_science"], true_pixels, np.ones(SHAPE, bool))
    row = rows["judge", "a_science"]
    assert [row[name] for name in JUDGED_COUNTS] == counts.tolist()
    learned, best_vote = (rows["judge", name]["f1"] for name in ("learned", "pixel_votes_2_of_3"))
    assert learned > best_vote > max(rows["judge", name]["f1"] for name in NAMES)
    voted = butler.get("cr_mask_consensus_science", instrument="TestCam", visit=43, detector=0)
    assert (
        judge_mask(read_mask(voted), true_pixels, np.ones(SHAPE, bool))[0] == rows["judge", "learned"]["tp"]
    )


def test_table_of_probabilities(test_butler: Butler) -> None:
    """A stored probability votes at two thresholds, in a learned table."""
    butler = fill(test_butler, truth="mask")
    voters = ["a_science", "b_science", "c_difference>=0.3", "c_difference>=0.7"]
    probabilities = {}
    for visit in VISITS:
        true_pixels, _ = draw(visit)
        noise = np.random.default_rng(visit).random(SHAPE)
        probabilities[visit] = np.where(true_pixels, 0.25 + 0.75 * noise, 0.32 * noise).astype(np.float32)
        image = Image(probabilities[visit], bbox=BOX)
        put(butler, "cr_probability_c_difference", "ImageV2", image, visit)
    tune, combine = tune_config(), CombineCosmicRaysConfig()
    tune.detections, tune.model = voters, "table"
    combine.detections = voters
    combine.rule.name = "learned"
    graph = PipelineGraph()
    graph.add_task("tune", TuneConsensusTask, tune)
    graph.add_task("combine", CombineCosmicRaysTask, combine)
    results = execute(butler, graph)
    (model,) = results.get("cr_consensus_model", instrument="TestCam")
    assert (model["kind"], model["members"]) == ("table", ",".join(voters))
    judgement = results.get("cr_consensus_judgement", instrument="TestCam")
    rows = {row["mask"]: row for row in judgement if row["visits"] == "judge"}
    true_pixels, masks = draw(43)
    counts = judge_mask(probabilities[43] >= 0.7, true_pixels, np.ones(SHAPE, bool))
    assert [rows["c_difference>=0.7"][name] for name in JUDGED_COUNTS] == counts.tolist()
    assert rows["learned"]["f1"] > max(rows[name]["f1"] for name in voters)
    voted = read_mask(results.get("cr_mask_consensus_science", instrument="TestCam", visit=43, detector=0))
    counted = PatternCounts.add(
        PatternCounts.count(_votes(draw(visit)[1], probabilities[visit]), draw(visit)[0])
        for visit in (42, 44)
    )
    rule = fit_learned_consensus(voters, counted, "table")
    expected = rule.probability(dict(zip(voters, _votes(masks, probabilities[43]), strict=True)))
    core = LearnedConsensus.from_json(str(model["model"])).core_threshold
    np.testing.assert_array_equal(voted, dataclasses.replace(rule, core_threshold=core).decide(expected))


def _votes(masks: dict[str, np.ndarray], probability: np.ndarray) -> list[np.ndarray]:
    return [masks["a_science"], masks["b_science"], probability >= 0.3, probability >= 0.7]


def test_detectors_without_everything_are_left_out(test_butler: Butler) -> None:
    butler = fill(test_butler, truth="mask")
    (ref,) = butler.query_datasets(
        "cr_mask_b_science", collections=[RUN], where="instrument = 'TestCam' and visit = 44"
    )
    butler.pruneDatasets([ref], unstore=True, purge=True, disassociate=True)
    graph = PipelineGraph()
    graph.add_task("tune", TuneConsensusTask, tune_config(fit_visits=(43, 44)))
    results = execute(butler, graph)
    (model,) = results.get("cr_consensus_model", instrument="TestCam")
    assert (model["fit_visits"], model["n_detectors"]) == ("43", 1)


@pytest.mark.parametrize(("visits", "what"), [((42, 43), "judge"), ((7,), "fit")])
def test_visits_must_be_split(visits: tuple[int, ...], what: str) -> None:
    task = TuneConsensusTask(config=tune_config(fit_visits=visits))
    with pytest.raises(ValueError, match=f"leaves nothing to {what}"):
        task.run([(42, lambda: None), (43, lambda: None)])  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("detections", [[], ["a_science", "a_science"]])
def test_bad_configurations(detections: list[str]) -> None:
    config = TuneConsensusConfig()
    config.detections = detections
    with pytest.raises(ValueError, match="detections must be given, and differ"):
        config.validate()
