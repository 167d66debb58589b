# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gather comparisons: of detectors to a visit, of visits to an instrument.

`GatherComparisonTask` does both. Its config field ``level`` says which, and
with it changes its dimensions and dataset types: at level ``visit`` it reads
the ``cr_*`` tables of the detectors of a visit and writes ``cr_visit_*``, at
level ``instrument`` it reads the ``cr_visit_*`` tables of all visits and
writes ``cr_instrument_*``. A pipeline has it under two labels.
"""

from __future__ import annotations

__all__ = ["GatherComparisonConfig", "GatherComparisonConnections", "GatherComparisonTask"]

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from astropy.table import Table

from lsst.pex.config import ChoiceField, Field
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
    add_counts,
    add_places,
    add_probability_counts,
    confusion_table,
    needs_clusters,
    probability_curve,
    probability_summary,
    read_bits,
    stack_tables,
    summary_table,
)
from .connections import INSTRUMENT, VISIT, table_input, table_output

PROBABILITY_CONNECTIONS = (
    "detectorProbabilityCounts",
    "probabilityCounts",
    "probabilityCurve",
    "probabilitySummary",
)


def _gathered(name: str, doc: str) -> Input:
    return table_input(name, doc, multiple=True)


class GatherComparisonConnections(PipelineTaskConnections, dimensions=VISIT):
    """Connections of `GatherComparisonTask`, at level ``visit``.

    At level ``instrument`` an input is what its output is at level ``visit``
    (``detectorStamps`` is what ``stamps`` was), and in the names of the
    outputs ``cr_visit_`` becomes ``cr_instrument_``. The outputs
    ``pixelPairs`` and ``clusterCounts`` are not written then.
    """

    detectorCounts = _gathered("cr_pixel_counts", "Joint histograms of the masks.")
    detectorCountsDilated = _gathered(
        "cr_pixel_counts_dilated", "Joint histograms of the masks and their 1-pixel dilations."
    )
    detectorDetections = _gathered(
        "cr_detections", "What the bits of the codes are, and what is known of each detection."
    )
    detectorPixelPairs = _gathered("cr_pixel_pairs", "Pixel-wise confusion of every pair of masks.")
    detectorPixelPlaces = _gathered("cr_pixel_places", "Where the pixels lie on which two masks disagree.")
    detectorClusterCounts = _gathered("cr_cluster_counts", "Joint histograms within every cosmic ray.")
    detectorProbabilityCounts = _gathered(
        "cr_probability_counts", "Histograms of the probabilities of true and of other pixels."
    )
    detectorStamps = _gathered("cr_stamps", "Stamps around DIASources.")
    detectorObjects = _gathered("cr_objects", "Cosmic rays as objects.")
    counts = table_output("cr_visit_counts", "Joint histogram of the masks, added up.", VISIT)
    countsDilated = table_output(
        "cr_visit_counts_dilated",
        "Joint histogram of the masks and their 1-pixel dilations, added up.",
        VISIT,
    )
    detections = table_output(
        "cr_visit_detections",
        "What the bits of the codes are, and what is known of each detection, by detector.",
        VISIT,
    )
    pixelPairs = table_output(
        "cr_visit_pixel_pairs", "Pixel-wise confusion of every pair of masks, by detector.", VISIT
    )
    pixelPlaces = table_output(
        "cr_visit_pixel_places", "Where the pixels lie on which two masks disagree, added up.", VISIT
    )
    clusterCounts = table_output(
        "cr_visit_cluster_counts",
        "Joint histogram within every cosmic ray, for visits of few detectors; else empty.",
        VISIT,
    )
    probabilityCounts = table_output(
        "cr_visit_probability_counts",
        "Histogram of the probabilities of true and of other pixels, added up.",
        VISIT,
    )
    probabilityCurve = table_output(
        "cr_visit_probability_curve",
        "Purity, completeness and false-positive rate at every threshold of a probability.",
        VISIT,
    )
    probabilitySummary = table_output(
        "cr_visit_probability_summary",
        "Average precision, purity at high completeness and best F1 of every probability.",
        VISIT,
    )
    stamps = table_output("cr_visit_stamps", "Stamps around DIASources.", VISIT)
    objects = table_output("cr_visit_objects", "Cosmic rays as objects.", VISIT)
    confusion = table_output(
        "cr_visit_confusion",
        "Confusion matrix of every pair of masks by pixel, stamp and object, with rates and intervals.",
        VISIT,
    )
    summary = table_output(
        "cr_visit_summary",
        "One row a detection: what it found, how much, how fast, and how often not.",
        VISIT,
    )

    def __init__(self, *, config: GatherComparisonConfig):
        super().__init__(config=config)
        if not config.doProbability:
            for name in PROBABILITY_CONNECTIONS:
                delattr(self, name)
        if config.level == "instrument":
            self._raise_to_instrument()

    def _raise_to_instrument(self) -> None:
        """Make inputs of what were outputs, and outputs of all visits."""
        self.dimensions = {"instrument"}
        for name in set(self.inputs):
            gathered = getattr(self, _output_of(name))
            raised = dataclasses.replace(getattr(self, name), name=gathered.name, dimensions=VISIT)
            setattr(self, name, raised)
        for name in set(self.outputs):
            output = getattr(self, name)
            renamed = output.name.replace("cr_visit_", "cr_instrument_")
            setattr(self, name, dataclasses.replace(output, name=renamed, dimensions=INSTRUMENT))
        del self.pixelPairs
        del self.clusterCounts


class GatherComparisonConfig(PipelineTaskConfig, pipelineConnections=GatherComparisonConnections):
    """Configuration of `GatherComparisonTask`."""

    level = ChoiceField[str](
        doc="What is gathered.",
        default="visit",
        optional=False,
        allowed={
            "visit": "The detectors of a visit.",
            "instrument": "The visits of an instrument.",
        },
    )
    doProbability = Field[bool](
        doc="Gather the histograms of probabilities too? Set it where CompareCosmicRaysTask has some in its "
        "probabilities.",
        default=False,
    )
    probabilityRecall = Field[float](
        doc="Completeness at which the purity of probabilities is told.",
        default=0.95,
        check=lambda value: 0.0 < value <= 1.0,
    )
    nBootstrap = Field[int](
        doc="Number of replicates from which the intervals of pixel-wise rates follow.",
        default=1000,
        check=lambda value: value >= 1,
    )
    seed = Field[int](doc="Seed of the bootstrap.", default=2022, check=lambda value: value >= 0)


class GatherComparisonTask(PipelineTask):
    """Gather the tables of detectors, or of visits, and judge detections."""

    ConfigClass: ClassVar[type[GatherComparisonConfig]] = GatherComparisonConfig
    _DefaultName: ClassVar[str] = "gatherComparison"
    config: GatherComparisonConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        tables = {}
        for name in inputRefs.keys():
            ordered = sorted(getattr(inputRefs, name), key=lambda ref: ref.dataId)
            tables[name] = [(_identity(ref.dataId), butlerQC.get(ref)) for ref in ordered]
        butlerQC.put(self.run(**tables), outputRefs)

    def run(
        self,
        detectorCounts: Sequence[tuple[Mapping[str, int], Table]],
        detectorCountsDilated: Sequence[tuple[Mapping[str, int], Table]],
        detectorDetections: Sequence[tuple[Mapping[str, int], Table]],
        detectorPixelPairs: Sequence[tuple[Mapping[str, int], Table]],
        detectorPixelPlaces: Sequence[tuple[Mapping[str, int], Table]],
        detectorClusterCounts: Sequence[tuple[Mapping[str, int], Table]],
        detectorStamps: Sequence[tuple[Mapping[str, int], Table]],
        detectorObjects: Sequence[tuple[Mapping[str, int], Table]],
        detectorProbabilityCounts: Sequence[tuple[Mapping[str, int], Table]] = (),
    ) -> Struct:
        """Gather tables.

        Every input is a sequence of pairs: what identifies the rows of a
        table (``{"visit": 7, "detector": 3}``; nothing, if columns of the
        table do), and the table.

        Parameters
        ----------
        detectorCounts, detectorCountsDilated : `~collections.abc.Sequence`
            Joint histograms.
        detectorDetections : `~collections.abc.Sequence`
            What the bits of the codes are.
        detectorPixelPairs, detectorPixelPlaces : `~collections.abc.Sequence`
            How and where pairs of masks agree and disagree.
        detectorClusterCounts : `~collections.abc.Sequence`
            Joint histograms within every cosmic ray.
        detectorStamps, detectorObjects : `~collections.abc.Sequence`
            Stamps and objects.
        detectorProbabilityCounts : `~collections.abc.Sequence`, optional
            Histograms of probabilities, read if ``doProbability``.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            A table for each output connection.

        Raises
        ------
        ValueError
            Raised if the tables were made with different detections.
        """
        detections = stack_tables(detectorDetections)
        bits = read_bits(detections)
        pixel_pairs = stack_tables(detectorPixelPairs)
        n_kept = None if needs_clusters(detections) else 0
        clusters = stack_tables([(identity, table[:n_kept]) for identity, table in detectorClusterCounts])
        stamps, objects = stack_tables(detectorStamps), stack_tables(detectorObjects)
        confusion = confusion_table(
            detections,
            pixel_pairs,
            stamps,
            objects,
            clusters,
            n_replicates=self.config.nBootstrap,
            seed=self.config.seed,
        )
        result = Struct(
            counts=add_counts(table for _, table in detectorCounts),
            countsDilated=add_counts(table for _, table in detectorCountsDilated),
            detections=detections,
            pixelPlaces=add_places([table for _, table in detectorPixelPlaces]),
            stamps=stamps,
            objects=objects,
            confusion=confusion,
            summary=summary_table(detections, stamps, bits),
        )
        if self.config.level == "visit":
            result.pixelPairs = pixel_pairs
            result.clusterCounts = clusters
        if self.config.doProbability:
            counts = add_probability_counts([table for _, table in detectorProbabilityCounts])
            curve = probability_curve(counts)
            result.probabilityCounts, result.probabilityCurve = counts, curve
            result.probabilitySummary = probability_summary(curve, self.config.probabilityRecall)
        return result


def _output_of(name: str) -> str:
    """Return the output that an input is gathered to."""
    output = name.removeprefix("detector")
    return output[0].lower() + output[1:]


def _identity(data_id: Any) -> dict[str, int]:
    """Return what columns are to say of the rows of a detector's table."""
    if "detector" not in data_id.dimensions:
        return {}
    return {name: int(data_id[name]) for name in ("visit", "detector")}
