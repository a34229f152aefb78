from __future__ import annotations

import math
from typing import Any

import pytest

from vtbench.configuration import OptimizerConfig, Recipe, ScheduleConfig
from vtbench.training import load_recipe
from vtbench.training.optimization import learning_rate_at


def recipe_with(**schedule: Any) -> Recipe:
    return Recipe(name="r", optimizer=OptimizerConfig(learning_rate=0.8), schedule=ScheduleConfig(**schedule))


def test_the_default_recipe_decays_tenfold_after_30_and_60_of_90_epochs() -> None:
    recipe, steps_an_epoch = load_recipe("default"), 7
    rates = [learning_rate_at(recipe, step, 90 * steps_an_epoch) for step in range(90 * steps_an_epoch)]
    assert rates[0] == rates[30 * steps_an_epoch - 1] == 0.1
    assert rates[30 * steps_an_epoch] == rates[60 * steps_an_epoch - 1] == pytest.approx(0.01)
    assert rates[60 * steps_an_epoch] == rates[-1] == pytest.approx(0.001)


def test_the_default_recipe_keeps_its_shape_over_another_number_of_epochs() -> None:
    recipe = load_recipe("default", epochs=9)
    rates = [learning_rate_at(recipe, step, 9) for step in range(9)]
    assert rates == pytest.approx([0.1] * 3 + [0.01] * 3 + [0.001] * 3)


def test_a_polynomial_falls_by_iteration_to_nothing() -> None:
    rates = [learning_rate_at(recipe_with(name="polynomial", power=0.9), step, 10) for step in range(10)]
    assert rates == pytest.approx([0.8 * (1 - step / 10) ** 0.9 for step in range(10)])


def test_a_polynomial_begins_at_the_peak_after_the_warm_up() -> None:
    recipe = recipe_with(name="polynomial", power=2.0, warmup=0.2)
    assert learning_rate_at(recipe, 2, 10) == pytest.approx(0.8)
    assert learning_rate_at(recipe, 6, 10) == pytest.approx(0.8 * 0.25)


def test_the_advanced_recipe_rises_to_016_in_5_epochs_and_then_loses_a_factor_09875_an_epoch() -> None:
    recipe, steps_an_epoch = load_recipe("advanced", teacher="none"), 10
    rates = [learning_rate_at(recipe, step, 400 * steps_an_epoch) for step in range(400 * steps_an_epoch)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[5 * steps_an_epoch] == pytest.approx(0.16)
    assert max(rates) == rates[5 * steps_an_epoch]
    for epoch in (6, 100, 399):
        expected = 0.16 * 0.9875 ** (epoch - 5)
        assert rates[epoch * steps_an_epoch] == pytest.approx(expected, rel=1e-4)


def test_a_cosine_halves_the_rate_at_the_middle_and_ends_near_zero() -> None:
    recipe = recipe_with(name="cosine")
    assert learning_rate_at(recipe, 0, 100) == 0.8
    assert learning_rate_at(recipe, 50, 100) == pytest.approx(0.4)
    assert learning_rate_at(recipe, 99, 100) == pytest.approx(0.4 * (1 + math.cos(0.99 * math.pi)))


def test_a_warm_up_from_zero_never_wastes_its_first_step() -> None:
    recipe = recipe_with(name="cosine", warmup=0.1)
    rates = [learning_rate_at(recipe, step, 100) for step in range(12)]
    assert rates[:10] == pytest.approx([0.8 * (step + 1) / 11 for step in range(10)])
    assert rates[10] == 0.8
    assert rates[11] < 0.8


def test_a_run_of_one_step_has_a_rate() -> None:
    for name in ("step", "cosine", "exponential"):
        assert learning_rate_at(recipe_with(name=name, warmup=0.05), 0, 1) == 0.8
