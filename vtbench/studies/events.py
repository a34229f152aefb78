"""What a cell emits while it runs, and how that is written as lines of JSON for another process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from vtbench.configuration import Configuration
from vtbench.records import CostRecord, EpochRecord, NotMeasured, RunRecord, TimingRecord
from vtbench.training import BatchProgress, RunStart


class CellStarted(Configuration):
    """Data and network are ready; the run begins, or goes on, at ``first_epoch`` (counted from 0)."""

    kind: Literal["started"] = "started"
    epochs: int
    first_epoch: int
    batches_per_epoch: int
    num_train: int
    num_val: int
    costs: CostRecord | NotMeasured


class CellProgress(Configuration):
    """Where the cell stands inside an epoch (counted from 0)."""

    kind: Literal["progress"] = "progress"
    epoch: int
    batch: int
    num_batches: int
    loss: float | None
    images_per_second: float


class CellEpoch(Configuration):
    """An epoch is trained, evaluated and saved."""

    kind: Literal["epoch"] = "epoch"
    epoch: int
    train_loss: float | None
    outcome: dict[str, float]
    seconds: float


class CellMessage(Configuration):
    """A sentence for the user that stops nothing."""

    kind: Literal["message"] = "message"
    text: str


class CellEnded(Configuration):
    """The last word of a cell. A process that ends without it has crashed."""

    kind: Literal["ended"] = "ended"
    status: Literal["finished", "failed", "stopped"]
    error: str | None = None


Event = Annotated[
    CellStarted | CellProgress | CellEpoch | CellMessage | CellEnded,
    Field(discriminator="kind"),
]
_EVENTS: TypeAdapter[CellStarted | CellProgress | CellEpoch | CellMessage | CellEnded] = TypeAdapter(Event)


def encode_event(event: Event) -> bytes:
    """One line of JSON with its newline."""
    return event.model_dump_json().encode() + b"\n"


def decode_event(line: bytes) -> Event:
    """The inverse of `encode_event`. Raises ``ValueError`` for anything else."""
    return _EVENTS.validate_json(line)


@dataclass(frozen=True)
class EventEmitter:
    """A `ProgressListener` that makes events of what it hears."""

    emit: Callable[[Event], None]

    def on_start(self, start: RunStart) -> None:
        """Emit the size of the run and where it begins."""
        self.emit(
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
        """Emit where the run stands."""
        self.emit(
            CellProgress(
                epoch=progress.epoch,
                batch=progress.batch,
                num_batches=progress.num_batches,
                loss=_finite(progress.train["loss"]),
                images_per_second=progress.images_per_second,
            )
        )

    def on_epoch(self, epoch: EpochRecord, timing: TimingRecord) -> None:
        """Emit an epoch's outcome."""
        self.emit(
            CellEpoch(
                epoch=epoch.epoch,
                train_loss=_finite(epoch.train["loss"]),
                outcome=epoch.outcome,
                seconds=timing.train_seconds + timing.val_seconds,
            )
        )

    def on_message(self, text: str) -> None:
        """Hand a sentence on."""
        self.emit(CellMessage(text=text))

    def on_finish(self, record: RunRecord) -> None:
        """Say nothing: the last word is that of whoever runs the cell."""


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None
