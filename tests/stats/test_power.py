"""Power, smallest effects and numbers of seeds are those of the paired t test."""

from __future__ import annotations

import numpy as np
import pytest

from vtbench.records import NotMeasured
from vtbench.stats.estimates import estimate_mean
from vtbench.stats.power import compute_power, count_needed_seeds, find_smallest_effect


def test_power_is_that_of_textbook_tables() -> None:
    # Cohen's d of 0.5 takes 34 pairs for a power of 0.8 at 5 %, one of 0.8 takes 15, one of 1 takes 10.
    assert [count_needed_seeds(effect, 1.0) for effect in (0.5, 0.8, 1.0)] == [34, 15, 10]
    assert compute_power(0.5, 1.0, 34) == pytest.approx(0.8078, abs=2e-4)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_simulated_studies_find_an_effect_as_often_as_was_computed(n: int) -> None:
    trials, spread = 4000, 0.6
    effect = find_smallest_effect(spread, n)
    samples = np.random.default_rng(3).normal(effect, spread, (trials, n))
    found = sum((ends := estimate_mean(list(sample)).interval) is not None and ends[0] > 0 for sample in samples)
    assert found / trials == pytest.approx(0.8, abs=3 * (0.8 * 0.2 / trials) ** 0.5)


def test_a_smallest_effect_is_found_with_the_seeds_that_it_needs() -> None:
    effect = find_smallest_effect(2.0, 7, power=0.9, level=0.99)
    assert compute_power(effect, 2.0, 7, level=0.99) == pytest.approx(0.9)
    assert count_needed_seeds(effect * 1.0001, 2.0, power=0.9, level=0.99) == 7


def test_no_number_of_seeds_is_named_for_what_none_would_find() -> None:
    assert count_needed_seeds(0.0, 1.0) == NotMeasured(reason="no number of seeds finds an effect of zero")
    assert count_needed_seeds(0.001, 1.0) == NotMeasured(reason="more than 10,000 seeds")


def test_one_seed_and_no_spread_have_no_power() -> None:
    with pytest.raises(ValueError, match="two seeds and a spread above zero, not 1 and 1"):
        compute_power(1.0, 1.0, 1)
    with pytest.raises(ValueError, match="not 3 and 0"):
        compute_power(1.0, 0.0, 3)
