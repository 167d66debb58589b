# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of tuning: figures 17 and 26 of the report of 2022."""

from __future__ import annotations

__all__ = ["plot_tuning"]

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from .figures import BLUE, ORANGE, RATE_LABELS, RATES

# Two more of Okabe & Ito's colours; the line styles differ too.
PURPLE, YELLOW = "#CC79A7", "#E69F00"
CRITERIA = {
    "mse": ("MSE minimum", "black", "-"),
    "knee": ("knee", PURPLE, "--"),
    "f1": ("F1 maximum", YELLOW, "-."),
    "f1_truth": ("F1 maximum against truth", "#56B4E9", ":"),
}
BAR_HEIGHTS = (0.97, 0.92, 0.87, 0.82)
"""Where the scatter of each optimum is drawn, as fractions of a panel."""

MARGIN = 0.25
"""What the narrow panels show beyond the optima, as a fraction of what lies
between these."""


def plot_tuning(total: Table, optimum: Table) -> Figure:
    """Draw the curve of a field: pixels found, MSE, and rates.

    Parameters
    ----------
    total : `astropy.table.Table`
        Sum of the curves of all detectors, as
        `~lsst.meas.cosmicrays.tasks.GatherTuningTask` writes it.
    optimum : `astropy.table.Table`
        Where it is best, from the same task.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Left the whole range, right what surrounds the optima.  Dots are
        values that were computed on every detector.  Vertical lines are the
        optima, bars in the first row what lies between the 16th and the 84th
        percentile of those of single detectors.
    """
    first = total[0]
    rows = ["pixels", "mse", "rates"] + (["rates_truth"] if np.isfinite(total["mse_truth"]).any() else [])
    figure = Figure(figsize=(10.0, 1.1 + 2.1 * len(rows)))
    panels = figure.subplots(len(rows), 2, sharex="col", squeeze=False)
    values = np.asarray(total["value"], dtype=float)
    whole = (float(values[0]), float(values[-1]))
    for column, limits in enumerate((whole, _narrow(whole, optimum))):
        start, stop = np.searchsorted(values, limits)
        shown = total[max(start - 1, 0) : stop + 1]
        for name, panel in zip(rows, panels[:, column], strict=True):
            _draw(panel, name, shown, str(first["reference"]))
            _mark_optima(panel, optimum, limits)
            panel.set_xlim(*limits)
        _draw_scatter(panels[0, column], optimum)
        panels[-1, column].set_xlabel(f"{first['finder']}: {first['field']}", fontsize=9)
    if len(rows) == 4:
        panels[1, 0].legend(handles=_handles(panels[1, 0])[:2], fontsize=8, frameon=False)
    panels[0, 0].set_title("wide: the whole range", fontsize=9)
    panels[0, 1].set_title("narrow: around the optima", fontsize=9)
    handles = [handle for name in ("pixels", "rates") for handle in _handles(panels[rows.index(name), 0])]
    by_label = {str(handle.get_label()): handle for handle in handles}
    figure.legend(by_label.values(), by_label, loc="lower center", ncols=4, fontsize=9, frameon=False)
    n_detectors = int(first["n_detectors"])
    figure.suptitle(
        f"{first['finder']} on {first['kind']} images, tuned on {n_detectors} "
        f"detector{'s' if n_detectors > 1 else ''}"
        + (" (bars above: 16 to 84 % of the optima of single detectors)" if n_detectors > 1 else ""),
        fontsize=10,
    )
    figure.tight_layout(rect=(0, 0.65 / figure.get_figheight(), 1, 1))
    return figure


def _draw(panel: Axes, name: str, curve: Table, reference: str) -> None:
    """Draw one quantity over a range of values."""
    if name == "pixels":
        _line(panel, curve, "cr_pixels_per_mpix", "0.25", "o", "CR pixels")
        _positive_scale(panel, curve["cr_pixels_per_mpix"])
        panel.set_ylabel("CR pixels\nper Mpix", fontsize=9)
    elif name == "mse":
        _line(panel, curve, "mse", BLUE, "o", f"against {reference}")
        _line(panel, curve, "mse_truth", ORANGE, "s", "against truth")
        _positive_scale(panel, np.concatenate([curve["mse"], curve["mse_truth"]]))
        panel.set_ylabel("MSE", fontsize=9)
    else:
        suffix = name.removeprefix("rates")
        for rate, (colour, marker) in RATES.items():
            _line(panel, curve, rate + suffix, colour, marker, RATE_LABELS[rate])
        panel.set_ylim(-0.02, 1.02)
        panel.set_ylabel(f"against\n{'truth' if suffix else reference}", fontsize=9)
    panel.grid(color="0.92")
    panel.set_axisbelow(True)
    panel.tick_params(labelsize=8)


def _line(panel: Axes, curve: Table, name: str, colour: str, marker: str, label: str) -> None:
    """Draw one column, with dots where every detector was computed."""
    values, numbers = np.asarray(curve["value"], float), np.asarray(curve[name], float)
    if not np.any(np.isfinite(numbers)):
        return
    computed = np.asarray(curve["n_computed"] == curve["n_detectors"])
    panel.plot(values, numbers, color=colour, lw=1.2, marker=marker, ms=3.5, markevery=computed, label=label)


def _positive_scale(panel: Axes, numbers: npt.ArrayLike) -> None:
    """Scale an axis by powers of ten, if the numbers allow it."""
    array = np.asarray(numbers, dtype=float)
    positive = array[np.isfinite(array) & (array > 0.0)]
    if positive.size == 0 or positive.max() < 3.0 * positive.min():
        return
    panel.set_yscale("log")
    panel.set_ylim(0.8 * positive.min(), 1.25 * positive.max())
    if positive.max() > 100.0 * positive.min():
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.yaxis.set_major_locator(LogLocator(10.0, numticks=6))


def _mark_optima(panel: Axes, optimum: Table, limits: tuple[float, float]) -> None:
    """Draw the optima."""
    for criterion, (label, colour, style) in CRITERIA.items():
        value = float(optimum["value"][np.asarray(optimum["criterion"]) == criterion][0])
        if limits[0] <= value <= limits[1]:
            panel.axvline(value, color=colour, ls=style, lw=1.6, label=f"{label}: {value:.4g}")


def _draw_scatter(panel: Axes, optimum: Table) -> None:
    """Draw how the optima of single detectors scatter."""
    across = panel.get_xaxis_transform()
    for height, (criterion, (_, colour, _)) in zip(BAR_HEIGHTS, CRITERIA.items(), strict=True):
        (row,) = optimum[np.asarray(optimum["criterion"]) == criterion]
        if row["n_detectors"] > 1:
            panel.hlines(height, row["p16"], row["p84"], color=colour, lw=3.0, transform=across)


def _handles(panel: Axes) -> list:
    return panel.get_legend_handles_labels()[0]


def _narrow(whole: tuple[float, float], optimum: Table) -> tuple[float, float]:
    """Return the range that surrounds the optima and their scatter."""
    places = np.concatenate([np.asarray(optimum[name], float) for name in ("value", "p16", "p84")])
    places = places[np.isfinite(places) & (places >= whole[0]) & (places <= whole[1])]
    if places.size == 0:
        return whole
    margin = max(MARGIN * (places.max() - places.min()), 0.05 * (whole[1] - whole[0]))
    return max(whole[0], places.min() - margin), min(whole[1], places.max() + margin)
