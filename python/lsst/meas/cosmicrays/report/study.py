# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that a study left in a repository, in one call."""

from __future__ import annotations

__all__ = ["NoStudyError", "PlotGroup", "Study", "StudyTables", "read_study"]

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from astropy.table import Table

from lsst.daf.butler import Butler, DatasetRef, DatasetType, MissingCollectionError

from .provenance import Provenance, read_provenance
from .tables import StudyNotFoundError

NOT_TABLES = ("cr_*_model", "cr_library")
"""Patterns of dataset types that are stored as tables, but are not meant to
be read as such.
"""

_DETECTOR, _VISIT, _INSTRUMENT = "detector", "visit", "instrument"


class NoStudyError(StudyNotFoundError):
    """Raised when a repository does not have what a report shows."""


class StudyTables(Mapping[str, Table]):
    """Tables of a study, by dataset type, each read when it is asked for.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    refs : `~collections.abc.Mapping`
        By the name of the dataset type, the dataset.
    """

    def __init__(self, butler: Butler, refs: Mapping[str, DatasetRef]):
        self._butler = butler
        self._refs = dict(refs)
        self._read: dict[str, Table] = {}

    def __getitem__(self, name: str) -> Table:
        if name not in self._read:
            self._read[name] = self._butler.get(self._refs[name])
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        # A mapping that is asked whether it has a table would read it.
        return name in self._refs

    def __iter__(self) -> Iterator[str]:
        return iter(self._refs)

    def __len__(self) -> int:
        return len(self._refs)

    def n_rows(self, name: str) -> int:
        """Return the number of rows of a table, without reading it.

        Parameters
        ----------
        name : `str`
            Name of the dataset type.

        Returns
        -------
        n_rows : `int`
            Number of rows.
        """
        return int(self._butler.get(self._refs[name].makeComponentRef("rowcount")))

    def columns(self, name: str, columns: Sequence[str]) -> Table:
        """Read some columns of a table, as tables of many visits are long.

        Parameters
        ----------
        name : `str`
            Name of the dataset type.
        columns : `~collections.abc.Sequence` [`str`]
            Columns to read; those that the table lacks are left out.

        Returns
        -------
        table : `astropy.table.Table`
            The columns that there are.
        """
        ref = self._refs[name]
        there = [str(column) for column in self._butler.get(ref.makeComponentRef("columns"))]
        return self._butler.get(ref, parameters={"columns": [name for name in columns if name in there]})


@dataclasses.dataclass(frozen=True)
class PlotGroup:
    """Figures of one dataset type."""

    name: str
    """Dataset type (`str`)."""

    refs: tuple[DatasetRef, ...]
    """The first of them, in the order of their data IDs (`tuple`)."""

    n_all: int
    """How many there are in all (`int`)."""


@dataclasses.dataclass(frozen=True)
class Study:
    """What is known of one instrument in a collection."""

    instrument: str
    """Name of the instrument (`str`)."""

    tables: StudyTables
    """Tables over all visits, by dataset type (`StudyTables`)."""

    visit_tables: StudyTables
    """Tables of the first visit, of dataset types ``cr_visit_*`` that have
    no counterpart over all visits (`StudyTables`).
    """

    plots: tuple[PlotGroup, ...]
    """Figures, in the order of their dataset types (`tuple`)."""

    provenance: Provenance
    """What the study rests on (`Provenance`)."""


def read_study(
    butler: Butler,
    collections: str | Sequence[str],
    *,
    instrument: str | None = None,
    plots_of_a_type: int = 4,
) -> Study:
    """Find everything that a study left in collections.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    collections : `str` or `~collections.abc.Sequence` [`str`]
        Collections to look in, in this order.
    instrument : `str`, optional
        Name of the instrument, needed where there are several.
    plots_of_a_type : `int`, optional
        How many figures to name of a dataset type that has one for every
        visit or detector.

    Returns
    -------
    study : `Study`
        Its ``tables`` is a mapping from dataset types to
        `astropy.table.Table`, which are read when they are asked for.

    Raises
    ------
    NoStudyError
        Raised if there is no such collection, nothing of a comparison in it,
        or something of several instruments and none is named.
    """
    names = [collections] if isinstance(collections, str) else list(collections)
    for name in names:
        try:
            butler.collections.get_info(name)
        except MissingCollectionError as error:
            raise NoStudyError(f"There is no collection {name!r} in this repository.") from error
    types = [
        dataset_type
        for dataset_type in sorted(butler.registry.queryDatasetTypes("cr_*"))
        if not any(_matches(dataset_type.name, pattern) for pattern in NOT_TABLES)
    ]
    table_types = [dataset_type for dataset_type in types if dataset_type.storageClass_name == "ArrowAstropy"]
    of_instrument = _tables_of_instruments(butler, names, table_types)
    chosen = _choose_instrument(of_instrument, names, instrument)
    tables = of_instrument[chosen]
    return Study(
        instrument=chosen,
        tables=StudyTables(butler, tables),
        visit_tables=StudyTables(butler, _tables_of_first_visit(butler, names, chosen, table_types, tables)),
        plots=tuple(
            group
            for dataset_type in types
            if dataset_type.storageClass_name == "Plot"
            and (group := _plots(butler, names, chosen, dataset_type, plots_of_a_type)).n_all
        ),
        provenance=read_provenance(butler, names, tables),
    )


def _matches(name: str, pattern: str) -> bool:
    head, _, tail = pattern.partition("*")
    return name == pattern or ("*" in pattern and name.startswith(head) and name.endswith(tail))


def _tables_of_instruments(
    butler: Butler, collections: list[str], types: list[DatasetType]
) -> dict[str, dict[str, DatasetRef]]:
    """Return the tables over all visits, by instrument and dataset type."""
    found: dict[str, dict[str, DatasetRef]] = {}
    for dataset_type in types:
        if set(dataset_type.dimensions.required) != {_INSTRUMENT}:
            continue
        for ref in butler.query_datasets(dataset_type, collections=collections, explain=False, limit=None):
            found.setdefault(str(ref.dataId[_INSTRUMENT]), {})[dataset_type.name] = ref
    return found


def _choose_instrument(
    found: Mapping[str, Mapping[str, DatasetRef]], collections: list[str], instrument: str | None
) -> str:
    """Return the one instrument that has been studied."""
    studied = [
        name for name, tables in found.items() if any(table.startswith("cr_instrument_") for table in tables)
    ]
    where = f"collection{'s' if len(collections) > 1 else ''} {', '.join(map(repr, collections))}"
    if not studied:
        raise NoStudyError(
            f"There is no table cr_instrument_* in {where}.  A study ends by gathering its visits: run the "
            "steps gatherVisitComparison and gatherInstrumentComparison of its pipeline."
        )
    if instrument is None and len(studied) > 1:
        raise NoStudyError(
            f"There are tables of several instruments in {where}: name one of {', '.join(sorted(studied))}."
        )
    chosen = instrument or studied[0]
    if chosen not in studied:
        raise NoStudyError(f"Nothing of {chosen!r} in {where}; there is {', '.join(sorted(studied))}.")
    return chosen


def _tables_of_first_visit(
    butler: Butler,
    collections: list[str],
    instrument: str,
    types: list[DatasetType],
    of_instrument: Mapping[str, DatasetRef],
) -> dict[str, DatasetRef]:
    """Return the tables of a visit that were not gathered over visits."""
    found: dict[str, DatasetRef] = {}
    for dataset_type in types:
        gathered = dataset_type.name.replace("cr_visit_", "cr_instrument_")
        if set(dataset_type.dimensions.required) != {_INSTRUMENT, _VISIT} or gathered in of_instrument:
            continue
        first = _first_refs(butler, collections, instrument, dataset_type, 1)
        found |= {dataset_type.name: ref for ref in first}
    return found


def _plots(
    butler: Butler, collections: list[str], instrument: str, dataset_type: DatasetType, limit: int
) -> PlotGroup:
    """Return some of the figures of a type, and count all of them."""
    with butler.query() as query:
        datasets = query.datasets(dataset_type, collections=collections, find_first=True)
        n_all = datasets.where(instrument=instrument).count(discard=True)
    refs = _first_refs(butler, collections, instrument, dataset_type, limit)
    return PlotGroup(name=dataset_type.name, refs=tuple(refs), n_all=n_all)


def _first_refs(
    butler: Butler, collections: list[str], instrument: str, dataset_type: DatasetType, limit: int
) -> list[DatasetRef]:
    """Return the first datasets of a type in the order of their data IDs."""
    order = [name for name in (_VISIT, _DETECTOR) if name in dataset_type.dimensions.required]
    with butler.query() as query:
        datasets = query.datasets(dataset_type, collections=collections, find_first=True)
        return list(datasets.where(instrument=instrument).order_by(*order).limit(limit))
