# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fast L.A.Cosmic against astroscrappy, bit for bit."""

from __future__ import annotations

import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import astroscrappy
import numpy as np
import pytest
from astropy.io import fits
from astroscrappy import astroscrappy as compiled_astroscrappy
from astroscrappy import utils
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.meas.cosmicrays.engines.lacosmic import background, detect, detect_cosmics
from lsst.meas.cosmicrays.engines.lacosmic import search as lacosmic_search
from lsst.meas.cosmicrays.engines.lacosmic import threads as lacosmic_threads
from lsst.meas.cosmicrays.engines.lacosmic.arguments import check_parameters
from lsst.meas.cosmicrays.engines.lacosmic.cleaned import (
    NOWHERE,
    insert_cleaned,
    nothing_cleaned,
    place_of,
    with_cleaned,
)
from lsst.meas.cosmicrays.engines.lacosmic.detect import _box, forget
from lsst.meas.cosmicrays.engines.lacosmic.frame import (
    ABOVE,
    ABOVE_NEIGHBOUR,
    BAD,
    COSMIC_RAY,
    HEIGHT,
    KNOWN,
    NEAR,
    REACH,
    Frame,
    laplacian_at,
)
from lsst.meas.cosmicrays.engines.lacosmic.interface import _new_frame
from lsst.meas.cosmicrays.engines.lacosmic.kernels import psf_kernel
from lsst.meas.cosmicrays.engines.lacosmic.medians import (
    MEDIAN9,
    MEDIAN25,
    MEDIAN49,
    median5,
    median7,
    median9,
    network_median,
    quickselect,
)
from lsst.meas.cosmicrays.engines.lacosmic.patches import Patches, gather, locate, off_edges
from lsst.meas.cosmicrays.engines.lacosmic.search import Search
from lsst.meas.cosmicrays.engines.lacosmic.threads import Threads

# astroscrappy writes beyond its arrays if the image is smaller than this.
SMALLEST = 4


def original(image: np.ndarray, **arguments: Any) -> tuple[np.ndarray, np.ndarray]:
    """Run astroscrappy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mask, cleaned = astroscrappy.detect_cosmics(image, **arguments)
    return mask, cleaned


def assert_same_bits(ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]) -> None:
    """Fail unless results are identical; any NaN is as good as any other."""
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    finite = ~np.isnan(ours[1])
    np.testing.assert_array_equal(np.signbit(ours[1][finite]), np.signbit(theirs[1][finite]))


def make_scene(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Image and variance of a sky with stars, tracks and clumps of CRs."""
    ny, nx = shape
    y, x = np.mgrid[:ny, :nx]
    scene = np.full(shape, 200.0)
    for _ in range(rng.integers(0, max(2, ny * nx // 500))):
        distance2 = (y - rng.uniform(0, ny)) ** 2 + (x - rng.uniform(0, nx)) ** 2
        scene += 10 ** rng.uniform(2, 6) / 20 * np.exp(-distance2 / 8)
    variance = scene + 40
    image = rng.normal(scene, np.sqrt(variance))
    for _ in range(rng.integers(1, max(3, ny * nx // 120))):
        angle, length, width = rng.uniform(0, 2 * np.pi), rng.exponential(6), rng.integers(1, 7)
        along, across = np.meshgrid(np.arange(0, length + 1, 0.5), 0.7 * np.arange(width))
        rows = (rng.uniform(0, ny) + along * np.sin(angle) + across * np.cos(angle)).astype(int).ravel()
        columns = (rng.uniform(0, nx) + along * np.cos(angle) - across * np.sin(angle)).astype(int).ravel()
        inside = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx)
        image[rows[inside], columns[inside]] += 10 ** rng.uniform(1.5, 4) * rng.uniform(
            0.5, 1.5, inside.sum()
        )
    return image.astype(np.float32), variance.astype(np.float32)


@st.composite
def problems(draw: st.DrawFn, largest: int = 48) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw an image and arguments."""
    shape = draw(st.integers(SMALLEST, largest)), draw(st.integers(SMALLEST, largest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    image, variance = make_scene(rng, shape)
    arguments: dict[str, Any] = {
        "sigclip": draw(st.sampled_from([4.5, 1.0, 2.5, 5.0, 7.5, 0.0, np.inf])),
        "sigfrac": draw(st.sampled_from([0.3, 0.0, 0.7, 1.0, 1.4])),
        "objlim": draw(st.sampled_from([5.0, 0.0, 0.5, 2.0, 8.0])),
        "gain": draw(st.sampled_from([1.0, 0.37, 2.9])),
        "readnoise": draw(st.sampled_from([6.5, 0.0, 17.3])),
        "satlevel": draw(st.sampled_from([65536.0, 150.0, 900.0, 7000.0, np.inf, -1.0])),
        "niter": draw(st.sampled_from([4, 1, 2, 0, 7])),
        "sepmed": draw(st.booleans()),
        "cleantype": draw(st.sampled_from(["meanmask", "medmask", "idw"])),
        "fsmode": draw(st.sampled_from(["median", "convolve"])),
        "psfmodel": draw(st.sampled_from(["gauss", "gaussx", "gaussy", "moffat"])),
        "psffwhm": draw(st.sampled_from([2.5, 1.1, 4.7])),
        "psfsize": draw(st.sampled_from([7, 1, 3, 6, 11])),
        "psfbeta": draw(st.sampled_from([4.765, 2.5])),
    }
    if draw(st.booleans()):
        arguments["invar"] = variance
    if draw(st.booleans()):
        arguments["inbkg"] = rng.normal(150, 10, shape).astype(np.float32)
    if draw(st.booleans()):
        arguments["inmask"] = rng.random(shape) < draw(st.sampled_from([0.003, 0.05, 1.0]))
    if draw(st.booleans()):
        kernel_shape = draw(st.integers(1, 8)), draw(st.integers(1, 8))
        arguments["psfk"] = rng.random(kernel_shape).astype(np.float32)
    return image, arguments


@given(problems())
@settings(max_examples=100, deadline=None)
def test_same_as_astroscrappy(problem: tuple[np.ndarray, dict[str, Any]]) -> None:
    image, arguments = problem
    assert_same_bits(detect_cosmics(image, **arguments), original(image, **arguments))


@given(problems(), st.integers(0, 2**32), st.sampled_from([np.nan, np.inf, -np.inf, -0.0, 3e38, 1e-40]))
@settings(max_examples=60, deadline=None)
def test_same_with_numbers_that_are_none(
    problem: tuple[np.ndarray, dict[str, Any]], seed: int, number: float
) -> None:
    image, arguments = problem
    rng = np.random.default_rng(seed)
    for plane in (image, *(arguments[name] for name in ("invar", "inbkg") if name in arguments)):
        plane[rng.random(plane.shape) < 0.04 * rng.random()] = np.nan
        plane[rng.random(plane.shape) < 0.04 * rng.random()] = number
    assert_same_bits(detect_cosmics(image, **arguments), original(image, **arguments))


@pytest.mark.parametrize("arguments", [{}, {"gain": 1.7}, {"gain": 1.7, "satlevel": 900.0}])
@pytest.mark.parametrize("dtype", ["f8", ">f4", "<f2", "i2", ">u2", "i8", "u1"])
def test_same_for_every_type(dtype: str, arguments: dict[str, float]) -> None:
    rng = np.random.default_rng(71)
    image = make_scene(rng, (40, 37))[0].clip(0, 255 if dtype == "u1" else 30000).astype(dtype)
    background = np.full(image.shape, 150).astype(dtype)
    inmask = (rng.random(image.shape) < 0.02).astype(np.int16) * 3
    weights = np.where(inmask > 0, 1.5, 0.4)
    for given_arguments in ({}, {"inbkg": background}, {"inmask": inmask}, {"inmask": weights}):
        ours = detect_cosmics(image, **given_arguments, **arguments)
        assert_same_bits(ours, original(image, **given_arguments, **arguments))


def test_same_for_every_memory_layout() -> None:
    rng = np.random.default_rng(72)
    image, variance = make_scene(rng, (80, 90))
    mask = rng.random(image.shape) < 0.01
    for view in (np.asfortranarray, lambda a: a[::2, ::3], lambda a: a[::-1, ::-1], np.transpose):
        theirs = original(
            view(image), invar=view(variance).copy(), inmask=view(mask), inbkg=view(variance) - 60
        )
        ours = detect_cosmics(view(image), invar=view(variance), inmask=view(mask), inbkg=view(variance) - 60)
        assert_same_bits(ours, theirs)
        ours = detect_cosmics(view(image), invar=view(variance))
        assert_same_bits(ours, original(view(image), invar=view(variance).copy()))


def _unaligned(plane: np.ndarray) -> np.ndarray:
    copy = np.frombuffer(bytearray(plane.nbytes + 1), dtype=np.float32, offset=1).reshape(plane.shape)
    copy[:] = plane
    return copy


def _read_only(plane: np.ndarray) -> np.ndarray:
    copy = plane.copy()
    copy.flags.writeable = False
    return copy


@pytest.mark.parametrize("view", [np.copy, _unaligned, _read_only])
def test_given_planes_are_not_changed_wherever_they_are(
    view: Callable[[np.ndarray], np.ndarray],
) -> None:
    image, variance = make_scene(np.random.default_rng(79), (90, 70))
    expected = original(image, invar=variance)
    assert expected[0].any()
    planes = {"invar": view(variance)}
    assert_same_bits(detect_cosmics(view(image), **planes), expected)
    np.testing.assert_array_equal(planes["invar"], variance)
    planes["inbkg"] = view(variance) - np.float32(60)
    theirs = original(image, invar=variance, inbkg=variance - np.float32(60))
    assert_same_bits(detect_cosmics(view(image), **planes), theirs)
    same = view(variance)
    assert_same_bits(detect_cosmics(same, invar=same), original(variance, invar=variance))
    np.testing.assert_array_equal(same, variance)


def test_compiled_once_wherever_planes_are() -> None:
    """To compile it again would take longer than a minute."""
    image, variance = make_scene(np.random.default_rng(80), (40, 50))
    for view in (np.copy, _unaligned, _read_only):
        detect_cosmics(view(image), invar=view(variance))
        detect_cosmics(view(image), invar=view(variance), inbkg=view(variance) - np.float32(60))
    assert len(detect.scan.signatures) == 1


def test_variance_of_other_types_is_used_in_single_precision() -> None:
    image, variance = make_scene(np.random.default_rng(73), (50, 50))
    expected = original(image, invar=variance, gain=1.3)
    for dtype in ("f8", ">f4", "f16"):
        assert_same_bits(detect_cosmics(image, invar=variance.astype(dtype), gain=1.3), expected)


def test_kernel_of_other_types_is_used_in_single_precision() -> None:
    image, _ = make_scene(np.random.default_rng(74), (50, 50))
    kernel = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]])
    expected = original(image, fsmode="convolve", psfk=kernel.astype(np.float32))
    assert_same_bits(detect_cosmics(image, fsmode="convolve", psfk=kernel), expected)


def share_lists(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """Let threads share all lists but those of a few pixels."""
    monkeypatch.setattr(lacosmic_threads, "FEW_PIXELS", few)
    monkeypatch.setattr(lacosmic_search, "PIXELS", max(few, 1))
    monkeypatch.setattr(lacosmic_search, "TESTED", max(few, 1))


FRAMES = {
    "noise": lambda rng, shape: rng.normal(500, 20, shape),
    "saturated": lambda rng, shape: rng.normal(70000, 200, shape),
    "five per cent": lambda rng, shape: rng.normal(500, 20, shape) + 2000 * (rng.random(shape) < 0.05),
    "nothing but CRs": lambda rng, shape: rng.uniform(0, 1e5, shape),
    "constant": lambda rng, shape: np.full(shape, 7.0),
    "zero": lambda rng, shape: np.zeros(shape),
    "negative": lambda rng, shape: rng.normal(-3000, 20, shape),
    "nothing but NaN": lambda rng, shape: np.full(shape, np.nan),
}


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"sigclip": 1.5, "satlevel": np.inf},
        {"sepmed": False, "cleantype": "medmask", "satlevel": np.inf},
        {"fsmode": "convolve", "cleantype": "idw", "satlevel": np.inf},
    ],
)
def test_same_on_frames_with_many_candidates(
    frame: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lacosmic_threads, "PIXELS_OF_STRIP", 2000)
    share_lists(monkeypatch, 10)
    image = FRAMES[frame](np.random.default_rng(75), (150, 131)).astype(np.float32)
    assert_same_bits(detect_cosmics(image, **arguments, n_threads=3), original(image, **arguments))


@pytest.mark.parametrize("seed", [194, 1234, 1371, 2134, 2372, 2971])
def test_what_is_cleaned_matters_as_far_as_filters_reach(seed: int) -> None:
    """Cases of some thousands in which a pixel far from a CR joins later."""
    rng = np.random.default_rng(seed)
    side = int(rng.integers(60, 200))
    image, variance = make_scene(rng, (side, side))
    if rng.random() < 0.5:
        image = np.random.default_rng(seed + 10**6).normal(200, 15, (side, side)).astype(np.float32)
        variance = np.full(image.shape, np.float32(rng.choice([30, 100, 225])))
    arguments = {
        "sigclip": float(rng.choice([1.0, 1.5, 2.0, 3.0, 4.5])),
        "sigfrac": float(rng.choice([0.1, 0.3, 0.7, 1.0, 1.4])),
        "objlim": float(rng.choice([0.0, 0.5, 1.0, 2.0, 5.0])),
        "niter": int(rng.choice([2, 4, 7])),
        "sepmed": bool(rng.random() < 0.6),
        "invar": variance,
    }
    assert_same_bits(detect_cosmics(image, **arguments), original(image, **arguments))


@pytest.mark.parametrize("sepmed", [True, False])
@pytest.mark.parametrize("sigclip", [4.5, 0.7, 1e-18, 1e9])
def test_pixels_that_barely_reach_the_limit(sigclip: float, sepmed: bool) -> None:
    """What is passed over unseen is not even a rounding error too much."""
    rng = np.random.default_rng(5)
    noise = 3.0
    image = np.zeros((300, 300), dtype=np.float32)
    places = np.mgrid[10:290:14, 10:290:14]
    # The Laplacian of a single pixel is twice its height.
    near = rng.choice([1e-2, 1e-4, 1e-6, 1e-7], places.shape[1:]) * rng.uniform(-1, 1, places.shape[1:])
    image[*places] = sigclip * noise * (1 + near)
    variance = np.full(image.shape, noise**2, dtype=np.float32)
    arguments = {"sigclip": sigclip, "objlim": 0.0, "sepmed": sepmed, "invar": variance, "niter": 1}
    arguments["satlevel"] = np.inf
    ours, theirs = detect_cosmics(image, **arguments), original(image, **arguments)
    assert_same_bits(ours, theirs)
    assert 0.3 < ours[0][*places].mean() < 0.7


@settings(deadline=None, max_examples=300)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    place=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    reach=st.integers(0, 5),
    distance=st.integers(0, 5),
)
def test_columns_off_the_edges(
    shape: tuple[int, int], place: tuple[float, float], size: tuple[int, int], reach: int, distance: int
) -> None:
    (ny, nx), (height, width) = shape, size
    top, left = int(place[0] * ny), int(place[1] * nx)
    patches = Patches(np.array([top]), np.array([left]), np.array([top * nx + left]), height, width)
    columns = np.arange(width + 2 * reach)
    x = left - reach + columns
    for row in range(height + 2 * reach):
        y = top - reach + row
        first, last = off_edges(patches, 0, reach, row, distance, shape)
        assert 0 <= first <= last <= columns.size
        off = np.minimum(np.minimum(x, nx - 1 - x), min(y, ny - 1 - y)) >= distance
        np.testing.assert_array_equal((columns >= first) & (columns < last), off)


def test_threads_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    image, variance = make_scene(np.random.default_rng(76), (200, 300))
    expected = original(image, invar=variance)
    monkeypatch.setattr(lacosmic_threads, "PIXELS_OF_STRIP", 1)
    share_lists(monkeypatch, 10)
    for n_threads in (1, 2, 7):
        assert_same_bits(detect_cosmics(image, invar=variance, n_threads=n_threads), expected)


def test_may_be_called_from_several_threads() -> None:
    scenes = [make_scene(np.random.default_rng(seed), (90, 90)) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda scene: detect_cosmics(scene[0], invar=scene[1]), scenes))
    for (image, variance), result in zip(scenes, results, strict=True):
        assert_same_bits(result, original(image, invar=variance))


@pytest.mark.parametrize("shape", [(ny, nx) for ny in range(1, 6) for nx in (1, 2, 3, 50)])
def test_images_too_small_for_the_filters_have_no_crs(shape: tuple[int, int]) -> None:
    """Expected is what astroscrappy computes where it doesn't crash."""
    image = np.random.default_rng(77).normal(100, 10, shape).astype(np.float32)
    image[0, -1] = 1e4
    for arguments in ({}, {"sepmed": False}, {"fsmode": "convolve"}):
        for view in (image, image.T):
            mask, cleaned = detect_cosmics(view, gain=1.3, **arguments)
            assert not mask.any()
            np.testing.assert_array_equal(cleaned, view * np.float32(1.3) / np.float32(1.3))


@pytest.mark.parametrize("cleantype", ["meanmask", "medmask", "idw"])
def test_cr_without_good_neighbours_becomes_background(cleantype: str) -> None:
    rng = np.random.default_rng(78)
    image = rng.normal(300, 10, (60, 60)).astype(np.float32)
    image[20:27, 30:37] += rng.uniform(1e3, 1e5, (7, 7)).astype(np.float32)
    arguments = {"cleantype": cleantype, "sigclip": 1.0, "objlim": 0.1, "satlevel": np.inf, "niter": 6}
    mask, cleaned = detect_cosmics(image, **arguments)
    assert mask[20:27, 30:37].all()
    assert cleaned[23, 33] == np.sort(image, axis=None)[image.size // 2 - 1]
    assert_same_bits((mask, cleaned), original(image, **arguments))


@given(
    st.integers(0, 2**32),
    st.sampled_from(["", "nan", "zero", "few levels"]),
    st.integers(1, 400),
    st.integers(1, 90),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_background_levels(seed: int, content: str, ny: int, nx: int, some_masked: bool) -> None:
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 1, (ny, nx)).astype(np.float32)
    if content == "nan":
        image[rng.random(image.shape) < 0.1] = np.nan
    if content == "few levels":
        image = np.round(image) + np.float32(10)
    if content == "zero":
        image[rng.random(image.shape) < 0.8] = 0
        image *= rng.choice(np.array([-1, 1], dtype=np.float32), image.shape)
    parts = [0.7, 0.1, 0.2] if some_masked else [0.8, 0, 0.2]
    flags = rng.choice(np.array([0, BAD, COSMIC_RAY], dtype=np.uint8), image.shape, p=parts)
    flags.flat[0] = COSMIC_RAY
    crs = np.flatnonzero(flags == COSMIC_RAY)
    damaged = image.copy()
    damaged.flat[crs] = 99
    variance = image * np.float32(2) + np.float32(3)
    nothing = np.empty((0, 0), dtype=np.float32)
    # Rows are looked at before there are CRs, or when the medians are needed.
    before = Frame(image.copy(), flags & BAD, variance, nothing, nothing, nothing_cleaned(ny, nx))
    with Threads(2, image.shape) as threads:
        levels = background.BackgroundLevels(before, threads)
        assert (levels._limits is not None) == (flags == BAD).any()
        threads.over_rows(levels.look)
        before.image[:], before.flags[:] = damaged, flags
        found = levels.find(crs, image.flat[crs])
    for level, plane in zip(found, (image, variance), strict=True):
        usable = plane[flags != BAD]
        expected = np.float32(utils.median(usable, usable.size))
        np.testing.assert_array_equal(level, expected)
        assert np.isnan(level) or np.signbit(level) == np.signbit(expected)


@pytest.mark.parametrize("width", [100, 128, 512, 2048])
def test_background_of_what_is_regular(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns that repeat do not mislead the sample: one pass is enough."""
    monkeypatch.setattr(background, "_exact_level", pytest.fail)
    narrow = background._narrow
    calls = []
    monkeypatch.setattr(background, "_narrow", lambda *args: calls.append(args[1]) or narrow(*args))
    rng = np.random.default_rng(6)
    shape = (2048, 2048)
    columns = np.tile(np.linspace(0, 50, width, dtype=np.float32), 2048 // width + 2)[32 : 32 + 2048]
    bands = 100 * (np.arange(2048, dtype=np.float32) // 293)
    image = rng.normal(700, 2, shape).astype(np.float32) + columns + bands[:, np.newaxis]
    flags = np.zeros(shape, dtype=np.uint8)
    nothing = np.empty((0, 0), dtype=np.float32)
    other = image[::-1].copy()
    frame = Frame(image, flags, other, nothing, nothing, nothing_cleaned(*shape))
    pixels, values = np.zeros(1, dtype=np.int64), np.full(1, 7, dtype=np.float32)
    with Threads(2, shape) as threads:
        background_levels = background.BackgroundLevels(frame, threads)
        flags[0, 0] = COSMIC_RAY
        levels = background_levels.find(pixels, values)
        middle = image.size // 2 - 1
        expected = np.partition(np.append(image.ravel()[1:], values), middle)[middle]
        assert levels == (expected, np.partition(other, middle, axis=None)[middle])
        assert len(calls) == 2
        numbers = background.Numbers(image, flags, np.uint8(3), pixels, values)
        # However wrong the limits are, the median is the same.
        for low, high in ((0, 1), (1050, 2000), (1020, 1021)):
            limits = np.float32(low), np.float32(high)
            limits = narrow(background._look(numbers, limits, threads), limits)
            assert background._level(numbers, limits, threads) == expected
    assert len(calls) > 4


def test_background_of_a_pixel_that_is_not_in_the_sample() -> None:
    """All others are masked."""
    shape = (40, 50)
    image = np.arange(2000, dtype=np.float32).reshape(shape)
    usable = np.setdiff1d(np.arange(image.size), background._sample(image.size))[7]
    flags = np.ones(shape, dtype=np.uint8)
    flags.flat[usable] = 0
    nothing = np.empty((0, 0), dtype=np.float32)
    frame = Frame(image, flags, 2 * image, nothing, nothing, nothing_cleaned(*shape))
    with Threads(1, shape) as threads:
        levels = background.BackgroundLevels(frame, threads)
        threads.over_rows(levels.look)
        found = levels.find(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))
    assert found == (usable, 2 * usable)


@given(
    st.integers(0, 2**32),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.integers(1, 12),
    st.integers(0, 3),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_what_depends_on_changes_is_forgotten(
    seed: int, shape: tuple[int, int], reach: int, growth: int, all_grow: bool
) -> None:
    """Rows are written many pixels at a time: compare pixel by pixel."""
    rng = np.random.default_rng(seed)
    flags = rng.integers(0, 256, shape, dtype=np.uint8)
    trails = [np.arange(start, start + rng.integers(1, 60)) for start in rng.integers(0, flags.size, 4)]
    pixels = np.unique(np.concatenate(trails))
    pixels = pixels[pixels < flags.size]
    top, bottom = np.sort(rng.integers(0, shape[0] + 1, 2))
    y, x = np.divmod(pixels, shape[1])
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    distance = np.maximum(np.abs(rows[..., np.newaxis] - y), np.abs(columns[..., np.newaxis] - x)).min(
        axis=-1
    )
    in_rows = (rows >= top) & (rows < bottom)
    depends = in_rows & (distance <= reach)
    may_grow = in_rows & (distance <= reach + growth) & (all_grow | (flags & COSMIC_RAY > 0))
    expected = flags.copy()
    expected[depends] &= ~(KNOWN | ABOVE | ABOVE_NEIGHBOUR)
    expected[depends | may_grow] |= NEAR
    forget(flags, pixels, reach, growth, all_grow, int(top), int(bottom))
    np.testing.assert_array_equal(flags, expected)


def test_error_in_another_thread_is_raised() -> None:
    """Parts of the work that have not begun are left, and it can go on."""
    begun = []

    def work(part: int) -> int:
        begun.append(part)
        time.sleep(0.01)
        if part == 1:
            raise ValueError(f"part {part}")
        return 2 * part

    n_threads = threading.active_count()
    with Threads(2, (2048, 2048)) as threads:
        with pytest.raises(ValueError, match="part 1"):
            threads.map(work, range(100))
        assert len(begun) < 10
        assert threads.map(work, range(2, 50)) == list(range(4, 100, 2))
    assert threading.active_count() == n_threads


def test_cleaning_with_the_median() -> None:
    """Masks agree before, pixels after cleaning where no CR is."""
    image, _ = make_scene(np.random.default_rng(79), (70, 60))
    expected = original(image, cleantype="median", niter=1)
    mask, cleaned = detect_cosmics(image, cleantype="median", niter=1)
    np.testing.assert_array_equal(mask, expected[0])
    np.testing.assert_array_equal(cleaned[~mask], expected[1][~mask])
    assert mask[2:-2, 2:-2].any()
    assert not cleaned[2:-2, 2:-2][mask[2:-2, 2:-2]].any()


def test_cleaning_with_the_median_takes_two_numbers_and_zeros() -> None:
    rng = np.random.default_rng(80)
    image, _ = make_scene(rng, (60, 60))
    image[rng.random(image.shape) < 0.1] = np.nan
    mask, cleaned = detect_cosmics(image, cleantype="median", niter=1)
    expected = image.copy()
    for y, x in np.argwhere(mask):
        if 2 <= min(y, x) and max(y, x) < 58:
            numbers = np.zeros(25, dtype=np.float32)
            numbers[:2] = expected[y - 2, x - 2], expected[y + 2, x + 2]
            expected[y, x] = utils.median(numbers, 25)
    np.testing.assert_array_equal(cleaned, expected)
    assert np.isnan(cleaned[mask]).any()


def test_arguments_are_not_changed_and_may_be_read_only() -> None:
    image, variance = make_scene(np.random.default_rng(81), (40, 40))
    planes = {"indat": image, "invar": variance, "inbkg": image - 10, "inmask": image > 1000}
    copies = {name: plane.copy() for name, plane in planes.items()}
    expected = detect_cosmics(**planes)
    for name, plane in planes.items():
        np.testing.assert_array_equal(plane, copies[name])
        plane.flags.writeable = False
    mask, cleaned = detect_cosmics(**planes)
    assert_same_bits((mask, cleaned), expected)
    assert mask.flags.writeable
    assert cleaned.flags.writeable
    assert not np.shares_memory(cleaned, image)


def test_memory_above_the_input_is_image_and_mask() -> None:
    image = np.random.default_rng(82).normal(500, 20, (1200, 1000)).astype(np.float32)
    image[600, 300:320] += 3000
    variance = np.full_like(image, 400)
    detect_cosmics(image[:100], invar=variance[:100], n_threads=1)
    tracemalloc.start()
    try:
        mask, _ = detect_cosmics(image, invar=variance, n_threads=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert mask.any()
    # Those are 5 bytes a pixel; astroscrappy takes 46.
    assert peak < 6.5 * image.size


def test_verbose_prints_iterations(capsys: pytest.CaptureFixture[str]) -> None:
    image, _ = make_scene(np.random.default_rng(83), (60, 60))
    detect_cosmics(image)
    assert capsys.readouterr().out == ""
    mask, _ = detect_cosmics(image, verbose=True, niter=1)
    assert capsys.readouterr().out == f"L.A.Cosmic, iteration 1: {mask.sum()} new CR pixels\n"


@pytest.mark.parametrize(("limit", "expected"), [("1", 1), ("2,1", 2), ("", 5), ("many", 5), ("64", 5)])
def test_threads_by_default(limit: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    monkeypatch.setattr("numba.get_num_threads", lambda: 5)
    monkeypatch.setattr(
        "lsst.meas.cosmicrays.engines.lacosmic.interface.Threads",
        lambda n, shape: seen.append(n) or Threads(1, shape),
    )
    detect_cosmics(np.ones((20, 20)))
    assert seen == [expected]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"indat": np.zeros(5)}, ValueError),
        ({"indat": np.zeros((0, 5))}, ValueError),
        ({"indat": np.zeros((5, 5), dtype=complex)}, TypeError),
        ({"indat": np.full((5, 5), "a")}, TypeError),
        ({"inmask": np.zeros((5, 4), dtype=bool)}, ValueError),
        ({"inmask": np.full((5, 5), None)}, TypeError),
        ({"inbkg": np.zeros((1, 5))}, ValueError),
        ({"inbkg": np.zeros((5, 5), dtype=object)}, TypeError),
        ({"invar": np.zeros((4, 5))}, ValueError),
        ({"sigclip": -1}, ValueError),
        ({"sigclip": "5"}, TypeError),
        ({"sigfrac": np.nan}, ValueError),
        ({"sigfrac": np.inf}, ValueError),
        ({"objlim": np.nan}, ValueError),
        ({"gain": 0}, ValueError),
        ({"gain": 1e-60}, ValueError),
        ({"gain": np.inf}, ValueError),
        ({"gain": 1 + 0j}, TypeError),
        ({"readnoise": -5.0}, ValueError),
        ({"satlevel": np.nan}, ValueError),
        ({"niter": -1}, ValueError),
        ({"niter": 2.5}, TypeError),
        ({"sepmed": "yes"}, TypeError),
        ({"cleantype": "mean"}, ValueError),
        ({"cleantype": None}, TypeError),
        ({"fsmode": "psf"}, ValueError),
        ({"psfmodel": "airy", "fsmode": "convolve"}, ValueError),
        ({"psffwhm": 0.0, "fsmode": "convolve"}, ValueError),
        ({"psfsize": 0, "fsmode": "convolve"}, ValueError),
        ({"psfbeta": -1.0, "fsmode": "convolve", "psfmodel": "moffat"}, ValueError),
        ({"psfk": np.zeros((3, 0)), "fsmode": "convolve"}, ValueError),
        ({"psfk": np.zeros(3), "fsmode": "convolve"}, ValueError),
        ({"n_threads": 0}, ValueError),
    ],
)
def test_errors_name_the_argument(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=f"^{next(iter(arguments))} must "):
        detect_cosmics(**{"indat": np.ones((5, 5)), **arguments})


def test_the_psf_is_not_looked_at_where_it_is_not_used() -> None:
    detect_cosmics(np.ones((9, 9)), psfmodel="airy", psffwhm=-1, psfsize=0, psfk="none")


@pytest.mark.parametrize("size", [5, 7, 9])
def test_medians_are_those_of_astroscrappy(size: int) -> None:
    function = {5: median5, 7: median7, 9: median9}[size]
    reference = {5: utils.optmed5, 7: utils.optmed7, 9: utils.optmed9}[size]
    rng = np.random.default_rng(84)
    for _ in range(3000):
        numbers = rng.choice(np.array([0, 1, 2, 3, 4, np.inf, np.nan], dtype=np.float32), size)
        np.testing.assert_equal(np.float32(function(*numbers)), np.float32(reference(numbers.copy())))


@pytest.mark.parametrize(("network", "size"), [(MEDIAN9, 9), (MEDIAN25, 25), (MEDIAN49, 49)])
def test_networks_are_those_of_astroscrappy(network: np.ndarray, size: int) -> None:
    reference = {9: utils.optmed9, 25: utils.optmed25, 49: lambda numbers: utils.median(numbers, 49)}[size]
    content = [0, 1, 2, 3, 4, np.inf] + [np.nan] * (size != 49)
    numbers = np.random.default_rng(85).choice(np.array(content, dtype=np.float32), (size, 2000))
    medians = numbers.copy()
    network_median(network, medians, 2000)
    for i in range(2000):
        np.testing.assert_equal(medians[size // 2, i], np.float32(reference(numbers[:, i].copy())))


@given(st.lists(st.floats(width=32, allow_infinity=True, allow_nan=True), min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_quickselect_is_that_of_astroscrappy(numbers: list[float]) -> None:
    array = np.array(numbers, dtype=np.float32)
    expected = np.float32(utils.median(array, array.size))
    result = np.float32(quickselect(array.copy(), array.size))
    np.testing.assert_equal(result, expected)
    assert np.isnan(expected) or np.signbit(result) == np.signbit(expected)


def test_laplacian_is_that_of_astroscrappy_on_every_edge_and_corner() -> None:
    rng = np.random.default_rng(86)
    for shape in [(ny, nx) for ny in range(1, 6) for nx in range(1, 6)]:
        image = (rng.normal(0, 1, shape) * 10.0 ** rng.integers(-8, 8, shape)).astype(np.float32)
        reference = utils.laplaceconvolve(utils.subsample(image))
        reference[reference < 0] = 0
        ours = [[laplacian_at(image, y, x) for x in range(shape[1])] for y in range(shape[0])]
        np.testing.assert_array_equal(np.array(ours, dtype=np.float32), utils.rebin(reference))


@pytest.mark.parametrize("model", ["gauss", "gaussx", "gaussy"])
@pytest.mark.parametrize("size", [1, 4, 7, 12])
def test_kernels_are_those_of_astroscrappy(model: str, size: int) -> None:
    reference = getattr(compiled_astroscrappy, f"{model}kernel")(3.1, size)[::-1, ::-1]
    np.testing.assert_array_equal(psf_kernel(model, np.float32(3.1), size, np.float32(1)), reference)


REAL_ARGUMENTS = [
    {},
    {"sepmed": False},
    {"fsmode": "convolve", "cleantype": "medmask"},
    {"sigclip": 3.0, "cleantype": "idw"},
]


def assert_same_on(image: np.ndarray, **arguments: Any) -> None:
    """Fail unless the results agree for several parameters."""
    for more in REAL_ARGUMENTS:
        ours = detect_cosmics(image, **arguments, **more)
        assert_same_bits(ours, original(image, **arguments, **more))


def test_same_on_hsc(shared: Path) -> None:
    image = fits.getdata(shared / "data/hsc_crs.fits").astype(np.float32)
    assert_same_on(image)
    assert_same_on(image, invar=image)


def test_same_on_decam_with_weights(shared: Path) -> None:
    for path in sorted((shared / "data/decam_field_instcal").glob("*_ooi_*.fits"))[:2]:
        image, weight, quality = (
            fits.getdata(str(path).replace("_ooi_", f"_{kind}_"), 1) for kind in ("ooi", "oow", "ood")
        )
        with np.errstate(divide="ignore"):
            variance = (1 / weight).astype(np.float32)
        assert_same_on(
            image[:400, :400], invar=variance[:400, :400], inmask=quality[:400, :400] > 0, gain=4.1
        )


def test_same_on_images_without_their_sky(shared: Path) -> None:
    for path in sorted((shared / "data/decam_series_obs04").glob("DEC*.mini.fits"))[:2]:
        assert_same_on(fits.getdata(path).astype(np.float32))


def test_same_on_a_crowded_field(shared: Path) -> None:
    path = sorted((shared / "data/saao_kb13475").glob("AKB*.fits*"))[0]
    assert_same_on(fits.getdata(path), gain=1.9, readnoise=5.0, satlevel=65300 * 1.9)


def test_same_on_a_raw_image(shared: Path) -> None:
    with fits.open(shared / "data/lco_sinistro_fl10_S82_60s_quadrant.fits.fz") as hdus:
        image = hdus[1].data[0, 700:1200, 500:1000]
    assert_same_on(image, gain=3.3, readnoise=14.9)


@pytest.mark.parametrize("height", [7, 25, 30, 31, 32, 33, 63, 65])
@pytest.mark.parametrize("sigclip", [0.5, 2.0])
def test_same_where_all_blocks_are_crowded(height: int, sigclip: float) -> None:
    """Blocks are tested together in tall runs, the last of which is cut."""
    random = np.random.default_rng(height)
    image = random.normal(100, 30, (height, 330)).astype(np.float32)
    image[random.random(image.shape) < 0.03] += 500
    ours = detect_cosmics(image, sigclip=sigclip, n_threads=2)
    expected = original(image, sigclip=sigclip)
    assert_same_bits(ours, expected)
    assert expected[0].sum() > image.size // 50


@pytest.mark.parametrize("sigfrac", [0.3, 2.0])
def test_same_where_crs_grow_from_afar(sigfrac: float) -> None:
    """What an iteration changes also lets CRs grow from older ones nearby."""
    random = np.random.default_rng(5)
    image = random.normal(1000, 30, (200, 300)).astype(np.float32)
    for _ in range(60):
        y, x = random.integers(0, 200), random.integers(0, 280)
        image[y, x : x + random.integers(3, 20)] += random.uniform(100, 1000)
    for mask in (None, random.random(image.shape) < 0.05):
        ours = detect_cosmics(image, mask, sigclip=2.5, sigfrac=sigfrac, niter=8)
        assert_same_bits(ours, original(image, inmask=mask, sigclip=2.5, sigfrac=sigfrac, niter=8))


@pytest.mark.parametrize("seed", range(3))
def test_place_of_a_patch(seed: int) -> None:
    """Off the edges a patch is read in place, elsewhere edges are repeated."""
    rng = np.random.default_rng(seed)
    ny, nx = shape = (49, 45)
    plane = rng.random(shape, dtype=np.float32)
    n_in_place = 0
    for _ in range(300):
        top, left, reach = rng.integers(ny), rng.integers(nx), int(rng.integers(5))
        height, width = rng.integers(1, min(ny - top, 9) + 1), rng.integers(1, min(nx - left, 9) + 1)
        corner = np.array([top * nx + left])
        patches = Patches(np.array([top]), np.array([left]), corner, int(height), int(width))
        room = np.zeros((height + 2 * reach, width + 2 * reach), dtype=np.float32)
        source, first_row, first = locate(plane, patches, reach, room)
        rows = np.clip(np.arange(top - reach, top + height + reach), 0, ny - 1)
        columns = np.clip(np.arange(left - reach, left + width + reach), 0, nx - 1)
        found = source[first_row : first_row + rows.size, first : first + columns.size]
        np.testing.assert_array_equal(found, plane[np.ix_(rows, columns)])
        if source is not room and source.shape == shape:
            n_in_place += 1
            # Whole vectors are read beyond the patch, but not beyond memory.
            assert (first_row + rows.size - 1) * nx + first + columns.size + 32 <= plane.size
    assert 50 < n_in_place < 250


@given(st.integers(0, 2**32), st.integers(20, 70), st.integers(20, 70), st.sampled_from([1, 4]))
@settings(max_examples=60, deadline=None)
def test_variances_of_cleaned_pixels(seed: int, ny: int, nx: int, lanes: int) -> None:
    """A list of them and the plane are the same as a plane with them in it."""
    rng = np.random.default_rng(seed)
    plane = rng.random((ny, nx), dtype=np.float32)
    expected, cleaned = plane.copy(), nothing_cleaned(ny, nx)
    rows, columns = np.divmod(rng.permutation(ny * nx)[: ny * nx // 4], nx)
    inside = (np.minimum(rows, ny - 1 - rows) > 1) & (np.minimum(columns, nx - 1 - columns) > 1)
    for pixels in np.array_split((rows * nx + columns)[inside], 3):
        variances = rng.random(pixels.size, dtype=np.float32)
        cleaned = with_cleaned(cleaned, nx, pixels, variances)
        expected.flat[pixels] = variances
    for pixel in range(ny * nx):
        place = place_of(cleaned, pixel // nx, pixel % nx, nx)
        value = plane.flat[pixel] if place == NOWHERE else cleaned.variances[place]
        assert value == expected.flat[pixel]
    for _ in range(20):
        reach, height, width = (int(number) for number in rng.integers([0, 1, 1], [7, 10, 10]))
        tops, lefts = rng.integers(ny - height + 1, size=lanes), rng.integers(nx - width + 1, size=lanes)
        patches = Patches(tops, lefts, tops * nx + lefts, height, width)
        shape = (height + 2 * reach, (width + 2 * reach) * lanes)
        found, wanted = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        gather(plane, patches, reach, found)
        insert_cleaned(cleaned, plane.shape, patches, reach, found)
        gather(expected, patches, reach, wanted)
        np.testing.assert_array_equal(found, wanted)


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 40), st.floats(0, 0.2))
@settings(max_examples=60, deadline=None)
def test_smallest_box(seed: int, height: int, width: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    cells = rng.choice(np.array([0, 1, 2, 3], dtype=np.uint8), (20, 60), p=_densities(density))
    top, left = int(rng.integers(20 - height + 1)), int(rng.integers(60 - width + 1))
    columns = np.full(60, 255, dtype=np.uint8)
    box = _box(cells, np.uint8(2), top, left, height, width, columns)
    rows, places = np.nonzero(cells[top : top + height, left : left + width] & 2)
    if rows.size == 0:
        assert box[2] == 0
    else:
        first, start = rows.min(), places.min()
        assert box == (top + first, left + start, rows.max() - first + 1, places.max() - start + 1)


def _densities(density: float) -> list[float]:
    """Of cells with no flag, the first, the second, and both."""
    return [1 - 1.5 * density, density / 2, density / 2, density / 2]


@pytest.mark.parametrize("clean_type", ["meanmask", "median"])
@pytest.mark.parametrize("few", [0, 10**6])
def test_bounds_on_the_noise_hold(clean_type: str, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do after any iteration, although variances are cleaned, too."""
    share_lists(monkeypatch, few)
    random = np.random.default_rng(4)
    shape = (150, 130)
    variance = random.uniform(30, 40, shape).astype(np.float32)
    variance[40:110, 30:90] *= 30
    image = random.normal(1000, np.sqrt(variance)).astype(np.float32)
    image[random.random(shape) < 0.01] += 3000
    image[60:90, 50:58] += 4000
    mask = random.random(shape) < 0.02
    parameters = check_parameters(
        **{"sigclip": 4.5, "sigfrac": 0.3, "objlim": 2.0, "gain": 1.0, "readnoise": 5.0, "satlevel": 1e6},
        **{"niter": 4, "sepmed": True, "cleantype": clean_type, "fsmode": "median", "psfmodel": "gauss"},
        **{"psffwhm": 2.5, "psfsize": 7, "psfk": None, "psfbeta": 4.765, "n_threads": 2},
    )
    lowered = 0
    before = variance.copy()
    with Threads(2, shape) as threads:
        frame = _new_frame(image, mask, None, variance, parameters, threads)
        search = Search(frame, parameters.rule, clean_type, threads)
        for iteration in range(3):
            search.iterate()
            search.prepare()
            cleaned = search.frame.cleaned
            now = before.copy()
            now[cleaned.rows, cleaned.columns] = cleaned.variances
            for strip, bounds in enumerate(frame.bounds):
                rows = now[max(strip * HEIGHT - REACH, 0) : (strip + 1) * HEIGHT + REACH]
                padded = np.pad(rows, ((0, 0), (REACH, REACH)), constant_values=np.inf)
                windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * REACH + 1, axis=1)
                least = windows.min(axis=(0, 2))
                assert (bounds <= least).all()
                lowered += np.count_nonzero(bounds < 100) if iteration and 48 < strip * HEIGHT < 96 else 0
    assert lowered > 0
    np.testing.assert_array_equal(variance, before)
