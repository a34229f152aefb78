"""The confusion matrix of a network as a figure: of each class in the truth, what share was taken for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vtbench.documents.table import escape_controls
from vtbench.documents.wrapping import shorten
from vtbench.records.evaluation import EvaluationRecord
from vtbench.reporting.style import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# K classes; rows are those of the truth.

_MOST_LABELLED = 60
_MOST_WITH_NUMBERS = 20
_LONGEST_NAME = 24
_SMALLEST, _LARGEST, _CELL = 4.5, 14.0, 0.42


def read_confusion(record: EvaluationRecord) -> NDArray[np.int64]:
    """How many images or pixels of the class of a row were taken for that of a column, (K, K)."""
    confusion_KK = np.zeros((len(record.classes), len(record.classes)), np.int64)
    for row, one in enumerate(record.classes):
        confusion_KK[row, list(one.taken_for)] = list(one.taken_for.values())
    return confusion_KK


def draw_confusion(record: EvaluationRecord) -> Figure:
    """A square of shares, row by row, with names where they can be read and numbers where they fit."""
    from matplotlib.figure import Figure

    confusion_KK = read_confusion(record)
    items_K1 = confusion_KK.sum(1, keepdims=True)
    percent_KK = 100 * confusion_KK / np.maximum(items_K1, 1)
    size = len(confusion_KK)
    side = min(_LARGEST, max(_SMALLEST, _CELL * size + 2.2))
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.add_subplot()
    shown = axes.imshow(percent_KK, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    axes.grid(visible=False)
    axes.set_xlabel("taken for")
    axes.set_ylabel("truth")
    things = "pixels" if record.task == "segmentation" else "images"
    axes.set_title(
        f"{escape_controls(record.variant)}, seed {record.seed}: share of the {things} of each class (%)", fontsize=10
    )
    if size <= _MOST_LABELLED:
        names = [_shorten(one.name) for one in record.classes]
        font = 9 if size <= _MOST_WITH_NUMBERS else 6
        axes.set_xticks(range(size), names, rotation=90, fontsize=font)
        axes.set_yticks(range(size), names, fontsize=font)
    if size <= _MOST_WITH_NUMBERS:
        for row, column in zip(*np.nonzero(confusion_KK), strict=True):
            value = percent_KK[row, column]
            text = f"{value:.0f}" if value >= 0.5 else "<1"
            colour = "white" if value > 55 else INK
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    for row in np.flatnonzero(items_K1 == 0):
        axes.axhspan(row - 0.5, row + 0.5, color=MUTED, alpha=0.25, linewidth=0)
    figure.colorbar(shown, ax=axes, shrink=0.6)
    return figure


def _shorten(name: str) -> str:
    return shorten(" ".join(escape_controls(name).split()), _LONGEST_NAME)
