"""Runs that fall into groups are named, since a mean and a t interval over them say little."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_runs import list_runs, make_run
from test_formats import report_on

from vtbench.records import EpochRecord, TimingRecord
from vtbench.reporting.content import answer_report
from vtbench.reporting.far_runs import find_scattered, sum_up_scattered, tell_scattered
from vtbench.reporting.notes import list_notes
from vtbench.reporting.report import build_report
from vtbench.reporting.run_tables import tabulate_runs, time_runs
from vtbench.reporting.runs import identify_run

STEADY = (72.0, 74.0, 76.0, 73.0, 75.0)


def scatter(*values: float, base: Sequence[float] = STEADY) -> list[str]:
    runs = list_runs({"convolution": base, "dynamic": values})
    comparison = report_on(runs, base="convolution").comparisons[0]
    return [f"{one.name}: {[seed for seed, _ in one.far]}" for one in find_scattered(comparison)]


def test_a_run_far_from_the_median_of_its_arm_is_found_by_both_of_its_distances() -> None:
    assert scatter(70.4, 73.8, 44.4, 74.0, 77.0) == ["dynamic: [2]"]
    assert scatter(70.0, 70.1, 70.2, 70.3, 61.0) == []  # 9.1 points: many deviations, but fewer than 10 points.
    assert scatter(60.0, 64.0, 70.0, 76.0, 79.0) == []  # 10 points below the median, which all others scatter about.
    assert scatter(70.0, 44.0) == []


def test_runs_that_span_more_than_twenty_points_are_named_though_none_is_the_odd_one() -> None:
    assert scatter(58.3, 71.8, 44.0, 75.4, 43.9) == ["dynamic: []"]
    assert scatter(58.0, 62.0, 66.0, 71.0, 75.0) == []


def test_the_notes_and_the_answer_say_how_far_runs_lie_apart_and_doubt_their_intervals() -> None:
    runs = list_runs({"convolution": STEADY, "dynamic": (70.4, 73.8, 44.4, 74.0, 77.0)})
    comparison = report_on(runs, base="convolution").comparisons[0]
    said = list(tell_scattered(comparison))
    assert said[0] == "Runs of one arm lie far apart: dynamic from 44.40 (seed 2) to 77.00 (seed 4)."
    assert said[1].endswith("3 times the median absolute deviation: dynamic, seed 2 (29.4 points below).")
    assert "t interval" in said[2] and "doubtful" in said[2]
    assert set(said) <= set(list_notes([comparison]))
    assert list(sum_up_scattered(comparison)) == [
        "Runs of one arm lie far apart (dynamic: 44 to 77 %), so that means and intervals over them are doubtful."
    ]
    assert not any("far apart" in note for note in list_notes(report_on(list_runs()).comparisons))


def test_runs_that_fall_into_two_groups_are_counted_and_none_of_them_is_the_odd_one() -> None:
    values = (74.4, 44.4, 77.0, 45.7, 46.7, 73.8)
    runs = list_runs(
        {"convolution": (*STEADY, 72.0), "dynamic": values, "static": (70.4, 73.8, 44.4, 74.0, 77.0, 71.0)}
    )
    said = list(tell_scattered(report_on(runs, base="convolution").comparisons[0]))
    assert said[1] == "Runs fall into two groups: dynamic 3 runs up to 46.70 (seeds 1, 3, 4) and 3 from 73.80 % on."
    assert "static, seed 2" in said[2] and "dynamic" not in said[2]  # One run beside all others is far from them.
    for values in ((50.0, 52, 55, 66, 68, 80), (44.4, 45.7, 46.7, 73.8, 77)):  # A gap as wide as groups, five runs.
        spread = list_runs({"convolution": STEADY, "dynamic": values})
        told = tell_scattered(report_on(spread, base="convolution").comparisons[0])
        assert not any("two groups" in line for line in told)


def test_the_answer_of_a_study_until_decided_says_so_too_and_in_which_unit() -> None:
    report = build_report(Path(__file__).parents[2] / "reports" / "components_decided")
    said = answer_report(report)
    assert re.match(r"In points against convolution, static is still open: [+-]\d+\.\d ± \d+\.\d; ", said[0])
    assert "Runs of one arm lie far apart (convolution, " in said[2]


def test_each_arm_has_the_range_of_its_runs_and_the_time_of_one() -> None:
    comparison = report_on(list_runs(), base="convolution").comparisons[0]
    table = tabulate_runs(comparison, {})
    assert table is not None
    assert table.header == ("runs", "lowest (%)", "median", "highest", "apart (points)")
    assert table.rows[3] == ("dynamic", "71.20", "71.90", "72.30", "1.10")
    seconds = {identify_run(run): 60.0 * run.seed + 306 for run in comparison.records if run.arm == "dynamic"}
    timings = {
        run: (TimingRecord(epoch=1, train_seconds=taken - 6, val_seconds=6, train_images_per_second=1.0),)
        for run, taken in seconds.items()
    }
    timed = tabulate_runs(comparison, time_runs(comparison.records, timings))
    assert timed is not None
    assert timed.rows[3][5:] == ("6 min 06 s", "5 min 06 s", "7 min 06 s")
    assert timed.rows[0][5:] == ("–", "–", "–")
    brief = tabulate_runs(comparison, time_runs(comparison.records, timings), with_ends=False)
    assert brief is not None and brief.header[5:] == ("median time",)
    epochs = tuple(EpochRecord(epoch=number, learning_rate=0.1, train={}, val={}) for number in (1, 2))
    longer = tuple(run.model_copy(update={"epochs": epochs}) for run in comparison.records)
    half = tabulate_runs(replace(comparison, records=longer), time_runs(longer, timings))
    assert half is not None and half.header == table.header, "of two epochs one was timed"
    assert tabulate_runs(report_on([make_run("dynamic", 0)]).comparisons[0], {}) is None


@pytest.mark.parametrize(("base", "warned"), [((70.0, 71, 72, 73, 74), False), ((74.0, 73, 72, 71, 70), True)])
def test_a_negative_correlation_is_said_to_widen_the_interval(base: Sequence[float], warned: bool) -> None:
    runs = list_runs({"convolution": base, "dynamic": (70.0, 71.5, 72, 73.1, 74.2)})
    notes = list_notes(report_on(runs, base="convolution").comparisons)
    assert ("Where r is negative (dynamic), pairing by seed widens the interval of the difference." in notes) == warned
