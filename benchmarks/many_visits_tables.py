# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repositories of many visits that all have the tables of one.

What is in the tables of the one visit is the matter of who makes them:
``many_visits.py``, and the tests.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from astropy.table import Table

from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.repository import VisitDescription, register_dataset_type, register_visit
from lsst.meas.cosmicrays.tasks import GatherComparisonConfig, GatherComparisonTask
from lsst.sphgeom import ConvexPolygon

GATHERED = (
    "counts",
    "counts_dilated",
    "detections",
    "pixel_pairs",
    "pixel_places",
    "cluster_counts",
    "stamps",
    "objects",
)
"""Tables of a detector that are gathered, as the comparison names them."""


def gather(
    level: str, parts: Sequence[tuple[Mapping[str, int], Mapping[str, Table]]], **config: int
) -> dict[str, Table]:
    """Gather tables as `GatherComparisonTask` does, by names without prefix.

    Parameters
    ----------
    level : `str`
        ``visit`` or ``instrument``.
    parts : `~collections.abc.Sequence`
        What identifies each detector (of a visit: nothing), and its tables.
    **config : `int`
        Further fields of the config.

    Returns
    -------
    tables : `dict` [`str`, `astropy.table.Table`]
        By what follows ``cr_visit_`` or ``cr_instrument_``.
    """
    ends = {name: "".join(word.capitalize() for word in name.split("_")) for name in GATHERED}
    task = GatherComparisonTask(config=GatherComparisonConfig(level=level, **config))
    gathered = task.run(
        **{f"detector{end}": [(where, tables[name]) for where, tables in parts] for name, end in ends.items()}
    ).getDict()
    names = {end[0].lower() + end[1:]: name for name, end in ends.items()}
    return {names.get(name, name): table for name, table in gathered.items()}


def put_table(butler: Butler, run: str, name: str, table: Table, **data_id: int | str) -> None:
    """Put a table, and register its dataset type.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Client that can write.
    run : `str`
        Collection.
    name : `str`
        Dataset type; its dimensions are those of the data ID.
    table : `astropy.table.Table`
        The table.
    **data_id : `int` or `str`
        What it is of.
    """
    register_dataset_type(butler, name, "ArrowAstropy", tuple(data_id))
    butler.put(table, name, run=run, **data_id)


def repeat_visit(
    butler: Butler,
    run: str,
    instrument: str,
    visit: VisitDescription,
    regions: Mapping[int, ConvexPolygon],
    numbers: Iterable[int],
) -> None:
    """Give further visits the tables of one, with their numbers in them.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Client that can write.
    run : `str`
        Collection of the tables ``cr_visit_*``.
    instrument : `str`
        Butler name of the instrument.
    visit : `VisitDescription`
        The visit that has tables.
    regions : `~collections.abc.Mapping` [`int`, `lsst.sphgeom.ConvexPolygon`]
        Region of each detector on the sky.
    numbers : `~collections.abc.Iterable` [`int`]
        Further visits.
    """
    refs = butler.query_all_datasets(
        run, name="cr_visit_*", where="visit = number", bind={"number": visit.id}, instrument=instrument
    )
    tables = {ref.datasetType.name: butler.get(ref) for ref in refs}
    for number in numbers:
        register_visit(butler, instrument, dataclasses.replace(visit, id=number), regions)
        for table in tables.values():
            if "visit" in table.colnames:
                table["visit"] = np.full(len(table), number, dtype=table["visit"].dtype)
        with butler.transaction():
            for name, table in tables.items():
                butler.put(table, name, instrument=instrument, visit=number, run=run)
