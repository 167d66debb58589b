# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

from .clusters import *
from .components import *
from .confusion import *
from .consensus import *
from .detector import *
from .gather import *
from .histogram import *
from .intervals import *
from .judgement import *
from .learned_consensus import *
from .masks import *
from .objects import *
from .pairs import *
from .ranking import *
from .rates import *
from .sources import *
from .stamps import *
from .summary import *
from .truth import *
