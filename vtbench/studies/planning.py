"""What a study would cost, before anything starts: its cells, their MACs, and the time, measured on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vtbench.records import CostRecord, NotMeasured
from vtbench.studies.cells import ResolvedStudy, list_cells
from vtbench.studies.executor import Session
from vtbench.studies.identity import check_identity
from vtbench.studies.ledger import Ledger
from vtbench.studies.placement import Placement, choose_placement, read_placement
from vtbench.studies.probe import CellSpeed, measure_speeds
from vtbench.studies.resolution import DataFacts, inspect_study


@dataclass(frozen=True)
class PlannedArm:
    """One arm: how many of its cells are still to be run, and what the probe saw of one of them."""

    arm: str
    variant: str
    num_cells: int
    num_open: int
    speed: CellSpeed | NotMeasured

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
    """Find out what is missing in ``folder`` and measure every arm for a few seconds. Writes nothing there."""
    ledger = Ledger(folder)
    ledger.check(study, same_data=True)
    cells = list_cells(study, folder)
    facts = inspect_study(study)
    ledger.check(study, same_data=check_identity(study, ledger))
    still_open = ledger.list_open(cells, retry_failed=retry_failed)
    placement = choose_placement(still_open or cells, session, before=read_placement(folder))
    first = [cell.with_threads(placement.threads) for cell in cells[: len(study.arms)]]
    speeds: list[CellSpeed | NotMeasured] = []
    for start in range(0, len(first), placement.jobs):
        group = first[start : start + placement.jobs]
        company = first[: placement.jobs - len(group)]  # As many neighbours as in the study, or it would seem faster.
        speeds += measure_speeds([*group, *company], session)[: len(group)]
    arms = [
        PlannedArm(cell.arm, cell.config.variant, study.seeds, sum(one.arm == cell.arm for one in still_open), speed)
        for cell, speed in zip(first, speeds, strict=True)
    ]
    return StudyPlan(study, folder, facts, placement, tuple(arms))
