"""What a cell's process tells the study: one JSON object a line on its standard output."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from vtbench.configuration import Configuration
from vtbench.records import CostRecord, NotMeasured


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
