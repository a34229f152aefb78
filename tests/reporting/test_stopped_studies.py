"""Of runs whose number the outcome decided no report gives a plain interval, whatever it is a report of."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import list_runs, write_crossed
from test_formats import report_on

from vtbench.documents.table import to_markdown
from vtbench.records.answers import Answers
from vtbench.reporting.archive import archive_runs
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.content import answer_report
from vtbench.reporting.contrasts import find_contrasts
from vtbench.reporting.image_tables import compare_images
from vtbench.reporting.rendering import render_csv, render_markdown
from vtbench.reporting.report import build_report
from vtbench.reporting.runs import identify_run
from vtbench.reporting.side_by_side import tabulate_sides
from vtbench.stats.estimates import Estimate, PairedDifference

RULE = {"looks": [3, 6], "num_contrasts": 1, "smallest_effect": 5.0}
ARMS = {"model": ("plain", "tokens")}


def score(levels: Mapping[str, str], seed: int) -> float:
    return 50.0 + (seed * 7) % 5 + (1.5 + (seed * 3) % 4 if levels["model"] == "tokens" else 0.0)


def write_plain(
    folder: Path, factors: Mapping[str, tuple[str, ...]] = ARMS, *, shift: float = 0.0, **more: object
) -> Path:
    return write_crossed(folder, factors, lambda levels, seed: score(levels, seed) + shift, **more)


def list_plain_intervals(comparison: Comparison) -> list[str]:
    """The arms that have an interval of their mean, or a difference that is not one over all looks."""
    return [
        arm.name
        for arm in comparison.arms
        if (isinstance(arm.mean, Estimate) and arm.mean.interval is not None)
        or (
            isinstance(arm.difference, PairedDifference)
            and arm.difference.estimate.interval is not None
            and not arm.decision
        )
    ]


@pytest.fixture
def decided(tmp_path: Path) -> Path:
    return write_plain(tmp_path / "decided", seeds=6, until=RULE)


def test_beside_another_study_a_stopped_one_has_no_plain_interval(tmp_path: Path, decided: Path) -> None:
    [alone] = build_report(decided).comparisons
    assert list_plain_intervals(alone) == [] and alone.arms[1].decision is not None
    other = write_plain(tmp_path / "other", {"model": ("plain", "wide")}, shift=1.0, seeds=4)
    for folders in ((decided, other), (other, decided)):
        report = build_report(*folders)
        for comparison in report.comparisons:
            shown = list_plain_intervals(comparison)
            assert not {"model=plain", "model=tokens"} & set(shown)
            assert "model=wide" in shown or "model=wide" not in {arm.name for arm in comparison.arms}
            for arm in comparison.arms[1:]:  # The reference is stopped, and so is what is taken against it.
                assert isinstance(arm.difference, PairedDifference) and arm.difference.estimate.interval is None
        text = render_markdown(report)
        assert "equal in all seeds" not in text
        assert "the outcome decided the number of seeds" in text
        assert report.sides is not None
        beside = to_markdown(tabulate_sides(report.sides)).splitlines()  # There the fixed study keeps its intervals.
        shown = [line for line in text.splitlines() if line not in beside]
        rows = [line for line in shown if line.startswith(("| model=plain", "| model=tokens"))]
        assert rows and not any("±" in row for row in rows)


@pytest.mark.parametrize("is_archived", [False, True])
def test_its_means_have_none_beside_another_result_which_keeps_its_own(
    tmp_path: Path, decided: Path, is_archived: bool
) -> None:
    fixed = write_plain(tmp_path / "fixed", shift=0.5, seeds=3)
    stopped = write_plain(tmp_path / "again", shift=0.5, seeds=6, until=RULE)
    if is_archived:
        for folder in (decided, fixed, stopped):
            archive_runs([folder], tmp_path / "archives" / folder.name)
        decided, fixed, stopped = (tmp_path / "archives" / one.name for one in (decided, fixed, stopped))
    for folders, has_intervals in (
        ((decided, fixed), (False, True)),
        ((fixed, decided), (True, False)),
        ((decided, stopped), (False, False)),
        ((decided / ("records" if is_archived else "cells"), fixed), (False, True)),
    ):
        report = build_report(*folders)
        assert report.sides is not None
        for one in report.sides.arms:
            assert isinstance(one.old, Estimate) and isinstance(one.new, Estimate)
            assert (one.old.interval is not None, one.new.interval is not None) == has_intervals
            assert isinstance(one.difference, PairedDifference) and one.difference.estimate.interval is None
        assert all(list_plain_intervals(comparison) == [] for comparison in report.comparisons)


def test_a_second_comparison_of_stopped_runs_goes_by_the_same_looks(tmp_path: Path, decided: Path) -> None:
    other = write_plain(tmp_path / "other", seeds=6, until=RULE)
    for path in other.rglob("record.json"):
        record = json.loads(path.read_text("utf-8"))
        record["certificate"]["recipe"] = "0" * 64
        path.write_text(json.dumps(record), "utf-8")
    first, second = build_report(decided, other).comparisons
    assert first.arms[1].decision is not None and second.arms[1].decision == first.arms[1].decision


def test_a_part_of_it_and_an_archive_of_several_have_none_either(tmp_path: Path, decided: Path) -> None:
    part = build_report(decided / "cells" / "model=tokens").comparisons[0]
    assert list_plain_intervals(part) == []
    other = write_plain(tmp_path / "other", {"model": ("plain", "wide")}, shift=1.0, seeds=4)
    archive_runs([decided, other], tmp_path / "archive")
    shutil.rmtree(decided)
    report = build_report(tmp_path / "archive")
    assert not any({"model=plain", "model=tokens"} & set(list_plain_intervals(one)) for one in report.comparisons)
    assert not re.search(r"model=tokens[^\n]*half", render_csv(report))


def test_a_difference_of_one_seed_is_not_blamed_on_the_outcome(tmp_path: Path, decided: Path) -> None:
    once = write_crossed(tmp_path / "once", {"model": ("other", "wide")}, score, seeds=1)
    assert "The outcome decided" not in " ".join(answer_report(build_report(once, decided)))


def test_it_has_neither_contrasts_nor_differences_over_images(tmp_path: Path) -> None:
    report = report_on(list_runs(), base="convolution")
    [comparison] = report.comparisons
    stopped = replace(comparison, stopped=True)
    assert find_contrasts(comparison) and not find_contrasts(stopped)
    truth, scores = np.zeros(60, dtype=np.uint8), np.arange(60, dtype=np.uint8) % 2
    answers = {
        identify_run(record): Answers.of_classes("classification", truth, (scores + record.seed) % 3, num_classes=3)
        for record in comparison.records
    }
    assert compare_images(comparison, answers) and not compare_images(stopped, answers)
