"""A study file: one question, the arms that answer it, and how they are trained. It is data; nothing in it is run.

.. code-block:: toml

    question = "Does the position encoding of tokens pay?"
    base = "vt_resnet20"            # what {base} stands for; --base changes it
    reference = "convolution"       # the arm that differences are taken to
    data = "scenes"                 # or a table [data] with spec, image_size, limit_train, limit_val
    recipe = "small"
    epochs = 90
    seeds = 3
    init = "runs/pretrained"        # weights that all arms start from, as --init takes them; left out: none
    freeze = ["trunk.*"]            # patterns of parameters that are not trained; left out: all are
    uncounted = true                # also train networks that cannot be counted; their records say why

    [arms]                          # name = variant, with {base} and its convolutional twin {twin}
    convolution = "{twin}"
    theirs = "timm:resnet18d"       # networks of timm, torchvision, or a file, which is run: "nets.py:build,depth=3"
    started = { variant = "{base}", init = "other.safetensors" }    # with weights of its own to start from
    longer = { variant = "{base}", recipe.epochs = 180 }            # with settings of its own, by their dotted keys

    [factors]                       # every combination becomes an arm of {base}, named "position=on,learning_rate=0.1"
    position = ["off", "on"]        # an option of the model
    recipe.optimizer.learning_rate = [0.05, 0.1]                    # any setting of the recipe or the data
    model = ["{base}", "{twin}"]    # instead of {base}; options that are factors, too, are set in each of them
    data.spec.few = "scenes:clutter=0"                              # levels with names of their own: "spec=few"
    data.spec.many = "scenes:clutter=16"

    [tuning]                        # a setting that is tuned for each arm before the comparison: see `search_space`
    recipe.optimizer.learning_rate = [0.05, 0.1, 0.2]

What arms have of their own by ``[arms]`` and ``[factors]`` is declared treatment: it may differ within a comparison.
"""

from __future__ import annotations

import importlib.resources
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, field_validator, model_validator

from vtbench.configuration import MOST_ARMS, MOST_EPOCHS, MOST_SEEDS, DataConfig
from vtbench.errors import UserError, did_you_mean, find_nearest, format_value
from vtbench.search_space import TuningConfig
from vtbench.settings import ROOTS, check_key, flatten_keys, list_settings, spell_setting
from vtbench.variants import spell_variant, split_variant
from vtbench.written import Configuration, read_toml, validate_configuration

_ARM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+=,-]{0,79}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.+=]+")
MODEL = "model"
"""The factor whose levels are variants."""


class StudyArm(Configuration):
    """One arm: its variant with placeholders, and what the others do not have: weights to start from, settings."""

    variant: str
    init: str | None = Field(None, min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_settings(cls, value: Any) -> Any:
        if isinstance(value, StudyArm):
            return value
        if not isinstance(value, str | dict):
            raise ValueError(f"an arm is a variant, or a table of variant, init and settings; it was given {value!r}")
        if isinstance(value, str):
            return {"variant": value}
        own = {key: part for key, part in value.items() if key.partition(".")[0] in ROOTS}
        settings = flatten_keys(own)
        for key in settings:
            check_key(key)
        return {key: part for key, part in value.items() if key not in own} | ({"settings": settings} if own else {})


@dataclass(frozen=True)
class ArmPlan:
    """One arm as the file has it: variant with placeholders, settings of its own, its level of each factor in words."""

    variant: str
    settings: Mapping[str, Any]
    levels: Mapping[str, str]


Level = StrictBool | StrictStr | StrictInt | StrictFloat | tuple[StrictStr | StrictInt | StrictFloat, ...]


class Study(Configuration):
    """What a study file says. ``arms`` and ``factors`` together must name at least one arm."""

    question: str = Field(min_length=1)
    base: str | None = Field(None, description="the variant that {base} stands for")
    reference: str | None = Field(None, description="the arm that differences are taken to; by default the first")
    arms: dict[str, StudyArm] = Field(default_factory=dict)
    factors: dict[str, tuple[Level, ...]] = Field(default_factory=dict)
    level_names: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, exclude=True, description="read from [factors]"
    )
    data: DataConfig = DataConfig()
    recipe: str = "default"
    teacher: str | None = Field(None, description="of a recipe that distils; 'none' trains without one")
    epochs: int | None = Field(None, ge=1, le=MOST_EPOCHS, description="None takes the recipe's own")
    seeds: int = Field(3, ge=1, le=MOST_SEEDS)
    init: str | None = Field(None, min_length=1, description="weights that arms without their own start from")
    freeze: tuple[str, ...] = Field((), description="patterns of parameters that are not trained")
    uncounted: bool = Field(False, description="also train networks whose MACs cannot be counted")
    tuning: TuningConfig | None = Field(None, description="how each arm is tuned before it is compared")

    def as_written(self) -> dict[str, Any]:
        """The values of a study file of this study; levels that have names stand by them."""
        plain = self.model_dump(mode="json")
        factors = plain["factors"].items()
        named = {
            factor: dict(zip(self.level_names.get(factor, ()), levels, strict=False)) for factor, levels in factors
        }
        return {**plain, "factors": {factor: named[factor] or levels for factor, levels in factors}}

    @field_validator("data", mode="before")
    @classmethod
    def _accept_data_as_text(cls, value: Any) -> Any:
        return {"spec": value} if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _accept_tables(cls, values: Any) -> Any:
        """Factors by dotted keys; a factor that is a table has the names of its levels, and these."""
        if isinstance(values, Mapping) and "level_names" in values:
            raise ValueError("levels have their names in [factors]: KEY.NAME = VALUE, such as width.narrow = 4")
        if not isinstance(values, Mapping) or not isinstance(values.get("factors"), Mapping):
            return values
        found = dict(_list_factors(values["factors"]))
        for factor, levels in found.items():
            _check_levels(factor, levels)
        named = {factor: levels for factor, levels in found.items() if isinstance(levels, Mapping)}
        plain = {factor: list(levels.values()) for factor, levels in named.items()}
        names = {factor: list(levels) for factor, levels in named.items()}
        return {**values, "factors": {**found, **plain}, **({"level_names": names} if names else {})}

    @field_validator("level_names")
    @classmethod
    def _need_names(cls, level_names: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for factor, names in level_names.items():
            for name in names:
                if not name or {",", "="} & {*name}:
                    raise ValueError(
                        f"the factor {factor!r} has a level named {name!r}: name it with letters, digits and _ . + -, "
                        "because , and = join the levels in the names of arms"
                    )
        return level_names

    @field_validator("factors")
    @classmethod
    def _need_levels(cls, factors: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for factor, levels in factors.items():
            if not levels or len(set(map(repr, levels))) < len(levels):
                raise ValueError(f"the factor {factor!r} needs at least one level, each once")
            if _is_setting(factor) or "." in factor:
                check_key(factor)
        return factors

    @model_validator(mode="after")
    def _check_arms(self) -> Study:
        self._check_size()
        arms = self.list_arms()
        if not arms:
            raise ValueError("a study needs [arms] or [factors]")
        for name in arms:
            if not _ARM_NAME.fullmatch(name):
                raise ValueError(
                    f"the arm {name!r} names a folder and a row: use letters, digits and _ . + = , - (at most 80)"
                )
        if len({name.casefold() for name in arms}) < len(arms):
            raise ValueError("two arms differ in upper and lower case only, which not every file system can hold")
        for key in {**self.tuning.settings, **self.tuning.fixed} if self.tuning is not None else ():
            if own := [arm for arm, plan in self.planned_arms.items() if key in plan.settings]:
                raise ValueError(f"the arm {own[0]!r} has {key} of its own, which [tuning] sets. Keep one of them")
        if self.reference is not None and self.reference not in arms:
            raise ValueError(f"the reference {self.reference!r} is not an arm. {did_you_mean(self.reference, arms)}")
        return self

    def _check_size(self) -> None:
        """Count the arms without making them: a few factors of many levels are more than any machine holds."""
        combinations = math.prod(len(levels) for levels in self.factors.values()) if self.factors else 0
        num_arms = len(self.arms) + combinations
        if num_arms > MOST_ARMS:
            levels = " x ".join(f"{factor} ({len(values)})" for factor, values in self.factors.items())
            raise ValueError(
                f"the study has {num_arms:,} arms{f' ({levels})' if combinations else ''}; it may have {MOST_ARMS:,}. "
                "Take levels or factors away, or make several studies of it"
            )

    def list_arms(self) -> dict[str, str]:
        """Every arm and its variant with placeholders: those named in the file, then the product of the factors."""
        return {name: plan.variant for name, plan in self.planned_arms.items()}

    @cached_property
    def planned_arms(self) -> dict[str, ArmPlan]:
        """Every arm in full, in the same order. Raises ``ValueError`` where two have one name."""
        plans = {name: ArmPlan(arm.variant, arm.settings, {}) for name, arm in self.arms.items()}
        for name, plan in self._combine() if self.factors else ():
            if name in self.arms:
                raise ValueError(
                    f"[factors] make an arm {name!r}, which stands in [arms], too. Name that one otherwise"
                )
            if name in plans:
                raise ValueError(
                    f"two combinations of [factors] make arms of one name, {name!r}. Give their levels names that "
                    "differ: KEY.NAME = VALUE"
                )
            plans[name] = plan
        return plans

    def _combine(self) -> Iterator[tuple[str, ArmPlan]]:
        """The product of the factors: its arms and their names."""
        names = _shorten(list(self.factors))
        named = [list(zip(levels, self._name_levels(factor), strict=True)) for factor, levels in self.factors.items()]
        for picked in itertools.product(*named):
            given = {factor: value for factor, (value, _) in zip(self.factors, picked, strict=True)}
            levels = {names[factor]: name for factor, (_, name) in zip(self.factors, picked, strict=True)}
            settings = {factor: value for factor, value in given.items() if _is_setting(factor)}
            options = {factor: value for factor, value in given.items() if factor not in settings and factor != MODEL}
            variant = _add_options(str(given.get(MODEL, "{base}")), options)
            yield spell_variant("", levels).removeprefix(":"), ArmPlan(variant, settings, levels)

    def _name_levels(self, factor: str) -> tuple[str, ...]:
        return self.level_names.get(factor) or tuple(_name_level(factor, level) for level in self.factors[factor])

    def list_declared(self) -> set[str]:
        """The settings, by key, of which arms have values of their own or are tuned; no flag may ask for one."""
        own = {key for plan in self.planned_arms.values() for key in plan.settings}
        return own | (self.tuning.settings.keys() if self.tuning is not None else set())

    def list_inits(self) -> dict[str, str]:
        """The weights that an arm starts from, of those arms that have their own."""
        return {name: arm.init for name, arm in self.arms.items() if arm.init is not None}


def _list_factors(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every factor by its dotted key with what stands there: a table of levels, or what should be a list of them.

    A table beneath a setting has its levels, lists among them; elsewhere lists and tables are of factors further down.
    """
    for key, value in tree.items():
        factor = f"{prefix}{key}"
        holds_settings = any(setting.startswith(f"{factor}.") for setting in list_settings())
        if (
            isinstance(value, Mapping)
            and factor not in list_settings()
            and (holds_settings or any(isinstance(one, Mapping | list) for one in value.values()))
            and (prefix or _may_hold_settings(key, value))
        ):
            yield from _list_factors(value, f"{factor}.")
        else:
            yield factor, value


def _may_hold_settings(key: str, table: Mapping[str, Any]) -> bool:
    """Whether a table in [factors] is meant to hold settings, if misspelt ones, and not the levels of an option."""
    settings, within = list_settings(), list(flatten_keys(table))
    words = {word for setting in settings for word in setting.split(".")}
    spelt = (key, ROOTS), *((f"{key}.{name}", settings) for name in within)
    return bool({key, *within} & words) or any(find_nearest(*one) is not None for one in spelt)


def _check_levels(factor: str, levels: Any) -> None:
    """Raise ``ValueError`` for a level that the setting, or any option of a model, cannot have."""
    if not isinstance(levels, Mapping | list | tuple):
        return
    named = levels.items() if isinstance(levels, Mapping) else [("", level) for level in levels]
    for name, level in named:
        if _may_be_level(factor, level):
            continue
        where = f"the level {name!r} of the factor {factor!r}" if name else f"a level of the factor {factor!r}"
        if factor == MODEL:
            raise ValueError(f'{where} was given {level!r}: its levels are variants, such as "{{base}}" and "{{twin}}"')
        if _is_setting(factor) or "." in factor:
            raise ValueError(f"{where} was given {level!r}: its levels are text, numbers, true, false or lists of them")
        raise ValueError(
            f"{where} was given {level!r}. {factor!r} is no setting, which would begin with recipe. or data., and so "
            "an option of the models: its levels are text or numbers, as in "
            f"{factor} = [4, 8] or {factor} = {{ narrow = 4, wide = 8 }}"
        )


def _may_be_level(factor: str, level: Any) -> bool:
    if _is_setting(factor) or "." in factor:
        return isinstance(level, bool | str | int | float) or (
            isinstance(level, list | tuple) and all(isinstance(one, str | int | float) for one in level)
        )
    allowed = str if factor == MODEL else str | int | float
    return isinstance(level, allowed) and not isinstance(level, bool)


def _is_setting(factor: str) -> bool:
    return factor.partition(".")[0] in ROOTS


def _shorten(factors: list[str]) -> dict[str, str]:
    """Settings by the last word of their key, where no other factor ends in it."""
    last = {factor: factor.rpartition(".")[2] for factor in factors}
    return {factor: word if list(last.values()).count(word) == 1 else factor for factor, word in last.items()}


def _name_level(factor: str, level: Any) -> str:
    """The level of a factor as a name of an arm has it; options of models are left as they are spelt."""
    if not (_is_setting(factor) or factor == MODEL):
        return format_value(level)
    return _NOT_IN_NAMES.sub("-", spell_setting(level)).strip("-")


def _add_options(variant: str, options: Mapping[str, Any]) -> str:
    if not options:
        return variant
    name, own = split_variant(variant)
    for option in own.keys() & options.keys():
        raise ValueError(f"the model {variant!r} sets {option!r}, which is a factor, too. Keep one of them")
    return spell_variant(name, {**own, **options})


def read_study(path: Path) -> Study:
    """Read a study file. Raises ``UserError`` naming the file and the key for anything that is not a study."""
    return validate_configuration(Study, read_toml(path, "study"), source=f"The study {path}")


def list_studies() -> dict[str, Path]:
    """The studies that come with vtbench: name -> file, sorted by name. Independent of the current directory."""
    package = Path(str(importlib.resources.files("vtbench")))
    for folder in (package / "ablations", package.parent / "ablations"):
        found = {path.stem: path for path in sorted(folder.glob("*.toml"))}
        if found:
            return found
    return {}


def is_study_file(name_or_path: str) -> bool:
    """Whether it is the path of a user's file and no name."""
    path = Path(name_or_path)
    return path.suffix == ".toml" or path.parent != Path()


def find_study(name_or_path: str) -> tuple[str, Study]:
    """The name and content of a study given by its name or by the path of its file.

    Raises ``UserError`` when there is neither, naming the nearest study, and when the file is not a study.
    """
    if is_study_file(name_or_path):
        return Path(name_or_path).stem, read_study(Path(name_or_path))
    known = list_studies()
    if name_or_path not in known:
        raise UserError(
            f"There is no study named {name_or_path!r}. {did_you_mean(name_or_path, known)} "
            "A study of your own is given by its path, for example ./mine.toml."
        )
    return name_or_path, read_study(known[name_or_path])
