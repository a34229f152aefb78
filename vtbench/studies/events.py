"""What a cell emits while it runs, and how that is written as lines of JSON for another process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from vtbench.records import EpochRecord, TimingRecord
from vtbench.training import BatchProgress, ProgressListener, RunStart
from vtbench.written import Written


class _Event(Written):
    """The loss of a run that diverges is no number, and is told."""

    model_config = ConfigDict(allow_inf_nan=True)


class CellStarted(_Event):
    """Data and network are ready; the run begins, or goes on."""

    kind: Literal["started"] = "started"
    run: RunStart


class CellProgress(_Event):
    """Where the cell stands inside an epoch."""

    kind: Literal["progress"] = "progress"
    progress: BatchProgress


class CellEpoch(_Event):
    """An epoch is trained, evaluated and saved."""

    kind: Literal["epoch"] = "epoch"
    epoch: EpochRecord
    timing: TimingRecord


class CellMessage(_Event):
    """A sentence for the user that stops nothing."""

    kind: Literal["message"] = "message"
    text: str


class CellEnded(_Event):
    """The last word of a cell. A process that ends without it has crashed."""

    kind: Literal["ended"] = "ended"
    status: Literal["finished", "failed", "stopped"]
    error: str | None = None


Event = Annotated[CellStarted | CellProgress | CellEpoch | CellMessage | CellEnded, Field(discriminator="kind")]
_EVENTS: TypeAdapter[CellStarted | CellProgress | CellEpoch | CellMessage | CellEnded] = TypeAdapter(Event)


def encode_event(event: Event) -> bytes:
    """One line of JSON with its newline; the loss of a run that diverges stands in it as ``Infinity`` or ``NaN``."""
    return json.dumps(event.model_dump()).encode() + b"\n"


def decode_event(line: bytes) -> Event:
    """The inverse of `encode_event`. Raises ``ValueError`` for anything else."""
    return _EVENTS.validate_json(line)


@dataclass(frozen=True)
class EventEmitter(ProgressListener):
    """Makes events of what it hears; the last word of a cell is that of whoever runs it."""

    emit: Callable[[Event], None]

    def on_start(self, start: RunStart) -> None:
        """Emit the size of the run and where it begins."""
        self.emit(CellStarted(run=start))

    def on_batch(self, progress: BatchProgress) -> None:
        """Emit where the run stands."""
        self.emit(CellProgress(progress=progress))

    def on_epoch(self, epoch: EpochRecord, timing: TimingRecord) -> None:
        """Emit an epoch's outcome."""
        self.emit(CellEpoch(epoch=epoch, timing=timing))

    def on_message(self, text: str) -> None:
        """Hand a sentence on."""
        self.emit(CellMessage(text=text))
