"""The record of a cell whose process could not write one itself: killed, crashed, or refused before it began."""

from __future__ import annotations

from pathlib import Path

from vtbench.environment import describe_environment, resolve_device
from vtbench.errors import UserError
from vtbench.records import (
    Certificate,
    CostRecord,
    EnvironmentRecord,
    EpochRecord,
    NotMeasured,
    RunRecord,
    load_lines,
    load_record,
)
from vtbench.records.record import R
from vtbench.run_folder import CERTIFICATE, COSTS, ENVIRONMENT, METRICS
from vtbench.studies.executor import CellResult
from vtbench.studies.resolution import DataFacts


def build_failed_record(result: CellResult, facts: DataFacts) -> RunRecord:
    """The record of a cell whose process could not write one, from what it left behind."""
    cell, config = result.cell, result.cell.config
    environment = _read_part(cell.folder / ENVIRONMENT, EnvironmentRecord)
    if environment is None:
        environment = describe_environment(resolve_device(config.execution.device)).model_copy(
            update={"threads": config.execution.threads or 1}
        )
    reason, metrics = "the cell failed before its cost was counted", cell.folder / METRICS
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
        epochs=tuple(load_lines(metrics, EpochRecord)) if metrics.exists() else (),
        outcome=NotMeasured(reason="the cell failed"),
        weights_sha256=None,
        error=result.error,
        arm=cell.arm,
        study=cell.study,
    )


def _read_part(path: Path, kind: type[R]) -> R | None:
    """A file of the run's folder, if the run came so far as to write it."""
    try:
        return load_record(path, kind)
    except UserError:
        return None
