"""Arms that differ in their number of tokens only, as curves of accuracy over it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from vtbench.catalog import load_catalog
from vtbench.reporting.comparisons import Arm, Comparison
from vtbench.settings import spell_setting
from vtbench.stats.estimates import Estimate

_NUMBER = re.compile(r"(?<=[:,])num_tokens=(\d+),?")


@dataclass(frozen=True)
class TokenCurve:
    """Arms alike but in their tokens, by rising number: (number, arm, mean). ``name`` is what they have in common."""

    name: str
    points: tuple[tuple[int, Arm, Estimate], ...]


def list_token_curves(comparison: Comparison) -> list[TokenCurve]:
    """Every set of two arms or more with numbers of tokens of their own; empty where no study varied them."""
    found: dict[str, list[tuple[int, Arm, Estimate]]] = {}
    for arm in comparison.arms:
        number = count_tokens(arm.variant)
        if number is not None and isinstance(arm.mean, Estimate):
            own = [f"{key}={spell_setting(value)}" for key, value in arm.treatment.items()]
            rest = _NUMBER.sub("", arm.variant).rstrip(",:")
            found.setdefault(" ".join((rest, *own)), []).append((number, arm, arm.mean))
    curves = [TokenCurve(name, tuple(sorted(points, key=lambda one: one[0]))) for name, points in found.items()]
    return [curve for curve in curves if len({number for number, _, _ in curve.points}) > 1]


def count_tokens(variant: str) -> int | None:
    """The number that the spelling names, else the model's own; None of a model without such an option."""
    if (named := _NUMBER.search(variant)) is not None:
        return int(named[1])
    return _load_defaults().get(variant.partition(":")[0])


@cache
def _load_defaults() -> dict[str, int]:
    return {
        entry.name: option.default
        for entry in load_catalog()
        for option in entry.options
        if option.name == "num_tokens" and isinstance(option.default, int)
    }
