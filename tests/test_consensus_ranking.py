# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ranking of votes against masks that are really made."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from astropy.table import Table, vstack

from lsst.daf.butler import Butler
from lsst.images import Box
from lsst.meas.cosmicrays.comparison import (
    ComparedMasks,
    Confusion,
    MaskBit,
    Role,
    VoteTables,
    add_counts,
    cluster_counts,
    detection_bits,
    dilate,
    make_object_table,
    rank_steps,
    rank_votes,
    truth_bits,
    vote_by_pixel,
)
from lsst.meas.cosmicrays.images import make_cosmic_ray_mask
from lsst.meas.cosmicrays.repository import register_dataset_type
from lsst.meas.cosmicrays.tasks import (
    CompareCosmicRaysConfig,
    CompareCosmicRaysTask,
    GatherComparisonConfig,
    GatherComparisonTask,
    RankConsensusConfig,
    RankConsensusTask,
)
from lsst.pipe.base import PipelineGraph
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

SHAPE = (20, 20)
NAMES = ("a_science", "b_science", "c_difference")
BITS = (*detection_bits(NAMES), *truth_bits([2.0, 5.0]), MaskBit("detected", Role.PLANE))
WALL_TIMES = {"a_science": 1.0, "b_science": 2.0, "c_difference": 4.0}


def make_masks(seed: int, *, missing: int | None = None, shape: tuple[int, int] = SHAPE) -> ComparedMasks:
    """Masks that agree with truth more or less well."""
    rng = np.random.default_rng(seed)
    truth = dilate(rng.random(shape) < 0.02)
    found: list[np.ndarray | None] = [
        (truth & (rng.random(shape) < completeness)) | (rng.random(shape) < noise)
        for completeness, noise in ((0.9, 0.03), (0.8, 0.02), (0.7, 0.01))
    ]
    if missing is not None:
        found[missing] = None
    masks = (*found, truth, truth & (rng.random(shape) < 0.5), rng.random(shape) < 0.3)
    return ComparedMasks(BITS, masks, rng.random(shape) < 0.95)


def make_tables(detectors: list[ComparedMasks], *, visits: bool = False) -> VoteTables:
    clusters = []
    for number, masks in enumerate(detectors):
        table = cluster_counts(masks)
        table["visit"], table["detector"] = 1, number
        clusters.append(table)
    objects = [make_object_table(masks, np.zeros(masks.usable.shape), reference=3) for masks in detectors]
    stamps = Table({"available": [0b111111] * 4, "code": [0b001011, 0b001000, 0b000011, 0b001111]})
    return VoteTables(
        counts=add_counts(masks.count() for masks in detectors),
        counts_dilated=add_counts(masks.count_dilated() for masks in detectors),
        stamps=stamps,
        objects=vstack(objects),
        visits=[masks.count() for masks in detectors] if visits else (),
        clusters=vstack(clusters),
    )


def rank(detectors: list[ComparedMasks], **values: object) -> Table:
    return rank_votes(BITS, make_tables(detectors), WALL_TIMES, n_replicates=50, **values)  # type: ignore[arg-type]


def brute_counts(
    detectors: list[ComparedMasks], members: list[str], at_least: int
) -> tuple[Confusion, dict[str, float], float]:
    sums = dict.fromkeys(("tp", "fn", "fp", "tn"), 0)
    near = dict.fromkeys(("candidate", "in_reference", "reference", "in_candidate"), 0)
    critical = 0
    for masks in detectors:
        arrays = [masks.masks[NAMES.index(name)] for name in members]
        truth, detected = masks.masks[3], masks.masks[5]
        assert truth is not None
        assert detected is not None
        voted = vote_by_pixel([array for array in arrays if array is not None], at_least)
        near_truth, near_voted = dilate(truth), dilate(voted)
        for y, x in np.argwhere(masks.usable):
            kind = {(1, 1): "tp", (1, 0): "fn", (0, 1): "fp", (0, 0): "tn"}[
                (int(truth[y, x]), int(voted[y, x]))
            ]
            sums[kind] += 1
            critical += int(kind == "fn" and detected[y, x])
            near["candidate"] += int(voted[y, x])
            near["in_reference"] += int(voted[y, x] and near_truth[y, x])
            near["reference"] += int(truth[y, x])
            near["in_candidate"] += int(truth[y, x] and near_voted[y, x])
    tolerant = {
        "purity": near["in_reference"] / near["candidate"] if near["candidate"] else math.nan,
        "completeness": near["in_candidate"] / near["reference"],
    }
    return Confusion(**sums), tolerant, sums["tp"] / (sums["tp"] + critical)


def test_every_vote_against_brute_force() -> None:
    detectors = [make_masks(1), make_masks(2)]
    ranking = rank(detectors)
    assert len(ranking) == 3 * 1 + 3 * 2 + 3
    for row in ranking:
        members = row["members"].split(",")
        exact, tolerant, adjusted = brute_counts(detectors, members, row["at_least"])
        assert (row["tp"], row["fn"], row["fp"]) == (exact.tp, exact.fn, exact.fp)
        for name in ("purity", "completeness", "f1"):
            assert row[name] == pytest.approx(getattr(exact, name))
        assert row["adjusted_completeness"] == pytest.approx(adjusted)
        assert row["purity_1px"] == pytest.approx(tolerant["purity"])
        assert row["completeness_1px_min"] <= tolerant["completeness"] + 1e-12
        assert row["completeness_1px_max"] >= tolerant["completeness"] - 1e-12
        if row["at_least"] == 1:
            assert row["completeness_1px_min"] == row["completeness_1px_max"]
        assert row["f1_lo"] <= row["f1"] <= row["f1_hi"]
        assert row["f1_hi"] - row["f1_lo"] > 0.01
    assert (np.diff(ranking["f1"]) <= 0).all()


def test_stamps_and_cosmic_rays() -> None:
    detectors = [make_masks(1), make_masks(2)]
    ranking = rank(detectors)
    objects = make_tables(detectors).objects
    (row,) = ranking[(ranking["members"] == "a_science,b_science") & (ranking["at_least"] == 2)]
    assert (row["stamp_purity"], row["stamp_completeness"]) == (2 / 3, 2 / 3)
    assert 0.0 < row["stamp_f1_lo"] < row["stamp_f1"] < row["stamp_f1_hi"] < 1.0
    both = (objects["found_a_science"] == 1) & (objects["found_b_science"] == 1)
    is_true = objects["found_truth"] == 1
    assert row["object_purity"] == pytest.approx(np.sum(both & is_true) / np.sum(both))
    assert row["object_completeness"] == pytest.approx(np.sum(both & is_true) / np.sum(is_true))


def test_all_are_judged_on_the_same_detectors() -> None:
    complete = make_masks(1)
    with_gap = rank([complete, make_masks(2, missing=2)])
    alone = rank([complete])
    for name in ("members", "at_least", "tp", "fn", "fp", "f1_1px_max", "object_f1", "f1_lo", "f1_hi"):
        assert with_gap[name].tolist() == pytest.approx(alone[name].tolist()) or name == "members"
        assert with_gap["members"].tolist() == alone["members"].tolist()
    two = rank([complete, make_masks(2, missing=2)], detections=NAMES[:2])
    assert two["tp"][0] + two["fn"][0] > alone["tp"][0] + alone["fn"][0]
    assert len(two) == 4


def test_gains_and_costs() -> None:
    ranking = rank([make_masks(seed) for seed in range(4)])
    best = {}
    for row in ranking:
        best.setdefault(row["members"], row["f1"])
    for row in ranking:
        members = row["members"].split(",")
        assert row["wall_time"] == sum(WALL_TIMES[name] for name in members)
        if len(members) == 1:
            assert math.isnan(row["gain"])
            continue
        fewer = [best[",".join(part)] for part in itertools.combinations(members, len(members) - 1)]
        assert row["gain"] == pytest.approx(row["f1"] - max(fewer))
    for row in ranking:
        cheaper = ranking["f1"][ranking["wall_time"] <= row["wall_time"]]
        assert row["frontier"] == (row["f1"] >= cheaper.max())


def test_steps() -> None:
    ranking = rank([make_masks(seed) for seed in range(4)])
    steps = rank_steps(ranking)
    assert steps["step"].tolist() == [1, 2, 3]
    assert sorted(steps["added"]) == sorted(NAMES)
    singles = ranking[ranking["n_members"] == 1]
    assert steps["f1"][0] == max(singles["f1"])
    assert steps["wall_time"].tolist() == np.cumsum(steps["wall_time_added"]).tolist()
    np.testing.assert_allclose(np.diff(steps["f1"]), steps["gain"][1:])


def test_visits_are_resampled_where_there_are_many() -> None:
    detectors = [make_masks(seed) for seed in range(9)]
    by_cosmic_ray = rank(detectors)
    by_visit = rank_votes(BITS, make_tables(detectors, visits=True), WALL_TIMES, n_replicates=200)
    assert by_visit["f1"].tolist() == by_cosmic_ray["f1"].tolist()
    assert by_visit["f1_lo"].tolist() != by_cosmic_ray["f1_lo"].tolist()
    assert (by_visit["f1_lo"] < by_visit["f1"]).all()
    without = rank_votes(BITS, VoteTables(*[getattr(make_tables(detectors), name) for name in (
        "counts", "counts_dilated", "stamps", "objects")]), WALL_TIMES)  # fmt: skip
    assert np.isnan(without["f1_lo"]).all()


def test_what_cannot_be_ranked() -> None:
    masks = make_masks(1)
    tables = make_tables([masks])
    with pytest.raises(ValueError, match="no truth"):
        rank_votes(BITS[:3], tables, WALL_TIMES)
    with pytest.raises(ValueError, match="d_science was not compared; these were: a_science"):
        rank([masks], detections=["d_science"])
    with pytest.raises(ValueError, match="No detector has the truth"):
        rank([make_masks(1, missing=0)])
    many = [*detection_bits([f"f{i}_science" for i in range(11)]), *truth_bits([2.0])]
    with pytest.raises(ValueError, match="11 detections: at most 10"):
        rank_votes(many, tables, WALL_TIMES)


def test_task(test_butler: Butler) -> None:
    """From masks in a repository to the ranking, through every gathering."""
    shape = (80, 96)
    detectors = [make_masks(seed, shape=shape) for seed in (0, 1)]
    run = "TestCam/ingested"
    for number, masks in enumerate(detectors):
        for name, mask in zip(
            (*(f"cr_mask_{each}" for each in NAMES), "cr_truth"), masks.masks, strict=False
        ):
            assert mask is not None
            register_dataset_type(test_butler, name, "MaskV2")
            stored = make_cosmic_ray_mask(mask, Box.from_shape(shape))
            test_butler.put(stored, name, instrument="TestCam", visit=42, detector=number, run=run)
    compare = CompareCosmicRaysConfig()
    compare.detections = list(NAMES)
    compare.truth = "mask"
    compare.doDifference = False
    rank_config = RankConsensusConfig()
    rank_config.nBootstrap = 50
    graph = PipelineGraph()
    graph.add_task("compare", CompareCosmicRaysTask, compare)
    for level in ("visit", "instrument"):
        gather = GatherComparisonConfig()
        gather.level = level
        graph.add_task(f"gather_{level}", GatherComparisonTask, gather)
    graph.add_task("rank", RankConsensusTask, rank_config)
    run_butler = SimplePipelineExecutor.prep_butler(
        test_butler._config, inputs=["TestCam/defaults"], output="u/rank"
    )
    SimplePipelineExecutor.from_pipeline_graph(graph, butler=run_butler).run(register_dataset_types=True)
    butler = Butler.from_config(test_butler._config, collections=["u/rank"])
    ranking = butler.get("cr_consensus_ranking", instrument="TestCam")
    assert len(ranking) == 12
    truth = [masks.masks[3] for masks in detectors]
    for row in ranking:
        members = [NAMES.index(name) for name in row["members"].split(",")]
        voted = [vote_by_pixel([masks.masks[i] for i in members], row["at_least"]) for masks in detectors]
        assert row["tp"] == np.count_nonzero(np.array(voted) & np.array(truth))
        assert row["f1_lo"] < row["f1"] < row["f1_hi"]
    assert np.isnan(ranking["wall_time"]).all()
    steps = butler.get("cr_consensus_steps", instrument="TestCam")
    assert steps["members"][-1] == ",".join(NAMES)
