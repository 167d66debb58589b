# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules by which several masks become one, as configurable choices."""

from __future__ import annotations

__all__ = [
    "ConsensusConfigError",
    "ConsensusRule",
    "ConsensusRuleConfig",
    "CosmicRayVotesConfig",
    "CosmicRayVotesRule",
    "LearnedRule",
    "LearnedRuleConfig",
    "PixelVotesConfig",
    "PixelVotesRule",
    "WeightsConfig",
    "WeightsRule",
    "consensusRuleRegistry",
]

import abc
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lsst.pex.config import Config, DictField, Field, Registry, makeRegistry, registerConfigurable

from ..comparison import (
    LearnedConsensus,
    NoMasksError,
    vote_by_cosmic_ray,
    vote_by_pixel,
    vote_by_weight,
    votes_needed,
)
from ..documentation import DocumentedError, documented_fields
from .base import CosmicRayFinderError, Finding


class ConsensusConfigError(DocumentedError, ValueError):
    """Raised when a rule and the detections that are to vote do not match."""


@documented_fields("consensus")
class ConsensusRuleConfig(Config):
    """Configuration that every rule shares."""


class ConsensusRule(abc.ABC):
    """Make one mask of several.

    Parameters
    ----------
    config : `ConsensusRuleConfig`
        Configuration of the rule.
    """

    ConfigClass: ClassVar[type[ConsensusRuleConfig]] = ConsensusRuleConfig

    def __init__(self, config: Any) -> None:
        self.config = config

    def combine(
        self,
        masks: Mapping[str, np.ndarray | None],
        probabilities: Mapping[str, np.ndarray] | None = None,
    ) -> Finding:
        """Make one mask of several.

        Parameters
        ----------
        masks : `~collections.abc.Mapping`
            By the names of all detections that should vote, their masks:
            bool, shape (ny, nx), or `None` where one is missing.
        probabilities : `~collections.abc.Mapping`, optional
            Probabilities (float32, (ny, nx)) of detections that have them.

        Returns
        -------
        finding : `Finding`
            The mask, and the probability if the rule has one.

        Raises
        ------
        CosmicRayFinderError
            Raised if no mask is there that could vote.
        ConsensusConfigError
            Raised if the configuration does not fit the detections.
        """
        try:
            return self.apply(masks, probabilities or {})
        except NoMasksError as error:
            raise CosmicRayFinderError(str(error), n_masks=len(masks)) from error

    @abc.abstractmethod
    def apply(
        self, masks: Mapping[str, np.ndarray | None], probabilities: Mapping[str, np.ndarray]
    ) -> Finding:
        """Apply the rule.

        Parameters
        ----------
        masks : `~collections.abc.Mapping`
            Masks by the names of all detections that should vote.
        probabilities : `~collections.abc.Mapping`
            Probabilities, where there are some.

        Returns
        -------
        finding : `Finding`
            The mask, and the probability if the rule has one.
        """


consensusRuleRegistry: Registry = makeRegistry(
    "Rules that make one mask of several: each is a ConsensusRule.", ConsensusRuleConfig
)


class PixelVotesConfig(ConsensusRuleConfig):
    """Configuration of `PixelVotesRule`."""

    atLeast = Field[int](
        doc="Number of masks, of all that are configured, that must have a pixel.",
        default=2,
        check=lambda value: value >= 1,
    )


@registerConfigurable("pixel_votes", consensusRuleRegistry)
class PixelVotesRule(ConsensusRule):
    """Keep the pixels that k of n masks have."""

    ConfigClass: ClassVar[type[ConsensusRuleConfig]] = PixelVotesConfig

    def apply(
        self, masks: Mapping[str, np.ndarray | None], probabilities: Mapping[str, np.ndarray]
    ) -> Finding:
        there = _available(masks)
        needed = _votes_needed("atLeast", self.config.atLeast, len(masks), len(there))
        return Finding(vote_by_pixel(list(there.values()), needed))


class CosmicRayVotesConfig(ConsensusRuleConfig):
    """Configuration of `CosmicRayVotesRule`."""

    atLeast = Field[int](
        doc="Number of masks, of all that are configured, that must touch a cosmic ray.",
        default=2,
        check=lambda value: value >= 1,
    )
    pixelsAtLeast = Field[int](
        doc="Number of masks that must have a pixel of such a cosmic ray.",
        default=1,
        check=lambda value: value >= 1,
    )


@registerConfigurable("cosmic_ray_votes", consensusRuleRegistry)
class CosmicRayVotesRule(ConsensusRule):
    """Keep the components of the union that k of n masks touch, with the
    pixels that m of n have.
    """

    ConfigClass: ClassVar[type[ConsensusRuleConfig]] = CosmicRayVotesConfig

    def apply(
        self, masks: Mapping[str, np.ndarray | None], probabilities: Mapping[str, np.ndarray]
    ) -> Finding:
        there = _available(masks)
        counts = (len(masks), len(there))
        needed = _votes_needed("atLeast", self.config.atLeast, *counts)
        pixels_needed = _votes_needed("pixelsAtLeast", self.config.pixelsAtLeast, *counts)
        return Finding(vote_by_cosmic_ray(list(there.values()), needed, pixels_needed))


class WeightsConfig(ConsensusRuleConfig):
    """Configuration of `WeightsRule`."""

    weights = DictField[str, float](
        doc="Weight of each detection, by its name; those not named have weight 1.",
        default={},
        itemCheck=lambda value: value >= 0.0,
    )
    threshold = Field[float](
        doc="Least share of the weight of all masks that are there.",
        default=0.5,
        check=lambda value: 0.0 < value <= 1.0,
    )
    useProbabilities = Field[bool](
        doc="Let a detection that has probabilities vote with them in place of its mask?", default=False
    )


@registerConfigurable("weights", consensusRuleRegistry)
class WeightsRule(ConsensusRule):
    """Keep the pixels for which enough weight votes."""

    ConfigClass: ClassVar[type[ConsensusRuleConfig]] = WeightsConfig

    def apply(
        self, masks: Mapping[str, np.ndarray | None], probabilities: Mapping[str, np.ndarray]
    ) -> Finding:
        unknown = sorted(set(self.config.weights) - set(masks))
        if unknown:
            raise ConsensusConfigError(
                f"Weights are given for {', '.join(unknown)}, but those that vote are {', '.join(masks)}."
            )
        votes = _available(masks)
        if self.config.useProbabilities:
            votes |= {name: probabilities[name] for name in votes if name in probabilities}
        share = vote_by_weight(list(votes.values()), [self.config.weights.get(name, 1.0) for name in votes])
        return Finding(share >= np.float32(self.config.threshold), share)


class LearnedRuleConfig(ConsensusRuleConfig):
    """Configuration of `LearnedRule`."""

    modelFile = Field[str](
        doc="File of a fitted rule (JSON, as TuneConsensusTask writes it into cr_consensus_model).  Not "
        "needed where the dataset itself is read.",
        default=None,
        optional=True,
    )
    threshold = Field[float](
        doc="Least probability of a pixel; that of the fitted rule, if not set.",
        default=None,
        optional=True,
        check=lambda value: 0.0 < value <= 1.0,
    )


@registerConfigurable("learned", consensusRuleRegistry)
class LearnedRule(ConsensusRule):
    """Keep the pixels that are probable cosmic rays, given which detections
    flag them and their eight neighbours: by a logistic model, or by a table.
    """

    ConfigClass: ClassVar[type[ConsensusRuleConfig]] = LearnedRuleConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model: LearnedConsensus | None = None
        if config.modelFile is not None:
            self.model = LearnedConsensus.from_json(Path(config.modelFile).read_text())

    def apply(
        self, masks: Mapping[str, np.ndarray | None], probabilities: Mapping[str, np.ndarray]
    ) -> Finding:
        if self.model is None:
            raise ConsensusConfigError("The learned rule has no model: set modelFile to a fitted rule.")
        if set(self.model.members) != set(masks):
            raise ConsensusConfigError(
                f"The rule was fitted to {', '.join(self.model.members)}, but those that vote are "
                f"{', '.join(masks)}."
            )
        probability = self.model.probability(masks)
        return Finding(self.model.decide(probability, self.config.threshold), probability)


def _available(masks: Mapping[str, np.ndarray | None]) -> dict[str, np.ndarray]:
    return {name: mask for name, mask in masks.items() if mask is not None}


def _votes_needed(field: str, at_least: int, n_members: int, n_available: int) -> int:
    if at_least > n_members:
        raise ConsensusConfigError(
            f"{field} is {at_least}, but only {n_members} detections vote: nothing can ever pass."
        )
    return votes_needed(at_least, n_members, n_available)
