# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Training of Cosmic-CoNN: tiles, loss, judgement, and the loop itself."""

from __future__ import annotations

import dataclasses
import io
import logging
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from lsst.meas.cosmicrays.engines.cosmic_conn import load_model
from lsst.meas.cosmicrays.engines.cosmic_conn.network import find_architecture, read_onnx_weights
from lsst.meas.cosmicrays.training import (
    THRESHOLDS,
    CheckpointError,
    DeviceError,
    EpochRecord,
    ThresholdCounts,
    TileError,
    TorchNotAvailableError,
    TrainedModel,
    TrainedModelError,
    TrainingDivergedError,
    TrainingResult,
    TrainingSettings,
    TrainingTiles,
    background_weight,
    import_torch,
    initial_weights,
    make_history_table,
    median_weighted_loss,
    network_logits,
    orient,
    pick_tiles,
    read_checkpoint,
    scene_weight,
    select_device,
    to_onnx,
    train,
)

NO_TORCH = "needs torch (extra 'torch'), with which networks are trained"
SETTINGS = TrainingSettings(learning_rate=2e-2, tiles_per_epoch=8, max_epochs=4, patience=9, seed=3)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason=NO_TORCH)


def draw_image(seed: int, shape: tuple[int, int] = (96, 112)) -> tuple[np.ndarray, np.ndarray]:
    """Draw noise with short tracks; return it and their pixels."""
    rng = np.random.default_rng(seed)
    image = rng.normal(200.0, 10.0, shape)
    truth = np.zeros(shape, bool)
    for y, x in rng.integers(5, 80, (8, 2)):
        truth[y, x : x + 4] = True
    return (image + 300.0 * truth).astype(np.float32), truth


def cut(
    seed: int, n_tiles: int = 8, *, size: int = 32, fraction: float = 0.75, **masks: np.ndarray
) -> TrainingTiles:
    image, truth = draw_image(seed)
    nothing = np.zeros(truth.shape, bool)
    return pick_tiles(
        image,
        truth,
        usable=masks.get("usable", ~nothing),
        filled=masks.get("filled", nothing),
        size=size,
        n_tiles=n_tiles,
        cosmic_ray_fraction=fraction,
        rng=np.random.default_rng(seed),
    )


def small_network() -> dict[str, np.ndarray]:
    return initial_weights("random", hidden=8, seed=1)


def train_small(settings: TrainingSettings = SETTINGS, **options: Any) -> TrainingResult:
    return train(small_network(), cut(1), cut(2, fraction=0.0), settings, **options)


def assert_same(first: TrainingResult, second: TrainingResult) -> None:
    for one, other in zip(first.history, second.history, strict=True):
        np.testing.assert_array_equal(dataclasses.astuple(one), dataclasses.astuple(other))
    assert first.best == second.best or (first.best.epoch == second.best.epoch == 0)
    for name, value in first.weights.items():
        np.testing.assert_array_equal(value, second.weights[name])


def test_orientations_by_brute_force() -> None:
    tile = np.arange(12.0).reshape(3, 4)
    seen = {orient(tile, k).tobytes() + bytes(orient(tile, k).shape) for k in range(8)}
    assert len(seen) == 8
    for k in range(4):
        turned = tile
        for _ in range(k):
            turned = np.array([[row[-1 - i] for row in turned] for i in range(turned.shape[1])])
        np.testing.assert_array_equal(orient(tile, k), turned)
        np.testing.assert_array_equal(orient(tile, 4 + k), [row[::-1] for row in turned])
    with pytest.raises(ValueError, match="from 0 to 7"):
        orient(tile, 8)


def find_corner(image: np.ndarray, tile: np.ndarray) -> tuple[int, int]:
    """Look for a tile, whose sky was subtracted, in its image."""
    size = len(tile)
    for y in range(image.shape[0] - size + 1):
        for x in range(image.shape[1] - size + 1):
            part = image[y : y + size, x : x + size]
            if abs((part[0, 0] - part[1, 5]) - (tile[0, 0] - tile[1, 5])) < 1e-3 and np.allclose(
                part - np.median(part), tile, atol=1e-3
            ):
                return y, x
    raise AssertionError("the tile is nowhere in the image")


def test_tiles_are_parts_of_the_image() -> None:
    image, truth = draw_image(7)
    tiles = cut(7, 5)
    assert (len(tiles), tiles.size, tiles.pixels.dtype) == (5, 32, np.float32)
    for pixels, true_pixels in zip(tiles.pixels, tiles.truth, strict=True):
        y, x = find_corner(image, pixels)
        np.testing.assert_array_equal(true_pixels, truth[y : y + 32, x : x + 32])
        assert np.median(pixels) == pytest.approx(0.0, abs=1e-3)


def test_tiles_are_put_on_cosmic_rays() -> None:
    truth = np.zeros((96, 112), bool)
    truth[0, 0] = truth[95, 111] = truth[50, 10:60] = True
    options = {"usable": ~np.zeros_like(truth), "filled": np.zeros_like(truth), "size": 16, "n_tiles": 300}
    rng = np.random.default_rng(0)
    image = rng.normal(size=truth.shape)
    on = pick_tiles(image, truth, cosmic_ray_fraction=1.0, rng=rng, **options)
    assert on.truth.any(axis=(1, 2)).all()
    # A single pixel is as probable as a track of fifty.
    in_corners = on.truth[:, 0, 0] | on.truth[:, -1, -1]
    assert 150 < in_corners.sum() < 250
    anywhere = pick_tiles(image, truth, cosmic_ray_fraction=0.0, rng=rng, **options)
    assert anywhere.truth.any(axis=(1, 2)).mean() < 0.5
    none = pick_tiles(image, np.zeros_like(truth), cosmic_ray_fraction=1.0, rng=rng, **options)
    assert (len(none), none.n_true) == (300, 0)


def test_bad_pixels_of_tiles() -> None:
    image, truth = draw_image(7)
    column = np.zeros(image.shape, bool)
    column[:, np.argwhere(truth)[0, 1]] = True
    tiles = cut(7, 60, fraction=0.0, usable=~column, filled=column)
    assert (~tiles.usable).any()
    clean = cut(7, 60, fraction=0.0)
    difference = np.abs(tiles.pixels - clean.pixels)
    assert difference[~tiles.usable].max() > 5.0
    assert difference[tiles.usable].max() < 2.0
    assert tiles.n_true == np.count_nonzero(tiles.truth & tiles.usable) < tiles.truth.sum()
    everything = np.ones(image.shape, bool)
    assert not cut(7, 2, filled=everything).pixels.any()
    image[3] = np.nan
    found = pick_tiles(
        image,
        ~everything,
        usable=everything,
        filled=~everything,
        size=96,
        n_tiles=1,
        cosmic_ray_fraction=0.0,
        rng=np.random.default_rng(0),
    )
    assert np.isfinite(found.pixels).all()


@pytest.mark.parametrize(("size", "message"), [(20, "multiple of 16"), (112, "do not fit")])
def test_tiles_of_no_use(size: int, message: str) -> None:
    with pytest.raises(TileError, match=message):
        cut(1, size=size)


def test_joined_tiles_have_a_fingerprint() -> None:
    one, other = cut(1, 3), cut(2, 2)
    joined = TrainingTiles.join([one, other], 32)
    assert len(joined) == 5
    np.testing.assert_array_equal(joined.truth[3:], other.truth)
    assert joined.digest() == TrainingTiles.join([one, other], 32).digest()
    assert len({joined.digest(), TrainingTiles.join([other, one], 32).digest(), one.digest()}) == 3
    assert len(TrainingTiles.join([], 32)) == 0


def test_counts_by_brute_force() -> None:
    rng = np.random.default_rng(3)
    probability = rng.random((20, 20)).astype(np.float32)
    probability[:5] = rng.choice(THRESHOLDS, (5, 20))
    truth = rng.random((20, 20)) < 0.2 + 0.5 * probability
    counts = ThresholdCounts.count(probability, truth)
    for i, threshold in enumerate(THRESHOLDS):
        tp = fp = fn = 0
        for p, is_true in zip(probability.flat, truth.flat, strict=True):
            tp += bool(is_true and p > threshold)
            fp += bool(not is_true and p > threshold)
            fn += bool(is_true and p <= threshold)
        assert (counts.tp[i], counts.fp[i], counts.fn[i]) == (tp, fp, fn)
        rates = counts.rates(i)
        assert rates["threshold"] == pytest.approx(threshold)
        assert rates["completeness"] == tp / (tp + fn)
        if tp + fp > 0:
            assert rates["purity"] == tp / (tp + fp)
        assert rates["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    best = counts.best()
    assert counts.f1()[best] == np.nanmax(counts.f1())
    halves = ThresholdCounts.count(probability[:9], truth[:9]) + ThresholdCounts.count(
        probability[9:], truth[9:]
    )
    np.testing.assert_array_equal(halves.tp, counts.tp)


def test_nothing_to_judge_by() -> None:
    counts = ThresholdCounts.count(np.zeros(9, np.float32), np.zeros(9, bool))
    assert math.isnan(counts.rates(50)["f1"])
    assert math.isnan(counts.rates(50)["purity"])
    with pytest.raises(ValueError, match="no true cosmic rays"):
        counts.best()


def test_weight_is_on_stars() -> None:
    y, x = np.mgrid[:64, :64]
    rng = np.random.default_rng(1)
    star = 400.0 * np.exp(-((x - 20) ** 2 + (y - 20) ** 2) / 18.0)
    truth = np.zeros((64, 64), bool)
    truth[45, 30:50] = True
    pixels = (rng.normal(0.0, 5.0, (64, 64)) + star + 500.0 * truth).astype(np.float32)
    weight = scene_weight(pixels, truth)
    assert weight.max() == 1.0
    assert weight.min() >= 0.0
    assert weight[18:23, 18:23].min() > 0.9
    assert weight[truth].max() < 0.5
    assert np.median(weight) < 0.2
    np.testing.assert_array_equal(scene_weight(-pixels, truth) > 0.9, weight > 0.9)
    assert not scene_weight(np.zeros((16, 16), np.float32), np.zeros((16, 16), bool)).any()


def test_background_comes_in_slowly() -> None:
    assert [background_weight(epoch, 0.2, 4) for epoch in (1, 2, 3, 4, 5, 9)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    )
    assert background_weight(1, 0.2, 0) == 1.0


def test_exported_network_keeps_its_weights() -> None:
    for weights in (small_network(), initial_weights("HST_ACS_WFC")):
        stored = read_onnx_weights(to_onnx(weights), "the export")
        for name, value in weights.items():
            np.testing.assert_array_equal(stored[name], value)
    assert any(np.any(value != small_network()[name]) for name, value in _other_small_network().items())


def _other_small_network() -> dict[str, np.ndarray]:
    return initial_weights("random", hidden=8, seed=2)


def make_model() -> TrainedModel:
    return TrainedModel(
        onnx=to_onnx(small_network()),
        threshold=0.37,
        normalisation={"unit": "electron", "sky": "median of the tile", "tile": 128},
        history=[{"epoch": 0, "train_loss": math.nan, "f1": 0.5}],
        provenance={"training_visits": [1, 2]},
    )


def test_model_survives_as_a_table(tmp_path: Path) -> None:
    model = make_model()
    table = model.to_table()
    assert (table["onnx"].dtype, table["onnx"].shape) == (np.uint8, (1, len(model.onnx)))
    back = TrainedModel.from_table(table)
    assert (back.onnx, back.threshold, back.tile) == (model.onnx, 0.37, 128)
    assert back.history == [{"epoch": 0, "train_loss": None, "f1": 0.5}]
    assert back.provenance == {"training_visits": [1, 2]}
    assert back.digest == model.digest != dataclasses.replace(model, threshold=0.38).digest
    image, _ = draw_image(1)
    np.testing.assert_array_equal(
        load_model(back.onnx, threads=1).predict(image), load_model(model.onnx, threads=1).predict(image)
    )


def spoil(table: Table, name: str, value: Any) -> Table:
    table[name] = [value]
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (Table({"onnx": [[1]]}), "no column threshold"),
        (make_model().to_table()[:0], "one row, but this one has 0"),
        (spoil(make_model().to_table(), "threshold", 1.5), "threshold of the trained model is 1.5"),
        (spoil(make_model().to_table(), "history", "{"), "no JSON"),
        (spoil(make_model().to_table(), "normalisation", "{}"), "lacks tile, unit"),
    ],
)
def test_tables_that_are_no_models(table: Table, message: str) -> None:
    with pytest.raises(TrainedModelError, match=message):
        TrainedModel.from_table(table)


def test_unit_of_a_model() -> None:
    make_model().check_unit("electron")
    with pytest.raises(TrainedModelError, match="set unit to 'electron'"):
        make_model().check_unit("native")


def test_history_table() -> None:
    records = [
        EpochRecord(0, math.nan, 0.2, 0.9, 0.8, 0.85, 0.4),
        EpochRecord(1, 0.1, 0.1, 1.0, 0.9, 0.95, 0.5),
    ]
    table = make_history_table(records)
    assert table.colnames == [field.name for field in dataclasses.fields(EpochRecord)]
    assert table["f1"].tolist() == [0.85, 0.95]


def test_training_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(TorchNotAvailableError, match="extra 'torch'"):
        train_small()


@pytest.mark.parametrize("name", ["batch_size", "patience", "learning_rate", "threads"])
def test_settings_of_no_use(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        TrainingSettings(**{name: 0})


def test_tiles_without_cosmic_rays() -> None:
    none = dataclasses.replace(cut(2), truth=np.zeros((8, 32, 32), bool))
    for pair, what in (((none, cut(1)), "train on"), ((cut(1), none), "validate with")):
        with pytest.raises(ValueError, match=f"None of the 8 tiles to {what}"):
            train(small_network(), *pair, SETTINGS)


@pytest.mark.parametrize("name", ["ground_imaging", "HST_ACS_WFC", "random"])
def test_torch_and_onnx_agree(torch: Any, name: str) -> None:
    weights = initial_weights(name, hidden=8)
    image, _ = draw_image(4, (96, 96))
    pixels = (image - np.median(image)).astype(np.float32)
    tensors = {key: torch.tensor(value) for key, value in weights.items()}
    logits = network_logits(tensors, find_architecture(weights, name), torch.tensor(pixels)[None, None])
    expected = load_model(to_onnx(weights), threads=1).run_tile(pixels)
    np.testing.assert_allclose(torch.sigmoid(logits).numpy()[0, 0], expected, atol=1e-4, rtol=0)


def test_loss_by_brute_force(torch: Any) -> None:
    rng = np.random.default_rng(0)
    shape = (2, 1, 6, 7)
    logits, weight = rng.normal(0.0, 3.0, shape), rng.random(shape)
    truth, usable = rng.random(shape) < 0.3, rng.random(shape) < 0.8
    total, n = 0.0, 0
    for z, w, y, counted in zip(logits.flat, weight.flat, truth.flat, usable.flat, strict=True):
        p = 1.0 / (1.0 + math.exp(-z))
        if counted:
            total -= math.log(p) if y else w * math.log(1.0 - p)
            n += 1
    tensors = (torch.tensor(array, dtype=torch.float64) for array in (logits, truth, usable, weight))
    assert float(median_weighted_loss(*tensors)) == pytest.approx(total / n, rel=1e-9)


def test_training_helps_and_repeats(torch: Any) -> None:
    first, second = train_small(), train_small()
    assert_same(first, second)
    assert [record.epoch for record in first.history] == [0, 1, 2, 3, 4]
    assert math.isnan(first.history[0].train_loss)
    assert first.best.f1 > first.history[0].f1 + 0.2
    assert first.best.f1 == max(record.f1 for record in first.history)
    assert first.history[-1].validation_loss < first.history[0].validation_loss
    other = train_small(dataclasses.replace(SETTINGS, seed=4))
    assert [record.train_loss for record in other.history[1:]] != [
        record.train_loss for record in first.history[1:]
    ]


def test_best_epoch_is_the_one_that_is_returned(torch: Any) -> None:
    result = train_small()
    model = load_model(to_onnx(result.weights), threads=1)
    held_out = cut(2, fraction=0.0)
    counts = [
        ThresholdCounts.count(model.run_tile(pixels), truth)
        for pixels, truth in zip(held_out.pixels, held_out.truth, strict=True)
    ]
    total = sum(counts[1:], counts[0])
    assert total.rates(total.best())["f1"] == pytest.approx(result.best.f1, abs=1e-6)


def test_stops_when_f1_no_longer_rises(torch: Any) -> None:
    # So small a step changes nothing.
    settings = dataclasses.replace(SETTINGS, learning_rate=1e-12, max_epochs=50, patience=2)
    result = train_small(settings)
    assert [record.epoch for record in result.history] == [0, 1, 2]
    assert result.best.epoch == 0
    np.testing.assert_array_equal(
        result.weights["inc.conv.conv.0.weight"], small_network()["inc.conv.conv.0.weight"]
    )


KILLED = """
import logging, os, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
import test_training


class Kill(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith("Epoch 3, "):
            os.kill(os.getpid(), signal.SIGKILL)


log = logging.getLogger("killed")
log.setLevel(logging.DEBUG)
log.addHandler(Kill())
test_training.train_small(checkpoint_directory=Path(sys.argv[1]), log=log)
"""


def test_killed_run_goes_on(torch: Any, tmp_path: Path) -> None:
    folder = str(Path(__file__).parent)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), folder], capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (path,) = tmp_path.iterdir()
    resumed = train_small(checkpoint_directory=tmp_path)
    assert resumed.resumed_after == 2
    uninterrupted = train_small()
    assert uninterrupted.resumed_after is None
    assert_same(resumed, uninterrupted)
    # What was finished is not done again, and may be continued.
    again = train_small(checkpoint_directory=tmp_path)
    assert again.resumed_after == 4
    longer = train_small(dataclasses.replace(SETTINGS, max_epochs=5), checkpoint_directory=tmp_path)
    assert [record.epoch for record in longer.history] == [0, 1, 2, 3, 4, 5]
    # Another training has another checkpoint.
    train_small(dataclasses.replace(SETTINGS, seed=9, max_epochs=1), checkpoint_directory=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert path.is_file()


class Danger:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self._path),)


def test_damaged_checkpoints(torch: Any, tmp_path: Path) -> None:
    train_small(dataclasses.replace(SETTINGS, max_epochs=1), checkpoint_directory=tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    buffer = io.BytesIO()
    torch.save([1, 2], buffer)
    dangerous = io.BytesIO()
    torch.save({"weights": Danger(tmp_path / "made")}, dangerous)
    for bad in (content[:1000], b"", buffer.getvalue(), dangerous.getvalue(), b"nothing"):
        path.write_bytes(bad)
        with pytest.raises(CheckpointError, match="delete it to start over"):
            train_small(dataclasses.replace(SETTINGS, max_epochs=1), checkpoint_directory=tmp_path)
    assert not (tmp_path / "made").exists()
    assert read_checkpoint(tmp_path / "none.pt", torch.device("cpu")) is None


def test_divergence_is_named(torch: Any) -> None:
    with pytest.raises(TrainingDivergedError, match="smaller learning rate"):
        train_small(dataclasses.replace(SETTINGS, learning_rate=1e30))


def test_device_is_what_was_asked_for(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert select_device(import_torch(), "cpu").type == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for device, message in (("cuda", "0 GPUs"), ("meta", "not on 'meta'"), ("gpu", "no device 'gpu'")):
        with pytest.raises(DeviceError, match=message):
            train_small(dataclasses.replace(SETTINGS, device=device))


def test_progress_is_told(torch: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        result = train_small(dataclasses.replace(SETTINGS, max_epochs=1))
    assert f"F1 {result.history[1].f1:.4f}" in caplog.text
    assert f"loss {result.history[1].train_loss:.5f}" in caplog.text
