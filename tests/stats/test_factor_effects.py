"""Main effects are differences of marginal means where a design is crossed, and refused where it cannot tell them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vtbench.records import NotMeasured
from vtbench.stats.estimates import Estimate, estimate_mean
from vtbench.stats.factor_effects import estimate_effects
from vtbench.stats.simultaneous import correct_intervals

LEVELS = {f"{a}{b}": {"A": a, "B": b} for a, b in itertools.product("xy", "pqr")}
SUM = {"x": 0.0, "y": 5.0, "p": 0.0, "q": 1.0, "r": -2.0}
VALUES = {arm: {seed: 50 + SUM[arm[0]] + SUM[arm[1]] + seed for seed in range(3)} for arm in LEVELS}


def assert_equal(found: Estimate | NotMeasured | None, wanted: Estimate) -> None:
    assert isinstance(found, Estimate)
    assert (found.n, found.level) == (wanted.n, wanted.level)
    assert (found.mean, found.half_width) == (pytest.approx(wanted.mean), pytest.approx(wanted.half_width))


def effects_of(levels: dict[str, dict[str, str]], values: dict[str, dict[int, float]]) -> dict[str, float | None]:
    found = estimate_effects(levels, values, "xp")
    return {one.level: one.effect.mean if isinstance(one.effect, Estimate) else None for one in found.effects}


def test_effects_of_a_crossed_design_are_differences_of_marginal_means() -> None:
    crossed = {**VALUES, "yq": {seed: value + 3 for seed, value in VALUES["yq"].items()}}
    found = estimate_effects(LEVELS, crossed, "xp")
    assert effects_of(LEVELS, crossed) == pytest.approx({"y": 5 + 3 / 3, "q": 1 + 3 / 2, "r": -2.0})
    assert found.is_complete
    singles = [one.effect for one in found.effects if isinstance(one.effect, Estimate)]
    for one, joint in zip(found.effects, correct_intervals(singles), strict=True):
        assert_equal(one.together, joint)


def test_an_effect_where_another_factor_has_a_level_and_its_change_are_differences_of_means() -> None:
    rng = np.random.default_rng(0)
    values = {arm: {seed: float(rng.normal()) for seed in range(4)} for arm in LEVELS}

    def differ(at: str) -> list[float]:
        return [values[f"y{at}"][seed] - values[f"x{at}"][seed] for seed in range(4)]

    found = {one.at: one for one in estimate_effects(LEVELS, values, "xp").interactions}
    assert {(one.factor, one.level, one.by, one.by_first) for one in found.values()} == {("A", "y", "B", "p")}
    assert found["p"].change is None and found["p"].together is None
    for at in "pqr":
        assert_equal(found[at].there, estimate_mean(differ(at)))
    changes = [estimate_mean([one - first for one, first in zip(differ(at), differ("p"), strict=True)]) for at in "qr"]
    for at, change, joint in zip("qr", changes, correct_intervals(changes), strict=True):
        assert_equal(found[at].change, change)
        assert_equal(found[at].together, joint)


def test_of_three_factors_an_effect_at_a_level_is_the_mean_over_the_third() -> None:
    levels = {f"{a}{b}{c}": {"A": a, "B": b, "C": c} for a, b, c in itertools.product("xy", "pq", "uvw")}
    rng = np.random.default_rng(1)
    values = {arm: {seed: float(rng.normal()) for seed in range(3)} for arm in levels}
    found = {(one.factor, one.by, one.at): one for one in estimate_effects(levels, values, "xpu").interactions}
    assert [key for key in found if key[:2] == ("A", "C")] == [("A", "C", at) for at in "uvw"]
    by_hand = [np.mean([values[f"y{b}v"][seed] - values[f"x{b}v"][seed] for b in "pq"]) for seed in range(3)]
    assert_equal(found["A", "C", "v"].there, estimate_mean(by_hand))
    holed = {arm: of for arm, of in values.items() if arm != "yqv"}
    assert all(isinstance(one.there, Estimate) for one in estimate_effects(levels, holed, "xpu").interactions)


def test_an_interaction_that_the_runs_do_not_tell_is_said_to_be_none() -> None:
    holed = {arm: of for arm, of in VALUES.items() if arm != "yr"}
    found = {one.at: one for one in estimate_effects(LEVELS, holed, "xp").interactions}
    assert isinstance(found["q"].there, Estimate) and isinstance(found["q"].change, Estimate)
    assert isinstance(found["r"].there, NotMeasured) and isinstance(found["r"].change, NotMeasured)
    assert "not identifiable" in found["r"].there.reason and found["r"].together is None


def test_one_factor_alone_changes_with_nothing() -> None:
    alone = {arm: {"A": arm[0]} for arm in ("xp", "yp")}
    assert estimate_effects(alone, VALUES, "xp").interactions == ()


def test_a_hole_is_filled_by_the_additive_model_and_said() -> None:
    holed = {arm: values for arm, values in VALUES.items() if arm != "yr"}
    assert effects_of(LEVELS, holed) == pytest.approx({"y": 5.0, "q": 1.0, "r": -2.0})
    assert not estimate_effects(LEVELS, holed, "xp").is_complete


def test_factors_that_only_vary_together_are_not_identifiable() -> None:
    together = {arm: LEVELS[arm] for arm in ("xp", "yq")}
    found = estimate_effects(together, VALUES, "xp")
    assert all(isinstance(one.effect, NotMeasured) for one in found.effects)
    assert "not identifiable" in found.effects[0].effect.reason  # type: ignore[union-attr]
    some = estimate_effects({arm: LEVELS[arm] for arm in ("xp", "xr", "yq")}, VALUES, "xp")
    assert {one.level: isinstance(one.effect, Estimate) for one in some.effects} == {"y": False, "r": True, "q": False}


def test_the_levels_of_the_reference_are_what_differences_are_taken_to() -> None:
    found = estimate_effects(LEVELS, VALUES, "yq")
    assert {(one.level, one.reference) for one in found.effects} == {("x", "y"), ("p", "q"), ("r", "q")}
