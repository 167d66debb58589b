# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of a comparison, for people to look at."""

from __future__ import annotations

__all__ = ["plot_mask_pair", "plot_rates"]

from collections.abc import Sequence

import numpy as np
import scipy.ndimage
from astropy.table import Table
from astropy.visualization import ZScaleInterval
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from .tables import LEVELS

# Okabe & Ito's colours, which colour-blind people tell apart.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
RATES = {"purity": (BLUE, "o"), "completeness": (ORANGE, "s"), "f1": (GREEN, "D")}
RATE_LABELS = {"purity": "purity", "completeness": "completeness", "f1": "F1"}


def plot_rates(confusion: Table, reference: str) -> Figure:
    """Draw purity, completeness and F1 of every detection.

    Parameters
    ----------
    confusion : `astropy.table.Table`
        Rates by level, reference and candidate, as
        `~lsst.meas.cosmicrays.tasks.GatherComparisonTask` writes them.
    reference : `str`
        Detection or truth to compare with.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        One panel a level, one line a detection; bars are 95 % intervals.
    """
    rows = confusion[(confusion["reference"] == reference) & (confusion["candidate"] != reference)]
    levels = [level for level in LEVELS if np.any(rows["level"] == level)]
    candidates = list(dict.fromkeys(str(name) for name in rows["candidate"]))
    figure = Figure(figsize=(2.2 + 2.6 * max(1, len(levels)), 1.6 + 0.5 * max(1, len(candidates))))
    panels = np.atleast_1d(figure.subplots(1, max(1, len(levels)), sharey=True))
    for panel, level in zip(panels, levels, strict=False):
        of_level = rows[rows["level"] == level]
        for offset, (rate, (colour, marker)) in zip((-0.18, 0.0, 0.18), RATES.items(), strict=True):
            places = [candidates.index(str(name)) + offset for name in of_level["candidate"]]
            values, low, high = (np.asarray(of_level[rate + end], float) for end in ("", "_lo", "_hi"))
            panel.hlines(places, low, high, color=colour, lw=1.5)
            panel.plot(values, places, marker, color=colour, ms=5, ls="none", label=RATE_LABELS[rate])
        panel.set_title(LEVELS[level].replace(", ", ",\n").replace("by stamps ", "by stamps\n"), fontsize=9)
        panel.set_xlim(-0.02, 1.02)
        panel.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "", "0.5", "", "1"])
        panel.grid(axis="x", color="0.9")
        panel.set_axisbelow(True)
    panels[0].set_yticks(range(len(candidates)), candidates, fontsize=9)
    panels[0].set_ylim(len(candidates) - 0.5, -0.5)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=3, fontsize=9, frameon=False)
    figure.suptitle(f"Compared with {reference}", fontsize=10)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    return figure


def plot_mask_pair(
    image: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    names: Sequence[str],
    *,
    zoom_side: int = 100,
) -> Figure:
    """Draw where two masks agree, on a whole detector and close up.

    Parameters
    ----------
    image : `numpy.ndarray`
        Pixels, shape (ny, nx).
    first, second : `numpy.ndarray` [`bool`]
        The masks, of the same shape.
    names : `~collections.abc.Sequence` [`str`]
        What the two masks are called.
    zoom_side : `int`, optional
        Side of the close-up, in pixels.  It lies where most pixels are in
        just one of the masks.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Left, the masks over the whole detector, made wider to be seen;
        right, the image at that place without and with the outlines.
    """
    codes = np.where(first & second, 3, np.where(first, 1, np.where(second, 2, 0))).astype(np.uint8)
    window = _busiest_window(first ^ second, zoom_side)
    colours = ["white", BLUE, ORANGE, "black"]
    figure = Figure(figsize=(12.0, 5.0))
    whole, plain, outlined = figure.subplots(1, 3, width_ratios=(1.0, 1.2, 1.2))

    # A cosmic ray is narrower than the dots of a print, and where the masks
    # differ matters more than where they agree.
    wider = max(3, 2 * (max(codes.shape) // 700) + 1)
    differing = scipy.ndimage.maximum_filter(np.where(codes == 3, 0, codes), size=wider)
    agreeing = scipy.ndimage.maximum_filter(np.where(codes == 3, 3, 0), size=wider)
    visible = np.where(differing > 0, differing, agreeing)
    colour_map = ListedColormap(colours)
    whole.imshow(visible, origin="lower", cmap=colour_map, vmin=0, vmax=3, interpolation="nearest")
    corner = (window[1].start, window[0].start)
    side_y, side_x = (part.stop - part.start for part in window)
    whole.add_patch(Rectangle(corner, side_x, side_y, fill=False, ec=GREEN, lw=1.2))
    whole.set_title("whole detector (pixels enlarged)", fontsize=9)

    finite = image[np.isfinite(image)]
    low, high = ZScaleInterval().get_limits(finite) if finite.size else (0.0, 1.0)
    extent = (
        window[1].start - 0.5,
        window[1].stop - 0.5,
        window[0].start - 0.5,
        window[0].stop - 0.5,
    )
    for panel in (plain, outlined):
        panel.imshow(image[window], origin="lower", cmap="gray", vmin=low, vmax=high, extent=extent)
    for mask, colour, width in ((first, BLUE, 2.2), (second, ORANGE, 1.0)):
        _outline(outlined, mask[window], window, colour, width)
    plain.set_title("where they differ most", fontsize=9)
    outlined.set_title(f"outlines: {names[0]} (blue),\n{names[1]} (orange)", fontsize=9)
    counts = np.bincount(codes.ravel(), minlength=4)
    figure.legend(
        handles=[
            Patch(color="black", label=f"both: {counts[3]} pixels"),
            Patch(color=BLUE, label=f"only {names[0]}: {counts[1]}"),
            Patch(color=ORANGE, label=f"only {names[1]}: {counts[2]}"),
        ],
        loc="lower center",
        ncols=3,
        fontsize=9,
        frameon=False,
    )
    for panel in (whole, plain, outlined):
        panel.tick_params(labelsize=8)
        panel.set_xlabel("x (pixels)", fontsize=8)
    whole.set_ylabel("y (pixels)", fontsize=8)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    return figure


def _busiest_window(pixels: np.ndarray, side: int) -> tuple[slice, slice]:
    """Return a square with many of the given pixels in its middle."""
    ny, nx = pixels.shape
    if not np.any(pixels):
        return _window_around(ny // 2, nx // 2, side, (ny, nx))
    density = scipy.ndimage.uniform_filter(pixels.astype(np.float32), size=side, mode="constant")
    y, x = np.unravel_index(np.argmax(density), density.shape)
    window = _window_around(int(y), int(x), side, (ny, nx))
    ys, xs = np.nonzero(pixels[window])
    return _window_around(
        window[0].start + round(ys.mean()), window[1].start + round(xs.mean()), side, (ny, nx)
    )


def _window_around(y: int, x: int, side: int, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return a square around a place, moved to lie within the image."""
    starts = [
        max(0, min(middle - side // 2, size - side)) for middle, size in zip((y, x), shape, strict=True)
    ]
    return (
        slice(starts[0], min(starts[0] + side, shape[0])),
        slice(starts[1], min(starts[1] + side, shape[1])),
    )


def _outline(panel: object, mask: np.ndarray, window: tuple[slice, slice], colour: str, width: float) -> None:
    """Draw the borders of the pixels of a mask."""
    padded = np.pad(mask, 1)
    ys, xs = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    x0, y0 = window[1].start - 0.5, window[0].start - 0.5
    panel.hlines(ys + y0, xs + x0, xs + x0 + 1, color=colour, lw=width)  # type: ignore[attr-defined]
    ys, xs = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    panel.vlines(xs + x0, ys + y0, ys + y0 + 1, color=colour, lw=width)  # type: ignore[attr-defined]
