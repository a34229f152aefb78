"""One battery over every registered executor, with real cells, so small that they take a moment."""

import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

import vtbench.studies.executors  # noqa: F401  (fills the registry)
from vtbench.configuration import DataConfig, ExecutionConfig, Recipe
from vtbench.errors import UserError
from vtbench.files import hash_file
from vtbench.studies.cells import Cell, ResolvedStudy, list_cells
from vtbench.studies.events import CellEnded, CellEpoch, CellProgress, CellStarted, Event
from vtbench.studies.executor import EXECUTORS, CellResult, Executor, open_executor
from vtbench.studies.executors.in_process import InProcess
from vtbench.studies.executors.local import LocalProcesses
from vtbench.studies.worker import carry_out
from vtbench.training import StopRequest

HERE = {"ray": "ray:address=local", "slurm": "slurm:cluster=local"}
"""Executors of clusters, as they are spelt to be one on this machine."""
IN_TURNS = "local, in turns"
FILES = ("weights.safetensors", "metrics.jsonl", "record.json")


class Watcher:
    """Notes everything in order, and asks to stop at the first event of the type ``stop_at``."""

    def __init__(self, stop_at: type[Event] | None = None) -> None:
        self.course: list[tuple[str, str]] = []
        self.threads = {threading.get_ident()}
        self.num_turns = 0
        self.stop, self._stop_at = StopRequest(), stop_at

    def note(self, cell: Cell, what: str) -> None:
        self.course.append((cell.arm, what))
        self.threads.add(threading.get_ident())

    def on_begin(self, cell: Cell) -> None:
        self.note(cell, "begin")

    def on_event(self, cell: Cell, event: Event) -> None:
        self.note(cell, type(event).__name__)
        if self._stop_at is not None and isinstance(event, self._stop_at):
            self.stop.request()

    def on_end(self, result: CellResult) -> None:
        self.note(result.cell, "end")

    def on_turn(self) -> None:
        self.num_turns += 1


def make_cells(folder: Path, *, epochs: int = 2) -> dict[str, Cell]:
    """A cell whose variant cannot be had, and two that train."""
    study = ResolvedStudy(
        name="mini",
        question="Does it work?",
        base=None,
        reference="good",
        arms={"bad": "resnet20:widht=2", "good": "resnet20:width=2", "other": "resnet20:width=4"},
        data=DataConfig(spec="scenes", limit_train=80, limit_val=20),
        recipe=Recipe(name="mini", epochs=epochs, batch_size=16),
        seeds=1,
        execution=ExecutionConfig(device="cpu"),
    )
    return {cell.arm: cell.with_threads(1) for cell in list_cells(study, folder)}


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[str, str]]:
    """What a cell comes to that is carried out here and now, without any executor, by its number of epochs."""

    @cache
    def find(epochs: int) -> dict[str, str]:
        cell = make_cells(tmp_path_factory.mktemp("alone"), epochs=epochs)["good"]
        assert carry_out(cell, lambda event: None, StopRequest()) == CellEnded(status="finished")
        return {name: hash_file(cell.folder / name) for name in FILES}

    return find


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.cluster, pytest.mark.filterwarnings("default")] if name in HERE else [])
        for name in (*EXECUTORS, IN_TURNS)
    ]
)
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Executor:
    monkeypatch.chdir(tmp_path)
    if request.param == IN_TURNS:
        return open_executor("local").taking_turns()
    return open_executor(HERE.get(request.param, request.param))


def run(executor: Executor, cells: list[Cell], watcher: Watcher, *, jobs: int = 1) -> dict[str, CellResult]:
    return {result.cell.arm: result for result in executor.run(cells, jobs, watcher=watcher, stop=watcher.stop)}


def test_a_failure_is_a_result_and_the_next_cell_ends_in_the_bits_it_always_ends_in(
    executor: Executor, tmp_path: Path, digests: Callable[[int], dict[str, str]]
) -> None:
    cells, watcher = make_cells(tmp_path), Watcher()
    results = run(executor, [cells["bad"], cells["good"]], watcher)
    assert {arm: result.status for arm, result in results.items()} == {"bad": "failed", "good": "finished"}
    assert "'widht'" in (results["bad"].error or "")
    assert results["good"].error is None
    assert 0 < results["good"].seconds < 600
    assert {name: hash_file(cells["good"].folder / name) for name in FILES} == digests(2)
    assert watcher.course[:3] == [("bad", "begin"), ("bad", "CellEnded"), ("bad", "end")]
    course = [what for arm, what in watcher.course[3:]]
    assert list(dict.fromkeys(course)) == ["begin", "CellStarted", "CellProgress", "CellEpoch", "CellEnded", "end"]
    assert course.count("CellEpoch") == 2
    assert watcher.num_turns > 0
    assert watcher.threads == {threading.get_ident()}


def test_a_stopped_cell_saves_itself_no_other_is_begun_and_both_go_on_side_by_side_to_the_same_bits(
    executor: Executor, tmp_path: Path, digests: Callable[[int], dict[str, str]]
) -> None:
    epochs = 2 if isinstance(executor, InProcess | LocalProcesses) else 20  # A cluster is told to stop a moment later.
    cells = make_cells(tmp_path, epochs=epochs)
    both = [cells["good"], cells["other"]]
    stopped = Watcher(stop_at=CellStarted)
    assert {arm: result.status for arm, result in run(executor, both, stopped).items()} == {"good": "stopped"}
    assert list((cells["good"].folder / "checkpoint").glob("*.safetensors"))
    assert {arm for arm, _ in stopped.course} == {"good"}
    assert stopped.course[-1] == ("good", "end")
    results = run(executor, both, Watcher(), jobs=min(2, executor.affinity("cpu").most_jobs or 2))
    assert [result.status for result in results.values()] == ["finished", "finished"]
    assert {name: hash_file(cells["good"].folder / name) for name in FILES} == digests(epochs)


def test_closing_the_results_early_begins_no_further_cell(executor: Executor, tmp_path: Path) -> None:
    cells, watcher = make_cells(tmp_path), Watcher()
    results: Iterator[CellResult] = executor.run(list(cells.values()), 1, watcher=watcher, stop=watcher.stop)
    assert next(results).cell.arm == "bad"
    results.close()  # type: ignore[attr-defined]
    assert not (cells["good"].folder / "record.json").exists()


def test_cells_find_room_and_a_scratch_folder(executor: Executor) -> None:
    affinity = executor.affinity("cpu")
    assert affinity.threads >= 1
    assert affinity.num_gpus == 0
    with executor.scratch() as scratch:
        (Path(scratch) / "cell").mkdir()
    assert not Path(scratch).exists()


def test_a_cell_begun_by_itself_can_be_killed_or_is_refused(executor: Executor, tmp_path: Path) -> None:
    cell = make_cells(tmp_path, epochs=1000)["good"]
    try:
        running = executor.start(cell)
    except UserError as error:
        assert "--executor" in str(error)
        return
    events = running.events()
    while not isinstance(next(events), CellProgress | CellEpoch):
        assert running.is_alive
    running.kill()
    assert not any(isinstance(event, CellEnded) for event in events)
    assert not running.is_alive
    assert not (cell.folder / "record.json").exists()
