"""How many seeds a question takes: the power of the paired t test, by the noncentral t distribution."""

from __future__ import annotations

import math

from scipy.special import nctdtr, stdtrit

from vtbench.records import NotMeasured
from vtbench.stats.estimates import LEVEL

POWER = 0.8
"""The chance of finding an effect that a study is planned for, unless a caller asks for another."""
MOST_SEEDS = 10_000


def compute_power(effect: float, spread: float, n: int, *, level: float = LEVEL) -> float:
    """The chance that the two-sided interval over ``n`` seeds excludes zero on the side of the true ``effect``.

    ``spread`` is the standard deviation of the paired differences, in the unit of the effect. Raises ``ValueError`` for
    fewer than two seeds or a spread that is not above zero.
    """
    if n < 2 or not spread > 0:
        raise ValueError(f"power takes two seeds and a spread above zero, not {n} and {spread}")
    shift = abs(effect) / spread * math.sqrt(n)
    critical = float(stdtrit(n - 1, 0.5 + level / 2))
    return 1.0 - float(nctdtr(n - 1, shift, critical))


def find_smallest_effect(spread: float, n: int, *, power: float = POWER, level: float = LEVEL) -> float:
    """The smallest true effect that ``n`` seeds find with the chance ``power``, in the unit of ``spread``."""
    low, high = 0.0, spread
    while compute_power(high, spread, n, level=level) < power:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if compute_power(middle, spread, n, level=level) < power else (low, middle)
    return high


def count_needed_seeds(
    effect: float, spread: float, *, power: float = POWER, level: float = LEVEL
) -> int | NotMeasured:
    """The fewest seeds that find a true ``effect`` with the chance ``power``, or why none is named."""
    if effect == 0:
        return NotMeasured(reason="no number of seeds finds an effect of zero")
    low, high = 1, 2
    while compute_power(effect, spread, high, level=level) < power:
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return NotMeasured(reason=f"more than {MOST_SEEDS:,} seeds")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if compute_power(effect, spread, middle, level=level) < power else (low, middle)
    return high
