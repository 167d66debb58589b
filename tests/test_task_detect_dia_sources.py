# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""DetectDiaSourcesTask on simulated images, and in a real repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from lsst.daf.butler import Butler
from lsst.images import Box, DifferenceImage, Image, Mask, MaskedImage, MaskPlane, MaskSchema
from lsst.meas.cosmicrays.images import MissingPsfError, read_mask
from lsst.meas.cosmicrays.simulation import SimulatedDetector, SimulationConfig, simulate, simulate_detector
from lsst.meas.cosmicrays.tasks import (
    DetectDiaSourcesConfig,
    DetectDiaSourcesTask,
    SubtractTemplateTask,
    TooManyDiaSourcesError,
)
from lsst.meas.cosmicrays.tasks.detect_dia_sources import make_ids
from lsst.pipe.base import NoWorkFound, Pipeline, PipelineGraph
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

CONFIG = SimulationConfig(
    width=256,
    height=220,
    seed=3,
    crowding=8.0,
    galaxies=0.0,
    variables=6.0,
    cr_rate=20.0,
    satellite_fraction=0.0,
)


@pytest.fixture(scope="module")
def simulated() -> SimulatedDetector:
    return simulate_detector(CONFIG, visit=1, detector=0)


@pytest.fixture(scope="module")
def difference(simulated: SimulatedDetector) -> DifferenceImage:
    return SubtractTemplateTask().run(simulated.visit_image, simulated.template).difference


def bare_image(image: np.ndarray, variance: np.ndarray, *planes: str) -> MaskedImage:
    box = Box.from_shape(image.shape)
    return MaskedImage(
        Image(image.astype(np.float32), bbox=box),
        mask=Mask(0, schema=MaskSchema([MaskPlane(name, name) for name in planes]), bbox=box),
        variance=Image(variance.astype(np.float32), bbox=box),
    )


def make_config(**options: object) -> DetectDiaSourcesConfig:
    config = DetectDiaSourcesConfig()
    for name, value in options.items():
        setattr(config, name, value)
    return config


def test_finds_what_changed(simulated: SimulatedDetector, difference: DifferenceImage) -> None:
    task = DetectDiaSourcesTask()
    result = task.run(difference)
    sources, mask = result.diaSources, result.detectionMask
    assert mask.bbox == difference.bbox
    assert set(mask.schema.names) == {"DETECTED", "DETECTED_NEGATIVE"}
    assert task.metadata["nDiaSources"] == len(sources) > 5
    x0, y0 = difference.bbox.x.min, difference.bbox.y.min
    detected = mask.get("DETECTED") | mask.get("DETECTED_NEGATIVE")
    for source in sources:
        assert detected[round(source["y"]) - y0, round(source["x"]) - x0]
    noise = np.sqrt(difference.variance.array)
    usable = ~(difference.mask.get("NO_DATA") | difference.mask.get("SAT_TEMPLATE"))
    bright = (simulated.charge.array > 30.0 * noise) & usable
    assert np.count_nonzero(bright) > 5
    assert np.mean(read_mask(mask, "DETECTED")[bright]) > 0.99
    changed = [
        row
        for row in simulated.variables
        if abs(row["delta_flux"]) > 4000.0 and 20 < row["x"] < 236 and 20 < row["y"] < 200
    ]
    assert changed
    for row in changed:
        plane = "DETECTED" if row["delta_flux"] > 0 else "DETECTED_NEGATIVE"
        assert mask.get(plane)[round(row["y"]), round(row["x"])]


def test_columns(difference: DifferenceImage) -> None:
    sources = DetectDiaSourcesTask().run(difference).diaSources
    assert isinstance(sources, Table)
    assert sources.colnames[:5] == ["id", "x", "y", "ra", "dec"]
    assert {"flux", "flux_err", "snr", "is_negative", "is_dipole"} <= set(sources.colnames)
    assert {"flag_edge", "flag_bad", "flag_saturated", "flag_interpolated"} <= set(sources.colnames)
    assert sources["id"].dtype == np.int64
    assert sources["flag_saturated_center"].dtype == bool
    assert (str(sources["flux"].unit), str(sources["ra"].unit)) == ("electron", "deg")
    back = difference.sky_projection.sky_to_pixel(
        difference.sky_projection.pixel_to_sky(x=np.asarray(sources["x"]), y=np.asarray(sources["y"]))
    )
    np.testing.assert_allclose(back.x, sources["x"], atol=1e-3)
    sky = difference.sky_projection.pixel_to_sky(x=float(sources["x"][0]), y=float(sources["y"][0]))
    assert (sky.ra.deg, sky.dec.deg) == pytest.approx((sources["ra"][0], sources["dec"][0]))
    np.testing.assert_allclose(sources["snr"], sources["flux"] / sources["flux_err"])


def test_positions_are_those_of_the_detector(difference: DifferenceImage) -> None:
    whole = DetectDiaSourcesTask().run(difference).diaSources
    box = Box.factory[30:220, 40:256]
    part = DetectDiaSourcesTask().run(difference[box]).diaSources
    inside = (whole["x"] > 75) & (whole["x"] < 225) & (whole["y"] > 65) & (whole["y"] < 190)
    small = whole["n_pixels"] < 300
    assert np.any(inside & small)
    for source in whole[inside & small]:
        nearest = part[np.argmin(np.hypot(part["x"] - source["x"], part["y"] - source["y"]))]
        for name in ("x", "y", "ra", "dec", "x_min", "y_max"):
            assert nearest[name] == pytest.approx(source[name], abs=0.02)


def test_image_that_knows_little() -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:80, :90]
    star = 3000.0 / (2 * np.pi * 4.0) * np.exp(-((x - 50.0) ** 2 + (y - 30.0) ** 2) / 8.0)
    image = bare_image(rng.normal(-star, 3.0), np.full((80, 90), 9.0))
    config = make_config(differenceStorageClass="MaskedImageV2")
    config.reading.unit = "electron"
    with pytest.raises(MissingPsfError, match="psfFwhm"):
        DetectDiaSourcesTask(config=config).run(image)
    config = make_config()
    config.reading.unit = "electron"
    config.reading.psfFwhm = 4.7
    (source,) = DetectDiaSourcesTask(config=config).run(image).diaSources
    assert source["is_negative"]
    assert (source["x"], source["y"]) == pytest.approx((50.0, 30.0), abs=0.2)
    assert source["flux"] == pytest.approx(-3000.0, rel=0.05)
    assert np.isnan(source["ra"])
    assert not source["flag_saturated"]


def test_nothing_found() -> None:
    config = make_config()
    config.reading.unit, config.reading.psfFwhm = "electron", 4.0
    result = DetectDiaSourcesTask(config=config).run(bare_image(np.zeros((60, 60)), np.ones((60, 60))))
    assert len(result.diaSources) == 0
    assert {"id", "x", "y", "ra", "dec", "flag_edge"} <= set(result.diaSources.colnames)
    assert not result.detectionMask.get("DETECTED").any()


def test_no_data_at_all() -> None:
    config = make_config()
    config.reading.unit, config.reading.psfFwhm = "electron", 4.0
    with pytest.raises(NoWorkFound, match="No pixel of the difference image has data"):
        DetectDiaSourcesTask(config=config).run(bare_image(np.full((60, 60), np.nan), np.ones((60, 60))))


def test_thresholds_follow_the_config(difference: DifferenceImage) -> None:
    default = DetectDiaSourcesTask().run(difference).diaSources
    high = DetectDiaSourcesTask(config=make_config(thresholdValue=50.0)).run(difference).diaSources
    assert 0 < len(high) < len(default)
    assert np.abs(high["snr"]).min() >= 50.0


def test_storage_class_and_names_follow_the_config() -> None:
    config = make_config(differenceStorageClass="MaskedImageV2")
    config.connections.difference = "difference_again"
    config.connections.detectionMask = "dia_detection_mask_interpolated"
    graph = PipelineGraph()
    graph.add_task("detect", DetectDiaSourcesTask, config)
    (image,) = graph.tasks["detect"].inputs.values()
    assert (image.dataset_type_name, image.storage_class_name) == ("difference_again", "MaskedImageV2")
    outputs = {
        edge.dataset_type_name: edge.storage_class_name for edge in graph.tasks["detect"].outputs.values()
    }
    assert outputs == {
        "dia_source_unfiltered": "ArrowAstropy",
        "dia_detection_mask_interpolated": "MaskV2",
    }


def test_in_a_repository(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    config = SimulationConfig(width=128, height=110, seed=3, crowding=3.0, galaxies=0.0, cr_rate=40.0)
    simulate(root, config, detectors=2)
    pipeline = Pipeline("difference imaging")
    pipeline.addTask("lsst.meas.cosmicrays.tasks.SubtractTemplateTask", "subtractTemplate")
    pipeline.addTask("lsst.meas.cosmicrays.tasks.DetectDiaSourcesTask", "detectDiaSources")
    butler = SimplePipelineExecutor.prep_butler(str(root), inputs=["SimHSC/defaults"], output="u/test")
    quanta = SimplePipelineExecutor.from_pipeline(pipeline, butler=butler).run(register_dataset_types=True)
    assert len(quanta) == 4
    results = Butler.from_config(str(root), collections="u/test")
    ids = []
    for detector in (0, 1):
        data_id = {"instrument": "SimHSC", "visit": 1, "detector": detector}
        sources = results.get("dia_source_unfiltered", data_id)
        mask = results.get("dia_detection_mask", data_id)
        expected = DetectDiaSourcesTask().run(results.get("difference_image", data_id))
        assert len(sources) > 0
        np.testing.assert_array_equal(sources["x"], expected.diaSources["x"])
        np.testing.assert_array_equal(mask.get("DETECTED"), expected.detectionMask.get("DETECTED"))
        assert set(sources["visit"]) == {1}
        assert set(sources["detector"]) == {detector}
        assert sources["flag_edge"].dtype == bool
        full_id = results.registry.expandDataId(data_id)
        np.testing.assert_array_equal(sources["id"], make_ids(len(sources), full_id))
        ids.extend(sources["id"])
        with pytest.raises(TooManyDiaSourcesError, match="bits of an identifier"):
            make_ids(1 << 62, full_id)
    assert len(set(ids)) == len(ids)
    assert min(ids) > 0
