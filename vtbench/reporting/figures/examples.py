"""Examples of segmentation: images that every run keeps, their truth, and what each arm makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtbench.records.examples import Example
from vtbench.reporting.example_figure import Tile, draw_tiles
from vtbench.reporting.figures.figure import FIGURES, Figure, title_drawing
from vtbench.reporting.legends import explain_pictures
from vtbench.reporting.shown_examples import break_rows, find_shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from vtbench.reporting.report import Report

_MOST_ROWS = 8
TITLE = "Examples"


def draw_examples(report: Report, index: int) -> Drawing | None:
    """Every kept image with image, truth, prediction, errors and tokens; fewer images where the arms take many rows."""
    shown = find_shown(report, index)
    if shown is None:
        return None
    rows: list[list[Tile | None]] = []
    used: list[Example] = []
    numbers = shown.arms[0][1].list_fixed()
    for number in numbers:
        found = [(arm, one) for arm, examples in shown.arms if (one := examples.find(number)) is not None]
        lead = [shown.show_image(found[0][1], f"image {number}"), shown.show_truth(found[0][1])]
        groups = [[*shown.show_answer(arm, one), *shown.show_tokens(one)] for arm, one in found]
        of_image = break_rows(lead, groups)
        if rows and len(rows) + len(of_image) > _MOST_ROWS:
            break
        rows += of_image
        used += [one for _, one in found]
    title = title_drawing(report, index, TITLE.lower())
    num_shown = len({one.note.index for one in used})
    some = f" ({num_shown} of {len(numbers)})" if num_shown < len(numbers) else ""
    what = f"Validation images that every run keeps, by their numbers{some}."
    caption = shown.describe(what, tokens=shown.doublings > 0)
    return draw_tiles(rows, shown.list_legend(used), title=title, caption=caption, doublings=shown.doublings)


FIGURES.add("examples", Figure(title=TITLE, draw=draw_examples, below=True, explain=explain_pictures, pictures=True))
