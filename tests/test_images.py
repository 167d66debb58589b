# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one door for pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from afw_double import Exposure

from lsst.images import Box, Image, MaskedImage, MaskPlane, MaskSchema, VisitImage
from lsst.images.fields import ChebyshevField
from lsst.meas.cosmicrays.engines.psf import gaussian_fwhm, gaussian_kernel
from lsst.meas.cosmicrays.images import (
    MissingPsfError,
    UnknownMaskPlaneError,
    UnknownUnitError,
    WorkingImageConfig,
    make_cosmic_ray_mask,
    read_image,
    read_mask,
    read_plane_names,
)

Make = Callable[..., VisitImage]
LEGACY = ["calexp_electron", "calexp_adu", "visit_image_njy", "calexp_offset", "difference_njy"]


def test_electrons_come_in_as_they_are(make_image: Make) -> None:
    source = make_image(BAD=np.eye(80, 96, dtype=bool))
    working = read_image(source)
    np.testing.assert_array_equal(working.image, source.image.array)
    np.testing.assert_array_equal(working.variance, source.variance.array)
    assert working.image.dtype == working.variance.dtype == np.float32
    assert (working.unit, working.scale, working.gain) == ("electron", 1.0, 3.0)
    assert (working.exposure_time, working.pixel_size) == (60.0, 0.015)
    assert working.psf_kernel.shape == (21, 21)
    assert working.psf_kernel.sum() == pytest.approx(1.0, abs=1e-12)
    assert working.psf_fwhm == pytest.approx(2.0 * 2.3548, rel=1e-3)
    np.testing.assert_array_equal(working.planes["BAD"], np.eye(80, 96, dtype=bool))
    assert not working.planes["COSMIC_RAY"].any()
    assert working.in_stored_unit() is working


def test_same_photons_in_every_unit(make_image: Make) -> None:
    expected = read_image(make_image())
    adu = read_image(make_image("adu"))
    njy = read_image(make_image(calibration=0.37).convert_unit(u.nJy))
    from_adu = read_image(make_image("adu", calibration=1.11).convert_unit(u.nJy))
    assert (adu.unit, adu.scale) == ("adu", 3.0)
    assert (njy.unit, njy.scale) == ("nJy", pytest.approx(1 / 0.37))
    assert from_adu.scale == pytest.approx(3.0 / 1.11)
    for working in (adu, njy, from_adu):
        np.testing.assert_allclose(working.image, expected.image, rtol=1e-6)
        np.testing.assert_allclose(working.variance, expected.variance, rtol=1e-6)


def test_varying_calibration(make_image: Make) -> None:
    source = make_image()
    field = ChebyshevField(source.bbox, np.array([[0.5, 0.1], [0.02, 0.0]]), unit=u.nJy / u.electron)
    source.photometric_scaling = field
    working = read_image(source.convert_unit(u.nJy))
    np.testing.assert_allclose(working.image, source.image.array, rtol=1e-5)
    np.testing.assert_allclose(working.variance, source.variance.array, rtol=1e-5)


def test_stored_numbers_stay_at_hand(make_image: Make) -> None:
    source = make_image("adu")
    stored = read_image(source).in_stored_unit()
    np.testing.assert_array_equal(stored.image, source.image.array)
    np.testing.assert_array_equal(stored.variance, source.variance.array)
    assert stored.in_stored_unit() is stored


def test_reading_changes_nothing(make_image: Make) -> None:
    source = make_image("adu")
    before = source.copy()
    read_image(source).planes["BAD"][:] = True
    np.testing.assert_array_equal(source.image.array, before.image.array)
    np.testing.assert_array_equal(source.mask.array, before.mask.array)


def test_configured_scale_wins(make_image: Make) -> None:
    config = WorkingImageConfig(electronsPerUnit=2.0)
    np.testing.assert_allclose(read_image(make_image(), config).image, 2.0 * make_image().image.array)


def masked_image(unit: u.UnitBase | None) -> MaskedImage:
    """Make a template without detector, PSF or calibration."""
    rng = np.random.default_rng(3)
    schema = MaskSchema([MaskPlane("BAD", "bad"), MaskPlane("ODD", "unknown to LSST")])
    return MaskedImage(Image(rng.normal(size=(50, 60)).astype(np.float32), unit=unit), mask_schema=schema)


def test_masked_image_needs_psf_and_unit(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(MissingPsfError, match="set psfFwhm"):
        read_image(masked_image(u.electron))
    with pytest.raises(UnknownUnitError, match=r"names no unit \(BUNIT\)"):
        read_image(masked_image(None), WorkingImageConfig(psfFwhm=3.0))
    with pytest.raises(UnknownUnitError, match=r"set gain"):
        read_image(masked_image(u.adu), WorkingImageConfig(psfFwhm=3.0))
    with pytest.raises(UnknownUnitError, match="known units are electron, adu and nJy"):
        read_image(masked_image(u.Jy), WorkingImageConfig(psfFwhm=3.0))
    config = WorkingImageConfig(psfFwhm=3.0, unit="adu", gain=2.0, pixelSize=0.01, exposureTime=15.0)
    working = read_image(masked_image(None), config)
    assert "using a Gaussian of FWHM 3.00 pixels" in caplog.text
    assert (working.scale, working.psf_fwhm, working.pixel_size, working.exposure_time) == (
        2.0,
        3.0,
        0.01,
        15.0,
    )
    assert set(working.planes) == {"BAD", "ODD"}


def test_counts_are_adu() -> None:
    config = WorkingImageConfig(psfFwhm=3.0, gain=2.0)
    working = read_image(masked_image(u.count), config)
    assert (working.unit, working.scale) == ("adu", 2.0)


def test_noise_gives_the_scale_of_njy_without_calibration(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(5)
    electrons = rng.exponential(3000.0, size=(200, 210))
    image = Image((0.25 * electrons).astype(np.float32), unit=u.nJy)
    variance = Image((0.25**2 * (electrons + 400.0)).astype(np.float32), unit=u.nJy**2)
    source = MaskedImage(image, variance=variance, mask_schema=MaskSchema([MaskPlane("BAD", "")]))
    working = read_image(source, WorkingImageConfig(psfFwhm=3.0))
    assert working.scale == pytest.approx(4.0, rel=1e-3)
    assert "follows from its variance plane" in caplog.text
    flat = MaskedImage(image, mask_schema=MaskSchema([MaskPlane("BAD", "")]))
    with pytest.raises(UnknownUnitError, match="does not rise with flux"):
        read_image(flat, WorkingImageConfig(psfFwhm=3.0))


def test_unknown_plane_is_named(make_image: Make) -> None:
    working = read_image(make_image())
    with pytest.raises(UnknownMaskPlaneError, match=r"no mask plane 'CR'; it has .*COSMIC_RAY"):
        working.any_plane(["BAD", "CR"])


def test_not_an_image() -> None:
    with pytest.raises(TypeError, match="Cannot read an image from a ndarray"):
        read_image(np.zeros((3, 3)))


def test_pixels_without_a_measurement(make_image: Make) -> None:
    source = make_image()
    source.image.array[1, 2] = np.nan
    source.image.array[3, 4] = np.inf
    source.variance.array[5, 6] = 0.0
    source.variance.array[7, 8] = -1.0
    source.variance.array[9, 10] = np.nan
    unusable = read_image(source).not_finite()
    assert set(zip(*np.nonzero(unusable), strict=True)) == {(1, 2), (3, 4), (5, 6), (7, 8), (9, 10)}


@pytest.mark.parametrize("field", ["gain", "electronsPerUnit", "psfFwhm", "pixelSize", "exposureTime"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_config_refuses_nonsense(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        WorkingImageConfig(**{field: value}).validate()


@pytest.mark.parametrize("name", LEGACY)
def test_afw_exposures(shared: Path, name: str) -> None:
    exposure = Exposure(shared / "golden" / "legacy" / f"{name}.fits")
    facts = exposure.facts
    golden = np.load(shared / "golden" / "legacy" / f"{name}.npz")
    working = read_image(exposure)
    stored = working.in_stored_unit()
    np.testing.assert_array_equal(stored.image, golden["image"])
    np.testing.assert_array_equal(stored.variance, golden["variance"])
    x0, y0, width, height = facts["bbox"]
    assert working.bbox == Box.factory[y0 : y0 + height, x0 : x0 + width]
    assert working.unit == facts["bunit"]
    assert (working.gain, working.pixel_size, working.exposure_time) == (3.0, 0.015, 300.0)
    assert working.psf_fwhm == pytest.approx(2.3548 * facts["psf_sigma"], rel=2e-3)
    names = {"CR": "COSMIC_RAY", "SAT": "SATURATED", "INTRP": "INTERPOLATED", "EDGE": "DETECTION_EDGE"}
    counts = {names.get(plane, plane): n for plane, n in facts["planes"].items()}
    assert {plane: int(working.planes[plane].sum()) for plane in working.planes} == counts
    assert read_plane_names(exposure) == set(counts)
    np.testing.assert_array_equal(read_mask(exposure, "SATURATED"), working.planes["SATURATED"])
    # On a difference image photon noise does not follow flux, so that the
    # scale found without a calibration is only rough.
    tolerance = 0.25 if name == "difference_njy" else 0.02
    expected = {"electron": 1.0, "adu": 3.0, "nJy": 2.0}[facts["bunit"]]
    assert working.scale == pytest.approx(expected, rel=tolerance)


def test_afw_same_photons(shared: Path) -> None:
    folder = shared / "golden" / "legacy"
    electrons = read_image(Exposure(folder / "calexp_electron.fits"))
    adu = read_image(Exposure(folder / "calexp_adu.fits"))
    njy = read_image(Exposure(folder / "visit_image_njy.fits"), WorkingImageConfig(electronsPerUnit=2.0))
    for other in (adu, njy):
        np.testing.assert_allclose(other.image, electrons.image, rtol=1e-6)
        np.testing.assert_allclose(other.variance, electrons.variance, rtol=1e-6)


def test_afw_without_detector_or_unit(shared: Path) -> None:
    folder = shared / "golden" / "legacy"
    template = read_image(Exposure(folder / "template_no_detector.fits"))
    assert template.gain is None
    assert template.pixel_size is None
    assert "INEXACT_PSF" in template.planes
    with pytest.raises(UnknownUnitError, match="BUNIT"):
        read_image(Exposure(folder / "no_bunit.fits"))
    assert read_image(Exposure(folder / "no_bunit.fits"), WorkingImageConfig(unit="electron")).scale == 1.0


@pytest.mark.parametrize(
    ("stored", "after_isr", "unit"),
    [
        (None, "electron", "electron"),
        (None, "adu", "adu"),
        # Left from the raw file.
        ("ADU", "electron", "electron"),
        ("", "electron", "electron"),
        # Set by what comes after.
        ("nJy", "electron", "nJy"),
        ("electron", "adu", "electron"),
        ("adu", None, "adu"),
    ],
)
def test_afw_unit_after_instrument_signature_removal(
    shared: Path, stored: str | None, after_isr: str | None, unit: str
) -> None:
    exposure = Exposure(shared / "golden" / "legacy" / "calexp_electron.fits")
    exposure.facts |= {"bunit": stored, "isr_unit": after_isr}
    working = read_image(exposure, WorkingImageConfig(electronsPerUnit=2.0))
    assert working.unit == unit
    if unit != "nJy":
        assert read_image(exposure).scale == {"electron": 1.0, "adu": 3.0}[unit]


def test_afw_mask_with_all_planes(shared: Path) -> None:
    """The last of 32 is the sign of a pixel."""
    exposure = Exposure(shared / "golden" / "legacy" / "calexp_electron.fits")
    mask = exposure.getMaskedImage().mask
    for number in range(32 - len(mask.planes)):
        mask.addMaskPlane(f"ANOTHER_{number}")
    (last,) = (name for name, bit in mask.planes.items() if bit == 31)
    saturated = read_mask(exposure, "SATURATED")
    mask.array[3, 4] |= mask.getPlaneBitMask(last)
    assert np.argwhere(read_mask(exposure, last)).tolist() == [[3, 4]]
    np.testing.assert_array_equal(read_mask(exposure, "SATURATED"), saturated)


def test_mask_dataset_round_trip(tmp_path: Path) -> None:
    mask = np.random.default_rng(7).random((30, 40)) < 0.1
    box = Box.factory[100:130, -5:35]
    dataset = make_cosmic_ray_mask(mask, box)
    assert dataset.bbox == box
    assert set(dataset.schema.names) == {"COSMIC_RAY"}
    np.testing.assert_array_equal(read_mask(dataset), mask)


@pytest.mark.parametrize("fwhm", [1.6, 2.5, 4.0, 9.0])
def test_width_of_gaussians(fwhm: float) -> None:
    kernel = gaussian_kernel(fwhm)
    assert kernel.sum() == pytest.approx(1.0, abs=1e-14)
    assert kernel.shape[0] % 2 == 1
    assert gaussian_fwhm(kernel) == pytest.approx(fwhm, rel=0.04 if fwhm < 2 else 1e-3)


@pytest.mark.parametrize("fwhm", [0.0, -1.0, float("nan"), float("inf")])
def test_no_such_width(fwhm: float) -> None:
    with pytest.raises(ValueError, match="fwhm must be a positive number"):
        gaussian_kernel(fwhm)


def test_width_of_nothing() -> None:
    with pytest.raises(ValueError, match="no positive flux"):
        gaussian_fwhm(np.zeros((5, 5)))
