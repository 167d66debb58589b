# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured: programs that answer the same question on the same input.

Every file in ``cases`` registers some.  A program is prepared in a process of
its own, so that it is imported nowhere else.
"""

from __future__ import annotations

__all__ = ["OURS", "Case", "Inputs", "MissingDataError", "Program", "all_cases", "case_named", "register"]

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

OURS = "lsst-meas-cosmicrays"

Inputs = dict[str, np.ndarray]


class MissingDataError(RuntimeError):
    """Input that is not part of the project, and is not there."""


@dataclass(frozen=True)
class Program:
    """One way to get an answer."""

    name: str
    """Name in the table."""

    prepare: Callable[[Inputs, int], Callable[[], object]]
    """Takes inputs and a number of threads, imports what it needs, and
    returns what is timed: a function that returns an array or several."""

    package: str = OURS
    """Distribution that it is from, for its version."""


@dataclass(frozen=True)
class Case:
    """Programs to run side by side."""

    name: str
    """Name to choose it by."""

    title: str
    """Line above it in the table."""

    make_inputs: Callable[[tuple[int, int]], Inputs]
    """Takes a shape and returns arrays by name; may raise
    `MissingDataError`."""

    programs: tuple[Program, ...]
    """The original last: all others are compared with it."""

    remark: str = ""
    """What the reader must know, such as an original that is left out."""

    measure_first_call: bool = False
    """Whether to measure what its first program costs when first called."""


_cases: dict[str, Case] = {}


def register(case: Case) -> None:
    """Add a case.

    Parameters
    ----------
    case : `Case`
        Case with a name of its own.

    Raises
    ------
    ValueError
        Raised if the name is taken.
    """
    if case.name in _cases:
        raise ValueError(f"there are two benchmark cases named {case.name}")
    _cases[case.name] = case


def all_cases() -> list[Case]:
    """Return all cases in the order in which they were registered.

    Returns
    -------
    cases : `list` [`Case`]
        The cases.
    """
    import cases  # noqa: F401

    return list(_cases.values())


def case_named(name: str) -> Case:
    """Return a case.

    Parameters
    ----------
    name : `str`
        Its name.

    Returns
    -------
    case : `Case`
        The case.
    """
    return next(case for case in all_cases() if case.name == name)
