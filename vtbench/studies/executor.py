"""The seam between a study and whatever carries its cells out: processes here, a cluster elsewhere.

One file of ``executors`` is one executor: it enters itself in `EXECUTORS` when imported, and is found by being there.
"""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from vtbench.environment import settle_device
from vtbench.errors import UserError
from vtbench.registry import Registry
from vtbench.studies.cells import Cell
from vtbench.studies.events import Event
from vtbench.studies.inspection import Inspector
from vtbench.training import StopRequest
from vtbench.variants import split_options
from vtbench.written import Configuration, validate_configuration


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
        """The cell emitted something."""

    def on_end(self, result: CellResult) -> None:
        """The cell ended, however it did."""

    def on_turn(self) -> None:
        """Nothing in particular: called several times a second, for clocks and displays."""


@dataclass(frozen=True)
class Affinity:
    """What cells may use in all: CPU threads and GPUs.

    ``most_jobs`` bounds the cells at once, and ``most_threads`` the threads of one cell; None not at all. Where cells
    wait in a queue (``is_queue``), there may be any number of them at once, each with ``most_threads``. ``shares_gpus``
    says that more cells than GPUs can run at once.
    """

    threads: int
    num_gpus: int
    most_jobs: int | None = None
    most_threads: int | None = None
    is_queue: bool = False
    shares_gpus: bool = False


class RunningCell(Protocol):
    """A cell that was begun by itself."""

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""

    def events(self) -> Iterator[Event]:
        """What it emits, until it is gone."""

    def kill(self) -> None:
        """End it here and now, so that it cannot save itself."""


class Executor(ABC):
    """Carries cells out. A cell's failure is a result, never an exception of the executor.

    A cell has its number of threads in its configuration. What is not overridden is right for cells of this machine.
    An executor that leaves something to the user has ``Knobs`` and is built from them; one ``has_processes`` whose
    cells have processes of their own on this machine.
    """

    Knobs: ClassVar[type[Configuration] | None] = None
    has_processes: ClassVar[bool] = False

    @abstractmethod
    def run(self, cells: Sequence[Cell], jobs: int, *, watcher: CellWatcher, stop: StopRequest) -> Iterator[CellResult]:
        """Run ``jobs`` of ``cells`` at once and yield one result for every cell that was begun, as they end.

        After ``stop`` is requested no cell is begun, and those that run save themselves and end within seconds.
        Closing the iterator early ends the running cells too.
        """

    @property
    def runs_here(self) -> bool:
        """Whether cells run on this machine, so that its devices are those that they can have."""
        return True

    def affinity(self, device: str) -> Affinity:
        """What there is for cells on ``device``."""
        return Affinity(count_cores(), num_gpus=int(device != "cpu"))

    def settle_device(self, name: str) -> str:
        """The device that cells get who are told ``name``. Raises ``UserError`` for one that they cannot have."""
        return settle_device(name)

    def scratch(self) -> AbstractContextManager[str]:
        """A temporary folder that every cell can write to."""
        return tempfile.TemporaryDirectory(prefix="vtbench-", ignore_cleanup_errors=True)

    def holding(self, lock: int) -> Executor:
        """This executor, whose cells keep the open file ``lock`` for as long as they live."""
        return self

    def sharing_at_the_end(self) -> Executor:
        """This executor, whose last cells share the cores among them where one would be left idle."""
        return self

    def taking_turns(self) -> Executor:
        """This executor, whose cells take turns in one process a GPU where they can."""
        return self

    @property
    def took_turns(self) -> bool:
        """Whether cells that it has run shared a process as `taking_turns` has them do."""
        return False

    def start(self, cell: Cell) -> RunningCell:
        """Begin one cell that can be killed. Raises ``UserError`` where none can be."""
        raise UserError(
            "Resuming cannot be checked with this executor, whose cells cannot be killed. Take --executor local."
        )


EXECUTORS: Registry[Callable[..., Executor]] = Registry("executor")
"""Every executor that ``--executor`` can name. Importing ``vtbench.studies.executors`` fills it."""


def open_executor(text: str, *, address: str | None = None) -> Executor:
    """The executor that ``text`` spells, ``ray`` or ``ray:address=auto``; ``address`` is that of its cluster.

    Raises ``UserError`` for one that there is not, and for what it leaves nobody to choose.
    """
    import vtbench.studies.executors  # noqa: F401  (fills the registry)

    name, _, tail = text.strip().partition(":")
    build = EXECUTORS[name]
    kind: type[Configuration] | None = getattr(build, "Knobs", None)
    given = split_options(text, tail, noun="knob", example="ray:address=auto")
    if address is not None:
        if kind is None or "address" not in kind.model_fields:
            raise UserError(
                f"--address is that of a cluster, and --executor {name} has none. Leave out one of the two."
            )
        given["address"] = address
    if kind is None:
        if given:
            raise UserError(f"The executor {name!r} leaves nothing to choose, and {text!r} names {next(iter(given))}.")
        return build()
    return build(validate_configuration(kind, given, source=f"The executor {name!r}", noun="knob"))


@dataclass(frozen=True)
class Session:
    """One call on a study: who carries its cells out, what the user wants of the machine, and the wish to stop.

    ``jobs`` cells at once and ``threads`` of all cells together are automatic where None. ``ways`` of training may be
    taken where they are measured to be faster. ``inspector`` looks at the study before its cells begin.
    """

    executor: Executor
    stop: StopRequest
    jobs: int | None = None
    threads: int | None = None
    ways: tuple[str, ...] = ()
    inspector: Inspector = field(default_factory=Inspector)


def fits_at_the_end(num_left: int, jobs: int) -> bool:
    """Whether the ``num_left`` cells of a study, more than ``jobs`` and at most half as many again, share the cores.

    In turns, the last of them would run with cores idle beside them: three cells of an hour each take two hours on two
    cores, and an hour and a half at best where they share. What a cell computes does not depend on its neighbours.
    """
    return jobs < num_left <= jobs + jobs // 2


def count_cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
