"""Every committed report is what its records render to."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import matplotlib as mpl
import pytest
from synthetic_runs import list_runs, write_study

from vtbench.errors import UserError
from vtbench.reporting.archive import archive_runs, list_archives
from vtbench.reporting.committed import render_committed, render_readme
from vtbench.reporting.pages import PAGES, Page
from vtbench.reporting.pages.published import write_published_report
from vtbench.reporting.rendering import write_report
from vtbench.reporting.web.index_page import render_index

REPORTS = Path(__file__).resolve().parents[2] / "reports"
ADVICE = "run python -m vtbench.reporting.committed"


def assert_same(committed: Path, rendered: Path) -> None:
    """Text to the byte; an SVG too where the same version of matplotlib drew it, else by its words."""
    if committed.suffix == ".svg":
        old, new = committed.read_text("utf-8"), rendered.read_text("utf-8")
        if f"Matplotlib v{mpl.__version__}," in old:
            assert old == new, f"{committed}: {ADVICE}"
        else:
            assert re.findall("<!-- (.*?) -->", old) == re.findall("<!-- (.*?) -->", new), f"{committed}: {ADVICE}"
    elif committed.suffix == ".html":  # Images within depend on the version of what compressed or drew them.
        old, new = (re.sub(r"data:image/[^\"]*", "", path.read_text("utf-8")) for path in (committed, rendered))
        assert old == new, f"{committed}: {ADVICE}"
    elif committed.suffix != ".png":
        assert committed.read_bytes() == rendered.read_bytes(), f"{committed}: {ADVICE}"


def assert_renders_to(committed: Path, rendered: Path) -> None:
    kept, made = (
        {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        for folder in (committed, rendered)
    )
    names = {name for name in kept if not name.startswith("records/")} - {"report.json", "measured.json"}
    assert names == made
    for name in sorted(names):
        assert_same(committed / name, rendered / name)


def test_every_committed_study_renders_from_its_records(tmp_path: Path) -> None:
    for archive in list_archives(REPORTS):
        write_report(archive, tmp_path / archive.name)
        assert_renders_to(archive, tmp_path / archive.name)


def test_the_committed_report_of_the_literature_renders_from_its_data(tmp_path: Path) -> None:
    write_published_report(tmp_path / "again")
    assert_renders_to(REPORTS / "published", tmp_path / "again")


def test_the_committed_audit_renders_from_its_findings(tmp_path: Path) -> None:
    shutil.copytree(REPORTS / "audit", tmp_path / "audit")
    (tmp_path / "audit" / "report.md").unlink()
    assert PAGES["audit"].write(tmp_path) == [tmp_path / "audit" / "report.md"]
    assert_renders_to(REPORTS / "audit", tmp_path / "audit")
    assert PAGES["audit"].write(tmp_path / "none") == []
    (tmp_path / "audit" / "findings.json").write_text("[{}]")
    with pytest.raises(UserError, match="is no list of Findings: Field required"):
        PAGES["audit"].write(tmp_path)


def test_the_committed_index_of_all_studies_renders_from_their_records() -> None:
    assert (REPORTS / "index.html").read_text("utf-8") == render_index(REPORTS), ADVICE


def test_a_stale_report_is_found(tmp_path: Path) -> None:
    archive = archive_runs([write_study(tmp_path / "runs", list_runs())], tmp_path / "archive").folder
    write_report(archive, tmp_path / "again")
    assert_renders_to(archive, tmp_path / "again")
    (archive / "tables" / "summary.csv").write_text("edited by hand")
    with pytest.raises(AssertionError, match="committed"):
        assert_renders_to(archive, tmp_path / "again")


def test_all_reports_are_rendered_in_one_go(tmp_path: Path) -> None:
    archive_runs([write_study(tmp_path / "runs", list_runs())], tmp_path / "reports" / "components")
    (tmp_path / "reports" / "published").mkdir()
    (tmp_path / "reports" / "components" / "report.md").write_text("stale")
    folders = [path.parent.name for path in render_committed(tmp_path / "reports")]
    assert folders == ["components", "published"]
    assert (tmp_path / "reports" / "components" / "report.md").read_text("utf-8").startswith("# components")


def test_a_registered_page_is_rendered_in_order_and_shown_in_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(reports: Path) -> list[Path]:
        (reports / "planted.md").write_text("planted")
        return [reports / "planted.md"]

    monkeypatch.setitem(
        PAGES._entries, "planted", Page(order=0, write=write, block=lambda reports: "of the planted page")
    )
    archive_runs([write_study(tmp_path / "runs", list_runs())], tmp_path / "reports" / "components")
    assert [path.name for path in render_committed(tmp_path / "reports")] == ["planted.md", "report.md"]
    text = render_readme("<!-- generated: planted -->\n<!-- end -->", tmp_path)
    assert "of the planted page" in text
