# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""The morphological engine against the original's answers and a plain one."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from morphological_reference import PlainFinder, TooManyError, gsl_normals
from scipy.ndimage import binary_dilation

from lsst.meas.cosmicrays.engines.background import median_background
from lsst.meas.cosmicrays.engines.gsl_random import gaussian_sequence
from lsst.meas.cosmicrays.engines.morphological import (
    TooManyCosmicRaysError,
    find_cosmic_rays,
    search_cosmic_rays,
)
from lsst.meas.cosmicrays.engines.morphological_kernels import link

HERE = Path(__file__).parent
COPIED = sorted((HERE / "data" / "morphological").glob("*.npz"))
SHARED = HERE.parent.parent / "shared" / "golden" / "morphological"
COPIED_NAMES = {path.name for path in COPIED}
OTHERS = [path for path in sorted(SHARED.glob("*.npz")) if path.name not in COPIED_NAMES]
GOLDEN = [*COPIED, *OTHERS]
NO_SHARED = pytest.param(None, marks=pytest.mark.skip(reason=f"no golden results in {SHARED}"), id="shared")


@dataclass
class GoldenCase:
    """One file of answers of the original."""

    path: Path

    def __post_init__(self):
        with np.load(self.path) as file:
            self.data = {name: file[name] for name in file.files}
        self.shape = tuple(int(size) for size in self.data["shape"])
        self.background = float(self.data["background"])

    def plane(self, name):
        bits = np.unpackbits(self.data[name], count=self.shape[0] * self.shape[1])
        return bits.reshape(self.shape).astype(bool)

    def arguments(self):
        config = json.loads(str(self.data["config"]))
        planes = (self.data["image"], self.data["variance"], self.plane("bad"), self.plane("interpolated"))
        parameters = {
            "min_sigma": config["minSigma"],
            "min_dn": config["min_DN"],
            "cond3_fac": config["cond3_fac"],
            "cond3_fac2": config["cond3_fac2"],
            "n_iteration": config["niteration"],
            "n_cr_pixel_max": config["nCrPixelMax"],
        }
        return (*planes, self.data["kernel"], self.background), parameters


@pytest.fixture(params=[*COPIED, *(OTHERS or [NO_SHARED])], ids=lambda path: path.stem)
def golden(request):
    return GoldenCase(request.param)


def test_masks_of_the_original(golden):
    arguments, parameters = golden.arguments()
    error = str(golden.data["error"])
    if error.startswith("LengthError"):
        with pytest.raises(TooManyCosmicRaysError) as caught:
            find_cosmic_rays(*arguments, **parameters)
        assert caught.value.limit == parameters["n_cr_pixel_max"] < caught.value.count
    elif error == "OutOfRangeError":
        mask = find_cosmic_rays(*arguments, **parameters)
        assert mask.shape == golden.shape
        assert not mask[:, [0, -1]].any()
    else:
        before = arguments[0].copy()
        search = search_cosmic_rays(*arguments, **parameters)
        np.testing.assert_array_equal(search.mask, golden.plane("mask"))
        assert search.n_footprints == golden.data["n_footprints"]
        np.testing.assert_array_equal(find_cosmic_rays(*arguments, **parameters, threads=2), search.mask)
        np.testing.assert_array_equal(arguments[0], before)


def original_failed(path):
    with np.load(path) as file:
        return str(file["error"]) != ""


def has_another_background(path):
    """Say whether a case was made with another background than the median."""
    special = "background_" in path.stem and path.stem != "difference_median_background"
    return special or path.stem in ("difference_dipoles", "hsc_crs")


@pytest.mark.parametrize(
    "path", [path for path in GOLDEN if not original_failed(path)], ids=lambda path: path.stem
)
def test_pixels_that_the_original_replaces(path):
    golden = GoldenCase(path)
    arguments, parameters = golden.arguments()
    search = search_cosmic_rays(*arguments, **parameters, keep=False)
    repaired = arguments[0].copy()
    repaired[search.mask] = search.replacement
    expected = arguments[0].copy()
    expected[golden.data["repaired_y"], golden.data["repaired_x"]] = golden.data["repaired_value"]
    np.testing.assert_array_equal(search.mask, golden.plane("mask_when_removed"))
    np.testing.assert_array_equal(repaired, expected)


@pytest.mark.parametrize(
    "path", [path for path in GOLDEN if not has_another_background(path)], ids=lambda path: path.stem
)
def test_background_of_the_original(path):
    golden = GoldenCase(path)
    assert median_background(golden.data["image"]) == golden.background


def gaussian_kernel(height, width, sigma_y=1.5, sigma_x=1.5):
    y, x = np.ogrid[: height // 2 * 2 + 1, : width // 2 * 2 + 1]
    kernel = np.exp(-0.5 * (((y - height // 2) / sigma_y) ** 2 + ((x - width // 2) / sigma_x) ** 2))
    return kernel / kernel.sum()


@st.composite
def searches(draw):
    """Small images full of everything that finders meet, and parameters."""
    ny, nx = draw(st.integers(1, 13)), draw(st.integers(1, 13))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sky = draw(st.sampled_from([0.0, 25.0, 1000.0, -40.0]))
    image = random.normal(sky, 10, (ny, nx))
    image += random.exponential(300, (ny, nx)) * (
        random.random((ny, nx)) < draw(st.sampled_from([0.02, 0.2, 0.6]))
    )
    variance = random.uniform(80, 120, (ny, nx))
    for plane, value in (
        (image, np.nan),
        (image, np.inf),
        (variance, 0),
        (variance, -50),
        (variance, np.nan),
    ):
        plane[random.random((ny, nx)) < draw(st.sampled_from([0, 0, 0, 0.05]))] = value
    interpolated = random.random((ny, nx)) < draw(st.sampled_from([0, 0, 0.05]))
    bad = interpolated | (random.random((ny, nx)) < draw(st.sampled_from([0, 0, 0.1, 1])))
    kernel = gaussian_kernel(
        draw(st.sampled_from([3, 5, 15])),
        draw(st.sampled_from([3, 7])),
        draw(st.sampled_from([0.6, 1.5, 3.0])),
    )
    parameters = {
        "min_sigma": draw(st.sampled_from([6.0, 2.5, 0.5, 0.0, -20.0, -1100.0])),
        "min_dn": draw(st.sampled_from([150.0, 0.0, 1000.0, -500.0])),
        "cond3_fac": draw(st.sampled_from([2.0, 0.0, 2.5])),
        "cond3_fac2": draw(st.sampled_from([0.35, 0.8, 1.5])),
        "n_iteration": draw(st.sampled_from([6, 0, 1, 2])),
        "n_cr_pixel_max": draw(st.sampled_from([1000000, 1000000, 20, 3, 0])),
        "keep": draw(st.booleans()),
    }
    background = sky + draw(st.sampled_from([0.0, 0.3, -15.0]))
    planes = (image.astype(np.float32), variance.astype(np.float32), bad, interpolated)
    return (*planes, kernel, background), parameters


@settings(deadline=None, max_examples=200)
@given(searches())
def test_same_as_plain_finder(search):
    arguments, parameters = search
    try:
        expected = PlainFinder(*arguments, **parameters).run()
    except TooManyError:
        with pytest.raises(TooManyCosmicRaysError):
            search_cosmic_rays(*arguments, **parameters)
        return
    found = search_cosmic_rays(*arguments, **parameters)
    np.testing.assert_array_equal(found.mask, expected.mask)
    assert found.n_footprints == expected.n_footprints
    np.testing.assert_array_equal(found.replacement, expected.image[expected.mask])


@settings(deadline=None, max_examples=30)
@given(searches(), st.integers(2, 20))
def test_threads_do_not_matter(search, threads):
    arguments, parameters = search
    parameters |= {"n_cr_pixel_max": 10000}
    one = search_cosmic_rays(*arguments, **parameters)
    many = search_cosmic_rays(*arguments, **parameters, threads=threads)
    np.testing.assert_array_equal(one.mask, many.mask)
    np.testing.assert_array_equal(one.replacement, many.replacement)


@settings(deadline=None, max_examples=100)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_footprints_and_their_order(flags):
    plain = PlainFinder(*[np.zeros(flags.shape)] * 2, None, None, gaussian_kernel(3, 3), 0.0)
    expected = plain.link([tuple(place) for place in np.argwhere(flags).tolist()])
    pixels, starts = link(np.flatnonzero(flags), flags.shape[1])
    footprints = np.split(pixels, starts[1:-1]) if starts.size > 1 else []
    places = [sorted(y * flags.shape[1] + x for y, x in footprint) for footprint in expected]
    assert [footprint.tolist() for footprint in footprints] == places


def test_random_numbers_of_gsl():
    # The first of gsl_ran_gaussian_ziggurat with mt19937 of seed 1 (GSL 2.7).
    first = [-0.49192363822600427, -1.5460562802245437, 0.00042694841091477396, 0.08722184515017163]
    assert gaussian_sequence(4).tolist() == first
    many = gaussian_sequence(20000)
    assert (np.abs(many) > 3.4443).any(), "the tail is not tried"
    normals = gsl_normals()
    assert many.tolist() == [next(normals) for _ in range(many.size)]
    for size in (0, 1, 1000):
        np.testing.assert_array_equal(gaussian_sequence(size), many[:size])


@settings(deadline=None, max_examples=100)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.one_of(
            st.floats(width=32, allow_nan=True),
            st.sampled_from([0.0, -0.0, 1.0, 1.25, -1.0, np.inf, -np.inf]),
        ),
    ),
    st.integers(1, 3),
)
def test_median_is_that_of_sorting(image, threads):
    finite = np.sort(image[np.isfinite(image)].astype(np.float64))
    median = median_background(image, threads=threads)
    if finite.size == 0:
        assert np.isnan(median)
    else:
        assert median == (finite[(finite.size - 1) // 2] + finite[finite.size // 2]) / 2


def noisy_field(random, shape=(60, 70), sky=1000.0):
    """Stars and noise, without CRs, and its variance."""
    image = np.full(shape, sky)
    y, x = np.ogrid[: shape[0], : shape[1]]
    for flux in (500, 3000, 20000, 100000):
        y0, x0 = random.uniform(5, shape[0] - 5), random.uniform(5, shape[1] - 5)
        image += flux / (2 * np.pi * 1.5**2) * np.exp(-((y - y0) ** 2 + (x - x0) ** 2) / (2 * 1.5**2))
    variance = image + 25
    return (image + random.normal(0, np.sqrt(variance))).astype(np.float32), variance.astype(np.float32)


@pytest.fixture
def field():
    """Arguments of a search on a star field with a track."""
    image, variance = noisy_field(np.random.default_rng(3))
    nothing = np.zeros(image.shape, dtype=bool)
    image[range(10, 30), range(20, 40)] += 600
    return [image, variance, nothing, nothing.copy(), gaussian_kernel(15, 15), 1000.0]


def test_finds_a_track_and_no_stars(field):
    track = np.zeros(field[0].shape, dtype=bool)
    track[range(10, 30), range(20, 40)] = True
    mask = find_cosmic_rays(*field)
    assert (mask & track).sum() >= 19
    assert not (mask & ~binary_dilation(track, np.ones((3, 3)), iterations=2)).any()
    field[0] = noisy_field(np.random.default_rng(3))[0]
    assert not find_cosmic_rays(*field).any()


def test_never_on_the_edge(field):
    field[0][[0, -1]] = 1e5
    field[0][:, [0, -1]] = 1e5
    mask = find_cosmic_rays(*field, min_sigma=1.0)
    assert mask.any()
    assert not mask[[0, -1]].any()
    assert not mask[:, [0, -1]].any()


def test_unit_does_not_matter(field):
    """Powers of two change no digit of a float."""
    expected = search_cosmic_rays(*field)
    image, variance, bad, interpolated, kernel, background = field
    scaled = (image * 4, variance * 16, bad, interpolated, kernel * 8, background * 4)
    found = search_cosmic_rays(*scaled, min_dn=600.0)
    np.testing.assert_array_equal(found.mask, expected.mask)
    np.testing.assert_array_equal(found.replacement, expected.replacement * 4)


def test_bad_pixels_start_no_cosmic_ray(field):
    field[2] = np.ones_like(field[2])
    search = search_cosmic_rays(*field)
    assert not search.mask.any()
    assert search.n_footprints == 0
    assert search.replacement.shape == (0,)


def test_nothing_finite(field):
    field[0] = np.full_like(field[0], np.nan)
    field[5] = median_background(field[0])
    assert np.isnan(field[5])
    assert not find_cosmic_rays(*field).any()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda plane: plane.astype(plane.dtype.newbyteorder(">")), id="big-endian"),
        pytest.param(lambda plane: np.asfortranarray(plane), id="columns first"),
        pytest.param(lambda plane: np.repeat(plane, 2, axis=1)[:, ::2], id="strided"),
        pytest.param(lambda plane: plane[::-1].copy()[::-1], id="upside down"),
        pytest.param(lambda plane: plane.astype(np.float64) if plane.dtype != bool else plane, id="float64"),
    ],
)
def test_layout_in_memory_does_not_matter(field, change):
    expected = search_cosmic_rays(*field)
    arguments = [change(plane) for plane in field[:5]]
    for plane in arguments:
        plane.flags.writeable = False
    found = search_cosmic_rays(*arguments, field[5])
    np.testing.assert_array_equal(found.mask, expected.mask)
    np.testing.assert_array_equal(found.replacement, expected.replacement)


def test_integer_image(field):
    field[0], field[1] = np.round(field[0]), np.round(field[1])
    expected = find_cosmic_rays(*field)
    assert expected.any()
    found = find_cosmic_rays(field[0].astype(np.uint16), field[1].astype(np.int32), *field[2:])
    np.testing.assert_array_equal(found, expected)


def test_limit_counts_as_the_original(field):
    """Pixels added to CRs count twice where the original keeps the CRs."""
    n_first = int(find_cosmic_rays(*field, n_iteration=0).sum())
    with pytest.raises(
        TooManyCosmicRaysError, match=f"found {n_first} CR pixels.*n_cr_pixel_max = 3"
    ) as caught:
        find_cosmic_rays(*field, n_cr_pixel_max=3)
    assert (caught.value.limit, caught.value.count) == (3, n_first)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.limit, copy.count, str(copy)) == (3, n_first, str(caught.value))


@pytest.mark.parametrize(
    ("index", "value", "error", "message"),
    [
        (0, [[1.0]], TypeError, "image must be a numpy array of real numbers"),
        (0, np.ones((60, 70), dtype=complex), TypeError, "image must be .* not an array of complex128"),
        (0, np.ones((60, 70), dtype=bool), TypeError, "image must be .* not an array of bool"),
        (0, np.ones(60), ValueError, r"image must have two dimensions .* not shape \(60,\)"),
        (0, np.ones((0, 5)), ValueError, "image must have .* at least one pixel"),
        (1, np.ones((60, 71)), ValueError, r"variance must have the shape of the image, \(60, 70\)"),
        (1, None, TypeError, "variance must be a numpy array"),
        (2, np.zeros((60, 70), dtype=np.uint8), TypeError, "bad must be a numpy array of bool, not .* uint8"),
        (3, np.zeros((70, 60), dtype=bool), ValueError, "interpolated must have the shape of the image"),
        (4, np.ones((4, 5)), ValueError, "kernel must have two odd dimensions"),
        (4, np.ones((1, 5)), ValueError, "kernel must have two odd dimensions of at least 3"),
        (4, np.ones((3, 3, 3)), ValueError, "kernel must have two odd dimensions"),
        (4, np.full((5, 5), np.nan), ValueError, "kernel must be finite"),
        (4, np.zeros((5, 5)), ValueError, "kernel must be positive at its centre"),
        (4, "gaussian", TypeError, "kernel must be a numpy array"),
        (5, "median", TypeError, "background must be a real number"),
        (5, None, TypeError, "background must be a real number"),
    ],
)
def test_wrong_arguments_are_named(field, index, value, error, message):
    field[index] = value
    with pytest.raises(error, match=message):
        find_cosmic_rays(*field)


@pytest.mark.parametrize(
    ("parameter", "value", "error", "message"),
    [
        ("min_sigma", np.nan, ValueError, "min_sigma must be finite"),
        ("min_sigma", "6", TypeError, "min_sigma must be a real number"),
        ("min_dn", np.inf, ValueError, "min_dn must be finite"),
        ("cond3_fac", -0.5, ValueError, "cond3_fac must be at least 0"),
        ("cond3_fac2", -1, ValueError, "cond3_fac2 must be at least 0"),
        ("n_iteration", -1, ValueError, "n_iteration must be at least 0"),
        ("n_iteration", 2.5, TypeError, "n_iteration must be an integer"),
        ("n_cr_pixel_max", -1, ValueError, "n_cr_pixel_max must be at least 0"),
        ("n_cr_pixel_max", None, TypeError, "n_cr_pixel_max must be an integer"),
        ("threads", 0, ValueError, "threads must be at least 1"),
        ("threads", 1.0, TypeError, "threads must be an integer"),
    ],
)
def test_wrong_parameters_are_named(field, parameter, value, error, message):
    with pytest.raises(error, match=message):
        find_cosmic_rays(*field, **{parameter: value})


def test_wrong_images_for_the_median_are_named():
    with pytest.raises(TypeError, match="image must be a numpy array"):
        median_background([1.0])
    with pytest.raises(ValueError, match="image must have two dimensions"):
        median_background(np.ones(3))
    with pytest.raises(ValueError, match="threads must be at least 1"):
        median_background(np.ones((3, 3)), threads=0)
