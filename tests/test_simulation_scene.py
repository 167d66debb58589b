# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated sky: PSF, sources, noise, defects, and whole detectors."""

from __future__ import annotations

import math

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.images import XY, Box
from lsst.meas.cosmicrays.simulation import (
    SimulatedDetector,
    SimulationConfig,
    SpatialProfile,
    Trail,
    add_trail,
    bleed,
    draw_sources,
    draw_trails,
    expose,
    make_piff_psf,
    make_psf,
    simulate_detector,
)

SHAPE = (300, 200)
QUIET = {
    "variables": 0.0,
    "moving_fraction": 0.0,
    "registration_error": 0.0,
    "satellite_fraction": 0.0,
    "bad_column_density": 0.0,
}


def small(**options: object) -> SimulationConfig:
    return SimulationConfig(width=200, height=160, galaxies=0.0, **options)


@pytest.fixture(scope="module")
def psf() -> SpatialProfile:
    return make_psf(np.random.default_rng(3), SHAPE, 3.6, 0.05)


@pytest.fixture(scope="module")
def simulated() -> SimulatedDetector:
    """Simulate a detector with plenty of everything."""
    config = SimulationConfig(
        width=256,
        height=300,
        crowding=20.0,
        variables=10.0,
        cr_rate=20.0,
        moving_fraction=0.1,
        satellite_fraction=1.0,
        bad_column_density=40.0,
        seed=4,
    )
    return simulate_detector(config, visit=2, detector=1)


def draw_star(profile: SpatialProfile, x: float, y: float, flux: float = 1.0) -> np.ndarray:
    image = np.zeros(SHAPE, np.float32)
    draw_sources(image, profile, np.array([x]), np.array([y]), np.array([flux]), 1e-7 * flux)
    return image.astype(float)


@settings(deadline=None, max_examples=30)
@given(x=st.floats(60.0, 140.0), y=st.floats(60.0, 240.0))
def test_star_has_its_flux_at_its_place(psf: SpatialProfile, x: float, y: float) -> None:
    image = draw_star(psf, x, y, 1e5)
    assert image.sum() == pytest.approx(1e5, rel=1e-4)
    rows, columns = np.indices(SHAPE)
    assert (image * columns).sum() / image.sum() == pytest.approx(x, abs=2e-3)
    assert (image * rows).sum() / image.sum() == pytest.approx(y, abs=2e-3)


@pytest.mark.parametrize("fwhm", [1.6, 2.5, 4.2])
def test_star_has_its_width(fwhm: float) -> None:
    profile = make_psf(np.random.default_rng(1), SHAPE, fwhm, 0.0)
    image = draw_star(profile, 100.0, 150.0)
    assert image.max() == image[150, 100]
    # Independent of GalSim: a Moffat profile averaged over pixels.
    alpha = fwhm / (2.0 * np.sqrt(2.0**0.25 - 1.0))
    fine = (np.arange(-20 * 15, 20 * 15 + 15) + 0.5) / 15.0 - 0.5
    moffat = 3.0 / (np.pi * alpha**2) * (1.0 + (fine[:, None] ** 2 + fine**2) / alpha**2) ** -4.0
    pixels = moffat.reshape(41, 15, 41, 15).mean(axis=(1, 3))
    np.testing.assert_allclose(image[130:171, 80:121], pixels, atol=3e-3 * pixels.max())


def test_psf_varies_over_the_detector(psf: SpatialProfile) -> None:
    left, right = psf.at(0.0, 150.0), psf.at(199.0, 150.0)
    assert np.abs(left - right).max() > 0.01 * left.max()
    constant = make_psf(np.random.default_rng(3), SHAPE, 3.6, 0.0)
    np.testing.assert_allclose(constant.at(0.0, 150.0), constant.at(199.0, 299.0), atol=1e-6)


@pytest.mark.parametrize("fwhm", [1.6, 3.0, 4.2])
def test_piff_model_describes_the_stars(fwhm: float) -> None:
    profile = make_psf(np.random.default_rng(3), SHAPE, fwhm, 0.05)
    model = make_piff_psf(profile, Box.factory[0 : SHAPE[0], 0 : SHAPE[1]])
    for x, y in ((100.0, 150.0), (60.3, 80.6), (150.5001, 250.4)):
        star = model.compute_stellar_image(x=x, y=y)
        rows, columns = star.bbox.y, star.bbox.x
        drawn = draw_star(profile, x, y)[rows.start : rows.stop, columns.start : columns.stop]
        assert drawn.sum() > 0.998
        difference = star.array - drawn / drawn.sum()
        assert np.abs(difference).max() < 2e-3 * drawn.max()


def test_stars_beside_the_image(psf: SpatialProfile) -> None:
    off = draw_star(psf, -3.0, 150.0)
    assert 0.0 < off.sum() < 0.5
    np.testing.assert_array_equal(draw_star(psf, -300.0, 150.0), 0.0)


def test_galaxy_is_wider_than_a_star(psf: SpatialProfile) -> None:
    n = psf.splines.shape[1]
    offsets = np.arange(n) - n // 2
    gaussian = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2.0 * 8.0**2))
    (galaxy,) = psf.convolve([gaussian / gaussian.sum()])
    rows = np.arange(SHAPE[0])

    def variance(image: np.ndarray) -> float:
        profile = image[:, 60:141].sum(axis=1) / image[:, 60:141].sum()
        return float(profile @ (rows - 150.0) ** 2)

    star, extended = draw_star(psf, 100.0, 150.0), draw_star(galaxy, 100.0, 150.0)
    # 8 points of the table are 2 pixels.
    assert variance(extended) - variance(star) == pytest.approx(4.0, rel=0.02)
    assert extended.sum() == pytest.approx(1.0, rel=1e-3)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 1000), st.floats(0.5, 8.0))
def test_bleeding_keeps_charge(seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    electrons = rng.uniform(0.0, 50.0, (80, 5)).astype(np.float32)
    electrons[38:42, 2] += np.float32(100.0 * strength)
    before = electrons.copy()
    bleed(electrons, 100.0)
    assert electrons.max() <= 100.0 * (1.0 + 1e-6)
    assert electrons.sum(dtype=float) == pytest.approx(before.sum(dtype=float), rel=1e-5)
    np.testing.assert_array_equal(np.delete(electrons, 2, axis=1), np.delete(before, 2, axis=1))
    assert (electrons[:38, 2] >= before[:38, 2]).all()


def test_bleeding_is_symmetrical_and_loses_charge_at_the_ends() -> None:
    electrons = np.zeros((11, 1), np.float32)
    electrons[5] = 500.0
    bleed(electrons, 100.0)
    np.testing.assert_allclose(electrons[:, 0], [0, 0, 0, 100, 100, 100, 100, 100, 0, 0, 0])
    short = np.full((3, 1), 200.0, np.float32)
    bleed(short, 100.0)
    np.testing.assert_array_equal(short[:, 0], 100.0)


@pytest.mark.parametrize(("sky", "depth"), [(30.0, 1), (0.05, 1), (30.0, 25)])
def test_noise_is_that_of_the_variance(sky: float, depth: int) -> None:
    config = small(sky=sky)
    light = np.full(config.shape, 20.0, np.float32)
    exposure = expose(np.random.default_rng(2), config, light, depth=depth)
    residual = exposure.image - light
    expected = (20.0 + config.sky_electrons + config.camera.read_noise**2) / depth
    n = residual.size
    assert residual.mean() == pytest.approx(0.0, abs=4.0 * np.sqrt(expected / n))
    assert residual.var() == pytest.approx(expected, rel=5.0 * np.sqrt(2.0 / n) + 0.02)
    assert exposure.variance.mean() == pytest.approx(expected, rel=0.02)


def test_satellite_trail_by_hand() -> None:
    image = np.zeros((41, 61), np.float32)
    add_trail(image, Trail(x=30.0, y=20.0, angle=0.0, width=2.0, brightness=100.0))
    np.testing.assert_allclose(image.sum(axis=0), 100.0, rtol=1e-4)
    np.testing.assert_allclose(image[20], 100.0 / (2.0 * np.sqrt(2.0 * np.pi)), rtol=1e-5)


def test_width_of_satellite_trails() -> None:
    config = small(satellite_fraction=1.0)
    sharp = small(satellite_fraction=1.0, satellite_width=0.4)
    sigma = config.seeing / config.camera.pixel_scale / 2.355
    for seed in range(5):
        ((usual,), (narrow,)) = (draw_trails(np.random.default_rng(seed), one) for one in (config, sharp))
        assert sigma <= usual.width <= 2.0 * sigma
        assert narrow.width == pytest.approx(0.4 * usual.width)
        # Narrower, not brighter: the peak and the place are the same.
        assert narrow.brightness / narrow.width == pytest.approx(usual.brightness / usual.width)
        assert (narrow.x, narrow.y, narrow.angle) == (usual.x, usual.y, usual.angle)


def test_reproducible_and_different() -> None:
    config = small(seed=7)
    first, second = (simulate_detector(config, 1, 2) for _ in range(2))
    for name in ("visit_image", "template"):
        np.testing.assert_array_equal(getattr(first, name).image.array, getattr(second, name).image.array)
    for name in ("cosmic_rays", "variables"):
        assert getattr(first, name).pformat() == getattr(second, name).pformat()
    other_visit = simulate_detector(config, 2, 2)
    # The same sky and template, but other noise and cosmic rays.
    np.testing.assert_array_equal(first.template.image.array, other_visit.template.image.array)
    assert not np.array_equal(first.visit_image.image.array, other_visit.visit_image.image.array)
    assert not np.array_equal(first.charge.array, other_visit.charge.array)
    other_seed = simulate_detector(small(seed=8), 1, 2)
    assert not np.array_equal(first.template.image.array, other_seed.template.image.array)


def test_truth_is_what_cosmic_rays_add() -> None:
    quiet = {"noise": False, "cr_rate": 30.0, "seed": 6, **QUIET}
    with_rays = simulate_detector(small(**quiet), 1, 0)
    without = simulate_detector(small(**{**quiet, "cr_rate": 0.0}), 1, 0)
    saturated = with_rays.visit_image.mask.get("SATURATED")
    added = with_rays.visit_image.image.array - without.visit_image.image.array
    charge = with_rays.charge.array
    assert charge.max() > 500.0
    np.testing.assert_allclose(added[~saturated], charge[~saturated], atol=0.05)
    assert not without.charge.array.any()
    # ISR takes the variance from what was counted.
    more = with_rays.visit_image.variance.array - without.visit_image.variance.array
    np.testing.assert_allclose(more[~saturated], charge[~saturated], atol=0.05)


def test_quiet_sky_is_the_template_in_another_seeing() -> None:
    config = small(noise=False, cr_rate=0.0, seeing=0.6, template_seeing=0.6, psf_variation=0.0, **QUIET)
    quiet = simulate_detector(config, 1, 0)
    np.testing.assert_allclose(quiet.visit_image.image.array, quiet.template.image.array, atol=0.02)
    assert len(quiet.variables) == 0


def test_planes(simulated: SimulatedDetector) -> None:
    image, mask = simulated.visit_image.image.array, simulated.visit_image.mask
    bad = mask.get("BAD")
    assert bad.any(axis=0).sum() >= 3
    np.testing.assert_array_equal(mask.get("INTERPOLATED"), bad)
    found = mask.get("COSMIC_RAY")
    assert 0 < found.sum() < 0.01 * found.size
    assert not (found & mask.get("INTERPOLATED")).any()
    assert not simulated.template.mask.get("COSMIC_RAY").any()
    charged = simulated.charge.array > 0.0
    assert (found & charged).sum() > 0.5 * found.sum()
    detected = mask.get("DETECTED")
    variables = simulated.variables
    bright = variables[(variables["flux"] + variables["delta_flux"]) > 1e5]
    inside = (bright["x"] > 20) & (bright["x"] < 236) & (bright["y"] > 20) & (bright["y"] < 280)
    assert inside.sum() > 2
    assert all(detected[round(row["y"]), round(row["x"])] for row in bright[inside])
    assert 0.02 < detected.mean() < 0.7
    edge = mask.get("DETECTION_EDGE")
    assert edge[0].all()
    assert not edge[150, 128]
    saturated = mask.get("SATURATED")
    if saturated.any():
        assert image[saturated].min() > 1e5
    assert not simulated.template.mask.get("BAD").any()
    assert np.isfinite(image).all()
    assert (simulated.visit_image.variance.array > 0.0).all()


def test_bright_star_saturates_and_bleeds() -> None:
    config = small(cr_rate=0.0, **QUIET)
    light = np.zeros(config.shape, np.float32)
    profile = make_psf(np.random.default_rng(1), config.shape, 4.0, 0.0)
    draw_sources(light, profile, np.array([100.0]), np.array([80.0]), np.array([2e7]), 0.1)
    saturated = expose(np.random.default_rng(1), config, light).planes["SATURATED"]
    height, width = np.ptp(np.nonzero(saturated), axis=1) + 1
    assert width < 15
    assert height > 2 * width


def test_stars_of_the_table_are_the_light_of_the_image() -> None:
    """Drawn from the table, they leave only what is fainter than its limit."""
    config = small(
        seeing=0.6,
        psf_variation=0.0,
        crowding=3.0,
        noise=False,
        cr_rate=0.0,
        seed=6,
        **QUIET | {"registration_error": 0.3},
    )
    detector = simulate_detector(config, 1, 0)
    stars = detector.stars
    assert len(stars) > 3
    sigma = 0.6 / 0.168 / 2.3548
    limit = 10 * math.sqrt(4 * math.pi * sigma**2 * (config.sky_electrons + 4.5**2))
    assert stars["flux"].min() == pytest.approx(limit, rel=1.0)
    assert stars["flux"].min() >= limit * 0.999
    drawn = np.zeros(config.shape, np.float32)
    profile = make_psf(np.random.default_rng(1), config.shape, 0.6 / 0.168, 0.0)
    draw_sources(drawn, profile, *(stars[name].value for name in ("x", "y", "flux")), 0.01)
    image = detector.visit_image.image.array - drawn
    image[detector.visit_image.mask.get("SATURATED")] = 0.0
    faintest = np.zeros(SHAPE, np.float32)
    draw_sources(faintest, profile, np.array([100.0]), np.array([150.0]), np.array([limit]), 0.01)
    assert drawn.max() > 3 * faintest.max()
    assert image.max() < 1.5 * faintest.max()


def test_variables_are_where_the_table_says(simulated: SimulatedDetector) -> None:
    table = simulated.variables
    assert {"variable", "transient", "moving"} <= set(table["kind"])
    sky = simulated.visit_image.sky_projection.pixel_to_sky(
        XY(x=np.asarray(table["x"]), y=np.asarray(table["y"]))
    )
    np.testing.assert_allclose(sky.ra.deg, table["ra"], atol=1e-9)
    np.testing.assert_allclose(sky.dec.deg, table["dec"], atol=1e-9)
    quiet = {"noise": False, "cr_rate": 0.0, **QUIET, "variables": 40.0, "seed": 2}
    config = small(seeing=0.6, template_seeing=0.6, psf_variation=0.0, **quiet)
    changed = simulate_detector(config, 1, 0)
    difference = changed.visit_image.image.array - changed.template.image.array
    saturated = changed.visit_image.mask.get("SATURATED") | changed.template.mask.get("SATURATED")
    difference[saturated] = 0.0
    rows = changed.variables
    isolated = rows[(rows["x"] > 15) & (rows["x"] < 185) & (rows["y"] > 15) & (rows["y"] < 145)]
    assert len(isolated) > 0
    reproduced = np.zeros_like(difference)
    profile = make_psf(np.random.default_rng(1), config.shape, 0.6 / 0.168, 0.0)
    draw_sources(reproduced, profile, rows["x"].value, rows["y"].value, rows["delta_flux"].value, 0.01)
    reproduced[saturated] = 0.0
    np.testing.assert_allclose(difference, reproduced, atol=2.0 + 1e-3 * np.abs(reproduced).max())


def test_registration_error_makes_dipoles() -> None:
    options = {"noise": False, "cr_rate": 0.0, **QUIET, "seeing": 0.6, "template_seeing": 0.6}
    config = small(**{**options, "registration_error": 0.3, "psf_variation": 0.0, "crowding": 10.0})
    shifted = simulate_detector(config, 1, 0)
    difference = shifted.visit_image.image.array - shifted.template.image.array
    assert difference.max() > 50.0
    assert difference.min() < -50.0


def test_lsstcam_is_another_camera() -> None:
    config = SimulationConfig(sensor="lsstcam", width=100, height=100)
    detector = simulate_detector(config, 1, 5).visit_image.detector
    assert (detector.instrument, detector.pixel_size, detector.id) == ("SimLSSTCam", 0.01, 5)
    assert config.time == 30.0


@pytest.mark.parametrize("sensor", ["hsc", "lsstcam"])
def test_detectors_do_not_overlap(sensor: str) -> None:
    camera = SimulationConfig(sensor=sensor).camera
    detectors = [camera.detector(i, 2048, 4176) for i in range(camera.n_detectors)]
    centres = {
        (d.x_center / (d.width * d.pixel_size), d.y_center / (d.height * d.pixel_size)) for d in detectors
    }
    assert len(centres) == camera.n_detectors
    x, y = np.array(sorted(centres)).T
    far = np.maximum(np.abs(x[:, None] - x), np.abs(y[:, None] - y))
    assert (far[~np.eye(len(x), dtype=bool)] > 1.0).all()
    assert (detectors[0].x_center, detectors[0].y_center) == (0.0, 0.0)


def test_detector_that_the_camera_lacks() -> None:
    with pytest.raises(ValueError, match="SimHSC has no detector 104"):
        simulate_detector(small(), 1, 104)
    with pytest.raises(ValueError, match="numbered from 1"):
        simulate_detector(small(), 0, 0)


@pytest.mark.parametrize(
    ("field", "value"), [("seeing", 0.0), ("width", 3), ("sensor", "emccd"), ("sky", -1.0), ("sed", 3)]
)
def test_bad_configurations_name_the_field(field: str, value: object) -> None:
    with pytest.raises(pydantic.ValidationError, match=field):
        SimulationConfig(**{field: value})
