"""The front holds exactly the points that nothing beats."""

from __future__ import annotations

import numpy as np
import pytest

from vtbench.stats.pareto import find_pareto_front


def test_the_front_runs_by_rising_cost_and_leaves_out_what_is_dominated() -> None:
    costs, values = [3.0, 1.0, 2.0, 4.0], [80.0, 70.0, 69.0, 79.0]
    assert find_pareto_front(costs, values) == [1, 0]


def test_of_two_points_of_equal_cost_the_better_one_is_on_the_front() -> None:
    assert find_pareto_front([1.0, 1.0], [70.0, 71.0]) == [1]


def test_of_two_points_of_equal_value_the_cheaper_one_is_on_the_front() -> None:
    assert find_pareto_front([2.0, 1.0], [70.0, 70.0]) == [1]


def test_equal_points_stand_on_the_front_together() -> None:
    assert find_pareto_front([1.0, 1.0, 2.0], [70.0, 70.0, 60.0]) == [0, 1]


def test_the_front_is_that_of_the_definition_on_random_points() -> None:
    generator = np.random.default_rng(0)
    costs, values = generator.integers(0, 12, 40).tolist(), generator.integers(0, 12, 40).tolist()

    def dominated(one: int) -> bool:
        return any(
            costs[other] <= costs[one]
            and values[other] >= values[one]
            and (costs[other], values[other]) != (costs[one], values[one])
            for other in range(40)
        )

    assert set(find_pareto_front(costs, values)) == {index for index in range(40) if not dominated(index)}


def test_no_points_have_no_front() -> None:
    assert find_pareto_front([], []) == []


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="1 costs do not match 2 values"):
        find_pareto_front([1.0], [1.0, 2.0])
