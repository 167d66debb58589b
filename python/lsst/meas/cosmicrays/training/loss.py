# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The loss that is made small: cross entropy with weights for the sky.

In an image nearly every pixel is sky, and easy.  Xu et al. (2023, ApJ 942,
73) therefore start with a loss in which, among the pixels that are no cosmic
rays, only those near stars and galaxies count, and let the sky in slowly.
They know the scene from the median of three exposures.  Here there is one,
and its true cosmic rays are known: without them it is the scene.
"""

from __future__ import annotations

__all__ = ["background_weight", "median_weighted_loss", "scene_weight"]

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from ..engines.cosmic_conn.tiles import fill_bad_pixels

MAD_TO_SIGMA = 1.4826
CEILING_SIGMAS = 5.0
SMOOTHING_SIGMA = 2.0
SMOOTHING_RADIUS = 2


def scene_weight(pixels: npt.NDArray[np.float32], truth: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return how much of a star or galaxy there is in each pixel.

    Parameters
    ----------
    pixels : `numpy.ndarray`
        A tile less its sky, shape ``(size, size)``.
    truth : `numpy.ndarray` [`bool`]
        Its true cosmic rays, of the same shape.

    Returns
    -------
    weight : `numpy.ndarray`
        Between 0 (sky) and 1, of the same shape.

    Notes
    -----
    As in the original, the scene is limited to between one and five times
    the noise (here from the median absolute deviation), smoothed by a
    Gaussian of 5 x 5 pixels, and scaled to a maximum of 1.  Its absolute
    value is taken, so that in a difference image both sides of a dipole
    count.
    """
    scene = np.array(pixels, dtype=np.float32)
    near_truth = scipy.ndimage.binary_dilation(truth, np.ones((3, 3), dtype=bool))
    fill_bad_pixels(scene, near_truth, float(np.median(scene)))
    scene = np.abs(scene - np.median(scene))
    noise = MAD_TO_SIGMA * np.median(scene)
    weight = np.clip(scene, noise, CEILING_SIGMAS * noise) - noise
    weight = scipy.ndimage.gaussian_filter(weight, SMOOTHING_SIGMA, radius=SMOOTHING_RADIUS)
    largest = weight.max()
    return (weight / largest if largest > 0 else weight).astype(np.float32)


def background_weight(epoch: int, start: float, n_epochs: int) -> float:
    """Return the least weight of a pixel that is no cosmic ray.

    Parameters
    ----------
    epoch : `int`
        Number of the epoch, from 1.
    start : `float`
        Weight in the first epoch.
    n_epochs : `int`
        Number of epochs in which it rises evenly to 1; with 0 it is always
        1.

    Returns
    -------
    weight : `float`
        Between ``start`` and 1.
    """
    if n_epochs == 0:
        return 1.0
    return min(1.0, start + (1.0 - start) * (epoch - 1) / n_epochs)


def median_weighted_loss(logits: Any, truth: Any, usable: Any, weight: Any) -> Any:
    """Return the cross entropy, with a weight for what is no cosmic ray.

    Parameters
    ----------
    logits : ``torch.Tensor``
        Logarithm of the odds that a pixel is a cosmic ray.
    truth, usable : ``torch.Tensor``
        1 for true cosmic rays, and for pixels that count; else 0.
    weight : ``torch.Tensor`` or `float`
        Weight of pixels that are no cosmic rays.

    Returns
    -------
    loss : ``torch.Tensor``
        Mean over the usable pixels.
    """
    from torch.nn.functional import softplus

    entropy = truth * softplus(-logits) + weight * (1.0 - truth) * softplus(logits)
    return (usable * entropy).sum() / usable.sum().clamp(min=1.0)
