# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Train Cosmic-CoNN further, on images whose cosmic rays are known."""

from __future__ import annotations

__all__ = [
    "TrainCosmicConnConfig",
    "TrainCosmicConnConnections",
    "TrainCosmicConnTask",
    "TrainingDetector",
]

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lsst.pex.config import ConfigField, Field, ListField
from lsst.pipe.base import (
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from lsst.pipe.base.connectionTypes import Input

from ..images import WorkingImage, WorkingImageConfig, read_image
from .bounds import check_bounds
from .connections import DETECTOR, INSTRUMENT, table_output, truth_charge_input, truth_mask_input
from .truth import read_truth, truth_field, truth_min_sigma_field, unusable_planes_field, usable_pixels
from .visits import choose_visits, complete_detectors, handles_by_data_id

if TYPE_CHECKING:
    from ..training import TrainingSettings, TrainingTiles

TRUTH_CONNECTIONS = {"charge": "truthCharge", "mask": "truthMask", "detection": "truthMask"}


class TrainCosmicConnConnections(
    PipelineTaskConnections, dimensions=INSTRUMENT, defaultTemplates={"variant": ""}
):
    """Connections of `TrainCosmicConnTask`."""

    scienceImage = Input(
        doc="Science images, from which the truth and the tiles are taken.",
        name="visit_image",
        storageClass="VisitImage",
        dimensions=DETECTOR,
        multiple=True,
        deferLoad=True,
    )
    differenceImage = Input(
        doc="Difference images, from which tiles are taken as well.",
        name="difference_image",
        storageClass="DifferenceImage",
        dimensions=DETECTOR,
        multiple=True,
        deferLoad=True,
        minimum=0,
    )
    truthCharge = truth_charge_input(multiple=True, deferLoad=True)
    truthMask = truth_mask_input(multiple=True, deferLoad=True)
    model = table_output(
        "cr_cosmic_conn_model{variant}",
        "Trained network: one row, with ONNX, recommended threshold, normalisation, history, provenance.",
        INSTRUMENT,
    )
    history = table_output(
        "cr_cosmic_conn_history{variant}",
        "Loss, purity, completeness and F1 after each epoch.",
        INSTRUMENT,
    )

    def __init__(self, *, config: TrainCosmicConnConfig):
        super().__init__(config=config)
        self.scienceImage = dataclasses.replace(self.scienceImage, storageClass=config.imageStorageClass)
        self.differenceImage = dataclasses.replace(
            self.differenceImage, storageClass=config.differenceImageStorageClass
        )
        if not config.doDifference:
            del self.differenceImage
        if config.truth == "charge":
            del self.truthMask
        else:
            del self.truthCharge
        if config.truth == "detection":
            self.truthMask = dataclasses.replace(self.truthMask, name=f"cr_mask_{config.truthDetection}")


class TrainCosmicConnConfig(PipelineTaskConfig, pipelineConnections=TrainCosmicConnConnections):
    """Configuration of `TrainCosmicConnTask`."""

    truth = truth_field(
        needed=True,
        others={"detection": "What a detection found, a consensus for instance (truthDetection)."},
    )
    truthMinSigma = truth_min_sigma_field()
    truthDetection = Field[str](
        doc="Detection to learn from, {finder}_{kind}{variant}, if truth is 'detection'.",
        default="consensus_science",
    )
    doDifference = Field[bool](
        doc="Train on difference images too?  Their truth is that of the science image.", default=False
    )
    validationVisits = ListField[int](
        doc="Visits held out to judge by; every third visit (the last, if there are two), if empty.",
        default=[],
    )
    initialModel = Field[str](
        doc="What to start from: 'ground_imaging', 'NRES' or 'HST_ACS_WFC', the path of a .pth, .pth.tar or "
        ".onnx file, or 'random'.",
        default="ground_imaging",
    )
    hiddenChannels = Field[int](
        doc="Channels of the highest level of a network that starts from 'random': a multiple of 8.",
        default=32,
        check=lambda value: value >= 8 and value % 8 == 0,
    )
    tileSize = Field[int](
        doc="Side of the tiles (pixels), over which the network takes its statistics: a multiple of 16.",
        default=256,
        check=lambda value: value >= 64 and value % 16 == 0,
    )
    tilesPerImage = Field[int](
        doc="Tiles from each image to train on.", default=16, check=lambda value: value >= 1
    )
    validationTilesPerImage = Field[int](
        doc="Tiles from each image to judge by, all of them at random places.",
        default=8,
        check=lambda value: value >= 1,
    )
    maxTiles = Field[int](
        doc="Most tiles to keep in memory (6 bytes a pixel), half of them to judge by.  Where there are many "
        "images, fewer tiles are cut out of each.",
        default=4000,
        check=lambda value: value >= 2,
    )
    cosmicRayFraction = Field[float](
        doc="Part of the tiles to train on that are put on a cosmic ray; the others fall anywhere.",
        default=0.75,
        check=lambda value: 0.0 <= value <= 1.0,
    )
    learningRate = Field[float](
        doc="Step of the Adam optimiser.", default=1e-4, check=lambda value: value > 0.0
    )
    batchSize = Field[int](doc="Tiles between two steps.", default=4, check=lambda value: value >= 1)
    tilesPerEpoch = Field[int](
        doc="Tiles of an epoch, drawn anew for each.", default=200, check=lambda value: value >= 1
    )
    maxEpochs = Field[int](doc="Most epochs.", default=100, check=lambda value: value >= 0)
    patience = Field[int](
        doc="Stop when F1 of the visits held out has not risen for so many epochs.",
        default=5,
        check=lambda value: value >= 1,
    )
    clipNorm = Field[float](
        doc="Greatest norm of a gradient; longer ones are shortened.",
        default=1.0,
        check=lambda value: value > 0.0,
    )
    backgroundStart = Field[float](
        doc="Least weight, in the first epoch, of pixels that are no cosmic rays.  Near stars they have "
        "more.  The published networks were trained from nothing with 0.",
        default=0.1,
        check=lambda value: 0.0 <= value <= 1.0,
    )
    backgroundEpochs = Field[int](
        doc="Epochs in which that weight rises to 1.  The published networks were trained with 100.",
        default=10,
        check=lambda value: value >= 0,
    )
    doAugment = Field[bool](doc="Turn and mirror the tiles at random?", default=True)
    seed = Field[int](doc="Seed of all that is left to chance.", default=2022, check=lambda value: value >= 0)
    device = Field[str](
        doc="Where to train: 'cpu', 'cuda' or 'cuda:N'.  It is never chosen silently.", default="cpu"
    )
    threads = Field[int](
        doc="CPU threads.  With one, equal seeds give equal results.",
        default=1,
        check=lambda value: value >= 1,
    )
    checkpointDirectory = Field[str](
        doc="Folder of checkpoints, from which a run that was killed goes on when it is started again.  None "
        "are written, and a killed run starts over, if not set.",
        default=None,
        optional=True,
    )
    unusablePlanes = unusable_planes_field()
    fillPlanes = ListField[str](
        doc="Mask planes whose pixels are replaced by what surrounds them, as the finder does.  Every one "
        "must exist.",
        default=["BAD", "NO_DATA"],
    )
    imageStorageClass = Field[str](doc="Storage class of the science image.", default="VisitImage")
    differenceImageStorageClass = Field[str](
        doc="Storage class of the difference image.", default="DifferenceImage"
    )
    reading = ConfigField[WorkingImageConfig](doc="What to assume where an image does not say.")

    def setDefaults(self) -> None:
        super().setDefaults()
        # Nothing here depends on the PSF: an image without one will do.
        self.reading.psfFwhm = 4.0

    def settings(self) -> TrainingSettings:
        """Return how to train.

        Returns
        -------
        settings : `TrainingSettings`
            The settings.
        """
        from ..training import TrainingSettings

        return TrainingSettings(
            learning_rate=self.learningRate,
            batch_size=self.batchSize,
            tiles_per_epoch=self.tilesPerEpoch,
            max_epochs=self.maxEpochs,
            patience=self.patience,
            clip_norm=self.clipNorm,
            background_start=self.backgroundStart,
            background_epochs=self.backgroundEpochs,
            augment=self.doAugment,
            seed=self.seed,
            device=self.device,
            threads=self.threads,
        )


@dataclasses.dataclass(frozen=True)
class TrainingDetector:
    """The images and the truth of one detector."""

    images: Sequence[WorkingImage]
    """Science image, and difference image where there is one."""

    truth: np.ndarray
    """True cosmic rays, bool (ny, nx)."""

    usable: np.ndarray
    """Pixels that count, bool (ny, nx)."""


class TrainCosmicConnTask(PipelineTask):
    """Train Cosmic-CoNN on some visits, and judge it by others.

    Detectors are read one at a time, and only tiles of them are kept, so
    that the memory does not go with their number.  Training needs torch;
    running what was trained does not. There is no work unless two visits
    have truth.
    """

    ConfigClass: ClassVar[type[TrainCosmicConnConfig]] = TrainCosmicConnConfig
    _DefaultName: ClassVar[str] = "trainCosmicConn"
    config: TrainCosmicConnConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        handles = handles_by_data_id(butlerQC, inputRefs)
        needed = ("scienceImage", TRUTH_CONNECTIONS[self.config.truth])
        complete = complete_detectors(handles, needed, f"an image and truth ({self.config.truth})")

        def read(data_id: Any) -> TrainingDetector:
            parts = {name: refs[data_id].get() for name, refs in handles.items() if data_id in refs}
            return self.assemble(parts)

        readers = [(int(data_id["visit"]), lambda data_id=data_id: read(data_id)) for data_id in complete]
        butlerQC.put(self.run(readers), outputRefs)

    def run(self, detectors: Sequence[tuple[int, Callable[[], TrainingDetector]]]) -> Struct:
        """Cut tiles out of the detectors, and train on them.

        Parameters
        ----------
        detectors : `~collections.abc.Sequence`
            For each detector its visit, and a function that reads it.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``model`` and ``history`` (`astropy.table.Table`).

        Raises
        ------
        TileError
            Raised if tiles are larger than an image.
        TorchNotAvailableError
            Raised if torch is not installed.
        ValueError
            Raised if ``validationVisits`` leaves nothing to train on or to
            judge by, or there is no true cosmic ray.
        """
        from ..training import TrainedModel, initial_weights, make_history_table, to_onnx, train

        visits = {visit for visit, _ in detectors}
        held_out = self._split(visits)
        training, validation = (
            self._cut([read for visit, read in detectors if (visit in held_out) == is_held_out], is_held_out)
            for is_held_out in (False, True)
        )
        self.log.info(
            "%d tiles of %d visits to train on, %d tiles of %d visits to judge by.",
            len(training),
            len(visits - held_out),
            len(validation),
            len(held_out),
        )
        config = self.config
        weights = initial_weights(config.initialModel, hidden=config.hiddenChannels, seed=config.seed)
        directory = None if config.checkpointDirectory is None else Path(config.checkpointDirectory)
        settings = config.settings()
        result = train(weights, training, validation, settings, checkpoint_directory=directory, log=self.log)
        model = TrainedModel(
            onnx=to_onnx(result.weights),
            threshold=result.best.threshold,
            normalisation={"unit": "electron", "sky": "median of the tile", "tile": config.tileSize},
            history=[dataclasses.asdict(record) for record in result.history],
            provenance={
                "initial_model": config.initialModel,
                "truth": config.truth,
                "truth_min_sigma": config.truthMinSigma if config.truth == "charge" else None,
                "truth_detection": config.truthDetection if config.truth == "detection" else None,
                "training_visits": sorted(visits - held_out),
                "validation_visits": sorted(held_out),
                "n_training_tiles": len(training),
                "n_validation_tiles": len(validation),
                "with_difference_images": config.doDifference,
                "best_epoch": result.best.epoch,
                "settings": dataclasses.asdict(settings),
            },
        )
        return Struct(model=model.to_table(), history=make_history_table(result.history))

    def assemble(self, parts: Mapping[str, Any]) -> TrainingDetector:
        """Read the images and the truth of a detector.

        Parameters
        ----------
        parts : `~collections.abc.Mapping` [`str`, `object`]
            What the Butler returned, by connection; ``differenceImage`` may
            be missing.

        Returns
        -------
        detector : `TrainingDetector`
            The detector.

        Raises
        ------
        ImageReadError
            Raised if an image lacks what must be known of it.
        """
        science = read_image(parts["scienceImage"], self.config.reading)
        check_bounds(science.bbox, {name: part for name, part in parts.items() if name != "scienceImage"})
        truth = read_truth(
            parts.get("truthCharge"), parts.get("truthMask"), science, self.config.truthMinSigma
        )
        assert truth is not None, "runQuantum leaves out detectors without truth"
        usable = usable_pixels(science, self.config.unusablePlanes)
        images = [science]
        if "differenceImage" in parts:
            images.append(read_image(parts["differenceImage"], self.config.reading))
        return TrainingDetector(images, truth, usable)

    def _split(self, visits: set[int]) -> set[int]:
        """Return the visits to hold out."""
        in_order = sorted(visits)
        by_default = in_order[2::3] or in_order[-1:]
        return choose_visits(
            visits,
            self.config.validationVisits,
            by_default,
            field="validationVisits",
            chosen_for="judge by",
            others_for="train on",
        )

    def _cut(self, readers: Sequence[Callable[[], TrainingDetector]], is_held_out: bool) -> TrainingTiles:
        """Read detectors one after the other, and cut tiles out of them."""
        from ..training import TrainingTiles, pick_tiles

        config = self.config
        rng = np.random.default_rng([config.seed, is_held_out])
        images_per_detector = 2 if config.doDifference else 1
        most_tiles = max(1, config.maxTiles // 2)
        most_detectors = max(1, most_tiles // images_per_detector)
        chosen = sorted(rng.permutation(len(readers))[:most_detectors])
        per_image = config.validationTilesPerImage if is_held_out else config.tilesPerImage
        n_tiles = max(1, min(per_image, most_tiles // (images_per_detector * len(chosen))))

        def parts(read: Callable[[], TrainingDetector]) -> Sequence[TrainingTiles]:
            detector = read()
            return [
                pick_tiles(
                    image.image,
                    detector.truth,
                    usable=detector.usable & ~image.not_finite(),
                    filled=image.any_plane(config.fillPlanes),
                    size=config.tileSize,
                    n_tiles=n_tiles,
                    cosmic_ray_fraction=0.0 if is_held_out else config.cosmicRayFraction,
                    rng=rng,
                )
                for image in detector.images
            ]

        return TrainingTiles.join((tiles for i in chosen for tiles in parts(readers[i])), config.tileSize)
