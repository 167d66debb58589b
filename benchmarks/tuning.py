# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a scan of a parameter costs, beside a run of the finder at every value.

Both start from the images in a repository, on one simulated detector: the task
as it is, and naively a read of the images, a run of the finder, and the counts
for each value. Processor time, one thread. Run it as
``python benchmarks/tuning.py --help``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from astropy.table import Table

from lsst.daf.butler import Butler
from lsst.images import VisitImage
from lsst.meas.cosmicrays.comparison import Criterion, MaskCounter, best_value, tuning_curve
from lsst.meas.cosmicrays.finders import cosmicRayFinderRegistry, set_numeric_field
from lsst.meas.cosmicrays.images import make_cosmic_ray_mask, read_image, read_mask
from lsst.meas.cosmicrays.simulation import SimulationConfig, simulate
from lsst.meas.cosmicrays.tasks import TuneFinderConfig, TuneFinderTask

CRITERIA = (Criterion.MSE, Criterion.KNEE, Criterion.F1)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--height", type=int, default=4176)
    parser.add_argument("--wide-step", type=float, default=0.45, help="0.45 makes 61 values, 0.18 makes 151")
    arguments = parser.parse_args()
    config = TuneFinderConfig()
    config.doDifference = False
    config.wideStep = arguments.wide_step
    with tempfile.TemporaryDirectory() as folder:
        repo = Path(folder) / "repo"
        simulate(repo, SimulationConfig(width=arguments.width, height=arguments.height, seed=3))
        with Butler.from_config(str(repo), collections="SimHSC/defaults") as butler:
            compare(lambda: butler.get("visit_image", instrument="SimHSC", visit=1, detector=0), config)


def compare(get_image: Callable[[], VisitImage], config: TuneFinderConfig) -> None:
    """Scan twice, and print what both cost and find."""
    finder = cosmicRayFinderRegistry["morphological"]
    reference = make_cosmic_ray_mask(
        finder(config=finder.ConfigClass(), name="m").run(read_image(get_image())).mask, get_image().bbox
    )
    naive(get_image, config, reference, config.grid().values[-1:])  # compiles
    print(f"{'':10s} {'runs':>5s} {'CPU s':>8s}  " + "  ".join(f"{name:>6s}" for name in CRITERIA))
    for name, scan in (("adaptive", adaptive), ("naive", naive)):
        started = time.process_time()
        curve = scan(get_image, config, reference, config.grid().values)
        elapsed = time.process_time() - started
        places = "  ".join(f"{best_value(curve, criterion):6.2f}" for criterion in CRITERIA)
        print(f"{name:10s} {len(curve):5d} {elapsed:8.2f}  {places}", flush=True)


def adaptive(get_image: Callable[[], VisitImage], config: TuneFinderConfig, reference: Any, _: Any) -> Table:
    """Let the task do it."""
    return TuneFinderTask(config=config).run(get_image(), referenceMask=reference).curve


def naive(
    get_image: Callable[[], VisitImage], config: TuneFinderConfig, reference: Any, values: np.ndarray
) -> Table:
    """Run the finder from the start at every value."""
    steps = {}
    for value in values:
        finder_config = config.finder.active.copy()
        set_numeric_field(finder_config, config.field, float(value))
        finder = cosmicRayFinderRegistry[config.finder.name](config=finder_config, name="naive")
        image = read_image(get_image())
        usable = ~(image.not_finite() | image.any_plane(config.unusablePlanes))
        counter = MaskCounter(usable, reference=read_mask(reference))
        steps[float(value)] = counter.count(finder.run(image).mask)
    return tuning_curve(steps, counter)


if __name__ == "__main__":
    main()
