# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Aligning exposures, and templates from other exposures or files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingest_files import READ_NOISE, SHAPE, SKY, make_scene, star_positions

from lsst.meas.cosmicrays.ingest.registration import (
    Alignment,
    AlignmentError,
    align,
    resample,
    resampled_noise,
)
from lsst.meas.cosmicrays.ingest.stars import StarList
from lsst.meas.cosmicrays.ingest.templates import (
    SeriesMember,
    SeriesPixels,
    TemplateError,
    median_template,
)


def star_list(x: np.ndarray, y: np.ndarray) -> StarList:
    n = len(x)
    return StarList(x, y, np.linspace(9e4, 1e4, n), np.full(n, 4.0), np.zeros((0, 0), np.int32), np.arange(n))


def member(**scene: object) -> SeriesMember:
    """Make an exposure of a series, sky subtracted."""
    image, _ = make_scene(**scene)  # type: ignore[arg-type]
    none = np.zeros(image.shape, dtype=bool)
    pixels = SeriesPixels((image - SKY).astype(np.float32), np.maximum(image, 0) + READ_NOISE**2, none, none)
    return SeriesMember(SHAPE, pixels.find_stars().without_segments(), lambda: pixels)


@settings(max_examples=25, deadline=None)
@given(
    shift=st.tuples(st.floats(-40, 40), st.floats(-40, 40)),
    turn=st.floats(-0.004, 0.004),
    n_lost=st.integers(0, 8),
    seed=st.integers(0, 1000),
)
def test_shifts_and_small_turns_are_found(
    shift: tuple[float, float], turn: float, n_lost: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, y, _ = star_positions(25)
    matrix = np.array([[1.0, -turn], [turn, 1.0]])
    moved = np.column_stack([x, y]) @ matrix.T + shift + rng.normal(0.0, 0.05, (25, 2))
    kept = np.sort(rng.permutation(25)[n_lost:])
    wrong = rng.uniform(0, 150, (6, 2))
    source = np.concatenate([moved[kept], wrong])
    alignment = align(star_list(x, y), star_list(*source.T))
    mapped = np.column_stack(alignment(x, y))
    true = np.column_stack([x, y]) @ matrix.T + shift
    assert np.abs(mapped - true).max() < 0.35
    assert len(alignment.target) >= 0.8 * len(kept)


def test_different_fields_are_not_aligned() -> None:
    rng = np.random.default_rng(5)
    first, second = (star_list(*rng.uniform(0, 2000, (2, 12))) for _ in range(2))
    with pytest.raises(AlignmentError, match="stars agree"):
        align(first, second)
    with pytest.raises(AlignmentError, match="3 and 12 stars are too few"):
        align(first.select(np.arange(3)), second)


def test_resampling_moves_the_source_onto_the_target() -> None:
    target, source = member(seed=3), member(seed=4, shift=(3.3, -2.6))
    alignment = align(target.stars, source.stars)
    np.testing.assert_allclose(alignment.offset, (3.3, -2.6), atol=0.05)
    resampled = resample(source.load().image, alignment)
    inside = np.isfinite(resampled)
    assert not inside[:2].any()
    assert not inside[:, -3:].any()
    assert inside[10:-10, 10:-10].all()
    sigma = np.sqrt(2.0 * source.load().variance)
    difference = (resampled - target.load().image) / sigma
    assert np.std(difference[20:-20, 20:-20]) == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, 0.5), (0.3, 0.8), (7.0, -3.0)])
def test_noise_after_resampling(shift: tuple[float, float]) -> None:
    noise = np.random.default_rng(6).normal(0.0, 1.0, (200, 200))
    alignment = Alignment(np.eye(2), np.array(shift), np.arange(0), np.arange(0), 0.0)
    measured = np.var(resample(noise, alignment)[20:-20, 20:-20])
    assert measured == pytest.approx(resampled_noise(alignment, (200, 200)), rel=0.04)
    if shift == (7.0, -3.0):
        assert resampled_noise(alignment, (200, 200)) == pytest.approx(1.0, abs=1e-6)


@pytest.fixture(scope="module")
def series() -> list[SeriesMember]:
    rng = np.random.default_rng(8)
    return [
        member(
            seed=20 + number,
            shift=tuple(rng.uniform(-4, 4, 2)),
            scale=rng.uniform(0.8, 1.2),
            n_cosmic_rays=8,
        )
        for number in range(7)
    ]


def test_a_median_template_has_stars_but_no_cosmic_rays(series: list[SeriesMember]) -> None:
    image, truth = make_scene(seed=50, n_cosmic_rays=8)
    none = np.zeros(SHAPE, dtype=bool)
    pixels = SeriesPixels((image - SKY).astype(np.float32), image + READ_NOISE**2, none, none)
    target = SeriesMember(SHAPE, pixels.find_stars(), lambda: pixels)
    template = median_template(target, series, 7)
    assert template.n_exposures == 7
    clean, _ = make_scene(seed=51)
    inner = np.s_[12:-12, 12:-12]
    sigma = np.sqrt(template.variance + SKY + READ_NOISE**2)
    pulls = ((clean - SKY - template.image) / sigma)[inner]
    assert np.abs(np.median(pulls)) < 0.1
    # The bright stars keep a residual of the fluxes' and shifts' errors.
    assert 1.4826 * np.median(np.abs(pulls)) == pytest.approx(1.0, abs=0.07)
    difference = (image - SKY - template.image) / sigma
    assert np.median(difference[truth]) > 20.0
    assert np.count_nonzero(pulls < -20.0) == 0, "no cosmic ray of the others is left"


def test_the_variance_of_a_template_is_its_scatter(series: list[SeriesMember]) -> None:
    template = median_template(series[0], series[1:], 6)
    sky = (np.abs(template.image) < 40.0) & ~template.bad
    sky[:12] = sky[-12:] = sky[:, :12] = sky[:, -12:] = False
    scatter = 1.4826 * np.median(np.abs(template.image[sky] - np.median(template.image[sky])))
    assert scatter == pytest.approx(np.sqrt(np.median(template.variance[sky])), rel=0.12)


def test_like_seeing_comes_first() -> None:
    sharp = [member(seed=60 + n, sigma=1.6) for n in range(3)]
    wide = [member(seed=70 + n, sigma=2.8) for n in range(3)]
    template = median_template(sharp[0], wide + sharp[1:], 2)
    peak = np.unravel_index(np.argmax(sharp[0].load().image), SHAPE)
    assert template.image[peak] == pytest.approx(sharp[0].load().image[peak], rel=0.15)


def test_bad_and_saturated_pixels_of_the_series() -> None:
    target = member(seed=80)
    others = []
    for number in range(3):
        source = member(seed=81 + number)
        pixels = source.load()
        bad, saturated = np.zeros((2, *SHAPE), dtype=bool)
        bad[30:33, 30:33] = True
        bad[100:103, 100:103] = number == 0
        saturated[60:63, 60:63] = True
        changed = SeriesPixels(pixels.image, pixels.variance, bad, saturated)
        others.append(SeriesMember(SHAPE, source.stars, lambda changed=changed: changed))
    template = median_template(target, others, 3)
    assert template.planes["NO_DATA"][31, 31]
    assert not template.planes["NO_DATA"][101, 101]
    assert template.planes["SATURATED"][61, 61]
    assert not template.planes["SATURATED"][100, 20]
    assert np.isfinite(template.image).all()
    assert np.all(np.isfinite(template.variance) & (template.variance > 0.0))


def test_too_few_exposures() -> None:
    target = member(seed=90)
    with pytest.raises(TemplateError, match="only 1 of 1 other exposures can be aligned, at least 2"):
        median_template(target, [member(seed=91)], 5)
    empty = member(seed=92, n_stars=1)
    with pytest.raises(TemplateError, match="only 0 of 2 other exposures.*too few to align"):
        median_template(target, [empty, empty], 5)
