"""A metric against a cost: labelled points that do not overlap, error bars, single seeds, and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtbench.catalog import Look
from vtbench.documents.wrapping import spell_name
from vtbench.metrics import Metric
from vtbench.reporting.cost_axes import MACS, CostAxis
from vtbench.reporting.labels import Label, draw_labels
from vtbench.reporting.style import INK, MUTED, SMALL, WIDE, WIDTH, Head, find_look, mark_cut_ends, shorten_arm
from vtbench.stats.pareto import find_pareto_front

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LABELS, MOST_LABELS_WIDE = 12, 48
"""Of so many points each has its label."""
LABELS_OF_MANY = 12
"""Of more points so many have a label at most: those of the Pareto front, and the first."""
_LEFT, _RIGHT, _FOOT, _LEGEND_LINE = 0.56, 0.1, 0.42, 0.19
"""Inches around the plot, and of a line of the legend below it."""


@dataclass(frozen=True)
class Point:
    """One labelled point. ``half_width`` draws an error bar; ``seeds`` are the single runs behind the mean,
    ``seed_names`` say of which seed each is.

    ``hollow`` sets a point apart, for example one that was trained by another recipe.
    """

    label: str
    variant: str
    cost: float
    value: float
    half_width: float | None = None
    seeds: tuple[float, ...] = ()
    seed_names: tuple[int, ...] = ()
    hollow: bool = False


def draw_points(
    points: Sequence[Point],
    metric: Metric,
    *,
    title: str,
    caption: str,
    legend: bool,
    axis: CostAxis = MACS,
    wide: bool = False,
) -> Figure:
    """The figure of values of ``metric``; no window system is touched. Call it inside `house_style`.

    Beyond `MOST_LABELS` points, of a ``wide`` figure `MOST_LABELS_WIDE`, the first and the Pareto front have a label,
    and the caption says how many have none.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    most = MOST_LABELS_WIDE if wide else MOST_LABELS
    named = _choose_labelled(points, metric, most)
    if len(named) < len(points):
        caption += f"; {len(points) - len(named):,} of {len(points):,} without label"
    width = WIDE if wide else WIDTH
    head, looks = Head(title, caption, width=width), _list_looks(points) if legend else []
    per_line = 6 if wide else 3
    foot = _FOOT + (_LEGEND_LINE * math.ceil(len(looks) / per_line) + 0.1 if looks else 0)
    plot = 5.0 if wide else 3.2 if len(points) > 6 else 2.6
    height = head.inches + plot + foot
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((_LEFT / width, foot / height, (width - _LEFT - _RIGHT) / width, plot / height))
    scale, unit = axis.choose_unit([point.cost for point in points])
    _set_axes(axes, points, scale)
    axes.set_xlabel(f"{axis.label} ({unit})")
    axes.set_ylabel(metric.axis)
    head.write(figure)
    front = _draw_front(axes, points, metric, scale)
    if len(points) > most:
        _draw_many(axes, points, scale)
    else:
        for point in points:
            _draw_point(axes, point, scale)
    for point in points:
        if point.half_width is not None:
            ends = (point.value - point.half_width, point.value + point.half_width)
            mark_cut_ends(axes, ends, point.cost / scale, find_look(point.variant).color, upright=True)
    labels = [_make_label(point, scale, spell_name if wide else shorten_arm) for point in points]
    draw_labels(
        axes,
        [label for index, label in enumerate(labels) if index in named],
        front,
        size=SMALL,
        unlabelled=[label for index, label in enumerate(labels) if index not in named],
    )
    if looks:
        _draw_legend(figure, looks, per_line)
    return figure


def _set_axes(axes: Axes, points: Sequence[Point], scale: float) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    costs = [point.cost / scale for point in points]
    if max(costs) > 6 * min(costs):
        axes.set_xscale("log")
        axes.set_xlim(min(costs) / 1.35, max(costs) * 1.35)
        axes.set_xticks([tick for tick in _list_log_ticks() if min(costs) / 1.35 <= tick <= max(costs) * 1.35])
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        margin = 0.14 * (max(costs) - min(costs)) or 0.2 * max(costs)
        axes.set_xlim(min(costs) - margin, max(costs) + margin)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    axes.set_ylim(*choose_heights(points))


def _list_log_ticks() -> list[float]:
    return [mantissa * 10.0**power for power in range(-3, 5) for mantissa in (1, 1.5, 2, 3, 5, 7)]


def choose_heights(points: Sequence[Point]) -> tuple[float, float]:
    """The ends of the axis: all means and seeds fit, and error bars as far as they at most triple it; the rim cuts."""
    values = [value for point in points for value in (point.value, *point.seeds)]
    low, high = min(values), max(values)
    span = max(high - low, 0.5)
    ends = [(point.value - (point.half_width or 0), point.value + (point.half_width or 0)) for point in points]
    low = min(low, max(min(end[0] for end in ends), low - span))
    high = max(high, min(max(end[1] for end in ends), high + span))
    margin = 0.12 * max(high - low, 0.5)
    return low - margin, high + margin


def _choose_labelled(points: Sequence[Point], metric: Metric, most: int) -> set[int]:
    """The places of the points that have a label; a front that is longer than can be read is thinned out evenly."""
    if len(points) <= most:
        return set(range(len(points)))
    front = find_pareto_front([point.cost for point in points], [metric.rank(point.value) for point in points])
    room = LABELS_OF_MANY - 1
    kept = front if len(front) <= room else [front[step * (len(front) - 1) // (room - 1)] for step in range(room)]
    return {0, *kept}


def _draw_front(axes: Axes, points: Sequence[Point], metric: Metric, scale: float) -> list[tuple[float, float]]:
    chosen = find_pareto_front([point.cost for point in points], [metric.rank(point.value) for point in points])
    front = [(points[index].cost / scale, points[index].value) for index in chosen]
    if len(front) > 1:
        axes.plot(*zip(*front, strict=True), color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    return front


def _draw_point(axes: Axes, point: Point, scale: float) -> None:
    look = find_look(point.variant)
    cost = point.cost / scale
    if point.half_width is not None:
        axes.errorbar(
            cost, point.value, point.half_width, color=look.color, alpha=0.55, linewidth=1.0, capsize=2.5, zorder=2
        )
    if len(point.seeds) > 1:
        axes.scatter(
            [cost] * len(point.seeds),
            point.seeds,
            s=10,
            color=look.color,
            edgecolors="white",
            linewidths=0.4,
            zorder=2.5,
        )
    size = 75 if look.marker == "*" else 38
    face, edge, width = ("white", look.color, 1.4) if point.hollow else (look.color, "white", 0.6)
    axes.scatter([cost], [point.value], s=size, c=face, marker=look.marker, edgecolors=edge, linewidths=width, zorder=3)


def _draw_many(axes: Axes, points: Sequence[Point], scale: float) -> None:
    """As `_draw_point` for each, smaller and paler, with all points of one look at once: thousands take a moment."""
    for look in dict.fromkeys(find_look(point.variant) for point in points):
        alike = [point for point in points if find_look(point.variant) == look]
        barred = [point for point in alike if point.half_width is not None]
        axes.errorbar(
            [point.cost / scale for point in barred],
            [point.value for point in barred],
            [point.half_width or 0.0 for point in barred],
            fmt="none",
            ecolor=look.color,
            alpha=0.25,
            elinewidth=0.7,
            zorder=1.8,
        )
        singles = [(point.cost / scale, seed) for point in alike if len(point.seeds) > 1 for seed in point.seeds]
        if singles:
            across, up = zip(*singles, strict=True)
            axes.scatter(across, up, s=5, color=look.color, alpha=0.5, linewidths=0, zorder=2.5)
        faces = ["white" if point.hollow else look.color for point in alike]
        edges = [look.color if point.hollow else "white" for point in alike]
        costs, values = [point.cost / scale for point in alike], [point.value for point in alike]
        axes.scatter(costs, values, s=26, c=faces, edgecolors=edges, marker=look.marker, linewidths=0.5, zorder=3)


def _make_label(point: Point, scale: float, spell: Callable[[str], str]) -> Label:
    half_width = point.half_width or 0.0
    reach = (point.value - half_width, *point.seeds, point.value + half_width)
    color = find_look(point.variant).color
    return Label(spell(point.label), point.cost / scale, point.value, min(reach), max(reach), color)


def _list_looks(points: Sequence[Point]) -> list[Look]:
    return list(dict.fromkeys(find_look(point.variant) for point in points))


def _draw_legend(figure: Figure, looks: Sequence[Look], per_line: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=look.color, marker=look.marker, linestyle="", markersize=5, label=look.title)
        for look in looks
    ]
    figure.legend(handles=handles, loc="lower center", ncols=per_line, labelcolor=INK, handletextpad=0.2)
