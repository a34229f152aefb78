"""Names of classes and models come from others' files, and are letters in whatever is drawn of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from vtbench.documents.figures import save_figure
from vtbench.records.evaluation import ClassEvaluationRecord, EvaluationRecord
from vtbench.reporting.charts.svg import group
from vtbench.reporting.confusion_figure import draw_confusion
from vtbench.reporting.contact_figure import Row, Sheet, draw_sheet
from vtbench.reporting.style import house_style
from vtbench.reporting.token_figure import Panel, draw_overview

NAME = "<b>&$\\frac{$\x1b[31m--"
IMAGE = np.zeros((4, 4, 3), np.uint8)


def draw_evaluation() -> Figure:
    one = ClassEvaluationRecord.model_construct(number=0, name=NAME, items=1, taken_for={0: 1})
    return draw_confusion(EvaluationRecord.model_construct(classes=(one,), task="classification", variant=NAME, seed=0))


def draw_data() -> Figure:
    return draw_sheet(Sheet(NAME, NAME, (Row(NAME, (IMAGE,)),), (NAME,), ((NAME, (0, 0, 0)),)))


def draw_looks() -> Figure:
    panel = Panel(map=np.full((2, 2), 0.25), picture=IMAGE, title=NAME)
    return draw_overview([(NAME, IMAGE, [panel])], title=NAME, caption=NAME)


@pytest.mark.parametrize("draw", [draw_evaluation, draw_data, draw_looks])
def test_a_name_that_steers_is_spelled_out_in_a_figure(draw: Callable[[], Figure], tmp_path: Path) -> None:
    with house_style():
        save_figure(draw(), tmp_path, "drawn", dpi=50)
    text = (tmp_path / "drawn.svg").read_text("utf-8")
    ElementTree.fromstring(text)
    assert "\\x1b[31m" in text


def test_the_name_of_an_arm_is_the_same_in_a_chart_as_in_the_tables_of_its_page() -> None:
    assert group([], arm="a\x1b<", tip="a\x1b") == '<g class="arm" data-arm="a\\x1b&lt;"><title>a\\x1b</title></g>'
