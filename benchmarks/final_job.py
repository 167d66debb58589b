# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a batch submission asks of the registry: its first and last step.

The first makes the quantum graph, the last (``finalJob`` of ``lsst.ctrl.bps``)
enters what all jobs made.  Both are run as a submission runs them, on visits
whose jobs wrote stand-ins of a few bytes (``pipetask --mock``): nothing but
the registry counts.  Several numbers of visits give what each dataset costs.
With ``--job``, a job of one detector that does nothing else gives what its
start costs.  Run as::

    python benchmarks/final_job.py --visits 1 3

for SQLite, and with ``--database postgresql+psycopg2://USER@HOST/NAME`` for
PostgreSQL: the database must exist and have the extension ``btree_gist``, and
each number of visits leaves a schema in it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import astropy.units
import sqlalchemy
from astropy.time import Time
from present import circumstances

from lsst.daf.butler import Butler, DatasetRef, FileDataset
from lsst.meas.cosmicrays.cameras import generic_class_name
from lsst.meas.cosmicrays.instruments import DetectorDescription, InstrumentDescription
from lsst.meas.cosmicrays.product import product_dir
from lsst.meas.cosmicrays.repository import (
    VisitDescription,
    make_repository,
    register_instrument_records,
    register_visit,
)
from lsst.pipe.base import Pipeline
from lsst.pipe.base.quantum_graph import PredictedQuantumGraph
from lsst.pipe.base.tests import mocks  # noqa: F401 (datasets that were made with --mock are seen)
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

CAMERA, INPUT, OUTPUT, RUN = "EmptyCam", "empty/input", "u/final", "u/final/run"
MB = 1e6


def main() -> None:
    """Measure for each number of visits, and print what was found."""
    options = _options()
    os.environ["MEAS_COSMICRAYS_DIR"] = str(product_dir())
    rows = []
    for visits in options.visits:
        with tempfile.TemporaryDirectory(prefix="final_job-") as folder:
            rows.append(measure(Path(folder), visits, options))
            print(json.dumps(rows[-1]), file=sys.stderr)
    measured = {
        "circumstances": circumstances(),
        "database": "PostgreSQL" if options.database else "SQLite",
        "pipeline": options.pipeline,
        "detectors": options.detectors,
        "rows": rows,
        "slopes": slopes(rows),
    }
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(measured, indent=2) + "\n")
    print("\n".join(describe(measured, options.target)))


def measure(root: Path, visits: int, options: argparse.Namespace) -> dict[str, float]:
    """Make a repository, and do to it what a submission does.

    Parameters
    ----------
    root : `pathlib.Path`
        Empty folder.
    visits : `int`
        Number of visits.
    options : `argparse.Namespace`
        Options of this program.

    Returns
    -------
    measured : `dict` [`str`, `float`]
        Numbers of quanta and of datasets; wall time (s), processor time (s)
        and most memory (MB) of both steps; growth of the database (MB).
    """
    repo, graph = root / "repo", root / "graph.qg"
    schema = f"final_job_{visits}_{time.time_ns()}"
    if options.database:
        (root / "seed.yaml").write_text(f"registry:\n  db: {options.database}\n  namespace: {schema}\n")
        call("butler", "create", repo, "--seed-config", root / "seed.yaml")
    pipeline = product_dir() / "pipelines" / options.pipeline
    with make_repository(repo, exist_ok=bool(options.database)) as butler:
        inputs = fill(butler, pipeline, root, visits, options.detectors)
    built = call(
        *("pipetask", "qgraph", "-b", repo, "-i", INPUT, "-o", OUTPUT, "--output-run", RUN),
        *("-p", pipeline, "--save-qgraph", graph, "--qgraph-datastore-records"),
        *("--mock", "--unmocked-dataset-types", ",".join(inputs)),
    )
    job: dict[str, float] = {}
    if options.job:
        of_one = quanta_of_a_detector(graph)
        job = call("pipetask", "run-qbb", repo, graph, "--qgraph-node-id", ",".join(of_one))
    call("pipetask", "run-qbb", repo, graph)
    before = database_size(repo, options.database, schema)
    entered = call(
        *("butler", "aggregate-graph", graph, repo, "-j", options.final_processes),
        *("--register-dataset-types", "--update-output-chain", "--mock-storage-classes"),
    )
    with Butler.from_config(str(repo)) as butler:
        types = [ref.datasetType.name for ref in butler.query_all_datasets(RUN, limit=None)]
    return {
        "visits": visits,
        "quanta": sum(name.endswith("_metadata") for name in types),
        "datasets": len(types),
        "database": database_size(repo, options.database, schema) - before,
        **{f"job_{name}": value for name, value in job.items()},
        **{f"graph_{name}": value for name, value in built.items()},
        **{f"final_{name}": value for name, value in entered.items()},
    }


def fill(butler: Butler, pipeline: Path, folder: Path, visits: int, detectors: int) -> list[str]:
    """Register visits, and all that a pipeline reads from outside.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Client of an empty repository.
    pipeline : `pathlib.Path`
        The pipeline.
    folder : `pathlib.Path`
        Where files are put.
    visits, detectors : `int`
        Numbers of visits, and of detectors of each.

    Returns
    -------
    names : `list` [`str`]
        Dataset types of what it reads.
    """
    parts = tuple(
        DetectorDescription(n, f"ccd{n}", 64, 64, pixel_size=0.015, gain=1.0, read_noise=5.0)
        for n in range(detectors)
    )
    camera = InstrumentDescription(CAMERA, generic_class_name(CAMERA), {"i": "i"}, 0.2, parts)
    register_instrument_records(butler.registry, camera)
    regions = {part.id: _square(0.1 * part.id) for part in parts}
    for number in range(1, visits + 1):
        register_visit(butler, CAMERA, _visit(number), regions)
    graph = Pipeline.from_uri(str(pipeline)).to_graph(butler.registry)
    graph.resolve(butler.registry)
    butler.collections.register(INPUT)
    names = []
    for name, node in graph.iter_overall_inputs():
        if node is None:
            continue
        names.append(name)
        butler.registry.registerDatasetType(node.dataset_type)
        places = butler.registry.queryDataIds(node.dimensions, instrument=CAMERA).expanded()
        refs = [DatasetRef(node.dataset_type, place, run=INPUT) for place in places]
        # One empty file stands for all: it is never read.
        file = folder / f"{name}.{'parq' if 'Arrow' in node.storage_class_name else 'fits'}"
        file.touch()
        butler.ingest(FileDataset(str(file), refs), transfer="direct")
    return names


def quanta_of_a_detector(path: Path) -> list[str]:
    """Return the quanta that are one job.

    Parameters
    ----------
    path : `pathlib.Path`
        A quantum graph.

    Returns
    -------
    identifiers : `list` [`str`]
        Those of the first detector of the first visit.
    """
    with PredictedQuantumGraph.open(path) as reader:
        reader.read_thin_graph()
        graph = reader.finish()
    return [
        str(identifier)
        for quanta in graph.quanta_by_task.values()
        for place, identifier in quanta.items()
        if "detector" in place.dimensions.names and (place["visit"], place["detector"]) == (1, 0)
    ]


def call(*words: object) -> dict[str, float]:
    """Run a command of this installation.

    Parameters
    ----------
    *words : `object`
        The command.

    Returns
    -------
    needed : `dict` [`str`, `float`]
        ``seconds``, ``cpu`` (s) and ``memory`` (MB) of it and of what it
        started.
    """
    program = Path(sys.executable).with_name(str(words[0]))
    environment = {"OMP_NUM_THREADS": "1"} | dict(os.environ)
    start = time.perf_counter()
    process = subprocess.Popen([str(program), *map(str, words[1:])], env=environment, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{words[0]} ended with {process.returncode}.")
    return {
        "seconds": time.perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss * 1024 / MB,
    }


def database_size(repo: Path, database: str | None, schema: str) -> float:
    """Return the size of a registry.

    Parameters
    ----------
    repo : `pathlib.Path`
        The repository.
    database : `str` or `None`
        Address of its database, if that is no file.
    schema : `str`
        Name of its schema there.

    Returns
    -------
    size : `float`
        In MB.
    """
    if database is None:
        return sum(path.stat().st_size for path in repo.glob("gen3.sqlite3*")) / MB
    query = sqlalchemy.text(
        "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n "
        "ON n.oid = c.relnamespace WHERE n.nspname = :schema AND c.relkind = 'r'"
    )
    with sqlalchemy.create_engine(database).connect() as connection:
        return float(connection.execute(query, {"schema": schema}).scalar_one()) / MB


def slopes(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return what a further dataset costs, and a further visit has.

    Parameters
    ----------
    rows : `~collections.abc.Sequence` [`dict`]
        What `measure` found.

    Returns
    -------
    slopes : `dict` [`str`, `float`]
        Between the fewest and the most visits; with one number of visits
        alone, from nothing.
    """
    ordered = sorted(rows, key=lambda row: row["visits"])
    last = ordered[-1]
    first = ordered[0] if len(ordered) > 1 else dict.fromkeys(last, 0.0)
    grown = {name: last[name] - first[name] for name in last}
    per_visit = {name: grown[name] / grown["visits"] for name in ("quanta", "datasets")}
    costs = [name for name in last if name.startswith(("graph_", "final_")) or name == "database"]
    return per_visit | {name: grown[name] / grown["datasets"] for name in costs}


def describe(measured: dict[str, Any], target: float) -> list[str]:
    """Write what was measured as reStructuredText.

    Parameters
    ----------
    measured : `dict`
        As `main` collects it.
    target : `float`
        Number of visits to extrapolate to.

    Returns
    -------
    lines : `list` [`str`]
        A line on the circumstances, and a list-table.
    """
    where, per = measured["circumstances"], measured["slopes"]
    head = ("Visits", "Quanta", "Datasets", "Graph (s)", "Graph (MB)", "Final job (s)", "Final job (MB)")
    table = [(*head, "Database (MB)")]
    last = max(measured["rows"], key=lambda row: row["visits"])
    further = (target - last["visits"]) * per["datasets"]
    costs = ("graph_seconds", "graph_memory", "final_seconds", "final_memory", "database")
    extrapolated = {name: last[name] + further * per[name] for name in costs}
    extrapolated |= {"visits": target, "datasets": last["datasets"] + further}
    extrapolated["quanta"] = last["quanta"] + (target - last["visits"]) * per["quanta"]
    for row in (*measured["rows"], extrapolated):
        counts = (f"{row[name]:.0f}" for name in ("visits", "quanta", "datasets"))
        table.append((*counts, *(f"{row[name]:.0f}" for name in costs)))
    job = f"  A job that does nothing else takes {last['job_cpu']:.1f} s of CPU." if "job_cpu" in last else ""
    lines = [
        f"{where['date']}, {where['processor']}, {where['cores']} cores, load {where['load']:.1f}, "
        f"{measured['database']}: ``{measured['pipeline']}``, {measured['detectors']} detectors a visit. "
        f"A further dataset costs {1e3 * per['final_seconds']:.2f} ms and {1e3 * per['final_memory']:.1f} kB "
        f"of memory in the final job; the last row is extrapolated.{job}",
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "",
    ]
    for row in table:
        lines += [f"   {'*' if column == 0 else ' '} - {cell}" for column, cell in enumerate(row)]
    return lines


def _visit(number: int) -> VisitDescription:
    begin = Time("2024-03-01T03:00:00", scale="utc") + 40 * number * astropy.units.s
    return VisitDescription(number, "i", begin, exposure_time=30.0, ra=30.0, dec=0.0)


def _square(ra: float) -> ConvexPolygon:
    """Return a region of 6 arcminutes at a right ascension, in degrees."""
    corners = ((0.0, 0.0), (0.1, 0.0), (0.1, 0.1), (0.0, 0.1))
    return ConvexPolygon([UnitVector3d(LonLat.fromDegrees(ra + x, y)) for x, y in corners])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--visits", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--detectors", type=int, default=189)
    parser.add_argument("--target", type=int, default=1000, help="visits to extrapolate to")
    parser.add_argument("--pipeline", default="Simulation.yaml", help="file of pipelines/")
    parser.add_argument("--database", help="address of a PostgreSQL database; by default SQLite")
    parser.add_argument("--final-processes", type=int, default=1, help="of the final job")
    parser.add_argument("--job", action="store_true", help="time a job of one detector, too")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
