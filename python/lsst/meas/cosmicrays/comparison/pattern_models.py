# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""How probable a pattern makes a cosmic ray: a logistic model, or a table."""

from __future__ import annotations

__all__ = ["MODEL_KINDS", "LogisticModel", "PatternModel", "TableModel", "pattern_features"]

import abc
import dataclasses
import itertools
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from .patterns import PatternCounts

_N_NEIGHBOURS = 8
_RIDGE = 1e-3
_N_NEWTON = 50

PRIOR_PIXELS = 16.0
"""For how many pixels the estimate of the coarser cell of a table counts."""

MANY_NEIGHBOURS = 3
"""So many flagged neighbours are many; fewer, but not none, are few."""


class PatternModel(abc.ABC):
    """P(CR | pattern) of a fixed number of finders."""

    @classmethod
    @abc.abstractmethod
    def fit(cls, counts: PatternCounts) -> Self:
        """Fit a model.

        Parameters
        ----------
        counts : `PatternCounts`
            How often each pattern is a cosmic ray.

        Returns
        -------
        model : `PatternModel`
            The model.
        """

    @abc.abstractmethod
    def evaluate(self, patterns: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return how probable cosmic rays are.

        Parameters
        ----------
        patterns : `numpy.ndarray`
            Patterns, uint8 ``(n, 2 M)``.

        Returns
        -------
        probability : `numpy.ndarray`
            Float64 ``(n,)``.
        """

    @abc.abstractmethod
    def to_values(self) -> Any:
        """Return the model as what JSON can hold.

        Returns
        -------
        values : `object`
            What `from_values` takes.
        """

    @classmethod
    @abc.abstractmethod
    def from_values(cls, values: Any, n_members: int) -> Self:
        """Make a model of what `to_values` returned.

        Parameters
        ----------
        values : `object`
            What was stored.
        n_members : `int`
            Number of finders.

        Returns
        -------
        model : `PatternModel`
            The model.

        Raises
        ------
        ValueError
            Raised if these are not the values of such a model.
        """


@dataclasses.dataclass(frozen=True)
class LogisticModel(PatternModel):
    """A logistic model, quadratic in what a pattern holds.

    The fit maximises the likelihood, with a weak ridge, by Newton's method:
    the problem is convex.
    """

    coefficients: npt.NDArray[np.float64]
    """Coefficients of `pattern_features` (`numpy.ndarray`)."""

    @classmethod
    def fit(cls, counts: PatternCounts) -> Self:
        features = pattern_features(counts.patterns)
        ridge = np.full(features.shape[1], _RIDGE)
        coefficients = np.zeros(features.shape[1])
        for _ in range(_N_NEWTON):
            expected = _logistic(features @ coefficients)
            gradient = features.T @ (counts.n_true - counts.n * expected) - ridge * coefficients
            weights = counts.n * expected * (1.0 - expected)
            hessian = (features.T * weights) @ features + np.diag(ridge)
            step = np.linalg.solve(hessian, gradient)
            coefficients += step / max(1.0, np.abs(step).max() / 3.0)
            if np.abs(step).max() < 1e-8:
                break
        return cls(coefficients)

    def evaluate(self, patterns: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        return _logistic(pattern_features(patterns) @ self.coefficients)

    def to_values(self) -> list[float]:
        return [float(value) for value in self.coefficients]

    @classmethod
    def from_values(cls, values: Any, n_members: int) -> Self:
        coefficients = np.array(values, dtype=np.float64)
        expected = 1 + 3 * n_members + n_members * (2 * n_members - 1)
        if coefficients.shape != (expected,) or not np.isfinite(coefficients).all():
            raise ValueError(f"{expected} finite coefficients are needed")
        return cls(coefficients)


@dataclasses.dataclass(frozen=True)
class TableModel(PatternModel):
    """A table of how often patterns were cosmic rays, with coarser tables
    behind it for what was seen rarely or never.

    Cells of the finest table are: which finders flag the pixel, and for each
    finder whether it flags none, few, or many of the neighbours. Behind them
    are cells of which finders flag the pixel, and how many of them flag any
    neighbour; then of which finders flag the pixel; then of how many do;
    then all pixels together. The estimate in a cell is that of the coarser
    cell around it, which counts for `PRIOR_PIXELS` pixels, and the pixels
    of the cell: ``(n_true + k p) / (n + k)``. A cell without pixels has the
    estimate of the coarser one.
    """

    levels: tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]], ...]
    """From coarse to fine the numbers of the cells, rising, and the estimate
    in each (`tuple`).
    """

    N_LEVELS: ClassVar[int] = 5

    @classmethod
    def fit(cls, counts: PatternCounts) -> Self:
        expected = np.full(counts.n.size, counts.n_true.sum() / max(int(counts.n.sum()), 1))
        levels = []
        for numbers in _cells(counts.patterns):
            cells, first, group = np.unique(numbers, return_index=True, return_inverse=True)
            n = np.bincount(group, counts.n, cells.size)
            n_true = np.bincount(group, counts.n_true, cells.size)
            estimate = (n_true + PRIOR_PIXELS * expected[first]) / (n + PRIOR_PIXELS)
            levels.append((cells, estimate))
            expected = estimate[group]
        return cls(tuple(levels))

    def evaluate(self, patterns: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        probability = np.zeros(len(patterns))
        for numbers, (cells, estimate) in zip(_cells(patterns), self.levels, strict=True):
            known = np.isin(numbers, cells)
            probability[known] = estimate[np.searchsorted(cells, numbers[known])]
        return probability

    def to_values(self) -> list[list[list[float]]]:
        return [[cells.tolist(), estimate.tolist()] for cells, estimate in self.levels]

    @classmethod
    def from_values(cls, values: Any, n_members: int) -> Self:
        levels = tuple(
            (np.array(cells, dtype=np.int64), np.array(estimate, dtype=np.float64))
            for cells, estimate in values
        )
        if len(levels) != cls.N_LEVELS or not all(_is_table(*level) for level in levels):
            raise ValueError(f"{cls.N_LEVELS} tables of probabilities are needed")
        return cls(levels)


MODEL_KINDS: dict[str, type[PatternModel]] = {"logistic": LogisticModel, "table": TableModel}
"""Models that a learned rule can have, by name."""


def pattern_features(patterns: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return what the logistic model is linear in.

    Parameters
    ----------
    patterns : `numpy.ndarray`
        Patterns, uint8 ``(n, 2 M)``.

    Returns
    -------
    features : `numpy.ndarray`
        Float64 ``(n, k)``: 1, each flag, each fraction of flagged
        neighbours, and the products of any two of these.
    """
    n_members = patterns.shape[1] // 2
    linear = patterns.astype(np.float64)
    linear[:, n_members:] /= _N_NEIGHBOURS
    # The square of a flag is the flag.
    products = [
        linear[:, i] * linear[:, j]
        for i, j in itertools.combinations_with_replacement(range(2 * n_members), 2)
        if i != j or i >= n_members
    ]
    return np.column_stack([np.ones(len(patterns)), linear, *products])


def _cells(patterns: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.int64]]:
    """Return in which cell of each table, from coarse to fine, patterns are.

    Every cell lies within one cell of the table before.
    """
    n_members = patterns.shape[1] // 2
    flags = patterns[:, :n_members].astype(np.int64)
    neighbours = patterns[:, n_members:]
    extent = (neighbours > 0).astype(np.int64) + (neighbours >= MANY_NEIGHBOURS)
    which = flags @ (1 << np.arange(n_members))
    return [
        np.zeros(len(patterns), dtype=np.int64),
        flags.sum(axis=1),
        which,
        which * (n_members + 1) + (extent > 0).sum(axis=1),
        which * 3**n_members + extent @ 3 ** np.arange(n_members),
    ]


def _is_table(cells: npt.NDArray[np.int64], estimate: npt.NDArray[np.float64]) -> bool:
    return bool(
        cells.ndim == 1
        and cells.shape == estimate.shape
        and np.all(np.diff(cells) > 0)
        and np.all((estimate >= 0.0) & (estimate <= 1.0))
    )


def _logistic(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 0.5 * (1.0 + np.tanh(0.5 * values))
