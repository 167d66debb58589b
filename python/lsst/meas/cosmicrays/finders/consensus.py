# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What several finders agree on, as one finder among others."""

from __future__ import annotations

__all__ = ["ConsensusFinderConfig", "ConsensusFinderTask"]

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lsst.pex.config import ListField, registerConfigurable

from ..images import WorkingImage
from .base import CosmicRayFinderConfig, CosmicRayFinderTask, Finding, cosmicRayFinderRegistry
from .consensus_rules import ConsensusConfigError, ConsensusRule, consensusRuleRegistry


class ConsensusFinderConfig(CosmicRayFinderConfig):
    """Configuration of `ConsensusFinderTask`."""

    members = ListField[str](
        doc="Detections that vote, such as morphological_science; all others of the task, if empty.",
        default=[],
    )
    rule = consensusRuleRegistry.makeField(
        doc="How many masks become one.  Configure it with rule['its name'].", default="pixel_votes"
    )

    def validate(self) -> None:
        super().validate()
        if self.rule.name == "weights" and self.rule.active.useProbabilities:
            raise ValueError(
                "Inside FindCosmicRaysTask, masks vote. Store the probabilities (doWriteProbability), and "
                "let CombineCosmicRaysTask use them."
            )


@registerConfigurable("consensus", cosmicRayFinderRegistry)
class ConsensusFinderTask(CosmicRayFinderTask):
    """Let the masks that other finders just made vote.

    The mask of a finder that failed is missing: the rules say what then
    holds.  Pixels of ``badPlanes`` are not in the mask.
    """

    ConfigClass: ClassVar[type[CosmicRayFinderConfig]] = ConsensusFinderConfig
    _DefaultName: ClassVar[str] = "consensus"
    config: ConsensusFinderConfig
    needs_masks: ClassVar[bool] = True

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.rule: ConsensusRule = self.config.rule.apply()

    def check(self, image: WorkingImage) -> None:
        """Accept any image: it is the masks that matter.

        Parameters
        ----------
        image : `WorkingImage`
            The image as it was read.
        """

    def find(self, image: WorkingImage) -> Finding:
        return self.find_given(image, {})

    def find_given(self, image: WorkingImage, masks: Mapping[str, np.ndarray | None]) -> Finding:
        unknown = sorted(set(self.config.members) - set(masks))
        if unknown:
            raise ConsensusConfigError(
                f"{', '.join(unknown)} should vote, but this task makes {', '.join(masks) or 'nothing else'}."
            )
        voting = {name: masks[name] for name in (self.config.members or masks)}
        finding = self.rule.combine(voting)
        return Finding(finding.mask & ~self.bad_pixels(image), finding.probability)
