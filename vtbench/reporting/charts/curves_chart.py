"""The headline metric after every epoch: mean and band of each arm, named at its end."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from vtbench.reporting.charts.svg import (
    LETTER,
    WIDTH,
    Scale,
    draw_chart,
    draw_frame,
    draw_line,
    element,
    group,
    name_series,
    shorten_text,
)
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.curves import Curve, choose_named, list_curves, spread_heights
from vtbench.units import format_items

_LEFT, _TOP, _LEAST_BOTTOM, _LINE = 46.0, 26.0, 250.0, 14.0


def chart_curves(comparison: Comparison, title: str) -> Markup | None:
    """The chart; None where no arm has two epochs. Arms that are not named are grey."""
    curves = list_curves(comparison)
    if not curves or max(curve.values.shape[1] for curve in curves) < 2:
        return None
    named = choose_named(curves, comparison)
    bottom = max(_LEAST_BOTTOM, _TOP + _LINE * len(named))
    right = WIDTH - 18 - min(120.0, LETTER * max(len(curve.name) for curve in named))
    values = [value for curve in curves for value in (float(curve.values.min()), float(curve.values.max()))]
    margin = 0.04 * (max(values) - min(values)) or 0.5
    across = Scale(1, max(curve.values.shape[1] for curve in curves), _LEFT, right)
    up = Scale(min(values) - margin, max(values) + margin, bottom, _TOP)
    parts = draw_frame(across, up, bottom=bottom, top=_TOP, names=("epoch", comparison.metric.axis))
    parts += [_draw_curve(curve, across, up, "other", None) for curve in curves if curve not in named]
    places = {arm.name: place for place, arm in enumerate(comparison.arms)}
    heights = _spread_names(named, up, bottom)
    for curve, height in zip(named, heights, strict=True):
        parts.append(_draw_curve(curve, across, up, name_series(places[curve.name]), height))
    rest = f"; {len(curves) - len(named):,} other arms in grey" if len(named) < len(curves) else ""
    return draw_chart(
        parts,
        title=title,
        description=f"Mean over seeds after every epoch; the band reaches from the lowest seed to the highest{rest}",
        height=bottom + 42,
    )


def _draw_curve(curve: Curve, across: Scale, up: Scale, series: str, height: float | None) -> Markup:
    epochs = range(1, curve.values.shape[1] + 1)
    points = [(across.place(epoch), up.place(float(mean))) for epoch, mean in zip(epochs, curve.mean, strict=True)]
    parts = []
    if len(curve.values) > 1 and height is not None:
        low, high = curve.values.min(axis=0), curve.values.max(axis=0)
        rim = [*zip(epochs, high.tolist(), strict=True), *reversed([*zip(epochs, low.tolist(), strict=True)])]
        path = " ".join(f"{across.place(epoch):.1f},{up.place(value):.1f}" for epoch, value in rim)
        parts.append(element("polygon", points=path, class_=f"band {series}"))
    parts.append(draw_line(points, f"curve {series}"))
    if height is not None:
        end = across.end
        parts.append(draw_line([points[-1], (end + 5, points[-1][1]), (end + 9, height)], f"curve thin {series}"))
        room = WIDTH - end - 14
        parts.append(element("text", shorten_text(curve.name, room), x=end + 12, y=height + 4, class_="label"))
    tip = f"{curve.name}: {float(curve.mean[-1]):.2f} after {format_items(int(epochs[-1]), 'epoch')}"
    return group(parts, arm=curve.name, tip=tip)


def _spread_names(named: list[Curve], up: Scale, bottom: float) -> list[float]:
    """The height of the name of each, as near to its end as can be."""
    ends = [up.place(float(curve.mean[-1])) for curve in named]
    order = sorted(range(len(named)), key=lambda place: -ends[place])
    wanted = np.array([(bottom - ends[place]) / (bottom - _TOP) for place in order])
    spread = spread_heights(wanted, _LINE / (bottom - _TOP))
    by_place = dict(zip(order, spread.tolist(), strict=True))
    return [bottom - by_place[place] * (bottom - _TOP) for place in range(len(named))]
