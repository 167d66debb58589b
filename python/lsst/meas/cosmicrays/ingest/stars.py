# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding the stars of an image."""

from __future__ import annotations

__all__ = ("SIGMA_TO_FWHM", "StarList", "find_stars", "of_common_size", "subtract_sky")

import dataclasses

import galsim
import numpy as np
import sep

SIGMA_TO_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
"""FWHM of a Gaussian of unit standard deviation."""

_SKY_MESH = 64
_DETECTION_SIGMA = 5.0
_HIGHER = 2.0
_MIN_SNR = 30.0
_MIN_FWHM = 1.3
_MAX_ELONGATION = 1.6
_CLUMP_WIDTH = 0.2


@dataclasses.dataclass(frozen=True, eq=False)
class StarList:
    """Objects of an image that may be stars.

    Parameters
    ----------
    x, y
        Centroids in pixels, `float64` of shape (n,), brightest first.
    flux
        Fluxes, in the unit of the image.
    fwhm
        FWHM of the Gaussian that fits best, in pixels.
    segments
        Number of the object that each pixel belongs to, 0 for none, `int32`
        of shape (ny, nx).
    numbers
        Number of each object in ``segments``.
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    fwhm: np.ndarray
    segments: np.ndarray
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def select(self, chosen: np.ndarray) -> StarList:
        """Return some of the stars.

        Parameters
        ----------
        chosen
            Index array or mask.

        Returns
        -------
        stars : `StarList`
            The chosen stars.
        """
        return dataclasses.replace(
            self,
            **{name: getattr(self, name)[chosen] for name in ("x", "y", "flux", "fwhm", "numbers")},
        )

    def without_segments(self) -> StarList:
        """Return the stars without the image of their segments.

        Returns
        -------
        stars : `StarList`
            The same stars, in little memory.
        """
        return dataclasses.replace(self, segments=np.empty((0, 0), dtype=np.int32))


def subtract_sky(image: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Subtract the sky for the purpose of measuring stars.

    Parameters
    ----------
    image
        Pixels, shape (ny, nx).
    bad
        Pixels without a usable value, `bool`.

    Returns
    -------
    subtracted : `numpy.ndarray` [`float32`]
        Pixels without the sky, 0 where they are bad.
    """
    filled = np.where(bad, 0.0, image).astype(np.float32)
    sky = sep.Background(filled, mask=bad, bw=_SKY_MESH, bh=_SKY_MESH).back()
    return np.where(bad, 0.0, filled - sky).astype(np.float32)


def find_stars(image: np.ndarray, variance: np.ndarray, bad: np.ndarray) -> StarList:
    """Find bright, round, unblended, unsaturated objects.

    Parameters
    ----------
    image, variance
        Pixels without sky (see `subtract_sky`) and their variance, shape
        (ny, nx).
    bad
        Pixels without a usable value, `bool`.

    Returns
    -------
    stars : `StarList`
        Objects of a signal-to-noise ratio of at least 30.  The faint and
        sharp ones among them may be cosmic rays.
    """
    sigma = np.sqrt(np.where(bad, 1.0, np.maximum(variance, 0.0))).astype(np.float32)
    objects, segments = _extract(image, sigma, bad)
    noise = np.sqrt(objects["npix"]) * np.median(sigma[~bad])
    plausible = (
        (objects["flux"] > _MIN_SNR * noise)
        & (objects["a"] < _MAX_ELONGATION * objects["b"])
        & ~_touches(segments, objects, bad)
    )
    order = np.flatnonzero(plausible)[np.argsort(-objects["flux"][plausible], kind="stable")]
    fwhm = np.array([_adaptive_fwhm(image, segments, objects, index) for index in order])
    order, fwhm = order[fwhm > _MIN_FWHM], fwhm[fwhm > _MIN_FWHM]
    return StarList(
        x=objects["x"][order],
        y=objects["y"][order],
        flux=objects["flux"][order],
        fwhm=fwhm,
        segments=segments,
        numbers=order + 1,
    )


def _extract(image: np.ndarray, sigma: np.ndarray, bad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Detect objects; where they are so crowded that one group of them has
    more parts than ``sep`` can take, only those that stand higher.
    """
    threshold, n_active = _DETECTION_SIGMA, max(300_000, image.size // 4)
    while True:
        sep.set_extract_pixstack(n_active)
        try:
            return sep.extract(image, threshold, err=sigma, mask=bad, minarea=5, segmentation_map=True)
        except Exception as error:  # sep raises nothing more special.
            if "pixel buffer full" in str(error) and n_active < 2 * image.size:
                n_active = 2 * image.size
            elif "deblending overflow" in str(error):
                threshold *= _HIGHER
            else:
                raise


def of_common_size(stars: StarList, fwhm: float | None = None) -> StarList:
    """Keep the objects near the most common, or the given, size.

    Parameters
    ----------
    stars
        Objects that may be stars.
    fwhm
        FWHM of the PSF in pixels, where it is known.

    Returns
    -------
    stars : `StarList`
        The stars among them, brightest first.
    """
    if len(stars) == 0:
        return stars
    if fwhm is None:
        logs = np.log(stars.fwhm)
        neighbours = (np.abs(logs[:, None] - logs[None, :]) < _CLUMP_WIDTH / 2).sum(axis=1)
        centre = logs[np.abs(logs - logs[np.argmax(neighbours)]) < _CLUMP_WIDTH / 2]
        fwhm = float(np.exp(np.median(centre)))
    near = np.abs(np.log(stars.fwhm / fwhm)) < _CLUMP_WIDTH
    return stars.select(np.flatnonzero(near))


def _touches(segments: np.ndarray, objects: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Say which objects touch bad pixels, the edge, or each other."""
    ny, nx = segments.shape
    touching = (objects["flag"] & ~sep.OBJ_MERGED) != 0
    touching |= (objects["xmin"] < 2) | (objects["ymin"] < 2)
    touching |= (objects["xmax"] > nx - 3) | (objects["ymax"] > ny - 3)
    for index in np.flatnonzero(~touching):
        box = (
            slice(objects["ymin"][index] - 2, objects["ymax"][index] + 3),
            slice(objects["xmin"][index] - 2, objects["xmax"][index] + 3),
        )
        touching[index] = bool(bad[box].any())
    return touching


def _adaptive_fwhm(image: np.ndarray, segments: np.ndarray, objects: np.ndarray, index: int) -> float:
    """Return the FWHM by adaptive moments (Hirata & Seljak 2003), or 0."""
    x, y = objects["x"][index], objects["y"][index]
    half = int(np.ceil(4.0 * max(1.5, objects["a"][index])))
    ny, nx = image.shape
    x0, x1 = max(0, round(x) - half), min(nx, round(x) + half + 1)
    y0, y1 = max(0, round(y) - half), min(ny, round(y) + half + 1)
    own = np.isin(segments[y0:y1, x0:x1], (0, index + 1))
    stamp = galsim.Image(image[y0:y1, x0:x1].astype(np.float64), xmin=x0, ymin=y0)
    weight = galsim.Image(own.astype(np.int32), xmin=x0, ymin=y0)
    moments = galsim.hsm.FindAdaptiveMom(
        stamp,
        weight=weight,
        guess_sig=max(1.0, float(objects["a"][index])),
        guess_centroid=galsim.PositionD(x, y),
        strict=False,
    )
    if moments.moments_status != 0:
        return 0.0
    if np.hypot(moments.moments_centroid.x - x, moments.moments_centroid.y - y) > 1.5:
        return 0.0
    return float(moments.moments_sigma * SIGMA_TO_FWHM)
