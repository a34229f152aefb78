"""A report as a page: answer, tables to sort and filter, charts to point at, every arm on demand, how to repeat it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from vtbench.documents.table import Table
from vtbench.reporting.arm_settings import tabulate_arms, tabulate_options, tabulate_settings
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.content import (
    answer_report,
    count_outcomes,
    explain_apart,
    limit_report,
    list_all_notes,
    list_further_tables,
    list_tuning_tables,
    name_report,
    name_together,
    tell_counts,
)
from vtbench.reporting.failures import list_failures
from vtbench.reporting.figures import FIGURES
from vtbench.reporting.report import INDEX_FILE, Report
from vtbench.reporting.side_by_side import list_side_notes, tabulate_sides
from vtbench.reporting.tables import MOST_SEEDS_SHOWN, tabulate_seeds, tabulate_summary
from vtbench.reporting.web.arms import ArmDetails, list_arm_details
from vtbench.reporting.web.certificate_table import tabulate_certificates
from vtbench.reporting.web.template import render_template

PAGE_FILE = "report.html"
_IMAGE_WIDTH = 780
_JPEG_QUALITY = 72


@dataclass(frozen=True)
class NamedTable:
    """A table with its caption, whether it is worth a filter, and where names in its first column lead."""

    caption: str
    table: Table
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def filtered(self) -> bool:
        """Whether there are rows enough to look for some."""
        return len(self.table.rows) > 5


@dataclass(frozen=True)
class Shown:
    """A figure on the page: a chart, or an image as data of the page; ``legend`` says what its marks are.

    ``pictures`` says that the image is made of pictures, and is no plot.
    """

    title: str
    chart: Markup | None
    image: str | None
    legend: str
    pictures: bool = False


@dataclass(frozen=True)
class Section:
    """One comparison on the page."""

    heading: str
    apart: str
    figures: tuple[Shown, ...]
    tables: tuple[NamedTable, ...]
    arms: tuple[ArmDetails, ...]
    settings: NamedTable
    certificates: NamedTable


def render_page(report: Report, drawn: Mapping[int, Mapping[str, Sequence[Path]]]) -> str:
    """The page. ``drawn`` are the files of figures, by the place of the comparison and the name of the figure."""
    sections = tuple(_build(report, index, drawn.get(index, {})) for index in range(len(report.comparisons)))
    facts = dict(report.provenance)
    command, needs = facts.pop("command", None), facts.pop("the command needs", None)
    tuning = [NamedTable(title, table) for title, table in zip(_TUNING, list_tuning_tables(report), strict=False)]
    return render_template(
        "report.html.jinja",
        title=name_report(report),
        question=report.outline.question,
        index=f"../{INDEX_FILE}" if report.indexed else None,
        answer=answer_report(report),
        limits=limit_report(report),
        counts=count_outcomes(report),
        told=tell_counts(report),
        failed=list(list_failures(report)),
        missing=_list_missing(report),
        sections=sections,
        notes=list_all_notes(report),
        sides=report.sides and NamedTable("Old and new", tabulate_sides(report.sides)),
        side_notes=list_side_notes(report.sides) if report.sides else [],
        sources=report.sources and NamedTable("What is in each folder", report.sources),
        tuning=tuning,
        left_out=report.left_out,
        facts=facts,
        command=command,
        goes_on=command is not None and report.outline.place is not None,
        needs=needs,
        in_python=report.outline.in_python,
    )


_TUNING = ("What each arm was tuned to", "What the trials came to")


def _build(report: Report, index: int, drawn: Mapping[str, Sequence[Path]]) -> Section:
    comparison = report.comparisons[index]
    return Section(
        heading=f"Kept apart: comparison {index + 1}" if comparison.apart else name_together(report),
        apart=explain_apart(comparison) if comparison.apart else "",
        figures=tuple(_show_figures(report, index, drawn)),
        tables=tuple(_list_tables(report, comparison)),
        arms=tuple(list_arm_details(report, comparison)),
        settings=NamedTable("Settings of data and recipe that have an effect", tabulate_settings(comparison)),
        certificates=NamedTable("What the runs have in common", tabulate_certificates(comparison.records)),
    )


_CAPTIONS = {
    "arm": "Image by image, against the reference",
    "factor": "Effects of the factors",
    "effect of": "Effects along other factors",
    "runs": "Runs of each arm, from the lowest to the highest",
    "contrast": "Arms against each other: what single options do",
    "measured": "Measured on one machine",
}
"""By the first column of a table."""


def _list_tables(report: Report, comparison: Comparison) -> list[NamedTable]:
    """The summary first; further tables are called as what they show, or as their first column."""
    metric = comparison.metric
    tables = [
        NamedTable(f"{metric.title[0].upper()}{metric.title[1:]}, costs and differences", tabulate_summary(comparison))
    ]
    if len(comparison.seeds) <= MOST_SEEDS_SHOWN:
        tables.append(NamedTable(f"{metric.head} of every run", tabulate_seeds(comparison)))
    further = list_further_tables(report, comparison)
    which = (("Which arm is which", tabulate_arms(comparison)), ("What the options are", tabulate_options(comparison)))
    tables += [NamedTable(caption, table) for caption, table in which if table is not None]
    return [*tables, *(NamedTable(_CAPTIONS.get(table.header[0], table.header[0]), table) for table in further)]


def _show_figures(report: Report, index: int, drawn: Mapping[str, Sequence[Path]]) -> Sequence[Shown]:
    shown = []
    for name in FIGURES:
        figure = FIGURES[name]
        legend = "" if figure.explain is None else figure.explain(report, index)
        if figure.chart is None and name in drawn:
            files = {path.suffix: path for path in drawn[name]}
            image = _embed_pictures(files[".png"]) if figure.pictures else _embed_plot(files[".svg"])
            shown.append(Shown(figure.title, None, image, legend, figure.pictures))
        elif figure.chart is not None and (chart := figure.chart(report, index)) is not None:
            shown.append(Shown(figure.title, chart, None, legend))
    return shown


def _embed_plot(path: Path) -> str:
    """The drawing as an address that holds it, dark for those who prefer that."""
    return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _embed_pictures(path: Path) -> str:
    """The image as an address that holds it, small enough to be sent with the page."""
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail((_IMAGE_WIDTH, 10 * _IMAGE_WIDTH))
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _list_missing(report: Report) -> list[str]:
    return [
        f"{arm.name}, seed {seed}"
        for comparison in report.comparisons
        for arm in comparison.arms
        for seed, outcome in arm.outcomes.items()
        if outcome.state == "missing"
    ]
