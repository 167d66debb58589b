# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draw how good the finders are."""

from __future__ import annotations

__all__ = ["PlotComparisonConfig", "PlotComparisonConnections", "PlotComparisonTask"]

from typing import ClassVar

from astropy.table import Table

from lsst.pipe.base import NoWorkFound, PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct
from lsst.pipe.base.connectionTypes import Input, Output


class PlotComparisonConnections(
    PipelineTaskConnections,
    dimensions=("instrument",),
    defaultTemplates={"reference": "truth"},
):
    """Connections of `PlotComparisonTask`."""

    confusion = Input(
        doc="Confusion matrices and rates over all visits.",
        name="cr_instrument_confusion",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
    )
    plot = Output(
        doc="Purity, completeness and F1 of every detection.",
        name="cr_plot_rates_{reference}",
        storageClass="Plot",
        dimensions=("instrument",),
    )


class PlotComparisonConfig(PipelineTaskConfig, pipelineConnections=PlotComparisonConnections):
    """Configuration of `PlotComparisonTask`."""


class PlotComparisonTask(PipelineTask):
    """Draw purity, completeness and F1 with their intervals."""

    ConfigClass: ClassVar[type[PlotComparisonConfig]] = PlotComparisonConfig
    _DefaultName: ClassVar[str] = "plotComparison"
    config: PlotComparisonConfig

    def run(self, confusion: Table) -> Struct:
        """Draw the figure.

        Parameters
        ----------
        confusion : `astropy.table.Table`
            What `GatherComparisonTask` wrote.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``plot`` (`matplotlib.figure.Figure`).

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            Raised if nothing was compared with the reference.
        """
        # Only when something is drawn: matplotlib takes long to import.
        from ..report.figures import plot_rates

        reference = self.config.connections.reference
        if reference not in set(confusion["reference"]):
            raise NoWorkFound(f"Nothing was compared with {reference!r}.")
        return Struct(plot=plot_rates(confusion, reference))
