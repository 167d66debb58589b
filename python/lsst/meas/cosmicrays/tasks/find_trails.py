# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find the trails of satellites in the masks of a detector."""

from __future__ import annotations

__all__ = ["FindTrailsConfig", "FindTrailsConnections", "FindTrailsTask"]

from collections.abc import Mapping
from typing import Any, ClassVar

from lsst.pex.config import Field, ListField
from lsst.pipe.base import (
    InputQuantizedConnection,
    NoWorkFound,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)

from ..comparison import TrailSettings, trail_table
from ..images import read_mask
from .connections import DETECTOR, mask_input, table_output


class FindTrailsConnections(PipelineTaskConnections, dimensions=DETECTOR):
    """Connections of `FindTrailsTask`.

    Besides the one below there is, for every detection in the config, the
    input ``mask_{detection}`` (``cr_mask_{detection}``), which may be
    missing.
    """

    trails = table_output("cr_trails", "Trails of satellites in the masks of detections.")

    def __init__(self, *, config: FindTrailsConfig):
        super().__init__(config=config)
        for detection in config.detections:
            setattr(self, f"mask_{detection}", mask_input(detection))


class FindTrailsConfig(PipelineTaskConfig, pipelineConnections=FindTrailsConnections):
    """Configuration of `FindTrailsTask`."""

    detections = ListField[str](
        doc="Detections in whose masks trails are sought, each {finder}_{kind}{variant}.",
        default=[
            "morphological_science",
            "astroscrappy_science",
            "morphological_difference",
            "astroscrappy_difference",
        ],
    )
    block = Field[int](
        doc="Width of the blocks in which lines are sought (pixels).",
        default=16,
        check=lambda value: value >= 1,
    )
    minCoverage = Field[float](
        doc="Least fraction of the blocks along a trail that have a pixel of the mask, in excess of that of "
        "the blocks elsewhere.",
        default=0.35,
        check=lambda value: 0.0 < value < 1.0,
    )
    minLength = Field[float](
        doc="Least length of a trail within the detector: the tracks of muons are shorter (pixels).",
        default=500.0,
        check=lambda value: value >= 0.0,
    )
    minSections = Field[int](
        doc="In how many of eight equal sections of a trail there must be a pixel of the mask.",
        default=7,
        check=lambda value: 1 <= value <= 8,
    )
    maxChance = Field[float](
        doc="Expected number of trails in a detector that chance alone would make.",
        default=1e-3,
        check=lambda value: value > 0.0,
    )
    halfWidth = Field[float](
        doc="Pixels of the mask so near to the line of a trail are of the trail (pixels).",
        default=8.0,
        check=lambda value: value > 0.0,
    )

    def validate(self) -> None:
        super().validate()
        if not self.detections:
            raise ValueError("detections is empty: name those in whose masks trails are sought.")

    def settings(self) -> TrailSettings:
        """Return what counts as a trail.

        Returns
        -------
        settings : `lsst.meas.cosmicrays.comparison.TrailSettings`
            The settings.
        """
        return TrailSettings(
            block=self.block,
            min_coverage=self.minCoverage,
            min_length=self.minLength,
            min_sections=self.minSections,
            max_chance=self.maxChance,
            half_width=self.halfWidth,
        )


class FindTrailsTask(PipelineTask):
    """Find the trails of satellites in the masks of a detector."""

    ConfigClass: ClassVar[type[FindTrailsConfig]] = FindTrailsConfig
    _DefaultName: ClassVar[str] = "findTrails"
    config: FindTrailsConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        inputs = butlerQC.get(inputRefs)
        masks = {name.removeprefix("mask_"): mask for name, mask in inputs.items()}
        butlerQC.put(self.run(masks), outputRefs)

    def run(self, masks: Mapping[str, Any]) -> Struct:
        """Look for trails.

        Parameters
        ----------
        masks : `~collections.abc.Mapping` [`str`, `lsst.images.Mask`]
            Masks by detection; some may be missing.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``trails`` (`astropy.table.Table`).

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            Raised if every mask is missing.
        """
        if not masks:
            raise NoWorkFound("Every mask is missing.")
        box = next(iter(masks.values())).bbox
        arrays = {name: read_mask(masks[name]) if name in masks else None for name in self.config.detections}
        origin = (box.x.start, box.y.start)
        trails = trail_table(arrays, self.config.settings(), origin=origin)
        for name, n_trails in trails.iterrows("detection", "n_trails"):
            if n_trails > 0:
                self.log.info("%s has %d trail(s).", name, n_trails)
        return Struct(trails=trails)
