# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of several masks beside one, in a repository."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lsst.daf.butler import Butler
from lsst.images import Box, VisitImage
from lsst.meas.cosmicrays.images import make_cosmic_ray_mask
from lsst.meas.cosmicrays.repository import register_dataset_type
from lsst.meas.cosmicrays.tasks import PlotMasksConfig, PlotMasksTask
from lsst.pipe.base import NoWorkFound, PipelineGraph
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

BOX = Box.from_shape((80, 96))
FIRST = "morphological_science"
OTHERS = ["astroscrappy_science", "astroscrappy_science_knee", "cosmic_conn_science"]


def make_config() -> PlotMasksConfig:
    config = PlotMasksConfig()
    config.connections.second, *config.others = OTHERS
    return config


def mask_of(n_columns: int) -> object:
    pixels = np.zeros((80, 96), bool)
    pixels[20, :n_columns] = True
    return make_cosmic_ray_mask(pixels, BOX)


def test_others_are_drawn_where_they_are(test_butler: Butler) -> None:
    """A finder that failed on a detector has no figure there."""
    for number, name in enumerate([FIRST, *OTHERS]):
        register_dataset_type(test_butler, f"cr_mask_{name}", "MaskV2")
        for detector in (0, 1):
            if (name, detector) != (OTHERS[1], 1):
                data_id = {"instrument": "TestCam", "visit": 42, "detector": detector}
                test_butler.put(mask_of(5 + number), f"cr_mask_{name}", data_id, run="TestCam/ingested")
    graph = PipelineGraph()
    graph.add_task("plotMasks", PlotMasksTask, make_config())
    butler = SimplePipelineExecutor.prep_butler(
        test_butler._config, inputs=["TestCam/defaults"], output="u/masks"
    )
    SimplePipelineExecutor.from_pipeline_graph(graph, butler=butler).run(register_dataset_types=True)
    drawn = {
        name: [
            ref.dataId["detector"]
            for ref in sorted(butler.query_datasets(f"cr_plot_masks_{FIRST}_{name}", collections="u/masks"))
        ]
        for name in OTHERS
    }
    assert drawn == {OTHERS[0]: [0, 1], OTHERS[1]: [0], OTHERS[2]: [0, 1]}


def test_each_figure_has_its_own_masks(make_image: Callable[..., VisitImage]) -> None:
    task = PlotMasksTask(config=make_config())
    masks = {f"mask_{name}": mask_of(7 + number) for number, name in enumerate(OTHERS[1:])}
    result = task.run(make_image(), mask_of(5), **masks)
    assert not hasattr(result, "plot")
    for number, name in enumerate(OTHERS[1:]):
        legend = [text.get_text() for text in getattr(result, f"plot_{name}").legends[0].get_texts()]
        assert legend == ["both: 5 pixels", f"only {FIRST}: 0", f"only {name}: {2 + number}"]
    with pytest.raises(NoWorkFound, match=f"drawn with that of {FIRST} is missing"):
        task.run(make_image(), mask_of(5))


def test_detections_must_differ() -> None:
    config = make_config()
    config.others = [FIRST]
    with pytest.raises(ValueError, match="must differ, but are morphological_science, astroscrappy_science"):
        config.validate()
