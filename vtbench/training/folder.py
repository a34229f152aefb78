"""The folder of one run: who holds it, which configuration it belongs to, what is finished in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from vtbench.configuration import Effect, ExecutionConfig, RunConfig
from vtbench.datasets.source import may_have_moved
from vtbench.errors import UserError, format_names
from vtbench.files import check_writable, publish_text, refuse_link
from vtbench.locking import hold_lock
from vtbench.records import RunRecord, load_record
from vtbench.run_folder import CERTIFICATE, CHECKPOINTS, CONFIG, RECORD, RUN_LOCK, STUDY, WEIGHTS
from vtbench.settings import spell_setting
from vtbench.units import format_items
from vtbench.written import list_differences


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Make ``folder`` and keep other processes out of it while the block runs.

    Leftovers of writes that were cut short are removed. If the block fails before it has put anything into a folder
    that was made here, the folder is removed again. Raises ``UserError`` when it cannot be written or is held, and when
    its checkpoints are behind a link.
    """
    made = next((parent for parent in [*reversed(folder.parents), folder] if not parent.exists()), None)
    check_writable(folder)
    refuse_link(folder / CHECKPOINTS)
    try:
        with hold_lock(folder / RUN_LOCK):
            for leftover in [*folder.glob(".*.partial"), *(folder / CHECKPOINTS).glob(".*.partial")]:
                leftover.unlink(missing_ok=True)
            yield
    finally:
        if made is not None and _is_empty(made):
            shutil.rmtree(made, ignore_errors=True)


def accept_config(folder: Path, config: RunConfig) -> RunConfig:
    """The configuration to run in ``folder``: ``config`` where the folder is new, the one it was begun with otherwise.

    A run that was begun goes on with its own number of threads, on which rounding depends. Settings that change nothing
    and the number of devices are taken from ``config``, and so is the place of the data where the run was certified:
    what they hold is compared with that (`check_data`). Any other difference raises ``UserError``.
    """
    path = folder / CONFIG
    if not path.exists():
        return config
    try:
        begun = load_record(path, RunConfig)
    except UserError as error:
        raise UserError(f"{error} Put back what it was, or give another folder with --out.") from error
    names = (*ExecutionConfig.list_settings(Effect.NOTHING), "devices")
    free = {name: getattr(config.execution, name) for name in names}
    data = begun.data
    if (folder / CERTIFICATE).exists() and may_have_moved(data.spec, config.data.spec):
        data = data.model_copy(update={"spec": config.data.spec})
    init = begun.init
    if init is not None and config.init is not None:  # The place of weights is nothing, their content is compared.
        init = init.model_copy(update={"source": config.init.source})
    code = begun.code
    if code is not None and config.code is not None:
        if code.sha256 != config.code.sha256:
            raise UserError(code.describe_change(config.code.sha256))
        code = config.code
    resumed = begun.model_copy(
        update={"init": init, "code": code, "data": data, "execution": begun.execution.model_copy(update=free)}
    )
    asked = config.model_copy(
        update={"execution": config.execution.model_copy(update={"threads": begun.execution.threads})}
    )
    differences = list_differences(resumed, asked)
    if differences:
        named = "; ".join(
            f"{key} is {spell_setting(there)} there and {spell_setting(here)} here" for key, there, here in differences
        )
        raise UserError(
            f"The folder {folder} holds a run of another configuration: {named}. "
            "Give another folder with --out, or remove this one."
        )
    return resumed


def write_config(folder: Path, config: RunConfig) -> None:
    """Note the configuration that the folder belongs to."""
    publish_text(folder / CONFIG, config.model_dump_json(indent=2) + "\n")


def find_record(folder: Path, config: RunConfig, *, arm: str | None = None) -> RunRecord | None:
    """The record of the run ``config`` in ``folder``, if it has finished or failed.

    A record is believed only if it says what the run says: another raises ``UserError`` with the difference.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    record = load_record(path, RunRecord)
    if (other := describe_other(record, config, arm=arm)) is not None:
        raise UserError(f"{path} is the record of another run: {other}. Remove it, and the same command runs this one.")
    return record


def describe_other(record: RunRecord, config: RunConfig, *, arm: str | None = None) -> str | None:
    """What a record says otherwise than the run ``config``; None where it is that run's.

    Where the data and the weights to start from lie, and on what the run was carried out, are free: hashes tell whether
    they are the same.
    """
    if record.arm == (arm or record.arm) and record.config == config.model_copy(
        update={"execution": record.config.execution}
    ):
        return None
    differences = list_differences(record.config, config, exclude=_PLACES)
    before, now = record.config.data.spec, config.data.spec
    if before != now and not may_have_moved(before, now):
        differences.insert(0, ("data.spec", before, now))
    if arm is not None and record.arm != arm:
        differences.insert(0, ("arm", record.arm, arm))
    return (
        "; ".join(
            f"{key} is {spell_setting(there)} in it and {spell_setting(here)} here" for key, there, here in differences
        )
        or None
    )


def find_finished(folder: Path) -> RunRecord:
    """The record of the finished run in ``folder``, whose weights are there; they are not read yet.

    Raises ``UserError`` where no run has ended, where it failed, and where its weights are gone.
    """
    if not (folder / RECORD).exists():
        raise UserError(f"There is no finished run in {folder}. {_explain_no_run(folder)}")
    record = load_record(folder / RECORD, RunRecord)
    if record.status != "finished":
        raise UserError(f"The run in {folder} failed: {record.error} Give one that has finished.")
    if not (folder / WEIGHTS).exists():
        raise UserError(
            f"The run in {folder} has finished, but its weights ({WEIGHTS}) are gone. Put them back; or remove its "
            f"{RECORD} and call vtbench train as before, which trains it again."
        )
    return record


def refuse_study(folder: Path) -> None:
    """Raise ``UserError`` where ``folder`` is that of a study, which no run is put into."""
    if (folder / STUDY).exists():
        raise UserError(
            f"{folder} is the folder of a study, and a run needs one of its own. Give another folder with --out, or go "
            "on with the study: vtbench ablate."
        )


def _explain_no_run(folder: Path) -> str:
    if (folder / CONFIG).exists():
        return "One was begun there: finish it first."
    runs = _list_finished(folder, "cells/*/*")
    if (folder / STUDY).exists():
        begun = f"It is the folder of a study with {format_items(len(runs), 'finished run')}"
        return f"{begun}. {_show_how(runs)}" if runs else f"{begun}: vtbench ablate goes on with it."
    if held := list(folder.glob(f"*/{RECORD}")):
        return f"It holds {format_items(len(held), 'run')}. {_show_how(_list_finished(folder, '*'))}"
    if studies := sorted(path.parent for path in folder.glob(f"*/{STUDY}")):
        names = format_names((study.name for study in studies), most=_MOST_NAMED)
        cells = _list_finished(folder, "*/cells/*/*")
        return f"It holds {format_items(len(studies), 'study', 'studies')} ({names}). {_show_how(cells)}"
    if folder.is_file():
        return "It is a file: give the folder that vtbench train --out wrote."
    return "Give the folder that vtbench train --out wrote."


def _list_finished(folder: Path, pattern: str) -> list[Path]:
    """The folders of runs that can be taken: a run that failed has a record, too, and no weights."""
    return sorted(path.parent for path in folder.glob(f"{pattern}/{WEIGHTS}") if (path.parent / RECORD).exists())


def _show_how(runs: Sequence[Path]) -> str:
    return f"Name one of its runs, such as {quote(str(runs[0]))}." if runs else "Name a finished run."


_MOST_NAMED = 3
_PLACES = {"execution": True, "data": {"spec"}, "init": {"source"}, "code": {"path"}}
"""Where a run was carried out, and where what it was made from lay."""


def _is_empty(folder: Path) -> bool:
    return not any(path.is_file() and path.name != RUN_LOCK for path in folder.rglob("*"))
