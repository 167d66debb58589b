# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the columns of a table of DIASources are called."""

from __future__ import annotations

__all__ = ["DiaSourceColumnsConfig"]

from lsst.pex.config import Config, Field

from ..documentation import documented_fields


@documented_fields("running-on-hsc-and-lsstcam")
class DiaSourceColumnsConfig(Config):
    """Columns of a table of DIASources."""

    id = Field[str](doc="Identifier.", default="id")
    x = Field[str](doc="x (pixels).", default="x")
    y = Field[str](doc="y (pixels).", default="y")
    ra = Field[str](doc="Right ascension (degrees, or the unit of the column).", default="ra")
    dec = Field[str](doc="Declination (degrees, or the unit of the column).", default="dec")
    skySource = Field[str](
        doc="Is it a sky source, to be dropped? None are, if not set.", default=None, optional=True
    )
    dipole = Field[str](
        doc="Was it measured to be a dipole? Unknown, if not set.", default=None, optional=True
    )

    def required(self) -> dict[str, str]:
        """Return the names of the columns that every table must have.

        Returns
        -------
        columns : `dict` [`str`, `str`]
            Names by `lsst.meas.cosmicrays.comparison.SOURCE_COLUMNS`.
        """
        return {"id": self.id, "x": self.x, "y": self.y, "ra": self.ra, "dec": self.dec}
