# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge the finders on real images, against the masks that come with them.

The images are ingested by ``cosmicrays ingest``, go through the pipelines for
ingested images by ``pipetask run``, and tables in Markdown are printed.  What
an earlier run left in the same folder is used again.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path

from astropy.table import Row, Table

from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.product import product_dir
from lsst.meas.cosmicrays.report.tables import read_comparison

LEVELS = {"pixel": "pixels", "pixel_1px": "pixels, within 1", "object": "cosmic rays"}


@dataclasses.dataclass(frozen=True)
class Case:
    """A set of images, how to ingest it and what to run on it."""

    name: str
    title: str
    files: str
    ingest: tuple[str, ...]
    instrument: str
    pipeline: str
    reference: str = "truth"
    series: bool = False


CASES = (
    Case(
        "saao",
        "SAAO 1.0 m, crowded bulge field; template: median of seven others; truth: given masks",
        "saao_kb13475/*[0-9].fits",
        ("--preset", "saao", "--bad-pixels", "{data}/saao_kb13475/recurrent_badpix.fits.gz")
        + ("--template-median", "7"),
        "SAAO",
        "IngestedWithTemplate.yaml",
        series=True,
    ),
    Case(
        "decam-field",
        "DECam, one field in nine exposures; truth: code 5 (dilated) of the community pipeline",
        "decam_field_instcal/*_ooi_*.fits",
        ("--preset", "decam-instcal"),
        "DECam",
        "Ingested.yaml",
    ),
    Case(
        "decam-series",
        "DECam, five aligned exposures with their stack as template; truth: given masks",
        "decam_series_obs04/*.mini.fits",
        ("--preset", "decam-series"),
        "DECamSeries",
        "IngestedWithTemplate.yaml",
    ),
    Case(
        "hsc-cut",
        "HSC, 300x300 pixels; no truth: against the morphological finder",
        "hsc_crs.fits",
        ("--preset", "hsc-cut"),
        "HSCCut",
        "Ingested.yaml",
        reference="morphological_science",
    ),
)


def main() -> None:
    """Run the chosen cases and print their tables."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    sections = []
    for case in CASES:
        if not options.cases or case.name in options.cases:
            repo = options.output / case.name
            _ingest(case, repo, options)
            collection = _run_pipeline(case, repo, options.processes)
            with Butler.from_config(str(repo)) as butler:
                tables = read_comparison(butler, collection)
            sections.append(_section(case, tables.confusion, tables.summary))
            (options.output / f"{case.name}.md").write_text(sections[-1])
    print("\n".join(sections))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help=", ".join(case.name for case in CASES))
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "real_data")
    parser.add_argument("--exposures", type=int, default=60, help="most exposures of a long series")
    parser.add_argument("-j", "--processes", type=int, default=1, help="more pay off on larger images")
    return parser.parse_args()


def _call(command: list[str]) -> None:
    """Run a command of this installation; its output goes to the error
    stream.
    """
    print("$ " + " ".join(command), file=sys.stderr)
    program = Path(sys.executable).with_name(command[0])
    environment = os.environ | {"MEAS_COSMICRAYS_DIR": str(product_dir())}
    subprocess.run([str(program), *command[1:]], env=environment, stdout=sys.stderr, check=True)


def _ingest(case: Case, repo: Path, options: argparse.Namespace) -> None:
    """Ingest what is not in the repository yet."""
    files = sorted(options.data.glob(case.files))
    if not files:
        sys.exit(f"There are no files {options.data / case.files}: see --data.")
    if case.series:
        # Spread over the series, so that all kinds of seeing are in it.
        count = min(options.exposures, len(files))
        files = [files[index * len(files) // count] for index in range(count)]
    arguments = [argument.format(data=options.data) for argument in case.ingest]
    _call(["cosmicrays", "ingest", str(repo), *map(str, files), *arguments, "-j", str(options.processes)])


def _run_pipeline(case: Case, repo: Path, processes: int) -> str:
    """Run the pipeline, or what is left of it."""
    output = f"u/{case.name}"
    with Butler.from_config(str(repo)) as butler:
        again = (
            ["--extend-run", "--skip-existing", "--clobber-outputs"]
            if output in butler.collections.query("u/*")
            else []
        )
    pipeline = product_dir() / "pipelines" / case.pipeline
    inputs = f"{case.instrument}/defaults"
    command = ["pipetask", "--no-log-tty", "run", "-b", str(repo), "-i", inputs, "-o", output]
    command += ["-p", str(pipeline), "--register-dataset-types", "-j", str(processes)]
    _call([*command, *again])
    return output


def _section(case: Case, confusion: Table, summary: Table) -> str:
    """Write the tables of a case in Markdown."""
    lines = [f"### {case.name}", "", case.title + ".", ""]
    lines += ["| detection | counted | purity | completeness | F1 | TP | FP | FN | detectors |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for level, counted in LEVELS.items():
        of_level = (confusion["level"] == level) & (confusion["reference"] == case.reference)
        for row in confusion[of_level & (confusion["candidate"] != case.reference)]:
            rates = " | ".join(_rate(row, name) for name in ("purity", "completeness", "f1"))
            counts = " | ".join(str(row[name]) for name in ("tp", "fp", "fn"))
            detectors = f"{row['n_detectors']} of {row['n_detectors_total']}"
            lines.append(f"| {row['candidate']} | {counted} | {rates} | {counts} | {detectors} |")
    lines += ["", "| detection | CR pixels | CRs | failed | seconds a detector |", "|---|---|---|---|---|"]
    for row in summary:
        lines.append(
            f"| {row['detection']} | {row['n_pixels']} | {row['n_cosmic_rays']} | {row['n_failed']} | "
            f"{row['wall_time_median']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _rate(row: Row, name: str) -> str:
    """Write a rate with its 95 % interval, as far as they are known."""
    value, low, high = (float(row[name + part]) for part in ("", "_lo", "_hi"))
    if not math.isfinite(value):
        return "-"
    return f"{value:.3f} ({low:.3f}-{high:.3f})" if math.isfinite(low) else f"{value:.3f}"


if __name__ == "__main__":
    main()
