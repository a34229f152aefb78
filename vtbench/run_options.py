"""What a command asks of runs: typed once, and flags, configuration and printed command are derived from it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from vtbench.configuration import (
    LARGEST_BATCH,
    LARGEST_SIDE,
    MOST_EPOCHS,
    MOST_SEEDS,
    MOST_THREADS,
    DataConfig,
    Effect,
    ExecutionConfig,
    Recipe,
    RunConfig,
)
from vtbench.errors import UserError, format_value
from vtbench.settings import (
    change_settings,
    list_settings,
    parse_settings,
    read_settings,
    spell_setting,
    undo_treatment,
)
from vtbench.written import Configuration

_DATA = "{data sets}; knobs follow, as in scenes:clutter=8."
_RECIPE = "{recipes}, or the path of a TOML file."
_BY_FLAG = ("epochs", "freeze", "distillation.teacher")


class RunOptions(Configuration):
    """What a command asks of runs besides their execution; ``None`` leaves it to the recipe, data set or study file."""

    data: str | None = Field(None, min_length=1, description=_DATA)
    recipe: str | None = Field(None, min_length=1, description=_RECIPE)
    epochs: int | None = Field(None, ge=1, le=MOST_EPOCHS, description="Rescales the recipe's schedule.")
    teacher: str | None = Field(
        None, min_length=1, description="Distil from a run's folder, VARIANT@FILE, timm:NAME, torchvision:NAME; none."
    )
    init: str | None = Field(
        None,
        min_length=1,
        description="Start from the weights of a run's folder, a file of them, timm:NAME or torchvision:NAME.",
    )
    freeze: list[str] | None = Field(
        None, description="Do not train parameters named so, as 'trunk.*' or 'layer1.*'; may be repeated."
    )
    limit_train: int | None = Field(
        None, ge=1, description="Class-balanced subset of the training images, drawn by the seed."
    )
    limit_val: int | None = Field(
        None, ge=1, description="Class-balanced subset of the validation images, drawn by the seed."
    )
    image_size: int | None = Field(None, ge=8, le=LARGEST_SIDE, description="Side in pixels; else the data set's own.")
    set: list[str] | None = Field(
        None, description="KEY=VALUE: any setting, as recipe.optimizer.learning_rate=0.05; may be repeated."
    )
    batch_size: int | None = Field(None, ge=1, le=LARGEST_BATCH, description="Instead of the recipe's.")
    learning_rate: float | None = Field(None, gt=0, description="Instead of the recipe's.")
    weight_decay: float | None = Field(None, ge=0, description="Instead of the recipe's.")
    label_smoothing: float | None = Field(None, ge=0, lt=1, description="Instead of the recipe's.")
    clip: float | None = Field(None, gt=0, description="Largest norm of the gradient, instead of the recipe's.")

    @property
    def settings(self) -> dict[str, Any]:
        """What ``set`` asks for, by key."""
        return parse_settings(self.set or ())

    @property
    def of_recipe(self) -> dict[str, Any]:
        """What stands instead of the recipe's own, by the arguments of `load_recipe`."""
        names = ("batch_size", "learning_rate", "weight_decay", "label_smoothing", "clip", "settings")
        return {name: getattr(self, name) for name in names}

    def list_asked(self) -> dict[str, str]:
        """The settings that are asked for by key, and how: with a flag of their name, or with ``--set``."""
        flags = {key.rpartition(".")[2]: key for key in list_settings()}
        flags |= {"data": "data.spec", "clip": "recipe.gradient_clip_norm"}
        by_flag = {
            flags[name]: f"--{name.replace('_', '-')}"
            for name, field in type(self).model_fields.items()
            if name in flags and getattr(self, name) != field.default
        }
        return by_flag | dict.fromkeys(self.settings, "--set")

    def leave_out(self, keys: Collection[str]) -> RunOptions:
        """The same without what is asked of these settings."""
        flags = [flag for key, flag in self.list_asked().items() if key in keys and flag != "--set"]
        dropped = {flag.removeprefix("--").replace("-", "_"): None for flag in flags}
        kept = [text for text in self.set or () if text.partition("=")[0] not in keys]
        return self.model_copy(update={**dropped, "set": kept or None})

    @model_validator(mode="after")
    def _ask_once(self) -> RunOptions:
        for key in self.settings:
            flag = self.model_copy(update={"set": None}).list_asked().get(key)
            if flag is not None:
                raise UserError(f"{key} is given twice, with {flag} and with --set. Keep one of them.")
        return self

    @classmethod
    def of_run(cls, run: RunConfig) -> RunOptions:
        """The options that ask for the data and the recipe of ``run``, without what is declared of its arm."""
        run = undo_treatment(run)
        data, recipe = run.data, run.recipe
        later = DataConfig.LATER - DataConfig.NOTES
        by_key = {name for name in later if getattr(data, name) != getattr(DataConfig(), name)} | {*data.cleared}
        by_flag = {*_BY_FLAG} - {"freeze"} if not recipe.freeze else _BY_FLAG  # No flag says that nothing is frozen.
        keys = [f"recipe.{key}" for key in recipe.changed if key not in by_flag]
        changed = read_settings(data, recipe, [*keys, *(f"data.{name}" for name in sorted(by_key))])
        teacher = recipe.distillation.teacher if recipe.distillation is not None else None
        left_out = "none" if "distillation.teacher" in recipe.changed else None
        return RunOptions(
            data=data.spec,
            recipe=recipe.file or recipe.name,
            epochs=recipe.epochs,
            teacher=teacher or left_out,
            init=run.init.source if run.init is not None and not run.init.of_arm else None,
            freeze=list(recipe.freeze) or None,
            limit_train=data.limit_train,
            limit_val=data.limit_val,
            image_size=data.image_size,
            set=[f"{key}={spell_setting(value)}" for key, value in changed.items()] or None,
        )

    def choose_data(self, own: DataConfig, declared: Collection[str] = ()) -> DataConfig:
        """The data to use where ``own`` are those of the study; other data come without its limits and image size.

        They keep what is ``declared``, by key: of what arms have values of their own no flag can say what the others
        have. Asked for by the name that they have there they are the study's own, and keep all. They note in
        ``cleared`` which of these were taken back, because a command that names the data has to take them back again.
        """
        spec = self.data or self.settings.get("data.spec", own.spec)
        if spec != own.spec:
            kept = {name: getattr(own, name) for name in DataConfig.model_fields if f"data.{name}" in declared}
            own = DataConfig().model_copy(update={**kept, "spec": spec})  # The value of --set is judged below.
        flags = {"image_size": self.image_size, "limit_train": self.limit_train, "limit_val": self.limit_val}
        data = own.model_copy(update={name: value for name, value in flags.items() if value is not None})
        asked = {key: value for key, value in self.settings.items() if key.startswith("data.")}
        data = change_settings(data, Recipe(name=""), asked, source="--set")[0]
        unset, names = DataConfig(), [name for name in DataConfig.model_fields if name not in ("spec", "cleared")]
        taken = [name for name in names if getattr(own, name) != getattr(data, name) == getattr(unset, name)]
        return data.model_copy(update={"cleared": tuple(taken)})


class TrainOptions(RunOptions):
    """What ``train`` asks besides."""

    data: str = Field("scenes", description=_DATA)
    recipe: str = Field("default", description=_RECIPE)
    seed: int = Field(0, ge=0, description="Fixes weights, order, augmentation and subsets.")


class StudyOptions(RunOptions):
    """What ``ablate`` changes about a study file. Another recipe comes with its own number of epochs."""

    base: str | None = Field(
        None, min_length=1, description="The variant that {base} stands for; FILE.py:CALLABLE runs that file's code."
    )
    arm: list[str] | None = Field(None, description="Only this arm; may be repeated.  [default: all]")
    seeds: int | None = Field(None, ge=1, le=MOST_SEEDS, description="Seeds 0 to N-1 of every arm.")
    until: Literal["decided"] | None = Field(
        None, description="'decided' adds seeds, in looks that are fixed beforehand, until every difference is."
    )
    smallest_effect: float | None = Field(
        None, gt=0, description="With --until: a difference that is surely smaller is decided, too (points)."
    )
    max_seeds: int | None = Field(
        None, ge=2, le=MOST_SEEDS, description="With --until: the seeds of the last look.  [default: 20]"
    )
    threads: int | None = Field(
        None, ge=1, le=MOST_THREADS, description="CPU threads of all cells together.  [default: all cores]"
    )

    @model_validator(mode="after")
    def _stop_by_one_rule(self) -> StudyOptions:
        if self.until is None and (self.smallest_effect is not None or self.max_seeds is not None):
            raise UserError("--smallest-effect and --max-seeds belong to --until decided. Add it, or leave them out.")
        if self.until is not None and self.seeds is not None:
            raise UserError(
                "--until decided chooses the number of seeds itself, so --seeds has no place beside it. Say how many "
                "there may be with --max-seeds."
            )
        return self


def spell_flags(options: Configuration, names: Sequence[str]) -> list[str]:
    """The words of a command that ask for ``names`` of ``options``, those at their default left out.

    >>> from vtbench.configuration import ExecutionConfig
    >>> spell_flags(ExecutionConfig(precision="bfloat16", channels_last=False), ("precision", "channels_last"))
    ['--precision', 'bfloat16', '--no-channels-last']
    """
    valued, switches = [], []
    for name in names:
        value, flag = getattr(options, name), name.replace("_", "-")
        if value == type(options).model_fields[name].default:
            continue
        if isinstance(value, bool):
            switches.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            for one in value if isinstance(value, list) else [value]:
                valued += [f"--{flag}", format_value(one)]
    return valued + switches


_LONGEST_NAME = 160
_LEADS = re.compile(r"^[./~]+|/+$")


def mention_older(folder: Path, model: str, options: TrainOptions, execution: ExecutionConfig, recipe: Recipe) -> str:
    """What to say where there is no ``folder`` of today's `name_run`, but one by the name that it had before; or ""."""
    older = folder.with_name(name_run(model, options, execution, recipe, num_parts=1))
    if folder.exists() or not older.exists():
        return ""
    return (
        f"{folder} is a new run. Folders were named after the last part of a path alone before: if {older} is of these "
        f"data, --out {older} goes on there."
    )


def name_run(
    model: str, options: TrainOptions, execution: ExecutionConfig, recipe: Recipe, *, num_parts: int = 2
) -> str:
    """A folder name that tells runs apart: what is trained on what, and every option that changes the outcome.

    A recipe of the user's own brings a digest of what it says, and a name that is too long ends in one. Of a path in
    ``data`` it has the last ``num_parts``.

    >>> options = TrainOptions(recipe="small", learning_rate=0.05)
    >>> name_run("resnet20", TrainOptions(data="folder:../images/birds/"), ExecutionConfig(), Recipe(name="default"))
    'resnet20-folder-images-birds-default-seed0'
    >>> name_run("vt_resnet20:tokenizer=static", options, ExecutionConfig(precision="bfloat16"), Recipe(name="small"))
    'vt_resnet20-tokenizer-static-scenes-small-learning-rate-0.05-precision-bfloat16-seed0'
    """
    stem = Path(options.recipe).stem
    own = f"{stem}-{_digest(recipe.model_dump_json(), 6)}" if options.recipe != stem else stem
    asked = [name for name in TrainOptions.model_fields if name not in ("data", "recipe", "init", "seed")]
    words = spell_flags(options, asked) + spell_flags(execution, ExecutionConfig.list_settings(Effect.NUMBERS))
    start = [f"from {Path(options.init).stem}"] if options.init is not None else []
    data = ["-".join(_LEADS.sub("", part).split("/")[-num_parts:]) for part in re.split("[:,]", options.data)]
    parts = [model, *data, own, *(Path(word).name for word in words), *start, f"seed{options.seed}"]
    name = re.sub(r"[^\w.+]+", "-", "-".join(parts)).strip("-")
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 9]}-{_digest(name, 8)}"


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
