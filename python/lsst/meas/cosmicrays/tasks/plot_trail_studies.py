# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draw what the trails of satellites do to rates."""

from __future__ import annotations

__all__ = ["PlotTrailStudiesConfig", "PlotTrailStudiesConnections", "PlotTrailStudiesTask"]

from typing import ClassVar

from astropy.table import Table

from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct

from .connections import INSTRUMENT, plot_output, table_input


class PlotTrailStudiesConnections(PipelineTaskConnections, dimensions=INSTRUMENT):
    """Connections of `PlotTrailStudiesTask`."""

    trailRates = table_input(
        "cr_instrument_trail_rates", "Rates of detectors with and without trails.", INSTRUMENT
    )
    plot = plot_output("cr_plot_trails", "Rates of detectors with and without trails.", INSTRUMENT)


class PlotTrailStudiesConfig(PipelineTaskConfig, pipelineConnections=PlotTrailStudiesConnections):
    """Configuration of `PlotTrailStudiesTask`."""


class PlotTrailStudiesTask(PipelineTask):
    """Draw what the trails of satellites do to rates."""

    ConfigClass: ClassVar[type[PlotTrailStudiesConfig]] = PlotTrailStudiesConfig
    _DefaultName: ClassVar[str] = "plotTrailStudies"
    config: PlotTrailStudiesConfig

    def run(self, trailRates: Table) -> Struct:
        """Draw the figure.

        Parameters
        ----------
        trailRates : `astropy.table.Table`
            What `GatherTrailStudiesTask` wrote.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``plot`` (`matplotlib.figure.Figure`).
        """
        # Only when something is drawn: matplotlib takes long to import.
        from ..report.study_figures import plot_trail_rates

        return Struct(plot=plot_trail_rates(trailRates))
