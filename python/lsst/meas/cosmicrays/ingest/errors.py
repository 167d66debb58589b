# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be wrong with a file that is to be ingested."""

from __future__ import annotations

__all__ = ("IngestError", "IngestWarning")

from pathlib import Path

from ..documentation import DocumentedError


def _locate(path: Path | None, extension: str | None, keyword: str | None) -> str:
    """Say where in which file a statement holds."""
    parts = []
    if path is not None:
        parts.append(path.name if extension is None else f"{path.name}[{extension}]")
    if keyword is not None:
        parts.append(f"keyword {keyword}")
    return ", ".join(parts)


class IngestError(DocumentedError):
    """A file, or one extension of it, that cannot be ingested.

    Parameters
    ----------
    reason
        What is wrong and what to do, one sentence without a final period.
    path
        File in question.
    extension
        Name or number of the extension, where the reason is in one.
    keyword
        Header keyword, where the reason is in one.
    """

    def __init__(
        self,
        reason: str,
        *,
        path: Path | None = None,
        extension: str | None = None,
        keyword: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.extension = extension
        self.keyword = keyword

    def __str__(self) -> str:
        where = _locate(self.path, self.extension, self.keyword)
        return f"{where}: {self.reason}" if where else self.reason

    def at(self, path: Path, extension: str | None = None) -> IngestError:
        """Return the same error with the place it lacked.

        Parameters
        ----------
        path
            File in question.
        extension
            Name or number of the extension.

        Returns
        -------
        error : `IngestError`
            Error whose path and extension are set where they were not.
        """
        return IngestError(
            self.reason,
            path=self.path or path,
            extension=self.extension or extension,
            keyword=self.keyword,
        )


class IngestWarning(UserWarning):
    """Something that was assumed because a file does not say it."""
