"""Cells on this machine, each in a process of its own: whatever takes one down takes nothing else with it.

Where a GPU is left idle by one, several may take turns in one process (`vtbench.studies.turn_server`); one whose
process dies then goes on in one of its own.

The process reads its cell from standard input and emits its course on standard output. Its standard input stays open
for as long as the study lives; the end of it, asked for or because the study was killed, is the sign to save and leave.
So no cell outlives its study by more than a few seconds, and none writes where another study has taken over.

On Linux cells for the CPU are forked from a process that has imported everything (`vtbench.studies.fork_server`).
"""

from __future__ import annotations

import os
import queue
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, ClassVar

from vtbench.locking import release_for
from vtbench.run_folder import LOG, RUN_LOCK
from vtbench.studies.cells import Cell
from vtbench.studies.events import CellEnded, CellEpoch, CellStarted, Event, decode_event
from vtbench.studies.executor import (
    EXECUTORS,
    Affinity,
    CellResult,
    CellWatcher,
    Executor,
    count_cores,
    fits_at_the_end,
)
from vtbench.studies.servers import NEVER_BEGUN, UNSEEN, CellServers, ServedProcess
from vtbench.studies.turn_server import can_take_turns
from vtbench.training import StopRequest
from vtbench.training.exits import describe_exit

WORKER = (sys.executable, "-m", "vtbench.studies.worker")
_LOOK_EVERY_SECONDS = 0.2
_PART_OF_FREE_MEMORY = 0.5
"""Cells that share the cores at the end of a study take no more of the memory that is free."""


@EXECUTORS.register("local")
@dataclass(frozen=True)
class LocalProcesses(Executor):
    """The executor of one machine. ``inherited`` are open files that keep a lock while any cell lives.

    Where ``shares_at_the_end``, the last cells begin together as soon as `fits_at_the_end` says so. ``can_serve`` says
    that ``command`` can be a server, as vtbench's own can, and where ``takes_turns``, cells of one GPU share a process.
    """

    has_processes: ClassVar[bool] = True
    command: Sequence[str] = WORKER
    inherited: Sequence[int] = ()
    grace_seconds: float = 3.5
    shares_at_the_end: bool = False
    takes_turns: bool = False
    can_serve: bool | None = None
    servers: CellServers = field(default_factory=CellServers, compare=False)
    turn_servers: CellServers = field(default_factory=lambda: CellServers("--take-turns-for"), compare=False)

    def affinity(self, device: str) -> Affinity:
        """The cores of this process, and one place a GPU."""
        num_gpus = len(list_gpus(device)) or int(device != "cpu")
        return Affinity(count_cores(), num_gpus, shares_gpus=device.startswith("cuda"))

    def holding(self, lock: int) -> Executor:
        """This executor, whose processes inherit ``lock``."""
        return replace(self, inherited=(*self.inherited, lock))

    def sharing_at_the_end(self) -> Executor:
        """This executor, which may begin a few more cells at its end than there are cores."""
        return replace(self, shares_at_the_end=True)

    def taking_turns(self) -> Executor:
        """This executor, whose cells take turns in one process a GPU."""
        return replace(self, takes_turns=True, turn_servers=CellServers("--take-turns-for"))

    @property
    def took_turns(self) -> bool:
        """Whether its cells took turns so far, and no process that they shared was lost."""
        return self.takes_turns and not self.turn_servers.were_lost

    def start(self, cell: Cell) -> CellProcess:
        """Begin a cell in the first place."""
        return self._begin(cell, 0)

    def _begin(self, cell: Cell, place: int) -> CellProcess:
        can_serve = self.command == WORKER if self.can_serve is None else self.can_serve
        servers = None
        if can_serve and self.takes_turns and os.name == "posix" and can_take_turns(cell.config):
            servers = self.turn_servers
        elif can_serve and can_be_forked(cell):
            servers = self.servers
        return CellProcess(cell, confine(cell, place), command=self.command, inherited=self.inherited, servers=servers)

    def run(self, cells: Sequence[Cell], jobs: int, *, watcher: CellWatcher, stop: StopRequest) -> Iterator[CellResult]:
        """Yield one result for every cell that was begun; see `Executor.run`."""
        waiting, free, running = deque(cells), deque(range(jobs)), dict[CellProcess, int]()
        emitted: queue.SimpleQueue[tuple[CellProcess, Event | None]] = queue.SimpleQueue()
        deadline: float | None = None
        cell_bytes = 0
        try:
            while running or (waiting and not stop.requested):
                if self.shares_at_the_end and waiting and not stop.requested:
                    extra = len(running) + len(waiting) - jobs
                    fits = bool(cell_bytes) and fits_at_the_end(jobs + extra, jobs)
                    if fits and extra * cell_bytes < _PART_OF_FREE_MEMORY * count_free_bytes():
                        free.extend(range(jobs, jobs + extra))
                while waiting and free and not stop.requested:
                    place, cell = free.popleft(), waiting.popleft()
                    watcher.on_begin(cell)
                    try:
                        process = self._begin(cell, place)
                    except NoProcessError as error:
                        free.append(place)
                        result = CellResult(cell, "failed", 0.0, str(error))
                        watcher.on_end(result)
                        yield result
                        continue
                    running[process] = place
                    threading.Thread(target=forward_events, args=(process, emitted), daemon=True).start()
                if stop.requested and deadline is None:
                    deadline = time.monotonic() + self.grace_seconds
                    for process in running:
                        process.dismiss()
                if deadline is not None and time.monotonic() > deadline:
                    for process in running:
                        process.kill()
                watcher.on_turn()
                try:
                    process, event = emitted.get(timeout=0.1)
                except queue.Empty:
                    continue
                if event is not None:
                    if isinstance(event, CellEpoch):
                        cell_bytes = max(cell_bytes, process.count_bytes())
                    watcher.on_event(process.cell, event)
                    continue
                free.append(running.pop(process))
                result = process.conclude(stopping=stop.requested)
                watcher.on_end(result)
                yield result
        finally:
            for process in running:
                process.dismiss()
            deadline = time.monotonic() + self.grace_seconds
            for process in running:
                process.end_by(deadline)
            self.turn_servers.end_idle()


def can_be_forked(cell: Cell) -> bool:
    """Whether this system forks, and ``cell`` uses no device that a fork would break."""
    return sys.platform == "linux" and cell.config.execution.device == "cpu"


def count_free_bytes() -> int:
    """Memory that new processes can have without others being swapped out."""
    import psutil

    return int(psutil.virtual_memory().available)


def list_gpus(device: str) -> tuple[str, ...]:
    """The GPUs among which cells on ``device`` are dealt out: all that are visible for ``cuda``, none otherwise."""
    if device != "cuda":
        return ()
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return tuple(visible.split(",")) if visible else tuple(str(n) for n in range(torch.cuda.device_count()))


def confine(cell: Cell, place: int) -> dict[str, str]:
    """The environment variables that hold ``cell`` to its threads and, in turn, to its GPUs, mostly one.

    A cell sees its GPUs as the only ones, so that its configuration does not depend on its place.
    """
    execution = cell.config.execution
    gpus, threads, devices = list_gpus(execution.device), execution.threads, execution.devices
    limited = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS") if threads else ()
    seen = [gpus[(place * devices + n) % len(gpus)] for n in range(devices)] if gpus else []
    own = {"CUDA_VISIBLE_DEVICES": ",".join(seen)} if gpus else {}
    return {**dict.fromkeys(limited, str(threads)), **own}


def _read_lines(output: IO[bytes], poll: Callable[[], int | None]) -> Iterator[bytes]:
    """The lines of a process until it has ended, whoever else may hold its output open.

    Processes that it forked and left behind do.
    """
    if os.name != "posix":
        yield from output
        return
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while True:
            has_ended = poll() is not None  # All that it has written can be read by then.
            if selector.select(0.0 if has_ended else _LOOK_EVERY_SECONDS):
                read = os.read(output.fileno(), 1 << 16)
                *lines, rest = (rest + read).split(b"\n")
                yield from lines
                if read:
                    continue
                break
            if has_ended:
                break
    if rest:
        yield rest


class NoProcessError(OSError):
    """The system starts no process for a cell."""


class CellProcess:
    """One cell in a process, mostly its own: events come on its standard output, what it prints goes to the cell's log.

    ``environment`` is added to that of this process. ``inherited`` are open files that the process shall hold, and
    ``directory`` is where it works, by default where this one does. With ``servers`` one of them begins the process,
    which is started afresh if its server dies before, or with it where it is shared: the cell then goes on from what it
    had saved. Raises ``NoProcessError`` where none can be started.
    """

    def __init__(
        self,
        cell: Cell,
        environment: Mapping[str, str],
        *,
        command: Sequence[str] = WORKER,
        inherited: Sequence[int] = (),
        directory: Path | None = None,
        servers: CellServers | None = None,
    ) -> None:
        self.cell = cell
        self._began = time.monotonic()
        self._is_training = self._is_dismissed = self._was_killed = False
        self._last_word: CellEnded | None = None
        self._command, self._environment = command, {**os.environ, **environment}
        self._inherited, self._directory = inherited, directory
        self._lock = threading.Lock()
        cell.folder.mkdir(parents=True, exist_ok=True)
        self._is_shared = servers is not None and servers.shares
        self.popen = self._ask(servers) if servers is not None else self._start()
        self._hand_over()

    def _ask(self, servers: CellServers) -> ServedProcess | subprocess.Popen[bytes]:
        with (self.cell.folder / LOG).open("ab") as log:
            try:
                return servers.begin(self._command, self._environment, log, self._inherited, self._directory)
            except OSError:  # The server is dead, there is no room for one, or none can serve here.
                return self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.cell.folder / LOG).open("ab") as log:
            try:
                return subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=self._environment,
                    cwd=self._directory,
                    pass_fds=tuple(self._inherited) if os.name == "posix" else (),
                )
            except OSError as error:
                room = "Where there is no room, fewer --jobs need less."
                raise NoProcessError(f"No process could be started for it: {error}. {room}") from error

    def _hand_over(self) -> None:
        assert self.popen.stdin is not None
        with suppress(BrokenPipeError):  # It died at once, which its exit code will tell.
            self.popen.stdin.write(self.cell.model_dump_json().encode() + b"\n")
            self.popen.stdin.flush()

    def _start_afresh(self) -> bool:
        """Whether the cell has a process of its own now, since its server died before it, or with it where shared.

        The cell has failed if none can be started.
        """
        with self._lock:
            was_lost = self._is_shared and self.popen.returncode == UNSEEN and self._last_word is None
            if self._was_killed or self._is_dismissed or not (was_lost or self.popen.returncode == NEVER_BEGUN):
                return False
            self._is_shared = False
            try:
                self.popen = self._start()
            except OSError as error:
                self._last_word = CellEnded(status="failed", error=str(error))
                return False
            self._hand_over()
        return True

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self.popen.poll() is None

    def count_bytes(self) -> int:
        """The memory that the process has now, 0 if it is gone."""
        import psutil

        try:
            return int(psutil.Process(self.popen.pid).memory_info().rss) if self.popen.pid is not None else 0
        except psutil.Error:
            return 0

    def events(self) -> Iterator[Event]:
        """What the cell emits, until its process is gone."""
        assert self.popen.stdout is not None
        with self.popen.stdout as output:
            for line in _read_lines(output, self.popen.poll):
                try:
                    event = decode_event(line)
                except ValueError:  # The last line of a process that was killed while it wrote.
                    continue
                if isinstance(event, CellStarted):
                    self._is_training = True
                elif isinstance(event, CellEnded):
                    self._last_word = event
                yield event
        self.popen.wait()
        self.ask_to_leave()
        if self._start_afresh():
            yield from self.events()

    def ask_to_leave(self) -> None:
        """Close the standard input of the process: the sign to save and leave. No harm if it is gone."""
        assert self.popen.stdin is not None
        with suppress(BrokenPipeError):
            self.popen.stdin.close()

    def dismiss(self) -> None:
        """Let a cell that trains save itself; one that still loads has nothing to lose, but its neighbours have."""
        with self._lock:  # Not while it is begun afresh.
            self._is_dismissed = True
            may_save = self._is_training or self._is_shared
            if may_save:
                self.ask_to_leave()
        if not may_save:
            self.kill()

    def kill(self) -> None:
        """End the process here and now."""
        with self._lock:
            self._was_killed = True
            self.popen.kill()

    def end_by(self, deadline: float) -> None:
        """Wait until it has ended, and kill it once the clock is past ``deadline``."""
        try:
            self.popen.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
            self.popen.wait()
        if self._was_killed:
            self._release()

    def conclude(self, *, stopping: bool) -> CellResult:
        """What became of the cell, once its process is gone."""
        seconds, word, code = time.monotonic() - self._began, self._last_word, self.popen.returncode
        if word is not None:
            return CellResult(self.cell, word.status, seconds, word.error)
        assert code is not None
        if self._was_killed or (stopping and code in _ASKED_TO_STOP):
            self._release()
            return CellResult(self.cell, "stopped", seconds)
        seen = None if code == UNSEEN else code
        error = describe_exit(seen, self.cell.folder / LOG, mend="fewer --jobs need less")
        return CellResult(self.cell, "failed", seconds, error)

    def _release(self) -> None:
        """The cell was stopped, not lost: who looks at its folder shall not take it for dead."""
        if self.popen.pid is not None:
            release_for(self.cell.folder / RUN_LOCK, self.popen.pid)


def forward_events(process: CellProcess, emitted: queue.SimpleQueue[tuple[CellProcess, Event | None]]) -> None:
    """Hand on every event, and the end of the process, from a thread of its own."""
    try:
        for event in process.events():
            emitted.put((process, event))
    finally:
        emitted.put((process, None))


_ASKED_TO_STOP = {-signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM, UNSEEN}
