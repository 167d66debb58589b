# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""A trained network with what must be known to use it, as a table."""

from __future__ import annotations

__all__ = ["TrainedModel", "TrainedModelError", "make_history_table"]

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table

from ..documentation import DocumentedError
from .loop import EpochRecord

COLUMNS = ("onnx", "threshold", "normalisation", "history", "provenance")


class TrainedModelError(DocumentedError, ValueError):
    """Raised when a table is no trained model."""


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A trained network, and how to use it."""

    onnx: bytes
    """The network, which `~..engines.cosmic_conn.load_model` reads."""

    threshold: float
    """Recommended threshold: that of the greatest F1 in validation."""

    normalisation: Mapping[str, Any]
    """What the network wants to see: ``unit`` of the pixels, ``sky`` that
    is subtracted, and side of the ``tile`` (pixels) of which its statistics
    are taken.
    """

    history: Sequence[Mapping[str, Any]] = ()
    """One mapping an epoch."""

    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What it was trained on, and how."""

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that tell networks apart (`str`)."""
        return hashlib.sha256(self.onnx + repr(self.threshold).encode()).hexdigest()[:16]

    @property
    def tile(self) -> int:
        """Side of the tiles for the statistics of the network (`int`)."""
        return int(self.normalisation["tile"])

    def check_unit(self, unit: str) -> None:
        """Check that pixels are what the network was trained on.

        Parameters
        ----------
        unit : `str`
            Unit of the pixels that it is to see.

        Raises
        ------
        TrainedModelError
            Raised if it was trained on pixels in another unit.
        """
        trained_on = self.normalisation["unit"]
        if trained_on != unit:
            raise TrainedModelError(
                f"The model was trained on pixels in {trained_on}, but the finder sees unit {unit!r}: set "
                f"unit to {trained_on!r}."
            )

    def to_table(self) -> Table:
        """Return the table of one row that stores the model.

        Returns
        -------
        table : `astropy.table.Table`
            With ``onnx`` (uint8, shape ``(1, n)``), ``threshold``, and the
            JSON strings ``normalisation``, ``history`` and ``provenance``.
        """
        return Table(
            {
                "onnx": np.frombuffer(self.onnx, dtype=np.uint8)[np.newaxis].copy(),
                "threshold": [float(self.threshold)],
                "normalisation": [_to_json(self.normalisation)],
                "history": [_to_json(list(self.history))],
                "provenance": [_to_json(self.provenance)],
            }
        )

    @classmethod
    def from_table(cls, table: Table) -> TrainedModel:
        """Read the model that a table stores.

        Parameters
        ----------
        table : `astropy.table.Table`
            What `to_table` returned.

        Returns
        -------
        model : `TrainedModel`
            The model.

        Raises
        ------
        TrainedModelError
            Raised if the table has not one row, lacks a column, or has no
            JSON or no threshold where they belong.
        """
        missing = [name for name in COLUMNS if name not in table.colnames]
        if missing:
            raise TrainedModelError(
                f"This is no trained model: the table has no column {', '.join(missing)}."
            )
        if len(table) != 1:
            raise TrainedModelError(f"A trained model is a table of one row, but this one has {len(table)}.")
        (row,) = table
        threshold = float(row["threshold"])
        if not 0.0 <= threshold < 1.0:
            raise TrainedModelError(f"The threshold of the trained model is {threshold}, not from 0 to 1.")
        try:
            texts = {name: json.loads(str(row[name])) for name in COLUMNS[2:]}
        except json.JSONDecodeError as error:
            raise TrainedModelError(f"The trained model has text that is no JSON: {error}.") from error
        lacking = {"unit", "tile"} - set(texts["normalisation"])
        if lacking:
            raise TrainedModelError(
                f"The normalisation of the trained model lacks {', '.join(sorted(lacking))}."
            )
        return cls(np.asarray(row["onnx"], dtype=np.uint8).tobytes(), threshold, **texts)


def make_history_table(history: Sequence[EpochRecord]) -> Table:
    """Make the table of the epochs.

    Parameters
    ----------
    history : `~collections.abc.Sequence` [`EpochRecord`]
        The epochs.

    Returns
    -------
    table : `astropy.table.Table`
        One row an epoch, with the fields of `EpochRecord` as columns.
    """
    return Table(
        {
            field.name: np.array([getattr(record, field.name) for record in history])
            for field in dataclasses.fields(EpochRecord)
        }
    )


def _to_json(value: Any) -> str:
    """Return JSON, with null for numbers that have no value."""
    return json.dumps(_without_nan(value), sort_keys=True)


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
