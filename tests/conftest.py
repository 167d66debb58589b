# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images and repositories that many tests use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.time import Time

from lsst.daf.butler import Butler
from lsst.images import Box, VisitImage
from lsst.images.psfs import GaussianPointSpreadFunction
from lsst.meas.cosmicrays.cameras import generic_class_name
from lsst.meas.cosmicrays.instruments import DetectorDescription, InstrumentDescription, make_tan_wcs
from lsst.meas.cosmicrays.repository import (
    VisitDescription,
    make_repository,
    prepare_run,
    register_dataset_type,
    register_instrument_records,
    register_visit,
    sky_region,
)
from lsst.meas.cosmicrays.visit_images import make_visit_image

SHARED = Path(__file__).parents[1] / ".." / "shared"
NX, NY = 96, 80
GAIN = 3.0
DETECTORS = tuple(
    DetectorDescription(
        id=number,
        name=f"ccd{number}",
        width=NX,
        height=NY,
        pixel_size=0.015,
        gain=GAIN,
        read_noise=5.0,
        saturation=1e5,
        x_center=2.0 * number,
    )
    for number in range(2)
)
CAMERA = InstrumentDescription("TestCam", generic_class_name("TestCam"), {"i": "i"}, 0.2, DETECTORS)
VISIT = VisitDescription(
    id=42,
    physical_filter="i",
    begin=Time("2024-03-01T03:00:00", scale="utc"),
    exposure_time=60.0,
    ra=30.0,
    dec=-20.0,
)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of golden results and real data, if any."""
    if not SHARED.is_dir():
        pytest.skip(f"the golden results and real data are not at {SHARED}")
    return SHARED.resolve()


@pytest.fixture
def electrons() -> tuple[np.ndarray, np.ndarray]:
    """Image (with three stars and two cosmic rays) and variance."""
    rng = np.random.default_rng(20241)
    y, x = np.mgrid[:NY, :NX]
    sky = 400.0
    scene = np.zeros((NY, NX))
    for x0, y0, flux in ((30.2, 25.1, 3e4), (60.7, 50.4, 8e4), (20.0, 62.3, 1e4)):
        scene += flux / (2 * np.pi * 4.0) * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 8.0)
    scene[40, 70:82] += 900.0
    scene[12:15, 50] += 2500.0
    variance = scene + sky + 25.0
    image = rng.normal(scene, np.sqrt(variance))
    return image.astype(np.float32), variance.astype(np.float32)


@pytest.fixture
def make_image(electrons: tuple[np.ndarray, np.ndarray]) -> Callable[..., VisitImage]:
    """Return a maker of visit images of that scene, in any unit."""

    def make(
        unit: str = "electron", calibration: float | None = None, detector: int = 0, **planes: np.ndarray
    ) -> VisitImage:
        factor = {"electron": 1.0, "adu": 1.0 / GAIN}[unit]
        image, variance = electrons
        return make_visit_image(
            (image * np.float64(factor)).astype(np.float32),
            (variance * np.float64(factor) ** 2).astype(np.float32),
            planes,
            instrument=CAMERA,
            visit=VISIT,
            detector=DETECTORS[detector],
            wcs=make_tan_wcs(30.0 + 0.02 * detector, -20.0, 0.2, x=NX / 2, y=NY / 2),
            psf=GaussianPointSpreadFunction(2.0, stamp_size=21, bounds=Box.from_shape((NY, NX))),
            calibration=calibration,
            unit=u.Unit(unit),
        )

    return make


@pytest.fixture
def test_butler(tmp_path: Path, make_image: Callable[..., VisitImage]) -> Butler:
    """A repository with one visit of two detectors."""
    butler = make_repository(str(tmp_path / "repo"))
    register_instrument_records(butler.registry, CAMERA)
    run = prepare_run(butler, CAMERA.name, "ingested")
    register_dataset_type(butler, "visit_image", "VisitImage")
    for detector in DETECTORS:
        image = make_image(detector=detector.id)
        register_visit(
            butler, CAMERA.name, VISIT, {detector.id: sky_region(image.sky_projection, image.bbox)}
        )
        butler.put(
            image, "visit_image", instrument=CAMERA.name, visit=VISIT.id, detector=detector.id, run=run
        )
    return butler
