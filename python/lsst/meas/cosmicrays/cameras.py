# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""An importable `lsst.pipe.base.Instrument` class for every camera name.

A data repository stores the class name of each instrument, and every process
that reads it imports that class.  For a camera that has no ``obs`` package
this module answers: ``lsst.meas.cosmicrays.cameras.NAME`` is made on first
use, for any valid name, and its ``getName`` is ``NAME``.
"""

from __future__ import annotations

__all__ = ("generic_class_name",)

from .instruments import GenericInstrument, InstrumentNameError, check_instrument_name


def generic_class_name(name: str) -> str:
    """Name the importable class of a camera.

    Parameters
    ----------
    name : `str`
        Butler name of the instrument.

    Returns
    -------
    class_name : `str`
        Value for `~lsst.meas.cosmicrays.instruments.InstrumentDescription`'s
        ``class_name``.

    Raises
    ------
    InstrumentNameError
        Raised if the name is not valid, or is taken by this module.
    """
    check_instrument_name(name)
    if not _is_generic(globals().get(name, _make_class(name))):
        raise InstrumentNameError(f"Instrument name {name!r} is taken; choose another.")
    return f"{__name__}.{name}"


def _make_class(name: str) -> type[GenericInstrument]:
    return type(name, (GenericInstrument,), {"__module__": __name__, "instrument_name": name})


def _is_generic(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, GenericInstrument) and value is not GenericInstrument


def __getattr__(name: str) -> type[GenericInstrument]:
    try:
        check_instrument_name(name)
    except ValueError as error:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {error}") from None
    cls = _make_class(name)
    globals()[name] = cls
    return cls
