"""How each arm came to its outcome: the headline metric after every epoch, with a band over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vtbench.reporting.charts.curves_chart import chart_curves
from vtbench.reporting.curves import Curve, choose_named, list_curves, spread_heights
from vtbench.reporting.figures.figure import FIGURES, Figure, title_drawing
from vtbench.reporting.legends import explain_curves
from vtbench.reporting.style import INK, LETTER, LINES, MUTED, SMALL, WIDTH, Head, shorten_arm

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

    from vtbench.reporting.report import Report


TITLE = "Learning curves"
_LEFT, _FOOT, _LEADER, _LINE = 0.56, 0.42, 0.3, 0.15
"""Inches left of and below the plot, from its rim to the names, and from name to name."""


def draw_curves(report: Report, index: int) -> Drawing | None:
    """One line an arm, its mean over seeds, named at its end; the band reaches from the lowest seed to the highest."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import MaxNLocator

    comparison = report.comparisons[index]
    curves = list_curves(comparison)
    if not curves or max(curve.values.shape[1] for curve in curves) < 2:
        return None
    named = choose_named(curves, comparison)
    title = title_drawing(report, index, "learning curves")
    head = Head(title, _write_caption(curves, named))
    plot = max(2.4, _LINE * len(named))
    height = head.inches + plot + _FOOT
    figure = Canvas(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    head.write(figure)
    names = LETTER * max(len(shorten_arm(curve.name)) for curve in named)
    across = WIDTH - _LEFT - _LEADER - names - 0.05
    axes = figure.add_axes((_LEFT / WIDTH, _FOOT / height, across / WIDTH, plot / height))
    for curve in curves:
        if curve not in named:
            axes.plot(_count(curve), curve.mean, color=MUTED, linewidth=0.5, alpha=0.5, zorder=1.5)
    for place, curve in enumerate(named):
        color, dashes = LINES[place % len(LINES)]
        if len(curve.values) > 1:
            low, high = curve.values.min(axis=0), curve.values.max(axis=0)
            axes.fill_between(_count(curve), low, high, color=color, alpha=0.12, linewidth=0, zorder=1)
        axes.plot(_count(curve), curve.mean, color=color, linestyle=dashes, linewidth=1.2, zorder=2)
    _name_ends(axes, named, across, plot)
    axes.set_xlim(1, max(curve.values.shape[1] for curve in curves))
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(comparison.metric.axis)
    return figure


def _count(curve: Curve) -> NDArray[np.int_]:
    return np.arange(1, curve.values.shape[1] + 1)


def _name_ends(axes: Axes, curves: Sequence[Curve], width: float, height: float) -> None:
    """Names right of the plot in the order of the ends, as near to them as they can be without touching.

    ``width`` and ``height`` are those of the plot, in inches.
    """
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    gap = _LINE / height
    places = [1 + share * _LEADER / width for share in (0.0, 0.22, 0.4, 0.8)]
    order = sorted(range(len(curves)), key=lambda place: float(curves[place].mean[-1]))
    wanted = np.array([(float(curves[place].mean[-1]) - low) / (high - low) for place in order])
    for place, level in zip(order, spread_heights(wanted, gap), strict=True):
        color, dashes = LINES[place % len(LINES)]
        end = (float(curves[place].mean[-1]) - low) / (high - low)
        axes.plot(
            places, (end, end, level, level), transform=axes.transAxes, color=color,
            linestyle=dashes, linewidth=1.0, clip_on=False,
        )  # fmt: skip
        name, start = shorten_arm(curves[place].name), 1 + 0.9 * _LEADER / width
        axes.text(start, level, name, transform=axes.transAxes, fontsize=SMALL, color=INK, va="center")


def _write_caption(curves: Sequence[Curve], named: Sequence[Curve]) -> str:
    seeds = max(len(curve.values) for curve in curves)
    band = "mean over seeds; band: lowest to highest seed" if seeds > 1 else "one seed"
    rest = f"; grey: {len(curves) - len(named):,} other arms" if len(named) < len(curves) else ""
    return f"on the validation images, after every epoch; {band}{rest}"


FIGURES.add(
    "learning_curves",
    Figure(
        title=TITLE,
        draw=draw_curves,
        below=True,
        chart=lambda report, index: chart_curves(report.comparisons[index], TITLE),
        explain=explain_curves,
    ),
)
