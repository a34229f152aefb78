"""The headline metric against MACs, with intervals, single seeds and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vtbench.records import CostRecord
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.figures.figure import FIGURES, Figure
from vtbench.reporting.scatter import Point, draw_points
from vtbench.stats.estimates import Estimate
from vtbench.units import format_items

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from vtbench.reporting.report import Report


def draw_accuracy(report: Report, index: int) -> Drawing | None:
    """The first comparison, and every other that has two arms or more."""
    comparison = report.comparisons[index]
    points = list_points(comparison)
    if len(points) < (2 if index else 1):
        return None
    title = report.outline.title + (f", comparison {index + 1}" if index else "")
    caption = _write_caption(comparison, points)
    return draw_points(points, comparison.metric, title=title, caption=caption, legend=False)


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


def _write_caption(comparison: Comparison, points: Sequence[Point]) -> str:
    record = comparison.records[0]
    seeds = format_items(len(comparison.seeds), "seed")
    bars = "; bars: 95 % t interval, small dots: single seeds" if any(point.half_width for point in points) else ""
    front = "; dashed: Pareto front" if len(points) > 1 else ""
    return f"{_shorten(record.config.data.spec)}, {record.config.recipe.epochs} epochs, {seeds}{bars}{front}"


def _shorten(spec: str) -> str:
    """A data set's name without the folders of its path: ``parquet:../data/cifar10`` is ``cifar10`` in a caption."""
    return Path(spec.partition(":")[2]).name if "/" in spec else spec


FIGURES.add("accuracy_macs", Figure(title="Accuracy against MACs", draw=draw_accuracy))
