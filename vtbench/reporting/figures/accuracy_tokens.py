"""The headline metric over the number of tokens, where a study varied it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from vtbench.documents.table import escape_controls
from vtbench.documents.wrapping import shorten
from vtbench.reporting.charts.tokens_chart import chart_tokens
from vtbench.reporting.figures.figure import FIGURES, Figure, title_drawing
from vtbench.reporting.legends import explain_tokens
from vtbench.reporting.style import INK, LETTER, LINES, WIDTH, Head
from vtbench.reporting.token_curves import list_token_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from vtbench.reporting.report import Report

TITLE = "Accuracy against tokens"


def draw_tokens(report: Report, index: int) -> Drawing | None:
    """One line for arms that differ in nothing else; None where no two do."""
    comparison = report.comparisons[index]
    curves = list_token_curves(comparison)
    if not curves:
        return None
    from matplotlib.ticker import FuncFormatter, NullLocator

    title = title_drawing(report, index, "accuracy against tokens")
    drawing = Head(title, explain_tokens(report, index)).open(2.8 + 0.17 * len(curves))
    axes = drawing.add_subplot()
    for place, curve in enumerate(curves):
        color, dashes = LINES[place % len(LINES)]
        halves = [mean.half_width if isinstance(mean.half_width, float) else 0.0 for _, _, mean in curve.points]
        numbers, means = [number for number, _, _ in curve.points], [mean.mean for _, _, mean in curve.points]
        name = shorten(escape_controls(curve.name), int((WIDTH - 0.6) / LETTER))
        axes.errorbar(
            numbers,
            means,
            halves,
            color=color,
            linestyle=dashes,
            marker="o",
            markersize=4,
            capsize=2.5,
            linewidth=1.2,
            label=name,
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({number for curve in curves for number, _, _ in curve.points}))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("tokens")
    axes.set_ylabel(comparison.metric.axis)
    drawing.legend(loc="outside lower center", labelcolor=INK)
    return drawing


def _chart(report: Report, index: int) -> Markup | None:
    comparison = report.comparisons[index]
    curves = list_token_curves(comparison)
    return chart_tokens(curves, comparison.metric, TITLE) if curves else None


FIGURES.add("accuracy_tokens", Figure(title=TITLE, draw=draw_tokens, below=True, chart=_chart, explain=explain_tokens))
