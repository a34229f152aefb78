r"""Every table of a report as a file: ``tables/NAME.csv`` of plain numbers, ``NAME.md`` and ``NAME.tex`` of words.

In words a number is rounded by its uncertainty: its half width has two digits. LaTeX is in the style of ``booktabs``, a
``tabular`` to ``\input`` into a ``table``. A table of words alone, such as which arm is which, has those in its CSV.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vtbench.documents.table import (
    NOTHING,
    Table,
    escape_latex,
    escape_markdown,
    is_latex_table,
    list_items,
    to_csv,
    to_latex,
    to_markdown,
)
from vtbench.files import publish_text
from vtbench.reporting.arm_settings import tabulate_arms, tabulate_options
from vtbench.reporting.class_tables import PAGE
from vtbench.reporting.content import FURTHER_TABLES, TableKind, describe_progress, list_all_notes, name_report
from vtbench.reporting.failures import tell_failures
from vtbench.reporting.report import Report
from vtbench.reporting.run_tables import list_seed_numbers
from vtbench.reporting.side_by_side import list_side_notes, list_side_numbers, tabulate_sides
from vtbench.reporting.tables import TABLES_FOLDER, list_numbers, tabulate_seeds, tabulate_summary
from vtbench.reporting.tuning import (
    find_tuning,
    list_tuned_numbers,
    list_tuning_notes,
    list_tuning_numbers,
    tabulate_response,
    tabulate_tuning,
)

_EARLIER = {"table.csv": ("comparison,arm,", "model,family,"), "table.tex": (), "classes.csv": ("comparison,class,",)}
"""How what stood beside a report before its tables had a folder begins; LaTeX as all of it does."""
_LONGEST_HEAD = 4096
SUMMARY = "summary"
_OF_COMPARISONS = {
    SUMMARY: TableKind(lambda _, one, __: tabulate_summary(one), lambda _, one: list_numbers(one)),
    "seeds": TableKind(
        lambda _, one, __: tabulate_seeds(one), lambda report, one: list_seed_numbers(one, report.seconds)
    ),
    **FURTHER_TABLES,
}
_OF_REPORTS = ("arms", "options", "tuning", "trials", "old_and_new", "sources")


@dataclass(frozen=True)
class NamedTables:
    """What a file holds: tables, each below its heading if it needs one, notes, and the same as rows for machines."""

    tables: tuple[tuple[str, Table], ...]
    rows: Sequence[Mapping[str, Any]]
    notes: tuple[str, ...] = ()


def list_table_files() -> list[str]:
    """Every file that the tables of a report may have, relative to its folder."""
    return [f"{TABLES_FOLDER}/{name}.{suffix}" for name in (*_OF_COMPARISONS, *_OF_REPORTS) for suffix in _RENDERERS]


def find_earlier_files(folder: Path) -> list[str]:
    """The tables that a report was written with before they had a folder of their own, known by how they begin."""
    found = []
    for name, beginnings in _EARLIER.items():
        with suppress(OSError):  # What cannot be read is not known to be ours.
            if not (folder / name).is_file():
                continue
            with (folder / name).open(encoding="utf-8", errors="replace") as stream:
                head = stream.read(_LONGEST_HEAD)
            is_ours = head.startswith(beginnings) if beginnings else is_latex_table(head)
            found += [name] if is_ours else []
    return found


def write_tables(report: Report, folder: Path) -> tuple[Path, ...]:
    """Write the tables that ``report`` has into ``folder``; their paths."""
    return publish_tables(folder, name_report(report), list_tables(report))


def publish_tables(folder: Path, title: str, named: Mapping[str, NamedTables]) -> tuple[Path, ...]:
    """Write ``named`` tables of what ``title`` says, each in every format; their paths."""
    paths = []
    for name, tables in named.items():
        for suffix, render in _RENDERERS.items():
            paths.append(folder / TABLES_FOLDER / f"{name}.{suffix}")
            publish_text(paths[-1], render(tables, title))
    return tuple(paths)


def list_tables(report: Report) -> dict[str, NamedTables]:
    """The tables that ``report`` has, by the names of their files.

    The notes of all stand with the summary; that a report is interim stands with each.
    """
    found = {name: _gather(report, name) for name in _OF_COMPARISONS}
    found["arms"] = _spell(tabulate_arms(*report.comparisons))
    found["options"] = _spell(tabulate_options(*report.comparisons))
    if (tuning := find_tuning(report)) is not None:
        fresh, notes = report.fresh_means, tuple(list_tuning_notes(tuning))
        words = tabulate_tuning(tuning, fresh)
        found["tuning"] = NamedTables((("", words),), list_tuned_numbers(tuning, fresh), notes)
        found["trials"] = NamedTables((("", tabulate_response(tuning)),), list_tuning_numbers(tuning), notes[:1])
    if (sides := report.sides) is not None:
        rows = list_side_numbers(sides)["arms"]
        found["old_and_new"] = NamedTables((("", tabulate_sides(sides)),), rows, tuple(list_side_notes(sides)))
    found["sources"] = _spell(report.sources)
    progress = tuple(describe_progress(report))
    return {name: replace(one, notes=(*progress, *one.notes)) for name, one in found.items() if one.tables}


def gather_rows(report: Report, name: str) -> list[dict[str, Any]]:
    """The numbers of a kind of table of all comparisons below each other, told apart by their number."""
    return [
        {"comparison": number, **row}
        for number, comparison in enumerate(report.comparisons, 1)
        for row in _OF_COMPARISONS[name].list_numbers(report, comparison)
    ]


def _gather(report: Report, name: str) -> NamedTables:
    kind = _OF_COMPARISONS[name]
    of_each = [kind.tabulate(report, comparison, PAGE) for comparison in report.comparisons]
    tables = [
        (f"Comparison {number}" if len(of_each) > 1 else "", table)
        for number, table in enumerate(of_each, 1)
        if table is not None
    ]
    if name == SUMMARY:
        notes = [*list_all_notes(report), *tell_failures(report)]
    else:
        notes = [note for comparison in report.comparisons for note in kind.list_notes(report, comparison)]
    return NamedTables(tuple(tables), gather_rows(report, name) if tables else [], tuple(dict.fromkeys(notes)))


def _spell(table: Table | None) -> NamedTables:
    """A table of words: those are its rows, too, less the marks of what is not there."""
    if table is None:
        return NamedTables((), [])
    rows = [[None if cell == NOTHING else cell for cell in row] for row in table.rows]
    return NamedTables((("", table),), [dict(zip(table.header, row, strict=True)) for row in rows])


def _render_csv(named: NamedTables, _: str) -> str:
    inner = {key for row in named.rows for key, value in row.items() if isinstance(value, Mapping)}
    told = ({key: {} if value is None and key in inner else value for key, value in row.items()} for row in named.rows)
    return to_csv(dict(_flatten(row)) for row in told)


def _flatten(row: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """The row without rows in it: what is inside has the name of both; a list of plain values stands in one cell."""
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}_{inner}", item) for inner, item in _flatten(value))
        else:
            yield key, "; ".join(map(str, value)) if isinstance(value, list) else value


def _render_markdown(named: NamedTables, _: str) -> str:
    parts = [
        f"{f'**{escape_markdown(heading)}**' if heading else ''}\n\n{to_markdown(table)}".lstrip()
        for heading, table in named.tables
    ]
    return "\n".join([*parts, *([f"{list_items(named.notes)}\n"] if named.notes else [])])


def _render_latex(named: NamedTables, title: str) -> str:
    parts = [
        f"% {escape_latex(f'{title}: {heading}' if heading else title)}\n{to_latex(table)}"
        for heading, table in named.tables
    ]
    return "\n".join([*parts, *(["".join(f"% {escape_latex(note)}\n" for note in named.notes)] if named.notes else [])])


_RENDERERS = {"csv": _render_csv, "md": _render_markdown, "tex": _render_latex}
