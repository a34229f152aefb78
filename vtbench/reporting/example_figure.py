"""Rows of pictures with titles above them and a legend of classes below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vtbench.documents.dark_look import AS_IS
from vtbench.documents.table import escape_controls
from vtbench.documents.wrapping import shorten
from vtbench.palettes import Colour
from vtbench.reporting.style import INK, LETTER, MUTED, SMALL, WIDTH, Head, shorten_arm
from vtbench.reporting.token_figure import draw_key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# All lengths are in inches. Y, X height and width of a picture, C channels (3, RGB).

_MARGIN = 0.08
_LARGEST_TILE = 1.4
_GAP = 0.08
_TITLE_LINE = 0.165
_LINE = 0.17
_KEY = 0.5


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture (Y, X, C); ``title`` stands above it, its lines on up to two each. ``smooth``: a photograph."""

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
    tile = min(_LARGEST_TILE, (WIDTH - 2 * _MARGIN + _GAP) / columns - _GAP)
    heights = [tile * _proportion(row) for row in rows]
    titles = [
        _TITLE_LINE * max(2, *(len(_wrap_title(one.title, tile)) for one in row if one is not None)) for row in rows
    ]
    per_line, num_lines = _lay_out_legend(legend)
    head = Head(_write(title), _write(caption))
    foot = _MARGIN + _LINE * num_lines + (_KEY if doublings else 0)
    height = head.inches + sum(heights) + sum(titles) + _GAP + foot

    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    head.write(figure)
    top = height - head.inches
    for row, row_height, title_height in zip(rows, heights, titles, strict=True):
        top -= title_height + row_height
        for column, one in enumerate(row):
            if one is not None:
                place = (_MARGIN + column * (tile + _GAP), top, tile, row_height)
                _draw_tile(figure, one, place, (WIDTH, height))
    bottom = foot
    if doublings:
        bottom -= _KEY
        place = ((_MARGIN + 0.1) / WIDTH, (bottom + 0.38) / height, 2.8 / WIDTH, 0.1 / height)
        draw_key(figure, doublings, place, size=SMALL)
    for number, entry in enumerate(legend):
        down, across = divmod(number, per_line)
        left = _MARGIN + across * (WIDTH - 2 * _MARGIN) / per_line
        _draw_entry(figure, entry, (left, bottom - _LINE * (down + 1)), (WIDTH, height))
    return figure


def _write(text: str) -> str:
    return " ".join(escape_controls(text).splitlines())


def _proportion(row: Sequence[Tile | None]) -> float:
    found = [one.picture.shape[0] / one.picture.shape[1] for one in row if one is not None]
    return min(2.0, max(found, default=1.0))


def _lay_out_legend(legend: Sequence[Entry]) -> tuple[int, int]:
    """How many entries stand on a line, and how many lines there are."""
    longest = max((len(shorten_arm(entry.name)) for entry in legend), default=0)
    per_line = max(1, int((WIDTH - 2 * _MARGIN) / (0.32 + LETTER * longest)))
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
    axes.set_title(
        "\n".join(_wrap_title(tile.title, across)), fontsize=SMALL, color=INK, pad=2, loc="left", linespacing=1.1
    )


def _wrap_title(title: str, across: float) -> list[str]:
    """The lines of a title so wide: two for each of its own at most, so that names that end alike are told apart."""
    most = int(1.05 * across / LETTER)
    return [part for line in title.split("\n") for part in _wrap_line(escape_controls(line), most)]


def _wrap_line(line: str, most: int) -> list[str]:
    first = next(iter(wrap(line, most)), "")
    rest = line[len(first) :].lstrip()
    return [first, shorten(rest, most)] if rest else [first]


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
    patch.set_gid(AS_IS)
    figure.add_artist(patch)
    name_at = ((left + 0.25) / size[0], (bottom + 0.06) / size[1])
    figure.text(*name_at, shorten_arm(entry.name), fontsize=SMALL, color=INK, va="center")
