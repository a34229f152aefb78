"""The literature's accuracy against the MACs and parameters counted here: one scale for all, beside what is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from vtbench.documents.figures import save_figure
from vtbench.documents.table import NOTHING, Table, list_items, to_csv, to_latex, to_markdown, to_plain_json
from vtbench.files import publish_set, publish_text
from vtbench.metrics import TOP1
from vtbench.published.results import CONVENTIONS, PublishedResult, load_costs, load_results
from vtbench.records import CostRecord
from vtbench.reporting.pages.page import PAGES, Page
from vtbench.reporting.rendering import MARKDOWN_FILE, ReportPaths, TextFormat
from vtbench.reporting.scatter import Point, draw_points
from vtbench.reporting.style import PNG_DPI, find_look, house_style
from vtbench.reporting.table_files import NamedTables, find_earlier_files, publish_tables
from vtbench.reporting.tables import TABLES_FOLDER
from vtbench.stats.pareto import find_pareto_front

TITLE = "Published ImageNet accuracy against MACs counted here"
_TABLE = "published"
PUBLISHED_FILES = (MARKDOWN_FILE, *(f"{TABLES_FOLDER}/{_TABLE}.{suffix}" for suffix in ("csv", "md", "tex")))
_MARKS = {"v1_stride": "a", "twice_macs": "b", "norm_counted": "c", "unverified": "d"}
_FRONT = (
    "Front (Pareto): yes where every row of more or equal accuracy needs more MACs, as counted here, and every one of "
    "as few or fewer MACs is less accurate."
)
_RECIPES = (
    "Every row was trained by the recipe that it names, and by no one here: accuracies of different recipes differ for "
    "reasons that are not the architecture. The VT paper's two recipes put its VT-R18 at 72.0 and at 76.8."
)


@dataclass(frozen=True)
class PublishedRow:
    """One published result with our count of it, None where the model is not registered here."""

    result: PublishedResult
    costs: CostRecord | None
    on_front: bool


def build_rows(results: Sequence[PublishedResult], costs: Mapping[str, CostRecord]) -> tuple[PublishedRow, ...]:
    """Join results and counts; the Pareto front is taken over all rows that have a count."""
    counted = [(result, costs.get(result.variant)) for result in results]
    measured = [(result, cost) for result, cost in counted if cost is not None]
    chosen = find_pareto_front([cost.macs for _, cost in measured], [result.top1_percent for result, _ in measured])
    front = {id(measured[index][0]) for index in chosen}
    return tuple(PublishedRow(result, cost, id(result) in front) for result, cost in counted)


def load_rows() -> tuple[PublishedRow, ...]:
    """All rows of the literature with the golden counts."""
    return build_rows(load_results(), load_costs())


def is_published_report(markdown: Path) -> bool:
    """Whether the text of a report is that of the literature, by its title."""
    with markdown.open(encoding="utf-8", errors="replace") as lines:
        return lines.readline() == f"# {TITLE}\n"


def write_published_report(out: Path) -> ReportPaths:
    """Write report, tables and figure into ``out``, all or none. Equal data give equal bytes."""
    rows = load_rows()
    caption = (
        "ImageNet top-1 as published, each by its own recipe; MACs at 224 x 224 as counted here; "
        "hollow: VT's advanced recipe; dashed: Pareto front"
    )
    with publish_set(out, stale=find_earlier_files(out)) as staged:
        with house_style():
            figure = draw_points(list_points(rows), TOP1, title=TITLE, caption=caption, legend=True, wide=True)
            figures = save_figure(figure, staged, "accuracy_macs", dpi=PNG_DPI, dark=True)
        notes = tuple(list_published_notes(rows))
        table = NamedTables((("", tabulate_published(rows)),), [*map(_flatten, rows)], notes)
        tables = publish_tables(staged, TITLE, {_TABLE: table})
        paths = ReportPaths(staged, staged / MARKDOWN_FILE, tables, figures)
        publish_text(paths.markdown, render_published(rows, "markdown", figure="accuracy_macs.svg"))
    return paths.move(out)


def tabulate_published(rows: Sequence[PublishedRow]) -> Table:
    """MACs in G and parameters in M: here, and as printed with a mark where the convention is another."""
    header = ("model", TOP1.head, "MACs (G)", "printed", "params (M)", "printed", "front", "recipe")
    body = tuple(
        (
            row.result.model,
            f"{row.result.top1_percent:.1f}",
            f"{row.costs.macs / 1e9:.3f}" if row.costs else NOTHING,
            _format_printed(row.result.printed_macs_g) + _mark(row),
            f"{row.costs.params / 1e6:.2f}" if row.costs else NOTHING,
            _format_printed(row.result.printed_params_m),
            "yes" if row.on_front else "",
            row.result.recipe,
        )
        for row in rows
    )
    return Table(header, body, (False, True, True, True, True, True, False, False))


def list_published_notes(rows: Sequence[PublishedRow]) -> list[str]:
    """Which printed MACs use another convention, which rows have no count, and what to make of the recipes."""
    notes = [_RECIPES, _FRONT]
    for convention, meaning in CONVENTIONS.items():
        names = [row.result.model for row in rows if row.result.convention == convention]
        if names:
            notes.append(f"({_MARKS[convention]}) {meaning}: {', '.join(names)}.")
    absent = [
        f"{row.result.model} ({'in no catalogue' if row.result.variant else row.result.note})"
        for row in rows
        if row.costs is None
    ]
    if absent:
        notes.append(f"Not counted and not drawn: {'; '.join(absent)}.")
    gaps = [
        f"{row.result.model} {gap:+.1%}" for row in rows if (gap := _find_gap(row)) is not None and abs(gap) >= 0.01
    ]
    notes.append(f"Counts that differ from the printed ones by 1 % or more: {', '.join(gaps)}. vtbench audit explains.")
    return notes


def list_recipes(rows: Sequence[PublishedRow]) -> list[str]:
    """Which rows each recipe trained, for where there is no room for a column."""
    recipes: dict[str, list[str]] = {}
    for row in rows:
        recipes.setdefault(row.result.recipe, []).append(row.result.model)
    return [f"trained by {recipe}: {', '.join(models)}." for recipe, models in recipes.items()]


def list_points(rows: Sequence[PublishedRow]) -> list[Point]:
    """The points of the figure."""
    return [
        Point(
            label=row.result.model,
            variant=row.result.variant,
            cost=row.costs.macs,
            value=row.result.top1_percent,
            hollow=row.result.recipe_kind == "vt_advanced",
        )
        for row in rows
        if row.costs and row.result.drawn
    ]


def render_published(rows: Sequence[PublishedRow], text_format: TextFormat, *, figure: str | None = None) -> str:
    """The table of the literature in one of the formats that are text."""
    if text_format == "csv":
        return to_csv(_flatten(row) for row in rows)
    if text_format == "json":
        plain = {"title": TITLE, "rows": [_flatten(row) for row in rows], "notes": list_published_notes(rows)}
        return to_plain_json(plain)
    if text_format == "latex":
        return to_latex(tabulate_published(rows))
    parts = [f"# {TITLE}", f"![{TITLE}]({figure})" if figure else "", to_markdown(tabulate_published(rows)).rstrip()]
    parts.append(list_items(list_published_notes(rows)))
    sources = "; ".join(dict.fromkeys(row.result.source for row in rows))
    parts.append(
        f"## Provenance\n\n- accuracy and printed costs: {sources}\n- counts: the golden costs of vtbench, at 224 x 224"
    )
    parts.append("Repeat with `vtbench report --published`.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _flatten(row: PublishedRow) -> dict[str, Any]:
    result = row.result
    return {
        "model": result.model,
        "family": find_look(result.variant or result.model).title,
        "variant": result.variant or None,
        TOP1.key: result.top1_percent,
        "macs": row.costs.macs if row.costs else None,
        "printed_macs_g": float(result.printed_macs_g) if result.printed_macs_g is not None else None,
        "params": row.costs.params if row.costs else None,
        "printed_params_m": float(result.printed_params_m) if result.printed_params_m is not None else None,
        "convention": result.convention,
        "on_front": row.on_front,
        "recipe": result.recipe,
        "source": result.source,
        "note": result.note or None,
    }


def _find_gap(row: PublishedRow) -> float | None:
    """Our MACs over the printed ones, less 1."""
    printed = row.result.printed_macs_g
    return None if row.costs is None or printed is None else row.costs.macs / (float(printed) * 1e9) - 1


def _mark(row: PublishedRow) -> str:
    mark = _MARKS.get(row.result.convention)
    return f" ({mark})" if mark and row.result.printed_macs_g else ""


def _format_printed(number: Decimal | None) -> str:
    return NOTHING if number is None else str(number)


def _write_page(reports: Path) -> list[Path]:
    folder = reports / "published"
    return [write_published_report(folder).markdown] if folder.is_dir() else []


def _render_block(reports: Path) -> str:
    return f"![{TITLE}](reports/published/accuracy_macs.svg)\n\n{list_items(list_published_notes(load_rows())[:1])}"


PAGES.add("published", Page(order=2, write=_write_page, block=_render_block))
