# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What gathering and reporting cost as visits become many.

The tables of one visit are made of random masks, and repeated.  For each
number of visits, the steps that gather run in a new repository as
``pipetask run`` runs them, and ``cosmicrays report`` makes its page.  What
each needs, in a process of its own, is printed.  Run as::

    python benchmarks/many_visits.py --visits 1 10 100

By default a visit has the detectors and the DIASources of that of the report
of 2022; ``--cosmic-rays`` of one detector are CRs that any mask has.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from astropy.time import Time
from many_visits_tables import gather, put_table, repeat_visit
from present import circumstances
from scale import read_steps

from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.cameras import generic_class_name
from lsst.meas.cosmicrays.comparison import (
    ComparedMasks,
    ComparisonSettings,
    DetectorData,
    compare_detector,
    detection_bits,
    select_sources,
    truth_bits,
)
from lsst.meas.cosmicrays.instruments import DetectorDescription, InstrumentDescription
from lsst.meas.cosmicrays.product import product_dir
from lsst.meas.cosmicrays.repository import (
    VisitDescription,
    make_repository,
    register_instrument_records,
    register_visit,
)
from lsst.meas.cosmicrays.tasks import StudyStampsConfig, StudyStampsConnections, StudyStampsTask
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

CAMERA, TABLES, OUTPUT = "RandomCam", "u/tables", "u/gathered"
VISIT = VisitDescription(
    id=1,
    physical_filter="i",
    begin=Time("2022-01-01T00:00:00", scale="tai"),
    exposure_time=300.0,
    ra=30.0,
    dec=-20.0,
)
DETECTIONS = [
    f"{finder}_{kind}"
    for kind in ("science", "difference")
    for finder in ("morphological", "astroscrappy", "cosmic_conn", "mask_plane")
]
STEPS = {"gatherInstrumentComparison": "Compare.yaml", "gatherStampStudies": "Study.yaml"}
"""The steps that gather visits, and the ingredients that have them."""

SHAPE = (512, 512)
MB = 1e6


def compare_random_detector(n_stamps: int, n_cosmic_rays: int) -> dict[str, Table]:
    """Return the tables of a detector with so many stamps and CRs."""
    rng = np.random.default_rng(2022)
    masks = np.zeros((len(DETECTIONS) + 1, *SHAPE), bool)
    for _ in range(n_cosmic_rays):
        y, x = rng.integers(0, SHAPE[0]), rng.integers(0, SHAPE[1] - 8)
        masks[rng.random(len(masks)) < 0.8, y, x : x + rng.integers(1, 9)] = True
    positions = {axis: rng.uniform(0, size - 1, n_stamps) for axis, size in zip("yx", SHAPE, strict=True)}
    columns = {"id": np.arange(n_stamps), **positions, "ra": positions["x"], "dec": positions["y"]}
    sources, _ = select_sources(Table(columns), SHAPE)
    bits = (*detection_bits(DETECTIONS), *truth_bits([2.0]))
    data = DetectorData(
        ComparedMasks(bits, tuple(masks), np.ones(SHAPE, bool)),
        np.zeros(SHAPE, np.float32),
        sources=sources,
        exposure_time=VISIT.exposure_time,
        pixel_size=0.015,
    )
    return compare_detector(data, ComparisonSettings())


def make_visit(options: argparse.Namespace) -> dict[str, Table]:
    """Return the tables of a visit, and of the study of its stamps."""
    detector = compare_random_detector(options.stamps // options.detectors, options.cosmic_rays)
    parts = [({"visit": VISIT.id, "detector": number}, detector) for number in range(options.detectors)]
    tables = gather("visit", parts)
    start = time.process_time()
    studied = StudyStampsTask().run(tables["detections"], tables["stamps"], tables["pixel_places"])
    print(
        f"studyStamps: {time.process_time() - start:.1f} s of CPU time for {len(tables['stamps'])} stamps "
        f"and {len(studied.disagreements)} disagreements of pairs of detections."
    )
    connections = StudyStampsConnections(config=StudyStampsConfig())
    of_study = {
        getattr(connections, name).name.removeprefix("cr_visit_"): table
        for name, table in studied.getDict().items()
    }
    return tables | of_study


def make_visits(root: Path, tables: dict[str, Table], n_visits: int) -> None:
    """Make a repository with so many visits of these tables."""
    part = DetectorDescription(0, "ccd0", *SHAPE, pixel_size=0.015, gain=1.0, read_noise=5.0)
    camera = InstrumentDescription(CAMERA, generic_class_name(CAMERA), {"i": "i"}, 0.2, (part,))
    corners = [(VISIT.ra + x, VISIT.dec + y) for x, y in ((0.0, 0.0), (0.1, 0.0), (0.1, 0.1), (0.0, 0.1))]
    region = ConvexPolygon([UnitVector3d(LonLat.fromDegrees(*corner)) for corner in corners])
    with make_repository(root) as butler:
        register_instrument_records(butler.registry, camera)
        register_visit(butler, CAMERA, VISIT, {0: region})
        butler.collections.register(TABLES)
        for name, table in tables.items():
            put_table(butler, TABLES, f"cr_visit_{name}", table, instrument=CAMERA, visit=VISIT.id)
        repeat_visit(butler, TABLES, CAMERA, VISIT, {0: region}, range(2, n_visits + 1))


def run_steps(root: Path) -> dict[str, dict[str, float]]:
    """Run the steps that gather, and return what each needed."""
    for step, ingredient in STEPS.items():
        pipeline = product_dir() / "pipelines" / "_ingredients" / ingredient
        command = ["pipetask", "--no-log-tty", "run", "-b", root, "-i", TABLES, "-o", OUTPUT]
        call([*command, "-p", f"{pipeline}#{step}", "--register-dataset-types"])
    with Butler.from_config(root, collections=OUTPUT) as butler:
        steps = read_steps(butler, OUTPUT)
    return {step.label: {"cpu": step.cpu, "memory": step.memory} for step in steps}


def call(command: list[str | Path]) -> dict[str, float]:
    """Run a command of this installation, and return what it needed."""
    words = [str(word) for word in command]
    program = Path(sys.executable).with_name(words[0])
    process = subprocess.Popen(
        [str(program), *words[1:]],
        env=os.environ | {"MEAS_COSMICRAYS_DIR": str(product_dir())},
        stdout=sys.stderr,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{words[0]} ended with {process.returncode}.")
    return {"cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss * 1024 / MB}


def measure(root: Path, tables: dict[str, Table], n_visits: int) -> dict[str, Any]:
    """Gather so many visits and make their report; return what that needed."""
    make_visits(root, tables, n_visits)
    needed = run_steps(root)
    needed["report"] = call(["cosmicrays", "report", root, OUTPUT, "-o", f"{root}-report"])
    return {"visits": n_visits, "stamps": n_visits * len(tables["stamps"]), "steps": needed}


def main() -> None:
    """Measure for each number of visits, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--visits", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--detectors", type=int, default=103)
    parser.add_argument("--stamps", type=int, default=18343, help="of a visit")
    parser.add_argument("--cosmic-rays", type=int, default=470, help="of a detector")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    tables = make_visit(options)
    rows = []
    for n_visits in options.visits:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(Path(folder) / "repo", tables, n_visits))
    where = circumstances()
    print(f"{where['date']}, {where['processor']}, load {where['load']:.1f}: {options.detectors} detectors,")
    print(f"{options.stamps} stamps a visit, {options.cosmic_rays} cosmic rays a detector.")
    print(f"{'visits':>8}  {'step':<28}{'CPU s':>8}{'MB':>8}")
    for row in rows:
        for label, needed in row["steps"].items():
            print(f"{row['visits']:>8}  {label:<28}{needed['cpu']:>8.1f}{needed['memory']:>8.0f}")
    if options.output is not None:
        options.output.write_text(json.dumps({"circumstances": where, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
