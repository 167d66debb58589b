# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a visit costs: time, memory and disk of every step of a pipeline.

Detectors of the Hyper Suprime-Cam are simulated, go through a pipeline by
``pipetask run``, and what the executor noted of every quantum is added up.
What an earlier run left in the same folder is used again; a run that was
stopped goes on.  A table is printed, and written to the folder as JSON and as
reStructuredText.  Run as::

    python benchmarks/scale.py --detectors 12 -j 2

Of a visit of more detectors (``--target``, 103) every time and size grows in
proportion, that of the steps that gather among them; so does what such a step
holds in memory above what its process held before it, which is an upper bound.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from present import circumstances

from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.product import product_dir

INPUTS = "SimHSC/defaults"
MB = 1e6


@dataclasses.dataclass
class Step:
    """What all quanta of one step needed; times in seconds, sizes in MB."""

    label: str
    of: str
    """What a quantum is for: a detector, a visit or an instrument."""

    quanta: int = 0
    wall: float = 0.0
    """In the step, from its first input to its last output."""

    cpu: float = 0.0
    """The same, of processors."""

    start: float = 0.0
    """Processor time of processes before the step: imports, mostly."""

    read: float = 0.0
    """Of ``wall``, in reading datasets."""

    write: float = 0.0
    """Of ``wall``, in writing datasets."""

    memory_before: float = 0.0
    """Most that a process held before the step."""

    memory: float = 0.0
    """Most that a process held at all."""

    disk: float = 0.0
    """Written."""

    def extrapolate(self, factor: float) -> Step:
        """Return the same of a visit of ``factor`` times the detectors."""
        grown = {
            name: getattr(self, name) * factor for name in ("wall", "cpu", "start", "read", "write", "disk")
        }
        if self.of == "detector":
            grown["quanta"] = round(self.quanta * factor)
        else:
            grown["memory"] = self.memory_before + (self.memory - self.memory_before) * factor
            grown["start"] = self.start
        return dataclasses.replace(self, **grown)


def main() -> None:
    """Simulate, run, and print what was noted."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    repo = options.output / "repo"
    _simulate(repo, options)
    _run_pipeline(repo, options)
    output = _collection(options)
    with Butler.from_config(str(repo), collections=output) as butler:
        steps = read_steps(butler, output)
        finders = read_finders(butler)
    report = _call(["cosmicrays", "report", repo, output, "-o", options.output / "report", "--replace"])
    measured = {
        "circumstances": circumstances(),
        "detectors": options.detectors,
        "target": options.target,
        "size": options.size,
        "processes": options.processes,
        "pipeline": options.pipeline,
        "elapsed": sum(json.loads(_note(options).read_text())),
        "report": report,
        "finders": finders,
        "steps": [dataclasses.asdict(step) for step in steps],
    }
    (options.output / "scale.json").write_text(json.dumps(measured, indent=2) + "\n")
    text = "\n".join(_describe(measured, steps))
    (options.output / "scale.rst").write_text(text + "\n")
    print(text)


def _collection(options: argparse.Namespace) -> str:
    """Name the collection of the results: of more detectors, another, since
    what was gathered stays as it is.
    """
    return f"u/scale_{options.detectors}"


def _note(options: argparse.Namespace) -> Path:
    """Name the file that says how long the runs of the pipeline took."""
    return options.output / f"elapsed_{options.detectors}.json"


def read_steps(butler: Butler, collection: str) -> list[Step]:
    """Add up what the executor noted of every quantum of a run.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository, with the run's collection.
    collection : `str`
        That collection.

    Returns
    -------
    steps : `list` [`Step`]
        In the order in which they began.
    """
    steps: dict[str, Step] = {}
    began: dict[str, datetime.datetime] = {}
    made_by: dict[str, str] = {}
    for label, dimensions, metadata in _quanta(butler):
        of = next(name for name in ("detector", "visit", "instrument") if name in dimensions)
        step = steps.setdefault(label, Step(label, of))
        _add_quantum(step, metadata)
        start = datetime.datetime.fromisoformat(metadata["prepUtc"])
        began[label] = min(began.get(label, start), start)
        made_by |= dict.fromkeys(metadata.getArray("outputs") if "outputs" in metadata else (), label)
    for identifier, size in _sizes(butler, collection):
        if identifier in made_by:
            steps[made_by[identifier]].disk += size / MB
    return sorted(steps.values(), key=lambda step: began[step.label])


def _quanta(butler: Butler) -> Iterator[tuple[str, Iterable[str], Any]]:
    """Yield label, dimensions and metadata of every quantum."""
    for dataset_type in sorted(butler.registry.queryDatasetTypes("*_metadata")):
        for ref in butler.query_datasets(dataset_type, explain=False):
            label = dataset_type.name.removesuffix("_metadata")
            yield label, dataset_type.dimensions.names, butler.get(ref)["quantum"]


def _add_quantum(step: Step, metadata: Any) -> None:
    """Add what one quantum needed; metadata of resources are in bytes."""
    moments = [datetime.datetime.fromisoformat(metadata[f"{name}Utc"]) for name in ("prep", "end")]
    step.quanta += 1
    step.wall += (moments[1] - moments[0]).total_seconds()
    step.cpu += metadata["endCpuTime"] - metadata["prepCpuTime"]
    step.start += metadata["prepCpuTime"]
    if "butler_metrics" in metadata:
        step.read += metadata["butler_metrics"]["time_in_get"]
        step.write += metadata["butler_metrics"]["time_in_put"]
    step.memory_before = max(step.memory_before, metadata["prepMaxResidentSetSize"] / MB)
    step.memory = max(step.memory, metadata["endMaxResidentSetSize"] / MB)


def _sizes(butler: Butler, collection: str) -> Iterator[tuple[str, int]]:
    """Yield the identifier of every dataset of the run, and its bytes."""
    runs = [
        run
        for run in butler.collections.query(collection, flatten_chains=True)
        if run.startswith(f"{collection}/")
    ]
    for ref in butler.query_all_datasets(runs, find_first=False, limit=None):
        yield str(ref.id), butler.getURI(ref).size()


def read_finders(butler: Butler) -> dict[str, float]:
    """Return the seconds that each finder took, of all detectors together.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository, with the run's collection.

    Returns
    -------
    seconds : `dict` [`str`, `float`]
        By detection.
    """
    seconds: dict[str, float] = collections.defaultdict(float)
    for ref in butler.query_datasets("cr_instrument_summary", explain=False):
        for row in butler.get(ref):
            if row["wall_time_total"] > 0:
                seconds[str(row["detection"])] += float(row["wall_time_total"])
    return dict(seconds)


def _simulate(repo: Path, options: argparse.Namespace) -> None:
    """Make the detectors that are not there yet."""
    sizes = ["--detectors", str(options.detectors), "--detector-size", options.size]
    _call(["cosmicrays", "simulate", repo, *sizes, "-j", str(options.processes)])


def _run_pipeline(repo: Path, options: argparse.Namespace) -> None:
    """Run the pipeline, or what is left of it, and note how long it took."""
    with Butler.from_config(str(repo)) as butler:
        exists = _collection(options) in butler.collections.query("u/*")
    again = ["--extend-run", "--skip-existing", "--clobber-outputs"] if exists else []
    pipeline = product_dir() / "pipelines" / options.pipeline
    command = [
        "pipetask",
        "--no-log-tty",
        "run",
        "-b",
        repo,
        "-i",
        INPUTS,
        "-o",
        _collection(options),
        "-p",
        pipeline,
    ]
    command += ["--register-dataset-types", "-j", str(options.processes)]
    note = _note(options)
    elapsed = json.loads(note.read_text()) if exists and note.exists() else []
    note.write_text(json.dumps([*elapsed, _call([*command, *again])["seconds"]]))


def _call(command: Sequence[str | Path]) -> dict[str, float]:
    """Run a command of this installation, with one thread a process; its
    output goes to the error stream. Return what it needed.
    """
    words = [str(word) for word in command]
    print("$ " + " ".join(words), file=sys.stderr)
    program = Path(sys.executable).with_name(words[0])
    environment = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"} | dict(os.environ)
    environment["MEAS_COSMICRAYS_DIR"] = str(product_dir())
    started = time.perf_counter()
    process = subprocess.Popen([str(program), *words[1:]], env=environment, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{words[0]} ended with {process.returncode}.")
    return {"seconds": time.perf_counter() - started, "memory": usage.ru_maxrss * 1024 / MB}


def _describe(measured: dict[str, Any], steps: list[Step]) -> list[str]:
    """Write what was measured as reStructuredText."""
    where, target = measured["circumstances"], measured["target"]
    factor = target / measured["detectors"]
    grown = [step.extrapolate(factor) for step in steps]
    first, last = (_total(some) for some in (steps, grown))
    lines = [
        f"{where['date']}, {where['processor']}, {where['cores']} cores, load {where['load']:.1f}, Python "
        f"{where['python']}: {measured['detectors']} detectors of {measured['size']} pixels through "
        f"``{measured['pipeline']}``, {measured['processes']} processes. "
        f"The report of it took {measured['report']['seconds']:.1f} s and "
        f"{measured['report']['memory']:.0f} MB.",
        "",
        *_list_table(_step_rows(steps, first), f"{measured['detectors']} detectors"),
        "",
        *_list_table(_step_rows(grown, last), f"{target} detectors, extrapolated"),
        "",
        *_list_table(_part_rows(measured, first, factor), "Where the time goes"),
        "",
        *_list_table(_finder_rows(measured), "Finders"),
    ]
    return lines


def _total(steps: Sequence[Step]) -> Step:
    """Add up steps; of memory, take the most."""
    total = Step("all", "")
    for name in ("quanta", "wall", "cpu", "start", "read", "write", "disk"):
        setattr(total, name, sum(getattr(step, name) for step in steps))
    total.memory = max((step.memory for step in steps), default=0.0)
    return total


def _step_rows(steps: Sequence[Step], total: Step) -> list[tuple[str, ...]]:
    """Make one row a step."""
    head = ("Step", "Quanta", "Wall (s)", "CPU (s)", "Share of CPU", "Read (s)", "Write (s)")
    rows = [(*head, "Start, CPU (s)", "Memory (MB)", "Written (MB)")]
    for step in (*steps, total):
        times = (f"{step.wall:.1f}", f"{step.cpu:.1f}", f"{step.cpu / max(total.cpu, 1e-9):.0%}")
        times += (f"{step.read:.1f}", f"{step.write:.1f}", f"{step.start:.1f}")
        name = f"``{step.label}``" if step.of else step.label
        rows.append((name, str(step.quanta), *times, f"{step.memory:.0f}", f"{step.disk:.1f}"))
    return rows


def _part_rows(measured: dict[str, Any], total: Step, factor: float) -> list[tuple[str, ...]]:
    """Divide all time in steps into finders, input and output, and rest."""
    finders = sum(measured["finders"].values())
    parts = {
        "finders": finders,
        "reading": total.read,
        "writing": total.write,
        "other work of steps": total.wall - finders - total.read - total.write,
        "start of processes (CPU)": total.start,
    }
    rows = [("Part", "Seconds", "Share", f"Seconds of {measured['target']} detectors")]
    everything = sum(parts.values())
    rows += [
        (name, f"{value:.1f}", f"{value / everything:.0%}", f"{value * factor:.0f}")
        for name, value in parts.items()
    ]
    elapsed = measured["elapsed"]
    return [*rows, ("elapsed, all processes side by side", f"{elapsed:.1f}", "", f"{elapsed * factor:.0f}")]


def _finder_rows(measured: dict[str, Any]) -> list[tuple[str, ...]]:
    """Make one row a detection."""
    rows: list[tuple[str, ...]] = [("Detection", "Seconds a detector")]
    finders = sorted(measured["finders"].items(), key=lambda item: -item[1])
    return rows + [(f"``{name}``", f"{value / measured['detectors']:.3f}") for name, value in finders]


def _list_table(rows: Sequence[Sequence[str]], title: str) -> list[str]:
    """Write rows, the first of which is the head, as a list-table."""
    lines = [f".. list-table:: {title}", "   :header-rows: 1", ""]
    for row in rows:
        cells = zip("*" + " " * len(row), row, strict=False)
        lines += [f"   {mark} - {cell}".rstrip() for mark, cell in cells]
    return lines


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--detectors", type=int, default=12)
    parser.add_argument("--size", default="2048x4176", help="columns and rows of a detector")
    parser.add_argument("--target", type=int, default=103, help="detectors to extrapolate to")
    parser.add_argument("--pipeline", default="Simulation.yaml", help="file of pipelines/")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "scale")
    parser.add_argument("-j", "--processes", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
