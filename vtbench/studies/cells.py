"""A cell: one arm with one seed. Cells are ordered seed by seed, so that half a study already compares every arm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from vtbench.configuration import CodeConfig, DataConfig, ExecutionConfig, InitConfig, Recipe, RunConfig
from vtbench.errors import format_names
from vtbench.search_space import TuningConfig
from vtbench.stats.stopping import StoppingRule
from vtbench.studies.treatments import treat_arms
from vtbench.written import Configuration

CellStatus = Literal["finished", "failed", "begun", "missing"]


class ResolvedStudy(Configuration):
    """A study with nothing left open: the content of ``study.json``.

    ``arms`` maps names to canonical variants, ``seeds`` counts from 0, ``execution`` leaves the threads of a cell open,
    because those are measured. ``inits`` are the weights that arms start from, where they do; ``codes`` the user's
    files that build the networks of arms, where some do; ``treatments`` the settings that arms have of their own, and
    ``levels`` the level of each factor, in words, of arms that factors make. With ``until`` as many seeds are run as
    its rule needs, ``seeds`` at most.

    ``file`` is the user's file that the study was read from, as it was given, None where it goes by its name; a study
    made ``in_python`` has neither. ``other_arms`` are those of the study that nobody has asked for yet.
    """

    LATER: ClassVar[frozenset[str]] = frozenset(
        {"inits", "codes", "treatments", "levels", "until", "tuning", "file", "in_python", "other_arms"}
    )

    format: Literal[1] = 1
    name: str
    question: str
    task: str = "classification"
    base: str | None
    reference: str
    arms: dict[str, str]
    data: DataConfig
    recipe: Recipe
    seeds: int
    inits: dict[str, InitConfig] = Field(default_factory=dict)
    codes: dict[str, CodeConfig] = Field(default_factory=dict)
    treatments: dict[str, dict[str, Any]] = Field(default_factory=dict)
    levels: dict[str, dict[str, str]] = Field(default_factory=dict)
    until: StoppingRule | None = None
    tuning: TuningConfig | None = None
    file: str | None = None
    in_python: bool = False
    other_arms: tuple[str, ...] = ()
    execution: ExecutionConfig

    def spell(self, arm: str) -> str:
        """The variant of an arm as it can be built: of a user's file, with its folder."""
        code = self.codes.get(arm)
        return self.arms[arm] if code is None else str(Path(code.path).parent / self.arms[arm])


class Cell(Configuration):
    """One run of a study, ready to be carried out: it can be sent to another process as JSON."""

    study: str
    task: str
    arm: str
    folder: Path
    config: RunConfig

    @property
    def label(self) -> str:
        """How a cell is called in messages: ``static, seed 2``."""
        trial = "" if self.config.trial is None else f", trial {self.config.trial + 1}"
        return f"{self.arm}{trial}, seed {self.config.seed}"

    def with_threads(self, threads: int) -> Cell:
        """The same cell on so many CPU threads."""
        return self.with_execution(threads=threads)

    def with_execution(self, **settings: Any) -> Cell:
        """The same cell, carried out with other ``settings``."""
        execution = self.config.execution.model_copy(update=settings)
        return self.model_copy(update={"config": self.config.model_copy(update={"execution": execution})})


def describe_twins(study: ResolvedStudy) -> Iterator[str]:
    """A sentence for arms that train the very same thing: one variant, data, recipe and weights to start from."""
    arms_of: dict[str, list[str]] = {}
    for arm, (data, recipe, _) in treat_arms(study.data, study.recipe, study.arms, study.treatments).items():
        what = (study.spell(arm), data, recipe, study.inits.get(arm))
        arms_of.setdefault(repr(what), []).append(arm)
    for arms in arms_of.values():
        if len(arms) > 1:
            yield (
                f"The arms {format_names(arms)} train the very same thing, {study.arms[arms[0]]}: all but one of "
                "them are duplicates."
            )


def list_cells(study: ResolvedStudy, folder: Path) -> list[Cell]:
    """All cells of ``study`` under ``folder``, seed by seed; their threads are still open."""
    treated = treat_arms(study.data, study.recipe, study.arms, study.treatments)
    return [
        Cell(
            study=study.name,
            task=study.task,
            arm=arm,
            folder=folder / "cells" / arm / f"seed-{seed}",
            config=RunConfig(
                variant=variant,
                data=treated[arm][0],
                recipe=treated[arm][1],
                declared=treated[arm][2],
                seed=seed,
                init=study.inits.get(arm),
                code=study.codes.get(arm),
                execution=study.execution,
            ),
        )
        for seed in range(study.seeds)
        for arm, variant in study.arms.items()
    ]
