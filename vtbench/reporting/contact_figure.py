"""Sheets of small pictures in rows, with masks painted over them: what a data set looks like."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vtbench.documents.table import escape_controls
from vtbench.palettes import VOID_COLOUR, Colour
from vtbench.reporting.style import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# H height, W width, C channels (3, RGB).

VOID = 255
"""The value of a pixel of a mask that belongs to no class."""

_INK_OF_MASK = 0.6
_WIDEST = 13.0
_LARGEST_TILE, _SMALLEST_TILE = 1.7, 0.8
_LABEL_WIDTH = 1.5
_GAP, _TOP, _LEGEND_LINE = 0.06, 0.95, 0.24


@dataclass(frozen=True, eq=False)
class Row:
    """Pictures (H, W, C), uint8, side by side, with a label at the left."""

    label: str
    pictures: tuple[NDArray[np.uint8], ...]


@dataclass(frozen=True, eq=False)
class Sheet:
    """Rows of pictures. ``heads`` stand above the columns, where there are any; ``legend`` names colours of masks."""

    title: str
    caption: str
    rows: tuple[Row, ...]
    heads: tuple[str, ...] = ()
    legend: tuple[tuple[str, Colour], ...] = ()


def paint_mask(mask_HW: NDArray[np.uint8], palette: Sequence[Colour]) -> NDArray[np.uint8]:
    """The mask in the colours of its classes, (H, W, C); void is white."""
    colours_VC = np.full((VOID + 1, 3), VOID_COLOUR, np.uint8)
    colours_VC[: len(palette)] = palette
    return np.asarray(colours_VC[mask_HW])


def overlay_mask(
    image_HWC: NDArray[np.uint8], mask_HW: NDArray[np.uint8], palette: Sequence[Colour]
) -> NDArray[np.uint8]:
    """The image in grey under the colours of its mask, (H, W, C)."""
    grey_HW1 = (image_HWC @ np.array([0.299, 0.587, 0.114]))[..., None]
    mixed_HWC = _INK_OF_MASK * paint_mask(mask_HW, palette) + (1 - _INK_OF_MASK) * grey_HW1
    return np.asarray(mixed_HWC.round().astype(np.uint8))


def draw_sheet(sheet: Sheet) -> Figure:
    """Every picture as large as the width allows, its pixels as they are. Call it inside `house_style`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    columns = max(len(row.pictures) for row in sheet.rows)
    tile = min(_LARGEST_TILE, max(_SMALLEST_TILE, (_WIDEST - _LABEL_WIDTH) / columns - _GAP))
    heights = [tile * max(picture.shape[0] / picture.shape[1] for picture in row.pictures) for row in sheet.rows]
    width = max(7.5, _LABEL_WIDTH + columns * (tile + _GAP) + 0.1)
    legend = _break_legend([(escape_controls(name), colour) for name, colour in sheet.legend], width)
    height = _TOP + sum(heights) + _GAP * len(heights) + 0.15 + _LEGEND_LINE * len(legend)
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))  # In inches from the lower left corner; one for all pictures draws fast.
    axes.set_axis_off()
    axes.text(0.1, height - 0.2, escape_controls(sheet.title), fontsize=13, fontweight="bold", va="center")
    caption = textwrap.fill(escape_controls(sheet.caption), int(width * 13))
    axes.text(0.1, height - 0.36, caption, fontsize=9, color=MUTED, va="top")
    for column, head in enumerate(sheet.heads):
        left = _LABEL_WIDTH + column * (tile + _GAP)
        axes.text(
            left + tile / 2,
            height - _TOP + 0.05,
            escape_controls(head),
            fontsize=9,
            color=INK,
            ha="center",
            va="bottom",
        )
    top = height - _TOP
    for row, high in zip(sheet.rows, heights, strict=True):
        axes.text(
            0.1, top - high / 2, textwrap.fill(escape_controls(row.label), 20), fontsize=9, color=INK, va="center"
        )
        for column, picture in enumerate(row.pictures):
            left, low = _LABEL_WIDTH + column * (tile + _GAP), top - tile * picture.shape[0] / picture.shape[1]
            axes.imshow(picture, extent=(left, left + tile, low, top), interpolation="nearest", aspect="auto")
            frame = Rectangle((left, low), tile, top - low, fill=False, edgecolor=MUTED, linewidth=0.4, zorder=2)
            axes.add_patch(frame)  # Without it the void at the rim of a mask could not be told from the page.
        top -= high + _GAP
    _draw_legend(axes, legend, width)
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    return figure


def _break_legend(legend: Sequence[tuple[str, Colour]], width: float) -> list[list[tuple[str, Colour]]]:
    """Entries in lines of equal columns."""
    if not legend:
        return []
    columns = max(1, math.floor((width - 0.2) / (0.45 + 0.085 * max(len(name) for name, _ in legend))))
    return [list(legend[start : start + columns]) for start in range(0, len(legend), columns)]


def _draw_legend(axes: Axes, lines: list[list[tuple[str, Colour]]], width: float) -> None:
    from matplotlib.patches import Rectangle

    columns = max((len(line) for line in lines), default=1)
    for number, line in enumerate(lines):
        low = 0.08 + _LEGEND_LINE * (len(lines) - 1 - number)
        for column, (name, colour) in enumerate(line):
            left = 0.1 + column * (width - 0.2) / columns
            face = tuple(part / 255 for part in colour)
            axes.add_patch(Rectangle((left, low), 0.2, 0.14, facecolor=face, edgecolor=MUTED, linewidth=0.6))
            axes.text(left + 0.27, low + 0.07, name, fontsize=9, color=INK, va="center")
