# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Confusion matrices, votes and regions, all from joint counts."""

from __future__ import annotations

__all__ = [
    "Confusion",
    "TolerantConfusion",
    "adjusted_completeness",
    "confusion",
    "critical_false_negatives",
    "regions",
    "tolerant_confusion",
    "vote_confusion",
    "votes",
]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from .histogram import counts_rows

type Counts = npt.NDArray[np.int64] | Table


@dataclass(frozen=True)
class Confusion:
    """Agreement of a candidate with a reference taken as truth.

    The rates are those of equation 1 of Mrakovčić & Ivezić (2022),
    *Investigation of Algorithms for Detecting Cosmic Rays*. Where a rate is
    0/0 it is `None`.
    """

    tp: int
    """Number in both reference and candidate (`int`)."""

    fn: int
    """Number in the reference alone (`int`)."""

    fp: int
    """Number in the candidate alone (`int`)."""

    tn: int
    """Number in neither (`int`)."""

    @property
    def purity(self) -> float | None:
        """Fraction of the candidate that is in the reference,
        TP / (TP + FP) (`float` or `None`).
        """
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def completeness(self) -> float | None:
        """Fraction of the reference that is in the candidate,
        TP / (TP + FN) (`float` or `None`).
        """
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of purity and completeness, 2 p c / (p + c)
        (`float` or `None`).

        It is `None` where nothing agrees (p + c = 0), where `dice` is 0.
        """
        return self.dice if self.tp > 0 else None

    @property
    def dice(self) -> float | None:
        """Dice coefficient, 2 TP / (2 TP + FP + FN) (`float` or `None`)."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


@dataclass(frozen=True)
class TolerantConfusion:
    """Agreement where a pixel matches within one pixel (3x3 dilation).

    With reference A and candidate B, the matched pixels of A and those of B
    are different pixels, so each rate has its own true positives.
    """

    tp_reference: int
    """Number of reference pixels in the dilated candidate (`int`)."""

    tp_candidate: int
    """Number of candidate pixels in the dilated reference (`int`)."""

    fn: int
    """Number of reference pixels outside the dilated candidate (`int`)."""

    fp: int
    """Number of candidate pixels outside the dilated reference (`int`)."""

    tn: int
    """Number of pixels in neither reference nor candidate (`int`)."""

    @property
    def purity(self) -> float | None:
        """``|B and dil A| / |B|`` (`float` or `None`)."""
        return _ratio(self.tp_candidate, self.tp_candidate + self.fp)

    @property
    def completeness(self) -> float | None:
        """``|A and dil B| / |A|`` (`float` or `None`)."""
        return _ratio(self.tp_reference, self.tp_reference + self.fn)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of purity and completeness (`float` or `None`)."""
        purity, completeness = self.purity, self.completeness
        if purity is None or completeness is None or purity + completeness == 0:
            return None
        return 2 * purity * completeness / (purity + completeness)

    @property
    def dice(self) -> float | None:
        """Matched pixels of both over all pixels of both (`float` or
        `None`).
        """
        matched = self.tp_reference + self.tp_candidate
        return _ratio(matched, matched + self.fn + self.fp)


def confusion(counts: Counts, reference: int, candidate: int) -> Confusion:
    """Count how a candidate mask agrees with a reference mask.

    Parameters
    ----------
    counts : `numpy.ndarray` or `astropy.table.Table`
        Joint counts, dense (``(2**M,)``) or sparse (``available``, ``code``,
        ``n``). Of sparse counts, those rows are used in which both masks
        are available.
    reference : `int`
        Bit number of the mask that is taken as truth.
    candidate : `int`
        Bit number of the mask that is judged.

    Returns
    -------
    confusion : `Confusion`
        Numbers of true and false positives and negatives, and their rates.

    Raises
    ------
    ValueError
        Raised if the counts have no such bit.
    """
    code, n = _rows_with(counts, (reference, candidate))
    in_reference, in_candidate = _has(code, reference), _has(code, candidate)
    return Confusion(
        tp=int(n[in_reference & in_candidate].sum()),
        fn=int(n[in_reference & ~in_candidate].sum()),
        fp=int(n[~in_reference & in_candidate].sum()),
        tn=int(n[~in_reference & ~in_candidate].sum()),
    )


def tolerant_confusion(counts: Counts, reference: int, candidate: int, *, n_masks: int) -> TolerantConfusion:
    """Count how two masks agree within one pixel.

    Parameters
    ----------
    counts : `numpy.ndarray` or `astropy.table.Table`
        Joint counts of ``n_masks`` masks and of their dilations, in which
        bit ``n_masks + m`` is the dilation of bit ``m``.
    reference : `int`
        Bit number of the mask that is taken as truth.
    candidate : `int`
        Bit number of the mask that is judged.
    n_masks : `int`
        Number of masks, dilations not included.

    Returns
    -------
    confusion : `TolerantConfusion`
        Numbers of matched and unmatched pixels, and their rates.

    Raises
    ------
    ValueError
        Raised if the counts have no such bit.
    """
    code, n = _rows_with(counts, (reference, candidate, n_masks + reference, n_masks + candidate))
    in_reference, near_reference = _has(code, reference), _has(code, n_masks + reference)
    in_candidate, near_candidate = _has(code, candidate), _has(code, n_masks + candidate)
    return TolerantConfusion(
        tp_reference=int(n[in_reference & near_candidate].sum()),
        tp_candidate=int(n[in_candidate & near_reference].sum()),
        fn=int(n[in_reference & ~near_candidate].sum()),
        fp=int(n[in_candidate & ~near_reference].sum()),
        tn=int(n[~in_reference & ~in_candidate].sum()),
    )


def critical_false_negatives(counts: Counts, reference: int, candidate: int, detected: int) -> int:
    """Count the true pixels that a mask misses and a detection plane has.

    These are what a missed cosmic ray does harm by: it is taken for a source
    (SITCOMTN-149).

    Parameters
    ----------
    counts : `numpy.ndarray` or `astropy.table.Table`
        Joint counts, dense or sparse.
    reference : `int`
        Bit number of truth.
    candidate : `int`
        Bit number of the mask that is judged.
    detected : `int`
        Bit number of the DETECTED plane.

    Returns
    -------
    n_critical : `int`
        Number of pixels.

    Raises
    ------
    ValueError
        Raised if the counts have no such bit.
    """
    code, n = _rows_with(counts, (reference, candidate, detected))
    critical = _has(code, reference) & ~_has(code, candidate) & _has(code, detected)
    return int(n[critical].sum())


def adjusted_completeness(tp: int, n_critical: int) -> float | None:
    """Return completeness where only critical false negatives count.

    Parameters
    ----------
    tp : `int`
        Number of true positives.
    n_critical : `int`
        Number of critical false negatives.

    Returns
    -------
    completeness : `float` or `None`
        TP / (TP + CFN), as in SITCOMTN-149; `None` if that is 0/0.
    """
    return _ratio(tp, tp + n_critical)


def votes(counts: Counts, members: Sequence[int]) -> npt.NDArray[np.int64]:
    """Count the pixels by how many of some masks have them.

    Parameters
    ----------
    counts : `numpy.ndarray` or `astropy.table.Table`
        Joint counts, dense or sparse.
    members : sequence of `int`
        Bit numbers of the masks that vote.

    Returns
    -------
    n : `numpy.ndarray`
        Number of pixels with 0, 1, ... ``len(members)`` votes, int64.

    Raises
    ------
    ValueError
        Raised if the counts have no such bit.
    """
    code, n = _rows_with(counts, members)
    return _weighted_counts(_votes_of(code, members), n, len(members) + 1)


def vote_confusion(counts: Counts, reference: int, members: Sequence[int], *, at_least: int) -> Confusion:
    """Count how the vote of some masks agrees with a reference mask.

    Parameters
    ----------
    counts : `numpy.ndarray` or `astropy.table.Table`
        Joint counts, dense or sparse.
    reference : `int`
        Bit number of the mask that is taken as truth.
    members : sequence of `int`
        Bit numbers of the masks that vote.
    at_least : `int`
        Number of votes that make a pixel a cosmic ray: 1 is the union of
        the masks, ``len(members)`` their intersection.

    Returns
    -------
    confusion : `Confusion`
        Numbers of true and false positives and negatives, and their rates.

    Raises
    ------
    ValueError
        Raised if the counts have no such bit.
    """
    code, n = _rows_with(counts, (reference, *members))
    in_reference = _has(code, reference)
    voted = _votes_of(code, members) >= at_least
    return Confusion(
        tp=int(n[in_reference & voted].sum()),
        fn=int(n[in_reference & ~voted].sum()),
        fp=int(n[~in_reference & voted].sum()),
        tn=int(n[~in_reference & ~voted].sum()),
    )


def regions(counts: Counts, members: Sequence[int]) -> npt.NDArray[np.int64]:
    """Count the pixels of every region of a Venn or UpSet diagram.

    Parameters
    ----------
    counts : `numpy.ndarray` or `astropy.table.Table`
        Joint counts, dense or sparse.
    members : sequence of `int`
        Bit numbers of the masks in the diagram.

    Returns
    -------
    n : `numpy.ndarray`
        Number of pixels of each exclusive region, int64, shape
        ``(2**len(members),)``: bit ``i`` of the index says whether mask
        ``members[i]`` has the pixels. They are dense joint counts of the
        members alone.

    Raises
    ------
    ValueError
        Raised if the counts have no such bit.
    """
    code, n = _rows_with(counts, members)
    region = np.zeros(code.size, dtype=np.int64)
    for i, bit in enumerate(members):
        region |= _has(code, bit).astype(np.int64) << i
    return _weighted_counts(region, n, 1 << len(members))


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def _has(code: npt.NDArray[np.uint64], bit: int) -> npt.NDArray[np.bool_]:
    return (code >> np.uint64(bit)) & np.uint64(1) == 1


def _votes_of(code: npt.NDArray[np.uint64], members: Sequence[int]) -> npt.NDArray[np.int64]:
    return sum((_has(code, bit).astype(np.int64) for bit in members), np.zeros(code.size, dtype=np.int64))


def _weighted_counts(
    values: npt.NDArray[np.int64], n: npt.NDArray[np.int64], n_values: int
) -> npt.NDArray[np.int64]:
    total = np.zeros(n_values, dtype=np.int64)
    np.add.at(total, values, n)
    return total


def _rows_with(counts: Counts, bits: Sequence[int]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return code and number of the rows in which all bits are available."""
    if any(not 0 <= bit < 64 for bit in bits):
        raise ValueError(f"Bits {tuple(bits)}: a code has bits 0 to 63.")
    if not isinstance(counts, Table) and max(bits, default=0) >= np.size(counts).bit_length() - 1:
        raise ValueError(f"Bits {tuple(bits)}: the counts are of {np.size(counts).bit_length() - 1} masks.")
    available, code, n = counts_rows(counts)
    needed = np.uint64(sum(1 << bit for bit in set(bits)))
    usable = available & needed == needed
    return code[usable], n[usable]
