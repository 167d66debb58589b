# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Predict single pixels from two on each side of them."""

from __future__ import annotations

__all__ = ["MIN_OF_TWO", "NEAR_AND_FAR", "predict"]

import numpy as np

from .planes import as_bool_plane, as_float_plane, check_real

NEAR_AND_FAR = {
    (0, 1): (0.7737, -0.2737),
    (1, 0): (0.7737, -0.2737),
    (1, 1): (0.7358, -0.2358),
    (-1, 1): (0.7358, -0.2358),
}
"""Weights of the nearer and the farther pixel of each side, by the step (y, x)
from one pixel to the next: the linear prediction, without noise and with
weights that add up to one, of an image whose PSF is a Gaussian of sigma 1
pixel along rows and columns, and 1/sqrt(2) steps along diagonals.
"""

MIN_OF_TWO = -0.5641895835
"""Mean of the smaller of two numbers drawn from a normal distribution."""

LOWEST = 2.0
REACH = 2


def predict(
    image: np.ndarray,
    variance: np.ndarray,
    holes: np.ndarray,
    sky: float,
    unusable: np.ndarray | None = None,
    *,
    debias: bool = True,
) -> np.ndarray:
    """Predict pixels from those beyond them, in four directions.

    Parameters
    ----------
    image, variance : `numpy.ndarray`, (ny, nx)
        Image, in any unit, and its variance.  Not changed.
    holes : `numpy.ndarray`, (ny, nx), bool
        Pixels to predict; their own values and variances do not matter.
    sky : `float`
        Level of the sky, in the unit of the image.
    unusable : `numpy.ndarray`, (ny, nx), bool, optional
        Other pixels from which nothing is to be taken.  Pixels whose value
        or variance is not finite never are.
    debias : `bool`, optional
        Add what the smaller of two values is too small by?

    Returns
    -------
    values : `numpy.ndarray`, (n,), float32
        Predictions of the holes in scan order, in the unit of the image; NaN
        where there is none.

    Raises
    ------
    TypeError, ValueError
        Raised if the arrays are of other types, or their shapes differ.

    Notes
    -----
    This is what ``RemoveCR`` in ``CR.cc`` of ``lsst.meas.algorithms`` sets
    out to do, and did in the photometric pipeline of SDSS.  Along the row,
    the column and both diagonals a pixel is predicted from two pixels on
    either side, if all four are good.  Of the predictions that are not more
    than two sigma below the sky the smallest is taken, since neighbours may
    have charge of the same cosmic ray; where there was a choice, what the
    smaller of two values is too small by is added.

    Two things differ.  In the original a test of the mask is always true, so
    that it predicts no pixel at all.  And it takes the noise from the pixel
    itself, whose variance has the charge of the cosmic ray in it, and draws
    at random what it adds to undo the bias; here the noise is that of the
    four neighbours.
    """
    image = as_float_plane("image", image)
    variance = as_float_plane("variance", variance, image.shape)
    holes = as_bool_plane("holes", holes, image.shape)
    sky = check_real("sky", sky)
    usable = np.isfinite(image) & np.isfinite(variance) & (variance >= 0.0) & ~holes
    if unusable is not None:
        usable &= ~as_bool_plane("unusable", unusable, image.shape)
    pixels, noise, good = (np.pad(plane, REACH) for plane in (image, variance, usable))
    y, x = (index + REACH for index in np.nonzero(holes))
    best = np.full(y.size, np.inf)
    best_noise = np.zeros(y.size)
    n_choices = np.zeros(y.size, dtype=np.int8)
    for (dy, dx), weights in NEAR_AND_FAR.items():
        places = [(y + step * dy, x + step * dx) for step in (-1, 1, -2, 2)]
        here = np.flatnonzero(np.all([good[place] for place in places], axis=0))
        near, near_too, far, far_too = ((rows[here], columns[here]) for rows, columns in places)
        value = weights[0] * (pixels[near].astype(np.float64) + pixels[near_too]) + weights[1] * (
            pixels[far].astype(np.float64) + pixels[far_too]
        )
        sigma = np.sqrt(np.mean([noise[place] for place in (near, near_too, far, far_too)], axis=0))
        acceptable = value > sky - LOWEST * sigma
        here, value, sigma = here[acceptable], value[acceptable], sigma[acceptable]
        n_choices[here] += 1
        smaller = value < best[here]
        best[here[smaller]], best_noise[here[smaller]] = value[smaller], sigma[smaller]
    if debias:
        best -= np.where(n_choices > 1, MIN_OF_TWO * best_noise, 0.0)
    return np.where(n_choices > 0, best, np.nan).astype(np.float32)
