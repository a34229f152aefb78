"""Intervals that hold together err at most once in twenty families, however unlike the arms scatter."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import stdtrit

from vtbench.records import NotMeasured
from vtbench.stats.estimates import estimate_mean
from vtbench.stats.simultaneous import correct_intervals, correct_level


def _miss(differences: NDArray[np.float64], quantile: float) -> float:
    """How often any arm's interval misses zero; ``differences`` (trials, arms, seeds) have a true mean of zero."""
    n = differences.shape[-1]
    statistics = differences.mean(axis=-1) / differences.std(axis=-1, ddof=1) * np.sqrt(n)
    return float((np.abs(statistics) > quantile).any(axis=1).mean())


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("base_spread", [0.0, 1.0, 5.0])
def test_the_family_errs_at_most_once_in_twenty(n: int, base_spread: float) -> None:
    trials, arms = 20_000, 4
    generator = np.random.default_rng(11)
    spreads = np.array([0.2, 1.0, 1.0, 3.0])[:, None]
    noise = generator.normal(0, 1, (trials, arms, n)) * spreads
    differences = noise - generator.normal(0, 1, (trials, 1, n)) * base_spread
    level = correct_level(arms)
    assert _miss(differences, float(stdtrit(n - 1, 0.5 + level / 2))) <= 0.05 + 3 * (0.05 * 0.95 / trials) ** 0.5
    assert _miss(differences, float(stdtrit(n - 1, 0.975))) > 0.06  # Plain intervals do not hold together.


def test_a_spread_pooled_over_unlike_arms_would_err_more_often() -> None:
    """Why these are not Dunnett's intervals: even against a bound without simulation they fail, for the noisy arm."""
    trials, arms, n = 20_000, 4, 5
    differences = np.random.default_rng(5).normal(0, 1, (trials, arms, n)) * np.array([0.2, 0.2, 0.2, 3.0])[:, None]
    pooled = np.sqrt(differences.var(axis=-1, ddof=1).mean(axis=1, keepdims=True) / n)
    quantile = float(stdtrit(arms * (n - 1), 0.5 + correct_level(arms) / 2))
    assert (np.abs(differences.mean(axis=-1)) > quantile * pooled).any(axis=1).mean() > 0.08


def test_a_family_of_one_is_left_as_it_is() -> None:
    estimate = estimate_mean([1.0, 2.0, 4.0])
    assert correct_intervals([estimate])[0].half_width == pytest.approx(estimate.half_width)


def test_an_estimate_without_interval_does_not_widen_the_others() -> None:
    alone, other, single = estimate_mean([1.0, 2.0, 4.0]), estimate_mean([3.0, 3.5, 1.0]), estimate_mean([7.0])
    with_it, without = correct_intervals([alone, single, other]), correct_intervals([alone, other])
    assert [with_it[0], with_it[2]] == without
    assert isinstance(with_it[1].half_width, NotMeasured)
    # Two at 95 % take 97.47 % each: t(2; 0.98734) = 6.1643 in place of 4.3027.
    assert without[0].half_width == pytest.approx(float(alone.half_width) * 6.2050 / 4.30265, rel=2e-2)
