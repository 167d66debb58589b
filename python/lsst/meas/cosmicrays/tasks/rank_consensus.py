# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rank every vote of every subset of detections, from gathered tables."""

from __future__ import annotations

__all__ = ["RankConsensusConfig", "RankConsensusConnections", "RankConsensusTask"]

from collections.abc import Sequence
from typing import ClassVar

from astropy.table import Table

from lsst.pex.config import Field, ListField
from lsst.pipe.base import (
    InputQuantizedConnection,
    NoWorkFound,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)

from ..comparison import (
    MAX_RANKED,
    NothingToRankError,
    VoteTables,
    rank_steps,
    rank_votes,
    read_bits,
    stack_tables,
)
from .connections import INSTRUMENT, VISIT, table_input, table_output


class RankConsensusConnections(PipelineTaskConnections, dimensions=INSTRUMENT):
    """Connections of `RankConsensusTask`."""

    counts = table_input("cr_instrument_counts", "Joint histogram of the masks, of all visits.", INSTRUMENT)
    countsDilated = table_input(
        "cr_instrument_counts_dilated",
        "Joint histogram of the masks and their 1-pixel dilations, of all visits.",
        INSTRUMENT,
    )
    detections = table_input("cr_instrument_detections", "What the bits of the codes are.", INSTRUMENT)
    summary = table_input("cr_instrument_summary", "Run times of the detections.", INSTRUMENT)
    stamps = table_input("cr_instrument_stamps", "Stamps of all visits.", INSTRUMENT)
    objects = table_input("cr_instrument_objects", "Cosmic rays of all visits.", INSTRUMENT)
    visitCounts = table_input(
        "cr_visit_counts", "Joint histograms of the visits, for intervals.", VISIT, multiple=True
    )
    visitClusterCounts = table_input(
        "cr_visit_cluster_counts",
        "Joint histograms within every cosmic ray, for intervals where there are few visits.",
        VISIT,
        multiple=True,
    )
    ranking = table_output(
        "cr_consensus_ranking",
        "Every subset of detections and every threshold: how good, and how slow.",
        INSTRUMENT,
    )
    steps = table_output(
        "cr_consensus_steps", "What each further detection adds, and what it costs.", INSTRUMENT
    )


class RankConsensusConfig(PipelineTaskConfig, pipelineConnections=RankConsensusConnections):
    """Configuration of `RankConsensusTask`."""

    detections = ListField[str](
        doc="Detections that may vote; all that were compared, if empty.",
        default=[],
        maxLength=MAX_RANKED,
    )
    maxMembers = Field[int](
        doc="Most detections that vote together.", default=6, check=lambda value: value >= 1
    )
    nBootstrap = Field[int](
        doc="Number of replicates from which the intervals of pixel-wise rates follow.",
        default=500,
        check=lambda value: value >= 1,
    )
    seed = Field[int](doc="Seed of the bootstrap.", default=2022, check=lambda value: value >= 0)


class RankConsensusTask(PipelineTask):
    """Find out which detections should vote, and how many must agree.

    Everything follows from the joint codes that a comparison left: no pixel
    is read again. Without truth, or a detector with all masks, there is no
    work.
    """

    ConfigClass: ClassVar[type[RankConsensusConfig]] = RankConsensusConfig
    _DefaultName: ClassVar[str] = "rankConsensus"
    config: RankConsensusConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        for name in ("visitCounts", "visitClusterCounts"):
            getattr(inputRefs, name).sort(key=lambda ref: ref.dataId)
        try:
            result = self.run(**butlerQC.get(inputRefs))
        except NothingToRankError as error:
            raise NoWorkFound(str(error)) from error
        butlerQC.put(result, outputRefs)

    def run(
        self,
        counts: Table,
        countsDilated: Table,
        detections: Table,
        summary: Table,
        stamps: Table,
        objects: Table,
        visitCounts: Sequence[Table],
        visitClusterCounts: Sequence[Table],
    ) -> Struct:
        """Rank the votes of all subsets of detections.

        Parameters
        ----------
        counts, countsDilated : `astropy.table.Table`
            Joint histograms of all visits.
        detections : `astropy.table.Table`
            What the bits are.
        summary : `astropy.table.Table`
            One row a detection, with ``wall_time_median``.
        stamps, objects : `astropy.table.Table`
            Stamps and cosmic rays of all visits.
        visitCounts, visitClusterCounts : `~collections.abc.Sequence`
            Joint histograms of each visit, and of its cosmic rays.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``ranking`` and ``steps`` (`astropy.table.Table`).

        Raises
        ------
        NothingToRankError
            Raised if there is no truth, or no detector with all masks.
        """
        tables = VoteTables(
            counts,
            countsDilated,
            stamps,
            objects,
            visitCounts,
            stack_tables([({}, table) for table in visitClusterCounts]) if visitClusterCounts else None,
        )
        wall_times = {str(row["detection"]): float(row["wall_time_median"]) for row in summary}
        ranking = rank_votes(
            read_bits(detections),
            tables,
            wall_times,
            detections=list(self.config.detections),
            max_members=self.config.maxMembers,
            n_replicates=self.config.nBootstrap,
            seed=self.config.seed,
        )
        return Struct(ranking=ranking, steps=rank_steps(ranking))
