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
number of visits a process gathers them as the pipeline does and puts the
tables into a new repository, and ``cosmicrays report`` makes its page.  Run
as::

    python benchmarks/many_visits.py --visits 1 10 100

By default a visit has the detectors and the DIASources of that of the report
of 2022; ``--cosmic-rays`` of one detector are CRs that any mask has.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.table import Table
from present import circumstances

from lsst.meas.cosmicrays.cameras import generic_class_name
from lsst.meas.cosmicrays.comparison import (
    ComparedMasks,
    ComparisonSettings,
    DetectorData,
    add_disagreement_counts,
    add_label_costs,
    add_places_studies,
    add_stamp_distributions,
    compare_detector,
    detection_bits,
    disagreement_counts,
    disagreement_table,
    label_cost_table,
    most_telling,
    places_study_table,
    read_bits,
    select_sources,
    stack_tables,
    stamp_distribution,
    stamp_study_table,
    stamp_threshold_table,
    truth_bits,
)
from lsst.meas.cosmicrays.instruments import DetectorDescription, InstrumentDescription
from lsst.meas.cosmicrays.repository import (
    make_repository,
    register_dataset_type,
    register_instrument_records,
)
from lsst.meas.cosmicrays.tasks import GatherComparisonConfig, GatherComparisonTask

COLLECTION, CAMERA = "u/many", "RandomCam"
DETECTIONS = [
    f"{finder}_{kind}"
    for kind in ("science", "difference")
    for finder in ("morphological", "astroscrappy", "cosmic_conn", "mask_plane")
]
SHAPE = (512, 512)
TABLES = (
    "counts",
    "counts_dilated",
    "detections",
    "pixel_pairs",
    "pixel_places",
    "cluster_counts",
    "stamps",
    "objects",
)
MB = 1e6
type Tables = dict[str, Table]


def compare_random_detector(n_stamps: int, n_cosmic_rays: int) -> Tables:
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
        exposure_time=300.0,
        pixel_size=0.015,
    )
    return compare_detector(data, ComparisonSettings())


def gather(level: str, parts: list[tuple[dict[str, int], Tables]]) -> Tables:
    """Gather tables as the task does, by the ends of their names."""
    names = {name: "".join(word.capitalize() for word in name.split("_")) for name in TABLES}
    task = GatherComparisonTask(config=GatherComparisonConfig(level=level))
    gathered = task.run(
        **{f"detector{end}": [(where, part[name]) for where, part in parts] for name, end in names.items()}
    ).getDict()
    back = {end[0].lower() + end[1:]: name for name, end in names.items()}
    return {back.get(name, name): table for name, table in gathered.items()}


def study(tables: Tables) -> Tables:
    """Return what the studies of stamps make of a visit."""
    stamps, detections, bits = tables["stamps"], tables["detections"], read_bits(tables["detections"])
    listed = disagreement_table(stamps, bits)
    distribution = stamp_distribution(stamps, [*DETECTIONS, "truth"])
    return {
        "stamp_distribution": distribution,
        "stamp_study": stamp_study_table(distribution, detections),
        "label_cost": label_cost_table(stamps, detections),
        "disagreements": listed,
        "disagreement_counts": disagreement_counts(listed, stamps, bits),
        "places": places_study_table(tables["pixel_places"], detections, stamps, bits),
    }


def add_studies(visits: list[Tables]) -> Tables:
    """Add up studies, as the task that gathers them does."""

    def every(name: str) -> Iterator[Table]:
        return (tables[name] for tables in visits)

    distribution = add_stamp_distributions(every("stamp_distribution"))
    return {
        "stamp_distribution": distribution,
        "stamp_study": stamp_study_table(
            distribution, stack_tables([({}, table) for table in every("stamp_study")])
        ),
        "stamp_thresholds": stamp_threshold_table(distribution),
        "label_cost": add_label_costs(list(every("label_cost"))),
        "disagreements": most_telling(every("disagreements"), 100),
        "disagreement_counts": add_disagreement_counts(list(every("disagreement_counts"))),
        "places": add_places_studies(every("places")),
    }


def make_study(root: Path, n_visits: int, options: argparse.Namespace) -> dict[str, float]:
    """Gather visits, put the tables, and say what gathering needed."""
    detector = compare_random_detector(options.stamps // options.detectors, options.cosmic_rays)
    visit = gather("visit", [({"visit": 1, "detector": i}, detector) for i in range(options.detectors)])
    studied = study(visit)
    visits = []
    for number in range(1, n_visits + 1):
        copies = {name: table.copy(copy_data=False) for name, table in visit.items()}
        for table in copies.values():
            if "visit" in table.colnames:
                table["visit"] = np.full(len(table), number)
        visits.append(({}, copies))
    start = time.process_time()
    tables = gather("instrument", visits) | add_studies([studied] * n_visits)
    needed = {"gather_cpu": time.process_time() - start, "rows": float(sum(map(len, tables.values())))}
    part = DetectorDescription(0, "ccd0", *SHAPE, pixel_size=0.015, gain=1.0, read_noise=5.0)
    camera = InstrumentDescription(CAMERA, generic_class_name(CAMERA), {"i": "i"}, 0.2, (part,))
    with make_repository(root) as butler:
        register_instrument_records(butler.registry, camera)
        butler.collections.register(COLLECTION)
        for name, table in tables.items():
            register_dataset_type(butler, f"cr_instrument_{name}", "ArrowAstropy", ("instrument",))
            butler.put(table, f"cr_instrument_{name}", instrument=CAMERA, run=COLLECTION)
    return needed | {"gather_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB}


def time_report(root: Path) -> dict[str, float]:
    """Run the command, and say what it needed."""
    program = Path(sys.executable).with_name("cosmicrays")
    command = [str(program), "report", str(root), COLLECTION, "-o", f"{root}-report"]
    process = subprocess.Popen(command, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"The report ended with {process.returncode}.")
    return {"report_cpu": usage.ru_utime + usage.ru_stime, "report_memory": usage.ru_maxrss * 1024 / MB}


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
    rows = []
    spawn = multiprocessing.get_context("spawn")
    for n_visits in options.visits:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "repo"
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
                needed = pool.submit(make_study, root, n_visits, options).result()
            rows.append({"visits": n_visits} | needed | time_report(root))
    where = circumstances()
    print(f"{where['date']}, {where['processor']}, load {where['load']:.1f}: {options.detectors} detectors,")
    print(f"{options.stamps} stamps a visit, {options.cosmic_rays} cosmic rays a detector.")
    print(f"{'visits':>8}{'rows':>12}{'gather CPU s':>15}{'MB':>8}{'report CPU s':>15}{'MB':>8}")
    for row in rows:
        print(
            f"{row['visits']:>8}{row['rows']:>12.0f}{row['gather_cpu']:>15.1f}{row['gather_memory']:>8.0f}"
            f"{row['report_cpu']:>15.1f}{row['report_memory']:>8.0f}"
        )
    if options.output is not None:
        options.output.write_text(json.dumps({"circumstances": where, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
