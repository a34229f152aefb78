"""What a study answers to its question, in a few sentences drawn from its numbers, and what it cannot say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from vtbench.errors import format_names
from vtbench.metrics import Metric
from vtbench.records import NotMeasured, RunRecord
from vtbench.reporting.arm_settings import list_own_keys
from vtbench.reporting.comparisons import OUTCOME_DECIDED, Arm, Comparison
from vtbench.reporting.contrasts import (
    choose_digits,
    find_contrasts,
    refine_digits,
    show_points,
    tell_contrasts,
    tell_costs,
)
from vtbench.reporting.factor_answer import tell_effects
from vtbench.reporting.far_runs import sum_up_scattered
from vtbench.reporting.notes import FEWEST_FOR_SPREAD, find_detectable, tell_unjudged
from vtbench.stats.estimates import Estimate, PairedDifference
from vtbench.stats.stopping import StoppingRule, describe_decision
from vtbench.units import format_items

_MOST_NAMED = 4
"""Of more arms with a clear difference those of the largest ones are named."""
_RATE = "recipe.optimizer.learning_rate"


def answer_question(comparison: Comparison, *, tuned: Collection[str] = ()) -> list[str]:
    """Of the first comparison: differences that are shown, with size, direction and cost, or what could be missed.

    Of crossed factors their effects stand in place of the differences of single arms.
    Then where the other means lie, what single options do among arms, whether runs scatter too far to say so, and what
    is not judged. The ``tuned`` settings are no difference of arms.
    """
    if comparison.until is not None:
        return [*_tell_decisions(comparison, comparison.until), *sum_up_scattered(comparison)]
    if crossed := tell_effects(comparison):
        return [*crossed, *sum_up_scattered(comparison)]
    if not comparison.family:
        return list(_describe_means(comparison))
    return [
        *_conclude(comparison),
        *tell_contrasts(find_contrasts(comparison, tuned=tuned), comparison.metric),
        *sum_up_scattered(comparison),
        *tell_unjudged(comparison),
    ]


def _tell_decisions(comparison: Comparison, rule: StoppingRule) -> Iterator[str]:
    """What each arm was found to do to the base, and at which look a study ended that found too little."""
    unit = f"{comparison.metric.difference_unit} against {comparison.base}"
    decisions = {arm.name: arm.decision for arm in comparison.arms if arm.decision is not None}
    if not decisions:
        yield "The study runs until it is decided, and no look has been taken yet."
        return
    yield f"In {unit}, {'; '.join(f'{name} {describe_decision(one)}' for name, one in decisions.items())}."
    is_whole = all(outcome.state != "missing" for arm in comparison.arms for outcome in arm.outcomes.values())
    if is_whole and any(one.verdict == "open" and one.estimate.n == rule.looks[-1] for one in decisions.values()):
        yield (
            f"The last look, at {rule.looks[-1]} seeds, ended the study: what is open is neither shown to differ nor "
            "shown not to."
        )


def tell_limits(comparison: Comparison, *, tuned: Collection[str] = ()) -> str:
    """What runs of one data set, one recipe and a few seeds cannot say; ``tuned`` are the settings that were tuned."""
    records = comparison.records
    specs = list(dict.fromkeys(record.config.data.spec for record in records))
    train = _span(record.num_train for record in records)
    data = f"one data set, {specs[0]}" if len(specs) == 1 else f"the data sets {format_names(specs)}"
    own = [key for key in list_own_keys(records) if key not in tuned]
    finished = _span(
        sum(outcome.state == "finished" for outcome in arm.outcomes.values()) for arm in comparison.arms if arm.variant
    )
    seeds = f"{finished} seed{'' if finished == '1' else 's'}{' an arm' if ' to ' in finished else ''}"
    return (
        f"What it cannot say: it has {data} with {train} training images, {_tell_recipe(records, own, tuned)}, and "
        f"{seeds}. On other data, trained otherwise or longer, arms may rank otherwise."
    )


def _tell_recipe(records: Sequence[RunRecord], own: Sequence[str], tuned: Collection[str]) -> str:
    """The recipe and how long it is, what arms have of their own or were tuned in, and what of the learning rate."""
    recipe = records[0].config.recipe
    epochs = _span(record.config.recipe.epochs for record in records)
    length = f"{recipe.name} over {epochs} epoch{'' if epochs == '1' else 's'}"
    others = [
        f"{format_names(names)} {how} each arm"
        for keys, how in ((own, "given to"), (tuned, "tuned for"))
        if (names := [key.rpartition(".")[2] for key in keys if key != _RATE])
    ]
    but = f" (but {' and '.join(others)})" if others else ""
    if _RATE in tuned:
        rate = "tuned for each arm in a few trials"
    elif _RATE in own:
        rate = "given to each arm and not searched for further"
    else:
        rate = f"{recipe.optimizer.learning_rate:g} for all arms and tuned for none"
    return f"one recipe, {length}{but}, whose learning rate was {rate}"


def _span(numbers: Iterable[int]) -> str:
    """``5,000``, or ``2 to 5`` where they differ."""
    return " to ".join(f"{number:,}" for number in sorted({min(known), max(known)})) if (known := [*numbers]) else "0"


def _conclude(comparison: Comparison) -> Iterator[str]:
    """Which differences are clear of zero by the intervals that hold for all at once, and where the others lie."""
    base, metric, family = comparison.arms[0], comparison.metric, comparison.family
    clear = [arm for arm in family if not _includes_zero(arm)]
    unclear = [arm for arm in family if arm not in clear]
    for word, sign in (("above", 1), ("below", -1)):
        if found := sorted((arm for arm in clear if sign * _mean(arm) > 0), key=lambda arm: -abs(_mean(arm))):
            named = "; ".join(_tell_size(arm, base, metric) for arm in found[:_MOST_NAMED])
            num_more = max(0, len(found) - _MOST_NAMED)
            more = f"; and {format_items(num_more, 'more arm')} by less" if num_more else ""
            yield f"Shown to lie {word} {base.name}: {named}{more}."
    detectable = find_detectable(comparison)
    missed = (
        f" With {format_items(detectable[0], 'seed')}, true differences under "
        f"{show_points(detectable[1], metric, choose_digits(detectable[1], metric))} could have been missed."
        if detectable is not None
        else f" Fewer than {FEWEST_FOR_SPREAD} seeds do not say what could have been missed."
    )
    if not unclear:
        return
    if clear:
        others = format_names((arm.name for arm in unclear), most=_MOST_NAMED)
        yield f"No difference to {base.name} is shown for {others}.{missed}"
    else:
        yield f"No difference to {base.name} is shown.{missed}"
    yield f"{_locate(unclear, base, metric)}{tell_costs([(arm, base) for arm in unclear])}."


def _includes_zero(arm: Arm) -> bool:
    ends = arm.together.interval if arm.together is not None else None
    return ends is None or ends[0] <= 0 <= ends[1]


def _mean(arm: Arm) -> float:
    return arm.together.mean if arm.together is not None else 0.0


def _tell_size(arm: Arm, base: Arm, metric: Metric) -> str:
    """``a2 by 4 points (± 4) at 2 % more MACs``; the half width is that which holds for all arms."""
    half = arm.together.half_width if arm.together is not None else 0.0
    half = half if isinstance(half, float) else 0.0
    digits = choose_digits(half, metric)
    size = show_points(abs(_mean(arm)), metric, digits)
    return f"{arm.name} by {size} (± {metric.format(half, digits=digits)}){tell_costs([(arm, base)])}"


def _locate(arms: Sequence[Arm], base: Arm, metric: Metric) -> str:
    """Where the means of arms lie beside that of the base."""
    halves = [arm.together.half_width for arm in arms if arm.together is not None]
    digits = choose_digits(min(half for half in halves if isinstance(half, float)), metric)
    low, high = min(map(_mean, arms)), max(map(_mean, arms))
    digits = refine_digits((low, high), digits, metric)
    whose = f"The mean of {arms[0].name} lies" if len(arms) == 1 else f"The means of the {len(arms)} others lie"

    def say(value: float) -> str:
        return f"{show_points(abs(value), metric, digits)} {'above' if value > 0 else 'below'}"

    if low < 0 < high:
        return f"{whose} from {say(low)} to {say(high)} {base.name}"
    least, most = sorted((low, high), key=abs)
    if round(least, digits) != round(most, digits):
        return f"{whose} {metric.format(abs(least), digits=digits)} to {say(most)} {base.name}"
    return f"{whose} {say(most) if most else 'as high as that of'} {base.name}"


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
    alike = [(arm, mean.n) for arm, mean in means if metric.show(mean.mean) == metric.show(best.mean)]
    reached = f"{metric.label}, {metric.show(best.mean)} (n = {_span(n for _, n in alike)})"
    if len(alike) == len(means):
        yield f"{f'All {len(means)}' if len(means) > 2 else 'Both'} arms have the same {reached}."
    elif len(alike) > 1:
        yield f"Of {len(means)} arms {format_names([arm for arm, _ in alike])} have the best {reached}."
    else:
        against = "" if base is None or name == comparison.base else f", {comparison.base} {metric.show(base.mean)}"
        yield f"Of {len(means)} arms {name} has the best {reached}{against}."
    found = [arm.difference for arm in comparison.arms]
    halves = [one.estimate.half_width for one in found if isinstance(one, PairedDifference)]
    decided = [isinstance(half, NotMeasured) and half.reason == OUTCOME_DECIDED for half in halves]
    if decided and all(decided):
        yield "The outcome decided how many seeds there are, so that no difference has a plain interval."
    elif any(decided):
        yield "No difference has an interval, and not all for one reason: the notes name it for each."
    elif any(isinstance(one, PairedDifference) and len(one.seeds) > 1 for one in found):
        yield "Differences that are equal in all seeds have no interval: none of them is told from luck."
    elif isinstance(best.half_width, NotMeasured):
        yield f"From {format_items(best.n, 'seed')} no difference has an interval: none of them is told from luck."
    else:
        yield "No two arms share seeds enough for an interval of their difference: none of them is told from luck."
