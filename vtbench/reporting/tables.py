"""A comparison as a table of words, the same for every human format, and as rows of raw numbers for machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from vtbench.documents.table import NOTHING, Table
from vtbench.metrics import Metric
from vtbench.records import CostRecord, NotMeasured
from vtbench.reporting.comparisons import Arm, Comparison, Outcome, Score
from vtbench.reporting.outline import name_arm
from vtbench.reporting.treatment import is_content_known
from vtbench.stats.estimates import Estimate, PairedDifference
from vtbench.units import format_items, format_millions

PLUS_MINUS = "±"


def tabulate_summary(comparison: Comparison) -> Table:
    """One row an arm: parameters, MACs, the headline metric and the paired difference to the base."""
    metric = comparison.metric
    against = f"against {comparison.base} ({metric.difference_unit})"
    header = ("arm", "params (M)", "MACs (M)", metric.head, "n", against, "r")
    rows = tuple(
        (
            arm.name,
            *format_costs(arm.costs),
            format_estimate(arm.mean, metric),
            count_finished(arm),
            format_difference(arm, metric),
            format_correlation(arm),
        )
        for arm in comparison.arms
    )
    return Table(header, rows, (False, *(True,) * 6))


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


def list_notes(comparisons: Sequence[Comparison]) -> list[str]:
    """What a reader must know beside the tables: what ± is, why there is no interval, what failed, what is missing."""
    arms = [arm for comparison in comparisons for arm in comparison.arms]
    estimates = [arm.mean for arm in arms if isinstance(arm.mean, Estimate)]
    notes = []
    if any(estimate.interval for estimate in estimates):
        notes.append(
            "± is the half width of the 95 % t interval over seeds. Differences are paired by seed, so that the seeds' "
            "shared luck cancels as far as the runs correlate: r is that correlation."
        )
    notes.extend(_judge_differences(arms))
    notes.extend(dict.fromkeys(f"Note: {reason}." for reason in _list_missing_intervals(arms)))
    notes.extend(dict.fromkeys(note for comparison in comparisons for note in _list_unlike_conditions(comparison)))
    notes.extend(dict.fromkeys(note for comparison in comparisons for note in _list_unknown_content(comparison)))
    for arm in arms:
        if isinstance(arm.costs, NotMeasured) and arm.variant:
            notes.append(f"{arm.name}: no costs, {arm.costs.reason}.")
        for seed, outcome in arm.outcomes.items():
            if outcome.state == "failed" and isinstance(outcome.value, NotMeasured):
                notes.append(f"Failed: {arm.name}, seed {seed}: {_first_line(outcome.value.reason)}")
    holes = [
        f"{arm.name}, seed {seed}"
        for arm in arms
        for seed, outcome in arm.outcomes.items()
        if outcome.state == "missing"
    ]
    if holes:
        notes.append(f"Not run yet ({len(holes)}): {'; '.join(holes)}.")
    return notes


def format_costs(costs: CostRecord | NotMeasured) -> tuple[str, str]:
    """Parameters and MACs in millions."""
    if isinstance(costs, NotMeasured):
        return NOTHING, NOTHING
    return format_millions(costs.params, digits=3), format_millions(costs.macs)


def format_estimate(estimate: Estimate | NotMeasured, metric: Metric, *, sign: str = "") -> str:
    """``71.50 ± 0.42``; ``71.50 (n = 1)`` where there is no interval."""
    if isinstance(estimate, NotMeasured):
        return NOTHING
    if isinstance(estimate.half_width, NotMeasured):
        return f"{estimate.mean:{sign}.{metric.digits}f} (n = {estimate.n})"
    return f"{estimate.mean:{sign}.{metric.digits}f} {PLUS_MINUS} {metric.format(estimate.half_width)}"


def format_difference(score: Score, metric: Metric) -> str:
    """The paired difference with its interval; the n is named where it is not that of the arm's own mean."""
    if score.difference is None:
        return "base"
    if isinstance(score.difference, NotMeasured):
        return NOTHING
    text = format_estimate(score.difference.estimate, metric, sign="+")
    own = score.mean.n if isinstance(score.mean, Estimate) else 0
    shown = "(n =" in text or score.difference.estimate.n == own
    return text if shown else f"{text} (n = {score.difference.estimate.n})"


def format_correlation(arm: Arm) -> str:
    """Pearson's r over the shared seeds."""
    if not isinstance(arm.difference, PairedDifference) or isinstance(arm.difference.correlation, NotMeasured):
        return NOTHING
    return f"{arm.difference.correlation:.2f}"


def count_finished(arm: Arm) -> str:
    """``3``, or ``2 of 3`` where cells failed or are missing."""
    finished = sum(outcome.state == "finished" for outcome in arm.outcomes.values())
    return str(finished) if finished == len(arm.outcomes) else f"{finished} of {len(arm.outcomes)}"


def format_outcome(outcome: Outcome, metric: Metric) -> str:
    """The number of one run, ``failed``, or a dash for a hole."""
    if isinstance(outcome.value, NotMeasured):
        return "failed" if outcome.state == "failed" else NOTHING
    return metric.format(outcome.value)


def _list_unknown_content(comparison: Comparison) -> Iterator[str]:
    """Say of which runs it is not known that they saw the data of the other seeds, where it is known of some."""
    certified = [record for record in comparison.records if record.certificate is not None]
    unknown = [record for record in certified if not is_content_known(record)]
    if unknown and len(unknown) < len(certified) and len(comparison.seeds) > 1:
        named = "; ".join(f"{name_arm(record)}, seed {record.seed}" for record in unknown)
        yield (
            f"Of {len(unknown)} of {len(certified)} runs ({named}) the content of the data was not recorded: whether "
            "they saw the data of the other seeds is judged by where these lay."
        )


def _list_unlike_conditions(comparison: Comparison) -> Iterator[str]:
    """Say so where the finished arms of one seed did not all run on the same processor, threads and torch."""
    conditions: dict[int, dict[str, None]] = {}
    for record in comparison.records:
        if record.status != "finished":
            continue
        where = record.environment
        threads = format_items(where.threads, "thread")
        name = f"{where.device_name}, {threads}, torch {where.packages.get('torch', 'unknown')}"
        conditions.setdefault(record.seed, {})[name] = None
    mixed = dict.fromkeys(name for names in conditions.values() if len(names) > 1 for name in names)
    if mixed:
        yield (
            f"Runs of one seed were made under unlike conditions ({'; '.join(mixed)}): these may round differently, "
            "which training amplifies, so that the differences hold luck that the arms do not share."
        )


def _judge_differences(arms: Sequence[Arm]) -> Iterator[str]:
    """Which differences are clear of zero, each interval taken by itself."""
    paired = [(arm.name, arm.difference.estimate) for arm in arms if isinstance(arm.difference, PairedDifference)]
    clear = [name for name, estimate in paired if (ends := estimate.interval) and not ends[0] <= 0 <= ends[1]]
    open_still = [name for name, estimate in paired if (ends := estimate.interval) and ends[0] <= 0 <= ends[1]]
    if clear:
        yield f"The interval excludes zero for: {', '.join(clear)}."
    if open_still:
        yield f"The interval includes zero for: {', '.join(open_still)}; the seeds run so far do not tell these apart."


def _list_missing_intervals(arms: Sequence[Arm]) -> Iterator[str]:
    for arm in arms:
        estimates = [arm.mean] if isinstance(arm.mean, Estimate) else []
        if isinstance(arm.difference, PairedDifference):
            estimates.append(arm.difference.estimate)
            if isinstance(arm.difference.correlation, NotMeasured) and arm.difference.estimate.n > 1:
                yield arm.difference.correlation.reason
        for estimate in estimates:
            if isinstance(estimate.half_width, NotMeasured):
                yield estimate.half_width.reason


def _plain(value: float | NotMeasured) -> float | None:
    """The number to six decimals: beyond them it depends on the machine that adds up."""
    return None if isinstance(value, NotMeasured) else round(value, 6)


def _outcome_number(outcome: Outcome) -> float | str:
    return outcome.state if isinstance(outcome.value, NotMeasured) else outcome.value


def _first_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if text.startswith("Traceback") else lines[0] if lines else "no message"
