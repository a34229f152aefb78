"""Sort runs into comparisons: sets of cells that were treated alike, so that their differences mean something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any, Literal

from vtbench.errors import UserError, did_you_mean
from vtbench.metrics import Metric
from vtbench.records import CostRecord, NotMeasured, RunRecord
from vtbench.reporting.grouping import group_runs
from vtbench.reporting.outline import ReportOutline, list_stopped, name_arm
from vtbench.reporting.treatment import (
    Signs,
    find_changed_settings,
    find_differences,
    sign_treatments,
)
from vtbench.settings import read_settings, read_treatment, spell_setting
from vtbench.stats.estimates import Estimate, PairedDifference, correlate, estimate_difference, estimate_mean
from vtbench.stats.simultaneous import correct_intervals
from vtbench.stats.stopping import Decision, StoppingRule, decide

OUTCOME_DECIDED = "the outcome decided the number of seeds: there is no plain interval"


@dataclass(frozen=True)
class Outcome:
    """One arm at one seed: its headline number, or why there is none.

    ``state`` is what a table shows of it; what an arm was decided without, or no study asks for, is not needed, and
    what has run but was not treated alike stands apart, in another comparison.
    """

    state: Literal["finished", "failed", "missing", "apart", "not needed"]
    value: float | NotMeasured


@dataclass(frozen=True)
class Score:
    """One number of an arm over its seeds. ``difference`` is that to the base, None for the base itself."""

    mean: Estimate | NotMeasured
    difference: PairedDifference | NotMeasured | None


@dataclass(frozen=True)
class Arm(Score):
    """One row: a variant over its seeds, and its score by the headline metric.

    ``treatment`` are the settings that the study declares to be its own, ``levels`` its level of each factor.
    ``together`` is its difference with an interval that holds for all arms at once; the base has none.
    ``decision`` is what the last look said of an arm whose study runs until it is decided.
    """

    name: str
    variant: str
    costs: CostRecord | NotMeasured
    outcomes: Mapping[int, Outcome]
    treatment: Mapping[str, Any] = field(default_factory=dict)
    levels: Mapping[str, str] = field(default_factory=dict)
    together: Estimate | None = None
    decision: Decision | None = None


@dataclass(frozen=True)
class Comparison:
    """Arms that may be compared. ``apart`` says why they do not stand in the first comparison; empty for the first.

    ``until`` is the rule by which its study was stopped. Where runs are ``stopped``, by it or by that of one study
    among several, the outcome decided how many seeds arms have: no plain interval holds of those.
    """

    base: str
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    records: tuple[RunRecord, ...]
    apart: tuple[str, ...] = ()
    until: StoppingRule | None = None
    stopped: bool = False

    @cached_property
    def runs(self) -> tuple[dict[int, RunRecord], ...]:
        """The runs of each arm by their seeds; none for an arm that has not run yet."""
        rows = list(_sort_runs(self.records).values())
        return (*rows, *({} for _ in self.arms[len(rows) :]))

    def name_class(self, number: int) -> str:
        """The name of a class as the records have it; ``class 7`` where they have none, or only its number."""
        known = next((record.class_names for record in self.records if record.class_names), ())
        name = known[number] if number < len(known) else str(number)
        return f"class {name}" if name.isdecimal() else name

    def withhold(self, estimate: Estimate) -> Estimate:
        """The estimate without its plain interval where the outcome of the study decided how many seeds it has."""
        return withhold(estimate) if self.stopped else estimate

    @property
    def family(self) -> tuple[Arm, ...]:
        """The arms whose difference has an interval: as many are judged at once."""
        return tuple(arm for arm in self.arms if arm.together is not None and arm.together.interval is not None)

    @property
    def metric(self) -> Metric:
        """The headline metric of the task that all runs are of."""
        return self.records[0].metric


def build_comparisons(
    records: Sequence[RunRecord], outline: ReportOutline, *, base: str | None = None
) -> tuple[Comparison, ...]:
    """Sort ``records`` into comparisons. The base's own comparison comes first and shows the holes of the outline.

    A cell joins a comparison if its certificate fits those of the comparison's cells (see `find_differences`). ``base``
    overrides the outline's. Raises ``UserError`` for a base that has no record.
    """
    base = choose_base(outline, base, records)
    order = {arm: place for place, arm in enumerate((base, *(arm for arm in outline.arms if arm != base)))}
    in_order = sorted(records, key=lambda record: (order[name_arm(record)], record.seed))
    groups = list(group_runs(in_order))
    first = groups[0][1]
    run = {name_arm(record) for record in records}
    planned = [arm for arm in outline.arms if arm not in run]
    num_runs = Counter(map(_name_cell, records))
    return tuple(
        _summarise(
            members,
            _explain_apart(first, lead) if members is not first else (),
            outline,
            planned if members is first else None,
            num_runs - Counter(map(_name_cell, members)),
        )
        for lead, members in groups
    )


def _name_cell(record: RunRecord) -> tuple[str, int]:
    return name_arm(record), record.seed


def choose_base(outline: ReportOutline, wanted: str | None, records: Sequence[RunRecord]) -> str:
    """The arm that differences are taken to: the wanted one, else the outline's, else the first that has a record."""
    present = {name_arm(record) for record in records}
    if wanted is not None and wanted not in present:
        raise UserError(f"There is no arm {wanted!r} to compare with. {did_you_mean(wanted, sorted(present))}")
    base = wanted or outline.base
    return base if base in present else next(arm for arm in outline.arms if arm in present)


def _explain_apart(first_group: Sequence[RunRecord], lead: RunRecord) -> tuple[str, ...]:
    unlike = (record for record in _sort_by_nearness(first_group, lead) if find_differences(record, lead))
    reference = next(unlike, None) or next(_sort_by_nearness(first_group, lead))
    phrases = find_differences(reference, lead) or ("a second record of the same cell",)
    said = {phrase.partition(":")[0] for phrase in phrases}
    changes = (one for one in find_changed_settings(reference, lead) if _name_last(one) not in said)
    return (*phrases, *(f"setting {change}" for change in changes))


def _name_last(change: str) -> str:
    """``precision`` of ``execution.precision: float32 and bfloat16``."""
    return change.partition(":")[0].rpartition(".")[2]


def _sort_by_nearness(records: Sequence[RunRecord], lead: RunRecord) -> Iterator[RunRecord]:
    """Certified ones before others, those of the seed of ``lead`` before others; most callers need the first few."""
    for nearness in product((True, False), repeat=2):
        yield from (
            record for record in records if (record.certificate is not None, record.seed == lead.seed) == nearness
        )


def _summarise(
    members: Sequence[RunRecord],
    apart: tuple[str, ...],
    outline: ReportOutline,
    planned: Sequence[str] | None,
    elsewhere: Mapping[tuple[str, int], int],
) -> Comparison:
    """The comparison of ``members``; ``planned`` are arms that have not run yet, None where it is not the first.

    ``elsewhere`` is how many runs of each cell stand in other comparisons: what is there is not missing here.
    """
    rows, here = _sort_runs(members), Counter(map(_name_cell, members))

    def judge(arm: str, seed: int, record: RunRecord | None) -> Outcome:
        num_others = elsewhere.get((arm, seed), 0) + here[arm, seed]
        if record is None and num_others and not outline.asks_for(arm, seed, beside=num_others):
            return Outcome("apart", NotMeasured(reason="stands in another comparison or row"))
        return _judge(record, asked=outline.asks_for(arm, seed))

    seeds = tuple(sorted({record.seed for record in members}))
    if planned is not None:
        arms_here = [*(name for name, *_ in rows), *planned]
        holes = {seed for seed in outline.seeds for arm in arms_here if judge(arm, seed, None).state == "missing"}
        seeds = tuple(seed for seed in outline.seeds if seed in seeds or seed in holes)
    names = _name_rows(rows)
    stopped = frozenset(list_stopped(outline))
    is_stopped = [name in stopped for name, *_ in rows]
    base_values = _finished_values(next(iter(rows.values())))
    arms = []
    for index, ((name, variant, _), runs) in enumerate(rows.items()):
        values = _finished_values(runs)
        mean = estimate_mean(list(values.values())) if values else NotMeasured(reason="no finished run")
        difference = estimate_difference(values, base_values) if index else None
        if isinstance(mean, Estimate) and is_stopped[index]:
            mean = withhold(mean)
        if isinstance(difference, PairedDifference) and (is_stopped[index] or is_stopped[0]):
            difference = replace(difference, estimate=withhold(difference.estimate))
        arms.append(
            Arm(
                name=names[index],
                variant=variant,
                costs=_agree_on_costs(list(runs.values())),
                outcomes={seed: judge(name, seed, runs.get(seed)) for seed in seeds},
                mean=mean,
                difference=difference,
                treatment=read_treatment(next(iter(runs.values())).config),
                levels=outline.levels.get(name, {}) if names[index] == name else {},
            )
        )
    not_begun = [_empty_arm(name, seeds, outline) for name in planned or ()]
    judged = _join_intervals(arms) if outline.until is None else _apply_rule(arms, outline.until)
    every = (*judged, *not_begun)
    return Comparison(names[0], seeds, every, tuple(members), apart, outline.until, any(is_stopped))


def withhold(estimate: Estimate) -> Estimate:
    """The estimate without its interval, as the outcome decided how many seeds it has."""
    if estimate.interval is None:
        return estimate
    return replace(estimate, half_width=NotMeasured(reason=OUTCOME_DECIDED))


def _apply_rule(arms: Sequence[Arm], rule: StoppingRule) -> list[Arm]:
    """The arms with the differences of their last look, and no plain interval: luck decided how many seeds there are.

    What an arm that is decided did not run is not missing.
    """
    values = [{seed: one.value for seed, one in arm.outcomes.items() if isinstance(one.value, float)} for arm in arms]
    judged = []
    for place, (arm, own) in enumerate(zip(arms, values, strict=True)):
        found = decide(rule, own, values[0]) if place else None
        difference: PairedDifference | NotMeasured | None = None
        if place:
            difference = NotMeasured(reason="no look is complete yet")
        if found is not None:
            seeds = tuple(range(found.estimate.n))
            pairs = [[of_arm[seed] for seed in seeds] for of_arm in (own, values[0])]
            difference = PairedDifference(found.estimate, seeds, correlate(*pairs))
        together = None if found is None else found.estimate
        outcomes = arm.outcomes if found is None or found.verdict == "open" else _need_no_more(arm.outcomes)
        judged.append(replace(arm, difference=difference, together=together, outcomes=outcomes, decision=found))
    return judged


def _need_no_more(outcomes: Mapping[int, Outcome]) -> dict[int, Outcome]:
    without = Outcome("not needed", NotMeasured(reason="decided without it"))
    return {seed: without if one.state == "missing" else one for seed, one in outcomes.items()}


def _join_intervals(arms: Sequence[Arm]) -> list[Arm]:
    """The arms with intervals that hold for all of their differences at once."""
    single = {arm.name: arm.difference.estimate for arm in arms if isinstance(arm.difference, PairedDifference)}
    joined = dict(zip(single, correct_intervals(list(single.values())), strict=True))
    return [replace(arm, together=joined.get(arm.name)) for arm in arms]


Rows = dict[tuple[str, str, Signs], dict[int, RunRecord]]
"""The runs of each arm by their seeds; an arm by its name, its variant and how it was treated."""


def _sort_runs(records: Sequence[RunRecord]) -> Rows:
    """Runs by arm, in the order in which these come first, and by seed."""
    rows: Rows = {}
    for record, signs in zip(records, sign_treatments(records), strict=True):
        rows.setdefault((name_arm(record), record.variant, signs), {})[record.seed] = record
    return rows


def _name_rows(rows: Rows) -> list[str]:
    """Arm names, with what differs added where one name stands for two variants or for two treatments."""
    of_name: dict[str, list[tuple[str, str, Signs]]] = {}
    for key in rows:
        of_name.setdefault(key[0], []).append(key)
    names = []
    for (name, variant, signs), runs in rows.items():
        others = of_name[name]
        told = [variant] if len({of_other for _, of_other, _ in others}) > 1 else []
        differing = [key for place, (key, _) in enumerate(signs) if len({one[2][place] for one in others}) > 1]
        config = next(iter(runs.values())).config
        told += [
            f"{key}={spell_setting(value)}"
            for key, value in read_settings(config.data, config.recipe, differing).items()
        ]
        names.append(f"{name} ({', '.join(told)})" if told else name)
    return names


def _empty_arm(name: str, seeds: Sequence[int], outline: ReportOutline) -> Arm:
    reason = NotMeasured(reason="not run yet")
    outcomes = {seed: _judge(None, asked=outline.asks_for(name, seed)) for seed in seeds}
    return Arm(reason, reason, name, "", reason, outcomes)


def _finished_values(runs: Mapping[int, RunRecord]) -> dict[int, float]:
    found = {seed: _judge(record, asked=True).value for seed, record in sorted(runs.items())}
    return {seed: value for seed, value in found.items() if not isinstance(value, NotMeasured)}


def _judge(record: RunRecord | None, *, asked: bool) -> Outcome:
    if record is None and not asked:
        return Outcome("not needed", NotMeasured(reason="no study asks for it"))
    if record is None:
        return Outcome("missing", NotMeasured(reason="not run yet"))
    if record.status == "failed":
        return Outcome("failed", NotMeasured(reason=record.error or "failed without a message"))
    if isinstance(record.headline, NotMeasured):
        return Outcome("failed", record.headline)
    return Outcome("finished", record.headline)


def _agree_on_costs(records: Sequence[RunRecord]) -> CostRecord | NotMeasured:
    counted = dict.fromkeys(record.costs for record in records if isinstance(record.costs, CostRecord))
    if not counted:
        return next(record.costs for record in records)
    if len(counted) > 1:
        figures = " and ".join(str(costs.macs) for costs in counted)
        return NotMeasured(reason=f"its runs were counted at {figures} MACs: they are not of one code or one setting")
    return next(iter(counted))
