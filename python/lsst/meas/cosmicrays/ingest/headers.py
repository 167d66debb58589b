# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Numbers, names, dates and sections out of FITS headers."""

from __future__ import annotations

__all__ = ("Quantities", "parse_section")

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import astropy.units as u
from astropy.coordinates import Angle
from astropy.io import fits
from astropy.time import Time

from .errors import IngestError
from .preset import NUMBERS, QUANTITIES, Preset

_SECTION = re.compile(r"\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]")
_MJD_MIN, _MJD_MAX = 15020.0, 88069.0  # 1900 to 2100


@dataclasses.dataclass(frozen=True)
class Quantities:
    """What the headers of an image and a preset say about it.

    Parameters
    ----------
    headers
        Headers to look in, first the one of the extension.
    preset
        Which keywords and values stand for what.
    path
        File, for messages.
    extension
        Name of the extension, for messages.
    """

    headers: Sequence[fits.Header]
    preset: Preset
    path: Path
    extension: str

    def find(self, name: str) -> tuple[Any, str | None]:
        """Look a quantity up.

        Parameters
        ----------
        name
            One of the quantities.

        Returns
        -------
        value : `float`, `str` or `None`
            Value as it stands, or `None` if nothing says it.
        keyword : `str` or `None`
            Keyword it stands under, or `None` if it comes from the preset.

        Raises
        ------
        IngestError
            Raised if the card of a keyword is damaged.
        """
        if name in self.preset.values:
            return self.preset.values[name], None
        for keyword in self.preset.keywords.get(name, ()):
            for header in self.headers:
                value = _card_value(header, keyword)
                if value is not None and not isinstance(value, fits.card.Undefined) and value != "":
                    return value, keyword
        return None, None

    def missing(self, name: str) -> IngestError:
        """Make the error that says that a quantity is missing.

        Parameters
        ----------
        name
            One of the quantities.

        Returns
        -------
        error : `IngestError`
            Error that names the keywords tried and what to do.
        """
        keywords = self.preset.keywords.get(name, ())
        option = "--" + name.replace("_", "-")
        return IngestError(
            f"missing; it should say the {name.replace('_', ' ')} ({QUANTITIES[name]}): "
            f"give {option} VALUE or --key {name}=KEYWORD",
            path=self.path,
            extension=self.extension,
            keyword=" or ".join(keywords) if keywords else f"for {name}",
        )

    def number(self, name: str) -> float | None:
        """Look a number up.

        Parameters
        ----------
        name
            One of the quantities that are numbers.

        Returns
        -------
        value : `float` or `None`
            Finite number, or `None` if nothing says it.

        Raises
        ------
        IngestError
            Raised if what is found is not a finite number.
        """
        assert name in NUMBERS, name
        value, keyword = self.find(name)
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number):
            raise IngestError(
                f"{value!r} is not a number: give --{name.replace('_', '-')} VALUE",
                path=self.path,
                extension=self.extension,
                keyword=keyword or f"for {name}",
            )
        return number

    def checked_number(
        self, name: str, *, above: float | None = None, at_least: float | None = None
    ) -> float | None:
        """Look a number up that has a lower limit.

        Parameters
        ----------
        name
            One of the quantities that are numbers.
        above
            Limit that the number must exceed.
        at_least
            Limit that the number must reach.

        Returns
        -------
        value : `float` or `None`
            The number, or `None` if nothing says it.

        Raises
        ------
        IngestError
            Raised if it is not a number or is too small.
        """
        value = self.number(name)
        if value is None:
            return None
        if (above is not None and value <= above) or (at_least is not None and value < at_least):
            limit = f"above {above:g}" if above is not None else f"at least {at_least:g}"
            raise IngestError(
                f"the {name.replace('_', ' ')} is {value:g}; it must be {limit}",
                path=self.path,
                extension=self.extension,
                keyword=self.find(name)[1] or f"for {name}",
            )
        return value

    def text(self, name: str) -> str | None:
        """Look a name up.

        Parameters
        ----------
        name
            One of the quantities.

        Returns
        -------
        text : `str` or `None`
            The name without surrounding blanks, or `None`.
        """
        value, _ = self.find(name)
        text = None if value is None else str(value).strip()
        return text or None

    def integer(self, name: str) -> int | None:
        """Look a number up that counts something.

        Parameters
        ----------
        name
            One of the quantities that are numbers.

        Returns
        -------
        value : `int` or `None`
            The number, or `None` if nothing says it or if it is no integer
            of at least 0.
        """
        value, _ = self.find(name)
        try:
            number = int(str(value).strip())
        except ValueError:
            number = int(value) if isinstance(value, float) and value.is_integer() else -1
        return number if number >= 0 else None

    def angle(self, name: str) -> float | None:
        """Look an angle up.

        Parameters
        ----------
        name
            ``ra`` or ``dec``.

        Returns
        -------
        angle : `float` or `None`
            Degrees, or `None` if nothing says it.  Text with colons is read
            as hours for ``ra`` and as degrees for ``dec``.

        Raises
        ------
        IngestError
            Raised if what is found is no angle.
        """
        value, keyword = self.find(name)
        if value is None:
            return None
        sexagesimal = isinstance(value, str) and any(mark in value.strip() for mark in ": ")
        try:
            degrees = float(Angle(value, unit=u.hourangle if sexagesimal and name == "ra" else u.deg).deg)
        except (ValueError, TypeError, u.UnitsError):
            degrees = math.nan
        if not math.isfinite(degrees) or (name == "dec" and abs(degrees) > 90.0):
            raise IngestError(
                f"{value!r} is not an angle: give --{name} DEGREES",
                path=self.path,
                extension=self.extension,
                keyword=keyword or f"for {name}",
            )
        return degrees

    def date(self) -> Time | None:
        """Look up when the exposure began.

        Returns
        -------
        date : `astropy.time.Time` or `None`
            Beginning of the exposure, or `None` if nothing says it.  The
            scale is UTC unless TIMESYS says TAI.

        Raises
        ------
        IngestError
            Raised if what is found is neither an ISO 8601 date nor an MJD.
        """
        value, keyword = self.find("date")
        if value is None:
            return None
        try:
            date = self._parse_date(value)
        except ValueError as error:
            raise IngestError(
                f"{value!r} is neither an ISO 8601 date nor an MJD",
                path=self.path,
                extension=self.extension,
                keyword=keyword or "for date",
            ) from error
        if keyword == "DATE-AVG":
            date -= 0.5 * (self.number("exposure_time") or 0.0) * u.s
        return date

    def _parse_date(self, value: Any) -> Time:
        systems = {
            str(_card_value(header, "TIMESYS")).strip().lower()
            for header in self.headers
            if "TIMESYS" in header
        }
        scale = "tai" if systems == {"tai"} else "utc"
        if isinstance(value, int | float) and not isinstance(value, bool):
            if not _MJD_MIN < value < _MJD_MAX:
                raise ValueError(value)
            return Time(float(value), format="mjd", scale=scale)
        text = str(value).strip().replace(" ", "T").rstrip("Z")
        if "T" not in text:
            time = self.text("time")
            if time is not None and ":" in time:
                text = f"{text}T{time}"
        return Time(text, format="isot" if "T" in text else "iso", scale=scale)


def parse_section(text: str, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Turn a FITS section into slices of an array.

    Parameters
    ----------
    text
        Section ``[x1:x2,y1:y2]``, counted from 1, both ends included.
    shape
        Shape (ny, nx) of the array.

    Returns
    -------
    slices : `tuple` [`slice`, `slice`]
        Rows and columns.

    Raises
    ------
    IngestError
        Raised if it is not such a section, or not within the array.
    """
    match = _SECTION.fullmatch(text.strip())
    if match is None:
        raise IngestError(f"{text!r} is not a section such as [1:2048,1:4096]")
    x1, x2, y1, y2 = (int(group) for group in match.groups())
    if not (1 <= x1 <= x2 <= shape[1] and 1 <= y1 <= y2 <= shape[0]):
        raise IngestError(f"the section {text} is not within the {shape[1]}x{shape[0]} image")
    return slice(y1 - 1, y2), slice(x1 - 1, x2)


def _card_value(header: fits.Header, keyword: str) -> Any:
    try:
        return header.get(keyword)
    except fits.VerifyError as error:
        raise IngestError("its card is damaged and cannot be read", keyword=keyword) from error
