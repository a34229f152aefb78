"""What each arm gains and loses on each class against the base."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from markupsafe import Markup

from vtbench.metrics import CLASS_IOU
from vtbench.reporting.charts.classes_chart import chart_classes
from vtbench.reporting.class_differences import find_class_differences
from vtbench.reporting.figures.figure import FIGURES, Figure, title_drawing
from vtbench.reporting.legends import explain_classes
from vtbench.reporting.style import INK, LINES, Head, fit_columns, mark_cut_ends, shorten_arm

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from vtbench.reporting.report import Report

TITLE = "Differences by class"


def draw_differences(report: Report, index: int) -> Drawing | None:
    """One row a class, one dot with its interval an arm; None where the task has no classes of pixels."""
    comparison = report.comparisons[index]
    found = find_class_differences(comparison)
    if found is None:
        return None
    step = 0.8 / len(found.arms)
    per_line = fit_columns([arm for _, arm in found.arms])
    height = 0.5 + 0.17 * math.ceil(len(found.arms) / per_line) + len(found.rows) * (0.08 + 0.09 * len(found.arms))
    title = title_drawing(report, index, "differences by class")
    drawing = Head(title, explain_classes(report, index)).open(height)
    axes = drawing.add_subplot()
    for at, (place, arm) in enumerate(found.arms):
        kept = [(number, ones[at]) for number, (_, ones) in enumerate(found.rows)]
        shown = [(number - 0.4 + step * (at + 0.5), one) for number, one in kept if one is not None]
        halves = [one.half_width if isinstance(one.half_width, float) else 0.0 for _, one in shown]
        axes.errorbar(
            [one.mean for _, one in shown],
            [height for height, _ in shown],
            xerr=halves,
            fmt="o",
            markersize=3,
            elinewidth=0.9,
            color=LINES[place % len(LINES)][0],
            label=shorten_arm(arm),
        )
    means = [0.0, *(one.mean for _, ones in found.rows for one in ones if one is not None)]
    margin = max(max(means) - min(means), 0.5)
    axes.set_xlim(min(means) - margin, max(means) + margin)
    for at, (place, _) in enumerate(found.arms):
        for number, (_, ones) in enumerate(found.rows):
            if (one := ones[at]) is not None and one.interval is not None:
                height = number - 0.4 + step * (at + 0.5)
                mark_cut_ends(axes, one.interval, height, LINES[place % len(LINES)][0])
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    axes.set_yticks(range(len(found.rows)), [shorten_arm(name) for name, _ in found.rows], color=INK)
    axes.set_ylim(len(found.rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{CLASS_IOU.label} against {shorten_arm(comparison.base)} ({CLASS_IOU.difference_unit})")
    drawing.legend(loc="outside lower center", ncols=per_line, labelcolor=INK)
    return drawing


def _chart(report: Report, index: int) -> Markup | None:
    comparison = report.comparisons[index]
    found = find_class_differences(comparison)
    return None if found is None else chart_classes(found, comparison.base, TITLE)


FIGURES.add(
    "class_differences", Figure(title=TITLE, draw=draw_differences, below=True, chart=_chart, explain=explain_classes)
)
