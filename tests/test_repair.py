# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The drop-in for RepairTask: same masks, pixels, config and metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from afw_double import Defect, Exposure

from lsst.meas.cosmicrays.engines.psf import gaussian_kernel
from lsst.meas.cosmicrays.finders import cosmicRayFinderRegistry
from lsst.meas.cosmicrays.images import MissingPsfError, UnknownUnitError
from lsst.meas.cosmicrays.repair import CosmicRayRepairTask, TooManyCosmicRays, retarget_repair
from lsst.meas.cosmicrays.repair_config import CosmicRayRepairConfig, RepairCosmicRayConfig
from lsst.pex.config import Config, ConfigField, ConfigurableField, Field
from lsst.pipe.base import AlgorithmError, Task

HERE = Path(__file__).parent
COPIED = sorted((HERE / "data" / "morphological").glob("*.npz"))
LEGACY = [
    "calexp_adu",
    "calexp_electron",
    "calexp_offset",
    "difference_njy",
    "no_bunit",
    "template_no_detector",
    "visit_image_njy",
]
PLANES = ("BAD", "SAT", "INTRP", "NO_DATA", "CR", "DETECTED")


class Processing(Task):
    """A task with a subtask to repair exposures, as calibrateImage is."""

    class ConfigClass(Config):
        """Configuration of `Processing`."""

        psf_repair = ConfigurableField(doc="Repair.", target=Task, ConfigClass=Config)

    _DefaultName: ClassVar[str] = "processing"

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.makeSubtask("psf_repair")


def make_exposure(image: np.ndarray, variance: np.ndarray, **kwargs: Any) -> Exposure:
    planes = {name: np.zeros(image.shape, dtype=bool) for name in PLANES}
    planes |= kwargs.pop("planes", {})
    return Exposure.from_arrays(image, variance, planes, gaussian_kernel(4.7), **kwargs)


def plane(exposure: Exposure, name: str) -> np.ndarray:
    mask = exposure.getMaskedImage().mask
    return (mask.array & mask.getPlaneBitMask(name)) != 0


def pixels(exposure: Exposure) -> np.ndarray:
    return exposure.getMaskedImage().image.array


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", LEGACY)
def test_exposures_that_repair_task_repaired(shared: Path, name: str, keep: bool) -> None:
    path = shared / "golden" / "legacy" / f"{name}.fits"
    golden = np.load(path.with_suffix(".npz"))
    exposure = Exposure(path)
    interpolated = plane(exposure, "INTRP")
    task = CosmicRayRepairTask()
    task.run(exposure, keepCRs=keep)
    np.testing.assert_array_equal(plane(exposure, "CR"), golden[f"repair_mask_keep_{keep}"])
    np.testing.assert_array_equal(pixels(exposure), golden["image" if keep else "repaired_image"])
    np.testing.assert_array_equal(exposure.getMaskedImage().variance.array, golden["variance"])
    facts = exposure.facts[f"repair_keep_{keep}"]
    assert task.metadata["cosmic_ray_count"] == facts["metadata"]["cosmic_ray_count"]
    assert int((plane(exposure, "CR") & plane(exposure, "INTRP")).sum()) == facts["intrp_and_cr"]
    if keep:
        np.testing.assert_array_equal(plane(exposure, "INTRP"), interpolated)


def golden_cases() -> Iterator[Any]:
    shared = HERE.parent.parent / "shared" / "golden" / "morphological"
    yield from COPIED
    yield from (path for path in sorted(shared.glob("*.npz")) if path.name not in {p.name for p in COPIED})


@pytest.mark.parametrize("path", list(golden_cases()), ids=lambda path: path.stem)
def test_arrays_that_the_original_repaired(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = dict(np.load(path))
    shape = tuple(case["shape"])

    def unpack(key: str) -> np.ndarray:
        return np.unpackbits(case[key], count=shape[0] * shape[1]).reshape(shape).astype(bool)

    interpolated = unpack("interpolated")
    planes = {"BAD": unpack("bad") & ~interpolated, "INTRP": interpolated}
    exposure = make_exposure(case["image"], case["variance"], planes=planes)
    exposure.kernel = case["kernel"]
    config = CosmicRayRepairConfig()
    for name, value in json.loads(str(case["config"])).items():
        setattr(config.cosmicray, name, value)
    # The cases were made with backgrounds of all kinds.
    monkeypatch.setattr(
        "lsst.meas.cosmicrays.repair.median_background", lambda image, threads: float(case["background"])
    )
    task = CosmicRayRepairTask(config=config)
    error = str(case["error"])
    if error.startswith("LengthError"):
        with pytest.raises(TooManyCosmicRays):
            task.run(exposure, keepCRs=True)
        return
    task.run(exposure)
    if error:
        # The original cannot do images narrower than five pixels.
        assert not plane(exposure, "CR")[:, [0, -1]].any()
        return
    expected = case["image"].copy()
    expected[case["repaired_y"], case["repaired_x"]] = case["repaired_value"]
    np.testing.assert_array_equal(pixels(exposure), expected)
    np.testing.assert_array_equal(plane(exposure, "CR"), unpack("mask_when_removed"))
    np.testing.assert_array_equal(plane(exposure, "INTRP"), interpolated | unpack("mask_when_removed"))


def recorded_fields(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, field in fields.items():
        if "fields" in field:
            yield from ((f"{name}.{path}", default) for path, default in recorded_fields(field["fields"]))
        else:
            yield name, field["default"]


def test_config_has_every_field_of_the_original() -> None:
    recorded = json.loads((HERE / "data" / "stack" / "RepairTask.json").read_text())
    paths = dict(recorded_fields(recorded["fields"]))
    assert {"cosmicray.keepCRs", "cosmicray.background.binSize", "interp.fallbackValueType"} <= set(paths)
    config = CosmicRayRepairConfig()
    for path, default in paths.items():
        *parents, name = path.split(".")
        owner: Any = config
        for parent in parents:
            owner = getattr(owner, parent)
        value = getattr(owner, name)
        assert (list(value) if isinstance(default, list) else value) == default, path
        setattr(owner, name, default)
    config.validate()


def test_retargeting_takes_one_line(electrons: tuple[np.ndarray, np.ndarray]) -> None:
    config = Processing.ConfigClass()
    config.psf_repair.retarget(CosmicRayRepairTask)
    config.psf_repair.cosmicray.keepCRs = True
    config.psf_repair.finder.name = "astroscrappy"
    task = Processing(config=config)
    exposure = make_exposure(*electrons)
    task.psf_repair.run(exposure=exposure)
    assert plane(exposure, "CR")[40, 70:82].all()
    np.testing.assert_array_equal(pixels(exposure), electrons[0])
    assert task.psf_repair.metadata["cosmic_ray_count"] == 2
    assert {"runStartCpuTime", "runEndCpuTime"} <= set(task.psf_repair.metadata)


def test_finder_of_electrons_within_processing(electrons: tuple[np.ndarray, np.ndarray]) -> None:
    """What calibrateImage repairs comes from instrument signature removal,
    which names the unit, but not as BUNIT.
    """
    config = CosmicRayRepairConfig()
    config.finder.name = "astroscrappy"
    exposure = make_exposure(*electrons, unit=None, isr_unit="electron")
    CosmicRayRepairTask(config=config).run(exposure, keepCRs=True)
    assert plane(exposure, "CR")[40, 70:82].all()
    with pytest.raises(UnknownUnitError, match="names no unit"):
        CosmicRayRepairTask(config=config).run(make_exposure(*electrons, unit=None))


class Interpolation(Task):
    """Looks like ``lsst.pipe.tasks.interpImage.InterpImageTask``."""

    class ConfigClass(Config):
        """Configuration of `Interpolation`."""

        useFallbackValueAtEdge = Field[bool](doc="As in the original.", default=False)
        fallbackValueType = Field[str](doc="As in the original.", default="MEDIAN")
        colour = Field[str](doc="Only in the original.", default="red")


class Repair(Task):
    """Looks like ``lsst.pipe.tasks.repair.RepairTask``."""

    class ConfigClass(Config):
        """Configuration of `Repair`."""

        doInterpolate = Field[bool](doc="As in the original.", default=True)
        cosmicray = ConfigField[RepairCosmicRayConfig](doc="As in the original.")
        interp = ConfigurableField(doc="As in the original.", target=Interpolation)

        def setDefaults(self) -> None:
            self.interp.useFallbackValueAtEdge = True
            self.interp.fallbackValueType = "MEANCLIP"


def test_retargeting_keeps_what_was_set() -> None:
    config = Processing.ConfigClass()
    config.psf_repair.retarget(Repair)
    config.psf_repair.doInterpolate = False
    config.psf_repair.cosmicray.keepCRs = True
    config.psf_repair.cosmicray.background.ignoredPixelMask = ["BAD"]
    config.psf_repair.interp.fallbackValueType = "MEDIAN"
    retarget_repair(config.psf_repair)
    config.psf_repair.finder.name = "astroscrappy"
    retarget_repair(config.psf_repair)  # Once more does nothing.
    repair = config.psf_repair
    assert repair.target is CosmicRayRepairTask
    assert (repair.doInterpolate, repair.cosmicray.keepCRs) == (False, True)
    assert list(repair.cosmicray.background.ignoredPixelMask) == ["BAD"]
    assert (repair.interp.fallbackValueType, repair.interp.useFallbackValueAtEdge) == ("MEDIAN", True)
    assert repair.cosmicray.minSigma == CosmicRayRepairConfig().cosmicray.minSigma
    assert repair.finder.name == "astroscrappy"
    config.validate()


def test_retargeting_names_what_it_cannot_keep() -> None:
    config = Processing.ConfigClass()
    config.psf_repair.retarget(Repair)
    config.psf_repair.interp.colour = "blue"
    with pytest.raises(AttributeError, match="colour"):
        retarget_repair(config.psf_repair)


@pytest.mark.parametrize("finder", ["morphological", "astroscrappy", "mask_plane"])
def test_neighbors_fill_cosmic_rays(electrons: tuple[np.ndarray, np.ndarray], finder: str) -> None:
    image, variance = electrons
    config = CosmicRayRepairConfig(fill="neighbors")
    config.finder.name = finder
    if finder == "mask_plane":
        config.finder["mask_plane"].plane = "DETECTED"
    marked = np.zeros(image.shape, dtype=bool)
    marked[40, 70:82] = marked[12:15, 50] = True
    exposure = make_exposure(image, variance, planes={"DETECTED": marked})
    CosmicRayRepairTask(config=config).run(exposure)
    found = plane(exposure, "CR")
    assert found[marked].all()
    assert plane(exposure, "INTRP")[found].all()
    np.testing.assert_array_equal(pixels(exposure)[~found], image[~found])
    assert np.all(np.abs(pixels(exposure)[marked]) < 150.0)


def test_every_finder_can_be_selected() -> None:
    config = CosmicRayRepairConfig()
    for name in cosmicRayFinderRegistry:
        config.finder.name = name
        if not config.finder.target.needs_masks:
            config.validate()
        else:
            with pytest.raises(ValueError, match="works on masks of other finders"):
                config.validate()


def test_old_cosmic_rays_are_forgotten(electrons: tuple[np.ndarray, np.ndarray]) -> None:
    old = np.zeros(electrons[0].shape, dtype=bool)
    old[60:62, 5:9] = True
    exposure = make_exposure(*electrons, planes={"CR": old, "INTRP": old})
    CosmicRayRepairTask().run(exposure, keepCRs=True)
    assert not plane(exposure, "CR")[old].any()
    assert plane(exposure, "CR")[40, 70:82].all()


def test_mask_without_cosmic_rays_gets_the_plane(electrons: tuple[np.ndarray, np.ndarray]) -> None:
    exposure = make_exposure(*electrons)
    del exposure.getMaskedImage().mask.planes["CR"]
    CosmicRayRepairTask().run(exposure)
    assert plane(exposure, "CR")[40, 70:82].all()


@pytest.mark.parametrize("algorithm", ["CONSTANT", "LINEAR", "NATURAL_SPLINE", "AKIMA_SPLINE"])
def test_background_model(electrons: tuple[np.ndarray, np.ndarray], algorithm: str) -> None:
    """A slope of the sky hides no cosmic rays and stays in the image."""
    image, variance = electrons
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    slope = (20.0 * x + 10.0 * y).astype(np.float32)
    flat, sloped = make_exposure(image, variance), make_exposure(image + slope, variance)
    config = CosmicRayRepairConfig()
    config.cosmicray.background.binSize = 16
    config.cosmicray.background.algorithm = algorithm
    CosmicRayRepairTask().run(flat)
    CosmicRayRepairTask(config=config).run(sloped)
    certain = np.zeros(image.shape, dtype=bool)
    certain[40, 70:82] = certain[12:15, 50] = True
    assert plane(flat, "CR")[certain].all()
    assert plane(sloped, "CR")[certain].all()
    found = plane(sloped, "CR")
    np.testing.assert_array_equal(pixels(sloped)[~found], (image + slope)[~found])
    # Noise of 21 electrons, and steps of the coarsest model.
    tolerance = 500.0 if algorithm == "CONSTANT" else 200.0
    assert np.all(np.abs(pixels(sloped)[certain] - slope[certain]) < tolerance)


def test_background_of_one_bin_is_the_median(electrons: tuple[np.ndarray, np.ndarray]) -> None:
    config = CosmicRayRepairConfig()
    one, other = make_exposure(*electrons), make_exposure(*electrons)
    ny, nx = electrons[0].shape
    config.cosmicray.background.binSize = int(np.ceil(np.sqrt(nx * ny)))
    CosmicRayRepairTask(config=config).run(one)
    CosmicRayRepairTask().run(other)
    np.testing.assert_array_equal(pixels(one), pixels(other))


def test_too_many(electrons: tuple[np.ndarray, np.ndarray]) -> None:
    for finder in ("morphological", "astroscrappy"):
        config = CosmicRayRepairConfig()
        config.finder.name = finder
        config.cosmicray.nCrPixelMax = 3
        exposure = make_exposure(*electrons)
        with pytest.raises(TooManyCosmicRays, match="more than 3 pixels") as caught:
            CosmicRayRepairTask(config=config).run(exposure)
        assert isinstance(caught.value, AlgorithmError)
        assert caught.value.metadata == {"maxCosmicRays": 3}
        np.testing.assert_array_equal(pixels(exposure), electrons[0])


@pytest.mark.parametrize(
    ("settings", "level"),
    [
        ({}, None),
        ({"fallbackValueType": "USER", "fallbackUserValue": -7.0}, -7.0),
        (
            {"fallbackValueType": "USER", "fallbackUserValue": 7.0, "negativeFallbackAllowed": False},
            7.0,
        ),
        ({"useFallbackValueAtEdge": False}, 0.0),
    ],
)
def test_defects(electrons: tuple[np.ndarray, np.ndarray], settings: dict[str, Any], level: float) -> None:
    image, variance = electrons
    saturated = np.zeros(image.shape, dtype=bool)
    saturated[:10, :10] = True
    exposure = make_exposure(image, variance, planes={"SAT": saturated})
    config = CosmicRayRepairConfig(doCosmicRay=False)
    for name, value in settings.items():
        setattr(config.interp, name, value)
    task = CosmicRayRepairTask(config=config)
    task.run(exposure, defects=[Defect(40, 70, 3, 100), Defect(-5, -5, 8, 8), Defect(500, 0, 5, 5)])
    defective = np.zeros(image.shape, dtype=bool)
    defective[70:, 40:43] = defective[:3, :3] = True
    np.testing.assert_array_equal(plane(exposure, "INTRP"), defective)
    np.testing.assert_array_equal(pixels(exposure)[~defective], image[~defective])
    rim = image[69:, 39:44]
    assert np.all((pixels(exposure)[70:, 40:43] >= rim.min()) & (pixels(exposure)[70:, 40:43] <= rim.max()))
    # Nothing good surrounds the corner.
    expected = float(np.mean(image[image < 300.0])) if level is None else level
    np.testing.assert_allclose(pixels(exposure)[:3, :3], expected, atol=0.0 if level is not None else 40.0)


def test_defects_stay_without_interpolation(electrons: tuple[np.ndarray, np.ndarray]) -> None:
    exposure = make_exposure(*electrons)
    config = CosmicRayRepairConfig(doInterpolate=False, doCosmicRay=False)
    CosmicRayRepairTask(config=config).run(exposure, defects=[Defect(10, 10, 5, 5)])
    np.testing.assert_array_equal(pixels(exposure), electrons[0])


def change(path: str, value: Any) -> Callable[[CosmicRayRepairConfig], None]:
    def apply(config: CosmicRayRepairConfig) -> None:
        *parents, name = path.split(".")
        owner: Any = config
        for parent in parents:
            owner = owner["morphological"] if parent == "morphological" else getattr(owner, parent)
        setattr(owner, name, value)

    return apply


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (change("finder.morphological.minSigma", 5.0), r"set cosmicray\.minSigma"),
        (change("finder.morphological.nCrPixelMax", 5), r"set cosmicray\.nCrPixelMax"),
        (change("finder.name", "consensus"), "works on masks of other finders"),
        (change("cosmicray.background.useApprox", True), "useApprox"),
        (change("cosmicray.background.doFilterSuperPixels", True), "doFilterSuperPixels"),
        (change("cosmicray.nCrPixelMax", -1), "nCrPixelMax"),
    ],
)
def test_config_refuses(apply: Callable[[CosmicRayRepairConfig], None], message: str) -> None:
    config = CosmicRayRepairConfig()

    def set_and_validate() -> None:
        apply(config)
        config.validate()

    with pytest.raises(ValueError, match=message):
        set_and_validate()


def test_sky_is_of_the_original_only() -> None:
    config = CosmicRayRepairConfig(fill="sky")
    config.validate()
    config.finder.name = "astroscrappy"
    with pytest.raises(ValueError, match="fill 'sky' goes only with"):
        config.validate()
    config.fill = None
    assert not config.fills_with_sky()
    config.interp.fallbackValueType = "USER"
    config.interp.fallbackUserValue = -1.0
    config.interp.negativeFallbackAllowed = False
    with pytest.raises(ValueError, match="negativeFallbackAllowed is off"):
        config.validate()


def test_needs_a_psf(electrons: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    exposure = make_exposure(*electrons)
    monkeypatch.setattr(exposure, "getPsf", lambda: None)
    with pytest.raises(MissingPsfError, match="set psfFwhm"):
        CosmicRayRepairTask().run(exposure)
