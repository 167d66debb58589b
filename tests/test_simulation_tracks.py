# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cosmic-ray tracks: physics of single particles, and their distributions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.meas.cosmicrays.simulation import (
    ELECTRON_HOLE_PAIR,
    HSC_SENSOR,
    LSSTCAM_SENSOR,
    CosmicRayTrack,
    Footprint,
    SensorModel,
    SimulationConfig,
    draw_cosmic_rays,
    draw_track,
    footprints,
    measure_footprint,
    read_dark_footprints,
    simulate_tracks,
    stopping_power,
    track_electron,
    track_muon,
)

# Percentiles 5, 50, 95 and 99 of the 1127 footprints of 3 or more pixels in
# LSSTDESC/imSim data/cosmic_rays_itl_2017.fits.gz (dark exposures of an LSST
# ITL sensor, 1500 s on 16.288 Mpix); length is the diagonal of the bounding
# box.
MEASURED = {
    "n_pixels": (3.0, 17.0, 75.0, 144.2),
    "charge": (1144.0, 13614.0, 50757.0, 90164.0),
    "length": (2.83, 8.49, 38.8, 74.9),
}
PERCENTILES = (5, 50, 95, 99)
# Longer than this, a straight track is thinner than 0.65 pixels rms.
LONG = 12.0
MEASURED_RATE = 2.77
MEASURED_WORMS = 0.275


@pytest.fixture(scope="module")
def tracks() -> list[CosmicRayTrack]:
    """Draw particles on an upright LSSTCam sensor, as in the darks."""
    return simulate_tracks(np.random.default_rng(11), LSSTCAM_SENSOR, (4096, 4096), 6000)


@pytest.fixture(scope="module")
def simulated(tracks: list[CosmicRayTrack]) -> list[Footprint]:
    threshold = LSSTCAM_SENSOR.footprint_threshold
    return [found for track in tracks for found in footprints(track.charge, threshold)]


def percentiles(sample: list[Footprint], field: str) -> np.ndarray:
    return np.percentile([getattr(found, field) for found in sample], PERCENTILES)


def worm_fraction(sample: list[Footprint]) -> float:
    return float(np.mean([found.width > 0.65 for found in sample if found.length > LONG]))


@pytest.mark.parametrize("field", sorted(MEASURED))
def test_distributions_agree_with_the_darks(simulated: list[Footprint], field: str) -> None:
    # Within 20 %, the accuracy of the measured percentiles themselves; pixels
    # are whole numbers, so one pixel is allowed.
    ratio = percentiles(simulated, field) / MEASURED[field]
    if field == "n_pixels":
        assert abs(percentiles(simulated, field)[0] - MEASURED[field][0]) <= 1.0
        ratio = ratio[1:]
    np.testing.assert_allclose(ratio, 1.0, atol=0.2)


def test_worms(simulated: list[Footprint]) -> None:
    assert worm_fraction(simulated) == pytest.approx(MEASURED_WORMS, abs=0.07)


@pytest.mark.parametrize("sensor", ["lsstcam", "hsc"])
def test_rate(sensor: str) -> None:
    config = SimulationConfig(sensor=sensor, width=2048, height=2048, exposure_time=600.0, cr_rate=2.8)
    charge, table = draw_cosmic_rays(np.random.default_rng(3), config)
    found = list(footprints(charge, config.camera.sensor.footprint_threshold))
    expected = 2.8 * config.square_cm * 10.0
    assert len(found) == pytest.approx(expected, abs=4.0 * np.sqrt(expected))
    # Some particles touch in the image, some footprints fall apart.
    assert np.count_nonzero(table["n_pixels"] >= 3) == pytest.approx(len(found), rel=0.05)


def test_measured_numbers_are_those_of_the_file(shared: Path) -> None:
    darks = read_dark_footprints(shared / "data" / "cosmic_rays_itl_2017.fits.gz")
    assert len(darks.stamps) == 1764
    real = [found for stamp in darks.stamps for found in footprints(stamp, 1.0)]
    for field, expected in MEASURED.items():
        np.testing.assert_allclose(percentiles(real, field), expected, rtol=0.01)
    assert worm_fraction(real) == pytest.approx(MEASURED_WORMS, abs=0.01)
    minutes, square_cm = darks.exposure_time / 60.0, darks.n_pixels * 1e-6
    assert len(real) / minutes / square_cm == pytest.approx(MEASURED_RATE, abs=0.01)


def test_cumulative_distributions_agree(shared: Path, simulated: list[Footprint]) -> None:
    darks = read_dark_footprints(shared / "data" / "cosmic_rays_itl_2017.fits.gz")
    real = [found for stamp in darks.stamps for found in footprints(stamp, 1.0)]
    for field in MEASURED:
        a, b = (np.sort([getattr(found, field) for found in sample]) for sample in (real, simulated))
        points = np.unique(np.concatenate([a, b]))
        distance = np.abs(
            np.searchsorted(a, points, "right") / len(a) - np.searchsorted(b, points, "right") / len(b)
        )
        assert distance.max() < 0.08, field


@pytest.mark.parametrize(
    ("energy", "expected"),
    # NIST ESTAR, collision stopping power of silicon (MeV cm^2/g) at
    # 2.33 g/cm^3.
    [(10.0, 16.86), (100.0, 3.546), (1000.0, 1.559)],
)
def test_stopping_power(energy: float, expected: float) -> None:
    assert stopping_power(energy) == pytest.approx(0.233 * expected, rel=0.08)


def test_electron_that_stops_leaves_all_its_energy() -> None:
    rng = np.random.default_rng(5)
    for energy in (1.0, 20.0, 150.0):
        deposits = track_electron(rng, (0.0, 0.0, 5e3), (1.0, 0.0, 0.0), energy, 1e4)
        assert deposits[:, 3].sum() == pytest.approx(energy)
        assert (deposits[:, 3] >= 0.0).all()


def test_electron_that_leaves() -> None:
    deposits = track_electron(np.random.default_rng(5), (0.0, 0.0, 99.0), (0.0, 0.0, 1.0), 500.0, 100.0)
    assert deposits[:, 3].sum() < 500.0
    assert ((deposits[:, 2] >= 0.0) & (deposits[:, 2] <= 100.0)).all()


def test_muon_charge_has_a_landau_tail() -> None:
    rng = np.random.default_rng(6)
    muon = ((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 100.0, LSSTCAM_SENSOR.soft_loss, 1e4)
    charge = [track_muon(rng, *muon)[:, 3].sum() / ELECTRON_HOLE_PAIR for _ in range(2000)]
    counts, edges = np.histogram(charge, np.arange(5000.0, 20000.0, 500.0))
    most_probable = edges[counts.argmax()] + 250.0
    # About 80 electrons per um.
    assert most_probable / 100.0 == pytest.approx(80.0, abs=8.0)
    median = np.median(charge)
    low, high = median - np.percentile(charge, 5), np.percentile(charge, 95) - median
    assert high > 3.0 * low


def test_muon_is_straight() -> None:
    direction = (0.6, 0.0, 0.8)
    deposits = track_muon(np.random.default_rng(1), (50.0, 70.0, 0.0), direction, 100.0, 0.25, 1e4)
    on_line = np.isclose(deposits[:, 0] - 50.0, (deposits[:, 2] - 50.0) * 0.75)
    assert on_line.mean() > 0.5
    assert np.ptp(deposits[on_line, 2]) == pytest.approx(100.0, abs=5.0)


@pytest.mark.parametrize(("tilt", "mean_cosine"), [(0.0, 0.8), (90.0, 32.0 / (15.0 * np.pi))])
def test_zenith_law(tilt: float, mean_cosine: float) -> None:
    # cos^2 per solid angle, times the projected area: cos^3 sin on a
    # horizontal sensor (mean cosine 4/5), cos^2 sin^2 on an upright one, with
    # mean cosine 32 / (15 pi) = 0.68.
    sensor = dataclasses.replace(LSSTCAM_SENSOR, muon_fraction=1.0)
    zenith = [
        track.zenith for track in simulate_tracks(np.random.default_rng(8), sensor, (64, 64), 1500, tilt)
    ]
    assert np.cos(np.deg2rad(zenith)).mean() == pytest.approx(mean_cosine, abs=0.02)


def test_upright_sensor_has_tracks_along_y() -> None:
    sensor = dataclasses.replace(LSSTCAM_SENSOR, muon_fraction=1.0)
    tracks = simulate_tracks(np.random.default_rng(8), sensor, (512, 512), 400, 90.0)
    shapes = np.array([track.charge.shape for track in tracks])
    assert (shapes[:, 0] > shapes[:, 1]).mean() > 0.65


@pytest.mark.parametrize("sensor", [LSSTCAM_SENSOR, HSC_SENSOR])
@pytest.mark.parametrize("depth", [0.02, 0.5, 0.9])
def test_diffusion_grows_with_the_way_of_the_charge(sensor: SensorModel, depth: float) -> None:
    deposit = np.array([[1000.3, 500.8, depth * sensor.thickness, 36.5]])
    fine = dataclasses.replace(sensor, pixel_size=1.0)
    charge, x0, y0 = draw_track(deposit, fine)
    assert charge.sum() == pytest.approx(10000.0, rel=1e-4)
    x = np.arange(charge.shape[1]) + x0 + 0.5
    profile = charge.sum(axis=0) / charge.sum()
    centre = profile @ x
    assert centre == pytest.approx(1000.3, abs=0.01)
    variance = profile @ (x - centre) ** 2 - 1.0 / 12.0
    assert np.sqrt(variance) == pytest.approx(sensor.diffusion * np.sqrt(1.0 - depth), rel=0.01)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10000), st.sampled_from([LSSTCAM_SENSOR, HSC_SENSOR]))
def test_pixels_hold_the_charge_of_the_deposits(seed: int, sensor: SensorModel) -> None:
    rng = np.random.default_rng(seed)
    # Charge must spread over pixels for its centroid to be that of theirs.
    sensor = dataclasses.replace(sensor, pixel_size=2.0)
    deposits = rng.uniform(-1.0, 1.0, (20, 4)) * (200.0, 100.0, 0.35, 5.0) + (0.0, 0.0, 0.35, 5.0)
    deposits[:, 2] *= sensor.thickness
    charge, x0, y0 = draw_track(deposits, sensor)
    assert charge.sum() == pytest.approx(deposits[:, 3].sum() / ELECTRON_HOLE_PAIR, rel=1e-4)
    assert (charge >= 0.0).all()
    y, x = np.indices(charge.shape)
    for pixel, weights in ((x + x0, deposits[:, 0]), (y + y0, deposits[:, 1])):
        mean = (charge * (pixel + 0.5)).sum() / charge.sum()
        assert mean == pytest.approx(
            np.average(weights, weights=deposits[:, 3]) / sensor.pixel_size, abs=0.01
        )


def test_same_seed_same_tracks() -> None:
    first, second, other = (
        simulate_tracks(np.random.default_rng(seed), HSC_SENSOR, (256, 256), 30) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a.charge, b.charge) for a, b in zip(first, second, strict=True))
    assert not all(np.array_equal(a.charge, b.charge) for a, b in zip(first, other, strict=True))


def test_no_particles() -> None:
    config = SimulationConfig(width=64, height=64, cr_rate=0.0)
    charge, table = draw_cosmic_rays(np.random.default_rng(1), config)
    assert not charge.any()
    assert len(table) == 0
    assert table.colnames == ["id", "x", "y", "n_pixels", "charge", "length", "kind", "zenith"]


def test_table_describes_the_charge() -> None:
    config = SimulationConfig(width=200, height=150, cr_rate=60.0)
    charge, table = draw_cosmic_rays(np.random.default_rng(9), config)
    assert len(table) > 10
    assert ((table["x"] > -0.5) & (table["x"] < 199.5)).all()
    assert ((table["y"] > -0.5) & (table["y"] < 149.5)).all()
    # All but the fringes below the threshold.
    assert 0.9 * charge.sum() < table["charge"].sum() <= charge.sum() * (1.0 + 1e-6)
    assert set(table["kind"]) <= {"muon", "worm", "spot"}
    np.testing.assert_array_equal(np.isfinite(table["zenith"]), table["kind"] == "muon")


def test_footprint_by_hand() -> None:
    charge = np.zeros((6, 7), np.float32)
    charge[1, 1], charge[2, 2], charge[3, 3], charge[5, 6] = 100.0, 200.0, 100.0, 60.0
    (found,) = footprints(charge, 50.0)
    assert (found.n_pixels, found.charge) == (3, 400.0)
    assert found.length == pytest.approx(np.hypot(3, 3))
    assert (found.x, found.y) == pytest.approx((2.0, 2.0))
    assert found.width == pytest.approx(0.0, abs=1e-6)
    assert [f.n_pixels for f in footprints(charge, 50.0, min_pixels=1)] == [3, 1]
    assert list(footprints(charge, 1000.0)) == []
    single = measure_footprint(charge, charge == 60.0)
    assert (single.n_pixels, single.x, single.y, single.width) == (1, 6.0, 5.0, 0.0)


def test_file_that_is_no_table_of_footprints(tmp_path: Path) -> None:
    path = tmp_path / "table.fits"
    columns = fits.ColDefs([fits.Column("fp_id", "J", array=[1])])
    fits.BinTableHDU.from_columns(columns).writeto(path)
    with pytest.raises(ValueError, match="extension 1 has no x0, y0, pixel_values, EXPTIME, NUM_PIX"):
        read_dark_footprints(path)
