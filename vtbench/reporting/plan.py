"""What a report is about: title, question, base, and the grid of arms and seeds that was planned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from vtbench.errors import UserError
from vtbench.records import Record, RunRecord, load_record
from vtbench.run_folder import STUDY

PLAN_FILE = "report.json"
"""The plan's file name in an archived report, beside ``records/``."""


class ReportPlan(Record):
    """The frame of one report. ``arms`` are in the order of the tables; those without a record show as holes.

    ``base`` is the arm that differences are taken to; None takes the first arm. ``study_base`` is the model that the
    study was given with ``--base``. ``command`` repeats the study; None rebuilds it from the records.
    """

    title: str
    question: str | None = None
    base: str | None = None
    arms: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    study_base: str | None = None
    command: str | None = None


class _StudyOutline(BaseModel):
    """The part of a study file that frames a report; the rest of the file is the business of the studies."""

    name: str
    question: str
    base: str | None = None
    reference: str
    arms: dict[str, str]
    seeds: int


def load_plan(folder: Path) -> ReportPlan | None:
    """The plan that lies in ``folder``: of an archived report, or of a study. None where there is neither."""
    if (folder / PLAN_FILE).is_file():
        return load_record(folder / PLAN_FILE, ReportPlan)
    if not (folder / STUDY).is_file():
        return None
    try:
        study = _StudyOutline.model_validate_json((folder / STUDY).read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / STUDY} is damaged: it does not say name, question, arms and seeds.") from error
    return ReportPlan(
        title=study.name,
        question=study.question,
        base=study.reference,
        study_base=study.base,
        arms=tuple(study.arms),
        seeds=tuple(range(study.seeds)),
    )


def name_arm(record: RunRecord) -> str:
    """What a run's row is called: the arm of its study, or its variant outside a study."""
    return record.arm or record.variant


def complete_plan(plan: ReportPlan, records: Sequence[RunRecord]) -> ReportPlan:
    """Add the arms and seeds that ``records`` have beyond the plan, in the order in which they come."""
    arms = dict.fromkeys((*plan.arms, *(name_arm(record) for record in records)))
    seeds = sorted({*plan.seeds, *(record.seed for record in records)})
    return plan.model_copy(update={"arms": tuple(arms), "seeds": tuple(seeds)})
