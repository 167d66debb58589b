# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The presets that come with the package."""

from __future__ import annotations

__all__ = ("PRESETS", "get_preset")

from pathlib import Path

from .preset import (
    BackgroundModel,
    Companion,
    FileFormat,
    MaskCodes,
    MaskCompanion,
    Preset,
    PresetError,
    PsfModel,
    VarianceCompanion,
    VarianceKind,
    load_preset,
)

_GENERIC = Preset(
    name="generic",
    description="Any single-CCD or multi-extension image with common keywords.",
    keywords={
        "gain": ("GAIN", "EGAIN", "GAINA", "CCDGAIN"),
        "read_noise": ("RDNOISE", "READNOIS", "RDNOISEA", "RON", "ENOISE"),
        "saturation": ("SATURATE", "SATLEVEL", "SATURATA"),
        "exposure_time": ("EXPTIME", "EXPOSURE", "ITIME"),
        "filter": ("FILTER", "FILTER1", "FILTNAM", "FILTERS"),
        "date": ("DATE-OBS", "MJD-OBS"),
        "time": ("UT", "UTC", "TIME-OBS", "UTSTART"),
        "unit": ("BUNIT",),
        "exposure": ("EXPNUM",),
        "detector": ("CCDNUM", "CHIPID"),
        "detector_name": ("DETPOS",),
        "pixel_scale": ("PIXSCALE", "PIXSCAL1"),
        "ra": ("RA", "OBJCTRA"),
        "dec": ("DEC", "OBJCTDEC"),
    },
)

_SAAO = Preset(
    name="saao",
    description="SAAO 1.0 m with the STE3 CCD, reduced; masks beside the images.",
    instrument="SAAO",
    keywords={
        "gain": ("GAIN",),
        "read_noise": ("RDNOISE",),
        "exposure_time": ("EXPTIME",),
        "date": ("DATE-OBS",),
        "time": ("UT",),
        "ra": ("RA_OBS",),
        "dec": ("DEC_OBS",),
    },
    values={
        "saturation": 65300.0,
        "filter": "I",
        "band": "i",
        "unit": "adu",
        "pixel_scale": 0.31,
        "pixel_size": 0.024,
        "detector_name": "STE3",
    },
    truth=Companion(suffix="_crmask.fits.gz"),
    exclude=("recurrent_badpix*",),
)

_DECAM_INSTCAL = Preset(
    name="decam-instcal",
    description="DECam community pipeline: image (ooi), data quality (ood) and inverse variance (oow).",
    instrument="DECam",
    keywords={
        "gain": ("GAINA",),
        "read_noise": ("RDNOISEA",),
        "saturation": ("SATURATE", "SATURATA"),
        "exposure_time": ("EXPTIME",),
        "filter": ("FILTER",),
        "date": ("DATE-OBS",),
        "exposure": ("EXPNUM",),
        "detector": ("CCDNUM",),
        "detector_name": ("DETPOS", "EXTNAME"),
        "fwhm": ("FWHM",),
    },
    values={"unit": "adu", "pixel_size": 0.015, "pixel_scale": 0.263},
    mask=MaskCompanion(
        replace=("_ooi_", "_ood_"),
        codes=MaskCodes(
            values={
                1: "BAD",
                2: "NO_DATA",
                3: "SATURATED",
                4: "SATURATED",
                5: "COSMIC_RAY",
                6: "BAD",
                7: "SUSPECT",
                8: "SUSPECT",
            }
        ),
    ),
    variance=VarianceCompanion(replace=("_ooi_", "_oow_"), kind=VarianceKind.INVERSE),
)

_DECAM_SERIES = Preset(
    name="decam-series",
    description="DECam exposures aligned and sky-subtracted, with the stack of the series as template.",
    instrument="DECamSeries",
    keywords={
        "gain": ("GAIN",),
        "read_noise": ("RDNOISE",),
        "saturation": ("ESATUR", "SATURATE"),
        "exposure_time": ("EXPTIME",),
        "filter": ("FILTER",),
        "date": ("DATE-OBS",),
        "detector": ("CCDNUM",),
        "detector_name": ("DETPOS",),
        "sky": ("AVSKY",),
        "fwhm": ("FWHM",),
    },
    values={"unit": "adu", "pixel_size": 0.015},
    truth=Companion(suffix="_crmask.fits.gz"),
    template="Stack-DEC-OBS04.fits",
    exclude=("Stack-*",),
    background=BackgroundModel(subtract=False),
)

_HSC_CUT = Preset(
    name="hsc-cut",
    description="HSC image without a header, in electrons: variance is the image, Gaussian PSF of sigma 2.",
    instrument="HSCCut",
    values={
        "unit": "electron",
        "read_noise": 0.0,
        "fwhm": 4.7096,
        "filter": "unknown",
        "pixel_scale": 0.168,
        "pixel_size": 0.015,
    },
    psf=PsfModel.GIVEN,
)

_LCO_SINISTRO = Preset(
    name="lco-sinistro",
    description="LCO 1 m Sinistro, raw quadrant: overscan in the last columns.",
    instrument="Sinistro",
    keywords={
        "read_noise": ("RDNOISE",),
        "saturation": ("SATURATE",),
        "exposure_time": ("EXPTIME",),
        "filter": ("FILTER",),
        "date": ("DATE-OBS",),
    },
    values={
        "gain": 3.3,
        "band": "i",
        "unit": "adu",
        "pixel_size": 0.015,
        "detector_name": "fl10",
    },
    trim="[5:2048,1:2048]",
    overscan="[2053:2080,1:2048]",
)

_AFW = Preset(
    name="afw",
    description="Files of lsst.afw.image: image, mask (MP_ keywords) and variance.",
    format=FileFormat.AFW,
    keywords={
        "gain": ("AFW GAIN", "GAIN"),
        "read_noise": ("AFW RDNOISE", "RDNOISE"),
        "exposure_time": ("EXPTIME",),
        "filter": ("AFW FILTER", "FILTER"),
        "band": ("AFW BAND",),
        "date": ("DATE-AVG", "DATE-OBS"),
        "unit": ("BUNIT",),
        "exposure": ("IDNUM", "EXPID"),
        "detector": ("AFW DETECTOR",),
        "detector_name": ("DETNAME",),
        "fwhm": ("AFW FWHM",),
        "pixel_size": ("AFW PIXELSIZE",),
        "ra": ("BORE-RA",),
        "dec": ("BORE-DEC",),
    },
    background=BackgroundModel(subtract=False),
    psf=PsfModel.GIVEN,
)

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (_GENERIC, _SAAO, _DECAM_INSTCAL, _DECAM_SERIES, _HSC_CUT, _LCO_SINISTRO, _AFW)
}
"""Presets by name."""


def get_preset(name: str) -> Preset:
    """Find a preset by its name, or read it from a YAML file.

    Parameters
    ----------
    name
        Name of a preset of this package, or path of a YAML file.

    Returns
    -------
    preset : `Preset`
        The preset.

    Raises
    ------
    PresetError
        Raised if there is no such preset.
    """
    if name in PRESETS:
        return PRESETS[name]
    if Path(name).suffix in (".yaml", ".yml"):
        return load_preset(Path(name))
    raise PresetError(f"No preset {name!r}: give one of {', '.join(PRESETS)}, or a file ending in .yaml")
