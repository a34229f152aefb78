"""The record of ``vtbench evaluate``: a finished network on a split of images, class by class."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from vtbench.records.record import NotMeasured, Record
from vtbench.records.run import EnvironmentRecord


class ClassEvaluationRecord(Record):
    """One class: how many images or pixels it has in the truth, and its numbers in percent, none where it has none.

    ``taken_for`` says, by the number of the class, how many of them the network took for it; zeros are left out.
    """

    name: str
    items: int
    numbers: dict[str, float]
    taken_for: dict[int, int]


class ConfidenceBinRecord(Record):
    """The images whose largest probability lies in one of the bins of calibration; both means are in percent."""

    images: int
    confidence_percent: float
    accuracy_percent: float


class EvaluationRecord(Record):
    """A network judged on one split. ``answers_sha256`` is of the file of answers to each image: see `answers`.

    ``is_own`` says that these are the very images that the run was validated on; ``fingerprint`` is that of a
    certificate's ``val_data``. ``settings`` are those that the run was judged with instead of its own. Classes stand in
    the order of the network's.
    """

    format: Literal[1] = 1
    task: str
    variant: str
    seed: int
    run: str
    weights_sha256: str | None
    data: str
    image_size: tuple[int, int]
    num_images: int
    fingerprint: str
    is_own: bool
    precision: str
    settings: dict[str, Any] = Field({})
    environment: EnvironmentRecord
    outcome: dict[str, float | NotMeasured]
    calibration: tuple[ConfidenceBinRecord, ...] = Field(())
    classes: tuple[ClassEvaluationRecord, ...]
    answers_sha256: str
