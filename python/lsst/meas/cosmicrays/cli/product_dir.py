# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""``cosmicrays product-dir``."""

__all__ = ["product_dir_command"]

import click

from ..product import product_dir


@click.command("product-dir")
def product_dir_command() -> None:
    """Print the folder with the pipelines, configs and batch files.

    Meant for: export MEAS_COSMICRAYS_DIR=$(cosmicrays product-dir)
    """
    click.echo(product_dir())
