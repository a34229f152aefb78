"""What arms cost, stacked by what it is for: one bar an arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from markupsafe import Markup

from vtbench.reporting.charts.svg import (
    LETTER,
    WIDTH,
    Scale,
    draw_chart,
    draw_frame,
    element,
    group,
    name_series,
    shorten_text,
)

MOST_BARS = 60
_ROW, _LINE = 21.0, 17.0


def chart_bars(
    bars: Mapping[str, Mapping[str, int]], places: Mapping[str, int], *, title: str, description: str
) -> Markup:
    """``bars`` give for each arm its MACs by role, ``places`` the order of the roles and the place of their colours."""
    shown = dict(list(bars.items())[:MOST_BARS])
    legend = list(_draw_legend(places))
    top = 14 + _LINE * (1 + max((int(at) for _, at in legend), default=0))
    left = min(150.0, 14 + LETTER * max(map(len, shown)))
    most = max(sum(parts.values()) for parts in shown.values())
    size, unit = (1e9, "G") if most >= 1e9 else (1e6, "M")
    across = Scale(0, most / size or 1.0, left, WIDTH - 10)
    bottom = top + _ROW * len(shown)
    parts = [label for label, _ in legend]
    parts += draw_frame(across, None, bottom=bottom, top=top, names=(f"MACs per image ({unit})", ""))
    for place, (arm, of_arm) in enumerate(shown.items()):
        y = top + _ROW * place
        name = element("text", shorten_text(arm, left - 12), x=left - 8, y=y + 14, class_="label", text_anchor="end")
        blocks, begin = [name], 0.0
        for role in (role for role in places if role in of_arm):
            macs = of_arm[role]
            start, end = across.place(begin / size), across.place((begin + macs) / size)
            series = name_series(places[role])
            blocks.append(element("rect", x=start, y=y + 3, width=end - start, height=15, class_=f"block {series}"))
            begin += macs
        told = ", ".join(f"{role} {macs / size:.3g} {unit}" for role, macs in of_arm.items() if macs)
        parts.append(group(blocks, arm=arm, tip=f"{arm}: {told}"))
    return draw_chart(parts, title=title, description=description, height=bottom + 42)


def _draw_legend(places: Mapping[str, int]) -> Iterator[tuple[Markup, float]]:
    """One entry a role, and the line that it stands on."""
    x, line = 8.0, 0
    for role, place in places.items():
        width = 22 + LETTER * len(role)
        if x + width > WIDTH - 4 and x > 8:
            x, line = 8.0, line + 1
        y = 6 + _LINE * line
        square = element("rect", x=x, y=y, width=11, height=11, class_=f"block {name_series(place)}")
        yield element("g", square, element("text", role, x=x + 15, y=y + 10, class_="label")), line
        x += width
