# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Training epoch by epoch, until it no longer helps."""

from __future__ import annotations

__all__ = ["EpochRecord", "TrainingDivergedError", "TrainingResult", "TrainingSettings", "train"]

import dataclasses
import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..documentation import DocumentedError
from ..engines.cosmic_conn.network import find_architecture
from .augmentation import N_ORIENTATIONS, orient
from .checkpoints import read_checkpoint, write_checkpoint
from .evaluation import THRESHOLDS, ThresholdCounts
from .loss import background_weight, median_weighted_loss, scene_weight
from .network import network_logits
from .tiles import TrainingTiles
from .torch_device import import_torch, select_device, torch_threads

_LOG = logging.getLogger(__name__)


class TrainingDivergedError(DocumentedError, RuntimeError):
    """Raised when the loss is no longer a number."""


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How to train."""

    learning_rate: float = 1e-4
    """Step of the Adam optimiser."""

    batch_size: int = 4
    """Tiles between two steps."""

    tiles_per_epoch: int = 200
    """Tiles of an epoch, drawn anew for each; all, if there are fewer."""

    max_epochs: int = 100
    """Most epochs."""

    patience: int = 5
    """Stop when F1 has not risen for so many epochs."""

    clip_norm: float = 1.0
    """Greatest norm of a gradient; longer ones are shortened."""

    background_start: float = 0.1
    """Least weight of pixels that are no cosmic rays, in the first epoch."""

    background_epochs: int = 10
    """Epochs in which that weight rises to 1."""

    augment: bool = True
    """Turn and mirror the tiles at random?"""

    seed: int = 0
    """Seed of what is left to chance."""

    device: str = "cpu"
    """Where to train: ``cpu``, ``cuda`` or ``cuda:N``."""

    threads: int = 1
    """CPU threads; with one, equal seeds give equal results."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "batch_size", "tiles_per_epoch", "patience", "clip_norm", "threads"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")


@dataclasses.dataclass(frozen=True)
class EpochRecord:
    """What is known after an epoch, at its best threshold."""

    epoch: int
    """Number of the epoch; 0 is before training."""

    train_loss: float
    """Mean loss of the tiles trained on; NaN for epoch 0."""

    validation_loss: float
    """Cross entropy of the tiles held out, where every pixel weighs 1."""

    purity: float
    """Of the pixels found in the tiles held out."""

    completeness: float
    """Of the true pixels in them."""

    f1: float
    """F1 in them, the greatest of all thresholds."""

    threshold: float
    """The threshold at which it is."""


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """The network of the best epoch, and how it came about."""

    weights: dict[str, np.ndarray]
    """Weights by name."""

    best: EpochRecord
    """The epoch they are of: epoch 0 if training did not help."""

    history: tuple[EpochRecord, ...]
    """All epochs, from epoch 0."""

    resumed_after: int | None
    """Epoch of the checkpoint that training went on from, if any."""


def train(
    weights: Mapping[str, np.ndarray],
    training: TrainingTiles,
    validation: TrainingTiles,
    settings: TrainingSettings,
    *,
    checkpoint_directory: Path | None = None,
    log: logging.Logger | logging.LoggerAdapter = _LOG,
) -> TrainingResult:
    """Train a network further.

    Parameters
    ----------
    weights : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Weights to start from.
    training, validation : `TrainingTiles`
        Tiles to train on, and tiles held out.
    settings : `TrainingSettings`
        How to train.
    checkpoint_directory : `pathlib.Path`, optional
        Folder of checkpoints.  One is written after every epoch, under a
        name that follows from weights, tiles and settings; if it is there
        already, training goes on from it.  By default none are written.
    log : `logging.Logger`, optional
        Where progress is told.

    Returns
    -------
    result : `TrainingResult`
        The network of the epoch with the greatest F1, and the history.

    Raises
    ------
    CheckpointError
        Raised if there is a checkpoint that cannot be read.
    DeviceError
        Raised if torch does not have the device.
    ModelFileError
        Raised if the weights are of another architecture.
    TorchNotAvailableError
        Raised if torch is not installed.
    TrainingDivergedError
        Raised if the loss is no longer a number.
    ValueError
        Raised if there are no tiles, or no true cosmic rays in them.

    Notes
    -----
    What is left to chance in an epoch follows from the seed and the number
    of the epoch, so a run that was killed and went on has the history of
    one that was not.  The running statistics of networks with batch
    normalisation stay as they are.
    """
    for name, tiles in (("train on", training), ("validate with", validation)):
        if tiles.n_true == 0:
            raise ValueError(f"None of the {len(tiles)} tiles to {name} has a true cosmic ray.")
    torch = import_torch()
    device = select_device(torch, settings.device)
    path = None
    if checkpoint_directory is not None:
        path = (
            checkpoint_directory / f"cosmic_conn_{_fingerprint(weights, training, validation, settings)}.pt"
        )
    with torch_threads(torch, settings.threads):
        return _Training(torch, device, weights, training, validation, settings, log).run(path)


class _Training:
    """The state of a training."""

    def __init__(
        self,
        torch: Any,
        device: Any,
        weights: Mapping[str, np.ndarray],
        training: TrainingTiles,
        validation: TrainingTiles,
        settings: TrainingSettings,
        log: logging.Logger | logging.LoggerAdapter,
    ) -> None:
        self._torch = torch
        self._device = device
        self._training = training
        self._validation = validation
        self._settings = settings
        self._log = log
        self._architecture = find_architecture(weights, "The network to train")
        self._weights = {name: torch.tensor(value, device=device) for name, value in weights.items()}
        learned = [value for name, value in self._weights.items() if ".running_" not in name]
        for value in learned:
            value.requires_grad_()
        self._learned = learned
        self._optimiser = torch.optim.Adam(learned, lr=settings.learning_rate)
        self._history: list[EpochRecord] = []
        self._best_weights = self._snapshot()

    def run(self, path: Path | None) -> TrainingResult:
        """Train until F1 no longer rises."""
        state = None if path is None else read_checkpoint(path, self._device)
        resumed_after = None
        if state is not None:
            self._restore(state)
            resumed_after = self._history[-1].epoch
            self._log.info("Going on after epoch %d, from %s.", resumed_after, path)
        else:
            self._finish_epoch(0, math.nan, path)
        while not self._is_done():
            epoch = self._history[-1].epoch + 1
            self._finish_epoch(epoch, self._train_epoch(epoch), path)
        best = self._best()
        self._log.info(
            "Epoch %d was the best: F1 %.4f at threshold %.2f.", best.epoch, best.f1, best.threshold
        )
        weights = {name: value.cpu().numpy() for name, value in self._best_weights.items()}
        return TrainingResult(weights, best, tuple(self._history), resumed_after)

    def _best(self) -> EpochRecord:
        """Return the first epoch of the greatest F1."""
        return max(self._history, key=lambda record: (record.f1, -record.epoch))

    def _is_done(self) -> bool:
        last = self._history[-1].epoch
        return last >= self._settings.max_epochs or last - self._best().epoch >= self._settings.patience

    def _finish_epoch(self, epoch: int, train_loss: float, path: Path | None) -> None:
        """Validate, tell, and write a checkpoint."""
        record = self._validate(epoch, train_loss)
        self._history.append(record)
        if self._best() is record:
            self._best_weights = self._snapshot()
        self._log.info(
            "Epoch %d: loss %.5f, validation loss %.5f, purity %.4f, completeness %.4f, F1 %.4f at %.2f.",
            *dataclasses.astuple(record),
        )
        if path is not None:
            write_checkpoint(path, self._state())

    def _train_epoch(self, epoch: int) -> float:
        """Go once through the tiles of an epoch; return the mean loss."""
        settings = self._settings
        rng = np.random.default_rng([settings.seed, epoch])
        order = rng.permutation(len(self._training))[: settings.tiles_per_epoch]
        least = background_weight(epoch, settings.background_start, settings.background_epochs)
        losses = []
        started = time.perf_counter()
        for first in range(0, len(order), settings.batch_size):
            batch = order[first : first + settings.batch_size]
            orientations = rng.integers(N_ORIENTATIONS, size=len(batch)) if settings.augment else 0 * batch
            pixels, truth, usable, weight = self._batch(batch, orientations, least)
            loss = median_weighted_loss(self._logits(pixels), truth, usable, weight)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise TrainingDivergedError(
                    f"The loss is {value} in epoch {epoch}: choose a smaller learning rate than "
                    f"{settings.learning_rate}."
                )
            self._optimiser.zero_grad()
            loss.backward()
            self._torch.nn.utils.clip_grad_norm_(self._learned, settings.clip_norm)
            self._optimiser.step()
            losses.append(value * len(batch))
            self._log.debug(
                "Epoch %d, %d of %d tiles: loss %.5f.", epoch, first + len(batch), len(order), value
            )
        self._log.info("Epoch %d: %d tiles in %.0f s.", epoch, len(order), time.perf_counter() - started)
        return float(np.sum(losses) / len(order))

    def _batch(self, batch: np.ndarray, orientations: np.ndarray, least: float) -> tuple[Any, ...]:
        """Return pixels, truth, usable pixels and weights of tiles."""
        columns: list[list[np.ndarray]] = [[], [], [], []]
        for i, orientation in zip(batch, orientations, strict=True):
            parts = (self._training.pixels[i], self._training.truth[i], self._training.usable[i])
            weight = np.maximum(scene_weight(parts[0], parts[1]), np.float32(least))
            for column, part in zip(columns, (*parts, weight), strict=True):
                column.append(orient(part, int(orientation)))
        return tuple(self._tensor(np.stack(column)) for column in columns)

    def _validate(self, epoch: int, train_loss: float) -> EpochRecord:
        """Judge the network by the tiles held out."""
        counts, losses, n_pixels = None, 0.0, 0
        tiles = self._validation
        with self._torch.no_grad():
            for i in range(len(tiles)):
                usable = tiles.usable[i]
                n_usable = int(np.count_nonzero(usable))
                if n_usable == 0:
                    continue
                logits = self._logits(self._tensor(tiles.pixels[i : i + 1]))
                truth, counted = (self._tensor(array[np.newaxis]) for array in (tiles.truth[i], usable))
                losses += n_usable * float(median_weighted_loss(logits, truth, counted, 1.0))
                n_pixels += n_usable
                probability = self._torch.sigmoid(logits).cpu().numpy()[0, 0]
                found = ThresholdCounts.count(probability[usable], tiles.truth[i][usable])
                counts = found if counts is None else counts + found
        assert counts is not None, "tiles with true cosmic rays have usable pixels"
        rates = counts.rates(counts.best())
        return EpochRecord(epoch=epoch, train_loss=train_loss, validation_loss=losses / n_pixels, **rates)

    def _logits(self, pixels: Any) -> Any:
        return network_logits(self._weights, self._architecture, pixels)

    def _tensor(self, stack: np.ndarray) -> Any:
        """Return tiles as a tensor (n, 1, size, size)."""
        array = np.ascontiguousarray(stack[:, np.newaxis], dtype=np.float32)
        return self._torch.from_numpy(array).to(self._device)

    def _snapshot(self) -> dict[str, Any]:
        return {name: value.detach().clone() for name, value in self._weights.items()}

    def _state(self) -> dict[str, Any]:
        """Return all that must be known to go on."""
        return {
            "weights": self._snapshot(),
            "best_weights": self._best_weights,
            "optimiser": self._optimiser.state_dict(),
            "history": [dataclasses.asdict(record) for record in self._history],
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        with self._torch.no_grad():
            for name, value in state["weights"].items():
                self._weights[name].copy_(value)
        self._best_weights = dict(state["best_weights"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._history = [EpochRecord(**record) for record in state["history"]]


def _fingerprint(
    weights: Mapping[str, np.ndarray],
    training: TrainingTiles,
    validation: TrainingTiles,
    settings: TrainingSettings,
) -> str:
    """Return what tells one training from another.

    How long it lasts and where it runs do not.
    """
    telling = dataclasses.asdict(settings)
    for name in ("max_epochs", "patience", "device", "threads"):
        del telling[name]
    sha = hashlib.sha256(json.dumps([telling, len(THRESHOLDS)], sort_keys=True).encode())
    for name in sorted(weights):
        sha.update(name.encode())
        sha.update(np.ascontiguousarray(weights[name]).data)
    for tiles in (training, validation):
        sha.update(tiles.digest().encode())
    return sha.hexdigest()[:16]
