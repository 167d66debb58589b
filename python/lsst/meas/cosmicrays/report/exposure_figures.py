# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of the exposures of a detector, and of the stamps on a mask."""

from __future__ import annotations

__all__ = ["plot_exposures", "plot_stamp_places"]

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import scipy.ndimage
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

STAMP_COLOUR = "#D55E00"


def plot_exposures(
    images: Mapping[str, npt.NDArray[np.floating]], masks: Mapping[str, npt.NDArray[np.bool_] | None]
) -> Figure:
    """Draw the exposures of a detector, and what they have for cosmic rays.

    Parameters
    ----------
    images : `~collections.abc.Mapping`
        By name, images of one shape ``(ny, nx)``.
    masks : `~collections.abc.Mapping`
        By the same names, the plane of cosmic rays of each, bool
        ``(ny, nx)``; `None` where it has none.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Above, the images, each stretched by tanh of its value over 5 times
        its noise; below, the masks, made wider to be seen, if any of them
        has a pixel.
    """
    any_found = any(mask is not None and mask.any() for mask in masks.values())
    figure = Figure(figsize=(3.3 * len(images), 6.4 if any_found else 3.7), dpi=150, layout="constrained")
    panels = figure.subplots(1 + any_found, len(images), squeeze=False, sharex=True, sharey=True)
    for (name, image), above in zip(images.items(), panels[0], strict=True):
        above.imshow(_stretch(image), origin="lower", cmap="gray", vmin=-1, vmax=1)
        above.set_title(name, fontsize=10)
    if not any_found:
        figure.suptitle("no plane of cosmic rays has a pixel", fontsize=9)
    for (name, image), below in zip(images.items(), panels[1] if any_found else (), strict=False):
        mask = masks[name]
        if mask is None:
            below.set_title("no cosmic-ray plane", fontsize=9)
            mask = np.zeros(image.shape, dtype=bool)
        else:
            below.set_title(f"{np.count_nonzero(mask)} CR pixels", fontsize=9)
        _draw_mask(below, mask)
    for panel in panels.ravel():
        panel.tick_params(labelsize=8)
    return figure


def plot_stamp_places(
    mask: npt.NDArray[np.bool_],
    stamps: Table,
    detection: str,
    *,
    origin: tuple[int, int] = (0, 0),
    zoom_side: int = 600,
) -> Figure:
    """Draw the stamps that have cosmic-ray pixels over the mask.

    Parameters
    ----------
    mask : `numpy.ndarray`
        Cosmic rays, bool ``(ny, nx)``.
    stamps : `astropy.table.Table`
        Stamps with ``x_min``, ``y_min``, ``x_max``, ``y_max`` (pixels,
        inclusive) and ``label_{detection}``.
    detection : `str`
        Name of the detection that made the mask.
    origin : `tuple` [`int`, `int`], optional
        ``(x, y)`` of the first pixel of the mask.
    zoom_side : `int`, optional
        Side of the close-up of the upper right corner, pixels.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Left the whole detector, right its upper right corner.
    """
    labelled = stamps[np.asarray(stamps[f"label_{detection}"]) == 1]
    corners = np.column_stack(
        [np.asarray(labelled[name], float) for name in ("x_min", "y_min", "x_max", "y_max")]
    )
    corners -= np.array([*origin, *origin], float)
    inside = np.zeros(mask.shape, dtype=bool)
    for x_min, y_min, x_max, y_max in corners.astype(int).tolist():
        inside[max(0, y_min) : max(0, y_max + 1), max(0, x_min) : max(0, x_max + 1)] = True
    figure = Figure(figsize=(9.6, 5.2), dpi=150, layout="constrained")
    whole, zoomed = figure.subplots(1, 2)
    _draw_mask(whole, mask)
    zoomed.imshow(mask, origin="lower", cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    ny, nx = mask.shape
    zoomed.set_xlim(max(0, nx - zoom_side) - 0.5, nx - 0.5)
    zoomed.set_ylim(max(0, ny - zoom_side) - 0.5, ny - 0.5)
    for panel, width in ((whole, 0.5), (zoomed, 1.0)):
        boxes = [
            Rectangle((x_min - 0.5, y_min - 0.5), x_max - x_min + 1, y_max - y_min + 1)
            for x_min, y_min, x_max, y_max in corners
        ]
        panel.add_collection(
            PatchCollection(boxes, facecolor="none", edgecolor=STAMP_COLOUR, linewidth=width)
        )
        panel.tick_params(labelsize=8)
    whole.set_title("whole detector (pixels enlarged)", fontsize=9)
    zoomed.set_title("upper right corner", fontsize=9)
    n_all, n_inside = np.count_nonzero(mask), np.count_nonzero(mask & inside)
    figure.suptitle(
        f"{detection}: {n_inside} of {n_all} CR pixels are in {len(labelled)} stamps that have any",
        fontsize=10,
    )
    return figure


def _stretch(image: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return tanh of the value over 5 times the noise, the sky at 0."""
    finite = image[np.isfinite(image)]
    if finite.size == 0:
        return np.zeros(image.shape)
    sky = np.median(finite)
    noise = 1.4826 * np.median(np.abs(finite - sky))
    return np.tanh(np.nan_to_num(image - sky) / (5.0 * noise if noise > 0 else 1.0))


def _draw_mask(panel: Axes, mask: npt.NDArray[np.bool_]) -> None:
    """Draw a mask wide enough for narrow cosmic rays to be seen in print."""
    wider = max(1, 2 * (max(mask.shape) // 700) + 1)
    visible = scipy.ndimage.maximum_filter(mask, size=wider)
    panel.imshow(visible, origin="lower", cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
