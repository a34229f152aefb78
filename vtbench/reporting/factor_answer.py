"""What a study of crossed factors answers: the effect of each factor over all others, and whether effects change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from vtbench.metrics import Metric
from vtbench.records import NotMeasured
from vtbench.reporting.comparisons import Arm, Comparison
from vtbench.reporting.contrasts import choose_digits, refine_digits, show_points, tell_costs
from vtbench.reporting.factor_tables import find_effects, tell_changing
from vtbench.reporting.notes import FEWEST_FOR_SPREAD
from vtbench.stats.estimates import find_spread
from vtbench.stats.factor_effects import FactorEffect, FactorEffects
from vtbench.stats.power import find_smallest_effect
from vtbench.units import format_items

_MOST_NAMED = 4
"""Of more levels those of the largest effects are named."""


def tell_effects(comparison: Comparison) -> list[str]:
    """Main effects by the intervals that hold for all at once, what is not judged, then which effects change.

    Nothing where fewer than two factors were crossed, or no effect has an interval.
    """
    found = find_effects(comparison)
    if found is None or not found.interactions:
        return []
    judged = [one for one in found.effects if one.together is not None and one.together.interval is not None]
    if not judged:
        return []
    others = "over all levels of the other factors"
    where = others if found.is_complete else "by a model in which effects add, since not all combinations have run"
    metric = comparison.metric
    return [*_tell_main(judged, comparison, where), *_tell_unjudged(found), *tell_changing(found, metric)]


def _tell_main(judged: Sequence[FactorEffect], comparison: Comparison, where: str) -> Iterator[str]:
    label = comparison.metric.label
    words = {1: f"Shown to raise {label}", -1: f"Shown to lower {label}", 0: f"Not shown to change {label}"}
    how = f", {where}"
    for side, said in words.items():
        if effects := sorted((one for one in judged if _find_side(one) == side), key=lambda one: -abs(_mean(one))):
            named = "; ".join(_tell(one, comparison) for one in effects[:_MOST_NAMED])
            num_more = max(0, len(effects) - _MOST_NAMED)
            more = f"; and {format_items(num_more, 'more level')}" if num_more else ""
            yield f"{said}{how}: {named}{more}.{'' if side else _tell_missed(judged, comparison.metric)}"
            how = ""


def _tell_missed(judged: Sequence[FactorEffect], metric: Metric) -> str:
    """What true effect the seeds would have found, at the median spread."""
    spreading = [one.together for one in judged if one.together is not None and one.together.n >= FEWEST_FOR_SPREAD]
    if not spreading:
        return f" Fewer than {FEWEST_FOR_SPREAD} seeds do not say what could have been missed."
    seeds, spread = min(one.n for one in spreading), median(map(find_spread, spreading))
    size = find_smallest_effect(spread, seeds, level=spreading[0].level)
    points = show_points(size, metric, choose_digits(size, metric))
    return f" With {format_items(seeds, 'seed')}, true effects under {points} could have been missed."


def _tell_unjudged(found: FactorEffects) -> Iterator[str]:
    """Which main effects have no interval, and why: one sentence a reason."""
    reasons: dict[str, list[str]] = {}
    for one in found.effects:
        half = one.effect if isinstance(one.effect, NotMeasured) else one.effect.half_width
        if isinstance(half, NotMeasured):
            reasons.setdefault(half.reason, []).append(f"{one.factor} {one.level} for {one.reference}")
    yield from (f"Not judged: {'; '.join(names)}: {reason}." for reason, names in reasons.items())


def _find_side(one: FactorEffect) -> int:
    """1 or -1 where the interval that holds for all effects lies above or below zero, else 0."""
    low, high = one.together.interval if one.together is not None and one.together.interval is not None else (0, 0)
    return 1 if low > 0 else -1 if high < 0 else 0


def _mean(one: FactorEffect) -> float:
    return one.together.mean if one.together is not None else 0.0


def _tell(one: FactorEffect, comparison: Comparison) -> str:
    """``model tokens for convolution, 6 points higher (± 9) at 8 % fewer MACs``."""
    metric, mean = comparison.metric, _mean(one)
    half = one.together.half_width if one.together is not None else 0.0
    digits = choose_digits(half, metric) if isinstance(half, float) else metric.digits
    finer = refine_digits([mean], digits, metric)
    direction = "apart" if not round(mean, finer) else "higher" if mean > 0 else "lower"
    spread = f" (± {metric.format(half, digits=digits)})" if isinstance(half, float) else ""
    size = show_points(abs(mean), metric, finer)
    costs = tell_costs(_pair_arms(one, comparison.arms))
    return f"{one.factor} {one.level} for {one.reference}, {size} {direction}{spread}{costs}"


def _pair_arms(one: FactorEffect, arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """Arms of the level beside those of the reference's level, other factors held, where their networks are two."""
    by_levels = {frozenset(arm.levels.items()): arm for arm in arms if arm.levels.get(one.factor)}
    pairs = []
    for arm in by_levels.values():
        if arm.levels[one.factor] == one.level:
            partner = by_levels.get(frozenset({**arm.levels, one.factor: one.reference}.items()))
            pairs += [(arm, partner)] if partner is not None and partner.variant != arm.variant else []
    return pairs
