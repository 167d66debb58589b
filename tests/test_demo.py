# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``make demo`` calls, on a tiny visit."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.cli import demo
from lsst.meas.cosmicrays.cli.main import main

TINY = ["--visits", "1", "--detectors", "1", "--detector-size", "200x180", "--seed", "1"]


@pytest.mark.slow
def test_demo_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends in tables and files that are there; again, it reuses them."""
    monkeypatch.setattr(demo, "SIMULATION", TINY)
    folder = tmp_path / "a demo"
    first = CliRunner().invoke(main, ["demo", str(folder)])
    assert first.exit_code == 0, first.output
    assert "used again" not in first.output
    for text in ("Against truth", "consensus_science", "s/detector", "Done in", "Next:"):
        assert text in first.output
    named = [
        Path(line.partition("figure")[2].strip()) for line in first.output.splitlines() if ".png" in line
    ]
    assert named
    assert all(path.stat().st_size > 1000 for path in named)
    assert (folder / "report" / "index.html").is_file()
    with Butler.from_config(str(folder / "repo")) as butler:
        runs = butler.collections.query("u/demo/*")

    again = CliRunner().invoke(main, ["demo", str(folder)])
    assert again.exit_code == 0, again.output
    assert f"what {folder / 'repo'} has already is used again" in again.output
    assert "using what u/demo has already" in again.output
    with Butler.from_config(str(folder / "repo")) as butler:
        assert butler.collections.query("u/demo/*") == runs
    tables = [output.split("Against truth")[1].split("Done in")[0] for output in (first.output, again.output)]
    assert tables[0] == tables[1]


def test_command_that_fails_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SIMULATION", ["--no-such-option"])
    result = CliRunner().invoke(main, ["demo", str(tmp_path / "demo")])
    assert result.exit_code == 1
    assert "cosmicrays failed with exit status 2" in result.output
    assert "remove the folder of that run and start again" in result.output
