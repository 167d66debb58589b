# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Libraries of real cosmic rays, and painting them on images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from lsst.daf.butler import Butler
from lsst.images import Box, VisitImage
from lsst.meas.cosmicrays.images import make_cosmic_ray_mask, read_image, read_mask
from lsst.meas.cosmicrays.repository import register_dataset_type
from lsst.meas.cosmicrays.simulation import (
    HSC_SENSOR,
    LSSTCAM_SENSOR,
    SIMULATED_RATE,
    LibraryError,
    PlacementError,
    SimulationConfig,
    draw_cosmic_rays,
    find_dark_footprints,
    inject_footprints,
    library_stamps,
    make_sensor,
    paint_on_pixels,
    recurrent_pixels,
    simulate_footprints,
    stack_library,
)
from lsst.meas.cosmicrays.tasks import (
    FindCosmicRaysConfig,
    InjectCosmicRaysConfig,
    InjectCosmicRaysTask,
    MakeCosmicRayLibraryConfig,
    MakeCosmicRayLibraryTask,
    UnknownRateError,
)
from lsst.pipe.base import NoWorkFound, PipelineGraph
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

CONFIG = Path(__file__).parents[1] / "config"
SHAPE = (80, 96)
BOX = Box.from_shape(SHAPE)
DATA_ID = {"instrument": "TestCam", "visit": 42}
STAMPS = [
    np.array([[500.0, 700.0, 0.0], [0.0, 300.0, 900.0]], dtype=np.float32),
    np.full((1, 7), 1000.0, dtype=np.float32),
]


@pytest.fixture
def library_file(tmp_path: Path) -> str:
    """Write a library as imSim keeps it; the last footprint is noise."""
    runs = [(0, 10, 20, STAMPS[0][0, :2]), (0, 11, 21, STAMPS[0][1, 1:]), (1, 5, 5, STAMPS[1][0])]
    runs.append((2, 40, 40, np.array([80.0])))
    columns = [
        fits.Column("fp_id", "I", array=[run[0] for run in runs]),
        fits.Column("x0", "I", array=[run[1] for run in runs]),
        fits.Column("y0", "I", array=[run[2] for run in runs]),
        fits.Column("pixel_values", "PJ()", array=np.array([run[3] for run in runs], dtype=object)),
    ]
    table = fits.BinTableHDU.from_columns(columns)
    table.header["EXPTIME"], table.header["NUM_PIX"] = 100.0, 1_000_000
    path = tmp_path / "library.fits"
    table.writeto(path)
    return str(path)


def inject_config(library_file: str | None, **values: Any) -> InjectCosmicRaysConfig:
    config = InjectCosmicRaysConfig()
    config.footprintFile = library_file
    config.rate = 600.0
    config.update(**values)
    return config


def inject(image: VisitImage, config: InjectCosmicRaysConfig, **inputs: Any) -> Any:
    return InjectCosmicRaysTask(config=config).run(image, {**DATA_ID, "detector": 0}, **inputs)


def test_charge_is_that_of_the_catalogue() -> None:
    nothing = np.zeros((400, 300), dtype=bool)
    injection = inject_footprints(nothing.shape, nothing, STAMPS, 40.0, np.random.default_rng(1))
    catalog = injection.catalog
    assert 20 < len(catalog) < 60
    assert injection.charge.sum() == pytest.approx(catalog["charge"].sum())
    y, x = np.mgrid[:400, :300]
    assert np.sum(injection.charge * x) == pytest.approx(np.sum(catalog["charge"] * catalog["x"]), rel=1e-4)
    assert np.sum(injection.charge * y) == pytest.approx(np.sum(catalog["charge"] * catalog["y"]), rel=1e-4)
    whole = catalog[catalog["n_pixels"] == 7]
    assert set(np.round(whole["length"], 3)) == {round(float(np.hypot(7, 1)), 3)}
    assert set(catalog["library_id"]) == {0, 1}


def test_number_is_poisson() -> None:
    nothing = np.zeros((50, 50), dtype=bool)
    numbers = [
        len(inject_footprints(nothing.shape, nothing, STAMPS, 3.0, np.random.default_rng(seed)).catalog)
        for seed in range(300)
    ]
    assert np.mean(numbers) == pytest.approx(3.0, abs=0.4)
    assert np.var(numbers) == pytest.approx(3.0, abs=1.0)


def test_forbidden_pixels_are_not_painted_on() -> None:
    forbidden = np.random.default_rng(4).random((120, 120)) < 0.05
    injection = inject_footprints((120, 120), forbidden, STAMPS, 60.0, np.random.default_rng(1))
    assert len(injection.catalog) > 30
    assert not (injection.charge > 0.0)[forbidden].any()
    with pytest.raises(PlacementError, match="100% of the image"):
        inject_footprints((9, 9), np.ones((9, 9), bool), STAMPS, 20.0, np.random.default_rng(1))


def test_an_image_without_room_stops_nothing_else(
    make_image: Callable[..., VisitImage], library_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    image = make_image(BAD=np.ones(SHAPE, dtype=bool))
    with pytest.raises(NoWorkFound, match="100% of the image may not be painted on"):
        inject(image, inject_config(library_file))
    assert "Nothing is painted" in caplog.text


def test_nothing_falls() -> None:
    injection = inject_footprints((9, 9), np.zeros((9, 9), bool), STAMPS, 0.0, np.random.default_rng(1))
    assert len(injection.catalog) == 0
    assert injection.charge.sum() == 0.0
    assert injection.catalog["x"].dtype == np.float64


def test_charge_in_other_units() -> None:
    image, variance = np.full((1, 2), 10.0, np.float32), np.full((1, 2), 9.0, np.float32)
    painted, painted_variance = paint_on_pixels(image, variance, np.array([[8.0, 0.0]]), 2.0)
    assert painted.tolist() == [[14.0, 10.0]]
    assert painted_variance.tolist() == [[11.0, 9.0]]
    assert painted.dtype == np.float32


def test_task_paints(make_image: Callable[..., VisitImage], library_file: str) -> None:
    image = make_image()
    before = image.image.array.copy()
    result = inject(image, inject_config(library_file))
    charge = result.truthCharge.array
    assert np.count_nonzero(charge) > 10
    np.testing.assert_array_equal(image.image.array, before)
    np.testing.assert_allclose(result.injectedImage.image.array, before + charge, rtol=1e-6)
    np.testing.assert_allclose(result.injectedImage.variance.array, image.variance.array + charge, rtol=1e-6)
    assert result.truthCatalog["charge"].sum() == pytest.approx(charge.sum())
    assert set(result.truthCatalog["library_id"]) <= {0, 1}


def test_images_in_adu(make_image: Callable[..., VisitImage], library_file: str) -> None:
    electrons = inject(make_image(), inject_config(library_file))
    adu = inject(make_image(unit="adu"), inject_config(library_file))
    np.testing.assert_array_equal(adu.truthCharge.array, electrons.truthCharge.array)
    np.testing.assert_allclose(
        adu.injectedImage.image.array * 3.0, electrons.injectedImage.image.array, rtol=1e-4, atol=0.02
    )


def test_seed_settles_everything(make_image: Callable[..., VisitImage], library_file: str) -> None:
    image = make_image()
    first, same = (inject(image, inject_config(library_file)) for _ in range(2))
    np.testing.assert_array_equal(first.truthCharge.array, same.truthCharge.array)
    other = inject(image, inject_config(library_file, seed=1))
    task = InjectCosmicRaysTask(config=inject_config(library_file))
    elsewhere = task.run(image, {**DATA_ID, "detector": 1})
    for result in (other, elsewhere):
        assert (result.truthCharge.array != first.truthCharge.array).any()


def test_rate_of_the_library(make_image: Callable[..., VisitImage], library_file: str) -> None:
    """Two footprints on 1 cm^2 in 100 s, of those with enough charge."""
    config = inject_config(library_file, rate=None)
    task = InjectCosmicRaysTask(config=config)
    _, rate = task._read_library(None, None)
    assert rate == pytest.approx(2 / (1.0 * 100.0 / 60.0))
    config.minCharge = 0.0
    _, rate = InjectCosmicRaysTask(config=config)._read_library(None, None)
    assert rate == pytest.approx(3 / (1.0 * 100.0 / 60.0))
    config.minCharge = 1e6
    with pytest.raises(LibraryError, match="None of the 3 footprints"):
        inject(make_image(), config)


def test_known_cosmic_rays(make_image: Callable[..., VisitImage], library_file: str) -> None:
    known = np.zeros(SHAPE, bool)
    known[40, 70:82] = True
    result = inject(
        make_image(),
        inject_config(library_file, rate=5000.0),
        knownCosmicRays=make_cosmic_ray_mask(known, BOX),
    )
    assert not (result.truthCharge.array[39:42, 69:83] > 0.0).any()
    bad = read_mask(result.injectedImage.mask, "BAD")
    assert bad[39:42, 69:83].all()
    assert np.count_nonzero(bad) == 3 * 14
    kept = inject(
        make_image(),
        inject_config(library_file, doMaskKnown=False),
        knownCosmicRays=make_cosmic_ray_mask(known, BOX),
    )
    assert not read_mask(kept.injectedImage.mask, "BAD").any()


def test_recurrent_pixels() -> None:
    hits = [np.zeros((2, 3), bool) for _ in range(4)]
    hits[0][0, 0] = hits[2][0, 0] = hits[1][1, 2] = True
    assert np.argwhere(recurrent_pixels(hits, 0.05)).tolist() == [[0, 0]]
    assert not recurrent_pixels(hits, 0.5).any()


def test_footprints_of_a_dark() -> None:
    rng = np.random.default_rng(3)
    dark = rng.normal(5.0, 4.0, SHAPE)
    dark[30, 40:47] += 200.0
    dark[10:12, 50] += 1000.0
    dark[60, 0] += 500.0
    dark[70:72, 70] += 500.0
    bad = np.zeros(SHAPE, bool)
    bad[72, 71] = True
    stamps = library_stamps(find_dark_footprints(dark, bad))
    assert sorted(stamp.shape for stamp in stamps if stamp.size > 1) == [(1, 7), (2, 1)]
    (muon,) = [stamp for stamp in stamps if stamp.shape == (1, 7)]
    np.testing.assert_allclose(muon, dark[30:31, 40:47] - np.median(dark), atol=0.1)
    assert len(find_dark_footprints(rng.normal(5.0, 4.0, SHAPE), bad)) == 0
    with pytest.raises(LibraryError, match="Every pixel"):
        find_dark_footprints(dark, np.ones(SHAPE, bool))


def test_library_of_several_darks() -> None:
    tables = []
    for stamp in STAMPS:
        dark = np.zeros(SHAPE) + np.random.default_rng(1).normal(0.0, 1.0, SHAPE)
        dark[20 : 20 + stamp.shape[0], 30 : 30 + stamp.shape[1]] += stamp
        tables.append(find_dark_footprints(dark, np.zeros(SHAPE, bool)))
    stamps = library_stamps(stack_library(tables))
    assert [stamp.shape for stamp in stamps] == [stamp.shape for stamp in STAMPS]
    for stamp, true in zip(stamps, STAMPS, strict=True):
        np.testing.assert_allclose(stamp[true > 0], true[true > 0], atol=5.0)
    assert library_stamps(stack_library([])) == []


def test_from_darks_to_truth(test_butler: Butler, make_image: Callable[..., VisitImage]) -> None:
    """A library of two darks, one with a hot pixel, painted on a visit."""
    run = "TestCam/ingested"
    register_dataset_type(test_butler, "dark_exposure", "VisitImage")
    for detector in (0, 1):
        dark = make_image(detector=detector)
        dark.image.array[...] = np.random.default_rng(detector).normal(0.0, 3.0, SHAPE)
        dark.image.array[50, 30:35] = 800.0
        test_butler.put(dark, "dark_exposure", DATA_ID, detector=detector, run=run)
    library_config = MakeCosmicRayLibraryConfig()
    library_config.darkDimensions = ["instrument", "visit", "detector"]
    graph = PipelineGraph()
    graph.add_task("library", MakeCosmicRayLibraryTask, library_config)
    graph.add_task("inject", InjectCosmicRaysTask, inject_config(None, rate=300.0))
    run_butler = SimplePipelineExecutor.prep_butler(
        test_butler._config, inputs=["TestCam/defaults"], output="u/inject"
    )
    SimplePipelineExecutor.from_pipeline_graph(graph, butler=run_butler).run(register_dataset_types=True)
    butler = Butler.from_config(test_butler._config, collections=["u/inject"])
    (summary,) = butler.get("cr_library_summary", instrument="TestCam")
    assert (summary["n_cosmic_rays"], summary["n_exposures"]) == (2, 2)
    assert (summary["exposure_time"], summary["n_pixels"], summary["pixel_size"]) == (
        60.0,
        2 * 80 * 96,
        0.015,
    )
    for detector in (0, 1):
        data_id = {**DATA_ID, "detector": detector}
        before, after = butler.get("visit_image", data_id), butler.get("injected_visit_image", data_id)
        charge = butler.get("cr_truth_charge", data_id).array
        assert charge.max() > 700.0
        np.testing.assert_allclose(after.image.array - before.image.array, charge, atol=0.02)
        catalog = butler.get("cr_truth_catalog", data_id)
        assert {"id", "x", "y", "charge", "kind"} <= set(catalog.colnames)


def test_hot_pixels_are_no_cosmic_rays(make_image: Callable[..., VisitImage]) -> None:
    darks = []
    for seed in range(3):
        dark = make_image()
        dark.image.array[...] = np.random.default_rng(seed).normal(0.0, 3.0, SHAPE)
        dark.image.array[20, 20] = 500.0
        dark.image.array[50, 30 + 5 * seed] = 500.0
        darks.append(dark)
    task = MakeCosmicRayLibraryTask(config=MakeCosmicRayLibraryConfig())
    result = task.run({0: [lambda dark=dark: dark for dark in darks]})
    assert result.footprintSummary["n_cosmic_rays"][0] == 3
    assert result.footprintSummary["n_pixels"][0] == 3 * (80 * 96 - 1)


def test_no_cosmic_rays_in_darks(make_image: Callable[..., VisitImage]) -> None:
    dark = make_image()
    dark.image.array[...] = np.random.default_rng(1).normal(0.0, 3.0, SHAPE)
    task = MakeCosmicRayLibraryTask(config=MakeCosmicRayLibraryConfig())
    with pytest.raises(LibraryError, match="no cosmic ray in 1 dark"):
        task.run({0: [lambda: dark]})


def test_library_is_needed(make_image: Callable[..., VisitImage]) -> None:
    with pytest.raises(LibraryError, match="There is no library"):
        inject(make_image(), inject_config(None), footprints=Table({"id": [0]}))


CAMERAS = {
    "HSC": (200.0, 0.015),
    "LSSTCam": (100.0, 0.010),
    "LSSTComCam": (100.0, 0.010),
    "DECam": (250.0, 0.015),
}


def test_every_camera_has_its_configuration() -> None:
    """No folder of config/ is left out."""
    folders = {path.parent.name for path in CONFIG.glob("*/findCosmicRays.py")}
    assert {path.parent.name for path in CONFIG.glob("*/injectCosmicRays.py")} == folders == set(CAMERAS)


@pytest.mark.parametrize("camera", CAMERAS)
def test_cosmic_rays_of_the_sensor_of_a_camera(make_image: Callable[..., VisitImage], camera: str) -> None:
    config = InjectCosmicRaysConfig()
    config.load(str(CONFIG / camera / "injectCosmicRays.py"))
    config.rate = 600.0
    config.validate()
    assert (config.sensorThickness, config.reading.pixelSize) == CAMERAS[camera]
    finding = FindCosmicRaysConfig()
    finding.load(str(CONFIG / camera / "findCosmicRays.py"))
    assert (finding.reading.gain, finding.reading.pixelSize) == (
        config.reading.gain,
        config.reading.pixelSize,
    )
    connections = InjectCosmicRaysConfig.ConnectionsClass(config=config)
    assert set(connections.inputs) == {"image", "knownCosmicRays"}
    image = make_image()
    result = inject(image, config)
    assert set(result.truthCatalog["kind"]) == {"simulated"}
    assert result.truthCharge.array.sum() == pytest.approx(result.truthCatalog["charge"].sum(), rel=1e-5)
    added = result.injectedImage.image.array - image.image.array
    np.testing.assert_allclose(added, result.truthCharge.array, atol=0.05)


@pytest.mark.parametrize("usual", [LSSTCAM_SENSOR, HSC_SENSOR])
def test_sensors_by_thickness(usual: Any) -> None:
    """Those of simulated visits come out."""
    sensor = make_sensor(usual.thickness, usual.pixel_size)
    assert sensor.diffusion == pytest.approx(usual.diffusion)
    assert sensor.muon_fraction == pytest.approx(usual.muon_fraction, abs=0.01)
    assert make_sensor(100.0, 10.0, 3.0).diffusion == 3.0


def test_thicker_sensors_have_longer_tracks_with_more_charge() -> None:
    charges, lengths = {}, {}
    for thickness in (50.0, 100.0, 250.0):
        sensor = make_sensor(thickness, 10.0, 5.0)
        stamps, fraction = simulate_footprints(np.random.default_rng(5), sensor, 1500)
        assert 0.7 < fraction < 1.1
        charges[thickness] = np.median([stamp.sum() for stamp in stamps])
        lengths[thickness] = np.mean([np.hypot(*stamp.shape) for stamp in stamps])
    assert charges[50.0] < 0.9 * charges[100.0] < 0.8 * charges[250.0]
    assert lengths[50.0] < 0.95 * lengths[100.0] < 0.9 * lengths[250.0]


def test_rate_of_simulated_cosmic_rays(make_image: Callable[..., VisitImage]) -> None:
    """As many as a simulated visit of the same sensor has."""
    config = inject_config(None, rate=None, footprintSource="simulated", sensorThickness=100.0, minCharge=1.0)
    task = InjectCosmicRaysTask(config=config)
    stamps, fraction = simulate_footprints(np.random.default_rng(1), LSSTCAM_SENSOR, 3000)
    assert fraction == pytest.approx(LSSTCAM_SENSOR.footprint_yield, abs=0.03)
    working = read_image(make_image(), config.reading)
    chosen, rate = task._simulate_library(working, np.random.default_rng(1))
    visit = SimulationConfig(sensor="lsstcam", width=1024, height=1024, exposure_time=600.0)
    _, table = draw_cosmic_rays(np.random.default_rng(3), visit)
    expected = rate * visit.square_cm * 10.0
    assert rate == pytest.approx(SIMULATED_RATE / LSSTCAM_SENSOR.footprint_yield, rel=0.1)
    assert len(table) == pytest.approx(expected, abs=4.0 * np.sqrt(expected))


def test_simulation_of_an_unknown_sensor(make_image: Callable[..., VisitImage]) -> None:
    config = inject_config(None, footprintSource="simulated")
    with pytest.raises(ValueError, match="set sensorThickness"):
        config.validate()
    config.sensorThickness = 100.0
    working = dataclasses.replace(read_image(make_image(), config.reading), pixel_size=None)
    with pytest.raises(UnknownRateError, match=r"set reading\.pixelSize"):
        InjectCosmicRaysTask(config=config)._simulate_library(working, np.random.default_rng(1))
