"""Cells as jobs of Slurm, through submitit: arrays, time limits, requeues. The study itself runs where jobs are queued.

A job is the supervisor of its cell (see `vtbench.studies.supervision`); the two talk through files (`mailbox`). Before
its time is up, or when it is preempted, submitit signals the job, which lets the cell save itself and is requeued.
"""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from vtbench.environment import settle_device
from vtbench.errors import UserError
from vtbench.studies.cells import Cell
from vtbench.studies.events import CellEpoch, CellMessage, decode_event
from vtbench.studies.executor import EXECUTORS, Affinity, CellResult, CellWatcher, Executor
from vtbench.studies.executors.local import WORKER
from vtbench.studies.mailbox import CellSide, StudySide
from vtbench.studies.supervision import GRACE_SECONDS, MOST_LOSSES, Posting, post, supervise
from vtbench.training import StopRequest
from vtbench.units import format_items
from vtbench.written import Configuration

_LARGEST_ARRAY = 1000
_MOST_REQUEUES = 10_000
_LOOK_SECONDS = 0.2
_ASK_SLURM_SECONDS = 10.0
_MOST_WORDS = 200
"""So many files a second the cells shall write to at most, all together."""


class SlurmKnobs(Configuration):
    """What each job asks Slurm for; a cell has as many CPUs as ``cpus`` and, with ``--device cuda``, its GPUs."""

    cluster: Literal["slurm", "local"] = Field("slurm", description="local: processes here, to try it out")
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gres: str | None = Field(None, description="in the place of so many GPUs a job, such as gpu:a100:1")
    mem_gb: float | None = Field(None, gt=0)
    cpus: int = Field(1, ge=1, le=1024, description="CPUs of a job, all of them threads of its cell")
    minutes: int = Field(240, ge=1, le=100_000, description="the time limit of a job; its cell goes on in another")
    notice: int = Field(90, ge=5, le=3600, description="seconds before the limit at which a cell saves itself")


@EXECUTORS.register("slurm")
@dataclass(frozen=True)
class SlurmJobs(Executor):
    """The executor of a cluster with Slurm. ``command`` is what runs a cell there."""

    knobs: SlurmKnobs = field(default_factory=SlurmKnobs)
    command: tuple[str, ...] = WORKER
    Knobs: ClassVar[type[Configuration]] = SlurmKnobs

    def __post_init__(self) -> None:
        if find_spec("submitit") is None:
            raise UserError("--executor slurm takes submitit. Install it: pip install 'vtbench[slurm]'.")
        if self.knobs.notice >= 60 * self.knobs.minutes:
            raise UserError(
                f"The executor 'slurm': notice={self.knobs.notice} seconds leave nothing of a job of "
                f"minutes={self.knobs.minutes}. Give jobs more minutes, or less notice."
            )
        if not self.runs_here and shutil.which("srun") is None:
            raise UserError(
                "--executor slurm found no srun: this machine is not part of a Slurm cluster. Give the command on its "
                "login node, or try the study out here with --executor slurm:cluster=local."
            )

    @property
    def runs_here(self) -> bool:
        """On the nodes of the cluster, unless it is tried out."""
        return self.knobs.cluster == "local"

    def affinity(self, device: str) -> Affinity:
        """A queue takes any number of cells."""
        return Affinity(self.knobs.cpus, num_gpus=int(device != "cpu"), most_threads=self.knobs.cpus, is_queue=True)

    def settle_device(self, name: str) -> str:
        """What nodes have cannot be seen from where jobs are queued, so it must be said."""
        if self.knobs.cluster == "local" or name == "cpu":
            return settle_device(name)
        if name != "cuda":
            raise UserError(f"--device was given {name!r}, and jobs run on other machines. Say --device cuda, or cpu.")
        return name

    def scratch(self) -> AbstractContextManager[str]:
        """Beneath the folder that the study is called from, which the machines share."""
        return tempfile.TemporaryDirectory(prefix=".vtbench-", dir=Path.cwd(), ignore_cleanup_errors=True)

    def run(self, cells: Sequence[Cell], jobs: int, *, watcher: CellWatcher, stop: StopRequest) -> Iterator[CellResult]:
        """Yield one result for every cell that was begun; see `Executor.run`. All are queued at once."""
        with self.scratch() as folder:
            queue = _Queue(self, Path(folder), jobs, watcher)
            waiting, deadline = deque(cells), None
            try:
                while queue.jobs or (waiting and not stop.requested):
                    if stop.requested and deadline is None:
                        deadline = time.monotonic() + GRACE_SECONDS
                        queue.stop()
                    if waiting and not stop.requested:
                        room = min(queue.room(len(waiting)), len(waiting))
                        queue.submit([_Queued(waiting.popleft()) for _ in range(room)])
                    watcher.on_turn()
                    time.sleep(_LOOK_SECONDS)
                    for result in queue.listen(stopping=stop.requested, late=deadline):
                        watcher.on_end(result)
                        yield result
            finally:
                queue.close()

    def open_submitit(self, folder: Path, cell: Cell, jobs: int) -> Any:
        """The executor of submitit for jobs like that of ``cell``, ``jobs`` of them at once."""
        import submitit

        logging.getLogger("submitit").setLevel(logging.CRITICAL)
        knobs, execution = self.knobs, cell.config.execution
        gpus = execution.devices if execution.device.startswith("cuda") and knobs.gres is None else 0
        if knobs.cluster == "local":
            executor = submitit.LocalExecutor(folder / "jobs", max_num_timeout=_MOST_REQUEUES)
            executor.update_parameters(timeout_min=knobs.minutes, signal_delay_s=knobs.notice, gpus_per_node=gpus)
            return executor
        executor = submitit.SlurmExecutor(folder / "jobs", max_num_timeout=_MOST_REQUEUES)
        asked = {
            "job_name": f"vtbench-{cell.study}"[:60],
            "time": knobs.minutes,
            "signal_delay_s": knobs.notice,
            "cpus_per_task": execution.threads or knobs.cpus,
            "gpus_per_node": gpus or None,
            "mem": knobs.mem_gb and f"{math.ceil(1024 * knobs.mem_gb)}MB",
            "partition": knobs.partition,
            "account": knobs.account,
            "qos": knobs.qos,
            "constraint": knobs.constraint,
            "gres": knobs.gres,
            "array_parallelism": jobs,
        }
        executor.update_parameters(**{name: value for name, value in asked.items() if value is not None})
        return executor


@dataclass
class _Queued:
    """A cell and its job: whether it was seen to begin, and how often in a row its job ended without a word."""

    cell: Cell
    name: str = ""
    job: Any = None
    began: float | None = None
    asked: float = field(default_factory=time.monotonic)
    losses: int = 0


class _Queue:
    """The jobs of a study that are queued or run."""

    def __init__(self, executor: SlurmJobs, folder: Path, most: int, watcher: CellWatcher) -> None:
        self._executor, self._folder, self._most, self._watcher = executor, folder, most, watcher
        self._mailbox = StudySide(folder)
        self._mailbox.beat()
        self._pause = max(_LOOK_SECONDS, most / _MOST_WORDS)
        self._count = 0
        self.jobs: list[_Queued] = []
        self._dropped: list[_Queued] = []
        self._is_local = executor.knobs.cluster == "local"

    def room(self, waiting: int) -> int:
        """How many cells may be handed out now: Slurm bounds those that run itself."""
        return self._most - len(self.jobs) if self._is_local else min(waiting, _LARGEST_ARRAY)

    def submit(self, queued: Sequence[_Queued]) -> None:
        """Hand cells out, several as an array. Raises ``UserError`` if Slurm does not take them."""
        if not queued:
            return
        tasks = []
        for one in queued:
            self._count += 1
            one.name, one.asked = str(self._count), time.monotonic()
            tasks.append(CellJob(post(one.cell, self._executor.command, self._pause), CellSide(self._folder, one.name)))
        try:
            submitit = self._executor.open_submitit(self._folder, queued[0].cell, self._most)
            with submitit.batch():
                jobs = [submitit.submit(task) for task in tasks]
        except Exception as error:
            raise UserError(f"Slurm did not take the jobs: {_shorten(str(error))}") from error
        for one, job in zip(queued, jobs, strict=True):
            one.job = job
        self.jobs += queued

    def listen(self, *, stopping: bool, late: float | None) -> Iterator[CellResult]:
        """Hand on what cells emitted, and yield how those ended that did; what was lost is queued again.

        From the moment ``late`` on, jobs that have not ended are given up.
        """
        if not stopping:
            self._mailbox.beat()
        is_late = late is not None and time.monotonic() > late
        again: list[_Queued] = []
        for one in list(self.jobs):
            self._hand_on(one)
            ended: tuple[str, str | None] | None = None
            if self._is_over(one):
                ended = self._mailbox.find_result(one.name) or self._judge_loss(one, stopping=stopping)
                self._hand_on(one)
            elif is_late:
                ended = ("stopped", None)
                self._drop(one)
            if ended is None:
                continue
            self.jobs.remove(one)
            status, error = ended
            if status == "lost":
                again.append(one)
            elif one.began is not None:
                yield CellResult(one.cell, status, time.monotonic() - one.began, error)  # type: ignore[arg-type]
            elif status != "stopped":
                self._begin(one)
                yield CellResult(one.cell, status, 0.0, error)  # type: ignore[arg-type]
        for one in again:
            self.submit([one])

    def stop(self) -> None:
        """Let every cell save itself, and take those that wait in the queue out of it."""
        self._mailbox.stop()
        for one in self.jobs:
            if one.began is None:
                one.job.cancel()

    def close(self) -> None:
        """Let cells that run save themselves, and end what does not."""
        if self.jobs:
            self.stop()
            _await_jobs([one for one in self.jobs if one.began is not None], GRACE_SECONDS)
            for one in self.jobs:
                self._drop(one)
        if self._is_local:
            _await_jobs(self._dropped, GRACE_SECONDS)

    def _hand_on(self, one: _Queued) -> None:
        lines = self._mailbox.fetch(one.name)
        if lines is None:
            return
        if one.began is None:
            self._begin(one)
        for line in lines:
            event = decode_event(line)
            one.losses = 0 if isinstance(event, CellEpoch) else one.losses
            self._watcher.on_event(one.cell, event)

    def _begin(self, one: _Queued) -> None:
        one.began = time.monotonic()
        self._watcher.on_begin(one.cell)

    def _drop(self, one: _Queued) -> None:
        one.job.cancel()
        self._dropped.append(one)

    def _is_over(self, one: _Queued) -> bool:
        """Whether the job is over, of which Slurm is asked now and then, and at once if the cell has ended."""
        has_ended = self._is_local or self._mailbox.find_result(one.name) is not None
        if not has_ended and time.monotonic() - one.asked < _ASK_SLURM_SECONDS:
            return False
        one.asked = time.monotonic()
        return bool(one.job.done())

    def _judge_loss(self, one: _Queued, *, stopping: bool) -> tuple[str, str | None]:
        """What comes of a job that ended without a word."""
        if stopping:
            return "stopped", None
        one.losses += 1
        if one.losses > MOST_LOSSES:
            errors = _shorten(one.job.stderr() or one.job.stdout() or "it left no log")
            times = format_items(one.losses, "time")
            reason = f"The cell's job ended {times} without a word and without an epoch in between."
            return "failed", f"{reason} The last time: {errors}"
        text = f"{one.cell.label} lost its job ({one.job.state}) and goes on from its last checkpoint in another."
        if one.began is not None:
            self._watcher.on_event(one.cell, CellMessage(text=text))
        return "lost", None


class CellJob:
    """What a job does: it supervises a cell until that ends, or until submitit has a sign that the job will."""

    def __init__(self, posting: Posting, mailbox: CellSide) -> None:
        self._posting, self._mailbox = posting, mailbox
        self._leaving = False
        self._supervisor: threading.Thread | None = None

    def __call__(self) -> None:
        """Supervise in another thread, so that the sign can be heard, and tell the study how the cell ended."""
        ended: list[CellResult] = []
        self._supervisor = threading.Thread(target=lambda: ended.append(supervise(self._posting, self._tell)))
        self._supervisor.start()
        self._supervisor.join()
        for result in ended:
            self._mailbox.conclude(result.status, result.error)

    def checkpoint(self) -> Any:
        """Called by submitit at the sign: let the cell save itself; what is to be done in the next job."""
        from submitit.helpers import DelayedSubmission

        self._leaving = True
        if self._supervisor is not None:
            self._supervisor.join()
        return DelayedSubmission(CellJob(self._posting, self._mailbox))

    def _tell(self, lines: list[bytes]) -> bool:
        return self._mailbox.tell(lines) or self._leaving


def _await_jobs(queued: Sequence[_Queued], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not all(one.job.done() for one in queued):
        time.sleep(_LOOK_SECONDS)


def _shorten(text: str) -> str:
    """The last line that has words in it: the cause stands there."""
    return [line.strip() for line in text.splitlines() if line.strip()][-1][:300]
