# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Templates for exposures in a repository from others beside them."""

from __future__ import annotations

__all__ = ("add_median_templates",)

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np

from lsst.daf.butler import Butler, DatasetRef
from lsst.images import VisitImage

from ..repository import RepositoryError
from .errors import IngestError
from .templates import SeriesMember, SeriesPixels, TemplateError, median_template
from .writing import IngestWriter

_CACHED_PIXELS = 2**27
"""Pixels of exposures to keep in memory."""


def add_median_templates(
    writer: IngestWriter,
    refs: Iterable[DatasetRef],
    n_exposures: int,
    report: Callable[[str], None],
) -> list[IngestError]:
    """Make templates for exposures from others in the repository.

    Others are those of the same detector and filter, whenever they were
    ingested.

    Parameters
    ----------
    writer
        What writes to the repository.
    refs
        The visit images that get a template, if they have none.
    n_exposures
        Number of exposures to combine for each.
    report
        Called with a line for each template.

    Returns
    -------
    errors : `list` [`IngestError`]
        Why some exposures get none.
    """
    wanted = defaultdict(list)
    for ref in refs:
        if not writer.has_template(ref):
            wanted[_series_of(writer.butler, ref)].append(ref)
    errors = []
    for series, targets in wanted.items():
        candidates = writer.butler.query_datasets("visit_image", collections=writer.run, explain=False)
        members = [ref for ref in candidates if _series_of(writer.butler, ref) == series]
        reader = _SeriesReader(writer.butler, members)
        for ref in targets:
            name = f"visit {ref.dataId['visit']}, detector {ref.dataId['detector']}"
            others = [reader.member(other) for other in members if other.id != ref.id]
            try:
                template = median_template(reader.member(ref), others, n_exposures)
                writer.put_template(template, writer.butler.get(ref), ref)
            except (TemplateError, RepositoryError) as error:
                errors.append(IngestError(f"{name}: no template: {error}"))
                continue
            report(f"{name}: template is the median of {template.n_exposures} exposures")
    return errors


def _series_of(butler: Butler, ref: DatasetRef) -> tuple[int, str]:
    data_id = butler.registry.expandDataId(ref.dataId)
    return int(data_id["detector"]), str(data_id["physical_filter"])


class _SeriesReader:
    """Reads the exposures of a series; keeps stars of all, pixels of some."""

    def __init__(self, butler: Butler, refs: list[DatasetRef]) -> None:
        self._butler = butler
        self._members: dict[object, SeriesMember] = {}
        shape = butler.get(refs[0].makeComponentRef("bbox")).shape
        kept = max(3, _CACHED_PIXELS // (shape[0] * shape[1]))
        self._read = functools.lru_cache(maxsize=kept)(self._read_uncached)

    def member(self, ref: DatasetRef) -> SeriesMember:
        """Return an exposure with its stars."""
        if ref.id not in self._members:
            pixels = self._read(ref)
            self._members[ref.id] = SeriesMember(
                (pixels.image.shape[0], pixels.image.shape[1]),
                pixels.find_stars().without_segments(),
                functools.partial(self._read, ref),
            )
        return self._members[ref.id]

    def _read_uncached(self, ref: DatasetRef) -> SeriesPixels:
        return _pixels(self._butler.get(ref))


def _pixels(visit_image: VisitImage) -> SeriesPixels:
    image = visit_image.image.array.astype(np.float32)
    backgrounds = visit_image.backgrounds
    if backgrounds.subtracted is None and "sky" in backgrounds:
        image = image - backgrounds["sky"].field.render(dtype=np.float32).array
    mask = visit_image.mask
    bad = mask.get("BAD") | mask.get("NO_DATA") | ~np.isfinite(image)
    image = np.where(bad, 0.0, image).astype(np.float32)
    return SeriesPixels(image, visit_image.variance.array, bad, mask.get("SATURATED"))
