"""Estimates with their uncertainty: Student t intervals, which hold what they promise for the few seeds of an ablation.

A paired percentile bootstrap over few seeds covers 76 % (n = 3) to 90 % (n = 10) where it says 95 %; the paired t
interval covers 95 % for every n >= 2, provided that the differences are roughly normal. ``tests/stats`` simulates both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

from vtbench.records import NotMeasured

LEVEL = 0.95
"""The coverage of every interval, unless a caller asks for another."""
PAIRS_TO_CORRELATE = 5
"""A correlation of fewer pairs says next to nothing: of three independent ones every other is beyond 0.7."""


@dataclass(frozen=True)
class Estimate:
    """A mean of ``n`` values and the half width of its t interval, or the reason why it has none."""

    mean: float
    n: int
    half_width: float | NotMeasured
    level: float = LEVEL

    @property
    def interval(self) -> tuple[float, float] | None:
        """Lower and upper end, or None where there is no interval."""
        if isinstance(self.half_width, NotMeasured):
            return None
        return self.mean - self.half_width, self.mean + self.half_width


@dataclass(frozen=True)
class PairedDifference:
    """Arm minus base over the seeds that both have, and how far the two correlate over these seeds.

    Pairing narrows the interval only as far as the runs of one seed correlate, so the correlation stands beside it.
    """

    estimate: Estimate
    seeds: tuple[int, ...]
    correlation: float | NotMeasured


def estimate_mean(values: Sequence[float], *, level: float = LEVEL, called: str = "values") -> Estimate:
    """The mean of ``values`` with its t interval: mean +- t(n - 1) s / sqrt(n). Raises ``ValueError`` without values.

    ``called`` is what the reason for having none calls them.
    There is no interval for n = 1, nor where all values are equal: a spread of exactly zero over a few seeds says that
    the values are coarse (few validation images), not that the mean is known without error.
    """
    sample = np.asarray(values, dtype=np.float64)
    n = len(sample)
    if n == 0:
        raise ValueError("an estimate needs at least one value")
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(
            mean, 1, NotMeasured(reason="n = 1: no interval, one seed says nothing about the spread"), level
        )
    spread = float(sample.std(ddof=1))
    if spread <= 1e-12 * max(1.0, abs(mean)):
        reason = f"{'both' if n == 2 else f'all {n}'} {called} are equal: no interval, their spread cannot be estimated"
        return Estimate(mean, n, NotMeasured(reason=reason), level)
    quantile = float(stdtrit(n - 1, 0.5 + level / 2))
    return Estimate(mean, n, quantile * spread / math.sqrt(n), level)


def find_spread(estimate: Estimate) -> float:
    """The standard deviation of the values behind an estimate that has an interval."""
    if isinstance(estimate.half_width, NotMeasured):
        raise ValueError(f"there is no spread: {estimate.half_width.reason}")
    return estimate.half_width * math.sqrt(estimate.n) / float(stdtrit(estimate.n - 1, 0.5 + estimate.level / 2))


def widen(estimate: Estimate, level: float) -> Estimate:
    """The estimate with its interval at another ``level``; one without an interval has none there either."""
    if isinstance(estimate.half_width, NotMeasured):
        return replace(estimate, level=level)
    freedom = estimate.n - 1
    ratio = float(stdtrit(freedom, 0.5 + level / 2) / stdtrit(freedom, 0.5 + estimate.level / 2))
    return replace(estimate, half_width=estimate.half_width * ratio, level=level)


def estimate_difference(
    arm: Mapping[int, float], base: Mapping[int, float], *, level: float = LEVEL
) -> PairedDifference | NotMeasured:
    """Arm minus base, paired by seed. Both map a seed to its value; seeds that only one of them has are left out."""
    seeds = tuple(sorted(set(arm) & set(base)))
    if not seeds:
        return NotMeasured(reason="no seed that both arms have finished")
    estimate = estimate_mean([arm[seed] - base[seed] for seed in seeds], level=level, called="differences")
    correlation = correlate([arm[seed] for seed in seeds], [base[seed] for seed in seeds])
    return PairedDifference(estimate, seeds, correlation)


def correlate(first: Sequence[float], second: Sequence[float]) -> float | NotMeasured:
    """Pearson's correlation of two equally long samples, or why there is none.

    It needs `PAIRS_TO_CORRELATE` pairs, and both to vary.
    """
    if len(first) != len(second):
        raise ValueError(f"cannot correlate {len(first)} values with {len(second)}")
    if len(first) < PAIRS_TO_CORRELATE:
        return NotMeasured(reason=f"n = {len(first)}: no correlation, it takes {PAIRS_TO_CORRELATE} pairs")
    deviations = [np.asarray(sample, dtype=np.float64) - np.mean(sample) for sample in (first, second)]
    norms = [float(np.linalg.norm(deviation)) for deviation in deviations]
    if min(norms) <= 1e-12 * max(1.0, *map(abs, first), *map(abs, second)):
        return NotMeasured(reason="one of the arms has the same value for every seed: no correlation")
    return float(np.clip(deviations[0] @ deviations[1] / (norms[0] * norms[1]), -1.0, 1.0))
