# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Detectors that have everything, shared out by visit: to learn from, and to
judge by.
"""

from __future__ import annotations

__all__ = ["choose_visits", "complete_detectors", "handles_by_data_id"]

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lsst.daf.butler import DataCoordinate
from lsst.pipe.base import InputQuantizedConnection, NoWorkFound, QuantumContext


def handles_by_data_id(
    butlerQC: QuantumContext, inputRefs: InputQuantizedConnection
) -> dict[str, dict[DataCoordinate, Any]]:
    """Return the handles of deferred inputs, by connection and data ID.

    Parameters
    ----------
    butlerQC : `lsst.pipe.base.QuantumContext`
        Butler of the quantum.
    inputRefs : `lsst.pipe.base.InputQuantizedConnection`
        Inputs, all of them deferred and multiple.

    Returns
    -------
    handles : `dict`
        By the name of the connection, by data ID, the handle.
    """
    return {
        name: {handle.dataId: handle for handle in refs} for name, refs in butlerQC.get(inputRefs).items()
    }


def complete_detectors(
    handles: Mapping[str, Mapping[DataCoordinate, Any]], needed: Iterable[str], what: str
) -> list[DataCoordinate]:
    """Return the detectors that have all inputs of at least two visits.

    Parameters
    ----------
    handles : `~collections.abc.Mapping`
        By the name of the connection, by data ID, the handle.
    needed : `~collections.abc.Iterable` [`str`]
        Names of the connections.
    what : `str`
        What these are, for the message.

    Returns
    -------
    complete : `list` [`lsst.daf.butler.DataCoordinate`]
        Data IDs, in order.

    Raises
    ------
    lsst.pipe.base.NoWorkFound
        Raised if they are not of two visits.
    """
    complete = sorted(set.intersection(*(set(handles.get(name, {})) for name in needed)))
    if len({data_id["visit"] for data_id in complete}) < 2:
        raise NoWorkFound(
            f"{len(complete)} detectors have {what}; at least two visits are needed, one to learn from and "
            "one to judge by."
        )
    return complete


def choose_visits(
    visits: set[int],
    named: Sequence[int],
    by_default: Iterable[int],
    *,
    field: str,
    chosen_for: str,
    others_for: str,
) -> set[int]:
    """Return the visits that a config names, or those it means.

    Parameters
    ----------
    visits : `set` [`int`]
        All visits.
    named : `~collections.abc.Sequence` [`int`]
        Visits that the config names.
    by_default : `~collections.abc.Iterable` [`int`]
        Visits to choose if it names none.
    field : `str`
        Name of the config field, for the message.
    chosen_for, others_for : `str`
        What the chosen visits are for, and the others: ``fit``, ``judge``.

    Returns
    -------
    chosen : `set` [`int`]
        The visits: some, but not all.

    Raises
    ------
    ValueError
        Raised if none is chosen, or none is left.
    """
    chosen = set(named) & visits if named else set(by_default)
    if not chosen or chosen == visits:
        raise ValueError(
            f"{field} {list(named)} of the visits {sorted(visits)} leaves nothing to "
            f"{others_for if chosen else chosen_for}."
        )
    return chosen
