# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every rule of a consensus against a brute-force computation."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.meas.cosmicrays.comparison import (
    LearnedConsensus,
    ModelFormatError,
    NoMasksError,
    PatternCounts,
    Voter,
    VoterNameError,
    fit_learned_consensus,
    vote_by_cosmic_ray,
    vote_by_pixel,
    vote_by_weight,
    votes_needed,
    votes_of,
)
from lsst.meas.cosmicrays.finders import (
    ConsensusConfigError,
    ConsensusRule,
    CosmicRayFinderError,
    consensusRuleRegistry,
)

SHAPE = (12, 14)
NAMES = ("a_science", "b_science", "c_difference")


def random_masks(seed: int, n: int, density: float = 0.25) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    seeds = rng.random(SHAPE) < density
    return [(seeds & (rng.random(SHAPE) < 0.6)) | (rng.random(SHAPE) < 0.03) for _ in range(n)]


def neighbours(y: int, x: int) -> list[tuple[int, int]]:
    return [
        (y + dy, x + dx)
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
        if (dy or dx) and 0 <= y + dy < SHAPE[0] and 0 <= x + dx < SHAPE[1]
    ]


def brute_components(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    components = []
    while left:
        found, edge = set(), [left.pop()]
        while edge:
            pixel = edge.pop()
            found.add(pixel)
            edge += [near for near in neighbours(*pixel) if near in left]
            left -= set(edge)
        components.append(found)
    return components


def brute_patterns(masks: list[np.ndarray], y: int, x: int) -> tuple[int, ...]:
    own = [int(mask[y, x]) for mask in masks]
    near = [sum(int(mask[pixel]) for pixel in neighbours(y, x)) for mask in masks]
    return (*own, *near)


def make_rule(name: str, **values: Any) -> ConsensusRule:
    rule_class = consensusRuleRegistry[name]
    config = rule_class.ConfigClass()
    config.update(**values)
    return rule_class(config)


def fitted(
    n: int, seed: int = 3, kind: str = "logistic"
) -> tuple[LearnedConsensus, list[np.ndarray], np.ndarray]:
    masks = random_masks(seed, n)
    truth = np.sum(masks, axis=0) * 2 > n
    return fit_learned_consensus(NAMES[:n], PatternCounts.count(masks, truth), kind), masks, truth


def brute_cells(pattern: tuple[int, ...]) -> list[object]:
    """Return the cell of a pattern in each table, from coarse to fine."""
    n = len(pattern) // 2
    flags, near = pattern[:n], pattern[n:]
    extents = tuple("none" if count == 0 else "few" if count < 3 else "many" for count in near)
    return [(), sum(flags), flags, (flags, sum(count > 0 for count in near)), (flags, extents)]


def brute_table(masks: list[np.ndarray], truth: np.ndarray, pattern: tuple[int, ...]) -> float:
    """Return the share of true pixels in the cells around a pattern."""
    seen = [
        (brute_cells(other), bool(truth[y, x]))
        for y, x in np.ndindex(SHAPE)
        if any(other := brute_patterns(masks, y, x))
    ]
    estimate = sum(true for _, true in seen) / len(seen)
    for level, cell in enumerate(brute_cells(pattern)):
        inside = [true for cells, true in seen if cells[level] == cell]
        estimate = (sum(inside) + 16.0 * estimate) / (len(inside) + 16.0)
    return estimate


@given(seed=st.integers(0, 10**6), n=st.integers(1, 5), k=st.integers(1, 5))
@settings(deadline=None, max_examples=40)
def test_votes_by_pixel(seed: int, n: int, k: int) -> None:
    masks = random_masks(seed, n)
    consensus = vote_by_pixel(masks, k)
    for y, x in np.ndindex(SHAPE):
        assert consensus[y, x] == (sum(bool(mask[y, x]) for mask in masks) >= k)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 4), k=st.integers(1, 4), m=st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_votes_by_cosmic_ray(seed: int, n: int, k: int, m: int) -> None:
    masks = random_masks(seed, n)
    expected = np.zeros(SHAPE, dtype=bool)
    for component in brute_components(np.any(masks, axis=0)):
        if sum(any(mask[pixel] for pixel in component) for mask in masks) >= k:
            for pixel in component:
                expected[pixel] = sum(bool(mask[pixel]) for mask in masks) >= m
    np.testing.assert_array_equal(vote_by_cosmic_ray(masks, k, m), expected)


@given(seed=st.integers(0, 10**6), weights=st.lists(st.floats(0.0, 10.0), min_size=1, max_size=4))
@settings(deadline=None, max_examples=40)
def test_votes_by_weight(seed: int, weights: list[float]) -> None:
    masks = random_masks(seed, len(weights))
    if sum(weights) == 0.0:
        with pytest.raises(NoMasksError, match="weight 0"):
            vote_by_weight(masks, weights)
        return
    share = vote_by_weight(masks, weights)
    for y, x in np.ndindex(SHAPE):
        votes = math.fsum(weight for mask, weight in zip(masks, weights, strict=True) if mask[y, x])
        assert share[y, x] == pytest.approx(votes / math.fsum(weights), abs=1e-6)


def test_probabilities_vote_by_weight() -> None:
    mask = np.array([[True, False]])
    probability = np.array([[0.2, 0.8]], dtype=np.float32)
    np.testing.assert_allclose(vote_by_weight([mask, probability], [1.0, 3.0]), [[0.4, 0.6]], rtol=1e-6)


@pytest.mark.parametrize(
    ("k", "n", "there", "needed"),
    [(2, 3, 3, 2), (2, 3, 2, 2), (2, 3, 1, 1), (1, 3, 2, 1), (3, 3, 2, 2), (3, 5, 4, 3), (2, 5, 3, 2)],
)
def test_missing_masks_lower_the_votes(k: int, n: int, there: int, needed: int) -> None:
    assert votes_needed(k, n, there) == needed
    assert needed == math.ceil(k / n * there - 1e-12)


def test_impossible_votes() -> None:
    with pytest.raises(NoMasksError, match="None of the 3 masks"):
        votes_needed(2, 3, 0)
    for k in (0, 4):
        with pytest.raises(ValueError, match="choose 1 to 3"):
            votes_needed(k, 3, 3)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 4))
@settings(deadline=None, max_examples=20)
def test_patterns(seed: int, n: int) -> None:
    masks = random_masks(seed, n, density=0.1)
    rng = np.random.default_rng(seed)
    truth, usable = rng.random(SHAPE) < 0.2, rng.random(SHAPE) < 0.8
    expected: dict[tuple[int, ...], list[int]] = {}
    n_missed = 0
    for y, x in np.ndindex(SHAPE):
        if not usable[y, x]:
            continue
        pattern = brute_patterns(masks, y, x)
        if any(pattern):
            numbers = expected.setdefault(pattern, [0, 0])
            numbers[0] += 1
            numbers[1] += int(truth[y, x])
        else:
            n_missed += int(truth[y, x])
    counts = PatternCounts.count(masks, truth, usable)
    found = {
        tuple(pattern): [total, true]
        for pattern, total, true in zip(
            counts.patterns.tolist(), counts.n.tolist(), counts.n_true.tolist(), strict=True
        )
    }
    assert found == expected
    assert counts.n_missed == n_missed


def test_patterns_of_some_finders_and_many_detectors() -> None:
    first, second = random_masks(1, 3), random_masks(2, 3)
    truth = [random_masks(seed, 1)[0] for seed in (5, 6)]
    total = PatternCounts.add([PatternCounts.count(first, truth[0]), PatternCounts.count(second, truth[1])])
    alone = PatternCounts.add(
        [PatternCounts.count(first[::2], truth[0]), PatternCounts.count(second[::2], truth[1])]
    )
    selected = total.select([0, 2])
    for field in dataclasses.fields(PatternCounts):
        np.testing.assert_array_equal(getattr(selected, field.name), getattr(alone, field.name))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_learned_rule(n: int) -> None:
    """The probability of every pixel is the logistic model, term by term."""
    rule, masks, _ = fitted(n)
    for missing in range(-1, n):
        there = [number for number in range(n) if number != missing]
        if not there:
            continue
        probability = rule.probability({NAMES[number]: masks[number] for number in there})
        coefficients = rule.models[tuple(there)].coefficients  # type: ignore[attr-defined]
        for y, x in np.ndindex(SHAPE):
            pattern = brute_patterns([masks[number] for number in there], y, x)
            if not any(pattern):
                assert probability[y, x] == 0.0
                continue
            values = [float(value) for value in pattern[: len(there)]]
            values += [value / 8.0 for value in pattern[len(there) :]]
            products = [
                values[i] * values[j]
                for i in range(len(values))
                for j in range(i, len(values))
                if i != j or i >= len(there)
            ]
            logit = float(np.dot([1.0, *values, *products], coefficients))
            assert probability[y, x] == pytest.approx(1.0 / (1.0 + math.exp(-logit)), rel=1e-4, abs=1e-6)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 3))
@settings(deadline=None, max_examples=5)
def test_learned_table(seed: int, n: int) -> None:
    """The probability of every pixel is that of its cell, also of patterns
    that the fit did not see.
    """
    rule, fitted_masks, truth = fitted(n, kind="table")
    masks = random_masks(seed, n, density=0.5)
    probability = rule.probability(dict(zip(NAMES, masks, strict=False)))
    known: dict[tuple[int, ...], float] = {}
    for y, x in np.ndindex(SHAPE):
        pattern = brute_patterns(masks, y, x)
        if not any(pattern):
            assert probability[y, x] == 0.0
            continue
        if pattern not in known:
            known[pattern] = brute_table(fitted_masks, truth, pattern)
        assert probability[y, x] == pytest.approx(known[pattern], rel=1e-6)


def test_learned_table_with_a_missing_mask() -> None:
    _, masks, truth = fitted(3)
    every = fit_learned_consensus(NAMES, PatternCounts.count(masks, truth), "table")
    two = fit_learned_consensus(NAMES[::2], PatternCounts.count(masks[::2], truth), "table")
    there = {NAMES[0]: masks[0], NAMES[2]: masks[2]}
    np.testing.assert_array_equal(every.probability(there), two.probability(there))


def test_table_of_a_finder_that_finds_nothing() -> None:
    masks = [random_masks(3, 1)[0], np.zeros(SHAPE, bool)]
    rule = fit_learned_consensus(NAMES[:2], PatternCounts.count(masks, masks[0]), "table")
    again = LearnedConsensus.from_json(rule.to_json())
    alone = again.probability({NAMES[1]: masks[0]})
    assert not alone.any()
    np.testing.assert_array_equal(
        again.decide(again.probability(dict(zip(NAMES, masks, strict=False)))), masks[0]
    )


@pytest.mark.parametrize("kind", ["logistic", "table"])
def test_learned_rule_learns(kind: str) -> None:
    rule, masks, truth = fitted(3, kind=kind)
    given_masks = dict(zip(NAMES, masks, strict=True))
    mask = rule.decide(rule.probability(given_masks))
    np.testing.assert_array_equal(mask, truth)


def test_fit_is_the_likeliest() -> None:
    """No small change of a coefficient makes the data likelier."""
    counts = PatternCounts.count(random_masks(8, 2), random_masks(9, 1)[0])
    rule = fit_learned_consensus(NAMES[:2], counts)
    best = rule.models[(0, 1)].coefficients  # type: ignore[attr-defined]
    patterns = counts.patterns.astype(float)
    patterns[:, 2:] /= 8.0
    columns = [np.ones(len(patterns)), *patterns.T]
    columns += [patterns[:, i] * patterns[:, j] for i in range(4) for j in range(i, 4) if i != j or i >= 2]
    features = np.stack(columns, axis=1)

    def penalised(values: np.ndarray) -> float:
        logit = features @ values
        likelihood = counts.n_true @ logit - counts.n @ np.logaddexp(0.0, logit)
        return float(likelihood) - 0.5e-3 * float(values @ values)

    for number in range(best.size):
        for step in (-0.01, 0.01):
            moved = best.copy()
            moved[number] += step
            assert penalised(moved) < penalised(best)


def test_core_threshold() -> None:
    """Faint components go, faint pixels of bright ones stay."""
    rule = dataclasses.replace(fitted(1)[0], threshold=0.3, core_threshold=0.8)
    probability = np.zeros(SHAPE, dtype=np.float32)
    probability[2, 2:5] = 0.4, 0.9, 0.2
    probability[8, 2:5] = 0.4, 0.7, 0.4
    assert np.argwhere(rule.decide(probability)).tolist() == [[2, 2], [2, 3]]
    assert np.count_nonzero(rule.decide(probability, 0.4)) == 5


@pytest.mark.parametrize("kind", ["logistic", "table"])
def test_learned_rule_as_text(tmp_path: Path, kind: str) -> None:
    rule, masks, _ = fitted(3, kind=kind)
    again = LearnedConsensus.from_json(rule.to_json())
    given_masks = dict(zip(NAMES, masks, strict=True))
    np.testing.assert_array_equal(again.probability(given_masks), rule.probability(given_masks))
    assert (again.members, again.threshold) == (rule.members, rule.threshold)
    (tmp_path / "rule.json").write_text(rule.to_json())
    from_file = make_rule("learned", modelFile=str(tmp_path / "rule.json"))
    np.testing.assert_array_equal(
        from_file.combine(given_masks).mask, rule.decide(rule.probability(given_masks))
    )


def test_damaged_texts() -> None:
    text = fitted(2)[0].to_json()
    content = json.loads(text)
    for damaged in (text[:100], "{}", "[1]", "{" + text, json.dumps({**content, "format": "other"})):
        with pytest.raises(ModelFormatError):
            LearnedConsensus.from_json(damaged)
    content["models"][0]["values"] = [1.0]
    with pytest.raises(ModelFormatError, match="damaged for a_science: 5 finite"):
        LearnedConsensus.from_json(json.dumps(content))


@pytest.mark.parametrize(
    "damage",
    [
        lambda tables: tables[:-1],
        lambda tables: [*tables[:-1], [[2, 1], [0.5, 0.5]]],
        lambda tables: [*tables[:-1], [[1, 2], [0.5]]],
        lambda tables: [*tables[:-1], [[1, 2], [0.5, 1.5]]],
        lambda tables: [*tables[:-1], [["one"], [0.5]]],
        lambda tables: [*tables[:-1], 5],
        lambda tables: 5,
    ],
)
def test_damaged_tables(damage: Any) -> None:
    content = json.loads(fitted(2, kind="table")[0].to_json())
    content["models"][1]["values"] = damage(content["models"][1]["values"])
    with pytest.raises(ModelFormatError):
        LearnedConsensus.from_json(json.dumps(content))


def test_nothing_to_learn_from() -> None:
    masks = random_masks(1, 2)
    counts = PatternCounts.count(masks, np.zeros(SHAPE, bool))
    with pytest.raises(ValueError, match="nothing to learn"):
        fit_learned_consensus(NAMES[:2], counts)
    with pytest.raises(ValueError, match="patterns are of 2 masks"):
        fit_learned_consensus(NAMES, counts)
    with pytest.raises(ValueError, match="takes 1 to 8"):
        fit_learned_consensus([str(number) for number in range(9)], counts)


def test_rules_by_name() -> None:
    masks = dict(zip(NAMES, random_masks(4, 3), strict=True))
    arrays = list(masks.values())
    np.testing.assert_array_equal(make_rule("pixel_votes").combine(masks).mask, vote_by_pixel(arrays, 2))
    np.testing.assert_array_equal(
        make_rule("cosmic_ray_votes", atLeast=3, pixelsAtLeast=2).combine(masks).mask,
        vote_by_cosmic_ray(arrays, 3, 2),
    )
    weighted = make_rule("weights", weights={NAMES[0]: 3.0, NAMES[1]: 1.0}, threshold=0.6).combine(masks)
    np.testing.assert_array_equal(weighted.mask, arrays[0])
    assert weighted.probability is not None
    assert set(np.unique(weighted.probability)) <= {np.float32(value / 5) for value in range(6)}
    equal = make_rule("weights", threshold=1.0 / 3.0).combine(masks)
    np.testing.assert_array_equal(equal.mask, vote_by_pixel(arrays, 1))


def test_rules_with_a_missing_mask() -> None:
    masks: dict[str, np.ndarray | None] = dict(zip(NAMES, random_masks(4, 3), strict=True))
    first, second = masks[NAMES[0]], masks[NAMES[1]]
    assert first is not None
    assert second is not None
    masks[NAMES[2]] = None
    np.testing.assert_array_equal(make_rule("pixel_votes").combine(masks).mask, first & second)
    np.testing.assert_array_equal(
        make_rule("cosmic_ray_votes").combine(masks).mask, vote_by_cosmic_ray([first, second], 2, 1)
    )
    weighted = make_rule("weights", weights={NAMES[0]: 3.0}, threshold=0.7).combine(masks)
    np.testing.assert_array_equal(weighted.mask, first)


def test_probability_in_place_of_a_mask() -> None:
    masks = dict(zip(NAMES, random_masks(4, 3), strict=True))
    probability = np.random.default_rng(1).random(SHAPE).astype(np.float32)
    rule = make_rule("weights", useProbabilities=True)
    share = rule.combine(masks, {NAMES[1]: probability}).probability
    np.testing.assert_allclose(
        share, (masks[NAMES[0]] + probability + masks[NAMES[2]]) / 3.0, rtol=1e-5, atol=1e-6
    )


def test_voters() -> None:
    mask, probability = np.array([[True, False, True]]), np.array([[0.1, 0.7, np.nan]], dtype=np.float32)
    names = ("a_science", "b_science>=0.1", "b_science>=0.5", "b_science", "c_science>=0.5")
    votes = votes_of(names, {"a_science": mask}, {"a_science": probability, "b_science": probability})
    assert {name: None if vote is None else vote.tolist() for name, vote in votes.items()} == {
        "a_science": [[True, False, True]],
        "b_science>=0.1": [[True, True, False]],
        "b_science>=0.5": [[False, True, False]],
        "b_science": None,
        "c_science>=0.5": None,
    }
    assert Voter.parse("b_science>=.25") == Voter("b_science>=.25", "b_science", 0.25)
    for name in ("", "a-b", "a>0.5", "a>=", "a>=x", ">=0.5", "a>=0.5 "):
        with pytest.raises(VoterNameError, match="no name of a detection"):
            Voter.parse(name)
    for name in ("a>=0", "a>=1.5"):
        with pytest.raises(VoterNameError, match="more than 0 and at most 1"):
            Voter.parse(name)


@pytest.mark.parametrize("name", ["pixel_votes", "cosmic_ray_votes", "weights"])
def test_rules_without_any_mask(name: str) -> None:
    with pytest.raises(CosmicRayFinderError, match="nothing can vote"):
        make_rule(name).combine(dict.fromkeys(NAMES))


def test_rules_that_do_not_fit() -> None:
    masks = dict(zip(NAMES, random_masks(4, 3), strict=True))
    with pytest.raises(ConsensusConfigError, match="atLeast is 4, but only 3"):
        make_rule("pixel_votes", atLeast=4).combine(masks)
    with pytest.raises(ConsensusConfigError, match="given for other_science"):
        make_rule("weights", weights={"other_science": 2.0}).combine(masks)
    learned = make_rule("learned")
    with pytest.raises(ConsensusConfigError, match="has no model"):
        learned.combine(masks)
    learned.model = fitted(2)[0]  # type: ignore[attr-defined]
    with pytest.raises(ConsensusConfigError, match="fitted to a_science, b_science, but"):
        learned.combine(masks)


def test_masks_of_different_shapes() -> None:
    with pytest.raises(ValueError, match="one shape"):
        vote_by_pixel([np.zeros((3, 4), bool), np.zeros((4, 3), bool)], 1)
    with pytest.raises(ValueError, match="2 weights, but 1 masks"):
        vote_by_weight([np.zeros((3, 4), bool)], [1.0, 2.0])
    with pytest.raises(ValueError, match="not negative"):
        vote_by_weight([np.zeros((3, 4), bool)], [-1.0])
