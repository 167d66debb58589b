# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making a Butler repository and registering in it what images belong to.

Used by simulation and by ingestion.  Everything is idempotent: what is
registered already is compared, and only a contradiction is an error.
"""

from __future__ import annotations

__all__ = (
    "RepositoryError",
    "VisitDescription",
    "explain_storage_errors",
    "make_repository",
    "prepare_run",
    "register_dataset_type",
    "register_instrument_records",
    "register_visit",
    "sky_region",
)

import dataclasses
import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import astropy.time
import astropy.units as u
import numpy as np
import sqlalchemy.exc

from lsst.daf.butler import Butler, CollectionType, Config, DatasetType, DimensionRecord, Timespan
from lsst.daf.butler.registry import (
    ConflictingDefinitionError,
    MissingCollectionError,
    MissingDatasetTypeError,
)
from lsst.images import XY, Box, SkyProjection
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

from .documentation import DocumentedError
from .instruments import InstrumentDescription

# As in obs_base: each exposure is a visit of its own.
_ONE_TO_ONE = {"id": 0, "name": "one-to-one"}

# Longest text that the dimension records of observations take.
_TEXT_LENGTH = 64

# A repository that is being made, in its own directory.
_UNFINISHED = "unfinished-"

# Planes are compressed in tiles of so many rows and columns, not row by row:
# every tile takes time of its own.
_TILE = [128, 2048]
_STORAGE = {
    "datastore": {
        "formatters": {
            "write_recipes": {
                "lsst.images.formatters.GenericFormatter": {
                    "default": {
                        plane: {"algorithm": "GZIP_2", "tile_shape": _TILE}
                        for plane in ("image", "mask", "variance")
                    }
                }
            }
        }
    }
}


class RepositoryError(DocumentedError, RuntimeError):
    """A repository cannot be made, or contradicts what is to be added."""


@dataclasses.dataclass(frozen=True)
class VisitDescription:
    """What is known of one visit, taken as one exposure.

    Parameters
    ----------
    id : `int`
        Number of the visit and of its exposure.
    physical_filter : `str`
        Filter, one of those of the instrument.
    begin : `astropy.time.Time`
        When the shutter opened.
    exposure_time : `float`
        Time that the shutter was open, in s.
    ra, dec : `float`
        Where the telescope pointed, in degrees, ICRS.
    rotation : `float`, optional
        Position angle of the y axis of the focal plane, in degrees.
    name : `str`, optional
        Name of the observation; by default its number.
    day_obs : `int`, optional
        Night as YYYYMMDD; by default that of ``begin``, from noon to noon TAI.
    seq_num : `int`, optional
        Number of the exposure in its night.
    target : `str`, optional
        What was observed.
    science_program, reason : `str`, optional
        For what and why it was observed.
    azimuth, zenith_angle : `float`, optional
        Pointing of the telescope in degrees, where known.
    simulated : `bool`, optional
        Whether the pixels are made up.
    """

    id: int
    physical_filter: str
    begin: astropy.time.Time
    exposure_time: float
    ra: float
    dec: float
    rotation: float = 0.0
    name: str = ""
    day_obs: int | None = None
    seq_num: int = 0
    target: str = "unknown"
    science_program: str = "unknown"
    reason: str = "science"
    azimuth: float | None = None
    zenith_angle: float | None = None
    simulated: bool = False

    @property
    def end(self) -> astropy.time.Time:
        """When the shutter closed (`astropy.time.Time`)."""
        return self.begin + self.exposure_time * u.s

    @property
    def observation_name(self) -> str:
        """Name of the observation (`str`)."""
        return self.name or str(self.id)

    @property
    def night(self) -> int:
        """Night of the observation as YYYYMMDD (`int`)."""
        if self.day_obs is not None:
            return self.day_obs
        return int((self.begin.tai - 12.0 * u.h).strftime("%Y%m%d"))


def make_repository(root: str | Path, *, exist_ok: bool = False) -> Butler:
    """Make a Butler repository with an SQLite registry.

    Parameters
    ----------
    root : `str` or `~pathlib.Path`
        Directory of the repository; made if it is not there.
    exist_ok : `bool`, optional
        Whether to open a repository that exists already.

    Returns
    -------
    butler : `lsst.daf.butler.Butler`
        Client that can write.

    Raises
    ------
    RepositoryError
        Raised if the directory holds other files, or a repository while
        ``exist_ok`` is `False`, or if it cannot be written.
    """
    root = Path(root)
    if (root / "butler.yaml").exists():
        if not exist_ok:
            raise RepositoryError(f"{root} is a Butler repository already; name another directory.")
    elif root.exists() and (not root.is_dir() or any(_foreign(root))):
        raise RepositoryError(f"{root} exists and is not a Butler repository; name another directory.")
    else:
        with explain_storage_errors(root):
            made = _make_whole(root)
        if not (made or exist_ok):
            raise RepositoryError(f"{root} was made by another process just now; name another directory.")
    try:
        return Butler.from_config(str(root), writeable=True)
    except (sqlalchemy.exc.SQLAlchemyError, LookupError) as error:
        raise RepositoryError(
            f"{root} cannot be written: {_one_line(error)}. Get the rights to write to this repository, "
            "remove it if it was never complete, or name another directory."
        ) from error


def _foreign(root: Path) -> Iterator[Path]:
    """Find what is no remainder of a repository that was being made."""
    return (entry for entry in root.iterdir() if not entry.name.startswith(_UNFINISHED))


def _make_whole(root: Path) -> bool:
    """Make a repository that is either complete or not there.

    Returns
    -------
    made : `bool`
        Whether it was made here, not by another process at the same time.
    """
    root.mkdir(parents=True, exist_ok=True)
    with _alone(root / f"{_UNFINISHED}lock"):
        if (root / "butler.yaml").exists():
            return False
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=root) as unfinished:
            Butler.makeRepo(unfinished, Config(_STORAGE))
            # A directory is a repository as soon as it has a butler.yaml.
            for path in sorted(Path(unfinished).iterdir(), key=lambda path: path.name == "butler.yaml"):
                os.replace(path, root / path.name)
    return True


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes out, with the lock on a file.

    The file goes when all went well: who waits for it then finds what was
    made.
    """
    with path.open("w") as file:
        # Some file systems have no locks; there, it is as it was without.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
        path.unlink(missing_ok=True)


@contextmanager
def explain_storage_errors(root: str | Path) -> Iterator[None]:
    """Name the repository when its disk or its database refuses to write.

    Parameters
    ----------
    root : `str` or `~pathlib.Path`
        Directory of the repository.

    Yields
    ------
    nothing : `None`
        The context in which the repository is written.

    Raises
    ------
    RepositoryError
        Raised instead of an error that comes from the operating system or
        from the database, however wrapped.
    """
    try:
        yield
    except RepositoryError:
        raise
    except Exception as error:
        reason = _storage_reason(error)
        if reason is None:
            raise
        raise RepositoryError(
            f"{root} cannot be written: {reason}. What was written before is complete and kept: "
            "free the disk (or get the rights), and run the same command again."
        ) from error


def _storage_reason(error: BaseException | None) -> str | None:
    """Find what disk or database said, in a chain of errors."""
    while error is not None:
        if isinstance(error, OSError):
            return error.strerror or str(error)
        if isinstance(error, sqlalchemy.exc.OperationalError):
            return _one_line(error)
        error = error.__cause__ or error.__context__
    return None


def _one_line(error: Exception) -> str:
    """Return what a database said, without the statement it was told."""
    said = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    return " ".join(str(said).split())


def prepare_run(butler: Butler, instrument: str, label: str) -> str:
    """Register a run and put it in front of the instrument's defaults.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Client that can write.
    instrument : `str`
        Butler name of the instrument.
    label : `str`
        Second part of the name of the run, such as ``simulation``.

    Returns
    -------
    run : `str`
        Name of the run, ``{instrument}/{label}``, which is in the chain
        ``{instrument}/defaults``.

    Raises
    ------
    RepositoryError
        Raised if a collection of that name exists and is not a run.
    """
    run = f"{instrument}/{label}"
    defaults = f"{instrument}/defaults"
    _register_collection(butler, run, CollectionType.RUN)
    _register_collection(butler, defaults, CollectionType.CHAINED)
    if run not in butler.collections.get_info(defaults).children:
        butler.collections.prepend_chain(defaults, run)
    return run


def _register_collection(butler: Butler, name: str, kind: CollectionType) -> None:
    try:
        existing = butler.collections.get_info(name).type
    except MissingCollectionError:
        butler.collections.register(name, kind)
        return
    if existing is not kind:
        raise RepositoryError(f"Collection {name!r} is a {existing.name}, not a {kind.name}.")


def register_dataset_type(
    butler: Butler,
    name: str,
    storage_class: str,
    dimensions: tuple[str, ...] = ("instrument", "visit", "detector"),
) -> DatasetType:
    """Register a dataset type.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Client that can write.
    name : `str`
        Name of the dataset type.
    storage_class : `str`
        Name of its storage class.
    dimensions : `tuple` [`str`, ...], optional
        Its dimensions.

    Returns
    -------
    dataset_type : `lsst.daf.butler.DatasetType`
        The dataset type.

    Raises
    ------
    RepositoryError
        Raised if it is registered with other dimensions or storage class.
    """
    dataset_type = DatasetType(name, dimensions, storage_class, universe=butler.dimensions)
    try:
        existing = butler.get_dataset_type(name)
    except MissingDatasetTypeError:
        butler.registry.registerDatasetType(dataset_type)
        return dataset_type
    if existing != dataset_type:
        raise RepositoryError(f"Dataset type {name!r} exists as {existing}, which is not {dataset_type}.")
    return dataset_type


def register_instrument_records(
    registry: Any, instrument: InstrumentDescription, *, update: bool = False
) -> None:
    """Register an instrument with its filters and detectors.

    Parameters
    ----------
    registry : `lsst.daf.butler.registry.Registry`
        Registry of a client that can write.
    instrument : `~lsst.meas.cosmicrays.instruments.InstrumentDescription`
        The camera.
    update : `bool`, optional
        Whether to replace records that differ.

    Raises
    ------
    RepositoryError
        Raised if a record exists and differs; nothing is changed then.
    """
    name = instrument.name
    with registry.transaction():
        _sync(
            registry,
            "instrument",
            update,
            name=name,
            class_name=instrument.class_name,
            detector_max=instrument.detector_max,
            visit_max=instrument.visit_max,
            exposure_max=instrument.visit_max,
            visit_system=_ONE_TO_ONE["id"],
        )
        _sync(registry, "visit_system", update, instrument=name, **_ONE_TO_ONE)
        for physical_filter, band in instrument.filters.items():
            _sync(registry, "physical_filter", update, instrument=name, name=physical_filter, band=band)
        for detector in instrument.detectors:
            _sync(
                registry,
                "detector",
                update,
                instrument=name,
                id=detector.id,
                full_name=detector.name,
                name_in_raft=detector.name,
                raft=None,
                purpose="SCIENCE",
            )


def register_visit(
    butler: Butler, instrument: str, visit: VisitDescription, regions: Mapping[int, ConvexPolygon]
) -> None:
    """Register a visit, its exposure, and where its detectors look.

    Detectors can be added to a visit later: its own region then grows.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Client that can write.
    instrument : `str`
        Butler name of the instrument, registered already.
    visit : `VisitDescription`
        The visit.
    regions : `~collections.abc.Mapping` [`int`, `lsst.sphgeom.ConvexPolygon`]
        Region of each detector on the sky (see `sky_region`).

    Raises
    ------
    ValueError
        Raised if there are no regions.
    RepositoryError
        Raised if the visit is registered and differs in more than its
        detectors; nothing is changed then.
    """
    if not regions:
        raise ValueError(f"Visit {visit.id} has no detectors.")
    registry = butler.registry
    with registry.transaction():
        all_regions = _known_regions(butler, instrument, visit.id) | dict(regions)
        common: dict[str, Any] = {
            "instrument": instrument,
            "physical_filter": visit.physical_filter,
            "day_obs": visit.night,
            "exposure_time": visit.exposure_time,
            "seq_num": visit.seq_num,
            "target_name": visit.target[:_TEXT_LENGTH] or None,
            "observation_reason": visit.reason[:_TEXT_LENGTH] or None,
            "science_program": visit.science_program[:_TEXT_LENGTH] or None,
            "azimuth": visit.azimuth,
            "zenith_angle": visit.zenith_angle,
            "timespan": Timespan(visit.begin, visit.end),
        }
        _sync(
            registry,
            "day_obs",
            instrument=instrument,
            id=visit.night,
            timespan=Timespan.from_day_obs(visit.night, offset=12 * 3600),
        )
        _sync(registry, "group", instrument=instrument, name=visit.observation_name)
        _sync(
            registry,
            "exposure",
            **common,
            id=visit.id,
            obs_id=visit.observation_name,
            group=visit.observation_name,
            dark_time=visit.exposure_time,
            observation_type="science",
            seq_start=visit.seq_num,
            seq_end=visit.seq_num,
            tracking_ra=visit.ra,
            tracking_dec=visit.dec,
            sky_angle=visit.rotation,
            has_simulated=visit.simulated,
            can_see_sky=True,
        )
        _sync_visit(
            butler,
            **common,
            id=visit.id,
            name=visit.observation_name,
            region=_convex_hull(all_regions.values()),
        )
        _sync(
            registry,
            "visit_definition",
            instrument=instrument,
            exposure=visit.id,
            visit=visit.id,
        )
        _sync(
            registry,
            "visit_system_membership",
            instrument=instrument,
            visit=visit.id,
            visit_system=_ONE_TO_ONE["id"],
        )
        for detector, region in regions.items():
            _sync(
                registry,
                "visit_detector_region",
                instrument=instrument,
                visit=visit.id,
                detector=detector,
                region=region,
            )


def sky_region(projection: SkyProjection[Any], bbox: Box) -> ConvexPolygon:
    """Find the region of the sky that an image covers.

    Parameters
    ----------
    projection : `lsst.images.SkyProjection`
        From pixels to the sky.
    bbox : `lsst.images.Box`
        Bounding box of the image.

    Returns
    -------
    region : `lsst.sphgeom.ConvexPolygon`
        Polygon through the outer corners of the corner pixels.
    """
    x = np.array([bbox.x.start, bbox.x.stop, bbox.x.stop, bbox.x.start]) - 0.5
    y = np.array([bbox.y.start, bbox.y.start, bbox.y.stop, bbox.y.stop]) - 0.5
    corners = projection.pixel_to_sky(XY(x=x, y=y))
    return ConvexPolygon(
        [
            UnitVector3d(LonLat.fromDegrees(float(ra), float(dec)))
            for ra, dec in zip(corners.ra.deg, corners.dec.deg, strict=True)
        ]
    )


def _convex_hull(regions: Any) -> ConvexPolygon:
    return ConvexPolygon([vertex for region in regions for vertex in region.getVertices()])


def _known_regions(butler: Butler, instrument: str, visit: int) -> dict[int, ConvexPolygon]:
    records = butler.query_dimension_records(
        "visit_detector_region", instrument=instrument, visit=visit, explain=False
    )
    return {record.detector: record.region for record in records}


def _sync(registry: Any, element: str, update: bool = False, **row: Any) -> None:
    try:
        registry.syncDimensionData(element, row, update=update)
    except ConflictingDefinitionError as error:
        raise RepositoryError(f"The repository has another definition of this {element}: {error}") from error


def _sync_visit(butler: Butler, **row: Any) -> None:
    """Register a visit, or let the region of a registered one grow."""
    existing: list[DimensionRecord] = butler.query_dimension_records(
        "visit", instrument=row["instrument"], visit=row["id"], explain=False
    )
    for record in existing:
        old = record.toDict()
        differing = [key for key, value in row.items() if key != "region" and old[key] != value]
        if differing:
            changes = ", ".join(f"{key} is {old[key]}, not {row[key]}" for key in differing)
            raise RepositoryError(f"Visit {row['id']} of {row['instrument']} is registered: {changes}.")
    butler.registry.syncDimensionData("visit", row, update=True)
