"""Main effects of crossed factors and how one changes with another, by least squares, with t intervals over seeds.

For every seed the value of a run is modelled as a constant plus one number for the level of each factor, and for
interactions one more for every pair of levels of two factors. Where every combination of levels has run, the effect of
a level is a difference of two marginal means; where some have not, it is what the model says, if the runs there are
determine it at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from vtbench.records import NotMeasured
from vtbench.stats.estimates import Estimate, estimate_mean
from vtbench.stats.simultaneous import correct_intervals

# Dimensions: N runs of a seed, P parameters of a model, C contrasts.

_CONFOUNDED = "not identifiable: the runs there are do not tell it from the effect of another factor"
_NO_PAIRS = "not identifiable: the runs there are do not tell it from other effects of the factors"
_EXACT = 1e-8

Term = tuple[tuple[str, str], ...]
"""The levels of one or two factors, other than those of the reference, that a parameter stands for."""
Values = Mapping[str, Mapping[int, float]]
Levels = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class FactorEffect:
    """What changing one factor from ``reference`` to ``level`` does to a metric, all other factors held.

    ``together`` is the effect with an interval that holds for all main effects at once.
    """

    factor: str
    level: str
    reference: str
    effect: Estimate | NotMeasured
    together: Estimate | None = None


@dataclass(frozen=True)
class Interaction:
    """What changing a factor from ``reference`` to ``level`` does where another factor, ``by``, is ``at`` a level.

    ``there`` is that effect, the mean over all further factors; ``change`` is how it differs from that at ``by_first``,
    the level of the reference, and None at that one. ``together`` is the change with an interval that holds for all
    changes at once.
    """

    factor: str
    level: str
    reference: str
    by: str
    at: str
    by_first: str
    there: Estimate | NotMeasured
    change: Estimate | NotMeasured | None
    together: Estimate | None = None


@dataclass(frozen=True)
class FactorEffects:
    """Every effect, and how effects change with other factors.

    ``is_complete`` says whether every combination of levels has run with every seed.
    """

    effects: tuple[FactorEffect, ...]
    interactions: tuple[Interaction, ...]
    is_complete: bool


def estimate_effects(levels: Levels, values: Values, reference: str) -> FactorEffects:
    """Effects of all factors. ``levels`` gives the level of each factor for each arm, ``values`` its runs by seed.

    Differences are taken to the levels of the arm ``reference``, or of the first arm if it has none.
    """
    first = levels.get(reference) or next(iter(levels.values()))
    factors = {factor: list(dict.fromkeys(of_arm[factor] for of_arm in levels.values())) for factor in first}
    others = {factor: [level for level in factors[factor] if level != first[factor]] for factor in factors}
    seeds = {seed for arm in levels for seed in values.get(arm, {})}
    complete = [arm for arm in levels if len(values.get(arm, {})) == len(seeds) > 0]
    return FactorEffects(
        _estimate_main(levels, values, first, others),
        _estimate_interactions(levels, values, first, others),
        len(complete) == int(np.prod([len(of_factor) for of_factor in factors.values()])),
    )


def _estimate_main(
    levels: Levels, values: Values, first: Mapping[str, str], others: Mapping[str, Sequence[str]]
) -> tuple[FactorEffect, ...]:
    changes = [(factor, level) for factor in others for level in others[factor]]
    terms: list[Term] = [(), *((change,) for change in changes)]
    wanted_CP = np.eye(len(terms))[1:]
    found = _estimate_contrasts(levels, values, terms, wanted_CP, _CONFOUNDED)
    joint = iter(correct_intervals([effect for effect in found if isinstance(effect, Estimate)]))
    return tuple(
        FactorEffect(factor, level, first[factor], effect, next(joint) if isinstance(effect, Estimate) else None)
        for (factor, level), effect in zip(changes, found, strict=True)
    )


def _estimate_interactions(
    levels: Levels, values: Values, first: Mapping[str, str], others: Mapping[str, Sequence[str]]
) -> tuple[Interaction, ...]:
    """Of every pair of factors the earlier one's effect at each level of the later one."""
    pairs = list(itertools.combinations(others, 2))
    singles: list[Term] = [((factor, level),) for factor in others for level in others[factor]]
    doubles: list[Term] = [
        ((one, level), (other, at)) for one, other in pairs for level in others[one] for at in others[other]
    ]
    terms: list[Term] = [(), *singles, *doubles]

    def weigh(factor: str, level: str, by: str, at: str) -> NDArray[np.float64]:
        """What each parameter has of the effect of a level: itself, its pair with ``at``, of others their mean."""

        def share(term: Term) -> float:
            if (factor, level) not in term:
                return 0.0
            further = next((part for part in term if part != (factor, level)), None)
            if further is None:
                return 1.0
            return float(further[1] == at) if further[0] == by else 1 / (1 + len(others[further[0]]))

        return np.array([share(term) for term in terms])

    rows = [
        (factor, level, by, at)
        for factor, by in pairs
        for level in others[factor]
        for at in (first[by], *others[by])
        if others[by]
    ]
    if not rows:
        return ()
    there_CP = np.array([weigh(*row) for row in rows])
    base_CP = np.array([weigh(factor, level, by, first[by]) for factor, level, by, _ in rows])
    there = _estimate_contrasts(levels, values, terms, there_CP, _NO_PAIRS)
    changes = [
        None if at == first[by] else change
        for (*_, by, at), change in zip(
            rows, _estimate_contrasts(levels, values, terms, there_CP - base_CP, _NO_PAIRS), strict=True
        )
    ]
    joint = iter(correct_intervals([change for change in changes if isinstance(change, Estimate)]))
    return tuple(
        Interaction(
            factor,
            level,
            first[factor],
            by,
            at,
            first[by],
            effect,
            change,
            next(joint) if isinstance(change, Estimate) else None,
        )
        for (factor, level, by, at), effect, change in zip(rows, there, changes, strict=True)
    )


def _estimate_contrasts(
    levels: Levels, values: Values, terms: Sequence[Term], wanted_CP: NDArray[np.float64], reason: str
) -> list[Estimate | NotMeasured]:
    """The mean over seeds of each weighted sum of parameters, of the seeds whose runs determine it."""
    found: list[list[float]] = [[] for _ in wanted_CP]
    solve = _solver(levels, terms, wanted_CP)
    for seed in sorted({seed for arm in levels for seed in values.get(arm, {})}):
        arms = tuple(arm for arm in levels if seed in values.get(arm, {}))
        weights_CN, is_determined_C = solve(arms)
        sums_C = weights_CN @ np.array([values[arm][seed] for arm in arms])
        for place in np.flatnonzero(is_determined_C):
            found[place].append(float(sums_C[place]))
    return [estimate_mean(of_seeds) if of_seeds else NotMeasured(reason=reason) for of_seeds in found]


def _solver(
    levels: Levels, terms: Sequence[Term], wanted_CP: NDArray[np.float64]
) -> Callable[[tuple[str, ...]], tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """Of some arms the weights (C, N) that make the contrasts of their values, and which of these they determine.

    A contrast is determined where it is a mixture of rows of the design: every solution gives it the same value.
    """

    @cache
    def solve(arms: tuple[str, ...]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        design_NP = np.array(
            [[float(all(levels[arm][factor] == level for factor, level in term)) for term in terms] for arm in arms]
        )
        weights_CN = wanted_CP @ np.linalg.pinv(design_NP)
        return weights_CN, np.abs(weights_CN @ design_NP - wanted_CP).max(axis=1) < _EXACT

    return solve
