"""A report written down: Markdown, CSV, LaTeX, JSON and figures. Equal reports give equal bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vtbench.documents.figures import FORMATS, save_figure
from vtbench.documents.table import (
    escape_latex,
    escape_markdown,
    list_items,
    to_csv,
    to_latex,
    to_markdown,
    to_plain_json,
)
from vtbench.files import place_within, publish_set, publish_text, resolve
from vtbench.reporting.arm_settings import tabulate_arms, tabulate_options
from vtbench.reporting.content import (
    FURTHER_TABLES,
    INTERIM,
    answer_report,
    describe_progress,
    explain_apart,
    limit_report,
    list_all_notes,
    list_further_tables,
    list_tuning_tables,
    name_report,
    name_together,
    tell_counts,
)
from vtbench.reporting.failures import Failure, list_failures, tell_failures
from vtbench.reporting.figures import FIGURES
from vtbench.reporting.report import Report, build_report
from vtbench.reporting.runs import is_archive
from vtbench.reporting.side_by_side import list_side_notes, list_side_numbers, tabulate_sides
from vtbench.reporting.style import PNG_DPI, house_style
from vtbench.reporting.table_files import find_earlier_files, gather_rows, list_table_files, write_tables
from vtbench.reporting.tables import TABLES_FOLDER, list_numbers, tabulate_seeds, tabulate_summary
from vtbench.reporting.tuning import find_tuning, list_tuning_numbers
from vtbench.reporting.web.report_page import PAGE_FILE, render_page
from vtbench.units import format_items

MARKDOWN_FILE = "report.md"
_LONGEST_NAME = 100
TextFormat = Literal["markdown", "csv", "latex", "json"]


@dataclass(frozen=True)
class ReportPaths:
    """Where a report was written. ``figures`` is empty where no run with known costs has finished.

    ``page`` is None where there is none.
    """

    folder: Path
    markdown: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]
    page: Path | None = None

    def list_names(self) -> list[str]:
        """What was written, by the names within the folder: the tables by their folder and how many there are."""
        texts = [path.name for path in (self.markdown, self.page) if path is not None]
        num_tables = format_items(len({path.stem for path in self.tables}), "table")
        return [*texts, f"{num_tables} in {TABLES_FOLDER}/", *(path.name for path in self.figures)]

    def move(self, folder: Path) -> ReportPaths:
        """The same files in another folder."""
        markdown, *others = (
            folder / path.relative_to(self.folder) for path in (self.markdown, *self.tables, *self.figures)
        )
        tables, figures = others[: len(self.tables)], others[len(self.tables) :]
        page = None if self.page is None else folder / self.page.name
        return ReportPaths(folder, markdown, tuple(tables), tuple(figures), page)


def write_report(folder: Path, out: Path | None = None, *, base: str | None = None) -> ReportPaths:
    """Report all runs beneath ``folder`` into ``out``; by default runs into ``report/``, an archive in place."""
    return save_report(build_report(folder, base=base), out or default_output(folder))


def default_output(*folders: Path) -> Path:
    """Where the report of ``folders`` goes unless the user says otherwise; not through a link out of the first.

    That of several lies beside that of the first.
    """
    if len(folders) == 1 and is_archive(folders[0]):
        return folders[0]
    others = "".join(f"-with-{resolve(folder).name}" for folder in folders[1:])
    return place_within(folders[0], f"report{others}"[:_LONGEST_NAME])


def is_report_of(report: Report, markdown: Path) -> bool:
    """Whether the text of a report is of the same runs, by its title."""
    with markdown.open(encoding="utf-8", errors="replace") as lines:
        title = lines.readline().rstrip("\n").removesuffix(INTERIM)
    return title == f"# {escape_markdown(report.outline.title)}"


def save_report(report: Report, out: Path, *, every_figure: bool = False) -> ReportPaths:
    """Write the files of ``report`` into ``out``, all or none. Raises ``UserError`` if ``out`` cannot be written."""
    with publish_set(out, stale=(*list_optional_files(), *find_earlier_files(out))) as staged:
        return write_files(report, staged, every_figure=every_figure).move(out)


def list_optional_files() -> list[str]:
    """Patterns of the files that one report has and another has not: of all tables and figures."""
    figures = (
        f"{name}{number}.{suffix}" for name in FIGURES for number in ("", "_[0-9]*") for suffix in (*FORMATS, "pdf")
    )
    return [*list_table_files(), *figures]


def write_files(report: Report, folder: Path, *, every_figure: bool = False) -> ReportPaths:
    """Write every file of ``report`` into ``folder``; ``every_figure`` is one of them, as PDF, too."""
    drawn = _save_figures(report, folder, every_figure=every_figure)
    paths = ReportPaths(
        folder=folder,
        markdown=folder / MARKDOWN_FILE,
        tables=write_tables(report, folder),
        figures=tuple(path for figures in drawn.values() for saved in figures.values() for path in saved),
        page=folder / PAGE_FILE,
    )
    publish_text(folder / PAGE_FILE, render_page(report, drawn))
    publish_text(
        paths.markdown,
        render_markdown(
            report,
            {
                index: {name: path.name for name, paths in own.items() for path in paths if path.suffix == ".svg"}
                for index, own in drawn.items()
            },
        ),
    )
    return paths


def _save_figures(report: Report, folder: Path, *, every_figure: bool) -> dict[int, dict[str, tuple[Path, ...]]]:
    """Draw every figure of every comparison; their files by the place of the comparison and the name of the figure."""
    drawn: dict[int, dict[str, tuple[Path, ...]]] = {}
    with house_style():
        for index in range(len(report.comparisons)):
            for name in FIGURES:
                if FIGURES[name].asked and not every_figure:
                    continue
                if (drawing := FIGURES[name].draw(report, index)) is not None:
                    stem = f"{name}_{index + 1}" if index else name
                    drawn.setdefault(index, {})[name] = save_figure(
                        drawing, folder, stem, dpi=PNG_DPI, pdf=every_figure, dark=True
                    )
    return drawn


def render_report(report: Report, text_format: TextFormat) -> str:
    """The report in one of the formats that are text."""
    renderers = {"csv": render_csv, "latex": render_latex, "json": render_json, "markdown": render_markdown}
    return renderers[text_format](report)


def render_csv(report: Report) -> str:
    """The summaries of all comparisons below each other, told apart by their number; raw numbers."""
    return to_csv(gather_rows(report, "summary"))


def render_latex(report: Report) -> str:
    """A ``tabular`` a comparison, and one of its classes if it has some; the notes as comments."""
    parts = [f"% {escape_latex(report.outline.title)}\n"]
    for number, comparison in enumerate(report.comparisons, 1):
        if comparison.apart:
            parts.append(f"% Comparison {number}, kept apart: {escape_latex('; '.join(comparison.apart))}\n")
        parts.append(to_latex(tabulate_summary(comparison)))
        parts += [to_latex(table) for table in list_further_tables(report, comparison)]
    parts += [to_latex(table) for table in list_tuning_tables(report)]
    notes = (*list_all_notes(report), *tell_failures(report))
    parts.append("".join(f"% {escape_latex(note)}\n" for note in notes))
    return "\n".join(parts)


def render_markdown(report: Report, figures: Mapping[int, Mapping[str, str]] | None = None) -> str:
    """The whole report. ``figures`` gives for a comparison's place the files of its figures by their names."""
    figures = figures or {}
    parts = [f"# {escape_markdown(name_report(report))}", escape_markdown(report.outline.question or "")]
    parts += [escape_markdown(f"**Answer.** {' '.join(answer_report(report))}"), escape_markdown(limit_report(report))]
    parts.append(f"{tell_counts(report)}.")
    if report.sides is not None:
        parts += ["## Old and new", to_markdown(tabulate_sides(report.sides)).rstrip()]
        parts.append(list_items(list_side_notes(report.sides)))
    if report.sources is not None:
        parts += [f"## {name_together(report)}", to_markdown(report.sources).rstrip()]
    for index, comparison in enumerate(report.comparisons):
        if comparison.apart:
            parts += [f"## Kept apart: comparison {index + 1}", escape_markdown(explain_apart(comparison))]
        for name, file in figures.get(index, {}).items():
            if not FIGURES[name].below:
                parts += _show_figure(report, index, name, file)
        parts.append(to_markdown(tabulate_summary(comparison)).rstrip())
        parts.append(to_markdown(tabulate_seeds(comparison)).rstrip())
        parts += [to_markdown(table).rstrip() for table in list_further_tables(report, comparison)]
    parts.append(list_items(list_all_notes(report)))
    parts += _list_arms(report)
    if tables := list_tuning_tables(report):
        parts += ["## Tuning", *(to_markdown(table).rstrip() for table in tables)]
    for index, of_comparison in figures.items():
        for name, file in of_comparison.items():
            if (figure := FIGURES[name]).below:
                parts.append(f"## {figure.title}" + (f", comparison {index + 1}" if index else ""))
                parts += _show_figure(report, index, name, file)
    if failures := list(list_failures(report)):
        parts += ["## Failed runs", list_items(map(_describe_failure, failures))]
    if report.left_out:
        parts.append("## Left out")
        parts.append(list_items(f"`{left.path}`: {left.reason}" for left in report.left_out))
    parts.append("## Provenance")
    quoted = [(name, f"`{text}`" if name == "command" else text) for name, text in report.provenance]
    parts.append(list_items(f"{name}: {text}" for name, text in quoted))
    return "\n\n".join(part for part in parts if part) + "\n"


def _show_figure(report: Report, index: int, name: str, file: str) -> list[str]:
    figure = FIGURES[name]
    legend = [escape_markdown(figure.explain(report, index))] if figure.explain is not None else []
    return [f"![{figure.title}]({file})", *legend]


def _describe_failure(run: Failure) -> str:
    """The whole reason on one line, since a list item is one."""
    where = f", in `{run.place}`" if run.place else ""
    where += f", traceback in `{run.traceback}`" if run.traceback else ""
    return f"{run.name}{where}: {' '.join(run.reason.split())}"


def render_json(report: Report) -> str:
    """The report as JSON: numbers not cut for show, null where there is none, the notes beside them."""
    plain = {
        "title": report.outline.title,
        "question": report.outline.question,
        "comparisons": [
            {
                "base": comparison.base,
                "kept_apart_because": comparison.apart,
                "arms": list(list_numbers(comparison)),
                **{
                    name: rows
                    for name, kind in FURTHER_TABLES.items()
                    if (rows := list(kind.list_numbers(report, comparison)))
                },
            }
            for comparison in report.comparisons
        ],
        **({"tuning": list_tuning_numbers(tuning)} if (tuning := find_tuning(report)) else {}),
        **({"old_and_new": list_side_numbers(report.sides)} if report.sides else {}),
        **({"interim": True} if describe_progress(report) else {}),
        "answer": answer_report(report),
        "notes": list_all_notes(report),
        "failed": [vars(run) for run in list_failures(report)],
        "left_out": [{"path": left.path, "reason": left.reason} for left in report.left_out],
        "provenance": dict(report.provenance),
    }
    return to_plain_json(plain)


def _list_arms(report: Report) -> list[str]:
    tables = (tabulate_arms(*report.comparisons), tabulate_options(*report.comparisons))
    return [to_markdown(table).rstrip() for table in tables if table is not None]
