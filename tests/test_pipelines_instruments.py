# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every pipeline file, as a graph, with stand-ins for what is not on PyPI."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stack_standins

from lsst.daf.butler import DatasetType, DimensionUniverse
from lsst.meas.cosmicrays.processings import PROCESSINGS, configure
from lsst.meas.cosmicrays.repair import CosmicRayRepairTask
from lsst.meas.cosmicrays.tasks import (
    CompareCosmicRaysConfig,
    FindCosmicRaysConfig,
    GatherComparisonConfig,
    InjectCosmicRaysConfig,
    PlotMasksConfig,
)
from lsst.pipe.base import Pipeline
from lsst.pipe.base.pipeline_graph import PipelineGraph

UNIVERSE = DimensionUniverse()
REFERENCE_CATALOGS = ("gaia_dr3_20230707", "ps1_pv3_3pi_20170110")
ROOT = Path(__file__).parents[1]
PIPELINES = sorted(path.relative_to(ROOT / "pipelines") for path in (ROOT / "pipelines").glob("**/*.yaml"))
CAMERAS = {
    "HSC": "lsst.obs.subaru.HyperSuprimeCam",
    "LSSTCam": "lsst.obs.lsst.LsstCam",
    "LSSTComCam": "lsst.obs.lsst.LsstComCam",
    "DECam": "lsst.obs.decam.DarkEnergyCamera",
}
OURS = {
    "findCosmicRaysScience",
    "findCosmicRaysDifference",
    "compareCosmicRays",
    "gatherVisitComparison",
    "gatherInstrumentComparison",
    "plotComparison",
    "plotMasks",
}
STUDY = {
    "findTrails",
    "studyStamps",
    "studyTrails",
    "gatherStampStudies",
    "gatherTrailStudies",
    "plotDisagreements",
    "plotStampGalleries",
    "plotStampStudies",
    "plotTrailStudies",
    "tuneFinderScience",
    "gatherTuningScience",
    "plotTuningScience",
    "tuneFinderDifference",
    "gatherTuningDifference",
    "plotTuningDifference",
    "plotExposures",
    "mapFocalPlane",
    "plotOverview",
}
INTERPOLATION = {
    "interpolateCosmicRays",
    "subtractImagesInterpolated",
    "detectDiaSourcesInterpolated",
    "compareInterpolation",
    "gatherVisitInterpolation",
    "gatherInstrumentInterpolation",
    "plotInterpolation",
}
PROMPT = {"isr", "calibrateImage", "buildTemplate", "subtractImages", "detectAndMeasureDiaSource"}


@pytest.fixture(autouse=True)
def stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the Science Pipelines."""
    stack_standins.install(monkeypatch)


def build(path: str | Path, **parameters: str) -> PipelineGraph:
    pipeline = Pipeline.from_uri(f"{ROOT}/pipelines/{path}")
    for name, value in parameters.items():
        pipeline.addConfigOverride("parameters", name, value)
    graph = pipeline.to_graph()
    graph.resolve(
        dimensions=UNIVERSE,
        dataset_types={
            name: DatasetType(name, ["htm7"], "SimpleCatalog", universe=UNIVERSE)
            for name in REFERENCE_CATALOGS
        },
    )
    return graph


def inputs(graph: PipelineGraph, label: str) -> dict[str, Any]:
    return {edge.connection_name: edge for edge in graph.tasks[label].inputs.values()}


@pytest.mark.parametrize("path", PIPELINES, ids=str)
def test_every_pipeline_is_a_graph(path: Path) -> None:
    graph = build(path)
    assert len(graph.tasks) > 0
    assert graph.has_been_sorted or graph.sort() is None


@pytest.mark.parametrize("camera", CAMERAS)
def test_every_camera_has_its_pipelines(camera: str) -> None:
    processed = Pipeline.from_uri(f"{ROOT}/pipelines/{camera}/Processed.yaml")
    assert processed.getInstrument() == CAMERAS[camera]
    assert set(processed.task_labels) == OURS
    raw = Pipeline.from_uri(f"{ROOT}/pipelines/{camera}/RawPrompt.yaml")
    assert raw.getInstrument() == CAMERAS[camera]
    assert set(raw.task_labels) == OURS | PROMPT


@pytest.mark.parametrize("images", ["afw", "lsst.images"])
@pytest.mark.parametrize("processing", PROCESSINGS)
def test_one_parameter_chooses_the_names(processing: str, images: str) -> None:
    graph = build("HSC/Processed.yaml", processing=processing, images=images)
    names = PROCESSINGS[processing]
    science = inputs(graph, "findCosmicRaysScience")["image"]
    difference = inputs(graph, "findCosmicRaysDifference")["image"]
    compared = inputs(graph, "compareCosmicRays")
    assert science.parent_dataset_type_name == names.science
    assert difference.parent_dataset_type_name == names.difference
    assert compared["scienceImage"].parent_dataset_type_name == names.science
    assert compared["differenceImage"].parent_dataset_type_name == names.difference
    assert compared["diaSources"].parent_dataset_type_name == names.dia_sources
    assert inputs(graph, "plotMasks")["image"].parent_dataset_type_name == names.science
    expected = {"afw": ("ExposureF", "ExposureF"), "lsst.images": ("VisitImage", "DifferenceImage")}[images]
    assert (science.storage_class_name, difference.storage_class_name) == expected
    assert compared["diaSources"].storage_class_name == (
        "AstropyTable" if images == "afw" else "ArrowAstropy"
    )
    config = graph.tasks["findCosmicRaysDifference"].config
    assert config.reading.unit == names.unit
    assert config.finders["astroscrappy"].sigclip == 4.33
    assert graph.tasks["findCosmicRaysScience"].config.finders["astroscrappy"].sigclip == 5.0


@pytest.mark.parametrize("camera", CAMERAS)
def test_prompt_processing_keeps_cosmic_rays(camera: str) -> None:
    graph = build(f"{camera}/RawPrompt.yaml")
    assert graph.tasks["calibrateImage"].config.psf_repair.cosmicray.keepCRs is True
    detection = graph.tasks["detectAndMeasureDiaSource"].config
    assert (detection.doFindCosmicRays, detection.doSkySources) == (False, False)
    assert graph.producer_of("preliminary_visit_image").label == "calibrateImage"
    assert {node.label for node in graph.consumers_of("preliminary_visit_image")} >= {
        "findCosmicRaysScience",
        "compareCosmicRays",
    }
    assert graph.producer_of("difference_image").label == "detectAndMeasureDiaSource"
    assert graph.producer_of("dia_source_unfiltered").label == "detectAndMeasureDiaSource"
    assert graph.dataset_types["dia_source_unfiltered"].storage_class_name == "SourceCatalog"


@pytest.mark.parametrize(
    ("camera", "detection", "science"),
    [
        ("HSC", "detectAndMeasureDiaSources", "pvi"),
        ("LSSTCam", "detectAndMeasureDiaSource", "visit_image"),
        ("LSSTComCam", "detectAndMeasureDiaSource", "visit_image"),
    ],
)
def test_releases_keep_cosmic_rays(camera: str, detection: str, science: str) -> None:
    graph = build(f"{camera}/RawRelease.yaml")
    assert set(graph.tasks) == OURS | {
        "isr",
        "reprocessVisitImage",
        "buildTemplate",
        "subtractImages",
        detection,
    }
    assert graph.tasks["reprocessVisitImage"].config.repair.cosmicray.keepCRs is True
    config = graph.tasks[detection].config
    assert (config.doFindCosmicRays, config.doSkySources) == (False, False)
    assert graph.producer_of(science).label == "reprocessVisitImage"
    difference = inputs(graph, "findCosmicRaysDifference")["image"].parent_dataset_type_name
    assert graph.producer_of(difference).label == detection


@pytest.mark.parametrize("camera", CAMERAS)
def test_what_is_known_of_cameras(camera: str) -> None:
    graph = build(f"{camera}/Processed.yaml")
    readings = [graph.tasks[label].config.reading for label in ("findCosmicRaysScience", "compareCosmicRays")]
    pixel_size = 0.015 if camera in ("HSC", "DECam") else 0.010
    assert {reading.pixelSize for reading in readings} == {pixel_size}
    assert len({reading.gain for reading in readings}) == 1
    finder = graph.tasks["findCosmicRaysScience"].config.finders["morphological"]
    assert 100_000 <= finder.nCrPixelMax <= 1_000_000


def documented_cameras() -> dict[str, list[float]]:
    """Read the table of what is assumed of cameras."""
    page = (ROOT / "doc" / "lsst.meas.cosmicrays" / "running-on-hsc-and-lsstcam.rst").read_text()
    rows = re.findall(r"^   \* - (\w+)\n((?:     - [\d.]+\n){5})", page, re.M)
    return {camera: [float(value) for value in re.findall(r"[\d.]+", values)] for camera, values in rows}


def test_every_camera_is_as_documented() -> None:
    assert documented_cameras().keys() == CAMERAS.keys()


@pytest.mark.parametrize("camera", CAMERAS)
def test_configurations_of_a_camera(camera: str) -> None:
    """Gain and pixel are the same for every task; all is as documented."""
    folder = ROOT / "config" / camera
    configs = {
        "findCosmicRays": FindCosmicRaysConfig(),
        "compareCosmicRays": CompareCosmicRaysConfig(),
        "plotMasks": PlotMasksConfig(),
        "injectCosmicRays": InjectCosmicRaysConfig(),
    }
    for name, config in configs.items():
        config.load(str(folder / f"{name}.py"))
        config.validate()
    (known,) = {(config.reading.gain, config.reading.pixelSize) for config in configs.values()}
    painted = configs["injectCosmicRays"]
    assert documented_cameras()[camera] == [
        *known,
        configs["findCosmicRays"].finders["morphological"].nCrPixelMax,
        painted.sensorThickness,
        painted.chargeDiffusion,
    ]


def differences(copy: Any, golden: Any, path: str = "") -> Iterator[str]:
    if isinstance(copy, dict) and isinstance(golden, dict):
        for key, value in copy.items():
            yield from differences(value, golden[key], f"{path}.{key}") if key in golden else [path + key]
    elif copy != golden and not (copy != copy and golden != golden):
        yield path


def test_stand_ins_are_what_was_recorded(shared: Path) -> None:
    """The compact copies leave out, and change nothing."""
    copies = {path.name: json.loads(path.read_text()) for path in stack_standins.DATA.glob("*.json")}
    recorded = {path.name for path in (shared / "golden" / "stack").glob("*.json")}
    # Its sources are public, and named in the README beside it.
    assert copies.keys() - recorded == {"ReprocessVisitImageTask.json"}
    for name in copies.keys() & recorded:
        golden = json.loads((shared / "golden" / "stack" / name).read_text())
        assert list(differences(copies[name], golden)) == [], name
        assert copies[name].get("connections", {}).keys() == golden.get("connections", {}).keys()


@pytest.mark.parametrize("images", ["afw", "lsst.images"])
@pytest.mark.parametrize("camera", CAMERAS)
def test_studies_of_a_processing(camera: str, images: str) -> None:
    graph = build(f"{camera}/Study.yaml", images=images)
    assert set(graph.tasks) == OURS | STUDY
    names = PROCESSINGS["calexp" if camera in ("HSC", "DECam") else "release"]
    compared = graph.tasks["compareCosmicRays"].config
    assert compared.doStampImages is True
    assert compared.truth is None
    for label in ("tuneFinderScience", "tuneFinderDifference", "plotExposures"):
        read = inputs(graph, label)
        assert read["scienceImage"].parent_dataset_type_name == names.science
        assert read["differenceImage"].parent_dataset_type_name == names.difference
        assert read["scienceImage"].storage_class_name == ("ExposureF" if images == "afw" else "VisitImage")
        config = graph.tasks[label].config
        assert config.reading.unit == names.unit
        assert config.reading.gain == compared.reading.gain
    for label in ("plotExposures", "compareCosmicRays"):
        assert inputs(graph, label)["templateImage"].parent_dataset_type_name == names.template
    drawn = graph.tasks["plotDisagreements"].config.detections
    assert set(drawn) <= set(compared.detections)


@pytest.mark.parametrize("processing", PROCESSINGS)
def test_interpolation_with_the_difference_imaging_of_the_stack(processing: str) -> None:
    graph = build("HSC/StudyWithInterpolation.yaml", processing=processing)
    assert set(graph.tasks) == OURS | STUDY | INTERPOLATION
    names = PROCESSINGS[processing]
    subtracted = inputs(graph, "subtractImagesInterpolated")
    assert graph.producer_of(subtracted["science"].parent_dataset_type_name).label == "interpolateCosmicRays"
    assert subtracted["template"].parent_dataset_type_name == names.template
    assert subtracted["sources"].parent_dataset_type_name == names.kernel_sources
    assert graph.dataset_types["dia_source_interpolated"].storage_class_name == "SourceCatalog"
    compared = inputs(graph, "compareInterpolation")
    assert compared["diaSources"].parent_dataset_type_name == names.dia_sources
    assert compared["scienceImage"].parent_dataset_type_name == names.science
    for name in ("interpolatedDiaSources", "interpolatedDifferenceImage"):
        producer = graph.producer_of(compared[name].parent_dataset_type_name)
        assert producer.label == "detectDiaSourcesInterpolated"
    config = graph.tasks["compareInterpolation"].config
    assert config.diaSourceColumns.dipole == "ip_diffim_DipoleFit_classification"
    assert (config.reading.unit, config.reading.pixelSize) == (names.unit, 0.015)
    # No cosmic ray is masked where they are counted.
    assert graph.tasks["detectDiaSourcesInterpolated"].config.doFindCosmicRays is False


def test_study_from_raw_exposures(tmp_path: Path) -> None:
    """What the documentation says to write: no output is made twice."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        "description: From raw exposures to a study.\n"
        "imports:\n"
        "  - location: $AP_PIPE_DIR/pipelines/LSSTCam/ApPipe.yaml\n"
        "    include: [isr, calibrateImage, buildTemplate, subtractImages, detectAndMeasureDiaSource]\n"
        "  - location: $MEAS_COSMICRAYS_DIR/pipelines/LSSTCam/StudyWithInterpolation.yaml\n"
        "parameters:\n"
        "  processing: prompt\n"
    )
    graph = Pipeline.from_uri(str(path)).to_graph()
    assert set(graph.tasks) == OURS | STUDY | INTERPOLATION | PROMPT
    assert graph.producer_of("single_visit_star_footprints").label == "calibrateImage"
    assert {node.label for node in graph.consumers_of("single_visit_star_footprints")} == {
        "subtractImages",
        "subtractImagesInterpolated",
    }


@pytest.mark.parametrize(
    ("label", "field", "value"),
    [
        ("calibrateImage", "psf_repair.cosmicray.keepCR", True),
        ("calibrateImage", "connections.exposur", "calexp"),
        ("detectAndMeasureDiaSource", "doFindCosmicRay", True),
        ("findCosmicRaysScience", "connections.images", "calexp"),
    ],
)
def test_unknown_fields_are_found(label: str, field: str, value: Any) -> None:
    """The stand-ins catch an override of what does not exist."""
    pipeline = Pipeline.from_uri(f"{ROOT}/pipelines/HSC/RawPrompt.yaml")
    pipeline.addConfigOverride(label, field, value)
    with pytest.raises(AttributeError, match=field.rpartition(".")[2]):
        pipeline.to_graph()


@pytest.mark.parametrize(
    ("path", "label", "field"),
    [
        ("LSSTCam/RawPrompt.yaml", "calibrateImage", "psf_repair"),
        ("LSSTCam/RawRelease.yaml", "reprocessVisitImage", "repair"),
    ],
)
def test_repair_is_retargeted_by_one_file(path: str, label: str, field: str) -> None:
    """What the pipeline set before is kept: that cosmic rays stay."""
    pipeline = Pipeline.from_uri(f"{ROOT}/pipelines/{path}")
    pipeline.addConfigFile(label, f"{ROOT}/config/retargetRepair.py")
    pipeline.addConfigOverride(label, f"{field}.finder.name", "astroscrappy")
    repair = getattr(pipeline.to_graph().tasks[label].config, field)
    assert repair.target is CosmicRayRepairTask
    assert repair.finder.name == "astroscrappy"
    assert repair.cosmicray.keepCRs is True


def test_failures_of_the_report_are_made_again() -> None:
    pipeline = Pipeline.from_uri(f"{ROOT}/pipelines/HSC/Study.yaml")
    pipeline.addConfigFile("findCosmicRaysDifference", f"{ROOT}/config/HSC/report2022.py")
    finder = pipeline.to_graph().tasks["findCosmicRaysDifference"].config.finders["morphological"]
    assert finder.nCrPixelMax == 10_000


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="no processing 'DP9'; there are prompt, release"):
        configure(CompareCosmicRaysConfig(), "DP9")
    with pytest.raises(ValueError, match="images must be one of afw, lsst.images"):
        configure(CompareCosmicRaysConfig(), "prompt", "fits")
    with pytest.raises(TypeError, match="names no images"):
        configure(GatherComparisonConfig(), "prompt")
