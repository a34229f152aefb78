"""The seam between a study and whatever carries its cells out: processes here, a cluster elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from vtbench.studies.cells import Cell
from vtbench.studies.events import Event
from vtbench.training import StopRequest


@dataclass(frozen=True)
class CellResult:
    """How a cell ended. ``stopped`` is no failure: it was asked to stop and goes on when called again."""

    cell: Cell
    status: Literal["finished", "failed", "stopped"]
    seconds: float
    error: str | None = None


class CellWatcher(Protocol):
    """Sees every cell from beginning to end, in the thread that iterates over the results."""

    def on_begin(self, cell: Cell) -> None:
        """The cell was handed out."""

    def on_event(self, cell: Cell, event: Event) -> None:
        """The cell told something."""

    def on_end(self, result: CellResult) -> None:
        """The cell ended, however it did."""

    def on_turn(self) -> None:
        """Nothing in particular: called several times a second, for clocks and displays."""


class Executor(Protocol):
    """Carries cells out. A cell's failure is a result, never an exception of the executor."""

    def run(self, cells: Sequence[Cell], *, watcher: CellWatcher, stop: StopRequest) -> Iterator[CellResult]:
        """Yield one result for every cell that was begun, as they end.

        After ``stop`` is requested no cell is begun, and those that run save themselves and end within seconds.
        Closing the iterator early ends the running cells too.
        """
