# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Convolutions of our own against scipy and onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from lsst.meas.cosmicrays.engines.cosmic_conn import load_model, winograd
from lsst.meas.cosmicrays.engines.cosmic_conn.blocks import WinogradNetwork, is_suitable
from lsst.meas.cosmicrays.engines.cosmic_conn.evaluators import OnnxNetwork
from lsst.meas.cosmicrays.engines.cosmic_conn.network import Architecture, find_architecture

NO_SUMS = np.zeros((2, 0))


def make_features(rng: np.random.Generator, n: int, ny: int, nx: int, n_channels: int) -> np.ndarray:
    """Make features, with others beyond what is used of them."""
    shape = (n, winograd.padded_side(ny), winograd.padded_side(nx), n_channels)
    return rng.normal(size=shape).astype(np.float32)


def convolve_slowly(features: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Convolve features of shape (ny, nx, n_in), in double precision."""
    result = [
        bias[o]
        + sum(
            scipy.signal.correlate2d(features[..., i].astype(float), weight[o, i].astype(float), "valid")
            for i in range(features.shape[2])
        )
        for o in range(bias.size)
    ]
    return np.stack(result, axis=2)


@pytest.mark.parametrize(("ny", "nx"), [(3, 3), (6, 6), (7, 12), (30, 9), (9, 210)])
@pytest.mark.parametrize(("corner", "n_more"), [(0, 0), (1, 0), (2, 16)])
def test_convolution(ny: int, nx: int, corner: int, n_more: int) -> None:
    rng = np.random.default_rng(ny + nx)
    n, n_in, n_out = 2, 16, 32
    features = make_features(rng, n, ny + 2 * corner, nx + 2 * corner, n_in)
    more = make_features(rng, n, ny + 2, nx + 2, n_more)
    scale, offset, bias = (rng.normal(size=size).astype(np.float32) for size in (n_in, n_in, n_out))
    weight = rng.normal(size=(n_out, n_in + n_more, 3, 3)).astype(np.float32)
    used = np.maximum(features[:, corner : corner + ny, corner : corner + nx] * scale + offset, 0.0)
    used = np.concatenate([used, more[:, 1 : 1 + ny, 1 : 1 + nx]], axis=3)
    expected = np.stack([convolve_slowly(block, weight, bias) for block in used])

    result = make_features(rng, n, ny - 2, nx - 2, n_out)
    result[...] = np.nan
    block_weight = np.array([0.25, 0.75], dtype=np.float32)
    margin = 1 if min(ny, nx) > 4 else 0
    inside = np.array([margin, ny - 2 - margin, margin, nx - 2 - margin])
    n_rows = n * -(-(ny - 2) // winograd.TILE)
    sums = np.zeros((2, n_out))
    for limits in ((0, 1), (1, n_rows)):
        winograd.convolve(
            features, corner, scale, offset, more, 1, winograd.pack_weights(weight).ravel(), bias, result,
            *limits, inside, block_weight, sums,
        )  # fmt: skip
    np.testing.assert_allclose(result[:, : ny - 2, : nx - 2], expected, rtol=1e-4, atol=2e-4)
    core = expected[:, inside[0] : inside[1], inside[2] : inside[3]]
    for total, values in zip(sums, (core, core**2), strict=True):
        wanted = np.tensordot(block_weight, values.sum(axis=(1, 2)), 1)
        np.testing.assert_allclose(total, wanted, rtol=1e-3, atol=2e-3)


def test_product_of_matrices() -> None:
    """It takes rows by six and columns by sixteen."""
    rng = np.random.default_rng(3)
    left, right = (rng.normal(size=shape).astype(np.float32) for shape in ((12, 7), (7, 48)))
    result = np.zeros((12, 48), dtype=np.float32)
    packed = winograd.pack_matrix(right)
    winograd._multiply(left.ravel(), 0, packed, 0, result.ravel(), 0, 12, 7, 48)
    np.testing.assert_allclose(result, left @ right, rtol=1e-5, atol=1e-5)


def make_tensors(architecture: Architecture, seed: int) -> dict[str, np.ndarray]:
    """Draw the weights of a network."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(scale=0.3, size=shape).astype(np.float32)
        for name, shape in architecture.shapes().items()
    }


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("n_blocks", [1, 3])
def test_group_normalisation_is_that_of_onnxruntime(depth: int, n_blocks: int) -> None:
    tensors = make_tensors(Architecture(hidden=16, depth=depth, norm="group"), seed=depth)
    compare_networks(tensors, n_blocks, (32, 56))


@pytest.mark.parametrize("name", ["ground_imaging", "NRES", "HST_ACS_WFC"])
def test_published_networks_are_those_of_onnxruntime(name: str) -> None:
    compare_networks(load_model(name)._tensors, 2, (64, 40))


def compare_networks(tensors: dict[str, np.ndarray], n_blocks: int, shape: tuple[int, int]) -> None:
    """Compare our convolutions with onnxruntime, on bright pixels too."""
    architecture = find_architecture(tensors, "test")
    assert is_suitable(architecture)
    around = 2 * architecture.reach
    rng = np.random.default_rng(n_blocks)
    images = rng.normal(scale=10.0, size=(n_blocks, shape[0] + around, shape[1] + around))
    images += np.where(rng.uniform(size=images.shape) < 0.003, 10.0 ** rng.uniform(2, 5, images.shape), 0.0)
    images = images.astype(np.float32)
    weight = np.arange(1, n_blocks + 1) / np.arange(1, n_blocks + 1).sum()
    onnx = OnnxNetwork(tensors, architecture, "cpu", 1)
    expected, expected_normalisation = onnx.measure(images, weight)
    for threads in (1, 3):
        ours = WinogradNetwork(tensors, architecture, threads)
        probability, normalisation = ours.measure(images, weight)
        assert probability.shape == (n_blocks, *shape)
        assert probability.dtype == np.float32
        np.testing.assert_allclose(probability, expected, atol=2e-4, rtol=0)
        np.testing.assert_allclose(normalisation, expected_normalisation, rtol=2e-3, atol=1e-4)
        fixed = ours.fixed(normalisation)(images[:1, 8:-8, 16:])
        np.testing.assert_allclose(fixed[0], probability[0, 8:-8, 16:], atol=2e-4, rtol=0)


def test_narrow_networks_are_left_to_onnxruntime() -> None:
    assert not is_suitable(Architecture(hidden=8, depth=3, norm="group"))
