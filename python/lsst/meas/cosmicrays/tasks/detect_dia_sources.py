# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Detect sources on a difference image."""

from __future__ import annotations

__all__ = [
    "DetectDiaSourcesConfig",
    "DetectDiaSourcesConnections",
    "DetectDiaSourcesTask",
    "TooManyDiaSourcesError",
]

import dataclasses
from typing import Any, ClassVar, cast

import astropy.units
import numpy as np
from astropy.table import Table

from lsst.daf.butler import DataCoordinate
from lsst.images import DifferenceImage
from lsst.pex.config import ConfigField, Field, ListField
from lsst.pipe.base import (
    InputQuantizedConnection,
    Instrument,
    NoWorkFound,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from lsst.pipe.base.connectionTypes import Input, Output

from ..documentation import DocumentedError
from ..engines.difference_imaging.dia_detection import DiaDetection, DiaDetectionSettings, detect_dia_sources
from ..images import WorkingImageConfig, read_image
from .connections import DETECTOR, table_output
from .difference_image_io import make_detection_mask

_ID_BITS = 63
_UNITS = {
    "x": astropy.units.pix,
    "y": astropy.units.pix,
    "ra": astropy.units.deg,
    "dec": astropy.units.deg,
    "flux": astropy.units.electron,
    "flux_err": astropy.units.electron,
}


class TooManyDiaSourcesError(DocumentedError, RuntimeError):
    """Raised when there are more sources than identifiers for a detector."""


class DetectDiaSourcesConnections(PipelineTaskConnections, dimensions=DETECTOR):
    """Connections of `DetectDiaSourcesTask`."""

    difference = Input(
        doc="Difference image.",
        name="difference_image",
        storageClass="DifferenceImage",
        dimensions=DETECTOR,
    )
    diaSources = table_output(
        "dia_source_unfiltered", "Sources on the difference image, before any cut on their reliability."
    )
    detectionMask = Output(
        doc="Footprints of the sources: planes DETECTED and DETECTED_NEGATIVE.",
        name="dia_detection_mask",
        storageClass="MaskV2",
        dimensions=DETECTOR,
    )

    def __init__(self, *, config: DetectDiaSourcesConfig):
        super().__init__(config=config)
        self.difference = dataclasses.replace(self.difference, storageClass=config.differenceStorageClass)


class DetectDiaSourcesConfig(PipelineTaskConfig, pipelineConnections=DetectDiaSourcesConnections):
    """Configuration of `DetectDiaSourcesTask`.

    The defaults are those of ``lsst.ip.diffim.DetectAndMeasureTask``.
    """

    thresholdValue = Field[float](
        doc="Least signal-to-noise ratio of the image smoothed with its PSF.",
        default=5.0,
        check=lambda value: value > 0.0,
    )
    nSigmaToGrow = Field[float](
        doc="Footprints grow by this many sigmas of the PSF, and are merged where they overlap.",
        default=2.4,
        check=lambda value: value >= 0.0,
    )
    badCenterPlanes = ListField[str](
        doc="Sources with a pixel of one of these planes within one pixel of their peak are left out; 'edge' "
        "stands for the border of the image.  Planes that the image does not have are passed over.",
        default=list(DiaDetectionSettings().bad_center),
    )
    badCenterAllPlanes = ListField[str](
        doc="Sources are left out if one of these planes has all pixels within one of their peak.",
        default=list(DiaDetectionSettings().bad_center_all),
    )
    flagPlanes = ListField[str](
        doc="Mask planes for which there are flags; always false where the image does not have the plane.",
        default=[
            "BAD",
            "SATURATED",
            "SAT_TEMPLATE",
            "INTERPOLATED",
            "COSMIC_RAY",
            "DETECTION_EDGE",
            "NO_DATA",
            "SUSPECT",
            "SPIKE",
            "HIGH_VARIANCE",
            "INJECTED",
            "INJECTED_TEMPLATE",
        ],
    )
    differenceStorageClass = Field[str](
        doc="Storage class of the difference image: DifferenceImage, VisitImage or MaskedImageV2.",
        default="DifferenceImage",
    )
    reading = ConfigField[WorkingImageConfig](doc="What to assume where the image does not say.")

    def settings(self) -> DiaDetectionSettings:
        """Return how sources are detected.

        Returns
        -------
        settings : `~.engines.difference_imaging.DiaDetectionSettings`
            The settings.
        """
        return DiaDetectionSettings(
            threshold=self.thresholdValue,
            grow_sigma=self.nSigmaToGrow,
            bad_center=tuple(self.badCenterPlanes),
            bad_center_all=tuple(self.badCenterAllPlanes),
        )


class DetectDiaSourcesTask(PipelineTask):
    """Detect positive and negative sources on a difference image."""

    ConfigClass: ClassVar[type[DetectDiaSourcesConfig]] = DetectDiaSourcesConfig
    _DefaultName: ClassVar[str] = "detectDiaSources"
    config: DetectDiaSourcesConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        result = self.run(butlerQC.get(inputRefs.difference), butlerQC.quantum.dataId)
        butlerQC.put(result, outputRefs)

    def run(self, difference: DifferenceImage, dataId: DataCoordinate | None = None) -> Struct:
        """Detect.

        Parameters
        ----------
        difference : `lsst.images.DifferenceImage`
            Difference image; it is not changed.
        dataId : `lsst.daf.butler.DataCoordinate`, optional
            Data ID of visit and detector, with records, that makes the
            identifiers unique.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``diaSources`` (`astropy.table.Table`; positions in pixels of
            the detector and in degrees, fluxes in electrons) and
            ``detectionMask`` (`lsst.images.Mask`).

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            Raised if no pixel has data.
        ImageReadError
            Raised if the image lacks a unit or a PSF that is not configured.
        """
        working = read_image(difference, self.config.reading)
        absent = np.broadcast_to(False, working.image.shape)
        planes = {
            name: working.planes[name] if name in working.planes else absent
            for name in self.config.flagPlanes
        }
        no_data = working.not_finite()
        if "NO_DATA" in working.planes:
            no_data |= working.planes["NO_DATA"]
        if no_data.all():
            raise NoWorkFound("No pixel of the difference image has data.")
        detection = detect_dia_sources(
            working.image, working.variance, working.psf_kernel, planes, no_data, self.config.settings()
        )
        self.metadata["nDiaSources"] = len(detection.sources)
        self.metadata["nRejectedDiaSources"] = detection.n_rejected
        self.log.info(
            "%d sources, %d of them negative and %d dipoles; %d left out for what is at their peak.",
            len(detection.sources),
            np.count_nonzero(detection.sources["is_negative"]),
            np.count_nonzero(detection.sources["is_dipole"]),
            detection.n_rejected,
        )
        return Struct(
            diaSources=self._make_table(detection, difference, dataId),
            detectionMask=make_detection_mask(
                detection.detected, detection.detected_negative, difference.bbox
            ),
        )

    def _make_table(
        self, detection: DiaDetection, difference: DifferenceImage, data_id: DataCoordinate | None
    ) -> Table:
        """Put positions on the detector and the sky, and add identifiers."""
        sources = Table(detection.sources)
        box = difference.bbox
        for name in ("x", "x_min", "x_max"):
            sources[name] += box.x.min
        for name in ("y", "y_min", "y_max"):
            sources[name] += box.y.min
        ra = dec = np.full(len(sources), np.nan)
        if difference.sky_projection is not None and len(sources):
            sky = difference.sky_projection.pixel_to_sky(
                x=np.asarray(sources["x"]), y=np.asarray(sources["y"])
            )
            ra, dec = sky.ra.deg, sky.dec.deg
        identity: dict[str, Any] = {"id": make_ids(len(sources), data_id)}
        if data_id is not None:
            identity["visit"] = np.full(len(sources), data_id["visit"], dtype=np.int64)
            identity["detector"] = np.full(len(sources), data_id["detector"], dtype=np.int32)
        for index, (name, values) in enumerate(identity.items()):
            sources.add_column(values, name=name, index=index)
        sources.add_columns([ra, dec], names=["ra", "dec"], indexes=[len(identity) + 2] * 2)
        for name, unit in _UNITS.items():
            sources[name].unit = unit
        return sources


def make_ids(n: int, data_id: DataCoordinate | None) -> np.ndarray:
    """Return identifiers that no other visit or detector has.

    They are those of ``lsst.meas.base.IdGenerator``: the packed visit and
    detector in the high bits, a counter from one in the low ones.

    Parameters
    ----------
    n : `int`
        How many.
    data_id : `lsst.daf.butler.DataCoordinate` or `None`
        Data ID with the record of the instrument; without it there is only
        the counter.

    Returns
    -------
    ids : `numpy.ndarray` [`int64`], (n,)
        The identifiers.

    Raises
    ------
    TooManyDiaSourcesError
        Raised if the counter does not fit in its bits.
    """
    if data_id is None:
        return np.arange(1, n + 1, dtype=np.int64)
    packer = Instrument.make_default_dimension_packer(data_id, is_exposure=False)
    n_bits = packer.maxBits
    counter_bits = _ID_BITS - n_bits
    if counter_bits < 1 or n >= 1 << counter_bits:
        raise TooManyDiaSourcesError(
            f"{n} sources: visit and detector of this instrument take up {n_bits} bits of an identifier, and "
            f"leave {max(counter_bits, 0)} to count sources."
        )
    return (cast(int, packer.pack(data_id)) << counter_bits) + np.arange(1, n + 1, dtype=np.int64)
