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
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.meas.cosmicrays.engines.cosmic_conn import blocks, coverage, load_model, vectors, winograd
from lsst.meas.cosmicrays.engines.cosmic_conn.blocks import WinogradNetwork, is_suitable
from lsst.meas.cosmicrays.engines.cosmic_conn.evaluators import OnnxNetwork
from lsst.meas.cosmicrays.engines.cosmic_conn.network import Architecture, find_architecture


def make_features(rng: np.random.Generator, ny: int, nx: int, n_channels: int) -> np.ndarray:
    """Make features, with others beyond what is used of them."""
    shape = (winograd.padded_side(ny), winograd.padded_side(nx), n_channels)
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
    n_in, n_out = 16, 32
    features = make_features(rng, ny + 2 * corner, nx + 2 * corner, n_in)
    more = make_features(rng, ny + 2, nx + 2, n_more)
    scale, offset, bias = (rng.normal(size=size).astype(np.float32) for size in (n_in, n_in, n_out))
    weight = rng.normal(size=(n_out, n_in + n_more, 3, 3)).astype(np.float32)
    used = np.maximum(features[corner : corner + ny, corner : corner + nx] * scale + offset, 0.0)
    used = np.concatenate([used, more[1 : 1 + ny, 1 : 1 + nx]], axis=2)
    expected = convolve_slowly(used, weight, bias)

    result = make_features(rng, ny - 2, nx - 2, n_out)
    result[...] = np.nan
    margin = 1 if min(ny, nx) > 4 else 0
    rows, columns = ny - 2 - 2 * margin, nx - 2 - 2 * margin
    cells = rng.integers(0, 3, size=(-(-rows // 4), -(-columns // 4))).astype(np.float32)
    counted = winograd.Sums(cells, 2, margin, rows, columns)
    tiles = np.argwhere(np.ones((-(-(ny - 2) // winograd.TILE), -(-(nx - 2) // winograd.TILE))))
    sums = np.zeros((2, n_out))
    packed, given = winograd.pack_weights(weight).ravel(), winograd.Features(features, scale, offset)
    for part in (tiles[:1], tiles[1:]):
        winograd.convolve(given, corner, more, 1, packed, bias, result, part, counted, sums)
    np.testing.assert_allclose(result[: ny - 2, : nx - 2], expected, rtol=1e-4, atol=2e-4)
    core = expected[margin : margin + rows, margin : margin + columns]
    pixel_weight = np.kron(cells, np.ones((4, 4)))[:rows, :columns, np.newaxis]
    for total, values in zip(sums, (core, core**2), strict=True):
        wanted = np.sum(pixel_weight * values, axis=(0, 1))
        np.testing.assert_allclose(total, wanted, rtol=1e-3, atol=2e-3)


def test_only_the_tiles_of_a_list_are_computed() -> None:
    rng = np.random.default_rng(5)
    features = make_features(rng, 14, 14, 16)
    result = np.full((14, 14, 16), np.nan, dtype=np.float32)
    ones, zeros = np.ones(16, dtype=np.float32), np.zeros(16, dtype=np.float32)
    weights = winograd.pack_weights(rng.normal(size=(16, 16, 3, 3))).ravel()
    nothing = winograd.Sums(np.zeros((0, 0), dtype=np.float32), 2, 0, 0, 0)
    more, sums = np.zeros((0, 0, 0), dtype=np.float32), np.zeros((2, 16))
    given = winograd.Features(features, ones, zeros)
    winograd.convolve(given, 0, more, 0, weights, zeros, result, np.array([[1, 2]]), nothing, sums)
    computed = np.zeros((14, 14), dtype=bool)
    computed[4:8, 8:12] = True
    np.testing.assert_array_equal(np.isfinite(result), np.repeat(computed[..., np.newaxis], 16, axis=2))
    assert np.all(sums == 0.0)


def test_moments_of_windows_are_those_of_the_first_convolution() -> None:
    rng = np.random.default_rng(6)
    image = rng.normal(size=(20, 30)).astype(np.float32)
    matrix = rng.normal(size=(10, 32)).astype(np.float32)
    result = np.zeros((20, 28, 32), dtype=np.float32)
    tiles = np.argwhere(np.ones((4, 7)))
    winograd.convolve_image(image, winograd.pack_matrix(matrix), result, tiles)
    part = result[3:15, 2:25]
    moments = np.zeros((10, 10))
    for limits in ((3, 9), (9, 15)):
        winograd.add_moments(image, *limits, 2, 25, moments)
    np.testing.assert_allclose(moments[9] @ matrix, part.sum(axis=(0, 1)), rtol=1e-3, atol=1e-2)
    squares = np.einsum("io,ij,jo->o", matrix, moments, matrix)
    np.testing.assert_allclose(squares, np.square(part).sum(axis=(0, 1)), rtol=1e-4)


def test_product_of_matrices() -> None:
    """It takes rows by six and columns by sixteen."""
    rng = np.random.default_rng(3)
    left, right = (rng.normal(size=shape).astype(np.float32) for shape in ((12, 7), (7, 48)))
    result = np.zeros((12, 48), dtype=np.float32)
    packed = winograd.pack_matrix(right)
    vectors.multiply(left.ravel(), 0, packed, 0, result.ravel(), 0, 12, 7, 48)
    np.testing.assert_allclose(result, left @ right, rtol=1e-5, atol=1e-5)


def make_tensors(architecture: Architecture, seed: int) -> dict[str, np.ndarray]:
    """Draw the weights of a network."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(scale=0.3, size=shape).astype(np.float32)
        for name, shape in architecture.shapes().items()
    }


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("shape", [(32, 56), (40, 24)])
def test_group_normalisation_is_that_of_onnxruntime(depth: int, shape: tuple[int, int]) -> None:
    tensors = make_tensors(Architecture(hidden=16, depth=depth, norm="group"), seed=depth)
    compare_networks(tensors, shape)


@pytest.mark.parametrize("name", ["ground_imaging", "NRES", "HST_ACS_WFC"])
def test_published_networks_are_those_of_onnxruntime(name: str) -> None:
    compare_networks(load_model(name)._tensors, (64, 40))


def make_window(shape: tuple[int, int], reach: int, seed: int) -> np.ndarray:
    """Make a tile with noise and bright pixels, and what is around it."""
    rng = np.random.default_rng(seed)
    window = rng.normal(scale=10.0, size=(shape[0] + 2 * reach, shape[1] + 2 * reach))
    window += np.where(rng.uniform(size=window.shape) < 0.003, 10.0 ** rng.uniform(2, 5, window.shape), 0.0)
    return window.astype(np.float32)


def compare_networks(tensors: dict[str, np.ndarray], shape: tuple[int, int]) -> None:
    """Compare our convolutions with onnxruntime, on bright pixels too."""
    architecture = find_architecture(tensors, "test")
    assert is_suitable(architecture)
    window = make_window(shape, architecture.reach, 1)
    expected = OnnxNetwork(tensors, architecture, "cpu", 1).evaluate(window)
    for threads in (1, 3):
        probability = WinogradNetwork(tensors, architecture, threads).evaluate(window)
        assert probability.shape == shape
        assert probability.dtype == np.float32
        np.testing.assert_allclose(probability, expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("shape", [(96, 64), (88, 104)])
def test_parts_need_nothing_but_what_covers_them(
    depth: int, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not computed is NaN here, and would spread if it were read."""
    architecture = Architecture(hidden=16, depth=depth, norm="batch")
    tensors = make_tensors(architecture, seed=depth)
    for name in tensors:
        if name.endswith("running_var"):
            tensors[name] = np.abs(tensors[name]) + np.float32(0.5)
    network = WinogradNetwork(tensors, architecture, 2)
    window = make_window(shape, architecture.reach, 2)
    whole = network.evaluate(window)
    take = blocks._Memory.take

    def take_unknown(memory: object, shape: tuple[int, int], *sizes: int) -> np.ndarray:
        values = take(memory, shape, *sizes)
        values[: shape[0], : shape[1]] = np.nan
        return values

    monkeypatch.setattr(blocks._Memory, "take", take_unknown)
    cells = np.zeros((-(-shape[0] // 8), -(-shape[1] // 8)), dtype=bool)
    cells[2, 1] = cells[2, 5] = cells[7, 3] = cells[-1, -1] = True
    tiles = coverage.cover_cells(cells, shape, network.steps)
    part = network.evaluate_parts(window, tiles, [np.zeros((0, 0), dtype=np.float32)] * len(tiles))
    wanted = np.kron(cells, np.ones((8, 8), dtype=bool))[: shape[0], : shape[1]]
    # What is around acts on the rounding, which such a network amplifies.
    np.testing.assert_allclose(part[wanted], whole[wanted], atol=1e-3, rtol=0)
    assert np.all(part[~wanted] == 0.0)
    assert all(0.0 < np.mean(some) for some in tiles)
    assert np.mean(tiles[-1]) < 0.1


@pytest.mark.parametrize("depth", [2, 3])
def test_parts_count_as_often_as_they_are_told(depth: int) -> None:
    """Cells that count twice in place of like ones: the sums are the same."""
    architecture = Architecture(hidden=16, depth=depth, norm="group")
    network = WinogradNetwork(make_tensors(architecture, seed=depth), architecture, 2)
    half = make_window((64 - 2 * architecture.reach, 64 - 2 * architecture.reach), architecture.reach, 3)
    window = np.tile(half, (4, 3))
    shape = tuple(size - 2 * architecture.reach for size in window.shape)
    shape = tuple(size // 64 * 64 for size in shape)
    window = window[: shape[0] + 2 * architecture.reach, : shape[1] + 2 * architecture.reach]
    whole = network.evaluate(window)
    cells = np.zeros((shape[0] // 8, shape[1] // 8), dtype=bool)
    cells[:8, :8] = True
    tiles = coverage.cover_cells(cells, shape, network.steps)
    grains = cells.repeat(8 // network.stride, axis=0).repeat(8 // network.stride, axis=1)
    weight = grains * np.float32(grains.size / np.count_nonzero(grains))
    part = network.evaluate_parts(window, tiles, [weight] * len(tiles))
    np.testing.assert_allclose(part[:64, :64], whole[:64, :64], atol=1e-4, rtol=0)


@pytest.mark.parametrize("depth", [2, 3])
def test_tiles_are_those_that_cells_need(depth: int) -> None:
    """The pixels of a cell and the margin of the convolution, no others."""
    steps = coverage.convolutions(Architecture(hidden=16, depth=depth, norm="group"))
    shape = (92 if depth == 2 else 96, 64)
    cells = np.zeros((12, 8), dtype=bool)
    cells[3, 2] = cells[4, 6] = cells[11, 7] = True
    for step, tiles in zip(steps, coverage.cover_cells(cells, shape, steps), strict=True):
        needed = np.zeros([4 * size for size in tiles.shape], dtype=bool)
        for y, x in np.argwhere(cells):
            top, left = y * step.side, x * step.side
            length = step.side + 2 * step.margin
            needed[top : top + length, left : left + length] = True
        ny, nx = step.shape(shape)
        needed[ny:], needed[:, nx:] = False, False
        ny, nx = tiles.shape
        np.testing.assert_array_equal(tiles, needed.reshape(ny, 4, nx, 4).any(axis=(1, 3)))
    whole = coverage.cover_whole(shape, steps)
    assert coverage.evaluation_cost(whole, Architecture(hidden=16, depth=depth, norm="group")) == 1.0
    everything = coverage.cover_cells(np.ones_like(cells), shape, steps)
    for some, other, rim in zip(whole, everything, coverage.find_rims(whole, steps), strict=True):
        np.testing.assert_array_equal(some, other)
        assert not np.any(rim)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_sums_of_ranges(seed: int, ny: int, nx: int, counts: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random((ny, nx))
    if counts:
        values = values < 0.3
    rows, columns = (np.sort(rng.integers(0, size, (2, 7)), axis=0) for size in (ny, nx))
    rows[:, 3] = 1, 0  # Nothing.
    expected = [
        [np.sum(values[top : bottom + 1, left : right + 1]) for left, right in columns.T]
        for top, bottom in rows.T
    ]
    np.testing.assert_allclose(coverage.add_ranges(values, rows, columns), expected, atol=1e-12)


def test_narrow_networks_are_left_to_onnxruntime() -> None:
    assert not is_suitable(Architecture(hidden=8, depth=3, norm="group"))
