# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Add up the studies of the stamps of all visits."""

from __future__ import annotations

__all__ = ["GatherStampStudiesConfig", "GatherStampStudiesConnections", "GatherStampStudiesTask"]

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from astropy.table import Table

from lsst.daf.butler import DeferredDatasetHandle
from lsst.pex.config import Field, ListField
from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct

from ..comparison import (
    STAMP_THRESHOLDS,
    add_disagreement_counts,
    add_label_costs,
    add_places_studies,
    add_stamp_distributions,
    most_telling,
    stack_tables,
    stamp_study_table,
    stamp_threshold_table,
)
from .connections import INSTRUMENT
from .study_connections import instrument_table, visit_tables


class GatherStampStudiesConnections(PipelineTaskConnections, dimensions=INSTRUMENT):
    """Connections of `GatherStampStudiesTask`."""

    visitDistributions = visit_tables("stamp_distribution")
    visitStudies = visit_tables("stamp_study")
    visitLabelCosts = visit_tables("label_cost")
    visitDisagreements = dataclasses.replace(visit_tables("disagreements"), deferLoad=True)
    visitDisagreementCounts = visit_tables("disagreement_counts")
    visitPlaces = visit_tables("places")
    distribution = instrument_table("stamp_distribution")
    study = instrument_table("stamp_study")
    thresholds = instrument_table("stamp_thresholds")
    labelCost = instrument_table("label_cost")
    disagreements = instrument_table("disagreements")
    disagreementCounts = instrument_table("disagreement_counts")
    places = instrument_table("places")


class GatherStampStudiesConfig(PipelineTaskConfig, pipelineConnections=GatherStampStudiesConnections):
    """Configuration of `GatherStampStudiesTask`."""

    minStampPixels = Field[int](
        doc="A stamp with at least so many cosmic-ray pixels is CR, as in CompareCosmicRaysTask.",
        default=1,
        check=lambda value: value >= 1,
    )
    thresholds = ListField[int](
        doc="Numbers of cosmic-ray pixels at which labels are studied.", default=list(STAMP_THRESHOLDS)
    )
    maxDisagreements = Field[int](
        doc="Most stamps on which a pair of detections disagrees that are kept; all are counted.",
        default=200,
        check=lambda value: value >= 0,
    )


class GatherStampStudiesTask(PipelineTask):
    """Add up the studies of the stamps of all visits."""

    ConfigClass: ClassVar[type[GatherStampStudiesConfig]] = GatherStampStudiesConfig
    _DefaultName: ClassVar[str] = "gatherStampStudies"
    config: GatherStampStudiesConfig

    def run(
        self,
        visitDistributions: Sequence[Table],
        visitStudies: Sequence[Table],
        visitLabelCosts: Sequence[Table],
        visitDisagreements: Sequence[DeferredDatasetHandle],
        visitDisagreementCounts: Sequence[Table],
        visitPlaces: Sequence[Table],
    ) -> Struct:
        """Add up tables.

        Parameters
        ----------
        visitDistributions, visitStudies, visitLabelCosts : sequence
            What `StudyStampsTask` wrote for each visit.
        visitDisagreements : sequence
            What reads the same, visit by visit: anything with a method
            ``get``. These tables are large where a finder flags noise.
        visitDisagreementCounts, visitPlaces : sequence
            What `StudyStampsTask` wrote for each visit.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            A table for each output connection.
        """
        distribution = add_stamp_distributions(visitDistributions)
        disagreements = (handle.get() for handle in visitDisagreements)
        studies = stack_tables([({}, study) for study in visitStudies])
        return Struct(
            distribution=distribution,
            study=stamp_study_table(distribution, studies, min_pixels=self.config.minStampPixels),
            thresholds=stamp_threshold_table(distribution, list(self.config.thresholds)),
            labelCost=add_label_costs(visitLabelCosts),
            disagreements=most_telling(disagreements, self.config.maxDisagreements),
            disagreementCounts=add_disagreement_counts(visitDisagreementCounts),
            places=add_places_studies(visitPlaces),
        )
