# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checking the arguments of engines, and sharing rows among threads."""

from __future__ import annotations

__all__ = [
    "as_bool_plane",
    "as_float_plane",
    "check_count",
    "check_real",
    "in_strips",
]

import math
import operator
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from numbers import Real
from typing import SupportsIndex, cast

import numpy as np


def as_float_plane(name: str, plane: np.ndarray, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Return a plane of numbers as compiled code wants it.

    Parameters
    ----------
    name : `str`
        Name of the argument, for messages.
    plane : `numpy.ndarray`, (ny, nx)
        Real numbers of any type, byte order and memory layout.
    shape : `tuple` [`int`, `int`], optional
        Shape that the plane must have, that of the image.

    Returns
    -------
    plane : `numpy.ndarray`, (ny, nx), float32
        Read-only, contiguous; the same memory where the argument allows.

    Raises
    ------
    TypeError
        Raised if the plane is no array of real numbers.
    ValueError
        Raised if the plane is empty, not two-dimensional, or of another shape.
    """
    if not isinstance(plane, np.ndarray) or plane.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be a numpy array of real numbers, not {_type_of(plane)}")
    _check_shape(name, plane, shape)
    with np.errstate(over="ignore", invalid="ignore"):
        return _read_only(np.ascontiguousarray(plane, dtype=np.float32))


def as_bool_plane(name: str, plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a plane of flags as compiled code wants it.

    Parameters
    ----------
    name : `str`
        Name of the argument, for messages.
    plane : `numpy.ndarray`, (ny, nx), bool
        Flags.
    shape : `tuple` [`int`, `int`]
        Shape that the plane must have, that of the image.

    Returns
    -------
    plane : `numpy.ndarray`, (ny, nx), bool
        Read-only, contiguous; the same memory where the argument allows.

    Raises
    ------
    TypeError
        Raised if the plane is no array of bool.
    ValueError
        Raised if the plane has another shape.
    """
    if not isinstance(plane, np.ndarray) or plane.dtype.kind != "b":
        raise TypeError(f"{name} must be a numpy array of bool, not {_type_of(plane)}")
    _check_shape(name, plane, shape)
    return _read_only(np.ascontiguousarray(plane))


def check_real(name: str, value: object, *, minimum: float = -math.inf) -> float:
    """Return a finite number that is not below a minimum.

    Parameters
    ----------
    name : `str`
        Name of the argument, for messages.
    value : `object`
        Number to check.
    minimum : `float`, optional
        Smallest number allowed.

    Returns
    -------
    value : `float`
        The number.

    Raises
    ------
    TypeError
        Raised if the value is not a real number.
    ValueError
        Raised if the value is not finite, or below the minimum.
    """
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number, not {_type_of(value)}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, not {number}")
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum:g}, not {number:g}")
    return number


def check_count(name: str, value: object, *, minimum: int = 0) -> int:
    """Return an integer that is not below a minimum.

    Parameters
    ----------
    name : `str`
        Name of the argument, for messages.
    value : `object`
        Number to check.
    minimum : `int`, optional
        Smallest number allowed.

    Returns
    -------
    value : `int`
        The number.

    Raises
    ------
    TypeError
        Raised if the value is not an integer.
    ValueError
        Raised if the value is below the minimum.
    """
    try:
        number = operator.index(cast(SupportsIndex, value))
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {_type_of(value)}") from None
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, not {number}")
    return number


def in_strips[Result](
    work: Callable[[int, int], Result], start: int, stop: int, threads: int
) -> list[Result]:
    """Call a function on strips of rows, each in a thread of its own.

    Plain threads rather than numba's, which may neither be forked nor called
    from two threads; the function must release the interpreter lock to gain
    anything.

    Parameters
    ----------
    work : `~collections.abc.Callable`
        Called with the first row of a strip and the one after its last.
    start, stop : `int`
        First row, and the one after the last.
    threads : `int`
        Number of strips, and of threads; no more than there are rows.

    Returns
    -------
    results : `list`
        What ``work`` returned, from the first strip to the last.
    """
    n_strips = max(min(threads, stop - start), 1)
    edges = [start + (stop - start) * i // n_strips for i in range(n_strips + 1)]
    if n_strips == 1:
        return [work(start, stop)]
    with ThreadPoolExecutor(n_strips) as pool:
        return list(pool.map(work, edges[:-1], edges[1:]))


def _check_shape(name: str, plane: np.ndarray, shape: tuple[int, int] | None) -> None:
    if plane.ndim != 2 or plane.size == 0:
        raise ValueError(f"{name} must have two dimensions and at least one pixel, not shape {plane.shape}")
    if shape is not None and plane.shape != shape:
        raise ValueError(f"{name} must have the shape of the image, {shape}, not {plane.shape}")


def _read_only(plane: np.ndarray) -> np.ndarray:
    """View that numba sees as one type, whether the original is writable."""
    view = plane.view()
    view.flags.writeable = False
    return view


def _type_of(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    return f"{type(value).__name__} {value!r}"
