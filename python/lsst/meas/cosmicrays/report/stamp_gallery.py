# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Galleries of stamps: template, science and difference side by side."""

from __future__ import annotations

__all__ = ["plot_cutouts", "plot_stamp_gallery"]

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from .gallery_stamp import GalleryStamp

# Okabe & Ito's colours, which colour-blind people tell apart.
OUTLINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
PANELS = ("template", "science", "difference", "own stretch")

# Lengths in inches.
PANEL, GAP, MARGIN, TITLE, HEADER, CAPTION, LEGEND, LEGEND_ROW = 0.84, 0.04, 0.12, 0.34, 0.16, 0.34, 0.3, 0.15
GROUP = len(PANELS) * PANEL + (len(PANELS) - 1) * GAP
COLUMN_GAP = 0.2


def plot_stamp_gallery(stamps: Sequence[GalleryStamp], *, title: str, n_columns: int = 2) -> Figure:
    """Draw stamps side by side, with the outlines of masks.

    Parameters
    ----------
    stamps : `~collections.abc.Sequence` [`GalleryStamp`]
        Stamps, drawn row by row in their order.
    title : `str`
        Title of the figure.
    n_columns : `int`, optional
        How many stamps are in a row.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Four panels a stamp: template, science and difference on one common
        linear scale, each less its own median; then the difference once
        more, on its own scale, with the outlines of the masks.  What lies
        beyond the edge of the image, or is missing, is hatched.

    Raises
    ------
    ValueError
        Raised if there is not at least one column.
    """
    if n_columns < 1:
        raise ValueError(f"A gallery needs at least one column, not {n_columns}.")
    n_rows = max(1, -(-len(stamps) // n_columns))
    n_columns = max(1, min(n_columns, len(stamps)))
    width = 2 * MARGIN + n_columns * GROUP + (n_columns - 1) * COLUMN_GAP
    colours = _colours_of_masks(stamps)
    # Two names of masks fit below each column of stamps.
    legend_columns = 2 * n_columns
    legend_rows = max(1, -(-len(colours) // legend_columns))
    legend_height = LEGEND + (legend_rows - 1) * LEGEND_ROW
    height = TITLE + HEADER + n_rows * (PANEL + CAPTION) + legend_height
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    for number, stamp in enumerate(stamps):
        row, column = divmod(number, n_columns)
        left = MARGIN + column * (GROUP + COLUMN_GAP)
        top = TITLE + HEADER + row * (PANEL + CAPTION)
        if row == 0:
            _write_header(axes, left)
        _draw_stamp(axes, stamp, left, top, colours)
    axes.text(MARGIN, TITLE / 2, title, fontsize=_title_size(title, width), va="center", ha="left")
    if not stamps:
        axes.text(width / 2, TITLE + HEADER + PANEL / 2, "no such stamps", fontsize=9, ha="center")
    # After the images, each of which changes the limits.
    axes.set(xlim=(0.0, width), ylim=(height, 0.0), aspect="auto")
    _draw_legend(axes, colours, legend_columns)
    return figure


def plot_cutouts(cutouts: Table, *, title: str, n_columns: int = 2) -> Figure:
    """Draw every stamp of a table of cutouts.

    Parameters
    ----------
    cutouts : `astropy.table.Table`
        What `~lsst.meas.cosmicrays.comparison.cut_out_stamps` returns, or
        rows of ``cr_stamp_images``: ``id``, any of ``template``,
        ``science`` and ``difference``, and ``mask_{name}``.
    title : `str`
        Title of the figure.
    n_columns : `int`, optional
        How many stamps are in a row.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        As of `plot_stamp_gallery`.
    """
    masks = [name for name in cutouts.colnames if name.startswith("mask_")]
    images = [name for name in PANELS[:3] if name in cutouts.colnames]
    stamps = [
        GalleryStamp(
            **dict.fromkeys(PANELS[:3]) | {name: np.asarray(row[name]) for name in images},
            masks={name.removeprefix("mask_"): np.asarray(row[name]) for name in masks},
            caption=f"DIASource {row['id']}",
        )
        for row in cutouts
    ]
    return plot_stamp_gallery(stamps, title=title, n_columns=n_columns)


def _title_size(title: str, width: float) -> float:
    """Return the size (points) at which a title fits: 9 or less."""
    longest = max(map(len, title.splitlines()), default=1)
    # Letters are about 0.6 times as wide as high.
    return min(9.0, 72.0 * (width - 2 * MARGIN) / (0.6 * max(1, longest)))


def _colours_of_masks(stamps: Sequence[GalleryStamp]) -> dict[str, str]:
    names = dict.fromkeys(name for stamp in stamps for name in stamp.masks)
    return {name: OUTLINE_COLOURS[i % len(OUTLINE_COLOURS)] for i, name in enumerate(names)}


def _write_header(axes: Axes, left: float) -> None:
    for number, panel in enumerate(PANELS):
        middle = left + number * (PANEL + GAP) + PANEL / 2
        axes.text(middle, TITLE + HEADER - 0.03, panel, fontsize=6, ha="center", va="bottom")


def _draw_stamp(axes: Axes, stamp: GalleryStamp, left: float, top: float, colours: Mapping[str, str]) -> None:
    """Draw the four panels of a stamp, and what is written below."""
    levelled = [_subtract_median(image) for image in stamp.images]
    common = _limits([image for image in levelled if image is not None])
    own = _limits([levelled[-1]] if levelled[-1] is not None else [])
    for number, (image, limits) in enumerate(
        zip([*levelled, levelled[-1]], [common, common, common, own], strict=True)
    ):
        _draw_panel(axes, image, limits, left + number * (PANEL + GAP), top)
    last = left + (len(PANELS) - 1) * (PANEL + GAP)
    for order, (name, colour) in enumerate(colours.items()):
        if name in stamp.masks:
            # Outlines that coincide stay visible: later ones are thinner.
            line_width = max(0.5, 1.7 - 0.6 * order)
            outline = _outline(stamp.masks[name], last, top)
            axes.add_collection(LineCollection(list(outline), colors=colour, linewidths=line_width))
    below = top + PANEL + 0.03
    axes.text(left, below, stamp.caption, fontsize=6.5, va="top")
    if stamp.truth is not None:
        axes.text(left, below + 0.11, f"truth: {stamp.truth}", fontsize=6.5, va="top", weight="bold")


def _draw_panel(
    axes: Axes,
    image: npt.NDArray[np.float32] | None,
    limits: tuple[float, float],
    left: float,
    top: float,
) -> None:
    if image is None or not np.isfinite(image).all():
        hatched = Rectangle((left, top), PANEL, PANEL, facecolor="white", edgecolor="0.6", hatch="////", lw=0)
        axes.add_patch(hatched)
    if image is not None:
        axes.imshow(
            image,
            cmap="gray",
            vmin=limits[0],
            vmax=limits[1],
            origin="lower",
            interpolation="nearest",
            extent=(left, left + PANEL, top + PANEL, top),
            zorder=2,
        )
    axes.add_patch(Rectangle((left, top), PANEL, PANEL, fill=False, edgecolor="0.3", lw=0.5, zorder=3))


def _subtract_median(image: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32] | None:
    if image is None or not np.isfinite(image).any():
        return None
    return image - np.median(image[np.isfinite(image)])


def _limits(images: Sequence[npt.NDArray[np.float32]]) -> tuple[float, float]:
    """Return the darkest and the brightest value, a few pixels aside."""
    values = np.concatenate([image[np.isfinite(image)] for image in images]) if images else np.zeros(1)
    low, high = np.percentile(values, [0.5, 99.8])
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def _outline(mask: npt.NDArray[np.bool_], left: float, top: float) -> npt.NDArray[np.float64]:
    """Return the borders of the pixels of a mask, shape ``(n, 2, 2)``."""
    padded = np.pad(mask, 1)
    rows, columns = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    horizontal = [np.column_stack([columns + step, rows]) for step in (0, 1)]
    rows, columns = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    vertical = [np.column_stack([columns, rows + step]) for step in (0, 1)]
    starts, ends = (np.concatenate(pair) for pair in zip(horizontal, vertical, strict=True))
    scale = PANEL / mask.shape[0]
    corners = np.stack([starts, ends], axis=1) * scale
    # The first row of a mask is the lowest of the panel.
    return np.stack([left + corners[..., 0], top + PANEL - corners[..., 1]], axis=-1)


def _draw_legend(axes: Axes, colours: Mapping[str, str], n_columns: int) -> None:
    if not colours:
        return
    handles = [Line2D([], [], color=colour, lw=1.5, label=name) for name, colour in colours.items()]
    axes.legend(
        handles=handles,
        loc="lower left",
        ncols=min(n_columns, len(handles)),
        fontsize=7,
        frameon=False,
        borderaxespad=0.2,
    )
