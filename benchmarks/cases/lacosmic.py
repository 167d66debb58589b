# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""L.A.Cosmic beside astroscrappy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from images import (
    crowded_field,
    faint_crowd,
    full_of_cosmic_rays,
    noise,
    real_images,
    real_mosaic,
    saturated,
    star_field,
)
from registry import Case, Inputs, Program, register

READ_NOISE = 5.0
SATURATION = 65535.0


def prepare_ours(parameters: dict[str, Any], inputs: Inputs, threads: int) -> Callable[[], object]:
    """Prepare our engine."""
    from lsst.meas.cosmicrays.engines.lacosmic import detect_cosmics

    return partial(detect_cosmics, inputs["image"], **_settings(parameters, inputs), n_threads=threads)


def prepare_astroscrappy(parameters: dict[str, Any], inputs: Inputs, threads: int) -> Callable[[], object]:
    """Prepare astroscrappy, whose threads OMP_NUM_THREADS sets."""
    from astroscrappy import detect_cosmics

    return partial(detect_cosmics, inputs["image"], **_settings(parameters, inputs))


def _settings(parameters: dict[str, Any], inputs: Inputs) -> dict[str, Any]:
    settings = {"invar": inputs["variance"], "readnoise": READ_NOISE, "satlevel": SATURATION}
    return settings | parameters


def register_lacosmic(
    name: str, title: str, make_inputs: Callable[[tuple[int, int]], Inputs], **parameters: object
) -> None:
    """Register our engine beside astroscrappy, with the same parameters."""
    programs = (
        Program("ours", partial(prepare_ours, parameters)),
        Program("astroscrappy", partial(prepare_astroscrappy, parameters), "astroscrappy"),
    )
    register(Case(name, title, make_inputs, programs, measure_first_call=name == "lacosmic"))


def _half(shape: tuple[int, int]) -> Inputs:
    return star_field((max(shape[0] // 2, 1), shape[1]))


def _double(shape: tuple[int, int]) -> Inputs:
    return star_field((2 * shape[0], shape[1]))


def _saao(shape: tuple[int, int]) -> Inputs:
    return real_images("saao_kb13475/AKB13475I0003.fits", gain=1.9, read_noise=READ_NOISE)


def _bulge(shape: tuple[int, int]) -> Inputs:
    return real_mosaic(shape, "saao_kb13475/AKB13475I*[0-9].fits", gain=1.9, read_noise=READ_NOISE)


def _sinistro(shape: tuple[int, int]) -> Inputs:
    return real_images("lco_sinistro_fl10_S82_60s_quadrant.fits.fz", gain=3.3, read_noise=14.9)


register_lacosmic("lacosmic", "defaults, 3000 stars and 400 CRs", star_field)
register_lacosmic("lacosmic_half", "half the pixels", _half)
register_lacosmic("lacosmic_double", "twice the pixels", _double)
register_lacosmic("lacosmic_full_medians", "sepmed=False", star_field, sepmed=False)
register_lacosmic("lacosmic_convolve", "fsmode='convolve'", star_field, fsmode="convolve")
register_lacosmic("lacosmic_sigclip_3", "sigclip=3, many candidates", star_field, sigclip=3.0)
register_lacosmic("lacosmic_faint_crowd", "200000 stars, most of them faint, as in the sky", faint_crowd)
register_lacosmic("lacosmic_bulge", "real crowded fields side by side, SAAO 1.0 m", _bulge)
register_lacosmic("lacosmic_crowded", "45000 stars, most of them bright", crowded_field)
register_lacosmic("lacosmic_noise", "pure noise", noise)
register_lacosmic("lacosmic_saturated", "saturated everywhere", saturated)
register_lacosmic("lacosmic_5_percent", "5 % CR pixels", full_of_cosmic_rays)
register_lacosmic("lacosmic_saao", "a real crowded field, SAAO 1.0 m", _saao)
register_lacosmic("lacosmic_sinistro", "a real raw quadrant, LCO 1 m", _sinistro)
