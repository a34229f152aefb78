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

    [arms]                          # name = variant, with {base} and its convolutional twin {twin}
    convolution = "{twin}"
    started = { variant = "{base}", init = "other.safetensors" }    # with weights of its own to start from

    [factors]                       # every combination becomes an arm of {base}, named "position=on"
    position = ["off", "on"]
"""

from __future__ import annotations

import importlib.resources
import itertools
import math
import re
from pathlib import Path
from typing import Any

from pydantic import Field, StrictFloat, StrictInt, StrictStr, field_validator, model_validator

from vtbench.configuration import (
    MOST_ARMS,
    MOST_EPOCHS,
    MOST_SEEDS,
    Configuration,
    DataConfig,
    read_toml,
    validate_configuration,
)
from vtbench.errors import UserError, did_you_mean
from vtbench.variants import spell_variant

_ARM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+=,-]{0,79}")


class StudyArm(Configuration):
    """One arm: its variant with placeholders, and weights to start from that the others do not have."""

    variant: str
    init: str | None = Field(None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _accept_variant_alone(cls, value: Any) -> Any:
        if not isinstance(value, str | dict | StudyArm):
            raise ValueError(f"an arm is a variant, or a table of variant and init; it was given {value!r}")
        return {"variant": value} if isinstance(value, str) else value


class Study(Configuration):
    """What a study file says. ``arms`` and ``factors`` together must name at least one arm."""

    question: str = Field(min_length=1)
    base: str | None = Field(None, description="the variant that {base} stands for")
    reference: str | None = Field(None, description="the arm that differences are taken to; by default the first")
    arms: dict[str, StudyArm] = Field(default_factory=dict)
    factors: dict[str, tuple[StrictStr | StrictInt | StrictFloat, ...]] = Field(default_factory=dict)
    data: DataConfig = DataConfig()
    recipe: str = "default"
    teacher: str | None = Field(None, description="of a recipe that distils; 'none' trains without one")
    epochs: int | None = Field(None, ge=1, le=MOST_EPOCHS, description="None takes the recipe's own")
    seeds: int = Field(3, ge=1, le=MOST_SEEDS)
    init: str | None = Field(None, min_length=1, description="weights that arms without their own start from")
    freeze: tuple[str, ...] = Field((), description="patterns of parameters that are not trained")

    @field_validator("data", mode="before")
    @classmethod
    def _accept_data_as_text(cls, value: Any) -> Any:
        return {"spec": value} if isinstance(value, str) else value

    @field_validator("factors")
    @classmethod
    def _need_levels(cls, factors: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for factor, levels in factors.items():
            if not levels or len(set(levels)) < len(levels):
                raise ValueError(f"the factor {factor!r} needs at least one level, each once")
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
        arms = {name: arm.variant for name, arm in self.arms.items()}
        if self.factors:
            for levels in itertools.product(*self.factors.values()):
                options = dict(zip(self.factors, levels, strict=True))
                arms.setdefault(spell_variant("", options).removeprefix(":"), spell_variant("{base}", options))
        return arms

    def list_inits(self) -> dict[str, str]:
        """The weights that an arm starts from, of those arms that have their own."""
        return {name: arm.init for name, arm in self.arms.items() if arm.init is not None}


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


def find_study(name_or_path: str) -> tuple[str, Study]:
    """The name and content of a study given by its name or by the path of its file.

    Raises ``UserError`` when there is neither, naming the nearest study, and when the file is not a study.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.parent != Path():
        return path.stem, read_study(path)
    known = list_studies()
    if name_or_path not in known:
        raise UserError(
            f"There is no study named {name_or_path!r}. {did_you_mean(name_or_path, known)} "
            "A study of your own is given by its path, for example ./mine.toml."
        )
    return name_or_path, read_study(known[name_or_path])
