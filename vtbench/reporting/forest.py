"""The layout of forest plots: a line an effect, the first on top, around an upright line at zero."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from vtbench.reporting.style import INK, LETTER, WIDTH, Head

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FOOT = 0.42
_WIDTH_OF_MOST = 3.0
"""Intervals reach at most so many times beyond what means and seeds span; the rim cuts the rest."""


def choose_reach(values: Iterable[float], ends: Sequence[float]) -> tuple[float, float]:
    """The ends of the axis: zero and all ``values`` fit, and ``ends`` of intervals as far as they at most triple it."""
    low, high = min(known := [0.0, *values]), max(known)
    span = max(high - low, 0.5)
    low = min(low, max(min(ends, default=low), low - _WIDTH_OF_MOST / 2 * span))
    high = max(high, min(max(ends, default=high), high + _WIDTH_OF_MOST / 2 * span))
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def open_forest(head: Head, names: Sequence[str], *, line: float) -> tuple[Figure, Axes]:
    """A figure with room for a name and a ``line`` of so many inches for each effect."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    plot = line * (len(names) + 0.2)
    height = head.inches + plot + _FOOT
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    head.write(figure)
    left = 0.15 + LETTER * max(map(len, names))
    return figure, figure.add_axes((left / WIDTH, _FOOT / height, (WIDTH - left - 0.12) / WIDTH, plot / height))


def set_forest_axes(axes: Axes, names: Sequence[str], reach: tuple[float, float]) -> None:
    """The names of the lines, the ends of the axis, and the line at zero."""
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(*reach)
    axes.set_yticks(range(len(names)), names, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
