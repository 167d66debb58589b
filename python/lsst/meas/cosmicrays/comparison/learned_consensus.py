# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What several finders say of a pixel, and how probable that makes it.

A pattern is what the finders say of one pixel: which of them flag it, and
how many of its eight neighbours each of them flags. Patterns are counted
where truth is known; the counts add up over detectors and visits, and from
them a model follows that gives P(CR | pattern).
"""

from __future__ import annotations

__all__ = [
    "CORE_THRESHOLDS",
    "LearnedConsensus",
    "ModelFormatError",
    "PatternCounts",
    "fit_learned_consensus",
]

import dataclasses
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .components import find_components
from .consensus import NoMasksError
from .histogram import dilate

MAX_MEMBERS = 8
"""Most finders of a learned rule: every subset of them has a model."""

FORMAT = "lsst.meas.cosmicrays consensus 1"

CORE_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Least probabilities of the best pixel of a cosmic ray, to choose from."""

_N_NEIGHBOURS = 8
_RIDGE = 1e-3
_N_NEWTON = 50
_THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.05), 2)


class ModelFormatError(ValueError):
    """Raised when a text is not a learned rule."""


@dataclasses.dataclass(frozen=True)
class PatternCounts:
    """How often each pattern occurs, and how often it is a cosmic ray.

    Pixels that no finder flags, and no neighbour of which is flagged, have
    no pattern.
    """

    patterns: npt.NDArray[np.uint8]
    """One row a pattern, shape ``(n, 2 M)`` for M finders: first which
    finders flag the pixel (0 or 1), then how many of its neighbours each
    flags (0 to 8) (`numpy.ndarray`).
    """

    n: npt.NDArray[np.int64]
    """Number of pixels of each pattern (`numpy.ndarray`)."""

    n_true: npt.NDArray[np.int64]
    """Number of them that are true cosmic rays (`numpy.ndarray`)."""

    n_missed: int = 0
    """Number of true pixels without a pattern (`int`)."""

    @classmethod
    def count(
        cls,
        masks: Sequence[npt.NDArray[np.bool_]],
        truth: npt.NDArray[np.bool_],
        usable: npt.NDArray[np.bool_] | None = None,
    ) -> PatternCounts:
        """Count the patterns of one detector.

        Parameters
        ----------
        masks : sequence of `numpy.ndarray`
            Masks of the finders, bool ``(ny, nx)``.
        truth : `numpy.ndarray`
            True cosmic rays, bool ``(ny, nx)``.
        usable : `numpy.ndarray`, optional
            Pixels to count, bool ``(ny, nx)``; all by default.

        Returns
        -------
        counts : `PatternCounts`
            The counts.

        Raises
        ------
        NoMasksError
            Raised if there is no mask.
        """
        rows, columns, patterns = _find_patterns(masks)
        counted = np.ones(rows.size, dtype=bool) if usable is None else usable[rows, columns]
        is_true = truth[rows, columns][counted]
        usable_truth = truth if usable is None else truth & usable
        every = cls(
            patterns[counted],
            np.ones(is_true.size, dtype=np.int64),
            is_true.astype(np.int64),
            int(np.count_nonzero(usable_truth)) - int(np.count_nonzero(is_true)),
        )
        return every._merge()

    @classmethod
    def add(cls, parts: Iterable[PatternCounts]) -> PatternCounts:
        """Add up counts, for instance of the detectors of many visits.

        Parameters
        ----------
        parts : iterable of `PatternCounts`
            Counts of the same finders in the same order; at least one.

        Returns
        -------
        total : `PatternCounts`
            The sums.
        """
        given = list(parts)
        return cls(
            np.concatenate([part.patterns for part in given]),
            np.concatenate([part.n for part in given]),
            np.concatenate([part.n_true for part in given]),
            sum(part.n_missed for part in given),
        )._merge()

    @property
    def n_members(self) -> int:
        """Number of finders (`int`)."""
        return self.patterns.shape[1] // 2

    def select(self, members: Sequence[int]) -> PatternCounts:
        """Return the counts that some of the finders alone would give.

        Parameters
        ----------
        members : sequence of `int`
            Numbers of the finders.

        Returns
        -------
        counts : `PatternCounts`
            Their counts.
        """
        columns = [*members, *(self.n_members + member for member in members)]
        patterns = self.patterns[:, columns]
        seen = patterns.any(axis=1)
        missed = self.n_missed + int(self.n_true[~seen].sum())
        return PatternCounts(patterns[seen], self.n[seen], self.n_true[seen], missed)._merge()

    def _merge(self) -> PatternCounts:
        patterns, group = np.unique(self.patterns, axis=0, return_inverse=True)
        group = group.reshape(-1)
        return PatternCounts(
            patterns,
            np.bincount(group, self.n, len(patterns)).astype(np.int64),
            np.bincount(group, self.n_true, len(patterns)).astype(np.int64),
            self.n_missed,
        )


@dataclasses.dataclass(frozen=True)
class LearnedConsensus:
    """P(CR | which finders flag a pixel and its neighbours).

    A logistic model, quadratic in what a pattern holds. There is one for
    every subset of the finders: where a mask is missing, that of the others
    decides.
    """

    members: tuple[str, ...]
    """Names of the detections that vote (`tuple`)."""

    coefficients: Mapping[tuple[int, ...], npt.NDArray[np.float64]]
    """For each subset (numbers of members, rising) the coefficients of
    `pattern_features` (`~collections.abc.Mapping`).
    """

    threshold: float = 0.5
    """Least probability of a cosmic-ray pixel (`float`)."""

    core_threshold: float = 0.5
    """Least probability that some pixel of a cosmic ray has (`float`)."""

    def probability(self, masks: Mapping[str, npt.NDArray[np.bool_] | None]) -> npt.NDArray[np.float32]:
        """Return the probability that each pixel is a cosmic ray.

        Parameters
        ----------
        masks : `~collections.abc.Mapping`
            By name of the detection its mask, bool ``(ny, nx)``; a member
            that is not there, or `None`, is missing.

        Returns
        -------
        probability : `numpy.ndarray`
            Float32 ``(ny, nx)``; 0 where neither a pixel nor its neighbours
            are flagged.

        Raises
        ------
        NoMasksError
            Raised if no member is there.
        """
        there = {number: masks.get(name) for number, name in enumerate(self.members)}
        given = {number: mask for number, mask in there.items() if mask is not None}
        if not given:
            raise NoMasksError(f"None of {', '.join(self.members)} is there: nothing can vote.")
        arrays = list(given.values())
        rows, columns, patterns = _find_patterns(arrays)
        probability = np.zeros(arrays[0].shape, dtype=np.float32)
        probability[rows, columns] = _logistic(pattern_features(patterns) @ self.coefficients[tuple(given)])
        return probability

    def decide(
        self, probability: npt.NDArray[np.floating], threshold: float | None = None
    ) -> npt.NDArray[np.bool_]:
        """Return the pixels that are probable enough.

        Parameters
        ----------
        probability : `numpy.ndarray`
            What `probability` returned, ``(ny, nx)``.
        threshold : `float`, optional
            Threshold in place of both that were fitted.

        Returns
        -------
        mask : `numpy.ndarray`
            Bool ``(ny, nx)``: pixels of at least ``threshold`` whose
            8-connected component has one of at least ``core_threshold``.
        """
        low, high = (self.threshold, self.core_threshold) if threshold is None else (threshold, threshold)
        parts = find_components(probability >= low)
        peak = parts.maximum(probability[parts.rows, parts.columns])
        stays = (peak >= high)[parts.labels]
        mask = np.zeros(probability.shape, dtype=bool)
        mask[parts.rows[stays], parts.columns[stays]] = True
        return mask

    def to_json(self) -> str:
        """Return the rule as a text.

        Returns
        -------
        text : `str`
            What `from_json` reads.
        """
        return json.dumps(
            {
                "format": FORMAT,
                "members": list(self.members),
                "threshold": self.threshold,
                "core_threshold": self.core_threshold,
                "coefficients": [
                    {"members": list(subset), "values": values.tolist()}
                    for subset, values in sorted(self.coefficients.items())
                ],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> LearnedConsensus:
        """Read a rule.

        Parameters
        ----------
        text : `str`
            What `to_json` returned.

        Returns
        -------
        rule : `LearnedConsensus`
            The rule.

        Raises
        ------
        ModelFormatError
            Raised if the text is no rule, or lacks what some subset of its
            finders needs.
        """
        try:
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise ModelFormatError(f"The format is {content['format']!r}, not {FORMAT!r}.")
            rule = cls(
                tuple(str(name) for name in content["members"]),
                {
                    tuple(int(number) for number in part["members"]): np.array(part["values"], dtype=float)
                    for part in content["coefficients"]
                },
                float(content["threshold"]),
                float(content["core_threshold"]),
            )
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ModelFormatError(
                f"This is no learned consensus: {error!r}. Fit one, or copy it whole."
            ) from error
        rule._check()
        return rule

    def _check(self) -> None:
        for subset in _subsets(len(self.members)):
            values = self.coefficients.get(subset)
            expected = _n_features(len(subset))
            if values is None or values.shape != (expected,) or not np.isfinite(values).all():
                names = ", ".join(self.members[number] for number in subset)
                raise ModelFormatError(
                    f"The learned consensus needs {expected} finite coefficients for {names}: fit it again."
                )


def fit_learned_consensus(members: Sequence[str], counts: PatternCounts) -> LearnedConsensus:
    """Fit a learned rule to pixels whose truth is known.

    Parameters
    ----------
    members : sequence of `str`
        Names of the detections, in the order of the counted masks.
    counts : `PatternCounts`
        Counts of the patterns.

    Returns
    -------
    rule : `LearnedConsensus`
        The rule. Its ``threshold`` gives the best F1 of the pixels that were
        counted; ``core_threshold`` is the same.

    Raises
    ------
    ValueError
        Raised if there are more than `MAX_MEMBERS` members, if the counts
        are not of as many, or if no counted pixel is a cosmic ray.

    Notes
    -----
    Coefficients maximise the likelihood with a weak ridge, by Newton's
    method: the problem is convex.
    """
    if not 1 <= len(members) <= MAX_MEMBERS:
        raise ValueError(f"{len(members)} detections: a learned consensus takes 1 to {MAX_MEMBERS}.")
    if counts.n_members != len(members):
        raise ValueError(f"The patterns are of {counts.n_members} masks, but there are {len(members)} names.")
    if counts.n_true.sum() == 0:
        raise ValueError("None of the counted pixels is a true cosmic ray: there is nothing to learn from.")
    coefficients = {subset: _fit_logistic(counts.select(subset)) for subset in _subsets(len(members))}
    whole = coefficients[tuple(range(len(members)))]
    threshold = _best_threshold(_logistic(pattern_features(counts.patterns) @ whole), counts)
    return LearnedConsensus(tuple(members), coefficients, threshold, threshold)


def pattern_features(patterns: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return what the logistic model is linear in.

    Parameters
    ----------
    patterns : `numpy.ndarray`
        Patterns, uint8 ``(n, 2 M)``.

    Returns
    -------
    features : `numpy.ndarray`
        Float64 ``(n, k)``: 1, each flag, each fraction of flagged
        neighbours, and the products of any two of these.
    """
    n_members = patterns.shape[1] // 2
    linear = patterns.astype(np.float64)
    linear[:, n_members:] /= _N_NEIGHBOURS
    # The square of a flag is the flag.
    products = [
        linear[:, i] * linear[:, j]
        for i, j in itertools.combinations_with_replacement(range(2 * n_members), 2)
        if i != j or i >= n_members
    ]
    return np.column_stack([np.ones(len(patterns)), linear, *products])


def _n_features(n_members: int) -> int:
    return 1 + 3 * n_members + n_members * (2 * n_members - 1)


def _subsets(n_members: int) -> Iterable[tuple[int, ...]]:
    return itertools.chain.from_iterable(
        itertools.combinations(range(n_members), size) for size in range(1, n_members + 1)
    )


def _find_patterns(
    masks: Sequence[npt.NDArray[np.bool_]],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.uint8]]:
    """Return rows and columns of the pixels that have a pattern, and it."""
    if not masks:
        raise NoMasksError("There is no mask: nothing can vote.")
    rows, columns = np.nonzero(dilate(np.logical_or.reduce(masks)))
    flags, neighbours = [], []
    for mask in masks:
        padded = np.pad(mask, 1).astype(np.uint8)
        block = [padded[rows + dy, columns + dx] for dy in range(3) for dx in range(3)]
        flags.append(block[4])
        neighbours.append(np.sum(block, axis=0, dtype=np.uint8) - block[4])
    return rows, columns, np.stack([*flags, *neighbours], axis=1)


def _logistic(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 0.5 * (1.0 + np.tanh(0.5 * values))


def _fit_logistic(counts: PatternCounts) -> npt.NDArray[np.float64]:
    features = pattern_features(counts.patterns)
    ridge = np.full(features.shape[1], _RIDGE)
    coefficients = np.zeros(features.shape[1])
    for _ in range(_N_NEWTON):
        expected = _logistic(features @ coefficients)
        gradient = features.T @ (counts.n_true - counts.n * expected) - ridge * coefficients
        weights = counts.n * expected * (1.0 - expected)
        hessian = (features.T * weights) @ features + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        coefficients += step / max(1.0, np.abs(step).max() / 3.0)
        if np.abs(step).max() < 1e-8:
            break
    return coefficients


def _best_threshold(probability: npt.NDArray[np.float64], counts: PatternCounts) -> float:
    n_true = counts.n_true.sum() + counts.n_missed

    def dice(threshold: float) -> float:
        taken = probability >= threshold
        return 2.0 * counts.n_true[taken].sum() / (counts.n[taken].sum() + n_true)

    return float(max(_THRESHOLDS, key=dice))
