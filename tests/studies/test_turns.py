"""Cells that take turns in one process: each comes to what it comes to alone, and none harms another."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import stand_in_cells
import torch
from stand_in_cells import CellNotes, list_files, make_study

from vtbench.configuration import CodeConfig
from vtbench.studies.cells import Cell, list_cells
from vtbench.studies.events import CellEnded, CellEpoch, CellStarted, Event
from vtbench.studies.executor import CellResult, Executor
from vtbench.studies.executors import local
from vtbench.studies.executors.local import CellProcess, LocalProcesses, NoProcessError
from vtbench.studies.servers import NEVER_BEGUN, UNSEEN, CellServers
from vtbench.studies.turn_server import SharedProcess, Turns, can_take_turns
from vtbench.training import StopRequest
from vtbench.training.reproducibility import repeatable

pytestmark = pytest.mark.skipif(os.name != "posix", reason="open files are handed from process to process on Unix")


class Watcher(CellNotes):
    """Notes all, and calls ``react`` with the arm and each event."""

    def __init__(self, react: Callable[[str, Event], None] = lambda arm, event: None) -> None:
        super().__init__()
        self._react = react

    def on_event(self, cell: Cell, event: Event) -> None:
        super().on_event(cell, event)
        self._react(cell.arm, event)


def make_cells(folder: Path, *arms: str, epochs: int = 4) -> list[Cell]:
    study = make_study(dict.fromkeys(arms, "resnet20"), seeds=1, recipe={"name": "small", "epochs": epochs})
    return list_cells(study, folder)


def run(cells: list[Cell], watcher: CellNotes | None = None, stop: StopRequest | None = None) -> list[CellResult]:
    executor = LocalProcesses(stand_in_cells.COMMAND, can_serve=True).taking_turns()
    return list(executor.run(cells, len(cells), watcher=watcher or CellNotes(), stop=stop or StopRequest()))


def statuses(results: list[CellResult]) -> dict[str, str]:
    return {result.cell.arm: result.status for result in results}


def test_turns_go_round_in_the_order_in_which_threads_came() -> None:
    turns, done, came = Turns(), list[str](), threading.Semaphore(0)

    def work(name: str, steps: int) -> None:
        came.release()
        with turns.join():
            for step in range(steps):
                done.append(f"{name}{step}")
                turns.pass_on()

    with turns.join():
        threads = [threading.Thread(target=work, args=(name, steps)) for name, steps in (("a", 3), ("b", 1), ("c", 2))]
        for number, thread in enumerate(threads, start=2):
            thread.start()
            came.acquire()
            while len(turns._line) < number:
                time.sleep(0.001)
        assert done == [], "nobody works while another does"
    for thread in threads:
        thread.join(10)
    assert done == ["a0", "b0", "c0", "a1", "c1", "a2"]


def test_a_thread_alone_goes_on_at_once_and_one_that_fails_leaves_the_line() -> None:
    turns = Turns()
    with turns.join():
        turns.pass_on()
    with pytest.raises(ValueError, match="wrong"), turns.join():
        raise ValueError("wrong")
    with turns.join():
        pass


def test_settings_of_torch_stay_while_any_cell_of_the_process_works(tmp_path: Path) -> None:
    shared, seen, first_is_in = SharedProcess(), list[int](), threading.Event()
    first, second = (cell.with_threads(1).config for cell in make_cells(tmp_path, "first", "second"))
    before = torch.get_deterministic_debug_mode()

    def begin_second() -> None:
        first_is_in.wait(10)
        with shared.enter(second), repeatable(torch.device("cpu"), threads=1):
            shared._turns.pass_on()  # The first ends meanwhile.
            seen.append(torch.get_deterministic_debug_mode())

    thread = threading.Thread(target=begin_second)
    thread.start()
    with shared.enter(first), repeatable(torch.device("cpu"), threads=1):
        first_is_in.set()
        while len(shared._turns._line) < 2:
            time.sleep(0.001)
        shared._turns.pass_on()
    thread.join(10)
    shared._settings.close()
    assert (seen, torch.get_deterministic_debug_mode()) == ([1], before)


def test_runs_that_may_break_something_for_others_have_a_process_of_their_own(tmp_path: Path) -> None:
    cell = make_cells(tmp_path, "good")[0]
    assert can_take_turns(cell.config)
    assert not can_take_turns(cell.with_execution(compile=True).config)
    assert not can_take_turns(cell.with_execution(devices=2).config)
    code = CodeConfig(path="net.py", sha256="0" * 64)
    assert not can_take_turns(cell.config.model_copy(update={"code": code}))


@pytest.mark.parametrize(
    ("takes_turns", "compiled", "shares"), [(True, False, True), (True, True, False), (False,) * 3]
)
def test_only_cells_that_may_are_begun_in_a_shared_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes_turns: bool, compiled: bool, shares: bool
) -> None:
    given: list[CellServers | None] = []
    monkeypatch.setattr(local, "CellProcess", lambda *args, servers, **others: given.append(servers))
    monkeypatch.setattr(local, "list_gpus", lambda device: ())
    executor = LocalProcesses().taking_turns() if takes_turns else LocalProcesses()
    executor.start(make_cells(tmp_path, "good")[0].with_execution(device="cuda", compile=compiled))
    assert [servers is not None and servers.shares for servers in given] == [shares]


def test_cells_share_one_process_and_go_forward_side_by_side(tmp_path: Path) -> None:
    executor = LocalProcesses(stand_in_cells.COMMAND, can_serve=True).taking_turns()
    cells = make_cells(tmp_path, "slow", "slower")
    processes = [executor._begin(cell, 0) for cell in cells]  # type: ignore[attr-defined]
    courses = [process.events() for process in processes]
    assert all(isinstance(next(course), CellStarted) for course in courses)
    assert len({process.popen.pid for process in processes}) == 1
    for process, course in zip(processes, courses, strict=True):
        process.kill()
        list(course)
        assert process.conclude(stopping=True).status == "stopped"

    watcher = CellNotes()
    assert set(statuses(run(make_cells(tmp_path / "again", "slow", "slower"), watcher)).values()) == {"finished"}
    order = [arm for arm, event in watcher.events if isinstance(event, CellEpoch)]
    assert order[:2] in (["slow", "slower"], ["slower", "slow"])


def test_servers_of_turns_end_with_the_cells_and_say_whether_one_was_lost(tmp_path: Path) -> None:
    for arm, took_turns in (("good", True), ("leaves", False)):
        executor = LocalProcesses(stand_in_cells.COMMAND, can_serve=True).taking_turns()
        cells = make_cells(tmp_path / arm, "brisk", arm)
        list(executor.run(cells, 2, watcher=CellNotes(), stop=StopRequest()))
        assert (executor.took_turns, executor.turn_servers._servers) == (took_turns, {})  # type: ignore[attr-defined]
    assert not LocalProcesses().took_turns
    cannot = LocalProcesses((sys.executable, "-c", ""), can_serve=True).taking_turns()
    list(cannot.run(make_cells(tmp_path / "cannot", "good"), 1, watcher=CellNotes(), stop=StopRequest()))
    assert not cannot.took_turns


def test_what_cells_in_turns_print_is_in_the_log_of_the_first(tmp_path: Path) -> None:
    cells = make_cells(tmp_path, "good", "better")
    run(cells)
    assert "a library prints this" in "".join((cell.folder / "log.txt").read_text() for cell in cells)


def test_what_goes_wrong_in_one_cell_is_its_own(tmp_path: Path) -> None:
    results = run(make_cells(tmp_path, "good", "raises", "diverges", "slow"))
    assert statuses(results) == {"good": "finished", "raises": "failed", "diverges": "failed", "slow": "finished"}
    assert "a mistake in the code" in (tmp_path / "cells" / "raises" / "seed-0" / "log.txt").read_text()


@pytest.mark.parametrize("arm", ["dies", "leaves"])
def test_cells_whose_shared_process_is_lost_go_on_in_one_of_their_own(tmp_path: Path, arm: str) -> None:
    results = run(make_cells(tmp_path, "slow", arm, "slower"))
    assert statuses(results) == {"slow": "finished", arm: "failed", "slower": "finished"}
    lost = next(result for result in results if result.cell.arm == arm)
    assert ("was killed" in str(lost.error)) if arm == "dies" else ("exit code 3" in str(lost.error))


def test_cells_that_take_turns_save_themselves_when_asked_to_stop(tmp_path: Path) -> None:
    stop = StopRequest()
    watcher = Watcher(lambda arm, event: stop.request() if isinstance(event, CellEpoch) else None)
    cells = make_cells(tmp_path, "slow", "slower", epochs=400)
    assert statuses(run(cells, watcher, stop)) == {"slow": "stopped", "slower": "stopped"}
    assert all((cell.folder / "checkpoint").exists() for cell in cells)
    ended = [event for _, event in watcher.events if isinstance(event, CellEnded)]
    assert [event.status for event in ended] == ["stopped", "stopped"], "each of them said so itself"


def test_cells_are_not_lost_because_a_neighbour_loads_when_the_study_is_stopped(tmp_path: Path) -> None:
    stop = StopRequest()
    watcher = Watcher(lambda arm, event: stop.request() if isinstance(event, CellStarted) else None)
    cells = make_cells(tmp_path, "loads", "loads too", "loads last", epochs=400)
    assert set(statuses(run(cells, watcher, stop)).values()) == {"stopped"}
    trained = watcher.events[0][0]
    assert (tmp_path / "cells" / trained / "seed-0" / "checkpoint").exists()


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["diverges", "exits"])
def test_a_cell_that_has_ended_leaves_its_neighbours_in_their_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arm: str
) -> None:
    monkeypatch.setattr(CellProcess, "_start", refuse)
    results = run(make_cells(tmp_path, arm, "slow", epochs=14))  # Seven seconds, of which the watch would wait 4.5.
    assert statuses(results)["slow"] == "finished"


def refuse(process: CellProcess) -> None:
    raise NoProcessError("no cell is started by itself")


@pytest.mark.parametrize(
    ("changes", "restarts"),
    [
        ({}, True),
        ({"_is_shared": False}, False),
        ({"_is_shared": False, "code": NEVER_BEGUN}, True),
        ({"code": 0}, False),
        ({"_last_word": CellEnded(status="finished")}, False),
        ({"_is_dismissed": True}, False),
        ({"_was_killed": True}, False),
    ],
)
def test_only_a_cell_that_was_lost_with_its_shared_process_is_begun_afresh_and_once(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], restarts: bool
) -> None:
    process = object.__new__(CellProcess)
    state = {"_is_shared": True, "_is_dismissed": False, "_was_killed": False, "_last_word": None} | changes
    lost = SimpleNamespace(returncode=state.pop("code", UNSEEN))
    vars(process).update(state, _lock=threading.Lock(), popen=lost)
    monkeypatch.setattr(CellProcess, "_start", lambda process: lost)
    monkeypatch.setattr(CellProcess, "_hand_over", lambda process: None)
    assert process._start_afresh() is restarts
    if restarts and lost.returncode == UNSEEN:
        assert not process._start_afresh()


def test_cells_that_are_stopped_are_not_begun_anew_when_their_process_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = StopRequest()
    monkeypatch.setattr(CellProcess, "_start", refuse)
    watcher = Watcher(lambda arm, event: stop.request() if (arm, event.kind) == ("stuck", "started") else None)
    results = run(make_cells(tmp_path, "slow", "stuck", epochs=400), watcher, stop)
    assert statuses(results) == {"slow": "stopped", "stuck": "stopped"}


def train(folder: Path, executor: Executor, watcher: CellNotes, device: str = "cpu") -> dict[str, bytes]:
    """Train two networks that draw, by two seeds and for unequally long; every file but times."""
    study = make_study(
        {"convolution": "resnet20:width=4", "tokens": "vt_resnet20:width=4,num_tokens=4"},
        treatments={"tokens": {"recipe.epochs": 3}},
        data={"spec": "scenes", "limit_train": 160, "limit_val": 50},
        recipe={"name": "mini", "epochs": 2, "batch_size": 32, "dropout": 0.1, "stochastic_depth": 0.1},
    )
    cells = [
        cell.with_execution(device=device, threads=2, checkpoint_seconds=0.001) for cell in list_cells(study, folder)
    ]
    results = list(executor.run(cells, len(cells), watcher=watcher, stop=StopRequest()))
    assert {result.status for result in results} == {"finished"}, results
    return {
        name: content for name, content in list_files(folder).items() if not name.endswith(("timing.jsonl", "log.txt"))
    }


@pytest.mark.slow
def test_a_cell_that_takes_turns_comes_to_the_bits_of_one_that_is_alone_also_when_its_process_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = train(tmp_path / "alone", LocalProcesses(), CellNotes())
    with monkeypatch.context() as patch:
        patch.setattr(CellProcess, "_start", refuse)
        assert train(tmp_path / "turns", LocalProcesses().taking_turns(), CellNotes()) == alone

    dying = LocalProcesses().taking_turns()

    def kill(arm: str, event: Event) -> None:
        if isinstance(event, CellEpoch) and event.epoch.epoch == 0:
            for one in dying.turn_servers._servers.values():  # type: ignore[attr-defined]
                one._popen.send_signal(signal.SIGKILL)

    assert train(tmp_path / "killed", dying, Watcher(kill)) == alone


@pytest.mark.gpu
def test_cells_that_take_turns_on_a_gpu_come_to_the_bits_of_those_that_are_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = train(tmp_path / "alone", LocalProcesses(), CellNotes(), "cuda")
    monkeypatch.setattr(CellProcess, "_start", refuse)
    assert train(tmp_path / "turns", LocalProcesses().taking_turns(), CellNotes(), "cuda") == alone


def test_cells_that_take_turns_save_themselves_and_leave_when_their_study_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import test_turns as t\n"
        "executor = t.LocalProcesses(t.stand_in_cells.COMMAND, can_serve=True).taking_turns()\n"
        "cells = t.make_cells(Path(sys.argv[1]), 'slow', 'slower', epochs=400)\n"
        "processes = [executor._begin(cell, 0) for cell in cells]\n"
        "courses = [process.events() for process in processes]\n"
        "begun = [next(course) for course in courses]\n"
        "print(processes[0].popen.pid, flush=True)\n"
        "next(event for event in courses[0] if isinstance(event, t.CellEpoch)); print('epoch', flush=True)\n"
        "list(courses[1])"
    )
    study = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parent, stdout=subprocess.PIPE
    )
    assert study.stdout is not None
    with study.stdout:
        shared = psutil.Process(int(study.stdout.readline()))
        assert study.stdout.readline() == b"epoch\n"
        study.kill()
        study.wait()
        shared.wait(timeout=60)
    assert len(list(tmp_path.glob("cells/*/seed-0/checkpoint"))) == 2


def test_a_worker_that_is_told_to_serve_turns_leaves_with_the_study(tmp_path: Path) -> None:
    servers = CellServers("--take-turns-for")
    process = CellProcess(make_cells(tmp_path, "good")[0], {}, command=stand_in_cells.COMMAND, servers=servers)
    list(process.events())
    (server,) = servers._servers.values()
    server._control.close()
    assert server._popen.wait(timeout=60) == 0
