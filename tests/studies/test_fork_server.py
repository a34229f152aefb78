import os
import queue
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stand_in_cells
from stand_in_cells import CellNotes, make_study

from vtbench.files import hash_file
from vtbench.studies.cells import Cell, list_cells
from vtbench.studies.events import CellEnded, CellEpoch, CellStarted, Event
from vtbench.studies.executor import CellResult
from vtbench.studies.executors import local
from vtbench.studies.executors.local import CellProcess, LocalProcesses, forward_events
from vtbench.studies.servers import NEVER_BEGUN, UNSEEN, CellServers, ServedProcess
from vtbench.training import StopRequest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cells are forked on Linux")


class Watcher(CellNotes):
    """Notes all, and calls ``react`` with each event."""

    def __init__(self, react: Callable[[Event], None] = lambda event: None) -> None:
        super().__init__()
        self._react = react

    def on_event(self, cell: Cell, event: Event) -> None:
        super().on_event(cell, event)
        self._react(event)


def make_cell(folder: Path, arm: str = "good", *, epochs: int = 4) -> Cell:
    study = make_study({arm: "resnet20"}, seeds=1, recipe={"name": "small", "epochs": epochs})
    return list_cells(study, folder)[0]


def make_long_cell(folder: Path) -> Cell:
    """One that takes minutes, unless it is asked to stop."""
    return make_cell(folder, "slow", epochs=400)


def begin(cell: Cell, servers: CellServers, command: tuple[str, ...] = stand_in_cells.COMMAND) -> CellProcess:
    return CellProcess(cell, {}, command=command, servers=servers)


def list_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def servers() -> Iterator[CellServers]:
    yield CellServers()


def find_server(process: CellProcess) -> int:
    assert process.popen.pid is not None
    return int(Path(f"/proc/{process.popen.pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_until_forked(process: CellProcess) -> int:
    while process.popen.pid is None:
        assert process.popen.returncode is None, "it was never forked"
        time.sleep(0.01)
    return process.popen.pid


def test_cells_of_one_environment_are_forked_from_one_process_and_from_another_in_another(
    tmp_path: Path, servers: CellServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [make_long_cell(tmp_path / str(number)) for number in range(3)]
    first, second = begin(cells[0], servers), begin(cells[1], servers)
    wait_until_forked(first)
    wait_until_forked(second)
    assert find_server(first) == find_server(second) in list_children(os.getpid())
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    third = begin(cells[2], servers)
    wait_until_forked(third)
    assert find_server(third) != find_server(first)
    assert b"OMP_NUM_THREADS=7" in Path(f"/proc/{find_server(third)}/environ").read_bytes().split(b"\0")
    for process in (first, second, third):
        process.ask_to_leave()
        assert list(process.events())[-1] == CellEnded(status="stopped")
        assert process.conclude(stopping=True).status == "stopped"


def test_a_server_that_nobody_needs_is_ended_when_another_environment_comes(
    tmp_path: Path, servers: CellServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = begin(make_long_cell(tmp_path / "1"), servers)
    wait_until_forked(process)
    old = find_server(process)
    process.kill()
    list(process.events())
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    other = begin(make_cell(tmp_path / "2"), servers)
    assert old not in list_children(os.getpid())
    assert list(other.events())[-1] == CellEnded(status="finished")


def test_a_server_leaves_with_the_last_one_who_can_ask_it(tmp_path: Path) -> None:
    servers = CellServers()
    process = begin(make_long_cell(tmp_path), servers)
    wait_until_forked(process)
    server = find_server(process)
    process.kill()
    list(process.events())
    del servers
    assert server not in list_children(os.getpid())


def test_a_server_leaves_when_its_study_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import test_fork_server as t\n"
        "process = t.begin(t.make_long_cell(Path(sys.argv[1])), servers := t.CellServers())\n"
        "t.wait_until_forked(process); print(t.find_server(process), flush=True); list(process.events())"
    )
    study = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parent, stdout=subprocess.PIPE
    )
    assert study.stdout is not None
    with study.stdout:
        server = int(study.stdout.readline())
    study.kill()
    study.wait()
    deadline = time.monotonic() + 60
    while _runs(server):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_server_that_dies_before_it_forks_costs_no_cell(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from stand_in_cells import main, run_cell\n"
        "main(run_cell, lambda: sys.exit('this cannot be imported'))\n"
    )
    executor = LocalProcesses((sys.executable, str(script)), can_serve=True)
    cells = [make_cell(tmp_path / str(number)) for number in range(3)]
    results = list(executor.run(cells, 2, watcher=CellNotes(), stop=StopRequest()))
    assert [result.status for result in results] == ["finished"] * 3


def test_a_process_that_has_threads_forks_none(tmp_path: Path, servers: CellServers) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        f"import sys, threading, time; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from stand_in_cells import main, run_cell\n"
        "main(run_cell, lambda: threading.Thread(target=time.sleep, args=(60,), daemon=True).start())\n"
    )
    process = begin(make_cell(tmp_path), servers, (sys.executable, str(script)))
    asked = process.popen
    assert list(process.events())[-1] == CellEnded(status="finished")
    assert (asked.returncode, process.popen.returncode) == (NEVER_BEGUN, 0)


CANNOT_IMPORT = "raise ImportError('this cannot be imported')"
HAS_A_THREAD = "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
CANNOT_FORK_AT_FIRST = """
fork, refusals = os.fork, [BlockingIOError(11, 'Resource temporarily unavailable')]
def refuse_once():
    if refusals:
        raise refusals.pop()
    return fork()
os.fork = refuse_once
"""


def write_server(folder: Path, warm_up: str, work: str = "None") -> tuple[str, ...]:
    """The command of a server whose processes do ``work``; it notes in ``begun`` that it was, and does ``warm_up``."""
    script = folder / "server.py"
    script.write_text(
        "import os, socket, sys, threading, time\n"
        "from vtbench.studies.fork_server import serve_forks\n"
        f"with open({str(folder / 'begun')!r}, 'a') as file:\n"
        "    file.write('once ')\n"
        f"{warm_up}\n"
        "with socket.socket(fileno=int(sys.argv[2])) as control:\n"
        f"    serve_forks(control, lambda: {work})\n"
        "os._exit(0)\n"
    )
    return sys.executable, str(script)


def ask(servers: CellServers, folder: Path, command: tuple[str, ...]) -> ServedProcess:
    with (folder / "log").open("ab") as log:
        process = servers.begin(command, dict(os.environ), log, ())
    process.stdin.close()
    process.stdout.close()
    return process


@pytest.mark.parametrize("warm_up", [CANNOT_IMPORT, HAS_A_THREAD])
def test_no_server_takes_the_place_of_one_that_left_because_it_cannot_fork(
    tmp_path: Path, servers: CellServers, warm_up: str
) -> None:
    command = write_server(tmp_path, warm_up)
    process = ask(servers, tmp_path, command)
    assert process.wait(timeout=100) == NEVER_BEGUN
    process._server.wait(timeout=100)
    for _cell in range(2):
        with pytest.raises(OSError, match="has left"):
            ask(servers, tmp_path, command)
    assert (tmp_path / "begun").read_text() == "once "


def test_processes_work_in_the_folder_that_they_are_asked_to(tmp_path: Path, servers: CellServers) -> None:
    command = write_server(tmp_path, "", work="print(os.getcwd(), flush=True)")
    folders = tmp_path / "one", tmp_path / "other"
    for folder in folders:
        folder.mkdir()
        with (tmp_path / "log").open("wb") as log:
            process = servers.begin(command, dict(os.environ), log, (), folder)
        with process.stdin, process.stdout as output:
            assert output.read().decode() == f"{folder}\n"
        assert process.wait(timeout=100) == 0


def test_a_fork_that_fails_ends_no_server(tmp_path: Path, servers: CellServers) -> None:
    command = write_server(tmp_path, CANNOT_FORK_AT_FIRST)
    codes = [ask(servers, tmp_path, command).wait(timeout=100) for _ in range(2)]
    assert codes == [NEVER_BEGUN, 0]
    assert (tmp_path / "begun").read_text() == "once "


def test_a_cell_for_which_no_process_can_be_started_either_has_failed(
    tmp_path: Path, servers: CellServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **others: object) -> subprocess.Popen[bytes]:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    process = begin(make_cell(tmp_path), servers, write_server(tmp_path, CANNOT_IMPORT))
    monkeypatch.setattr(local.subprocess, "Popen", refuse)
    emitted: queue.SimpleQueue[tuple[CellProcess, Event | None]] = queue.SimpleQueue()
    forward_events(process, emitted)
    assert emitted.get(timeout=1) == (process, None)
    result = process.conclude(stopping=False)
    assert result.status == "failed"
    assert "No process could be started for it: [Errno 11] Resource temporarily unavailable." in (result.error or "")


def test_the_end_of_a_process_is_told_whatever_goes_wrong_in_reading_its_events() -> None:
    class Broken:
        def events(self) -> Iterator[Event]:
            raise OSError("broken")

    broken, emitted = Broken(), queue.SimpleQueue[tuple[Any, Event | None]]()
    with pytest.raises(OSError, match="broken"):
        forward_events(broken, emitted)  # type: ignore[arg-type]
    assert emitted.get(timeout=1) == (broken, None)


def test_a_process_that_has_ended_and_that_nobody_reaps_is_gone() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    status, tell = os.pipe()
    os.write(tell, struct.pack("<ii", 0, ended.pid))
    os.close(tell)
    with Path(os.devnull).open("wb") as stdin, Path(os.devnull).open("rb") as stdout:
        assert ServedProcess(ended, stdin, stdout, status).wait(timeout=2) == UNSEEN
    ended.wait()


def test_of_a_process_that_died_before_it_told_its_number_the_exit_code_is_no_number(tmp_path: Path) -> None:
    server = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    status, tell = os.pipe()
    os.write(tell, struct.pack("<ii", 1, 1))
    with Path(os.devnull).open("wb") as stdin, Path(os.devnull).open("rb") as stdout:
        process = ServedProcess(server, stdin, stdout, status)
        assert (process.pid, process.wait(timeout=2)) == (None, 1)
        process.kill()
    assert server.poll() is None, "nothing is killed for what has ended"
    os.close(tell)
    server.kill()
    server.wait()


def test_a_look_does_not_wait_for_what_another_thread_has_read_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    status, tell = os.pipe()
    monkeypatch.setattr("selectors.PollSelector.select", lambda self, seconds: ["as if something were there"])
    with Path(os.devnull).open("wb") as stdin, Path(os.devnull).open("rb") as stdout:
        assert ServedProcess(None, stdin, stdout, status).poll() is None  # type: ignore[arg-type]
    os.close(tell)


def test_a_server_that_dies_later_takes_no_cell_along_and_another_takes_its_place(
    tmp_path: Path, servers: CellServers
) -> None:
    process = begin(make_cell(tmp_path / "1", "slow"), servers)
    events = process.events()
    assert isinstance(next(events), CellStarted)
    server = find_server(process)
    os.kill(server, signal.SIGKILL)
    assert process.is_alive
    assert list(events)[-1] == CellEnded(status="finished")
    assert process.conclude(stopping=False).status == "finished"
    assert process.popen.returncode == UNSEEN
    other = begin(make_long_cell(tmp_path / "2"), servers)
    wait_until_forked(other)
    assert find_server(other) != server
    other.kill()
    list(other.events())


def test_of_a_cell_that_dies_after_its_server_it_is_said_that_nobody_saw_how(
    tmp_path: Path, servers: CellServers
) -> None:
    process = begin(make_long_cell(tmp_path), servers)
    events = process.events()
    next(events)
    os.kill(find_server(process), signal.SIGKILL)
    assert process.popen.pid is not None
    os.kill(process.popen.pid, signal.SIGKILL)
    list(events)
    result = process.conclude(stopping=False)
    assert (result.status, (result.error or "")[:55]) == (
        "failed",
        "The process ended without a word, and nobody saw how. T",
    )


def test_a_cell_that_is_killed_before_it_is_forked_ends_at_once_and_the_others_go_on(
    tmp_path: Path, servers: CellServers
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        f"import sys, time; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from stand_in_cells import main, run_cell\n"
        "main(run_cell, lambda: time.sleep(120))\n"
    )
    command = (sys.executable, str(script))
    first, second = (begin(make_cell(tmp_path / name), servers, command) for name in ("1", "2"))
    started = time.monotonic()
    first.kill()
    assert list(first.events()) == []
    assert first.conclude(stopping=False) == CellResult(first.cell, "stopped", pytest.approx(0, abs=100))
    assert list(second.events())[-1] == CellEnded(status="finished")
    assert time.monotonic() - started < 100  # The server would have slept for longer.


def test_a_forked_cell_holds_the_files_that_keep_the_lock_and_its_server_does_not(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    executor = LocalProcesses(stand_in_cells.COMMAND, can_serve=True).holding(writing)
    process = executor.start(make_long_cell(tmp_path))  # type: ignore[attr-defined]
    wait_until_forked(process)
    os.close(writing)
    os.set_blocking(reading, False)
    with pytest.raises(BlockingIOError):
        os.read(reading, 1)
    process.kill()
    list(process.events())
    assert os.read(reading, 1) == b""
    assert _runs(find_only_child())
    os.close(reading)


def find_only_child() -> int:
    return list_children(os.getpid())[-1]


@pytest.mark.parametrize(
    ("device", "command", "forks"), [("cpu", None, True), ("cuda", None, False), ("cpu", ("some", "thing"), False)]
)
def test_cells_of_vtbench_for_the_cpu_are_forked_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, command: tuple[str, ...] | None, forks: bool
) -> None:
    given: list[CellServers | None] = []
    monkeypatch.setattr(local, "CellProcess", lambda *args, servers, **others: given.append(servers))
    monkeypatch.setattr(local, "list_gpus", lambda device: ())
    executor = LocalProcesses() if command is None else LocalProcesses(command)
    executor.start(make_cell(tmp_path).with_execution(device=device))
    assert [servers is not None for servers in given] == [forks]


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_cell_comes_to_the_bits_of_one_that_was_started_afresh(tmp_path: Path, threads: int) -> None:
    digests = []
    for can_serve in (False, True):
        study = make_study(
            {"VT": "vt_resnet20:width=4,num_tokens=4"},
            seeds=1,
            data={"spec": "scenes", "limit_train": 160, "limit_val": 50},
            recipe={"name": "mini", "epochs": 2, "batch_size": 32},
        )
        cell = list_cells(study, tmp_path / str(can_serve))[0].with_threads(threads)
        watcher = Watcher()
        executor = LocalProcesses(can_serve=can_serve)
        results = list(executor.run([cell], 1, watcher=watcher, stop=StopRequest()))
        assert [result.status for result in results] == ["finished"], results
        assert sum(isinstance(event, CellEpoch) for _, event in watcher.events) == 2
        digests.append({name: hash_file(cell.folder / name) for name in ("weights.safetensors", "record.json")})
    assert digests[0] == digests[1]
