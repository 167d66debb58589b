# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures that show a whole study at a glance."""

from __future__ import annotations

__all__ = [
    "plot_completeness",
    "plot_distributions",
    "plot_focal_plane",
    "plot_run_times",
    "plot_upset",
]

import math
from itertools import cycle

import numpy as np
from astropy.table import Table
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from ..comparison import COMPLETENESS_BINS, FOCAL_PLANE_CORNERS

# Okabe & Ito's colours, which colour-blind people tell apart; markers and
# line styles tell the same.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
MARKERS = "osD^vPX"
BLUE, GREY = COLOURS[0], "0.8"

VARIABLES = {
    "length": "length (pixels)",
    "charge": "charge (electrons)",
    "star_distance": "distance to the nearest star (pixels)",
}
DOTS = 400
"""Most dots that are drawn of a distribution."""


def plot_focal_plane(focal_plane: Table, column: str, label: str, *, title: str) -> Figure:
    """Draw a number for every detector, where the detectors are.

    Parameters
    ----------
    focal_plane : `astropy.table.Table`
        Counts by detector, as
        `~lsst.meas.cosmicrays.comparison.add_focal_planes` returns them.
    column : `str`
        Column to draw.
    label : `str`
        What the numbers are, with their unit.
    title : `str`
        Title of the figure.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Detectors on the tangent plane of the sky, east to the left, in
        colours that a bar explains. Those without a number are hatched.
    """
    corners = np.column_stack([np.asarray(focal_plane[name], float) for name in FOCAL_PLANE_CORNERS])
    polygons = corners.reshape(-1, 4, 2)
    values = np.ma.masked_invalid(np.asarray(focal_plane[column], dtype=float))
    figure = Figure(figsize=(6.4, 5.4), dpi=150, layout="constrained")
    panel = figure.subplots()
    known = ~np.ma.getmaskarray(values)
    drawn = PolyCollection(list(polygons[known]), cmap="cividis", edgecolors="white", linewidths=0.6)
    drawn.set_array(values[known])
    if known.any():
        drawn.set_clim(min(0.0, float(values.min())), max(float(values.max()), 1e-9))
    panel.add_collection(drawn)
    panel.add_collection(
        PolyCollection(
            list(polygons[~known]), facecolors="none", edgecolors="0.5", hatch="///", linewidths=0.6
        )
    )
    if len(polygons) <= 40:
        for centre, detector in zip(polygons.mean(axis=1), focal_plane["detector"], strict=True):
            text = panel.annotate(str(detector), centre, ha="center", va="center", fontsize=8)
            text.set_bbox({"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75})
    low, high = polygons.min(axis=(0, 1)), polygons.max(axis=(0, 1))
    margin = 0.04 * float(np.max(high - low))
    panel.set_xlim(high[0] + margin, low[0] - margin)
    panel.set_ylim(low[1] - margin, high[1] + margin)
    panel.set_aspect("equal")
    panel.set_xlabel("towards the east (degrees)")
    panel.set_ylabel("towards the north (degrees)")
    panel.set_title(title, fontsize=10)
    figure.colorbar(drawn, ax=panel, label=label)
    return figure


def plot_run_times(detections: Table) -> Figure:
    """Draw how long finders took.

    Parameters
    ----------
    detections : `astropy.table.Table`
        Columns ``detection``, ``role`` and ``wall_time`` (s), one row a
        detection and detector.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        One dot a detector (a sample, where there are many), and the median.
    """
    rows = detections[detections["role"] == "detection"]
    names = list(dict.fromkeys(str(name) for name in rows["detection"]))
    figure = Figure(figsize=(7.0, 1.3 + 0.34 * max(1, len(names))), dpi=150, layout="constrained")
    panel = figure.subplots()
    for place, name in enumerate(names):
        times = np.ma.filled(rows["wall_time"][rows["detection"] == name], np.nan).astype(float)
        times = times[np.isfinite(times) & (times > 0)]
        if times.size == 0:
            continue
        median = float(np.median(times))
        dots = times[:: max(1, times.size // DOTS)]
        panel.plot(dots, np.full(dots.size, place), "o", color=BLUE, ms=4, alpha=0.5, mew=0, ls="none")
        panel.plot([median], [place], "|", color="black", ms=14, mew=2)
        panel.annotate(
            f"{median:.3g} s", (median, place), (0, 8), textcoords="offset points", fontsize=8, ha="center"
        )
    panel.set_xscale("log")
    panel.set_yticks(range(len(names)), names, fontsize=9)
    panel.set_ylim(len(names) - 0.4, -0.8)
    panel.set_xlabel("seconds a detector (bars: medians)")
    panel.grid(axis="x", color="0.9")
    panel.set_axisbelow(True)
    return figure


def plot_upset(combinations: Table, names: list[str], *, most: int = 24) -> Figure:
    """Draw an UpSet plot: how many pixels each combination of masks has.

    Parameters
    ----------
    combinations : `astropy.table.Table`
        What `~lsst.meas.cosmicrays.comparison.region_table` returned.
    names : `list` [`str`]
        Names of the masks, in the order of the bits of its ``code``.
    most : `int`, optional
        How many combinations are drawn, those with the most pixels.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Above, the pixels of each combination; below, its masks as dots;
        right, all pixels of each mask.

    Notes
    -----
    Lex, A., et al. (2014), *UpSet: Visualization of Intersecting Sets*, IEEE
    Transactions on Visualization and Computer Graphics 20, 1983.
    """
    drawn = combinations[:most]
    codes = np.asarray(drawn["code"], dtype=np.uint64)
    members = [[bool(code >> np.uint64(i) & np.uint64(1)) for i in range(len(names))] for code in codes]
    figure = Figure(
        figsize=(3.4 + 0.26 * max(8, len(drawn)), 2.6 + 0.26 * len(names)), dpi=150, layout="constrained"
    )
    grid = figure.add_gridspec(
        2, 2, width_ratios=(max(8, len(drawn)), 6), height_ratios=(2.2, 0.26 * len(names) + 0.3)
    )
    bars = figure.add_subplot(grid[0, 0])
    dots = figure.add_subplot(grid[1, 0], sharex=bars)
    sizes = figure.add_subplot(grid[1, 1], sharey=dots)

    places = np.arange(len(drawn))
    bars.bar(places, drawn["n"], color=BLUE, width=0.7)
    bars.set_yscale("log")
    if len(drawn):
        # The smallest has a height, too.
        bars.set_ylim(bottom=0.6 * float(np.min(drawn["n"])))
    bars.set_ylabel("pixels")
    bars.tick_params(labelbottom=False, bottom=False)
    bars.grid(axis="y", color="0.9")
    bars.set_axisbelow(True)
    fraction = float(np.sum(drawn["fraction"])) if len(drawn) else 1.0
    bars.set_title(
        f"Pixels that exactly these detections have: {len(drawn)} of {len(combinations)} combinations, "
        f"{fraction:.1%} of all",
        fontsize=9,
        loc="left",
    )
    for place, has in zip(places, members, strict=True):
        rows = [row for row, there in enumerate(has) if there]
        dots.plot(np.full(len(names), place), range(len(names)), "o", color=GREY, ms=5, ls="none")
        dots.plot(np.full(len(rows), place), rows, "o-", color="black", ms=5, lw=1.2)
    dots.set_yticks(range(len(names)), names, fontsize=8)
    dots.set_ylim(len(names) - 0.5, -0.5)
    dots.tick_params(labelbottom=False, bottom=False)

    all_codes = np.asarray(combinations["code"], dtype=np.uint64)
    totals = [
        int(np.asarray(combinations["n"])[(all_codes >> np.uint64(i)) & np.uint64(1) == 1].sum())
        for i in range(len(names))
    ]
    sizes.barh(range(len(names)), totals, color="0.55", height=0.6)
    sizes.tick_params(labelleft=False, labelsize=8)
    sizes.locator_params(axis="x", nbins=3)
    sizes.set_xlabel("pixels in all", fontsize=8)
    return figure


def plot_completeness(completeness: Table) -> Figure:
    """Draw completeness against properties of cosmic rays.

    Parameters
    ----------
    completeness : `astropy.table.Table`
        What `~lsst.meas.cosmicrays.comparison.completeness_table` returned.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        One panel a property that is known, one line a detection; bars are
        95 % intervals. On difference images lines are dashed.
    """
    known = completeness[completeness["n"] > 0]
    variables = [name for name in VARIABLES if np.any(known["variable"] == name)]
    names = list(dict.fromkeys(str(name) for name in completeness["detection"]))
    figure = Figure(
        figsize=(1.2 + 3.4 * max(1, len(variables)), 3.3 + 0.17 * math.ceil(len(names) / 3)),
        dpi=150,
        layout="constrained",
    )
    panels = np.atleast_1d(figure.subplots(1, max(1, len(variables)), sharey=True))
    handles: list[Line2D] = []
    for panel, variable in zip(panels, variables, strict=False):
        edges = COMPLETENESS_BINS[variable]
        handles.clear()
        for number, name in enumerate(names):
            rows = known[(known["variable"] == variable) & (known["detection"] == name)]
            # A little apart, lest they hide each other; farther, lines would
            # seem to be shifted.
            shift = 0.5 + 0.25 * ((number + 0.5) / len(names) - 0.5)
            places = np.array([edges.index(float(low)) for low in rows["low"]], float) + shift
            again = number // len(COLOURS)
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[(number + 3 * again) % len(MARKERS)]
            panel.vlines(
                places, rows["completeness_lo"], rows["completeness_hi"], color=colour, lw=1, alpha=0.5
            )
            style = "--" if "difference" in name else "-"
            handles += panel.plot(
                places, rows["completeness"], style, marker=marker, color=colour, ms=4, lw=1, label=name
            )
        panel.set_xticks(range(len(edges) - 1), [_edge(edge) for edge in edges[:-1]])
        panel.set_xlim(0, len(edges) - 1)
        panel.set_xlabel(VARIABLES[variable])
        panel.grid(color="0.92")
        panel.set_axisbelow(True)
    panels[0].set_ylim(-0.03, 1.03)
    panels[0].set_ylabel("completeness by cosmic ray")
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def plot_distributions(detections: Table, objects: Table) -> Figure:
    """Draw distributions over detectors and over cosmic rays.

    Parameters
    ----------
    detections : `astropy.table.Table`
        Columns ``detection``, ``role``, ``available``, ``n_usable`` and
        ``n_pixels``, one row a detection and detector.
    objects : `astropy.table.Table`
        Columns ``n_pixels``, ``length``, ``charge`` and ``is_reference``,
        one row a cosmic ray.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Left, cosmic-ray pixels per megapixel of each detector by detection;
        then size, length and charge of cosmic rays of the reference, which
        is truth where it is known.
    """
    there = detections[(detections["role"] != "plane") & detections["available"]]
    names = list(dict.fromkeys(str(name) for name in there["detection"]))
    figure = Figure(figsize=(8.4, 2.6 + 0.3 * len(names)), dpi=150, layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=(0.3 * len(names) + 0.4, 2.2))
    densities = figure.add_subplot(grid[0, :])
    for place, (name, colour) in enumerate(zip(names, cycle(COLOURS), strict=False)):
        rows = there[there["detection"] == name]
        values = (
            1e6 * np.asarray(rows["n_pixels"], float) / np.maximum(np.asarray(rows["n_usable"], float), 1)
        )
        dots = values[:: max(1, values.size // DOTS)]
        densities.plot(dots, np.full(dots.size, place), "o", color=colour, ms=4, alpha=0.6, mew=0, ls="none")
        densities.plot([np.median(values)], [place], "|", color="black", ms=12, mew=2)
    densities.set_yticks(range(len(names)), names, fontsize=8)
    densities.set_ylim(len(names) - 0.4, -0.6)
    densities.set_xlabel("CR pixels per Mpix, one dot a detector (bars: medians)", fontsize=9)
    densities.grid(axis="x", color="0.9")
    reference = objects[np.asarray(objects["is_reference"], dtype=bool)]
    shown = (
        ("n_pixels", "pixels of a cosmic ray"),
        ("length", "length (pixels)"),
        ("charge", "charge (electrons)"),
    )
    for column, (variable, label) in enumerate(shown):
        panel = figure.add_subplot(grid[1, column])
        values = np.asarray(reference[variable], dtype=float)
        values = values[np.isfinite(values) & (values > 0)]
        if values.size:
            low, high = float(values.min()), float(values.max()) * 1.001
            bins = np.geomspace(low, max(high, 2 * low), 25)
            panel.hist(values, bins=bins.tolist(), color=BLUE)
            panel.set_xscale("log")
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.axvline(float(np.median(values)), color="black", lw=1.2)
            panel.set_title(f"median {np.median(values):.3g}", fontsize=8)
        panel.set_xlabel(label, fontsize=9)
        panel.tick_params(labelsize=8)
        if column == 0:
            panel.set_ylabel("cosmic rays", fontsize=9)
    return figure


def _edge(edge: float) -> str:
    """Write an edge of a bin briefly."""
    return f"{edge:g}" if edge < 1e3 else f"{edge / 1e3:g}k"
