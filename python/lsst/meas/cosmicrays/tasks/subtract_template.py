# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Subtract a template from a science image."""

from __future__ import annotations

__all__ = ["SubtractTemplateConfig", "SubtractTemplateConnections", "SubtractTemplateTask"]

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np

from lsst.images import MaskedImage, VisitImage
from lsst.pex.config import ChoiceField, ConfigField, DictField, Field, ListField
from lsst.pipe.base import NoWorkFound, PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct
from lsst.pipe.base.connectionTypes import Input, Output

from ..engines.difference_imaging.difference_planes import DifferencePlanes, propagate_planes
from ..engines.difference_imaging.kernel_matching import MatchingSettings
from ..engines.difference_imaging.matching_image import NoOverlapError
from ..engines.difference_imaging.subtraction import Subtraction, SubtractionSettings, subtract_template
from ..images import UnknownMaskPlaneError, WorkingImageConfig
from .difference_image_io import grid_offset, make_difference_image, read_matching_image

DIMENSIONS = ("instrument", "visit", "detector")


class SubtractTemplateConnections(PipelineTaskConnections, dimensions=DIMENSIONS):
    """Connections of `SubtractTemplateTask`."""

    science = Input(
        doc="Science image, background subtracted; cosmic rays in it stay in the difference.",
        name="visit_image",
        storageClass="VisitImage",
        dimensions=DIMENSIONS,
    )
    template = Input(
        doc="Template on the pixel grid of the science image.",
        name="template_detector",
        storageClass="VisitImage",
        dimensions=DIMENSIONS,
    )
    difference = Output(
        doc="Science image minus template, in the unit of the science image.",
        name="difference_image",
        storageClass="DifferenceImage",
        dimensions=DIMENSIONS,
    )

    def __init__(self, *, config: SubtractTemplateConfig):
        super().__init__(config=config)
        for image in ("science", "template"):
            storage_class = getattr(config, f"{image}StorageClass")
            setattr(self, image, dataclasses.replace(getattr(self, image), storageClass=storage_class))


class SubtractTemplateConfig(PipelineTaskConfig, pipelineConnections=SubtractTemplateConnections):
    """Configuration of `SubtractTemplateTask`.

    Names and meanings follow ``lsst.ip.diffim.AlardLuptonSubtractTask`` where
    there is an equivalent.
    """

    mode = ChoiceField[str](
        doc="Which image to convolve with the PSF-matching kernel.  A convolved science image has its cosmic "
        "rays smeared to what looks like stars, and finders miss them on the difference.",
        default="convolveTemplate",
        allowed={
            "auto": "The template, unless its PSF is wider than maxDeconvolution times that of the science "
            "image: cleanest where stars are bright.",
            "convolveTemplate": "The template, which is sharpened if its PSF is the wider one: cosmic rays "
            "stay as they are.",
            "convolveScience": "The science image.",
        },
    )
    maxDeconvolution = Field[float](
        doc="In mode auto, widest PSF of a template to be convolved, in units of that of the science image.",
        default=1.25,
        check=lambda value: value > 0.0,
    )
    spatialKernelOrder = Field[int](
        doc="Order of the polynomial by which the kernel varies over the detector; less is used where there "
        "are few candidates.",
        default=2,
        check=lambda value: 0 <= value <= 4,
    )
    spatialBgOrder = Field[int](
        doc="Order of the polynomial background that is taken away.",
        default=2,
        check=lambda value: 0 <= value <= 4,
    )
    alardDegGauss = ListField[int](
        doc="Degree of the polynomial that goes with each Gaussian of the kernel.",
        default=[4, 2, 2],
        itemCheck=lambda value: value >= 0,
        minLength=1,
    )
    minKernelSources = Field[int](
        doc="With fewer candidates, the models of the two PSFs are matched instead.",
        default=3,
        check=lambda value: value >= 1,
    )
    maxKernelSources = Field[int](
        doc="Roughly the most candidates to use.", default=400, check=lambda value: value >= 1
    )
    minKernelSourceSignificance = Field[float](
        doc="Least peak of a candidate on the template, in units of its noise.", default=20.0
    )
    doDecorrelation = Field[bool](doc="Undo the correlation of noise that convolution brings?", default=True)
    doScaleVariance = Field[bool](
        doc="Scale the variance of the difference so that it describes the noise of empty sky?", default=True
    )
    requiredTemplateFraction = Field[float](
        doc="There is no work where the template covers less than this fraction of the science image.",
        default=0.1,
    )
    badMaskPlanes = ListField[str](
        doc="Mask planes whose pixels do not count in the fit.  Every one must exist in the science image.",
        default=["NO_DATA", "BAD", "SATURATED"],
    )
    preserveTemplateMask = ListField[str](
        doc="Mask planes of the template that the difference gets.",
        default=list(DifferencePlanes().kept_from_template),
    )
    renameTemplateMask = DictField[str, str](
        doc="Mask planes of the template that the difference gets under another name.",
        default=dict(DifferencePlanes().renamed_from_template),
    )
    clearMaskPlanes = ListField[str](
        doc="Mask planes of the science image that the difference does not get.",
        default=list(DifferencePlanes().cleared),
    )
    preserveMaskPlanes = ListField[str](
        doc="Mask planes that convolution does not grow.",
        default=list(DifferencePlanes().not_grown),
    )
    scienceStorageClass = Field[str](doc="Storage class of the science image.", default="VisitImage")
    templateStorageClass = Field[str](
        doc="Storage class of the template: VisitImage, DifferenceImage or MaskedImageV2.",
        default="VisitImage",
    )
    reading = ConfigField[WorkingImageConfig](doc="What to assume where the science image does not say.")
    templateReading = ConfigField[WorkingImageConfig](doc="What to assume where the template does not say.")

    def setDefaults(self) -> None:
        super().setDefaults()
        # Pixels are subtracted as they are stored: the kernel takes up any
        # ratio of units.
        self.reading.electronsPerUnit = 1.0
        self.templateReading.electronsPerUnit = 1.0

    def settings(self) -> SubtractionSettings:
        """Return how the arrays are matched and subtracted.

        Returns
        -------
        settings : `~.engines.difference_imaging.SubtractionSettings`
            The settings.
        """
        return SubtractionSettings(
            mode=self.mode,
            max_deconvolution=self.maxDeconvolution,
            matching=MatchingSettings(
                kernel_order=self.spatialKernelOrder,
                background_order=self.spatialBgOrder,
                degrees=tuple(self.alardDegGauss),
                min_candidates=self.minKernelSources,
                max_candidates=self.maxKernelSources,
                min_significance=self.minKernelSourceSignificance,
            ),
            background_order=self.spatialBgOrder,
            decorrelate=self.doDecorrelation,
            scale_variance=self.doScaleVariance,
        )

    def plane_rules(self) -> DifferencePlanes:
        """Return what becomes of the mask planes.

        Returns
        -------
        rules : `~.engines.difference_imaging.DifferencePlanes`
            The rules.
        """
        return DifferencePlanes(
            cleared=tuple(self.clearMaskPlanes),
            kept_from_template=tuple(self.preserveTemplateMask),
            renamed_from_template=dict(self.renameTemplateMask),
            not_grown=tuple(self.preserveMaskPlanes),
        )


class SubtractTemplateTask(PipelineTask):
    """Match the PSFs of a template and a science image, and subtract."""

    ConfigClass: ClassVar[type[SubtractTemplateConfig]] = SubtractTemplateConfig
    _DefaultName: ClassVar[str] = "subtractTemplate"
    config: SubtractTemplateConfig

    def run(self, science: VisitImage, template: MaskedImage) -> Struct:
        """Subtract.

        Parameters
        ----------
        science : `lsst.images.VisitImage`
            Science image; it is not changed.
        template : `lsst.images.MaskedImage`
            Template on the same pixel grid; it need not cover the whole
            science image, nor know its unit or its detector.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``difference`` (`lsst.images.DifferenceImage`).

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            Raised if the template covers too little of the science image, or
            no pixel is usable in both.
        ImageReadError
            Raised if one of them has no PSF, and none is configured, or if
            the science image does not have a mask plane of the config.
        """
        self._check_planes(science)
        self._check_grid(science, template)
        bbox, bad = science.bbox, list(self.config.badMaskPlanes)
        science_arrays, science_planes = read_matching_image(science, self.config.reading, bbox, bad)
        template_arrays, template_planes = read_matching_image(
            template, self.config.templateReading, bbox, bad
        )
        coverage = 1.0 - np.mean(science_arrays.missing() | template_arrays.missing())
        if coverage < self.config.requiredTemplateFraction:
            raise NoWorkFound(
                f"The template covers {coverage:.1%} of the science image; "
                f"{self.config.requiredTemplateFraction:.1%} are required (requiredTemplateFraction)."
            )
        try:
            subtraction = subtract_template(science_arrays, template_arrays, self.config.settings())
        except NoOverlapError as error:
            raise NoWorkFound(str(error)) from error

        planes = propagate_planes(
            science_planes,
            template_planes,
            template_convolved=subtraction.template_convolved,
            half_width=subtraction.solution.kernel.half_width,
            rules=self.config.plane_rules(),
        )
        for name, plane in (("NO_DATA", subtraction.no_data), ("DETECTION_EDGE", subtraction.edge)):
            planes[name] = planes[name] | plane if name in planes else plane
        planes.setdefault("SAT_TEMPLATE", np.zeros(bbox.shape, dtype=bool))
        if not subtraction.template_convolved:
            self.log.warning(
                "The science image was convolved, as mode %r has it: cosmic rays on the difference "
                "are smeared.  Set mode='convolveTemplate' to find them there.",
                self.config.mode,
            )
        summary = self._summarise(subtraction, float(coverage))
        return Struct(difference=make_difference_image(science, subtraction, planes, summary))

    def _check_planes(self, science: VisitImage) -> None:
        """Raise if the config names a plane that the image does not have."""
        unknown = sorted(set(self.config.badMaskPlanes) - set(science.mask.schema.names))
        if unknown:
            raise UnknownMaskPlaneError(
                f"badMaskPlanes names {', '.join(unknown)}, which the science image does not have; "
                f"it has {', '.join(sorted(science.mask.schema.names))}."
            )

    def _check_grid(self, science: VisitImage, template: MaskedImage) -> None:
        """Warn if the template looks as if it was on other pixels."""
        offset = grid_offset(science, template)
        if offset is not None and not offset < 1.0:
            self.log.warning(
                "By their projections, template and science image are up to %.1f pixels apart: is the "
                "template on the pixel grid of the science image?",
                offset,
            )

    def _summarise(self, subtraction: Subtraction, coverage: float) -> dict[str, Any]:
        """Log how it went, and put it in the task's metadata."""
        statistics = subtraction.statistics
        summary: dict[str, Any] = {
            "convolvedExposure": "Template" if subtraction.template_convolved else "Science",
            "sciencePsfSize": subtraction.science_fwhm,
            "templatePsfSize": subtraction.template_fwhm,
            "differencePsfSize": subtraction.psf_fwhm,
            "templateCoveragePercent": 100.0 * coverage,
            "nKernelCandidates": subtraction.solution.n_candidates,
            "nKernelSources": subtraction.solution.n_used,
            "kernelFromPsfModels": subtraction.solution.from_psf_models,
            "kernelChiSquare": subtraction.solution.chi_square,
            "kernelSum": subtraction.solution.kernel_sum,
            "varianceScale": subtraction.variance_scale,
            "pullMedian": statistics.median,
            "pullSigma": statistics.sigma,
            "pullFractionBeyondFourSigma": statistics.beyond_four_sigma,
            "pullAutocorrelationX": statistics.autocorrelation_x,
            "pullAutocorrelationY": statistics.autocorrelation_y,
        }
        for name, value in summary.items():
            self.metadata[name] = value
        self.log.info(
            "%s convolved; difference / sqrt(variance): median %.3f, sigma %.3f, %.2e beyond 4 sigma, "
            "lag-1 autocorrelation %.4f in x and %.4f in y (variance scaled by %.3f).",
            summary["convolvedExposure"],
            statistics.median,
            statistics.sigma,
            statistics.beyond_four_sigma,
            statistics.autocorrelation_x,
            statistics.autocorrelation_y,
            subtraction.variance_scale,
        )
        return {
            name: value
            for name, value in summary.items()
            if not isinstance(value, float) or math.isfinite(value)
        }
