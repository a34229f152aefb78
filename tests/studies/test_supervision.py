import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from stand_in_cells import COMMAND, make_study

from vtbench.studies import supervision
from vtbench.studies.cells import Cell, list_cells
from vtbench.studies.events import CellEnded, CellEpoch, CellStarted, Event, decode_event
from vtbench.studies.executor import CellResult
from vtbench.studies.executors import local
from vtbench.studies.executors.local import WORKER, CellProcess
from vtbench.studies.servers import CellServers
from vtbench.studies.supervision import post, supervise


class Study:
    """The far end: keeps what it is told, and answers at the first event of a type as ``answer`` does."""

    def __init__(self, at: type[Event] | None = None, answer: Callable[[], bool] = lambda: True) -> None:
        self.events: list[Event] = []
        self._at, self._answer = at, answer

    def tell(self, lines: list[bytes]) -> bool:
        self.events += [decode_event(line) for line in lines]
        seen = self._at is not None and any(isinstance(event, self._at) for event in self.events)
        return self._answer() if seen else False


def vanish() -> bool:
    raise ConnectionError("gone")


def supervise_one(folder: Path, arm: str, study: Study) -> tuple[CellResult, Cell]:
    cell = list_cells(make_study({arm: "resnet20"}, seeds=1), folder)[0].with_threads(1)
    return supervise(post(cell, COMMAND), study.tell), cell


def test_a_supervised_cell_tells_its_whole_course_and_a_crash_is_its_result(tmp_path: Path) -> None:
    study = Study()
    result, _ = supervise_one(tmp_path, "good", study)
    assert (result.status, result.error) == ("finished", None)
    kinds = [type(event) for event in study.events]
    assert (kinds[0], kinds[-1], kinds.count(CellEpoch)) == (CellStarted, CellEnded, 4)
    result, _ = supervise_one(tmp_path, "dies", Study())
    assert result.status == "failed"
    assert "killed by SIGKILL" in (result.error or "")


@pytest.mark.skipif(sys.platform != "linux", reason="cells are forked on Linux")
@pytest.mark.parametrize(
    ("device", "command", "forks"), [("cpu", WORKER, True), ("cuda", WORKER, False), ("cpu", COMMAND, False)]
)
def test_a_cell_of_vtbench_is_forked_where_it_was_posted_to_and_works_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, command: tuple[str, ...], forks: bool
) -> None:
    given = list[tuple[Path, CellServers | None]]()

    def begin(*args: object, directory: Path, servers: CellServers | None, **others: object) -> CellProcess:
        given.append((directory, servers))
        raise InterruptedError

    monkeypatch.setattr(supervision, "CellProcess", begin)
    monkeypatch.setattr(local, "list_gpus", lambda device: ())
    cell = list_cells(make_study({"good": "resnet20"}, seeds=1), tmp_path)[0].with_execution(device=device)
    servers = CellServers()
    with pytest.raises(InterruptedError):
        supervise(post(cell, command), Study().tell, servers=servers)
    assert given == [(Path.cwd(), servers if forks else None)]


@pytest.mark.parametrize("answer", [lambda: True, vanish], ids=["asked to stop", "left alone"])
def test_a_cell_saves_itself_when_its_study_wants_to_stop_or_is_gone(
    tmp_path: Path, answer: Callable[[], bool]
) -> None:
    result, cell = supervise_one(tmp_path, "slow", Study(at=CellStarted, answer=answer))
    assert result.status == "stopped"
    assert (cell.folder / "checkpoint").exists()


def test_storage_that_a_machine_does_not_see_is_named(tmp_path: Path) -> None:
    cell = list_cells(make_study({"good": "resnet20"}, seeds=1), tmp_path)[0].with_threads(1)
    posting = post(cell, COMMAND)
    cell.folder.rmdir()
    result = supervise(posting, Study().tell)
    assert result.status == "failed"
    assert f"does not see {cell.folder}" in (result.error or "")


def test_whoever_still_holds_the_cell_is_waited_for_unless_it_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = list_cells(make_study({"good": "resnet20"}, seeds=1), tmp_path)[0].with_threads(1)
    posting = post(cell, COMMAND)
    lock = cell.folder / ".lock"

    def hold(host: str, pid: int) -> None:
        lock.write_text(json.dumps({"pid": pid, "host": host, "since": "2026-01-01"}))

    hold("elsewhere", 1)
    leaving = threading.Timer(0.5, lock.write_text, args=("",))
    began = time.monotonic()
    leaving.start()
    assert supervise(posting, Study().tell).status == "finished"
    assert time.monotonic() - began > 0.5
    hold("elsewhere", 1)
    monkeypatch.setattr(supervision, "DEAD_AFTER_SECONDS", 0.3)
    assert supervise(posting, Study().tell).status == "finished"
    hold(socket.gethostname(), 2**22 + 1)
    monkeypatch.setattr(supervision, "DEAD_AFTER_SECONDS", 120.0)
    assert supervise(posting, Study().tell).status == "finished"
    hold("elsewhere", 1)
    assert supervise(posting, lambda lines: True).status == "stopped"
