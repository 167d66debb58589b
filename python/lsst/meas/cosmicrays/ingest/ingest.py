# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bringing FITS files into a Butler repository."""

from __future__ import annotations

__all__ = ("IngestOptions", "IngestReport", "NoInstrumentError", "ingest")

import dataclasses
import functools
import multiprocessing
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lsst.daf.butler import DatasetRef

from ..cameras import generic_class_name
from ..documentation import DocumentedError
from .errors import IngestError, IngestWarning
from .files import collect_files
from .identity import Identity
from .preparation import PreparedFile, PreparedFrame, prepare_file
from .preset import Preset
from .series import add_median_templates
from .template_files import TemplateFiles
from .templates import Template
from .writing import IngestWriter


class NoInstrumentError(DocumentedError, ValueError):
    """Raised when it is not said which camera took the images."""


@dataclasses.dataclass(frozen=True)
class IngestOptions:
    """What is asked for besides a preset.

    Parameters
    ----------
    template
        FITS file of the template of all images, on their pixels.
    median_template
        Number of other exposures whose median is the template.
    bad_pixels
        FITS image that is not zero at bad pixels.
    processes
        Number of processes that prepare files.
    """

    template: Path | None = None
    median_template: int | None = None
    bad_pixels: Path | None = None
    processes: int = 1


@dataclasses.dataclass
class IngestReport:
    """What became of the files.

    Parameters
    ----------
    written
        Visit images that are new in the repository.
    present
        Visit images that it had already.
    errors
        What is wrong with the others.
    notes
        What was assumed.
    """

    written: list[DatasetRef] = dataclasses.field(default_factory=list)
    present: list[DatasetRef] = dataclasses.field(default_factory=list)
    errors: list[IngestError] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def ingest(
    repo: Path,
    paths: Sequence[Path],
    preset: Preset,
    options: IngestOptions | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> IngestReport:
    """Bring FITS files into a Butler repository.

    The images become ``visit_image``, true cosmic rays ``cr_truth`` and
    templates ``template_detector`` in the run ``{instrument}/ingested``,
    which is chained into ``{instrument}/defaults``.  A file that is not good
    does not keep the others from being ingested; images that the repository
    has already are left as they are.

    Parameters
    ----------
    repo
        Directory of the repository; made if it is not there.
    paths
        Files and directories.
    preset
        What the files look like, with the name of the instrument.
    options
        What else is asked for.
    report
        Called with a line for each image.

    Returns
    -------
    result : `IngestReport`
        What became of the files.

    Raises
    ------
    ValueError
        Raised if the preset names no instrument or an impossible one.
    RepositoryError
        Raised if the directory holds something else than a repository, or
        one of other definitions.
    """
    if preset.instrument is None:
        raise NoInstrumentError(f"preset {preset.name} names no instrument: give --instrument NAME")
    generic_class_name(preset.instrument)
    options = IngestOptions() if options is None else options
    files, errors = collect_files(paths, preset)
    ingestion = _Ingestion(repo, files, preset, options, report)
    ingestion.result.errors += errors
    for prepared in _prepare(files, preset, options, ingestion.done()):
        ingestion.add(prepared)
    ingestion.finish()
    return ingestion.result


class _Ingestion:
    """One call of `ingest`; makes the repository when it is needed."""

    def __init__(
        self,
        repo: Path,
        files: list[Path],
        preset: Preset,
        options: IngestOptions,
        report: Callable[[str], None],
    ) -> None:
        self.result = IngestReport()
        self._repo = repo
        self._files = files
        self._instrument = preset.instrument or ""
        self._options = options
        self._report = report
        self._templates = None if options.median_template else TemplateFiles(preset, options.template)
        self._writer = self._open() if (repo / "butler.yaml").exists() else None

    def _open(self) -> IngestWriter:
        writer = IngestWriter(self._repo, self._instrument)
        writer.known.announce(self._files)
        return writer

    def done(self) -> frozenset[tuple[str, str]]:
        """Return file and extension of what the repository has."""
        return frozenset(self._writer.known.sources.values()) if self._writer is not None else frozenset()

    def add(self, prepared: PreparedFile) -> None:
        """Put what came out of a file."""
        self.result.errors += prepared.errors
        self.result.notes += prepared.notes
        if self._writer is None and prepared.frames:
            self._writer = self._open()
        for extension in prepared.present:
            self._add_present(prepared.path, extension)
        for frame in prepared.frames:
            try:
                self._add_frame(frame)
            except IngestError as error:
                self.result.errors.append(error)

    def _add_present(self, path: Path, extension: str) -> None:
        assert self._writer is not None, "There is a repository if something is in it."
        ref = self._writer.find(path.name, extension)
        self.result.present.append(ref)
        self._report(
            f"{path.name}[{extension}]: already there as visit {ref.dataId['visit']}, "
            f"detector {ref.dataId['detector']}"
        )

    def _add_frame(self, frame: PreparedFrame) -> None:
        assert self._writer is not None, "The repository was made for the first image."
        identity = self._writer.known.identify(frame.source)
        with self._notes():
            template = self._templates.find(frame) if self._templates is not None else None
            try:
                self.result.written.append(self._writer.put(frame, identity, template))
            except IngestError:
                self._writer.known.forget(identity)
                raise
        place = f"{frame.source.path.name}[{frame.source.extension}]"
        self._report(f"{place}: {_name(identity)}; {_describe(frame, template)}")

    def finish(self) -> None:
        """Make templates that need all exposures."""
        if self._templates is not None:
            self.result.errors += self._templates.errors
        elif self._writer is not None and self._options.median_template is not None:
            refs = self.result.present + self.result.written
            with self._notes():
                self.result.errors += add_median_templates(
                    self._writer, refs, self._options.median_template, self._report
                )

    @contextmanager
    def _notes(self) -> Iterator[None]:
        """Keep what is assumed as notes."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", IngestWarning)
            yield
        self.result.notes += [
            str(warning.message) for warning in caught if issubclass(warning.category, IngestWarning)
        ]


def _prepare(
    files: list[Path], preset: Preset, options: IngestOptions, done: frozenset[tuple[str, str]]
) -> Iterator[PreparedFile]:
    """Prepare files one after the other or side by side, in order."""
    prepare = functools.partial(prepare_file, preset=preset, bad_pixel_file=options.bad_pixels, done=done)
    if options.processes == 1 or len(files) < 2:
        yield from map(prepare, files)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=context) as pool:
        yield from pool.map(prepare, files)


def _name(identity: Identity) -> str:
    return f"visit {identity.visit}, detector {identity.detector} ({identity.detector_name})"


def _describe(frame: PreparedFrame, template: Template | None) -> str:
    """Say in a few words what an image is."""
    height, width = frame.science.image.shape
    psf = frame.psf
    words = [
        f"{width}x{height} pixels",
        f"sky {frame.science.sky:.0f} {frame.science.unit}",
        f"PSF {psf.kind} of {psf.fwhm:.2f} pixels from {psf.n_stars} stars",
    ]
    if frame.source.truth is not None:
        words.append(f"truth of {frame.source.truth.sum()} pixels")
    if template is not None:
        words.append("template")
    return ", ".join(words)
