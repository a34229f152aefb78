"""Runs are sorted into comparisons as if each were held against each, with few comparisons of two runs."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from synthetic_runs import make_run

from vtbench.records import RunRecord
from vtbench.reporting import grouping
from vtbench.reporting.grouping import group_runs
from vtbench.reporting.treatment import find_differences


def group_plainly(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """The rule itself: a run joins the first comparison with none of whose references it differs."""
    waiting, groups = list(records), []
    while waiting:
        lead = next((record for record in waiting if record.status == "finished"), waiting[0])
        members, references, networks = [], {lead.seed: lead}, {}
        occupied = {(lead.arm, lead.variant, lead.seed)}
        for record in waiting:
            against = [*references.values(), *([networks[record.variant]] if record.variant in networks else [])]
            unlike = any(find_differences(other, record) for other in against)
            cell = (record.arm, record.variant, record.seed)
            if record is lead or not (unlike or cell in occupied):
                members.append(record)
                occupied.add(cell)
                if record.certificate is not None:
                    references.setdefault(record.seed, record)
                    if record.certificate.network is not None:
                        networks.setdefault(record.variant, record)
        groups.append(members)
        waiting = [record for record in waiting if not any(record is member for member in members)]
    return groups


def draw_run(draw: random.Random) -> RunRecord:
    seed, arm = draw.randrange(4), draw.choice(["a", "b", "c"])
    given = {
        "recipe": draw.choice(["r", "r", "r", "s"]),
        "train_data": draw.choice([f"drawn {seed}", f"drawn {seed}", "t"]),
        "network": draw.choice([f"net of {arm}"] * 5 + ["other", None]),
        "starting_weights": draw.choice([None, None, None, "w"]),
    }
    run = make_run(arm, seed, variant=f"resnet20:width={ord(arm)}", error=draw.choice([None] * 7 + ["broke"]), **given)
    config = run.config
    if draw.random() < 0.5:
        config = config.model_copy(update={"data": config.data.model_copy(update={"limit_train": 100})})
    if draw.random() < 0.3:
        config = config.model_copy(update={"declared": {"recipe.epochs": 10}})
    certificate = None if draw.random() < 0.05 else run.certificate
    return run.model_copy(update={"config": config, "certificate": certificate})


@pytest.mark.parametrize("seed", range(30))
def test_the_comparisons_are_those_of_holding_each_against_each(seed: int) -> None:
    draw = random.Random(seed)
    records = [draw_run(draw) for _ in range(25)]
    found = [members for _, members in group_runs(records)]
    assert [list(map(id, one)) for one in found] == [list(map(id, one)) for one in group_plainly(records)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[RunRecord, RunRecord]]:
    made: list[tuple[RunRecord, RunRecord]] = []

    def note(first: RunRecord, second: RunRecord) -> tuple[str, ...]:
        made.append((first, second))
        return find_differences(first, second)

    monkeypatch.setattr(grouping, "find_differences", note)
    return made


@pytest.mark.parametrize("num_seeds", [10, 40])
def test_a_study_of_many_seeds_takes_about_one_comparison_of_two_runs_for_each_run(
    calls: list[object], num_seeds: int
) -> None:
    records = [make_run(f"arm{arm}", seed, variant="resnet20") for seed in range(num_seeds) for arm in range(10)]
    assert len(list(group_runs(records))) == 1
    assert len(calls) <= 1.2 * len(records)


@pytest.mark.parametrize("num_recipes", [20, 200])
def test_many_comparisons_that_are_kept_apart_take_as_few(calls: list[object], num_recipes: int) -> None:
    records = [
        make_run(arm, seed, recipe=f"recipe {number}")
        for number in range(num_recipes)
        for arm in ("convolution", "static")
        for seed in range(2)
    ]
    assert len(list(group_runs(records))) == num_recipes
    assert len(calls) <= 4 * len(records)
