# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run any number of finders on one image, which is read once."""

from __future__ import annotations

__all__ = ["FindCosmicRaysConfig", "FindCosmicRaysConnections", "FindCosmicRaysTask"]

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from astropy.table import Table

from lsst.images import Image
from lsst.pex.config import ConfigField, Field
from lsst.pipe.base import (
    AlgorithmError,
    InputQuantizedConnection,
    NoWorkFound,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from lsst.pipe.base.connectionTypes import Input, Output, PrerequisiteInput

from ..finders import CosmicConnFinderTask, CosmicRayFinderTask, cosmicRayFinderRegistry
from ..images import WorkingImageConfig, make_cosmic_ray_mask, read_image
from .connections import INSTRUMENT
from .finder_summary import DetectionIdentity, config_digest, make_finder_summary

DIMENSIONS = ("instrument", "visit", "detector")


class FindCosmicRaysConnections(
    PipelineTaskConnections,
    dimensions=DIMENSIONS,
    defaultTemplates={"kind": "science", "variant": ""},
):
    """Connections of `FindCosmicRaysTask`.

    Besides the image there are, for every finder selected in the config, the
    outputs ``mask_{finder}``, ``summary_{finder}`` and, if wanted,
    ``probability_{finder}``.  Their dataset types are named after the
    detection, ``{finder}_{kind}{variant}``.
    """

    image = Input(
        doc="Image in which cosmic rays are to be found.",
        name="visit_image",
        storageClass="VisitImage",
        dimensions=DIMENSIONS,
    )
    cosmicConnModel = PrerequisiteInput(
        doc="Network that TrainCosmicConnTask trained, for the finder cosmic_conn.",
        name="cr_cosmic_conn_model",
        storageClass="ArrowAstropy",
        dimensions=INSTRUMENT,
    )

    def __init__(self, *, config: FindCosmicRaysConfig):
        super().__init__(config=config)
        if not config.useCosmicConnModel:
            del self.cosmicConnModel
        self.image = dataclasses.replace(self.image, storageClass=config.imageStorageClass)
        for finder in sorted(config.finders.names):
            detection = config.detection_name(finder)
            mask = Output(
                doc=f"Cosmic rays found by {finder}.",
                name=f"cr_mask_{detection}",
                storageClass="MaskV2",
                dimensions=DIMENSIONS,
            )
            summary = Output(
                doc=f"One row on what {finder} found, how long it took, and with which configuration.",
                name=f"cr_finder_summary_{detection}",
                storageClass="ArrowAstropy",
                dimensions=DIMENSIONS,
            )
            setattr(self, f"mask_{finder}", mask)
            setattr(self, f"summary_{finder}", summary)
            if config.doWriteProbability:
                probability = Output(
                    doc=f"Probability that a pixel is a cosmic ray, by {finder}, if it has one.",
                    name=f"cr_probability_{detection}",
                    storageClass="ImageV2",
                    dimensions=DIMENSIONS,
                )
                setattr(self, f"probability_{finder}", probability)


class FindCosmicRaysConfig(PipelineTaskConfig, pipelineConnections=FindCosmicRaysConnections):
    """Configuration of `FindCosmicRaysTask`."""

    finders = cosmicRayFinderRegistry.makeField(
        doc="Finders to run.  Select them with finders.names; configure one with finders['its name'].",
        default=["morphological", "astroscrappy"],
        multi=True,
    )
    imageStorageClass = Field[str](
        doc="Storage class of the image: VisitImage, DifferenceImage, MaskedImageV2 or ExposureF.",
        default="VisitImage",
    )
    reading = ConfigField[WorkingImageConfig](doc="What to assume where the image does not say.")
    doWriteProbability = Field[bool](
        doc="Write cr_probability_{detection} for the finders that have probabilities?",
        default=False,
    )
    useCosmicConnModel = Field[bool](
        doc="Run the finder cosmic_conn with the trained network of the connection cosmicConnModel, at the "
        "threshold that it recommends?",
        default=False,
    )

    def detection_name(self, finder: str) -> str:
        """Return the name of the detection that a finder makes.

        Parameters
        ----------
        finder : `str`
            Name of a finder in the registry.

        Returns
        -------
        detection : `str`
            ``{finder}_{kind}{variant}``.
        """
        return f"{finder}_{self.connections.kind}{self.connections.variant}"

    def validate(self) -> None:
        super().validate()
        if not self.finders.names:
            raise ValueError(f"finders.names is empty: select some of {', '.join(cosmicRayFinderRegistry)}.")
        if self.useCosmicConnModel and "cosmic_conn" not in self.finders.names:
            raise ValueError("useCosmicConnModel is set, but cosmic_conn is not among finders.names.")


class FindCosmicRaysTask(PipelineTask):
    """Run every selected finder on one image.

    A finder that fails on an image (too many cosmic rays, say) leaves no mask;
    its summary says why, and the other finders' masks are written all the
    same. If every finder failed, the quantum ends with
    `~lsst.pipe.base.NoWorkFound` after the summaries are written.
    """

    ConfigClass: ClassVar[type[FindCosmicRaysConfig]] = FindCosmicRaysConfig
    _DefaultName: ClassVar[str] = "findCosmicRays"
    config: FindCosmicRaysConfig

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.finders: dict[str, CosmicRayFinderTask] = {}
        for name in sorted(self.config.finders.names, key=_order_of_running):
            finder_class = cosmicRayFinderRegistry[name]
            self.finders[name] = finder_class(
                config=self.config.finders[name], name=name, parentTask=self, log=self.log.getChild(name)
            )

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        data_id = inputRefs.image.dataId
        inputs = butlerQC.get(inputRefs)
        result = self.run(dataId={dimension: data_id[dimension] for dimension in DIMENSIONS}, **inputs)
        for name in self.finders:
            butlerQC.put(result.summaries[name], getattr(outputRefs, f"summary_{name}"))
            if name in result.masks:
                butlerQC.put(result.masks[name], getattr(outputRefs, f"mask_{name}"))
            if self.config.doWriteProbability and name in result.probabilities:
                butlerQC.put(result.probabilities[name], getattr(outputRefs, f"probability_{name}"))
        if not result.masks:
            reasons = "; ".join(str(summary["failure"][0]) for summary in result.summaries.values())
            raise NoWorkFound(f"Every finder failed: {reasons}")

    def run(
        self,
        image: Any,
        dataId: Mapping[str, Any] | None = None,
        cosmicConnModel: Table | None = None,
    ) -> Struct:
        """Run the finders.

        Parameters
        ----------
        image : `lsst.images.MaskedImage` or `lsst.afw.image.Exposure`
            The image; it is not changed.
        dataId : `~collections.abc.Mapping`, optional
            Instrument, visit and detector, for the summaries.
        cosmicConnModel : `astropy.table.Table`, optional
            What `TrainCosmicConnTask` trained, for the finder
            ``cosmic_conn``.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With dictionaries by finder: ``masks`` (`lsst.images.Mask` with
            the one plane COSMIC_RAY), ``probabilities``
            (`lsst.images.Image`), and ``summaries``
            (`astropy.table.Table` of one row).  A finder that failed is
            missing in the first two.

        Raises
        ------
        ImageReadError
            Raised if the image lacks what every finder needs.
        TrainedModelError
            Raised if ``cosmicConnModel`` is no trained model, or needs
            another unit.
        """
        model_digest = None if cosmicConnModel is None else self._use_model(cosmicConnModel)
        working = read_image(image, self.config.reading)
        masks, probabilities, summaries = {}, {}, {}
        found: dict[str, np.ndarray | None] = {}
        for name, finder in self.finders.items():
            finding, failure = None, ""
            try:
                finding = finder.run(working, found)
            except AlgorithmError as error:
                failure = str(error)
                self.log.warning("The finder %s failed: %s", name, error)
            found[self.config.detection_name(name)] = None if finding is None else finding.mask
            n_usable = working.image.size - int(np.count_nonzero(finder.bad_pixels(working)))
            identity = self._identify(name, dataId, model_digest if name == "cosmic_conn" else None)
            summaries[name] = make_finder_summary(identity, finding, n_usable=n_usable, failure=failure)
            if finding is None:
                continue
            masks[name] = make_cosmic_ray_mask(finding.mask, working.bbox)
            if finding.probability is not None:
                probabilities[name] = Image(finding.probability, bbox=working.bbox)
        return Struct(masks=masks, probabilities=probabilities, summaries=summaries)

    def _use_model(self, table: Table) -> str:
        """Hand the trained model to its finder, and return its digest."""
        from ..training import TrainedModel

        model = TrainedModel.from_table(table)
        finder = self.finders["cosmic_conn"]
        assert isinstance(finder, CosmicConnFinderTask), "the registry has another finder of this name"
        finder.use_model(model)
        return model.digest

    def _identify(
        self, name: str, dataId: Mapping[str, Any] | None, model_digest: str | None
    ) -> DetectionIdentity:
        """Say which detection a finder makes."""
        config = self.config.finders[name]
        digest = config_digest(config)
        if model_digest is not None:
            digest = digest[:8] + model_digest[:8]
        return DetectionIdentity(
            finder=name,
            kind=self.config.connections.kind,
            variant=self.config.connections.variant,
            engine=str(config.engine),
            config_digest=digest,
            data_id=dict(dataId or {}),
        )


def _order_of_running(name: str) -> tuple[bool, str]:
    return cosmicRayFinderRegistry[name].needs_masks, name
