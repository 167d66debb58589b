# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scan a number in the configuration of a finder on one detector."""

from __future__ import annotations

__all__ = ["TuneFinderConfig", "TuneFinderConnections", "TuneFinderTask"]

import dataclasses
import time
from typing import Any, ClassVar

import numpy as np
from astropy.table import Table

from lsst.pex.config import ChoiceField, ConfigField, Field
from lsst.pipe.base import (
    AlgorithmError,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
)
from lsst.pipe.base.connectionTypes import Input

from ..comparison import MaskCounter, TuningGrid, TuningStep, scan_parameter, tuning_curve
from ..finders import (
    FieldScan,
    cosmicRayFinderRegistry,
    resolve_numeric_field,
    set_numeric_field,
)
from ..images import WorkingImage, WorkingImageConfig, read_image, read_mask
from .bounds import check_bounds
from .connections import DETECTOR, mask_input, table_output, truth_charge_input, truth_mask_input
from .truth import (
    difference_unusable_planes_field,
    read_truth,
    truth_field,
    truth_min_sigma_field,
    unusable_planes_field,
    usable_pixels,
)

STANDIN_PSF_FWHM = 4.0
"""FWHM (pixels) where the PSF does not matter."""


class TuneFinderConnections(
    PipelineTaskConnections,
    dimensions=DETECTOR,
    defaultTemplates={"reference": "morphological_science", "variant": ""},
):
    """Connections of `TuneFinderTask`."""

    scienceImage = Input(
        doc="Science image: what is searched, if kind says so, and its bad pixels and variance.",
        name="visit_image",
        storageClass="VisitImage",
        dimensions=DETECTOR,
    )
    differenceImage = Input(
        doc="Difference image: what is searched, if kind says so, and its bad pixels.",
        name="difference_image",
        storageClass="DifferenceImage",
        dimensions=DETECTOR,
    )
    referenceMask = mask_input("{reference}")
    truthCharge = truth_charge_input()
    truthMask = truth_mask_input()
    curve = table_output(
        "cr_tuning_curve{variant}",
        "Cosmic-ray pixels and rates at every value of the field that was computed.",
    )

    def __init__(self, *, config: TuneFinderConfig):
        super().__init__(config=config)
        for image in ("scienceImage", "differenceImage"):
            storage_class = getattr(config, f"{image}StorageClass")
            setattr(self, image, dataclasses.replace(getattr(self, image), storageClass=storage_class))
        if not config.reads_difference():
            del self.differenceImage
        if config.truth != "charge":
            del self.truthCharge
        if config.truth != "mask":
            del self.truthMask


class TuneFinderConfig(PipelineTaskConfig, pipelineConnections=TuneFinderConnections):
    """Configuration of `TuneFinderTask`."""

    finder = cosmicRayFinderRegistry.makeField(
        doc="Finder to tune.  Configure its other fields with finder['its name'].", default="astroscrappy"
    )
    field = Field[str](
        doc="Numeric config field of the finder to scan, with dots where it is in a nested config.",
        default="sigclip",
    )
    kind = ChoiceField[str](
        doc="Image in which the finder looks.",
        default="science",
        optional=False,
        allowed={"science": "The science image.", "difference": "The difference image."},
    )
    start = Field[float](doc="First value of the field.", default=1.0)
    stop = Field[float](doc="Greatest value that the field may have.", default=10.0)
    wideStep = Field[float](doc="Step of the wide search.", default=0.18)
    refinement = Field[int](doc="How many steps of the narrow search make one of the wide.", default=3)
    nFirst = Field[int](
        doc="How many values, over the whole range, are computed in any case.",
        default=9,
        check=lambda value: value >= 2,
    )
    truth = truth_field()
    truthMinSigma = truth_min_sigma_field()
    unusablePlanes = unusable_planes_field()
    differenceUnusablePlanes = difference_unusable_planes_field()
    doDifference = Field[bool](
        doc="Compare only pixels that the difference image has, even if the science image is searched?  "
        "Set it as in the comparison of the masks.",
        default=True,
    )
    scienceImageStorageClass = Field[str](doc="Storage class of the science image.", default="VisitImage")
    differenceImageStorageClass = Field[str](
        doc="Storage class of the difference image.", default="DifferenceImage"
    )
    reading = ConfigField[WorkingImageConfig](doc="What to assume where an image does not say.")

    def validate(self) -> None:
        super().validate()
        if cosmicRayFinderRegistry[self.finder.name].needs_masks:
            raise ValueError(f"{self.finder.name} works on masks of others, and cannot be tuned by itself.")
        resolve_numeric_field(self.finder.active, self.field)
        grid = self.grid()
        trial = self.finder.active.copy()
        for value in (grid.values[0], grid.values[-1]):
            set_numeric_field(trial, self.field, float(value))

    def reads_difference(self) -> bool:
        """Say whether the difference image is needed.

        Returns
        -------
        needed : `bool`
            Whether it is.
        """
        return self.doDifference or self.kind == "difference"

    def grid(self) -> TuningGrid:
        """Return the values that may be computed.

        Returns
        -------
        grid : `lsst.meas.cosmicrays.comparison.TuningGrid`
            Values of the wide and the narrow search.

        Raises
        ------
        ValueError
            Raised if the range is empty or reversed, or the step does not
            fit.
        """
        is_integer = resolve_numeric_field(self.finder.active, self.field).dtype is int
        return TuningGrid.make(
            self.start, self.stop, self.wideStep, refinement=self.refinement, integer=is_integer
        )


class TuneFinderTask(PipelineTask):
    """Scan one config field of a finder against a reference and truth.

    The images are read once, and the finder runs only with those values of
    the field among which an optimum may be.
    """

    ConfigClass: ClassVar[type[TuneFinderConfig]] = TuneFinderConfig
    _DefaultName: ClassVar[str] = "tuneFinder"
    config: TuneFinderConfig

    def run(
        self,
        scienceImage: Any,
        differenceImage: Any = None,
        referenceMask: Any = None,
        truthCharge: Any = None,
        truthMask: Any = None,
    ) -> Struct:
        """Scan the field on one detector.

        Parameters
        ----------
        scienceImage : `lsst.images.MaskedImage` or `lsst.afw.image.Exposure`
            Science image.
        differenceImage : optional
            Difference image of the same detector, of the same types.
        referenceMask : `lsst.images.Mask`, optional
            Mask of the reference detection; without it, only the knee and
            the optimum against truth can be found.
        truthCharge : `lsst.images.Image`, optional
            Charge of cosmic rays, electrons.
        truthMask : `lsst.images.Mask`, optional
            True cosmic rays, plane COSMIC_RAY.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``curve`` (`astropy.table.Table`).  A value with which the
            finder failed has the reason in ``failure``.

        Raises
        ------
        ImageReadError
            Raised if an image lacks what the finder needs.
        lsst.meas.cosmicrays.tasks.BoundsError
            Raised if the images and masks differ in their bounding boxes.
        ValueError
            Raised if the image that is to be searched is missing.
        """
        images = {"science": self._read(scienceImage, searched=self.config.kind == "science")}
        if differenceImage is not None:
            images["difference"] = self._read(differenceImage, searched=self.config.kind == "difference")
        if self.config.kind not in images:
            raise ValueError("The finder is to be tuned on the difference image, but there is none.")
        science, searched = images["science"], images[self.config.kind]
        check_bounds(
            science.bbox,
            {
                "difference image": differenceImage,
                f"mask of {self.config.connections.reference}": referenceMask,
                "truth charge": truthCharge,
                "truth mask": truthMask,
            },
        )
        if referenceMask is None:
            self.log.warning("There is no mask of %s here.", self.config.connections.reference)
        counter = MaskCounter(
            usable_pixels(
                science,
                self.config.unusablePlanes,
                images.get("difference"),
                self.config.differenceUnusablePlanes,
            ),
            reference=None if referenceMask is None else read_mask(referenceMask),
            truth=read_truth(truthCharge, truthMask, science, self.config.truthMinSigma),
        )
        evaluator = _Evaluator(self.config, searched, counter, self.log)
        grid = self.config.grid()
        scan = scan_parameter(evaluator.evaluate, grid, counter, n_first=self.config.nFirst)
        self.log.info("Computed %d of %d values of %s.", len(scan.steps), grid.values.size, self.config.field)
        curve = tuning_curve(scan.steps, counter)
        wide = set(list(scan.steps)[: scan.n_wide])
        curve["search"] = ["wide" if value in wide else "narrow" for value in curve["value"]]
        return Struct(curve=self._identify(curve))

    def _identify(self, curve: Table) -> Table:
        """Say in every row what was tuned."""
        names = {
            "finder": self.config.finder.name,
            "field": self.config.field,
            "kind": self.config.kind,
            "reference": self.config.connections.reference,
        }
        for position, (name, value) in enumerate(names.items()):
            curve.add_column(np.full(len(curve), value), name=name, index=position)
        return curve

    def _read(self, image: Any, *, searched: bool) -> WorkingImage:
        if searched:
            return read_image(image, self.config.reading)
        # Only the finder needs a PSF: another image without one will do.
        reading = WorkingImageConfig()
        reading.update(**self.config.reading.toDict())
        reading.psfFwhm = STANDIN_PSF_FWHM
        return read_image(image, reading)


class _Evaluator:
    """Run the finder with one value after the other on one image."""

    def __init__(self, config: TuneFinderConfig, image: WorkingImage, counter: MaskCounter, log: Any) -> None:
        self._config, self._image, self._counter, self._log = config, image, counter, log
        self._scan: FieldScan | None = None

    def evaluate(self, value: float) -> TuningStep:
        """Return what is found with a value, or why nothing is."""
        started = time.process_time()
        try:
            step = self._counter.count(self._field_scan().mask(value))
        except AlgorithmError as error:
            self._log.warning("The finder failed at %s = %g: %s", self._config.field, value, error)
            step = TuningStep(failure=str(error))
        return dataclasses.replace(step, cpu_time=time.process_time() - started)

    def _field_scan(self) -> FieldScan:
        if self._scan is None:
            finder = self._config.finder
            self._scan = FieldScan(finder.name, finder.active, self._config.field, self._image, self._log)
        return self._scan
