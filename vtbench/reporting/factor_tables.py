"""The effects of the factors of a study: a table of words, rows of numbers, and the notes that belong to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vtbench.documents.table import NOTHING, Table, make_table
from vtbench.records import NotMeasured
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.tables import format_estimate
from vtbench.stats.factor_effects import FactorEffects, estimate_effects


def find_effects(comparison: Comparison) -> FactorEffects | None:
    """The effects of the factors that made arms of ``comparison``; None where they made fewer than two.

    None, too, where the outcome of a study decided how many seeds each arm has: no plain interval holds of those.
    """
    arms = [arm for arm in comparison.arms if arm.levels]
    if len(arms) < 2 or comparison.until is not None:
        return None
    values = {
        arm.name: {seed: one.value for seed, one in arm.outcomes.items() if isinstance(one.value, float)}
        for arm in arms
    }
    return estimate_effects({arm.name: arm.levels for arm in arms}, values, comparison.base)


def tabulate_effects(comparison: Comparison) -> Table | None:
    """One row a level: what it does to the headline metric against the level of the base, the other factors held."""
    found = find_effects(comparison)
    if found is None:
        return None
    metric = comparison.metric
    rows = [
        (
            one.factor,
            one.level,
            one.reference,
            NOTHING if isinstance(one.effect, NotMeasured) else format_estimate(one.effect, metric, sign="+"),
            NOTHING if isinstance(one.effect, NotMeasured) else str(one.effect.n),
        )
        for one in found.effects
    ]
    effect = f"main effect ({metric.difference_unit})"
    return make_table(("factor", "level", "against", effect, "n"), rows, numbers=(effect, "n"))


def list_effect_numbers(comparison: Comparison) -> list[dict[str, Any]]:
    """One flat dictionary a level; None where there is no number."""
    found = find_effects(comparison)
    return [
        {
            "factor": one.factor,
            "level": one.level,
            "against": one.reference,
            "effect": None if isinstance(one.effect, NotMeasured) else round(one.effect.mean, 6),
            "half_width": None
            if isinstance(one.effect, NotMeasured) or isinstance(one.effect.half_width, NotMeasured)
            else round(one.effect.half_width, 6),
            "n": 0 if isinstance(one.effect, NotMeasured) else one.effect.n,
            "reason": one.effect.reason if isinstance(one.effect, NotMeasured) else None,
        }
        for one in (found.effects if found else ())
    ]


def list_effect_notes(comparison: Comparison) -> Iterator[str]:
    """What a main effect is, which cannot be had, and how far the effects are from adding up."""
    found = find_effects(comparison)
    if found is None:
        return
    yield (
        "A main effect is the mean change from one level of a factor to another over all combinations of the other "
        "factors, by seed; ± is over seeds."
        if found.is_complete
        else "Not every combination of the factors has run with every seed: main effects are those of an additive "
        "model of the runs there are, which an interaction of factors would distort."
    )
    for one in found.effects:
        if isinstance(one.effect, NotMeasured):
            yield f"{one.factor}={one.level} against {one.factor}={one.reference}: {one.effect.reason}."
    metric = comparison.metric
    if found.at is not None and found.interaction is not None and float(metric.format(found.interaction)):
        yield (
            f"The effects do not add up exactly: the mean of {found.at} lies {found.interaction:+.{metric.digits}f} "
            f"{metric.difference_unit} from their sum, the furthest of all."
        )
