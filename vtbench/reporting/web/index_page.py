"""The page over all archived studies: what each asked, what came out, and where its own page is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from vtbench.documents.table import Table, make_table
from vtbench.reporting.archive import list_archives
from vtbench.reporting.content import answer_report, count_outcomes
from vtbench.reporting.report import Report, build_report
from vtbench.reporting.web.report_page import PAGE_FILE, NamedTable
from vtbench.reporting.web.template import render_template


@dataclass(frozen=True)
class Entry:
    """One study. ``link`` is that of its page from the index; ``alike`` are other studies of the same arms."""

    link: str
    name: str
    question: str
    answer: str
    facts: tuple[tuple[str, str], ...]
    report: Report
    alike: tuple[Entry, ...] = ()


def render_index(reports: Path) -> str:
    """The page over every archive directly beneath ``reports``, and over the other reports that lie there."""
    archives = list_archives(reports)
    entries = _relate([_describe(folder) for folder in archives])
    others = [
        path.relative_to(reports).as_posix() for path in sorted(reports.glob("*/*.md")) if path.parent not in archives
    ]
    table = NamedTable("All studies", _tabulate(entries), {entry.name: entry.link for entry in entries})
    return render_template("index.html.jinja", title="Reports", table=table, entries=entries, others=others)


def _describe(folder: Path) -> Entry:
    report = build_report(folder)
    facts = dict(report.provenance)
    return Entry(
        link=f"{quote(folder.name)}/{PAGE_FILE}",
        name=folder.name,
        question=report.outline.question or "",
        answer=" ".join(answer_report(report)),
        facts=tuple((name, facts[name]) for name in ("data", "recipe", "machine")),
        report=report,
    )


def _relate(entries: list[Entry]) -> list[Entry]:
    """The entries, each with the others whose arms have the same names."""
    arms = {entry.name: {arm.name for arm in entry.report.comparisons[0].arms} for entry in entries}
    return [
        replace(
            entry,
            alike=tuple(other for other in entries if other is not entry and arms[other.name] == arms[entry.name]),
        )
        for entry in entries
    ]


def _tabulate(entries: list[Entry]) -> Table:
    rows = []
    for entry in entries:
        comparison, counts = entry.report.comparisons[0], count_outcomes(entry.report)
        numbers = (len(comparison.arms), len(comparison.seeds), counts["finished"], counts["failed"], counts["missing"])
        rows.append((entry.name, comparison.metric.head, *map(str, numbers)))
    header = ("study", "metric", "arms", "seeds", "finished", "failed", "missing")
    return make_table(header, rows, numbers=header[2:])
