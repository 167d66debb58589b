# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cosmic rays as units of resampling: what every mask has of each."""

from __future__ import annotations

__all__ = ["ClusterKinds", "cluster_counts"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from .components import Components, find_components
from .masks import ComparedMasks, MaskBit, Role
from .pairs import PAIR_COUNTS, Level, detected_bit

_CLUSTER_KEYS = ("visit", "detector", "cluster")
_COUNT_COLUMNS = ("available", "code", "n")


@dataclass(frozen=True)
class ClusterKinds:
    """Cosmic rays, those alike put together.

    Most cosmic rays of a mask with much noise in it are single pixels: they
    are resampled as one kind with a multiplicity.
    """

    kind: npt.NDArray[np.int64]
    """Kind that each row of counts belongs to (`numpy.ndarray`)."""

    available: npt.NDArray[np.uint64]
    """Bits of the masks that are there, one a row (`numpy.ndarray`)."""

    code: npt.NDArray[np.uint64]
    """Bits of the masks that have the pixels, one a row (`numpy.ndarray`)."""

    n: npt.NDArray[np.int64]
    """Number of pixels, one a row (`numpy.ndarray`)."""

    multiplicity: npt.NDArray[np.int64]
    """Number of cosmic rays of each kind (`numpy.ndarray`)."""

    @classmethod
    def from_table(cls, clusters: Table) -> ClusterKinds:
        """Put those cosmic rays together that have the same counts.

        Parameters
        ----------
        clusters : `astropy.table.Table`
            What `cluster_counts` returns, of any number of detectors, with
            columns ``visit`` and ``detector``.

        Returns
        -------
        kinds : `ClusterKinds`
            The kinds.
        """
        keys = [np.asarray(clusters[name], dtype=np.int64) for name in _CLUSTER_KEYS]
        counts = np.column_stack([np.asarray(clusters[name], dtype=np.uint64) for name in _COUNT_COLUMNS])
        order = np.lexsort((counts[:, 1], *reversed(keys)))
        counts = counts[order]
        changes = np.any([np.diff(key[order]) != 0 for key in keys], axis=0)
        bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(counts)] if len(counts) else [0]
        multiplicity: dict[bytes, int] = {}
        for first, last in zip(bounds[:-1], bounds[1:], strict=True):
            content = counts[first:last].tobytes()
            multiplicity[content] = multiplicity.get(content, 0) + 1
        rows = [
            np.frombuffer(content, dtype=np.uint64).reshape(-1, len(_COUNT_COLUMNS))
            for content in multiplicity
        ]
        kind = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
        available, code, n = np.concatenate([counts[:0], *rows]).T
        return cls(
            kind, available, code, n.astype(np.int64), np.array(list(multiplicity.values()), dtype=np.int64)
        )

    def count_pair(
        self, level: Level, bits: Sequence[MaskBit], reference: int, candidate: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Count how a pair of masks agrees in each kind of cosmic ray.

        Parameters
        ----------
        level : `Level`
            `Level.PIXEL` or `Level.PIXEL_1PX`.
        bits : sequence of `MaskBit`
            What the masks are.
        reference, candidate : `int`
            Bit numbers of the masks.

        Returns
        -------
        counts : `numpy.ndarray`
            Numbers of pixels in the order of `PAIR_COUNTS`, int64, one row
            a kind that is on detectors with both masks. True negatives,
            which rates do not need, are 0.
        multiplicity : `numpy.ndarray`
            Number of cosmic rays of each of these kinds.
        """
        shift = len(bits) if level is Level.PIXEL_1PX else 0
        in_reference, near_reference = self._has(reference), self._has(shift + reference)
        in_candidate, near_candidate = self._has(candidate), self._has(shift + candidate)
        detected = detected_bit(bits)
        missed = in_reference & ~near_candidate
        counted = {
            "tp": in_reference & near_candidate,
            "tp_candidate": in_candidate & near_reference,
            "fn": missed,
            "fp": in_candidate & ~near_reference,
            "tn": np.zeros(self.n.size, dtype=bool),
            "critical_fn": missed & (detected is not None and self._has(detected)),
        }
        n_kinds = self.multiplicity.size
        sums = [np.bincount(self.kind, self.n * counted[name], n_kinds) for name in PAIR_COUNTS]
        needed = np.uint64((1 << reference) | (1 << candidate))
        has_both = np.zeros(n_kinds, dtype=bool)
        has_both[self.kind] = self.available & needed == needed
        return np.column_stack(sums).astype(np.int64)[has_both], self.multiplicity[has_both]

    def _has(self, bit: int) -> npt.NDArray[np.bool_]:
        return (self.code >> np.uint64(bit)) & np.uint64(1) == 1


def cluster_counts(masks: ComparedMasks) -> Table:
    """Count the pixels of every combination of masks in every cosmic ray.

    Here a cosmic ray is a cluster: an 8-connected component of the union of
    all detections and truths, so that it holds what each of them has of it.

    Parameters
    ----------
    masks : `ComparedMasks`
        Masks of the detector.

    Returns
    -------
    counts : `astropy.table.Table`
        Sparse counts, with the bits of `ComparedMasks.count_dilated`:
        ``cluster`` (int64, from 0), ``available``, ``code`` and ``n``.
        Pixels in no cluster are left out.
    """
    clusters = find_components(masks.pixels_of(masks.bit_numbers(Role.DETECTION, Role.TRUTH)))
    code = masks.codes[clusters.rows, clusters.columns].astype(np.uint64)
    dilated = _neighbourhood_codes(masks.codes, clusters).astype(np.uint64)
    n_bits = np.uint64(len(masks.bits))
    keys = np.column_stack([clusters.labels.astype(np.uint64), code | (dilated << n_bits)])
    rows, n = np.unique(keys, axis=0, return_counts=True)
    available = masks.available | (masks.available << n_bits)
    return Table(
        {
            "cluster": rows[:, 0].astype(np.int64),
            "available": np.full(len(rows), available, dtype=np.uint64),
            "code": rows[:, 1],
            "n": n.astype(np.int64),
        }
    )


def _neighbourhood_codes(codes: npt.NDArray[np.uint32], pixels: Components) -> npt.NDArray[np.uint32]:
    """Return the bits that a pixel or any of its eight neighbours has."""
    padded = np.pad(codes, 1)
    combined = np.zeros(pixels.labels.size, dtype=np.uint32)
    for dy in range(3):
        for dx in range(3):
            combined |= padded[pixels.rows + dy, pixels.columns + dx]
    return combined
