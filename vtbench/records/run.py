"""One run: where it was done, epoch by epoch, and how it ended."""

from __future__ import annotations

from typing import Literal

from vtbench.configuration import RunConfig
from vtbench.records.cost import CostRecord
from vtbench.records.record import NotMeasured, Record


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
