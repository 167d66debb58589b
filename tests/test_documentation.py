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

import importlib
import pickle
import pkgutil
import traceback
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from astropy.table import Table
from click.testing import CliRunner

import lsst.meas.cosmicrays
from lsst.meas.cosmicrays import documentation
from lsst.meas.cosmicrays.cli.main import COMMANDS, main
from lsst.meas.cosmicrays.documentation import DocumentedError, page_of, see
from lsst.meas.cosmicrays.ingest import IngestError
from lsst.meas.cosmicrays.product import product_dir
from lsst.meas.cosmicrays.tasks import MakeMetricBundleTask, MetricsNotAvailableError

PACKAGE = lsst.meas.cosmicrays.__name__
LSST_FREE = ("engines", "comparison")
"""Folders whose errors are plain, since they import nothing of the rest."""


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
