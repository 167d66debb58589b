# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arguments of L.A.Cosmic: what is accepted, and what it means.

Refused are, besides wrong types and shapes: limits (``sigclip``, ``sigfrac``,
``objlim``) and a read noise that are negative or NaN, a gain that is not
positive and finite, a saturation level that is NaN, a negative number of
iterations, and names that are not among the choices.  What concerns the PSF is
looked at only where it is used.
"""

from __future__ import annotations

__all__ = ["Parameters", "as_plane", "check_parameters"]

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..planes import check_count
from .clean import CLEAN_TYPES
from .kernels import PSF_MODELS, psf_kernel
from .steps import Rule

FINE_STRUCTURE_MODES = ("median", "convolve")
"""Ways of finding the fine structure."""


class Parameters(NamedTuple):
    """Parameters of L.A.Cosmic, in single precision as in astroscrappy."""

    rule: Rule
    """Which filters are used, and what makes a CR pixel."""

    clean_type: str
    """How CR pixels are cleaned."""

    n_iterations: int
    """Greatest number of iterations."""

    gain: np.float32
    """Electrons per adu."""

    readnoise: np.float32
    """Read noise, electrons."""

    saturation: np.float32
    """Level of saturated pixels, electrons."""

    n_threads: int
    """Greatest number of threads."""


def as_plane(name: str, plane: ArrayLike, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return an array of real numbers.

    Parameters
    ----------
    name : `str`
        Name of the argument, for messages.
    plane : `~numpy.typing.ArrayLike`, (ny, nx)
        Argument.
    shape : `tuple` [`int`, `int`], optional
        Shape that it must have, that of the image.

    Returns
    -------
    plane : `numpy.ndarray`, (ny, nx)
        The argument as an array.

    Raises
    ------
    TypeError
        Raised if it does not hold real numbers.
    ValueError
        Raised if it is empty, not two-dimensional, or of another shape.
    """
    array = np.asarray(plane)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of real numbers, not of {array.dtype}")
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must have two dimensions and at least one pixel, not shape {array.shape}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have the shape of indat, {shape}, not {array.shape}")
    return array


def check_parameters(
    *,
    sigclip: float,
    sigfrac: float,
    objlim: float,
    gain: float,
    readnoise: float,
    satlevel: float,
    niter: int,
    sepmed: bool,
    cleantype: str,
    fsmode: str,
    psfmodel: str,
    psffwhm: float,
    psfsize: int,
    psfk: ArrayLike | None,
    psfbeta: float,
    n_threads: int,
) -> Parameters:
    """Check arguments of `detect_cosmics`, and convert them.

    Parameters
    ----------
    sigclip, sigfrac, objlim, gain, readnoise, satlevel : `float`
        As for `detect_cosmics`.
    niter, sepmed, cleantype, fsmode, psfmodel, psffwhm, psfsize
        As for `detect_cosmics`.
    psfk, psfbeta, n_threads
        As for `detect_cosmics`.

    Returns
    -------
    parameters : `Parameters`
        The same for compiled code.

    Raises
    ------
    TypeError
        Raised if one has the wrong type; the message names it.
    ValueError
        Raised if one has a value that makes no sense; the message names it.
    """
    limit = _single("sigclip", sigclip, minimum=0)
    fraction = _single("sigfrac", sigfrac, minimum=0, finite=True)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        neighbour_limit = fraction * limit
    _check_choice("fsmode", fsmode, FINE_STRUCTURE_MODES)
    kernel = np.empty((0, 0), dtype=np.float32)
    if fsmode == "convolve":
        kernel = _kernel(psfmodel, psffwhm, psfsize, psfbeta) if psfk is None else _given_kernel(psfk)
    return Parameters(
        Rule(
            _boolean("sepmed", sepmed),
            kernel,
            limit,
            neighbour_limit,
            _single("objlim", objlim, minimum=0),
        ),
        _check_choice("cleantype", cleantype, CLEAN_TYPES),
        check_count("niter", niter),
        _positive("gain", gain),
        _single("readnoise", readnoise, minimum=0, finite=True),
        _single("satlevel", satlevel),
        check_count("n_threads", n_threads, minimum=1),
    )


def _single(name: str, value: Any, *, minimum: float = -math.inf, finite: bool = False) -> np.float32:
    """Return a number in single precision; none may be NaN."""
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number, not {value!r}")
    with np.errstate(over="ignore", under="ignore"):
        number = np.float32(value)
    if not number >= minimum:
        least = "not NaN" if minimum == -math.inf else f"at least {minimum:g}, not {value}"
        raise ValueError(f"{name} must be {least}")
    if finite and not np.isfinite(number):
        raise ValueError(f"{name} must be finite, not {value}")
    return number


def _positive(name: str, value: float) -> np.float32:
    number = _single(name, value, minimum=0, finite=True)
    if number == 0:
        raise ValueError(f"{name} must be positive, not {value}")
    return number


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_, int)):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return bool(value)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {value!r}")
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value


def _kernel(model: str, fwhm: float, size: int, beta: float) -> np.ndarray:
    _check_choice("psfmodel", model, PSF_MODELS)
    exponent = _positive("psfbeta", beta) if model == "moffat" else np.float32(1)
    return psf_kernel(model, _positive("psffwhm", fwhm), check_count("psfsize", size, minimum=1), exponent)


def _given_kernel(kernel: ArrayLike) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(as_plane("psfk", kernel), dtype=np.float32)
