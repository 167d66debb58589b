# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The package as it is built, installed and found."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.cli.main import COMMANDS, main
from lsst.meas.cosmicrays.documentation import FOLDER
from lsst.meas.cosmicrays.product import product_dir

TOP = Path(__file__).parents[1]
PACKAGE = TOP / "python" / "lsst" / "meas" / "cosmicrays"


def run(command: list[str], **options: object) -> str:
    """Run a command, and show what it printed if it fails."""
    result = subprocess.run(command, check=False, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_product_dir_is_the_checkout() -> None:
    assert product_dir() == TOP
    assert CliRunner().invoke(main, ["product-dir"]).output == f"{TOP}\n"


@pytest.mark.slow
def test_wheel_runs_the_pipelines_elsewhere(tmp_path: Path, test_butler: Butler) -> None:
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    pip = [sys.executable, "-m", "pip"]
    source = tmp_path / "source"
    run(["git", "clone", "--quiet", str(TOP), str(source)])
    run([*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(source)])
    (wheel,) = wheels.glob("*.whl")
    run([*pip, "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)])
    environment = os.environ | {"PYTHONPATH": str(site)}
    environment.pop("MEAS_COSMICRAYS_DIR", None)
    program = "from lsst.meas.cosmicrays.cli.main import main; main()"
    product = Path(run([sys.executable, "-c", program, "product-dir"], cwd=tmp_path, env=environment).strip())
    assert product.is_relative_to(site)
    assert (product / "config").is_dir()
    assert (product / "bps").is_dir()
    assert (product / FOLDER / "ingesting.rst").is_file()
    environment["MEAS_COSMICRAYS_DIR"] = str(product)
    pipetask = "from lsst.ctrl.mpexec.cli.pipetask import main; main()"
    repo = str(tmp_path / "repo")
    pipeline = "$MEAS_COSMICRAYS_DIR/pipelines/_ingredients/FindScience.yaml"
    command = ["run", "-b", repo, "-i", "TestCam/defaults", "-o", "u/wheel", "-p", pipeline]
    run([sys.executable, "-c", pipetask, *command, "--register-dataset-types"], cwd=tmp_path, env=environment)
    with Butler.from_config(repo, collections="u/wheel") as butler:
        assert len(butler.query_datasets("cr_mask_morphological_science")) == 2
    for name in ("SimulationStudy", "IngestedWithTemplate"):
        run(
            [sys.executable, "-c", pipetask, "build", "-p", f"{product}/pipelines/{name}.yaml"],
            env=environment,
        )
    assert {path.suffix for path in (site / "lsst/meas/cosmicrays/report/html").iterdir()} == {
        ".css",
        ".jinja",
        ".js",
    }


@pytest.mark.parametrize("folder", ["engines", "comparison"])
def test_engines_and_comparison_know_nothing_of_lsst(folder: str) -> None:
    for path in (PACKAGE / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
                depth = len(path.relative_to(PACKAGE).parts) - 1
                assert node.level <= depth, f"{path} imports from outside {folder}"
            assert not any(name.split(".")[0] == "lsst" for name in names), f"{path} imports lsst"


def test_tasks_import_only_what_every_one_of_them_needs() -> None:
    """The process of each quantum pays for what is imported with the tasks:
    what only some need, as figures do, is imported where it is used.
    """
    program = "import sys, lsst.meas.cosmicrays.tasks; print(*sys.modules)"
    modules = run([sys.executable, "-c", program]).split()
    assert "lsst.meas.cosmicrays.tasks.find_cosmic_rays" in modules
    heavy = {"astroscrappy", "galsim", "matplotlib", "onnx", "onnxruntime", "piff", "sep", "skimage", "torch"}
    assert heavy & set(modules) == set()


def test_news_fragments_are_taken_up() -> None:
    """Towncrier passes over files of other names without a word."""
    settings = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["towncrier"]
    types = "|".join(kind["directory"] for kind in settings["type"])
    fragments = [path for path in (TOP / settings["directory"]).iterdir() if path.name != "README.rst"]
    assert fragments
    for path in fragments:
        assert re.fullmatch(rf"\d+\.({types})(\.\d+)?\.rst", path.name), path.name
        assert path.read_text().strip(), path.name
    assert ".. towncrier release notes start" in (TOP / settings["filename"]).read_text()


def test_every_command_is_listed_and_explains_itself() -> None:
    listed = CliRunner().invoke(main, ["--help"]).output
    for name in COMMANDS:
        assert name in listed
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0, result.output
        assert "Usage:" in result.output


def test_unknown_command() -> None:
    result = CliRunner().invoke(main, ["detect"])
    assert result.exit_code == 2
    assert "No such command 'detect'" in result.output


def test_no_python_is_said_clearly(tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path)}
    script = (TOP / "tools" / "find_python.sh").read_text()
    hidden = script.replace("/usr/local/bin /opt/homebrew/bin /opt/local/bin /usr/bin", str(tmp_path))
    hidden = hidden.replace("/opt/conda", str(tmp_path))
    assert hidden != script
    (tmp_path / "find.sh").write_text(hidden)
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for tool in ("ls", "sort", "cat"):
        (tmp_path / tool).symlink_to(f"/bin/{tool}" if Path(f"/bin/{tool}").exists() else f"/usr/bin/{tool}")
    result = subprocess.run(
        ["/bin/sh", str(tmp_path / "find.sh")], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "No usable Python was found" in result.stderr
    assert "make PYTHON=/path/to/python3.13 demo" in result.stderr
    found = subprocess.run(
        ["/bin/sh", str(tmp_path / "find.sh")],
        env=environment | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == f"{sys.executable}\n"
