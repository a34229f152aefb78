"""The effects of the factors of a study: a table of words, rows of numbers, and the notes that belong to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from vtbench.documents.table import NOTHING, Table, make_table
from vtbench.errors import format_names
from vtbench.metrics import Metric
from vtbench.records import NotMeasured
from vtbench.reporting.comparisons import Arm, Comparison
from vtbench.reporting.tables import PLUS_MINUS, REFERENCE, format_estimate
from vtbench.stats.estimates import Estimate
from vtbench.stats.factor_effects import FactorEffect, FactorEffects, Interaction, estimate_effects
from vtbench.units import format_half_width, format_items


def find_effects(comparison: Comparison) -> FactorEffects | None:
    """The effects of the factors that made arms of ``comparison``; None where they made fewer than two.

    Of several studies the factors are those of the reference, or of the first arm that any made. None, too, where the
    outcome of a study decided how many seeds each arm has: no plain interval holds of those.
    """
    arms, _ = _sort_by_factors(comparison)
    if len(arms) < 2 or comparison.stopped:
        return None
    values = {
        arm.name: {seed: one.value for seed, one in arm.outcomes.items() if isinstance(one.value, float)}
        for arm in arms
    }
    return estimate_effects({arm.name: arm.levels for arm in arms}, values, comparison.base)


def _sort_by_factors(comparison: Comparison) -> tuple[list[Arm], list[Arm]]:
    """The arms that the factors of the reference made, and those that other factors made."""
    made = [arm for arm in comparison.arms if arm.levels]
    lead = next((arm for arm in made if arm.name == comparison.base), made[0] if made else None)
    is_own = {arm.name: lead is not None and arm.levels.keys() == lead.levels.keys() for arm in made}
    return [arm for arm in made if is_own[arm.name]], [arm for arm in made if not is_own[arm.name]]


def tabulate_effects(comparison: Comparison) -> Table | None:
    """One row a level: what it does to the headline metric against the level of the base, the other factors held."""
    found = find_effects(comparison)
    if found is None:
        return None
    metric, together = comparison.metric, _name_together(found.effects)
    rows = [
        (
            one.factor,
            one.level,
            one.reference,
            NOTHING if isinstance(one.effect, NotMeasured) else format_estimate(one.effect, metric, sign="+"),
            NOTHING if isinstance(one.effect, NotMeasured) else str(one.effect.n),
            *([_format_together(one, metric)] if together else []),
        )
        for one in found.effects
    ]
    numbers = (f"main effect ({metric.difference_unit})", "n", *([together] if together else []))
    return make_table(("factor", "level", "against", *numbers), rows, numbers=numbers)


def tabulate_interactions(comparison: Comparison) -> Table | None:
    """One row an effect and level of another factor: the effect there, and how far it is from that at the first."""
    found = find_effects(comparison)
    if found is None or not found.interactions:
        return None
    metric, together = comparison.metric, _name_together(found.interactions)
    rows = [
        (
            _name_effect(one),
            f"{one.by}={one.at}",
            format_estimate(one.there, metric, sign="+"),
            NOTHING if isinstance(one.there, NotMeasured) else str(one.there.n),
            _format_change(one, metric),
            *([_format_together(one, metric)] if together else []),
        )
        for one in found.interactions
    ]
    unit = metric.difference_unit
    numbers = (f"effect there ({unit})", "n", f"change ({unit})", *([together] if together else []))
    return make_table(("effect of", "where", *numbers), rows, numbers=numbers)


def list_effect_numbers(comparison: Comparison) -> list[dict[str, Any]]:
    """One flat dictionary a level; None where there is no number."""
    found = find_effects(comparison)
    return [
        {
            "factor": one.factor,
            "level": one.level,
            "against": one.reference,
            **_spell(one.effect, "effect"),
            **_spell_together(one),
        }
        for one in (found.effects if found else ())
    ]


def list_interaction_numbers(comparison: Comparison) -> list[dict[str, Any]]:
    """One flat dictionary an effect and level of another factor; None where there is no number."""
    found = find_effects(comparison)
    return [
        {
            "factor": one.factor,
            "level": one.level,
            "against": one.reference,
            "where": f"{one.by}={one.at}",
            "there": _spell(one.there, "effect"),
            "change": None if one.change is None else {**_spell(one.change, "effect"), **_spell_together(one)},
        }
        for one in (found.interactions if found else ())
    ]


def list_effect_notes(comparison: Comparison) -> Iterator[str]:
    """What a main effect is, which cannot be had, and whether effects change with other factors."""
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
    if others := _sort_by_factors(comparison)[1]:
        yield f"Made by other factors, and in no effect of these: {format_names([arm.name for arm in others])}."
    bare: dict[str, list[str]] = {}
    for one in found.effects:
        name = f"{one.factor}={one.level} against {one.factor}={one.reference}"
        if isinstance(one.effect, NotMeasured):
            yield f"{name}: {one.effect.reason}."
        elif isinstance(one.effect.half_width, NotMeasured):
            bare.setdefault(one.effect.half_width.reason, []).append(name)
    for reason, names in bare.items():
        yield f"Effects without {PLUS_MINUS} ({format_names(names)}): {reason}."
    if together := _name_together(found.effects):
        yield f"{together}: with these half widths the 95 % intervals of all main effects hold together (after Šidák)."
    yield from list_interaction_notes(comparison)


def list_interaction_notes(comparison: Comparison) -> Iterator[str]:
    """What a change of an effect is, which cannot be had, and which are clear."""
    found = find_effects(comparison)
    if found is None or not found.interactions:
        return
    further = "as the mean over all further factors"
    if not found.is_complete and len({one.factor for one in found.effects}) > 2:
        further = (
            "from a model of the runs there are in which an effect changes with one other factor at a time, which a "
            "change that takes three factors together would distort"
        )
    yield (
        f"The effect of a factor where another has a level is taken by seed, {further}; its change is how far it is "
        "from the effect at the level that stands first."
    )
    if together := _name_together(found.interactions):
        yield f"{together}: with these half widths the 95 % intervals of all changes hold together (after Šidák)."
    if unknown := [f"{_name_effect(one)} where {one.by}={one.at}" for one in found.interactions if _is_open(one)]:
        yield f"Not identifiable, as the runs there are do not tell it from other effects: {format_names(unknown)}."
    yield from tell_changing(found, comparison.metric)


def tell_changing(found: FactorEffects, metric: Metric) -> Iterator[str]:
    """Which effects are clear to change with another factor, and how, or that none is; nothing where none is judged."""
    judged = [one for one in found.interactions if _find_together(one) is not None]
    clear = [
        f"{_name_effect(one)} where {one.by}={one.at} ({format_estimate(one.together, metric, sign='+')})"
        for one in judged
        if one.together is not None and one.together.interval is not None
        if not one.together.interval[0] <= 0 <= one.together.interval[1]
    ]
    if clear:
        yield (
            f"Shown to change with another factor, in {metric.difference_unit}, as the interval excludes zero: "
            f"{'; '.join(clear)}."
        )
    elif judged:
        without = sum(one.change is not None for one in found.interactions) - len(judged)
        some = f"; {format_items(without, 'change has', 'changes have')} none" if without else ""
        yield f"No effect is shown to change with another factor: each interval of a change includes zero{some}."


def _name_effect(one: Interaction) -> str:
    return f"{one.factor}={one.level} against {one.reference}"


def _name_together(found: Sequence[FactorEffect | Interaction]) -> str:
    """The heading of half widths that hold together; empty where fewer than two have an interval."""
    judged = sum(_find_together(one) is not None for one in found)
    return f"{PLUS_MINUS} all {judged}" if judged > 1 else ""


def _format_change(one: Interaction, metric: Metric) -> str:
    """The change, with its number of seeds where the effect there has another."""
    if one.change is None:
        return REFERENCE
    text = format_estimate(one.change, metric, sign="+")
    own = one.there.n if isinstance(one.there, Estimate) else 0
    if isinstance(one.change, NotMeasured) or "(n =" in text or one.change.n == own:
        return text
    return f"{text} (n = {one.change.n})"


def _format_together(one: FactorEffect | Interaction, metric: Metric) -> str:
    half = _find_together(one)
    return NOTHING if half is None else format_half_width(half, digits=metric.digits)


def _find_together(one: FactorEffect | Interaction) -> float | None:
    """The half width of an effect or a change that holds together with all others; None where there is none."""
    return one.together.half_width if one.together is not None and isinstance(one.together.half_width, float) else None


def _spell_together(one: FactorEffect | Interaction) -> dict[str, float | None]:
    return {"half_width_together": None if (half := _find_together(one)) is None else round(half, 6)}


def _is_open(one: Interaction) -> bool:
    return isinstance(one.there, NotMeasured) or isinstance(one.change, NotMeasured)


def _spell(estimate: Estimate | NotMeasured, name: str) -> dict[str, Any]:
    if isinstance(estimate, NotMeasured):
        return {name: None, "half_width": None, "n": 0, "reason": estimate.reason}
    half = estimate.half_width
    return {
        name: round(estimate.mean, 6),
        "half_width": None if isinstance(half, NotMeasured) else round(half, 6),
        "n": estimate.n,
        "reason": half.reason if isinstance(half, NotMeasured) else None,
    }
