# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""All cases, registered when this is imported."""

from . import cosmic_conn as cosmic_conn
from . import joint_histogram as joint_histogram
from . import lacosmic as lacosmic
from . import morphological as morphological
