"""What a run tells whoever watches it. Nothing here loads torch, so a display can live in another process."""

from __future__ import annotations

from dataclasses import dataclass

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
        """An epoch is trained, evaluated and saved."""

    def on_message(self, text: str) -> None:
        """Something that a user should know and that stops nothing: one paragraph."""

    def on_finish(self, record: RunRecord) -> None:
        """The run has finished or failed and its record is written, or was found finished."""


SILENT = ProgressListener()
"""The listener of those who do not watch."""
