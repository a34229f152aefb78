"""The chosen setting of every arm can be told in the figure of what was tuned, also where arms came to the same."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vtbench.reporting.content import list_all_notes
from vtbench.reporting.figures import FIGURES
from vtbench.reporting.figures.response_curves import draw_responses, set_apart
from vtbench.reporting.rendering import save_report
from vtbench.reporting.report import build_report
from vtbench.reporting.style import house_style
from vtbench.reporting.tuning import find_tuning, tabulate_tuning

TUNED = Path(__file__).parents[2] / "reports" / "tuning"


def test_stars_of_arms_that_came_to_the_same_stand_side_by_side_at_their_score() -> None:
    report = build_report(TUNED)
    rates = {0.03: 40.0, 0.1: 60.0, 0.3: 61.0}
    alike = tuple(
        one.model_copy(update={"outcome": {"top1_percent": rates[one.config.recipe.optimizer.learning_rate]}})
        for one in report.trials
    )
    with house_style():
        drawing, apart = draw_responses(replace(report, trials=alike), 0), draw_responses(report, 0)
    assert drawing is not None and apart is not None
    drawing.draw_without_rendering()
    panel = drawing.axes[0]
    stars = [mark for mark in panel.collections if mark.get_sizes()[0] == 80]
    assert [tuple(star.get_offsets()[0]) for star in stars] == [(0.3, 61.0)] * 5
    spots = np.vstack([star.get_offset_transform().transform(star.get_offsets()) for star in stars])
    across = np.sort(spots[:, 0])
    assert np.diff(across).min() >= 0.99 * 9.5 * drawing.dpi / 72
    assert across[-1] <= panel.get_window_extent().x1
    assert spots[:, 1].tolist() == pytest.approx([panel.transData.transform((0.3, 61.0))[1]] * 5)
    assert panel.get_xlim() == apart.axes[0].get_xlim(), "stars that stand aside make no panel wider"


def test_points_that_would_meet_go_to_either_side_as_near_as_there_is_room() -> None:
    assert set_apart([(50, 1), (50, 9), (50, 3), (50, 40), (50, 3)], 10, (0, 100)) == [0, 10, -10, 0, 20]
    assert set_apart([(95, 1), (95, 1), (95, 1)], 10, (0, 100)) == [0, -10, -20]
    assert set_apart([(50, 1), (58, 1)], 10, (0, 100)) == [0, 2]
    assert set_apart([(5, 1), (5, 1)], 10, (0, 10)) == [0, 0], "no room"


def test_the_page_has_a_plot_without_a_chart_of_its_own_as_a_drawing_that_can_be_dark(tmp_path: Path) -> None:
    report = build_report(TUNED)
    assert FIGURES["response_curves"].chart is None
    saved = save_report(report, tmp_path / "report")
    drawing = base64.b64encode((saved.folder / "response_curves.svg").read_bytes()).decode()
    assert saved.page is not None
    page = saved.page.read_text("utf-8")
    assert f"data:image/svg+xml;base64,{drawing}" in page and "image/jpeg" not in page
    assert "(0.03, 0.1, 0.3): 3 trials an arm, each 1 run of 6 epochs" in dict(report.provenance)["tuning"]
    assert any("in nothing else but learning_rate, each its own" in note for note in list_all_notes(report))
    tuning = find_tuning(report)
    assert tuning is not None
    assert tabulate_tuning(tuning, {}).header[2:4] == ("trials of 6 epochs: top-1 (%)", "full runs, fresh seeds")
