# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CR finder of the LSST stack: sharp pixels, joined and grown."""

from __future__ import annotations

__all__ = ["CosmicRaySearch", "TooManyCosmicRaysError", "find_cosmic_rays", "search_cosmic_rays"]

from dataclasses import dataclass
from functools import partial
from numbers import Real

import numpy as np

from .gsl_random import gaussian_sequence
from .morphological_kernels import Frame, Rule, drop_faint, grow, link, replace, scan, select_candidates
from .planes import as_bool_plane, as_float_plane, check_count, check_real, in_strips


class TooManyCosmicRaysError(ValueError):
    """There are more CR pixels than allowed.

    Parameters
    ----------
    limit : `int`
        Greatest number of CR pixels allowed.
    count : `int`
        Number of CR pixels counted when the limit was passed.

    Attributes
    ----------
    limit, count : `int`
        The parameters.
    """

    def __init__(self, limit: int, count: int) -> None:
        super().__init__(
            f"found {count} CR pixels, more than n_cr_pixel_max = {limit}; "
            "look for a satellite trail, a wrong variance plane or a wrong PSF, or raise the limit"
        )
        self.limit = limit
        self.count = count

    def __reduce__(self) -> tuple[type[TooManyCosmicRaysError], tuple[int, int]]:
        return type(self), (self.limit, self.count)


@dataclass(frozen=True, eq=False)
class CosmicRaySearch:
    """What a search found, and how to take it out of the image."""

    mask: np.ndarray
    """CR pixels, (ny, nx) bool."""

    n_footprints: int
    """Number of CRs, the ``cosmic_ray_count`` of ``RepairTask``.  After
    growing some may overlap, so that the mask can have fewer components."""

    replacement: np.ndarray
    """New values of the CR pixels in scan order, float32, in the unit of the
    image: ``image[mask] = replacement`` takes the CRs out."""


def find_cosmic_rays(
    image: np.ndarray,
    variance: np.ndarray,
    bad: np.ndarray,
    interpolated: np.ndarray,
    kernel: np.ndarray,
    background: float,
    *,
    min_sigma: float = 6.0,
    min_dn: float = 150.0,
    cond3_fac: float = 2.0,
    cond3_fac2: float = 0.35,
    n_iteration: int = 6,
    n_cr_pixel_max: int = 1_000_000,
    threads: int = 1,
) -> np.ndarray:
    """Find CR pixels as ``lsst.meas.algorithms.findCosmicRays`` does.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx)
        Image with its sky, in the unit of ``min_dn`` (electrons, or whatever
        the exposure has).  Not changed.  Used as float32.
    variance : `numpy.ndarray`, (ny, nx)
        Variance of the pixels, in the square of that unit.
    bad : `numpy.ndarray`, (ny, nx), bool
        Pixels that start no CR: BAD, SATURATED, INTERPOLATED or NO_DATA.
        CRs may grow into them.
    interpolated : `numpy.ndarray`, (ny, nx), bool
        Pixels whose neighbours start no CR either: INTERPOLATED.
    kernel : `numpy.ndarray`, (2 * m + 1, 2 * n + 1)
        PSF, centred, of any normalisation; at least 3x3.  It may be larger
        than the image.
    background : `float`
        Level of the sky, see `~lsst.meas.cosmicrays.engines.background`.  If
        it is not finite nothing is found.
    min_sigma : `float`, optional
        How many standard deviations a CR pixel is above the mean of two
        opposite neighbours, for at least one of the four pairs.  If negative,
        its absolute value is a threshold for the pixel itself, in the unit of
        the image and with its sky.
    min_dn : `float`, optional
        Least sum over a CR above the sky, before it grows.
    cond3_fac : `float`, optional
        Standard deviations by which pixel and neighbours may err in the
        comparison with the PSF.
    cond3_fac2 : `float`, optional
        Factor on the ratio of neighbours to centre in the PSF below which a
        pixel is too sharp for a star.
    n_iteration : `int`, optional
        Greatest number of times that CRs grow, with half of ``min_sigma`` and
        no ``cond3_fac``.
    n_cr_pixel_max : `int`, optional
        Greatest number of CR pixels.
    threads : `int`, optional
        Threads to use; the result does not depend on it.

    Returns
    -------
    mask : `numpy.ndarray`, (ny, nx), bool
        CR pixels.

    Raises
    ------
    TooManyCosmicRaysError
        Raised if there are more than ``n_cr_pixel_max`` CR pixels, counted as
        the original counts.
    TypeError
        Raised if an argument has the wrong type; the message names it.
    ValueError
        Raised if an argument has the wrong shape or a value that makes no
        sense; the message names it.

    Notes
    -----
    The algorithm is R. Lupton's for the photometric pipeline of the SDSS, as
    it stands in meas_algorithms (CR.cc, 2026), pixel by pixel the same:

    1. In scan order, a pixel that is high enough above its neighbours and
       sharper than the PSF, and neither bad nor next to an interpolated one,
       is a CR pixel and at once replaced by the mean of the neighbours that
       convicted it, which makes the next ones easier to convict.
    2. CR pixels that touch are one CR; faint CRs are dropped.
    3. CRs are replaced by sky and noise. (The original means to interpolate
       first, but combines its masks in a way that finds no neighbour usable,
       ever.  So every replaced pixel gets a random number, and what grows
       next to it hangs on that number.  The original's generator starts anew
       each time, and `.gsl_random` draws the same numbers, so that neither
       mask nor pixels differ from the original's.)
    4. The neighbours of every CR are tried again with lower thresholds, and
       those that pass added and replaced, CR by CR, several times.

    Pixels on the edge of the image are never CR pixels.  A NaN pixel is never
    one; +inf is.  Where the variance is negative or NaN the original asks
    nothing of the height, and neither does this.  On images of fewer than five
    columns the original reads beyond the image; here, CRs do not grow out of
    it.
    """
    search = search_cosmic_rays(
        image,
        variance,
        bad,
        interpolated,
        kernel,
        background,
        min_sigma=min_sigma,
        min_dn=min_dn,
        cond3_fac=cond3_fac,
        cond3_fac2=cond3_fac2,
        n_iteration=n_iteration,
        n_cr_pixel_max=n_cr_pixel_max,
        threads=threads,
    )
    return search.mask


def search_cosmic_rays(
    image: np.ndarray,
    variance: np.ndarray,
    bad: np.ndarray,
    interpolated: np.ndarray,
    kernel: np.ndarray,
    background: float,
    *,
    min_sigma: float = 6.0,
    min_dn: float = 150.0,
    cond3_fac: float = 2.0,
    cond3_fac2: float = 0.35,
    n_iteration: int = 6,
    n_cr_pixel_max: int = 1_000_000,
    keep: bool = True,
    threads: int = 1,
) -> CosmicRaySearch:
    """Find CR pixels, and what to put in their place.

    Parameters
    ----------
    image, variance, bad, interpolated, kernel, background
        As for `find_cosmic_rays`.
    min_sigma, min_dn, cond3_fac, cond3_fac2, n_iteration, n_cr_pixel_max
        As for `find_cosmic_rays`.
    keep : `bool`, optional
        Whether to count as the original does where it leaves CRs in the
        image (its ``keep``, the ``keepCRs`` of ``RepairTask``): pixels added
        to CRs then count about twice toward ``n_cr_pixel_max``.  Changes
        nothing else.
    threads : `int`, optional
        As for `find_cosmic_rays`.

    Returns
    -------
    search : `CosmicRaySearch`
        CR pixels, number of CRs, and the values that the original writes into
        these pixels where it removes CRs.

    Raises
    ------
    TooManyCosmicRaysError
        Raised as by `find_cosmic_rays`.
    TypeError, ValueError
        Raised as by `find_cosmic_rays`.

    Notes
    -----
    A new value is the background plus a Gaussian random number times the
    square root of the pixel's variance; NaN where that is negative or NaN.
    The original also sets the plane INTERPOLATED on the pixels it replaces.
    """
    frame = _new_frame(image, variance)
    shape = frame.image.shape
    bad = as_bool_plane("bad", bad, shape)
    interpolated = as_bool_plane("interpolated", interpolated, shape)
    rule = _make_rule(kernel, background, min_sigma, cond3_fac, cond3_fac2)
    min_dn = check_real("min_dn", min_dn)
    n_iteration = check_count("n_iteration", n_iteration)
    limit = check_count("n_cr_pixel_max", n_cr_pixel_max)
    check_count("threads", threads, minimum=1)

    candidates = np.concatenate(
        in_strips(partial(select_candidates, frame, rule), 1, max(shape[0] - 1, 1), threads)
    )
    found = scan(frame, candidates, bad, interpolated, rule)
    if found.size > limit:
        raise TooManyCosmicRaysError(limit, found.size)
    frame.replaced.ravel()[found] = False
    pixels, starts = drop_faint(frame.image, *link(found, shape[1]), rule.background, min_dn)
    replace(frame, pixels, starts, rule.background, gaussian_sequence(pixels.size))
    lenient = rule._replace(min_sigma=rule.min_sigma / 2, cond3_fac=0.0)
    pixels, starts, n_over = grow(frame, pixels, starts, lenient, n_iteration, found.size + 1, limit, keep)
    if n_over > limit:
        raise TooManyCosmicRaysError(limit, n_over)
    replace(frame, pixels, starts, rule.background, gaussian_sequence(pixels.size))
    return CosmicRaySearch(frame.replaced, starts.size - 1, frame.values[frame.replaced])


def _new_frame(image: np.ndarray, variance: np.ndarray) -> Frame:
    """Frame with nothing replaced.

    Its new planes take memory only where they are written to.
    """
    image = as_float_plane("image", image)
    variance = as_float_plane("variance", variance, image.shape)
    return Frame(image, variance, np.empty_like(image), np.zeros(image.shape, dtype=bool))


def _make_rule(
    kernel: np.ndarray, background: object, min_sigma: object, cond3_fac: object, cond3_fac2: object
) -> Rule:
    if not isinstance(background, Real):
        raise TypeError(f"background must be a real number, not {background!r}")
    factor = check_real("cond3_fac2", cond3_fac2, minimum=0)
    psf = _checked_kernel(kernel)
    y, x = psf.shape[0] // 2, psf.shape[1] // 2
    peak = psf[y, x]
    corners = psf[y - 1, x - 1] + psf[y + 1, x + 1] + psf[y + 1, x - 1] + psf[y - 1, x + 1]
    return Rule(
        min_sigma=check_real("min_sigma", min_sigma),
        cond3_fac=check_real("cond3_fac", cond3_fac, minimum=0),
        vertical=float(factor * (0.5 * (psf[y - 1, x] + psf[y + 1, x])) / peak),
        horizontal=float(factor * (0.5 * (psf[y, x - 1] + psf[y, x + 1])) / peak),
        diagonal=float(factor * (0.25 * corners) / peak),
        background=float(background),
    )


def _checked_kernel(kernel: np.ndarray) -> np.ndarray:
    if not isinstance(kernel, np.ndarray) or kernel.dtype.kind not in "fiu":
        raise TypeError(f"kernel must be a numpy array of real numbers, not {kernel!r}")
    if kernel.ndim != 2 or min(kernel.shape) < 3 or not all(size % 2 for size in kernel.shape):
        raise ValueError(f"kernel must have two odd dimensions of at least 3, not shape {kernel.shape}")
    psf = kernel.astype(np.float64)
    if not np.isfinite(psf).all():
        raise ValueError("kernel must be finite everywhere")
    if not psf[psf.shape[0] // 2, psf.shape[1] // 2] > 0:
        raise ValueError("kernel must be positive at its centre")
    return psf
