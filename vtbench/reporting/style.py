"""The one look of every figure: fonts, lines, and the colour and marker of each family of models."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from vtbench.catalog import Look, load_catalog
from vtbench.documents.table import escape_controls
from vtbench.documents.wrapping import spell_name
from vtbench.reporting.charts.svg import LETTER as CHART_LETTER
from vtbench.reporting.charts.svg import shorten_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#222222"
QUIET = "#595959"
"""Of letters that explain."""
MUTED = "#8a8a8a"
GRID = "#e6e6e6"
PNG_DPI = 200
WIDTH, WIDE = 4.4, 9.2
"""Inches that a figure is drawn wide: for a paper's column, of 3.3 inches, and for both, of 6.9."""
SMALL, TITLE = 8.0, 9.5
"""Points of the smallest letters and of a title; in the paper they are three quarters of that."""
LETTER = 0.067
"""How wide a `SMALL` letter is, about, in inches."""
MOST_LETTERS = 22
"""Of a name beside a plot."""

LINES = tuple(
    (color, dashes)
    for dashes in ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)))
    for color in ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#222222")
)
"""Colour and dashes of lines that have to be told apart: the palette of Okabe and Ito 2008, dashed where it repeats."""

RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": SMALL,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": SMALL,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "path.simplify": False,
    "pdf.fonttype": 42,
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "vtbench",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": SMALL,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": SMALL,
}


class Head:
    """A title and a caption above a figure, in as many lines as its ``width`` in inches asks for."""

    def __init__(self, title: str, caption: str, *, width: float = WIDTH) -> None:
        room = width - 2 * _RIM
        self._title = textwrap.wrap(spell_name(title), int(room / (1.35 * LETTER)), break_on_hyphens=False)
        self._caption = textwrap.wrap(escape_controls(caption), int(room / LETTER), break_on_hyphens=False)

    @property
    def inches(self) -> float:
        """How high it is."""
        return 2 * _RIM + _TITLE_LINE * len(self._title) + _LINE * len(self._caption)

    def open(self, inches: float) -> Figure:
        """A figure with ``inches`` for what lies below this, which matplotlib lays out."""
        from matplotlib.figure import Figure

        height = self.inches + inches
        figure = Figure(figsize=(WIDTH, height))
        figure.set_layout_engine("constrained", rect=(0, 0, 1, inches / height))
        self.write(figure)
        return figure

    def write(self, figure: Figure) -> None:
        """Write it at the top of ``figure``, whose size is final."""
        width, height = figure.get_size_inches()
        down = _RIM
        for line in self._title:
            figure.text(_RIM / width, 1 - down / height, line, fontsize=TITLE, fontweight="bold", va="top")
            down += _TITLE_LINE
        for line in self._caption:
            figure.text(_RIM / width, 1 - down / height, line, fontsize=SMALL, color=QUIET, va="top")
            down += _LINE


_RIM, _TITLE_LINE, _LINE = 0.08, 0.18, 0.15
_OTHER = Look("other", MUTED, "o")


def find_look(variant: str) -> Look:
    """The look of a variant's family, as the catalogue has it; one for all where it has none."""
    return _load_looks().get(variant.partition(":")[0]) or _OTHER


@cache
def _load_looks() -> dict[str, Look | None]:
    return {entry.name: entry.look for entry in load_catalog()}


def mark_cut_ends(axes: Axes, ends: tuple[float, float], at: float, color: str, *, upright: bool = False) -> None:
    """An arrowhead at the rim for each end of a bar that lies beyond it. Call it when the axes have their limits."""
    from matplotlib.markers import CARETDOWN, CARETLEFT, CARETRIGHT, CARETUP

    low, high = sorted(axes.get_ylim() if upright else axes.get_xlim())
    down, up = (CARETDOWN, CARETUP) if upright else (CARETLEFT, CARETRIGHT)
    heads = ((low, ends[0] < low, down), (high, ends[1] > high, up))
    for rim, beyond, marker in heads:
        if beyond:
            place = ([at], [rim]) if upright else ([rim], [at])
            axes.plot(*place, marker=marker, markersize=5, color=color, markeredgewidth=0, clip_on=False, zorder=2.8)


def shorten_arm(name: str) -> str:
    """The name of an arm, a class or the like as a figure of `WIDTH` has room for it: see `shorten_text`."""
    return shorten_text(name, MOST_LETTERS * CHART_LETTER)


def fit_columns(names: Iterable[str]) -> int:
    """How many columns a legend of these names, shortened, may have."""
    longest = max(len(shorten_arm(name)) for name in names)
    return max(1, int((WIDTH - 0.1) / (0.5 + LETTER * longest)))


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the house's style, whatever the user's own settings are, and leave those as they were."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        yield
