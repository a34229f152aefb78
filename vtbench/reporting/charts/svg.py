"""Building stones of a chart: elements, scales with round ticks, a frame with axes. Equal input gives equal text.

Lengths are in units of the view box, of which a page shows one as a pixel or somewhat less. Colours are classes of the
page's style sheet, so that they follow its light and dark.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vtbench.documents.table import escape_controls

WIDTH = 440.0
LETTER = 7.0
"""How wide a letter of a chart's text is, about."""
_SETTINGS = re.compile(r"[^,=:]+=[^,=]+(,[^,=:]+=[^,=]+)*")
"""How arms that factors make are called."""
_ARROW = 8.0
NUM_SERIES = 7
"""Colours of series; further ones are dashed."""


def element(tag: str, *children: str | Markup, **attributes: str | float | None) -> Markup:
    """One element; text and attributes are escaped, ``class_`` is ``class`` and ``stroke_width`` ``stroke-width``."""
    written = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), escape_controls(_write(value)))
        for name, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(child if isinstance(child, Markup) else escape_controls(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(tag), written, inner)


def group(children: Iterable[Markup], *, arm: str | None = None, tip: str | None = None) -> Markup:
    """Elements of one arm, which tell ``tip`` when they are pointed at."""
    title = [element("title", tip)] if tip is not None else []
    return element("g", *title, *children, class_="arm" if arm is not None else None, data_arm=arm)


def mark_seed(x: float, y: float, radius: float, series: str, arm: str, seed: int | None, told: str) -> Markup:
    """The dot of one run, which tells its seed where that is known."""
    title = [element("title", f"{arm}, seed {seed}: {told}")] if seed is not None else []
    return element("circle", *title, cx=x, cy=y, r=radius, class_=f"seed {series}")


def draw_chart(children: Iterable[Markup], *, title: str, description: str, height: float) -> Markup:
    """The whole chart, an image of the name ``title`` to those who do not see it."""
    name = f"{title}. {description}" if description else title
    return element("svg", *children, viewBox=f"0 0 {WIDTH:g} {_write(height)}", role="img", aria_label=name)


@dataclass(frozen=True)
class Scale:
    """Values from ``low`` to ``high`` on the way from ``start`` to ``end``; ``ticks`` are chosen if none are given."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    ticks: tuple[float, ...] = ()

    def place(self, value: float) -> float:
        """Where a value stands; beyond the ends it is cut there."""
        low, high, value = (math.log(one) if self.log else one for one in (self.low, self.high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def list_ticks(self) -> list[float]:
        """Those that were given, else some four to seven round values."""
        if self.ticks:
            return list(self.ticks)
        if self.log:
            every = [digit * 10.0**power for power in range(-4, 13) for digit in (1, 1.5, 2, 3, 5, 7)]
            inside = [tick for tick in every if self.low <= tick <= self.high]
            return inside[:: math.ceil(len(inside) / 7)] if inside else []
        step = _round_step((self.high - self.low) / 5)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(place * step, 10) for place in range(first, last + 1)]


def draw_interval(
    scale: Scale, ends: tuple[float, float], at: float, kind: str, series: str, *, upright: bool = False
) -> Iterator[Markup]:
    """A bar from the one value to the other; where the scale ends before it, so does the bar, in an arrowhead."""
    first, second = map(scale.place, ends)
    names = ("y1", "y2", "x1", "x2") if upright else ("x1", "x2", "y1", "y2")
    places: dict[str, float] = dict(zip(names, (first, second, at, at), strict=True))
    yield element("line", class_=f"{kind} {series}", **places)
    towards = math.copysign(_ARROW, scale.end - scale.start)
    for end, beyond, step in ((first, ends[0] < scale.low, -towards), (second, ends[1] > scale.high, towards)):
        if beyond:
            corners = [(end, at), (end - step, at - _ARROW / 2), (end - step, at + _ARROW / 2)]
            points = " ".join(f"{_write(y)},{_write(x)}" if upright else f"{_write(x)},{_write(y)}" for x, y in corners)
            yield element("polygon", points=points, class_=f"arrow {series}")


def draw_frame(across: Scale, up: Scale | None, *, bottom: float, top: float, names: tuple[str, str]) -> list[Markup]:
    """Grid, ticks and names of the axes; without ``up`` only that across."""
    left, right = across.start, across.end
    parts = []
    for tick in across.list_ticks():
        x = across.place(tick)
        parts.append(element("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        within = min(x, WIDTH - LETTER * len(f"{tick:g}") / 2)  # Not cut off at the edge of the chart.
        parts.append(element("text", f"{tick:g}", x=within, y=bottom + 16, class_="tick", text_anchor="middle"))
    for tick in up.list_ticks() if up is not None else ():
        y = up.place(tick) if up is not None else 0.0
        parts.append(element("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(element("text", f"{tick:g}", x=left - 6, y=y + 4, class_="tick", text_anchor="end"))
    parts.append(element("text", names[0], x=(left + right) / 2, y=bottom + 34, class_="name", text_anchor="middle"))
    if up is not None:
        parts.append(element("text", names[1], x=left - 34, y=top - 10, class_="name"))
    return parts


def draw_line(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """A line through points."""
    return element("polyline", points=" ".join(f"{_write(x)},{_write(y)}" for x, y in points), class_=class_)


def name_series(place: int) -> str:
    """The classes of the series of this place: one of a few colours, dashed where these repeat."""
    return f"s{place % NUM_SERIES} d{place // NUM_SERIES % 4}"


def shorten_text(text: str, room: float) -> str:
    """As much of ``text`` as has room: of settings their values, by which names differ; else its middle is left out.

    >>> shorten_text("model=twin,learning_rate=0.05,auto_augment=off", 138)
    'twin, 0.05, off'
    >>> shorten_text("tokens-after-the-second-stage", 138)
    'tokens-af…ond-stage'
    """
    text, most = " ".join(escape_controls(text).split()), max(5, int(room / LETTER))
    if len(text) > most and _SETTINGS.fullmatch(text):
        text = ", ".join(part.partition("=")[2] for part in text.split(","))
    return text if len(text) <= most else f"{text[: (most - 1) // 2]}…{text[len(text) - most // 2 :]}"


def _write(value: str | float) -> str:
    return value if isinstance(value, str) else f"{round(float(value), 1) + 0.0:g}"


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= least * (1 - 1e-9))
