"""Arms are contrasted with each other by the one option in which they differ, not with the reference alone."""

from __future__ import annotations

import json

import pytest
from synthetic_runs import ACCURACY, list_runs, make_run
from test_formats import report_on

from vtbench.configuration import InitConfig
from vtbench.metrics import TOP1
from vtbench.records import RunRecord
from vtbench.reporting.contrasts import (
    TOKENS,
    find_contrasts,
    list_contrast_notes,
    list_option_pairs,
    list_pairs,
    sort_arms,
    tabulate_contrasts,
    tell_contrasts,
)
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
        "Clear among the arms, as the interval excludes 0: tokenizer dynamic for static, 1.91 points higher (± 0.28).",
        "Not clear among the arms, as the interval includes 0: position on for off, 0.2 points higher (± 0.6).",
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


def test_a_contrast_without_an_interval_says_why() -> None:
    level = [make_run(arm, seed, 70.0) for arm in ACCURACY for seed in (0, 1)]
    notes = list(list_contrast_notes(report_on(level, base="convolution").comparisons[0]))
    said = next(note for note in notes if note.startswith("Contrasts without ± ("))
    assert "both differences are equal: no interval" in said and "dynamic for static" in said
    mixed = [run for run in list_runs() if run.arm != "dynamic-position" or run.seed == 0]
    told = list_contrast_notes(report_on(mixed, base="convolution").comparisons[0])
    [bare] = [note for note in told if note.startswith("Contrasts without ± (")]
    assert "dynamic for static" in bare and "tokens for convolutions" not in bare
    spread = list_contrast_notes(report_on(list_runs(), base="convolution").comparisons[0])
    assert not any("without ±" in note for note in spread)


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


def _start(run: RunRecord, source: str, sha256: str) -> RunRecord:
    init = InitConfig(source=source, sha256=sha256, of_arm=True)
    return run.model_copy(update={"config": run.config.model_copy(update={"init": init})})


def test_arms_that_start_from_weights_of_their_own_are_no_pair_with_others() -> None:
    started = [_start(run, "FILE", "a" * 64) if run.arm == "dynamic" else run for run in list_runs()]
    comparison = report_on(started, base="convolution").comparisons[0]
    pairs = list_option_pairs(comparison)
    assert [new.name for new, _ in pairs[DYNAMIC]] == ["dynamic-position"]
    assert [new.name for new, _ in pairs[POSITION]] == ["static-position"]
    assert [sorted(arm.name for arm in alike.places.values()) for alike in sort_arms(comparison)] == [
        ["dynamic-position", "static", "static-position"],
        ["dynamic"],
    ]


def test_weights_of_one_name_are_told_apart_by_their_hash() -> None:
    both = [make_run(arm, seed, 60.0 + seed, variant="resnet20") for arm in ("a", "b", "c") for seed in (0, 1)]
    hashes = {"a": "a" * 64, "b": "b" * 64, "c": "a" * 64}
    runs = [_start(run, "FILE", hashes[run.arm or ""]) for run in both]
    pairs = list_option_pairs(report_on(runs, base="a").comparisons[0])
    assert list(pairs) == ["start: FILE (bbbbbbbb) for FILE (aaaaaaaa)"]


def _declare(run: RunRecord, **values: float) -> RunRecord:
    recipe = run.config.recipe
    optimizer = recipe.optimizer.model_copy(update=values)
    update = {
        "recipe": recipe.model_copy(update={"optimizer": optimizer}),
        "declared": {f"recipe.optimizer.{key}": getattr(recipe.optimizer, key) for key in values},
    }
    return run.model_copy(update={"config": run.config.model_copy(update=update)})


def test_settings_that_tuning_did_not_find_keep_arms_apart() -> None:
    tuned = {"convolution": 0.1, "static": 0.2, "dynamic": 0.3}
    decay = {"convolution": 1e-3, "static": 1e-3, "dynamic": 2e-3}
    runs = [
        _declare(run, learning_rate=tuned[run.arm or ""], weight_decay=decay[run.arm or ""])
        for run in list_runs({arm: ACCURACY[arm] for arm in tuned})
    ]
    comparison = report_on(runs, base="convolution").comparisons[0]
    keys = ["recipe.optimizer.learning_rate", "recipe.optimizer.weight_decay"]
    assert list(list_option_pairs(comparison, tuned=keys)) == [DYNAMIC]
    assert list_option_pairs(comparison, tuned=keys[:1]) == {}
    alike = sort_arms(comparison, tuned=keys[:1])
    assert [(new.name, old.name) for new, old in list_pairs(TOKENS, alike)] == [("static", "convolution")]
    assert [{place[0] for place in one.places} for one in alike] == [{"static"}, {"dynamic"}]


def test_effects_from_two_seeds_are_named_without_a_size_that_says_nothing() -> None:
    runs = list_runs({arm: values[:2] for arm, values in ACCURACY.items()})
    said = list(tell_contrasts(find_contrasts(report_on(runs, base="convolution").comparisons[0]), TOP1))
    assert said[-1].startswith("Fewer than 3 seeds leave open what there is among the arms: ")
    assert said[-1].endswith("position on for off.") and "±" not in said[-1]
