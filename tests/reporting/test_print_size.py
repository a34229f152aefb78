"""Figures are read at the width of a paper's column, by few arms and many, on light and dark pages, and in PDF."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from synthetic_runs import make_run, write_study
from test_example_figures import write_runs

from vtbench.documents.dark_look import add_dark_look, darken
from vtbench.documents.figures import save_figure
from vtbench.records import EpochRecord, RunRecord
from vtbench.reporting.figures import FIGURES
from vtbench.reporting.figures.cost_roles import draw_roles
from vtbench.reporting.report import Report, build_report
from vtbench.reporting.style import WIDTH, house_style

COLUMN = 3.3
"""Inches of a column of a paper."""
LEAST_POINTS = 6


def make_epochs(end: float) -> tuple[EpochRecord, ...]:
    values = (end * (1 - 0.8**epoch) for epoch in range(1, 9))
    return tuple(
        EpochRecord(epoch=epoch, learning_rate=0.1, train={"loss": 1.0}, val={"top1_percent": value})
        for epoch, value in enumerate(values)
    )


def make_runs(num_arms: int) -> list[RunRecord]:
    """Arms that lie close to each other, of names as factors make them, some of them of one model."""
    runs = []
    for arm in range(num_arms):
        name = f"model=vt_resnet20,learning_rate={0.01 * (arm + 1):.2g},auto_augment=off" if arm else "convolution"
        variant = f"vt_resnet20:num_tokens={2 ** (arm % 6)}" if arm % 2 else f"resnet20:width={16 + arm}"
        for seed in range(3):
            end = 60 + 7 * arm % 9 + seed * (1 + arm % 3)
            macs = 30_000_000 + 311_000 * (7 * arm % 40)
            run = make_run(name, seed, float(end), variant=variant, macs=macs)
            runs.append(run.model_copy(update={"epochs": make_epochs(float(end))}))
    return runs


def list_texts(figure: Figure) -> list[Text]:
    shown = (one for one in figure.findobj(Text) if one.get_visible() and one.get_text().strip())
    ticks = {label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in _list_beyond(axis)}
    return [one for one in shown if one not in ticks]


def _list_beyond(axis) -> list[Text]:  # type: ignore[no-untyped-def]
    """The labels of ticks that lie outside of the axis, which are not drawn."""
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [label for tick in ticks for label in (tick.label1, tick.label2) if not low <= tick.get_loc() <= high]


def assert_is_read(figure: Figure) -> None:
    FigureCanvasAgg(figure).draw()
    assert figure.get_figwidth() == pytest.approx(WIDTH)
    texts = list_texts(figure)
    assert texts
    assert min(text.get_fontsize() for text in texts) * COLUMN / WIDTH >= LEAST_POINTS - 1e-9
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    beyond = [
        name for name, box in boxes if min(box.x0, box.y0) < 0 or box.x1 > figure.bbox.x1 or box.y1 > figure.bbox.y1
    ]
    assert beyond == []
    assert [
        (one, other)
        for (one, box), (other, its) in itertools.combinations(boxes, 2)
        if min(box.x1, its.x1) - max(box.x0, its.x0) > 2 and min(box.y1, its.y1) - max(box.y0, its.y0) > 2
    ] == []


def draw_all(report: Report) -> dict[str, Figure]:
    with house_style():
        drawn = {name: FIGURES[name].draw(report, 0) for name in FIGURES}
    return {name: figure for name, figure in drawn.items() if figure is not None}


@pytest.mark.parametrize("num_arms", [2, 5, 12, 40])
def test_every_text_of_a_figure_is_read_in_the_column_of_a_paper(num_arms: int, tmp_path: Path) -> None:
    report = build_report(write_study(tmp_path, make_runs(num_arms), seeds=None))
    drawn = draw_all(report)
    assert {"accuracy_macs", "effects", "learning_curves"} <= drawn.keys()
    assert ("accuracy_tokens" in drawn) == (num_arms > 4)
    assert all(figure.texts[0].get_text().startswith(report.outline.title[:20]) for figure in drawn.values())
    with house_style():
        for figure in drawn.values():
            assert_is_read(figure)


@pytest.mark.parametrize("num_arms", [2, 5, 12, 40])
def test_so_is_every_text_beside_pictures(num_arms: int, tmp_path: Path) -> None:
    arms = {f"a model of number {number}": number > 0 for number in range(num_arms)}
    drawn = draw_all(build_report(write_runs(tmp_path, arms)))
    assert {"examples", "worst_images", "class_differences"} <= drawn.keys()
    with house_style():
        for name in ("examples", "worst_images", "class_differences"):
            assert drawn[name].texts[0].get_text().startswith(tmp_path.name[:20])
            assert_is_read(drawn[name])


@pytest.mark.parametrize("num_arms", [2, 12, 40])
def test_and_that_of_bars_by_role(num_arms: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roles = {"convolution": 5, "spatial attention": 7, "token MLP": 3, "a role of a package of others": 2}
    bars = {f"static+position of number {number}": roles for number in range(num_arms)}
    monkeypatch.setattr("vtbench.reporting.figures.cost_roles.list_roles", lambda report, index: bars)
    with house_style():
        figure = draw_roles(build_report(write_study(tmp_path, make_runs(2), seeds=None)), 0)
        assert figure is not None
        assert figure.texts[0].get_text().startswith(tmp_path.name[:20])
        assert_is_read(figure)


def test_an_svg_has_other_colours_for_those_who_prefer_dark_pages(tmp_path: Path) -> None:
    drawn = draw_all(build_report(write_runs(tmp_path / "runs", {"FPN": False, "VT-FPN": True})))
    with house_style():
        for name in ("effects", "examples"):
            save_figure(drawn[name], tmp_path, name, dpi=50, dark=True)
    plot, pictures = ((tmp_path / f"{name}.svg").read_text("utf-8") for name in ("effects", "examples"))
    assert plot.count("prefers-color-scheme:dark") == 1
    for text in (plot, pictures):
        used = set(re.findall(r'style="[^"]*(?:fill|stroke): (#\w{6})', text))
        assert used <= set(re.findall(r"(?:fill|stroke): (#\w{6})\"\]", text))
    assert '[style*="fill: #ffffff"]:not([id^="as-is"]>*){fill:#15171a!important}' in plot
    assert 'id="as-is' in pictures and 'id="as-is' not in plot
    assert darken("#0072b2") != "#0072b2"
    assert add_dark_look("<svg></svg>") == "<svg></svg>"


def test_fonts_of_a_pdf_are_those_that_publishers_take(tmp_path: Path) -> None:
    drawn = draw_all(build_report(write_study(tmp_path / "study", make_runs(2), seeds=None)))
    with house_style():
        save_figure(drawn["effects"], tmp_path, "effects", dpi=50, pdf=True)
    data = (tmp_path / "effects.pdf").read_bytes()
    assert b"/FontFile2" in data and b"/Type3" not in data
