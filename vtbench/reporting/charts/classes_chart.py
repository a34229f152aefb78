"""Differences to the base by class: one row a class, one dot with its interval an arm."""

from __future__ import annotations

from markupsafe import Markup

from vtbench.metrics import CLASS_IOU
from vtbench.reporting.charts.svg import (
    LETTER,
    WIDTH,
    Scale,
    draw_chart,
    draw_frame,
    draw_interval,
    element,
    group,
    name_series,
    shorten_text,
)
from vtbench.reporting.class_differences import ClassDifferences

_LINE, _GAP, _KEY = 9.0, 8.0, 17.0


def chart_classes(found: ClassDifferences, base: str, title: str) -> Markup:
    """The chart; intervals are cut where they would more than triple what the means span."""
    row = _LINE * len(found.arms) + _GAP
    top = 12 + _KEY * len(found.arms)
    bottom = top + row * len(found.rows)
    left = min(130.0, 14 + LETTER * max(len(name) for name, _ in found.rows))
    means = [0.0, *(one.mean for _, ones in found.rows for one in ones if one is not None)]
    margin = max(max(means) - min(means), 0.5)
    across = Scale(min(means) - margin, max(means) + margin, left, WIDTH - 10)
    parts = draw_frame(
        across, None, bottom=bottom, top=top, names=(f"IoU against {shorten_text(base, 120)} (points)", "")
    )
    zero = across.place(0)
    parts.append(element("line", x1=zero, x2=zero, y1=top, y2=bottom, class_="zero"))
    for number, (name, _) in enumerate(found.rows):
        y = top + row * (number + 0.5) + 4
        parts.append(element("text", shorten_text(name, left - 12), x=left - 8, y=y, class_="label", text_anchor="end"))
    for at, (place, arm) in enumerate(found.arms):
        series = name_series(place)
        key = element("circle", cx=left + 4, cy=8 + _KEY * at, r=5, class_=f"mean {series}")
        drawn = [
            key,
            element("text", shorten_text(arm, WIDTH - left - 20), x=left + 14, y=12 + _KEY * at, class_="label"),
        ]
        told = []
        for number, (name, ones) in enumerate(found.rows):
            if (one := ones[at]) is None:
                continue
            y = top + row * number + _GAP / 2 + _LINE * (at + 0.5)
            if one.interval is not None:
                drawn += draw_interval(across, one.interval, y, "bar", series)
            drawn.append(element("circle", cx=across.place(one.mean), cy=y, r=3.6, class_=f"mean {series}"))
            told.append(f"{name} {one.mean:+z.{CLASS_IOU.digits}f}")
        parts.append(group(drawn, arm=arm, tip=f"{arm}: {', '.join(told)}"))
    more = (
        f"; the {len(found.arms)} of {found.num_arms} arms that differ most" if found.num_arms > len(found.arms) else ""
    )
    return draw_chart(parts, title=title, description=f"One dot an arm, 95 % intervals each{more}", height=bottom + 42)
