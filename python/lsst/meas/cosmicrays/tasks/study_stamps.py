# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Study the stamps of a visit: sizes, labels and their cost, disagreements."""

from __future__ import annotations

__all__ = ["StudyStampsConfig", "StudyStampsConnections", "StudyStampsTask"]

from typing import ClassVar

from astropy.table import Table

from lsst.pex.config import Field, ListField
from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct

from ..comparison import (
    STAMP_THRESHOLDS,
    Role,
    disagreement_counts,
    disagreement_table,
    label_cost_table,
    places_study_table,
    read_bits,
    stamp_distribution,
    stamp_study_table,
    stamp_threshold_table,
)
from .connections import VISIT, table_input, table_output


class StudyStampsConnections(PipelineTaskConnections, dimensions=VISIT):
    """Connections of `StudyStampsTask`."""

    detections = table_input(
        "cr_visit_detections", "What the bits of the codes are, and what is known of each detection.", VISIT
    )
    stamps = table_input("cr_visit_stamps", "Stamps around DIASources.", VISIT)
    pixelPlaces = table_input(
        "cr_visit_pixel_places", "Where the pixels lie on which two masks disagree.", VISIT
    )
    distribution = table_output(
        "cr_visit_stamp_distribution", "Number of stamps by their number of cosmic-ray pixels.", VISIT
    )
    study = table_output("cr_visit_stamp_study", "Stamps of each detection: sizes, labels, flux.", VISIT)
    thresholds = table_output(
        "cr_visit_stamp_thresholds", "Labels and their purity as the threshold of a label changes.", VISIT
    )
    labelCost = table_output(
        "cr_visit_label_cost", "Alerts that labels lose, and cosmic rays that they let pass.", VISIT
    )
    disagreements = table_output(
        "cr_visit_disagreements", "Stamps that one detection calls a cosmic ray and another not.", VISIT
    )
    disagreementCounts = table_output(
        "cr_visit_disagreement_counts", "Number of these stamps, by what they truly are.", VISIT
    )
    places = table_output(
        "cr_visit_places", "F1 by pixel and by stamp, and the places of the pixels between them.", VISIT
    )


class StudyStampsConfig(PipelineTaskConfig, pipelineConnections=StudyStampsConnections):
    """Configuration of `StudyStampsTask`."""

    minStampPixels = Field[int](
        doc="A stamp with at least so many cosmic-ray pixels is CR, as in CompareCosmicRaysTask.",
        default=1,
        check=lambda value: value >= 1,
    )
    thresholds = ListField[int](
        doc="Numbers of cosmic-ray pixels at which labels are studied.", default=list(STAMP_THRESHOLDS)
    )


class StudyStampsTask(PipelineTask):
    """Study the stamps of a visit."""

    ConfigClass: ClassVar[type[StudyStampsConfig]] = StudyStampsConfig
    _DefaultName: ClassVar[str] = "studyStamps"
    config: StudyStampsConfig

    def run(self, detections: Table, stamps: Table, pixelPlaces: Table) -> Struct:
        """Make the tables.

        Parameters
        ----------
        detections, stamps, pixelPlaces : `astropy.table.Table`
            What `GatherComparisonTask` wrote for a visit.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            A table for each output connection.

        Raises
        ------
        ValueError
            Raised if detectors were compared with different detections.
        """
        bits = read_bits(detections)
        names = [bit.name for bit in bits if bit.role is not Role.PLANE]
        distribution = stamp_distribution(stamps, names)
        disagreements = disagreement_table(stamps, bits)
        return Struct(
            distribution=distribution,
            study=stamp_study_table(distribution, detections, min_pixels=self.config.minStampPixels),
            thresholds=stamp_threshold_table(distribution, list(self.config.thresholds)),
            labelCost=label_cost_table(stamps, detections),
            disagreements=disagreements,
            disagreementCounts=disagreement_counts(disagreements, stamps, bits),
            places=places_study_table(pixelPlaces, detections, stamps, bits),
        )
