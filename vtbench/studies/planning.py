"""What a study would cost, before anything starts: its cells, their MACs, and the time, measured on this machine."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np

from vtbench.errors import UserError
from vtbench.profiling import count_costs
from vtbench.records import CostRecord, NotMeasured
from vtbench.stats.estimates import estimate_mean
from vtbench.stats.lines import fit_line
from vtbench.studies.cells import Cell, ResolvedStudy, list_cells
from vtbench.studies.data_facts import DataFacts
from vtbench.studies.executor import Session
from vtbench.studies.identity import check_identity
from vtbench.studies.ledger import Ledger
from vtbench.studies.placement import Placement, choose_placement, read_placement
from vtbench.studies.probe import TOO_SLOW, CellSpeed, measure_in_groups, weigh_images
from vtbench.studies.resolution import inspect_study
from vtbench.studies.tuning import count_open_trials, find_stage

MOST_COUNTED = 200
"""Of so many arms each is built and counted; of more, so many of those to be run, drawn at random, always the same."""
MOST_MEASURED = 8
"""Of so many arms each is measured; of more, so many, spread evenly over the order of their MACs."""
MANY_CELLS = 1000
"""With more cells to be run a plan shall be there in ten seconds: `FEW_COUNTED` and `FEW_MEASURED` take the place of
the two above, and the machine is not tried out for the fastest way to share it out."""
ELSEWHERE = "the study is to run on other machines than this"
FEW_COUNTED = 32
FEW_MEASURED = 2
_QUICK_MACS = 40e9
"""Of a step that a plan of many cells measures: two or three of them take a core a few seconds."""


@dataclass(frozen=True)
class PlannedArm:
    """One arm: how many of its cells are still to be run, what each costs, and what the probe saw of one of them.

    ``macs`` are those of a whole cell. An arm ``is_estimated`` if it was not measured: its time is that of the measured
    ones, by MACs. One that was not even counted (``is_counted``) says so in all three. ``num_trials`` are its runs of
    tuning, ``num_open_trials`` those that are still to come, each of ``trial_part`` of a cell's epochs.
    """

    arm: str
    variant: str
    num_cells: int
    num_open: int
    costs: CostRecord | NotMeasured
    macs: int | NotMeasured
    speed: CellSpeed | NotMeasured
    is_estimated: bool = False
    is_counted: bool = True
    num_trials: int = 0
    num_open_trials: int = 0
    trial_part: float = 1.0

    @property
    def num_runs(self) -> int:
        """How many runs are still to come, those of tuning among them."""
        return self.num_open + self.num_open_trials

    @property
    def work(self) -> float:
        """What is still to come, in whole cells."""
        return self.num_open + self.trial_part * self.num_open_trials

    @property
    def seconds(self) -> float | NotMeasured:
        """Expected time of a whole cell."""
        return self.speed if isinstance(self.speed, NotMeasured) else self.speed.run_seconds


@dataclass(frozen=True)
class Total:
    """Of all that is still to be run. ``error`` is the half width of its 95 % interval where it is of a sample."""

    value: float
    error: float | None = None


@dataclass(frozen=True)
class StudyPlan:
    """All arms and how the machine would be shared out."""

    study: ResolvedStudy
    folder: Path
    facts: DataFacts
    placement: Placement
    arms: tuple[PlannedArm, ...]

    @property
    def counted(self) -> tuple[PlannedArm, ...]:
        """The arms that were built and counted: all, or a sample of those with cells to be run."""
        return tuple(arm for arm in self.arms if arm.is_counted)

    @property
    def num_trials(self) -> int:
        """The runs of tuning of all arms."""
        return sum(arm.num_trials for arm in self.arms)

    @property
    def seconds(self) -> Total | NotMeasured:
        """Expected time of everything that is still to be run."""
        total = self._sum(lambda arm: arm.seconds)
        if isinstance(total, NotMeasured):
            return total
        jobs = self.placement.jobs
        return Total(total.value / jobs, total.error and total.error / jobs)

    @property
    def macs(self) -> Total | NotMeasured:
        """MACs of everything that is still to be run."""
        return self._sum(lambda arm: arm.macs)

    def _sum(self, of_cell: Callable[[PlannedArm], float | NotMeasured]) -> Total | NotMeasured:
        """The sum over all open cells; of a sample of arms, their mean times the number of open cells."""
        wanted = [arm for arm in self.counted if arm.num_runs]
        values: list[float] = []
        unknown = {arm.arm: value.reason for arm in wanted if isinstance(value := of_cell(arm), NotMeasured)}
        for arm in wanted:
            value = of_cell(arm)
            if isinstance(value, NotMeasured):
                of_all = len(unknown) == len(wanted) > 1 and len(set(unknown.values())) == 1
                return NotMeasured(reason=value.reason if of_all else f"{arm.arm}: {value.reason}")
            values.append(value)
        total = sum(arm.work * value for arm, value in zip(wanted, values, strict=True))
        num_arms = sum(arm.num_runs > 0 for arm in self.arms)
        if num_arms == len(wanted):
            return Total(total)
        num_open = sum(arm.work for arm in self.arms)
        mean = total / sum(arm.work for arm in wanted)
        half_width = estimate_mean(values).half_width
        if isinstance(half_width, NotMeasured):
            return Total(mean * num_open)
        return Total(mean * num_open, half_width * math.sqrt(1 - len(wanted) / num_arms) * num_open)


def plan_study(
    study: ResolvedStudy, folder: Path, session: Session, *, retry_failed: bool = False, unmeasured: str | None = None
) -> StudyPlan:
    """Find out what is missing in ``folder``, build and count arms, and measure a few of them for some seconds each.

    Nothing is measured where ``unmeasured`` says why not, as `ELSEWHERE` does. How many: see `MOST_COUNTED`,
    `MOST_MEASURED` and `MANY_CELLS`. Writes nothing there.
    """
    ledger = Ledger(folder)
    ledger.check(study, same_data=True)
    cells, num_open_trials = _list_cells(study, ledger), count_open_trials(study, folder)
    num_trials, trial_part = 0, 1.0
    if study.tuning is not None:
        num_trials = study.tuning.num_runs
        trial_part = (study.tuning.epochs or study.recipe.epochs) / study.recipe.epochs
    still_open = ledger.list_open(cells, retry_failed=retry_failed)
    num_open = Counter(cell.arm for cell in still_open)
    is_quick = len(still_open) > MANY_CELLS
    chosen = _choose_arms(study, num_open, FEW_COUNTED if is_quick else MOST_COUNTED)
    facts = inspect_study(study, arms=chosen)
    ledger.check(study, same_data=check_identity(study, ledger))
    before = read_placement(folder)
    placement = choose_placement(
        still_open or cells, session, before=before, facts=facts, may_measure=not is_quick and unmeasured is None
    )
    of_arms = {cell.arm: cell for cell in reversed(cells)}
    counted = [placement.arrange(cell) for arm in study.arms if arm in chosen and (cell := of_arms.get(arm))]
    most = FEW_MEASURED if is_quick else MOST_MEASURED
    costs = {cell: _count(cell, facts) for cell in counted} if len(counted) > most else {}
    spread = _spread(costs, most) if costs else counted
    is_queue = session.executor.affinity(study.execution.device).is_queue
    jobs = len(spread) if is_queue else placement.jobs  # What waits in a queue is nobody's neighbour.
    measured: dict[Cell, CellSpeed | NotMeasured] = dict.fromkeys(spread, NotMeasured(reason=unmeasured or ""))
    if unmeasured is None:
        seated = replace(session, executor=placement.fit(session.executor))
        measured = dict(zip(spread, measure_in_groups(spread, jobs, seated, is_quick=is_quick), strict=True))
    for cell in counted:
        if isinstance(seen := measured.get(cell), CellSpeed):
            costs[cell] = seen.started.costs
        elif cell not in costs:
            costs[cell] = _count(cell, facts)
    of_cells = {
        cell.arm: (costs[cell], _find_macs(cell, costs[cell], speed, facts), speed, speed != measured.get(cell))
        for cell, speed in _estimate(costs, measured, facts).items()
    }
    unknown = NotMeasured(reason="not one of the arms that were drawn to be counted")
    arms = [
        PlannedArm(
            arm,
            variant,
            study.seeds,
            num_open[arm],
            *of_cells.get(arm, (unknown, unknown, unknown, True)),
            arm in chosen,
            num_trials,
            num_open_trials[arm],
            trial_part,
        )
        for arm, variant in study.arms.items()
    ]
    return StudyPlan(study, folder, facts, placement, tuple(arms))


def _choose_arms(study: ResolvedStudy, num_open: Mapping[str, int], most: int) -> set[str]:
    """The arms to build and count."""
    if len(study.arms) <= most:
        return set(study.arms)
    wanted = [arm for arm in study.arms if num_open[arm]] or list(study.arms)
    return set(random.Random(0).sample(wanted, min(most, len(wanted))))


def _list_cells(study: ResolvedStudy, ledger: Ledger) -> list[Cell]:
    """The cells of the study: with the settings that they were tuned to, or, before that is known, without."""
    stage = find_stage(study, ledger.folder, ledger.find_record)
    return list(stage.cells) if stage.is_last else list_cells(study, ledger.folder)


def _count(cell: Cell, facts: DataFacts) -> CostRecord | NotMeasured:
    try:
        seen = facts.of(cell.arm)
        return count_costs(cell.config.spelling, seen.image_size, seen.num_classes)
    except UserError as error:
        return NotMeasured(reason=str(error))


def _spread(costs: Mapping[Cell, CostRecord | NotMeasured], most: int) -> list[Cell]:
    """``most`` of the cells at even steps of the order of their MACs, from the least on.

    To the most; of few to the middle, and to none but the least whose steps are larger than `_QUICK_MACS`, because one
    of those may take longer than the whole plan should, and more memory than there is.
    """
    cells = list(costs)
    known = [(one.macs, place) for place, one in enumerate(costs.values()) if isinstance(one, CostRecord)]
    order = [place for _, place in sorted(known)] or list(range(len(cells)))
    last = len(order) - 1
    if known and most == FEW_MEASURED:
        quick = sum(3 * macs * cells[place].config.recipe.batch_size <= _QUICK_MACS for macs, place in known)
        last = min(last // 2, max(quick - 1, 0))
    steps = [step * last // (most - 1) for step in range(most)]
    return [cells[place] for place in dict.fromkeys(order[step] for step in steps)]


def _estimate(
    costs: Mapping[Cell, CostRecord | NotMeasured], measured: Mapping[Cell, CellSpeed | NotMeasured], facts: DataFacts
) -> dict[Cell, CellSpeed | NotMeasured]:
    """The speed of every cell: as measured, or between the measured ones of the next fewer and the next more MACs.

    So is that of a cell that was too slow to be measured. Above those of the most, on the line through all. The MACs
    are those of an epoch, because arms may differ in data.
    """
    speeds = [speed for speed in measured.values() if isinstance(speed, CellSpeed)]
    points = sorted(
        (macs, speed.epoch_seconds) for speed in speeds if not isinstance(macs := speed.epoch_macs, NotMeasured)
    )
    estimates: dict[Cell, CellSpeed | NotMeasured] = {}
    for cell, cost in costs.items():
        seen = measured.get(cell, TOO_SLOW)
        if seen != TOO_SLOW:
            estimates[cell] = seen
        elif isinstance(cost, NotMeasured) or not points:
            estimates[cell] = cost if isinstance(cost, NotMeasured) else TOO_SLOW
        else:
            data = facts.of(cell.arm)
            started = replace(
                speeds[0].started,
                variant=cell.config.variant,
                costs=cost,
                num_train=data.num_train,
                num_val=data.num_val,
                num_classes=data.num_classes,
            )
            start = fmean(speed.start_seconds for speed in speeds)
            macs = cost.macs * weigh_images(started)
            estimates[cell] = CellSpeed(cell, started, _interpolate(macs, points), start)
    return estimates


def _find_macs(
    cell: Cell, cost: CostRecord | NotMeasured, speed: CellSpeed | NotMeasured, facts: DataFacts
) -> int | NotMeasured:
    """MACs of the whole cell, whether or not its time is known."""
    if isinstance(speed, CellSpeed):
        return speed.run_macs
    if isinstance(cost, NotMeasured):
        return cost
    return cost.macs * weigh_images(facts.of(cell.arm)) * cell.config.recipe.epochs


def _interpolate(macs: float, points: Sequence[tuple[float, float]]) -> float:
    if macs > points[-1][0]:
        start, rate = fit_line(points)
        return start + rate * macs
    return float(np.interp(macs, [macs for macs, _ in points], [seconds for _, seconds in points]))
