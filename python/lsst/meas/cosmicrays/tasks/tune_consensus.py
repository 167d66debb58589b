# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fit the learned rule of a consensus on some visits, judge it on others."""

from __future__ import annotations

__all__ = ["TuneConsensusConfig", "TuneConsensusConnections", "TuneConsensusTask"]

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from astropy.table import Table

from lsst.pex.config import ChoiceField, ConfigField, Field, ListField
from lsst.pipe.base import (
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from lsst.pipe.base.connectionTypes import Input

from ..comparison import (
    CORE_THRESHOLDS,
    LearnedConsensus,
    PatternCounts,
    Voter,
    fit_learned_consensus,
    judge_mask,
    judgement_rates,
    vote_by_pixel,
    votes_of,
)
from ..images import WorkingImageConfig, read_image, read_mask
from .bounds import check_bounds
from .connections import (
    DETECTOR,
    INSTRUMENT,
    mask_input,
    probability_input,
    table_output,
    truth_charge_input,
    truth_mask_input,
)
from .truth import read_truth, truth_field, truth_min_sigma_field, unusable_planes_field, usable_pixels
from .visits import choose_visits, complete_detectors, handles_by_data_id


class TuneConsensusConnections(PipelineTaskConnections, dimensions=INSTRUMENT):
    """Connections of `TuneConsensusTask`.

    Besides those below there are, for every detection in the config, the
    inputs ``mask_{detection}`` of all detectors that have it, or, if it votes
    with a threshold of its probability, ``probability_{detection}``.
    """

    scienceImage = Input(
        doc="Science images: their bad pixels and variance.",
        name="visit_image",
        storageClass="VisitImage",
        dimensions=DETECTOR,
        multiple=True,
        deferLoad=True,
    )
    truthCharge = truth_charge_input(multiple=True, deferLoad=True)
    truthMask = truth_mask_input(multiple=True, deferLoad=True)
    model = table_output(
        "cr_consensus_model",
        "Learned rule: one row, with the rule as JSON, and what it was fitted to.",
        INSTRUMENT,
    )
    judgement = table_output(
        "cr_consensus_judgement",
        "How good the learned rule, the votes and each detection are, on both sets of visits.",
        INSTRUMENT,
    )

    def __init__(self, *, config: TuneConsensusConfig):
        super().__init__(config=config)
        self.scienceImage = dataclasses.replace(self.scienceImage, storageClass=config.imageStorageClass)
        if config.truth == "charge":
            del self.truthMask
        else:
            del self.truthCharge
        for voter in map(Voter.parse, config.detections):
            make_input = mask_input if voter.threshold is None else probability_input
            setattr(self, _connection_of(voter), make_input(voter.detection, multiple=True, deferLoad=True))


class TuneConsensusConfig(PipelineTaskConfig, pipelineConnections=TuneConsensusConnections):
    """Configuration of `TuneConsensusTask`."""

    detections = ListField[str](
        doc="Detections that vote, each {finder}_{kind}{variant}.  With a threshold, such as "
        "cosmic_conn_science>=0.1, it is the stored probability that votes, in place of the mask.",
        default=["morphological_science", "astroscrappy_science", "cosmic_conn_science"],
    )
    model = ChoiceField[str](
        doc="What to learn.",
        default="logistic",
        allowed={
            "logistic": "A logistic model, quadratic in the flags of a pixel and its neighbours.",
            "table": "A table of how often the same flags were cosmic rays, smoothed with coarser tables.",
        },
    )
    truth = truth_field(needed=True)
    truthMinSigma = truth_min_sigma_field()
    fitVisits = ListField[int](
        doc="Visits to fit the rule to; the others judge it. Every other visit, if empty.", default=[]
    )
    unusablePlanes = unusable_planes_field()
    imageStorageClass = Field[str](doc="Storage class of the science image.", default="VisitImage")
    nBootstrap = Field[int](
        doc="Number of replicates from which intervals follow.", default=500, check=lambda value: value >= 1
    )
    seed = Field[int](doc="Seed of the bootstrap.", default=2022, check=lambda value: value >= 0)
    reading = ConfigField[WorkingImageConfig](doc="What to assume where an image does not say.")

    def setDefaults(self) -> None:
        super().setDefaults()
        # Nothing here depends on the PSF: an image without one will do.
        self.reading.psfFwhm = 4.0

    def validate(self) -> None:
        super().validate()
        names = list(self.detections)
        if not names or len(set(names)) != len(names):
            raise ValueError(f"detections must be given, and differ, not {names}.")
        for name in names:
            Voter.parse(name)


@dataclasses.dataclass(frozen=True)
class JudgedDetector:
    """The masks and the truth of one detector."""

    visit: int
    """Number of the visit."""

    masks: Mapping[str, np.ndarray]
    """The pixels for which each detection votes, bool (ny, nx)."""

    truth: np.ndarray
    """True cosmic rays, bool (ny, nx)."""

    usable: np.ndarray
    """Pixels that count, bool (ny, nx)."""


class TuneConsensusTask(PipelineTask):
    """Learn from visits with truth which pixels are cosmic rays.

    Detectors on which a mask or the truth is missing are left out. They are
    read one at a time, so that the memory does not go with their number. There
    is no work unless two visits have everything.
    """

    ConfigClass: ClassVar[type[TuneConsensusConfig]] = TuneConsensusConfig
    _DefaultName: ClassVar[str] = "tuneConsensus"
    config: TuneConsensusConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        handles = handles_by_data_id(butlerQC, inputRefs)
        connections = [
            "scienceImage",
            "truthCharge" if self.config.truth == "charge" else "truthMask",
            *{_connection_of(Voter.parse(name)) for name in self.config.detections},
        ]
        what = f"truth and all of {', '.join(self.config.detections)}"
        complete = complete_detectors(handles, connections, what)

        def read(data_id: Any) -> JudgedDetector:
            parts = {name: handles[name][data_id].get() for name in connections}
            return self._assemble(int(data_id["visit"]), parts)

        readers = [(int(data_id["visit"]), lambda data_id=data_id: read(data_id)) for data_id in complete]
        butlerQC.put(self.run(readers), outputRefs)

    def run(self, detectors: Sequence[tuple[int, Callable[[], JudgedDetector]]]) -> Struct:
        """Fit the rule to some visits and judge it on the others.

        Parameters
        ----------
        detectors : `~collections.abc.Sequence`
            For each detector its visit, and a function that reads it.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``model`` and ``judgement`` (`astropy.table.Table`).

        Raises
        ------
        ValueError
            Raised if ``fitVisits`` leaves nothing to fit or to judge.
        """
        names = tuple(self.config.detections)
        fit_visits = self._split({visit for visit, _ in detectors})
        fitting = [read for visit, read in detectors if visit in fit_visits]
        judging = [read for visit, read in detectors if visit not in fit_visits]
        counts = PatternCounts.add(
            PatternCounts.count([each.masks[name] for name in names], each.truth, each.usable)
            for each in (read() for read in fitting)
        )
        rule = self._choose_core(fit_learned_consensus(names, counts, self.config.model), fitting)
        rows = []
        for purpose, readers in (("fit", fitting), ("judge", judging)):
            for row in self._judge(rule, (read() for read in readers)):
                rows.append({"visits": purpose, **row})
        model = Table(
            {
                "model": [rule.to_json()],
                "kind": [rule.kind],
                "members": [",".join(names)],
                "threshold": [rule.threshold],
                "core_threshold": [rule.core_threshold],
                "fit_visits": [",".join(str(visit) for visit in sorted(fit_visits))],
                "n_detectors": [np.int64(len(fitting))],
                "n_patterns": [np.int64(counts.n.size)],
                "n_pixels": [counts.n.sum()],
                "n_true": [counts.n_true.sum()],
            }
        )
        return Struct(model=model, judgement=Table(rows=rows))

    def _split(self, visits: set[int]) -> set[int]:
        """Return the visits to fit."""
        return choose_visits(
            visits,
            self.config.fitVisits,
            sorted(visits)[::2],
            field="fitVisits",
            chosen_for="fit",
            others_for="judge",
        )

    def _choose_core(
        self, rule: LearnedConsensus, readers: Sequence[Callable[[], JudgedDetector]]
    ) -> LearnedConsensus:
        """Choose how probable the best pixel of a cosmic ray must be."""
        rules = [
            dataclasses.replace(rule, core_threshold=core)
            for core in (rule.threshold, *CORE_THRESHOLDS)
            if core >= rule.threshold
        ]
        counts: list[list[np.ndarray]] = [[] for _ in rules]
        for read in readers:
            each = read()
            probability = rule.probability(each.masks)
            for judged, candidate in zip(counts, rules, strict=True):
                judged.append(judge_mask(candidate.decide(probability), each.truth, each.usable))
        quality = [_quality(np.array(judged)) for judged in counts]
        return rules[int(np.argmax(quality))]

    def _judge(self, rule: LearnedConsensus, detectors: Iterable[JudgedDetector]) -> Iterable[dict[str, Any]]:
        """Judge the rule, the votes, and each detection."""
        names = list(rule.members)
        counts: dict[str, list[np.ndarray]] = {}
        for each in detectors:
            arrays = [each.masks[name] for name in names]
            masks = {"learned": rule.decide(rule.probability(each.masks)), **each.masks}
            masks |= {
                f"pixel_votes_{k}_of_{len(names)}": vote_by_pixel(arrays, k) for k in range(1, len(names) + 1)
            }
            for name, mask in masks.items():
                counts.setdefault(name, []).append(judge_mask(mask, each.truth, each.usable))
        for name, judged in counts.items():
            rates = judgement_rates(
                np.array(judged), n_replicates=self.config.nBootstrap, seed=self.config.seed
            )
            yield {"mask": name, **rates}

    def _assemble(self, visit: int, parts: Mapping[str, Any]) -> JudgedDetector:
        image = read_image(parts["scienceImage"], self.config.reading)
        check_bounds(image.bbox, {name: part for name, part in parts.items() if name != "scienceImage"})
        truth = read_truth(parts.get("truthCharge"), parts.get("truthMask"), image, self.config.truthMinSigma)
        assert truth is not None, "runQuantum leaves out detectors without truth"
        usable = usable_pixels(image, self.config.unusablePlanes)
        votes = votes_of(
            self.config.detections,
            {
                name[len("mask_") :]: read_mask(part)
                for name, part in parts.items()
                if name.startswith("mask_")
            },
            {
                name[len("probability_") :]: part.array
                for name, part in parts.items()
                if name.startswith("probability_")
            },
        )
        return JudgedDetector(
            visit, {name: vote for name, vote in votes.items() if vote is not None}, truth, usable
        )


def _connection_of(voter: Voter) -> str:
    what = "mask" if voter.threshold is None else "probability"
    return f"{what}_{voter.detection}"


def _quality(counts: np.ndarray) -> float:
    """Return the harmonic mean of what counts: pixels and cosmic rays."""
    rates = judgement_rates(counts, n_replicates=1)
    values = np.array([rates["f1"], rates["object_purity"], rates["object_completeness"]])
    return float(len(values) / np.sum(1.0 / values)) if np.all(values > 0.0) else 0.0
