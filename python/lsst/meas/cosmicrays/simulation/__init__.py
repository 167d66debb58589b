# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

from .camera import *
from .config import *
from .cosmic_rays import *
from .darks import *
from .detector import *
from .injection import *
from .footprint_library import *
from .particles import *
from .psf import *
from .scene import *
from .simulated_footprints import *
from .sources import *
from .tracks import *
from .visits import *
