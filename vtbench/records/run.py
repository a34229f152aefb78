"""One run: where it was done, what its variant costs, epoch by epoch, and how it ended.

Committed archives hold records of format 1, which knew one task and one metric; they are read as those of today.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from vtbench.configuration import RunConfig
from vtbench.metrics import METRICS, Metric
from vtbench.palettes import Colour, find_palette
from vtbench.records.record import NotMeasured, Record

_LARGEST = 1e100
_EPOCH_OF_FORMAT_1 = (
    ("train", "train_loss", "train_top1_percent"),
    ("val", "val_loss", "val_top1_percent"),
    ("averaged_val", "ema_val_loss", "ema_val_top1_percent"),
)


class CostRecord(Record):
    """What a variant costs per image: 1 MAC = 1 multiply-accumulate. ``input_shape`` is (channels, height, width)."""

    macs: int
    params: int
    input_shape: tuple[int, int, int]
    num_classes: int


class EnvironmentRecord(Record):
    """Where a number was born. ``threads`` are those of each of the ``devices`` processes of a run."""

    LATER: ClassVar[frozenset[str]] = frozenset({"devices"})

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
    devices: int = 1
    packages: dict[str, str]


class EpochRecord(Record):
    """What an epoch came to: the mean loss, under ``loss``, and the metrics of the task by their keys.

    ``averaged_val`` is that of the averaged weights, where the recipe averages. Wall times stand in `TimingRecord`, so
    that a resumed run repeats these to the bit. While a run diverges, its loss may be no number; no record keeps that.
    """

    EARLIER_KEY: ClassVar[bytes] = b'"train_loss"'
    model_config = ConfigDict(allow_inf_nan=True)

    epoch: int
    learning_rate: float
    train: dict[str, float]
    val: dict[str, float]
    averaged_val: dict[str, float] | None = None

    @property
    def outcome(self) -> dict[str, float]:
        """The numbers that count: those of the averaged weights where there are any."""
        return self.val if self.averaged_val is None else self.averaged_val

    @classmethod
    def upgrade(cls, plain: Any) -> Any:
        """The fields of an epoch of format 1 by today's names; anything else comes back as it is."""
        if not isinstance(plain, dict) or "train_loss" not in plain:
            return plain
        values = dict(plain)
        for part, *keys in _EPOCH_OF_FORMAT_1:
            numbers = [values.pop(key, None) for key in keys]
            if None not in numbers:
                values[part] = dict(zip(("loss", "top1_percent"), numbers, strict=True))
        return values


class TimingRecord(Record):
    """How long an epoch took."""

    epoch: int
    train_seconds: float
    val_seconds: float
    train_images_per_second: float

    @property
    def seconds(self) -> float:
        """Training and validation together."""
        return self.train_seconds + self.val_seconds


class Certificate(Record):
    """Hashes of everything that two arms must share to be comparable. Equal fields, equal treatment.

    ``precision`` is in words: that of the forward pass and, where a step is split, the number of its micro-batches.
    ``train_data`` and ``val_data`` are of the images of the run, which a seed draws where there is a limit;
    ``train_content`` and ``val_content`` of the whole splits, the same for every seed, None in records of before.
    ``starting_weights`` is None where all weights came from the seed. ``network`` identifies a network that others
    wrote (see `vtbench.training.foreign_network`), None for the models of this house. ``untreated`` is what the run
    would have been certified to be without the settings that are declared of its arm, None where none are: arms whose
    treatments differ must share that.
    """

    LATER: ClassVar[frozenset[str]] = frozenset(
        {"train_content", "val_content", "starting_weights", "network", "untreated"}
    )

    sample_order: str
    augmentation: str
    schedule: str
    recipe: str
    precision: str
    train_data: str
    val_data: str
    train_content: str | None = None
    val_content: str | None = None
    starting_weights: str | None = None
    network: str | None = None
    untreated: Certificate | None = None


class StartRecord(Record):
    """What a run began with besides its seed: tensors taken from other weights, and parameters that are not trained.

    ``from_seed`` and ``left_out`` say of each part of the network, and of the weights, how many tensors were not taken.
    """

    weights_sha256: str | None = None
    taken: int = 0
    taken_params: int = 0
    from_seed: dict[str, int] = Field(default_factory=dict)
    left_out: dict[str, int] = Field(default_factory=dict)
    frozen_params: int = 0


class RunRecord(Record):
    """One finished or failed run: the cell of a study. ``outcome`` is that of its last epoch.

    ``class_names`` are those of the data by the numbers of the classes; records of before that do not have them.
    ``class_colours`` are those that the data set gives its classes, if it does: see `palette`.
    ``settled_by_data`` holds the settings of the recipe that it left to the data, by dotted key, as they came out.
    ``answers_sha256`` is of the file of answers to each validation image beside the record: see `answers`.
    ``taken`` says what was chosen of the user's files: columns by what they hold, and what the data call each split.
    ``eval_batch_size`` images were evaluated at once; None in records of before: as many as in a step.
    ``kernels`` are digests of what a compiled run was done with, one after the other where it went on with others, and
    None for those that are not known: only of a run with one that is known it is promised that it repeats to the bit.
    """

    LATER: ClassVar[frozenset[str]] = frozenset(
        {"class_names", "class_colours", "settled_by_data", "start", "taken", "kernels", "answers_sha256"}
        | {"eval_batch_size"}
    )
    EARLIER_KEY: ClassVar[bytes] = b'"val_top1_percent"'

    format: Literal[2] = 2
    task: str
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
    class_names: tuple[str, ...] = ()
    class_colours: tuple[tuple[int, int, int], ...] = ()
    settled_by_data: dict[str, Any] = Field(default_factory=dict)
    start: StartRecord | None = None
    taken: dict[str, str] = Field(default_factory=dict)
    eval_batch_size: int | None = None
    kernels: tuple[str | None, ...] = ()
    epochs: tuple[EpochRecord, ...]
    outcome: dict[str, float] | NotMeasured
    weights_sha256: str | None
    answers_sha256: str | None = None
    error: str | None = None
    arm: str | None = None
    study: str | None = None

    @property
    def metric(self) -> Metric:
        """The headline metric of the run's task."""
        return METRICS[self.task][0]

    @property
    def palette(self) -> tuple[Colour, ...]:
        """A colour for each class: that of the data set, or one made up."""
        return self.class_colours or find_palette(
            self.class_names or [str(number) for number in range(self.num_classes)], self.config.data.spec
        )

    @property
    def headline(self) -> float | NotMeasured:
        """The run's value of that metric, or why there is none."""
        return self.outcome if isinstance(self.outcome, NotMeasured) else self.outcome[self.metric.key]

    @classmethod
    def upgrade(cls, plain: Any) -> Any:
        """The fields of a run of format 1 by today's names; anything else comes back as it is."""
        if not (isinstance(plain, dict) and "val_top1_percent" in plain and isinstance(plain.get("epochs"), list)):
            return plain
        if not all(isinstance(epoch, dict) for epoch in plain["epochs"]):
            return plain
        epochs = [EpochRecord.upgrade(epoch) for epoch in plain["epochs"]]
        values = {**plain, "task": "classification", "epochs": epochs}
        headline = values.pop("val_top1_percent")
        if not isinstance(headline, float):
            return values | {"outcome": headline}
        parts = (epochs[-1].get(name) for name in ("averaged_val", "val")) if epochs else ()
        last = next((part for part in parts if isinstance(part, dict)), {})
        return values | {"outcome": {**last, "top1_percent": headline}}

    @model_validator(mode="after")
    def _check_numbers(self) -> RunRecord:
        if self.task not in METRICS:
            raise ValueError(f"there is no task {self.task!r}")
        if isinstance(self.outcome, dict) and self.metric.key not in self.outcome:
            raise ValueError(f"the outcome lacks {self.metric.key}")
        for epoch in self.epochs:
            if not _are_plausible(epoch.learning_rate, *epoch.train.values(), *epoch.outcome.values()):
                raise ValueError(f"epoch {epoch.epoch} holds a number that is infinite, NaN or out of all bounds")
        if isinstance(self.outcome, dict) and not _are_plausible(*self.outcome.values()):
            raise ValueError("the outcome holds a number that is infinite, NaN or out of all bounds")
        return self


def _are_plausible(*numbers: float) -> bool:
    """Squares of such numbers can be summed: nothing that is computed of them overflows. NaN is none of them."""
    return sum(map(abs, numbers)) <= _LARGEST
