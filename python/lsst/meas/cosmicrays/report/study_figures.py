# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of studies: stamps, cost of labels, places of pixels, trails."""

from __future__ import annotations

__all__ = [
    "plot_label_cost",
    "plot_places",
    "plot_stamp_distribution",
    "plot_stamp_thresholds",
    "plot_trail_rates",
]

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

# Okabe & Ito's colours, which colour-blind people tell apart; lines differ in
# their markers too.
BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)
LINES = tuple(zip((BLACK, BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY), "osD^vPX", strict=True))
PLACES = {
    "rim_in": ("rim of a CR both have, in a stamp", BLUE, ""),
    "rim_out": ("rim of a CR both have, in no stamp", SKY, "///"),
    "single_in": ("CR only one has, in a stamp", ORANGE, ""),
    "single_out": ("CR only one has, in no stamp", AMBER, "///"),
}
F1_STEPS = {
    "f1_pixel": ("pixels", "o"),
    "f1_without_rims": ("pixels, rims forgiven", "s"),
    "f1_in_stamps": ("pixels in stamps", "D"),
    "f1_in_stamps_without_rims": ("pixels in stamps, rims forgiven", "^"),
    "f1_stamp": ("stamps", "*"),
}
SAMPLES = {
    "all": ("all detectors", BLACK, "o"),
    "without_trails": ("without trails", BLUE, "s"),
    "with_trails": ("with trails", ORANGE, "D"),
}


def plot_stamp_distribution(distribution: Table, study: Table, *, largest: int = 90) -> Figure:
    """Draw how many cosmic-ray pixels the stamps of each detection have.

    Parameters
    ----------
    distribution : `astropy.table.Table`
        Number of stamps by detection and number of cosmic-ray pixels.
    study : `astropy.table.Table`
        Medians, one row a detection.
    largest : `int`, optional
        Stamps with more pixels are in the last bin.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        A histogram for each detection; where truth is known, stamps without
        a true cosmic ray have a colour of their own.  Stamps without
        cosmic-ray pixels are not drawn.
    """
    names = _names(study, "detection")
    n_rows = max(1, math.ceil(len(names) / 2))
    figure = Figure(figsize=(7.0, 0.9 + 1.6 * n_rows), layout="constrained")
    panels = np.ravel(figure.subplots(n_rows, 2, sharex=True))
    edges = np.concatenate([[1], np.arange(4, largest + 4, 3)]) - 0.5
    kinds = (
        (1, "true CR in the stamp", BLUE),
        (0, "no true CR in the stamp", ORANGE),
        (-1, "stamps", "0.45"),
    )
    for panel, name in zip(panels, names, strict=False):
        rows = distribution[(distribution["detection"] == name) & (distribution["n_cr"] > 0)]
        sizes = np.minimum(np.asarray(rows["n_cr"], float), edges[-1] - 0.5)
        bottom = np.zeros(len(edges) - 1)
        for truth, _, colour in kinds:
            chosen = np.asarray(rows["label_truth"]) == truth
            counts, _ = np.histogram(sizes[chosen], edges, weights=np.asarray(rows["n"], float)[chosen])
            panel.bar(edges[:-1], counts, np.diff(edges), bottom, align="edge", color=colour, linewidth=0)
            bottom += counts
        median = float(study["median_cr_pixels"][study["detection"] == name][0])
        if math.isfinite(median):
            panel.axvline(median, color=BLACK, lw=1.0, ls="--")
        panel.set_title(f"{name} (median {_number(median, '.0f')})", fontsize=8)
        panel.tick_params(labelsize=7)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    shown = set(np.asarray(distribution["label_truth"]).tolist())
    handles = [Rectangle((0, 0), 1, 1, color=colour) for truth, _, colour in kinds if truth in shown]
    labels = [label for truth, label, _ in kinds if truth in shown]
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    for panel in panels[max(0, len(names) - 2) : max(1, len(names))]:
        panel.set_xlabel(f"CR pixels in a stamp (last bin: more than {largest - 3})", fontsize=8)
        panel.tick_params(labelbottom=True)
    for panel in panels[::2]:
        panel.set_ylabel("stamps", fontsize=8)
    return figure


def plot_stamp_thresholds(thresholds: Table) -> Figure:
    """Draw what the threshold of a stamp's label does.

    Parameters
    ----------
    thresholds : `astropy.table.Table`
        Labels and their rates by detection and threshold.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Share of stamps that are labelled, purity and completeness against
        truth, and purity of the stamps with exactly so many pixels, as the
        threshold changes.
    """
    panels_of = {
        "fraction_cr": "stamps labelled CR",
        "purity": "purity of the label",
        "completeness": "completeness of the label",
        "exactly_purity": "purity at exactly L pixels",
    }
    figure = Figure(figsize=(7.0, 5.2), layout="constrained")
    panels = np.ravel(figure.subplots(2, 2, sharex=True))
    names = [name for name in _names(thresholds, "detection") if name != "truth"]
    for panel, (column, title) in zip(panels, panels_of.items(), strict=True):
        for number, name in enumerate(names):
            rows = thresholds[thresholds["detection"] == name]
            colour, marker = LINES[number % len(LINES)]
            style = "-" if number < len(LINES) else "--"
            panel.plot(
                rows["threshold"], rows[column], style, marker=marker, color=colour, ms=4, lw=1, label=name
            )
        panel.set_xscale("log")
        ticks = np.unique(thresholds["threshold"]).tolist()
        panel.set_xticks(ticks, [str(tick) for tick in ticks])
        panel.minorticks_off()
        panel.set_ylim(-0.03, 1.03)
        panel.set_title(title, fontsize=9)
        panel.grid(color="0.9")
        panel.tick_params(labelsize=8)
    for panel in panels[2:]:
        panel.set_xlabel("threshold L (CR pixels)", fontsize=8)
    _legend_below(figure, panels[0], ncols=2)
    return figure


def plot_label_cost(costs: Table) -> Figure:
    """Draw the alerts that labels lose and the cosmic rays they let pass.

    Parameters
    ----------
    costs : `astropy.table.Table`
        Costs, one row a detection.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Left, the share of real variable sources that are lost; middle, of
        cosmic rays that pass; right, of dipoles that are labelled.  Bars are
        95 % intervals; numbers per visit, or of stamps, stand beside.
    """
    panels_of = {
        "fraction_lost": ("variable sources lost", "n_variable_lost", "n_variable", BLUE, "o"),
        "fraction_passed": ("cosmic rays that pass", "n_cr_passed", "n_cr", ORANGE, "s"),
        "fraction_dipole_cr": ("dipoles labelled CR", "n_dipole_cr", "n_dipole", GREEN, "D"),
    }
    names = _names(costs, "detection")
    costs = costs[np.isin(costs["detection"], names)]
    figure = Figure(figsize=(9.0, 1.3 + 0.36 * max(1, len(names))), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    places = np.arange(len(names))
    for panel, (rate, (title, some, every, colour, marker)) in zip(panels, panels_of.items(), strict=True):
        _draw_rates(panel, costs, rate, places, colour, marker)
        right = max(0.05, 1.1 * np.nan_to_num(costs[f"{rate}_hi"]).max(initial=0.0))
        panel.set_xlim(-0.02 * right, right)
        for place, n, total in zip(places, costs[some], costs[every], strict=True):
            panel.text(
                1.03, place, f"{n}/{total}", fontsize=7, va="center", transform=panel.get_yaxis_transform()
            )
        panel.set_title(title if np.any(costs[every] > 0) else f"{title}: there are none", fontsize=9)
    _name_rows(panels[0], names)
    n_visits = int(np.max(costs["n_visits"], initial=0))
    figure.supxlabel(f"share, with 95 % interval; stamps of {n_visits} visit(s) beside", fontsize=8)
    return figure


def plot_places(places: Table, reference: str) -> Figure:
    """Draw why pixels and stamps tell different stories.

    Parameters
    ----------
    places : `astropy.table.Table`
        Disagreement of pairs of masks by place.
    reference : `str`
        Detection or truth to compare with.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Left, where the pixels lie on which each detection disagrees with
        the reference; right, F1 by pixel, as each kind is forgiven, and by
        stamp.
    """
    rows = places[places["reference"] == reference]
    names = [str(name) for name in rows["candidate"]]
    figure = Figure(figsize=(9.0, 2.0 + 0.36 * max(1, len(names))), layout="constrained")
    shares, steps = figure.subplots(1, 2, sharey=True)
    positions = np.arange(len(names))
    left = np.zeros(len(names))
    for place, (label, colour, hatch) in PLACES.items():
        values = np.nan_to_num(np.asarray(rows[f"share_{place}"], float))
        shares.barh(
            positions,
            values,
            0.7,
            left,
            color=colour,
            hatch=hatch,
            label=label,
            edgecolor="white",
            linewidth=0.5,
        )
        left += values
    shares.set_xlim(0, 1)
    shares.set_xlabel("share of the pixels on which they disagree", fontsize=8)
    for number, (column, (label, marker)) in enumerate(F1_STEPS.items()):
        colour = (BLUE, SKY, PURPLE, GREEN, BLACK)[number]
        values = np.asarray(rows[column], float)
        steps.plot(
            values, positions, marker, color=colour, ms=8 if marker == "*" else 5, ls="none", label=label
        )
    steps.set_xlim(-0.02, 1.02)
    steps.set_xlabel("F1", fontsize=8)
    steps.grid(axis="x", color="0.9")
    _name_rows(shares, names)
    for panel in (shares, steps):
        panel.tick_params(labelsize=8)
        panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=7, frameon=False, ncols=2)
    figure.suptitle(f"Compared with {reference}", fontsize=9)
    return figure


def plot_trail_rates(rates: Table) -> Figure:
    """Draw what detectors with trails of satellites do to rates.

    Parameters
    ----------
    rates : `astropy.table.Table`
        Rates by detection and sample of detectors.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Left, cosmic-ray pixels per megapixel; right, share of detectors on
        which the finder failed, with 95 % intervals; each for all
        detectors, and for those without and with a trail.
    """
    names = _names(rates, "detection")
    rates = rates[np.isin(rates["detection"], names)]
    figure = Figure(figsize=(8.0, 1.5 + 0.42 * max(1, len(names))), layout="constrained")
    density, failed = figure.subplots(1, 2, sharey=True)
    for offset, (sample, (label, colour, marker)) in zip((-0.22, 0.0, 0.22), SAMPLES.items(), strict=True):
        rows = rates[rates["sample"] == sample]
        n_detectors = int(np.max(rows["n_detectors_total"], initial=0))
        positions = [names.index(str(name)) + offset for name in rows["detection"]]
        density.plot(
            rows["cr_pixels_per_mpix"],
            positions,
            marker,
            color=colour,
            ms=5,
            ls="none",
            label=f"{label} ({n_detectors})",
        )
        _draw_rates(failed, rows, "fraction_failed", positions, colour, marker)
    densities = np.asarray(rates["cr_pixels_per_mpix"], float)
    if np.isfinite(densities).any() and not (densities == 0.0).any():
        density.set_xscale("log")
        density.xaxis.set_major_formatter(ScalarFormatter())
        density.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        density.xaxis.set_minor_formatter(NullFormatter())
    density.set_xlabel("CR pixels per megapixel", fontsize=8)
    failed.set_xlabel("share of detectors that failed", fontsize=8)
    density.grid(axis="x", color="0.9")
    density.tick_params(labelsize=8)
    _name_rows(density, names)
    _legend_below(figure, density, ncols=3)
    return figure


def _draw_rates(panel: Axes, rows: Table, rate: str, places: npt.ArrayLike, colour: str, marker: str) -> None:
    """Draw rates as points, and their intervals as lines."""
    values, low, high = (np.asarray(rows[f"{rate}{end}"], float) for end in ("", "_lo", "_hi"))
    panel.hlines(places, low, high, color=colour, lw=1.5)
    panel.plot(values, places, marker, color=colour, ms=5, ls="none")
    panel.set_xlim(-0.02, 1.02)
    panel.grid(axis="x", color="0.9")
    panel.set_axisbelow(True)
    panel.tick_params(labelsize=8)


def _name_rows(panel: Axes, names: Sequence[str]) -> None:
    panel.set_yticks(range(len(names)), names, fontsize=8)
    panel.set_ylim(max(1, len(names)) - 0.5, -0.5)


def _legend_below(figure: Figure, panel: Axes, ncols: int) -> None:
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=ncols, fontsize=8, frameon=False)


def _names(table: Table, column: str) -> list[str]:
    """Return detections and truth, but not truth at other thresholds."""
    names = dict.fromkeys(str(name) for name in table[column])
    return [name for name in names if not name.startswith("truth_")]


def _number(value: Any, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"
