"""How long a study still takes: what is not yet measured is estimated from measured cells of like cost.

What is estimated is the time of an epoch of an arm, from the MACs of all its images. The cells that wait are laid out
over the places in the order in which they are run, and the last ones share them where they do so in the study.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from vtbench.cli.progress import RunView
from vtbench.records import CostRecord, NotMeasured, RunRecord
from vtbench.stats.lines import fit_line
from vtbench.studies.cells import Cell
from vtbench.studies.data_facts import DataFacts
from vtbench.studies.executor import fits_at_the_end
from vtbench.studies.probe import weigh_images
from vtbench.training import RunStart

CountCosts = Callable[[str, tuple[int, int], int], CostRecord]


class StudyClock:
    """Hears when cells begin, start and finish, and says what is left.

    ``count`` counts the cost of a variant at an image size and a number of classes, which ``facts`` have of each arm;
    without them no arm is counted that has not begun. ``shares_at_the_end`` is that of the study's `Placement`.
    """

    def __init__(
        self,
        jobs: int,
        count: CountCosts,
        facts: DataFacts | None = None,
        *,
        shares_at_the_end: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs, self._count, self._facts, self._now = jobs, count, facts, now
        self._shares_at_the_end = shares_at_the_end
        self._begun: dict[Path, float] = {}
        self._part: dict[Path, float] = {}
        self._finished: dict[str, list[float]] = {}
        self._counted: dict[tuple[str, tuple[int, int], int], CostRecord | NotMeasured] = {}
        self._macs: dict[str, int | None] = {}

    def note_costs(self, cell: Cell, run: RunStart | RunRecord) -> None:
        """The cost of an epoch of the cell's arm is known, or known to be unknown."""
        self._macs[cell.arm] = None if isinstance(run.costs, NotMeasured) else run.costs.macs * weigh_images(run)

    def count_next(self, cells: Iterable[Cell]) -> None:
        """Count the first of ``cells`` whose arm is not known: tenths of a second."""
        unknown = next((cell for cell in cells if cell.arm not in self._macs), None)
        if self._facts is None or unknown is None:
            return
        data = self._facts.of(unknown.arm)
        what = (unknown.config.spelling, data.image_size, data.num_classes)
        if what not in self._counted:
            try:
                self._counted[what] = self._count(*what)
            except Exception as error:  # The cell itself will say what is wrong with it.
                self._counted[what] = NotMeasured(reason=f"{type(error).__name__}: {error}")
        costs = self._counted[what]
        self._macs[unknown.arm] = None if isinstance(costs, NotMeasured) else costs.macs * weigh_images(data)

    def begin(self, cell: Cell) -> None:
        """The cell was handed out."""
        self._begun[cell.folder] = self._now()

    def start(self, cell: Cell, run: RunStart) -> None:
        """The cell begins to train: all of it, or what is left of it."""
        done = run.first_epoch + run.first_batch / run.batches_per_epoch
        self._part[cell.folder] = 1 - done / run.epochs
        self.note_costs(cell, run)

    def finish(self, cell: Cell, seconds: float) -> None:
        """The cell is done; of one that went on, the time of the whole follows from its part."""
        part = self._part.get(cell.folder, 1.0)
        if part > 0:
            seconds_an_epoch = seconds / part / cell.config.recipe.epochs
            self._finished.setdefault(cell.arm, []).append(seconds_an_epoch)

    def seconds_left(self, running: Mapping[Path, tuple[Cell, RunView]], waiting: Sequence[Cell]) -> float | None:
        """Until the last cell ends; None while no cell has shown its speed."""
        measured = {arm: fmean(seconds) for arm, seconds in self._finished.items()}
        paces: dict[str, list[float]] = {}
        for cell, view in running.values():
            if (left := view.seconds_left()) is not None and view.done < 1:
                pace = left / (1 - view.done) / cell.config.recipe.epochs
                paces.setdefault(cell.arm, []).append(pace)
        measured = {**{arm: fmean(seconds) for arm, seconds in paces.items()}, **measured}
        if not measured:
            return None
        estimate = self._fit(measured)
        busy = []
        for cell, view in running.values():
            left = view.seconds_left()
            whole = estimate(cell) * self._part.get(cell.folder, 1.0)
            busy.append(max(0.0, whole - self._now() + self._begun[cell.folder]) if left is None else left)
        return self._lay_out(busy, [estimate(cell) for cell in waiting])

    def _lay_out(self, busy: list[float], waiting: Sequence[float]) -> float:
        """When the last cell ends, of those that need ``busy`` more seconds and those that need ``waiting`` each."""
        free_at = busy + [0.0] * (self._jobs - len(busy))
        heapq.heapify(free_at)
        begin = 0.0
        for place, seconds in enumerate(waiting):
            left = [at - begin for at in free_at if at > begin] + list(waiting[place:])
            if self._shares_at_the_end and fits_at_the_end(len(left), self._jobs):
                return begin + share_out(left, self._jobs)
            begin = free_at[0]
            heapq.heapreplace(free_at, begin + seconds)
        return max(free_at)

    def _fit(self, measured: Mapping[str, float]) -> Callable[[Cell], float]:
        """Seconds of any whole cell: as measured, else on the line of seconds over MACs, else the mean."""
        mean = fmean(measured.values())
        points = [(macs, seconds) for arm, seconds in measured.items() if (macs := self._macs.get(arm))]
        start, rate = fit_line(points) if points else (mean, 0.0)

        def estimate(cell: Cell) -> float:
            epochs, macs = cell.config.recipe.epochs, self._macs.get(cell.arm)
            if cell.arm in measured:
                return epochs * measured[cell.arm]
            return epochs * (mean if macs is None else start + rate * macs)

        return estimate


def share_out(seconds: Sequence[float], cores: int) -> float:
    """When the last of cells is done that take so many ``seconds`` alone, and begin together on so many ``cores``."""
    now = done = 0.0
    for place, alone in enumerate(sorted(seconds)):
        now += (alone - done) * max(1.0, (len(seconds) - place) / cores)
        done = alone
    return now
