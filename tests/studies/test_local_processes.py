import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import stand_in_cells
from stand_in_cells import make_study

from vtbench.reporting.live_runs import RunReader
from vtbench.studies import supervision
from vtbench.studies.cells import Cell, list_cells
from vtbench.studies.events import CellEnded, CellEpoch, CellProgress, CellStarted, Event
from vtbench.studies.executor import CellResult, fits_at_the_end
from vtbench.studies.executors import local
from vtbench.studies.executors.local import CellProcess, LocalProcesses, confine
from vtbench.studies.servers import CellServers
from vtbench.training import StopRequest


class Watcher:
    """Notes everything, and calls ``react`` with each event."""

    def __init__(self, react: object = None) -> None:
        self.begun: list[str] = []
        self.ended: list[CellResult] = []
        self.events: list[tuple[str, Event]] = []
        self.most_at_once = 0
        self.react = react

    def on_begin(self, cell: Cell) -> None:
        self.begun.append(cell.label)
        self.most_at_once = max(self.most_at_once, len(self.begun) - len(self.ended))

    def on_event(self, cell: Cell, event: Event) -> None:
        self.events.append((cell.label, event))
        if callable(self.react):
            self.react(event)

    def on_end(self, result: CellResult) -> None:
        self.ended.append(result)

    def on_turn(self) -> None:
        pass


Execute = Callable[..., dict[str, CellResult]]


def execute_cells(
    folder: Path,
    arms: Sequence[str],
    *,
    can_serve: bool,
    jobs: int = 2,
    watcher: Watcher | None = None,
    stop: StopRequest | None = None,
) -> dict[str, CellResult]:
    cells = list_cells(make_study(dict.fromkeys(arms, "resnet20"), seeds=1), folder)
    executor = LocalProcesses(stand_in_cells.COMMAND, grace_seconds=1.0, can_serve=can_serve)
    results = executor.run(cells, jobs, watcher=watcher or Watcher(), stop=stop or StopRequest())
    return {result.cell.arm: result for result in results}


either_way = pytest.mark.parametrize("can_serve", [False, True], ids=["started", "forked"])


@pytest.fixture(params=[False, True], ids=["started", "forked"])
def execute(request: pytest.FixtureRequest) -> Execute:
    """Cells are started each by itself, or forked."""
    return partial(execute_cells, can_serve=request.param)


def begin(folder: Path, *, can_serve: bool) -> CellProcess:
    """A slow cell in a process of its own."""
    cell = list_cells(make_study({"slow": "resnet20"}, seeds=1), folder)[0]
    return CellProcess(cell, {}, command=stand_in_cells.COMMAND, servers=CellServers() if can_serve else None)


def count_started(watcher: Watcher) -> int:
    return sum(isinstance(event, CellStarted) for _, event in watcher.events)


def test_every_cell_is_run_and_tells_its_course(tmp_path: Path, execute: Execute) -> None:
    watcher = Watcher()
    results = execute(tmp_path, ["a", "b", "c"], watcher=watcher)
    assert {arm: result.status for arm, result in results.items()} == dict.fromkeys("abc", "finished")
    kinds = [type(event) for label, event in watcher.events if label == "a, seed 0"]
    assert kinds[0] is CellStarted
    assert kinds.count(CellProgress) == 40
    assert kinds.count(CellEpoch) == 4
    assert kinds[-1] is CellEnded


def test_cells_begin_in_order_and_no_more_at_once_than_there_are_slots(tmp_path: Path, execute: Execute) -> None:
    watcher = Watcher()
    execute(tmp_path, ["a", "b", "c", "d", "e"], jobs=2, watcher=watcher)
    assert watcher.begun == [f"{arm}, seed 0" for arm in "abcde"]
    assert watcher.most_at_once == 2


@pytest.mark.slow
@either_way
@pytest.mark.parametrize(("free", "most_at_once"), [(2**40, 3), (2**10, 2)])
def test_the_last_cells_share_the_cores_where_memory_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, most_at_once: int, can_serve: bool
) -> None:
    monkeypatch.setattr(local, "count_free_bytes", lambda: free)
    watcher, running = Watcher(), []
    watcher.react = lambda event: running.append(len(watcher.begun) - len(watcher.ended))
    cells = list_cells(make_study(dict.fromkeys([f"slow{n}" for n in range(7)], "resnet20"), seeds=1), tmp_path)
    executor = LocalProcesses(stand_in_cells.COMMAND, can_serve=can_serve).sharing_at_the_end()
    results = list(executor.run(cells, 2, watcher=watcher, stop=StopRequest()))
    assert [result.status for result in results] == ["finished"] * 7
    assert max(running) == most_at_once
    assert watcher.begun == [cell.label for cell in cells]


@pytest.mark.parametrize(
    ("num_left", "jobs", "fits"),
    [(2, 2, False), (3, 2, True), (4, 2, False), (2, 1, False), (9, 8, True), (12, 8, True), (13, 8, False)],
)
def test_all_that_is_left_shares_the_cores_once_it_is_half_as_many_again(num_left: int, jobs: int, fits: bool) -> None:
    assert fits_at_the_end(num_left, jobs) == fits


def test_whatever_takes_one_cell_down_leaves_the_others(tmp_path: Path, execute: Execute) -> None:
    results = execute(tmp_path, ["dies", "leaves", "raises", "diverges", "good"])
    assert {arm: result.status for arm, result in results.items()} == {
        "dies": "failed",
        "leaves": "failed",
        "raises": "failed",
        "diverges": "failed",
        "good": "finished",
    }
    errors = {arm: result.error or "" for arm, result in results.items()}
    assert "killed by SIGKILL, which most often means that the machine ran out of memory" in errors["dies"]
    assert "out of luck" in errors["dies"]
    assert "exit code 3 and without a word" in errors["leaves"]
    assert errors["raises"] == "ValueError: a mistake in the code"
    assert errors["diverges"] == "The training loss became NaN."


def test_what_a_cell_prints_goes_to_its_log_and_not_among_its_events(tmp_path: Path, execute: Execute) -> None:
    results = execute(tmp_path, ["raises"])
    log = (results["raises"].cell.folder / "log.txt").read_text()
    assert "a library prints this" in log
    assert "Traceback" in log


def test_a_program_that_is_no_worker_is_a_failed_cell(tmp_path: Path) -> None:
    cells = list_cells(make_study(seeds=1), tmp_path)
    executor = LocalProcesses(command=[sys.executable, "-c", "print('nonsense')"])
    results = list(executor.run(cells[:1], 1, watcher=Watcher(), stop=StopRequest()))
    assert results[0].status == "failed"


def test_a_process_that_cannot_be_started_is_a_failed_cell_and_the_next_one_is_tried(tmp_path: Path) -> None:
    cells = list_cells(make_study({"good": "resnet20"}, seeds=2), tmp_path)
    executor = LocalProcesses(command=(str(tmp_path / "no such program"),))
    results = list(executor.run(cells, 1, watcher=stand_in_cells.CellNotes(), stop=StopRequest()))
    assert [result.status for result in results] == ["failed", "failed"]
    assert "No process could be started for it: [Errno 2]" in (results[0].error or "")
    posted = supervision.supervise(supervision.post(cells[0], executor.command), lambda lines: False)
    assert (posted.status, posted.error) == ("failed", results[0].error)


def test_a_stop_lets_cells_save_and_begins_no_more(tmp_path: Path, execute: Execute) -> None:
    stop = StopRequest()
    watcher: Watcher = Watcher(lambda event: stop.request() if count_started(watcher) == 2 else None)
    results = execute(tmp_path, ["slow", "slow2", "slow3"], watcher=watcher, stop=stop)
    assert {arm: result.status for arm, result in results.items()} == {"slow": "stopped", "slow2": "stopped"}
    assert (results["slow"].cell.folder / "checkpoint").exists()


def test_a_cell_that_does_not_heed_a_stop_is_killed_and_counts_as_stopped(tmp_path: Path, execute: Execute) -> None:
    stop = StopRequest()
    watcher = Watcher(lambda event: stop.request())
    started = time.monotonic()
    assert execute(tmp_path, ["stuck"], watcher=watcher, stop=stop)["stuck"].status == "stopped"
    assert time.monotonic() - started < 50  # Left alone it waits for a minute.


def test_a_cell_that_is_still_loading_is_not_waited_for(tmp_path: Path) -> None:
    stop, cells = StopRequest(), list_cells(make_study(seeds=1), tmp_path)
    executor = LocalProcesses(command=[sys.executable, "-c", "import time; time.sleep(60)"])

    class Impatient(Watcher):
        def on_begin(self, cell: Cell) -> None:
            stop.request()

    started = time.monotonic()
    results = list(executor.run(cells, 1, watcher=Impatient(), stop=stop))
    assert [result.status for result in results] == ["stopped"]
    assert time.monotonic() - started < 50  # Left alone it sleeps for a minute.


HOLD = """
import sys, time
from pathlib import Path
from vtbench.locking import hold_lock
from vtbench.studies.cells import Cell
cell = Cell.model_validate_json(sys.stdin.readline())
with hold_lock(cell.folder / ".lock"):
    (cell.folder / "held").touch()
    time.sleep(60)
"""


@pytest.mark.parametrize("ends", ["stopped", "closed"])
def test_a_cell_that_its_study_ends_is_not_taken_for_dead(ends: str, tmp_path: Path) -> None:
    stop, cells = StopRequest(), list_cells(make_study({"one": "resnet20", "other": "resnet20"}, seeds=1), tmp_path)
    executor = LocalProcesses(command=[sys.executable, "-c", HOLD], grace_seconds=0.2)

    class Impatient(Watcher):
        def on_turn(self) -> None:
            if all((cell.folder / "held").exists() for cell in cells):
                if ends == "closed":
                    raise KeyboardInterrupt
                stop.request()

    with suppress(KeyboardInterrupt):
        list(executor.run(cells, 2, watcher=Impatient(), stop=stop))
    assert [RunReader().look(cell.folder).state for cell in cells] == ["waiting", "waiting"]


@either_way
def test_closing_the_iterator_early_ends_the_cells(tmp_path: Path, can_serve: bool) -> None:
    arms = dict.fromkeys(["slow", *(f"brisk{n}" for n in range(9))], "resnet20")
    watcher = Watcher()
    patient = LocalProcesses(stand_in_cells.COMMAND, can_serve=can_serve, grace_seconds=100)
    cells = list_cells(make_study(arms, seeds=1), tmp_path)
    results = patient.run(cells, 2, watcher=watcher, stop=StopRequest())
    while not any(label == "slow, seed 0" for label, _ in watcher.events):
        next(results)
    results.close()  # type: ignore[attr-defined]
    assert (tmp_path / "cells" / "slow" / "seed-0" / "checkpoint").exists()


@either_way
def test_a_cell_notices_that_its_study_is_gone_and_saves(tmp_path: Path, can_serve: bool) -> None:
    process = begin(tmp_path, can_serve=can_serve)
    events = process.events()
    next(events)
    process.ask_to_leave()  # What the system does to a pipe whose writer has died.
    assert list(events)[-1] == CellEnded(status="stopped")
    assert process.popen.wait(timeout=300) == 0
    assert (process.cell.folder / "checkpoint").exists()


@either_way
def test_cells_do_not_leave_at_the_signal_that_is_meant_for_their_study(tmp_path: Path, can_serve: bool) -> None:
    process = begin(tmp_path, can_serve=can_serve)
    events = process.events()
    next(events)
    assert process.popen.pid is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(process.popen.pid, number)
    next(events)
    process.ask_to_leave()
    assert list(events)[-1] == CellEnded(status="stopped")


def test_places_confine_threads_and_deal_gpus_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    cell = list_cells(make_study(execution={"device": "cuda"}), Path("nowhere"))[0].with_threads(4)
    places = [confine(cell, place) for place in range(3)]
    assert [place["CUDA_VISIBLE_DEVICES"] for place in places] == ["2", "5", "2"]
    assert {place["OMP_NUM_THREADS"] for place in places} == {"4"}
    affinity = local.LocalProcesses().affinity("cuda")
    assert (affinity.num_gpus, affinity.shares_gpus) == (2, True)
    assert not local.LocalProcesses().affinity("mps").shares_gpus
    assert confine(list_cells(make_study(), Path("nowhere"))[0], 0) == {}


def test_the_threads_of_a_cell_reach_the_environment_of_its_process(tmp_path: Path) -> None:
    cells = [cell.with_threads(7) for cell in list_cells(make_study(seeds=1), tmp_path)]
    code = "import os, sys; sys.exit(int(os.environ['OMP_NUM_THREADS']))"
    executor = LocalProcesses(command=[sys.executable, "-c", code])
    results = list(executor.run(cells[:1], 1, watcher=Watcher(), stop=StopRequest()))
    assert "exit code 7" in (results[0].error or "")


def test_cells_inherit_the_files_that_keep_the_lock(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    cells = list_cells(make_study(seeds=1), tmp_path)
    command = [sys.executable, "-c", f"import os; os.write({writing}, b'held')"]
    executor = LocalProcesses(command=command).holding(writing)
    list(executor.run(cells[:1], 1, watcher=Watcher(), stop=StopRequest()))
    os.close(writing)
    assert os.read(reading, 4) == b"held"
    os.close(reading)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked on POSIX")
def test_a_cell_has_ended_with_its_process_though_one_that_it_left_behind_holds_its_output(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, time\n"
        "if left := os.fork():\n"
        f"    pathlib.Path({str(tmp_path / 'left')!r}).write_text(str(left))\n"
        "    os._exit(3)\n"
        "time.sleep(300)"
    )
    executor = LocalProcesses(command=[sys.executable, "-c", code])
    cells = list_cells(make_study(seeds=1), tmp_path)
    results = list(executor.run(cells[:1], 1, watcher=Watcher(), stop=StopRequest()))
    os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)  # It is still there.
    assert "exit code 3" in (results[0].error or "")


@either_way
def test_a_study_that_is_killed_takes_its_cells_along(tmp_path: Path, can_serve: bool) -> None:
    code = (
        "import sys; from pathlib import Path; from test_local_processes import execute_cells;"
        f"execute_cells(Path(sys.argv[1]), ['slow'], can_serve={can_serve})"
    )
    study = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parent)
    checkpoint = tmp_path / "cells" / "slow" / "seed-0" / "checkpoint"
    _wait_for(lambda: (checkpoint.parent / "log.txt").exists() and (checkpoint.parent / "log.txt").stat().st_size > 0)
    study.kill()
    study.wait()
    _wait_for(checkpoint.exists)


def _wait_for(condition: object, seconds: float = 60.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
