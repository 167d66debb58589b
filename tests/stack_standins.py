# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-ins for classes of the Science Pipelines that are not on PyPI.

Tasks are made from what was recorded of the real ones: their connections and
config fields with defaults (tests/data/stack).  A field that was not recorded
does not exist.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, new_class
from typing import Any

import astropy.table
import pytest

from lsst.pex.config import Config, ConfigField, ConfigurableField, Field, ListField, Registry
from lsst.pipe.base import (
    Instrument,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    Task,
    connectionTypes,
)

DATA = Path(__file__).parent / "data" / "stack"
INSTRUMENTS = {
    "lsst.obs.subaru.HyperSuprimeCam": "HSC",
    "lsst.obs.lsst.LsstCam": "LSSTCam",
    "lsst.obs.lsst.LsstComCam": "LSSTComCam",
    "lsst.obs.decam.DarkEnergyCamera": "DECam",
}
DTYPES = {"bool": bool, "int": int, "float": float, "str": str}
KINDS = {
    "inputs": connectionTypes.Input,
    "prerequisiteInputs": connectionTypes.PrerequisiteInput,
    "outputs": connectionTypes.Output,
    "initInputs": connectionTypes.InitInput,
    "initOutputs": connectionTypes.InitOutput,
}
MADE_BY_PIPE_BASE = {"saveLogOutput", "connections"}


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the stand-ins importable, and the pipelines of the stack found."""
    for package in ("ap_pipe", "drp_pipe"):
        monkeypatch.setenv(f"{package.upper()}_DIR", str(DATA / package))
    monkeypatch.setenv("MEAS_COSMICRAYS_DIR", str(Path(__file__).parents[1]))
    for path in sorted(DATA.glob("*.json")):
        recorded = json.loads(path.read_text())
        if "connections" in recorded:
            provide(monkeypatch, recorded["class"], make_pipeline_task(recorded))
    for full_name, name in INSTRUMENTS.items():
        provide(monkeypatch, full_name, make_instrument(full_name.rpartition(".")[2], name))
    catalog = type("Catalog", (), {"asAstropy": lambda self: astropy.table.Table()})
    provide(monkeypatch, "lsst.afw.table.Catalog", catalog)
    provide(monkeypatch, "lsst.afw.table.SourceCatalog", type("SourceCatalog", (catalog,), {}))
    exposure = type("Exposure", (), {})
    provide(monkeypatch, "lsst.afw.image.Exposure", exposure)
    provide(monkeypatch, "lsst.afw.image.ExposureF", type("ExposureF", (exposure,), {}))


def provide(monkeypatch: pytest.MonkeyPatch, full_name: str, value: type) -> None:
    """Put a class where its full name says, with the modules above it."""
    module_name, _, name = full_name.rpartition(".")
    parts = module_name.split(".")
    for n in range(1, len(parts) + 1):
        here = ".".join(parts[:n])
        if here not in sys.modules:
            try:
                importlib.import_module(here)
            except ImportError:
                module = ModuleType(here)
                module.__path__ = []
                monkeypatch.setitem(sys.modules, here, module)
                if n > 1:
                    monkeypatch.setattr(
                        sys.modules[".".join(parts[: n - 1])], parts[n - 1], module, raising=False
                    )
    value.__module__, value.__qualname__, value.__name__ = module_name, name, name
    monkeypatch.setattr(sys.modules[module_name], name, value, raising=False)


def make_instrument(class_name: str, name: str) -> type[Instrument]:
    """Make an instrument that only has a name."""
    methods = {
        "getName": classmethod(lambda cls: name),
        "register": lambda self, registry, update=False: None,
        "getRawFormatter": lambda self, dataId: None,
    }
    return type(class_name, (Instrument,), methods)


def make_pipeline_task(recorded: dict[str, Any]) -> type[PipelineTask]:
    """Make a task with the recorded connections and config."""
    name = recorded["class"].rpartition(".")[2]
    connections_class = make_connections(name, recorded)
    namespace = {
        key: make_field(key, field)
        for key, field in recorded["fields"].items()
        if key not in MADE_BY_PIPE_BASE
    }
    namespace = {key: field for key, field in namespace.items() if field is not None}
    config_class = new_class(
        f"{name}Config",
        (PipelineTaskConfig,),
        {"pipelineConnections": connections_class},
        lambda ns: ns.update(namespace),
    )
    return type(
        name, (PipelineTask,), {"ConfigClass": config_class, "_DefaultName": name[0].lower() + name[1:]}
    )


def make_connections(name: str, recorded: dict[str, Any]) -> type[PipelineTaskConnections]:
    """Make the connections of a task.

    Those that the config of the record had switched off can be named, and are
    deleted.
    """
    fields = recorded["fields"]["connections"]["fields"]
    namespace: dict[str, Any] = {}
    absent = []
    for key, field in fields.items():
        if field["type"] == "TemplateField":
            continue
        known = recorded["connections"].get(key)
        if known is None:
            absent.append(key)
            known = {"kind": "inputs", "storageClass": "StructuredDataDict", "dimensions": ["instrument"]}
        arguments = {"doc": key, "name": field["default"], "storageClass": known["storageClass"]}
        if not known["kind"].startswith("init"):
            arguments |= {"dimensions": known["dimensions"], "multiple": known.get("multiple", False)}
        namespace[key] = KINDS[known["kind"]](**arguments)

    def delete_unused(self: PipelineTaskConnections, *, config: Any = None) -> None:
        for key in absent:
            delattr(self, key)
        optional = recorded["fields"].get("optional_outputs", {}).get("default", [])
        for key in optional:
            if config is not None and key not in config.optional_outputs:
                delattr(self, key)

    namespace["__init__"] = delete_unused
    arguments = {
        "dimensions": set(recorded["dimensions"]),
        "defaultTemplates": recorded["default_templates"],
    }
    return new_class(
        f"{name}Connections", (PipelineTaskConnections,), arguments, lambda ns: ns.update(namespace)
    )


def make_config(name: str, fields: dict[str, Any]) -> type[Config]:
    """Make a config class with the recorded fields."""
    return type(Config)(name, (Config,), make_fields(fields))


def make_fields(recorded: dict[str, Any]) -> dict[str, Any]:
    """Make fields of the kinds that pipelines here set."""
    made = {key: make_field(key, field) for key, field in recorded.items()}
    return {key: field for key, field in made.items() if field is not None}


def make_field(name: str, recorded: dict[str, Any]) -> Any:
    """Make a field, or nothing of a kind that no pipeline here sets."""
    match recorded["type"]:
        case "ConfigField":
            return ConfigField(doc=name, dtype=make_config(name, recorded.get("fields", {})))
        case "ConfigurableField":
            config_class = make_config(name, recorded.get("fields", {}))
            target = type(recorded["target"].rpartition(".")[2], (Task,), {"ConfigClass": config_class})
            return ConfigurableField(doc=name, target=target)
        case "ListField":
            default = recorded["default"]
            return ListField(doc=name, dtype=type(default[0]) if default else str, default=default)
        case "RegistryField":
            return _make_registry_field(name, recorded)
        case "Field" | "ChoiceField" | "RangeField" if recorded["dtype"] in DTYPES:
            return Field(
                doc=name, dtype=DTYPES[recorded["dtype"]], default=recorded["default"], optional=True
            )
        case _:
            return None


def _make_registry_field(name: str, recorded: dict[str, Any]) -> Any:
    """Make a field with the entries that the record had selected."""
    registry = Registry(Config)
    selected = recorded["selected"]
    for item in [selected] if isinstance(selected, str) else selected or []:
        target = type(item, (), {"ConfigClass": make_config(item, {})})
        registry.register(item, target)
    return registry.makeField(doc=name, default=selected, multi=recorded["multi"], optional=True)
