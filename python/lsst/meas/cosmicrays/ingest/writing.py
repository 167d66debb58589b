# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Putting prepared images into a Butler repository."""

from __future__ import annotations

__all__ = ("DATASET_TYPES", "SUMMARY", "IngestWriter", "template_image")

from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from lsst.daf.butler import DatasetRef
from lsst.images import Image, VisitImage

from ..images import make_cosmic_ray_mask
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
from ..visit_images import make_mask, make_visit_image
from .descriptions import FrameDescription, Pointing, describe_frame
from .errors import IngestError
from .identity import Identity, KnownImages
from .preparation import PreparedFrame
from .psf import measure_psf
from .templates import Template

SUMMARY = "cr_ingest_summary"
"""Dataset type of the table that says where an image came from."""

DATASET_TYPES = {
    "visit_image": "VisitImage",
    "template_detector": "VisitImage",
    "cr_truth": "MaskV2",
    SUMMARY: "ArrowAstropy",
}
"""Storage class of each dataset type that ingestion writes."""


class IngestWriter:
    """Puts images of one instrument into a repository.

    Parameters
    ----------
    root
        Directory of the repository; made if it is not there.
    instrument
        Butler name of the instrument.

    Raises
    ------
    RepositoryError
        Raised if the directory is something else, or cannot be written.
    """

    def __init__(self, root: Path, instrument: str) -> None:
        self.root = root
        self.butler = make_repository(root, exist_ok=True)
        self.instrument = instrument
        with explain_storage_errors(root):
            self.run = prepare_run(self.butler, instrument, "ingested")
            for name, storage_class in DATASET_TYPES.items():
                register_dataset_type(self.butler, name, storage_class)
        self.known = self._read_known()
        """What the repository has of this instrument (`KnownImages`)."""

    def find(self, file: str, extension: str) -> DatasetRef:
        """Find an image that was ingested.

        Parameters
        ----------
        file
            Name of its file.
        extension
            Its extension.

        Returns
        -------
        ref : `lsst.daf.butler.DatasetRef`
            The visit image.

        Raises
        ------
        LookupError
            Raised if it was not ingested.
        """
        for (visit, detector), source in self.known.sources.items():
            if source == (file, extension):
                data_id = {"instrument": self.instrument, "visit": visit, "detector": detector}
                ref = self.butler.find_dataset("visit_image", data_id, collections=self.run)
                if ref is not None:
                    return ref
        raise LookupError(f"{file}[{extension}] was not ingested")

    def _read_known(self) -> KnownImages:
        known = KnownImages()
        if not self._is_registered():
            return known
        query = self.butler.query_dimension_records
        known.visits = {
            record.id: record.name for record in query("visit", instrument=self.instrument, explain=False)
        }
        known.detectors = {
            record.id: record.full_name
            for record in query("detector", instrument=self.instrument, explain=False)
        }
        for ref in self.butler.query_datasets(SUMMARY, collections=self.run, explain=False):
            row = self.butler.get(ref)[0]
            known.sources[int(row["visit"]), int(row["detector"])] = (str(row["file"]), str(row["extension"]))
        return known

    def put(self, frame: PreparedFrame, identity: Identity, template: Template | None) -> DatasetRef:
        """Put an image with all that belongs to it, or nothing.

        Parameters
        ----------
        frame
            The image.
        identity
            Its visit and detector.
        template
            Its template, if there is one.

        Returns
        -------
        ref : `lsst.daf.butler.DatasetRef`
            The visit image.

        Raises
        ------
        IngestError
            Raised if the image makes no sense or contradicts what the
            repository has, or if it cannot be written.
        """
        source = frame.source
        try:
            with explain_storage_errors(self.root):
                return self._put_whole(frame, identity, template)
        except (RepositoryError, ValueError) as error:
            raise IngestError(str(error), path=source.path, extension=source.extension) from error

    def _put_whole(self, frame: PreparedFrame, identity: Identity, template: Template | None) -> DatasetRef:
        pointing = self._registered_pointing(identity.visit)
        description = describe_frame(frame, identity, self.instrument, pointing)
        visit_image = _make_visit_image(frame, description)
        region = sky_region(visit_image.sky_projection, visit_image.bbox)
        datasets: dict[str, Any] = {"visit_image": visit_image}
        if frame.source.truth is not None:
            datasets["cr_truth"] = make_cosmic_ray_mask(frame.source.truth, visit_image.bbox)
        if template is not None:
            datasets["template_detector"] = template_image(template, visit_image)
        datasets[SUMMARY] = _summarize(frame, identity)
        data_id = self._data_id(identity)
        self._remove(data_id)
        with self.butler.transaction():
            register_instrument_records(self.butler.registry, description.instrument)
            register_visit(self.butler, self.instrument, description.visit, {identity.detector: region})
            refs = [self.butler.put(data, name, data_id, run=self.run) for name, data in datasets.items()]
        return refs[0]

    def put_template(self, template: Template, visit_image: VisitImage, ref: DatasetRef) -> None:
        """Put the template of an image that the repository has already.

        Parameters
        ----------
        template
            The template.
        visit_image
            The image.
        ref
            The image in the repository.

        Raises
        ------
        RepositoryError
            Raised if it cannot be written.
        """
        image = template_image(template, visit_image)
        with explain_storage_errors(self.root):
            self.butler.put(image, "template_detector", ref.dataId, run=self.run)

    def has_template(self, ref: DatasetRef) -> bool:
        """Say whether an image has a template.

        Parameters
        ----------
        ref
            The image.

        Returns
        -------
        present : `bool`
            Whether it has one.
        """
        found = self.butler.find_dataset("template_detector", ref.dataId, collections=self.run)
        return found is not None

    def _data_id(self, identity: Identity) -> dict[str, Any]:
        return {"instrument": self.instrument, "visit": identity.visit, "detector": identity.detector}

    def _is_registered(self) -> bool:
        records = self.butler.query_dimension_records("instrument", explain=False)
        return any(record.name == self.instrument for record in records)

    def _registered_pointing(self, visit: int) -> Pointing | None:
        if not self._is_registered():
            return None
        records = self.butler.query_dimension_records(
            "exposure", instrument=self.instrument, exposure=visit, explain=False
        )
        if not records:
            return None
        return Pointing(records[0].tracking_ra, records[0].tracking_dec, records[0].sky_angle)

    def _remove(self, data_id: dict[str, Any]) -> None:
        """Remove what an ingestion that was killed left of an image."""
        if not self._is_registered():
            return
        left = [
            ref
            for name in DATASET_TYPES
            for ref in self.butler.query_datasets(
                name, collections=self.run, data_id=data_id, find_first=False, explain=False
            )
        ]
        self.butler.pruneDatasets(left, unstore=True, purge=True, disassociate=True)


def template_image(template: Template, visit_image: VisitImage) -> VisitImage:
    """Give a template its PSF and the geometry of its image.

    Parameters
    ----------
    template
        The template.
    visit_image
        The image on whose pixels it is.

    Returns
    -------
    image : `lsst.images.VisitImage`
        The template as a visit image.
    """
    bbox, unit = visit_image.bbox, visit_image.unit
    psf = measure_psf(template.image, template.variance, template.bad, name="template")
    return VisitImage(
        Image(template.image, bbox=bbox, unit=unit),
        mask=make_mask(template.planes, bbox),
        variance=Image(template.variance, bbox=bbox, unit=unit**2),
        sky_projection=visit_image.sky_projection,
        obs_info=visit_image.obs_info,
        psf=psf.psf,
        detector=visit_image.detector,
        band=visit_image.band,
        metadata={"TEMPLATE_EXPOSURES": template.n_exposures},
    )


def _make_visit_image(frame: PreparedFrame, description: FrameDescription) -> VisitImage:
    science = frame.science
    visit_image = make_visit_image(
        science.image,
        science.variance,
        science.planes,
        instrument=description.instrument,
        visit=description.visit,
        detector=description.detector,
        wcs=description.wcs,
        psf=frame.psf.psf,
        unit=science.unit,
        metadata={"INGEST_FILE": frame.source.path.name, "INGEST_EXTENSION": frame.source.extension},
    )
    if science.background is not None:
        visit_image.backgrounds.add(
            "sky",
            science.background,
            "Sky of the image when it was ingested.",
            is_subtracted=science.subtracted,
        )
    return visit_image


def _summarize(frame: PreparedFrame, identity: Identity) -> Table:
    """Say in a table of one row where an image came from."""
    source, science, psf = frame.source, frame.science, frame.psf
    row = {
        "visit": identity.visit,
        "detector": identity.detector,
        "file": source.path.name,
        "extension": source.extension,
        "preset": source.quantities.preset.name,
        "gain": science.gain,
        "read_noise": science.read_noise,
        "saturation": science.saturation,
        "sky": science.sky,
        "sky_subtracted": science.subtracted,
        "psf": psf.kind,
        "psf_fwhm": psf.fwhm,
        "psf_stars": psf.n_stars,
        "truth_pixels": -1 if source.truth is None else int(np.count_nonzero(source.truth)),
    }
    return Table(rows=[tuple(row.values())], names=tuple(row))
