"""Run a study until it is decided: look by look, with the arms that are still open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from vtbench.records import NotMeasured
from vtbench.stats.stopping import Decision, decide
from vtbench.studies.cells import Cell, ResolvedStudy, list_cells
from vtbench.studies.executor import Session
from vtbench.studies.ledger import Ledger
from vtbench.studies.running import StudyOutcome, StudyWatcher, run_study, sum_up

OnLook = Callable[[int, Mapping[str, Decision | None]], None]


def carry_out_study(
    study: ResolvedStudy, folder: Path, session: Session, *, watcher: StudyWatcher, on_look: OnLook, **wishes: bool
) -> StudyOutcome:
    """Run ``study`` with its seeds (`run_study`), or with as many as its rule takes (`run_until_decided`)."""
    if study.until is None:
        return run_study(study, folder, session, watcher=watcher, **wishes)
    return run_until_decided(study, folder, session, watcher=watcher, on_look=on_look, **wishes)


def run_until_decided(
    study: ResolvedStudy,
    folder: Path,
    session: Session,
    *,
    watcher: StudyWatcher,
    on_look: OnLook,
    retry_failed: bool = False,
    fresh: bool = False,
) -> StudyOutcome:
    """Run ``study`` up to its next look, and again, until its rule decides every arm or the last look is done.

    An arm that is decided runs no further; neither does one that lacks a seed because it failed, which no look can
    judge. ``on_look`` hears the number of seeds and the decision on every arm after each look. The outcome is that of
    all cells that were needed.
    """
    assert study.until is not None
    open_arms = [arm for arm in study.arms if arm != study.reference]
    asked: dict[Path, Cell] = {}
    stopped = False
    for seeds in study.until.looks:
        kept = {arm: variant for arm, variant in study.arms.items() if arm == study.reference or arm in open_arms}
        stage = study.model_copy(update={"seeds": seeds, "arms": kept})
        asked |= {cell.folder: cell for cell in list_cells(stage, folder)}
        stopped = run_study(stage, folder, session, watcher=watcher, retry_failed=retry_failed, fresh=fresh).stopped
        fresh = False
        if stopped:
            break
        decisions = judge_arms(study, folder)
        on_look(seeds, decisions)
        open_arms = [arm for arm in open_arms if _goes_on(decisions[arm], seeds)]
        if not open_arms:
            break
    return sum_up(folder, list(asked.values()), stopped=stopped)


def _goes_on(decision: Decision | None, seeds: int) -> bool:
    return decision is not None and decision.verdict == "open" and decision.estimate.n >= seeds


def judge_arms(study: ResolvedStudy, folder: Path) -> dict[str, Decision | None]:
    """The decision on every arm but the reference, by what ``folder`` holds."""
    assert study.until is not None
    ledger = Ledger(folder)
    values: dict[str, dict[int, float]] = {arm: {} for arm in study.arms}
    for cell in list_cells(study, folder):
        if ledger.status(cell) == "finished":
            headline = ledger.read_record(cell).headline
            if not isinstance(headline, NotMeasured):
                values[cell.arm][cell.config.seed] = headline
    base = values.pop(study.reference)
    return {arm: decide(study.until, own, base) for arm, own in values.items()}
