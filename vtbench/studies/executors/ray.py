"""Cells on the machines of a Ray cluster, each a task that asks for its CPUs or GPUs.

A task is the supervisor of its cell (see `vtbench.studies.supervision`). What cells emit passes through one actor
beside the study, the switchboard, whose answers carry the wish to stop. A cell whose machine is lost is begun again on
another one and goes on from its last checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from vtbench.environment import settle_device
from vtbench.errors import UserError
from vtbench.studies.cells import Cell
from vtbench.studies.events import CellEpoch, CellMessage, decode_event
from vtbench.studies.executor import EXECUTORS, Affinity, CellResult, CellWatcher, Executor
from vtbench.studies.executors.local import WORKER
from vtbench.studies.servers import CellServers
from vtbench.studies.spanning import LOST, Other, Span, carry_first, place, reserve, shorten
from vtbench.studies.supervision import GRACE_SECONDS, MOST_LOSSES, Posting, post, supervise
from vtbench.training import StopRequest
from vtbench.units import format_duration, format_items
from vtbench.written import Configuration

SILENCE_SECONDS = 300.0
"""So long the switchboard is waited for: machines that are busy answer late."""
_WAIT_SECONDS = 0.1
_SERVERS = CellServers()
"""Of a process that carries out tasks, one after the other; both live as long as the study."""
_MOST_CALLS = 500
"""So many calls a second the switchboard shall answer at most, of all cells together."""


class RayKnobs(Configuration):
    """Which cluster: by default one that runs on this machine or that RAY_ADDRESS names, else one is started here."""

    address: str | None = Field(None, description="auto, HOST:PORT or ray://HOST:PORT")


@EXECUTORS.register("ray")
@dataclass(frozen=True)
class RayTasks(Executor):
    """The executor of a Ray cluster. ``command`` is what runs a cell there."""

    knobs: RayKnobs = field(default_factory=RayKnobs)
    command: tuple[str, ...] = WORKER
    Knobs: ClassVar[type[Configuration]] = RayKnobs

    def __post_init__(self) -> None:
        if find_spec("ray") is None:
            raise UserError("--executor ray takes Ray. Install it: pip install 'vtbench[ray]'.")

    @property
    def runs_here(self) -> bool:
        """On the machines of the cluster."""
        return False

    def affinity(self, device: str) -> Affinity:
        """What the machines have that the cluster consists of now; a cell has no more threads than one of them."""
        nodes = [node["Resources"] for node in self._connect().nodes() if node["Alive"]]
        cores = [int(resources.get("CPU", 0)) for resources in nodes]
        num_gpus = sum(int(resources.get("GPU", 0)) for resources in nodes) if device != "cpu" else 0
        return Affinity(max(1, sum(cores)), num_gpus, most_threads=max(1, *cores))

    def settle_device(self, name: str) -> str:
        """``auto`` is ``cuda`` if the cluster has GPUs, and a GPU is looked for where cells run, not here."""
        ray = self._connect()
        if name == "auto":
            name = "cuda" if ray.cluster_resources().get("GPU", 0) else "cpu"
        return name if name == "cuda" else settle_device(name)

    def scratch(self) -> AbstractContextManager[str]:
        """Beneath the folder that the study is called from, which the machines share."""
        return tempfile.TemporaryDirectory(prefix=".vtbench-", dir=Path.cwd(), ignore_cleanup_errors=True)

    def run(self, cells: Sequence[Cell], jobs: int, *, watcher: CellWatcher, stop: StopRequest) -> Iterator[CellResult]:
        """Yield one result for every cell that was begun; see `Executor.run`."""
        crew = _Crew(self._connect(), self.command, watcher, tell_seconds=max(0.1, min(jobs, len(cells)) / _MOST_CALLS))
        waiting, deadline = deque(cells), None
        try:
            while crew.running or (waiting and not stop.requested):
                while waiting and len(crew.running) < jobs and not stop.requested:
                    crew.begin(waiting.popleft())
                if stop.requested and deadline is None:
                    deadline = time.monotonic() + GRACE_SECONDS
                    crew.dismiss()
                if deadline is not None and time.monotonic() > deadline:
                    crew.cancel()
                watcher.on_turn()
                for result in crew.listen(_WAIT_SECONDS, stopping=stop.requested):
                    watcher.on_end(result)
                    yield result
        finally:
            crew.close()

    def _connect(self) -> Any:
        """Ray, connected to the cluster. Raises ``UserError`` where there is none."""
        import ray

        if not ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
            try:
                with _keeping_signals():
                    ray.init(address=self.knobs.address, log_to_driver=False, logging_level="error")
            except (ConnectionError, RuntimeError, ValueError, AssertionError) as error:
                where = f"at {self.knobs.address}" if self.knobs.address else "here"
                raise UserError(
                    f"No Ray cluster could be reached {where}: {' '.join(str(error).split())[:300]} "
                    "Start one with `ray start --head`, or give another --address."
                ) from error
        return ray


@dataclass
class _Handed:
    """A cell that was handed out: its number, when, and how often in a row it has lost its machine.

    ``group`` are the places of its processes where they are on several machines.
    """

    cell: Cell
    number: int
    began: float
    losses: int = 0
    group: Any = None


@dataclass(frozen=True)
class _Asked:
    """The question to the switchboard what was told, since when it stands, and the tasks that had ended before it."""

    answer: Any
    ended: list[Any]
    since: float


class _Crew:
    """The tasks of a study that run, and the switchboard that they report to."""

    def __init__(self, ray: Any, command: tuple[str, ...], watcher: CellWatcher, tell_seconds: float) -> None:
        self._ray, self._command, self._watcher, self._tell_seconds = ray, command, watcher, tell_seconds
        self._handed: list[_Handed] = []
        self.running: dict[Any, _Handed] = {}
        self._asked: _Asked | None = None
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self._board = ray.remote(num_cpus=0, scheduling_strategy=here)(Switchboard).remote()
        self._task = ray.remote(max_retries=0)(carry_cell)

    def begin(self, cell: Cell) -> None:
        """Hand out a cell."""
        handed = _Handed(cell, len(self._handed), time.monotonic())
        self._handed.append(handed)
        self._submit(handed)
        self._watcher.on_begin(cell)
        span = Span.of(cell)
        if not span.fits_all(self._list_machines()):
            wanted = ", ".join(f"{value} {name}" for name, value in span.whole.items())
            self._say(handed, f"No machine of the cluster has {wanted}: the cell waits for one.")

    def listen(self, seconds: float, *, stopping: bool) -> Iterator[CellResult]:
        """Hand on what cells emitted, and yield how those ended that did; lost ones are begun again.

        Takes about ``seconds``, whether or not the switchboard answers. Raises ``UserError`` if it has not for long.
        """
        if self._asked is None:
            ended, _ = self._ray.wait(list(self.running), timeout=seconds)
            self._asked = _Asked(self._board.drain.remote(), ended, time.monotonic())
        asked = self._asked
        if not self._ray.wait([asked.answer], timeout=seconds)[0]:
            if time.monotonic() > asked.since + SILENCE_SECONDS:
                raise UserError(
                    f"The Ray cluster has not answered for {format_duration(SILENCE_SECONDS)}: see `ray status`. "
                    "The same command goes on from the last checkpoints."
                )
            return
        self._asked = None
        for number, line in self._ray.get(asked.answer):
            handed, event = self._handed[number], decode_event(line)
            handed.losses = 0 if isinstance(event, CellEpoch) else handed.losses
            self._watcher.on_event(handed.cell, event)
        for task in asked.ended:
            result = self._conclude(task, self.running.pop(task), stopping=stopping)
            if result is not None:
                yield result

    def dismiss(self) -> None:
        """Let every cell save itself."""
        self._board.stop.remote()

    def cancel(self) -> None:
        """End all tasks here and now."""
        for task in self.running:
            self._ray.cancel(task, force=True)

    def close(self) -> None:
        """Let cells that run save themselves, and end what does not."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            if self.running:
                self.dismiss()
                self._ray.wait(list(self.running), num_returns=len(self.running), timeout=GRACE_SECONDS)
                self.cancel()
                for handed in self.running.values():
                    self._release(handed)
            self._ray.kill(self._board)

    def _submit(self, handed: _Handed) -> None:
        span, machines = Span.of(handed.cell), self._list_machines()
        posting = post(handed.cell, self._command, self._tell_seconds)
        if span.fits_one(machines) or not span.fits_all(machines):
            wanted = {"num_cpus": span.whole["CPU"], "num_gpus": span.whole.get("GPU", 0)}
        else:
            handed.group = reserve(self._ray, span)
            wanted = place(self._ray, handed.group, span, rank=0)
        task = self._task.options(**wanted, name=handed.cell.label)
        places = None if handed.group is None else (span, handed.group)
        self.running[task.remote(self._board, handed.number, posting, places)] = handed

    def _release(self, handed: _Handed) -> None:
        if handed.group is not None:
            self._ray.util.remove_placement_group(handed.group)
            handed.group = None

    def _list_machines(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _conclude(self, task: Any, handed: _Handed, *, stopping: bool) -> CellResult | None:
        """How a cell ended; None if it lost its machine and was begun again."""
        errors, cell = self._ray.exceptions, handed.cell
        seconds = time.monotonic() - handed.began
        self._release(handed)
        try:
            status, error = self._ray.get(task)
        except errors.TaskCancelledError:
            return CellResult(cell, "stopped", seconds)
        except (errors.RayTaskError, errors.RuntimeEnvSetupError, errors.TaskUnschedulableError) as problem:
            return CellResult(cell, "failed", seconds, f"Ray could not run the cell: {shorten(problem)}")
        except errors.RayError as problem:
            status, error = LOST, shorten(problem)
        if status != LOST:
            return CellResult(cell, status, seconds, error)
        if stopping:
            return CellResult(cell, "stopped", seconds)
        handed.losses += 1
        if handed.losses > MOST_LOSSES:
            reason = f"The cell lost its machine {format_items(handed.losses, 'time')} without an epoch in between."
            return CellResult(cell, "failed", seconds, f"{reason} The last time: {error}")
        self._say(handed, f"{cell.label} lost its machine and goes on from its last checkpoint on another.")
        self._submit(handed)
        return None

    def _say(self, handed: _Handed, text: str) -> None:
        self._watcher.on_event(handed.cell, CellMessage(text=text))


class Switchboard:
    """Where tasks leave what their cells emit, and the study fetches it."""

    def __init__(self) -> None:
        self._told: list[tuple[int, bytes]] = []
        self._stop = False

    def tell(self, number: int, lines: list[bytes]) -> bool:
        """Keep the ``lines`` of a cell; whether the study wants to stop."""
        self._told += [(number, line) for line in lines]
        return self._stop

    def drain(self) -> list[tuple[int, bytes]]:
        """What was told since the last time, in order."""
        told, self._told = self._told, []
        return told

    def stop(self) -> None:
        """Answer whoever tells something that the study wants to stop."""
        self._stop = True


def carry_cell(
    board: Any, number: int, posting: Posting, places: tuple[Span, Any] | None = None
) -> tuple[str, str | None]:
    """The task: supervise a cell on the machine that it was placed on; its status and error.

    ``places`` are those of its processes where they are on several machines.
    """
    import ray

    def tell(lines: list[bytes]) -> bool:
        answer = board.tell.remote(number, lines).future()  # `ray.get` would lend the cell's CPUs out while it waits.
        try:
            return bool(answer.result(timeout=SILENCE_SECONDS))
        except (ray.exceptions.RayError, TimeoutError) as error:
            raise ConnectionError("the study is gone") from error

    if places is not None:
        return carry_first(posting, *places, tell, Companion)
    result = supervise(posting, tell, servers=_SERVERS)
    return result.status, result.error


class Companion(Other):
    """`Other` where Ray can import it first: `vtbench.studies.spanning` needs the executors before."""


@contextlib.contextmanager
def _keeping_signals() -> Iterator[None]:
    """Undo what the block does to the handlers of Ctrl-C and of the sign to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
