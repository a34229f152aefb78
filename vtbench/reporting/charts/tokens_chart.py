"""The headline metric over the number of tokens, a line for arms that differ in nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from vtbench.metrics import Metric
from vtbench.reporting.charts.svg import WIDTH, Scale, draw_chart, draw_frame, draw_line, element, group, name_series
from vtbench.reporting.token_curves import TokenCurve
from vtbench.units import format_items

_LEFT, _TOP, _BOTTOM = 46.0, 26.0, 250.0
_LINE = 16.0


def chart_tokens(curves: Sequence[TokenCurve], metric: Metric, title: str) -> Markup:
    """The chart, on a logarithmic axis, with the names of the lines below it."""
    points = [point for curve in curves for point in curve.points]
    numbers = [number for number, _, _ in points]
    ends = [end for _, _, mean in points for end in mean.interval or (mean.mean,)]
    margin = 0.06 * (max(ends) - min(ends)) or 0.5
    across = Scale(
        min(numbers) / 1.2, max(numbers) * 1.2, _LEFT, WIDTH - 10, log=True, ticks=tuple(sorted(set(numbers)))
    )
    up = Scale(min(ends) - margin, max(ends) + margin, _BOTTOM, _TOP)
    parts = draw_frame(across, up, bottom=_BOTTOM, top=_TOP, names=("tokens", metric.axis))
    for place, curve in enumerate(curves):
        series = name_series(place)
        parts.append(
            draw_line([(across.place(n), up.place(one.mean)) for n, _, one in curve.points], f"curve {series}")
        )
        for number, arm, mean in curve.points:
            x, drawn = across.place(number), []
            if mean.interval is not None:
                low, high = map(up.place, mean.interval)
                drawn.append(element("line", x1=x, x2=x, y1=low, y2=high, class_=f"bar {series}"))
            drawn.append(element("circle", cx=x, cy=up.place(mean.mean), r=5, class_=f"mean {series}"))
            tip = f"{arm.name}: {format_items(number, 'token')}, {metric.label} {metric.show(mean.mean)}"
            parts.append(group(drawn, arm=arm.name, tip=tip))
        y = _BOTTOM + 50 + _LINE * place
        parts.append(draw_line([(_LEFT, y), (_LEFT + 22, y)], f"curve {series}"))
        parts.append(element("text", curve.name, x=_LEFT + 28, y=y + 4, class_="label"))
    height = _BOTTOM + 52 + _LINE * len(curves)
    return draw_chart(parts, title=title, description="A line for arms that differ in nothing else", height=height)
