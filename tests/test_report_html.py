# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report: what the page says, and how it looks to a browser."""

from __future__ import annotations

import html.parser
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from click.testing import CliRunner
from matplotlib.figure import Figure
from study_repository import INSTRUMENT, NAMES, RUN, make_study, put

from lsst.daf.butler import Butler
from lsst.meas.cosmicrays.cli.main import main
from lsst.meas.cosmicrays.comparison import wilson_interval
from lsst.meas.cosmicrays.report import page as page_module
from lsst.meas.cosmicrays.report import read_study
from lsst.meas.cosmicrays.report.answer import _variables, answer_study
from lsst.meas.cosmicrays.report.page import write_report
from lsst.meas.cosmicrays.report.sections import SECTIONS
from lsst.meas.cosmicrays.report.shown import export_table, show_table, to_latex
from lsst.meas.cosmicrays.repository import register_dataset_type

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

ANSWER = "Detections, the best first: compared with {}, by stamps around DIASources"


class PageReader(html.parser.HTMLParser):
    """Tables, links, images and text of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.anchors: set[str] = set()
        self.text = ""
        self._rows: list[list[str]] = []
        self._caption = ""
        self._inside: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if named.get("id"):
            self.anchors.add(str(named["id"]))
        if tag == "a":
            self.links.append(str(named["href"]))
        elif tag == "img":
            self.images.append(named)
        elif tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        if tag not in ("meta", "img", "wbr", "link"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass
        if tag == "table":
            self.tables[" ".join(self._caption.split())] = self._rows

    def handle_data(self, data: str) -> None:
        if "caption" in self._inside and "span" not in self._inside:
            self._caption += data
        elif ("td" in self._inside or "th" in self._inside) and self._rows:
            self._rows[-1][-1] += data
        if not {"script", "style"} & set(self._inside):
            self.text += data

    def table(self, title: str) -> list[dict[str, str]]:
        """Return the rows of a table."""
        rows = self.tables[title]
        heads = [" ".join(cell.split()) for cell in rows[0]]
        return [dict(zip(heads, row, strict=True)) for row in rows[1:]]


@pytest.fixture(scope="module")
def study_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a study of two visits, in which a finder failed once."""
    root = tmp_path_factory.mktemp("study") / "repo"
    with make_study(root, failed="astroscrappy_science") as butler:
        costs = {
            "n_visits": 2,
            "n_detectors": 4,
            "n_detectors_total": 4,
            "n_variable": 12,
            "n_variable_lost": 3,
        }
        low, high = wilson_interval(3, 12)
        costs |= {"fraction_lost_lo": float(low), "fraction_lost_hi": float(high)}
        put(butler, "cr_instrument_label_cost", Table(rows=[{"detection": NAMES[0], **costs}]))
        put(butler, "cr_instrument_novelty", Table({"what": ["<i>new</i>"], "much": [7]}))
        put(butler, "cr_visit_only", Table({"of": ["a visit"]}), visit=1)
        put(butler, "cr_something_model", Table({"weights": [1]}))
        for visit in (1, 2):
            for detector in (0, 1):
                put_plot(butler, "cr_plot_masks_one_other", visit=visit, detector=detector)
    return root


@pytest.fixture
def butler(study_root: Path) -> Iterator[Butler]:
    with Butler.from_config(str(study_root)) as client:
        yield client


@pytest.fixture(scope="module")
def page_path(study_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("report") / "made"
    with Butler.from_config(str(study_root)) as client:
        return write_report(client, read_study(client, RUN, plots_of_a_type=3), directory)


@pytest.fixture(scope="module")
def page(page_path: Path) -> PageReader:
    return PageReader(page_path)


def put_plot(butler: Butler, name: str, **data_id: int) -> None:
    """Put a figure."""
    register_dataset_type(butler, name, "Plot")
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    butler.put(figure, name, instrument=INSTRUMENT, run=RUN, **data_id)


def confusion_row(butler: Butler, level: str, candidate: str, reference: str = "truth") -> Table.Row:
    table = butler.get("cr_instrument_confusion", instrument=INSTRUMENT, collections=RUN)
    chosen = (table["level"] == level) & (table["reference"] == reference) & (table["candidate"] == candidate)
    assert chosen.sum() == 1
    return table[chosen][0]


def test_study_is_read_in_one_call(butler: Butler) -> None:
    study = read_study(butler, [RUN])
    assert study.instrument == INSTRUMENT
    assert isinstance(study.tables["cr_instrument_summary"], Table)
    assert study.tables["cr_instrument_summary"] is study.tables["cr_instrument_summary"]
    stored = butler.get("cr_instrument_stamps", instrument=INSTRUMENT, collections=RUN)
    assert study.tables.n_rows("cr_instrument_stamps") == len(stored) == 100
    assert study.tables.columns("cr_instrument_stamps", ["x", "nothing"]).colnames == ["x"]
    assert "cr_something_model" not in study.tables
    assert set(study.visit_tables) == {"cr_visit_only", "cr_visit_pixel_pairs", "cr_visit_cluster_counts"}
    assert [(group.name, len(group.refs), group.n_all) for group in study.plots] == [
        ("cr_plot_masks_one_other", 4, 4)
    ]
    assert (study.provenance.n_visits, study.provenance.n_detectors) == (2, 4)
    (failure,) = study.provenance.failures
    assert (failure.visit, failure.detector, failure.detection) == (1, 1, "astroscrappy_science")


def test_long_tables_are_not_read(butler: Butler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MOST_EXPORTED", 99)
    study = read_study(butler, RUN)
    read: list[str] = []
    get = type(study.tables).__getitem__

    def count(tables: Any, name: str) -> Table:
        read.append(name)
        return get(tables, name)

    monkeypatch.setattr(type(study.tables), "__getitem__", count)
    write_report(butler, study, tmp_path / "out")
    assert "cr_instrument_confusion" in read
    assert "cr_instrument_stamps" not in read
    assert "cr_instrument_objects" not in read


def test_page_leads_with_the_answer(butler: Butler, page: PageReader) -> None:
    f1 = {name: confusion_row(butler, "stamp", name)["f1"] for name in NAMES}
    best = max((name for name in NAMES if name != "astroscrappy_science"), key=f1.__getitem__)
    text = " ".join(page.text.split())
    row = confusion_row(butler, "stamp", best)
    assert f"{best} does best, by stamps around DIASources: purity {row['purity']:.3f}" in text
    assert f"completeness {row['completeness']:.3f} ({row['completeness_lo']:.3f} to" in text
    assert "Variables lost: real variable sources" in text
    without = (row["tp"] + row["fn"]) / 2
    sent = row["fn"] / 2
    assert f"would send {without:.1f} alerts that a cosmic ray is in if nothing were done" in text
    low = (1 - row["completeness_hi"]) * (row["tp"] + row["fn"]) / 2
    assert f"and {sent:.1f} ({low:.1f} to " in text
    low, high = wilson_interval(3, 12)
    assert (
        f"Of 6.0 real variable sources a visit, 1.5 ({6 * low:.1f} to {6 * high:.1f}) would be lost" in text
    )
    assert "2 visits with 4 detectors in all" in text
    assert "1: a detection failed on a detector" in text
    assert "<b>too many & more" in text


def test_numbers_of_the_page_are_those_of_the_tables(butler: Butler, page: PageReader) -> None:
    for level, title in (
        ("stamp", "Against truth, by stamps around DIASources"),
        ("object", "Against truth, by cosmic ray"),
        ("pixel", "Against truth, pixel by pixel"),
        ("pixel_1px", "Against truth, pixel by pixel, within one pixel"),
    ):
        rows = page.table(title)
        assert [row["candidate"] for row in rows] == list(NAMES)
        for row in rows:
            stored = confusion_row(butler, level, row["candidate"])
            for rate in ("purity", "completeness", "f1"):
                value, low, high = (stored[rate + end] for end in ("", "_lo", "_hi"))
                shown = row["F1" if rate == "f1" else rate]
                assert shown == f"{value:.3f} ({low:.3f}\N{EN DASH}{high:.3f})"
            assert [row[name] for name in ("TP", "FP", "FN")] == [
                str(stored[name]) for name in ("tp", "fp", "fn")
            ]
            assert row["detectors"] == f"{stored['n_detectors']} of 4"
    summary = butler.get("cr_instrument_summary", instrument=INSTRUMENT, collections=RUN)
    for row, stored in zip(page.table("Detections"), summary, strict=True):
        assert (row["detection"], row["CR pixels"]) == (stored["detection"], str(stored["n_pixels"]))


def test_detections_that_failed_come_last(page: PageReader) -> None:
    rows = page.table(ANSWER.format("truth"))
    assert rows[-1]["detection"] == "astroscrappy_science"
    assert rows[-1]["detectors"] == "3 of 4"


def test_what_no_section_names_is_shown(page: PageReader) -> None:
    assert page.table("cr_instrument_novelty") == [{"what": "<i>new</i>", "much": "7"}]
    assert page.table("cr_visit_only") == [{"of": "a visit"}]
    assert "cr_something_model" not in page.text


def test_page_is_whole(page: PageReader, page_path: Path) -> None:
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.anchors, link
        else:
            assert (page_path.parent / link).is_file(), link
    assert len(page.images) >= 3
    for image in page.images:
        assert str(image["src"]).startswith("data:image/")
        assert image["alt"]
    assert "http" not in page_path.read_text(encoding="utf-8").replace("http://www.w3.org", "")


def test_only_some_figures_of_many_are_taken(page: PageReader, page_path: Path) -> None:
    titles = [str(image["alt"]) for image in page.images if "one_other" in str(image["alt"])]
    assert len(titles) == 3
    assert titles[2].startswith("Masks of two detections: one_other: visit 2, detector 0.")
    assert "3 of 4 are shown" in page.text
    content = (page_path.parent / "figures/cr_plot_masks_one_other_visit_1_detector_0.png").read_bytes()
    (width,) = (image["width"] for image in page.images if "visit 1, detector 0" in str(image["alt"]))
    assert abs(int(str(width)) - 192) <= 1
    assert struct.unpack(">I", content[16:20])[0] == 200


def test_telling_figures_come_first(tmp_path: Path) -> None:
    """The first figure of each dataset type comes before the second ones, the
    galleries with most stamps before others, and empty ones not at all.
    """
    pairs = {("a", "b"): 0, ("a", "c"): 2, ("b", "a"): 5}
    with make_study(tmp_path / "repo") as butler:
        counts = [{"first": a, "second": b, "n_stamps": n} for (a, b), n in pairs.items()]
        put(butler, "cr_instrument_disagreement_counts", Table(rows=counts))
        for name in ("masks_one_other", *(f"disagreements_{a}_{b}" for a, b in [*pairs, ("b", "c")])):
            for visit in (1, 2):
                put_plot(butler, f"cr_plot_{name}", visit=visit, detector=0)
        page = PageReader(write_report(butler, read_study(butler, RUN), tmp_path / "report"))
    titles = [str(image["alt"]).split(".")[0] for image in page.images]
    titles = [title.split(": ", 1)[1] for title in titles if "detector 0" in title]
    names = ("one_other", "b_a", "a_c", "b_c")
    assert titles == [f"{name}: visit {visit}, detector 0" for visit in (1, 2) for name in names]


def test_counts_against_truth_come_first() -> None:
    (entry,) = [table for section in SECTIONS for table in section.tables if table.title == "Counts by place"]
    rows = Table({"reference": ["a", "truth", "b", "truth"], "n": [1, 2, 3, 4]})
    assert entry.rows(rows)["n"].tolist() == [2, 4, 1, 3]


def test_nothing_is_explained_that_is_not_there(tmp_path: Path) -> None:
    """Without a table of costs, no variables are lost that are known."""
    with make_study(tmp_path / "repo") as butler:
        text = write_report(butler, read_study(butler, RUN), tmp_path / "page").read_text()
    assert "Withheld: alerts a visit" in text
    assert "Variables lost:" not in text


def test_no_variables_are_known() -> None:
    """No variable source is no finding that none is lost."""
    costs = Table(rows=[{"detection": "one", "n_visits": 1, "n_detectors": 1, "n_variable": 0}])
    assert all(np.isnan(list(_variables(costs, "one").values())))


def test_files_have_the_whole_tables(butler: Butler, page_path: Path) -> None:
    stored = butler.get("cr_instrument_stamps", instrument=INSTRUMENT, collections=RUN)
    for name, table_format in (
        ("cr_instrument_stamps.csv", "ascii.csv"),
        ("cr_instrument_stamps.ecsv", "ascii.ecsv"),
    ):
        read = Table.read(page_path.parent / "tables" / name, format=table_format)
        assert read.colnames == stored.colnames
        np.testing.assert_allclose(read["x"], stored["x"], rtol=1e-15)
        assert list(read["code"]) == list(stored["code"])
    answer = Table.read(page_path.parent / "tables/answer.ecsv", format="ascii.ecsv")
    assert set(answer["detection"]) == set(NAMES)


def test_tables_that_are_too_long_are_named(
    butler: Butler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "MOST_EXPORTED", 99)
    made = write_report(butler, read_study(butler, RUN), tmp_path / "out")
    assert not (made.parent / "tables/cr_instrument_stamps.csv").exists()
    assert "100 rows: too long for a page" in " ".join(PageReader(made).text.split())


def test_figures_beyond_the_room_lie_beside(
    butler: Butler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.meas.cosmicrays.report.page_figures.MOST_EMBEDDED", 0)
    made = write_report(butler, read_study(butler, RUN), tmp_path / "out")
    for image in PageReader(made).images:
        assert (made.parent / str(image["src"])).is_file()


def test_study_without_truth(tmp_path: Path) -> None:
    with make_study(tmp_path / "repo", visits=1, truth=False) as butler:
        made = write_report(butler, read_study(butler, RUN), tmp_path / "out")
    page = PageReader(made)
    text = " ".join(page.text.split())
    assert "There is no truth in this collection" in text
    assert "does best" not in text
    rows = page.table(ANSWER.format("morphological_science"))
    assert {row["detection"] for row in rows} == set(NAMES[1:])
    assert "CR alerts sent a visit" not in rows[0]


def test_finder_that_failed_everywhere(tmp_path: Path) -> None:
    with make_study(tmp_path / "repo", visits=1) as butler:
        summary = butler.get("cr_instrument_summary", instrument=INSTRUMENT, collections=RUN)
        confusion = butler.get("cr_instrument_confusion", instrument=INSTRUMENT, collections=RUN)
    failed = summary["detection"] == "astroscrappy_difference"
    summary["n_detectors"][failed], summary["n_failed"][failed] = 0, 2
    confusion = confusion[confusion["candidate"] != "astroscrappy_difference"]
    answer = answer_study(confusion, summary, 1)
    row = answer.row("astroscrappy_difference")
    assert row["detection"] == answer.table["detection"][-1]
    assert np.isnan(row["f1"])
    assert np.isnan(row["sent"])
    assert "astroscrappy_difference" not in answer.tied


def judged(**f1: tuple[float, float, float]) -> tuple[Table, Table]:
    """Make tables in which detections have these F1 by stamps, with limits."""
    confusion, summary = [], []
    for name, (value, low, high) in f1.items():
        rates = {
            f"{rate}{end}": number
            for rate in ("purity", "completeness", "f1")
            for end, number in (("", value), ("_lo", low), ("_hi", high))
        }
        row = {"reference": "truth", "candidate": name, "tp": 90, "fn": 10, "fp": 5, "n_detectors": 2}
        confusion.append({"level": "stamp", "n_detectors_total": 4, **row, **rates})
        found = {
            "detection": name,
            "role": "detection",
            "n_detectors": 2,
            "n_detectors_total": 4,
            "n_failed": 0,
        }
        summary.append(found | {"wall_time_median": 1.0 + len(summary)})
    return Table(rows=confusion), Table(rows=summary)


def test_answer_says_what_it_does_not_tell_apart() -> None:
    confusion, summary = judged(a=(0.90, 0.88, 0.92), b=(0.95, 0.91, 0.97), c=(0.80, 0.70, 0.90))
    answer = answer_study(confusion, summary, 1)
    assert list(answer.table["detection"]) == ["b", "a", "c"]
    assert answer.best == "b"
    assert answer.tied == ("a",)
    assert answer.fastest == "a"


def test_visits_are_taken_whole() -> None:
    """Half the detectors failed: a whole visit has twice the errors."""
    confusion, summary = judged(a=(0.9, 0.8, 0.95))
    answer = answer_study(confusion, summary, 2)
    row = answer.row("a")
    assert row["sent"] == pytest.approx(10 * 2 / 2)
    assert row["sent_hi"] == pytest.approx((1 - 0.8) * 100)
    assert row["withheld"] == pytest.approx(5)
    assert answer.alerts == pytest.approx(100)


def test_time_of_taking_masks_of_others_does_not_count() -> None:
    f1 = (0.9, 0.8, 0.95)
    confusion, summary = judged(mask_plane_science=f1, consensus_science=f1, slow_science=f1)
    answer = answer_study(confusion, summary, 1)
    assert answer.fastest == "slow_science"
    assert np.isnan(answer.row("mask_plane_science")["wall_time_median"])


def test_nothing_was_compared() -> None:
    confusion, summary = judged(a=(0.9, 0.8, 0.95))
    with pytest.raises(LookupError, match="No detection was compared"):
        answer_study(confusion[:0], summary, 1)


def test_headings_are_words() -> None:
    names = ("detection", "n_variable_lost", "n_near_cr", "f1_truth", "mse", "p84_cr_pixels", "n")
    shown = show_table(Table({name: [1.0] for name in names}))
    assert [column.heading for column in shown.columns] == [
        "detection",
        "variable lost",
        "near CR",
        "F1 (truth)",
        "MSE",
        "P84 CR pixels",
        "n",
    ]


def test_cells() -> None:
    table = Table(
        {
            "name": ["a_b", "c"],
            "rate": [0.12345, np.nan],
            "rate_lo": [0.1, np.nan],
            "rate_hi": [0.2, np.nan],
            "n": [5, -1],
            "n_total": [7, 7],
            "many": np.zeros((2, 3)),
            "yes": [True, False],
            "large": [1234567.8, 0.00123456],
            "ra": [150.1164211, np.nan],
        }
    )
    shown = show_table(table)
    assert [column.name for column in shown.columns] == ["name", "rate", "n", "yes", "large", "ra"]
    texts = [[cell.text for cell in row] for row in shown.rows]
    assert texts[0] == ["a_b", "0.123 (0.100\N{EN DASH}0.200)", "5 of 7", "yes", "1.235e+06", "150.11642"]
    assert texts[1] == ["c", "\N{EM DASH}", "\N{EM DASH}", "no", "0.001235", "\N{EM DASH}"]
    assert float(shown.rows[0][1].key) == 0.12345
    assert shown.rows[1][1].key == ""
    assert len(show_table(table, most_rows=1).rows) == 1
    latex = to_latex(shown, "50 % & more")
    assert r"a\_b & 0.123 (0.100--0.200) & 5 of 7" in latex
    assert r"\caption{50 \% \& more}" in latex


def test_columns_of_many_numbers_are_in_one_file_only(tmp_path: Path) -> None:
    table = Table({"a": [1], "many": np.zeros((1, 3))})
    files = export_table(table, tmp_path, "t")
    assert Table.read(tmp_path / files["CSV"], format="ascii.csv").colnames == ["a"]
    assert Table.read(tmp_path / files["ECSV"], format="ascii.ecsv")["many"].shape == (1, 3)


def run_report(*arguments: object) -> Any:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def test_command(study_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run_report(study_root, RUN, "-o", out, "--plots", 1)
    assert result.exit_code == 0, result.output
    assert f"Written: {out / 'index.html'}" in result.output
    again = run_report(study_root, RUN, "-o", out)
    assert again.exit_code == 1
    assert "holds a report already: give another folder, or replace it" in again.output
    (out / "left over").touch()
    assert run_report(study_root, RUN, "-o", out, "--replace").exit_code == 0
    assert not (out / "left over").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_folder_that_is_no_report_is_kept(study_root: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    result = run_report(study_root, RUN, "-o", tmp_path, "--replace")
    assert result.exit_code == 1
    assert "exists and is not a report" in result.output
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_what_is_not_there(study_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "No Butler repository at" in run_report(tmp_path / "nowhere", RUN, "-o", out).output
    assert "There is no collection 'u/nobody'" in run_report(study_root, "u/nobody", "-o", out).output
    other = run_report(study_root, RUN, "-o", out, "--instrument", "HSC")
    assert f"Nothing of 'HSC' in collection '{RUN}'; there is {INSTRUMENT}" in other.output
    with Butler.from_config(str(study_root), writeable=True) as butler:
        butler.collections.register("u/empty")
    empty = run_report(study_root, "u/empty", "-o", out)
    assert empty.exit_code == 1
    assert "There is no table cr_instrument_* in collection 'u/empty'" in empty.output
    assert not out.exists()


def test_missing_tables(tmp_path: Path) -> None:
    with make_study(tmp_path / "repo", visits=1) as butler:
        names = ["cr_instrument_detections", "cr_instrument_counts", "cr_instrument_objects"]
        butler.pruneDatasets(
            [ref for name in names for ref in butler.query_datasets(name, collections=RUN)],
            disassociate=True,
            unstore=True,
            purge=True,
        )
        made = write_report(butler, read_study(butler, RUN), tmp_path / "out")
        assert "Which detections share pixels" not in PageReader(made).text
        (ref,) = butler.query_datasets("cr_instrument_confusion", collections=RUN)
        butler.pruneDatasets([ref], disassociate=True, unstore=True, purge=True)
        with pytest.raises(LookupError, match="cr_instrument_confusion is not in collection 'u/study'"):
            write_report(butler, read_study(butler, RUN), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start a real browser, if there is one."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on PATH")
    with playwright.sync_playwright() as driver:
        client = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield client
        client.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_accessibility(browser: Any, page_path: Path, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True)
    tab = context.new_page()
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("requestfailed", lambda request: problems.append(request.url))
    tab.goto(page_path.as_uri())
    found = axe.Axe().run(tab)
    assert found.violations_count == 0, found.generate_report()
    assert problems == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    context.close()


def test_tables_are_sorted_with_the_keyboard(browser: Any, page_path: Path) -> None:
    tab = browser.new_page()
    tab.goto(page_path.as_uri())
    table = tab.locator("#found table").first
    button = table.get_by_role("button", name="CR pixels", exact=True)
    head = table.get_by_role("columnheader", name="CR pixels", exact=True)

    def numbers() -> list[int]:
        return [int(text) for text in table.locator("tbody tr td:nth-child(2)").all_inner_texts()]

    before = numbers()
    button.focus()
    tab.keyboard.press("Enter")
    assert numbers() == sorted(before)
    assert head.get_attribute("aria-sort") == "ascending"
    tab.keyboard.press("Space")
    assert numbers() == sorted(before, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    assert tab.locator("#announce").inner_text() == "Sorted by CR pixels, descending"
    tab.close()


def test_what_is_not_known_is_sorted_last(browser: Any, page_path: Path) -> None:
    tab = browser.new_page()
    tab.goto(page_path.as_uri())
    table = tab.locator("#found table").first
    button = table.get_by_role("button", name="cosmic rays", exact=True)
    place = table.locator("thead th").all_inner_texts().index("cosmic rays") + 1
    for _ in range(2):
        button.click()
        assert "not known" in table.locator(f"tbody tr td:nth-child({place})").all_inner_texts()[-1]
    tab.close()


def test_skip_link_is_first(browser: Any, page_path: Path) -> None:
    tab = browser.new_page()
    tab.goto(page_path.as_uri())
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the answer"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"
    tab.close()


def test_page_prints(browser: Any, page_path: Path) -> None:
    tab = browser.new_page()
    tab.goto(page_path.as_uri())
    tab.emulate_media(media="print")
    assert not tab.locator("nav").is_visible()
    assert not tab.locator(".downloads").first.is_visible()
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.locator("#basis details[open]").count() >= 1
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.locator("#basis details[open]").count() == 0
    assert tab.pdf().startswith(b"%PDF")
    tab.close()
