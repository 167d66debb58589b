# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Simulated visits in a Butler repository."""

from __future__ import annotations

__all__ = ("DATASET_TYPES", "SimulationSummary", "simulate")

import dataclasses
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path
from typing import Any

from astropy.table import Table

from lsst.daf.butler import Butler, DatasetRef, FileDataset

from ..instruments import make_sky_projection
from ..repository import (
    RepositoryError,
    explain_storage_errors,
    make_repository,
    prepare_run,
    register_dataset_type,
    register_instrument_records,
    register_visit,
    sky_region,
)
from .camera import SimulationError
from .config import SimulationConfig
from .detector import describe_camera, describe_visit, detector_wcs, simulate_detector

DATASET_TYPES: dict[str, str] = {
    "visit_image": "VisitImage",
    "template_detector": "VisitImage",
    "cr_truth_charge": "ImageV2",
    "cr_truth_catalog": "ArrowAstropy",
    "variable_truth_catalog": "ArrowAstropy",
    "star_catalog": "ArrowAstropy",
}
"""Storage class of each dataset type that is made (`dict`)."""

_CONFIG_TYPE = "cr_simulation_config"
# Compression of noise costs seconds and gains a quarter of the size.
_PLAIN = {"image": None, "variance": None}


@dataclasses.dataclass(frozen=True)
class SimulationSummary:
    """What `simulate` did.

    Parameters
    ----------
    run : `str`
        Collection that the datasets are in.
    made, reused : `tuple` [`tuple` [`int`, `int`], ...]
        Visit and detector of what was simulated, and of what was there.
    """

    run: str
    made: tuple[tuple[int, int], ...]
    reused: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class _Product:
    """What a worker hands back: files by dataset type, and tables."""

    visit: int
    detector: int
    files: dict[str, Path]
    tables: dict[str, Table]
    seconds: float


def simulate(
    root: str | Path,
    config: SimulationConfig,
    *,
    visits: int = 1,
    detectors: int = 1,
    processes: int = 1,
    report: Callable[[str], None] = lambda line: None,
) -> SimulationSummary:
    """Simulate visits into a Butler repository.

    Parameters
    ----------
    root : `str` or `~pathlib.Path`
        Directory of the repository; made if it is not there.
    config : `SimulationConfig`
        What to simulate.
    visits, detectors : `int`, optional
        Numbers of visits, counted from 1, and of detectors, from 0.
    processes : `int`, optional
        Number of processes; the pixels do not depend on it.
    report : `~collections.abc.Callable`, optional
        Called with one line of text for each step.

    Returns
    -------
    summary : `SimulationSummary`
        What was made.  Detectors that an equal simulation left in the
        repository are not made again.

    Raises
    ------
    SimulationError
        Raised if a number is not positive, or the camera has fewer
        detectors.
    RepositoryError
        Raised if the directory is something else, holds a simulation of this
        camera with another configuration, or cannot be written, or if a
        process died.
    """
    for name, number in {"visits": visits, "detectors": detectors, "processes": processes}.items():
        if number < 1:
            raise SimulationError(f"The number of {name} must be at least 1, got {number}.")
    camera = describe_camera(config, list(range(detectors)))
    with closing(make_repository(root, exist_ok=True)) as butler, explain_storage_errors(root):
        register_instrument_records(butler.registry, camera)
        run = prepare_run(butler, camera.name, "simulation")
        _keep_config(butler, run, config)
        for name, storage_class in DATASET_TYPES.items():
            register_dataset_type(butler, name, storage_class)
        _register_visits(butler, config, visits, detectors)

        wanted = [(visit, detector) for visit in range(1, visits + 1) for detector in range(detectors)]
        reused = _existing(butler, run)
        missing = [key for key in wanted if key not in reused]
        if len(missing) < len(wanted):
            report(f"{len(wanted) - len(missing)} of {len(wanted)} detectors are in {root} already.")
        if missing:
            report(f"Simulating {len(missing)} detectors of {config.width}x{config.height} pixels ...")
        with tempfile.TemporaryDirectory(prefix=".simulation-", dir=root) as staging:
            for number, product in enumerate(_produce(config, missing, processes, staging), start=1):
                _store(butler, camera.name, run, product)
                report(
                    f"[{number}/{len(missing)}] visit {product.visit} detector {product.detector}: "
                    f"{len(product.tables['cr_truth_catalog'])} cosmic rays, {product.seconds:.1f} s"
                )
    return SimulationSummary(run, tuple(missing), tuple(key for key in wanted if key in reused))


def _register_visits(butler: Butler, config: SimulationConfig, visits: int, detectors: int) -> None:
    camera = describe_camera(config, list(range(detectors)))
    for number in range(1, visits + 1):
        visit = describe_visit(config, number)
        regions = {}
        for detector in camera.detectors:
            wcs = detector_wcs(config, detector, visit)
            projection = make_sky_projection(wcs, camera.name, detector, visit=number)
            regions[detector.id] = sky_region(projection, detector.bbox)
        register_visit(butler, camera.name, visit, regions)


def _keep_config(butler: Butler, run: str, config: SimulationConfig) -> None:
    """Store the configuration, or compare it with the one that is there."""
    register_dataset_type(butler, _CONFIG_TYPE, "StructuredDataDict", ("instrument",))
    instrument = config.camera.instrument
    values = config.model_dump()
    ref = butler.find_dataset(_CONFIG_TYPE, instrument=instrument, collections=run)
    if ref is None:
        butler.put(values, _CONFIG_TYPE, instrument=instrument, run=run)
        return
    old = butler.get(ref)
    differing = [key for key in values if old.get(key) != values[key]]
    if differing:
        changes = ", ".join(f"{key} is {old.get(key)}, not {values[key]}" for key in differing)
        raise RepositoryError(
            f"The repository holds another simulation of {instrument}: {changes}. "
            "Name another directory, or the same values."
        )


def _existing(butler: Butler, run: str) -> set[tuple[int, int]]:
    refs = butler.query_datasets("visit_image", collections=run, explain=False, limit=None)
    return {(int(ref.dataId["visit"]), int(ref.dataId["detector"])) for ref in refs}


def _produce(
    config: SimulationConfig, keys: Iterable[tuple[int, int]], processes: int, staging: str
) -> Iterator[_Product]:
    keys = list(keys)
    if processes == 1 or len(keys) < 2:
        yield from (_make_product(config, visit, detector, staging) for visit, detector in keys)
        return
    # Workers must not inherit connections to the database.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(keys)), mp_context=context) as pool:
        futures = [pool.submit(_make_product, config, *key, staging) for key in keys]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise RepositoryError(
                "A process died, perhaps for want of memory (one takes about 1.2 GB for 2048x4176 pixels). "
                "What was made is kept: run again with fewer processes."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _make_product(config: SimulationConfig, visit: int, detector: int, staging: str) -> _Product:
    """Simulate a detector and write its images, in a worker."""
    start = time.monotonic()
    simulated = simulate_detector(config, visit, detector)
    images: dict[str, tuple[Any, dict[str, Any]]] = {
        "visit_image": (simulated.visit_image, _PLAIN),
        "template_detector": (simulated.template, _PLAIN),
        "cr_truth_charge": (simulated.charge, {}),
    }
    files = {}
    for name, (image, compression) in images.items():
        files[name] = Path(staging) / f"{name}_{visit}_{detector}.fits"
        image.write(str(files[name]), compression_options=compression)
    tables = {
        "cr_truth_catalog": simulated.cosmic_rays,
        "variable_truth_catalog": simulated.variables,
        "star_catalog": simulated.stars,
    }
    return _Product(visit, detector, files, tables, time.monotonic() - start)


def _store(butler: Butler, instrument: str, run: str, product: _Product) -> None:
    data_id = {"instrument": instrument, "visit": product.visit, "detector": product.detector}
    with butler.transaction():
        for name, table in product.tables.items():
            butler.put(table, name, data_id, run=run)
        datasets = []
        for name, path in product.files.items():
            expanded = butler.registry.expandDataId(data_id)
            ref = DatasetRef(butler.get_dataset_type(name), expanded, run=run)
            datasets.append(FileDataset(path=str(path), refs=[ref]))
        butler.ingest(*datasets, transfer="move")
