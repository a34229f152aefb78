"""Judge the network of a finished run on a validation split, as the run judged it after each epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vtbench.configuration import DataConfig
from vtbench.datasets import load_dataset
from vtbench.datasets.batches import EvalBatches
from vtbench.datasets.loading import LoadedDataset
from vtbench.environment import describe_environment
from vtbench.errors import UserError
from vtbench.evaluation.calibration import ConfidenceKeeper
from vtbench.evaluation.classes import RenumberedTargets, match_classes
from vtbench.metrics import CLASS_IOU, is_of_class, read_classes
from vtbench.records import NotMeasured
from vtbench.records.answers import Answers, pack_answers
from vtbench.records.evaluation import ClassEvaluationRecord, ConfidenceBinRecord, EvaluationRecord
from vtbench.settings import read_settings
from vtbench.tasks import TASKS, Tally
from vtbench.training.answers import AnswerKeeper
from vtbench.training.evaluation import SlidingWindow, choose_batch_size, evaluate
from vtbench.training.reproducibility import repeatable
from vtbench.training.trained import TrainedRun, ask_otherwise
from vtbench.training.world import ALONE

# K classes; rows of a confusion matrix are those of the truth.


@dataclass(frozen=True)
class DataWish:
    """Which validation images: those of the run where ``spec`` is None; the rest is as in training."""

    spec: str | None = None
    limit_val: int | None = None
    image_size: int | None = None


def open_data(run: TrainedRun, wish: DataWish) -> LoadedDataset:
    """The images, normalised as those that the network was trained on.

    Raises ``UserError`` for data that cannot be used, and where the run's own are wanted and are others now.
    """
    config, own = _complete(run, wish), run.record.config.data
    data = load_dataset(config, "val", seed=run.record.seed)
    certificate = run.record.certificate
    if config == own and certificate is not None and data.fingerprint != certificate.val_data:
        raise UserError(
            f"The data {own.spec} are not those that the run was validated on. Give the data to judge it by with "
            "--data; where its own were moved, name their new place."
        )
    masks = TASKS[run.record.task].answers_with_masks
    if not masks and data.image_size != run.note.image_size:
        height, width = run.note.image_size
        raise UserError(
            f"The images of {data.name} are {data.image_size[0]} x {data.image_size[1]} pixels here, and the network "
            f"was trained at {height} x {width}. Leave --image-size out."
        )
    return replace(data, mean=run.note.mean, std=run.note.std)


def _complete(run: TrainedRun, wish: DataWish) -> DataConfig:
    own = run.record.config.data
    return DataConfig(
        spec=wish.spec or own.spec,
        image_size=wish.image_size or own.image_size or (None if wish.spec is None else min(run.note.image_size)),
        limit_train=None if wish.spec else own.limit_train,
        limit_val=wish.limit_val or (None if wish.spec else own.limit_val),
    )


def evaluate_run(
    run: TrainedRun,
    data: LoadedDataset,
    device: torch.device,
    *,
    settings: Mapping[str, Any] | None = None,
    after_batch: Callable[[], None] = lambda: None,
) -> tuple[EvaluationRecord, Answers]:
    """Judge ``run`` on ``data``, in the precision and on the number of threads of the run, with ``settings`` in place.

    On the run's own images, and the kind of machine that it was trained on, the numbers are those of its record. Raises
    ``UserError`` for data of other classes.
    """
    run = ask_otherwise(run, settings or {})
    task, config = TASKS[run.record.task], run.record.config
    numbers = match_classes(run.note.class_names, task.name_classes(data), data=data.name)
    batches = EvalBatches(data, _choose_batch_size(run, data, device), targets=RenumberedTargets(task, numbers))
    layout = torch.channels_last if config.execution.channels_last else torch.contiguous_format
    model = run.model.to(device, memory_format=layout)  # type: ignore[call-overload]

    def to_device(tensor: Tensor) -> Tensor:
        return tensor.to(device, memory_format=layout) if tensor.ndim == 4 else tensor.to(device)

    def autocast() -> AbstractContextManager[object]:
        precision = config.execution.precision
        return nullcontext() if precision == "float32" else torch.autocast(device.type, getattr(torch, precision))

    tally, keeper = Tally(task, len(batches)), AnswerKeeper(task)
    confidence = None if task.answers_with_masks else ConfidenceKeeper()

    def observe(scores: Tensor, truth: Tensor) -> None:
        keeper.hear(scores, truth)
        if confidence is not None:
            confidence.hear(scores, truth)

    with repeatable(device, threads=config.execution.threads, compiled=config.execution.compile):
        measured = evaluate(
            model,
            batches,
            task=task,
            to_device=to_device,
            autocast=autocast,
            predict=SlidingWindow.of(config.recipe),
            after_batch=after_batch,
            by_image=keeper.by_image,
            observe=observe,
            tally=tally,
        )
    answers = keeper.gather(batches, data, ALONE)
    outcome: dict[str, float | NotMeasured] = {key: value for key, value in measured.items() if not is_of_class(key)}
    bins: tuple[ConfidenceBinRecord, ...] = ()
    if confidence is not None:
        further, bins = confidence.measure()
        outcome |= further
    confusion_KK = tally.sums["confusion"].tolist() if "confusion" in tally.sums else _confuse(answers, len(numbers))
    certificate = run.record.certificate
    record = EvaluationRecord(
        task=task.name,
        variant=run.record.variant,
        seed=run.record.seed,
        run=str(run.folder),
        weights_sha256=run.record.weights_sha256,
        data=data.name,
        image_size=data.image_size,
        num_images=len(data),
        fingerprint=data.fingerprint,
        is_own=certificate is not None and certificate.val_data == data.fingerprint,
        precision=config.execution.precision,
        settings=read_settings(config.data, config.recipe, settings or ()),
        environment=describe_environment(device),
        outcome=outcome,
        calibration=bins,
        classes=_describe_classes(run.note.class_names, confusion_KK, read_classes(measured, CLASS_IOU.key)),
        answers_sha256=hashlib.sha256(pack_answers(answers)).hexdigest(),
    )
    return record, answers


def _choose_batch_size(run: TrainedRun, data: LoadedDataset, device: torch.device) -> int:
    """As many images at once as in the run, for other images or devices as many as it would have taken of them."""
    record, config = run.record, run.record.config
    wished, taken, recipe = config.execution.eval_batch_size, record.eval_batch_size, config.recipe
    if taken is None or wished is not None:
        return wished or recipe.batch_size
    is_alike = data.image_size == run.note.image_size and record.environment.device.startswith(device.type)
    return taken if is_alike else choose_batch_size(recipe.batch_size, recipe.window or data.image_size, device.type)


def _confuse(answers: Answers, num_classes: int) -> list[list[int]]:
    """How many images of each class were taken for each."""
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    assert answers.truth is not None and answers.predicted is not None, "classification answers with classes"
    predicted_N, truth_N = (torch.from_numpy(part.astype("int64")) for part in (answers.predicted, answers.truth))
    matrix: list[list[int]] = multiclass_confusion_matrix(predicted_N, truth_N, num_classes=num_classes).tolist()
    return matrix


def _describe_classes(
    names: tuple[str, ...], confusion_KK: list[list[int]], ious: dict[int, float]
) -> tuple[ClassEvaluationRecord, ...]:
    described = []
    for number, (name, row) in enumerate(zip(names, confusion_KK, strict=True)):
        items = sum(row)
        numbers = {"accuracy_percent": 100 * row[number] / items} if items else {}
        if number in ious:
            numbers[CLASS_IOU.key] = ious[number]
        taken_for = {other: count for other, count in enumerate(row) if count}
        described.append(ClassEvaluationRecord(name=name, items=items, numbers=numbers, taken_for=taken_for))
    return tuple(described)
