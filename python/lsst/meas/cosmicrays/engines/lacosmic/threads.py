# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sharing the work on an image among threads."""

from __future__ import annotations

__all__ = ["Threads"]

from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Self

PIXELS_OF_STRIP = 1 << 18
"""About how many pixels a thread works on before it takes the next ones.  To
wake another thread for fewer takes longer than it helps."""

BROAD_STRIPS = 8
"""Strips for each thread where there is little to do in most rows, or where
all of them look at the same list."""

FEW_PIXELS = 1 << 15
"""Pixels of a list that one thread works on as fast as several do, where each
takes no longer than to look at its neighbours."""

UNIT = 32
"""Strips have a multiple of this number of rows, but for the last."""


class Threads:
    """Threads that share work on parts of an image, the calling one included.

    Each takes the next part when it is done with one: to hand out every part
    and wait for it costs more than many parts do.  They are plain threads, not
    numba's, which may neither be forked nor called from two threads, and not
    those of `concurrent.futures`, which take longer to wake.  What they call
    must release the interpreter lock.  The others live as long as the context.

    Parameters
    ----------
    n : `int`
        Greatest number of threads; a small image gets fewer.
    shape : `tuple` [`int`, `int`]
        Shape of the image.

    Attributes
    ----------
    strips : `list` [`tuple` [`int`, `int`]]
        First row of each strip of the image, and the one after its last.
    """

    def __init__(self, n: int, shape: tuple[int, int]) -> None:
        ny, nx = shape
        height = max(PIXELS_OF_STRIP // nx // UNIT, 1) * UNIT
        self.strips = [(top, min(top + height, ny)) for top in range(0, ny, height)]
        height = -(-ny // (BROAD_STRIPS * max(n, 1) * UNIT)) * UNIT
        self._broad_strips = [(top, min(top + height, ny)) for top in range(0, ny, height)]
        self._n_rows = ny
        self._n = min(n, len(self.strips))
        self._others: list[Thread] = []
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._ends: SimpleQueue[BaseException | None] = SimpleQueue()

    def __enter__(self) -> Self:
        self._others = [Thread(target=self._serve) for _ in range(self._n - 1)]
        for other in self._others:
            other.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in self._others:
            self._tasks.put(None)
        for other in self._others:
            other.join()

    def _serve(self) -> None:
        """Do what is asked of another thread, and report how it ended."""
        for task in iter(self._tasks.get, None):
            end = None
            try:
                task()
            except BaseException as error:
                end = error
            self._ends.put(end)

    def map(self, work: Callable[..., Any], *parts: Iterable[Any]) -> list[Any]:
        """Call a function on parts of the work.

        Parameters
        ----------
        work : `~collections.abc.Callable`
            Function.
        *parts : `~collections.abc.Iterable`
            Its arguments, as for `map`.

        Returns
        -------
        results : `list`
            What it returned.
        """
        calls = list(zip(*parts, strict=True))
        others = self._others[: max(len(calls) - 1, 0)]
        if not others:
            return [work(*call) for call in calls]
        waiting = deque(enumerate(calls))
        results: list[Any] = [None] * len(calls)

        def take_calls() -> None:
            while waiting:
                try:
                    i, call = waiting.popleft()
                except IndexError:  # Another thread was faster.
                    return
                try:
                    results[i] = work(*call)
                except BaseException:
                    waiting.clear()
                    raise

        for _ in others:
            self._tasks.put(take_calls)
        try:
            take_calls()
        finally:
            errors = [self._ends.get() for _ in others]
        for error in errors:
            if error is not None:
                raise error
        return results

    def over_list(self, n_pixels: int, work: Callable[[int, int], Any], few: int | None = None) -> list[Any]:
        """Call a function on strips of rows, where it looks at a list.

        Parameters
        ----------
        n_pixels : `int`
            How many pixels the list has.
        work : `~collections.abc.Callable`
            Called with the first row of a strip and the one after its last.
        few : `int`, optional
            Pixels that one thread takes care of; `FEW_PIXELS` unless given.

        Returns
        -------
        results : `list`
            What it returned, in the order of the strips.
        """
        few = FEW_PIXELS if few is None else few
        strips = self._broad_strips if n_pixels > few else [(0, self._n_rows)]
        return self.map(lambda strip: work(*strip), strips)

    def over_rows(self, work: Callable[[int, int], Any], broad: bool = False) -> list[Any]:
        """Call a function on strips of rows.

        Parameters
        ----------
        work : `~collections.abc.Callable`
            Called with the first row of a strip and the one after its last.
        broad : `bool`, optional
            Whether the strips are few, since there is little to do in most of
            their rows.

        Returns
        -------
        results : `list`
            What it returned.
        """
        return self.map(lambda strip: work(*strip), self._broad_strips if broad else self.strips)
