"""A short measured probe: real cells run for a few seconds in a scratch folder, and what they did is thrown away.

The probe uses the executor and the runner that the study will use, so that it measures what the study will see: the
same batches, threads, checkpoints and neighbours on the machine.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from vtbench.records import NotMeasured, RunRecord
from vtbench.studies.cells import Cell
from vtbench.studies.data_facts import DataFacts
from vtbench.studies.events import CellEpoch, CellProgress, CellStarted, Event
from vtbench.studies.executor import CellResult, Session
from vtbench.training import BatchProgress, RunStart, StopRequest

MEASURE_SECONDS = 2.0
QUICK_SECONDS = 0.5
"""Of a plan that shall be there in seconds, so long instead."""
GIVE_UP_SECONDS = 90.0
_GIVE_UP_QUICKLY_SECONDS = 3.0
"""After all cells train, not after they are begun: on a busy machine that alone takes long."""
TOO_SLOW = NotMeasured(reason="no batch was completed in the time that the probe has")
_VALIDATION_COST = 1 / 3
"""Time of a validation image in training images: a forward pass against forward and backward."""


@dataclass(frozen=True)
class CellSpeed:
    """What the probe saw of one cell. ``epoch_seconds`` covers training, validation and saving."""

    cell: Cell
    started: RunStart
    epoch_seconds: float
    start_seconds: float

    @property
    def images_per_second(self) -> float:
        """Training images a second, everything included."""
        return self.started.num_train / self.epoch_seconds

    @property
    def run_images_per_second(self) -> float:
        """Those of the whole cell, with the start of its process."""
        return self.started.num_train * self.cell.config.recipe.epochs / self.run_seconds

    @property
    def run_seconds(self) -> float:
        """Expected time of the whole cell, with the start of its process."""
        return self.start_seconds + self.epoch_seconds * self.cell.config.recipe.epochs

    @property
    def epoch_macs(self) -> int | NotMeasured:
        """MACs of an epoch, saving and loading left out."""
        costs = self.started.costs
        return costs if isinstance(costs, NotMeasured) else costs.macs * weigh_images(self.started)

    @property
    def run_macs(self) -> int | NotMeasured:
        """MACs of the whole cell."""
        macs = self.epoch_macs
        return macs if isinstance(macs, NotMeasured) else macs * self.cell.config.recipe.epochs


def weigh_images(run: RunStart | RunRecord | DataFacts) -> int:
    """Forward passes of an epoch: three for a training image, which go forward and backward, one for validation."""
    return 3 * run.num_train + run.num_val


def measure_in_groups(
    cells: Sequence[Cell],
    jobs: int,
    session: Session,
    *,
    is_quick: bool = False,
    give_up_seconds: float = GIVE_UP_SECONDS,
) -> list[CellSpeed | NotMeasured]:
    """Measure each of ``cells``, with as many neighbours as in the study, or it would seem faster."""
    speeds: list[CellSpeed | NotMeasured] = []
    for start in range(0, len(cells), jobs):
        group = cells[start : start + jobs]
        neighbours = islice(cycle(cells), jobs - len(group))
        together = [*group, *neighbours]
        speeds += measure_speeds(together, session, is_quick=is_quick, give_up_seconds=give_up_seconds)[: len(group)]
    return speeds


def measure_speeds(
    cells: Sequence[Cell], session: Session, *, is_quick: bool = False, give_up_seconds: float = GIVE_UP_SECONDS
) -> list[CellSpeed | NotMeasured]:
    """Run all ``cells`` at the same time and measure each while all of them are training.

    Give no more cells than the executor runs at once. A cell that fails is `NotMeasured` with its error, and the others
    are measured without it; one that does not come through two batches in time, less of it if ``is_quick``, is
    `TOO_SLOW`.
    """
    with session.executor.scratch() as folder:
        copies = [cell.model_copy(update={"folder": Path(folder) / str(n)}) for n, cell in enumerate(cells)]
        watcher = _SpeedWatcher(copies, session.stop, is_quick=is_quick, give_up_seconds=give_up_seconds)
        results = session.executor.run(copies, len(copies), watcher=watcher, stop=watcher.enough)
        errors = {result.cell.folder: result.error for result in results}
        return [
            watcher.speed(cell, copy.folder) or (NotMeasured(reason=error) if error else TOO_SLOW)
            for cell, copy in zip(cells, copies, strict=True)
            for error in (errors.get(copy.folder),)
        ]


@dataclass
class _Course:
    """One probed cell: where it stood when it was first seen in the epoch at hand, and what follows from that."""

    begun: float = 0.0
    started: RunStart | None = None
    start_seconds: float = 0.0
    epoch: int = -1
    since: float = 0.0
    since_batch: int = 0
    epoch_seconds: float | None = None
    measured_for: float = 0.0
    ended: bool = False


class _SpeedWatcher:
    """Notes the course of each cell and asks to stop as soon as enough was seen, or the user wants to."""

    def __init__(self, cells: Sequence[Cell], outer: StopRequest, *, is_quick: bool, give_up_seconds: float) -> None:
        self._measure_seconds = QUICK_SECONDS if is_quick else MEASURE_SECONDS
        self._is_quick = is_quick
        self.enough = StopRequest()
        self._courses = {cell.folder: _Course() for cell in cells}
        self._outer = outer
        self._give_up_at = time.monotonic() + give_up_seconds
        self._together = False

    def on_begin(self, cell: Cell) -> None:
        """The process starts."""
        self._courses[cell.folder].begun = time.monotonic()

    def on_event(self, cell: Cell, event: Event) -> None:
        """Note how far the cell has come; what it did before the others had started does not count."""
        course, now = self._courses[cell.folder], time.monotonic()
        if isinstance(event, CellStarted):
            course.started, course.start_seconds = event.run, now - course.begun
            self._see_together()
        elif isinstance(event, CellProgress) and self._together:
            self._note_batch(course, event.progress, now)
        elif isinstance(event, CellEpoch) and self._together:
            course.epoch_seconds = event.timing.seconds
            course.measured_for += event.timing.seconds

    def on_end(self, result: CellResult) -> None:
        """The others are waited for no longer on its account."""
        self._courses[result.cell.folder].ended = True
        self._see_together()

    def on_turn(self) -> None:
        """Stop when every cell was seen for long enough, when it takes far too long, and when the user says so."""
        enough = all(course.ended or course.measured_for >= self._measure_seconds for course in self._courses.values())
        if enough or self._outer.requested or time.monotonic() > self._give_up_at:
            self.enough.request()

    def speed(self, cell: Cell, folder: Path) -> CellSpeed | None:
        """The measured speed of a cell, if it did any work."""
        course = self._courses[folder]
        if course.started is None or course.epoch_seconds is None:
            return None
        return CellSpeed(cell, course.started, course.epoch_seconds, course.start_seconds)

    def _see_together(self) -> None:
        self._together = all(course.started or course.ended for course in self._courses.values())
        if self._together and self._is_quick:
            self._give_up_at = time.monotonic() + _GIVE_UP_QUICKLY_SECONDS

    @staticmethod
    def _note_batch(course: _Course, progress: BatchProgress, now: float) -> None:
        assert course.started is not None
        if course.epoch != progress.epoch:
            course.epoch, course.since, course.since_batch = progress.epoch, now, progress.batch
            return
        batches, seconds = progress.batch - course.since_batch, now - course.since
        if batches > 0 and seconds > 0:
            images_per_batch = course.started.num_train / progress.num_batches
            images = course.started.num_train + course.started.num_val * _VALIDATION_COST
            course.epoch_seconds = images * seconds / (batches * images_per_batch)
            course.measured_for = max(course.measured_for, seconds)
