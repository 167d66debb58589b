# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the pipelines, configs and batch files of this package are."""

__all__ = ["product_dir"]

from pathlib import Path


def product_dir() -> Path:
    """Return the folder that ``$MEAS_COSMICRAYS_DIR`` should name.

    Returns
    -------
    directory : `pathlib.Path`
        Folder with ``pipelines``, ``config``, ``bps`` and the pages of
        ``doc``: the checkout, or what a wheel installed.

    Raises
    ------
    FileNotFoundError
        Raised if the installation has no pipelines.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / "product", package.parents[3]):
        if (candidate / "pipelines").is_dir():
            return candidate
    raise FileNotFoundError(
        f"No pipelines beside {package}: the installation is incomplete.  Install the package again, or set "
        "MEAS_COSMICRAYS_DIR to a checkout."
    )
