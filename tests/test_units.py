# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same photons give the same masks, in whatever unit they are stored."""

from __future__ import annotations

from collections.abc import Callable

import astropy.units as u
import numpy as np
import pytest

from lsst.daf.butler import Butler
from lsst.images import DifferenceImage, Image, VisitImage
from lsst.meas.cosmicrays.images import read_mask
from lsst.meas.cosmicrays.repository import register_dataset_type
from lsst.meas.cosmicrays.tasks import FindCosmicRaysConfig, FindCosmicRaysTask
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

DATA_ID = {"instrument": "TestCam", "visit": 42, "detector": 0}
FINDERS = ("morphological", "astroscrappy", "cosmic_conn")
NJY_PER_ELECTRON = 0.37

Make = Callable[..., VisitImage]


def make_difference(image: VisitImage) -> DifferenceImage:
    """Make a difference image of the same pixels, less their sky."""
    return DifferenceImage(
        Image(image.image.array, bbox=image.bbox, unit=image.unit),
        mask=image.mask,
        variance=Image(image.variance.array, bbox=image.bbox, unit=image.unit**2),
        sky_projection=image.sky_projection,
        obs_info=image.obs_info,
        photometric_scaling=image.photometric_scaling,
        psf=image.psf,
        detector=image.detector,
        band=image.band,
        metadata=dict(image.metadata),
    )


def find(butler: Butler, name: str, storage_class: str, variant: str, unit: str = "electron") -> dict:
    """Store nothing new: run the finders on one dataset type."""
    config = FindCosmicRaysConfig()
    config.connections.image = name
    config.connections.variant = variant
    config.imageStorageClass = storage_class
    config.finders.names = FINDERS
    for finder in FINDERS:
        config.finders[finder].unit = unit
    output = f"u/test{variant}"
    run_butler = SimplePipelineExecutor.prep_butler(
        butler._config, inputs=["TestCam/defaults"], output=output
    )
    executor = SimplePipelineExecutor.from_task_class(
        FindCosmicRaysTask, config=config, label=f"find{variant}", butler=run_butler
    )
    executor.run(register_dataset_types=True)
    results = Butler.from_config(butler._config, collections=[output])
    return {
        finder: read_mask(results.get(f"cr_mask_{finder}_science{variant}", DATA_ID)) for finder in FINDERS
    }


def put(butler: Butler, image: VisitImage, name: str, storage_class: str) -> None:
    register_dataset_type(butler, name, storage_class)
    butler.put(image, name, DATA_ID, run="TestCam/ingested")


@pytest.fixture
def electron_masks(test_butler: Butler) -> dict[str, np.ndarray]:
    masks = find(test_butler, "visit_image", "VisitImage", "")
    for mask in masks.values():
        assert mask[40, 71:81].sum() > 5
    return masks


@pytest.mark.parametrize("kind", ["VisitImage", "DifferenceImage"])
@pytest.mark.parametrize("unit", ["adu", "nJy", "nJy_from_adu", "varying_nJy"])
def test_masks_do_not_depend_on_the_unit(
    test_butler: Butler, make_image: Make, electron_masks: dict[str, np.ndarray], unit: str, kind: str
) -> None:
    match unit:
        case "adu":
            image = make_image("adu")
        case "nJy":
            image = make_image(calibration=NJY_PER_ELECTRON).convert_unit(u.nJy)
        case "nJy_from_adu":
            image = make_image("adu", calibration=3.0 * NJY_PER_ELECTRON).convert_unit(u.nJy)
        case _:
            image = make_image()
            image.photometric_scaling = varying_calibration(image)
            image = image.convert_unit(u.nJy)
    stored = make_difference(image) if kind == "DifferenceImage" else image
    put(test_butler, stored, "other_image", kind)
    masks = find(test_butler, "other_image", kind, "_other")
    for finder in FINDERS:
        np.testing.assert_array_equal(masks[finder], electron_masks[finder])


def varying_calibration(image: VisitImage) -> object:
    from lsst.images.fields import ChebyshevField

    return ChebyshevField(image.bbox, np.array([[0.5, 0.1], [0.02, 0.0]]), unit=u.nJy / u.electron)


def test_stored_numbers_are_another_matter(
    test_butler: Butler, make_image: Make, electron_masks: dict[str, np.ndarray]
) -> None:
    """Thresholds in electrons, applied to other numbers, find less."""
    put(test_butler, make_image(calibration=0.01).convert_unit(u.nJy), "faint_image", "VisitImage")
    masks = find(test_butler, "faint_image", "VisitImage", "_native", unit="native")
    assert masks["morphological"].sum() < electron_masks["morphological"].sum()
