# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""DIASources of the real ip_diffim, as the Butler converts them."""

from __future__ import annotations

import json
from pathlib import Path

import astropy.io.fits
import numpy as np
import pytest
from afw_double import Exposure
from astropy.table import Table

from lsst.images import Box
from lsst.meas.cosmicrays.comparison import select_sources
from lsst.meas.cosmicrays.images import make_cosmic_ray_mask
from lsst.meas.cosmicrays.processings import SOURCE_CATALOG_COLUMNS, configure
from lsst.meas.cosmicrays.tasks import CompareCosmicRaysConfig, CompareCosmicRaysTask

HERE = Path(__file__).parent


def read_source_catalog(path: Path) -> Table:
    """Read a file of afw as ``SourceCatalog.asAstropy`` gives it.

    Flags are bits of one column in the file, and columns in the table.
    """
    with astropy.io.fits.open(path) as hdus:
        header, data = hdus[1].header, hdus[1].data
        table = Table()
        for number, name in enumerate(data.names, start=1):
            if name != "flags":
                table[name] = data[name].astype(data[name].dtype.newbyteorder("="))
                table[name].unit = header.get(f"TUNIT{number}")
        flags = np.asarray(data["flags"])
        for bit in range(flags.shape[1]):
            table[header[f"TFLAG{bit + 1}"]] = flags[:, bit]
    return table


@pytest.fixture
def catalog(shared: Path) -> Table:
    return read_source_catalog(shared / "golden" / "diffim" / "dia_sources.fits")


def test_columns_of_a_source_catalog(shared: Path, catalog: Table) -> None:
    truth = np.load(shared / "golden" / "diffim" / "truth.npz")
    x0, y0, width, height = json.loads((shared / "golden" / "diffim" / "truth.json").read_text())["bbox"]
    columns = {key: value for key, value in SOURCE_CATALOG_COLUMNS.items() if key != "dipole"}
    sources, n_dropped = select_sources(
        catalog,
        (height, width),
        origin=(x0, y0),
        columns=columns,
        dipole_column=SOURCE_CATALOG_COLUMNS["dipole"],
    )
    assert (len(sources), n_dropped) == (42, 0)
    np.testing.assert_array_equal(sources["id"], truth["dia_id"])
    np.testing.assert_allclose(sources["x"], truth["dia_x"])
    np.testing.assert_allclose(sources["y"], truth["dia_y"])
    np.testing.assert_allclose(sources["ra"], np.degrees(np.asarray(catalog["coord_ra"])))
    assert sources["dipole"].dtype == bool


def test_stamps_of_a_processing(shared: Path, catalog: Table) -> None:
    """Exposures, catalogue and masks of ip_diffim, compared end to end."""
    folder = shared / "golden" / "diffim"
    truth = np.load(folder / "truth.npz")
    science, difference = (stack_exposure(folder, name) for name in ("science", "difference"))
    config = CompareCosmicRaysConfig()
    configure(config, "prompt")
    config.detections = ["perfect_difference", "empty_difference"]
    config.connections.diaSources = "dia_source_unfiltered"
    config.validate()
    task = CompareCosmicRaysTask(config=config)
    x0, y0, width, height = science.facts["bbox"]
    box = Box.factory[y0 : y0 + height, x0 : x0 + width]
    charge = truth["cr_charge"] > 0
    masks = {
        "perfect_difference": make_cosmic_ray_mask(charge, box),
        "empty_difference": make_cosmic_ray_mask(np.zeros_like(charge), box),
    }
    result = task.run(science, masks, differenceImage=difference, diaSources=catalog)
    stamps = result.stamps
    assert len(stamps) == 42
    assert not np.any(stamps["label_empty_difference"])
    around = [
        charge[max(0, y - 15) : y + 15, max(0, x - 15) : x + 15].any()
        for x, y in np.round(np.column_stack([truth["dia_x"] - x0, truth["dia_y"] - y0])).astype(int)
    ]
    assert np.sum(stamps["label_perfect_difference"]) == pytest.approx(np.sum(around), abs=1)


def stack_exposure(folder: Path, name: str) -> Exposure:
    """Read an exposure; what afw knows of it otherwise is in truth.json."""
    facts = json.loads((folder / "truth.json").read_text())
    with astropy.io.fits.open(folder / f"{name}.fits") as hdus:
        header = hdus["MASK"].header
        bits = {key[3:]: int(value) for key, value in header.items() if key.startswith("MP_")}
        mask = hdus["MASK"].data
        planes = {plane: (mask & (1 << bit)) != 0 for plane, bit in bits.items()}
        image, variance = (hdus[key].data.astype(np.float32) for key in ("IMAGE", "VARIANCE"))
    kernel = np.zeros((5, 5))
    kernel[2, 2] = 1.0
    exposure = Exposure.from_arrays(image, variance, planes, kernel, unit="electron")
    exposure.facts["bbox"] = facts["bbox"]
    return exposure
