"""What a run tells whoever watches it, and how it is told to stop.

Nothing here loads torch, so a display can live in another process. To stop a run cleanly, a signal sets a flag; the
loop sees it after the step in hand, saves and leaves.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import ClassVar

from vtbench.records import CostRecord, EpochRecord, NotMeasured, RunRecord, TimingRecord


@dataclass(frozen=True)
class RunStart:
    """A run that begins, or goes on at ``first_epoch`` after ``first_batch`` batches of it (both counted from 0)."""

    task: str
    variant: str
    folder: str
    seed: int
    device: str
    epochs: int
    batches_per_epoch: int
    num_train: int
    num_val: int
    num_classes: int
    first_epoch: int
    first_batch: int
    costs: CostRecord | NotMeasured


@dataclass(frozen=True)
class BatchProgress:
    """Where a run stands inside an epoch (counted from 0). ``train`` is what the epoch has come to so far.

    ``images_per_second`` is the training speed over this epoch so far, as this process has seen it.
    """

    epoch: int
    batch: int
    num_batches: int
    train: dict[str, float]
    images_per_second: float


class ProgressListener:
    """Receives the course of a run, in the process and thread that trains, and by itself says nothing.

    What a subclass does must return at once.
    """

    def on_start(self, start: RunStart) -> None:
        """The data and the network are ready and the first batch comes next."""

    def on_batch(self, progress: BatchProgress) -> None:
        """A batch is done; called a few times a second at most, not for each batch."""

    def on_epoch(self, epoch: EpochRecord, timing: TimingRecord) -> None:
        """An epoch is trained, evaluated and saved; told of when its files are written, which may be in the next."""

    def on_message(self, text: str) -> None:
        """Something that a user should know and that stops nothing: one paragraph."""

    def on_finish(self, record: RunRecord) -> None:
        """The run has finished or failed and its record is written, or was found finished."""


class ListenerGroup(ProgressListener):
    """Several listeners, told one after the other."""

    def __init__(self, *listeners: ProgressListener) -> None:
        self._listeners = listeners

    def on_start(self, start: RunStart) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.on_start(start)

    def on_batch(self, progress: BatchProgress) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.on_batch(progress)

    def on_epoch(self, epoch: EpochRecord, timing: TimingRecord) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.on_epoch(epoch, timing)

    def on_message(self, text: str) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.on_message(text)

    def on_finish(self, record: RunRecord) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.on_finish(record)


SILENT = ProgressListener()
"""The listener of those who do not watch."""


class RunStopped(Exception):  # noqa: N818 - it is no error: the run was asked to stop and did.
    """The run was asked to stop, has saved its state in ``folder``, and goes on there when called again."""

    def __init__(self, folder: Path, *, epoch: int, batch: int) -> None:
        self.folder = folder
        self.epoch = epoch
        self.batch = batch
        super().__init__(
            f"Stopped in epoch {epoch + 1} after {batch} of its batches; the state is saved in {folder}. "
            "The same command again goes on from there."
        )


class StopRequest:
    """A wish to stop that the training loop looks at after every step.

    ``parting`` is the last word where what is in hand is left undone.
    """

    IN_A_STEP: ClassVar[str] = (
        "Stopped in the middle of a step; the same command again goes on from the last checkpoint."
    )
    BEFORE_CELLS: ClassVar[str] = "Stopped before the next cell was begun; the same command again begins there."
    IN_A_PLAN: ClassVar[str] = "Stopped before the plan was made; nothing was begun, and nothing is lost."

    def __init__(self) -> None:
        self._event = threading.Event()
        self.parting = self.IN_A_STEP

    @property
    def requested(self) -> bool:
        """Whether the run shall stop."""
        return self._event.is_set()

    def look(self) -> bool:
        """Between two steps: whether the run shall stop. Here runs that share a process let each other work."""
        return self.requested

    def request(self) -> None:
        """Ask the run to stop after the step in hand. Safe from any thread and from a signal handler."""
        self._event.set()

    @contextmanager
    def on_signals(self, *, grace_seconds: float = 4.0) -> Iterator[StopRequest]:
        """Turn SIGINT and SIGTERM into a stop request while the block runs; call it in the main thread.

        The first signal asks; the second ends the process the hard way, which loses no more than the steps since the
        last checkpoint. So does a step that is still not over ``grace_seconds`` after the first signal: a very slow
        step cannot be saved half-way.
        """
        previous: dict[signal.Signals, object] = {}
        timer: list[threading.Timer] = []

        def handle(number: int, frame: FrameType | None) -> None:
            if self.requested:
                self._leave_at_once(number)
            self.request()
            watchdog = threading.Timer(grace_seconds, self._leave_at_once, args=(number,))
            watchdog.daemon = True
            watchdog.start()
            timer.append(watchdog)

        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, handle)
        try:
            yield self
        finally:
            for watchdog in timer:
                watchdog.cancel()
            for number, handler in previous.items():
                signal.signal(number, handler)  # type: ignore[arg-type]

    def _leave_at_once(self, signal_number: int) -> None:
        """End this process without unwinding; what was saved stands, and the same command goes on from it."""
        sys.stderr.write(f"\n{self.parting}\n")
        sys.stderr.flush()
        os._exit(128 + signal_number)
