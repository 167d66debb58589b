# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""CompareCosmicRaysTask and GatherComparisonTask in a real repository."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from lsst.daf.butler import Butler
from lsst.images import Box, Image, Mask, MaskPlane, MaskSchema, VisitImage
from lsst.meas.cosmicrays.comparison import SourceTableError, confusion
from lsst.meas.cosmicrays.images import UnknownMaskPlaneError, make_cosmic_ray_mask
from lsst.meas.cosmicrays.repository import register_dataset_type
from lsst.meas.cosmicrays.tasks import (
    BoundsError,
    CompareCosmicRaysConfig,
    CompareCosmicRaysTask,
    FindCosmicRaysConfig,
    FindCosmicRaysTask,
    GatherComparisonConfig,
    GatherComparisonTask,
)
from lsst.pex.config import FieldValidationError
from lsst.pipe.base import PipelineGraph, Struct
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

SHAPE = (80, 96)
BOX = Box.from_shape(SHAPE)
VISIT_ID = {"instrument": "TestCam", "visit": 42}
DETECTIONS = ("morphological_science", "astroscrappy_science")
TRUE_PIXELS = (slice(40, 41), slice(70, 82)), (slice(12, 15), slice(50, 51))


def true_charge() -> np.ndarray:
    """Charge of the two cosmic rays that are in the test images."""
    charge = np.zeros(SHAPE, dtype=np.float32)
    charge[TRUE_PIXELS[0]] = 900.0
    charge[TRUE_PIXELS[1]] = 2500.0
    return charge


def found(detection: str) -> np.ndarray:
    """Mask of a detection: one has all and more, the other half of one."""
    mask = np.zeros(SHAPE, dtype=bool)
    if detection == DETECTIONS[0]:
        mask = true_charge() > 0.0
        mask[60:62, 10:12] = True
    else:
        mask[40, 70:76] = True
    return mask


def finder_summary(detection: str, failure: str = "") -> Table:
    finder, kind = detection.split("_")
    return Table(
        {
            "detection": [detection],
            "finder": [finder],
            "kind": [kind],
            "variant": [""],
            "engine": ["fast"],
            "n_cosmic_rays": [3],
            "wall_time": [np.nan if failure else 0.25],
            "config_digest": ["0123456789abcdef"],
            "failed": [bool(failure)],
            "failure": [failure],
        }
    )


def dia_sources() -> Table:
    table = Table(
        {
            "id": [7, 8, 9],
            "x": [75.5, 50.0, 20.0],
            "y": [40.0, 13.0, 44.0],
            "ra": [30.0, 30.001, 30.002],
            "dec": [-20.0, -20.001, -20.002],
            "is_sky": [False, False, False],
        }
    )
    table["x"].unit = table["y"].unit = "pix"
    table["ra"].unit = table["dec"].unit = "deg"
    return table


def compare_config(*detections: str, truth: str | None = "charge", **values: Any) -> CompareCosmicRaysConfig:
    config = CompareCosmicRaysConfig()
    config.detections = list(detections or DETECTIONS)
    config.truth = truth
    config.doDifference = False
    config.update(**values)
    return config


def make_graph(compare: CompareCosmicRaysConfig, *levels: str) -> PipelineGraph:
    graph = PipelineGraph()
    graph.add_task("compare", CompareCosmicRaysTask, compare)
    for level in levels:
        gather = GatherComparisonConfig()
        gather.level = level
        graph.add_task(f"gather_{level}", GatherComparisonTask, gather)
    return graph


def execute(butler: Butler, graph: PipelineGraph, output: str = "u/test") -> Butler:
    run_butler = SimplePipelineExecutor.prep_butler(
        butler._config, inputs=["TestCam/defaults"], output=output
    )
    executor = SimplePipelineExecutor.from_pipeline_graph(graph, butler=run_butler)
    executor.run(register_dataset_types=True)
    return Butler.from_config(butler._config, collections=[output])


def put(butler: Butler, name: str, storage_class: str, dataset: object, detector: int) -> None:
    register_dataset_type(butler, name, storage_class)
    butler.put(dataset, name, VISIT_ID, detector=detector, run="TestCam/ingested")


def put_detection(butler: Butler, name: str, detector: int, *, failure: str = "") -> None:
    put(butler, f"cr_finder_summary_{name}", "ArrowAstropy", finder_summary(name, failure), detector)
    if not failure:
        put(butler, f"cr_mask_{name}", "MaskV2", make_cosmic_ray_mask(found(name), BOX), detector)


def put_truth(butler: Butler, detector: int) -> None:
    catalog = Table(
        {"id": [1, 2], "x": [75.5, 50.0], "y": [40.0, 13.0], "charge": [1e4, 7e3], "kind": ["worm", "muon"]}
    )
    variables = Table({"id": [5], "x": [20.5], "y": [44.0], "kind": ["variable"]})
    for column in (catalog["x"], catalog["y"], variables["x"], variables["y"]):
        column.unit = "pix"
    put(butler, "cr_truth_charge", "ImageV2", Image(true_charge(), bbox=BOX), detector)
    put(butler, "cr_truth_catalog", "ArrowAstropy", catalog, detector)
    put(butler, "variable_truth_catalog", "ArrowAstropy", variables, detector)


@pytest.fixture
def full_butler(test_butler: Butler) -> Butler:
    """Return the test repository with masks, DIASources and truth."""
    for detector in (0, 1):
        for name in DETECTIONS:
            put_detection(test_butler, name, detector)
        put_truth(test_butler, detector)
        put(test_butler, "dia_source_unfiltered", "ArrowAstropy", dia_sources(), detector)
    return test_butler


def select(table: Table, **values: object) -> Table:
    rows = np.ones(len(table), dtype=bool)
    for name, value in values.items():
        rows &= np.asarray(table[name] == value)
    return table[rows]


def test_tables_of_a_detector(full_butler: Butler) -> None:
    butler = execute(full_butler, make_graph(compare_config()))
    bits = butler.get("cr_detections", VISIT_ID, detector=0)
    truths = ["truth", "truth_1sigma", "truth_3sigma", "truth_5sigma"]
    assert bits["detection"].tolist() == [*DETECTIONS, *truths, "detected"]
    assert bits["available"].tolist() == [True] * 6 + [False]
    assert bits["config_digest"].tolist() == ["0123456789abcdef"] * 2 + [""] * 5
    assert bits["n_pixels"].tolist() == [19, 6, 15, 15, 15, 15, -1]
    assert bits["n_pixels_in_stamps"].tolist() == [15, 6, 15, 15, 15, 15, -1]
    counts = butler.get("cr_pixel_counts", VISIT_ID, detector=0)
    assert counts["n"].sum() == 80 * 96
    both = confusion(counts, 0, 1)
    assert (both.tp, both.fn, both.fp) == (6, 13, 0)
    stamps = butler.get("cr_stamps", VISIT_ID, detector=1)
    assert stamps["id"].tolist() == [7, 8, 9]
    assert stamps["n_cr_morphological_science"].tolist() == [12, 3, 0]
    assert stamps["label_astroscrappy_science"].tolist() == [1, 0, 0]
    assert stamps["label_truth"].tolist() == [1, 1, 0]
    assert stamps["true_kind"].tolist() == ["cosmic_ray", "cosmic_ray", "variable"]
    assert stamps["object"].tolist() == [-1, -1, -1]
    objects = butler.get("cr_objects", VISIT_ID, detector=0)
    assert objects["true_kind"].tolist() == ["muon", "worm", ""]
    assert objects["is_reference"].tolist() == [True, True, False]
    assert objects["charge"][:2].tolist() == [7500.0, 10800.0]
    assert objects["fraction_astroscrappy_science"].tolist() == [0.0, 0.5, 0.0]
    places = butler.get("cr_pixel_places", VISIT_ID, detector=0)
    missed = select(places, reference="truth", candidate="astroscrappy_science", error="fn")
    assert {(row["place"], row["in_stamp"]): row["n"] for row in missed} == {
        ("rim", True): 6,
        ("rim", False): 0,
        ("single", True): 3,
        ("single", False): 0,
    }


def test_tables_of_visit_and_instrument(full_butler: Butler) -> None:
    butler = execute(full_butler, make_graph(compare_config(), "visit", "instrument"))
    table = butler.get("cr_visit_confusion", VISIT_ID)
    (pixel,) = select(table, level="pixel", reference="truth", candidate="morphological_science")
    assert (pixel["tp"], pixel["fn"], pixel["fp"]) == (30, 0, 8)
    assert (pixel["n_detectors"], pixel["n_detectors_total"]) == (2, 2)
    assert pixel["interval"] == "bootstrap_objects"
    assert pixel["purity_lo"] < pixel["purity"] < pixel["purity_hi"]
    assert pixel["truth_sigma"] == 2.0
    (stamp,) = select(table, level="stamp", reference="truth", candidate="astroscrappy_science")
    assert (stamp["tp"], stamp["fn"], stamp["fp"], stamp["tn"]) == (2, 2, 0, 2)
    (cosmic_ray,) = select(table, level="object", reference="truth", candidate="morphological_science")
    assert (cosmic_ray["tp"], cosmic_ray["fn"], cosmic_ray["fp"]) == (4, 0, 2)

    stamps = butler.get("cr_visit_stamps", VISIT_ID)
    assert stamps["detector"].tolist() == [0, 0, 0, 1, 1, 1]
    summary = butler.get("cr_visit_summary", VISIT_ID)
    (row,) = select(summary, detection="morphological_science")
    area_time = 2 * 80 * 96 * 0.0015**2 * 60.0
    assert (row["n_stamps_cr"], row["n_stamps_not_cr"], row["n_failed"]) == (4, 2, 0)
    assert (row["wall_time_total"], row["wall_time_median"]) == (0.5, 0.25)
    assert (row["median_stamp_pixels"], row["n_pixels"]) == (7.5, 38)
    assert row["area_time"] == pytest.approx(area_time)
    assert row["flux"] == pytest.approx(38 / 7.5 / area_time)
    assert row["fraction_in_stamps"] == pytest.approx(30 / 38)
    counts = butler.get("cr_visit_counts", VISIT_ID)
    assert confusion(counts, 2, 0).fp == 8
    assert set(counts["n_detectors"]) == {2}

    instrument = butler.get("cr_instrument_confusion", instrument="TestCam")
    assert instrument.colnames == table.colnames
    for name in table.colnames:
        np.testing.assert_array_equal(instrument[name], table[name])
    for name in ("summary", "stamps", "objects", "pixel_places", "counts", "counts_dilated", "detections"):
        visit_table = butler.get(f"cr_visit_{name}", VISIT_ID)
        instrument_table = butler.get(f"cr_instrument_{name}", instrument="TestCam")
        assert instrument_table.colnames == visit_table.colnames
        assert len(instrument_table) == len(visit_table)


def test_a_finder_fails_on_one_detector(test_butler: Butler) -> None:
    """What was found on the other goes on, and the tables say so."""
    limit = {0: "", 1: "Too many CR pixels (max 3)"}
    for detector, failure in limit.items():
        put_detection(test_butler, DETECTIONS[0], detector, failure=failure)
        put_detection(test_butler, DETECTIONS[1], detector)
        put_truth(test_butler, detector)
        put(test_butler, "dia_source_unfiltered", "ArrowAstropy", dia_sources(), detector)
    butler = execute(test_butler, make_graph(compare_config(), "visit"))
    table = butler.get("cr_visit_confusion", VISIT_ID)
    for level in ("pixel", "pixel_1px", "stamp", "object"):
        (failed,) = select(table, level=level, reference="truth", candidate=DETECTIONS[0])
        (complete,) = select(table, level=level, reference="truth", candidate=DETECTIONS[1])
        assert (failed["n_detectors"], failed["n_detectors_total"]) == (1, 2)
        assert (complete["n_detectors"], complete["n_detectors_total"]) == (2, 2)
        assert failed["tp"] + failed["fn"] == (complete["tp"] + complete["fn"]) / 2
    stamps = butler.get("cr_visit_stamps", VISIT_ID)
    assert stamps[f"label_{DETECTIONS[0]}"].tolist() == [1, 1, 0, -1, -1, -1]
    (row,) = select(butler.get("cr_visit_summary", VISIT_ID), detection=DETECTIONS[0])
    assert (row["n_failed"], row["n_detectors"], row["n_detectors_total"]) == (1, 1, 2)
    assert row["n_usable"] == 80 * 96
    assert row["wall_time_total"] == 0.25
    detections = butler.get("cr_visit_detections", VISIT_ID)
    (failed,) = select(detections, detector=1, detection=DETECTIONS[0])
    assert failed["failure"] == "Too many CR pixels (max 3)"
    assert not failed["available"]


def test_together_with_the_finders(test_butler: Butler) -> None:
    """One graph finds and compares; a finder that fails stops nothing."""
    graph = make_graph(compare_config(truth=None), "visit")
    config = FindCosmicRaysConfig()
    config.finders.names = ["morphological", "astroscrappy"]
    config.finders["morphological"].nCrPixelMax = 3
    graph.add_task("find", FindCosmicRaysTask, config)
    butler = execute(test_butler, graph)
    (row,) = select(butler.get("cr_visit_summary", VISIT_ID), detection="morphological_science")
    assert (row["n_detectors"], row["n_detectors_total"], row["n_failed"]) == (0, 2, 2)
    (row,) = select(butler.get("cr_visit_summary", VISIT_ID), detection="astroscrappy_science")
    assert (row["n_detectors"], row["n_failed"]) == (2, 0)
    assert row["n_pixels"] > 0


def test_without_any_mask_truth_or_source(test_butler: Butler) -> None:
    butler = execute(test_butler, make_graph(compare_config(truth=None), "visit"))
    table = butler.get("cr_visit_confusion", VISIT_ID)
    assert set(table["n_detectors"]) == {0}
    assert set(table["n_detectors_total"]) == {2}
    assert np.isnan(table["purity"]).all()
    assert len(butler.get("cr_visit_stamps", VISIT_ID)) == 0
    counts = butler.get("cr_visit_counts", VISIT_ID)
    assert confusion(counts, 0, 1).tn == 0
    assert counts["n"].sum() == 2 * 80 * 96


def test_more_can_be_compared_later(full_butler: Butler) -> None:
    """A second configuration joins the same chained collection."""
    execute(full_butler, make_graph(compare_config(DETECTIONS[0]), "visit"))
    butler = execute(full_butler, make_graph(compare_config(), "visit"))
    assert set(butler.get("cr_visit_confusion", VISIT_ID)["candidate"]) == set(DETECTIONS)


@pytest.fixture
def task_inputs(make_image: Callable[..., VisitImage]) -> dict[str, Any]:
    return {
        "scienceImage": make_image(),
        "masks": {name: make_cosmic_ray_mask(found(name), BOX) for name in DETECTIONS},
        "diaSources": dia_sources(),
        "truthCharge": Image(true_charge(), bbox=BOX),
    }


def run_task(inputs: dict[str, Any], config: CompareCosmicRaysConfig | None = None, **changes: Any) -> Struct:
    return CompareCosmicRaysTask(config=config or compare_config()).run(**{**inputs, **changes})


def test_truth_as_a_mask(task_inputs: dict[str, Any]) -> None:
    truth = make_cosmic_ray_mask(true_charge() > 0, BOX)
    result = run_task(task_inputs, compare_config(truth="mask"), truthMask=truth, truthCharge=None)
    assert result.detections["detection"].tolist() == [*DETECTIONS, "truth", "detected"]
    assert result.detections["n_pixels"].tolist() == [19, 6, 15, -1]
    assert np.isnan(result.detections["truth_sigma"]).all()


def test_missing_truth(task_inputs: dict[str, Any]) -> None:
    result = run_task(task_inputs, truthCharge=None)
    assert result.detections["available"].tolist() == [True] * 2 + [False] * 5
    assert set(result.pixelPairs["reference"]) == set(DETECTIONS)
    assert set(result.stamps["label_truth"]) == {-1}
    assert len(result.objects) == 3


def test_most_detections_with_truth(task_inputs: dict[str, Any]) -> None:
    names = [f"finder{number}_science" for number in range(24)]
    masks = {name: make_cosmic_ray_mask(found(DETECTIONS[0]), BOX) for name in names}
    result = run_task(task_inputs, compare_config(*names), masks=masks)
    assert len(result.detections) == 29
    assert len(result.pixelPairs) == 2 * (24 * 23 + 4 * 24)
    last = confusion(result.pixelCounts, 24, 23)
    assert (last.tp, last.fn, last.fp) == (15, 0, 4)


def test_unusable_pixels_do_not_count(
    task_inputs: dict[str, Any], make_image: Callable[..., VisitImage]
) -> None:
    bad, saturated = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    bad[:, 70:73] = True
    saturated[12, 50] = True
    result = run_task(task_inputs, scienceImage=make_image(BAD=bad, SATURATED=saturated))
    assert result.detections["n_usable"][0] == 80 * 93 - 1
    assert result.detections["n_pixels"].tolist()[:3] == [15, 3, 11]
    nothing = run_task(task_inputs, scienceImage=make_image(BAD=np.ones(SHAPE, bool)))
    assert nothing.pixelCounts["n"].sum() == 0
    assert np.isnan(nothing.detections["area_time"]).sum() == 0
    assert len(nothing.objects) == 0


def test_pixels_without_a_value_do_not_count(task_inputs: dict[str, Any]) -> None:
    image = task_inputs["scienceImage"]
    image.image.array[40, 70] = np.nan
    image.variance.array[40, 71] = 0.0
    result = run_task(task_inputs)
    assert result.detections["n_usable"][0] == 80 * 96 - 2
    assert result.detections["n_pixels"].tolist()[:3] == [17, 4, 13]


def test_detected_plane_makes_critical_false_negatives(
    task_inputs: dict[str, Any], make_image: Callable[..., VisitImage]
) -> None:
    detected = np.zeros(SHAPE, bool)
    detected[40, 74:79] = True
    result = run_task(task_inputs, scienceImage=make_image(DETECTED=detected))
    (row,) = select(result.pixelPairs, level="pixel", reference="truth", candidate=DETECTIONS[1])
    assert row["critical_fn"] == 3
    assert result.detections["available"].all()


def test_critical_false_negatives_are_unknown_without_detection(task_inputs: dict[str, Any]) -> None:
    for plane in ("DETECTED", None):
        result = run_task(task_inputs, compare_config(detectedPlane=plane))
        assert set(result.pixelPairs["critical_fn"]) == {-1}


def test_objects_in_stamps(task_inputs: dict[str, Any]) -> None:
    planes = MaskSchema([MaskPlane("DETECTED", "positive"), MaskPlane("DETECTED_NEGATIVE", "negative")])
    mask = Mask(schema=planes, bbox=BOX)
    negative = np.zeros(SHAPE, bool)
    negative[44, 20] = True
    mask.set("DETECTED_NEGATIVE", negative)
    result = run_task(task_inputs, objectMask=mask)
    assert result.stamps["object"].tolist() == [0, 0, 1]


def test_stamp_images(task_inputs: dict[str, Any]) -> None:
    config = compare_config(doStampImages=True)
    images = run_task(task_inputs, config, templateImage=task_inputs["scienceImage"]).stampImages
    assert images["science"].shape == (3, 30, 30)
    assert images["science"].dtype == np.float32
    science = task_inputs["scienceImage"].image.array
    np.testing.assert_array_equal(images["science"][2], science[30:60, 6:36])
    np.testing.assert_array_equal(images["template"], images["science"])
    assert np.isnan(images["difference"]).all()
    assert np.isnan(images["science"][1, 0]).all()
    assert not images["mask_truth"][1, 0].any()
    assert images["mask_morphological_science"].sum(axis=(1, 2)).tolist() == [12, 3, 0]


def test_charges_are_measured_where_truth_is_unknown(task_inputs: dict[str, Any]) -> None:
    result = run_task(task_inputs, compare_config(truth=None), truthCharge=None)
    assert not result.objects["charge_is_true"].any()
    np.testing.assert_allclose(result.objects["charge"][:2], [7500.0, 10800.0], rtol=0.05)


def test_difference_images(task_inputs: dict[str, Any], make_image: Callable[..., VisitImage]) -> None:
    """Charges are measured on them, and where they have no data nothing is
    compared.
    """
    no_data = np.zeros(SHAPE, bool)
    no_data[40, 80:] = True
    difference = make_image(NO_DATA=no_data)
    difference.image.array[...] = 2.0
    config = compare_config(truth=None, doDifference=True)
    result = run_task(task_inputs, config, differenceImage=difference, truthCharge=None)
    assert result.detections["n_usable"][0] == 80 * 96 - 16
    assert result.detections["n_pixels"].tolist()[:2] == [17, 6]
    assert result.objects["charge"].tolist() == [6.0, 20.0, 8.0]
    assert result.objects["peak"].tolist() == [2.0] * 3


def test_sky_sources_are_dropped(task_inputs: dict[str, Any]) -> None:
    sources = dia_sources()
    sources["is_sky"] = [True, False, False]
    config = compare_config()
    config.diaSourceColumns.skySource = "is_sky"
    assert run_task(task_inputs, config, diaSources=sources).stamps["id"].tolist() == [8, 9]


def test_no_dia_sources(task_inputs: dict[str, Any]) -> None:
    for sources in (None, dia_sources()[:0]):
        result = run_task(task_inputs, diaSources=sources)
        assert len(result.stamps) == 0
        assert "label_truth" in result.stamps.colnames
        assert result.detections["n_pixels_in_stamps"].tolist() == [0] * 6 + [-1]


def test_dia_sources_of_another_image(task_inputs: dict[str, Any]) -> None:
    sources = dia_sources()
    sources["x"] += 4000.0
    with pytest.raises(SourceTableError, match=r"None of the 3 sources is on the image.*x = 4075\.5"):
        run_task(task_inputs, diaSources=sources)


def test_dia_sources_without_columns(task_inputs: dict[str, Any]) -> None:
    sources = dia_sources()
    del sources["ra"]
    with pytest.raises(SourceTableError, match="lacks ra; it has id, x, y, dec, is_sky"):
        run_task(task_inputs, diaSources=sources)


def test_masks_of_other_pixels(task_inputs: dict[str, Any]) -> None:
    moved = make_cosmic_ray_mask(found(DETECTIONS[0]), Box.from_shape(SHAPE, start=(5, 0)))
    with pytest.raises(BoundsError, match="mask of morphological_science covers"):
        run_task(task_inputs, masks={DETECTIONS[0]: moved})
    with pytest.raises(BoundsError, match="truth charge"):
        run_task(task_inputs, truthCharge=Image(np.zeros((4, 4), np.float32)))


@pytest.mark.parametrize("field", ["unusablePlanes", "detectedPlane"])
def test_unknown_planes(task_inputs: dict[str, Any], field: str) -> None:
    config = compare_config()
    setattr(config, field, ["BAD", "BADD"] if field == "unusablePlanes" else "BADD")
    with pytest.raises(UnknownMaskPlaneError, match="BADD"):
        run_task(task_inputs, config)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"detections": []}, "detections is empty"),
        ({"detections": ["a_science", "b_science", "a_science"]}, "more than once: a_science"),
        ({"detections": [f"f{i}_science" for i in range(25)]}, "25 detections: at most 24"),
        ({"detections": ["a-b"]}, "'a-b' is no name of a detection"),
        ({"detections": ["truth"]}, "'truth' is the name of what is no detection"),
        ({"objectReference": "other"}, "objectReference 'other' is none of the detections"),
        ({"truthExtraSigmas": [2.0]}, "must be positive and differ"),
    ],
)
def test_bad_configurations(values: dict[str, Any], message: str) -> None:
    config = CompareCosmicRaysConfig()
    config.update(**values)
    with pytest.raises(ValueError, match=message):
        config.validate()


def test_stamps_have_a_size() -> None:
    with pytest.raises(FieldValidationError):
        compare_config(stampSize=0)


def test_connections_follow_the_config() -> None:
    config = CompareCosmicRaysConfig()
    config.detections = ["cosmic_conn_difference_tuned"]
    config.scienceImageStorageClass = "ExposureF"
    config.connections.scienceImage = "calexp"
    graph = PipelineGraph()
    graph.add_task("compare", CompareCosmicRaysTask, config)
    inputs = graph.tasks["compare"].inputs
    assert (
        inputs["mask_cosmic_conn_difference_tuned"].dataset_type_name
        == "cr_mask_cosmic_conn_difference_tuned"
    )
    assert (inputs["scienceImage"].dataset_type_name, inputs["scienceImage"].storage_class_name) == (
        "calexp",
        "ExposureF",
    )
    assert not {"truthCharge", "truthMask", "templateImage"} & set(inputs)
    assert "stampImages" not in graph.tasks["compare"].outputs
