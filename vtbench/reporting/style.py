"""The one look of every figure: fonts, lines, and the colour and marker of each family of models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from vtbench.catalog import Look, load_catalog

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#222222"
MUTED = "#8a8a8a"
GRID = "#e6e6e6"
PNG_DPI = 200

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
    "axes.labelsize": 11,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "path.simplify": False,
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "vtbench",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}


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
            axes.plot(*place, marker=marker, markersize=6, color=color, markeredgewidth=0, clip_on=False, zorder=2.8)


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the house's style, whatever the user's own settings are, and leave those as they were."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        yield
