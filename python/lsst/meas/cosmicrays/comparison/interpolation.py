# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of DIASources when cosmic rays are interpolated over."""

from __future__ import annotations

__all__ = [
    "InterpolationData",
    "InterpolationSettings",
    "SourceFate",
    "compare_interpolation",
    "cut_examples",
    "has_object",
    "match_sources",
    "rank_examples",
]

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import scipy.ndimage
from astropy.table import Table, vstack
from scipy.spatial import KDTree

from .sources import SOURCE_COLUMNS
from .stamps import LABEL_UNKNOWN, STAMP_SIZE, classify_sources, cut_stamps, stamp_corners

MISSING = -1
"""Identifier of a source that is not there, and number that is not known."""


class SourceFate(StrEnum):
    """What became of a DIASource when cosmic rays were interpolated over."""

    VANISHED = "vanished"
    """It was there, and nothing is left in its place."""

    BROKEN = "broken"
    """It was there; now there are pieces in its footprint."""

    REMAINING = "remaining"
    """It is still there, although its stamp has pixels that were
    interpolated over.
    """

    UNCHANGED = "unchanged"
    """It is still there, and nothing was interpolated over in its stamp."""

    PIECE = "piece"
    """It was not there, but is in the footprint of a source that was: what is
    left of that one, or was made in its place.
    """

    NEW = "new"
    """It was not there, nor was anything else in its place."""


@dataclass(frozen=True)
class InterpolationSettings:
    """How DIASources of two difference images are compared."""

    source_radius: float = 3.0
    """Distance within which two sources are one, or a source is in a
    footprint, pixels (`float`).
    """

    truth_radius: float = 3.0
    """Distance within which a source and the truth, or an interpolated pixel,
    are one, pixels (`float`).
    """

    stamp_size: int = STAMP_SIZE
    """Width and height of a stamp, pixels (`int`)."""

    min_stamp_pixels: int = 1
    """The threshold L: number of interpolated pixels from which on a stamp is
    one of a cosmic ray (`int`).
    """


@dataclass(frozen=True)
class InterpolationData:
    """What is known of one detector; all but the first three is optional."""

    before: Table
    """DIASources without interpolation, as `select_sources` returns them
    (`astropy.table.Table`).
    """

    after: Table
    """DIASources with interpolation (`astropy.table.Table`)."""

    interpolated: npt.NDArray[np.bool_]
    """Pixels that were interpolated over, ``(ny, nx)`` (`numpy.ndarray`)."""

    origin: tuple[int, int] = (0, 0)
    """``(x, y)`` of the first pixel of the image (`tuple`)."""

    footprints: npt.NDArray[np.bool_] | None = None
    """DETECTED or DETECTED_NEGATIVE pixels of the difference image without
    interpolation, ``(ny, nx)`` (`numpy.ndarray`).  If they are not known, no
    source is broken: pieces count as new.
    """

    objects: npt.NDArray[np.bool_] | None = None
    """DETECTED or DETECTED_NEGATIVE pixels of the difference image with
    interpolation, ``(ny, nx)`` (`numpy.ndarray`).
    """

    cosmic_rays: npt.NDArray[np.bool_] | None = None
    """True cosmic rays, ``(ny, nx)`` (`numpy.ndarray`)."""

    variables: Table | None = None
    """True variable sources: ``id``, ``x``, ``y``, ``kind``
    (`astropy.table.Table`).
    """


def match_sources(
    first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], radius: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Match two lists of positions, one to one, nearest first.

    Parameters
    ----------
    first, second : `numpy.ndarray`
        Positions, shapes ``(n, 2)`` and ``(m, 2)``.
    radius : `float`
        Largest distance of a match, in the unit of the positions.

    Returns
    -------
    first_index, second_index : `numpy.ndarray`
        Which are matched, in the order of the first.
    distance : `numpy.ndarray`
        How far apart they are, float64.

    Notes
    -----
    Of all pairs within the radius the closest is matched first; both of it
    are then taken. Of pairs equally close, that whose first position comes
    first in its list is matched first, and then whose second does.
    """
    if len(first) == 0 or len(second) == 0:
        return np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0)
    near = KDTree(first).sparse_distance_matrix(
        KDTree(second), np.nextafter(radius, np.inf), output_type="ndarray"
    )
    near = near[np.lexsort((near["j"], near["i"], near["v"]))]
    first_taken, second_taken = np.zeros(len(first), dtype=bool), np.zeros(len(second), dtype=bool)
    chosen = np.zeros(len(near), dtype=bool)
    for number, (i, j) in enumerate(zip(near["i"].tolist(), near["j"].tolist(), strict=True)):
        if not (first_taken[i] or second_taken[j]):
            chosen[number] = first_taken[i] = second_taken[j] = True
    matches = np.sort(near[chosen], order="i")
    return matches["i"], matches["j"], matches["v"]


def compare_interpolation(data: InterpolationData, settings: InterpolationSettings) -> Table:
    """Say what became of every DIASource of a detector.

    Parameters
    ----------
    data : `InterpolationData`
        What is known of the detector.
    settings : `InterpolationSettings`
        How sources are compared.

    Returns
    -------
    sources : `astropy.table.Table`
        One row a source, those without interpolation first, then pieces and
        new ones: ``fate`` (of `SourceFate`); ``id`` and ``id_interpolated``
        (int64; -1 where the source is not there); ``separation`` of the two
        (pixels; NaN where there is one); ``x``, ``y`` (pixels), ``ra``,
        ``dec`` (degrees) without interpolation where it was there; the first
        pixel ``x_min``, ``y_min`` of its stamp; ``n_cr``, how many pixels in
        the stamp were interpolated over; ``cr_distance`` from the nearest of
        all such pixels (pixels; infinite if there are none); ``near_cr``,
        whether that is within the radius of the truth;
        ``n_missed``, how many true cosmic-ray pixels in the stamp were not
        interpolated over (-1 if not known); ``object`` (`has_object`); and
        what it truly is, as `classify_sources` has it.
    """
    sources, table = _list_sources(data.before, data.after, settings.source_radius)
    for name in ("x", "y", "ra", "dec"):
        table[name] = np.asarray(sources[name])
    table["x_min"], table["y_min"] = stamp_corners(sources["x"], sources["y"], settings.stamp_size)
    for name, column in _describe_stamps(table, data, settings).items():
        table[name] = column
    footprint = _footprints_of(data, sources, settings.source_radius)
    has_cosmic_ray = np.asarray(table["n_cr"]) >= settings.min_stamp_pixels
    table.add_column(_fates(table, has_cosmic_ray, footprint), name="fate", index=0)
    truth = classify_sources(
        sources,
        cosmic_rays=data.cosmic_rays,
        variables=data.variables,
        dipole=np.asarray(sources["dipole"]) if "dipole" in sources.colnames else None,
        origin=data.origin,
        radius=settings.truth_radius,
    )
    for name in truth.colnames:
        table[name] = truth[name]
    return table


def rank_examples(sources: Table, n_examples: int) -> dict[str, npt.NDArray[np.intp]]:
    """Choose the sources that are worth looking at.

    Parameters
    ----------
    sources : `astropy.table.Table`
        What became of sources, as `compare_interpolation` returns it.
    n_examples : `int`
        Most sources of a group.

    Returns
    -------
    examples : `dict` [`str`, `numpy.ndarray`]
        Rows by group, the most telling first. Of ``vanished``: real variable
        sources, then those farthest from what was interpolated over. Of
        ``remaining``, pieces among them, and ``new``: what is no real
        variable source, then what is nearest to interpolated pixels. Of
        ``object_and_cr``, sources without interpolation in whose stamps
        there are an OBJECT and interpolated pixels: real variable sources,
        then what is nearest.
    """
    real = np.asarray(sources["true_variable_id"]) != MISSING
    distance = np.asarray(sources["cr_distance"], dtype=float)
    fate = np.asarray(sources["fate"])
    is_both = (np.asarray(sources["object"]) == 1) & (np.asarray(sources["n_cr"]) > 0)
    groups = {
        "vanished": (fate == SourceFate.VANISHED, ~real, -distance),
        "remaining": (np.isin(fate, (SourceFate.REMAINING, SourceFate.PIECE)), real, distance),
        "new": (fate == SourceFate.NEW, real, distance),
        "object_and_cr": (is_both & (np.asarray(sources["id"]) != MISSING), ~real, distance),
    }
    examples = {}
    for name, (belongs, late, order) in groups.items():
        rows = np.flatnonzero(belongs)
        examples[name] = rows[np.lexsort((order[rows], late[rows]))][:n_examples]
    return examples


def cut_examples(
    sources: Table,
    examples: Mapping[str, npt.NDArray[np.intp]],
    images: Mapping[str, npt.NDArray | None],
    *,
    shape: tuple[int, int],
    origin: tuple[int, int] = (0, 0),
    size: int = STAMP_SIZE,
) -> Table:
    """Cut images and masks into stamps around chosen sources.

    Parameters
    ----------
    sources : `astropy.table.Table`
        What became of sources, as `compare_interpolation` returns it.
    examples : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Rows by group (`rank_examples`).
    images : `~collections.abc.Mapping`
        Images and masks by name, ``(ny, nx)``; `None` for an image that is
        missing, whose stamps are NaN.
    shape : `tuple` [`int`, `int`]
        Shape of the images.
    origin : `tuple` [`int`, `int`], optional
        ``(x, y)`` of the first pixel of the images.
    size : `int`, optional
        Width and height of a stamp, pixels.

    Returns
    -------
    stamps : `astropy.table.Table`
        One row a source and group: ``group``, ``rank`` (0 is the most
        telling), the columns of the sources, and the images under their
        names, float32 or bool, each ``(size, size)``.
    """
    rows = np.concatenate([np.asarray(chosen, dtype=np.intp) for chosen in examples.values()])
    groups = [name for name, chosen in examples.items() for _ in chosen]
    ranks = [rank for chosen in examples.values() for rank in range(len(chosen))]
    table = sources[rows]
    table.add_column(np.array(groups, dtype="U16"), name="group", index=0)
    table.add_column(np.array(ranks, dtype=np.int32), name="rank", index=1)
    columns, lines = np.asarray(table["x_min"]) - origin[0], np.asarray(table["y_min"]) - origin[1]
    for name, image in images.items():
        pixels = np.full(shape, np.nan, np.float32) if image is None else image
        table[name] = cut_stamps(pixels, columns, lines, size)
    return table


def has_object(
    stamps: Table,
    objects: npt.NDArray[np.bool_] | None,
    *,
    origin: tuple[int, int] = (0, 0),
    size: int = STAMP_SIZE,
) -> npt.NDArray[np.int8]:
    """Say which stamps have an OBJECT.

    Parameters
    ----------
    stamps : `astropy.table.Table`
        Stamps with their first pixels, ``x_min`` and ``y_min``.
    objects : `numpy.ndarray` or `None`
        DETECTED or DETECTED_NEGATIVE pixels of the difference image that was
        made after interpolation, bool ``(ny, nx)``; `None` if not known.
    origin : `tuple` [`int`, `int`], optional
        ``(x, y)`` of the first pixel of the image.
    size : `int`, optional
        Width and height of a stamp, pixels.

    Returns
    -------
    has : `numpy.ndarray`
        1, 0, or `LABEL_UNKNOWN`, int8, shape ``(n,)``.
    """
    if objects is None:
        return np.full(len(stamps), LABEL_UNKNOWN, dtype=np.int8)
    corners = np.asarray(stamps["x_min"]) - origin[0], np.asarray(stamps["y_min"]) - origin[1]
    return (_count_in_stamps(objects, *corners, size) > 0).astype(np.int8)


def _list_sources(before: Table, after: Table, radius: float) -> tuple[Table, Table]:
    """Put sources under each other, those without interpolation first.

    The second table says of each row which sources it stands for, and how far
    apart they are.
    """
    in_before, in_after, separation = match_sources(_positions(before), _positions(after), radius)
    comes = np.ones(len(after), dtype=bool)
    comes[in_after] = False
    columns = [name for name in (*SOURCE_COLUMNS, "dipole") if name in before.colnames]
    sources = vstack([before[columns], after[comes][columns]], metadata_conflicts="silent")
    was_there = np.arange(len(sources)) < len(before)
    id_interpolated = np.where(was_there, MISSING, np.asarray(sources["id"]))
    id_interpolated[in_before] = after["id"][in_after]
    apart = np.full(len(sources), np.nan)
    apart[in_before] = separation
    identity = Table(
        {
            "id": np.where(was_there, np.asarray(sources["id"]), MISSING),
            "id_interpolated": id_interpolated,
            "separation": apart,
        }
    )
    return sources, identity


def _describe_stamps(
    table: Table, data: InterpolationData, settings: InterpolationSettings
) -> dict[str, npt.NDArray]:
    """Return what there is in and near the stamps of sources."""
    columns, rows = np.asarray(table["x_min"]) - data.origin[0], np.asarray(table["y_min"]) - data.origin[1]
    n_missed = np.full(len(table), MISSING, dtype=np.int32)
    if data.cosmic_rays is not None:
        missed = data.cosmic_rays & ~data.interpolated
        n_missed = _count_in_stamps(missed, columns, rows, settings.stamp_size)
    distance = _distance_to_pixels(_positions(table), data.interpolated, data.origin)
    return {
        "n_cr": _count_in_stamps(data.interpolated, columns, rows, settings.stamp_size),
        "cr_distance": distance,
        "near_cr": distance <= settings.truth_radius,
        "n_missed": n_missed,
        "object": has_object(table, data.objects, origin=data.origin, size=settings.stamp_size),
    }


def _fates(
    table: Table, has_cosmic_ray: npt.NDArray[np.bool_], footprint: npt.NDArray[np.int64]
) -> npt.NDArray[np.str_]:
    """Say what became of sources."""
    was_there, is_there = (np.asarray(table[name]) != MISSING for name in ("id", "id_interpolated"))
    is_piece = ~was_there & (footprint > 0)
    cases = {
        SourceFate.REMAINING: was_there & is_there & has_cosmic_ray,
        SourceFate.UNCHANGED: was_there & is_there,
        SourceFate.BROKEN: was_there & np.isin(footprint, footprint[is_piece]),
        SourceFate.VANISHED: was_there,
        SourceFate.PIECE: is_piece,
    }
    return np.select(list(cases.values()), [fate.value for fate in cases], SourceFate.NEW.value).astype("U9")


def _footprints_of(data: InterpolationData, sources: Table, radius: float) -> npt.NDArray[np.int64]:
    """Return which footprint each source is in, 0 for none."""
    if data.footprints is None or len(sources) == 0 or not data.footprints.any():
        return np.zeros(len(sources), dtype=np.int64)
    labels, _ = scipy.ndimage.label(data.footprints, structure=np.ones((3, 3)))
    pixels = np.argwhere(labels)
    distance, nearest = KDTree(pixels[:, ::-1] + np.asarray(data.origin)).query(_positions(sources))
    return np.where(distance <= radius, labels[tuple(pixels[nearest].T)], 0)


def _positions(sources: Table) -> npt.NDArray[np.float64]:
    return np.column_stack([np.asarray(sources["x"], float), np.asarray(sources["y"], float)])


def _count_in_stamps(
    plane: npt.NDArray[np.bool_],
    columns: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    size: int,
) -> npt.NDArray[np.int32]:
    return cut_stamps(plane, columns, rows, size).sum(axis=(1, 2), dtype=np.int32)


def _distance_to_pixels(
    positions: npt.NDArray[np.float64], plane: npt.NDArray[np.bool_], origin: tuple[int, int]
) -> npt.NDArray[np.float64]:
    pixels = np.argwhere(plane)[:, ::-1] + np.asarray(origin)
    if len(positions) == 0 or len(pixels) == 0:
        return np.full(len(positions), np.inf)
    return KDTree(pixels).query(positions)[0]
