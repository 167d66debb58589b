# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long numba compiles, which is no part of a finder's run time."""

from __future__ import annotations

__all__ = ["Compilation", "watch_compilation"]

import contextlib
import dataclasses
from collections.abc import Iterator

from numba.core import event


@dataclasses.dataclass
class Compilation:
    """What was compiled while it was watched."""

    seconds: float = 0.0
    """Time, in all threads of the process together; they take turns."""


@contextlib.contextmanager
def watch_compilation() -> Iterator[Compilation]:
    """Measure how long numba compiles.

    Functions are compiled when first called, and kept on disk: to load them
    from there does not count.

    Yields
    ------
    compilation : `Compilation`
        Complete when the context ends.
    """
    compilation = Compilation()
    listener = event.TimingListener()
    with event.install_listener("numba:compile", listener):
        yield compilation
    if listener.done:
        compilation.seconds = listener.duration
