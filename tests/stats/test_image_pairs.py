"""McNemar's test and intervals over images are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from vtbench.records import NotMeasured
from vtbench.stats.estimates import Estimate
from vtbench.stats.image_pairs import compute_mcnemar, estimate_over_images


@pytest.mark.parametrize(("only_arm", "only_base"), [(0, 0), (1, 0), (12, 5), (5, 12), (7, 7), (300, 240)])
def test_mcnemar_is_the_exact_binomial_test_of_the_images_on_which_they_differ(only_arm: int, only_base: int) -> None:
    arm = np.array([True] * only_arm + [False] * only_base + [True] * 9 + [False] * 4)
    base = np.array([False] * only_arm + [True] * only_base + [True] * 9 + [False] * 4)
    found = compute_mcnemar(arm, base)
    assert (found.num_only_arm, found.num_only_base) == (only_arm, only_base)
    total = only_arm + only_base
    assert found.p_value == pytest.approx(binomtest(only_arm, total).pvalue if total else 1.0)


def test_other_images_are_not_paired() -> None:
    with pytest.raises(ValueError, match="cannot pair 2 images with 3"):
        compute_mcnemar(np.ones(2, bool), np.ones(3, bool))


def test_the_interval_over_images_covers_the_difference_of_other_images() -> None:
    generator, covered, trials = np.random.default_rng(4), 0, 2000
    for _ in range(trials):
        hard = generator.random(400)
        arm, base = (100.0 * (hard + generator.normal(0, 0.2, 400) > bar) for bar in (0.35, 0.40))
        found = estimate_over_images([(arm, base, np.arange(400))])
        assert isinstance(found, Estimate) and found.interval is not None
        covered += found.interval[0] <= 5.0 <= found.interval[1]  # As good as exact: 0.65 against 0.60 of all images.
    assert covered / trials == pytest.approx(0.95, abs=0.02)


def test_seeds_on_the_same_images_are_no_further_images() -> None:
    arm, base = np.tile([100.0, 0.0, 100.0], 20), np.tile([0.0, 0.0, 100.0], 20)
    once, thrice = (estimate_over_images([(arm, base, np.arange(60))] * seeds) for seeds in (1, 3))
    assert isinstance(once, Estimate) and (once.n, once.mean) == (60, pytest.approx(100 / 3))
    assert isinstance(thrice, Estimate) and (thrice.n, thrice.mean) == (60, pytest.approx(100 / 3))
    assert thrice.half_width == pytest.approx(once.half_width)
    others = estimate_over_images([(arm, base, np.arange(60) + first) for first in (0, 60, 120)])
    assert isinstance(others, Estimate) and others.n == 180


def test_images_that_some_seeds_share_are_counted_once_and_the_interval_covers() -> None:
    """Each of four seeds draws 300 of a split of 500, and the split is one of many that there could be."""
    generator, covered, trials, halves = np.random.default_rng(5), 0, 1000, []
    for _ in range(trials):
        hard, pairs = generator.random(500), []
        for _ in range(4):
            rows = np.sort(generator.permutation(500)[:300])
            arm, base = (100.0 * (hard[rows] + generator.normal(0, 0.2, 300) > bar) for bar in (0.35, 0.40))
            pairs.append((arm, base, rows))
        found = estimate_over_images(pairs)
        assert isinstance(found, Estimate) and found.interval is not None and found.n <= 500
        assert found.mean == pytest.approx(np.mean([arm - base for arm, base, _ in pairs]))
        covered += found.interval[0] <= 5.0 <= found.interval[1]
        halves.append(found.interval[1] - found.mean)
    assert covered / trials == pytest.approx(0.95, abs=0.02)
    seen = [rows for *_, rows in pairs]
    assert found.n == len(np.unique(np.concatenate(seen)))


def test_the_spread_is_that_of_a_ratio_an_image_weighs_as_often_as_it_was_drawn() -> None:
    """Thirty images drawn twice with a difference of 2, thirty drawn once with one of 0 or 3."""
    first, last = np.full(30, 2.0), np.tile([0.0, 3.0], 15)
    both = np.concatenate([first, last])
    found = estimate_over_images([(first, np.zeros(30), np.arange(30)), (both, np.zeros(60), np.arange(60))])
    assert isinstance(found, Estimate)
    mean = (30 * 4.0 + last.sum()) / 90
    errors = np.concatenate([np.full(30, 4.0 - 2 * mean), last - mean]) / 1.5
    assert (found.mean, found.n) == (pytest.approx(mean), 60)
    assert found.half_width == pytest.approx(1.959964 * np.sqrt((errors**2).sum() / 59) / np.sqrt(60))


def test_images_without_a_score_are_left_out_and_few_have_no_interval() -> None:
    arm, base = np.full(40, 50.0), np.full(40, 49.0)
    arm[:5] = np.nan
    found = estimate_over_images([(arm, base, np.arange(40))])
    assert isinstance(found, Estimate) and found.n == 35
    assert isinstance(found.half_width, NotMeasured)
    tenth = estimate_over_images([(np.full(50, 0.3), np.full(50, 0.2), np.arange(50) + seed) for seed in range(3)])
    assert isinstance(tenth, Estimate) and isinstance(tenth.half_width, NotMeasured)  # Equal but for rounding.
    assert estimate_over_images([(arm[:20], base[:20], np.arange(20))]) == NotMeasured(
        reason="15 images: an interval over images takes 30"
    )
    assert isinstance(estimate_over_images([]), NotMeasured)
