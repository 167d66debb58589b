# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Presets: what may be declared, in code, on the command line, in YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsst.meas.cosmicrays.ingest.preset import (
    QUANTITIES,
    Companion,
    MaskCodes,
    Preset,
    PresetError,
    file_stem,
    load_preset,
)
from lsst.meas.cosmicrays.ingest.presets import PRESETS, get_preset


def test_every_preset_is_found_by_its_name() -> None:
    for name, preset in PRESETS.items():
        assert get_preset(name) is preset
        assert preset.name == name
        assert preset.description


def test_values_win_over_keywords_and_new_keywords_over_values() -> None:
    preset = Preset(name="p", keywords={"gain": ("GAIN",)}, values={"gain": 2.0, "filter": "r"})
    changed = preset.with_overrides(values={"read_noise": 3.0}, keywords={"gain": ("EGAIN",)})
    assert changed.values == {"filter": "r", "read_noise": 3.0}
    assert changed.keywords == {"gain": ("EGAIN",)}
    assert preset.values["gain"] == 2.0, "the preset itself is not changed"


def test_fields_that_are_not_given_stay() -> None:
    preset = PRESETS["saao"].with_overrides(instrument=None, trim="[1:10,1:10]")
    assert preset.instrument == "SAAO"
    assert preset.trim == "[1:10,1:10]"
    assert preset.truth == PRESETS["saao"].truth


def test_yaml(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "instrument: MyCam\n"
        "keywords: {gain: [EGAIN, GAIN]}\n"
        "values: {saturation: 60000}\n"
        "mask: {extension: DQ, codes: {bits: {0: BAD, 4: SATURATED}}}\n"
        "variance: {extension: ERR, kind: sigma}\n"
        "background: {mesh: 64}\n"
    )
    preset = get_preset(str(path))
    assert preset.name == "mine"
    assert preset.keywords["gain"] == ("EGAIN", "GAIN")
    assert preset.mask is not None
    assert preset.mask.codes.bits == {0: "BAD", 4: "SATURATED"}
    assert preset.background.mesh == 64
    assert preset.background.subtract


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keywords: {gian: [GAIN]}", "unknown quantity 'gian'"),
        ("colour: red", "colour: Extra inputs are not permitted"),
        ("background: {mesh: 2}", "background.mesh"),
        ("truth: {suffix: a, replace: [b, c]}", "suffix"),
        ("truth: {required: true}", "give replace, suffix or extension"),
        ("mask: {suffix: a, codes: {}}", "values or bits"),
        ("- a list", "is a YAML mapping, not a list"),
        ("a: [", "cannot be read"),
    ],
)
def test_bad_yaml_is_said_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yml"
    path.write_text(text)
    with pytest.raises(PresetError, match="bad.yml") as caught:
        load_preset(path)
    assert message in str(caught.value)


def test_unknown_presets_are_listed() -> None:
    with pytest.raises(PresetError, match="saao, decam-instcal"):
        get_preset("nothing")
    with pytest.raises(PresetError, match="cannot be read"):
        get_preset("absent.yaml")


def test_companions_are_found_beside_the_image() -> None:
    image = Path("/data/a_ooi_z.fits.fz")
    assert Companion(replace=("_ooi_", "_ood_")).file_of(image) == Path("/data/a_ood_z.fits.fz")
    assert Companion(suffix="_mask.fits.gz").file_of(image) == Path("/data/a_ooi_z_mask.fits.gz")
    assert Companion(extension="DQ").file_of(image) == image
    assert Companion(replace=("_xyz_", "_ood_")).file_of(image) is None


@pytest.mark.parametrize("ending", ["", ".gz", ".fz", ".bz2"])
def test_stem(ending: str) -> None:
    assert file_stem(Path(f"dir/night.one_003.fits{ending}")) == "night.one_003"


def test_mask_codes_know_their_planes() -> None:
    assert MaskCodes(values={5: "COSMIC_RAY"}).has_plane("COSMIC_RAY")
    assert not MaskCodes(bits={5: "BAD"}).has_plane("COSMIC_RAY")


def test_every_quantity_is_explained() -> None:
    assert all(QUANTITIES.values())
