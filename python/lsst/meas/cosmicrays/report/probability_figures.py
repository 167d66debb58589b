# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of probabilities against truth, for people to look at."""

from __future__ import annotations

__all__ = ["plot_precision_recall"]

from collections.abc import Sequence

import numpy as np
from astropy.table import Row, Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito's colours, which colour-blind people tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", ":", "-.")
USUAL_THRESHOLD = 0.5


def plot_precision_recall(curve: Table, summary: Table, reference: str = "truth") -> Figure:
    """Draw how good every threshold of probabilities would be.

    Parameters
    ----------
    curve : `astropy.table.Table`
        What every threshold would find, as
        `~lsst.meas.cosmicrays.comparison.probability_curve` returns it.
    summary : `astropy.table.Table`
        What follows from it, as
        `~lsst.meas.cosmicrays.comparison.probability_summary` returns it.
    reference : `str`, optional
        Name of the truth to draw.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Left, purity over completeness, with the usual threshold of 0.5
        marked; right, completeness over the rate of false positives, which
        is logarithmic.  One line a detection.

    Raises
    ------
    ValueError
        Raised if nothing was compared with that truth.
    """
    rows = [row for row in summary if row["reference"] == reference]
    if not rows:
        raise ValueError(f"There is no curve against {reference!r}.")
    figure = Figure(figsize=(11.0, 4.6 + 0.25 * len(rows)))
    leading, following = figure.subplots(1, 2, width_ratios=(1.3, 1.0))
    for number, row in enumerate(rows):
        of_row = (curve["reference"] == reference) & (curve["detection"] == row["detection"])
        points = curve[of_row]
        style = {"color": COLOURS[number % len(COLOURS)], "ls": LINES[number // len(COLOURS) % len(LINES)]}
        leading.plot(points["recall"], points["precision"], lw=1.6, label=_describe(row), **style)
        # A rate of zero has no place on a logarithmic axis.
        rate = np.maximum(points["false_positive_rate"], 0.5 / max(1, row["n_false"]))
        following.plot(rate, points["recall"], lw=1.6, **style)
        usual = points[points["threshold"] >= USUAL_THRESHOLD][-1:]
        leading.plot(usual["recall"], usual["precision"], "o", ms=6, color=style["color"])
        following.plot(
            rate[np.isin(points["threshold"], usual["threshold"])],
            usual["recall"],
            "o",
            ms=6,
            color=style["color"],
        )
    _finish_precision_recall(leading, rows)
    _finish_receiver(following)
    handles, labels = leading.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", fontsize=9, frameon=False)
    share = rows[0]["n_true"] / max(1, rows[0]["n_true"] + rows[0]["n_false"])
    figure.suptitle(
        f"Compared with {reference}: {rows[0]['n_true']} true pixels, {share:.1e} of all "
        "(dots: a threshold of 0.5)",
        fontsize=10,
    )
    figure.tight_layout(rect=(0, 0.03 + 0.045 * len(rows), 1, 1))
    return figure


def _describe(row: Row) -> str:
    return (
        f"{row['detection']}: average precision {row['average_precision']:.3f}, "
        f"purity {row['precision_at_recall']:.3f} at a completeness of {row['recall']:g}, "
        f"{row['n_detectors']} detectors"
    )


def _finish_precision_recall(panel: Axes, rows: Sequence[Row]) -> None:
    for recall in {float(row["recall"]) for row in rows}:
        panel.axvline(recall, color="0.7", lw=0.8, ls=":")
    panel.set_xlim(0.0, 1.01)
    panel.set_ylim(0.0, 1.01)
    _finish(panel, "completeness (recall)", "purity (precision)", "precision and recall")


def _finish_receiver(panel: Axes) -> None:
    panel.set_xscale("log")
    panel.set_xlim(right=1.0)
    panel.set_ylim(0.0, 1.01)
    _finish(panel, "false-positive rate", "completeness (recall)", "receiver operating characteristic")


def _finish(panel: Axes, across: str, down: str, title: str) -> None:
    panel.set_xlabel(across)
    panel.set_ylabel(down)
    panel.set_title(title, fontsize=9)
    panel.grid(color="0.9")
    panel.set_axisbelow(True)
