"""When a study that runs until it is decided stops: a rule declared beforehand, and what it says of the runs so far.

The verdicts follow from the rule and the values alone, so that a study that was killed, continued or archived comes to
the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from pydantic import Field, field_validator

from vtbench.configuration import MOST_SEEDS
from vtbench.stats.estimates import Estimate, estimate_mean
from vtbench.stats.sequential import SequentialDesign, Verdict, design_looks, judge
from vtbench.units import format_within
from vtbench.written import Configuration

FEWEST_SEEDS = 2


class StoppingRule(Configuration):
    """Looks at the differences, as numbers of seeds, and what decides them; written down before the first run.

    An arm is decided at the first look whose interval excludes zero, or lies within ``smallest_effect`` of it (in the
    unit of the difference; None: only the first). All intervals of all looks of the ``num_contrasts`` arms hold
    together with 95 %.
    """

    looks: tuple[int, ...]
    num_contrasts: int = Field(ge=1)
    smallest_effect: float | None = Field(None, gt=0)

    @field_validator("looks")
    @classmethod
    def _need_rising_looks(cls, looks: tuple[int, ...]) -> tuple[int, ...]:
        rising = all(earlier < later for earlier, later in pairwise(looks))
        if not (looks and rising and looks[0] >= FEWEST_SEEDS and looks[-1] <= MOST_SEEDS):
            raise ValueError(f"looks are numbers of seeds that rise from {FEWEST_SEEDS} to {MOST_SEEDS:,} at most")
        return looks

    @property
    def design(self) -> SequentialDesign:
        """The levels of the intervals at the looks."""
        return design_looks(self.looks, self.num_contrasts)


@dataclass(frozen=True)
class Decision:
    """What the last look that was needed says of one arm: ``estimate`` is the difference over ``estimate.n`` seeds."""

    verdict: Verdict
    estimate: Estimate


def decide(rule: StoppingRule, arm: Mapping[int, float], base: Mapping[int, float]) -> Decision | None:
    """The decision on ``arm`` against ``base``, both by seed; None where not even the first look is complete.

    Later seeds count for nothing once a look has decided, nor do seeds beyond the last complete look: whoever runs more
    of them must not be able to change the verdict.
    """
    last: Decision | None = None
    for seeds in rule.looks:
        if not all(seed in arm and seed in base for seed in range(seeds)):
            break
        estimate = rule.design.repeat(estimate_mean([arm[seed] - base[seed] for seed in range(seeds)]))
        last = Decision(judge(estimate, rule.smallest_effect), estimate)
        if last.verdict != "open":
            break
    return last


def describe_decision(decision: Decision) -> str:
    """``is above zero: +2.10 ± 1.70``, ``is still open: ...``; the unit is that of the difference."""
    half = decision.estimate.half_width
    mean = decision.estimate.mean
    told = format_within(mean, half, digits=2, sign="+") if isinstance(half, float) else f"{mean:+.2f}"
    said = {"open": "is still open", "negligible": "makes no difference that matters"}
    return f"{said.get(decision.verdict, f'is {decision.verdict}')}: {told}"
