"""What a study would cost, before anything starts: its cells, their MACs, and the time, measured on this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np

from vtbench.errors import UserError
from vtbench.profiling import count_costs
from vtbench.records import CostRecord, NotMeasured
from vtbench.studies.cells import Cell, ResolvedStudy, list_cells
from vtbench.studies.executor import Session
from vtbench.studies.identity import check_identity
from vtbench.studies.ledger import Ledger
from vtbench.studies.placement import Placement, choose_placement, read_placement
from vtbench.studies.probe import CellSpeed, measure_speeds
from vtbench.studies.resolution import DataFacts, inspect_study

MOST_MEASURED = 8
"""Of so many arms each is measured; of more, so many, spread evenly over the order of their MACs."""


@dataclass(frozen=True)
class PlannedArm:
    """One arm: how many of its cells are still to be run, and what the probe saw of one of them.

    An arm ``is_estimated`` if it was not measured: its time is that of the measured ones, by MACs.
    """

    arm: str
    variant: str
    num_cells: int
    num_open: int
    speed: CellSpeed | NotMeasured
    is_estimated: bool = False

    @property
    def costs(self) -> CostRecord | NotMeasured:
        """MACs and parameters of the variant at the study's data."""
        return self.speed if isinstance(self.speed, NotMeasured) else self.speed.started.costs


@dataclass(frozen=True)
class StudyPlan:
    """All arms and how the machine would be shared out."""

    study: ResolvedStudy
    folder: Path
    facts: DataFacts
    placement: Placement
    arms: tuple[PlannedArm, ...]

    @property
    def seconds(self) -> float | NotMeasured:
        """Expected time of everything that is still to be run."""
        total = 0.0
        for arm in self.arms:
            if arm.num_open and isinstance(arm.speed, NotMeasured):
                return NotMeasured(reason=f"{arm.arm}: {arm.speed.reason}")
            if not isinstance(arm.speed, NotMeasured):
                total += arm.num_open * arm.speed.run_seconds
        return total / self.placement.jobs

    @property
    def macs(self) -> int | NotMeasured:
        """MACs of everything that is still to be run."""
        total = 0
        for arm in self.arms:
            macs = arm.speed if isinstance(arm.speed, NotMeasured) else arm.speed.run_macs
            if isinstance(macs, NotMeasured):
                return NotMeasured(reason=f"{arm.arm}: {macs.reason}")
            total += arm.num_open * macs
        return total


def plan_study(study: ResolvedStudy, folder: Path, session: Session, *, retry_failed: bool = False) -> StudyPlan:
    """Find out what is missing in ``folder`` and measure arms, `MOST_MEASURED` at most, for a few seconds each.

    Writes nothing there.
    """
    ledger = Ledger(folder)
    ledger.check(study, same_data=True)
    cells = list_cells(study, folder)
    facts = inspect_study(study)
    ledger.check(study, same_data=check_identity(study, ledger))
    still_open = ledger.list_open(cells, retry_failed=retry_failed)
    placement = choose_placement(still_open or cells, session, before=read_placement(folder))
    first = [cell.with_threads(placement.threads) for cell in cells[: len(study.arms)]]
    num_open = Counter(cell.arm for cell in still_open)
    if len(first) <= MOST_MEASURED:
        measured, speeds = first, _measure(first, placement.jobs, session)
    else:
        costs = [_count(cell, facts) for cell in first]
        measured = _spread(first, costs)
        speeds = _estimate(first, costs, dict(zip(measured, _measure(measured, placement.jobs, session), strict=True)))
    seen = {cell.arm for cell in measured}
    arms = [
        PlannedArm(cell.arm, cell.config.variant, study.seeds, num_open[cell.arm], speed, cell.arm not in seen)
        for cell, speed in zip(first, speeds, strict=True)
    ]
    return StudyPlan(study, folder, facts, placement, tuple(arms))


def _measure(cells: Sequence[Cell], jobs: int, session: Session) -> list[CellSpeed | NotMeasured]:
    """Measure each of ``cells``, with as many neighbours as in the study, or it would seem faster."""
    speeds: list[CellSpeed | NotMeasured] = []
    for start in range(0, len(cells), jobs):
        group = cells[start : start + jobs]
        speeds += measure_speeds([*group, *cells[: jobs - len(group)]], session)[: len(group)]
    return speeds


def _count(cell: Cell, facts: DataFacts) -> CostRecord | NotMeasured:
    try:
        seen = facts.of(cell.arm)
        return count_costs(cell.config.spelling, seen.image_size, seen.num_classes)
    except UserError as error:
        return NotMeasured(reason=str(error))


def _spread(cells: Sequence[Cell], costs: Sequence[CostRecord | NotMeasured]) -> list[Cell]:
    """`MOST_MEASURED` of ``cells`` from the least MACs to the most, at even steps of their order."""
    known = [(one.macs, place) for place, one in enumerate(costs) if isinstance(one, CostRecord)]
    order = [place for _, place in sorted(known)] or list(range(len(cells)))
    steps = [step * (len(order) - 1) // (MOST_MEASURED - 1) for step in range(MOST_MEASURED)]
    return [cells[place] for place in dict.fromkeys(order[step] for step in steps)]


def _estimate(
    cells: Sequence[Cell],
    costs: Sequence[CostRecord | NotMeasured],
    measured: Mapping[Cell, CellSpeed | NotMeasured],
) -> list[CellSpeed | NotMeasured]:
    """The speed of every cell: as measured, or between the measured ones of the next fewer and the next more MACs."""
    speeds = [speed for speed in measured.values() if isinstance(speed, CellSpeed)]
    points = sorted(
        (one.started.costs.macs, one.epoch_seconds) for one in speeds if isinstance(one.started.costs, CostRecord)
    )
    estimates: list[CellSpeed | NotMeasured] = []
    for cell, cost in zip(cells, costs, strict=True):
        if cell in measured:
            estimates.append(measured[cell])
        elif isinstance(cost, NotMeasured) or not points:
            estimates.append(cost if isinstance(cost, NotMeasured) else NotMeasured(reason="no arm could be measured"))
        else:
            seconds = float(np.interp(cost.macs, [macs for macs, _ in points], [time for _, time in points]))
            start = fmean(speed.start_seconds for speed in speeds)
            estimates.append(
                CellSpeed(cell, replace(speeds[0].started, variant=cell.config.variant, costs=cost), seconds, start)
            )
    return estimates
