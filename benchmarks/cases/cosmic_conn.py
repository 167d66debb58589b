# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cosmic-CoNN beside the original on torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from images import real_images, star_field
from registry import Case, Inputs, Program, register

MODEL = "ground_imaging"


def prepare_ours(options: dict[str, str], inputs: Inputs, threads: int) -> Callable[[], object]:
    """Prepare our engine."""
    from lsst.meas.cosmicrays.engines.cosmic_conn import load_model

    return partial(load_model(MODEL, threads=threads).predict, inputs["image"], **options)


def prepare_original(inputs: Inputs, threads: int) -> Callable[[], object]:
    """Prepare the original."""
    import torch
    from cosmic_conn import init_model

    torch.set_num_threads(threads)
    return partial(init_model(MODEL).detect_cr, inputs["image"])


PROGRAMS = (
    Program("ours, tiles of the original", partial(prepare_ours, {"tiling": "original"})),
    Program("ours", partial(prepare_ours, {})),
    Program("ours, selective", partial(prepare_ours, {"speed": "selective"})),
    Program("cosmic_conn", prepare_original, "cosmic-conn"),
)
REMARK = "Only tiles of the original give its probabilities; the others overlap."


def _saao(shape: tuple[int, int]) -> Inputs:
    return real_images("saao_kb13475/AKB13475I0003.fits", gain=1.9, read_noise=5.0)


register(Case("cosmic_conn", "3000 stars and 400 CRs", star_field, PROGRAMS, REMARK, measure_first_call=True))
register(Case("cosmic_conn_saao", "a real crowded field, SAAO 1.0 m", _saao, PROGRAMS, REMARK))
