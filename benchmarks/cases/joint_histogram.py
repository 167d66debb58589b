# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""All pairwise confusion matrices of eight masks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
from registry import Case, Inputs, Program, register

N_MASKS = 8
PAIRS = list(combinations(range(N_MASKS), 2))
FRACTION_FOUND = 0.7
FRACTION_MARKED = 0.002


def make_masks(shape: tuple[int, int]) -> Inputs:
    """Make masks that have most of their pixels in common."""
    random = np.random.default_rng(5)
    truth = random.random(shape) < FRACTION_MARKED
    found = [truth & (random.random(shape) < FRACTION_FOUND) for _ in range(N_MASKS)]
    false = [random.random(shape) < FRACTION_MARKED / 10 for _ in range(N_MASKS)]
    return {f"mask{i}": found[i] | false[i] for i in range(N_MASKS)}


def _masks(inputs: Inputs) -> list[np.ndarray]:
    return [inputs[f"mask{i}"] for i in range(N_MASKS)]


def prepare_ours(inputs: Inputs, threads: int) -> Callable[[], object]:
    """Prepare our joint histogram."""
    from lsst.meas.cosmicrays.comparison.confusion import confusion
    from lsst.meas.cosmicrays.comparison.histogram import joint_histogram

    masks = _masks(inputs)

    def count() -> np.ndarray:
        counts = joint_histogram(masks, n_threads=threads)
        matrices = [confusion(counts, reference, candidate) for reference, candidate in PAIRS]
        return np.array([[[matrix.tn, matrix.fp], [matrix.fn, matrix.tp]] for matrix in matrices])

    return count


def prepare_numpy(inputs: Inputs, threads: int) -> Callable[[], object]:
    """Prepare the same in a few lines of numpy."""
    masks = _masks(inputs)
    bits = (np.arange(1 << N_MASKS)[:, None] >> np.arange(N_MASKS)) & 1

    def count() -> np.ndarray:
        codes = np.zeros(masks[0].shape, dtype=np.uint8)
        for bit, mask in enumerate(masks):
            codes |= mask.view(np.uint8) << np.uint8(bit)
        counts = np.bincount(codes.ravel(), minlength=1 << N_MASKS)
        return np.array(
            [_matrix(counts, bits[:, reference], bits[:, candidate]) for reference, candidate in PAIRS]
        )

    return count


def _matrix(counts: np.ndarray, reference: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    return np.bincount(2 * reference + candidate, weights=counts, minlength=4).astype(np.int64).reshape(2, 2)


def prepare_sklearn(inputs: Inputs, threads: int) -> Callable[[], object]:
    """Prepare scikit-learn, which counts one pair at a time."""
    from sklearn.metrics import confusion_matrix

    masks = [mask.ravel() for mask in _masks(inputs)]
    return lambda: np.array([confusion_matrix(masks[a], masks[b], labels=[False, True]) for a, b in PAIRS])


register(
    Case(
        "joint_histogram",
        "28 confusion matrices of 8 masks",
        make_masks,
        (
            Program("ours", prepare_ours),
            Program("numpy, all at once", prepare_numpy, "numpy"),
            Program("scikit-learn, by pairs", prepare_sklearn, "scikit-learn"),
        ),
        measure_first_call=True,
    )
)
