"""The intervals cover what they say, and say why where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from vtbench.records import NotMeasured
from vtbench.stats.estimates import PairedDifference, correlate, estimate_difference, estimate_mean


def _draw_pairs(n: int, trials: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of accuracies that share a seed effect; the true difference is 1 point."""
    generator = np.random.default_rng(seed)
    shared = generator.normal(70.0, 0.5, size=(trials, n))
    return shared + 1.0 + generator.normal(0, 0.4, (trials, n)), shared + generator.normal(0, 0.4, (trials, n))


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_the_paired_t_interval_covers_95_percent_of_true_differences(n: int) -> None:
    trials = 4000
    arms, bases = _draw_pairs(n, trials, seed=7)
    covered = 0
    for arm, base in zip(arms, bases, strict=True):
        difference = estimate_difference(dict(enumerate(arm)), dict(enumerate(base)))
        assert isinstance(difference, PairedDifference)
        assert difference.estimate.interval is not None
        low, high = difference.estimate.interval
        covered += low <= 1.0 <= high
    # Three standard errors of a binomial share of 0.95 over 4,000 trials are 1.03 points.
    assert covered / trials == pytest.approx(0.95, abs=0.0104)


def test_a_percentile_bootstrap_over_three_seeds_would_not_cover_it() -> None:
    trials, n = 1000, 3
    arms, bases = _draw_pairs(n, trials, seed=7)
    resampled = np.random.default_rng(1).integers(0, n, size=(500, n))
    means = (arms - bases)[:, resampled].mean(axis=2)
    low, high = np.percentile(means, [2.5, 97.5], axis=1)
    assert np.mean((low <= 1.0) & (high >= 1.0)) < 0.85


def test_the_interval_is_that_of_the_textbook() -> None:
    estimate = estimate_mean([1.0, 2.0, 3.0, 4.0])
    # s = 1.29099, t(3; 0.975) = 3.18245, half width = 3.18245 * 1.29099 / 2.
    assert estimate.mean == 2.5
    assert estimate.n == 4
    assert estimate.half_width == pytest.approx(2.054260, abs=1e-6)
    assert estimate.interval == pytest.approx((0.445740, 4.554260), abs=1e-6)


def test_one_value_has_a_mean_and_the_reason_why_it_has_no_interval() -> None:
    estimate = estimate_mean([71.5])
    assert estimate.mean == 71.5
    assert estimate.interval is None
    assert isinstance(estimate.half_width, NotMeasured)
    assert "n = 1: no interval" in estimate.half_width.reason


def test_equal_values_do_not_pass_for_a_mean_without_error() -> None:
    estimate = estimate_mean([0.1 + 0.2, 0.3, 0.3])
    assert isinstance(estimate.half_width, NotMeasured)
    assert "all 3 values are equal" in estimate.half_width.reason
    assert "both values are equal" in estimate_mean([2.0, 2.0]).half_width.reason


def test_a_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        estimate_mean([])


def test_a_wider_level_gives_a_wider_interval() -> None:
    narrow, wide = (estimate_mean([1.0, 2.0, 4.0], level=level).half_width for level in (0.8, 0.99))
    assert isinstance(narrow, float)
    assert isinstance(wide, float)
    assert narrow < wide


def test_only_seeds_that_both_arms_have_are_paired() -> None:
    difference = estimate_difference({0: 2.0, 1: 5.0, 7: 99.0}, {1: 4.0, 0: 1.5, 3: 50.0})
    assert isinstance(difference, PairedDifference)
    assert difference.seeds == (0, 1)
    assert difference.estimate.mean == pytest.approx(0.75)
    assert difference.estimate.n == 2


def test_arms_without_a_shared_seed_have_no_difference() -> None:
    assert estimate_difference({0: 1.0}, {1: 1.0}) == NotMeasured(reason="no seed that both arms have finished")


def test_the_correlation_is_pearsons() -> None:
    first, second = [1.0, 2.0, 3.0, 5.0, 4.0], [2.0, 1.0, 4.0, 6.0, 3.0]
    assert correlate(first, second) == pytest.approx(float(np.corrcoef(first, second)[0, 1]), abs=1e-12)
    assert correlate([1.0, 2.0, 3.0, 4.0, 5.0], [-1.0, -2.0, -3.0, -4.0, -5.0]) == pytest.approx(-1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [([1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 7.0], "n = 4"), ([1.0, 2.0, 3.0, 4.0, 5.0], [5.0] * 5, "same value")],
)
def test_where_there_is_no_correlation_the_reason_stands(first: list[float], second: list[float], reason: str) -> None:
    found = correlate(first, second)
    assert isinstance(found, NotMeasured)
    assert reason in found.reason


def test_samples_of_different_length_are_not_correlated() -> None:
    with pytest.raises(ValueError, match="cannot correlate 2 values with 3"):
        correlate([1.0, 2.0], [1.0, 2.0, 3.0])
