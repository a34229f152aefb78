"""A frozen type for every result, and its file format: JSON with sorted keys, one object a file or a line.

Accuracies are in percent, times in seconds or milliseconds as the name says, costs are raw integers. What could not be
measured is a `NotMeasured` with its reason, never 0 or NaN.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from vtbench.configuration import RunConfig
from vtbench.errors import UserError
from vtbench.files import publish_text


class Record(BaseModel):
    """Base of all records: frozen, and a file with unknown keys does not load."""

    model_config = ConfigDict(frozen=True, extra="forbid")


R = TypeVar("R", bound=Record)


class NotMeasured(Record):
    """The place of a number that could not be had."""

    reason: str


class EnvironmentRecord(Record):
    """Where a number was born."""

    vtbench: str
    commit: str | None
    dirty: bool | None
    python: str
    platform: str
    cpu: str
    num_cores: int
    threads: int
    device: str
    device_name: str
    packages: dict[str, str]


class CostRecord(Record):
    """What a variant costs per image: 1 MAC = 1 multiply-accumulate. ``input_shape`` is (channels, height, width)."""

    macs: int
    params: int
    input_shape: tuple[int, int, int]
    num_classes: int


class EpochRecord(Record):
    """One epoch's outcome. Wall times stand in `TimingRecord`, so that a resumed run repeats these to the bit."""

    epoch: int
    learning_rate: float
    train_loss: float
    train_top1_percent: float
    val_loss: float
    val_top1_percent: float
    ema_val_loss: float | None = None
    ema_val_top1_percent: float | None = None


class TimingRecord(Record):
    """How long an epoch took."""

    epoch: int
    train_seconds: float
    val_seconds: float
    train_images_per_second: float


class Certificate(Record):
    """Hashes of everything that two arms must share to be comparable. Equal fields, equal treatment."""

    sample_order: str
    augmentation: str
    schedule: str
    recipe: str
    precision: str
    train_data: str
    val_data: str


class RunRecord(Record):
    """One finished or failed run: the cell of a study."""

    variant: str
    seed: int
    status: Literal["finished", "failed"]
    config: RunConfig
    environment: EnvironmentRecord
    costs: CostRecord | NotMeasured
    certificate: Certificate | None
    num_train: int
    num_val: int
    num_classes: int
    epochs: tuple[EpochRecord, ...]
    val_top1_percent: float | NotMeasured
    weights_sha256: str | None
    error: str | None = None
    arm: str | None = None
    study: str | None = None


def to_json(record: Record | Iterable[Record]) -> str:
    """The record, or a list of records, as JSON text with sorted keys and a newline at the end."""
    plain: Any = (
        record.model_dump(mode="json") if isinstance(record, Record) else [r.model_dump(mode="json") for r in record]
    )
    return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def save_record(path: Path, record: Record) -> None:
    """Write one record to ``path``, whole or not at all."""
    publish_text(path, to_json(record))


def load_record(path: Path, kind: type[R]) -> R:
    """Read what `save_record` wrote. Raises ``UserError`` naming the file if it is missing, torn or of another kind."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path} is not a {kind.__name__}: {where}: {first['msg']}.") from error


def save_lines(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSON Lines, one object a line, whole or not at all."""
    publish_text(
        path, "".join(json.dumps(r.model_dump(mode="json"), sort_keys=True, allow_nan=False) + "\n" for r in records)
    )


def load_lines(path: Path, kind: type[R]) -> list[R]:
    """Read what `save_lines` wrote."""
    return [kind.model_validate_json(line) for line in path.read_text("utf-8").splitlines()]
