"""Sphinx configuration of a package of the LSST Science Pipelines.

It builds this package by itself: ``make docs``.
"""

import logging
import os

from documenteer.conf.pipelinespkg import *  # noqa: F403

project = "meas_cosmicrays"
html_title = project
html_short_title = project

# Links to other projects need their inventories from the network.
if "MEAS_COSMICRAYS_INTERSPHINX" not in os.environ:
    intersphinx_mapping.clear()  # noqa: F405

exclude_patterns.append("changes/*")  # noqa: F405

# The tests execute the notebooks, in a repository that they make.
nb_execution_mode = "off"


class _WithoutConnections(logging.Filter):
    """Drops the warnings that the classes of connection templates, which
    ``lsst.pipe.base`` makes on the fly, have no page.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return "ConfigConnections" not in record.getMessage()


def setup(app):  # noqa: D103
    logging.getLogger("sphinx.documenteer.ext.lssttasks.crossrefs").addFilter(_WithoutConnections())
