# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scan a parameter of a finder without computing what cannot matter.

Masks that are found with a stricter limit are, but for details, part of those
found with a laxer one. So the counts at a value lie between those at the
values on both sides of it, which bounds every criterion there; and where the
bound is worse than the best found so far, nothing needs to be computed.
"""

from __future__ import annotations

__all__ = ["TuningGrid", "TuningScan", "scan_parameter"]

import itertools
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .tuning import Criterion, MaskCounter, TuningStep, kneedle_difference, tuning_score

_DECIMALS = 10


@dataclass(frozen=True)
class TuningGrid:
    """Values of a parameter that a scan may compute."""

    values: npt.NDArray[np.float64]
    """All of them, rising, the narrow search's (`numpy.ndarray`)."""

    is_wide: npt.NDArray[np.bool_]
    """Which of them the wide search may compute (`numpy.ndarray`)."""

    @classmethod
    def make(
        cls, start: float, stop: float, step: float, *, refinement: int = 1, integer: bool = False
    ) -> TuningGrid:
        """Make a regular grid.

        Parameters
        ----------
        start, stop : `float`
            First value, and the greatest that there may be.
        step : `float`
            Distance of the values of the wide search.
        refinement : `int`, optional
            How many steps of the narrow search make one of the wide.
        integer : `bool`, optional
            Round the values to whole numbers?

        Returns
        -------
        grid : `TuningGrid`
            The values, each only once.

        Raises
        ------
        ValueError
            Raised if the range or the step is empty, reversed or infinite.
        """
        if not (math.isfinite(start) and math.isfinite(stop) and start < stop):
            raise ValueError(f"A scan needs a range that rises, not from {start} to {stop}.")
        if not (0.0 < step <= stop - start):
            raise ValueError(f"Steps of {step} do not fit between {start} and {stop}.")
        if refinement < 1:
            raise ValueError(f"A wide step is at least one narrow step, not {refinement}.")
        n_narrow = math.floor((stop - start) / step * refinement * (1 + 1e-12))
        numbers = np.arange(n_narrow + 1)
        values = np.round(start + numbers * step / refinement, 0 if integer else _DECIMALS)
        unique, inverse = np.unique(values, return_inverse=True)
        is_wide = np.zeros(unique.size, dtype=bool)
        is_wide[inverse[numbers % refinement == 0]] = True
        is_wide[-1] = True
        return cls(unique, is_wide)


@dataclass(frozen=True)
class TuningScan:
    """What a scan computed."""

    steps: dict[float, TuningStep]
    """What was found, by value, in the order of computation (`dict`)."""

    n_wide: int
    """How many of these the wide search computed, the first ones (`int`)."""


def scan_parameter(
    evaluate: Callable[[float], TuningStep],
    grid: TuningGrid,
    counter: MaskCounter,
    *,
    n_first: int = 9,
    criteria: Collection[Criterion] = tuple(Criterion),
) -> TuningScan:
    """Compute what is needed to find the optima of a grid.

    Parameters
    ----------
    evaluate : `~collections.abc.Callable`
        Runs the finder with a value of the parameter, and counts.
    grid : `TuningGrid`
        Values that may be computed.
    counter : `MaskCounter`
        What the steps are counted with.
    n_first : `int`, optional
        How many values, over the whole range, are computed in any case.
    criteria : `~collections.abc.Collection` [`Criterion`], optional
        Optima that are sought; those without a reference or truth are not.

    Returns
    -------
    scan : `TuningScan`
        What was computed. If the counts rise or fall all the way, the optima
        of it are those of all values of the grid.

    Notes
    -----
    The search is a branch and bound. Counts that turn back, as those of an
    iterative finder may, widen all bounds by the greatest such turn that was
    seen. Between a value at which the finder failed and one at which it did
    not, the limit of failure is sought; between two failures nothing is.
    """
    wide = np.flatnonzero(grid.is_wide)
    first = wide[np.unique(np.linspace(0, wide.size - 1, max(n_first, 2)).round().astype(int))]
    state = _Search(evaluate, grid, counter, criteria)
    for index in first:
        state.compute(int(index))
    n_wide = 0
    for level in (wide, np.arange(grid.values.size)):
        while (index := state.next_of(level)) is not None:
            state.compute(index)
        n_wide = n_wide or len(state.steps)
    return TuningScan({float(grid.values[index]): step for index, step in state.steps.items()}, n_wide)


type Gaps = dict[tuple[int, int], npt.NDArray[np.intp]]
"""What lies between neighbours that were computed."""


class _Search:
    """The steps computed so far, and where a better one may be."""

    def __init__(
        self,
        evaluate: Callable[[float], TuningStep],
        grid: TuningGrid,
        counter: MaskCounter,
        criteria: Collection[Criterion],
    ) -> None:
        self.steps: dict[int, TuningStep] = {}
        self._evaluate = evaluate
        self._values = grid.values
        self._counter = counter
        self._criteria = [
            criterion
            for criterion in Criterion
            if criterion in criteria and (criterion.judge is None or counter.n_positive(criterion.judge) > 0)
        ]

    def compute(self, index: int) -> None:
        """Run the finder at one value of the grid."""
        self.steps[index] = self._evaluate(float(self._values[index]))

    def next_of(self, level: npt.NDArray[np.intp]) -> int | None:
        """Return the value to compute next, if any matters.

        It is in the middle of the gap in which a criterion may be best.
        """
        computed = sorted(self.steps)
        gaps = {
            (left, right): inside
            for left, right in itertools.pairwise(computed)
            if (inside := level[(level > left) & (level < right)]).size > 0
        }
        for (left, right), inside in gaps.items():
            if bool(self.steps[left].failure) != bool(self.steps[right].failure):
                return int(inside[inside.size // 2])
        good = np.array([index for index in computed if not self.steps[index].failure], dtype=np.intp)
        if good.size < 2:
            return None
        for criterion in self._criteria:
            promising = _most_promising(self._bounds(criterion, good), gaps)
            if promising is not None:
                return int(promising[promising.size // 2])
        return None

    def _bounds(self, criterion: Criterion, good: npt.NDArray[np.intp]) -> _Bounds:
        """Return what limits a criterion between the values computed."""
        steps = [self.steps[int(index)] for index in good]
        name = "tp_truth" if criterion is Criterion.F1_TRUTH else "tp"
        return _Bounds(
            criterion,
            self._values,
            good,
            np.array([step.n_pixels for step in steps]),
            np.array([getattr(step, name) for step in steps]),
            self._counter.n_positive(criterion.judge) if criterion.judge else 0,
        )


class _Bounds:
    """How good a criterion is where it was computed, and may be between."""

    def __init__(
        self,
        criterion: Criterion,
        values: npt.NDArray[np.float64],
        good: npt.NDArray[np.intp],
        n_pixels: npt.NDArray[np.int64],
        tp: npt.NDArray[np.int64],
        n_positive: int,
    ) -> None:
        self._criterion, self._values, self._n_positive = criterion, values, n_positive
        self._n_pixels = n_pixels
        self._rising = bool(n_pixels[-1] > n_pixels[0])
        self._n_range = _between(n_pixels, self._rising)
        self._tp_range = _between(tp, self._rising)
        self._fp_range = _between(n_pixels - tp, self._rising)
        self._ends = values[good[[0, -1]]]
        self.good = good
        """Indices of the values computed, rising (`numpy.ndarray`)."""
        self.score = tuning_score(criterion, values[good], n_pixels, tp, n_pixels - tp, n_positive)
        """How good these are (`numpy.ndarray`)."""

    def greatest(self, gap: int, inside: npt.NDArray[np.intp]) -> float:
        """Return what the criterion may reach inside a gap, at most."""
        if self._criterion is Criterion.KNEE:
            low, high = (ends[gap] for ends in self._n_range)
            ahead, behind = (high, low) if self._rising else (low, high)
            first, last = self._values[inside[[0, -1]]]
            corners = kneedle_difference(
                [self._ends[0], first, last, self._ends[1]],
                [self._n_pixels[0], ahead, behind, self._n_pixels[-1]],
            )
            return float(np.max(np.abs(corners)))
        most = np.minimum(self._tp_range[1][gap], self._n_positive)
        least = np.maximum(self._fp_range[0][gap], 0)
        return float(
            tuning_score(self._criterion, self._values, self._n_pixels, most, least, self._n_positive)
        )


def _most_promising(bounds: _Bounds, gaps: Gaps) -> npt.NDArray[np.intp] | None:
    """Return the gap in which a criterion may be best, if any.

    Of values that are equally good the lowest counts, so a gap before it that
    may be as good is not left out.
    """
    if not np.any(np.isfinite(bounds.score)):
        return None
    best, at = np.nanmax(bounds.score), bounds.good[np.nanargmax(bounds.score)]
    chosen, greatest = None, -math.inf
    for number, (left, right) in enumerate(itertools.pairwise(bounds.good)):
        inside = gaps.get((int(left), int(right)))
        if inside is None:
            continue
        bound = bounds.greatest(number, inside)
        matters = bound > best or (bound == best and right <= at)
        if matters and bound > greatest:
            chosen, greatest = inside, bound
    return chosen


def _between(counts: npt.NDArray[np.int64], rising: bool) -> tuple[npt.NDArray[np.int64], ...]:
    """Return the least and greatest that a count may be in every gap."""
    upward = counts if rising else -counts
    turn = np.max(np.maximum.accumulate(upward) - upward)
    return np.minimum(counts[:-1], counts[1:]) - turn, np.maximum(counts[:-1], counts[1:]) + turn
