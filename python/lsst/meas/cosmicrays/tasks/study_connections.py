# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections of tasks that gather and draw the studies of visits."""

from __future__ import annotations

__all__ = ["instrument_table", "stamp_images_input", "visit_tables"]

from lsst.pipe.base.connectionTypes import Input, Output

from .connections import DETECTOR, INSTRUMENT, VISIT, table_input, table_output


def visit_tables(what: str) -> Input:
    """Return the input that is the tables of all visits.

    Parameters
    ----------
    what : `str`
        What the tables are of.

    Returns
    -------
    connection : `lsst.pipe.base.connectionTypes.Input`
        The connection, named ``cr_visit_{what}``.
    """
    return table_input(f"cr_visit_{what}", f"The tables {what} of the visits, each.", VISIT, multiple=True)


def instrument_table(what: str) -> Output:
    """Return the output that is the table over all visits.

    Parameters
    ----------
    what : `str`
        What the table is of.

    Returns
    -------
    connection : `lsst.pipe.base.connectionTypes.Output`
        The connection, named ``cr_instrument_{what}``.
    """
    return table_output(f"cr_instrument_{what}", f"The table {what} over all visits.", INSTRUMENT)


def stamp_images_input() -> Input:
    """Return the input that is the cutouts of stamps of all detectors.

    Returns
    -------
    connection : `lsst.pipe.base.connectionTypes.Input`
        The connection: each is read when it is asked for, and there may be
        none.
    """
    return Input(
        doc="Cutouts of the stamps of each detector.",
        name="cr_stamp_images",
        storageClass="ArrowAstropy",
        dimensions=DETECTOR,
        multiple=True,
        deferLoad=True,
        minimum=0,
    )
