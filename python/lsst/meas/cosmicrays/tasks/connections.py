# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections that many tasks have in common."""

from __future__ import annotations

__all__ = [
    "DETECTOR",
    "INSTRUMENT",
    "VISIT",
    "mask_input",
    "plot_output",
    "probability_input",
    "summary_input",
    "table_input",
    "table_output",
    "truth_charge_input",
    "truth_mask_input",
]

from collections.abc import Sequence

from lsst.pipe.base.connectionTypes import Input, Output

DETECTOR = ("instrument", "visit", "detector")
VISIT = ("instrument", "visit")
INSTRUMENT = ("instrument",)


def table_input(
    name: str, doc: str, dimensions: Sequence[str] = DETECTOR, *, multiple: bool = False, minimum: int = 1
) -> Input:
    """Return an input that is a table.

    Parameters
    ----------
    name : `str`
        Name of the dataset type, or a template of it.
    doc : `str`
        What the table holds.
    dimensions : `~collections.abc.Sequence` [`str`], optional
        Dimensions of the dataset type.
    multiple : `bool`, optional
        Does a quantum read several?
    minimum : `int`, optional
        Fewest that a quantum can do with.

    Returns
    -------
    connection : `lsst.pipe.base.connectionTypes.Input`
        The connection, with the storage class ``ArrowAstropy``.
    """
    return Input(
        doc=doc,
        name=name,
        storageClass="ArrowAstropy",
        dimensions=dimensions,
        multiple=multiple,
        minimum=minimum,
    )


def table_output(name: str, doc: str, dimensions: Sequence[str] = DETECTOR) -> Output:
    """Return an output that is a table.

    Parameters
    ----------
    name : `str`
        Name of the dataset type, or a template of it.
    doc : `str`
        What the table holds.
    dimensions : `~collections.abc.Sequence` [`str`], optional
        Dimensions of the dataset type.

    Returns
    -------
    connection : `lsst.pipe.base.connectionTypes.Output`
        The connection, with the storage class ``ArrowAstropy``.
    """
    return Output(doc=doc, name=name, storageClass="ArrowAstropy", dimensions=dimensions)


def plot_output(name: str, doc: str, dimensions: Sequence[str] = DETECTOR) -> Output:
    """Return an output that is a figure.

    Parameters
    ----------
    name : `str`
        Name of the dataset type, or a template of it.
    doc : `str`
        What the figure shows.
    dimensions : `~collections.abc.Sequence` [`str`], optional
        Dimensions of the dataset type.

    Returns
    -------
    connection : `lsst.pipe.base.connectionTypes.Output`
        The connection, with the storage class ``Plot``.
    """
    return Output(doc=doc, name=name, storageClass="Plot", dimensions=dimensions)


def mask_input(detection: str, *, multiple: bool = False, deferLoad: bool = False) -> Input:
    """Return the input that is the mask of a detection.

    It may be missing: a finder that failed left none.

    Parameters
    ----------
    detection : `str`
        Name of the detection, ``{finder}_{kind}{variant}``.
    multiple : `bool`, optional
        Does a quantum read those of several detectors?
    deferLoad : `bool`, optional
        Does the task read them itself, one at a time?

    Returns
    -------
    connection : `lsst.pipe.base.connectionTypes.Input`
        The connection, named ``cr_mask_{detection}``.
    """
    return Input(
        doc=f"Cosmic rays of {detection}.",
        name=f"cr_mask_{detection}",
        storageClass="MaskV2",
        dimensions=DETECTOR,
        multiple=multiple,
        deferLoad=deferLoad,
        minimum=0,
    )


def summary_input(detection: str) -> Input:
    """Return the input that says how a detection was made.

    Parameters
    ----------
    detection : `str`
        Name of the detection, ``{finder}_{kind}{variant}``.

    Returns
    -------
    connection : `lsst.pipe.base.connectionTypes.Input`
        The connection, named ``cr_finder_summary_{detection}``.  It may be
        missing.
    """
    return table_input(f"cr_finder_summary_{detection}", f"How {detection} was made.", minimum=0)


def probability_input(detection: str, *, multiple: bool = False, deferLoad: bool = False) -> Input:
    """Return the input that is the probability of a detection.

    Parameters
    ----------
    detection : `str`
        Name of the detection, ``{finder}_{kind}{variant}``.
    multiple : `bool`, optional
        Does a quantum read those of several detectors?
    deferLoad : `bool`, optional
        Does the task read them itself, one at a time?

    Returns
    -------
    connection : `lsst.pipe.base.connectionTypes.Input`
        The connection, named ``cr_probability_{detection}``.  It may be
        missing.
    """
    return Input(
        doc=f"Probability of {detection}.",
        name=f"cr_probability_{detection}",
        storageClass="ImageV2",
        dimensions=DETECTOR,
        multiple=multiple,
        deferLoad=deferLoad,
        minimum=0,
    )


def truth_charge_input(*, multiple: bool = False, deferLoad: bool = False) -> Input:
    """Return the input that is the charge of true cosmic rays.

    Parameters
    ----------
    multiple : `bool`, optional
        Does a quantum read those of several detectors?  If not, it may be
        missing.
    deferLoad : `bool`, optional
        Does the task read them itself, one at a time?

    Returns
    -------
    connection : `lsst.pipe.base.connectionTypes.Input`
        The connection, named ``cr_truth_charge``.
    """
    doc = "Charge of cosmic rays in each pixel, electrons."
    return _truth_input("cr_truth_charge", doc, "ImageV2", multiple, deferLoad)


def truth_mask_input(*, multiple: bool = False, deferLoad: bool = False) -> Input:
    """Return the input that is the mask of true cosmic rays.

    Parameters
    ----------
    multiple : `bool`, optional
        Does a quantum read those of several detectors?  If not, it may be
        missing.
    deferLoad : `bool`, optional
        Does the task read them itself, one at a time?

    Returns
    -------
    connection : `lsst.pipe.base.connectionTypes.Input`
        The connection, named ``cr_truth``.
    """
    doc = "True cosmic rays, where only their pixels are known."
    return _truth_input("cr_truth", doc, "MaskV2", multiple, deferLoad)


def _truth_input(name: str, doc: str, storage_class: str, multiple: bool, defer_load: bool) -> Input:
    return Input(
        doc=doc,
        name=name,
        storageClass=storage_class,
        dimensions=DETECTOR,
        multiple=multiple,
        deferLoad=defer_load,
        minimum=1 if multiple else 0,
    )
