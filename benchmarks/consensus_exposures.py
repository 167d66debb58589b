# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real exposures with given masks, and what finders find in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.io import fits

from lsst.images import Box
from lsst.meas.cosmicrays.comparison import votes_of
from lsst.meas.cosmicrays.finders import cosmicRayFinderRegistry
from lsst.meas.cosmicrays.images import WorkingImage
from lsst.meas.cosmicrays.ingest import get_preset
from lsst.meas.cosmicrays.ingest.preparation import prepare_file
from lsst.pipe.base import Struct

MORPHOLOGICAL = {"morphological": {}} | {
    f"morphological_{least}": {"minSigma": float(least)} for least in (8, 10, 14, 20)
}
ASTROSCRAPPY = {"astroscrappy": {"sigclip": 5.0}} | {
    f"astroscrappy_{clip}_{fraction}": {"sigclip": float(clip), "sigfrac": fraction}
    for clip, fraction in ((5, 0.6), (5, 1.0), (8, 0.3), (8, 0.6), (8, 1.0))
}
FINDERS: dict[str, tuple[str, dict[str, float]]] = {
    **{name: ("morphological", values) for name, values in MORPHOLOGICAL.items()},
    **{name: ("astroscrappy", values) for name, values in ASTROSCRAPPY.items()},
    "cosmic_conn": ("cosmic_conn", {"threshold": 0.5}),
}
"""Detections: a finder, and what of its configuration is not the default."""

LOW = "cosmic_conn>=0.1"
THREE = ("morphological", "astroscrappy", "cosmic_conn")
FLAWED = {
    12: "smooth blobs of 13 to 55 pixels, mostly in a row",
    15: "smooth blobs of 25 to 55 pixels beside bright stars",
    19: "smooth blobs of 9 to 37 pixels on stars",
    43: "the centres of about twenty stars",
    53: "the bleed trail of a saturated star",
}
"""Exposures whose mask has what is no cosmic ray, as one sees at a glance."""

BAD_PLANES = ("BAD", "SATURATED", "INTERPOLATED", "NO_DATA")


@dataclasses.dataclass(frozen=True)
class Exposure:
    """One exposure with its masks, and the probability of Cosmic-CoNN."""

    number: int
    image: np.ndarray
    variance: np.ndarray
    truth: np.ndarray
    usable: np.ndarray
    masks: dict[str, np.ndarray]
    probability: np.ndarray
    wall_times: dict[str, float]


def read_exposures(data: Path, output: Path) -> Iterator[Exposure]:
    """Read exposures, with the masks of all finders.

    Parameters
    ----------
    data : `~pathlib.Path`
        Folder of the exposures.
    output : `~pathlib.Path`
        Folder in which masks are kept.

    Yields
    ------
    exposure : `Exposure`
        An exposure.
    """
    for truth_file in sorted(data.glob("*_crmask.fits.gz")):
        name = truth_file.name.removesuffix("_crmask.fits.gz")
        kept = output / f"{name}.npz"
        if not kept.exists():
            np.savez_compressed(kept, **find_all(data, name))
        with np.load(kept) as arrays:
            yield Exposure(
                number=int(name[-4:]),
                image=arrays["image"],
                variance=arrays["variance"],
                truth=fits.getdata(truth_file) > 0,
                usable=arrays["usable"],
                masks=with_low({name: arrays[f"mask_{name}"] for name in FINDERS}, arrays["probability"]),
                probability=arrays["probability"],
                wall_times={name: float(arrays[f"time_{name}"]) for name in FINDERS}
                | {LOW: float(arrays["time_cosmic_conn"])},
            )


def with_low(masks: dict[str, np.ndarray], probability: np.ndarray) -> dict[str, np.ndarray]:
    """Add the mask of Cosmic-CoNN at a low threshold.

    Parameters
    ----------
    masks : `dict`
        Mask of each detection.
    probability : `numpy.ndarray`
        Probability of Cosmic-CoNN.

    Returns
    -------
    masks : `dict`
        These, and one more.
    """
    return {**masks, **votes_of([LOW], {}, {"cosmic_conn": probability})}


def find_all(data: Path, name: str) -> dict[str, np.ndarray]:
    """Prepare an exposure and run every finder on it.

    Parameters
    ----------
    data : `~pathlib.Path`
        Folder of the exposures.
    name : `str`
        Name of the file, without extension.

    Returns
    -------
    arrays : `dict`
        Image, variance, usable pixels, a mask and run time of each
        detection, and the probability of Cosmic-CoNN.
    """
    working = prepare(data, name)
    bad = np.logical_or.reduce([working.planes[plane] for plane in BAD_PLANES]) | working.not_finite()
    arrays = {"image": working.image, "variance": working.variance, "usable": ~bad}
    found = run_finders(working)
    for detection, result in found.items():
        arrays[f"mask_{detection}"] = result.mask
        arrays[f"time_{detection}"] = np.float64(result.wall_time)
    return {**arrays, "probability": found["cosmic_conn"].probability}


def prepare(data: Path, name: str) -> WorkingImage:
    """Read an exposure, and measure its noise and PSF.

    Parameters
    ----------
    data : `~pathlib.Path`
        Folder of the exposures.
    name : `str`
        Name of the file, without extension.

    Returns
    -------
    working : `WorkingImage`
        What finders take.
    """
    prepared = prepare_file(data / f"{name}.fits", get_preset("saao"), data / "recurrent_badpix.fits.gz")
    if prepared.errors:
        raise SystemExit("\n".join(str(error) for error in prepared.errors))
    (frame,) = prepared.frames
    science = frame.science
    ny, nx = science.image.shape
    kernel = frame.psf.psf.compute_kernel_image(x=nx / 2, y=ny / 2).array.astype(np.float64)
    nothing = np.zeros((ny, nx), dtype=bool)
    return WorkingImage(
        image=np.asarray(science.image, dtype=np.float32),
        variance=np.asarray(science.variance, dtype=np.float32),
        planes={plane: science.planes.get(plane, nothing) for plane in (*BAD_PLANES, "COSMIC_RAY")},
        bbox=Box.from_shape((ny, nx)),
        psf_kernel=kernel / kernel.sum(),
        psf_fwhm=frame.psf.fwhm,
    )


def run_finders(working: WorkingImage) -> dict[str, Struct]:
    """Run every finder.

    Parameters
    ----------
    working : `WorkingImage`
        The image.

    Returns
    -------
    found : `dict`
        What each finder returned.
    """
    found = {}
    for detection, (finder, values) in FINDERS.items():
        finder_class = cosmicRayFinderRegistry[finder]
        config = finder_class.ConfigClass()
        config.update(**values)
        found[detection] = finder_class(config=config, name=finder).run(working)
    return found
