# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What to simulate."""

from __future__ import annotations

__all__ = ("SimulationConfig",)

from typing import Literal

import pydantic

from .camera import CAMERAS, CameraModel


class SimulationConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Everything that the pixels of a simulated detector depend on.

    Two simulations with equal configurations are equal, whatever else is
    simulated with them and by how many processes.
    """

    sensor: Literal["hsc", "lsstcam"] = pydantic.Field(
        "hsc", description="CCDs: 200 um thick with 15 um pixels, or 100 um with 10 um."
    )
    width: int = pydantic.Field(2048, ge=64, le=16384, description="Columns of a detector.")
    height: int = pydantic.Field(4176, ge=64, le=16384, description="Rows of a detector.")
    exposure_time: float | None = pydantic.Field(
        None, gt=0.0, le=1e5, description="Exposure time in s; by default the camera's usual one."
    )
    seeing: float = pydantic.Field(0.7, gt=0.1, le=5.0, description="FWHM of the science PSF in arcsec.")
    template_seeing: float = pydantic.Field(
        0.6, gt=0.1, le=5.0, description="FWHM of the template PSF in arcsec."
    )
    psf_variation: float = pydantic.Field(
        0.03, ge=0.0, le=0.3, description="Relative change of the FWHM, and ellipticity, across a detector."
    )
    sky: float | None = pydantic.Field(
        None,
        ge=0.0,
        le=1e5,
        description="Sky in electrons per second and pixel; by default the camera's dark sky.",
    )
    crowding: float = pydantic.Field(
        1.0, ge=0.0, le=1000.0, description="Density of stars, relative to high galactic latitude."
    )
    galaxies: float = pydantic.Field(
        1.0, ge=0.0, le=100.0, description="Density of galaxies, relative to an average field."
    )
    variables: float = pydantic.Field(
        0.3, ge=0.0, le=1000.0, description="Variable stars, and as many transients, per square arcmin."
    )
    registration_error: float = pydantic.Field(
        0.05,
        ge=0.0,
        le=2.0,
        description="Shift between science image and template in pixels (standard deviation).",
    )
    moving_fraction: float = pydantic.Field(
        0.01,
        ge=0.0,
        le=1.0,
        description="Fraction of stars that moved by some tenths of a pixel since the template.",
    )
    satellite_fraction: float = pydantic.Field(
        0.25, ge=0.0, le=1.0, description="Fraction of detectors crossed by a satellite."
    )
    satellite_width: float = pydantic.Field(
        1.0,
        ge=0.1,
        le=10.0,
        description=(
            "Least width of the trail of a satellite, in units of that of the PSF; the widest is twice as "
            "wide.  Finders take for cosmic rays what is sharper than a star, from about 0.5 downwards."
        ),
    )
    bad_column_density: float = pydantic.Field(
        2.0, ge=0.0, le=100.0, description="Bad columns in 1000 columns."
    )
    cr_rate: float = pydantic.Field(
        2.8, ge=0.0, le=1e4, description="CRs of 3 or more pixels per square cm and minute; 0 for none."
    )
    cr_tilt: float = pydantic.Field(
        90.0,
        ge=0.0,
        le=90.0,
        description=(
            "Zenith angle of the normal of the detectors in degrees: that of the pointing, or 90 for the "
            "upright sensor of the dark exposures that the tracks are compared with."
        ),
    )
    template_depth: int = pydantic.Field(
        25, ge=1, le=10000, description="Number of exposures that the template is made of."
    )
    noise: bool = pydantic.Field(True, description="Whether the images have noise.")
    seed: int = pydantic.Field(1, ge=0, description="Seed of all random numbers.")

    @property
    def camera(self) -> CameraModel:
        """The camera (`~lsst.meas.cosmicrays.simulation.CameraModel`)."""
        return CAMERAS[self.sensor]

    @property
    def time(self) -> float:
        """Exposure time in s (`float`)."""
        return self.camera.exposure_time if self.exposure_time is None else self.exposure_time

    @property
    def sky_electrons(self) -> float:
        """Sky in electrons per pixel of an exposure (`float`)."""
        return self.time * (self.camera.sky if self.sky is None else self.sky)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a detector (`tuple` [`int`, `int`])."""
        return self.height, self.width

    @property
    def square_arcmin(self) -> float:
        """Area of a detector on the sky (`float`)."""
        return self.width * self.height * (self.camera.pixel_scale / 60.0) ** 2

    @property
    def square_cm(self) -> float:
        """Area of a detector (`float`)."""
        return self.width * self.height * (self.camera.sensor.pixel_size * 1e-4) ** 2
