# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""``cosmicrays ingest``: from FITS files to datasets of a repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time
from click.testing import CliRunner, Result
from ingest_files import (
    GAIN,
    READ_NOISE,
    SHAPE,
    SKY,
    make_scene,
    write_afw,
    write_extensions,
    write_image,
    write_mask,
)

from lsst.daf.butler import Butler
from lsst.images import VisitImage
from lsst.meas.cosmicrays.cli.ingest import ingest_command
from lsst.meas.cosmicrays.images import read_image, read_mask
from lsst.pipe.base import Instrument


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Return what calls ``cosmicrays ingest`` on a repository."""

    def call(*arguments: object, status: int = 0) -> Result:
        words = [str(tmp_path / "repo"), *(str(argument) for argument in arguments)]
        result = CliRunner().invoke(ingest_command, words)
        assert result.exit_code == status, result.output
        return result

    return call


@pytest.fixture
def butler_of(tmp_path: Path) -> Callable[[str], Butler]:
    """Return what opens the repository at an instrument's defaults."""

    def make(instrument: str) -> Butler:
        return Butler.from_config(
            str(tmp_path / "repo"), instrument=instrument, collections=f"{instrument}/defaults"
        )

    return make


def images_of(butler: Butler, name: str = "visit_image") -> dict[tuple[int, int], Any]:
    refs = butler.query_datasets(name, explain=False)
    return {(ref.dataId["visit"], ref.dataId["detector"]): butler.get(ref) for ref in refs}


def test_one_exposure_with_truth(tmp_path: Path, run: Callable, butler_of: Callable) -> None:
    image, truth = make_scene(n_cosmic_rays=5)
    path = write_image(tmp_path / "night_0012.fits", image)
    write_mask(tmp_path / "night_0012_crmask.fits", truth)
    bad = np.zeros(SHAPE)
    bad[:, 7] = 1
    write_mask(tmp_path / "badpix.fits", bad)
    result = run(
        path,
        "--instrument",
        "MyCam",
        "--truth-suffix",
        "_crmask.fits",
        "--bad-pixels",
        tmp_path / "badpix.fits",
    )
    assert "night_0012.fits[0]: visit 12, detector 0 (ccd0); 160x150 pixels" in result.output
    assert "truth of 25 pixels" in result.output
    assert "1 images ingested, 0 already there, 0 errors; collection MyCam/defaults" in result.output

    butler = butler_of("MyCam")
    (visit_image,) = images_of(butler).values()
    assert isinstance(visit_image, VisitImage)
    assert visit_image.unit == u.electron
    assert visit_image.physical_filter == "r"
    assert visit_image.band == "r"
    assert visit_image.obs_info.exposure_time == 90.0 * u.s
    assert visit_image.obs_info.datetime_begin == Time("2023-04-05T06:07:08", scale="utc")
    assert visit_image.mask.get("BAD").sum() == SHAPE[0]
    assert visit_image.backgrounds.subtracted.name == "sky"
    sky = visit_image.backgrounds["sky"].field.render(dtype=np.float32).array
    np.testing.assert_allclose(visit_image.image.array + sky, image, rtol=1e-4, atol=0.05)
    corner = visit_image.sky_projection.pixel_to_sky_transform.apply_forward(x=79.5, y=74.5)
    np.testing.assert_allclose(np.rad2deg([corner.x, corner.y]), (40.0, -10.0))
    (mask,) = images_of(butler, "cr_truth").values()
    np.testing.assert_array_equal(read_mask(mask), truth)

    working = read_image(visit_image)
    assert working.gain == GAIN
    assert working.exposure_time == 90.0
    assert working.psf_fwhm == pytest.approx(1.9 * 2.355, rel=0.05)
    assert np.median(working.variance) == pytest.approx(SKY + READ_NOISE**2, rel=0.05)
    assert Instrument.fromName("MyCam", butler.registry).getName() == "MyCam"
    (row,) = images_of(butler, "cr_ingest_summary")[12, 0]
    assert (row["file"], row["preset"], row["truth_pixels"]) == ("night_0012.fits", "generic", 25)
    record = butler.query_dimension_records("visit", visit=12)[0]
    assert (record.name, record.day_obs) == ("night_0012", 20230404)


def test_all_detectors_of_a_visit(tmp_path: Path, run: Callable, butler_of: Callable) -> None:
    images = {name: make_scene(seed=seed, n_stars=4)[0] for seed, name in enumerate(("N1", "N2", "S1"))}
    run(write_extensions(tmp_path / "a.fits", images), "--instrument", "Mosaic")
    butler = butler_of("Mosaic")
    found = images_of(butler)
    assert sorted(found) == [(501, 0), (501, 1), (501, 2)]
    assert [found[501, n].detector.name for n in range(3)] == ["N1", "N2", "S1"]
    (visit,) = butler.query_dimension_records("visit")
    for record in butler.query_dimension_records("visit_detector_region"):
        assert visit.region.contains(record.region.getCentroid())


def test_detectors_in_files_of_their_own_join_a_visit(
    tmp_path: Path, run: Callable, butler_of: Callable
) -> None:
    for ccd in (3, 5):
        image, _ = make_scene(seed=ccd, n_stars=4)
        header = {"EXPNUM": 88, "CCDNUM": ccd, "CRVAL1": 40.0 + 0.02 * ccd}
        run(write_image(tmp_path / f"ccd{ccd}.fits", image, header=header), "--instrument", "Mosaic")
    assert sorted(images_of(butler_of("Mosaic"))) == [(88, 3), (88, 5)]


def test_numbers_can_come_from_options_and_other_keywords(
    tmp_path: Path, run: Callable, butler_of: Callable
) -> None:
    image, _ = make_scene(n_stars=4)
    header = {"GAIN": None, "RDNOISE": None, "CCDGAIN2": 2.0, "FILTER": None, "EXPTIME": None, "BUNIT": None}
    path = write_image(tmp_path / "a_3.fits", image, header=header | {"DATE-OBS": None}, wcs=False)
    options = ["--key", "gain=NONE,CCDGAIN2", "--read-noise", 6, "--filter", "V", "--exposure-time", 12]
    options += [
        "--date",
        "2020-01-02T03:04:05",
        "--unit",
        "adu",
        "--pixel-scale",
        0.5,
        "--ra",
        10,
        "--dec",
        20,
    ]
    result = run(path, "--instrument", "MyCam", *options, "--keep-sky", "--psf", "given", "--fwhm", 4.0)
    assert "note: a_3.fits[0]: no WCS: a tangential one is made up\n" in result.output
    (visit_image,) = images_of(butler_of("MyCam")).values()
    working = read_image(visit_image)
    assert working.gain == 2.0
    assert working.exposure_time == 12.0
    assert working.psf_fwhm == pytest.approx(4.0, rel=0.01)
    assert np.median(working.image) == pytest.approx(SKY, rel=0.05)
    assert visit_image.backgrounds.subtracted is None
    assert visit_image.physical_filter == "V"
    middle = visit_image.sky_projection.pixel_to_sky_transform.apply_forward(x=79.5, y=74.5)
    np.testing.assert_allclose(np.rad2deg([middle.x, middle.y]), (10.0, 20.0), atol=1e-9)


def test_what_is_assumed_is_said(tmp_path: Path, run: Callable) -> None:
    path = tmp_path / "bare.fits"
    fits.PrimaryHDU(make_scene(n_stars=1)[0].astype(np.float32)).writeto(path)
    result = run(path, "--instrument", "Bare", "--unit", "electron", "--read-noise", 6)
    for text in ("too few for a PSF model", "no WCS", "no date", "no exposure time", "no filter"):
        assert f"note: bare.fits[0]: {text}" in result.output or text in result.output


def test_again_and_more(tmp_path: Path, run: Callable, butler_of: Callable) -> None:
    paths = [
        write_image(
            tmp_path / f"n_{n}.fits", make_scene(seed=n, n_stars=4)[0], header={"FILTER": "rgg"[n - 1]}
        )
        for n in (1, 2, 3)
    ]
    run(*paths[:2], "--instrument", "MyCam")
    before = {ref.id for ref in butler_of("MyCam").query_datasets("visit_image")}
    result = run(*paths, "--instrument", "MyCam")
    assert "n_1.fits[0]: already there as visit 1, detector 0" in result.output
    assert "1 images ingested, 2 already there, 0 errors" in result.output
    refs = butler_of("MyCam").query_datasets("visit_image")
    assert before < {ref.id for ref in refs}
    assert {ref.dataId["visit"] for ref in refs} == {1, 2, 3}
    assert (
        sum("already there" in line for line in run(*paths, "--instrument", "MyCam").output.splitlines()) == 4
    )


def test_an_ingestion_that_was_killed_is_completed(
    tmp_path: Path, run: Callable, butler_of: Callable
) -> None:
    path = write_image(tmp_path / "n_1.fits", make_scene(n_stars=4)[0])
    run(path, "--instrument", "MyCam")
    writer = Butler.from_config(str(tmp_path / "repo"), writeable=True)
    summaries = writer.query_datasets("cr_ingest_summary", collections="MyCam/ingested")
    writer.pruneDatasets(summaries, unstore=True, purge=True, disassociate=True)
    assert "1 images ingested, 0 already there" in run(path, "--instrument", "MyCam").output
    assert len(butler_of("MyCam").query_datasets("visit_image")) == 1


def test_the_good_files_are_ingested_beside_the_bad(
    tmp_path: Path, run: Callable, butler_of: Callable
) -> None:
    image = make_scene(n_stars=4)[0]
    good = write_image(tmp_path / "good_1.fits", image)
    damaged = write_image(tmp_path / "damaged.fits", image)
    damaged.write_bytes(damaged.read_bytes()[:30000])
    (tmp_path / "text.fits").write_text("no FITS")
    no_gain = write_image(tmp_path / "no_gain.fits", image, header={"GAIN": None})
    zero_gain = write_image(tmp_path / "zero_gain.fits", image, header={"GAIN": 0.0})
    bad_date = write_image(tmp_path / "bad_date.fits", image, header={"DATE-OBS": "soon"})
    bad_mask = write_image(tmp_path / "bad_mask.fits", image)
    write_mask(tmp_path / "bad_mask_cr.fits", np.zeros((4, 5)))
    mosaic = write_extensions(tmp_path / "mosaic.fits", {"A": np.full(SHAPE, np.nan), "B": image})
    files = [damaged, tmp_path / "text.fits", tmp_path / "absent.fits", no_gain, zero_gain]
    files += [bad_date, bad_mask, mosaic, good]
    result = run(*files, "--instrument", "MyCam", "--truth-suffix", "_cr.fits", status=1)
    errors = [line for line in result.output.splitlines() if line.startswith("error: ")]
    for text in (
        "damaged.fits: is truncated",
        "text.fits: is not a FITS file",
        "absent.fits: no such file",
        "no_gain.fits[0], keyword GAIN or EGAIN or GAINA or CCDGAIN: missing",
        "zero_gain.fits[0], keyword GAIN: the gain is 0; it must be above 0",
        "bad_date.fits[0], keyword DATE-OBS: 'soon' is neither",
        "bad_mask_cr.fits[0]: has the shape (4, 5)",
        "mosaic.fits[A]: has no finite pixel",
    ):
        assert sum(line.startswith(f"error: {text}") for line in errors) == 1, text
    assert len(errors) == 8
    assert "2 images ingested, 0 already there, 8 errors" in result.output
    assert sorted(images_of(butler_of("MyCam"))) == [(1, 0), (501, 1)]


def test_wrong_sums_are_noted(tmp_path: Path, run: Callable) -> None:
    path = write_image(tmp_path / "a.fits", make_scene(n_stars=4)[0])
    with fits.open(path, memmap=False) as hdus:
        hdus.writeto(path, checksum=True, overwrite=True)
        place = hdus[0].fileinfo()["datLoc"]
    content = bytearray(path.read_bytes())
    content[place + 7] ^= 1
    path.write_bytes(content)
    result = run(path, "--instrument", "MyCam")
    notes = [line for line in result.stderr.splitlines() if line.startswith("note: a.fits[0]: its DATASUM")]
    assert len(notes) == 1
    assert "1 images ingested" in result.output


def test_no_repository_is_made_for_nothing(tmp_path: Path, run: Callable) -> None:
    run(tmp_path / "absent.fits", "--instrument", "MyCam", status=1)
    assert not (tmp_path / "repo").exists()


def test_contradictions_are_errors(tmp_path: Path, run: Callable) -> None:
    image = make_scene(n_stars=4)[0]
    first = write_image(tmp_path / "a_1.fits", image, header={"EXPNUM": 5, "CCDNUM": 1})
    run(first, "--instrument", "MyCam")
    header = {"EXPNUM": 5, "CCDNUM": 2, "EXPTIME": 91.0}
    result = run(write_image(tmp_path / "a_2.fits", image, header=header), "--instrument", "MyCam", status=1)
    assert "error: a_2.fits[0]: The repository has another definition of this exposure" in result.output
    result = run(
        write_image(tmp_path / "a_3.fits", image), "--instrument", "MyCam", "--band", "violet", status=1
    )
    assert "another definition of this physical_filter" in result.output
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "text.txt").write_text("text")
    twin = write_image(other / "a_1.fits", image)
    result = run(first, twin, "--instrument", "MyCam", status=1)
    assert "error: a_1.fits: has the same name as" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "preset generic names no instrument: give --instrument NAME"),
        (["--instrument", "My Cam"], "Instrument name 'My Cam' is not valid"),
        (["--preset", "nothing"], "No preset 'nothing'"),
        (["--preset", "saao", "--key", "gian=GAIN"], "give NAME=KEYWORD with one of gain"),
        (["--preset", "saao", "--template", "a.fits", "--template-median", "3"], "not both"),
        (["--preset", "saao", "--gain", "two"], "'two' is not a valid float"),
    ],
)
def test_bad_options(tmp_path: Path, arguments: list[str], message: str) -> None:
    path = write_image(tmp_path / "a.fits", make_scene(n_stars=1)[0])
    result = CliRunner().invoke(ingest_command, [str(tmp_path / "repo"), str(path), *arguments])
    assert result.exit_code != 0
    assert message in result.output
    assert not (tmp_path / "repo").exists()


def test_a_directory_that_is_no_repository(tmp_path: Path, run: Callable) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "notes.txt").write_text("mine")
    path = write_image(tmp_path / "a.fits", make_scene(n_stars=4)[0])
    result = run(path, "--instrument", "MyCam", status=1)
    assert "is not a Butler repository; name another directory" in result.output


@pytest.mark.slow
def test_a_directory_of_files(tmp_path: Path, run: Callable) -> None:
    night = tmp_path / "night"
    night.mkdir()
    for n in (1, 2):
        image, truth = make_scene(seed=n, n_stars=4)
        write_image(night / f"n_{n}.fits", image)
        write_mask(night / f"n_{n}_crmask.fits.gz", truth)
    (night / "log.txt").write_text("windy")
    result = run(night, "--instrument", "MyCam", "--truth-suffix", "_crmask.fits.gz", "-j", 2)
    assert "2 images ingested" in result.output


def test_template_file(tmp_path: Path, run: Callable, butler_of: Callable) -> None:
    image, _ = make_scene(n_cosmic_rays=3)
    deep = np.mean([make_scene(seed=n)[0] for n in range(10, 18)], axis=0)
    template = write_image(tmp_path / "deep.fits", deep)
    run(write_image(tmp_path / "n_1.fits", image), "--instrument", "MyCam", "--template", template)
    butler = butler_of("MyCam")
    (found,) = images_of(butler, "template_detector").values()
    (science,) = images_of(butler).values()
    assert abs(np.median(found.image.array - science.image.array)) < 2.0
    # Eight exposures were averaged, which no keyword says.
    ratio = np.median(found.variance.array) / np.median(science.variance.array)
    assert ratio == pytest.approx(1 / 8, rel=0.2)
    assert found.psf.compute_kernel_image(x=80, y=75).array.sum() == pytest.approx(1.0)


def test_templates_of_another_shape(tmp_path: Path, run: Callable, butler_of: Callable) -> None:
    path = write_image(tmp_path / "n_1.fits", make_scene(n_stars=4)[0])
    template = write_image(tmp_path / "deep.fits", make_scene(n_stars=4, shape=(100, 120))[0])
    result = run(path, "--instrument", "MyCam", "--template", template, status=1)
    assert "error: deep.fits: has the shape (100, 120), but n_1.fits has (150, 160)" in result.output
    assert len(images_of(butler_of("MyCam"))) == 1
    assert images_of(butler_of("MyCam"), "template_detector") == {}


@pytest.mark.slow
def test_median_templates(tmp_path: Path, run: Callable, butler_of: Callable) -> None:
    for n in range(1, 5):
        image, _ = make_scene(seed=n, shift=(0.7 * n, -1.2 * n), n_cosmic_rays=4)
        write_image(tmp_path / f"n_{n}.fits", image)
    files = [tmp_path / f"n_{n}.fits" for n in range(1, 5)]
    result = run(*files[:3], "--instrument", "MyCam", "--template-median", 2)
    assert "visit 1, detector 0: template is the median of 2 exposures" in result.output
    result = run(files[3], "--instrument", "MyCam", "--template-median", 3)
    assert "visit 4, detector 0: template is the median of 3 exposures" in result.output
    butler = butler_of("MyCam")
    science, templates = images_of(butler), images_of(butler, "template_detector")
    assert sorted(templates) == sorted(science)
    for key, template in templates.items():
        good = ~(template.mask.get("NO_DATA") | template.mask.get("BAD"))
        pulls = (science[key].image.array - template.image.array) / np.sqrt(
            science[key].variance.array + template.variance.array
        )
        assert 1.4826 * np.median(np.abs(pulls[good])) == pytest.approx(1.0, abs=0.1)


def test_series_without_enough_exposures(tmp_path: Path, run: Callable) -> None:
    path = write_image(tmp_path / "n_1.fits")
    result = run(path, "--instrument", "MyCam", "--template-median", 3, status=1)
    assert "error: visit 1, detector 0: no template: only 0 of 0 other exposures" in result.output
    assert "1 images ingested" in result.output


def test_afw_files(tmp_path: Path, run: Callable, butler_of: Callable) -> None:
    run(write_afw(tmp_path / "calexp.fits"), "--preset", "afw", "--instrument", "HSC")
    (visit_image,) = images_of(butler_of("HSC")).values()
    assert visit_image.mask.get("COSMIC_RAY").sum() == 15
    assert visit_image.mask.get("SATURATED").sum() == 8
    assert visit_image.mask.get("OWN").sum() == 1
    assert visit_image.band == "g"
    assert visit_image.detector.id == 12
    working = read_image(visit_image)
    assert working.psf_fwhm == pytest.approx(1.9 * 2.3548, rel=0.01)
    assert working.pixel_size == 0.01


def test_calibrated_afw_files_keep_their_unit(tmp_path: Path, run: Callable, butler_of: Callable) -> None:
    run(write_afw(tmp_path / "calexp.fits", unit="nJy", sigma=None), "--preset", "afw", "--instrument", "HSC")
    (visit_image,) = images_of(butler_of("HSC")).values()
    assert visit_image.unit == u.nJy
    assert visit_image.psf.compute_kernel_image(x=80, y=75).array.shape[0] > 9


def test_presets_from_yaml(tmp_path: Path, run: Callable, butler_of: Callable) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text(
        "instrument: Mine\nkeywords: {exposure_time: [EXPTIME]}\n"
        "values: {gain: 2, read_noise: 6, filter: z, unit: adu, date: '2021-01-01'}\n"
    )
    result = run(write_image(tmp_path / "n_1.fits"), "--preset", preset)
    assert "collection Mine/defaults" in result.output
    (visit_image,) = images_of(butler_of("Mine")).values()
    assert visit_image.band == "z"
