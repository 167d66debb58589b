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

__all__ = ["FOLDER", "DocumentedError", "page_of", "see"]

from typing import Any

from .product import product_dir

PACKAGE = "lsst.meas.cosmicrays"
FOLDER = f"doc/{PACKAGE}"
"""Where the pages are, in a checkout and in what a wheel installs."""

_PAGES = {
    "": "bad-input",
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
    "repair": "tasks/lsst.meas.cosmicrays.repair.CosmicRayRepairTask",
    "report": "report",
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
    parts = module.removeprefix(PACKAGE).strip(".").split(".")
    above = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((_PAGES[name] for name in above if name in _PAGES), _PAGES[""])


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
        return f"See {product_dir() / relative}"
    except FileNotFoundError:
        return f"See {relative}"
