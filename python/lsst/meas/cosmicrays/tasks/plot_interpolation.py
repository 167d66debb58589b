# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draw what interpolation over cosmic rays does to DIASources."""

from __future__ import annotations

__all__ = ["PlotInterpolationConfig", "PlotInterpolationConnections", "PlotInterpolationTask"]

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from astropy.table import Table, vstack

from lsst.pex.config import Field
from lsst.pipe.base import (
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)

from ..report.interpolation_groups import GROUPS
from .connections import VISIT, plot_output, table_input


class PlotInterpolationConnections(PipelineTaskConnections, dimensions=VISIT):
    """Connections of `PlotInterpolationTask`."""

    stampImages = dataclasses.replace(
        table_input("cr_interpolation_stamp_images", "Cutouts of the most telling sources.", multiple=True),
        deferLoad=True,
    )
    vanished = plot_output("cr_plot_interpolation_vanished", GROUPS["vanished"], VISIT)
    remaining = plot_output("cr_plot_interpolation_remaining", GROUPS["remaining"], VISIT)
    new = plot_output("cr_plot_interpolation_new", GROUPS["new"], VISIT)
    object_and_cr = plot_output("cr_plot_interpolation_object_and_cr", GROUPS["object_and_cr"], VISIT)


class PlotInterpolationConfig(PipelineTaskConfig, pipelineConnections=PlotInterpolationConnections):
    """Configuration of `PlotInterpolationTask`."""

    maxStamps = Field[int](doc="Most sources in a figure.", default=20, check=lambda value: value >= 1)


class PlotInterpolationTask(PipelineTask):
    """Draw stamps without and with interpolation, the most telling first."""

    ConfigClass: ClassVar[type[PlotInterpolationConfig]] = PlotInterpolationConfig
    _DefaultName: ClassVar[str] = "plotInterpolation"
    config: PlotInterpolationConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        references = sorted(inputRefs.stampImages, key=lambda ref: ref.dataId)
        tables = (
            (int(ref.dataId["visit"]), int(ref.dataId["detector"]), butlerQC.get(ref).get())
            for ref in references
        )
        butlerQC.put(self.run(tables), outputRefs)

    def run(self, stampImages: Iterable[tuple[int, int, Table]]) -> Struct:
        """Draw the figures.

        Parameters
        ----------
        stampImages : `~collections.abc.Iterable`
            Visit, detector and cutouts of each detector. They are taken one
            at a time, and no more is kept than is drawn.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            A `matplotlib.figure.Figure` for each output connection.
        """
        # Only when something is drawn: matplotlib takes long to import.
        from ..report.interpolation_figures import plot_interpolation_examples

        best: dict[str, Table | None] = dict.fromkeys(GROUPS)
        for visit, detector, table in stampImages:
            table["visit"], table["detector"] = visit, detector
            for group, kept in best.items():
                found = table[np.asarray(table["group"]) == group]
                both = found if kept is None else vstack([kept, found], metadata_conflicts="silent")
                # Stable: of equal rank, the first detectors come first.
                order = np.argsort(both["rank"], kind="stable")
                best[group] = both[order[: self.config.maxStamps]]
        return Struct(
            **{
                group: plot_interpolation_examples(Table() if examples is None else examples, group)
                for group, examples in best.items()
            }
        )
