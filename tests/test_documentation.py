# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Help and errors name the page that says more."""

from __future__ import annotations

import ast
import builtins
import importlib
import pickle
import pkgutil
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from astropy.table import Table
from click.testing import CliRunner

import lsst.meas.cosmicrays
from lsst.daf.butler import Butler, DataCoordinate, DimensionUniverse
from lsst.meas.cosmicrays import documentation
from lsst.meas.cosmicrays.cli.main import COMMANDS, main
from lsst.meas.cosmicrays.documentation import DocumentedError, documented, page_of, see
from lsst.meas.cosmicrays.finders import (
    AstroScrappyFinderConfig,
    LearnedRuleConfig,
    MorphologicalFinderConfig,
    find_cosmic_rays,
)
from lsst.meas.cosmicrays.ingest import IngestError
from lsst.meas.cosmicrays.product import product_dir
from lsst.meas.cosmicrays.repair_config import CosmicRayRepairConfig
from lsst.meas.cosmicrays.tasks import (
    CombineCosmicRaysConfig,
    CompareCosmicRaysConfig,
    FindCosmicRaysConfig,
    FindTrailsConfig,
    MakeMetricBundleTask,
    MetricsNotAvailableError,
    PlotDisagreementsConfig,
    TuneConsensusConfig,
    TuneFinderConfig,
)
from lsst.pex.config import Config, FieldValidationError
from lsst.pipe.base import NoWorkFound, Pipeline, PipelineTask

PACKAGE = lsst.meas.cosmicrays.__name__
LSST_FREE = ("engines", "comparison")
"""Folders whose errors are plain, since they import nothing of the rest.
Where they leave a task, a command or `find_cosmic_rays` they get a page.
"""

PLAIN = {
    "cameras": "what Python expects of a module that lacks an attribute",
    "documentation": "",
    "finders.base": "a finder that lacks a method: for whoever writes one",
    "images": "what a program makes a WorkingImage of; and what read_image itself catches",
    "ingest.headers": "caught, and made an IngestError that names file and keyword",
    "ingest.preset": "pydantic makes its ValidationError of them; read_preset names the page",
    "ingest.psf": "caught: another PSF is tried",
    "ingest.reading": "caught: the WCS counts as none",
    "ingest.writing": "a question about files that were not ingested, for the package itself",
    "instruments": "numbers with which a program describes a camera",
    "product": "the documentation itself is missing",
    "report.gallery_stamp": "arrays of a program; the task that calls it names its page",
    "report.probability_figures": "asked for only where there is a curve",
    "report.stamp_gallery": "a number of columns of a program; the task that calls it names its page",
    "repository": "records that a program registers",
    "training.augmentation": "arrays of a program; the task that calls it names its page",
    "training.evaluation": "the task that calls it names its page",
    "training.loop": "the task that calls it names its page",
    "visit_images": "arrays that a program makes an image of",
}
"""Modules that raise plain errors of Python, and why no page is lost."""

WRAPPED = ("validate", "run", "runQuantum")
"""Methods whose errors get a page on their way."""


def modules() -> Iterator[str]:
    for module in pkgutil.walk_packages(lsst.meas.cosmicrays.__path__, f"{PACKAGE}."):
        if ".cli." not in module.name:
            yield module.name


def errors() -> Iterator[type[Exception]]:
    """Find every error that this package defines."""
    for name in modules():
        for value in vars(importlib.import_module(name)).values():
            if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == name:
                if not issubclass(value, Warning) and value is not DocumentedError:
                    yield value


def place(text: str) -> Path:
    """Return the page that a text names in its last line."""
    last = text.rstrip().splitlines()[-1].strip()
    assert last.startswith("See ")
    return Path(last.removeprefix("See "))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"], terminal_width=20)
    assert result.exit_code == 0
    assert place(result.output).is_file()
    assert f"cli.{command.replace('-', '_')}" in documentation._PAGES or command in ("demo", "product-dir")


def test_help_of_all() -> None:
    assert place(CliRunner().invoke(main, ["--help"]).output).name == "getting-started.rst"


def test_every_error_has_its_page() -> None:
    found = list(errors())
    assert {IngestError, MetricsNotAvailableError} < set(found)
    for error in found:
        assert place(see(page_of(error.__module__))).is_file(), error
        plain = error.__module__.removeprefix(f"{PACKAGE}.").startswith(LSST_FREE)
        assert issubclass(error, DocumentedError) != plain, error


def plain_raises(path: Path) -> Iterator[str]:
    """Find errors of Python itself that are raised outside of `WRAPPED`."""

    def walk(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef) and child.name in WRAPPED:
                continue
            if isinstance(child, ast.Raise) and child.exc is not None:
                raised = child.exc.func if isinstance(child.exc, ast.Call) else child.exc
                name = ast.unparse(raised)
                if isinstance(getattr(builtins, name, None), type):
                    yield name
            yield from walk(child)

    return walk(ast.parse(path.read_text()))


def test_plain_errors_are_on_a_list_with_a_reason() -> None:
    """Whoever raises another one names its page, or says here who does."""
    root = Path(lsst.meas.cosmicrays.__path__[0])
    raising = set()
    for path in root.rglob("*.py"):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        # Those of tasks leave through their methods, as tested below.
        if not name.startswith((*LSST_FREE, "tasks")) and list(plain_raises(path)):
            raising.add(name)
    assert raising <= set(PLAIN), "use a DocumentedError"
    assert {name for name, reason in PLAIN.items() if reason} <= raising, "no longer raised"


def test_plain_raises_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "def check():\n    raise ValueError(1)\n"
        "def again():\n    try:\n        pass\n    except OSError as e:\n        raise OSError from e\n"
        "class Task:\n    def validate(self):\n        raise TypeError\n"
        "def other():\n    raise IngestError('x')\n"
    )
    assert list(plain_raises(path)) == ["ValueError", "OSError"]


def tasks() -> Iterator[type[PipelineTask]]:
    for value in vars(lsst.meas.cosmicrays.tasks).values():
        if isinstance(value, type) and issubclass(value, PipelineTask):
            yield value


def test_every_task_has_its_page() -> None:
    """Whatever goes wrong in a task or its configuration."""
    found = list(tasks())
    assert len(found) > 30
    for task in found:
        with pytest.raises((AttributeError, TypeError)) as caught:
            task.run(object())
        assert place(caught.value.__notes__[-1]).is_file(), task
        with pytest.raises((AttributeError, TypeError)) as caught:
            task.ConfigClass.validate(object())  # type: ignore[arg-type]
        assert place(caught.value.__notes__[-1]).stem == f"{PACKAGE}.tasks.{task.__name__}"


@pytest.mark.parametrize(
    ("config_class", "values", "page"),
    [
        (CombineCosmicRaysConfig, {"detections": []}, "tasks.CombineCosmicRaysTask"),
        (CompareCosmicRaysConfig, {"detections": ["a", "a"]}, "tasks.CompareCosmicRaysTask"),
        (FindCosmicRaysConfig, {"finders.names": []}, "tasks.FindCosmicRaysTask"),
        (FindCosmicRaysConfig, {"reading.gain": -1.0}, "tasks.FindCosmicRaysTask"),
        (FindTrailsConfig, {"detections": []}, "tasks.FindTrailsTask"),
        (PlotDisagreementsConfig, {"detections": ["a", "a"]}, "tasks.PlotDisagreementsTask"),
        (TuneConsensusConfig, {"detections": []}, "tasks.TuneConsensusTask"),
        (TuneFinderConfig, {"finder.name": "consensus"}, "tasks.TuneFinderTask"),
        (CosmicRayRepairConfig, {"finder.name": "consensus"}, "repair.CosmicRayRepairTask"),
    ],
)
def test_errors_of_configurations(config_class: type[Config], values: dict[str, Any], page: str) -> None:
    config = config_class()
    for name, value in values.items():
        holder: Any = config
        *path, field = name.split(".")
        for part in path:
            holder = getattr(holder, part)
        setattr(holder, field, value)
    with pytest.raises(ValueError, match=r"\w") as caught:
        config.validate()
    assert [place(note).stem for note in caught.value.__notes__] == [f"{PACKAGE}.{page}"]


@pytest.mark.parametrize(
    ("config_class", "field", "value", "page"),
    [
        (FindCosmicRaysConfig, "imageStorageClass", 7, f"{PACKAGE}.tasks.FindCosmicRaysTask"),
        (FindCosmicRaysConfig, "doWriteProbabilities", True, f"{PACKAGE}.tasks.FindCosmicRaysTask"),
        (FindCosmicRaysConfig, "reading.psfFwhm", "wide", "running-on-hsc-and-lsstcam"),
        (CompareCosmicRaysConfig, "truth", "nothing", f"{PACKAGE}.tasks.CompareCosmicRaysTask"),
        (CompareCosmicRaysConfig, "diaSourceColumns.ra", 1.0, "running-on-hsc-and-lsstcam"),
        (MorphologicalFinderConfig, "minSigma", "high", "finders"),
        (AstroScrappyFinderConfig, "sigclop", 4.0, "finders"),
        (LearnedRuleConfig, "modelFile", 3, "consensus"),
        (CosmicRayRepairConfig, "cosmicray.keepCR", True, f"{PACKAGE}.repair.CosmicRayRepairTask"),
    ],
)
def test_errors_of_fields(config_class: type[Config], field: str, value: Any, page: str) -> None:
    """As soon as a field is set."""
    holder: Any = config_class()
    *path, name = field.split(".")
    for part in path:
        holder = getattr(holder, part)
    with pytest.raises((AttributeError, FieldValidationError), match=name) as caught:
        setattr(holder, name, value)
    assert [place(note).stem for note in caught.value.__notes__] == [page]


def test_every_configuration_has_its_page() -> None:
    """Those of tasks, and all that are parts of them."""
    found = set()
    for name in modules():
        for value in vars(importlib.import_module(name)).values():
            if isinstance(value, type) and issubclass(value, Config) and value.__module__ == name:
                found.add(value)
    assert len(found) > 40
    for config_class in found:
        with pytest.raises(AttributeError, match="noSuchField") as caught:
            config_class().noSuchField = 1
        assert place(caught.value.__notes__[-1]).is_file(), config_class


def test_history_begins_where_a_field_was_set() -> None:
    config = FindCosmicRaysConfig()
    config.imageStorageClass = "ExposureF"
    stack = config.history["imageStorageClass"][-1][1]
    assert stack[-1].filename.endswith("test_documentation.py")
    assert stack[-1].function == "test_history_begins_where_a_field_was_set"


def test_pages_of_errors_that_pass_through_a_task() -> None:
    """A plain error of an engine has the page of engines."""

    @documented("bad-input", but=(NoWorkFound,))
    def run(error: Exception | None) -> None:
        if error is not None:
            raise error
        importlib.import_module(f"{PACKAGE}.engines.psf").gaussian_kernel(-1.0)

    with pytest.raises(ValueError, match="fwhm") as caught:
        run(None)
    assert caught.value.__notes__ == [see("finders")]
    with pytest.raises(ZeroDivisionError) as other:
        run(ZeroDivisionError())
    assert other.value.__notes__ == [see("bad-input")]
    with pytest.raises(NoWorkFound) as nothing:
        run(NoWorkFound())
    assert not hasattr(nothing.value, "__notes__")
    with pytest.raises(IngestError) as own:
        run(IngestError("is damaged"))
    assert own.value.__notes__ == [see("ingesting")]


def test_page_of_find_cosmic_rays() -> None:
    with pytest.raises(LookupError, match="No finder 'none'") as unknown:
        find_cosmic_rays(None, "none")
    assert unknown.value.__notes__ == [see("finders")]
    with pytest.raises(TypeError, match="Cannot read an image from a NoneType") as nothing:
        find_cosmic_rays(None, "morphological")
    assert nothing.value.__notes__ == [see("bad-input")]


def test_page_of_what_a_task_needs_and_does_not_get() -> None:
    """A quantum graph is not made without its prerequisites."""
    config = FindCosmicRaysConfig()
    config.useCosmicConnModel = True
    connections = config.connections.ConnectionsClass(config=config)
    place = DataCoordinate.standardize(instrument="HSC", universe=DimensionUniverse())
    with pytest.raises(FileNotFoundError, match="cosmicConnModel") as caught:
        connections.adjustQuantum({"cosmicConnModel": (connections.cosmicConnModel, [])}, {}, "find", place)
    assert caught.value.__notes__ == [see(f"tasks/{PACKAGE}.tasks.FindCosmicRaysTask")]


def test_page_of_a_pipeline(tmp_path: Path) -> None:
    """As ``pipetask`` builds it."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        "description: Wrong.\ntasks:\n  findCosmicRays:\n"
        "    class: lsst.meas.cosmicrays.tasks.FindCosmicRaysTask\n"
        "    config:\n      finders.names: []\n"
    )
    with pytest.raises(ValueError, match="validation failed") as caught:
        Pipeline.from_uri(str(path)).to_graph()
    shown = "".join(traceback.format_exception(caught.value))
    assert "finders.names is empty" in shown
    assert f"{PACKAGE}.tasks.FindCosmicRaysTask.rst" in shown


def test_every_page_is_of_a_module() -> None:
    """No page stands for a module that was renamed."""
    for name in documentation._PAGES:
        importlib.import_module(f"{PACKAGE}.{name}".rstrip("."))


def test_the_nearest_module_counts() -> None:
    assert page_of(f"{PACKAGE}.ingest.errors") == "ingesting"
    assert page_of(f"{PACKAGE}.comparison.ranking") == "consensus"
    assert page_of(f"{PACKAGE}.comparison.ranks") == "metrics"
    assert page_of(f"{PACKAGE}.tasks.bounds") == page_of(PACKAGE) == "bad-input"


def test_incomplete_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> Path:
        raise FileNotFoundError("nothing installed")

    monkeypatch.setattr(documentation, "product_dir", nothing)
    assert see("batch") == "See doc/lsst.meas.cosmicrays/batch.rst"


def test_errors_of_tasks_point_below_their_message() -> None:
    with pytest.raises(MetricsNotAvailableError) as caught:
        MakeMetricBundleTask().run(Table(), Table())
    shown = "".join(traceback.format_exception(caught.value))
    assert place(shown).name == f"{PACKAGE}.tasks.MakeMetricBundleTask.rst"
    assert "See" not in str(caught.value)


def test_page_is_named_once_after_a_process_handed_the_error_over() -> None:
    error = pickle.loads(pickle.dumps(IngestError("is damaged", path=Path("a.fits"))))
    assert str(error) == "a.fits: is damaged"
    assert error.__notes__ == [see("ingesting")]


@pytest.mark.parametrize(
    ("words", "status", "page"),
    [
        (["detect"], 2, "getting-started"),
        (["tables", "nowhere", "u/nobody"], 1, "metrics"),
        (["simulate", "repo", "--seeing", "-1"], 2, "simulation"),
        (["simulate", "occupied"], 1, "repositories"),
        (["simulate", "repo", "--detectors", "500"], 1, "simulation"),
        (["tables", "empty", "u/nobody"], 1, "metrics"),
        (["report", "empty", "u/nobody", "-o", "out"], 1, "report"),
        (["ingest", "repo"], 2, "ingesting"),
        (["ingest", "repo", "a.fits", "--preset", "nowhere.yaml"], 2, "ingesting"),
        (["ingest", "repo", "a.fits", "--instrument", "Cam"], 1, "ingesting"),
    ],
)
def test_errors_of_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], status: int, page: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "occupied").mkdir()
    if "empty" in words:
        Butler.makeRepo("empty")
    (tmp_path / "occupied" / "file").write_text("of something else")
    result = CliRunner().invoke(main, words)
    assert result.exit_code == status, result.output
    assert place(result.stderr) == product_dir() / "doc" / PACKAGE / f"{page}.rst"
    assert result.stderr.count("See ") == 1


def test_unforeseen_errors_of_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    command = main.get_command(click.Context(main), "product-dir")
    assert command is not None

    def fail() -> None:
        raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr(command, "callback", fail)
    result = CliRunner().invoke(main, ["product-dir"])
    assert isinstance(result.exception, ZeroDivisionError)
    assert result.exception.__notes__ == [see("getting-started")]


def named_tests() -> Iterator[tuple[str, str]]:
    """Find the tests that pages name, and the page of each."""
    top = product_dir()
    for path in [*top.glob("doc/**/*.rst"), top / "README.md", top / "bps" / "README.md"]:
        for name in re.findall(r"`(?:tests/)?(test_\w+\.py(?:::\w+)*)`", path.read_text()):
            yield name, path.name


def test_every_test_that_a_page_names_is_there() -> None:
    """The tables of bad input and of the report of 2022, and all others."""
    found = list(named_tests())
    assert len({name for name, page in found if page == "bad-input.rst"}) > 80
    for name, page in found:
        file_name, *parts = name.split("::")
        node: ast.AST = ast.parse((Path(__file__).parent / file_name).read_text())
        for part in parts:
            below = [
                child
                for child in ast.iter_child_nodes(node)
                if isinstance(child, ast.FunctionDef | ast.ClassDef) and child.name == part
            ]
            assert below, f"{page} names {name}"
            node = below[0]
