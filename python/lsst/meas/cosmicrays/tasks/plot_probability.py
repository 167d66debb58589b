# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draw how good probabilities are at every threshold."""

from __future__ import annotations

__all__ = ["PlotProbabilityConfig", "PlotProbabilityConnections", "PlotProbabilityTask"]

from typing import ClassVar

from astropy.table import Table

from lsst.pex.config import Field
from lsst.pipe.base import NoWorkFound, PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct

from .connections import INSTRUMENT, plot_output, table_input


class PlotProbabilityConnections(PipelineTaskConnections, dimensions=INSTRUMENT):
    """Connections of `PlotProbabilityTask`."""

    curve = table_input(
        "cr_instrument_probability_curve",
        "Purity, completeness and false-positive rate at every threshold, over all visits.",
        INSTRUMENT,
    )
    summary = table_input(
        "cr_instrument_probability_summary", "What follows from the curves, over all visits.", INSTRUMENT
    )
    plot = plot_output(
        "cr_plot_precision_recall",
        "Purity over completeness, and completeness over false-positive rate.",
        INSTRUMENT,
    )


class PlotProbabilityConfig(PipelineTaskConfig, pipelineConnections=PlotProbabilityConnections):
    """Configuration of `PlotProbabilityTask`."""

    reference = Field[str](
        doc="Name of the truth to draw: 'truth', or 'truth_5sigma' and the like.", default="truth"
    )


class PlotProbabilityTask(PipelineTask):
    """Draw precision over recall, and recall over false-positive rate."""

    ConfigClass: ClassVar[type[PlotProbabilityConfig]] = PlotProbabilityConfig
    _DefaultName: ClassVar[str] = "plotProbability"
    config: PlotProbabilityConfig

    def run(self, curve: Table, summary: Table) -> Struct:
        """Draw the figure.

        Parameters
        ----------
        curve, summary : `astropy.table.Table`
            What `GatherComparisonTask` wrote of probabilities.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``plot`` (`matplotlib.figure.Figure`).

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            Raised if no probability was compared with that truth.
        """
        # Only when something is drawn: matplotlib takes long to import.
        from ..report.probability_figures import plot_precision_recall

        if self.config.reference not in set(summary["reference"]):
            raise NoWorkFound(f"No probability was compared with {self.config.reference!r}.")
        return Struct(plot=plot_precision_recall(curve, summary, self.config.reference))
