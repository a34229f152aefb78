"""What a reader must know beside the tables of a report, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from vtbench.errors import format_names
from vtbench.metrics import Metric
from vtbench.records import NotMeasured
from vtbench.reporting.comparisons import Arm, Comparison
from vtbench.reporting.far_runs import tell_scattered
from vtbench.reporting.outline import name_arm
from vtbench.reporting.treatment import is_content_known
from vtbench.stats.estimates import Estimate, PairedDifference, find_spread
from vtbench.stats.power import POWER, count_needed_seeds, find_smallest_effect
from vtbench.stats.simultaneous import correct_level
from vtbench.stats.stopping import StoppingRule, describe_decision
from vtbench.units import format_items

FEWEST_FOR_SPREAD = 3
"""Of fewer seeds the spread is not known well enough to say what others would show."""


def list_notes(comparisons: Sequence[Comparison]) -> list[str]:
    """What a reader must know beside the tables: what ± is, why there is no interval, what is missing."""
    arms = [arm for comparison in comparisons for arm in comparison.arms]
    fixed = [arm for comparison in comparisons if comparison.until is None for arm in comparison.arms]
    estimates = [arm.mean for arm in arms if isinstance(arm.mean, Estimate)]
    notes = []
    if any(estimate.interval for estimate in estimates):
        notes.append(
            "± is the half width of the 95 % t interval over seeds. Differences are paired by seed, so that the seeds' "
            "shared luck cancels as far as the runs correlate (r, from 5 seeds on)."
        )
        notes.extend(dict.fromkeys(note for comparison in comparisons for note in _warn_of_pairing(comparison)))
    notes.extend(dict.fromkeys(_say_when(comparison) for comparison in comparisons))
    for number, comparison in enumerate(comparisons, 1):
        which = f"Comparison {number}: " if len(comparisons) > 1 else ""
        notes.extend(f"{which}{sentence}" for sentence in (*_judge(comparison), *tell_scattered(comparison)))
    notes.extend(dict.fromkeys(f"Note: {reason}." for reason in _list_missing_intervals(fixed)))
    notes.extend(dict.fromkeys(note for comparison in comparisons for note in _list_unlike_conditions(comparison)))
    notes.extend(dict.fromkeys(note for comparison in comparisons for note in _list_unlike_kernels(comparison)))
    notes.extend(dict.fromkeys(note for comparison in comparisons for note in _list_unknown_content(comparison)))
    for arm in arms:
        if isinstance(arm.costs, NotMeasured) and arm.variant:
            notes.append(f"{arm.name}: no costs, {arm.costs.reason}.")
    holes = [
        f"{arm.name}, seed {seed}"
        for arm in arms
        for seed, outcome in arm.outcomes.items()
        if outcome.state == "missing"
    ]
    if holes:
        notes.append(f"Not run yet ({len(holes)}): {'; '.join(holes)}.")
    return notes


def _warn_of_pairing(comparison: Comparison) -> Iterator[str]:
    """Say of arms whose runs go against those of the reference, seed by seed, what pairing does to them."""
    against = [
        arm.name
        for arm in comparison.arms
        if isinstance(arm.difference, PairedDifference)
        and isinstance(arm.difference.correlation, float)
        and arm.difference.correlation < 0
    ]
    if against:
        yield f"Where r is negative ({format_names(against)}), pairing by seed widens the interval of the difference."


def _say_when(comparison: Comparison) -> str:
    """Which epoch and which weights the headline metric is of."""
    averages = {record.config.recipe.ema_decay is not None for record in comparison.records}
    where = " where the recipe averages" if len(averages) > 1 else ""
    weights = f", of the averaged weights{where}" if True in averages else ""
    return (
        f"{comparison.metric.label} is that after the last epoch{weights}, on the validation images; no epoch was "
        "chosen by it."
    )


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


def _list_unlike_kernels(comparison: Comparison) -> Iterator[str]:
    """Say which arms were not compiled to the same kernels for all seeds, and which runs have none of one kind."""
    unlike, unsure = [], []
    for arm, runs in zip(comparison.arms, comparison.runs, strict=True):
        finished = {seed: run.kernels for seed, run in runs.items() if run.status == "finished"}
        if len({digest for kernels in finished.values() for digest in kernels if digest is not None}) > 1:
            unlike.append(arm.name)
        unsure += [f"{arm.name}, seed {seed}" for seed, kernels in finished.items() if None in kernels or kernels[1:]]
    if unlike:
        yield (
            f"Of {format_names(unlike)} not all steps were done with the same compiled kernels: these may round "
            "differently, which training amplifies."
        )
    if unsure:
        yield (
            f"Compiled runs that went on with other kernels, or of which these are not known ({len(unsure)}): "
            f"{'; '.join(unsure)}. Their bits are not promised to be those of uninterrupted runs."
        )


def judge_differences(comparison: Comparison) -> Iterator[str]:
    """Which differences are clear of zero by the intervals that hold for all of them at once."""
    family = comparison.family
    clear = [arm.name for arm in family if (ends := _join(arm)) and not ends[0] <= 0 <= ends[1]]
    open_still = [arm.name for arm in family if arm.name not in clear]
    together = "The interval" if len(family) == 1 else f"The interval that holds for all {len(family)} differences"
    if clear:
        yield f"{together} excludes zero for: {format_names(clear)}."
    if open_still:
        yield (
            f"{together} includes zero for: {format_names(open_still)}; the seeds run so far do not tell "
            f"{'this' if len(open_still) == 1 else 'these'} from {comparison.base}."
        )
    alone = [arm.name for arm in family if arm.name in open_still and _is_clear_alone(arm)]
    if alone:
        yield (
            f"Taken alone, the interval of {format_names(alone)} would exclude zero: among {len(family)} comparisons "
            "that is not rare by luck."
        )


def _judge(comparison: Comparison) -> Iterator[str]:
    """What a comparison says of its differences."""
    if comparison.until is not None:
        yield from _explain_rule(comparison, comparison.until)
        return
    if len(comparison.family) > 1:
        yield _explain_family(len(comparison.family))
    yield from judge_differences(comparison)
    yield from tell_unjudged(comparison)
    yield from tell_power(comparison)


def tell_unjudged(comparison: Comparison) -> Iterator[str]:
    """Which arms have no interval of their difference to the base, and why: one sentence a reason."""
    reasons: dict[str, list[str]] = {}
    for arm in comparison.arms[1:]:
        if arm.together is None or arm.together.interval is None:
            reasons.setdefault(_explain_unjudged(arm, comparison), []).append(arm.name)
    for reason, arms in reasons.items():
        yield f"Not judged: {format_names(arms)}: {reason}."


def _explain_unjudged(arm: Arm, comparison: Comparison) -> str:
    base = comparison.base
    for one, whose in (arm, ""), (comparison.arms[0], f"{base}, which differences are taken to: "):
        states = {outcome.state for outcome in one.outcomes.values()}
        if "finished" not in states:
            return f"{whose}{'every run failed' if states == {'failed'} else 'no run has finished'}"
    if not isinstance(arm.difference, PairedDifference):
        return f"no seed is finished by both it and {base}"
    if arm.difference.estimate.n == 1:
        seed = arm.difference.seeds[0]
        return (
            f"it shares one finished seed with {base} (seed {seed}), and one difference says nothing about the spread"
        )
    half = arm.difference.estimate.half_width
    return half.reason if isinstance(half, NotMeasured) else "no interval"


def _explain_rule(comparison: Comparison, rule: StoppingRule) -> Iterator[str]:
    """When the study was to stop, when and why it did, and what a number of seeds fixed beforehand would have been."""
    metric = comparison.metric
    matters = (
        f", or lies within {_format(rule.smallest_effect, metric)} of it" if rule.smallest_effect is not None else ""
    )
    yield (
        f"The study runs until it is decided: its looks were fixed beforehand at {', '.join(map(str, rule.looks))} "
        f"seeds, and an arm runs until the interval of its difference excludes zero{matters}. The ± of differences "
        f"holds for {format_items(rule.num_contrasts, 'arm')} at all looks together with 95 %, wider than a plain one; "
        "means have none, since the outcome decided how many seeds they have."
    )
    decisions = [(arm, arm.decision) for arm in comparison.arms if arm.decision is not None]
    for arm, decision in decisions:
        last = " (the last look)" if decision.estimate.n == rule.looks[-1] else ""
        yield f"{arm.name}, at the look at {decision.estimate.n} seeds{last}, {describe_decision(decision)}."
    spreads = [find_spread(one.estimate) for _, one in decisions if one.estimate.interval and one.estimate.n > 2]
    if spreads:
        level, effect = correct_level(rule.num_contrasts), rule.smallest_effect or 1.0
        needed = count_needed_seeds(effect, median(spreads), level=level)
        ran = sum(outcome.state == "finished" for arm in comparison.arms for outcome in arm.outcomes.values())
        wanted = needed if isinstance(needed, NotMeasured) else needed * len(comparison.arms)
        yield (
            f"It took {ran} runs. A fixed number of seeds that finds {_format(effect, metric)} with a chance of "
            f"{100 * POWER:.0f} %, at the median spread of {_format(median(spreads), metric)}, takes "
            f"{wanted.reason if isinstance(wanted, NotMeasured) else f'{wanted:,} runs ({needed:,} seeds)'}."
        )


def _explain_family(num_comparisons: int) -> str:
    return (
        f"± all {num_comparisons} is the half width for which the intervals of all {num_comparisons} differences "
        f"hold together with 95 % (each of {100 * correct_level(num_comparisons):.2f} %, after Šidák). The next "
        "sentences go by it."
    )


def _join(arm: Arm) -> tuple[float, float] | None:
    return arm.together.interval if arm.together is not None else None


def _is_clear_alone(arm: Arm) -> bool:
    ends = arm.difference.estimate.interval if isinstance(arm.difference, PairedDifference) else None
    return ends is not None and not ends[0] <= 0 <= ends[1]


def tell_power(comparison: Comparison) -> Iterator[str]:
    """What effect the seeds at hand would find, and how many others would take."""
    family = comparison.family
    estimates = _list_spreading(comparison)
    if not estimates:
        return
    metric, level = comparison.metric, correct_level(len(family))
    spread, seeds = median(find_spread(estimate) for estimate in estimates), min(one.n for one in estimates)
    found = {n: _format(find_smallest_effect(spread, n, level=level), metric) for n in (seeds, 2 * seeds, 4 * seeds)}
    at_first, *later = (f"{n} seeds find {effect}" for n, effect in found.items())
    needed = count_needed_seeds(1.0, spread, level=level)
    yield (
        f"True differences that are found so with a chance of {100 * POWER:.0f} %, at the median spread of "
        f"{_format(spread, metric)}: {at_first}, {', '.join(later)}; one of {_format(1.0, metric)} takes "
        f"{needed.reason if isinstance(needed, NotMeasured) else f'{needed:,} seeds'}."
    )


def find_detectable(comparison: Comparison) -> tuple[int, float] | None:
    """The seeds of the arm that has fewest, and what true difference they find so with a chance of 80 %."""
    estimates = _list_spreading(comparison)
    if not estimates:
        return None
    spread, seeds = median(map(find_spread, estimates)), min(one.n for one in estimates)
    return seeds, find_smallest_effect(spread, seeds, level=correct_level(len(comparison.family)))


def _list_spreading(comparison: Comparison) -> list[Estimate]:
    """The differences of seeds enough for their spread to be known."""
    joint = [arm.together for arm in comparison.family if arm.together is not None]
    return [one for one in joint if one.n >= FEWEST_FOR_SPREAD]


def _format(value: float, metric: Metric) -> str:
    return f"{metric.format(value)} {metric.difference_unit}"


def _list_missing_intervals(arms: Sequence[Arm]) -> Iterator[str]:
    """Why means have no interval, with the arms; differences that have none are not judged, which is said of them."""
    reasons: dict[str, list[str]] = {}
    for arm in arms:
        if isinstance(arm.difference, PairedDifference) and arm.difference.estimate.n == 2:
            yield "n = 2: an interval from two seeds is so wide that it says little; take three or more"
        if isinstance(arm.mean, Estimate) and isinstance(arm.mean.half_width, NotMeasured):
            reasons.setdefault(arm.mean.half_width.reason, []).append(arm.name)
    for reason, names in reasons.items():
        yield f"{'the mean of every arm' if len(names) == len(arms) else format_names(names)}: {reason}"
