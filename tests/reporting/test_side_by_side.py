"""Two folders with the same arms are set beside each other; what keeps them from being compared is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from synthetic_runs import ENVIRONMENT, list_runs, make_run, write_crossed, write_study

from vtbench.configuration import DataConfig
from vtbench.documents.table import NOTHING
from vtbench.records import RunRecord
from vtbench.reporting.content import count_outcomes, list_all_notes
from vtbench.reporting.failures import list_failures
from vtbench.reporting.rendering import render_markdown
from vtbench.reporting.report import Report, build_report
from vtbench.reporting.side_by_side import TwoResults, list_side_notes, tabulate_sides
from vtbench.reporting.tables import tabulate_summary
from vtbench.reporting.web.report_page import render_page
from vtbench.stats.estimates import Estimate, PairedDifference

OLD = {"convolution": (70.0, 71.0, 72.0), "dynamic": (71.0, 72.5, 73.0)}
NEW = {"convolution": (70.5, 71.6, 72.4), "dynamic": (71.0, 72.4, 73.1)}


def build_sides(tmp_path: Path, old: list, new: list) -> Report:  # type: ignore[type-arg]
    return build_report(*(write_study(tmp_path / name, runs) for name, runs in (("old", old), ("new", new))))


def take_sides(report: Report) -> TwoResults:
    assert report.sides is not None
    return report.sides


def test_the_same_study_in_two_folders_is_paired_by_seed_and_says_what_else_changed(tmp_path: Path) -> None:
    elsewhere = ENVIRONMENT.model_copy(update={"commit": "f" * 40, "device_name": "Other CPU"})
    changed = [run.model_copy(update={"environment": elsewhere}) for run in list_runs(NEW)]
    sides = take_sides(build_sides(tmp_path, list_runs(OLD), changed))
    paired = sides.arms[0].difference
    assert isinstance(paired, PairedDifference)
    assert paired.estimate.mean == pytest.approx(0.5)
    assert paired.estimate.half_width == pytest.approx(4.302653 * 0.1 / 3**0.5)
    assert tabulate_sides(sides).rows[0][:5] == ("convolution", "71.0 ± 2.5", "71.5 ± 2.4", "3", "+0.50 ± 0.25")
    assert tabulate_sides(sides).rows[0][5] == "± 0.36"
    notes = list_side_notes(sides)
    assert notes[1] == "The interval that holds for 2 arms together excludes zero for: convolution."
    assert "commit: 0123456789ab and ffffffffffff; device: Example CPU and Other CPU" in notes[2]


def test_arms_stand_in_the_order_of_the_report(tmp_path: Path) -> None:
    def score(levels: Mapping[str, str], seed: int) -> float:
        return 50.0 + seed + ord(levels["model"])

    folders = [write_crossed(tmp_path / name, {"model": ("b", "c", "a")}, score) for name in ("old", "new")]
    assert [one.arm for one in take_sides(build_report(*folders)).arms] == ["model=b", "model=c", "model=a"]


def test_settings_of_an_arm_that_are_others_now_are_named(tmp_path: Path) -> None:
    def declare(limit: int) -> list[RunRecord]:
        data = DataConfig(limit_train=limit)
        own = {"data": data, "declared": {"data.limit_train": None}}
        return [run.model_copy(update={"config": run.config.model_copy(update=own)}) for run in list_runs(OLD)]

    notes = list_side_notes(take_sides(build_sides(tmp_path, declare(100), declare(200))))
    assert any(note.startswith("Also not the same") and "data.limit_train: 100 and 200" in note for note in notes)


def test_what_was_not_treated_alike_has_no_difference_and_its_values_are_named(tmp_path: Path) -> None:
    longer = [make_run("convolution", seed, 75.0 + seed, epochs=90) for seed in range(3)]
    sides = take_sides(build_sides(tmp_path, list_runs(OLD), longer))
    (arm,) = sides.arms
    assert isinstance(arm.new, Estimate)
    assert not isinstance(arm.difference, PairedDifference)
    assert arm.unlike[0] == "recipe.epochs: 10 and 90"
    assert tabulate_sides(sides).rows[0][4] == "not comparable"
    assert "Only in one of the two: dynamic (old)." in list_side_notes(sides)


def test_a_difference_without_an_interval_says_why(tmp_path: Path) -> None:
    once = [*list_runs({"convolution": OLD["convolution"]}), make_run("dynamic", 0, 71.0)]
    notes = list_side_notes(take_sides(build_sides(tmp_path, list_runs(OLD), once)))
    assert "No ±, convolution: all 3 differences are equal: no interval, their spread cannot be estimated." in notes
    assert "No ±, dynamic: n = 1: no interval, one seed says nothing about the spread." in notes
    changed = list_side_notes(take_sides(build_sides(tmp_path / "else", list_runs(OLD), list_runs(NEW))))
    assert not [note for note in changed if note.startswith("No ±")]


def test_folders_that_share_no_run_are_parts_of_one_result(tmp_path: Path) -> None:
    further = [make_run("convolution", seed, 70.0) for seed in (3, 4)]
    report = build_sides(tmp_path, list_runs(OLD), further)
    assert report.sides is None
    assert report.sources is not None
    assert report.sources.header == ("folder", "study", "its reference", "arms", "runs")
    old, new = report.sources.rows
    assert old == ((tmp_path / "old").as_posix(), "components", "convolution", "convolution, dynamic", "6")
    assert new[3:] == ("convolution", "2")
    assert "\n## Both together\n" in render_markdown(report)
    assert ">Both together</h2>" in render_page(report, {})


def test_runs_that_both_folders_have_are_counted_once_and_that_is_said(tmp_path: Path) -> None:
    report = build_sides(tmp_path, list_runs(OLD), [*list_runs(OLD)[:2], make_run("convolution", 3, 70.0)])
    assert report.comparisons[0].arms[0].outcomes.keys() == {0, 1, 2, 3}
    told = "2 records repeat one that was read before, equal in settings and outcome: each run is counted once."
    assert told in list_all_notes(report) and told in render_page(report, {})
    assert not [note for note in list_all_notes(build_report(tmp_path / "old")) if "repeat" in note]


def write_named_study(folder: Path, *arms: str, seeds: int, finished: int) -> Path:
    runs = [make_run(arm, seed, 70.0 + seed) for arm in arms for seed in range(finished)]
    head = json.loads((write_study(folder, runs, seeds=seeds) / "study.json").read_text())
    named = {**head, "name": folder.name, "reference": arms[0], "arms": dict.fromkeys(arms, "resnet20")}
    (folder / "study.json").write_text(json.dumps(named))
    return folder


def test_a_cell_that_no_study_asks_for_is_not_said_to_be_missing(tmp_path: Path) -> None:
    try_ = write_named_study(tmp_path / "try", "convolution", "dynamic", seeds=1, finished=1)
    whole = write_named_study(tmp_path / "whole", "static", "static-position", seeds=3, finished=2)
    write_study(tmp_path / "whole", [make_run("static", 2, 71.0)], seeds=None)
    report = build_report(try_, whole)
    assert [note for note in list_all_notes(report) if "Not run yet" in note] == [
        "Not run yet (1): static-position, seed 2."
    ]
    assert {row[0]: row[4] for row in tabulate_summary(report.comparisons[0]).rows} == {
        "convolution": "1", "dynamic": "1", "static": "3", "static-position": "2 of 3",
    }  # fmt: skip
    assert count_outcomes(report)["missing"] == 1


def test_a_damaged_study_beside_others_is_left_out_and_the_report_stands(tmp_path: Path) -> None:
    build_sides(tmp_path, list_runs(OLD), [make_run("convolution", seed, 70.0) for seed in (3, 4)])
    (tmp_path / "new" / "study.json").write_text("{")
    report = build_report(tmp_path / "old", tmp_path / "new")
    assert report.sources is not None
    assert [row[1] for row in report.sources.rows] == ["components", NOTHING]
    assert any("study.json is damaged" in left.reason for left in report.left_out)


def test_a_traceback_is_named_where_it_lies_and_nowhere_else(tmp_path: Path) -> None:
    failed = [make_run("convolution", 3, error="out of luck")]
    build_sides(tmp_path, [*list_runs(OLD), *failed], failed)
    (tmp_path / "new" / "cells" / "convolution" / "seed-3" / "error.txt").write_text("Traceback")
    named = [
        failure.traceback
        for folders in (("old", "new"), ("new", "old"))
        for failure in list_failures(build_report(*(tmp_path / name for name in folders)))
    ]
    assert named == [None, f"{tmp_path.as_posix()}/new/cells/convolution/seed-3/error.txt"]
