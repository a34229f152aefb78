"""Carry a cell out on another machine: in a process of its own there, watched by a supervisor that the executor placed.

The cell's process is its own and so takes its own number of threads, whatever ran on that machine before. The
supervisor tells the study what it emits, and by the answers learns that the study wants to stop; a study that does not
answer any more is gone, and its cells save and leave. Machines share storage under one path.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from vtbench.locking import DEAD_AFTER_SECONDS, Heartbeats
from vtbench.run_folder import RUN_LOCK
from vtbench.studies.cells import Cell
from vtbench.studies.events import Event, encode_event
from vtbench.studies.executor import CellResult
from vtbench.studies.executors.local import (
    WORKER,
    CellProcess,
    NoProcessError,
    can_be_forked,
    confine,
    forward_events,
)
from vtbench.studies.servers import CellServers

Tell = Callable[[list[bytes]], bool]
"""Hands lines of events to the study; True if it wants to stop. Raises ``ConnectionError`` where it is gone."""

GRACE_SECONDS = 3.5
MOST_LOSSES = 5
"""So often in a row, without an epoch in between, a cell may lose its machine before it counts as failed."""
_LOOK_EVERY_SECONDS = 0.1
_WAIT_FOR_OTHERS_SECONDS = DEAD_AFTER_SECONDS + 30.0
_SETTINGS = ("VTBENCH_", "PYTHONPATH")


@dataclass(frozen=True)
class Posting:
    """What another machine must know: the cell as JSON, the folder to work in, the study's settings, the command.

    The study is told something at least every ``tell_seconds``.
    """

    cell: str
    directory: str
    environment: Mapping[str, str]
    command: tuple[str, ...] = WORKER
    tell_seconds: float = 0.1


def post(cell: Cell, command: tuple[str, ...] = WORKER, tell_seconds: float = 0.1) -> Posting:
    """Make the folder of ``cell`` and write down what it takes to run it as if it were run from here."""
    cell = cell.model_copy(update={"folder": cell.folder.absolute()})
    cell.folder.mkdir(parents=True, exist_ok=True)
    settings = {name: value for name, value in os.environ.items() if name.startswith(_SETTINGS)}
    return Posting(cell.model_dump_json(), str(Path.cwd()), settings, command, tell_seconds)


def describe_unseen(posting: Posting, cell: Cell) -> str | None:
    """What is wrong where this machine does not see the folders that it must; None if it does."""
    for path in (Path(posting.directory), cell.folder):
        if not path.is_dir():
            return (
                f"{socket.gethostname()} does not see {path}. Call the study from, and let it write to, a folder that "
                "all machines share under one path."
            )
    return None


def supervise(
    posting: Posting,
    tell: Tell,
    *,
    own: Mapping[str, str] = MappingProxyType({}),
    servers: CellServers | None = None,
) -> CellResult:
    """Run the cell in a process of its own until it ends or the study wants to stop, and say how it ended.

    A process of an earlier attempt that still holds the cell's folder is waited for, until it has left or has shown no
    sign of life for so long that it is dead. ``own`` are variables of its environment, before all others. With
    ``servers`` it is forked where it can be.
    """
    cell = Cell.model_validate_json(posting.cell)
    if (unseen := describe_unseen(posting, cell)) is not None:
        return CellResult(cell, "failed", 0.0, unseen)
    if not _await_others(cell.folder / RUN_LOCK, tell):
        return CellResult(cell, "stopped", 0.0)
    environment = {**posting.environment, **confine(cell, 0), **own}
    try:
        process = CellProcess(
            cell,
            environment,
            command=posting.command,
            directory=Path(posting.directory),
            servers=servers if posting.command == WORKER and can_be_forked(cell) else None,
        )
    except NoProcessError as error:
        return CellResult(cell, "failed", 0.0, str(error))
    emitted: queue.SimpleQueue[tuple[CellProcess, Event | None]] = queue.SimpleQueue()
    threading.Thread(target=forward_events, args=(process, emitted), daemon=True).start()
    deadline: float | None = None
    has_ended = False
    while not has_ended:
        lines, has_ended = _collect(emitted, posting.tell_seconds)
        if _ask(tell, lines) and deadline is None:
            deadline = time.monotonic() + GRACE_SECONDS
            process.dismiss()
        if deadline is not None and time.monotonic() > deadline:
            process.kill()
    return process.conclude(stopping=deadline is not None)


def _collect(emitted: queue.SimpleQueue[tuple[CellProcess, Event | None]], seconds: float) -> tuple[list[bytes], bool]:
    """What is emitted in the next ``seconds``, and whether the process has ended, which is not waited out."""
    lines, until = list[bytes](), time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        try:
            event = emitted.get(timeout=left)[1]
        except queue.Empty:
            break
        if event is None:
            return lines, True
        lines.append(encode_event(event))
    return lines, False


def _ask(tell: Tell, lines: list[bytes]) -> bool:
    try:
        return tell(lines)
    except ConnectionError:
        return True


def _await_others(lock: Path, tell: Tell) -> bool:
    """Wait for whoever holds the cell, though not for ever; False if the study wants to stop meanwhile."""
    heartbeats, until = Heartbeats(), time.monotonic() + _WAIT_FOR_OTHERS_SECONDS
    while time.monotonic() < until:
        holder = heartbeats.look(lock)
        if holder is None or holder.silent_seconds > DEAD_AFTER_SECONDS:
            break
        if holder.owner.is_here and not holder.owner.is_alive_here:
            break
        if _ask(tell, []):
            return False
        time.sleep(_LOOK_EVERY_SECONDS)
    return True
