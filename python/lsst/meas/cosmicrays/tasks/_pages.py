# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Let what goes wrong in a task point to the page of the task."""

from __future__ import annotations

__all__ = ["name_pages"]

from collections.abc import Iterable

from lsst.pipe.base import NoWorkFound, PipelineTask

from ..documentation import documented, documented_fields

_METHODS = ("run", "runQuantum")


def name_pages(tasks: Iterable[object]) -> None:
    """Let the errors of tasks, of their configurations, and of what they need
    and do not get, name a page.

    Engines and comparisons raise plain errors, since they know nothing of
    the rest.  Where they leave a task they get the page of the module that
    raised them; other errors get that of the task.

    Parameters
    ----------
    tasks : `~collections.abc.Iterable`
        Subclasses of `lsst.pipe.base.PipelineTask`, with or without other
        things; changed in place.
    """
    for task in tasks:
        if isinstance(task, type) and issubclass(task, PipelineTask):
            name_of_page = f"tasks/lsst.meas.cosmicrays.tasks.{task.__name__}"
            page = documented(name_of_page, but=(NoWorkFound,))
            for name in _METHODS:
                if name in vars(task):
                    setattr(task, name, page(vars(task)[name]))
            config = task.ConfigClass
            setattr(config, "validate", page(config.validate))
            connections = config.ConnectionsClass
            setattr(connections, "adjustQuantum", page(connections.adjustQuantum))
            documented_fields(name_of_page)(config)
