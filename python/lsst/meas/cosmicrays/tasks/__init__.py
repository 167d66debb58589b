# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

from .bounds import *
from .combine_cosmic_rays import *
from .compare_cosmic_rays import *
from .detect_dia_sources import *
from .dia_source_columns import *
from .find_cosmic_rays import *
from .finder_summary import *
from .gather_comparison import *
from .inject_cosmic_rays import *
from .make_cosmic_ray_library import *
from .plot_comparison import *
from .plot_masks import *
from .rank_consensus import *
from .subtract_template import *
from .tune_consensus import *
