# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the bytes of a FITS file are those of which it holds the sums."""

from __future__ import annotations

__all__ = ("wrong_sums",)

from pathlib import Path
from typing import IO

import numpy as np
from astropy.io import fits
from astropy.utils.data import get_readable_fileobj

_CARD = 80
_WORD = np.dtype(">u4")
_ALL_ONES = 0xFFFFFFFF


def wrong_sums(path: Path, hdus: fits.HDUList) -> dict[int, str]:
    """Compare every HDU with the sums in its header.

    Keywords are those of the FITS Standard 4.0, section 4.4.2.7 and
    appendix J.

    Parameters
    ----------
    path
        FITS file, compressed or not.
    hdus
        The same file, open, with all HDUs loaded.

    Returns
    -------
    wrong : `dict` [`int`, `str`]
        Keyword whose value is wrong, by the number of the HDU: DATASUM if
        the data are not what they were, CHECKSUM if something else is not.
    """
    wrong = {}
    with get_readable_fileobj(str(path), encoding="binary", cache=False) as stream:
        for number, hdu in enumerate(hdus):
            place = hdu.fileinfo()
            header = _read(stream, place["hdrLoc"], place["datLoc"] - place["hdrLoc"])
            data = _read(stream, place["datLoc"], place["datSpan"])
            keyword = _wrong_keyword(header, data)
            if keyword is not None:
                wrong[number] = keyword
    return wrong


def _wrong_keyword(header: bytes, data: bytes) -> str | None:
    data_sum = _add_words(data)
    stated = _value(header, "DATASUM")
    if stated and not (stated.isdecimal() and int(stated) % _ALL_ONES == data_sum):
        return "DATASUM"
    # CHECKSUM is such that the whole HDU adds up to minus zero.
    if _value(header, "CHECKSUM") and (_add_words(header) + data_sum) % _ALL_ONES != 0:
        return "CHECKSUM"
    return None


def _add_words(content: bytes) -> int:
    """Add 32-bit words in ones' complement, where all ones are zero."""
    whole = content.ljust(-(-len(content) // _WORD.itemsize) * _WORD.itemsize, b"\0")
    return int(np.frombuffer(whole, dtype=_WORD).sum(dtype=np.uint64)) % _ALL_ONES


def _value(header: bytes, keyword: str) -> str:
    """Return the text of a keyword, empty where there is none."""
    cards = (header[start : start + _CARD] for start in range(0, len(header), _CARD))
    values = (card[10:] for card in cards if card.startswith(f"{keyword:8}= ".encode()))
    return next(values, b"").decode("latin-1").partition("/")[0].strip(" '")


def _read(stream: IO[bytes], start: int, length: int) -> bytes:
    stream.seek(start)
    return stream.read(length)
