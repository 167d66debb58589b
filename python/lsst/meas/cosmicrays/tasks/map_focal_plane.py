# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Count cosmic-ray pixels and disagreements over the focal plane."""

from __future__ import annotations

__all__ = ["MapFocalPlaneConfig", "MapFocalPlaneConnections", "MapFocalPlaneTask"]

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from lsst.daf.butler import DataCoordinate
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
from lsst.pipe.base.connectionTypes import Input
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

from ..comparison import focal_plane_table, tangent_plane
from .connections import DETECTOR, VISIT, table_input, table_output


class MapFocalPlaneConnections(
    PipelineTaskConnections,
    dimensions=VISIT,
    defaultTemplates={"first": "morphological_science", "second": "astroscrappy_science"},
):
    """Connections of `MapFocalPlaneTask`."""

    detections = table_input("cr_visit_detections", "What each detection found, by detector.", VISIT)
    pixelPairs = table_input("cr_visit_pixel_pairs", "How pairs of masks agree, by detector.", VISIT)
    detectors = Input(
        doc="One dataset of every detector: it says where the detector is, and is never read.",
        name="cr_detections",
        storageClass="ArrowAstropy",
        dimensions=DETECTOR,
        multiple=True,
        deferLoad=True,
    )
    focalPlane = table_output(
        "cr_visit_focal_plane", "Cosmic-ray pixels and disagreements by detector, and where it is.", VISIT
    )


class MapFocalPlaneConfig(PipelineTaskConfig, pipelineConnections=MapFocalPlaneConnections):
    """Configuration of `MapFocalPlaneTask`."""


class MapFocalPlaneTask(PipelineTask):
    """Say how many cosmic rays there are where on the focal plane.

    Where a detector is follows from its region on the sky, which every
    repository has.
    """

    ConfigClass: ClassVar[type[MapFocalPlaneConfig]] = MapFocalPlaneConfig
    _DefaultName: ClassVar[str] = "mapFocalPlane"
    config: MapFocalPlaneConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # docstring inherited
        vertices = {
            int(ref.dataId["detector"]): region_vertices(ref.dataId)
            for ref in sorted(inputRefs.detectors, key=lambda ref: ref.dataId)
        }
        detections, pairs = butlerQC.get(inputRefs.detections), butlerQC.get(inputRefs.pixelPairs)
        butlerQC.put(self.run(detections, pairs, vertices), outputRefs)

    def run(
        self, detections: Table, pixelPairs: Table, vertices: Mapping[int, npt.NDArray[np.float64]]
    ) -> Struct:
        """Count over the focal plane.

        Parameters
        ----------
        detections : `astropy.table.Table`
            What each detection found on each detector.
        pixelPairs : `astropy.table.Table`
            How pairs of masks agree on each detector.
        vertices : `~collections.abc.Mapping`
            By detector, unit vectors towards its four corners, ``(4, 3)``.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            With ``focalPlane`` (`astropy.table.Table`).

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            Raised if there is no detector with a region of four corners.
        """
        known = {number: corners for number, corners in vertices.items() if corners.shape == (4, 3)}
        if not known:
            raise NoWorkFound("No detector of this visit has a region with four corners.")
        middle = _directions(
            np.mean([corners.mean(axis=0) for corners in known.values()], axis=0)[np.newaxis]
        )[0]
        corners = {}
        for number, vectors in known.items():
            ra, dec = _directions(vectors).T
            corners[number] = np.column_stack(tangent_plane(ra, dec, (float(middle[0]), float(middle[1]))))
        pair = (self.config.connections.first, self.config.connections.second)
        return Struct(focalPlane=focal_plane_table(detections, pixelPairs, corners, pair))


def region_vertices(data_id: DataCoordinate) -> npt.NDArray[np.float64]:
    """Return the corners of a detector on the sky.

    Parameters
    ----------
    data_id : `lsst.daf.butler.DataCoordinate`
        Data ID of a visit and detector, with its records.

    Returns
    -------
    vertices : `numpy.ndarray`
        Unit vectors, float64 ``(n, 3)``; ``(0, 3)`` if the region is not a
        polygon.
    """
    region: Any = data_id.region
    if not isinstance(region, ConvexPolygon):
        return np.zeros((0, 3))
    return np.array([[vertex.x(), vertex.y(), vertex.z()] for vertex in region.getVertices()])


def _directions(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return right ascension and declination in degrees, ``(n, 2)``."""
    positions = [LonLat(UnitVector3d(*vector)) for vector in vectors.tolist()]
    return np.array([[p.getLon().asDegrees(), p.getLat().asDegrees()] for p in positions])
