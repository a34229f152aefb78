"""Tuning of the arms of a study: trials on a part of the training split, the best setting of each arm, what comes next.

A trial of an arm is a few ordinary runs, one a seed, with records of their own:

.. code-block:: text

    tuning/ARM/trial-K/seed-N/record.json

What is to be run follows from these records alone. Every arm gets as many trials. The cells of the study come after
them, with seeds that no trial had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from vtbench.configuration import RunConfig
from vtbench.metrics import METRICS
from vtbench.records import RunRecord
from vtbench.run_folder import RECORD
from vtbench.search_space import TuningConfig
from vtbench.settings import read_settings
from vtbench.studies.cells import Cell, ResolvedStudy, list_cells
from vtbench.studies.sampling import PastTrial, sample_point
from vtbench.studies.treatments import treat

TUNING = "tuning"
Read = Callable[[Cell], RunRecord | None]
"""The record of a cell that has finished or failed, else None."""


@dataclass(frozen=True)
class Stage:
    """Cells that may be run at the same time. ``is_last`` says that they are those of the study itself.

    ``untunable`` names arms of which no trial finished, so that they have no setting to be run with.
    """

    name: str
    cells: tuple[Cell, ...]
    is_last: bool = False
    untunable: tuple[str, ...] = ()


def list_stages(study: ResolvedStudy, folder: Path, read: Read) -> Iterator[Stage]:
    """The stages of a study one after the other, each made when the ones before it have their records.

    The points of a grid make one stage; of ranges each trial of all arms is one, since it depends on those before.
    """
    if study.tuning is None:
        yield Stage(study.name, tuple(list_cells(study, folder)), is_last=True)
        return
    tuning, find = study.tuning, partial(list_trial_cells, study, folder)
    tried: dict[str, list[list[Cell]]] = {arm: [] for arm in study.arms}
    if tuning.is_grid:
        for arm in study.arms:
            tried[arm] = [find(arm, number, point) for number, point in enumerate(tuning.list_grid())]
        yield Stage("tuning", tuple(_by_seed(tried.values())))
    else:
        for number in range(tuning.num_trials):
            for arm in study.arms:
                past = [judge_trial(tuning, cells, read) for cells in tried[arm]]
                point = sample_point(tuning, past, METRICS[study.task][0])
                tried[arm].append(find(arm, number, point))
            yield Stage(
                f"tuning, trial {number + 1} of {tuning.num_trials}",
                tuple(_by_seed([of_arm[-1:] for of_arm in tried.values()])),
            )
    best = {arm: choose_best(study, [judge_trial(tuning, cells, read) for cells in tried[arm]]) for arm in study.arms}
    yield make_last_stage(study, folder, best)


def find_stage(study: ResolvedStudy, folder: Path, read: Read) -> Stage:
    """The stage that the study is in: the first that has a cell without record, or the last."""
    for stage in list_stages(study, folder, read):
        if stage.is_last or any(read(cell) is None for cell in stage.cells):
            return stage
    raise AssertionError("the last stage is the last")


def count_cells(study: ResolvedStudy) -> int:
    """All runs of a study: those of its trials, and its cells."""
    of_trials = study.tuning.num_runs if study.tuning is not None else 0
    return len(study.arms) * (of_trials + study.seeds)


def count_open_trials(study: ResolvedStudy, folder: Path) -> dict[str, int]:
    """The runs of tuning of each arm that have no record yet."""
    tuning = study.tuning
    if tuning is None:
        return dict.fromkeys(study.arms, 0)
    done = {arm: len(list((folder / TUNING / arm).glob(f"trial-*/seed-*/{RECORD}"))) for arm in study.arms}
    return {arm: tuning.num_runs - done[arm] for arm in study.arms}


def make_last_stage(study: ResolvedStudy, folder: Path, best: dict[str, dict[str, Any] | None]) -> Stage:
    """The cells of the study, each arm with its best setting."""
    found = {arm: point for arm, point in best.items() if point is not None}
    treatments = {arm: {**study.treatments.get(arm, {}), **point} for arm, point in found.items()}
    arms = {arm: variant for arm, variant in study.arms.items() if arm in found}
    tuned = study.model_copy(update={"arms": arms, "treatments": treatments, "tuning": None})
    left = tuple(arm for arm in study.arms if arm not in found)
    return Stage(study.name, tuple(list_cells(tuned, folder)), is_last=True, untunable=left)


def list_trial_cells(study: ResolvedStudy, folder: Path, arm: str, number: int, point: dict[str, Any]) -> list[Cell]:
    """The runs of one trial of an arm, one a seed."""
    assert study.tuning is not None
    tuning = study.tuning
    data, recipe, declared = treat(study.data, study.recipe, {**study.treatments.get(arm, {}), **point, **tuning.fixed})
    held_out = {"held_out": tuning.held_out, "held_out_seed": tuning.held_out_seed}
    return [
        Cell(
            study=study.name,
            task=study.task,
            arm=arm,
            folder=folder / TUNING / arm / f"trial-{number}" / f"seed-{seed}",
            config=RunConfig(
                variant=study.arms[arm],
                data=data.model_copy(update=held_out),
                recipe=recipe,
                declared=declared,
                trial=number,
                seed=seed,
                init=study.inits.get(arm),
                code=study.codes.get(arm),
                execution=study.execution,
            ),
        )
        for seed in tuning.list_seeds()
    ]


def judge_trial(tuning: TuningConfig, cells: list[Cell], read: Read) -> PastTrial:
    """What the runs of a trial came to: the mean of their headline metric, nothing where one has none."""
    records = [read(cell) for cell in cells]
    scores = [record.headline for record in records if record is not None and isinstance(record.headline, float)]
    config = cells[0].config
    values = read_settings(config.data, config.recipe, tuning.settings)
    return PastTrial(values, fmean(scores) if len(scores) == len(cells) else None)


def choose_best(study: ResolvedStudy, trials: Iterable[PastTrial]) -> dict[str, Any] | None:
    """The values of the trial with the best score, the first of equals; None where no trial has one."""
    metric = METRICS[study.task][0]
    scored = [trial for trial in trials if trial.score is not None]
    return max(scored, key=lambda trial: metric.rank(trial.score or 0.0)).values if scored else None


def _by_seed(arms: Iterable[list[list[Cell]]]) -> Iterator[Cell]:
    """Trial by trial and seed by seed, so that a part of them already compares every arm."""
    of_arms = list(arms)
    for number in range(max(map(len, of_arms), default=0)):
        for cells in zip(*(trials[number] for trials in of_arms if number < len(trials)), strict=True):
            yield from cells
