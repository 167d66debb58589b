# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of the files given are exposures."""

from __future__ import annotations

__all__ = ("collect_files",)

import fnmatch
from collections.abc import Iterable
from pathlib import Path

from .errors import IngestError
from .preset import Preset

_FITS_ENDINGS = tuple(
    f"{ending}{compression}"
    for ending in (".fits", ".fit", ".fts")
    for compression in ("", ".gz", ".fz", ".bz2")
)


def collect_files(paths: Iterable[Path], preset: Preset) -> tuple[list[Path], list[IngestError]]:
    """Find the exposures among files and directories.

    Masks, variances, templates and files that the preset excludes are left
    out.

    Parameters
    ----------
    paths
        Files, and directories of which all FITS files are taken.
    preset
        What the files look like.

    Returns
    -------
    files : `list` [`pathlib.Path`]
        Exposures, each once, sorted by name.
    errors : `list` [`IngestError`]
        What cannot be taken.
    """
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found = sorted(entry for entry in path.iterdir() if entry.name.lower().endswith(_FITS_ENDINGS))
            files.update(dict.fromkeys(found))
        else:
            files[path] = None
    companions = {
        companion.file_of(path)
        for companion in (preset.mask, preset.variance, preset.truth)
        if companion is not None and (companion.replace or companion.suffix)
        for path in files
    } | {path.with_name(preset.template) for path in files if preset.template}
    chosen: dict[str, Path] = {}
    errors = []
    for path in files:
        if path in companions or any(fnmatch.fnmatch(path.name, pattern) for pattern in preset.exclude):
            continue
        if path.name in chosen:
            errors.append(
                IngestError(f"has the same name as {chosen[path.name]}: rename one of them", path=path)
            )
        else:
            chosen[path.name] = path
    return [chosen[name] for name in sorted(chosen)], errors
