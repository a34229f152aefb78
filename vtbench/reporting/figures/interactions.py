"""How the effect of one factor moves along the levels of another, with the interval of each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from vtbench.records import NotMeasured
from vtbench.reporting.factor_tables import find_effects
from vtbench.reporting.figures.figure import FIGURES, Figure, title_drawing
from vtbench.reporting.forest import choose_reach, open_forest, set_forest_axes
from vtbench.reporting.style import INK, MOST_LETTERS, QUIET, Head, mark_cut_ends, shorten_arm
from vtbench.stats.estimates import Estimate
from vtbench.stats.factor_effects import Interaction

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from vtbench.reporting.report import Report

TITLE = "Effects along other factors"
MOST_ROWS = 60


def draw_interactions(report: Report, index: int) -> Drawing | None:
    """A forest plot: one line a level, below the effect whose size there it shows. None for fewer than two factors."""
    comparison = report.comparisons[index]
    found = find_effects(comparison)
    known = [one for one in found.interactions if isinstance(one.there, Estimate)] if found is not None else []
    if not known:
        return None
    lines = _list_lines(known[:MOST_ROWS])
    title = title_drawing(report, index, "effects along other factors")
    cut = f"; the first {MOST_ROWS} of {len(known)}" if len(known) > MOST_ROWS else ""
    line = "; line: 95 % t interval of each alone" if any(_has_line(one.there) for one in known) else ""
    head = Head(title, f"mean difference by seed{line}{cut}")
    names = [name for name, _ in lines]
    figure, axes = open_forest(head, names, line=0.2)
    shown = [estimate for _, estimate in lines if estimate is not None]
    ends = [end for one in shown for end in one.interval or ()]
    set_forest_axes(axes, names, choose_reach((one.mean for one in shown), ends))
    for place, (_, estimate) in enumerate(lines):
        if estimate is None:
            continue
        if estimate.interval is not None:
            axes.plot(estimate.interval, (place, place), color=QUIET, linewidth=2, solid_capstyle="butt", zorder=2)
            mark_cut_ends(axes, estimate.interval, place, QUIET)
        axes.scatter([estimate.mean], [place], s=24, color=INK, edgecolors="white", linewidths=0.6, zorder=3)
    for label, (_, estimate) in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_fontweight("normal" if estimate is not None else "bold")
    axes.set_xlabel(f"effect on {comparison.metric.label} ({comparison.metric.difference_unit})")
    return figure


def _list_lines(known: Sequence[Interaction]) -> list[tuple[str, Estimate | None]]:
    """A heading for each effect, without an estimate and on two lines if it is long, and below it a line a level."""
    lines: list[tuple[str, Estimate | None]] = []
    for (factor, level, reference, by), group in groupby(
        known, key=lambda one: (one.factor, one.level, one.reference, one.by)
    ):
        effect, against = shorten_arm(f"{factor}={level}"), f"against {shorten_arm(reference)}"
        headings = [f"{effect} {against}"] if len(effect) + len(against) < 1.5 * MOST_LETTERS else [effect, against]
        lines += [(heading, None) for heading in headings]
        lines += [(shorten_arm(f"{by}={one.at}"), one.there) for one in group if isinstance(one.there, Estimate)]
    return lines


def _explain(report: Report, index: int) -> str:
    """The marks of the figure."""
    found = find_effects(report.comparisons[index])
    line = (
        " Line: its 95 % t interval alone." if found and any(_has_line(one.there) for one in found.interactions) else ""
    )
    return (
        "Dot: the effect where the other factor has that level, the mean difference by seed over all further factors."
        f"{line} The changes stand in the table."
    )


def _has_line(estimate: Estimate | NotMeasured) -> bool:
    return isinstance(estimate, Estimate) and estimate.interval is not None


FIGURES.add("interactions", Figure(title=TITLE, draw=draw_interactions, below=True, explain=_explain))
