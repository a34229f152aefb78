"""The process of one cell: ``python -m vtbench.studies.worker``, the cell as one line of JSON on standard input.

Exit code 0 means that the last word was said, whatever it was; see `vtbench.studies.events`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from io import TextIOWrapper
from typing import BinaryIO

from vtbench.errors import UserError
from vtbench.records import EpochRecord, RunRecord, TimingRecord
from vtbench.studies.cells import Cell
from vtbench.studies.events import CellEnded, CellEpoch, CellMessage, CellProgress, CellStarted, Event, encode_event
from vtbench.training import BatchProgress, ProgressListener, RunStart, RunStopped, StopRequest

CellRunner = Callable[[Cell, ProgressListener, StopRequest], RunRecord]
"""Trains a cell; raises `RunStopped` when it was asked to stop."""

_LEAVE_WITHIN_SECONDS = 4.5


class LineReporter:
    """A `ProgressListener` that writes events as lines. A reader that is gone is no reason to lose the run."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def tell(self, event: Event) -> None:
        """Write one event."""
        try:
            self._stream.write(encode_event(event))
            self._stream.flush()
        except OSError:
            return

    def on_start(self, start: RunStart) -> None:
        """Tell the size of the run and where it begins."""
        self.tell(
            CellStarted(
                epochs=start.epochs,
                first_epoch=start.first_epoch,
                batches_per_epoch=start.batches_per_epoch,
                num_train=start.num_train,
                num_val=start.num_val,
                costs=start.costs,
            )
        )

    def on_batch(self, progress: BatchProgress) -> None:
        """Tell where the run stands."""
        self.tell(
            CellProgress(
                epoch=progress.epoch,
                batch=progress.batch,
                num_batches=progress.num_batches,
                loss=_finite(progress.train["loss"]),
                images_per_second=progress.images_per_second,
            )
        )

    def on_epoch(self, epoch: EpochRecord, timing: TimingRecord) -> None:
        """Tell an epoch's outcome."""
        self.tell(
            CellEpoch(
                epoch=epoch.epoch,
                train_loss=_finite(epoch.train["loss"]),
                outcome=epoch.outcome,
                seconds=timing.train_seconds + timing.val_seconds,
            )
        )

    def on_message(self, text: str) -> None:
        """Hand a sentence on."""
        self.tell(CellMessage(text=text))

    def on_finish(self, record: RunRecord) -> None:
        """Say nothing: the last word is `serve`'s."""


def serve(run: CellRunner) -> None:
    """Read a cell, run it and report, until it ends or the study does."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the study passes it on in good order.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stream = _claim_output()
    cell = Cell.model_validate_json(sys.stdin.buffer.readline())
    stop = StopRequest()
    threading.Thread(target=_watch_study, args=(stop,), daemon=True).start()
    reporter = LineReporter(stream)
    try:
        record = run(cell, reporter, stop)
    except RunStopped:
        ended = CellEnded(status="stopped")
    except UserError as error:
        ended = CellEnded(status="failed", error=str(error))
    except Exception as error:
        traceback.print_exc()
        ended = CellEnded(status="failed", error=f"{type(error).__name__}: {error}")
    else:
        ended = CellEnded(status=record.status, error=record.error)
    reporter.tell(ended)


def _train(cell: Cell, listener: ProgressListener, stop: StopRequest) -> RunRecord:
    import vtbench.models  # noqa: F401  (fills the registry)
    from vtbench.training import train_run

    return train_run(cell.config, cell.folder, listener=listener, arm=cell.arm, study=cell.study, stop=stop)


def _claim_output() -> BinaryIO:
    """Keep standard output for events: what libraries print goes to the log."""
    private = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # A crash then takes no more than a line along.
    return os.fdopen(private, "wb")


def _watch_study(stop: StopRequest) -> None:
    """Ask the run to stop once the study closes the pipe or is gone, and leave if it cannot."""
    os.read(sys.stdin.fileno(), 1)
    stop.request()
    threading.Event().wait(_LEAVE_WITHIN_SECONDS)
    os._exit(128 + signal.SIGTERM)


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


if __name__ == "__main__":
    serve(_train)
    sys.stderr.flush()
    os._exit(0)  # Everything is on disk, and taking torch down in good order takes a second or more.
