# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a study: one HTML page, and files to download beside it."""

from __future__ import annotations

__all__ = ["ReportExistsError", "write_report"]

import datetime
import fnmatch
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
from astropy.table import Table

from lsst.daf.butler import Butler

from ..documentation import DocumentedError
from .answer import ANSWERING, Answer, answer_study
from .entries import FigureEntry, Section, TableEntry
from .page_figures import FigureFiles, ShownFigure
from .sections import OTHER, SECTIONS
from .shown import export_table, show_table, to_latex
from .study import NoStudyError, PlotGroup, Study
from .tables import LEVELS

TEMPLATES = Path(__file__).parent / "html"
PAGE = "index.html"
MARK = "meas_cosmicrays report"
"""What says that a folder is a report, and may be replaced."""

MOST_EXPORTED = 50_000
"""Longest table that is written to files, rows."""

MOST_LATEX = 80
"""Longest table that is also shown as LaTeX, rows."""

_ANSWER_COLUMNS = (
    "detection",
    "purity",
    "completeness",
    "f1",
    "sent",
    "withheld",
    "variables_lost",
    "wall_time_median",
    "n_detectors",
)


class ReportExistsError(DocumentedError, FileExistsError):
    """Raised when a folder holds what a report would replace."""


def write_report(butler: Butler, study: Study, directory: Path, *, replace: bool = False) -> Path:
    """Write the report of a study.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository, for the figures.
    study : `Study`
        What `read_study` found in it.
    directory : `~pathlib.Path`
        Folder to make: ``index.html``, which needs nothing else to be read,
        and the folders ``tables``, ``figures`` and ``configs`` to download
        from.
    replace : `bool`, optional
        Replace a report that is there?

    Returns
    -------
    page : `~pathlib.Path`
        The page.

    Raises
    ------
    ReportExistsError
        Raised if the folder exists and is not empty, unless it holds a
        report that is to be replaced.
    NoStudyError
        Raised if nothing has been compared.
    """
    _check_free(directory, replace)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as scratch:
        made = Path(scratch) / "report"
        made.mkdir()
        (made / PAGE).write_text(_Page(butler, study, made).render(), encoding="utf-8")
        if directory.exists():
            shutil.rmtree(directory)
        made.rename(directory)
    return directory / PAGE


def _check_free(directory: Path, replace: bool) -> None:
    """Raise if something would be lost."""
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    page = directory / PAGE
    is_report = page.is_file() and MARK in page.read_text(encoding="utf-8", errors="replace")[:2000]
    if not is_report:
        raise ReportExistsError(f"{directory} exists and is not a report: give another folder.")
    if not replace:
        raise ReportExistsError(f"{directory} holds a report already: give another folder, or replace it.")


class _Page:
    """What one page says, while it is made."""

    def __init__(self, butler: Butler, study: Study, directory: Path):
        self._study = study
        self._directory = directory
        for name in ("tables", "figures", "configs"):
            (directory / name).mkdir()
        self._figures = FigureFiles(butler, directory / "figures")
        self._files: dict[str, dict[str, str]] = {}
        self._claimed: set[str] = set()

    def _needed(self, name: str) -> Table:
        """Return a table without which there is no answer."""
        if name not in self._study.tables:
            where = ", ".join(map(repr, self._study.provenance.collections))
            raise NoStudyError(f"{name} is not in collection {where}: gather the visits of the study first.")
        return self._study.tables[name]

    def render(self) -> str:
        """Return the page as HTML."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        study = self._study
        label_cost = study.tables.get("cr_instrument_label_cost")
        answer = answer_study(
            self._needed("cr_instrument_confusion"),
            self._needed("cr_instrument_summary"),
            study.provenance.n_visits,
            label_cost=label_cost,
        )
        return environment.get_template("page.html.jinja").render(
            mark=MARK,
            study=study,
            provenance=study.provenance,
            answer=answer,
            answer_table=self._answer_table(answer),
            level_text=LEVELS[answer.level],
            configs=self._write_configs(),
            sections=[shown for section in (*SECTIONS, OTHER) if (shown := self._section(section))],
            made=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            levels=[LEVELS[level] for level in ANSWERING],
        )

    def _answer_table(self, answer: Answer) -> dict[str, Any]:
        files = export_table(answer.table, self._directory / "tables", "answer")
        title = f"Detections, the best first: compared with {answer.reference}, {LEVELS[answer.level]}"
        columns = [
            name
            for name in _ANSWER_COLUMNS
            if name == "detection" or any(value == value for value in answer.table[name])
        ]
        return self._shown_table("answer", title, "", answer.table, files, columns)

    def _write_configs(self) -> list[dict[str, str]]:
        """Write the configs as files, and return what is said of them."""
        written = []
        for number, config in enumerate(self._study.provenance.configs):
            name = f"{number:02d}_{config.label}.py"
            (self._directory / "configs" / name).write_text(config.text, encoding="utf-8")
            written.append({"label": config.label, "run": config.run, "href": f"configs/{name}"})
        return written

    def _section(self, section: Section) -> dict[str, Any] | None:
        """Return what a section shows, `None` if that is nothing."""
        figures = [shown for _, shown in sorted(self._ranked_figures(section), key=lambda item: item[0])]
        tables = [shown for entry in section.tables for shown in self._entry_tables(section, entry)]
        if not figures and not tables:
            return None
        return {
            "key": section.key,
            "title": section.title,
            "text": section.text,
            "figures": figures,
            "tables": tables,
        }

    def _ranked_figures(self, section: Section) -> Iterator[tuple[int, ShownFigure]]:
        """Yield figures with their place among those of one dataset type: the
        first of each come before the second ones.
        """
        for entry in section.figures:
            for figures in self._entry_figures(entry):
                yield from enumerate(figures)

    def _entry_figures(self, entry: FigureEntry) -> Iterator[Iterable[ShownFigure]]:
        """Yield the figures of each dataset type of an entry."""
        groups = [
            group
            for group in self._study.plots
            if group.name not in self._claimed and fnmatch.fnmatchcase(group.name, entry.pattern)
        ]
        self._claimed.update(group.name for group in groups)
        drawn = entry.draw(self._study) if entry.draw is not None else None
        if drawn is not None:
            yield [self._figures.draw(drawn, entry)]
            return
        for group in self._sort_groups(groups, entry):
            yield self._figures.copy(group, entry)

    def _sort_groups(self, groups: list[PlotGroup], entry: FigureEntry) -> list[PlotGroup]:
        """Put the most telling dataset types first, and leave out what tells
        nothing.
        """
        if entry.rank is None:
            return groups
        ranks = {group.name: entry.rank(self._study, group.name) for group in groups}
        telling = [group for group in groups if ranks[group.name] != 0.0]
        return sorted(telling, key=lambda group: -ranks[group.name])

    def _entry_tables(self, section: Section, entry: TableEntry) -> Iterator[dict[str, Any]]:
        tables = self._study.tables
        for name in [*tables, *self._study.visit_tables]:
            if not fnmatch.fnmatchcase(name, entry.pattern) or (section is OTHER and name in self._claimed):
                continue
            self._claimed.add(name)
            source = tables if name in tables else self._study.visit_tables
            subject = name.removeprefix(entry.pattern.rstrip("*")).strip("_") if entry.title else ""
            title = ": ".join(filter(None, (entry.title or name, subject)))
            note = entry.note
            if source is self._study.visit_tables:
                note = f"{note} Of the first visit; the repository has one for each.".strip()
            n_rows = source.n_rows(name)
            if n_rows > MOST_EXPORTED:
                yield self._long_table(name, title, note, n_rows)
                continue
            rows = source[name] if entry.rows is None else entry.rows(source[name])
            if len(rows) > 0:
                files = self._export(name, source[name])
                yield self._shown_table(name, title, note, rows, files, entry.columns, entry.most_rows)

    def _export(self, name: str, table: Table) -> dict[str, str]:
        if name not in self._files:
            self._files[name] = export_table(table, self._directory / "tables", name)
        return self._files[name]

    def _shown_table(
        self,
        name: str,
        title: str,
        note: str,
        table: Table,
        files: dict[str, str],
        columns: Sequence[str] = (),
        most_rows: int = 200,
    ) -> dict[str, Any]:
        shown = show_table(table, columns, most_rows=most_rows)
        return {
            "name": name,
            "title": title,
            "note": note,
            "shown": shown,
            "files": {kind: f"tables/{file}" for kind, file in files.items()},
            "latex": to_latex(shown, title) if 0 < len(shown.rows) <= MOST_LATEX else "",
        }

    def _long_table(self, name: str, title: str, note: str, n_rows: int) -> dict[str, Any]:
        """Return what is said of a table that is too long for the report."""
        return {
            "name": name,
            "title": title,
            "note": note,
            "shown": None,
            "n_rows": n_rows,
            "files": {},
            "latex": "",
        }
