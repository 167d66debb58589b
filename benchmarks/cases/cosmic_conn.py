# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cosmic-CoNN beside the original on torch, else in plain onnxruntime."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial

import numpy as np
from images import crowded_field, real_images, star_field
from registry import Case, Inputs, Program, register

MODEL = "ground_imaging"
TILE = 1024


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


def prepare_plain(inputs: Inputs, threads: int) -> Callable[[], object]:
    """Prepare the network in onnxruntime as it comes, in the same tiles."""
    import onnxruntime

    from lsst.meas.cosmicrays.engines.cosmic_conn import load_model

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    content = load_model(MODEL, threads=threads).to_onnx()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return partial(_predict_tiles, session, inputs["image"])


def _predict_tiles(session: object, image: np.ndarray) -> np.ndarray:
    """Return the probability in tiles as the original cuts them."""
    probability = np.zeros(image.shape, dtype=np.float32)
    for y in range(0, image.shape[0], TILE):
        for x in range(0, image.shape[1], TILE):
            part = image[y : y + TILE, x : x + TILE]
            ny, nx = (size // 16 * 16 for size in part.shape)
            if ny == 0 or nx == 0:
                continue
            pixels = (part - np.float32(np.median(part)))[:ny, :nx]
            (found,) = session.run(None, {"image": pixels[np.newaxis, np.newaxis]})
            probability[y : y + ny, x : x + nx] = found[0, 0]
    return probability


PLAIN = Program("the network in plain onnxruntime", prepare_plain, "onnxruntime")
ORIGINAL = Program("cosmic_conn", prepare_original, "cosmic-conn")
OURS = (
    Program("ours, selective", partial(prepare_ours, {"speed": "selective"})),
    Program("ours", partial(prepare_ours, {})),
    Program("ours, tiles of the original", partial(prepare_ours, {"tiling": "original"})),
)
REMARK = "Only tiles of the original give its probabilities; the others overlap."
HAS_TORCH = importlib.util.find_spec("torch") is not None
if HAS_TORCH:
    PROGRAMS = (*OURS, PLAIN, ORIGINAL)
else:
    PROGRAMS = (*OURS, PLAIN)
    REMARK += (
        " torch is not installed, so the package cosmic_conn is left out, and the network in plain "
        "onnxruntime takes its place; on two idle cores the package took 39 s for 4176 x 2048 pixels."
    )


def _saao(shape: tuple[int, int]) -> Inputs:
    return real_images("saao_kb13475/AKB13475I0003.fits", gain=1.9, read_noise=5.0)


register(Case("cosmic_conn", "3000 stars and 400 CRs", star_field, PROGRAMS, REMARK, measure_first_call=True))
register(Case("cosmic_conn_crowded", "45000 stars", crowded_field, PROGRAMS, REMARK))
register(Case("cosmic_conn_saao", "a real crowded field, SAAO 1.0 m", _saao, PROGRAMS, REMARK))
