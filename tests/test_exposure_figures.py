# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of exposures, and of stamps on a mask."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure

from lsst.images import VisitImage
from lsst.meas.cosmicrays.images import make_cosmic_ray_mask
from lsst.meas.cosmicrays.report.exposure_figures import plot_exposures, plot_stamp_places
from lsst.meas.cosmicrays.tasks import PlotExposuresTask

DETECTION = "morphological_science"


def make_stamps(corners: list[tuple[int, int]], labels: list[int], side: int = 10) -> Table:
    """Make stamps with their lower left corners and labels."""
    x, y = np.array(corners).reshape(-1, 2).T
    limits = {"x_min": x, "y_min": y, "x_max": x + side - 1, "y_max": y + side - 1}
    return Table(limits | {f"label_{DETECTION}": labels})


def title_of(figure: Figure) -> str:
    return str(figure._suptitle.get_text())


def test_exposures_are_stretched_by_their_noise() -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(500.0, 10.0, size=(300, 200))
    image[5, 5], image[0, 0] = 550.0, np.nan
    mask = np.zeros(image.shape, bool)
    mask[5, 4:7] = True
    figure = plot_exposures({"one": image, "two": 3 * image}, {"one": mask, "two": None})
    one, two, below, without = figure.axes
    shown = one.images[0].get_array()
    np.testing.assert_allclose(shown, two.images[0].get_array())
    assert shown[0, 0] == 0.0
    assert shown[5, 5] == pytest.approx(np.tanh(1.0), abs=0.05)
    assert below.get_title() == "3 CR pixels"
    np.testing.assert_array_equal(below.images[0].get_array(), mask)
    assert without.get_title() == "no cosmic-ray plane"


def test_exposures_without_noise_or_pixels() -> None:
    flat, empty = np.ones((20, 20)), np.full((20, 20), np.nan)
    figure = plot_exposures({"flat": flat, "empty": empty}, {"flat": None, "empty": flat < 0})
    # Nothing is drawn where no plane has a pixel.
    assert len(figure.axes) == 2
    assert title_of(figure) == "no plane of cosmic rays has a pixel"
    assert not np.any(figure.axes[0].images[0].get_array())
    assert not np.any(figure.axes[1].images[0].get_array())


def test_narrow_cosmic_rays_are_drawn_wider_on_large_detectors() -> None:
    mask = np.zeros((1500, 100), bool)
    mask[700, 50] = True
    figure = plot_exposures({"one": np.zeros(mask.shape)}, {"one": mask})
    assert figure.axes[1].images[0].get_array().sum() == 25


def test_pixels_in_stamps_are_counted() -> None:
    mask = np.zeros((60, 50), bool)
    mask[5, 0:20] = True
    mask[40, 40] = mask[55, 3] = True
    # Two overlap, one reaches over the edge, one is not a cosmic ray.
    stamps = make_stamps([(100, 202), (105, 202), (96, 201), (135, 235)], [1, 1, 1, 0])
    figure = plot_stamp_places(mask, stamps, DETECTION, origin=(100, 200), zoom_side=30)
    assert title_of(figure) == f"{DETECTION}: 15 of 22 CR pixels are in 3 stamps that have any"
    whole, zoomed = figure.axes
    assert len(whole.collections[0].get_paths()) == 3
    (path, *_) = whole.collections[0].get_paths()
    np.testing.assert_allclose(path.vertices.min(axis=0), [-0.5, 1.5])
    np.testing.assert_allclose(path.vertices.max(axis=0), [9.5, 11.5])
    assert (*zoomed.get_xlim(), *zoomed.get_ylim()) == (19.5, 49.5, 29.5, 59.5)


def test_detector_without_stamps() -> None:
    figure = plot_stamp_places(np.zeros((30, 30), bool), make_stamps([], []), DETECTION)
    assert title_of(figure) == f"{DETECTION}: 0 of 0 CR pixels are in 0 stamps that have any"


def test_task(make_image: Callable[..., VisitImage]) -> None:
    image = make_image()
    plane = np.zeros(image.image.array.shape, bool)
    plane[10, 10:14] = True
    with_plane = make_image(COSMIC_RAY=plane)
    mask = make_cosmic_ray_mask(plane, image.bbox)
    stamps = make_stamps([(8, 8)], [1])
    task = PlotExposuresTask()
    result = task.run(image, with_plane, with_plane, stamps, mask)
    assert [panel.get_title() for panel in result.plot.axes[:3]] == [
        "template",
        "science image",
        "difference image",
    ]
    assert result.plot.axes[4].get_title() == "4 CR pixels"
    assert title_of(result.plotPlaces).endswith("4 of 4 CR pixels are in 1 stamps that have any")
    assert not hasattr(task.run(image, with_plane, with_plane, stamps), "plotPlaces")
