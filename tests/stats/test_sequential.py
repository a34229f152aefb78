"""Studies that stop early err as rarely as was promised, and take fewer seeds than a fixed number would."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import stdtrit

from vtbench.stats.estimates import estimate_mean
from vtbench.stats.sequential import design_looks, judge, plan_looks, simulate_statistics

LOOKS = plan_looks(20)


def _find_quantiles(looks: tuple[int, ...], levels: tuple[float, ...]) -> np.ndarray:
    return np.array([stdtrit(n - 1, 0.5 + level / 2) for n, level in zip(looks, levels, strict=True)])


def test_looks_rise_to_the_most_seeds() -> None:
    assert LOOKS == (3, 4, 6, 8, 11, 15, 20)
    assert plan_looks(3) == (3,)
    assert plan_looks(2) == (2,)
    assert plan_looks(5) == (3, 4, 5)


@pytest.mark.parametrize("num_contrasts", [1, 4])
@pytest.mark.parametrize("looks", [LOOKS, (2, 3), (5,), (3, 10)])
def test_all_looks_together_err_at_most_once_in_twenty_families(looks: tuple[int, ...], num_contrasts: int) -> None:
    design = design_looks(looks, num_contrasts)
    trials = 40_000
    generator = np.random.default_rng(77)
    wrong = np.zeros(trials, dtype=bool)
    for _ in range(num_contrasts):
        statistics = np.abs(simulate_statistics(looks, trials, generator))
        wrong |= (statistics > _find_quantiles(looks, design.levels)[:, None]).any(axis=0)
    assert wrong.mean() == pytest.approx(0.05, abs=3.3 * (0.05 * 0.95 / trials) ** 0.5)


def test_plain_intervals_at_every_look_would_err_three_times_as_often() -> None:
    statistics = np.abs(simulate_statistics(LOOKS, 20_000, np.random.default_rng(5)))
    assert (statistics > _find_quantiles(LOOKS, (0.95,) * len(LOOKS))[:, None]).any(axis=0).mean() > 0.15


def test_a_single_look_is_the_plain_interval() -> None:
    # The simulated quantile is on the safe side by two standard errors of its own.
    assert 0.95 <= design_looks((5,)).levels[0] < 0.952


def test_simulated_statistics_are_those_of_samples() -> None:
    samples = np.random.default_rng(1).normal(0.7, 1.0, (20_000, 8))
    direct = [part.mean(axis=1) / part.std(axis=1, ddof=1) * np.sqrt(n) for n in (3, 8) for part in [samples[:, :n]]]
    simulated = simulate_statistics((3, 8), 20_000, np.random.default_rng(2), effect=0.7)
    for one, other in zip(direct, simulated, strict=True):
        assert np.quantile(one, [0.1, 0.5, 0.9]) == pytest.approx(
            np.quantile(other, [0.1, 0.5, 0.9]), rel=0.06, abs=0.06
        )


def test_the_interval_of_a_look_is_wider_than_a_plain_one_and_covers_all_looks_before() -> None:
    design = design_looks(LOOKS)
    plain = estimate_mean([1.0, 2.0, 3.0, 2.5])
    repeated = design.repeat(plain)
    assert float(repeated.half_width) > float(plain.half_width)
    assert repeated.mean == plain.mean
    with pytest.raises(ValueError, match="5 seeds are no look of this design"):
        design.repeat(estimate_mean([1.0, 2.0, 3.0, 2.5, 2.0]))


@pytest.mark.parametrize(
    ("values", "smallest", "verdict"),
    [
        ([1.0, 1.1, 1.2], None, "above zero"),
        ([-1.0, -1.1, -1.2], 0.5, "below zero"),
        ([-0.01, 0.01, 0.0], 0.5, "negligible"),
        ([-0.01, 0.01, 0.0], None, "open"),
        ([-3.0, 3.0, 1.0], 0.5, "open"),
        ([1.0], 0.5, "open"),
    ],
)
def test_an_interval_decides_only_what_it_excludes(values: list[float], smallest: float | None, verdict: str) -> None:
    assert judge(estimate_mean(values), smallest) == verdict


@pytest.mark.parametrize("looks", [(), (1, 3), (3, 3), (5, 4)])
def test_looks_that_are_none_are_refused(looks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="looks rise"):
        design_looks(looks)
