"""Measure labels, have them placed, and draw each, with a thin leader where it stands away from its point."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtbench.reporting.labels import POINT_RADIUS_PX, place_labels
from vtbench.reporting.style import MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Box = tuple[float, float, float, float]

_LEADER_FROM_PX = 20.0
_BREAK_AFTER = 26
_LINE_SPACING = 1.1


@dataclass(frozen=True)
class Label:
    """A text for the point (x, y), in data coordinates; ``low`` and ``high`` are the ends of the point's error bar."""

    text: str
    x: float
    y: float
    low: float
    high: float
    color: str


def draw_labels(axes: Axes, labels: Sequence[Label], line: Sequence[tuple[float, float]], *, size: float) -> None:
    """Write ``labels`` into ``axes``, whose limits must be final; they avoid each other, the points and ``line``."""
    from matplotlib.patheffects import withStroke

    texts = [_break_label(label.text) for label in labels]
    rim = axes.get_window_extent()
    centres = [_to_pixels(axes, label.x, label.y) for label in labels]
    bars = [_box_bar(axes, label) for label in labels]
    placements = place_labels(
        centres,
        [_measure(axes, text, size) for text in texts],
        (rim.x0 + 3, rim.y0 + 3, rim.x1 - 3, rim.y1 - 3),
        [*bars, *_cut_line([_to_pixels(axes, x, y) for x, y in line])],
    )
    halo = withStroke(linewidth=2.6, foreground="white", alpha=0.85)
    to_data = axes.transData.inverted().transform
    for text, label, centre, placement in zip(texts, labels, centres, placements, strict=True):
        left, bottom, right, top = placement.box
        if placement.distance_px >= _LEADER_FROM_PX:
            end = (min(max(centre[0], left), right), min(max(centre[1], bottom), top))
            (ax, ay), (bx, by) = to_data([centre, end])
            axes.plot([ax, bx], [ay, by], color=MUTED, linewidth=0.7, zorder=1.5, scalex=False, scaley=False)
        x, y = to_data(((left + right) / 2, (bottom + top) / 2))
        written = axes.text(
            x, y, text, fontsize=size, color=label.color, ha="center", va="center", linespacing=_LINE_SPACING, zorder=4
        )
        written.set_path_effects([halo])


def _to_pixels(axes: Axes, x: float, y: float) -> tuple[float, float]:
    across, up = axes.transData.transform((x, y))
    return float(across), float(up)


def _break_label(label: str) -> str:
    """Break the spelling of a variant at its colon and commas where it is long."""
    lines = [""]
    for piece in label.replace(":", ":\0").replace(",", ",\0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(piece) > _BREAK_AFTER:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def _measure(axes: Axes, text: str, size: float) -> tuple[float, float]:
    probe = axes.text(0.5, 0.5, text, fontsize=size, linespacing=_LINE_SPACING, transform=axes.transAxes)
    extent = probe.get_window_extent()
    probe.remove()
    return math.ceil(extent.width) + 2.0, math.ceil(extent.height) + 2.0


def _box_bar(axes: Axes, label: Label) -> Box:
    x, low = _to_pixels(axes, label.x, label.low)
    _, high = _to_pixels(axes, label.x, label.high)
    return x - 3, low - 2, x + 3, high + 2


def _cut_line(corners: Sequence[tuple[float, float]]) -> list[Box]:
    """A line through ``corners`` as a chain of small boxes."""
    boxes = []
    for (ax, ay), (bx, by) in itertools.pairwise(corners):
        pieces = max(1, round(math.hypot(bx - ax, by - ay) / (2 * POINT_RADIUS_PX)))
        for piece in range(pieces + 1):
            x, y = ax + (bx - ax) * piece / pieces, ay + (by - ay) * piece / pieces
            boxes.append((x - 3, y - 3, x + 3, y + 3))
    return boxes
