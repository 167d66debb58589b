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
from collections.abc import Iterable, Mapping
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
from lsst.pipe.base.connectionTypes import Input

from ..comparison import choose_disagreements
from ..report.stamp_gallery import GalleryStamp, plot_stamp_gallery
from .connections import DETECTOR, VISIT, plot_output, table_input

type _Key = tuple[str, str, int]


class PlotDisagreementsConnections(PipelineTaskConnections, dimensions=VISIT):
    """Connections of `PlotDisagreementsTask`.

    Besides those below there is, for every ordered pair of detections in
    the config, the output ``plot_{first}_{second}``
    (``cr_plot_disagreements_{first}_{second}``).
    """

    disagreements = table_input(
        "cr_visit_disagreements", "Stamps that one detection calls a cosmic ray and another not.", VISIT
    )
    stampImages = Input(
        doc="Cutouts of the stamps of each detector.",
        name="cr_stamp_images",
        storageClass="ArrowAstropy",
        dimensions=DETECTOR,
        multiple=True,
        deferLoad=True,
        minimum=0,
    )

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
        doc="Detections whose disagreements are drawn, each {finder}_{kind}{variant}: all ordered pairs.",
        default=[
            "morphological_science",
            "astroscrappy_science",
            "morphological_difference",
            "astroscrappy_difference",
        ],
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
        return list(itertools.permutations(self.detections, 2))

    def validate(self) -> None:
        super().validate()
        if len(set(self.detections)) < max(2, len(self.detections)):
            raise ValueError(f"detections must be two or more that differ, not {list(self.detections)}.")


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
        stamps = self._read_stamps(chosen, stampImages)
        result = Struct()
        for (first, second), rows in chosen.items():
            n_all = np.count_nonzero((disagreements["first"] == first) & (disagreements["second"] == second))
            gallery = [stamps[first, second, int(rank)] for rank in rows["rank"]]
            title = f"CR for {first},\nnot for {second}: {len(gallery)} of {n_all} stamps"
            figure = plot_stamp_gallery(gallery, title=title, n_columns=self.config.nColumns)
            setattr(result, f"plot_{first}_{second}", figure)
        return result

    def _read_stamps(
        self, chosen: Mapping[tuple[str, str], Table], handles: Mapping[int, DeferredDatasetHandle]
    ) -> dict[_Key, GalleryStamp]:
        """Read the chosen stamps, by pair and rank."""
        wanted: dict[int, list[tuple[_Key, Row]]] = {}
        for (first, second), rows in chosen.items():
            for row in rows:
                key = first, second, int(row["rank"])
                wanted.setdefault(int(row["detector"]), []).append((key, row))
        stamps: dict[_Key, GalleryStamp] = {}
        for detector, of_detector in sorted(wanted.items(), key=lambda item: item[0]):
            images = handles[detector].get()
            stamps |= dict(_make_stamps(images, of_detector))
        return stamps


def _make_stamps(images: Table, wanted: Iterable[tuple[_Key, Row]]) -> Iterable[tuple[_Key, GalleryStamp]]:
    """Take stamps out of the table of a detector, by copy."""
    numbers = {int(identifier): number for number, identifier in enumerate(images["id"])}
    for (first, second, rank), row in wanted:
        cutouts = images[numbers[int(row["id"])]]
        masks = {name: f"mask_{name}" for name in (first, second, "truth")}
        yield (
            (first, second, rank),
            GalleryStamp(
                template=np.array(cutouts["template"]),
                science=np.array(cutouts["science"]),
                difference=np.array(cutouts["difference"]),
                masks={
                    name: np.array(cutouts[column])
                    for name, column in masks.items()
                    if column in images.colnames
                },
                caption=(
                    f"{rank}. detector {row['detector']}, x {row['x']:.0f}, y {row['y']:.0f}: "
                    f"{row['n_cr_first']} and {row['n_cr_second']} CR pixels"
                ),
                truth=_describe_truth(row),
            ),
        )


def _describe_truth(row: Row) -> str | None:
    """Say what a source is, and whether a cosmic ray is in its stamp."""
    kind = str(row["true_kind"]).replace("_", " ")
    in_stamp = {1: "CR in stamp", 0: "no CR in stamp"}.get(int(row["label_truth"]), "")
    return ", ".join(part for part in (kind, in_stamp) if part) or None
