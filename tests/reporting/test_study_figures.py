"""Figures of differences and of learning curves show what the records say, of few arms and of many."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.markers import CARETLEFT, CARETRIGHT
from synthetic_runs import list_runs, make_run, write_study
from test_formats import report_on

from vtbench.records import EpochRecord, RunRecord
from vtbench.reporting.curves import MOST_NAMED, spread_heights
from vtbench.reporting.figures import FIGURES
from vtbench.reporting.figures.cost_roles import place_roles
from vtbench.reporting.figures.effects import MOST_ARMS, draw_effects
from vtbench.reporting.figures.learning_curves import draw_curves
from vtbench.reporting.rendering import save_report
from vtbench.reporting.report import build_report
from vtbench.reporting.style import LINES, house_style
from vtbench.reporting.token_curves import list_token_curves


def _with_epochs(record: RunRecord, *values: float) -> RunRecord:
    epochs = tuple(
        EpochRecord(epoch=place, learning_rate=0.1, train={"loss": 1.0}, val={"top1_percent": value})
        for place, value in enumerate(values)
    )
    return record.model_copy(update={"epochs": epochs})


def _list_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in (*figure.texts, *figure.axes[0].texts, *figure.axes[0].get_yticklabels())]


def _draw_effects(runs: list[RunRecord]) -> Figure:
    with house_style():
        figure = draw_effects(report_on(runs), 0)
    assert figure is not None
    return figure


def test_effects_have_a_line_an_arm_with_both_intervals_and_every_seed() -> None:
    figure = _draw_effects(list_runs())
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["static", "static-position", "dynamic", "dynamic-position"]
    spans = [tuple(np.round(line.get_xdata(), 2)) for line in axes.lines if line.get_ydata()[0] == 0][:2]
    # -1.45 with 0.33 alone and 0.67 for all four: the rows of the table.
    assert spans == [(-2.12, -0.78), (-1.78, -1.12)]
    dots = [collection.get_offsets() for collection in axes.collections]
    assert np.asarray(dots[0])[:, 0] == pytest.approx([-1.35, -1.4, -1.6])
    assert "for all 4 together" in " ".join(_list_texts(figure))


def test_an_interval_that_leaves_the_figure_ends_in_an_arrowhead() -> None:
    wild = {"convolution": (70.0, 70.5), "dynamic": (70.0, 73.5), "static": (69.9, 70.5)}
    report = report_on(list_runs(wild))
    row = {arm.name: place for place, arm in enumerate(report.comparisons[0].arms[1:])}
    axes = _draw_effects(list_runs(wild)).axes[0]
    heads = [
        (line.get_marker(), *line.get_xdata(), *line.get_ydata()) for line in axes.lines if len(line.get_xdata()) == 1
    ]
    low, high = axes.get_xlim()
    assert heads == [(CARETLEFT, low, row["dynamic"]), (CARETRIGHT, high, row["dynamic"])]
    for name in "effects", "accuracy_macs":
        chart = str(FIGURES[name].chart(report, 0))  # type: ignore[misc]
        assert chart.count("<polygon") >= 2
        assert chart.count("<polygon") == chart.count('class="arrow s')
    assert "<polygon" not in str(FIGURES["effects"].chart(report_on(list_runs()), 0))  # type: ignore[misc]


def test_one_arm_and_one_seed_have_no_effects_or_no_lines() -> None:
    with house_style():
        assert draw_effects(report_on([run for run in list_runs() if run.arm == "convolution"]), 0) is None
    figure = _draw_effects([run for run in list_runs() if run.seed == 0])
    assert not [line for line in figure.axes[0].lines if len(set(line.get_xdata())) > 1]


def test_sixty_arms_have_a_line_each_and_more_are_said_to_be_left_out(tmp_path: Path) -> None:
    runs = [make_run("convolution", 0, 50.0)]
    runs += [make_run(f"arm{number}", 0, 50.0 + number / 10, variant="vt_resnet20") for number in range(MOST_ARMS + 5)]
    figure = _draw_effects(runs)
    labels = figure.axes[0].get_yticklabels()
    assert len(labels) == MOST_ARMS
    assert labels[0].get_text() == "arm5"
    assert "the 60 largest of 65" in " ".join(_list_texts(figure))
    figure.canvas.draw()
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.y0)
    assert all(lower.y1 <= upper.y0 + 1 for lower, upper in pairwise(boxes))


def test_curves_are_means_over_seeds_within_a_band_and_are_named_at_their_ends() -> None:
    runs = [
        _with_epochs(make_run("convolution", 0), 10.0, 20.0, 30.0),
        _with_epochs(make_run("convolution", 1), 14.0, 26.0, 30.0),
        _with_epochs(make_run("dynamic", 0), 11.0, 22.0, 30.1),
    ]
    with house_style():
        figure = draw_curves(report_on(runs), 0)
    assert figure is not None
    axes = figure.axes[0]
    assert list(axes.lines[0].get_ydata()) == [12.0, 23.0, 30.0]
    assert len(axes.collections) == 1
    assert {"convolution", "dynamic"} <= set(_list_texts(figure))
    assert to_hex(axes.lines[0].get_color()) == LINES[0][0]


def test_runs_of_one_epoch_and_without_epochs_have_no_curves() -> None:
    with house_style():
        assert draw_curves(report_on(list_runs()), 0) is None
        assert draw_curves(report_on([_with_epochs(make_run("convolution", 0), 10.0)]), 0) is None


def test_of_many_arms_the_base_and_the_best_are_named_and_the_others_grey() -> None:
    runs = [_with_epochs(make_run("convolution", 0), 1.0, 2.0)]
    runs += [
        _with_epochs(make_run(f"arm{number}", 0, variant="vt_resnet20"), 5.0, 10.0 + number) for number in range(60)
    ]
    with house_style():
        figure = draw_curves(report_on(runs), 0)
    assert figure is not None
    names = [text for text in _list_texts(figure) if text.startswith(("arm", "conv"))]
    assert len(names) == MOST_NAMED
    assert {"convolution", "arm59", "arm37"} <= set(names) and "arm36" not in names
    assert f"{61 - MOST_NAMED} other arms" in " ".join(_list_texts(figure))


def test_names_that_end_at_one_height_stand_apart_and_near_it() -> None:
    heights = spread_heights(np.array([0.2, 0.5, 0.5, 0.5]), 0.1)
    assert heights == pytest.approx([0.2, 0.4, 0.5, 0.6])
    at_the_rim = spread_heights(np.array([0.99, 1.0]), 0.1)
    assert at_the_rim[1] <= 1.0 and at_the_rim[1] - at_the_rim[0] == pytest.approx(0.1)


def test_arms_that_differ_in_their_tokens_only_stand_on_one_line(tmp_path: Path) -> None:
    arms = {"a": "vt_resnet20:num_tokens=4", "b": "vt_resnet20", "c": "vt_resnet20:tokenizer=static", "d": "resnet20"}
    runs = [make_run(arm, seed, 70.0 + seed, variant=variant) for arm, variant in arms.items() for seed in (0, 1)]
    report = build_report(write_study(tmp_path, runs, seeds=None))
    (curve,) = list_token_curves(report.comparisons[0])
    assert [(number, arm.name) for number, arm, _ in curve.points] == [(4, "a"), (16, "b")]
    assert "a: 4 tokens, top-1 70.50 %" in str(FIGURES["accuracy_tokens"].chart(report, 0))
    assert FIGURES["cost_roles"].draw(report, 0) is None


def test_a_role_has_the_same_colour_in_every_report_whatever_other_roles_there_are() -> None:
    one = place_roles({"vt": {"tokenizer": 5, "convolution": 9}, "gate": {"own": 1, "convolution": 2}})
    other = place_roles({"cbam": {"convolution": 9, "spatial attention": 3}, "vt": {"classifier": 1, "tokenizer": 5}})
    assert list(one) == ["convolution", "tokenizer", "own"]
    assert {role: other[role] for role in ("convolution", "tokenizer")} == {
        "convolution": 0,
        "tokenizer": one["tokenizer"],
    }
    assert len({*one.values(), *other.values()}) == 5


def test_every_figure_is_written_as_pdf_too_where_that_is_wanted(tmp_path: Path) -> None:
    report = build_report(write_study(tmp_path / "study", list_runs()))
    usual, every = (save_report(report, tmp_path / name, every_figure=name == "all") for name in ("usual", "all"))
    assert {path.name for path in every.figures} - {path.name for path in usual.figures} == {
        "accuracy_macs.pdf", "effects.pdf", "accuracy_params.pdf", "accuracy_params.png", "accuracy_params.svg"
    }  # fmt: skip
    assert b"CreationDate" not in (tmp_path / "all" / "effects.pdf").read_bytes()
    save_report(report, tmp_path / "all")
    assert not list((tmp_path / "all").glob("*.pdf"))


@pytest.mark.parametrize("arm", ["x" * 20_000, "x\u0301" * 10_000])
def test_a_name_that_no_figure_has_room_for_has_its_middle_left_out(arm: str, tmp_path: Path) -> None:
    runs = [_with_epochs(run, 10.0, 20.0) for run in list_runs()]
    longest = [run.model_copy(update={"arm": arm}) for run in runs if run.arm == "convolution"]
    save_report(report_on([*runs, *longest]), tmp_path, every_figure=True)
    assert "…" in (tmp_path / "learning_curves.svg").read_text("utf-8")
