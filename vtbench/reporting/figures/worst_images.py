"""The images that each arm of a segmentation study does worst on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtbench.records.examples import Example
from vtbench.reporting.example_figure import Tile, draw_tiles
from vtbench.reporting.figures.figure import FIGURES, Figure, title_drawing
from vtbench.reporting.legends import explain_pictures
from vtbench.reporting.shown_examples import ShownExamples, find_shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from vtbench.reporting.report import Report

_MOST_ROWS = 8
TITLE = "Worst images"


def draw_worst(report: Report, index: int) -> Drawing | None:
    """A row an image with truth, prediction and errors, arm after arm; fewer images of each where arms are many."""
    shown = find_shown(report, index)
    if shown is None or not any(examples.worst for _, examples in shown.arms):
        return None
    most = max(1, _MOST_ROWS // len(shown.arms))
    rows: list[list[Tile]] = []
    used: list[Example] = []
    for arm, examples in shown.arms:
        for rank, number in enumerate(examples.worst[:most]):
            if (one := examples.find(number)) is not None:
                rows.append(_show(shown, arm, one, rank))
                used.append(one)
    num_judged = max(examples.num_judged for _, examples in shown.arms)
    title = title_drawing(report, index, TITLE.lower())
    caption = shown.describe(
        f"Of {num_judged:,} validation images those with the lowest {shown.metric.label}, by arm.", tokens=False
    )
    return draw_tiles(rows, shown.list_legend(used), title=title, caption=caption)


def _show(shown: ShownExamples, arm: str, one: Example, rank: int) -> list[Tile]:
    name = " ".join(arm.splitlines())
    lead = [
        shown.show_image(one, f"{name}\nworst {rank + 1}: no.\N{NO-BREAK SPACE}{one.note.index}"),
        shown.show_truth(one),
    ]
    return [*lead, *shown.show_answer(arm, one)]


FIGURES.add("worst_images", Figure(title=TITLE, draw=draw_worst, below=True, explain=explain_pictures, pictures=True))
