# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What several finders say of a pixel, and how often that is a cosmic ray.

A pattern is what the finders say of one pixel: which of them flag it, and
how many of its eight neighbours each of them flags. Patterns are counted
where truth is known; the counts add up over detectors and visits.
"""

from __future__ import annotations

__all__ = ["PatternCounts", "find_patterns"]

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from .consensus import NoMasksError
from .histogram import dilate


@dataclasses.dataclass(frozen=True)
class PatternCounts:
    """How often each pattern occurs, and how often it is a cosmic ray.

    Pixels that no finder flags, and no neighbour of which is flagged, have
    no pattern.
    """

    patterns: npt.NDArray[np.uint8]
    """One row a pattern, shape ``(n, 2 M)`` for M finders: first which
    finders flag the pixel (0 or 1), then how many of its neighbours each
    flags (0 to 8) (`numpy.ndarray`).
    """

    n: npt.NDArray[np.int64]
    """Number of pixels of each pattern (`numpy.ndarray`)."""

    n_true: npt.NDArray[np.int64]
    """Number of them that are true cosmic rays (`numpy.ndarray`)."""

    n_missed: int = 0
    """Number of true pixels without a pattern (`int`)."""

    @classmethod
    def count(
        cls,
        masks: Sequence[npt.NDArray[np.bool_]],
        truth: npt.NDArray[np.bool_],
        usable: npt.NDArray[np.bool_] | None = None,
    ) -> PatternCounts:
        """Count the patterns of one detector.

        Parameters
        ----------
        masks : sequence of `numpy.ndarray`
            Masks of the finders, bool ``(ny, nx)``.
        truth : `numpy.ndarray`
            True cosmic rays, bool ``(ny, nx)``.
        usable : `numpy.ndarray`, optional
            Pixels to count, bool ``(ny, nx)``; all by default.

        Returns
        -------
        counts : `PatternCounts`
            The counts.

        Raises
        ------
        NoMasksError
            Raised if there is no mask.
        """
        rows, columns, patterns = find_patterns(masks)
        counted = np.ones(rows.size, dtype=bool) if usable is None else usable[rows, columns]
        is_true = truth[rows, columns][counted]
        usable_truth = truth if usable is None else truth & usable
        every = cls(
            patterns[counted],
            np.ones(is_true.size, dtype=np.int64),
            is_true.astype(np.int64),
            int(np.count_nonzero(usable_truth)) - int(np.count_nonzero(is_true)),
        )
        return every._merge()

    @classmethod
    def add(cls, parts: Iterable[PatternCounts]) -> PatternCounts:
        """Add up counts, for instance of the detectors of many visits.

        Parameters
        ----------
        parts : iterable of `PatternCounts`
            Counts of the same finders in the same order; at least one.

        Returns
        -------
        total : `PatternCounts`
            The sums.
        """
        given = list(parts)
        return cls(
            np.concatenate([part.patterns for part in given]),
            np.concatenate([part.n for part in given]),
            np.concatenate([part.n_true for part in given]),
            sum(part.n_missed for part in given),
        )._merge()

    @property
    def n_members(self) -> int:
        """Number of finders (`int`)."""
        return self.patterns.shape[1] // 2

    def select(self, members: Sequence[int]) -> PatternCounts:
        """Return the counts that some of the finders alone would give.

        Parameters
        ----------
        members : sequence of `int`
            Numbers of the finders.

        Returns
        -------
        counts : `PatternCounts`
            Their counts.
        """
        columns = [*members, *(self.n_members + member for member in members)]
        patterns = self.patterns[:, columns]
        seen = patterns.any(axis=1)
        missed = self.n_missed + int(self.n_true[~seen].sum())
        return PatternCounts(patterns[seen], self.n[seen], self.n_true[seen], missed)._merge()

    def _merge(self) -> PatternCounts:
        patterns, group = np.unique(self.patterns, axis=0, return_inverse=True)
        group = group.reshape(-1)
        return PatternCounts(
            patterns,
            np.bincount(group, self.n, len(patterns)).astype(np.int64),
            np.bincount(group, self.n_true, len(patterns)).astype(np.int64),
            self.n_missed,
        )


def find_patterns(
    masks: Sequence[npt.NDArray[np.bool_]],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.uint8]]:
    """Return the pattern of each pixel that has one.

    Parameters
    ----------
    masks : sequence of `numpy.ndarray`
        Masks of the finders, bool ``(ny, nx)``.

    Returns
    -------
    rows, columns : `numpy.ndarray`
        The pixels that are flagged, or have a flagged neighbour.
    patterns : `numpy.ndarray`
        Uint8, one row a pixel, as in `PatternCounts`.

    Raises
    ------
    NoMasksError
        Raised if there is no mask.
    """
    if not masks:
        raise NoMasksError("There is no mask: nothing can vote.")
    rows, columns = np.nonzero(dilate(np.logical_or.reduce(masks)))
    flags, neighbours = [], []
    for mask in masks:
        padded = np.pad(mask, 1).astype(np.uint8)
        block = [padded[rows + dy, columns + dx] for dy in range(3) for dx in range(3)]
        flags.append(block[4])
        neighbours.append(np.sum(block, axis=0, dtype=np.uint8) - block[4])
    return rows, columns, np.stack([*flags, *neighbours], axis=1)
