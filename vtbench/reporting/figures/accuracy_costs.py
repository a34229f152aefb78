"""The headline metric against what an arm costs, with intervals, single seeds and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from vtbench.reporting.charts.scatter_chart import chart_points
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.cost_axes import (
    LATENCY,
    MACS,
    MEMORY,
    PARAMS,
    CostAxis,
    read_measurement,
    tell_conditions,
)
from vtbench.reporting.figures.figure import FIGURES, Figure, title_drawing
from vtbench.reporting.legends import explain_costs
from vtbench.reporting.scatter import Point, draw_points
from vtbench.stats.estimates import Estimate
from vtbench.stats.pareto import find_pareto_front
from vtbench.units import format_items

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from vtbench.reporting.report import Report


def draw_accuracy(report: Report, index: int, axis: CostAxis = MACS) -> Drawing | None:
    """The first comparison, and every other that has two arms or more."""
    comparison = report.comparisons[index]
    points = list_points(report, index, axis)
    if len(points) < (2 if index else 1):
        return None
    title = title_drawing(report, index)
    caption = _write_caption(report, index, points, axis)
    return draw_points(points, comparison.metric, title=title, caption=caption, legend=False, axis=axis)


def chart_accuracy(report: Report, index: int, title: str, axis: CostAxis) -> Markup | None:
    """The same for the page."""
    comparison, points = report.comparisons[index], list_points(report, index, axis)
    if not points:
        return None
    caption = _write_caption(report, index, points, axis)
    return chart_points(points, comparison.metric, title=title, caption=caption, axis=axis)


def list_points(report: Report, index: int, axis: CostAxis = MACS) -> list[Point]:
    """The points of a figure: every arm that has an accuracy and a cost."""
    return [
        Point(
            label=arm.name,
            variant=arm.variant,
            cost=cost,
            value=arm.mean.mean,
            half_width=arm.mean.half_width if isinstance(arm.mean.half_width, float) else None,
            seeds=tuple(one.value for one in arm.outcomes.values() if isinstance(one.value, float)),
            seed_names=tuple(seed for seed, one in arm.outcomes.items() if isinstance(one.value, float)),
        )
        for arm in report.comparisons[index].arms
        if isinstance(arm.mean, Estimate) and (cost := axis.read(report, arm)) is not None
    ]


def _write_caption(report: Report, index: int, points: Sequence[Point], axis: CostAxis) -> str:
    comparison = report.comparisons[index]
    record = comparison.records[0]
    seeds = format_items(len(comparison.seeds), "seed")
    bars = "; bars: 95 % t interval, small dots: single seeds" if any(point.half_width for point in points) else ""
    front = "; dashed: Pareto front" if _has_front(comparison, points) else ""
    epochs = format_items(record.config.recipe.epochs, "epoch")
    found = [one for arm in comparison.arms if axis.measured and (one := read_measurement(report, arm)) is not None]
    where = f"; measured on {tell_conditions(found[0])}" if found else ""
    return f"{_shorten(record.config.data.spec)}, {epochs}, {seeds}{bars}{front}{where}"


def _has_front(comparison: Comparison, points: Sequence[Point]) -> bool:
    """Whether the Pareto front has the two points that a line takes."""
    ranks = [comparison.metric.rank(one.value) for one in points]
    return len(find_pareto_front([one.cost for one in points], ranks)) > 1


def _shorten(spec: str) -> str:
    """A data set's name without the folders of its path: ``parquet:../data/cifar10`` is ``cifar10`` in a caption."""
    return Path(spec.partition(":")[2]).name if "/" in spec else spec


def _register(name: str, title: str, axis: CostAxis, *, asked: bool = False) -> None:
    FIGURES.add(
        name,
        Figure(
            title=title,
            draw=lambda report, index: draw_accuracy(report, index, axis),
            chart=lambda report, index: chart_accuracy(report, index, title, axis),
            asked=asked,
            explain=lambda report, index: explain_costs(
                report, index, has_front=_has_front(report.comparisons[index], list_points(report, index, axis))
            ),
        ),
    )


_register("accuracy_macs", "Accuracy against MACs", MACS)
_register("accuracy_params", "Accuracy against parameters", PARAMS, asked=True)
_register("accuracy_latency", "Accuracy against latency", LATENCY)
_register("accuracy_memory", "Accuracy against peak memory", MEMORY)
