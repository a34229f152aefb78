"""Rows of pictures with titles above them and a legend of classes below."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vtbench.documents.table import escape_controls
from vtbench.documents.wrapping import shorten
from vtbench.palettes import Colour
from vtbench.reporting.style import INK, MUTED
from vtbench.reporting.token_figure import draw_key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# All lengths are in inches. Y, X height and width of a picture, C channels (3, RGB).

_WIDTH = 13.2
_LEAST_WIDTH = 8.4
_MARGIN = 0.25
_LARGEST_TILE = 2.3
_GAP = 0.1
_TILE_TITLE = 0.4
_HEAD = 0.5
_LINE = 0.2
_KEY = 0.65
_LETTER = 0.075
"""How wide a letter of a legend or of the title of a tile is, about."""


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture (Y, X, C); ``title`` stands above it on up to two lines. ``smooth`` is for photographs."""

    title: str
    picture: NDArray[np.uint8]
    smooth: bool = False


@dataclass(frozen=True)
class Entry:
    """One entry of the legend."""

    name: str
    colour: Colour


def draw_tiles(
    rows: Sequence[Sequence[Tile | None]], legend: Sequence[Entry], *, title: str, caption: str, doublings: int = 0
) -> Figure:
    """The figure; a tile that is None is left blank. ``doublings`` are those of the key of attention; 0: no key.

    Call it inside `house_style`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    tile = min(_LARGEST_TILE, (_WIDTH - 2 * _MARGIN + _GAP) / columns - _GAP)
    width = max(_LEAST_WIDTH, columns * (tile + _GAP) - _GAP + 2 * _MARGIN)
    lines = textwrap.wrap(caption, int((width - 2 * _MARGIN) / _LETTER), break_on_hyphens=False)
    heights = [tile * _proportion(row) for row in rows]
    per_line, num_lines = _lay_out_legend(legend, width)
    head = _HEAD + _LINE * len(lines)
    foot = _MARGIN + _LINE * num_lines + (_KEY if doublings else 0)
    height = head + sum(heights) + _TILE_TITLE * len(rows) + _GAP + foot

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.text(_MARGIN / width, 1 - 0.22 / height, _write(title), fontsize=13, fontweight="bold", va="center")
    for number, line in enumerate(lines):
        down = 0.5 + _LINE * number
        figure.text(_MARGIN / width, 1 - down / height, line, fontsize=9, color=MUTED, va="center")
    top = height - head
    for row, row_height in zip(rows, heights, strict=True):
        top -= _TILE_TITLE + row_height
        for column, one in enumerate(row):
            if one is not None:
                place = (_MARGIN + column * (tile + _GAP), top, tile, row_height)
                _draw_tile(figure, one, place, (width, height))
    bottom = foot
    if doublings:
        bottom -= _KEY
        draw_key(
            figure, doublings, ((_MARGIN + 0.1) / width, (bottom + 0.45) / height, 3.6 / width, 0.14 / height), size=8.5
        )
    for number, entry in enumerate(legend):
        down, across = divmod(number, per_line)
        left = _MARGIN + across * (width - 2 * _MARGIN) / per_line
        _draw_entry(figure, entry, (left, bottom - _LINE * (down + 1)), (width, height))
    return figure


def _write(text: str) -> str:
    return " ".join(escape_controls(text).splitlines())


def _proportion(row: Sequence[Tile | None]) -> float:
    found = [one.picture.shape[0] / one.picture.shape[1] for one in row if one is not None]
    return min(2.0, max(found, default=1.0))


def _lay_out_legend(legend: Sequence[Entry], width: float) -> tuple[int, int]:
    """How many entries stand on a line, and how many lines there are."""
    longest = max((len(_write(entry.name)) for entry in legend), default=0)
    per_line = max(1, int((width - 2 * _MARGIN) / (0.4 + _LETTER * longest)))
    return per_line, math.ceil(len(legend) / per_line)


def _draw_tile(figure: Figure, tile: Tile, place: tuple[float, ...], size: tuple[float, float]) -> None:
    left, bottom, across, high = place
    axes = figure.add_axes((left / size[0], bottom / size[1], across / size[0], high / size[1]), anchor="N")
    axes.imshow(tile.picture, interpolation="antialiased" if tile.smooth else "none")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=MUTED, linewidth=0.5)
    most = int(across / _LETTER * 1.05)
    lines = [shorten(escape_controls(line), most) for line in tile.title.split("\n")]
    axes.set_title("\n".join(lines), fontsize=8.5, color=INK, pad=3, loc="left")


def _draw_entry(figure: Figure, entry: Entry, place: tuple[float, float], size: tuple[float, float]) -> None:
    from matplotlib.patches import Rectangle

    left, bottom = place
    patch = Rectangle(
        (left / size[0], bottom / size[1]),
        0.2 / size[0],
        0.12 / size[1],
        facecolor=tuple(part / 255 for part in entry.colour),
        edgecolor=MUTED,
        linewidth=0.5,
    )
    figure.add_artist(patch)
    name_at = ((left + 0.27) / size[0], (bottom + 0.06) / size[1])
    figure.text(*name_at, _write(entry.name), fontsize=8.5, color=INK, va="center")
