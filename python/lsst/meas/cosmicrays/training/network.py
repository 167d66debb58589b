# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network of Cosmic-CoNN in torch, for gradients.

It is the network that `engines.cosmic_conn.network` writes as ONNX, with the
same names of weights.
"""

from __future__ import annotations

__all__ = ["RANDOM", "initial_weights", "network_logits", "to_onnx"]

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..engines.cosmic_conn import load_model
from ..engines.cosmic_conn.network import (
    NORM_EPSILON,
    Architecture,
    build_network,
    find_architecture,
    read_onnx_weights,
)

RANDOM = "random"
"""The name of weights drawn by chance, for training from nothing."""


def initial_weights(name_or_path: str, *, hidden: int = 32, seed: int = 0) -> dict[str, np.ndarray]:
    """Return weights to start from.

    Parameters
    ----------
    name_or_path : `str`
        A published model, a file of weights, or ``random``.
    hidden : `int`, optional
        Number of channels of the highest level of a random network: a
        multiple of 8.
    seed : `int`, optional
        Seed of a random network.

    Returns
    -------
    weights : `dict` [`str`, `numpy.ndarray`]
        Weights by name, float32.

    Raises
    ------
    ModelFileError
        Raised if there is no such model, or it is of another architecture.
    """
    if name_or_path == RANDOM:
        return _draw_weights(Architecture(hidden=hidden, depth=2, norm="group"), seed)
    source = load_model(name_or_path, threads=1)
    tensors = read_onnx_weights(source.to_onnx(), source.source)
    architecture = find_architecture(tensors, source.source)
    return {name: np.array(tensors[name], dtype=np.float32) for name in architecture.shapes()}


def _draw_weights(architecture: Architecture, seed: int) -> dict[str, np.ndarray]:
    """Draw weights as He et al. (2015) do; normalisations do nothing."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in architecture.shapes().items():
        if len(shape) == 4:
            fan_in = np.prod(shape[1:])
            value = rng.normal(0.0, np.sqrt(2.0 / fan_in), shape)
        else:
            value = np.full(shape, 1.0 if name.endswith(".4.weight") else 0.0)
        weights[name] = value.astype(np.float32)
    return weights


def network_logits(weights: Mapping[str, Any], architecture: Architecture, images: Any) -> Any:
    """Evaluate the network.

    Parameters
    ----------
    weights : `~collections.abc.Mapping` [`str`, ``torch.Tensor``]
        Weights by name.
    architecture : `~..engines.cosmic_conn.network.Architecture`
        The architecture of these weights.
    images : ``torch.Tensor``
        Tiles less their sky, shape ``(n, 1, ny, nx)``, sides multiples of
        the stride.

    Returns
    -------
    logits : ``torch.Tensor``
        Logarithm of the odds that a pixel is a cosmic ray, of the same
        shape.
    """
    import torch
    from torch.nn import functional

    def normalise(features: Any, layer: str) -> Any:
        weight, bias = weights[f"{layer}.4.weight"], weights[f"{layer}.4.bias"]
        if architecture.norm == "group":
            return functional.group_norm(features, architecture.n_group, weight, bias, NORM_EPSILON)
        mean, variance = weights[f"{layer}.4.running_mean"], weights[f"{layer}.4.running_var"]
        return functional.batch_norm(features, mean, variance, weight, bias, eps=NORM_EPSILON)

    def pair(features: Any, layer: str) -> Any:
        for name in (f"{layer}.0", f"{layer}.3"):
            features = functional.conv2d(
                features, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1
            )
            features = functional.relu(normalise(features, layer))
        return features

    features = pair(images, "inc.conv.conv")
    skips = []
    for level in range(1, architecture.depth + 1):
        skips.append(features)
        features = pair(functional.max_pool2d(features, 2), f"down{level}.down_cov.1.conv")
    for level in range(architecture.depth, 0, -1):
        name = f"up{level}.up_conv"
        features = functional.conv_transpose2d(
            features, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=2
        )
        features = pair(torch.cat([skips.pop(), features], dim=1), f"up{level}.conv.conv")
    return functional.conv2d(features, weights["outc.conv.weight"], weights["outc.conv.bias"])


def to_onnx(weights: Mapping[str, np.ndarray]) -> bytes:
    """Write the network with its weights as ONNX.

    Parameters
    ----------
    weights : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Weights by name.

    Returns
    -------
    content : `bytes`
        What `~..engines.cosmic_conn.load_model` reads.
    """
    return build_network(weights, find_architecture(weights, "The trained network"))
