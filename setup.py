"""Put pipelines, configs, batch files and pages into the package of a wheel.

They lie at the top of the repository, as in every LSST package; everything
else is in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# Errors and help name pages of the documentation.
PRODUCT_DIRECTORIES = ("pipelines", "config", "bps", "doc/lsst.meas.cosmicrays")


class BuildWithProduct(build_py):
    """Build the package, and beside it what `cosmicrays product-dir` shows."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        top = Path(__file__).parent
        product = Path(self.build_lib, "lsst", "meas", "cosmicrays", "product")
        for name in PRODUCT_DIRECTORIES:
            shutil.copytree(top / name, product / name, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithProduct})
