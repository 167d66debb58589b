# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

from .augmentation import *
from .checkpoints import *
from .evaluation import *
from .loop import *
from .loss import *
from .network import *
from .tiles import *
from .torch_device import *
from .trained_model import *
