# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""The morphological finder and the median under it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from images import full_of_cosmic_rays, noise, star_field
from registry import Case, Inputs, Program, register

NO_ORIGINAL = (
    "The original, C++ in meas_algorithms, is not on PyPI and left out. Elsewhere, on one core and "
    "4176 x 2048 pixels, it took 0.14 s to find, and 0.25 s for the median."
)


def prepare_median(inputs: Inputs, threads: int) -> Callable[[], object]:
    """Prepare our median."""
    from lsst.meas.cosmicrays.engines.background import median_background

    return lambda: median_background(inputs["image"], threads=threads)


def prepare_numpy_median(inputs: Inputs, threads: int) -> Callable[[], object]:
    """Prepare the median of numpy, which has one thread."""
    return lambda: np.median(inputs["image"].astype(np.float64))


def prepare_find(inputs: Inputs, threads: int) -> Callable[[], object]:
    """Prepare our finder, median included."""
    from lsst.meas.cosmicrays.engines.background import median_background
    from lsst.meas.cosmicrays.engines.morphological import find_cosmic_rays

    nothing = np.zeros(inputs["image"].shape, dtype=bool)

    def find() -> np.ndarray:
        return find_cosmic_rays(
            inputs["image"],
            inputs["variance"],
            nothing,
            nothing,
            inputs["kernel"],
            median_background(inputs["image"], threads=threads),
            threads=threads,
            n_cr_pixel_max=inputs["image"].size,
        )

    return find


register(
    Case(
        "median_background",
        "median of an image, background of the morphological finder",
        star_field,
        (Program("ours", prepare_median), Program("numpy.median", prepare_numpy_median, "numpy")),
        remark="On 8-byte numbers, as the original rounds only at the end. " + NO_ORIGINAL,
    )
)
for _name, _title, _make_inputs in (
    ("morphological", "median and finder, 3000 stars and 400 CRs", star_field),
    ("morphological_noise", "median and finder, pure noise", noise),
    ("morphological_5_percent", "median and finder, 5 % CR pixels", full_of_cosmic_rays),
):
    register(
        Case(
            _name,
            _title,
            _make_inputs,
            (Program("ours", prepare_find),),
            remark=NO_ORIGINAL,
            measure_first_call=_name == "morphological",
        )
    )
