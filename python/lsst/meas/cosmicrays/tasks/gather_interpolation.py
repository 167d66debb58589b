# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gather what interpolation does: of detectors to a visit, and of visits."""

from __future__ import annotations

__all__ = [
    "GatherInterpolationConfig",
    "GatherInterpolationConnections",
    "GatherInterpolationTask",
]

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from astropy.table import Table

from lsst.daf.butler import DataCoordinate
from lsst.pex.config import ChoiceField
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

from ..comparison import fate_table, stack_tables, sum_fates, sum_objects
from .connections import DETECTOR, INSTRUMENT, VISIT, table_input, table_output


def _of_detectors(name: str, doc: str) -> Input:
    """Return an input of all detectors, of which some may lack it.

    A detector without one of the tables is to be found all the same.
    """
    return dataclasses.replace(table_input(name, doc, DETECTOR, multiple=True), deferGraphConstraint=True)


class GatherInterpolationConnections(PipelineTaskConnections, dimensions=VISIT):
    """Connections of `GatherInterpolationTask`, at level ``visit``.

    At level ``instrument`` the inputs are ``visitFates`` and
    ``visitConfusion``, what ``fates`` and ``confusion`` were, and in the names
    of the outputs ``cr_visit_`` becomes ``cr_instrument_``; ``sources`` is not
    written then.
    """

    detectorSources = _of_detectors("cr_interpolation_sources", "What became of DIASources.")
    detectorConfusion = _of_detectors("cr_interpolation_confusion", "Stamps by OBJECT and cosmic ray.")
    detectorStamps = dataclasses.replace(
        _of_detectors("cr_stamps", "Stamps, to know how many detectors there are."), minimum=0, deferLoad=True
    )
    visitFates = table_input(
        "cr_visit_interpolation_fates", "What became of DIASources, counted.", VISIT, multiple=True
    )
    visitConfusion = table_input(
        "cr_visit_interpolation_confusion", "Stamps by OBJECT and cosmic ray.", VISIT, multiple=True
    )
    sources = table_output("cr_visit_interpolation_sources", "What became of every DIASource.", VISIT)
    fates = table_output(
        "cr_visit_interpolation_fates", "What became of DIASources, counted by what they truly are.", VISIT
    )
    confusion = table_output(
        "cr_visit_interpolation_confusion",
        "Stamps by OBJECT and cosmic ray, one row a detection or truth.",
        VISIT,
    )

    def __init__(self, *, config: GatherInterpolationConfig):
        super().__init__(config=config)
        if config.level == "visit":
            del self.visitFates
            del self.visitConfusion
            return
        self.dimensions = set(INSTRUMENT)
        del self.detectorSources
        del self.detectorConfusion
        del self.detectorStamps
        del self.sources
        for name in ("fates", "confusion"):
            output = getattr(self, name)
            renamed = output.name.replace("cr_visit_", "cr_instrument_")
            setattr(self, name, dataclasses.replace(output, name=renamed, dimensions=INSTRUMENT))


class GatherInterpolationConfig(PipelineTaskConfig, pipelineConnections=GatherInterpolationConnections):
    """Configuration of `GatherInterpolationTask`."""

    level = ChoiceField[str](
        doc="What is gathered.",
        default="visit",
        optional=False,
        allowed={
            "visit": "The detectors of a visit.",
            "instrument": "The visits of an instrument.",
        },
    )


class GatherInterpolationTask(PipelineTask):
    """Gather tables of what interpolation over cosmic rays does."""

    ConfigClass: ClassVar[type[GatherInterpolationConfig]] = GatherInterpolationConfig
    _DefaultName: ClassVar[str] = "gatherInterpolation"
    config: GatherInterpolationConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        tables = {
            name: [
                (_identity(ref.dataId), butlerQC.get(ref))
                for ref in sorted(getattr(inputRefs, name), key=lambda ref: ref.dataId)
            ]
            for name in inputRefs.keys()
            if name != "detectorStamps"
        }
        if self.config.level == "instrument":
            result = self.run(
                _without_identity(tables["visitConfusion"]), _without_identity(tables["visitFates"])
            )
        else:
            sources = tables["detectorSources"]
            result = self.run(
                _without_identity(tables["detectorConfusion"]),
                [fate_table(table) for _, table in sources],
                n_detectors=max(len(inputRefs.detectorStamps), len(sources)),
            )
            result.sources = stack_tables(sources)
        butlerQC.put(result, outputRefs)

    def run(
        self, confusions: Sequence[Table], fates: Sequence[Table], n_detectors: int | None = None
    ) -> Struct:
        """Add up the tables of detectors, or of visits.

        Parameters
        ----------
        confusions : `~collections.abc.Sequence` [`astropy.table.Table`]
            Stamps by OBJECT and cosmic ray.
        fates : `~collections.abc.Sequence` [`astropy.table.Table`]
            What became of DIASources, counted.
        n_detectors : `int`, optional
            Number of detectors there are; by default those that are in the
            tables.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``confusion`` and ``fates`` (`astropy.table.Table`).
        """
        return Struct(confusion=sum_objects(confusions, n_detectors), fates=sum_fates(fates, n_detectors))


def _identity(data_id: DataCoordinate) -> dict[str, int]:
    """Return what columns are to say of the rows of a table."""
    return {name: int(data_id[name]) for name in ("visit", "detector") if name in data_id.dimensions}


def _without_identity(tables: Sequence[tuple[dict[str, int], Table]]) -> list[Table]:
    return [table for _, table in tables]
