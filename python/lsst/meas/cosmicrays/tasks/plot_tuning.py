# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draw tuning curves and where they are best."""

from __future__ import annotations

__all__ = ["PlotTuningConfig", "PlotTuningConnections", "PlotTuningTask"]

from typing import ClassVar

from astropy.table import Table

from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct

from .connections import INSTRUMENT, plot_output, table_input


class PlotTuningConnections(PipelineTaskConnections, dimensions=INSTRUMENT, defaultTemplates={"variant": ""}):
    """Connections of `PlotTuningTask`."""

    total = table_input("cr_instrument_tuning_curve{variant}", "The sum of all curves.", INSTRUMENT)
    optimum = table_input("cr_tuning_optimum{variant}", "Where the sum is best.", INSTRUMENT)
    plot = plot_output("cr_plot_tuning{variant}", "Wide and narrow search, and the optima.", INSTRUMENT)


class PlotTuningConfig(PipelineTaskConfig, pipelineConnections=PlotTuningConnections):
    """Configuration of `PlotTuningTask`."""


class PlotTuningTask(PipelineTask):
    """Draw what `GatherTuningTask` wrote."""

    ConfigClass: ClassVar[type[PlotTuningConfig]] = PlotTuningConfig
    _DefaultName: ClassVar[str] = "plotTuning"
    config: PlotTuningConfig

    def run(self, total: Table, optimum: Table) -> Struct:
        """Draw the figure.

        Parameters
        ----------
        total : `astropy.table.Table`
            The sum of the curves of all detectors.
        optimum : `astropy.table.Table`
            Where it is best.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``plot`` (`matplotlib.figure.Figure`).
        """
        # Only when something is drawn: matplotlib takes long to import.
        from ..report.tuning_figures import plot_tuning

        return Struct(plot=plot_tuning(total, optimum))
