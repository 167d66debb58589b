# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every preset on the real files that it was made for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from lsst.daf.butler import Butler
from lsst.images import VisitImage
from lsst.meas.cosmicrays.cli.ingest import ingest_command
from lsst.meas.cosmicrays.images import WorkingImageConfig, read_image, read_mask


@pytest.fixture
def ingest(tmp_path: Path) -> Callable[..., tuple[str, dict[str, dict[int, Any]]]]:
    """Return what ingests files and reads what is in the repository then."""

    def call(instrument: str, *arguments: object) -> tuple[str, dict[str, dict[int, Any]]]:
        repo = tmp_path / "repo"
        words = [str(repo), *(str(argument) for argument in arguments), "--instrument", instrument]
        result = CliRunner().invoke(ingest_command, words)
        assert result.exit_code == 0, result.output
        datasets: dict[str, dict[int, Any]] = {}
        with Butler.from_config(str(repo), collections=f"{instrument}/defaults") as butler:
            for name in ("visit_image", "template_detector", "cr_truth"):
                refs = butler.query_datasets(name, explain=False)
                datasets[name] = {int(ref.dataId["visit"]): butler.get(ref) for ref in refs}
        return result.output, datasets

    return call


def noise_ratio(visit_image: VisitImage) -> float:
    """Return the noise seen in the sky over the noise that is claimed."""
    image, variance = visit_image.image.array, visit_image.variance.array
    good = ~visit_image.mask.get("BAD")
    scatter = 1.4826 * np.median(np.abs(image[good] - np.median(image[good])))
    return float(scatter / np.sqrt(np.median(variance[good])))


@pytest.mark.slow
def test_saao_series_with_templates(shared: Path, ingest: Callable) -> None:
    data = shared / "data" / "saao_kb13475"
    files = [data / f"AKB13475I{number:04}.fits" for number in (3, 18, 20, 22)]
    badpix = data / "recurrent_badpix.fits.gz"
    output, found = ingest("SAAO", *files, "--preset", "saao", "--bad-pixels", badpix, "--template-median", 3)
    assert set(found["visit_image"]) == {3, 18, 20, 22}
    assert output.count("template is the median of 3 exposures") == 4
    science, template = found["visit_image"][3], found["template_detector"][3]
    assert science.physical_filter == "I"
    assert read_image(science).exposure_time == pytest.approx(300.044)
    assert science.mask.get("SATURATED").sum() > 0
    np.testing.assert_array_equal(
        read_mask(found["cr_truth"][3]), fits.getdata(data / "AKB13475I0003_crmask.fits.gz") != 0
    )
    bad = science.mask.get("BAD") | template.mask.get("NO_DATA") | science.mask.get("SATURATED")
    pulls = (science.image.array - template.image.array) / np.sqrt(
        science.variance.array + template.variance.array
    )
    # The field is crowded: without matched PSFs every star leaves a trace.
    assert 1.4826 * np.median(np.abs(pulls[~bad])) < 1.6
    truth = read_mask(found["cr_truth"][3]) & ~bad
    assert np.median(pulls[truth]) > 10.0, "the template has none of the cosmic rays"
    assert read_image(template).psf_fwhm == pytest.approx(read_image(science).psf_fwhm, rel=0.25)


def test_decam_instcal(shared: Path, ingest: Callable) -> None:
    data = shared / "data" / "decam_field_instcal"
    output, found = ingest("DECam", data, "--preset", "decam-instcal")
    assert "9 images ingested" in output
    assert set(found["visit_image"]) == {int(fits.getval(f, "EXPNUM")) for f in data.glob("*_ooi_*")}
    flagged = {visit: int(read_mask(mask).sum()) for visit, mask in found["cr_truth"].items()}
    assert {visit: n for visit, n in flagged.items() if n} == {630780: 177, 640615: 136, 650104: 71}
    for visit, visit_image in found["visit_image"].items():
        assert noise_ratio(visit_image) == pytest.approx(1.0, abs=0.06)
        assert not (visit_image.mask.get("BAD") & read_mask(found["cr_truth"][visit])).any()
        assert read_image(visit_image).psf_fwhm == pytest.approx(
            float(fits.getval(_file(data, visit), "FWHM", 1)), rel=0.02
        )
    assert {image.band for image in found["visit_image"].values()} == {"g", "r", "z"}
    image = found["visit_image"][431608]
    corner = image.sky_projection.pixel_to_sky_transform.apply_forward(x=125.0, y=125.0)
    assert np.rad2deg(corner.x) == pytest.approx(186.7, abs=0.5)
    assert np.rad2deg(corner.y) == pytest.approx(25.6, abs=0.5)


def _file(data: Path, visit: int) -> Path:
    return next(file for file in data.glob("*_ooi_*") if fits.getval(file, "EXPNUM") == visit)


def test_decam_series(shared: Path, ingest: Callable) -> None:
    data = shared / "data" / "decam_series_obs04"
    output, found = ingest("DECamSeries", data, "--preset", "decam-series")
    assert "5 images ingested" in output
    assert len(found["template_detector"]) == len(found["cr_truth"]) == 5
    for visit, visit_image in found["visit_image"].items():
        # Aligned by resampling, which takes a few percent of the noise.
        assert noise_ratio(visit_image) == pytest.approx(1.0, abs=0.06)
        assert noise_ratio(found["template_detector"][visit]) == pytest.approx(1.0, abs=0.06)
        assert 4.0 < read_image(visit_image).psf_fwhm < 6.5


def test_hsc_cut(shared: Path, ingest: Callable) -> None:
    output, found = ingest("HSCCut", shared / "data" / "hsc_crs.fits", "--preset", "hsc-cut")
    (visit_image,) = found["visit_image"].values()
    raw = fits.getdata(shared / "data" / "hsc_crs.fits")
    np.testing.assert_allclose(visit_image.variance.array, raw, rtol=1e-6)
    working = read_image(visit_image)
    middle = working.psf_kernel.shape[0] // 2
    ratio = working.psf_kernel[middle, middle + 1] / working.psf_kernel[middle, middle]
    assert ratio == pytest.approx(np.exp(-1 / 8), rel=1e-3), "a Gaussian of sigma 2"
    assert found["cr_truth"] == {}
    assert "no exposure time" in output


@pytest.mark.slow
def test_lco_sinistro(shared: Path, ingest: Callable) -> None:
    file = shared / "data" / "lco_sinistro_fl10_S82_60s_quadrant.fits.fz"
    output, found = ingest("Sinistro", file, "--preset", "lco-sinistro")
    (visit_image,) = found["visit_image"].values()
    assert visit_image.image.array.shape == (2048, 2044)
    sky = visit_image.backgrounds["sky"].field.render().array
    assert np.median(sky) == pytest.approx(3.3 * (3183 - 901), rel=0.01)
    assert noise_ratio(visit_image) == pytest.approx(1.1, abs=0.1)
    assert 5.5 < read_image(visit_image).psf_fwhm < 7.0


@pytest.mark.parametrize("name", ["calexp_adu", "calexp_electron", "difference_njy", "visit_image_njy"])
def test_afw_files_are_read_as_afw_reads_them(
    shared: Path, ingest: Callable, tmp_path: Path, name: str
) -> None:
    golden = np.load(shared / "golden" / "legacy" / f"{name}.npz")
    file = tmp_path / f"{name}.fits"
    shutil.copy(shared / "golden" / "legacy" / f"{name}.fits", file)
    _, found = ingest("HSC", file, "--preset", "afw")
    (visit_image,) = found["visit_image"].values()
    scale = 3.0 if name == "calexp_adu" else 1.0
    np.testing.assert_allclose(visit_image.image.array, golden["image"] * scale, rtol=1e-6)
    np.testing.assert_allclose(visit_image.variance.array, golden["variance"] * scale**2, rtol=1e-6)
    assert visit_image.mask.get("SATURATED").sum() == 15
    assert visit_image.obs_info.visit_id == 11710
    assert visit_image.detector.id == 50
    assert visit_image.physical_filter == "HSC-I"
    working = read_image(visit_image, WorkingImageConfig(electronsPerUnit=2.0))
    assert working.psf_fwhm == pytest.approx(1.86 * 2.3548, rel=0.03)


def test_afw_files_of_ip_diffim(shared: Path, ingest: Callable) -> None:
    folder = shared / "golden" / "diffim"
    _, found = ingest(
        "Camera",
        folder / "science.fits",
        *("--preset", "afw", "--unit", "electron", "--template", folder / "template_matched.fits"),
    )
    (science,), (template,) = found["visit_image"].values(), found["template_detector"].values()
    with fits.open(folder / "science.fits") as hdus:
        np.testing.assert_array_equal(science.image.array, hdus["IMAGE"].data)
        np.testing.assert_array_equal(science.variance.array, hdus["VARIANCE"].data)
    with fits.open(folder / "template_matched.fits") as hdus:
        np.testing.assert_allclose(template.variance.array, hdus["VARIANCE"].data)
    assert read_image(science).psf_fwhm == pytest.approx(2.2 * 2.3548, rel=0.01)
