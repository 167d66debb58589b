# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Damaged FITS files: every one is read, or named in an error."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from ingest_files import HEADER, WCS, make_scene

from lsst.meas.cosmicrays.ingest import IngestError, get_preset
from lsst.meas.cosmicrays.ingest.calibration import calibrate
from lsst.meas.cosmicrays.ingest.reading import CcdFrame, read_frames

N_FILES = 1000
PRESET = get_preset("generic").with_overrides(instrument="MyCam", psf="given", values={"fwhm": 3.0})
CARD, BLOCK = 80, 2880


def make_plain() -> bytes:
    """Make an image with checksums and one more extension."""
    image = (make_scene(n_stars=2, shape=(40, 50))[0] / 2.0).astype(np.float32)
    primary = fits.PrimaryHDU(image)
    primary.header.update(HEADER | WCS)
    return _bytes([primary, fits.ImageHDU(image.astype(np.int16), name="OTHER")])


def make_compressed() -> bytes:
    """Make images that are compressed in tiles, in two ways."""
    image = (make_scene(n_stars=2, shape=(40, 50))[0] / 2.0).astype(np.float32)
    hdus: list = [fits.PrimaryHDU()]
    hdus[0].header.update(HEADER)
    for name, pixels, kind in (("A", image, "GZIP_2"), ("B", image.astype(np.int32), "RICE_1")):
        hdu = fits.CompImageHDU(pixels, name=name, compression_type=kind, tile_shape=(8, 50))
        hdu.header.update(WCS)
        hdus.append(hdu)
    return _bytes(hdus)


def _bytes(hdus: list) -> bytes:
    stream = io.BytesIO()
    fits.HDUList(hdus).writeto(stream, checksum=True)
    return stream.getvalue()


def truncate(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Cut the end off."""
    return content[: int(rng.integers(0, len(content)))]


def flip_bits(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Damage single bytes anywhere, so that checksums are wrong."""
    for place in rng.integers(0, len(content), int(rng.integers(1, 40))):
        content[place] ^= int(rng.integers(1, 256))
    return content


def damage_card(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Replace the value of some cards of the headers."""
    cards = [place for place in range(0, len(content), CARD) if content[place + 8 : place + 10] == b"= "]
    values = [b"'x'", b"-1", b"0", b"1E999", b"T", b"99999999999", b"1.5", b"", b"'unfinished", b"\xff\x00"]
    for place in rng.choice(cards, int(rng.integers(1, 4)), replace=False):
        value = values[rng.integers(len(values))]
        content[place + 10 : place + CARD] = value.ljust(CARD - 10)
    return content


def drop_block(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Leave out, double or blank a block of 2880 bytes."""
    start = BLOCK * int(rng.integers(0, len(content) // BLOCK))
    block = content[start : start + BLOCK]
    new = [b"", block + block, bytes(BLOCK), b" " * BLOCK][rng.integers(4)]
    return content[:start] + new + content[start + BLOCK :]


def outcome(path: Path) -> set[str]:
    """Read a file to the calibrated image, as ingestion does."""
    kinds = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for frame in read_frames(path, PRESET):
            if isinstance(frame, CcdFrame):
                try:
                    science = calibrate(frame, None)
                except IngestError as error:
                    frame = error.at(path, frame.extension)
                else:
                    assert science.image.shape == science.variance.shape
                    kinds.add("image")
            if isinstance(frame, IngestError):
                assert str(frame).startswith(path.name)
                assert len(str(frame).splitlines()) == 1
                kinds.add("error")
    return kinds


@pytest.mark.slow
@pytest.mark.parametrize("make", [make_plain, make_compressed])
@pytest.mark.parametrize("damage", [truncate, flip_bits, damage_card, drop_block])
def test_damaged_files(
    tmp_path: Path,
    make: Callable[[], bytes],
    damage: Callable[[bytearray, np.random.Generator], bytearray],
) -> None:
    whole, path = make(), tmp_path / "damaged.fits"
    path.write_bytes(whole)
    assert outcome(path) == {"image"}
    kinds: set[str] = set()
    for seed in range(N_FILES // 2):
        path.write_bytes(damage(bytearray(whole), np.random.default_rng(seed)))
        try:
            kinds |= outcome(path)
        except Exception as error:
            error.add_note(f"{make.__name__}, {damage.__name__}, seed {seed}")
            raise
    assert "error" in kinds


@pytest.mark.parametrize("card", [b"NAXIS1  = -1", b"GCOUNT  = -3", b"NAXIS   = 99999999999"])
def test_sizes_that_cannot_be(tmp_path: Path, card: bytes) -> None:
    """With these in a header, astropy reads the same HDU for ever."""
    content, path = bytearray(make_plain()), tmp_path / "damaged.fits"
    start = content.find(b"XTENSION")
    place = (
        content.find(card[:9], start) if card[:9] in content[start:] else content.find(b"PCOUNT  =", start)
    )
    content[place : place + CARD] = card.ljust(CARD)
    path.write_bytes(content)
    keyword, value = card.decode().replace(" ", "").split("=")
    (error,) = read_frames(path, PRESET)
    assert isinstance(error, IngestError)
    assert f"is damaged: its {keyword} is {value}" in str(error)
