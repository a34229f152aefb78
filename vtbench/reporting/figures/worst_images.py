"""The images that each arm of a segmentation study does worst on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtbench.records.examples import Example
from vtbench.reporting.example_figure import Tile, draw_tiles
from vtbench.reporting.figures.figure import FIGURES, Figure
from vtbench.reporting.shown_examples import ShownExamples, find_shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from vtbench.reporting.report import Report

_SIDE_BY_SIDE = 2
_MOST_ROWS = 8
TITLE = "Worst images"


def draw_worst(report: Report, index: int) -> Drawing | None:
    """Two arms side by side with image, truth, prediction and errors; fewer images of each arm where arms are many."""
    shown = find_shown(report, index)
    if shown is None or not any(examples.worst for _, examples in shown.arms):
        return None
    bands = [shown.arms[start : start + _SIDE_BY_SIDE] for start in range(0, len(shown.arms), _SIDE_BY_SIDE)]
    most = max(1, _MOST_ROWS // len(bands))
    rows: list[list[Tile | None]] = []
    used: list[Example] = []
    for band in bands:
        worst = [[examples.find(number) for number in examples.worst[:most]] for _, examples in band]
        for rank in range(max(map(len, worst))):
            row: list[Tile | None] = []
            for (arm, _), of_arm in zip(band, worst, strict=True):
                one = of_arm[rank] if rank < len(of_arm) else None
                row += [None] * 4 if one is None else _show(shown, arm, one, rank)
                used += [] if one is None else [one]
            rows.append(row)
    num_judged = max(examples.num_judged for _, examples in shown.arms)
    title = f"{report.outline.title}: {TITLE.lower()}" + (f", comparison {index + 1}" if index else "")
    caption = shown.describe(
        f"Of {num_judged:,} validation images those with the lowest {shown.metric.label}, by arm.", tokens=False
    )
    return draw_tiles(rows, shown.list_legend(used), title=title, caption=caption)


def _show(shown: ShownExamples, arm: str, one: Example, rank: int) -> list[Tile]:
    name = " ".join(arm.splitlines())
    lead = [shown.show_image(one, f"{name}\nworst {rank + 1}: image {one.note.index}"), shown.show_truth(one)]
    return [*lead, *shown.show_answer(arm, one)]


FIGURES.add("worst_images", Figure(title=TITLE, draw=draw_worst, below=True))
