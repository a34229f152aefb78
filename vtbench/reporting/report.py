"""A report of runs: read, compared, and written as Markdown, CSV, LaTeX and figures. Equal records give equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtbench.documents.figures import save_figure
from vtbench.files import check_writable, publish_text
from vtbench.records import CostRecord
from vtbench.reporting.comparisons import Comparison, build_comparisons
from vtbench.reporting.figure import Point, draw_points
from vtbench.reporting.provenance import describe_provenance
from vtbench.reporting.rendering import Report, render_csv, render_latex, render_markdown
from vtbench.reporting.runs import is_archive, load_runs
from vtbench.reporting.style import PNG_DPI, house_style
from vtbench.stats.estimates import Estimate
from vtbench.units import format_items


@dataclass(frozen=True)
class ReportPaths:
    """Where a report was written. ``figures`` is empty where no run with known costs has finished."""

    folder: Path
    markdown: Path
    csv: Path
    latex: Path
    figures: tuple[Path, ...]


def build_report(*folders: Path, base: str | None = None) -> Report:
    """Read all runs beneath ``folders`` and compare them. Raises ``UserError`` if there is nothing to report."""
    loaded = load_runs(*folders)
    comparisons = build_comparisons(loaded.records, loaded.plan, base=base)
    provenance = describe_provenance(loaded.records, loaded.plan)
    return Report(loaded.plan, comparisons, loaded.left_out, tuple(provenance))


def write_report(folder: Path, out: Path | None = None, *, base: str | None = None) -> ReportPaths:
    """Report all runs beneath ``folder`` into ``out``; by default runs into ``report/``, an archive in place."""
    return save_report(build_report(folder, base=base), out or default_output(folder))


def default_output(folder: Path) -> Path:
    """Where the report of ``folder`` goes unless the user says otherwise."""
    return folder if is_archive(folder) else folder / "report"


def save_report(report: Report, out: Path) -> ReportPaths:
    """Write every file of ``report`` into ``out``, each whole. Raises ``UserError`` if ``out`` cannot be written."""
    check_writable(out)
    for stale in (*out.glob("accuracy_macs*.svg"), *out.glob("accuracy_macs*.png")):
        stale.unlink()
    figures = {index: path for index in range(len(report.comparisons)) if (path := _save_figure(report, index, out))}
    paths = ReportPaths(
        folder=out,
        markdown=out / "report.md",
        csv=out / "table.csv",
        latex=out / "table.tex",
        figures=tuple(path.with_suffix(suffix) for path in figures.values() for suffix in (".png", ".svg")),
    )
    publish_text(paths.csv, render_csv(report))
    publish_text(paths.latex, render_latex(report))
    publish_text(paths.markdown, render_markdown(report, {index: path.name for index, path in figures.items()}))
    return paths


def list_points(comparison: Comparison) -> list[Point]:
    """The points of a figure: every arm that has an accuracy and a cost."""
    return [
        Point(
            label=arm.name,
            variant=arm.variant,
            macs=arm.costs.macs,
            value=arm.mean.mean,
            half_width=arm.mean.half_width if isinstance(arm.mean.half_width, float) else None,
            seeds=tuple(one.value for one in arm.outcomes.values() if isinstance(one.value, float)),
        )
        for arm in comparison.arms
        if isinstance(arm.mean, Estimate) and isinstance(arm.costs, CostRecord)
    ]


def _save_figure(report: Report, index: int, out: Path) -> Path | None:
    """Draw the first comparison and every other that has two arms or more; the path of the SVG, or None."""
    points = list_points(report.comparisons[index])
    if len(points) < (2 if index else 1):
        return None
    name = f"accuracy_macs{f'_{index + 1}' if index else ''}"
    title = report.plan.title + (f", comparison {index + 1}" if index else "")
    caption = _write_caption(report.comparisons[index], points)
    with house_style():
        figure = draw_points(points, report.comparisons[index].metric, title=title, caption=caption, legend=False)
        return save_figure(figure, out, name, dpi=PNG_DPI)[1]


def _write_caption(comparison: Comparison, points: Sequence[Point]) -> str:
    record = comparison.records[0]
    seeds = format_items(len(comparison.seeds), "seed")
    bars = "; bars: 95 % t interval, small dots: single seeds" if any(point.half_width for point in points) else ""
    front = "; dashed: Pareto front" if len(points) > 1 else ""
    return f"{shorten(record.config.data.spec)}, {record.config.recipe.epochs} epochs, {seeds}{bars}{front}"


def shorten(spec: str) -> str:
    """A data set's name without the folders of its path: ``parquet:../data/cifar10`` is ``cifar10`` in a caption."""
    return Path(spec.partition(":")[2]).name if "/" in spec else spec
