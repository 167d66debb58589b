# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""A thin double of the metrics of lsst.verify and lsst.analysis.tools.

It has what this package and the Butler's JSON formatter call, with the JSON
of the real classes (lsst.verify of July 2025, lsst.analysis.tools of June
2026).
"""

from __future__ import annotations

import json
import math
import uuid
from collections import UserDict
from typing import Any

import astropy.units as u
import pytest
import stack_standins


class Name:
    """The name of a metric, perhaps with that of a package."""

    def __init__(self, *, metric: str):
        if metric.count(".") > 1:
            raise TypeError(f"{metric!r} is no name of a metric")
        self.package, _, self.metric = metric.rpartition(".")

    def __str__(self) -> str:
        return f"{self.package}.{self.metric}" if self.package else self.metric


class Measurement:
    """One value of a metric that is only known by its name."""

    def __init__(
        self,
        metric: str,
        quantity: u.Quantity | None = None,
        blobs: None = None,
        extras: None = None,
        notes: dict[str, Any] | None = None,
    ):
        self.metric_name = Name(metric=metric)
        self.quantity = quantity if isinstance(quantity, u.Quantity) else u.Quantity(quantity)
        self.notes = {f"{metric}.{key}": value for key, value in (notes or {}).items()}
        self.identifier = uuid.uuid4().hex

    @property
    def json(self) -> dict[str, Any]:
        """What is stored; null is any value that is not finite."""
        value = self.quantity.value
        return {
            "metric": str(self.metric_name),
            "identifier": self.identifier,
            "value": value if math.isfinite(value) else None,
            "unit": str(self.quantity.unit),
            "blob_refs": [],
        }

    @classmethod
    def deserialize(
        cls,
        metric: str,
        identifier: str,
        value: float | None,
        unit: str,
        blob_refs: list[str] | None = None,
        blobs: None = None,
        **kwargs: Any,
    ) -> Measurement:
        """Make a measurement of what was stored."""
        self = cls(metric, u.Quantity(math.nan if value is None else value, u.Unit(unit)))
        self.identifier = identifier
        return self


class MetricMeasurementBundle(UserDict):
    """Lists of measurements by the name of what made them."""

    ATTRIBUTES = ("reference_package", "timestamp_version", "dataset_identifier")

    def __init__(self, *args: Any, **kwargs: Any):
        for name in self.ATTRIBUTES:
            setattr(self, name, kwargs.pop(name, None))
        self.metricNamePrefix = kwargs.pop("metricNamePrefix", "")
        super().__init__(*args, **kwargs)

    def json(self) -> str:
        """Return what is stored."""
        stored: dict[str, Any] = {key: [one.json for one in several] for key, several in self.items()}
        for name in self.ATTRIBUTES:
            if getattr(self, name) is not None:
                stored[f"__{name}"] = getattr(self, name)
        return json.dumps(stored | {"__metricNamePrefix": self.metricNamePrefix}, allow_nan=False)

    @classmethod
    def parse_obj(cls, data: dict[str, Any]) -> MetricMeasurementBundle:
        """Make a bundle of what was stored."""
        attributes = {name: data.pop(f"__{name}", None) for name in cls.ATTRIBUTES}
        self = cls(metricNamePrefix=data.pop("__metricNamePrefix", ""), **attributes)
        for key, stored in data.items():
            self[key] = [Measurement.deserialize(**one) for one in stored]
        return self


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the double importable under the names of the real classes."""
    stack_standins.provide(
        monkeypatch, "lsst.analysis.tools.interfaces.MetricMeasurementBundle", MetricMeasurementBundle
    )
    stack_standins.provide(monkeypatch, "lsst.verify.Measurement", Measurement)
