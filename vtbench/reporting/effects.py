"""The differences of a comparison as figures show them: one row an arm, and how far their axis reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vtbench.reporting.comparisons import Arm, Comparison
from vtbench.reporting.forest import choose_reach
from vtbench.stats.estimates import Estimate, PairedDifference


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


def reach_effects(rows: Sequence[Effect]) -> tuple[float, float]:
    """The ends of the axis of effects: see `choose_reach`."""
    ends = [end for row in rows for one in (row.estimate, row.arm.together) if one for end in one.interval or ()]
    return choose_reach((value for row in rows for value in (row.estimate.mean, *row.seeds)), ends)
