"""Maps of visual tokens drawn over the image they look at, at a size that can be read in a talk."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vtbench.documents.table import escape_controls
from vtbench.documents.wrapping import shorten
from vtbench.reporting.style import INK, MUTED, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# L tokens; H height, W width of a map in cells; Y, X height and width of the picture; C channels (3, RGB).

_SLIDE = (40 / 3, 7.5)
_CAPTION_WIDTH = 115
"""Characters of the caption that fit on one line of a slide."""
_LARGEST_FACTOR = 5
_INK_OF_MAP = 0.7
_PICTURE_SHORTEST = 240
_LONGEST_NAME = 24


@dataclass(frozen=True, eq=False)
class Panel:
    """One map (H, W), which sums to 1, over a picture (Y, X, C); ``title`` stands above it."""

    title: str
    picture: NDArray[np.uint8]
    map: NDArray[np.float64]


def draw_tokens(
    picture_YXC: NDArray[np.uint8], panels: Sequence[Panel], *, title: str, caption: str, mask: NDArray[Any] | None
) -> Figure:
    """The picture at the left, one panel for each token beside it, and the key: one slide.

    A mask (any size, 1 for foreground) is drawn as an outline on the picture. Call it inside `house_style`.
    """
    figure = _open_slide(title, caption)
    height, width = picture_YXC.shape[:2]
    columns, grid_width = _lay_out(len(panels), height / width)
    rows, start = math.ceil(len(panels) / columns), 0.985 - grid_width
    grid = figure.add_gridspec(rows, columns, left=start, right=0.985, top=0.84, bottom=0.03, hspace=0.2, wspace=0.06)
    doublings = choose_doublings([panel.map for panel in panels])
    size = 12 if rows <= 4 else 10 if rows <= 6 else 8
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(grid[place // columns, place % columns])
        draw_panel(axes, panel, doublings, size=size)
    left = figure.add_axes((0.02, 0.2, start - 0.05, 0.64), anchor="N")
    _show(left, picture_YXC)
    if mask is not None:
        _outline(left, mask, (height, width))
    draw_key(figure, doublings, (0.05, 0.115, start - 0.11, 0.025))
    return figure


def draw_overview(
    rows: Sequence[tuple[str, NDArray[np.uint8], Sequence[Panel]]], *, title: str, caption: str
) -> Figure:
    """One image a row: its name over the picture, then the same few tokens in every row. Call it in `house_style`."""
    figure = _open_slide(title, caption)
    doublings = choose_doublings([panel.map for *_, panels in rows for panel in panels])
    columns = 1 + max(len(panels) for *_, panels in rows)
    grid = figure.add_gridspec(
        len(rows), columns, left=0.02, right=0.98, top=0.83, bottom=0.15, hspace=0.2, wspace=0.05
    )
    for row, (name, picture_YXC, panels) in enumerate(rows):
        place = figure.add_subplot(grid[row, 0])
        _show(place, picture_YXC)
        place.set_title(escape_controls(shorten(name, _LONGEST_NAME)), fontsize=12, color=MUTED, pad=4)
        for column, panel in enumerate(panels, start=1):
            draw_panel(figure.add_subplot(grid[row, column]), panel, doublings, size=12)
    draw_key(figure, doublings, (0.3, 0.075, 0.4, 0.022))
    return figure


def draw_key(figure: Figure, doublings: int, place: tuple[float, float, float, float], *, size: float = 12) -> None:
    """The key of `blend` at ``place`` (left, bottom, width, height in parts of the figure), in letters of ``size``."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    axes = figure.add_axes(place)
    key = figure.colorbar(
        ScalarMappable(Normalize(-doublings, doublings), "RdBu_r"), cax=axes, orientation="horizontal"
    )
    ticks = range(-doublings, doublings + 1)
    key.set_ticks(list(ticks), labels=[f"{2**tick}" if tick >= 0 else f"1/{2**-tick}" for tick in ticks])
    key.ax.tick_params(labelsize=max(size - 1, SMALL), length=0)
    key.outline.set_visible(False)
    key.set_label("attention, times that of a uniform map", fontsize=size)


def draw_panel(axes: Axes, panel: Panel, doublings: int, *, size: float) -> None:
    """One map over its picture: red where the token looks more than uniform attention would, blue where less."""
    _show(axes, blend(panel.picture, panel.map, doublings))
    axes.set_title(escape_controls(panel.title), fontsize=size, color=INK, pad=4)


def blend(picture_YXC: NDArray[np.uint8], map_HW: NDArray[np.float64], doublings: int) -> NDArray[np.uint8]:
    """The picture in grey under the colours of log2(attention / uniform), from -``doublings`` to ``doublings``.

    The map is enlarged linearly between the centres of its cells: (Y, X, C).
    """
    from matplotlib import colormaps
    from PIL import Image

    picture = _enlarge(picture_YXC)
    times_HW = np.log2(np.maximum(map_HW * map_HW.size, 2.0**-doublings)).astype(np.float32)
    size = (picture.shape[1], picture.shape[0])
    times_YX = np.asarray(Image.fromarray(times_HW).resize(size, Image.Resampling.BILINEAR))
    colors_YXC = colormaps["RdBu_r"](times_YX / (2 * doublings) + 0.5)[..., :3]
    grey_YX = picture @ np.array([0.299, 0.587, 0.114]) / 255
    mixed_YXC = _INK_OF_MAP * colors_YXC + (1 - _INK_OF_MAP) * grey_YX[..., None]
    return np.asarray((255 * mixed_YXC).round().astype(np.uint8))


def choose_doublings(maps: Sequence[NDArray[np.float64]]) -> int:
    """The end of the key, shared by all maps of a figure: the next power of two above the highest peak, at most 32."""
    peak = max(float(one.max()) * one.size for one in maps)
    return min(_LARGEST_FACTOR, max(1, math.ceil(math.log2(peak) - 0.2)))


def _open_slide(title: str, caption: str) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SLIDE)
    FigureCanvasAgg(figure)
    figure.text(0.02, 0.95, escape_controls(title), fontsize=20, fontweight="bold", va="center")
    lines = textwrap.fill(escape_controls(caption), _CAPTION_WIDTH, break_on_hyphens=False)
    figure.text(0.02, 0.92, lines, fontsize=12.5, color=MUTED, va="top")
    return figure


def _lay_out(num_panels: int, proportion: float) -> tuple[int, float]:
    """Columns of the grid of panels that are ``proportion`` as high as wide, and its width as a part of the slide's.

    Panels are as large as can be beside a picture of a third of the slide; rows that are full are worth some size.
    """
    width, height = 0.64 * _SLIDE[0], 0.81 * _SLIDE[1]

    def side(columns: int) -> float:
        rows = math.ceil(num_panels / columns)
        return min(width / columns - 0.09, (height / rows - 0.26) / proportion)

    def score(columns: int) -> float:
        return side(columns) * (1 if num_panels % columns == 0 else 0.85)

    columns = max(range(1, num_panels + 1), key=score)
    return columns, min(0.64, max(0.3, columns * (side(columns) + 0.09) / _SLIDE[0]))


def _enlarge(picture_YXC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A small picture drawn larger, smoothly, so that the map over it is smooth too."""
    from PIL import Image

    height, width = picture_YXC.shape[:2]
    times = math.ceil(_PICTURE_SHORTEST / min(height, width))
    if times == 1:
        return picture_YXC
    return np.asarray(Image.fromarray(picture_YXC).resize((times * width, times * height), Image.Resampling.BICUBIC))


def _show(axes: Axes, picture_YXC: NDArray[np.uint8]) -> None:
    height, width = picture_YXC.shape[:2]
    enlarged = _enlarge(picture_YXC)
    axes.imshow(enlarged, extent=(0, width, height, 0), interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _outline(axes: Axes, mask_YX: NDArray[Any], size: tuple[int, int]) -> None:
    rows = (np.arange(mask_YX.shape[0]) + 0.5) * size[0] / mask_YX.shape[0]
    columns = (np.arange(mask_YX.shape[1]) + 0.5) * size[1] / mask_YX.shape[1]
    front_YX = (mask_YX == 1).astype(float)
    if 0 < front_YX.mean() < 1:
        axes.contour(columns, rows, front_YX, levels=[0.5], colors=["white"], linewidths=3.4)
        axes.contour(columns, rows, front_YX, levels=[0.5], colors=[INK], linewidths=1.4)
