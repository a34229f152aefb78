"""Effects of factors and how they change along other factors, as every format tells them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_runs import write_crossed

from vtbench.reporting.answer import answer_question
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.factor_tables import (
    find_effects,
    list_effect_notes,
    list_effect_numbers,
    list_interaction_numbers,
    tabulate_effects,
    tabulate_interactions,
)
from vtbench.reporting.rendering import render_json, render_markdown
from vtbench.reporting.report import build_report

MODELS = {"model": ("plain", "tokens"), "spec": ("few", "some", "many")}
AT_SOME, AT_MANY = (1.0, 0.6, 0.4, 0.2), (-4.0, -4.1, -3.9, -4.0)
"""How the effect of tokens changes by seed: the first excludes zero alone and not with the second, which does both."""


def score(levels: Mapping[str, str], seed: int) -> float:
    change = {"few": 0.0, "some": AT_SOME[seed], "many": AT_MANY[seed]}[levels["spec"]]
    return 50.0 + seed + (10.0 + change if levels["model"] == "tokens" else 0.0)


def compare(folder: Path, *, without: Callable[[Mapping[str, str], int], bool] = lambda *_: False) -> Comparison:
    write_crossed(folder, MODELS, lambda levels, seed: None if without(levels, seed) else score(levels, seed))
    return build_report(folder).comparisons[0]


def test_a_change_is_shown_where_the_interval_that_holds_for_all_excludes_zero(tmp_path: Path) -> None:
    comparison = compare(tmp_path / "study")
    found = {one["where"]: one for one in list_interaction_numbers(comparison)}
    assert found["spec=some"]["change"]["effect"] == pytest.approx(0.55)
    assert found["spec=some"]["change"]["half_width"] < 0.55 < found["spec=some"]["change"]["half_width_together"]
    assert found["spec=many"]["change"]["effect"] == pytest.approx(-4.0)
    assert found["spec=few"]["change"] is None and found["spec=few"]["there"]["effect"] == pytest.approx(10.0)
    notes = list(list_effect_notes(comparison))
    [shown] = [note for note in notes if note.startswith("Shown to change")]
    assert shown.endswith(": model=tokens against plain where spec=many (-4.00 ± 0.17).") and "spec=some" not in shown
    assert not any(note.startswith("No effect is shown to change") for note in notes)
    table = tabulate_interactions(comparison)
    assert table is not None and table.header[-1] == "± all 2" and table.rows[1][-1] == "± 0.71"


def test_main_effects_are_judged_together_and_the_answer_is_of_them(tmp_path: Path) -> None:
    def shift(levels: Mapping[str, str], seed: int) -> float:
        return score(levels, seed) + {"few": 0.0, "some": -5.0, "many": (0.05, 0.03, 0.04, 2.0)[seed]}[levels["spec"]]

    write_crossed(tmp_path / "study", MODELS, shift)
    comparison = build_report(tmp_path / "study").comparisons[0]
    numbers = {one["level"]: one for one in list_effect_numbers(comparison)}
    assert all(one["half_width_together"] > one["half_width"] for one in numbers.values())
    table = tabulate_effects(comparison)
    assert table is not None and table.header[-1] == "± all 3"
    assert [row[-1] for row in table.rows] == [f"± {numbers[row[1]]['half_width_together']:.2g}" for row in table.rows]
    assert any(note.startswith("± all 3: with these half widths") for note in list_effect_notes(comparison))
    said = answer_question(comparison)
    lead = "Shown to raise top-1, over all levels of the other factors: "
    assert said[0] == f"{lead}model tokens for plain, 8.85 points higher (± 0.27) at as many MACs."
    assert said[1].startswith("Shown to lower top-1: spec some for few, 4.7 points lower (± 0.")
    assert said[2].startswith("Not shown to change top-1: spec many for few, 1.5 points lower (± 2")
    assert "spec=many" in said[3] and said[3].startswith("Shown to change with another factor")


def rate(levels: Mapping[str, str], seed: int) -> float:
    """As `score`, and the images of a level are easier by some points, more or less by seed."""
    return score(levels, seed) + len(levels["spec"]) * (1.0 + 0.1 * seed)


def answer(folder: Path, rate: Callable[[Mapping[str, str], int], float | None], seeds: int = 4) -> list[str]:
    write_crossed(folder, MODELS, rate, seeds=seeds)
    return answer_question(build_report(folder).comparisons[0])


def rate_without(**failed: str) -> Callable[[Mapping[str, str], int], float | None]:
    return lambda levels, seed: None if failed.items() <= dict(levels).items() else rate(levels, seed)


def test_the_answer_of_crossed_factors_says_what_is_not_judged_and_of_which_runs_it_is(tmp_path: Path) -> None:
    model = "by a model in which effects add, since not all combinations have run: "
    said = " ".join(answer(tmp_path / "tokens failed", rate_without(model="tokens")))
    assert model in said and "over all levels" not in said
    assert "Not judged: model tokens for plain: not identifiable: the runs there are do not tell it from" in said
    said = " ".join(answer(tmp_path / "reference failed", rate_without(model="plain", spec="few")))
    assert model in said and "model tokens for plain" in said

    def flat(levels: Mapping[str, str], seed: int) -> float:
        return 50.0 + seed + (5.0 + 0.1 * seed if levels["model"] == "tokens" else 0.0)

    assert "Not judged: spec some for few; spec many for few: " in " ".join(answer(tmp_path / "equal", flat))


def test_the_answer_of_crossed_factors_says_what_could_have_been_missed(tmp_path: Path) -> None:
    def loud(levels: Mapping[str, str], seed: int) -> float:
        return rate(levels, seed) + (9.0, -14.0, 12.0, -7.0)[(seed + len(levels["spec"])) % 4]

    missed = [one for one in answer(tmp_path / "four", loud) if one.startswith("Not shown to change")]
    assert re.search(r" With 4 seeds, true effects under \d+ points could have been missed\.$", missed[0])
    few = " ".join(answer(tmp_path / "two", loud, seeds=2))
    assert "Fewer than 3 seeds do not say what could have been missed." in few


def test_of_many_levels_the_answer_names_the_largest_effects(tmp_path: Path) -> None:
    def climb(levels: Mapping[str, str], seed: int) -> float:
        place = "abcdefg".index(levels["spec"])
        return 50.0 + seed + 5 * place + 0.01 * seed * place**2 + (0.3 * seed if levels["model"] == "tokens" else 0.0)

    write_crossed(tmp_path, {"model": ("plain", "tokens"), "spec": tuple("abcdefg")}, climb)
    said = answer_question(build_report(tmp_path).comparisons[0])
    assert re.search(r"spec g for a, .*; spec f .*; spec e .*; spec d .*; and 2 more levels\.", said[0])


def test_the_answer_says_what_a_level_costs_where_its_networks_are_others(tmp_path: Path) -> None:
    write_crossed(tmp_path / "study", MODELS, score)
    comparison = build_report(tmp_path / "study").comparisons[0]
    dearer = [
        replace(arm, costs=arm.costs.model_copy(update={"macs": 2 * arm.costs.macs}))  # type: ignore[union-attr]
        if arm.levels["model"] == "tokens"
        else arm
        for arm in comparison.arms
    ]
    said = answer_question(replace(comparison, arms=tuple(dearer)))
    assert said[0].endswith("model tokens for plain, 8.85 points higher (± 0.27) at 100 % more MACs.")
    one_network = [replace(arm, variant="resnet20") for arm in dearer]
    assert "MACs" not in "".join(answer_question(replace(comparison, arms=tuple(one_network))))


def test_json_has_effects_and_their_changes(tmp_path: Path) -> None:
    compare(tmp_path / "study")
    plain = json.loads(render_json(build_report(tmp_path / "study")))["comparisons"][0]
    assert [one["where"] for one in plain["interactions"]] == ["spec=few", "spec=some", "spec=many"]
    assert len(plain["effects"]) == 3


def test_one_change_alone_needs_no_interval_that_holds_for_all(tmp_path: Path) -> None:
    write_crossed(tmp_path / "study", {"model": ("plain", "tokens"), "spec": ("few", "many")}, score)
    table = tabulate_interactions(build_report(tmp_path / "study").comparisons[0])
    assert table is not None and table.header[-1] == "change (points)"


def test_a_change_of_fewer_seeds_than_the_effect_there_says_of_how_many(tmp_path: Path) -> None:
    def fails(levels: Mapping[str, str], seed: int) -> bool:
        return levels == {"model": "tokens", "spec": "few"} and seed == 3

    table = tabulate_interactions(compare(tmp_path / "study", without=fails))
    assert table is not None
    assert [row[3] for row in table.rows] == ["3", "4", "4"]
    assert [row[4].endswith("(n = 3)") for row in table.rows] == [False, True, True]


def test_what_the_runs_do_not_tell_is_named_and_counted(tmp_path: Path) -> None:
    comparison = compare(tmp_path / "study", without=lambda levels, _: levels == {"model": "tokens", "spec": "many"})
    notes = " ".join(list_effect_notes(comparison))
    assert "do not tell it from other effects: 'model=tokens against plain where spec=many'" in notes
    assert "each interval of a change includes zero; 1 change has none" not in notes
    assert "Shown to change with another factor, in points, as the interval excludes zero: model=tokens" in notes
    found = {one["where"]: one for one in list_interaction_numbers(comparison)}
    assert (
        found["spec=many"]["change"]["effect"] is None and "not identifiable" in found["spec=many"]["there"]["reason"]
    )


def test_no_change_shown_counts_the_changes_that_have_no_interval(tmp_path: Path) -> None:
    gaps = {"few": (0.0, 3.0, 6.0, 0.0), "some": (1.0, 2.0, 7.0, 1.0), "many": (4.0, None, None, None)}

    def flat(levels: Mapping[str, str], seed: int) -> float | None:
        gap = gaps[levels["spec"]][seed] if levels["model"] == "tokens" else 0.0
        return None if gap is None else 50.0 + seed + gap

    write_crossed(tmp_path / "study", MODELS, flat)
    notes = list(list_effect_notes(build_report(tmp_path / "study").comparisons[0]))
    [said] = [note for note in notes if note.startswith("No effect is shown to change")]
    assert said.endswith("each interval of a change includes zero; 1 change has none.")


def test_with_a_hole_and_a_third_factor_effects_are_said_to_be_those_of_a_model(tmp_path: Path) -> None:
    factors = dict.fromkeys(("A", "B", "C"), ("0", "1"))

    def all_three(levels: Mapping[str, str], seed: int) -> float | None:
        return 60.0 + seed + (8.0 if set(levels.values()) == {"1"} else 0.0)

    def with_a_hole(levels: Mapping[str, str], seed: int) -> float | None:
        return None if levels == {"A": "1", "B": "0", "C": "1"} else all_three(levels, seed)

    told = {}
    for name, of_study in (("whole", all_three), ("holed", with_a_hole)):
        write_crossed(tmp_path / name, factors, of_study)
        told[name] = " ".join(list_effect_notes(build_report(tmp_path / name).comparisons[0]))
    assert "as the mean over all further factors; its change" in told["whole"]
    assert "mean over all further factors; its change" not in told["holed"]
    assert "which a change that takes three factors together would distort" in told["holed"]


def test_effects_of_several_studies_are_of_the_arms_that_the_factors_of_the_reference_made(tmp_path: Path) -> None:
    deeper = {**MODELS, "depth": ("20", "32")}
    first = write_crossed(tmp_path / "first", MODELS, score)
    for name, factors in (("deeper", deeper), ("other", {"width": ("4", "8")})):
        write_crossed(tmp_path / name, factors, lambda levels, seed: 90.0 + seed + len(levels))
        report = build_report(first, tmp_path / name)
        [alone] = build_report(first).comparisons
        together = report.comparisons[0]
        assert list_effect_numbers(together) == list_effect_numbers(alone)
        assert list_interaction_numbers(together) == list_interaction_numbers(alone)
        [said] = [note for note in list_effect_notes(together) if note.startswith("Made by other factors")]
        assert next(iter(factors)) in said
        assert "Not every combination" not in render_markdown(report)


def test_a_study_that_its_outcome_stopped_has_no_plain_effects_of_factors(tmp_path: Path) -> None:
    write_crossed(tmp_path / "study", MODELS, score)
    [comparison] = build_report(tmp_path / "study").comparisons
    assert find_effects(comparison) is not None
    assert find_effects(replace(comparison, stopped=True)) is None


def test_an_effect_without_an_interval_says_why(tmp_path: Path) -> None:
    write_crossed(tmp_path / "study", MODELS, score, seeds=1)
    [comparison] = build_report(tmp_path / "study").comparisons
    assert all(one["half_width"] is None and one["reason"] for one in list_effect_numbers(comparison))
    assert any(note.startswith("Effects without ± (") for note in list_effect_notes(comparison))
