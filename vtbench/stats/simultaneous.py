"""Intervals that hold together: of several arms against one base, all at once with the chance that one alone promises.

Šidák, Z. (1967), "Rectangular confidence regions for the means of multivariate normal distributions", Journal of the
American Statistical Association 62: intervals of the level (1 - a)^(1/K) cover K true values together with a chance of
at least 1 - a, however the arms' noises correlate. Dunnett's, from a spread pooled over the arms, are narrower and take
for granted that all arms scatter alike, which trained networks do not; ``tests/stats`` simulates both cases.
"""

from __future__ import annotations

import math

from vtbench.records import NotMeasured
from vtbench.stats.estimates import LEVEL, Estimate, widen


def correct_level(num_comparisons: int, *, level: float = LEVEL) -> float:
    """The level that each of ``num_comparisons`` intervals takes for all of them to hold together at ``level``."""
    return math.pow(level, 1 / max(1, num_comparisons))


def correct_intervals(estimates: list[Estimate]) -> list[Estimate]:
    """The same means with intervals that hold together; those without an interval do not count, and stay so."""
    family = sum(not isinstance(estimate.half_width, NotMeasured) for estimate in estimates)
    return [widen(estimate, correct_level(family, level=estimate.level)) for estimate in estimates]
