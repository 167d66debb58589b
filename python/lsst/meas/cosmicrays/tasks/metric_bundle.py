# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Headline numbers as metrics, for charts beside those of other steps.

The metrics are those of ``lsst.analysis.tools`` and ``lsst.verify``, which
come with the Science Pipelines and are imported only where they are used.
"""

from __future__ import annotations

__all__ = [
    "MakeMetricBundleConfig",
    "MakeMetricBundleConnections",
    "MakeMetricBundleTask",
    "MetricsNotAvailableError",
]

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

from astropy.table import Table

from lsst.pex.config import ChoiceField, Field, ListField
from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct
from lsst.pipe.base.connectionTypes import Output

from ..comparison import RATES, headline_numbers
from ..documentation import DocumentedError
from .connections import INSTRUMENT, VISIT, table_input

LEVELS = ("pixel", "pixel_1px", "stamp", "object")


class MetricsNotAvailableError(DocumentedError, ImportError):
    """Raised where the metrics of the Science Pipelines are not installed."""


class MakeMetricBundleConnections(PipelineTaskConnections, dimensions=VISIT):
    """Connections of `MakeMetricBundleTask`, at level ``visit``.

    At level ``instrument``, ``cr_visit_`` becomes ``cr_instrument_`` in all
    names.
    """

    confusion = table_input("cr_visit_confusion", "Confusion matrices and rates.", VISIT)
    summary = table_input("cr_visit_summary", "What each detection found.", VISIT)
    metrics = Output(
        doc="Headline numbers: for each detection what it found, and how good it is.",
        name="cr_visit_metrics",
        storageClass="MetricMeasurementBundle",
        dimensions=VISIT,
    )

    def __init__(self, *, config: MakeMetricBundleConfig):
        super().__init__(config=config)
        if config.level == "instrument":
            self.dimensions = {"instrument"}
            for name in (*self.inputs, *self.outputs):
                connection = getattr(self, name)
                raised = connection.name.replace("cr_visit_", "cr_instrument_")
                setattr(self, name, dataclasses.replace(connection, name=raised, dimensions=INSTRUMENT))


class MakeMetricBundleConfig(PipelineTaskConfig, pipelineConnections=MakeMetricBundleConnections):
    """Configuration of `MakeMetricBundleTask`."""

    level = ChoiceField[str](
        doc="What the numbers are of.",
        default="visit",
        optional=False,
        allowed={"visit": "A visit.", "instrument": "All visits of an instrument."},
    )
    references = ListField[str](
        doc="Truths and detections with which every detection is compared.  What was not compared is left "
        "out.",
        default=["truth", "morphological_science"],
    )
    levels = ListField[str](
        doc=f"Levels of comparison, among {', '.join(LEVELS)}.",
        default=["pixel", "stamp", "object"],
        itemCheck=lambda level: level in LEVELS,
    )
    rates = ListField[str](
        doc=f"Rates, among {', '.join(RATES)}; each comes with the limits of its 95 % interval.",
        default=["purity", "completeness", "f1"],
        itemCheck=lambda rate: rate in RATES,
    )
    datasetIdentifier = Field[str](
        doc="What the charts call the data, such as a name of a set of visits.", optional=True
    )
    referencePackage = Field[str](
        doc="Package whose version gives the time, where timestampVersion says so.", default="lsst_distrib"
    )
    timestampVersion = Field[str](
        doc="At which time the numbers are charted, in the words of lsst.analysis.tools.",
        default="run_timestamp",
    )


class MakeMetricBundleTask(PipelineTask):
    """Make metrics of the headline numbers of a comparison.

    Notes
    -----
    Names and units are those of
    `lsst.meas.cosmicrays.comparison.headline_numbers`.
    """

    ConfigClass: ClassVar[type[MakeMetricBundleConfig]] = MakeMetricBundleConfig
    _DefaultName: ClassVar[str] = "makeMetricBundle"
    config: MakeMetricBundleConfig

    def run(self, confusion: Table, summary: Table) -> Struct:
        """Make metrics.

        Parameters
        ----------
        confusion, summary : `astropy.table.Table`
            What `GatherComparisonTask` wrote.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``metrics``
            (``lsst.analysis.tools.interfaces.MetricMeasurementBundle``).

        Raises
        ------
        MetricsNotAvailableError
            Raised if the metrics of the Science Pipelines are not installed.
        """
        bundle_class, measurement_class = _import_metrics()
        absent = sorted(set(self.config.references) - {str(name) for name in confusion["reference"]})
        if absent and len(absent) == len(self.config.references):
            self.log.warning("Nothing was compared with %s; no rates.", " or ".join(absent))
        numbers = headline_numbers(
            confusion,
            summary,
            self.config.references,
            levels=self.config.levels,
            rates=self.config.rates,
        )
        bundle = bundle_class(
            {
                key: [measurement_class(name, quantity) for name, quantity in metrics.items()]
                for key, metrics in numbers.items()
            },
            dataset_identifier=self.config.datasetIdentifier,
            reference_package=self.config.referencePackage,
            timestamp_version=self.config.timestampVersion,
        )
        return Struct(metrics=bundle)


def _import_metrics() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the classes of a bundle and of one measurement."""
    try:
        from lsst.analysis.tools.interfaces import MetricMeasurementBundle
        from lsst.verify import Measurement
    except ImportError as error:
        raise MetricsNotAvailableError(
            f"Metrics need lsst.analysis.tools and lsst.verify of the Science Pipelines ({error}).  Set up "
            "lsst_distrib, or leave this task out: the tables cr_visit_confusion and cr_visit_summary hold "
            "the same numbers."
        ) from error
    return MetricMeasurementBundle, Measurement
