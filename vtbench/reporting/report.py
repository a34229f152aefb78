"""A report of runs: read, compared, and written as Markdown, CSV, LaTeX and figures. Equal records give equal bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vtbench.documents.figures import save_figure
from vtbench.files import check_writable, publish_text
from vtbench.records import TimingRecord
from vtbench.reporting.comparisons import Comparison, build_comparisons
from vtbench.reporting.figures import FIGURES
from vtbench.reporting.outline import ReportOutline
from vtbench.reporting.provenance import describe_provenance
from vtbench.reporting.rendering import render_csv, render_latex, render_markdown
from vtbench.reporting.runs import LeftOut, RunKey, is_archive, load_runs
from vtbench.reporting.style import PNG_DPI, house_style


@dataclass(frozen=True)
class Report:
    """Everything that formats and figures show. ``comparisons[0]`` is that of the base; the others were kept apart.

    ``timings`` are those of the epochs of each run, by `identify_run`, where they were kept.
    """

    outline: ReportOutline
    comparisons: tuple[Comparison, ...]
    left_out: tuple[LeftOut, ...]
    provenance: tuple[tuple[str, str], ...]
    timings: Mapping[RunKey, tuple[TimingRecord, ...]] = field(default_factory=dict)


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
    comparisons = build_comparisons(loaded.records, loaded.outline, base=base)
    provenance = describe_provenance(loaded.records, loaded.outline)
    return Report(loaded.outline, comparisons, loaded.left_out, tuple(provenance), loaded.timings)


def write_report(folder: Path, out: Path | None = None, *, base: str | None = None) -> ReportPaths:
    """Report all runs beneath ``folder`` into ``out``; by default runs into ``report/``, an archive in place."""
    return save_report(build_report(folder, base=base), out or default_output(folder))


def default_output(folder: Path) -> Path:
    """Where the report of ``folder`` goes unless the user says otherwise."""
    return folder if is_archive(folder) else folder / "report"


def save_report(report: Report, out: Path) -> ReportPaths:
    """Write every file of ``report`` into ``out``, each whole. Raises ``UserError`` if ``out`` cannot be written."""
    check_writable(out)
    drawn = _save_figures(report, out)
    paths = ReportPaths(
        folder=out,
        markdown=out / "report.md",
        csv=out / "table.csv",
        latex=out / "table.tex",
        figures=tuple(path for figures in drawn.values() for saved in figures.values() for path in saved),
    )
    publish_text(paths.csv, render_csv(report))
    publish_text(paths.latex, render_latex(report))
    publish_text(
        paths.markdown, render_markdown(report, {index: _name_images(figures) for index, figures in drawn.items()})
    )
    return paths


def _save_figures(report: Report, out: Path) -> dict[int, dict[str, tuple[Path, ...]]]:
    """Draw every figure of every comparison; their files by the place of the comparison and the title of the figure."""
    for name in FIGURES:
        for stale in (*out.glob(f"{name}.*"), *out.glob(f"{name}_[0-9]*.*")):
            stale.unlink()
    drawn: dict[int, dict[str, tuple[Path, ...]]] = {}
    with house_style():
        for index in range(len(report.comparisons)):
            for name in FIGURES:
                if (drawing := FIGURES[name].draw(report, index)) is not None:
                    stem = f"{name}_{index + 1}" if index else name
                    drawn.setdefault(index, {})[FIGURES[name].title] = save_figure(drawing, out, stem, dpi=PNG_DPI)
    return drawn


def _name_images(figures: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    return {title: path.name for title, paths in figures.items() for path in paths if path.suffix == ".svg"}
