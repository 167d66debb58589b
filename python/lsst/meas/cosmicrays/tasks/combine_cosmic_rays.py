# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make one mask of several that are stored, without reading an image."""

from __future__ import annotations

__all__ = ["CombineCosmicRaysConfig", "CombineCosmicRaysConnections", "CombineCosmicRaysTask"]

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from astropy.table import Table

from lsst.images import Box, Image
from lsst.pex.config import Field, ListField
from lsst.pipe.base import (
    AlgorithmError,
    InputQuantizedConnection,
    NoWorkFound,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from lsst.pipe.base.connectionTypes import Input, Output

from ..comparison import LearnedConsensus, Voter, find_components, votes_of
from ..finders import ConsensusRule, LearnedRule, consensusRuleRegistry
from ..images import make_cosmic_ray_mask, read_mask
from .bounds import BoundsError
from .connections import DETECTOR, mask_input, probability_input, summary_input, table_output
from .finder_summary import DetectionIdentity, config_digest, make_finder_summary

FINDER = "consensus"


class CombineCosmicRaysConnections(
    PipelineTaskConnections,
    dimensions=DETECTOR,
    defaultTemplates={"kind": "science", "variant": ""},
):
    """Connections of `CombineCosmicRaysTask`.

    Besides those below there are, for every detection in the config, the
    inputs ``mask_{detection}``, ``summary_{detection}`` and, if it votes with
    a threshold of its probability or ``doReadProbability`` is set,
    ``probability_{detection}``. Each of them may be missing.
    """

    model = Input(
        doc="Learned rule, as TuneConsensusTask fitted it.",
        name="cr_consensus_model",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
    )
    mask = Output(
        doc="Cosmic rays by consensus.",
        name="cr_mask_consensus_{kind}{variant}",
        storageClass="MaskV2",
        dimensions=DETECTOR,
    )
    summary = table_output("cr_finder_summary_consensus_{kind}{variant}", "One row on what the consensus is.")
    probability = Output(
        doc="Share of the votes, or probability that a pixel is a cosmic ray, of rules that have one.",
        name="cr_probability_consensus_{kind}{variant}",
        storageClass="ImageV2",
        dimensions=DETECTOR,
    )

    def __init__(self, *, config: CombineCosmicRaysConfig):
        super().__init__(config=config)
        if not config.reads_model():
            del self.model
        if not config.doWriteProbability:
            del self.probability
        for voter in map(Voter.parse, config.detections):
            detection = voter.detection
            setattr(self, f"summary_{detection}", summary_input(detection))
            if voter.threshold is None:
                setattr(self, f"mask_{detection}", mask_input(detection))
            if voter.threshold is not None or config.doReadProbability:
                setattr(self, f"probability_{detection}", probability_input(detection))

    def adjustQuantum(self, inputs: Any, outputs: Any, label: str, data_id: Any) -> tuple[Any, Any]:
        # docstring inherited
        changed = super().adjustQuantum(inputs, outputs, label, data_id)
        votes = ("mask_", "summary_", "probability_")
        if not any(refs for name, (_, refs) in inputs.items() if name.startswith(votes)):
            raise NoWorkFound(f"None of the detections that are to vote was made on {data_id}.")
        return changed


class CombineCosmicRaysConfig(PipelineTaskConfig, pipelineConnections=CombineCosmicRaysConnections):
    """Configuration of `CombineCosmicRaysTask`."""

    detections = ListField[str](
        doc="Detections that vote, each {finder}_{kind}{variant}; those of science and of difference images "
        "may vote together.  With a threshold, such as cosmic_conn_science>=0.1, it is the stored "
        "probability that votes, in place of the mask.",
        default=["morphological_science", "astroscrappy_science", "cosmic_conn_science"],
    )
    rule = consensusRuleRegistry.makeField(
        doc="How many masks become one.  Configure it with rule['its name'].", default="pixel_votes"
    )
    doReadProbability = Field[bool](
        doc="Read cr_probability_{detection} of all detections, where it is stored?  The rule 'weights' can "
        "let them vote with it.",
        default=False,
    )
    doWriteProbability = Field[bool](
        doc="Write cr_probability_consensus_{kind}{variant}, if the rule has one?", default=False
    )

    def validate(self) -> None:
        super().validate()
        names = list(self.detections)
        repeated = sorted({name for name in names if names.count(name) > 1})
        if not names:
            raise ValueError("detections is empty: name what is to vote, such as morphological_science.")
        if repeated:
            raise ValueError(f"detections must differ; given more than once: {', '.join(repeated)}.")
        own = f"{FINDER}_{self.connections.kind}{self.connections.variant}"
        if own in {Voter.parse(name).detection for name in names}:
            raise ValueError(f"{own} is what this task writes: it cannot vote for itself.")

    def reads_model(self) -> bool:
        """Return whether a learned rule is to be read from the repository.

        Returns
        -------
        reads : `bool`
            `True` for the rule ``learned`` without a ``modelFile``.
        """
        return self.rule.name == "learned" and self.rule.active.modelFile is None


class CombineCosmicRaysTask(PipelineTask):
    """Let stored masks vote on which pixels are cosmic rays.

    A mask that is missing does not vote: the rules say what then holds. If
    none is there, the summary says so, and the quantum ends with
    `~lsst.pipe.base.NoWorkFound`.
    """

    ConfigClass: ClassVar[type[CombineCosmicRaysConfig]] = CombineCosmicRaysConfig
    _DefaultName: ClassVar[str] = "combineCosmicRays"
    config: CombineCosmicRaysConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        inputs = butlerQC.get(inputRefs)
        data_id = outputRefs.summary.dataId
        result = self.run(
            masks=self._by_detection("mask", inputs),
            summaries=self._by_detection("summary", inputs),
            probabilities=self._by_detection("probability", inputs),
            model=inputs.get("model"),
            dataId={dimension: data_id[dimension] for dimension in DETECTOR},
        )
        butlerQC.put(result.summary, outputRefs.summary)
        if result.mask is None:
            raise NoWorkFound(f"There is no consensus: {result.summary['failure'][0]}")
        butlerQC.put(result.mask, outputRefs.mask)
        if self.config.doWriteProbability and result.probability is not None:
            butlerQC.put(result.probability, outputRefs.probability)

    def run(
        self,
        masks: Mapping[str, Any],
        summaries: Mapping[str, Table] | None = None,
        probabilities: Mapping[str, Any] | None = None,
        model: Table | None = None,
        dataId: Mapping[str, Any] | None = None,
    ) -> Struct:
        """Combine masks of one detector.

        Parameters
        ----------
        masks : `~collections.abc.Mapping`
            By the name of the detection, masks with a plane COSMIC_RAY
            (`lsst.images.Mask`); those that are missing are not in it.
        summaries : `~collections.abc.Mapping`, optional
            Summaries of the detections: they say how many pixels are usable.
        probabilities : `~collections.abc.Mapping`, optional
            Probabilities (`lsst.images.Image`) of detections.
        model : `astropy.table.Table`, optional
            Learned rule, one row with a column ``model`` (JSON).
        dataId : `~collections.abc.Mapping`, optional
            Instrument, visit and detector, for the summary.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``mask`` (`lsst.images.Mask`; `None` if there is none),
            ``probability`` (`lsst.images.Image` or `None`) and ``summary``
            (`astropy.table.Table` of one row; ``wall_time`` is that of the
            consensus alone).

        Raises
        ------
        BoundsError
            Raised if two inputs cover different pixels.
        """
        given = probabilities or {}
        bbox = _common_bounds({**masks, **{f"{name} (probability)": image for name, image in given.items()}})
        result = Struct(mask=None, probability=None, summary=None)
        finding, failure = None, ""
        try:
            finding = self._combine(masks, given, model)
        except AlgorithmError as error:
            failure = str(error)
            self.log.warning("There is no consensus: %s", error)
        if finding is not None and bbox is not None:
            result.mask = make_cosmic_ray_mask(finding.mask, bbox)
            if finding.probability is not None:
                result.probability = Image(finding.probability, bbox=bbox)
        n_usable = _usable_pixels({**masks, **given}, summaries or {}, bbox)
        result.summary = make_finder_summary(
            self._identify(dataId), finding, n_usable=n_usable, failure=failure
        )
        return result

    def _combine(
        self, masks: Mapping[str, Any], probabilities: Mapping[str, Any], model: Table | None
    ) -> Struct:
        """Apply the rule, and measure what `CosmicRayFinderTask.run` would."""
        started = time.perf_counter()
        arrays = {name: image.array for name, image in probabilities.items()}
        finding = self._make_rule(model).combine(
            votes_of(self.config.detections, {name: read_mask(mask) for name, mask in masks.items()}, arrays),
            arrays,
        )
        return Struct(
            mask=finding.mask,
            probability=finding.probability,
            n_pixels=int(np.count_nonzero(finding.mask)),
            n_cosmic_rays=find_components(finding.mask).n_components,
            wall_time=time.perf_counter() - started,
        )

    def _make_rule(self, model: Table | None) -> ConsensusRule:
        rule: ConsensusRule = self.config.rule.apply()
        if isinstance(rule, LearnedRule) and model is not None:
            rule.model = LearnedConsensus.from_json(str(model["model"][0]))
        return rule

    def _identify(self, dataId: Mapping[str, Any] | None) -> DetectionIdentity:
        return DetectionIdentity(
            finder=FINDER,
            kind=self.config.connections.kind,
            variant=self.config.connections.variant,
            engine="fast",
            config_digest=config_digest(self.config),
            data_id=dict(dataId or {}),
        )

    def _by_detection(self, connection: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name.removeprefix(f"{connection}_"): dataset
            for name, dataset in inputs.items()
            if name.startswith(f"{connection}_")
        }


def _common_bounds(sources: Mapping[str, Any]) -> Box | None:
    """Return the one bounding box of masks and images, if there are any."""
    bounds = {name: source.bbox for name, source in sources.items()}
    for name, bbox in bounds.items():
        first = next(iter(bounds))
        if bbox != bounds[first]:
            raise BoundsError(
                f"{first} covers {bounds[first]}, but {name} covers {bbox}. Were they made of the same "
                "detector?"
            )
    return next(iter(bounds.values()), None)


def _usable_pixels(voting: Mapping[str, Any], summaries: Mapping[str, Table], bbox: Box | None) -> int:
    """Return on how many pixels every detection that votes could have cosmic
    rays, at most.
    """
    known = [int(summaries[name]["n_usable"][0]) for name in voting if name in summaries]
    whole = [] if bbox is None else [bbox.x.size * bbox.y.size]
    return min(known or whole, default=0)
