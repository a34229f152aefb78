"""A metric against a cost: means with intervals, single seeds, the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from vtbench.metrics import Metric
from vtbench.reporting.charts.svg import (
    LETTER,
    WIDTH,
    Scale,
    draw_chart,
    draw_frame,
    draw_interval,
    draw_line,
    element,
    group,
    mark_seed,
    name_series,
    shorten_text,
)
from vtbench.reporting.cost_axes import MACS, CostAxis
from vtbench.reporting.labels import cut_line, place_labels
from vtbench.reporting.scatter import Point, choose_heights
from vtbench.stats.pareto import find_pareto_front
from vtbench.units import format_within

_LEFT, _TOP, _BOTTOM, _HEIGHT = 46.0, 26.0, 250.0, 292.0
_MOST_LABELS = 12
_LONGEST_LABEL = 130.0


def chart_points(points: Sequence[Point], metric: Metric, *, title: str, caption: str, axis: CostAxis = MACS) -> Markup:
    """The chart; of more than a dozen points the first and those of the front have a label, the others a hint."""
    scale, unit = axis.choose_unit([point.cost for point in points])
    costs = [point.cost / scale for point in points]
    log = min(costs) > 0 and max(costs) > 6 * min(costs)
    margin = 0.14 * (max(costs) - min(costs)) or 0.2 * max(costs) or 1.0
    low, high = (min(costs) / 1.35, max(costs) * 1.35) if log else (min(costs) - margin, max(costs) + margin)
    across = Scale(low, high, _LEFT, WIDTH - 8, log)
    up = Scale(*choose_heights(points), _BOTTOM, _TOP)
    front = find_pareto_front(costs, [metric.rank(point.value) for point in points])
    places = [(across.place(cost), up.place(point.value)) for cost, point in zip(costs, points, strict=True)]
    parts = draw_frame(across, up, bottom=_BOTTOM, top=_TOP, names=(f"{axis.label} ({unit})", metric.axis))
    if len(front) > 1:
        parts.append(draw_line([places[index] for index in front], "front"))
    for index, (point, (x, _)) in enumerate(zip(points, places, strict=True)):
        tip = f"{point.label}: {_tell(point, metric)}, {axis.label} {costs[index]:.4g} {unit}"
        parts.append(group(_draw_point(point, x, up, index, metric), arm=point.label, tip=tip))
    parts += _draw_labels(points, places, front, up)
    return draw_chart(parts, title=title, description=caption, height=_HEIGHT)


def _draw_point(point: Point, x: float, up: Scale, index: int, metric: Metric) -> list[Markup]:
    y, series = up.place(point.value), name_series(index)
    parts: list[Markup] = []
    if point.half_width is not None:
        ends = (point.value - point.half_width, point.value + point.half_width)
        parts += draw_interval(up, ends, x, "bar", series, upright=True)
    if 1 < len(point.seeds) <= 30:
        names = point.seed_names or (None,) * len(point.seeds)
        parts += [
            mark_seed(x, up.place(value), 2.2, series, point.label, seed, f"{metric.label} {metric.show(value)}")
            for value, seed in zip(point.seeds, names, strict=True)
        ]
    parts.append(element("circle", cx=x, cy=y, r=5.5, class_=f"mean {series}{' hollow' if point.hollow else ''}"))
    return parts


def _draw_labels(
    points: Sequence[Point], places: Sequence[tuple[float, float]], front: Sequence[int], up: Scale
) -> list[Markup]:
    every = range(len(points))
    named = list(every) if len(points) <= _MOST_LABELS else sorted({0, *front[: _MOST_LABELS - 1]})
    texts = [shorten_text(points[index].label, _LONGEST_LABEL) for index in named]
    bars = []
    for index in every:
        x, half = places[index][0], points[index].half_width or 0.0
        ends = (up.place(points[index].value + half), up.place(points[index].value - half))
        bars.append((x - 3, min(ends), x + 3, max(ends)))
    placements = place_labels(
        [places[index] for index in named],
        [(LETTER * len(text) + 4, 14.0) for text in texts],
        (_LEFT + 2, _TOP, WIDTH - 4, _BOTTOM - 2),
        [*bars, *cut_line([places[index] for index in front])],
        unlabelled=[places[index] for index in every if index not in named],
    )
    parts: list[Markup] = []
    for index, text, placement in zip(named, texts, placements, strict=True):
        left, top, right, bottom = placement.box
        x, y = places[index]
        if placement.distance_px >= 20:
            end = (min(max(x, left), right), min(max(y, top), bottom))
            parts.append(element("line", x1=x, y1=y, x2=end[0], y2=end[1], class_="leader"))
        label = element("text", text, x=(left + right) / 2, y=bottom - 3.5, class_="label", text_anchor="middle")
        parts.append(group([label], arm=points[index].label, tip=points[index].label))
    return parts


def _tell(point: Point, metric: Metric) -> str:
    half, digits = point.half_width, metric.digits
    told = metric.format(point.value) if half is None else format_within(point.value, half, digits=digits)
    return f"{metric.label} {told} {metric.unit}"
