# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Numbers of visits and detectors: always the same, never the same twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from lsst.meas.cosmicrays.ingest.errors import IngestError
from lsst.meas.cosmicrays.ingest.headers import Quantities
from lsst.meas.cosmicrays.ingest.identity import KnownImages, file_number
from lsst.meas.cosmicrays.ingest.presets import PRESETS
from lsst.meas.cosmicrays.ingest.reading import CcdFrame


def frame(name: str, extension: str = "0", index: int = 0, **header: Any) -> CcdFrame:
    entries = fits.Header()
    entries.update(header)
    path = Path(name)
    quantities = Quantities((entries,), PRESETS["generic"], path, extension)
    return CcdFrame(path, extension, index, np.zeros((2, 2)), None, {}, None, quantities, None)


def identify(known: KnownImages, *frames: CcdFrame) -> list[tuple[int, int]]:
    known.announce([each.path for each in frames])
    found = [known.identify(each) for each in frames]
    return [(identity.visit, identity.detector) for identity in found]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("AKB13475I0001.fits", 1),
        ("night_0042.fits.fz", 42),
        ("DEC-OBS04a.mini.fits", None),
        ("x1234567890.fits", None),
        ("7.fit", 7),
        ("none.fits", None),
    ],
)
def test_number_of_a_file(name: str, number: int | None) -> None:
    assert file_number(Path(name)) == number


def test_header_numbers_win() -> None:
    known = KnownImages()
    assert identify(known, frame("a_1.fits", EXPNUM=431608, CCDNUM=34, DETPOS="N3")) == [(431608, 34)]
    assert known.visits == {431608: "431608"}
    assert known.detectors == {34: "N3"}


def test_detectors_of_a_visit_in_one_file_and_in_several() -> None:
    known = KnownImages()
    one = [frame("a.fits", name, place, EXPNUM=5, EXTNAME=name) for place, name in enumerate("ABC")]
    assert identify(known, *one) == [(5, 0), (5, 1), (5, 2)]
    several = [frame(f"b_{ccd}.fits", EXPNUM=6, CCDNUM=ccd) for ccd in (3, 4)]
    assert identify(known, *several) == [(6, 3), (6, 4)]


def test_a_missing_extension_does_not_shift_the_others() -> None:
    known = KnownImages()
    first = [frame("a1.fits", name, place, EXTNAME=name) for place, name in enumerate("ABC")]
    second = [frame("a2.fits", name, place, EXTNAME=name) for place, name in enumerate("AC")]
    assert identify(known, *first) == [(1, 0), (1, 1), (1, 2)]
    assert identify(known, *second) == [(2, 0), (2, 2)]


def test_files_that_end_in_the_same_number() -> None:
    known = KnownImages()
    (first, _), (second, _) = identify(known, frame("north_001.fits"), frame("south_001.fits"))
    assert first != second
    assert min(first, second) >= 10**9
    other = KnownImages()
    (again, _), (swapped, _) = identify(other, frame("south_001.fits"), frame("north_001.fits"))
    assert (again, swapped) == (second, first), "whatever their order"


def test_a_later_file_with_a_number_that_is_taken() -> None:
    known = KnownImages()
    assert identify(known, frame("north_001.fits")) == [(1, 0)]
    ((later, _),) = identify(known, frame("south_001.fits"))
    assert later >= 10**9
    both = identify(known, frame("north_001.fits"), frame("south_001.fits"))
    assert both == [(1, 0), (later, 0)], "the same files keep their numbers"


def test_another_file_of_the_same_exposure_and_detector() -> None:
    known = KnownImages()
    header = {"EXPNUM": 9, "CCDNUM": 2}
    first, second = identify(known, frame("v1.fits", **header), frame("v2.fits", **header))
    assert first == (9, 2)
    assert second[0] >= 10**9
    assert identify(known, frame("v2.fits", **header)) == [second]


def test_numbers_that_are_too_large_for_a_visit() -> None:
    ((visit, _),) = identify(KnownImages(), frame("a.fits", EXPNUM=2025042500123))
    assert 10**9 <= visit < 2**31


def test_numbers_that_are_too_large_for_a_detector() -> None:
    with pytest.raises(IngestError, match=r"a.fits\[0\], keyword CCDNUM: detector 1000 is not below"):
        KnownImages().identify(frame("a.fits", CCDNUM=1000))


def test_two_detectors_of_one_name() -> None:
    known = KnownImages()
    identify(known, frame("a.fits", CCDNUM=1, DETPOS="X"), frame("b.fits", CCDNUM=2, DETPOS="X"))
    assert known.detectors == {1: "X", 2: "X_2"}


def test_forgotten_images_can_come_again() -> None:
    known = KnownImages()
    known.announce([])
    identity = known.identify(frame("a_7.fits"))
    known.forget(identity)
    assert known.sources == {}
    assert known.identify(frame("a_7.fits")) == identity


@given(st.sets(st.from_regex(r"[a-c]{1,3}_?[0-9]{0,2}", fullmatch=True), min_size=1, max_size=40))
def test_every_file_gets_a_number_of_its_own(stems: set[str]) -> None:
    frames = [frame(f"{stem}.fits") for stem in sorted(stems)]
    known = KnownImages()
    found = identify(known, *frames)
    assert len(set(found)) == len(frames)
    assert identify(known, *frames) == found
    assert identify(KnownImages(), *frames[::-1])[::-1] == found
