"""A study file and the flags of one call become a study with nothing left open.

Its arms, variants with the placeholders ``{base}`` and ``{twin}``, become variants of a given base. ``{base}`` stands
for the base with its options; options that the arm names win over those of the base. ``{twin}`` stands for the
convolutional model that the base is compared with, and takes over every option that both have and in which the base is
not as the twin is by default (stem and width, say). A placeholder may be a part of a name: ``se_{twin}`` is
``se_resnet18`` where the twin is ``resnet18``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vtbench.configuration import MOST_CELLS, CodeConfig, DataConfig, ExecutionConfig, InitConfig, Recipe
from vtbench.environment import settle_device
from vtbench.errors import UserError, did_you_mean
from vtbench.run_options import StudyOptions
from vtbench.search_space import TuningConfig
from vtbench.settings import change_settings
from vtbench.stats.sequential import plan_looks
from vtbench.stats.stopping import StoppingRule
from vtbench.studies.cells import ResolvedStudy, describe_twins
from vtbench.studies.data_facts import DataFacts
from vtbench.studies.study import Study
from vtbench.studies.treatments import resolve_treatments, treat, treat_arms
from vtbench.variants import MODELS, find_model, split_variant

if TYPE_CHECKING:
    from torch import nn

MOST_SEEDS_TO_DECIDE = 20
"""The last look of a study that runs until it is decided, unless the user names another."""

_PLACEHOLDER = re.compile(r"\{(.*?)\}")


def resolve_study(
    name: str,
    study: Study,
    options: StudyOptions,
    execution: ExecutionConfig,
    *,
    file: str | None = None,
    in_python: bool = False,
    settle_device: Callable[[str], str] = settle_device,
    runs_here: bool = True,
) -> ResolvedStudy:
    """Apply ``options`` and look up models and recipe. Raises ``UserError`` for whatever does not exist.

    ``file`` is the user's file that the study stands in, where it does; one made ``in_python`` stands in none.
    ``settle_device`` says which device cells get, wherever they run, and ``runs_here`` that it is on this machine.

    >>> from vtbench.studies.study import find_study
    >>> name, study = find_study("components")
    >>> resolved = resolve_study(name, study, StudyOptions(base="vt_resnet20", epochs=3), ExecutionConfig(device="cpu"))
    >>> resolved.recipe.epochs, resolved.arms["convolution"], resolved.arms["dynamic"]
    (3, 'resnet20', 'vt_resnet20')
    """
    import vtbench.models  # noqa: F401  (fills the registry)

    base = choose_base(study, options)
    templates = choose_arms(study, options.arm)
    until = plan_stopping(options, len(templates))
    seeds = until.looks[-1] if until is not None else options.seeds or study.seeds
    if until is not None and study.tuning is not None:
        raise UserError("A study that is tuned does not run until it is decided. Say how many seeds, with --seeds.")
    trials = study.tuning.num_runs if study.tuning is not None else 0
    check_num_cells(len(templates), seeds + trials)
    reference = study.reference if study.reference in templates else next(iter(templates))
    inits = _identify_inits(study, templates, options.init)
    data, recipe = options.choose_data(study.data, study.list_declared()), choose_recipe(study, options)
    treatments = resolve_treatments(study, templates, data, recipe, options)
    arms, codes = identify_codes(resolve_arms(templates, base, inits, treatments))
    device = settle_device(execution.device)
    _check_devices(data, recipe, treatments, execution, None if runs_here else device)
    return ResolvedStudy(
        name=name,
        question=study.question,
        task=find_model(split_variant(arms[reference])[0]).task,
        base=base,
        reference=reference,
        arms=arms,
        data=data,
        recipe=recipe,
        seeds=seeds,
        inits=inits,
        codes=codes,
        treatments=treatments,
        tuning=check_tuning(study, seeds, options, recipe, data),
        levels={arm: dict(plan.levels) for arm, plan in study.planned_arms.items() if arm in templates and plan.levels},
        until=until,
        file=file,
        in_python=in_python,
        other_arms=tuple(arm for arm in study.planned_arms if arm not in templates),
        execution=execution.model_copy(update={"device": device, "uncounted": execution.uncounted or study.uncounted}),
    )


def _check_devices(
    data: DataConfig, recipe: Recipe, treatments: Mapping[str, Any], execution: ExecutionConfig, elsewhere: str | None
) -> None:
    from vtbench.training.team import check_devices

    check_devices(recipe, execution, elsewhere=elsewhere)
    if execution.devices > 1:
        for _, own, _ in treat_arms(data, recipe, treatments, treatments).values():
            check_devices(own, execution, elsewhere=elsewhere)


def plan_stopping(options: StudyOptions, num_arms: int) -> StoppingRule | None:
    """The rule by which a study of ``num_arms`` stops that is to run until it is decided; None where it is not."""
    if options.until is None:
        return None
    if num_arms < 2:
        raise UserError("A study is decided by comparing arms with its reference, and this one has a single arm.")
    looks = plan_looks(options.max_seeds or MOST_SEEDS_TO_DECIDE)
    return StoppingRule(looks=looks, num_contrasts=num_arms - 1, smallest_effect=options.smallest_effect)


def check_tuning(
    study: Study, seeds: int, options: StudyOptions, recipe: Recipe, data: DataConfig
) -> TuningConfig | None:
    """The tuning of the study, its trials as long as its runs where the call asks for runs that are shorter.

    Raises ``UserError`` for what it cannot tune, for seeds that are not its own, and where the study's file itself has
    trials that are longer than its runs.
    """
    tuning = study.tuning
    if tuning is None:
        return None
    if tuning.first_seed < seeds:
        raise UserError(
            f"[tuning] has the seeds from {tuning.first_seed} on, and the study those from 0 to {seeds - 1}. "
            f"Set first_seed = {seeds} or more, so that the arms are compared on seeds that they were not tuned on."
        )
    if tuning.epochs is not None and tuning.epochs > recipe.epochs:
        own = study.epochs or choose_recipe(study, StudyOptions(teacher="none")).epochs
        if tuning.epochs > own:
            raise UserError(
                f"[tuning] has trials of epochs = {tuning.epochs}, and the study has {own}. "
                "Set epochs there to as many or fewer, or leave it out: trials are then as long as its runs."
            )
        tuning = tuning.model_copy(update={"epochs": recipe.epochs})
    for key in tuning.settings.keys() & options.list_asked().keys():
        raise UserError(f"{options.list_asked()[key]} sets {key}, which the study tunes. Leave it out.")
    for key, values in tuning.settings.items():
        for value in values if isinstance(values, tuple) else (values.low, values.high):
            change_settings(data, recipe, {key: value}, source="[tuning]")
    return tuning


def choose_recipe(study: Study, options: StudyOptions) -> Recipe:
    """The recipe of all arms. Raises ``UserError`` for whatever does not exist."""
    from vtbench.training import load_recipe

    return load_recipe(
        options.recipe or study.recipe,
        epochs=options.epochs or (study.epochs if options.recipe in (None, study.recipe) else None),
        teacher=options.teacher or study.teacher,
        freeze=options.freeze or study.freeze or None,
        **options.of_recipe,
    )


def check_num_cells(num_arms: int, seeds: int) -> None:
    """Raise ``UserError`` where a study would have more cells than a folder and its report can hold."""
    if num_arms * seeds > MOST_CELLS:
        raise UserError(
            f"The study has {num_arms * seeds:,} cells ({num_arms:,} arms x {seeds:,} seeds); it may have "
            f"{MOST_CELLS:,}. Take fewer with --seeds, or some arms with --arm."
        )


def choose_base(study: Study, options: StudyOptions) -> str | None:
    """What ``{base}`` stands for; None where no arm has it. Raises ``UserError`` where it is asked for in vain."""
    if any(map(_PLACEHOLDER.search, study.list_arms().values())):
        return options.base or study.base
    if options.base is not None:
        raise UserError("--base says what {base} stands for, and no arm of the study has it. Leave it out.")
    return None


def choose_arms(study: Study, wanted: list[str] | None) -> dict[str, str]:
    """The arms that are ``wanted``, all where None, and their variants with placeholders. Raises ``UserError``."""
    arms = study.list_arms()
    if not wanted:
        return arms
    for name in wanted:
        if name not in arms:
            raise UserError(f"The study has no arm {name!r}. {did_you_mean(name, arms)}")
    return {name: template for name, template in arms.items() if name in wanted}


def _identify_inits(study: Study, arms: Iterable[str], init: str | None) -> dict[str, InitConfig]:
    """The weights that each arm starts from: its own, those of the command line, or those of the study."""
    from vtbench.training.starting_weights import open_source

    own, shared = study.list_inits(), init or study.init
    sources = {arm: own.get(arm, shared) for arm in arms}
    hashes = {source: open_source(source).sha256 for source in dict.fromkeys(sources.values()) if source is not None}
    return {
        arm: InitConfig(source=source, sha256=hashes[source], of_arm=arm in own)
        for arm, source in sources.items()
        if source is not None
    }


def identify_codes(arms: Mapping[str, str]) -> tuple[dict[str, str], dict[str, CodeConfig]]:
    """The variants without the folders of users' files, and those files. Raises ``UserError`` for a bad one."""
    from vtbench.training.user_code import identify_code

    variants, codes = {}, {}
    for arm, variant in arms.items():
        try:
            variants[arm], code = identify_code(variant)
        except UserError as error:
            raise UserError(f"The arm {arm!r}: {error}") from error
        if code is not None:
            codes[arm] = code
    return variants, codes


def inspect_data(data: DataConfig, task: str) -> DataFacts:
    """Open both splits, so that data that cannot be used for ``task`` are refused before anything is written."""
    from vtbench.datasets import load_datasets
    from vtbench.datasets.dataset import describe_taken
    from vtbench.datasets.duplicates import describe_leakage
    from vtbench.tasks import TASKS

    train, val = load_datasets(data, seed=0)
    names = TASKS[task].name_classes(train)
    notes = [note for note in (describe_taken(train), describe_leakage(train, val)) if note is not None]
    return DataFacts(len(train), len(val), names, train.image_size, data, "\n".join(notes) or None)


def inspect_study(study: ResolvedStudy, *, arms: Container[str] | None = None) -> DataFacts:
    """Open the data and build every arm, or ``arms`` alone, without weights.

    Raises ``UserError`` for what cannot be had.
    """
    from vtbench.profiling.sources import make_subject, resolve_source
    from vtbench.training.freezing import freeze_parameters
    from vtbench.training.starting_weights import fit_weights, open_identified

    facts = _inspect_all_data(study)
    sources = {init.source: open_identified(init) for init in study.inits.values()}
    for arm, variant in study.arms.items():
        spec = find_model(split_variant(variant)[0])
        if spec.task != study.task:
            raise UserError(
                f"The arm {arm!r}: {spec.name!r} is a model for {spec.task}, the arm {study.reference!r} for "
                f"{study.task}."
            )
        if arms is not None and arm not in arms:
            continue
        try:
            seen = facts.of(arm)
            setting: Any = {"num_classes": seen.num_classes, "image_size": seen.image_size}
            if not spec.is_ours:
                model = _try_foreign(study, arm, setting)
            else:
                model = make_subject(resolve_source(variant, **setting)).original
            if (init := study.inits.get(arm)) is not None:
                fit_weights(
                    model,
                    sources[init.source],
                    study.spell(arm),
                    class_names=seen.class_names,
                    image_size=seen.image_size,
                )
            freeze_parameters(model, study.recipe.freeze)
        except UserError as error:
            raise UserError(f"The arm {arm!r} ({variant}): {error}") from error
    return facts


def _inspect_all_data(study: ResolvedStudy) -> DataFacts:
    """The facts of the data that arms share, and of those that arms have of their own."""
    from vtbench.datasets.batches import describe_large_batch

    known: dict[DataConfig, DataFacts] = {}
    of_arms: dict[str, DataFacts] = {}
    notes: dict[str | None, None] = {}
    for arm, (data, recipe, *_) in treat_arms(study.data, study.recipe, study.arms, study.treatments).items():
        try:
            of_arms[arm] = known[data] = known.get(data) or inspect_data(data, study.task)
        except UserError as error:
            if data == study.data:
                raise
            raise UserError(f"The arm {arm!r}: {error}") from error
        notes |= {known[data].note: None, describe_large_batch(known[data].num_train, recipe.batch_size): None}
    notes |= dict.fromkeys(describe_twins(study))
    shared = known.get(study.data) or next(iter(known.values()))
    own = {arm: facts for arm, facts in of_arms.items() if facts is not shared}
    return replace(shared, note="\n".join(filter(None, notes)) or None, of_arms=own)


def _try_foreign(study: ResolvedStudy, arm: str, setting: Any) -> nn.Module:
    """The network of an arm that others wrote, after it was tried and counted."""
    from vtbench.tasks import TASKS
    from vtbench.training.foreign_network import try_network
    from vtbench.training.network import build_initialized_network
    from vtbench.training.preparation import count_or_refuse

    variant = study.spell(arm)
    recipe = treat(study.data, study.recipe, study.treatments.get(arm, {}))[1]
    model = build_initialized_network(variant, recipe, seed=0, **setting)
    masks = TASKS[study.task].answers_with_masks
    try_network(model, study.arms[arm], masks=masks, channels_last=study.execution.channels_last, **setting)
    count_or_refuse(variant, setting["image_size"], setting["num_classes"], uncounted=study.execution.uncounted)
    return model


def resolve_arms(
    templates: Mapping[str, str],
    base: str | None,
    inits: Mapping[str, InitConfig] = MappingProxyType({}),
    treatments: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, str]:
    """The canonical variant of every arm. Needs the models to be registered.

    Raises ``UserError`` naming the arm when a model, an option or a placeholder is unknown, when ``base`` is needed and
    missing or has no twin, and when two arms come out as one variant that starts from the same weights (``inits``) and
    has the same settings (``treatments``).
    """
    variants: dict[str, str] = {}
    known: dict[tuple[str, str | None, str], str] = {}
    for name, template in templates.items():
        try:
            variant = _resolve_arm(template, base)
        except UserError as error:
            raise UserError(f"The arm {name!r} ({template}): {error}") from error
        settings = json.dumps(treatments.get(name, {}), sort_keys=True)
        other = known.setdefault((variant, inits[name].sha256 if name in inits else None, settings), name)
        if other != name:
            raise UserError(
                f"The arms {other!r} and {name!r} are the same variant, {variant}, so that nothing would be "
                "compared. Take one out, or choose another --base."
            )
        variants[name] = variant
    return variants


def _resolve_arm(template: str, base: str | None) -> str:
    pattern, given = split_variant(template)
    placeholders = _PLACEHOLDER.findall(pattern)
    for placeholder in placeholders:
        if placeholder not in ("base", "twin"):
            hint = did_you_mean(placeholder, ("base", "twin"))
            raise UserError(f"There is no placeholder {{{placeholder}}}. {hint}")
    inherited: Mapping[str, Any] = {}
    if placeholders:
        if base is None:
            raise UserError("The study names no base. Give one with --base, for example --base vt_resnet20.")
        pattern, inherited = _fill_in(pattern, base)
    spec = find_model(pattern)
    return spec.spell(spec.resolve_options({**inherited, **given}))


def _fill_in(pattern: str, base: str) -> tuple[str, Mapping[str, Any]]:
    """The model that ``pattern`` names for ``base``, and the options that it takes over from the base."""
    base_name, base_given = split_variant(base)
    base_spec = find_model(base_name)
    base_options = base_spec.resolve_options(base_given).model_dump()
    if "{twin}" not in pattern:
        name = pattern.replace("{base}", base_name)
        if name == base_name:
            return name, base_given
        known = type(MODELS[name].options).model_fields
        return name, {k: v for k, v in base_options.items() if k in known}
    if base_spec.twin is None:
        raise UserError(
            f"The base {base_name!r} has no convolutional twin. Give a model that has one, e.g. --base vt_resnet20."
        )
    name = pattern.replace("{base}", base_name).replace("{twin}", base_spec.twin)
    twin_options, known = MODELS[base_spec.twin].options.model_dump(), type(MODELS[name].options).model_fields
    shared = twin_options.keys() & known.keys() & base_options.keys()
    return name, {option: base_options[option] for option in shared if base_options[option] != twin_options[option]}
