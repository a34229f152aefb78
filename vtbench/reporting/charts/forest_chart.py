"""Differences to the base, an arm a line: mean, both intervals, the difference of every seed."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from vtbench.metrics import Metric
from vtbench.reporting.charts.svg import (
    LETTER,
    WIDTH,
    Scale,
    draw_chart,
    draw_frame,
    draw_interval,
    element,
    group,
    mark_seed,
    name_series,
    shorten_text,
)
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.effects import Effect, list_effects, reach_effects
from vtbench.stats.estimates import PairedDifference

MOST_ROWS = 60
"""Of more arms those of the largest differences are shown."""
_ROW = 21.0
_TOP = 24.0


def chart_effects(comparison: Comparison, title: str) -> Markup | None:
    """The chart; None where no arm has a difference."""
    every = list_effects(comparison)
    if not every:
        return None
    kept = sorted(every, key=lambda row: -abs(row.estimate.mean))[:MOST_ROWS]
    rows = [row for row in every if row in kept] if len(every) > MOST_ROWS else every
    places = {arm.name: place for place, arm in enumerate(comparison.arms)}
    left = min(150.0, 14 + LETTER * max(len(row.arm.name) for row in rows))
    across = Scale(*reach_effects(rows), left, WIDTH - 10)
    bottom = _TOP + _ROW * len(rows)
    metric = comparison.metric
    against = f"{metric.label} against {shorten_text(comparison.base, 110)} ({metric.difference_unit})"
    parts = draw_frame(across, None, bottom=bottom, top=_TOP, names=(against, ""))
    zero = across.place(0)
    parts.append(element("line", x1=zero, x2=zero, y1=_TOP, y2=bottom, class_="zero"))
    for index, row in enumerate(rows):
        y = _TOP + _ROW * (index + 0.5)
        drawn = list(_draw_row(row, across, y, name_series(places[row.arm.name]), metric))
        name = element(
            "text", shorten_text(row.arm.name, left - 12), x=left - 8, y=y + 4, class_="label", text_anchor="end"
        )
        parts.append(group([name, *drawn], arm=row.arm.name, tip=_tell(row, metric, comparison.base)))
    more = f"; the {len(rows)} largest of {len(every):,}" if len(rows) < len(every) else ""
    description = f"One line an arm; thick: its own 95 % interval, thin: that for all arms together{more}"
    return draw_chart(parts, title=title, description=description, height=bottom + 42)


def _draw_row(row: Effect, across: Scale, y: float, series: str, metric: Metric) -> Iterator[Markup]:
    together = row.arm.together.interval if row.arm.together is not None else None
    for ends, kind in ((together, "bar"), (row.estimate.interval, "own")):
        if ends is not None:
            yield from draw_interval(across, ends, y, kind, series)
    if 1 < len(row.seeds) <= 30:
        paired = row.arm.difference.seeds if isinstance(row.arm.difference, PairedDifference) else ()
        names = paired if len(paired) == len(row.seeds) else (None,) * len(row.seeds)
        for value, seed in zip(row.seeds, names, strict=True):
            told = f"{value:+z.{metric.digits}f} {metric.difference_unit}"
            yield mark_seed(across.place(value), y + 6.5, 1.8, series, row.arm.name, seed, told)
    yield element("circle", cx=across.place(row.estimate.mean), cy=y, r=5, class_=f"mean {series}")


def _tell(row: Effect, metric: Metric, base: str) -> str:
    unit = metric.difference_unit
    said = [f"{row.arm.name} against {base}: {row.estimate.mean:+z.{metric.digits}f} {unit} (n = {row.estimate.n})"]
    for words, interval in (
        ("alone", row.estimate.interval),
        ("for all", row.arm.together.interval if row.arm.together is not None else None),
    ):
        if interval is not None:
            said.append(f"{words} {interval[0]:+z.{metric.digits}f} to {interval[1]:+z.{metric.digits}f}")
    return "; ".join(said)
