"""Arms are contrasted with each other by the one option in which they differ, not with the reference alone."""

from __future__ import annotations

import json

import pytest
from synthetic_runs import ACCURACY, list_runs, make_run
from test_formats import report_on

from vtbench.metrics import TOP1
from vtbench.reporting.contrasts import TOKENS, find_contrasts, list_option_pairs, tabulate_contrasts, tell_contrasts
from vtbench.reporting.rendering import render_report
from vtbench.stats.estimates import estimate_mean
from vtbench.stats.simultaneous import correct_intervals

DYNAMIC, POSITION = "tokenizer: dynamic for static", "position: on for off"


def test_a_study_of_tokens_has_the_contrasts_of_the_evidence_with_intervals_that_hold_together() -> None:
    convolution, static, located, dynamic, both = (ACCURACY[arm] for arm in ACCURACY)
    comparison = report_on(list_runs(), base="convolution").comparisons[0]
    found = find_contrasts(comparison)
    assert [one.claim for one in found] == [TOKENS, DYNAMIC, POSITION]
    expected = [
        [static[i] - convolution[i] for i in range(3)],
        [(dynamic[i] - static[i] + both[i] - located[i]) / 2 for i in range(3)],
        [(located[i] - static[i] + both[i] - dynamic[i]) / 2 for i in range(3)],
    ]
    for one, effect in zip(found, correct_intervals([estimate_mean(values) for values in expected]), strict=True):
        assert one.effect.interval == pytest.approx(effect.interval)
    table = tabulate_contrasts(comparison)
    assert table is not None
    assert table.rows[1][:3] == (DYNAMIC, "dynamic, dynamic-position", "static, static-position")
    assert table.rows[1][4:] == ("3", "above 0")
    assert list(tell_contrasts(found, TOP1)) == [
        "Told from 0 among the arms: tokenizer dynamic for static, 1.91 points higher (± 0.28).",
        "Not told from 0 among the arms: position on for off, 0.2 points higher (± 0.6).",
    ]


def test_contrasts_stand_in_every_format() -> None:
    report = report_on(list_runs(), base="convolution")
    markdown = render_report(report, "markdown")
    assert f"| {DYNAMIC} " in markdown and "- A contrast is the mean over seeds" in markdown
    plain = json.loads(render_report(report, "json"))["comparisons"][0]["contrasts"]
    assert plain[2] == {
        "contrast": POSITION,
        "arms": ["static-position", "dynamic-position"],
        "less": ["static", "dynamic"],
        "effect": 0.241667,
        "half_width": pytest.approx(0.602763, abs=1e-5),
        "n": 3,
    }


def test_arms_of_which_each_differs_from_the_reference_alone_have_no_contrasts() -> None:
    runs = [make_run(f"w{width}", 0, 60.0 + width, variant=f"resnet20:width={width}") for width in (4, 8, 12)]
    comparison = report_on(runs, base="w4").comparisons[0]
    assert list(list_option_pairs(comparison)) == ["width: 8 for 4", "width: 12 for 4"]
    assert find_contrasts(comparison) == ()
    other = make_run("x", 0, 60.0, variant="se_resnet20")
    beside = report_on([other, *runs], base="x").comparisons[0]
    assert [one.claim for one in find_contrasts(beside)] == ["width: 8 for 4", "width: 12 for 4"]


def test_arms_that_differ_in_two_options_are_no_pair() -> None:
    variants = {"a": "vt_resnet20", "b": "vt_resnet20:tokenizer=static,position=on"}
    runs = [make_run(arm, seed, 60.0 + seed, variant=variant) for arm, variant in variants.items() for seed in (0, 1)]
    assert list_option_pairs(report_on(runs, base="a").comparisons[0]) == {}
