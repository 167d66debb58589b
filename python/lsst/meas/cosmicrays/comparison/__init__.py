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
from .disagreements import *
from .gather import *
from .headlines import *
from .histogram import *
from .interpolation import *
from .interpolation_rates import *
from .intervals import *
from .judgement import *
from .label_cost import *
from .learned_consensus import *
from .masks import *
from .objects import *
from .one_image import *
from .overview import *
from .pairs import *
from .pattern_models import *
from .patterns import *
from .places_study import *
from .positions import *
from .probability import *
from .ranking import *
from .rates import *
from .sources import *
from .stamp_choice import *
from .stamp_study import *
from .stamps import *
from .summary import *
from .trail_lines import *
from .trails import *
from .truth import *
from .tuning import *
from .tuning_scan import *
from .voters import *
