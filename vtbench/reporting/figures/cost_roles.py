"""What each arm's MACs are for: convolution, tokenizer, relation, projector and the rest, stacked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from markupsafe import Markup

from vtbench.layers.stated_cost import ROLES
from vtbench.reporting.charts.bars_chart import chart_bars
from vtbench.reporting.figures.figure import FIGURES, Figure, title_drawing
from vtbench.reporting.legends import explain_roles
from vtbench.reporting.measured_tables import find_measured
from vtbench.reporting.style import INK, LINES, Head, fit_columns, shorten_arm

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from vtbench.reporting.report import Report

TITLE = "MACs by role"


def list_roles(report: Report, index: int) -> dict[str, dict[str, int]]:
    """The MACs of each arm by role, of those that were counted so; without roles that have none."""
    found = ((arm.name, find_measured(report, arm)) for arm in report.comparisons[index].arms)
    return {
        name: {part.name: part.macs for part in one.roles if part.macs}
        for name, one in found
        if one is not None and one.roles
    }


def place_roles(bars: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """The roles of these bars, each with the place of its colour: that of `ROLES`, the same in every report."""
    roles = dict.fromkeys(role for parts in bars.values() for role in parts)
    known = {role: place for place, role in enumerate(ROLES) if role in roles}
    return known | {role: len(ROLES) + place for place, role in enumerate(role for role in roles if role not in known)}


def draw_roles(report: Report, index: int) -> Drawing | None:
    """One bar an arm in the order of the table; None where they were not counted by role."""
    bars = list_roles(report, index)
    if not bars:
        return None
    places = place_roles(bars)
    per_line = fit_columns(places)
    height = 0.55 + 0.17 * math.ceil(len(places) / per_line) + 0.2 * len(bars)
    title = title_drawing(report, index, "MACs by role")
    drawing = Head(title, explain_roles(report, index)).open(height)
    axes = drawing.add_subplot()
    names = [shorten_arm(name) for name in bars]
    scale, unit = (1e9, "G") if max(sum(parts.values()) for parts in bars.values()) >= 1e9 else (1e6, "M")
    begun = [0.0] * len(bars)
    for role, place in places.items():
        widths = [parts.get(role, 0) / scale for parts in bars.values()]
        color, hatch = LINES[place % len(LINES)][0], "//" if place >= 7 else None
        axes.barh(range(len(bars)), widths, 0.7, begun, color=color, edgecolor="white", hatch=hatch, label=role)
        begun = [start + width for start, width in zip(begun, widths, strict=True)]
    axes.set_yticks(range(len(bars)), names, color=INK)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"MACs per image ({unit})")
    drawing.legend(loc="outside lower center", ncols=per_line, labelcolor=INK)
    return drawing


def _chart(report: Report, index: int) -> Markup | None:
    bars = list_roles(report, index)
    told = "One bar an arm, stacked by what MACs are for"
    return chart_bars(bars, place_roles(bars), title=TITLE, description=told) if bars else None


FIGURES.add("cost_roles", Figure(title=TITLE, draw=draw_roles, below=True, chart=_chart, explain=explain_roles))
