# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""SubtractTemplateTask on simulated images, and in a real repository."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from lsst.daf.butler import Butler
from lsst.images import Box, DifferenceImage, Image, MaskedImage
from lsst.images.psfs import GaussianPointSpreadFunction
from lsst.meas.cosmicrays.engines.difference_imaging.difference_planes import grow
from lsst.meas.cosmicrays.engines.psf import gaussian_fwhm
from lsst.meas.cosmicrays.images import MissingPsfError, UnknownMaskPlaneError, read_image
from lsst.meas.cosmicrays.simulation import SimulatedDetector, SimulationConfig, simulate, simulate_detector
from lsst.meas.cosmicrays.tasks import SubtractTemplateConfig, SubtractTemplateTask
from lsst.pipe.base import NoWorkFound, PipelineGraph
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

GAUSSIAN_BEYOND_FOUR = 6.334e-5
NOTHING_NEW = {
    "cr_rate": 0.0,
    "variables": 0.0,
    "registration_error": 0.0,
    "moving_fraction": 0.0,
    "satellite_fraction": 0.0,
}


def make_task(**options: object) -> SubtractTemplateTask:
    config = SubtractTemplateConfig()
    for name, value in options.items():
        setattr(config, name, value)
    config.validate()
    return SubtractTemplateTask(config=config)


@pytest.fixture(scope="module")
def pair() -> SimulatedDetector:
    """Simulate a small pair with everything in it."""
    config = SimulationConfig(width=256, height=220, seed=3, crowding=3.0, cr_rate=30.0)
    return simulate_detector(config, visit=1, detector=0)


@pytest.mark.parametrize(
    ("seeing", "template_seeing", "mode", "convolved"),
    [
        (0.9, 0.6, "convolveTemplate", "Template"),
        (0.6, 0.7, "convolveTemplate", "Template"),
        (0.5, 0.8, "auto", "Science"),
    ],
)
def test_difference_is_noise(seeing: float, template_seeing: float, mode: str, convolved: str) -> None:
    """Where nothing changed, with template seeing better and worse.

    Satellites are changes, too, and left out here.  The variance is not
    scaled to what is measured: it is right as it comes out.
    """
    config = SimulationConfig(
        width=512, height=512, seed=4, seeing=seeing, template_seeing=template_seeing, **NOTHING_NEW
    )
    simulated = simulate_detector(config, visit=1, detector=0)
    task = make_task(doScaleVariance=False, mode=mode)
    difference = task.run(simulated.visit_image, simulated.template).difference
    metadata = task.metadata
    assert metadata["convolvedExposure"] == convolved
    assert abs(metadata["pullMedian"]) < 0.02
    assert abs(metadata["pullSigma"] - 1.0) < 0.03
    assert metadata["pullFractionBeyondFourSigma"] < 3.0 * GAUSSIAN_BEYOND_FOUR
    assert abs(metadata["pullAutocorrelationX"]) < 0.02
    assert abs(metadata["pullAutocorrelationY"]) < 0.02

    # The same from what was made, by hand.
    planes = ("BAD", "SATURATED", "SAT_TEMPLATE", "NO_DATA", "DETECTION_EDGE")
    usable = ~np.any([difference.mask.get(plane) for plane in planes], axis=0)
    pull = (difference.image.array / np.sqrt(difference.variance.array))[usable]
    first, median, third = np.percentile(pull, [25.0, 50.0, 75.0])
    assert abs(median) < 0.02
    assert abs((third - first) / 1.349 - 1.0) < 0.03
    assert np.mean(np.abs(pull) > 4.0) < 3.0 * GAUSSIAN_BEYOND_FOUR


def test_everything_is_attached(pair: SimulatedDetector, caplog: pytest.LogCaptureFixture) -> None:
    science = pair.visit_image
    task = make_task()
    with caplog.at_level(logging.INFO):
        difference = task.run(science, pair.template).difference
    assert isinstance(difference, DifferenceImage)
    assert difference.bbox == science.bbox
    assert difference.unit == science.unit
    assert difference.variance.unit == science.unit**2
    assert difference.sky_projection == science.sky_projection
    assert difference.obs_info == science.obs_info
    assert difference.detector is science.detector
    assert difference.band == science.band
    assert difference.psf is science.psf
    assert difference.kernel.bounds.bbox == science.bbox
    kernel = difference.kernel.compute_kernel_image(x=100, y=100).array
    assert kernel.sum() == pytest.approx(task.metadata["kernelSum"])
    assert "lag-1 autocorrelation" in caplog.text
    for name in ("pullSigma", "pullAutocorrelationX", "pullAutocorrelationY", "kernelSum", "varianceScale"):
        assert difference.metadata[name] == pytest.approx(task.metadata[name])
    assert read_image(difference).scale == pytest.approx(read_image(science).scale)


def test_planes(pair: SimulatedDetector) -> None:
    science, template = pair.visit_image.copy(), pair.template.copy()
    science.mask.clear()
    template.mask.clear()
    spots = {"BAD": (50, 60), "SATURATED": (52, 66), "COSMIC_RAY": (90, 90), "DETECTED": (100, 100)}
    for name, place in spots.items():
        plane = np.zeros(science.bbox.shape, dtype=bool)
        plane[place] = True
        science.mask.set(name, plane)
        template.mask.set(name, plane[::-1])
    task = make_task()
    difference = task.run(science, template).difference
    half = difference.kernel.kernel_bbox.y.max
    assert task.metadata["convolvedExposure"] == "Template"
    expected_bad = science.mask.get("BAD") | grow(template.mask.get("BAD"), half)
    assert np.array_equal(difference.mask.get("BAD"), expected_bad)
    assert np.array_equal(difference.mask.get("SATURATED"), science.mask.get("SATURATED"))
    assert np.array_equal(difference.mask.get("SAT_TEMPLATE"), grow(template.mask.get("SATURATED"), half))
    assert np.array_equal(difference.mask.get("COSMIC_RAY"), science.mask.get("COSMIC_RAY"))
    assert "DETECTED" not in difference.mask.schema.names
    assert difference.mask.get("DETECTION_EDGE")[:half, :].all()
    assert not difference.mask.get("DETECTION_EDGE")[half:-half, half:-half].any()


def test_cosmic_rays_stay(pair: SimulatedDetector) -> None:
    difference = make_task().run(pair.visit_image, pair.template).difference
    charge = pair.charge.array
    inside = np.zeros(charge.shape, dtype=bool)
    inside[20:-20, 20:-20] = True
    bright = (charge > 500.0) & inside & ~difference.mask.get("SAT_TEMPLATE") & ~difference.mask.get("BAD")
    assert np.count_nonzero(bright) > 5
    noise = np.sqrt(difference.variance.array[bright])
    assert np.abs(np.median(difference.image.array[bright] / charge[bright]) - 1.0) < 0.1
    assert np.all(difference.image.array[bright] > charge[bright] - 0.15 * charge[bright] - 5.0 * noise)


def test_template_that_knows_little(pair: SimulatedDetector, caplog: pytest.LogCaptureFixture) -> None:
    """Take a template without unit, detector or PSF, on another scale."""
    bbox = pair.template.bbox
    bare = MaskedImage(
        Image(0.1 * pair.template.image.array, bbox=bbox),
        mask=pair.template.mask,
        variance=Image(0.01 * pair.template.variance.array, bbox=bbox),
    )
    with pytest.raises(MissingPsfError, match="psfFwhm"):
        make_task().run(pair.visit_image, bare)
    config = SubtractTemplateConfig()
    config.templateReading.psfFwhm = 4.0
    with caplog.at_level(logging.WARNING):
        result = SubtractTemplateTask(config=config).run(pair.visit_image, bare)
    assert "using a Gaussian of FWHM 4.00 pixels" in caplog.text
    full = make_task().run(pair.visit_image, pair.template)
    residual = result.difference.image.array - full.difference.image.array
    assert np.median(np.abs(residual)) < 0.1 * np.sqrt(np.median(full.difference.variance.array))


def test_template_of_other_extent(pair: SimulatedDetector, caplog: pytest.LogCaptureFixture) -> None:
    part = pair.template[Box.factory[0:220, 100:256]]
    task = make_task()
    difference = task.run(pair.visit_image, part).difference
    no_data = difference.mask.get("NO_DATA")
    half = difference.kernel.kernel_bbox.y.max
    assert no_data[:, : 100 + half].all()
    assert not no_data[:, 100 + half : -1].any()
    assert np.all(difference.image.array[no_data] == 0.0)
    assert task.metadata["templateCoveragePercent"] == pytest.approx(100.0 * 156 / 256)
    with pytest.raises(NoWorkFound, match="covers 7.8% of the science image; 10.0% are required"):
        make_task().run(pair.visit_image, pair.template[Box.factory[0:220, 236:256]])


def test_all_masked(pair: SimulatedDetector) -> None:
    science = pair.visit_image.copy()
    science.mask.set("BAD")
    with pytest.raises(NoWorkFound, match="Every pixel of the science image is masked"):
        make_task().run(science, pair.template)


def test_not_finite(pair: SimulatedDetector) -> None:
    science = pair.visit_image.copy()
    science.image.array[100:104, 30:34] = np.nan
    science.variance.array[60, 70] = -1.0
    difference = make_task().run(science, pair.template).difference
    expected = np.zeros(science.bbox.shape, dtype=bool)
    expected[100:104, 30:34] = expected[60, 70] = True
    assert np.array_equal(difference.mask.get("NO_DATA"), expected)
    assert np.isfinite(difference.image.array).all()
    assert np.isfinite(difference.variance.array).all()


def test_unknown_plane(pair: SimulatedDetector) -> None:
    with pytest.raises(UnknownMaskPlaneError, match="badMaskPlanes names SATURATION, "):
        make_task(badMaskPlanes=["SATURATION"]).run(pair.visit_image, pair.template)


def test_few_stars(pair: SimulatedDetector, caplog: pytest.LogCaptureFixture) -> None:
    task = make_task(minKernelSources=1000)
    with caplog.at_level(logging.WARNING):
        task.run(pair.visit_image, pair.template)
    assert "models of the two PSFs" in caplog.text
    assert task.metadata["kernelFromPsfModels"]


def test_template_on_other_pixels(pair: SimulatedDetector, caplog: pytest.LogCaptureFixture) -> None:
    other = simulate_detector(SimulationConfig(width=128, height=128, galaxies=0.0), visit=1, detector=1)
    with caplog.at_level(logging.WARNING):
        make_task(minKernelSources=1000).run(pair.visit_image, other.template)
    assert "pixels apart" in caplog.text


def test_psf_of_a_convolved_science_image(caplog: pytest.LogCaptureFixture) -> None:
    config = SimulationConfig(width=256, height=256, seed=4, seeing=0.5, template_seeing=0.9, **NOTHING_NEW)
    simulated = simulate_detector(config, 1, 0)
    task = make_task(mode="auto")
    with caplog.at_level(logging.WARNING):
        difference = task.run(simulated.visit_image, simulated.template).difference
    assert "cosmic rays on the difference are smeared" in caplog.text
    assert task.metadata["convolvedExposure"] == "Science"
    assert isinstance(difference.psf, GaussianPointSpreadFunction)
    kernel = difference.psf.compute_kernel_image(x=100, y=100).array
    assert gaussian_fwhm(kernel) == pytest.approx(task.metadata["differencePsfSize"], rel=0.01)
    sizes = [task.metadata[f"{name}PsfSize"] for name in ("science", "difference", "template")]
    assert sizes == sorted(sizes)


def test_storage_classes_and_names_follow_the_config() -> None:
    config = SubtractTemplateConfig()
    config.scienceStorageClass = "DifferenceImage"
    config.templateStorageClass = "MaskedImageV2"
    config.connections.science = "preliminary_visit_image"
    config.connections.difference = "difference_again"
    graph = PipelineGraph()
    graph.add_task("subtract", SubtractTemplateTask, config)
    inputs = {
        edge.dataset_type_name: edge.storage_class_name for edge in graph.tasks["subtract"].inputs.values()
    }
    assert inputs == {"preliminary_visit_image": "DifferenceImage", "template_detector": "MaskedImageV2"}
    assert {edge.dataset_type_name for edge in graph.tasks["subtract"].outputs.values()} == {
        "difference_again"
    }


def test_in_a_repository(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    config = SimulationConfig(width=200, height=180, seed=3, crowding=3.0, galaxies=0.0)
    simulate(root, config)
    butler = SimplePipelineExecutor.prep_butler(str(root), inputs=["SimHSC/defaults"], output="u/test")
    executor = SimplePipelineExecutor.from_task_class(
        SubtractTemplateTask, config=SubtractTemplateConfig(), label="subtractTemplate", butler=butler
    )
    assert len(executor.run(register_dataset_types=True)) == 1
    results = Butler.from_config(str(root), collections="u/test")
    data_id = {"instrument": "SimHSC", "visit": 1, "detector": 0}
    read = results.get("difference_image", data_id)
    assert isinstance(read, DifferenceImage)
    simulated = simulate_detector(config, visit=1, detector=0)
    task = make_task()
    expected = task.run(simulated.visit_image, simulated.template).difference
    np.testing.assert_allclose(read.image.array, expected.image.array, atol=1e-3)
    np.testing.assert_allclose(read.variance.array, expected.variance.array, rtol=1e-5)
    for plane in expected.mask.schema.names:
        np.testing.assert_array_equal(read.mask.get(plane), expected.mask.get(plane))
    place = {"x": 50, "y": 60}
    np.testing.assert_allclose(
        read.kernel.compute_kernel_image(**place).array,
        expected.kernel.compute_kernel_image(**place).array,
        atol=1e-6,
    )
    metadata = results.get("subtractTemplate_metadata", data_id)["subtractTemplate"]
    for name in ("pullSigma", "pullMedian", "pullAutocorrelationX", "pullAutocorrelationY", "kernelSum"):
        assert metadata[name] == pytest.approx(task.metadata[name], abs=1e-4)
        assert read.metadata[name] == pytest.approx(task.metadata[name], abs=1e-4)
