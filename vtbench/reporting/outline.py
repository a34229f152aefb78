"""What a report is about: title, question, base, and the grid of arms and seeds that was planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, Field

from vtbench.errors import UserError
from vtbench.files import read_file, resolve
from vtbench.records import Record, RunRecord, load_record
from vtbench.run_folder import PLACEMENT, STUDY
from vtbench.search_space import TuningConfig
from vtbench.stats.stopping import StoppingRule

OUTLINE_FILE = "report.json"
"""The outline's file name in an archived report, beside ``records/``."""


class ReportOutline(Record):
    """The frame of one report. ``arms`` are in the order of the tables; those without a record show as holes.

    ``base`` is the arm that differences are taken to; None takes the first arm. ``study_base`` is the model that the
    study was given with ``--base``. ``command`` repeats the study; None rebuilds it from the records. ``levels`` are
    those of the factors, by arm and factor, of arms that factors made; ``until`` the rule by which the study stops;
    ``tuning`` says how arms were tuned. ``file`` is the study file of a user; a study made ``in_python`` stands
    in none. ``other_arms`` are arms of the study that were left out with ``--arm``. ``jobs`` are the cells that the
    study ran at once. ``place`` is its folder, as it was given for the report; an archive, read elsewhere, has none.
    ``asked`` are the seeds that the studies beneath a folder ask for, by arm; empty where all arms have all seeds.
    ``order`` has the arms of several studies as these have them, the base of each before its others. ``stopped`` are
    arms of which the outcome decided how many seeds they have, by a rule that is not that of all runs here.
    """

    LATER: ClassVar[frozenset[str]] = frozenset(
        {"levels", "until", "tuning", "file", "in_python", "other_arms", "jobs", "place", "asked", "order", "stopped"}
    )

    title: str
    question: str | None = None
    base: str | None = None
    arms: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    study_base: str | None = None
    command: str | None = None
    levels: dict[str, dict[str, str]] = Field(default_factory=dict)
    until: StoppingRule | None = None
    tuning: TuningConfig | None = None
    file: str | None = None
    in_python: bool = False
    other_arms: tuple[str, ...] = ()
    jobs: int | None = None
    place: str | None = None
    asked: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    order: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()

    def asks_for(self, arm: str, seed: int, *, beside: int = 0) -> bool:
        """Whether more than ``beside`` of the studies that were read have this cell, run or not."""
        return (self.asked.get(arm, ()).count(seed) if self.asked else 1) > beside


class _Sharing(BaseModel):
    """The part of the file that says how the machine was shared out among cells."""

    jobs: int


class _StudyHead(BaseModel):
    """The part of a study file that frames a report; the rest of the file is the business of the studies."""

    name: str
    question: str
    base: str | None = None
    reference: str
    arms: dict[str, str]
    seeds: int
    levels: dict[str, dict[str, str]] = Field(default_factory=dict)
    until: StoppingRule | None = None
    tuning: TuningConfig | None = None
    file: str | None = None
    in_python: bool = False
    other_arms: tuple[str, ...] = ()


def load_outline(folder: Path) -> ReportOutline | None:
    """The outline that lies in ``folder``: of an archived report, or of a study. None where there is neither."""
    if (folder / OUTLINE_FILE).is_file():
        return load_record(folder / OUTLINE_FILE, ReportOutline)
    if not (folder / STUDY).is_file():
        return None
    try:
        study = _StudyHead.model_validate_json(read_file(folder / STUDY))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / STUDY} is damaged: it does not say name, question, arms and seeds.") from error
    return ReportOutline(
        title=study.name,
        question=study.question,
        base=study.reference,
        study_base=study.base,
        arms=tuple(study.arms),
        seeds=tuple(range(study.seeds)),
        levels=study.levels,
        until=study.until,
        tuning=study.tuning,
        file=study.file,
        in_python=study.in_python,
        other_arms=study.other_arms,
        jobs=_read_jobs(folder / PLACEMENT),
        place=folder.as_posix(),
    )


def _read_jobs(path: Path) -> int | None:
    """How many cells ran at once; None where that is not known. Whoever goes on with the study says what is damaged."""
    try:
        return _Sharing.model_validate_json(read_file(path)).jobs
    except (OSError, ValueError):
        return None


def list_outlines(folder: Path, names: Mapping[Path, Sequence[str]]) -> list[ReportOutline]:
    """That in ``folder``, else those of the studies and archives beneath it, else of the study that it is a part of.

    ``names`` has what is in the folder and those beneath it.
    A part has none but the arms and seeds that are in it.
    """
    if (own := load_outline(folder)) is not None:
        return [own]
    places = sorted(place for place, own in names.items() if STUDY in own or OUTLINE_FILE in own)
    if found := [outline for place in places if (outline := load_outline(place)) is not None]:
        return found
    above = folder.parents if len(folder.parents) > 3 else resolve(folder).parents
    whole = next((outline for parent in above[:3] if (outline := load_outline(parent))), None)
    if whole is None:
        return []
    part = {"arms": (), "seeds": (), "until": None, "other_arms": whole.arms, "stopped": list_stopped(whole)}
    return [whole.model_copy(update=part)]


def join_outlines(title: str, outlines: Sequence[ReportOutline]) -> ReportOutline:
    """One frame for the runs of several: what they agree on, the base of the first, and of one study all its arms."""
    if not outlines:
        return ReportOutline(title=title)
    same = {
        name: getattr(outlines[0], name)
        for name in ("question", "study_base", "file", "until", "tuning", "jobs", "place")
        if all(getattr(outline, name) == getattr(outlines[0], name) for outline in outlines)
    }
    is_one_study = len({outline.title for outline in outlines}) == 1
    parts = outlines if is_one_study else ()
    return ReportOutline(
        title=title,
        base=outlines[0].base,
        arms=tuple(dict.fromkeys(arm for outline in parts for arm in outline.arms)),
        seeds=tuple(sorted({seed for outline in parts for seed in outline.seeds})),
        levels={arm: levels for outline in outlines for arm, levels in outline.levels.items()},
        in_python=any(outline.in_python for outline in outlines),
        other_arms=tuple(dict.fromkeys(arm for outline in parts for arm in outline.other_arms)),
        asked=_gather_asked(outlines),
        stopped=tuple(dict.fromkeys(arm for outline in outlines for arm in list_stopped(outline)))
        if same.get("until") is None
        else (),
        order=tuple(
            dict.fromkeys(
                arm
                for outline in outlines
                for arm in (*((outline.base,) if outline.base is not None else ()), *outline.arms)
            )
        ),
        **same,
    )


def list_stopped(outline: ReportOutline) -> tuple[str, ...]:
    """The arms of which the outcome decided how many seeds they have."""
    return outline.arms if outline.until is not None else outline.stopped


def _gather_asked(outlines: Sequence[ReportOutline]) -> dict[str, tuple[int, ...]]:
    """The seeds of each arm, once for every study that has them; nothing where one of these does not say its own."""
    if not all(outline.arms and outline.seeds for outline in outlines):
        return {}
    asked: dict[str, list[int]] = {}
    for outline in outlines:
        for arm in outline.arms:
            asked.setdefault(arm, []).extend(outline.asked.get(arm, outline.seeds))
    return {arm: tuple(sorted(seeds)) for arm, seeds in asked.items()}


def name_arm(record: RunRecord) -> str:
    """What a run's row is called: the arm of its study, or its variant outside a study."""
    return record.arm or record.variant


def complete_outline(outline: ReportOutline, records: Sequence[RunRecord]) -> ReportOutline:
    """Add the arms and seeds that ``records`` have beyond the outline, in its order, else that in which they come."""
    run = dict.fromkeys(map(name_arm, records))
    arms = dict.fromkeys((*outline.arms, *(arm for arm in outline.order if arm in run), *run))
    seeds = sorted({*outline.seeds, *(record.seed for record in records)})
    others = tuple(arm for arm in outline.other_arms if arm not in arms)
    return outline.model_copy(update={"arms": tuple(arms), "seeds": tuple(seeds), "other_arms": others})
