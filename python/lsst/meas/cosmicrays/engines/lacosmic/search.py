# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""The iterations of L.A.Cosmic: find CR pixels, clean them, look again.

After the first iteration only the surroundings of pixels that were cleaned are
looked at, since nothing else can have changed; and once an iteration finds no
new CR pixel, neither will the next.
"""

from __future__ import annotations

__all__ = ["Search"]

import numpy as np

from .background import background_levels
from .candidates import CROWD, SQUARE_CROWD, lower_bounds
from .clean import CLEAN_TYPES, HALF, clean, clean_to_zero, put
from .detect import RUNS, clear_near, crowded_runs, exceed, forget, learn, learn_around, scan
from .frame import ABOVE, ABOVE_NEIGHBOUR, COSMIC_RAY, NEAR, VISITED, Frame
from .lists import clear_flag, flagged_near, neighbours, set_flag
from .steps import Rule, reach_of
from .threads import Threads

PIXELS = 4096
"""Pixels of a list that a thread works on before it takes the next ones."""

CROWD_FOUND = 5
"""CR pixels of a block that take longer to be looked around one by one than
all of it together."""

GROWTH = 2
"""How far from a CR pixel its neighbours are, and theirs."""


class Search:
    """CR pixels of an image, iteration by iteration.

    Parameters
    ----------
    frame : `Frame`
        State of the image, with no CR pixels yet.
    rule : `Rule`
        What makes a CR pixel.
    clean_type : `str`
        How CR pixels are cleaned.
    threads : `Threads`
        Threads to use.
    """

    def __init__(self, frame: Frame, rule: Rule, clean_type: str, threads: Threads) -> None:
        self._frame = frame
        self._rule = rule
        self._clean_type = CLEAN_TYPES.index(clean_type)
        self._threads = threads
        self._shape = frame.flags.shape
        self._originals: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._levels: tuple[np.float32, np.float32] | None = None
        self._only = np.uint8(0)

    def iterate(self) -> int:
        """Find CR pixels and clean them.

        Returns
        -------
        n_new : `int`
            Number of pixels that no iteration before had found; if it is zero,
            neither would the following ones find any.
        """
        new = self._find()
        if new.size > 0:
            self._add(new)
            changed = self._clean(new)
            self._prepare(changed)
        return new.size

    def _prepare(self, changed: np.ndarray) -> None:
        """Get ready for another iteration, after some pixels changed."""
        frame, rule, is_first = self._frame, self._rule, not self._only
        reach, all_grow = reach_of(rule), bool(rule.neighbour_limit > rule.limit)

        def prepare_rows(top: int, bottom: int) -> None:
            if not is_first:
                clear_near(frame.flags, top, bottom)
            forget(frame.flags, changed, reach, GROWTH, all_grow, top, bottom)
            lower_bounds(frame, changed, top, bottom)

        self._threads.over_list(changed.size, prepare_rows)
        self._only = NEAR

    def _find(self) -> np.ndarray:
        """Return pixels that are CR pixels now, and were not before.

        Neighbours join in two rounds, as in astroscrappy: first those above
        the limit of CR pixels, then the neighbours of all these above a lower
        limit, which (or a higher one) is then asked of all.
        """
        frame, rule, only = self._frame, self._rule, self._only
        found = _joined(
            self._threads.over_rows(
                lambda top, bottom: scan(frame, rule, top, bottom, only), broad=bool(only)
            )
        )
        self._learn_crowded(found, CROWD_FOUND)
        self._threads.map(lambda part: learn_around(frame, rule, part), _split(found, PIXELS))
        found = np.concatenate((found, self._exceeding(ABOVE, self._touching(found, ABOVE))))
        touching = self._touching(found, ABOVE_NEIGHBOUR)
        if rule.neighbour_limit > rule.limit:
            found = self._exceeding(ABOVE_NEIGHBOUR, found)
        return np.concatenate(
            (self._unknown(found), self._exceeding(ABOVE_NEIGHBOUR, self._unknown(touching)))
        )

    def _touching(self, pixels: np.ndarray, above: np.uint8) -> np.ndarray:
        """Return what touches some pixels, and may exceed a limit."""
        flags = self._frame.flags
        set_flag(flags, VISITED, pixels)
        touching = _joined(
            self._threads.over_list(
                pixels.size, lambda top, bottom: neighbours(flags, pixels, above, top, bottom)
            )
        )
        clear_flag(flags, VISITED, touching)
        clear_flag(flags, VISITED, pixels)
        return touching

    def _unknown(self, pixels: np.ndarray) -> np.ndarray:
        """Return those of some pixels that are no CR pixels yet."""
        return pixels[self._frame.flags.ravel()[pixels] & COSMIC_RAY == 0]

    def _exceeding(self, above: np.uint8, pixels: np.ndarray) -> np.ndarray:
        """Return those of some pixels that exceed a limit."""
        frame, rule = self._frame, self._rule
        self._learn_crowded(pixels, CROWD if rule.separable else SQUARE_CROWD)
        return _joined(
            self._threads.map(lambda part: exceed(frame, rule, above, part), _split(pixels, PIXELS))
        )

    def _learn_crowded(self, pixels: np.ndarray, crowd: int) -> None:
        """Find out what exceeds the limits where there are many pixels."""
        frame, rule = self._frame, self._rule
        runs = self._threads.over_list(
            pixels.size, lambda top, bottom: crowded_runs(frame.flags, pixels, crowd, top, bottom)
        )
        self._threads.map(lambda part: learn(frame, rule, part), _split(np.concatenate(runs), RUNS))

    def _add(self, new: np.ndarray) -> None:
        """Make pixels CR pixels, and remember what they were."""
        frame = self._frame
        set_flag(frame.flags, COSMIC_RAY, new)
        self._originals.append((new, frame.image.ravel()[new], frame.variance.ravel()[new]))

    def _clean(self, new: np.ndarray) -> np.ndarray:
        """Clean CR pixels, and return those that changed."""
        frame = self._frame
        if CLEAN_TYPES[self._clean_type] == "median":
            pixels = self._all_away_from_edges()
            return pixels[clean_to_zero(frame, pixels)]
        pixels = _joined(
            self._threads.over_list(
                new.size, lambda top, bottom: flagged_near(frame.flags, new, HALF, top, bottom)
            )
        )
        values = np.empty(pixels.size, dtype=np.float32)
        variances = np.empty(pixels.size, dtype=np.float32)
        enclosed = np.empty(pixels.size, dtype=bool)

        def clean_part(start: int) -> None:
            part = slice(start, start + PIXELS)
            clean(frame, pixels[part], self._clean_type, values[part], variances[part], enclosed[part])

        self._threads.map(clean_part, range(0, pixels.size, PIXELS))
        if enclosed.any():
            values[enclosed], variances[enclosed] = self._background()
        return pixels[put(frame, pixels, values, variances)]

    def _all_away_from_edges(self) -> np.ndarray:
        """Return all CR pixels that are cleaned, in scan order."""
        ny, nx = self._shape
        pixels = np.sort(np.concatenate([pixels for pixels, _, _ in self._originals]))
        y, x = np.divmod(pixels, nx)
        return pixels[np.minimum(np.minimum(y, ny - 1 - y), np.minimum(x, nx - 1 - x)) >= HALF]

    def _background(self) -> tuple[np.float32, np.float32]:
        """Return what replaces pixels without good neighbours."""
        if self._levels is None:
            pixels, values, variances = map(np.concatenate, zip(*self._originals, strict=True))
            self._levels = background_levels(self._frame, pixels, values, variances, self._threads)
        return self._levels


def _split(array: np.ndarray, length: int) -> list[np.ndarray]:
    """Split an array into parts of some length, and perhaps a shorter one."""
    return [array[i : i + length] for i in range(0, len(array), length)]


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Join lists of pixels; none at all are an empty one."""
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
