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

from .background import BackgroundLevels
from .candidates import CROWD, SQUARE_CROWD, lower_bounds
from .clean import CLEAN_TYPES, HALF, clean, clean_to_zero, put
from .cleaned import with_cleaned
from .detect import RUNS, clear_near, crowded_runs, exceed, forget, learn, learn_around, scan
from .frame import ABOVE, ABOVE_NEIGHBOUR, COSMIC_RAY, NEAR, VISITED, Frame
from .lists import clear_flag, flagged_near, neighbours, set_flag
from .steps import Rule, reach_of
from .threads import Threads

PIXELS = 4096
"""Pixels whose surroundings a thread works on before it takes the next."""

TESTED = 1 << 14
"""The same where each is only tested for a limit, which takes less time."""

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

    Attributes
    ----------
    frame : `Frame`
        State of the image now.
    """

    def __init__(self, frame: Frame, rule: Rule, clean_type: str, threads: Threads) -> None:
        self.frame = frame
        self._rule = rule
        self._clean_type = CLEAN_TYPES.index(clean_type)
        self._threads = threads
        self._shape = frame.flags.shape
        self._originals: list[tuple[np.ndarray, np.ndarray]] = []
        self._levels = BackgroundLevels(frame, threads)
        self._only = np.uint8(0)
        self._changed: tuple[np.ndarray, np.ndarray] | None = None

    def iterate(self) -> int:
        """Find CR pixels and clean them.

        Returns
        -------
        n_new : `int`
            Number of pixels that no iteration before had found; if it is zero,
            neither would the following ones find any.
        """
        self.prepare()
        new = self._find()
        if new.size > 0:
            self._add(new)
            self._changed = self._put(*self._clean(new))
        return new.size

    def prepare(self) -> None:
        """Get ready for another iteration if pixels changed in the last."""
        if self._changed is None:
            return
        changed, variances = self._changed
        self._changed = None
        frame, rule, is_first = self.frame, self._rule, not self._only
        reach, all_grow = reach_of(rule), bool(rule.neighbour_limit > rule.limit)

        def prepare_rows(top: int, bottom: int) -> None:
            if not is_first:
                clear_near(frame.flags, top, bottom)
            forget(frame.flags, changed, reach, GROWTH, all_grow, top, bottom)
            lower_bounds(frame, changed, variances, top, bottom)

        self._threads.over_list(changed.size, prepare_rows, PIXELS)
        self._only = NEAR

    def _find(self) -> np.ndarray:
        """Return pixels that are CR pixels now, and were not before.

        Neighbours join in two rounds, as in astroscrappy: first those above
        the limit of CR pixels, then the neighbours of all these above a lower
        limit, which (or a higher one) is then asked of all.
        """
        frame, rule, only = self.frame, self._rule, self._only

        def scan_rows(top: int, bottom: int) -> np.ndarray:
            if not only:
                self._levels.look(top, bottom)
            return scan(frame, rule, top, bottom, only)

        found = _joined(self._threads.over_rows(scan_rows, broad=bool(only)))
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
        flags = self.frame.flags
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
        return pixels[self.frame.flags.ravel()[pixels] & COSMIC_RAY == 0]

    def _exceeding(self, above: np.uint8, pixels: np.ndarray) -> np.ndarray:
        """Return those of some pixels that exceed a limit."""
        frame, rule = self.frame, self._rule
        self._learn_crowded(pixels, CROWD if rule.separable else SQUARE_CROWD)
        return _joined(
            self._threads.map(lambda part: exceed(frame, rule, above, part), _split(pixels, TESTED))
        )

    def _learn_crowded(self, pixels: np.ndarray, crowd: int) -> None:
        """Find out what exceeds the limits where there are many pixels."""
        frame, rule = self.frame, self._rule
        runs = self._threads.over_list(
            pixels.size, lambda top, bottom: crowded_runs(frame.flags, pixels, crowd, top, bottom)
        )
        self._threads.map(lambda part: learn(frame, rule, part), _split(np.concatenate(runs), RUNS))

    def _add(self, new: np.ndarray) -> None:
        """Make pixels CR pixels, and remember what they were."""
        set_flag(self.frame.flags, COSMIC_RAY, new)
        self._originals.append((new, self.frame.image.ravel()[new]))

    def _clean(self, new: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return CR pixels to clean, and their new values and variances."""
        frame = self.frame
        to_zero = CLEAN_TYPES[self._clean_type] == "median"
        all_are_new = len(self._originals) == 1
        pixels = self._all_away_from_edges() if to_zero or all_are_new else self._cosmic_rays_near(new)
        values = np.empty(pixels.size, dtype=np.float32)
        variances = np.empty(pixels.size, dtype=np.float32)
        if to_zero:
            clean_to_zero(frame, pixels, values, variances)
            return pixels, values, variances
        enclosed = np.empty(pixels.size, dtype=bool)

        def clean_part(start: int) -> None:
            part = slice(start, start + PIXELS)
            clean(frame, pixels[part], self._clean_type, values[part], variances[part], enclosed[part])

        self._threads.map(clean_part, range(0, pixels.size, PIXELS))
        if enclosed.any():
            values[enclosed], variances[enclosed] = self._background()
        return pixels, values, variances

    def _put(
        self, pixels: np.ndarray, values: np.ndarray, variances: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Clean pixels; return those that changed, and their variances."""
        frame = self.frame

        def put_part(start: int) -> tuple[np.ndarray, ...]:
            part = slice(start, start + PIXELS)
            return put(frame, pixels[part], values[part], variances[part])

        parts = self._threads.map(put_part, range(0, pixels.size, PIXELS))
        new, of_new, changed, of_changed = map(np.concatenate, zip(*parts, strict=True))
        self.frame = frame._replace(cleaned=with_cleaned(frame.cleaned, self._shape[1], new, of_new))
        return changed, of_changed

    def _cosmic_rays_near(self, new: np.ndarray) -> np.ndarray:
        """Return all CR pixels whose neighbours some new ones are."""
        flags = self.frame.flags
        return _joined(
            self._threads.over_list(new.size, lambda top, bottom: flagged_near(flags, new, HALF, top, bottom))
        )

    def _all_away_from_edges(self) -> np.ndarray:
        """Return all CR pixels that are cleaned, in scan order."""
        ny, nx = self._shape
        pixels = np.sort(np.concatenate([pixels for pixels, _ in self._originals]))
        y, x = np.divmod(pixels, nx)
        return pixels[np.minimum(np.minimum(y, ny - 1 - y), np.minimum(x, nx - 1 - x)) >= HALF]

    def _background(self) -> tuple[np.float32, np.float32]:
        """Return what replaces pixels without good neighbours."""
        pixels, values = map(np.concatenate, zip(*self._originals, strict=True))
        return self._levels.find(pixels, values)


def _split(array: np.ndarray, length: int) -> list[np.ndarray]:
    """Split an array into parts of some length, and perhaps a shorter one."""
    return [array[i : i + length] for i in range(0, len(array), length)]


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Join lists of pixels; none at all are an empty one."""
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
