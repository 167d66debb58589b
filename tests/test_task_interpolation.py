# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tasks of the interpolation study, and all of them in a repository."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import afw_double
import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table

from lsst.daf.butler import Butler
from lsst.images import Box, Image, Mask, MaskedImage, MaskPlane, MaskSchema, VisitImage
from lsst.meas.cosmicrays.comparison import SourceTableError, no_sources
from lsst.meas.cosmicrays.engines.interpolation import fill_holes
from lsst.meas.cosmicrays.images import UnknownMaskPlaneError, make_cosmic_ray_mask, read_mask
from lsst.meas.cosmicrays.product import product_dir
from lsst.meas.cosmicrays.repository import register_dataset_type
from lsst.meas.cosmicrays.simulation import SimulationConfig, simulate
from lsst.meas.cosmicrays.tasks import (
    BoundsError,
    CompareInterpolationConfig,
    CompareInterpolationTask,
    GatherInterpolationConfig,
    GatherInterpolationTask,
    InterpolateCosmicRaysConfig,
    InterpolateCosmicRaysTask,
    PlotInterpolationConfig,
    PlotInterpolationTask,
)
from lsst.pipe.base import NoWorkFound, PipelineGraph
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

DETECTED = ("DETECTED", "DETECTED_NEGATIVE")
VISIT = {"instrument": "SimHSC", "visit": 1}
PIPELINE = """
description: The interpolation study, with one finder.
imports:
  - location: $MEAS_COSMICRAYS_DIR/pipelines/_ingredients/DifferenceImaging.yaml
  - location: $MEAS_COSMICRAYS_DIR/pipelines/_ingredients/Interpolation.yaml
parameters:
  truth: charge
tasks:
  findCosmicRays:
    class: lsst.meas.cosmicrays.tasks.FindCosmicRaysTask
    config:
      connections.kind: science
      connections.image: visit_image
      finders.names: [morphological]
  compareCosmicRays:
    class: lsst.meas.cosmicrays.tasks.CompareCosmicRaysTask
    config:
      detections: [morphological_science]
      truth: charge
"""


def interpolate(image: object, mask: np.ndarray, **options: object) -> object:
    """Run the task on an image and the mask of a detection."""
    config = InterpolateCosmicRaysConfig()
    for name, value in options.items():
        setattr(config, name, value)
    config.validate()
    ny, nx = mask.shape
    dataset = make_cosmic_ray_mask(mask, Box.factory[:ny, :nx])
    return InterpolateCosmicRaysTask(config=config).run(image, dataset).interpolatedImage


@pytest.fixture
def cosmic_rays() -> np.ndarray:
    """Return the two cosmic rays of the scene of `make_image`."""
    mask = np.zeros((80, 96), dtype=bool)
    mask[40, 70:82] = mask[12:15, 50] = True
    return mask


class TestInterpolateCosmicRaysTask:
    """Pixels, planes and all that stays."""

    def test_pixels_and_planes(self, make_image: Callable[..., VisitImage], cosmic_rays: np.ndarray) -> None:
        bad, other = np.zeros(cosmic_rays.shape, bool), np.zeros(cosmic_rays.shape, bool)
        bad[:, 30], other[5, 5] = True, True
        image = make_image(BAD=bad, INTERPOLATED=bad, COSMIC_RAY=other, DETECTED=other)
        before = image.copy()
        after = interpolate(image, cosmic_rays)
        assert isinstance(after, VisitImage)
        pixels = before.image.array
        filling = fill_holes(pixels, before.variance.array, cosmic_rays, bad)
        expected = pixels.copy()
        expected[cosmic_rays] = filling.values
        np.testing.assert_array_equal(after.image.array, expected)
        assert filling.n_predicted == cosmic_rays.sum()
        # Of tracks of 900 and 2500 electrons nothing is left in the noise.
        assert np.abs(after.image.array[cosmic_rays]).max() < 5.0 * np.sqrt(before.variance.array.min())
        np.testing.assert_array_equal(after.mask.get("COSMIC_RAY"), cosmic_rays)
        np.testing.assert_array_equal(after.mask.get("INTERPOLATED"), cosmic_rays | bad)
        for plane in set(before.mask.schema.names) - {"COSMIC_RAY", "INTERPOLATED"}:
            np.testing.assert_array_equal(after.mask.get(plane), before.mask.get(plane))
        np.testing.assert_array_equal(after.variance.array, before.variance.array)
        assert (after.unit, after.psf, after.detector) == (before.unit, image.psf, image.detector)
        # The input is as it was.
        np.testing.assert_array_equal(image.image.array, before.image.array)
        assert image.mask == before.mask

    def test_units_do_not_matter(
        self, make_image: Callable[..., VisitImage], cosmic_rays: np.ndarray
    ) -> None:
        electrons = interpolate(make_image(), cosmic_rays)
        counts = interpolate(make_image("adu"), cosmic_rays)
        np.testing.assert_allclose(3.0 * counts.image.array, electrons.image.array, rtol=1e-4, atol=1e-3)

    def test_methods_and_growth(self, make_image: Callable[..., VisitImage], cosmic_rays: np.ndarray) -> None:
        image = make_image()
        wider = interpolate(image, cosmic_rays, growPixels=1, method="neighbors")
        grown = wider.mask.get("INTERPOLATED")
        assert grown.sum() == 3 * 14 + 3 * 5
        np.testing.assert_array_equal(wider.mask.get("COSMIC_RAY"), cosmic_rays)
        expected = fill_holes(image.image.array, image.variance.array, grown, method="neighbors").values
        np.testing.assert_array_equal(wider.image.array[grown], expected)
        sky, same = (interpolate(image, cosmic_rays, method="sky") for _ in range(2))
        np.testing.assert_array_equal(sky.image.array, same.image.array)
        other = interpolate(image, cosmic_rays, method="sky", seed=1)
        assert not np.array_equal(sky.image.array, other.image.array)

    def test_exposure_of_afw(self, electrons: tuple[np.ndarray, np.ndarray], cosmic_rays: np.ndarray) -> None:
        class Exposure(afw_double.Exposure):
            def clone(self) -> Exposure:
                return copy.deepcopy(self)

        bad = np.zeros(cosmic_rays.shape, dtype=bool)
        bad[3, 3] = True
        planes = {"BAD": bad, "SAT": bad, "INTRP": bad, "NO_DATA": bad, "CR": bad}
        exposure = Exposure.from_arrays(*electrons, planes, np.ones((1, 1)), unit="adu")
        before = exposure.clone()
        after = interpolate(exposure, cosmic_rays)
        assert isinstance(after, Exposure)
        np.testing.assert_array_equal(exposure.masked_image.image.array, before.masked_image.image.array)
        filling = fill_holes(*electrons, cosmic_rays, bad)
        np.testing.assert_array_equal(after.masked_image.image.array[cosmic_rays], filling.values)
        np.testing.assert_array_equal(read_mask(after), cosmic_rays)
        np.testing.assert_array_equal(read_mask(after, "INTERPOLATED"), cosmic_rays | bad)
        np.testing.assert_array_equal(read_mask(after, "BAD"), bad)

    def test_bad_input(self, make_image: Callable[..., VisitImage], cosmic_rays: np.ndarray) -> None:
        image = make_image()
        with pytest.raises(NoWorkFound, match="None of the 7680 pixels is usable"):
            interpolate(image, np.ones_like(cosmic_rays))
        with pytest.raises(BoundsError, match="mask of cosmic rays"):
            interpolate(image, cosmic_rays[:-1])
        with pytest.raises(UnknownMaskPlaneError, match="NOT_THERE"):
            interpolate(image, cosmic_rays, unusablePlanes=["NOT_THERE"])
        bare = MaskedImage(
            Image(image.image.array, bbox=image.bbox),
            mask=Mask(0, schema=MaskSchema([MaskPlane("BAD", "")]), bbox=image.bbox),
            variance=Image(image.variance.array, bbox=image.bbox),
        )
        with pytest.raises(UnknownMaskPlaneError, match="COSMIC_RAY, INTERPOLATED in which to mark"):
            interpolate(bare, cosmic_rays, unusablePlanes=["BAD"])
        image.image.array[0, 0] = np.nan
        nothing = interpolate(image, np.zeros_like(cosmic_rays))
        np.testing.assert_array_equal(nothing.image.array, image.image.array)


def compare(**inputs: object) -> object:
    """Run the comparison on a detector of 40x40 pixels, with few inputs."""
    bbox = Box.factory[:40, :40]
    usual = {
        "cosmicRays": make_cosmic_ray_mask(np.zeros((40, 40), dtype=bool), bbox),
        "diaSources": no_sources(),
        "interpolatedDiaSources": no_sources(),
    }
    return CompareInterpolationTask(config=CompareInterpolationConfig()).run(**{**usual, **inputs})


class TestCompareInterpolationTask:
    """What may be missing, and what may not be."""

    def test_nothing_was_detected(self) -> None:
        result = compare()
        assert (len(result.sources), len(result.confusion), len(result.stampImages)) == (0, 0, 0)

    def test_images_are_missing(self) -> None:
        sources = no_sources()
        sources.add_row((4, 20.0, 20.0, 1.0, 2.0))
        result = compare(diaSources=sources)
        assert result.sources["fate"].tolist() == ["vanished"]
        assert np.isnan(result.stampImages["science"]).all()
        assert result.stampImages["science"].shape == (1, 30, 30)

    def test_bad_input(self) -> None:
        with pytest.raises(SourceTableError, match="lacks id, x"):
            compare(diaSources=Table())
        elsewhere = no_sources()
        elsewhere.add_row((4, 2000.0, 20.0, 1.0, 2.0))
        with pytest.raises(SourceTableError, match="None of the 1 sources is on the image"):
            compare(interpolatedDiaSources=elsewhere)
        smaller = make_cosmic_ray_mask(np.zeros((39, 40), dtype=bool), Box.factory[:39, :40])
        with pytest.raises(BoundsError, match="object mask"):
            compare(objectMask=smaller)
        same = make_cosmic_ray_mask(np.zeros((40, 40), dtype=bool), Box.factory[:40, :40])
        with pytest.raises(UnknownMaskPlaneError, match="DETECTED"):
            compare(objectMask=same)

    def test_detections_in_the_difference_images(self) -> None:
        """As lsst.ip.diffim leaves them: without masks of their own."""
        bbox = Box.factory[:40, :40]
        detected = np.zeros((40, 40), dtype=bool)
        detected[20:23, 20:23] = True
        schema = MaskSchema([MaskPlane(name, "") for name in DETECTED])
        mask = Mask(0, schema=schema, bbox=bbox)
        mask.set("DETECTED_NEGATIVE", detected)
        image = Image(np.ones((40, 40), np.float32), bbox=bbox, unit=u.electron)
        variance = Image(np.ones((40, 40), np.float32), bbox=bbox, unit=u.electron**2)
        difference = MaskedImage(image, mask=mask, variance=variance)
        stamps = Table({"x_min": [2, 25], "y_min": [2, 25], "x_max": [31, 54], "y_max": [31, 54]})
        stamps["label_one"], stamps["true_variable_id"] = np.array([1, 1], dtype=np.int8), -1
        inside = compare(stamps=stamps, interpolatedDifferenceImage=difference).confusion
        apart = compare(stamps=stamps, objectMask=mask).confusion
        assert (inside["n_object_cr"][0], inside["n_no_object_cr"][0]) == (1, 1)
        assert inside.pformat() == apart.pformat()


def test_figures_without_stamps() -> None:
    result = PlotInterpolationTask(config=PlotInterpolationConfig()).run([])
    for group in ("vanished", "remaining", "new", "object_and_cr"):
        texts = [text.get_text() for text in getattr(result, group).axes[0].texts]
        assert "no such stamps" in texts


def test_detector_that_failed_is_counted(test_butler: Butler) -> None:
    """Gather one of two detectors, as if no mask was there for the other."""
    run = "u/compared"
    test_butler.collections.register(run)
    sources = no_sources()
    sources.add_row((4, 20.0, 20.0, 1.0, 2.0))
    stamps = Table({name: [2] for name in ("x_min", "y_min")} | {name: [31] for name in ("x_max", "y_max")})
    stamps["label_one"] = np.array([1], dtype=np.int8)
    stamps["true_variable_id"] = [-1]
    nothing = Mask(
        0, schema=MaskSchema([MaskPlane(name, "") for name in DETECTED]), bbox=Box.factory[:40, :40]
    )
    compared = compare(diaSources=sources, stamps=stamps, objectMask=nothing)
    tables = {
        "cr_interpolation_sources": (compared.sources, [0]),
        "cr_interpolation_confusion": (compared.confusion, [0]),
        "cr_stamps": (stamps, [0, 1]),
    }
    for name, (table, detectors) in tables.items():
        register_dataset_type(test_butler, name, "ArrowAstropy")
        for detector in detectors:
            test_butler.put(table, name, instrument="TestCam", visit=42, detector=detector, run=run)
    root = test_butler._config.configDir.ospath
    butler = SimplePipelineExecutor.prep_butler(root, inputs=[run], output="u/gathered")
    graph = PipelineGraph()
    for level in ("visit", "instrument"):
        config = GatherInterpolationConfig()
        config.level = level
        graph.add_task(level, GatherInterpolationTask, config)
    SimplePipelineExecutor.from_pipeline_graph(graph, butler=butler).run(register_dataset_types=True)
    with Butler.from_config(root, collections="u/gathered") as results:
        for level, where in (("visit", {"visit": 42}), ("instrument", {})):
            for what in ("fates", "confusion"):
                table = results.get(f"cr_{level}_interpolation_{what}", instrument="TestCam", **where)
                assert set(table["n_detectors"]) == {1}
                assert set(table["n_detectors_total"]) == {2}
            assert table["n_no_object_cr"].tolist() == [1]
        gathered = results.get("cr_visit_interpolation_sources", instrument="TestCam", visit=42)
        assert gathered["visit", "detector", "fate"][0].as_void().item() == (42, 0, "vanished")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Butler]:
    """Run the study on a small simulated visit, and open its output."""
    folder = tmp_path_factory.mktemp("interpolation")
    config = SimulationConfig(width=300, height=280, seed=2, cr_rate=25.0, variables=6.0)
    simulate(folder / "repo", config, visits=1, detectors=2)
    (folder / "study.yaml").write_text(PIPELINE)
    command = [Path(sys.executable).with_name("pipetask"), "run", "--register-dataset-types"]
    command += ["-b", folder / "repo", "-i", "SimHSC/defaults", "-o", "u/study", "-p", folder / "study.yaml"]
    result = subprocess.run(
        [str(word) for word in command],
        env=os.environ | {"MEAS_COSMICRAYS_DIR": str(product_dir())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    with Butler.from_config(str(folder / "repo"), collections="u/study") as butler:
        yield butler


@pytest.mark.slow
class TestStudy:
    """All tasks, through `pipetask`."""

    def test_interpolated_image(self, study: Butler) -> None:
        for detector in (0, 1):
            before, after = (
                study.get(name, VISIT, detector=detector)
                for name in ("visit_image", "visit_image_interpolated")
            )
            mask = read_mask(study.get("cr_mask_morphological_science", VISIT, detector=detector))
            assert mask.sum() > 50
            np.testing.assert_array_equal(read_mask(after), mask)
            changed = before.image.array != after.image.array
            assert not np.any(changed & ~mask)
            assert before.sky_projection == after.sky_projection
            difference = study.get("difference_image_interpolated", VISIT, detector=detector)
            assert np.all(read_mask(difference)[mask])
            charge = study.get("cr_truth_charge", VISIT, detector=detector).array
            struck = mask & (charge > 500.0)
            assert np.median(difference.image.array[struck] / charge[struck]) < 0.1

    def test_sources(self, study: Butler) -> None:
        """Check what became of sources, one by one."""
        for detector in (0, 1):
            tables = {
                name: study.get(name, VISIT, detector=detector)
                for name in ("dia_source_unfiltered", "dia_source_interpolated", "cr_interpolation_sources")
            }
            before, after, sources = tables.values()
            mask = read_mask(study.get("cr_mask_morphological_science", VISIT, detector=detector))
            of_before = sources[sources["id"] != -1]
            assert of_before["id"].tolist() == before["id"].tolist()
            assert sorted(set(sources["id_interpolated"]) - {-1}) == sorted(after["id"])
            for row in sources:
                left = row["x_min"], row["y_min"]
                stamp = mask[max(left[1], 0) : left[1] + 30, max(left[0], 0) : left[0] + 30]
                assert row["n_cr"] == stamp.sum()
                close = after[np.hypot(after["x"] - row["x"], after["y"] - row["y"]) <= 3.0]
                matched = row["id"] != -1 and row["id_interpolated"] != -1
                assert matched == (row["fate"] in ("remaining", "unchanged"))
                if matched:
                    assert row["id_interpolated"] in close["id"]
                    assert (row["fate"] == "remaining") == (row["n_cr"] > 0)

    def test_cosmic_rays_vanish_and_variables_stay(self, study: Butler) -> None:
        fates = study.get("cr_visit_interpolation_fates", VISIT)
        counts = {(row["fate"], row["true_kind"]): int(row["n"]) for row in fates}
        assert counts["vanished", "cosmic_ray"] > 10
        stay = {
            kind: sum(counts.get((fate, kind), 0) for fate in ("remaining", "unchanged"))
            for kind in ("variable", "transient")
        }
        gone = {kind: sum(counts.get((fate, kind), 0) for fate in ("vanished", "broken")) for kind in stay}
        assert sum(stay.values()) > 3 * sum(gone.values())
        assert {(row["n_detectors"], row["n_detectors_total"]) for row in fates} == {(2, 2)}
        instrument = study.get("cr_instrument_interpolation_fates", instrument="SimHSC")
        assert instrument["n"].tolist() == fates["n"].tolist()

    def test_confusion(self, study: Butler) -> None:
        """Count OBJECTs against cosmic rays from masks and positions."""
        cells = {(found, labelled): 0 for found in (True, False) for labelled in (True, False)}
        for detector in (0, 1):
            mask = read_mask(study.get("cr_mask_morphological_science", VISIT, detector=detector))
            image = study.get("visit_image", VISIT, detector=detector)
            difference = study.get("difference_image", VISIT, detector=detector)
            for plane in ("BAD", "SATURATED", "NO_DATA"):
                mask &= ~read_mask(image, plane)
            mask &= ~read_mask(difference, "NO_DATA")
            detections = study.get("dia_detection_mask_interpolated", VISIT, detector=detector)
            found = read_mask(detections, "DETECTED") | read_mask(detections, "DETECTED_NEGATIVE")
            for row in study.get("dia_source_unfiltered", VISIT, detector=detector):
                x, y = int(np.floor(row["x"] - 14.0)), int(np.floor(row["y"] - 14.0))
                stamp = slice(max(y, 0), y + 30), slice(max(x, 0), x + 30)
                cells[bool(found[stamp].any()), bool(mask[stamp].any())] += 1
        for level, where in (("visit", VISIT), ("instrument", {"instrument": "SimHSC"})):
            table = study.get(f"cr_{level}_interpolation_confusion", where)
            (row,) = table[table["detection"] == "morphological_science"]
            names = ("n_object_cr", "n_object_not_cr", "n_no_object_cr", "n_no_object_not_cr")
            assert [row[name] for name in names] == list(cells.values())
            assert (row["n_detectors"], row["n_detectors_total"]) == (2, 2)
        assert cells[True, True] > 0
        assert cells[False, True] > 0
        # The comparison of masks knows the same OBJECTs.
        stamps = study.get("cr_stamps", VISIT, detector=0)
        sources = study.get("cr_interpolation_sources", VISIT, detector=0)
        assert sources["object"][: len(stamps)].tolist() == stamps["object"].tolist()

    def test_cutouts_and_figures(self, study: Butler) -> None:
        cut = study.get("cr_interpolation_stamp_images", VISIT, detector=1)
        after = study.get("difference_image_interpolated", VISIT, detector=1).image.array
        inside = cut[(cut["x_min"] >= 0) & (cut["y_min"] >= 0)]
        inside = inside[(inside["x_min"] <= 270) & (inside["y_min"] <= 250)]
        assert len(inside) > 3
        for row in inside:
            stamp = after[row["y_min"] : row["y_min"] + 30, row["x_min"] : row["x_min"] + 30]
            np.testing.assert_array_equal(row["difference_interpolated"], stamp)
            assert row["mask_interpolated"].sum() == row["n_cr"]
        for group in ("vanished", "remaining", "new", "object_and_cr"):
            (figure,) = study.query_datasets(f"cr_plot_interpolation_{group}")
            assert Path(study.getURI(figure).ospath).stat().st_size > 5000
