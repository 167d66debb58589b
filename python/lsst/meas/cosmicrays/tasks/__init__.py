# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

from ._pages import name_pages as _name_pages
from .bounds import *
from .combine_cosmic_rays import *
from .compare_connections import *
from .compare_cosmic_rays import *
from .compare_interpolation import *
from .detect_dia_sources import *
from .dia_source_columns import *
from .find_cosmic_rays import *
from .find_trails import *
from .finder_summary import *
from .gather_comparison import *
from .gather_stamp_studies import *
from .gather_trail_studies import *
from .gather_tuning import *
from .gather_interpolation import *
from .inject_cosmic_rays import *
from .interpolate_cosmic_rays import *
from .make_cosmic_ray_library import *
from .map_focal_plane import *
from .metric_bundle import *
from .plot_comparison import *
from .plot_disagreements import *
from .plot_exposures import *
from .plot_interpolation import *
from .plot_masks import *
from .plot_overview import *
from .plot_probability import *
from .plot_stamp_galleries import *
from .plot_stamp_studies import *
from .plot_trail_studies import *
from .plot_tuning import *
from .rank_consensus import *
from .study_connections import *
from .study_stamps import *
from .study_trails import *
from .subtract_template import *
from .train_cosmic_conn import *
from .tune_consensus import *
from .tune_finder import *

# Errors of all tasks and of their configurations name a page.
_name_pages(list(globals().values()))
