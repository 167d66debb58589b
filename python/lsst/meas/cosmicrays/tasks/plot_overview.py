# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draw a whole study at a glance."""

from __future__ import annotations

__all__ = ["PlotOverviewConfig", "PlotOverviewConnections", "PlotOverviewTask"]

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from astropy.table import Table

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
from lsst.pipe.base.connectionTypes import Input

from ..comparison import (
    Role,
    add_focal_planes,
    completeness_columns,
    completeness_table,
    read_bits,
    region_table,
)
from .connections import INSTRUMENT, VISIT, plot_output, table_input, table_output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHAPES = ("is_reference", "n_pixels", "length", "charge")


class PlotOverviewConnections(
    PipelineTaskConnections,
    dimensions=INSTRUMENT,
    defaultTemplates={
        "density": "morphological_science",
        "first": "morphological_science",
        "second": "astroscrappy_science",
    },
):
    """Connections of `PlotOverviewTask`."""

    detections = table_input("cr_instrument_detections", "What each detection found.", INSTRUMENT)
    counts = table_input("cr_instrument_counts", "Joint histogram of the masks.", INSTRUMENT)
    objects = Input(
        doc="Cosmic rays as objects, of which only some columns are read.",
        name="cr_instrument_objects",
        storageClass="ArrowAstropy",
        dimensions=INSTRUMENT,
        deferLoad=True,
    )
    focalPlanes = table_input(
        "cr_visit_focal_plane", "Cosmic-ray pixels by detector.", VISIT, multiple=True, minimum=0
    )
    completeness = table_output(
        "cr_instrument_completeness", "Completeness in bins of length, charge and star distance.", INSTRUMENT
    )
    upset = table_output("cr_instrument_upset", "Pixels of each combination of detections.", INSTRUMENT)
    focalPlane = table_output(
        "cr_instrument_focal_plane", "Cosmic-ray pixels and disagreements by detector.", INSTRUMENT
    )
    plotCompleteness = plot_output(
        "cr_plot_completeness", "Completeness against length, charge and star distance.", INSTRUMENT
    )
    plotUpset = plot_output("cr_plot_upset", "Pixels of each combination of detections.", INSTRUMENT)
    plotRunTimes = plot_output("cr_plot_run_times", "Run time of every detection.", INSTRUMENT)
    plotDistributions = plot_output(
        "cr_plot_distributions", "Densities of detectors, shapes and charges of cosmic rays.", INSTRUMENT
    )
    plotDensity = plot_output(
        "cr_plot_focal_plane_density", "Map of the density of cosmic-ray pixels.", INSTRUMENT
    )
    plotDisagreement = plot_output(
        "cr_plot_focal_plane_disagreement", "Map of the pixels on which two detections disagree.", INSTRUMENT
    )


class PlotOverviewConfig(PipelineTaskConfig, pipelineConnections=PlotOverviewConnections):
    """Configuration of `PlotOverviewTask`."""

    mostCombinations = Field[int](
        doc="Combinations of detections in the UpSet plot.", default=24, check=lambda value: value >= 1
    )


class PlotOverviewTask(PipelineTask):
    """Draw completeness, combinations, run times and the focal plane.

    What cannot be drawn, as completeness without truth, is not written.
    """

    ConfigClass: ClassVar[type[PlotOverviewConfig]] = PlotOverviewConfig
    _DefaultName: ClassVar[str] = "plotOverview"
    config: PlotOverviewConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        detections = butlerQC.get(inputRefs.detections)
        handle = butlerQC.get(inputRefs.objects)
        wanted = [*_SHAPES, *completeness_columns(_names(detections))]
        there = set(handle.get(component="columns"))
        objects = handle.get(
            parameters={"columns": [name for name in dict.fromkeys(wanted) if name in there]}
        )
        planes = [
            butlerQC.get(ref)
            for ref in sorted(getattr(inputRefs, "focalPlanes", []), key=lambda ref: ref.dataId)
        ]
        outputs = self.run(detections, butlerQC.get(inputRefs.counts), objects, planes)
        butlerQC.put(outputs, outputRefs)

    def run(
        self, detections: Table, counts: Table, objects: Table, focalPlanes: Sequence[Table] = ()
    ) -> Struct:
        """Draw the figures, and make the tables that they show.

        Parameters
        ----------
        detections : `astropy.table.Table`
            What each detection found on each detector.
        counts : `astropy.table.Table`
            Joint histogram of the masks.
        objects : `astropy.table.Table`
            Cosmic rays as objects.
        focalPlanes : `~collections.abc.Sequence` [`astropy.table.Table`]
            Counts by detector of visits.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            A table or figure for each output connection; `None` where there
            is nothing to show.
        """
        # Only when something is drawn: matplotlib takes long to import.
        from ..report.overview_figures import (
            plot_completeness,
            plot_distributions,
            plot_run_times,
            plot_upset,
        )

        names = _names(detections)
        bits = {
            bit.name: number for number, bit in enumerate(read_bits(detections)) if bit.role is Role.DETECTION
        }
        completeness = completeness_table(objects, names)
        combinations = region_table(counts, bits)
        result = Struct(
            completeness=completeness if np.any(completeness["n"] > 0) else None,
            upset=combinations if len(combinations) else None,
            plotRunTimes=plot_run_times(detections),
            plotDistributions=plot_distributions(detections, objects),
        )
        if result.completeness is not None:
            result.plotCompleteness = plot_completeness(completeness)
        if result.upset is not None:
            result.plotUpset = plot_upset(combinations, list(bits), most=self.config.mostCombinations)
        if focalPlanes:
            result.focalPlane = add_focal_planes(focalPlanes)
            result.plotDensity, result.plotDisagreement = self._draw_maps(result.focalPlane)
        return result

    def _draw_maps(self, focal_plane: Table) -> tuple[Figure | None, Figure]:
        """Draw density and disagreement; no density of an unknown mask."""
        from ..report.overview_figures import plot_focal_plane

        templates: Any = self.config.connections
        n_visits = int(np.max(focal_plane["n_visits"]))
        visits = f"{n_visits} visit{'s' if n_visits > 1 else ''}"
        density = None
        if f"density_{templates.density}" in focal_plane.colnames:
            density = plot_focal_plane(
                focal_plane,
                f"density_{templates.density}",
                "CR pixels per Mpix",
                title=f"Cosmic rays of {templates.density}, {visits}",
            )
        disagreement = plot_focal_plane(
            focal_plane,
            "density_disagreeing",
            "pixels per Mpix that only one has",
            title=f"{templates.first} against {templates.second}, {visits}",
        )
        return density, disagreement


def _names(detections: Table) -> list[str]:
    """Return the names of detections, in their order."""
    return list(
        dict.fromkeys(str(name) for name in detections["detection"][detections["role"] == "detection"])
    )
