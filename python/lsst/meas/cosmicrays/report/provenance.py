# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a study rests on: runs, versions, configs, visits and failures."""

from __future__ import annotations

__all__ = ["Config", "Failure", "Provenance", "read_provenance"]

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from lsst.daf.butler import Butler, DatasetRef

PACKAGES = (
    "meas_cosmicrays",
    "python",
    "numpy",
    "scipy",
    "astropy",
    "astroscrappy",
    "numba",
    "pipe_base",
    "daf_butler",
    "images",
)
"""Packages that decide about the results, shown first."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Configuration of one step of a pipeline in one run."""

    label: str
    """Label of the step (`str`)."""

    run: str
    """Run in which it was used (`str`)."""

    text: str
    """The config as pex_config writes it (`str`)."""


@dataclasses.dataclass(frozen=True)
class Failure:
    """One detection that failed on one detector."""

    visit: int
    """Visit (`int`)."""

    detector: int
    """Detector (`int`)."""

    detection: str
    """Name of the detection (`str`)."""

    message: str
    """What went wrong (`str`)."""


@dataclasses.dataclass(frozen=True)
class Provenance:
    """What a study rests on."""

    collections: tuple[str, ...]
    """Collections that were looked in (`tuple`)."""

    runs: tuple[str, ...]
    """Runs behind them that executed steps of a pipeline (`tuple`)."""

    inputs: tuple[str, ...]
    """Other runs behind them, with data that were put there (`tuple`)."""

    versions: Mapping[str, tuple[str, ...]]
    """By package, the versions that the runs used, those of `PACKAGES`
    first (`dict`).
    """

    configs: tuple[Config, ...]
    """Configs of all steps in all runs (`tuple`)."""

    n_visits: int
    """Number of visits (`int`)."""

    n_detectors: int
    """Number of detectors of all visits together (`int`)."""

    failures: tuple[Failure, ...]
    """Detections that failed, by visit and detector (`tuple`)."""

    @property
    def main_versions(self) -> dict[str, tuple[str, ...]]:
        """Versions of the packages that decide about the results (`dict`)."""
        return {name: self.versions[name] for name in PACKAGES if name in self.versions}


def read_provenance(
    butler: Butler, collections: Sequence[str], tables: Mapping[str, DatasetRef]
) -> Provenance:
    """Find out what a study rests on.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    collections : `~collections.abc.Sequence` [`str`]
        Collections of the study.
    tables : `~collections.abc.Mapping`
        Tables over all visits, by dataset type; ``cr_instrument_detections``
        says which detectors there were.

    Returns
    -------
    provenance : `Provenance`
        What the study rests on.

    Notes
    -----
    Configs are read as text: nothing in them is executed.
    """
    all_runs = butler.collections.query(collections, flatten_chains=True)
    versions: dict[str, set[str]] = {}
    executed = []
    for ref in _init_outputs(butler, collections, "packages"):
        executed.append(ref.run)
        for name, version in butler.get(ref).items():
            versions.setdefault(str(name), set()).add(str(version))
    names = [name for name in PACKAGES if name in versions]
    names += sorted(set(versions) - set(names))
    n_visits, n_detectors, failures = _read_detectors(butler, tables.get("cr_instrument_detections"))
    return Provenance(
        collections=tuple(collections),
        runs=tuple(executed),
        inputs=tuple(str(run) for run in all_runs if run not in executed),
        versions={name: tuple(sorted(versions[name])) for name in names},
        configs=_read_configs(butler, collections),
        n_visits=n_visits,
        n_detectors=n_detectors,
        failures=failures,
    )


def _init_outputs(butler: Butler, collections: Sequence[str], name: str) -> list[DatasetRef]:
    """Return what every run left of a dataset type without dimensions."""
    if not butler.registry.queryDatasetTypes(name):
        return []
    refs = butler.query_datasets(name, collections=collections, find_first=False, explain=False)
    return sorted(refs, key=lambda ref: str(ref.run))


def _read_configs(butler: Butler, collections: Sequence[str]) -> tuple[Config, ...]:
    """Read the config of every step, as text."""
    return tuple(
        Config(dataset_type.name.removesuffix("_config"), str(ref.run), butler.getURI(ref).read().decode())
        for dataset_type in sorted(butler.registry.queryDatasetTypes("*_config"))
        if dataset_type.storageClass_name == "Config"
        for ref in _init_outputs(butler, collections, dataset_type.name)
    )


def _read_detectors(butler: Butler, ref: DatasetRef | None) -> tuple[int, int, tuple[Failure, ...]]:
    """Count visits and detectors, and list failures.

    Messages are long where they are, and few: they are read as Arrow, which
    has no room for those that are not.
    """
    if ref is None:
        return 0, 0, ()
    columns = ["visit", "detector", "detection", "failed", "failure"]
    arrow = butler.get(ref, storageClass="ArrowTable", parameters={"columns": columns})
    visits, detectors = (arrow.column(name).to_numpy() for name in ("visit", "detector"))
    failed = arrow.filter(arrow.column("failed")).to_pylist()
    failures = [
        Failure(int(row["visit"]), int(row["detector"]), str(row["detection"]), str(row["failure"]))
        for row in failed
    ]
    pairs = np.unique(np.column_stack([visits, detectors]), axis=0)
    return len(np.unique(visits)), len(pairs), tuple(failures)
