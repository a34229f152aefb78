"""Everything that a run needs before its first step: data, network, costs, certificate, and what was saved before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vtbench.configuration import CodeConfig, ExecutionConfig, Recipe, RunConfig
from vtbench.datasets import load_datasets
from vtbench.datasets.batches import EvalBatches, TrainBatches
from vtbench.datasets.dataset import ImageDataset
from vtbench.environment import describe_environment, find_version
from vtbench.errors import UserError
from vtbench.profiling import count_costs
from vtbench.records import (
    Certificate,
    CostRecord,
    EnvironmentRecord,
    EpochRecord,
    NotMeasured,
    StartRecord,
    TimingRecord,
    load_lines,
    load_record,
    save_lines,
    save_record,
)
from vtbench.run_folder import CERTIFICATE, CHECKPOINTS, COSTS, EARLIER_ENVIRONMENTS, ENVIRONMENT
from vtbench.settings import undo_treatment
from vtbench.tasks import Task, find_task
from vtbench.training.certificate import certify
from vtbench.training.checkpoint import FORMAT, Checkpoint, find_checkpoint
from vtbench.training.evaluation import choose_batch_size
from vtbench.training.folder import write_config
from vtbench.training.foreign_network import hash_network, try_network
from vtbench.training.freezing import freeze_parameters
from vtbench.training.kernels import Kernels
from vtbench.training.network import build_initialized_network
from vtbench.training.progress import ProgressListener
from vtbench.training.starting_weights import (
    describe_start,
    fit_weights,
    open_identified,
    put_weights,
    record_start,
)
from vtbench.training.teacher import Teacher, load_teacher
from vtbench.training.trainer import Trainer
from vtbench.training.user_code import check_code
from vtbench.training.world import ALONE, World
from vtbench.variants import find_model, split_variant
from vtbench.written import list_differences


@dataclass(frozen=True)
class Prepared:
    """A run that is ready for its next step."""

    config: RunConfig
    train: ImageDataset
    val: ImageDataset
    class_names: tuple[str, ...]
    train_batches: TrainBatches
    val_batches: EvalBatches
    trainer: Trainer
    costs: CostRecord | NotMeasured
    certificate: Certificate | None
    environment: EnvironmentRecord
    epochs: tuple[EpochRecord, ...] = ()
    timings: tuple[TimingRecord, ...] = ()
    train_seconds: float = 0.0
    kernels: Kernels = ()
    start: StartRecord | None = None


_NOT_HERE = NotMeasured(reason="the first process of the run counts costs")


@dataclass(frozen=True)
class _Material:
    """What is there before the processes of a run come together. Costs and certificate are of the first alone."""

    task: Task
    recipe: Recipe
    train: ImageDataset
    val: ImageDataset
    train_batches: TrainBatches
    val_batches: EvalBatches
    class_names: tuple[str, ...]
    model: nn.Module
    teacher: Teacher | None
    start: StartRecord | None = None
    costs: CostRecord | NotMeasured = _NOT_HERE
    certificate: Certificate | None = None


def prepare_run(
    config: RunConfig, folder: Path, device: torch.device, listener: ProgressListener, world: World = ALONE
) -> Prepared:
    """Load, build and count; note it in ``folder``; go to where the newest sound checkpoint stands.

    Of several processes the first alone counts, certifies, writes and reads the checkpoint. Raises ``UserError`` in all
    of them for data that cannot be used, before anything is written, and for data or a treatment that has changed since
    the run was begun.
    """
    with world.together():
        found = _gather_material(config, device, world)
        if world.is_first:
            found = _examine(config, folder, device, listener, found)
    trainer = Trainer(
        found.model,
        found.task,
        found.recipe,
        config.execution,
        device,
        seed=config.seed,
        batches_per_epoch=len(found.train_batches),
        teacher=found.teacher.model if found.teacher is not None else None,
        world=world,
    )
    environment = _add_package(describe_environment(device), config.spelling)
    environment = environment.model_copy(update={"devices": world.size})
    if found.certificate is not None:
        _compare_environment(folder, environment, listener)
        write_config(folder, config)
        save_record(folder / CERTIFICATE, found.certificate)
        save_record(folder / COSTS, found.costs)
        save_record(folder / ENVIRONMENT, environment)
    return Prepared(
        config,
        found.train,
        found.val,
        found.class_names,
        found.train_batches,
        found.val_batches,
        trainer,
        found.costs,
        found.certificate,
        environment,
        start=found.start,
        **_go_on(folder, trainer, listener, world),
    )


def _gather_material(config: RunConfig, device: torch.device, world: World) -> _Material:
    check_code(config.code)
    task = find_task(config.spelling)
    train, val = load_datasets(config.data, seed=config.seed)
    recipe, execution = task.settle_recipe(config.recipe, train), config.execution
    share: dict[str, Any] = {"targets": task, "rank": world.rank, "num_ranks": world.size}
    train_batches = TrainBatches(
        train,
        batch_size=recipe.batch_size,
        seed=config.seed,
        augmentation=recipe.augmentation,
        workers=execution.workers,
        **share,
    )
    at_once = execution.eval_batch_size or choose_batch_size(
        recipe.batch_size, recipe.window or val.image_size, device.type, world.size
    )
    val_batches = EvalBatches(val, batch_size=at_once, workers=execution.workers, **share)
    class_names = task.name_classes(train)
    model = build_initialized_network(
        config.spelling, recipe, seed=config.seed, num_classes=len(class_names), image_size=train.image_size
    )
    teacher = None
    if recipe.distillation is not None:
        teacher = load_teacher(recipe.distillation.teacher, train, len(class_names), device)
    if not world.is_first:  # Its weights are those of the first.
        freeze_parameters(model, recipe.freeze)
    return _Material(task, recipe, train, val, train_batches, val_batches, class_names, model, teacher)


def _examine(
    config: RunConfig, folder: Path, device: torch.device, listener: ProgressListener, found: _Material
) -> _Material:
    """Identify, count and certify what was found, and give the network the weights to start from."""
    train, val, recipe, execution = found.train, found.val, found.recipe, config.execution
    num_classes, teacher = len(found.class_names), found.teacher
    network = identify_network(
        config.spelling, found.model, config.code, recipe, execution, num_classes, train.image_size
    )
    start = _start(config, found.model, found.class_names, train.image_size, listener)
    costs = count_or_refuse(config.spelling, train.image_size, num_classes, uncounted=execution.uncounted)
    certificate = certify(
        config,
        found.train_batches,
        train,
        val,
        teacher_sha256=teacher.sha256 if teacher else None,
        untreated=_certify_untreated(config, train, val, teacher, num_classes, device),
        network_sha256=network,
    )
    _check_treatment(folder, certificate)
    return replace(found, start=start, costs=costs, certificate=certificate)


def _certify_untreated(
    config: RunConfig,
    train: ImageDataset,
    val: ImageDataset,
    teacher: Teacher | None,
    num_classes: int,
    device: torch.device,
) -> Certificate | None:
    """What the run would be certified to be without what is declared of its arm; None where nothing is."""
    if not config.declared:
        return None
    plain = undo_treatment(config)
    if plain.data != config.data:
        train, val = load_datasets(plain.data, seed=config.seed)
    recipe = find_task(config.variant).settle_recipe(plain.recipe, train)
    batches = TrainBatches(train, batch_size=recipe.batch_size, seed=config.seed, augmentation=recipe.augmentation)
    before, now = config.recipe.distillation, plain.recipe.distillation
    if now is not None and (before is None or before.teacher != now.teacher):
        teacher = load_teacher(now.teacher, train, num_classes, device)
    sha256 = teacher.sha256 if teacher is not None and now is not None else None
    return certify(plain, batches, train, val, teacher_sha256=sha256)


def _start(
    config: RunConfig,
    model: nn.Module,
    class_names: tuple[str, ...],
    image_size: tuple[int, int],
    listener: ProgressListener,
) -> StartRecord | None:
    """Put the weights to start from into ``model``, and freeze what shall be; what goes into the record of it."""
    source = fit = None
    if config.init is not None:
        source = open_identified(config.init)
        fit = fit_weights(model, source, config.spelling, class_names=class_names, image_size=image_size)
        put_weights(model, source, fit)
    freeze_parameters(model, config.recipe.freeze)
    start = record_start(model, source, fit)
    if config.init is not None and source is not None and start is not None:
        listener.on_message(describe_start(config.init, start, config.spelling, source))
    return start


def identify_network(
    variant: str,
    model: nn.Module,
    code: CodeConfig | None,
    recipe: Recipe,
    execution: ExecutionConfig,
    num_classes: int,
    image_size: tuple[int, int],
) -> str | None:
    """Try a network that others wrote on two images, and hash what it is; None for a model of this house."""
    if find_model(split_variant(variant)[0]).is_ours:
        return None
    setting: Any = {"num_classes": num_classes, "image_size": image_size}
    another = build_initialized_network(variant, recipe, seed=0, **setting)
    try_network(
        another, variant, masks=find_task(variant).answers_with_masks, channels_last=execution.channels_last, **setting
    )
    return hash_network(model, code.sha256 if code is not None else None)


def count_or_refuse(
    variant: str, image_size: tuple[int, int], num_classes: int, *, uncounted: bool
) -> CostRecord | NotMeasured:
    """What the variant costs, or with ``uncounted`` why that cannot be told; without it that is a ``UserError``."""
    try:
        return count_costs(variant, image_size, num_classes)
    except UserError as error:
        if uncounted:
            return NotMeasured(reason=str(error))
        raise UserError(
            f"{error} With --uncounted (uncounted = true in a study) it is trained all the same, and its record says "
            "why it has no costs."
        ) from error


def _add_package(environment: EnvironmentRecord, variant: str) -> EnvironmentRecord:
    """The environment with the version of the plug-in that the model is from, if it is from one."""
    package = find_model(split_variant(variant)[0]).package
    if package is None:
        return environment
    packages = {**environment.packages, package: find_version(package) or "unknown"}
    return environment.model_copy(update={"packages": packages})


def _check_treatment(folder: Path, certificate: Certificate) -> None:
    path = folder / CERTIFICATE
    if not path.exists():
        return
    differences = list_differences(load_record(path, Certificate), certificate)
    changed = [name for name, before, _ in differences if before is not None]  # Else not yet certified then.
    if changed:
        named = ", ".join(name.replace("_", " ") for name in changed)
        raise UserError(
            f"The run in {folder} cannot go on as it was begun: changed since then: {named}. "
            "Restore the data and the version of vtbench of that time, or give another folder with --out."
        )


def _compare_environment(folder: Path, environment: EnvironmentRecord, listener: ProgressListener) -> None:
    """Tell the user when a run goes on under other conditions, and keep the earlier ones on file."""
    path = folder / ENVIRONMENT
    if not path.exists():
        return
    before = load_record(path, EnvironmentRecord)
    changed = list_differences(before, environment)
    if not changed:
        return
    earlier = folder / EARLIER_ENVIRONMENTS
    known = load_lines(earlier, EnvironmentRecord) if earlier.exists() else []
    save_lines(earlier, [*known, before])
    named = "; ".join(f"{name} ({old} before, {new} now)" for name, old, new in changed)
    listener.on_message(
        "This run goes on under other conditions than it was begun: "
        f"{named}. These may round differently, which training amplifies: the weights, and maybe the "
        "accuracy, become others than those of an uninterrupted run."
    )


def _go_on(folder: Path, trainer: Trainer, listener: ProgressListener, world: World) -> dict[str, Any]:
    """Restore the newest sound checkpoint into ``trainer``; returns what else was saved with it."""
    with world.together():
        checkpoint = _find_checkpoint(folder, listener) if world.is_first else None
    checkpoint = world.share(checkpoint)
    if checkpoint is None:
        return {}
    values = checkpoint.values
    trainer.restore(checkpoint.tensors, values)
    return {
        "epochs": tuple(EpochRecord.model_validate(one) for one in values["epochs"]),
        "timings": tuple(TimingRecord.model_validate(one) for one in values["timings"]),
        "train_seconds": values["train_seconds"],
        "kernels": tuple(values.get("kernels", (None,) if trainer.execution.compile else ())),
    }


def _find_checkpoint(folder: Path, listener: ProgressListener) -> Checkpoint | None:
    found = find_checkpoint(folder / CHECKPOINTS)
    for path in found.damaged:
        listener.on_message(
            f"The checkpoint {path} is damaged and was removed; "
            + ("the one before it is used." if found.checkpoint else "there is none before it.")
        )
    if found.checkpoint is not None and found.checkpoint.values.get("format") != FORMAT:
        raise UserError(
            f"The run in {folder} was begun by another version of vtbench, whose checkpoints this one cannot read. "
            "Finish it with that version, or give another folder with --out."
        )
    return found.checkpoint
