# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Add up the studies of trails and failures of all visits."""

from __future__ import annotations

__all__ = ["GatherTrailStudiesConfig", "GatherTrailStudiesConnections", "GatherTrailStudiesTask"]

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from astropy.table import Table

from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct

from ..comparison import add_trail_confusions, add_trail_rates, stack_tables
from .connections import INSTRUMENT
from .study_connections import instrument_table, visit_tables


class GatherTrailStudiesConnections(PipelineTaskConnections, dimensions=INSTRUMENT):
    """Connections of `GatherTrailStudiesTask`."""

    visitTrails = visit_tables("trails")
    visitTrailRates = visit_tables("trail_rates")
    visitTrailConfusions = visit_tables("trail_confusion")
    visitFailures = visit_tables("failures")
    trails = instrument_table("trails")
    trailRates = instrument_table("trail_rates")
    trailConfusion = instrument_table("trail_confusion")
    failures = instrument_table("failures")


class GatherTrailStudiesConfig(PipelineTaskConfig, pipelineConnections=GatherTrailStudiesConnections):
    """Configuration of `GatherTrailStudiesTask`."""


class GatherTrailStudiesTask(PipelineTask):
    """Add up the studies of trails and failures of all visits."""

    ConfigClass: ClassVar[type[GatherTrailStudiesConfig]] = GatherTrailStudiesConfig
    _DefaultName: ClassVar[str] = "gatherTrailStudies"
    config: GatherTrailStudiesConfig

    def run(
        self,
        visitTrails: Sequence[Table],
        visitTrailRates: Sequence[Table],
        visitTrailConfusions: Sequence[Table],
        visitFailures: Sequence[Table],
    ) -> Struct:
        """Add up tables.

        Parameters
        ----------
        visitTrails, visitTrailRates, visitTrailConfusions : sequence
            What `StudyTrailsTask` wrote for each visit.
        visitFailures : sequence
            The same.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            A table for each output connection.
        """
        return Struct(
            trails=_by_visit(visitTrails),
            trailRates=add_trail_rates(visitTrailRates),
            trailConfusion=add_trail_confusions(visitTrailConfusions),
            failures=_by_visit(visitFailures),
        )


def _by_visit(tables: Sequence[Table]) -> Table:
    stacked = stack_tables([({}, table) for table in tables])
    return stacked[np.argsort(stacked["visit"], kind="stable")]
