# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules that learn from truth what several finders together mean.

Patterns of what the finders say of a pixel and its neighbours are counted
where truth is known, and from the counts a model follows that gives
P(CR | pattern): a logistic one, or a table.
"""

from __future__ import annotations

__all__ = [
    "CORE_THRESHOLDS",
    "LearnedConsensus",
    "ModelFormatError",
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
from .pattern_models import MODEL_KINDS, PatternModel
from .patterns import PatternCounts, find_patterns

MAX_MEMBERS = 8
"""Most finders of a learned rule: every subset of them has a model."""

FORMAT = "lsst.meas.cosmicrays consensus 2"

CORE_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Least probabilities of the best pixel of a cosmic ray, to choose from."""

_THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.05), 2)


class ModelFormatError(ValueError):
    """Raised when a text is not a learned rule."""


@dataclasses.dataclass(frozen=True)
class LearnedConsensus:
    """P(CR | which finders flag a pixel and its neighbours).

    There is a model for every subset of the finders: where a mask is
    missing, that of the others decides.
    """

    members: tuple[str, ...]
    """Names of the detections that vote (`tuple`)."""

    models: Mapping[tuple[int, ...], PatternModel]
    """For each subset (numbers of members, rising) the model
    (`~collections.abc.Mapping`).
    """

    kind: str = "logistic"
    """Kind of the models, one of `MODEL_KINDS` (`str`)."""

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
        rows, columns, patterns = find_patterns(arrays)
        probability = np.zeros(arrays[0].shape, dtype=np.float32)
        probability[rows, columns] = self.models[tuple(given)].evaluate(patterns)
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
                "kind": self.kind,
                "members": list(self.members),
                "threshold": self.threshold,
                "core_threshold": self.core_threshold,
                "models": [
                    {"members": list(subset), "values": model.to_values()}
                    for subset, model in sorted(self.models.items())
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
            kind = str(content["kind"])
            members = tuple(str(name) for name in content["members"])
            values = {
                tuple(int(number) for number in part["members"]): part["values"] for part in content["models"]
            }
            models = {
                subset: _read_model(kind, [members[number] for number in subset], values[subset])
                for subset in _subsets(len(members))
            }
            return cls(members, models, kind, float(content["threshold"]), float(content["core_threshold"]))
        except (json.JSONDecodeError, KeyError, TypeError, IndexError) as error:
            raise ModelFormatError(
                f"This is no learned consensus: {error!r}. Fit one, or copy it whole."
            ) from error


def fit_learned_consensus(
    members: Sequence[str], counts: PatternCounts, kind: str = "logistic"
) -> LearnedConsensus:
    """Fit a learned rule to pixels whose truth is known.

    Parameters
    ----------
    members : sequence of `str`
        Names of the detections, in the order of the counted masks.
    counts : `PatternCounts`
        Counts of the patterns.
    kind : `str`, optional
        Kind of the models, one of `MODEL_KINDS`.

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
    """
    if not 1 <= len(members) <= MAX_MEMBERS:
        raise ValueError(f"{len(members)} detections: a learned consensus takes 1 to {MAX_MEMBERS}.")
    if counts.n_members != len(members):
        raise ValueError(f"The patterns are of {counts.n_members} masks, but there are {len(members)} names.")
    if counts.n_true.sum() == 0:
        raise ValueError("None of the counted pixels is a true cosmic ray: there is nothing to learn from.")
    models = {subset: MODEL_KINDS[kind].fit(counts.select(subset)) for subset in _subsets(len(members))}
    whole = models[tuple(range(len(members)))]
    threshold = _best_threshold(whole.evaluate(counts.patterns), counts)
    return LearnedConsensus(tuple(members), models, kind, threshold, threshold)


def _subsets(n_members: int) -> Iterable[tuple[int, ...]]:
    return itertools.chain.from_iterable(
        itertools.combinations(range(n_members), size) for size in range(1, n_members + 1)
    )


def _read_model(kind: str, members: Sequence[str], values: object) -> PatternModel:
    try:
        return MODEL_KINDS[kind].from_values(values, len(members))
    except ValueError as error:
        raise ModelFormatError(
            f"The learned consensus is damaged for {', '.join(members)}: {error}. Fit it again."
        ) from error


def _best_threshold(probability: npt.NDArray[np.float64], counts: PatternCounts) -> float:
    n_true = counts.n_true.sum() + counts.n_missed

    def dice(threshold: float) -> float:
        taken = probability >= threshold
        return 2.0 * counts.n_true[taken].sum() / (counts.n[taken].sum() + n_true)

    return float(max(_THRESHOLDS, key=dice))
