"""Cells on this machine, each in a process of its own: whatever takes one down takes nothing else with it.

The process reads its cell from standard input and tells its course on standard output. Its standard input stays open
for as long as the study lives; the end of it, asked for or because the study was killed, is the sign to save and leave.
So no cell outlives its study by more than a few seconds, and none writes where another study has taken over.
"""

from __future__ import annotations

import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vtbench.run_folder import LOG
from vtbench.studies.cells import Cell
from vtbench.studies.events import CellEnded, CellStarted, decode_event
from vtbench.studies.executor import CellResult, CellWatcher
from vtbench.studies.worker_process import WORKER, ask_to_leave, start_worker
from vtbench.training import StopRequest

GRACE_SECONDS = 3.5
_LOG_TAIL_LINES = 6


@dataclass(frozen=True)
class Slot:
    """A place for one cell at a time, with the environment variables that confine it (threads, visible GPU)."""

    environment: Mapping[str, str] = field(default_factory=dict)


def make_slots(jobs: int, *, threads: int, gpus: Sequence[str] = ()) -> tuple[Slot, ...]:
    """``jobs`` places of ``threads`` CPU threads each; ``gpus``, named as CUDA does, are dealt out in turn.

    A cell sees its GPU as the only one, so that its configuration does not depend on its place.
    """
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    own = [{"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)]} if gpus else {} for place in range(jobs)]
    return tuple(Slot({**limits, **variables}) for variables in own)


@dataclass
class _Process:
    cell: Cell
    slot: Slot
    popen: subprocess.Popen[bytes]
    began: float
    training: bool = False
    last_word: CellEnded | None = None
    killed: bool = False


class LocalProcesses:
    """The executor of one machine. ``inherited`` are open files that keep a lock while any cell lives."""

    def __init__(
        self,
        slots: Sequence[Slot],
        *,
        command: Sequence[str] = WORKER,
        inherited: Sequence[int] = (),
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._slots = tuple(slots)
        self._command = tuple(command)
        self._inherited = tuple(inherited)
        self._grace_seconds = grace_seconds

    def run(self, cells: Sequence[Cell], *, watcher: CellWatcher, stop: StopRequest) -> Iterator[CellResult]:
        """Yield one result for every cell that was begun; see `Executor.run`."""
        waiting, free, running = deque(cells), deque(self._slots), set[int]()
        processes: dict[int, _Process] = {}
        told: queue.SimpleQueue[tuple[int, bytes | None]] = queue.SimpleQueue()
        deadline: float | None = None
        try:
            while running or (waiting and not stop.requested):
                while waiting and free and not stop.requested:
                    process = self._begin(waiting.popleft(), free.popleft(), told)
                    processes[process.popen.pid] = process
                    running.add(process.popen.pid)
                    watcher.on_begin(process.cell)
                if stop.requested and deadline is None:
                    deadline = time.monotonic() + self._grace_seconds
                    for pid in running:
                        _dismiss(processes[pid])
                if deadline is not None and time.monotonic() > deadline:
                    for pid in running:
                        _kill(processes[pid])
                watcher.on_turn()
                try:
                    pid, line = told.get(timeout=0.1)
                except queue.Empty:
                    continue
                process = processes[pid]
                if line is not None:
                    _take_in(process, line, watcher)
                    continue
                running.discard(pid)
                free.append(process.slot)
                result = _conclude(process, stopping=stop.requested)
                watcher.on_end(result)
                yield result
        finally:
            self._end_all([processes[pid] for pid in running])

    def _begin(self, cell: Cell, slot: Slot, told: queue.SimpleQueue[tuple[int, bytes | None]]) -> _Process:
        popen = start_worker(cell, slot.environment, command=self._command, inherited=self._inherited)
        threading.Thread(target=_forward, args=(popen, told), daemon=True).start()
        return _Process(cell, slot, popen, time.monotonic())

    def _end_all(self, processes: Sequence[_Process]) -> None:
        for process in processes:
            _dismiss(process)
        deadline = time.monotonic() + self._grace_seconds
        for process in processes:
            try:
                process.popen.wait(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _kill(process)
                process.popen.wait()


def _forward(popen: subprocess.Popen[bytes], told: queue.SimpleQueue[tuple[int, bytes | None]]) -> None:
    """Hand on every line, and the end of the process, from a thread of its own."""
    assert popen.stdout is not None
    with popen.stdout as lines:
        for line in lines:
            told.put((popen.pid, line))
    popen.wait()
    told.put((popen.pid, None))


def _take_in(process: _Process, line: bytes, watcher: CellWatcher) -> None:
    try:
        event = decode_event(line)
    except ValueError:  # The last line of a process that was killed while it wrote.
        return
    if isinstance(event, CellStarted):
        process.training = True
    elif isinstance(event, CellEnded):
        process.last_word = event
    watcher.on_event(process.cell, event)


def _conclude(process: _Process, *, stopping: bool) -> CellResult:
    ask_to_leave(process.popen)  # Closes the pipe; the process is gone.
    seconds = time.monotonic() - process.began
    word, code = process.last_word, process.popen.returncode
    if word is not None:
        return CellResult(process.cell, word.status, seconds, word.error)
    if process.killed or (stopping and code in _ASKED_TO_STOP):
        return CellResult(process.cell, "stopped", seconds)
    return CellResult(process.cell, "failed", seconds, _explain_crash(code, process.cell.folder / LOG))


_ASKED_TO_STOP = {-signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM}


def _explain_crash(code: int, log: Path) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        cause = f"The process was killed by {name}"
        if name == "SIGKILL":
            cause += ", which most often means that the machine ran out of memory (fewer --jobs need less)"
    else:
        cause = f"The process ended with exit code {code} and without a word"
    lines = [line for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    tail = "\n".join(lines[-_LOG_TAIL_LINES:])
    return f"{cause}. The log {log.name} ends with:\n{tail}" if tail else f"{cause}. Its log {log.name} is empty."


def _dismiss(process: _Process) -> None:
    """Let a cell that trains save itself; one that is still loading has nothing to lose."""
    if process.training:
        ask_to_leave(process.popen)
    else:
        _kill(process)


def _kill(process: _Process) -> None:
    process.killed = True
    process.popen.kill()
