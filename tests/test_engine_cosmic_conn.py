# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cosmic-CoNN without torch against cosmic-conn 0.6.1, and beyond it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.meas.cosmicrays.engines.cosmic_conn import (
    CosmicConnModel,
    ImageTooSmallError,
    blocks,
    coverage,
    load_model,
    sampling,
    screening,
    selective,
    tiles,
)
from lsst.meas.cosmicrays.engines.cosmic_conn.evaluators import OnnxNetwork
from lsst.meas.cosmicrays.engines.cosmic_conn.network import Architecture

SHARED = Path(__file__).parents[2] / "shared"
GOLDEN = SHARED / "golden" / "cosmic_conn"
MODELS = ("ground_imaging", "NRES", "HST_ACS_WFC")
EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


@pytest.fixture(scope="module")
def ground_imaging() -> CosmicConnModel:
    return load_model("ground_imaging", threads=2)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parent / "data" / "cosmic_conn" / "golden.npz") as file:
        return dict(file)


def read_shared_input(name: str) -> np.ndarray:
    """Return an input of the shared golden cases."""
    if name == "synthetic":
        with np.load(GOLDEN / "synthetic_input.npz") as file:
            return file["image"].astype(np.float32)
    if name == "saao_0003":
        image = fits.getdata(SHARED / "data" / "saao_kb13475" / "AKB13475I0003.fits")
        return image.astype(np.float32) * np.float32(1.9)
    image = fits.getdata(SHARED / "data" / "hsc_crs.fits").astype(np.float32)
    if name == "hsc_crs_nan":
        image[100:110, 50:90] = np.nan
    return image


def add_stars(
    image: np.ndarray, rng: np.random.Generator, n_stars: int, fwhm: float, flux: tuple[float, float]
) -> None:
    """Add Gaussian stars at random places, with fluxes between powers."""
    for _ in range(n_stars):
        y, x = rng.uniform(0, image.shape[0]), rng.uniform(0, image.shape[1])
        add_star(image, y, x, fwhm, 10 ** rng.uniform(*flux))


def add_star(image: np.ndarray, y: float, x: float, fwhm: float, flux: float) -> None:
    sigma = fwhm / 2.355
    radius = 20
    y0, x0 = max(0, int(y) - radius), max(0, int(x) - radius)
    part = image[y0 : int(y) + radius + 1, x0 : int(x) + radius + 1]
    rows, columns = np.mgrid[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]]
    part += flux / (2 * np.pi * sigma**2) * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))


def add_track(
    charge: np.ndarray, y: float, x: float, length: float, angle: float, charge_per_pixel: float
) -> None:
    """Add a straight cosmic ray with some diffusion."""
    step = 0.2
    for t in np.arange(0.0, max(length, step), step):
        v, u = y + t * np.sin(angle), x + t * np.cos(angle)
        for row in range(round(v) - 2, round(v) + 3):
            for column in range(round(u) - 2, round(u) + 3):
                if 0 <= row < charge.shape[0] and 0 <= column < charge.shape[1]:
                    distance = (row - v) ** 2 + (column - u) ** 2
                    charge[row, column] += step * charge_per_pixel * np.exp(-distance / (2 * 0.45**2))


def observe(scene: np.ndarray, charge: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add shot noise, and read noise of 5 electrons."""
    noisy = rng.poisson(scene) + rng.poisson(charge) + rng.normal(0.0, 5.0, scene.shape)
    return noisy.astype(np.float32)


def make_field(seed: int, n_stars: int, n_tracks: int, shape: tuple[int, int] = (640, 640)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scene = np.full(shape, 300.0)
    add_stars(scene, rng, n_stars, 3.8, (2.5, 5.5))
    charge = np.zeros(shape)
    for _ in range(n_tracks):
        place = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        add_track(
            charge, *place, rng.choice([0, 2, 10, 30]), rng.uniform(0, 6.3), 10 ** rng.uniform(2.2, 3.5)
        )
    return observe(scene, charge, rng)


def f1_score(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


# Exactness.


@pytest.mark.parametrize("model", MODELS)
def test_original_tiling_reproduces_golden(golden: dict[str, np.ndarray], model: str) -> None:
    probability = load_model(model, threads=1).predict(golden["image"], tile=128, tiling="original")
    expected = golden[model] / 65535
    assert probability.dtype == np.float32
    np.testing.assert_allclose(probability, expected, atol=5e-5, rtol=0)
    assert np.count_nonzero(expected > 0.5) > 300


def test_original_tiling_reproduces_golden_with_nan(
    golden: dict[str, np.ndarray], ground_imaging: CosmicConnModel
) -> None:
    image = golden["image"].astype(np.float32)
    image[60:70, 30:60] = np.nan
    probability = ground_imaging.predict(image, tile=128, tiling="original")
    np.testing.assert_allclose(probability, golden["ground_imaging_nan"] / 65535, atol=5e-5, rtol=0)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="needs ../shared/golden/cosmic_conn")
@pytest.mark.parametrize(
    ("model", "name"),
    [(model, name) for model in MODELS for name in ("hsc_crs", "hsc_crs_nan")]
    + [("ground_imaging", "saao_0003"), ("ground_imaging", "synthetic")],
)
def test_original_tiling_reproduces_shared_golden(model: str, name: str) -> None:
    with np.load(GOLDEN / f"{model}__{name}.npz") as file:
        expected = file["probability"]
    probability = load_model(model, threads=2).predict(read_shared_input(name), tiling="original")
    np.testing.assert_allclose(probability, expected, atol=1e-3, rtol=0)
    far_from_threshold = np.abs(expected - 0.5) > 1e-3
    np.testing.assert_array_equal(
        (probability > 0.5)[far_from_threshold], (expected > 0.5)[far_from_threshold]
    )


def test_overlap_is_the_original_inside_one_tile(ground_imaging: CosmicConnModel) -> None:
    image = make_field(1, n_stars=40, n_tracks=25, shape=(256, 256))
    inside = np.s_[24:-24, 24:-24]
    original = ground_imaging.predict(image, tiling="original")[inside]
    overlap = ground_imaging.predict(image)[inside]
    assert np.count_nonzero(original > 0.5) > 200
    assert f1_score(original > 0.5, overlap > 0.5) > 0.99
    assert np.percentile(np.abs(original - overlap)[original > 0.01], 90) < 0.02


# Tiles.


@settings(deadline=None, max_examples=200)
@given(
    size=st.integers(16, 9000),
    tile=st.integers(4, 80).map(lambda n: 16 * n),
    stride=st.sampled_from([4, 8, 16]),
)
def test_spans_cover_an_axis(size: int, tile: int, stride: int) -> None:
    blend = 32
    spans = tiles.plan_spans(size, tile, blend, stride)
    total = np.zeros(size)
    for span in spans:
        assert span.start % stride == 0
        assert span.length % stride == 0
        assert span.length == spans[0].length
        assert span.weight.size == min(span.start + span.length, size) - span.start
        assert np.max(np.abs(np.diff(span.weight)), initial=0.0) <= 1.01 / blend
        total[span.pixels] += span.weight
    np.testing.assert_allclose(total, 1.0, atol=1e-6)
    if len(spans) > 1:
        assert tile <= spans[0].length <= tile * 17 / 16 + stride
        assert spans[0].weight[0] == spans[-1].weight[-1] == 1.0


def test_detector_needs_few_tiles() -> None:
    rows, columns = (tiles.plan_spans(size, 1024, 32, 4) for size in (4176, 2048))
    assert (len(rows), len(columns)) == (4, 2)
    assert (rows[0].length, columns[0].length) == (1068, 1040)


def test_overlap_has_no_seams(ground_imaging: CosmicConnModel) -> None:
    """A pattern that repeats is found in the same way everywhere.

    A bright star makes the statistics of the tiles differ; even so the
    probability of equal cosmic rays changes by little from one to the next.
    """
    period = 32
    y, x = np.mgrid[:416, :416]
    image = 300.0 + 100.0 * ((y % period == 13) & (np.abs(x % period - 14) <= 1))
    noise = np.random.default_rng(0).normal(0.0, 17.0, (period, period))
    image += noise[y % period, x % period]
    add_star(image, 60.0, 60.0, 4.0, 2e5)
    steps = {}
    for tiling in ("overlap", "original"):
        probability = ground_imaging.predict(image, tile=208, tiling=tiling)[96:384, 96:384]
        assert 0.05 < np.max(probability) < 0.95
        along_y = np.abs(probability[period:] - probability[:-period])
        along_x = np.abs(probability[:, period:] - probability[:, :-period])
        steps[tiling] = max(np.max(along_y), np.max(along_x))
    assert steps["overlap"] < 0.05
    assert steps["original"] > 3 * steps["overlap"]


def test_overlap_finds_cosmic_rays_at_edges_and_borders(
    golden: dict[str, np.ndarray], ground_imaging: CosmicConnModel
) -> None:
    """The image is 205x250: the original drops 13 rows and 10 columns."""
    charge = golden["charge"]
    original = golden["ground_imaging"] > 0.5 * 65535
    overlap = ground_imaging.predict(golden["image"], tile=128) > 0.5
    edge = np.zeros(charge.shape, dtype=bool)
    edge[192:] = True
    edge[:, 240:] = True
    labels, n_rays = scipy.ndimage.label((charge > 100) & edge, structure=EIGHT_CONNECTED)
    rays = range(1, n_rays + 1)
    assert n_rays >= 8
    assert sum(np.any(original[labels == ray]) for ray in rays) == 0
    assert sum(np.any(overlap[labels == ray]) for ray in rays) >= 0.7 * n_rays


def test_overlap_is_right_at_tile_borders(ground_imaging: CosmicConnModel) -> None:
    """The original misses pixels at borders, and flags stars cut in two."""
    rng = np.random.default_rng(5)
    border = 256
    scene, charge = np.full((512, 512), 300.0), np.zeros((512, 512))
    stars = []
    for along in range(16, 500, 24):
        for y, x in ((border + rng.uniform(-2.0, 1.0), along), (along, border + rng.uniform(-2.0, 1.0))):
            add_star(scene, y, x, 2.5, 10 ** rng.uniform(3.5, 5.5))
            stars.append((round(y), round(x)))
    for along in range(28, 500, 24):
        angle = rng.uniform(0.0, 6.3)
        add_track(charge, border + rng.uniform(-3.0, 2.0), along, 3.0, angle, rng.uniform(600, 2000))
        add_track(charge, along, border + rng.uniform(-3.0, 2.0), 3.0, angle, rng.uniform(600, 2000))
    image = observe(scene, charge, rng)
    original = ground_imaging.predict(image, tile=256, tiling="original") > 0.5
    overlap = ground_imaging.predict(image, tile=256) > 0.5
    at_border = np.zeros(charge.shape, dtype=bool)
    at_border[border - 1 : border + 1] = True
    at_border[:, border - 1 : border + 1] = True
    real = at_border & (charge > 150)
    assert np.count_nonzero(overlap & ~original & real) > 0
    far_from_charge = scipy.ndimage.maximum_filter(charge, 7) < 5
    false = {"original": original & far_from_charge, "overlap": overlap & far_from_charge}
    flagged = {
        name: sum(np.any(mask[y - 2 : y + 3, x - 2 : x + 3]) for y, x in stars)
        for name, mask in false.items()
    }
    assert flagged["original"] >= 10
    assert flagged["overlap"] == 0


# Bad pixels and sky.


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_unusable_values_act_nearby_only(
    golden: dict[str, np.ndarray], ground_imaging: CosmicConnModel, value: float
) -> None:
    """What is left is that the statistics lose one percent of the pixels."""
    image = golden["image"] + np.float32(5000.0)
    clean = ground_imaging.predict(image)
    bad = np.zeros(image.shape, dtype=bool)
    bad[60:70, 30:60] = True
    bad[:, 200] = True
    image[bad] = value
    dirty = ground_imaging.predict(image)
    far = scipy.ndimage.distance_transform_cdt(~bad, "chessboard") > 22
    assert np.all(dirty[bad] == 0.0)
    assert np.count_nonzero(clean[far] > 0.5) > 100
    assert np.max(np.abs(dirty - clean)[far]) < 0.04
    assert f1_score((dirty > 0.5)[far], (clean > 0.5)[far]) > 0.995
    near = ~far & ~bad
    assert f1_score((dirty > 0.5)[near], (clean > 0.5)[near]) > 0.9


def test_original_tiling_lets_nan_act_far_away(
    golden: dict[str, np.ndarray], ground_imaging: CosmicConnModel
) -> None:
    """NaN becomes 0 and the sky is 5350, so the statistics are wrong."""
    image = golden["image"] + np.float32(5000.0)
    clean = ground_imaging.predict(image, tiling="original")
    image[:, 200] = np.nan
    dirty = ground_imaging.predict(image, tiling="original")
    assert np.max(np.abs(dirty - clean)[:, :170]) > 0.3


def test_bad_mask_is_as_good_as_nan(golden: dict[str, np.ndarray], ground_imaging: CosmicConnModel) -> None:
    image = golden["image"].astype(np.float32)
    bad = np.zeros(image.shape, dtype=bool)
    bad[60:70, 30:60] = True
    image[bad] = 9e4
    with_mask = ground_imaging.predict(image, bad=bad)
    image[bad] = np.nan
    np.testing.assert_array_equal(with_mask, ground_imaging.predict(image))


@pytest.mark.parametrize("tiling", ["overlap", "original"])
def test_sky_does_not_matter(
    golden: dict[str, np.ndarray], ground_imaging: CosmicConnModel, tiling: str
) -> None:
    image = golden["image"].astype(np.float32)
    expected = ground_imaging.predict(image, tiling=tiling)
    np.testing.assert_allclose(
        ground_imaging.predict(image + 2048, tiling=tiling), expected, atol=1e-5, rtol=0
    )


def test_bad_pixels_are_filled_from_good_ones() -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(100.0, 1.0, (60, 60)).astype(np.float32)
    image[:, :20] += 1000.0
    bad = np.zeros(image.shape, dtype=bool)
    bad[:, 10] = True
    bad[20:50, 30:60] = True
    filled = np.where(bad, np.float32(np.nan), image)
    tiles.fill_bad_pixels(filled, bad, 100.0)
    np.testing.assert_array_equal(filled[~bad], image[~bad])
    assert np.all(np.abs(filled[:, 10] - 1100.0) < 3.0)
    assert np.all(np.abs(filled[20:50, 30:60] - 100.0) < 3.0)
    assert np.all(filled[30:40, 40:] == 100.0)


def test_input_is_not_changed(ground_imaging: CosmicConnModel) -> None:
    image = np.full((40, 50), 100.0, dtype=np.float32)
    image[5, 5] = np.nan
    before = image.copy()
    for tiling in ("overlap", "original"):
        ground_imaging.predict(image, tiling=tiling)
    np.testing.assert_array_equal(image, before)


def test_tile_without_good_pixels_has_no_cosmic_rays(ground_imaging: CosmicConnModel) -> None:
    image = make_field(3, n_stars=10, n_tracks=10, shape=(96, 300))
    image[:, 100:] = np.nan
    probability = ground_imaging.predict(image, tile=96)
    assert np.all(np.isfinite(probability))
    assert np.all(probability[:, 100:] == 0.0)
    assert np.any(probability[:, :100] > 0.5)


def test_big_endian_and_integers(golden: dict[str, np.ndarray], ground_imaging: CosmicConnModel) -> None:
    part = golden["image"][:64, :64]
    expected = ground_imaging.predict(part.astype(np.float32))
    for dtype in (">f4", ">i2", "f8", "u2"):
        np.testing.assert_array_equal(ground_imaging.predict(part.astype(dtype)), expected)


# Selective evaluation.


@pytest.mark.parametrize(("n_stars", "n_tracks", "seed"), [(80, 40, 11), (400, 40, 12), (0, 60, 13)])
def test_selective_agrees_with_full(
    ground_imaging: CosmicConnModel, n_stars: int, n_tracks: int, seed: int
) -> None:
    image = make_field(seed, n_stars, n_tracks, shape=(1024, 1024))
    full = ground_imaging.predict(image)
    part = ground_imaging.predict(image, speed="selective")
    assert np.mean(part > 0.0) < 0.5
    assert f1_score(full > 0.5, part > 0.5) >= 0.995
    assert np.max(np.abs(full - part)[part > 0.0]) < 0.2


def test_selective_is_exact_without_group_statistics() -> None:
    model = load_model("HST_ACS_WFC", threads=1)
    image = make_field(14, n_stars=30, n_tracks=20, shape=(384, 384))
    full = model.predict(image)
    part = model.predict(image, speed="selective")
    assert 0.01 < np.mean(part > 0.0) < 0.5
    np.testing.assert_allclose(part[part > 0.0], full[part > 0.0], atol=1e-4, rtol=0)


def test_selective_evaluates_what_is_small_or_crowded_whole(ground_imaging: CosmicConnModel) -> None:
    image = make_field(15, n_stars=10, n_tracks=10, shape=(200, 200))
    np.testing.assert_array_equal(
        ground_imaging.predict(image, speed="selective"), ground_imaging.predict(image)
    )


class RecordingNetwork:
    """Notes whether a tile is evaluated whole or in parts."""

    def __init__(self, model: CosmicConnModel) -> None:
        network = model._network
        self.architecture, self.steps = network.architecture, network.steps
        self.reach, self.stride = network.reach, network.stride
        self.asked: list[str] = []
        self.measure_responses, self.threads = network.measure_responses, network.threads

    def evaluate(self, window: np.ndarray) -> np.ndarray:
        self.asked.append("whole")
        return np.zeros((window.shape[0] - 2 * self.reach, window.shape[1] - 2 * self.reach))

    def evaluate_parts(
        self, window: np.ndarray, tiles: list[np.ndarray], weights: list[np.ndarray]
    ) -> np.ndarray:
        self.asked.append("parts")
        part = coverage.evaluation_cost(tiles, self.architecture)
        assert 0.0 < part <= selective.MOST_WORK
        return self.evaluate(window)


@pytest.mark.parametrize(("n_tracks", "asked"), [(20, ["parts", "whole"]), (3000, ["whole"])])
def test_crowded_tile_is_known_by_what_is_sharp(
    ground_imaging: CosmicConnModel, monkeypatch: pytest.MonkeyPatch, n_tracks: int, asked: list[str]
) -> None:
    """To find out costs the first test: nothing else is looked at."""
    network = RecordingNetwork(ground_imaging)
    looked = []
    for name in ("find_long_cells", "choose_blocks"):
        function = getattr(selective, name)
        monkeypatch.setattr(
            selective, name, lambda *given, f=function, name=name: (looked.append(name), f(*given))[1]
        )
    image = make_field(22, n_stars=20, n_tracks=n_tracks, shape=(1044, 1044)) - np.float32(300.0)
    selective.SelectiveEvaluator(network).evaluate(image)
    assert network.asked == asked
    assert looked == (["find_long_cells", "choose_blocks"] if n_tracks == 20 else [])


def test_selective_evaluates_residuals_whole(ground_imaging: CosmicConnModel) -> None:
    """A difference of images of unlike seeing has dipoles everywhere."""
    image = make_field(20, n_stars=60, n_tracks=20, shape=(520, 520))
    image -= scipy.ndimage.gaussian_filter(image, 1.0)
    np.testing.assert_array_equal(
        ground_imaging.predict(image, speed="selective"), ground_imaging.predict(image)
    )


def find_sharp_cells(image: np.ndarray, sky: float = 300.0) -> np.ndarray:
    window = (image - sky).astype(np.float32)
    tile = (image.shape[0] - 44, image.shape[1] - 44)
    return screening.find_sharp_cells(window, *screening.measure_sharpness(window), 22, tile)


def test_stars_are_not_sharp_and_cosmic_rays_are() -> None:
    rng = np.random.default_rng(18)
    scene = np.full((400, 400), 300.0)
    add_stars(scene, rng, 60, 4.0, (3.0, 4.3))
    nothing = np.zeros(scene.shape)
    stars = find_sharp_cells(observe(scene, nothing, rng))
    charge = np.zeros(scene.shape)
    places = [(50 + 40 * i, 60 + 37 * i) for i in range(8)]
    for i, place in enumerate(places):
        add_track(charge, *place, float(i), 0.3 * i, 1500.0)
    both = find_sharp_cells(observe(scene, charge, rng))
    assert np.mean(stars) < 0.03
    assert all(both[(y - 22) // 8, (x - 22) // 8] for y, x in places)


def test_faint_trails_are_long_and_stars_are_not() -> None:
    """A trail as wide as the PSF is nowhere sharp, but may be found."""
    rng = np.random.default_rng(19)
    y, x = np.mgrid[:300, :300]
    across = (x - 150) * np.cos(0.4) + (y - 150) * np.sin(0.4)
    trail = 6.0 * np.exp(-0.5 * (across / 0.85) ** 2)
    stars = np.zeros((300, 300))
    for x0, y0, peak in ((40, 60, 8.0), (60, 220, 40.0), (250, 80, 3000.0), (220, 250, 15.0)):
        stars += peak * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / 1.7**2)
    noise = rng.normal(size=(300, 300))
    reach, shape = 20, (260, 260)
    cells = [
        screening.find_long_cells((scene + noise).astype(np.float32), reach, shape)
        for scene in (stars, trail)
    ]
    assert not np.any(cells[0])
    peaks_y, peaks_x = np.nonzero((np.abs(across) < 0.3)[20:280, 20:280])
    assert np.mean(cells[1][peaks_y // 8, peaks_x // 8]) > 0.97
    assert np.mean(cells[1]) < 0.1


def test_bright_stars_are_not_sharp_where_light_raises_the_limit() -> None:
    """A star of sigma 1.7 has a tenth of its light as sharpness."""
    rng = np.random.default_rng(21)
    y, x = np.mgrid[:300, :300]
    scene = np.full((300, 300), 1000.0)
    for i in range(6):
        for j in range(6):
            scene += (
                3000.0
                * (i + 1)
                * np.exp(-0.5 * ((x - 45.3 - 42 * j) ** 2 + (y - 44.6 - 42 * i) ** 2) / 1.7**2)
            )
    image = rng.poisson(scene).astype(float)
    # With a limit that does not rise: all 36, a seventh of the cells.
    assert np.mean(find_sharp_cells(image, 1000.0)) < 0.04
    image[150, 150] += 1000.0
    image[44, 47] += 6000.0
    cells = find_sharp_cells(image, 1000.0)
    assert cells[(150 - 22) // 8, (150 - 22) // 8]
    assert cells[(44 - 22) // 8, (47 - 22) // 8]


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.integers(8, 64))
def test_sample_stands_for_all_blocks(seed: int, ny: int, nx: int, size: int) -> None:
    measure = np.random.default_rng(seed).pareto(1.0, (ny, nx)) + 1e-3
    sample = sampling.choose_blocks(measure, size)
    assert abs(np.count_nonzero(sample.drawn) - min(size, measure.size)) <= 1
    assert np.all(sample.probability <= 1.0)
    assert np.all(sample.drawn[sample.probability >= 1.0])
    assert np.all(sample.probability[measure >= np.sum(measure) / size] == 1.0)
    total = np.sum(measure[sample.drawn] / sample.probability[sample.drawn])
    assert total == pytest.approx(np.sum(measure), rel=1.01 / size)


def test_sample_of_equal_blocks() -> None:
    sample = sampling.choose_blocks(np.full((24, 20), 7.0), 48)
    assert np.count_nonzero(sample.drawn) == 48
    np.testing.assert_allclose(sample.probability, 0.1)


def test_blocks_with_nothing_to_represent_are_not_drawn() -> None:
    cells = np.ones((9, 8))
    areas = np.ones((9, 8))
    areas[:4] = 0.0
    importance = sampling.rate_blocks(cells, cells, areas)
    assert importance.shape == (5, 4)
    np.testing.assert_array_equal(importance > 0.0, np.arange(5)[:, np.newaxis] >= np.full(4, 2))
    assert not np.any(sampling.choose_blocks(importance, 5).drawn[:2])


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(8, 80), st.floats(0.0, 0.2))
def test_weights_of_grains_stand_for_the_tile(seed: int, size: int, density: float) -> None:
    """Known grains count once; all together count as often as there are."""
    rng = np.random.default_rng(seed)
    shape = (244, 200)
    steps = coverage.convolutions(Architecture(hidden=32, depth=2, norm="group"))
    areas = coverage.cell_areas(shape)
    cells = rng.random(areas.shape) < density
    light = rng.pareto(1.0, areas.shape)
    sample = sampling.choose_blocks(sampling.rate_blocks(light, light, np.where(cells, 0.0, areas)), size)
    chosen = [
        some.repeat(2, axis=0).repeat(2, axis=1)[: shape[0] // 4, : shape[1] // 4]
        for some in (cells | sample.cells(cells.shape, 1.0), sample.cells(cells.shape))
    ]
    for around in {step.around for step in steps}:
        weights = sample.weigh(cells, around, shape, 4)
        weight = weights.weight
        assert weight.shape == (shape[0] // 4, shape[1] // 4)
        assert np.sum(weight) == pytest.approx(weight.size, rel=1e-9)
        certain, drawn = (
            scipy.ndimage.binary_dilation(some, np.ones((2 * around + 1, 2 * around + 1))) for some in chosen
        )
        np.testing.assert_array_equal(weights.known, certain)
        assert np.all(weight[~certain & ~drawn] == 0.0)
        if np.any(weight[~certain] > 0.0):
            np.testing.assert_allclose(weight[certain], 1.0, rtol=1e-9)


# Threads.


def test_threads_of_onnxruntime() -> None:
    for threads in (1, 2):
        model = load_model("NRES", threads=threads)
        model.predict(np.zeros((32, 32)), tiling="original")
        network = OnnxNetwork(model._tensors, model.architecture, "cpu", threads)
        sessions = [model._tile_session, network._session]
        assert [s.get_session_options().intra_op_num_threads for s in sessions] == [threads, threads]


def test_threads_of_our_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    pool = blocks.concurrent.futures.ThreadPoolExecutor

    def make_pool(n_threads: int) -> object:
        asked.append(n_threads)
        return pool(n_threads)

    monkeypatch.setattr(blocks.concurrent.futures, "ThreadPoolExecutor", make_pool)
    load_model("NRES", threads=3).predict(np.zeros((32, 32)))
    assert asked == [3]


def test_selective_uses_as_many_threads_as_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    pool = blocks.concurrent.futures.ThreadPoolExecutor

    def make_pool(n_threads: int) -> object:
        asked.append(n_threads)
        return pool(n_threads)

    monkeypatch.setattr(blocks.concurrent.futures, "ThreadPoolExecutor", make_pool)
    image = make_field(19, n_stars=0, n_tracks=5, shape=(256, 256))
    load_model("HST_ACS_WFC", threads=3).predict(image, speed="selective")
    assert asked == [3]


# Bad input.


@pytest.mark.parametrize("tiling", ["overlap", "original"])
@pytest.mark.parametrize("shape", [(15, 100), (100, 3), (0, 20)])
def test_image_smaller_than_the_stride(
    ground_imaging: CosmicConnModel, shape: tuple[int, int], tiling: str
) -> None:
    with pytest.raises(ImageTooSmallError, match=rf"shape \({shape[0]}, {shape[1]}\).* at least 16"):
        ground_imaging.predict(np.zeros(shape), tiling=tiling)


def test_smallest_image(ground_imaging: CosmicConnModel) -> None:
    image = np.full((16, 17), 100.0)
    image[8, 8] = 5000.0
    assert ground_imaging.predict(image).shape == (16, 17)


@pytest.mark.parametrize("tiling", ["overlap", "original"])
def test_image_without_a_good_pixel(ground_imaging: CosmicConnModel, tiling: str) -> None:
    with pytest.raises(ValueError, match="None of the 1600 pixels"):
        ground_imaging.predict(np.full((40, 40), np.nan), tiling=tiling)
    with pytest.raises(ValueError, match="None of the 1600 pixels"):
        ground_imaging.predict(np.zeros((40, 40)), tiling=tiling, bad=np.ones((40, 40), dtype=bool))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tiling": "mosaic"}, "Unknown tiling 'mosaic'"),
        ({"speed": "warp"}, "Unknown speed 'warp'"),
        ({"tile": 100}, "multiple of 16"),
        ({"tile": 32}, "at least 64"),
        ({"bad": np.zeros((4, 4), dtype=bool)}, r"bad has shape \(4, 4\)"),
        ({"tiling": "original", "speed": "selective"}, "needs tiling 'overlap'"),
    ],
)
def test_unknown_options(ground_imaging: CosmicConnModel, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ground_imaging.predict(np.zeros((64, 64)), **options)


def test_image_of_three_dimensions(ground_imaging: CosmicConnModel) -> None:
    with pytest.raises(ValueError, match="two dimensions"):
        ground_imaging.predict(np.zeros((2, 64, 64)))


@pytest.mark.slow
def test_memory_of_a_whole_tile() -> None:
    """Evaluating a tile of the size that a detector needs takes < 0.9 GB."""
    program = (
        "import resource, numpy as np\n"
        "from lsst.meas.cosmicrays.engines.cosmic_conn import load_model\n"
        "model = load_model('ground_imaging', threads=2)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "model.predict(np.random.default_rng(0).normal(size=(1068, 1040)))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 0.9e9
