"""The ledger of a study folder: which cells there are, which are done, which failed and why.

A folder belongs to one study. Calling it again with more seeds or more arms extends it; with another recipe, data set,
base, device or precision it is another study and refused with the difference shown. Data are what they hold, not
where they lie: see `identity`. Fewer seeds or arms run those only
and take nothing away. Wording (the question), the reference and the workers that read images may change, because no
cell depends on them. The files are

.. code-block:: text

    study.json                     the resolved study, with every arm and seed the folder ever held
    split.json                     how the machine was shared out, and what was measured to decide it
    lock                           its owner, while one is at work
    cells/ARM/seed-N/record.json   present once the cell has finished or failed
    cells/ARM/seed-N/failed-K.json the record of an attempt that failed and was retried
    tuning/ARM/trial-K/seed-N/     of a study that tunes its arms: the run of a trial, as those of cells
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vtbench.configuration import Effect, ExecutionConfig
from vtbench.datasets.source import may_have_moved
from vtbench.documents.table import to_plain_json
from vtbench.environment import describe_environment, resolve_device
from vtbench.errors import UserError
from vtbench.files import publish_text, read_file
from vtbench.records import (
    Certificate,
    CostRecord,
    EnvironmentRecord,
    EpochRecord,
    NotMeasured,
    RunRecord,
    load_lines,
    load_record,
    save_record,
)
from vtbench.records.record import R
from vtbench.run_folder import CERTIFICATE, CHECKPOINTS, COSTS, ENVIRONMENT, METRICS, RECORD, STUDY
from vtbench.settings import spell_setting
from vtbench.studies.cells import Cell, CellStatus, ResolvedStudy
from vtbench.studies.data_facts import DataFacts
from vtbench.studies.executor import CellResult
from vtbench.studies.tuning import list_stages
from vtbench.training.folder import find_record
from vtbench.written import list_differences


class Ledger:
    """Reads and keeps the book of one study folder. Hold the folder's lock while writing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / STUDY

    def read_study(self) -> ResolvedStudy | None:
        """The study that the folder belongs to, None for a new folder. Raises ``UserError`` if the file is damaged."""
        try:
            return ResolvedStudy.model_validate_json(read_file(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.path} is not a study that this version can read. Start another with --fresh or --out."
            ) from error

    def check(self, study: ResolvedStudy, *, same_data: bool = False) -> None:
        """Raise ``UserError`` with the difference if the folder belongs to another study.

        With ``same_data`` the data may lie elsewhere, because what they are is known.
        """
        existing = self.read_study()
        if existing is None:
            return
        arms = [arm for arm in existing.arms if arm in study.arms]
        common, asked = _take_arms(existing, arms), study.model_copy(update=_take_arms(study, arms))
        if study.base is None:  # No arm has one, whatever was written down before.
            common["base"] = None
        for arm in arms:
            code, now = existing.codes.get(arm), study.codes.get(arm)
            if code is not None and now is not None and code.sha256 != now.sha256:
                raise UserError(f"The arm {arm!r}: {code.describe_change(now.sha256)}")
        if same_data and may_have_moved(existing.data.spec, study.data.spec):
            common["data"] = existing.data.model_copy(update={"spec": study.data.spec})
        differences = list_differences(existing.model_copy(update=common), asked, exclude=_FREE)
        if differences:
            spelt = ((key, spell_setting(there), spell_setting(here)) for key, there, here in differences)
            named = "; ".join(f"{key} is {there} there and {here} now" for key, there, here in spelt)
            raise UserError(
                f"The folder {self.folder} holds another study: {named}. Repeat the call that made "
                "it, give another folder with --out, or start afresh with --fresh, which moves the old one aside."
            )

    def adopt(self, study: ResolvedStudy, *, same_data: bool = False) -> None:
        """Write the study down, joined with the arms and seeds that the folder holds already; see `check`."""
        self.check(study, same_data=same_data)
        existing = self.read_study()
        if existing is not None:
            joined: dict[str, Any] = {part: {**getattr(existing, part), **getattr(study, part)} for part in _OF_ARMS}
            joined["other_arms"] = tuple(arm for arm in study.other_arms if arm not in joined["arms"])
            study = study.model_copy(update={**joined, "seeds": max(study.seeds, existing.seeds)})
        publish_text(self.path, to_plain_json(study.model_dump(mode="json")))

    def list_certificates(self) -> list[tuple[Cell, Certificate]]:
        """Every cell of the folder that was begun, and what its run was certified to be: by its record, if it ended."""
        study = self.read_study()
        found: list[tuple[Cell, Certificate]] = []
        for stage in list_stages(study, self.folder, self.find_record) if study is not None else ():
            records = {cell: self.find_record(cell) for cell in stage.cells}
            for cell, record in records.items():
                own = record.certificate if record is not None else None
                if (certificate := own or _read_part(cell.folder / CERTIFICATE, Certificate)) is not None:
                    found.append((cell, certificate))
            if None in records.values():
                break
        return found

    def status(self, cell: Cell) -> CellStatus:
        """How far the cell is: ``begun`` means that it was interrupted and will be continued.

        Raises ``UserError`` as `find_record` does where the record is not that of the cell.
        """
        if (record := self.find_record(cell)) is not None:
            return record.status
        return "begun" if (cell.folder / CHECKPOINTS).exists() else "missing"

    def read_record(self, cell: Cell) -> RunRecord:
        """The record of a finished or failed cell."""
        return load_record(cell.folder / RECORD, RunRecord)

    def list_open(self, cells: Iterable[Cell], *, retry_failed: bool) -> list[Cell]:
        """The cells that are still to be run; failed ones only when they are to be retried."""
        allowed = ("begun", "missing", "failed") if retry_failed else ("begun", "missing")
        return [cell for cell in cells if self.status(cell) in allowed]

    def find_record(self, cell: Cell) -> RunRecord | None:
        """The record of a cell that has finished or failed, else None; raises ``UserError`` as `status` does."""
        return find_record(cell.folder, cell.config, arm=cell.arm)

    def needs_data(self, study: ResolvedStudy, *, retry_failed: bool) -> bool:
        """Whether the data must be opened: a cell is to be run, or the data are said to lie elsewhere than before."""
        existing = self.read_study()
        moved = existing is not None and existing.data.spec != study.data.spec
        stages = list_stages(study, self.folder, self.find_record)
        return moved or any(self.list_open(stage.cells, retry_failed=retry_failed) for stage in stages)

    def set_failure_aside(self, cell: Cell) -> None:
        """Keep the record of a failed attempt under another name, so that the cell counts as open again."""
        record = cell.folder / RECORD
        if not record.exists():
            return
        attempt = 1 + len(list(cell.folder.glob("failed-*.json")))
        record.rename(cell.folder / f"failed-{attempt}.json")

    def record_failure(self, cell: Cell, record: RunRecord) -> None:
        """Write the failure of a cell that could not write it itself."""
        if not (cell.folder / RECORD).exists():
            save_record(cell.folder / RECORD, record)


def move_aside(folder: Path) -> Path:
    """Rename a study folder to the first free ``NAME-old-K`` beside it and return that."""
    for attempt in range(1, 10_000):
        target = folder.with_name(f"{folder.name}-old-{attempt}")
        if not target.exists():
            folder.rename(target)
            return target
    raise UserError(f"There are too many old studies beside {folder}. Remove some, or give another --out.")


def build_failed_record(result: CellResult, facts: DataFacts) -> RunRecord:
    """The record of a cell whose process could not write one itself, from what it left behind.

    It was killed, crashed, or was refused before it began.
    """
    cell, config = result.cell, result.cell.config
    environment, facts = _read_part(cell.folder / ENVIRONMENT, EnvironmentRecord), facts.of(cell.arm)
    if environment is None:
        environment = _describe_environment(config.execution)
    reason = "the cell failed before its cost was counted"
    return RunRecord(
        task=cell.task,
        variant=config.variant,
        seed=config.seed,
        status="failed",
        config=config,
        environment=environment,
        costs=_read_part(cell.folder / COSTS, CostRecord) or NotMeasured(reason=reason),
        certificate=_read_part(cell.folder / CERTIFICATE, Certificate),
        num_train=facts.num_train,
        num_val=facts.num_val,
        num_classes=facts.num_classes,
        epochs=_read_epochs(cell.folder / METRICS),
        outcome=NotMeasured(reason="the cell failed"),
        weights_sha256=None,
        error=result.error,
        arm=cell.arm,
        study=cell.study,
    )


def _describe_environment(execution: ExecutionConfig) -> EnvironmentRecord:
    """That of this machine; which device the cell had is not known where it ran on another one."""
    try:
        environment = describe_environment(resolve_device(execution.device))
    except UserError:
        environment = describe_environment(resolve_device("cpu")).model_copy(
            update={"device": execution.device, "device_name": "unknown"}
        )
    return environment.model_copy(update={"threads": execution.threads or 1})


def _read_part(path: Path, kind: type[R]) -> R | None:
    """A file of the run's folder, if the run came so far as to write it."""
    try:
        return load_record(path, kind)
    except UserError:
        return None


def _read_epochs(path: Path) -> tuple[EpochRecord, ...]:
    """The epochs of a run that ended otherwise; none where there was no time for one, or the file is damaged."""
    try:
        return tuple(load_lines(path, EpochRecord))
    except UserError:
        return ()


def _take_arms(study: ResolvedStudy, arms: Sequence[str]) -> dict[str, Any]:
    return {part: {arm: getattr(study, part)[arm] for arm in arms if arm in getattr(study, part)} for part in _OF_ARMS}


_OF_ARMS = ("arms", "inits", "codes", "treatments", "levels")


_FREE: dict[str, Any] = {
    **dict.fromkeys(("question", "reference", "seeds", "levels", "file", "in_python", "other_arms"), True),
    "inits": {"__all__": {"source"}},
    "codes": {"__all__": {"path"}},
    "execution": {*ExecutionConfig.list_settings(Effect.NOTHING), "devices"},
}
"""What may differ between two calls on one folder, because no cell depends on it."""
