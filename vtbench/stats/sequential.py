"""Studies that stop when they know enough: looks declared beforehand, and intervals that hold over all of them.

Looking at a plain 95 % interval after every few seeds, and stopping at the first that excludes zero, is wrong far more
often than once in twenty. The repeated intervals here are wider at every look, most at the first, so that the chance
that any of them misses the true difference stays within what was promised, whatever rule stops the study. Jennison and
Turnbull, "Group Sequential Methods with Applications to Clinical Trials" (2000): repeated confidence intervals (chapter
9), the family of Wang and Tsiatis (section 2.7), t statistics (section 4.4). Their critical values are found here by
simulation, since those of the normal distribution do not hold for three seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from vtbench.records import NotMeasured
from vtbench.stats.estimates import LEVEL, Estimate, widen
from vtbench.stats.simultaneous import correct_level

SHAPE = 0.25
"""Wang and Tsiatis's Delta: 0 asks most of early looks (O'Brien and Fleming), 0.5 the same of all (Pocock)."""
PATHS = 400_000
"""Simulated studies behind every critical value: its chance of error is known to 0.0003."""

Verdict = Literal["above zero", "below zero", "negligible", "open"]


@dataclass(frozen=True)
class SequentialDesign:
    """Looks, as numbers of seeds, and the level of the interval at each: see `design_looks`."""

    looks: tuple[int, ...]
    levels: tuple[float, ...]
    num_contrasts: int
    level: float

    def repeat(self, fixed: Estimate) -> Estimate:
        """``fixed`` with the interval of the look at its number of seeds; ``ValueError`` where there is no look."""
        if fixed.n not in self.looks:
            raise ValueError(f"{fixed.n} seeds are no look of this design, which looks at {self.looks}")
        return widen(fixed, self.levels[self.looks.index(fixed.n)])


def plan_looks(most_seeds: int, *, first: int = 3) -> tuple[int, ...]:
    """Looks from ``first`` to ``most_seeds``, each at about 1.4 times the seeds of the one before."""
    looks = [min(first, most_seeds)]
    while looks[-1] < most_seeds:
        looks.append(min(most_seeds, max(looks[-1] + 1, round(1.4 * looks[-1]))))
    return tuple(looks)


@cache
def design_looks(looks: tuple[int, ...], num_contrasts: int = 1, *, level: float = LEVEL) -> SequentialDesign:
    """Levels for which the intervals of all contrasts at all looks hold together with the chance ``level``.

    Contrasts are joined as in `vtbench.stats.simultaneous`. Raises ``ValueError`` for looks that do not rise or begin
    before two seeds.
    """
    if not looks or looks[0] < 2 or any(later <= earlier for earlier, later in pairwise(looks)):
        raise ValueError(f"looks rise from two seeds or more, unlike {looks}")
    error = 1 - correct_level(num_contrasts, level=level)
    statistics_LP = np.abs(simulate_statistics(looks, PATHS, np.random.default_rng(2000)))
    doubt = 2 * math.sqrt(error * (1 - error) / PATHS)
    low, high = 0.5, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        critical_L = [stdtrit(n - 1, 0.5 + one / 2) for n, one in zip(looks, _list_levels(looks, middle), strict=True)]
        misses = float((statistics_LP > np.asarray(critical_L)[:, None]).any(axis=0).mean())
        low, high = (middle, high) if misses + doubt > error else (low, middle)
    return SequentialDesign(looks, _list_levels(looks, high), num_contrasts, level)


def simulate_statistics(
    looks: Sequence[int], paths: int, generator: np.random.Generator, *, effect: float = 0.0
) -> NDArray[np.float64]:
    """The ratios of what `simulate_looks` gives: a t statistic against zero at each look, (looks, paths)."""
    means_LP, errors_LP = simulate_looks(looks, paths, generator, effect=effect)
    return np.asarray(means_LP / errors_LP)


def simulate_looks(
    looks: Sequence[int], paths: int, generator: np.random.Generator, *, effect: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of differences at each look and their standard errors, both (looks, paths).

    The differences are normal with a spread of one about ``effect``.
    """
    total_P, squares_P = np.zeros(paths), np.zeros(paths)
    means, errors = [], []
    for earlier, seeds in zip((0, *looks), looks, strict=False):
        added = seeds - earlier
        block_P = generator.normal(effect * added, math.sqrt(added), paths)
        total_P += block_P
        squares_P += block_P**2 / added + (generator.chisquare(added - 1, paths) if added > 1 else 0.0)
        variance_P = np.maximum(squares_P - total_P**2 / seeds, np.finfo(float).tiny) / (seeds - 1)
        means.append(total_P / seeds)
        errors.append(np.sqrt(variance_P / seeds))
    return np.stack(means), np.stack(errors)


def expect_seeds(design: SequentialDesign, effect: float, *, paths: int = 100_000) -> float:
    """The seeds that one comparison takes on average whose true difference is ``effect`` standard deviations."""
    means_LP, errors_LP = simulate_looks(design.looks, paths, np.random.default_rng(7), effect=effect)
    quantiles = [stdtrit(n - 1, 0.5 + one / 2) for n, one in zip(design.looks, design.levels, strict=True)]
    clear_LP = np.abs(means_LP) > np.asarray(quantiles)[:, None] * errors_LP
    stop_P = np.where(clear_LP.any(axis=0), clear_LP.argmax(axis=0), len(design.looks) - 1)
    return float(np.asarray(design.looks)[stop_P].mean())


def judge(estimate: Estimate, smallest_effect: float | None) -> Verdict:
    """What an interval decides: beyond zero, all within ``smallest_effect`` of it, or nothing yet."""
    if isinstance(estimate.half_width, NotMeasured):
        return "open"
    low, high = estimate.mean - estimate.half_width, estimate.mean + estimate.half_width
    if low > 0 or high < 0:
        return "above zero" if low > 0 else "below zero"
    return "negligible" if smallest_effect is not None and max(-low, high) <= smallest_effect else "open"


def _list_levels(looks: Sequence[int], last: float) -> tuple[float, ...]:
    """The levels at all looks for the normal quantile ``last`` at the last one."""
    return tuple(float(1 - 2 * ndtr(-last * (seeds / looks[-1]) ** (SHAPE - 0.5))) for seeds in looks)
