# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Butler repositories, instruments and visit images made from descriptions."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time
from conftest import CAMERA, DETECTORS, NX, NY, VISIT

from lsst.daf.butler import Butler
from lsst.images import XY, Box, SkyProjection, VisitImage
from lsst.images.psfs import GaussianPointSpreadFunction
from lsst.meas.cosmicrays import cameras
from lsst.meas.cosmicrays.cameras import generic_class_name
from lsst.meas.cosmicrays.images import make_cosmic_ray_mask
from lsst.meas.cosmicrays.instruments import (
    DetectorDescription,
    InstrumentDescription,
    make_detector,
    make_sky_projection,
    make_tan_wcs,
)
from lsst.meas.cosmicrays.repository import (
    RepositoryError,
    make_repository,
    prepare_run,
    register_dataset_type,
    register_instrument_records,
    register_visit,
    sky_region,
)
from lsst.meas.cosmicrays.simulation import SimulatedHsc
from lsst.meas.cosmicrays.visit_images import make_visit_image
from lsst.pipe.base import Instrument
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d


def visit_records(butler: Butler, element: str) -> list:
    return butler.query_dimension_records(element, instrument=CAMERA.name, explain=False)


def region_of(detector: DetectorDescription, offset: float = 0.0) -> ConvexPolygon:
    wcs = make_tan_wcs(VISIT.ra + offset, VISIT.dec, 0.2, x=NX / 2, y=NY / 2)
    return sky_region(make_sky_projection(wcs, CAMERA.name, detector), detector.bbox)


@pytest.fixture
def empty(tmp_path: Path) -> Butler:
    """Make a repository in which the camera is registered."""
    butler = make_repository(tmp_path / "empty")
    register_instrument_records(butler.registry, CAMERA)
    return butler


def test_repository_that_exists(tmp_path: Path) -> None:
    make_repository(tmp_path / "repo").close()
    with pytest.raises(RepositoryError, match="is a Butler repository already"):
        make_repository(tmp_path / "repo")
    make_repository(tmp_path / "repo", exist_ok=True).close()


def test_directory_with_other_content(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    for exist_ok in (False, True):
        with pytest.raises(RepositoryError, match="not a Butler repository"):
            make_repository(tmp_path, exist_ok=exist_ok)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex"]


def test_everything_twice(test_butler: Butler) -> None:
    before = {name: visit_records(test_butler, name) for name in ("visit", "exposure", "detector")}
    register_instrument_records(test_butler.registry, CAMERA)
    records = visit_records(test_butler, "visit_detector_region")
    register_visit(test_butler, CAMERA.name, VISIT, {record.detector: record.region for record in records})
    assert prepare_run(test_butler, CAMERA.name, "ingested") == f"{CAMERA.name}/ingested"
    register_dataset_type(test_butler, "visit_image", "VisitImage")
    assert before == {name: visit_records(test_butler, name) for name in before}
    children = test_butler.collections.get_info(f"{CAMERA.name}/defaults").children
    assert list(children) == [f"{CAMERA.name}/ingested"]


def test_all_dimension_records_exist(test_butler: Butler) -> None:
    elements = (
        "instrument visit_system physical_filter detector day_obs group exposure visit visit_definition "
        "visit_system_membership visit_detector_region"
    ).split()
    assert [element for element in elements if not visit_records(test_butler, element)] == []


def test_contradiction_changes_nothing(empty: Butler) -> None:
    other = dataclasses.replace(CAMERA, detectors=(dataclasses.replace(DETECTORS[0], name="another"),))
    with pytest.raises(RepositoryError, match="another definition of this detector"):
        register_instrument_records(empty.registry, other)
    register_visit(empty, CAMERA.name, VISIT, {0: region_of(DETECTORS[0])})
    before = visit_records(empty, "visit"), visit_records(empty, "exposure")
    longer = dataclasses.replace(VISIT, exposure_time=61.0)
    with pytest.raises(RepositoryError, match="exposure"):
        register_visit(empty, CAMERA.name, longer, {1: region_of(DETECTORS[1])})
    assert before == (visit_records(empty, "visit"), visit_records(empty, "exposure"))
    assert len(visit_records(empty, "visit_detector_region")) == 1


def test_visit_without_detectors(empty: Butler) -> None:
    with pytest.raises(ValueError, match="no detectors"):
        register_visit(empty, CAMERA.name, VISIT, {})


def test_region_of_a_visit_grows(empty: Butler) -> None:
    near, far = region_of(DETECTORS[0]), region_of(DETECTORS[1], offset=0.5)
    register_visit(empty, CAMERA.name, VISIT, {0: near})
    assert not visit_records(empty, "visit")[0].region.contains(far)
    register_visit(empty, CAMERA.name, VISIT, {1: far})
    (visit,) = visit_records(empty, "visit")
    assert visit.region.contains(far)
    assert visit.region.contains(near)


def test_spatial_join(test_butler: Butler, make_image: Callable[..., VisitImage]) -> None:
    projection = make_image(detector=1).sky_projection
    for x, found in ((0.0, [1]), (NX - 1.0, [1]), (-3.0, []), (NX + 2.0, [])):
        position = _sky(projection, x, 40.0)
        with test_butler.query() as query:
            data_ids = query.where(
                f"visit_detector_region.region OVERLAPS POINT({position})", instrument=CAMERA.name
            ).data_ids(["visit", "detector"])
            assert [data_id["detector"] for data_id in data_ids] == found


def _sky(projection: SkyProjection, x: float, y: float) -> str:
    sky = projection.pixel_to_sky(XY(x=x, y=y))
    return f"{sky.ra.deg:.9f}, {sky.dec.deg:.9f}"


def test_dataset_type_of_another_storage_class(empty: Butler) -> None:
    register_dataset_type(empty, "cr_truth", "MaskV2")
    with pytest.raises(RepositoryError, match="cr_truth"):
        register_dataset_type(empty, "cr_truth", "ImageV2")


def test_run_that_is_a_chain(empty: Butler) -> None:
    prepare_run(empty, CAMERA.name, "ingested")
    with pytest.raises(RepositoryError, match="CHAINED"):
        prepare_run(empty, CAMERA.name, "defaults")


def test_instrument_from_name(test_butler: Butler) -> None:
    instrument = Instrument.fromName("TestCam", test_butler.registry)
    assert instrument.getName() == "TestCam"
    assert type(pickle.loads(pickle.dumps(instrument))) is type(instrument)
    with pytest.raises(RuntimeError, match="known only by its images"):
        instrument.register(test_butler.registry)


@pytest.mark.parametrize("name", ["", "8m", "fa10-3", "a" * 33, "a.b", "_x"])
def test_bad_instrument_names(name: str) -> None:
    with pytest.raises(ValueError, match="not valid"):
        generic_class_name(name)
    assert not hasattr(cameras, name)


def test_taken_instrument_name() -> None:
    with pytest.raises(ValueError, match="taken"):
        generic_class_name("GenericInstrument")


def test_longest_instrument_name_fits_the_registry(empty: Butler) -> None:
    name = "x" * 32
    camera = InstrumentDescription(name, generic_class_name(name), {"i": "i"}, 0.2)
    register_instrument_records(empty.registry, camera)
    assert Instrument.fromName(name, empty.registry).getName() == name


def test_simulated_instrument_registers_itself(empty: Butler) -> None:
    for _ in range(2):
        SimulatedHsc().register(empty.registry)
    instrument = Instrument.fromName("SimHSC", empty.registry)
    assert isinstance(instrument, SimulatedHsc)
    assert len(empty.query_dimension_records("detector", instrument="SimHSC")) == 104


def test_detector_round_trip(test_butler: Butler) -> None:
    image = test_butler.get(
        "visit_image", instrument=CAMERA.name, visit=VISIT.id, detector=1, collections="TestCam/defaults"
    )
    detector = image.detector
    assert (detector.id, detector.name, detector.bbox) == (1, "ccd1", DETECTORS[1].bbox)
    assert detector.frame.bbox == DETECTORS[1].bbox
    calibrations = detector.amplifiers[0].nominal_calibrations
    assert (calibrations.gain, calibrations.read_noise) == (3.0, 5.0)
    assert calibrations.saturation * calibrations.gain == pytest.approx(1e5)
    middle = detector.to_focal_plane.apply_forward(x=0.5 * (NX - 1), y=0.5 * (NY - 1))
    assert (middle.x, middle.y) == pytest.approx((2.0, 0.0), abs=1e-9)
    corner = detector.to_field_angle.apply_forward(x=0.5 * (NX - 1) + 10.0, y=0.5 * (NY - 1))
    scale = np.deg2rad(0.2 / 3600.0)
    assert corner.x == pytest.approx((2.0 / 0.015 + 10.0) * scale, rel=1e-9)
    assert image.obs_info.exposure_time.to_value("s") == 60.0
    assert image.band == "i"


def test_sky_region_has_the_outer_corners() -> None:
    projection = make_sky_projection(make_tan_wcs(30.0, -20.0, 0.2, x=48.0, y=40.0), "TestCam", DETECTORS[0])
    region = sky_region(projection, DETECTORS[0].bbox)
    for (x, y), inside in {(-0.4, -0.4): True, (NX - 0.6, NY - 0.6): True, (-0.6, 10.0): False}.items():
        ra, dec = map(float, _sky(projection, x, y).split(","))
        assert region.contains(UnitVector3d(LonLat.fromDegrees(ra, dec))) is inside


def test_wcs_rotation() -> None:
    wcs = make_tan_wcs(30.0, 0.0, 0.2, x=10.0, y=20.0, rotation=90.0)
    ra, dec = wcs.all_pix2world([[10.0, 20.0], [10.0, 20.0 + 18000.0 * 1e-3]], 0).T
    assert (ra[0], dec[0]) == pytest.approx((30.0, 0.0), abs=1e-9)
    # A position angle of 90 degrees: y points east.
    assert ra[1] - ra[0] == pytest.approx(18.0 * 0.2 / 3600.0, rel=1e-6)


def test_night_begins_at_noon() -> None:
    night = dataclasses.replace(VISIT, begin=Time("2024-03-01T13:00:00", scale="tai"))
    assert night.night == 20240301
    assert dataclasses.replace(night, begin=Time("2024-03-02T11:00:00", scale="tai")).night == 20240301
    assert dataclasses.replace(night, day_obs=20200101).night == 20200101


def test_plane_of_another_shape(electrons: tuple[np.ndarray, np.ndarray]) -> None:
    image, variance = electrons
    with pytest.raises(ValueError, match=r"ccd0: BAD has the shape \(3, 3\)"):
        make_visit_image(
            image,
            variance,
            {"BAD": np.zeros((3, 3), bool)},
            instrument=CAMERA,
            visit=VISIT,
            detector=DETECTORS[0],
            wcs=make_tan_wcs(30.0, -20.0, 0.2, x=0.0, y=0.0),
            psf=GaussianPointSpreadFunction(2.0, stamp_size=21, bounds=DETECTORS[0].bbox),
        )


def test_unknown_planes_are_kept(make_image: Callable[..., VisitImage]) -> None:
    glow = np.zeros((NY, NX), bool)
    glow[3, 4] = True
    mask = make_image(GLOW=glow, BAD=~glow).mask
    np.testing.assert_array_equal(mask.get("GLOW"), glow)
    np.testing.assert_array_equal(mask.get("BAD"), ~glow)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("id", -1, "negative"), ("width", 0, "at least one pixel"), ("gain", 0.0, "gain must be positive")],
)
def test_bad_detectors(field: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(DETECTORS[0], **{field: value})


def test_detector_beyond_the_camera() -> None:
    with pytest.raises(ValueError, match="not below detector_max"):
        dataclasses.replace(CAMERA, detector_max=1)
    assert make_detector(CAMERA, DETECTORS[0]).visit is None


@pytest.mark.parametrize("shape", [(NY, NX), (300, 2500)])
def test_planes_are_stored_in_large_tiles(test_butler: Butler, shape: tuple[int, int]) -> None:
    """Row by row, a mask takes more time and more room."""
    register_dataset_type(test_butler, "cr_mask_in_tiles", "MaskV2")
    random = np.random.default_rng(1)
    mask = make_cosmic_ray_mask(random.random(shape) < 0.01, Box.factory[: shape[0], : shape[1]])
    data_id = {"instrument": CAMERA.name, "visit": VISIT.id, "detector": 1}
    run = prepare_run(test_butler, CAMERA.name, "tiles")
    test_butler.put(mask, "cr_mask_in_tiles", data_id, run=run)
    with fits.open(
        test_butler.getURI("cr_mask_in_tiles", data_id, collections=run).ospath,
        disable_image_compression=True,
    ) as hdus:
        header = hdus["MASK"].header
        assert (header["ZTILE2"], header["ZTILE1"]) == (128, 2048)
    assert test_butler.get("cr_mask_in_tiles", data_id, collections=run) == mask
