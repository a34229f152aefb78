"""What each arm changes: its difference to the base with both intervals, and the difference of every seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vtbench.reporting.charts.forest_chart import chart_effects
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.effects import Effect, list_effects, reach_effects
from vtbench.reporting.figures.figure import FIGURES, Figure, title_drawing
from vtbench.reporting.forest import open_forest, set_forest_axes
from vtbench.reporting.legends import explain_effects
from vtbench.reporting.style import Head, find_look, mark_cut_ends, shorten_arm

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

    from vtbench.reporting.report import Report

TITLE = "Differences to the reference"
MOST_ARMS = 60
"""Of more arms those of the largest differences are shown."""


def draw_effects(report: Report, index: int) -> Drawing | None:
    """A forest plot: one line an arm in the order of the table, zero being the base."""
    comparison = report.comparisons[index]
    every = list_effects(comparison)
    if not every:
        return None
    largest = sorted(every, key=lambda row: -abs(row.estimate.mean))[:MOST_ARMS]
    rows = [row for row in every if row in largest] if len(every) > MOST_ARMS else every
    title = title_drawing(report, index, "differences")
    head = Head(title, _write_caption(comparison, rows, every))
    names = [shorten_arm(row.arm.name) for row in rows]
    figure, axes = open_forest(head, names, line=0.22 if len(rows) <= 20 else 0.17)
    for place, row in enumerate(rows):
        _draw_row(axes, place, row)
    set_forest_axes(axes, names, reach_effects(rows))
    for place, row in enumerate(rows):
        for interval in _list_intervals(row):
            mark_cut_ends(axes, interval, place, find_look(row.arm.variant).color)
    metric = comparison.metric
    axes.set_xlabel(f"{metric.label} against {shorten_arm(comparison.base)} ({metric.difference_unit})")
    return figure


def _draw_row(axes: Axes, place: int, row: Effect) -> None:
    """The thin line is the interval that holds for all arms, the thick one that of the arm alone."""
    color = find_look(row.arm.variant).color
    together = row.arm.together.interval if row.arm.together is not None else None
    for ends, width, shade in ((together, 0.9, 0.9), (row.estimate.interval, 3.0, 0.45)):
        if ends is not None and not (ends == together and width > 2):
            axes.plot(ends, (place, place), color=color, linewidth=width, alpha=shade, solid_capstyle="butt", zorder=2)
    if len(row.seeds) > 1:
        axes.scatter(row.seeds, [place + 0.22] * len(row.seeds), s=4, color=color, alpha=0.75, linewidths=0, zorder=2.5)
    axes.scatter([row.estimate.mean], [place], s=24, color=color, edgecolors="white", linewidths=0.6, zorder=3)


def _list_intervals(row: Effect) -> list[tuple[float, float]]:
    """That for all arms where there is one, else the arm's own: it reaches as far."""
    estimates = (row.arm.together, row.estimate)
    return [one.interval for one in estimates if one is not None and one.interval is not None][:1]


def _write_caption(comparison: Comparison, rows: Sequence[Effect], every: Sequence[Effect]) -> str:
    said = ["mean of the paired differences"]
    if any(len(row.seeds) > 1 for row in rows):
        said.append("small dots: single seeds")
    if comparison.until is not None:
        said.append("line: interval over all arms and looks (95 %)")
    elif any(row.estimate.interval for row in rows):
        thin = f", thin: for all {len(comparison.family)} together" if len(comparison.family) > 1 else ""
        said.append(f"thick line: 95 % t interval{thin}")
    if len(rows) < len(every):
        said.append(f"the {len(rows)} largest of {len(every):,}")
    return "; ".join(said)


FIGURES.add(
    "effects",
    Figure(
        title=TITLE,
        draw=draw_effects,
        below=True,
        chart=lambda report, index: chart_effects(report.comparisons[index], TITLE),
        explain=explain_effects,
    ),
)
