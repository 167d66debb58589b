# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draw the studies of stamps: sizes, labels, their cost, and places."""

from __future__ import annotations

__all__ = ["PlotStampStudiesConfig", "PlotStampStudiesConnections", "PlotStampStudiesTask"]

from typing import ClassVar

from astropy.table import Table

from lsst.pex.config import Field
from lsst.pipe.base import NoWorkFound, PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct

from .connections import INSTRUMENT, plot_output, table_input


class PlotStampStudiesConnections(PipelineTaskConnections, dimensions=INSTRUMENT):
    """Connections of `PlotStampStudiesTask`."""

    distribution = table_input(
        "cr_instrument_stamp_distribution", "Stamps by their cosmic-ray pixels.", INSTRUMENT
    )
    study = table_input("cr_instrument_stamp_study", "Stamps of each detection.", INSTRUMENT)
    thresholds = table_input("cr_instrument_stamp_thresholds", "Labels by their threshold.", INSTRUMENT)
    labelCost = table_input("cr_instrument_label_cost", "What labels lose and let pass.", INSTRUMENT)
    places = table_input("cr_instrument_places", "Where masks disagree.", INSTRUMENT)
    plotDistribution = plot_output("cr_plot_stamp_distribution", "Cosmic-ray pixels of stamps.", INSTRUMENT)
    plotThresholds = plot_output("cr_plot_stamp_thresholds", "Labels by their threshold.", INSTRUMENT)
    plotLabelCost = plot_output("cr_plot_label_cost", "What labels lose and let pass.", INSTRUMENT)
    plotPlaces = plot_output("cr_plot_places", "Why pixels and stamps tell different stories.", INSTRUMENT)


class PlotStampStudiesConfig(PipelineTaskConfig, pipelineConnections=PlotStampStudiesConnections):
    """Configuration of `PlotStampStudiesTask`."""

    reference = Field[str](
        doc="Detection or truth that places are relative to; truth, or without it the first detection, if "
        "this is not set.",
        default=None,
        optional=True,
    )


class PlotStampStudiesTask(PipelineTask):
    """Draw the studies of stamps."""

    ConfigClass: ClassVar[type[PlotStampStudiesConfig]] = PlotStampStudiesConfig
    _DefaultName: ClassVar[str] = "plotStampStudies"
    config: PlotStampStudiesConfig

    def run(
        self, distribution: Table, study: Table, thresholds: Table, labelCost: Table, places: Table
    ) -> Struct:
        """Draw the figures.

        Parameters
        ----------
        distribution, study, thresholds, labelCost, places : \
                `astropy.table.Table`
            What `GatherStampStudiesTask` wrote.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            A `matplotlib.figure.Figure` for each output connection.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            Raised if nothing was compared with the reference.
        """
        # Only when something is drawn: matplotlib takes long to import.
        from ..report.study_figures import (
            plot_label_cost,
            plot_places,
            plot_stamp_distribution,
            plot_stamp_thresholds,
        )

        references = [str(name) for name in places["reference"]]
        reference = self.config.reference or (
            "truth" if "truth" in references else next(iter(references), "")
        )
        if reference not in references:
            raise NoWorkFound(f"Nothing was compared with {reference!r}.")
        return Struct(
            plotDistribution=plot_stamp_distribution(distribution, study),
            plotThresholds=plot_stamp_thresholds(thresholds),
            plotLabelCost=plot_label_cost(labelCost),
            plotPlaces=plot_places(places, reference),
        )
