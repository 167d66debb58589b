# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which page of the documentation says more about an error or a command."""

from __future__ import annotations

__all__ = ["FOLDER", "DocumentedError", "documented", "documented_fields", "page_of", "point", "see"]

import functools
from collections.abc import Callable
from typing import Any

from lsst.pex.config import Config
from lsst.pex.config.callStack import getCallStack

from .product import product_dir

PACKAGE = "lsst.meas.cosmicrays"
FOLDER = f"doc/{PACKAGE}"
"""Where the pages are, in a checkout and in what a wheel installs."""

_SEE = "See "

_PAGES = {
    "": "bad-input",
    "cameras": "ingesting",
    "cli": "getting-started",
    "cli.bps_demo": "batch",
    "cli.ingest": "ingesting",
    "cli.report": "report",
    "cli.simulate": "simulation",
    "cli.tables": "metrics",
    "cli.tuned_config": "tuning",
    "comparison": "metrics",
    "comparison.consensus": "consensus",
    "comparison.learned_consensus": "consensus",
    "comparison.positions": "running-on-hsc-and-lsstcam",
    "comparison.ranking": "consensus",
    "comparison.voters": "consensus",
    "engines": "finders",
    "engines.cosmic_conn": "cosmic-conn",
    "engines.difference_imaging": "difference-imaging",
    "engines.interpolation": "interpolation",
    "finders": "finders",
    "finders.consensus_rules": "consensus",
    "finders.scan": "tuning",
    "ingest": "ingesting",
    "instruments": "ingesting",
    "processings": "running-on-hsc-and-lsstcam",
    "repair": "tasks/lsst.meas.cosmicrays.repair.CosmicRayRepairTask",
    "repair_config": "tasks/lsst.meas.cosmicrays.repair.CosmicRayRepairTask",
    "report": "report",
    "report.tables": "metrics",
    "repository": "repositories",
    "simulation": "simulation",
    "tasks.detect_dia_sources": "tasks/lsst.meas.cosmicrays.tasks.DetectDiaSourcesTask",
    "tasks.inject_cosmic_rays": "tasks/lsst.meas.cosmicrays.tasks.InjectCosmicRaysTask",
    "tasks.metric_bundle": "tasks/lsst.meas.cosmicrays.tasks.MakeMetricBundleTask",
    "training": "training",
}
"""Page of each module of this package, and of those below it."""


class DocumentedError(Exception):
    """Base of the errors that point to a page, wherever they are shown.

    The page is a note of the error: it stands below the message in a
    traceback, and is no part of the message.

    Parameters
    ----------
    *args : `object`
        Passed on.
    """

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.add_note(see(page_of(type(self).__module__)))


def page_of(module: str) -> str:
    """Return the page that says more about a module.

    Parameters
    ----------
    module : `str`
        Full name of a module of this package.

    Returns
    -------
    page : `str`
        Name of a page.
    """
    return _page_of(module) or _PAGES[""]


def point(error: BaseException, page: str) -> None:
    """Let an error point to a page, unless it does already.

    Parameters
    ----------
    error : `BaseException`
        The error; gets a note.
    page : `str`
        Name of the page, for an error that was raised outside this package
        or where no page is of its module.
    """
    if not any(note.startswith(_SEE) for note in getattr(error, "__notes__", ())):
        error.add_note(see(_page_of_raise(error) or page))


def documented[**P, T](
    page: str, but: tuple[type[BaseException], ...] = ()
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let every error that leaves a function point to a page.

    Parameters
    ----------
    page : `str`
        Name of the page, where no other is of the module that raised.
    but : `tuple` [`type`, ...], optional
        What is raised but is no error.

    Returns
    -------
    decorator : `~collections.abc.Callable`
        Decorator of functions.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                if not isinstance(error, but):
                    point(error, page)
                raise

        return call

    return decorate


def documented_fields[C: type[Config]](page: str) -> Callable[[C], C]:
    """Let what a field of a configuration refuses point to a page.

    Such errors are raised by `lsst.pex.config` as soon as a field is set:
    there is none of that name, or it takes no such value.

    Parameters
    ----------
    page : `str`
        Name of the page.

    Returns
    -------
    decorator : `~collections.abc.Callable`
        Decorator of configuration classes; those derived from one have its
        page, too.
    """

    def decorate(config_class: C) -> C:
        set_field = config_class.__setattr__

        def set_documented(
            self: Config, attr: str, value: Any, at: Any = None, label: str = "assignment"
        ) -> None:
            # The history of a field begins where it was set, not here.
            at = getCallStack() if at is None else at
            try:
                set_field(self, attr, value, at, label)
            except Exception as error:
                point(error, page)
                raise

        setattr(config_class, "__setattr__", set_documented)
        return config_class

    return decorate


def _page_of(module: str) -> str | None:
    parts = module.removeprefix(PACKAGE).strip(".").split(".")
    above = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((_PAGES[name] for name in above if name in _PAGES), None)


def _page_of_raise(error: BaseException) -> str | None:
    """Return the page of the innermost module of this package."""
    page, traceback = None, error.__traceback__
    while traceback is not None:
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if module.startswith(f"{PACKAGE}."):
            page = _page_of(module)
        traceback = traceback.tb_next
    return page


def see(page: str) -> str:
    """Return the words that point to a page.

    Parameters
    ----------
    page : `str`
        Name of the page.

    Returns
    -------
    text : `str`
        A sentence with the place of the page.
    """
    relative = f"{FOLDER}/{page}.rst"
    try:
        return f"{_SEE}{product_dir() / relative}"
    except FileNotFoundError:
        return f"{_SEE}{relative}"
