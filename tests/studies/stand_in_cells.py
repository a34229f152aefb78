"""A stand-in for the runner: cells that take no time, or go wrong in the way that their arm is called after.

Run as a script it is a worker's process; imported it makes studies for tests.
"""

import hashlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vtbench.configuration import DataConfig, ExecutionConfig, Recipe
from vtbench.records import CostRecord, EnvironmentRecord, EpochRecord, RunRecord, TimingRecord, save_record
from vtbench.studies.cells import Cell, ResolvedStudy
from vtbench.studies.data_facts import DataFacts
from vtbench.studies.events import CellEpoch, CellStarted, Event
from vtbench.studies.executor import Affinity, CellResult, CellWatcher, Executor
from vtbench.studies.executors.in_process import InProcess
from vtbench.studies.executors.local import LocalProcesses
from vtbench.studies.worker import main
from vtbench.training import BatchProgress, ProgressListener, RunStart, RunStopped, StopRequest

COMMAND = (sys.executable, __file__)
FACTS = DataFacts(num_train=1000, num_val=100, class_names=tuple("0123456789"), image_size=(32, 32), data=DataConfig())
COSTS = CostRecord(macs=1_000_000, params=1000, input_shape=(3, 32, 32), num_classes=10)
ENVIRONMENT = EnvironmentRecord(
    vtbench="0", commit=None, dirty=None, python="3", platform="p", cpu="c", num_cores=2, threads=1,
    device="cpu", device_name="c", packages={},
)  # fmt: skip


def make_study(arms: Mapping[str, str] | None = None, **changes: Any) -> ResolvedStudy:
    """A study of the arms ``good`` and ``better`` with two seeds, or as ``arms`` and ``changes`` say."""
    values: dict[str, object] = {
        "name": "mini",
        "question": "Does it work?",
        "base": None,
        "arms": dict(arms or {"good": "resnet20:width=4", "better": "resnet20:width=8"}),
        "data": DataConfig(spec="scenes"),
        "recipe": Recipe(name="small", epochs=4),
        "seeds": 2,
        "execution": ExecutionConfig(device="cpu"),
    } | changes
    values.setdefault("reference", next(iter(values["arms"])))  # type: ignore[call-overload]
    return ResolvedStudy.model_validate(values)


def make_record(cell: Cell, *, error: str | None = None, top1_percent: float = 50.0) -> RunRecord:
    """The record of a cell that finished, or failed with ``error``."""
    outcome: object = {"reason": error} if error else {"top1_percent": top1_percent}
    return RunRecord.model_validate(
        {
            "task": cell.task, "variant": cell.config.variant, "seed": cell.config.seed,
            "status": "failed" if error else "finished",
            "config": cell.config, "environment": ENVIRONMENT, "costs": COSTS, "certificate": None, "num_train": 1000,
            "num_val": 100, "num_classes": 10, "epochs": (), "outcome": outcome,
            "weights_sha256": None if error else hashlib.sha256(b"weights").hexdigest(),
            "error": error, "arm": cell.arm, "study": cell.study,
        }
    )  # fmt: skip


def run_cell(cell: Cell, listener: ProgressListener, stop: StopRequest) -> RunRecord:
    """Behave as the arm's name says; arms of any other name train in a few steps."""
    print("a library prints this")
    cell.folder.mkdir(parents=True, exist_ok=True)
    epochs = cell.config.recipe.epochs
    start = RunStart(
        cell.task,
        cell.config.variant,
        str(cell.folder),
        cell.config.seed,
        "cpu",
        epochs,
        10,
        1000,
        100,
        10,
        0,
        0,
        COSTS,
    )
    if cell.arm.startswith("raises"):
        raise ValueError("a mistake in the code")
    if cell.arm.startswith("dies"):
        print("out of luck", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if cell.arm.startswith("leaves"):
        os._exit(3)
    if cell.arm.startswith("exits"):
        raise SystemExit(3)
    if cell.arm.startswith("loads"):
        time.sleep(2)
    if cell.arm.startswith("once") and not list(cell.folder.glob("failed-*.json")):
        return _end(cell, listener, error="The training loss became NaN.")
    listener.on_start(start)
    if cell.arm.startswith("late"):
        while not list(cell.folder.parents[1].glob("slow*/seed-*/under-way")):
            time.sleep(0.02)
        raise ValueError("a mistake that shows late")
    if cell.arm.startswith("diverges"):
        return _end(cell, listener, error="The training loss became NaN.")
    if cell.arm.startswith("stuck"):
        threading.Event().wait(60)
    if cell.arm.startswith("slow"):
        (cell.folder / "under-way").touch()
    for epoch in range(epochs):
        for batch in range(10):
            time.sleep(0.05 if cell.arm.startswith("slow") else 0.015 if cell.arm.startswith("brisk") else 0)
            listener.on_batch(BatchProgress(epoch, batch, 10, {"loss": 1.0, "top1_percent": 50.0}, _speed()))
            if stop.look():
                (cell.folder / "checkpoint").mkdir(exist_ok=True)
                raise RunStopped(cell.folder, epoch=epoch, batch=batch)
        numbers = {"loss": 1.0, "top1_percent": 50.0}
        values = EpochRecord(epoch=epoch, learning_rate=0.1, train=numbers, val=numbers)
        timing = TimingRecord(
            epoch=epoch, train_seconds=500 / _speed(), val_seconds=500 / _speed(), train_images_per_second=_speed()
        )
        listener.on_epoch(values, timing)
    if cell.arm.startswith("brisk"):  # A save that takes long enough to be seen.
        (cell.folder / ".state.partial").touch()
        time.sleep(0.2)
        (cell.folder / ".state.partial").unlink()
    (cell.folder / "weights.safetensors").write_bytes(b"weights")
    (cell.folder / "metrics.jsonl").write_bytes(b"")
    return _end(cell, listener, error=None)


class CellNotes:
    """A watcher that notes which cells were begun and what they emitted."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Event]] = []
        self.begun: list[str] = []

    def on_begin(self, cell: Cell) -> None:
        self.begun.append(cell.arm)

    def on_event(self, cell: Cell, event: Event) -> None:
        self.events.append((cell.arm, event))

    def on_end(self, result: CellResult) -> None: ...

    def on_turn(self) -> None: ...


class SpeedyExecutor(Executor):
    """Pretends that an epoch of 1000 images takes as many seconds as ``seconds`` has for a cell's number of threads."""

    def __init__(
        self, seconds: Mapping[int, float], *, cores: int = 4, num_gpus: int = 0, shares_gpus: bool = False
    ) -> None:
        self.seconds, self.affinities = seconds, Affinity(cores, num_gpus, shares_gpus=shares_gpus)
        self.in_turns: Executor | None = None

    def affinity(self, device: str) -> Affinity:
        return self.affinities

    def taking_turns(self) -> Executor:
        return self.in_turns or self

    @property
    def took_turns(self) -> bool:
        return True

    def run(self, cells: Sequence[Cell], jobs: int, *, watcher: CellWatcher, stop: StopRequest) -> Iterator[CellResult]:
        assert len(cells) <= jobs
        seconds = self.seconds.get(cells[0].config.execution.threads or 1)
        for cell in cells:
            watcher.on_begin(cell)
        if seconds is None:
            yield from (CellResult(cell, "failed", 0.0, "no such thing") for cell in cells)
            return
        started = CellStarted(
            run=RunStart("classification", "resnet20", "x", 0, "cpu", 4, 10, 1000, 100, 10, 0, 0, COSTS)
        )
        epoch = EpochRecord(epoch=0, learning_rate=0.1, train={"loss": 1.0}, val={"top1_percent": 10.0})
        timing = TimingRecord(epoch=0, train_seconds=seconds, val_seconds=0.0, train_images_per_second=1.0)
        for cell in cells:
            watcher.on_event(cell, started)
        for cell in cells:
            watcher.on_event(cell, CellEpoch(epoch=epoch, timing=timing))
            yield CellResult(cell, "stopped", seconds)


def _speed() -> float:
    """Training images a second: as many for four cells of one thread as the test wants there to be."""
    return float(os.environ.get(f"STAND_IN_SPEED_{os.environ.get('OMP_NUM_THREADS', '1')}", "1000"))


def _end(cell: Cell, listener: ProgressListener, *, error: str | None) -> RunRecord:
    record = make_record(cell, error=error, top1_percent=50.0 + cell.config.seed)
    save_record(cell.folder / "record.json", record)
    listener.on_finish(record)
    return record


def list_files(folder: Path) -> dict[str, bytes]:
    """The content of every file beneath ``folder``."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


LOCAL = LocalProcesses(COMMAND)
IN_PROCESS = InProcess(run_cell)

if __name__ == "__main__":
    main(run_cell)
