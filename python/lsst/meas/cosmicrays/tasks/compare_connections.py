# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections of the comparison of detections on one detector."""

from __future__ import annotations

__all__ = ["CompareCosmicRaysConnections"]

import dataclasses
from typing import TYPE_CHECKING

from lsst.pipe.base import PipelineTaskConnections
from lsst.pipe.base.connectionTypes import Input

from .connections import DETECTOR, mask_input, table_input, table_output, truth_charge_input, truth_mask_input

if TYPE_CHECKING:
    from .compare_cosmic_rays import CompareCosmicRaysConfig


class CompareCosmicRaysConnections(PipelineTaskConnections, dimensions=DETECTOR):
    """Connections of `CompareCosmicRaysTask`.

    Besides those below there are, for every detection in the config, the
    inputs ``mask_{detection}`` (``cr_mask_{detection}``) and
    ``summary_{detection}`` (``cr_finder_summary_{detection}``), and for every
    one in its ``probabilities`` the input ``probability_{detection}``
    (``cr_probability_{detection}``). Each of them may be missing.
    """

    scienceImage = Input(
        doc="Science image: its bad pixels, DETECTED plane, variance and exposure time.",
        name="visit_image",
        storageClass="VisitImage",
        dimensions=DETECTOR,
    )
    differenceImage = Input(
        doc="Difference image, on which the charge of cosmic rays is measured.",
        name="difference_image",
        storageClass="DifferenceImage",
        dimensions=DETECTOR,
        minimum=0,
    )
    templateImage = Input(
        doc="Template, for cutouts.",
        name="template_detector",
        storageClass="VisitImage",
        dimensions=DETECTOR,
        minimum=0,
    )
    diaSources = table_input("dia_source_unfiltered", "DIASources, before any reliability cut.", minimum=0)
    objectMask = Input(
        doc="Detections on the difference image that was made after interpolation of cosmic rays: a stamp "
        "with any of its DETECTED or DETECTED_NEGATIVE pixels has an OBJECT.",
        name="dia_detection_mask_interpolated",
        storageClass="MaskV2",
        dimensions=DETECTOR,
        minimum=0,
    )
    truthCharge = truth_charge_input()
    truthMask = truth_mask_input()
    truthCatalog = table_input("cr_truth_catalog", "True cosmic rays: id, x, y, charge, kind.", minimum=0)
    variableCatalog = table_input(
        "variable_truth_catalog", "True variable sources: id, x, y, kind.", minimum=0
    )
    starCatalog = table_input("star_catalog", "Stars: x, y.", minimum=0)
    pixelCounts = table_output("cr_pixel_counts", "Joint histogram of the masks: available, code, n.")
    pixelCountsDilated = table_output(
        "cr_pixel_counts_dilated", "Joint histogram of the masks and their 1-pixel dilations."
    )
    detections = table_output(
        "cr_detections", "What the bits of the codes are, and what is known of each detection."
    )
    pixelPairs = table_output("cr_pixel_pairs", "Pixel-wise confusion of every pair of masks.")
    pixelPlaces = table_output("cr_pixel_places", "Where the pixels lie on which two masks disagree.")
    clusterCounts = table_output(
        "cr_cluster_counts", "Joint histogram of the masks and their dilations within every cosmic ray."
    )
    probabilityCounts = table_output(
        "cr_probability_counts", "Histogram of the probabilities of true and of other pixels."
    )
    stamps = table_output(
        "cr_stamps", "Stamps around DIASources: cosmic-ray pixels and label of each detection."
    )
    stampImages = table_output("cr_stamp_images", "Cutouts of the stamps.")
    objects = table_output("cr_objects", "Cosmic rays as objects, and which detections found them.")

    def __init__(self, *, config: CompareCosmicRaysConfig):
        super().__init__(config=config)
        for image in ("scienceImage", "differenceImage", "templateImage"):
            storage_class = getattr(config, f"{image}StorageClass")
            setattr(self, image, dataclasses.replace(getattr(self, image), storageClass=storage_class))
        self.diaSources = dataclasses.replace(self.diaSources, storageClass=config.diaSourcesStorageClass)
        for unused in config.unused_connections():
            delattr(self, unused)
        for detection in config.detections:
            summary = table_input(f"cr_finder_summary_{detection}", f"How {detection} was made.", minimum=0)
            setattr(self, f"mask_{detection}", mask_input(detection))
            setattr(self, f"summary_{detection}", summary)
        for detection in config.probabilities:
            probability = Input(
                doc=f"Probability of each pixel to be a cosmic ray, by {detection}.",
                name=f"cr_probability_{detection}",
                storageClass="ImageV2",
                dimensions=DETECTOR,
                minimum=0,
            )
            setattr(self, f"probability_{detection}", probability)
