"""The differences of a comparison as figures show them: one row an arm, and how far their axis reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vtbench.reporting.comparisons import Arm, Comparison
from vtbench.stats.estimates import Estimate, PairedDifference

_WIDTH_OF_MOST = 3.0
"""Intervals reach at most so many times beyond what means and seeds span; the rim cuts the rest."""


@dataclass(frozen=True)
class Effect:
    """One arm's difference to the base, and that of each seed."""

    arm: Arm
    estimate: Estimate
    seeds: tuple[float, ...]


def list_effects(comparison: Comparison) -> list[Effect]:
    """The arms that have a difference, in the order of the table."""
    base = comparison.arms[0].outcomes
    rows = []
    for arm in comparison.arms[1:]:
        if isinstance(arm.difference, PairedDifference):
            pairs = [(arm.outcomes[seed].value, base[seed].value) for seed in arm.difference.seeds]
            seeds = tuple(
                own - of_base for own, of_base in pairs if isinstance(own, float) and isinstance(of_base, float)
            )
            rows.append(Effect(arm, arm.difference.estimate, seeds))
    return rows


def choose_reach(rows: Sequence[Effect]) -> tuple[float, float]:
    """The ends of the axis: zero, all means and seeds fit, and intervals as far as they at most triple that."""
    values = [0.0, *(value for row in rows for value in (row.estimate.mean, *row.seeds))]
    low, high = min(values), max(values)
    span = max(high - low, 0.5)
    ends = [end for row in rows for one in (row.estimate, row.arm.together) if one for end in one.interval or ()]
    low = min(low, max([min(ends, default=low), low - _WIDTH_OF_MOST / 2 * span]))
    high = max(high, min([max(ends, default=high), high + _WIDTH_OF_MOST / 2 * span]))
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin
