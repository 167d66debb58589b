# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of a page: drawn from tables, or copied from a repository."""

from __future__ import annotations

__all__ = ["FigureFiles", "ShownFigure"]

import base64
import dataclasses
import io
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from lsst.daf.butler import Butler, DatasetRef

from .entries import FigureEntry
from .study import PlotGroup

MOST_EMBEDDED = 12_000_000
"""Bytes of images that a page holds itself. Further ones lie beside it."""

CSS_DPI = 96
"""CSS pixels in an inch."""

_MIME = {".png": "image/png", ".svg": "image/svg+xml"}


@dataclasses.dataclass(frozen=True)
class ShownFigure:
    """A figure in a page."""

    title: str
    """Title, with what distinguishes it from others (`str`)."""

    alt: str
    """Text for those who do not see it (`str`)."""

    source: str
    """Content as a ``data:`` address, or the path of the file (`str`)."""

    href: str
    """Path of the file (`str`)."""

    width: int
    """Width, CSS pixels (`int`)."""

    height: int
    """Height, CSS pixels (`int`)."""

    origin: str
    """Where it comes from (`str`)."""


class FigureFiles:
    """Figures of a page as files, and in the page while there is room.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    directory : `~pathlib.Path`
        Folder for the files, beside the page.
    """

    def __init__(self, butler: Butler, directory: Path):
        self._butler = butler
        self._directory = directory
        self._room = MOST_EMBEDDED

    def draw(self, figure: Figure, entry: FigureEntry) -> ShownFigure:
        """Add a figure that was drawn from tables.

        Parameters
        ----------
        figure : `matplotlib.figure.Figure`
            The figure.
        entry : `FigureEntry`
            What it is.

        Returns
        -------
        shown : `ShownFigure`
            The figure, as SVG.
        """
        buffer = io.BytesIO()
        with mpl.rc_context({"svg.hashsalt": entry.pattern}):
            figure.savefig(buffer, format="svg", metadata={"Date": None})
        name = re.sub(r"[^A-Za-z0-9_]+", "", entry.pattern).removeprefix("cr_plot_").strip("_")
        width, height = (round(CSS_DPI * size) for size in figure.get_size_inches())
        return self._add(
            buffer.getvalue(), f"{name}.svg", entry.title, entry.alt, (width, height), "drawn from tables"
        )

    def copy(self, group: PlotGroup, entry: FigureEntry) -> Iterator[ShownFigure]:
        """Add the figures of a dataset type.

        Parameters
        ----------
        group : `PlotGroup`
            The figures.
        entry : `FigureEntry`
            What they are.

        Yields
        ------
        shown : `ShownFigure`
            One figure.
        """
        subject = group.name.removeprefix(entry.pattern.rstrip("*")).strip("_") if entry.title else ""
        for ref in group.refs:
            uri = self._butler.getURI(ref)
            content = uri.read()
            place = _place(ref)
            title = ": ".join(filter(None, (entry.title or group.name, subject, place)))
            more = f"; {len(group.refs)} of {group.n_all} are shown" if group.n_all > len(group.refs) else ""
            name = "_".join([group.name, *place.replace(",", "").split()])
            yield self._add(
                content,
                f"{name}{uri.getExtension()}",
                title,
                f"{title}. {entry.alt}",
                _png_size(content),
                f"{group.name}{more}",
            )

    def _add(
        self, content: bytes, name: str, title: str, alt: str, size: tuple[int, int], origin: str
    ) -> ShownFigure:
        """Write the file, and take its content into the page if it fits."""
        path = self._directory / name
        path.write_bytes(content)
        href = source = f"{self._directory.name}/{name}"
        mime = _MIME.get(path.suffix)
        if mime is not None and len(content) <= self._room:
            self._room -= len(content)
            source = f"data:{mime};base64,{base64.b64encode(content).decode()}"
        return ShownFigure(title, alt, source, href, *size, origin)


def _place(ref: DatasetRef) -> str:
    """Name the visit and detector of a figure."""
    names = [name for name in ("visit", "detector") if name in ref.dataId.dimensions.required]
    return ", ".join(f"{name} {ref.dataId[name]}" for name in names)


def _png_size(content: bytes) -> tuple[int, int]:
    """Return width and height of a PNG file in CSS pixels, 0 if unknown.

    Its chunk pHYs says how many pixels a metre has.
    """
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        return 0, 0
    width, height = struct.unpack(">II", content[16:24])
    place = content.find(b"pHYs", 0, 4096)
    per_metre = struct.unpack(">I", content[place + 4 : place + 8])[0] if place > 0 else 0
    scale = CSS_DPI / (per_metre * 0.0254) if per_metre else 1.0
    return round(width * scale), round(height * scale)
