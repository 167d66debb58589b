# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draw the stamps on which detections disagree."""

from __future__ import annotations

__all__ = ["PlotDisagreementsConfig", "PlotDisagreementsConnections", "PlotDisagreementsTask"]

import itertools
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from astropy.table import Row, Table

from lsst.daf.butler import DeferredDatasetHandle
from lsst.pex.config import Field, ListField
from lsst.pipe.base import (
    InputQuantizedConnection,
    NoWorkFound,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)

from ..comparison import choose_disagreements
from ..report.stamp_cutouts import WantedStamp, describe_truth, read_stamps
from .connections import VISIT, plot_output, table_input
from .study_connections import stamp_images_input


class PlotDisagreementsConnections(PipelineTaskConnections, dimensions=VISIT):
    """Connections of `PlotDisagreementsTask`.

    Besides those below there is, for every ordered pair of detections in
    the config, the output ``plot_{first}_{second}``
    (``cr_plot_disagreements_{first}_{second}``).
    """

    disagreements = table_input(
        "cr_visit_disagreements", "Stamps that one detection calls a cosmic ray and another not.", VISIT
    )
    stampImages = stamp_images_input()

    def __init__(self, *, config: PlotDisagreementsConfig):
        super().__init__(config=config)
        for first, second in config.pairs():
            plot = plot_output(
                f"cr_plot_disagreements_{first}_{second}",
                f"Stamps that {first} calls cosmic rays and {second} does not.",
                VISIT,
            )
            setattr(self, f"plot_{first}_{second}", plot)


class PlotDisagreementsConfig(PipelineTaskConfig, pipelineConnections=PlotDisagreementsConnections):
    """Configuration of `PlotDisagreementsTask`."""

    detections = ListField[str](
        doc="Detections whose disagreements are drawn, each {finder}_{kind}{variant}: in ordered pairs.",
        default=[
            "morphological_science",
            "astroscrappy_science",
            "morphological_difference",
            "astroscrappy_difference",
        ],
    )
    reference = Field[str](
        doc="Draw only the pairs of which this detection is one; all, if it is not set. The report of "
        "2022 compares everything with morphological_science.",
        default=None,
        optional=True,
    )
    maxStamps = Field[int](doc="Most stamps in a gallery.", default=24, check=lambda value: value >= 1)
    maxStampsOfDetector = Field[int](
        doc="Most stamps of one detector in a gallery, lest one with a satellite fill it.",
        default=6,
        check=lambda value: value >= 1,
    )
    nColumns = Field[int](doc="Stamps in a row.", default=2, check=lambda value: value >= 1)

    def pairs(self) -> list[tuple[str, str]]:
        """Return the ordered pairs of detections.

        Returns
        -------
        pairs : `list` [`tuple` [`str`, `str`]]
            The detection that calls a stamp a cosmic ray, and that which
            does not.
        """
        pairs = itertools.permutations(self.detections, 2)
        return [pair for pair in pairs if self.reference is None or self.reference in pair]

    def validate(self) -> None:
        super().validate()
        if len(set(self.detections)) < max(2, len(self.detections)):
            raise ValueError(f"detections must be two or more that differ, not {list(self.detections)}.")
        if self.reference is not None and self.reference not in self.detections:
            raise ValueError(f"reference {self.reference!r} is none of detections: {list(self.detections)}.")


class PlotDisagreementsTask(PipelineTask):
    """Draw the stamps on which detections disagree."""

    ConfigClass: ClassVar[type[PlotDisagreementsConfig]] = PlotDisagreementsConfig
    _DefaultName: ClassVar[str] = "plotDisagreements"
    config: PlotDisagreementsConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        inputs = butlerQC.get(inputRefs)
        handles = {int(handle.dataId["detector"]): handle for handle in inputs.get("stampImages", [])}
        butlerQC.put(self.run(inputs["disagreements"], handles), outputRefs)

    def run(self, disagreements: Table, stampImages: Mapping[int, DeferredDatasetHandle]) -> Struct:
        """Draw a gallery for each ordered pair of detections.

        Parameters
        ----------
        disagreements : `astropy.table.Table`
            What `StudyStampsTask` wrote.
        stampImages : `~collections.abc.Mapping`
            By detector, what reads the cutouts that `CompareCosmicRaysTask`
            wrote: anything with a method ``get``. Detectors without are
            left out; the images of one are forgotten before those of the
            next are read.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            A `matplotlib.figure.Figure` for each output connection.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            Raised if no detector has cutouts.
        """
        # Only when something is drawn: matplotlib takes long to import.
        from ..report.stamp_gallery import plot_stamp_gallery

        if not stampImages:
            raise NoWorkFound("There are no stamp images: set doStampImages of CompareCosmicRaysTask.")
        shown = disagreements[np.isin(disagreements["detector"], list(stampImages))]
        chosen = {
            (first, second): choose_disagreements(
                shown,
                first,
                second,
                n_stamps=self.config.maxStamps,
                n_per_detector=self.config.maxStampsOfDetector,
            )
            for first, second in self.config.pairs()
        }
        wanted = {
            (*pair, int(row["rank"])): _want_stamp(row) for pair, rows in chosen.items() for row in rows
        }
        stamps = read_stamps(wanted, stampImages)
        result = Struct()
        for (first, second), rows in chosen.items():
            n_all = np.count_nonzero((disagreements["first"] == first) & (disagreements["second"] == second))
            gallery = [stamps[first, second, int(rank)] for rank in rows["rank"]]
            title = f"CR for {first},\nnot for {second}: {len(gallery)} of {n_all} stamps"
            figure = plot_stamp_gallery(gallery, title=title, n_columns=self.config.nColumns)
            setattr(result, f"plot_{first}_{second}", figure)
        return result


def _want_stamp(row: Row) -> WantedStamp:
    return WantedStamp(
        detector=int(row["detector"]),
        id=int(row["id"]),
        masks=(str(row["first"]), str(row["second"]), "truth"),
        caption=(
            f"{row['rank']}. detector {row['detector']}, x {row['x']:.0f}, y {row['y']:.0f}: "
            f"{row['n_cr_first']} and {row['n_cr_second']} CR pixels"
        ),
        truth=describe_truth(row),
    )
