"""Names of classes and models come from others' files, and are letters in whatever is drawn of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from test_example_figures import write_runs

from vtbench.documents.figures import save_figure
from vtbench.records.evaluation import ClassEvaluationRecord, EvaluationRecord
from vtbench.reporting.charts.svg import group
from vtbench.reporting.confusion_figure import draw_confusion
from vtbench.reporting.contact_figure import Row, Sheet, draw_sheet
from vtbench.reporting.figures import FIGURES
from vtbench.reporting.legends import explain_classes
from vtbench.reporting.report import build_report
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


def test_so_is_the_name_of_an_arm_in_the_title_and_the_caption_of_every_figure(tmp_path: Path) -> None:
    report = build_report(write_runs(tmp_path / "runs", {NAME: False, "VT-FPN": True}))
    with house_style():
        drawn = {name: FIGURES[name].draw(report, 0) for name in FIGURES}
        for name, figure in drawn.items():
            if figure is not None:
                save_figure(figure, tmp_path, name, dpi=50)
                ElementTree.fromstring((tmp_path / f"{name}.svg").read_text("utf-8"))
    assert NAME in explain_classes(report, 0)
    assert "Zero is" in (said := (tmp_path / "class_differences.svg").read_text("utf-8")) and "\\x1b[31m" in said


def test_the_name_of_an_arm_is_the_same_in_a_chart_as_in_the_tables_of_its_page() -> None:
    assert group([], arm="a\x1b<", tip="a\x1b") == '<g class="arm" data-arm="a\\x1b&lt;"><title>a\\x1b</title></g>'
