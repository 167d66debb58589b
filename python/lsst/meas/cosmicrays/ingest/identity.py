# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which visit and which detector an image is."""

from __future__ import annotations

__all__ = ("Identity", "KnownImages", "file_number")

import dataclasses
import re
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .errors import IngestError
from .preset import file_stem
from .reading import CcdFrame

_VISIT_MAX = 2**31
_FIRST_HASHED = 10**9
_DETECTOR_MAX = 1000
_NAME_LENGTH = 32
_LAST_NUMBER = re.compile(r"(?<!\d)\d{1,9}$")


@dataclasses.dataclass(frozen=True)
class Identity:
    """Visit and detector of an image.

    Parameters
    ----------
    visit
        Number of the visit.
    visit_name
        Name of the visit.
    detector
        Number of the detector.
    detector_name
        Name of the detector.
    """

    visit: int
    visit_name: str
    detector: int
    detector_name: str


@dataclasses.dataclass
class KnownImages:
    """The visits, detectors and images that a repository has already.

    Parameters
    ----------
    visits
        Name of each visit.
    detectors
        Name of each detector.
    sources
        File and extension of each (visit, detector).
    ambiguous
        Numbers that more than one of the files to ingest end in.
    """

    visits: dict[int, str] = dataclasses.field(default_factory=dict)
    detectors: dict[int, str] = dataclasses.field(default_factory=dict)
    sources: dict[tuple[int, int], tuple[str, str]] = dataclasses.field(default_factory=dict)
    ambiguous: frozenset[int] = frozenset()

    def announce(self, paths: Iterable[Path]) -> None:
        """Look at the names of all files that are to be ingested.

        Parameters
        ----------
        paths
            The files.
        """
        counts = Counter(file_number(path) for path in set(paths))
        self.ambiguous = frozenset(
            number for number, count in counts.items() if number is not None and count > 1
        )

    def identify(self, frame: CcdFrame) -> Identity:
        """Say which visit and detector an image is.

        The number of a visit is that of the exposure in the header; without
        one, the number that the name of the file ends in; where that is
        missing or taken by another file, a number of ten digits that follows
        from the name.  The same file gets the same number again.

        Parameters
        ----------
        frame
            The image.

        Returns
        -------
        identity : `Identity`
            Its visit and detector, which are known from now on.

        Raises
        ------
        IngestError
            Raised if the number of the detector is too large.
        """
        detector, detector_name = self._detector(frame)
        source = (frame.path.name, frame.extension)
        stem = file_stem(frame.path)
        header_number = frame.quantities.integer("exposure")
        number: int | None
        if header_number is not None:
            number, name = header_number, str(header_number)
        else:
            number, name = file_number(frame.path), stem
            if number in self.ambiguous:
                number = None
        candidates = [(number, name), (None, name), (None, stem)]
        for candidate, candidate_name in candidates:
            visit = self._visit(candidate, candidate_name)
            if visit is None:
                continue
            if self.sources.get((visit, detector), source) == source:
                self.visits[visit] = candidate_name
                self.detectors[detector] = detector_name
                self.sources[visit, detector] = source
                return Identity(visit, candidate_name, detector, detector_name)
        raise IngestError(
            f"visit {name} has detector {detector} ({detector_name}) from another image already: "
            "give --key detector=KEYWORD, or rename the file",
            path=frame.path,
            extension=frame.extension,
        )

    def forget(self, identity: Identity) -> None:
        """Take back that an image is known.

        Parameters
        ----------
        identity
            Visit and detector of the image.
        """
        self.sources.pop((identity.visit, identity.detector), None)

    def _visit(self, number: int | None, name: str) -> int | None:
        """Return a visit number for a name, or `None` if it is taken."""
        for known, known_name in self.visits.items():
            if known_name == name:
                return known
        if number is not None and number < _VISIT_MAX:
            return number if number not in self.visits else None
        visit = _FIRST_HASHED + zlib.crc32(name.encode()) % (_VISIT_MAX - _FIRST_HASHED)
        while visit in self.visits:
            visit = visit + 1 if visit + 1 < _VISIT_MAX else _FIRST_HASHED
        return visit

    def _detector(self, frame: CcdFrame) -> tuple[int, str]:
        number = frame.quantities.integer("detector")
        given = frame.quantities.text("detector_name")
        if number is not None:
            if number >= _DETECTOR_MAX:
                raise IngestError(
                    f"detector {number} is not below {_DETECTOR_MAX}",
                    path=frame.path,
                    extension=frame.extension,
                    keyword=frame.quantities.find("detector")[1] or "for detector",
                )
            name = (given or f"ccd{number}")[:_NAME_LENGTH]
            if name in self.detectors.values():
                name = f"{name[: _NAME_LENGTH - 4]}_{number}"
            return number, self.detectors.get(number, name)
        unnamed = frame.extension.isdigit()
        name = (given or (f"ccd{frame.index}" if unnamed else frame.extension))[:_NAME_LENGTH]
        for known, known_name in self.detectors.items():
            if known_name == name:
                return known, name
        number = frame.index
        while number in self.detectors:
            number += 1
        return number, name


def file_number(path: Path) -> int | None:
    """Return the number that the name of a file ends in.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    number : `int` or `None`
        The last digits of the name without its ending, `None` where there
        are none or more than nine.
    """
    match = _LAST_NUMBER.search(file_stem(path))
    return int(match[0]) if match else None
