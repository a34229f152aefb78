"""Run a study: hold its folder, find out what is missing, carry that out, and book what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from vtbench.errors import UserError
from vtbench.files import check_writable, refuse_link, refuse_special
from vtbench.locking import Owner, hold_lock
from vtbench.records import RunRecord
from vtbench.run_folder import LOG, STUDY_LOCK, WEIGHTS
from vtbench.studies.cells import Cell, ResolvedStudy, list_cells
from vtbench.studies.data_facts import DataFacts
from vtbench.studies.executor import CellResult, CellWatcher, Session
from vtbench.studies.identity import check_agreement, check_identity
from vtbench.studies.ledger import Ledger, build_failed_record, move_aside
from vtbench.studies.ordering import put_longest_first
from vtbench.studies.placement import Placement, choose_placement, read_placement, write_placement
from vtbench.studies.tuning import Stage, count_cells, list_stages

_UNTUNABLE = "no trial of tuning finished, so that there is no setting to run it with"


@dataclass(frozen=True)
class StudyState:
    """What is about to happen: all cells of this call, the records there are already, and the cells to be run.

    A study that is tuned has several stages, of which ``stage`` is one; ``cells`` are those of the stage.
    """

    study: ResolvedStudy
    folder: Path
    cells: tuple[Cell, ...]
    records: dict[Path, RunRecord]
    open_cells: tuple[Cell, ...]
    placement: Placement
    took_over_from: Owner | None
    facts: DataFacts
    stage: Stage | None = None


class StudyWatcher(CellWatcher, Protocol):
    """Sees a study from beginning to end."""

    def on_set_aside(self, folder: Path) -> None:
        """The old study has been renamed to ``folder``."""

    def on_measuring(self) -> None:
        """The machine is being measured for the fastest placement."""

    def on_study(self, state: StudyState) -> None:
        """Everything is decided and the first cell comes next."""

    def on_record(self, cell: Cell, record: RunRecord) -> None:
        """A cell has finished or failed, and this is its record."""


@dataclass
class StudyOutcome:
    """What a call has come to. ``failed`` holds the error of every failed cell, of earlier calls too.

    ``without_weights`` are finished cells whose weights are gone: they count as finished, since a report needs records
    alone, and whoever reads weights refuses them.
    """

    folder: Path
    num_cells: int
    finished: int = 0
    without_weights: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    stopped: bool = False


def run_study(
    study: ResolvedStudy,
    folder: Path,
    session: Session,
    *,
    watcher: StudyWatcher,
    retry_failed: bool = False,
    fresh: bool = False,
) -> StudyOutcome:
    """Run every cell of ``study`` that ``folder`` lacks and return what came of it.

    ``fresh`` first moves the study that is there aside. Raises ``UserError`` before anything is written when the folder
    holds another study or cells of other data, is in use or cannot be written, or when data or arms cannot be used. A
    cell that fails is booked with its error; others go on.
    """
    cells = list_cells(study, folder)
    ledger = Ledger(folder)
    same_data = False
    if not fresh:
        ledger.check(study, same_data=True)
    facts = session.inspector.inspect(study) if fresh or ledger.needs_data(study, retry_failed=retry_failed) else None
    if not fresh and facts is not None:
        same_data = check_identity(study, ledger)
        ledger.check(study, same_data=same_data)
    elif not fresh:
        check_agreement(study, ledger)
    check_writable(folder)
    _refuse_links(cells, folder)
    if fresh and ledger.path.exists():
        with hold_lock(folder / STUDY_LOCK):
            watcher.on_set_aside(move_aside(folder))
    with hold_lock(folder / STUDY_LOCK) as lock:
        ledger.adopt(study, same_data=same_data)
        seen: list[Cell] = []
        untunable: tuple[str, ...] = ()
        held = replace(session, executor=session.executor.holding(lock.handle))
        for stage in list_stages(study, folder, ledger.find_record):
            waiting = ledger.list_open(stage.cells, retry_failed=retry_failed)
            if waiting and facts is not None:
                _refuse_links(waiting, folder)
                _run_stage(study, stage, waiting, ledger, held, watcher, facts, lock.took_over_from)
            seen += stage.cells
            untunable = stage.untunable
            if ledger.list_open(stage.cells, retry_failed=False):
                break
        outcome = sum_up(folder, seen)
        outcome.num_cells = count_cells(study)
        outcome.failed |= {f"{arm}, all seeds": _UNTUNABLE for arm in untunable}
        outcome.stopped = session.stop.requested and outcome.finished + len(outcome.failed) < outcome.num_cells
        return outcome


def sum_up(folder: Path, cells: Sequence[Cell], *, stopped: bool = False) -> StudyOutcome:
    """What the folder says of ``cells``."""
    outcome, ledger = StudyOutcome(folder, len(cells), stopped=stopped), Ledger(folder)
    for cell in cells:
        status = ledger.status(cell)
        if status == "finished":
            outcome.finished += 1
            trained = ledger.read_record(cell).weights_sha256 is not None
            outcome.without_weights += trained and not (cell.folder / WEIGHTS).exists()
        elif status == "failed":
            outcome.failed[cell.label] = ledger.read_record(cell).error or "unknown"
    return outcome


def _run_stage(
    study: ResolvedStudy,
    stage: Stage,
    waiting: Sequence[Cell],
    ledger: Ledger,
    session: Session,
    watcher: StudyWatcher,
    facts: DataFacts,
    left_by: Owner | None,
) -> None:
    """Carry out the cells of ``stage`` that are ``waiting``, and book what came of them."""
    folder = ledger.folder
    session.stop.parting = session.stop.BEFORE_CELLS
    before = read_placement(folder)
    placement = choose_placement(waiting, session, before=before, facts=facts, on_measuring=watcher.on_measuring)
    session.stop.parting = session.stop.IN_A_STEP
    if not session.stop.requested:
        write_placement(folder, placement)
    waiting = [placement.arrange(cell) for cell in waiting]
    for cell in waiting:
        ledger.set_failure_aside(cell)
    records = {cell.folder: record for cell in stage.cells if (record := ledger.find_record(cell)) is not None}
    watcher.on_study(StudyState(study, folder, stage.cells, records, tuple(waiting), placement, left_by, facts, stage))
    keeper = _BookKeeper(watcher, ledger, facts)
    if 1 < placement.jobs < len(waiting):
        waiting = put_longest_first(waiting, facts, session.inspector)
    _drain(placement.fit(session.executor).run(waiting, placement.jobs, watcher=keeper, stop=session.stop), folder)


def _refuse_links(cells: Sequence[Cell], folder: Path) -> None:
    paths = (path for cell in cells for path in (cell.folder, *cell.folder.parents))
    for path in dict.fromkeys(path for path in paths if path.is_relative_to(folder) and path != folder):
        refuse_link(path)
    for cell in cells:
        refuse_special(cell.folder / LOG, "log")


def _drain(results: Iterator[CellResult], folder: Path) -> None:
    try:
        for _ in results:  # The watcher books them.
            pass
    except OSError as error:
        raise UserError(
            f"The study in {folder} broke off: {error}. "
            "What was finished stands; once this is mended, the same command goes on from there."
        ) from error


class _BookKeeper:
    """Stands between executor and watcher: books how each cell ended."""

    def __init__(self, watcher: StudyWatcher, ledger: Ledger, facts: DataFacts) -> None:
        self._watcher, self._ledger, self._facts = watcher, ledger, facts
        self.on_begin, self.on_event, self.on_turn = watcher.on_begin, watcher.on_event, watcher.on_turn

    def on_end(self, result: CellResult) -> None:
        if result.status == "failed":
            self._ledger.record_failure(result.cell, build_failed_record(result, self._facts))
        self._watcher.on_end(result)
        if result.status != "stopped":
            self._watcher.on_record(result.cell, self._ledger.read_record(result.cell))
