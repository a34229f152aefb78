"""Arms whose runs lie far apart, so that a mean and a t interval over them say little."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from vtbench.errors import format_names
from vtbench.metrics import Metric
from vtbench.reporting.comparisons import Arm, Comparison

FAR_POINTS, FAR_DEVIATIONS = 10.0, 3.0
"""A run is far from the others of its arm if it lies so many points and median absolute deviations from the median."""
WIDE_POINTS = 20.0
"""Runs of an arm are far apart if lowest and highest differ by so many points."""
_FEWEST = 3
"""Of two runs none is the odd one."""
_FEWEST_OF_GROUP, _FEWEST_TO_PART, _GAP_TO_SPAN = 2, 6, 1.5
"""A run beside all others is far from them, few runs have gaps by luck, and so have draws from one bell curve.

Of six such draws with a standard deviation of 8 points 3 % would be parted, of ten 0.3 %.
"""
_MOST_NAMED = 6

Run = tuple[int, float]
"""Seed and value."""


@dataclass(frozen=True)
class Scattered:
    """An arm with its lowest and highest run, and those far from its median with their signed distance in points.

    ``low_group`` and ``high_group`` are its runs on both sides of a gap, empty where they do not fall into two groups;
    of those that do none is the odd one.
    """

    name: str
    lowest: Run
    highest: Run
    far: tuple[Run, ...]
    low_group: tuple[Run, ...] = ()
    high_group: tuple[Run, ...] = ()


def find_scattered(comparison: Comparison) -> list[Scattered]:
    """The arms with a far run, or with runs far apart; of metrics in percent only, whose points have a size."""
    if comparison.metric.unit != "%":
        return []
    return [found for arm in comparison.arms if (found := _judge(arm)) is not None]


def tell_scattered(comparison: Comparison) -> Iterator[str]:
    """Which arms' runs lie far apart, which runs are far from the others, and what that means for the intervals."""
    found, metric = find_scattered(comparison), comparison.metric
    if not found:
        return
    ranges = [
        f"{one.name} from {_show(one.lowest, metric)} to {_show(one.highest, metric)}" for one in found[:_MOST_NAMED]
    ]
    more = f" and {len(found) - _MOST_NAMED} more arms" if len(found) > _MOST_NAMED else ""
    yield f"Runs of one arm lie far apart: {'; '.join(ranges)}{more}."
    groups = [_tell_groups(one, metric) for one in found if one.low_group]
    if groups:
        more = f"; {len(groups) - _MOST_NAMED} more arms, too" if len(groups) > _MOST_NAMED else ""
        yield f"Runs fall into two groups: {'; '.join(groups[:_MOST_NAMED])}{more}."
    far = [
        f"{one.name}, seed {seed} ({abs(away):.1f} {metric.difference_unit} {'below' if away < 0 else 'above'})"
        for one in found
        for seed, away in one.far
    ]
    if far:
        yield (
            f"Farther from the median of their arm than {FAR_POINTS:g} {metric.difference_unit} and "
            f"{FAR_DEVIATIONS:g} times the median absolute deviation: {'; '.join(far[:_MOST_NAMED])}"
            f"{f' and {len(far) - _MOST_NAMED} more runs' if len(far) > _MOST_NAMED else ''}."
        )
    yield (
        "A t interval takes the runs of an arm for draws from one bell curve. Where they fall into groups it is "
        "doubtful, and the mean may lie where no run does."
    )


def sum_up_scattered(comparison: Comparison) -> Iterator[str]:
    """The same in one sentence, for the answer."""
    found, metric = find_scattered(comparison), comparison.metric
    if found:
        low, high = min(one.lowest[1] for one in found), max(one.highest[1] for one in found)
        yield (
            f"Runs of one arm lie far apart ({format_names((one.name for one in found), most=_MOST_NAMED)}: "
            f"{low:.0f} to {metric.show(high, digits=0)}), so that means and intervals over them are doubtful."
        )


def _tell_groups(arm: Scattered, metric: Metric) -> str:
    """``a 6 runs up to 47.00 and 4 from 70.40 % on (seeds 0, 1, 3, 4)``: the seeds are those of the smaller group."""
    low, high = arm.low_group, arm.high_group
    fewer = low if len(low) <= len(high) else high
    seeds = f" (seeds {format_names((str(seed) for seed, _ in sorted(fewer)), most=_MOST_NAMED)})"
    return (
        f"{arm.name} {len(low)} runs up to {metric.format(low[-1][1])}{seeds if fewer is low else ''} and {len(high)} "
        f"from {metric.show(high[0][1])} on{seeds if fewer is high else ''}"
    )


def _judge(arm: Arm) -> Scattered | None:
    runs = sorted(
        ((seed, one.value) for seed, one in arm.outcomes.items() if isinstance(one.value, float)),
        key=lambda run: run[1],
    )
    if len(runs) < _FEWEST:
        return None
    is_wide = runs[-1][1] - runs[0][1] > WIDE_POINTS
    low, high = _part(runs) if is_wide and len(runs) >= _FEWEST_TO_PART else ((), ())
    far = () if low else tuple(_find_far(runs))
    return Scattered(arm.name, runs[0], runs[-1], far, low, high) if far or is_wide else None


def _part(runs: Sequence[Run]) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
    """The runs below and above the widest gap between neighbours, if it is wide beside what each group spans."""
    gaps = [(above[1] - below[1], place) for place, (below, above) in enumerate(itertools.pairwise(runs), 1)]
    gap, place = max(gaps)
    low, high = tuple(runs[:place]), tuple(runs[place:])
    span = max(group[-1][1] - group[0][1] for group in (low, high))
    parted = gap >= max(FAR_POINTS, _GAP_TO_SPAN * span) and min(len(low), len(high)) >= _FEWEST_OF_GROUP
    return (low, high) if parted else ((), ())


def _find_far(runs: Sequence[Run]) -> Iterator[Run]:
    middle = median(value for _, value in runs)
    deviation = median(abs(value - middle) for _, value in runs)
    for seed, value in runs:
        if abs(value - middle) > max(FAR_POINTS, FAR_DEVIATIONS * deviation):
            yield seed, value - middle


def _show(run: Run, metric: Metric) -> str:
    seed, value = run
    return f"{metric.format(value)} (seed {seed})"
