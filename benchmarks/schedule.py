# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a survey needs on a cluster: a simulation of the schedule.

Every job takes the time that was measured for one detector, spread as times
spread, and waits for a free core; jobs that gather wait for what they gather,
and the last one enters all results into the registry.  What is measured comes
from ``scale.py``, ``many_visits.py`` and ``final_job.py``; their files replace
the numbers here, which are those of the page on batch processing.  Run as::

    python benchmarks/schedule.py --visits 1000 --detectors 189
    python benchmarks/schedule.py --scale SCALE.json --final-job FINAL.json
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import json
from pathlib import Path

import numpy as np

DIFFERENCE_IMAGING = "subtractTemplate"


@dataclasses.dataclass(frozen=True)
class Costs:
    """What jobs cost, for detectors of 2048 x 4176 pixels."""

    start: float = 4.5
    """CPU time (s) in which a job starts and reads its graph."""

    detector: float = 107.6
    """Time (s) of all steps of a detector."""

    gather: float = 0.23
    """Time (s) to gather one detector; assumed to grow in proportion."""

    gather_visit: float = 1.2
    """Time (s) to gather one visit with others; assumed to grow in proportion.
    """

    graph: float = 0.0012
    """Time (s) in which the quantum graph gets one dataset, of PostgreSQL."""

    final: float = 0.0031
    """Time (s) in which the last job enters one dataset, of PostgreSQL."""

    datasets_of_a_detector: int = 48
    """Datasets that the steps of a detector make, logs among them."""

    datasets_of_a_visit: int = 12
    """Datasets that are made of a visit."""

    size: float = 1.4
    """Results of a detector (MB)."""

    size_of_difference: float = 50.8
    """Its difference image (MB)."""

    spread: float = 0.2
    """Assumed relative scatter (log-normal) of the time of a job."""

    failures: float = 0.001
    """Assumed fraction of jobs that are killed half-way and tried again."""

    def datasets(self, visits: int, detectors: int) -> int:
        """Return how many datasets a submission makes.

        Parameters
        ----------
        visits, detectors : `int`
            Numbers of visits, and of detectors of each.

        Returns
        -------
        datasets : `int`
            But for the few that are of all visits together.
        """
        return visits * (detectors * self.datasets_of_a_detector + self.datasets_of_a_visit)


def read_costs(scale: Path | None = None, final_job: Path | None = None) -> Costs:
    """Read what was measured.

    Parameters
    ----------
    scale, final_job : `pathlib.Path`, optional
        Files of ``scale.py`` and ``final_job.py``.

    Returns
    -------
    costs : `Costs`
        With the numbers of these files, and else those of this one.
    """
    costs = Costs()
    if scale is not None:
        measured = json.loads(scale.read_text())
        steps, detectors = measured["steps"], measured["detectors"]
        of_detector = [step for step in steps if step["of"] == "detector"]
        difference = sum(step["disk"] for step in of_detector if step["label"] == DIFFERENCE_IMAGING)
        written = sum(step["disk"] for step in steps)
        costs = dataclasses.replace(
            costs,
            detector=sum(step["wall"] for step in of_detector) / detectors,
            gather=sum(step["wall"] for step in steps if step["of"] == "visit") / detectors,
            size=(written - difference) / detectors,
            size_of_difference=difference / detectors,
        )
    if final_job is not None:
        measured = json.loads(final_job.read_text())
        slopes = measured["slopes"]
        costs = dataclasses.replace(
            costs,
            start=measured["rows"][-1].get("job_cpu", costs.start),
            graph=slopes["graph_seconds"],
            final=slopes["final_seconds"],
        )
    return costs


@dataclasses.dataclass(frozen=True)
class Schedule:
    """What came of a simulation."""

    jobs: int
    """Number of jobs, those tried again counted again."""

    core_hours: float
    """Time of all jobs together."""

    hours: float
    """From the start of the first job to the end of the last."""

    utilisation: float
    """Fraction of the cores' time in which they worked."""

    starts_per_second: float
    """Most jobs that started within one minute, per second; those of the
    first minute, when all cores are free, left out.
    """


def simulate_schedule(
    visits: int, detectors: int, cores: int, costs: Costs | None = None, seed: int = 1
) -> Schedule:
    """Run the jobs of a survey on a number of cores.

    Parameters
    ----------
    visits, detectors : `int`
        Numbers of visits, and of detectors of each.
    cores : `int`
        Jobs that can run at the same time.
    costs : `Costs`, optional
        What the jobs cost.
    seed : `int`, optional
        Seed of the scatter and of the failures.

    Returns
    -------
    schedule : `Schedule`
        How long it took.  The job that gathers all visits comes last, before
        the one that enters what all of them made.
    """
    costs = costs or Costs()
    rng = np.random.default_rng(seed)
    free = [0.0] * cores
    starts: list[float] = []
    busy = 0.0

    def run(earliest: float, seconds: float) -> float:
        """Run a job on the core that is free first; return its end."""
        nonlocal busy
        start = max(heapq.heappop(free), earliest)
        starts.append(start)
        took = costs.start + seconds * rng.lognormal(-(costs.spread**2) / 2, costs.spread)
        if rng.random() < costs.failures:
            busy += took / 2
            start += took / 2
            starts.append(start)
        busy += took
        heapq.heappush(free, start + took)
        return start + took

    # A visit is gathered as soon as a core is free after its last detector,
    # and the jobs of gathering do not hold up those of the next detectors.
    ends_of_visits = [max(run(0.0, costs.detector) for _ in range(detectors)) for _ in range(visits)]
    gathered = [run(end, costs.gather * detectors) for end in sorted(ends_of_visits)]
    end = run(max(gathered), costs.gather_visit * visits)
    end = run(end, costs.final * costs.datasets(visits, detectors))
    later = np.array([start for start in starts if start > 60.0])
    rate = np.bincount((later // 60).astype(int)).max() / 60.0 if later.size else 0.0
    return Schedule(
        jobs=len(starts),
        core_hours=busy / 3600,
        hours=end / 3600,
        utilisation=busy / (end * cores),
        starts_per_second=float(rate),
    )


def format_table(visits: int, detectors: int, core_counts: list[int], costs: Costs | None = None) -> str:
    """Return the rows of the documentation's table.

    Parameters
    ----------
    visits, detectors : `int`
        Numbers of visits, and of detectors of each.
    core_counts : `list` [`int`]
        Numbers of cores to simulate.
    costs : `Costs`, optional
        What the jobs cost.

    Returns
    -------
    text : `str`
        A list-table of reStructuredText, and lines on what is stored and
        entered.
    """
    costs = costs or Costs()
    lines = [".. list-table::", "   :header-rows: 1", ""]
    rows = [("Cores", "Jobs", "Core hours", "Hours", "Cores busy", "Job starts a second")]
    for cores in core_counts:
        one = simulate_schedule(visits, detectors, cores, costs)
        numbers = (f"{cores}", f"{one.jobs}", f"{one.core_hours:.0f}", f"{one.hours:.1f}")
        rows.append((*numbers, f"{one.utilisation:.0%}", f"{one.starts_per_second:.1f}"))
    for row in rows:
        lines += [f"   {'*' if column == 0 else ' '} - {cell}" for column, cell in enumerate(row)]
    n_detectors, datasets = visits * detectors, costs.datasets(visits, detectors)
    lines += [
        "",
        f"Results: {n_detectors * costs.size / 1e6:.2f} TB, and with difference images "
        f"{n_detectors * costs.size_of_difference / 1e6:.1f} TB more.",
        f"Registry: {datasets / 1e6:.1f} million datasets.",
    ]
    if costs.graph or costs.final:
        lines.append(
            f"{costs.graph * datasets / 3600:.1f} hours for the quantum graph before, "
            f"{costs.final * datasets / 3600:.1f} hours of the last job (in the table)."
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--visits", type=int, default=1000)
    parser.add_argument("--detectors", type=int, default=189)
    parser.add_argument("--cores", type=int, nargs="+", default=[100, 1000, 4000])
    parser.add_argument("--scale", type=Path, help="file that scale.py wrote")
    parser.add_argument("--final-job", type=Path, help="file that final_job.py wrote")
    options = parser.parse_args()
    costs = read_costs(options.scale, options.final_job)
    print(format_table(options.visits, options.detectors, options.cores, costs))


if __name__ == "__main__":
    main()
