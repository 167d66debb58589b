# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""L.A.Cosmic with the arguments and the answer of astroscrappy, but fast."""

from __future__ import annotations

__all__ = ["detect_cosmics"]

import os
from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import ArrayLike

from .arguments import Parameters, as_plane, check_parameters
from .cleaned import nothing_cleaned
from .compiled import read_only
from .frame import COSMIC_RAY, HEIGHT, Frame
from .mask import find_reaching, set_mask
from .search import Search
from .threads import Threads

NO_SKY = np.empty((0, 0), dtype=np.float32)


def detect_cosmics(
    indat: ArrayLike,
    inmask: ArrayLike | None = None,
    inbkg: ArrayLike | None = None,
    invar: ArrayLike | None = None,
    sigclip: float = 4.5,
    sigfrac: float = 0.3,
    objlim: float = 5.0,
    gain: float = 1.0,
    readnoise: float = 6.5,
    satlevel: float = 65536.0,
    niter: int = 4,
    sepmed: bool = True,
    cleantype: str = "meanmask",
    fsmode: str = "median",
    psfmodel: str = "gauss",
    psffwhm: float = 2.5,
    psfsize: int = 7,
    psfk: ArrayLike | None = None,
    psfbeta: float = 4.765,
    verbose: bool = False,
    *,
    n_threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find cosmic rays (CRs) with L.A.Cosmic, and clean them.

    A drop-in replacement of ``astroscrappy.detect_cosmics``, version 1.3.

    Parameters
    ----------
    indat : `~numpy.typing.ArrayLike`, (ny, nx)
        Image with its sky, in adu.  Without the sky the noise that is
        computed from it is too low, and so it is if a sky that was subtracted
        is given neither by ``inbkg`` nor by ``invar``.  Not changed.
    inmask : `~numpy.typing.ArrayLike`, (ny, nx), optional
        Bad pixels: where true, and one pixel around, nothing is found or used
        to clean CRs.  True is what is not zero after conversion to uint8.
    inbkg : `~numpy.typing.ArrayLike`, (ny, nx), optional
        Sky and whatever else is smooth, in adu, which is in ``indat`` too.
        Subtracted before the search, and added again to the result.
    invar : `~numpy.typing.ArrayLike`, (ny, nx), optional
        Variance of the pixels, in adu^2; else it is computed from ``indat``
        and ``readnoise``.
    sigclip : `float`, optional
        Least significance of a CR pixel, in standard deviations.
    sigfrac : `float`, optional
        What neighbours of CR pixels need of it, as a fraction.
    objlim : `float`, optional
        Least ratio of the Laplacian of a CR pixel to its fine structure; more
        for fewer stars taken for CRs.
    gain : `float`, optional
        Electrons per adu.
    readnoise : `float`, optional
        Read noise, electrons.
    satlevel : `float`, optional
        Level, in electrons (``indat`` times ``gain``), at which a pixel is
        saturated; large groups of saturated pixels are masked.  May be
        infinite.
    niter : `int`, optional
        Greatest number of iterations.
    sepmed : `bool`, optional
        Whether to use separable medians, which are faster and not quite the
        same.
    cleantype : {'median', 'medmask', 'meanmask', 'idw'}, optional
        What replaces a CR pixel: of the good pixels among the 5x5 around it
        the median, the mean, or the mean weighted by the inverse distance.
        For ``median`` see the notes.
    fsmode : {'median', 'convolve'}, optional
        How the fine structure is found: with medians, or with a matched
        filter.
    psfmodel : {'gauss', 'gaussx', 'gaussy', 'moffat'}, optional
        PSF of the matched filter, if it is not given.
    psffwhm : `float`, optional
        Its full width at half maximum, pixels.
    psfsize : `int`, optional
        Side of its array, pixels.
    psfk : `~numpy.typing.ArrayLike`, (ky, kx), optional
        PSF of the matched filter.  Odd sides make sense.
    psfbeta : `float`, optional
        Exponent of the Moffat profile.
    verbose : `bool`, optional
        Whether to print a line for each iteration.
    n_threads : `int`, optional
        Greatest number of threads, on which the result does not depend.  By
        default as many as numba would use, or the number in the environment
        variable OMP_NUM_THREADS, which rules astroscrappy, if it is lower.

    Returns
    -------
    crmask : `numpy.ndarray`, (ny, nx), bool
        CR pixels.
    cleanarr : `numpy.ndarray`, (ny, nx), float32
        Image without the CRs, in adu.

    Raises
    ------
    TypeError
        Raised if an argument has the wrong type; the message names it.
    ValueError
        Raised if an argument has the wrong shape or a value that makes no
        sense; the message names it.

    Notes
    -----
    The algorithm is that of P. van Dokkum (2001, PASP 113, 1420) as it stands
    in astroscrappy 1.3.0 (C. McCully et al., doi:10.5281/zenodo.1482018):
    mask and image have the same bits for whatever astroscrappy accepts, NaN
    and infinite pixels included.  Exceptions:

    - For ``cleantype="median"`` astroscrappy fills but two of the 25 numbers
      of which it takes the median, and leaves the others to what was in the
      memory before.  Here they are zero, as in fresh memory: CR pixels become
      zero.  Use ``medmask``.
    - Images of fewer than four rows or columns, on which astroscrappy writes
      beyond its arrays, get what it computes as long as it survives.

    Some arguments that astroscrappy refuses are accepted: planes of any real
    type, byte order and memory layout (converted to float32 first, but for
    ``indat`` and ``inbkg``, which are first multiplied by the gain, as there),
    and kernels that are not float32.  Others that it accepts make no sense and
    are refused: see `~lsst.meas.cosmicrays.engines.lacosmic.arguments`.

    A pixel that is not finite is no CR pixel, but it spoils its surroundings;
    mask it.
    """
    image = as_plane("indat", indat)
    shape = image.shape
    mask = None if inmask is None else as_plane("inmask", inmask, shape)
    sky = None if inbkg is None else as_plane("inbkg", inbkg, shape)
    variance = None if invar is None else as_plane("invar", invar, shape)
    parameters = check_parameters(
        sigclip=sigclip,
        sigfrac=sigfrac,
        objlim=objlim,
        gain=gain,
        readnoise=readnoise,
        satlevel=satlevel,
        niter=niter,
        sepmed=sepmed,
        cleantype=cleantype,
        fsmode=fsmode,
        psfmodel=psfmodel,
        psffwhm=psffwhm,
        psfsize=psfsize,
        psfk=psfk,
        psfbeta=psfbeta,
        n_threads=_default_threads() if n_threads is None else n_threads,
    )
    with Threads(parameters.n_threads, shape) as threads:
        frame = _new_frame(image, mask, sky, variance, parameters, threads)
        search = Search(frame, parameters.rule, parameters.clean_type, threads)
        for i in range(parameters.n_iterations):
            n_new = search.iterate()
            if verbose:
                print(f"L.A.Cosmic, iteration {i + 1}: {n_new} new CR pixels")
            if n_new == 0:
                break
        return _result(frame, parameters.gain, threads)


def _default_threads() -> int:
    """Return the number of threads to use unless told otherwise."""
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    n_threads: int = numba.get_num_threads()
    return min(n_threads, int(limit)) if limit.isdecimal() and int(limit) > 0 else n_threads


def _new_frame(
    data: np.ndarray,
    mask: np.ndarray | None,
    background: np.ndarray | None,
    variance: np.ndarray | None,
    parameters: Parameters,
    threads: Threads,
) -> Frame:
    """Bring everything to electrons, and mask what is bad or saturated."""
    ny, nx = data.shape
    gain, readnoise = parameters.gain, parameters.readnoise
    saturation = parameters.saturation
    reaching = np.zeros(ny, dtype=np.bool_)
    image = _scaled(data, gain, threads, lambda *rows: find_reaching(*rows, saturation, reaching))
    flags = np.zeros(data.shape, dtype=np.uint8)
    set_mask(flags, image, mask, saturation, reaching, parameters.rule.separable, threads)
    sky = NO_SKY
    if background is not None:
        sky = background if _is_usable(background) and gain == 1 else _scaled(background, gain, threads)
        _combine(np.subtract, image, sky, image, threads)
    if variance is None:
        variance = np.empty(data.shape, dtype=np.float32)
        _combine(np.add, image, np.broadcast_to(readnoise * readnoise, data.shape), variance, threads)
    elif not (_is_usable(variance) and gain == 1 and background is None):
        with np.errstate(over="ignore", invalid="ignore"):
            variance = _scaled(variance.astype(np.float32, copy=False), gain * gain, threads)
        if background is not None:
            _combine(np.subtract, variance, sky, variance, threads)
    bounds = np.empty((-(-ny // HEIGHT), nx), dtype=np.float32)
    return Frame(image, flags, read_only(variance), read_only(sky), bounds, nothing_cleaned(ny, nx))


def _result(frame: Frame, gain: np.float32, threads: Threads) -> tuple[np.ndarray, np.ndarray]:
    """Return mask and image, in adu, in the memory of the frame."""
    image, flags = frame.image, frame.flags
    if frame.sky.size > 0:
        _combine(np.add, image, frame.sky, image, threads)
    if gain != 1:
        _combine(np.divide, image, np.broadcast_to(gain, image.shape), image, threads)
    mask = flags.view(np.bool_)
    threads.over_rows(
        lambda top, bottom: np.not_equal(flags[top:bottom] & COSMIC_RAY, 0, out=mask[top:bottom])
    )
    return mask, image


def _is_usable(plane: np.ndarray) -> bool:
    """Whether compiled code takes a plane as it is."""
    layout = plane.flags
    return plane.dtype == np.float32 and plane.dtype.isnative and layout.c_contiguous and layout.aligned


def _scaled(
    plane: np.ndarray,
    factor: np.float32,
    threads: Threads,
    look: Callable[[np.ndarray, int, int], None] | None = None,
) -> np.ndarray:
    """Multiply a plane, in its own precision, into a new one of float32.

    Something may look at the rows of that while they are near at hand.
    """
    product = np.empty(plane.shape, dtype=np.float32)

    @np.errstate(over="ignore", invalid="ignore", under="ignore")
    def multiply(top: int, bottom: int) -> None:
        np.multiply(plane[top:bottom], float(factor), out=product[top:bottom], casting="unsafe")
        if look is not None:
            look(product, top, bottom)

    threads.over_rows(multiply)
    return product


def _combine(
    operation: np.ufunc, first: np.ndarray, second: np.ndarray, result: np.ndarray, threads: Threads
) -> None:
    """Combine two planes of float32."""

    @np.errstate(over="ignore", invalid="ignore", under="ignore")
    def combine(top: int, bottom: int) -> None:
        operation(first[top:bottom], second[top:bottom], out=result[top:bottom])

    threads.over_rows(combine)
