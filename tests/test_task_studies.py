# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Studies of stamps and trails in a real repository, with their figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from lsst.daf.butler import Butler
from lsst.images import Box, Image
from lsst.meas.cosmicrays.comparison import disagreement_table, read_bits, sample_stamps
from lsst.meas.cosmicrays.images import make_cosmic_ray_mask, read_mask
from lsst.meas.cosmicrays.repository import register_dataset_type
from lsst.meas.cosmicrays.simulation import SimulationConfig, simulate
from lsst.meas.cosmicrays.tasks import (
    CompareCosmicRaysConfig,
    CompareCosmicRaysTask,
    FindCosmicRaysConfig,
    FindCosmicRaysTask,
    FindTrailsConfig,
    FindTrailsTask,
    GatherComparisonConfig,
    GatherComparisonTask,
    GatherStampStudiesTask,
    GatherTrailStudiesTask,
    PlotDisagreementsConfig,
    PlotDisagreementsTask,
    PlotStampGalleriesConfig,
    PlotStampGalleriesTask,
    PlotStampStudiesTask,
    PlotTrailStudiesTask,
    StudyStampsTask,
    StudyTrailsTask,
)
from lsst.pex.config import FieldValidationError
from lsst.pipe.base import NoWorkFound, PipelineGraph
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

SHAPE = (80, 96)
BOX = Box.from_shape(SHAPE)
VISIT = {"instrument": "TestCam", "visit": 42}
FIRST, SECOND = DETECTIONS = ("morphological_science", "astroscrappy_difference")
SHORT, TRACK = (slice(12, 15), slice(50, 51)), (slice(40, 41), slice(70, 82))


def true_charge() -> np.ndarray:
    charge = np.zeros(SHAPE, dtype=np.float32)
    charge[TRACK], charge[SHORT] = 900.0, 2500.0
    return charge


def found(detection: str, detector: int) -> np.ndarray:
    """Return a mask: the first detection has all and a variable source, the
    second only the track; on detector 1 both have a satellite.
    """
    mask = np.zeros(SHAPE, dtype=bool)
    mask[TRACK] = True
    if detection == FIRST:
        mask[SHORT] = True
        mask[43:45, 20] = True
    if detector == 1:
        columns = np.arange(0, 96, 2)
        mask[(columns * 0.7 + 5).astype(int), columns] = True
    return mask


def summary(detection: str, failure: str) -> Table:
    finder, kind = detection.split("_")
    values = {"detection": detection, "finder": finder, "kind": kind, "variant": "", "engine": "fast"}
    values |= {"n_cosmic_rays": 3, "wall_time": 0.25, "config_digest": "0123", "failed": bool(failure)}
    return Table([values | {"failure": failure}])


def put(butler: Butler, name: str, storage_class: str, dataset: object, detector: int) -> None:
    register_dataset_type(butler, name, storage_class)
    butler.put(dataset, name, VISIT, detector=detector, run="TestCam/ingested")


def put_inputs(butler: Butler, *, fails: bool = False, truth: bool = True, sources: bool = True) -> None:
    """Put masks, DIASources and truth of two detectors."""
    for detector in (0, 1):
        for name in DETECTIONS:
            failed = fails and (name, detector) == (SECOND, 1)
            failure = "Too many CR pixels (max 10000)" if failed else ""
            put(butler, f"cr_finder_summary_{name}", "ArrowAstropy", summary(name, failure), detector)
            if not failed:
                mask = make_cosmic_ray_mask(found(name, detector), BOX)
                put(butler, f"cr_mask_{name}", "MaskV2", mask, detector)
        table = Table({"id": [7, 8, 9], "x": [75.5, 50.0, 20.0], "y": [40.0, 13.0, 44.0]})
        table["ra"], table["dec"], table["is_sky"] = 30.0, -20.0, False
        put(butler, "dia_source_unfiltered", "ArrowAstropy", table[: 3 * sources], detector)
        if truth:
            variables = Table({"id": [5], "x": [20.5], "y": [44.0], "kind": ["variable"]})
            put(butler, "cr_truth_charge", "ImageV2", Image(true_charge(), bbox=BOX), detector)
            put(butler, "variable_truth_catalog", "ArrowAstropy", variables, detector)


def run_studies(butler: Butler, *, truth: bool = True, **compare: Any) -> Butler:
    """Compare, gather, study and draw; return where the results are."""
    graph = PipelineGraph()
    config = CompareCosmicRaysConfig()
    config.update(
        detections=list(DETECTIONS), truth="charge" if truth else None, doDifference=False, **compare
    )
    graph.add_task("compare", CompareCosmicRaysTask, config)
    gather = GatherComparisonConfig()
    graph.add_task("gather", GatherComparisonTask, gather)
    trails = FindTrailsConfig()
    trails.update(detections=list(DETECTIONS), block=4, minLength=60.0, halfWidth=2.0)
    graph.add_task("findTrails", FindTrailsTask, trails)
    plots = PlotDisagreementsConfig()
    plots.detections = list(DETECTIONS)
    graph.add_task("plotDisagreements", PlotDisagreementsTask, plots)
    for task in (
        StudyStampsTask,
        StudyTrailsTask,
        GatherStampStudiesTask,
        GatherTrailStudiesTask,
        PlotStampGalleriesTask,
        PlotStampStudiesTask,
        PlotTrailStudiesTask,
    ):
        graph.add_task(task._DefaultName, task, task.ConfigClass())
    run_butler = SimplePipelineExecutor.prep_butler(
        butler._config, inputs=["TestCam/defaults"], output="u/studies"
    )
    SimplePipelineExecutor.from_pipeline_graph(graph, butler=run_butler).run(register_dataset_types=True)
    return Butler.from_config(butler._config, collections=["u/studies"])


def run_on_satellites(repo: Path) -> Butler:
    """Simulate two detectors, one of which a sharp trail crosses; study the
    trails in what two finders find on them.
    """
    config = SimulationConfig(
        width=560, height=540, seed=13, satellite_fraction=0.5, satellite_width=0.4, crowding=0.3
    )
    simulate(repo, config, detectors=2)
    graph = PipelineGraph()
    find = FindCosmicRaysConfig()
    find.finders.names = ["morphological", "astroscrappy"]
    graph.add_task("find", FindCosmicRaysTask, find)
    names = ["morphological_science", "astroscrappy_science"]
    compare = CompareCosmicRaysConfig()
    compare.update(detections=names, truth="charge", doDifference=False)
    graph.add_task("compare", CompareCosmicRaysTask, compare)
    trails = FindTrailsConfig()
    trails.detections = names
    graph.add_task("findTrails", FindTrailsTask, trails)
    for task in (GatherComparisonTask, StudyTrailsTask, GatherTrailStudiesTask):
        graph.add_task(task._DefaultName, task, task.ConfigClass())
    butler = SimplePipelineExecutor.prep_butler(str(repo), inputs=["SimHSC/defaults"], output="u/trails")
    SimplePipelineExecutor.from_pipeline_graph(graph, butler=butler).run(register_dataset_types=True)
    return Butler.from_config(str(repo), collections=["u/trails"])


def row_of(table: Table, **values: object) -> Table.Row:
    chosen = np.ones(len(table), dtype=bool)
    for name, value in values.items():
        chosen &= np.asarray(table[name] == value)
    assert chosen.sum() == 1
    return table[chosen][0]


@pytest.mark.slow
def test_studies_of_a_visit(test_butler: Butler) -> None:
    put_inputs(test_butler)
    butler = run_studies(test_butler, doStampImages=True)

    study = butler.get("cr_visit_stamp_study", VISIT)
    first, second = (row_of(study, detection=name) for name in DETECTIONS)
    stamps = butler.get("cr_visit_stamps", VISIT)
    assert first["n_stamps"] == second["n_stamps"] == 6
    assert first["n_stamps_cr"] == np.sum(stamps[f"n_cr_{FIRST}"] > 0) == 6
    assert first["n_edge"] == np.sum(stamps["edge"])
    assert second["median_cr_pixels"] == np.median(
        stamps[f"n_cr_{SECOND}"][np.asarray(stamps[f"n_cr_{SECOND}"]) > 0]
    )
    thresholds = butler.get("cr_visit_stamp_thresholds", VISIT)
    assert row_of(thresholds, detection=FIRST, threshold=5)["n_stamps_cr"] == np.sum(
        stamps[f"n_cr_{FIRST}"] >= 5
    )

    cost = row_of(butler.get("cr_visit_label_cost", VISIT), detection=FIRST)
    assert (cost["n_variable"], cost["n_variable_lost"], cost["n_cr_passed"]) == (2, 2, 0)
    passed = row_of(butler.get("cr_instrument_label_cost", instrument="TestCam"), detection=SECOND)
    labels = stamps[f"label_{SECOND}"][np.asarray(stamps["true_kind"] == "cosmic_ray")]
    assert (passed["n_cr"], passed["n_cr_passed"]) == (4, np.sum(labels == 0))
    assert passed["n_cr_passed"] > 0

    disagreements = butler.get("cr_visit_disagreements", VISIT)
    expected = disagreement_table(stamps, read_bits(butler.get("cr_visit_detections", VISIT)))
    assert disagreements["id"].tolist() == expected["id"].tolist()
    assert {8, 9} <= set(disagreements["id"])
    kept = butler.get("cr_instrument_disagreements", instrument="TestCam")
    assert kept["telling"].tolist() == expected["telling"].tolist()

    confusion = butler.get("cr_visit_confusion", VISIT)
    for row in butler.get("cr_visit_places", VISIT):
        pair = {"reference": row["reference"], "candidate": row["candidate"]}
        for level, rate in (("pixel", "f1_pixel"), ("stamp", "f1_stamp")):
            assert row[rate] == pytest.approx(row_of(confusion, level=level, **pair)["f1"])
        assert row["tp"] == row_of(confusion, level="pixel", **pair)["tp"]

    trails = butler.get("cr_visit_trails", VISIT)
    assert trails["detector_trail"].tolist() == [0, 0, 1, 1]
    assert trails["n_trail_pixels"][2] >= 48
    rates = butler.get("cr_instrument_trail_rates", instrument="TestCam")
    assert row_of(rates, detection=FIRST, sample="without_trails")["n_pixels"] == 12 + 3 + 2
    pairs = butler.get("cr_visit_trail_confusion", VISIT)
    row = row_of(pairs, reference="truth", candidate=SECOND, sample="without_trails")
    assert (row["tp"], row["fn"], row["fp"]) == (12, 3, 0)
    assert len(butler.get("cr_visit_failures", VISIT)) == 0

    for name in ("stamp_distribution", "stamp_thresholds", "label_cost", "places", "trails"):
        assert len(butler.query_datasets(f"cr_plot_{name}")) == 1
    for one, other in ((FIRST, SECOND), (SECOND, FIRST)):
        assert len(butler.query_datasets(f"cr_plot_disagreements_{one}_{other}")) == 1
    for gallery in ("by_pixels", "one_pixel", "cr", "not_cr"):
        assert len(butler.query_datasets(f"cr_plot_stamp_gallery_{gallery}_{FIRST}")) == 1


@pytest.mark.slow
def test_rates_with_and_without_a_simulated_satellite(tmp_path: Path) -> None:
    """A trail sharper than a star is flagged, recognised and set apart."""
    butler = run_on_satellites(tmp_path / "repo")
    visit = {"instrument": "SimHSC", "visit": 1}
    crossed, clear = (
        read_mask(butler.get(f"cr_mask_{FIRST}", visit, detector=detector)) for detector in (0, 1)
    )
    trails = butler.get("cr_instrument_trails", instrument="SimHSC")
    trail = row_of(trails, detection=FIRST, detector=0)
    assert trail["n_trails"] == 1
    assert trail["angle"] == pytest.approx(62.0, abs=1.0)
    assert trail["detector_trail"] == 1
    assert row_of(trails, detection=FIRST, detector=1)["detector_trail"] == 0

    rates = butler.get("cr_instrument_trail_rates", instrument="SimHSC")
    with_trails, without = (
        row_of(rates, detection=FIRST, sample=sample) for sample in ("with_trails", "without_trails")
    )
    assert (with_trails["n_detectors"], without["n_detectors"]) == (1, 1)
    assert (with_trails["n_pixels"], without["n_pixels"]) == (crossed.sum(), clear.sum())
    assert with_trails["share_of_pixels"] == pytest.approx(crossed.sum() / (crossed.sum() + clear.sum()))
    assert with_trails["share_on_trails"] > 0.5
    assert without["n_trail_pixels"] == 0
    assert with_trails["cr_pixels_per_mpix"] > 3 * without["cr_pixels_per_mpix"]

    confusion = butler.get("cr_instrument_trail_confusion", instrument="SimHSC")
    purity = {
        sample: row_of(confusion, reference="truth", candidate=FIRST, sample=sample)["purity"]
        for sample in ("all", "without_trails", "with_trails")
    }
    assert purity["with_trails"] < purity["all"] < purity["without_trails"]


@pytest.mark.slow
def test_finder_that_failed(test_butler: Butler) -> None:
    put_inputs(test_butler, fails=True)
    butler = run_studies(test_butler)
    (failure,) = butler.get("cr_instrument_failures", instrument="TestCam")
    assert (failure["detector"], failure["detection"], failure["trail"]) == (1, SECOND, 1)
    assert (failure["failure"], failure["trail_detections"]) == ("Too many CR pixels (max 10000)", FIRST)
    study = row_of(butler.get("cr_visit_stamp_study", VISIT), detection=SECOND)
    assert (study["n_detectors"], study["n_detectors_total"], study["n_stamps"]) == (1, 2, 3)
    with_trails = row_of(butler.get("cr_visit_trail_rates", VISIT), detection=SECOND, sample="with_trails")
    assert (with_trails["n_failed"], with_trails["fraction_failed"]) == (1, 1.0)
    # Without cutouts there are no galleries, and nothing else is missing.
    for gallery in (f"disagreements_{FIRST}_{SECOND}", f"stamp_gallery_cr_{FIRST}"):
        assert not butler.query_datasets(f"cr_plot_{gallery}", explain=False)
    assert len(butler.query_datasets("cr_plot_label_cost")) == 1


@pytest.mark.slow
def test_without_truth_and_sources(test_butler: Butler) -> None:
    put_inputs(test_butler, truth=False, sources=False)
    butler = run_studies(test_butler, truth=False, doStampImages=True)
    study = butler.get("cr_instrument_stamp_study", instrument="TestCam")
    assert study["detection"].tolist() == list(DETECTIONS)
    assert study["n_stamps"].tolist() == [0, 0]
    assert np.isnan(study["flux"]).all()
    cost = butler.get("cr_visit_label_cost", VISIT)
    assert np.isnan(cost["fraction_lost"]).all()
    assert len(butler.get("cr_visit_disagreements", VISIT)) == 0
    assert len(butler.get("cr_instrument_disagreements", instrument="TestCam")) == 0
    places = butler.get("cr_instrument_places", instrument="TestCam")
    assert np.isfinite(places["f1_pixel"]).all()
    assert np.isnan(places["f1_stamp"]).all()
    for name in ("stamp_distribution", "stamp_thresholds", "label_cost", "places", "trails"):
        assert len(butler.query_datasets(f"cr_plot_{name}")) == 1
    assert len(butler.query_datasets(f"cr_plot_disagreements_{FIRST}_{SECOND}")) == 1


class Cutouts:
    """Cutouts of a detector, and how often they were read."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        self.n_reads = 0

    def get(self) -> Table:
        self.n_reads += 1
        images = Table({"id": self.ids})
        shape = (len(self.ids), 6, 6)
        for number, name in enumerate(("template", "science", "difference")):
            images[name] = np.full(shape, number, np.float32)
        for name in ("mask_a", "mask_b", "mask_truth"):
            images[name] = np.ones(shape, bool)
        return images


def disagreements_of(n_detectors: int) -> Table:
    rows = []
    for rank, (detector, identifier) in enumerate((d, i) for i in range(3) for d in range(n_detectors)):
        rows.append(("a", "b", rank + 1, 7, detector, identifier, 5.0, 6.0, 9 - identifier, 0, 1, "dipole"))
    names = "first second rank visit detector id x y n_cr_first n_cr_second label_truth true_kind".split()
    return Table(rows=rows, names=names)


def plotting(**values: Any) -> PlotDisagreementsTask:
    config = PlotDisagreementsConfig()
    config.update(detections=["a", "b"], **values)
    return PlotDisagreementsTask(config=config)


def test_gallery_has_the_first_stamps_of_each_detector() -> None:
    task = plotting(maxStamps=5, maxStampsOfDetector=2)
    cutouts = {detector: Cutouts([0, 1, 2]) for detector in range(2)}
    result = task.run(disagreements_of(3), cutouts)
    texts = [text.get_text() for text in result.plot_a_b.axes[0].texts]
    assert "CR for a,\nnot for b: 4 of 9 stamps" in texts
    assert "1. detector 0, x 5, y 6: 9 and 0 CR pixels" in texts
    assert texts.count("truth: dipole, CR in stamp") == 4
    assert [cutouts[detector].n_reads for detector in (0, 1)] == [1, 1]
    # Detector 2 has no cutouts.
    assert not any("detector 2" in text for text in texts)
    assert "no such stamps" in [text.get_text() for text in result.plot_b_a.axes[0].texts]
    with pytest.raises(NoWorkFound, match="doStampImages"):
        task.run(disagreements_of(1), {})


@pytest.mark.parametrize("detections", [["a"], ["a", "a"], []])
def test_galleries_need_two_detections(detections: list[str]) -> None:
    config = PlotDisagreementsConfig()
    config.detections = detections
    with pytest.raises((ValueError, FieldValidationError), match="two or more that differ"):
        config.validate()


def test_only_pairs_with_a_reference_are_drawn() -> None:
    config = PlotDisagreementsConfig()
    config.update(detections=["a", "b", "c"], reference="b")
    config.validate()
    assert sorted(config.pairs()) == [("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")]
    task = PlotDisagreementsTask(config=config)
    drawn = task.run(disagreements_of(1), {0: Cutouts([0, 1, 2])}).getDict()
    assert set(drawn) == {"plot_a_b", "plot_b_a", "plot_b_c", "plot_c_b"}
    config.reference = "d"
    with pytest.raises(ValueError, match="reference 'd' is none of detections"):
        config.validate()


def stamps_of(*counts: int) -> Table:
    """Return stamps of detectors 0, 1 and 2 in turn, with these pixels."""
    n_cr = np.array(counts)
    numbers = np.arange(len(n_cr))
    stamps = Table({"visit": np.full(len(n_cr), 7), "detector": numbers % 3, "id": numbers // 3})
    stamps["x"], stamps["y"] = 5.0, 6.0
    stamps["n_cr_a"], stamps["label_a"] = n_cr, (n_cr > 0).astype(int)
    stamps["label_truth"], stamps["true_kind"] = 1, "cosmic_ray"
    return stamps


def galleries(**values: Any) -> PlotStampGalleriesTask:
    config = PlotStampGalleriesConfig()
    config.update(detections=["a"], **values)
    return PlotStampGalleriesTask(config=config)


def test_galleries_of_stamps_by_pixels_and_label() -> None:
    """Figures 6 to 9: exact numbers of pixels, and no other stamp."""
    stamps = stamps_of(0, 1, 5, 1, 30, 0, 1, 80, 4, 1)
    cutouts = {detector: Cutouts([0, 1, 2, 3]) for detector in range(3)}
    result = galleries(maxStampsOfNumber=1, maxOnePixelStamps=3).run(stamps, cutouts)
    shown = {
        gallery: [text.get_text() for text in getattr(result, f"plot_{gallery}_a").axes[0].texts]
        for gallery in ("by_pixels", "one_pixel", "cr", "not_cr")
    }
    pixels = [text.split(" CR")[0] for text in shown["by_pixels"] if " CR pixel" in text]
    assert pixels == ["1", "5", "30", "80"]
    assert any("no stamp has exactly 2, 10, 60" in text for text in shown["by_pixels"])
    assert sum(text.startswith("1 CR pixel;") for text in shown["one_pixel"]) == 3
    assert any("a: 3 of 4 stamps" in text for text in shown["one_pixel"])
    captions = sorted(text.split(" CR")[0] for text in shown["cr"] if " CR pixel" in text)
    assert captions == sorted(str(n) for n in stamps["n_cr_a"] if n > 0)
    assert sum(text.startswith("0 CR pixels") for text in shown["not_cr"]) == 2
    # Every detector is read once, though all galleries show some of it.
    assert [cutouts[detector].n_reads for detector in range(3)] == [1, 1, 1]


def test_galleries_of_stamps_without_cutouts() -> None:
    # Detectors 1 and 2 have no cutouts, and the finder no stamp with 1 pixel.
    result = galleries().run(stamps_of(2, 1, 1), {0: Cutouts([0])})
    texts = [text.get_text() for text in result.plot_one_pixel_a.axes[0].texts]
    assert "no such stamps" in texts
    assert any("a: 0 of 0 stamps" in text for text in texts)
    with pytest.raises(NoWorkFound, match="doStampImages"):
        galleries().run(stamps_of(2), {})
    stamps = stamps_of(2)
    stamps.remove_columns(["n_cr_a", "label_a"])
    with pytest.raises(NoWorkFound, match="No stamps were labelled by a"):
        galleries().run(stamps, {0: Cutouts([0])})


def test_samples_of_stamps_repeat() -> None:
    stamps = stamps_of(*([1, 0] * 30))
    chosen = sample_stamps(stamps, "a", 1, n_stamps=7, seed=3)
    assert len(np.unique(chosen["id", "detector"])) == 7
    assert set(chosen["n_cr_a"]) == {1}
    assert set(chosen["n_alike"]) == {30}
    again = sample_stamps(stamps, "a", 1, n_stamps=7, seed=3)
    assert chosen["id"].tolist() == again["id"].tolist()
    other = sample_stamps(stamps, "a", 1, n_stamps=7, seed=4)
    assert chosen["id"].tolist() != other["id"].tolist()


def test_no_masks_at_all() -> None:
    with pytest.raises(NoWorkFound, match="Every mask is missing"):
        FindTrailsTask(config=FindTrailsConfig()).run({})
    config = FindTrailsConfig()
    config.detections = []
    with pytest.raises(ValueError, match="detections is empty"):
        config.validate()
