# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Detection of sources on difference images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from difference_scene import psf_image, read_golden_exposure
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.meas.cosmicrays.engines.difference_imaging.dia_detection import (
    DiaDetection,
    DiaDetectionSettings,
    detect_dia_sources,
)
from lsst.meas.cosmicrays.engines.difference_imaging.difference_statistics import measure_pulls
from lsst.meas.cosmicrays.engines.difference_imaging.subtraction import subtract_template
from lsst.meas.cosmicrays.engines.psf import gaussian_kernel

NOISE = 5.0
SHAPE = (120, 150)
OFFSETS = np.arange(-12, 13, dtype=np.float64)
PSF = psf_image(4.0, OFFSETS[:, np.newaxis], OFFSETS[np.newaxis])
PSF /= PSF.sum()


def draw(sources: list[tuple[float, float, float]], seed: int | None = 1) -> np.ndarray:
    """Draw point sources (y, x, flux) on noise."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = np.zeros(SHAPE) if seed is None else np.random.default_rng(seed).normal(0.0, NOISE, SHAPE)
    for source_y, source_x, flux in sources:
        image += flux * psf_image(4.0, y - source_y, x - source_x)
    return image.astype(np.float32)


def detect(
    image: np.ndarray,
    planes: dict[str, np.ndarray] | None = None,
    no_data: np.ndarray | None = None,
    **options: object,
) -> DiaDetection:
    variance = np.full(image.shape, NOISE**2, dtype=np.float32)
    no_data = np.zeros(image.shape, dtype=bool) if no_data is None else no_data
    return detect_dia_sources(image, variance, PSF, planes or {}, no_data, DiaDetectionSettings(**options))


def plane(*places: tuple[int, int]) -> np.ndarray:
    result = np.zeros(SHAPE, dtype=bool)
    for place in places:
        result[place] = True
    return result


@settings(deadline=None, max_examples=20)
@given(st.floats(40.0, 80.0), st.floats(40.0, 100.0), st.floats(1500.0, 1e5), st.booleans())
def test_one_source(y: float, x: float, flux: float, negative: bool) -> None:
    result = detect(draw([(y, x, -flux if negative else flux)]))
    (source,) = result.sources
    assert np.hypot(source["y"] - y, source["x"] - x) < 0.05 + 3.0 * 4.0 / source_snr(flux)
    assert source["is_negative"] == negative
    assert not source["is_dipole"]
    sign = -1.0 if negative else 1.0
    assert sign * source["flux"] == pytest.approx(flux, rel=0.05, abs=5.0 * source["flux_err"])
    assert source["flux_err"] == pytest.approx(NOISE / np.sqrt(np.square(PSF).sum()), rel=1e-3)
    assert source["snr"] == pytest.approx(source["flux"] / source["flux_err"])
    planes = (result.detected_negative, result.detected) if negative else (result.detected, None)
    assert planes[0].sum() == source["n_pixels"]
    rows, columns = np.nonzero(planes[0])
    assert (rows.min(), rows.max()) == (source["y_min"], source["y_max"])
    assert (columns.min(), columns.max()) == (source["x_min"], source["x_max"])


def source_snr(flux: float) -> float:
    return flux * float(np.sqrt(np.square(PSF).sum())) / NOISE


def test_signal_to_noise_is_that_of_the_matched_filter() -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(0.0, NOISE, SHAPE).astype(np.float32)
    variance = rng.uniform(10.0, 40.0, SHAPE).astype(np.float32)
    image[60, 70] += 300.0
    no_data = np.zeros(SHAPE, dtype=bool)
    (source,) = detect_dia_sources(image, variance, PSF, {}, no_data).sources
    y, x = (int(np.rint(source[name])) for name in ("y", "x"))
    window = np.s_[y - 12 : y + 13, x - 12 : x + 13]
    flux = np.sum(PSF * image[window]) / np.square(PSF).sum()
    error = np.sqrt(np.sum(np.square(PSF) * variance[window])) / np.square(PSF).sum()
    assert source["flux"] == pytest.approx(flux, rel=1e-4)
    assert source["flux_err"] == pytest.approx(error, rel=1e-4)


def test_false_alarms() -> None:
    n = sum(len(detect(draw([], seed)).sources) for seed in range(10))
    assert n <= 1


def test_threshold() -> None:
    flux = 7.0 * NOISE / np.sqrt(np.square(PSF).sum())
    image = draw([(60.0, 70.0, flux)], seed=None)
    assert len(detect(image, threshold=6.9).sources) == 1
    assert len(detect(image, threshold=7.1).sources) == 0


def test_dipole_is_one_source() -> None:
    result = detect(draw([(60.0, 68.0, 8000.0), (60.0, 73.0, -6000.0)]))
    (source,) = result.sources
    assert source["is_dipole"]
    assert not source["is_negative"]
    assert source["flux"] > 0.0
    assert result.detected.any()
    assert result.detected_negative.any()


def test_neighbours_are_told_apart() -> None:
    result = detect(draw([(60.0, 50.0, 4000.0), (60.0, 90.0, 6000.0), (90.0, 50.0, -3000.0)]))
    found = sorted(zip(*(result.sources[name] for name in ("is_negative", "x", "y")), strict=True))
    assert [negative for negative, _, _ in found] == [False, False, True]
    np.testing.assert_allclose([place[1:] for place in found], [(50, 60), (90, 60), (50, 90)], atol=0.3)
    assert np.all(np.diff(result.sources["y"]) >= 0)


def test_growth() -> None:
    image = draw([(60.0, 70.0, 4000.0)], seed=None)
    small, large = detect(image, grow_sigma=0.0).detected, detect(image, grow_sigma=2.4).detected
    radius = int(2.4 * 4.0 / 2.3548 * 1.08 + 0.5)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    expected = np.zeros(SHAPE, dtype=bool)
    for j, i in np.argwhere(small):
        expected |= (y - j) ** 2 + (x - i) ** 2 <= radius**2
    assert np.array_equal(large, expected)


def test_flags() -> None:
    image = draw([(60.0, 40.0, 4000.0), (60.0, 100.0, 4000.0)])
    planes = {"SUSPECT": plane((61, 41)), "COSMIC_RAY": plane((60, 104)), "SPIKE": plane((20, 20))}
    left, right = detect(image, planes).sources
    assert left["flag_suspect"]
    assert left["flag_suspect_center"]
    assert not left["flag_cosmic_ray"]
    assert right["flag_cosmic_ray"]
    assert not right["flag_cosmic_ray_center"]
    assert not right["flag_suspect"]
    assert not left["flag_spike"]
    assert not left["flag_edge"]


@pytest.mark.parametrize("name", ["SATURATED", "BAD", "NO_DATA", "SAT_TEMPLATE", "DETECTION_EDGE"])
def test_bad_peaks_are_left_out(name: str) -> None:
    image = draw([(60.0, 40.0, 4000.0), (60.0, 100.0, 4000.0)])
    result = detect(image, {name: plane((60, 101), (60, 44))})
    assert len(result.sources) == 1
    assert result.n_rejected == 1
    assert result.sources["x"][0] == pytest.approx(40.0, abs=0.3)
    assert result.sources[f"flag_{name.lower()}"][0]


def test_interpolated_peaks_are_left_out() -> None:
    image = draw([(60.0, 40.0, 4000.0), (60.0, 100.0, 4000.0)])
    interpolated = plane((60, 100))
    interpolated[58:63, 38:43] = True
    (source,) = detect(image, {"INTERPOLATED": interpolated}).sources
    assert source["x"] == pytest.approx(100.0, abs=0.3)
    assert source["flag_interpolated_center"]


def test_edges_are_left_out() -> None:
    result = detect(draw([(2.0, 70.0, 9000.0), (60.0, 70.0, 9000.0)]))
    assert len(result.sources) == 1
    assert result.n_rejected == 1
    assert result.detected[2, 70]


def test_missing_pixels_are_not_detected() -> None:
    image = draw([(60.0, 70.0, 9000.0)])
    image[30, 30], image[31, 30], image[32, 30] = np.nan, np.inf, -np.inf
    image[90:, :] = 1e6
    no_data = np.zeros(SHAPE, dtype=bool)
    no_data[90:] = True
    (source,) = detect(image, no_data=no_data).sources
    assert source["x"] == pytest.approx(70.0, abs=0.3)


def test_flux_next_to_missing_pixels() -> None:
    image = draw([(60.0, 70.0, 9000.0)], seed=None)
    no_data = np.zeros(SHAPE, dtype=bool)
    no_data[62:] = True
    (source,) = detect(image, no_data=no_data).sources
    assert source["flux"] == pytest.approx(9000.0, rel=0.01)


def test_large_region_with_thousands_of_peaks_is_one_source() -> None:
    """As where the template was subtracted badly."""
    rng = np.random.default_rng(1)
    image = rng.normal(0.0, 1.0, (340, 340)).astype(np.float32)
    image[20:320, 20:320] += rng.exponential(30.0, (300, 300)).astype(np.float32)
    nothing = np.zeros(image.shape, dtype=bool)
    result = detect_dia_sources(image, np.ones_like(image), gaussian_kernel(2.5), {}, nothing)
    (source,) = result.sources
    assert source["n_pixels"] >= 300 * 300
    np.testing.assert_array_equal(result.detected[20:320, 20:320], True)


def test_nothing() -> None:
    result = detect(draw([], seed=None))
    assert len(result.sources) == 0
    assert "flag_edge_center" in result.sources.dtype.names
    assert not result.detected.any()


def test_bad_arguments() -> None:
    image = draw([])
    good = np.zeros(SHAPE, dtype=bool)
    with pytest.raises(
        ValueError, match=r"BAD has the shape \(3, 3\), but the difference image \(120, 150\)"
    ):
        detect(image, {"BAD": np.zeros((3, 3), dtype=bool)})
    with pytest.raises(ValueError, match="both sides must be odd"):
        detect_dia_sources(image, np.ones_like(image), np.ones((4, 5)), {}, good)


class TestGolden:
    """The pair that went through the real ``ip_diffim``.

    All of its 42 DIASources (tracks and spots of cosmic rays, and the 12
    variables) are found, and no others, on its difference and on ours: there
    are no differences in number to explain.  Positions agree to 1.2 pixels
    but for one long track, whose brightest point is not sharply defined.  The
    DETECTED plane is the original's and about 1 % more, at the faint rims:
    the original smooths with a Gaussian of limited size, and takes a
    background away before it detects.
    """

    @pytest.fixture
    def folder(self, shared: Path) -> Path:
        return shared / "golden" / "diffim"

    def match(self, folder: Path, result: DiaDetection, original: np.ndarray) -> None:
        truth = np.load(folder / "truth.npz")
        x0, y0, *_ = json.loads((folder / "truth.json").read_text())["bbox"]
        x, y = truth["dia_x"] - x0, truth["dia_y"] - y0
        sources = result.sources
        assert len(sources) == len(x) == 42
        assert not sources["is_negative"].any()
        inside = (
            (sources["x_min"][:, np.newaxis] <= x)
            & (x <= sources["x_max"][:, np.newaxis])
            & (sources["y_min"][:, np.newaxis] <= y)
            & (y <= sources["y_max"][:, np.newaxis])
        )
        distance = np.where(
            inside, np.hypot(sources["x"][:, np.newaxis] - x, sources["y"][:, np.newaxis] - y), 1e9
        )
        partner = distance.argmin(axis=1)
        assert len(set(partner)) == 42
        apart = distance.min(axis=1)
        assert np.count_nonzero(apart > 1.5) <= 1
        assert apart.max() < 4.0
        assert np.count_nonzero(original & ~result.detected) <= 20
        assert np.count_nonzero(result.detected & ~original) < 0.02 * np.count_nonzero(original)

    def test_on_the_original_difference(self, folder: Path) -> None:
        exposure = read_golden_exposure(folder / "difference.fits")
        none = np.zeros(exposure.image.shape, dtype=bool)
        result = detect_dia_sources(exposure.image, exposure.variance, exposure.psf, {}, none)
        self.match(folder, result, exposure.planes["DETECTED"])

    def test_on_our_difference(self, folder: Path) -> None:
        science = read_golden_exposure(folder / "science.fits")
        template = read_golden_exposure(folder / "template_matched.fits")
        original = read_golden_exposure(folder / "difference.fits")
        ours = subtract_template(science.matching_image(), template.matching_image())
        empty = ~(original.planes["DETECTED"] | original.planes["EDGE"])
        statistics = measure_pulls(ours.difference, ours.variance, empty)
        assert statistics.sigma == pytest.approx(1.0, abs=0.01)
        assert statistics.beyond_four_sigma < 2.0 * 6.3e-5
        residual = (ours.difference - original.image)[empty] / np.sqrt(original.variance[empty])
        assert np.std(residual) < 0.1
        none = np.zeros(science.image.shape, dtype=bool)
        result = detect_dia_sources(ours.difference, ours.variance, science.psf, {}, none)
        self.match(folder, result, original.planes["DETECTED"])


def test_psf_that_is_wider_than_high() -> None:
    image = draw([(60.0, 70.0, 9000.0)])
    no_data = np.zeros(SHAPE, dtype=bool)
    variance = np.full(SHAPE, NOISE**2, dtype=np.float32)
    wide = np.pad(gaussian_kernel(4.0), ((0, 0), (3, 3)))
    (source,) = detect_dia_sources(image, variance, wide, {}, no_data).sources
    assert source["x"] == pytest.approx(70.0, abs=0.3)
