"""A comparison as a table of words, the same for every human format, and as rows of raw numbers for machines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vtbench.documents.table import NOTHING, Table, make_table
from vtbench.metrics import Metric
from vtbench.records import CostRecord, NotMeasured
from vtbench.reporting.comparisons import Arm, Comparison, Outcome, Score
from vtbench.stats.estimates import Estimate, PairedDifference
from vtbench.units import format_half_width, format_items, format_millions, format_within

TABLES_FOLDER = "tables"
"""Where the files of tables lie beside a report."""
PLUS_MINUS = "±"
REFERENCE = "reference"
"""What the arm is to which differences are taken."""
MOST_SEEDS_SHOWN = 24
"""Of more seeds a terminal shows no table, and the page shows the runs with each arm only."""


def tabulate_summary(comparison: Comparison) -> Table:
    """One row an arm: parameters, MACs, the headline metric and the paired difference to the reference.

    Of several arms with an interval the half width that holds for all at once is added, and the correlation where any
    arm has one; of a study that runs until it is decided, what is decided.
    """
    metric, family = comparison.metric, len(comparison.family)
    against = f"against {comparison.base} ({metric.difference_unit})"
    correlated = any(format_correlation(arm) != NOTHING for arm in comparison.arms)
    columns = {
        "arm": lambda arm: arm.name,
        "params (M)": lambda arm: format_costs(arm.costs)[0],
        "MACs (M)": lambda arm: format_costs(arm.costs)[1],
        metric.head: lambda arm: format_estimate(arm.mean, metric),
        "n": count_finished,
        against: lambda arm: format_difference(arm, metric),
        f"{PLUS_MINUS} all {family}": lambda arm: _format_together(arm, metric),
        "decided": _format_decision,
        "r": format_correlation,
    }
    hidden = {"decided"} if comparison.until is None else {f"{PLUS_MINUS} all {family}"}
    hidden |= {f"{PLUS_MINUS} all {family}"} if family < 2 else set()
    hidden |= set() if correlated else {"r"}
    shown = [title for title in columns if title not in hidden]
    rows = [[columns[title](arm) for title in shown] for arm in comparison.arms]
    return make_table(shown, rows, numbers=[title for title in shown if title not in ("arm", "decided")])


def tabulate_seeds(comparison: Comparison) -> Table:
    """One row an arm, one column a seed: the headline metric, ``failed``, or a dash for a hole."""
    metric = comparison.metric
    header = (metric.head, *(f"seed {seed}" for seed in comparison.seeds))
    rows = tuple(
        (arm.name, *(format_outcome(arm.outcomes[seed], metric) for seed in comparison.seeds))
        for arm in comparison.arms
    )
    return Table(header, rows, (False, *(True,) * len(comparison.seeds)))


def list_numbers(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """One flat dictionary an arm: raw integers, metrics to six decimals; None where there is no number."""
    for arm in comparison.arms:
        yield {
            "arm": arm.name,
            "variant": arm.variant or None,
            "params": arm.costs.params if isinstance(arm.costs, CostRecord) else None,
            "macs": arm.costs.macs if isinstance(arm.costs, CostRecord) else None,
            **number_score(arm, comparison.metric, comparison.base),
            "difference_half_width_for_all": _plain(arm.together.half_width) if arm.together else None,
            **({} if comparison.until is None else {"decided": arm.decision.verdict if arm.decision else None}),
            **{
                f"seed_{seed}_{comparison.metric.key}": _outcome_number(arm.outcomes[seed]) for seed in comparison.seeds
            },
        }


def number_score(score: Score, metric: Metric, base: str) -> dict[str, Any]:
    """Mean and paired difference as plain numbers to six decimals; None where there is none."""
    mean = score.mean if isinstance(score.mean, Estimate) else None
    paired = score.difference if isinstance(score.difference, PairedDifference) else None
    return {
        metric.key: _plain(mean.mean) if mean else None,
        f"{metric.key.removesuffix('_percent')}_half_width": _plain(mean.half_width) if mean else None,
        "n": mean.n if mean else 0,
        "base": base,
        f"difference_{metric.difference_unit}": _plain(paired.estimate.mean) if paired else None,
        "difference_half_width": _plain(paired.estimate.half_width) if paired else None,
        "difference_n": paired.estimate.n if paired else None,
        "correlation": _plain(paired.correlation) if paired else None,
    }


def format_costs(costs: CostRecord | NotMeasured) -> tuple[str, str]:
    """Parameters and MACs in millions."""
    if isinstance(costs, NotMeasured):
        return NOTHING, NOTHING
    return format_millions(costs.params, digits=3), format_millions(costs.macs)


def format_estimate(estimate: Estimate | NotMeasured, metric: Metric, *, sign: str = "") -> str:
    """``71.50 ± 0.42``, ``71.5 ± 4.2``; ``71.50 (n = 1)`` without an interval. What rounds to zero has no minus."""
    if isinstance(estimate, NotMeasured):
        return NOTHING
    if isinstance(estimate.half_width, NotMeasured):
        return f"{estimate.mean:{sign}z.{metric.digits}f} (n = {estimate.n})"
    return format_within(estimate.mean, estimate.half_width, digits=metric.digits, sign=sign)


def format_difference(score: Score, metric: Metric) -> str:
    """The paired difference with its interval; the n is named where it is not that of the arm's own mean."""
    if score.difference is None:
        return REFERENCE
    if isinstance(score.difference, NotMeasured):
        return NOTHING
    text = format_estimate(score.difference.estimate, metric, sign="+")
    own = score.mean.n if isinstance(score.mean, Estimate) else 0
    shown = "(n =" in text or score.difference.estimate.n == own
    return text if shown else f"{text} (n = {score.difference.estimate.n})"


def _format_together(arm: Arm, metric: Metric) -> str:
    if arm.together is None or isinstance(arm.together.half_width, NotMeasured):
        return NOTHING
    return format_half_width(arm.together.half_width, digits=metric.digits)


def _format_decision(arm: Arm) -> str:
    """What was decided, and with how many seeds."""
    if arm.difference is None:
        return NOTHING
    if arm.decision is None:
        return "no look yet"
    return f"{arm.decision.verdict} ({format_items(arm.decision.estimate.n, 'seed')})"


def format_correlation(arm: Arm) -> str:
    """Pearson's r over the shared seeds."""
    if not isinstance(arm.difference, PairedDifference) or isinstance(arm.difference.correlation, NotMeasured):
        return NOTHING
    return f"{arm.difference.correlation:.2f}"


def count_finished(arm: Arm) -> str:
    """``3``, or ``2 of 3`` where cells failed, are missing or stand apart."""
    needed = [outcome for outcome in arm.outcomes.values() if outcome.state != "not needed"]
    finished = sum(outcome.state == "finished" for outcome in needed)
    return str(finished) if finished == len(needed) else f"{finished} of {len(needed)}"


def format_outcome(outcome: Outcome, metric: Metric) -> str:
    """The number of one run, ``failed``, ``apart`` in another comparison, or a dash for a hole."""
    if isinstance(outcome.value, NotMeasured):
        return outcome.state if outcome.state in ("failed", "apart") else NOTHING
    return metric.format(outcome.value)


def _plain(value: float | NotMeasured) -> float | None:
    """The number to six decimals: beyond them it depends on the machine that adds up."""
    return None if isinstance(value, NotMeasured) else round(value, 6)


def _outcome_number(outcome: Outcome) -> float | str:
    return outcome.state if isinstance(outcome.value, NotMeasured) else outcome.value
