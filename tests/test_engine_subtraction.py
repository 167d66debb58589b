# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""PSF matching and subtraction of arrays."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
from difference_scene import Scene, make_scene, psf_image
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.meas.cosmicrays.engines.difference_imaging.decorrelation import decorrelate_kernel
from lsst.meas.cosmicrays.engines.difference_imaging.difference_planes import (
    DifferencePlanes,
    border,
    grow,
    propagate_planes,
)
from lsst.meas.cosmicrays.engines.difference_imaging.difference_statistics import (
    fit_background,
    measure_pulls,
    measure_variance_scale,
)
from lsst.meas.cosmicrays.engines.difference_imaging.kernel_basis import alard_lupton_basis, basis_widths
from lsst.meas.cosmicrays.engines.difference_imaging.kernel_candidates import (
    cut_stamps,
    find_kernel_candidates,
)
from lsst.meas.cosmicrays.engines.difference_imaging.kernel_matching import MatchingSettings
from lsst.meas.cosmicrays.engines.difference_imaging.kernel_solution import (
    KernelFitError,
    MatchingStamps,
    TooFewCandidatesError,
    solve_matching_kernel,
)
from lsst.meas.cosmicrays.engines.difference_imaging.matching_image import (
    MatchingImage,
    NoOverlapError,
    PsfSample,
)
from lsst.meas.cosmicrays.engines.difference_imaging.spatial_kernel import (
    SpatialKernel,
    chebyshev_degrees,
    chebyshev_image,
    chebyshev_values,
    fit_kernel,
)
from lsst.meas.cosmicrays.engines.difference_imaging.subtraction import (
    Subtraction,
    SubtractionSettings,
    subtract_template,
)

GAUSSIAN_BEYOND_FOUR = 6.334e-5


def assert_white(result: Subtraction) -> None:
    """Check that the difference is what its variance says it is."""
    statistics = result.statistics
    assert abs(statistics.median) < 0.02
    assert abs(statistics.sigma - 1.0) < 0.03
    assert statistics.beyond_four_sigma < 3.0 * GAUSSIAN_BEYOND_FOUR
    assert abs(statistics.autocorrelation_x) < 0.02
    assert abs(statistics.autocorrelation_y) < 0.02


class TestSpatialKernel:
    @settings(deadline=None, max_examples=15)
    @given(
        st.integers(9, 30),
        st.integers(9, 30),
        st.integers(0, 3),
        st.integers(0, 2),
        st.integers(0, 2**32 - 1),
    )
    def test_convolution_by_hand(self, ny: int, nx: int, half: int, order: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        size = 2 * half + 1
        kernel = SpatialKernel(rng.normal(size=(len(chebyshev_degrees(order)), size, size)), order, (ny, nx))
        image = rng.normal(size=(ny, nx)).astype(np.float32)
        padded = np.pad(image, half, mode="symmetric")
        expected = [
            [np.sum(kernel.at(y, x)[::-1, ::-1] * padded[y : y + size, x : x + size]) for x in range(nx)]
            for y in range(ny)
        ]
        np.testing.assert_allclose(kernel.convolve(image), expected, atol=1e-4)

    def test_tiles_join(self) -> None:
        rng = np.random.default_rng(2)
        kernel = SpatialKernel(rng.normal(size=(3, 11, 11)), 1, (700, 1100))
        image = rng.normal(size=kernel.shape).astype(np.float32)
        convolved = kernel.convolve(image)
        padded = np.pad(image, 5, mode="symmetric")
        for y, x in rng.integers((700, 1100), size=(200, 2)):
            expected = np.sum(kernel.at(y, x)[::-1, ::-1] * padded[y : y + 11, x : x + 11])
            assert convolved[y, x] == pytest.approx(expected, abs=1e-3)

    def test_fit_returns_what_it_was_given(self) -> None:
        rng = np.random.default_rng(3)
        kernel = SpatialKernel(rng.normal(size=(6, 5, 5)), 2, (50, 80))
        y, x = rng.uniform(0, 49, 20), rng.uniform(0, 79, 20)
        kernels = np.stack([kernel.at(*place) for place in zip(y, x, strict=True)])
        np.testing.assert_allclose(SpatialKernel.fit(kernels, y, x, 2, (50, 80)).terms, kernel.terms)

    def test_polynomial_image(self) -> None:
        coefficients = np.arange(1.0, 7.0)
        y, x = np.mgrid[:7, :9]
        expected = coefficients @ chebyshev_values(2, y.ravel(), x.ravel(), (7, 9))
        np.testing.assert_allclose(
            chebyshev_image(coefficients, 2, (7, 9)), expected.reshape(7, 9), rtol=1e-6
        )

    def test_other_shape(self) -> None:
        with pytest.raises(ValueError, match=r"shape \(4, 4\), got one of \(5, 4\)"):
            SpatialKernel.constant(np.ones((1, 1)), (4, 4)).convolve(np.zeros((5, 4)))

    def test_fit_kernel(self) -> None:
        kernel = np.arange(15.0).reshape(3, 5)
        assert np.array_equal(fit_kernel(kernel, 7)[2:5, 1:6], kernel)
        assert fit_kernel(kernel, 7).sum() == kernel.sum()
        assert np.array_equal(fit_kernel(kernel, 3), kernel[:, 1:4])


class TestBasis:
    def test_only_the_first_has_a_sum(self) -> None:
        basis = alard_lupton_basis([0.7, 1.4], [2, 1], 6)
        assert basis.shape == (6 + 3, 13, 13)
        np.testing.assert_allclose(basis.sum(axis=(1, 2)), [1.0] + [0.0] * 8, atol=1e-12)
        np.testing.assert_allclose(np.square(basis[1:]).sum(axis=(1, 2)), 1.0)
        assert np.linalg.matrix_rank(basis.reshape(9, -1)) == 9

    def test_widths(self) -> None:
        sigmas, half_width = basis_widths(3.0, 6.0)
        matching = np.sqrt(6.0**2 - 3.0**2) / 2.3548
        assert sigmas == pytest.approx([matching / 2, matching, 2 * matching], rel=1e-3)
        assert half_width == int(np.ceil(6 * matching))
        assert basis_widths(4.0, 4.0) == ([0.7, 1.4, 2.8], 10)

    def test_degrees_for_each(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            alard_lupton_basis([1.0, 2.0], [2], 5)


class TestCandidates:
    def test_spread_and_unblemished(self) -> None:
        rng = np.random.default_rng(4)
        significance = rng.normal(size=(200, 240))
        y, x = rng.integers((25, 25), (175, 215), size=(60, 2)).T
        significance[y, x] = rng.uniform(25.0, 500.0, 60)
        unusable = np.zeros(significance.shape, dtype=bool)
        unusable[y[::5], x[::5] - 2] = True
        found = find_kernel_candidates(significance, unusable, 10, cell_size=64, n_per_cell=2)
        assert len(found) > 10
        places = set(zip(y.tolist(), x.tolist(), strict=True))
        assert {tuple(place) for place in found.tolist()} <= places
        for j, i in found:
            assert not unusable[j - 2 : j + 3, i - 2 : i + 3].any()
        apart = np.abs(found[:, np.newaxis] - found).max(axis=2)[~np.eye(len(found), dtype=bool)]
        assert apart.min() > 10
        _, counts = np.unique(found // 64, axis=0, return_counts=True)
        assert counts.max() <= 2

    def test_faint_ones_only_where_needed(self) -> None:
        significance = np.zeros((200, 200))
        significance[20::40, 20::40] = 60.0
        significance[40::40, 40:180:40] = 30.0
        unusable = np.zeros(significance.shape, dtype=bool)
        options = {"cell_size": 64, "n_per_cell": 9}
        few_suffice = find_kernel_candidates(significance, unusable, 10, n_enough=25, **options)
        assert set(significance[tuple(few_suffice.T)]) == {60.0}
        more_needed = find_kernel_candidates(significance, unusable, 10, n_enough=26, **options)
        assert set(significance[tuple(more_needed.T)]) == {60.0, 30.0}

    def test_none(self) -> None:
        found = find_kernel_candidates(np.zeros((60, 60)), np.zeros((60, 60), dtype=bool), 10)
        assert found.shape == (0, 2)

    def test_stamps(self) -> None:
        image = np.arange(400.0).reshape(20, 20)
        (stamp,) = cut_stamps(image, np.array([[7, 9]]), 3)
        assert np.array_equal(stamp, image[4:11, 6:13])


def exact_stamps(kernel: SpatialKernel, basis: np.ndarray, n: int, noise: float = 0.0) -> MatchingStamps:
    """Make stamps of point sources, and of what a kernel makes of them."""
    rng = np.random.default_rng(5)
    ny, nx = kernel.shape
    y, x = rng.integers((30, 30), (ny - 30, nx - 30), size=(n, 2)).T
    size, half = 61, 15
    offsets = np.arange(-30, 31, dtype=np.float64)
    source = 1e4 * psf_image(4.0, offsets[:, np.newaxis], offsets[np.newaxis])
    middle = np.array([[30, 30]])

    def cut(one: np.ndarray) -> np.ndarray:
        image = SpatialKernel.constant(one, (size, size)).convolve(source)
        return cut_stamps(image, middle, half).ravel()

    convolved = np.stack([cut(one) for one in basis])
    target = np.stack([cut(kernel.at(*place)) for place in zip(y, x, strict=True)])
    variance = np.full_like(target, max(noise, 1.0) ** 2)
    return MatchingStamps(
        convolved=np.broadcast_to(convolved, (n, *convolved.shape)).copy(),
        target=target + rng.normal(0.0, noise, target.shape).astype(np.float32) + np.float32(7.0),
        convolved_variance=np.zeros_like(target),
        target_variance=variance,
        usable=np.ones(target.shape, dtype=bool),
        centres=np.column_stack([y, x]),
    )


class TestSolution:
    basis = alard_lupton_basis([1.0, 2.0], [2, 1], 8)
    shape = (300, 400)

    def kernel(self, order: int) -> SpatialKernel:
        rng = np.random.default_rng(6)
        table = 0.1 * rng.normal(size=(len(chebyshev_degrees(order)), len(self.basis)))
        table[1:] *= 0.2
        table[:, 0] = 0.0
        table[0, 0] = 1.7
        return SpatialKernel(np.tensordot(table, self.basis, axes=1), order, self.shape)

    @pytest.mark.parametrize("order", [0, 1, 2])
    def test_finds_the_kernel(self, order: int) -> None:
        kernel = self.kernel(order)
        solution = solve_matching_kernel(
            exact_stamps(kernel, self.basis, 60), self.basis, self.shape, kernel_order=order
        )
        assert solution.kernel.order == order
        assert solution.kernel_sum == pytest.approx(1.7, rel=1e-4)
        assert solution.n_used == 60
        for y, x in ((40, 50), (150, 300), (280, 390)):
            np.testing.assert_allclose(solution.kernel.at(y, x), kernel.at(y, x), atol=0.005)

    def test_leaves_out_variables_and_cosmic_rays(self) -> None:
        kernel = self.kernel(1)
        stamps = exact_stamps(kernel, self.basis, 40, noise=2.0)
        stamps.target[:6] = 7.0 + 1.5 * (stamps.target[:6] - 7.0)
        rng = np.random.default_rng(7)
        for stamp in stamps.target[6:25]:
            start = rng.integers(31 * 25)
            stamp[start : start + 20] += 5000.0
        solution = solve_matching_kernel(stamps, self.basis, self.shape, kernel_order=1)
        assert not solution.used[:6].any()
        assert solution.used[25:].sum() >= 14
        assert solution.kernel_sum == pytest.approx(1.7, rel=2e-3)
        assert solution.chi_square == pytest.approx(1.0, abs=0.05)

    def test_noise_of_what_is_convolved_does_not_weaken_the_kernel(self) -> None:
        kernel = SpatialKernel.constant(1.7 * self.basis[0], self.shape)
        stamps = exact_stamps(kernel, self.basis, 200)
        rng = np.random.default_rng(8)
        noise = 10.0 * rng.normal(size=(200, 61, 61))
        middle = np.array([[30, 30]])
        for i, one in enumerate(self.basis):
            smooth = SpatialKernel.constant(one, (61, 61))
            stamps.convolved[:, i] += [
                cut_stamps(smooth.convolve(field), middle, 15).ravel() for field in noise
            ]
        known = dataclasses.replace(stamps, convolved_variance=np.full_like(stamps.target, 100.0))
        fit = {"basis": self.basis, "shape": self.shape, "kernel_order": 0}
        assert solve_matching_kernel(known, **fit).kernel_sum == pytest.approx(1.7, rel=0.01)
        assert solve_matching_kernel(stamps, **fit).kernel_sum < 0.985 * 1.7

    def test_order_is_what_the_stamps_allow(self) -> None:
        stamps = exact_stamps(self.kernel(1), self.basis, 12)
        assert solve_matching_kernel(stamps, self.basis, self.shape, kernel_order=2).kernel.order == 1

    def test_too_few(self) -> None:
        stamps = exact_stamps(self.kernel(0), self.basis, 3)
        with pytest.raises(TooFewCandidatesError, match="Only 3 stamps are usable .* 5 are required"):
            solve_matching_kernel(stamps, self.basis, self.shape, min_stamps=5)

    def test_negative_scale(self) -> None:
        stamps = exact_stamps(self.kernel(0), self.basis, 20)
        negative = dataclasses.replace(stamps, target=14.0 - stamps.target)
        with pytest.raises(KernelFitError, match="came out as -1.7"):
            solve_matching_kernel(negative, self.basis, self.shape)


@pytest.mark.parametrize(("variance_convolved", "variance_target"), [(4.0, 9.0), (9.0, 1.0), (0.1, 9.0)])
def test_decorrelation_whitens(variance_convolved: float, variance_target: float) -> None:
    rng = np.random.default_rng(9)
    shape = (400, 400)
    offsets = np.arange(-10, 11, dtype=np.float64)
    kernel = psf_image(3.5, offsets[:, np.newaxis], offsets[np.newaxis])
    matching = SpatialKernel.constant(1.3 * kernel / kernel.sum(), shape)
    convolved = rng.normal(0.0, np.sqrt(variance_convolved), shape)
    target = rng.normal(0.0, np.sqrt(variance_target), shape)
    result = decorrelate_kernel(matching, variance_convolved, variance_target, half_width=20)
    difference = result.kernel.convolve(target - matching.convolve(convolved))
    variance = result.variance_of_convolved.convolve(np.full(shape, variance_convolved))
    variance += result.variance_of_target.convolve(np.full(shape, variance_target))
    assert variance[200, 200] == pytest.approx(variance_target + 1.3**2 * variance_convolved, rel=0.01)
    statistics = measure_pulls(difference, variance, ~border(shape, 30))
    assert statistics.sigma == pytest.approx(1.0, abs=0.01)
    assert abs(statistics.autocorrelation_x) < 0.01
    assert abs(statistics.autocorrelation_y) < 0.01
    assert result.kernel.at(10.0, 10.0).sum() == pytest.approx(1.0)
    as_it_is = decorrelate_kernel(matching, variance_convolved, variance_target, half_width=20, enabled=False)
    single = fit_kernel(np.ones((1, 1)), 41)
    np.testing.assert_allclose(as_it_is.kernel.at(0.0, 0.0), single, atol=1e-12)


class TestPlanes:
    def test_grow(self) -> None:
        rng = np.random.default_rng(10)
        mask = rng.random((40, 50)) < 0.01
        grown = grow(mask, 3)
        expected = [
            [mask[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4].any() for x in range(50)] for y in range(40)
        ]
        assert np.array_equal(grown, expected)
        assert np.array_equal(grow(mask, 0), mask)

    def test_border(self) -> None:
        assert border((9, 8), 2).sum() == 9 * 8 - 5 * 4
        assert border((3, 3), 5).all()
        assert not border((3, 3), 0).any()

    @pytest.mark.parametrize("template_convolved", [True, False])
    def test_rules(self, template_convolved: bool) -> None:
        def dot(y: int, x: int) -> np.ndarray:
            plane = np.zeros((30, 30), dtype=bool)
            plane[y, x] = True
            return plane

        science = {
            "BAD": dot(5, 5),
            "SATURATED": dot(6, 6),
            "COSMIC_RAY": dot(7, 7),
            "DETECTED": dot(8, 8),
            "NO_DATA": dot(4, 4),
        }
        template = {
            "BAD": dot(20, 20),
            "SATURATED": dot(21, 21),
            "COSMIC_RAY": dot(22, 22),
            "INJECTED": dot(24, 24),
            "EXTRA": dot(23, 23),
        }
        planes = propagate_planes(science, template, template_convolved=template_convolved, half_width=2)
        by_science, by_template = (0, 2) if template_convolved else (2, 0)
        assert set(planes) == {
            "BAD",
            "SATURATED",
            "COSMIC_RAY",
            "NO_DATA",
            "SAT_TEMPLATE",
            "INJECTED_TEMPLATE",
        }
        assert np.array_equal(
            planes["BAD"], grow(science["BAD"], by_science) | grow(template["BAD"], by_template)
        )
        assert np.array_equal(planes["SATURATED"], grow(science["SATURATED"], by_science))
        assert np.array_equal(planes["NO_DATA"], grow(science["NO_DATA"], by_science))
        assert np.array_equal(planes["SAT_TEMPLATE"], grow(template["SATURATED"], by_template))
        assert np.array_equal(planes["COSMIC_RAY"], science["COSMIC_RAY"])
        assert np.array_equal(planes["INJECTED_TEMPLATE"], template["INJECTED"])

    def test_other_rules(self) -> None:
        plane = np.ones((2, 2), dtype=bool)
        rules = DifferencePlanes(cleared=("A",), kept_from_template=("C",), renamed_from_template={"D": "E"})
        given = {"A": plane, "B": plane, "C": plane, "D": plane}
        planes = propagate_planes(
            given, {"C": plane, "D": plane}, template_convolved=True, half_width=1, rules=rules
        )
        assert set(planes) == {"B", "C", "D", "E"}


class TestStatistics:
    def test_background(self) -> None:
        rng = np.random.default_rng(11)
        y, x = np.mgrid[:600, :500]
        truth = 5.0 + 0.01 * y - 0.02 * x + 1e-5 * x * y
        image = (truth + rng.normal(0.0, 3.0, truth.shape)).astype(np.float32)
        image[100:220, 130:250] += 500.0
        usable = rng.random(truth.shape) < 0.9
        background = fit_background(image, usable, 2)
        assert np.abs(background - truth).max() < 0.3
        assert not fit_background(image, np.zeros(truth.shape, dtype=bool), 2).any()
        assert np.ptp(fit_background(image[:100, :100], usable[:100, :100], 2)) == 0.0

    def test_pulls(self) -> None:
        rng = np.random.default_rng(12)
        noise = rng.normal(size=(500, 400))
        image = (2.0 * (noise[:, 1:] + 0.5 * noise[:, :-1]) + 0.5).astype(np.float32)
        image[:, 200:] = np.nan
        variance = np.full(image.shape, 4.0 * 1.25, dtype=np.float32)
        statistics = measure_pulls(image, variance, np.isfinite(image))
        assert statistics.n_pixels == 500 * 200
        assert statistics.median == pytest.approx(0.5 / np.sqrt(5.0), abs=0.02)
        assert statistics.sigma == pytest.approx(1.0, abs=0.02)
        assert statistics.autocorrelation_x == pytest.approx(0.4, abs=0.02)
        assert statistics.autocorrelation_y == pytest.approx(0.0, abs=0.02)
        assert measure_pulls(image, variance, np.zeros(image.shape, dtype=bool)).n_pixels == 0

    def test_variance_scale_is_that_of_empty_sky(self) -> None:
        rng = np.random.default_rng(13)
        image = rng.normal(0.0, 3.0, (400, 400)).astype(np.float32)
        image[50:60, 20:380] += 100.0
        scale = measure_variance_scale(image, np.ones_like(image), np.ones(image.shape, dtype=bool))
        assert scale == pytest.approx(9.0, rel=0.03)


def with_bad_psf(scene: Scene) -> MatchingImage:
    """Return the science image with a model that has a hole for a PSF."""
    offsets = np.arange(-20.0, 21.0)
    wide, narrow = (psf_image(fwhm, offsets[:, np.newaxis], offsets[np.newaxis]) for fwhm in (12.0, 5.0))
    kernel = wide - 0.35 * narrow
    return dataclasses.replace(scene.science, psf=[PsfSample(150.0, 150.0, kernel / kernel.sum())])


class TestSubtraction:
    @pytest.mark.parametrize(
        ("science_fwhm", "template_fwhm", "template_convolved"),
        [(4.5, 3.2, True), (4.0, 4.0, True), (3.6, 4.2, True), (3.2, 4.8, False)],
    )
    def test_difference_is_noise(
        self, science_fwhm: float, template_fwhm: float, template_convolved: bool
    ) -> None:
        scene = make_scene(science_fwhm, template_fwhm)
        result = subtract_template(scene.science, scene.template)
        assert result.template_convolved == template_convolved
        assert not result.solution.from_psf_models
        assert result.solution.kernel_sum == pytest.approx(1.0, abs=0.02)
        assert_white(result)

    def test_photometric_scale_and_sky(self) -> None:
        scene = make_scene(4.5, 3.2, scale=0.037)
        y, x = np.mgrid[:300, :300]
        science = dataclasses.replace(
            scene.science, image=(scene.science.image + 900.0 + 0.1 * x - 0.05 * y).astype(np.float32)
        )
        result = subtract_template(science, scene.template)
        assert result.solution.kernel_sum == pytest.approx(1 / 0.037, rel=0.02)
        assert_white(result)

    def test_science_convolved_keeps_its_scale(self) -> None:
        scene = make_scene(3.2, 4.8, scale=12.0)
        result = subtract_template(scene.science, scene.template)
        assert not result.template_convolved
        assert_white(result)
        assert np.median(result.variance) == pytest.approx(
            np.median(scene.science.variance) * (1.0 + 1.0 / 20.0), rel=0.03
        )

    @pytest.mark.parametrize("template_fwhm", [3.0, 4.8])
    def test_cosmic_rays_and_variables_stay(self, template_fwhm: float) -> None:
        clean = make_scene(3.4, template_fwhm)
        image = clean.science.image.copy()
        inside = clean.stars[np.all(np.abs(clean.stars[:, :2] - 150.0) < 110.0, axis=1)]
        brightest = inside[np.argsort(inside[:, 2])[-6:-3]]
        places = [
            (y, x)
            for y in range(40, 260, 30)
            for x in range(40, 260, 40)
            if np.hypot(y - brightest[:, 0], x - brightest[:, 1]).min() > 30.0
        ]
        for y, x in places:
            image[y, x : x + 6] += 1500.0
        offsets_y, offsets_x = np.mgrid[:300, :300]
        for y, x, flux in brightest:
            image += (0.3 * flux * psf_image(3.4, offsets_y - y, offsets_x - x)).astype(np.float32)
        with_rays = subtract_template(dataclasses.replace(clean.science, image=image), clean.template)
        without = subtract_template(clean.science, clean.template)
        assert with_rays.solution.kernel_sum == pytest.approx(without.solution.kernel_sum, abs=0.01)
        left = with_rays.difference - without.difference
        sharp = 0.95 if with_rays.template_convolved else 0.25
        for y, x in places:
            assert left[y, x : x + 6].mean() > sharp * 1500.0
            around = left[y - 7 : y + 8, x - 7 : x + 13]
            assert around.sum() == pytest.approx(9000.0, rel=0.1)
        for y, x, flux in brightest:
            rows, columns = (slice(int(place) - 9, int(place) + 10) for place in (y, x))
            assert left[rows, columns].sum() == pytest.approx(0.3 * flux, rel=0.15)

    def test_saturated_stars_do_not_ring(self) -> None:
        scene = make_scene(4.5, 3.2, max_flux=2e6, seed=3)
        saturated = scene.template.image > 20000.0
        assert saturated.any()
        template = dataclasses.replace(
            scene.template, image=np.minimum(scene.template.image, 20000.0), unusable=saturated
        )
        result = subtract_template(scene.science, template)
        assert np.array_equal(result.masked, grow(saturated, result.solution.kernel.half_width))
        assert_white(result)

    def test_missing_pixels(self) -> None:
        scene = make_scene(4.5, 3.2)
        science = dataclasses.replace(scene.science, image=scene.science.image.copy())
        science.image[40:42, 60:80] = np.nan
        science.image[200, 50] = np.inf
        template = dataclasses.replace(scene.template, variance=scene.template.variance.copy())
        template.variance[100, 100] = 0.0
        template.variance[110, 100] = np.nan
        template.variance[120, 100] = -3.0
        result = subtract_template(science, template)
        half = result.solution.kernel.half_width
        gaps = np.zeros((300, 300), dtype=bool)
        gaps[[100, 110, 120], 100] = True
        expected = grow(gaps, half)
        expected[40:42, 60:80] = expected[200, 50] = True
        assert np.array_equal(result.no_data, expected)
        assert np.all(result.difference[expected] == 0.0)
        assert np.isfinite(result.difference).all()
        assert np.isfinite(result.variance).all()
        assert result.variance.min() > 0.0
        assert_white(result)

    def test_bad_psf_models(self, caplog: pytest.LogCaptureFixture) -> None:
        """A PSF model that is nonsense does not stop the stars."""
        result = subtract_template(with_bad_psf(make_scene(3.4, 3.0)), make_scene(3.4, 3.0).template)
        assert "The models of the two PSFs cannot be matched" in caplog.text
        assert not result.solution.from_psf_models
        assert result.statistics.sigma == pytest.approx(1.0, abs=0.05)

    def test_neither_stars_nor_psf_models(self) -> None:
        scene = make_scene(3.4, 3.0)
        options = SubtractionSettings(matching=MatchingSettings(min_significance=1e9))
        with pytest.raises(KernelFitError, match="The models of the two PSFs give no kernel, either"):
            subtract_template(with_bad_psf(scene), scene.template, options)

    @pytest.mark.parametrize(("science_fwhm", "template_fwhm"), [(4.5, 3.2), (3.2, 4.8)])
    def test_psf_models_where_there_are_no_stars(
        self, science_fwhm: float, template_fwhm: float, caplog: pytest.LogCaptureFixture
    ) -> None:
        scene = make_scene(science_fwhm, template_fwhm, varying=0.0)
        options = SubtractionSettings(matching=MatchingSettings(min_significance=1e9))
        with caplog.at_level(logging.WARNING):
            result = subtract_template(scene.science, scene.template, options)
        assert "Only 0 stamps are usable" in caplog.text
        assert "models of the two PSFs" in caplog.text
        assert result.solution.from_psf_models
        assert result.solution.kernel_sum == pytest.approx(1.0, abs=0.02)
        assert_white(result)

    def test_variance_scale(self) -> None:
        scene = make_scene(4.5, 3.2)
        wrong = dataclasses.replace(scene.science, variance=0.5 * scene.science.variance)
        result = subtract_template(wrong, scene.template, SubtractionSettings(scale_variance=True))
        assert result.variance_scale == pytest.approx(1.9, abs=0.1)
        assert result.statistics.sigma == pytest.approx(1.0, abs=0.01)

    def test_without_decorrelation(self) -> None:
        scene = make_scene(3.2, 4.8)
        result = subtract_template(scene.science, scene.template, SubtractionSettings(decorrelate=False))
        assert result.statistics.sigma == pytest.approx(1.0, abs=0.05)
        assert result.statistics.autocorrelation_x > 0.3

    @pytest.mark.parametrize(("mode", "convolved"), [("convolveTemplate", True), ("convolveScience", False)])
    def test_mode(self, mode: str, convolved: bool, small: Scene) -> None:
        result = subtract_template(small.science, small.template, SubtractionSettings(mode=mode))
        assert result.template_convolved == convolved

    def test_unknown_mode(self, small: Scene) -> None:
        with pytest.raises(ValueError, match="Unknown mode 'both'"):
            subtract_template(small.science, small.template, SubtractionSettings(mode="both"))

    def test_other_shapes(self, small: Scene) -> None:
        template = dataclasses.replace(small.template, image=small.template.image[:-1])
        with pytest.raises(ValueError, match=r"template has the shape \(119, 120\), .* \(120, 120\)"):
            subtract_template(small.science, template)

    def test_all_masked(self, small: Scene) -> None:
        everywhere = np.ones(small.science.image.shape, dtype=bool)
        with pytest.raises(NoOverlapError, match="Every pixel of the template"):
            subtract_template(small.science, dataclasses.replace(small.template, unusable=everywhere))
        left = everywhere.copy()
        left[:, 60:] = False
        with pytest.raises(NoOverlapError, match="in both"):
            subtract_template(
                dataclasses.replace(small.science, unusable=left),
                dataclasses.replace(small.template, no_data=~left),
            )

    def test_tiny_images(self, caplog: pytest.LogCaptureFixture) -> None:
        scene = make_scene(4.0, 3.0, size=12, n_star=1)
        result = subtract_template(scene.science, scene.template)
        assert result.difference.shape == (12, 12)
        assert np.isfinite(result.difference).all()
        assert result.solution.from_psf_models

    def test_inputs_stay(self, small: Scene) -> None:
        before = [array.copy() for image in (small.science, small.template) for array in _arrays(image)]
        subtract_template(small.science, small.template)
        after = [array for image in (small.science, small.template) for array in _arrays(image)]
        assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def _arrays(image: object) -> list[np.ndarray]:
    return [getattr(image, name) for name in ("image", "variance", "unusable", "no_data")]


@pytest.fixture(scope="module")
def small() -> Scene:
    return make_scene(4.0, 3.2, size=120, n_star=15)
