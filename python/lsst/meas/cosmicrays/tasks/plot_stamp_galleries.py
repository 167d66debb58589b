# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Task that draws stamps by their cosmic-ray pixels and by their labels."""

from __future__ import annotations

__all__ = ["PlotStampGalleriesConfig", "PlotStampGalleriesConnections", "PlotStampGalleriesTask"]

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

from ..comparison import STAMP_THRESHOLDS, sample_stamps, stamps_by_pixels
from ..report.stamp_cutouts import WantedStamp, describe_truth, read_stamps
from .connections import VISIT, plot_output, table_input
from .study_connections import stamp_images_input

GALLERIES = {
    "by_pixels": "Stamps with given numbers of cosmic-ray pixels",
    "one_pixel": "Stamps with one cosmic-ray pixel",
    "cr": "Sample of stamps that are CR",
    "not_cr": "Sample of stamps that are not CR",
}
"""Galleries of a detection, and what they show."""


class PlotStampGalleriesConnections(PipelineTaskConnections, dimensions=VISIT):
    """Connections of `PlotStampGalleriesTask`.

    Besides those below there are, for every detection in the config, the
    outputs ``plot_{gallery}_{detection}``
    (``cr_plot_stamp_gallery_{gallery}_{detection}``) with the galleries
    ``by_pixels``, ``one_pixel``, ``cr`` and ``not_cr``.
    """

    stamps = table_input("cr_visit_stamps", "Stamps around DIASources.", VISIT)
    stampImages = stamp_images_input()

    def __init__(self, *, config: PlotStampGalleriesConfig):
        super().__init__(config=config)
        for detection in config.detections:
            for gallery, doc in GALLERIES.items():
                name = f"{gallery}_{detection}"
                plot = plot_output(f"cr_plot_stamp_gallery_{name}", f"{doc} for {detection}.", VISIT)
                setattr(self, f"plot_{name}", plot)


class PlotStampGalleriesConfig(PipelineTaskConfig, pipelineConnections=PlotStampGalleriesConnections):
    """Configuration of `PlotStampGalleriesTask`."""

    detections = ListField[str](
        doc="Detections whose stamps are drawn, each {finder}_{kind}{variant}.",
        default=["morphological_science"],
        minLength=1,
    )
    numbers = ListField[int](
        doc="Numbers of cosmic-ray pixels of which stamps are shown.", default=list(STAMP_THRESHOLDS)
    )
    maxStampsOfNumber = Field[int](
        doc="Most stamps with one of these numbers.", default=2, check=lambda value: value >= 1
    )
    maxOnePixelStamps = Field[int](
        doc="Most stamps with one cosmic-ray pixel.", default=48, check=lambda value: value >= 1
    )
    maxStamps = Field[int](doc="Most stamps of a sample.", default=24, check=lambda value: value >= 1)
    nColumns = Field[int](doc="Stamps in a row.", default=2, check=lambda value: value >= 1)
    seed = Field[int](doc="Seed of what is drawn where there is more.", default=2022)


class PlotStampGalleriesTask(PipelineTask):
    """Draw stamps by their cosmic-ray pixels, and samples of both labels."""

    ConfigClass: ClassVar[type[PlotStampGalleriesConfig]] = PlotStampGalleriesConfig
    _DefaultName: ClassVar[str] = "plotStampGalleries"
    config: PlotStampGalleriesConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        inputs = butlerQC.get(inputRefs)
        handles = {int(handle.dataId["detector"]): handle for handle in inputs.get("stampImages", [])}
        butlerQC.put(self.run(inputs["stamps"], handles), outputRefs)

    def run(self, stamps: Table, stampImages: Mapping[int, DeferredDatasetHandle]) -> Struct:
        """Draw the galleries of each detection.

        Parameters
        ----------
        stamps : `astropy.table.Table`
            Stamps of a visit, as `GatherComparisonTask` wrote them.
        stampImages : `~collections.abc.Mapping`
            By detector, what reads the cutouts that `CompareCosmicRaysTask`
            wrote. Detectors without are left out; the images of one are
            forgotten before those of the next are read.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            A `matplotlib.figure.Figure` for each output connection of a
            detection that has labelled stamps.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            Raised if no detector has cutouts, or none of the detections has
            stamps.
        """
        # Only when something is drawn: matplotlib takes long to import.
        from ..report.stamp_gallery import plot_stamp_gallery

        if not stampImages:
            raise NoWorkFound("There are no stamp images: set doStampImages of CompareCosmicRaysTask.")
        shown = stamps[np.isin(stamps["detector"], list(stampImages))]
        detections = [name for name in self.config.detections if f"n_cr_{name}" in stamps.colnames]
        if not detections:
            raise NoWorkFound(f"No stamps were labelled by {', '.join(self.config.detections)}.")
        chosen = {
            (gallery, name): self._choose(shown, gallery, name)
            for gallery, name in itertools.product(GALLERIES, detections)
        }
        wanted = {
            (*key, number): _want_stamp(row, key[1])
            for key, rows in chosen.items()
            for number, row in enumerate(rows)
        }
        cutouts = read_stamps(wanted, stampImages)
        result = Struct()
        for (gallery, name), rows in chosen.items():
            figure = plot_stamp_gallery(
                [cutouts[gallery, name, number] for number in range(len(rows))],
                title=self._title(gallery, name, rows),
                n_columns=self.config.nColumns,
            )
            setattr(result, f"plot_{gallery}_{name}", figure)
        return result

    def _choose(self, stamps: Table, gallery: str, detection: str) -> Table:
        """Choose the stamps of a gallery."""
        seed = self.config.seed
        match gallery:
            case "by_pixels":
                numbers, n_each = list(self.config.numbers), self.config.maxStampsOfNumber
                return stamps_by_pixels(stamps, detection, numbers, n_each=n_each, seed=seed)
            case "one_pixel":
                n_each = self.config.maxOnePixelStamps
                return stamps_by_pixels(stamps, detection, [1], n_each=n_each, seed=seed)
            case _:
                label = int(gallery == "cr")
                return sample_stamps(stamps, detection, label, n_stamps=self.config.maxStamps, seed=seed)

    def _title(self, gallery: str, detection: str, rows: Table) -> str:
        """Say what is shown, and of how many."""
        title = f"{GALLERIES[gallery]},\n{detection}"
        if gallery != "by_pixels":
            return f"{title}: {len(rows)} of {rows['n_alike'][0] if len(rows) else 0} stamps"
        there = set(rows[f"n_cr_{detection}"].tolist())
        absent = [str(number) for number in self.config.numbers if number not in there]
        return f"{title}{f'; no stamp has exactly {", ".join(absent)}' if absent else ''}"


def _want_stamp(row: Row, detection: str) -> WantedStamp:
    n_cr = int(row[f"n_cr_{detection}"])
    pixels = "pixel" if n_cr == 1 else "pixels"
    place = f"visit {row['visit']}, detector {row['detector']}, x {row['x']:.0f}, y {row['y']:.0f}"
    return WantedStamp(
        detector=int(row["detector"]),
        id=int(row["id"]),
        masks=(detection, "truth"),
        caption=f"{n_cr} CR {pixels}; {place}",
        truth=describe_truth(row),
    )
