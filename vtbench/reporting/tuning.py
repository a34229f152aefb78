"""How the arms of a study were tuned: what each trial came to, the best of each arm, and the best for all of them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from vtbench.documents.table import NOTHING, Table, make_table
from vtbench.errors import format_names
from vtbench.metrics import Metric
from vtbench.records import RunRecord
from vtbench.reporting.outline import name_arm
from vtbench.search_space import Range, TuningConfig
from vtbench.settings import read_settings, spell_setting
from vtbench.units import format_items

if TYPE_CHECKING:
    from vtbench.reporting.report import Report

_NEAR_END = 0.05
"""The part of a range at either end that counts as its edge."""


@dataclass(frozen=True)
class Trial:
    """One setting of one arm: its values by key and the headline metric of each run, None of one that failed."""

    number: int
    values: Mapping[str, Any]
    scores: Mapping[int, float | None]

    @property
    def mean(self) -> float | None:
        """The mean over the runs; None where one failed."""
        known = [score for score in self.scores.values() if score is not None]
        return fmean(known) if known and len(known) == len(self.scores) else None

    @property
    def point(self) -> str:
        """What tells this setting from others."""
        return json.dumps(dict(self.values), sort_keys=True)

    def spell(self) -> str:
        """The values as people read them: ``learning_rate=0.1``."""
        return ", ".join(f"{shorten(key)}={spell_setting(value)}" for key, value in self.values.items())


@dataclass(frozen=True)
class TunedArm:
    """One arm, its trials in their order, and the one that was chosen, the best of them; None where none finished."""

    name: str
    variant: str
    trials: tuple[Trial, ...]
    best: Trial | None

    @property
    def equals(self) -> tuple[Trial, ...]:
        """The trials that came to the same as the best, itself included: of several none is known to be better."""
        return tuple(trial for trial in self.trials if self.best is not None and trial.mean == self.best.mean)

    @property
    def is_told_apart(self) -> bool:
        """Whether trials came to different scores; one alone is the best of all there are."""
        return len({trial.mean for trial in self.trials if trial.mean is not None}) > 1 or len(self.trials) < 2


@dataclass(frozen=True)
class Tuning:
    """All arms. ``shared`` is the one setting, of those that all arms tried, with the best mean over arms, if any."""

    config: TuningConfig
    metric: Metric
    arms: tuple[TunedArm, ...]
    shared: str | None

    def find_shared(self, arm: TunedArm) -> Trial | None:
        """The arm's trial of the shared setting."""
        return next((trial for trial in arm.trials if trial.point == self.shared), None)

    @property
    def is_shared_told_apart(self) -> bool:
        """Whether the settings that all arms tried differ in their mean over the arms; one alone is the best."""
        means = _average_common(self.arms)
        return len(set(means.values())) > 1 or len(means) < 2

    def rank(self, scores: Mapping[str, float | None]) -> str:
        """The names of the arms with a score, the best first: ``a > b = c``."""
        known = {name: score for name, score in scores.items() if score is not None}
        order = sorted(known, key=lambda name: -self.metric.rank(known[name]))
        marks = ["", *(" = " if known[one] == known[other] else " > " for one, other in itertools.pairwise(order))]
        return "".join(f"{mark}{name}" for mark, name in zip(marks, order, strict=True))


def find_tuning(report: Report) -> Tuning | None:
    """What the trials of a report say; None where there are none."""
    config, records = report.outline.tuning, report.trials
    if config is None or not records:
        return None
    of_arms: dict[str, dict[int, list[RunRecord]]] = {}
    for record in records:
        of_arms.setdefault(name_arm(record), {}).setdefault(record.config.trial or 0, []).append(record)
    metric = records[0].metric
    order = [arm for arm in report.outline.arms if arm in of_arms]
    arms = tuple(_gather(arm, of_arms[arm], config, metric) for arm in order)
    return Tuning(config, metric, arms, _choose_shared(arms, metric))


def shorten(key: str) -> str:
    """The last word of a key."""
    return key.rpartition(".")[2]


def tabulate_tuning(tuning: Tuning, fresh: Mapping[str, float]) -> Table:
    """One row an arm: its best setting, what that scored in tuning and with fresh seeds, and the best one for all."""
    metric = tuning.metric
    length = "" if tuning.config.epochs is None else f" of {format_items(tuning.config.epochs, 'epoch')}"
    fresh_seeds = f"{'full runs, ' if length else ''}fresh seeds"
    header = ("arm", "tuned to", f"trials{length}: {metric.head}", fresh_seeds, "trials at one for all", "on an edge")
    rows = [
        (
            arm.name,
            _spell_chosen(arm),
            _show(metric, _mean(arm.best)),
            _show(metric, fresh.get(arm.name)),
            _show(metric, _mean(tuning.find_shared(arm))),
            ("yes" if find_edges(tuning.config, arm) else "no") if arm.is_told_apart else NOTHING,
        )
        for arm in tuning.arms
    ]
    return make_table(header, rows, numbers=header[2:5])


def list_tuned_numbers(tuning: Tuning, fresh: Mapping[str, float]) -> list[dict[str, Any]]:
    """One flat dictionary an arm: what it was tuned to and the means of `tabulate_tuning`; None where there is none."""
    key = tuning.metric.key
    means = [
        {
            f"trials_{key}": _mean(arm.best),
            f"fresh_seeds_{key}": fresh.get(arm.name),
            f"trials_at_one_for_all_{key}": _mean(tuning.find_shared(arm)),
        }
        for arm in tuning.arms
    ]
    return [
        {
            "arm": arm.name,
            **({} if arm.best is None else arm.best.values),
            **{name: None if mean is None else round(mean, 6) for name, mean in own.items()},
            "is_on_edge": bool(find_edges(tuning.config, arm)) if arm.is_told_apart else None,
        }
        for arm, own in zip(tuning.arms, means, strict=True)
    ]


def tabulate_response(tuning: Tuning) -> Table:
    """Settings by arms where all arms tried the same, else one row a trial: the mean score over the runs of a trial."""
    points = {trial.point: trial.spell() for arm in tuning.arms for trial in arm.trials}
    tried = [{trial.point: trial for trial in arm.trials} for arm in tuning.arms]
    if all(point in of_arm for of_arm in tried for point in points):
        header = ("setting", *(arm.name for arm in tuning.arms))
        rows = [
            (words, *(_show(tuning.metric, of_arm[point].mean) for of_arm in tried)) for point, words in points.items()
        ]
        return make_table(header, rows, numbers=header[1:])
    header = ("arm", "trial", "setting", tuning.metric.head)
    rows = [
        (arm.name, str(trial.number + 1), trial.spell(), _show(tuning.metric, trial.mean))
        for arm in tuning.arms
        for trial in arm.trials
    ]
    return make_table(header, rows, numbers=("trial", tuning.metric.head))


def list_tuning_numbers(tuning: Tuning) -> list[dict[str, Any]]:
    """One flat dictionary a trial; None where a run failed."""
    return [
        {
            "arm": arm.name,
            "trial": trial.number + 1,
            **trial.values,
            tuning.metric.key: None if trial.mean is None else round(trial.mean, 6),
            "is_best": trial is arm.best and len(arm.equals) == 1,
            "is_shared": trial.point == tuning.shared and tuning.is_shared_told_apart,
        }
        for arm in tuning.arms
        for trial in arm.trials
    ]


def list_tuning_notes(tuning: Tuning) -> Iterator[str]:
    """How arms were tuned, which optimum lies on an edge, and how arms rank with settings of their own and with one."""
    config = tuning.config
    num_trials = sorted({len(arm.trials) for arm in tuning.arms})
    yield (
        f"Every arm had {' or '.join(map(str, num_trials))} trial{'s' if num_trials != [1] else ''} of "
        f"{format_items(config.seeds, 'run')}{_spell_epochs(config)} (seeds from {config.first_seed} on), validated on "
        f"{100 * config.held_out:g} % of the whole training split, which they were not trained on, and never on the "
        "validation split; the best mean was then run with the seeds of the tables above."
    )
    yield from _tell_equal(tuning)
    for arm in tuning.arms:
        for key, end in find_edges(config, arm):
            yield (
                f"The best {shorten(key)} of {arm.name} lies on the edge of what was tried (the {end}): beyond it "
                "there may be a better one."
            )
        if failed := [trial for trial in arm.trials if trial.mean is None]:
            yield f"Not finished with every seed: {arm.name} at {'; '.join(trial.spell() for trial in failed)}."
    if len(tuning.arms) < 2:
        return
    if tuning.shared is None:
        yield "No setting was tried by all arms, so that none can be said to be the best for all."
        return
    yield from _compare_rankings(tuning)


def _spell_epochs(config: TuningConfig) -> str:
    return f" of {format_items(config.epochs, 'epoch')}" if config.epochs is not None else ""


def _compare_rankings(tuning: Tuning) -> Iterator[str]:
    own, shared = ({arm.name: _mean(trial(arm)) for arm in tuning.arms} for trial in (_choose, tuning.find_shared))
    if not any(" > " in tuning.rank(scores) for scores in (own, shared)):
        yield "By the trials all arms are equal, and none ranks before another."
        return
    ranks, others = tuning.rank(own), tuning.rank(shared)
    which = "the best on average" if tuning.is_shared_told_apart else "all of which are equal on average"
    yield (
        f"By the trials, arms rank {ranks} with a setting of their own, and {others} with one for all, {which} "
        f"({_spell_shared(tuning)}): {'the same' if ranks == others else 'another'} order. Scores of trials are the "
        f"best of several, and so are a little too {'high' if tuning.metric.better == 'higher' else 'low'}."
    )


def _tell_equal(tuning: Tuning) -> Iterator[str]:
    """Say where no trial is the best, since all or some of an arm came to the same."""
    alike = [arm.name for arm in tuning.arms if not arm.is_told_apart]
    if alike:
        yield f"All trials came to the same for: {format_names(alike)}; none is the best, and the first was taken."
    for arm in tuning.arms:
        if arm.is_told_apart and len(arm.equals) > 1:
            same = "; ".join(trial.spell() for trial in arm.equals)
            yield f"Equal trials of {arm.name}, of which the first was taken: {same}."


def find_edges(config: TuningConfig, arm: TunedArm) -> list[tuple[str, str]]:
    """The tuned numbers whose best value is the lowest or the highest of those there were, and which of the two.

    Where several trials are the best, all of them lie there; where all are equal, there is no best.
    """
    if not arm.is_told_apart:
        return []
    ends = [dict(_find_edges_of(config, trial)) for trial in arm.equals]
    return [(key, end) for key, end in ends[0].items() if all(one.get(key) == end for one in ends)] if ends else []


def _find_edges_of(config: TuningConfig, trial: Trial) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, values in config.settings.items():
        value = trial.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        ends = (values.low, values.high) if isinstance(values, Range) else values
        numbers = [float(one) for one in ends if isinstance(one, int | float)]
        margin = _NEAR_END if isinstance(values, Range) else 0.0
        is_log = isinstance(values, Range) and values.log
        place = _place(float(value), min(numbers), max(numbers), is_log)
        if len(numbers) > 1 and (place <= margin or place >= 1 - margin):
            found.append((key, "lowest" if place <= margin else "highest"))
    return found


def _place(value: float, low: float, high: float, is_log: bool) -> float:
    if low == high:
        return 0.5
    if is_log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)


def _gather(name: str, runs: Mapping[int, Sequence[RunRecord]], config: TuningConfig, metric: Metric) -> TunedArm:
    trials = tuple(
        Trial(
            number,
            read_settings(records[0].config.data, records[0].config.recipe, config.settings),
            {one.seed: one.headline if isinstance(one.headline, float) else None for one in records},
        )
        for number, records in sorted(runs.items())
    )
    scored = [trial for trial in trials if trial.mean is not None]
    best = max(scored, key=lambda trial: metric.rank(trial.mean or 0.0)) if scored else None
    return TunedArm(name, next(iter(runs.values()))[0].variant, trials, best)


def _choose_shared(arms: Sequence[TunedArm], metric: Metric) -> str | None:
    """The setting with the best mean over all arms, of those that every arm has a score for."""
    means = _average_common(arms)
    return max(means, key=lambda point: metric.rank(means[point]), default=None)


def _average_common(arms: Sequence[TunedArm]) -> dict[str, float]:
    """The mean over all arms of each setting that every arm has a score for."""
    scores = [{trial.point: trial.mean for trial in arm.trials if trial.mean is not None} for arm in arms]
    common = [point for point in scores[0] if all(point in of_arm for of_arm in scores)]
    return {point: fmean(of_arm[point] for of_arm in scores) for point in common}


def _choose(arm: TunedArm) -> Trial | None:
    return arm.best


def _spell_chosen(arm: TunedArm) -> str:
    if arm.best is None:
        return NOTHING
    return f"{arm.best.spell()}{'' if arm.is_told_apart else ' (all trials are equal)'}"


def _spell_shared(tuning: Tuning) -> str:
    return next((trial.spell() for arm in tuning.arms if (trial := tuning.find_shared(arm))), NOTHING)


def _mean(trial: Trial | None) -> float | None:
    return None if trial is None else trial.mean


def _show(metric: Metric, value: float | None) -> str:
    return NOTHING if value is None else metric.format(value)
