"""The time left of synthetic studies, whose true time is known."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from test_ablate_output import COSTS, FACTS, STARTED, make_study

from vtbench.cli.progress import RunView
from vtbench.cli.study_clock import StudyClock, share_out
from vtbench.metrics import TOP1
from vtbench.records import CostRecord, NotMeasured
from vtbench.studies.cells import Cell, list_cells

EPOCHS, START_SECONDS, SECONDS_PER_MAC = 10, 6.0, 2e-6


def make_cells(num_arms: int, seeds: int) -> list[Cell]:
    study = make_study(seeds).model_copy(update={"arms": {f"a{n}": f"resnet20:width={n + 1}" for n in range(num_arms)}})
    return list_cells(study, Path("there"))


def set_epochs(cell: Cell, epochs: int) -> Cell:
    recipe = cell.config.recipe.model_copy(update={"epochs": epochs})
    return cell.model_copy(update={"config": cell.config.model_copy(update={"recipe": recipe})})


class Simulation:
    """Cells that take the time of their MACs, more or less, on a clock that is turned by hand.

    Every other arm has ``longer`` times the epochs, and data of ``larger`` times the size.
    """

    def __init__(
        self,
        num_arms: int,
        seeds: int,
        jobs: int,
        seed: int,
        *,
        countable: bool = True,
        larger: int = 1,
        longer: int = 1,
    ) -> None:
        draw = random.Random(seed)
        self.now, self.jobs = 0.0, jobs
        cells = make_cells(num_arms, seeds)
        odd = {cell.arm for cell in cells[1:num_arms:2]}
        self.epochs = {cell.arm: EPOCHS * (longer if cell.arm in odd else 1) for cell in cells}
        more = replace(FACTS, num_train=larger * FACTS.num_train, num_val=larger * FACTS.num_val)
        self.facts = replace(FACTS, of_arms=dict.fromkeys(odd, more))
        self.cells = [set_epochs(cell, self.epochs[cell.arm]) for cell in cells]
        macs = {cell.config.variant: draw.randint(10, 100) * 1_000_000 for cell in self.cells[:num_arms]}
        self.costs = {variant: COSTS.model_copy(update={"macs": number}) for variant, number in macs.items()}
        self.trains = {
            cell.folder: SECONDS_PER_MAC
            * macs[cell.config.variant]
            * draw.uniform(0.92, 1.08)
            * (larger * longer if cell.arm in odd else 1)
            for cell in self.cells
        }
        self.countable = countable
        self.clock = StudyClock(jobs, self.count, self.facts, now=lambda: self.now)
        self.waiting = list(self.cells)
        self.running: dict[Path, tuple[Cell, RunView]] = {}
        self.begun: dict[Path, float] = {}
        self.num_finished = 0

    def count(self, variant: str, image_size: tuple[int, int], num_classes: int) -> CostRecord:
        assert (image_size, num_classes) == ((32, 32), 10)
        if not self.countable:
            raise ValueError("not this one")
        return self.costs[variant]

    def end_of(self, cell: Cell) -> float:
        return self.begun[cell.folder] + START_SECONDS + self.trains[cell.folder]

    def turn(self, seconds: float) -> None:
        self.now += seconds
        for cell, view in list(self.running.values()):
            since, epoch = (
                self.now - self.begun[cell.folder] - START_SECONDS,
                self.trains[cell.folder] / self.epochs[cell.arm],
            )
            if self.now >= self.end_of(cell):
                del self.running[cell.folder]
                self.clock.finish(cell, self.trains[cell.folder] + START_SECONDS)
                self.num_finished += 1
            elif since > 0:
                if not view.epochs:
                    data, costs = self.facts.of(cell.arm), self.costs[cell.config.variant]
                    sizes = {"num_train": data.num_train, "num_val": data.num_val}
                    run = replace(STARTED.run, epochs=self.epochs[cell.arm], costs=costs, **sizes)
                    view.begin(run)
                    self.clock.start(cell, run)
                view.epoch, view.part = divmod(since / epoch, 1.0)  # type: ignore[assignment]
                view.seconds_of_epochs = [epoch] if view.epoch else []
        while self.waiting and len(self.running) < self.jobs:
            cell = self.waiting.pop(0)
            self.running[cell.folder] = (cell, RunView(cell.label, TOP1))
            self.begun[cell.folder] = self.now
            self.clock.begin(cell)
        self.clock.count_next(self.cells)

    def true_seconds_left(self) -> float:
        idle = [0.0] * (self.jobs - len(self.running))
        free = idle + sorted(self.end_of(cell) - self.now for cell, _ in self.running.values())
        for cell in self.waiting:
            free = sorted([free[0] + START_SECONDS + self.trains[cell.folder], *free[1:]])
        return free[-1]


@pytest.mark.parametrize("jobs", [1, 2, 4])
@pytest.mark.parametrize(("num_arms", "seeds"), [(2, 3), (4, 3), (5, 2), (20, 1)])
@pytest.mark.parametrize("unlike", [{}, {"larger": 10}, {"longer": 3}, {"larger": 4, "longer": 2}], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_from_the_second_finished_cell_on_the_error_is_below_a_quarter(
    num_arms: int, seeds: int, jobs: int, seed: int, unlike: dict[str, int]
) -> None:
    study, errors = Simulation(num_arms, seeds, jobs, seed, **unlike), []
    study.turn(0.0)
    while study.running:
        left, true = study.clock.seconds_left(study.running, study.waiting), study.true_seconds_left()
        if study.num_finished >= 2:
            assert left is not None
            errors.append(abs(left - true) / max(true, START_SECONDS))
            alone = [view.seconds_left() or 0.0 for _, view in study.running.values()]
            assert left >= max(alone)
        study.turn(1.0 + study.now / 500)
    assert max(errors) < 0.25


def test_the_last_cells_are_reckoned_to_share_the_cores_where_they_do() -> None:
    seconds = {}
    for shares in (False, True):
        study = Simulation(1, 5, 2, 0)
        study.trains = dict.fromkeys(study.trains, 100.0)
        study.clock = StudyClock(2, study.count, study.facts, shares_at_the_end=shares, now=lambda s=study: s.now)  # type: ignore[misc]
        study.turn(0.0)
        while study.num_finished < 2:
            study.turn(1.0)
        seconds[shares] = study.clock.seconds_left(study.running, study.waiting)
    assert seconds[False] == pytest.approx(2 * 106, rel=0.02)
    assert seconds[True] == pytest.approx(1.5 * 106, rel=0.02)


def test_cells_that_share_the_cores_go_on_faster_as_others_end() -> None:
    assert share_out([10.0], 2) == 10.0
    assert share_out([10.0, 20.0], 2) == 20.0
    assert share_out([10.0, 10.0, 10.0], 2) == pytest.approx(15.0)
    assert share_out([2.0, 10.0, 10.0], 2) == pytest.approx(3.0 + 8.0)


def test_a_cell_that_begins_does_not_make_the_time_jump() -> None:
    study, last = Simulation(5, 2, 2, 0), None
    study.turn(0.0)
    while study.running:
        begun = len(study.begun)
        study.turn(1.0)
        left = study.clock.seconds_left(study.running, study.waiting)
        if last is not None and left is not None and study.num_finished >= 2 and len(study.begun) > begun:
            assert abs(left - last) < 0.1 * last + 5
        last = left


def test_where_costs_cannot_be_counted_a_cell_takes_as_long_as_others() -> None:
    study = Simulation(3, 1, 1, 0, countable=False)
    study.clock.note_costs(study.cells[0], replace(STARTED.run, costs=NotMeasured(reason="test")))
    study.clock.finish(study.cells[0], 100.0)
    assert study.clock.seconds_left({}, study.cells[1:]) == pytest.approx(200.0)


def test_a_cell_that_went_on_counts_for_the_whole_that_it_was_a_part_of() -> None:
    study = Simulation(1, 3, 1, 0)
    study.clock.start(study.cells[0], replace(STARTED.run, epochs=10, first_epoch=8))
    study.clock.finish(study.cells[0], 20.0)
    assert study.clock.seconds_left({}, study.cells[1:2]) == pytest.approx(100.0)


def test_as_long_as_nothing_is_measured_nothing_is_said() -> None:
    study = Simulation(2, 2, 2, 0)
    study.turn(0.0)
    assert study.clock.seconds_left(study.running, study.waiting) is None
