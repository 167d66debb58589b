# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repositories that hold the tables of a study, made of random masks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import many_visits_tables
import numpy as np
from astropy.table import Table
from conftest import CAMERA, DETECTORS, VISIT
from scipy import ndimage

from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.comparison import (
    ComparedMasks,
    ComparisonSettings,
    DetectorData,
    compare_detector,
    detection_bits,
    select_sources,
    truth_bits,
)
from lsst.meas.cosmicrays.repository import (
    make_repository,
    register_instrument_records,
    register_visit,
)
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

INSTRUMENT = CAMERA.name
RUN = "u/study"
SIDE = 60
NAMES = ("morphological_science", "astroscrappy_science", "astroscrappy_difference")
COVERAGE = dict(zip(NAMES, (0.95, 0.8, 0.4), strict=True))
"""How much of truth each of them finds, from CR to CR."""


def make_masks(seed: int, *, truth: bool = True, failed: str | None = None) -> ComparedMasks:
    """Draw cosmic rays, and masks that find some of them."""
    rng = np.random.default_rng(seed)
    labels, n = ndimage.label(
        ndimage.binary_dilation(rng.random((SIDE, SIDE)) < 0.008, np.ones((1, 3))), np.ones((3, 3))
    )
    true = labels > 0
    masks: list[np.ndarray | None] = []
    for name in NAMES:
        kept = np.concatenate([[False], rng.random(n) < COVERAGE[name]])[labels]
        masks.append(None if name == failed else kept | (rng.random((SIDE, SIDE)) < 0.001))
    bits = detection_bits(list(NAMES))
    if truth:
        bits += truth_bits([2.0])
        masks.append(true)
    return ComparedMasks(tuple(bits), tuple(masks), np.ones((SIDE, SIDE), bool))


def compare(seed: int, *, truth: bool = True, failed: str | None = None) -> dict[str, Table]:
    """Compare the masks of one made-up detector."""
    rng = np.random.default_rng(seed + 1000)
    positions = {"x": rng.uniform(5, 55, 25), "y": rng.uniform(5, 55, 25)}
    sources, _ = select_sources(
        Table({"id": np.arange(25), **positions, "ra": np.zeros(25), "dec": np.zeros(25)}),
        (SIDE, SIDE),
        size=5,
    )
    summaries = {
        name: {"finder": name.split("_")[0], "wall_time": 0.5 + number + 0.01 * seed, "n_cosmic_rays": 9}
        for number, name in enumerate(NAMES)
        if name != failed
    }
    if failed is not None:
        summaries[failed] = {"finder": failed.split("_")[0], "failed": True, "failure": "<b>too many & more"}
    data = DetectorData(
        make_masks(seed, truth=truth, failed=failed),
        rng.normal(size=(SIDE, SIDE)).astype(np.float32),
        sources=sources,
        summaries=summaries,
        stars=Table({"x": [30.0], "y": [30.0]}),
        exposure_time=60.0,
        pixel_size=0.015,
    )
    return compare_detector(data, ComparisonSettings(stamp_size=5))


def detector_region(detector: int) -> ConvexPolygon:
    """Return a square on the sky, 0.02 degrees wide."""
    low = 30.0 + 0.03 * detector
    corners = [(low, -20.0), (low + 0.02, -20.0), (low + 0.02, -19.98), (low, -19.98)]
    return ConvexPolygon([UnitVector3d(LonLat.fromDegrees(*corner)) for corner in corners])


def gather(level: str, parts: list[tuple[dict[str, int], dict[str, Table]]]) -> dict[str, Table]:
    """Gather tables as the task does, by the names of dataset types."""
    return many_visits_tables.gather(level, parts, nBootstrap=50)


def make_study(root: Path, *, visits: int = 2, truth: bool = True, failed: str | None = None) -> Butler:
    """Make a repository with the tables of a study.

    ``failed`` names a detection that fails on detector 1 of the first visit.
    """
    butler = make_repository(str(root))
    register_instrument_records(butler.registry, CAMERA)
    butler.collections.register(RUN)
    of_visits = []
    for number in range(1, visits + 1):
        regions = {part.id: detector_region(part.id) for part in DETECTORS}
        register_visit(butler, INSTRUMENT, dataclasses.replace(VISIT, id=number), regions)
        parts = []
        for part in DETECTORS:
            fails = failed if (number, part.id) == (1, 1) else None
            tables = compare(10 * number + part.id, truth=truth, failed=fails)
            put(butler, "cr_detections", tables["detections"], visit=number, detector=part.id)
            parts.append(({"visit": number, "detector": part.id}, tables))
        gathered = gather("visit", parts)
        for name, table in gathered.items():
            put(butler, f"cr_visit_{name}", table, visit=number)
        of_visits.append(({}, gathered))
    for name, table in gather("instrument", of_visits).items():
        put(butler, f"cr_instrument_{name}", table)
    return butler


def put(butler: Butler, name: str, table: Table, **data_id: int) -> None:
    """Put a table of the instrument, or of a part of it."""
    many_visits_tables.put_table(butler, RUN, name, table, instrument=INSTRUMENT, **data_id)
