# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Headline numbers as metrics of the Science Pipelines."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import astropy.units as u
import metrics_double
import numpy as np
import pytest
import stack_standins
from astropy.table import Table
from study_repository import INSTRUMENT, NAMES, RUN, compare, gather, make_masks, make_study

from lsst.daf.butler import Butler, DatasetType, DimensionUniverse
from lsst.meas.cosmicrays.comparison import headline_numbers
from lsst.meas.cosmicrays.tasks import MakeMetricBundleConfig, MakeMetricBundleTask, MetricsNotAvailableError
from lsst.pipe.base import Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

PIPELINES = Path(__file__).parents[1] / "pipelines"
INGREDIENT = f"{PIPELINES}/_ingredients/MetricBundle.yaml"
SEEDS = (10, 11)
FIELD = re.compile("[A-Za-z_][A-Za-z0-9_]*")
"""What Avro, the format of Sasquatch, takes as a name."""


def tables(**options: Any) -> tuple[Table, Table]:
    """Return the confusion and summary tables of a visit of random masks."""
    parts = [({"visit": 1, "detector": n}, compare(seed, **options)) for n, seed in enumerate(SEEDS)]
    gathered = gather("visit", parts)
    return gathered["confusion"], gathered["summary"]


@pytest.fixture(scope="module")
def numbers() -> dict[str, dict[str, u.Quantity]]:
    return headline_numbers(*tables(), ["truth", "morphological_science"])


def test_rates_are_those_of_the_masks(numbers: dict[str, dict[str, u.Quantity]]) -> None:
    masks = [make_masks(seed) for seed in SEEDS]
    truth = np.stack([detector.masks[-1] for detector in masks])
    for bit, name in enumerate(NAMES):
        mask = np.stack([detector.masks[bit] for detector in masks])
        judged = numbers[f"cr_{name}_against_truth"]
        tp, fp, fn = (int(np.sum(part)) for part in (mask & truth, mask & ~truth, ~mask & truth))
        assert [judged[f"pixel_{count}"].to_value("ct") for count in ("tp", "fp", "fn")] == [tp, fp, fn]
        purity, completeness = tp / (tp + fp), tp / (tp + fn)
        assert judged["pixel_purity"].value == pytest.approx(purity)
        assert judged["pixel_completeness"].value == pytest.approx(completeness)
        assert judged["pixel_f1"].value == pytest.approx(2 * purity * completeness / (purity + completeness))
        assert judged["pixel_purity_lo"] <= judged["pixel_purity"] <= judged["pixel_purity_hi"]
        assert judged["n_detectors"] == 2 * u.ct
        found = numbers[f"cr_{name}"]
        assert found["cr_pixels_per_mpix"].to_value("1 / pix") == pytest.approx(mask.mean())
        times = [0.5 + bit + 0.01 * seed for seed in SEEDS]
        assert found["wall_time_median"].to_value("s") == pytest.approx(np.median(times))


def test_every_level_is_its_row_of_the_table(numbers: dict[str, dict[str, u.Quantity]]) -> None:
    confusion, summary = tables()
    for row in confusion:
        key = f"cr_{row['candidate']}_against_{row['reference']}"
        if row["reference"] == row["candidate"] or row["reference"] == "astroscrappy_science":
            continue
        if row["reference"] == "astroscrappy_difference" or row["level"] == "pixel_1px":
            continue
        for name in ("purity", "completeness_lo", "f1_hi", "fp"):
            assert numbers[key][f"{row['level']}_{name}"].value == pytest.approx(row[name], nan_ok=True)
    for row in summary:
        found = numbers[f"cr_{row['detection']}"]
        assert found["flux"].to_value("1 / (cm2 s)") == pytest.approx(row["flux"], nan_ok=True)
        assert found["n_stamps_cr"].to_value("ct") == row["n_stamps_cr"]


def test_names_do_not_depend_on_what_was_found(numbers: dict[str, dict[str, u.Quantity]]) -> None:
    """Charts need the same names of every visit, in letters Avro takes."""
    failed = "astroscrappy_science"
    others = headline_numbers(*tables(failed=failed), ["truth", "morphological_science"])
    assert {key: list(metrics) for key, metrics in others.items()} == {
        key: list(metrics) for key, metrics in numbers.items()
    }
    assert set(numbers) == {
        *(f"cr_{name}" for name in (*NAMES, "truth")),
        *(f"cr_{name}_against_truth" for name in NAMES),
        *(f"cr_{name}_against_morphological_science" for name in NAMES[1:]),
    }
    for key, metrics in numbers.items():
        assert all(FIELD.fullmatch(name) for name in (key, *metrics))
        assert all(u.Unit(str(quantity.unit)) == quantity.unit for quantity in metrics.values())
    assert others[f"cr_{failed}"]["n_failed"] == 2 * u.ct
    assert others[f"cr_{failed}_against_truth"]["n_detectors"] == 0 * u.ct
    assert math.isnan(others[f"cr_{failed}_against_truth"]["pixel_purity"].value)


def test_what_is_unknown_is_no_number() -> None:
    """Never 0, and never the -1 of the tables."""
    confusion, summary = tables()
    summary["n_cosmic_rays"] = -1
    empty = confusion[(confusion["level"] == "pixel") & (confusion["candidate"] == NAMES[0])]
    numbers = headline_numbers(empty, summary, ["truth"], levels=["pixel", "stamp"])
    assert list(numbers) == [*(f"cr_{name}" for name in (*NAMES, "truth")), f"cr_{NAMES[0]}_against_truth"]
    assert math.isnan(numbers[f"cr_{NAMES[0]}"]["n_cosmic_rays"].value)
    judged = numbers[f"cr_{NAMES[0]}_against_truth"]
    assert math.isfinite(judged["pixel_purity"].value)
    assert all(math.isnan(judged[f"stamp_{name}"].value) for name in ("purity", "purity_lo", "tp"))


def test_without_truth_or_any_reference(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    metrics_double.install(monkeypatch)
    confusion, summary = tables(truth=False)
    bundle = MakeMetricBundleTask().run(confusion, summary).metrics
    assert set(bundle) == {
        *(f"cr_{name}" for name in NAMES),
        *(f"cr_{name}_against_morphological_science" for name in NAMES[1:]),
    }
    assert not caplog.records
    task = MakeMetricBundleTask(config=MakeMetricBundleConfig(references=["truth"]))
    assert set(task.run(confusion, summary).metrics) == {f"cr_{name}" for name in NAMES}
    assert "Nothing was compared with truth" in caplog.text


def test_only_where_the_stack_is() -> None:
    with pytest.raises(MetricsNotAvailableError, match="Set up lsst_distrib, or leave this task out"):
        MakeMetricBundleTask().run(*tables())


@pytest.mark.parametrize(("field", "value"), [("levels", ["pixels"]), ("rates", ["recall"])])
def test_bad_configurations(field: str, value: list[str]) -> None:
    with pytest.raises(Exception, match=value[0]):
        MakeMetricBundleConfig(**{field: value})


def test_bundles_in_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written and read again is what the tables say."""
    metrics_double.install(monkeypatch)
    make_study(tmp_path / "repo").close()
    butler = SimplePipelineExecutor.prep_butler(str(tmp_path / "repo"), inputs=[RUN], output="u/metrics")
    pipeline = Pipeline.from_uri(INGREDIENT)
    pipeline.addConfigOverride("makeInstrumentMetricBundle", "datasetIdentifier", "nightly")
    executor = SimplePipelineExecutor.from_pipeline(pipeline, butler=butler)
    assert len(executor.run(register_dataset_types=True)) == 3
    with Butler.from_config(str(tmp_path / "repo"), collections="u/metrics") as results:
        refs = results.query_datasets("cr_visit_metrics") + results.query_datasets("cr_instrument_metrics")
        assert {ref.datasetType.storageClass_name for ref in refs} == {"MetricMeasurementBundle"}
        assert sorted(str(ref.dataId.get("visit")) for ref in refs) == ["1", "2", "None"]
        for ref in refs:
            level = "instrument" if "visit" not in ref.dataId else "visit"
            expected = headline_numbers(
                *(results.get(f"cr_{level}_{name}", ref.dataId) for name in ("confusion", "summary")),
                ["truth", "morphological_science"],
            )
            bundle = results.get(ref)
            assert bundle.keys() == expected.keys()
            for key, metrics in expected.items():
                stored = {str(one.metric_name): one.quantity for one in bundle[key]}
                assert stored.keys() == metrics.keys()
                for name, quantity in metrics.items():
                    assert stored[name].unit == quantity.unit
                    np.testing.assert_equal(stored[name].value, quantity.value)
        bundle = results.get("cr_instrument_metrics", instrument=INSTRUMENT)
    assert (bundle.dataset_identifier, bundle.timestamp_version) == ("nightly", "run_timestamp")


@pytest.mark.parametrize("path", ["Simulation", "Ingested", "HSC/Processed", "LSSTCam/RawPrompt"])
def test_with_the_pipelines(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Merged into a pipeline, the metrics are made of what it gathers."""
    stack_standins.install(monkeypatch)
    pipeline = Pipeline.from_uri(f"{PIPELINES}/{path}.yaml")
    assert not any("MetricBundle" in label for label in pipeline.task_labels)
    pipeline.mergePipeline(Pipeline.from_uri(INGREDIENT))
    graph = pipeline.to_graph()
    universe = DimensionUniverse()
    catalogs = ("gaia_dr3_20230707", "ps1_pv3_3pi_20170110")
    graph.resolve(
        dimensions=universe,
        dataset_types={
            name: DatasetType(name, ["htm7"], "SimpleCatalog", universe=universe) for name in catalogs
        },
    )
    for level in ("visit", "instrument"):
        bundle = graph.dataset_types[f"cr_{level}_metrics"]
        assert bundle.storage_class_name == "MetricMeasurementBundle"
        made, gathered = f"make{level.title()}MetricBundle", f"gather{level.title()}Comparison"
        assert graph.producer_of(f"cr_{level}_metrics").label == made
        assert {graph.producer_of(name).label for name in graph.inputs_of(made)} == {gathered}
