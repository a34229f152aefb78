"""A study file and the flags of one call become a study with nothing left open."""

from __future__ import annotations

from dataclasses import dataclass

from vtbench.configuration import DataConfig, ExecutionConfig, StudyOptions
from vtbench.environment import resolve_device
from vtbench.errors import UserError, did_you_mean
from vtbench.studies.arms import resolve_arms
from vtbench.studies.cells import ResolvedStudy
from vtbench.studies.study import Study
from vtbench.variants import MODELS, split_variant


def resolve_study(name: str, study: Study, options: StudyOptions, execution: ExecutionConfig) -> ResolvedStudy:
    """Apply ``options`` and look up models and recipe. Raises ``UserError`` for whatever does not exist.

    >>> from vtbench.studies.study import find_study
    >>> name, study = find_study("components")
    >>> resolved = resolve_study(name, study, StudyOptions(base="vt_resnet20", epochs=3), ExecutionConfig(device="cpu"))
    >>> resolved.recipe.epochs, resolved.arms["convolution"], resolved.arms["dynamic"]
    (3, 'resnet20', 'vt_resnet20')
    """
    import vtbench.models  # noqa: F401  (fills the registry)
    from vtbench.training import load_recipe

    base = options.base or study.base
    templates = _choose_arms(study, options.arm)
    reference = study.reference if study.reference in templates else next(iter(templates))
    arms = resolve_arms(templates, base)
    device = resolve_device(execution.device)
    device_name = device.type if device.index is None else str(device)
    return ResolvedStudy(
        name=name,
        question=study.question,
        task=MODELS[split_variant(arms[reference])[0]].task,
        base=base,
        reference=reference,
        arms=arms,
        data=options.choose_data(study.data),
        recipe=load_recipe(
            options.recipe or study.recipe,
            epochs=options.epochs or (None if options.recipe else study.epochs),
            teacher=options.teacher or study.teacher,
        ),
        seeds=options.seeds or study.seeds,
        execution=execution.model_copy(update={"device": device_name}),
    )


def _choose_arms(study: Study, wanted: list[str] | None) -> dict[str, str]:
    arms = study.list_arms()
    if not wanted:
        return arms
    for name in wanted:
        if name not in arms:
            raise UserError(f"The study has no arm {name!r}. {did_you_mean(name, arms)}")
    return {name: template for name, template in arms.items() if name in wanted}


@dataclass(frozen=True)
class DataFacts:
    """The sizes of a study's data, as every cell will find them. ``image_size`` is (height, width) in pixels."""

    num_train: int
    num_val: int
    num_classes: int
    image_size: tuple[int, int]


def inspect_data(data: DataConfig, task: str) -> DataFacts:
    """Open both splits, so that data that cannot be used for ``task`` are refused before anything is written."""
    from vtbench.datasets import load_dataset
    from vtbench.tasks import TASKS

    train, val = load_dataset(data, "train", seed=0), load_dataset(data, "val", seed=0)
    return DataFacts(len(train), len(val), len(TASKS[task].name_classes(train)), train.image_size)


def inspect_study(study: ResolvedStudy) -> DataFacts:
    """Open the data and build every arm for them without weights. Raises ``UserError`` for what cannot be had."""
    import torch

    facts = inspect_data(study.data, study.task)
    for arm, variant in study.arms.items():
        name, given = split_variant(variant)
        spec = MODELS[name]
        if spec.task != study.task:
            raise UserError(
                f"The arm {arm!r}: {name!r} is a model for {spec.task}, the arm {study.reference!r} for {study.task}."
            )
        try:
            with torch.device("meta"):
                spec.build(spec.resolve_options(given), num_classes=facts.num_classes, image_size=facts.image_size)
        except UserError as error:
            raise UserError(f"The arm {arm!r} ({variant}): {error}") from error
    return facts
