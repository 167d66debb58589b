# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Templates that are given as files."""

from __future__ import annotations

__all__ = ("TemplateFiles",)

from pathlib import Path

from .calibration import calibrate
from .errors import IngestError
from .preparation import PreparedFrame
from .preset import Preset
from .reading import read_frames
from .templates import Template, template_from_frame


class TemplateFiles:
    """Templates that are in files, each read once.

    Parameters
    ----------
    preset
        What the files look like.
    file
        File of the template of all images; by default the preset names one
        beside each image.
    """

    def __init__(self, preset: Preset, file: Path | None) -> None:
        self._preset = preset.model_copy(update={"mask": None, "truth": None, "template": None})
        self._name = preset.template
        self._file = file
        self._read: dict[Path, dict[int, Template]] = {}
        self.errors: list[IngestError] = []

    def find(self, frame: PreparedFrame) -> Template | None:
        """Return the template of an image.

        Parameters
        ----------
        frame
            The image.

        Returns
        -------
        template : `Template` or `None`
            Its template, or `None` where there is no good one; the reason
            is in ``errors``.
        """
        file = self._file
        if file is None and self._name is not None:
            file = frame.source.path.with_name(self._name)
        if file is None:
            return None
        if file not in self._read:
            self._read[file] = self._read_file(file)
        template = self._read[file].get(frame.source.index)
        if template is not None and template.image.shape != frame.science.image.shape:
            self.errors.append(
                IngestError(
                    f"has the shape {template.image.shape}, but {frame.source.path.name} has "
                    f"{frame.science.image.shape} (ny, nx): ingested without a template",
                    path=file,
                )
            )
            return None
        return template

    def _read_file(self, file: Path) -> dict[int, Template]:
        templates = {}
        for frame in read_frames(file, self._preset):
            try:
                if isinstance(frame, IngestError):
                    raise frame
                science = calibrate(frame)
            except IngestError as error:
                self.errors.append(error.at(file))
                continue
            templates[frame.index] = template_from_frame(science, frame.variance is not None)
        return templates
