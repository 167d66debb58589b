# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gather the tuning curves of detectors, and choose what to set."""

from __future__ import annotations

__all__ = ["GatherTuningConfig", "GatherTuningConnections", "GatherTuningTask"]

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from astropy.table import Table

from lsst.pex.config import ChoiceField, Field
from lsst.pipe.base import (
    NoWorkFound,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
)
from lsst.pipe.base.connectionTypes import Output

from ..comparison import add_tuning_curves, tuning_optimum
from ..finders import override_line
from .connections import DETECTOR, INSTRUMENT, table_input, table_output

IDENTITY = ("finder", "field", "kind", "reference")
"""Columns that say what was tuned, one value a curve."""


class GatherTuningConnections(
    PipelineTaskConnections, dimensions=INSTRUMENT, defaultTemplates={"variant": ""}
):
    """Connections of `GatherTuningTask`."""

    curves = table_input("cr_tuning_curve{variant}", "Tuning curves of detectors.", DETECTOR, multiple=True)
    total = table_output("cr_instrument_tuning_curve{variant}", "The sum of all curves.", INSTRUMENT)
    optimum = table_output(
        "cr_tuning_optimum{variant}", "Where the sum is best, and the scatter of the detectors.", INSTRUMENT
    )
    override = Output(
        doc="The line of configuration that sets the optimum, and what it is.",
        name="cr_tuning_override{variant}",
        storageClass="StructuredDataDict",
        dimensions=INSTRUMENT,
    )


class GatherTuningConfig(PipelineTaskConfig, pipelineConnections=GatherTuningConnections):
    """Configuration of `GatherTuningTask`."""

    criterion = ChoiceField[str](
        doc="Which optimum the override sets.",
        default="mse",
        optional=False,
        allowed={
            "mse": "Least mean squared error against the reference.",
            "knee": "Knee of the number of cosmic-ray pixels.",
            "f1": "Greatest F1 against the reference.",
            "f1_truth": "Greatest F1 against truth.",
        },
    )
    sensitivity = Field[float](
        doc="Kneedle's S: a knee must stand out by this many steps of the curve.",
        default=1.0,
        check=lambda value: value >= 0.0,
    )


class GatherTuningTask(PipelineTask):
    """Add the curves of all detectors and find where the sum is best."""

    ConfigClass: ClassVar[type[GatherTuningConfig]] = GatherTuningConfig
    _DefaultName: ClassVar[str] = "gatherTuning"
    config: GatherTuningConfig

    def run(self, curves: Sequence[Table]) -> Struct:
        """Gather curves.

        Parameters
        ----------
        curves : `~collections.abc.Sequence` [`astropy.table.Table`]
            What `TuneFinderTask` wrote.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``total`` and ``optimum`` (`astropy.table.Table`), and
            ``override`` (`dict`), whose ``value`` is `None` and whose
            ``override`` is empty if the criterion has no optimum.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            Raised if the finder failed everywhere.
        ValueError
            Raised if the curves are not all of the same field.
        """
        identity = _common_identity(curves)
        total = add_tuning_curves(curves)
        if len(total) == 0:
            raise NoWorkFound(
                f"{identity['finder']} failed at every {identity['field']} that {len(curves)} detectors have "
                f"in common; the first failure: {_first_failure(curves)}"
            )
        optimum = tuning_optimum(curves, sensitivity=self.config.sensitivity)
        return Struct(
            total=_identified(total, identity),
            optimum=_identified(optimum, identity),
            override=self._override(optimum, identity),
        )

    def _override(self, optimum: Table, identity: Mapping[str, str]) -> dict[str, str | float | None]:
        """Return the line of configuration that sets the optimum, if any."""
        criterion = self.config.criterion
        value = float(optimum["value"][optimum["criterion"] == criterion][0])
        is_known = math.isfinite(value)
        if not is_known:
            self.log.warning("There is no optimum of %s: nothing to override.", criterion)
        return {
            **identity,
            "criterion": criterion,
            "value": value if is_known else None,
            "override": override_line(identity["finder"], identity["field"], value) if is_known else "",
        }


def _common_identity(curves: Sequence[Table]) -> dict[str, str]:
    """Return what all curves are of."""
    identities = {tuple(str(curve[name][0]) for name in IDENTITY) for curve in curves}
    if len(identities) != 1:
        found = "; ".join(", ".join(each) for each in sorted(identities))
        raise ValueError(
            f"Curves of different finders, fields, images or references cannot be added: {found}. Give each "
            "its own variant."
        )
    return dict(zip(IDENTITY, identities.pop(), strict=True))


def _identified(table: Table, identity: Mapping[str, str]) -> Table:
    """Say in every row what was tuned."""
    for position, (name, value) in enumerate(identity.items()):
        table.add_column(np.full(len(table), value), name=name, index=position)
    return table


def _first_failure(curves: Sequence[Table]) -> str:
    return next((str(text) for curve in curves for text in curve["failure"] if text), "none")
