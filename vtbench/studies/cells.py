"""A cell: one arm with one seed. Cells are ordered seed by seed, so that half a study already compares every arm."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vtbench.configuration import Configuration, DataConfig, ExecutionConfig, InitConfig, Recipe, RunConfig

CellStatus = Literal["finished", "failed", "begun", "missing"]


class ResolvedStudy(Configuration):
    """A study with nothing left open: the content of ``study.json``.

    ``arms`` maps names to canonical variants, ``seeds`` counts from 0, ``execution`` leaves the threads of a cell open,
    because those are measured. ``inits`` are the weights that arms start from, where they do.
    """

    LATER: ClassVar[frozenset[str]] = frozenset({"inits"})

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
    execution: ExecutionConfig


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
        return f"{self.arm}, seed {self.config.seed}"

    def with_threads(self, threads: int) -> Cell:
        """The same cell on so many CPU threads."""
        execution = self.config.execution.model_copy(update={"threads": threads})
        return self.model_copy(update={"config": self.config.model_copy(update={"execution": execution})})


def list_cells(study: ResolvedStudy, folder: Path) -> list[Cell]:
    """All cells of ``study`` under ``folder``, seed by seed; their threads are still open."""
    return [
        Cell(
            study=study.name,
            task=study.task,
            arm=arm,
            folder=folder / "cells" / arm / f"seed-{seed}",
            config=RunConfig(
                variant=variant,
                data=study.data,
                recipe=study.recipe,
                seed=seed,
                init=study.inits.get(arm),
                execution=study.execution,
            ),
        )
        for seed in range(study.seeds)
        for arm, variant in study.arms.items()
    ]
