"""Two results beside each other, arm by arm: what each came to, the paired difference, and what was not the same."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vtbench.documents.table import NOTHING, Table, make_table
from vtbench.errors import format_names
from vtbench.files import resolve
from vtbench.metrics import Metric
from vtbench.records import NotMeasured, RunRecord
from vtbench.reporting.comparisons import withhold
from vtbench.reporting.outline import name_arm
from vtbench.reporting.tables import format_estimate
from vtbench.reporting.treatment import find_changed_settings, find_differences
from vtbench.settings import read_treatment
from vtbench.stats.estimates import Estimate, PairedDifference, estimate_difference, estimate_mean
from vtbench.stats.simultaneous import correct_intervals
from vtbench.units import format_half_width, format_items

Pair = tuple[RunRecord, RunRecord]


@dataclass(frozen=True)
class SideBySide:
    """One arm in both results. ``difference`` is new minus old over the seeds that both finished.

    ``unlike`` says, with both values, what keeps the two from being compared; ``changed`` what else is not the same.
    ``together`` is the difference with an interval that holds for all arms at once.
    """

    arm: str
    old: Estimate | NotMeasured
    new: Estimate | NotMeasured
    difference: PairedDifference | NotMeasured
    unlike: tuple[str, ...]
    changed: tuple[str, ...]
    together: Estimate | None = None


@dataclass(frozen=True)
class TwoResults:
    """Two folders that hold runs of the same arms. ``alone`` are arms that only one of them has."""

    old: str
    new: str
    metric: Metric
    arms: tuple[SideBySide, ...]
    alone: tuple[str, ...]


def compare_results(
    folders: Sequence[Path],
    old: Sequence[RunRecord],
    new: Sequence[RunRecord],
    *,
    order: Sequence[str] = (),
    stopped: tuple[Collection[str], Collection[str]] = ((), ()),
) -> TwoResults | None:
    """The two beside each other, arms in ``order``; None where no arm has a seed in both: parts of one result.

    ``stopped`` are the arms of each of which the outcome decided how many seeds they have: their means have no plain
    interval, and no difference to them has one.
    """
    ours, theirs = _sort(old, order), _sort(new, order)
    shared = [arm for arm in ours if arm in theirs and ours[arm].keys() & theirs[arm].keys()]
    if not shared or old[0].task != new[0].task:
        return None
    metric = old[0].metric
    arms = [
        _compare_arm(arm, ours[arm], theirs[arm], are_stopped=(arm in stopped[0], arm in stopped[1])) for arm in shared
    ]
    single = {one.arm: one.difference.estimate for one in arms if isinstance(one.difference, PairedDifference)}
    joined = dict(zip(single, correct_intervals(list(single.values())), strict=True))
    arms = [SideBySide(**{**vars(one), "together": joined.get(one.arm)}) for one in arms]
    names = _tell_apart(folders)
    alone = tuple(
        f"{arm} ({name})"
        for name, own, other in zip(names, (ours, theirs), (theirs, ours), strict=True)
        for arm in own
        if arm not in other
    )
    return TwoResults(*names, metric, tuple(arms), alone)


def tabulate_sides(results: TwoResults) -> Table:
    """One row an arm: both means, the paired difference with its interval, the half width for all arms at once."""
    metric = results.metric
    header = (
        "arm",
        f"old: {metric.head}",
        f"new: {metric.head}",
        "seeds",
        f"new against old ({metric.difference_unit})",
        f"± all {len(results.arms)}",
    )
    rows = []
    for one in results.arms:
        paired = one.difference if isinstance(one.difference, PairedDifference) else None
        half = one.together.half_width if one.together is not None else None
        rows.append(
            (
                one.arm,
                format_estimate(one.old, metric),
                format_estimate(one.new, metric),
                str(paired.estimate.n) if paired else NOTHING,
                format_estimate(paired.estimate, metric, sign="+") if paired else "not comparable",
                format_half_width(half, digits=metric.digits) if isinstance(half, float) else NOTHING,
            )
        )
    table = make_table(header, rows, numbers=header[1:])
    return table if len(results.arms) > 1 else table.without(header[-1])


def list_side_notes(results: TwoResults) -> list[str]:
    """Which folder is which, what is clear of zero, what keeps arms from being compared and what else changed."""
    notes = [f"Old: {results.old}; new: {results.new}. Differences are new minus old, paired by seed."]
    judged = [one for one in results.arms if one.together is not None and one.together.interval is not None]
    clear = [one.arm for one in judged if (ends := one.together.interval) and not ends[0] <= 0 <= ends[1]]  # type: ignore[union-attr]
    if judged:
        told = f"excludes zero for: {format_names(clear)}" if clear else "excludes zero for none"
        notes.append(f"The interval that holds for {format_items(len(judged), 'arm')} together {told}.")
    notes += _gather("No ±", {one.arm: _explain_no_interval(one) for one in results.arms})
    notes += _gather("Not comparable", {one.arm: one.unlike for one in results.arms})
    notes += _gather("Also not the same", {one.arm: one.changed for one in results.arms})
    if results.alone:
        notes.append(f"Only in one of the two: {', '.join(results.alone)}.")
    return notes


def list_side_numbers(results: TwoResults) -> dict[str, Any]:
    """The same as plain numbers."""
    return {"old": results.old, "new": results.new, "arms": [_flatten(one) for one in results.arms]}


def _flatten(one: SideBySide) -> dict[str, Any]:
    paired = one.difference.estimate if isinstance(one.difference, PairedDifference) else None
    half = paired.half_width if paired else None
    return {
        "arm": one.arm,
        "old": round(one.old.mean, 6) if isinstance(one.old, Estimate) else None,
        "new": round(one.new.mean, 6) if isinstance(one.new, Estimate) else None,
        "difference": round(paired.mean, 6) if paired else None,
        "difference_half_width": round(half, 6) if isinstance(half, float) else None,
        "n": paired.n if paired else 0,
        "not_comparable_because": list(one.unlike),
        "also_changed": list(one.changed),
    }


def _sort(records: Sequence[RunRecord], order: Sequence[str]) -> dict[str, dict[int, RunRecord]]:
    """Runs by arm and seed; arms in ``order``, others after these as they come."""
    arms: dict[str, dict[int, RunRecord]] = {}
    for record in records:
        arms.setdefault(name_arm(record), {}).setdefault(record.seed, record)
    return {arm: arms[arm] for arm in dict.fromkeys((*order, *arms)) if arm in arms}


def _compare_arm(
    arm: str, old: Mapping[int, RunRecord], new: Mapping[int, RunRecord], *, are_stopped: tuple[bool, bool]
) -> SideBySide:
    pairs = [(old[seed], new[seed]) for seed in sorted(old.keys() & new.keys())]
    unlike = tuple(dict.fromkeys(phrase for pair in pairs for phrase in _find_unlike(pair)))
    changed = tuple(dict.fromkeys(phrase for pair in pairs for phrase in _find_changed(pair)))
    before, after = _read(old), _read(new)
    difference: PairedDifference | NotMeasured = NotMeasured(reason="; ".join(unlike))
    if not unlike:
        difference = estimate_difference(after, before)
    if any(are_stopped) and isinstance(difference, PairedDifference):
        difference = replace(difference, estimate=withhold(difference.estimate))
    means = [_mean(values, is_stopped=one) for values, one in zip((before, after), are_stopped, strict=True)]
    return SideBySide(arm, means[0], means[1], difference, unlike, changed)


def _read(runs: Mapping[int, RunRecord]) -> dict[int, float]:
    return {seed: value for seed, run in sorted(runs.items()) if isinstance(value := run.headline, float)}


def _mean(values: Mapping[int, float], *, is_stopped: bool) -> Estimate | NotMeasured:
    if not values:
        return NotMeasured(reason="no finished run")
    mean = estimate_mean(list(values.values()))
    return withhold(mean) if is_stopped else mean


def _find_unlike(pair: Pair) -> Iterator[str]:
    """What two arms of one study would have to share, each with its values where these can be told."""
    phrases = [phrase for phrase in find_differences(*pair) if phrase != "network"]
    if phrases:
        settings = find_changed_settings(*pair)
        yield from settings
        yield from (_add_hashes(phrase, pair) for phrase in phrases if not (settings and phrase == "settings"))


def _explain_no_interval(one: SideBySide) -> tuple[str, ...]:
    """Why a difference stands alone; nothing where it has an interval, or where there is none."""
    half = one.difference.estimate.half_width if isinstance(one.difference, PairedDifference) else None
    return (half.reason,) if isinstance(half, NotMeasured) else ()


def _add_hashes(phrase: str, pair: Pair) -> str:
    values = [getattr(one.certificate, phrase.replace(" ", "_"), None) for one in pair]
    return f"{phrase}: {values[0][:12]} and {values[1][:12]}" if all(values) else phrase  # type: ignore[index]


def _find_changed(pair: Pair) -> Iterator[str]:
    """What may differ by right, because it is what is compared: the network, its costs, code, machine and versions."""
    old, new = pair
    facts: dict[str, tuple[Any, ...]] = {"variant": (old.variant, new.variant)}
    certificates = [one.certificate for one in pair]
    if all(one is not None and one.network for one in certificates):
        facts["network"] = tuple(str(one.network)[:12] for one in certificates if one is not None)
    for name in ("macs", "params"):
        facts[name] = tuple(getattr(one.costs, name, None) for one in pair)
    for name in ("commit", "device_name", "threads", "vtbench", "python"):
        facts[name.replace("_name", "")] = tuple(getattr(one.environment, name) for one in pair)
    ours, theirs = (read_treatment(one.config) for one in pair)
    facts |= {key: (ours.get(key), theirs.get(key)) for key in {**ours, **theirs}}
    facts["torch"] = tuple(one.environment.packages.get("torch") for one in pair)
    yield from (
        f"{name}: {_cut(first)} and {_cut(second)}" for name, (first, second) in facts.items() if first != second
    )


def _cut(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text[:12] if len(text) == 40 else text


def _gather(heading: str, phrases: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """One sentence for all arms of which the same is said."""
    by_phrases: dict[tuple[str, ...], list[str]] = {}
    for arm, said in phrases.items():
        if said:
            by_phrases.setdefault(said, []).append(arm)
    for said, arms in by_phrases.items():
        who = "all arms" if len(arms) == len(phrases) > 1 else format_names(arms, most=None)
        yield f"{heading}, {who}: {'; '.join(said)}."


def _tell_apart(folders: Sequence[Path]) -> tuple[str, str]:
    first, second = folders
    if resolve(first).name != resolve(second).name:
        return resolve(first).name, resolve(second).name
    return first.as_posix(), second.as_posix()
