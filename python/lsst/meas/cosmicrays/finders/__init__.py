# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

from .astroscrappy import *
from .base import *
from .consensus import *
from .consensus_rules import *
from .cosmic_conn import *
from .find import *
from .mask_plane import *
from .morphological import *
from .scan import *
