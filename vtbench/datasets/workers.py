"""Processes that make batches ahead of time; they outlive the epoch, so that only the first pays for their start."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from vtbench.datasets.dataset import DataError
from vtbench.errors import UserError

Made = tuple[torch.Tensor, torch.Tensor]


class Maker(Protocol):
    """Makes any batch by its epoch and number; it can be pickled."""

    def __len__(self) -> int:
        """Number of batches in an epoch."""

    def make(self, epoch: int, batch: int) -> Made:
        """The batch ``batch`` of ``epoch``."""


class BatchLoader:
    """Runs a maker over the batches of an epoch, in this process (``workers`` = 0) or in others started by spawn."""

    def __init__(self, maker: Maker, workers: int) -> None:
        self._maker = maker
        self._workers = workers
        self._schedule = _Schedule()
        self._loader: DataLoader[Made | UserError] | None = None

    def run(self, epoch: int, start_batch: int) -> Iterator[Made]:
        """The batches of ``epoch`` from ``start_batch`` on, in order."""
        numbers = range(start_batch, len(self._maker))
        if self._workers == 0:
            for batch in numbers:
                yield self._maker.make(epoch, batch)
            return
        self._schedule.steps = [(epoch, batch) for batch in numbers]
        try:
            for made in self._start():
                if isinstance(made, UserError):
                    raise made
                yield made
        except (RuntimeError, ConnectionError, EOFError, FileNotFoundError) as error:
            # Torch sees a dead worker as RuntimeError, or while it fetches a batch, as a broken connection to it. What
            # the maker itself raised in a living worker begins with "Caught".
            if str(error).startswith("Caught ") or (isinstance(error, RuntimeError) and "worker" not in str(error)):
                raise
            self._loader = None
            raise DataError(
                f"A process that reads images ahead died ({_find_cause(error)}). Run again, or with 0 workers."
            ) from error

    def close(self) -> None:
        """End the worker processes."""
        self._loader = None

    def _start(self) -> Iterator[Made | UserError]:
        with warnings.catch_warnings():
            # The number of workers is the user's choice; torch warns when it is above the number of cores.
            warnings.filterwarnings("ignore", message="This DataLoader will create")
            if self._loader is None:
                self._loader = DataLoader(
                    _Steps(self._maker),
                    batch_size=None,
                    sampler=self._schedule,
                    num_workers=self._workers,
                    persistent_workers=True,
                    multiprocessing_context="spawn",
                    worker_init_fn=_leave_interrupts_to_the_main_process,
                    generator=torch.Generator(),  # Else each epoch would draw from the generator that dropout uses.
                )
            batches = iter(self._loader)
            _keep_deaths()
            return batches


class _KeptDeaths:
    """Torch's handler of the signal by which a process hears of a worker's death, with what it raises kept.

    Raised, it could come at any line of this process: in the middle of a checkpoint, or where Python can but print it.
    The loader comes upon the death itself: it looks at its workers whenever a batch does not come.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self._handler = handler
        self.texts: list[str] = []

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self._handler(number, frame)
        except RuntimeError as error:
            self.texts.append(str(error).partition("\n")[0].rstrip(". "))


def _keep_deaths() -> None:
    handler = signal.getsignal(signal.SIGCHLD)
    in_main_thread = threading.current_thread() is threading.main_thread()  # Torch, too, sets a handler there alone.
    if in_main_thread and callable(handler) and not isinstance(handler, _KeptDeaths):
        signal.signal(signal.SIGCHLD, _KeptDeaths(handler))


def _find_cause(error: Exception, patience: float = 1.0) -> str:
    """What ended a worker; ``error`` alone says that it is gone. Its connections close before its parent is told."""
    deaths = signal.getsignal(signal.SIGCHLD)
    if not isinstance(deaths, _KeptDeaths):
        return str(error)
    deadline = time.monotonic() + patience
    while not deaths.texts and time.monotonic() < deadline:
        time.sleep(0.01)
    told, deaths.texts = "; ".join(deaths.texts), []  # Whose of several loaders each was is not told.
    return told or str(error)


def _leave_interrupts_to_the_main_process(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the main one still wants batches until it has saved its state."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Schedule(Sampler[tuple[int, int]]):
    """The (epoch, batch) pairs to come; the loader asks anew in each epoch."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.steps)


class _Steps(Dataset["Made | UserError"]):
    """The maker as the worker process sees it. Its user errors travel as values: raised, they would lose their text."""

    def __init__(self, maker: Maker) -> None:
        self._maker = maker

    def __getitem__(self, step: tuple[int, int]) -> Made | UserError:
        try:
            return self._maker.make(*step)
        except UserError as error:
            return error
