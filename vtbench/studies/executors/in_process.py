"""Cells in this very process, one after the other: quick and easy to debug, but not safe from one that crashes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from vtbench.studies.cells import Cell
from vtbench.studies.events import Event
from vtbench.studies.executor import EXECUTORS, Affinity, CellResult, CellWatcher, Executor, count_cores
from vtbench.studies.worker import CellRunner, carry_out, run_cell
from vtbench.training import StopRequest


@EXECUTORS.register("in_process")
class InProcess(Executor):
    """The executor of one process. A cell that takes it down takes the study along."""

    def __init__(self, run: CellRunner = run_cell) -> None:
        self._run_cell = run

    def affinity(self, device: str) -> Affinity:
        """All cores for one cell."""
        return Affinity(count_cores(), num_gpus=int(device != "cpu"), most_jobs=1)

    def run(self, cells: Sequence[Cell], jobs: int, *, watcher: CellWatcher, stop: StopRequest) -> Iterator[CellResult]:
        """Yield one result for every cell that was begun; see `Executor.run`."""
        for cell in cells:
            if stop.requested:
                return
            began = time.monotonic()
            watcher.on_begin(cell)

            def emit(event: Event, cell: Cell = cell) -> None:
                watcher.on_event(cell, event)
                watcher.on_turn()

            ended = carry_out(cell, emit, stop, self._run_cell)
            result = CellResult(cell, ended.status, time.monotonic() - began, ended.error)
            watcher.on_end(result)
            yield result
