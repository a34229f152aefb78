"""The answer begins with what is shown, how large it is, which way it points and what it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic_runs import list_runs, make_run
from test_formats import report_on

from vtbench.records import CostRecord, NotMeasured, RunRecord
from vtbench.reporting.answer import answer_question, tell_limits
from vtbench.reporting.comparisons import Outcome
from vtbench.reporting.content import tell_counts
from vtbench.reporting.notes import list_notes
from vtbench.reporting.rendering import render_report


def test_differences_that_are_shown_come_first_with_size_direction_and_cost() -> None:
    base, close, better = (70.0, 71.0, 70.5), (70.2, 70.9, 70.7), (75.0, 76.1, 75.4)
    runs = list_runs({"convolution": base, "static": close, "dynamic": better})
    said = answer_question(report_on(runs, base="convolution").comparisons[0])
    assert said[0].startswith("Shown to lie above convolution: dynamic by 5.0 points (± 0.4) at 16 % fewer MACs.")
    assert said[1].startswith("No difference to convolution is shown for static. With 3 seeds, true differences under")
    assert said[2] == "The mean of static lies 0.1 points above convolution at 18 % fewer MACs."


def test_what_is_not_shown_has_no_more_digits_than_it_can_have() -> None:
    values = {
        "convolution": (70.0, 74, 78, 66, 70),
        "static": (66.0, 62, 70, 64, 67),
        "dynamic": (78.0, 60, 66, 60, 70),
    }
    said = answer_question(report_on(list_runs(values), base="convolution").comparisons[0])
    assert said[0] == (
        "No difference to convolution is shown. With 5 seeds, true differences under 13 points could have been missed."
    )
    assert said[1] == "The means of the 2 others lie 5 to 6 points below convolution at 16 to 18 % fewer MACs."


@pytest.mark.parametrize(
    ("macs", "said"),
    [
        ((40_550_000, 40_550_000), "at as many MACs"),
        ((36_495_000, 44_605_000), "at 10 % fewer to 10 % more MACs"),
        ((44_605_000, 44_605_000), "at 10 % more MACs"),
    ],
)
def test_the_cost_of_arms_is_told_with_its_direction(macs: tuple[int, int], said: str) -> None:
    costs = {"a": macs[0], "b": macs[1]}
    runs = [
        make_run(arm, seed, 70.0 + (seed * number) % 3, macs=costs.get(arm), variant=f"resnet20:width={16 + number}")
        for number, arm in enumerate(("base", *costs), 1)
        for seed in range(3)
    ]
    assert said in " ".join(answer_question(report_on(runs, base="base").comparisons[0]))


def test_costs_that_are_unknown_are_not_told() -> None:
    comparison = report_on(list_runs(), base="convolution").comparisons[0]
    unknown = replace(comparison.arms[0], costs=make_run("dynamic", error="x").outcome)
    assert isinstance(comparison.arms[0].costs, CostRecord)
    told = " ".join(answer_question(replace(comparison, arms=(unknown, *comparison.arms[1:]))))
    assert "MACs" not in told
    *others, last = comparison.arms
    told = " ".join(answer_question(replace(comparison, arms=(*others, replace(last, costs=unknown.costs)))))
    assert "dynamic-position" in [arm.name for arm in comparison.family] and "MACs" in told
    assert all("MACs" not in part for part in told.split(".") if "others lie" in part)


def test_the_answer_and_its_limits_stand_in_the_markdown_and_are_no_repetition_of_the_notes() -> None:
    report = report_on(list_runs(), base="convolution")
    comparison = report.comparisons[0]
    limits = tell_limits(comparison)
    assert "one data set, scenes with 5,000 training images" in limits
    assert "learning rate was 0.1 for all arms and tuned for none, and 3 seeds" in limits
    assert "tuned for each arm" in tell_limits(comparison, tuned=["recipe.optimizer.learning_rate"])
    text = render_report(report, "markdown")
    assert f"**Answer.** {answer_question(comparison)[0]}" in text and limits in text
    assert not set(answer_question(comparison)) & set(list_notes([comparison]))


def test_runs_that_failed_or_are_missing_are_counted_even_where_there_are_none() -> None:
    assert tell_counts(report_on(list_runs())) == "15 runs finished, 0 failed, 0 missing"
    runs = [run for run in list_runs() if (run.arm, run.seed) != ("dynamic", 2)]
    assert tell_counts(report_on([*runs, make_run("dynamic", 2, error="x")])) == "14 runs finished, 1 failed, 0 missing"


def test_means_on_both_sides_of_the_reference_are_not_said_to_lie_on_one() -> None:
    values = {
        "convolution": (70.0, 74, 78, 66, 70),
        "static": (70.0, 73, 71, 70, 73),
        "dynamic": (74.0, 70, 72, 69, 79),
    }
    said = answer_question(report_on(list_runs(values), base="convolution").comparisons[0])
    assert said[1].startswith("The means of the 2 others lie from 0.2 points below to 1.2 points above convolution")
    alone = {arm: values[arm] for arm in ("convolution", "static")}
    said = answer_question(report_on(list_runs(alone), base="convolution").comparisons[0])
    assert said[1].startswith("The mean of static lies 0.2 points below convolution")


def test_where_no_difference_has_an_interval_the_answer_says_why() -> None:
    for values, why in (
        ({"convolution": (10.0, 12), "static": (10.0, 12)}, "Differences that are equal in all seeds have no interval"),
        ({"convolution": (10.0,), "static": (12.0,)}, "From 1 seed no difference has an interval"),
    ):
        said = answer_question(report_on(list_runs(values), base="convolution").comparisons[0])
        assert said[1].startswith(why), said
    apart = [make_run("convolution", 0, 10.0), make_run("convolution", 1, 11.0), make_run("static", 2, 12.0)]
    said = answer_question(report_on([*apart, make_run("static", 3, 14.0)], base="convolution").comparisons[0])
    assert said[1].startswith("No two arms share seeds enough for an interval"), said


def _alter(run: RunRecord, *, declared: str, **values: object) -> RunRecord:
    recipe = run.config.recipe.model_copy(update=values)
    return run.model_copy(
        update={"config": run.config.model_copy(update={"recipe": recipe, "declared": {declared: 10}})}
    )


def test_the_limits_name_what_arms_have_of_their_own_and_what_was_tuned() -> None:
    runs = [
        _alter(run, declared="recipe.epochs", epochs=20 if run.arm == "dynamic" else 10)
        for run in list_runs()
        if (run.arm, run.seed) != ("dynamic", 2)
    ]
    comparison = report_on(runs, base="convolution").comparisons[0]
    own = tell_limits(comparison)
    assert "one recipe, small over 10 to 20 epochs (but epochs given to each arm), whose" in own
    assert own.partition("tuned for none, and ")[2].startswith("2 to 3 seeds an arm.")
    tuned = tell_limits(comparison, tuned=["recipe.epochs"])
    assert "(but epochs tuned for each arm), whose learning rate was 0.1 for all arms and tuned for none" in tuned


def test_seeds_that_were_planned_and_did_not_run_are_not_counted() -> None:
    comparison = report_on(list_runs(), base="convolution").comparisons[0]
    missing = Outcome("missing", NotMeasured(reason="not run yet"))
    planned = replace(
        comparison,
        seeds=tuple(range(20)),
        arms=tuple(
            replace(arm, outcomes={**dict.fromkeys(range(20), missing), **arm.outcomes}) for arm in comparison.arms
        ),
    )
    assert ", and 3 seeds. On other data" in tell_limits(planned)


def _average(run: RunRecord) -> RunRecord:
    recipe = run.config.recipe.model_copy(update={"ema_decay": 0.999})
    return run.model_copy(update={"config": run.config.model_copy(update={"recipe": recipe})})


def test_a_report_says_of_which_epoch_and_which_weights_its_numbers_are() -> None:
    plain = "top-1 is that after the last epoch, on the validation images; no epoch was chosen by it."
    assert plain in list_notes(report_on(list_runs()).comparisons)
    averaged = list_notes(report_on([_average(run) for run in list_runs()]).comparisons)
    assert plain.replace("epoch,", "epoch, of the averaged weights,", 1) in averaged
