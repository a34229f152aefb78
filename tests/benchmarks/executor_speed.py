"""What a cell takes with Ray's executor beside the local one: ``python tests/benchmarks/executor_speed.py``.

    python tests/benchmarks/executor_speed.py [--cells 4] [--rounds 3] [--images 2000] [--epochs 2]

Both carry out the same small cells one after the other, in turns, because other work on the machine meets all alike.
Ray runs on this machine and is connected to before; what that takes is printed apart, as it is paid once a study. CPU
seconds are those of all processes, Ray's own among them, which other work changes little; a process that idles takes
some, too, so that slower rounds cost more of it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import vtbench.models  # noqa: F401
from vtbench.configuration import DataConfig, ExecutionConfig, Recipe
from vtbench.studies.cells import Cell, ResolvedStudy, list_cells
from vtbench.studies.events import Event
from vtbench.studies.executor import CellResult, Executor, open_executor
from vtbench.training import StopRequest


class Nobody:
    """Watches, and says nothing."""

    def on_begin(self, cell: Cell) -> None: ...
    def on_event(self, cell: Cell, event: Event) -> None: ...
    def on_end(self, result: CellResult) -> None: ...
    def on_turn(self) -> None: ...


def make_cells(folder: Path, options: argparse.Namespace) -> list[Cell]:
    """Cells that differ in their seed."""
    study = ResolvedStudy(
        name="speed",
        question="What does a cell take?",
        base=None,
        reference="only",
        arms={"only": "resnet20:width=4"},
        data=DataConfig(spec="scenes", limit_train=options.images, limit_val=100),
        recipe=Recipe(name="speed", epochs=options.epochs, batch_size=64),
        seeds=options.cells,
        execution=ExecutionConfig(device="cpu"),
    )
    return [cell.with_threads(1) for cell in list_cells(study, folder)]


def measure(executor: Executor, folder: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Seconds of wall time a cell, and of CPU."""
    cells = make_cells(folder, options)
    begun, cpu_begun = time.perf_counter(), sum(map(read_cpu_seconds, list_family(os.getpid())))
    results = list(executor.run(cells, 1, watcher=Nobody(), stop=StopRequest()))
    seconds = time.perf_counter() - begun
    cpu_seconds = sum(map(read_cpu_seconds, list_family(os.getpid()))) - cpu_begun
    assert [result.status for result in results] == ["finished"] * len(cells), results
    return seconds / len(cells), cpu_seconds / len(cells)


def list_family(pid: int) -> Iterator[int]:
    """A process, and all that it started and they did."""
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [(task / "children").read_text() for task in tasks]
    except OSError:  # It has ended.
        return
    for child in " ".join(children).split():
        yield from list_family(int(child))


def read_cpu_seconds(pid: int) -> float:
    """Those of a process, and of its children that have ended and been waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # It has ended.
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    ways = {"local": open_executor("local"), "ray": open_executor("ray:address=local")}
    begun = time.perf_counter()
    ways["ray"].affinity("cpu")
    print(f"Ray was started and connected to in {time.perf_counter() - begun:.1f} s", flush=True)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as scratch:
        for name, executor in ways.items():  # Fills the image cache and Ray's pool of processes.
            measure(executor, Path(scratch) / f"first-{name}", options)
        for number in range(options.rounds):
            for name in list(ways)[:: 1 if number % 2 == 0 else -1]:
                seconds, cpu_seconds = measure(ways[name], Path(scratch) / f"{number}-{name}", options)
                found[name].append((seconds, cpu_seconds))
                print(f"{name:>6}: {seconds:.2f} s a cell, {cpu_seconds:.2f} s of CPU", flush=True)
    for at, what in enumerate(("wall time", "CPU")):
        local, ray = (statistics.median(one[at] for one in found[name]) for name in ways)
        print(f"{what}, medians of {options.rounds}: local {local:.2f} s a cell, ray {ray:.2f} s: {ray / local:.2f}x")


if __name__ == "__main__":
    main()
