"""Main effects are differences of marginal means where a design is crossed, and refused where it cannot tell them."""

from __future__ import annotations

import itertools

import pytest

from vtbench.records import NotMeasured
from vtbench.stats.estimates import Estimate
from vtbench.stats.factor_effects import estimate_effects

LEVELS = {f"{a}{b}": {"A": a, "B": b} for a, b in itertools.product("xy", "pqr")}
SUM = {"x": 0.0, "y": 5.0, "p": 0.0, "q": 1.0, "r": -2.0}
VALUES = {arm: {seed: 50 + SUM[arm[0]] + SUM[arm[1]] + seed for seed in range(3)} for arm in LEVELS}


def effects_of(levels: dict[str, dict[str, str]], values: dict[str, dict[int, float]]) -> dict[str, float | None]:
    found = estimate_effects(levels, values, "xp")
    return {one.level: one.effect.mean if isinstance(one.effect, Estimate) else None for one in found.effects}


def test_effects_of_a_crossed_design_are_differences_of_marginal_means() -> None:
    crossed = {**VALUES, "yq": {seed: value + 3 for seed, value in VALUES["yq"].items()}}
    found = estimate_effects(LEVELS, crossed, "xp")
    assert effects_of(LEVELS, crossed) == pytest.approx({"y": 5 + 3 / 3, "q": 1 + 3 / 2, "r": -2.0})
    assert found.is_complete
    assert found.at in ("xq", "yq") and found.interaction == pytest.approx(1.0 if found.at == "yq" else -1.0)


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
