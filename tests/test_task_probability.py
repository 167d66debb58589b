# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Probabilities through comparison, gathering and figures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score

from lsst.daf.butler import Butler
from lsst.images import Box, Image, VisitImage
from lsst.meas.cosmicrays.comparison import (
    ComparedMasks,
    add_probability_counts,
    probability_counts,
    probability_curve,
    probability_summary,
    truth_bits,
    truth_from_charge,
)
from lsst.meas.cosmicrays.images import make_cosmic_ray_mask, read_image, read_mask
from lsst.meas.cosmicrays.product import product_dir
from lsst.meas.cosmicrays.report.probability_figures import plot_precision_recall
from lsst.meas.cosmicrays.simulation import SimulationConfig, simulate
from lsst.meas.cosmicrays.tasks import (
    BoundsError,
    CompareCosmicRaysConfig,
    CompareCosmicRaysTask,
    GatherComparisonConfig,
    PlotProbabilityConfig,
    PlotProbabilityTask,
)
from lsst.pex.config import FieldValidationError
from lsst.pipe.base import NoWorkFound

DETECTION = "cosmic_conn_science"
SHAPE = (80, 96)
VISIT = {"instrument": "SimHSC", "visit": 1}
PIPELINE = """
description: Probabilities of Cosmic-CoNN on simulated visits.
imports:
  - location: $MEAS_COSMICRAYS_DIR/pipelines/_ingredients/FindScience.yaml
  - location: $MEAS_COSMICRAYS_DIR/pipelines/_ingredients/Compare.yaml
  - location: $MEAS_COSMICRAYS_DIR/pipelines/_ingredients/Probability.yaml
parameters:
  detections: [morphological_science, cosmic_conn_science]
tasks:
  findCosmicRaysScience:
    class: lsst.meas.cosmicrays.tasks.FindCosmicRaysTask
    config:
      finders.names: [morphological, cosmic_conn]
  compareCosmicRays:
    class: lsst.meas.cosmicrays.tasks.CompareCosmicRaysTask
    config:
      truth: charge
      doDifference: false
"""


def compare_config(**values: object) -> CompareCosmicRaysConfig:
    config = CompareCosmicRaysConfig()
    config.detections = [DETECTION]
    config.probabilities = [DETECTION]
    config.truth = "mask"
    config.doDifference = False
    config.update(**values)
    return config


def probability_and_truth() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    truth = rng.random(SHAPE) < 0.01
    logit = np.where(truth, 3.0, -6.0) + rng.normal(0.0, 3.0, SHAPE)
    return (1.0 / (1.0 + np.exp(-logit))).astype(np.float32), truth


def test_comparison_counts_usable_pixels(make_image: Callable[..., VisitImage]) -> None:
    probability, truth = probability_and_truth()
    saturated = np.zeros(SHAPE, dtype=bool)
    saturated[:, :20] = True
    box = Box.from_shape(SHAPE)
    result = CompareCosmicRaysTask(config=compare_config()).run(
        make_image(SATURATED=saturated),
        {DETECTION: make_cosmic_ray_mask(probability > 0.5, box)},
        truthMask=make_cosmic_ray_mask(truth, box),
        probabilities={DETECTION: Image(probability, bbox=box)},
    )
    counts = result.probabilityCounts
    assert set(counts["detection"]) == {DETECTION}
    assert set(counts["reference"]) == {"truth"}
    assert counts["n_true"].sum() == truth[:, 20:].sum()
    assert counts["n_false"].sum() == (~truth[:, 20:]).sum()
    (summary,) = probability_summary(probability_curve(counts))
    exact = average_precision_score(truth[:, 20:].ravel(), probability[:, 20:].ravel())
    assert summary["average_precision"] == pytest.approx(exact, abs=5e-3)


def test_missing_probability_leaves_the_rest(make_image: Callable[..., VisitImage]) -> None:
    probability, truth = probability_and_truth()
    box = Box.from_shape(SHAPE)
    result = CompareCosmicRaysTask(config=compare_config()).run(
        make_image(),
        {DETECTION: make_cosmic_ray_mask(probability > 0.5, box)},
        truthMask=make_cosmic_ray_mask(truth, box),
    )
    assert len(result.probabilityCounts) == 0
    assert result.pixelCounts["n"].sum() == truth.size


def test_probability_of_other_pixels_is_refused(make_image: Callable[..., VisitImage]) -> None:
    elsewhere = Image(np.zeros(SHAPE, dtype=np.float32), bbox=Box.factory[1 : SHAPE[0] + 1, : SHAPE[1]])
    with pytest.raises(BoundsError, match=f"probability of {DETECTION}"):
        CompareCosmicRaysTask(config=compare_config()).run(
            make_image(), {}, probabilities={DETECTION: elsewhere}
        )


def test_nothing_changes_without_probabilities() -> None:
    compare = CompareCosmicRaysConfig()
    connections = compare.connections.ConnectionsClass(config=compare)
    assert not any("robability" in name for name in (*connections.inputs, *connections.outputs))
    for level in ("visit", "instrument"):
        gather = GatherComparisonConfig()
        gather.level = level
        connections = gather.connections.ConnectionsClass(config=gather)
        assert not any("robability" in name for name in (*connections.inputs, *connections.outputs))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"truth": None}, "probabilities are compared with truth"),
        ({"probabilities": [DETECTION, DETECTION]}, "probabilities must differ"),
        ({"probabilities": ["cosmic conn"]}, "no name of a detection"),
    ],
)
def test_refused_configurations(values: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, FieldValidationError), match=message):
        compare_config(**values).validate()


def test_names_of_gathered_tables() -> None:
    names = {}
    for level in ("visit", "instrument"):
        config = GatherComparisonConfig()
        config.level, config.doProbability = level, True
        connections = config.connections.ConnectionsClass(config=config)
        names[level] = {connections.detectorProbabilityCounts.name} | {
            getattr(connections, output).name for output in connections.outputs if "robability" in output
        }
    tables = ("counts", "curve", "summary")
    assert names["visit"] == {
        "cr_probability_counts",
        *(f"cr_visit_probability_{table}" for table in tables),
    }
    assert names["instrument"] == {
        "cr_visit_probability_counts",
        *(f"cr_instrument_probability_{table}" for table in tables),
    }


def test_figure_leads_with_precision_and_recall() -> None:
    probability, truth = probability_and_truth()
    masks = ComparedMasks(tuple(truth_bits([2.0])), (truth,), np.ones(SHAPE, dtype=bool))
    counts = probability_counts({"one_science": probability, "two_science": probability**2}, masks)
    curve = probability_curve(counts)
    figure = plot_precision_recall(curve, probability_summary(curve))
    leading, following = figure.axes
    assert (leading.get_xlabel(), leading.get_ylabel()) == ("completeness (recall)", "purity (precision)")
    assert following.get_xscale() == "log"
    line = leading.get_lines()[0]
    of_first = curve[curve["detection"] == "one_science"]
    np.testing.assert_array_equal(line.get_xdata(), of_first["recall"])
    np.testing.assert_array_equal(line.get_ydata(), of_first["precision"])
    dot = next(line for line in leading.get_lines() if line.get_marker() == "o")
    assert dot.get_xdata()[0] == pytest.approx(np.mean(probability[truth] > 0.5))
    assert dot.get_ydata()[0] == pytest.approx(np.mean(truth[probability > 0.5]))
    with pytest.raises(ValueError, match="no curve against 'truth_9sigma'"):
        plot_precision_recall(curve, probability_summary(curve), "truth_9sigma")


def test_nothing_to_draw() -> None:
    nothing = probability_curve(add_probability_counts([]))
    with pytest.raises(NoWorkFound, match="No probability was compared with 'truth'"):
        PlotProbabilityTask(config=PlotProbabilityConfig()).run(nothing, probability_summary(nothing))


@pytest.mark.slow
def test_pipeline_on_a_simulated_visit(tmp_path: Path) -> None:
    """Through `pipetask`: the tables are those of the raw pixels."""
    repo, pipeline = tmp_path / "repo", tmp_path / "Probability.yaml"
    simulate(repo, SimulationConfig(width=200, height=190, seed=4, cr_rate=100.0), visits=1, detectors=2)
    pipeline.write_text(PIPELINE)
    command = [Path(sys.executable).with_name("pipetask"), "run", "-b", repo, "-i", "SimHSC/defaults"]
    command += ["-o", "u/probability", "-p", pipeline, "--register-dataset-types"]
    result = subprocess.run(
        [str(part) for part in command],
        env=os.environ | {"MEAS_COSMICRAYS_DIR": str(product_dir())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    with Butler.from_config(str(repo), collections="u/probability") as butler:
        summary = butler.get("cr_instrument_probability_summary", instrument="SimHSC")
        curve = butler.get("cr_instrument_probability_curve", instrument="SimHSC")
        counts = butler.get("cr_visit_probability_counts", VISIT)
        assert len(butler.query_datasets("cr_plot_precision_recall")) == 1
        scores, labels = [], []
        for detector in (0, 1):
            image = read_image(butler.get("visit_image", VISIT, detector=detector))
            usable = ~(image.not_finite() | image.any_plane(["BAD", "SATURATED", "NO_DATA"]))
            charge = butler.get("cr_truth_charge", VISIT, detector=detector).array
            labels.append(truth_from_charge(charge, image.variance, 2.0)[usable])
            probability = butler.get(f"cr_probability_{DETECTION}", VISIT, detector=detector).array
            mask = read_mask(butler.get(f"cr_mask_{DETECTION}", VISIT, detector=detector))
            np.testing.assert_array_equal((probability > 0.5)[usable], mask[usable])
            scores.append(probability[usable])
    score, label = np.concatenate(scores), np.concatenate(labels)
    (row,) = summary[summary["reference"] == "truth"]
    assert (row["n_true"], row["n_false"], row["n_detectors"]) == (label.sum(), (~label).sum(), 2)
    assert row["average_precision"] == pytest.approx(average_precision_score(label, score), abs=5e-3)
    of_truth = curve[curve["reference"] == "truth"]
    (usual,) = of_truth[of_truth["threshold"] >= 0.5][-1:]
    assert (usual["tp"], usual["fp"]) == (np.sum(label[score > 0.5]), np.sum(~label[score > 0.5]))
    assert set(counts["reference"]) == {"truth", "truth_1sigma", "truth_3sigma", "truth_5sigma"}
    assert isinstance(plot_precision_recall(curve, summary), Figure)
