# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The calls that notebooks make."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from lsst.images import Box
from lsst.meas.cosmicrays.comparison import compare_masks, cut_out_stamps
from lsst.meas.cosmicrays.finders import (
    AstroScrappyFinderConfig,
    AstroScrappyFinderTask,
    find_cosmic_rays,
)
from lsst.meas.cosmicrays.images import WorkingImage
from lsst.meas.cosmicrays.report.stamp_gallery import plot_cutouts
from lsst.pex.config import FieldValidationError

PLANES = ("BAD", "SATURATED", "INTERPOLATED", "NO_DATA")


@pytest.fixture
def image() -> WorkingImage:
    """Make a noisy sky with a track on it."""
    rng = np.random.default_rng(3)
    pixels = rng.normal(200.0, 14.0, (64, 72)).astype(np.float32)
    pixels[20, 10:30] += 3000.0
    return make_working_image(pixels)


def make_working_image(pixels: np.ndarray) -> WorkingImage:
    return WorkingImage(
        image=pixels,
        variance=np.full(pixels.shape, 200.0, dtype=np.float32),
        planes={
            name: np.zeros(pixels.shape, dtype=bool)
            for name in ("BAD", "SATURATED", "INTERPOLATED", "NO_DATA")
        },
        bbox=Box.from_shape(pixels.shape),
        psf_kernel=None,
        psf_fwhm=4.0,
        exposure_time=30.0,
        pixel_size=0.015,
        gain=1.0,
        unit="electron",
        scale=1.0,
    )


def test_a_finder_in_one_call(image: WorkingImage) -> None:
    config = AstroScrappyFinderConfig()
    config.sigclip = 6.0
    expected = AstroScrappyFinderTask(config=config).run(image)
    found = find_cosmic_rays(image, "astroscrappy", sigclip=6.0)
    assert found.mask[20, 10:30].all()
    np.testing.assert_array_equal(found.mask, expected.mask)
    assert (found.n_pixels, found.n_cosmic_rays) == (np.count_nonzero(found.mask), expected.n_cosmic_rays)


def test_what_cannot_be_called(image: WorkingImage) -> None:
    with pytest.raises(LookupError, match="No finder 'lacosmic'; there are astroscrappy, "):
        find_cosmic_rays(image, "lacosmic")
    with pytest.raises(KeyError, match="sigclop"):
        find_cosmic_rays(image, "astroscrappy", sigclop=4.0)
    with pytest.raises(FieldValidationError, match="engine"):
        find_cosmic_rays(image, "astroscrappy", engine="slow")


def grow(mask: np.ndarray) -> np.ndarray:
    """Dilate by one pixel, one by one."""
    grown = np.zeros_like(mask)
    for y, x in zip(*np.nonzero(mask), strict=True):
        grown[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = True
    return grown


def test_masks_against_one() -> None:
    rng = np.random.default_rng(5)
    truth, first, second = (rng.random((20, 20)) < 0.1 for _ in range(3))
    usable = rng.random((20, 20)) < 0.9
    table = compare_masks({"first": first, "truth": truth, "second": second}, "truth", usable=usable)
    assert table["candidate"].tolist() == ["first", "second"]
    for row, mask in zip(table, (first, second), strict=True):
        assert row["tp"] == np.count_nonzero(truth & mask & usable)
        assert row["fp"] == np.count_nonzero(~truth & mask & usable)
        assert row["fn"] == np.count_nonzero(truth & ~mask & usable)
        assert row["tn"] == np.count_nonzero(~truth & ~mask & usable)
        purity, completeness = row["tp"] / (mask & usable).sum(), row["tp"] / (truth & usable).sum()
        assert row["purity"] == pytest.approx(purity)
        assert row["completeness"] == pytest.approx(completeness)
        assert row["f1"] == pytest.approx(2 * purity * completeness / (purity + completeness))
        near_truth, near_mask = grow(truth), grow(mask)
        assert row["purity_1px"] == pytest.approx((mask & usable & near_truth).sum() / (mask & usable).sum())
        expected = (truth & usable & near_mask).sum() / (truth & usable).sum()
        assert row["completeness_1px"] == pytest.approx(expected)


def test_nothing_to_compare() -> None:
    empty = np.zeros((5, 6), dtype=bool)
    row = compare_masks({"truth": empty, "mask": empty}, "truth")[0]
    assert row["tn"] == 30
    assert np.isnan(row["purity"])
    assert np.isnan(row["f1_1px"])
    with pytest.raises(KeyError, match="'sky' is none of the masks: truth, mask"):
        compare_masks({"truth": empty, "mask": empty}, "sky")
    with pytest.raises(ValueError, match="shape"):
        compare_masks({"truth": empty, "mask": empty.T}, "truth")


def test_stamps_in_one_call() -> None:
    """The pixels around each source, in a table, and as a figure."""
    rng = np.random.default_rng(8)
    science, mask = rng.normal(size=(50, 60)).astype(np.float32), rng.random((50, 60)) < 0.1
    x_min, y_min = np.array([110, 95]), np.array([212, 240])
    stamps = Table({"id": [7, 9], "x_min": x_min, "y_min": y_min, "x_max": x_min + 29, "y_max": y_min + 29})
    cutouts = cut_out_stamps(stamps, {"science": science}, {"mine": mask}, origin=(100, 200))
    assert cutouts["id"].tolist() == [7, 9]
    np.testing.assert_array_equal(cutouts["science"][0], science[12:42, 10:40])
    np.testing.assert_array_equal(cutouts["mask_mine"][0], mask[12:42, 10:40])
    np.testing.assert_array_equal(cutouts["science"][1][:10, 5:], science[40:, :25])
    assert np.isnan(cutouts["science"][1][:, :5]).all()
    assert not cutouts["mask_mine"][1][10:].any()
    figure = plot_cutouts(cutouts, title="Two stamps")
    (axes,) = figure.axes
    assert {text.get_text() for text in axes.texts} >= {"DIASource 7", "DIASource 9"}
    assert len(cut_out_stamps(stamps[:0], {"science": science}, {})) == 0
