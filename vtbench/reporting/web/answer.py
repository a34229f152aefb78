"""What a study answers to its question, in a few sentences drawn from its numbers."""

from __future__ import annotations

from collections.abc import Iterator

from vtbench.records import NotMeasured
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.notes import judge_differences, tell_power, tell_unjudged
from vtbench.stats.estimates import Estimate
from vtbench.stats.stopping import describe_decision
from vtbench.units import format_items


def answer_question(comparison: Comparison) -> list[str]:
    """Of the first comparison: what is decided, and else what the seeds could have shown; then what is not judged."""
    if comparison.until is not None:
        said = [
            f"{arm.name}: {describe_decision(arm.decision)}." for arm in comparison.arms if arm.decision is not None
        ]
        return [" ".join(said)] if said else ["The study runs until it is decided, and no look has been taken yet."]
    sentences = [*judge_differences(comparison), *tell_power(comparison)]
    return [*sentences[:2], *tell_unjudged(comparison)] if sentences else list(_describe_means(comparison))


def _describe_means(comparison: Comparison) -> Iterator[str]:
    """Where no difference has an interval: what was reached, and that it decides nothing."""
    metric = comparison.metric
    means = [(arm.name, arm.mean) for arm in comparison.arms if isinstance(arm.mean, Estimate)]
    if not means:
        yield "No run has finished yet: there is nothing to answer from."
        return
    name, best = max(means, key=lambda one: metric.rank(one[1].mean))
    if len(means) == 1:
        yield f"{name} reached {metric.label} {metric.show(best.mean)} (n = {best.n})."
        return
    base = next((mean for arm, mean in means if arm == comparison.base), None)
    against = "" if base is None or name == comparison.base else f", {comparison.base} {metric.show(base.mean)}"
    yield f"Of {len(means)} arms {name} has the best {metric.label}, {metric.show(best.mean)} (n = {best.n}){against}."
    if isinstance(best.half_width, NotMeasured):
        yield f"From {format_items(best.n, 'seed')} no difference has an interval: none of them is told from luck."
    else:
        yield "No two arms share seeds enough for an interval of their difference: none of them is told from luck."
