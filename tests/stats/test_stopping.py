"""A study stops by the rule that was written down before it began, and by nothing that came after."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from vtbench.stats.estimates import estimate_mean
from vtbench.stats.stopping import StoppingRule, decide, describe_decision

RULE = StoppingRule(looks=(3, 4, 6), num_contrasts=2, smallest_effect=0.5)


def _shift(base: dict[int, float], *differences: float) -> dict[int, float]:
    return {seed: base[seed] + difference for seed, difference in enumerate(differences)}


BASE = {seed: 60.0 + seed % 3 for seed in range(6)}


def test_a_clear_difference_is_decided_at_the_first_look() -> None:
    decision = decide(RULE, _shift(BASE, 5.0, 5.01, 5.02), BASE)
    assert decision is not None
    assert (decision.verdict, decision.estimate.n) == ("above zero", 3)


def test_the_interval_of_a_decision_is_wider_than_a_plain_one() -> None:
    decision = decide(RULE, _shift(BASE, 5.0, 5.01, 5.02), BASE)
    assert decision is not None
    assert float(decision.estimate.half_width) > 2 * float(estimate_mean([5.0, 5.01, 5.02]).half_width)


def test_seeds_after_a_decision_and_beyond_the_last_complete_look_change_nothing() -> None:
    decided = decide(RULE, _shift(BASE, 5.0, 5.01, 5.02, -90.0, -90.0, -90.0), BASE)
    assert decided is not None
    assert (decided.verdict, decided.estimate.n) == ("above zero", 3)
    between = decide(RULE, _shift(BASE, 1.0, -1.0, 0.3, 0.2, 99.0), BASE)
    assert between is not None
    assert (between.verdict, between.estimate.n) == ("open", 4)


def test_a_difference_that_is_surely_small_is_decided_only_where_a_smallest_effect_is_named() -> None:
    arm = _shift(BASE, 0.001, -0.001, 0.0005)
    assert (found := decide(RULE, arm, BASE)) is not None and found.verdict == "negligible"
    strict = RULE.model_copy(update={"smallest_effect": None})
    assert (found := decide(strict, arm, BASE)) is not None and found.verdict == "open"


def test_a_look_that_lacks_a_seed_is_no_look() -> None:
    assert decide(RULE, {0: 1.0, 2: 1.0, 3: 1.0}, BASE) is None
    assert decide(RULE, BASE, {0: 1.0, 1: 2.0}) is None


def test_a_decision_is_said_in_words() -> None:
    found = [
        decide(RULE, _shift(BASE, *values), BASE) for values in ((5, 5.01, 5.02), (0.001, -0.001, 0.0), (3, -3, 1))
    ]
    words = [describe_decision(one) for one in found if one is not None]
    assert words[0].startswith("is above zero: +5.010 ± 0.0")
    assert words[1].startswith("makes no difference that matters: +0.0")
    assert words[2].startswith("is still open: +0 ± ")


@pytest.mark.parametrize("looks", [(), (1, 2), (3, 3), (4, 3), (3, 10**9)])
def test_looks_that_are_none_are_refused(looks: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="looks"):
        StoppingRule(looks=looks, num_contrasts=1)
