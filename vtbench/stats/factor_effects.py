"""Main effects of crossed factors, by least squares of an additive model, each with a t interval over seeds.

For every seed the value of a run is modelled as a constant plus one number for the level of each factor. Where every
combination of levels has run, the effect of a level is the difference of two marginal means; where some have not, it
is what the additive model says, if the runs there are determine it at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtbench.records import NotMeasured
from vtbench.stats.estimates import Estimate, estimate_mean

# Dimensions: N runs of a seed, P parameters of the additive model.

_CONFOUNDED = "not identifiable: the runs there are do not tell it from the effect of another factor"


@dataclass(frozen=True)
class FactorEffect:
    """What changing one factor from ``reference`` to ``level`` does to a metric, all other factors held."""

    factor: str
    level: str
    reference: str
    effect: Estimate | NotMeasured


@dataclass(frozen=True)
class FactorEffects:
    """Every effect, and how far single combinations lie from what the effects add up to.

    ``is_complete`` says whether every combination of levels has run, ``interaction`` is the largest departure from the
    sum of the effects, averaged over seeds, and ``at`` the arm that has it; None where nothing is left to tell it.
    """

    effects: tuple[FactorEffect, ...]
    is_complete: bool
    interaction: float | None
    at: str | None


def estimate_effects(
    levels: Mapping[str, Mapping[str, str]], values: Mapping[str, Mapping[int, float]], reference: str
) -> FactorEffects:
    """Effects of all factors. ``levels`` gives the level of each factor for each arm, ``values`` its runs by seed.

    Differences are taken to the levels of the arm ``reference``, or of the first arm if it has none.
    """
    first = levels.get(reference) or next(iter(levels.values()))
    factors = {factor: list(dict.fromkeys(of_arm[factor] for of_arm in levels.values())) for factor in first}
    changes = [(factor, level) for factor in factors for level in factors[factor] if level != first[factor]]
    seeds = sorted({seed for arm in levels for seed in values.get(arm, {})})
    found: dict[tuple[str, str], list[float]] = {change: [] for change in changes}
    left_over: dict[str, list[float]] = {}
    for seed in seeds:
        arms = [arm for arm in levels if seed in values.get(arm, {})]
        design_NP = np.array([[1.0, *(float(levels[arm][f] == level) for f, level in changes)] for arm in arms])
        values_N = np.array([values[arm][seed] for arm in arms])
        solution_P = np.linalg.lstsq(design_NP, values_N, rcond=None)[0]
        for place, change in enumerate(changes, start=1):
            if _is_determined(design_NP, place):
                found[change].append(float(solution_P[place]))
        for arm, rest in zip(arms, values_N - design_NP @ solution_P, strict=True):
            left_over.setdefault(arm, []).append(float(rest))
    effects = tuple(
        FactorEffect(
            factor,
            level,
            first[factor],
            estimate_mean(found[factor, level]) if found[factor, level] else NotMeasured(reason=_CONFOUNDED),
        )
        for factor, level in changes
    )
    num_combinations = int(np.prod([len(of_factor) for of_factor in factors.values()]))
    complete = [arm for arm in levels if len(values.get(arm, {})) == len(seeds) > 0]
    rests = {arm: float(np.mean(rest)) for arm, rest in left_over.items()}
    at = max(rests, key=lambda arm: abs(rests[arm])) if len(rests) > 1 + len(changes) else None
    return FactorEffects(effects, len(complete) == num_combinations, None if at is None else rests[at], at)


def _is_determined(design_NP: NDArray[np.float64], place: int) -> bool:
    """Whether the runs fix the parameter: no other mixture of the columns equals its column."""
    others = np.delete(design_NP, place, axis=1)
    return int(np.linalg.matrix_rank(design_NP)) > int(np.linalg.matrix_rank(others))
