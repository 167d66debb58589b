# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pairs of masks on one detector: how they agree, and where they do not."""

from __future__ import annotations

__all__ = [
    "PAIR_COUNTS",
    "Level",
    "Place",
    "add_places",
    "catalogue_pairs",
    "detected_bit",
    "mask_pairs",
    "pixel_pairs",
    "place_table",
]

from collections.abc import Iterable, Sequence
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from .components import find_components
from .confusion import Confusion, TolerantConfusion, confusion, critical_false_negatives, tolerant_confusion
from .histogram import add_counts
from .masks import ComparedMasks, MaskBit, Role

PAIR_COUNTS = ("tp", "tp_candidate", "fn", "fp", "tn", "critical_fn")
"""Counts of a pair of masks, which add up over detectors and visits."""


class Level(StrEnum):
    """What is counted."""

    PIXEL = "pixel"
    """Pixels."""

    PIXEL_1PX = "pixel_1px"
    """Pixels, where a match may be one pixel away."""

    STAMP = "stamp"
    """Stamps around DIASources."""

    OBJECT = "object"
    """Cosmic rays: connected components."""


class Place(StrEnum):
    """Where a pixel lies on which two masks disagree."""

    RIM = "rim"
    """In a cosmic ray of which the other mask has some other pixel."""

    SINGLE = "single"
    """In a cosmic ray of which the other mask has nothing."""


def mask_pairs(bits: Sequence[MaskBit]) -> list[tuple[int, int]]:
    """Return the pairs of reference and candidate that are compared.

    Parameters
    ----------
    bits : sequence of `MaskBit`
        What the masks are.

    Returns
    -------
    pairs : `list` [`tuple` [`int`, `int`]]
        Bit numbers: every truth and every detection as reference, with every
        other detection as candidate.
    """
    references = [i for i, bit in enumerate(bits) if bit.role is not Role.PLANE]
    candidates = [i for i, bit in enumerate(bits) if bit.role is Role.DETECTION]
    return [(i, j) for i in references for j in candidates if i != j]


def detected_bit(bits: Sequence[MaskBit]) -> int | None:
    """Return the bit of the DETECTED plane.

    Parameters
    ----------
    bits : sequence of `MaskBit`
        What the masks are.

    Returns
    -------
    bit : `int` or `None`
        Bit number of the first mask that is a plane, `None` if none is.
    """
    return next((i for i, bit in enumerate(bits) if bit.role is Role.PLANE), None)


def pixel_pairs(counts: Table, dilated_counts: Table, bits: Sequence[MaskBit]) -> Table:
    """Count how every pair of masks agrees, pixel by pixel.

    Parameters
    ----------
    counts : `astropy.table.Table`
        Joint counts of the masks, sparse.
    dilated_counts : `astropy.table.Table`
        Joint counts of the masks and their dilations, sparse.
    bits : sequence of `MaskBit`
        What the masks are.

    Returns
    -------
    pairs : `astropy.table.Table`
        One row a pair and level (`Level.PIXEL`, `Level.PIXEL_1PX`):
        ``level``, ``reference``, ``candidate``, ``truth_sigma``, and the
        columns of `PAIR_COUNTS` (int64). ``tp`` goes with ``fn`` (reference
        pixels), ``tp_candidate`` with ``fp`` (candidate pixels); they differ
        only with a tolerance. ``critical_fn`` is -1 where there is no
        DETECTED plane. Pairs of which a mask is missing have no row.
    """
    available = _all_available(counts)
    detected = detected_bit(bits)
    rows = []
    for reference, candidate in mask_pairs(bits):
        if not _both(available, reference, candidate):
            continue
        exact = confusion(counts, reference, candidate)
        critical = _critical(counts, reference, candidate, detected)
        rows.append(_pair_row(Level.PIXEL, bits, reference, candidate, exact, critical))
        tolerant = tolerant_confusion(dilated_counts, reference, candidate, n_masks=len(bits))
        critical = _critical(dilated_counts, reference, len(bits) + candidate, detected)
        rows.append(_pair_row(Level.PIXEL_1PX, bits, reference, candidate, tolerant, critical))
    return _pair_table(rows)


def catalogue_pairs(catalogue: Table, level: Level, bits: Sequence[MaskBit]) -> Table:
    """Count how every pair of masks agrees on stamps or objects.

    Parameters
    ----------
    catalogue : `astropy.table.Table`
        Stamps or objects, with ``available`` and ``code``.
    level : `Level`
        What the rows of the catalogue are.
    bits : sequence of `MaskBit`
        What the masks are.

    Returns
    -------
    pairs : `astropy.table.Table`
        One row a pair, with the columns that `pixel_pairs` describes.
    """
    ones = Table(
        {
            "available": np.asarray(catalogue["available"], dtype=np.uint64),
            "code": np.asarray(catalogue["code"], dtype=np.uint64),
            "n": np.ones(len(catalogue), dtype=np.int64),
        }
    )
    counts = add_counts([ones])
    detected = detected_bit(bits) if level is Level.OBJECT else None
    return _pair_table(
        _pair_row(
            level,
            bits,
            reference,
            candidate,
            confusion(counts, reference, candidate),
            _critical(counts, reference, candidate, detected),
        )
        for reference, candidate in mask_pairs(bits)
    )


def place_table(masks: ComparedMasks, in_stamp: npt.NDArray[np.bool_]) -> Table:
    """Count where the pixels lie on which two masks disagree.

    Parameters
    ----------
    masks : `ComparedMasks`
        Masks of the detector.
    in_stamp : `numpy.ndarray`
        Pixels in at least one stamp, bool ``(ny, nx)``.

    Returns
    -------
    places : `astropy.table.Table`
        For every pair of masks that are there, eight rows: ``reference``,
        ``candidate``, ``truth_sigma``; ``error`` (``fn`` or ``fp``);
        ``place`` (`Place`: in the component of the mask that has the pixel,
        does the other mask have a pixel?), ``in_stamp`` (bool) and ``n``
        (int64). The four rows of an error add up to its number of pixels.
    """
    owners = {
        number: _disagreement_data(masks, number, in_stamp)
        for number in masks.bit_numbers(Role.DETECTION, Role.TRUTH)
    }
    rows = []
    for reference, candidate in mask_pairs(masks.bits):
        if reference not in owners or candidate not in owners:
            continue
        for error, owner, other in (("fn", reference, candidate), ("fp", candidate, reference)):
            for place, inside, n in _split_by_place(*owners[owner], other):
                bit = masks.bits[reference]
                rows.append((bit.name, masks.bits[candidate].name, bit.sigma, error, str(place), inside, n))
    return _place_table(rows)


def add_places(tables: Sequence[Table]) -> Table:
    """Add up where masks disagree, over detectors or visits.

    Parameters
    ----------
    tables : sequence of `astropy.table.Table`
        What `place_table` or this function returned.

    Returns
    -------
    places : `astropy.table.Table`
        The same columns, where ``n`` of the rows that differ in nothing else
        have been added.
    """
    total: dict[tuple, tuple] = {}
    for table in tables:
        for reference, candidate, sigma, *place, n in table.iterrows(*_PLACE_DTYPES):
            key = (reference, candidate, *place)
            before = total[key][-1] if key in total else 0
            total[key] = (reference, candidate, sigma, *place, before + n)
    return _place_table(list(total.values()))


def _pair_row(
    level: Level,
    bits: Sequence[MaskBit],
    reference: int,
    candidate: int,
    counts: Confusion | TolerantConfusion,
    critical: int,
) -> tuple:
    if isinstance(counts, TolerantConfusion):
        tp, tp_candidate = counts.tp_reference, counts.tp_candidate
    else:
        tp = tp_candidate = counts.tp
    names = (bits[reference].name, bits[candidate].name, bits[reference].sigma)
    return (str(level), *names, tp, tp_candidate, counts.fn, counts.fp, counts.tn, critical)


def _pair_table(rows: Iterable[tuple]) -> Table:
    return Table(
        rows=list(rows) or None,
        names=("level", "reference", "candidate", "truth_sigma", *PAIR_COUNTS),
        dtype=("U9", "U64", "U64", np.float64, *(np.int64,) * len(PAIR_COUNTS)),
    )


_PLACE_DTYPES: dict[str, npt.DTypeLike] = {
    "reference": "U64",
    "candidate": "U64",
    "truth_sigma": np.float64,
    "error": "U2",
    "place": "U8",
    "in_stamp": np.bool_,
    "n": np.int64,
}


def _place_table(rows: list[tuple]) -> Table:
    return Table(rows=rows or None, names=list(_PLACE_DTYPES), dtype=list(_PLACE_DTYPES.values()))


def _all_available(counts: Table) -> int:
    return int(np.bitwise_or.reduce(np.asarray(counts["available"], dtype=np.uint64)))


def _always_available(counts: Table, bit: int) -> bool:
    return bool((np.asarray(counts["available"], dtype=np.uint64) >> np.uint64(bit) & np.uint64(1)).all())


def _both(available: int, one: int, other: int) -> bool:
    return bool(available >> one & 1) and bool(available >> other & 1)


def _critical(counts: Table, reference: int, candidate: int, detected: int | None) -> int:
    if detected is None or not _always_available(counts, detected):
        return -1
    return critical_false_negatives(counts, reference, candidate, detected)


def _disagreement_data(
    masks: ComparedMasks, number: int, in_stamp: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Return code, code of the component, and whether in a stamp, of each
    pixel of a mask.
    """
    parts = find_components(masks.pixels_of([number]))
    codes = masks.usable_codes[parts.rows, parts.columns].astype(np.uint64)
    return codes, parts.combine_codes(codes)[parts.labels], in_stamp[parts.rows, parts.columns]


def _split_by_place(
    codes: npt.NDArray[np.uint64],
    component_codes: npt.NDArray[np.uint64],
    inside: npt.NDArray[np.bool_],
    other: int,
) -> Iterable[tuple[Place, bool, int]]:
    bit = np.uint64(1 << other)
    missing = codes & bit == 0
    shared = component_codes & bit != 0
    for place, in_place in ((Place.RIM, shared), (Place.SINGLE, ~shared)):
        for wanted in (True, False):
            yield place, wanted, int(np.sum(missing & in_place & (inside == wanted)))
