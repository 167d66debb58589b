# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""How good probabilities are, at every threshold."""

from __future__ import annotations

__all__ = ["THRESHOLDS", "ThresholdCounts"]

import dataclasses
import math

import numpy as np
import numpy.typing as npt

THRESHOLDS = np.arange(1, 100, dtype=np.float32) / np.float32(100.0)
"""Thresholds that are tried."""


@dataclasses.dataclass(frozen=True)
class ThresholdCounts:
    """Numbers of pixels right and wrong, for each of `THRESHOLDS`."""

    tp: npt.NDArray[np.int64]
    """True cosmic rays of a greater probability than the threshold."""

    fp: npt.NDArray[np.int64]
    """Other pixels of a greater probability."""

    fn: npt.NDArray[np.int64]
    """True cosmic rays of no greater probability."""

    @classmethod
    def count(cls, probability: npt.NDArray[np.float32], truth: npt.NDArray[np.bool_]) -> ThresholdCounts:
        """Count pixels.

        Parameters
        ----------
        probability : `numpy.ndarray`
            Probabilities of usable pixels, of any shape.
        truth : `numpy.ndarray` [`bool`]
            Whether they are true cosmic rays.

        Returns
        -------
        counts : `ThresholdCounts`
            The counts.
        """
        # How many of the thresholds a pixel passes.
        n_passed = np.searchsorted(THRESHOLDS, probability.ravel(), side="left")
        is_true = truth.ravel()
        true, other = (
            np.bincount(n_passed[chosen], minlength=len(THRESHOLDS) + 1) for chosen in (is_true, ~is_true)
        )
        tp, fp = (counts[::-1].cumsum()[::-1][1:] for counts in (true, other))
        return cls(tp, fp, true.sum() - tp)

    def __add__(self, other: ThresholdCounts) -> ThresholdCounts:
        return ThresholdCounts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    def f1(self) -> npt.NDArray[np.float64]:
        """Return F1 at each threshold.

        Returns
        -------
        f1 : `numpy.ndarray`
            Twice the true positives over themselves twice and all errors;
            NaN where nothing is true and nothing found.
        """
        found_or_true = 2 * self.tp + self.fp + self.fn
        return np.divide(
            2.0 * self.tp,
            found_or_true,
            out=np.full(len(self.tp), np.nan),
            where=found_or_true > 0,
        )

    def rates(self, index: int) -> dict[str, float]:
        """Return what is said of one threshold.

        Parameters
        ----------
        index : `int`
            Which of `THRESHOLDS`.

        Returns
        -------
        rates : `dict` [`str`, `float`]
            With ``threshold``, ``purity``, ``completeness`` and ``f1``; NaN
            for what has no value.
        """
        tp, fp, fn = (int(counts[index]) for counts in (self.tp, self.fp, self.fn))
        return {
            "threshold": round(float(THRESHOLDS[index]), 2),
            "purity": tp / (tp + fp) if tp + fp > 0 else math.nan,
            "completeness": tp / (tp + fn) if tp + fn > 0 else math.nan,
            "f1": float(self.f1()[index]),
        }

    def best(self) -> int:
        """Return which threshold has the greatest F1.

        Returns
        -------
        index : `int`
            Which of `THRESHOLDS`; the lowest of several.

        Raises
        ------
        ValueError
            Raised if there are no true cosmic rays.
        """
        if self.tp[0] + self.fn[0] == 0:
            raise ValueError("There are no true cosmic rays to judge probabilities by.")
        return int(np.nanargmax(self.f1()))
