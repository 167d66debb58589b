# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading FITS files of any layout, and saying what is wrong with them."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import Any

import astropy.wcs
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from ingest_files import (
    GAIN,
    HEADER,
    SHAPE,
    WCS,
    make_scene,
    write_afw,
    write_extensions,
    write_image,
    write_mask,
)

from lsst.meas.cosmicrays.ingest.checksums import wrong_sums
from lsst.meas.cosmicrays.ingest.errors import IngestError, IngestWarning
from lsst.meas.cosmicrays.ingest.fits_files import read_image_array
from lsst.meas.cosmicrays.ingest.headers import Quantities, parse_section
from lsst.meas.cosmicrays.ingest.identity import KnownImages
from lsst.meas.cosmicrays.ingest.preset import Companion, MaskCodes, MaskCompanion, Preset, VarianceCompanion
from lsst.meas.cosmicrays.ingest.presets import PRESETS
from lsst.meas.cosmicrays.ingest.reading import CcdFrame, read_frames

GENERIC = PRESETS["generic"]


def read_one(path: Path, preset: Preset = GENERIC) -> CcdFrame:
    (frame,) = read_frames(path, preset)
    if isinstance(frame, IngestError):
        raise frame
    return frame


def quantities(preset: Preset = GENERIC, **entries: Any) -> Quantities:
    header = fits.Header()
    header.update(entries)
    return Quantities((header,), preset, Path("a.fits"), "0")


def test_single_image(tmp_path: Path) -> None:
    image, _ = make_scene()
    frame = read_one(write_image(tmp_path / "a.fits", image))
    np.testing.assert_array_equal(frame.image, (image / GAIN).astype(np.float32))
    assert frame.image.dtype == np.float32
    assert frame.image.dtype.isnative
    assert frame.extension == "0"
    assert frame.variance is None
    assert frame.truth is None
    assert frame.quantities.number("gain") == GAIN
    assert frame.wcs is not None
    np.testing.assert_allclose(frame.wcs.pixel_to_world_values(79.5, 74.5), (40.0, -10.0))


def test_all_extensions_are_detectors_unless_some_are_chosen(tmp_path: Path) -> None:
    images = {name: make_scene(seed=seed)[0] for seed, name in enumerate(("N1", "N2", "S1"))}
    path = write_extensions(tmp_path / "a.fits", images)
    frames = [frame for frame in read_frames(path, GENERIC) if isinstance(frame, CcdFrame)]
    assert [frame.extension for frame in frames] == ["N1", "N2", "S1"]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.quantities.number("exposure_time") for frame in frames] == [90.0] * 3
    chosen = list(read_frames(path, GENERIC.with_overrides(extensions=("S1", 1))))
    assert [frame.extension for frame in chosen if isinstance(frame, CcdFrame)] == ["S1", "N1"]


def test_compressed_images_and_third_axes(tmp_path: Path) -> None:
    image, _ = make_scene()
    data = (image / GAIN).astype(np.float32)[None]
    compressed = fits.CompImageHDU(data, compression_type="GZIP_2", quantize_level=0.0)
    compressed.header.update(HEADER)
    path = tmp_path / "a.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), compressed]).writeto(path)
    frame = read_one(path)
    assert frame.extension == "1"
    np.testing.assert_allclose(frame.image, image / GAIN, rtol=1e-6)


def test_trim_overscan_and_wcs_go_together(tmp_path: Path) -> None:
    image, _ = make_scene()
    bias = 900.0 + np.arange(SHAPE[0])[:, None]
    raw = np.concatenate([image / GAIN + bias, bias + np.zeros((SHAPE[0], 10))], axis=1)
    path = write_image(tmp_path / "a.fits", raw * GAIN)
    preset = GENERIC.with_overrides(overscan="[163:170,1:150]", trim="[11:160,21:150]")
    frame = read_one(path, preset)
    np.testing.assert_allclose(frame.image, (image / GAIN)[20:, 10:], atol=1e-2)
    assert frame.wcs is not None
    np.testing.assert_allclose(frame.wcs.pixel_to_world_values(69.5, 54.5), (40.0, -10.0))


def test_mask_values_and_truth_in_companions(tmp_path: Path) -> None:
    image, truth = make_scene(n_cosmic_rays=4)
    codes = np.zeros(SHAPE)
    codes[3, :] = 1
    codes[7, 4] = 4
    codes[truth] = 5
    path = write_image(tmp_path / "a_ooi.fits", image)
    write_mask(tmp_path / "a_ood.fits", codes)
    weights = np.full(SHAPE, 0.25)
    weights[truth] = 0.0
    fits.PrimaryHDU(weights).writeto(tmp_path / "a_oow.fits")
    preset = PRESETS["decam-instcal"].with_overrides(
        mask=MaskCompanion(replace=("_ooi", "_ood"), codes=PRESETS["decam-instcal"].mask.codes),
        variance=VarianceCompanion(replace=("_ooi", "_oow"), kind="inverse_variance"),
    )
    frame = read_one(path, preset)
    assert set(frame.planes) == {"BAD", "SATURATED"}
    assert frame.planes["BAD"].sum() == SHAPE[1]
    np.testing.assert_array_equal(frame.truth, truth)
    assert frame.variance is not None
    np.testing.assert_array_equal(np.isnan(frame.variance), truth)
    assert frame.variance[0, 0] == 4.0


def test_mask_bits_and_sigma_in_extensions(tmp_path: Path) -> None:
    image, _ = make_scene()
    dq = np.zeros(SHAPE, dtype=np.int16)
    dq[1, 1], dq[2, 2] = 1 + 16, 16
    primary = fits.PrimaryHDU()
    primary.header.update(HEADER)
    hdus = [primary, fits.ImageHDU(image.astype(np.float32), name="SCI")]
    hdus += [fits.ImageHDU(dq, name="DQ"), fits.ImageHDU(np.full(SHAPE, 3.0), name="ERR")]
    path = tmp_path / "a.fits"
    fits.HDUList(hdus).writeto(path)
    preset = GENERIC.with_overrides(
        mask=MaskCompanion(extension="DQ", codes=MaskCodes(bits={0: "BAD", 4: "SATURATED"})),
        variance=VarianceCompanion(extension="ERR", kind="sigma"),
    )
    frame = read_one(path, preset)
    assert frame.extension == "SCI"
    assert np.argwhere(frame.planes["BAD"]).tolist() == [[1, 1]]
    assert np.argwhere(frame.planes["SATURATED"]).tolist() == [[1, 1], [2, 2]]
    assert np.all(frame.variance == 9.0)


def test_extensions_of_one_name_are_told_apart_by_their_version(tmp_path: Path) -> None:
    image, _ = make_scene()
    hdus = [fits.PrimaryHDU()]
    hdus[0].header.update(HEADER)
    for version in (1, 2):
        hdus.append(fits.ImageHDU(image.astype(np.float32), name="SCI", ver=version))
        hdus.append(fits.ImageHDU(np.full(SHAPE, float(version)), name="ERR", ver=version))
    path = tmp_path / "a.fits"
    fits.HDUList(hdus).writeto(path)
    preset = GENERIC.with_overrides(variance=VarianceCompanion(extension="ERR", kind="sigma"))
    frames = [frame for frame in read_frames(path, preset) if isinstance(frame, CcdFrame)]
    assert [frame.extension for frame in frames] == ["SCI,1", "SCI,2"]
    assert [float(frame.variance.mean()) for frame in frames] == [1.0, 4.0]
    known = KnownImages()
    assert [known.identify(frame).detector for frame in frames] == [0, 1]


def test_a_mask_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    frame = read_one(write_image(tmp_path / "a_ooi_b.fits"), PRESETS["decam-instcal"])
    assert frame.planes == {}
    assert frame.truth is None
    extension = GENERIC.with_overrides(mask=MaskCompanion(extension="DQ"))
    assert read_one(write_image(tmp_path / "b.fits"), extension).planes == {}
    required = GENERIC.with_overrides(mask=MaskCompanion(extension="DQ", required=True))
    with pytest.raises(IngestError, match=r"b.fits\[DQ\]: there is no such extension"):
        read_one(tmp_path / "b.fits", required)


def test_truth_masks_with_a_suffix(tmp_path: Path) -> None:
    image, truth = make_scene(n_cosmic_rays=4)
    path = write_image(tmp_path / "a.fits", image)
    preset = GENERIC.with_overrides(truth=Companion(suffix="_crmask.fits.gz"))
    assert read_one(path, preset).truth is None
    write_mask(tmp_path / "a_crmask.fits.gz", truth)
    np.testing.assert_array_equal(read_one(path, preset).truth, truth)


def test_afw_file(tmp_path: Path) -> None:
    frame = read_one(write_afw(tmp_path / "a.fits"), PRESETS["afw"])
    assert set(frame.planes) == {"SATURATED", "COSMIC_RAY", "OWN"}
    assert frame.planes["SATURATED"].sum() == 8
    assert frame.truth is None, "cosmic rays that a pipeline found are no truth"
    assert frame.variance is not None
    found = frame.quantities
    assert found.number("gain") == pytest.approx(1.6)
    assert found.number("read_noise") == pytest.approx(5.0)
    assert found.integer("detector") == 12
    assert found.integer("exposure") == 77
    assert (found.text("filter"), found.text("band")) == ("g_01", "g")
    assert found.number("fwhm") == pytest.approx(1.9 * 2.3548, rel=1e-4)
    date = found.date()
    assert date is not None
    assert date.scale == "tai"
    assert date.isot == "2024-02-03T04:04:51.000", "the beginning, from the middle"


def test_dates_in_every_form() -> None:
    saao = PRESETS["saao"]
    for found in (
        quantities(**{"DATE-OBS": "2013-06-27T23:13:12"}),
        quantities(**{"DATE-OBS": "2013-06-27 23:13:12"}),
        quantities(**{"DATE-OBS": "2013-06-27T23:13:12Z"}),
        quantities(saao, **{"DATE-OBS": "2013-06-27", "UT": "23:13:12"}),
        quantities(GENERIC.with_overrides(values={"date": "2013-06-27T23:13:12"})),
        quantities(**{"MJD-OBS": 56470.967500}),
    ):
        date = found.date()
        assert date is not None
        assert date.isot == "2013-06-27T23:13:12.000"
    assert quantities().date() is None


@pytest.mark.parametrize("value", ["yesterday", "27/06/2013", 12.0, True])
def test_bad_dates(value: Any) -> None:
    with pytest.raises(IngestError, match="keyword DATE-OBS.*neither an ISO 8601 date nor an MJD"):
        quantities(**{"DATE-OBS": value}).date()


@pytest.mark.parametrize("value", ["two", "[3.3,3.4]", "NaN", "inf", True])
def test_numbers_that_are_none(value: Any) -> None:
    with pytest.raises(IngestError, match=r"a.fits\[0\], keyword GAIN: .* is not a number: give --gain"):
        quantities(GAIN=value).number("gain")


def test_limits_are_checked() -> None:
    with pytest.raises(IngestError, match="keyword GAIN: the gain is 0; it must be above 0"):
        quantities(GAIN=0.0).checked_number("gain", above=0.0)
    with pytest.raises(IngestError, match="keyword RDNOISE: the read noise is -1; it must be at least 0"):
        quantities(RDNOISE=-1.0).checked_number("read_noise", at_least=0.0)


def test_angles() -> None:
    assert quantities(RA="00:42:14.4").angle("ra") == pytest.approx(10.56)
    assert quantities(RA=10.56).angle("ra") == pytest.approx(10.56)
    assert quantities(DEC="-25:17:06").angle("dec") == pytest.approx(-25.285)
    assert quantities().angle("ra") is None
    for bad in ({"DEC": "north"}, {"DEC": 95.0}):
        with pytest.raises(IngestError, match="keyword DEC: .* is not an angle"):
            quantities(**bad).angle("dec")


def test_sections() -> None:
    assert parse_section("[2:5, 1:3]", (10, 10)) == (slice(0, 3), slice(1, 5))
    for text in ("2:5,1:3", "[0:5,1:3]", "[5:2,1:3]", "[1:11,1:3]"):
        with pytest.raises(IngestError, match="section"):
            parse_section(text, (10, 10))


def damaged(tmp_path: Path, kind: str) -> Path:
    """Write a file with which something is wrong."""
    path = tmp_path / "bad.fits"
    if kind == "absent":
        return path
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("This is not FITS.\n" * 300)
    elif kind == "table":
        fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "J")])]).writeto(
            path
        )
    elif kind == "one axis":
        fits.PrimaryHDU(np.arange(10.0)).writeto(path)
    elif kind == "cube":
        fits.PrimaryHDU(np.zeros((3, 10, 10))).writeto(path)
    elif kind == "nan":
        write_image(path, np.full(SHAPE, np.nan))
    elif kind == "truncated":
        write_image(path)
        path.write_bytes(path.read_bytes()[:20000])
    elif kind == "truncated gzip":
        path = write_image(tmp_path / "bad.fits.gz")
        path.write_bytes(path.read_bytes()[:20000])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("absent", "no such file"),
        ("empty", "is not a FITS file, or is damaged"),
        ("text", "is not a FITS file, or is damaged"),
        ("table", "holds no two-dimensional image"),
        ("one axis", "holds no two-dimensional image"),
        ("cube", "holds no two-dimensional image"),
        ("nan", "has no finite pixel"),
        ("truncated", "is truncated"),
        ("truncated gzip", "is not a FITS file, or is damaged"),
    ],
)
def test_damaged_files(tmp_path: Path, kind: str, message: str) -> None:
    path = damaged(tmp_path, kind)
    (error,) = read_frames(path, GENERIC)
    assert isinstance(error, IngestError)
    assert message in str(error)
    assert str(error).startswith(path.name)
    assert "\n" not in str(error)


def test_damaged_compressed_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.fits.fz"
    image = fits.CompImageHDU(np.arange(22500, dtype=np.int32).reshape(150, 150))
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    content = bytearray(path.read_bytes())
    content[-2000:] = b"\xff" * 2000
    path.write_bytes(bytes(content))
    (error,) = read_frames(path, GENERIC)
    assert isinstance(error, IngestError)
    assert "a.fits.fz" in str(error)


def test_one_bad_extension_does_not_stop_the_others(tmp_path: Path) -> None:
    images = {"A": make_scene()[0], "B": np.full(SHAPE, np.nan), "C": make_scene()[0]}
    path = write_extensions(tmp_path / "a.fits", images)
    first, error, last = read_frames(path, GENERIC)
    assert isinstance(first, CcdFrame)
    assert isinstance(last, CcdFrame)
    assert str(error) == "a.fits[B]: has no finite pixel"


def test_missing_extensions(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.fits")
    (error,) = read_frames(path, GENERIC.with_overrides(extensions=("N7",)))
    assert str(error) == "a.fits[N7]: there is no such extension"


def test_bad_companions(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.fits")
    required = GENERIC.with_overrides(truth=Companion(suffix="_t.fits", required=True))
    with pytest.raises(IngestError, match=r"a.fits\[0\]: its companion a_t.fits is missing"):
        read_one(path, required)
    write_mask(tmp_path / "a_t.fits", np.zeros((10, 12)))
    with pytest.raises(IngestError, match=r"a_t.fits\[0\]: has the shape \(10, 12\), but its image has"):
        read_one(path, required)
    (tmp_path / "a_t.fits").write_bytes(gzip.compress(b"nonsense"))
    with pytest.raises(IngestError, match="a_t.fits.*is not a FITS file"):
        read_one(path, required)


def test_afw_files_that_lack_something(tmp_path: Path) -> None:
    path = write_afw(tmp_path / "a.fits")
    with fits.open(path, mode="update") as hdus:
        for keyword in ("MP_SAT", "MP_CR", "MP_OWN"):
            del hdus["MASK"].header[keyword]
    with pytest.raises(IngestError, match=r"a.fits\[MASK\], keyword MP_\*: names no mask planes"):
        read_one(path, PRESETS["afw"])
    with fits.open(path, mode="update") as hdus:
        del hdus["MASK"]
    with pytest.raises(IngestError, match=r"a.fits\[MASK\]: there is no such extension"):
        read_one(path, PRESETS["afw"])


def test_bad_wcs_counts_as_none(tmp_path: Path) -> None:
    singular = {keyword: 0.0 for keyword in WCS if keyword.startswith("CD")}
    assert read_one(write_image(tmp_path / "a.fits", header=singular)).wcs is None
    assert (
        read_one(write_image(tmp_path / "b.fits", header={"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"})).wcs
        is None
    )
    assert read_one(write_image(tmp_path / "c.fits", wcs=False)).wcs is None


@pytest.mark.parametrize(
    "header",
    [
        {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"},
        {"CTYPE1": "GLAT-TAN", "CTYPE2": "GLON-TAN", "LONPOLE": 150.0},
        {"RADESYS": "FK4", "EQUINOX": 1950.0},
        {"EQUINOX": 1950.0, "CRVAL2": 89.0},
        {"RADESYS": "FK5", "EQUINOX": 1975.0, "CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_1": 1.01},
    ],
)
def test_coordinates_of_other_systems_become_icrs(tmp_path: Path, header: dict[str, Any]) -> None:
    path = write_image(tmp_path / "a.fits", header={"CD1_2": 2e-5, "CD2_1": 3e-5, **header})
    x, y = np.array([0.0, 70.0, 140.0]), np.array([0.0, 100.0, 20.0])
    with fits.open(path) as hdus:
        del hdus[0].header["DATE-OBS"]  # Of which astropy warns.
        expected = astropy.wcs.WCS(hdus[0].header).pixel_to_world(x, y).icrs
    wcs = read_one(path).wcs
    assert wcs is not None
    found = SkyCoord(wcs.pixel_to_world(x, y), frame="icrs")
    assert found.separation(expected).arcsec.max() < 0.01
    assert wcs.wcs.radesys == "ICRS"


def test_coordinates_that_cannot_become_icrs_count_as_none(tmp_path: Path) -> None:
    header = {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR"}
    assert read_one(write_image(tmp_path / "a.fits", header=header)).wcs is None


def test_read_image_array(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "bad.fits", np.eye(5))
    np.testing.assert_array_equal(read_image_array(path), np.eye(5))
    with pytest.raises(IngestError, match=r"bad.fits: has the shape \(5, 5\)"):
        read_image_array(path, (5, 6))


def write_with_sums(path: Path) -> list[int]:
    """Write an image of every kind, and return where their data begin."""
    image = (make_scene(n_stars=2, shape=(20, 30))[0] / 2.0).astype(np.float32)
    extensions = [fits.ImageHDU(image), fits.CompImageHDU(image), fits.ImageHDU(image[:1, :1], name="X")]
    fits.HDUList([fits.PrimaryHDU(), *extensions]).writeto(path, checksum=True)
    with fits.open(path) as hdus:
        return [hdu.fileinfo()["datLoc"] for hdu in hdus]


@pytest.mark.parametrize("packed", [False, True])
def test_sums_that_are_wrong(tmp_path: Path, packed: bool) -> None:
    """Data that were damaged, and a header that was changed, are named."""
    path = tmp_path / "a.fits"
    data = write_with_sums(path)
    content = bytearray(path.read_bytes())
    # A byte of the pixels, one of compressed ones, and a letter of a header.
    content[data[1] + 5] ^= 1
    content[data[2] + 3] ^= 1
    place = content.find(b"EXTNAME", data[2])
    content[place + 11] = ord("Y")
    for damaged, expected in (
        (path.read_bytes(), {}),
        (content, {1: "DATASUM", 2: "DATASUM", 3: "CHECKSUM"}),
    ):
        path.write_bytes(damaged)
        whole = path
        if packed:
            whole = tmp_path / "a.fits.gz"
            whole.write_bytes(gzip.compress(damaged))
        with fits.open(whole, memmap=False, lazy_load_hdus=False) as hdus:
            assert wrong_sums(whole, hdus) == expected
    with pytest.warns(IngestWarning) as caught:
        frames = list(read_frames(path, GENERIC))
    assert len(frames) == 3
    messages = [str(warning.message) for warning in caught]
    assert [message.split(" is wrong: ")[0] for message in messages] == [
        "a.fits[1]: its DATASUM",
        "a.fits[2]: its DATASUM",
        "a.fits[3]: its CHECKSUM",
    ]


def test_sums_are_those_of_astropy(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    data = write_with_sums(path)
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(5)
    for place in [*rng.integers(data[1], data[1] + 2400, 10), *rng.integers(data[2], data[2] + 100, 10)]:
        damaged = content.copy()
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with fits.open(path, memmap=False, lazy_load_hdus=False, checksum=True) as hdus:
                wrong = wrong_sums(path, hdus)
        assert any("Datasum verification failed" in str(warning.message) for warning in caught)
        assert list(wrong.items()) == [(1 if place < data[1] + 2400 else 2, "DATASUM")]


@pytest.mark.parametrize("value", ["", "'                '", "'none'"])
def test_sums_that_are_not_stated(tmp_path: Path, value: str) -> None:
    """A blank sum is unknown, and one that is no number is wrong."""
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.ones((4, 4), np.float32)).writeto(path, checksum=True)
    content = bytearray(path.read_bytes())
    for keyword in (b"CHECKSUM", b"DATASUM "):
        place = content.find(keyword + b"= ")
        content[place + 10 : place + 80] = value.encode().ljust(70)
    path.write_bytes(content)
    with fits.open(path, memmap=False) as hdus:
        assert wrong_sums(path, hdus) == ({0: "DATASUM"} if value == "'none'" else {})
