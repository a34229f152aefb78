"""Weights & Biases, offline: files in ``wandb`` of each run, which ``wandb sync`` sends, or as ``WANDB_MODE`` says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vtbench.documents.table import Table
from vtbench.trackers.tracker import TRACKERS, Status, TrackedRun

_STEP = "_step"
_BLOCK, _HEADER, _FILE_HEADER = 32768, 7, 7
"""Bytes of the format of the files: blocks of records, each with checksum, length and kind."""
_FULL, _FIRST, _LAST = 1, 2, 4


@TRACKERS.register("wandb")
class WeightsAndBiases:
    """One run of a project that is named as the study, and grouped by it; a part that went on has a file of its own."""

    package = "wandb"

    def __init__(self, run: TrackedRun) -> None:
        import wandb

        self._steps = {int(entry[_STEP]) for entry in read_history(run.folder) if _STEP in entry}
        self._run = wandb.init(
            project=run.group,
            group=run.group,
            id=run.key,
            name=run.name,
            dir=str(run.folder),
            config=dict(run.settings),
            mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True),
        )

    def find_steps(self) -> set[int]:
        """Of the files of all parts of the run."""
        return self._steps

    def log_epoch(self, step: int, numbers: Mapping[str, float]) -> None:
        """One line of the history."""
        self._run.log(dict(numbers), step=step, commit=True)

    def log_table(self, name: str, table: Table) -> None:
        """As a table of texts."""
        import wandb

        self._run.summary[name] = wandb.Table(columns=list(table.header), data=[list(row) for row in table.rows])

    def close(self, status: Status) -> None:
        """Write the file to its end."""
        self._run.finish(exit_code=int(status == "failed"))


def read_history(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of the history in all files of the run in ``folder``: what was logged, by name.

    wandb 0.31.0 reads its files in no Python of its own. A file that was cut short counts up to there.
    """
    from wandb.proto import wandb_internal_pb2

    kind: Any = vars(wandb_internal_pb2)["Record"]

    for path in sorted((folder / "wandb").glob("offline-run-*/run-*.wandb")):
        for data in _split_records(path.read_bytes()):
            record = kind.FromString(data)
            if record.HasField("history"):
                yield {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
                }


def _split_records(data: bytes) -> Iterator[bytes]:
    """The records of a file, which is a log as LevelDB writes it."""
    at, parts = _FILE_HEADER, b""
    while at + _HEADER <= len(data):
        if (left := _BLOCK - at % _BLOCK) < _HEADER:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        part = data[at + _HEADER : at + _HEADER + length]
        if len(part) < length or kind == 0:
            return
        at += _HEADER + length
        parts = part if kind in (_FULL, _FIRST) else parts + part
        if kind in (_FULL, _LAST):
            yield parts
