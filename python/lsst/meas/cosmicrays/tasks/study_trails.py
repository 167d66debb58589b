# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Study what satellites do to the rates of a visit, and which finders fail."""

from __future__ import annotations

__all__ = ["StudyTrailsConfig", "StudyTrailsConnections", "StudyTrailsTask"]

from collections.abc import Mapping, Sequence
from typing import ClassVar

from astropy.table import Table

from lsst.pipe.base import (
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)

from ..comparison import failure_table, gather_trails, stack_tables, trail_confusion_table, trail_rate_table
from .connections import DETECTOR, VISIT, table_input, table_output


class StudyTrailsConnections(PipelineTaskConnections, dimensions=VISIT):
    """Connections of `StudyTrailsTask`."""

    detectorTrails = table_input(
        "cr_trails", "Trails of satellites in the masks of detections.", DETECTOR, multiple=True
    )
    detections = table_input("cr_visit_detections", "What is known of each detection, by detector.", VISIT)
    pixelPairs = table_input(
        "cr_visit_pixel_pairs", "Pixel-wise confusion of every pair of masks, by detector.", VISIT
    )
    trails = table_output("cr_visit_trails", "Trails of satellites in the masks, by detector.", VISIT)
    trailRates = table_output(
        "cr_visit_trail_rates", "Cosmic-ray pixels of detectors with and without trails.", VISIT
    )
    trailConfusion = table_output(
        "cr_visit_trail_confusion", "Comparisons by pixel on detectors with and without trails.", VISIT
    )
    failures = table_output("cr_visit_failures", "Detectors on which finders failed.", VISIT)


class StudyTrailsConfig(PipelineTaskConfig, pipelineConnections=StudyTrailsConnections):
    """Configuration of `StudyTrailsTask`."""


class StudyTrailsTask(PipelineTask):
    """Study detectors with and without trails, and those that failed."""

    ConfigClass: ClassVar[type[StudyTrailsConfig]] = StudyTrailsConfig
    _DefaultName: ClassVar[str] = "studyTrails"
    config: StudyTrailsConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        ordered = sorted(inputRefs.detectorTrails, key=lambda ref: ref.dataId["detector"])
        trails = [
            ({name: int(ref.dataId[name]) for name in ("visit", "detector")}, butlerQC.get(ref))
            for ref in ordered
        ]
        result = self.run(trails, butlerQC.get(inputRefs.detections), butlerQC.get(inputRefs.pixelPairs))
        butlerQC.put(result, outputRefs)

    def run(
        self,
        detectorTrails: Sequence[tuple[Mapping[str, int], Table]],
        detections: Table,
        pixelPairs: Table,
    ) -> Struct:
        """Make the tables.

        Parameters
        ----------
        detectorTrails : `~collections.abc.Sequence`
            Pairs of an identity (``{"visit": 7, "detector": 3}``) and what
            `FindTrailsTask` wrote.
        detections, pixelPairs : `astropy.table.Table`
            What `GatherComparisonTask` wrote for a visit.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            A table for each output connection.
        """
        trails = stack_tables(detectorTrails)
        return Struct(
            trails=gather_trails(trails),
            trailRates=trail_rate_table(detections, trails),
            trailConfusion=trail_confusion_table(pixelPairs, trails),
            failures=failure_table(detections, trails),
        )
