"""How long a study still takes: what is not yet measured is estimated from measured cells of like cost.

What is estimated is the time of an epoch, which is that of the MACs of a variant where the data are the same. The cells
that wait are laid out over the places in the order in which they are run.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from vtbench.cli.progress import RunView
from vtbench.configuration import DataConfig
from vtbench.records import CostRecord, NotMeasured
from vtbench.stats.lines import fit_line
from vtbench.studies.cells import Cell
from vtbench.training import RunStart

_Work = tuple[str, DataConfig]
"""What an epoch is of: a variant and data."""
CountCosts = Callable[[str, tuple[int, int], int], CostRecord]


class StudyClock:
    """Hears when cells begin, start and finish, and says what is left.

    ``count`` counts the cost of a variant at an image size and a number of classes.
    """

    def __init__(self, jobs: int, count: CountCosts, *, now: Callable[[], float] = time.monotonic) -> None:
        self._jobs, self._count, self._now = jobs, count, now
        self._begun: dict[Path, float] = {}
        self._part: dict[Path, float] = {}
        self._finished: dict[_Work, list[float]] = {}
        self._costs: dict[str, CostRecord | NotMeasured] = {}

    def note_costs(self, variant: str, costs: CostRecord | NotMeasured) -> None:
        """The cost of a variant is known."""
        self._costs[variant] = costs

    def count_next(self, variants: Iterable[str]) -> None:
        """Count the first of ``variants`` that is not known, for images as those of a known one: tenths of a second."""
        known = next((costs for costs in self._costs.values() if isinstance(costs, CostRecord)), None)
        unknown = next((variant for variant in variants if variant not in self._costs), None)
        if known is None or unknown is None:
            return
        _, height, width = known.input_shape
        try:
            self._costs[unknown] = self._count(unknown, (height, width), known.num_classes)
        except Exception as error:  # The cell itself will say what is wrong with it.
            self._costs[unknown] = NotMeasured(reason=f"{type(error).__name__}: {error}")

    def begin(self, cell: Cell) -> None:
        """The cell was handed out."""
        self._begun[cell.folder] = self._now()

    def start(self, cell: Cell, run: RunStart) -> None:
        """The cell begins to train: all of it, or what is left of it."""
        done = run.first_epoch + run.first_batch / run.batches_per_epoch
        self._part[cell.folder] = 1 - done / run.epochs
        self.note_costs(cell.config.spelling, run.costs)

    def finish(self, cell: Cell, seconds: float) -> None:
        """The cell is done; of one that went on, the time of the whole follows from its part."""
        part = self._part.get(cell.folder, 1.0)
        if part > 0:
            seconds_an_epoch = seconds / part / cell.config.recipe.epochs
            self._finished.setdefault(_name_work(cell), []).append(seconds_an_epoch)

    def seconds_left(self, running: Mapping[Path, tuple[Cell, RunView]], waiting: Sequence[Cell]) -> float | None:
        """Until the last cell ends; None while no cell has shown its speed."""
        measured = {work: fmean(seconds) for work, seconds in self._finished.items()}
        paces: dict[_Work, list[float]] = {}
        for cell, view in running.values():
            if (left := view.seconds_left()) is not None and view.done < 1:
                pace = left / (1 - view.done) / cell.config.recipe.epochs
                paces.setdefault(_name_work(cell), []).append(pace)
        measured = {**{work: fmean(seconds) for work, seconds in paces.items()}, **measured}
        if not measured:
            return None
        estimate = self._fit(measured)
        busy = []
        for cell, view in running.values():
            left = view.seconds_left()
            whole = estimate(cell) * self._part.get(cell.folder, 1.0)
            busy.append(max(0.0, whole - self._now() + self._begun[cell.folder]) if left is None else left)
        free_at = busy + [0.0] * (self._jobs - len(busy))
        heapq.heapify(free_at)
        for cell in waiting:
            heapq.heapreplace(free_at, free_at[0] + estimate(cell))
        return max(free_at)

    def _fit(self, measured: Mapping[_Work, float]) -> Callable[[Cell], float]:
        """Seconds of any whole cell: as measured, else on the line of seconds over MACs, else the mean."""
        mean = fmean(measured.values())
        points = [
            (costs.macs, seconds)
            for (variant, _), seconds in measured.items()
            if isinstance(costs := self._costs.get(variant), CostRecord)
        ]
        start, rate = fit_line(points) if points else (mean, 0.0)

        def estimate(cell: Cell) -> float:
            epochs, costs = cell.config.recipe.epochs, self._costs.get(cell.config.spelling)
            if (work := _name_work(cell)) in measured:
                return epochs * measured[work]
            return epochs * (start + rate * costs.macs if isinstance(costs, CostRecord) else mean)

        return estimate


def _name_work(cell: Cell) -> _Work:
    return cell.config.spelling, cell.config.data
