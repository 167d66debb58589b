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

Every job takes the time that was measured for one detector (the numbers are
those of the page on batch processing), spread as measured times spread, and
waits for a free core; jobs that gather wait for what they gather.  Run as::

    python benchmarks/schedule.py --visits 1000 --detectors 189
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq

import numpy as np

DATASETS_OF_A_DETECTOR = 25
DATASETS_OF_A_VISIT = 12
MB_OF_A_DETECTOR = 2.2
MB_OF_A_DIFFERENCE_IMAGE = 55.0


@dataclasses.dataclass(frozen=True)
class Costs:
    """Measured on one core of a loaded machine, for 2048 x 4176 pixels."""

    start: float = 6.0
    """CPU time (s) in which a job starts and reads its graph."""

    detector: float = 32.3
    """CPU time (s) of all steps of a detector."""

    gather: float = 1.3
    """CPU time (s) to gather one detector; assumed to grow in proportion."""

    spread: float = 0.2
    """Assumed relative scatter (log-normal) of the time of a job."""

    failures: float = 0.001
    """Assumed fraction of jobs that are killed half-way and tried again."""


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
        How long it took.  The job that gathers all visits comes last.
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
    end = run(max(gathered), costs.gather * visits)
    later = np.array([start for start in starts if start > 60.0])
    rate = np.bincount((later // 60).astype(int)).max() / 60.0 if later.size else 0.0
    return Schedule(
        jobs=len(starts),
        core_hours=busy / 3600,
        hours=end / 3600,
        utilisation=busy / (end * cores),
        starts_per_second=float(rate),
    )


def format_table(visits: int, detectors: int, core_counts: list[int]) -> str:
    """Return the rows of the documentation's table.

    Parameters
    ----------
    visits, detectors : `int`
        Numbers of visits, and of detectors of each.
    core_counts : `list` [`int`]
        Numbers of cores to simulate.

    Returns
    -------
    text : `str`
        A list-table of reStructuredText, and a line on what is stored.
    """
    lines = [".. list-table::", "   :header-rows: 1", ""]
    rows = [("Cores", "Jobs", "Core hours", "Hours", "Cores busy", "Job starts a second")]
    for cores in core_counts:
        one = simulate_schedule(visits, detectors, cores)
        numbers = (f"{cores}", f"{one.jobs}", f"{one.core_hours:.0f}", f"{one.hours:.1f}")
        rows.append((*numbers, f"{one.utilisation:.0%}", f"{one.starts_per_second:.1f}"))
    for row in rows:
        lines += [f"   {'*' if column == 0 else ' '} - {cell}" for column, cell in enumerate(row)]
    n_detectors = visits * detectors
    datasets = n_detectors * DATASETS_OF_A_DETECTOR + visits * DATASETS_OF_A_VISIT
    lines += [
        "",
        f"Results: {n_detectors * MB_OF_A_DETECTOR / 1e6:.2f} TB, and with difference images "
        f"{n_detectors * MB_OF_A_DIFFERENCE_IMAGE / 1e6:.1f} TB more; {datasets / 1e6:.1f} million datasets.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--visits", type=int, default=1000)
    parser.add_argument("--detectors", type=int, default=189)
    parser.add_argument("--cores", type=int, nargs="+", default=[100, 1000, 4000])
    options = parser.parse_args()
    print(format_table(options.visits, options.detectors, options.cores))


if __name__ == "__main__":
    main()
