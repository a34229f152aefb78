import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vtbench.errors import UserError
from vtbench.studies import lock
from vtbench.studies.lock import FolderLock

HOLD = """
import sys, time
from pathlib import Path
from vtbench.studies.lock import FolderLock
with FolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def hold_elsewhere(folder: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    process.stdout.close()
    return process


def write_owner(folder: Path, *, pid: int, host: str, seconds_ago: float = 0.0) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / "lock"
    path.write_text(json.dumps({"pid": pid, "host": host, "since": "2026-01-01T00:00:00+00:00"}))
    os.utime(path, (time.time() - seconds_ago,) * 2)


def test_a_folder_in_use_is_refused_and_its_owner_named(tmp_path: Path) -> None:
    process = hold_elsewhere(tmp_path)
    try:
        expected = (
            rf"in use by process {process.pid} on {socket.gethostname()}, since 20.*give another folder with --out"
        )
        with pytest.raises(UserError, match=expected), FolderLock(tmp_path):
            pass
    finally:
        process.kill()
        process.wait()


def test_the_lock_of_a_killed_owner_is_taken_over_and_the_owner_named(tmp_path: Path) -> None:
    process = hold_elsewhere(tmp_path)
    process.kill()
    process.wait()
    with FolderLock(tmp_path) as held:
        assert held.took_over_from is not None
        assert held.took_over_from.pid == process.pid


def test_a_number_of_a_process_that_lives_again_does_not_hold_the_folder(tmp_path: Path) -> None:
    write_owner(tmp_path, pid=os.getpid(), host=socket.gethostname())
    with FolderLock(tmp_path) as held:
        assert held.took_over_from is not None


def test_an_owner_that_left_in_good_order_leaves_nothing_to_take_over(tmp_path: Path) -> None:
    with FolderLock(tmp_path):
        pass
    with FolderLock(tmp_path) as held:
        assert held.took_over_from is None


def test_the_lock_is_free_again_after_an_error_inside(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), FolderLock(tmp_path):
        raise RuntimeError
    with FolderLock(tmp_path) as held:
        assert held.took_over_from is None


def test_an_owner_on_another_machine_holds_while_its_heart_beats(tmp_path: Path) -> None:
    write_owner(tmp_path, pid=1, host="elsewhere", seconds_ago=30)
    with pytest.raises(UserError, match=r"process 1 on elsewhere.*last sign of life is 30 s old"), FolderLock(tmp_path):
        pass


def test_an_owner_on_another_machine_is_dead_when_its_heart_has_stopped(tmp_path: Path) -> None:
    write_owner(tmp_path, pid=1, host="elsewhere", seconds_ago=lock.DEAD_AFTER_SECONDS + 1)
    with FolderLock(tmp_path) as held:
        assert held.took_over_from is not None
        assert held.took_over_from.host == "elsewhere"


def test_a_heartbeat_renews_the_time_of_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.0)
    with FolderLock(tmp_path) as held:
        os.utime(tmp_path / "lock", (0, 0))
        held.beat()
        assert time.time() - (tmp_path / "lock").stat().st_mtime < 10


def test_a_torn_lock_file_is_no_owner(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text('{"pid": 12')
    with FolderLock(tmp_path) as held:
        assert held.took_over_from is None


def test_a_process_that_inherits_the_lock_keeps_it_and_is_waited_for(tmp_path: Path) -> None:
    with FolderLock(tmp_path) as held:
        command = [sys.executable, "-c", "import time; time.sleep(1)"]
        orphan = subprocess.Popen(command, pass_fds=[held.fileno()])
    write_owner(tmp_path, pid=_find_dead_pid(), host=socket.gethostname())
    started = time.monotonic()
    with FolderLock(tmp_path):
        assert time.monotonic() - started > 0.3
    orphan.wait()


def test_cells_that_do_not_end_are_named_in_the_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_ORPHANS_END_WITHIN_SECONDS", 0.2)
    with FolderLock(tmp_path) as held:
        command = [sys.executable, "-c", "import time; time.sleep(30)"]
        orphan = subprocess.Popen(command, pass_fds=[held.fileno()])
    write_owner(tmp_path, pid=_find_dead_pid(), host=socket.gethostname())
    try:
        with pytest.raises(UserError, match="still held by cells that outlived process"), FolderLock(tmp_path):
            pass
    finally:
        orphan.kill()
        orphan.wait()


def _find_dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid
